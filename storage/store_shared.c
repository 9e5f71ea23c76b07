/* store_shared.c: what clusters share of a key.
 *
 * Two clusters that got the same changes may hold them in different forms: one still has what is
 * below the floor, the other never made it; one has expired what the other has not yet looked at.
 * So the hash is of what counts: nothing below the floor, nothing of a life that is over, no
 * tombstone beside a field that is newer, a counter by its value.
 *
 * A state is sent as what made it: the floor first, then the register of expiry, so that it brings
 * back what has expired too soon, then fields and tombstones. */
#include "runtime/hash.h"
#include "storage/store_link.h"
#include "storage/store_internal.h"

static const struct tm_bytes FLOOR = {(const uint8_t *)"d", 1}, EXPIRY = {(const uint8_t *)"x", 1},
                             NOTHING = {NULL, 0};

static uint64_t hash_part(uint64_t key_hash, char what, unsigned type, struct tm_bytes name,
                          struct tm_bytes value, struct tm_op_version v)
{
    const uint64_t head[] = {key_hash, v.hlc, v.origin, (uint64_t)what << 8 | type, name.len};
    const struct tm_bytes pieces[] = {tm_bytes_of(head, sizeof head), name, value};
    return tm_hash64_pieces(pieces, 3, 0);
}

static bool has_floor(const struct tm_kept *k)
{
    return k->floor.hlc != 0 || k->floor.origin != 0;
}

/* The effective floor: changes of a life that has expired count as below it. */
static struct tm_op_version floor_of(const struct tm_kept *k, uint64_t now_ms)
{
    struct tm_op_version over = {tm_kept_over(k), 0};
    bool expired = k->has_expiry && k->expiry_ms != 0 && k->expiry_ms <= now_ms;
    return expired && tm_stamp_compare(k->floor, over) < 0 ? over : k->floor;
}

/* Who added how much: equal sums may be of different increments. */
static uint64_t hash_parts(uint64_t hash, enum tm_entity_type type, const struct tm_entity *f,
                           struct tm_bytes name, struct tm_op_version base)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < tm_counter_parts(f); i++) {
        struct tm_counter_component c = tm_counter_part_at(f, i).component;
        sum += hash_part(hash, 'c', type, name, tm_bytes_of(&c, sizeof c), base);
    }
    return sum;
}

static uint64_t hash_field(const struct tm_store *s, uint64_t hash, enum tm_entity_type type,
                           const struct tm_entity *f, struct tm_bytes name,
                           struct tm_op_version floor)
{
    struct tm_value value;
    struct tm_op_version v = tm_kept_stamp(s, f);
    if (tm_stamp_compare(v, floor) < 0)
        return 0;
    if (tm_is_based(f))
        return hash_parts(hash, type, f, name, v);
    tm_value_of(f, &value);
    return hash_part(hash, 'v', type, name, value.text, v);
}

static uint64_t hash_fields(const struct tm_store *s, uint64_t hash, const struct tm_kept *k,
                            struct tm_op_version floor)
{
    uint64_t sum = 0;
    struct tm_fields it;
    const struct tm_entity *f;
    enum tm_entity_type type = tm_entity_type(k->e);
    if (type == TM_ENTITY_STRING)
        return hash_field(s, hash, type, k->e, NOTHING, floor);
    tm_fields_first(&it, k->e);
    while ((f = tm_fields_next(&it)) != NULL)
        sum += hash_field(s, hash, type, f, tm_entity_name(f), floor);
    return sum;
}

/* Whether the field that the tombstone is of was written since. */
static bool outlived(const struct tm_store *s, const struct tm_kept *k, struct tm_bytes name,
                     struct tm_op_version tomb)
{
    const struct tm_entity *f = k->e != NULL ? tm_field_find(k->e, name) : NULL;
    return f != NULL && tm_stamp_compare(tm_kept_stamp(s, f), tomb) >= 0;
}

