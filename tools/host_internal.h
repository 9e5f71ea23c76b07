/* host_internal.h: between the files of the host. */
#ifndef TM_TOOLS_HOST_INTERNAL_H
#define TM_TOOLS_HOST_INTERNAL_H

#include "actors/shard.h"
#include "net/eal.h"
#include "net/portlock.h"
#include "net/socket.h"
#include "runtime/cpu.h"
#include "runtime/log.h"
#include "runtime/ring.h"
#include "runtime/worker.h"
#include "runtime/workspace.h"
#include "tools/host.h"

#include <pthread.h>

#define TM_PORTS_TAKEN_MAX (2 + 3 * TM_PORTS_WORKERS_MAX)

struct tm_host_worker {
    struct tm_host *host;
    unsigned index;
    struct tm_worker own; /* the loop, unless the placement is shared: then worker 0's */
    struct tm_worker *worker;
    bool has_loop; /* own is initialised */
    bool runs;     /* and its thread was started */
    struct tm_log_writer log;
    struct tm_counters *counters;
    struct tm_shard *shard;
    struct tm_rules *rules; /* functions for conflicts */
    struct tm_fabric *fabric;
    struct tm_fabric_sink sink;
    struct tm_watch fabric_watch;
    bool fabric_watched;
    int tcp_fd;                               /* listener of the tcp fabric, -1 */
    struct tm_fabric *links;                  /* to other clusters; NULL: there are none */
    struct tm_fabric *links_tcp, *links_dpdk; /* what it is made of; NULL: not open */
    struct tm_fabric links_both;              /* if it is both */
    struct tm_watch links_watch;
    int link_fd; /* its listener, -1 */

    struct tm_socket_hub *hub;
    int client_fds[2]; /* shared and own port */

    struct tm_ring_producer to[TM_PORTS_WORKERS_MAX];
    struct tm_ring_consumer from[TM_PORTS_WORKERS_MAX];
    uint64_t pushed; /* bit per worker: something was claimed this turn */

    uint32_t options_seen;
    bool stop_asked;
    _Atomic bool stopped;
};

struct tm_host {
    struct tm_host_config config;
    struct tm_node node;
    const char *names[TM_NODES_MAX];
    char *facts; /* of the topology file */
    struct tm_ports ports[TM_NODES_MAX];
    struct tm_link_site *sites; /* the other clusters: node.site_count of them */
    struct tm_link_known links_known;
    struct tm_host_worker *workers; /* config.options.workers of them */
    unsigned count;

    struct tm_workspace workspace;
    bool has_workspace;
    struct tm_counters_table *counters;
    struct tm_log_target log_target;
    struct tm_logger logger;
    bool logging;
    struct tm_portlock locks[TM_PORTS_TAKEN_MAX];
    unsigned lock_count;
    bool shared_locked; /* the port that all workers share */
    uint64_t started_ns;
    struct tm_cpu_budget cpu;
    struct tm_dpdk *dpdk, *links_dpdk;
    uint64_t link_peers; /* blocks that links reach by links_dpdk */
    bool eal;
    char listen[128];

    pthread_mutex_t mutex; /* of what follows: rare, never on a worker's hot path */
    struct tm_options options;
    char fatal[TM_HOST_WHY_MAX];
    enum tm_err fatal_err;
    _Atomic uint32_t options_version;
    _Atomic bool stopping, shutdown_asked;
    int event_fd; /* wakes tm_host_wait */
};

/* Numbers of a worker's receive buffers: with --placement shared they are all in one ring. */
static inline uint16_t tm_host_client_buffers(const struct tm_host_worker *w)
{
    return (uint16_t)(1 + 3 * w->index);
}

static inline uint16_t tm_host_tcp_buffers(const struct tm_host_worker *w)
{
    return (uint16_t)(2 + 3 * w->index);
}

static inline uint16_t tm_host_link_buffers(const struct tm_host_worker *w)
{
    return (uint16_t)(3 + 3 * w->index);
}

/* host_rings.c: memory of the rings for the workspace's list, made and joined after. */
size_t tm_host_ring_bytes(const struct tm_host *h);
void tm_host_rings_join(struct tm_host *h);
enum tm_err tm_host_local(void *host_worker, unsigned worker, const struct tm_bytes *pieces,
                          unsigned count);
extern const struct tm_actor_ops tm_host_rings_ops;

/* host_clients.c */
enum tm_err tm_host_clients_open(struct tm_host_worker *w);
void tm_host_clients_options(struct tm_host_worker *w, const struct tm_options *o);
void tm_host_clients_start(struct tm_host_worker *w);
void tm_host_clients_pump(struct tm_host_worker *w);

/* host_fabric.c */
enum tm_err tm_host_fabric_prepare(struct tm_host *h, char *why);
enum tm_err tm_host_fabric_add(struct tm_host_worker *w, char *why);
void tm_host_fabric_close(struct tm_host_worker *w);
void tm_host_fabric_keep(struct tm_host *h); /* about once a second, main thread */
void tm_host_fabric_end(struct tm_host *h);
extern const struct tm_actor_ops tm_host_fabric_ops;

/* host_links.c: fills node.sites, with the ports planned; a worker's fabric of links, if there are
 * any. */
void tm_host_links_describe(struct tm_host *h);
enum tm_err tm_host_links_add(struct tm_host_worker *w, char *why);
void tm_host_links_close(struct tm_host_worker *w);

/* host_links_dpdk.c: which blocks links reach by shared memory, or TM_ERR_INVALID; the fabric for
 * that, with EAL running, and its mbufs; joined with the one over tcp as the worker's, and closed
 * with the host. */
#define TM_HOST_LINK_MBUFS 4096u
#define TM_HOST_MEMIF_MAX  32u /* ports that DPDK makes in a process */
enum tm_err tm_host_links_dpdk_peers(struct tm_host *h, char *why);
enum tm_err tm_host_links_dpdk_create(struct tm_host *h, const struct tm_eal_log *log, char *why);
enum tm_err tm_host_links_dpdk_add(struct tm_host_worker *w, char *why);

/* host.c: ends the node; from a worker. */
void tm_host_fatal(struct tm_host *h, enum tm_err err, const char *why);

#endif
