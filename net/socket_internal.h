/* socket_internal.h: what the parts of net/socket.h share: socket.c (hub and listeners),
 * socket_conn.c (a connection's life and its input), socket_out.c (output).
 *
 * A connection that needs anything done later is put on the hub's todo list; the hub's poll takes
 * the list and lets each connection attend to what its state asks for (tm_conn_attend).  That is
 * the only place from which a connection is released. */
#ifndef TM_NET_SOCKET_INTERNAL_H
#define TM_NET_SOCKET_INTERNAL_H

#include "net/socket.h"

#define TM_CHUNK_BYTES 4096

enum tm_conn_state {
    TM_CONN_OPENING,  /* connect is under way */
    TM_CONN_OPEN,     /* both ways */
    TM_CONN_DRAINING, /* closing: output still leaves, input is dropped */
    TM_CONN_CLOSING   /* shut down; released when the kernel holds none of its ops */
};

/* A piece of output; also the message header of a send that gathers several (see msg). */
struct tm_chunk {
    struct tm_chunk *next;
    uint32_t used;
    uint32_t pad;
    uint8_t data[TM_CHUNK_BYTES - 16];
};
TM_STATIC_ASSERT(sizeof(struct tm_chunk) == TM_CHUNK_BYTES, "chunks are pages");

/* Input that came while reading was paused; also the address of a connect under way. */
struct tm_held {
    struct tm_held *next;
    uint32_t len;
    uint8_t data[];
};

struct tm_conn {
    struct tm_socket_hub *hub;
    struct tm_conn *prev; /* in hub->conns or hub->draining; in hub->idle by next alone */
    struct tm_conn *next;
    struct tm_conn *next_todo;
    struct tm_conn *next_out;
    struct tm_conn *next_starved;
    struct tm_uring_op in_op;  /* connect, then receive */
    struct tm_uring_op out_op; /* send */
    struct tm_socket_handler handler;
    void *user;
    uint64_t id;
    struct tm_chunk *out_head;
    struct tm_chunk *out_tail;
    struct tm_chunk *msg; /* header and vector of the send under way */
    struct tm_held *held_head;
    struct tm_held *held_tail;
    const char *reason;
    uint64_t linger_until; /* DRAINING */
    uint32_t out_bytes;    /* not yet sent */
    uint32_t out_sent;     /* of out_head */
    int errnum;
    int fd;
    enum tm_conn_state state;
    bool paused;
    bool ended;      /* the peer will send no more */
    bool reading;    /* the kernel holds in_op */
    bool cancelling; /* and was asked to let go */
    bool sending;    /* the kernel holds out_op */
    bool full;       /* a send was refused: the owner waits for drained */
    bool in_todo;
    bool in_out;
    bool in_starved;
};

struct tm_listener {
    struct tm_socket_hub *hub;
    struct tm_listener *next;
    struct tm_uring_op op;
    struct tm_socket_handler handler;
    const char *full_text;
    uint64_t retry_at; /* accepting is paused until then */
    int fd;
    bool armed;
    bool closing;
    bool cancelling;
};

struct tm_conn_list {
    struct tm_conn *head;
    struct tm_conn *tail;
};

/* Memory taken from the heap in steps and given back when the hub is deleted. */
struct tm_block {
    struct tm_block *next;
    _Alignas(16) uint8_t data[];
};

struct tm_socket_hub {
    struct tm_socket_config config;
    struct tm_socket_stats stats;
    struct tm_worker *worker; /* NULL before start */
    bool stopping;
    struct tm_uring_bufs bufs;
    struct tm_listener *listeners;
    struct tm_conn_list conns;
    struct tm_conn_list draining; /* by linger_until, earliest first */
    struct tm_conn *idle;         /* tm_conns without a connection */
    struct tm_conn *todo;
    struct tm_conn *out; /* output to be sent at the end of this turn */
    struct tm_conn *starved;
    struct tm_chunk *chunks; /* free ones */
    uint32_t chunks_made;
    uint32_t chunks_max;
    uint64_t held_bytes;
    uint64_t next_id;
    struct tm_block *blocks;
};

/* size bytes that live as long as the hub; NULL if memory is short. */
void *tm_socket_block(struct tm_socket_hub *hub, size_t size);

/* A connection on fd, which it owns from now on, in this state; NULL if memory is short. */
struct tm_conn *tm_conn_new(struct tm_socket_hub *hub, int fd,
                            const struct tm_socket_handler *handler, enum tm_conn_state state);

/* Closes its descriptor and gives back what it holds; no callback, no kernel op left. */
void tm_conn_release(struct tm_conn *conn);

void tm_conn_todo(struct tm_conn *conn);

/* Does what is due.  From the hub's poll. */
void tm_conn_attend(struct tm_conn *conn);

/* struct tm_uring's coming, of the hub that accepts for a handler with such a callback. */
void tm_socket_coming(void *self, struct io_uring_cqe *const *cqes, unsigned count);

/* Arms or cancels the receive, as the state wants it. */
void tm_conn_settle_reading(struct tm_conn *conn);

/* To CLOSING: output and held input are dropped. */
void tm_conn_fail(struct tm_conn *conn, const char *reason, int errnum);

/* DRAINING if output waits, else CLOSING. */
void tm_conn_end(struct tm_conn *conn, const char *reason, int errnum);

/* Prepares the sends of all connections with output. */
void tm_socket_out_flush(struct tm_socket_hub *hub);

/* Lets those go on that a lack of chunks had stopped. */
unsigned tm_socket_out_unstarve(struct tm_socket_hub *hub);

/* Gives back the output of a connection that is released. */
void tm_socket_out_drop(struct tm_conn *conn);

/* The completion of out_op. */
void tm_socket_out_done(struct tm_uring_op *op, int32_t res, uint32_t cqe_flags);

/* Says drained to an owner that waits for it, if there is room now. */
void tm_socket_out_tell(struct tm_conn *conn);

#endif
