/* store_internal.h: the inside of a store, shared by the files store*.c.
 *
 *   store.c           life, writers, reads
 *   store_apply.c     what each operation does to an entity
 *   store_blob.c      making, hashing and freeing blobs
 *   store_counter.c   what counters hold
 *   store_undo.c      what is not committed: keep, commit, undo, seen
 *   store_expiry.c    the heap of what expires
 *   store_snapshot.c  items, slices, loading
 *   store_shadow.c    shadows, stamps
 *   store_keep.c      what local changes leave in shadows
 *   store_merge.c     changes that came over links
 *   store_plain.c     those of them that are plain
 *   store_floor.c     what was flushed
 *   store_collect.c   what is kept no longer
 *   store_versions.c  fields whose rule keeps several versions
 *   store_shared.c    what of a key is shared: hashes of it, and sending it
 *
 * Three tables of blobs exist: the partition's, its shadows', and one in each large entity.  They
 * change through tm_store_place and tm_field_place only, and each such change is one undo entry
 * {from, to}, which can be taken back and done again any number of times until it is committed or
 * undone. */
#ifndef TM_STORAGE_STORE_INTERNAL_H
#define TM_STORAGE_STORE_INTERNAL_H

#include "storage/entity.h"
#include "storage/store_link.h"
#include "storage/versions.h"

/* ---- Expiry: a binary heap; each blob knows its place in it ---- */

struct tm_expiry_slot {
    uint64_t ms;
    struct tm_entity *entity;
};
struct tm_expiry {
    struct tm_expiry_slot *slots;
    uint32_t count;
    uint32_t cap;
};

/* The blob, whose expiry is not 0, comes in or goes out. */
void tm_expiry_add(struct tm_expiry *x, struct tm_pool *pool, struct tm_entity *e);
void tm_expiry_remove(struct tm_expiry *x, struct tm_entity *e);

/* `to`, of the same expiry, takes the place of `from`. */
void tm_expiry_replace(struct tm_expiry *x, struct tm_entity *from, struct tm_entity *to);
void tm_expiry_free(struct tm_expiry *x, struct tm_pool *pool);

/* ---- Undo: a ring of entries, and per key hash a chain from the newest to the oldest ---- */

enum tm_undo_kind {
    TM_UNDO_ENTITY, /* from, to: blobs in the partition's table or the shadows', NULL = none */
    TM_UNDO_FIELD,  /* from, to: blobs in a large entity's table */
    TM_UNDO_STAMP,  /* the other stamp and expiry of a large entity, exchanged in place */
    TM_UNDO_FLUSH   /* the other table and heap, exchanged */
};

struct tm_flushed {
    struct tm_table table;
    struct tm_expiry expiry;
    uint64_t before; /* index of the uncommitted flush before, 0 = none */
};

struct tm_undo_entry {
    uint64_t index;
    uint64_t hash;  /* of the key, FIELD: of the field's name */
    uint64_t older; /* number of the next older entry of the same bucket, 0 = none */
    uint64_t delta; /* what it added to the state hash */
    enum tm_undo_kind kind;
    bool shadow; /* of a shadow */
    union {
        struct {
            struct tm_entity *from, *to;
            struct tm_large *large; /* FIELD */
        };
        struct {
            struct tm_entity *entity; /* STAMP */
            uint64_t hlc, expiry, touched;
            unsigned origin;
        };
        struct tm_flushed *flushed;
    };
};

struct tm_undo {
    struct tm_undo_entry *ring;
    uint64_t *heads; /* newest entry of a bucket */
    uint64_t cap;    /* of both, a power of two, or 0 */
    uint64_t first;  /* entries first .. next - 1 exist; numbers start at 1 */
    uint64_t next;
};

/* ---- The store ---- */

/* Who makes a change: the record's fields. */
struct tm_stamp {
    uint64_t index;
    uint64_t term;
    uint64_t hlc;
    uint64_t origin;
    unsigned origin_no; /* its number in this store */
};

