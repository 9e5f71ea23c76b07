/* Shadows and stamps, rule by rule: what links need of a store. */
#include "runtime/hash.h"
#include "storage/entity.h"
#include "storage/store_link.h"
#include "tests/storage/store_main.h"

static uint64_t buffer[TM_KIB(64) / 8], hlc;

enum { OWN = 5 };

static void fresh(void)
{
    if (s != NULL)
        tm_store_delete(s);
    s = tm_store_new(&arena, 1);
    hlc = 1000;
}

static void begin(void)
{
    struct tm_record head = {
        .term = 1, .index = tm_store_applied(s) + 1, .hlc = ++hlc, .origin = OWN};
    tm_store_begin(s, buffer, sizeof buffer, &head);
}

static const struct tm_record *finish(void)
{
    struct tm_record *r = NULL;
    CU_ASSERT_EQUAL(tm_store_finish(s, &r), TM_OK);
    CU_ASSERT_PTR_NOT_NULL_FATAL(r);
    CU_ASSERT_EQUAL(tm_record_check(r, r->length), TM_OK);
    return r;
}

static void set(const char *key, const char *value)
{
    tm_store_set_field(s, str(key), TM_ENTITY_STRING, str(""), str(value));
}

static void expect_stamp(const char *key, const char *field, uint64_t at, uint64_t origin)
{
    struct tm_op_version v = {0, 0};
    const struct tm_entity *e = tm_store_find(s, str(key));
    CU_ASSERT_PTR_NOT_NULL_FATAL(e);
    CU_ASSERT(tm_store_field_stamp(s, e, str(field), &v));
    CU_ASSERT_EQUAL(v.hlc, at);
    CU_ASSERT_EQUAL(v.origin, origin);
}

static void what_is_stamped_keeps_the_stamp_it_was_made_with(void)
{
    fresh();
    begin();
    tm_store_set_field(s, str("h"), TM_ENTITY_HASH, str("own"), str("1"));
    tm_store_stamp(s, 7, 70);
    tm_store_set_field(s, str("h"), TM_ENTITY_HASH, str("other"), str("2"));
    set("s", "3");
    tm_store_stamp(s, 8, 80);
    tm_store_stamp(s, 0, 0);
    set("t", "4");
    const struct tm_record *r = finish();
    expect_stamp("h", "own", hlc, OWN);
    expect_stamp("h", "other", 7, 70);
    expect_stamp("s", "", 7, 70);
    expect_stamp("t", "", hlc, OWN);
    struct tm_op_version v = tm_store_stamp_of(s, tm_store_find(s, str("h")));
    CU_ASSERT_EQUAL(v.hlc, 7); /* the latest change of it */

    struct tm_store *follower = tm_store_new(&arena, 1);
    tm_store_commit(s, 1);
    CU_ASSERT_EQUAL(tm_store_apply(follower, r, false), TM_OK);
    CU_ASSERT_EQUAL(tm_store_state_hash(follower), tm_store_state_hash(s));
    tm_store_delete(follower);
}

static unsigned count_ops(const struct tm_record *r, enum tm_op_code code)
{
    struct tm_bytes body = tm_record_body(r);
    struct tm_change change;
    struct tm_op op;
    unsigned n = 0;
    while (tm_change_next(&body, &change))
        while (tm_op_next(&change.ops, &op))
            n += op.code == code;
    return n;
}

static void a_stamp_that_nothing_follows_is_not_written(void)
{
    struct tm_record *r;
    fresh();
    begin();
    tm_store_stamp(s, 7, 70);
    CU_ASSERT_EQUAL(tm_store_finish(s, &r), TM_OK);
    CU_ASSERT_PTR_NULL(r);
    begin();
    tm_store_stamp(s, 7, 70);
    tm_store_stamp(s, 8, 70);
    set("a", "1");
    set("b", "1");
    tm_store_stamp(s, 8, 70);
    set("c", "1");
    CU_ASSERT_EQUAL(count_ops(finish(), TM_OP_STAMPED), 1);
    expect_stamp("c", "", 8, 70);
}

static void held_and_flushed_records_carry_their_stamps(void)
{
    fresh();
    begin();
    tm_store_stamp(s, 7, 70);
    set("gone", "1");
    tm_store_flush(s);
    set("a", "1");
    tm_store_hold(s);
    set("b", "1");
    tm_store_stamp(s, 8, 80);
    set("c", "1");
    tm_store_release(s);
    set("d", "1");
    const struct tm_record *r = finish();
    for (unsigned follower = 0; follower < 2; follower++) {
        expect_stamp("a", "", 7, 70);
        expect_stamp("b", "", 7, 70);
        expect_stamp("c", "", 8, 80);
        expect_stamp("d", "", 8, 80);
        CU_ASSERT_EQUAL(tm_store_count(s), 4);
        tm_store_undo(s, 0);
        CU_ASSERT_EQUAL(tm_store_count(s), 0);
        CU_ASSERT_EQUAL(tm_store_apply(s, r, true), TM_OK);
    }
}

