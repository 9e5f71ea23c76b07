/* What the target says.  Answers name the session that they answer.  Each time sending begins anew
 * there is a new one, so that of several answers which say "that does not follow" only the first
 * one counts. */
#include "actors/link_out_internal.h"

#include "actors/link_states.h"
#include "actors/link_sync.h"

#include <stdio.h>

#define STAGE_AGAIN_NS TM_SECONDS(5) /* after a refusal, which may be because of it */

/* Takes batches up to that record off the window. */
static void land(struct tm_link_out *out, uint64_t index)
{
    uint64_t sent_at = 0;
    while (out->flight_count > 0 && out->flight[out->flight_first].to.index <= index) {
        const struct tm_link_flight *f = &out->flight[out->flight_first];
        out->flight_bytes -= f->bytes;
        if (!f->staged)
            sent_at = f->sent_at;
        out->staging -= f->staged;
        out->flight_first = (out->flight_first + 1) % TM_LINK_WINDOW;
        out->flight_count--;
        tm_counter_add(out->link->ctx->counters, TM_COUNTER_link_batches_acked, 1);
    }
    if (sent_at != 0)
        tm_link_out_paced(out->link, tm_link_out_now(out) - sent_at);
}

/* Where a position lies in this log. */
enum place { IN_LOG, AHEAD, BEFORE, ELSEWHERE };

static enum place place_of(struct tm_link_out *out, const struct tm_link_position *at)
{
    struct tm_link_outlet *link = out->link;
    uint64_t term, hash;
    if (at->index > tm_link_out_commit(out))
        return AHEAD;
    if (at->index + 1 < link->ops->first(link->host, out))
        return BEFORE;
    if (!link->ops->meta(link->host, out, at->index, &term, &hash))
        return BEFORE;
    return term == at->term && hash == at->hash ? IN_LOG : ELSEWHERE;
}

/* Sending goes on after that position, or after what is staged behind it. */
static void begin_at(struct tm_link_out *out, const struct tm_link_at *at,
                     const struct tm_link_mark *marks, unsigned known)
{
    tm_link_out_forget_flight(out);
    out->opened = out->session;
    tm_link_out_new_session(out);
    out->begun = out->sent = out->scanned = at->position;
    out->acked = out->received = out->staged = at->committed;
    out->begun_at = tm_link_out_now(out);
    out->waiting_since = 0;
    /* Where the link was rewound it is to stand by this incarnation, also if nothing is shipped. */
    out->move = at->position.incarnation == 0 && at->position.hlc != 0;
    tm_link_out_become(out, TM_LINK_OUT_STREAM, 0);
    tm_link_out_take_marks(out, at, marks, known);
}

/* The log alone does not bring the target up. */
static void fall_behind(struct tm_link_out *out, const struct tm_link_at *at,
                        const struct tm_link_mark *marks, unsigned known)
{
    tm_link_out_forget_flight(out);
    out->acked = at->committed;
    out->live = known > 0 ? marks[known - 1].index : 0;
    out->sync_stands =
        (struct tm_link_mark){at->position.index, at->position.term, at->position.hash};
    tm_link_out_become(out, TM_LINK_OUT_BEHIND, 0);
}

/* Whether what the target has was shipped by another filter, or is to be looked at all anew. */
static bool must_compare(const struct tm_link_out *out, uint64_t rules)
{
    uint64_t hash = out->link->filter.hash;
    bool asked_for = rules >> TM_LINK_FILTER_BITS != hash >> TM_LINK_FILTER_BITS;
    return rules != hash && (out->link->backfill || asked_for);
}

/* The target was away for too long: it stands until an operator has had it forget the stream, and
 * is compared then, whatever the log has.  True: that was it. */
static bool was_absent(struct tm_link_out *out, const struct tm_link_at *at,
                       const struct tm_link_mark *marks, unsigned known)
{
    struct tm_link_outlet *link = out->link;
    uint64_t index, bar;
    out->bar = 0;
    if (link->ops->absent == NULL || !link->ops->absent(link->host, out, &index, &bar) ||
        (at->position.incarnation != 0 && at->position.index > index))
        return false;
    if (at->position.incarnation == 0) {
        out->bar = bar;
        fall_behind(out, at, marks, known);
        return true;
    }
    tm_link_out_forget_flight(out);
    tm_link_out_become(out, TM_LINK_OUT_SNAPSHOT, tm_link_out_now(out) + TM_LINK_STANDS_NS);
    return true;
}

