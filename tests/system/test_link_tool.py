#!/usr/bin/python3
"""`tidemill link`: what it says of links that stream, lag and stand is so, and what it changes is carried
out by clusters that run, and kept."""
import json
import os
import sys
import threading
import time

from cluster import CALM, Cluster, nodes_text
from harness import No, main, wait_until
from linked import applied, one_version_each

FABRIC = ["--fabric=tcp"] + CALM
CHANGES = "pause", "resume", "throttle", "rewind", "resync", "adopt", "release", "promote"


def two(source=None, target=None, rest=""):
    """factory of three nodes -> cloud of one."""
    return (nodes_text("factory", ["f-1", "f-2", "f-3"], partitions=8, replicationFactor=3, region="eu-1",
                       **dict({"replicateTo": ["cloud"]}, **(source or {})))
            + nodes_text("cloud", ["c-1"], partitions=6, region="us-1", **(target or {})) + rest)


def link(c, *words, check=True, at=None):
    where = ["--at", at] if at else ["--dir", c.data]
    done = c.tidemill("link", *words, *where, check=check)
    if words[0] in CHANGES and done.returncode == 0:
        wait_until(lambda: one_version_each(c), 30)
    return done


def look(c, source="factory", target="cloud", verb="explain", at=None):
    """What is said of one link, as JSON."""
    return json.loads(link(c, verb, source, target, "--json", at=at).stdout)[0]


def status_says(c, node, *needles):
    """Whether `tidemill status` at that node has all that, for people and as JSON."""
    at = c.row(node)["listen"]
    text = c.tidemill("status", at).stdout
    links = json.loads(c.tidemill("status", at, "--json").stdout)["links"]
    missing = [n for n in needles if n not in text]
    return (not missing and [(row["source"], row["target"]) for row in links] == [("factory", "cloud")]
            or No("%r is not in:\n%s\n%s" % (missing, text, links)))


def in_state(c, state, **kw):
    said = look(c, **kw)
    return said["state"] == state or No("%s: %s" % (said["state"], said["explained"]))


def explained(c, *needles, **kw):
    """Whether explain says all that."""
    said = "\n".join(look(c, **kw)["explained"])
    missing = [n for n in needles if n not in said]
    return not missing or No("%r is not in:\n%s" % (missing, said))


def write(c, names=("f-1",), count=40, prefix="Order"):
    client = c.client(names[0])
    for i in range(count):
        client.set("%s:%d" % (prefix, i), "v%d" % i)


def streams_at_rest(c, **kw):
    """A link that has shipped all, and says so of each of its streams."""
    said = look(c, verb="show")
    told = {(r["source"], r["target"]) for r in said["out"]}
    rests = (said["state"] == "streams" and not said["unled"] and
             not any(said["lag"][name] for name in ("records", "ms", "bytes")) and
             {source for source, _ in told} == set(range(8)) and {t for _, t in told} == set(range(6)) and
             told == {(r["source"], r["target"]) for r in said["in"]})
    return said if rests else No(said)


def refused(c, *words, status=1):
    """The line with which it is refused."""
    done = link(c, *words, check=False)
    assert done.returncode == status and done.stderr.count("\n") == 1 and not done.stdout, (words, done)
    return done.stderr


def up(c):
    c.up()
    wait_until(lambda: c.whole("f-1") and c.whole("c-1"), 60)


def what_streams_is_said_to_stream():
    with Cluster(two(), FABRIC) as c:
        up(c)
        write(c)
        said = wait_until(lambda: streams_at_rest(c), 60)
        assert said["mode"] == "async" and said["reach"] == said["nodes"] == 1, said
        # From any node of one end alone, too; of the other end it does not know what waits.
        wait_until(lambda: in_state(c, "streams", at=c.row("f-2")["listen"]), 30)
        assert look(c, at=c.row("c-1")["listen"])["state"] == "unknown"

        def listed(count, *words):
            text = link(c, *words).stdout
            return text.count("factory -> cloud") >= 1 and text.upper().count("STREAM") >= count or No(text)
        wait_until(lambda: listed(1, "ls"), 30)
        wait_until(lambda: status_says(c, "f-2", "factory -> cloud", "streams"), 30)
        wait_until(lambda: status_says(c, "c-1", "factory -> cloud", "taken"), 30)
        wait_until(lambda: listed(len(said["out"]), "show", "factory", "cloud"), 30)


