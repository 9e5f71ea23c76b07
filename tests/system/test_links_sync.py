#!/usr/bin/python3
"""Synchronous links: an OK means that the target has the write.  The target is killed under load, under each
of onUnavailable; the whole source is lost, and the target has all that was acknowledged."""
import random
import sys
import threading
import time

import redis

from cluster import CALM, Cluster, connect
from harness import SLACK, No, main, seed, wait_until
from linked import FABRIC, addresses_of, ends, total

SOURCE, TARGET = ["f-1", "f-2", "f-3"], ["c-1", "c-2", "c-3"]
WRITERS = 8


def linked(**options):
    return Cluster(ends({"replicateTo": ["cloud"], "replicationMode": "sync", **options}, {}), FABRIC + CALM)


class Counting(threading.Thread):
    """Counts a key of its own up; knows the last number that got its OK, and the last that was sent."""

    def __init__(self, addresses, number, rng):
        super().__init__(daemon=True)
        self.addresses, self.key, self.rng = addresses, "Order:%d" % number, rng
        self.sent = self.told = self.unknown = 0
        self.longest, self.ends, self.wrong = 0.0, threading.Event(), None

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
                self.unknown += "outcome unknown" in str(e)
                if not str(e).startswith(("TIMEOUT outcome unknown", "CLUSTERDOWN", "TRYAGAIN")):
                    self.wrong = e
                    return
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
    wait_until(lambda: wrong(writers) or told(writers) >= want, 60)
    assert not wrong(writers), wrong(writers)


def wrong(writers):
    return [w.wrong for w in writers if w.wrong is not None]


def stop(writers):
    for w in writers:
        w.ends.set()
    for w in writers:
        w.join(SLACK * 60)
        assert not w.is_alive(), "a writer does not end"
    assert not wrong(writers), wrong(writers)


def kill(c, names):
    for name in names:
        c.kill(name, wait=True)


def sent_so_far(writers):
    """What the writers have sent by now, each: of the target it may still be told, and nothing later."""
    return [w.sent for w in writers]


def none_is_told_after(writers, sent):
    late = [(w.key, w.told, last) for w, last in zip(writers, sent) if w.told > last]
    assert not late, "writes are acknowledged though the target is away: %r" % late


def holds_all(c, writers):
    """The target has all that was told, at the latest when it has applied what it staged, and nothing
    that was never sent."""
    client = c.client("c-1")

    def lacks():
        has = [int(client.get(w.key) or 0) for w in writers]
        return [(w.key, w.told, n, w.sent) for w, n in zip(writers, has) if not w.told <= n <= w.sent]

    wait_until(lambda: not lacks() or No(str(lacks())), 30)


def promote(c):
    """The target applies what it has staged of a source that is lost."""
    c.tidemill("link", "promote", "factory", "cloud", "--at", c.row("c-1")["listen"])


def come_to_the_same(c, writers):
    ours, theirs = c.client("f-1"), c.client("c-1")
    wait_until(lambda: all(ours.get(w.key) == theirs.get(w.key) for w in writers), 60, 0.5)


def the_target_is_killed_and_writes_fail():
    with linked(onUnavailable="fail", syncTimeoutMs=500) as c:
        writers = begin(c)
        kill(c, TARGET)
        sent, unknown = sent_so_far(writers), [w.unknown for w in writers]
        wait_until(lambda: all(w.unknown > n + 2 for w, n in zip(writers, unknown)), 60)
        none_is_told_after(writers, sent)
        c.up()
        wait_until(lambda: c.whole("c-1"), 60)
        goes_on(writers)
        stop(writers)
        holds_all(c, writers)
        come_to_the_same(c, writers)
        assert total(c, SOURCE, "link_sync_unknown") > 0 and total(c, SOURCE, "link_degraded") == 0


def none_is_unknown(c, writers, changes):
    """Unless leaders changed at the source, which ends what waits at them."""
    if any(w.unknown for w in writers):
        wait_until(lambda: total(c, SOURCE, "leader_changes") > changes, 10)
    return not any(w.unknown for w in writers)


def the_target_is_killed_and_writes_wait():
    with linked(onUnavailable="block", syncTimeoutMs=500) as c:
        writers = begin(c)
        changes = total(c, SOURCE, "leader_changes")
        kill(c, TARGET)
        sent = sent_so_far(writers)
        time.sleep(9)  # longer than any request waits for an answer otherwise
        none_is_unknown(c, writers, changes)
        none_is_told_after(writers, sent)
        c.up()
        goes_on(writers)
        stop(writers)
        assert not none_is_unknown(c, writers, changes) or max(w.longest for w in writers) > 8
        holds_all(c, writers)
        come_to_the_same(c, writers)


def lost_while_in_step(c, writers):
    """The source is lost after the link waits for its target again, and before it goes on without it once
    more, which it does where the target is slow.  Whether the log says that it waits again."""
    while True:
        c.up()
        wait_until(lambda: total(c, SOURCE, "link_gates_open") == 0, 60)
        goes_on(writers)
        degraded = total(c, SOURCE, "link_degraded")
        kill(c, SOURCE)
        if total(c, SOURCE, "link_degraded") == degraded:  # also of the dead
            return "link_restored" in "".join(c.log(name) for name in SOURCE)


def the_target_is_killed_and_the_link_degrades():
    with linked(onUnavailable="degrade", syncTimeoutMs=500) as c:
        writers = begin(c)
        changes = total(c, SOURCE, "leader_changes")
        kill(c, TARGET)
        goes_on(writers, 1000)
        none_is_unknown(c, writers, changes)
        wait_until(lambda: total(c, SOURCE, "link_degraded") > 0, 10)
        wait_until(lambda: total(c, SOURCE, "link_gates_open") > 0, 10)
        wait_until(lambda: any("DEGRADED" in str(c.client(name).info("links")) for name in SOURCE), 10)
        restored = lost_while_in_step(c, writers)
        stop(writers)
        promote(c)
        holds_all(c, writers)
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
        promote(c)
        holds_all(c, writers)


if __name__ == "__main__":
    sys.exit(main([
        the_target_is_killed_and_writes_fail,
        the_target_is_killed_and_writes_wait,
        the_target_is_killed_and_the_link_degrades,
        the_whole_source_is_lost,
    ]))
