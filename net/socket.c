/* socket.c: the hub and its listeners.
 *
 * The hub is an actor: completions arrive through the worker's ring (socket_conn.c, socket_out.c),
 * its poll attends to connections on the todo list, to listeners that paused and to closing
 * connections whose time is over; its flush sends.
 *
 * What can go wrong: no descriptor or memory for a new connection (accepting pauses, the connection
 * waits in the kernel's backlog), too many connections (the new one gets a line and is closed). */
#include "net/socket_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#define DEFAULT_CONNECTIONS  10000
#define DEFAULT_RECV_BUFFERS 256
#define DEFAULT_RECV_BYTES   ((uint32_t)TM_KIB(8))
#define DEFAULT_OUTPUT_LIMIT ((uint32_t)TM_MIB(1))
#define DEFAULT_OUTPUT_TOTAL ((uint32_t)TM_MIB(64))
#define DEFAULT_LINGER_MS    1000
#define ACCEPT_PAUSE_NS      TM_MS(100)
#define KEEPALIVE_S          300

/* --- the hub ---------------------------------------------------------------------------------- */

static void set_default(uint32_t *value, uint32_t otherwise)
{
    if (*value == 0)
        *value = otherwise;
}

struct tm_socket_hub *tm_socket_hub_new(const struct tm_socket_config *config)
{
    struct tm_socket_hub *hub = calloc(1, sizeof *hub);
    if (hub == NULL)
        return NULL;
    hub->config = *config;
    set_default(&hub->config.max_connections, DEFAULT_CONNECTIONS);
    set_default(&hub->config.recv_buffers, DEFAULT_RECV_BUFFERS);
    set_default(&hub->config.recv_bytes, DEFAULT_RECV_BYTES);
    set_default(&hub->config.output_limit, DEFAULT_OUTPUT_LIMIT);
    set_default(&hub->config.output_total, DEFAULT_OUTPUT_TOTAL);
    set_default(&hub->config.linger_ms, DEFAULT_LINGER_MS);
    hub->chunks_max = hub->config.output_total / TM_CHUNK_BYTES;
    TM_ASSERT(hub->chunks_max > 0);
    return hub;
}

void *tm_socket_block(struct tm_socket_hub *hub, size_t size)
{
    struct tm_block *block = malloc(sizeof *block + size);
    if (block == NULL)
        return NULL;
    block->next = hub->blocks;
    hub->blocks = block;
    return block->data;
}

static void release_list(struct tm_conn_list *list)
{
    while (list->head != NULL) {
        struct tm_conn *conn = list->head;
        conn->reading = conn->sending = conn->in_todo = conn->in_out = false;
        conn->msg = NULL;
        tm_conn_release(conn);
    }
}

void tm_socket_hub_delete(struct tm_socket_hub *hub)
{
    release_list(&hub->conns);
    release_list(&hub->draining);
    while (hub->listeners != NULL) {
        struct tm_listener *l = hub->listeners;
        hub->listeners = l->next;
        close(l->fd);
        free(l);
    }
    tm_uring_bufs_close(&hub->bufs);
    while (hub->blocks != NULL) {
        struct tm_block *block = hub->blocks;
        hub->blocks = block->next;
        free(block);
    }
    free(hub);
}

void tm_socket_hub_limit(struct tm_socket_hub *hub, uint32_t max_connections)
{
    TM_ASSERT(max_connections > 0);
    hub->config.max_connections = max_connections;
}

const struct tm_socket_stats *tm_socket_hub_stats(const struct tm_socket_hub *hub)
{
    return &hub->stats;
}

/* --- listeners -------------------------------------------------------------------------------- */

static int set_options(int fd, int family, bool reuse_port)
{
    int on = 1;
    int idle = KEEPALIVE_S;
    if (family == AF_UNIX)
        return 0;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0)
        return -errno;
    if (reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0)
        return -errno;
    /* Accepted connections inherit these: no system call for each. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    return 0;
}

int tm_socket_bind(struct tm_addr *addr, bool reuse_port, int backlog)
{
    int family = addr->sa.ss_family;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int rc = set_options(fd, family, reuse_port);
    if (rc == 0 &&
        (bind(fd, (struct sockaddr *)&addr->sa, addr->len) != 0 || listen(fd, backlog) != 0))
        rc = -errno;
    struct tm_addr bound = {.len = sizeof bound.sa};
    if (rc == 0 && family != AF_UNIX &&
        getsockname(fd, (struct sockaddr *)&bound.sa, &bound.len) == 0)
        *addr = bound;
    if (rc == 0)
        return fd;
    close(fd);
    return rc;
}

static void refuse(struct tm_listener *l, int fd)
{
    l->hub->stats.refused++;
    if (l->full_text != NULL) {
        ssize_t n = send(fd, l->full_text, strlen(l->full_text), MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)n; /* it may be gone already */
    }
    close(fd);
}

static void pause_accepting(struct tm_listener *l)
{
    l->hub->stats.accept_pauses++;
    l->retry_at = tm_ctx_now(&l->hub->worker->ctx) + ACCEPT_PAUSE_NS;
}

static void accepted(struct tm_listener *l, int fd)
{
    struct tm_socket_hub *hub = l->hub;
    if (hub->stats.open >= hub->config.max_connections) {
        refuse(l, fd);
        return;
    }
    struct tm_conn *conn = tm_conn_new(hub, fd, &l->handler, TM_CONN_OPEN);
    if (conn == NULL) {
        close(fd);
        pause_accepting(l);
        return;
    }
    hub->stats.accepted++;
    if (conn->handler.opened != NULL)
        conn->handler.opened(conn->handler.host, conn);
    tm_conn_settle_reading(conn);
}

