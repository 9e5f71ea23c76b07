/* log_index.h: place and hash of each record of a log, and the terms, by index.
 *
 * Entries lie in chunks of 512; terms are runs {first index, term}.  16 bytes a record.  Indexes
 * first..next-1 are held.  A term of 0 is "not known".  One thread. */
#ifndef TM_STORAGE_LOG_INDEX_H
#define TM_STORAGE_LOG_INDEX_H

#include "runtime/base.h"
#include "storage/wal.h"

#define LOG_INDEX_CHUNK 512u

struct log_entry {
    tm_wal_place place; /* 0: lost */
    uint64_t hash;      /* 0: not known */
};
TM_STATIC_ASSERT(sizeof(struct log_entry) == 16, "what a record costs in memory");

struct log_run {
    uint64_t first;
    uint64_t term;
};

struct log_index {
    struct log_entry **chunks;
    unsigned chunk_count, chunk_cap;
    uint64_t origin; /* the index of chunks[0][0] */
    uint64_t first, next;
    struct log_run *runs; /* ascending; runs[0].first <= first if anything is held */
    unsigned run_count, run_cap;
};

/* Empties it: the next index pushed is `next`. */
void log_index_reset(struct log_index *index, uint64_t next);
void log_index_free(struct log_index *index);

/* Makes sure that the next push cannot fail.  TM_ERR_NOMEM. */
enum tm_err log_index_reserve(struct log_index *index);

/* Adds index `next`.  Reserved before. */
void log_index_push(struct log_index *index, struct log_entry entry, uint64_t term);

/* The entry of first <= i < next; valid until the next change. */
struct log_entry *log_index_at(const struct log_index *index, uint64_t i);
uint64_t log_index_term(const struct log_index *index, uint64_t i);

/* Gives the held index i, whose term was not known, a term.  TM_ERR_NOMEM. */
enum tm_err log_index_set_term(struct log_index *index, uint64_t i, uint64_t term);

/* Drops i and what follows; drops what is before i. */
void log_index_cut(struct log_index *index, uint64_t i);
void log_index_drop(struct log_index *index, uint64_t i);

#endif
