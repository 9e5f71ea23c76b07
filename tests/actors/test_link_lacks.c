/* Entities that expire at the target before it learns that they live on at the source. */
#include "tests/actors/link_world.h"

static const struct tm_bytes NONE = {NULL, 0};

static enum tm_link_sharing all_is_shared(void *host, struct tm_bytes key, uint64_t origin)
{
    (void)host;
    (void)key;
    (void)origin;
    return TM_LINK_MANY;
}

static struct lw *world(uint64_t seed)
{
    const struct tm_link_policy policy = {all_is_shared, NULL};
    struct lw *w = lw_new(seed, 2, 3);
    w->real_merge = true;
    for (uint32_t t = 0; t < w->targets; t++)
        tm_store_set_policy(w->target[t].store, &policy);
    return w;
}

/* A hash of two fields, one of them written at a third cluster, which the link does not carry. */
static void put_hash(struct lw *w, const char *key, struct tm_op_version other)
{
    struct tm_record_builder b;
    uint32_t p = lw_source_of(w, key);
    lw_begin(w, &b, p, TM_RECORD_EFFECT);
    lw_op(&b, key, TM_ENTITY_HASH, TM_OP_SET_FIELD, tm_bytes_str("ours"), tm_bytes_str("1"));
    lw_op(&b, key, TM_ENTITY_HASH, TM_OP_STAMPED, NONE, tm_bytes_of(&other, sizeof other));
    lw_op(&b, key, TM_ENTITY_HASH, TM_OP_SET_FIELD, tm_bytes_str("theirs"), tm_bytes_str("2"));
    lw_end(w, &b, p);
}

/* The register of expiry: ms since 1970, 0: never. */
static void put_expiry(struct lw *w, const char *key, uint64_t ms)
{
    struct tm_record_builder b;
    uint32_t p = lw_source_of(w, key);
    lw_begin(w, &b, p, TM_RECORD_EFFECT);
    lw_op(&b, key, TM_ENTITY_SHADOW, TM_OP_SET_FIELD, tm_bytes_str("x"),
          tm_bytes_of(&ms, sizeof ms));
    lw_op(&b, key, TM_ENTITY_HASH, TM_OP_EXPIRY, NONE, tm_bytes_of(&ms, sizeof ms));
    lw_end(w, &b, p);
}

struct given {
    const char *key;
    struct tm_op_version stamp;
};

/* What the third cluster sent here itself. */
static void take_theirs(struct tm_store *s, void *arg)
{
    const struct given *g = arg;
    tm_store_stamp(s, g->stamp.hlc, g->stamp.origin);
    tm_store_set_field(s, tm_bytes_str(g->key), TM_ENTITY_HASH, tm_bytes_str("theirs"),
                       tm_bytes_str("2"));
}

static void expire(struct tm_store *s, void *arg)
{
    tm_store_expire(s, tm_bytes_str(arg));
}

static void write_at_target(struct lw *w, const char *key,
                            void (*fill)(struct tm_store *s, void *arg), void *arg)
{
    struct lw_target *t = lw_target_of(w, key);
    uint64_t index;
    CU_ASSERT_EQUAL_FATAL(
        lw_write(&lw_nodes[t->leader], (uint32_t)(t - w->target), 0, fill, arg, &index), TM_OK);
    lw_run(w, TM_MS(5));
}

static bool lives(struct lw *w, const char *key)
{
    return tm_store_find(lw_target_of(w, key)->store, tm_bytes_str(key)) != NULL;
}

/* The entity is there, and has expired at the target, which does not know that it lives on. */
static void tear(struct lw *w, char *key)
{
    struct given g = {key, {tm_hlc_now(&w->source_clock, lw_wall(w)), LW_OTHERS}};
    put_hash(w, key, g.stamp);
    put_expiry(w, key, lw_wall(w) + 20);
    CU_ASSERT(lw_settle(w, TM_SECONDS(5)));
    write_at_target(w, key, take_theirs, &g);
    CU_ASSERT(lives(w, key));
    w->cut = true;
    put_expiry(w, key, 0);
    lw_run(w, TM_MS(50));
    write_at_target(w, key, expire, key);
    CU_ASSERT(!lives(w, key));
}

