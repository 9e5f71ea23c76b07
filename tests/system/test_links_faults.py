#!/usr/bin/python3
"""Links while things go wrong or are changed: the leader that ships is killed, the line is cut for longer than
the backlog lasts, filters change under load, a cluster is lost and made anew."""
import os
import random
import shutil
import sys

from cluster import Cluster, nodes_text
from harness import main, seed, wait_until
from linked import FABRIC, Cut, Writer, addresses_of, applied, goes_on, has, links_rest, total

FACTORY = ["f-1", "f-2", "f-3"]
EAST, WEST = ["e-1", "e-2", "e-3"], ["w-1", "w-2", "w-3"]
SMALL_LOG = ["--wal-segment-bytes=4MiB", "--wal-bytes=16MiB", "--workers=1"]
BULK, BULK_BYTES = 4000, 8000
KILLS = 3


def factory(**options):
    """Three nodes linked to one, of unlike numbers of partitions."""
    return (nodes_text("factory", FACTORY, partitions=8, replicationFactor=3, replicateTo=["cloud"], **options)
            + nodes_text("cloud", ["c-1"], partitions=12))


def writing(c, names, prefix="", slowly=0.0):
    writer = Writer(addresses_of(c, names), prefix, random.Random(seed()), slowly)
    writer.start()
    goes_on(writer)
    return writer


def shipper(c):
    """The node that has most to ship, if one has much."""
    lag, node = max((c.stat(node)["link_lag_records"], node) for node in FACTORY)
    return node if lag > 20 else None


def the_leader_that_ships_is_killed():
    rng = random.Random(seed())
    with Cluster(factory(maxBytesPerSecond="8KiB"), FABRIC) as c:  # all of it would take longer than the test
        c.up()
        writer = writing(c, FACTORY)
        values = {"Part:%d" % n: rng.randbytes(500).hex() for n in range(3000)}
        c.set_many("f-1", values)
        target = c.client("c-1")
        for _ in range(KILLS):
            node = wait_until(lambda: shipper(c), 30)
            c.kill(node, wait=True)
            assert target.dbsize() < len(values), "it had shipped all"
            c.up()
            goes_on(writer)
            wait_until(lambda: c.whole("f-1"), 60)
        writer.stop()
        held = writer.verify(c.client("f-1"))
        held.update((key, value.encode()) for key, value in values.items())
        c.write_topology(factory())
        applied(c)
        wait_until(lambda: has(target, held), 60, 0.5)
        wait_until(lambda: target.dbsize() == c.client("f-1").dbsize(), 30)


def a_line_that_is_cut_for_longer_than_the_backlog_lasts():
    with Cluster(factory(maxBacklogBytes="1MiB"), FABRIC + SMALL_LOG, small=False) as c:
        c.up()
        writer = writing(c, FACTORY)
        source, target = c.client("f-1"), c.client("c-1")
        c.set_many("f-1", {"Gone:%d" % n: "x" for n in range(50)})
        wait_until(lambda: has(target, {"Gone:%d" % n: b"x" for n in range(50)}), 30)
        with Cut(c):
            for n in range(50):
                source.delete("Gone:%d" % n)
            c.set_many("f-1", {"Bulk:%d" % n: "%d." % n * (BULK_BYTES // 5) for n in range(BULK)})
            goes_on(writer, 500)
            wait_until(lambda: total(c, FACTORY, "link_downs") > 0, 30)
            assert target.get("Gone:7") == b"x" and target.get("Bulk:%d" % (BULK - 1)) is None, "it is not cut"
        writer.stop()
        held = writer.verify(source)
        held.update(("Bulk:%d" % n, source.get("Bulk:%d" % n)) for n in range(0, BULK, 50))
        held.update(("Gone:%d" % n, None) for n in range(50))
        wait_until(lambda: has(target, held), 60, 0.5)
        wait_until(lambda: target.dbsize() == source.dbsize(), 30)
        assert total(c, FACTORY, "link_resyncs") > 0, "the log held it all"
        wait_until(lambda: links_rest(c), 30)


def filtered(types):
    return factory(replicateEntityTypes=types)


def filters_change_under_load():
    few, more = ["Order", "Count"], ["Order", "Count", "Draft*"]
    with Cluster(filtered(few), FABRIC) as c:
        c.up()
        pids = [row["pid"] for row in c.ps()]
        orders, drafts = writing(c, FACTORY), writing(c, FACTORY, "Draft")
        source, target = c.client("f-1"), c.client("c-1")
        wait_until(lambda: target.get("Count:1"), 30)
        assert not target.keys("Draft*")

        c.write_topology(filtered(more))
        applied(c)
        goes_on(drafts)
        drafts.stop()
        held = drafts.verify(source)  # also what was written before
        wait_until(lambda: has(target, held), 60, 0.5)

        c.write_topology(filtered(few))
        applied(c)
        later = writing(c, FACTORY, "Draft")
        goes_on(orders)
        for writer in orders, later:
            writer.stop()
        wait_until(lambda: has(target, orders.verify(source)), 60, 0.5)
        wait_until(lambda: links_rest(c), 30)
        assert has(target, held), "a narrower filter keeps what the target has"
        assert [row["pid"] for row in c.ps()] == pids


def made_anew(c, cluster, names):
    """All of a cluster is lost, and begins anew with nothing."""
    for name in names:
        c.kill(name, wait=True)
    for name in names:
        shutil.rmtree(c.row(name)["dir"])
    c.up()


def why(c, node):
    return c.client(node).info("links").get("link0", {}).get("why", "")


def forgets_the_others(c, names):
    """Every node is stopped, and started without the list of clusters that it has met, one by one."""
    for name in names:
        c.kill(name, wait=True)
        os.unlink(os.path.join(c.row(name)["dir"], "linked"))
        c.up()
        wait_until(lambda: c.whole(names[0]), 60)


def a_cluster_is_lost_and_gets_everything_back_while_it_serves():
    """Also what it had written itself: that is another cluster's now, and goes over what forwards."""
    text = (nodes_text("east", EAST, partitions=8, replicationFactor=3, replicateTo=["west"])
            + nodes_text("west", WEST, partitions=12, replicationFactor=3, replicateTo=["east"], forward="transit"))
    with Cluster(text, FABRIC) as c:
        c.up()
        east, west = writing(c, EAST, "E"), writing(c, WEST, "W")
        east.stop()
        of_east = east.verify(c.client("e-1"))
        wait_until(lambda: has(c.client("w-1"), of_east), 60, 0.5)
        made_anew(c, "east", EAST)
        anew = writing(c, EAST, "N")
        wait_until(lambda: "another cluster" in why(c, "w-1"), 30)
        assert c.client("e-1").get("ECount:1") is None and c.client("w-1").get("NCount:1") is None
        forgets_the_others(c, WEST)
        for writer in anew, west:
            goes_on(writer)
            writer.stop()
        held = dict(of_east, **west.verify(c.client("w-1")), **anew.verify(c.client("e-1")))
        for node in "e-1", "w-1":
            wait_until(lambda: has(c.client(node), held), 60, 0.5)
        wait_until(lambda: links_rest(c), 30)
        wait_until(lambda: c.client("e-1").dbsize() == c.client("w-1").dbsize(), 30)


if __name__ == "__main__":
    sys.exit(main([the_leader_that_ships_is_killed, a_line_that_is_cut_for_longer_than_the_backlog_lasts,
                   filters_change_under_load, a_cluster_is_lost_and_gets_everything_back_while_it_serves]))
