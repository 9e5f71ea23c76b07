#!/usr/bin/python3
"""A device that fails: its node acknowledges nothing more, says why, and ends; the others go on with
all that was acknowledged, and the node comes back on a new device, empty."""
import contextlib
import os
import subprocess
import sys

import redis

from cluster import Cluster, connect, three_nodes
from harness import main, wait_until
from load import Load
from small_disk import DyingDisk, need_small_disks

DISK_MIB = 96
SEGMENTS = ["--wal-segment-bytes=4MiB", "--wal-bytes=16MiB"]


def a_device_fails(rf):
    need_small_disks()
    with Cluster(three_nodes(rf=rf), SEGMENTS, small=False) as c:
        at = os.path.join(c.data, "c", "node-2")
        log = os.path.join(c.dir, "node-2.log")
        with DyingDisk(at, DISK_MIB, c.dir) as disk:
            os.symlink(log, os.path.join(at, "node.log"))  # not on the device
            try:
                c.up()
                pid = c.row("node-2")["pid"]
                with Load(c, timeout=3) as load:
                    load.goes_on(50)
                    disk.die()
                    wait_until(lambda: not running(pid), 30)
                    load.leave_out("node-2")
                    load.goes_on(50)
                said = c.log("node-2")
                assert "event=wal_failed" in said, said[-2000:]
                assert "node node-2 of c ends: the write-ahead log failed" in said, said[-2000:]
                load.verify(["node-1", "node-3"])
            except BaseException:
                c.tell()  # the directory is about to go
                raise
        os.rmdir(at)  # a new device
        c.up()
        wait_until(lambda: c.whole("node-1"), 60, 0.5)
        load.verify()


def running(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def a_node_alone_ends_with_the_reason():
    """Exit status 1 and one line of what it was, on a standard error that is not on the device."""
    need_small_disks()
    with Cluster('defineCluster("c", { nodes: ["n1"] });') as c:
        at = os.path.join(c.data, "c", "n1")
        with DyingDisk(at, DISK_MIB, c.dir) as disk:
            p = subprocess.Popen([c.program, "serve", "--topology", c.topology, "--cluster", "c",
                                  "--node", "n1", "--data-dir", at, "--base-port",
                                  str(c.base_port), *SEGMENTS], stderr=subprocess.PIPE, text=True)
            client = wait_until(lambda: answers(c), 30)
            said = 0
            disk.die()
            with contextlib.suppress(redis.RedisError, OSError):
                while client.set("Order:1", "x" * 500):
                    said += 1
                    assert said < 1000, "writes are acknowledged that went nowhere"
            status, err = p.wait(300), p.stderr.read().splitlines()
            assert status == 1, (status, err)
            last = [line for line in err if line.startswith("tidemill")]
            assert len(last) == 1 and "write-ahead log failed" in last[0], err
            print("  " + last[0])


def answers(c):
    client = connect("127.0.0.1", c.base_port)
    return client if client.set("first", 1) else None


def one_of_three_copies():
    a_device_fails(3)


def one_of_two_copies():
    a_device_fails(2)


if __name__ == "__main__":
    sys.exit(main([one_of_three_copies, one_of_two_copies, a_node_alone_ends_with_the_reason]))
