/* store.c: one partition's state: its life, its writers and its plain reads.
 *
 * The happy path of a write: begin opens a record in the caller's buffer; a writer appends an
 * operation to it and applies that operation from the bytes just written, speculatively; finish
 * seals the record.  A writer that finds no room marks the record, further ones do nothing, and
 * finish undoes it all: a record is never half there. */
#include "storage/store_internal.h"

#include <inttypes.h>
#include <stdio.h>

struct tm_store *tm_store_new(struct tm_arena *arena, uint32_t partition)
{
    struct tm_pool pool = {arena, 0};
    struct tm_store *s = tm_pool_alloc(&pool, sizeof *s);
    *s = (struct tm_store){.pool = pool, .partition = partition};
    return s;
}

void tm_store_delete(struct tm_store *s)
{
    tm_undo_free(s);
    tm_expiry_free(&s->expiry, &s->pool);
    tm_dead_add(s, &s->table);
    tm_dead_add(s, &s->shadow);
    while (tm_store_tidy(s, 1024)) {
    }
    if (s->origin_count > 0)
        tm_pool_free(&s->pool, s->origins, s->origin_count * sizeof *s->origins);
    for (unsigned i = 0; i < TM_SCRATCH_COUNT; i++)
        if (s->scratch[i].cap > 0)
            tm_pool_free(&s->pool, s->scratch[i].bytes, s->scratch[i].cap);
    tm_floors_free(s);
    if (s->load_cap > 0)
        tm_pool_free(&s->pool, s->load, s->load_cap * sizeof *s->load);
    struct tm_pool pool = s->pool;
    tm_pool_free(&pool, s, sizeof *s);
    TM_ASSERT(pool.bytes == 0);
}

uint8_t *tm_store_scratch(struct tm_store *s, unsigned which, size_t len)
{
    struct tm_scratch *at = &s->scratch[which];
    if (at->cap < len || at->cap == 0) {
        if (at->cap > 0)
            tm_pool_free(&s->pool, at->bytes, at->cap);
        at->cap = tm_max_u64(256, 2 * len);
        at->bytes = tm_pool_alloc(&s->pool, at->cap);
    }
    return at->bytes;
}

int tm_store_origin_no(struct tm_store *s, uint64_t origin)
{
    unsigned n = s->origin_count;
    for (unsigned i = n; i-- > 0;)
        if (s->origins[i] == origin)
            return (int)i;
    if (n == 256)
        return -1;
    uint64_t *wide = tm_pool_alloc(&s->pool, (n + 1) * sizeof *wide);
    if (n > 0) {
        memcpy(wide, s->origins, n * sizeof *wide);
        tm_pool_free(&s->pool, s->origins, n * sizeof *wide);
    }
    wide[n] = origin;
    s->origins = wide;
    s->origin_count = n + 1;
    return (int)n;
}

static bool expires(const struct tm_entity *e)
{
    return e != NULL && tm_entity_expiry(e) != 0;
}

void tm_store_place(struct tm_store *s, uint64_t hash, struct tm_entity *from, struct tm_entity *to)
{
    if (from == NULL && to == NULL)
        return;
    struct tm_table *table = tm_is_shadow(to != NULL ? to : from) ? &s->shadow : &s->table;
    if (from != NULL && to != NULL)
        tm_table_replace(table, from, to, hash);
    else if (to != NULL)
        tm_table_insert(table, &s->pool, to, hash);
    else
        tm_table_remove(table, &s->pool, from, hash);
    if (expires(from) && expires(to) && tm_entity_expiry(from) == tm_entity_expiry(to)) {
        tm_expiry_replace(&s->expiry, from, to);
        return;
    }
    if (expires(from))
        tm_expiry_remove(&s->expiry, from);
    if (expires(to))
        tm_expiry_add(&s->expiry, &s->pool, to);
}

void tm_field_place(struct tm_store *s, struct tm_large *large, uint64_t hash,
                    struct tm_entity *from, struct tm_entity *to)
{
    if (from != NULL && to != NULL)
        tm_table_replace(&large->fields, from, to, hash);
    else if (to != NULL)
        tm_table_insert(&large->fields, &s->pool, to, hash);
    else if (from != NULL)
        tm_table_remove(&large->fields, &s->pool, from, hash);
    large->bytes += (to != NULL ? tm_entity_size(to) : 0);
    large->bytes -= (from != NULL ? tm_entity_size(from) : 0);
}

