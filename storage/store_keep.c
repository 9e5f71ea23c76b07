/* store_keep.c: what local changes leave in shadows.
 *
 * For a key that several clusters write (the policy says so), each deletion leaves its stamp in the
 * key's shadow, so that a change made before it elsewhere, and arriving after it, finds it dead:
 *
 *   'd'         the floor: what has a smaller stamp is dead (DEL, another type, a new life)
 *   'f' + name  the field was deleted; its value is the type that it was of, one byte
 *   'x'         the register of expiry: u64 ms since 1970, 0 = does not expire
 *
 * A local change is later than all that is known here, so it wins, and nothing has to be compared.
 * Of an entity that expires the register stays, and is the floor at the time that it names (or at
 * its own stamp, if clocks elsewhere are ahead): the other clusters have it too and expire the
 * entity by themselves.  Who makes the entity anew writes that floor down ('d'), and the register
 * goes.
 *
 * Between hold and release all is encoded only, so the state before is what is looked at: whoever
 * holds deletes an entity before he makes it anew. */
#include "storage/store_link.h"
#include "storage/store_internal.h"

static const struct tm_bytes FLOOR = {(const uint8_t *)"d", 1}, EXPIRY = {(const uint8_t *)"x", 1},
                             NOTHING = {NULL, 0};

struct tm_op_version tm_kept_stamp(const struct tm_store *s, const struct tm_entity *field)
{
    if (tm_is_based(field))
        return tm_counter_base_of(field).stamp;
    return tm_store_stamp_of(s, field);
}

static struct tm_bytes shadow_name(struct tm_store *s, uint8_t what, struct tm_bytes name)
{
    uint8_t *bytes = tm_store_scratch(s, TM_SCRATCH_NAME, name.len + 1);
    bytes[0] = what;
    if (name.len > 0)
        memcpy(bytes + 1, name.data, name.len);
    return tm_bytes_of(bytes, name.len + 1);
}

struct tm_bytes tm_tomb_name(struct tm_store *s, struct tm_bytes name)
{
    return shadow_name(s, TM_SHADOW_FIELD, name);
}

struct tm_bytes tm_versions_name(struct tm_store *s, struct tm_bytes name)
{
    return shadow_name(s, TM_SHADOW_VERSIONS, name);
}

/* Sought once: this is on the way of each change of a key that links carry. */
static void look_up(const struct tm_store *s, struct tm_bytes key, uint64_t hash, struct tm_kept *k)
{
    *k = (struct tm_kept){.key = key, .hash = hash, .e = tm_table_find(&s->table, key, hash)};
    if (s->shadow.count > 0)
        k->shadow = tm_table_find(&s->shadow, key, hash);
}

/* The field of a key's shadow, or NULL; its stamp. */
static const struct tm_entity *shadow_field(const struct tm_store *s, const struct tm_kept *k,
                                            struct tm_bytes name, struct tm_op_version *stamp)
{
    const struct tm_entity *field = tm_field_find(k->shadow, name);
    if (field != NULL)
        *stamp = tm_store_stamp_of(s, field);
    return field;
}

void tm_kept_look(const struct tm_store *s, struct tm_bytes key, struct tm_kept *k)
{
    tm_kept_look_at(s, key, tm_table_hash(key), k);
}

void tm_kept_look_at(const struct tm_store *s, struct tm_bytes key, uint64_t hash,
                     struct tm_kept *k)
{
    look_up(s, key, hash, k);
    if (k->shadow != NULL)
        (void)shadow_field(s, k, FLOOR, &k->floor);
    if (s->floors != NULL) {
        struct tm_op_version flush = {0};
        uint64_t settled, collected;
        tm_link_frontier(s, &settled, &collected);
        tm_floors_raise(s, key, collected, &flush);
        k->flushed = flush.hlc != 0 && tm_stamp_compare(k->floor, flush) <= 0;
        if (k->flushed)
            k->floor = flush;
    }
    if (k->shadow == NULL)
        return;
    const struct tm_entity *x = shadow_field(s, k, EXPIRY, &k->expiry);
    k->has_expiry = x != NULL && tm_stamp_compare(k->expiry, k->floor) >= 0;
    k->dead_expiry = x != NULL && !k->has_expiry;
    if (k->has_expiry && tm_entity_raw(x).len == 8)
        k->expiry_ms = tm_load64(tm_entity_raw(x).data);
}

