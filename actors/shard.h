/* shard.h: all that one worker of a node owns: its partitions, its log, its clients' sessions, its
 * channels to the other workers.
 *
 * The product's worker thread and the simulator run the very same object.  The host feeds it frames
 * (through the fabric's sink), messages of the node's other workers, client bytes (through
 * tm_shard_sessions) and disk completions (through ctx->disk), calls tm_shard_turn and
 * tm_shard_flush once a turn, and sleeps no longer than tm_shard_next_deadline.
 *
 * Life: new, set_fabric, start, turns, stop, (turns until tm_shard_stopped), free.  One thread. */
#ifndef TM_ACTORS_SHARD_H
#define TM_ACTORS_SHARD_H

#include "actors/link_way.h"
#include "actors/node.h"
#include "actors/post.h"
#include "actors/session.h"
#include "runtime/counters.h"
#include "runtime/options.h"
#include "storage/datadir.h"

struct tm_shard;

struct tm_shard_config {
    const struct tm_ctx *ctx;
    const struct tm_options *options; /* changed copies by tm_shard_options */
    struct tm_node *node;
    unsigned worker;
    /* Worker 0 only, else NULL: what the data directory says; outlives the shard. */
    struct tm_datadir_identity *identity;
    /* For every worker: the same, as of the start; read when the node runs. */
    const struct tm_datadir_identity *datadir;
    const char *version;   /* of the program; static */
    bool was_clean;        /* the last run of this data directory ended cleanly */
    enum tm_wal_sync sync; /* the faster one here */
    uint64_t memory_limit; /* bytes this worker's entities may take; 0: no limit */
    struct tm_session_limits limits;

    void *host;
    enum tm_err (*local)(void *host, unsigned worker, const struct tm_bytes *pieces,
                         unsigned count);
    /* The log failed for good, or the node may not run: the process has to end.  why is one line.
     */
    void (*fatal)(void *host, enum tm_err err, const char *why);
    /* INFO and CLIENT: what only the host knows; may be NULL. */
    void (*stats)(void *host, struct tm_router_stats *out);
    /* A counter's value over all workers of the node; NULL: this worker's own is shown. */
    uint64_t (*counter)(void *host, enum tm_counter which);
    enum tm_err (*option_set)(void *host, const struct tm_bytes *pairs, unsigned count,
                              unsigned *bad, char *why, size_t cap);
    void (*shutdown)(void *host);
};

/* NULL if memory is short. */
struct tm_shard *tm_shard_new(const struct tm_shard_config *config);

/* What to open this worker's fabric with, and the fabric. */
struct tm_fabric_sink tm_shard_sink(struct tm_shard *s);
void tm_shard_set_fabric(struct tm_shard *s, struct tm_fabric *fabric);

/* Who evaluates functions that are rules for conflicts. */
struct tm_link_functions {
    /* What the function of that text makes of two values; *out lives until the third call after.
     * Blocks the worker for a bounded time.  Anything but TM_OK: it gave no value. */
    enum tm_err (*call)(void *host, const char *function, struct tm_bytes a, struct tm_bytes b,
                        struct tm_bytes *out);
    void *host;
};

/* Copied; before the worker's first turn.  Without it functions give no values. */
void tm_shard_set_functions(struct tm_shard *s, const struct tm_link_functions *functions);

/* The same for the fabric of links; only if node->site_count is not 0. */
struct tm_fabric_sink tm_shard_link_sink(struct tm_shard *s);
void tm_shard_set_link_fabric(struct tm_shard *s, struct tm_fabric *fabric);

/* Says hello to the peers; where the cluster exists already, recovers and joins (blocks on the
 * disk).  why gets a line on failure. */
enum tm_err tm_shard_start(struct tm_shard *s, char *why, size_t why_size);

/* The clients of this worker. */
struct tm_sessions *tm_shard_sessions(struct tm_shard *s);

/* A message of another worker of this node, 8-aligned. */
void tm_shard_local(struct tm_shard *s, unsigned worker, struct tm_bytes message);

/* After the events of a turn were fed: acts on them; then ends the turn: log, frames. */
void tm_shard_turn(struct tm_shard *s);
void tm_shard_flush(struct tm_shard *s);
uint64_t tm_shard_next_deadline(const struct tm_shard *s);

/* The worker may sleep: nothing is left to be done in this turn. */
bool tm_shard_idle(const struct tm_shard *s);

/* Options have changed (live ones). */
void tm_shard_options(struct tm_shard *s, const struct tm_options *options);

/* Hands leadership away where it can, takes no more requests, writes the log's end.  Turns go on
 * until stopped says true, or the host loses patience. */
void tm_shard_stop(struct tm_shard *s);
bool tm_shard_stopped(const struct tm_shard *s);
void tm_shard_free(struct tm_shard *s);

/* Frees the memory and nothing else, as when the process dies: where a stop does not end, and for
 * the simulator.  The disk must have forgotten what was under way. */
void tm_shard_abandon(struct tm_shard *s);

/* Hands the leadership of a partition that is led here to that node.  TM_ERR_NOTFOUND: the
 * partition has no place here; further as tm_replica_transfer. */
enum tm_err tm_shard_transfer(struct tm_shard *s, uint32_t partition, unsigned node);

/* Begins a snapshot of a partition that is here, also if the log is not full.  False: not now. */
bool tm_shard_snapshot(struct tm_shard *s, uint32_t partition);

/* One partition on this worker, for status and tests. */
struct tm_shard_partition {
    uint32_t partition;
    const char *role; /* "LEADER", "FOLLOWER", "WITNESS", ... */
    unsigned leader;  /* node, or TM_NODES_MAX */
    uint64_t term, commit, last, applied;
    uint64_t last_term; /* of record `last` */
    unsigned node;      /* this one */
    /* The newest in-sync set known here: bit per node; 0: there is none. */
    uint64_t set_nodes, set_term, set_epoch;
    unsigned copies;  /* data copies it is meant to have */
    unsigned in_sync; /* leader only: of them, those taking part */
    bool ready;       /* leader: takes requests */
    bool faulty;      /* waits for repair */
    uint64_t entities;
    uint64_t state_hash;
};

/* The way to linked clusters, to be looked at; NULL: there are none. */
const struct tm_link_way *tm_shard_way(const struct tm_shard *s);

/* Calls visit for each partition of this worker, the system partition included. */
void tm_shard_partitions(struct tm_shard *s,
                         void (*visit)(void *arg, const struct tm_shard_partition *p), void *arg);

/* The partition itself, for whoever checks it: only to be looked at.  NULL: this worker has no part
 * in it, or does not run yet.  Valid until the shard is freed. */
struct tm_partition;
const struct tm_partition *tm_shard_partition(const struct tm_shard *s, uint32_t id);

#endif
