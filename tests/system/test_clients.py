#!/usr/bin/python3
"""redis-cli, redis-benchmark and python3-redis, plain and cluster client, work as they are."""
import re
import shutil
import subprocess
import sys

import redis
from redis.cluster import ClusterNode, RedisCluster

from cluster import CALM, Cluster, three_nodes
from harness import No, Skip, main, wait_until

COMMANDS = "set,get,incr,hset,sadd,mset"


def cli(port, *words, stdin=None):
    done = subprocess.run(["redis-cli", "-p", str(port), *words], input=stdin, text=True,
                          capture_output=True, timeout=300)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout.strip()


def redis_cli_works(c, port):
    assert cli(port, "PING") == "PONG"
    assert cli(port, "SET", "Order:42", "paid") == "OK"
    assert cli(port, "-3", "GET", "Order:42") == "paid"
    assert cli(port, "HSET", "Order:43", "status", "open", "total", "12") == "2"
    assert cli(port, "HGETALL", "Order:43").split() == ["status", "open", "total", "12"]
    assert "WRONGTYPE" in cli(port, "GET", "Order:43")
    assert "unknown command" in cli(port, "FROBNICATE", "x")
    assert cli(port, "-c", "GET", "Order:42") == "paid"
    assert "cluster_state:ok" in cli(port, "CLUSTER", "INFO")
    assert "redis_version" in cli(port, "INFO")
    many = "\n".join("SET Pipe:%d %d" % (i, i) for i in range(500)) + "\n"
    assert cli(port, stdin=many).split() == ["OK"] * 500
    assert cli(port, "GET", "Pipe:499") == "499"
    found = cli(port, "--scan", "--pattern", "Pipe:4*").split()
    assert len(found) == 111, len(found)


def benchmark(port, *words):
    done = subprocess.run(["redis-benchmark", "-p", str(port), "-n", "2000", "-c", "20", "-r", "1000",
                           "-q", "-t", COMMANDS, *words], text=True, capture_output=True, timeout=600)
    rates = re.findall(r"([A-Z]+)[^:\n]*: ([0-9.]+) requests per second",
                       done.stdout.replace("\r", "\n"))
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "rror" not in done.stdout + done.stderr, (done.stdout, done.stderr)
    names = {name for name, rate in rates if float(rate) > 0}
    assert names == {word.upper() for word in COMMANDS.split(",")}, (names, done.stdout)


def redis_benchmark_works(c, port):
    benchmark(port, "-P", "1")
    benchmark(port, "-P", "16")
    benchmark(port, "--cluster", "-P", "1")
    benchmark(port, "--cluster", "-P", "16")


def exercise(r):
    """What both of python's clients can do."""
    assert r.set("Py:1", "a") and r.get("Py:1") == b"a"
    assert r.set("Py:1", "b", nx=True) is None
    assert r.incrby("PyCount:1", 5) >= 5
    r.delete("PyHash:1", "PySet:1")
    assert r.hset("PyHash:1", mapping={"a": 1, "b": 2}) == 2
    assert r.hgetall("PyHash:1") == {b"a": b"1", b"b": b"2"}
    assert r.sadd("PySet:1", "x", "y") == 2 and r.smembers("PySet:1") == {b"x", b"y"}
    assert r.expire("Py:1", 100) and 0 < r.ttl("Py:1") <= 100
    assert r.exists("Py:1") == 1 and r.type("PyHash:1") == b"hash"
    assert r.delete("Py:1") == 1 and r.get("Py:1") is None
    try:
        r.incr("PyHash:1")
        raise AssertionError("no WRONGTYPE")
    except redis.ResponseError as e:
        assert "WRONGTYPE" in str(e) or "wrong kind" in str(e), e


def python_redis_works(c, port):
    r = redis.Redis(port=port)
    exercise(r)
    r.mset({"Py:m%d" % i: i for i in range(50)})
    assert r.mget(["Py:m%d" % i for i in range(50)]) == [b"%d" % i for i in range(50)]
    with r.pipeline() as p:  # MULTI/EXEC: one slot
        p.set("{Py:t}a", 1).incr("{Py:t}a").get("{Py:t}a")
        assert p.execute() == [True, 2, b"2"]
    with r.pipeline(transaction=False) as p:
        for i in range(300):
            p.set("Py:p%d" % i, i)
        assert p.execute() == [True] * 300
    with r.pipeline() as p:
        p.watch("{Py:t}a")
        value = int(p.get("{Py:t}a"))
        redis.Redis(port=port).set("{Py:t}a", 9)
        p.multi()
        p.set("{Py:t}a", value + 1)
        try:
            p.execute()
            raise AssertionError("WATCH saw nothing")
        except redis.WatchError:
            pass
    assert r.get("{Py:t}a") == b"9"
    wait_until(lambda: r.wait(1, 1000) >= 1, 30)
    keys = {k for k in r.scan_iter(match="Py:p*", count=100)}
    assert len(keys) == 300, len(keys)
    assert r.info()["cluster_enabled"] == 1
    assert r.config_get("maxmemory*") is not None
    assert r.client_setname("tester") and r.client_getname() == "tester"


