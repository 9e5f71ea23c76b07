#!/usr/bin/python3
"""A full disk: writes are refused with a clear error before anything is promised, reads are served,
nothing that was acknowledged is lost, a node that dies on it starts again on it, and all goes on by
itself when there is room.  Each node's data directory is a small filesystem of its own."""
import contextlib
import os
import sys

import redis

from cluster import Cluster, connect, three_nodes, undecided
from harness import main, wait_until
from load import Load
from small_disk import SmallDisk, need_small_disks

DISK_MIB = 128
SIZES = 65536, 256  # of values: when there is no room for a large one there may be for small ones
MANY = 2000         # large ones that no small disk has room for
KEYS = 4            # of the node with the full disk
LOOK_AGAIN = 50     # writes after which its keys are chosen anew


@contextlib.contextmanager
def cluster_on_small_disks(nodes, **options):
    need_small_disks()
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
            c.tell()  # the logs lie on disks that are about to go
            raise


def write_until_refused(c, node, said):
    """Writes keys that the node leads until it has no more room; said is what each has to be.
    False if it leads none."""
    client, size = connect(*c.address(node)), list(SIZES)
    for n in range(MANY):
        if n % LOOK_AGAIN == 0:  # a slow disk makes leaders change
            keys = [c.key_led_now(node, node, "Full%d" % k) for k in range(KEYS)]
            if None in keys:
                return False
        key, value = keys[n % KEYS], "%d-%s" % (n, "x" * size[0])
        try:
            client.set(key, value)
        except redis.ResponseError as e:
            if undecided(e):
                said.pop(key, None)
                continue
            assert str(e).startswith("DISKFULL") and "free some" in str(e), e
            size.pop(0)
            if not size:
                return True
        else:
            said[key] = value
    raise AssertionError("%d writes went onto a full disk" % MANY)


def fill_and_write(c, disk, node):
    """Fills the disk and what the node had set aside; what was acknowledged on the way, by key."""
    said = {}
    while disk.left() > 0:  # more than once: the node gives back what it could not use
        disk.fill()
        while not write_until_refused(c, node, said):
            disk.free()  # nobody makes a node lead whose disk is full
            c.key_led_by(node, node)
            disk.fill()
    return said


def takes_writes(c, said, value):
    """Soon all keys can be written again."""
    client = c.client("node-1")
    for key in said:
        wait_until(lambda key=key: client.set(key, value), 30)
        said[key] = value


def taken_by_another(c):
    """A key that another node has taken, as others do what they lead."""
    key = c.key_led_by("node-2", "node-2", "Other")
    return key if c.client("node-1").set(key, "taken") else None


def one_full_disk(rf):
    with cluster_on_small_disks(["node-1"], rf=rf, partitions=16) as (c, disks):
        wait_until(lambda: c.whole("node-1"), 30)
        with Load(c, timeout=5) as load:
            load.goes_on(200)
        said = fill_and_write(c, disks["node-1"], "node-1")
        assert said, "it refuses while there is room in what it had set aside"
        c.serves("node-1", said)
        other = wait_until(lambda: taken_by_another(c), 30)
        assert c.stat("node-1")["refused_diskfull"] > 0
        c.kill("node-1", wait=True)
        c.up()
        said[other] = "taken"
        c.serves("node-1", said)
        c.down("--node", "node-1")
        c.up()
        c.serves("node-1", said)
        disks["node-1"].free()
        takes_writes(c, said, "again")
        # What was logged before was on the full disk, too.
        wait_until(lambda: "disk_has_room" in c.log("node-1"), 30)
        wait_until(lambda: c.whole("node-2"), 60)
        load.where = c.addresses()
        load.verify()
        for node in "node-1", "node-2", "node-3":
            c.serves(node, said)


def a_node_on_a_full_disk_refuses_writes_and_serves_reads():
    one_full_disk(3)


def one_of_two_copies_on_a_full_disk():
    one_full_disk(2)


def all_disks_full():
    nodes = ["node-1", "node-2", "node-3"]
    with cluster_on_small_disks(nodes, rf=3, partitions=16) as (c, disks):
        wait_until(lambda: c.whole("node-1"), 30)
        with Load(c, timeout=5) as load:
            load.goes_on(200)
        said = {}
        for node in nodes:
            said.update(fill_and_write(c, disks[node], node))
        assert said
        for node in nodes:
            c.serves(node, said)
        for node in nodes:  # one after the other, and then all at once
            c.kill(node, wait=True)
            c.up()
            c.serves(node, said)
        for node in nodes:
            c.kill(node)
        c.up()
        for node in nodes:
            c.serves(node, said)
        load.where = c.addresses()
        load.verify()
        for disk in disks.values():
            disk.free()
        takes_writes(c, said, "again")
        wait_until(lambda: c.whole("node-1"), 60)
        load.verify()
        for node in nodes:
            c.serves(node, said)


if __name__ == "__main__":
    sys.exit(main([a_node_on_a_full_disk_refuses_writes_and_serves_reads,
                   one_of_two_copies_on_a_full_disk, all_disks_full]))
