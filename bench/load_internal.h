/* load_internal.h: what the files of a load run share: the run, its connections. */
#ifndef TM_BENCH_LOAD_INTERNAL_H
#define TM_BENCH_LOAD_INTERNAL_H

#include "bench/load.h"
#include "bench/slot_map.h"
#include "net/resp.h"
#include "runtime/uring.h"

/* An operation under way. */
struct tm_pending {
    struct tm_due due;
    bool ends_batch; /* --then follows it */
    bool failed;     /* its own reply was an error */
};

struct tm_load_conn {
    struct tm_load *load;
    struct tm_uring_op receive, send;
    int fd; /* negative: lost; -1 - fd is then still open */
    uint16_t owner;
    bool sending, ready, dirty; /* ready, dirty: stands in that queue of the load */
    bool awaits_then;           /* the next reply answers --then */
    bool deaf;                  /* no receive is armed */
    uint8_t *out;               /* requests; those before `sent` are gone */
    size_t out_len, sent;
    uint8_t *in; /* the beginning of a reply that is not all there */
    size_t in_len, in_cap;
    struct tm_resp_skipper skipper;
    struct tm_pending *pending; /* a ring of spec->pipeline */
    uint32_t head, count;       /* under way */
    uint32_t answered;          /* of them, whose own reply is there */
};

struct tm_load {
    const struct tm_load_spec *spec;
    struct tm_load_result *result;
    struct tm_workload *work;
    struct tm_uring uring;
    struct tm_uring_bufs bufs;
    struct tm_slot_map *map; /* NULL: no cluster */
    struct tm_load_conn *conns;
    struct tm_load_conn **ready, **dirty; /* a ring, and a list */
    uint32_t ready_head, ready_count, dirty_count;
    uint32_t open;
    struct tm_pending *pendings; /* of all connections */
    uint8_t *outs;
    size_t out_cap; /* of each connection */
    size_t command_max, then_len;
    uint8_t then[TM_LOAD_THEN_MAX * 8];
    int64_t then_needs; /* least integer that --then must be answered with; INT64_MIN: any */
    uint64_t under_way; /* operations */
    bool stopping;      /* the run is over: what the sockets say no longer counts */
};

/* Connects spec->connections sockets (and asks for the slots first). */
enum tm_err tm_load_connect(struct tm_load *l, char *why);

/* Closes sockets, frees what tm_load_connect made.  The io_uring is closed before. */
void tm_load_disconnect(struct tm_load *l);

/* Makes the index-th connection from a connected socket, ready for operations. */
void tm_load_conn_init(struct tm_load_conn *c, struct tm_load *l, uint32_t index, int fd,
                       uint16_t owner);

/* Queues one batch of operations on c, the first being `due`; further ones of the batch are taken
 * from the schedule. */
void tm_load_conn_put(struct tm_load_conn *c, struct tm_due due, uint64_t now_ns);

/* True if c has room for a batch. */
bool tm_load_conn_has_room(const struct tm_load_conn *c);

/* Puts c into the ready queue if it has room and is not there. */
void tm_load_conn_offer(struct tm_load_conn *c);

/* Puts c into the list of those that tm_load_conn_flush is due for. */
void tm_load_conn_mark(struct tm_load_conn *c);

/* Begins to send what c has queued, and to receive if it does not.  False if the io_uring is full:
 * c stays marked. */
bool tm_load_conn_flush(struct tm_load_conn *c);

#endif
