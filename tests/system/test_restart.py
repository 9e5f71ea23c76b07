#!/usr/bin/python3
"""What restarts may bring: other worker counts, and a node whose disk was wiped."""
import os
import shutil
import sys

from cluster import Cluster, three_nodes
from harness import main, wait_until
from load import Load

TINY_LOG = ["--wal-segment-bytes=4MiB", "--wal-bytes=32MiB"]


def the_worker_count_may_change_between_starts():
    with Cluster(three_nodes(), TINY_LOG, small=False) as c:
        c.up("--workers=1")
        client = c.client("node-1")
        for i in range(200):
            client.set("Order:%d" % i, i)
        for workers in 2, 1, 3, 1:
            c.down()
            c.up("--workers=%d" % workers)
            client = c.client("node-%d" % (workers % 3 + 1))
            assert [client.get("Order:%d" % i) for i in range(200)] == [
                b"%d" % i for i in range(200)], workers
            client.set("Workers:%d" % workers, "x")
            wait_until(lambda: c.whole("node-2"), 30)


def a_wiped_node_returns_and_is_counted_again():
    with Cluster(three_nodes()) as c:
        c.up()
        with Load(c, timeout=3) as load:
            load.goes_on(100)
            c.kill("node-3", wait=True)
            shutil.rmtree(os.path.join(c.data, "c", "node-3"))
            c.up()
            wait_until(lambda: c.whole("node-1"), 30)
            load.stop()
            load.where = c.addresses()
        c.kill("node-1")  # now node-3 is needed for each quorum
        load.verify(["node-2", "node-3"])


if __name__ == "__main__":
    sys.exit(main([the_worker_count_may_change_between_starts,
                   a_wiped_node_returns_and_is_counted_again]))
