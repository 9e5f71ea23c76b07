#include "runtime/hlc.h"
#include "test.h"

static void layout_is_48_bits_of_ms_and_16_of_count(void)
{
    CU_ASSERT_EQUAL(tm_hlc_pack(1, 0), 65536);
    CU_ASSERT_EQUAL(tm_hlc_ms(tm_hlc_pack(1714564800123, 77)), 1714564800123);
    CU_ASSERT_EQUAL(tm_hlc_count(tm_hlc_pack(1714564800123, 77)), 77);
}

static void stamps_follow_wall_time_and_never_repeat(void)
{
    struct tm_hlc hlc = {0};
    CU_ASSERT_EQUAL(tm_hlc_now(&hlc, 1000), tm_hlc_pack(1000, 0));
    CU_ASSERT_EQUAL(tm_hlc_now(&hlc, 1000), tm_hlc_pack(1000, 1));
    CU_ASSERT_EQUAL(tm_hlc_now(&hlc, 900), tm_hlc_pack(1000, 2)); /* the wall clock went back */
    CU_ASSERT_EQUAL(tm_hlc_now(&hlc, 1001), tm_hlc_pack(1001, 0));
}

static void the_count_carries_into_the_milliseconds(void)
{
    struct tm_hlc hlc = {0};
    for (int i = 0; i < 65536; i++)
        tm_hlc_now(&hlc, 5);
    CU_ASSERT_EQUAL(hlc.last, tm_hlc_pack(5, 65535));
    CU_ASSERT_EQUAL(tm_hlc_now(&hlc, 5), tm_hlc_pack(6, 0));
}

static void what_was_seen_comes_before_what_follows(void)
{
    struct tm_hlc hlc = {0};
    tm_hlc_observe(&hlc, tm_hlc_pack(2000, 9));
    CU_ASSERT_EQUAL(tm_hlc_now(&hlc, 1000), tm_hlc_pack(2000, 10));
    tm_hlc_observe(&hlc, tm_hlc_pack(1500, 0));
    CU_ASSERT_EQUAL(tm_hlc_now(&hlc, 1000), tm_hlc_pack(2000, 11));
}

static void a_stamp_that_is_none_does_not_spoil_the_clock(void)
{
    struct tm_hlc hlc = {0};
    tm_hlc_observe(&hlc, UINT64_MAX);
    tm_hlc_observe(&hlc, tm_hlc_pack(TM_HLC_MS_MAX + 1, 0));
    CU_ASSERT_EQUAL(tm_hlc_now(&hlc, 10), tm_hlc_pack(10, 0));
    CU_ASSERT_EQUAL(tm_hlc_ms(tm_hlc_now(&hlc, UINT64_MAX)), TM_HLC_MS_MAX);
}

static void skew_is_checked_against_wall_time(void)
{
    CU_ASSERT_EQUAL(tm_hlc_ahead_ms(tm_hlc_pack(1500, 3), 1000), 500);
    CU_ASSERT_EQUAL(tm_hlc_ahead_ms(tm_hlc_pack(900, 3), 1000), 0);
    CU_ASSERT_EQUAL(tm_hlc_check(tm_hlc_pack(1500, 3), 1000, 500), TM_OK);
    CU_ASSERT_EQUAL(tm_hlc_check(tm_hlc_pack(1501, 0), 1000, 500), TM_ERR_INVALID);
    CU_ASSERT_EQUAL(tm_hlc_check(tm_hlc_pack(1, 0), 1000, 500), TM_OK);
    CU_ASSERT_EQUAL(tm_hlc_check(UINT64_MAX, UINT64_MAX >> 16, 500), TM_ERR_INVALID);
}

static const struct tm_test tests[] = {
    TM_TEST(layout_is_48_bits_of_ms_and_16_of_count),
    TM_TEST(stamps_follow_wall_time_and_never_repeat),
    TM_TEST(the_count_carries_into_the_milliseconds),
    TM_TEST(what_was_seen_comes_before_what_follows),
    TM_TEST(a_stamp_that_is_none_does_not_spoil_the_clock),
    TM_TEST(skew_is_checked_against_wall_time),
};
TM_TEST_MAIN("runtime/hlc", tests)
