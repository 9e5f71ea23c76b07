/* The happy path of a batch: tm_link_in_message, tm_link_in_batch (it follows, and may be taken),
 * one record (link_in_take.c), then tm_link_in_turn acknowledges it once it is committed.
 *
 * A stream is known here from its first OPEN or batch until leadership is lost.  What it keeps is
 * only what waits for commit; the position itself is read from the store each time, so that undone
 * records take it back with them. */
#include "actors/link_in_internal.h"

#include "runtime/hlc.h"
#include "storage/store_link.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- streams ---- */

static unsigned bucket_of(unsigned site, uint32_t source, uint32_t target)
{
    return (site * 31 + source * 17 + target) % TM_LINK_IN_BUCKETS;
}

struct tm_link_in_stream *tm_link_in_find(struct tm_link_in *in, unsigned site, uint32_t source,
                                          uint32_t target)
{
    struct tm_link_in_stream *s = in->bucket[bucket_of(site, source, target)];
    while (s != NULL && (s->site != site || s->source != source || s->target != target))
        s = s->next;
    return s;
}

static struct tm_link_in_stream *meet(struct tm_link_in *in, unsigned site, struct tm_place from,
                                      const struct tm_link_stream *id)
{
    struct tm_link_in_stream *s = tm_link_in_find(in, site, id->source, id->target);
    if (s == NULL) {
        s = calloc(1, sizeof *s);
        if (s == NULL)
            return NULL;
        struct tm_link_in_stream **head = &in->bucket[bucket_of(site, id->source, id->target)];
        s->site = site;
        s->source = id->source;
        s->target = id->target;
        s->lacks = true;
        s->next = *head;
        *head = s;
        in->streams++;
    }
    if (s->id.incarnation != id->incarnation) { /* it may write what is older than it said */
        s->complete = s->complete_at = 0;
        s->later.stream.session = 0;
    }
    s->from = from;
    s->id = *id;
    s->seen_at = tm_ctx_now(in->c.ctx);
    return s;
}

void tm_link_in_be_busy(struct tm_link_in *in, struct tm_link_in_stream *s)
{
    if (s->busy)
        return;
    s->busy = true;
    s->busy_next = in->busy;
    in->busy = s;
}

/* Takes the streams of partition t, or all, off; all: t is TM_DIRECTORY's last and more. */
static void drop(struct tm_link_in *in, bool all, uint32_t t)
{
    struct tm_link_in_stream **busy = &in->busy;
    while (*busy != NULL)
        if (all || (*busy)->target == t)
            *busy = (*busy)->busy_next;
        else
            busy = &(*busy)->busy_next;
    for (unsigned b = 0; b < TM_LINK_IN_BUCKETS; b++) {
        struct tm_link_in_stream **at = &in->bucket[b];
        while (*at != NULL) {
            struct tm_link_in_stream *s = *at;
            if (!all && s->target != t) {
                at = &s->next;
                continue;
            }
            *at = s->next;
            tm_link_in_end_sweep(in, s);
            free(s->staged);
            free(s);
            in->streams--;
        }
    }
}

struct tm_link_in *tm_link_in_new(const struct tm_link_in_config *config)
{
    struct tm_link_in *in = calloc(1, sizeof *in);
    if (in != NULL)
        in->c = *config;
    return in;
}

void tm_link_in_is(struct tm_link_in *in, uint64_t origin)
{
    in->c.origin = origin;
}

void tm_link_in_free(struct tm_link_in *in)
{
    if (in == NULL)
        return;
    drop(in, true, 0);
    free(in);
}

void tm_link_in_lost(struct tm_link_in *in, uint32_t t)
{
    drop(in, false, t);
}

unsigned tm_link_in_streams(const struct tm_link_in *in)
{
    return in->streams;
}

/* ---- answers ---- */

void tm_link_in_answer(struct tm_link_in *in, const struct tm_link_in_stream *s, uint16_t type,
                       const void *body, size_t len, struct tm_bytes text)
{
    struct tm_bytes pieces[2] = {tm_bytes_of(body, len), text};
    in->c.ops->send(in->c.host, s->site, s->from, s->source, type, pieces, text.len > 0 ? 2 : 1);
}

