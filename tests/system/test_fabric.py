#!/usr/bin/python3
"""Replication goes over dpdk by default, and over tcp where that is asked for."""
import sys

from cluster import Cluster, three_nodes
from harness import main, wait_until

WRITES = 300


def write(c):
    client = c.client("node-1")
    for i in range(WRITES):
        client.set("Order:%d" % i, "x" * 200)


def frames(c, fabric):
    """{node: (frames sent, frames received, bytes sent)} of a fabric."""
    out = {}
    for _, node in c.nodes:
        s = c.stat(node)
        out[node] = tuple(s["%s_%s" % (fabric, what)]
                          for what in ("frames_sent", "frames_received", "bytes_sent"))
    return out


def replication_goes_over(fabric, other, options):
    with Cluster(three_nodes(), options) as c:
        c.up()
        assert all(row["fabric"] == fabric for row in c.ps())
        before = frames(c, fabric)
        write(c)
        after = frames(c, fabric)
        for node in after:
            assert after[node][0] > before[node][0], (node, before, after)
            assert after[node][1] > before[node][1], (node, before, after)
        # Each value goes to two more nodes, and over this fabric.
        wait_until(lambda: sum(bytes_ - before[n][2] for n, (_, _, bytes_) in frames(c, fabric).items())
                   >= 2 * 200 * WRITES, 30)
        assert all(f == (0, 0, 0) for f in frames(c, other).values()), frames(c, other)


def dpdk_is_the_default():
    replication_goes_over("dpdk", "tcp", [])


def tcp_is_there_where_it_is_asked_for():
    replication_goes_over("tcp", "dpdk", ["--fabric", "tcp"])


if __name__ == "__main__":
    sys.exit(main([dpdk_is_the_default, tcp_is_there_where_it_is_asked_for]))
