/* store_shadow.c: shadows and stamps.
 *
 * A shadow is a hash in a table of its own, changed by the same operations in the same records.
 * tm_store_stamp only notes what the next operation is to carry; the STAMPED operation is written
 * in front of that one, so a stamp that nothing follows leaves no trace.  Whoever applies a record
 * must know all its origins before it changes anything: they are few, so as long as many numbers
 * are left they are not even counted. */
#include "storage/store_link.h"
#include "storage/store_internal.h"

bool tm_stamp_of(struct tm_store *s, const struct tm_stamp *own, struct tm_bytes value,
                 struct tm_stamp *out)
{
    struct tm_op_version v;
    memcpy(&v, value.data, sizeof v);
    *out = *own;
    if (v.hlc == 0 && v.origin == 0)
        return true;
    int origin = tm_store_origin_no(s, v.origin);
    if (origin < 0)
        return false;
    out->hlc = v.hlc;
    out->origin = v.origin;
    out->origin_no = (unsigned)origin;
    return true;
}

bool tm_stamps_fit(struct tm_store *s, struct tm_bytes body)
{
    struct tm_change change;
    struct tm_stamp own = {0}, stamp;
    struct tm_op op;
    while (tm_change_next(&body, &change))
        while (tm_op_next(&change.ops, &op))
            if (op.code == TM_OP_STAMPED && !tm_stamp_of(s, &own, op.value, &stamp))
                return false;
    return true;
}

void tm_store_stamp(struct tm_store *s, uint64_t hlc, uint64_t origin)
{
    TM_ASSERT(s->open);
    struct tm_op_version v = {hlc, origin};
    struct tm_stamp before = s->stamp;
    if (hlc == before.hlc && origin == before.origin)
        return;
    unsigned count = s->origin_count;
    bool fits = tm_stamp_of(s, &s->own, tm_bytes_of(&v, sizeof v), &s->stamp);
    s->new_origins += s->origin_count - count;
    if ((!fits || s->new_origins > TM_ORIGINS_A_RECORD) && s->open_err == TM_OK)
        s->open_err = TM_ERR_TOOBIG;
    if (s->stamp.hlc != before.hlc || s->stamp.origin != before.origin)
        s->stamp_due = true;
}

void tm_target_expiry(struct tm_store *s, struct tm_target *t, const struct tm_stamp *by,
                      uint64_t ms)
{
    if (t->e == NULL)
        return;
    struct tm_stamp same = *by;
    same.hlc = t->e->hlc;
    same.origin_no = tm_entity_origin(t->e);
    same.origin = s->origins[same.origin_no];
    tm_target_stamp(s, t, &same, ms);
}

const struct tm_entity *tm_store_shadow(const struct tm_store *s, struct tm_bytes key)
{
    return s->shadow.count == 0 ? NULL : tm_table_find(&s->shadow, key, tm_table_hash(key));
}

const struct tm_entity *tm_field_find(const struct tm_entity *e, struct tm_bytes name)
{
    if (tm_entity_type(e) == TM_ENTITY_STRING)
        return e;
    return tm_entity_flags(e) & TM_ENTITY_LARGE
               ? tm_table_find(&tm_entity_large(e)->fields, name, tm_table_hash(name))
               : tm_packed_find(e, name);
}

struct tm_op_version tm_store_stamp_of(const struct tm_store *s, const struct tm_entity *e)
{
    return (struct tm_op_version){e->hlc, s->origins[tm_entity_origin(e)]};
}

bool tm_store_field_stamp(const struct tm_store *s, const struct tm_entity *e, struct tm_bytes name,
                          struct tm_op_version *out)
{
    const struct tm_entity *field = tm_field_find(e, name);
    if (field != NULL)
        *out = tm_store_stamp_of(s, field);
    return field != NULL;
}

bool tm_store_shadow_field(const struct tm_store *s, struct tm_bytes key, struct tm_bytes name,
                           struct tm_bytes *value, struct tm_op_version *stamp)
{
    const struct tm_entity *e = tm_store_shadow(s, key);
    const struct tm_entity *field = e != NULL ? tm_field_find(e, name) : NULL;
    if (field == NULL)
        return false;
    if (value != NULL)
        *value = tm_entity_raw(field);
    if (stamp != NULL)
        *stamp = tm_store_stamp_of(s, field);
    return true;
}

void tm_store_set_shadow(struct tm_store *s, struct tm_bytes key, struct tm_bytes name,
                         struct tm_bytes value)
{
    tm_store_set_field(s, key, TM_ENTITY_SHADOW, name, value);
}

void tm_store_del_shadow(struct tm_store *s, struct tm_bytes key, struct tm_bytes name)
{
    if (tm_store_shadow_field(s, key, name, NULL, NULL))
        tm_store_del_field(s, key, TM_ENTITY_SHADOW, name);
}

void tm_store_set_policy(struct tm_store *s, const struct tm_link_policy *policy)
{
    TM_ASSERT(!s->open);
    s->policy = policy != NULL ? *policy : (struct tm_link_policy){0};
}

enum tm_link_sharing tm_store_sharing(const struct tm_store *s, struct tm_bytes key,
                                      uint64_t origin)
{
    if (s->policy.keep == NULL || key.len == 0)
        return TM_LINK_NONE;
    return s->policy.keep(s->policy.host, key, origin);
}

uint64_t tm_store_shadows(const struct tm_store *s)
{
    return s->shadow.count;
}

/* ---- Both tables in one order ---- */

static void pass_over(void *host, struct tm_entity *e)
{
    (void)host;
    (void)e;
}

struct bounded {
    tm_table_visit_fn *visit;
    void *host;
    uint64_t last; /* hashes above are not visited */
};

static void visit_bounded(void *host, struct tm_entity *e)
{
    struct bounded *b = host;
    if (tm_table_hash(tm_entity_name(e)) <= b->last)
        b->visit(b->host, e);
}

uint64_t tm_store_step(const struct tm_store *s, uint64_t at, uint64_t end,
                       tm_table_visit_fn *visit, void *host)
{
    if (s->shadow.count == 0 && end == 0)
        return tm_table_slice(&s->table, at, 1, visit, host);
    uint64_t table = tm_table_slice(&s->table, at, 1, pass_over, NULL),
             shadow = tm_table_slice(&s->shadow, at, 1, pass_over, NULL);
    /* 0 is behind all, so that 0 - 1 is the last of all */
    struct bounded b = {visit, host, tm_min_u64(end - 1, tm_min_u64(table - 1, shadow - 1))};
    (void)tm_table_slice(&s->table, at, 1, visit_bounded, &b);
    (void)tm_table_slice(&s->shadow, at, 1, visit_bounded, &b);
    return b.last + 1;
}
