/* table.h: the hash table of entities, and of the fields of large ones.
 *
 * XXH3 of the name decides everything.  Its top bits choose a leaf through a directory; a leaf is
 * a small dense array of (12 further bits, 44-bit pointer), 7 bytes each, kept in hash order, so
 * that a name is found near where its hash says.  A leaf that is full is split in two, and the
 * directory doubles when a leaf's bits run out: growth is one leaf at a time, some microseconds,
 * with nothing to catch up on later.  Since all is in hash order, a place in a walk is a hash
 * value: growth and deletion do not disturb it.
 *
 * The table owns its leaves, never the blobs.  One thread. */
#ifndef TM_STORAGE_TABLE_H
#define TM_STORAGE_TABLE_H

#include "storage/arena.h"

struct tm_entity;
struct tm_leaf; /* table.c */

struct tm_table {
    struct tm_leaf **dir; /* 1 << depth of them; leaves of less depth stand several times */
    uint64_t count;
    unsigned depth;
};

/* XXH3-64 of a name. */
uint64_t tm_table_hash(struct tm_bytes name);

/* An empty table; it takes memory only at the first insert. */
void tm_table_init(struct tm_table *t);

/* Frees leaves and directory.  With free_entities also the blobs, which must not be large. */
void tm_table_free(struct tm_table *t, struct tm_pool *pool, bool free_entities);

#define TM_TABLE_STEPS 4

/* Fetches into the caches what finding that hash is going to read: in step 0 the place in the
 * directory, in 1 the leaf, in 2 its slots, in 3 the blob.  A step reads what the one before has
 * fetched, so others' steps belong in between.  A hint: changes nothing. */
void tm_table_prefetch(const struct tm_table *t, uint64_t hash, unsigned step);

/* The blob of that name, whose hash is given, or NULL. */
struct tm_entity *tm_table_find(const struct tm_table *t, struct tm_bytes name, uint64_t hash);

/* Adds a blob whose name is not in the table. */
void tm_table_insert(struct tm_table *t, struct tm_pool *pool, struct tm_entity *e, uint64_t hash);

/* Puts `to`, of the same name, where `from` is; takes `from` out.  `from` must be in the table. */
void tm_table_replace(struct tm_table *t, struct tm_entity *from, struct tm_entity *to,
                      uint64_t hash);
void tm_table_remove(struct tm_table *t, struct tm_pool *pool, struct tm_entity *e, uint64_t hash);

/* A walk in hash order, while the table does not change.  next gives NULL at the end. */
struct tm_table_iter {
    const struct tm_table *table;
    uint64_t leaf; /* place in the directory */
    uint32_t at;
};
/* Stands before the first blob in hash order; the next one. */
void tm_table_first(struct tm_table_iter *it, const struct tm_table *t);
struct tm_entity *tm_table_next(struct tm_table_iter *it);

/* The blob at that place (0 .. count - 1) of the walk; time in the number of leaves. */
struct tm_entity *tm_table_at(const struct tm_table *t, uint64_t place);

/* A walk in slices, between which the table may change: visits at least `want` blobs whose hash is
 * cursor or above, if there are, and returns the cursor to go on from: a multiple of 2^16, or 0 at
 * the end.  Every blob whose hash lies below the returned cursor was visited. */
typedef void tm_table_visit_fn(void *host, struct tm_entity *e);
uint64_t tm_table_slice(const struct tm_table *t, uint64_t cursor, unsigned want,
                        tm_table_visit_fn *visit, void *host);

/* The first blob whose hash is at or after the given one, going round at the end; NULL if empty. */
struct tm_entity *tm_table_near(const struct tm_table *t, uint64_t hash);

#endif
