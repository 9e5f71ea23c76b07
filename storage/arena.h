/* arena.h: a worker's own memory: a jemalloc arena and cache, used by that worker's thread only.
 *
 * Allocation does not fail: --memory-limit refuses writes long before, and a machine that is out of
 * memory all the same ends the process with a message (the log makes up for it, as for a power
 * cut).  Sizes are given back at free, so nothing is looked up. */
#ifndef TM_STORAGE_ARENA_H
#define TM_STORAGE_ARENA_H

#include "runtime/base.h"

struct tm_arena {
    int flags;      /* of mallocx: arena and thread cache */
    unsigned index; /* of the arena in jemalloc */
    unsigned tcache;
    uint64_t bytes; /* held by all users, as jemalloc rounds them */
};

/* Makes the arena; TM_ERR_NOMEM if jemalloc has no more.  Call close on the same thread. */
enum tm_err tm_arena_open(struct tm_arena *a);

/* Gives back the arena with everything in it. */
void tm_arena_close(struct tm_arena *a);

/* Bytes that an allocation of size really takes; size > 0. */
size_t tm_arena_usable(size_t size);

/* One user's share of an arena: what it holds is counted in `bytes`. */
struct tm_pool {
    struct tm_arena *arena;
    uint64_t bytes;
};

/* size > 0 bytes, aligned to 16 where size is at least 16; never NULL. */
void *tm_pool_alloc(struct tm_pool *p, size_t size);

/* Frees ptr, which tm_pool_alloc gave for that size (any size of the same usable one). */
void tm_pool_free(struct tm_pool *p, void *ptr, size_t size);

#endif
