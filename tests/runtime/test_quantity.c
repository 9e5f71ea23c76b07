#include "runtime/quantity.h"
#include "test.h"

static int64_t size_of(const char *text)
{
    int64_t v = -1;
    return tm_size_parse(text, &v) ? v : -1;
}

static int64_t time_of(const char *text, const char *unit)
{
    int64_t v = -1;
    return tm_time_parse(text, unit, &v) ? v : -1;
}

static void sizes_are_powers_of_1024(void)
{
    CU_ASSERT_EQUAL(size_of("0"), 0);
    CU_ASSERT_EQUAL(size_of("65536"), 65536);
    CU_ASSERT_EQUAL(size_of("4k"), 4096);
    CU_ASSERT_EQUAL(size_of("64MiB"), 64 << 20);
    CU_ASSERT_EQUAL(size_of("2tb"), INT64_C(2) << 40);
    static const char *const none[] = {"", "k", "4 k", "1.5m", "4kk", "9999999t", "0x10", "1e3"};
    for (size_t i = 0; i < TM_ARRAY_LEN(none); i++)
        CU_ASSERT_EQUAL(size_of(none[i]), -1);
}

static void times_count_in_their_own_unit(void)
{
    CU_ASSERT_EQUAL(time_of("5", "ms"), 5);
    CU_ASSERT_EQUAL(time_of("5", "us"), 5);
    CU_ASSERT_EQUAL(time_of("2s", "ms"), 2000);
    CU_ASSERT_EQUAL(time_of("7d", "s"), 7 * 86400);
    CU_ASSERT_EQUAL(time_of("90min", "s"), 5400);
    static const char *const none[] = {"500us", "s", "", "1y", "1.5s", "200000000000d"};
    for (size_t i = 0; i < TM_ARRAY_LEN(none); i++)
        CU_ASSERT_EQUAL(time_of(none[i], "ms"), -1);
}

static void what_is_written_is_read_back(void)
{
    static const int64_t values[] = {0,    1,     999,    1000,    1024,
                                     3600, 86400, 604800, 1 << 20, 123456789};
    static const char *const units[] = {"us", "ms", "s"};
    char text[32];
    for (size_t i = 0; i < TM_ARRAY_LEN(values); i++) {
        tm_size_text(values[i], text, sizeof text);
        CU_ASSERT_EQUAL(size_of(text), values[i]);
        for (size_t u = 0; u < TM_ARRAY_LEN(units); u++) {
            tm_time_text(values[i], units[u], text, sizeof text);
            CU_ASSERT_EQUAL(time_of(text, units[u]), values[i]);
        }
    }
    tm_time_text(604800, "s", text, sizeof text);
    CU_ASSERT_STRING_EQUAL(text, "7d");
    tm_time_text(1500, "ms", text, sizeof text);
    CU_ASSERT_STRING_EQUAL(text, "1500ms");
    tm_size_text(65536, text, sizeof text);
    CU_ASSERT_STRING_EQUAL(text, "64KiB");
}

static const struct tm_test tests[] = {
    TM_TEST(sizes_are_powers_of_1024),
    TM_TEST(times_count_in_their_own_unit),
    TM_TEST(what_is_written_is_read_back),
};
TM_TEST_MAIN("runtime/quantity", tests)