struct tm_link_position tm_link_in_position(struct tm_link_in *in, const struct tm_link_from *from,
                                            const struct tm_link_in_stream *s)
{
    uint8_t name[TM_LINK_POSITION_NAME];
    struct tm_bytes value;
    struct tm_op_version stored;
    struct tm_link_position at = {0};
    tm_link_position_name(from->uuid, s->source, name);
    bool known =
        tm_store_shadow_field(in->c.ops->store(in->c.host, s->target), tm_bytes_of(NULL, 0),
                              tm_bytes_of(name, sizeof name), &value, &stored) &&
        tm_link_position_decode(value, &at);
    bool holds = known && stored.hlc > from->rewind;
    bool another = known ? holds && at.incarnation != s->id.incarnation : from->rewind == 0;
    if (another && from->adopted == s->id.incarnation)
        return (struct tm_link_position){.incarnation = s->id.incarnation,
                                         .epoch = s->id.epoch,
                                         .hlc = at.hlc,
                                         .rules = TM_LINK_ADOPTS};
    if (!holds)
        return (struct tm_link_position){.hlc = at.hlc};
    return at;
}

void tm_link_in_tell_position(struct tm_link_in *in, const struct tm_link_from *from,
                              struct tm_link_in_stream *s, const struct tm_link_position *at)
{
    uint64_t committed = at->index, commit = in->c.ops->commit(in->c.host, s->target);
    struct tm_link_mark marks[TM_LINK_MARKS];
    if (!tm_link_in_look(in, from, s, at) || s->stated > commit)
        return; /* not committed yet: the source asks again */
    const struct tm_link_in_staged *staged = s->staged;
    if (s->count > 0) /* what was taken before the first that waits */
        committed = tm_min_u64(s->acked, at->index);
    struct tm_link_at m = {.stream = s->id, .position = *at, .committed = committed};
    s->taken = at->index;
    s->taken_hash = at->hash;
    for (; staged != NULL && m.marks < staged->count; m.marks++) {
        m.durable += m.durable == m.marks && staged->at[m.marks].record <= commit;
        marks[m.marks] = staged->at[m.marks].to;
        s->taken = marks[m.marks].index;
        s->taken_hash = marks[m.marks].hash;
    }
    tm_link_in_answer(in, s, TM_MESSAGE_LINK_POSITION, &m, sizeof m,
                      tm_bytes_of(marks, m.marks * sizeof *marks));
}

void tm_link_in_refuse(struct tm_link_in *in, struct tm_link_in_stream *s,
                       enum tm_link_refusal reason, const char *fmt, ...)
{
    char text[TM_LINK_REFUSAL_TEXT_MAX + 1];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    len = len < 0 ? 0 : (int)tm_min_u64((uint64_t)len, sizeof text - 1);
    for (int i = 0; i < len; i++)
        if (text[i] < ' ' || text[i] > '~')
            text[i] = '?';
    struct tm_link_refused m = {
        .stream = s->id, .reason = (uint32_t)reason, .text_len = (uint32_t)len};
    tm_link_in_answer(in, s, TM_MESSAGE_LINK_REFUSED, &m, sizeof m, tm_bytes_of(text, (size_t)len));
    tm_counter_add(in->c.ctx->counters, TM_COUNTER_link_refused, 1);
    if (reason != TM_LINK_REFUSAL_BUSY && s->refused != (uint32_t)reason)
        tm_ctx_log(in->c.ctx, TM_LOG_WARN, "link_refused",
                   "site=%u source_partition=%u partition=%u reason=%s text=\"%s: %s\"", s->site,
                   s->source, s->target, tm_link_refusal_name((unsigned)reason),
                   tm_link_refusal_text((unsigned)reason), text);
    s->refused = (uint32_t)reason;
}

void tm_link_in_refuse_err(struct tm_link_in *in, struct tm_link_in_stream *s, enum tm_err e)
{
    enum tm_link_refusal reason = e == TM_ERR_NOSPACE ? TM_LINK_REFUSAL_DISK
                                  : e == TM_ERR_NOMEM ? TM_LINK_REFUSAL_MEMORY
                                                      : TM_LINK_REFUSAL_BUSY;
    tm_link_in_refuse(in, s, reason, "%s", tm_err_name(e));
}

/* ---- messages ---- */

