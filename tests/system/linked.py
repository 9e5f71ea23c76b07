"""linked.py: linked clusters for the system tests: who writes there, what is to arrive, what links say.

    with Cluster(ends({"replicateTo": ["cloud"]}, {}), FABRIC) as c:
        c.up()
        writer = Writer(addresses_of(c, FACTORY), "", random.Random(seed()))
        writer.start()
        goes_on(writer)
        writer.stop()
        held = writer.verify(c.client("f-1"))
        wait_until(lambda: has(c.client("c-1"), held), 60)
"""
import os
import re
import subprocess
import threading
import time

import redis

from cluster import PORTS_PER_NODE, connect, nodes_text
from harness import SLACK, No, Skip, need_root, wait_until
from measuring import LINK_PORTS

FABRIC = ["--fabric=tcp"]
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
        self.join(SLACK * 30)
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


def links_rest(c):
    """All streams ship, and nothing that was written is still to come anywhere."""
    for cluster, node in c.nodes:
        s = c.stat((cluster, node))
        if s["link_lag_records"] or s["link_streams_standing"]:
            return No("%s %s: %d records behind, %d streams stand" % (
                cluster, node, s["link_lag_records"], s["link_streams_standing"]))
    return True


def version(c, row):
    said = c.client((row["cluster"], row["node"])).execute_command("TIDEMILL", "DIRECTORY")
    return dict(zip(said[::2], said[1::2]))[b"version"]


def applied(c):
    """Applies the file as it is now; returns when every node goes by it, for which `apply` itself does
    not wait for ever."""
    c.tidemill("apply", c.topology, "--dir", c.data)
    wait_until(lambda: one_version_each(c), 30)


def one_version_each(c):
    told = {(row["cluster"], version(c, row)) for row in c.ps() if row["state"] == "running"}
    return len(told) == len({cluster for cluster, _ in told}) or No(told)


def total(c, names, counter):
    """A counter's sum over these nodes."""
    return sum(c.stat(name)[counter] for name in names)


def run(*words):
    return subprocess.run(words, text=True, capture_output=True, check=False).stdout


class Cut:
    """While it is entered, nothing passes between the clusters of a file: what goes to the first worker's
    port for links of any node, or comes from there, is thrown away by the kernel."""

    def __init__(self, c):
        need_root("nft")
        self.table = "tidemill%d" % os.getpid()
        for left in re.findall(r"table inet (tidemill(\d+))", run("nft", "list", "tables")):
            if not os.path.exists("/proc/" + left[1]):  # of a test that was killed
                run("nft", "delete", "table", "inet", left[0])
        ports = ", ".join(str(c.base_port + LINK_PORTS + PORTS_PER_NODE * n) for n in range(len(c.nodes)))
        self.rules = """table inet %s {
            chain cut { type filter hook input priority 0; tcp dport { %s } drop; tcp sport { %s } drop; }
        }""" % (self.table, ports, ports)

    def __enter__(self):
        done = subprocess.run(["nft", "-f", "-"], input=self.rules, text=True, capture_output=True)
        if done.returncode != 0:
            raise Skip("nft: " + done.stderr.strip())
        return self

    def __exit__(self, *_):
        subprocess.run(["nft", "delete", "table", "inet", self.table], check=True)
