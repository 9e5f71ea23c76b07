#!/usr/bin/python3
"""Clusters whose data directories were put back from copies: a source that says so stands until an
operator decides, one that does not is found out, and a target gets everything again."""
import os
import re
import shutil
import sys

from cluster import Cluster
from harness import main, wait_until
from linked import FABRIC, ends, has, links_rest
from test_link_tool import explained, link

FACTORY, CLOUD = ("f-1", "f-2", "f-3"), ("c-1", "c-2", "c-3")


def up(c):
    c.up()
    wait_until(lambda: c.whole("f-1") and c.whole("c-1"), 120)


def copy_of(c, cluster):
    """Stops the cluster's nodes, copies their data directories, and starts them again."""
    c.down("--cluster", cluster)
    copy = os.path.join(c.dir, "copy-of-" + cluster)
    shutil.copytree(os.path.join(c.data, cluster), copy)
    up(c)
    return copy


def put_back(c, cluster, copy):
    c.down("--cluster", cluster)
    shutil.rmtree(os.path.join(c.data, cluster))
    shutil.copytree(copy, os.path.join(c.data, cluster))


def write(c, names, values):
    for key, value in values.items():
        c.client(names[0]).set(key, value)
    return {key: value.encode() for key, value in values.items()}


def count(c, names, *steps):
    """What the counter has then: a step of which it is not known is taken again."""
    client = c.client(names[0])
    for step in steps:
        client.incrby("Count:1", step)
    return client.get("Count:1")


def orders(word, first, last):
    return {"Order:%d" % i: "%s-%d" % (word, i) for i in range(first, last)}


def arrives(c, names, held):
    wait_until(lambda: has(c.client(names[0]), held), 120)


def lose_some(c):
    """What the source has at the copy, and what it lost; the copy is put back."""
    kept = write(c, FACTORY, orders("kept", 0, 60))
    kept["Count:1"] = count(c, FACTORY, 5)
    arrives(c, CLOUD, kept)
    copy = copy_of(c, "factory")
    lost = write(c, FACTORY, orders("lost", 30, 90))
    lost["Count:1"] = count(c, FACTORY, 100)
    arrives(c, CLOUD, lost)
    put_back(c, "factory", copy)
    return kept, lost


def restored(c, *words, check=True):
    return c.tidemill("restored", "--dir", c.data, *words, check=check)


def what_was_restored_stands_until_it_is_adopted():
    with Cluster(ends({"replicateTo": ["cloud"]}, {}), FABRIC) as c:
        up(c)
        said = restored(c, "--cluster", "factory", check=False)
        assert said.returncode == 1 and "runs (pid" in said.stderr, said
        kept, lost = lose_some(c)
        said = restored(c, "--cluster", "factory").stdout
        assert "at 3 nodes" in said and re.search("--incarnation [0-9a-f]{16}", said), said
        up(c)
        new = write(c, FACTORY, orders("new", 100, 140))
        wait_until(lambda: explained(c, "the source was restored", "tidemill link adopt factory cloud",
                                     "tidemill link rewind factory cloud"), 120)
        assert all(c.client("c-1").get(key) is None for key in new)
        link(c, "adopt", "factory", "cloud")
        arrives(c, CLOUD, dict(kept, **new))
        arrives(c, CLOUD, {key: None for key in lost if key not in kept})
        wait_until(lambda: links_rest(c), 120)
        arrives(c, CLOUD, {"Count:1": count(c, FACTORY, 1)})
        done = link(c, "verify", "factory", "cloud", "--json", check=False)
        assert done.returncode == 0, done


def what_was_lost_comes_back_over_a_link_that_leads_back():
    with Cluster(ends({"replicateTo": ["cloud"]}, {"replicateTo": ["factory"]}), FABRIC) as c:
        up(c)
        kept, lost = lose_some(c)
        restored(c, "--cluster", "factory")
        up(c)
        arrives(c, FACTORY, dict(kept, **lost))
        new = write(c, FACTORY, orders("new", 100, 140))
        wait_until(lambda: explained(c, "the source was restored"), 120)
        link(c, "rewind", "factory", "cloud")
        arrives(c, CLOUD, dict(kept, **lost, **new))
        wait_until(lambda: links_rest(c), 120)
        arrives(c, CLOUD, {"Count:1": count(c, FACTORY, 1)})
        arrives(c, FACTORY, {"Count:1": count(c, CLOUD, 1)})


def one_that_nobody_speaks_of_is_found_out():
    with Cluster(ends({"replicateTo": ["cloud"]}, {}), FABRIC) as c:
        up(c)
        kept, lost = lose_some(c)
        up(c)
        wait_until(lambda: explained(c, "factory was restored or has lost records", "tidemill restored"), 120)
        c.down("--cluster", "factory")
        restored(c, "--cluster", "factory")
        up(c)
        wait_until(lambda: explained(c, "the source was restored"), 120)
        link(c, "rewind", "factory", "cloud")
        wait_until(lambda: links_rest(c), 120)
        arrives(c, CLOUD, dict(kept, **lost))  # what is later there stays
        after = write(c, FACTORY, orders("after", 0, 90))
        arrives(c, CLOUD, after)


def a_target_gets_everything_again_and_counts_it_once():
    with Cluster(ends({"replicateTo": ["cloud"]}, {}), FABRIC) as c:
        up(c)
        held = write(c, FACTORY, orders("first", 0, 60))
        held["Count:1"] = count(c, FACTORY, *[1] * 50)
        arrives(c, CLOUD, held)
        copy = copy_of(c, "cloud")
        held.update(write(c, FACTORY, orders("later", 30, 90)))
        held["Count:1"] = count(c, FACTORY, *[1] * 50)
        arrives(c, CLOUD, held)
        put_back(c, "cloud", copy)
        assert "cloud: incarnation" in restored(c, "--cluster", "cloud").stdout
        up(c)
        arrives(c, CLOUD, held)
        wait_until(lambda: links_rest(c), 120)


if __name__ == "__main__":
    sys.exit(main([what_was_restored_stands_until_it_is_adopted,
                   what_was_lost_comes_back_over_a_link_that_leads_back,
                   one_that_nobody_speaks_of_is_found_out,
                   a_target_gets_everything_again_and_counts_it_once]))
