#!/usr/bin/python3
"""What is wrong is said in one line with what to do about it, with an exit status (1 refused or
failed, 2 bad usage), and nothing is damaged: the same command, put right, works afterwards."""
import ctypes
import errno
import os
import shutil
import socket
import struct
import subprocess
import sys

from cluster import TIDEMILL, Cluster, SMALL, nodes_text, three_nodes
from harness import Skip, main, need_root, wait_until

ONE = nodes_text("c", ["n1"])
THREE = three_nodes()
AS_NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


def serve(c, *words, node="n1", prefix=(), env=None, data=None, topology=None, limits=None):
    """Runs a node that is expected not to start."""
    own = os.path.join(c.dir, "tidemill")
    program = own if os.path.exists(own) else TIDEMILL
    return subprocess.run(
        [*prefix, program, "serve", "--topology", topology or c.topology, "--cluster", "c",
         "--node", node, "--data-dir", data or os.path.join(c.data, "c", node), "--base-port",
         str(c.base_port), "--workers", "1", *SMALL, *words],
        capture_output=True, text=True, timeout=300, env=dict(os.environ, **(env or {})),
        preexec_fn=limits)


def refused(done, status, *words):
    """It ended with that status and one line, which has these words."""
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("tidemill"), done.stderr
    assert done.stdout == "", done.stdout
    for word in words:
        assert word in lines[0], "no %r in: %s" % (word, lines[0])
    print("  " + lines[0], flush=True)


def works(c, key, **changed):
    """Everything that was there is there, and the cluster takes writes."""
    c.up()
    node = c.nodes[0][1]
    client = c.client(node)
    for name, value in changed.items():
        assert client.get(name) == value, (name, value)
    assert client.set(key, key)
    assert client.get(key) == key.encode()
    c.down()


# ---- options ----

def options_in_the_file_are_checked_by_line():
    def check(text, *words):
        c.write_topology(text)
        refused(c.tidemill("plan", c.topology, check=False), 1, *words)
        refused(c.up(check=False), 1, *words)
        refused(serve(c), 1, *words)
        assert not os.path.exists(c.data)

    with Cluster(ONE) as c:
        check('// a comment\ndefineCluster("c", { nodes: ["n1"],\n  replicationFacto: 2 });',
              "topology.js:3", "replicationFacto", 'did you mean "replicationFactor"')
        check('defineCluster("c", { nodes: 3 });', "nodes", "array", "number")
        check('defineCluster("c", { nodes: ["n1"], replicationFactor: "two" });',
              "replicationFactor", "string")
        check('defineCluster("c", { nodes: ["n1"], replicationFactor: 3 });', "3 copies", "1")
        check('defineCluster("c", { nodes: ["n1"], replicationFactor: 2.5 });', "replicationFactor",
              "whole number", "not 2.5")
        check('defineCluster("c", { nodes: ["n1", "n1"] });', "twice")
        check('defineCluster("c", { consistency: "strng" });', "consistency", "strong")
        check(ONE + 'defineNode("n1", { wokers: 2 });', "topology.js:2", "wokers", "workers")
        check(ONE + 'defineNode("n1", { workers: "2" });', "workers", "string")
        check(ONE + "let x = 1;", "topology.js:2", "ES5.1")
        check("", "defines no cluster")
        c.write_topology("while (true);")
        refused(c.tidemill("plan", c.topology, check=False), 1, "5 s", "loop")
        c.write_topology(ONE)
        works(c, "a")


