/* The store, rule by rule: what the model test does not aim at. */
#include "runtime/hash.h"
#include "storage/entity.h"
#include "tests/storage/store_main.h"

static uint64_t buffer[TM_RECORD_MAX / 8], term = 1, hlc;
static uint8_t slice[TM_MIB(2)];

static void fresh(void)
{
    if (s != NULL)
        tm_store_delete(s);
    s = tm_store_new(&arena, 1);
}

static void begin_in(size_t cap)
{
    struct tm_record head = {
        .term = term, .index = tm_store_applied(s) + 1, .hlc = ++hlc, .origin = 5};
    tm_store_begin(s, buffer, cap, &head);
}

static void begin(void)
{
    begin_in(sizeof buffer);
}

static const struct tm_record *finish(void)
{
    struct tm_record *r = NULL;
    CU_ASSERT_EQUAL(tm_store_finish(s, &r), TM_OK);
    return r;
}

static void set(const char *key, const char *value)
{
    tm_store_set_field(s, str(key), TM_ENTITY_STRING, str(""), str(value));
}

static void write(const char *key, const char *value)
{
    begin();
    set(key, value);
    CU_ASSERT_PTR_NOT_NULL(finish());
}

static void expect_value(const char *key, const char *value)
{
    const struct tm_entity *e = tm_store_find(s, str(key));
    struct tm_value v;
    CU_ASSERT_EQUAL(e != NULL, value != NULL);
    if (e == NULL || value == NULL)
        return;
    tm_entity_string(e, &v);
    CU_ASSERT(tm_bytes_equal(v.text, str(value)));
}

static void seen_names_the_record_a_read_depends_on(void)
{
    fresh();
    write("a", "1");
    write("b", "1");
    write("a", "2");
    CU_ASSERT_EQUAL(tm_store_seen(s, str("a")), 3);
    CU_ASSERT_EQUAL(tm_store_seen(s, str("b")), 2);
    CU_ASSERT_EQUAL(tm_store_seen(s, str("none")), 0);
    CU_ASSERT_EQUAL(tm_store_seen_any(s), 3);
    tm_store_commit(s, 2);
    CU_ASSERT_EQUAL(tm_store_seen(s, str("b")), 0);
    begin();
    tm_store_del(s, str("b"));
    (void)finish();
    CU_ASSERT_EQUAL(tm_store_seen(s, str("b")), 4); /* its absence is not committed */
    begin();
    tm_store_flush(s);
    (void)finish();
    CU_ASSERT_EQUAL(tm_store_seen(s, str("none")), 5);
    write("a", "3");
    CU_ASSERT_EQUAL(tm_store_seen(s, str("a")), 6);
    CU_ASSERT_EQUAL(tm_store_seen(s, str("b")), 5);
    tm_store_undo(s, 4);
    CU_ASSERT_EQUAL(tm_store_seen(s, str("a")), 3);
    CU_ASSERT_EQUAL(tm_store_seen(s, str("none")), 0);
    expect_value("a", "2");
    tm_store_undo(s, 2);
    expect_value("a", "1");
    CU_ASSERT_EQUAL(tm_store_seen_any(s), 0);
}

static void a_record_that_does_not_fit_leaves_nothing(void)
{
    struct tm_record *r;
    fresh();
    write("a", "1");
    tm_store_commit(s, 1);
    uint64_t hash = tm_store_state_hash(s);
    begin_in(128);
    set("a", "2");
    tm_store_del(s, str("a"));
    set("a-key-that-is-too-long-for-so-small-a-buffer", "3");
    set("x", "later writers do nothing");
    CU_ASSERT_EQUAL(tm_store_finish(s, &r), TM_ERR_TOOBIG);
    CU_ASSERT_PTR_NULL(r);
    expect_value("a", "1");
    expect_value("x", NULL);
    CU_ASSERT_EQUAL(tm_store_applied(s), 1);
    CU_ASSERT_EQUAL(tm_store_seen_any(s), 0);
    write("b", "1");
    tm_store_commit(s, 2);
    CU_ASSERT_NOT_EQUAL(tm_store_state_hash(s), hash);
}

static void nothing_written_is_no_record(void)
{
    fresh();
    begin();
    tm_store_del(s, str("none"));
    CU_ASSERT_PTR_NULL(finish());
    CU_ASSERT_EQUAL(tm_store_applied(s), 0);
}

