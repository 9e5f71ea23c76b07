#!/usr/bin/python3
"""What the other system tests leave at its default: five copies, one copy, memory durability, two
workers a node, all workers on one thread, and each way to idle; with real processes and SIGKILL."""
import os
import sys
import time

import redis

from cluster import Cluster, connect, nodes_text, three_nodes, undecided
from harness import main, wait_until
from load import Load

FIVE = ["node-%d" % n for n in range(1, 6)]


def five_copies_survive_the_loss_of_two():
    with Cluster(nodes_text("c", FIVE, replicationFactor=5, partitions=64)) as c:
        c.up()
        with Load(c, timeout=5) as load:
            for pair in ("node-1", "node-2"), ("node-4", "node-5"):
                load.goes_on()
                alive = [n for n in FIVE if n not in pair]
                for node in pair:
                    c.kill(node)
                load.leave_out(*pair)
                load.goes_on()
                c.up()
                load.where = c.addresses()
                wait_until(lambda: c.whole(alive[0]), 40, 0.3)
        load.verify()


def with_three_of_five_lost_nothing_is_acknowledged():
    with Cluster(nodes_text("c", FIVE, replicationFactor=5, partitions=16)) as c:
        c.up()
        assert c.client("node-5").set("Order:1", "before")
        for node in FIVE[:3]:
            c.kill(node, wait=True)
        client = connect(*c.address("node-5"))
        said = {}
        for command in ("SET", "Order:1", "after"), ("GET", "Order:1"):
            try:
                raise AssertionError("%r without a quorum" % (client.execute_command(*command),))
            except redis.ResponseError as e:
                assert undecided(e), e
                said[command[0]] = str(e)
        c.up()
        unknown = said["SET"].startswith("TIMEOUT")  # else nothing was done
        client = c.client("node-5")
        assert client.get("Order:1") in ([b"before", b"after"] if unknown else [b"before"]), said
        assert client.set("Order:1", "at last") and client.get("Order:1") == b"at last"


def one_copy_lives_and_returns_with_its_node():
    with Cluster(three_nodes(rf=1, partitions=64)) as c:
        c.up()
        keys = {n: c.key_led_by(n, "node-1", "Lone") for _, n in c.nodes}
        assert all(keys.values()), keys
        for node, key in keys.items():
            assert c.client("node-1").set(key, "of " + node)
        c.kill("node-2", wait=True)
        client = c.client("node-1")
        assert client.get(keys["node-3"]) == b"of node-3" and client.set(keys["node-1"], "on")
        try:
            value = connect(*c.address("node-1")).get(keys["node-2"])
            raise AssertionError("%r of a node that is dead" % value)
        except redis.RedisError as e:
            print("  without its only copy: %s" % e)
        c.up()
        assert wait_until(lambda: client.get(keys["node-2"]), 30) == b"of node-2"
        assert client.get(keys["node-1"]) == b"on"


def kill_in_turn(c, load, nodes):
    """Writes go on without each of them; it is whole again before the next one dies."""
    for node in nodes:
        load.goes_on()
        c.kill(node)
        load.leave_out(node)
        load.goes_on()
        c.up()
        load.where = c.addresses()
        wait_until(lambda node=node: c.whole(node), 40, 0.3)


def in_memory_a_quorum_survives_one_node_after_the_other():
    with Cluster(three_nodes(), ["--durability=memory"]) as c:
        c.up()
        with Load(c, timeout=3) as load:
            kill_in_turn(c, load, ("node-1", "node-2", "node-3", "node-1"))
        load.verify()


def two_workers_a_node_survive_kills():
    """What lies between workers of one node (rings, forwarding, logs of their own), too."""
    for rf in 2, 3:
        with Cluster(three_nodes(rf=rf), ["--workers=2"]) as c:
            c.up()
            with Load(c, timeout=3) as load:
                kill_in_turn(c, load, ("node-1", "node-3", "node-2"))
            load.verify()


def thread_names(pid):
    names = []
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/comm" % (pid, task), encoding="ascii") as f:
            names.append(f.read().strip())
    return names


def many_workers_share_one_thread():
    for fabric in "dpdk", "tcp":
        workers_share(["--placement=shared", "--workers=3", "--fabric=" + fabric])


def workers_share(options):
    with Cluster(three_nodes(), options) as c:
        c.up()
        threads = thread_names(c.row("node-1")["pid"])
        assert [t for t in threads if t.startswith("tm-worker")] == ["tm-worker-0"], threads
        with Load(c, timeout=3) as load:
            kill_in_turn(c, load, ("node-1",))
        load.verify()


def whoever_idles_is_woken_by_all_that_comes():
    """A socket (the first request after rest), a ring (another worker's partition), a frame (another
    node's), the disk (SET), a timer (what expires, with nobody asking)."""
    with Cluster(three_nodes(partitions=16), ["--workers=2"]) as c:
        c.up()
        clients = {n: c.client(n) for _, n in c.nodes}

        def expired():
            return sum(c.stat(n)["entities_expired"] for _, n in c.nodes)
        for idle in "spin", "yield", "backoff", "park":
            for client in clients.values():
                assert client.config_set("idle", idle)
            before = expired()
            time.sleep(0.5)
            for n, client in clients.items():
                for i in range(32):
                    assert client.set("Idle:%s-%d" % (n, i), idle)
            clients["node-2"].set("Idle:due", 1, px=300)
            wait_until(lambda: expired() > before, 30)
            assert [clients["node-3"].get("Idle:node-1-%d" % i) for i in range(32)] == [
                idle.encode()] * 32


if __name__ == "__main__":
    sys.exit(main([five_copies_survive_the_loss_of_two,
                   with_three_of_five_lost_nothing_is_acknowledged,
                   one_copy_lives_and_returns_with_its_node,
                   in_memory_a_quorum_survives_one_node_after_the_other,
                   two_workers_a_node_survive_kills, many_workers_share_one_thread,
                   whoever_idles_is_woken_by_all_that_comes]))
