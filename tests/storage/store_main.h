/* store_main.h: a test program about stores: one arena, one store in it at a time.
 *
 * Tests make `s` anew as they need it; the program ends with an error if the arena has anything
 * left when the store is gone. */
#ifndef TM_TESTS_STORAGE_STORE_MAIN_H
#define TM_TESTS_STORAGE_STORE_MAIN_H

#include "storage/store.h"
#include "tests/storage/arena_main.h"

static struct tm_store *s;

static inline struct tm_bytes str(const char *text)
{
    return tm_bytes_str(text);
}

static inline void delete_store(void)
{
    if (s != NULL)
        tm_store_delete(s);
    s = NULL;
}

static inline int store_test_main(const char *suite, const struct tm_test *tests, size_t count)
{
    return arena_test_main(suite, tests, count, delete_store);
}

#endif
