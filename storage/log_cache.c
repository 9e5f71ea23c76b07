/* The tail cache of a worker: records of all its logs behind each other in one ring, in the order
 * in which they were appended.  Room is made by giving up the oldest.  A log's cached records are
 * always a suffix cache_first..last of it: what is evicted is its oldest, and a record that could
 * not be cached moves cache_first behind it.  Records that were cut stay until their turn comes,
 * and are known by their position being no longer the one that the log has. */
#include <stdlib.h>

#include "storage/log_internal.h"

#define PREFETCH_BYTES 192 /* of a record: its head, and the key of a short one */

struct cached {
    uint32_t length;    /* of the record */
    uint32_t partition; /* TM_WAL_ALL: filler to the end of the ring */
    uint64_t index;
};

bool tm_log_cache_init(struct tm_log_cache *cache, uint64_t bytes)
{
    *cache = (struct tm_log_cache){.cap = tm_align_up(bytes, 4096)};
    cache->bytes = malloc(cache->cap);
    return cache->bytes != NULL;
}

/* A cell never leaves less than a header's room at the end of the ring. */
static uint64_t cell_bytes(uint64_t length)
{
    return tm_align_up(sizeof(struct cached) + length, sizeof(struct cached));
}

static struct cached *at_position(const struct tm_log_cache *cache, uint64_t position)
{
    return (void *)(cache->bytes + position % cache->cap);
}

static void evict_oldest(struct tm_log_set *set)
{
    struct tm_log_cache *cache = &set->cache;
    const struct cached *c = at_position(cache, cache->tail);
    if (c->partition == TM_WAL_ALL) {
        cache->tail += cache->cap - cache->tail % cache->cap;
        return;
    }
    struct tm_log *log = tm_log_of(set, c->partition);
    if (log->cache_first == c->index && c->index <= log->last && log->cache_cap > 0 &&
        log->cache_at[c->index & (log->cache_cap - 1)] == cache->tail)
        log->cache_first++;
    cache->tail += cell_bytes(c->length);
}

/* Room for `need` bytes in one piece; its position. */
static uint64_t make_room(struct tm_log_set *set, uint64_t need)
{
    struct tm_log_cache *cache = &set->cache;
    uint64_t left = cache->cap - cache->head % cache->cap;
    if (left < need) {
        while (cache->head + left - cache->tail > cache->cap)
            evict_oldest(set);
        *at_position(cache, cache->head) = (struct cached){.partition = TM_WAL_ALL};
        cache->head += left;
    }
    while (cache->head + need - cache->tail > cache->cap)
        evict_oldest(set);
    return cache->head;
}

/* What is evicted next was written long ago.  Its log, which its header names, and the header after
 * it are fetched, so that each is there when its turn comes. */
static void look_ahead(const struct tm_log_set *set)
{
    const struct tm_log_cache *cache = &set->cache;
    if (cache->head - cache->tail < cache->cap / 2)
        return;
    const struct cached *c = at_position(cache, cache->tail);
    if (c->partition == TM_WAL_ALL)
        return;
    __builtin_prefetch(at_position(cache, cache->tail + cell_bytes(c->length)));
    __builtin_prefetch(&tm_log_of(set, c->partition)->cache_first, 1);
}

static bool reserve_ring(struct tm_log *log, uint64_t index)
{
    if (log->cache_cap > 0 && index - log->cache_first < log->cache_cap)
        return true;
    uint32_t cap = log->cache_cap == 0 ? 16 : 2 * log->cache_cap;
    uint64_t *grown = malloc(cap * sizeof *grown);
    if (grown == NULL)
        return false;
    TM_ASSERT(log->cache_cap > 0 || log->cache_first == index);
    for (uint64_t i = log->cache_first; i < index; i++)
        grown[i & (cap - 1)] = log->cache_at[i & (log->cache_cap - 1)];
    free(log->cache_at);
    log->cache_at = grown;
    log->cache_cap = cap;
    return true;
}

void tm_log_cache_add(struct tm_log *log, uint64_t index, struct tm_bytes record)
{
    struct tm_log_cache *cache = &log->set->cache;
    uint64_t need = cell_bytes(record.len);
    if (log->cache_first > index)
        log->cache_first = index;
    if (need > cache->cap / 4 || !reserve_ring(log, index)) {
        log->cache_first = index + 1;
        return;
    }
    uint64_t position = make_room(log->set, need);
    struct cached *c = at_position(cache, position);
    *c = (struct cached){(uint32_t)record.len, log->partition, index};
    memcpy(c + 1, record.data, record.len);
    log->cache_at[index & (log->cache_cap - 1)] = position;
    cache->head += need;
    look_ahead(log->set);
}

void tm_log_cache_prefetch(const struct tm_log *log, uint64_t index)
{
    if (index < log->cache_first || index > log->last)
        return;
    const uint8_t *at =
        (const void *)at_position(&log->set->cache, log->cache_at[index & (log->cache_cap - 1)]);
    for (unsigned i = 0; i < PREFETCH_BYTES; i += 64)
        __builtin_prefetch(at + i);
}

struct tm_bytes tm_log_cache_get(const struct tm_log *log, uint64_t index)
{
    if (index < log->cache_first || index > log->last)
        return tm_bytes_of(NULL, 0);
    const struct cached *c =
        at_position(&log->set->cache, log->cache_at[index & (log->cache_cap - 1)]);
    TM_ASSERT(c->partition == log->partition && c->index == index);
    /* What rot took from the log may have been replaced by another record meanwhile. */
    if (((const struct tm_record *)(const void *)(c + 1))->checksum !=
        tm_log_index_at(&log->index, index)->hash)
        return tm_bytes_of(NULL, 0);
    return tm_bytes_of(c + 1, c->length);
}

void tm_log_cache_cut(struct tm_log *log)
{
    if (log->cache_first > log->last + 1)
        log->cache_first = log->last + 1;
    if (log->cache_first <= log->base)
        log->cache_first = log->base + 1;
}
