/* fabric_tcp_internal.h: what the two files of the tcp fabric share: fabric_tcp.c (the table, the
 * timers, making it) and fabric_tcp_link.c (connections, greetings, frames received). */
#ifndef TM_NET_FABRIC_TCP_INTERNAL_H
#define TM_NET_FABRIC_TCP_INTERNAL_H

#include "net/fabric_tcp.h"
#include "net/socket.h"

#define TCP_PREFIX     4  /* bytes of a frame's length */
#define TCP_STRANGERS  64 /* accepted and not greeted, beside one for each pair */
#define TCP_CONNECT_NS TM_SECONDS(1)
#define TCP_GREET_NS   TM_SECONDS(2)
#define TCP_NEVER      UINT64_MAX

enum tcp_link_state {
    LINK_CONNECTING, /* by us: -> GREETING, GONE */
    LINK_GREETING,   /* waits for the other's greeting: -> OPEN, GONE */
    LINK_OPEN,       /* frames pass: -> GONE */
    LINK_GONE        /* the connection is being closed; final */
};

struct tcp_pair;

struct tcp_link {
    struct tcp_link *prev, *next; /* of all links */
    struct tm_conn *conn;
    struct tcp_pair *pair; /* NULL: accepted, and not known yet */
    enum tcp_link_state state;
    uint64_t since; /* when it came to its state */
    size_t fill;    /* bytes in part */
    uint8_t
        part[TCP_PREFIX + TM_FABRIC_TCP_FRAME]; /* of a greeting or a frame that is incomplete */
};

struct tcp_pair {
    struct tcp_peer *peer;
    unsigned worker;       /* of the peer */
    struct tcp_link *link; /* that frames go by; NULL */
    bool wanted;           /* a frame was to be sent, and it is on us to connect */
    uint64_t retry_at;
    uint64_t pause; /* before the try after the next */
};

struct tcp_peer {
    struct tm_fabric_tcp_peer cfg;
    unsigned node;
    unsigned open;          /* links of state OPEN */
    struct tcp_pair *pairs; /* cfg.workers of them */
};

struct tcp {
    struct tm_fabric fabric;
    struct tm_fabric_tcp_config cfg;
    struct tm_fabric_sink sink;
    struct tm_worker *worker;
    struct tm_socket_hub *hub;
    struct tm_counters *counters;
    struct tcp_link *links; /* in use */
    struct tcp_link *spare; /* not in use, by next */
    unsigned strangers;     /* links without a pair */
    uint64_t wake_at;       /* when attend has something to do */
    bool listening;         /* listen_fd is the hub's */
    bool stopped;
    struct tcp_link *all_links; /* memory of all */
    struct tcp_pair *all_pairs;
    struct tcp_peer peers[TM_NODES_MAX]; /* cfg.workers 0: no such node */
};

static inline void tm_tcp_count(const struct tcp *t, enum tm_counter own, enum tm_counter links,
                                uint64_t n)
{
    tm_counter_add(t->counters, t->cfg.links ? links : own, n);
}

static inline uint64_t tm_tcp_now(const struct tcp *t)
{
    return tm_ctx_now(&t->worker->ctx);
}

static inline void tm_tcp_wake_within(struct tcp *t, uint64_t at)
{
    t->wake_at = tm_min_u64(t->wake_at, at);
}

/* The pair of this worker and that one; NULL: there is no such. */
struct tcp_pair *tm_tcp_find_pair(struct tcp *t, unsigned node, unsigned worker);

/* What sockets of this fabric report to; valid as long as h. */
const struct tm_socket_handler *tm_tcp_handler(struct tcp *t, struct tm_socket_handler *h);

/* Begins a connection of the pair, which has no link; on failure it is tried again later. */
void tm_tcp_connect(struct tcp *t, struct tcp_pair *pair);

/* Ends a link of our own accord; it is freed when its connection is gone. */
void tm_tcp_link_abort(struct tcp *t, struct tcp_link *l, const char *reason);

/* Forgets a link without a word to its connection. */
void tm_tcp_link_free(struct tcp *t, struct tcp_link *l);

#endif