def what_cannot_be_done_is_said_in_a_line():
    with Cluster(two(), FABRIC) as c:
        up(c)
        assert "there is no link factory -> clod" in refused(c, "pause", "factory", "clod")
        assert "there are factory -> cloud" in refused(c, "show", "cloud", "factory")
        assert 'did you mean "pause"' in refused(c, "pasue", "factory", "cloud", status=2)
        assert "needs SOURCE TARGET" in refused(c, "pause", "factory", status=2)
        assert "RATE|off" in refused(c, "throttle", "factory", "cloud", status=2)
        assert "must be a size" in refused(c, "throttle", "factory", "cloud", "fast", status=2)
        assert "holds nothing" in refused(c, "release", "factory", "cloud")
        assert "refuses the other" in refused(c, "adopt", "factory", "cloud")
        at = ["--at", c.row("f-1")["listen"]]
        done = c.tidemill("link", "rewind", "factory", "cloud", *at, check=False)
        assert done.returncode == 1 and "no node of cluster cloud was found" in done.stderr, done
        done = c.tidemill("link", "ls", check=False)
        assert done.returncode == 2 and "either --dir DIR or --at" in done.stderr, done
        done = c.tidemill("link", "ls", "--dir", os.path.join(c.dir, "nowhere"), check=False)
        assert done.returncode == 1 and "no node in" in done.stderr, done
        done = c.tidemill("link", "ls", "--at", "127.0.0.1:1", check=False)
        assert done.returncode == 1 and "nobody listens" in done.stderr, done
        version = c.client("f-1").execute_command("TIDEMILL", "DIRECTORY")
        assert dict(zip(version[::2], version[1::2]))[b"version"] == b"1", "something was changed"
        help_text = c.tidemill("link", "help").stdout
        assert all(verb in help_text for verb in ("ls", "explain", "adopt", "promote")), help_text


def refuses(target):
    """What the target says of a link of which it refuses something."""
    came = target.info("links")["link0"]
    return came if came["refused"] > 0 else No(came)


def a_paused_link_stands_until_it_is_resumed():
    with Cluster(two(), FABRIC) as c:
        up(c)
        link(c, "pause", "factory", "cloud")
        assert "it is so already" in link(c, "pause", "factory", "cloud").stdout
        write(c)
        cloud = c.client("c-1")
        wait_until(lambda: explained(c, "paused: an operator has paused it", "paused it at factory",
                                     "First record that cloud does not have", "type Order, committed at factory"), 30)
        time.sleep(1)
        assert cloud.dbsize() == 0, "it ships on"
        said = look(c)
        assert said["lag"]["records"] >= 40 and said["lag"]["ms"] >= 1000, said["lag"]
        assert all(r["record_type"] == "Order" for r in said["out"] if r["record"]), said["out"]
        # An applied file keeps it, plan shows it, and so does a node that was away.
        c.write_topology(two(source={"batchBytes": "128KiB"}))
        applied(c)
        plan = c.tidemill("plan", c.topology, "--dir", c.data).stdout
        assert "by an operator: link factory -> cloud: paused: yes" in plan, plan
        c.kill("f-2", wait=True)
        c.up()
        assert "topology_differs" not in c.log("f-2").split("link_peer_up")[-1], "the node takes it for the file's"
        wait_until(lambda: in_state(c, "paused"), 30)
        assert cloud.dbsize() == 0
        link(c, "resume", "factory", "cloud")
        wait_until(lambda: cloud.dbsize() == 40 or No(cloud.dbsize()), 30)
        wait_until(lambda: in_state(c, "streams"), 30)
        # At the target, by its operator: the source says who holds it.
        link(c, "pause", "factory", "cloud", at=c.row("c-1")["listen"])
        write(c, prefix="More")
        wait_until(lambda: explained(c, "cloud refuses: the target's operator holds the link", "paused it at cloud"), 30)
        assert cloud.dbsize() == 40
        came = wait_until(lambda: refuses(cloud), 30)
        assert came["source"] == "factory" and came["paused"] == "yes" and came["why"] == "PAUSED", came
        assert came["dead"] == 0 and came["held"] == 0, came
        for _ in range(5):  # and goes on to be said, though the source asks again and again
            time.sleep(0.3)
            assert refuses(cloud), cloud.info("links")
        link(c, "resume", "factory", "cloud")
        wait_until(lambda: cloud.info("links")["link0"]["refused"] == 0 or No(cloud.info("links")), 30)
        wait_until(lambda: cloud.dbsize() == 80 or No(cloud.dbsize()), 30)


def a_throttle_of_an_operator_holds():
    with Cluster(two(), FABRIC) as c:
        up(c)
        link(c, "throttle", "factory", "cloud", "4KiB")
        source = c.client("f-1")
        for i in range(200):  # more than it lets through in the time of all tests
            source.set("Order:%d" % i, os.urandom(8192))
        wait_until(lambda: explained(c, "may send no more bytes in this second"), 30)
        said = look(c)
        assert said["throttled"] and said["rate"] == 4096, said
        assert c.client("c-1").dbsize() < 200
        link(c, "throttle", "factory", "cloud", "off")
        wait_until(lambda: c.client("c-1").dbsize() == 200, 60)
        assert not look(c)["throttled"]


