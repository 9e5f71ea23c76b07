#!/usr/bin/python3
"""Entities follow over links between clusters, whatever node of either end is killed, and after one of
the ends was away; what a filter holds back stays at home; both ends that write the same agree."""
import random
import sys
import threading
import time

import redis

from cluster import Cluster, connect, nodes_text
from harness import No, main, seed, wait_until

FABRIC = ["--fabric=tcp"]
SECONDS = 12
KEYS = 200


def ends(source, target):
    """Two clusters of three nodes each, of unlike numbers of partitions."""
    return (nodes_text("factory", ["f-1", "f-2", "f-3"], partitions=8, replicationFactor=3, **source)
            + nodes_text("cloud", ["c-1", "c-2", "c-3"], partitions=12, replicationFactor=3, **target))


class Writer(threading.Thread):
    """Sets, deletes and counts at one cluster; knows what it was told, and what may be besides."""

    def __init__(self, addresses, prefix, rng, slowly=0.0):
        super().__init__(daemon=True)
        self.addresses, self.prefix, self.rng, self.slowly = addresses, prefix, rng, slowly
        self.values = {}   # key: values one of which it has
        self.counted = [0, 0]  # acknowledged, and called
        self.acknowledged, self.ends, self.wrong = 0, threading.Event(), None

    def run(self):
        number, client = 0, None
        while not self.ends.is_set():
            number += 1
            try:
                client = client or connect(*self.rng.choice(self.addresses), timeout=3)
                self.one(client, number)
                self.acknowledged += 1
                time.sleep(self.slowly)
            except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError):
                client = None
                time.sleep(0.02)

    def one(self, client, number):
        if number % 10 == 0:
            self.counted[1] += 1
            client.incr(self.prefix + "Count:1")
            self.counted[0] += 1
            return
        key = "%sOrder:%d" % (self.prefix, self.rng.randrange(KEYS))
        value = None if number % 7 == 0 else b"v%d" % number
        self.values.setdefault(key, {None}).add(value)
        if value is None:
            client.delete(key)
        else:
            client.set(key, value)
        self.values[key] = {value}

    def stop(self):
        self.ends.set()
        self.join(30)
        assert not self.is_alive(), "a writer does not end"

    def verify(self, client):
        """What the cluster that it wrote to has: {key: value}."""
        held = {key: client.get(key) for key in self.values}
        for key, value in held.items():
            assert value in self.values[key], (key, value, self.values[key])
        count = int(client.get(self.prefix + "Count:1") or 0)
        assert self.counted[0] <= count <= self.counted[1], (count, self.counted)
        held[self.prefix + "Count:1"] = b"%d" % count
        return held


def goes_on(writer, more=100):
    want = writer.acknowledged + more
    wait_until(lambda: writer.acknowledged >= want, 60)


def has(client, held):
    """Whether a cluster holds just that."""
    differ = [(key, value, client.get(key)) for key, value in held.items() if client.get(key) != value]
    return No("%d of %d differ: %r" % (len(differ), len(held), differ[:3])) if differ else True


def addresses_of(c, names):
    every = c.addresses()
    return [every[name] for name in names]


def entities_follow_whoever_is_killed():
    rng = random.Random(seed())
    with Cluster(ends({"replicateTo": ["cloud"]}, {}), FABRIC) as c:
        c.up()
        writer = Writer(addresses_of(c, ["f-1", "f-2", "f-3"]), "", rng)
        writer.start()
        goes_on(writer)
        kills, end = 0, time.monotonic() + SECONDS
        while time.monotonic() < end:
            for names in ["c-1", "c-2", "c-3"], ["f-1", "f-2", "f-3"]:
                c.kill(rng.choice(names))
                kills += 1
                goes_on(writer)
                c.up()
                wait_until(lambda: c.whole("f-1"), 60)
                wait_until(lambda: c.whole("c-1"), 60)
        writer.stop()
        held = writer.verify(c.client("f-1"))
        wait_until(lambda: has(c.client("c-1"), held), 60, 0.5)
        shipped = sum(c.stat(name)["link_frames_sent"] for name in ("f-1", "f-2", "f-3"))
        assert shipped > 0, "the entities came another way"
        print("%d kills, %d writes" % (kills, writer.acknowledged))


def the_source_goes_on_while_the_target_is_away():
    rng = random.Random(seed())
    with Cluster(ends({"replicateTo": ["cloud"], "excludeEntityTypes": ["Secret"]}, {}), FABRIC) as c:
        c.up()
        writer = Writer(addresses_of(c, ["f-1", "f-2", "f-3"]), "", rng)
        writer.start()
        goes_on(writer)
        for name in "c-1", "c-2", "c-3":
            c.kill(name, wait=True)
        goes_on(writer, 2000)
        source = c.client("f-1")
        source.set("Secret:1", "at home")
        c.up()
        goes_on(writer)
        writer.stop()
        held = writer.verify(source)
        target = c.client("c-1")
        wait_until(lambda: has(target, held), 60, 0.5)
        assert source.get("Secret:1") == b"at home" and target.get("Secret:1") is None
        target.set("Order:cloud", "stays")
        time.sleep(1)
        assert source.get("Order:cloud") is None, "a link leads one way"


def both_ends_that_write_the_same_agree():
    rng = random.Random(seed())
    with Cluster(ends({"replicateTo": ["cloud"]}, {"replicateTo": ["factory"]}), FABRIC) as c:
        c.up()
        writers = [Writer(addresses_of(c, names), "", random.Random(rng.random()), 0.001)
                   for names in (["f-1", "f-2", "f-3"], ["c-1", "c-2", "c-3"])]
        for writer in writers:
            writer.start()
        for name in "c-2", "f-2":
            c.kill(name)
            for writer in writers:
                goes_on(writer)
            c.up()
        for writer in writers:
            goes_on(writer)
            writer.stop()
        clients = c.client("f-1"), c.client("c-1")
        keys = sorted(set(writers[0].values) | set(writers[1].values)) + ["Count:1"]
        wait_until(lambda: has(clients[1], {key: clients[0].get(key) for key in keys}), 60, 0.5)
        for key in keys[:-1]:
            allowed = set().union(*(w.values.get(key, set()) for w in writers))
            assert clients[0].get(key) in allowed, (key, clients[0].get(key), allowed)
        count = int(clients[0].get("Count:1"))
        assert sum(w.counted[0] for w in writers) <= count <= sum(w.counted[1] for w in writers), count


if __name__ == "__main__":
    sys.exit(main([
        entities_follow_whoever_is_killed,
        the_source_goes_on_while_the_target_is_away,
        both_ends_that_write_the_same_agree,
    ]))
