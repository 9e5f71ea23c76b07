#include "bench/zipf.h"
#include "tests/test.h"

#include <math.h>

#define DRAWS 200000

/* The seed is fixed: what is drawn is the same in every run. */
static void check_shares(uint64_t n, double exponent)
{
    struct tm_zipf z;
    struct tm_rng rng;
    double all = 0;
    unsigned seen[16] = {0};
    for (uint64_t r = 1; r <= n; r++)
        all += pow((double)r, -exponent);
    tm_rng_seed(&rng, 7);
    tm_zipf_init(&z, n, exponent);
    for (unsigned i = 0; i < DRAWS; i++) {
        uint64_t r = tm_zipf_draw(&z, &rng);
        CU_ASSERT_FATAL(r >= 1 && r <= n);
        if (r < TM_ARRAY_LEN(seen))
            seen[r]++;
    }
    for (uint64_t r = 1; r < TM_ARRAY_LEN(seen); r++) {
        double share = r <= n ? pow((double)r, -exponent) / all : 0;
        double off = fabs((double)seen[r] / DRAWS - share);
        CU_ASSERT(off <= 5 * sqrt(share / DRAWS));
    }
}

static void ranks_have_the_shares_of_the_law(void)
{
    check_shares(1000, 0.99);
    check_shares(1000, 1);
    check_shares(100000, 1.2);
    check_shares(10, 0.5);
    check_shares(3, 3);
    check_shares(1, 1);
}

static const struct tm_test tests[] = {TM_TEST(ranks_have_the_shares_of_the_law)};
TM_TEST_MAIN("bench/zipf", tests)
