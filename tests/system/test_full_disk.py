#!/usr/bin/python3
"""A full disk: writes are refused with a clear error before anything is promised, reads are served,
nothing that was acknowledged is lost, a node that dies on it starts again on it, and all goes on by
itself when there is room.  Each node's data directory is a small filesystem of its own."""
import contextlib
import os
import sys

import redis

from cluster import Cluster, Load, main, three_nodes, wait_until
from small_disk import SmallDisk, skip_without_small_disks

DISK_MIB = 128
SIZES = 65536, 256  # of values: when there is no room for a large one there may be for small ones
MANY = 2000         # large ones that no small disk has room for


@contextlib.contextmanager
def cluster_on_small_disks(nodes, **options):
    with Cluster(three_nodes(**options)) as c, contextlib.ExitStack() as stack:
        disks = {}
        for node in nodes:
            at = os.path.join(c.data, "c", node)
            disks[node] = stack.enter_context(SmallDisk(at, DISK_MIB, c.dir))
        stack.callback(c.end)
        c.up()
        try:
            yield c, disks
        except BaseException:
            c.show_logs()  # they lie on disks that are about to go
            raise


def settled(c, node, copies):
    s = c.status(node)
    return s["led"] == s["partitionCount"] and s["unreachable"] == 0 and all(
        p["inSync"] >= min(copies, p["copies"]) for p in s["partitions"])


def write_until_refused(c, node, keys):
    """Writes keys that the node leads until it has no more room; what was acknowledged."""
    client, said, size = c.client(node, timeout=30), {}, list(SIZES)
    for n in range(MANY):
        key, value = keys[n % len(keys)], "%d-%s" % (n, "x" * size[0])
        try:
            client.set(key, value)
        except redis.ResponseError as e:
            assert str(e).startswith("DISKFULL") and "free some" in str(e), e
            size.pop(0)
            if not size:
                return said
        else:
            said[key] = value
    raise AssertionError("%d writes went onto a full disk" % MANY)


def fill_and_write(c, disk, node, keys):
    """Fills the disk and what the node had set aside; what was acknowledged on the way."""
    said = {}
    while disk.left() > 0:  # more than once: the node gives back what it could not use
        disk.fill()
        said.update(write_until_refused(c, node, keys))
    return said


def keys_led_by(c, node, count=4):
    return [c.key_led_by(node, node, "Full%d" % n) for n in range(count)]


def served(c, node, said):
    client = c.client(node)
    for key, value in said.items():
        got = wait_until(lambda: client.get(key), 20, 0.05)
        assert got == value.encode(), (node, key, len(got), len(value))


def start_again(c, node):
    c.kill(node)
    wait_until(lambda: c.row(node)["state"] == "dead", 20)
    c.up()
    assert c.row(node)["state"] == "running", c.row(node)


def goes_on(c, node, key):
    client = c.client(node)
    wait_until(lambda: client.set(key, "again"), 30)


def one_full_disk(rf):
    with cluster_on_small_disks(["node-1"], rf=rf, partitions=16) as (c, disks):
        wait_until(lambda: settled(c, "node-1", rf), 30)
        with Load(c, timeout=5) as load:
            wait_until(lambda: load.acked > 200, 20)
        keys = keys_led_by(c, "node-1")
        said = fill_and_write(c, disks["node-1"], "node-1", keys)
        served(c, "node-1", said)
        other = c.key_led_by("node-2", "node-2", "Other")
        assert c.client("node-1").set(other, "taken"), "what others lead they take"
        assert c.stat("node-1")["refused_diskfull"] > 0
        start_again(c, "node-1")
        said[other] = "taken"
        served(c, "node-1", said)
        c.down("--node", "node-1")
        c.up()
        served(c, "node-1", said)
        disks["node-1"].free()
        for key in keys:
            said[key] = "again"
            goes_on(c, "node-1", key)
        # What was logged before was on the full disk, too.
        wait_until(lambda: "disk_has_room" in c.log("node-1"), 20)
        wait_until(lambda: settled(c, "node-2", rf), 60)
        load.where = c.addresses()
        load.verify()
        for node in "node-1", "node-2", "node-3":
            served(c, node, said)


def a_node_on_a_full_disk_refuses_writes_and_serves_reads():
    one_full_disk(3)


def one_of_two_copies_on_a_full_disk():
    one_full_disk(2)


def all_disks_full():
    nodes = ["node-1", "node-2", "node-3"]
    with cluster_on_small_disks(nodes, rf=3, partitions=16) as (c, disks):
        wait_until(lambda: settled(c, "node-1", 3), 30)
        with Load(c, timeout=5) as load:
            wait_until(lambda: load.acked > 200, 20)
        keys = {node: keys_led_by(c, node, 2) for node in nodes}
        said = {}
        for node in nodes:
            said.update(fill_and_write(c, disks[node], node, keys[node]))
        for node in nodes:
            served(c, node, said)
        for node in nodes:  # one after the other, and then all at once
            start_again(c, node)
            served(c, node, said)
        for node in nodes:
            c.kill(node)
        c.up()
        for node in nodes:
            served(c, node, said)
        load.where = c.addresses()
        load.verify()
        for disk in disks.values():
            disk.free()
        for node in nodes:
            for key in keys[node]:
                said[key] = "again"
                goes_on(c, node, key)
        wait_until(lambda: settled(c, "node-1", 3), 60)
        load.verify()
        for node in nodes:
            served(c, node, said)


if __name__ == "__main__":
    skip_without_small_disks()
    sys.exit(main([a_node_on_a_full_disk_refuses_writes_and_serves_reads,
                   one_of_two_copies_on_a_full_disk, all_disks_full]))
