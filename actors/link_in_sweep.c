/* A batch that begins with a flush: first a floor is set, for what a third cluster wrote before and
 * ships later; then what the source has flushed is removed slice by slice, in turns of the worker;
 * the last record holds the rest of the batch and the position. */
#include "actors/link_in_internal.h"

#include "actors/router.h"
#include "storage/entity.h"

#include <stdlib.h>

#define SWEEP_KEYS  256  /* entities that one record of a flush removes */
#define SWEEP_STEPS 4096 /* entities looked at in one turn */
#define SWEEPS_MAX  4    /* flushes under way on a worker */

void tm_link_in_end_sweep(struct tm_link_in *in, struct tm_link_in_stream *s)
{
    if (s->sweep == NULL)
        return;
    free(s->sweep);
    s->sweep = NULL;
    in->sweeps--;
}

/* Keys to be removed by one record, one behind the other: u16 length, bytes. */
struct slice {
    struct tm_link_in *in;
    const struct tm_link_from *from;
    struct tm_link_in_sweep *sweep;
    unsigned used, keys;
};

/* One step of a walk visits one entity, or some whose hashes begin alike: there is room for them.
 */
static void gather_key(void *host, const struct tm_entity *e)
{
    struct slice *l = host;
    struct tm_bytes key = tm_entity_key(e);
    uint32_t slot = tm_slot_of_key(key);
    if (slot < l->sweep->first || slot > l->sweep->last ||
        l->used + 2 + key.len > TM_LINK_IN_KEY_BYTES ||
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
    uint8_t name[TM_LINK_FLOOR_NAME];
    tm_store_set_floor(store,
                       tm_link_floor_name(l->sweep->first, l->sweep->last, l->from->source, name),
                       l->sweep->stamp);
    for (unsigned at = 0; at < l->used;) {
        size_t len = tm_load16(l->in->keys + at);
        struct tm_op op = {.code = TM_OP_DEL_ENTITY};
        struct tm_link_change change = {.key = tm_bytes_of(l->in->keys + at + 2, len),
                                        .type = TM_ENTITY_STRING,
                                        .op = &op,
                                        .stamp = l->sweep->stamp};
        l->in->c.ops->merge(l->in->c.host, store, &change);
        at += 2 + (unsigned)len;
    }
}

void tm_link_in_begin_sweep(struct tm_link_in *in, struct tm_link_in_stream *s,
                            const struct tm_link_in_apply *a, uint16_t first, uint16_t last)
{
    struct tm_link_in_sweep *w = in->sweeps < SWEEPS_MAX ? malloc(sizeof *w + a->raw.len) : NULL;
    if (w == NULL) {
        tm_link_in_refuse(in, s, TM_LINK_REFUSAL_BUSY, "other flushes are under way");
        return;
    }
    *w = (struct tm_link_in_sweep){.batch = *a->batch,
                                   .first = first,
                                   .last = last,
                                   .raw_len = (uint32_t)a->raw.len,
                                   .seen = a->seen};
    memcpy(w->raw, a->raw.data, a->raw.len);
    struct tm_bytes rest = a->raw;
    struct tm_change change;
    struct tm_op op;
    if (tm_change_next(&rest, &change) && tm_op_next(&change.ops, &op)) /* STAMPED: checked */
        memcpy(&w->stamp, op.value.data, sizeof w->stamp);
    s->sweep = w;
    in->sweeps++;
    tm_link_in_be_busy(in, s);
}

void tm_link_in_go_on_sweeping(struct tm_link_in *in, struct tm_link_in_stream *s)
{
    struct tm_link_in_sweep *w = s->sweep;
    const struct tm_link_from *from = in->c.ops->from(in->c.host, s->site);
    if (from == NULL) {
        tm_link_in_end_sweep(in, s);
        return;
    }
    struct slice l = {.in = in, .from = from, .sweep = w};
    struct tm_store *store = in->c.ops->store(in->c.host, s->target);
    uint64_t record;
    unsigned steps = 0;
    do
        w->cursor = tm_store_scan(store, w->cursor, 1, gather_key, &l);
    while (w->cursor != 0 && l.used < TM_LINK_IN_KEY_BYTES / 2 && l.keys < SWEEP_KEYS &&
           ++steps < SWEEP_STEPS);
    enum tm_err e =
        l.keys == 0 && w->floored
            ? TM_OK
            : in->c.ops->write(in->c.host, s->target, w->stamp.hlc, fill_slice, &l, &record);
    w->floored = true;
    if (e != TM_OK) {
        tm_link_in_refuse_err(in, s, e);
        tm_link_in_end_sweep(in, s);
        return;
    }
    if (w->cursor != 0)
        return;
    struct tm_link_in_apply a = {.in = in,
                                 .from = from,
                                 .batch = &w->batch,
                                 .raw = tm_bytes_of(w->raw, w->raw_len),
                                 .seen = w->seen};
    uint64_t end = w->batch.to.index;
    tm_link_in_take(in, s, &a);
    tm_link_in_end_sweep(in, s);
    struct tm_link_position at = tm_link_in_position(in, from, s);
    if (s->missed && at.index == end)
        tm_link_in_tell_position(in, from, s, &at);
    s->missed = false;
}
