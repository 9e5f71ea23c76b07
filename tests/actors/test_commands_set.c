/* Sets: replies as redis 7.0 gives them. */
#include "command_bench.h"

static void members_come_and_go(void)
{
    bench_open();
    EXPECT("SADD s a b a c", ":3");
    EXPECT("SADD s a d", ":1");
    EXPECT("SADD s a", ":0");
    CU_ASSERT_FALSE(bench_wrote);
    EXPECT("SCARD s", ":4");
    EXPECT("SISMEMBER s a", ":1");
    EXPECT("SISMEMBER s x", ":0");
    EXPECT("SMISMEMBER s a x d", "*3 :1 :0 :1");
    EXPECT("SMISMEMBER none a x", "*2 :0 :0");
    EXPECT("SMEMBERS s", "*4 $1 a $1 b $1 c $1 d");
    EXPECT("SMEMBERS none", "*0");
    EXPECT("SREM s a x a", ":1");
    EXPECT("SREM s b c d", ":3");
    EXPECT("EXISTS s", ":0");
    EXPECT("SREM s a", ":0");
    EXPECT("SADD s ''", ":1");
    EXPECT("SMEMBERS s", "*1 $0 ");
    bench_version = 3;
    EXPECT("SMEMBERS s", "~1 $0 ");
}

static void every_set_command_refuses_other_types(void)
{
    static const char *const commands[] = {
        "SADD k m",        "SREM k m",         "SISMEMBER k m", "SMISMEMBER k m",
        "SMEMBERS k",      "SCARD k",          "SPOP k",        "SPOP k 2",
        "SRANDMEMBER k",   "SRANDMEMBER k 2",  "SMOVE k s m",   "SMOVE s k m",
        "SINTER s k",      "SUNION k s",       "SDIFF s k",     "SINTERSTORE d s k",
        "SUNIONSTORE d k", "SDIFFSTORE d s k", "SSCAN k 0",     "SINTERCARD 2 s k"};
    bench_open();
    EXPECT("SET k v", "+OK");
    EXPECT("SADD s m", ":1");
    for (size_t i = 0; i < TM_ARRAY_LEN(commands); i++)
        EXPECT(commands[i], WRONGTYPE);
    EXPECT("SINTER none k", WRONGTYPE);
}

static void spop_takes_members_out(void)
{
    bench_open();
    EXPECT("SPOP none", "$-1");
    EXPECT("SPOP none 3", "*0");
    EXPECT("SADD s a b c d e", ":5");
    CU_ASSERT_EQUAL(strlen(reply_to("SPOP s")), 4);
    CU_ASSERT(bench_wrote);
    EXPECT("SCARD s", ":4");
    CU_ASSERT_EQUAL(strncmp(reply_to("SPOP s 2"), "*2 $1 ", 6), 0);
    EXPECT("SCARD s", ":2");
    EXPECT("SPOP s 0", "*0");
    CU_ASSERT_FALSE(bench_wrote);
    EXPECT("SPOP s -1", "-ERR value is out of range, must be positive");
    EXPECT("SPOP s x", "-ERR value is out of range, must be positive");
    EXPECT("SPOP s 1 2", SYNTAX);
    CU_ASSERT_EQUAL(strncmp(reply_to("SPOP s 9"), "*2 $1 ", 6), 0);
    EXPECT("EXISTS s", ":0");
}

static void any_member_may_be_popped_or_drawn(void)
{
    bench_open();
    unsigned popped[4] = {0}, drawn[4] = {0};
    for (unsigned i = 0; i < 200; i++) {
        CU_ASSERT_EQUAL(strncmp(reply_to("SADD s a b c d"), ":", 1), 0);
        const char *got = reply_to("SRANDMEMBER s 1");
        drawn[got[6] - 'a']++;
        got = reply_to("SPOP s 1");
        popped[got[6] - 'a']++;
    }
    for (unsigned i = 0; i < 4; i++)
        CU_ASSERT(popped[i] > 20 && drawn[i] > 20);
}

static void srandmember_leaves_them(void)
{
    bench_open();
    EXPECT("SRANDMEMBER none", "$-1");
    EXPECT("SRANDMEMBER none 2", "*0");
    EXPECT("SADD s a b c", ":3");
    EXPECT("SRANDMEMBER s 5", "*3 $1 a $1 b $1 c");
    EXPECT("SRANDMEMBER s 0", "*0");
    CU_ASSERT_EQUAL(strncmp(reply_to("SRANDMEMBER s -7"), "*7 $1 ", 6), 0);
    EXPECT("SRANDMEMBER s x", NOTINT);
    EXPECT("SRANDMEMBER s 1 2", SYNTAX);
    EXPECT("SCARD s", ":3");
}

static void smove_is_one_change(void)
{
    bench_open();
    EXPECT("SADD a x y", ":2");
    EXPECT("SMOVE a b x", ":1");
    EXPECT("SMEMBERS a", "*1 $1 y");
    EXPECT("SMEMBERS b", "*1 $1 x");
    EXPECT("SMOVE a b none", ":0");
    EXPECT("SMOVE none b x", ":0");
    EXPECT("SMOVE a a y", ":1");
    CU_ASSERT_FALSE(bench_wrote);
    EXPECT("SMOVE a a z", ":0");
    EXPECT("SMOVE a b y", ":1");
    EXPECT("EXISTS a", ":0");
    EXPECT("SCARD b", ":2");
}