/* Versions that say no more than the field or a tombstone does count as these. */
static uint64_t hash_versions(uint64_t hash, const struct tm_entity *f, struct tm_op_version floor,
                              uint64_t past)
{
    struct tm_versions v;
    struct tm_bytes name = tm_entity_name(f);
    uint64_t sum = 0;
    uint8_t type;
    if (!tm_versions_decode(tm_entity_raw(f), &v))
        return 0;
    (void)tm_versions_cut(&v, floor, false);
    if (tm_is_past_versions(&v, past))
        return 0;
    unsigned kept = 0;
    for (unsigned i = 0; i < v.past_count; i++)
        if (v.past[i].hlc > past)
            v.past[kept++] = v.past[i];
    v.past_count = kept;
    type = (uint8_t)v.type;
    name = tm_bytes_of(name.data + 1, name.len - 1);
    if (v.count > 0 && tm_versions_plain(&v))
        return v.version[0].flags & TM_VERSION_DELETED
                   ? hash_part(hash, TM_SHADOW_FIELD, 0, name, tm_bytes_of(&type, 1),
                               v.version[0].stamp)
                   : 0;
    for (unsigned i = 0; i < v.count; i++)
        sum += hash_part(hash, TM_SHADOW_VERSIONS, (unsigned)type << 4 | v.version[i].flags, name,
                         v.version[i].value, v.version[i].stamp);
    for (unsigned i = 0; i < v.past_count; i++)
        sum += hash_part(hash, TM_SHADOW_VERSIONS, 15, name, NOTHING, v.past[i]);
    return sum;
}

static uint64_t hash_tombs(const struct tm_store *s, uint64_t hash, const struct tm_kept *k,
                           struct tm_op_version floor, uint64_t past)
{
    uint64_t sum = 0;
    struct tm_fields it;
    const struct tm_entity *f;
    tm_fields_first(&it, k->shadow);
    while ((f = tm_fields_next(&it)) != NULL) {
        struct tm_op_version v = tm_store_stamp_of(s, f);
        struct tm_bytes name = tm_entity_name(f);
        if (tm_is_versions(f))
            sum += hash_versions(hash, f, floor, past);
        if (!tm_is_tomb(f) || v.hlc <= past || tm_stamp_compare(v, floor) <= 0)
            continue;
        name = tm_bytes_of(name.data + 1, name.len - 1);
        if (!outlived(s, k, name, v))
            sum += hash_part(hash, TM_SHADOW_FIELD, 0, name, tm_entity_raw(f), v);
    }
    return sum;
}

static uint64_t hash_key(const struct tm_store *s, const struct tm_kept *k, uint64_t now_ms,
                         uint64_t past)
{
    uint64_t sum = 0, hash = tm_table_hash(k->key);
    struct tm_kept known = *k;
    if (k->flushed && k->floor.hlc <= past) /* gone at one of the two */
        known.floor = (struct tm_op_version){0};
    struct tm_op_version floor = floor_of(&known, now_ms);
    if (k->e != NULL)
        sum += hash_fields(s, hash, k, floor);
    if (k->shadow == NULL)
        return sum;
    sum += hash_tombs(s, hash, k, floor, past);
    bool expired = k->expiry_ms == 0 || k->expiry_ms <= now_ms;
    if (k->has_expiry && !(expired && tm_is_past_expiry(k, past)))
        sum += hash_part(hash, TM_SHADOW_EXPIRY, 0, NOTHING,
                         tm_bytes_of(&k->expiry_ms, sizeof k->expiry_ms), k->expiry);
    if (has_floor(k) && !k->flushed && k->floor.hlc > past &&
        tm_stamp_compare(floor, k->floor) == 0)
        sum += hash_part(hash, TM_SHADOW_FLOOR, 0, NOTHING, NOTHING, floor);
    return sum;
}