/* What a change is about; e follows what the operations do to it. */
struct tm_target {
    struct tm_bytes key;
    uint64_t hash;
    enum tm_entity_type type;
    struct tm_entity *e;
};

/* A table whose blobs are being freed a few at a time. */
struct tm_dead {
    struct tm_table table;
    struct tm_table_iter at;
    struct tm_dead *next;
};

struct tm_load_range {
    uint64_t end; /* cursor behind the slice, 2^48 for the last */
    uint64_t index;
};

/* Names of the fields that FLUSHes left in the empty key's shadow. */
#define TM_FLOORS     16
#define TM_FLOOR_NAME 80
struct tm_floors {
    unsigned count;
    bool more; /* than there is room for */
    uint8_t len[TM_FLOORS];
    uint8_t name[TM_FLOORS][TM_FLOOR_NAME];
};

/* Memory that grows with what it was used for. */
enum {
    TM_SCRATCH_NAME,
    TM_SCRATCH_FIELD,
    TM_SCRATCH_VERSIONS,
    TM_SCRATCH_VALUE,
    TM_SCRATCH_RANGE,
    TM_SCRATCH_COUNT
};
struct tm_scratch {
    uint8_t *bytes;
    size_t cap;
};

struct tm_store {
    struct tm_pool pool;
    struct tm_table table;
    struct tm_expiry expiry;
    struct tm_undo undo;
    struct tm_dead *dead;
    uint64_t applied;
    uint64_t committed;
    uint64_t hash;           /* of the newest versions, shadows included */
    uint64_t hash_committed; /* of the committed ones */
    uint64_t flushed;        /* index of the newest uncommitted flush, 0 = none */
    uint64_t *origins;       /* by number */
    unsigned origin_count;
    uint32_t partition;

    bool open;     /* a record is under construction */
    uint32_t held; /* its length when hold was called, 0 = not held */
    enum tm_err open_err;
    struct tm_record_builder builder;
    struct tm_stamp own;   /* the record's */
    struct tm_stamp stamp; /* of the next operation */
    bool stamp_due;        /* and the record does not say so yet */
    unsigned new_origins;  /* that stamps brought */
    struct tm_target target;
    uint32_t target_change; /* the builder's change that target belongs to */

    struct tm_load_range *load;
    uint32_t load_count;
    uint32_t load_cap;
    uint64_t load_until;

    struct tm_table shadow;
    uint64_t hash_shadow;    /* what shadows are of `hash` */
    struct tm_stamp held_by; /* the stamp when hold was called */
    struct tm_link_policy policy;
    enum tm_entity_type last_type; /* of the last operation on no shadow */
    uint64_t whole; /* hash of the key that the record made anew last (entity-lww); 0: none */
    bool merging;   /* the shadows are seen to by who writes */
    struct tm_scratch scratch[TM_SCRATCH_COUNT];
    struct tm_floors *floors; /* NULL: nothing was flushed that others share */
};

static inline bool tm_is_shadow(const struct tm_entity *e)
{
    return (tm_entity_flags(e) & TM_ENTITY_TYPE_MASK) == TM_ENTITY_SHADOW;
}

/* The table that entities of that type are in. */
static inline struct tm_table *tm_store_table(struct tm_store *s, enum tm_entity_type type)
{
    return type == TM_ENTITY_SHADOW ? &s->shadow : &s->table;
}

/* The origin's number, made if new; -1 if there are 256 already. */
int tm_store_origin_no(struct tm_store *s, uint64_t origin);

/* Puts `to` in the place of `from` (NULL: nothing), both shadows or neither, of that key hash:
 * table and expiry. */
void tm_store_place(struct tm_store *s, uint64_t hash, struct tm_entity *from,
                    struct tm_entity *to);

