/* Hashes: replies as redis 7.0 gives them. */
#include "command_bench.h"

static void fields_are_set_and_read(void)
{
    bench_open();
    EXPECT("HSET h a 1 b 2 a 3", ":2");
    EXPECT("HSET h a 4 c 5", ":1");
    EXPECT("HGET h a", "$1 4");
    EXPECT("HGET h none", "$-1");
    EXPECT("HGET none a", "$-1");
    EXPECT("HMGET h a none c", "*3 $1 4 $-1 $1 5");
    EXPECT("HMGET none a b", "*2 $-1 $-1");
    EXPECT("HMSET h d 6", "+OK");
    EXPECT("HSETNX h d 7", ":0");
    EXPECT("HSETNX h e 8", ":1");
    EXPECT("HLEN h", ":5");
    EXPECT("HLEN none", ":0");
    EXPECT("HEXISTS h d", ":1");
    EXPECT("HEXISTS h x", ":0");
    EXPECT("HSTRLEN h e", ":1");
    EXPECT("HSTRLEN h x", ":0");
    EXPECT("HSET h '' empty", ":1");
    EXPECT("HGET h ''", "$5 empty");
    EXPECT("HSET h f", "arity");
    EXPECT("HSET h f v g", "-ERR wrong number of arguments for 'hset' command");
    EXPECT("HMSET h f v g", "-ERR wrong number of arguments for 'hmset' command");
}

static void whole_hashes_are_read_in_the_clients_form(void)
{
    bench_open();
    EXPECT("HSET h a 1 b 2", ":2");
    EXPECT("HGETALL h", "*4 $1 a $1 1 $1 b $1 2");
    EXPECT("HKEYS h", "*2 $1 a $1 b");
    EXPECT("HVALS h", "*2 $1 1 $1 2");
    EXPECT("HGETALL none", "*0");
    bench_version = 3;
    EXPECT("HGETALL h", "%2 $1 a $1 1 $1 b $1 2");
    EXPECT("HGETALL none", "%0");
    EXPECT("HKEYS h", "*2 $1 a $1 b");
    EXPECT("HGET h x", "_");
}

static void the_last_field_takes_the_hash_along(void)
{
    bench_open();
    EXPECT("HSET h a 1 b 2 c 3", ":3");
    EXPECT("HDEL h a a x", ":1");
    EXPECT("HDEL h x", ":0");
    CU_ASSERT_FALSE(bench_wrote);
    EXPECT("HDEL h b c", ":2");
    EXPECT("EXISTS h", ":0");
    EXPECT("HDEL h b", ":0");
    EXPECT("SET h string", "+OK");
    EXPECT("TYPE h", "+string");
}

#define Z30 "000000000000000000000000000000"
#define Z90 Z30 Z30 Z30

static void numbers_in_fields(void)
{
    bench_open();
    EXPECT("HINCRBY h n 5", ":5");
    EXPECT("HINCRBY h n -7", ":-2");
    EXPECT("HGET h n", "$2 -2");
    EXPECT("HSTRLEN h n", ":2");
    EXPECT("HGETALL h", "*2 $1 n $2 -2");
    EXPECT("HSET h n 9223372036854775807 s x f 1.5", ":2");
    EXPECT("HINCRBY h n 1", "-ERR increment or decrement would overflow");
    EXPECT("HINCRBY h s 1", "-ERR hash value is not an integer");
    EXPECT("HINCRBY h n x", NOTINT);
    EXPECT("HINCRBYFLOAT h f 0.25", "$4 1.75");
    EXPECT("HINCRBYFLOAT h new 3", "$1 3");
    EXPECT("HINCRBY h new 1", ":4");
    EXPECT("HINCRBYFLOAT h new 1.5", "$3 5.5");
    EXPECT("HINCRBYFLOAT h s 1", "-ERR hash value is not a float");
    EXPECT("HSET h long 1" Z90 Z90 Z90, ":1"); /* as long as what HINCRBYFLOAT itself may write */
    EXPECT("HINCRBYFLOAT h long -1e270", "$1 0");
    EXPECT("HINCRBYFLOAT h f x", "-ERR value is not a valid float");
    EXPECT("HINCRBYFLOAT h f inf", "-ERR value is NaN or Infinity");
}