static void indices_only_rise(void)
{
    fresh();
    begin();
    set("a", "1");
    const struct tm_record *r = finish();
    CU_ASSERT_EQUAL(tm_store_apply(s, r, true), TM_ERR_INVALID);
    expect_value("a", "1");
    struct tm_record noop = {.length = 64, .kind = TM_RECORD_NOOP, .index = 2};
    CU_ASSERT_EQUAL(tm_store_apply(s, &noop, true), TM_OK);
    CU_ASSERT_EQUAL(tm_store_applied(s), 2);
}

/* A counter's effect may be replayed any number of times. */
static void a_counter_effect_is_a_running_total(void)
{
    static uint64_t copy[64];
    struct tm_value v;
    fresh();
    begin();
    tm_store_add(s, str("n"), TM_ENTITY_STRING, str(""), 5);
    const struct tm_record *r = finish();
    memcpy(copy, r, r->length);
    for (uint64_t index = 2; index < 5; index++) {
        ((struct tm_record *)(void *)copy)->index = index;
        CU_ASSERT_EQUAL(tm_store_apply(s, (void *)copy, true), TM_OK);
        tm_entity_string(tm_store_find(s, str("n")), &v);
        CU_ASSERT_EQUAL(v.number, 5);
        CU_ASSERT(v.is_counter);
    }
    ((struct tm_record *)(void *)copy)->index = 5;
    struct tm_bytes body = tm_record_body((void *)copy);
    struct tm_change change;
    struct tm_op op;
    (void)tm_change_next(&body, &change);
    (void)tm_op_next(&change.ops, &op);
    tm_store64((uint8_t *)copy + (op.value.data - (uint8_t *)copy), 99); /* of another cluster */
    CU_ASSERT_EQUAL(tm_store_apply(s, (void *)copy, true), TM_OK);
    tm_entity_string(tm_store_find(s, str("n")), &v);
    CU_ASSERT_EQUAL(v.number, 10); /* components are added */
}

static void expiry_kills_only_the_version_it_names(void)
{
    static uint64_t copy[64];
    fresh();
    write("a", "1");
    begin();
    tm_store_set_expiry(s, str("a"), 100);
    (void)finish();
    CU_ASSERT_PTR_NULL(tm_store_due(s, 99));
    CU_ASSERT_PTR_NOT_NULL(tm_store_due(s, 100));
    CU_ASSERT(tm_store_is_due(s, str("a"), 100));
    begin();
    tm_store_expire(s, str("a"));
    const struct tm_record *r = finish();
    memcpy(copy, r, r->length);
    expect_value("a", NULL);
    tm_store_undo(s, 2);
    write("a", "2"); /* index 3: another version, the same expiry */
    CU_ASSERT(tm_store_is_due(s, str("a"), 100));
    ((struct tm_record *)(void *)copy)->index = 4;
    CU_ASSERT_EQUAL(tm_store_apply(s, (void *)copy, true), TM_OK);
    expect_value("a", "2");
}

static void what_is_due_comes_soonest_first(void)
{
    char key[16];
    uint64_t seed = tm_test_seed(), last = 0;
    fresh();
    for (unsigned i = 0; i < 2000; i++) {
        seed = tm_hash64(&seed, 8, i);
        (void)snprintf(key, sizeof key, "k%u", (unsigned)(seed % 700));
        begin();
        set(key, "v");
        tm_store_set_expiry(s, str(key), 1 + (seed >> 32) % 5000);
        if (seed % 11 == 0)
            tm_store_persist(s, str(key));
        (void)finish();
    }
    tm_store_commit(s, tm_store_applied(s));
    const struct tm_entity *e;
    unsigned n = 0;
    for (; (e = tm_store_due(s, UINT64_MAX - 1)) != NULL; n++) {
        CU_ASSERT(tm_entity_expiry(e) >= last);
        last = tm_entity_expiry(e);
        begin();
        tm_store_expire(s, tm_entity_key(e));
        (void)finish();
    }
    CU_ASSERT(n > 400);
    CU_ASSERT_EQUAL(tm_store_next_expiry(s), UINT64_MAX);
    CU_ASSERT(tm_store_count(s) > 0);
}

static void held_writers_apply_at_release_only(void)
{
    fresh();
    write("a", "1");
    begin();
    tm_store_hold(s);
    set("b", "2");
    tm_store_set_expiry(s, str("b"), 500);
    tm_store_del(s, str("a"));
    expect_value("a", "1");
    expect_value("b", NULL);
    tm_store_release(s);
    expect_value("a", NULL);
    expect_value("b", "2");
    set("b", "3");
    CU_ASSERT_EQUAL(tm_record_check(finish(), sizeof buffer), TM_OK);
    expect_value("b", "3");
    CU_ASSERT_EQUAL(tm_store_next_expiry(s), 500);
    CU_ASSERT_EQUAL(tm_store_expiring(s), 1);
    tm_store_undo(s, 1);
    expect_value("a", "1");
    expect_value("b", NULL);
    CU_ASSERT_EQUAL(tm_store_next_expiry(s), UINT64_MAX);
    CU_ASSERT_EQUAL(tm_store_expiring(s), 0);
}