static bool out_of_resources(int32_t res)
{
    return res == -EMFILE || res == -ENFILE || res == -ENOMEM || res == -ENOBUFS;
}

static void accept_done(struct tm_uring_op *op, int32_t res, uint32_t cqe_flags)
{
    struct tm_listener *l = TM_CONTAINER_OF(op, struct tm_listener, op);
    if ((cqe_flags & IORING_CQE_F_MORE) == 0)
        l->armed = l->cancelling = false;
    if (res >= 0 && (l->closing || l->hub->stopping))
        close(res);
    else if (res >= 0)
        accepted(l, res);
    else if (out_of_resources(res))
        pause_accepting(l);
}

struct tm_listener *tm_socket_accept(struct tm_socket_hub *hub, int fd,
                                     const struct tm_socket_handler *handler, const char *full_text)
{
    TM_ASSERT(handler->input != NULL && handler->closed != NULL);
    struct tm_listener *l = calloc(1, sizeof *l);
    if (l == NULL)
        return NULL;
    *l = (struct tm_listener){.hub = hub,
                              .next = hub->listeners,
                              .op.done = accept_done,
                              .handler = *handler,
                              .full_text = full_text,
                              .fd = fd};
    hub->listeners = l;
    return l;
}

void tm_socket_unlisten(struct tm_listener *listener)
{
    listener->closing = true;
}

/* True if it did something; *l may be freed and unlinked. */
static bool attend_listener(struct tm_socket_hub *hub, struct tm_listener **link)
{
    struct tm_listener *l = *link;
    struct tm_uring *uring = &hub->worker->uring;
    if (l->closing && l->armed) {
        if (l->cancelling)
            return false;
        l->cancelling = tm_uring_cancel(uring, &l->op);
        return true;
    }
    if (l->closing) {
        *link = l->next;
        close(l->fd);
        free(l);
        return true;
    }
    if (l->armed || tm_ctx_now(&hub->worker->ctx) < l->retry_at)
        return false;
    struct io_uring_sqe *sqe = tm_uring_sqe(uring, &l->op);
    if (sqe != NULL) {
        io_uring_prep_multishot_accept(sqe, l->fd, NULL, NULL, SOCK_CLOEXEC);
        l->armed = true;
        if (l->handler.coming != NULL) {
            uring->coming_host = hub;
            uring->coming = tm_socket_coming;
        }
    }
    return true;
}

static unsigned attend_listeners(struct tm_socket_hub *hub)
{
    unsigned count = 0;
    for (struct tm_listener **link = &hub->listeners; *link != NULL;) {
        struct tm_listener *l = *link;
        count += attend_listener(hub, link);
        if (*link == l)
            link = &l->next;
    }
    return count;
}

/* --- the actor -------------------------------------------------------------------------------- */

static enum tm_err hub_start(void *self, struct tm_worker *worker, char *why, size_t why_len)
{
    struct tm_socket_hub *hub = self;
    hub->worker = worker;
    return tm_uring_bufs_open(&hub->bufs, &worker->uring, hub->config.buffer_group,
                              hub->config.recv_buffers, hub->config.recv_bytes, why, why_len);
}

/* The ring is closed after this: from now on completions only give back what they hold. */
static void hub_stop(void *self)
{
    struct tm_socket_hub *hub = self;
    hub->stopping = true;
}

static unsigned attend_all(struct tm_socket_hub *hub)
{
    unsigned count = 0;
    struct tm_conn *list = hub->todo;
    hub->todo = NULL;
    while (list != NULL) {
        struct tm_conn *conn = list;
        list = conn->next_todo;
        conn->in_todo = false;
        tm_conn_attend(conn);
        count++;
    }
    return count;
}

static unsigned end_lingering(struct tm_socket_hub *hub)
{
    unsigned count = 0;
    uint64_t now = tm_ctx_now(&hub->worker->ctx);
    struct tm_conn *conn;
    while ((conn = hub->draining.head) != NULL && conn->linger_until <= now) {
        tm_conn_fail(conn, conn->reason, conn->errnum);
        count++;
    }
    return count;
}

static unsigned hub_poll(void *self)
{
    struct tm_socket_hub *hub = self;
    unsigned count = end_lingering(hub);
    count += tm_socket_out_unstarve(hub);
    count += attend_all(hub);
    count += attend_listeners(hub);
    return count;
}

static void hub_flush(void *self)
{
    tm_socket_out_flush(self);
}

static bool hub_before_park(void *self)
{
    struct tm_socket_hub *hub = self;
    return hub->todo == NULL && hub->out == NULL;
}

static uint64_t hub_deadline(void *self)
{
    struct tm_socket_hub *hub = self;
    uint64_t least = TM_WORKER_NO_DEADLINE;
    if (hub->draining.head != NULL)
        least = hub->draining.head->linger_until;
    for (struct tm_listener *l = hub->listeners; l != NULL; l = l->next)
        if (!l->armed || (l->closing && !l->cancelling))
            least = tm_min_u64(least, l->closing ? 0 : l->retry_at);
    return least;
}

const struct tm_actor_ops *tm_socket_hub_ops(void)
{
    static const struct tm_actor_ops ops = {.name = "sockets",
                                            .phase = TM_PHASE_TIMERS,
                                            .start = hub_start,
                                            .stop = hub_stop,
                                            .poll = hub_poll,
                                            .flush = hub_flush,
                                            .before_park = hub_before_park,
                                            .next_deadline = hub_deadline};
    return &ops;
}
