/* store_versions.c: fields whose rule keeps several versions (storage/versions.h).
 *
 * The happy path: who writes such a field finds it plain, and nothing differs from field-lww.  Once
 * two clusters have written it, its versions lie in the key's shadow; a local change puts them into
 * the past of its own, a merge joins them with what came.  The field itself then is what the rule
 * makes of them, written as FOLDED, which is never sent: each cluster makes it by itself.
 *
 * A deletion is a version like any other.  The floor kills versions like fields; those that are
 * left are folded anew. */
#include "storage/versions.h"
#include "storage/store_internal.h"

#include <inttypes.h>
#include <stdio.h>

static const struct tm_bytes NOTHING = {NULL, 0};

struct tm_conflict_rule tm_store_rule(const struct tm_store *s, struct tm_bytes key,
                                      struct tm_bytes name)
{
    if (s->policy.rule == NULL)
        return (struct tm_conflict_rule){.rule = TM_CONFLICT_FIELD_LWW};
    return s->policy.rule(s->policy.host, key, name);
}

bool tm_store_adds_again(const struct tm_store *s, struct tm_bytes key, struct tm_bytes member)
{
    return s->policy.rule != NULL && tm_store_sharing(s, key, TM_ORIGIN_NONE) == TM_LINK_MANY &&
           tm_store_rule(s, key, member).rule == TM_CONFLICT_SET;
}

bool tm_has_versions(struct tm_store *s, const struct tm_kept *k, struct tm_bytes name,
                     const struct tm_conflict_rule *rule)
{
    return tm_conflict_keeps_versions(rule) ||
           (k->shadow != NULL && tm_field_find(k->shadow, tm_versions_name(s, name)) != NULL);
}

static void load_field(const struct tm_store *s, const struct tm_entity *f, struct tm_versions *v)
{
    struct tm_value value;
    tm_value_of(f, &value);
    if (value.is_counter) {
        memcpy(v->digits, value.text.data, value.text.len);
        value.text.data = (const uint8_t *)v->digits;
    }
    v->version[0] = (struct tm_version){.stamp = tm_store_stamp_of(s, f), .value = value.text};
    v->count = 1;
}

void tm_versions_load(struct tm_store *s, const struct tm_kept *k, enum tm_entity_type type,
                      struct tm_bytes name, struct tm_versions *v)
{
    const struct tm_entity *f;
    tm_versions_none(v, type);
    if (k->shadow != NULL && (f = tm_field_find(k->shadow, tm_versions_name(s, name))) != NULL) {
        bool sound = tm_versions_decode(tm_entity_raw(f), v);
        TM_ASSERT(sound); /* written by tm_versions_write */
        v->type = type;
    } else if (k->e != NULL && tm_entity_type(k->e) == type &&
               (f = tm_field_find(k->e, name)) != NULL) {
        load_field(s, f, v);
    } else if (k->shadow != NULL && (f = tm_field_find(k->shadow, tm_tomb_name(s, name))) != NULL) {
        v->version[0] =
            (struct tm_version){.stamp = tm_store_stamp_of(s, f), .flags = TM_VERSION_DELETED};
        v->count = 1;
    }
    (void)tm_versions_cut(v, k->floor, false);
}

static struct tm_bytes encoded(struct tm_store *s, const struct tm_versions *v)
{
    size_t size = tm_versions_size(v);
    uint8_t *bytes = tm_store_scratch(s, TM_SCRATCH_VERSIONS, size);
    tm_versions_encode(v, bytes);
    return tm_bytes_of(bytes, size);
}

/* ---- local changes ---- */

static void delete_derived(struct tm_store *s, struct tm_bytes key, enum tm_entity_type type,
                           struct tm_bytes name)
{
    struct tm_op_version was = {s->stamp.hlc, s->stamp.origin};
    bool merging = s->merging;
    s->merging = true;
    tm_store_stamp_derived(s);
    tm_store_op(s, key, type, TM_OP_DEL_FIELD, name, NOTHING);
    tm_store_stamp(s, was.hlc, was.origin);
    s->merging = merging;
}

bool tm_keep_version(struct tm_store *s, const struct tm_kept *k, enum tm_entity_type type,
                     struct tm_op *op, const struct tm_conflict_rule *rule)
{
    struct tm_versions v;
    bool deletes = op->code == TM_OP_DEL_FIELD;
    struct tm_version own = {.stamp = {s->stamp.hlc, s->stamp.origin},
                             .flags = (deletes ? TM_VERSION_DELETED : 0u) |
                                      (rule->home ? TM_VERSION_HOME : 0u),
                             .value = deletes ? NOTHING : op->value};
    uint8_t was = (uint8_t)type;
    tm_versions_none(&v, type);
    if (k->e == NULL || s->held == 0) /* else deleted before, in the same hold */
        tm_versions_load(s, k, type, op->name, &v);
    tm_versions_put(&v, &own);
    if (tm_versions_plain(&v)) {
        tm_store_del_shadow(s, k->key, tm_versions_name(s, op->name));
        if (deletes)
            tm_store_set_shadow(s, k->key, tm_tomb_name(s, op->name), tm_bytes_of(&was, 1));
        else
            tm_store_del_shadow(s, k->key, tm_tomb_name(s, op->name));
        return true;
    }
    tm_store_set_shadow(s, k->key, tm_versions_name(s, op->name), encoded(s, &v));
    tm_store_del_shadow(s, k->key, tm_tomb_name(s, op->name));
    if (deletes)
        delete_derived(s, k->key, type, op->name);
    else
        op->code = TM_OP_FOLDED;
    return !deletes;
}

