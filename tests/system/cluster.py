"""cluster.py: real clusters for the system tests: processes, ports, kills, and a record of what
clients were told.

    with Cluster(three_nodes(rf=3)) as c:
        c.up()
        with Load(c) as load:
            c.kill("node-1")
            c.up()
        load.verify()

The program is $TIDEMILL.  A cluster lives in a folder of its own under $TM_SYSTEM_DIR (default /tmp)
and on ports that were free; on the way out its processes are killed, and the folder is removed
unless something failed.  $TM_SEED repeats the choices of a run (not its timing).
"""
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

try:
    import redis
    from redis.crc import key_slot
except ImportError:
    print("python3-redis is not installed: skipped")
    sys.exit(77)

TIDEMILL = os.environ.get("TIDEMILL", "build/tidemill")
PORTS_PER_NODE = 32
# Small logs, so that many clusters fit on a small disk and start quickly.
SMALL = ["--wal-segment-bytes=16MiB", "--wal-bytes=1GiB"]


def seed():
    """The run's seed, printed so that it can be repeated."""
    value = int(os.environ.get("TM_SEED", random.SystemRandom().randrange(1 << 32)))
    print("TM_SEED=%d" % value, flush=True)
    return value


def three_nodes(rf=3, name="c", **options):
    """The text of a topology file with one cluster of three nodes."""
    return nodes_text(name, ["node-1", "node-2", "node-3"], replicationFactor=rf, **options)


def nodes_text(name, nodes, **options):
    return "defineCluster(%s, %s);\n" % (json.dumps(name), json.dumps(dict(options, nodes=nodes)))


def free_base_port(nodes):
    """A base port whose blocks of 32 are free at the moment, below the ephemeral ports."""
    for _ in range(200):
        base = random.SystemRandom().randrange(8000, 32000 - PORTS_PER_NODE * nodes)
        if all(port_is_free(p) for p in range(base, base + PORTS_PER_NODE * nodes)):
            return base
    raise RuntimeError("no free range of ports")