static void check_whole(struct lw *w, const char *key)
{
    const struct tm_entity *e = tm_store_find(lw_target_of(w, key)->store, tm_bytes_str(key));
    struct tm_value v;
    CU_ASSERT_PTR_NOT_NULL_FATAL(e);
    CU_ASSERT(tm_entity_field(e, tm_bytes_str("ours"), &v));
    CU_ASSERT(tm_entity_field(e, tm_bytes_str("theirs"), &v));
    CU_ASSERT_EQUAL(tm_entity_expiry(e), 0);
}

static unsigned notes(struct lw *w)
{
    unsigned n = 0;
    for (uint32_t t = 0; t < w->targets; t++) {
        const struct tm_entity *own = tm_store_shadow(w->target[t].store, NONE);
        struct tm_field_iter it;
        struct tm_bytes name;
        if (own == NULL)
            continue;
        tm_field_first(&it, own);
        while (tm_field_next(&it, &name, NULL))
            n += name.data[0] == TM_SHADOW_LACKS;
    }
    return n;
}

static void what_expired_too_soon_comes_back_whole(void)
{
    char key[] = "Item:17";
    struct lw *w = world(1);
    tear(w, key);
    w->cut = false;
    lw_run(w, TM_SECONDS(12));
    check_whole(w, key);
    CU_ASSERT_EQUAL(notes(w), 0);
    CU_ASSERT_EQUAL(lw_counted(w, TM_COUNTER_link_lacks_answered), 1);
    lw_free(w);
}

/* The note stands in the target's log: whoever leads there asks. */
static void a_new_leader_goes_on_asking(void)
{
    char key[] = "Item:17";
    struct lw *w = world(2);
    tear(w, key);
    struct lw_target *t = lw_target_of(w, key);
    w->cut = false;
    for (unsigned i = 0; i < 200000 && notes(w) == 0; i++)
        lw_step(w, true);
    CU_ASSERT_EQUAL_FATAL(notes(w), 1);
    lw_run(w, TM_MS(1));
    lw_crash(w, t->leader);
    CU_ASSERT(!lives(w, key));
    lw_run(w, TM_SECONDS(12));
    check_whole(w, key);
    CU_ASSERT_EQUAL(notes(w), 0);
    lw_free(w);
}

static void answers_of_many_and_large_keys_are_cut_into_messages(void)
{
    enum { KEYS = 40 };
    char keys[KEYS][16], value[40000];
    struct lw *w = world(3);
    w->outlet.limits.batch_bytes = 8192;
    memset(value, 'v', sizeof value);
    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(keys[i], sizeof keys[i], "Item:%u", i);
        struct tm_record_builder b;
        uint32_t p = lw_source_of(w, keys[i]);
        lw_begin(w, &b, p, TM_RECORD_EFFECT);
        lw_op(&b, keys[i], TM_ENTITY_HASH, TM_OP_SET_FIELD, tm_bytes_str("ours"),
              tm_bytes_of(value, sizeof value));
        lw_op(&b, keys[i], TM_ENTITY_HASH, TM_OP_SET_FIELD, tm_bytes_str("theirs"),
              tm_bytes_str(""));
        lw_end(w, &b, p);
        put_expiry(w, keys[i], lw_wall(w) + 20);
    }
    CU_ASSERT(lw_settle(w, TM_SECONDS(10)));
    w->cut = true;
    for (unsigned i = 0; i < KEYS; i++)
        put_expiry(w, keys[i], 0);
    lw_run(w, TM_MS(50));
    for (unsigned i = 0; i < KEYS; i++)
        write_at_target(w, keys[i], expire, keys[i]);
    w->cut = false;
    lw_run(w, TM_SECONDS(20));
    for (unsigned i = 0; i < KEYS; i++)
        check_whole(w, keys[i]);
    CU_ASSERT_EQUAL(notes(w), 0);
    lw_free(w);
}

static const struct tm_test tests[] = {
    TM_TEST(what_expired_too_soon_comes_back_whole),
    TM_TEST(a_new_leader_goes_on_asking),
    TM_TEST(answers_of_many_and_large_keys_are_cut_into_messages),
};

int main(void)
{
    return tm_test_main("actors/link_lacks", tests, TM_ARRAY_LEN(tests));
}