def python_cluster_client_works(c, port):
    r = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", port)])
    exercise(r)
    for i in range(200):
        assert r.set("Cl:%d" % i, i)
    assert all(r.get("Cl:%d" % i) == b"%d" % i for i in range(200))
    r.mset_nonatomic({"Cl:m%d" % i: i for i in range(50)})
    assert r.mget_nonatomic(["Cl:m%d" % i for i in range(50)]) == [b"%d" % i for i in range(50)]
    with r.pipeline() as p:
        for i in range(200):
            p.incr("Cl:%d" % i)
        assert p.execute() == [i + 1 for i in range(200)]
    assert r.keyslot("Order:42") == redis.Redis(port=port).execute_command("CLUSTER KEYSLOT",
                                                                           "Order:42")
    all_keys_by_members(port)


def all_keys_by_members(port):
    """A cluster client asks every primary about all keys and adds up: each speaks of its own."""
    plain = redis.Redis(port=port)
    shared = sorted(plain.keys("*"))
    assert len(shared) == plain.dbsize() > 200
    assert sorted(plain.scan_iter(count=20)) == shared
    # Leaders may move while it is asked, which a client's map learns of later: once they rest, all
    # must add up.
    wait_until(lambda: members_add_up(port, shared), 30)
    r = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", port)])
    for n in r.get_primaries():
        one = redis.Redis(host=n.host, port=n.port)
        assert one.get("Cl:7") == plain.get("Cl:7")  # any key, by any port
        wait_until(lambda: one.flushall() and one.dbsize() == 0, 30)
    wait_until(lambda: r.flushall() and plain.dbsize() == 0 and r.randomkey() is None, 30)
    ids = {redis.Redis(host=n.host, port=n.port).execute_command("CLUSTER", "MYID")
           for n in r.get_primaries()}
    assert len(ids) == len(r.get_primaries()), ids  # each worker knows which member it is


def members_add_up(port, shared):
    r = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", port)])
    primaries = r.get_primaries()
    if len(primaries) < 2:
        return No(primaries)
    owned = []
    for n in primaries:
        one = redis.Redis(host=n.host, port=n.port)
        own = list(one.scan_iter(count=20))
        if one.dbsize() != len(own) or sorted(one.keys("*")) != sorted(own) or (
                own and not all(one.randomkey() in own for _ in range(5))):
            return False
        owned += own
    all_primaries = {"target_nodes": RedisCluster.PRIMARIES}
    return (sorted(owned) == shared and r.dbsize(**all_primaries) == len(shared) and
            sorted(r.scan_iter(count=20)) == shared and
            sorted(r.keys("*", **all_primaries)) == shared)


def a_node_speaks_for_all_its_workers():
    with Cluster(three_nodes(), CALM + ["--workers", "2"]) as c:
        c.up()
        port = c.addresses()["node-1"][1]
        r = redis.Redis(port=port, single_connection_client=True)
        r.flushall()
        for i in range(100):
            r.set("Order:%d" % i, i, ex=1000 if i < 10 else None)
        nodes = [redis.Redis(port=p) for _, p in c.addresses().values()]
        for name, count in ("keys", 100), ("expires", 10):
            wait_until(lambda: sum(n.info("keyspace").get("db0", {}).get(name, 0) for n in nodes) == count, 30)
        wait_until(lambda: sum(n.info("replication")["partitions_led"] for n in nodes) == 256, 30)
        many = [redis.Redis(port=port + 1 + i % 2, client_name="many-%d" % i,
                            single_connection_client=True) for i in range(6)]
        assert all(m.ping() for m in many)
        wait_until(lambda: r.info("clients")["connected_clients"] >= 7, 30)
        for client in r, many[0], many[1]:
            wait_until(lambda: {"many-%d" % i for i in range(6)} <= {
                row["name"] for row in client.client_list()}, 30)
        lines = cli(port, "-3", "CLIENT", "LIST").splitlines()
        assert len(lines) >= 7 and all(line.startswith("id=") for line in lines), lines
        victim = next(row for row in many[0].client_list() if row["name"] == "many-3")
        assert many[0].client_kill_filter(_id=victim["id"]) == 1
        wait_until(lambda: "many-3" not in [row["name"] for row in r.client_list()], 30)

        def reads():
            return [n.info("stats") for n in nodes]
        for n in nodes:
            n.config_resetstat()
        for i in range(150):
            r.get("Order:%d" % i)
        for name, count in ("keyspace_hits", 100), ("keyspace_misses", 50):
            wait_until(lambda: sum(s[name] for s in reads()) == count, 30)
        wait_until(lambda: reads()[0]["total_commands_processed"] >= 150, 30)
        for n in nodes:
            n.config_resetstat()
        wait_until(lambda: sum(s["keyspace_hits"] + s["keyspace_misses"] for s in reads()) == 0, 30, 1)
        assert all(s["total_commands_processed"] < 150 for s in reads()), reads()


def clients_work_as_they_are():
    for tool in "redis-cli", "redis-benchmark":
        if shutil.which(tool) is None:
            raise Skip("%s is not installed" % tool)
    with Cluster(three_nodes(), CALM + ["--workers", "2"]) as c:
        c.up()
        for node in "node-1", "node-3":
            port = c.addresses()[node][1]
            assert cli(port, "FLUSHALL") == "OK" and cli(port, "DBSIZE") == "0"
            for part in redis_cli_works, python_redis_works, python_cluster_client_works:
                print("---- %s by %s" % (part.__name__, node), flush=True)
                part(c, port)
        print("---- redis_benchmark_works", flush=True)
        redis_benchmark_works(c, c.addresses()["node-2"][1])


if __name__ == "__main__":
    sys.exit(main([clients_work_as_they_are, a_node_speaks_for_all_its_workers]))
