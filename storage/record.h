/* record.h: the one unit that is logged, shipped to followers and carried by cluster links.
 *
 * A record is a 64-byte header, a body, and zeros up to a multiple of 8 bytes.  It is encoded once
 * by the partition's leader; the same bytes go to disk and to every peer, under the header's own
 * checksum.  `prev_hash` is the checksum of the partition's previous record, so equal checksums at
 * an index mean equal prefixes.  All numbers are little-endian; the layout is frozen; kinds and
 * operations are append-only.  Nothing here allocates; every function may be called from any
 * thread.
 *
 * The body of EFFECT and FLUSH is a list of changes, applied in order and as a whole:
 *
 *   change:    u32 size (all of it, its operations included), u16 key_len, u8 type, u8 0,
 *              key, operations
 *   operation: u32 code | name_len << 8, u32 value_len, name, value
 *
 * without padding between.  FLUSH first removes whatever the partition held.  The bodies of all
 * other kinds are opaque here. */
#ifndef TM_STORAGE_RECORD_H
#define TM_STORAGE_RECORD_H

#include "runtime/base.h"

/* X(name, number, text).  Append only.  Numbers from 64 on are local to one log: they are never
 * shipped, carry no index of their own, and belong to storage/wal. */
#define TM_RECORD_KIND_LIST(X)                                                                     \
    X(NOOP, 1, "nothing; a leader's first record of its term")                                     \
    X(EFFECT, 2, "changes of entities")                                                            \
    X(FLUSH, 3, "removes everything of a smaller index, then changes of entities")                 \
    X(CONFIG, 4, "voters and in-sync set of the partition")                                        \
    X(SYSTEM, 5, "data of the directory")                                                          \
    X(CUT, 64, "the partition's suffix from `index` on is removed")                                \
    X(HARD_STATE, 65, "term, vote and configuration epoch")                                        \
    X(MOVED, 66, "the partition goes on here: old log, sequence, tail hash")                       \
    X(RESET, 67, "the partition's log goes on after a snapshot at `index`")                        \
    X(REPAIR, 68, "the body is a record that was lost to rot, given back by a peer")               \
    X(SUSPECT, 69, "what followed was damaged: it may have been acknowledged")                     \
    X(CLEAR, 70, "the partition's tail is no longer suspect")                                      \
    X(FORGET, 71, "as RESET, but what the log held is missing: it is suspect")

enum tm_record_kind {
#define X(name, number, text) TM_RECORD_##name = number,
    TM_RECORD_KIND_LIST(X)
#undef X
};
#define TM_RECORD_LOCAL_FIRST 64

/* X(name, number, text).  Append only. */
#define TM_OP_LIST(X)                                                                              \
    X(SET_FIELD, 1, "the field `name` holds `value`; makes the entity if there is none")           \
    X(DEL_FIELD, 2, "the field is gone; a hash or set left without fields is gone too")            \
    X(COUNTER, 3, "component (origin, term) of the counter `name` has this running total")         \
    X(DEL_ENTITY, 4, "the entity is gone with all it held; later operations may make it anew")     \
    X(EXPIRE_ENTITY, 5, "as DEL_ENTITY, if its stamp is still the one named: it is expired")       \
    X(SET_EXPIRY, 6, "the entity expires at this many ms since 1970")                              \
    X(PERSIST, 7, "the entity does not expire")                                                    \
    X(MERGED, 8,                                                                                   \
      "what follows in this record was made by record (term, index), cut off elsewhere")           \
    X(STAMPED, 9, "what follows in this record carries this stamp; 0, 0: the record's own")        \
    X(EXPIRY, 10, "the entity expires at this many ms since 1970, 0 = never; its stamp stays")     \
    X(COUNTER_AT, 11, "as COUNTER, and says what the total counts from")                           \
    X(FOLDED, 12, "as SET_FIELD, of what follows from the field's versions (storage/versions.h)")

enum tm_op_code {
#define X(name, number, text) TM_OP_##name = number,
    TM_OP_LIST(X)
#undef X
};

/* What an entity is.  A string is one field with an empty name, a set's members are fields with
 * empty values.  A change of another type than the entity has replaces it.  A shadow is what links
 * keep of a key, beside its entity (storage/store_link.h): no command sees it. */
