#!/usr/bin/python3
"""A bit flips on the disk of one replica: in its log (head, middle, last block; in a record that it
leads or follows; while the node is down or up) and in its snapshots.  It is found and told, what was
there comes back from a peer, it is never served, and all that was acknowledged is there at the end."""
import glob
import os
import random
import re
import shutil
import sys

from cluster import Cluster, Load, main, seed, three_nodes, wait_until

KEYS = 240
PARTITIONS = 4  # where there are snapshots
VALUE_BYTES = 8000
SMALL_LOG = ["--wal-segment-bytes=4MiB", "--wal-bytes=16MiB"]


def value_of(key, version):
    """A value that is found again on a disk."""
    token = "<%s#%d>" % (key, version)
    return (token * (VALUE_BYTES // len(token) + 1))[:VALUE_BYTES]


def whole(c, node, copies):
    """Every copy is in sync and without fault."""
    s = c.status(node)
    return (s["led"] == s["partitionCount"] and s["unreachable"] == 0
            and all(p["inSync"] >= min(copies, p["copies"]) for p in s["partitions"])
            and all(c.stat(n)["partitions_faulty"] == 0 for _, n in c.nodes))


def equal(c, node):
    """All copies of each partition hold the same, which they do only at rest."""
    return all(len({r["stateHash"] for r in p["replicas"] if r["role"] != "WITNESS"}) == 1
               for p in c.status(node)["partitions"])


def write_keys(c, node, keys, version=0):
    said = {}
    for at in range(0, len(keys), 40):
        pipe = c.client(node, timeout=30).pipeline(transaction=False)
        for key in keys[at:at + 40]:
            said[key] = value_of(key, version)
            pipe.set(key, said[key])
        assert all(pipe.execute())
    return said


def served(c, node, said):
    client = c.client(node)
    for key, value in said.items():
        got = wait_until(lambda: client.get(key), 20, 0.05)
        assert got == value.encode(), (node, key, got[:60])


# ---- the disk ----

def segments(c, node):
    """The files of the log, oldest first; the last ones may not have been used yet."""
    return sorted(glob.glob(os.path.join(c.row(node)["dir"], "wal", "g*", "w*.seg")))


def content(path):
    with open(path, "rb") as f:
        return f.read()


def place_of(c, node, value):
    """Where a value lies in the node's log."""
    token = value[:value.index(">") + 1].encode()
    for path in segments(c, node):
        at = content(path).find(token)
        if at >= 0:
            return path, at
    raise AssertionError("%r is not in the log of %s" % (token, node))


def last_block(c, node):
    """The last page of the log in which there is something."""
    for path in reversed(segments(c, node)):
        data = content(path)
        for at in range(len(data) - 4096, -1, -4096):
            if data.count(0, at, at + 4096) < 4096:
                return path, at
    raise AssertionError("an empty log")


def flip(path, at, rng):
    at, bit = at + rng.randrange(8), rng.randrange(8)
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 1 << bit]))
        f.flush()
        os.fsync(f.fileno())
    print("  flipped bit %d of byte %d of %s" % (bit, at, path[path.index("/c/") + 3:]), flush=True)


def verify_says_where(c, node, path, at):
    """`wal verify` finds it: the segment, and the block that begins before the bit."""
    done = c.tidemill("wal", "verify", c.row(node)["dir"], check=False)
    assert done.returncode == 1 and "damaged" in done.stderr, done
    number = int(re.search(r"-(\d+)\.seg$", path).group(1))
    found = [(int(s), int(o)) for s, o in
             re.findall(r"(?:ROT|DAMAGED): .* segment (\d+) offset (\d+)", done.stdout)]
    assert any(s == number and o <= at < o + (2 << 20) for s, o in found), (number, at, done.stdout)


def dead(c, node):
    c.kill(node)
    wait_until(lambda: c.row(node)["state"] == "dead", 20)


# ---- the log ----

