#!/usr/bin/python3
"""`tidemill apply`: an edited file changes links, filters, throttles and rules of clusters that run, at all
nodes of a cluster or at none."""
import json
import sys

from cluster import Cluster, nodes_text, three_nodes
from harness import No, main, wait_until

FABRIC = ["--fabric=tcp"]


def two_clusters(partitions=16, rest="", **options):
    """A cluster c of three nodes, linked to d of one."""
    link = dict(replicateTo=["d"], partitions=partitions, **options)
    return three_nodes(**link) + nodes_text("d", ["d-1"], partitions=8) + rest


def apply(c, *extra, check=True):
    return c.tidemill("apply", c.topology, "--dir", c.data, *extra, check=check)


def changes(c, *extra):
    """{cluster: the lines of its changes} as `apply` would make them."""
    said = json.loads(apply(c, "--dry-run", "--json", *extra).stdout)
    assert said["applied"] is False, said
    return {x["cluster"]: ["%(kind)s %(subject)s %(option)s %(from)s %(to)s" % y for y in x["changes"]]
            for x in said["clusters"]}


def directory(c, node):
    """(version, {name: value} of the facts) that a node goes by."""
    said = c.client(node).execute_command("TIDEMILL", "DIRECTORY")
    fields = dict(zip(said[::2], said[1::2])) if isinstance(said, list) else said
    text = fields[b"bytes"].decode("latin-1")
    lines = dict(line.split("=", 1) for line in text.splitlines()
                 if line.startswith(("to:", "from:", "type:", "cluster:")) and "=" in line)
    return int(fields[b"version"]), lines


def goes_by(c, node, version):
    """The same once the node goes by that version: `apply` waits for none for ever."""
    is_now, lines = directory(c, node)
    return (is_now, lines) if is_now >= version else No("%s goes by %d" % (node, is_now))


def pids(c):
    return {row["node"]: row["pid"] for row in c.ps()}


def links_change_at_all_nodes_while_they_run():
    with Cluster(two_clusters(), FABRIC) as c:
        c.up()
        before = pids(c)
        assert changes(c) == {"c": [], "d": []}
        c.write_topology(two_clusters(maxBytesPerSecond="1MiB", replicateEntityTypes=["Order"],
                                      rest='defineEntity("Order", { conflict: "max" });\n'))
        said = changes(c)
        assert "changed link c -> d maxBytesPerSecond 0 1MiB" in said["c"], said
        assert "added link c -> d replicateEntityTypes  Order" in said["d"], said
        assert "added type Order   " in said["c"], said
        plan = c.tidemill("plan", c.topology, "--dir", c.data).stdout
        assert "~ link c -> d: maxBytesPerSecond: 0 -> 1MiB" in plan, plan
        assert directory(c, "node-1")[0] == 1  # nothing was done yet
        apply(c)
        for node in "node-1", "node-2", "node-3", "d-1":
            version, lines = wait_until(lambda: goes_by(c, node, 2), 30)
            way = "from:c" if node == "d-1" else "to:d"
            assert version == 2 and lines[way + "/maxBytesPerSecond"] == "1MiB", (node, version, lines)
            assert lines[way + "/replicateEntityTypes"] == "Order" and lines["type:Order/conflict"] == "max"
        assert pids(c) == before and changes(c) == {"c": [], "d": []}
        apply(c)  # again: nothing
        assert directory(c, "node-1")[0] == 2


def a_node_that_was_away_goes_by_what_was_applied():
    with Cluster(two_clusters(), FABRIC) as c:
        c.up()
        wait_until(lambda: c.whole("node-1"), 60)
        c.kill("node-3", wait=True)
        c.write_topology(two_clusters(replicationMode="sync"))
        apply(c)
        c.kill("node-1", wait=True)
        c.up()
        for node in "node-1", "node-2", "node-3":
            assert wait_until(lambda: goes_by(c, node, 2), 60)[1]["to:d/replicationMode"] == "sync", node


def what_cannot_be_changed_changes_nothing():
    with Cluster(two_clusters(), FABRIC) as c:
        c.up()
        for text, expect in (
                (two_clusters(partitions=32, batchBytes="1MiB"), "partitions: the file says 32"),
                (two_clusters(batchBytes="1MiB").replace('"d-1"]', '"d-1", "d-2"], "replicationFactor": 1'), "adds 'd-2'"),
                (two_clusters(batchBytes="1MiB", consistency="eventual"), "consistency"),
                (two_clusters(batchBytes="1"), "must be a size"),
                (two_clusters(batchBytes="1MiB") + nodes_text("e", ["e-1"]), "no node of cluster e"),
                (two_clusters(batchBytes="1MiB",
                              replicateEntityTypes=["t%d" % i for i in range(250)],
                              excludeEntityTypes=["x%d" % i for i in range(250)]),
                 "more than 256 different names")):
            c.write_topology(text)
            done = apply(c, check=False)
            assert done.returncode == 1 and expect in done.stderr and done.stderr.count("\n") == 1, done
            assert directory(c, "node-1")[0] == 1 and directory(c, "d-1")[0] == 1, expect
        # One of the clusters alone, by its name.
        c.write_topology(two_clusters(batchBytes="1MiB") + nodes_text("e", ["e-1"]))
        apply(c, "--cluster", "c")
        assert wait_until(lambda: goes_by(c, "node-1", 2), 30)[0] == 2 and directory(c, "d-1")[0] == 1
        done = apply(c, "--cluster", "x", check=False)
        assert done.returncode == 1 and 'defines no cluster "x"' in done.stderr, done


if __name__ == "__main__":
    sys.exit(main([links_change_at_all_nodes_while_they_run,
                   a_node_that_was_away_goes_by_what_was_applied,
                   what_cannot_be_changed_changes_nothing]))
