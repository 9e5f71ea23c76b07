/* socket_out.c: output of connections.
 *
 * tm_socket_send copies into the connection's chunks; at the end of the turn each connection with
 * output and no send under way gets one: plain if one chunk holds it all, else gathering, with the
 * vector in a chunk of its own that lives until the completion.  A tail chunk may grow while it is
 * being sent: the send covers only what it held.
 *
 * What can go wrong: the connection's limit or the pool is used up (TM_ERR_FULL, and drained when
 * half is free again); the send fails (the connection closes). */
#include "net/socket_internal.h"

#include <errno.h>

#define CHUNKS_PER_BLOCK 16
#define GATHER_MAX       64

struct message {
    struct msghdr header;
    struct iovec vec[GATHER_MAX];
};
#define CHUNK_DATA sizeof(((struct tm_chunk *)0)->data)
TM_STATIC_ASSERT(sizeof(struct message) <= CHUNK_DATA, "a gathering send fits one chunk");
TM_STATIC_ASSERT(offsetof(struct tm_chunk, data) % _Alignof(struct message) == 0, "aligned");

/* --- the pool --------------------------------------------------------------------------------- */

static void put_chunk(struct tm_socket_hub *hub, struct tm_chunk *chunk)
{
    chunk->next = hub->chunks;
    hub->chunks = chunk;
    hub->stats.output_chunks--;
}

static void make_chunks(struct tm_socket_hub *hub)
{
    uint32_t left = hub->chunks_max - hub->chunks_made;
    uint32_t count = left < CHUNKS_PER_BLOCK ? left : CHUNKS_PER_BLOCK;
    struct tm_chunk *made = count == 0 ? NULL : tm_socket_block(hub, count * sizeof *made);
    if (made == NULL)
        return;
    hub->chunks_made += count;
    for (uint32_t i = 0; i < count; i++) {
        made[i].next = hub->chunks;
        hub->chunks = &made[i];
    }
}

static struct tm_chunk *get_chunk(struct tm_socket_hub *hub)
{
    if (hub->chunks == NULL)
        make_chunks(hub);
    struct tm_chunk *chunk = hub->chunks;
    if (chunk == NULL)
        return NULL;
    hub->chunks = chunk->next;
    hub->stats.output_chunks++;
    chunk->next = NULL;
    chunk->used = 0;
    return chunk;
}

static uint32_t chunks_left(const struct tm_socket_hub *hub)
{
    return hub->chunks_max - hub->stats.output_chunks;
}

/* --- sending ---------------------------------------------------------------------------------- */

static void queue_out(struct tm_conn *conn)
{
    if (conn->in_out || conn->sending)
        return;
    conn->in_out = true;
    conn->next_out = conn->hub->out;
    conn->hub->out = conn;
}

static void starve(struct tm_conn *conn)
{
    if (conn->in_starved)
        return;
    conn->in_starved = true;
    conn->next_starved = conn->hub->starved;
    conn->hub->starved = conn;
}

static enum tm_err refuse(struct tm_conn *conn)
{
    conn->full = true;
    conn->hub->stats.output_full++;
    return TM_ERR_FULL;
}

/* Chains the chunks that `bytes` more need; all or nothing. */
static bool extend(struct tm_conn *conn, size_t bytes, struct tm_chunk **first)
{
    struct tm_chunk **link = first;
    *first = NULL;
    for (size_t room = 0; room < bytes; room += CHUNK_DATA) {
        *link = get_chunk(conn->hub);
        if (*link == NULL) {
            while (*first != NULL) {
                struct tm_chunk *chunk = *first;
                *first = chunk->next;
                put_chunk(conn->hub, chunk);
            }
            return false;
        }
        link = &(*link)->next;
    }
    return true;
}

/* Fills the tail and then the chunks after it; they suffice. */
static void copy_in(struct tm_conn *conn, struct tm_bytes piece)
{
    while (piece.len > 0) {
        struct tm_chunk *tail = conn->out_tail;
        if (tail->used == CHUNK_DATA) {
            tail = tail->next;
            TM_ASSERT(tail != NULL);
            conn->out_tail = tail;
        }
        size_t n = tm_min_u64(piece.len, CHUNK_DATA - tail->used);
        memcpy(tail->data + tail->used, piece.data, n);
        tail->used += (uint32_t)n;
        piece.data += n;
        piece.len -= n;
    }
}

enum tm_err tm_socket_sendv(struct tm_conn *conn, const struct tm_bytes *pieces, unsigned count)
{
    struct tm_socket_hub *hub = conn->hub;
    size_t total = 0;
    for (unsigned i = 0; i < count; i++)
        total += pieces[i].len;
    if (conn->state != TM_CONN_OPEN)
        return TM_ERR_CLOSED;
    if (total > hub->config.output_limit)
        return TM_ERR_TOOBIG;
    if (total > tm_socket_room(conn))
        return refuse(conn);
    size_t tail_room = conn->out_tail == NULL ? 0 : CHUNK_DATA - conn->out_tail->used;
    struct tm_chunk *more;
    if (!extend(conn, total > tail_room ? total - tail_room : 0, &more)) {
        starve(conn);
        return refuse(conn);
    }
    if (conn->out_tail == NULL)
        conn->out_head = conn->out_tail = more;
    else
        conn->out_tail->next = more;
    for (unsigned i = 0; i < count; i++)
        copy_in(conn, pieces[i]);
    conn->out_bytes += (uint32_t)total;
    if (total > 0)
        queue_out(conn);
    return TM_OK;
}

