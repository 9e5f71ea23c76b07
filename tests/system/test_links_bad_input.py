#!/usr/bin/python3
"""What is wrong about links is said in one line, by `plan`, `up` and `serve` alike, and nothing is started;
where a type may not be it does not get, whoever of the two ends knows of that."""
import os
import subprocess
import sys

from cluster import TIDEMILL, Cluster, nodes_text
from harness import main, wait_until
from linked import FABRIC, applied, links_rest, total

A, B = nodes_text("a", ["n1"], region="eu-1"), nodes_text("b", ["n1"], region="us-1")


def a(**options):
    return nodes_text("a", ["n1"], region="eu-1", **options)


CONTRADICTORY = [
    (a(replicateTo=["a"]), "cannot replicate to itself"),
    (a(replicateTo=["b", "b"]) + B, '"b" is listed twice'),
    (a(replicateTo=["b", {"cluster": "b", "replicationMode": "sync"}]) + B, '"b" is listed twice'),
    (A + A, '"a"', "was defined in line 1 already"),
    (a(replicateTo=["b"], replicationMode="sync", consistency="eventual") + B, '"sync" contradicts', '"eventual"'),
    (a(replicateTo=["b"], replicationMode="sync") + nodes_text("b", ["n1"], consistency="eventual"),
     '"sync" needs a quorum'),
    (a(replicateTo=[{"cluster": "b", "onUnavailable": "block"}]) + B, "synchronous links only"),
    (a(replicateTo=["b"], replicationMode="both") + B, "replicationMode", '"sync"'),
    (a(replicateTo="b") + B, "replicateTo", "array"),
    (a(replicateTo=[""]) + B, "replicateTo"),
    (a(replicateTo=[{"clstr": "b"}]) + B, "entry 1 must be a cluster's name or"),
    (a(replicateTo=["b"], maxBacklogBytes="little") + B, "maxBacklogBytes", "must be a size"),
    (a(replicateTo=["b"], forward="all") + B, "forward", "transit"),
    (A + 'defineEntity("T", { residency: ["eux"] });', 'no cluster has jurisdiction "eux"'),
    (A + 'defineEntity("T", { residency: "eu" });', "residency", "array"),
    (a(replicateTo=["b"], replicateEntityTypes=["T"]) + B + 'defineEntity("T", { residency: ["eu"] });',
     "type T may not leave for b"),
    (a(replicateTo=["c"], replicateEntityTypes=["T"]) + 'defineEntity("T", { residency: ["eu"] });',
     "type T may not leave for c"),
    (a(replicateTo=["b"]) + B + 'defineEntity("T", { conflict: "home", home: "c" });', 'no cluster "c"'),
    (a(replicateTo=["b"]) + B + 'defineEntity("T", { conflict: "newest" });', "newest"),
]


def refused(done, *words):
    """It ended with status 1 and one line, which has these words and says where."""
    lines = done.stderr.splitlines()
    assert done.returncode == 1 and len(lines) == 1 and done.stdout == "", done
    for word in ("topology.js:",) + words:
        assert word in lines[0], "no %r in: %s" % (word, lines[0])


def serve(c):
    return subprocess.run(
        [TIDEMILL, "serve", "--topology", c.topology, "--cluster", "a", "--node", "n1", "--data-dir",
         os.path.join(c.data, "a", "n1"), "--base-port", str(c.base_port), "--workers", "1"],
        capture_output=True, text=True, timeout=300)


def what_contradicts_itself_is_refused_before_anything_starts():
    with Cluster(A + B) as c:
        for text, *words in CONTRADICTORY:
            c.write_topology(text)
            refused(c.tidemill("plan", c.topology, check=False), *words)
            refused(c.up(check=False), *words)
            refused(serve(c), *words)
            assert not os.path.exists(c.data), text


def what_lets_less_out_than_it_seems_is_warned_of():
    with Cluster(A + B) as c:
        for text, word in (
                (a(replicateTo=["c"]), "UNRESOLVED"),
                (a(replicateTo=["b"], replicateEntityTypes=["T"], excludeEntityTypes=["T"]) + B, "nothing"),
                (a(replicateTo=["b"], replicateEntityTypes=["Ordr"]) + B + 'defineEntity("Order", {});', "Ordr"),
                (a(replicateTo=["b"], replicateEntityTypes=["T*"]) + B + 'defineEntity("T", { residency: ["eu"] });',
                 "residen")):
            c.write_topology(text)
            out = c.tidemill("plan", c.topology).stdout
            assert any(word in line for line in out.splitlines() if line.startswith("warning: ")), (word, out)


def an_edit_that_is_wrong_stops_nothing():
    good = a(replicateTo=["b"]) + B
    with Cluster(good, FABRIC) as c:
        c.up()
        c.write_topology(a(replicateTo=["b", "a"]) + B)
        refused(c.up(check=False), "cannot replicate to itself")
        refused(c.tidemill("apply", c.topology, "--dir", c.data, check=False), "cannot replicate to itself")
        c.client(("a", "n1")).set("Order:1", "x")
        wait_until(lambda: c.client(("b", "n1")).get("Order:1") == b"x", 30)


RESIDENT = 'defineEntity("Customer", { residency: ["eu"] });\n'


def a_resident_type_is_refused_by_whoever_knows_of_it():
    with Cluster(a(replicateTo=["b"]) + B, FABRIC) as c:
        c.up()
        source, target = c.client(("a", "n1")), c.client(("b", "n1"))
        source.set("Customer:1", "before")
        wait_until(lambda: target.get("Customer:1") == b"before", 30)
        c.write_topology(a(replicateTo=["b"]) + B + RESIDENT)
        c.tidemill("apply", c.topology, "--dir", c.data, "--cluster", "b")  # the source knows nothing of it
        source.set("Customer:2", "kept")
        wait_until(lambda: total(c, [("b", "n1")], "link_residency_refused") > 0, 30)
        wait_until(lambda: "event=link_refused" in c.log(("b", "n1")) and "type=Customer" in c.log(("b", "n1")), 30)
        assert target.get("Customer:2") is None
        applied(c)
        source.set("Customer:3", "kept")
        source.set("Order:1", "goes")
        wait_until(lambda: target.get("Order:1") == b"goes", 60)
        wait_until(lambda: links_rest(c), 60)
        assert target.get("Customer:2") is None and target.get("Customer:3") is None


if __name__ == "__main__":
    sys.exit(main([what_contradicts_itself_is_refused_before_anything_starts,
                   what_lets_less_out_than_it_seems_is_warned_of, an_edit_that_is_wrong_stops_nothing,
                   a_resident_type_is_refused_by_whoever_knows_of_it]))
