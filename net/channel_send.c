/* channel_send.c: the way out.
 *
 * Messages are appended to one byte stream, each behind its length.  Flush cuts the stream into
 * frames: as many whole messages as fit, so that the receiver finds them in one piece; only what is
 * larger than a frame is cut.  Each frame has a number and a slot that remembers which bytes it
 * was, when it left and as which emission; sent again, it is the same bytes under the same number.
 *
 * The peer's acknowledgements name frames: all below one number, and a bitmap above.  A frame that
 * was passed by three later emissions is lost (fast retransmit; RFC 9002, 6.1.1); if nothing
 * is heard for the timeout of RFC 6298, all are, and a few are sent to ask.  The frames in
 * flight are halved on loss and grow again as on TCP (RFC 5681), between 16 and 1024: enough to
 * take part in a crowded switch.  Round trips are measured by the echo of our own clock, so that
 * also a frame that was sent again gives a true sample (RFC 7323, 4). */
#include "net/channel_internal.h"

#define RTO_SLACK_NS   TM_MS(1) /* least that rttvar adds: turns and schedulers have jitter */
#define ECHO_US_MAX    60000000u
#define BACKOFF_MAX    10
#define CUT_LEAST      64 /* do not begin a large message in less */
#define SACK_WORDS_MIN 2  /* words that a full frame still has room for */

static struct sent *slot(const struct sender *tx, uint64_t seq)
{
    return &tx->sent[seq % TM_FRAME_WINDOW];
}

void tm_channel_send_start(struct tm_channel *ch)
{
    struct sender *tx = &ch->tx;
    struct tm_slide bytes = tx->bytes;
    struct sent *sent = tx->sent;
    tm_slide_reset(&bytes);
    *tx = (struct sender){
        .bytes = bytes,
        .sent = sent,
        .base = 1,
        .next = 1,
        .lost_from = 1,
        .flight = FLIGHT_FIRST,
        .flight_slow = TM_FRAME_WINDOW,
        .rto_at = NEVER,
        .probe_at = NEVER,
        .want_writable = tx->want_writable,
    };
}

enum tm_err tm_channel_send(struct tm_channel *ch, const struct tm_bytes *pieces, unsigned count)
{
    struct sender *tx = &ch->tx;
    size_t len = 0;
    for (unsigned i = 0; i < count; i++) {
        if (pieces[i].len > TM_CHANNEL_MESSAGE_MAX - len)
            return TM_ERR_TOOBIG;
        len += pieces[i].len;
    }
    if (len == 0)
        return TM_ERR_INVALID;
    if (tm_channel_queued(ch) >= ch->cfg.send_window) {
        tx->want_writable = true;
        ch->stats.full++;
        return TM_ERR_FULL;
    }
    uint64_t at = tx->bytes.high;
    enum tm_err err = tm_slide_reserve(&tx->bytes, at + TM_FRAME_PREFIX + len);
    if (err != TM_OK)
        return err;
    uint8_t *p = tm_slide_at(&tx->bytes, at);
    tm_store32(p, (uint32_t)len);
    p += TM_FRAME_PREFIX;
    for (unsigned i = 0; i < count; i++) {
        if (pieces[i].len > 0)
            memcpy(p, pieces[i].data, pieces[i].len);
        p += pieces[i].len;
    }
    tx->messages++;
    ch->stats.messages_sent++;
    return TM_OK;
}

static uint64_t rto(const struct tm_channel *ch)
{
    const struct sender *tx = &ch->tx;
    uint64_t ns = RTO_FIRST_NS;
    if (tx->srtt != 0)
        ns = tx->srtt + tm_max_u64(4 * tx->rttvar, RTO_SLACK_NS) + ch->cfg.ack_delay_ns;
    ns = tm_max_u64(ns, ch->cfg.rto_min_ns) << tx->backoff;
    return tm_min_u64(ns, ch->cfg.rto_max_ns);
}

