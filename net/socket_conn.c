/* socket_conn.c: a connection's life and its input.
 *
 * One multishot receive stays armed per open connection; each completion brings a shared buffer,
 * which is lent to the kernel again as soon as the owner's callback returns.  Pausing cancels the
 * receive; what arrives until the kernel lets go is copied aside and handed out after resume.
 *
 * What can go wrong: all shared buffers are taken (the receive ends with ENOBUFS and is armed
 * again), the peer closes or resets, a paused connection's input outgrows its bound: closed with
 * the reason. */
#include "net/socket_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#define CONNS_PER_BLOCK 64

static void in_done(struct tm_uring_op *op, int32_t res, uint32_t cqe_flags);

/* --- lists ------------------------------------------------------------------------------------ */

static struct tm_conn_list *list_of(struct tm_conn *conn)
{
    return conn->state == TM_CONN_DRAINING ? &conn->hub->draining : &conn->hub->conns;
}

static void list_add(struct tm_conn *conn)
{
    struct tm_conn_list *list = list_of(conn);
    conn->next = NULL;
    conn->prev = list->tail;
    if (list->tail != NULL)
        list->tail->next = conn;
    else
        list->head = conn;
    list->tail = conn;
}

static void list_remove(struct tm_conn *conn)
{
    struct tm_conn_list *list = list_of(conn);
    if (conn->prev != NULL)
        conn->prev->next = conn->next;
    else
        list->head = conn->next;
    if (conn->next != NULL)
        conn->next->prev = conn->prev;
    else
        list->tail = conn->prev;
}

void tm_conn_todo(struct tm_conn *conn)
{
    if (conn->in_todo)
        return;
    conn->in_todo = true;
    conn->next_todo = conn->hub->todo;
    conn->hub->todo = conn;
}

static void set_state(struct tm_conn *conn, enum tm_conn_state state)
{
    TM_ASSERT(state > conn->state);
    TM_ASSERT(conn->state != TM_CONN_OPENING || state != TM_CONN_DRAINING);
    list_remove(conn);
    conn->state = state;
    list_add(conn);
}

/* --- life ------------------------------------------------------------------------------------- */

static struct tm_conn *take_idle(struct tm_socket_hub *hub)
{
    if (hub->idle == NULL) {
        struct tm_conn *made = tm_socket_block(hub, CONNS_PER_BLOCK * sizeof *made);
        if (made == NULL)
            return NULL;
        for (unsigned i = 0; i < CONNS_PER_BLOCK; i++) {
            made[i].next = hub->idle;
            hub->idle = &made[i];
        }
    }
    struct tm_conn *conn = hub->idle;
    hub->idle = conn->next;
    return conn;
}

struct tm_conn *tm_conn_new(struct tm_socket_hub *hub, int fd,
                            const struct tm_socket_handler *handler, enum tm_conn_state state)
{
    struct tm_conn *conn = take_idle(hub);
    if (conn == NULL)
        return NULL;
    *conn = (struct tm_conn){.hub = hub,
                             .in_op.done = in_done,
                             .out_op.done = tm_socket_out_done,
                             .handler = *handler,
                             .id = ++hub->next_id,
                             .reason = "",
                             .fd = fd,
                             .state = state};
    list_add(conn);
    hub->stats.open++;
    return conn;
}

static void drop_held(struct tm_conn *conn)
{
    while (conn->held_head != NULL) {
        struct tm_held *held = conn->held_head;
        conn->held_head = held->next;
        conn->hub->held_bytes -= held->len;
        free(held);
    }
    conn->held_tail = NULL;
}

void tm_conn_release(struct tm_conn *conn)
{
    struct tm_socket_hub *hub = conn->hub;
    TM_ASSERT(!conn->reading && !conn->sending && !conn->in_todo);
    drop_held(conn);
    tm_socket_out_drop(conn);
    close(conn->fd);
    conn->fd = -1;
    list_remove(conn);
    conn->next = hub->idle;
    hub->idle = conn;
    hub->stats.open--;
}

