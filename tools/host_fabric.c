/* Which fabric, and the worker's end of it.
 *
 * dpdk: EAL and the node's ports are made on the main thread before any other; each worker opens
 * its end on its own thread, and watches its descriptor while parked.  tcp: each worker has a
 * listener and brings its own sockets. */
#include "tools/host_internal.h"

#include "net/fabric_tcp.h"
#ifdef TM_HAVE_DPDK
#include "net/eal.h"
#include "net/fabric_dpdk.h"
#endif

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define POLL_BUDGET 256
#define MBUFS       8192

#ifdef TM_HAVE_DPDK
static void eal_log(void *host, enum tm_log_level level, const char *event, const char *fmt, ...)
{
    struct tm_host *h = host;
    va_list ap;
    va_start(ap, fmt);
    tm_log_vplain(&h->log_target, level, event, fmt, ap);
    va_end(ap);
}

/* Where each node is on the wire, when the port is a real one. */
static enum tm_err wire_addresses(struct tm_host *h, struct tm_dpdk_config *c, char *why)
{
    for (unsigned i = 0; i < h->config.cluster->nodes.count; i++) {
        const struct tm_node_spec *n =
            tm_topology_node(h->config.topology, h->config.cluster->name, h->names[i]);
        struct in_addr ip;
        if (n == NULL || n->fabric_address[0] == '\0' ||
            inet_pton(AF_INET, n->fabric_address, &ip) != 1) {
            snprintf(why, TM_HOST_WHY_MAX,
                     "--fabric-port needs the address of every node on that wire: add "
                     "defineNode(\"%s\", { fabricAddress: \"10.0.0.1\" }) to the topology file",
                     h->names[i]);
            return TM_ERR_INVALID;
        }
        c->address[i].ip = ntohl(ip.s_addr);
        c->address[i].bell.sin_family = AF_INET;
        c->address[i].bell.sin_port = htons(tm_ports_fabric(&h->ports[i], 0));
        if (inet_pton(AF_INET, h->ports[i].address, &c->address[i].bell.sin_addr) != 1)
            c->address[i].bell.sin_port = 0;
    }
    return TM_OK;
}

static enum tm_err one_machine(const struct tm_host *h, char *why)
{
    for (unsigned i = 0; i < h->config.cluster->nodes.count; i++)
        if (strcmp(h->ports[i].address, h->ports[h->config.node].address) != 0) {
            snprintf(why, TM_HOST_WHY_MAX,
                     "node %s is on another machine (%s), which shared memory does not reach: give "
                     "a port with --fabric-port, or use --fabric tcp",
                     h->names[i], h->ports[i].address);
            return TM_ERR_INVALID;
        }
    return TM_OK;
}

/* The cluster's own fabric. */
static enum tm_err create_own(struct tm_host *h, const struct tm_eal_log *log, char *why)
{
    const struct tm_options *o = &h->options;
    char domain[256], secret[256];
    bool port = o->fabric_port[0] != '\0';
    unsigned user =
        port ? 0 : (unsigned)getuid(); /* other machines know this user by other numbers */
    snprintf(domain, sizeof domain, "%s:%u:%u", h->config.cluster->name, user, h->ports[0].first);
    snprintf(secret, sizeof secret, "/dev/shm/tidemill.secret.%u", (unsigned)getuid());
    struct tm_dpdk_config *c = calloc(1, sizeof *c);
    TM_ASSERT(c != NULL);
    *c = (struct tm_dpdk_config){.domain = domain,
                                 .secret_path = secret,
                                 .node = h->config.node,
                                 .workers = h->count,
                                 .boot = h->node.boot,
                                 .mbufs = MBUFS,
                                 .port = port ? o->fabric_port : NULL,
                                 .log = *log};
    for (unsigned i = 0; i < h->config.cluster->nodes.count; i++)
        c->peers |= 1ULL << i;
    enum tm_err e = port ? wire_addresses(h, c, why) : TM_OK;
    if (e == TM_OK)
        e = tm_dpdk_create(c, &h->dpdk, why, TM_HOST_WHY_MAX);
    free(c);
    return e;
}