/* RFC 6298, 2. */
static void measured(struct sender *tx, uint64_t rtt)
{
    if (tx->srtt == 0) {
        tx->srtt = rtt;
        tx->rttvar = rtt / 2;
        tx->rtt_min = rtt;
        return;
    }
    uint64_t off = rtt > tx->srtt ? rtt - tx->srtt : tx->srtt - rtt;
    tx->rttvar = (3 * tx->rttvar + off) / 4;
    tx->srtt = (7 * tx->srtt + rtt) / 8;
    tx->rtt_min = tm_min_u64(tx->rtt_min, rtt);
}

static void take_echo(struct sender *tx, const struct tm_frame_head *head, uint64_t now)
{
    uint32_t us = (uint32_t)(now / 1000) - head->echo_us;
    if ((head->flags & TM_FRAME_ECHO) != 0 && us < ECHO_US_MAX)
        measured(tx, us == 0 ? 1000 : TM_US(us));
}

/* Returns 1 if this is news. */
static uint32_t arrived(struct sender *tx, struct sent *s, uint64_t now)
{
    if (s->state == SENT_ACKED)
        return 0;
    if (s->state == SENT_FLYING)
        tx->flying--;
    else
        tx->lost--;
    s->state = SENT_ACKED;
    /* Sent again and heard of sooner than can be: that was the first one. */
    if (!s->again || now - s->at >= tx->rtt_min)
        tx->arrived_turn = tm_max_u64(tx->arrived_turn, s->turn);
    return 1;
}

static uint32_t take_ack(struct sender *tx, uint64_t ack, uint64_t now)
{
    uint32_t news = 0;
    for (; tx->base < ack; tx->base++) {
        struct sent *s = slot(tx, tx->base);
        news += arrived(tx, s, now);
        tx->messages -= s->ends;
    }
    tx->lost_from = tm_max_u64(tx->lost_from, tx->base);
    tm_slide_drop(&tx->bytes, tx->base == tx->next ? tx->packed : slot(tx, tx->base)->offset);
    return news;
}

static uint32_t take_sack(struct sender *tx, unsigned words, const uint8_t *bits, uint64_t now)
{
    uint32_t news = 0;
    for (unsigned w = 0; w < words; w++) {
        for (uint64_t left = tm_load64(bits + 8 * w); left != 0; left &= left - 1) {
            uint64_t seq = tx->base + 1 + 64 * w + (unsigned)__builtin_ctzll(left);
            if (seq >= tx->next)
                return news;
            news += arrived(tx, slot(tx, seq), now);
        }
    }
    return news;
}

static void lose(struct sender *tx, uint64_t seq)
{
    struct sent *s = slot(tx, seq);
    TM_ASSERT(s->state == SENT_FLYING && tx->flying > 0);
    s->state = SENT_LOST;
    tx->flying--;
    tx->lost++;
    tx->lost_from = tm_min_u64(tx->lost_from, seq);
}

static void find_losses(struct tm_channel *ch)
{
    struct sender *tx = &ch->tx;
    bool fresh = false;
    for (uint64_t seq = tx->base; seq < tx->next; seq++) {
        struct sent *s = slot(tx, seq);
        if (s->state != SENT_FLYING || s->turn + LOSS_GAP > tx->arrived_turn)
            continue;
        lose(tx, seq);
        fresh |= s->turn > tx->recovery;
        ch->stats.fast_retransmits++;
    }
    if (!fresh)
        return;
    tx->flight = tx->flight / 2 > FLIGHT_LEAST ? tx->flight / 2 : FLIGHT_LEAST;
    tx->flight_slow = tx->flight;
    tx->flight_count = 0;
    tx->recovery = tx->turns;
}

