#!/usr/bin/python3
"""Links over the dpdk fabric, where the file says so: everything arrives, over it alone, also after
nodes were killed; and where it cannot be, that is said."""
import sys

from cluster import Cluster, nodes_text
from harness import main, wait_until
from linked import has, links_rest

FACTORY, CLOUD = ("f-1", "f-2", "f-3"), ("c-1", "c-2")
WRITES = 300


def three_clusters(fabric, **cloud):
    """factory -> cloud over that fabric and back, and -> archive over tcp; cloud of two nodes."""
    return (nodes_text("factory", FACTORY, partitions=8, replicationFactor=3,
                       replicateTo=[{"cluster": "cloud", "linkFabric": fabric}, "archive"])
            + nodes_text("cloud", CLOUD, partitions=6, replicationFactor=2,
                         replicateTo=[{"cluster": "factory", "linkFabric": fabric}], **cloud)
            + nodes_text("archive", ["a-1"], partitions=4))


def write(c, node, word):
    client, values = c.client(node), {}
    for i in range(WRITES):
        values["Order:%s-%d" % (word, i)] = b"x" * 500
        client.set("Order:%s-%d" % (word, i), "x" * 500)
    return values


def arrives(c, node, held):
    wait_until(lambda: has(c.client(node), held), 120)


def up(c):
    c.up()
    for node in ("f-1", "c-1", "a-1"):
        wait_until(lambda: c.whole(node), 120)


def sent(c, names, counter):
    return sum(c.stat(name)[counter] for name in names)


def links_go_over_shared_memory():
    # The clusters' own traffic too is dpdk's: archive, of one node, has no other than its links.
    with Cluster(three_clusters("dpdk")) as c:
        up(c)
        held = write(c, "f-1", "there")
        arrives(c, "c-1", held)
        arrives(c, "a-1", held)
        back = write(c, "c-1", "back")
        arrives(c, "f-1", back)
        wait_until(lambda: links_rest(c), 120)
        # Over tcp there is the link to archive, and so nothing at cloud.
        assert sent(c, CLOUD, "link_frames_sent") == 0 and sent(c, CLOUD, "link_frames_received") == 0
        assert sent(c, ["a-1"], "link_frames_received") > 0 and sent(c, ["a-1"], "dpdk_frames_received") == 0


def killed_nodes_are_met_again():
    with Cluster(three_clusters("dpdk")) as c:
        up(c)
        held = write(c, "f-1", "before")
        arrives(c, "c-1", held)
        for names in (("f-2",), ("c-1",), ("f-1", "f-3"), CLOUD):
            for name in names:
                c.kill(name, wait=True)
            up(c)
            held.update(write(c, "f-2", "after-" + names[0]))
            arrives(c, "c-2", held)
        wait_until(lambda: links_rest(c), 120)
        assert sent(c, CLOUD, "link_frames_sent") == 0


def a_cluster_of_one_node_has_it_for_its_links():
    text = (nodes_text("edge", ["e-1"], partitions=4, replicateTo=["hub"], linkFabric="dpdk")
            + nodes_text("hub", ["h-1"], partitions=6))
    with Cluster(text) as c:
        c.up()
        arrives(c, "h-1", write(c, "e-1", "one"))
        assert sent(c, ["h-1"], "dpdk_frames_received") > 0 and sent(c, ["h-1"], "link_frames_received") == 0


def where_it_cannot_be_it_is_refused():
    with Cluster(three_clusters("dpdk"), ["--fabric=tcp"]) as c:
        said = c.up(check=False)
        assert said.returncode == 1 and "linkFabric \"dpdk\" needs that fabric at both ends" in said.stderr, said
    with Cluster(three_clusters("tcp")) as c:
        c.write_topology(three_clusters("dpdk") + 'defineNode("c-2", { address: "10.1.2.3" });\n'
                         'defineNode("c-1", { address: "10.1.2.4" });\n')
        said = c.tidemill("plan", c.topology, check=False)
        assert said.returncode == 1 and "shared memory of one machine" in said.stderr, said


if __name__ == "__main__":
    sys.exit(main([links_go_over_shared_memory, killed_nodes_are_met_again,
                   a_cluster_of_one_node_has_it_for_its_links, where_it_cannot_be_it_is_refused]))
