#!/usr/bin/python3
"""tidemill recover: the copies that are left go on when the others are lost for good, and only when
the operator says so."""
import shutil
import sys
import threading

from cluster import Cluster, connect, nodes_text, three_nodes
from harness import main, wait_until


def led(c, node):
    s = c.status(node)
    return s["led"] == s["partitionCount"]


def recover(c, node, *args, check=True):
    return c.tidemill("recover", c.row(node)["listen"], *args, check=check)


def write_all(c, node, value, keys=60):
    client = c.client(node)
    for n in range(keys):
        wait_until(lambda: client.set("Order:%d" % n, value), 30, 0.02)


def expect_all(c, node, value, keys=60):
    client = c.client(node)
    for n in range(keys):
        got = wait_until(lambda: client.get("Order:%d" % n), 30, 0.02)
        assert got == value.encode(), (n, got, value)


def two_nodes_one_lost_for_good():
    with Cluster(nodes_text("c", ["node-1", "node-2"], replicationFactor=2, partitions=8)) as c:
        c.up()
        wait_until(lambda: c.whole("node-1"), 30)
        write_all(c, "node-2", "before")
        folder = c.row("node-1")["dir"]
        c.kill("node-1", wait=True)
        wait_until(lambda: not led(c, "node-2"), 30)
        said = recover(c, "node-2", "--all", check=False)  # stdin is empty: nobody says yes
        assert said.returncode == 1 and "not confirmed" in said.stderr, said
        assert "LOST FOR GOOD" in said.stdout and "out of reach" in said.stdout, said.stdout
        assert not led(c, "node-2")
        assert recover(c, "node-2", check=False).returncode == 2
        none = recover(c, "node-2", "--partition", "99", "--yes", check=False)
        assert none.returncode == 1 and "no partition 99" in none.stderr, none
        one = recover(c, "node-2", "--partition", "0", "--yes").stdout
        assert "1 of 1 partitions go on" in one, one
        recover(c, "node-2", "--all", "--yes")
        expect_all(c, "node-2", "before")
        write_all(c, "node-2", "after")
        again = recover(c, "node-2", "--all", "--yes").stdout
        assert "nothing to recover" in again, again
        shutil.rmtree(folder)
        c.up()
        wait_until(lambda: c.whole("node-2"), 30)
        expect_all(c, "node-1", "after")


def two_copies_the_better_one_lost_for_good():
    with Cluster(three_nodes(rf=2, partitions=12)) as c:
        c.up()
        wait_until(lambda: c.whole("node-1"), 30)
        write_all(c, "node-1", "before")
        where = c.addresses()
        c.kill("node-2")
        write_all(c, "node-1", "lone")  # what node-2 has a copy of goes on with one
        c.kill("node-1", wait=True)
        lost = c.row("node-1")["dir"]
        shutil.rmtree(lost)
        up = threading.Thread(target=c.up)  # node-1 comes back without anything: not all is led
        up.start()
        wait_until(lambda: all(connect(*at).ping() for at in where.values()), 30)
        wait_until(lambda: not led(c, "node-3"), 30)
        said = recover(c, "node-2", "--all", "--yes").stdout
        assert "gone on alone" in said, said
        wait_until(lambda: led(c, "node-3"), 30)
        up.join()
        write_all(c, "node-3", "after")
        wait_until(lambda: c.whole("node-2"), 30)
        for node in ("node-1", "node-2"):  # either may die again, the witness is back too
            c.kill(node)
            write_all(c, "node-3", "without " + node)
            c.up()
            wait_until(lambda: c.whole("node-3"), 30)
        expect_all(c, "node-1", "without node-2")


if __name__ == "__main__":
    sys.exit(main([two_nodes_one_lost_for_good, two_copies_the_better_one_lost_for_good]))