/* Whether the source may speak at all. */
static bool may_speak(struct tm_link_in *in, const struct tm_link_from *from,
                      struct tm_link_in_stream *s, const struct tm_link_position *at)
{
    if (s->id.targets != in->c.targets)
        tm_link_in_refuse(in, s, TM_LINK_REFUSAL_PARTITIONS, "here %u, there thought to be %u",
                          in->c.targets, s->id.targets);
    else if (from->paused)
        tm_link_in_refuse(in, s, TM_LINK_REFUSAL_PAUSED, "%s", from->source);
    else if (at->incarnation != 0 && at->incarnation != s->id.incarnation)
        tm_link_in_refuse(in, s, TM_LINK_REFUSAL_INCARNATION, "was %016" PRIx64 ", is %016" PRIx64,
                          at->incarnation, s->id.incarnation);
    else if (tm_max_u64(at->epoch, from->epoch) > s->id.epoch)
        tm_link_in_refuse(in, s, TM_LINK_REFUSAL_EPOCH, "was %" PRIu64 ", is %" PRIu64,
                          tm_max_u64(at->epoch, from->epoch), s->id.epoch);
    else if (tm_link_in_is_barred(in->c.ops->store(in->c.host, s->target), from))
        tm_link_in_refuse(in, s, TM_LINK_REFUSAL_SNAPSHOT, "%s", from->source);
    else
        return true;
    return false;
}

static void on_moved(struct tm_link_in *in, unsigned site, struct tm_place from,
                     const struct tm_link_stream *id, unsigned block)
{
    struct tm_link_moved m = {.stream = *id, .block = block};
    struct tm_bytes piece = tm_bytes_of(&m, sizeof m);
    in->c.ops->send(in->c.host, site, from, id->source, TM_MESSAGE_LINK_MOVED, &piece, 1);
}

/* What a message of either kind begins with: the stream, met, and where it stands.  NULL: it was
 * answered, or cannot be. */
static struct tm_link_in_stream *receive(struct tm_link_in *in, unsigned site, struct tm_place from,
                                         uint32_t t, const struct tm_link_stream *id,
                                         const struct tm_link_from *link,
                                         struct tm_link_position *at)
{
    unsigned block;
    if (id->target != t)
        return NULL;
    if (t >= in->c.targets || !in->c.ops->leads(in->c.host, t, &block)) {
        on_moved(in, site, from, id, t < in->c.targets ? block : TM_LINK_NOBODY);
        return NULL;
    }
    struct tm_link_in_stream stranger = {
        .site = site, .source = id->source, .target = t, .from = from, .id = *id};
    if (link == NULL) {
        stranger.refused = TM_LINK_REFUSAL_UNLINKED;
        tm_link_in_refuse(in, &stranger, TM_LINK_REFUSAL_UNLINKED, "partition %u", t);
        return NULL;
    }
    if (link->sources != 0 && link->sources != id->sources) { /* before anything is kept for it */
        stranger.refused = TM_LINK_REFUSAL_PARTITIONS;
        tm_link_in_refuse(in, &stranger, TM_LINK_REFUSAL_PARTITIONS,
                          "the source has %u, and says %u", link->sources, id->sources);
        return NULL;
    }
    struct tm_link_in_stream *s = meet(in, site, from, id);
    if (s == NULL)
        return NULL; /* the source asks again */
    *at = tm_link_in_position(in, link, s);
    return may_speak(in, link, s, at) && tm_link_in_look(in, link, s, at) ? s : NULL;
}

/* STAGE, COMMIT or UNSTAGE; false: none of them. */
static bool stage_message(struct tm_link_in *in, unsigned site, struct tm_place from, uint16_t type,
                          uint32_t t, struct tm_bytes body)
{
    const struct tm_link_from *link = in->c.ops->from(in->c.host, site);
    struct tm_link_position at;
    struct tm_link_staging stage;
    struct tm_link_commit commit;
    struct tm_link_unstage unstage;
    struct tm_bytes packed;
    if (type == TM_MESSAGE_LINK_STAGE && tm_link_staging_decode(body, &stage, &packed) == TM_OK) {
        struct tm_link_in_stream *s = receive(in, site, from, t, &stage.batch.stream, link, &at);
        if (s != NULL && s->sweep == NULL)
            tm_link_in_on_stage(in, link, s, &at, &stage, packed);
        else if (s != NULL)
            s->missed = true;
    } else if (type == TM_MESSAGE_LINK_COMMIT && tm_link_commit_decode(body, &commit) == TM_OK) {
        struct tm_link_in_stream *s = receive(in, site, from, t, &commit.stream, link, &at);
        if (s != NULL && s->sweep == NULL)
            tm_link_in_on_commit(in, link, s, &at, &commit);
    } else if (type == TM_MESSAGE_LINK_UNSTAGE && tm_link_unstage_decode(body, &unstage) == TM_OK) {
        struct tm_link_in_stream *s = receive(in, site, from, t, &unstage.stream, link, &at);
        if (s != NULL && s->sweep == NULL)
            tm_link_in_on_unstage(in, link, s, &at, &unstage);
    } else {
        return false;
    }
    return true;
}

