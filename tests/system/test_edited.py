#!/usr/bin/python3
"""Topology files that were edited after the cluster was created: nodes run on with what the cluster
has, and say what differs; a node that the cluster does not know is told so at once."""
import os
import shutil
import sys

from cluster import Cluster, nodes_text, three_nodes
from harness import main, wait_until

THREE = ["node-1", "node-2", "node-3"]


def differences(c, node):
    return [line for line in c.log(node).splitlines() if "topology_differs" in line]


def fill(c):
    client = c.client("node-1")
    for i in range(50):
        client.set("Order:%d" % i, i)


def expect_filled(c, node):
    client = c.client(node)
    assert [client.get("Order:%d" % i) for i in range(50)] == [b"%d" % i for i in range(50)]


def refuses_node_4(c):
    """up fails because of node-4 alone, names it and says why, and waits for nothing once the others
    are ready."""
    done = c.up(check=False)
    assert done.returncode == 1, done
    lines = done.stderr.splitlines()
    progress = [line for line in lines if " nodes ready, " in line]
    assert sum("3 of 4 nodes ready, 1 ended" in line for line in progress) < 2, done.stderr
    assert len(lines) == len(progress) + 1, done.stderr
    for words in "node-4", "not part of cluster c", "node-1, node-2, node-3":
        assert words in lines[-1], done.stderr
    assert all(row["node"] != "node-4" for row in c.ps()), c.ps()


def with_node_4(*options):
    with Cluster(three_nodes(), options) as c:
        c.up()
        fill(c)
        c.write_topology(nodes_text("c", THREE + ["node-4"], replicationFactor=3))
        refuses_node_4(c)
        assert all(c.row(n)["state"] == "running" for n in THREE), c.ps()
        c.down()
        refuses_node_4(c)  # also where all are started with the edited file
        for node in THREE:
            expect_filled(c, node)
            wait_until(lambda: any("adds 'node-4'" in line for line in differences(c, node)), 30)
        c.write_topology(three_nodes())
        c.down()
        c.up()
        expect_filled(c, "node-2")


def a_node_that_the_file_adds_is_told_so_at_once():
    with_node_4()


def a_node_that_the_file_adds_is_told_so_at_once_over_tcp():
    with_node_4("--fabric=tcp")


def nodes_in_another_order_keep_their_places():
    """A rolling restart with a file that has other nodes first, and another cluster before."""
    for fabric in "dpdk", "tcp":
        with Cluster(three_nodes(), ["--fabric=" + fabric]) as c:
            c.up()
            fill(c)
            listens = {n: c.row(n)["listen"] for n in THREE}
            c.write_topology(nodes_text("other", ["x"]) +
                             nodes_text("c", ["node-3", "node-1", "node-2"], replicationFactor=3))
            for node in "node-2", "node-1", "node-3":
                c.down("--node", node)
                c.up("--cluster", "c")
                wait_until(lambda: c.whole("node-1"), 30)
                expect_filled(c, node)
                assert c.row(node)["listen"] == listens[node], c.ps()
                wait_until(lambda: any("another order" in line for line in differences(c, node)), 30)


def a_wiped_node_takes_its_place_from_the_others():
    with Cluster(three_nodes()) as c:
        c.up()
        fill(c)
        c.down("--node", "node-1")
        c.write_topology(nodes_text("c", ["node-3", "node-2", "node-1"], replicationFactor=3))
        shutil.rmtree(os.path.join(c.data, "c", "node-1"))
        c.up()
        wait_until(lambda: c.whole("node-2"), 30)
        expect_filled(c, "node-1")


def a_member_that_the_file_leaves_out_stays_one():
    with Cluster(three_nodes()) as c:
        c.up()
        fill(c)
        c.down("--node", "node-1")
        c.down("--node", "node-3")
        c.write_topology(nodes_text("c", ["node-1", "node-3"], replicationFactor=2))
        c.up()
        wait_until(lambda: c.whole("node-1"), 30)  # node-2, which still runs, counts
        expect_filled(c, "node-3")
        for words in "leaves out 'node-2'", "replicationFactor":
            wait_until(lambda: any(words in line for line in differences(c, "node-1")), 30)


def each_difference_is_one_line():
    def text(workers, **options):
        return three_nodes(**options) + 'defineNode("node-2", { workers: %d });\n' % workers
    with Cluster(text(1, region="mars", replicateEntityTypes=["Order", "User"],
                      replicateTo=["other"]), ["--fabric=tcp"]) as c:
        c.up()
        fill(c)
        assert not differences(c, "node-1")
        c.down()
        c.write_topology(text(2, rf=2, partitions=16, location="here",
                              replicateEntityTypes=["Order"], excludeEntityTypes=["Log"],
                              replicateTo=["other"], replicationMode="sync"))
        c.up()
        wait_until(lambda: c.whole("node-1"), 30)
        expect_filled(c, "node-3")
        wait_until(lambda: len(differences(c, "node-3")) >= 9, 30)
        said = "\n".join(differences(c, "node-3"))
        for line in (
                "partitions: the file says 16, the cluster has 256",
                "replicationFactor: the file says 2, the cluster has 3",
                "link c -> other: excludeEntityTypes: the file says 'Log', the cluster has nothing",
                "location: the file says 'here', the cluster has nothing",
                "region: the file says nothing, the cluster has 'mars'",
                "jurisdiction: the file says nothing, the cluster has 'mars'",
                "link c -> other: replicateEntityTypes: the file says 'Order', the cluster has 'Order,User'",
                "link c -> other: replicationMode: the file says 'sync', the cluster has 'async'",
                "node-2/workers: the file says '2', the cluster has '1'"):
            assert line in said, (line, said)
        assert len(differences(c, "node-3")) == 9, said


if __name__ == "__main__":
    sys.exit(main([a_node_that_the_file_adds_is_told_so_at_once,
                   a_node_that_the_file_adds_is_told_so_at_once_over_tcp,
                   nodes_in_another_order_keep_their_places,
                   a_wiped_node_takes_its_place_from_the_others,
                   a_member_that_the_file_leaves_out_stays_one,
                   each_difference_is_one_line]))
