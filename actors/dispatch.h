/* dispatch.h: takes the requests of one worker's sessions to the leaders of their partitions.
 *
 * The happy path: the leader is on this worker, the request is handed to its partition by a call;
 * or it is elsewhere, the request goes out as one message and its answer comes back as one.
 *
 * What can go wrong.  Nobody leads: the request waits in order, until a leader is known or
 * `patience_ms` is over (REFUSED, NOTLEADER).  The one asked is not the leader any more, and did
 * nothing: the request waits for the next leader.  The leader was lost after the request left: a
 * request that only reads is asked again, one that may have written is answered UNKNOWN and never
 * repeated.  The way there is full: the request waits.  Too many requests: submit says FULL.  The
 * leader says that a write waits for another cluster (WAITS): its patience begins anew.
 *
 * Order.  Requests of one session to one partition are evaluated in the order of their submission:
 * while requests are under way to one leader, none is sent to another; one that came back undone
 * though a later one of its session was taken ends as REFUSED, NOTLEADER.
 *
 * Identity.  A request goes out under an id that no other dispatch of this worker uses, nor one
 * before a restart: a leader may answer a process that is long gone.
 *
 * Pure; one worker's thread. */
#ifndef TM_ACTORS_DISPATCH_H
#define TM_ACTORS_DISPATCH_H

#include "actors/request.h"
#include "net/fabric.h"
#include "runtime/ctx.h"

struct tm_dispatch;

struct tm_place {
    uint8_t node; /* TM_NODES_MAX: nobody is known */
    uint8_t worker;
};

struct tm_dispatch_ops {
    void *host;
    /* Who leads the partition as far as is known here. */
    struct tm_place (*leader)(void *host, uint32_t partition);
    /* The leader is this worker: evaluates rq, whose id is the dispatch's own; answers by
     * tm_dispatch_answer, possibly before it returns, and does not look at rq after that. */
    void (*local)(void *host, const struct tm_request *rq);
    /* Sends an encoded request; FULL or CLOSED: not sent. */
    enum tm_err (*remote)(void *host, struct tm_place to, struct tm_bytes request);
    /* The answer for a session; rq ids are the session's own again. */
    void (*answer)(void *host, uint64_t session, const struct tm_answer *answer);
};

struct tm_dispatch_config {
    const struct tm_ctx *ctx;
    uint32_t partitions;
    struct tm_place self;
    uint32_t calls;       /* requests under way at once, 1..1 << 20 */
    uint64_t bytes;       /* of requests kept for sending or repeating */
    uint32_t patience_ms; /* how long a request waits for a leader, or for its answer */
    uint32_t handover_ms; /* after a change of leader: how long the old one may still answer */
    struct tm_dispatch_ops ops;
};

/* NULL if memory is short. */
struct tm_dispatch *tm_dispatch_new(const struct tm_dispatch_config *config);
void tm_dispatch_free(struct tm_dispatch *d);

/* As tm_router.submit.  Words are copied if they are needed after the call.  An UNWATCH that cannot
 * leave at once is dropped. */
enum tm_err tm_dispatch_submit(struct tm_dispatch *d, uint64_t session,
                               const struct tm_request *rq);

/* An answer, with the dispatch's id: of this worker's partitions (from = self), or from a message
 * of another worker.  Unknown ids are ignored: late answers of a lost leader. */
void tm_dispatch_answer(struct tm_dispatch *d, struct tm_place from, const struct tm_answer *a);

/* ops.leader of this partition says something new. */
void tm_dispatch_leader_changed(struct tm_dispatch *d, uint32_t partition);

/* It may say something new of any partition. */
void tm_dispatch_leaders_changed(struct tm_dispatch *d);

/* The process behind `node` is gone or was replaced: nothing under way to it will be answered. */
void tm_dispatch_node_lost(struct tm_dispatch *d, unsigned node);

/* Timeouts, and what found its way full.  True if a submit that was FULL may be tried again. */
bool tm_dispatch_tick(struct tm_dispatch *d);

/* When tick is due; UINT64_MAX: nothing is under way, and no submit was answered FULL. */
uint64_t tm_dispatch_next_deadline(const struct tm_dispatch *d);

/* Requests under way, waiting ones included. */
uint32_t tm_dispatch_count(const struct tm_dispatch *d);

#endif
