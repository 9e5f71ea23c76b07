#!/usr/bin/python3
"""A bit flips on the disk of one replica: in its log (head, middle, last block; in a record that it
leads or follows; while the node is down or up) and in its snapshots.  It is found and told, what was
there comes back from a peer, it is never served, and all that was acknowledged is there at the end."""
import contextlib
import glob
import os
import random
import re
import shutil
import struct
import sys
import time

from cluster import CALM, PATIENCE, Cluster, three_nodes
from disk import content, flip, place_of, segments, token_of, values
from harness import main, seed, wait_until
from load import Load

KEYS = 240
PARTITIONS = 4  # where there are snapshots
SMALL_LOG = ["--wal-segment-bytes=4MiB", "--wal-bytes=16MiB"]


def last_block(c, node):
    """The last page of the log in which there is something."""
    for path in reversed(segments(c, node)):
        data = content(path)
        for at in range(len(data) - 4096, -1, -4096):
            if data.count(0, at, at + 4096) < 4096:
                return path, at
    raise AssertionError("an empty log")


def verify_says_where(c, node, path, at):
    """`wal verify` finds it: the segment, and the block that begins before the bit."""
    done = c.tidemill("wal", "verify", c.row(node)["dir"], check=False)
    assert done.returncode == 1 and "damaged" in done.stderr, done
    number = int(re.search(r"-(\d+)\.seg$", path).group(1))
    found = [(int(s), int(o)) for s, o in
             re.findall(r"(?:ROT|DAMAGED): .* segment (\d+) offset (\d+)", done.stdout)]
    assert any(s == number and o <= at < o + (2 << 20) for s, o in found), (number, at, done.stdout)


# ---- the log ----

