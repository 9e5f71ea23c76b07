/* store_blob.c: making, hashing and freeing blobs.
 *
 * A blob is written once, whole, and then only read; a packed hash is rewritten for each changed
 * field (at most TM_PACKED_BYTES, a copy of some ten nanoseconds), a large one gets a new blob for
 * the field alone.  Numbers of origins differ between replicas; hashes use the origins themselves,
 * so equal states hash equally whatever their history. */
#include "storage/store_internal.h"
#include "runtime/hash.h"

size_t tm_blob_size(const struct tm_blob *b)
{
    bool expires = b->expiry != 0 || (b->flags & TM_ENTITY_LARGE) != 0;
    return sizeof(struct tm_entity) + (expires ? TM_ENTITY_EXPIRY_BYTES : 0) + b->name.len +
           b->value.len;
}

/* Header, expiry and name; returns where the value belongs. */
static uint8_t *blob_head(const struct tm_blob *b, void *at)
{
    bool expires = b->expiry != 0 || (b->flags & TM_ENTITY_LARGE) != 0;
    unsigned flags = b->flags | (expires ? (unsigned)TM_ENTITY_EXPIRES : 0);
    uint8_t *p = at;
    tm_store64(p, b->hlc);
    tm_store64(p + 8, tm_entity_meta(b->name.len, b->value.len, b->origin, flags));
    p += sizeof(struct tm_entity);
    if (expires) {
        tm_store64(p, b->expiry);
        tm_store32(p + 8, 0);
        p += TM_ENTITY_EXPIRY_BYTES;
    }
    if (b->name.len > 0)
        memcpy(p, b->name.data, b->name.len);
    return p + b->name.len;
}

void tm_blob_write(const struct tm_blob *b, void *at)
{
    uint8_t *p = blob_head(b, at);
    if (b->value.len > 0)
        memcpy(p, b->value.data, b->value.len);
}

struct tm_entity *tm_blob_new(struct tm_store *s, const struct tm_blob *b)
{
    struct tm_entity *e = tm_pool_alloc(&s->pool, tm_blob_size(b));
    tm_blob_write(b, e);
    return e;
}

void tm_dead_add(struct tm_store *s, struct tm_table *table)
{
    if (table->count == 0) {
        tm_table_free(table, &s->pool, false);
        return;
    }
    struct tm_dead *dead = tm_pool_alloc(&s->pool, sizeof *dead);
    dead->table = *table;
    tm_table_first(&dead->at, &dead->table);
    dead->next = s->dead;
    s->dead = dead;
    tm_table_init(table);
}

void tm_blob_free(struct tm_store *s, struct tm_entity *e)
{
    if (e == NULL)
        return;
    if (tm_entity_flags(e) & TM_ENTITY_LARGE) {
        struct tm_large *large = tm_entity_large(e);
        tm_dead_add(s, &large->fields);
        tm_pool_free(&s->pool, large, sizeof *large);
    }
    tm_pool_free(&s->pool, e, tm_entity_size(e));
}

static struct tm_blob blob_like(const struct tm_entity *e, const struct tm_stamp *by)
{
    return (struct tm_blob){.name = tm_entity_name(e),
                            .value = tm_entity_raw(e),
                            .hlc = by->hlc,
                            .expiry = tm_entity_expiry(e),
                            .origin = by->origin_no,
                            .flags = tm_entity_flags(e) & ~(unsigned)TM_ENTITY_EXPIRES};
}

struct tm_entity *tm_blob_restamped(struct tm_store *s, const struct tm_entity *e,
                                    const struct tm_stamp *by, uint64_t expiry)
{
    struct tm_blob b = blob_like(e, by);
    b.expiry = expiry;
    return tm_blob_new(s, &b);
}

static uint8_t *put(uint8_t *at, const void *data, size_t len)
{
    if (len > 0)
        memcpy(at, data, len);
    return at + len;
}

