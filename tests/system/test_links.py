#!/usr/bin/python3
"""Entities follow over links between clusters, whatever node of either end is killed, and after one of
the ends was away; what a filter holds back stays at home; both ends that write the same agree."""
import random
import sys
import time

from cluster import Cluster
from harness import main, seed, wait_until
from linked import FABRIC, Writer, addresses_of, ends, goes_on, has, links_rest

SECONDS = 8


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
        wait_until(lambda: links_rest(c) and has(clients[1], {key: clients[0].get(key) for key in keys}), 60, 0.5)
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
