#!/usr/bin/python3
"""Every file of docs/examples with more than one cluster, and files as people write them (topologies/), run as
they are with `tidemill up`: all clusters, all links.  What is written at a cluster arrives where its links
lead, also over others, and nowhere else."""
import os
import sys
import time

import redis

from cluster import CALM, Cluster, connect
from harness import HERE, No, main, wait_until
from linked import links_rest

EXAMPLES = os.path.join(HERE, "..", "..", "docs", "examples")
FILES = os.path.join(HERE, "topologies")


class AsItIs(Cluster):
    """All clusters of a file that lies there, started by `up`; addressed by cluster."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as f:
            super().__init__(f.read(), CALM)

    def __enter__(self):
        self.up()
        self.first = {row["cluster"]: (row["cluster"], row["node"]) for row in reversed(self.ps())}
        self.at = {name: self.client(node) for name, node in self.first.items()}
        return self


def arrives(c, written):
    """written: {(cluster, key): clusters that get it, besides}."""
    for name, key in written:
        assert c.at[name].set(key, name + key)
    for (name, key), others in written.items():
        for other in others:
            wait_until(lambda: c.at[other].get(key) == (name + key).encode(), 30)
    wait_until(lambda: links_rest(c), 30)
    for (name, key), others in written.items():
        for other, client in c.at.items():
            got = client.get(key)
            assert (got is not None) == (other == name or other in others), (key, name, other, got)


def add_up(c, key, field, clusters):
    """Increments at all clusters, at the same time, add up at each of them."""
    for n, name in enumerate(clusters):
        for _ in range(20):
            c.at[name].hincrby(key, field, n + 1)
    want = b"%d" % sum(20 * (n + 1) for n in range(len(clusters)))
    for name in clusters:
        wait_until(lambda: c.at[name].hget(key, field) == want, 30)


def example(name):
    return AsItIs(os.path.join(EXAMPLES, name))


def factory_to_cloud():
    with example("factory-cloud.js") as c:
        arrives(c, {("factory", "Order:1"): ["cloud"], ("factory", "plain"): ["cloud"], ("cloud", "Order:2"): []})


def critical_and_its_backup():
    with example("critical-backup.js") as c:
        arrives(c, {("critical", "Order:1"): ["backup"], ("backup", "Order:2"): []})


def regional_to_global_by_type():
    with example("regional-global.js") as c:
        arrives(c, {("regional", "Order:1"): ["global"], ("regional", "OrderLine:1"): ["global"],
                    ("regional", "OrderDraft:1"): [], ("regional", "Customer:1"): ["global"],
                    ("regional", "Customers:1"): [], ("regional", "InternalLog:1"): [],
                    ("regional", "plain"): [], ("global", "Order:2"): []})


def two_clusters_both_ways():
    with example("active-active.js") as c:
        arrives(c, {("east", "Order:a"): ["west"], ("west", "Order:b"): ["east"], ("east", "plain"): ["west"]})
        add_up(c, "Order:1", "stock", ["east", "west"])


def three_in_a_mesh():
    names = {"paris", "tokyo", "lima"}
    with example("mesh.js") as c:
        arrives(c, {(name, "Order:" + name): names - {name} for name in names})
        add_up(c, "Visit:1", "count", sorted(names))
        both_write_the_same(c, sorted(names))


def both_write_the_same(c, names):
    """What all of them write at the same time is the same at all in the end."""
    for n in range(60):
        c.at[names[n % 3]].set("Order:%d" % (n % 10), n)
        if n % 7 == 0:
            c.at[names[n % 3]].delete("Order:%d" % (n * 3 % 10))
    wait_until(lambda: links_rest(c), 30)
    wait_until(lambda: all_hold_the_same(c, names, ["Order:%d" % n for n in range(10)]), 30)


def all_hold_the_same(c, names, keys):
    held = [[c.at[name].get(key) for key in keys] for name in names]
    return held[0] == held[1] == held[2] or No(held)


def a_chain_passes_on():
    with example("chain.js") as c:
        arrives(c, {("edge", "Order:1"): ["regional", "global"], ("regional", "Order:2"): ["global"],
                    ("global", "Order:3"): [], ("global", "Price:1"): ["regional", "edge"],
                    ("regional", "Price:2"): ["edge"], ("edge", "Price:3"): []})
        c.at["edge"].delete("Order:1")
        wait_until(lambda: c.at["global"].get("Order:1") is None, 30)


def a_type_stays_where_it_may_be():
    with example("residency.js") as c:
        arrives(c, {("frankfurt", "Customer:1"): ["zurich"], ("frankfurt", "Order:1"): ["zurich", "virginia"],
                    ("zurich", "Customer:2"): [], ("virginia", "Customer:3"): []})
        of_frankfurt = [node for node in c.nodes if node[0] == "frankfurt"]
        wait_until(lambda: sum(c.stat(node)["link_residency_kept"] for node in of_frankfurt) > 0, 30)


def a_cloud_and_a_factory_without_types():
    with AsItIs(os.path.join(FILES, "cloud-and-factory.js")) as c:
        arrives(c, {("on-prem-factory", "Order:1"): ["production-us-east"], ("production-us-east", "Order:2"): []})


def links_to_what_the_file_does_not_define():
    """They ship nothing, and say so; a cluster whose link is synchronous promises nothing that it cannot
    keep: its writes are done, or of unknown outcome."""
    with AsItIs(os.path.join(FILES, "links-to-elsewhere.js")) as c:
        for name in "edge-cluster", "regional-cluster":
            assert c.at[name].set("Order:1", name) and c.at[name].get("Order:1") == name.encode()
        try:
            assert connect(*c.address(c.first["critical-cluster"])).set("Order:1", "x")
        except redis.ResponseError as e:
            assert str(e).startswith("TIMEOUT outcome unknown"), e
        time.sleep(1)
        for name, node in c.first.items():
            assert c.stat(node)["link_streams_out"] == 0, (name, c.stat(node)["link_streams_out"])
            assert c.at[name].get("Order:1") is not None


if __name__ == "__main__":
    sys.exit(main([factory_to_cloud, critical_and_its_backup, regional_to_global_by_type, two_clusters_both_ways,
                   three_in_a_mesh, a_chain_passes_on, a_type_stays_where_it_may_be,
                   a_cloud_and_a_factory_without_types, links_to_what_the_file_does_not_define]))
