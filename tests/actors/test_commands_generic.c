/* Keys of any type: replies as redis 7.0 gives them. */
#include "command_bench.h"

static void keys_are_counted_and_deleted(void)
{
    bench_open();
    EXPECT("MSET a 1 b 2", "+OK");
    EXPECT("HSET h f v", ":1");
    EXPECT("EXISTS a b a none", ":3");
    EXPECT("TOUCH a none", ":1");
    EXPECT("DBSIZE", ":3");
    EXPECT("TYPE a", "+string");
    EXPECT("TYPE h", "+hash");
    EXPECT("SADD s m", ":1");
    EXPECT("TYPE s", "+set");
    EXPECT("TYPE none", "+none");
    EXPECT("DEL a none a h", ":2");
    EXPECT("UNLINK b", ":1");
    EXPECT("DEL b", ":0");
    CU_ASSERT_FALSE(bench_wrote);
    EXPECT("DBSIZE", ":1");
}

static void expiry_is_set_under_conditions(void)
{
    bench_open();
    EXPECT("EXPIRE k 10", ":0");
    EXPECT("TTL k", ":-2");
    EXPECT("SET k v", "+OK");
    EXPECT("TTL k", ":-1");
    EXPECT("EXPIRE k 10 XX", ":0");
    EXPECT("EXPIRE k 10 GT", ":0");
    EXPECT("EXPIRE k 100 LT", ":1");
    EXPECT("EXPIRE k 10 NX", ":0");
    EXPECT("EXPIRE k 50 GT", ":0");
    EXPECT("EXPIRE k 100 GT", ":0");
    EXPECT("EXPIRE k 200 GT", ":1");
    EXPECT("EXPIRE k 300 LT", ":0");
    EXPECT("EXPIRE k 90 lt xx", ":1");
    EXPECT("TTL k", ":90");
    EXPECT("PEXPIRE k 1400", ":1");
    EXPECT("TTL k", ":1");
    EXPECT("PTTL k", ":1400");
    EXPECT("EXPIREAT k 1700000060", ":1");
    EXPECT("TTL k", ":60");
    EXPECT("EXPIRETIME k", ":1700000060");
    EXPECT("PEXPIREAT k 1700000061234", ":1");
    EXPECT("PEXPIRETIME k", ":1700000061234");
    EXPECT("EXPIRETIME none", ":-2");
    EXPECT("PERSIST k", ":1");
    EXPECT("PERSIST k", ":0");
    EXPECT("PERSIST none", ":0");
    EXPECT("PEXPIRETIME k", ":-1");
    EXPECT("PTTL k", ":-1");
}

static void an_expiry_that_is_over_deletes_at_once(void)
{
    static const char *const commands[] = {"EXPIRE k -1", "EXPIRE k 0", "PEXPIRE k -100",
                                           "EXPIREAT k 1", "PEXPIREAT k 1699999999999"};
    bench_open();
    for (size_t i = 0; i < TM_ARRAY_LEN(commands); i++) {
        EXPECT("HSET k f v", ":1");
        EXPECT(commands[i], ":1");
        EXPECT("EXISTS k", ":0");
    }
}

static void expire_refuses_what_redis_refuses(void)
{
    bench_open();
    EXPECT("SET k v", "+OK");
    EXPECT("EXPIRE k x", NOTINT);
    EXPECT("EXPIRE k 9223372036854775807", "-ERR invalid expire time in 'expire' command");
    EXPECT("PEXPIRE k 9223372036854775807", "-ERR invalid expire time in 'pexpire' command");
    EXPECT("EXPIREAT k 9223372036854775807", "-ERR invalid expire time in 'expireat' command");
    EXPECT("EXPIRE k 10 foo", "-ERR Unsupported option foo");
    EXPECT("EXPIRE k 10 NX GT",
           "-ERR NX and XX, GT or LT options at the same time are not compatible");
    EXPECT("EXPIRE k 10 GT LT", "-ERR GT and LT options at the same time are not compatible");
    EXPECT("TTL k", ":-1");
}

static void rename_takes_everything_along(void)
{
    bench_open();
    EXPECT("RENAME none x", "-ERR no such key");
    EXPECT("RENAMENX none x", "-ERR no such key");
    EXPECT("HSET h a 1 b 2", ":2");
    EXPECT("HINCRBY h n 7", ":7");
    EXPECT("EXPIRE h 100", ":1");
    EXPECT("SET target string", "+OK");
    EXPECT("RENAME h target", "+OK");
    EXPECT("EXISTS h", ":0");
    EXPECT("HGETALL target", "*6 $1 a $1 1 $1 b $1 2 $1 n $1 7");
    EXPECT("TTL target", ":100");
    EXPECT("HINCRBY target n 1", ":8");
    EXPECT("RENAME target target", "+OK");
    CU_ASSERT_FALSE(bench_wrote);
    EXPECT("SET other v", "+OK");
    EXPECT("RENAMENX target other", ":0");
    EXPECT("RENAMENX target target", ":0");
    EXPECT("RENAMENX target free", ":1");
    EXPECT("TTL free", ":100");
    EXPECT("INCRBY count 5", ":5");
    EXPECT("RENAME count c2", "+OK");
    EXPECT("INCR c2", ":6");
}

