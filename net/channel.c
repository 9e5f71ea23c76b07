/* channel.c: the life of a channel, its timers, and the two doors that frames pass.
 *
 * A frame that comes in is judged (frame.c, then the addresses), and goes to the handshake or,
 * between processes that know each other, to the sender (acknowledgements) and the receiver
 * (payload).  Flush does the reverse: handshake first, then frames that were lost, then new ones,
 * and an acknowledgement of its own only if none of these carried it in time.
 *
 * When the fabric has no room, or the peer is down, emission stops for this turn and a time for
 * the next try is set; nothing is marked as sent.  Frames of unknown processes start a handshake
 * and are otherwise ignored. */
#include "net/channel_internal.h"

#include <stdlib.h>

static bool sink_complete(const struct tm_channel_sink *s)
{
    return s->emit && s->message && s->accept && s->up && s->reset && s->refused && s->writable;
}

static bool in_range(uint64_t v, uint64_t low, uint64_t high)
{
    return v >= low && v <= high;
}

static bool config_valid(const struct tm_channel_config *c)
{
    return c->boot != 0 && c->local_node < 64 && c->local_worker < 64 && c->peer_node < 64 &&
           c->peer_worker < 64 && in_range(c->max_frame, 1400, 65535) &&
           in_range(c->send_window, TM_KIB(64), TM_MIB(64)) &&
           in_range(c->recv_window, TM_KIB(128), TM_MIB(64)) && c->rto_min_ns <= c->rto_max_ns &&
           c->hello.len <= TM_CHANNEL_HELLO_MAX && sink_complete(&c->sink);
}

static void config_defaults(struct tm_channel_config *c)
{
    c->send_window = c->send_window ? c->send_window : (uint32_t)TM_MIB(4);
    c->recv_window = c->recv_window ? c->recv_window : (uint32_t)TM_MIB(4);
    c->ack_delay_ns = c->ack_delay_ns ? c->ack_delay_ns : TM_MS(1);
    c->rto_min_ns = c->rto_min_ns ? c->rto_min_ns : TM_MS(5);
    c->rto_max_ns = c->rto_max_ns ? c->rto_max_ns : TM_MS(200);
}

enum tm_err tm_channel_new(const struct tm_channel_config *cfg, struct tm_channel **out)
{
    struct tm_channel_config c = *cfg;
    config_defaults(&c);
    if (!config_valid(&c))
        return TM_ERR_INVALID;
    struct tm_channel *ch = calloc(1, sizeof *ch);
    if (ch == NULL)
        return TM_ERR_NOMEM;
    ch->cfg = c;
    if (c.hello.len > 0)
        memcpy(ch->hello_blob, c.hello.data, c.hello.len);
    ch->cfg.hello.data = ch->hello_blob;
    ch->tx.sent = calloc(TM_FRAME_WINDOW, sizeof *ch->tx.sent);
    ch->rx.ahead = calloc(TM_FRAME_WINDOW, sizeof *ch->rx.ahead);
    if (ch->tx.sent == NULL || ch->rx.ahead == NULL) {
        tm_channel_free(ch);
        return TM_ERR_NOMEM;
    }
    const uint64_t message = TM_CHANNEL_MESSAGE_MAX + TM_FRAME_PREFIX;
    tm_slide_init(&ch->tx.bytes, 2 * (c.send_window + message));
    tm_slide_init(&ch->rx.bytes, 2 * (c.recv_window + message));
    tm_channel_send_start(ch);
    tm_channel_recv_start(ch);
    tm_channel_hello_round(ch, 0);
    *out = ch;
    return TM_OK;
}

void tm_channel_free(struct tm_channel *ch)
{
    if (ch == NULL)
        return;
    TM_ASSERT(!ch->busy);
    tm_slide_free(&ch->tx.bytes);
    tm_slide_free(&ch->rx.bytes);
    free(ch->tx.sent);
    free(ch->rx.ahead);
    free(ch);
}