/* Also once it is large: the stamp changes within a record, in place, and comes back. */
static void a_large_entity_has_the_stamp_of_its_last_change(void)
{
    char name[16];
    fresh();
    begin();
    for (unsigned i = 0; i < TM_PACKED_FIELDS + 10; i++) {
        (void)snprintf(name, sizeof name, "f%u", i);
        tm_store_set_field(s, str("h"), TM_ENTITY_HASH, str(name), str("v"));
    }
    (void)finish();
    tm_store_commit(s, 1);
    uint64_t hash = tm_store_state_hash(s);
    begin();
    for (unsigned i = 1; i <= 3; i++) {
        tm_store_stamp(s, i, 10 * i);
        tm_store_set_field(s, str("h"), TM_ENTITY_HASH, str("f7"), str("w"));
    }
    (void)finish();
    expect_stamp("h", "f7", 3, 30);
    CU_ASSERT_EQUAL(tm_store_stamp_of(s, tm_store_find(s, str("h"))).hlc, 3);
    tm_store_undo(s, 1);
    expect_stamp("h", "f7", 1001, OWN);
    CU_ASSERT_EQUAL(tm_store_stamp_of(s, tm_store_find(s, str("h"))).hlc, 1001);
    CU_ASSERT_EQUAL(tm_store_state_hash(s), hash);
}

static void visit_none(void *host, const struct tm_entity *e)
{
    (void)host;
    CU_FAIL("a shadow was visited");
    (void)e;
}

static void no_command_sees_a_shadow(void)
{
    fresh();
    begin();
    tm_store_set_shadow(s, str("k"), str("d"), str("1"));
    tm_store_set_shadow(s, str(""), str("p1"), str("2"));
    (void)finish();
    CU_ASSERT_EQUAL(tm_store_shadows(s), 2);
    CU_ASSERT_EQUAL(tm_store_count(s), 0);
    CU_ASSERT_PTR_NULL(tm_store_find(s, str("k")));
    CU_ASSERT_PTR_NULL(tm_store_random(s, 7));
    CU_ASSERT_EQUAL(tm_store_scan(s, 0, 10, visit_none, NULL), 0);
    CU_ASSERT_EQUAL(tm_store_next_expiry(s), UINT64_MAX);
    CU_ASSERT_EQUAL(tm_store_seen(s, str("k")), 0);
}

static void a_key_has_entity_and_shadow_side_by_side(void)
{
    struct tm_bytes value;
    struct tm_op_version v;
    fresh();
    begin();
    set("k", "1");
    tm_store_del(s, str("k")); /* and the shadow in the place of nothing, in one record */
    tm_store_set_shadow(s, str("k"), str("d"), str("x"));
    tm_store_set_shadow(s, str("k"), str("e"), str("y"));
    tm_store_del_shadow(s, str("k"), str("d"));
    tm_store_del_shadow(s, str("k"), str("none"));
    set("k", "2");
    CU_ASSERT_EQUAL(count_ops(finish(), TM_OP_DEL_FIELD), 1);
    CU_ASSERT_EQUAL(tm_store_count(s), 1);
    CU_ASSERT(tm_store_shadow_field(s, str("k"), str("e"), &value, &v));
    CU_ASSERT(tm_bytes_equal(value, str("y")));
    CU_ASSERT_EQUAL(v.hlc, hlc);
    CU_ASSERT_FALSE(tm_store_shadow_field(s, str("k"), str("d"), NULL, NULL));
    begin();
    tm_store_flush(s);
    (void)finish();
    CU_ASSERT_EQUAL(tm_store_count(s), 0);
    CU_ASSERT_EQUAL(tm_store_shadows(s), 1); /* FLUSH spares it */
    tm_store_undo(s, 1);
    CU_ASSERT_EQUAL(tm_store_count(s), 1);
    tm_store_undo(s, 0);
    CU_ASSERT_EQUAL(tm_store_shadows(s), 0);
    CU_ASSERT_EQUAL(tm_store_state_hash(s), 0);
}