void tm_store_begin(struct tm_store *s, void *buf, size_t cap, const struct tm_record *head)
{
    TM_ASSERT(!s->open && head->index > s->applied && s->applied >= s->load_until);
    struct tm_record own = *head;
    own.partition = s->partition;
    tm_record_begin(&s->builder, buf, cap, TM_RECORD_EFFECT, &own);
    int origin = tm_store_origin_no(s, head->origin);
    s->own = (struct tm_stamp){head->index, head->term, head->hlc, head->origin,
                               origin < 0 ? 0 : (unsigned)origin};
    s->stamp = s->own;
    s->stamp_due = false;
    s->new_origins = 0;
    s->whole = 0;
    s->open = true;
    s->open_err = origin < 0 ? TM_ERR_TOOBIG : TM_OK;
    s->target_change = 0;
    s->held = 0;
}

enum tm_err tm_store_finish(struct tm_store *s, struct tm_record **out)
{
    TM_ASSERT(s->open && s->held == 0);
    *out = NULL;
    if (s->open_err != TM_OK) {
        tm_store_abort(s);
        return s->open_err;
    }
    s->open = false;
    if (tm_record_empty(&s->builder))
        return TM_OK;
    *out = tm_record_end(&s->builder);
    s->applied = s->own.index;
    return TM_OK;
}

uint64_t tm_store_applied(const struct tm_store *s)
{
    return s->applied;
}

uint64_t tm_store_committed(const struct tm_store *s)
{
    return s->committed;
}

/* Appends the operation to the record; false if it does not fit. */
static bool encode(struct tm_store *s, struct tm_bytes key, enum tm_entity_type type,
                   const struct tm_op *op, struct tm_op *at)
{
    TM_ASSERT(s->open);
    if (s->stamp_due && s->open_err == TM_OK) {
        bool own = s->stamp.hlc == s->own.hlc && s->stamp.origin == s->own.origin;
        struct tm_op_version v = {own ? 0 : s->stamp.hlc, own ? 0 : s->stamp.origin};
        struct tm_op stamped = {.code = TM_OP_STAMPED, .value = tm_bytes_of(&v, sizeof v)};
        s->open_err = tm_record_op(&s->builder, key, type, &stamped, at);
        s->stamp_due = false;
    }
    if (s->open_err == TM_OK)
        s->open_err = tm_record_op(&s->builder, key, type, op, at);
    if (type != TM_ENTITY_SHADOW)
        s->last_type = type;
    return s->open_err == TM_OK;
}

/* The change that the builder has open. */
static struct tm_change open_change(const struct tm_store *s)
{
    struct tm_bytes body =
        tm_bytes_of(s->builder.buf + s->builder.change, s->builder.used - s->builder.change);
    struct tm_change change;
    (void)tm_change_next(&body, &change);
    return change;
}

/* Applies the operation just encoded, from its bytes in the record. */
static void apply(struct tm_store *s, const struct tm_op *at)
{
    if (s->target_change != s->builder.change) {
        struct tm_change change = open_change(s);
        tm_target_set(s, &s->target, change.key, change.type);
        s->target_change = s->builder.change;
    }
    tm_target_apply(s, &s->target, &s->stamp, at);
}

void tm_store_op(struct tm_store *s, struct tm_bytes key, enum tm_entity_type type,
                 enum tm_op_code code, struct tm_bytes name, struct tm_bytes value)
{
    struct tm_op op = {code, name, value}, at;
    if (s->policy.keep != NULL && !s->merging && type != TM_ENTITY_SHADOW &&
        !tm_keep(s, key, type, &op))
        return;
    if (encode(s, key, type, &op, &at) && s->held == 0)
        apply(s, &at);
}

void tm_store_op_on(struct tm_store *s, const struct tm_kept *k, enum tm_entity_type type,
                    const struct tm_op *op)
{
    struct tm_op at;
    TM_ASSERT(s->merging && s->held == 0 && type != TM_ENTITY_SHADOW);
    if (!encode(s, k->key, type, op, &at))
        return;
    if (s->target_change != s->builder.change) {
        struct tm_entity *e = (struct tm_entity *)(uintptr_t)k->e; /* it is the store's own */
        s->target = (struct tm_target){open_change(s).key, k->hash, type, e};
        s->target_change = s->builder.change;
    }
    apply(s, &at);
}

void tm_store_hold(struct tm_store *s)
{
    TM_ASSERT(s->open && s->held == 0);
    s->held = s->builder.used;
    s->held_by = s->stamp_due ? s->own : s->stamp;
    s->builder.change = 0;
    s->target_change = 0;
}

void tm_store_release(struct tm_store *s)
{
    TM_ASSERT(s->open && s->held != 0);
    struct tm_bytes body = tm_bytes_of(s->builder.buf + s->held, s->builder.used - s->held);
    s->held = 0;
    s->builder.change = 0;
    if (s->open_err == TM_OK)
        tm_changes_apply(s, body, &s->own, &s->held_by);
}