uint64_t tm_kept_over(const struct tm_kept *k)
{
    return tm_max_u64(k->expiry_ms << 16, k->expiry.hlc + 1);
}

/* As a floor, which has an origin: of what was made at that very time by others nothing may be
 * below it, and one tick before there is but what has the register's own stamp. */
static uint64_t over_as_floor(const struct tm_kept *k)
{
    uint64_t over = tm_kept_over(k);
    return over > k->expiry.hlc + 1 ? over - 1 : over;
}

/* ---- Walks over all fields of an entity or shadow, packed or large ---- */

void tm_fields_first(struct tm_fields *f, const struct tm_entity *e)
{
    *f = (struct tm_fields){.large = (tm_entity_flags(e) & TM_ENTITY_LARGE) != 0};
    if (f->large)
        tm_table_first(&f->table, &tm_entity_large(e)->fields);
    else
        f->packed = tm_packed_fields(e);
}

const struct tm_entity *tm_fields_next(struct tm_fields *f)
{
    return f->large ? tm_table_next(&f->table) : tm_packed_next(&f->packed);
}

bool tm_is_tomb(const struct tm_entity *field)
{
    struct tm_bytes name = tm_entity_name(field);
    return name.len > 0 && name.data[0] == TM_SHADOW_FIELD;
}

bool tm_is_versions(const struct tm_entity *field)
{
    struct tm_bytes name = tm_entity_name(field);
    return name.len > 0 && name.data[0] == TM_SHADOW_VERSIONS;
}

/* As one of its type: what counts is of the type of what it counts from, and later than that. */
static struct tm_op_version stamp_of_type(const struct tm_store *s, const struct tm_entity *field)
{
    struct tm_op_version v = tm_kept_stamp(s, field);
    return tm_is_based(field) ? tm_stamp_after(v) : v;
}

static void newer(struct tm_op_version *newest, struct tm_op_version v)
{
    if (tm_stamp_compare(v, *newest) > 0)
        *newest = v;
}

static void newest_field(const struct tm_store *s, const struct tm_entity *e,
                         struct tm_op_version *newest)
{
    struct tm_fields it;
    const struct tm_entity *f;
    if (tm_entity_type(e) == TM_ENTITY_STRING) {
        newer(newest, stamp_of_type(s, e));
        return;
    }
    tm_fields_first(&it, e);
    while ((f = tm_fields_next(&it)) != NULL)
        newer(newest, stamp_of_type(s, f));
}

bool tm_kept_life(const struct tm_store *s, const struct tm_kept *k, enum tm_entity_type *type,
                  struct tm_op_version *newest)
{
    struct tm_fields it;
    const struct tm_entity *f;
    bool found = k->e != NULL;
    *newest = (struct tm_op_version){0, 0};
    if (k->e != NULL) {
        *type = tm_entity_type(k->e);
        newest_field(s, k->e, newest);
    }
    if (k->shadow == NULL)
        return found;
    tm_fields_first(&it, k->shadow);
    while ((f = tm_fields_next(&it)) != NULL) {
        if (!tm_is_tomb(f) && !tm_is_versions(f))
            continue;
        newer(newest,
              tm_is_tomb(f) ? tm_store_stamp_of(s, f) : tm_versions_newest(tm_entity_raw(f)));
        if (!found && tm_entity_value_len(f) > 0)
            *type = (enum tm_entity_type)(tm_entity_raw(f).data[0] & TM_ENTITY_TYPE_MASK);
        found = true;
    }
    return found;
}

/* ---- Writing ---- */

void tm_store_stamp_derived(struct tm_store *s)
{
    tm_store_stamp(s, 1, TM_ORIGIN_NONE);
}

void tm_keep_shadow(struct tm_store *s, struct tm_bytes key, struct tm_bytes name,
                    struct tm_bytes value, struct tm_op_version stamp)
{
    struct tm_op_version before = {s->stamp.hlc, s->stamp.origin};
    tm_store_stamp(s, stamp.hlc, stamp.origin);
    tm_store_set_shadow(s, key, name, value);
    tm_store_stamp(s, before.hlc, before.origin);
}

