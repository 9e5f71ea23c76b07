#!/usr/bin/python3
"""What clients may do to a node: ten thousand of them, more than --max-clients, one that never reads,
pipelines without end, and bytes that are no RESP.  Memory stays bounded, errors are clear, and the
others are served."""
import random
import resource
import selectors
import socket
import sys
import threading
import time

from cluster import Cluster, connect, three_nodes
from harness import Skip, main, seed, wait_until

MANY = 10000
SPARE_FILES = 500


def mib(kib):
    return kib / 1024


def memory(c, node):
    """Resident MiB of the node."""
    with open("/proc/%d/status" % c.row(node)["pid"], encoding="ascii") as f:
        return mib(int(next(line for line in f if line.startswith("VmRSS:")).split()[1]))


def command(*words):
    words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


UNDECIDED = b"-CLUSTERDOWN", b"-TRYAGAIN", b"-TIMEOUT"  # while a busy machine elects leaders


def raw(c, node, timeout=120):
    return socket.create_connection(c.address(node), timeout=timeout)


def read_to_end(s, until=None):
    """All that the node sends until it closes, or until some bytes have come."""
    got = b""
    while until is None or until not in got:
        try:
            piece = s.recv(65536)
        except ConnectionResetError:
            return got
        if not piece:
            return got
        got += piece
    return got


# ---- many ----

class Caller:
    """One of many connections: sets a key and gets it, and asks again while there is no leader."""

    def __init__(self, address, number):
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.connect_ex(address)
        value = b"value of %d" % number
        self.steps = [(command("SET", "Many:%d" % number, value), b"+OK\r\n"),
                      (command("GET", "Many:%d" % number), b"$%d\r\n%s\r\n" % (len(value), value))]
        self.got, self.to_send = b"", self.steps[0][0]

    def ready(self, mask):
        """True when all has come."""
        if mask & selectors.EVENT_WRITE and self.to_send:
            self.to_send = self.to_send[self.sock.send(self.to_send):]
        if mask & selectors.EVENT_READ:
            piece = self.sock.recv(4096)
            assert piece, "closed after %r" % self.got
            self.got += piece
            self.take()
        return not self.steps

    def take(self):
        """A whole answer ends the step, or begins it again."""
        expected = self.steps[0][1]
        if self.got == expected:
            del self.steps[0]
        elif not (self.got.startswith(UNDECIDED) and self.got.endswith(b"\r\n")):
            assert expected.startswith(self.got) or not self.got.endswith(b"\r\n"), self.got
            return
        self.got = b""
        self.to_send = self.steps[0][0] if self.steps else b""

    def wants(self):
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self.to_send else 0)


def at_rest(c, node):
    """Those who asked on the way, as `up` does, have gone."""
    wait_until(lambda: c.stat(node)["clients"] == 0, 30)


def call_all(address, count, seconds=600):
    """Opens so many connections, all at once, and returns them when all were answered."""
    callers, waiting, end = [], selectors.DefaultSelector(), time.monotonic() + seconds
    done = 0
    while done < count:
        assert time.monotonic() < end, "%d of %d were answered" % (done, count)
        while len(callers) < count and len(callers) < done + 500:
            callers.append(Caller(address, len(callers)))
            waiting.register(callers[-1].sock, callers[-1].wants(), callers[-1])
        for key, mask in waiting.select(1):
            if key.data.ready(mask):
                waiting.unregister(key.fileobj)
                done += 1
            else:
                waiting.modify(key.fileobj, key.data.wants(), key.data)
    waiting.close()
    return callers


