#!/usr/bin/python3
"""consistency "eventual": what a failover cut off comes back with the node that had it, merged."""
import os
import sys

from cluster import CALM, Cluster, three_nodes
from harness import main, wait_until

# Nothing that is written leaves the leader on its own for a while.
HOLD = {"async-window-ms": 60000, "async-batch-us": 10000000, "async-batch-bytes": 16 << 20}


def configure(c, node, values):
    client = c.client(node)
    for name, value in values.items():
        client.config_set(name, value)


def total(c, name):
    return sum(c.stat(n)[name] for _, n in c.nodes)


def read_everywhere(c, what, expected):
    """What each node answers for itself, for in this mode each does."""
    for _, node in c.nodes:
        client = c.client(node)
        wait_until(lambda: what(client) == expected, 30)


def a_killed_leader_brings_its_writes_back():
    with Cluster(three_nodes(rf=3, consistency="eventual", partitions=8), CALM) as c:
        c.up()
        wait_until(lambda: c.whole("node-1"), 30)
        key, other = c.key_led_by("node-1", "node-2"), "node-2"
        tag = "{%s}" % key
        k = {name: name + tag for name in ("hash", "gone", "count", "text", "dies")}
        lead = c.client("node-1")
        lead.hset(k["hash"], mapping={"a": "0", "b": "0"})
        lead.set(k["gone"], "0")
        lead.incrby(k["count"], 100)
        wait_until(lambda: lead.execute_command("WAIT", 2, 5000) >= 2, 30)
        configure(c, "node-1", HOLD)
        lead.hset(k["hash"], mapping={"a": "cut", "b": "cut", "c": "cut"})
        lead.set(k["gone"], "cut")
        lead.set(k["text"], "cut")
        lead.incrby(k["count"], 10)
        c.kill("node-1")
        wait_until(lambda: c.leader_of(tag, other) in ("node-2", "node-3"), 30)
        then = c.client(other)
        assert then.hget(k["hash"], "a") == b"0", "it was shipped: the test tests nothing"
        then.hset(k["hash"], "b", "newer")
        then.delete(k["gone"])
        then.incrby(k["count"], 1)
        c.up()
        read_everywhere(c, lambda r: r.hgetall(k["hash"]),
                        {b"a": b"cut", b"b": b"newer", b"c": b"cut"})
        read_everywhere(c, lambda r: r.get(k["text"]), b"cut")
        read_everywhere(c, lambda r: r.get(k["count"]), b"111")
        read_everywhere(c, lambda r: r.get(k["gone"]), None)
        wait_until(lambda: files(c, "node-1") == [], 30)
        read_everywhere(c, lambda r: r.get(k["gone"]), None)  # also when all has been merged
        assert c.stat("node-1")["async_cut"] >= 4
        assert c.stat("node-1")["async_reoffered"] >= 4
        assert total(c, "async_merged") >= 4
        assert total(c, "async_dropped") == 0
        c.down()
        c.up()
        read_everywhere(c, lambda r: r.get(k["count"]), b"111")
        read_everywhere(c, lambda r: r.mget(k["text"], k["gone"]), [b"cut", None])


def writes_wait_at_the_cap_of_the_window():
    with Cluster(three_nodes(rf=3, consistency="eventual", partitions=1), CALM) as c:
        c.up()
        wait_until(lambda: c.whole("node-1"), 30)
        leader = c.leader_of("Window:1", "node-1")
        configure(c, leader, {"async-batch-bytes": 65536, "async-window-bytes": 65536})
        client = c.client(leader)
        pipe = client.pipeline(transaction=False)
        for n in range(400):
            pipe.set("Window:%d" % n, "x" * 1000)
        assert all(pipe.execute())
        wait_until(lambda: c.stat(leader)["async_window_waits"] > 0, 30)
        wait_until(lambda: client.dbsize() == 400, 30)


def files(c, node):
    folder = os.path.join(c.row(node)["dir"], "offers")
    return os.listdir(folder) if os.path.isdir(folder) else []


if __name__ == "__main__":
    sys.exit(main([a_killed_leader_brings_its_writes_back,
                   writes_wait_at_the_cap_of_the_window]))