static void copy_leaves_the_source(void)
{
    bench_open();
    EXPECT("COPY none x", ":0");
    EXPECT("SADD s a b", ":2");
    EXPECT("PEXPIRE s 5000", ":1");
    EXPECT("COPY s t", ":1");
    EXPECT("SMEMBERS t", "*2 $1 a $1 b");
    EXPECT("PTTL t", ":5000");
    EXPECT("SCARD s", ":2");
    EXPECT("SET k v", "+OK");
    EXPECT("COPY s k", ":0");
    EXPECT("COPY s k DB 0 REPLACE", ":1");
    EXPECT("TYPE k", "+set");
    EXPECT("COPY s s", "-ERR source and destination objects are the same");
    EXPECT("COPY s k DB 1", "-ERR Copying to another database is not allowed in cluster mode");
    EXPECT("COPY s k DB 16", "-ERR DB index is out of range");
    EXPECT("COPY s k DB -1", "-ERR DB index is out of range");
    EXPECT("COPY s k DB", SYNTAX);
    EXPECT("COPY s k foo", SYNTAX);
    bench_max_entity = 40;
    EXPECT("COPY s longer-than-it-was", TOOLARGE);
    EXPECT("RENAME s longer-than-it-was", TOOLARGE);
    EXPECT("EXISTS s longer-than-it-was", ":1");
}

static void large_entities_are_renamed_whole(void)
{
    static char command[40000];
    bench_open();
    size_t n = (size_t)snprintf(command, sizeof command, "SADD big");
    for (unsigned i = 0; i < 1000; i++)
        n += (size_t)snprintf(command + n, sizeof command - n, " member%u", i);
    EXPECT(command, ":1000");
    EXPECT("SADD old x", ":1");
    EXPECT("RENAME big old", "+OK");
    EXPECT("SCARD old", ":1000");
    EXPECT("COPY old new", ":1");
    EXPECT("SREM new member7", ":1");
    EXPECT("SISMEMBER old member7", ":1");
    EXPECT("SINTERCARD 2 old new", ":999");
}

static void object_tells_how_redis_would_store_it(void)
{
    static uint8_t big[100];
    memset(big, 'x', sizeof big);
    bench_big = tm_bytes_of(big, 65);
    bench_open();
    EXPECT("MSET i 12 s hello r BIG", "+OK");
    EXPECT("OBJECT ENCODING i", "$3 int");
    EXPECT("OBJECT encoding s", "$6 embstr");
    EXPECT("OBJECT ENCODING r", "$3 raw");
    EXPECT("SADD ints 1 2", ":2");
    EXPECT("OBJECT ENCODING ints", "$6 intset");
    EXPECT("SADD ints x", ":1");
    EXPECT("OBJECT ENCODING ints", "$9 hashtable");
    EXPECT("HSET h f v", ":1");
    EXPECT("OBJECT ENCODING h", "$8 listpack");
    EXPECT("HSET h f BIG", ":0");
    EXPECT("OBJECT ENCODING h", "$9 hashtable");
    EXPECT("OBJECT REFCOUNT h", ":1");
    EXPECT("OBJECT IDLETIME h", ":0");
    EXPECT("OBJECT ENCODING none", "$-1");
    EXPECT("OBJECT FREQ none", "$-1");
    CU_ASSERT_EQUAL(strncmp(reply_to("OBJECT FREQ h"), "-ERR An LFU maxmemory policy", 28), 0);
    EXPECT("OBJECT foo k", "-ERR unknown subcommand 'foo'. Try OBJECT HELP.");
    EXPECT("OBJECT ENCODING", "-ERR wrong number of arguments for 'object|encoding' command");
    CU_ASSERT_EQUAL(strncmp(reply_to("OBJECT HELP"), "*15 +OBJECT <subcommand>", 24), 0);
}

static unsigned count_keys(const char *reply)
{
    unsigned n;
    CU_ASSERT_EQUAL_FATAL(sscanf(reply, "*%u", &n), 1);
    return n;
}

static void scan_visits_what_stays_exactly_once(void)
{
    static unsigned seen[400];
    char command[64];
    bench_open();
    memset(seen, 0, sizeof seen);
    for (unsigned i = 0; i < 400; i++) {
        (void)snprintf(command, sizeof command, "SET key%u v", i);
        EXPECT(command, "+OK");
    }
    bench_cursor = 0;
    unsigned extra = 0;
    do {
        const char *p = reply_to("SCAN 0 COUNT 10");
        unsigned n = count_keys(p), length, key;
        int used;
        CU_ASSERT(n >= 10 || bench_cursor == 0);
        for (p = strchr(p, ' '); n > 0; n--, p += used)
            if (sscanf(p, " $%u key%u%n", &length, &key, &used) == 2)
                seen[key]++;
            else
                CU_ASSERT_EQUAL_FATAL(sscanf(p, " $%u x%u%n", &length, &key, &used), 2);
        uint64_t cursor = bench_cursor;
        for (unsigned i = 0; i < 5; i++) { /* the table grows meanwhile */
            (void)snprintf(command, sizeof command, "SET x%u v", extra++);
            EXPECT(command, "+OK");
        }
        bench_cursor = cursor;
    } while (bench_cursor != 0);
    for (unsigned i = 0; i < 400; i++)
        CU_ASSERT_EQUAL(seen[i], 1);
}