static enum tm_err prepare_dpdk(struct tm_host *h, bool own, char *why)
{
    const struct tm_options *o = &h->options;
    bool port = own && o->fabric_port[0] != '\0';
    struct tm_eal_log log = {.host = h, .write = eal_log};
    unsigned memory = (own ? TM_DPDK_MEMORY_MIB(MBUFS) : 0) +
                      (h->link_peers != 0 ? TM_DPDK_MEMORY_MIB(TM_HOST_LINK_MBUFS) : 0);
    struct tm_eal_config eal = {.extra = o->eal[0] != '\0' ? o->eal : NULL,
                                .pci = port && tm_eal_port_is_pci(o->fabric_port) ? o->fabric_port
                                                                                  : NULL,
                                .memory_mib = memory,
                                .log = log};
    enum tm_err e = own && !port ? one_machine(h, why) : TM_OK;
    if (e == TM_OK) {
        e = tm_eal_start(&eal, why, TM_HOST_WHY_MAX);
        h->eal = e == TM_OK;
    }
    if (e == TM_OK && own)
        e = create_own(h, &log, why);
    if (e == TM_OK && h->link_peers != 0)
        e = tm_host_links_dpdk_create(h, &log, why);
    return e;
}

void tm_host_fabric_keep(struct tm_host *h)
{
    struct tm_dpdk *net = h->dpdk != NULL ? h->dpdk : h->links_dpdk;
    if (net == NULL || !tm_dpdk_keep_secret(net))
        return;
    tm_log_plain(&h->log_target, TM_LOG_WARN, "secret_put_back",
                 "text=\"what this user has in /dev/shm was deleted while the node runs (systemd's "
                 "RemoveIPC at logout?): `tidemill stat` sees it again after its next start\"");
}
#else
void tm_host_fabric_keep(struct tm_host *h)
{
    (void)h;
}

static enum tm_err prepare_dpdk(struct tm_host *h, bool own, char *why)
{
    (void)h, (void)own;
    snprintf(why, TM_HOST_WHY_MAX,
             "this build has no dpdk fabric: use --fabric tcp, or build with "
             "-Ddpdk=enabled");
    return TM_ERR_UNSUPPORTED;
}
#endif

enum tm_err tm_host_fabric_prepare(struct tm_host *h, char *why)
{
    bool alone = h->config.cluster->nodes.count == 1;
    bool own = h->options.fabric == TM_FABRIC_KIND_DPDK && !alone;
    enum tm_err e = tm_host_links_dpdk_peers(h, why);
    if (e != TM_OK)
        return e;
    if (own || h->link_peers != 0)
        return prepare_dpdk(h, own, why);
    if (h->options.fabric_port[0] != '\0' || h->options.eal[0] != '\0')
        tm_log_plain(&h->log_target, TM_LOG_WARN, "dpdk_not_used", "text=\"%s\"",
                     alone ? "--fabric-port and --eal change nothing: the cluster has one node, "
                             "which talks to nobody"
                           : "--fabric-port and --eal change nothing with --fabric tcp");
    return TM_OK;
}

static enum tm_err add_tcp(struct tm_host_worker *w, char *why)
{
    struct tm_host *h = w->host;
    struct tm_fabric_tcp_peer *peers = calloc(TM_NODES_MAX, sizeof *peers);
    TM_ASSERT(peers != NULL);
    for (unsigned i = 0; i < h->config.cluster->nodes.count; i++) {
        char text[96];
        peers[i].workers = TM_PORTS_WORKERS_MAX;
        for (unsigned k = 0; k < TM_PORTS_WORKERS_MAX; k++)
            peers[i].port[k] = tm_ports_fabric(&h->ports[i], k);
        enum tm_err e = tm_addr_parse(
            &peers[i].addr, tm_ports_text(&h->ports[i], peers[i].port[0], text, sizeof text));
        TM_ASSERT(e == TM_OK); /* tm_ports_plan checked the address */
    }
    struct tm_fabric_tcp_config c = {.cluster = h->node.cluster_hash,
                                     .node = h->config.node,
                                     .worker = w->index,
                                     .listen_fd = w->tcp_fd,
                                     .output_limit = (uint32_t)TM_MIB(4),
                                     .buffer_group = tm_host_tcp_buffers(w),
                                     .peers = peers};
    enum tm_err e = tm_fabric_tcp_new(&c, w->worker, &w->sink, &w->fabric);
    free(peers);
    if (e == TM_OK)
        w->tcp_fd = -1;
    else
        snprintf(why, TM_HOST_WHY_MAX, "cannot make the tcp fabric: %s", tm_err_text(e));
    return e;
}

/* A node that is alone talks to nobody. */
static enum tm_err nobody(struct tm_fabric *f, unsigned node, unsigned worker,
                          const struct tm_bytes *pieces, unsigned count)
{
    (void)f;
    (void)node;
    (void)worker;
    (void)pieces;
    (void)count;
    return TM_ERR_CLOSED;
}