static void on_position(struct tm_link_out *out, const struct tm_link_at *at,
                        const struct tm_link_mark *marks)
{
    unsigned known = tm_link_out_known(out, marks, at->marks);
    if (out->state == TM_LINK_OUT_RESYNC) {
        tm_link_out_ask_later(out, false); /* it does not stand any more where it stood */
        return;
    }
    if (out->state == TM_LINK_OUT_SNAPSHOT && at->position.incarnation == 0) {
        tm_link_out_restart(out); /* an operator has rewound it */
        return;
    }
    if ((out->state != TM_LINK_OUT_ASKED && out->state != TM_LINK_OUT_STREAM) ||
        was_absent(out, at, marks, known))
        return;
    tm_link_out_may_speak(out);
    if (at->position.hlc != 0)
        out->link->ops->observe(out->link->host, out, at->position.hlc);
    enum place place = place_of(out, &at->position);
    if (place == BEFORE && known > 0)
        place = IN_LOG; /* what is staged there reaches up to the log */
    if (known < at->marks && tm_link_out_is_outdated(out, &marks[at->marks - 1]))
        place = AHEAD;
    switch (place) {
    case IN_LOG:
        if (at->position.incarnation != 0 && must_compare(out, at->position.rules))
            fall_behind(out, at, marks, known);
        else
            begin_at(out, at, marks, known);
        break;
    case AHEAD: /* it was committed here once: a new leader learns so in a moment, or it was lost;
                   or another one leads */
        if (out->backoff_ns < TM_LINK_BACKOFF_MAX_NS) {
            tm_link_out_ask_later(out, false);
            break;
        }
        /* fall through */
    case ELSEWHERE:
        tm_link_out_forget_flight(out);
        tm_link_out_accept(out);
        tm_link_out_become(out, TM_LINK_OUT_DIVERGED, tm_link_out_now(out) + TM_LINK_STANDS_NS);
        break;
    case BEFORE:
        fall_behind(out, at, marks, known);
        break;
    }
}

/* What is not committed may have been sent by an older leader: it has to be what is here. */
static bool is_sent(const struct tm_link_out *out, uint64_t index, uint64_t hash)
{
    const struct tm_link_outlet *link = out->link;
    uint64_t term, own;
    return index <= out->sent.index &&
           (!link->stages || (link->ops->meta(link->host, out, index, &term, &own) && own == hash));
}

static void on_ack(struct tm_link_out *out, const struct tm_link_receipt *ack)
{
    if (out->state != TM_LINK_OUT_STREAM)
        return;
    if (ack->index > out->acked)
        out->delay_ms = ack->delay_ms;
    out->backoff_ns = TM_LINK_BACKOFF_MIN_NS;
    if (ack->index <= out->sent.index)
        out->acked = tm_max_u64(out->acked, ack->index);
    if (is_sent(out, ack->received, ack->received_hash))
        out->received = tm_max_u64(out->received, ack->received);
    if (ack->staged > out->staged && is_sent(out, ack->staged, ack->staged_hash))
        tm_link_out_is_staged(out, ack->staged);
    out->acked_at = tm_link_out_now(out);
    land(out, ack->index);
    tm_link_out_look_taken(out);
    out->next_at = 0;
}

static void on_moved(struct tm_link_out *out, unsigned block)
{
    struct tm_link_outlet *link = out->link;
    bool known = false;
    for (unsigned i = 0; i < link->block_count; i++)
        known |= link->blocks[i] == block;
    if (!known || block == out->block) {
        tm_link_out_ask_later(out, !known);
        return;
    }
    bool first = out->backoff_ns == TM_LINK_BACKOFF_MIN_NS;
    out->block = block;
    tm_link_out_ask_later(out, false);
    if (first)
        out->next_at = 0; /* who is sent from one to the other again and again has to wait */
}

static void on_refused(struct tm_link_out *out, const struct tm_link_refused *r,
                       struct tm_bytes text)
{
    tm_link_out_forget_flight(out);
    out->refusal = (enum tm_link_refusal)r->reason;
    snprintf(out->refusal_text, sizeof out->refusal_text, "%.*s", (int)text.len,
             (const char *)text.data);
    tm_counter_add(out->link->ctx->counters, TM_COUNTER_link_batches_refused, 1);
    out->refused_cursor = out->sync_cursor;
    out->stage_after = tm_link_out_now(out) + STAGE_AGAIN_NS;
    uint64_t wait = tm_link_refusal_stands(r->reason) ? TM_LINK_STANDS_NS : out->backoff_ns;
    out->backoff_ns = tm_min_u64(2 * out->backoff_ns, TM_LINK_BACKOFF_MAX_NS);
    tm_link_out_become(out, TM_LINK_OUT_REFUSED, tm_link_out_now(out) + wait);
}

