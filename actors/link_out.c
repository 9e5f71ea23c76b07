/* The happy path: OPEN, POSITION, then in each turn what was committed since goes into a batch, and
 * acknowledgements take batches off the window.  A batch that is not acknowledged in time is not
 * sent again as it was: the target is asked where it stands, and what follows is read from the log
 * anew.  So nothing has to be kept here but what was sent up to where. */
#include "actors/link_out_internal.h"

#include "actors/link_batch.h"
#include "actors/link_sync.h"
#include "runtime/hash.h"
#include "runtime/hlc.h"

#define ANSWER_NS    TM_MS(1000) /* how long an OPEN is waited for */
#define ACK_NS       TM_SECONDS(3)
#define FULL_NS      TM_MS(2)
#define SCAN_RECORDS 1024       /* looked at for one batch */
#define STEPS        8          /* batches, or so many records passed over, in one turn */
#define BURST_NS     TM_MS(100) /* how much of a throttled rate may be sent at once */
#define TURN_NS      TM_MS(20)  /* another stream is being resynchronised */
#define TELL_NS      TM_SECONDS(10)
#define NEAR_NS      TM_MS(5)       /* a target that answers sooner is near */
#define SPAN_NS      TM_SECONDS(10) /* how long that is believed, at least */
#define PACK_NS      TM_SECONDS(1)  /* how long a way that was full is thought to be so */
#define NEVER        UINT64_MAX

const char *tm_link_out_state_name(enum tm_link_out_state state)
{
    static const char *const names[] = {
#define X(name, text) #name,
        TM_LINK_OUT_STATE_LIST(X)
#undef X
    };
    return names[state];
}

const char *tm_link_out_state_text(enum tm_link_out_state state)
{
    static const char *const texts[] = {
#define X(name, text) text,
        TM_LINK_OUT_STATE_LIST(X)
#undef X
    };
    return texts[state];
}

/* ---- states ---- */

static bool may_become(enum tm_link_out_state from, enum tm_link_out_state to)
{
    switch (to) {
    case TM_LINK_OUT_ASK:
    case TM_LINK_OUT_REFUSED:
        return true;
    case TM_LINK_OUT_ASKED:
        return from == TM_LINK_OUT_ASK;
    case TM_LINK_OUT_STREAM:
        return from == TM_LINK_OUT_ASKED || from == TM_LINK_OUT_STREAM;
    case TM_LINK_OUT_BEHIND:
    case TM_LINK_OUT_DIVERGED:
    case TM_LINK_OUT_SNAPSHOT:
        return from == TM_LINK_OUT_ASKED || from == TM_LINK_OUT_STREAM;
    case TM_LINK_OUT_RESYNC:
        return from == TM_LINK_OUT_BEHIND;
    }
    return false;
}

void tm_link_out_become(struct tm_link_out *out, enum tm_link_out_state state, uint64_t next_at)
{
    TM_ASSERT(may_become(out->state, state));
    if (out->state == TM_LINK_OUT_RESYNC)
        tm_link_sync_end(out->link->sync, out);
    out->state = state;
    out->next_at = next_at;
    tm_link_out_say(out);
}

void tm_link_out_forget_flight(struct tm_link_out *out)
{
    out->flight_first = out->flight_count = 0;
    out->staging = 0;
    out->notice_at = 0;
    out->flight_bytes = 0;
}

void tm_link_out_ask_later(struct tm_link_out *out, bool elsewhere)
{
    struct tm_link_outlet *link = out->link;
    tm_link_out_forget_flight(out);
    if (elsewhere) {
        unsigned at = 0;
        while (at < link->block_count && link->blocks[at] != out->block)
            at++;
        out->block = link->blocks[at < link->block_count ? (at + 1) % link->block_count : 0];
    }
    uint64_t wait = out->backoff_ns / 2 + tm_ctx_random(link->ctx) % (out->backoff_ns / 2 + 1);
    out->backoff_ns = tm_min_u64(2 * out->backoff_ns, TM_LINK_BACKOFF_MAX_NS);
    tm_link_out_become(out, TM_LINK_OUT_ASK, tm_link_out_now(out) + wait);
}

