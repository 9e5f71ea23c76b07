#!/usr/bin/python3
"""up, ps, down, stat, wal and status with real processes; what they say when something is wrong."""
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import redis

from cluster import TIDEMILL, Cluster, PORTS_PER_NODE, nodes_text, three_nodes
from harness import No, main, wait_until


def expect(done, status, *words):
    """A subcommand ended with that status and one line on stderr that has these words."""
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    for word in words:
        assert word in done.stderr, "no %r in: %s" % (word, done.stderr)
    if status == 2:
        assert done.stderr.count("\n") == 1, done.stderr


def up_starts_what_is_not_running_and_keeps_the_data():
    with Cluster(three_nodes()) as c:
        out = c.up().stdout
        assert all(row["state"] == "running" and row["fabric"] == "dpdk" for row in c.ps()), c.ps()
        for row in c.ps():
            assert row["node"] in out and str(row["pid"]) in out and row["listen"] in out
            assert row["dir"] == os.path.join(c.data, "c", row["node"])
        assert [r["listen"].rsplit(":")[1] for r in c.ps()] == [
            str(c.base_port + PORTS_PER_NODE * n) for n in range(3)]
        assert c.client("node-1").set("Order:1", "paid")
        before = {r["node"]: r["pid"] for r in c.ps()}

        c.kill("node-2")
        wait_until(lambda: c.row("node-2")["state"] == "dead", 30)
        assert c.row("node-2")["pid"] is None
        assert c.client("node-3").get("Order:1") == b"paid"
        c.up()
        after = {r["node"]: r["pid"] for r in c.ps()}
        assert after["node-1"] == before["node-1"] and after["node-3"] == before["node-3"]
        assert after["node-2"] not in (None, before["node-2"])
        assert c.client("node-2").get("Order:1") == b"paid"

        done = c.down()
        assert done.stdout.count("stopped") == 3, done.stdout
        assert [r["state"] for r in c.ps()] == ["stopped"] * 3
        for pid in after.values():
            assert not os.path.exists("/proc/%d" % pid) or "Z" in open("/proc/%d/stat" % pid).read()
        assert c.down().stdout.count("was not running") == 3
        c.up()
        assert c.client("node-1").get("Order:1") == b"paid"


def two_clusters_of_a_file_do_not_meet():
    text = nodes_text("east", ["n1", "n2", "n3"], replicationFactor=2) + nodes_text("west", ["n1"])
    with Cluster(text) as c:
        c.up("--cluster", "west")
        assert [(r["cluster"], r["node"]) for r in c.ps()] == [("west", "n1")]
        c.up()
        assert len(c.ps()) == 4
        east, west = c.client(("east", "n1")), c.client(("west", "n1"))
        east.set("Order:1", "east")
        assert west.get("Order:1") is None
        done = c.tidemill("down", "--dir", c.data, "--cluster", "west", "--node", "n1", "--kill")
        assert "west n1 killed" in done.stdout, done.stdout
        assert c.row(("west", "n1"))["state"] == "dead"
        assert c.row(("east", "n1"))["state"] == "running"
        expect(c.tidemill("down", "--dir", c.data, "--cluster", "south", check=False), 1,
               'no cluster "south"')


