#include "bench/slot_map.h"
#include "tests/test.h"

static struct tm_slot_map map;
static char why[256];

static enum tm_err parse(const char *reply)
{
    why[0] = 0;
    return tm_slot_map_parse(&map, tm_bytes_str(reply), "asked.example", why, sizeof why);
}

#define NODE_A "*3\r\n$9\r\n127.0.0.1\r\n:7001\r\n$2\r\nid\r\n"
#define NODE_B "*4\r\n$0\r\n\r\n:7002\r\n$2\r\nid\r\n*0\r\n"
#define NODE_6 "*2\r\n$3\r\n::1\r\n:7003\r\n"

static void slots_belong_to_the_first_node_of_their_range(void)
{
    CU_ASSERT_EQUAL(parse("*3\r\n*4\r\n:0\r\n:5460\r\n" NODE_A NODE_B
                          "*3\r\n:5461\r\n:16000\r\n" NODE_B "*3\r\n:16001\r\n:16383\r\n" NODE_A),
                    TM_OK);
    CU_ASSERT_EQUAL(map.owners, 2);
    CU_ASSERT_STRING_EQUAL(map.owner[map.of_slot[0]], "127.0.0.1:7001");
    CU_ASSERT_STRING_EQUAL(map.owner[map.of_slot[5460]], "127.0.0.1:7001");
    CU_ASSERT_STRING_EQUAL(map.owner[map.of_slot[5461]], "asked.example:7002");
    CU_ASSERT_STRING_EQUAL(map.owner[map.of_slot[16000]], "asked.example:7002");
    CU_ASSERT_STRING_EQUAL(map.owner[map.of_slot[16383]], "127.0.0.1:7001");
}

static void addresses_of_version_6_get_brackets(void)
{
    CU_ASSERT_EQUAL(parse("*1\r\n*3\r\n:0\r\n:16383\r\n" NODE_6), TM_OK);
    CU_ASSERT_STRING_EQUAL(map.owner[0], "[::1]:7003");
}

static void a_slot_without_an_owner_is_said(void)
{
    CU_ASSERT_EQUAL(parse("*1\r\n*3\r\n:0\r\n:16382\r\n" NODE_A), TM_ERR_NOTFOUND);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "16383"));
    CU_ASSERT_EQUAL(parse("*0\r\n"), TM_ERR_NOTFOUND);
}

static void an_error_is_passed_on(void)
{
    CU_ASSERT_EQUAL(parse("-ERR no cluster here\r\n"), TM_ERR_UNSUPPORTED);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "no cluster here"));
}

static void other_replies_are_refused(void)
{
    static const char *const bad[] = {
        "+OK\r\n",
        ":5\r\n",
        "*1\r\n:5\r\n",
        "*1\r\n*3\r\n:0\r\n:16384\r\n" NODE_A,
        "*1\r\n*3\r\n:-1\r\n:16383\r\n" NODE_A,
        "*1\r\n*2\r\n:0\r\n:16383\r\n",
        "*1\r\n*3\r\n:0\r\n:16383\r\n*1\r\n$9\r\n127.0.0.1\r\n",
        "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:65536\r\n",
        "*1\r\n*3\r\n:0\r\n:16383\r\n",
        "garbage",
    };
    for (size_t i = 0; i < TM_ARRAY_LEN(bad); i++) {
        CU_ASSERT_EQUAL(parse(bad[i]), TM_ERR_INVALID);
        CU_ASSERT(why[0] != 0);
    }
}

static const struct tm_test tests[] = {
    TM_TEST(slots_belong_to_the_first_node_of_their_range),
    TM_TEST(addresses_of_version_6_get_brackets),
    TM_TEST(a_slot_without_an_owner_is_said),
    TM_TEST(an_error_is_passed_on),
    TM_TEST(other_replies_are_refused),
};
TM_TEST_MAIN("bench/slot_map", tests)