enum tm_entity_type {
    TM_ENTITY_STRING = 0,
    TM_ENTITY_HASH = 1,
    TM_ENTITY_SET = 2,
    TM_ENTITY_SHADOW = 3
};

struct tm_record {
    uint32_t length; /* of all: header, body, padding; a multiple of 8 */
    uint16_t kind;
    uint16_t flags; /* none defined yet: 0 */
    uint32_t partition;
    uint32_t body_len; /* without the padding */
    uint64_t term;
    uint64_t index;     /* from 1 */
    uint64_t hlc;       /* 48 bits of ms, 16 of count: when the change was made */
    uint64_t origin;    /* incarnation of the cluster where it was made */
    uint64_t prev_hash; /* checksum of the partition's previous record, 0 for the first */
    uint64_t checksum;  /* XXH3-64 over all `length` bytes with this field zero */
};
TM_STATIC_ASSERT(sizeof(struct tm_record) == 64, "frozen");
TM_STATIC_ASSERT(offsetof(struct tm_record, kind) == 4, "frozen");
TM_STATIC_ASSERT(offsetof(struct tm_record, flags) == 6, "frozen");
TM_STATIC_ASSERT(offsetof(struct tm_record, partition) == 8, "frozen");
TM_STATIC_ASSERT(offsetof(struct tm_record, body_len) == 12, "frozen");
TM_STATIC_ASSERT(offsetof(struct tm_record, term) == 16, "frozen");
TM_STATIC_ASSERT(offsetof(struct tm_record, index) == 24, "frozen");
TM_STATIC_ASSERT(offsetof(struct tm_record, hlc) == 32, "frozen");
TM_STATIC_ASSERT(offsetof(struct tm_record, origin) == 40, "frozen");
TM_STATIC_ASSERT(offsetof(struct tm_record, prev_hash) == 48, "frozen");
TM_STATIC_ASSERT(offsetof(struct tm_record, checksum) == 56, "frozen");

/* Limits of every record.  A name or value of an operation, and a key, are bounded by them. */
#define TM_RECORD_MAX ((uint32_t)TM_MIB(4))
#define TM_KEY_MAX    65535u
#define TM_NAME_MAX   ((1u << 24) - 1)

/* The value of a COUNTER operation.  The counter's value is its base (what SET_FIELD wrote last,
 * else 0) plus all components, modulo 2^64. */
struct tm_counter_component {
    uint64_t origin;
    uint64_t term;
    int64_t total;
};
TM_STATIC_ASSERT(sizeof(struct tm_counter_component) == 24, "frozen");

/* The value of a COUNTER_AT operation: the component, and the base that it counts from: what
 * SET_FIELD wrote with this stamp, or nothing since this floor (then value is 0).  A later base
 * takes the place of an earlier one and of its components. */
struct tm_counter_at {
    struct tm_counter_component component;
    uint64_t base_hlc;
    uint64_t base_origin;
    int64_t base_value;
};
TM_STATIC_ASSERT(sizeof(struct tm_counter_at) == 48, "frozen");

/* The value of an EXPIRE_ENTITY operation: the version that it kills; and of STAMPED, which changes
 * nothing and holds for all operations after it, up to the next one, whatever their keys.
 * SET_EXPIRY's value is a u64, and EXPIRY's. */
struct tm_op_version {
    uint64_t hlc;
    uint64_t origin;
};
TM_STATIC_ASSERT(sizeof(struct tm_op_version) == 16, "frozen");

/* The value of a MERGED operation, which changes nothing: it holds for all operations after it, up
 * to the next one, whatever their keys. */
struct tm_op_source {
    uint64_t term;
    uint64_t index;
};
TM_STATIC_ASSERT(sizeof(struct tm_op_source) == 16, "frozen");

static inline struct tm_bytes tm_record_body(const struct tm_record *r)
{
    return tm_bytes_of(r + 1, r->body_len);
}

/* The length of a record with that body: header, body, padding. */
static inline uint32_t tm_record_length(uint32_t body_len)
{
    return (uint32_t)tm_align_up(sizeof(struct tm_record) + body_len, 8);
}

/* Completes a record whose header fields (all but length and checksum) and body are in place:
 * zeroes the padding, sets length and checksum.  Assumes that the buffer has room for
 * tm_record_length(body_len) bytes, which is at most TM_RECORD_MAX. */
