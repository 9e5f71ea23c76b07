/* arena.c: jemalloc's explicit arenas behind two calls.
 *
 * Each worker has an arena, so that its blobs lie together and no lock is shared, and a thread
 * cache of its own, without which an explicit arena would take its lock on every call. */
#include "storage/arena.h"

#include <jemalloc/jemalloc.h>
#include <stdio.h>
#include <stdlib.h>

enum tm_err tm_arena_open(struct tm_arena *a)
{
    size_t len = sizeof a->index;
    *a = (struct tm_arena){0};
    if (mallctl("arenas.create", &a->index, &len, NULL, 0) != 0)
        return TM_ERR_NOMEM;
    len = sizeof a->tcache;
    if (mallctl("tcache.create", &a->tcache, &len, NULL, 0) != 0)
        return TM_ERR_NOMEM;
    a->flags = (int)(MALLOCX_ARENA(a->index) | MALLOCX_TCACHE(a->tcache));
    return TM_OK;
}

void tm_arena_close(struct tm_arena *a)
{
    char name[64];
    (void)mallctl("tcache.destroy", NULL, NULL, &a->tcache, sizeof a->tcache);
    (void)snprintf(name, sizeof name, "arena.%u.destroy", a->index);
    (void)mallctl(name, NULL, NULL, NULL, 0);
    *a = (struct tm_arena){0};
}

size_t tm_arena_usable(size_t size)
{
    return nallocx(size, 0);
}

void *tm_pool_alloc(struct tm_pool *p, size_t size)
{
    void *ptr = mallocx(size, p->arena->flags);
    if (TM_UNLIKELY(ptr == NULL)) {
        (void)fprintf(stderr, "level=error event=out_of_memory bytes=%zu\n", size);
        abort();
    }
    size_t real = nallocx(size, 0);
    p->bytes += real;
    p->arena->bytes += real;
    return ptr;
}

void tm_pool_free(struct tm_pool *p, void *ptr, size_t size)
{
    size_t real = nallocx(size, 0);
    p->bytes -= real;
    p->arena->bytes -= real;
    sdallocx(ptr, size, p->arena->flags);
}