static const struct tm_bytes NONE = {NULL, 0};

void tm_store_set_field(struct tm_store *s, struct tm_bytes key, enum tm_entity_type type,
                        struct tm_bytes name, struct tm_bytes value)
{
    TM_ASSERT(type != TM_ENTITY_STRING || name.len == 0);
    TM_ASSERT(type != TM_ENTITY_SET || value.len == 0);
    tm_store_op(s, key, type, TM_OP_SET_FIELD, name, value);
}

void tm_store_del_field(struct tm_store *s, struct tm_bytes key, enum tm_entity_type type,
                        struct tm_bytes name)
{
    tm_store_op(s, key, type, TM_OP_DEL_FIELD, name, NONE);
}

static void add_plain(struct tm_store *s, struct tm_bytes key, enum tm_entity_type type,
                      struct tm_bytes name, int64_t delta)
{
    struct tm_target t;
    tm_target_set(s, &t, key, type);
    uint64_t total = tm_counter_total(tm_target_field(&t, name), s->own.origin, s->own.term);
    struct tm_counter_component c = {s->own.origin, s->own.term,
                                     (int64_t)(total + (uint64_t)delta)};
    tm_store_op(s, key, type, TM_OP_COUNTER, name, tm_bytes_of(&c, sizeof c));
}

/* What was counted before a link carried the key is in the base.  A base that this very record made
 * is not one to count from: others take it as a whole. */
static void add_based(struct tm_store *s, struct tm_bytes key, enum tm_entity_type type,
                      struct tm_bytes name, int64_t delta)
{
    struct tm_counter_base base = {0};
    struct tm_target t;
    char text[24];
    tm_keep_add(s, key, type, name, &base);
    tm_target_set(s, &t, key, type);
    const struct tm_entity *field = tm_target_field(&t, name);
    uint64_t total = tm_is_based(field) ? tm_counter_total(field, s->own.origin, s->own.term) : 0;
    struct tm_counter_at c = {{s->own.origin, s->own.term, (int64_t)(total + (uint64_t)delta)},
                              base.stamp.hlc,
                              base.stamp.origin,
                              base.value};
    bool was = s->merging, is_own = base.stamp.hlc == s->own.hlc;
    int64_t sum = (int64_t)((uint64_t)base.value + (uint64_t)delta);
    int len = snprintf(text, sizeof text, "%" PRId64, sum);
    s->merging = true; /* kept already */
    if (is_own && base.stamp.origin - s->own.origin <= 1)
        tm_store_op(s, key, type, TM_OP_SET_FIELD, name, tm_bytes_of(text, (size_t)len));
    else
        tm_store_op(s, key, type, TM_OP_COUNTER_AT, name, tm_bytes_of(&c, sizeof c));
    s->merging = was;
}

void tm_store_add(struct tm_store *s, struct tm_bytes key, enum tm_entity_type type,
                  struct tm_bytes name, int64_t delta)
{
    TM_ASSERT(s->open && s->held == 0 && type != TM_ENTITY_SET);
    if (tm_store_sharing(s, key, TM_ORIGIN_NONE) == TM_LINK_NONE)
        add_plain(s, key, type, name, delta);
    else if (!tm_versions_add(s, key, type, name, delta))
        add_based(s, key, type, name, delta);
}

void tm_store_del(struct tm_store *s, struct tm_bytes key)
{
    const struct tm_entity *e = tm_store_find(s, key);
    if (e != NULL)
        tm_store_op(s, key, tm_entity_type(e), TM_OP_DEL_ENTITY, NONE, NONE);
}

void tm_store_expire(struct tm_store *s, struct tm_bytes key)
{
    const struct tm_entity *e = tm_store_find(s, key);
    if (e == NULL)
        return;
    if (s->policy.keep != NULL && tm_keep_expire(s, key))
        return;
    struct tm_op_version v = {e->hlc, s->origins[tm_entity_origin(e)]};
    tm_store_op(s, key, tm_entity_type(e), TM_OP_EXPIRE_ENTITY, NONE, tm_bytes_of(&v, sizeof v));
}

void tm_store_set_expiry(struct tm_store *s, struct tm_bytes key, uint64_t ms)
{
    const struct tm_entity *e = tm_store_find(s, key);
    enum tm_entity_type type = s->last_type;
    if (e != NULL && s->held == 0)
        type = tm_entity_type(e);
    TM_ASSERT(e != NULL || s->held != 0 || s->open_err != TM_OK);
    if (ms == 0)
        ms = 1;
    tm_store_op(s, key, type, TM_OP_SET_EXPIRY, NONE, tm_bytes_of(&ms, sizeof ms));
}

