/* request.h: what a session asks of a partition's leader, and the answer.
 *
 * A session hands a tm_request to its router (actors/router.h); the router finds the leader: same
 * worker, other worker, other node.  The answer comes back by tm_sessions_answer with the same id,
 * possibly before submit returned.  Every request is answered exactly once; when the leader was
 * lost on the way the answer says whether the outcome is unknown. */
#ifndef TM_ACTORS_REQUEST_H
#define TM_ACTORS_REQUEST_H

#include "runtime/base.h"

/* How long whoever sent a request waits for its answer, beside the time that a WAIT asks for. */
#define TM_REQUEST_PATIENCE_MS 5000

enum tm_request_kind {
    TM_REQUEST_EXEC,    /* one command */
    TM_REQUEST_MULTI,   /* EXEC of a transaction: all commands, one record; the reply is the array.
                           watch_token != 0: only if that watch is clean, else the null array
                           (count may be 0 then).  The token is spent, whatever the answer */
    TM_REQUEST_WATCH,   /* argv of one command = the keys; watch_token = an earlier token to extend,
                           or 0; the answer's token is to be used from then on */
    TM_REQUEST_UNWATCH, /* forget watch_token; not answered */
    TM_REQUEST_WAIT     /* answer when `copies` data copies, the leader's included, hold record
                           (index, term) durably, or at deadline: tm_answer.copies says how many
                           do.  At once, with NOTFOUND and none, if the leader's log has not it */
};

/* One command of a request.  The words are borrowed: they live until submit returns. */
struct tm_request_command {
    const struct tm_bytes *argv;
    unsigned argc;
};

struct tm_request {
    uint64_t id; /* the session's own; not 0 */
    enum tm_request_kind kind;
    uint32_t partition;
    uint8_t resp; /* 2 or 3: how the reply is to be written */
    const struct tm_request_command *commands;
    unsigned count;
    uint64_t cursor; /* SCAN */
    uint64_t watch_token;
    uint64_t index;      /* WAIT */
    uint64_t term;       /* WAIT: as tm_answer.term said; 0: whatever record has that index */
    uint32_t copies;     /* WAIT */
    uint64_t timeout_ms; /* WAIT; 0 = no limit */
};

enum tm_answer_status {
    TM_ANSWER_DONE,    /* reply holds RESP bytes (may be an error reply of the command) */
    TM_ANSWER_REFUSED, /* nothing was done and nothing will be: err says why (no leader in time,
                          disk full, out of memory); may be repeated safely */
    TM_ANSWER_UNKNOWN, /* the leader was lost after it took a write: it may or may not have
                          happened.  Never repeated by us. */
    TM_ANSWER_WAITS    /* not the answer, which comes when another cluster has the write, too:
                          patience begins anew.  Ends in the dispatch. */
};

struct tm_answer {
    uint64_t id;
    enum tm_answer_status status;
    enum tm_err err;
    struct tm_bytes reply; /* RESP, borrowed for the call */
    uint64_t index;        /* of the record the request wrote, 0 if it wrote none */
    uint64_t term;         /* of that record, in eventual mode: a failover may cut it off, and put
                              another one at its index; else 0 */
    uint64_t cursor;       /* SCAN: where to go on in this partition, 0 = done; below 2^48 */
    uint64_t watch_token;  /* WATCH */
    uint32_t copies;       /* WAIT */
};

#endif
