/* arena_main.h: a test program with one arena, of which nothing may be left at its end. */
#ifndef TM_TESTS_STORAGE_ARENA_MAIN_H
#define TM_TESTS_STORAGE_ARENA_MAIN_H

#include "storage/arena.h"
#include "tests/test.h"

static struct tm_arena arena;

/* end: gives back what the tests share; NULL: they share nothing. */
static inline int arena_test_main(const char *suite, const struct tm_test *tests, size_t count,
                                  void (*end)(void))
{
    if (tm_arena_open(&arena) != TM_OK)
        return 1;
    int rc = tm_test_main(suite, tests, count);
    if (end != NULL)
        end();
    if (arena.bytes != 0)
        rc = 1;
    tm_arena_close(&arena);
    return rc;
}

#endif