def may_open(files):
    """Raises this process's limit, and its children's, or skips."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(files, hard),) * 2)
    except (ValueError, OSError) as e:
        raise Skip("%d open files are needed, %d are allowed (ulimit -n)" % (files, hard)) from e


def ten_thousand_connections():
    may_open(MANY + SPARE_FILES)
    with Cluster(three_nodes()) as c:
        c.up()
        before = memory(c, "node-1")
        callers = call_all(c.address("node-1"), MANY)
        wait_until(lambda: c.stat("node-1")["clients"] >= MANY, 30)
        after = memory(c, "node-1")
        print("%d connections: %.0f MiB, %.0f before; %.1f KiB each" % (
            MANY, after, before, (after - before) * 1024 / MANY))
        assert (after - before) * 1024 / MANY < 16, "KiB a connection"
        wait_until(lambda: c.client("node-1").info("clients")["connected_clients"] >= MANY, 30)
        assert c.client("node-2").get("Many:%d" % (MANY - 1)) == b"value of %d" % (MANY - 1)
        for caller in callers:
            caller.sock.close()
        wait_until(lambda: c.stat("node-1")["clients"] < 10, 30)
        assert c.client("node-1").get("Many:0") == b"value of 0"


def clients_beyond_the_limit_are_told_so():
    with Cluster(three_nodes(), ["--max-clients=100"]) as c:
        c.up()
        at_rest(c, "node-1")
        callers = call_all(c.address("node-1"), 100)
        for _ in range(20):
            with raw(c, "node-1") as late:
                assert read_to_end(late) == b"-ERR max number of clients reached\r\n"
        wait_until(lambda: c.stat("node-1")["clients_rejected"] >= 20, 30)
        callers[0].sock.setblocking(True)
        callers[0].sock.sendall(command("PING"))
        assert callers[0].sock.recv(100) == b"+PONG\r\n", "who was there first goes on"
        for caller in callers[:50]:
            caller.sock.close()
        wait_until(lambda: c.client("node-1").ping(), 30)
        for caller in callers[50:]:
            caller.sock.close()


def the_limit_is_the_nodes_and_can_be_raised():
    """However many workers share the connections; beyond twice what the node was started with, too."""
    def turned_away():
        with raw(c, "node-1") as late:
            late.sendall(command("PING"))
            return b"max number of clients" in read_to_end(late, until=b"\r\n")
    with Cluster(three_nodes(), ["--max-clients=40", "--workers=2"]) as c:
        c.up()
        at_rest(c, "node-1")
        callers = call_all(c.address("node-1"), 40)
        wait_until(lambda: c.stat("node-1")["clients"] == 40, 30)
        assert all(turned_away() for _ in range(20))
        callers.pop().sock.close()
        wait_until(lambda: not turned_away(), 30)
        wait_until(lambda: c.client("node-1").config_set("max-clients", 1000), 30)
        host, port = c.address("node-1")
        for own in port + 1, port + 2:  # each worker's
            wait_until(lambda: connect(host, own).config_get("max-clients") == {
                "max-clients": "1000"}, 30)
        callers += call_all((host, port), 600)
        wait_until(lambda: c.stat("node-1")["clients"] >= 600, 30)
        assert not turned_away()
        for caller in callers:
            caller.sock.close()


# ---- greedy ----

def served(c, node, count=100):
    """Another client is served meanwhile."""
    client = c.client(node)
    for n in range(count):
        assert client.set("Other:%d" % n, n) and client.get("Other:%d" % n) == b"%d" % n


def a_client_that_never_reads_is_held_back():
    """It asks for large values and takes nothing: its replies do not pile up without end."""
    with Cluster(three_nodes()) as c:
        c.up()
        keys = [c.key_led_by(node, "node-1", "Large") for node in ("node-1", "node-2")]
        for key in keys:
            c.client("node-1").set(key, "x" * (256 << 10))
        before, asked = {node: memory(c, node) for _, node in c.nodes}, 0
        greedy = [raw(c, "node-1", timeout=0.5) for _ in range(4)]
        for n, s in enumerate(greedy):
            ask = command("GET", keys[n % 2]) * 1000
            try:
                for _ in range(50):
                    s.sendall(ask)
                    asked += 1000
            except OSError:  # it is not read any more, or was closed
                pass
        served(c, "node-1")
        after = {node: memory(c, node) for node in before}
        print("%d replies of 256 KiB asked for; MiB before and after: %r" % (
            asked, {n: (round(before[n]), round(after[n])) for n in before}))
        for node in before:  # 2 MiB under way for each, here and at the leader, and what is held
            assert after[node] - before[node] < 400, (node, before, after)
        for s in greedy:
            s.close()
        served(c, "node-1")


def pipelines_without_end_leave_room_for_others():
    """Two clients send commands for ever, and read; others get their turns, and nothing piles up."""
    with Cluster(three_nodes()) as c:
        c.up()
        before = {node: memory(c, node) for _, node in c.nodes}
        stop, sent, wrong = threading.Event(), [0, 0], []

        def pour(n):
            s = raw(c, "node-1", timeout=60)
            piece = b"".join(command("SET", "Pour:%d-%d" % (n, i), "x" * 100) for i in range(200))
            s.setblocking(False)
            selector, rest, line = selectors.DefaultSelector(), b"", b""
            selector.register(s, selectors.EVENT_READ | selectors.EVENT_WRITE)
            while not stop.is_set():
                for _, mask in selector.select(1):
                    if mask & selectors.EVENT_READ:
                        got = s.recv(1 << 16)
                        *lines, line = (line + got).split(b"\r\n")
                        refused = [x for x in lines if x != b"+OK" and not x.startswith(UNDECIDED)]
                        if not got or refused:
                            wrong.append(refused or "closed")
                            return
                        sent[n] += lines.count(b"+OK")
                    if mask & selectors.EVENT_WRITE:
                        rest = rest or piece
                        rest = rest[s.send(rest):]
            s.close()

        threads = [threading.Thread(target=pour, args=(n,), daemon=True) for n in range(2)]
        for t in threads:
            t.start()
        wait_until(lambda: wrong or min(sent) > 2000, 60)
        served(c, "node-1", 200)
        served(c, "node-2", 200)
        after = {node: memory(c, node) for node in before}
        stop.set()
        for t in threads:
            t.join(30)
        assert not wrong, wrong
        print("%r commands answered; MiB before and after: %r" % (
            sent, {n: (round(before[n]), round(after[n])) for n in before}))
        for node in before:
            assert after[node] - before[node] < 200, (node, before, after)


# ---- broken ----

BROKEN = [
    (b"*-5x\r\n", b"-ERR Protocol error: invalid multibulk length"),
    (b"*99999999999\r\n", b"-ERR Protocol error: invalid multibulk length"),
    (b"*2147483648\r\n", b"-ERR Protocol error: invalid multibulk length"),
    (b"*a\r\n", b"-ERR Protocol error: invalid multibulk length"),
    (b"*1\r\n:5\r\n", b"-ERR Protocol error: expected '$', got ':'"),
    (b"*1\r\n*1\r\n$4\r\nPING\r\n", b"-ERR Protocol error: expected '$', got '*'"),
    (b"*1\r\n$-1\r\n", b"-ERR Protocol error: invalid bulk length"),
    (b"*1\r\n$x\r\n", b"-ERR Protocol error: invalid bulk length"),
    (b"*2\r\n$3\r\nGET\r\n$99999999999\r\n", b"-ERR Protocol error: invalid bulk length"),
    (b"*" + b"1" * 70000, b"-ERR Protocol error: too big mbulk count string"),
    (b"*1\r\n$" + b"1" * 70000, b"-ERR Protocol error: too big bulk count string"),
    (b"x" * 70000, b"-ERR Protocol error: too big inline request"),
    (b"SET a \"unbalanced\r\n", b"-ERR Protocol error: unbalanced quotes in request"),
]


def what_is_no_resp_is_told_and_closed():
    with Cluster(three_nodes()) as c:
        c.up()
        for sent, error in BROKEN:
            with raw(c, "node-1") as s:
                try:
                    s.sendall(command("PING") + sent)
                except OSError:
                    pass
                got = read_to_end(s)
                assert got.startswith(b"+PONG\r\n" + error), (sent[:60], got)
                assert got.endswith(b"\r\n") and got.count(b"\n") == 2, got
        for whole, answer in ((b"PING\r\n", b"+PONG\r\n"),
                              (b"no such command\r\n", b"-ERR unknown command"),
                              (b"*0\r\n*-1\r\n\r\n" + command("PING"), b"+PONG\r\n"),
                              (command("SET", "Slow:1", "x" * 50), b"+OK\r\n")):
            with raw(c, "node-1") as s:
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                got = UNDECIDED[0]
                while got.startswith(UNDECIDED):
                    for at in range(len(whole)):  # a byte at a time
                        s.sendall(whole[at:at + 1])
                    got = s.recv(200)
                assert got.startswith(answer), (whole, got)
        halves = []
        for n in range(200):  # half a command, and then silence
            s = raw(c, "node-1")
            s.sendall(command("SET", "Half:%d" % n, "x" * 1000)[:500])
            halves.append(s)
        assert c.client("node-1").ping() and c.client("node-1").get("Half:1") is None
        for s in halves:
            s.close()
        wait_until(lambda: c.stat("node-1")["clients"] < 10, 30)


def spoil(rng, stream):
    """The stream with a few changes anywhere."""
    out = bytearray(stream)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(out))
        kind = rng.randrange(5)
        if kind == 0:
            out[at] = rng.randrange(256)
        elif kind == 1:
            del out[at:at + rng.randrange(1, 20)]
        elif kind == 2:
            out[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 20)))
        elif kind == 3:
            out[at:at] = rng.choice([b"\r\n", b"*3\r\n", b"$5\r\n", b"$-7\r\n", b"*100\r\n", b"\0"])
        else:
            out[at:at + 1] = b"%d" % rng.randrange(1 << rng.randrange(1, 40))
        if not out:
            out = bytearray(b"\n")
    return bytes(out)


def spoiled_streams_do_a_node_no_harm():
    rng = random.Random(seed())
    with Cluster(three_nodes()) as c:
        c.up()
        before, pids = memory(c, "node-1"), {row["node"]: row["pid"] for row in c.ps()}
        good = [command("SET", "Good:1", "value"), command("HSET", "Good:2", "f", "v", "g", "w"),
                command("MSET", "Good:3", 1, "Good:4", 2), command("MULTI"), command("EXEC"),
                command("INCR", "Good:5"), command("SCAN", 0, "COUNT", 10), command("HELLO", 3),
                command("SADD", "Good:6", *range(20)), b"PING\r\n", b"GET Good:1\r\n",
                command("EXPIRE", "Good:1", 100), command("CLIENT", "SETNAME", "x"),
                command("GET", "Good:1"), command("DEL", "Good:3", "Good:4")]
        for _ in range(800):
            stream = spoil(rng, b"".join(rng.choice(good) for _ in range(rng.randrange(1, 12))))
            with raw(c, "node-1") as s:
                try:
                    for at in range(0, len(stream), 64) if rng.random() < 0.2 else [0]:
                        s.sendall(stream[at:at + 64] if at or rng.random() < 0.2 else stream)
                    s.shutdown(socket.SHUT_WR)
                    got = read_to_end(s)
                except OSError:  # it was closed while there was still something to send
                    continue
                assert b"Protocol error" not in got or got.endswith(b"\r\n"), got[-200:]
        assert c.client("node-1").ping()
        wait_until(lambda: c.stat("node-1")["clients"] < 10, 30)
        assert {row["node"]: row["pid"] for row in c.ps()} == pids
        assert memory(c, "node-1") - before < 100, (before, memory(c, "node-1"))
        served(c, "node-2")


if __name__ == "__main__":
    sys.exit(main([ten_thousand_connections, clients_beyond_the_limit_are_told_so,
                   the_limit_is_the_nodes_and_can_be_raised,
                   a_client_that_never_reads_is_held_back,
                   pipelines_without_end_leave_room_for_others, what_is_no_resp_is_told_and_closed,
                   spoiled_streams_do_a_node_no_harm]))
