#!/usr/bin/python3
"""Two nodes in two network namespaces exchange frames over net_af_packet on a veth pair.

    test_af_packet.py DPDK_WIRE

Frames arrive whole; a killed node is down for the other, and up again when it was restarted; nodes
that sleep after each frame wake each other by doorbell datagrams.  Exit status 77 (skipped) where
the kernel or the user's rights do not allow namespaces or packet sockets.  What the test made it
removes."""

import os
import re
import subprocess
import sys
import time

WIRE = sys.argv[1]
SPACES = [f"tm-test-{os.getpid()}-{side}" for side in "ab"]
KERNEL_IP = ["10.213.7.1", "10.213.7.2"]
FABRIC_IP = ["10.213.7.101", "10.213.7.102"]
SKIPPED = 77


def run(*words):
    return subprocess.run(words, capture_output=True, text=True, check=False)


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


def must(*words):
    done = run(*words)
    if done.returncode != 0:
        skip(f"{' '.join(words)}: {done.stderr.strip()}")


def spaces_make():
    for space in SPACES:
        must("ip", "netns", "add", space)
    must("ip", "link", "add", "tmv0", "netns", SPACES[0], "type", "veth",
         "peer", "name", "tmv1", "netns", SPACES[1])
    for i, space in enumerate(SPACES):
        must("ip", "-n", space, "addr", "add", f"{KERNEL_IP[i]}/24", "dev", f"tmv{i}")
        must("ip", "-n", space, "link", "set", f"tmv{i}", "up")


def spaces_remove():
    for space in SPACES:
        run("ip", "netns", "del", space)


class Node:
    """A node's process, and the newest line that it printed."""

    def __init__(self, mode, index):
        other = 1 - index
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", SPACES[index], WIRE, mode, str(index),
             f"net_af_packet0,iface=tmv{index}", FABRIC_IP[index], FABRIC_IP[other],
             KERNEL_IP[index], KERNEL_IP[other]],
            stdout=subprocess.PIPE, text=True)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.line = ""

    def seen(self, name):
        for line in self.process.stdout.readlines():
            self.line = line
        found = re.search(rf"\b{name}=(\d+)", self.line)
        return int(found.group(1)) if found else 0

    def reaches(self, name, least, seconds):
        deadline = time.monotonic() + seconds
        while self.seen(name) < least:
            if time.monotonic() > deadline:
                raise AssertionError(f"{name} did not reach {least} in {seconds} s: {self.line!r}")
            if self.process.poll() is not None:
                raise AssertionError(f"the node ended: {self.line!r}")
            time.sleep(0.02)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def nothing_wrong(self):
        assert self.seen("bad") == 0 and self.seen("misrouted") == 0, self.line


def frames_arrive_and_death_is_noticed():
    nodes = [Node("busy", 0), Node("busy", 1)]
    try:
        for node in nodes:
            node.reaches("received", 500, 180)
        for round_ in range(1, 4):
            nodes[1].kill()
            nodes[0].reaches("down", round_, 180)
            nodes[1] = Node("busy", 1)
            nodes[0].reaches("up", round_ + 1, 180)
            before = nodes[0].seen("received")
            nodes[0].reaches("received", before + 200, 180)
            nodes[1].reaches("received", 200, 180)
        for node in nodes:
            node.nothing_wrong()
    finally:
        for node in nodes:
            node.kill()


def parked_nodes_ring_each_other():
    """Without doorbells only the timer of 250 ms would end a sleep: some 8 frames a second, 1440 in
    the time that is given for 3000."""
    nodes = [Node("doze", 0), Node("doze", 1)]
    try:
        nodes[0].reaches("received", 1, 180)
        before = nodes[0].seen("received")
        nodes[0].reaches("received", before + 3000, 180)
        for node in nodes:
            node.nothing_wrong()
    finally:
        for node in nodes:
            node.kill()


def packet_sockets_or_skip():
    import socket
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()
    except (OSError, AttributeError) as error:
        skip(f"no packet sockets: {error}")


def main():
    packet_sockets_or_skip()
    try:
        spaces_make()
        for test in (frames_arrive_and_death_is_noticed, parked_nodes_ring_each_other):
            start = time.monotonic()
            test()
            print(f"passed: {test.__name__} ({time.monotonic() - start:.1f} s)")
    finally:
        spaces_remove()


main()