void tm_channel_head(struct tm_channel *ch, struct tm_frame_head *head, enum tm_frame_kind kind,
                     uint64_t dst, uint64_t now)
{
    *head = (struct tm_frame_head){
        .kind = (uint8_t)kind,
        .cluster = ch->cfg.cluster,
        .src_boot = ch->cfg.boot,
        .dst_boot = dst,
        .src_node = ch->cfg.local_node,
        .src_worker = ch->cfg.local_worker,
        .dst_node = ch->cfg.peer_node,
        .dst_worker = ch->cfg.peer_worker,
        .sent_us = (uint32_t)(now / 1000),
        .credit = dst == ch->peer_boot ? ch->rx.edge : ch->cfg.recv_window,
    };
}

/* The fabric did not take a frame. */
static void emit_failed(struct tm_channel *ch, enum tm_err err, uint64_t now)
{
    if (err != TM_ERR_FULL) {
        /* If it lives, it sends again what it heard no acknowledgement of. */
        ch->down_until = now + PEER_RETRY_NS;
        tm_channel_recv_acked(ch);
        return;
    }
    ch->retry_pause =
        ch->retry_pause == 0 ? RETRY_FIRST_NS : tm_min_u64(2 * ch->retry_pause, RETRY_LAST_NS);
    ch->retry_at = now + ch->retry_pause;
}

bool tm_channel_emit(struct tm_channel *ch, struct tm_frame_head *head, struct tm_bytes payload,
                     uint64_t now)
{
    tm_frame_seal(head, payload);
    struct tm_bytes pieces[2] = {tm_bytes_of(head, TM_FRAME_HEAD + 8u * head->sack_words), payload};
    ch->busy = true;
    enum tm_err err = ch->cfg.sink.emit(ch->cfg.sink.host, ch, pieces, payload.len > 0 ? 2 : 1);
    ch->busy = false;
    if (err != TM_OK) {
        emit_failed(ch, err, now);
        return false;
    }
    ch->retry_at = 0;
    ch->retry_pause = 0;
    ch->stats.frames_sent++;
    ch->stats.bytes_sent += pieces[0].len + payload.len;
    return true;
}

static bool count_bad(struct tm_channel_stats *stats, enum tm_err err)
{
    switch (err) {
    case TM_OK:
        return false;
    case TM_ERR_VERSION:
        stats->versions++;
        return true;
    case TM_ERR_IDENTITY:
        stats->foreign++;
        return true;
    case TM_ERR_CORRUPT:
        stats->corrupt++;
        return true;
    default:
        stats->invalid++;
        return true;
    }
}

static bool for_this_channel(const struct tm_channel *ch, const struct tm_frame_head *head)
{
    return head->src_node == ch->cfg.peer_node && head->src_worker == ch->cfg.peer_worker &&
           head->dst_node == ch->cfg.local_node && head->dst_worker == ch->cfg.local_worker;
}

/* A frame between processes of which at least one is not who the other thinks: not for us, but
 * worth a hello, so that they learn. */
static void input_stale(struct tm_channel *ch, uint64_t now)
{
    ch->stats.stale++;
    tm_channel_hello_stale(ch, now);
}

void tm_channel_input(struct tm_channel *ch, const uint8_t *frame, size_t len, uint64_t now)
{
    TM_ASSERT(!ch->busy);
    struct tm_frame_head head;
    ch->stats.frames_received++;
    ch->stats.bytes_received += len;
    if (count_bad(&ch->stats, tm_frame_check(frame, len, ch->cfg.cluster, &head)))
        return;
    if (!for_this_channel(ch, &head)) {
        ch->stats.misrouted++;
        return;
    }
    ch->down_until = 0;
    const uint8_t *bits = frame + TM_FRAME_HEAD;
    struct tm_bytes payload = tm_bytes_of(bits + 8u * head.sack_words, head.payload);
    if (head.kind != TM_FRAME_DATA) {
        tm_channel_hello_input(ch, &head, payload, now);
        return;
    }
    if (head.dst_boot != ch->cfg.boot || head.src_boot != ch->peer_boot) {
        input_stale(ch, now);
        return;
    }
    tm_channel_send_acked(ch, &head, bits, now);
    if (!ch->broken)
        tm_channel_recv_data(ch, &head, payload, now);
}

