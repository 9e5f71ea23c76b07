#include "storage/versions.h"
#include "tests/actors/link_world.h"

static struct lw *world(uint64_t seed, uint32_t sources, uint32_t targets)
{
    struct lw *w = lw_new(seed, sources, targets);
    w->real_merge = true;
    return w;
}

/* All logs at the source begin at their ends: what was not shipped is not in them. */
static void compact(struct lw *w)
{
    for (uint32_t p = 0; p < w->sources; p++)
        w->source[p].log.first = w->source[p].log.commit + 1;
}

/* ---- what is shared, at either end ---- */

struct sum {
    struct lw *w;
    struct tm_store *store;
    uint64_t hashes, keys;
};

static void add_key(void *host, struct tm_bytes key)
{
    struct sum *s = host;
    uint64_t hash =
        lw_ships(NULL, tm_link_type_of(key)) ? tm_link_hash(s->store, key, lw_wall(s->w), 0) : 0;
    s->hashes += hash;
    s->keys += hash != 0;
}

static struct sum sum_of(struct lw *w, struct tm_store *store)
{
    struct sum s = {.w = w, .store = store};
    uint64_t at = 0;
    do
        at = tm_link_keys(store, at, 0, 1000, add_key, &s);
    while (at != 0);
    return s;
}

static bool equal(struct lw *w)
{
    uint64_t here = 0, there = 0, keys_here = 0, keys_there = 0;
    for (uint32_t p = 0; p < w->sources; p++) {
        struct sum s = sum_of(w, w->source[p].store);
        here += s.hashes;
        keys_here += s.keys;
    }
    for (uint32_t t = 0; t < w->targets; t++) {
        struct sum s = sum_of(w, w->target[t].store);
        there += s.hashes;
        keys_there += s.keys;
    }
    return here == there && keys_here == keys_there && keys_here > 0;
}

/* The source's own changes only, so that all of its state is to be shipped. */
static void put(struct lw *w, const char *key, const char *value)
{
    struct tm_record_builder b;
    uint32_t p = lw_source_of(w, key);
    lw_begin(w, &b, p, TM_RECORD_EFFECT);
    lw_op(&b, key, TM_ENTITY_STRING, value == NULL ? TM_OP_DEL_ENTITY : TM_OP_SET_FIELD,
          tm_bytes_of(NULL, 0), tm_bytes_str(value == NULL ? "" : value));
    lw_end(w, &b, p);
}

static void fill(struct lw *w, unsigned from, unsigned to, const char *value)
{
    char key[32];
    for (unsigned i = from; i < to; i++) {
        snprintf(key, sizeof key, "Order:%u", i);
        put(w, key, value);
    }
}

static void an_empty_target_gets_everything_and_the_stream_goes_on(void)
{
    for (uint32_t p = 1; p <= 3; p++)
        for (uint32_t t = 1; t <= 3; t++) {
            struct lw *w = world(p * 10 + t, p, t);
            w->cut = true;
            fill(w, 0, 3000, "value");
            lw_run(w, TM_MS(10));
            compact(w);
            w->cut = false;
            CU_ASSERT(lw_settle(w, TM_SECONDS(10)));
            CU_ASSERT(equal(w));
            CU_ASSERT_EQUAL(lw_counted(w, TM_COUNTER_link_resync_keys), 3000);
            fill(w, 2900, 3100, "later");
            CU_ASSERT(lw_settle(w, TM_SECONDS(10)));
            CU_ASSERT(equal(w));
            CU_ASSERT_EQUAL(lw_counted(w, TM_COUNTER_link_resync_keys), 3000);
            lw_free(w);
        }
}

static void only_what_differs_is_sent(void)
{
    static char value[301];
    struct lw *w = world(1, 2, 2);
    memset(value, 'x', sizeof value - 1);
    for (unsigned i = 0; i < sizeof value - 1; i += 7)
        value[i] = (char)('a' + i % 26);
    fill(w, 0, 4000, value);
    CU_ASSERT(lw_settle(w, TM_SECONDS(10)));
    uint64_t all = lw_counted(w, TM_COUNTER_link_batch_raw_bytes);
    w->cut = true;
    for (unsigned i = 50; i < 4000; i += 100)
        fill(w, i, i + 1, "another");
    lw_run(w, TM_MS(100));
    compact(w);
    w->cut = false;
    CU_ASSERT(lw_settle(w, TM_SECONDS(10)));
    CU_ASSERT(equal(w));
    CU_ASSERT_EQUAL(lw_counted(w, TM_COUNTER_link_resync_keys), 40);
    CU_ASSERT(lw_counted(w, TM_COUNTER_link_resync_bytes) < all * 3 / 100);
    lw_free(w);
}