uint64_t tm_link_out_new_session(struct tm_link_out *out)
{
    do
        out->session = tm_ctx_random(out->link->ctx);
    while (out->session == 0);
    return out->session;
}

void tm_link_out_init(struct tm_link_out *out, struct tm_link_outlet *link, void *log,
                      uint32_t source, uint32_t target)
{
    TM_ASSERT(link->block_count >= 1);
    *out = (struct tm_link_out){.link = link,
                                .log = log,
                                .source = source,
                                .target = target,
                                .block = link->blocks[target % link->block_count],
                                .backoff_ns = TM_LINK_BACKOFF_MIN_NS,
                                .said = TM_LINK_OUT_STREAM,
                                .bytes_a_record = 128};
}

void tm_link_out_end(struct tm_link_out *out)
{
    tm_link_sync_end(out->link->sync, out);
}

void tm_link_out_restart(struct tm_link_out *out)
{
    tm_link_out_forget_flight(out);
    out->backoff_ns = TM_LINK_BACKOFF_MIN_NS;
    tm_link_out_become(out, TM_LINK_OUT_ASK, 0);
}

/* ---- sending ---- */

struct tm_link_stream tm_link_out_stream(const struct tm_link_out *out)
{
    const struct tm_link_outlet *link = out->link;
    return (struct tm_link_stream){.session = out->session,
                                   .incarnation = link->incarnation,
                                   .epoch = link->epoch,
                                   .source = out->source,
                                   .sources = link->sources,
                                   .target = out->target,
                                   .targets = link->targets};
}

static void ask(struct tm_link_out *out)
{
    tm_link_out_new_session(out);
    struct tm_link_open open = {tm_link_out_stream(out)};
    struct tm_bytes piece = tm_bytes_of(&open, sizeof open);
    enum tm_err e =
        out->link->ops->send(out->link->host, out, out->block, TM_MESSAGE_LINK_OPEN, &piece, 1);
    if (e == TM_OK)
        tm_link_out_become(out, TM_LINK_OUT_ASKED, tm_link_out_now(out) + ANSWER_NS);
    else
        tm_link_out_ask_later(out, e == TM_ERR_CLOSED);
}

void tm_link_outlet_share(struct tm_link_outlet *link, uint32_t led)
{
    uint64_t share = link->rate * led / link->sources;
    link->limits.bytes_per_second = link->rate == 0 ? 0 : tm_max_u64(share, 1);
}

/* What the link may send now from this worker: a bucket that fills at its share. */
static bool has_tokens(struct tm_link_outlet *link)
{
    uint64_t rate = link->limits.bytes_per_second, now = tm_ctx_now(link->ctx);
    if (rate == 0)
        return true;
    uint64_t ns = tm_min_u64(now - link->refilled_at, TM_SECONDS(1));
    uint64_t got = rate * (ns / 1000) / 1000000;
    if (got > 0) {
        int64_t most = (int64_t)tm_max_u64(rate * (BURST_NS / 1000) / 1000000, 1);
        link->refilled_at = now;
        link->tokens += (int64_t)got;
        if (link->tokens > most)
            link->tokens = most;
    }
    return link->tokens > 0;
}

/* A batch is worth sending: enough has come together, or it is the time of the link's next round.
 * All streams that have something send it then, so that the target flushes once for all of them; a
 * link that was silent begins a round with the first record. */
static bool is_due(const struct tm_link_out *out)
{
    struct tm_link_outlet *link = out->link;
    const struct tm_link_limits *limits = &link->limits;
    uint64_t waiting = tm_link_out_limit(out) - out->scanned.index, now = tm_link_out_now(out);
    bool begins = now >= link->round_at + TM_US(limits->batch_delay_us);
    if (begins)
        link->round_at = now;
    return begins || link->prompt || out->waiting_since < link->round_at ||
           waiting * out->bytes_a_record >= limits->batch_bytes;
}

static bool has_room(const struct tm_link_out *out)
{
    return out->flight_count < TM_LINK_WINDOW && out->flight_bytes < out->link->limits.window_bytes;
}

