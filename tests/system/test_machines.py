#!/usr/bin/python3
"""Two machines, played by two network namespaces on a veth pair: `tidemill serve` on each, one as
root and one as a user that may do no more than open its port, talk over --fabric-port
af_packet:IFACE.  Exit status 77 (skipped) where namespaces or packet sockets are not allowed."""
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from cluster import TIDEMILL
from harness import No, Skip, main, need_root, on_failure, wait_until

SPACES = ["tm-machine-%d-%s" % (os.getpid(), side) for side in "ab"]
PORTS = 7000, 7032
FABRIC = ["10.213.8.101", "10.213.8.102"]
KERNEL = ["10.213.8.1", "10.213.8.2"]
AS_OTHER = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups",
            "--inh-caps=+net_raw,+net_admin", "--ambient-caps=+net_raw,+net_admin"]
TOPOLOGY = "defineCluster('c', { nodes: ['a', 'b'], replicationFactor: 2, partitions: 16 });\n" + (
    "".join("defineNode('%s', { address: '%s', fabricPort: 'af_packet:tmm%d', fabricAddress: '%s' });\n"
            % ("ab"[i], KERNEL[i], i, FABRIC[i]) for i in range(2)))


def run(*words, check=True):
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    if check and done.returncode != 0:
        raise Skip("%s: %s" % (" ".join(words), done.stderr.strip()))
    return done.stdout


@contextlib.contextmanager
def two_machines():
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()
    except OSError as e:
        raise Skip("no packet sockets: %s" % e) from e
    try:
        for space in SPACES:
            run("ip", "netns", "add", space)
        run("ip", "link", "add", "tmm0", "netns", SPACES[0], "type", "veth", "peer", "name", "tmm1",
            "netns", SPACES[1])
        for i, space in enumerate(SPACES):
            run("ip", "-n", space, "addr", "add", KERNEL[i] + "/24", "dev", "tmm%d" % i)
            run("ip", "-n", space, "link", "set", "tmm%d" % i, "up")
            run("ip", "-n", space, "link", "set", "lo", "up")
        yield
    finally:
        for space in SPACES:
            run("ip", "netns", "del", space, check=False)


def decided(answer):
    return No(answer) if answer.startswith(("CLUSTERDOWN", "TRYAGAIN", "TIMEOUT")) else answer or " "


class Machine:
    """One node in its namespace."""

    def __init__(self, folder, number):
        self.folder, self.number, self.process = folder, number, None
        self.data = os.path.join(folder, "ab"[number])
        self.inside = ["ip", "netns", "exec", SPACES[number]]
        self.log = self.data + ".log"

    def words(self):
        return [os.path.join(self.folder, "tidemill"), "serve", "--topology",
                os.path.join(self.folder, "two.js"), "--cluster", "c", "--node", "ab"[self.number],
                "--data-dir", self.data, "--wal-segment-bytes=16MiB"]

    def start(self):
        user = AS_OTHER if self.number == 1 else []
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self.inside, *user, *self.words()], stdout=log, stderr=log)

    def ask(self, *words):
        """By a client in the same namespace."""
        return subprocess.run([*self.inside, "redis-cli", "-h", KERNEL[self.number], "-p",
                               str(PORTS[self.number]), *words], capture_output=True, text=True,
                              timeout=300).stdout.strip()

    def has_to(self, *words):
        """The answer, once it is not that of a change of the leader."""
        return wait_until(lambda: decided(self.ask(*words)), 30)

    def counters(self):
        return json.loads(run(TIDEMILL, "stat", self.data, "--json"))["counters"]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()[-3000:]


def frames(machines):
    return [(c["dpdk_frames_sent"], c["dpdk_frames_received"])
            for c in (m.counters() for m in machines)]


def write_and_read(machines, name):
    a, b = machines
    wait_until(lambda: a.ask("SET", "Order:0", name) == "OK", 30, 0.3)
    before, began = frames(machines), time.monotonic()
    for i in range(20):
        assert machines[i % 2].has_to("SET", "Order:%d" % i, "%s-%d" % (name, i)) == "OK"
    assert [machines[(i + 1) % 2].has_to("GET", "Order:%d" % i) for i in range(20)] == [
        "%s-%d" % (name, i) for i in range(20)]
    after = frames(machines)
    print("  %.1f s; frames (sent, received) before and after: %r %r" % (
        time.monotonic() - began, before, after))
    for old, new in zip(before, after):
        assert new[0] >= old[0] + 20 and new[1] >= old[1] + 20, (before, after)
    assert all(m.counters()["tcp_frames_sent"] == 0 for m in machines)


def without_the_right_to_its_port_a_node_says_so(machine):
    done = subprocess.run([*machine.inside, "setpriv", "--reuid=nobody", "--regid=nogroup",
                           "--clear-groups", *machine.words()], capture_output=True, text=True,
                          timeout=300)
    lines = [line for line in done.stderr.splitlines() if line.startswith("tidemill")]
    assert done.returncode == 1 and len(lines) == 1, done
    assert "af_packet" in lines[0] and "CAP_NET_ADMIN" in lines[0], lines
    print("  " + lines[0])


def two_machines_replicate_over_af_packet():
    need_root("ip", "setpriv", "redis-cli")
    folder = tempfile.mkdtemp(prefix="tidemill-test-", dir=os.environ.get("TM_SYSTEM_DIR"))
    os.chmod(folder, 0o777)
    shutil.copy(TIDEMILL, os.path.join(folder, "tidemill"))
    with open(os.path.join(folder, "two.js"), "w", encoding="utf-8") as f:
        f.write(TOPOLOGY)
    with two_machines():
        machines = [Machine(folder, 0), Machine(folder, 1)]
        without_the_right_to_its_port_a_node_says_so(machines[1])
        try:
            for m in machines:
                m.start()
            write_and_read(machines, "first")
            for m in machines:  # one after the other dies, and comes back with what it had
                m.kill()
                assert machines[1 - m.number].ask("PING") == "PONG"
                m.start()
                wait_until(lambda m=m: m.ask("GET", "Order:19").endswith("-19"), 30, 0.3)
                write_and_read(machines, "after %d" % m.number)
        except BaseException:
            ends = [line for m in machines for line in [m.log, *m.said().splitlines()[-8:]]]
            on_failure(lambda: ends)
            raise
        finally:
            for m in machines:
                m.kill()
    shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main([two_machines_replicate_over_af_packet]))
