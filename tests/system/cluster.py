"""cluster.py: real clusters for the system tests: processes, ports, kills, and what they look like
from outside.

    with Cluster(three_nodes(rf=3)) as c:
        c.up()
        wait_until(lambda: c.whole("node-1"), 30)
        c.kill("node-1", wait=True)
        c.up()
        c.serves("node-1", {"Order:1": "paid"})

The program is $TIDEMILL.  A cluster lives in a folder of its own under $TM_SYSTEM_DIR (default
/tmp) and on ports that were free; on the way out its processes are killed (after a good end, where
sanitizers look at what is left then), and the folder is removed unless something failed.  $TM_SEED repeats the choices of a run (not its timing).

A busy machine may make nodes elect leaders anew at any time, and answers may then be CLUSTERDOWN
(nothing was done) or TIMEOUT (unknown).  Clients of client() ask again, where asking twice does
what asking once does; a test that is about such answers takes connect()."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import redis
from redis.crc import key_slot

from harness import SANITIZERS, TIDEMILL, Failed, No, on_failure, wait_until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools"))
from measuring import PORTS_PER_NODE, free_ports  # noqa: E402

PATIENCE = 300  # seconds in which a cluster that nobody hurts has leaders again
LOG_LINES, DIGEST_LINES = 40, 5  # of each node, of a test that failed
# Small logs, so that many clusters fit on a small disk and start quickly.
SMALL = ["--wal-segment-bytes=16MiB", "--wal-bytes=1GiB"]
# For what no election may come between: a machine that stops for less than this makes none.
CALM = ["--election-timeout-ms=4000", "--heartbeat-ms=100"]


def three_nodes(rf=3, name="c", **options):
    """The text of a topology file with one cluster of three nodes."""
    return nodes_text(name, ["node-1", "node-2", "node-3"], replicationFactor=rf, **options)


def nodes_text(name, nodes, **options):
    return "defineCluster(%s, %s);\n" % (json.dumps(name), json.dumps(dict(options, nodes=nodes)))


class Cluster:
    """All clusters of one topology file, in one folder."""

    def __init__(self, topology, options=(), small=True):
        self.program = TIDEMILL
        self.prefix = []  # words before the program: another user, other limits
        self.dir = tempfile.mkdtemp(prefix="tidemill-test-", dir=os.environ.get("TM_SYSTEM_DIR"))
        self.data = os.path.join(self.dir, "data")
        self.topology = os.path.join(self.dir, "topology.js")
        self.write_topology(topology)
        plan = json.loads(self.tidemill("plan", self.topology, "--json").stdout)
        self.nodes = [(c["name"], n["name"]) for c in plan["clusters"] for n in c["nodes"]]
        self.base_port = free_ports(PORTS_PER_NODE * len(self.nodes))
        self.options = (SMALL if small else []) + list(options)
        self.told = None  # of a failure

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        good = False
        try:
            if kind is None and os.path.isdir(self.data):
                self.look_back()
            good = kind is None
        finally:
            if not good and self.told is None:
                self.tell()
            self.end()
            if good:
                shutil.rmtree(self.dir, ignore_errors=True)
            else:
                print("kept: " + self.dir, flush=True)

    def look_back(self):
        """A test that has passed: its nodes end well, and none had failed an assertion meanwhile,
        and was started again."""
        if SANITIZERS:
            self.down()
        for row in self.ps():
            said = [line for line in self.log(row).splitlines() if "assertion failed: " in line]
            assert not said, "%s: %s" % (row["node"], said[0])

    def tell(self):
        """Prints the nodes' logs, and leaves their ends for the digest of the failure."""
        rows = self.ps() if os.path.isdir(self.data) else []
        for row in rows:
            print("---- %s %s (%s)" % (row["cluster"], row["node"], row["state"]))
            print("\n".join(self.log(row).splitlines()[-LOG_LINES:]), flush=True)
        self.told = ["kept: " + self.dir]
        for row in rows:
            self.told.append("%s %s: %s" % (row["cluster"], row["node"], self.outline(row)))
            self.told += ["  " + line[:220] for line in last_lines(self.log(row))]
        on_failure(lambda: self.told)

    def outline(self, row):
        """What a node knows of the cluster, in a few words."""
        if row["state"] != "running":
            return row["state"]
        done = self.tidemill("status", row["listen"], check=False)
        return (done.stdout + done.stderr).strip().splitlines()[-1][:200]

    def end(self):
        """Kills every node, also stopped ones."""
        if not os.path.isdir(self.data):
            return
        for row in self.ps():
            if row["pid"]:
                try:
                    os.kill(row["pid"], signal.SIGKILL)
                except ProcessLookupError:
                    pass
        self.tidemill("down", "--dir", self.data, "--kill", check=False)

    def write_topology(self, text):
        with open(self.topology, "w", encoding="utf-8") as f:
            f.write(text)

    def tidemill(self, *args, check=True, timeout=600):
        done = subprocess.run([*self.prefix, self.program, *args], capture_output=True, text=True,
                              timeout=timeout)
        if check and done.returncode != 0:
            raise Failed("tidemill %s: exit %d\n%s%s" % (" ".join(args), done.returncode, done.stdout,
                                                         done.stderr))
        return done

    def up(self, *extra, check=True):
        """Starts what does not run; returns when every cluster answers writes."""
        return self.tidemill("up", self.topology, "--dir", self.data, "--detach", "--base-port",
                             str(self.base_port), *self.options, *extra, check=check)

    def down(self, *extra, check=True):
        return self.tidemill("down", "--dir", self.data, *extra, check=check)

    def ps(self):
        return json.loads(self.tidemill("ps", "--dir", self.data, "--json").stdout)

    def row(self, node):
        """A node's row of ps; node is its name, or (cluster, name)."""
        for row in self.ps():
            if node in (row["node"], (row["cluster"], row["node"])):
                return row
        raise KeyError(node)

    def stat(self, node):
        """The counters of a node, by name."""
        return json.loads(self.tidemill("stat", self.row(node)["dir"], "--json").stdout)["counters"]

    def status(self, node):
        return json.loads(self.tidemill("status", self.row(node)["listen"], "--json").stdout)

    def signal(self, node, number):
        pid = self.row(node)["pid"]
        os.kill(pid, number)
        return pid

    def kill(self, node, wait=False):
        """SIGKILL, as the kernel or a power switch would do it; and until it is dead."""
        pid = self.signal(node, signal.SIGKILL)
        if wait:
            wait_until(lambda: self.row(node)["state"] == "dead", 60)
        return pid

    def log(self, node):
        """The log of a node, given by its name, (cluster, name) or its row of ps."""
        row = node if isinstance(node, dict) else self.row(node)
        path = os.path.join(row["dir"], "node.log")
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def addresses(self):
        """{node: (host, port)} of the nodes that run, by their shared client ports."""
        out = {}
        for row in self.ps():
            if row["pid"] and row["listen"]:
                host, port = row["listen"].rsplit(":", 1)
                out[row["node"]] = (host, int(port))
        return out

    def address(self, node):
        """(host, port) of a node's shared client port; node is its name or (cluster, name)."""
        host, port = self.row(node)["listen"].rsplit(":", 1)
        return host, int(port)

    def client(self, node, timeout=120):
        """A client of a node that asks again (PatientClient)."""
        return PatientClient(**settings(*self.address(node), timeout))

    def whole(self, via):
        """Every partition has a leader and all its copies in sync and without fault, and all
        members answer, as `via` sees it."""
        s = self.status(via)
        lacking = ["%d (%s: %d of %d in sync, %d faulty)" % (
            p["partition"], p["leader"], p["inSync"], p["copies"], p["faulty"])
            for p in s["partitions"]
            if p["leader"] is None or p["inSync"] != p["copies"] or p["faulty"]]
        away = [m["node"] for m in s["members"] if not m["reachable"]]
        if s["led"] == s["partitionCount"] and not lacking and not away:
            return True
        return No("%d of %d partitions led; unreachable: %s; not whole: %d: %s" % (
            s["led"], s["partitionCount"], away, len(lacking), ", ".join(lacking[:3])))

    def equal(self, via):
        """All copies of each partition hold the same, which they do only at rest."""
        differ = [p["partition"] for p in self.status(via)["partitions"]
                  if len({r["stateHash"] for r in p["replicas"] if r["role"] != "WITNESS"}) != 1]
        return No("partitions whose copies differ: %r" % differ) if differ else True

    def serves(self, node, said):
        """Each key has its value, asked of that node."""
        client = self.client(node)
        for key, value in said.items():
            got = client.get(key)
            assert got == value.encode(), (node, key, got and got[:60], value[:60])

    def set_many(self, node, values, at_a_time=40):
        """Sets the keys, pipelined; those again of which it is not known."""
        client, left, end = self.client(node), dict(values), time.monotonic() + PATIENCE
        while left:
            keys = list(left)[:at_a_time]
            pipe = client.pipeline(transaction=False)
            for key in keys:
                pipe.set(key, left[key])
            for key, answer in zip(keys, pipe.execute(raise_on_error=False)):
                if answer is True:
                    del left[key]
                elif not undecided(answer) or time.monotonic() > end:
                    raise answer

    def leaders(self, via):
        """[(first slot, last slot, node)] as the node `via` knows it."""
        return [(first, last, self.node_of_port(owner[1])) for first, last, owner, *_ in
                self.client(via).execute_command("CLUSTER", "SLOTS")]

    def leader_of(self, key, via):
        """The node that leads the partition of key, once one does."""
        return wait_until(lambda: next((node for first, last, node in self.leaders(via)
                                        if first <= key_slot(key.encode()) <= last), None), 30)

    def key_led_by(self, node, via, prefix="Probe", seconds=60):
        """A key whose partition that node leads.  It may lead nothing for a while, after its
        return or when it was late at the cluster's creation: it takes over what it is preferred
        for when it has been in sync for five seconds."""
        return wait_until(lambda: self.key_led_now(node, via, prefix), seconds)

    def key_led_now(self, node, via, prefix="Probe"):
        """The same at this moment; None if the node leads nothing."""
        return next(filter(self.leads(node, via), ("%s:%d" % (prefix, n) for n in range(10000))), None)

    def leads(self, node, via):
        """Of a key: whether that node leads its partition, as `via` knows it at this moment."""
        ranges = [(first, last) for first, last, leader in self.leaders(via) if leader == node]
        return lambda key: any(first <= key_slot(key.encode()) <= last for first, last in ranges)

    def time_to_write(self, key, via, seconds=10):
        """Seconds until a write of key succeeds through the node `via`."""
        client, began = connect(*self.address(via), timeout=seconds), time.monotonic()
        wait_until(lambda: client.set(key, "x"), seconds, 0.002)
        return time.monotonic() - began

    def node_of_port(self, port):
        return self.nodes[(port - self.base_port) // PORTS_PER_NODE][1]


def last_lines(log):
    """The last of a log, runs of the same event with another partition left out."""
    lines = []
    for line in log.splitlines()[-LOG_LINES:]:
        event = line.partition("event=")[2].partition(" ")[0]
        if lines and event and "event=%s " % event in lines[-1] + " ":
            lines[-1] = line
        else:
            lines.append(line)
    return lines[-DIGEST_LINES:]


def settings(host, port, timeout):
    return {"host": host, "port": port, "socket_timeout": timeout,
            "socket_connect_timeout": timeout}


def connect(host, port, timeout=60):
    return redis.Redis(**settings(host, port, timeout))


def undecided(error):
    """What a change of the leader may answer at any time: nothing was done, or nobody knows."""
    return isinstance(error, redis.ResponseError) and str(error).startswith(
        ("CLUSTERDOWN", "TRYAGAIN", "TIMEOUT"))


class PatientClient(redis.Redis):
    """Asks again while the answer is one of a change of the leader; not what may have been done and
    would do something else the second time, as INCR."""

    TWICE_AS_ONCE = {"GET", "SET", "DEL", "HGET", "HSET", "HDEL", "HGETALL", "HLEN", "DBSIZE", "EXISTS",
                     "MGET", "MSET", "SADD", "SREM", "SCARD", "SMEMBERS", "TYPE", "SCAN", "PING", "INFO",
                     "CONFIG GET", "CONFIG SET", "CLUSTER", "KEYS", "FLUSHALL", "TIDEMILL"}

    def execute_command(self, *args, **options):
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return super().execute_command(*args, **options)
            except redis.ResponseError as e:
                unknown = str(e).startswith("TIMEOUT")
                if not undecided(e) or time.monotonic() > end or (
                        unknown and args[0] not in self.TWICE_AS_ONCE):
                    raise
            time.sleep(0.05)