/* The same for a field of a large entity. */
void tm_field_place(struct tm_store *s, struct tm_large *large, uint64_t hash,
                    struct tm_entity *from, struct tm_entity *to);

/* ---- store_apply.c ---- */

void tm_target_set(struct tm_store *s, struct tm_target *t, struct tm_bytes key,
                   enum tm_entity_type type);
void tm_target_apply(struct tm_store *s, struct tm_target *t, const struct tm_stamp *by,
                     const struct tm_op *op);

/* The field holds these raw bytes; flags is 0 or TM_ENTITY_COUNTER. */
void tm_target_put(struct tm_store *s, struct tm_target *t, const struct tm_stamp *by,
                   struct tm_bytes name, struct tm_bytes raw, unsigned flags);

/* The entity, which exists, has this stamp and expiry. */
void tm_target_stamp(struct tm_store *s, struct tm_target *t, const struct tm_stamp *by,
                     uint64_t expiry);

/* The entity, if there is one, has this expiry and the stamp that it had. */
void tm_target_expiry(struct tm_store *s, struct tm_target *t, const struct tm_stamp *by,
                      uint64_t ms);

/* The blob of the field (a string's is the entity), or NULL. */
const struct tm_entity *tm_target_field(const struct tm_target *t, struct tm_bytes name);

/* Components beyond this number are folded into the base, the oldest term of the origin first. */
#define TM_COUNTER_COMPONENTS 64
#define TM_COUNTER_BYTES      (8 + TM_COUNTER_COMPONENTS * sizeof(struct tm_counter_component))
#define TM_COUNTER_BASED_BYTES                                                                     \
    (sizeof(struct tm_counter_base) + TM_COUNTER_COMPONENTS * sizeof(struct tm_counter_part))

/* ---- store_counter.c ---- */

/* What COUNTER and COUNTER_AT make of the field. */
void tm_counter_put(struct tm_store *s, struct tm_target *t, const struct tm_stamp *by,
                    const struct tm_op *op);

static inline bool tm_is_based(const struct tm_entity *field)
{
    return field != NULL && (tm_entity_flags(field) & TM_ENTITY_BASED) != 0;
}

/* The base of a based counter; its component (origin, term), false if it has none; and all of
 * them. */
struct tm_counter_base tm_counter_base_of(const struct tm_entity *field);
bool tm_counter_part_of(const struct tm_entity *field, uint64_t origin, uint64_t term,
                        struct tm_counter_part *out);
unsigned tm_counter_parts(const struct tm_entity *field);
struct tm_counter_part tm_counter_part_at(const struct tm_entity *field, unsigned place);

/* The component's total, 0 if the field, which may be NULL or of any form, has none. */
uint64_t tm_counter_total(const struct tm_entity *field, uint64_t origin, uint64_t term);

/* Changes of the record `own`, the first of them stamped as `first` says. */
void tm_changes_apply(struct tm_store *s, struct tm_bytes body, const struct tm_stamp *own,
                      const struct tm_stamp *first);
void tm_store_apply_flush(struct tm_store *s, uint64_t index);

/* Before the counter in that field is added to: the base that it counts from. */
void tm_keep_add(struct tm_store *s, struct tm_bytes key, enum tm_entity_type type,
                 struct tm_bytes name, struct tm_counter_base *base);

struct tm_kept;

/* That memory, of at least so many bytes; what it held is gone. */
uint8_t *tm_store_scratch(struct tm_store *s, unsigned which, size_t len);

/* Encodes the operation and applies it, unless held. */
void tm_store_op(struct tm_store *s, struct tm_bytes key, enum tm_entity_type type,
                 enum tm_op_code code, struct tm_bytes name, struct tm_bytes value);

/* The same of an entity that was looked up since it changed last; nothing is held, and shadows are
 * seen to. */
void tm_store_op_on(struct tm_store *s, const struct tm_kept *k, enum tm_entity_type type,
                    const struct tm_op *op);

