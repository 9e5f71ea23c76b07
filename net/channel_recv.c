/* channel_recv.c: the way in.
 *
 * The frame that is next in order is read where it lies: each whole message in it goes to the
 * owner without a copy, and only an unfinished rest is kept.  Frames ahead of their turn are laid
 * at their place in the stream and marked in a ring of bits, from which the SACK bitmap is cut.
 *
 * The credit announced is what may be in memory beyond what is in order: recv_window; if the
 * owner does not take a message it counts from there, and so stops the peer.  Nothing in a frame
 * is believed before it was compared with what was announced. */
#include "net/channel_internal.h"

void tm_channel_recv_start(struct tm_channel *ch)
{
    struct receiver *rx = &ch->rx;
    struct tm_slide bytes = rx->bytes;
    struct ahead *ahead = rx->ahead;
    tm_slide_reset(&bytes);
    *rx = (struct receiver){
        .bytes = bytes,
        .ahead = ahead,
        .next = 1,
        .edge = ch->cfg.recv_window,
        .ack_at = NEVER,
    };
}

static bool is_ahead(const struct receiver *rx, uint64_t seq)
{
    uint64_t i = seq % TM_FRAME_WINDOW;
    return (rx->bits[i / 64] >> (i % 64) & 1) != 0;
}

static void flip_ahead(struct receiver *rx, uint64_t seq)
{
    uint64_t i = seq % TM_FRAME_WINDOW;
    rx->bits[i / 64] ^= (uint64_t)1 << (i % 64);
}

static void broken(struct tm_channel *ch, const char *reason)
{
    ch->broken = true;
    ch->stats.invalid++;
    ch->busy = true;
    ch->cfg.sink.refused(ch->cfg.sink.host, ch, reason);
    ch->busy = false;
}

/* Announces the message at p, if all of it is there. */
static void announce(struct tm_channel *ch, const uint8_t *p, size_t len)
{
    const struct tm_channel_sink *sink = &ch->cfg.sink;
    if (sink->coming == NULL || len <= TM_FRAME_PREFIX)
        return;
    uint32_t n = tm_load32(p);
    if (n != 0 && n <= len - TM_FRAME_PREFIX)
        sink->coming(sink->host, ch, tm_bytes_of(p + TM_FRAME_PREFIX, n));
}

/* Gives the whole messages at p to the owner; returns the bytes that are done with. */
static size_t deliver_run(struct tm_channel *ch, const uint8_t *p, size_t len)
{
    const struct tm_channel_sink *sink = &ch->cfg.sink;
    size_t at = 0;
    ch->busy = true;
    while (len - at >= TM_FRAME_PREFIX) {
        uint32_t n = tm_load32(p + at);
        if (TM_UNLIKELY(n == 0 || n > TM_CHANNEL_MESSAGE_MAX)) {
            broken(ch, "a message has a length that no message has");
            return at;
        }
        if (len - at - TM_FRAME_PREFIX < n)
            break;
        announce(ch, p + at + TM_FRAME_PREFIX + n, len - at - TM_FRAME_PREFIX - n);
        if (!sink->message(sink->host, ch, tm_bytes_of(p + at + TM_FRAME_PREFIX, n))) {
            ch->rx.stalled = true;
            break;
        }
        ch->stats.messages_received++;
        at += TM_FRAME_PREFIX + n;
    }
    ch->busy = false;
    return at;
}

void tm_channel_recv_deliver(struct tm_channel *ch)
{
    struct receiver *rx = &ch->rx;
    if (rx->stalled || ch->broken || rx->offset == rx->bytes.low)
        return;
    const uint8_t *p = tm_slide_at(&rx->bytes, rx->bytes.low);
    size_t taken = deliver_run(ch, p, (size_t)(rx->offset - rx->bytes.low));
    tm_slide_drop(&rx->bytes, rx->bytes.low + taken);
}

/* The frames that were ahead and now follow. */
static void catch_up(struct tm_channel *ch)
{
    struct receiver *rx = &ch->rx;
    for (; is_ahead(rx, rx->next); rx->next++) {
        const struct ahead *a = &rx->ahead[rx->next % TM_FRAME_WINDOW];
        if (a->offset != rx->offset) {
            broken(ch, "frames that overlap");
            return;
        }
        flip_ahead(rx, rx->next);
        rx->offset += a->len;
    }
}

