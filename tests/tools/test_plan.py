#!/usr/bin/python3
"""plan: what `tidemill plan` says of the examples and of files that are wrong.

    test_plan.py TIDEMILL SOURCE_ROOT
"""
import json
import os
import re
import subprocess
import sys
import tempfile

TIDEMILL, ROOT = sys.argv[1:3]
EXAMPLES = os.path.join(ROOT, "docs", "examples")
NODES_MAX = 6  # of an example: all of it runs on one machine


def plan(path, *args):
    return subprocess.run([TIDEMILL, "plan", path, *args], capture_output=True, text=True, timeout=300)


def of_text(text, *args):
    with tempfile.NamedTemporaryFile("w", suffix=".js") as f:
        f.write(text)
        f.flush()
        return plan(f.name, *args)


def facts(name):
    """The example's plan: (clusters by name, links by "a -> b", the whole)."""
    r = plan(os.path.join(EXAMPLES, name), "--json")
    assert r.returncode == 0, r.stderr
    whole = json.loads(r.stdout)
    clusters = {c["name"]: c for c in whole["clusters"]}
    links = {"%s -> %s" % (l["source"], l["target"]): l for c in whole["clusters"] for l in c["links"]}
    return clusters, links, whole


def spread(whole):
    return {s["origin"]: (s["crossings"], sorted(s["reaches"])) for s in whole["amplification"]}


def every_example_is_whole_and_small():
    for name in sorted(os.listdir(EXAMPLES)):
        r = plan(os.path.join(EXAMPLES, name))
        assert r.returncode == 0 and r.stderr == "", (name, r.stderr)
        warned = [line for line in r.stdout.splitlines() if line.startswith("warning:")]
        assert all("is not carried out yet" in line for line in warned), (name, warned)
        assert "UNRESOLVED" not in r.stdout, (name, r.stdout)
        clusters, links, whole = facts(name)
        assert sum(len(c["nodes"]) for c in clusters.values()) <= NODES_MAX, name
        assert ["warning: " + text for text in whole["warnings"]] == warned, name
        assert all(c["safe"] for c in whole["cycles"]), name
        assert all(link["state"] == "PLANNED" for link in links.values()), name


def the_factory_keeps_writing():
    _, links, whole = facts("factory-cloud.js")
    link = links["factory -> cloud"]
    assert link["mode"] == "async" and link["away"].startswith("writes go on"), link
    assert link["options"]["maxBacklogBytes"] == 256 << 20 and link["options"]["maxBacklogAge"] == 86400
    assert spread(whole) == {"factory": (1, ["cloud"]), "cloud": (0, [])}


def the_backup_has_what_got_its_ok():
    _, links, _ = facts("critical-backup.js")
    link = links["critical -> backup"]
    assert link["mode"] == "sync" and "a quorum of backup have it on disk" in link["ok"], link
    assert "-TIMEOUT" in link["away"] and "2s" in link["away"], link


def the_region_ships_by_type():
    _, links, _ = facts("regional-global.js")
    link = links["regional -> global"]
    assert link["include"] == ["Order*", "Customer"] and link["exclude"] == ["OrderDraft", "InternalLog"]


def both_ways_has_rules():
    _, links, whole = facts("active-active.js")
    assert set(links) == {"east -> west", "west -> east"}
    assert [c["clusters"] for c in whole["cycles"]] == [["east", "west"]]
    types = {t["name"]: t for t in whole["types"]}
    assert types["Order"]["fields"]["stock"]["conflict"] == "counter"
    assert types["Order"]["fields"]["note"]["function"].startswith("function (a, b) {")
    assert types["Tariff"]["home"] == "east"


def the_mesh_crosses_two_links():
    _, links, whole = facts("mesh.js")
    assert len(links) == 6 and len(whole["cycles"]) == 5
    assert all(n == 2 and len(reached) == 2 for n, reached in spread(whole).values())


def the_chain_reaches_its_end():
    _, links, whole = facts("chain.js")
    assert links["regional -> global"]["options"]["forward"] == "transit"
    assert spread(whole)["edge"] == (2, ["global", "regional"])
    assert spread(whole)["global"] == (2, ["edge", "regional"])


def residency_stays():
    clusters, links, _ = facts("residency.js")
    assert clusters["zurich"]["jurisdiction"] == "ch" and clusters["virginia"]["jurisdiction"] == "us"
    assert links["frankfurt -> virginia"]["resident"] == ["Customer"]
    assert links["frankfurt -> zurich"]["resident"] == []


def an_unresolved_link_is_told_and_no_error():
    r = of_text("defineCluster('a', { replicateTo: ['b'] });")
    assert r.returncode == 0, r
    assert "link a -> b: asynchronous; UNRESOLVED" in r.stdout and "warning: a -> b" in r.stdout, r.stdout
    r = of_text("defineCluster('a', { replicateTo: ['b'] });", "--json")
    assert json.loads(r.stdout)["clusters"][0]["links"][0]["state"] == "UNRESOLVED"


