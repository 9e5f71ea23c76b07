#include "net/addr.h"
#include "test.h"

static void a_numeric_address_reads_back_as_it_was_written(void)
{
    const char *texts[] = {"127.0.0.1:7000", "0.0.0.0:0",     "[::1]:65535",
                           "[fe80::1]:1",    "unix:/tmp/a.b", "unix:@tidemill-x"};
    for (size_t i = 0; i < TM_ARRAY_LEN(texts); i++) {
        struct tm_addr addr;
        char buf[TM_ADDR_TEXT];
        CU_ASSERT_EQUAL(tm_addr_parse(&addr, texts[i]), TM_OK);
        CU_ASSERT_STRING_EQUAL(tm_addr_format(&addr, buf, sizeof buf), texts[i]);
    }
}

static void a_star_is_every_address(void)
{
    struct tm_addr addr;
    char buf[TM_ADDR_TEXT];
    CU_ASSERT_EQUAL(tm_addr_parse(&addr, "*:6379"), TM_OK);
    CU_ASSERT_STRING_EQUAL(tm_addr_format(&addr, buf, sizeof buf), "0.0.0.0:6379");
    CU_ASSERT_EQUAL(tm_addr_port(&addr), 6379);
    tm_addr_set_port(&addr, 1);
    CU_ASSERT_EQUAL(tm_addr_port(&addr), 1);
}

static void what_is_no_address_is_refused(void)
{
    const char *bad[] = {
        "",     ":1",      "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "1.2.3.4:-1",  "::1:80",
        "[]:1", "host:1x", "unix:",     "host: 1",    "[::1]",           "127.0.0.1:1 "};
    struct tm_addr addr;
    char longest[400];
    for (size_t i = 0; i < TM_ARRAY_LEN(bad); i++)
        CU_ASSERT_EQUAL(tm_addr_parse(&addr, bad[i]), TM_ERR_INVALID);
    memset(longest, 'a', sizeof longest);
    memcpy(longest, "unix:", 5);
    strcpy(longest + 390, ":1");
    CU_ASSERT_EQUAL(tm_addr_parse(&addr, longest), TM_ERR_INVALID);
    CU_ASSERT_EQUAL(tm_addr_parse(&addr, longest + 5), TM_ERR_INVALID);
}

static void a_name_needs_resolving(void)
{
    struct tm_addr addr;
    char buf[TM_ADDR_TEXT];
    CU_ASSERT_EQUAL(tm_addr_parse(&addr, "localhost:80"), TM_ERR_NOTFOUND);
    CU_ASSERT_EQUAL(tm_addr_resolve(&addr, "localhost:80"), TM_OK);
    CU_ASSERT_EQUAL(tm_addr_port(&addr), 80);
    CU_ASSERT_EQUAL(tm_addr_resolve(&addr, "127.0.0.1:81"), TM_OK);
    CU_ASSERT_STRING_EQUAL(tm_addr_format(&addr, buf, sizeof buf), "127.0.0.1:81");
    CU_ASSERT_EQUAL(tm_addr_resolve(&addr, "no colon"), TM_ERR_INVALID);
}

static const struct tm_test tests[] = {
    TM_TEST(a_numeric_address_reads_back_as_it_was_written),
    TM_TEST(a_star_is_every_address),
    TM_TEST(what_is_no_address_is_refused),
    TM_TEST(a_name_needs_resolving),
};
TM_TEST_MAIN("net/addr", tests)