def a_resynchronisation_brings_back_what_the_target_lost():
    with Cluster(two(), FABRIC) as c:
        up(c)
        write(c)
        cloud = c.client("c-1")
        wait_until(lambda: cloud.dbsize() == 40, 30)
        resyncs = sum(c.stat(n)["link_resyncs"] for n in ("f-1", "f-2", "f-3"))
        link(c, "resync", "factory", "cloud")
        wait_until(lambda: sum(c.stat(n)["link_resyncs"] for n in ("f-1", "f-2", "f-3")) > resyncs, 30)
        wait_until(lambda: in_state(c, "streams"), 30)
        sent = sum(c.stat(n)["link_changes_sent"] for n in ("f-1", "f-2", "f-3"))
        link(c, "rewind", "factory", "cloud")
        wait_until(lambda: sum(c.stat(n)["link_changes_sent"] for n in ("f-1", "f-2", "f-3")) >= sent + 40, 30)
        wait_until(lambda: in_state(c, "streams"), 30)
        assert cloud.dbsize() == 40
        write(c, prefix="More")
        wait_until(lambda: cloud.dbsize() == 80, 30)


def why_a_link_stands_is_said():
    resident = 'defineEntity("Customer", { residency: ["eu"] });\n'
    with Cluster(two(), FABRIC) as c:
        up(c)
        wait_until(lambda: in_state(c, "streams"), 60)
        c.kill("c-1", wait=True)
        write(c)
        wait_until(lambda: explained(c, "factory -> cloud: away", "none of the 1 nodes of cloud is within reach"), 60)
        c.up()
        wait_until(lambda: in_state(c, "streams"), 60)
        # The target alone learns that Customer may not be there: it refuses what comes.
        c.write_topology(two(rest=resident))
        c.tidemill("apply", c.topology, "--dir", c.data, "--cluster", "cloud")
        c.client("f-1").set("Customer:1", "x")
        wait_until(lambda: explained(c, "factory -> cloud: stands", "a type must not come here", "type=Customer",
                                     "tidemill apply"), 60)
        applied(c)
        wait_until(lambda: in_state(c, "streams"), 60)
        assert c.client("c-1").get("Customer:1") is None
        # The file loses its target.
        c.kill("f-3", wait=True)
        done = link(c, "explain")
        assert "node f-3 of cluster factory" in done.stderr, done
        wait_until(lambda: in_state(c, "streams"), 60)  # the others lead now


def a_cluster_made_anew_is_adopted():
    with Cluster(two(), FABRIC) as c:
        up(c)
        write(c)
        wait_until(lambda: c.client("c-1").dbsize() == 40, 30)
        c.kill("c-1", wait=True)
        os.rename(os.path.join(c.data, "cloud"), os.path.join(c.dir, "cloud-was"))
        c.up()
        wait_until(lambda: explained(c, "factory -> cloud: refused", "another cluster of that name than last time",
                                     "`tidemill link adopt factory cloud`"), 60)
        assert c.client("c-1").dbsize() == 0
        link(c, "adopt", "factory", "cloud")
        wait_until(lambda: c.client("c-1").dbsize() == 40 or No(c.client("c-1").dbsize()), 60)
        wait_until(lambda: in_state(c, "streams"), 60)
        for name in "f-1", "f-2", "f-3":  # and stays so
            c.kill(name, wait=True)
        c.up()
        write(c, prefix="More")
        wait_until(lambda: c.client("c-1").dbsize() == 80, 60)


def verify(c, good):
    """What a comparison of all streams has found."""
    def compared():
        done = link(c, "verify", "factory", "cloud", "--json", check=False)
        said = json.loads(done.stdout)
        if not 0 < said["streams"] == said["compared"]:  # a leader has changed
            return No(said)
        assert done.returncode == (0 if good else 1), done
        return said
    return wait_until(compared, 60)


def says_what_differs(c):
    text = link(c, "verify", "factory", "cloud", check=False).stdout
    return '"Order:17" (partition' in text and "2 differ" in text or No(text)