def rot_in_the_log(rf):
    rng = random.Random(seed())
    with Cluster(three_nodes(rf=rf, partitions=8)) as c:
        c.up()
        wait_until(lambda: c.whole("node-1"), 30)
        said = values("Rot", KEYS)
        keys = list(said)
        c.set_many("node-1", said)
        with Load(c, timeout=5, pause=0.004) as load:
            load.goes_on(200)

            def holders(key):
                return [n for _, n in c.nodes
                        if any(token_of(said[key]) in content(p) for p in segments(c, n))]

            for name, leads in (("head", True), ("middle", False), ("last", True)):
                key = {"head": keys[0], "middle": keys[KEYS // 2], "last": keys[-1]}[name]
                leader = c.leader_of(key, "node-1")
                node = leader if leads else next(n for n in holders(key) if n != leader)
                print("%s of the log of %s, which %s that record" % (
                    name, node, "leads" if leads else "follows"), flush=True)
                c.kill(node, wait=True)
                place = last_block(c, node) if name == "last" else place_of(c, node, said[key])
                flip(*place, rng)
                verify_says_where(c, node, *place)
                c.up()
                wait_until(lambda: c.whole(node), 40, 0.3)
                stat, log = c.stat(node), c.log(node)
                if name == "last":
                    assert "wal_damaged" in log or stat["wal_rotten_blocks"] > 0
                else:
                    assert "wal_rot" in log and stat["wal_rotten_blocks"] > 0, stat
                    wait_until(lambda: c.stat(node)["records_repaired"] > 0, 30)
                c.serves(node, said)
            load.raise_if_wrong()
        for node in "node-1", "node-2", "node-3":  # each is needed once
            c.kill(node, wait=True)
            c.serves(next(n for _, n in c.nodes if n != node), said)
            c.up()
            wait_until(lambda: c.whole(node), 40, 0.3)
        wait_until(lambda: c.equal("node-1"), 30)
        load.where = c.addresses()
        load.verify()


def rot_in_the_log_of_one_of_three_copies():
    rot_in_the_log(3)


def rot_in_the_log_of_one_of_two_copies():
    rot_in_the_log(2)


def rot_under_a_node_that_runs():
    """A leader that reads old records for a copy that was away meets the rot, and steps down; who
    leads then repairs it."""
    rng = random.Random(seed())
    with Cluster(three_nodes(rf=3, partitions=4), CALM) as c:
        c.up()
        wait_until(lambda: c.whole("node-1"), 30)
        c.kill("node-3", wait=True)
        said = values("Up", 2800)  # more than the tail in memory
        c.set_many("node-1", said)
        mine = wait_until(lambda: first_led(c, "node-1", said, True), 60)
        flip(*place_of(c, "node-1", said[mine]), rng)
        c.serves("node-1", {mine: said[mine]})
        c.up()
        wait_until(lambda: c.whole("node-2"), 60, 0.5)
        wait_until(lambda: "log_rot" in c.log("node-1"), 30)
        for counter in "wal_rotten_blocks", "records_repaired":
            wait_until(lambda: c.stat("node-1")[counter] > 0, 30)
        c.kill("node-2", wait=True)  # what node-3 has came in part from the log that was damaged
        c.serves("node-3", said)
        c.serves("node-1", {mine: said[mine]})


# ---- snapshots ----

def snapshots(c, node, partition):
    """The files of a partition's snapshots that count, the newest last."""
    folder = os.path.join(c.row(node)["dir"], "snapshots", str(partition))
    pointer = os.path.join(folder, "current")
    if not os.path.exists(pointer):
        return []
    _, count, _, *walked = struct.unpack_from("<QII4Q", content(pointer))  # storage/snapshot_internal.h
    named = [os.path.join(folder, "%d-%d.snap" % (walked[2 * n], walked[2 * n + 1])) for n in range(count)]
    return [path for path in reversed(named) if os.path.exists(path)]


def holders(c, via, partition):
    return [r["node"] for p in c.status(via)["partitions"] if p["partition"] == partition
            for r in p["replicas"] if r["role"] != "WITNESS"]


def write_until_snapshots(c, node, copies):
    """Writes until each partition has two snapshots wherever it is."""
    end, turn = time.monotonic() + PATIENCE, 0
    while time.monotonic() < end:
        turn += 1
        said = values("Snap", KEYS, turn)
        c.set_many(node, said)
        held = [len(snapshots(c, n, partition)) for partition in range(PARTITIONS)
                for n in holders(c, node, partition)]
        if min(held) >= 2 and len(held) == copies * PARTITIONS:
            return said
    raise AssertionError("no snapshots: %r" % held)


def flip_middle(path, rng):
    flip(path, os.path.getsize(path) // 2, rng)


def rot_in_snapshots(rf):
    rng = random.Random(seed())
    with Cluster(three_nodes(rf=rf, partitions=PARTITIONS), SMALL_LOG, small=False) as c:
        c.up()
        wait_until(lambda: c.whole("node-1"), 30)
        said = write_until_snapshots(c, "node-1", rf)
        for harm in "newest", "both", "pointer":
            partition = rng.randrange(PARTITIONS)
            node = rng.choice(holders(c, "node-1", partition))
            print("%s of partition %d of %s" % (harm, partition, node), flush=True)
            c.kill(node, wait=True)
            files = snapshots(c, node, partition)
            if harm == "pointer":
                pointer = os.path.join(os.path.dirname(files[0]), "current")
                for copy in 0, 4096:
                    flip(pointer, copy + 8, rng)
            for path in files[-1:] if harm == "newest" else files if harm == "both" else []:
                flip_middle(path, rng)
            c.up()
            wait_until(lambda: c.whole(node) and c.equal(node), 40, 0.3)
            c.serves(node, said)
            log = c.log(node)
            if harm == "pointer":
                assert "snapshot_pointer_damaged" in log
            else:
                assert "snapshot_damaged" in log
                assert glob.glob(os.path.join(os.path.dirname(files[0]), "*.damaged"))
        for node in "node-1", "node-2", "node-3":
            c.kill(node, wait=True)
            c.serves(next(n for _, n in c.nodes if n != node), said)
            c.up()
            wait_until(lambda: c.whole(node) and c.equal(node), 40, 0.3)


def rot_in_a_snapshot_of_one_of_three_copies():
    rot_in_snapshots(3)


def rot_in_a_snapshot_of_one_of_two_copies():
    rot_in_snapshots(2)


def a_rotten_snapshot_is_not_sent():
    """A copy that lost its disk needs a snapshot, and the leader's is damaged: it takes another."""
    rng = random.Random(seed())
    with Cluster(three_nodes(rf=3, partitions=PARTITIONS), SMALL_LOG, small=False) as c:
        c.up()
        wait_until(lambda: c.whole("node-1"), 30)
        said = write_until_snapshots(c, "node-1", 3)
        folder = c.row("node-3")["dir"]
        c.kill("node-3", wait=True)
        shutil.rmtree(folder)
        wait_until(lambda: c.status("node-1")["led"] == c.status("node-1")["partitionCount"], 30)
        for node in "node-1", "node-2":
            for partition in range(PARTITIONS):
                flip_middle(snapshots(c, node, partition)[-1], rng)
        c.up()
        wait_until(lambda: c.whole("node-1") and c.equal("node-1"), 60, 0.3)
        assert "snapshot_rot" in c.log("node-1") + c.log("node-2")
        c.kill("node-1", wait=True)
        c.serves("node-3", said)


# ---- what nobody reads ----

SCRUB = ["--wal-segment-bytes=4MiB", "--wal-bytes=64MiB", "--workers=1",
         "--scrub-interval-ms=1000", "--scrub-rate=64MiB"]


def first_led(c, node, keys, leads):
    """The first of the keys whose partition the node leads, or does not lead."""
    is_led = c.leads(node, node)
    return next((k for k in keys if is_led(k) == leads), None)


def only_in_the_oldest(c, node, said):
    """The keys whose values are in the oldest segment, and not in others, too, as those that were
    brought back: nobody reads again where such were."""
    oldest, *newer = map(content, segments(c, node))
    tokens = {key: token_of(value) for key, value in said.items()}
    return [key for key, token in tokens.items()
            if token in oldest and not any(token in data for data in newer)]


def harm_a_snapshot(c, node, rng):
    """Flips a bit in one that counts, until it is found; some may still come and go."""
    before, found = c.stat(node)["scrub_damaged"], False
    while not found:
        path = wait_until(lambda: snapshots(c, node, 0), 30)[-1]
        with contextlib.suppress(FileNotFoundError):
            flip_middle(path, rng)
        wait_until(lambda: c.stat(node)["scrub_damaged"] > before or not os.path.exists(path), 30)
        found = c.stat(node)["scrub_damaged"] > before


def rot_that_nobody_reads_is_found():
    """A bit flips in a segment that is closed, and in a snapshot, of nodes that run and have no reason
    to read there."""
    rng = random.Random(seed())
    with Cluster(three_nodes(rf=3, partitions=PARTITIONS), SCRUB, small=False) as c:
        c.up()
        wait_until(lambda: c.whole("node-1"), 30)
        pids = {n: c.row(n)["pid"] for _, n in c.nodes}
        said = {}
        while len(segments(c, "node-1")) < 3:  # one is closed, one current, one ready
            said.update(values("Rest", KEYS, first=len(said)))
            c.set_many("node-1", dict(list(said.items())[-KEYS:]))
        wait_until(lambda: c.equal("node-1"), 30)
        for leads in False, True:
            keys = only_in_the_oldest(c, "node-1", said)
            key = wait_until(lambda: first_led(c, "node-1", keys, leads), 60)
            before = c.stat("node-1")
            flip(*place_of(c, "node-1", said[key]), rng)
            wait_until(lambda: c.stat("node-1")["scrub_damaged"] > before["scrub_damaged"], 30)
            wait_until(
                lambda: c.stat("node-1")["records_repaired"] > before["records_repaired"], 30)
            wait_until(lambda: c.whole("node-1"), 30)
        assert "scrub_damage" in c.log("node-1") and "repair from the leader" in c.log("node-1")

        for _, node in c.nodes:
            c.client(node).config_set("wal-bytes", "16MiB")
        said.update(write_until_snapshots(c, "node-2", 3))
        harm_a_snapshot(c, "node-2", rng)
        wait_until(lambda: "another snapshot is taken" in c.log("node-2"), 30)
        wait_until(lambda: c.whole("node-1") and c.equal("node-1"), 30)
        assert pids == {n: c.row(n)["pid"] for _, n in c.nodes}
        for node in "node-1", "node-2":  # what they have on their disks is good
            c.kill(node, wait=True)
            c.up()
            wait_until(lambda: c.whole(node) and c.equal(node), 40, 0.3)
            c.serves(node, said)


if __name__ == "__main__":
    sys.exit(main([rot_in_the_log_of_one_of_three_copies, rot_in_the_log_of_one_of_two_copies,
                   rot_under_a_node_that_runs, rot_in_a_snapshot_of_one_of_three_copies,
                   rot_in_a_snapshot_of_one_of_two_copies, a_rotten_snapshot_is_not_sent,
                   rot_that_nobody_reads_is_found]))
