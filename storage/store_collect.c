/* store_collect.c: what is kept of a key goes when nothing can come any more that it is kept for.
 *
 * Two stamps say how far that is, in the field 'K' of the empty key's shadow.  Up to `settled`
 * every cluster that shares the keys has applied all there is; up to `collected` they know that of
 * each other, too.  Only then a tombstone goes: who has none left counts anew from nothing, and who
 * has it still must be able to tell that from an increment that knew nothing of the deletion
 * (tm_collect_for_counter). */
#include "storage/store_link.h"
#include "storage/store_internal.h"

#define NEVER UINT64_MAX

static const struct tm_bytes FLOOR = {(const uint8_t *)"d", 1}, EXPIRY = {(const uint8_t *)"x", 1},
                             FRONTIER = {(const uint8_t *)"K", 1}, NOTHING = {NULL, 0};

void tm_link_frontier(const struct tm_store *s, uint64_t *settled, uint64_t *collected)
{
    struct tm_bytes value;
    *settled = *collected = 0;
    if (!tm_store_shadow_field(s, NOTHING, FRONTIER, &value, NULL) || value.len != 16)
        return;
    *settled = tm_load64(value.data);
    *collected = tm_load64(value.data + 8);
}

void tm_link_set_frontier(struct tm_store *s, uint64_t settled, uint64_t collected)
{
    uint8_t value[16];
    TM_ASSERT(collected <= settled);
    tm_store64(value, settled);
    tm_store64(value + 8, collected);
    tm_store_set_shadow(s, NOTHING, FRONTIER, tm_bytes_of(value, sizeof value));
}

/* ---- what is due ---- */

bool tm_is_past_expiry(const struct tm_kept *k, uint64_t through)
{
    if (!k->has_expiry || k->expiry.hlc > through)
        return false;
    return k->expiry_ms == 0 || tm_kept_over(k) <= through;
}

/* All of them deletions up to that stamp. */
bool tm_is_past_versions(const struct tm_versions *v, uint64_t through)
{
    for (unsigned i = 0; i < v->count; i++)
        if ((v->version[i].flags & TM_VERSION_DELETED) == 0 || v->version[i].stamp.hlc > through)
            return false;
    for (unsigned i = 0; i < v->past_count; i++)
        if (v->past[i].hlc > through)
            return false;
    return true;
}

/* From which stamp on the versions say too much; what a FLUSH has killed it did not remove. */
static uint64_t versions_due(const struct tm_kept *k, const struct tm_entity *field)
{
    struct tm_versions v;
    uint64_t newest = tm_versions_newest(tm_entity_raw(field)).hlc;
    if (!tm_versions_decode(tm_entity_raw(field), &v))
        return NEVER;
    if (k->flushed && tm_versions_cut(&v, k->floor, false))
        return 0;
    return v.past_count > 0 || tm_is_past_versions(&v, NEVER) ? newest : NEVER;
}

/* From which stamp on the field is kept for nothing; NEVER: it is state. */
static uint64_t field_due(const struct tm_store *s, const struct tm_kept *k,
                          const struct tm_entity *f)
{
    struct tm_bytes name = tm_entity_name(f);
    uint64_t stamp = tm_store_stamp_of(s, f).hlc;
    if (tm_is_versions(f))
        return versions_due(k, f);
    if (tm_is_tomb(f) || tm_bytes_equal(name, FLOOR) || k->dead_expiry)
        return stamp;
    if (!tm_bytes_equal(name, EXPIRY))
        return NEVER;
    if (k->expiry_ms == 0)
        return stamp;
    return k->e != NULL && tm_entity_expiry(k->e) != 0 ? NEVER : tm_kept_over(k);
}

uint64_t tm_link_due(const struct tm_store *s, struct tm_bytes key)
{
    struct tm_kept k;
    struct tm_fields it;
    const struct tm_entity *f;
    uint64_t due = NEVER;
    tm_kept_look(s, key, &k);
    if (k.shadow == NULL || key.len == 0)
        return NEVER;
    tm_fields_first(&it, k.shadow);
    while ((f = tm_fields_next(&it)) != NULL)
        due = tm_min_u64(due, field_due(s, &k, f));
    return due;
}

uint64_t tm_link_due_last(const struct tm_store *s, struct tm_bytes key, uint64_t through)
{
    struct tm_kept k;
    struct tm_fields it;
    const struct tm_entity *f;
    uint64_t last = 0;
    tm_kept_look(s, key, &k);
    if (k.shadow == NULL || key.len == 0)
        return 0;
    tm_fields_first(&it, k.shadow);
    while ((f = tm_fields_next(&it)) != NULL) {
        uint64_t due = field_due(s, &k, f);
        last = due <= through ? tm_max_u64(last, due) : last;
    }
    return last;
}

uint64_t tm_link_flush_due(const struct tm_store *s)
{
    const struct tm_entity *own = tm_store_shadow(s, NOTHING), *field;
    uint64_t due = NEVER;
    for (unsigned i = 0; s->floors != NULL && own != NULL && i < s->floors->count; i++) {
        field = tm_field_find(own, tm_bytes_of(s->floors->name[i], s->floors->len[i]));
        if (field != NULL)
            due = tm_min_u64(due, tm_store_stamp_of(s, field).hlc);
    }
    return due;
}

/* ---- collecting ---- */

/* A field that counts from nothing. */
struct counted {
    enum tm_entity_type type;
    struct tm_bytes name;
};

/* Whether that would not let it count: a floor, that the entity expired, a tombstone of its own, or
 * of another type. */