static bool is_held(const struct tm_link_out *out)
{
    const struct tm_link_pace *p = &out->link->pace;
    return out->block == p->held_block && tm_link_out_now(out) < p->held_until;
}

/* Takes records into the batch until it is full, the end of what may be shipped or of what one turn
 * looks at.  TM_ERR_AGAIN: the next one is being read. */
static enum tm_err fill(struct tm_link_out *out, struct tm_link_builder *b, uint64_t *oldest_ms)
{
    struct tm_link_outlet *link = out->link;
    uint64_t commit = tm_link_out_commit(out), limit = tm_link_out_limit(out);
    enum tm_err e = TM_OK;
    for (unsigned i = 0;
         i < SCAN_RECORDS && b->to.index < limit && b->used < link->limits.batch_bytes; i++) {
        const struct tm_record *record;
        bool was_empty = b->used == 0;
        e = link->ops->record(link->host, out, b->to.index + 1, &record);
        if (b->to.index >= commit && (e != TM_OK || !tm_link_out_may_stage(b, record)))
            return TM_OK; /* when it is committed */
        if (e == TM_OK)
            e = tm_link_builder_add(b, record);
        if (e != TM_OK)
            break;
        if (was_empty && b->used > 0)
            *oldest_ms = tm_hlc_ms(record->hlc);
    }
    return e == TM_ERR_FULL ? TM_OK : e;
}

void tm_link_out_paced(struct tm_link_outlet *link, uint64_t ns)
{
    struct tm_link_pace *p = &link->pace;
    uint64_t now = tm_ctx_now(link->ctx);
    if (now - p->since >= SPAN_NS) {
        p->before = p->quickest;
        p->quickest = 0;
        p->since = now;
    }
    ns = tm_max_u64(ns, 1);
    p->quickest = p->quickest == 0 ? ns : tm_min_u64(p->quickest, ns);
}

static bool is_near(uint64_t ns)
{
    return ns != 0 && ns < NEAR_NS;
}

/* Packing costs both ends more than sending does, unless the way is long, full, or paid by the
 * byte. */
static bool packs(const struct tm_link_outlet *link)
{
    const struct tm_link_pace *p = &link->pace;
    if (link->plain || link->limits.bytes_per_second != 0)
        return !link->plain;
    return tm_ctx_now(link->ctx) < p->full_until || !(is_near(p->quickest) || is_near(p->before));
}

static enum tm_err put_batch(struct tm_link_out *out, const struct tm_link_builder *b, bool staged,
                             uint32_t *bytes)
{
    struct tm_link_outlet *link = out->link;
    struct tm_bytes raw = tm_link_builder_raw(b);
    struct tm_link_batch head = {
        .stream = tm_link_out_stream(out),
        .from = b->from,
        .to = b->to,
        .raw_hash = tm_hash64(raw.data, raw.len, 0),
        .raw_len = (uint32_t)raw.len,
        .packed_len = packs(link) ? tm_link_pack(raw, link->packed, TM_LINK_RAW_MAX) : 0};
    struct tm_bytes pieces[2] = {tm_bytes_of(&head, sizeof head),
                                 tm_bytes_of(link->packed, head.packed_len)};
    if (head.packed_len == 0) {
        head.packed_len = head.raw_len;
        pieces[1] = raw;
    }
    *bytes = (uint32_t)sizeof head + head.packed_len;
    if (staged)
        return tm_link_out_stage(out, &head, pieces[1]);
    return link->ops->send(link->host, out, out->block, TM_MESSAGE_LINK_BATCH, pieces, 2);
}

static void count_batch(struct tm_link_out *out, const struct tm_link_builder *b, uint32_t bytes)
{
    struct tm_counters *c = out->link->ctx->counters;
    uint64_t records = b->to.index - b->from.index;
    out->bytes_a_record = tm_max_u64((3 * out->bytes_a_record + b->used / records) / 4, 1);
    tm_counter_add(c, TM_COUNTER_link_batches_sent, 1);
    tm_counter_add(c, TM_COUNTER_link_batch_bytes_sent, bytes);
    tm_counter_add(c, TM_COUNTER_link_batch_raw_bytes, b->used);
    tm_counter_add(c, TM_COUNTER_link_changes_sent, b->changes);
    if (out->link->limits.bytes_per_second != 0)
        out->link->tokens -= bytes;
}