/* RANGES or STATE; false: neither. */
static bool resync_message(struct tm_link_in *in, unsigned site, struct tm_place from,
                           uint16_t type, uint32_t t, struct tm_bytes body)
{
    const struct tm_link_from *link = in->c.ops->from(in->c.host, site);
    struct tm_link_position at;
    struct tm_link_ranges ranges;
    struct tm_link_state_head state;
    struct tm_bytes packed;
    if (type == TM_MESSAGE_LINK_RANGES &&
        tm_link_ranges_decode(body, &ranges, in->range) == TM_OK) {
        struct tm_link_in_stream *s = receive(in, site, from, t, &ranges.stream, link, &at);
        if (s != NULL && s->sweep == NULL)
            tm_link_in_on_ranges(in, link, s, &ranges);
        return true;
    }
    if (type != TM_MESSAGE_LINK_STATE ||
        tm_link_state_decode(body, &state, in->drop, &packed) != TM_OK)
        return false;
    struct tm_link_in_stream *s = receive(in, site, from, t, &state.stream, link, &at);
    if (s != NULL && s->sweep == NULL)
        tm_link_in_on_state(in, link, s, &at, &state, packed);
    return true;
}

void tm_link_in_message(struct tm_link_in *in, unsigned site, struct tm_place from, uint16_t type,
                        uint32_t t, struct tm_bytes body)
{
    const struct tm_link_from *link = in->c.ops->from(in->c.host, site);
    struct tm_link_position at;
    struct tm_link_batch batch;
    struct tm_link_open open;
    struct tm_link_tell tell;
    struct tm_bytes packed;
    if (type == TM_MESSAGE_LINK_TOLD && tm_link_tell_decode(body, &tell) == TM_OK) {
        struct tm_link_in_stream *s = receive(in, site, from, t, &tell.stream, link, &at);
        if (s != NULL)
            tm_link_in_told(s, &at, &tell);
    } else if (type == TM_MESSAGE_LINK_OPEN && tm_link_open_decode(body, &open) == TM_OK) {
        struct tm_link_in_stream *s = receive(in, site, from, t, &open.stream, link, &at);
        if (s != NULL && s->sweep == NULL)
            tm_link_in_tell_position(in, link, s, &at);
        else if (s != NULL)
            tm_link_in_refuse(in, s, TM_LINK_REFUSAL_BUSY, "a flush is under way");
    } else if (type == TM_MESSAGE_LINK_BATCH &&
               tm_link_batch_decode(body, &batch, &packed) == TM_OK) {
        struct tm_link_in_stream *s = receive(in, site, from, t, &batch.stream, link, &at);
        if (s != NULL && s->sweep == NULL)
            tm_link_in_batch(in, link, s, &at, &batch, packed);
        else if (s != NULL)
            s->missed = true;
    } else if (!stage_message(in, site, from, type, t, body) &&
               !resync_message(in, site, from, type, t, body)) {
        tm_counter_add(in->c.ctx->counters, TM_COUNTER_link_malformed, 1);
    }
}

void tm_link_in_changed(struct tm_link_in *in, unsigned site)
{
    const struct tm_link_from *link = in->c.ops->from(in->c.host, site);
    unsigned block;
    for (unsigned b = 0; b < TM_LINK_IN_BUCKETS && link != NULL; b++)
        for (struct tm_link_in_stream *s = in->bucket[b]; s != NULL; s = s->next) {
            if (s->site != site || s->sweep != NULL ||
                !in->c.ops->leads(in->c.host, s->target, &block))
                continue;
            struct tm_link_position at = tm_link_in_position(in, link, s);
            s->refused = TM_LINK_REFUSAL_NONE;
            s->held = 0;
            tm_link_in_forget_staged(s); /* it may have been rewound */
            tm_link_in_tell_position(in, link, s, &at);
        }
}