static bool target_has(struct lw *w, const char *key)
{
    return tm_store_find(lw_target_of(w, key)->store, tm_bytes_str(key)) != NULL;
}

static void what_the_source_has_deleted_goes_and_what_is_the_targets_own_stays(void)
{
    struct lw *w = world(1, 2, 3);
    fill(w, 0, 500, "value");
    lw_put_at_target(w, "Order:theirs", 0);
    lw_put_at_target(w, "Secret:theirs", 0);
    CU_ASSERT(lw_settle(w, TM_SECONDS(10)));
    w->cut = true;
    fill(w, 100, 300, NULL);
    lw_run(w, TM_MS(100));
    compact(w);
    w->cut = false;
    CU_ASSERT(lw_settle(w, TM_SECONDS(10)));
    CU_ASSERT(!target_has(w, "Order:100") && !target_has(w, "Order:299"));
    CU_ASSERT(target_has(w, "Order:99") && target_has(w, "Order:300"));
    CU_ASSERT(target_has(w, "Order:theirs") && target_has(w, "Secret:theirs"));
    lw_free(w);
}

/* As many in one message as there may be, of names that one record's room does not hold. */
static void what_was_deleted_goes_however_long_its_name_is(void)
{
    struct lw *w = world(1, 1, 1);
    char key[501];
    for (unsigned deleted = 0; deleted < 2; deleted++) {
        for (unsigned i = 0; i < 2000; i++) {
            (void)snprintf(key, sizeof key, "Order:%0494u", i);
            put(w, key, deleted == 0 ? "value" : NULL);
        }
        put(w, "Order:stays", "value");
        if (deleted == 0)
            CU_ASSERT(lw_settle(w, TM_SECONDS(10)));
        w->cut = true;
    }
    lw_run(w, TM_MS(100));
    compact(w);
    w->cut = false;
    CU_ASSERT(lw_settle(w, TM_SECONDS(10)));
    CU_ASSERT_EQUAL(tm_store_count(w->target[0].store), 1);
    CU_ASSERT(target_has(w, "Order:stays"));
    lw_free(w);
}

static void writing_goes_on_meanwhile(void)
{
    struct lw *w = world(tm_test_seed(), 2, 2);
    w->cut = true;
    fill(w, 0, 3000, "value");
    lw_run(w, TM_MS(100));
    compact(w);
    w->cut = false;
    for (unsigned i = 0; i < 300; i++) {
        unsigned at = (unsigned)tm_rng_below(&w->rng, 3300);
        fill(w, at, at + 3, i % 5 == 0 ? NULL : "meanwhile");
        lw_run(w, LW_STEP * 2);
    }
    CU_ASSERT(lw_settle(w, TM_SECONDS(10)));
    CU_ASSERT(equal(w));
    lw_free(w);
}

static void after_any_trouble_both_hold_the_same(void)
{
    uint64_t seed = tm_test_seed();
    for (unsigned round = 0; round < 12; round++) {
        struct lw *w = world(seed + round, 1 + round % 3, 1 + round / 3 % 3);
        w->cut = true;
        fill(w, 0, 2000, "value");
        lw_run(w, TM_MS(10));
        compact(w);
        w->cut = false;
        w->lose = w->twice = w->late = 30;
        w->busy = 30;
        for (unsigned i = 0; i < 60; i++) {
            unsigned at = (unsigned)tm_rng_below(&w->rng, 2100);
            fill(w, at, at + 3, i % 5 == 0 ? NULL : "meanwhile");
            if (lw_chance(w, 200))
                lw_source_lead(w, (uint32_t)tm_rng_below(&w->rng, w->sources));
            if (lw_chance(w, 200))
                lw_target_lead(w, (uint32_t)tm_rng_below(&w->rng, w->targets),
                               (unsigned)tm_rng_below(&w->rng, LW_NODES));
            if (lw_chance(w, 50))
                compact(w);
            for (uint64_t k = tm_rng_below(&w->rng, 300); k > 0; k--)
                lw_step(w, false);
        }
        w->lose = w->twice = w->late = w->busy = 0;
        CU_ASSERT(lw_settle(w, TM_SECONDS(60)));
        CU_ASSERT(equal(w));
        CU_ASSERT(lw_counted(w, TM_COUNTER_link_resyncs) > 0);
        lw_free(w);
    }
}