def rot_in_the_log(rf):
    rng = random.Random(seed())
    with Cluster(three_nodes(rf=rf, partitions=8)) as c:
        c.up()
        wait_until(lambda: whole(c, "node-1", rf), 30)
        keys = ["Rot:%d" % n for n in range(KEYS)]
        said = write_keys(c, "node-1", keys)
        with Load(c, timeout=5, pause=0.004) as load:
            wait_until(lambda: load.acked > 200, 20)

            def is_held(node, key):
                held = c.row(node)["dir"]
                token = said[key][:said[key].index(">") + 1].encode()
                return any(token in content(p) for p in segments(c, node)) and held

            def victim(key, leads):
                leader = c.leader_of(key, "node-1")
                holders = [n for _, n in c.nodes if is_held(n, key)]
                return leader if leads else next(n for n in holders if n != leader)

            for name, leads in (("head", True), ("middle", False), ("last", True)):
                key = {"head": keys[0], "middle": keys[KEYS // 2], "last": keys[-1]}[name]
                node = victim(key, leads)
                print("%s of the log of %s, which %s that record" % (
                    name, node, "leads" if leads else "follows"), flush=True)
                dead(c, node)
                place = last_block(c, node) if name == "last" else place_of(c, node, said[key])
                flip(*place, rng)
                verify_says_where(c, node, *place)
                c.up()
                wait_until(lambda: whole(c, node, rf), 40, 0.3)
                stat, log = c.stat(node), c.log(node)
                if name == "last":
                    assert "wal_damaged" in log or stat["wal_rotten_blocks"] > 0
                else:
                    assert "wal_rot" in log and stat["wal_rotten_blocks"] > 0, stat
                    assert stat["records_repaired"] > 0, stat
                served(c, node, said)
            load.raise_if_wrong()
        for node in "node-1", "node-2", "node-3":  # each is needed once
            dead(c, node)
            served(c, next(n for _, n in c.nodes if n != node), said)
            c.up()
            wait_until(lambda: whole(c, node, rf), 40, 0.3)
        wait_until(lambda: equal(c, "node-1"), 20)
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
    with Cluster(three_nodes(rf=3, partitions=4)) as c:
        c.up()
        wait_until(lambda: whole(c, "node-1", 3), 30)
        probe = c.key_led_by("node-1", "node-1", "Up")
        dead(c, "node-3")
        keys = ["Up:%d" % n for n in range(2800)]  # more than the tail in memory
        said = write_keys(c, "node-1", keys)
        led = {first: last for first, last, node in c.leaders("node-1") if node == "node-1"}
        assert led and probe
        mine = next(k for k in keys if c.leader_of(k, "node-1") == "node-1")
        flip(*place_of(c, "node-1", said[mine]), rng)
        served(c, "node-1", {mine: said[mine]})
        c.up()
        wait_until(lambda: whole(c, "node-2", 3), 60, 0.5)
        assert "log_rot" in c.log("node-1")
        assert c.stat("node-1")["wal_rotten_blocks"] > 0
        assert c.stat("node-1")["records_repaired"] > 0
        dead(c, "node-2")  # what node-3 has came in part from the log that was damaged
        served(c, "node-3", said)
        served(c, "node-1", {mine: said[mine]})


# ---- snapshots ----

def snapshots(c, node, partition):
    """The files of a partition's snapshots that count, the newest last."""
    folder = os.path.join(c.row(node)["dir"], "snapshots", str(partition))
    found = glob.glob(os.path.join(folder, "*.snap"))
    return sorted(found, key=lambda p: int(os.path.basename(p).split("-")[0]))


def holders(c, via, partition):
    return [r["node"] for p in c.status(via)["partitions"] if p["partition"] == partition
            for r in p["replicas"] if r["role"] != "WITNESS"]


def write_until_snapshots(c, node, copies):
    """Writes until each partition has two snapshots wherever it is."""
    said = {}
    for turn in range(40):
        said.update(write_keys(c, node, ["Snap:%d" % n for n in range(KEYS)], turn))
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
        wait_until(lambda: whole(c, "node-1", rf), 30)
        said = write_until_snapshots(c, "node-1", rf)
        for harm in "newest", "both", "pointer":
            partition = rng.randrange(PARTITIONS)
            node = rng.choice(holders(c, "node-1", partition))
            print("%s of partition %d of %s" % (harm, partition, node), flush=True)
            dead(c, node)
            files = snapshots(c, node, partition)
            if harm == "pointer":
                pointer = os.path.join(os.path.dirname(files[0]), "current")
                for copy in 0, 4096:
                    flip(pointer, copy + 8, rng)
            for path in files[-1:] if harm == "newest" else files if harm == "both" else []:
                flip_middle(path, rng)
            c.up()
            wait_until(lambda: whole(c, node, rf) and equal(c, node), 40, 0.3)
            served(c, node, said)
            log = c.log(node)
            if harm == "pointer":
                assert "snapshot_pointer_damaged" in log
            else:
                assert "snapshot_damaged" in log
                assert glob.glob(os.path.join(os.path.dirname(files[0]), "*.damaged"))
        for node in "node-1", "node-2", "node-3":
            dead(c, node)
            served(c, next(n for _, n in c.nodes if n != node), said)
            c.up()
            wait_until(lambda: whole(c, node, rf) and equal(c, node), 40, 0.3)


def rot_in_a_snapshot_of_one_of_three_copies():
    rot_in_snapshots(3)


def rot_in_a_snapshot_of_one_of_two_copies():
    rot_in_snapshots(2)


def a_rotten_snapshot_is_not_sent():
    """A copy that lost its disk needs a snapshot, and the leader's is damaged: it takes another."""
    rng = random.Random(seed())
    with Cluster(three_nodes(rf=3, partitions=PARTITIONS), SMALL_LOG, small=False) as c:
        c.up()
        wait_until(lambda: whole(c, "node-1", 3), 30)
        said = write_until_snapshots(c, "node-1", 3)
        folder = c.row("node-3")["dir"]
        dead(c, "node-3")
        shutil.rmtree(folder)
        wait_until(lambda: c.status("node-1")["led"] == c.status("node-1")["partitionCount"], 20)
        for node in "node-1", "node-2":
            for partition in range(PARTITIONS):
                flip_middle(snapshots(c, node, partition)[-1], rng)
        c.up()
        wait_until(lambda: whole(c, "node-1", 3) and equal(c, "node-1"), 60, 0.3)
        assert "snapshot_rot" in c.log("node-1") + c.log("node-2")
        dead(c, "node-1")
        served(c, "node-3", said)


# ---- what nobody reads ----

SCRUB = ["--wal-segment-bytes=4MiB", "--wal-bytes=64MiB", "--workers=1",
         "--scrub-interval-ms=1000", "--scrub-rate=64MiB"]


def rot_that_nobody_reads_is_found():
    """A bit flips in a segment that is closed, and in a snapshot, of nodes that run and have no reason
    to read there."""
    rng = random.Random(seed())
    with Cluster(three_nodes(rf=3, partitions=PARTITIONS), SCRUB, small=False) as c:
        c.up()
        wait_until(lambda: whole(c, "node-1", 3), 30)
        pids = {n: c.row(n)["pid"] for _, n in c.nodes}
        said = {}
        while len(segments(c, "node-1")) < 3:  # one is closed, one current, one ready
            said.update(write_keys(c, "node-1", ["Rest:%d" % (len(said) + n) for n in range(KEYS)]))
        wait_until(lambda: equal(c, "node-1"), 20)
        for leads in False, True:
            key = next(k for k in said if (c.leader_of(k, "node-1") == "node-1") == leads)
            assert place_of(c, "node-1", said[key])[0] == segments(c, "node-1")[0]
            before = c.stat("node-1")
            flip(*place_of(c, "node-1", said[key]), rng)
            wait_until(lambda: c.stat("node-1")["scrub_damaged"] > before["scrub_damaged"], 30)
            wait_until(lambda: whole(c, "node-1", 3), 30)
            assert c.stat("node-1")["records_repaired"] > before["records_repaired"]
        assert "scrub_damage" in c.log("node-1") and "repair from the leader" in c.log("node-1")

        for _, node in c.nodes:
            c.client(node).config_set("wal-bytes", "16MiB")
        said.update(write_until_snapshots(c, "node-2", 3))
        before = c.stat("node-2")["scrub_damaged"]
        flip_middle(snapshots(c, "node-2", 0)[-1], rng)
        wait_until(lambda: c.stat("node-2")["scrub_damaged"] > before, 30)
        wait_until(lambda: "another snapshot is taken" in c.log("node-2"), 10)
        wait_until(lambda: whole(c, "node-1", 3) and equal(c, "node-1"), 30)
        assert pids == {n: c.row(n)["pid"] for _, n in c.nodes}
        for node in "node-1", "node-2":  # what they have is good: each is needed once
            dead(c, "node-3")
            dead(c, node)
            c.up()
            wait_until(lambda: whole(c, node, 3), 40, 0.3)
            served(c, node, said)


if __name__ == "__main__":
    sys.exit(main([rot_in_the_log_of_one_of_three_copies, rot_in_the_log_of_one_of_two_copies,
                   rot_under_a_node_that_runs, rot_in_a_snapshot_of_one_of_three_copies,
                   rot_in_a_snapshot_of_one_of_two_copies, a_rotten_snapshot_is_not_sent,
                   rot_that_nobody_reads_is_found]))