static unsigned nothing(struct tm_fabric *f, unsigned budget)
{
    (void)f;
    (void)budget;
    return 0;
}

static void no_flush(struct tm_fabric *f)
{
    (void)f;
}

static bool may_park(struct tm_fabric *f)
{
    (void)f;
    return true;
}

static struct tm_fabric alone = {.name = "none",
                                 .max_frame = 1400,
                                 .send = nobody,
                                 .poll = nothing,
                                 .flush = no_flush,
                                 .park = may_park,
                                 .unpark = no_flush,
                                 .close = no_flush};

enum tm_err tm_host_fabric_add(struct tm_host_worker *w, char *why)
{
    w->sink = tm_shard_sink(w->shard);
    if (w->host->config.cluster->nodes.count == 1)
        w->fabric = &alone;
    else if (w->host->options.fabric == TM_FABRIC_KIND_TCP) {
        enum tm_err e = add_tcp(w, why);
        if (e != TM_OK)
            return e;
    }
    if (w->fabric != NULL)
        tm_shard_set_fabric(w->shard, w->fabric);
    return tm_worker_add(w->worker, &tm_host_fabric_ops, w);
}

#ifdef TM_HAVE_DPDK
static void fabric_ready(void *arg, uint32_t events)
{
    struct tm_host_worker *w = arg;
    (void)events;
    w->fabric->poll(w->fabric, POLL_BUDGET);
}
#endif

static enum tm_err fabric_start(void *self, struct tm_worker *worker, char *why, size_t why_len)
{
    struct tm_host_worker *w = self;
    (void)worker;
    if (w->fabric != NULL)
        return TM_OK;
#ifdef TM_HAVE_DPDK
    enum tm_err e = tm_fabric_dpdk_open(w->host->dpdk, w->index, &w->sink, w->counters, &w->fabric);
    if (e == TM_OK) {
        tm_shard_set_fabric(w->shard, w->fabric);
        tm_worker_watch_fd(w->worker, &w->fabric_watch, tm_fabric_dpdk_fd(w->fabric), fabric_ready,
                           w);
        w->fabric_watched = true;
        return TM_OK;
    }
    if (e == TM_ERR_IO) /* TM_ERR_IO's own text speaks of disks */
        snprintf(why, why_len,
                 "the dpdk port does not start, event=eal in the log says why (af_packet needs "
                 "CAP_NET_RAW and CAP_NET_ADMIN); or use --fabric tcp");
    else
        snprintf(why, why_len, "the dpdk fabric does not open: %s; try --fabric tcp",
                 tm_err_text(e));
    return e;
#else
    (void)why;
    (void)why_len;
    return TM_ERR_UNSUPPORTED;
#endif
}

static void fabric_stop(void *self)
{
    struct tm_host_worker *w = self;
    if (!w->fabric_watched)
        return;
    tm_worker_unwatch_fd(&w->fabric_watch);
    w->fabric_watched = false;
    w->fabric->close(w->fabric);
    w->fabric = NULL;
}

static unsigned fabric_poll(void *self)
{
    struct tm_host_worker *w = self;
    return w->fabric->poll(w->fabric, POLL_BUDGET);
}

static void fabric_flush(void *self)
{
    struct tm_host_worker *w = self;
    w->fabric->flush(w->fabric);
    if (w->links != NULL)
        w->links->flush(w->links);
}

static bool fabric_before_park(void *self)
{
    struct tm_host_worker *w = self;
    return w->fabric->park(w->fabric);
}

static void fabric_after_park(void *self)
{
    struct tm_host_worker *w = self;
    w->fabric->unpark(w->fabric);
}

const struct tm_actor_ops tm_host_fabric_ops = {.name = "fabric",
                                                .phase = TM_PHASE_FABRIC,
                                                .start = fabric_start,
                                                .stop = fabric_stop,
                                                .poll = fabric_poll,
                                                .flush = fabric_flush,
                                                .before_park = fabric_before_park,
                                                .after_park = fabric_after_park};

void tm_host_fabric_close(struct tm_host_worker *w)
{
    if (w->fabric != NULL)
        w->fabric->close(w->fabric);
    w->fabric = NULL;
    if (w->tcp_fd >= 0)
        close(w->tcp_fd);
    w->tcp_fd = -1;
}

void tm_host_fabric_end(struct tm_host *h)
{
#ifdef TM_HAVE_DPDK
    tm_dpdk_destroy(h->links_dpdk);
    tm_dpdk_destroy(h->dpdk);
    if (h->eal)
        tm_eal_stop();
#endif
    h->dpdk = h->links_dpdk = NULL;
    h->eal = false;
}
