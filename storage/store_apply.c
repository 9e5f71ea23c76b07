/* store_apply.c: what each operation does to its entity.
 *
 * All operations are absolute, and depend on nothing but the entity and the record: the same
 * records give the same state on every replica.  Three forms of entity, three ways: a string is
 * replaced; a packed hash or set is rewritten with the field changed; in a large one the field
 * alone is replaced, and the entity's stamp changes in place.  Each way leaves an undo entry. */
#include "storage/store_internal.h"

void tm_target_set(struct tm_store *s, struct tm_target *t, struct tm_bytes key,
                   enum tm_entity_type type)
{
    t->key = key;
    t->hash = tm_table_hash(key);
    t->type = type;
    t->e = tm_table_find(tm_store_table(s, type), key, t->hash);
}

static bool is_large(const struct tm_entity *e)
{
    return (tm_entity_flags(e) & TM_ENTITY_LARGE) != 0;
}

/* `to` (NULL: nothing) is the entity from now on. */
static void become(struct tm_store *s, struct tm_target *t, const struct tm_stamp *by,
                   struct tm_entity *to, uint64_t delta)
{
    struct tm_entity *from = t->e;
    tm_store_place(s, t->hash, from, to);
    t->e = to;
    tm_undo_entity(s, by->index, t->hash, from, to, delta);
}

static void replace(struct tm_store *s, struct tm_target *t, const struct tm_stamp *by,
                    struct tm_entity *to)
{
    become(s, t, by, to, tm_hash_entity(s, t->hash, to) - tm_hash_entity(s, t->hash, t->e));
}

static void remove_entity(struct tm_store *s, struct tm_target *t, const struct tm_stamp *by)
{
    if (t->e != NULL)
        replace(s, t, by, NULL);
}

static void put_string(struct tm_store *s, struct tm_target *t, const struct tm_stamp *by,
                       struct tm_bytes raw, unsigned flags)
{
    struct tm_blob b = {.name = t->key,
                        .value = raw,
                        .hlc = by->hlc,
                        .expiry = t->e != NULL ? tm_entity_expiry(t->e) : 0,
                        .origin = by->origin_no,
                        .flags = (unsigned)TM_ENTITY_STRING | flags};
    replace(s, t, by, tm_blob_new(s, &b));
}

/* Puts a field, or with field NULL takes it out. */
static void edit_packed(struct tm_store *s, struct tm_target *t, const struct tm_stamp *by,
                        struct tm_bytes name, const struct tm_blob *field)
{
    const struct tm_entity *old = t->e != NULL ? tm_packed_find(t->e, name) : NULL;
    uint64_t delta = 0 - tm_hash_field(s, t->hash, old);
    if (t->e != NULL)
        delta -= tm_hash_meta(s, t->hash, t->e);
    struct tm_entity *to = tm_packed_edit(s, t, by, name, field);
    delta += tm_hash_meta(s, t->hash, to);
    if (field != NULL)
        delta += tm_hash_field(s, t->hash, tm_packed_find(to, name));
    become(s, t, by, to, delta);
}

static void make_large(struct tm_store *s, struct tm_target *t, const struct tm_stamp *by)
{
    uint64_t expiry = t->e != NULL ? tm_entity_expiry(t->e) : 0;
    struct tm_entity *e = tm_large_new(s, t->key, t->hash, t->type, by, expiry);
    if (t->e != NULL)
        tm_large_fill(s, e, t->e);
    replace(s, t, by, e);
}

static void edit_large(struct tm_store *s, struct tm_target *t, const struct tm_stamp *by,
                       struct tm_bytes name, const struct tm_blob *field)
{
    struct tm_large *large = tm_entity_large(t->e);
    if (large->touched != by->index || t->e->hlc != by->hlc ||
        tm_entity_origin(t->e) != by->origin_no)
        tm_undo_stamp(s, by, t->hash, t->e, tm_entity_expiry(t->e));
    uint64_t hash = tm_table_hash(name);
    struct tm_entity *from = tm_table_find(&large->fields, name, hash);
    struct tm_entity *to = field != NULL ? tm_blob_new(s, field) : NULL;
    uint64_t delta = tm_hash_field(s, t->hash, to) - tm_hash_field(s, t->hash, from);
    tm_field_place(s, large, hash, from, to);
    tm_undo_field(s, by->index, hash, t, from, to, delta);
}

