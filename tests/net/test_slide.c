#include "net/slide.h"
#include "test.h"

static void bytes_stay_where_the_stream_says(void)
{
    uint64_t rng = tm_test_seed() | 1;
    struct tm_slide s;
    const size_t limit = 1 << 20;
    tm_slide_init(&s, limit);
    uint64_t low = 0, high = 0;
    for (int i = 0; i < 20000; i++) {
        rng = rng * 6364136223846793005ull + 1442695040888963407ull;
        uint64_t add = (rng >> 33) % 5000, take = (rng >> 40) % 6000;
        if (high + add - low <= limit / 2) {
            CU_ASSERT_EQUAL_FATAL(tm_slide_reserve(&s, high + add), TM_OK);
            for (uint64_t at = high; at < high + add; at++)
                *tm_slide_at(&s, at) = (uint8_t)(at * 13 >> 2);
            high += add;
        }
        CU_ASSERT_FATAL(s.size <= limit);
        CU_ASSERT_EQUAL_FATAL(s.high, high);
        for (uint64_t at = low; at < high; at += 1 + (high - low) / 50)
            CU_ASSERT_EQUAL_FATAL(*tm_slide_at(&s, at), (uint8_t)(at * 13 >> 2));
        low = tm_min_u64(high, low + take);
        tm_slide_drop(&s, low);
    }
    tm_slide_free(&s);
}

static void an_emptied_one_starts_at_its_front_again(void)
{
    struct tm_slide s;
    tm_slide_init(&s, 1 << 20);
    CU_ASSERT_EQUAL(tm_slide_reserve(&s, 1000), TM_OK);
    uint8_t *front = tm_slide_at(&s, 0);
    tm_slide_drop(&s, 1000);
    CU_ASSERT_EQUAL(tm_slide_reserve(&s, 2000), TM_OK);
    CU_ASSERT_PTR_EQUAL(tm_slide_at(&s, 1000), front);
    tm_slide_free(&s);
}

static void a_quiet_stream_takes_no_more_memory(void)
{
    struct tm_slide s;
    tm_slide_init(&s, 64 << 20);
    for (uint64_t at = 0; at < 100 << 20; at += 1000) {
        CU_ASSERT_EQUAL_FATAL(tm_slide_reserve(&s, at + 2000), TM_OK);
        tm_slide_drop(&s, at + 1000);
    }
    CU_ASSERT(s.size <= 64 << 10);
    tm_slide_free(&s);
}

static void trim_gives_back_only_what_is_empty(void)
{
    struct tm_slide s;
    tm_slide_init(&s, 4 << 20);
    CU_ASSERT_EQUAL(tm_slide_reserve(&s, 1 << 20), TM_OK);
    memset(tm_slide_at(&s, 0), 7, 1 << 20);
    tm_slide_drop(&s, 5);
    tm_slide_trim(&s, 1 << 16);
    CU_ASSERT_EQUAL(*tm_slide_at(&s, 5), 7);
    tm_slide_drop(&s, 1 << 20);
    tm_slide_trim(&s, 1 << 16);
    CU_ASSERT_EQUAL(s.size, 0);
    CU_ASSERT_EQUAL(tm_slide_reserve(&s, (1 << 20) + 10), TM_OK);
    *tm_slide_at(&s, 1 << 20) = 1;
    tm_slide_free(&s);
}

static const struct tm_test tests[] = {
    TM_TEST(bytes_stay_where_the_stream_says),
    TM_TEST(an_emptied_one_starts_at_its_front_again),
    TM_TEST(a_quiet_stream_takes_no_more_memory),
    TM_TEST(trim_gives_back_only_what_is_empty),
};
TM_TEST_MAIN("net/slide", tests)
