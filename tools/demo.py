"""What tools/demo runs: writes while the leader is killed and brought back, then counts what is lost.

Each writer adds entities of its own, Order:<writer>-<n>, through a real client (python3-redis), and
notes those that were acknowledged.  Meanwhile the node that leads most is killed with SIGKILL; a
probe writes an entity that this node led until that succeeds: the failover time.  In the end every
acknowledged entity is read back through every node."""
import argparse
import os
import statistics
import sys
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "tests", "system"))

import redis  # noqa: E402
from cluster import Cluster, connect  # noqa: E402

WRITERS = 4


class Writer(threading.Thread):
    """Adds entities until it is told to stop; acked[n] is what the n-th one holds."""

    def __init__(self, number, addresses, stop):
        super().__init__(daemon=True)
        self.number, self.addresses, self.stop = number, list(addresses.values()), stop
        self.acked = {}

    def run(self):
        at, n = self.number, 0
        client = connect(*self.addresses[at % len(self.addresses)])
        while not self.stop.is_set():
            n += 1
            key, status = "Order:%d-%d" % (self.number, n), "paid-%d" % (n * 7919)
            try:
                client.hset(key, mapping={"status": status, "total": n})
                self.acked[key] = status
            except (redis.RedisError, OSError):  # outcome unknown: nothing was promised
                client.close()
                at += 1
                client = connect(*self.addresses[at % len(self.addresses)])
                time.sleep(0.01)


def busiest_leader(cluster, via):
    slots = {}
    for first, last, node in cluster.leaders(via):
        slots[node] = slots.get(node, 0) + last - first + 1
    return max(slots, key=slots.get)


def kill_and_bring_back(cluster, names, number):
    """Returns the failover time in seconds."""
    leader = busiest_leader(cluster, names[number % len(names)])
    other = next(n for n in names if n != leader)
    key = cluster.key_led_by(leader, other)
    client = cluster.client(other)
    pid = cluster.kill(leader)
    began = time.monotonic()
    while True:
        try:
            client.set(key, number)
            break
        except (redis.RedisError, OSError):
            if time.monotonic() - began > 30:
                raise
    took = time.monotonic() - began
    print("killed %s (pid %d) with SIGKILL: next acknowledged write of what it led after %.0f ms" % (
        leader, pid, 1000 * took), flush=True)
    time.sleep(0.5)
    cluster.up()
    print("brought %s back" % leader, flush=True)
    time.sleep(1)
    return took


def lost_writes(cluster, writers):
    lost = set()
    for name in cluster.addresses():
        client = cluster.client(name, timeout=30)
        for writer in writers:
            items = list(writer.acked.items())
            for begin in range(0, len(items), 500):
                part = items[begin:begin + 500]
                with client.pipeline(transaction=False) as p:
                    for key, _ in part:
                        p.hget(key, "status")
                    for (key, status), found in zip(part, p.execute()):
                        if found != status.encode():
                            lost.add(key)
    return lost


def main():
    parser = argparse.ArgumentParser(prog="tools/demo")
    parser.add_argument("--kills", type=int, default=5)
    args = parser.parse_args()
    with open(os.path.join(TOP, "docs", "examples", "three-node.js"), encoding="utf-8") as f:
        topology = f.read()
    with Cluster(topology, small=False) as cluster:
        print(cluster.up().stdout, end="", flush=True)
        names = [name for _, name in cluster.nodes]
        stop = threading.Event()
        writers = [Writer(n, cluster.addresses(), stop) for n in range(WRITERS)]
        for w in writers:
            w.start()
        time.sleep(1)
        gaps = [kill_and_bring_back(cluster, names, n) for n in range(args.kills)]
        stop.set()
        for w in writers:
            w.join()
        acked = sum(len(w.acked) for w in writers)
        print("reading %d entities back through every node" % acked, flush=True)
        lost = lost_writes(cluster, writers)
        for key in sorted(lost)[:10]:
            print("lost: %s" % key)
        cluster.down()
    print("%d writes acknowledged, %d writes lost, failover %.0f ms (median of %d kills, longest "
          "%.0f ms)" % (acked, len(lost), 1000 * statistics.median(gaps), len(gaps),
                        1000 * max(gaps)))
    return 1 if lost or acked == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
