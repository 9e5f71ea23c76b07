/* router.h: all that a session needs of the node it runs on.
 *
 * One struct tm_router stands behind all sessions of a worker.  submit takes a request to the
 * leader of its partition, wherever that is; the rest answers questions about the node and the
 * cluster from what this worker knows at the moment.  The product's worker, the simulator and the
 * tests each fill in one.  Every function is called on the worker's thread and returns at once.
 *
 * Partitions are contiguous ranges of slots: partition = slot * partitions / 16384. */
#ifndef TM_ACTORS_ROUTER_H
#define TM_ACTORS_ROUTER_H

#include "actors/request.h"
#include "net/resp.h"
#include "runtime/base.h"
#include "runtime/crc16.h"

#define TM_MEMBER_NONE UINT32_MAX

static inline uint32_t tm_partition_of_slot(uint32_t slot, uint32_t partitions)
{
    return (uint32_t)((uint64_t)slot * partitions / TM_SLOTS);
}

/* The first slot of a partition; its last is the first of the next one, less one. */
static inline uint32_t tm_partition_first_slot(uint32_t partition, uint32_t partitions)
{
    return (uint32_t)(((uint64_t)partition * TM_SLOTS + partitions - 1) / partitions);
}

/* A member of the cluster as redis clients see it: one worker of one node.  Each has an id and a
 * port of its own; any of them takes any command. */
struct tm_router_member {
    char id[41];      /* 40 hex digits; the same for everyone, also after a restart */
    char ip[64];      /* what clients connect to: an address or a host name */
    uint16_t port;    /* the worker's own client port */
    const char *node; /* the node's name; static */
    unsigned worker;
    bool alive;
};

/* An option as CONFIG shows it. */
struct tm_router_option {
    const char *name; /* static */
    char value[256];  /* text; a longer one is cut */
};

/* X(field, unit): what INFO shows of the node.  Unknown ones stay 0. */
#define TM_ROUTER_STATS_LIST(X)                                                                    \
    X(pid, "")                                                                                     \
    X(uptime_ms, "ms")                                                                             \
    X(port, "")                                                                                    \
    X(workers, "")                                                                                 \
    X(clients, "")                                                                                 \
    X(clients_max, "")                                                                             \
    X(connections_received, "")                                                                    \
    X(connections_rejected, "")                                                                    \
    X(commands, "")                                                                                \
    X(net_input_bytes, "bytes")                                                                    \
    X(net_output_bytes, "bytes")                                                                   \
    X(clients_memory, "bytes")                                                                     \
    X(memory_used, "bytes")                                                                        \
    X(memory_rss, "bytes")                                                                         \
    X(memory_limit, "bytes")                                                                       \
    X(keys, "")                                                                                    \
    X(keys_expiring, "")                                                                           \
    X(expired_keys, "")                                                                            \
    X(keyspace_hits, "")                                                                           \
    X(keyspace_misses, "")                                                                         \
    X(partitions_led, "")                                                                          \
    X(partitions_held, "")                                                                         \
    X(partitions_degraded, "")                                                                     \
    X(replication_factor, "")                                                                      \
    X(wal_flushes, "")                                                                             \
    X(wal_bytes, "bytes")                                                                          \
    X(disk_full, "")                                                                               \
    X(cpu_user_us, "us")                                                                           \
    X(cpu_system_us, "us")

struct tm_router_stats {
#define X(field, unit) uint64_t field;
    TM_ROUTER_STATS_LIST(X)
#undef X
};

struct tm_router {
    void *host;
    uint32_t partitions; /* 1..16384, fixed */
    uint32_t self;       /* the index of this worker among the members, as of now */
    const char *cluster; /* the cluster's and this node's name */
    const char *node;
    const char *version; /* of tidemill */
    unsigned workers;    /* of this node, fixed */
    unsigned worker;     /* this one's number among them */