/* The batch leaves, and is under way. */
static bool launch(struct tm_link_out *out, const struct tm_link_builder *b, uint64_t oldest_ms)
{
    uint32_t bytes;
    bool staged = b->to.index > tm_link_out_commit(out);
    enum tm_err e = put_batch(out, b, staged, &bytes);
    if (e == TM_ERR_CLOSED) {
        tm_link_out_ask_later(out, true);
        return false;
    }
    if (e != TM_OK) {
        struct tm_link_pace *p = &out->link->pace;
        p->held_until = tm_link_out_now(out) + FULL_NS;
        p->held_block = out->block;
        p->full_until = tm_link_out_now(out) + PACK_NS;
        return false;
    }
    unsigned at = (out->flight_first + out->flight_count) % TM_LINK_WINDOW;
    out->flight[at] = (struct tm_link_flight){.to = b->to,
                                              .sent_at = tm_link_out_now(out),
                                              .oldest_ms = oldest_ms,
                                              .bytes = bytes,
                                              .changes = (uint32_t)b->changes,
                                              .staged = staged};
    out->flight_count++;
    out->staging += staged;
    if (!staged && out->staging > 0)
        tm_link_out_told_through(out, &b->from); /* it follows on nothing else */
    out->flight_bytes += bytes;
    count_batch(out, b, bytes);
    out->sent = out->scanned = b->to;
    out->move = false;
    return true;
}

/* Sends the next batch, or passes over what is not shipped.  True if there may be more. */
static bool advance(struct tm_link_out *out)
{
    struct tm_link_outlet *link = out->link;
    struct tm_link_stream stream = tm_link_out_stream(out);
    struct tm_link_builder b;
    uint64_t oldest_ms = 0;
    tm_link_builder_begin(&b, &link->filter, &stream, &out->sent, link->raw, TM_LINK_RAW_MAX);
    b.to.index = out->scanned.index;
    b.to.term = out->scanned.term;
    b.to.hash = out->scanned.hash;
    enum tm_err e = fill(out, &b, &oldest_ms);
    if (e == TM_ERR_NOTFOUND) {
        tm_link_out_become(out, TM_LINK_OUT_ASK, 0); /* and is found to be behind */
        return false;
    }
    if (b.to.index > tm_link_out_commit(out) && b.used > TM_LINK_STAGE_MAX)
        return false; /* all of it when it is committed */
    if (b.used == 0 && !(out->move && b.to.index > out->sent.index && out->flight_count == 0)) {
        out->scanned = b.to;
        return e == TM_OK && b.to.index < tm_link_out_commit(out);
    }
    return launch(out, &b, oldest_ms) && e == TM_OK;
}

static void note_waiting(struct tm_link_out *out)
{
    if (tm_link_out_limit(out) <= out->scanned.index)
        out->waiting_since = 0;
    else if (out->waiting_since == 0)
        out->waiting_since = tm_link_out_now(out);
}

static bool wants_to_send(struct tm_link_out *out)
{
    return !out->link->paused && (out->waiting_since != 0 || out->move) && has_room(out);
}

/* The oldest batch that the target does not have for good, staged or applied. */
static const struct tm_link_flight *oldest_under_way(const struct tm_link_out *out)
{
    uint64_t has = tm_max_u64(out->acked, out->staged);
    for (unsigned i = 0; i < out->flight_count; i++) {
        const struct tm_link_flight *f = &out->flight[(out->flight_first + i) % TM_LINK_WINDOW];
        if (f->to.index > has)
            return f;
    }
    return NULL;
}

/* When an acknowledgement has to have come: of the oldest batch under way, of those that it was
 * told are committed, or of what the target had taken, but not committed, when it was asked. */