uint64_t tm_link_hash(const struct tm_store *s, struct tm_bytes key, uint64_t now_ms, uint64_t past)
{
    struct tm_kept k;
    tm_kept_look(s, key, &k);
    return hash_key(s, &k, now_ms, past);
}

/* One step of a walk passes entities whose hashes begin alike, of either table: they are put in
 * order here, as many at a time as there is room for. */
#define STEP_KEYS 64u

struct walking {
    const struct tm_store *store;
    unsigned count, visited;
    bool more; /* there was no room for one beyond the last */
    uint64_t hash[STEP_KEYS];
    const struct tm_entity *e[STEP_KEYS];
    uint64_t after_hash; /* what was visited of the step */
    const struct tm_entity *after;
};

static bool is_behind(uint64_t hash, const struct tm_entity *e, uint64_t than,
                      const struct tm_entity *than_e)
{
    return hash != than ? hash > than : e > than_e;
}

/* A key that has both is visited where its entity is. */
static void walk_gather(void *host, struct tm_entity *e)
{
    struct walking *w = host;
    struct tm_bytes key = tm_entity_name(e);
    uint64_t hash = tm_table_hash(key);
    if (key.len == 0 || !is_behind(hash, e, w->after_hash, w->after) ||
        (tm_entity_type(e) == TM_ENTITY_SHADOW && tm_store_find(w->store, key) != NULL))
        return;
    if (w->count == STEP_KEYS) {
        w->more = true;
        w->count--;
        if (is_behind(hash, e, w->hash[w->count], w->e[w->count])) {
            w->count++;
            return;
        }
    }
    unsigned at = w->count++;
    for (; at > 0 && is_behind(w->hash[at - 1], w->e[at - 1], hash, e); at--) {
        w->hash[at] = w->hash[at - 1];
        w->e[at] = w->e[at - 1];
    }
    w->hash[at] = hash;
    w->e[at] = e;
}

static uint64_t walk_step(struct walking *w, uint64_t at, uint64_t end, tm_link_key_fn *visit,
                          void *host)
{
    uint64_t next;
    w->after_hash = 0;
    w->after = NULL;
    do {
        w->count = 0;
        w->more = false;
        next = tm_store_step(w->store, at, end, walk_gather, w);
        for (unsigned i = 0; i < w->count; i++)
            visit(host, tm_entity_name(w->e[i]));
        w->visited += w->count;
        if (w->more) {
            w->after_hash = w->hash[w->count - 1];
            w->after = w->e[w->count - 1];
        }
    } while (w->more);
    return next;
}

uint64_t tm_link_keys(struct tm_store *s, uint64_t from, uint64_t to, unsigned want,
                      tm_link_key_fn *visit, void *host)
{
    TM_ASSERT(!s->open && from >> 48 == 0 && to >> 48 == 0 && (to == 0 || from < to));
    struct walking walk = {.store = s};
    uint64_t at = from << 16;
    tm_undo_hide(s);
    do
        at = walk_step(&walk, at, to << 16, visit, host);
    while (at != to << 16 && walk.visited < want);
    tm_undo_show(s);
    return at >> 16;
}

/* ---- Sending ---- */

struct giving {
    struct tm_store *store;
    const struct tm_kept *k;
    tm_link_state_fn *give;
    void *host;
};

static void give(const struct giving *g, enum tm_entity_type type, enum tm_op_code code,
                 struct tm_bytes name, struct tm_bytes value, struct tm_op_version v)
{
    struct tm_op op = {code, name, value};
    g->give(g->host, type, &op, v);
}

static void give_counter(const struct giving *g, enum tm_entity_type type,
                         const struct tm_entity *f, struct tm_bytes name)
{
    struct tm_counter_base base = tm_counter_base_of(f);
    for (unsigned i = 0; i < tm_counter_parts(f); i++) {
        struct tm_counter_part part = tm_counter_part_at(f, i);
        struct tm_counter_at at = {part.component, base.stamp.hlc, base.stamp.origin, base.value};
        struct tm_op_version v = {part.hlc, part.component.origin};
        give(g, type, TM_OP_COUNTER_AT, name, tm_bytes_of(&at, sizeof at), v);
    }
}