struct tm_entity *tm_packed_edit(struct tm_store *s, const struct tm_target *t,
                                 const struct tm_stamp *by, struct tm_bytes name,
                                 const struct tm_blob *field)
{
    struct tm_bytes old = {NULL, 0}, head = old, tail = old;
    unsigned count = 0;
    struct tm_blob b = {
        .name = t->key, .hlc = by->hlc, .origin = by->origin_no, .flags = (unsigned)t->type};
    if (t->e != NULL) {
        const struct tm_entity *f = tm_packed_find(t->e, name);
        b.expiry = tm_entity_expiry(t->e);
        count = (unsigned)tm_entity_fields(t->e) - (f != NULL);
        head = old = tm_packed_fields(t->e);
        if (f != NULL) {
            head.len = (size_t)((const uint8_t *)f - old.data);
            tail = tm_bytes_of((const uint8_t *)f + tm_entity_size(f),
                               old.len - head.len - tm_entity_size(f));
        }
    }
    size_t field_size = field != NULL ? tm_blob_size(field) : 0;
    b.value.len = 2 + head.len + field_size + tail.len;
    struct tm_entity *e = tm_pool_alloc(&s->pool, tm_blob_size(&b));
    uint8_t *p = blob_head(&b, e);
    tm_store16(p, (uint16_t)(count + (field != NULL)));
    p = put(p + 2, head.data, head.len);
    if (field != NULL)
        tm_blob_write(field, p);
    (void)put(p + field_size, tail.data, tail.len);
    return e;
}

struct tm_entity *tm_large_new(struct tm_store *s, struct tm_bytes key, uint64_t hash,
                               enum tm_entity_type type, const struct tm_stamp *by, uint64_t expiry)
{
    struct tm_large *large = tm_pool_alloc(&s->pool, sizeof *large);
    *large = (struct tm_large){.key_hash = hash, .touched = by->index};
    tm_table_init(&large->fields);
    uint64_t address = (uint64_t)(uintptr_t)large;
    struct tm_blob b = {.name = key,
                        .value = tm_bytes_of(&address, sizeof address),
                        .hlc = by->hlc,
                        .expiry = expiry,
                        .origin = by->origin_no,
                        .flags = (unsigned)type | TM_ENTITY_LARGE};
    return tm_blob_new(s, &b);
}

void tm_large_fill(struct tm_store *s, struct tm_entity *e, const struct tm_entity *packed)
{
    struct tm_large *large = tm_entity_large(e);
    struct tm_bytes rest = tm_packed_fields(packed);
    const struct tm_entity *f;
    while ((f = tm_packed_next(&rest)) != NULL) {
        struct tm_entity *own = tm_pool_alloc(&s->pool, tm_entity_size(f));
        memcpy(own, f, tm_entity_size(f));
        tm_field_place(s, large, tm_table_hash(tm_entity_name(own)), NULL, own);
        large->hash_sum += tm_hash_field(s, large->key_hash, own);
    }
}

void tm_entity_set_stamp(struct tm_entity *e, uint64_t hlc, unsigned origin)
{
    e->hlc = hlc;
    e->meta =
        tm_entity_meta(tm_entity_name_len(e), tm_entity_value_len(e), origin, tm_entity_flags(e));
}

uint64_t tm_hash_field(const struct tm_store *s, uint64_t key_hash, const struct tm_entity *f)
{
    if (f == NULL)
        return 0;
    struct tm_bytes name = tm_entity_name(f);
    uint64_t form = (tm_entity_flags(f) & TM_ENTITY_COUNTER) != 0;
    if (tm_entity_flags(f) & TM_ENTITY_BASED)
        form |= UINT64_C(1) << 63;
    const uint64_t parts[] = {key_hash, f->hlc, s->origins[tm_entity_origin(f)],
                              tm_entity_name_len(f) << 1 | form,
                              tm_hash64(name.data, name.len + tm_entity_value_len(f), 0)};
    return tm_hash64(parts, sizeof parts, 0);
}

uint64_t tm_hash_meta(const struct tm_store *s, uint64_t key_hash, const struct tm_entity *e)
{
    const uint64_t meta[] = {e->hlc, s->origins[tm_entity_origin(e)], tm_entity_expiry(e),
                             (uint64_t)tm_entity_type(e), tm_entity_name_len(e)};
    return tm_hash64(meta, sizeof meta, key_hash);
}

uint64_t tm_hash_entity(const struct tm_store *s, uint64_t key_hash, const struct tm_entity *e)
{
    if (e == NULL)
        return 0;
    uint64_t sum = tm_hash_meta(s, key_hash, e);
    if (tm_entity_type(e) == TM_ENTITY_STRING)
        return sum + tm_hash_field(s, key_hash, e);
    if (tm_entity_flags(e) & TM_ENTITY_LARGE)
        return sum + tm_entity_large(e)->hash_sum;
    struct tm_bytes rest = tm_packed_fields(e);
    const struct tm_entity *f;
    while ((f = tm_packed_next(&rest)) != NULL)
        sum += tm_hash_field(s, key_hash, f);
    return sum;
}