void tm_keep_floor_only(struct tm_store *s, struct tm_bytes key, struct tm_op_version floor)
{
    if (tm_store_shadow(s, key) != NULL)
        tm_store_op(s, key, TM_ENTITY_SHADOW, TM_OP_DEL_ENTITY, NOTHING, NOTHING);
    tm_keep_shadow(s, key, FLOOR, NOTHING, floor);
}

struct cut {
    const struct tm_store *store;
    enum tm_entity_type type;
    struct tm_op_version floor;
    bool too;
    bool renew;  /* they are not deleted, but written anew under the present stamp */
    bool spares; /* what is kept of deletions stays */
    const struct tm_entity *found[16];
    unsigned count;
};

static bool is_cut(const struct cut *c, const struct tm_entity *field)
{
    struct tm_versions v;
    if (c->type == TM_ENTITY_SHADOW && tm_is_versions(field))
        return tm_versions_decode(tm_entity_raw(field), &v) &&
               tm_versions_cut(&v, c->floor, c->too);
    if (c->type == TM_ENTITY_SHADOW && (c->spares || !tm_is_tomb(field)))
        return false;
    int order = tm_stamp_compare(tm_kept_stamp(c->store, field), c->floor);
    return order < 0 || (order == 0 && c->too && !tm_is_based(field));
}

static bool is_all_cut(const struct cut *c, const struct tm_entity *e)
{
    struct tm_fields it;
    const struct tm_entity *f;
    if (c->type == TM_ENTITY_SHADOW)
        return false;
    if (c->type == TM_ENTITY_STRING)
        return is_cut(c, e);
    tm_fields_first(&it, e);
    while ((f = tm_fields_next(&it)) != NULL)
        if (!is_cut(c, f))
            return false;
    return true;
}

static void cut_visit(void *host, struct tm_entity *field)
{
    struct cut *c = host;
    if (c->count < TM_ARRAY_LEN(c->found) && is_cut(c, field))
        c->found[c->count++] = field;
}

static const struct tm_entity *of_type(const struct tm_store *s, struct tm_bytes key,
                                       enum tm_entity_type type)
{
    return type == TM_ENTITY_SHADOW ? tm_store_shadow(s, key) : tm_store_find(s, key);
}

static void cut_one(struct tm_store *s, struct tm_bytes key, const struct cut *c,
                    const struct tm_entity *field)
{
    struct tm_value value;
    if (c->type == TM_ENTITY_SHADOW && tm_is_versions(field)) {
        tm_versions_sink(s, key, tm_entity_name(field), c->floor, c->too);
    } else if (c->renew) {
        struct tm_bytes name =
            c->type == TM_ENTITY_STRING ? NOTHING : tm_entity_name(field); /* its key, else */
        tm_value_of(field, &value);
        tm_store_op(s, key, c->type, TM_OP_SET_FIELD, name, value.text);
    } else
        tm_store_op(s, key, c->type, TM_OP_DEL_FIELD, tm_entity_name(field), NOTHING);
}

/* A large one's fields change one by one, so a walk in slices goes on over what is left. */
static void cut_large(struct tm_store *s, struct tm_bytes key, struct cut *c)
{
    const struct tm_entity *e;
    uint64_t cursor = 0, next;
    while ((e = of_type(s, key, c->type)) != NULL && s->open_err == TM_OK) {
        c->count = 0;
        next = tm_table_slice(&tm_entity_large(e)->fields, cursor, 1, cut_visit, c);
        for (unsigned i = 0; i < c->count; i++)
            cut_one(s, key, c, c->found[i]);
        if (c->count == TM_ARRAY_LEN(c->found))
            continue;
        if ((cursor = next) == 0)
            return;
    }
}

/* A packed one is another after each change: its fields are found anew by their place. */
static void cut_packed(struct tm_store *s, struct tm_bytes key, struct cut *c)
{
    const struct tm_entity *e, *f;
    uint64_t place = 0;
    while ((e = of_type(s, key, c->type)) != NULL && s->open_err == TM_OK) {
        struct tm_bytes rest = tm_packed_fields(e);
        for (uint64_t i = 0; (f = tm_packed_next(&rest)) != NULL && i < place;)
            i++;
        while (f != NULL && !is_cut(c, f)) {
            f = tm_packed_next(&rest);
            place++;
        }
        if (f == NULL)
            return;
        cut_one(s, key, c, f);
    }
}