static bool outgrows_packed(const struct tm_target *t, const struct tm_blob *field)
{
    size_t add = tm_blob_size(field);
    if (t->e == NULL)
        return add > TM_PACKED_BYTES;
    const struct tm_entity *old = tm_packed_find(t->e, field->name);
    size_t less = old != NULL ? tm_entity_size(old) : 0;
    return tm_entity_fields(t->e) + (old == NULL) > TM_PACKED_FIELDS ||
           tm_entity_value_len(t->e) - less + add > TM_PACKED_BYTES;
}

void tm_target_put(struct tm_store *s, struct tm_target *t, const struct tm_stamp *by,
                   struct tm_bytes name, struct tm_bytes raw, unsigned flags)
{
    if (t->type == TM_ENTITY_SHADOW && t->key.len == 0)
        tm_floors_note(s, name);
    if (t->e != NULL && tm_entity_type(t->e) != t->type)
        remove_entity(s, t, by);
    if (t->type == TM_ENTITY_STRING) {
        put_string(s, t, by, raw, flags);
        return;
    }
    struct tm_blob field = {
        .name = name, .value = raw, .hlc = by->hlc, .origin = by->origin_no, .flags = flags};
    if ((t->e == NULL || !is_large(t->e)) && outgrows_packed(t, &field))
        make_large(s, t, by);
    if (t->e != NULL && is_large(t->e))
        edit_large(s, t, by, name, &field);
    else
        edit_packed(s, t, by, name, &field);
}

const struct tm_entity *tm_target_field(const struct tm_target *t, struct tm_bytes name)
{
    if (t->e == NULL || tm_entity_type(t->e) != t->type)
        return NULL;
    if (t->type == TM_ENTITY_STRING)
        return t->e;
    return is_large(t->e) ? tm_table_find(&tm_entity_large(t->e)->fields, name, tm_table_hash(name))
                          : tm_packed_find(t->e, name);
}

static void remove_field(struct tm_store *s, struct tm_target *t, const struct tm_stamp *by,
                         struct tm_bytes name)
{
    if (tm_target_field(t, name) == NULL)
        return;
    if (t->type == TM_ENTITY_STRING || tm_entity_fields(t->e) == 1)
        remove_entity(s, t, by);
    else if (is_large(t->e))
        edit_large(s, t, by, name, NULL);
    else
        edit_packed(s, t, by, name, NULL);
}

void tm_target_stamp(struct tm_store *s, struct tm_target *t, const struct tm_stamp *by,
                     uint64_t expiry)
{
    if (is_large(t->e))
        tm_undo_stamp(s, by, t->hash, t->e, expiry);
    else
        replace(s, t, by, tm_blob_restamped(s, t->e, by, expiry));
}

static void expire(struct tm_store *s, struct tm_target *t, const struct tm_stamp *by,
                   struct tm_bytes version)
{
    struct tm_op_version v;
    memcpy(&v, version.data, sizeof v);
    if (t->e != NULL && t->e->hlc == v.hlc && s->origins[tm_entity_origin(t->e)] == v.origin)
        remove_entity(s, t, by);
}

void tm_target_apply(struct tm_store *s, struct tm_target *t, const struct tm_stamp *by,
                     const struct tm_op *op)
{
    switch (op->code) {
    case TM_OP_SET_FIELD:
    case TM_OP_FOLDED:
        tm_target_put(s, t, by, op->name, op->value, 0);
        break;
    case TM_OP_DEL_FIELD:
        remove_field(s, t, by, op->name);
        break;
    case TM_OP_COUNTER:
    case TM_OP_COUNTER_AT:
        tm_counter_put(s, t, by, op);
        break;
    case TM_OP_DEL_ENTITY:
        remove_entity(s, t, by);
        break;
    case TM_OP_EXPIRE_ENTITY:
        expire(s, t, by, op->value);
        break;
    case TM_OP_SET_EXPIRY:
        if (t->e != NULL)
            tm_target_stamp(s, t, by, tm_load64(op->value.data));
        break;
    case TM_OP_PERSIST:
        if (t->e != NULL)
            tm_target_stamp(s, t, by, 0);
        break;
    case TM_OP_EXPIRY:
        tm_target_expiry(s, t, by, tm_load64(op->value.data));
        break;
    case TM_OP_MERGED:
    case TM_OP_STAMPED:
        break;
    }
}

