/* What a batch brings is looked at (keys of the stream, types that may be here, stamps), and goes
 * into one record together with the new position.  A record that would be too large is split; a
 * change that does not fit alone is a dead letter. */
#include "actors/link_in_internal.h"

#include "actors/router.h"
#include "runtime/hlc.h"
#include "storage/store_link.h"

#include <inttypes.h>

#define AHEAD 16u /* changes whose places in memory are fetched at once */

/* ---- may it be taken? ---- */

static void see(struct tm_link_in_seen *seen, struct tm_change change)
{
    struct tm_op op;
    seen->changes++;
    while (tm_op_next(&change.ops, &op)) {
        if (op.code == TM_OP_STAMPED)
            seen->newest = tm_max_u64(seen->newest, tm_load64(op.value.data));
        else if (change.type == TM_ENTITY_SHADOW)
            seen->newest = tm_max_u64(seen->newest, tm_link_newest(change.type, &op));
    }
}

struct tm_link_in_seen tm_link_in_see(struct tm_bytes raw)
{
    struct tm_link_in_seen seen = {0};
    struct tm_change change;
    while (tm_change_next(&raw, &change))
        see(&seen, change);
    return seen;
}

static bool is_of_both(const struct tm_link_stream *id, uint32_t slot)
{
    return tm_partition_of_slot(slot, id->targets) == id->target &&
           tm_partition_of_slot(slot, id->sources) == id->source;
}

/* Whether the change is of both partitions: by its key, or as a flush, which stands first. */
static bool is_of_stream(const struct tm_link_stream *id, const struct tm_change *change,
                         bool begins, bool *is_flush)
{
    uint16_t first, last;
    *is_flush = tm_link_flush_slots(change, &first, &last);
    if (*is_flush)
        return begins && last >= first && is_of_both(id, first) && is_of_both(id, last);
    return change->key.len > 0 && is_of_both(id, tm_slot_of_key(change->key));
}

bool tm_link_in_may_enter(struct tm_link_in *in, const struct tm_link_from *from,
                          struct tm_link_in_stream *s, struct tm_bytes raw,
                          struct tm_link_in_seen *seen)
{
    struct tm_change change;
    struct tm_bytes type = {NULL, 0}; /* that may be here */
    bool is_flush;
    *seen = (struct tm_link_in_seen){0};
    while (tm_change_next(&raw, &change)) {
        if (!is_of_stream(&s->id, &change, seen->changes == 0, &is_flush)) {
            tm_link_in_refuse(in, s, TM_LINK_REFUSAL_MALFORMED, "a key of another partition");
            return false;
        }
        see(seen, change);
        if (is_flush || (type.len > 0 && tm_link_is_of_type(change.key, type)))
            continue;
        type = tm_link_type_of(change.key);
        if (from->may_enter(from->host, type))
            continue;
        tm_counter_add(in->c.ctx->counters, TM_COUNTER_link_residency_refused, 1);
        tm_link_in_refuse(in, s, TM_LINK_REFUSAL_RESIDENCY, "type=%.*s",
                          (int)tm_min_u64(type.len, 64), (const char *)type.data);
        return false;
    }
    return true;
}

bool tm_link_in_clock_is_well(struct tm_link_in *in, const struct tm_link_from *from,
                              struct tm_link_in_stream *s, uint64_t hlc)
{
    uint64_t wall = tm_ctx_wall_ms(in->c.ctx);
    if (hlc <= from->released || tm_hlc_check(hlc, wall, from->skew_ms) == TM_OK)
        return true;
    s->held = hlc;
    tm_counter_add(in->c.ctx->counters, TM_COUNTER_link_clock_held, 1);
    tm_link_in_refuse(in, s, TM_LINK_REFUSAL_CLOCK, "by %" PRIu64 " ms, maxClockSkewMs is %" PRIu64,
                      tm_hlc_ahead_ms(hlc, wall), from->skew_ms);
    return false;
}

/* ---- applying ---- */

void tm_link_in_put_position(struct tm_store *store, const struct tm_link_in_apply *a)
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

