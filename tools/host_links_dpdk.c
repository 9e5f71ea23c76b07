/* Links over shared memory, `linkFabric: "dpdk"`: a second dpdk fabric beside the cluster's own, in
 * a domain of its own, whose peers are blocks of the port plan, as those of links over tcp are.
 *
 * A worker's fabric of links is then both: each peer is reached over the one that the topology file
 * says, at both ends alike, and what comes over either goes to the same sink. */
#include "tools/host_internal.h"

#ifdef TM_HAVE_DPDK
#include "net/fabric_dpdk.h"
#endif

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define POLL_BUDGET 256

/* ---- which clusters ---- */

static bool says_dpdk(const struct tm_cluster_spec *from, const char *to)
{
    for (unsigned i = 0; i < from->link_count; i++)
        if (strcmp(from->links[i].target, to) == 0 && from->links[i].options.fabric == TM_LINK_DPDK)
            return true;
    return false;
}

/* All nodes of the cluster are on this machine. */
static enum tm_err is_near(const struct tm_host *h, const struct tm_cluster_spec *c, char *why)
{
    const char *here = h->ports[h->config.node].address;
    for (unsigned i = 0; i < c->nodes.count; i++) {
        struct tm_ports ports;
        enum tm_err e = tm_ports_plan(h->config.topology, c, i, (unsigned)h->options.base_port,
                                      h->options.address, &ports, why, TM_HOST_WHY_MAX);
        if (e != TM_OK)
            return e;
        if (strcmp(ports.address, here) == 0)
            continue;
        snprintf(why, TM_HOST_WHY_MAX,
                 "linkFabric \"dpdk\": node %s of %s is on another machine (%s), which shared "
                 "memory does not reach: linkFabric: \"tcp\"",
                 c->nodes.names[i], c->name, ports.address);
        return TM_ERR_INVALID;
    }
    return TM_OK;
}

static enum tm_err may_be(const struct tm_host *h, char *why)
{
    unsigned own =
        h->options.fabric == TM_FABRIC_KIND_DPDK ? h->config.cluster->nodes.count - 1 : 0;
    if (h->options.fabric == TM_FABRIC_KIND_TCP)
        snprintf(why, TM_HOST_WHY_MAX,
                 "linkFabric \"dpdk\" needs that fabric at both ends: start all nodes of both "
                 "clusters without --fabric tcp");
    else if (h->options.fabric_port[0] != '\0')
        snprintf(why, TM_HOST_WHY_MAX,
                 "linkFabric \"dpdk\" is shared memory of one machine, and this cluster is on the "
                 "wire of --fabric-port: linkFabric: \"tcp\"");
    else if (own + (unsigned)__builtin_popcountll(h->link_peers) > TM_HOST_MEMIF_MAX)
        snprintf(why, TM_HOST_WHY_MAX,
                 "linkFabric \"dpdk\": shared memory reaches at most %u nodes, of this cluster and "
                 "of those linked with it: linkFabric: \"tcp\"",
                 TM_HOST_MEMIF_MAX);
    else
        return TM_OK;
    return TM_ERR_INVALID;
}

enum tm_err tm_host_links_dpdk_peers(struct tm_host *h, char *why)
{
    enum tm_err e = TM_OK;
    for (unsigned i = 0; e == TM_OK && i < h->node.site_count; i++) {
        const struct tm_link_site *s = &h->sites[i];
        const struct tm_cluster_spec *c = tm_topology_cluster(h->config.topology, s->name);
        if (!says_dpdk(h->config.cluster, s->name) && !says_dpdk(c, h->config.cluster->name))
            continue;
        for (unsigned k = 0; k < s->count; k++)
            h->link_peers |= UINT64_C(1) << s->nodes[k].block;
        e = is_near(h, c, why);
    }
    return e == TM_OK && h->link_peers != 0 ? may_be(h, why) : e;
}

#ifdef TM_HAVE_DPDK
enum tm_err tm_host_links_dpdk_create(struct tm_host *h, const struct tm_eal_log *log, char *why)
{
    char domain[64], secret[64];
    struct tm_dpdk_config *c = calloc(1, sizeof *c);
    TM_ASSERT(c != NULL);
    /* The port plan tells apart what runs on one machine. */
    snprintf(domain, sizeof domain, "links:%u:%lld", (unsigned)getuid(),
             (long long)h->options.base_port);
    snprintf(secret, sizeof secret, "/dev/shm/tidemill.secret.%u", (unsigned)getuid());
    *c = (struct tm_dpdk_config){.domain = domain,
                                 .secret_path = secret,
                                 .instance = 1,
                                 .node = h->node.block,
                                 .workers = h->count,
                                 .peers = h->link_peers,
                                 .boot = h->node.boot,
                                 .mbufs = TM_HOST_LINK_MBUFS,
                                 .log = *log};
    enum tm_err e = tm_dpdk_create(c, &h->links_dpdk, why, TM_HOST_WHY_MAX);
    free(c);
    return e;
}