static void grow_flight(struct sender *tx, uint32_t news)
{
    if (tx->flight < tx->flight_slow) {
        tx->flight += news;
    } else {
        tx->flight_count += news;
        if (tx->flight_count >= tx->flight) {
            tx->flight_count = 0;
            tx->flight++;
        }
    }
    if (tx->flight > TM_FRAME_WINDOW)
        tx->flight = TM_FRAME_WINDOW;
}

void tm_channel_send_acked(struct tm_channel *ch, const struct tm_frame_head *head,
                           const uint8_t *bits, uint64_t now)
{
    struct sender *tx = &ch->tx;
    if (head->ack > tx->next) {
        ch->stats.invalid++;
        return;
    }
    if (head->credit > tx->credit) {
        tx->credit = head->credit;
        tx->starved = false;
        tx->probes = 0;
    }
    take_echo(tx, head, now);
    if (head->ack < tx->base)
        return;
    uint32_t news = take_ack(tx, head->ack, now);
    news += take_sack(tx, head->sack_words, bits, now);
    if (news == 0)
        return;
    tx->backoff = 0;
    tx->rto_at = tx->base < tx->next ? now + rto(ch) : NEVER;
    grow_flight(tx, news);
    if (head->sack_words > 0)
        find_losses(ch);
}

void tm_channel_send_lose_all(struct tm_channel *ch)
{
    struct sender *tx = &ch->tx;
    for (uint64_t seq = tx->base; tx->flying > 0; seq++)
        if (slot(tx, seq)->state == SENT_FLYING)
            lose(tx, seq);
}

static void timed_out(struct tm_channel *ch)
{
    struct sender *tx = &ch->tx;
    if (tx->flying > 0) {
        ch->stats.timeouts++;
        tx->flight_slow = tx->flight / 2 > FLIGHT_LEAST ? tx->flight / 2 : FLIGHT_LEAST;
        tx->flight = FLIGHT_TIMEOUT;
        tx->flight_count = 0;
        tx->recovery = tx->turns;
        tm_channel_send_lose_all(ch);
    }
    if (tx->backoff < BACKOFF_MAX)
        tx->backoff++;
    tx->ack_now = true;
}

void tm_channel_send_tick(struct tm_channel *ch, uint64_t now)
{
    struct sender *tx = &ch->tx;
    if (now >= tx->rto_at) {
        timed_out(ch);
        tx->rto_at = now + rto(ch);
    }
    if (now >= tx->probe_at) {
        tx->probe_due = true;
        if (tx->probes < BACKOFF_MAX)
            tx->probes++;
        tx->probe_at = now + tm_min_u64(rto(ch) << tx->probes, ch->cfg.rto_max_ns);
    }
}

struct cut {
    size_t len;
    uint64_t uncut; /* of the message that the frame ends in */
    uint16_t ends;
};

/* What the next new frame of at most max bytes would hold; len 0: the credits do not allow it. */
static struct cut cut_frame(const struct sender *tx, size_t max)
{
    struct cut c = {0};
    size_t room = tm_min_u64(max, tx->credit - tx->packed);
    if (tx->uncut > 0) {
        c.len = tm_min_u64(tx->uncut, room);
        c.uncut = tx->uncut - c.len;
        if (c.uncut > 0)
            return c;
        c.ends = 1;
    }
    while (tx->packed + c.len < tx->bytes.high && c.ends < UINT16_MAX) {
        size_t need = TM_FRAME_PREFIX + tm_load32(tm_slide_at(&tx->bytes, tx->packed + c.len));
        size_t left = room - c.len;
        if (need <= left) {
            c.len += need;
            c.ends++;
            continue;
        }
        if (need > max && left >= CUT_LEAST) {
            c.len += left;
            c.uncut = need - left;
        }
        break;
    }
    return c;
}