/* Fetches what the next changes will touch into the caches, all at once. */
static void look_ahead(const struct tm_store *store, struct tm_bytes rest,
                       struct tm_store_ahead ahead[AHEAD])
{
    struct tm_change change;
    unsigned n = 0;
    while (n < AHEAD && tm_change_next(&rest, &change))
        tm_store_ahead(&ahead[n++], store, change.key);
    for (unsigned step = 0; step < TM_STORE_AHEAD_STEPS && n > 1; step++)
        for (unsigned i = 0; i < n; i++)
            tm_store_ahead_step(&ahead[i]);
}

static void merge(struct tm_link_in_apply *a, struct tm_store *store,
                  const struct tm_link_change *change)
{
    const struct tm_link_in_config *c = &a->in->c;
    if (change->stamp.hlc <= a->past) { /* an echo: it came before, and what killed it is gone */
        a->lost++;
        return;
    }
    if (change->stamp.origin == c->origin && !a->told)
        tm_counter_add(c->ctx->counters, TM_COUNTER_link_changes_echoed, 1);
    enum tm_link_outcome o = c->ops->merge(c->host, store, change);
    bool won = o == TM_LINK_APPLIED || o == TM_LINK_LACKS;
    a->won += won;
    a->lost += !won;
    if (o == TM_LINK_LACKS && !a->told)
        tm_link_in_note_lacks(a->in, store, a->target, change->key);
}

/* A type came to be one that may not be here after it was let in. */
static bool is_shut(const struct tm_link_in_apply *a, struct tm_bytes key)
{
    if (a->from->may_enter(a->from->host, tm_link_type_of(key)))
        return false;
    tm_counter_add(a->in->c.ctx->counters, TM_COUNTER_link_residency_refused, 1);
    return true;
}

void tm_link_in_fill(struct tm_store *store, void *arg)
{
    struct tm_link_in_apply *a = arg;
    struct tm_bytes rest = a->raw;
    struct tm_store_ahead ahead[AHEAD];
    struct tm_op_version stamp = {0};
    struct tm_change change;
    struct tm_op op;
    for (unsigned i = 0; i < a->first + a->count; i++) {
        if (i % AHEAD == 0)
            look_ahead(store, rest, ahead);
        if (!tm_change_next(&rest, &change))
            break;
        bool shut = a->promoted && is_shut(a, change.key);
        while (tm_op_next(&change.ops, &op)) {
            if (op.code == TM_OP_STAMPED)
                memcpy(&stamp, op.value.data, sizeof stamp);
            else if (i >= a->first && !shut)
                merge(a, store,
                      &(struct tm_link_change){change.key, change.type, &op, stamp,
                                               ahead[i % AHEAD].hash});
        }
    }
    if (a->ends)
        tm_link_in_put_position(store, a);
}

static enum tm_err write_part(struct tm_link_in *in, const struct tm_link_in_stream *s,
                              struct tm_link_in_apply *a, uint64_t *record)
{
    a->won = a->lost = 0;
    uint64_t hlc = tm_max_u64(a->batch->to.hlc, a->seen.newest);
    if (tm_hlc_ms(hlc) > tm_ctx_wall_ms(in->c.ctx) + a->from->skew_ms)
        hlc = a->seen.newest; /* what the source says beside its changes pulls no clock along */
    hlc = tm_max_u64(hlc, a->from->rewind); /* the position is later than what was forgotten */
    enum tm_err e = in->c.ops->write(in->c.host, s->target, hlc, tm_link_in_fill, a, record);
    if (e == TM_OK) {
        tm_counter_add(in->c.ctx->counters, TM_COUNTER_link_changes_taken, a->won);
        tm_counter_add(in->c.ctx->counters, TM_COUNTER_link_changes_lost, a->lost);
    }
    return e;
}

/* The record would be too large: the changes go in parts, and one that does not fit alone goes to
 * the dead letters.  Merging them twice does no harm, so the position goes with the last part. */
static enum tm_err write_split(struct tm_link_in *in, const struct tm_link_in_stream *s,
                               struct tm_link_in_apply *a, unsigned total, uint64_t *record)
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
            tm_link_in_bury(in, s, a, e);
            e = TM_OK;
        } else if (a->ends) {
            return e;
        }
        a->first += a->count;
    }
    return e;
}