static uint64_t ack_deadline(const struct tm_link_out *out)
{
    const struct tm_link_flight *f = oldest_under_way(out);
    uint64_t next = f != NULL ? f->sent_at + ACK_NS : NEVER;
    if (out->staging > 0 && out->through.index > out->acked)
        next = tm_min_u64(next, out->through_at + ACK_NS);
    if (out->flight_count == 0 && out->acked < out->sent.index)
        next = out->begun_at + ACK_NS;
    return next;
}

/* When something has to be done by time while streaming. */
static uint64_t stream_deadline(struct tm_link_out *out, bool more)
{
    uint64_t now = tm_link_out_now(out), next = ack_deadline(out);
    if (!wants_to_send(out))
        return next;
    if (more)
        return now;
    uint64_t due = out->link->round_at + TM_US(out->link->limits.batch_delay_us);
    return tm_min_u64(next, due > now ? due : now + FULL_NS);
}

static void stream(struct tm_link_out *out)
{
    uint64_t now = tm_link_out_now(out);
    bool more = true;
    if (now >= ack_deadline(out)) {
        tm_counter_add(out->link->ctx->counters, TM_COUNTER_link_timeouts, 1);
        tm_link_out_ask_later(out, true);
        return;
    }
    note_waiting(out);
    for (unsigned i = 0; i < STEPS && more && out->state == TM_LINK_OUT_STREAM; i++) {
        more = wants_to_send(out) && !is_held(out) && has_tokens(out->link) &&
               (out->move || is_due(out)) && advance(out);
        note_waiting(out);
    }
    uint64_t notice = NEVER;
    if (out->state == TM_LINK_OUT_STREAM && out->staging > 0)
        notice = tm_link_out_notice(out);
    if (out->state == TM_LINK_OUT_STREAM) {
        out->next_at = tm_min_u64(notice, stream_deadline(out, more));
        tm_link_out_look_taken(out);
    }
}

/* ---- resynchronisation ---- */

/* The walk begins, or goes on if the log still reaches back to where it began.  False: it cannot
 * yet, which passes. */
static bool begin_sync(struct tm_link_out *out)
{
    struct tm_link_outlet *link = out->link;
    uint64_t first = link->ops->first(link->host, out);
    struct tm_link_position to = {.incarnation = link->incarnation,
                                  .epoch = link->epoch,
                                  .index = tm_link_out_commit(out),
                                  .rules = link->filter.hash};
    if (to.index < out->live)
        return false; /* what is staged there is given up in the end: all of it has to be compared
                       */
    if (out->sync_to.index + 1 < first || out->sync_to.rules != to.rules ||
        out->sync_to.index <= out->live || out->sync_bar != out->bar) {
        if (!link->ops->meta(link->host, out, to.index, &to.term, &to.hash))
            return false;
        out->sync_to = to;
        out->sync_cursor = 0;
        out->sync_bar = out->bar;
        out->sync_hlc = tm_hlc_pack(tm_ctx_wall_ms(link->ctx), 0);
    }
    tm_counter_add(link->ctx->counters, TM_COUNTER_link_resyncs, 1);
    tm_link_sync_begin(link->sync, out);
    tm_link_out_become(out, TM_LINK_OUT_RESYNC, 0);
    return true;
}

static void resync(struct tm_link_out *out)
{
    uint64_t wait;
    if (out->link->paused || !has_tokens(out->link))
        out->next_at = tm_link_out_now(out) + FULL_NS;
    else if (tm_link_sync_turn(out->link->sync, &wait) == TM_ERR_CLOSED)
        tm_link_out_ask_later(out, true);
    else
        out->next_at = wait;
}

void tm_link_out_turn(struct tm_link_out *out)
{
    bool due = tm_link_out_now(out) >= out->next_at;
    switch (out->state) {
    case TM_LINK_OUT_ASK:
        if (due && !out->link->paused)
            ask(out);
        break;
    case TM_LINK_OUT_ASKED:
        if (due)
            tm_link_out_ask_later(out, true);
        break;
    case TM_LINK_OUT_STREAM:
        stream(out);
        break;
    case TM_LINK_OUT_BEHIND:
        if (due && (out->link->sync->out != NULL || !begin_sync(out)))
            out->next_at = tm_link_out_now(out) + TURN_NS;
        break;
    case TM_LINK_OUT_RESYNC:
        if (due)
            resync(out);
        break;
    case TM_LINK_OUT_REFUSED:
    case TM_LINK_OUT_DIVERGED:
    case TM_LINK_OUT_SNAPSHOT:
        if (due)
            tm_link_out_become(out, TM_LINK_OUT_ASK, 0);
        break;
    }
}