static void cut_fields(struct tm_store *s, struct tm_bytes key, const struct tm_entity *e,
                       struct cut *c)
{
    if (tm_entity_flags(e) & TM_ENTITY_LARGE)
        cut_large(s, key, c);
    else if (c->type != TM_ENTITY_STRING)
        cut_packed(s, key, c);
    else if (c->renew && is_cut(c, e))
        cut_one(s, key, c, e);
}

void tm_kept_cut(struct tm_store *s, struct tm_bytes key, enum tm_entity_type type,
                 struct tm_op_version floor, bool too)
{
    TM_ASSERT(s->held == 0);
    struct cut c = {.store = s, .type = type, .floor = floor, .too = too};
    const struct tm_entity *e = of_type(s, key, type);
    if (e == NULL)
        return;
    if (is_all_cut(&c, e))
        tm_store_op(s, key, type, TM_OP_DEL_ENTITY, NOTHING, NOTHING);
    else
        cut_fields(s, key, e, &c);
}

void tm_link_cut_old(struct tm_store *s, struct tm_bytes key, uint64_t through)
{
    struct tm_op_version was = {s->stamp.hlc, s->stamp.origin};
    struct tm_op_version floor = {through, UINT64_MAX};
    struct cut versions = {.store = s, .type = TM_ENTITY_SHADOW, .floor = floor, .spares = true};
    bool merging = s->merging;
    const struct tm_entity *e = tm_store_find(s, key);
    s->merging = true;
    tm_store_stamp_derived(s);
    if (e != NULL)
        tm_kept_cut(s, key, tm_entity_type(e), floor, false);
    if ((e = tm_store_shadow(s, key)) != NULL)
        cut_fields(s, key, e, &versions);
    s->merging = merging;
    tm_store_stamp(s, was.hlc, was.origin);
}

/* ---- Local changes ---- */

static struct tm_op_version own_stamp(const struct tm_store *s)
{
    return (struct tm_op_version){s->stamp.hlc, s->stamp.origin};
}

/* The entity is made anew: its expiry is not that of the one before.  *k says so then, even if what
 * is written is held. */
static void keep_new_life(struct tm_store *s, struct tm_kept *k)
{
    uint64_t none = 0;
    struct tm_op_version floor = {over_as_floor(k), s->stamp.origin};
    if (!k->has_expiry || k->expiry_ms == 0)
        return;
    if (s->stamp.hlc >> 16 < k->expiry_ms) {
        tm_store_set_shadow(s, k->key, EXPIRY, tm_bytes_of(&none, sizeof none));
        tm_kept_look(s, k->key, k);
        k->expiry = own_stamp(s);
        k->expiry_ms = 0;
        return;
    }
    tm_keep_shadow(s, k->key, FLOOR, NOTHING, floor);
    tm_store_del_shadow(s, k->key, EXPIRY);
    tm_kept_look(s, k->key, k);
    newer(&k->floor, floor);
    k->has_expiry = false;
}

/* What is there is of another type, and gone: as dead as its newest field.  What this very record
 * made is not below any floor: that has to be deleted. */
static void keep_other_type(struct tm_store *s, struct tm_kept *k, struct tm_op_version newest)
{
    uint64_t none = 0;
    if (k->e != NULL && tm_stamp_compare(newest, own_stamp(s)) == 0) {
        tm_store_op(s, k->key, tm_entity_type(k->e), TM_OP_DEL_ENTITY, NOTHING, NOTHING);
        return;
    }
    newer(&newest, k->floor);
    if (newest.hlc != 0) /* else it counts from nothing, below all that there will be */
        tm_keep_floor_only(s, k->key, newest);
    if (k->has_expiry && tm_stamp_compare(k->expiry, newest) >= 0)
        tm_store_set_shadow(s, k->key, EXPIRY, tm_bytes_of(&none, sizeof none));
}