static void the_state_hash_and_snapshots_hold_shadows(void)
{
    static uint8_t slice[TM_KIB(64)];
    char key[16];
    size_t used;
    uint64_t cursor = 0, index;
    struct tm_op_version v;
    fresh();
    begin();
    for (unsigned i = 0; i < 200; i++) { /* half of them beside an entity */
        (void)snprintf(key, sizeof key, "key%u", i);
        tm_store_stamp(s, i + 1, 9);
        tm_store_set_shadow(s, str(key), str("d"), str("x"));
        if (i % 2 == 0)
            set(key, "1");
    }
    (void)finish();
    tm_store_commit(s, 1);
    struct tm_store *loaded = tm_store_new(&arena, 1);
    tm_store_load_begin(loaded, 1);
    unsigned slices = 0;
    do {
        CU_ASSERT_EQUAL(tm_store_snapshot(s, &cursor, slice, 1000, &used, &index), TM_OK);
        CU_ASSERT(used <= 1000);
        CU_ASSERT_EQUAL_FATAL(tm_store_load_slice(loaded, slice, used, cursor, index), TM_OK);
        slices++;
    } while (cursor != 0);
    CU_ASSERT(slices > 10);
    CU_ASSERT_EQUAL(tm_store_shadows(loaded), 200);
    CU_ASSERT_EQUAL(tm_store_count(loaded), 100);
    CU_ASSERT_EQUAL(tm_store_state_hash(loaded), tm_store_state_hash(s));
    CU_ASSERT(tm_store_shadow_field(loaded, str("key7"), str("d"), NULL, &v));
    CU_ASSERT(v.hlc == 8 && v.origin == 9);
    tm_store_delete(loaded);
    uint64_t hash = tm_store_state_hash(s);
    begin();
    tm_store_set_shadow(s, str("key7"), str("d"), str("y"));
    (void)finish();
    tm_store_commit(s, 2);
    CU_ASSERT_NOT_EQUAL(tm_store_state_hash(s), hash);
}

static void a_record_brings_64_new_origins_at_most(void)
{
    struct tm_record *r;
    fresh();
    for (unsigned n = 64; n <= 65; n++) {
        begin();
        for (unsigned i = 0; i < n; i++) {
            tm_store_stamp(s, 1, 1000 * n + i);
            set("k", "1");
        }
        CU_ASSERT_EQUAL(tm_store_finish(s, &r), n == 64 ? TM_OK : TM_ERR_TOOBIG);
    }
    CU_ASSERT_EQUAL(tm_store_applied(s), 1);
}

/* A record whose stamps name more origins than there are numbers changes nothing. */
static void a_follower_refuses_origins_beyond_256_before_it_changes_anything(void)
{
    struct tm_record_builder b;
    struct tm_op at;
    fresh();
    for (unsigned n = 0; n < 5; n++) {
        struct tm_record head = {.partition = 1, .index = n + 1, .hlc = n + 1, .origin = OWN};
        tm_record_begin(&b, buffer, sizeof buffer, TM_RECORD_EFFECT, &head);
        for (uint64_t i = 0; i < 60; i++) {
            struct tm_op_version v = {1, 1000 * n + i};
            struct tm_op stamped = {TM_OP_STAMPED, {NULL, 0}, tm_bytes_of(&v, sizeof v)};
            struct tm_op op = {TM_OP_SET_FIELD, {NULL, 0}, tm_bytes_of(&i, sizeof i)};
            CU_ASSERT_EQUAL(tm_record_op(&b, str("k"), TM_ENTITY_STRING, &stamped, &at), TM_OK);
            CU_ASSERT_EQUAL(tm_record_op(&b, str("k"), TM_ENTITY_STRING, &op, &at), TM_OK);
        }
        uint64_t before = tm_store_state_hash(s);
        CU_ASSERT_EQUAL(tm_store_apply(s, tm_record_end(&b), false), n < 4 ? TM_OK : TM_ERR_TOOBIG);
        CU_ASSERT_EQUAL(tm_store_state_hash(s) == before, n == 4);
    }
    CU_ASSERT_EQUAL(tm_store_applied(s), 4);
}

static const struct tm_test tests[] = {
    TM_TEST(what_is_stamped_keeps_the_stamp_it_was_made_with),
    TM_TEST(a_stamp_that_nothing_follows_is_not_written),
    TM_TEST(held_and_flushed_records_carry_their_stamps),
    TM_TEST(a_large_entity_has_the_stamp_of_its_last_change),
    TM_TEST(no_command_sees_a_shadow),
    TM_TEST(a_key_has_entity_and_shadow_side_by_side),
    TM_TEST(the_state_hash_and_snapshots_hold_shadows),
    TM_TEST(a_record_brings_64_new_origins_at_most),
    TM_TEST(a_follower_refuses_origins_beyond_256_before_it_changes_anything),
};

int main(void)
{
    return store_test_main("storage/store_link", tests, TM_ARRAY_LEN(tests));
}
