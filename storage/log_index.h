/* log_index.h: place and hash of each record of a log, and the terms, by index.
 *
 * Entries lie in chunks of 512; terms are runs {first index, term}.  16 bytes a record.  Indexes
 * first..next-1 are held.  A term of 0 is "not known".  One thread. */
#ifndef TM_STORAGE_LOG_INDEX_H
#define TM_STORAGE_LOG_INDEX_H

#include "runtime/base.h"
#include "storage/wal.h"

#define TM_LOG_INDEX_CHUNK 512u

struct tm_log_entry {
    tm_wal_place place; /* 0: lost */
    uint64_t hash;      /* 0: not known */
};
TM_STATIC_ASSERT(sizeof(struct tm_log_entry) == 16, "what a record costs in memory");

struct tm_log_run {
    uint64_t first;
    uint64_t term;
};

struct tm_log_index {
    struct tm_log_entry **chunks;
    unsigned chunk_count, chunk_cap;
    uint64_t origin; /* the index of chunks[0][0] */
    uint64_t first, next;
    struct tm_log_run *runs; /* ascending; runs[0].first <= first if anything is held */
    unsigned run_count, run_cap;
};

/* Empties it: the next index pushed is `next`. */
void tm_log_index_reset(struct tm_log_index *index, uint64_t next);
void tm_log_index_free(struct tm_log_index *index);

/* Makes sure that the next push cannot fail.  TM_ERR_NOMEM. */
enum tm_err tm_log_index_reserve(struct tm_log_index *index);

/* Adds index `next`.  Reserved before. */
void tm_log_index_push(struct tm_log_index *index, struct tm_log_entry entry, uint64_t term);

/* The entry of first <= i < next; valid until the next change. */
struct tm_log_entry *tm_log_index_at(const struct tm_log_index *index, uint64_t i);
uint64_t tm_log_index_term(const struct tm_log_index *index, uint64_t i);

/* Gives the held index i, whose term was not known, a term.  TM_ERR_NOMEM. */
enum tm_err tm_log_index_set_term(struct tm_log_index *index, uint64_t i, uint64_t term);

/* Drops i and what follows; drops what is before i. */
void tm_log_index_cut(struct tm_log_index *index, uint64_t i);
void tm_log_index_drop(struct tm_log_index *index, uint64_t i);

#endif
