#!/usr/bin/python3
"""Logs that are given up behind snapshots: all nodes die at once while that goes on and nothing
acknowledged is lost; and a copy that needs all there is gets it as a snapshot, while clients write on
and nobody holds the whole of it in memory."""
import glob
import os
import re
import shutil
import signal
import sys
import threading

import redis

from cluster import CALM, Cluster, connect, three_nodes
from harness import SLACK, main, seed, wait_until
from load import Load

ROUNDS = 3
PARTITIONS = 4
SMALL_LOG = ["--wal-segment-bytes=4MiB", "--wal-bytes=16MiB", "--workers=1"]

LARGE_LOG = ["--wal-segment-bytes=4MiB", "--wal-bytes=256MiB", "--workers=1"] + CALM
LARGE_KEYS = 14000
LARGE_BYTES = 8000  # of a value: 112 MB in all
SNAPSHOT_LEAST = 100 << 20
MEMORY_MOST = 48 << 20  # beside what a node holds anyhow: a whole snapshot does not fit


class Bulk:
    """A client that fills the log: it writes large values in pipelines, the same few keys again and
    again, and knows which version of each must be there, and which may."""

    def __init__(self, cluster, prefix, keys=64, value_bytes=8000):
        self.c = cluster
        self.keys = ["%s:%d" % (prefix, n) for n in range(keys)]
        self.value_bytes = value_bytes
        self.acked = dict.fromkeys(self.keys, 0)
        self.tried = dict.fromkeys(self.keys, 0)
        self.where = list(cluster.addresses())
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, value, trace):
        self.stop()

    def stop(self):
        self.done.set()
        self.thread.join(SLACK * 60)
        assert not self.thread.is_alive(), "a client hangs beyond its time limit"

    def value(self, key, version):
        token = "<%s#%d>" % (key, version)
        return token * (self.value_bytes // len(token))

    def run(self):
        version, turn = 0, 0
        while not self.done.is_set():
            version += 1
            try:
                client = connect(*self.c.address(self.where[turn % len(self.where)]), timeout=5)
                for at in range(0, len(self.keys), 16):
                    self.write(client, self.keys[at:at + 16], version)
            except (redis.RedisError, OSError, KeyError):
                turn += 1
                self.done.wait(0.05)

    def write(self, client, keys, version):
        pipe = client.pipeline(transaction=False)
        for key in keys:
            self.tried[key] = version
            pipe.set(key, self.value(key, version))
        for key, answer in zip(keys, pipe.execute(raise_on_error=False)):
            if answer is True:
                self.acked[key] = version

    def verify(self, node):
        client = self.c.client(node)
        for key in self.keys:
            got = (client.get(key) or b"none").decode()
            found = re.match(r"<.*#(\d+)>", got)
            version = int(found.group(1)) if found else 0
            assert self.acked[key] <= version <= self.tried[key], (
                key, version, self.acked[key], self.tried[key])
            assert version == 0 or got == self.value(key, version), (key, got[:60])


def oldest_segment(c, node):
    """The number of the oldest segment of the log that is still there."""
    files = glob.glob(os.path.join(c.row(node)["dir"], "wal", "g*", "w*-*.seg"))
    return min(int(re.search(r"-(\d+)\.seg$", path).group(1)) for path in files)


def snapshots_and_recycling_go_on(c, since):
    """Since then each node has taken snapshots and given segments up."""
    return all(c.stat(node)["snapshots_written"] > PARTITIONS and oldest_segment(c, node) > segment
               for node, segment in since.items())


def kill_all(c):
    pids = [row["pid"] for row in c.ps()]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def all_killed_while_logs_are_given_up(rf):
    seed()
    with Cluster(three_nodes(rf=rf, partitions=PARTITIONS), SMALL_LOG, small=False) as c:
        c.up()
        holders = {r["node"] for p in c.status("node-1")["partitions"] for r in p["replicas"]
                   if r["role"] != "WITNESS"}
        bulks, loads = [], []
        for turn in range(ROUNDS):
            since = {node: oldest_segment(c, node) for node in holders}
            with Load(c, timeout=3, prefix="Round%d" % turn, pause=0.002) as load, \
                    Bulk(c, "Bulk%d" % turn) as bulk:
                wait_until(lambda: load.wrong or snapshots_and_recycling_go_on(c, since), 60)
                kill_all(c)
                load.stop()
                bulk.stop()
            load.raise_if_wrong()
            loads.append(load)
            bulks.append(bulk)
            c.up()
            for load in loads:  # also those that snapshots alone hold by now
                load.where = c.addresses()
                load.verify()
            for bulk in bulks:
                bulk.verify("node-%d" % (turn % 3 + 1))


def three_copies_killed_at_once_while_logs_are_given_up():
    all_killed_while_logs_are_given_up(3)


def two_copies_and_a_witness_killed_at_once_while_logs_are_given_up():
    all_killed_while_logs_are_given_up(2)


# ---- a large snapshot ----

def memory_of(c, node, field="VmRSS"):
    with open("/proc/%d/status" % c.row(node)["pid"], encoding="ascii") as f:
        return int(re.search(field + r":\s+(\d+) kB", f.read()).group(1)) << 10


def forget_peak(c, node):
    """VmHWM begins anew."""
    with open("/proc/%d/clear_refs" % c.row(node)["pid"], "w", encoding="ascii") as f:
        f.write("5")


def large_value(n):
    token = "<Large:%d>" % n
    return token * (LARGE_BYTES // len(token))


def check_large(client, step):
    for n in range(0, LARGE_KEYS, step):
        got = client.get("Large:%d" % n)
        assert got == large_value(n).encode(), (n, got[:60])


def largest_snapshot(c, node):
    files = glob.glob(os.path.join(c.row(node)["dir"], "snapshots", "0", "*.snap"))
    return max((os.path.getsize(path) for path in files), default=0)


def snapshots_sent(c, nodes):
    return sum(c.stat(node)["snapshots_sent"] for node in nodes)


def comes_back(c, node, others, load):
    """It gets the snapshot of one of the others; clients write on; no node's memory grows by as much
    as that is."""
    sent = snapshots_sent(c, others)
    held = {other: memory_of(c, other) for other in others}
    for other in others:
        forget_peak(c, other)
    c.up()
    load.goes_on()
    while snapshots_sent(c, others) == sent:
        load.goes_on()
    wait_until(lambda: c.whole(others[0]), 60)
    assert "snapshot_installed" in c.log(node)
    assert largest_snapshot(c, node) >= SNAPSHOT_LEAST
    grown = max(memory_of(c, other, "VmHWM") - held[other] for other in others)
    peak, most = memory_of(c, node, "VmHWM"), max(held.values())
    print("  the others held %d MiB and grew by %d; %s took up to %d MiB" % (
        most >> 20, grown >> 20, node, peak >> 20), flush=True)
    assert grown < MEMORY_MOST, grown
    assert peak < most + MEMORY_MOST, (peak, most)


def a_copy_gets_a_large_snapshot_while_clients_write():
    seed()
    with Cluster(three_nodes(rf=3, partitions=1), LARGE_LOG, small=False) as c:
        c.up()
        wait_until(lambda: c.whole("node-1"), 30)
        leader = c.leader_of("Large:0", "node-1")
        away, third = [n for _, n in c.nodes if n != leader]
        folder = c.row(away)["dir"]
        c.kill(away)
        c.set_many(leader, {"Large:%d" % n: large_value(n) for n in range(LARGE_KEYS)}, 100)
        for node in leader, third:  # their logs are too large now
            c.client(node).config_set("wal-bytes", "16MiB")
            wait_until(lambda: largest_snapshot(c, node) >= SNAPSHOT_LEAST, 60)
        with Load(c, timeout=15, pause=0.005) as load:
            comes_back(c, away, [leader, third], load)
            c.kill(away, wait=True)
            shutil.rmtree(folder)
            comes_back(c, away, [leader, third], load)
        load.where = c.addresses()
        load.verify()
        wait_until(lambda: c.equal(leader), 30)
        c.kill(leader)  # now what the snapshot brought is needed for each quorum
        check_large(c.client(away), 7)


if __name__ == "__main__":
    sys.exit(main([three_copies_killed_at_once_while_logs_are_given_up,
                   two_copies_and_a_witness_killed_at_once_while_logs_are_given_up,
                   a_copy_gets_a_large_snapshot_while_clients_write]))
