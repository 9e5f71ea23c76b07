#!/usr/bin/python3
"""What tools/compare and tools/measure-failover compute and refuse; no cluster is started."""
import importlib.machinery
import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOLS = os.path.join(ROOT, "tools")
sys.dont_write_bytecode = True
sys.path.insert(0, TOOLS)
import measuring  # noqa: E402
import skipping  # noqa: E402


def script(name):
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), os.path.join(TOOLS, name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def run(name, *args, **env):
    return subprocess.run(["/usr/bin/python3", "-B", os.path.join(TOOLS, name), *args],
                          capture_output=True, text=True, env=dict(os.environ, **env), timeout=300)


class Measuring(unittest.TestCase):
    def test_a_rank_is_a_value_that_was_measured(self):
        self.assertEqual(measuring.rank(range(1, 101), 99), 99)
        self.assertEqual(measuring.rank(range(1, 101), 50), 50)
        self.assertEqual(measuring.rank([3, 1, 2], 99), 3)
        self.assertEqual(measuring.rank([3, 1, 2], 50), 2)
        self.assertEqual(measuring.rank([7], 50), 7)

    def test_replies_are_read_whatever_pieces_they_come_in(self):
        listener = socket.create_server(("127.0.0.1", 0))
        client = measuring.Client(*listener.getsockname())
        server, _ = listener.accept()
        client.send("SET", "k", b"\x00\r\n")
        self.assertEqual(server.recv(100), b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\n\x00\r\n\r\n")
        for piece in b"+OK\r\n:-5\r\n$4\r\na\r\nb\r\n$-1\r\n*2\r\n:1\r\n*1\r\n$0\r\n\r\n-ERR x\r\n":
            server.sendall(bytes([piece]))
        self.assertEqual([client.reply() for _ in range(5)],
                         ["OK", -5, b"a\r\nb", None, [1, [b""]]])
        with self.assertRaisesRegex(measuring.RespError, "ERR x"):
            client.reply()
        server.close()
        with self.assertRaises(ConnectionError):
            client.reply()
        client.close()
        listener.close()

    def test_cpu_time_is_that_of_the_process(self):
        before, busy = measuring.process_cpu([os.getpid()]), measuring.machine_busy()
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
        self.assertGreaterEqual(measuring.process_cpu([os.getpid()]) - before, 0.15)
        self.assertGreaterEqual(measuring.machine_busy() - busy, 0.15)

    def test_a_port_in_use_is_not_free(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.assertFalse(measuring.port_is_free(listener.getsockname()[1]))

    def test_ports_that_were_given_are_not_given_again_while_nobody_listens_there(self):
        given = set()
        for _ in range(8):
            base = measuring.free_ports(3 * measuring.PORTS_PER_NODE)
            for first in base, base + measuring.LINK_PORTS:
                self.assertFalse(measuring.claim(range(first, first + 1)))
            ports = set(range(base, base + 96)) | {
                p + measuring.LINK_PORTS for p in range(base, base + 96)}
            self.assertFalse(given & ports)
            given |= ports
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
            self.assertLess(max(given), max(32768, int(f.read().split()[0])))


class Compare(unittest.TestCase):
    def test_ratios_are_taken_within_a_round(self):
        def runs(*values):
            return [{"per_second": v, "machine": {"per_busy_second": 1}, "flushes":
                     {"per_operation": 0}, "latency_us": {"p50": 1, "p99": 1}} for v in values]
        text = script("compare").table({("c256", "tidemill"): runs(30, 100, 90),
                                        ("c256", "redis"): runs(10, 100, 30)})
        row = next(line for line in text.split("\n") if "operations/s" in line)
        self.assertIn("| 90.0 (30.0 – 100) |", row)      # medians with minimum and maximum
        self.assertIn("| 30.0 (10.0 – 100) |", row)
        self.assertIn("| 3.00 × (1.00 – 3.00) |", row)
        self.assertNotIn("1 connection", text)             # what was not measured is not shown
        flushes = next(line for line in text.split("\n") if "flushes" in line)
        self.assertNotIn("×", flushes.split("flushes")[1])  # nothing is divided by zero

    def test_the_floor_is_measured_with_three_writers(self):
        compare = script("compare")
        with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
            args = type("Args", (), {"dir": folder, "seconds": 2})
            try:
                result = compare.floor(args)
            except measuring.Failed as e:
                self.skipTest(str(e))
            self.assertGreater(result["latency_us"]["p50"], 0)
            self.assertEqual(os.listdir(folder), [])

    def test_bad_usage_is_refused(self):
        for args in (["--scenario", "frob"], ["--rounds", "0"], ["--seconds", "-1"], ["--frob"],
                     ["--entry", "x"]):
            self.assertEqual(run("compare", *args).returncode, 2, args)
        self.assertEqual(run("measure-failover", "--kills", "0").returncode, 2)

    def test_a_missing_program_is_said_in_one_line(self):
        for name in ("compare", "measure-failover"):
            done = run(name, TIDEMILL="/nowhere/tidemill")
            self.assertEqual(done.returncode, 1)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            self.assertIn("/nowhere/tidemill", done.stderr)

    def test_a_folder_that_cannot_be_made_is_said_in_one_line(self):
        with tempfile.TemporaryDirectory() as folder:
            measuring.make_dir(os.path.join(folder, "a", "b"))
            self.assertTrue(os.path.isdir(os.path.join(folder, "a", "b")))
            for name in ("compare", "measure-failover"):
                done = run(name, "--dir", "/proc/nowhere", TIDEMILL="/bin/true")
                self.assertEqual(done.returncode, 1)
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
                self.assertIn("--dir /proc/nowhere", done.stderr)


class CompareLinks(unittest.TestCase):
    def test_the_stream_is_what_live_takes_more_than_alone(self):
        links = script("compare-links")
        stream = links.stream_of({"updates": 1000, "busy_s": 5.0, "cpu_s": 4.0},
                                 {"updates": 2000, "busy_s": 4.0, "cpu_s": 2.0})
        self.assertAlmostEqual(stream["per busy second"], 1000 / 3)  # 5 s, of which 2 for writing
        self.assertAlmostEqual(stream["per CPU-second"], 1000 / 3)
        runs = [{part: {"per busy second": n, "per CPU-second": n} for part in
                 ("alone", "live", "stream", "backlog")} for n in (30, 100, 90)]
        text = links.compare_table({("stream", "tidemill"): runs, ("stream", "redis"): runs[1:] + runs[:1]},
                                   links.ROWS, "tidemill", "redis")
        row = next(line for line in text.split("\n") if "the stream, updates per busy" in line)
        self.assertIn("| 90.0 (30.0 – 100) | 90.0 (30.0 – 100) | 1.11 × (0.30 – 3.00) |", row)
        self.assertNotIn("256 × 1", text)

    def test_bad_usage_is_refused(self):
        for args in (["--scenario", "frob"], ["--rounds", "0"], ["--updates", "0"], ["--frob"]):
            self.assertEqual(run("compare-links", *args).returncode, 2, args)
        done = run("compare-links", "--dir", "/proc/nowhere", TIDEMILL="/bin/true")
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)


class Failover(unittest.TestCase):
    def test_slots_are_those_of_the_cluster(self):
        self.assertEqual(script("measure-failover").slot_of("123456789"), 0x31C3)

    def test_a_probe_asks_again_until_it_is_acknowledged(self):
        failover = script("measure-failover")
        listener = socket.create_server(("127.0.0.1", 0))
        pid = os.fork()
        if pid == 0:
            server, _ = listener.accept()
            timeout = b"-TIMEOUT unknown\r\n"
            try:
                for reply in (b"+PONG\r\n", timeout, timeout, b"+OK\r\n"):
                    server.recv(1000)
                    server.sendall(reply)
            finally:  # whatever happens, the tests do not go on in this process, too
                os._exit(0)
        began, errors = time.monotonic(), {}
        probe = failover.Probe("k", "127.0.0.1:%d" % listener.getsockname()[1], "v")
        failover.await_probes([probe], errors, began)
        self.assertEqual(errors, {"TIMEOUT unknown": 2})
        self.assertGreaterEqual(probe.acked_at, began + 2 * failover.RETRY)
        probe.client.close()
        listener.close()
        os.waitpid(pid, 0)


if __name__ == "__main__":
    skipping.main()
