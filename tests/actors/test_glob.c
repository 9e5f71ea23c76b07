/* Patterns match as redis's do, and no pattern takes long. */
#include "actors/glob.h"
#include "tests/test.h"

static bool match(const char *pattern, const char *text)
{
    return tm_glob_match(tm_bytes_str(pattern), tm_bytes_str(text), false);
}

static void patterns_match_as_in_redis(void)
{
    CU_ASSERT(match("*", ""));
    CU_ASSERT(match("", ""));
    CU_ASSERT_FALSE(match("", "a"));
    CU_ASSERT(match("h?llo", "hello"));
    CU_ASSERT_FALSE(match("h?llo", "hllo"));
    CU_ASSERT(match("h*llo", "heeeello"));
    CU_ASSERT(match("h[ae]llo", "hallo"));
    CU_ASSERT_FALSE(match("h[ae]llo", "hillo"));
    CU_ASSERT(match("h[^e]llo", "hallo"));
    CU_ASSERT_FALSE(match("h[^e]llo", "hello"));
    CU_ASSERT(match("h[a-c]llo", "hbllo"));
    CU_ASSERT(match("h[c-a]llo", "hbllo"));
    CU_ASSERT_FALSE(match("h[a-c]llo", "hdllo"));
    CU_ASSERT(match("h\\*llo", "h*llo"));
    CU_ASSERT_FALSE(match("h\\*llo", "hello"));
    CU_ASSERT(match("[\\]]", "]"));
    CU_ASSERT(match("a*b*c", "a-b-b-c"));
    CU_ASSERT_FALSE(match("a*b*c", "a-b-b-d"));
    CU_ASSERT(match("*:1", "Order:1"));
    CU_ASSERT_FALSE(match("Order:*", "order:1"));
    CU_ASSERT(match("[abc", "b"));
}

static void letters_match_in_any_case_where_asked(void)
{
    CU_ASSERT(tm_glob_match(tm_bytes_str("MAX*"), tm_bytes_str("maxmemory"), true));
    CU_ASSERT(tm_glob_match(tm_bytes_str("[A-C]x"), tm_bytes_str("bX"), true));
}

static void many_stars_take_no_exponential_time(void)
{
    char text[2001], pattern[2001];
    memset(text, 'a', 2000);
    for (int i = 0; i < 2000; i += 2)
        memcpy(pattern + i, "*a", 2);
    text[2000] = 0;
    pattern[1998] = 'b';
    pattern[2000] = 0;
    CU_ASSERT_FALSE(match(pattern, text));
}

static const struct tm_test tests[] = {
    TM_TEST(patterns_match_as_in_redis),
    TM_TEST(letters_match_in_any_case_where_asked),
    TM_TEST(many_stars_take_no_exponential_time),
};

TM_TEST_MAIN("actors/glob", tests)