/* DIFFERS or STATED. */
static void on_sync(struct tm_link_out *out, uint16_t type, struct tm_bytes body)
{
    if (out->state != TM_LINK_OUT_RESYNC)
        return;
    out->backoff_ns = TM_LINK_BACKOFF_MIN_NS;
    out->next_at = 0;
    bool done = tm_link_sync_message(out->link->sync, type, body);
    tm_link_out_look_taken(out);
    if (!done)
        return;
    out->sync_to = (struct tm_link_position){0};
    tm_link_out_become(out, TM_LINK_OUT_ASK, 0);
}

/* What was so once stays so. */
static void on_heard(struct tm_link_out *out, struct tm_bytes body)
{
    struct tm_link_hear m;
    if (tm_link_hear_decode(body, &m) != TM_OK || m.stream.source != out->source ||
        m.stream.target != out->target || m.stream.incarnation != out->link->incarnation)
        return;
    tm_link_told_raise(&out->heard, &m.told);
}

/* Whether an answer is to what this stream sent last. */
static bool is_ours(const struct tm_link_out *out, unsigned block, const struct tm_link_stream *s)
{
    return s->session == out->session && s->source == out->source && s->target == out->target &&
           block == out->block;
}

/* Whether the target says, unasked, that it does not stand any more where it stood: an operator has
 * rewound the link, and no batch has come since that would have said so. */
static bool is_rewound(const struct tm_link_out *out, unsigned block, const struct tm_link_at *at)
{
    return out->state == TM_LINK_OUT_STREAM && at->stream.session == out->opened &&
           at->stream.source == out->source && at->stream.target == out->target &&
           block == out->block && at->position.index < out->acked;
}

void tm_link_out_message(struct tm_link_out *out, unsigned block, uint16_t type,
                         struct tm_bytes body)
{
    union {
        struct tm_link_stream stream;
        struct tm_link_at at;
        struct tm_link_receipt ack;
        struct tm_link_moved moved;
        struct tm_link_refused refused;
    } m;
    struct tm_link_mark marks[TM_LINK_MARKS];
    struct tm_bytes text;
    out->seen_at = tm_link_out_now(out);
    if (type == TM_MESSAGE_LINK_LACKS)
        tm_link_states_answer(out, body);
    else if (type == TM_MESSAGE_LINK_HEARD)
        on_heard(out, body);
    else if (type == TM_MESSAGE_LINK_POSITION && tm_link_at_decode(body, &m.at, marks) == TM_OK) {
        if (is_ours(out, block, &m.stream))
            on_position(out, &m.at, marks);
        else if (is_rewound(out, block, &m.at))
            tm_link_out_restart(out);
    } else if (type == TM_MESSAGE_LINK_ACK && tm_link_receipt_decode(body, &m.ack) == TM_OK) {
        if (is_ours(out, block, &m.stream))
            on_ack(out, &m.ack);
    } else if (type == TM_MESSAGE_LINK_MOVED && tm_link_moved_decode(body, &m.moved) == TM_OK) {
        if (is_ours(out, block, &m.stream))
            on_moved(out, m.moved.block);
    } else if (type == TM_MESSAGE_LINK_REFUSED &&
               tm_link_refused_decode(body, &m.refused, &text) == TM_OK) {
        if (is_ours(out, block, &m.stream))
            on_refused(out, &m.refused, text);
    } else if (body.len >= sizeof m.stream) {
        memcpy(&m.stream, body.data, sizeof m.stream);
        if (is_ours(out, block, &m.stream))
            on_sync(out, type, body);
    }
}

void tm_link_out_up(struct tm_link_out *out, unsigned block)
{
    if (out->state != TM_LINK_OUT_ASK)
        return;
    out->block = block;
    out->backoff_ns = TM_LINK_BACKOFF_MIN_NS;
    out->next_at = 0;
}

void tm_link_out_down(struct tm_link_out *out, unsigned block)
{
    if (out->block != block)
        return;
    tm_link_out_accept(out); /* it does not refuse any more */
    if (out->state == TM_LINK_OUT_ASKED || out->state == TM_LINK_OUT_STREAM ||
        out->state == TM_LINK_OUT_REFUSED || out->state == TM_LINK_OUT_RESYNC)
        tm_link_out_ask_later(out, true);
}
