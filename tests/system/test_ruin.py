#!/usr/bin/python3
"""A record that no copy has any more: its partition says so and serves nothing, the others go on, and
`tidemill recover` brings back what lies before it."""
import random
import sys
from concurrent.futures import ThreadPoolExecutor

from cluster import Cluster, connect, nodes_text, three_nodes
from disk import content, flip, place_of, segments, token_of, values
from harness import main, seed, wait_until

KEYS, PARTITIONS = 120, 4


def partition_of(c, node, key):
    return c.client(node).execute_command("CLUSTER", "KEYSLOT", key) * PARTITIONS // 16384


def open_filled(c, said):
    c.up()
    wait_until(lambda: c.whole(c.nodes[0][1]), 30)
    for key, value in said.items():
        assert c.client(c.nodes[0][1]).set(key, value)


def on_all_disks(c, value):
    return all(any(token_of(value) in content(path) for path in segments(c, node)) for _, node in c.nodes)


def ruin(c, said, key):
    """Kills all nodes, and the record of a key on each."""
    rng = random.Random(seed())
    wait_until(lambda: on_all_disks(c, said[key]), 30)
    for _, node in c.nodes:
        c.kill(node, wait=True)
    for _, node in c.nodes:
        flip(*place_of(c, node, said[key]), rng)


def refuses(c, node, *commands):
    """All at the same time: each is waited for five seconds."""
    clients = [connect(*c.address(node)) for _ in commands]
    with ThreadPoolExecutor(len(commands)) as pool:
        asked = [pool.submit(client.execute_command, *command)
                 for client, command in zip(clients, commands)]
    for command, answer in zip(commands, asked):
        error = answer.exception()
        assert str(error).startswith("CLUSTERDOWN"), (command[:2], error or answer.result())


def lost_and_recovered(c, said):
    """In the middle of a partition a record is gone; what is in the others stays in service."""
    first = c.nodes[0][1]
    lost = list(said)[KEYS // 2]
    shut = partition_of(c, first, lost)
    mine = [k for k in said if partition_of(c, first, k) == shut]
    before = {k: said[k] for k in mine[:mine.index(lost)]}
    others = {k: v for k, v in said.items() if k not in mine}
    assert before and others
    ruin(c, said, lost)
    done = c.up(check=False)
    assert done.returncode == 1 and "cannot serve all" in done.stderr, done
    assert "damage_stays" in done.stderr, done
    for node in [node for _, node in c.nodes]:
        wait_until(lambda node=node: "event=damage_stays partition=%d" % shut in c.log(node), 60)
    refuses(c, first, ("GET", list(before)[0]), ("GET", lost), ("SET", lost, "x"))
    for _, node in c.nodes:
        c.serves(node, others)
        assert c.client(node).set(list(others)[0], others[list(others)[0]])
    wait_until(lambda: [(p["partition"], p["faulty"]) for p in c.status(first)["partitions"]
                        if p["leader"] is None] == [(shut, len(c.nodes))], 30)
    told = c.tidemill("recover", c.row(first)["listen"], "--partition", str(shut), "--yes").stdout
    assert "LOST FOR GOOD" in told and "1 of 1 partitions go on" in told, told
    for again in range(2 if len(c.nodes) == 1 else 1):
        if again:
            c.kill(first, wait=True)
            c.up()
        wait_until(lambda: c.whole(first), 60)
        for _, node in c.nodes:
            c.serves(node, dict(before, **others))
            assert not any(c.client(node).get(k) for k in mine[mine.index(lost):])
        assert c.client(first).set("After:%d" % again, "x")


def of_the_only_copy():
    with Cluster(nodes_text("c", ["n1"], replicationFactor=1, partitions=PARTITIONS)) as c:
        said = values("Ruin", KEYS)
        open_filled(c, said)
        lost_and_recovered(c, said)


def of_three_copies():
    with Cluster(three_nodes(partitions=PARTITIONS)) as c:
        said = values("Ruin", KEYS)
        open_filled(c, said)
        lost_and_recovered(c, said)


if __name__ == "__main__":
    sys.exit(main([of_the_only_copy, of_three_copies]))