static void every_hash_command_refuses_other_types(void)
{
    static const char *const commands[] = {
        "HSET k f v",     "HSETNX k f v", "HMSET k f v",   "HGET k f",     "HMGET k f",
        "HGETALL k",      "HDEL k f",     "HEXISTS k f",   "HLEN k",       "HSTRLEN k f",
        "HKEYS k",        "HVALS k",      "HINCRBY k f 1", "HRANDFIELD k", "HINCRBYFLOAT k f 1",
        "HRANDFIELD k 2", "HSCAN k 0"};
    bench_open();
    EXPECT("SET k v", "+OK");
    for (size_t i = 0; i < TM_ARRAY_LEN(commands); i++)
        EXPECT(commands[i], WRONGTYPE);
}

static unsigned words_in(const char *reply, char first)
{
    unsigned n = 0;
    for (const char *p = reply; (p = strchr(p, first)) != NULL; p++)
        n++;
    return n;
}

static void random_fields_are_fields(void)
{
    bench_open();
    EXPECT("HRANDFIELD none", "$-1");
    EXPECT("HRANDFIELD none 5", "*0");
    EXPECT("HSET h a 1 b 2 c 3", ":3");
    bool reached[3] = {false};
    for (unsigned i = 0; i < 100; i++) {
        const char *got = reply_to("HRANDFIELD h");
        CU_ASSERT_FATAL(strlen(got) == 4 && got[3] >= 'a' && got[3] <= 'c');
        reached[got[3] - 'a'] = true;
    }
    CU_ASSERT(reached[0] && reached[1] && reached[2]);
    EXPECT("HRANDFIELD h 10", "*3 $1 a $1 b $1 c");
    EXPECT("HRANDFIELD h 10 WITHVALUES", "*6 $1 a $1 1 $1 b $1 2 $1 c $1 3");
    EXPECT("HRANDFIELD h 0", "*0");
    CU_ASSERT_EQUAL(words_in(reply_to("HRANDFIELD h 2"), '$'), 2);
    CU_ASSERT_EQUAL(words_in(reply_to("HRANDFIELD h -9"), '$'), 9);
    CU_ASSERT_EQUAL(words_in(reply_to("HRANDFIELD h -9 withvalues"), '$'), 18);
    EXPECT("HRANDFIELD h x", NOTINT);
    EXPECT("HRANDFIELD h 1 foo", SYNTAX);
    EXPECT("HRANDFIELD h 1 withvalues x", SYNTAX);
    EXPECT("HRANDFIELD h -9223372036854775808",
           "-ERR value is out of range, value must between -9223372036854775807 and "
           "9223372036854775807");
    EXPECT("HRANDFIELD h 9223372036854775807 WITHVALUES", "-ERR value is out of range");
    bench_version = 3;
    EXPECT("HRANDFIELD h 3 WITHVALUES", "*3 *2 $1 a $1 1 *2 $1 b $1 2 *2 $1 c $1 3");
}

static void a_large_hash_is_as_good_as_a_small_one(void)
{
    char command[64], expected[64];
    bench_open();
    for (unsigned i = 0; i < 500; i++) {
        (void)snprintf(command, sizeof command, "HSET h field%u %u", i, i);
        EXPECT(command, ":1");
    }
    EXPECT("HLEN h", ":500");
    EXPECT("EXPIRE h 100", ":1");
    EXPECT("HINCRBY h field7 10", ":17");
    EXPECT("TTL h", ":100");
    for (unsigned i = 0; i < 500; i += 2) {
        (void)snprintf(command, sizeof command, "HDEL h field%u x%u", i, i);
        EXPECT(command, ":1");
    }
    for (unsigned i = 1; i < 500; i += 2) {
        (void)snprintf(command, sizeof command, "HGET h field%u", i);
        (void)snprintf(expected, sizeof expected, "$%d %u", i == 7 ? 2 : 1 + (i > 9) + (i > 99),
                       i == 7 ? 17 : i);
        EXPECT(command, expected);
    }
    EXPECT("PERSIST h", ":1");
    EXPECT("DEL h", ":1");
    EXPECT("HLEN h", ":0");
}