def in_the_foreground_an_interrupt_stops_all():
    with Cluster(nodes_text("c", ["n1", "n2", "n3"])) as c:
        p = subprocess.Popen([TIDEMILL, "up", c.topology, "--dir", c.data, "--base-port",
                              str(c.base_port), *c.options], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True)
        wait_until(lambda: os.path.isdir(c.data) and len(c.ps()) == 3 and
                   all(r["state"] == "running" for r in c.ps()), 30)
        lines = [p.stdout.readline() for _ in range(4)]  # after every cluster answers writes
        assert lines[0].startswith("CLUSTER") and "n3" in lines[3], lines
        assert c.client("n1").set("a", 1)
        p.send_signal(signal.SIGINT)
        assert p.wait(300) == 0
        assert [r["state"] for r in c.ps()] == ["stopped"] * 3
        p.stdout.close()

        p = subprocess.Popen([TIDEMILL, "up", c.topology, "--dir", c.data, "--base-port",
                              str(c.base_port), *c.options], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        wait_until(lambda: all(r["state"] == "running" for r in c.ps()), 30)
        p.kill()  # without a chance to stop its children: they notice
        p.wait()
        wait_until(lambda: all(r["state"] == "stopped" for r in c.ps()), 30)


def up_starts_what_is_being_stopped():
    with Cluster(three_nodes()) as c:
        c.up()
        for other in "node-1", "node-3":  # so that nobody takes over what node-2 leads for a while
            c.signal(other, signal.SIGSTOP)
        old = c.signal("node-2", signal.SIGTERM)
        wait_until(lambda: c.row("node-2")["state"] != "running", 30, 0.01)
        up = subprocess.Popen([TIDEMILL, "up", c.topology, "--dir", c.data, "--detach",
                               "--base-port", str(c.base_port), *c.options],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        wait_until(lambda: c.row("node-2")["pid"] != old, 30)
        for other in "node-1", "node-3":
            c.signal(other, signal.SIGCONT)
        out, _ = up.communicate(timeout=600)
        assert up.returncode == 0, out
        assert c.row("node-2")["state"] == "running" and c.row("node-2")["pid"] != old, c.ps()


def who_looks_for_long_keeps_no_node_from_starting():
    """`ps` holds a node's lock for an instant, and may be stopped in it."""
    with Cluster(nodes_text("c", ["n1"])) as c:
        c.up()
        c.client("n1").set("a", 1)
        c.down()
        with open(os.path.join(c.data, "c", "n1", "lock"), encoding="ascii") as f:
            fcntl.flock(f, fcntl.LOCK_SH)
            up = subprocess.Popen([TIDEMILL, "up", c.topology, "--dir", c.data, "--detach",
                                   "--base-port", str(c.base_port), *c.options])
            time.sleep(2)
        assert up.wait(600) == 0
        assert c.client("n1").get("a") == b"1"


def two_ups_at_once_start_each_node_once():
    with Cluster(three_nodes()) as c:
        for _ in range(2):
            ups = [subprocess.Popen([TIDEMILL, "up", c.topology, "--dir", c.data, "--detach",
                                     "--base-port", str(c.base_port), *c.options], text=True,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                   for _ in range(3)]
            said = [p.communicate(timeout=600) for p in ups]
            assert [p.returncode for p in ups] == [0, 0, 0], said
            pids = {r["node"]: r["pid"] for r in c.ps()}
            for out, _ in said:
                assert all(n in out and str(pid) in out for n, pid in pids.items()), (pids, out)
            assert c.client("node-2").set("a", 1)
            c.down()


def who_is_stopped_while_up_waits_is_said():
    with Cluster(three_nodes()) as c:
        lock = os.path.join(c.data, "c", "node-3", "lock")
        for _ in range(20):
            up = subprocess.Popen([TIDEMILL, "up", c.topology, "--dir", c.data, "--detach",
                                   "--base-port", str(c.base_port), *c.options], text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            pid = wait_until(lambda: pid_in(lock), 30, 0.001)
            os.kill(pid, signal.SIGSTOP)  # it cannot get ready before it is told to stop
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGCONT)
            _, err = up.communicate(timeout=600)
            if up.returncode == 1:
                break
            c.down("--kill")  # this test was stopped for a moment, and all were ready meanwhile
            shutil.rmtree(c.data)
        assert up.returncode == 1, err
        last = err.splitlines()[-1]
        assert "node node-3 of cluster c did not start: it was told to stop" in last, err


def pid_in(lock):
    with open(lock, encoding="ascii") as f:
        return int(f.read() or 0)


def down_leaves_other_programs_alone():
    with tempfile.TemporaryDirectory() as d:
        foreign = os.path.join(d, "some", "thing")
        os.makedirs(foreign)
        for text in "", "%d\n" % os.getpid():
            with open(os.path.join(foreign, "lock"), "w", encoding="ascii") as f:
                f.write(text)
                f.flush()
                fcntl.flock(f, fcntl.LOCK_EX)
                done = subprocess.run([TIDEMILL, "down", "--dir", d], capture_output=True,
                                      text=True, start_new_session=True, timeout=300)
                expect(done, 1, foreign, "no node of tidemill")


def bad_usage_is_one_line_and_status_2():
    with Cluster(nodes_text("c", ["n1"])) as c:
        expect(c.up("--idel", "spin", check=False), 2, "--idel", "--idle")
        expect(c.up("--idle", "sometimes", check=False), 2, "--idle", "park")
        expect(c.up("--wal-bytes", "1", check=False), 2, "--wal-bytes")
        expect(c.tidemill("up", check=False), 2, "topology file")
        expect(c.tidemill("ps", check=False), 2, "--dir")
        expect(c.tidemill("up", c.topology, "--dir", "", check=False), 2, "--dir")
        expect(c.tidemill("statt", "x", check=False), 2, "statt", 'did you mean "stat"')
        done = c.tidemill("foo", check=False)
        expect(done, 2, 'unknown command "foo"', "tidemill help")
        assert "did you mean" not in done.stderr, done.stderr
        for words in ("help", "foo"), ("help", "pss"):
            expect(c.tidemill(*words, check=False), 2, 'unknown command "%s"' % words[1])
        for words in ("help", "help"), ("help", "version"), ("help", "bench"), ("up", "--help"):
            assert c.tidemill(*words).stdout.startswith("tidemill "), words
        done = c.up("--foo", "1", check=False)
        expect(done, 2, "--foo", "no such option")
        assert "nearest" not in done.stderr, done.stderr
        expect(c.tidemill("status", "foo", check=False), 2, '"foo" is no ADDRESS:PORT')
        expect(c.tidemill("recover", "foo", "--all", check=False), 2, '"foo" is no ADDRESS:PORT')
        expect(c.up("--listen", "nonsense", check=False), 2, "--listen", "127.0.0.1:7000")
        expect(c.up("--address", "10.0.0", check=False), 2, "--address", "10.0.0.7")
        expect(c.tidemill("wal", "burn", c.dir, check=False), 2, "verify")
        done = subprocess.run([TIDEMILL, "up", c.topology, "--dir", c.data, "--detach"], text=True,
                              capture_output=True, env=dict(os.environ, TIDEMILL_WORKERS="many"))
        expect(done, 2, "TIDEMILL_WORKERS", "environment")
        assert not os.path.exists(c.data)
        expect(c.tidemill("up", c.topology + "x", check=False), 1, "is not there")
        expect(c.tidemill("up", c.topology, "--dir", c.topology, "--detach", check=False), 1,
               "cannot make", "Not a directory", "--dir")
        expect(c.tidemill("status", "127.0.0.1:1", check=False), 1, "127.0.0.1:1",
               "nobody listens there")
        expect(c.tidemill("stat", c.dir, check=False), 1, c.dir)
        expect(c.tidemill("down", "--dri", c.data, check=False), 2, "--dri", 'did you mean "--dir"')
        expect(c.tidemill("down", "--dri=" + c.data, check=False), 2, 'did you mean "--dir"')
        expect(c.tidemill("down", "--zzzzz", check=False), 2, "unknown option --zzzzz;")
        expect(c.tidemill("down", "n1", "--dir", c.data, check=False), 2, 'unexpected argument "n1"')
        expect(c.tidemill("ps", "--dir", c.data, check=False), 1, c.data)


def a_mistyped_cluster_or_node_is_named_with_the_nearest():
    with Cluster(nodes_text("main", ["n1"]) + nodes_text("other", ["paris"])) as c:
        expect(c.up("--cluster", "mian", check=False), 1, '"mian"', 'did you mean "main"')
        assert not os.path.exists(c.data)
        c.up("--cluster", "main")
        c.client("n1").set("a", 1)

        def down(*words):
            return c.tidemill("down", "--dir", c.data, *words, check=False)
        expect(down("--node", "n2"), 1, 'no node "n2"; did you mean "n1"')
        expect(down("--cluster", "mainn"), 1, 'no cluster "mainn"; did you mean "main"')
        expect(down("--cluster", "main", "--node", "n2"), 1,
               'no node "n2" in cluster main; did you mean "n1"')
        expect(down("--cluster", "mainn", "--node", "n1"), 1, 'no cluster "mainn"')
        done = down("--node", "unlike")
        expect(done, 1, 'no node "unlike"')
        assert "did you mean" not in done.stderr, done.stderr
        assert c.client("n1").get("a") == b"1"


def a_password_that_is_refused_is_said():
    for password, wrong in ("", "bad"), ("good", "bad"), ("good", ""):
        with Cluster(nodes_text("c", ["n1"]),
                     ["--requirepass", password] if password else []) as c:
            c.up()
            address = c.row("n1")["listen"]
            done = c.tidemill("status", address, "--requirepass", wrong, check=False)
            expect(done, 1, address, "password" if wrong else "NOAUTH")
            assert "rights of this user" not in done.stderr, done.stderr
            assert "n1" in c.tidemill("status", address, "--requirepass", password).stdout


def a_node_alone_that_lost_its_votes_is_said_at_once():
    with Cluster(nodes_text("c", ["n1"])) as c:
        c.up()
        c.client("n1").set("a", 1)
        c.down()
        wal, kept = os.path.join(c.row("n1")["dir"], "wal"), os.path.join(c.dir, "kept")
        os.rename(wal, kept)
        done = c.up(check=False)
        expect(done, 1, "node n1 of cluster c runs, but cannot serve all", "votes_not_proven",
               "from a backup")
        assert " 60 s\n" not in done.stderr, done.stderr  # half of its patience
        c.down()
        shutil.rmtree(wal)
        os.rename(kept, wal)
        c.up()
        assert c.client("n1").get("a") == b"1"


def a_port_in_use_is_named_and_nothing_is_damaged():
    with Cluster(nodes_text("c", ["n1"])) as c, socket.socket() as s:
        s.bind(("127.0.0.1", c.base_port))
        s.listen()
        done = c.up(check=False)
        expect(done, 1, "tidemill: node n1 of cluster c did not start: ", str(c.base_port))
        assert done.stderr.count("node n1") == 1 and "does not start" not in done.stderr, done.stderr
        assert not os.path.exists(c.data)
        os.mkdir(c.data)
        expect(c.up(check=False), 1, str(c.base_port))
        assert os.listdir(c.data) == []
        s.close()
        c.up()
        assert c.client("n1").set("a", 1)
        # The other cluster's ports are not shared silently either.
        with Cluster(nodes_text("d", ["n1"])) as other:
            other.base_port = c.base_port
            expect(other.up(check=False), 1, "node n1 of cluster d did not start",
                   str(c.base_port))
        assert c.client("n1").get("a") == b"1"


def a_data_directory_of_another_node_is_refused():
    with Cluster(nodes_text("c", ["n1"])) as c:
        c.up()
        c.client("n1").set("a", 1)
        c.down()
        mine, other = os.path.join(c.data, "c"), os.path.join(c.data, "d")
        os.rename(mine, other)
        c.write_topology(nodes_text("d", ["n1"]))
        done = c.up(check=False)
        expect(done, 1, "did not start")
        assert "cluster c" in done.stderr or '"c"' in done.stderr or " c " in done.stderr, done.stderr
        os.rename(other, mine)
        c.write_topology(nodes_text("c", ["n1"]))
        c.up()
        assert c.client("n1").get("a") == b"1"


def an_edited_topology_is_reported_and_changes_nothing():
    with Cluster(three_nodes(rf=2, partitions=32)) as c:
        c.up()
        c.client("node-1").set("a", 1)
        c.down()
        c.write_topology(three_nodes(rf=3, partitions=64))
        c.up()
        assert c.client("node-1").get("a") == b"1"
        wait_until(lambda: "replicationFactor" in c.log("node-1") and "partitions" in c.log("node-1"),
                   30)
        assert c.status("node-1")["partitionCount"] in (32, 33)
        for line in "".join(c.log(n) for n in ("node-1", "node-2", "node-3")).splitlines():
            assert "event=WIDENED" not in line or ("level=info" in line and "of node-" in line), line


def live_options_change_a_node_that_runs():
    with Cluster(nodes_text("c", ["n1"]), ["--workers", "2"]) as c:
        c.up()
        r = c.client("n1")

        def refused(value, key="k"):
            try:
                return not r.set(key, value)
            except redis.ResponseError as e:
                assert "OOM" in repr(e) or "maxmemory" in str(e), e
                return True
        assert not refused("x")
        r.config_set("maxmemory", 1)
        wait_until(lambda: refused("x" * 1000), 30)
        r.config_set("memory-limit", "1gb")
        wait_until(lambda: not refused("x"), 30)
        r.config_set("maxmemory", 1)
        wait_until(lambda: refused("x" * 1000), 30)
        r.config_set("maxmemory", 0)  # as at the start
        wait_until(lambda: not refused("x"), 30)
        wait_until(lambda: not refused("x" * 100000, "Long:1"), 30)  # of another worker
        r.config_set("client-output-buffer-bytes", 65536)
        wait_until(lambda: is_too_long(r, "Long:1"), 30)
        r.config_set("client-output-buffer-bytes", "1mb")
        wait_until(lambda: not is_too_long(r, "Long:1"), 30)
        r.config_set("max-clients", 1)
        wait_until(lambda: is_turned_away(c), 30)
        r.config_set("max-clients", 1000)
        wait_until(lambda: not is_turned_away(c), 30)
        r.config_set("idle", "park")
        assert r.ping()

        def blocks():
            return c.stat("n1")["wal_blocks"]
        r.config_set("wal-idle-marker-ms", 60000)
        wait_until(lambda: at_rest(blocks), 30)

        def one_block():
            """the record's; no marker follows"""
            before = blocks()
            r.set("k", "y")
            wait_until(lambda: at_rest(blocks), 30)
            return blocks() == before + 1 or No("%d after %d" % (blocks(), before))
        wait_until(one_block, 30)  # a marker that was due before may still come
        before = blocks()
        r.set("k", "z")
        r.config_set("wal-idle-marker-ms", 5)
        wait_until(lambda: blocks() > before + 1, 30)


def is_too_long(r, key):
    try:
        return not r.get(key)
    except redis.ResponseError as e:
        assert "too long" in str(e), e
        return True


def at_rest(count):
    """nothing was counted for half a second"""
    before = count()
    time.sleep(0.5)
    return count() == before


def is_turned_away(c):
    """connections beyond the limit of every worker"""
    more = [c.client("n1") for _ in range(8)]
    try:
        return not all(m.ping() for m in more)
    except redis.RedisError:
        return True
    finally:
        for m in more:
            m.close()


def stat_works_after_death_and_wal_verify_finds_a_flipped_bit():
    with Cluster(nodes_text("c", ["n1"])) as c:
        c.up()
        client = c.client("n1")
        for i in range(200):
            client.set("Order:%d" % i, "x" * 100)
        c.kill("n1")
        wait_until(lambda: c.row("n1")["state"] == "dead", 30)
        row = c.row("n1")
        assert c.stat("n1")["commands"] >= 200
        assert c.stat("n1")["wal_flushes"] > 0
        assert "all well" in c.tidemill("wal", "verify", row["dir"]).stdout
        dump = c.tidemill("wal", "dump", row["dir"]).stdout
        lines = [line for line in dump.splitlines() if 'key="Order:7"' in line]
        assert len(lines) == 1 and "kind=EFFECT" in lines[0] and '"xxx' in lines[0], lines
        segment = find_segment(row["dir"], b"Order:7")
        flip(segment, b"Order:7")
        done = c.tidemill("wal", "verify", row["dir"], check=False)
        assert done.returncode == 1 and "ROT" in done.stdout, (done.stdout, done.stderr)


def counters_of_another_build_are_not_misread():
    before = set(os.listdir("/dev/shm"))
    with Cluster(nodes_text("c", ["n1"])) as c:
        c.up()
        path = next(os.path.join("/dev/shm", name) for name in set(os.listdir("/dev/shm")) - before
                    if holds(os.path.join("/dev/shm", name), os.path.join(c.data, "c", "n1")))
        c.kill("n1", wait=True)
        assert c.stat("n1")["turns"] > 0
        with open(path, "r+b") as f:
            at = f.read().index(b"\0MTCUNT1") + 8  # behind the magic: a hash of the names
            f.seek(at)
            f.write(b"12345678")
        done = c.tidemill("stat", c.row("n1")["dir"], check=False)
        expect(done, 1, "another build")
        assert "newer" not in done.stderr, done.stderr


def holds(path, text):
    try:
        with open(path, "rb") as f:
            return text.encode() in f.read()
    except OSError:
        return False


def find_segment(folder, needle):
    for where, _, names in os.walk(os.path.join(folder, "wal")):
        for name in names:
            path = os.path.join(where, name)
            with open(path, "rb") as f:
                if needle in f.read():
                    return path
    raise AssertionError("no segment holds it")


def flip(path, needle):
    with open(path, "r+b") as f:
        at = f.read().index(needle)
        f.seek(at)
        f.write(bytes([needle[0] ^ 1]))


def status_shows_leaders_copies_and_who_is_missing():
    with Cluster(three_nodes(partitions=16)) as c:
        c.up()
        c.client("node-1").set("a", 1)
        s = wait_until(lambda: healthy(c.status("node-2"), 16), 30)
        assert s["cluster"] == "c" and {m["node"] for m in s["members"]} == {"node-1", "node-2", "node-3"}, s
        c.kill("node-3", wait=True)
        wait_until(lambda: degraded(c.status("node-1")), 30)
        lines = c.tidemill("status", c.row("node-1")["listen"]).stdout.splitlines()
        dead = [line for line in lines if line.startswith("node-3 ")]
        assert dead and all(line.endswith("nobody listens there") for line in dead), lines


def healthy(s, partitions):
    """every partition led, three copies in sync"""
    ok = (s["led"] == s["partitionCount"] >= partitions and s["maxLag"] == 0 and s["unreachable"] == 0 and
          s["oneCopy"] == 0)
    return s if ok and all(p["inSync"] == 3 for p in s["partitions"][:partitions]) else No(s)


def degraded(s):
    away = {m["node"] for m in s["members"] if not m["reachable"]}
    ok = (s["led"] == s["partitionCount"] and all(p["leader"] != "node-3" for p in s["partitions"]) and
          s["unreachable"] >= 1 and away == {"node-3"})
    return s if ok else No(s)


if __name__ == "__main__":
    sys.exit(main([up_starts_what_is_not_running_and_keeps_the_data,
                   up_starts_what_is_being_stopped,
                   who_looks_for_long_keeps_no_node_from_starting,
                   two_ups_at_once_start_each_node_once,
                   who_is_stopped_while_up_waits_is_said,
                   down_leaves_other_programs_alone,
                   two_clusters_of_a_file_do_not_meet,
                   in_the_foreground_an_interrupt_stops_all,
                   bad_usage_is_one_line_and_status_2,
                   a_mistyped_cluster_or_node_is_named_with_the_nearest,
                   a_password_that_is_refused_is_said,
                   a_node_alone_that_lost_its_votes_is_said_at_once,
                   a_port_in_use_is_named_and_nothing_is_damaged,
                   a_data_directory_of_another_node_is_refused,
                   an_edited_topology_is_reported_and_changes_nothing,
                   live_options_change_a_node_that_runs,
                   stat_works_after_death_and_wal_verify_finds_a_flipped_bit,
                   counters_of_another_build_are_not_misread,
                   status_shows_leaders_copies_and_who_is_missing]))
