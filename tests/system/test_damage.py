#!/usr/bin/python3
"""What else may happen to a data directory, beside rot in records (test_rot.py): the log of a witness
that came on a new disk, the copy of the cluster's directory, files that may not be read."""
import os
import random
import shutil
import sys

from cluster import Cluster, nodes_text, three_nodes
from disk import content, flip, segments, values
from harness import main, need_root, seed, wait_until

SMALL_LOG = ["--wal-segment-bytes=4MiB", "--wal-bytes=16MiB"]


def spoil_the_log(c, node):
    """Two segments that were written take each other's place; of a single one its middle goes."""
    used = [p for p in segments(c, node) if content(p)[:8] != bytes(8)]
    if len(used) == 1:
        end = len(content(used[0]).rstrip(b"\0"))
        with open(used[0], "r+b") as f:
            f.seek(end // 2)
            f.write(b"\xa5" * 4096)
        print("  wrote over the middle of the only segment", flush=True)
        return
    print("  swapped the last two of %d segments" % len(used), flush=True)
    os.rename(used[-1], used[-1] + ".moved")
    os.rename(used[-2], used[-1])
    os.rename(used[-1] + ".moved", used[-2])


def a_witness_on_a_new_disk_outlives_damage_of_its_log():
    """It has no log of its own in which something could be missing."""
    with Cluster(three_nodes(rf=2, partitions=8), SMALL_LOG, small=False) as c:
        c.up()
        wait_until(lambda: c.whole("node-1"), 30)
        said = values("Damage", 400)
        c.set_many("node-1", said)
        for version in range(2):
            c.kill("node-2", wait=True)
            shutil.rmtree(c.row("node-2")["dir"])
            c.up()
            wait_until(lambda: c.whole("node-2"), 40, 0.3)
            said = values("Damage", 600, version)
            c.set_many("node-2", said)
            c.kill("node-2", wait=True)
            spoil_the_log(c, "node-2")
            c.up()
            wait_until(lambda: c.whole("node-2"), 40, 0.3)
        c.kill("node-1", wait=True)  # and its votes count
        c.serves("node-3", said)


def the_directory_outlives_damage_of_a_copy():
    """Of a cluster with one node nobody else has it."""
    rng = random.Random(seed())
    with Cluster(nodes_text("c", ["n1"])) as c:
        c.up()
        c.client("n1").set("a", 1)
        path = os.path.join(c.row("n1")["dir"], "directory")
        half = os.path.getsize(path) // 2
        for copy in 0, half:
            c.kill("n1", wait=True)
            flip(path, copy + rng.randrange(half - 8), rng)
            c.up()
            assert c.client("n1").get("a") == b"1"
            wait_until(lambda: content(path)[:half] == content(path)[half:], 30)  # it was mended
        c.kill("n1", wait=True)
        good = content(path)
        for copy in 0, half:
            flip(path, copy + 130, rng)
        done = c.up(check=False)
        assert done.returncode == 1 and '"directory"' in done.stderr, done
        with open(path, "wb") as f:
            f.write(good[:half])  # as earlier builds wrote it
        c.up()
        assert c.client("n1").get("a") == b"1"


def what_may_not_be_read_is_named_and_not_given_up():
    """Nothing is said of emptying a directory that only has the wrong owner."""
    need_root("setpriv")
    with Cluster(nodes_text("c", ["n1"])) as c:
        for path in c.dir, c.topology:
            shutil.chown(path, "nobody", "nogroup")
        shutil.copy(c.program, os.path.join(c.dir, "tidemill"))
        c.program = os.path.join(c.dir, "tidemill")
        c.prefix = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        c.up()
        c.client("n1").set("a", 1)
        c.down()
        own = c.row("n1")["dir"]
        for name, word in (("identity", "identity"), ("directory", '"directory"'),
                           ("wal/g0001", "folder wal"), ("node.log", "node.log"),
                           ("lock", "lock")):
            path = os.path.join(own, name)
            shutil.chown(path, "root", "root")
            mode = os.stat(path).st_mode & 0o777
            os.chmod(path, 0o700)
            done = c.up(check=False)
            last = done.stderr.splitlines()[-1]
            print("  " + last, flush=True)
            assert done.returncode == 1 and word in last, done
            assert "permi" in last.lower() and "empty" not in last, last
            os.chmod(path, mode)
            shutil.chown(path, "nobody", "nogroup")
        for words in (["ps", "--dir", c.topology], ["down", "--dir", c.topology],
                      ["wal", "verify", c.topology]):
            done = c.tidemill(*words, check=False)
            assert done.returncode == 1 and "folder" in done.stderr, done
            assert "device" not in done.stderr, done
        c.up()
        assert c.client("n1").get("a") == b"1"


if __name__ == "__main__":
    sys.exit(main([a_witness_on_a_new_disk_outlives_damage_of_its_log,
                   the_directory_outlives_damage_of_a_copy,
                   what_may_not_be_read_is_named_and_not_given_up]))