void tm_link_in_wait_for_commit(struct tm_link_in *in, struct tm_link_in_stream *s,
                                const struct tm_link_position *to, uint64_t before, uint64_t hlc,
                                uint64_t record)
{
    const struct tm_link_in_staged *staged = s->staged;
    struct tm_link_mark end = {to->index, to->term, to->hash};
    if (staged != NULL && staged->count > 0)
        end = staged->at[staged->count - 1].to;
    if (s->count ==
        TM_LINK_IN_PENDING) /* the newest one's acknowledgement is for those before it, too */
        s->count--;
    if (s->count == 0)
        s->acked = before;
    s->pending[(s->first + s->count++) % TM_LINK_IN_PENDING] =
        (struct tm_link_in_pending){.record = record,
                                    .index = to->index,
                                    .hash = to->hash,
                                    .hlc = hlc,
                                    .staged = end.index,
                                    .staged_hash = end.hash};
    s->taken = end.index;
    s->taken_hash = end.hash;
    s->refused = TM_LINK_REFUSAL_NONE;
    s->held = 0;
    tm_link_in_be_busy(in, s);
}

enum tm_err tm_link_in_write(struct tm_link_in *in, const struct tm_link_in_stream *s,
                             struct tm_link_in_apply *a, uint64_t *record)
{
    unsigned total = a->seen.changes;
    a->first = 0;
    a->count = total;
    a->ends = true;
    a->target = s->target;
    enum tm_err e = write_part(in, s, a, record);
    if (e == TM_ERR_TOOBIG && total > 0)
        e = write_split(in, s, a, total, record);
    return e;
}

void tm_link_in_take(struct tm_link_in *in, struct tm_link_in_stream *s, struct tm_link_in_apply *a)
{
    uint64_t record;
    const struct tm_store *store = in->c.ops->store(in->c.host, s->target);
    a->past =
        tm_max_u64(tm_link_in_past(store, s, &a->batch->from), tm_link_in_bar(store, a->from));
    enum tm_err e = tm_link_in_write(in, s, a, &record);
    if (e != TM_OK) {
        tm_link_in_refuse_err(in, s, e);
        return;
    }
    tm_counter_add(in->c.ctx->counters, TM_COUNTER_link_batches_taken, 1);
    tm_link_in_wait_for_commit(in, s, &a->batch->to, a->batch->from.index, a->batch->to.hlc,
                               record);
    if (a->from->received)
        tm_link_in_acknowledge(in, s, NULL);
}

/* ---- batches ---- */

void tm_link_in_batch(struct tm_link_in *in, const struct tm_link_from *from,
                      struct tm_link_in_stream *s, const struct tm_link_position *stands,
                      const struct tm_link_batch *batch, struct tm_bytes packed)
{
    struct tm_link_in_apply a = {.in = in, .from = from, .batch = batch};
    struct tm_link_position now = *stands, *at = &now;
    uint16_t first, last;
    if (s->staged != NULL && s->staged->count > 0 &&
        !tm_link_in_apply_staged(in, from, s, at, &batch->from))
        return;
    if (!tm_link_in_follows(at, &batch->from)) {
        tm_counter_add(in->c.ctx->counters,
                       batch->to.index <= at->index ? TM_COUNTER_link_batches_repeated
                                                    : TM_COUNTER_link_batches_gap,
                       1);
        tm_link_in_tell_position(in, from, s, at);
        return;
    }
    if (tm_link_unpack(batch, packed, in->c.raw, &a.raw) != TM_OK) {
        tm_link_in_refuse(in, s, TM_LINK_REFUSAL_MALFORMED, "index=%" PRIu64, batch->to.index);
        return;
    }
    if (in->c.ops->out_of_memory(in->c.host) && a.raw.len > 0) {
        tm_link_in_refuse(in, s, TM_LINK_REFUSAL_MEMORY, "%s", from->source);
        return;
    }
    if (!tm_link_in_may_enter(in, from, s, a.raw, &a.seen) ||
        !tm_link_in_clock_is_well(in, from, s, a.seen.newest))
        return;
    struct tm_bytes rest = a.raw;
    struct tm_change change;
    if (tm_change_next(&rest, &change) && tm_link_flush_slots(&change, &first, &last))
        tm_link_in_begin_sweep(in, s, &a, first, last);
    else
        tm_link_in_take(in, s, &a);
}