void tm_channel_resume(struct tm_channel *ch)
{
    TM_ASSERT(!ch->busy);
    if (!ch->rx.stalled)
        return;
    ch->rx.stalled = false;
    ch->rx.ack_now = true;
    tm_channel_recv_deliver(ch);
}

static void tell_writable(struct tm_channel *ch)
{
    if (!ch->tx.want_writable || tm_channel_queued(ch) > ch->cfg.send_window / 2)
        return;
    ch->tx.want_writable = false;
    ch->busy = true;
    ch->cfg.sink.writable(ch->cfg.sink.host, ch);
    ch->busy = false;
}

void tm_channel_tick(struct tm_channel *ch, uint64_t now)
{
    if (now >= ch->down_until)
        ch->down_until = 0;
    if (now >= ch->retry_at)
        ch->retry_at = 0;
    if (ch->peer_boot != 0)
        tm_channel_send_tick(ch, now);
    if (now >= ch->rx.ack_at)
        ch->rx.ack_now = true;
}

void tm_channel_flush(struct tm_channel *ch, uint64_t now)
{
    TM_ASSERT(!ch->busy);
    tm_channel_tick(ch, now);
    tell_writable(ch);
    if (ch->down_until != 0)
        return;
    if (tm_channel_hello_flush(ch, now) && ch->peer_boot != 0)
        (void)tm_channel_send_flush(ch, now);
}

static uint64_t earliest_timer(const struct tm_channel *ch)
{
    uint64_t at = ch->hello.at;
    if (ch->peer_boot != 0) {
        at = tm_min_u64(at, tm_min_u64(ch->tx.rto_at, ch->tx.probe_at));
        at = tm_min_u64(at, ch->rx.ack_at);
    }
    return at;
}

uint64_t tm_channel_next_deadline(const struct tm_channel *ch)
{
    uint64_t at = tm_channel_pending(ch) ? 0 : earliest_timer(ch);
    if (at == NEVER)
        return NEVER;
    return tm_max_u64(at, tm_max_u64(ch->down_until, ch->retry_at));
}

bool tm_channel_pending(const struct tm_channel *ch)
{
    if (ch->tx.want_writable && tm_channel_queued(ch) <= ch->cfg.send_window / 2)
        return true;
    return tm_channel_hello_due(ch) || (ch->peer_boot != 0 && tm_channel_send_has_work(ch));
}

void tm_channel_peer_down(struct tm_channel *ch, uint64_t now)
{
    ch->down_until = now + PEER_RETRY_NS;
}

void tm_channel_peer_up(struct tm_channel *ch, uint64_t now)
{
    ch->down_until = 0;
    ch->retry_at = 0;
    ch->tx.backoff = 0;
    tm_channel_send_lose_all(ch);
    if (ch->peer_boot == 0)
        tm_channel_hello_round(ch, now);
}

bool tm_channel_is_up(const struct tm_channel *ch)
{
    return ch->peer_boot != 0;
}

uint64_t tm_channel_peer_boot(const struct tm_channel *ch)
{
    return ch->peer_boot;
}

bool tm_channel_idle(const struct tm_channel *ch)
{
    return tm_channel_queued(ch) == 0 && ch->rx.ack_at == NEVER && !ch->rx.stalled &&
           !tm_channel_hello_due(ch);
}

uint64_t tm_channel_received_seq(const struct tm_channel *ch)
{
    return ch->rx.next - 1;
}

uint64_t tm_channel_sent_seq(const struct tm_channel *ch)
{
    return ch->tx.next - 1;
}

uint64_t tm_channel_queued(const struct tm_channel *ch)
{
    return ch->tx.bytes.high - ch->tx.bytes.low;
}

uint64_t tm_channel_rtt_ns(const struct tm_channel *ch)
{
    return ch->tx.srtt;
}

const struct tm_channel_stats *tm_channel_stats(const struct tm_channel *ch)
{
    return &ch->stats;
}

void tm_channel_trim(struct tm_channel *ch)
{
    tm_slide_trim(&ch->tx.bytes, TM_KIB(64));
    tm_slide_trim(&ch->rx.bytes, TM_KIB(64));
}