/* Emits payload [offset, offset + len) as frame seq; len 0, seq 0: only an acknowledgement. */
static bool emit_data(struct tm_channel *ch, uint64_t seq, uint64_t offset, size_t len,
                      uint64_t now)
{
    struct {
        struct tm_frame_head head;
        uint8_t sack[8 * TM_FRAME_SACK_WORDS];
    } f;
    tm_channel_head(ch, &f.head, TM_FRAME_DATA, ch->peer_boot, now);
    f.head.seq = seq;
    f.head.offset = offset;
    f.head.flags = ch->tx.ack_now ? TM_FRAME_ACK_NOW : 0;
    tm_channel_recv_fill_ack(ch, &f.head, (unsigned)((ch->cfg.max_frame - TM_FRAME_HEAD - len) / 8),
                             now);
    struct tm_bytes payload = {0};
    if (len > 0)
        payload = tm_bytes_of(tm_slide_at(&ch->tx.bytes, offset), len);
    if (!tm_channel_emit(ch, &f.head, payload, now))
        return false;
    ch->tx.ack_now = false;
    tm_channel_recv_acked(ch);
    return true;
}

static void took_off(struct sender *tx, struct sent *s, uint64_t now)
{
    s->state = SENT_FLYING;
    s->at = now;
    s->turn = ++tx->turns;
    tx->flying++;
}

static bool flush_lost(struct tm_channel *ch, uint64_t now)
{
    struct sender *tx = &ch->tx;
    for (; tx->lost > 0 && tx->flying < tx->flight; tx->lost_from++) {
        struct sent *s = slot(tx, tx->lost_from);
        if (s->state != SENT_LOST)
            continue;
        if (!emit_data(ch, tx->lost_from, s->offset, s->len, now))
            return false;
        s->again = 1;
        tx->lost--;
        took_off(tx, s, now);
        ch->stats.retransmits++;
    }
    return true;
}

static bool flush_new(struct tm_channel *ch, uint64_t now)
{
    struct sender *tx = &ch->tx;
    const size_t max = ch->cfg.max_frame - TM_FRAME_HEAD - 8 * SACK_WORDS_MIN;
    while (tx->packed < tx->bytes.high && tx->flying < tx->flight &&
           tx->next - tx->base < TM_FRAME_WINDOW) {
        struct cut c = cut_frame(tx, max);
        tx->starved = c.len == 0;
        if (tx->starved)
            return true;
        if (!emit_data(ch, tx->next, tx->packed, c.len, now))
            return false;
        struct sent *s = slot(tx, tx->next++);
        *s = (struct sent){.offset = tx->packed, .len = (uint32_t)c.len, .ends = c.ends};
        took_off(tx, s, now);
        tx->packed += c.len;
        tx->uncut = c.uncut;
    }
    return true;
}

/* Credits come with acknowledgements only; if none is under way, the last may have been lost. */
static void arm_timers(struct tm_channel *ch, uint64_t now)
{
    struct sender *tx = &ch->tx;
    if (tx->base < tx->next && tx->rto_at == NEVER)
        tx->rto_at = now + rto(ch);
    if (!tx->starved || tx->base < tx->next)
        tx->probe_at = NEVER;
    else if (tx->probe_at == NEVER)
        tx->probe_at = now + rto(ch);
}

bool tm_channel_send_flush(struct tm_channel *ch, uint64_t now)
{
    struct sender *tx = &ch->tx;
    bool room = flush_lost(ch, now) && flush_new(ch, now);
    arm_timers(ch, now);
    if (!room || (!ch->rx.ack_now && !tx->probe_due))
        return room;
    tx->ack_now |= tx->probe_due;
    if (!emit_data(ch, 0, 0, 0, now))
        return false;
    tx->probe_due = false;
    ch->stats.acks_sent++;
    return true;
}

bool tm_channel_send_has_work(const struct tm_channel *ch)
{
    const struct sender *tx = &ch->tx;
    if (ch->rx.ack_now || tx->probe_due)
        return true;
    if (tx->flying >= tx->flight)
        return false;
    return tx->lost > 0 ||
           (tx->packed < tx->bytes.high && !tx->starved && tx->next - tx->base < TM_FRAME_WINDOW);
}
