/* Duktape over an allocator that counts. */
#include "tools/script_heap.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Each block carries its size in front, 16 bytes to keep the alignment. */
#define BLOCK_HEAD 16

static void *heap_alloc(void *udata, duk_size_t size)
{
    struct tm_script_heap *h = udata;
    if (size == 0 || size > h->max - h->used)
        return NULL;
    uint8_t *p = malloc(size + BLOCK_HEAD);
    if (p == NULL)
        return NULL;
    memcpy(p, &size, sizeof size);
    h->used += size;
    return p + BLOCK_HEAD;
}

static void heap_free(void *udata, void *ptr)
{
    struct tm_script_heap *h = udata;
    if (ptr == NULL)
        return;
    uint8_t *p = (uint8_t *)ptr - BLOCK_HEAD;
    size_t size;
    memcpy(&size, p, sizeof size);
    h->used -= size;
    free(p);
}

static void *heap_realloc(void *udata, void *ptr, duk_size_t size)
{
    if (ptr == NULL)
        return heap_alloc(udata, size);
    if (size == 0) {
        heap_free(udata, ptr);
        return NULL;
    }
    size_t old;
    memcpy(&old, (uint8_t *)ptr - BLOCK_HEAD, sizeof old);
    void *fresh = heap_alloc(udata, size);
    if (fresh == NULL)
        return NULL;
    memcpy(fresh, ptr, old < size ? old : size);
    heap_free(udata, ptr);
    return fresh;
}

/* Duktape calls this when it cannot go on; the default prints and aborts with a core. */
static void on_fatal(void *udata, const char *msg)
{
    (void)udata;
    dprintf(STDERR_FILENO, "%s\n", msg != NULL ? msg : "fatal error in the interpreter");
    _exit(3);
}

duk_context *tm_script_new(struct tm_script_heap *heap, size_t max)
{
    *heap = (struct tm_script_heap){.max = max};
    duk_context *ctx = duk_create_heap(heap_alloc, heap_realloc, heap_free, heap, on_fatal);
    if (ctx != NULL)
        duk_eval_string_noresult(ctx,
                                 "delete Math.random; Date = undefined; performance = undefined;");
    return ctx;
}
