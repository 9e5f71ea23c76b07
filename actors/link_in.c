/* The happy path of a batch: tm_link_in_message, take_batch (it follows, and may be taken), apply
 * (one record), then tm_link_in_turn acknowledges it once it is committed.
 *
 * A stream is known here from its first OPEN or batch until leadership is lost.  What it keeps is
 * only what waits for commit; the position itself is read from the store each time, so that undone
 * records take it back with them. */
#include "actors/link_in.h"

#include "actors/link_batch.h"
#include "actors/link_sync_wire.h"
#include "actors/router.h"
#include "runtime/hash.h"
#include "runtime/hlc.h"
#include "storage/entity.h"
#include "storage/store_link.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BUCKETS     256
#define PENDING_MAX 64
#define SWEEP_KEYS  256 /* entities that one record of a flush removes */
#define SWEEP_BYTES (4 * 65536)
#define SWEEP_STEPS 4096 /* entities looked at in one turn */
#define SWEEPS_MAX  4    /* flushes under way on a worker */

/* A batch whose record is not committed yet. */
struct pending {
    uint64_t record; /* index in the target's log */
    uint64_t index, hash, hlc;
};

/* A batch that begins with a flush. */
struct sweep {
    struct tm_link_batch batch;
    uint64_t cursor;
    uint16_t first, last;
    struct tm_op_version stamp;
    uint32_t raw_len;
    uint8_t raw[] __attribute__((aligned(8)));
};

struct stream {
    struct stream *next;      /* in its bucket */
    struct stream *busy_next; /* with something to look after each turn */
    bool busy;
    unsigned site;
    uint32_t source, target;
    struct tm_place from;
    struct tm_link_stream id; /* as the source gave it last */
    struct pending pending[PENDING_MAX];
    unsigned first, count;
    uint64_t acked;  /* what the last ACK said */
    uint64_t stated; /* the record that STATED waits for; 0: none */
    uint32_t round;
    struct sweep *sweep;
    bool missed;      /* batches came meanwhile */
    uint32_t refused; /* for this reason the last time: said once */
};

struct tm_link_in {
    struct tm_link_in_config c;
    struct stream *bucket[BUCKETS];
    struct stream *busy;
    unsigned streams, sweeps;
    struct tm_link_dead dead[TM_LINK_DEAD_MAX];
    uint64_t deads; /* ever */
    uint8_t keys[SWEEP_BYTES];
    struct tm_link_range range[TM_LINK_RANGES];
    struct tm_link_key key[TM_LINK_KEYS];
    uint64_t drop[TM_LINK_DROPS];
};

/* What one batch brings, while it is applied. */
struct apply {
    struct tm_link_in *in;
    const struct tm_link_from *from;
    const struct tm_link_batch *batch;
    struct tm_bytes raw;
    unsigned first, count; /* which of its changes */
    bool ends;             /* with the position */
    uint64_t won, lost;
};

static void count(struct tm_link_in *in, enum tm_counter which, uint64_t n)
{
    tm_counter_add(in->c.ctx->counters, which, n);
}

/* ---- streams ---- */

static unsigned bucket_of(unsigned site, uint32_t source, uint32_t target)
{
    return (site * 31 + source * 17 + target) % BUCKETS;
}

static struct stream *find(struct tm_link_in *in, unsigned site, uint32_t source, uint32_t target)
{
    struct stream *s = in->bucket[bucket_of(site, source, target)];
    while (s != NULL && (s->site != site || s->source != source || s->target != target))
        s = s->next;
    return s;
}

static struct stream *meet(struct tm_link_in *in, unsigned site, struct tm_place from,
                           const struct tm_link_stream *id)
{
    struct stream *s = find(in, site, id->source, id->target);
    if (s == NULL) {
        s = calloc(1, sizeof *s);
        if (s == NULL)
            return NULL;
        struct stream **head = &in->bucket[bucket_of(site, id->source, id->target)];
        s->site = site;
        s->source = id->source;
        s->target = id->target;
        s->next = *head;
        *head = s;
        in->streams++;
    }
    s->from = from;
    s->id = *id;
    return s;
}

static void be_busy(struct tm_link_in *in, struct stream *s)
{
    if (s->busy)
        return;
    s->busy = true;
    s->busy_next = in->busy;
    in->busy = s;
}

static void end_sweep(struct tm_link_in *in, struct stream *s)
{
    if (s->sweep == NULL)
        return;
    free(s->sweep);
    s->sweep = NULL;
    in->sweeps--;
}