static bool is_against(const struct tm_kept *k, const struct tm_entity *f, const struct counted *c)
{
    struct tm_bytes name = tm_entity_name(f);
    if (!tm_is_tomb(f) && !tm_is_versions(f))
        return tm_bytes_equal(name, FLOOR) || (tm_bytes_equal(name, EXPIRY) && k->expiry_ms != 0);
    return (tm_entity_value_len(f) > 0 &&
            (tm_entity_raw(f).data[0] & TM_ENTITY_TYPE_MASK) != (unsigned)c->type) ||
           tm_bytes_equal(tm_bytes_of(name.data + 1, name.len - 1), c->name);
}

/* The name of the next field that is due (c: of those against that one); it lives as long as the
 * record is open. */
static bool next_due(const struct tm_store *s, struct tm_bytes key, uint64_t through,
                     const struct counted *c, struct tm_bytes *name)
{
    struct tm_kept k;
    struct tm_fields it;
    const struct tm_entity *f;
    tm_kept_look(s, key, &k);
    if (k.shadow == NULL)
        return false;
    tm_fields_first(&it, k.shadow);
    while ((f = tm_fields_next(&it)) != NULL)
        if (field_due(s, &k, f) <= through && (c == NULL || is_against(&k, f, c))) {
            *name = tm_entity_name(f);
            return true;
        }
    return false;
}

/* A floor takes along what it has killed: nothing would know so without it. */
static void cut_below(struct tm_store *s, const struct tm_kept *k, struct tm_bytes name)
{
    struct tm_op_version floor = k->floor;
    if (tm_bytes_equal(name, EXPIRY) && k->has_expiry && k->expiry_ms != 0)
        floor = (struct tm_op_version){tm_kept_over(k), 0};
    bool merging = s->merging;
    s->merging = true;
    tm_store_stamp_derived(s);
    tm_kept_cut(s, k->key, TM_ENTITY_SHADOW, floor, false);
    s->merging = merging;
}

static void collect_one(struct tm_store *s, struct tm_bytes key, struct tm_bytes name,
                        uint64_t through)
{
    struct tm_op_version up_to = {through, UINT64_MAX};
    struct tm_bytes value;
    struct tm_versions v;
    struct tm_kept k;
    tm_kept_look(s, key, &k);
    if (k.flushed || name.len == 1)
        cut_below(s, &k, name);
    if (!tm_store_shadow_field(s, key, name, NULL, NULL))
        return;
    if (name.data[0] == TM_SHADOW_VERSIONS && tm_store_shadow_field(s, key, name, &value, NULL) &&
        tm_versions_decode(value, &v) && !tm_is_past_versions(&v, through)) {
        bool merging = s->merging;
        (void)tm_link_retire(s, key, name, up_to);
        s->merging = merging;
        return;
    }
    tm_store_stamp_derived(s);
    tm_store_del_shadow(s, key, name);
}

static bool collect(struct tm_store *s, struct tm_bytes key, uint64_t through,
                    const struct counted *c)
{
    struct tm_op_version was = {s->stamp.hlc, s->stamp.origin};
    struct tm_bytes name;
    bool any = false;
    TM_ASSERT(s->open && s->held == 0 && key.len > 0);
    while (s->open_err == TM_OK && next_due(s, key, through, c, &name)) {
        collect_one(s, key, name, through);
        any = true;
    }
    tm_store_stamp(s, was.hlc, was.origin);
    return any;
}

bool tm_link_collect(struct tm_store *s, struct tm_bytes key, uint64_t through)
{
    return collect(s, key, through, NULL);
}

bool tm_link_collect_flushes(struct tm_store *s, uint64_t through)
{
    struct tm_op_version was = {s->stamp.hlc, s->stamp.origin};
    const struct tm_entity *own = tm_store_shadow(s, NOTHING), *field;
    bool any = false;
    for (unsigned i = 0; s->floors != NULL && own != NULL && i < s->floors->count; i++) {
        struct tm_bytes name = tm_bytes_of(s->floors->name[i], s->floors->len[i]);
        field = tm_field_find(own, name);
        if (field == NULL || tm_store_stamp_of(s, field).hlc > through)
            continue;
        tm_store_stamp_derived(s);
        tm_store_del_shadow(s, NOTHING, name);
        own = tm_store_shadow(s, NOTHING);
        any = true;
    }
    tm_store_stamp(s, was.hlc, was.origin);
    return any;
}

uint64_t tm_collect_for_counter(struct tm_store *s, struct tm_bytes key, enum tm_entity_type type,
                                struct tm_bytes name)
{
    struct counted c = {type, name};
    uint64_t settled, collected;
    struct tm_kept k;
    tm_link_frontier(s, &settled, &collected);
    tm_kept_look(s, key, &k);
    if (settled > 0 && k.floor.hlc <= settled)
        (void)collect(s, key, settled, &c);
    return settled;
}

struct visiting {
    tm_link_key_fn *visit;
    void *host;
};

static void visit_shadow(void *host, struct tm_entity *e)
{
    struct visiting *v = host;
    if (tm_entity_name(e).len > 0)
        v->visit(v->host, tm_entity_name(e));
}

uint64_t tm_link_shadow_keys(const struct tm_store *s, uint64_t from, unsigned want,
                             tm_link_key_fn *visit, void *host)
{
    struct visiting v = {visit, host};
    TM_ASSERT(!s->open && from >> 48 == 0);
    return tm_table_slice(&s->shadow, from << 16, want, visit_shadow, &v) >> 16;
}