def port_is_free(port):
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Failed(Exception):
    """A subcommand that should have succeeded."""


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
        self.base_port = free_base_port(len(self.nodes))
        self.options = (SMALL if small else []) + list(options)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            traceback.print_exception(kind, value, trace)
            self.show_logs()
        self.end()
        if kind is None:
            shutil.rmtree(self.dir, ignore_errors=True)
        else:
            print("kept: " + self.dir, flush=True)

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

    def tidemill(self, *args, check=True, timeout=150):
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

    def kill(self, node):
        """SIGKILL, as the kernel or a power switch would do it."""
        return self.signal(node, signal.SIGKILL)

    def log(self, node):
        path = os.path.join(self.row(node)["dir"], "node.log")
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def show_logs(self, lines=40):
        for row in self.ps() if os.path.isdir(self.data) else []:
            print("---- %s %s (%s)" % (row["cluster"], row["node"], row["state"]))
            print("\n".join(self.log((row["cluster"], row["node"])).splitlines()[-lines:]))
        sys.stdout.flush()

    def addresses(self):
        """{node: (host, port)} of the nodes that run, by their shared client ports."""
        out = {}
        for row in self.ps():
            if row["pid"] and row["listen"]:
                host, port = row["listen"].rsplit(":", 1)
                out[row["node"]] = (host, int(port))
        return out

    def client(self, node, timeout=10):
        """A client of a node, given by its name or (cluster, name)."""
        host, port = self.row(node)["listen"].rsplit(":", 1)
        return connect(host, int(port), timeout)

    def leaders(self, via):
        """[(first slot, last slot, node)] as the node `via` knows it."""
        return [(first, last, self.node_of_port(owner[1])) for first, last, owner, *_ in
                self.client(via).execute_command("CLUSTER", "SLOTS")]

    def leader_of(self, key, via):
        """The node that leads the partition of key."""
        return next(node for first, last, node in self.leaders(via)
                    if first <= key_slot(key.encode()) <= last)

    def key_led_by(self, node, via, prefix="Probe"):
        """A key whose partition that node leads; None if it leads nothing, as after its return."""
        ranges = [(first, last) for first, last, leader in self.leaders(via) if leader == node]
        for n in range(10000):
            key = "%s:%d" % (prefix, n)
            if any(first <= key_slot(key.encode()) <= last for first, last in ranges):
                return key
        return None

    def time_to_write(self, key, via, seconds=10):
        """Seconds until a write of key succeeds through the node `via`."""
        client, began = self.client(via, timeout=seconds), time.monotonic()
        wait_until(lambda: client.set(key, "x"), seconds, 0.002)
        return time.monotonic() - began

    def node_of_port(self, port):
        return self.nodes[(port - self.base_port) // PORTS_PER_NODE][1]


def connect(host, port, timeout=10):
    return redis.Redis(host=host, port=port, socket_timeout=timeout, socket_connect_timeout=timeout)


def wait_until(what, seconds, step=0.1):
    """Waits until what() is true and returns that; says what it last was when it gives up."""
    end = time.monotonic() + seconds
    last = None
    while time.monotonic() < end:
        try:
            last = what()
            if last:
                return last
        except (redis.RedisError, OSError) as e:
            last = e
        time.sleep(step)
    raise AssertionError("not so within %g s (last: %r)" % (seconds, last))


class Wrong(AssertionError):
    """The cluster has told a client something that cannot be."""


class Register:
    """The history of one key with one writer: values 1, 2, 3 …, each written after the one before
    was acknowledged.  A write whose outcome is unknown is the key's last."""

    def __init__(self, key, is_hash):
        self.key = key
        self.is_hash = is_hash  # the value is in a field of a hash
        self.acked = 0      # the highest acknowledged value
        self.tried = 0      # the highest value sent
        self.seen = 0       # the highest value that a finished read has returned

    def check(self, at_least, value):
        """A read that was invoked when at_least was known (acknowledged or seen) returned value."""
        if value < at_least:
            raise Wrong("%s: read %d after %d was acknowledged or read: lost or stale" % (
                self.key, value, at_least))
        if value > self.tried:
            raise Wrong("%s: read %d, but only values up to %d were ever written: a phantom" % (
                self.key, value, self.tried))


class Load:
    """Clients that write and read while the cluster is hurt, and the record of what they were told.

    Writers set registers (as a string, or as a field of a hash) and increment counters; readers read
    registers of other writers through other nodes.  Every reply is held against the history at
    once; verify() reads everything back."""

    def __init__(self, cluster, writers=3, readers=2, timeout=10, prefix="Order", strong=True,
                 pause=0.0):
        self.c = cluster
        self.timeout = timeout
        self.prefix = prefix
        self.strong = strong
        self.pause = pause
        self.random = random.Random(seed())
        self.where = dict(cluster.addresses())
        self.registers, self.counters = [], []
        self.wrong = []
        self.acked = self.unknown = self.reads = 0
        self.refused = {}
        self.last_ack = time.monotonic()
        self.longest_gap = 0.0
        self.lock = threading.Lock()
        self.done = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(self.write, n), daemon=True)
                        for n in range(writers)]
        self.threads += [threading.Thread(target=self.run, args=(self.read, n), daemon=True)
                         for n in range(readers)]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, kind, value, trace):
        self.stop()

    def stop(self):
        self.done.set()
        for t in self.threads:
            t.join(self.timeout + 30)
            if t.is_alive():
                self.wrong.append(Wrong("a client hangs beyond its time limit"))

    def raise_if_wrong(self):
        if self.wrong:
            raise self.wrong[0]

    def run(self, job, number):
        try:
            job(random.Random(self.random.random()), number)
        except Exception as e:  # told by verify
            self.wrong.append(e)
            if not isinstance(e, Wrong):
                traceback.print_exc()

    def any_client(self, rng, but=None):
        names = [n for n in self.where if n != but] or list(self.where)
        name = rng.choice(names)
        return name, connect(*self.where[name], timeout=self.timeout)

    def note_ack(self):
        now = time.monotonic()
        with self.lock:
            self.acked += 1
            self.longest_gap = max(self.longest_gap, now - self.last_ack)
            self.last_ack = now

    def note_failure(self, e):
        """Unknown outcome, or refused; either way nothing is promised."""
        with self.lock:
            self.unknown += 1
            text = re.sub(r"\d+", "N", str(e))[:80]
            self.refused[text] = self.refused.get(text, 0) + 1

    def new_register(self, number, made):
        r = Register("%s:%d-%d" % (self.prefix, number, made), made % 2 == 1)
        with self.lock:
            self.registers.append(r)
        return r

    def write(self, rng, number):
        name, client = self.any_client(rng)
        counter = {"key": "Count:%s-%d" % (self.prefix, number), "acked": 0, "tried": 0, "last": 0}
        self.counters.append(counter)
        own = [self.new_register(number, n) for n in range(8)]
        made = 8
        while not self.done.is_set():
            spot = rng.randrange(len(own))
            r = own[spot]
            try:
                if rng.random() < 0.2:
                    counter["tried"] += 1
                    value = client.incr(counter["key"])
                    if not max(counter["acked"], counter["last"]) < value <= counter["tried"]:
                        raise Wrong("%s: INCR gave %d, the one before %d; %d of %d acknowledged" % (
                            counter["key"], value, counter["last"], counter["acked"],
                            counter["tried"]))
                    counter["acked"] += 1
                    counter["last"] = value
                else:
                    r.tried += 1
                    if r.is_hash:
                        client.hset(r.key, "status", r.tried)
                    else:
                        client.set(r.key, r.tried)
                    r.acked = r.tried
                self.note_ack()
            except (redis.RedisError, OSError) as e:
                self.note_failure(e)
                client.close()
                if r.acked < r.tried:  # it may still happen: nothing more is written to this key
                    own[spot] = self.new_register(number, made)
                    made += 1
                name, client = self.any_client(rng, but=name)
                time.sleep(0.01)
            if self.pause or rng.random() < 0.002:
                time.sleep(self.pause)
                if rng.random() < 0.1:
                    client.close()
                    name, client = self.any_client(rng)

    @staticmethod
    def get(client, r):
        value = client.hget(r.key, "status") if r.is_hash else client.get(r.key)
        return 0 if value is None else int(value)

    def read(self, rng, number):
        name, client = self.any_client(rng)
        while not self.done.is_set():
            with self.lock:
                r = rng.choice(self.registers) if self.registers else None
            if r is None:
                time.sleep(0.01)
                continue
            at_least = max(r.acked, r.seen)
            try:
                value = self.get(client, r)
            except (redis.RedisError, OSError):
                client.close()
                name, client = self.any_client(rng, but=name)
                time.sleep(0.01)
                continue
            r.check(at_least if self.strong else 0, value)
            with self.lock:
                r.seen = max(r.seen, value)
                self.reads += 1

    def read_back(self, client, r):
        for _ in range(100):
            try:
                return self.get(client, r)
            except (redis.RedisError, OSError):
                time.sleep(0.1)
        return self.get(client, r)

    def verify(self, nodes=None):
        """Reads every register and counter back, through each of the nodes."""
        self.stop()
        self.raise_if_wrong()
        for node in nodes or list(self.c.addresses()):
            client = self.c.client(node, timeout=30)
            for r in self.registers:
                value = self.read_back(client, r)
                r.check(max(r.acked, r.seen), value)
                r.seen = max(r.seen, value)
            for counter in self.counters:
                value = int(client.get(counter["key"]) or 0)
                if not counter["acked"] <= value <= counter["tried"]:
                    raise Wrong("%s is %d: %d increments were acknowledged, %d sent" % (
                        counter["key"], value, counter["acked"], counter["tried"]))
        print("%d writes acknowledged, %d of unknown outcome, %d reads, none wrong; longest gap "
              "between acknowledgements %.0f ms" % (self.acked, self.unknown, self.reads,
                                                    1000 * self.longest_gap), flush=True)
        for text, count in sorted(self.refused.items(), key=lambda x: -x[1])[:5]:
            print("  %6d x %s" % (count, text), flush=True)


def main(tests):
    """Runs the tests named on the command line, or all; tests are functions."""
    by_name = {t.__name__: t for t in tests}
    names = sys.argv[1:] or list(by_name)
    failed = []
    for name in names:
        print("==== " + name, flush=True)
        began = time.monotonic()
        try:
            by_name[name]()
            print("passed in %.1f s" % (time.monotonic() - began), flush=True)
        except Exception:
            traceback.print_exc()
            failed.append(name)
    if failed:
        print("failed: " + ", ".join(failed), flush=True)
    return 1 if failed else 0