def options_of_the_command_line_and_the_environment_are_checked():
    with Cluster(ONE) as c:
        refused(serve(c, "--wal-byts", "1GiB"), 2, "--wal-byts", "--wal-bytes")
        refused(serve(c, "--wal-bytes", "lots"), 2, "--wal-bytes", "lots", "1GiB")
        refused(serve(c, "--wal-bytes", "1"), 2, "--wal-bytes", "8MiB")
        refused(serve(c, "--wal-bytes"), 2, "--wal-bytes", "needs a value")
        refused(serve(c, "--idle", "sometimes"), 2, "--idle", "park")
        refused(serve(c, "--workers", "65"), 2, "--workers", "64")
        refused(serve(c, "--workers", "40"), 2, "--workers 40", "15")
        refused(serve(c, "--wal-bytes", "16MiB", "--wal-segment-bytes", "16MiB"), 2, "--wal-bytes",
                "--wal-segment-bytes")
        refused(serve(c, "stray"), 2, "stray")
        refused(serve(c, "--data-dir", ""), 2, "--data-dir is needed")
        refused(serve(c, env={"TIDEMILL_WORKRS": "2"}), 2, "TIDEMILL_WORKRS", "TIDEMILL_WORKERS",
                "environment")
        refused(serve(c, env={"TIDEMILL_MAX_CLIENTS": "many"}), 2, "TIDEMILL_MAX_CLIENTS", "many")
        refused(serve(c, node="n2"), 1, "n2", 'did you mean "n1"')
        refused(serve(c, "--cluster", "cc"), 1, '"cc"', 'did you mean "c"')
        refused(serve(c, topology=c.topology + "x"), 1, c.topology + "x", "No such file")
        refused(serve(c, "--log-file", "/nonexistent/log"), 1, "/nonexistent/log")
        refused(serve(c, "--address", "192.0.2.1"), 1, "192.0.2.1", "address of this machine")
        refused(serve(c, "--listen", "nonsense"), 2, "nonsense", "127.0.0.1:7000")
        refused(serve(c, "--listen", "127.0.0.1:0"), 2, "127.0.0.1:0", "127.0.0.1:7000")
        refused(serve(c, "--address", "nonsense"), 2, "nonsense", "10.0.0.7")
        refused(serve(c, "--foo", "1"), 2, "--foo", "no such option", "tidemill help")
        works(c, "a")


# ---- ports and data directories ----

def a_port_in_use_is_named():
    with Cluster(THREE) as c:
        for port, words in ((c.base_port, ()), (c.base_port + 1, ())):
            with socket.socket() as s:
                s.bind(("127.0.0.1", port))
                s.listen()
                refused(serve(c, node="node-1"), 1, str(port), "another program", "choose another")
        works(c, "a")
        c.up()
        other = os.path.join(c.dir, "other")
        done = serve(c, node="node-1", data=other)
        refused(done, 1, str(c.base_port), "held by the tidemill process",
                str(c.row("node-1")["pid"]))
        refused(serve(c, node="node-1"), 1, "in use by process", str(c.row("node-1")["pid"]))
        assert c.client("node-1").get("a") == b"a"


def a_data_directory_of_something_else_is_refused():
    with Cluster(THREE) as c:
        works(c, "a")
        first = os.path.join(c.data, "c", "node-1")
        refused(serve(c, node="node-2", data=first), 1, "belongs to node node-1 of cluster c",
                "node-2", "--data-dir")
        other = os.path.join(c.dir, "other.js")
        with open(other, "w", encoding="utf-8") as f:
            f.write(three_nodes(name="d"))
        refused(serve(c, "--cluster", "d", node="node-1", data=first, topology=other), 1,
                "belongs to node node-1 of cluster c", "of cluster d")

        identity = os.path.join(first, "identity")
        with open(identity, "rb") as f:
            good = f.read()
        with open(identity, "r+b") as f:  # the format's number is where every format has it
            f.seek(8)
            f.write(struct.pack("<I", 7))
        refused(serve(c, node="node-1"), 1, "format 7", "newer version")
        damaged = bytearray(good)
        for copy in 0, 4096:
            damaged[copy + 100] ^= 1
        with open(identity, "wb") as f:
            f.write(damaged)
        refused(serve(c, node="node-1"), 1, "identity", "damaged", "restore")
        os.remove(identity)
        refused(serve(c, node="node-1"), 1, "identity", "restore", "empty directory")
        with open(identity, "wb") as f:
            f.write(damaged[:4096] + good[4096:])  # one of its two copies is enough

        plain = os.path.join(c.dir, "plain")
        with open(plain, "w", encoding="utf-8") as f:
            f.write("a file")
        refused(serve(c, node="node-1", data=plain), 1, plain, "Not a directory")
        refused(serve(c, node="node-1", data="/proc/nowhere"), 1, "/proc/nowhere")
        works(c, "b", a=b"a")