static void give_field(const struct giving *g, enum tm_entity_type type, const struct tm_entity *f,
                       struct tm_bytes name)
{
    struct tm_value value;
    const struct tm_entity *shadow = g->k->shadow;
    if (shadow != NULL && tm_field_find(shadow, tm_versions_name(g->store, name)) != NULL)
        return; /* it follows from them */
    if (tm_is_based(f)) {
        give_counter(g, type, f, name);
        return;
    }
    tm_value_of(f, &value);
    give(g, type, TM_OP_SET_FIELD, name, value.text, tm_store_stamp_of(g->store, f));
}

static void give_fields(const struct giving *g, const struct tm_entity *e)
{
    struct tm_fields it;
    const struct tm_entity *f;
    enum tm_entity_type type = tm_entity_type(e);
    if (type == TM_ENTITY_STRING) {
        give_field(g, type, e, NOTHING);
        return;
    }
    tm_fields_first(&it, e);
    while ((f = tm_fields_next(&it)) != NULL)
        give_field(g, type, f, tm_entity_name(f));
}

static void give_tombs(const struct giving *g, const struct tm_entity *shadow)
{
    struct tm_fields it;
    const struct tm_entity *f;
    tm_fields_first(&it, shadow);
    while ((f = tm_fields_next(&it)) != NULL)
        if (tm_is_tomb(f))
            give(g, TM_ENTITY_SHADOW, TM_OP_SET_FIELD, tm_entity_name(f), tm_entity_raw(f),
                 tm_store_stamp_of(g->store, f));
        else if (tm_is_versions(f))
            give(g, TM_ENTITY_SHADOW, TM_OP_SET_FIELD, tm_entity_name(f), tm_entity_raw(f),
                 tm_versions_newest(tm_entity_raw(f)));
}

void tm_link_state(struct tm_store *s, struct tm_bytes key, tm_link_state_fn *visit, void *host)
{
    struct tm_kept k;
    struct giving g = {s, &k, visit, host};
    uint64_t expiry;
    tm_kept_look(s, key, &k);
    if (has_floor(&k) && !k.flushed)
        give(&g, TM_ENTITY_SHADOW, TM_OP_SET_FIELD, FLOOR, NOTHING, k.floor);
    if (k.has_expiry)
        give(&g, TM_ENTITY_SHADOW, TM_OP_SET_FIELD, EXPIRY,
             tm_bytes_of(&k.expiry_ms, sizeof k.expiry_ms), k.expiry);
    if (k.e != NULL)
        give_fields(&g, k.e);
    if (k.shadow != NULL)
        give_tombs(&g, k.shadow);
    if (!k.has_expiry && k.e != NULL && (expiry = tm_entity_expiry(k.e)) != 0)
        give(&g, tm_entity_type(k.e), TM_OP_SET_EXPIRY, NOTHING,
             tm_bytes_of(&expiry, sizeof expiry), tm_store_stamp_of(s, k.e));
}

void tm_link_evict(struct tm_store *s, struct tm_bytes key)
{
    TM_ASSERT(s->open && s->held == 0 && key.len > 0);
    struct tm_op_version was = {s->stamp.hlc, s->stamp.origin};
    const struct tm_entity *e = tm_store_find(s, key);
    s->merging = true;
    tm_store_stamp_derived(s);
    if (e != NULL)
        tm_store_op(s, key, tm_entity_type(e), TM_OP_DEL_ENTITY, NOTHING, NOTHING);
    if (tm_store_shadow(s, key) != NULL)
        tm_store_op(s, key, TM_ENTITY_SHADOW, TM_OP_DEL_ENTITY, NOTHING, NOTHING);
    s->merging = false;
    tm_store_stamp(s, was.hlc, was.origin);
}
