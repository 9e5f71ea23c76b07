/* The table: finding, walking under growth and deletion, memory, entities read from blobs. */
#include "runtime/hash.h"
#include "storage/entity.h"
#include "storage/store_internal.h"
#include "tests/storage/arena_main.h"

#include <jemalloc/jemalloc.h>
#include <time.h>

static struct tm_pool pool = {&arena, 0};

static struct tm_entity *blob(const char *prefix, uint64_t n, size_t value_len)
{
    char name[40];
    static uint8_t value[64];
    struct tm_blob b = {
        .name = tm_bytes_of(name, (size_t)snprintf(name, sizeof name, "%s%07" PRIu64, prefix, n)),
        .value = tm_bytes_of(value, value_len)};
    struct tm_entity *e = tm_pool_alloc(&pool, tm_blob_size(&b));
    tm_blob_write(&b, e);
    return e;
}

static uint64_t hash_of(const struct tm_entity *e)
{
    return tm_table_hash(tm_entity_name(e));
}

static void insert(struct tm_table *t, struct tm_entity *e)
{
    tm_table_insert(t, &pool, e, hash_of(e));
}

static void remove_free(struct tm_table *t, struct tm_entity *e)
{
    tm_table_remove(t, &pool, e, hash_of(e));
    tm_pool_free(&pool, e, tm_entity_size(e));
}

static void what_was_inserted_is_found_until_it_is_removed(void)
{
    enum { N = 20000 };
    static struct tm_entity *in[N];
    uint64_t seed = tm_test_seed(), count = 0;
    struct tm_table t;
    tm_table_init(&t);
    for (unsigned step = 0; step < 6 * N; step++) {
        seed = tm_hash64(&seed, 8, step);
        unsigned i = (unsigned)(seed % N);
        bool grow = step < 3 * N ? seed >> 60 < 12 : seed >> 60 < 4;
        if (grow && in[i] == NULL) {
            insert(&t, in[i] = blob("k", i, 8));
            count++;
        } else if (!grow && in[i] != NULL) {
            remove_free(&t, in[i]);
            in[i] = NULL;
            count--;
        }
        CU_ASSERT_EQUAL_FATAL(t.count, count);
    }
    for (unsigned i = 0; i < N; i++) {
        struct tm_entity *same = blob("k", i, 0);
        CU_ASSERT_PTR_EQUAL(tm_table_find(&t, tm_entity_name(same), hash_of(same)), in[i]);
        tm_pool_free(&pool, same, tm_entity_size(same));
    }
    uint64_t walked = 0;
    struct tm_table_iter it;
    struct tm_entity *e;
    tm_table_first(&it, &t);
    for (; (e = tm_table_next(&it)) != NULL; walked++)
        if (walked % 97 == 0)
            CU_ASSERT_PTR_EQUAL(tm_table_at(&t, walked), e);
    CU_ASSERT_EQUAL(walked, count);
    for (unsigned i = 0; i < N; i++) {
        if (in[i] != NULL)
            remove_free(&t, in[i]);
        in[i] = NULL;
    }
    CU_ASSERT_EQUAL(pool.bytes, 0);
}

struct seen {
    unsigned times[8192];
    unsigned others;
};

static void count_visit(void *host, struct tm_entity *e)
{
    struct seen *seen = host;
    struct tm_bytes name = tm_entity_name(e);
    char digits[16] = {0};
    memcpy(digits, name.data + 1, name.len - 1);
    if (name.data[0] == 's')
        seen->times[atoi(digits)]++;
    else
        seen->others++;
}

/* Stable entities are visited exactly once, however the table grows and shrinks on the way. */
static void a_walk_in_slices_misses_and_doubles_nothing_that_stays(void)
{
    enum { STABLE = 8192 };
    static struct seen seen;
    struct tm_table t;
    uint64_t cursor = 0, seed = tm_test_seed(), came = 0, went = 0;
    tm_table_init(&t);
    for (unsigned i = 0; i < STABLE; i++)
        insert(&t, blob("s", i, 4));
    do {
        uint64_t next = tm_table_slice(&t, cursor, 1 + (unsigned)(seed % 50), count_visit, &seen);
        CU_ASSERT(next == 0 || (next > cursor && next % 65536 == 0));
        cursor = next;
        for (unsigned i = 0; i < 200 && came < 40000; i++)
            insert(&t, blob("x", came++, 4));
        for (; came > 20000 && went < came - 100; went++) {
            struct tm_entity *same = blob("x", went, 4);
            remove_free(&t, tm_table_find(&t, tm_entity_name(same), hash_of(same)));
            tm_pool_free(&pool, same, tm_entity_size(same));
        }
        seed = tm_hash64(&seed, 8, 0);
    } while (cursor != 0);
    for (unsigned i = 0; i < STABLE; i++)
        CU_ASSERT_EQUAL(seen.times[i], 1);
    CU_ASSERT(seen.others > 0 && went > 0);
    tm_table_free(&t, &pool, true);
    CU_ASSERT_EQUAL(pool.bytes, 0);
}

/* With names that are there, names that are not, and steps that come too early. */
static void fetching_ahead_reads_only_what_is_there(void)
{
    struct tm_table t;
    uint64_t seed = tm_test_seed();
    tm_table_init(&t);
    for (unsigned n = 0; n < 3000; n++) {
        seed = tm_hash64(&seed, 8, n);
        for (unsigned step = 0; step < TM_TABLE_STEPS; step++)
            tm_table_prefetch(&t, n % 2 == 0 ? seed : UINT64_MAX, step);
        struct tm_entity *e = blob("ahead", n, 8);
        insert(&t, e);
        tm_table_prefetch(&t, hash_of(e), TM_TABLE_STEPS - 1);
        CU_ASSERT_PTR_EQUAL(tm_table_find(&t, tm_entity_name(e), hash_of(e)), e);
    }
    tm_table_free(&t, &pool, true);
    CU_ASSERT_EQUAL(pool.bytes, 0);
}