/* ---- store_shadow.c ---- */

/* The stamp that a STAMPED operation's value gives the operations after it; false if its origin
 * has no number and there is none left. */
bool tm_stamp_of(struct tm_store *s, const struct tm_stamp *own, struct tm_bytes value,
                 struct tm_stamp *out);

/* Whether all origins that stamps in these changes name have numbers, or get them. */
bool tm_stamps_fit(struct tm_store *s, struct tm_bytes body);

/* Origins that the stamps of one record may bring, and number from which on they are counted
 * before anything is applied. */
#define TM_ORIGINS_A_RECORD 64
#define TM_ORIGINS_AMPLE    128

/* Visits the next entities in hash order from `at` on and the shadows among them, none with a hash
 * of `end` or above (0: there is no end); returns where to go on from, 0 after all. */
uint64_t tm_store_step(const struct tm_store *s, uint64_t at, uint64_t end,
                       tm_table_visit_fn *visit, void *host);

/* The field of a hash, set or shadow, NULL if it is not there; a string itself. */
const struct tm_entity *tm_field_find(const struct tm_entity *e, struct tm_bytes name);

/* ---- store_plain.c ---- */

/* Merges the change of a key with that hash if it is plain: as tm_link_merge would, and then it is
 * APPLIED.  False: it is not, or not known to be; nothing was done. */
bool tm_merge_plain(struct tm_store *s, const struct tm_link_change *change, uint64_t hash);

/* ---- store_floor.c ---- */

/* The empty key's shadow has, or had, a field of that name. */
void tm_floors_note(struct tm_store *s, struct tm_bytes name);
void tm_floors_free(struct tm_store *s);

/* Raises the floor to that of the latest FLUSH that covers the key and was made after `past` (HLC);
 * s->floors is not NULL. */
void tm_floors_raise(const struct tm_store *s, struct tm_bytes key, uint64_t past,
                     struct tm_op_version *floor);

/* ---- store_collect.c ---- */

struct tm_versions;

/* Whether the register of expiry, the versions (all deletions), say nothing any more that is not
 * settled up to that HLC. */
bool tm_is_past_expiry(const struct tm_kept *k, uint64_t through);
bool tm_is_past_versions(const struct tm_versions *v, uint64_t through);

/* Before a counter of that field is merged that counts from nothing: who made it knew of all that
 * is settled, so what is kept up to there, which is returned, and would kill it, goes; the rest of
 * what is kept of the key does not, for others compare it still. */
uint64_t tm_collect_for_counter(struct tm_store *s, struct tm_bytes key, enum tm_entity_type type,
                                struct tm_bytes name);

/* ---- store_keep.c ---- */

/* What is known of a key; to be looked up again after each change. */
struct tm_kept {
    struct tm_bytes key;
    uint64_t hash;
    const struct tm_entity *e, *shadow; /* NULL: none */
    struct tm_op_version floor;         /* what has a smaller stamp is dead; 0, 0: nothing */
    bool flushed;                       /* the floor is that of a FLUSH, not the key's own */
    bool has_expiry;                    /* the register is there and not dead */
    bool dead_expiry;                   /* it is there, and below a FLUSH */
    struct tm_op_version expiry;
    uint64_t expiry_ms; /* 0: does not expire */
};
void tm_kept_look(const struct tm_store *s, struct tm_bytes key, struct tm_kept *k);

/* The same, where the key's hash is known. */
void tm_kept_look_at(const struct tm_store *s, struct tm_bytes key, uint64_t hash,
                     struct tm_kept *k);

/* The HLC at which a life that expires then is over: when it expires, or, where clocks of other
 * clusters are ahead of the one that it was told by, right after it was told to. */
uint64_t tm_kept_over(const struct tm_kept *k);

/* The type that the key's living and deleted fields are of, and the greatest of their stamps;
 * false if there are none. */
