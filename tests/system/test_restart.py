#!/usr/bin/python3
"""What restarts may bring: a node whose disk was wiped."""
import os
import shutil
import sys

from cluster import Cluster, Load, main, three_nodes, wait_until

def well(c, node):
    s = c.status(node)
    return s["led"] == s["partitionCount"] and s["unreachable"] == 0 and all(
        p["inSync"] == p["copies"] for p in s["partitions"])


def a_wiped_node_returns_and_is_counted_again():
    with Cluster(three_nodes()) as c:
        c.up()
        with Load(c, timeout=3) as load:
            wait_until(lambda: load.acked > 100, 10)
            c.kill("node-3")
            wait_until(lambda: c.row("node-3")["state"] == "dead", 10)
            shutil.rmtree(os.path.join(c.data, "c", "node-3"))
            c.up()
            wait_until(lambda: well(c, "node-1"), 20)
            load.stop()
            load.where = c.addresses()
        c.kill("node-1")  # now node-3 is needed for each quorum
        load.verify(["node-2", "node-3"])


if __name__ == "__main__":
    sys.exit(main([a_wiped_node_returns_and_is_counted_again]))