def a_cluster_of_the_same_name_is_another_cluster():
    """Two clusters made apart do not become one: the node that strayed says why it is left out."""
    with Cluster(THREE) as c, Cluster(THREE) as other:
        works(c, "a")
        works(other, "b")
        mine, theirs = (os.path.join(x.data, "c", "node-3") for x in (c, other))
        shutil.rmtree(mine)
        shutil.copytree(theirs, mine)
        up = subprocess.Popen([TIDEMILL, "up", c.topology, "--dir", c.data, "--detach",
                               "--base-port", str(c.base_port), *c.options],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: os.path.isdir(c.data) and
                   "another cluster of the same name" in c.log("node-1") + c.log("node-2"), 30)
        assert wait_until(lambda: c.client("node-1").get("a"), 30) == b"a"
        up.kill()
        up.wait()
        c.down("--kill")
        shutil.rmtree(mine)
        works(c, "d", a=b"a")


# ---- what the machine gives ----

def with_shm(size, *mount):
    return ["unshare", "-m", "sh", "-c",
            "mount -t tmpfs -o size=%s%s tmpfs /dev/shm && exec \"$0\" \"$@\"" % (
                size, "".join("," + m for m in mount))]


def too_little_shared_memory_is_said_at_boot():
    need_root("unshare")
    with Cluster(THREE) as c:
        done = subprocess.run([*with_shm("64k"), "true"], capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise Skip("no private mounts here: " + done.stderr.strip())
        refused(serve(c, node="node-1", prefix=with_shm("64k")), 1, "/dev/shm", "KiB",
                "--workspace-bytes")
        done = serve(c, node="node-1", prefix=with_shm("64k", "ro"))
        refused(done, 1, "/dev/shm", "not permitted")
        works(c, "a")


def ordinary_files(c):
    """Makes what an ordinary user needs: a folder of its own and a program that it may run."""
    for path in c.dir, c.topology:
        shutil.chown(path, "nobody", "nogroup")
    program = os.path.join(c.dir, "tidemill")
    shutil.copy(TIDEMILL, program)
    os.chmod(program, 0o755)


def low_limits_of_an_ordinary_user_are_named():
    need_root("setpriv")
    with Cluster(THREE) as c:
        ordinary_files(c)
        refused(serve(c, node="node-1", prefix=[*AS_NOBODY, "prlimit", "--memlock=0"]), 1,
                "memlock", "0 KiB", "ulimit -l")
        refused(serve(c, node="node-1", prefix=[*AS_NOBODY, "prlimit", "--nofile=24"]), 1,
                "24 files", "ulimit -n")
        mine = os.path.join(c.dir, "of-root")
        os.mkdir(mine, 0o700)
        refused(serve(c, node="node-1", data=mine, prefix=AS_NOBODY), 1, mine, "ermission",
                "chown")
        shutil.rmtree(c.data)
        works(c, "a")


def without_io_uring(number):
    """Installs a filter that answers io_uring_setup with that errno, in the child."""
    def install():
        libc = ctypes.CDLL(None, use_errno=True)
        code = b"".join(struct.pack("<HBBI", *row) for row in (
            (0x20, 0, 0, 0),               # load the system call's number
            (0x15, 0, 1, 425),             # io_uring_setup?
            (0x06, 0, 0, 0x00050000 | number),
            (0x06, 0, 0, 0x7fff0000)))     # all others go through
        text = ctypes.create_string_buffer(code)

        class Program(ctypes.Structure):
            _fields_ = [("count", ctypes.c_ushort), ("code", ctypes.c_void_p)]

        program = Program(4, ctypes.addressof(text))
        if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, ctypes.byref(program)) != 0:
            raise OSError(ctypes.get_errno(), "no seccomp filter here")
    return install