void tm_conn_fail(struct tm_conn *conn, const char *reason, int errnum)
{
    if (conn->state == TM_CONN_CLOSING)
        return;
    conn->reason = reason;
    conn->errnum = errnum;
    set_state(conn, TM_CONN_CLOSING);
    /* Both ops complete by this at once, except a connect: that one is cancelled. */
    shutdown(conn->fd, SHUT_RDWR);
    tm_conn_settle_reading(conn);
    tm_conn_todo(conn);
}

void tm_conn_end(struct tm_conn *conn, const char *reason, int errnum)
{
    struct tm_socket_hub *hub = conn->hub;
    if (conn->state == TM_CONN_OPENING || conn->out_bytes == 0) {
        tm_conn_fail(conn, reason, errnum);
        return;
    }
    if (conn->state != TM_CONN_OPEN)
        return;
    conn->reason = reason;
    conn->errnum = errnum;
    conn->linger_until = tm_ctx_now(&hub->worker->ctx) + TM_MS(hub->config.linger_ms);
    set_state(conn, TM_CONN_DRAINING);
}

void tm_socket_close(struct tm_conn *conn, const char *reason)
{
    if (conn->state == TM_CONN_OPENING || conn->state == TM_CONN_OPEN)
        tm_conn_end(conn, reason, 0);
}

void tm_socket_abort(struct tm_conn *conn, const char *reason)
{
    tm_conn_fail(conn, reason, 0);
}

/* --- input ------------------------------------------------------------------------------------ */