bool tm_kept_life(const struct tm_store *s, const struct tm_kept *k, enum tm_entity_type *type,
                  struct tm_op_version *newest);

/* A tombstone, or versions, among the fields of a shadow. */
bool tm_is_tomb(const struct tm_entity *field);
bool tm_is_versions(const struct tm_entity *field);

/* Walks all fields of a hash, set or shadow, while the store does not change. */
struct tm_fields {
    struct tm_bytes packed;
    struct tm_table_iter table;
    bool large;
};
void tm_fields_first(struct tm_fields *f, const struct tm_entity *e);
const struct tm_entity *tm_fields_next(struct tm_fields *f);

/* The stamp of the field as links compare it; and the names of its tombstone and of its versions,
 * in memory of the store's that holds until the next call of either. */
struct tm_op_version tm_kept_stamp(const struct tm_store *s, const struct tm_entity *field);
struct tm_bytes tm_tomb_name(struct tm_store *s, struct tm_bytes name);
struct tm_bytes tm_versions_name(struct tm_store *s, struct tm_bytes name);

/* The least stamp above that one; no record's. */
static inline struct tm_op_version tm_stamp_after(struct tm_op_version v)
{
    return (struct tm_op_version){v.hlc, v.origin + 1};
}

/* Before a local operation is written: writes what the shadow has to say of it, and makes it the
 * operation that goes with that.  False: it does nothing here, and is not to be written. */
bool tm_keep(struct tm_store *s, struct tm_bytes key, enum tm_entity_type type, struct tm_op *op);

/* Before the entity, which is due, is expired; true if that is all done, for some of it is newer
 * than the time it expired. */
bool tm_keep_expire(struct tm_store *s, struct tm_bytes key);

/* The shadow's field holds this, under that stamp; the stamp that was set comes back. */
void tm_keep_shadow(struct tm_store *s, struct tm_bytes key, struct tm_bytes name,
                    struct tm_bytes value, struct tm_op_version stamp);

/* The key's floor rises to that stamp, and no tombstone and no register of expiry is left. */
void tm_keep_floor_only(struct tm_store *s, struct tm_bytes key, struct tm_op_version floor);

/* Deletes the fields (of the entity of that type, of a shadow: the tombstones) that have a stamp
 * below that one, or equal if `too`; of a shadow also what is such of versions, and the fields
 * become what is left of theirs. */
void tm_kept_cut(struct tm_store *s, struct tm_bytes key, enum tm_entity_type type,
                 struct tm_op_version floor, bool too);

/* Derived from what other operations say, so nothing to tell other clusters: TM_ORIGIN_NONE. */
void tm_store_stamp_derived(struct tm_store *s);

/* ---- store_versions.c ---- */

/* The rule of a field of a key that several clusters write. */
struct tm_conflict_rule tm_store_rule(const struct tm_store *s, struct tm_bytes key,
                                      struct tm_bytes name);

/* Whether the field keeps versions: by its rule, or since there are some. */
bool tm_has_versions(struct tm_store *s, const struct tm_kept *k, struct tm_bytes name,
                     const struct tm_conflict_rule *rule);

/* Those of the field, none below the floor; a plain field's, or a tombstone, is one. */
void tm_versions_load(struct tm_store *s, const struct tm_kept *k, enum tm_entity_type type,
                      struct tm_bytes name, struct tm_versions *v);

/* Before a local SET_FIELD or DEL_FIELD of a field that keeps versions is written: writes its
 * version, and makes the operation what goes with that.  False: all is done. */
bool tm_keep_version(struct tm_store *s, const struct tm_kept *k, enum tm_entity_type type,
                     struct tm_op *op, const struct tm_conflict_rule *rule);

/* Adds to a number in a field that keeps versions: false if it keeps none. */
bool tm_versions_add(struct tm_store *s, struct tm_bytes key, enum tm_entity_type type,
                     struct tm_bytes name, int64_t delta);

