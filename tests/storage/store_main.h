/* store_main.h: a test program about stores: one arena, one store in it at a time.
 *
 * Tests make `s` anew as they need it; the program ends with an error if the arena has anything
 * left when the store is gone. */
#ifndef TM_TESTS_STORAGE_STORE_MAIN_H
#define TM_TESTS_STORAGE_STORE_MAIN_H

#include "storage/arena.h"
#include "storage/store.h"
#include "tests/test.h"

static struct tm_arena arena;
static struct tm_store *s;

static inline struct tm_bytes str(const char *text)
{
    return tm_bytes_str(text);
}

static inline int store_test_main(const char *suite, const struct tm_test *tests, size_t count)
{
    if (tm_arena_open(&arena) != TM_OK)
        return 1;
    int rc = tm_test_main(suite, tests, count);
    tm_store_delete(s);
    if (arena.bytes != 0)
        rc = 1;
    tm_arena_close(&arena);
    return rc;
}

#endif
