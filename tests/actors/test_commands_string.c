/* Strings and counters: replies as redis 7.0 gives them. */
#include "command_bench.h"

static void set_and_get(void)
{
    bench_open();
    EXPECT("GET k", "$-1");
    EXPECT("SET k v", "+OK");
    EXPECT("GET k", "$1 v");
    EXPECT("set k ''", "+OK");
    EXPECT("GET k", "$0 ");
    EXPECT("SET '' empty", "+OK");
    EXPECT("GET ''", "$5 empty");
    EXPECT("GET", "arity");
    EXPECT("SET k", "arity");
    EXPECT("HSET h f v", ":1");
    EXPECT("GET h", WRONGTYPE);
    EXPECT("SET h v", "+OK");
    EXPECT("TYPE h", "+string");
    bench_version = 3;
    EXPECT("GET none", "_");
}

static void set_takes_all_its_options(void)
{
    bench_open();
    EXPECT("SET k a NX", "+OK");
    EXPECT("SET k b NX", "$-1");
    EXPECT("SET k b XX", "+OK");
    EXPECT("SET none b XX", "$-1");
    EXPECT("SET k c GET", "$1 b");
    EXPECT("SET k d NX GET", "$1 c");
    EXPECT("GET k", "$1 c");
    EXPECT("SET new d NX GET", "$-1");
    EXPECT("GET new", "$1 d");
    EXPECT("SET other d XX GET", "$-1");
    EXPECT("EXISTS other", ":0");
    EXPECT("SADD s m", ":1");
    EXPECT("SET s v GET", WRONGTYPE);
    EXPECT("SET k v EX 10", "+OK");
    EXPECT("PTTL k", ":10000");
    EXPECT("SET k v keepttl", "+OK");
    EXPECT("TTL k", ":10");
    EXPECT("SET k v PX 1500", "+OK");
    EXPECT("PTTL k", ":1500");
    EXPECT("SET k v EXAT 1700000100", "+OK");
    EXPECT("TTL k", ":100");
    EXPECT("SET k v PXAT 1700000000777", "+OK");
    EXPECT("PTTL k", ":777");
    EXPECT("SET k v", "+OK");
    EXPECT("TTL k", ":-1");
    EXPECT("SET s v EX 5", "+OK");
    EXPECT("SADD s2 m", ":1");
    EXPECT("EXPIRE s2 50", ":1");
    EXPECT("SET s2 v KEEPTTL", "+OK");
    EXPECT("TTL s2", ":50");
}

static void set_refuses_what_redis_refuses(void)
{
    bench_open();
    EXPECT("SET k v NX XX", SYNTAX);
    EXPECT("SET k v EX", SYNTAX);
    EXPECT("SET k v EX 1 PX 1", SYNTAX);
    EXPECT("SET k v EX 1 KEEPTTL", SYNTAX);
    EXPECT("SET k v KEEPTTL EX 1", SYNTAX);
    EXPECT("SET k v PERSIST", SYNTAX);
    EXPECT("SET k v foo", SYNTAX);
    EXPECT("SET k v EX 0", "-ERR invalid expire time in 'set' command");
    EXPECT("SET k v PX -1", "-ERR invalid expire time in 'set' command");
    EXPECT("SET k v EX 9223372036854775807", "-ERR invalid expire time in 'set' command");
    EXPECT("SET k v PX 9223372036854775807", "-ERR invalid expire time in 'set' command");
    EXPECT("SET k v EX 1x", NOTINT);
    EXPECT("SETEX k 0 v", "-ERR invalid expire time in 'setex' command");
    EXPECT("PSETEX k -5 v", "-ERR invalid expire time in 'psetex' command");
    EXPECT("SETEX k x v", NOTINT);
    EXPECT("EXISTS k", ":0");
}

static void the_older_ways_to_set(void)
{
    bench_open();
    EXPECT("SETNX k a", ":1");
    EXPECT("SETNX k b", ":0");
    EXPECT("GETSET k c", "$1 a");
    EXPECT("GETSET n c", "$-1");
    EXPECT("SETEX k 20 d", "+OK");
    EXPECT("TTL k", ":20");
    EXPECT("GETSET k e", "$1 d");
    EXPECT("TTL k", ":-1");
    EXPECT("PSETEX k 2500 f", "+OK");
    EXPECT("PTTL k", ":2500");
    EXPECT("GETDEL k", "$1 f");
    EXPECT("GETDEL k", "$-1");
    EXPECT("EXISTS k", ":0");
    EXPECT("HSET h f v", ":1");
    EXPECT("GETDEL h", WRONGTYPE);
    EXPECT("GETSET h v", WRONGTYPE);
    EXPECT("SETNX h v", ":0");
}

