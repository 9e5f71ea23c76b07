#!/usr/bin/python3
"""tidemill bench resp against a small RESP server that delays, fails, stalls and hangs up as told.

    test_bench_resp.py TIDEMILL [unittest arguments]
"""
import asyncio
import binascii
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import unittest

TIDEMILL = None


class Server:
    """Answers each command with what answer(words, number) gives: bytes, or (seconds, bytes), or None
    to hang up.  Counts the commands by name and keeps the keys, for each of its ports."""

    def __init__(self, answer=lambda words, number: b"+OK\r\n", ports=1, piece=None):
        self.answer, self.piece = answer, piece
        self.count, self.keys, self.number = {}, [set() for _ in range(ports)], 0
        self.loop = asyncio.new_event_loop()
        self.ports = []
        started = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(ports, started))
        self.thread.start()
        started.wait()
        self.address = "127.0.0.1:%d" % self.ports[0]

    def run(self, ports, started):
        asyncio.set_event_loop(self.loop)
        for i in range(ports):
            server = self.loop.run_until_complete(asyncio.start_server(
                lambda r, w, i=i: self.serve(r, w, i), "127.0.0.1", 0, limit=1 << 24))
            self.ports.append(server.sockets[0].getsockname()[1])
        started.set()
        self.loop.run_forever()

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    async def command(self, reader):
        head = await reader.readline()
        if not head:
            return None
        words = []
        for _ in range(int(head[1:])):
            length = int((await reader.readline())[1:])
            words.append((await reader.readexactly(length + 2))[:-2])
        return words

    async def serve(self, reader, writer, port):
        try:
            while True:
                words = await self.command(reader)
                if words is None:
                    break
                name = words[0].decode().upper()
                self.count[name] = self.count.get(name, 0) + 1
                if len(words) > 1 and name not in ("WAIT", "CLUSTER"):
                    self.keys[port].add(words[1])
                reply = self.answer(words, self.number)
                self.number += 1
                if isinstance(reply, tuple):
                    await asyncio.sleep(reply[0])
                    reply = reply[1]
                if reply is None:
                    break
                for at in range(0, len(reply), self.piece or len(reply)):
                    writer.write(reply[at:at + (self.piece or len(reply))])
                    if self.piece:
                        await writer.drain()
                        await asyncio.sleep(0)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        writer.close()


def bench(*args):
    return subprocess.run([TIDEMILL, "bench", "resp", *args], capture_output=True, text=True,
                          timeout=300)