/* While a loaded snapshot is caught up with: whether its slice shows this index already. */
static bool is_loaded(const struct tm_store *s, uint64_t hash, uint64_t index)
{
    if (index > s->load_until)
        return false;
    uint32_t low = 0, high = s->load_count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (hash >> 16 < s->load[mid].end)
            high = mid;
        else
            low = mid + 1;
    }
    return low < s->load_count && index <= s->load[low].index;
}

/* A flush older than parts of the loaded snapshot spares those. */
static void flush_unloaded(struct tm_store *s, uint64_t index)
{
    struct tm_table old = s->table;
    struct tm_table_iter it;
    struct tm_entity *e;
    tm_table_init(&s->table);
    tm_table_first(&it, &old);
    while ((e = tm_table_next(&it)) != NULL) {
        uint64_t hash = tm_table_hash(tm_entity_name(e));
        if (is_loaded(s, hash, index)) {
            tm_table_insert(&s->table, &s->pool, e, hash);
            continue;
        }
        s->hash -= tm_hash_entity(s, hash, e);
        if (tm_entity_expiry(e) != 0)
            tm_expiry_remove(&s->expiry, e);
        tm_blob_free(s, e);
    }
    s->hash_committed = s->hash;
    tm_table_free(&old, &s->pool, false);
}

void tm_store_apply_flush(struct tm_store *s, uint64_t index)
{
    if (index <= s->load_until)
        flush_unloaded(s, index);
    else
        tm_undo_flush(s, index, s->hash_shadow - s->hash);
}

void tm_changes_apply(struct tm_store *s, struct tm_bytes body, const struct tm_stamp *own,
                      const struct tm_stamp *first)
{
    struct tm_change change;
    struct tm_stamp by = *first;
    while (tm_change_next(&body, &change)) {
        struct tm_target t;
        struct tm_op op;
        tm_target_set(s, &t, change.key, change.type);
        bool loaded = is_loaded(s, t.hash, own->index);
        while (tm_op_next(&change.ops, &op))
            if (op.code == TM_OP_STAMPED)
                (void)tm_stamp_of(s, own, op.value, &by); /* has a number: tm_stamps_fit */
            else if (!loaded)
                tm_target_apply(s, &t, &by, &op);
    }
}

static void load_end(struct tm_store *s)
{
    if (s->load_cap > 0)
        tm_pool_free(&s->pool, s->load, s->load_cap * sizeof *s->load);
    s->load = NULL;
    s->load_count = s->load_cap = 0;
}

enum tm_err tm_store_apply(struct tm_store *s, const struct tm_record *r, bool speculative)
{
    TM_ASSERT(!s->open && r->kind < TM_RECORD_LOCAL_FIRST);
    TM_ASSERT(speculative || s->undo.first == s->undo.next);
    if (r->index <= s->applied || (speculative && r->index <= s->load_until))
        return TM_ERR_INVALID;
    if (r->kind == TM_RECORD_EFFECT || r->kind == TM_RECORD_FLUSH) {
        int origin = tm_store_origin_no(s, r->origin);
        if (origin < 0 ||
            (s->origin_count > TM_ORIGINS_AMPLE && !tm_stamps_fit(s, tm_record_body(r))))
            return TM_ERR_TOOBIG;
        struct tm_stamp by = {r->index, r->term, r->hlc, r->origin, (unsigned)origin};
        if (r->kind == TM_RECORD_FLUSH)
            tm_store_apply_flush(s, r->index);
        tm_changes_apply(s, tm_record_body(r), &by, &by);
    }
    s->applied = r->index;
    if (!speculative)
        tm_store_commit(s, r->index);
    if (s->load != NULL && s->applied >= s->load_until)
        load_end(s);
    return TM_OK;
}