def what_differs_is_named_while_both_ends_serve():
    with Cluster(two(), FABRIC) as c:
        up(c)
        source, cloud = c.client("f-1"), c.client("c-1")
        for i in range(500):
            source.hset("Order:%d" % i, "state", "v%d" % i)
        wait_until(lambda: cloud.dbsize() == 500, 60)
        said = verify(c, True)
        assert said["keys"] == 500 and said["differences"] == [], said
        # The target's own changes never go back: they differ.
        cloud.hset("Order:17", "state", "other")
        cloud.delete("Order:18")
        cloud.hset("Own:1", "state", "x")
        ends = threading.Event()

        def go_on():
            client, i = c.client("f-2"), 0
            while not ends.is_set():
                client.hset("Busy:%d" % (i % 2000), "state", "w%d" % i)
                i += 1
                time.sleep(0.01)  # so that each comes to rest at times, also on a slow machine
        writer = threading.Thread(target=go_on, daemon=True)
        writer.start()
        try:
            said = verify(c, False)
        finally:
            ends.set()
            writer.join(120)
        named = {d["key"]: d["what"] for d in said["differences"] if d["key"]}
        assert named == {"Order:17": "DIFFERS", "Order:18": "DIFFERS"}, said
        assert said["only_target"] == 1 and said["unsettled"] == 0 and said["more"] == 0, said
        wait_until(lambda: says_what_differs(c), 60)
        # Counted and said without being asked, too.
        nodes = ("f-1", "f-2", "f-3")
        wait_until(lambda: any("event=link_differs" in c.log(n) for n in nodes), 60)
        # The link cannot be compared while its target is away.
        c.kill("c-1", wait=True)
        done = link(c, "verify", "factory", "cloud", check=False)
        assert done.returncode == 1 and "not compared" in done.stdout, done


def conflicts_are_listed_and_what_lost_can_be_written_again():
    with Cluster(two(target={"replicateTo": ["factory"]}), FABRIC) as c:
        up(c)
        source, cloud = c.client("f-1"), c.client("c-1")
        source.hset("Order:1", "state", "first")
        wait_until(lambda: cloud.hget("Order:1", "state") == b"first", 30)
        for way in ("factory", "cloud"), ("cloud", "factory"):
            link(c, "pause", *way)
        source.hset("Order:1", "state", "here")
        time.sleep(0.01)
        cloud.hset("Order:1", "state", "there")
        for way in ("factory", "cloud"), ("cloud", "factory"):
            link(c, "resume", *way)
        wait_until(lambda: source.hget("Order:1", "state") == b"there", 30)

        def listed():
            return json.loads(c.tidemill("conflicts", "ls", "--dir", c.data, "--json").stdout)
        wait_until(lambda: len(listed()) >= 1, 30)
        one = [x for x in listed() if x["key"] == "Order:1"][0]
        assert (one["field"], one["winner"], one["loser"], one["rule"]) == ("state", "there", "here", "field-lww"), one
        text = c.tidemill("conflicts", "show", one["id"], "--dir", c.data).stdout
        assert 'won: "there"' in text and 'lost: "here"' in text, text
        c.tidemill("conflicts", "reapply", one["id"], "--dir", c.data)
        wait_until(lambda: source.hget("Order:1", "state") == b"here" and cloud.hget("Order:1", "state") == b"here", 30)
        done = c.tidemill("conflicts", "show", "cloud/c-1/0/999", "--dir", c.data, check=False)
        assert done.returncode == 1 and "there is no conflict" in done.stderr, done
        c.kill("f-3", wait=True)  # what only it knows is missing in the list
        done = c.tidemill("conflicts", "ls", "--dir", c.data)
        assert "node f-3 of cluster factory" in done.stderr, done


def a_degraded_link_says_so():
    sync = {"replicateTo": [{"cluster": "cloud", "replicationMode": "sync", "onUnavailable": "degrade",
                             "syncTimeoutMs": 200}]}
    with Cluster(two(source=sync), FABRIC) as c:
        up(c)
        wait_until(lambda: in_state(c, "streams"), 60)
        write(c)
        c.kill("c-1", wait=True)
        write(c, prefix="More")
        wait_until(lambda: explained(c, "factory -> cloud: degraded", "get their OK without cloud"), 60)
        wait_until(lambda: status_says(c, "f-1", "DEGRADED", "! ", "get their OK without cloud"), 60)
        c.up()
        wait_until(lambda: in_state(c, "streams"), 60)
        wait_until(lambda: [g["state"] for g in look(c)["gates"]] == ["SYNC"] * 8, 30)


if __name__ == "__main__":
    sys.exit(main([
        what_streams_is_said_to_stream,
        what_cannot_be_done_is_said_in_a_line,
        a_paused_link_stands_until_it_is_resumed,
        a_throttle_of_an_operator_holds,
        what_differs_is_named_while_both_ends_serve,
        conflicts_are_listed_and_what_lost_can_be_written_again,
        a_resynchronisation_brings_back_what_the_target_lost,
        why_a_link_stands_is_said,
        a_cluster_made_anew_is_adopted,
        a_degraded_link_says_so,
    ]))
