#include "bench/hiccup.h"
#include "tests/test.h"

static struct tm_histogram h;

static void a_gap_weighs_as_much_as_it_hurts(void)
{
    tm_histogram_reset(&h);
    tm_hiccup_count(&h, TM_US(100));
    CU_ASSERT_EQUAL(h.total, 100);
    CU_ASSERT_EQUAL(h.max, TM_US(100));
    CU_ASSERT_EQUAL(h.min, TM_US(1));
    CU_ASSERT_DOUBLE_EQUAL(tm_histogram_mean(&h), 50500, 1);
}

static void a_look_without_a_gap_counts_once(void)
{
    tm_histogram_reset(&h);
    for (unsigned i = 0; i < 9900; i++)
        tm_hiccup_count(&h, 40);
    tm_hiccup_count(&h, TM_US(100));
    CU_ASSERT_EQUAL(h.total, 10000);
    CU_ASSERT_EQUAL(tm_histogram_percentile(&h, 99), 40);
    CU_ASSERT(tm_histogram_percentile(&h, 99.5) >= TM_US(50));
}

static void spinning_covers_the_time_it_was_given(void)
{
    tm_hiccup_measure(&h, TM_MS(20));
    CU_ASSERT(h.total >= 1000); /* 20 ms in looks of at least a microsecond, and long gaps */
}

static const struct tm_test tests[] = {
    TM_TEST(a_gap_weighs_as_much_as_it_hurts),
    TM_TEST(a_look_without_a_gap_counts_once),
    TM_TEST(spinning_covers_the_time_it_was_given),
};
TM_TEST_MAIN("bench/hiccup", tests)
