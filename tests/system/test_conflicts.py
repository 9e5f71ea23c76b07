#!/usr/bin/python3
"""Two clusters that change the same things while neither hears of the other end with the same, by the rule that
the topology file gives: each rule, over kills of whichever end; and by another rule once it was applied."""
import sys

from cluster import Cluster, nodes_text
from harness import main, wait_until
from linked import FABRIC, applied, total

RULES = """
defineEntity("Order", { fields: {
  plain: {}, high: { conflict: "max" }, low: { conflict: "min" }, count: { conflict: "counter" },
  owner: { conflict: "home", home: "west" } } });
defineEntity("Doc", { fields: {
  text: { conflict: function (a, b) { return a < b ? a + "+" + b : b + "+" + a; } },
  loop: { conflict: function (a, b) { while (a.length > 30) { } return a > b ? a : b; } } } });
defineEntity("Tags", { conflict: "set" });
defineEntity("Page", { conflict: "entity-lww" });
"""


def both_ways(rules=RULES):
    return (rules + nodes_text("east", ["e-1"], partitions=4, replicateTo=["west"])
            + nodes_text("west", ["w-1"], partitions=6, replicateTo=["east"]))


def apart(c, first, second):
    """East does `first` and west then `second`, neither hearing of the other before both have."""
    c.kill("w-1", wait=True)
    first(c.client("e-1"))
    c.kill("e-1", wait=True)
    c.up("--cluster", "west")
    second(c.client("w-1"))
    c.up()


def everything(client):
    held = {}
    for key in client.scan_iter(count=1000):
        kind = client.type(key)
        held[key] = (client.hgetall(key) if kind == b"hash" else client.smembers(key) if kind == b"set"
                     else client.get(key))
    return held


def agree(c):
    east, west = (everything(c.client(name)) for name in ("e-1", "w-1"))
    return east == west and east


def write_east(client):
    client.hset("Order:1", mapping={"plain": "east", "high": 900, "low": 5, "owner": "east", "was": "east"})
    client.hincrby("Order:1", "count", 5)
    client.hdel("Order:2", "high")
    client.sadd("Tags:1", "both", "east")
    client.srem("Tags:1", "kept", "gone")
    client.hset("Page:1", mapping={"head": "east", "body": "east"})
    client.hset("Doc:1", mapping={"text": "east", "loop": "without any end, as written in the east"})


def write_west(client):
    client.hset("Order:1", mapping={"plain": "west", "high": 80, "low": 30, "owner": "west"})
    client.hincrby("Order:1", "count", 7)
    client.hset("Order:2", "high", 2)
    client.sadd("Tags:1", "both", "west", "kept")
    client.hset("Page:1", "body", "west")
    client.hset("Doc:1", mapping={"text": "west", "loop": "without any end, as written in the west"})


def expect(held):
    order, page = held[b"Order:1"], held[b"Page:1"]
    assert order == {b"plain": b"west", b"high": b"900", b"low": b"5", b"owner": b"west", b"count": b"12",
                     b"was": b"east"}, order
    assert held[b"Order:2"] == {b"high": b"2"}, "it was written there"
    assert held[b"Tags:1"] == {b"both", b"east", b"west", b"kept"}, held[b"Tags:1"]
    assert held[b"Doc:1"] == {b"text": b"east+west", b"loop": b"without any end, as written in the west"}, held[b"Doc:1"]
    assert page == {b"head": b"first", b"body": b"west"}, "a page is one as a whole: %r" % page


def each_rule_says_what_stands():
    with Cluster(both_ways(), FABRIC) as c:
        c.up()
        east = c.client("e-1")
        east.hset("Order:2", "high", 1)
        east.sadd("Tags:1", "kept", "gone")
        east.hset("Page:1", mapping={"head": "first", "body": "first"})
        wait_until(lambda: c.client("w-1").hlen("Page:1") == 2 and c.client("w-1").scard("Tags:1") == 2, 30)
        apart(c, write_east, write_west)
        wait_until(lambda: agree(c), 60)
        wait_until(lambda: c.client("e-1").hget("Order:1", "count") == b"12", 30)
        expect(wait_until(lambda: agree(c), 60))
        wait_until(lambda: total(c, ["e-1", "w-1"], "link_conflicts") >= 8, 30)
        # A function that does not end is given up.
        wait_until(lambda: total(c, ["e-1", "w-1"], "link_rule_failures") >= 2, 30)
        for name in "e-1", "w-1":  # and what a log or a snapshot brings back is the same
            c.kill(name, wait=True)
        c.up()
        expect(wait_until(lambda: agree(c), 60))


def who_writes_on_decides_what_conflicted():
    with Cluster(both_ways(), FABRIC) as c:
        c.up()
        for turn in range(3):
            apart(c, lambda client: client.hset("Order:1", "high", 100 + turn),
                  lambda client: client.hset("Order:1", "high", 50))
            held = wait_until(lambda: agree(c), 60)
            assert held[b"Order:1"][b"high"] == b"%d" % (100 + turn), held
            writer, other = ("e-1", "w-1") if turn % 2 else ("w-1", "e-1")
            c.client(writer).hset("Order:1", "high", 7)  # it knew of both
            wait_until(lambda: c.client(other).hget("Order:1", "high") == b"7", 30)


def another_rule_holds_from_when_it_was_applied():
    with Cluster(both_ways(), FABRIC) as c:
        c.up()
        apart(c, lambda client: client.hset("Order:1", "high", 100), lambda client: client.hset("Order:1", "high", 50))
        held = wait_until(lambda: agree(c), 60)
        assert held[b"Order:1"] == {b"high": b"100"}, held
        c.write_topology(both_ways(RULES.replace('"max"', '"min"')))
        applied(c)
        held = wait_until(lambda: agree(c), 60)
        assert held[b"Order:1"] == {b"high": b"100"}, "nothing has happened to it"
        apart(c, lambda client: client.hset("Order:1", "high", 30), lambda client: client.hset("Order:1", "high", 70))
        held = wait_until(lambda: agree(c), 60)
        assert held[b"Order:1"] == {b"high": b"30"}, held


if __name__ == "__main__":
    sys.exit(main([
        each_rule_says_what_stands,
        who_writes_on_decides_what_conflicted,
        another_rule_holds_from_when_it_was_applied,
    ]))