/* ---- both in one ---- */

static enum tm_err both_send(struct tm_fabric *f, unsigned node, unsigned worker,
                             const struct tm_bytes *pieces, unsigned count)
{
    const struct tm_host_worker *w = f->host;
    bool near = (w->host->link_peers >> node & 1) != 0;
    struct tm_fabric *over = near ? w->links_dpdk : w->links_tcp;
    return over == NULL ? TM_ERR_CLOSED : over->send(over, node, worker, pieces, count);
}

static unsigned both_poll(struct tm_fabric *f, unsigned budget)
{
    const struct tm_host_worker *w = f->host;
    return w->links_dpdk == NULL ? 0 : w->links_dpdk->poll(w->links_dpdk, budget);
}

static void both_flush(struct tm_fabric *f)
{
    const struct tm_host_worker *w = f->host;
    w->links_tcp->flush(w->links_tcp);
    if (w->links_dpdk != NULL)
        w->links_dpdk->flush(w->links_dpdk);
}

static bool both_park(struct tm_fabric *f)
{
    const struct tm_host_worker *w = f->host;
    return w->links_dpdk == NULL || w->links_dpdk->park(w->links_dpdk);
}

static void both_unpark(struct tm_fabric *f)
{
    const struct tm_host_worker *w = f->host;
    if (w->links_dpdk != NULL)
        w->links_dpdk->unpark(w->links_dpdk);
}

static void both_close(struct tm_fabric *f)
{
    (void)f; /* each is closed for itself: this one by the thread that has opened it */
}

static const struct tm_fabric both = {.name = "links",
                                      .send = both_send,
                                      .poll = both_poll,
                                      .flush = both_flush,
                                      .park = both_park,
                                      .unpark = both_unpark,
                                      .close = both_close};

/* ---- the actor ---- */

static void readable(void *arg, uint32_t events)
{
    struct tm_host_worker *w = arg;
    (void)events;
    both_poll(&w->links_both, POLL_BUDGET);
}

static enum tm_err start(void *self, struct tm_worker *worker, char *why, size_t why_len)
{
    struct tm_host_worker *w = self;
    struct tm_fabric_sink sink = tm_shard_link_sink(w->shard);
    enum tm_err e =
        tm_fabric_dpdk_open(w->host->links_dpdk, w->index, &sink, w->counters, &w->links_dpdk);
    if (e != TM_OK) {
        snprintf(why, why_len, "the dpdk fabric of links does not open: %s", tm_err_text(e));
        return e;
    }
    w->links_both.max_frame =
        (uint32_t)tm_min_u64(w->links_tcp->max_frame, w->links_dpdk->max_frame);
    tm_worker_watch_fd(worker, &w->links_watch, tm_fabric_dpdk_fd(w->links_dpdk), readable, w);
    return TM_OK;
}

static void stop(void *self)
{
    struct tm_host_worker *w = self;
    if (w->links_dpdk == NULL)
        return;
    tm_worker_unwatch_fd(&w->links_watch);
    w->links_dpdk->close(w->links_dpdk);
    w->links_dpdk = NULL;
}

static unsigned poll_all(void *self)
{
    struct tm_host_worker *w = self;
    return both_poll(&w->links_both, POLL_BUDGET);
}

static bool before_park(void *self)
{
    struct tm_host_worker *w = self;
    return both_park(&w->links_both);
}

static void after_park(void *self)
{
    struct tm_host_worker *w = self;
    both_unpark(&w->links_both);
}

static const struct tm_actor_ops ops = {.name = "links",
                                        .phase = TM_PHASE_FABRIC,
                                        .start = start,
                                        .stop = stop,
                                        .poll = poll_all,
                                        .before_park = before_park,
                                        .after_park = after_park};

enum tm_err tm_host_links_dpdk_add(struct tm_host_worker *w, char *why)
{
    (void)why;
    w->links_both = both;
    w->links_both.host = w;
    w->links_both.max_frame = w->links_tcp->max_frame;
    w->links = &w->links_both;
    return tm_worker_add(w->worker, &ops, w);
}
#else
enum tm_err tm_host_links_dpdk_add(struct tm_host_worker *w, char *why)
{
    (void)w, (void)why; /* the node has not come that far */
    return TM_ERR_UNSUPPORTED;
}
#endif