static void hscan_walks_all_fields_once(void)
{
    char command[64];
    unsigned seen[300] = {0};
    uint64_t cursor = 0;
    bench_open();
    EXPECT("HSCAN none 0", "*2 $1 0 *0");
    EXPECT("HSET h a 1 b 2", ":2");
    EXPECT("HSCAN h 0", "*2 $1 0 *4 $1 a $1 1 $1 b $1 2");
    EXPECT("HSCAN h 0 MATCH b*", "*2 $1 0 *2 $1 b $1 2");
    EXPECT("HSCAN h 0 COUNT 0", SYNTAX);
    EXPECT("HSCAN h 0 COUNT x", NOTINT);
    EXPECT("HSCAN h 0 TYPE hash", SYNTAX);
    EXPECT("HSCAN h x", "-ERR invalid cursor");
    EXPECT("HSCAN h -1", "-ERR invalid cursor");
    EXPECT("HSCAN h 18446744073709551615", "*2 $1 0 *0");
    for (unsigned i = 0; i < 300; i++) {
        (void)snprintf(command, sizeof command, "HSET big f%u v", i);
        EXPECT(command, ":1");
    }
    do {
        unsigned length, fields, field;
        int used;
        (void)snprintf(command, sizeof command, "HSCAN big %" PRIu64 " COUNT 7", cursor);
        const char *p = reply_to(command);
        CU_ASSERT_EQUAL_FATAL(
            sscanf(p, "*2 $%u %" SCNu64 " *%u%n", &length, &cursor, &fields, &used), 3);
        for (p += used; fields > 0; fields -= 2, p += used) {
            CU_ASSERT_EQUAL_FATAL(sscanf(p, " $%u f%u $1 v%n", &length, &field, &used), 2);
            seen[field]++;
        }
    } while (cursor != 0);
    for (unsigned i = 0; i < 300; i++)
        CU_ASSERT_EQUAL(seen[i], 1);
}

static void a_hash_stays_within_the_limit(void)
{
    static uint8_t big[1000];
    memset(big, 'x', sizeof big);
    bench_open();
    bench_max_entity = 1000;
    bench_big = tm_bytes_of(big, 900);
    EXPECT("HSET h a BIG", ":1");
    EXPECT("HSET h b BIG", TOOLARGE);
    EXPECT("HSET h a BIG", ":0");
    bench_big = tm_bytes_of(big, 970);
    EXPECT("HSET h a BIG", ":0");
    EXPECT("HSETNX h b v", TOOLARGE);
    EXPECT("HINCRBY h n 1", TOOLARGE);
    EXPECT("HINCRBYFLOAT h n 1", TOOLARGE);
    EXPECT("HLEN h", ":1");
}

static const struct tm_test tests[] = {
    TM_TEST(fields_are_set_and_read),
    TM_TEST(whole_hashes_are_read_in_the_clients_form),
    TM_TEST(the_last_field_takes_the_hash_along),
    TM_TEST(numbers_in_fields),
    TM_TEST(every_hash_command_refuses_other_types),
    TM_TEST(random_fields_are_fields),
    TM_TEST(a_large_hash_is_as_good_as_a_small_one),
    TM_TEST(hscan_walks_all_fields_once),
    TM_TEST(a_hash_stays_within_the_limit),
};

int main(void)
{
    return bench_main("actors/commands_hash", tests, TM_ARRAY_LEN(tests));
}
