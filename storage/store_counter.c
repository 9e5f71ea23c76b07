/* store_counter.c: what counters hold.
 *
 * A counter is a base and components: per (origin, term) the running total of what that leader
 * added.  An effect says the new total, so it may be applied any number of times.  A plain counter
 * counts from whatever was written last.  One of a key that links carry is *based*: it names the
 * stamp of its base, and a component is of that base or of none, so that clusters agree on what is
 * counted from what in whatever order they learn of it.
 *
 * Components beyond a number are folded into the base, which keeps the sum. */
#include "storage/store_internal.h"

/* Makes room for one more component of that origin: folds one into the base. */
static size_t counter_fold(uint8_t *value, size_t len, uint64_t origin)
{
    struct tm_counter_component *c = (void *)(value + 8);
    size_t count = (len - 8) / sizeof *c, oldest = 0;
    for (size_t i = 1; i < count; i++) {
        bool own = c[i].origin == origin, best_own = c[oldest].origin == origin;
        if (own > best_own || (own == best_own && c[i].term < c[oldest].term))
            oldest = i;
    }
    tm_store64(value, tm_load64(value) + (uint64_t)c[oldest].total);
    memmove(c + oldest, c + oldest + 1, (count - oldest - 1) * sizeof *c);
    return len - sizeof *c;
}

/* What the field holds once `set` is among its components; returns the length. */
static size_t counter_with(const struct tm_entity *field, const struct tm_counter_component *set,
                           uint8_t *value)
{
    int64_t base = 0;
    size_t len = 8;
    if (field != NULL && (tm_entity_flags(field) & TM_ENTITY_COUNTER)) {
        struct tm_bytes raw = tm_entity_raw(field);
        memcpy(value, raw.data, len = raw.len);
    } else {
        if (field != NULL)
            (void)tm_value_int(tm_entity_raw(field), &base);
        tm_store64(value, (uint64_t)base);
    }
    for (size_t at = 8; at < len; at += sizeof *set) {
        struct tm_counter_component *c = (void *)(value + at);
        if (c->origin == set->origin && c->term == set->term) {
            c->total = set->total;
            return len;
        }
    }
    if (len + sizeof *set > TM_COUNTER_BYTES)
        len = counter_fold(value, len, set->origin);
    memcpy(value + len, set, sizeof *set);
    return len + sizeof *set;
}

static void put_plain(struct tm_store *s, struct tm_target *t, const struct tm_stamp *by,
                      const struct tm_op *op)
{
    uint64_t value[TM_COUNTER_BYTES / 8];
    struct tm_counter_component set;
    memcpy(&set, op->value.data, sizeof set);
    size_t len = counter_with(tm_target_field(t, op->name), &set, (uint8_t *)value);
    tm_target_put(s, t, by, op->name, tm_bytes_of(value, len), TM_ENTITY_COUNTER);
}

/* ---- Based counters ---- */

struct tm_counter_base tm_counter_base_of(const struct tm_entity *field)
{
    struct tm_counter_base base;
    TM_ASSERT(tm_is_based(field));
    memcpy(&base, tm_entity_raw(field).data, sizeof base);
    return base;
}

unsigned tm_counter_parts(const struct tm_entity *field)
{
    return (unsigned)((tm_entity_value_len(field) - sizeof(struct tm_counter_base)) /
                      sizeof(struct tm_counter_part));
}

struct tm_counter_part tm_counter_part_at(const struct tm_entity *field, unsigned place)
{
    struct tm_counter_part part;
    memcpy(&part, tm_entity_raw(field).data + sizeof(struct tm_counter_base) + place * sizeof part,
           sizeof part);
    return part;
}

bool tm_counter_part_of(const struct tm_entity *field, uint64_t origin, uint64_t term,
                        struct tm_counter_part *out)
{
    for (unsigned i = 0; i < tm_counter_parts(field); i++) {
        *out = tm_counter_part_at(field, i);
        if (out->component.origin == origin && out->component.term == term)
            return true;
    }
    return false;
}

uint64_t tm_counter_total(const struct tm_entity *field, uint64_t origin, uint64_t term)
{
    struct tm_counter_part part;
    if (field == NULL || !(tm_entity_flags(field) & TM_ENTITY_COUNTER))
        return 0;
    if (tm_is_based(field))
        return tm_counter_part_of(field, origin, term, &part) ? (uint64_t)part.component.total : 0;
    struct tm_bytes raw = tm_entity_raw(field);
    struct tm_counter_component c;
    for (size_t at = 8; at < raw.len; at += sizeof c) {
        memcpy(&c, raw.data + at, sizeof c);
        if (c.origin == origin && c.term == term)
            return (uint64_t)c.total;
    }
    return 0;
}

struct based {
    struct tm_counter_base base;
    struct tm_counter_part parts[TM_COUNTER_COMPONENTS];
};

/* Makes room for one more: folds the oldest of that origin, or the oldest of all, into the base. */
static void based_fold(struct based *v, unsigned *count, uint64_t origin)
{
    unsigned oldest = 0;
    for (unsigned i = 1; i < *count; i++) {
        const struct tm_counter_part *p = &v->parts[i], *o = &v->parts[oldest];
        bool own = p->component.origin == origin, best_own = o->component.origin == origin;
        if (own > best_own || (own == best_own && p->hlc < o->hlc))
            oldest = i;
    }
    v->base.value = (int64_t)((uint64_t)v->base.value + (uint64_t)v->parts[oldest].component.total);
    memmove(v->parts + oldest, v->parts + oldest + 1, (*count - oldest - 1) * sizeof v->parts[0]);
    --*count;
}

static void put_based(struct tm_store *s, struct tm_target *t, const struct tm_stamp *by,
                      struct tm_bytes name, const struct tm_counter_base *base,
                      const struct tm_counter_component *set)
{
    struct based v = {.base = *base};
    unsigned count = 0, at = 0;
    const struct tm_entity *field = tm_target_field(t, name);
    if (tm_is_based(field) && tm_stamp_compare(tm_counter_base_of(field).stamp, base->stamp) == 0) {
        count = tm_counter_parts(field);
        memcpy(&v, tm_entity_raw(field).data, tm_entity_value_len(field));
    }
    while (at < count &&
           (v.parts[at].component.origin != set->origin || v.parts[at].component.term != set->term))
        at++;
    if (at == TM_COUNTER_COMPONENTS) {
        based_fold(&v, &count, set->origin);
        at = count;
    }
    v.parts[at] = (struct tm_counter_part){*set, by->hlc};
    count += at == count;
    tm_target_put(s, t, by, name, tm_bytes_of(&v, sizeof v.base + count * sizeof v.parts[0]),
                  TM_ENTITY_COUNTER | TM_ENTITY_BASED);
}

void tm_counter_put(struct tm_store *s, struct tm_target *t, const struct tm_stamp *by,
                    const struct tm_op *op)
{
    struct tm_counter_at at = {0};
    memcpy(&at, op->value.data, op->value.len);
    const struct tm_entity *field = tm_target_field(t, op->name);
    struct tm_counter_base base = {at.base_value, {at.base_hlc, at.base_origin}};
    if (op->code == TM_OP_COUNTER && !tm_is_based(field)) {
        put_plain(s, t, by, op);
        return;
    }
    if (op->code == TM_OP_COUNTER)
        base = tm_counter_base_of(field);
    put_based(s, t, by, op->name, &base, &at.component);
}