def where_deletions_are_remembered_for_good_is_one_line():
    text = ("defineCluster('x'); defineCluster('a', { replicateTo: ['b'] });"
            "defineCluster('b', { consistency: 'eventual' });")
    r = of_text(text)
    said = [line for line in r.stdout.splitlines() if line.startswith("deletions:")]
    assert len(said) == 1 and said[0].startswith("deletions: remembered for good at a, b: "), r.stdout
    groups = json.loads(of_text(text, "--json").stdout)["remembers"]
    assert [g["clusters"] for g in groups] == [["a", "b"]] and "eventual" in groups[0]["why"], groups
    assert "deletions:" not in of_text(text.replace("eventual", "strong")).stdout


def a_synchronous_ok_is_what_ack_level_says():
    for level, said in (("durable", "after that, a quorum of b have it on disk;"),
                        ("received", "after that, the leader at b has it in memory"),
                        ("applied", "after that, a quorum of b have it on disk and reads there show it;")):
        r = of_text("defineCluster('b'); defineCluster('a', { replicateTo: ['b'], replicationMode: 'sync',"
                    " ackLevel: '%s' });" % level)
        assert "a quorum of a have it on disk and, " + said in r.stdout, r.stdout


def what_is_wrong_is_one_line_and_status_1():
    wrong = [
        ("defineCluster('a', { replicateTo: ['a'] });", "cannot replicate to itself"),
        ("defineCluster('a', { consistency: 'eventual', replicationMode: 'sync', replicateTo: ['b'] });",
         "contradicts"),
        ("defineCluster('a'); defineEntity('T', { residency: ['eu'] });", "no cluster has jurisdiction"),
        ("defineCluster('a'); defineEntity('T', { conflict: function (a, b) { return a; } });",
         "not commutative"),
        ("var n = []; for (var i = 0; i < 256; i++) n.push('t' + i + Array(58).join('x'));"
         "defineCluster('a', { replicateTo: ['b', 'c', 'd', 'e', 'f'], replicateEntityTypes: n });",
         "directory holds"),
        ("var n = []; for (var i = 0; i < 200; i++) n.push('t' + i);"
         "defineCluster('a', { replicateTo: ['b'], replicateEntityTypes: n,"
         " excludeEntityTypes: n.map(function (x) { return x + 'x'; }) });",
         "more than 256 different names in filters"),
        ("var f = {}; for (var i = 0; i < 5; i++) f['f' + i] = { conflict: function (a, b) {"
         " return a > b ? a : b; /* %s */ } }; defineCluster('a'); defineEntity('T', { fields: f });"
         % ("x" * 7000), "more than 32768 bytes of functions"),
    ]
    for text, expect in wrong:
        for args in ((), ("--json",)):
            r = of_text(text, *args)
            assert r.returncode == 1 and r.stdout == "", (text[:80], r.returncode, r.stdout[:200], r.stderr)
            assert expect in r.stderr and r.stderr.count("\n") == 1, (text[:80], r.stderr)


def documented():
    """The options of docs/LINKS.md: name -> (allowed words or bounds, default)."""
    with open(os.path.join(ROOT, "docs", "LINKS.md"), encoding="utf-8") as f:
        text = f.read()
    part = text[text.index("## Options of a link"):text.index("## Where a type may be")]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|", part, re.M)
    return {name: (re.split(r", | – ", allowed.replace("`", "")), default.strip("`"))
            for name, allowed, default in rows}


def with_option(name, value):
    value = value if value in ("true", "false") else json.dumps(value)
    r = of_text("defineCluster('b'); defineCluster('a', { replicateTo: ['b'], maxBacklogBytes: '1GiB', %s: %s"
                "});" % (name, value), "--json")
    assert r.returncode == 0, (name, value, r.stderr)
    return json.loads(r.stdout)["clusters"][1]["links"][0]["options"]


def the_options_are_those_of_the_documentation():
    r = of_text("defineCluster('a', { replicateTo: ['b'] });", "--json")
    options = json.loads(r.stdout)["clusters"][0]["links"][0]["options"]
    rows = documented()
    assert set(rows) == set(options), set(rows) ^ set(options)
    for name, (allowed, default) in rows.items():
        assert with_option(name, default)[name] == options[name], (name, default)
        for value in allowed:
            if name != "maxBacklogBytes":  # its least is less than a batch of others
                with_option(name, value)


def main():
    for test in (the_options_are_those_of_the_documentation,
                 every_example_is_whole_and_small, the_factory_keeps_writing,
                 the_backup_has_what_got_its_ok, the_region_ships_by_type, both_ways_has_rules,
                 the_mesh_crosses_two_links, the_chain_reaches_its_end, residency_stays,
                 where_deletions_are_remembered_for_good_is_one_line, a_synchronous_ok_is_what_ack_level_says,
                 an_unresolved_link_is_told_and_no_error, what_is_wrong_is_one_line_and_status_1):
        test()
        print("ok", test.__name__)


if __name__ == "__main__":
    main()