void tm_record_seal(struct tm_record *r);

/* Whether `avail` bytes at 8-aligned `p`, from outside, begin with a whole and valid record:
 * length, checksum, padding, kind, and, for EFFECT and FLUSH, every change and operation.  After
 * TM_OK the record may be read, iterated and applied without further checks.  TM_ERR_AGAIN: avail
 * ends before the record does (no damage seen so far); TM_ERR_CORRUPT: not a record, or damaged;
 * TM_ERR_VERSION: intact, but of a kind or with flags or operations unknown here. */
enum tm_err tm_record_check(const void *p, size_t avail);

/* The kind's name ("EFFECT") and the operation's, or "UNKNOWN".  Static storage. */
const char *tm_record_kind_name(unsigned kind);
const char *tm_op_name(unsigned code);

/* A change and an operation of a checked record; the bytes point into it. */
struct tm_change {
    struct tm_bytes key;
    enum tm_entity_type type;
    struct tm_bytes ops;
};
struct tm_op {
    enum tm_op_code code;
    struct tm_bytes name;
    struct tm_bytes value;
};

/* Bytes of a change and of an operation before the key, and before the name. */
#define TM_CHANGE_HEAD 8u
#define TM_OP_HEAD     8u

/* Write those bytes.  The first four of a change are its size, which is said at its end. */
static inline void tm_change_head(uint8_t *at, struct tm_bytes key, enum tm_entity_type type)
{
    tm_store32(at, 0);
    tm_store16(at + 4, (uint16_t)key.len);
    at[6] = (uint8_t)type;
    at[7] = 0;
}
static inline void tm_op_head(uint8_t *at, const struct tm_op *op)
{
    tm_store32(at, (uint32_t)op->code | (uint32_t)op->name.len << 8);
    tm_store32(at + 4, (uint32_t)op->value.len);
}

/* Take the next one off the front of `rest`, which starts as tm_record_body(r) of an EFFECT or
 * FLUSH, or as change->ops.  False at the end.  Only for bytes that tm_record_check passed. */
bool tm_change_next(struct tm_bytes *rest, struct tm_change *change);
bool tm_op_next(struct tm_bytes *rest, struct tm_op *op);

/* Whether the bytes are a well-formed body of an EFFECT or FLUSH record: what tm_record_check asks
 * of a body, without the header. */
enum tm_err tm_changes_check(struct tm_bytes body);

/* Builds a record in the caller's buffer: begin, then operations grouped by key, then end.  Ops on
 * the key and type of the operation before go into the same change.  Lives in one thread. */
struct tm_record_builder {
    uint8_t *buf; /* 8-aligned, the caller's */
    uint32_t cap;
    uint32_t used;   /* header and body so far */
    uint32_t change; /* offset of the open change, 0 = none */
};

/* Starts a record of that kind with the given fields in a buffer of cap bytes, at least 64 and
 * 8-aligned.  `head` gives partition, term, index, hlc, origin and prev_hash; it is copied. */
void tm_record_begin(struct tm_record_builder *b, void *buf, size_t cap, enum tm_record_kind kind,
                     const struct tm_record *head);

/* Appends one operation.  On success *at is where its bytes lie in the buffer.  A value without
 * data (but with a length) is left for the caller to fill in there.  TM_ERR_TOOBIG: the
 * buffer, TM_RECORD_MAX or a limit of key and name does not allow it; nothing was appended. */
enum tm_err tm_record_op(struct tm_record_builder *b, struct tm_bytes key, enum tm_entity_type type,
                         const struct tm_op *op, struct tm_op *at);

/* The same of a change of its own: STAMPED, which says `stamp`, and then the operation. */
enum tm_err tm_record_stamped(struct tm_record_builder *b, struct tm_bytes key,
                              enum tm_entity_type type, struct tm_op_version stamp,
                              const struct tm_op *op, struct tm_op *at);

/* Forgets all changes and makes the record a FLUSH. */
void tm_record_flush(struct tm_record_builder *b);

/* True if no operation and no flush was added. */
bool tm_record_empty(const struct tm_record_builder *b);

/* Seals and returns the record, which lies at the start of the caller's buffer. */
struct tm_record *tm_record_end(struct tm_record_builder *b);

#endif
