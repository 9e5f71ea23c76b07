/* entity.h: one packed entity, and how to read it.
 *
 *   16 bytes   hlc; name length, value length, number of the origin, flags
 *   12 bytes   only if it expires or is large: ms since 1970, place in the expiry heap
 *   name       the key
 *   value      string: its bytes;  counter: base, then components (record.h)
 *              counter of a key that links carry: struct tm_counter_base, struct tm_counter_part…
 *              hash, set: u16 count, then the fields, each laid out as an entity of its own
 *              large hash, set: a pointer to struct tm_large, whose table holds the fields
 *
 * A blob is never changed in place, except a large one's stamp and expiry: a new one takes its
 * place in the table and the old one is kept for undo.  Above TM_PACKED_FIELDS fields or
 * TM_PACKED_BYTES bytes a hash or set becomes large: its fields lie in a table of their own.
 *
 * Readers (commands) use the functions of the first part; pointers and bytes live until the next
 * change of the store. */
#ifndef TM_STORAGE_ENTITY_H
#define TM_STORAGE_ENTITY_H

#include "storage/record.h"
#include "storage/table.h"

#define TM_PACKED_FIELDS 64
#define TM_PACKED_BYTES  2048

/* Both an entity and a field of one.  Blobs in tables are 16-aligned, packed fields are not: all
 * access goes through the functions below. */
struct tm_entity {
    uint64_t hlc;
    uint64_t meta; /* name_len:24 value_len:24 origin:8 flags:8 */
} __attribute__((packed));
TM_STATIC_ASSERT(sizeof(struct tm_entity) == 16, "the overhead beside key and value");

/* ---- Reading ---- */

/* What it is, and its key. */
enum tm_entity_type tm_entity_type(const struct tm_entity *e);
struct tm_bytes tm_entity_key(const struct tm_entity *e);

/* ms since 1970, 0 = does not expire. */
uint64_t tm_entity_expiry(const struct tm_entity *e);

/* A value as text.  Not to be copied: text may point to digits. */
struct tm_value {
    struct tm_bytes text;
    bool is_counter; /* then number is its value */
    int64_t number;
    char digits[24];
};

/* A string's value. */
void tm_entity_string(const struct tm_entity *e, struct tm_value *out);

/* A hash's field or a set's member (out may be NULL): false if it is not there. */
bool tm_entity_field(const struct tm_entity *e, struct tm_bytes name, struct tm_value *out);

/* Number of fields of a hash or set. */
uint64_t tm_entity_fields(const struct tm_entity *e);

/* What --max-entity-bytes bounds: key, names, values and 16 bytes a field. */
uint64_t tm_entity_bytes(const struct tm_entity *e);

/* Walks the fields of a hash or set, in an order fixed while the store does not change. */
struct tm_field_iter {
    const struct tm_entity *entity;
    struct tm_bytes packed; /* what is left of a packed one */
    struct tm_table_iter table;
};
/* Stands before the first field of e, a hash or set. */
void tm_field_first(struct tm_field_iter *it, const struct tm_entity *e);
/* The next field; value may be NULL.  False at the end. */
bool tm_field_next(struct tm_field_iter *it, struct tm_bytes *name, struct tm_value *value);

/* The field at that place, 0 .. tm_entity_fields - 1, of the same order. */
void tm_entity_field_at(const struct tm_entity *e, uint64_t place, struct tm_bytes *name,
                        struct tm_value *value);

/* HSCAN, SSCAN: as tm_store_scan, over fields.  A packed entity is visited in one call. */
typedef void tm_field_visit_fn(void *host, struct tm_bytes name, const struct tm_value *value);
uint64_t tm_entity_scan(const struct tm_entity *e, uint64_t cursor, unsigned want,
                        tm_field_visit_fn *visit, void *host);

/* Whether text is a decimal int64 as INCR takes it: no blanks, no plus, no leading zero. */
bool tm_value_int(struct tm_bytes text, int64_t *out);

/* ---- Layout, for storage itself ---- */

enum {
    TM_ENTITY_TYPE_MASK = 3,
    TM_ENTITY_EXPIRES = 4, /* the 12 bytes are there */
    TM_ENTITY_COUNTER = 8,
    TM_ENTITY_LARGE = 16,
    TM_ENTITY_BASED = 32 /* a counter that says what it counts from */
};
#define TM_ENTITY_EXPIRY_BYTES 12

/* What a based counter counts from, and what it counted: at (origin, term) this total, last changed
 * then. */
struct tm_counter_base {
    int64_t value;
    struct tm_op_version stamp;
};
struct tm_counter_part {
    struct tm_counter_component component;
    uint64_t hlc;
};
TM_STATIC_ASSERT(sizeof(struct tm_counter_base) == 24 && sizeof(struct tm_counter_part) == 32,
                 "frozen: they lie in snapshots");

/* The fields of a large hash or set. */
struct tm_large {
    struct tm_table fields;
    uint64_t key_hash;
    uint64_t bytes;    /* of names, values and 16 bytes a field */
    uint64_t hash_sum; /* of the fields' hashes */
    uint64_t touched;  /* index whose undo entry holds the stamp before it */
};

static inline unsigned tm_entity_flags(const struct tm_entity *e)
{
    return (unsigned)(e->meta >> 56);
}
static inline unsigned tm_entity_origin(const struct tm_entity *e)
{
    return (unsigned)(e->meta >> 48) & 0xff;
}
static inline size_t tm_entity_name_len(const struct tm_entity *e)
{
    return e->meta & TM_NAME_MAX;
}
static inline size_t tm_entity_value_len(const struct tm_entity *e)
{
    return e->meta >> 24 & TM_NAME_MAX;
}
static inline uint64_t tm_entity_meta(size_t name_len, size_t value_len, unsigned origin,
                                      unsigned flags)
{
    return name_len | (uint64_t)value_len << 24 | (uint64_t)origin << 48 | (uint64_t)flags << 56;
}
static inline size_t tm_entity_name_at(const struct tm_entity *e)
{
    return sizeof *e + (tm_entity_flags(e) & TM_ENTITY_EXPIRES ? TM_ENTITY_EXPIRY_BYTES : 0);
}
static inline struct tm_bytes tm_entity_name(const struct tm_entity *e)
{
    return tm_bytes_of((const uint8_t *)e + tm_entity_name_at(e), tm_entity_name_len(e));
}
static inline struct tm_bytes tm_entity_raw(const struct tm_entity *e)
{
    return tm_bytes_of((const uint8_t *)e + tm_entity_name_at(e) + tm_entity_name_len(e),
                       tm_entity_value_len(e));
}
static inline size_t tm_entity_size(const struct tm_entity *e)
{
    return tm_entity_name_at(e) + tm_entity_name_len(e) + tm_entity_value_len(e);
}
static inline struct tm_large *tm_entity_large(const struct tm_entity *e)
{
    return (struct tm_large *)(uintptr_t)tm_load64(tm_entity_raw(e).data); /* NOLINT */
}

/* The packed field of that name, or NULL; and the first and the next of a packed entity. */
const struct tm_entity *tm_packed_find(const struct tm_entity *e, struct tm_bytes name);
struct tm_bytes tm_packed_fields(const struct tm_entity *e);
const struct tm_entity *tm_packed_next(struct tm_bytes *rest);

/* The value of an entity or field as text; the sum of a counter's base and components. */
void tm_value_of(const struct tm_entity *e, struct tm_value *out);

#endif