bool tm_versions_add(struct tm_store *s, struct tm_bytes key, enum tm_entity_type type,
                     struct tm_bytes name, int64_t delta)
{
    struct tm_kept k;
    struct tm_target t;
    struct tm_value value = {0};
    char text[24];
    int64_t sum = 0;
    struct tm_conflict_rule rule = tm_store_rule(s, key, name);
    if (tm_store_sharing(s, key, TM_ORIGIN_NONE) != TM_LINK_MANY)
        return false;
    tm_kept_look(s, key, &k);
    if (!tm_has_versions(s, &k, name, &rule))
        return false;
    tm_target_set(s, &t, key, type);
    const struct tm_entity *field = tm_target_field(&t, name);
    if (field != NULL)
        tm_value_of(field, &value);
    if (value.is_counter)
        sum = value.number;
    else if (field != NULL)
        (void)tm_value_int(value.text, &sum);
    sum = (int64_t)((uint64_t)sum + (uint64_t)delta);
    int len = snprintf(text, sizeof text, "%" PRId64, sum);
    tm_store_op(s, key, type, TM_OP_SET_FIELD, name, tm_bytes_of(text, (size_t)len));
    return true;
}

/* ---- merges ---- */

/* The shadow's field holds the bytes, or is gone if there are none; true if that is new. */
static bool put_shadow(struct tm_store *s, struct tm_bytes key, struct tm_bytes name,
                       struct tm_bytes bytes)
{
    struct tm_bytes present = NOTHING;
    bool there = tm_store_shadow_field(s, key, name, &present, NULL);
    if (bytes.len == 0)
        tm_store_del_shadow(s, key, name);
    else if (!there || !tm_bytes_equal(present, bytes))
        tm_store_set_shadow(s, key, name, bytes);
    else
        return false;
    return there || bytes.len > 0;
}

static bool put_tomb(struct tm_store *s, struct tm_bytes key, struct tm_bytes name,
                     const struct tm_versions *v)
{
    struct tm_op_version stamp;
    uint8_t type = (uint8_t)v->type;
    struct tm_bytes tomb = tm_tomb_name(s, name);
    bool there = tm_store_shadow_field(s, key, tomb, NULL, &stamp);
    if (!tm_versions_plain(v) || !(v->version[0].flags & TM_VERSION_DELETED)) {
        tm_store_del_shadow(s, key, tomb);
        return there;
    }
    if (there && tm_stamp_compare(stamp, v->version[0].stamp) == 0)
        return false;
    tm_keep_shadow(s, key, tomb, tm_bytes_of(&type, 1), v->version[0].stamp);
    return true;
}

/* It was made in a life of the key that is over: the entity has expired, or is about to.  As for
 * what comes (store_merge.c), the record of that expiry itself is left to expire by itself. */
static bool is_over(const struct tm_store *s, const struct tm_kept *k, struct tm_op_version stamp)
{
    return k->has_expiry && k->expiry_ms != 0 && k->expiry_ms <= s->own.hlc >> 16 &&
           stamp.hlc < tm_kept_over(k) &&
           (s->stamp.origin == TM_ORIGIN_NONE || tm_stamp_compare(stamp, k->expiry) != 0);
}

/* The entity was made by that: it expires as its register says. */
static void make_expire(struct tm_store *s, const struct tm_kept *k, enum tm_entity_type type,
                        struct tm_op_version stamp)
{
    bool expired = k->expiry_ms <= s->own.hlc >> 16;
    if (k->has_expiry && k->expiry_ms != 0 && (!expired || tm_stamp_compare(stamp, k->expiry) == 0))
        tm_store_op(s, k->key, type, TM_OP_EXPIRY, NOTHING,
                    tm_bytes_of(&k->expiry_ms, sizeof k->expiry_ms));
}

