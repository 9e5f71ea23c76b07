#include "runtime/rng.h"
#include "test.h"

static void numbers_are_those_of_xoshiro256_starstar(void)
{
    struct tm_rng rng = {{1, 2, 3, 4}};
    CU_ASSERT_EQUAL(tm_rng_next(&rng), 11520);
    CU_ASSERT_EQUAL(tm_rng_next(&rng), 0);
    CU_ASSERT_EQUAL(tm_rng_next(&rng), 1509978240);
    CU_ASSERT_EQUAL(tm_rng_next(&rng), UINT64_C(1215971899390074240));
    tm_rng_seed(&rng, 0);
    CU_ASSERT_EQUAL(rng.s[0], UINT64_C(0xe220a8397b1dcdaf));
    CU_ASSERT_EQUAL(rng.s[3], UINT64_C(0xf88bb8a8724c81ec));
}

static void below_and_between_keep_their_bounds_and_reach_them(void)
{
    struct tm_rng rng;
    unsigned seen[7] = {0};
    tm_rng_seed(&rng, tm_test_seed());
    for (int i = 0; i < 70000; i++) {
        uint64_t v = tm_rng_below(&rng, 7);
        CU_ASSERT_FATAL(v < 7);
        seen[v]++;
    }
    for (int i = 0; i < 7; i++)
        CU_ASSERT(seen[i] > 9000 && seen[i] < 11000); /* ten standard deviations */
    CU_ASSERT_EQUAL(tm_rng_below(&rng, 1), 0);
    bool low = false, high = false;
    for (int i = 0; i < 1000; i++) {
        uint64_t v = tm_rng_between(&rng, 150, 155);
        CU_ASSERT(v >= 150 && v <= 155);
        low |= v == 150;
        high |= v == 155;
    }
    CU_ASSERT(low && high);
    CU_ASSERT_EQUAL(tm_rng_between(&rng, 9, 9), 9);
    tm_rng_between(&rng, 0, UINT64_MAX);
}

static void large_bounds_are_not_biased(void)
{
    struct tm_rng rng;
    tm_rng_seed(&rng, tm_test_seed());
    uint64_t bound =
        UINT64_C(3) << 62; /* taking the rest of a division would give 2/3 below half */
    unsigned low = 0;
    for (int i = 0; i < 30000; i++)
        low += tm_rng_below(&rng, bound) < bound / 2;
    CU_ASSERT(low > 14000 && low < 16000);
}

static void chance_is_what_it_says(void)
{
    struct tm_rng rng;
    tm_rng_seed(&rng, tm_test_seed());
    unsigned hits = 0;
    for (int i = 0; i < 40000; i++)
        hits += tm_rng_chance(&rng, 1, 4);
    CU_ASSERT(hits > 9000 && hits < 11000);
    CU_ASSERT_FALSE(tm_rng_chance(&rng, 0, 5));
    CU_ASSERT(tm_rng_chance(&rng, 5, 5));
}

static void a_seed_repeats_and_the_os_does_not(void)
{
    struct tm_rng a, b;
    tm_rng_seed(&a, 42);
    tm_rng_seed(&b, 42);
    CU_ASSERT_EQUAL(tm_rng_next(&a), tm_rng_next(&b));
    tm_rng_seed_from_os(&a);
    tm_rng_seed_from_os(&b);
    CU_ASSERT_NOT_EQUAL(tm_rng_next(&a), tm_rng_next(&b));
}

static const struct tm_test tests[] = {
    TM_TEST(numbers_are_those_of_xoshiro256_starstar),
    TM_TEST(below_and_between_keep_their_bounds_and_reach_them),
    TM_TEST(large_bounds_are_not_biased),
    TM_TEST(chance_is_what_it_says),
    TM_TEST(a_seed_repeats_and_the_os_does_not),
};
TM_TEST_MAIN("runtime/rng", tests)