static void sets_are_combined(void)
{
    bench_open();
    EXPECT("SADD a 1 2 3 4", ":4");
    EXPECT("SADD b 3 4 5", ":3");
    EXPECT("SADD c 4", ":1");
    EXPECT("SINTER a b", "*2 $1 3 $1 4");
    EXPECT("SINTER a b c", "*1 $1 4");
    EXPECT("SINTER a none", "*0");
    EXPECT("SINTER a a", "*4 $1 1 $1 2 $1 3 $1 4");
    EXPECT("SUNION a b", "*5 $1 1 $1 2 $1 3 $1 4 $1 5");
    EXPECT("SUNION none c", "*1 $1 4");
    EXPECT("SDIFF a b", "*2 $1 1 $1 2");
    EXPECT("SDIFF a b c none", "*2 $1 1 $1 2");
    EXPECT("SDIFF none a", "*0");
    EXPECT("SDIFF a a", "*0");
    EXPECT("SINTERCARD 2 a b", ":2");
    EXPECT("SINTERCARD 2 a b LIMIT 1", ":1");
    EXPECT("SINTERCARD 2 a b LIMIT 0", ":2");
    EXPECT("SINTERCARD 0 a", "-ERR numkeys should be greater than 0");
    EXPECT("SINTERCARD x a", "-ERR numkeys should be greater than 0");
    EXPECT("SINTERCARD 3 a b", "-ERR Number of keys can't be greater than number of args");
    EXPECT("SINTERCARD 2 a b LIMIT -1", "-ERR LIMIT can't be negative");
    EXPECT("SINTERCARD 2 a b LIMIT", SYNTAX);
    EXPECT("SINTERCARD 1 a b", SYNTAX);
    bench_version = 3;
    EXPECT("SINTER a b", "~2 $1 3 $1 4");
}

static void a_stored_result_may_replace_one_of_its_sources(void)
{
    bench_open();
    EXPECT("SADD a 1 2 3 4", ":4");
    EXPECT("SADD b 3 4 5", ":3");
    EXPECT("EXPIRE a 100", ":1");
    EXPECT("SINTERSTORE d a b", ":2");
    EXPECT("SMEMBERS d", "*2 $1 3 $1 4");
    EXPECT("SDIFFSTORE b a b", ":2");
    EXPECT("SMEMBERS b", "*2 $1 1 $1 2");
    EXPECT("SUNIONSTORE d b d", ":4");
    EXPECT("SCARD d", ":4");
    EXPECT("SINTERSTORE a a b", ":2");
    EXPECT("SMEMBERS a", "*2 $1 1 $1 2");
    EXPECT("TTL a", ":-1");
    EXPECT("SDIFFSTORE a a a", ":0");
    EXPECT("EXISTS a", ":0");
    EXPECT("SET str v", "+OK");
    EXPECT("SUNIONSTORE str b", ":2");
    EXPECT("TYPE str", "+set");
    EXPECT("SINTERSTORE str b none", ":0");
    EXPECT("EXISTS str", ":0");
    EXPECT("SINTERSTORE none2 b none", ":0");
    CU_ASSERT_FALSE(bench_wrote);
}

static void large_sets_work_alike(void)
{
    static char command[40000];
    bench_open();
    for (unsigned s = 0; s < 2; s++) {
        size_t n = (size_t)snprintf(command, sizeof command, "SADD big%u", s);
        for (unsigned i = 0; i < 1000; i++)
            n += (size_t)snprintf(command + n, sizeof command - n, " member%u", i + s * 500);
        EXPECT(command, ":1000");
    }
    EXPECT("SINTERCARD 2 big0 big1", ":500");
    EXPECT("SUNIONSTORE all big0 big1", ":1500");
    EXPECT("SDIFFSTORE big0 big0 big1", ":500");
    EXPECT("SISMEMBER big0 member499", ":1");
    EXPECT("SISMEMBER big0 member500", ":0");
    EXPECT("SINTERSTORE all all big1", ":1000");
    EXPECT("SDIFFSTORE all all big1", ":0");
    CU_ASSERT_EQUAL(strncmp(reply_to("SPOP big1 990"), "*990 $", 6), 0);
    EXPECT("SCARD big1", ":10");
    uint64_t cursor = 0, members = 0;
    do {
        unsigned length, got;
        (void)snprintf(command, sizeof command, "SSCAN big0 %" PRIu64, cursor);
        CU_ASSERT_EQUAL_FATAL(
            sscanf(reply_to(command), "*2 $%u %" SCNu64 " *%u", &length, &cursor, &got), 3);
        members += got;
    } while (cursor != 0);
    CU_ASSERT_EQUAL(members, 500);
    EXPECT("SSCAN big0 0 MATCH member499 COUNT 10000", "*2 $1 0 *1 $9 member499");
}

static void a_set_stays_within_the_limit(void)
{
    bench_open();
    bench_max_entity = 60;
    EXPECT("SADD s a b c", ":3");
    EXPECT("SADD s a b c", ":0");
    EXPECT("SADD s d", TOOLARGE);
    EXPECT("SADD t d", ":1");
    EXPECT("SMOVE t s d", TOOLARGE);
    EXPECT("SUNIONSTORE u s t", TOOLARGE);
    EXPECT("EXISTS u t", ":1");
}

static const struct tm_test tests[] = {
    TM_TEST(members_come_and_go),     TM_TEST(every_set_command_refuses_other_types),
    TM_TEST(spop_takes_members_out),  TM_TEST(any_member_may_be_popped_or_drawn),
    TM_TEST(srandmember_leaves_them), TM_TEST(smove_is_one_change),
    TM_TEST(sets_are_combined),       TM_TEST(a_stored_result_may_replace_one_of_its_sources),
    TM_TEST(large_sets_work_alike),   TM_TEST(a_set_stays_within_the_limit),
};

int main(void)
{
    return bench_main("actors/commands_set", tests, TM_ARRAY_LEN(tests));
}
