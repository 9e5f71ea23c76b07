/* store.h: the state of one partition: its entities, what is not committed yet, what expires when.
 *
 * Two ways in, one way through.  A leader opens a record with tm_store_begin, calls writers, and
 * closes it with tm_store_finish: each writer encodes an operation into the record and applies it
 * from those same bytes.  Followers and replay hand whole records to tm_store_apply.  Equal records
 * in equal order give equal states (tm_store_state_hash).
 *
 * What a record changed stays undoable until tm_store_commit: older versions lie beside the newest
 * (old blobs of entities and fields, whole tables for FLUSH).  Reads here are of the newest
 * version; tm_store_seen says on which uncommitted index what was read depends.
 *
 * A store belongs to one worker and is used on its thread only.  Memory comes from the worker's
 * arena (storage/arena.h): allocation does not fail, --memory-limit is the caller's to enforce by
 * tm_store_bytes before it writes.  Pointers to entities and their bytes live until the next call
 * that changes the store. */
#ifndef TM_STORAGE_STORE_H
#define TM_STORAGE_STORE_H

#include "storage/record.h"

struct tm_arena;  /* storage/arena.h */
struct tm_store;  /* opaque */
struct tm_entity; /* storage/entity.h: reading an entity's type, fields, expiry, stamp */

/* An empty store of that partition at index 0, in the worker's arena, which outlives it. */
struct tm_store *tm_store_new(struct tm_arena *arena, uint32_t partition);

/* Frees the store and all it holds, undone or not. */
void tm_store_delete(struct tm_store *s);

/* ---- Records ---- */

/* Opens a record in buf (8-aligned, cap bytes, up to TM_RECORD_MAX; it stays the caller's and must
 * not move until finish).  head gives term, index, hlc, origin and prev_hash of the record; its
 * partition is the store's.  Assumes that no record is open and that index is above the newest
 * applied one. */
void tm_store_begin(struct tm_store *s, void *buf, size_t cap, const struct tm_record *head);

/* Closes the record.  *out is the sealed record, applied speculatively under its index, or NULL if
 * no writer was called (nothing happened).  TM_ERR_TOOBIG: some writer found no room in buf or
 * exceeded a limit of record.h; then all of the record was undone and *out is NULL. */
enum tm_err tm_store_finish(struct tm_store *s, struct tm_record **out);

/* Closes the record and undoes all of it. */
void tm_store_abort(struct tm_store *s);

/* Applies a record that tm_record_check passed, of any kind that is not local to a log; kinds
 * without changes only move the index.  With `speculative` it stays undoable, else it is committed
 * at once (then everything before it must be committed).  Indices must rise: TM_ERR_INVALID else.
 * TM_ERR_TOOBIG if it brings the 256th origin (nothing was applied). */
enum tm_err tm_store_apply(struct tm_store *s, const struct tm_record *r, bool speculative);

/* Everything up to and including index is committed: frees what undoing it would have needed.
 * Lower than before is ignored. */
void tm_store_commit(struct tm_store *s, uint64_t index);

/* Undoes, newest first, every record with an index above down_to, which is not below what was
 * committed.  State and state hash are what they were when down_to was applied. */
void tm_store_undo(struct tm_store *s, uint64_t down_to);

/* Frees up to that many blobs of what FLUSH and deleted large entities left behind; true if some
 * are left.  Commit does a few each time by itself; call this when idle. */
bool tm_store_tidy(struct tm_store *s, unsigned blobs);

/* Index of the newest record applied, and of the newest committed one. */
uint64_t tm_store_applied(const struct tm_store *s);
uint64_t tm_store_committed(const struct tm_store *s);

/* ---- Looking ahead ----
 *
 * A change of an entity waits for memory some five times, each time for what the one before led to.
 * Who has several changes at hand lets each of them fetch one thing in turn.  A hint: nothing is
 * changed, and what it names may be changed or freed in the meantime. */
struct tm_store_ahead {
    const struct tm_store *store;
    uint64_t hash;
    unsigned step;
};

/* Fetches the store itself, which the rest reads. */
void tm_store_prefetch(const struct tm_store *s);

/* To come is a change of that key. */
void tm_store_ahead(struct tm_store_ahead *a, const struct tm_store *s, struct tm_bytes key);

/* To come is that record, checked (tm_record_check); only the first of its keys is looked at. */
void tm_store_ahead_record(struct tm_store_ahead *a, const struct tm_store *s,
                           const struct tm_record *record);

#define TM_STORE_AHEAD_STEPS 4 /* calls of tm_store_ahead_step that fetch all */

/* Fetches the next thing.  The store is still there. */
void tm_store_ahead_step(struct tm_store_ahead *a);

/* ---- Writers: only between begin and finish ----
 *
 * None of them fails by itself: what does not fit makes tm_store_finish undo the whole record.
 * Keys are 1..TM_KEY_MAX bytes, or also empty; names and values as record.h says.  The bytes given
 * may point into the store: they are copied into the record before anything changes. */

/* The field holds value.  Makes the entity, or replaces one of another type.  For a string name is
 * empty, for a set value is.  Expiry of an entity of that type stays. */
void tm_store_set_field(struct tm_store *s, struct tm_bytes key, enum tm_entity_type type,
                        struct tm_bytes name, struct tm_bytes value);

/* The field is gone.  The last field of a hash or set takes the entity with it. */
void tm_store_del_field(struct tm_store *s, struct tm_bytes key, enum tm_entity_type type,
                        struct tm_bytes name);