/* Takes the streams of partition t, or all, off; all: t is TM_DIRECTORY's last and more. */
static void drop(struct tm_link_in *in, bool all, uint32_t t)
{
    struct stream **busy = &in->busy;
    while (*busy != NULL)
        if (all || (*busy)->target == t)
            *busy = (*busy)->busy_next;
        else
            busy = &(*busy)->busy_next;
    for (unsigned b = 0; b < BUCKETS; b++) {
        struct stream **at = &in->bucket[b];
        while (*at != NULL) {
            struct stream *s = *at;
            if (!all && s->target != t) {
                at = &s->next;
                continue;
            }
            *at = s->next;
            end_sweep(in, s);
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

/* ---- dead letters ---- */

unsigned tm_link_in_deads(const struct tm_link_in *in)
{
    return (unsigned)tm_min_u64(in->deads, TM_LINK_DEAD_MAX);
}

const struct tm_link_dead *tm_link_in_dead(const struct tm_link_in *in, unsigned i)
{
    TM_ASSERT(i < tm_link_in_deads(in));
    return &in->dead[(in->deads - tm_link_in_deads(in) + i) % TM_LINK_DEAD_MAX];
}

static void bury(struct tm_link_in *in, const struct stream *s, const struct apply *a,
                 struct tm_bytes key, enum tm_err err)
{
    struct tm_link_dead *d = &in->dead[in->deads++ % TM_LINK_DEAD_MAX];
    *d = (struct tm_link_dead){.site = s->site,
                               .source = s->source,
                               .target = s->target,
                               .index = a->batch->to.index,
                               .at_ms = tm_ctx_wall_ms(in->c.ctx),
                               .err = err,
                               .key_len = (uint8_t)tm_min_u64(key.len, sizeof d->key)};
    if (d->key_len > 0)
        memcpy(d->key, key.data, d->key_len);
    count(in, TM_COUNTER_link_dead_letters, 1);
    tm_ctx_log(in->c.ctx, TM_LOG_ERROR, "link_dead_letter",
               "source=%s source_partition=%u partition=%u index=%" PRIu64 " err=%s",
               a->from->source, s->source, s->target, d->index, tm_err_name(err));
}

/* ---- answers ---- */

static void answer(struct tm_link_in *in, const struct stream *s, uint16_t type, const void *body,
                   size_t len, struct tm_bytes text)
{
    struct tm_bytes pieces[2] = {tm_bytes_of(body, len), text};
    in->c.ops->send(in->c.host, s->site, s->from, s->source, type, pieces, text.len > 0 ? 2 : 1);
}

/* The stored position; all zero if there is none. */
static struct tm_link_position position_of(struct tm_link_in *in, const struct tm_link_from *from,
                                           const struct stream *s)
{
    uint8_t name[TM_LINK_POSITION_NAME];
    struct tm_bytes value;
    struct tm_op_version stored;
    struct tm_link_position at = {0};
    tm_link_position_name(from->uuid, s->source, name);
    if (!tm_store_shadow_field(in->c.ops->store(in->c.host, s->target), tm_bytes_of(NULL, 0),
                               tm_bytes_of(name, sizeof name), &value, &stored) ||
        !tm_link_position_decode(value, &at) || stored.hlc <= from->rewind ||
        (at.incarnation != s->id.incarnation && from->adopted == s->id.incarnation))
        return (struct tm_link_position){0};
    return at;
}

static void tell_position(struct tm_link_in *in, const struct stream *s,
                          const struct tm_link_position *at)
{
    uint64_t committed = at->index;
    if (s->count > 0) /* what was taken before the first that waits */
        committed = tm_min_u64(s->acked, at->index);
    struct tm_link_at m = {.stream = s->id, .position = *at, .committed = committed};
    answer(in, s, TM_MESSAGE_LINK_POSITION, &m, sizeof m, tm_bytes_of(NULL, 0));
}

TM_PRINTF(4, 5)
static void refuse(struct tm_link_in *in, struct stream *s, enum tm_link_refusal reason,
                   const char *fmt, ...)
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
    answer(in, s, TM_MESSAGE_LINK_REFUSED, &m, sizeof m, tm_bytes_of(text, (size_t)len));
    count(in, TM_COUNTER_link_refused, 1);
    if (reason != TM_LINK_REFUSAL_BUSY && s->refused != (uint32_t)reason)
        tm_ctx_log(in->c.ctx, TM_LOG_WARN, "link_refused",
                   "site=%u source_partition=%u partition=%u reason=%s text=\"%s: %s\"", s->site,
                   s->source, s->target, tm_link_refusal_name((unsigned)reason),
                   tm_link_refusal_text((unsigned)reason), text);
    s->refused = (uint32_t)reason;
}

/* ---- may it be taken? ---- */

/* Whether the source may speak at all. */
static bool may_speak(struct tm_link_in *in, const struct tm_link_from *from, struct stream *s,
                      const struct tm_link_position *at)
{
    if (s->id.targets != in->c.targets)
        refuse(in, s, TM_LINK_REFUSAL_PARTITIONS, "here %u, there thought to be %u", in->c.targets,
               s->id.targets);
    else if (from->paused)
        refuse(in, s, TM_LINK_REFUSAL_PAUSED, "%s", from->source);
    else if (at->incarnation != 0 && at->incarnation != s->id.incarnation)
        refuse(in, s, TM_LINK_REFUSAL_INCARNATION, "was %016" PRIx64 ", is %016" PRIx64,
               at->incarnation, s->id.incarnation);
    else if (at->epoch > s->id.epoch)
        refuse(in, s, TM_LINK_REFUSAL_EPOCH, "was %" PRIu64 ", is %" PRIu64, at->epoch,
               s->id.epoch);
    else
        return true;
    return false;
}

/* The newest stamp in the batch. */
static uint64_t newest(struct tm_bytes raw)
{
    struct tm_change change;
    struct tm_op op;
    uint64_t hlc = 0;
    while (tm_change_next(&raw, &change))
        while (tm_op_next(&change.ops, &op))
            if (op.code == TM_OP_STAMPED)
                hlc = tm_max_u64(hlc, tm_load64(op.value.data));
    return hlc;
}

/* Whether every key belongs to both partitions, and its type may be here. */
static bool may_enter(struct tm_link_in *in, const struct tm_link_from *from, struct stream *s,
                      struct tm_bytes raw)
{
    struct tm_change change;
    uint16_t first, last;
    for (bool begin = true; tm_change_next(&raw, &change); begin = false) {
        bool is_flush = tm_link_flush_slots(&change, &first, &last);
        uint32_t slot = is_flush ? first : tm_slot_of_key(change.key);
        if ((change.key.len == 0 && (!is_flush || !begin || last < first)) ||
            tm_partition_of_slot(slot, s->id.targets) != s->target ||
            tm_partition_of_slot(slot, s->id.sources) != s->source ||
            (is_flush && tm_partition_of_slot(last, s->id.targets) != s->target)) {
            refuse(in, s, TM_LINK_REFUSAL_MALFORMED, "a key of another partition");
            return false;
        }
        struct tm_bytes type = tm_link_type_of(change.key);
        if (is_flush || from->may_enter(from->host, type))
            continue;
        count(in, TM_COUNTER_link_residency_refused, 1);
        refuse(in, s, TM_LINK_REFUSAL_RESIDENCY, "type=%.*s", (int)tm_min_u64(type.len, 64),
               (const char *)type.data);
        return false;
    }
    return true;
}

static bool clock_is_well(struct tm_link_in *in, const struct tm_link_from *from, struct stream *s,
                          uint64_t hlc)
{
    uint64_t wall = tm_ctx_wall_ms(in->c.ctx);
    if (hlc <= from->released || tm_hlc_check(hlc, wall, from->skew_ms) == TM_OK)
        return true;
    count(in, TM_COUNTER_link_clock_held, 1);
    refuse(in, s, TM_LINK_REFUSAL_CLOCK, "by %" PRIu64 " ms, maxClockSkewMs is %" PRIu64,
           tm_hlc_ahead_ms(hlc, wall), from->skew_ms);
    return false;
}

/* ---- applying ---- */

static void put_position(struct tm_store *store, const struct apply *a)
{
    uint8_t name[TM_LINK_POSITION_NAME], origin[9] = {TM_SHADOW_ORIGIN};
    struct tm_bytes none = tm_bytes_of(NULL, 0);
    tm_store_stamp(store, 0, 0);
    tm_link_position_name(a->from->uuid, a->batch->stream.source, name);
    tm_store_set_shadow(store, none, tm_bytes_of(name, sizeof name),
                        tm_bytes_of(&a->batch->to, sizeof a->batch->to));
    tm_store64(origin + 1, a->batch->stream.incarnation);
    if (!tm_store_shadow_field(store, none, tm_bytes_of(origin, sizeof origin), NULL, NULL))
        tm_store_set_shadow(store, none, tm_bytes_of(origin, sizeof origin),
                            tm_bytes_of(a->from->uuid, 16));
}

static void fill(struct tm_store *store, void *arg)
{
    struct apply *a = arg;
    struct tm_bytes rest = a->raw;
    struct tm_op_version stamp = {0};
    struct tm_change change;
    struct tm_op op;
    for (unsigned i = 0; tm_change_next(&rest, &change) && i < a->first + a->count; i++) {
        struct tm_bytes ops = change.ops;
        while (tm_op_next(&ops, &op)) {
            if (op.code == TM_OP_STAMPED) {
                memcpy(&stamp, op.value.data, sizeof stamp);
                continue;
            }
            if (i < a->first)
                continue;
            bool won = a->in->c.ops->merge(a->in->c.host, store, &change, &op, stamp);
            a->won += won;
            a->lost += !won;
        }
    }
    if (a->ends)
        put_position(store, a);
}

static enum tm_err write_part(struct tm_link_in *in, const struct stream *s, struct apply *a,
                              uint64_t *record)
{
    a->won = a->lost = 0;
    uint64_t hlc = tm_max_u64(a->batch->to.hlc, newest(a->raw));
    if (tm_hlc_ms(hlc) > tm_ctx_wall_ms(in->c.ctx) + a->from->skew_ms)
        hlc = newest(a->raw); /* what the source says beside its changes pulls no clock along */
    hlc = tm_max_u64(hlc, a->from->rewind); /* the position is later than what was forgotten */
    enum tm_err e = in->c.ops->write(in->c.host, s->target, hlc, fill, a, record);
    if (e == TM_OK) {
        count(in, TM_COUNTER_link_changes_taken, a->won);
        count(in, TM_COUNTER_link_changes_lost, a->lost);
    }
    return e;
}

static struct tm_bytes key_of(const struct apply *a, unsigned which)
{
    struct tm_bytes rest = a->raw;
    struct tm_change change = {0};
    for (unsigned i = 0; tm_change_next(&rest, &change) && i < which; i++) {
    }
    return change.key;
}

/* The record would be too large: the changes go in parts, and one that does not fit alone goes to
 * the dead letters.  Merging them twice does no harm, so the position goes with the last part. */
static enum tm_err write_split(struct tm_link_in *in, const struct stream *s, struct apply *a,
                               unsigned total, uint64_t *record)
{
    unsigned len = (total + 1) / 2;
    enum tm_err e = TM_OK;
    for (a->first = 0; e == TM_OK;) {
        a->count = (unsigned)tm_min_u64(len, total - a->first);
        a->ends = a->first + a->count == total;
        e = write_part(in, s, a, record);
        if (e == TM_ERR_TOOBIG && a->count > 1) {
            len = (a->count + 1) / 2;
            e = TM_OK;
            continue;
        }
        if (e == TM_ERR_TOOBIG && a->count == 1) {
            bury(in, s, a, key_of(a, a->first), e);
            e = TM_OK;
        } else if (a->ends) {
            return e;
        }
        a->first += a->count;
    }
    return e;
}

static unsigned changes_in(struct tm_bytes raw)
{
    struct tm_change change;
    unsigned n = 0;
    while (tm_change_next(&raw, &change))
        n++;
    return n;
}

static void wait_for_commit(struct tm_link_in *in, struct stream *s, const struct apply *a,
                            uint64_t record)
{
    if (s->count == PENDING_MAX) /* the newest one's acknowledgement is for those before it, too */
        s->count--;
    if (s->count == 0)
        s->acked = a->batch->from.index;
    s->pending[(s->first + s->count++) % PENDING_MAX] =
        (struct pending){.record = record,
                         .index = a->batch->to.index,
                         .hash = a->batch->to.hash,
                         .hlc = a->batch->to.hlc};
    s->refused = TM_LINK_REFUSAL_NONE;
    be_busy(in, s);
}

/* Why a record could not be written, for the source to try again. */
static void refuse_err(struct tm_link_in *in, struct stream *s, enum tm_err e)
{
    enum tm_link_refusal reason = e == TM_ERR_NOSPACE ? TM_LINK_REFUSAL_DISK
                                  : e == TM_ERR_NOMEM ? TM_LINK_REFUSAL_MEMORY
                                                      : TM_LINK_REFUSAL_BUSY;
    refuse(in, s, reason, "%s", tm_err_name(e));
}

static void apply(struct tm_link_in *in, struct stream *s, struct apply *a)
{
    uint64_t record;
    unsigned total = changes_in(a->raw);
    a->first = 0;
    a->count = total;
    a->ends = true;
    enum tm_err e = write_part(in, s, a, &record);
    if (e == TM_ERR_TOOBIG && total > 0)
        e = write_split(in, s, a, total, &record);
    if (e != TM_OK) {
        refuse_err(in, s, e);
        return;
    }
    count(in, TM_COUNTER_link_batches_taken, 1);
    wait_for_commit(in, s, a, record);
}

/* ---- flushes ---- */

/* Keys to be removed by one record, one behind the other: u16 length, bytes. */
struct slice {
    struct tm_link_in *in;
    const struct tm_link_from *from;
    struct sweep *sweep;
    unsigned used, keys;
};

/* One step of a walk visits one entity, or some whose hashes begin alike: there is room for them.
 */
static void gather_key(void *host, const struct tm_entity *e)
{
    struct slice *l = host;
    struct tm_bytes key = tm_entity_key(e);
    uint32_t slot = tm_slot_of_key(key);
    if (slot < l->sweep->first || slot > l->sweep->last || l->used + 2 + key.len > SWEEP_BYTES ||
        !l->from->ships(l->from->host, tm_link_type_of(key)))
        return;
    tm_store16(l->in->keys + l->used, (uint16_t)key.len);
    memcpy(l->in->keys + l->used + 2, key.data, key.len);
    l->used += 2 + (unsigned)key.len;
    l->keys++;
}

static void fill_slice(struct tm_store *store, void *arg)
{
    struct slice *l = arg;
    for (unsigned at = 0; at < l->used;) {
        size_t len = tm_load16(l->in->keys + at);
        struct tm_change change = {.key = tm_bytes_of(l->in->keys + at + 2, len),
                                   .type = TM_ENTITY_STRING};
        struct tm_op op = {.code = TM_OP_DEL_ENTITY};
        l->in->c.ops->merge(l->in->c.host, store, &change, &op, l->sweep->stamp);
        at += 2 + (unsigned)len;
    }
}

static void begin_sweep(struct tm_link_in *in, struct stream *s, const struct apply *a,
                        uint16_t first, uint16_t last)
{
    struct sweep *w = in->sweeps < SWEEPS_MAX ? malloc(sizeof *w + a->raw.len) : NULL;
    if (w == NULL) {
        refuse(in, s, TM_LINK_REFUSAL_BUSY, "other flushes are under way");
        return;
    }
    *w = (struct sweep){
        .batch = *a->batch, .first = first, .last = last, .raw_len = (uint32_t)a->raw.len};
    memcpy(w->raw, a->raw.data, a->raw.len);
    struct tm_bytes rest = a->raw;
    struct tm_change change;
    struct tm_op op;
    if (tm_change_next(&rest, &change) && tm_op_next(&change.ops, &op)) /* STAMPED: checked */
        memcpy(&w->stamp, op.value.data, sizeof w->stamp);
    s->sweep = w;
    in->sweeps++;
    be_busy(in, s);
}

/* Removes some of what was flushed; with the last of it takes the rest of the batch. */
static void go_on_sweeping(struct tm_link_in *in, struct stream *s)
{
    struct sweep *w = s->sweep;
    const struct tm_link_from *from = in->c.ops->from(in->c.host, s->site);
    if (from == NULL) {
        end_sweep(in, s);
        return;
    }
    struct slice l = {.in = in, .from = from, .sweep = w};
    struct tm_store *store = in->c.ops->store(in->c.host, s->target);
    uint64_t record;
    unsigned steps = 0;
    do
        w->cursor = tm_store_scan(store, w->cursor, 1, gather_key, &l);
    while (w->cursor != 0 && l.used < SWEEP_BYTES / 2 && l.keys < SWEEP_KEYS &&
           ++steps < SWEEP_STEPS);
    enum tm_err e = l.keys == 0 ? TM_OK
                                : in->c.ops->write(in->c.host, s->target, w->stamp.hlc, fill_slice,
                                                   &l, &record);
    if (e != TM_OK) {
        refuse_err(in, s, e);
        end_sweep(in, s);
        return;
    }
    if (w->cursor != 0)
        return;
    struct apply a = {
        .in = in, .from = from, .batch = &w->batch, .raw = tm_bytes_of(w->raw, w->raw_len)};
    uint64_t end = w->batch.to.index;
    apply(in, s, &a);
    end_sweep(in, s);
    struct tm_link_position at = position_of(in, from, s);
    if (s->missed && at.index == end)
        tell_position(in, s, &at);
    s->missed = false;
}

static bool follows(const struct tm_link_position *at, const struct tm_link_mark *from)
{
    return at->index == from->index && at->term == from->term && at->hash == from->hash;
}

/* ---- resynchronisation ---- */

/* What this cluster has in a range of orders. */
struct look {
    struct tm_link_in *in;
    const struct tm_link_from *from;
    const struct stream *s;
    struct tm_store *store;
    unsigned keys;
    uint64_t end; /* before the first that there was no room for */
};

/* Whether the stream is what brings the key. */
static bool comes_by(const struct tm_link_from *from, const struct stream *s, struct tm_bytes key)
{
    return tm_partition_of_slot(tm_slot_of_key(key), s->id.sources) == s->source &&
           from->ships(from->host, tm_link_type_of(key));
}

static void look_at(void *host, struct tm_bytes key)
{
    struct look *l = host;
    uint64_t order = tm_link_order(key);
    if (order >= l->end || !comes_by(l->from, l->s, key))
        return;
    if (l->keys == TM_LINK_KEYS) {
        l->end = order;
        return;
    }
    uint64_t hash = tm_link_hash(l->store, key, tm_ctx_wall_ms(l->in->c.ctx));
    if (hash != 0)
        l->in->key[l->keys++] = (struct tm_link_key){order, hash};
}

/* Keeps the keys in ranges whose sum differs, or that were not looked at to their end. */
static void sift(struct tm_link_in *in, struct look *l, struct tm_link_differs *d, uint32_t ranges)
{
    unsigned at = 0;
    for (uint32_t i = 0; i < ranges; i++) {
        unsigned begin = at;
        uint64_t sum = 0;
        for (; at < l->keys && in->key[at].order < in->range[i].end; at++)
            sum += in->key[at].hash;
        if (sum == in->range[i].sum && in->range[i].end <= l->end)
            continue;
        d->map[i / 64] |= UINT64_C(1) << i % 64;
        memmove(&in->key[d->keys], &in->key[begin], (at - begin) * sizeof *in->key);
        d->keys += at - begin;
    }
}

static void on_ranges(struct tm_link_in *in, const struct tm_link_from *from, struct stream *s,
                      const struct tm_link_ranges *r)
{
    uint64_t to = in->range[r->count - 1].end, at = r->from;
    struct look l = {.in = in,
                     .from = from,
                     .s = s,
                     .store = in->c.ops->store(in->c.host, s->target),
                     .end = to};
    at = tm_link_keys(l.store, at, to == TM_LINK_ORDERS ? 0 : to, TM_LINK_KEYS, look_at, &l);
    if (at != 0 && at < l.end)
        l.end = at;
    while (l.keys > 0 && in->key[l.keys - 1].order >= l.end)
        l.keys--;
    struct tm_link_differs d = {.stream = s->id, .end = l.end, .round = r->round};
    sift(in, &l, &d, r->count);
    answer(in, s, TM_MESSAGE_LINK_DIFFERS, &d, sizeof d,
           tm_bytes_of(in->key, d.keys * sizeof *in->key));
}

/* Keys to be evicted, one behind the other as for a flush; and the states that come. */
struct restate {
    struct apply a; /* what it merges is `raw`, without a position of a batch */
    const struct tm_link_state_head *head;
    struct stream *s;
    struct tm_store *store;
    unsigned used;
    bool theirs; /* of the key being looked at: all of it is the source's own, and old enough */
};

static void look_whose(void *host, enum tm_entity_type type, const struct tm_op *op,
                       struct tm_op_version stamp)
{
    struct restate *r = host;
    (void)type;
    (void)op;
    r->theirs =
        r->theirs && stamp.origin == r->head->stream.incarnation && stamp.hlc <= r->head->hlc;
}

static void gather_drop(void *host, struct tm_bytes key)
{
    struct restate *r = host;
    struct tm_link_in *in = r->a.in;
    if (!comes_by(r->a.from, r->s, key) || r->used + 2 + key.len > SWEEP_BYTES)
        return;
    r->theirs = true;
    tm_link_state(r->store, key, look_whose, r);
    if (!r->theirs)
        return;
    tm_store16(in->keys + r->used, (uint16_t)key.len);
    memcpy(in->keys + r->used + 2, key.data, key.len);
    r->used += 2 + (unsigned)key.len;
}

static void fill_state(struct tm_store *store, void *arg)
{
    struct restate *r = arg;
    r->a.ends = false;
    fill(store, &r->a);
    tm_store_stamp(store, 0, 0);
    for (unsigned at = 0; at < r->used;) {
        size_t len = tm_load16(r->a.in->keys + at);
        tm_link_evict(store, tm_bytes_of(r->a.in->keys + at + 2, len));
        at += 2 + (unsigned)len;
    }
    if (r->head->last == 0)
        return;
    struct tm_link_batch batch = {.stream = r->head->stream, .to = r->head->to};
    r->a.batch = &batch;
    put_position(store, &r->a);
}

static void say_stated(struct tm_link_in *in, const struct stream *s)
{
    struct tm_link_stated m = {.stream = s->id, .round = s->round};
    answer(in, s, TM_MESSAGE_LINK_STATED, &m, sizeof m, tm_bytes_of(NULL, 0));
}

static void on_state(struct tm_link_in *in, const struct tm_link_from *from, struct stream *s,
                     const struct tm_link_position *at, const struct tm_link_state_head *head,
                     struct tm_bytes packed)
{
    struct tm_link_batch batch = {
        .raw_hash = head->raw_hash, .raw_len = head->raw_len, .packed_len = head->packed_len};
    struct restate r = {.a = {.in = in, .from = from},
                        .head = head,
                        .s = s,
                        .store = in->c.ops->store(in->c.host, s->target)};
    uint64_t record;
    if (!follows(at, &head->stands)) {
        tell_position(in, s, at);
        return;
    }
    if (tm_link_unpack(&batch, packed, in->c.raw, &r.a.raw) != TM_OK) {
        refuse(in, s, TM_LINK_REFUSAL_MALFORMED, "round=%u", head->round);
        return;
    }
    if (in->c.ops->out_of_memory(in->c.host) && r.a.raw.len > 0) {
        refuse(in, s, TM_LINK_REFUSAL_MEMORY, "%s", from->source);
        return;
    }
    uint64_t hlc = newest(r.a.raw);
    if (!may_enter(in, from, s, r.a.raw) || !clock_is_well(in, from, s, hlc))
        return;
    r.a.count = changes_in(r.a.raw);
    /* By another filter what the source does not name may only not be shipped any more. */
    for (uint32_t i = 0; i < head->drops && tm_link_same_filter(head->to.rules, from->filter);
         i++) {
        uint64_t end = in->drop[i] + 1 < TM_LINK_ORDERS ? in->drop[i] + 1 : 0;
        (void)tm_link_keys(r.store, in->drop[i], end, UINT32_MAX, gather_drop, &r);
    }
    enum tm_err e = in->c.ops->write(in->c.host, s->target, tm_max_u64(hlc, from->rewind),
                                     fill_state, &r, &record);
    if (e != TM_OK) {
        refuse_err(in, s, e);
        return;
    }
    count(in, TM_COUNTER_link_changes_taken, r.a.won);
    count(in, TM_COUNTER_link_changes_lost, r.a.lost);
    s->round = head->round;
    s->stated = record;
    if (record == 0)
        say_stated(in, s); /* it was all here */
    else
        be_busy(in, s);
}

/* ---- messages ---- */

static void take_batch(struct tm_link_in *in, const struct tm_link_from *from, struct stream *s,
                       const struct tm_link_position *at, const struct tm_link_batch *batch,
                       struct tm_bytes packed)
{
    struct apply a = {.in = in, .from = from, .batch = batch};
    uint16_t first, last;
    if (!follows(at, &batch->from)) {
        count(in,
              batch->to.index <= at->index ? TM_COUNTER_link_batches_repeated
                                           : TM_COUNTER_link_batches_gap,
              1);
        tell_position(in, s, at);
        return;
    }
    if (tm_link_unpack(batch, packed, in->c.raw, &a.raw) != TM_OK) {
        refuse(in, s, TM_LINK_REFUSAL_MALFORMED, "index=%" PRIu64, batch->to.index);
        return;
    }
    if (in->c.ops->out_of_memory(in->c.host) && a.raw.len > 0) {
        refuse(in, s, TM_LINK_REFUSAL_MEMORY, "%s", from->source);
        return;
    }
    if (!may_enter(in, from, s, a.raw) || !clock_is_well(in, from, s, newest(a.raw)))
        return;
    struct tm_bytes rest = a.raw;
    struct tm_change change;
    if (tm_change_next(&rest, &change) && tm_link_flush_slots(&change, &first, &last))
        begin_sweep(in, s, &a, first, last);
    else
        apply(in, s, &a);
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
static struct stream *receive(struct tm_link_in *in, unsigned site, struct tm_place from,
                              uint32_t t, const struct tm_link_stream *id,
                              const struct tm_link_from *link, struct tm_link_position *at)
{
    unsigned block;
    if (id->target != t)
        return NULL;
    if (t >= in->c.targets || !in->c.ops->leads(in->c.host, t, &block)) {
        on_moved(in, site, from, id, t < in->c.targets ? block : TM_LINK_NOBODY);
        return NULL;
    }
    if (link == NULL) {
        struct stream stranger = {.site = site,
                                  .source = id->source,
                                  .target = t,
                                  .from = from,
                                  .id = *id,
                                  .refused = TM_LINK_REFUSAL_UNLINKED};
        refuse(in, &stranger, TM_LINK_REFUSAL_UNLINKED, "partition %u", t);
        return NULL;
    }
    struct stream *s = meet(in, site, from, id);
    if (s == NULL)
        return NULL; /* the source asks again */
    *at = position_of(in, link, s);
    return may_speak(in, link, s, at) ? s : NULL;
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
        struct stream *s = receive(in, site, from, t, &ranges.stream, link, &at);
        if (s != NULL && s->sweep == NULL)
            on_ranges(in, link, s, &ranges);
        return true;
    }
    if (type != TM_MESSAGE_LINK_STATE ||
        tm_link_state_decode(body, &state, in->drop, &packed) != TM_OK)
        return false;
    struct stream *s = receive(in, site, from, t, &state.stream, link, &at);
    if (s != NULL && s->sweep == NULL)
        on_state(in, link, s, &at, &state, packed);
    return true;
}

void tm_link_in_message(struct tm_link_in *in, unsigned site, struct tm_place from, uint16_t type,
                        uint32_t t, struct tm_bytes body)
{
    const struct tm_link_from *link = in->c.ops->from(in->c.host, site);
    struct tm_link_position at;
    struct tm_link_batch batch;
    struct tm_link_open open;
    struct tm_bytes packed;
    if (type == TM_MESSAGE_LINK_OPEN && tm_link_open_decode(body, &open) == TM_OK) {
        struct stream *s = receive(in, site, from, t, &open.stream, link, &at);
        if (s != NULL && s->sweep == NULL)
            tell_position(in, s, &at);
        else if (s != NULL)
            refuse(in, s, TM_LINK_REFUSAL_BUSY, "a flush is under way");
    } else if (type == TM_MESSAGE_LINK_BATCH &&
               tm_link_batch_decode(body, &batch, &packed) == TM_OK) {
        struct stream *s = receive(in, site, from, t, &batch.stream, link, &at);
        if (s != NULL && s->sweep == NULL)
            take_batch(in, link, s, &at, &batch, packed);
        else if (s != NULL)
            s->missed = true;
    } else if (!resync_message(in, site, from, type, t, body)) {
        count(in, TM_COUNTER_link_malformed, 1);
    }
}

void tm_link_in_changed(struct tm_link_in *in, unsigned site)
{
    const struct tm_link_from *link = in->c.ops->from(in->c.host, site);
    unsigned block;
    for (unsigned b = 0; b < BUCKETS && link != NULL; b++)
        for (struct stream *s = in->bucket[b]; s != NULL; s = s->next) {
            if (s->site != site || s->sweep != NULL ||
                !in->c.ops->leads(in->c.host, s->target, &block))
                continue;
            struct tm_link_position at = position_of(in, link, s);
            tell_position(in, s, &at);
        }
}

/* ---- turns ---- */

/* Acknowledges the newest of what is committed. */
static void acknowledge(struct tm_link_in *in, struct stream *s)
{
    uint64_t commit = in->c.ops->commit(in->c.host, s->target);
    const struct pending *last = NULL;
    while (s->count > 0 && s->pending[s->first].record <= commit) {
        last = &s->pending[s->first];
        s->first = (s->first + 1) % PENDING_MAX;
        s->count--;
    }
    if (last == NULL)
        return;
    uint64_t wall = tm_ctx_wall_ms(in->c.ctx), made = tm_hlc_ms(last->hlc);
    struct tm_link_receipt m = {.stream = s->id,
                                .index = last->index,
                                .hash = last->hash,
                                .delay_ms = made != 0 && wall > made ? wall - made : 0};
    s->acked = last->index;
    answer(in, s, TM_MESSAGE_LINK_ACK, &m, sizeof m, tm_bytes_of(NULL, 0));
}

bool tm_link_in_turn(struct tm_link_in *in)
{
    bool more = false;
    struct stream *list = in->busy;
    in->busy = NULL;
    while (list != NULL) {
        struct stream *s = list;
        unsigned block;
        list = s->busy_next;
        s->busy = false;
        if (!in->c.ops->leads(in->c.host, s->target, &block)) {
            s->count = 0; /* not told of it yet */
            s->stated = 0;
            end_sweep(in, s);
            continue;
        }
        acknowledge(in, s);
        if (s->stated != 0 && s->stated <= in->c.ops->commit(in->c.host, s->target)) {
            s->stated = 0;
            say_stated(in, s);
        }
        if (s->sweep != NULL)
            go_on_sweeping(in, s);
        if (s->count > 0 || s->stated != 0 || s->sweep != NULL)
            be_busy(in, s);
        more = more || s->sweep != NULL;
    }
    return more;
}