static void nothing_but_what_the_filter_ships_is_sent(void)
{
    struct lw *w = world(tm_test_seed(), 2, 2);
    w->cut = true;
    lw_scribble_some(w, 3000);
    lw_run(w, TM_MS(100));
    compact(w);
    w->cut = false;
    CU_ASSERT(lw_settle(w, TM_SECONDS(10)));
    for (uint32_t t = 0; t < w->targets; t++)
        for (uint64_t i = 0; i < w->target[t].log.commit; i++) {
            struct tm_bytes rest = tm_record_body(w->target[t].log.record[i]);
            struct tm_change c;
            while (tm_change_next(&rest, &c))
                CU_ASSERT(c.key.len < 7 || memcmp(c.key.data, "Secret:", 7) != 0);
        }
    CU_ASSERT(lw_counted(w, TM_COUNTER_link_resync_keys) > 100);
    lw_free(w);
}

static bool ships_items(const void *host, struct tm_bytes type)
{
    (void)host;
    return tm_bytes_equal(type, tm_bytes_str("Item"));
}

static void ship_by(struct lw *w, bool (*ships)(const void *host, struct tm_bytes type),
                    uint64_t hash)
{
    w->outlet.filter.ships = ships;
    w->outlet.filter.hash = hash;
    for (uint32_t p = 0; p < w->sources; p++)
        lw_source_lead(w, p);
}

static void a_wider_filter_brings_what_was_left_out_and_a_narrower_one_takes_nothing_away(void)
{
    struct lw *w = world(1, 2, 2);
    w->outlet.backfill = true;
    w->from.filter = 2;
    ship_by(w, ships_items, 2);
    fill(w, 0, 500, "value");
    put(w, "Item:1", "item");
    put(w, "Item:2", "item");
    CU_ASSERT(lw_settle(w, TM_SECONDS(10)));
    CU_ASSERT(!target_has(w, "Order:7") && target_has(w, "Item:1"));
    w->from.filter = 1;
    ship_by(w, lw_ships, 1);
    CU_ASSERT(lw_settle(w, TM_SECONDS(10)));
    CU_ASSERT(equal(w));
    ship_by(w, ships_items, 2); /* the target does not know of it yet */
    CU_ASSERT(lw_settle(w, TM_SECONDS(10)));
    CU_ASSERT(target_has(w, "Order:7") && target_has(w, "Item:1"));
    uint64_t again = lw_counted(w, TM_COUNTER_link_resyncs);
    ship_by(w, ships_items, 2);
    CU_ASSERT(lw_settle(w, TM_SECONDS(10)));
    CU_ASSERT_EQUAL(lw_counted(w, TM_COUNTER_link_resyncs), again);
    lw_free(w);
}

static uint64_t keys_at_target(struct lw *w)
{
    uint64_t n = 0;
    for (uint32_t t = 0; t < w->targets; t++)
        n += tm_store_count(w->target[t].store);
    return n;
}

static void narrow(struct lw *w)
{
    w->from.filter = 2;
    w->from.ships = ships_items;
    ship_by(w, ships_items, 2);
}

/* What clients of the target wrote stays; nothing of that goes to the source, nor comes back. */
static void a_narrower_filter_purges_where_it_is_told_to(void)
{
    struct lw *w = world(5, 2, 3);
    w->outlet.backfill = true;
    w->from.filter = 1;
    ship_by(w, lw_ships, 1);
    fill(w, 0, 5000, "value");
    put(w, "Item:1", "item");
    CU_ASSERT(lw_settle(w, TM_SECONDS(10)));
    lw_put_at_target(w, "Order:own", 0);
    lw_put_at_target(w, "Order:7", 0);
    CU_ASSERT(keys_at_target(w) >= 5002);
    narrow(w);
    CU_ASSERT(lw_settle(w, TM_SECONDS(10)));
    lw_run(w, TM_SECONDS(2));
    CU_ASSERT(keys_at_target(w) >= 5002); /* onNarrow: "keep" */
    w->from.purge = true;
    for (unsigned i = 0; i < 100000 && lw_counted(w, TM_COUNTER_link_purged) < 300; i++)
        lw_step(w, true);
    CU_ASSERT(keys_at_target(w) > 1000); /* in slices */
    for (uint32_t t = 0; t < w->targets; t++)
        lw_target_lead(w, t, (w->target[t].leader + 1) % LW_NODES);
    for (unsigned i = 100; i < 140; i++) { /* the new leaders hear of the streams */
        char key[16];
        snprintf(key, sizeof key, "Item:%u", i);
        put(w, key, "item");
    }
    lw_run(w, TM_SECONDS(5));
    CU_ASSERT_EQUAL(keys_at_target(w), 43);
    CU_ASSERT(target_has(w, "Order:own") && target_has(w, "Order:7") && target_has(w, "Item:1"));
    uint64_t before = 0;
    for (uint32_t t = 0; t < w->targets; t++)
        before += w->target[t].log.last;
    lw_run(w, TM_SECONDS(3));
    for (uint32_t t = 0; t < w->targets; t++)
        before -= w->target[t].log.last;
    CU_ASSERT_EQUAL(before, 0); /* and that is the end of it */
    CU_ASSERT(tm_store_count(w->source[0].store) + tm_store_count(w->source[1].store) == 5041);
    w->from.filter = 1;
    w->from.ships = lw_ships;
    ship_by(w, lw_ships, 1);
    CU_ASSERT(lw_settle(w, TM_SECONDS(20)));
    CU_ASSERT(keys_at_target(w) >= 5002);
    lw_free(w);
}