def no_io_uring_is_said():
    if os.uname().machine != "x86_64":
        raise Skip("the filter is made for x86_64")
    with Cluster(THREE) as c:
        refused(serve(c, node="node-1", limits=without_io_uring(errno.ENOSYS)), 1, "no io_uring",
                "Linux 6.1")
        refused(serve(c, node="node-1", limits=without_io_uring(errno.EPERM)), 1, "io_uring",
                "kernel.io_uring_disabled", "seccomp")
        works(c, "a")


def what_dpdk_lacks_is_named():
    with Cluster(THREE) as c:
        refused(serve(c, "--eal", "-d /nonexistent.so", node="node-1"), 1, "/nonexistent.so", "--eal")
        refused(serve(c, "--eal", "--vdev=net_nope0", node="node-1"), 1, "net_nope0", "--fabric tcp")
        refused(serve(c, "--eal", "--bogus", node="node-1"), 1, "--bogus")
        refused(serve(c, "--eal", "-m", node="node-1"), 1, "-m", "argument")
        refused(serve(c, "--eal", "-m 1", node="node-1"), 1, "MiB")
        refused(serve(c, "--fabric-port", "net_nope0", node="node-1"), 1, "fabricAddress")
        refused(serve(c, "--fabric", "dpkd", node="node-1"), 2, "dpkd", "dpdk")
        c.write_topology(THREE + "".join(
            'defineNode("node-%d", { fabricAddress: "10.9.9.%d" });\n' % (n, n) for n in (1, 2, 3)))
        with Cluster(ONE) as one:  # nothing is looked for that a node alone does not use
            one.up("--fabric-port", "net_nope0")
            assert "event=dpdk_not_used" in one.log("n1") and one.client("n1").set("a", 1)
        for port in "net_nope0", "af_packet:nope0", "0000:ff:00.0":
            refused(serve(c, "--fabric-port", port, node="node-1"), 1, "--fabric-port", port)
        c.write_topology(THREE)
        works(c, "a")


def an_ordinary_user_without_hugepages_runs_a_cluster():
    need_root("setpriv")
    with open("/proc/meminfo", encoding="ascii") as f:
        huge = next(line for line in f if line.startswith("HugePages_Total"))
    print("  " + huge.strip())
    with Cluster(THREE) as c:
        ordinary_files(c)
        c.prefix, c.program = AS_NOBODY, os.path.join(c.dir, "tidemill")
        c.up()
        for row in c.ps():
            with open("/proc/%d/status" % row["pid"], encoding="ascii") as f:
                uid = next(line for line in f if line.startswith("Uid:")).split()[1]
            assert uid != "0" and row["fabric"] == "dpdk", (uid, row)
        clients = [c.client(node) for _, node in c.nodes]
        for i in range(100):
            assert clients[i % 3].set("Order:%d" % i, i)
        assert c.stat("node-1")["dpdk_frames_sent"] > 0
        c.kill("node-2")
        c.up()
        client = c.client("node-2")
        assert [client.get("Order:%d" % i) for i in range(100)] == [b"%d" % i for i in range(100)]


if __name__ == "__main__":
    sys.exit(main([options_in_the_file_are_checked_by_line,
                   options_of_the_command_line_and_the_environment_are_checked,
                   a_port_in_use_is_named,
                   a_data_directory_of_something_else_is_refused,
                   a_cluster_of_the_same_name_is_another_cluster,
                   what_dpdk_lacks_is_named,
                   too_little_shared_memory_is_said_at_boot,
                   low_limits_of_an_ordinary_user_are_named,
                   no_io_uring_is_said,
                   an_ordinary_user_without_hugepages_runs_a_cluster]))