/* Adds delta to the counter in that field, which is absent or reads as a decimal int64 (see
 * tm_value_int); the caller checked that the sum is in range.  The effect is the new running total
 * of the record's (origin, term). */
void tm_store_add(struct tm_store *s, struct tm_bytes key, enum tm_entity_type type,
                  struct tm_bytes name, int64_t delta);

/* The entity is gone; nothing if there is none. */
void tm_store_del(struct tm_store *s, struct tm_bytes key);

/* As del, recorded as the expiry of the present version. */
void tm_store_expire(struct tm_store *s, struct tm_bytes key);

/* The entity, which exists, expires at ms since 1970 (0 counts as 1), or never. */
void tm_store_set_expiry(struct tm_store *s, struct tm_bytes key, uint64_t ms);
void tm_store_persist(struct tm_store *s, struct tm_bytes key);

/* The string's value, filled up with zeros to offset, has these bytes there (APPEND, SETRANGE).
 * Makes the entity, or replaces one of another type. */
void tm_store_set_range(struct tm_store *s, struct tm_bytes key, size_t offset,
                        struct tm_bytes bytes);

/* The operation as it is, from another record that was checked (a merge): a COUNTER's component
 * keeps its origin, term and total. */
void tm_store_write(struct tm_store *s, struct tm_bytes key, enum tm_entity_type type,
                    const struct tm_op *op);

/* Everything is gone but shadows (storage/store_link.h).  What the record did before is taken back,
 * also what it did to shadows. */
void tm_store_flush(struct tm_store *s);

/* Between hold and release the writers set_field, del_field, del, set_expiry and persist only
 * encode: reads still see, and walks still go over, the state before.  Release applies it all.
 * For set_expiry of an entity that is made meanwhile: directly after its fields. */
void tm_store_hold(struct tm_store *s);
void tm_store_release(struct tm_store *s);

/* ---- Reads of the newest version ---- */

/* The entity, or NULL. */
const struct tm_entity *tm_store_find(const struct tm_store *s, struct tm_bytes key);

/* The highest uncommitted index that touched the key, 0 if none: its absence counts, and FLUSH. */
uint64_t tm_store_seen(const struct tm_store *s, struct tm_bytes key);

/* The highest uncommitted index that changed anything, 0 if none (DBSIZE, SCAN, RANDOMKEY). */
uint64_t tm_store_seen_any(const struct tm_store *s);

/* Number of entities, and bytes of memory held (uncommitted old versions included). */
uint64_t tm_store_count(const struct tm_store *s);
uint64_t tm_store_bytes(const struct tm_store *s);

/* Called for each entity of a walk; it must not change the store. */
typedef void tm_store_visit_fn(void *host, const struct tm_entity *e);

/* Visits at least `want` entities from the cursor on, or all that are left, in an order that stays
 * the same under growth and deletion, for the life of the partition and on every replica: what was
 * there all the time between the first call (cursor 0) and the last is visited exactly once.
 * Returns the cursor to go on from, below 2^48; 0 at the end. */
uint64_t tm_store_scan(const struct tm_store *s, uint64_t cursor, unsigned want,
                       tm_store_visit_fn *visit, void *host);

/* One entity, chosen by the random bits (nearly uniform), or NULL if there is none. */
const struct tm_entity *tm_store_random(const struct tm_store *s, uint64_t random);

/* ---- Expiry ---- */

/* When the next entity expires, ms since 1970; UINT64_MAX if none does. */
uint64_t tm_store_next_expiry(const struct tm_store *s);

/* Number of entities that have a time to expire. */
uint64_t tm_store_expiring(const struct tm_store *s);

/* The entity that expires first, if that is due at now_ms, else NULL.  The caller logs its
 * tm_store_expire and asks again: as many as its slice allows. */
const struct tm_entity *tm_store_due(const struct tm_store *s, uint64_t now_ms);

/* Whether the key is there and due: a reader waits for the record that expires it. */
bool tm_store_is_due(const struct tm_store *s, struct tm_bytes key, uint64_t now_ms);

/* ---- State hash and snapshots ---- */

/* Of all committed entities, their stamps and expiries; independent of order, form and history.
 * Equal committed index, equal state hash. */
uint64_t tm_store_state_hash(const struct tm_store *s);

/* Writes committed entities as items into buf, from *cursor on (0 first), as many as fit and at
 * most about cap bytes; *used says how many bytes.  *cursor moves on, 0 = that was all.  *index is
 * the committed index of which this slice shows the state.  Costs twice the uncommitted records
 * beside the bytes written: take slices of some 64 KiB.  TM_ERR_TOOBIG: the next item alone needs
 * more than cap; *used is what it needs and the cursor stays. */
enum tm_err tm_store_snapshot(struct tm_store *s, uint64_t *cursor, void *buf, size_t cap,
                              size_t *used, uint64_t *index);

/* Loading: into a fresh store; begin with the index at which the walk began, then every slice
 * with the bytes, the cursor after it and the index that tm_store_snapshot gave, in that order.
 * Afterwards apply the log from begin's index + 1 on: what a slice already shows is skipped.  The
 * store is a state (and its hash means something) once applied reaches tm_store_load_until.
 * TM_ERR_CORRUPT: the bytes are not a slice; the store is to be deleted. */
void tm_store_load_begin(struct tm_store *s, uint64_t index);
enum tm_err tm_store_load_slice(struct tm_store *s, const void *bytes, size_t len, uint64_t cursor,
                                uint64_t index);

/* The highest index that the loaded slices show, 0 if none were loaded. */
uint64_t tm_store_load_until(const struct tm_store *s);

#endif