void tm_store_persist(struct tm_store *s, struct tm_bytes key)
{
    const struct tm_entity *e = tm_store_find(s, key);
    if (e != NULL)
        tm_store_op(s, key, tm_entity_type(e), TM_OP_PERSIST, NONE, NONE);
}

/* What the string then is, written at p. */
static void put_range(uint8_t *p, struct tm_bytes old, size_t offset, struct tm_bytes bytes)
{
    size_t keep = tm_min_u64(old.len, offset), end = offset + bytes.len;
    if (keep > 0)
        memcpy(p, old.data, keep);
    memset(p + keep, 0, offset - keep);
    if (bytes.len > 0)
        memcpy(p + offset, bytes.data, bytes.len);
    if (old.len > end)
        memcpy(p + end, old.data + end, old.len - end);
}

void tm_store_set_range(struct tm_store *s, struct tm_bytes key, size_t offset,
                        struct tm_bytes bytes)
{
    TM_ASSERT(s->held == 0);
    struct tm_value old = {.text = NONE};
    const struct tm_entity *e = tm_store_find(s, key);
    if (e != NULL && tm_entity_type(e) == TM_ENTITY_STRING)
        tm_entity_string(e, &old);
    struct tm_op at,
        op = {TM_OP_SET_FIELD, NONE, {NULL, tm_max_u64(old.text.len, offset + bytes.len)}};
    if (tm_store_sharing(s, key, TM_ORIGIN_NONE) == TM_LINK_MANY) {
        uint8_t *p = tm_store_scratch(s, TM_SCRATCH_RANGE, op.value.len);
        put_range(p, old.text, offset, bytes);
        tm_store_set_field(s, key, TM_ENTITY_STRING, NONE, tm_bytes_of(p, op.value.len));
        return;
    }
    if (!encode(s, key, TM_ENTITY_STRING, &op, &at))
        return;
    put_range(s->builder.buf + (at.value.data - s->builder.buf), old.text, offset, bytes);
    apply(s, &at);
}

void tm_store_write(struct tm_store *s, struct tm_bytes key, enum tm_entity_type type,
                    const struct tm_op *op)
{
    TM_ASSERT(s->held == 0);
    tm_store_op(s, key, type, op->code, op->name, op->value);
}

void tm_store_flush(struct tm_store *s)
{
    TM_ASSERT(s->open && s->held == 0);
    if (s->open_err != TM_OK)
        return;
    tm_record_flush(&s->builder);
    s->target_change = 0;
    tm_undo_above(s, s->applied); /* the record forgets what it did before, to shadows also */
    s->stamp_due = s->stamp.hlc != s->own.hlc || s->stamp.origin != s->own.origin;
    tm_store_apply_flush(s, s->own.index);
}

const struct tm_entity *tm_store_find(const struct tm_store *s, struct tm_bytes key)
{
    return tm_table_find(&s->table, key, tm_table_hash(key));
}

uint64_t tm_store_count(const struct tm_store *s)
{
    return s->table.count;
}

uint64_t tm_store_bytes(const struct tm_store *s)
{
    return s->pool.bytes;
}

struct walk {
    tm_store_visit_fn *visit;
    void *host;
};

static void walk_visit(void *host, struct tm_entity *e)
{
    struct walk *walk = host;
    walk->visit(walk->host, e);
}

uint64_t tm_store_scan(const struct tm_store *s, uint64_t cursor, unsigned want,
                       tm_store_visit_fn *visit, void *host)
{
    struct walk walk = {visit, host};
    if (cursor >> 48 != 0)
        return 0;
    return tm_table_slice(&s->table, cursor << 16, want, walk_visit, &walk) >> 16;
}

const struct tm_entity *tm_store_random(const struct tm_store *s, uint64_t random)
{
    return tm_table_near(&s->table, random);
}

uint64_t tm_store_next_expiry(const struct tm_store *s)
{
    return s->expiry.count == 0 ? UINT64_MAX : s->expiry.slots[0].ms;
}

uint64_t tm_store_expiring(const struct tm_store *s)
{
    return s->expiry.count;
}

const struct tm_entity *tm_store_due(const struct tm_store *s, uint64_t now_ms)
{
    return tm_store_next_expiry(s) <= now_ms ? s->expiry.slots[0].entity : NULL;
}

bool tm_store_is_due(const struct tm_store *s, struct tm_bytes key, uint64_t now_ms)
{
    if (tm_store_next_expiry(s) > now_ms)
        return false;
    const struct tm_entity *e = tm_store_find(s, key);
    return expires(e) && tm_entity_expiry(e) <= now_ms;
}

uint64_t tm_store_state_hash(const struct tm_store *s)
{
    return s->hash_committed;
}

uint64_t tm_store_load_until(const struct tm_store *s)
{
    return s->load_until;
}
