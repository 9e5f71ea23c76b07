/* Chunks are found by division from `origin`.  Dropping the front frees whole chunks; cutting the
 * end keeps the emptied ones for what comes next. */
#include "storage/log_index.h"

#include <stdlib.h>

void tm_log_index_reset(struct tm_log_index *index, uint64_t next)
{
    for (unsigned i = 0; i < index->chunk_count; i++)
        free(index->chunks[i]);
    index->chunk_count = 0;
    index->run_count = 0;
    index->origin = index->first = index->next = next;
}

void tm_log_index_free(struct tm_log_index *index)
{
    tm_log_index_reset(index, 0);
    free(index->chunks);
    free(index->runs);
    *index = (struct tm_log_index){0};
}

static enum tm_err reserve_run(struct tm_log_index *index)
{
    if (index->run_count + 2 <= index->run_cap)
        return TM_OK;
    unsigned cap = index->run_cap == 0 ? 8 : 2 * index->run_cap;
    struct tm_log_run *grown = realloc(index->runs, cap * sizeof *grown);
    if (grown == NULL)
        return TM_ERR_NOMEM;
    index->runs = grown;
    index->run_cap = cap;
    return TM_OK;
}

enum tm_err tm_log_index_reserve(struct tm_log_index *index)
{
    if (reserve_run(index) != TM_OK)
        return TM_ERR_NOMEM;
    uint64_t chunk = (index->next - index->origin) / TM_LOG_INDEX_CHUNK;
    if (chunk < index->chunk_count)
        return TM_OK;
    if (index->chunk_count == index->chunk_cap) {
        unsigned cap = index->chunk_cap == 0 ? 8 : 2 * index->chunk_cap;
        struct tm_log_entry **grown = realloc(index->chunks, cap * sizeof *grown);
        if (grown == NULL)
            return TM_ERR_NOMEM;
        index->chunks = grown;
        index->chunk_cap = cap;
    }
    struct tm_log_entry *fresh = malloc(TM_LOG_INDEX_CHUNK * sizeof *fresh);
    if (fresh == NULL)
        return TM_ERR_NOMEM;
    index->chunks[index->chunk_count++] = fresh;
    return TM_OK;
}

struct tm_log_entry *tm_log_index_at(const struct tm_log_index *index, uint64_t i)
{
    TM_ASSERT(i >= index->first && i < index->next);
    uint64_t at = i - index->origin;
    return &index->chunks[at / TM_LOG_INDEX_CHUNK][at % TM_LOG_INDEX_CHUNK];
}

void tm_log_index_push(struct tm_log_index *index, struct tm_log_entry entry, uint64_t term)
{
    if (index->run_count == 0 || index->runs[index->run_count - 1].term != term)
        index->runs[index->run_count++] = (struct tm_log_run){index->next, term};
    index->next++;
    *tm_log_index_at(index, index->next - 1) = entry;
}

/* The run that holds i. */
static unsigned run_of(const struct tm_log_index *index, uint64_t i)
{
    unsigned low = 0, high = index->run_count;
    while (high - low > 1) {
        unsigned mid = low + (high - low) / 2;
        if (index->runs[mid].first <= i)
            low = mid;
        else
            high = mid;
    }
    return low;
}

uint64_t tm_log_index_term(const struct tm_log_index *index, uint64_t i)
{
    TM_ASSERT(i >= index->first && i < index->next);
    return index->runs[run_of(index, i)].term;
}

static void insert_run(struct tm_log_index *index, unsigned at, struct tm_log_run run)
{
    memmove(&index->runs[at + 1], &index->runs[at], (index->run_count - at) * sizeof run);
    index->runs[at] = run;
    index->run_count++;
}

/* Splits the run that holds i so that one begins at i. */
static unsigned split(struct tm_log_index *index, uint64_t i)
{
    unsigned r = run_of(index, i);
    if (index->runs[r].first >= i) {
        index->runs[r].first = i;
        return r;
    }
    insert_run(index, r + 1, (struct tm_log_run){i, index->runs[r].term});
    return r + 1;
}

enum tm_err tm_log_index_set_term(struct tm_log_index *index, uint64_t i, uint64_t term)
{
    if (tm_log_index_term(index, i) == term)
        return TM_OK;
    if (reserve_run(index) != TM_OK)
        return TM_ERR_NOMEM;
    bool inner = i > index->first;
    unsigned r = inner ? split(index, i) : run_of(index, i);
    if (i + 1 < index->next && (r + 1 == index->run_count || index->runs[r + 1].first > i + 1))
        insert_run(index, r + 1, (struct tm_log_run){i + 1, index->runs[r].term});
    index->runs[r].term = term;
    /* Joined with an equal neighbour before it, so that runs stay few. */
    if (r > 0 && index->runs[r - 1].term == term) {
        memmove(&index->runs[r], &index->runs[r + 1],
                (index->run_count - r - 1) * sizeof *index->runs);
        index->run_count--;
    }
    return TM_OK;
}

void tm_log_index_cut(struct tm_log_index *index, uint64_t i)
{
    TM_ASSERT(i >= index->first && i <= index->next);
    index->next = i;
    while (index->run_count > 0 && index->runs[index->run_count - 1].first >= i)
        index->run_count--;
}

void tm_log_index_drop(struct tm_log_index *index, uint64_t i)
{
    TM_ASSERT(i >= index->first && i <= index->next);
    index->first = i;
    unsigned gone = (unsigned)((i - index->origin) / TM_LOG_INDEX_CHUNK);
    if (gone > index->chunk_count)
        gone = index->chunk_count;
    for (unsigned c = 0; c < gone; c++)
        free(index->chunks[c]);
    index->chunk_count -= gone;
    index->origin += (uint64_t)gone * TM_LOG_INDEX_CHUNK;
    if (gone > 0)
        memmove(index->chunks, index->chunks + gone, index->chunk_count * sizeof *index->chunks);
    if (i == index->next) {
        index->run_count = 0;
        return;
    }
    unsigned r = run_of(index, i);
    index->run_count -= r;
    memmove(index->runs, index->runs + r, index->run_count * sizeof *index->runs);
}