void tm_link_in_each(struct tm_link_in *in,
                     void (*visit)(void *host, const struct tm_link_in_view *view), void *host)
{
    unsigned block;
    for (unsigned b = 0; b < TM_LINK_IN_BUCKETS; b++)
        for (struct tm_link_in_stream *s = in->bucket[b]; s != NULL; s = s->next) {
            const struct tm_link_from *link = in->c.ops->from(in->c.host, s->site);
            if (link == NULL || !in->c.ops->leads(in->c.host, s->target, &block))
                continue;
            const struct tm_link_in_view v = {.site = s->site,
                                              .source = s->source,
                                              .target = s->target,
                                              .refusal = s->refused,
                                              .held = s->held,
                                              .waiting = s->count,
                                              .flushing = s->sweep != NULL,
                                              .position = tm_link_in_position(in, link, s),
                                              .incarnation = s->id.incarnation,
                                              .epoch = s->id.epoch};
            visit(host, &v);
        }
}

void tm_link_in_count(const struct tm_link_in *in, struct tm_link_in_counts *counts, unsigned sites)
{
    unsigned block;
    memset(counts, 0, sites * sizeof *counts);
    for (unsigned b = 0; b < TM_LINK_IN_BUCKETS; b++)
        for (struct tm_link_in_stream *s = in->bucket[b]; s != NULL; s = s->next) {
            if (s->site >= sites || !in->c.ops->leads(in->c.host, s->target, &block))
                continue;
            struct tm_link_in_counts *c = &counts[s->site];
            c->streams++;
            c->refused += s->refused != TM_LINK_REFUSAL_NONE;
            c->why = tm_max_u64(c->why, s->refused);
            c->held += s->held != 0;
        }
    for (unsigned i = 0; i < tm_link_in_deads(in); i++)
        if (tm_link_in_dead(in, i)->site < sites)
            counts[tm_link_in_dead(in, i)->site].dead++;
}

/* ---- turns ---- */

void tm_link_in_acknowledge(struct tm_link_in *in, const struct tm_link_in_stream *s,
                            const struct tm_link_in_pending *last)
{
    uint64_t wall = tm_ctx_wall_ms(in->c.ctx), made = last != NULL ? tm_hlc_ms(last->hlc) : 0;
    struct tm_link_receipt m = {.stream = s->id,
                                .index = s->acked,
                                .hash = last != NULL ? last->hash : 0,
                                .delay_ms = made != 0 && wall > made ? wall - made : 0,
                                .received = s->taken,
                                .received_hash = s->taken_hash,
                                .staged = s->safe,
                                .staged_hash = s->safe_hash};
    tm_link_in_answer(in, s, TM_MESSAGE_LINK_ACK, &m, sizeof m, tm_bytes_of(NULL, 0));
}

/* Acknowledges the newest of what is committed. */
static void acknowledge(struct tm_link_in *in, struct tm_link_in_stream *s)
{
    uint64_t commit = in->c.ops->commit(in->c.host, s->target);
    const struct tm_link_in_pending *last = NULL;
    while (s->count > 0 && s->pending[s->first].record <= commit) {
        last = &s->pending[s->first];
        s->first = (s->first + 1) % TM_LINK_IN_PENDING;
        s->count--;
    }
    if (last == NULL)
        return;
    s->acked = last->index;
    s->safe = last->staged;
    s->safe_hash = last->staged_hash;
    tm_link_in_acknowledge(in, s, last);
}

void tm_link_in_tick(struct tm_link_in *in)
{
    unsigned block;
    for (unsigned b = 0; b < TM_LINK_IN_BUCKETS; b++)
        for (struct tm_link_in_stream *s = in->bucket[b]; s != NULL; s = s->next)
            if (in->c.ops->leads(in->c.host, s->target, &block)) {
                if (s->lacks)
                    tm_link_in_ask_lacks(in, s);
                tm_link_in_purge(in, s);
            }
}

bool tm_link_in_turn(struct tm_link_in *in)
{
    bool more = false;
    struct tm_link_in_stream *list = in->busy;
    in->busy = NULL;
    while (list != NULL) {
        struct tm_link_in_stream *s = list;
        unsigned block;
        list = s->busy_next;
        s->busy = false;
        if (!in->c.ops->leads(in->c.host, s->target, &block)) {
            s->count = 0; /* not told of it yet */
            s->stated = 0;
            tm_link_in_end_sweep(in, s);
            continue;
        }
        acknowledge(in, s);
        if (s->stated != 0 && s->stated <= in->c.ops->commit(in->c.host, s->target)) {
            s->stated = 0;
            tm_link_in_say_stated(in, s);
        }
        if (s->sweep != NULL)
            tm_link_in_go_on_sweeping(in, s);
        if (s->count > 0 || s->stated != 0 || s->sweep != NULL)
            tm_link_in_be_busy(in, s);
        more = more || s->sweep != NULL;
    }
    return more;
}
