#!/usr/bin/python3
"""What the threads of a node share is shared properly, as far as ThreadSanitizer can see.  The program
is one built with -Db_sanitize=thread; one report fails the test (reports.py).

Three nodes of two workers each, with clients on all of them, are made to do whatever crosses
threads: messages between workers, live options, commands that ask sibling workers, the log, counters
read by other processes, the death and the return of a node, the end of all of them.

What it cannot see: what the kernel writes (io_uring's rings and buffers), what another process writes
(memif, the workspace), and the locks of DPDK's libraries, which are not instrumented."""
import random
import sys
import threading
import time

from cluster import Cluster, three_nodes
from harness import main, wait_until
from load import Load

# Instrumented code is slow: it is given time before somebody takes it for dead.
PATIENT = ["--workers", "2", "--election-timeout-ms", "1000", "--heartbeat-ms", "100"]
OPTIONS = [("log-level", ("debug", "info")), ("idle", ("park", "backoff", "auto")),
           ("client-pipeline-max", ("100", "1024")), ("memory-limit", ("1gib", "0")),
           ("idle-spin-us", ("0", "50us"))]


def operate(c, done, wrong):
    """Does what operators do, on and on, until done is set."""
    rng = random.Random(1)
    while not done.is_set():
        node = rng.choice([name for _, name in c.nodes])
        try:
            client = c.client(node, timeout=30)
            name, values = rng.choice(OPTIONS)
            client.config_set(name, rng.choice(values))
            client.config_get("*")
            client.client_list()
            client.info()
            client.dbsize()
            client.execute_command("TIDEMILL", "DIRECTORY")
            c.stat(node)
            c.status(node)
        except Exception as e:  # a node may be dead just now; it must work in the end
            wrong[:] = [e]
            time.sleep(0.1)
        else:
            wrong[:] = []


def work_and_watch(c):
    done, wrong = threading.Event(), []
    operator = threading.Thread(target=operate, args=(c, done, wrong), daemon=True)
    c.up()
    with Load(c, writers=3, readers=2, timeout=30) as load:
        operator.start()
        for _ in range(2):
            load.goes_on(500, 60)
            c.kill("node-2")
            load.goes_on(100, 60)
            c.up()
        load.goes_on(500, 60)
        wait_until(lambda: not wrong, 60)
        done.set()
        operator.join(120)
    load.verify()
    c.down()


def watched(options):
    with Cluster(three_nodes(), PATIENT + options) as c:
        work_and_watch(c)


def workers_race_for_nothing_over_tcp():
    watched(["--fabric", "tcp"])


def workers_race_for_nothing_over_dpdk():
    watched([])


if __name__ == "__main__":
    sys.exit(main([workers_race_for_nothing_over_tcp, workers_race_for_nothing_over_dpdk]))
