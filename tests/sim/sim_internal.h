/* sim_internal.h: between the files of the simulated cluster.
 *
 *   sim_cluster.c  time: events, turns, drivers, watchers
 *   sim_node.c     a node: its world, start and end, what may be done to it
 *   sim_clock.c    its clocks
 *   sim_conn.c     connections of clients
 *   sim_rest.c     whether a cluster at rest is as it should be */
#ifndef TM_TESTS_SIM_SIM_INTERNAL_H
#define TM_TESTS_SIM_SIM_INTERNAL_H

#include "net/resp.h"
#include "runtime/counters.h"
#include "runtime/rng.h"
#include "tests/sim/sim_cluster.h"
#include "tests/sim/sim_hash.h"

#include <stdio.h>
#include <stdlib.h>

#define TM_SIM_DRIVERS_MAX  8
#define TM_SIM_WATCHERS_MAX 8

/* A message from another worker of the node. */
struct tm_sim_ring_item {
    struct tm_sim_ring_item *next;
    unsigned from;
    size_t len;
    uint8_t bytes[] __attribute__((aligned(8)));
};

struct tm_sim_worker {
    struct tm_sim *sim;
    struct tm_sim_node *node;
    unsigned number;
    struct tm_shard *shard;
    struct tm_ctx ctx;
    struct tm_counters *counters;
    struct tm_sim_ring_item *ring, **ring_end;
    size_t ring_bytes;
    bool awake, begun;   /* begun: its thread runs, tm_shard_start was called */
    uint64_t busy_until; /* its last turn takes till then */
    uint64_t deadline;   /* of the shard, as of its last turn; time of the cluster */
};

/* A machine's clocks. */
struct tm_sim_clock {
    uint64_t since, base; /* monotonic: at `since` it said `base`, */
    int64_t ppm;          /* runs so many millionths faster than the cluster's, */
    bool stopped;         /* or stands still */
    uint64_t wall_since;  /* wall clock: so far ahead then, */
    int64_t wall_ns;
    int64_t wall_ppm; /* and gains so many millionths */
};

struct tm_sim_node {
    struct tm_sim *sim;
    unsigned number, count; /* of workers */
    struct tm_sim_disk *disk;
    struct tm_datadir_identity identity;
    struct tm_node shared;
    struct tm_link_known known;
    struct tm_sim_worker workers[TM_SIM_WORKERS_MAX];
    bool up, paused, stopping, failed;
    struct tm_sim_clock clock;
    uint64_t slow_ns;    /* what a turn takes at most, beyond the cluster's */
    unsigned rings_full; /* of 100 messages between its workers */
    uint64_t ring_refusals;
    char why[512];
};

struct tm_sim_conn {
    struct tm_sim_conn *next;
    struct tm_sim *sim;
    struct tm_sim_worker *worker;
    struct tm_session *session; /* NULL: closed by the node */
    struct tm_sim_client client;
    uint8_t *in, *out; /* to the node; from it */
    size_t in_len, out_len, in_cap, out_cap;
    struct tm_resp_skipper skipper;
    uint64_t arrives;
    bool closing;
};

struct tm_sim {
    struct tm_sim_config config;
    unsigned file_partitions, file_copies; /* what the topology file says */
    bool file_eventual;
    struct tm_rng rng;
    uint64_t now;
    struct tm_sim_hash hash;
    struct tm_sim_disk_tally disks;
    struct tm_sim_node nodes[TM_SIM_NODES_MAX];
    struct tm_sim_wire *wire;
    struct tm_directory *directory;
    struct tm_sim_conn *conns;
    uint64_t conns_due; /* no connection has anything to do before */
    struct tm_sim_driver drivers[TM_SIM_DRIVERS_MAX];
    unsigned driver_count;
    struct tm_sim_watcher watchers[TM_SIM_WATCHERS_MAX];
    unsigned watcher_count;
    unsigned fatal;
    unsigned wrongs;
    char wrong[1024];
    FILE *log;
};

extern const char *const tm_sim_names[TM_SIM_NODES_MAX];

/* Something was handed to the worker: it takes a turn as soon as it can. */
static inline void tm_sim_wake(struct tm_sim_worker *w)
{
    w->awake = true;
}

/* A node's monotonic time, and the first moment at which it is at least `local`. */
uint64_t tm_sim_node_time(const struct tm_sim_node *n);
uint64_t tm_sim_time_of(const struct tm_sim_node *n, uint64_t local);
uint64_t tm_sim_node_wall(const struct tm_sim_node *n); /* ms */

/* Makes what a node needs before its first start. */
void tm_sim_node_init(struct tm_sim *sim, unsigned node);
void tm_sim_node_fini(struct tm_sim_node *n);

/* The worker's thread begins, and opens its log if the cluster exists already; false: n->why. */
bool tm_sim_begin(struct tm_sim_worker *w);

/* Ends nodes that reported a fatal error, as their processes do. */
void tm_sim_end_failed(struct tm_sim *sim);

/* What clients sent reaches the sessions; connections that are over end. */
void tm_sim_conns_step(struct tm_sim *sim);
void tm_sim_conns_reap(struct tm_sim *sim);
uint64_t tm_sim_conns_due(const struct tm_sim *sim);

/* Takes the replies of this worker's sessions. */
void tm_sim_conns_pump(struct tm_sim_worker *w);

/* The node's process is over: so are its connections. */
void tm_sim_conns_close(struct tm_sim_node *n);
void tm_sim_conns_free(struct tm_sim *sim);

#endif
