#!/usr/bin/python3
"""A change that cannot be applied does not stop its partition: it lies among the link's dead letters, until
an operator tries it again or drops it."""
import json
import sys

from cluster import Cluster, nodes_text
from harness import No, main, wait_until

FABRIC = ["--fabric=tcp", "--max-entity-bytes=3MiB",
          "--client-query-buffer-bytes=4MiB"]
LARGE = 600 * 1024  # three fields of it fit into a record, but not two versions of each and what they read


def ends():
    """Two clusters of a node each that both write Big, whose fields keep all their versions."""
    return ("defineEntity('Big', { conflict: 'max' });"
            + nodes_text("east", ["e-1"], partitions=2, replicationFactor=1, replicateTo=["west"])
            + nodes_text("west", ["w-1"], partitions=3, replicationFactor=1, replicateTo=["east"]))


def link(c, *words, check=True):
    return c.tidemill("link", *words, "--dir", c.data, check=check)


def dead(c, source, target):
    return json.loads(link(c, "dead", "ls", source, target, "--json").stdout)


def is_there(client, key, value):
    got = client.get(key)
    return got == value or No("%s is %d bytes: %r" % (key, len(got or b""), (got or b"")[:20]))


def conflict(c):
    """Both write the same keys in ignorance of each other, and east, where another value comes to stand by that,
    cannot write it all down at once."""
    east, west = c.client("e-1"), c.client("w-1")
    east.set("Small:1", "before")
    wait_until(lambda: is_there(west, "Small:1", b"before"), 120)
    for source, target in (("east", "west"), ("west", "east")):
        link(c, "pause", source, target)
    for key in ("Big:1", "Big:2"):
        east.hset(key, mapping={field: b"e" * LARGE for field in "abc"})
        west.hset(key, mapping={field: b"w" * LARGE for field in "abc"})
    west.set("Small:1", "after")
    for source, target in (("east", "west"), ("west", "east")):
        link(c, "resume", source, target)
    wait_until(lambda: len(dead(c, "west", "east")) == 2 or No(link(c, "explain").stdout), 120)
    return east, west


def what_cannot_be_applied_lies_there_and_the_stream_goes_on():
    with Cluster(ends(), FABRIC) as c:
        c.up()
        east, west = conflict(c)
        wait_until(lambda: is_there(east, "Small:1", b"after"), 120)
        west.set("Small:2", "on")
        wait_until(lambda: is_there(east, "Small:2", b"on"), 120)
        letters = dead(c, "west", "east")
        assert {one["key"] for one in letters} == {"Big:1", "Big:2"}, letters
        assert [one["tries"] for one in letters] == [1, 1], letters
        shown = json.loads(link(c, "dead", "show", "west", "east", letters[0]["id"], "--json").stdout)
        assert [one["number"] for one in shown] == [letters[0]["number"]], shown
        assert "dead letter" in link(c, "show", "west", "east").stdout
        assert "link dead ls" in link(c, "explain", "west", "east").stdout

        # Tried again at once they still do not fit, and lie there once more, not twice.
        assert "asked for again" in link(c, "dead", "retry", "west", "east").stdout
        wait_until(lambda: sorted(one["number"] for one in dead(c, "west", "east")) == [3, 4]
                   or No(dead(c, "west", "east")), 120)

        # Once what was in its way is gone, one is applied.
        east.hset("Big:1", "left", "1")
        east.hdel("Big:1", "a", "b", "c")
        ids = {one["key"]: one["id"] for one in dead(c, "west", "east")}
        link(c, "dead", "retry", "west", "east", ids["Big:1"])
        wait_until(lambda: east.hget("Big:1", "c") == b"w" * LARGE or No(dead(c, "west", "east")), 120)
        assert c.stat("e-1")["link_dead_retried"] == 3

        # The other one is given up.
        wrong = link(c, "dead", "drop", "west", "east", "e-1/0/77", check=False)
        assert wrong.returncode == 1 and "no dead letter" in wrong.stderr, wrong
        link(c, "dead", "drop", "west", "east", ids["Big:2"])
        assert dead(c, "west", "east") == []
        assert c.stat("e-1")["link_dead_dropped"] == 1


def bad_usage_is_refused():
    with Cluster(ends(), FABRIC) as c:
        for words in (["dead"], ["dead", "ls"], ["dead", "look", "east", "west"], ["dead", "show", "east", "west"],
                      ["dead", "retry", "east", "west", "1", "2"]):
            done = link(c, *words, check=False)
            assert done.returncode == 2 and done.stderr, (words, done)


if __name__ == "__main__":
    sys.exit(main([
        what_cannot_be_applied_lies_there_and_the_stream_goes_on,
        bad_usage_is_refused,
    ]))