static bool arm_receive(struct tm_conn *conn)
{
    struct tm_socket_hub *hub = conn->hub;
    struct io_uring_sqe *sqe = tm_uring_sqe(&hub->worker->uring, &conn->in_op);
    if (sqe == NULL)
        return false;
    io_uring_prep_recv_multishot(sqe, conn->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = hub->config.buffer_group;
    conn->reading = true;
    return true;
}

void tm_conn_settle_reading(struct tm_conn *conn)
{
    bool wanted =
        conn->state == TM_CONN_OPEN && !conn->paused && !conn->ended && conn->held_head == NULL;
    bool unwanted = conn->state == TM_CONN_CLOSING ||
                    (conn->state == TM_CONN_OPEN && (conn->paused || conn->held_head != NULL));
    if (wanted && !conn->reading && !arm_receive(conn))
        tm_conn_todo(conn);
    if (unwanted && conn->reading && !conn->cancelling) {
        conn->cancelling = tm_uring_cancel(&conn->hub->worker->uring, &conn->in_op);
        if (!conn->cancelling)
            tm_conn_todo(conn);
    }
}

/* False if memory is short or the hub holds its fill. */
static bool hold(struct tm_conn *conn, const void *data, size_t len)
{
    struct tm_socket_hub *hub = conn->hub;
    struct tm_held *held = NULL;
    if (hub->held_bytes + len <= hub->config.output_total)
        held = malloc(sizeof *held + len);
    if (held == NULL)
        return false;
    held->next = NULL;
    held->len = (uint32_t)len;
    memcpy(held->data, data, len);
    hub->held_bytes += len;
    if (conn->held_tail != NULL)
        conn->held_tail->next = held;
    else
        conn->held_head = held;
    conn->held_tail = held;
    return true;
}

static void take_input(struct tm_conn *conn, uint8_t *data, size_t len)
{
    conn->hub->stats.bytes_in += len;
    conn->hub->stats.receives++;
    if (conn->state != TM_CONN_OPEN)
        return;
    if (!conn->paused && conn->held_head == NULL)
        conn->handler.input(conn->handler.host, conn, data, len);
    else if (!hold(conn, data, len))
        tm_conn_fail(conn, "too much input while paused", 0);
}

/* The end of input comes after all input: not before what is held was handed out. */
static void end_if_due(struct tm_conn *conn)
{
    if (conn->ended && conn->state == TM_CONN_OPEN && !conn->paused && conn->held_head == NULL)
        tm_conn_end(conn, "closed by peer", 0);
}

static void receive_ended(struct tm_conn *conn, int32_t res)
{
    switch (res) {
    case 0:
        conn->ended = true;
        end_if_due(conn);
        break;
    case -ENOBUFS:
        conn->hub->stats.no_buffers++;
        break;
    case -ECANCELED:
    case -EINTR:
    case -EAGAIN:
        break;
    case -ECONNRESET:
    case -EPIPE:
        tm_conn_fail(conn, "closed by peer", -res);
        break;
    default:
        tm_conn_fail(conn, "receive failed", -res);
    }
}

static void in_done(struct tm_uring_op *op, int32_t res, uint32_t cqe_flags)
{
    struct tm_conn *conn = TM_CONTAINER_OF(op, struct tm_conn, in_op);
    struct tm_socket_hub *hub = conn->hub;
    if ((cqe_flags & IORING_CQE_F_MORE) == 0)
        conn->reading = conn->cancelling = false;
    if ((cqe_flags & IORING_CQE_F_BUFFER) != 0) {
        if (res > 0 && !hub->stopping)
            take_input(conn, tm_uring_bufs_get(&hub->bufs, cqe_flags), (size_t)res);
        tm_uring_bufs_put(&hub->bufs, cqe_flags);
    }
    if (hub->stopping)
        return;
    if (res <= 0)
        receive_ended(conn, res);
    if (conn->state == TM_CONN_CLOSING)
        tm_conn_todo(conn);
    else
        tm_conn_settle_reading(conn);
}

/* Conn and bytes of a completion that brings input; NULL: it does not. */
static struct tm_conn *brings(struct tm_socket_hub *hub, const struct io_uring_cqe *cqe,
                              struct tm_bytes *data)
{
    struct tm_uring_op *op = io_uring_cqe_get_data(cqe);
    if (op == NULL || op->done != in_done || cqe->res <= 0 ||
        (cqe->flags & IORING_CQE_F_BUFFER) == 0)
        return NULL;
    struct tm_conn *conn = TM_CONTAINER_OF(op, struct tm_conn, in_op);
    if (conn->hub != hub || conn->state != TM_CONN_OPEN)
        return NULL;
    *data = tm_bytes_of(tm_uring_bufs_get(&hub->bufs, cqe->flags), (size_t)cqe->res);
    return conn;
}

void tm_socket_coming(void *self, struct io_uring_cqe *const *cqes, unsigned count)
{
    struct tm_socket_hub *hub = self;
    struct tm_conn *conns[TM_SOCKET_COMING];
    struct tm_bytes data[TM_SOCKET_COMING];
    unsigned n = 0;
    for (unsigned i = 0; i < count; i++)
        __builtin_prefetch(io_uring_cqe_get_data(cqes[i]));
    for (unsigned i = 0; i < count && n < TM_SOCKET_COMING; i++) {
        conns[n] = brings(hub, cqes[i], &data[n]);
        n += conns[n] != NULL && conns[n]->handler.coming == conns[0]->handler.coming;
    }
    if (n > 1 && conns[0]->handler.coming != NULL)
        conns[0]->handler.coming(conns[0]->handler.host, conns, data, n);
}

void tm_socket_pause_reading(struct tm_conn *conn)
{
    conn->paused = true;
    tm_conn_settle_reading(conn);
}

void tm_socket_resume_reading(struct tm_conn *conn)
{
    if (!conn->paused)
        return;
    conn->paused = false;
    tm_conn_todo(conn);
}

static void hand_out_held(struct tm_conn *conn)
{
    while (conn->held_head != NULL && conn->state == TM_CONN_OPEN && !conn->paused) {
        struct tm_held *held = conn->held_head;
        conn->held_head = held->next;
        if (conn->held_head == NULL)
            conn->held_tail = NULL;
        conn->hub->held_bytes -= held->len;
        conn->handler.input(conn->handler.host, conn, held->data, held->len);
        free(held);
    }
}

void tm_conn_attend(struct tm_conn *conn)
{
    if (conn->state == TM_CONN_CLOSING) {
        if (conn->in_out)
            tm_conn_todo(conn); /* the flush of this turn takes it off that list */
        else if (!conn->reading && !conn->sending) {
            conn->handler.closed(conn->handler.host, conn, conn->reason, conn->errnum);
            tm_conn_release(conn);
            return;
        }
    }
    hand_out_held(conn);
    end_if_due(conn);
    tm_socket_out_tell(conn);
    tm_conn_settle_reading(conn);
}

/* --- connecting ------------------------------------------------------------------------------- */

static void connect_done(struct tm_uring_op *op, int32_t res, uint32_t cqe_flags)
{
    struct tm_conn *conn = TM_CONTAINER_OF(op, struct tm_conn, in_op);
    (void)cqe_flags;
    conn->reading = conn->cancelling = false;
    conn->in_op.done = in_done;
    drop_held(conn); /* the address */
    if (conn->hub->stopping)
        return;
    if (conn->state == TM_CONN_CLOSING) {
        tm_conn_todo(conn);
        return;
    }
    if (res < 0) {
        tm_conn_fail(conn, "connect failed", -res);
        return;
    }
    set_state(conn, TM_CONN_OPEN);
    if (conn->handler.opened != NULL)
        conn->handler.opened(conn->handler.host, conn);
    tm_conn_settle_reading(conn);
}

static enum tm_err start_connect(struct tm_conn *conn, const struct tm_addr *addr)
{
    /* The kernel may read the address as late as at the submission. */
    if (!hold(conn, &addr->sa, addr->len))
        return TM_ERR_NOMEM;
    struct io_uring_sqe *sqe = tm_uring_sqe(&conn->hub->worker->uring, &conn->in_op);
    if (sqe == NULL)
        return TM_ERR_AGAIN;
    const void *stable = conn->held_head->data;
    io_uring_prep_connect(sqe, conn->fd, stable, addr->len);
    conn->in_op.done = connect_done;
    conn->reading = true;
    return TM_OK;
}

enum tm_err tm_socket_connect(struct tm_socket_hub *hub, const struct tm_addr *addr,
                              const struct tm_socket_handler *handler, void *user,
                              struct tm_conn **conn)
{
    TM_ASSERT(hub->worker != NULL && handler->input != NULL && handler->closed != NULL);
    if (hub->stats.open >= hub->config.max_connections)
        return TM_ERR_FULL;
    int fd = socket(addr->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return tm_err_from_errno(errno);
    int on = 1;
    if (addr->sa.ss_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *conn = tm_conn_new(hub, fd, handler, TM_CONN_OPENING);
    if (*conn == NULL) {
        close(fd);
        return TM_ERR_NOMEM;
    }
    (*conn)->user = user;
    enum tm_err err = start_connect(*conn, addr);
    if (err != TM_OK)
        tm_conn_release(*conn);
    return err;
}

/* --- what an owner asks ----------------------------------------------------------------------- */

void tm_conn_set_user(struct tm_conn *conn, void *user)
{
    conn->user = user;
}

void *tm_conn_user(const struct tm_conn *conn)
{
    return conn->user;
}

uint64_t tm_conn_id(const struct tm_conn *conn)
{
    return conn->id;
}

void tm_conn_peer(const struct tm_conn *conn, struct tm_addr *addr)
{
    *addr = (struct tm_addr){.len = sizeof addr->sa};
    if (getpeername(conn->fd, (struct sockaddr *)&addr->sa, &addr->len) != 0)
        *addr = (struct tm_addr){.len = 0};
}

void tm_conn_local(const struct tm_conn *conn, struct tm_addr *addr)
{
    *addr = (struct tm_addr){.len = sizeof addr->sa};
    if (getsockname(conn->fd, (struct sockaddr *)&addr->sa, &addr->len) != 0)
        *addr = (struct tm_addr){.len = 0};
}

int tm_conn_fd(const struct tm_conn *conn)
{
    return conn->fd;
}
