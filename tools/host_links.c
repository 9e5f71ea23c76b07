/* The other clusters of the topology file: who they are for the shards (actors/link_way.h), and the
 * fabric of links, which is tcp, and where the file says so shared memory (host_links_dpdk.c).
 *
 * Its peers are numbered by their blocks in the port plan, of which 64 can be told apart: a cluster
 * beyond that is left out, and said. */
#include "tools/host_internal.h"

#include "net/fabric_tcp.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define OUTPUT_LIMIT TM_MIB(4)

/* ---- sites ---- */

/* Why the cluster cannot be a site; NULL: it can.  taken: blocks of the sites so far, by bits. */
static const char *unfit(const struct tm_host *h, const struct tm_cluster_spec *c, uint64_t taken)
{
    if (h->node.site_count == TM_LINK_SITES_MAX)
        return "the file has too many clusters";
    for (unsigned i = 0; i < c->nodes.count; i++) {
        if (c->blocks[i] >= TM_NODES_MAX)
            return "links reach the first 64 nodes of the file only";
        if ((taken >> c->blocks[i] & 1) != 0)
            return "two nodes have the same place in the port plan, for the file was edited: move "
                   "the new cluster to its end";
        taken |= 1ULL << c->blocks[i];
    }
    return NULL;
}

static uint64_t add_site(struct tm_link_site *s, const struct tm_cluster_spec *c)
{
    uint64_t blocks = 0;
    *s = (struct tm_link_site){.count = c->nodes.count};
    snprintf(s->name, sizeof s->name, "%s", c->name);
    for (unsigned i = 0; i < c->nodes.count; i++) {
        snprintf(s->nodes[i].name, sizeof s->nodes[i].name, "%s", c->nodes.names[i]);
        s->nodes[i].block = (uint8_t)c->blocks[i];
        blocks |= 1ULL << c->blocks[i];
    }
    return blocks;
}

static uint64_t own_blocks(const struct tm_cluster_spec *c)
{
    uint64_t blocks = 0;
    for (unsigned i = 0; i < c->nodes.count; i++)
        blocks |= c->blocks[i] < TM_NODES_MAX ? 1ULL << c->blocks[i] : 0;
    return blocks;
}

void tm_host_links_describe(struct tm_host *h)
{
    const struct tm_topology *t = h->config.topology;
    const struct tm_cluster_spec *own = h->config.cluster;
    struct tm_node *n = &h->node;
    uint64_t taken = own_blocks(own);
    n->block = own->blocks[h->config.node];
    n->sites = h->sites = calloc(t->cluster_count, sizeof *h->sites);
    n->known = &h->links_known;
    TM_ASSERT(h->sites != NULL);
    for (unsigned i = 0; i < t->cluster_count; i++) {
        const struct tm_cluster_spec *c = &t->clusters[i];
        if (c == own)
            continue;
        const char *why = n->block >= TM_NODES_MAX
                              ? "links reach the first 64 nodes of the file only"
                              : unfit(h, c, taken);
        if (why == NULL)
            taken |= add_site(&h->sites[n->site_count++], c);
        else
            tm_log_plain(&h->log_target, TM_LOG_WARN, "no_way_to_cluster",
                         "cluster=%s reason=\"%s\"", c->name, why);
    }
}

/* ---- the fabric ---- */

/* Where the nodes of a site listen.  An address that makes no sense is that of no node. */
static enum tm_err add_peers(const struct tm_host *h, const struct tm_link_site *s,
                             struct tm_fabric_tcp_peer *peers, char *why)
{
    const struct tm_cluster_spec *c = tm_topology_cluster(h->config.topology, s->name);
    for (unsigned i = 0; i < s->count; i++) {
        struct tm_fabric_tcp_peer *p = &peers[s->nodes[i].block];
        struct tm_ports ports;
        char text[96];
        enum tm_err e = tm_ports_plan(h->config.topology, c, i, (unsigned)h->options.base_port,
                                      h->options.address, &ports, why, TM_HOST_WHY_MAX);
        if (e != TM_OK)
            return e;
        p->workers = TM_PORTS_WORKERS_MAX;
        for (unsigned k = 0; k < TM_PORTS_WORKERS_MAX; k++)
            p->port[k] = tm_ports_link(&ports, k);
        e = tm_addr_parse(&p->addr, tm_ports_text(&ports, p->port[0], text, sizeof text));
        TM_ASSERT(e == TM_OK); /* tm_ports_plan checked the address */
    }
    return TM_OK;
}

enum tm_err tm_host_links_add(struct tm_host_worker *w, char *why)
{
    struct tm_host *h = w->host;
    if (h->node.site_count == 0)
        return TM_OK;
    struct tm_fabric_tcp_peer *peers = calloc(TM_NODES_MAX, sizeof *peers);
    TM_ASSERT(peers != NULL);
    enum tm_err e = TM_OK;
    for (unsigned i = 0; e == TM_OK && i < h->node.site_count; i++)
        e = add_peers(h, &h->sites[i], peers, why);
    struct tm_fabric_tcp_config c = {.cluster = TM_LINK_CLUSTER_HASH,
                                     .node = h->node.block,
                                     .worker = w->index,
                                     .listen_fd = w->link_fd,
                                     .output_limit = (uint32_t)OUTPUT_LIMIT,
                                     .links = true,
                                     .buffer_group = tm_host_link_buffers(w),
                                     .peers = peers};
    struct tm_fabric_sink sink = tm_shard_link_sink(w->shard);
    if (e == TM_OK) {
        e = tm_fabric_tcp_new(&c, w->worker, &sink, &w->links_tcp);
        if (e == TM_OK)
            w->link_fd = -1;
        else
            snprintf(why, TM_HOST_WHY_MAX, "cannot make the fabric of links: %s", tm_err_text(e));
    }
    free(peers);
    w->links = w->links_tcp;
    if (e == TM_OK && h->link_peers != 0)
        e = tm_host_links_dpdk_add(w, why);
    if (e == TM_OK)
        tm_shard_set_link_fabric(w->shard, w->links);
    return e;
}

void tm_host_links_close(struct tm_host_worker *w)
{
    if (w->links_tcp != NULL)
        w->links_tcp->close(w->links_tcp);
    w->links = w->links_tcp = NULL;
    if (w->link_fd >= 0)
        close(w->link_fd);
    w->link_fd = -1;
}