uint64_t tm_link_out_deadline(const struct tm_link_out *out)
{
    return out->link->paused && out->state == TM_LINK_OUT_ASK ? NEVER : out->next_at;
}

/* ---- what others ask ---- */

uint64_t tm_link_out_needs(const struct tm_link_out *out)
{
    bool syncs = out->sync_to.index != 0 &&
                 (out->state == TM_LINK_OUT_RESYNC || out->state == TM_LINK_OUT_BEHIND);
    return syncs ? out->sync_to.index : out->acked;
}

void tm_link_out_move(struct tm_link_out *out, uint64_t index)
{
    if (out->state == TM_LINK_OUT_STREAM && out->acked < index &&
        out->scanned.index > out->sent.index && !out->move) {
        out->move = true;
        out->next_at = 0;
    }
}

uint64_t tm_link_out_passed(const struct tm_link_out *out, bool received)
{
    uint64_t has = tm_max_u64(out->staged, out->acked);
    if (received)
        has = tm_max_u64(has, out->received);
    if (out->state != TM_LINK_OUT_STREAM)
        return 0;
    return has >= out->sent.index ? out->scanned.index : has;
}

struct tm_link_lag tm_link_out_lag(const struct tm_link_out *out)
{
    uint64_t commit = tm_link_out_commit(out), has = tm_max_u64(out->acked, out->staged);
    const struct tm_link_flight *flight = oldest_under_way(out);
    struct tm_link_lag lag = {.delay_ms = out->delay_ms};
    if (out->state == TM_LINK_OUT_STREAM && flight == NULL && out->scanned.index >= commit &&
        has >= out->sent.index)
        return lag;
    lag.records = commit - tm_min_u64(commit, has);
    if (out->state == TM_LINK_OUT_BEHIND || out->state == TM_LINK_OUT_RESYNC)
        lag.records = tm_max_u64(lag.records, 1); /* how much of what was before is not known */
    uint64_t unsent = commit - tm_min_u64(commit, out->scanned.index);
    lag.bytes = out->flight_bytes + unsent * out->bytes_a_record;
    uint64_t oldest = flight != NULL ? flight->oldest_ms : 0;
    uint64_t wall = tm_ctx_wall_ms(out->link->ctx), now = tm_link_out_now(out);
    if (oldest != 0)
        lag.age_ms = wall > oldest ? wall - oldest : 0;
    else if (out->waiting_since != 0)
        lag.age_ms = (now - out->waiting_since) / TM_MS(1);
    else if (out->acked_at != 0)
        lag.age_ms = (now - out->acked_at) / TM_MS(1);
    return lag;
}

void tm_link_out_tell(struct tm_link_out *out, uint64_t index, uint64_t complete,
                      const struct tm_link_told *told)
{
    struct tm_link_outlet *link = out->link;
    uint64_t now = tm_link_out_now(out);
    bool news = complete != out->told_complete || memcmp(told, &out->told, sizeof *told) != 0;
    if (out->state != TM_LINK_OUT_STREAM || link->paused || out->scanned.index < index ||
        (!news && now < out->told_at + TELL_NS))
        return;
    struct tm_link_tell m = {.stream = tm_link_out_stream(out),
                             .upto = {out->sent.index, out->sent.term, out->sent.hash},
                             .complete = complete,
                             .told = *told};
    struct tm_bytes piece = tm_bytes_of(&m, sizeof m);
    if (link->ops->send(link->host, out, out->block, TM_MESSAGE_LINK_TOLD, &piece, 1) != TM_OK)
        return;
    out->told = *told;
    out->told_complete = complete;
    out->told_at = now;
}
