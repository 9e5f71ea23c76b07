/* session.h: client connections: commands in, replies out, in order.
 *
 * A tm_sessions is the set of all client connections of one worker; a tm_session is one of them.
 * The worker owns the sockets: it gives received bytes to tm_session_input, takes bytes to send
 * from tm_session_output, and answers of partitions come by tm_sessions_answer.  A session parses,
 * answers local commands itself, hands the others to the router and sends the replies in the
 * order of the requests, whatever order the partitions answer in.
 *
 * Bounds.  At most limits.pipeline requests of a connection are under way; past that, past
 * limits.output_pause unsent bytes, or while the router is full, commands wait in the input buffer
 * and the session asks not to be read.  What is already on its way is still taken.  A client that
 * does not take its replies is closed after limits.stall_ms, or at limits.output_bytes; one that
 * announces more than the limits allow gets redis's error and is closed; all sessions of a worker
 * together never use more than limits.total_bytes: who needs more is closed.  Each closing by a
 * limit is one log line.  An idle session costs under 600 bytes.
 *
 * Pure: time, log and randomness through the ctx; no call blocks.  One worker's thread only. */
#ifndef TM_ACTORS_SESSION_H
#define TM_ACTORS_SESSION_H

#include "actors/request.h"
#include "actors/router.h"
#include "runtime/base.h"
#include "runtime/ctx.h"
#include "runtime/options.h"

struct tm_sessions;
struct tm_session;

/* What to send to a connection that tm_session_open refused, before it is closed. */
#define TM_SESSION_TOO_MANY "-ERR max number of clients reached\r\n"

struct tm_session_limits {
    uint32_t clients;          /* connections of this worker; may grow to twice what it was at
                                  creation */
    uint32_t pipeline;         /* requests of one connection under way, 1..65536 */
    uint32_t args;             /* words of one command, at least 16; fixed at creation */
    uint32_t query_bytes;      /* one command, and all commands queued by a MULTI */
    uint32_t max_entity_bytes; /* a word of a write command larger than this is refused at once */
    uint32_t output_pause;     /* unsent bytes at which reading pauses */
    uint32_t output_bytes;     /* unsent bytes at which a connection is closed; as replies get
                                  larger, fewer requests are under way, so that one that reads does
                                  not come near it */
    uint32_t stall_ms;         /* a connection whose output does not move so long is closed */
    uint64_t total_bytes;      /* all connections of this worker together */
};

/* The limits that the options of a node ask for, and those of a node that was told nothing. */
struct tm_session_limits tm_session_limits_of(const struct tm_options *options);
struct tm_session_limits tm_session_limits_default(void);

/* Running totals of one worker's sessions, for the counters. */
struct tm_sessions_stats {
    uint64_t clients; /* now */
    uint64_t connections;
    uint64_t rejected;
    uint64_t commands;
    uint64_t replies; /* that clients were to see */
    uint64_t errors;  /* error replies among them */
    uint64_t input_bytes;
    uint64_t output_bytes;
    uint64_t closed_by_limit;
    uint64_t memory; /* bytes now, of what total_bytes bounds */
};

/* ctx and router are borrowed and outlive it.  worker: 0..63, becomes part of the client ids.
 * NULL without memory. */
struct tm_sessions *tm_sessions_new(const struct tm_ctx *ctx, const struct tm_router *router,
                                    const struct tm_session_limits *limits, unsigned worker);

/* Closes all sessions that are left, and frees it. */
void tm_sessions_delete(struct tm_sessions *all);

/* The limits in force; may be changed at any time except those fixed at creation. */
struct tm_session_limits *tm_sessions_limits(struct tm_sessions *all);
const struct tm_sessions_stats *tm_sessions_stats(const struct tm_sessions *all);

/* An answer of a partition.  Its session may be gone: then it is dropped. */
void tm_sessions_answer(struct tm_sessions *all, uint64_t session, const struct tm_answer *answer);

/* A local command that a session of another worker of this node has asked of this one too
 * (router.ask).  The reply lives until the next call that runs a command. */
struct tm_bytes tm_sessions_serve(struct tm_sessions *all, const struct tm_request *request);

/* The router has room again: goes on with the sessions that found it full.  True if some still
 * wait. */
bool tm_sessions_resume(struct tm_sessions *all);

/* Looks at a slice of the sessions for output that does not move; call it some ten times a
 * second. */
void tm_sessions_tick(struct tm_sessions *all);

/* The next session whose output, wish to be read, or wish to be closed may have changed since it
 * was last returned; NULL: none.  The worker calls this to the end before it submits to the
 * kernel, so that the replies of one turn leave together. */
struct tm_session *tm_sessions_next_ready(struct tm_sessions *all);

struct tm_session_peer {
    char addr[56]; /* "ip:port" of the client, and of our end */
    char laddr[56];
    int fd; /* shown by CLIENT LIST only */
    /* It came by the worker's own port, the one that CLUSTER SLOTS names, and not by the port that
     * the node's workers share: DBSIZE, KEYS, SCAN, RANDOMKEY and FLUSHALL are then about the
     * partitions that this worker leads, as cluster clients expect of a member. */
    bool own_port;
};

/* A new connection; owner is the worker's own handle for its socket.  NULL: too many, or no
 * memory. */
struct tm_session *tm_session_open(struct tm_sessions *all, const struct tm_session_peer *peer,
                                   void *owner);

/* The connection is gone, or tm_session_wants_close said so: the session is not to be used any
 * more.  Requests under way go on; their answers are dropped. */
void tm_session_close(struct tm_session *s);

/* The client's id: never used twice by a node that runs. */
uint64_t tm_session_id(const struct tm_session *s);
void *tm_session_owner(const struct tm_session *s);

/* Received bytes; not needed after the call.  Bytes that arrive although the session asked not to
 * be read are kept, within limits.total_bytes. */
void tm_session_input(struct tm_session *s, const uint8_t *data, size_t len);

#define TM_SESSIONS_COMING 32 /* sessions in one call of tm_sessions_coming */

/* Input of these sessions, up to TM_SESSIONS_COMING, is to follow at once: has what it needs
 * fetched, as far as it is the beginning of a command with a key.  A hint; a session may be NULL.
 */
void tm_sessions_coming(const struct tm_sessions *all, const struct tm_session *const *sessions,
                        const struct tm_bytes *data, unsigned count);

/* The next unsent bytes, as up to max pieces; returns their number, 0 = nothing to send.  They
 * stay where they are until tm_session_sent or tm_session_close, also while more is appended. */
unsigned tm_session_output(const struct tm_session *s, struct tm_bytes *pieces, unsigned max);

/* The first len unsent bytes were taken by the kernel. */
void tm_session_sent(struct tm_session *s, size_t len);

/* False: do not read from the socket until it says true (tm_sessions_next_ready tells). */
bool tm_session_wants_input(const struct tm_session *s);

/* True: close the socket and the session now.  Pending output was sent, or is to be dropped. */
bool tm_session_wants_close(const struct tm_session *s);

#endif
