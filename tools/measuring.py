"""measuring.py: what tools/compare and tools/measure-failover share: clusters that are started and
ended by process id, a small RESP client, the load generator, and the words for a result.

Only the standard library: no client library's cost or behaviour gets into a measurement.
"""
import json
import os
import platform
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PORTS_PER_NODE = 32
LINK_PORTS = 2048  # where the ports for links begin, behind the clients' (tools/ports.h)
REDIS = ["--save", "", "--auto-aof-rewrite-percentage", "0", "--repl-diskless-sync-delay", "0",
         "--bind", "127.0.0.1", "--protected-mode", "no", "--daemonize", "no"]


POLICY = "/usr/sbin/policy-rc.d"


class Failed(Exception):
    """What ends a measurement; its text is for people."""


class RespError(Exception):
    """An error reply."""


class Client:
    """A RESP2 connection."""

    def __init__(self, host, port, timeout=10):
        self.socket = socket.create_connection((host, port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def close(self):
        self.socket.close()

    def send(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(
            b"$%d\r\n%s\r\n" % (len(w), w) for w in words))

    def ask(self, *words):
        self.send(*words)
        return self.reply()

    def more(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError("connection closed")
        self.buffer += data

    def take_line(self):
        while b"\r\n" not in self.buffer:
            self.more()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def reply(self):
        line = self.take_line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            raise RespError(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            length = int(rest)
            if length < 0:
                return None
            while len(self.buffer) < length + 2:
                self.more()
            data, self.buffer = self.buffer[:length], self.buffer[length + 2:]
            return data
        if kind == b"*":
            return None if int(rest) < 0 else [self.reply() for _ in range(int(rest))]
        raise Failed("this is no RESP: %r" % line)


def wait_until(what, seconds, text, step=0.05):
    """Waits until what() is true; connection errors mean not yet."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if what():
                return
        except (OSError, RespError):
            pass
        time.sleep(step)
    raise Failed("not so within %g s: %s" % (seconds, text))


def port_is_free(port):
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


_claims = []  # sockets


def claim(ports):
    """Makes a node's ports this process's for as long as it lives, also while nobody listens there;
    false if they are another's.  A claim is a socket with an abstract name: it leaves nothing behind."""
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        s.bind("\0tidemill-ports-%d" % ports[0])
    except OSError:
        s.close()
        return False
    _claims.append(s)
    return all(port_is_free(p) for p in ports)


def free_ports(count):
    """The first of `count` ports in a row that nobody has, and so many where nodes have those for
    links; all below the ephemeral ones, and claimed."""
    for _ in range(500):
        before = len(_claims)
        base = PORTS_PER_NODE * random.SystemRandom().randrange(
            8000 // PORTS_PER_NODE, (32000 - LINK_PORTS - count) // PORTS_PER_NODE)
        if all(claim(range(first, first + PORTS_PER_NODE)) for start in (base, base + LINK_PORTS)
               for first in range(start, start + count, PORTS_PER_NODE)):
            return base
        while len(_claims) > before:
            _claims.pop().close()
    raise Failed("no free range of %d ports" % count)


class Cluster:
    """Three servers in a folder of their own below `folder`; ended, and the folder removed, on the
    way out of a `with`."""

    def __init__(self, folder):
        self.dir = tempfile.mkdtemp(prefix="measure-", dir=folder)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


class Tidemill(Cluster):
    """The nodes of a file, docs/examples/three-node.js if none is named, started by `up`."""
    name = "tidemill"

    def __init__(self, program, folder, options=(), topology=None, nodes=3):
        super().__init__(folder)
        self.program, self.options = program, list(options)
        self.topology = topology or os.path.join(TOP, "docs", "examples", "three-node.js")
        self.data = os.path.join(self.dir, "data")
        self.base_port = free_ports(nodes * PORTS_PER_NODE)

    def run(self, *args, check=True, timeout=180):
        done = subprocess.run([self.program, *args], capture_output=True, text=True,
                              timeout=timeout)
        if check and done.returncode != 0:
            raise Failed("tidemill %s: %s" % (args[0], done.stderr.strip() or done.stdout.strip()))
        return done

    def start(self):
        """Starts the nodes that do not run; returns when the cluster answers writes."""
        self.run("up", self.topology, "--dir", self.data, "--detach", "--base-port",
                 str(self.base_port), *self.options)

    def stop(self):
        if os.path.isdir(self.data):
            self.run("down", "--dir", self.data, "--kill", check=False)

    def ps(self):
        return json.loads(self.run("ps", "--dir", self.data, "--json").stdout)

    def pids(self):
        return [row["pid"] for row in self.ps() if row["pid"]]

    def address(self):
        return self.ps()[0]["listen"]

    def fabric(self):
        return ", ".join(sorted({row["fabric"] for row in self.ps()}))


class Redis(Cluster):
    """Servers of Debian's redis-server, three of them, all but the first following the first."""
    name = "redis"

    def __init__(self, folder, memory=False, servers=3):
        super().__init__(folder)
        self.memory, self.servers = memory, servers
        self.base_port = free_ports(servers)
        self.processes = []

    def start(self):
        aof = ["--appendonly", "no"] if self.memory else ["--appendonly", "yes", "--appendfsync",
                                                          "always"]
        for i in range(self.servers):
            folder = os.path.join(self.dir, "redis-%d" % i)
            os.mkdir(folder)
            follow = ["--replicaof", "127.0.0.1 %d" % self.base_port] if i > 0 else []
            with open(os.path.join(folder, "log"), "wb") as log:
                self.processes.append(subprocess.Popen(
                    ["redis-server", "--port", str(self.base_port + i), "--dir", folder, *REDIS,
                     *aof, *follow], stdin=subprocess.DEVNULL, stdout=log, stderr=log))
            if i == 0:
                wait_until(lambda: self.client().ask("PING") == "PONG", 20, "redis answers PING")
        wait_until(self.followed, 30, "the redis replicas follow the first")

    def client(self, server=0):
        return Client("127.0.0.1", self.base_port + server)

    def followed(self):
        info = self.client().ask("INFO", "replication").decode()
        return info.count("state=online") == self.servers - 1

    def stop(self):
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()

    def pids(self):
        return [p.pid for p in self.processes]

    def address(self):
        return "127.0.0.1:%d" % self.base_port


def bench(program, cluster, *options):
    """One run of the load generator; its JSON."""
    command = [program, "bench", "resp", cluster.address(), "--json", "--cpu-of",
               ",".join(str(p) for p in cluster.pids()), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if not done.stdout.startswith("{"):
        raise Failed("%s: %s" % (" ".join(command), done.stderr.strip()))
    result = json.loads(done.stdout)
    if result["failed"] or result["latency_us"] is None:
        raise Failed("%s: %d operations, %d failed: %s" % (
            cluster.name, result["operations"], result["failed"], result["errors"]))
    return result


def make_dir(folder):
    """The folder that clusters lie below is there, or it is said why not."""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as e:
        raise Failed("--dir %s cannot be made: %s" % (folder, e.strerror)) from None


def tick():
    return os.sysconf("SC_CLK_TCK")


def process_cpu(pids):
    """CPU-seconds that the processes have used so far."""
    total = 0
    for pid in pids:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / tick()


def machine_busy():
    """Busy seconds of all cores so far: without idle, waiting for devices, and stolen time."""
    with open("/proc/stat", encoding="ascii") as f:
        fields = [int(x) for x in f.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4] - fields[7]) / tick()


def find_program(given):
    """The program to measure: given, $TIDEMILL, or the one in build/."""
    program = given or os.environ.get("TIDEMILL") or os.path.join(TOP, "build", "tidemill")
    if not os.access(program, os.X_OK):
        raise Failed("%s is not there: build it (meson setup build && ninja -C build), or name it "
                     "with --tidemill" % program)
    return os.path.abspath(program)


def install_redis():
    """Installs redis-server without letting the package start it."""
    if shutil.which("redis-server"):
        return
    if not shutil.which("apt-get"):
        raise Failed("redis-server is missing and this is no Debian: install redis 7.0 yourself")
    root = [] if os.getuid() == 0 else ["sudo"]
    print("installing redis-server", file=sys.stderr)
    mine = not os.path.exists(POLICY)
    if mine:
        subprocess.run(root + ["sh", "-c", "printf '#!/bin/sh\\nexit 101\\n' >%s; chmod 755 %s" % (
            POLICY, POLICY)], check=True)
    try:
        for words in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends",
                                         "redis-server"]):
            done = subprocess.run(root + ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"] +
                                  words, stdout=subprocess.DEVNULL)
            if done.returncode != 0:
                raise Failed("apt-get %s failed" % words[0])
    finally:
        if mine:
            subprocess.run(root + ["rm", "-f", POLICY], check=True)
    if shutil.which("systemctl"):
        subprocess.run(root + ["systemctl", "disable", "redis-server"], capture_output=True)


def first_line(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.strip().split("\n")[0]
    except (OSError, subprocess.CalledProcessError):
        return ""


def mount_of(folder):
    """Device and kind of the file system that holds a folder."""
    best = ("", "?", "?")
    with open("/proc/mounts", encoding="utf-8") as f:
        for line in f:
            device, point, kind = line.split()[:3]
            inside = os.path.realpath(folder).startswith(point.rstrip("/") + "/") or point == "/"
            if inside and len(point) >= len(best[0]):
                best = (point, device, kind)
    return "%s on %s" % (best[2], best[1])


def machine_text(program, folder):
    """The lines that say what was measured where."""
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        models = [line.split(":", 1)[1].strip() for line in f if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    commit = first_line("git", "-C", TOP, "describe", "--always", "--dirty") or "no repository"
    rows = [
        ("cores", "%d × %s" % (os.cpu_count(), models[0] if models else platform.machine())),
        ("memory", "%.0f GiB" % memory),
        ("kernel", platform.release()),
        ("data on", mount_of(folder)),
        ("tidemill", "%s (%s)" % (first_line(program, "--version"), commit)),
        ("redis", first_line("redis-server", "--version")),
        ("date", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())),
        ("load average before", "%.2f, %.2f, %.2f" % os.getloadavg()),
    ]
    return "\n".join("- %s: %s" % row for row in rows if row[1])


def value_of(result, path):
    for name in path:
        result = result[name]
    return result


def show(number):
    digits = 0 if abs(number) >= 100 else 1 if abs(number) >= 10 else 2
    return "{:,.{}f}".format(number, digits)


def spread(values, unit=""):
    """Median (minimum – maximum)."""
    return "%s%s (%s – %s)" % (show(statistics.median(values)), " " + unit if unit else "",
                               show(min(values)), show(max(values)))


def rank(values, percent):
    """The smallest value that at least `percent` percent are not above."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def end_on_signals():
    """SIGTERM and SIGHUP unwind like Ctrl-C, so that clusters are ended."""
    def interrupt(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)