static void near_goes_round_and_reaches_everything(void)
{
    struct tm_table t;
    tm_table_init(&t);
    CU_ASSERT_PTR_NULL(tm_table_near(&t, 5));
    struct tm_entity *e[3] = {blob("a", 1, 0), blob("b", 2, 0), blob("c", 3, 0)};
    bool reached[3] = {false};
    for (unsigned i = 0; i < 3; i++)
        insert(&t, e[i]);
    for (uint64_t r = 0; r < 1000; r++)
        for (unsigned i = 0; i < 3; i++)
            reached[i] |= tm_table_near(&t, tm_hash64(&r, 8, 1)) == e[i];
    CU_ASSERT(reached[0] && reached[1] && reached[2]);
    CU_ASSERT_PTR_NOT_NULL(tm_table_near(&t, UINT64_MAX));
    tm_table_free(&t, &pool, true);
}

/* Names with the same first 16 bits of hash fill one leaf: the directory must not follow. */
static void colliding_names_cost_time_not_memory(void)
{
    enum { N = 300 };
    struct tm_table t;
    static struct tm_entity *e[N];
    tm_table_init(&t);
    for (uint64_t i = 0, n = 0; n < N; i++) {
        char name[24];
        int len = snprintf(name, sizeof name, "k%07" PRIu64, i);
        if (tm_table_hash(tm_bytes_of(name, (size_t)len)) >> 48 == 0xabcd)
            insert(&t, e[n++] = blob("k", i, 0));
    }
    CU_ASSERT(t.depth <= 6);
    for (unsigned i = 0; i < N; i++) {
        CU_ASSERT_PTR_EQUAL(tm_table_find(&t, tm_entity_name(e[i]), hash_of(e[i])), e[i]);
        remove_free(&t, e[i]);
    }
    CU_ASSERT_EQUAL(pool.bytes, 0);
}

static size_t small_allocated(void)
{
    uint64_t epoch = 1;
    size_t small = 0, large = 0, len = sizeof epoch;
    char name[64];
    (void)mallctl("tcache.flush", NULL, NULL, &arena.tcache, sizeof arena.tcache);
    (void)mallctl("epoch", &epoch, &len, &epoch, sizeof epoch);
    len = sizeof small;
    (void)snprintf(name, sizeof name, "stats.arenas.%u.small.allocated", arena.index);
    CU_ASSERT_EQUAL(mallctl(name, &small, &len, NULL, 0), 0);
    (void)snprintf(name, sizeof name, "stats.arenas.%u.large.allocated", arena.index);
    CU_ASSERT_EQUAL(mallctl(name, &large, &len, NULL, 0), 0);
    return small + large;
}

/* 16-byte keys with 32-byte values: at every size on the way, by jemalloc's own count. */
static void an_entity_costs_at_most_24_bytes_beside_key_and_value(void)
{
    struct tm_table t;
    tm_table_init(&t);
    size_t before = small_allocated();
    double worst = 0;
    for (unsigned i = 1; i <= 400000; i++) {
        insert(&t, blob("Account:x", i, 32));
        if (i < 50000 || i % 10000 != 0)
            continue;
        double each = (double)(small_allocated() - before) / i - 48;
        worst = each > worst ? each : worst;
        CU_ASSERT(each <= 24.0);
    }
    printf("  worst %.2f bytes\n", worst);
    CU_ASSERT_EQUAL(small_allocated() - before, pool.bytes);
    tm_table_free(&t, &pool, true);
    CU_ASSERT_EQUAL(pool.bytes, 0);
}

static void decimal_numbers_are_those_that_incr_takes(void)
{
    int64_t v;
    CU_ASSERT(tm_value_int(tm_bytes_str("0"), &v) && v == 0);
    CU_ASSERT(tm_value_int(tm_bytes_str("-9223372036854775808"), &v) && v == INT64_MIN);
    CU_ASSERT(tm_value_int(tm_bytes_str("9223372036854775807"), &v) && v == INT64_MAX);
    static const char *const bad[] = {"",
                                      "-",
                                      "-0",
                                      "+1",
                                      "01",
                                      " 1",
                                      "1 ",
                                      "1.0",
                                      "a",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "123456789012345678901"};
    for (size_t i = 0; i < TM_ARRAY_LEN(bad); i++)
        CU_ASSERT_FALSE(tm_value_int(tm_bytes_str(bad[i]), &v));
}

static const struct tm_test tests[] = {
    TM_TEST(what_was_inserted_is_found_until_it_is_removed),
    TM_TEST(a_walk_in_slices_misses_and_doubles_nothing_that_stays),
    TM_TEST(fetching_ahead_reads_only_what_is_there),
    TM_TEST(near_goes_round_and_reaches_everything),
    TM_TEST(colliding_names_cost_time_not_memory),
    TM_TEST(an_entity_costs_at_most_24_bytes_beside_key_and_value),
    TM_TEST(decimal_numbers_are_those_that_incr_takes),
};

int main(void)
{
    return arena_test_main("storage/table", tests, TM_ARRAY_LEN(tests), NULL);
}
