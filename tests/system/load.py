"""load.py: clients that write and read while a cluster is hurt, and the record of what they were
told.

    with Load(c) as load:
        load.goes_on()
        c.kill("node-1")
        load.goes_on()
    load.verify()
"""
import random
import re
import threading
import time
import traceback

import redis

from cluster import PATIENCE, connect
from harness import SLACK, seed, wait_until


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
            t.join(SLACK * (self.timeout + 30))
            if t.is_alive():
                self.wrong.append(Wrong("a client hangs beyond its time limit"))

    def raise_if_wrong(self):
        if self.wrong:
            raise self.wrong[0]

    def goes_on(self, acks=20, seconds=60):
        """So many more writes are acknowledged."""
        before = self.acked
        wait_until(lambda: self.wrong or self.acked >= before + acks, seconds, 0.02)
        self.raise_if_wrong()

    def leave_out(self, *nodes):
        """Clients that begin anew from now on do it elsewhere."""
        self.where = {n: a for n, a in self.where.items() if n not in nodes}

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
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return self.get(client, r)
            except (redis.RedisError, OSError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def verify(self, nodes=None):
        """Reads every register and counter back, through each of the nodes."""
        self.stop()
        self.raise_if_wrong()
        for node in nodes or list(self.c.addresses()):
            client = self.c.client(node)
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