static void keep_put(struct tm_store *s, struct tm_kept *k, enum tm_entity_type type,
                     struct tm_op *op)
{
    enum tm_entity_type was;
    struct tm_op_version newest;
    struct tm_conflict_rule rule = tm_store_rule(s, k->key, op->name);
    bool remade = k->e != NULL && s->held != 0; /* deleted before, in the same hold */
    if (remade) {
        k->e = k->shadow = NULL;
    } else if (k->e == NULL && k->has_expiry) {
        keep_new_life(s, k);
    }
    if (!remade && tm_kept_life(s, k, &was, &newest) && was != type) {
        keep_other_type(s, k, newest);
        k->e = k->shadow = NULL;
    }
    if (op->code == TM_OP_SET_FIELD && tm_has_versions(s, k, op->name, &rule))
        (void)tm_keep_version(s, k, type, op, &rule);
    else if (k->shadow != NULL)
        tm_store_del_shadow(s, k->key, tm_tomb_name(s, op->name));
}

/* What there is counts for as much as it reads, as of its stamp; nothing, as of what deleted it. */
void tm_keep_add(struct tm_store *s, struct tm_bytes key, enum tm_entity_type type,
                 struct tm_bytes name, struct tm_counter_base *base)
{
    struct tm_op op = {.code = TM_OP_COUNTER_AT, .name = name};
    struct tm_target t;
    struct tm_value value;
    struct tm_kept k;
    struct tm_op_version tomb = {0, 0};
    (void)tm_store_shadow_field(s, key, tm_tomb_name(s, name), NULL, &tomb);
    (void)tm_keep(s, key, type, &op);
    tm_target_set(s, &t, key, type);
    const struct tm_entity *field = tm_target_field(&t, name);
    if (tm_is_based(field)) {
        *base = tm_counter_base_of(field);
    } else if (field != NULL) {
        tm_value_of(field, &value);
        base->stamp = tm_store_stamp_of(s, field);
        base->value = value.number;
        if (!value.is_counter)
            (void)tm_value_int(value.text, &base->value);
    } else if (tm_store_sharing(s, key, TM_ORIGIN_NONE) == TM_LINK_MANY) {
        tm_kept_look(s, key, &k);
        newer(&tomb, k.floor);
        bool never = tomb.hlc == 0 && tomb.origin == 0;
        base->stamp = never ? tomb : tm_stamp_after(tomb);
    }
}

static bool keep_del_field(struct tm_store *s, const struct tm_kept *k, enum tm_entity_type type,
                           struct tm_op *op)
{
    uint8_t was = (uint8_t)type;
    struct tm_conflict_rule rule = tm_store_rule(s, k->key, op->name);
    if (k->e == NULL || tm_entity_type(k->e) != type || tm_field_find(k->e, op->name) == NULL)
        return false;
    if (tm_has_versions(s, k, op->name, &rule))
        return tm_keep_version(s, k, type, op, &rule);
    tm_store_set_shadow(s, k->key, tm_tomb_name(s, op->name), tm_bytes_of(&was, 1));
    return true;
}

/* The register says when it was set, so that the entity's stamp need not. */
static void keep_expiry(struct tm_store *s, struct tm_bytes key, struct tm_op *op)
{
    static const uint64_t never;
    if (op->code == TM_OP_PERSIST)
        op->value = tm_bytes_of(&never, sizeof never);
    op->code = TM_OP_EXPIRY;
    tm_store_set_shadow(s, key, EXPIRY, op->value);
}

/* ---- entity-lww ---- */

/* Of a string's and a field's operation, whose bytes may lie in the entity that is written anew. */
static void keep_bytes(struct tm_store *s, struct tm_op *op)
{
    uint8_t *name = tm_store_scratch(s, TM_SCRATCH_FIELD, op->name.len),
            *value = tm_store_scratch(s, TM_SCRATCH_VALUE, op->value.len);
    if (op->name.len > 0)
        op->name.data = memcpy(name, op->name.data, op->name.len);
    if (op->value.len > 0 && op->value.data != NULL)
        op->value.data = memcpy(value, op->value.data, op->value.len);
}

/* The first local change of an entity in a record makes it all anew, so that of two entities one
 * stands: the floor is the record's stamp, and all fields have it. */
