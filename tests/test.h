/* test.h: one main for every CUnit test.  A file lists its tests in a table and ends with
 * TM_TEST_MAIN("storage/wal", tests).  Random tests draw their seed with tm_test_seed(), which
 * prints it; TM_SEED=N in the environment repeats a run.  TM_ONLY=TEXT runs only the tests whose
 * name has the text in it.  The exit status is 1 if a test failed, 77 if none did and one said
 * tm_test_skip(), 0. */
#ifndef TM_TESTS_TEST_H
#define TM_TESTS_TEST_H

#include <CUnit/Basic.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct tm_test {
    const char *name; /* the rule it holds */
    void (*run)(void);
};

static inline uint64_t tm_test_seed(void)
{
    uint64_t seed = 0;
    const char *fixed = getenv("TM_SEED");
    if (fixed != NULL)
        seed = strtoull(fixed, NULL, 0);
    else if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        abort();
    printf("  TM_SEED=%" PRIu64 "\n", seed);
    return seed;
}

static bool tm_test_skipped;

/* The test that is under way is not possible here; it returns then. */
static inline void tm_test_skip(const char *why)
{
    printf("  skipped: %s\n", why);
    tm_test_skipped = true;
}

static inline int tm_test_main(const char *suite_name, const struct tm_test *tests, size_t count)
{
    if (CU_initialize_registry() != CUE_SUCCESS)
        return 1;
    CU_pSuite suite = CU_add_suite(suite_name, NULL, NULL);
    const char *only = getenv("TM_ONLY");
    size_t chosen = 0;
    for (size_t i = 0; suite != NULL && i < count; i++) {
        if (only != NULL && strstr(tests[i].name, only) == NULL)
            continue;
        chosen++;
        if (CU_add_test(suite, tests[i].name, tests[i].run) == NULL)
            return 1;
    }
    CU_basic_set_mode(CU_BRM_VERBOSE);
    CU_basic_run_tests();
    unsigned failed = CU_get_number_of_failures() + (suite == NULL);
    unsigned ran = CU_get_number_of_tests_run();
    CU_cleanup_registry();
    if (failed > 0 || ran != chosen || chosen == 0)
        return 1;
    return tm_test_skipped ? 77 : 0;
}

#define TM_TEST(fn)                                                                                \
    {                                                                                              \
#fn, fn                                                                                    \
    }
#define TM_TEST_MAIN(suite, tests)                                                                 \
    int main(void)                                                                                 \
    {                                                                                              \
        return tm_test_main(suite, tests, sizeof(tests) / sizeof((tests)[0]));                     \
    }

#endif