/* The field reads as that; a plain one that came holds a version, which others may be sent. */
static bool show(struct tm_store *s, struct tm_bytes key, enum tm_entity_type type,
                 struct tm_bytes name, const struct tm_conflict_side *side, bool plain)
{
    struct tm_kept k;
    const struct tm_entity *f = NULL;
    struct tm_op_version was = {s->stamp.hlc, s->stamp.origin};
    tm_kept_look(s, key, &k);
    if (k.e != NULL && tm_entity_type(k.e) == type)
        f = tm_field_find(k.e, name);
    if (side->deleted) {
        if (f != NULL)
            delete_derived(s, key, type, name);
        return f != NULL;
    }
    if (f != NULL && !(tm_entity_flags(f) & TM_ENTITY_COUNTER) &&
        tm_stamp_compare(tm_store_stamp_of(s, f), side->stamp) == 0 &&
        tm_bytes_equal(tm_entity_raw(f), side->value))
        return false;
    if (k.e == NULL && is_over(s, &k, side->stamp))
        return false;
    tm_store_stamp(s, side->stamp.hlc, side->stamp.origin);
    tm_store_op(s, key, type,
                plain && was.origin != TM_ORIGIN_NONE ? TM_OP_SET_FIELD : TM_OP_FOLDED, name,
                side->value);
    if (k.e == NULL)
        make_expire(s, &k, type, side->stamp);
    tm_store_stamp(s, was.hlc, was.origin);
    return true;
}

bool tm_versions_write(struct tm_store *s, struct tm_bytes key, struct tm_bytes name,
                       struct tm_versions *v, const struct tm_conflict_rule *rule,
                       struct tm_conflict_side *shown)
{
    TM_ASSERT(s->merging && s->held == 0);
    *shown = (struct tm_conflict_side){.deleted = true};
    struct tm_bytes bytes = NOTHING;
    bool plain = tm_versions_plain(v);
    if (v->count > 0) {
        bytes = encoded(s, v);
        bool sound = tm_versions_decode(bytes, v); /* what it pointed to may be freed now */
        TM_ASSERT(sound);
    }
    bool changed = put_shadow(s, key, tm_versions_name(s, name), plain ? NOTHING : bytes);
    changed |= put_tomb(s, key, name, v);
    if (v->count > 0)
        *shown = tm_versions_fold(v, rule, &s->policy);
    changed |= show(s, key, v->type, name, shown, plain);
    return changed;
}

/* Those in the shadow's field, which may be changed then: *name is a copy. */
static bool take(struct tm_store *s, struct tm_bytes key, struct tm_bytes shadow_name,
                 struct tm_bytes *name, struct tm_versions *v)
{
    struct tm_bytes raw;
    if (shadow_name.len == 0 || shadow_name.data[0] != TM_SHADOW_VERSIONS ||
        !tm_store_shadow_field(s, key, shadow_name, &raw, NULL) || !tm_versions_decode(raw, v))
        return false;
    uint8_t *copy = tm_store_scratch(s, TM_SCRATCH_FIELD, shadow_name.len);
    memcpy(copy, shadow_name.data, shadow_name.len);
    *name = tm_bytes_of(copy + 1, shadow_name.len - 1);
    return true;
}

static void write_derived(struct tm_store *s, struct tm_bytes key, struct tm_bytes name,
                          struct tm_versions *v)
{
    struct tm_op_version was = {s->stamp.hlc, s->stamp.origin};
    struct tm_conflict_rule rule = tm_store_rule(s, key, name);
    struct tm_conflict_side shown;
    tm_store_stamp_derived(s);
    (void)tm_versions_write(s, key, name, v, &rule, &shown);
    tm_store_stamp(s, was.hlc, was.origin);
}

void tm_versions_sink(struct tm_store *s, struct tm_bytes key, struct tm_bytes shadow_name,
                      struct tm_op_version floor, bool too)
{
    struct tm_versions v;
    struct tm_bytes name;
    if (take(s, key, shadow_name, &name, &v) && tm_versions_cut(&v, floor, too))
        write_derived(s, key, name, &v);
}

bool tm_link_retire(struct tm_store *s, struct tm_bytes key, struct tm_bytes shadow_name,
                    struct tm_op_version through)
{
    struct tm_versions v;
    struct tm_bytes name;
    TM_ASSERT(s->open && s->held == 0);
    if (!take(s, key, shadow_name, &name, &v) || !tm_versions_retire(&v, through))
        return false;
    s->merging = true;
    write_derived(s, key, name, &v);
    s->merging = false;
    return true;
}

/* ---- what operations tell of ---- */

static bool has_versions(enum tm_entity_type type, const struct tm_op *op, struct tm_versions *v)
{
    return type == TM_ENTITY_SHADOW && op->code == TM_OP_SET_FIELD && op->name.len > 0 &&
           op->name.data[0] == TM_SHADOW_VERSIONS && tm_versions_decode(op->value, v);
}

uint64_t tm_link_newest(enum tm_entity_type type, const struct tm_op *op)
{
    struct tm_versions v;
    return has_versions(type, op, &v) ? v.version[v.count - 1].stamp.hlc : 0;
}

bool tm_link_is_of(enum tm_entity_type type, const struct tm_op *op, uint64_t origin, uint64_t bits)
{
    struct tm_versions v;
    if (!has_versions(type, op, &v))
        return true;
    for (unsigned i = 0; i < v.past_count; i++)
        if (((v.past[i].origin ^ origin) & bits) != 0)
            return false;
    for (unsigned i = 0; i < v.count; i++)
        if (((v.version[i].stamp.origin ^ origin) & bits) != 0)
            return false;
    return true;
}
