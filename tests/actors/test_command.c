/* The table of commands: found by name, and true to itself. */
#include "actors/command.h"
#include "tests/test.h"

#include <ctype.h>

static void every_command_is_found_in_any_case(void)
{
    unsigned n = 0;
    for (; tm_command_at(n) != NULL; n++) {
        const struct tm_command *c = tm_command_at(n);
        char name[32];
        snprintf(name, sizeof name, "%s", c->name);
        CU_ASSERT_PTR_EQUAL(tm_command_find(tm_bytes_str(name)), c);
        for (char *p = name; *p != 0; p += 2) {
            *p = (char)tolower((unsigned char)*p);
            if (p[1] == 0)
                break;
        }
        CU_ASSERT_PTR_EQUAL(tm_command_find(tm_bytes_str(name)), c);
    }
    CU_ASSERT(n > 90);
}

static void what_is_no_command_is_not_found(void)
{
    static const char *const names[] = {
        "", "GE", "GETS", "G\xc5T", "get ", "XADD", "A-NAME-LONGER-THAN-ANY-COMMAND-HAS"};
    for (size_t i = 0; i < TM_ARRAY_LEN(names); i++)
        CU_ASSERT_PTR_NULL(tm_command_find(tm_bytes_str(names[i])));
    CU_ASSERT_PTR_NULL(tm_command_find(tm_bytes_of("GET\0", 4)));
}

static void rows_hold_together(void)
{
    for (unsigned i = 0; tm_command_at(i) != NULL; i++) {
        const struct tm_command *c = tm_command_at(i);
        bool local = (c->flags & TM_CMD_LOCAL) != 0;
        CU_ASSERT_EQUAL(local, c->local != NULL || c->steer != NULL);
        CU_ASSERT_EQUAL(!local, c->run != NULL);
        CU_ASSERT_FALSE((c->flags & TM_CMD_READONLY) != 0 && (c->flags & TM_CMD_WRITE) != 0);
        if (!local)
            CU_ASSERT((c->flags & (TM_CMD_READONLY | TM_CMD_WRITE)) != 0);
        CU_ASSERT_NOT_EQUAL(c->arity, 0);
        CU_ASSERT_EQUAL(c->first_key > 0, c->key_step > 0);
        if ((c->flags & TM_CMD_BROADCAST) != 0)
            CU_ASSERT_EQUAL(c->first_key, 0);
        CU_ASSERT(strlen(c->summary) > 0 && strlen(c->group) > 0);
    }
}

struct seen {
    unsigned at[8], count;
};

static void see(void *host, unsigned position)
{
    struct seen *seen = host;
    seen->at[seen->count++] = position;
}

static bool keys_of(const char *const *words, unsigned argc, struct seen *seen)
{
    struct tm_bytes argv[8];
    for (unsigned i = 0; i < argc; i++)
        argv[i] = tm_bytes_str(words[i]);
    *seen = (struct seen){0};
    return tm_command_keys(tm_command_find(argv[0]), argv, argc, see, seen);
}

static void keys_are_found_where_redis_has_them(void)
{
    struct seen s;
    CU_ASSERT(keys_of((const char *[]){"mset", "a", "1", "b", "2"}, 5, &s));
    CU_ASSERT(s.count == 2 && s.at[0] == 1 && s.at[1] == 3);
    CU_ASSERT(keys_of((const char *[]){"mget", "a", "b", "c"}, 4, &s));
    CU_ASSERT(s.count == 3 && s.at[2] == 3);
    CU_ASSERT(keys_of((const char *[]){"smove", "a", "b", "m"}, 4, &s));
    CU_ASSERT(s.count == 2 && s.at[1] == 2);
    CU_ASSERT(keys_of((const char *[]){"object", "encoding", "k"}, 3, &s));
    CU_ASSERT(s.count == 1 && s.at[0] == 2);
    CU_ASSERT_FALSE(keys_of((const char *[]){"object", "help"}, 2, &s));
    CU_ASSERT(keys_of((const char *[]){"ping"}, 1, &s));
    CU_ASSERT_EQUAL(s.count, 0);
    CU_ASSERT(keys_of((const char *[]){"sintercard", "2", "a", "b", "limit", "1"}, 6, &s));
    CU_ASSERT(s.count == 2 && s.at[0] == 2 && s.at[1] == 3);
    CU_ASSERT_FALSE(keys_of((const char *[]){"sintercard", "3", "a", "b"}, 4, &s));
    CU_ASSERT_FALSE(keys_of((const char *[]){"sintercard", "x", "a"}, 3, &s));
    CU_ASSERT_FALSE(keys_of((const char *[]){"sintercard", "9223372036854775807", "a"}, 3, &s));
}

static void words_are_compared_in_any_case_and_whole(void)
{
    CU_ASSERT(tm_word_is(tm_bytes_str("keepTTL"), "KEEPTTL"));
    CU_ASSERT(tm_word_is(tm_bytes_str("KEEPTTL"), "keepttl"));
    CU_ASSERT(tm_word_is(tm_bytes_str("no-evict"), "NO-EVICT"));
    CU_ASSERT_FALSE(tm_word_is(tm_bytes_str("KEEP"), "KEEPTTL"));
    CU_ASSERT_FALSE(tm_word_is(tm_bytes_str("KEEPTTLS"), "KEEPTTL"));
    CU_ASSERT_FALSE(tm_word_is(tm_bytes_of("EX\0", 3), "EX"));
    CU_ASSERT_FALSE(tm_word_is(tm_bytes_str("{X"), "[X")); /* 32 apart, and no letters */
    CU_ASSERT(tm_word_is(tm_bytes_of(NULL, 0), ""));
}

static const struct tm_test tests[] = {
    TM_TEST(every_command_is_found_in_any_case),
    TM_TEST(what_is_no_command_is_not_found),
    TM_TEST(rows_hold_together),
    TM_TEST(keys_are_found_where_redis_has_them),
    TM_TEST(words_are_compared_in_any_case_and_whole),
};

TM_TEST_MAIN("actors/command", tests)
