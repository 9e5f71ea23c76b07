/* socket.h: stream sockets on a worker's io_uring, TCP and unix: listeners, connections.
 *
 * A hub is one worker's set of connections.  Input comes by multishot receive into buffers shared
 * by all connections and is handed to a callback; output is copied into chunks of a shared pool
 * and leaves with at most one send per connection and turn.  An idle connection owns its tm_conn
 * and nothing else, so ten thousand are cheap.  All is bounded: connections, output per connection,
 * chunks in all.
 *
 * A connection's life: OPENING (connect only) → OPEN → DRAINING (tm_socket_close: output still
 * leaves, input is dropped) → CLOSING (waits for the kernel to let go) → closed callback, exactly
 * once, from poll; then the tm_conn is gone.  No callback runs from inside a call of the owner.
 *
 * All calls are made on the worker's thread. */
#ifndef TM_NET_SOCKET_H
#define TM_NET_SOCKET_H

#include "net/addr.h"
#include "runtime/worker.h"

struct tm_conn;
struct tm_listener;
struct tm_socket_hub;

#define TM_SOCKET_COMING 32 /* connections that one call of `coming` tells of */

/* What the owner of connections is told.  input and closed are needed, all others may be NULL. */
struct tm_socket_handler {
    void *host;

    /* Accepted or connected: usable from now on.  Sets what tm_conn_user returns, if it likes. */
    void (*opened)(void *host, struct tm_conn *conn);

    /* Bytes arrived.  data is valid during the call only and may be changed in place.  After
     * tm_socket_pause_reading within it no further call follows until resume. */
    void (*input)(void *host, struct tm_conn *conn, uint8_t *data, size_t len);

    /* This input of several connections (up to TM_SOCKET_COMING) is about to be handed out: time to
     * fetch what it needs.  A hint; some of it may not be. */
    void (*coming)(void *host, struct tm_conn *const *conns, const struct tm_bytes *data,
                   unsigned count);

    /* After a send was refused with TM_ERR_FULL: half of the output limit is free again. */
    void (*drained)(void *host, struct tm_conn *conn);

    /* The connection is gone; conn is invalid after the call.  reason is a fixed text: the owner's
     * of tm_socket_close, or "closed by peer", "connect failed" and the like; errnum is the errno
     * behind it or 0. */
    void (*closed)(void *host, struct tm_conn *conn, const char *reason, int errnum);
};

struct tm_socket_config {
    uint32_t max_connections; /* accepted and connected together; 0: 10000 */
    uint32_t recv_buffers;    /* power of two; 0: 256 */
    uint32_t recv_bytes;      /* of each; 0: 8 KiB */
    uint32_t output_limit;    /* bytes waiting per connection; 0: 1 MiB */
    uint32_t output_total;    /* bytes waiting in all, and of held input; 0: 64 MiB */
    uint32_t linger_ms;       /* what a closing connection has to take its output; 0: 1000 */
    uint16_t buffer_group;    /* number of the receive buffers, unique in the worker's ring */
};

struct tm_socket_stats {
    uint32_t open; /* connections, now */
    uint64_t accepted;
    uint64_t refused;       /* beyond max_connections */
    uint64_t accept_pauses; /* accept stopped for lack of descriptors or memory */
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t sends;
    uint64_t receives;
    uint64_t no_buffers; /* receives re-armed since all buffers were taken */
    uint64_t output_full;
    uint32_t output_chunks; /* in use, now */
};

/* Allocates a hub; it is an actor of phase TIMERS: add it with tm_worker_add(w,
 * tm_socket_hub_ops(), hub).  NULL if memory is short.  Any thread. */
struct tm_socket_hub *tm_socket_hub_new(const struct tm_socket_config *config);
const struct tm_actor_ops *tm_socket_hub_ops(void);

/* After the worker was joined or closed, which ends connections and listeners without a callback.
 */
void tm_socket_hub_delete(struct tm_socket_hub *hub);

/* Changes max_connections (above 0); those beyond it stay.  The worker's thread. */
void tm_socket_hub_limit(struct tm_socket_hub *hub, uint32_t max_connections);

/* The running counts, valid as long as the hub.  The worker's thread. */
const struct tm_socket_stats *tm_socket_hub_stats(const struct tm_socket_hub *hub);

/* Opens, binds and listens.  Any thread: accepts only once the worker runs and tm_socket_accept was
 * called. reuse_port lets the listeners of several workers share the port, and hides a port in use
 * (net/portlock.h). A port of 0 is chosen by the kernel and written back to addr.  Returns the
 * descriptor, or a negative errno. */
int tm_socket_bind(struct tm_addr *addr, bool reuse_port, int backlog);

/* Accepts on fd (of tm_socket_bind), which belongs to the hub from now on.  full_text is sent to
 * who is refused because max_connections are open; may be NULL, static.  handler is copied.  On a
 * lack of descriptors accepting pauses for 100 ms.  NULL if memory is short. */
struct tm_listener *tm_socket_accept(struct tm_socket_hub *hub, int fd,
                                     const struct tm_socket_handler *handler,
                                     const char *full_text);

/* Stops accepting and closes the descriptor; its connections stay.  The listener is gone. */
void tm_socket_unlisten(struct tm_listener *listener);

/* Starts connecting; opened or closed follows.  handler is copied.  TM_ERR_FULL: max_connections
 * are open; other errors: no socket. */
enum tm_err tm_socket_connect(struct tm_socket_hub *hub, const struct tm_addr *addr,
                              const struct tm_socket_handler *handler, void *user,
                              struct tm_conn **conn);

/* Copies the bytes to be sent at the end of this turn, all or nothing.
 * TM_ERR_FULL: they do not fit the connection's or the hub's limit now (drained will be called);
 * TM_ERR_TOOBIG: more than output_limit, they never will; TM_ERR_CLOSED: not OPEN. */
enum tm_err tm_socket_send(struct tm_conn *conn, const void *data, size_t len);
enum tm_err tm_socket_sendv(struct tm_conn *conn, const struct tm_bytes *pieces, unsigned count);

/* Bytes that the connection would take now, and bytes that wait to leave. */
size_t tm_socket_room(const struct tm_conn *conn);
size_t tm_socket_pending(const struct tm_conn *conn);

/* Stops reading: the kernel's buffer fills, then the peer's.  What was received already is kept and
 * handed out after resume, in a later turn.  Both may be called at any time. */
void tm_socket_pause_reading(struct tm_conn *conn);
void tm_socket_resume_reading(struct tm_conn *conn);

/* Closes after the waiting output has left, linger_ms at most.  reason is static text.  Further
 * calls have no effect. */
void tm_socket_close(struct tm_conn *conn, const char *reason);

/* Closes at once and drops the output. */
void tm_socket_abort(struct tm_conn *conn, const char *reason);

/* The owner's pointer of this connection. */
void tm_conn_set_user(struct tm_conn *conn, void *user);
void *tm_conn_user(const struct tm_conn *conn);

/* A number that this hub never gives twice, counted from 1. */
uint64_t tm_conn_id(const struct tm_conn *conn);

/* The addresses of both ends, as the kernel knows them: one system call each. */
void tm_conn_peer(const struct tm_conn *conn, struct tm_addr *addr);
void tm_conn_local(const struct tm_conn *conn, struct tm_addr *addr);
int tm_conn_fd(const struct tm_conn *conn);

#endif