static void keep_whole(struct tm_store *s, struct tm_kept *k, enum tm_entity_type type,
                       struct tm_op *op)
{
    uint64_t hash = tm_table_hash(k->key), ms = k->e != NULL ? tm_entity_expiry(k->e) : 0;
    struct cut c = {.store = s, .type = type, .floor = own_stamp(s), .renew = true};
    bool merging = s->merging;
    if (k->e != NULL && s->held != 0)
        return; /* deleted before, in the same hold */
    if (s->whole != hash && tm_stamp_compare(k->floor, c.floor) != 0) {
        s->whole = hash;
        keep_bytes(s, op);
        tm_keep_floor_only(s, k->key, c.floor);
        if (ms != 0)
            tm_store_set_shadow(s, k->key, EXPIRY, tm_bytes_of(&ms, sizeof ms));
        s->merging = true;
        if (k->e != NULL && tm_entity_type(k->e) == type)
            cut_fields(s, k->key, k->e, &c);
        s->merging = merging;
    }
    tm_kept_look(s, k->key, k);
    if (s->held != 0) /* what was just written is not to be seen yet */
        *k = (struct tm_kept){.key = k->key, .floor = c.floor};
}

bool tm_keep(struct tm_store *s, struct tm_bytes key, enum tm_entity_type type, struct tm_op *op)
{
    struct tm_kept k;
    if (tm_store_sharing(s, key, TM_ORIGIN_NONE) != TM_LINK_MANY)
        return true;
    tm_kept_look(s, key, &k);
    if (op->code != TM_OP_DEL_ENTITY && op->code != TM_OP_EXPIRE_ENTITY &&
        tm_store_rule(s, key, op->name).rule == TM_CONFLICT_ENTITY_LWW)
        keep_whole(s, &k, type, op);
    switch (op->code) {
    case TM_OP_SET_FIELD:
    case TM_OP_COUNTER:
    case TM_OP_COUNTER_AT:
        keep_put(s, &k, type, op);
        break;
    case TM_OP_DEL_FIELD:
        return keep_del_field(s, &k, type, op);
    case TM_OP_DEL_ENTITY:
        tm_keep_floor_only(s, key, own_stamp(s));
        break;
    case TM_OP_SET_EXPIRY:
    case TM_OP_PERSIST:
        keep_expiry(s, key, op);
        break;
    default:
        break;
    }
    return true;
}

static bool any_since(const struct tm_store *s, const struct tm_entity *e, uint64_t since)
{
    struct tm_op_version newest = {0, 0};
    newest_field(s, e, &newest);
    return newest.hlc >= since;
}

bool tm_keep_expire(struct tm_store *s, struct tm_bytes key)
{
    struct tm_kept k;
    if (tm_store_sharing(s, key, TM_ORIGIN_NONE) != TM_LINK_MANY)
        return false;
    tm_kept_look(s, key, &k);
    uint64_t ms = tm_entity_expiry(k.e), never = 0;
    if (!k.has_expiry || k.expiry_ms != ms) { /* from before the type was shared */
        k.expiry_ms = ms;
        k.expiry = tm_store_stamp_of(s, k.e);
        tm_keep_shadow(s, key, EXPIRY, tm_bytes_of(&ms, sizeof ms), k.expiry);
    }
    uint64_t since = tm_kept_over(&k);
    if (!any_since(s, k.e, since))
        return false;
    enum tm_entity_type type = tm_entity_type(k.e);
    struct tm_op_version before = own_stamp(s), floor = {over_as_floor(&k), s->stamp.origin};
    tm_keep_shadow(s, key, FLOOR, NOTHING, floor);
    tm_store_del_shadow(s, key, EXPIRY);
    s->merging = true;
    tm_store_stamp_derived(s);
    tm_kept_cut(s, key, type, (struct tm_op_version){since, 0}, false);
    tm_kept_cut(s, key, TM_ENTITY_SHADOW, (struct tm_op_version){since, 0}, false);
    tm_store_op(s, key, type, TM_OP_EXPIRY, NOTHING, tm_bytes_of(&never, sizeof never));
    s->merging = false;
    tm_store_stamp(s, before.hlc, before.origin);
    return true;
}