static void scan_and_keys_filter(void)
{
    bench_open();
    EXPECT("MSET Order:1 a Order:2 b User:1 c", "+OK");
    EXPECT("SADD Order:set m", ":1");
    bench_cursor = 0;
    EXPECT("SCAN 0 MATCH User:* COUNT 100", "*1 $6 User:1");
    EXPECT("SCAN 0 COUNT 100 TYPE set", "*1 $9 Order:set");
    EXPECT("SCAN 0 COUNT 100 TYPE SET MATCH Us*", "*0");
    EXPECT("SCAN 0 TYPE zset COUNT 100", "*0");
    EXPECT("SCAN 0 COUNT 0", SYNTAX);
    EXPECT("SCAN 0 COUNT", SYNTAX);
    EXPECT("SCAN 0 foo 1", SYNTAX);
    CU_ASSERT_EQUAL(count_keys(reply_to("KEYS *")), 4);
    CU_ASSERT_EQUAL(count_keys(reply_to("KEYS Order:?")), 2);
    EXPECT("KEYS U[s]er:1", "*1 $6 User:1");
    EXPECT("KEYS none", "*0");
    EXPECT("CLUSTER|SLOT 12182 -1", ":0"); /* the slot of foo */
    EXPECT("MSET foo 1 {foo}a 2 {foo}b 3", "+OK");
    EXPECT("CLUSTER|SLOT 12182 -1", ":3");
    CU_ASSERT_EQUAL(count_keys(reply_to("CLUSTER|SLOT 12182 10")), 3);
    CU_ASSERT_EQUAL(count_keys(reply_to("CLUSTER|SLOT 12182 2")), 2);
    EXPECT("CLUSTER|SLOT 12182 0", "*0");
    EXPECT("CLUSTER|SLOT 12183 10", "*0");
    EXPECT("DEL foo {foo}a {foo}b", ":3");
    EXPECT("PEXPIRE User:1 5", ":1");
    bench_now += 10; /* due, not yet logged as expired */
    EXPECT("KEYS User*", "*0");
    EXPECT("SCAN 0 MATCH User:* COUNT 100", "*0");
    bench_now -= 10;
}

static void randomkey_gives_a_key_that_is_there(void)
{
    bench_open();
    EXPECT("RANDOMKEY", "$-1");
    EXPECT("MSET a 1 b 2", "+OK");
    bool a = false, b = false;
    for (unsigned i = 0; i < 100; i++) {
        const char *got = reply_to("RANDOMKEY");
        a |= strcmp(got, "$1 a") == 0;
        b |= strcmp(got, "$1 b") == 0;
    }
    CU_ASSERT(a && b);
    EXPECT("PEXPIRE a 5", ":1");
    bench_now += 10;
    for (unsigned i = 0; i < 20; i++)
        EXPECT("RANDOMKEY", "$1 b");
    bench_now -= 10;
}

static void flush_empties_the_partition(void)
{
    bench_open();
    EXPECT("FLUSHALL", "+OK");
    CU_ASSERT_FALSE(bench_wrote);
    EXPECT("MSET a 1 b 2", "+OK");
    EXPECT("FLUSHALL foo", SYNTAX);
    EXPECT("FLUSHALL ASYNC x", SYNTAX);
    EXPECT("FLUSHALL ASYNC", "+OK");
    EXPECT("DBSIZE", ":0");
    EXPECT("SET a 3", "+OK");
    EXPECT("FLUSHDB sync", "+OK");
    EXPECT("GET a", "$-1");
}

static const struct tm_test tests[] = {
    TM_TEST(keys_are_counted_and_deleted),           TM_TEST(expiry_is_set_under_conditions),
    TM_TEST(an_expiry_that_is_over_deletes_at_once), TM_TEST(expire_refuses_what_redis_refuses),
    TM_TEST(rename_takes_everything_along),          TM_TEST(copy_leaves_the_source),
    TM_TEST(large_entities_are_renamed_whole),       TM_TEST(object_tells_how_redis_would_store_it),
    TM_TEST(scan_visits_what_stays_exactly_once),    TM_TEST(scan_and_keys_filter),
    TM_TEST(randomkey_gives_a_key_that_is_there),    TM_TEST(flush_empties_the_partition),
};

int main(void)
{
    return bench_main("actors/commands_generic", tests, TM_ARRAY_LEN(tests));
}
