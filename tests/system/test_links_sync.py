#!/usr/bin/python3
"""Synchronous links: an OK means that the target has the write.  The target is killed under load, under each
of onUnavailable; the whole source is lost, and the target has all that was acknowledged."""
import random
import sys
import threading
import time

import redis

from cluster import Cluster, connect
from harness import main, seed, wait_until
from linked import FABRIC, addresses_of, ends, total

SOURCE, TARGET = ["f-1", "f-2", "f-3"], ["c-1", "c-2", "c-3"]
WRITERS = 8


def linked(**options):
    return Cluster(ends({"replicateTo": ["cloud"], "replicationMode": "sync", **options}, {}), FABRIC)


class Counting(threading.Thread):
    """Counts a key of its own up; knows the last number that got its OK, and the last that was sent."""

    def __init__(self, addresses, number, rng):
        super().__init__(daemon=True)
        self.addresses, self.key, self.rng = addresses, "Order:%d" % number, rng
        self.sent = self.told = self.unknown = 0
        self.longest, self.ends = 0.0, threading.Event()

    def run(self):
        client = None
        while not self.ends.is_set():
            began = time.monotonic()
            try:
                client = client or connect(*self.rng.choice(self.addresses), timeout=60)
                self.sent += 1
                client.set(self.key, self.sent)
                self.told = self.sent
            except redis.ResponseError as e:
                assert "outcome unknown" in str(e), e
                self.unknown += 1
            except (redis.ConnectionError, redis.TimeoutError):
                client = None
                time.sleep(0.02)
            self.longest = max(self.longest, time.monotonic() - began)


def begin(c):
    c.up()
    rng = random.Random(seed())
    writers = [Counting(addresses_of(c, SOURCE), i, random.Random(rng.random()))
               for i in range(WRITERS)]
    for w in writers:
        w.start()
    goes_on(writers)
    return writers


def told(writers):
    return sum(w.told for w in writers)


def goes_on(writers, more=200):
    want = told(writers) + more
    wait_until(lambda: told(writers) >= want, 60)


def stop(writers):
    for w in writers:
        w.ends.set()
    for w in writers:
        w.join(60)
        assert not w.is_alive(), "a writer does not end"


def kill(c, names):
    for name in names:
        c.kill(name, wait=True)


def holds_all(c, writers):
    """The target has all that was told, and nothing that was never sent."""
    client = c.client("c-1")
    for w in writers:
        has = int(client.get(w.key) or 0)
        assert w.told <= has <= w.sent, (w.key, w.told, has, w.sent)


def come_to_the_same(c, writers):
    ours, theirs = c.client("f-1"), c.client("c-1")
    wait_until(lambda: all(ours.get(w.key) == theirs.get(w.key) for w in writers), 60, 0.5)


def the_target_is_killed_and_writes_fail():
    with linked(onUnavailable="fail", syncTimeoutMs=500) as c:
        writers = begin(c)
        kill(c, TARGET)
        time.sleep(1)
        before = told(writers)
        time.sleep(2)
        assert told(writers) == before, "writes are acknowledged though the target is away"
        assert all(w.unknown > 0 for w in writers), [w.unknown for w in writers]
        assert max(w.longest for w in writers) < 10, [w.longest for w in writers]
        c.up()
        wait_until(lambda: c.whole("c-1"), 60)
        goes_on(writers)
        stop(writers)
        holds_all(c, writers)
        come_to_the_same(c, writers)
        assert total(c, SOURCE, "link_sync_unknown") > 0 and total(c, SOURCE, "link_degraded") == 0


def none_is_unknown(c, writers, changes):
    """Unless leaders changed at the source, which ends what waits at them."""
    calm = total(c, SOURCE, "leader_changes") == changes
    assert not calm or sum(w.unknown for w in writers) == 0, [w.unknown for w in writers]
    return calm


def the_target_is_killed_and_writes_wait():
    with linked(onUnavailable="block", syncTimeoutMs=500) as c:
        writers = begin(c)
        changes = total(c, SOURCE, "leader_changes")
        kill(c, TARGET)
        time.sleep(8)  # longer than any request waits for an answer otherwise
        before = told(writers)
        none_is_unknown(c, writers, changes)
        time.sleep(1)
        assert told(writers) == before, "writes are acknowledged though the target is away"
        c.up()
        goes_on(writers)
        stop(writers)
        assert not none_is_unknown(c, writers, changes) or max(w.longest for w in writers) > 8
        holds_all(c, writers)
        come_to_the_same(c, writers)


def the_target_is_killed_and_the_link_degrades():
    with linked(onUnavailable="degrade", syncTimeoutMs=500) as c:
        writers = begin(c)
        changes = total(c, SOURCE, "leader_changes")
        kill(c, TARGET)
        time.sleep(1)
        goes_on(writers, 1000)
        none_is_unknown(c, writers, changes)
        assert total(c, SOURCE, "link_degraded") > 0
        wait_until(lambda: total(c, SOURCE, "link_gates_open") > 0, 10)
        assert any("DEGRADED" in str(c.client(name).info("links")) for name in SOURCE)
        c.up()
        wait_until(lambda: total(c, SOURCE, "link_gates_open") == 0, 60)
        goes_on(writers)
        kill(c, SOURCE)
        stop(writers)
        holds_all(c, writers)
        restored = "link_restored" in "".join(c.log(name) for name in SOURCE)
        assert restored, "that the link waits again is not in the log"


def the_whole_source_is_lost():
    with linked(onUnavailable="fail", syncTimeoutMs=1000) as c:
        writers = begin(c)
        for name in random.choice(TARGET), random.choice(SOURCE):
            c.kill(name, wait=True)
            goes_on(writers)
            c.up()
            wait_until(lambda: c.whole("f-1"), 60)
            wait_until(lambda: c.whole("c-1"), 60)
        goes_on(writers)
        for name in SOURCE:
            c.kill(name)
        stop(writers)
        kill(c, TARGET)
        c.up("--cluster", "cloud")
        wait_until(lambda: c.whole("c-1"), 60)
        holds_all(c, writers)


if __name__ == "__main__":
    sys.exit(main([
        the_target_is_killed_and_writes_fail,
        the_target_is_killed_and_writes_wait,
        the_target_is_killed_and_the_link_degrades,
        the_whole_source_is_lost,
    ]))