enum tm_err tm_socket_send(struct tm_conn *conn, const void *data, size_t len)
{
    struct tm_bytes piece = tm_bytes_of(data, len);
    return tm_socket_sendv(conn, &piece, 1);
}

size_t tm_socket_room(const struct tm_conn *conn)
{
    return conn->hub->config.output_limit - conn->out_bytes;
}

size_t tm_socket_pending(const struct tm_conn *conn)
{
    return conn->out_bytes;
}

static void gather(struct tm_conn *conn, struct message *m)
{
    unsigned n = 0;
    uint32_t skip = conn->out_sent;
    memset(&m->header, 0, sizeof m->header);
    for (struct tm_chunk *c = conn->out_head; c != NULL && n < GATHER_MAX; c = c->next) {
        m->vec[n++] = (struct iovec){.iov_base = c->data + skip, .iov_len = c->used - skip};
        skip = 0;
    }
    m->header.msg_iov = m->vec;
    m->header.msg_iovlen = n;
}

/* False if the ring has no room. */
static bool start_send(struct tm_conn *conn)
{
    struct tm_chunk *head = conn->out_head;
    struct io_uring_sqe *sqe = tm_uring_sqe(&conn->hub->worker->uring, &conn->out_op);
    if (sqe == NULL)
        return false;
    if (head->next != NULL)
        conn->msg = get_chunk(conn->hub);
    if (conn->msg != NULL) {
        struct message *m = (struct message *)(void *)conn->msg->data;
        gather(conn, m);
        io_uring_prep_sendmsg(sqe, conn->fd, &m->header, MSG_NOSIGNAL);
    } else {
        io_uring_prep_send(sqe, conn->fd, head->data + conn->out_sent, head->used - conn->out_sent,
                           MSG_NOSIGNAL);
    }
    conn->sending = true;
    conn->hub->stats.sends++;
    return true;
}

void tm_socket_out_flush(struct tm_socket_hub *hub)
{
    struct tm_conn *list = hub->out;
    hub->out = NULL;
    while (list != NULL) {
        struct tm_conn *conn = list;
        list = conn->next_out;
        conn->in_out = false;
        bool wanted = conn->state == TM_CONN_OPEN || conn->state == TM_CONN_DRAINING;
        if (wanted && !conn->sending && conn->out_bytes > 0 && !start_send(conn))
            queue_out(conn);
    }
}

/* --- completions ------------------------------------------------------------------------------ */

static void consume(struct tm_conn *conn, uint32_t bytes)
{
    TM_ASSERT(bytes <= conn->out_bytes);
    conn->out_bytes -= bytes;
    conn->hub->stats.bytes_out += bytes;
    conn->out_sent += bytes;
    while (conn->out_head != NULL && conn->out_sent >= conn->out_head->used) {
        struct tm_chunk *sent = conn->out_head;
        conn->out_sent -= sent->used;
        conn->out_head = sent->next;
        put_chunk(conn->hub, sent);
    }
    if (conn->out_head == NULL)
        conn->out_tail = NULL;
}

static bool transient(int32_t res)
{
    return res == -EINTR || res == -EAGAIN || res == -ENOBUFS;
}

void tm_socket_out_done(struct tm_uring_op *op, int32_t res, uint32_t cqe_flags)
{
    struct tm_conn *conn = TM_CONTAINER_OF(op, struct tm_conn, out_op);
    (void)cqe_flags;
    conn->sending = false;
    if (conn->msg != NULL)
        put_chunk(conn->hub, conn->msg);
    conn->msg = NULL;
    if (conn->hub->stopping)
        return;
    if (conn->state == TM_CONN_CLOSING) {
        tm_conn_todo(conn);
        return;
    }
    if (res < 0 && !transient(res)) {
        bool gone = res == -EPIPE || res == -ECONNRESET;
        tm_conn_fail(conn, gone ? "closed by peer" : "send failed", -res);
        return;
    }
    if (res > 0)
        consume(conn, (uint32_t)res);
    if (conn->out_bytes > 0)
        queue_out(conn);
    else if (conn->state == TM_CONN_DRAINING)
        tm_conn_fail(conn, conn->reason, conn->errnum);
    if (conn->full)
        tm_conn_todo(conn);
}

void tm_socket_out_tell(struct tm_conn *conn)
{
    struct tm_socket_hub *hub = conn->hub;
    if (!conn->full || conn->state != TM_CONN_OPEN || conn->in_starved ||
        conn->out_bytes > hub->config.output_limit / 2)
        return;
    conn->full = false;
    if (conn->handler.drained != NULL)
        conn->handler.drained(conn->handler.host, conn);
}

unsigned tm_socket_out_unstarve(struct tm_socket_hub *hub)
{
    unsigned count = 0;
    if (hub->starved == NULL || chunks_left(hub) < hub->chunks_max / 2)
        return 0;
    for (struct tm_conn *conn = hub->starved; conn != NULL; conn = conn->next_starved) {
        conn->in_starved = false;
        tm_conn_todo(conn);
        count++;
    }
    hub->starved = NULL;
    return count;
}

void tm_socket_out_drop(struct tm_conn *conn)
{
    TM_ASSERT(!conn->sending && !conn->in_out && conn->msg == NULL);
    while (conn->out_head != NULL) {
        struct tm_chunk *chunk = conn->out_head;
        conn->out_head = chunk->next;
        put_chunk(conn->hub, chunk);
    }
    conn->out_tail = NULL;
    for (struct tm_conn **link = &conn->hub->starved; conn->in_starved;
         link = &(*link)->next_starved) {
        if (*link == conn) {
            *link = conn->next_starved;
            conn->in_starved = false;
            break;
        }
    }
}
