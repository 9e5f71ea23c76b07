/* load_conn.c: one connection of a load run.
 *
 * Requests are appended to `out`, which is sent as a whole by one send at a time and starts anew
 * when all of it is gone.  Replies come in the order of the requests: the n-th reply belongs to the
 * n-th operation under way, and after the last of a batch to --then, which completes the batch.
 *
 * A reply that spans receives is gathered in `in`; the usual one is looked at where it was
 * received. An error reply makes its operation a failure and is counted by its text. */
#include "bench/load_internal.h"
#include "runtime/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define REPLY_MAX TM_MIB(64)

static struct tm_pending *pending_at(struct tm_load_conn *c, uint32_t i)
{
    uint32_t at = c->head + i, size = c->load->spec->pipeline;
    return &c->pending[at < size ? at : at - size];
}

bool tm_load_conn_has_room(const struct tm_load_conn *c)
{
    const struct tm_load *l = c->load;
    size_t bytes = l->spec->then_per * l->command_max + l->then_len;
    return c->fd >= 0 && c->count + l->spec->then_per <= l->spec->pipeline &&
           c->out_len + bytes <= l->out_cap;
}

void tm_load_conn_offer(struct tm_load_conn *c)
{
    struct tm_load *l = c->load;
    if (c->ready || !tm_load_conn_has_room(c))
        return;
    l->ready[(l->ready_head + l->ready_count++) % l->spec->connections] = c;
    c->ready = true;
}

/* A key of one of the slots that this connection's server owns.  Where chance does not find one
 * soon, the keys are tried one after another: tm_load_connect made sure that there is one. */
static uint64_t draw_key(struct tm_load_conn *c, enum tm_load_op op)
{
    struct tm_load *l = c->load;
    uint64_t key = tm_workload_draw_key(l->work);
    if (l->map == NULL || op == TM_LOAD_OP_PING)
        return key;
    for (unsigned tries = 0;; tries++) {
        char text[TM_LOAD_KEY_MAX];
        size_t len = tm_workload_key_text(l->work, op, key, text);
        if (l->map->of_slot[tm_slot_of_key(tm_bytes_of(text, len))] == c->owner)
            return key;
        key = tries < 1000 ? tm_workload_draw_key(l->work) : (key + 1) % l->spec->work.keys;
    }
}

static void put_one(struct tm_load_conn *c, struct tm_due due, bool ends_batch, uint64_t now_ns)
{
    struct tm_load *l = c->load;
    enum tm_load_op op = tm_workload_draw_op(l->work);
    c->out_len += tm_workload_encode(l->work, op, draw_key(c, op), c->out + c->out_len);
    *pending_at(c, c->count) = (struct tm_pending){.due = due, .ends_batch = ends_batch};
    c->count++;
    l->under_way++;
    tm_tally_sent(&l->result->tally, &due, now_ns);
}

void tm_load_conn_put(struct tm_load_conn *c, struct tm_due due, uint64_t now_ns)
{
    struct tm_load *l = c->load;
    struct tm_due further;
    bool more = true;
    for (uint32_t i = 1; more; i++, due = further) {
        more = i < l->spec->then_per && tm_schedule_take(&l->result->schedule, now_ns, &further);
        put_one(c, due, !more, now_ns);
    }
    memcpy(c->out + c->out_len, l->then, l->then_len);
    c->out_len += l->then_len;
    tm_load_conn_mark(c);
}

void tm_load_conn_mark(struct tm_load_conn *c)
{
    struct tm_load *l = c->load;
    if (!c->dirty)
        l->dirty[l->dirty_count++] = c;
    c->dirty = true;
}