static void getex_reads_and_sets_the_expiry(void)
{
    bench_open();
    EXPECT("GETEX k", "$-1");
    EXPECT("SET k v", "+OK");
    EXPECT("GETEX k EX 10", "$1 v");
    EXPECT("TTL k", ":10");
    EXPECT("GETEX k", "$1 v");
    CU_ASSERT_FALSE(bench_wrote);
    EXPECT("GETEX k PXAT 1700000005000", "$1 v");
    EXPECT("PTTL k", ":5000");
    EXPECT("GETEX k PERSIST", "$1 v");
    EXPECT("TTL k", ":-1");
    EXPECT("GETEX k PERSIST", "$1 v");
    CU_ASSERT_FALSE(bench_wrote);
    EXPECT("GETEX k EX 0", "-ERR invalid expire time in 'getex' command");
    EXPECT("GETEX k NX", SYNTAX);
    EXPECT("GETEX k PERSIST EX 1", SYNTAX);
    EXPECT("GETEX k EXAT 1600000000", "$1 v");
    EXPECT("EXISTS k", ":0");
}

static void parts_of_strings(void)
{
    bench_open();
    EXPECT("APPEND k Hello", ":5");
    EXPECT("EXPIRE k 9", ":1");
    EXPECT("APPEND k -World", ":11");
    EXPECT("GET k", "$11 Hello-World");
    EXPECT("TTL k", ":9");
    EXPECT("STRLEN k", ":11");
    EXPECT("STRLEN none", ":0");
    EXPECT("GETRANGE k 0 4", "$5 Hello");
    EXPECT("GETRANGE k -5 -1", "$5 World");
    EXPECT("SUBSTR k 0 -1", "$11 Hello-World");
    EXPECT("GETRANGE k 5 3", "$0 ");
    EXPECT("GETRANGE k 9 100", "$2 ld");
    EXPECT("GETRANGE k -1 -5", "$0 ");
    EXPECT("GETRANGE k -100 0", "$1 H");
    EXPECT("GETRANGE none 0 1", "$0 ");
    EXPECT("GETRANGE k a 1", NOTINT);
    EXPECT("SETRANGE k 6 Redis", ":11");
    EXPECT("GET k", "$11 Hello-Redis");
    EXPECT("TTL k", ":9");
    EXPECT("SETRANGE k 0 Y", ":11");
    EXPECT("GET k", "$11 Yello-Redis");
    EXPECT("SETRANGE n 0 ''", ":0");
    EXPECT("EXISTS n", ":0");
    EXPECT("SETRANGE n 3 abc", ":6");
    EXPECT("STRLEN n", ":6");
    EXPECT("GETRANGE n 3 5", "$3 abc");
    EXPECT("SETRANGE n -1 x", "-ERR offset is out of range");
    EXPECT("SETRANGE n 1048576 x", TOOLARGE);
    EXPECT("SETRANGE n 9223372036854775807 x", TOOLARGE);
    EXPECT("APPEND e ''", ":0");
    EXPECT("EXISTS e", ":1");
    EXPECT("SADD s m", ":1");
    EXPECT("APPEND s x", WRONGTYPE);
    EXPECT("STRLEN s", WRONGTYPE);
    EXPECT("SETRANGE s 0 x", WRONGTYPE);
    EXPECT("GETRANGE s 0 1", WRONGTYPE);
}

static void counters_count(void)
{
    bench_open();
    EXPECT("INCR n", ":1");
    EXPECT("INCRBY n 41", ":42");
    EXPECT("GET n", "$2 42");
    EXPECT("STRLEN n", ":2");
    EXPECT("OBJECT ENCODING n", "$3 int");
    EXPECT("DECR n", ":41");
    EXPECT("DECRBY n 1", ":40");
    bench_term = 2; /* another leader: a component of its own */
    EXPECT("INCR n", ":41");
    EXPECT("INCR n", ":42");
    bench_term = 3;
    EXPECT("DECRBY n -8", ":50");
    EXPECT("APPEND n 0", ":3");
    EXPECT("INCR n", ":501");
    EXPECT("SET n 10", "+OK");
    EXPECT("INCR n", ":11");
    EXPECT("EXPIRE n 100", ":1");
    EXPECT("INCR n", ":12");
    EXPECT("TTL n", ":100");
    EXPECT("SETRANGE n 0 9", ":2");
    EXPECT("INCR n", ":93");
    bench_term = 1;
}

static void counters_stay_within_their_range(void)
{
    bench_open();
    EXPECT("SET n 9223372036854775807", "+OK");
    EXPECT("INCR n", "-ERR increment or decrement would overflow");
    EXPECT("DECRBY n 9223372036854775807", ":0");
    EXPECT("DECRBY n 9223372036854775807", ":-9223372036854775807");
    EXPECT("DECR n", ":-9223372036854775808");
    EXPECT("DECR n", "-ERR increment or decrement would overflow");
    EXPECT("INCRBY n 9223372036854775807", ":-1");
    EXPECT("INCRBY n 9223372036854775807", ":9223372036854775806");
    EXPECT("INCRBY n 1", ":9223372036854775807");
    EXPECT("GET n", "$19 9223372036854775807");
    EXPECT("DECRBY n -9223372036854775808", "-ERR decrement would overflow");
    EXPECT("INCRBY n 1.5", NOTINT);
    EXPECT("SET n abc", "+OK");
    EXPECT("INCR n", NOTINT);
    EXPECT("SET n 01", "+OK");
    EXPECT("INCR n", NOTINT);
    EXPECT("HSET h f 1", ":1");
    EXPECT("INCR h", WRONGTYPE);
}