class BenchResp(unittest.TestCase):
    def server(self, *args, **kwargs):
        server = Server(*args, **kwargs)
        self.addCleanup(server.close)
        return server

    def measured(self, server, *args, status=0):
        done = bench(server.address, "--json", "--warmup", "0", *args)
        self.assertEqual(done.returncode, status, done.stderr)
        return json.loads(done.stdout)

    def test_every_operation_is_sent_once_and_counted_once(self):
        server = self.server()
        r = self.measured(server, "--ops", "501", "--connections", "4", "--pipeline", "8")
        self.assertEqual(server.count, {"SET": 501})
        self.assertEqual((r["operations"], r["failed"], r["unanswered"]), (501, 0, 0))
        self.assertEqual((r["errors"], r["connections_lost"]), ({}, 0))
        self.assertGreater(r["per_second"], 0)

    def test_the_mix_is_what_the_server_gets(self):
        server = self.server(lambda words, n: b"$-1\r\n" if words[0] == b"GET" else b":1\r\n")
        self.measured(server, "--ops", "1000", "--op", "get:9,incr:1", "--keys", "5")
        self.assertEqual(server.count["GET"] + server.count["INCR"], 1000)
        self.assertTrue(40 < server.count["INCR"] < 170, server.count)
        self.assertEqual(len(server.keys[0]), 10)

    def test_latency_is_at_least_what_the_server_takes(self):
        server = self.server(lambda words, n: (0.02, b"+OK\r\n"))
        r = self.measured(server, "--ops", "20")
        self.assertGreaterEqual(r["latency_us"]["p50"], 20000)

    def test_a_stall_is_charged_to_all_operations_that_were_due(self):
        # One stall of 0.5 s at 200/s delays 100 of 400 operations: by 0.5 s, 0.495 s, ...  Timed from
        # when they were sent, all but one would look fast.
        until = []

        def answer(words, n):
            if n == 50:
                until.append(time.monotonic() + 0.5)
            return (max(0, until[0] - time.monotonic()) if until else 0, b"+OK\r\n")
        r = self.measured(self.server(answer), "--rate", "200", "--seconds", "2",
                          "--connections", "20")
        self.assertTrue(r["target_reached"])
        self.assertEqual(r["operations"], 400)
        self.assertGreaterEqual(r["latency_us"]["max"], 500000 * 0.99)
        self.assertGreaterEqual(r["latency_us"]["p90"], 290000)
        # 20 of them could be sent into the stall; the others waited for that.
        self.assertGreaterEqual(r["sent_late_us"]["max"], 380000)

    def test_a_rate_that_is_not_reached_gives_no_percentile(self):
        server = self.server(lambda words, n: (0.02, b"+OK\r\n"))
        r = self.measured(server, "--rate", "1000", "--seconds", "1", status=1)
        self.assertFalse(r["target_reached"])
        self.assertIsNone(r["latency_us"])
        self.assertGreater(r["backlog"], 900)
        text = bench(server.address, "--rate", "1000", "--seconds", "0.5", "--warmup", "0")
        self.assertEqual(text.returncode, 1)
        self.assertIn("target rate not reached", text.stdout)
        self.assertNotIn("p99", text.stdout)

    def test_errors_are_failures_counted_by_text(self):
        def answer(words, n):
            return (b"-TIMEOUT the outcome is unknown\r\n", b"-ERR no\r\n", b"+OK\r\n",
                    b"+OK\r\n")[n % 4]
        server = self.server(answer)
        r = self.measured(server, "--ops", "400", "--pipeline", "4")
        self.assertEqual((r["operations"], r["failed"]), (200, 200))
        self.assertEqual(r["errors"], {"TIMEOUT the outcome is unknown": 100, "ERR no": 100})

    def test_only_errors_is_no_measurement(self):
        r = self.measured(self.server(lambda words, n: b"-LOADING\r\n"), "--ops", "10", status=1)
        self.assertIsNone(r["latency_us"])

    def test_texts_without_number_stay_bounded(self):
        r = self.measured(self.server(lambda words, n: b"-ERR %d\r\n" % n), "--ops", "100", status=1)
        self.assertEqual(len(r["errors"]), 33)
        self.assertEqual(r["errors"]["other texts"], 68)

    def test_then_is_sent_after_each_and_done_at_its_answer(self):
        server = self.server(lambda words, n: (0.02, b":1\r\n") if words[0] == b"WAIT" else b"+OK\r\n")
        r = self.measured(server, "--ops", "10", "--then", "WAIT 1 0")
        self.assertEqual(server.count, {"SET": 10, "WAIT": 10})
        self.assertEqual(r["operations"], 10)
        self.assertGreaterEqual(r["latency_us"]["p50"], 20000)

    def test_one_then_serves_a_batch(self):
        server = self.server(lambda words, n: b":1\r\n" if words[0] == b"WAIT" else b"+OK\r\n")
        r = self.measured(server, "--ops", "10", "--then", "WAIT 1 0", "--then-per", "4",
                          "--pipeline", "8")
        self.assertEqual(server.count, {"SET": 10, "WAIT": 3})
        self.assertEqual((r["operations"], r["failed"]), (10, 0))

    def test_too_few_copies_are_a_failure(self):
        server = self.server(lambda words, n: b":0\r\n" if words[0] == b"WAIT" else b"+OK\r\n")
        r = self.measured(server, "--ops", "10", "--then", "WAIT 1 100", status=1)
        self.assertEqual((r["operations"], r["failed"]), (0, 10))
        self.assertEqual(list(r["errors"].values()), [10])

    def test_an_error_before_a_good_then_is_still_a_failure(self):
        server = self.server(lambda words, n: b":1\r\n" if words[0] == b"WAIT" else b"-ERR no\r\n")
        r = self.measured(server, "--ops", "10", "--then", "WAIT 1 0", status=1)
        self.assertEqual((r["operations"], r["failed"]), (0, 10))

    def test_a_lost_connection_fails_what_was_under_way_and_no_more(self):
        server = self.server(lambda words, n: None if n == 50 else b"+OK\r\n")
        r = self.measured(server, "--ops", "100", "--connections", "2", "--pipeline", "1")
        self.assertEqual((r["operations"], r["failed"], r["connections_lost"]), (99, 1, 1))
        self.assertEqual(r["errors"], {"connection closed by the server": 1})

    def test_without_any_connection_it_ends(self):
        r = self.measured(self.server(lambda words, n: None), "--connections", "3", status=1)
        self.assertEqual((r["operations"], r["connections_lost"]), (0, 3))

    def test_replies_in_pieces_and_nested_ones_are_found(self):
        reply = b"*2\r\n$5\r\nhel\r\n\r\n*2\r\n:1\r\n$-1\r\n"
        r = self.measured(self.server(lambda words, n: reply, piece=3), "--ops", "60",
                          "--pipeline", "5", "--op", "get")
        self.assertEqual((r["operations"], r["failed"]), (60, 0))

    def test_large_values_go_both_ways(self):
        big = b"$300000\r\n" + b"x" * 300000 + b"\r\n"
        server = self.server(lambda words, n: big if words[0] == b"GET" else
                             b"+OK\r\n" if len(words[2]) == 200000 else b"-ERR short\r\n")
        r = self.measured(server, "--ops", "60", "--pipeline", "3", "--connections", "2",
                          "--size", "200000", "--op", "get,set")
        self.assertEqual((r["operations"], r["failed"]), (60, 0))

    def test_bytes_that_are_no_resp_end_the_connection(self):
        r = self.measured(self.server(lambda words, n: b"HTTP/1.1 400\r\n"), "--ops", "5", status=1)
        self.assertEqual(r["errors"], {"the server's answer is no RESP": 1})

    def test_cluster_sends_each_key_to_its_owner(self):
        def answer(words, n):
            if words[0] != b"CLUSTER":
                return b"+OK\r\n"
            node = b"*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$2\r\nid\r\n"
            return (b"*2\r\n*3\r\n:0\r\n:8191\r\n" + node % server.ports[0] +
                    b"*3\r\n:8192\r\n:16383\r\n" + node % server.ports[1])
        server = self.server(answer, ports=2)
        r = self.measured(server, "--ops", "400", "--connections", "4", "--cluster", "--keys", "100")
        self.assertEqual((r["operations"], r["failed"]), (400, 0))
        for port in (0, 1):
            self.assertGreater(len(server.keys[port]), 10)
            for key in server.keys[port]:
                self.assertEqual(binascii.crc_hqx(key, 0) % 16384 >= 8192, port == 1)

    def test_cluster_without_a_cluster_is_said(self):
        done = bench(self.server(lambda words, n: b"-ERR cluster disabled\r\n").address, "--cluster")
        self.assertEqual(done.returncode, 1)
        self.assertIn("cluster disabled", done.stderr)

    def test_a_sweep_loads_at_percents_of_the_saturation(self):
        # 10 ms a reply and 8 connections: at most 800/s.
        server = self.server(lambda words, n: (0.01, b"+OK\r\n"))
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        hdr = os.path.join(folder.name, "hdr")
        r = self.measured(server, "--connections", "8", "--seconds", "0.5", "--sweep", "20,50",
                          "--hdr", hdr)
        most = r["saturation"]["per_second"]
        self.assertTrue(0 < most <= 800 * 1.1, most)
        self.assertEqual([p["percent"] for p in r["sweep"]], [20, 50])
        for point in r["sweep"]:
            self.assertAlmostEqual(point["rate"] / most, point["percent"] / 100, 5)
            self.assertEqual(os.path.exists("%s.%d" % (hdr, point["percent"])),
                             point["target_reached"])

    def test_the_hdr_file_is_what_plotters_read(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "out.hdr")
            self.measured(self.server(), "--ops", "50", "--hdr", path)
            with open(path, encoding="ascii") as f:
                text = f.read()
        self.assertIn("Percentile", text)
        self.assertRegex(text, r"Total count\s+=\s+50\]")

    def test_processes_and_flushes_are_reported(self):
        r = self.measured(self.server(), "--ops", "50", "--cpu-of", "%d,4194303" % os.getpid())
        self.assertEqual([p["pid"] for p in r["processes"]], [os.getpid(), 4194303])
        self.assertGreaterEqual(r["processes"][0]["cpu_s"], 0)
        self.assertIsNone(r["processes"][1]["cpu_s"])
        self.assertGreaterEqual(r["flushes"]["total"], 0)

    def test_bad_usage_is_one_line_and_status_2(self):
        for args in ([], ["nope"], ["127.0.0.1"], ["h:1", "--wrong"], ["h:1", "--size", "0"],
                     ["h:1", "--op", "frob"]):
            done = bench(*args)
            self.assertEqual(done.returncode, 2, args)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            self.assertEqual(done.stdout, "")
        done = subprocess.run([TIDEMILL, "bench", "frob"], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1))

    def test_what_cannot_be_reached_is_one_line_and_status_1(self):
        for address in ("127.0.0.1:1", "no.such.host.invalid:1", "unix:/nowhere/at.all"):
            for words in (), ("--json",):
                done = bench(address, *words)
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
                self.assertIn(address, done.stderr)
                self.assertEqual(done.stdout, "")


if __name__ == "__main__":
    TIDEMILL = sys.argv.pop(1)
    unittest.main(warnings="ignore")
