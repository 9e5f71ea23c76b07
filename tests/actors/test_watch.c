#include "actors/watch.h"
#include "storage/record.h"
#include "tests/test.h"

static uint8_t buffer[4096] __attribute__((aligned(64)));

static struct tm_record *effect(const char *const *keys, unsigned count)
{
    struct tm_record_builder b;
    struct tm_record head = {.partition = 1, .term = 1, .index = 1};
    tm_record_begin(&b, buffer, sizeof buffer, TM_RECORD_EFFECT, &head);
    for (unsigned i = 0; i < count; i++) {
        struct tm_op op = {.code = TM_OP_SET_FIELD, .value = tm_bytes_str("v")}, at;
        TM_ASSERT(tm_record_op(&b, tm_bytes_str(keys[i]), TM_ENTITY_STRING, &op, &at) == TM_OK);
    }
    return tm_record_end(&b);
}

static void touch(struct tm_watches *w, const char *key)
{
    tm_watch_touch(w, effect(&key, 1));
}

static uint64_t add(struct tm_watches *w, uint64_t token, const char *key)
{
    struct tm_bytes bytes = tm_bytes_str(key);
    return tm_watch_add(w, token, &bytes, 1);
}

static void a_token_is_clean_until_one_of_its_keys_is_touched(void)
{
    struct tm_watches w = {0};
    uint64_t a = add(&w, 0, "x");
    CU_ASSERT_EQUAL(add(&w, a, "y"), a);
    uint64_t b = add(&w, 0, "y");
    uint64_t c = add(&w, 0, "z");
    CU_ASSERT(a != 0 && b != 0 && a != b && b != c);
    CU_ASSERT(tm_watch_clean(&w, a) && tm_watch_clean(&w, b) && tm_watch_clean(&w, c));
    touch(&w, "other");
    CU_ASSERT(tm_watch_clean(&w, a) && tm_watch_clean(&w, b) && tm_watch_clean(&w, c));
    touch(&w, "y");
    CU_ASSERT_FALSE(tm_watch_clean(&w, a));
    CU_ASSERT_FALSE(tm_watch_clean(&w, b));
    CU_ASSERT_TRUE(tm_watch_clean(&w, c));
    tm_watch_free(&w);
}

static void every_key_of_a_record_touches(void)
{
    static const char *const keys[] = {"a", "b", "c"};
    for (unsigned i = 0; i < 3; i++) {
        struct tm_watches w = {0};
        uint64_t t = add(&w, 0, keys[i]);
        tm_watch_touch(&w, effect(keys, 3));
        CU_ASSERT_FALSE(tm_watch_clean(&w, t));
        tm_watch_free(&w);
    }
}

static void a_flush_touches_all_and_a_record_of_the_log_itself_nothing(void)
{
    struct tm_watches w = {0};
    uint64_t t = add(&w, 0, "x");
    struct tm_record_builder b;
    struct tm_record head = {.partition = 1, .term = 1, .index = 1};
    static const enum tm_record_kind kinds[] = {TM_RECORD_NOOP, TM_RECORD_CONFIG};
    for (unsigned i = 0; i < TM_ARRAY_LEN(kinds); i++) {
        tm_record_begin(&b, buffer, sizeof buffer, kinds[i], &head);
        tm_watch_touch(&w, tm_record_end(&b));
        CU_ASSERT_TRUE(tm_watch_clean(&w, t));
    }
    tm_record_begin(&b, buffer, sizeof buffer, TM_RECORD_EFFECT, &head);
    tm_record_flush(&b);
    tm_watch_touch(&w, tm_record_end(&b));
    CU_ASSERT_FALSE(tm_watch_clean(&w, t));
    tm_watch_free(&w);
}

static void a_token_that_is_not_known_counts_as_touched(void)
{
    struct tm_watches w = {0};
    CU_ASSERT_FALSE(tm_watch_clean(&w, 1));
    uint64_t t = add(&w, 0, "x");
    CU_ASSERT_FALSE(tm_watch_clean(&w, t + 1));
    tm_watch_drop(&w, t);
    CU_ASSERT_FALSE(tm_watch_clean(&w, t));
    t = add(&w, 0, "x");
    tm_watch_clear(&w);
    CU_ASSERT_FALSE(tm_watch_clean(&w, t));
    CU_ASSERT_FALSE(tm_watch_any(&w));
    tm_watch_free(&w);
}

static void extending_a_lost_or_touched_token_does_not_make_it_clean(void)
{
    struct tm_watches w = {0};
    uint64_t t = add(&w, 0, "x");
    touch(&w, "x");
    uint64_t u = add(&w, t, "y");
    CU_ASSERT_FALSE(tm_watch_clean(&w, u));
    uint64_t v = add(&w, 12345, "y");
    CU_ASSERT_NOT_EQUAL(v, 12345);
    CU_ASSERT_FALSE(tm_watch_clean(&w, v));
    CU_ASSERT_FALSE(tm_watch_clean(&w, add(&w, v, "z")));
    tm_watch_free(&w);
}

static void tokens_are_never_given_twice(void)
{
    struct tm_watches w = {.next_token = UINT64_MAX - 1};
    uint64_t a = add(&w, 0, "x");
    tm_watch_clear(&w);
    uint64_t b = add(&w, 0, "x");
    CU_ASSERT(a != b && a != 0 && b != 0);
    CU_ASSERT_FALSE(tm_watch_clean(&w, a));
    CU_ASSERT_TRUE(tm_watch_clean(&w, b));
    tm_watch_free(&w);
}

static void the_oldest_token_gives_way_when_there_are_too_many_keys(void)
{
    struct tm_watches w = {0};
    char key[16];
    uint64_t first = add(&w, 0, "first"), second = add(&w, 0, "second"), last = 0;
    for (unsigned i = 0; i < TM_WATCH_KEYS_MAX - 1; i++) {
        snprintf(key, sizeof key, "k%u", i);
        last = add(&w, 0, key);
    }
    CU_ASSERT_FALSE(tm_watch_clean(&w, first));
    CU_ASSERT_TRUE(tm_watch_clean(&w, second));
    CU_ASSERT_TRUE(tm_watch_clean(&w, last));
    CU_ASSERT_EQUAL(w.count, TM_WATCH_KEYS_MAX);
    tm_watch_free(&w);
}

static void a_token_that_pushes_out_its_own_keys_is_touched(void)
{
    struct tm_watches w = {0};
    char key[16];
    uint64_t t = add(&w, 0, "first");
    for (unsigned i = 0; i < TM_WATCH_KEYS_MAX; i++) {
        snprintf(key, sizeof key, "k%u", i);
        t = add(&w, t, key);
    }
    CU_ASSERT_FALSE(tm_watch_clean(&w, t));
    CU_ASSERT_FALSE(tm_watch_clean(&w, add(&w, t, "more")));
    CU_ASSERT(w.count <= TM_WATCH_KEYS_MAX);
    tm_watch_free(&w);
}

static const struct tm_test tests[] = {
    TM_TEST(a_token_is_clean_until_one_of_its_keys_is_touched),
    TM_TEST(every_key_of_a_record_touches),
    TM_TEST(a_flush_touches_all_and_a_record_of_the_log_itself_nothing),
    TM_TEST(a_token_that_is_not_known_counts_as_touched),
    TM_TEST(extending_a_lost_or_touched_token_does_not_make_it_clean),
    TM_TEST(tokens_are_never_given_twice),
    TM_TEST(the_oldest_token_gives_way_when_there_are_too_many_keys),
    TM_TEST(a_token_that_pushes_out_its_own_keys_is_touched),
};

TM_TEST_MAIN("actors/watch", tests)