/* Two hundred leaders, each adding its term: the sum stays right when components are folded. */
static void a_counter_keeps_bounded_components(void)
{
    char command[32], sum[32];
    bench_open();
    for (bench_term = 1; bench_term <= 200; bench_term++) {
        (void)snprintf(command, sizeof command, "INCRBY n %" PRIu64, bench_term);
        (void)snprintf(sum, sizeof sum, ":%" PRIu64, bench_term * (bench_term + 1) / 2);
        EXPECT(command, sum);
    }
    bench_term = 1;
    CU_ASSERT(bench_dump(leader, 0).len < 64 * 24 + 128);
}

static void floats_are_written_as_redis_writes_them(void)
{
    bench_open();
    EXPECT("SET f 10.50", "+OK");
    EXPECT("INCRBYFLOAT f 0.1", "$4 10.6");
    EXPECT("INCRBYFLOAT f -5", "$3 5.6");
    EXPECT("SET f 5.0e3", "+OK");
    EXPECT("INCRBYFLOAT f 2.0e2", "$4 5200");
    EXPECT("INCRBYFLOAT f -5200", "$1 0");
    EXPECT("INCRBYFLOAT new 1.25", "$4 1.25");
    EXPECT("EXPIRE new 10", ":1");
    EXPECT("INCRBYFLOAT new 1", "$4 2.25");
    EXPECT("TTL new", ":10");
    EXPECT("INCR whole", ":1");
    EXPECT("INCRBYFLOAT whole 1", "$1 2");
    EXPECT("INCR whole", ":3");
    EXPECT("INCRBYFLOAT f x", "-ERR value is not a valid float");
    EXPECT("INCRBYFLOAT f nan", "-ERR value is not a valid float");
    EXPECT("INCRBYFLOAT f inf", "-ERR increment would produce NaN or Infinity");
    EXPECT("SET f abc", "+OK");
    EXPECT("INCRBYFLOAT f 1", "-ERR value is not a valid float");
    EXPECT("SADD s m", ":1");
    EXPECT("INCRBYFLOAT s 1", WRONGTYPE);
}

static void several_at_once(void)
{
    bench_open();
    EXPECT("MSET a 1 b 2", "+OK");
    EXPECT("HSET h f v", ":1");
    EXPECT("MGET a h none b", "*4 $1 1 $-1 $-1 $1 2");
    EXPECT("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command");
    EXPECT("MSETNX c 3 a 4", ":0");
    EXPECT("EXISTS c", ":0");
    EXPECT("MSETNX c 3 d 4", ":1");
    EXPECT("MSETNX c 3 d", "-ERR wrong number of arguments for 'msetnx' command");
    EXPECT("EXPIRE a 10", ":1");
    EXPECT("MSET a 5 a 6 h 7", "+OK");
    EXPECT("MGET a h", "*2 $1 6 $1 7");
    EXPECT("TTL a", ":-1");
}

static void nothing_grows_beyond_the_limit(void)
{
    static uint8_t big[1 << 20];
    bench_open();
    bench_max_entity = 1000;
    memset(big, 'x', sizeof big);
    bench_big = tm_bytes_of(big, 999);
    EXPECT("SET k BIG", "+OK");
    EXPECT("APPEND k y", TOOLARGE);
    EXPECT("STRLEN k", ":999");
    bench_big = tm_bytes_of(big, 1000);
    EXPECT("SET k BIG", TOOLARGE);
    EXPECT("SETNX n BIG", TOOLARGE);
    EXPECT("SETEX n 1 BIG", TOOLARGE);
    EXPECT("GETSET k BIG", TOOLARGE);
    EXPECT("MSET a 1 k BIG", TOOLARGE);
    EXPECT("MSETNX a 1 n BIG", TOOLARGE);
    EXPECT("EXISTS a n", ":0");
    bench_max_entity = 1 << 20;
    bench_big = tm_bytes_of(big, (1 << 20) - 1);
    EXPECT("SET k BIG", "+OK");
    EXPECT("STRLEN k", ":1048575");
}

static const struct tm_test tests[] = {
    TM_TEST(set_and_get),
    TM_TEST(set_takes_all_its_options),
    TM_TEST(set_refuses_what_redis_refuses),
    TM_TEST(the_older_ways_to_set),
    TM_TEST(getex_reads_and_sets_the_expiry),
    TM_TEST(parts_of_strings),
    TM_TEST(counters_count),
    TM_TEST(counters_stay_within_their_range),
    TM_TEST(a_counter_keeps_bounded_components),
    TM_TEST(floats_are_written_as_redis_writes_them),
    TM_TEST(several_at_once),
    TM_TEST(nothing_grows_beyond_the_limit),
};

int main(void)
{
    return bench_main("actors/commands_string", tests, TM_ARRAY_LEN(tests));
}