static enum tm_link_sharing all_write(void *host, struct tm_bytes key, uint64_t origin)
{
    (void)host;
    (void)key;
    (void)origin;
    return TM_LINK_MANY;
}

/* The source has what was made there and what came from a third cluster, neither in knowledge of
 * the other, and the target's is superseded by the one or the other. */
static void put_versions(struct lw *w, const char *key, uint64_t ours, uint64_t others)
{
    uint8_t bytes[256];
    struct tm_record_builder b;
    struct tm_versions v = {.type = TM_ENTITY_STRING, .past = {{2, LW_THEIRS}}, .past_count = 1};
    if (ours != 0)
        v.version[v.count++] = (struct tm_version){{ours, LW_OURS}, 0, tm_bytes_str("ours")};
    unsigned at = ours < others ? v.count : 0;
    if (at == 0)
        v.version[1] = v.version[0];
    v.version[at] = (struct tm_version){{others, LW_OTHERS}, 0, tm_bytes_str("others")};
    v.count++;
    tm_versions_encode(&v, bytes);
    lw_begin(w, &b, 0, TM_RECORD_EFFECT);
    lw_op(&b, key, TM_ENTITY_SHADOW, TM_OP_SET_FIELD, tm_bytes_str("v"),
          tm_bytes_of(bytes, tm_versions_size(&v)));
    lw_end(w, &b, 0);
}

static bool target_versions(struct lw *w, const char *key, struct tm_versions *v)
{
    struct tm_bytes raw;
    return tm_store_shadow_field(w->target[0].store, tm_bytes_str(key), tm_bytes_str("v"), &raw,
                                 NULL) &&
           tm_versions_decode(raw, v);
}

static void the_sources_versions_go_whoever_made_the_latest(void)
{
    static const struct tm_link_policy shared = {.keep = all_write};
    struct lw *w = world(1, 1, 1);
    struct tm_versions v;
    tm_store_set_policy(w->target[0].store, &shared);
    w->cut = true;
    put_versions(w, "Order:earlier", 5, 6);
    put_versions(w, "Order:later", 6, 5);
    put_versions(w, "Order:none", 0, 5);
    lw_run(w, TM_MS(10));
    compact(w);
    w->cut = false;
    CU_ASSERT(lw_settle(w, TM_SECONDS(10)));
    for (unsigned i = 0; i < 2; i++) {
        CU_ASSERT_FATAL(target_versions(w, i == 0 ? "Order:earlier" : "Order:later", &v));
        CU_ASSERT_EQUAL(v.count, 1); /* a third cluster's is not the link's to carry */
        CU_ASSERT_EQUAL(v.version[0].stamp.hlc, 5 + i);
        CU_ASSERT_EQUAL(v.version[0].stamp.origin, LW_OURS);
        CU_ASSERT(tm_bytes_equal(v.version[0].value, tm_bytes_str("ours")));
        CU_ASSERT_EQUAL(v.past_count, 1);
        CU_ASSERT_EQUAL(v.past[0].origin, LW_THEIRS);
    }
    CU_ASSERT_FALSE(target_versions(w, "Order:none", &v));
    lw_free(w);
}

static const struct tm_test tests[] = {
    TM_TEST(an_empty_target_gets_everything_and_the_stream_goes_on),
    TM_TEST(only_what_differs_is_sent),
    TM_TEST(what_the_source_has_deleted_goes_and_what_is_the_targets_own_stays),
    TM_TEST(what_was_deleted_goes_however_long_its_name_is),
    TM_TEST(writing_goes_on_meanwhile),
    TM_TEST(after_any_trouble_both_hold_the_same),
    TM_TEST(a_wider_filter_brings_what_was_left_out_and_a_narrower_one_takes_nothing_away),
    TM_TEST(a_narrower_filter_purges_where_it_is_told_to),
    TM_TEST(nothing_but_what_the_filter_ships_is_sent),
    TM_TEST(the_sources_versions_go_whoever_made_the_latest),
};
TM_TEST_MAIN("actors/link_sync", tests)