static void flush_and_deletion_give_memory_back_in_slices(void)
{
    char name[24];
    fresh();
    tm_store_commit(s, 0);
    uint64_t empty = tm_store_bytes(s);
    for (unsigned i = 0; i < 3000; i++) {
        (void)snprintf(name, sizeof name, "key%u", i);
        begin();
        set(name, "some value");
        (void)snprintf(name, sizeof name, "member%u", i);
        tm_store_set_field(s, str("large"), TM_ENTITY_SET, str(name), str(""));
        (void)finish();
        tm_store_commit(s, tm_store_applied(s));
    }
    uint64_t full = tm_store_bytes(s);
    begin();
    tm_store_flush(s);
    (void)finish();
    CU_ASSERT_EQUAL(tm_store_count(s), 0);
    CU_ASSERT(tm_store_bytes(s) >= full);
    tm_store_undo(s, 3000);
    CU_ASSERT_EQUAL(tm_store_count(s), 3001);
    begin();
    tm_store_flush(s);
    (void)finish();
    tm_store_commit(s, 3001);
    CU_ASSERT(tm_store_bytes(s) > full / 2); /* not all at once */
    unsigned slices = 0;
    while (tm_store_tidy(s, 100))
        slices++;
    CU_ASSERT(slices >= 58 && slices <= 61);
    CU_ASSERT(tm_store_bytes(s) < empty + 4096);
    CU_ASSERT_EQUAL(tm_store_state_hash(s), 0);
}

static void fill_for_snapshot(void)
{
    char name[24];
    fresh();
    begin();
    for (unsigned i = 0; i < 200; i++) {
        (void)snprintf(name, sizeof name, "k%u", i);
        set(name, "value");
        tm_store_set_field(s, str("large"), TM_ENTITY_HASH, str(name), str("x"));
    }
    tm_store_set_field(s, str("small"), TM_ENTITY_SET, str("m"), str(""));
    tm_store_add(s, str("count"), TM_ENTITY_STRING, str(""), 3);
    tm_store_set_expiry(s, str("large"), 77);
    (void)finish();
    tm_store_commit(s, 1);
}

static void a_snapshot_slice_that_was_damaged_is_refused_or_harmless(void)
{
    uint64_t cursor = 0, index, seed = tm_test_seed();
    size_t used;
    unsigned refused = 0;
    static uint8_t damaged[sizeof slice];
    fill_for_snapshot();
    CU_ASSERT_EQUAL(tm_store_snapshot(s, &cursor, slice, sizeof slice, &used, &index), TM_OK);
    CU_ASSERT_EQUAL(cursor, 0);
    for (unsigned round = 0; round < 3000; round++) {
        struct tm_store *c = tm_store_new(&arena, 1);
        size_t len = used;
        memcpy(damaged, slice, used);
        seed = tm_hash64(&seed, 8, round);
        if (round % 4 == 0)
            len = seed % used;
        else
            damaged[seed % used] ^= (uint8_t)(1u << (seed >> 40) % 8);
        tm_store_load_begin(c, 1);
        refused += tm_store_load_slice(c, damaged, len, 0, 1) == TM_ERR_CORRUPT;
        CU_ASSERT(round % 4 != 0 || tm_store_count(c) < tm_store_count(s));
        tm_store_delete(c);
    }
    CU_ASSERT(refused > 1000);
}