static void in_order(struct tm_channel *ch, struct tm_bytes payload)
{
    struct receiver *rx = &ch->rx;
    size_t taken = 0;
    if (rx->bytes.low == rx->offset && !rx->stalled) {
        taken = deliver_run(ch, payload.data, payload.len);
        tm_slide_drop(&rx->bytes, rx->offset + taken);
    }
    size_t rest = payload.len - taken;
    if (rest > 0)
        memcpy(tm_slide_at(&rx->bytes, rx->offset + taken), payload.data + taken, rest);
    rx->offset += payload.len;
    rx->next++;
    bool more = taken == 0 || is_ahead(rx, rx->next);
    catch_up(ch);
    if (more)
        tm_channel_recv_deliver(ch);
}

static void out_of_order(struct tm_channel *ch, uint64_t seq, uint64_t offset,
                         struct tm_bytes payload)
{
    struct receiver *rx = &ch->rx;
    memcpy(tm_slide_at(&rx->bytes, offset), payload.data, payload.len);
    rx->ahead[seq % TM_FRAME_WINDOW] = (struct ahead){offset, (uint32_t)payload.len};
    flip_ahead(rx, seq);
    rx->ack_now = true;
    ch->stats.reordered++;
}

static bool plausible(const struct receiver *rx, const struct tm_frame_head *head)
{
    if (head->seq - rx->next >= TM_FRAME_WINDOW || head->offset < rx->offset)
        return false;
    if (head->offset > rx->edge || head->payload > rx->edge - head->offset)
        return false;
    return head->seq != rx->next || head->offset == rx->offset;
}

static uint64_t credit(const struct tm_channel *ch)
{
    const struct receiver *rx = &ch->rx;
    uint64_t from = rx->stalled ? rx->bytes.low : rx->offset;
    return tm_max_u64(rx->edge, from + ch->cfg.recv_window);
}

static void owe_ack(struct tm_channel *ch, const struct tm_frame_head *head, uint64_t now)
{
    struct receiver *rx = &ch->rx;
    rx->echo = true;
    rx->sent_us = head->sent_us;
    rx->sent_at = now;
    if (rx->ack_at == NEVER)
        rx->ack_at = now + ch->cfg.ack_delay_ns;
    if (++rx->unacked >= ACK_EVERY || credit(ch) - rx->edge >= ch->cfg.recv_window / 4)
        rx->ack_now = true;
}

void tm_channel_recv_data(struct tm_channel *ch, const struct tm_frame_head *head,
                          struct tm_bytes payload, uint64_t now)
{
    struct receiver *rx = &ch->rx;
    rx->ack_now |= (head->flags & TM_FRAME_ACK_NOW) != 0;
    if (payload.len == 0)
        return;
    if (head->seq < rx->next ||
        (head->seq - rx->next < TM_FRAME_WINDOW && is_ahead(rx, head->seq))) {
        ch->stats.duplicates++;
        rx->ack_now = true;
        return;
    }
    if (!plausible(rx, head)) {
        ch->stats.invalid++;
        return;
    }
    /* Without memory the frame counts as lost: it comes again. */
    if (tm_slide_reserve(&rx->bytes, head->offset + payload.len) != TM_OK)
        return;
    rx->last = tm_max_u64(rx->last, head->seq);
    if (head->seq == rx->next)
        in_order(ch, payload);
    else
        out_of_order(ch, head->seq, head->offset, payload);
    owe_ack(ch, head, now);
}

/* 64 bits of the ring from seq on.  Beyond `last` and before `next` the ring is empty. */
static uint64_t ring_word(const struct receiver *rx, uint64_t seq)
{
    unsigned i = (unsigned)(seq % TM_FRAME_WINDOW), shift = i % 64;
    uint64_t word = rx->bits[i / 64] >> shift;
    if (shift > 0)
        word |= rx->bits[(i / 64 + 1) % TM_FRAME_SACK_WORDS] << (64 - shift);
    return word;
}

void tm_channel_recv_fill_ack(struct tm_channel *ch, struct tm_frame_head *head, unsigned room,
                              uint64_t now)
{
    struct receiver *rx = &ch->rx;
    rx->edge = credit(ch);
    head->credit = rx->edge;
    head->ack = rx->next;
    if (rx->echo) {
        head->flags |= TM_FRAME_ECHO;
        head->echo_us = rx->sent_us + (uint32_t)((now - rx->sent_at) / 1000);
    }
    unsigned words = rx->last > rx->next ? (unsigned)((rx->last - rx->next + 63) / 64) : 0;
    head->sack_words = (uint8_t)(words < room ? words : room);
    uint8_t *bits = (uint8_t *)head + TM_FRAME_HEAD;
    for (unsigned w = 0; w < head->sack_words; w++)
        tm_store64(bits + 8 * w, ring_word(rx, rx->next + 1 + 64 * w));
}

void tm_channel_recv_acked(struct tm_channel *ch)
{
    ch->rx.unacked = 0;
    ch->rx.ack_now = false;
    ch->rx.ack_at = NEVER;
    ch->rx.echo = false;
}
