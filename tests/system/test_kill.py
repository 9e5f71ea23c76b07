#!/usr/bin/python3
"""Nothing acknowledged is lost, nothing stale or never written is read, and writes go on, whatever
node is killed or stopped, again and again, under load."""
import os
import random
import signal
import sys
import time

from cluster import Cluster, three_nodes
from harness import main, seed, wait_until
from load import Load

ROUNDS_SECONDS = 25


def kill_again_and_again(rf, options=()):
    rng = random.Random(seed())
    with Cluster(three_nodes(rf=rf), options) as c:
        c.up()
        names = [name for _, name in c.nodes]
        with Load(c) as load:
            load.goes_on()
            end, kills, gaps = time.monotonic() + ROUNDS_SECONDS, 0, []
            while time.monotonic() < end or len(gaps) < 2:
                victim = rng.choice(names)
                other = rng.choice([n for n in names if n != victim])
                key = c.key_led_now(victim, other)
                c.kill(victim)
                kills += 1
                if key is not None:
                    gaps.append(c.time_to_write(key, other))
                load.goes_on()
                time.sleep(rng.uniform(0, 0.5))
                c.up()
                load.goes_on()
                wait_until(lambda: c.whole(names[0]), 30)
        gaps.sort()
        assert gaps, "no node that was killed had led anything"
        print("%d kills, %d of leaders; next write of what they led after %.0f ms (median), %.0f ms "
              "(longest)" % (kills, len(gaps), 1000 * gaps[len(gaps) // 2], 1000 * gaps[-1]))
        load.verify()


def three_copies_survive_kill_after_kill():
    kill_again_and_again(3)


def two_copies_and_a_witness_survive_kill_after_kill():
    kill_again_and_again(2)


def three_copies_survive_kills_over_tcp():
    kill_again_and_again(3, ["--fabric=tcp"])


def all_nodes_at_once(rf):
    with Cluster(three_nodes(rf=rf)) as c:
        c.up()
        for _ in range(2):
            with Load(c, timeout=3, prefix="Round%d" % random.randrange(1 << 30)) as load:
                load.goes_on(200)
                pids = [row["pid"] for row in c.ps()]
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
                load.stop()
            c.up()
            load.where = c.addresses()
            load.verify()


def all_nodes_killed_at_once_come_back_with_everything():
    all_nodes_at_once(3)
    all_nodes_at_once(2)


def a_stopped_node_does_no_harm_when_it_goes_on():
    """SIGSTOP for 5 s: the others go on; what the stopped one thought it led it does not."""
    for rf in 3, 2:
        with Cluster(three_nodes(rf=rf)) as c:
            c.up()
            with Load(c, timeout=3) as load:
                load.goes_on()
                victim = c.leader_of("Order:0-0", "node-1")
                others = [n for _, n in c.nodes if n != victim]
                key = c.key_led_by(victim, others[0])
                c.signal(victim, signal.SIGSTOP)
                began = time.monotonic()
                load.leave_out(victim)
                print("next write of what the stopped node led after %.0f ms" % (
                    1000 * c.time_to_write(key, others[0])))
                load.goes_on()
                time.sleep(max(0, began + 5 - time.monotonic()))
                c.signal(victim, signal.SIGCONT)
                load.where = c.addresses()
                time.sleep(1)
                load.goes_on()
                wait_until(lambda: c.whole(others[0]), 30)
            load.verify()


def a_node_that_missed_more_than_is_in_memory_catches_up():
    """What it missed has left the others' memory: it comes from their disks."""
    with Cluster(three_nodes()) as c:
        c.up()
        c.kill("node-2")
        missed = 28 << 20  # the tail in memory is 16 MiB
        c.set_many("node-1", {"Missed:%d" % n: "x" * 8192 for n in range(missed // 8192)}, 128)
        c.up()
        wait_until(lambda: c.whole("node-1") and c.equal("node-1"), 60, 0.5)


if __name__ == "__main__":
    sys.exit(main([three_copies_survive_kill_after_kill,
                   two_copies_and_a_witness_survive_kill_after_kill,
                   three_copies_survive_kills_over_tcp,
                   all_nodes_killed_at_once_come_back_with_everything,
                   a_stopped_node_does_no_harm_when_it_goes_on,
                   a_node_that_missed_more_than_is_in_memory_catches_up]))
