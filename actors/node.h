/* node.h: what the workers of one node share: who the node is, what the cluster is, who leads.
 *
 * Written rarely, read always.  The identity and the directory are set by worker 0 (creation.h)
 * before `running` is raised.  A directory never changes in place: worker 0 publishes the next
 * version (exchange.h), each worker takes it at the beginning of a turn, and the one before lives
 * until all have.  leader[p] is written by the worker that owns partition p on this node, read by
 * all.  In a process the workers are threads; in the simulator they are objects of one. */
#ifndef TM_ACTORS_NODE_H
#define TM_ACTORS_NODE_H

#include "actors/directory.h"
#include "actors/dispatch.h"
#include "actors/incarnation.h"
#include "actors/link_plan.h"
#include "runtime/counters.h"

#include <stdatomic.h>

#define TM_NODE_PROTOCOL 4 /* version of everything nodes say to each other */

#define TM_LINK_FIGURES    14 /* struct tm_links_figures */
#define TM_LINK_IN_FIGURES 5  /* struct tm_link_in_counts */

/* How clients reach a node, as CLUSTER SLOTS shows it. */
struct tm_node_address {
    char ip[64];
    uint16_t port;         /* shared by its workers */
    uint16_t worker_port0; /* worker w's own is worker_port0 + w */
};

struct tm_link_site;
struct tm_link_known;

struct tm_node {
    /* Set before the workers start. */
    unsigned self;                 /* this node's number in the topology's list */
    unsigned workers;              /* of this node */
    uint64_t boot;                 /* random, of this process */
    uint64_t cluster_hash;         /* of the cluster's name: frames of others are dropped */
    struct tm_directory_spec spec; /* the nodes as they are numbered, and what to create */
    struct tm_directory_spec file; /* what the topology file says, for reports */
    struct tm_node_address address[TM_NODES_MAX];
    /* The other clusters of the file (actors/link_way.h), and this node's number among the nodes of
     * all; site_count 0: there are none, or links do not reach this node. */
    unsigned block, site_count;
    const struct tm_link_site *sites;
    struct tm_link_known *known;
    struct tm_link_base link_base; /* where linked clusters are; no address: this machine */

    /* Set by worker 0 before `running`. */
    uint64_t disk_id;
    uint64_t incarnation;
    struct tm_restored restored;            /* what the data directory says of copies put back */
    struct tm_directory *_Atomic directory; /* tm_node_take, tm_node_directory */
    struct tm_directory *retired;           /* the one before, until every worker has taken it */
    struct tm_link_plan *_Atomic links;     /* what the directory says of links: tm_node_links */
    struct tm_link_plan *retired_links;
    _Atomic uint64_t taken[TM_WORKERS_MAX]; /* the version that the worker goes by; 0: none yet */
    _Atomic bool running;                   /* the cluster exists and this node is part of it */

    /* By every worker: how many have opened their logs, and do without older generations. */
    _Atomic uint32_t logs_open, logs_moved;
    _Atomic bool logs_noted; /* by worker 0: the data directory says that all logs are there */

    /* What INFO counts from: the node's values at the last CONFIG RESETSTAT.  By any worker. */
    _Atomic uint64_t counted_from[TM_COUNTER_COUNT];

    /* By each worker, of each of links->out: struct tm_links_figures (actors/links.h). */
    _Atomic uint64_t link_figures[TM_LINKS_MAX][TM_WORKERS_MAX][TM_LINK_FIGURES];
    /* And of each of links->in: struct tm_link_in_counts (actors/link_in.h). */
    _Atomic uint64_t link_in_figures[TM_LINKS_MAX][TM_WORKERS_MAX][TM_LINK_IN_FIGURES];

    /* By whoever hears of it. */
    _Atomic uint8_t peer_workers[TM_NODES_MAX]; /* 0: not known yet */
    _Atomic bool peer_alive[TM_NODES_MAX];

    /* term << 8 | node + 1, 0: nobody known; partitions + 1 entries. */
    _Atomic uint64_t *leader;
    _Atomic uint64_t epoch; /* grows with each change of leader, aliveness or worker count */
};

/* Allocates the leader table and reads the links; directory is taken over.  TM_ERR_NOMEM. */
enum tm_err tm_node_run(struct tm_node *n, struct tm_directory *directory);
void tm_node_free(struct tm_node *n);

/* The newest directory, for that worker to go by until it takes it again: at the beginning of its
 * turn.  The node runs. */
const struct tm_directory *tm_node_take(struct tm_node *n, unsigned worker);

/* The links, for a worker to go by as long as by the directory it took just before: of that
 * version, or of the next one.  A directory whose lines this build does not understand has none,
 * and says why. */
static inline const struct tm_link_plan *tm_node_links(const struct tm_node *n)
{
    return atomic_load_explicit(&n->links, memory_order_acquire);
}

/* Worker 0: d is the next version, and is taken over.  TM_ERR_AGAIN: some worker has not taken the
 * present one yet, or there is no memory. */
enum tm_err tm_node_publish(struct tm_node *n, struct tm_directory *d);

/* Worker 0: the newest. */
static inline const struct tm_directory *tm_node_directory(const struct tm_node *n)
{
    return atomic_load_explicit(&n->directory, memory_order_relaxed);
}

/* Notes a leader if the term is not older than what is known.  True if that changed something. */
bool tm_node_set_leader(struct tm_node *n, uint32_t partition, unsigned node, uint64_t term);

/* Where the leader of a partition is; node TM_NODES_MAX: not known. */
struct tm_place tm_node_leader(const struct tm_node *n, uint32_t partition);

/* The worker of `node` that owns the partition; 0 while the node's count is not known. */
static inline unsigned tm_node_worker_of(const struct tm_node *n, unsigned node, uint32_t partition)
{
    unsigned workers = node == n->self
                           ? n->workers
                           : atomic_load_explicit(&n->peer_workers[node], memory_order_relaxed);
    return workers > 1 ? partition % workers : 0;
}

/* Notes what is known of another node: its worker count (0: not known, keeps what was) and whether
 * its process lives.  Moves the epoch.  Any worker. */
void tm_node_set_peer(struct tm_node *n, unsigned node, unsigned workers, bool alive);

#endif