static bool arm_receive(struct tm_load_conn *c)
{
    struct io_uring_sqe *sqe = tm_uring_sqe(&c->load->uring, &c->receive);
    if (sqe == NULL)
        return false;
    io_uring_prep_recv_multishot(sqe, c->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = c->load->bufs.group;
    c->deaf = false;
    return true;
}

static bool begin_send(struct tm_load_conn *c)
{
    struct io_uring_sqe *sqe = tm_uring_sqe(&c->load->uring, &c->send);
    if (sqe == NULL)
        return false;
    io_uring_prep_send(sqe, c->fd, c->out + c->sent, c->out_len - c->sent, MSG_NOSIGNAL);
    c->sending = true;
    return true;
}

bool tm_load_conn_flush(struct tm_load_conn *c)
{
    if (c->fd >= 0 && c->deaf && !arm_receive(c))
        return false;
    if (c->fd >= 0 && !c->sending && c->sent < c->out_len && !begin_send(c))
        return false;
    c->dirty = false;
    return true;
}

/* Completes the n oldest operations, which share one fate. */
static void complete(struct tm_load_conn *c, uint32_t n, bool ok, uint64_t now)
{
    struct tm_load *l = c->load;
    for (uint32_t i = 0; i < n; i++) {
        struct tm_pending *p = pending_at(c, i);
        tm_tally_answered(&l->result->tally, &l->result->schedule, &p->due, now, ok && !p->failed);
    }
    c->head = (c->head + n) % l->spec->pipeline;
    c->count -= n;
    c->answered -= n < c->answered ? n : c->answered;
    l->under_way -= n;
}

/* Gives the connection up: what is under way on it failed. */
static void lose(struct tm_load_conn *c, const char *why)
{
    struct tm_load *l = c->load;
    if (c->fd < 0 || l->stopping)
        return;
    tm_load_errors_add(&l->result->errors, why, strlen(why), c->count);
    complete(c, c->count, false, tm_clock_ns());
    /* Ends the receive and a send under way; the number stays taken until tm_load_disconnect. */
    shutdown(c->fd, SHUT_RDWR);
    c->fd = -c->fd - 1;
    c->awaits_then = false;
    l->open--;
    l->result->lost++;
}

/* True if --then was answered with fewer copies than it asked for. */
static bool too_few(struct tm_load *l, struct tm_bytes reply)
{
    struct tm_resp_value v;
    size_t used = 0;
    if (l->then_needs == INT64_MIN || reply.data[0] != TM_RESP_INTEGER ||
        tm_resp_read(reply.data, reply.len, &v, &used) != TM_RESP_DONE ||
        v.integer >= l->then_needs)
        return false;
    char text[64];
    int len =
        snprintf(text, sizeof text, "--then was answered with only %lld", (long long)v.integer);
    tm_load_errors_add(&l->result->errors, text, (size_t)len, 1);
    return true;
}

static bool is_error(struct tm_load *l, struct tm_bytes reply)
{
    if (reply.data[0] != TM_RESP_ERROR && reply.data[0] != TM_RESP_BLOB_ERROR)
        return false;
    struct tm_resp_value v;
    size_t used = 0;
    if (tm_resp_read(reply.data, reply.len, &v, &used) == TM_RESP_DONE)
        tm_load_errors_add(&l->result->errors, (const char *)v.text.data, v.text.len, 1);
    return true;
}

static void batch_answered(struct tm_load_conn *c, struct tm_bytes reply, uint64_t now)
{
    bool ok = !is_error(c->load, reply) && !too_few(c->load, reply);
    c->awaits_then = false;
    complete(c, c->answered, ok, now);
}

static void reply_taken(struct tm_load_conn *c, struct tm_bytes reply, uint64_t now)
{
    if (c->awaits_then) {
        batch_answered(c, reply, now);
        return;
    }
    if (c->answered == c->count) {
        lose(c, "the server sent more than was asked for");
        return;
    }
    struct tm_pending *p = pending_at(c, c->answered++);
    p->failed = is_error(c->load, reply);
    if (c->load->then_len == 0)
        complete(c, 1, true, now);
    else
        c->awaits_then = p->ends_batch;
}

/* Takes all whole replies at the start of data; returns their bytes. */
static size_t take_replies(struct tm_load_conn *c, const uint8_t *data, size_t len, uint64_t now)
{
    size_t taken = 0;
    while (c->fd >= 0 && taken < len) {
        size_t used = 0;
        switch (tm_resp_skip(&c->skipper, data + taken, len - taken, &used)) {
        case TM_RESP_MORE:
            return taken;
        case TM_RESP_BROKEN:
            lose(c, "the server's answer is no RESP");
            return len;
        case TM_RESP_DONE:
            reply_taken(c, tm_bytes_of(data + taken, used), now);
            taken += used;
        }
    }
    return taken;
}

/* Appends to the reply that is not all there; false if it grows beyond all bounds. */
static bool keep(struct tm_load_conn *c, const uint8_t *data, size_t len)
{
    if (c->in_len + len > c->in_cap) {
        size_t cap = tm_max_u64(TM_KIB(32), 2 * (c->in_len + len));
        uint8_t *in = c->in_len + len <= REPLY_MAX ? realloc(c->in, cap) : NULL;
        if (in == NULL)
            return false;
        c->in = in;
        c->in_cap = cap;
    }
    memcpy(c->in + c->in_len, data, len);
    c->in_len += len;
    return true;
}

static void take(struct tm_load_conn *c, const uint8_t *data, size_t len)
{
    uint64_t now = tm_clock_ns();
    if (c->in_len == 0) {
        size_t taken = take_replies(c, data, len, now);
        data += taken;
        len -= taken;
    }
    if (len == 0 || c->fd < 0)
        return;
    if (!keep(c, data, len)) {
        lose(c, "a reply is larger than 64 MiB, or memory is short");
        return;
    }
    if (c->in_len == len)
        return; /* its beginning, looked at already */
    size_t taken = take_replies(c, c->in, c->in_len, now);
    memmove(c->in, c->in + taken, c->in_len - taken);
    c->in_len -= taken;
}

static void received(struct tm_uring_op *op, int32_t res, uint32_t flags)
{
    struct tm_load_conn *c = TM_CONTAINER_OF(op, struct tm_load_conn, receive);
    if (res > 0 && c->fd >= 0 && !c->load->stopping)
        take(c, tm_uring_bufs_get(&c->load->bufs, flags), (size_t)res);
    if ((flags & IORING_CQE_F_BUFFER) != 0)
        tm_uring_bufs_put(&c->load->bufs, flags);
    if (res == 0 || (res < 0 && res != -ENOBUFS && res != -EINTR))
        lose(c, res == 0 ? "connection closed by the server" : strerror(-res));
    if (c->fd < 0 || c->load->stopping)
        return;
    c->deaf = (flags & IORING_CQE_F_MORE) == 0;
    if (c->deaf)
        tm_load_conn_mark(c);
    tm_load_conn_offer(c);
}

static void sent(struct tm_uring_op *op, int32_t res, uint32_t flags)
{
    (void)flags;
    struct tm_load_conn *c = TM_CONTAINER_OF(op, struct tm_load_conn, send);
    c->sending = false;
    if (res < 0 && res != -EINTR && res != -EAGAIN) {
        lose(c, strerror(-res));
        return;
    }
    c->sent += res > 0 ? (size_t)res : 0;
    if (c->sent == c->out_len)
        c->sent = c->out_len = 0;
    else
        tm_load_conn_mark(c);
    tm_load_conn_offer(c);
}

void tm_load_conn_init(struct tm_load_conn *c, struct tm_load *l, uint32_t index, int fd,
                       uint16_t owner)
{
    *c = (struct tm_load_conn){.load = l,
                               .receive = {.done = received},
                               .send = {.done = sent},
                               .fd = fd,
                               .owner = owner,
                               .deaf = true,
                               .out = l->outs + index * l->out_cap,
                               .pending = l->pendings + (size_t)index * l->spec->pipeline};
    l->open++;
    tm_load_conn_mark(c);
    tm_load_conn_offer(c);
}