/* The field has these versions (none: it is gone), written under the present stamp, and becomes
 * what the rule makes of them.  True if that changed anything; *shown is what it reads as now. */
bool tm_versions_write(struct tm_store *s, struct tm_bytes key, struct tm_bytes name,
                       struct tm_versions *v, const struct tm_conflict_rule *rule,
                       struct tm_conflict_side *shown);

/* The floor of the key has risen: of the versions in the shadow's field of that name. */
void tm_versions_sink(struct tm_store *s, struct tm_bytes key, struct tm_bytes shadow_name,
                      struct tm_op_version floor, bool too);

/* ---- store_undo.c ---- */

void tm_undo_entity(struct tm_store *s, uint64_t index, uint64_t hash, struct tm_entity *from,
                    struct tm_entity *to, uint64_t delta);
void tm_undo_field(struct tm_store *s, uint64_t index, uint64_t hash, const struct tm_target *t,
                   struct tm_entity *from, struct tm_entity *to, uint64_t delta);
/* Gives a large entity a new stamp and expiry; the entry holds those before. */
void tm_undo_stamp(struct tm_store *s, const struct tm_stamp *by, uint64_t hash,
                   struct tm_entity *e, uint64_t expiry);
void tm_undo_flush(struct tm_store *s, uint64_t index, uint64_t delta);
void tm_undo_free(struct tm_store *s);

/* Takes back and forgets what has an index above that one. */
void tm_undo_above(struct tm_store *s, uint64_t down_to);

/* Takes all uncommitted effects back without forgetting them, and does them again. */
void tm_undo_hide(struct tm_store *s);
void tm_undo_show(struct tm_store *s);

/* ---- store_blob.c ---- */

/* Values and stamps of a blob to be made. */
struct tm_blob {
    struct tm_bytes name;
    struct tm_bytes value;
    uint64_t hlc;
    uint64_t expiry; /* 0 = none */
    unsigned origin;
    unsigned flags; /* type, COUNTER, LARGE; EXPIRES is derived */
};
size_t tm_blob_size(const struct tm_blob *b);
void tm_blob_write(const struct tm_blob *b, void *at);
struct tm_entity *tm_blob_new(struct tm_store *s, const struct tm_blob *b);

/* Frees a blob; a large one's fields later, by and by. */
void tm_blob_free(struct tm_store *s, struct tm_entity *e);
void tm_dead_add(struct tm_store *s, struct tm_table *table);

/* A packed entity like e (or new if NULL) under a new stamp, in which the field of that name is
 * `field`, or gone if NULL. */
struct tm_entity *tm_packed_edit(struct tm_store *s, const struct tm_target *t,
                                 const struct tm_stamp *by, struct tm_bytes name,
                                 const struct tm_blob *field);

/* The same with nothing but stamp and expiry changed.  Not for large ones. */
struct tm_entity *tm_blob_restamped(struct tm_store *s, const struct tm_entity *e,
                                    const struct tm_stamp *by, uint64_t expiry);

/* An empty large entity, and moving a packed one's fields into it. */
struct tm_entity *tm_large_new(struct tm_store *s, struct tm_bytes key, uint64_t hash,
                               enum tm_entity_type type, const struct tm_stamp *by,
                               uint64_t expiry);
void tm_large_fill(struct tm_store *s, struct tm_entity *large, const struct tm_entity *packed);

void tm_entity_set_stamp(struct tm_entity *e, uint64_t hlc, unsigned origin);

/* Parts of the state hash: of a field (0 for NULL), of stamp, type and expiry, and of all. */
uint64_t tm_hash_field(const struct tm_store *s, uint64_t key_hash, const struct tm_entity *f);
uint64_t tm_hash_meta(const struct tm_store *s, uint64_t key_hash, const struct tm_entity *e);
uint64_t tm_hash_entity(const struct tm_store *s, uint64_t key_hash, const struct tm_entity *e);

#endif