static void slices_out_of_order_are_refused(void)
{
    uint64_t cursor = 0, after, index;
    size_t used, more;
    fill_for_snapshot();
    CU_ASSERT_EQUAL(tm_store_snapshot(s, &cursor, slice, 4000, &used, &index), TM_OK);
    CU_ASSERT_NOT_EQUAL_FATAL(cursor, 0);
    after = cursor;
    CU_ASSERT_EQUAL(tm_store_snapshot(s, &after, slice + used, sizeof slice - used, &more, &index),
                    TM_OK);
    struct tm_store *c = tm_store_new(&arena, 1);
    tm_store_load_begin(c, 1);
    CU_ASSERT_EQUAL(tm_store_load_slice(c, slice, used, cursor, 1), TM_OK);
    CU_ASSERT_EQUAL(tm_store_load_slice(c, slice, used, 0, 1), TM_ERR_CORRUPT);
    tm_store_delete(c);
    c = tm_store_new(&arena, 1);
    tm_store_load_begin(c, 1);
    CU_ASSERT_EQUAL(tm_store_load_slice(c, slice, used, cursor, 1), TM_OK);
    CU_ASSERT_EQUAL(tm_store_load_slice(c, slice + used, more, after, 1), TM_OK);
    CU_ASSERT_EQUAL(tm_store_state_hash(c), tm_store_state_hash(s));
    CU_ASSERT_EQUAL(tm_store_next_expiry(c), 77);
    tm_store_delete(c);
}

static void an_entity_larger_than_a_slice_says_what_it_needs(void)
{
    uint64_t cursor = 0, index;
    size_t used;
    fresh();
    begin();
    tm_store_set_range(s, str("big"), 5000, str("end"));
    (void)finish();
    tm_store_commit(s, 1);
    CU_ASSERT_EQUAL(tm_store_snapshot(s, &cursor, slice, 1000, &used, &index), TM_ERR_TOOBIG);
    CU_ASSERT_EQUAL(cursor, 0);
    CU_ASSERT_EQUAL(tm_store_snapshot(s, &cursor, slice, used - 1, &used, &index), TM_ERR_TOOBIG);
    CU_ASSERT_EQUAL(tm_store_snapshot(s, &cursor, slice, used, &used, &index), TM_OK);
    CU_ASSERT_EQUAL(cursor, 0);
}

static void the_257th_origin_is_refused(void)
{
    struct tm_record_builder b;
    struct tm_op op = {TM_OP_SET_FIELD, {NULL, 0}, str("v")}, at;
    fresh();
    for (uint64_t i = 1; i <= 257; i++) {
        struct tm_record head = {.partition = 1, .index = i, .hlc = i, .origin = 1000 + i};
        tm_record_begin(&b, buffer, sizeof buffer, TM_RECORD_EFFECT, &head);
        CU_ASSERT_EQUAL(tm_record_op(&b, str("k"), TM_ENTITY_STRING, &op, &at), TM_OK);
        CU_ASSERT_EQUAL(tm_store_apply(s, tm_record_end(&b), false),
                        i <= 256 ? TM_OK : TM_ERR_TOOBIG);
    }
    CU_ASSERT_EQUAL(tm_store_applied(s), 256);
}

/* Fields of a set near the limit are added in the time of one field, not of the set. */
static void a_large_set_is_not_copied_for_each_member(void)
{
    char name[32];
    fresh();
    for (unsigned i = 0; i < 40000; i++) {
        begin();
        (void)snprintf(name, sizeof name, "member%u", i);
        tm_store_set_field(s, str("set"), TM_ENTITY_SET, str(name), str(""));
        (void)finish();
        if (i == 100)
            tm_store_commit(s, tm_store_applied(s));
    }
    CU_ASSERT_EQUAL(tm_entity_fields(tm_store_find(s, str("set"))), 40000);
    /* undo holds no copies of the set: two entries a record, and the members themselves */
    CU_ASSERT(tm_store_bytes(s) < 40000 * 500);
    tm_store_undo(s, 101);
    CU_ASSERT_EQUAL(tm_entity_fields(tm_store_find(s, str("set"))), 101);
}

static const struct tm_test tests[] = {
    TM_TEST(seen_names_the_record_a_read_depends_on),
    TM_TEST(a_record_that_does_not_fit_leaves_nothing),
    TM_TEST(nothing_written_is_no_record),
    TM_TEST(indices_only_rise),
    TM_TEST(a_counter_effect_is_a_running_total),
    TM_TEST(expiry_kills_only_the_version_it_names),
    TM_TEST(what_is_due_comes_soonest_first),
    TM_TEST(held_writers_apply_at_release_only),
    TM_TEST(flush_and_deletion_give_memory_back_in_slices),
    TM_TEST(a_snapshot_slice_that_was_damaged_is_refused_or_harmless),
    TM_TEST(slices_out_of_order_are_refused),
    TM_TEST(an_entity_larger_than_a_slice_says_what_it_needs),
    TM_TEST(the_257th_origin_is_refused),
    TM_TEST(a_large_set_is_not_copied_for_each_member),
};

int main(void)
{
    return store_test_main("storage/store", tests, TM_ARRAY_LEN(tests));
}