    /* Takes a request of one session to the leader of its partition, 0..partitions-1, or of the
     * system partition, which has the number behind them.  Everything it points to is
     * copied before submit returns.  TM_OK: it will be answered exactly once by
     * tm_sessions_answer(session, ...) (TM_REQUEST_UNWATCH: never); this answer may come before
     * submit returned, but no answer to another request; requests of one session to one partition
     * are evaluated in the order of their submission.  TM_ERR_FULL: no room now, nothing was taken;
     * the worker calls tm_sessions_resume when there is.  TM_ERR_TOOBIG: it will never fit. */
    enum tm_err (*submit)(void *host, uint64_t session, const struct tm_request *request);

    /* May be NULL.  Requests with these keys, at most TM_SESSIONS_COMING, are about to be
     * submitted: time to fetch what they need.  A hint. */
    void (*coming)(void *host, const struct tm_bytes *keys, unsigned count);

    /* Has another worker of this node (< workers) run a local command for one of our sessions
     * (tm_sessions_serve); the request is encoded (actors/request_wire.h), and answered once by
     * tm_sessions_answer, as with submit.  TM_ERR_NOMEM: it could not be sent. */
    enum tm_err (*ask)(void *host, unsigned worker, uint64_t session, struct tm_bytes request);

    /* Members are numbered from 0, node after node.  A worker keeps its number once the worker
     * counts of the nodes before its own are known; an id is for ever. */
    uint32_t (*member_count)(void *host);
    void (*member)(void *host, uint32_t index, struct tm_router_member *m);
    /* The member that leads the partition as far as is known here, or TM_MEMBER_NONE. */
    uint32_t (*leader)(void *host, uint32_t partition);
    /* Grows with each change of leadership or membership that this worker learns of. */
    uint64_t (*epoch)(void *host);

    /* The i-th option; false past the end. */
    bool (*option)(void *host, unsigned i, struct tm_router_option *out);
    /* Sets options given as `count` pairs of name and value: all or none.  TM_ERR_NOTFOUND: no such
     * option; TM_ERR_PERMISSION: not while running; TM_ERR_INVALID: why (at most cap - 1 bytes)
     * says what is wrong with the value; *bad is the pair. */
    enum tm_err (*option_set)(void *host, const struct tm_bytes *pairs, unsigned count,
                              unsigned *bad, char *why, size_t cap);
    /* The password clients must give, "" or NULL for none.  Lives for the call. */
    const char *(*password)(void *host);

    /* Connections of the whole node, this worker's as of now, others' as of a moment ago. */
    uint64_t (*clients)(void *host);
    /* Of the whole node; what other workers count may lag by some 100 ms. */
    void (*stats)(void *host, struct tm_router_stats *out);
    /* CONFIG RESETSTAT: what redis resets counts from now on. */
    void (*stats_reset)(void *host);
    /* The i-th counter as INFO tidemill shows it; false past the end.  name is static. */
    bool (*counter)(void *host, unsigned i, const char **name, uint64_t *value);

    /* The i-th link to or from another cluster as INFO links shows it ("target=cloud,streams=8,..."
     * or "source=factory,..."), ended by '\0'; false past the end.  NULL: there are none. */
    bool (*link)(void *host, unsigned i, char *text, size_t cap);

    /* Writes this worker's part of the answer to TIDEMILL LINKS: an array with a flat array of
     * names and values for each thing to be told (links_tell.c).  NULL: there are no links. */
    void (*links)(void *host, struct tm_resp_writer *w);

    /* TIDEMILL LINK and these words, at this worker: writes rows as above, or an error.  False:
     * there is no such order.  NULL: there are no links. */
    bool (*link_order)(void *host, const struct tm_bytes *words, unsigned count,
                       struct tm_resp_writer *w);

    /* Writes the answer to TIDEMILL PARTITIONS: an array with one flat array of names and values
     * for each replica of this worker. */
    void (*partitions_of)(void *host, struct tm_resp_writer *w);

    /* TIDEMILL DIRECTORY: what this node goes by, as names and values; an error before there is
     * one. */
    void (*directory)(void *host, struct tm_resp_writer *w);

    /* TIDEMILL RECOVER: this worker's copy of the partition goes on alone (tm_replica_recover);
     * writes OK or an error. */
    void (*recover)(void *host, uint32_t partition, struct tm_resp_writer *w);

    /* SHUTDOWN: the process ends cleanly, soon. */
    void (*shutdown)(void *host);
};

#endif
