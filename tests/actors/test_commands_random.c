/* Random commands on few keys, several to a record as in MULTI: a follower that gets the records is
 * what the leader is, undo takes everything back, and no command fails half-way. */
#include "command_bench.h"
#include "runtime/hash.h"

#define COMMAND_MAX 400

static uint64_t seed;

static unsigned rnd(unsigned n)
{
    seed = tm_hash64(&seed, 8, 3);
    return (unsigned)(seed % n);
}

/* K: a key, F: a field or member, V: a value, N: a number. */
static const char *const strings[] = {
    "SET K V",    "SET K V EX N",    "SET K V KEEPTTL", "SET K V XX GET", "GETSET K V",
    "GETDEL K",   "GETEX K EX N",    "APPEND K V",      "SETRANGE K N V", "INCR K",
    "INCRBY K N", "INCRBYFLOAT K N", "MSET K V K V",    "MSETNX K V K V", "GET K"};
static const char *const hashes[] = {
    "HSET K F V F V F V F V", "HSET K F V", "HSETNX K F V",       "HDEL K F F",
    "HINCRBY K F N",          "HGETALL K",  "HINCRBYFLOAT K F N", "HRANDFIELD K N",
    "HSET K F V F V F V F V", "HSCAN K 0"};
static const char *const sets[] = {"SADD K F F F F F F F F",
                                   "SREM K F F",
                                   "SPOP K",
                                   "SPOP K 2",
                                   "SMOVE K K F",
                                   "SINTER K K",
                                   "SINTERSTORE K K K",
                                   "SUNIONSTORE K K K",
                                   "SUNIONSTORE K K K",
                                   "SUNION K K",
                                   "SDIFFSTORE K K K",
                                   "SMEMBERS K",
                                   "SADD K F F F F F F F F",
                                   "SSCAN K 0"};
static const char *const generic[] = {
    "DEL K",     "RENAME K K", "RENAMENX K K", "COPY K K", "COPY K K REPLACE", "EXPIRE K N",
    "PERSIST K", "EXPIRE K N", "PERSIST K",    "KEYS *",   "TYPE K",           "EXPIRE K 0"};
static const struct group {
    const char *const *forms;
    unsigned count, first_key, share; /* share: of a hundred commands */
} groups[] = {{strings, TM_ARRAY_LEN(strings), 0, 30},
              {hashes, TM_ARRAY_LEN(hashes), 2, 40},
              {sets, TM_ARRAY_LEN(sets), 4, 27},
              {generic, TM_ARRAY_LEN(generic), 0, 3}};

static unsigned key_of(const struct group *g)
{
    return g->forms == generic || rnd(200) == 0 ? rnd(6) : g->first_key + rnd(2);
}

/* Writes a command of at most COMMAND_MAX - 1 bytes. */
static void make_command(char *out)
{
    const struct group *g = groups;
    char *end = out + COMMAND_MAX;
    for (unsigned at = rnd(100); at >= g->share; g++)
        at -= g->share;
    const char *form = rnd(2000) == 0 ? "FLUSHALL" : g->forms[rnd(g->count)];
    for (const char *p = form; *p != 0; p++) {
        bool word = (p == form || p[-1] == ' ') && (p[1] == ' ' || p[1] == 0);
        size_t room = (size_t)(end - out);
        if (word && *p == 'K')
            out += snprintf(out, room, "key%u", key_of(g));
        else if (word && *p == 'F')
            out += snprintf(out, room, "field%u", rnd(150));
        else if (word && *p == 'V')
            out += snprintf(out, room, "%u", rnd(1000));
        else if (word && *p == 'N')
            out += snprintf(out, room, "%u", 1 + rnd(20));
        else
            *out++ = *p;
        TM_ASSERT(out < end);
    }
    *out = 0;
}

static void run_group(unsigned commands)
{
    struct tm_record head = {.term = 1 + rnd(3),
                             .index = tm_store_applied(leader) + 1,
                             .hlc = (tm_store_applied(leader) + 1) << 16,
                             .origin = 7};
    struct tm_exec x = {leader, &bench_reply, bench_now, bench_random += 7, 1 << 20, 0};
    char line[COMMAND_MAX];
    struct tm_bytes argv[24];
    tm_store_begin(leader, bench_buffer, sizeof bench_buffer, &head);
    while (commands-- > 0) {
        make_command(line);
        unsigned argc = bench_split(line, argv, 24);
        tm_resp_writer_reset(&bench_reply, 2, 1 << 20);
        tm_command_find(argv[0])->run(&x, argv, argc);
        struct tm_resp_skipper skip = {0};
        size_t used;
        CU_ASSERT_EQUAL(tm_resp_skip(&skip, bench_reply.data, bench_reply.len, &used),
                        TM_RESP_DONE);
        CU_ASSERT_EQUAL(used, bench_reply.len);
    }
}

static void followers_become_what_the_leader_is(void)
{
    seed = tm_test_seed();
    bench_open();
    unsigned records = 0, large = 0;
    for (unsigned step = 0; step < 6000; step++) {
        struct tm_bytes before = bench_dump(leader, 0);
        const struct tm_entity *hash = tm_store_find(leader, tm_bytes_str("key2"));
        large += hash != NULL && tm_entity_type(hash) == TM_ENTITY_HASH &&
                 tm_entity_fields(hash) > TM_PACKED_FIELDS;
        struct tm_record *r = NULL;
        run_group(1 + rnd(5));
        if (rnd(20) == 0)
            tm_store_abort(leader);
        else
            CU_ASSERT_EQUAL(tm_store_finish(leader, &r), TM_OK);
        if (r != NULL) {
            bench_check_record(r, before);
            records++;
        } else {
            CU_ASSERT(tm_bytes_equal(bench_dump(leader, 1), before));
        }
    }
    CU_ASSERT(records > 1000);
    CU_ASSERT(large > 300);
}

static const struct tm_test tests[] = {
    TM_TEST(followers_become_what_the_leader_is),
};

int main(void)
{
    return bench_main("actors/commands_random", tests, TM_ARRAY_LEN(tests));
}
