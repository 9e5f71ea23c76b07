/* Counters of keys that links carry, and merging, rule by rule, at one cluster: what others did is
 * merged by hand, stamp by stamp. */
#include "storage/entity.h"
#include "storage/store_internal.h"
#include "tests/storage/store_merging.h"

static void fresh(void)
{
    const struct tm_link_policy policy = {sharing, NULL};
    fresh_store(&policy);
}

static enum tm_link_outcome merge_count(const char *key, uint64_t term, int64_t total,
                                        struct tm_op_version base, int64_t value,
                                        struct tm_op_version v)
{
    struct tm_counter_at c = {{OTHER, term, total}, base.hlc, base.origin, value};
    return merge(key, TM_ENTITY_HASH, TM_OP_COUNTER_AT, "n", tm_bytes_of(&c, sizeof c), v);
}

static void add(const char *key, int64_t delta)
{
    begin();
    tm_store_add(s, str(key), TM_ENTITY_HASH, str("n"), delta);
    (void)finish();
}

static void expect(const char *key, const char *field, const char *value)
{
    const struct tm_entity *e = tm_store_find(s, str(key));
    struct tm_value v;
    bool there =
        e != NULL && tm_entity_type(e) == TM_ENTITY_HASH && tm_entity_field(e, str(field), &v);
    CU_ASSERT_EQUAL_FATAL(there, value != NULL);
    if (there)
        CU_ASSERT(tm_bytes_equal(v.text, str(value)));
}

static const struct tm_op_version NEVER = {0, 0};

static void increments_from_all_sides_add_up(void)
{
    fresh();
    add("m", 5);
    CU_ASSERT_EQUAL(merge_count("m", 1, 7, NEVER, 0, at(-5)), TM_LINK_APPLIED);
    CU_ASSERT_EQUAL(merge_count("m", 2, 100, NEVER, 0, at(-4)), TM_LINK_APPLIED);
    add("m", 1);
    expect("m", "n", "113");
    CU_ASSERT_EQUAL(merge_count("m", 2, 90, NEVER, 0, at(-3)), TM_LINK_APPLIED); /* a total */
    expect("m", "n", "103");
    CU_ASSERT_EQUAL(merge_count("m", 2, 100, NEVER, 0, at(-4)), TM_LINK_KNOWN); /* comes again */
    expect("m", "n", "103");
}

static void a_count_goes_with_its_base(void)
{
    fresh();
    set("m", "n", "40");
    struct tm_op_version base = {hlc, OWN};
    add("m", 2);
    CU_ASSERT_EQUAL(merge_count("m", 1, 3, base, 40, at(900)), TM_LINK_APPLIED);
    expect("m", "n", "45");
    CU_ASSERT_EQUAL(merge_count("m", 1, 9, at(-9), 1000, at(901)),
                    TM_LINK_LOST); /* a base before */
    expect("m", "n", "45");
    CU_ASSERT_EQUAL(merge_count("m", 1, 4, at(500), 60, at(902)), TM_LINK_APPLIED); /* and after */
    expect("m", "n", "64");
    CU_ASSERT_EQUAL(merge_set("m", "n", "60", at(500)), TM_LINK_KNOWN); /* the base itself, late */
    CU_ASSERT_EQUAL(merge_set("m", "n", "7", at(600)), TM_LINK_APPLIED);
    expect("m", "n", "7");
}

static void a_counter_that_was_deleted_counts_from_nothing(void)
{
    fresh();
    add("m", 5);
    begin();
    tm_store_del(s, str("m"));
    (void)finish();
    struct tm_op_version gone = {hlc, OWN};
    add("m", 1);
    expect("m", "n", "1");
    CU_ASSERT_EQUAL(merge_count("m", 1, 50, NEVER, 0, at(900)), TM_LINK_LOST);
    expect("m", "n", "1");
    gone.origin++; /* as others name it that know of the deletion */
    CU_ASSERT_EQUAL(merge_count("m", 1, 50, gone, 0, at(901)), TM_LINK_APPLIED);
    expect("m", "n", "51");
    CU_ASSERT_EQUAL(merge("m", TM_ENTITY_HASH, TM_OP_DEL_ENTITY, "", str(""),
                          (struct tm_op_version){gone.hlc, OWN}),
                    TM_LINK_APPLIED); /* the deletion again, over another path */
    expect("m", "n", "51");
}

static void count_of(uint64_t origin, uint64_t term, int64_t total, int64_t ticks)
{
    struct tm_counter_at c = {{origin, term, total}, 0, 0, 0};
    struct tm_op_version v = {((uint64_t)NOW << 16) + (uint64_t)ticks, origin};
    CU_ASSERT_EQUAL(merge("m", TM_ENTITY_HASH, TM_OP_COUNTER_AT, "n", tm_bytes_of(&c, sizeof c), v),
                    TM_LINK_APPLIED);
}

/* What was folded into the base counts no more by its own total; all others do. */
static void of_too_many_leaders_the_oldest_of_that_cluster_is_folded(void)
{
    enum { THIRD = OTHER + 1, FIT = TM_COUNTER_COMPONENTS };
    char sum[24];
    fresh();
    count_of(THIRD, 1, 10, 1); /* older than all of OTHER's */
    for (unsigned term = FIT; term > 0; term--)
        count_of(OTHER, term, 100, 10 + FIT - term);
    snprintf(sum, sizeof sum, "%d", 10 + 100 * FIT);
    expect("m", "n", sum);
    count_of(THIRD, 1, 15, 500);
    for (unsigned term = 1; term < FIT; term++)
        count_of(OTHER, term, 101, 500 + term);
    snprintf(sum, sizeof sum, "%d", 15 + 101 * (FIT - 1) + 100);
    expect("m", "n", sum);
    add("m", 7); /* here it has none yet: the oldest of all makes room */
    snprintf(sum, sizeof sum, "%d", 15 + 101 * (FIT - 1) + 100 + 7);
    expect("m", "n", sum);
    count_of(OTHER, 1, 103, 900); /* was not it */
    snprintf(sum, sizeof sum, "%d", 15 + 101 * (FIT - 1) + 100 + 7 + 2);
    expect("m", "n", sum);
}

static void what_one_record_set_and_counted_is_set(void)
{
    fresh();
    begin();
    tm_store_set_field(s, str("m"), TM_ENTITY_HASH, str("n"), str("40"));
    tm_store_add(s, str("m"), TM_ENTITY_HASH, str("n"), 2);
    tm_store_add(s, str("m"), TM_ENTITY_HASH, str("n"), 3);
    (void)finish();
    expect("m", "n", "45");
    struct tm_op_version base = {hlc, OWN};
    CU_ASSERT_EQUAL(merge_count("m", 1, 1, base, 45, at(900)), TM_LINK_APPLIED);
    expect("m", "n", "46");
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

static void what_no_link_carries_counts_as_before(void)
{
    fresh();
    begin();
    tm_store_add(s, str("private"), TM_ENTITY_HASH, str("n"), 2);
    tm_store_add(s, str("o"), TM_ENTITY_HASH, str("n"), 2);
    const struct tm_record *r = finish();
    CU_ASSERT_EQUAL(count_ops(r, TM_OP_COUNTER), 1);
    CU_ASSERT_EQUAL(count_ops(r, TM_OP_COUNTER_AT), 1);
    expect("private", "n", "2");
    expect("o", "n", "2");
    tm_store_set_policy(s, NULL); /* a leader that does not know of the link yet */
    add("o", 3);
    expect("o", "n", "5");
}

static void what_was_counted_before_a_link_carries_it_counts_once(void)
{
    const struct tm_link_policy policy = {sharing, NULL};
    for (const char *key = "m"; key != NULL; key = *key == 'm' ? "o" : NULL) {
        fresh();
        tm_store_set_policy(s, NULL);
        add(key, 5);
        add(key, 7);
        tm_store_set_policy(s, &policy);
        add(key, 1);
        expect(key, "n", "13");
        add(key, 1);
        expect(key, "n", "14");
        tm_store_set_policy(s, NULL);
        add(key, 1);
        expect(key, "n", "15");
    }
}

static void snapshots_hold_based_counters(void)
{
    static uint8_t slice[TM_KIB(64)];
    uint64_t cursor = 0, index;
    size_t used;
    fresh();
    add("m", 5);
    (void)merge_count("m", 1, 7, NEVER, 0, at(-5));
    tm_store_commit(s, tm_store_applied(s));
    CU_ASSERT_EQUAL(tm_store_snapshot(s, &cursor, slice, sizeof slice, &used, &index), TM_OK);
    struct tm_store *loaded = tm_store_new(&arena, 1), *was = s;
    tm_store_load_begin(loaded, index);
    CU_ASSERT_EQUAL_FATAL(tm_store_load_slice(loaded, slice, used, 0, index), TM_OK);
    CU_ASSERT_EQUAL(tm_store_state_hash(loaded), tm_store_state_hash(s));
    s = loaded;
    expect("m", "n", "12");
    s = was;
    tm_store_delete(loaded);
}

static void the_later_change_of_a_field_stays(void)
{
    fresh();
    set("m", "a", "mine");
    CU_ASSERT_EQUAL(merge_set("m", "a", "older", at(-1)), TM_LINK_LOST);
    CU_ASSERT_EQUAL(merge_set("m", "b", "older", at(-1)), TM_LINK_APPLIED);
    expect("m", "a", "mine");
    expect("m", "b", "older");
    CU_ASSERT_EQUAL(merge_set("m", "a", "later", at(500)), TM_LINK_APPLIED);
    CU_ASSERT_EQUAL(merge_set("m", "a", "later", at(500)), TM_LINK_KNOWN);
    expect("m", "a", "later");
}

static void a_deletion_here_holds_against_what_was_made_before_it(void)
{
    fresh();
    set("m", "a", "1");
    set("m", "b", "1");
    begin();
    tm_store_del_field(s, str("m"), TM_ENTITY_HASH, str("a"));
    (void)finish();
    CU_ASSERT_EQUAL(merge_set("m", "a", "before", at(1)), TM_LINK_LOST);
    expect("m", "a", NULL);
    begin();
    tm_store_del(s, str("m"));
    (void)finish();
    CU_ASSERT_EQUAL(merge_set("m", "c", "before", at(2)), TM_LINK_LOST);
    CU_ASSERT_PTR_NULL(tm_store_find(s, str("m")));
    CU_ASSERT_EQUAL(merge_set("m", "c", "after", at(500)), TM_LINK_APPLIED);
    expect("m", "c", "after");
}

/* The deletion names it twice: in the tombstone, too. */
static void a_deletion_that_no_record_holds_is_refused_and_changes_nothing(void)
{
    static char name[TM_KIB(33)];
    struct tm_record *r;
    struct tm_bytes field = tm_bytes_of(name, sizeof name);
    memset(name, 'n', sizeof name);
    for (const char *key = "m"; key != NULL; key = *key == 'm' ? "private" : NULL) {
        fresh();
        begin();
        tm_store_set_field(s, str(key), TM_ENTITY_HASH, field, str("1"));
        (void)finish();
        set(key, "other", "2");
        uint64_t applied = tm_store_applied(s);
        tm_store_commit(s, applied);
        uint64_t hash = tm_store_state_hash(s);
        begin();
        tm_store_del_field(s, str(key), TM_ENTITY_HASH, str("other"));
        tm_store_del_field(s, str(key), TM_ENTITY_HASH, field);
        CU_ASSERT_EQUAL(tm_store_finish(s, &r), *key == 'm' ? TM_ERR_TOOBIG : TM_OK);
        if (*key != 'm')
            continue;
        CU_ASSERT_EQUAL(tm_store_applied(s), applied);
        CU_ASSERT_EQUAL(tm_store_state_hash(s), hash);
        expect(key, "other", "2");
        set(key, "other", "3"); /* it goes on */
        expect(key, "other", "3");
    }
}

static void only_what_many_write_leaves_tombstones(void)
{
    fresh();
    for (unsigned i = 0; i < 3; i++) {
        const char *key = i == 0 ? "private" : i == 1 ? "o" : "m";
        set(key, "a", "1");
        begin();
        tm_store_del(s, str(key));
        (void)finish();
        CU_ASSERT_EQUAL(tm_store_shadows(s), i == 2);
    }
}

static void a_deletion_there_spares_what_was_made_after_it(void)
{
    fresh();
    set("m", "mine", "1");
    CU_ASSERT_EQUAL(merge_set("m", "theirs", "1", at(-5)), TM_LINK_APPLIED);
    CU_ASSERT_EQUAL(merge("m", TM_ENTITY_HASH, TM_OP_DEL_ENTITY, "", str(""), at(-4)),
                    TM_LINK_APPLIED);
    expect("m", "mine", "1");
    expect("m", "theirs", NULL);
    CU_ASSERT_EQUAL(merge_set("m", "more", "1", at(-5)), TM_LINK_LOST);
}

/* As such, and as the tombstone that it left there. */
static void a_field_or_member_that_was_deleted_there_goes(void)
{
    static const enum tm_entity_type types[] = {TM_ENTITY_HASH, TM_ENTITY_SET};
    for (unsigned i = 0; i < 2 * TM_ARRAY_LEN(types); i++) {
        enum tm_entity_type type = types[i / 2];
        uint8_t was = (uint8_t)type;
        struct tm_bytes value = type == TM_ENTITY_HASH ? str("1") : str("");
        fresh();
        for (const char *name = "abc"; *name != '\0'; name++)
            CU_ASSERT_EQUAL(merge("m", type, TM_OP_SET_FIELD, name, value, at(1)), TM_LINK_APPLIED);
        CU_ASSERT_EQUAL(i % 2 == 0 ? merge("m", type, TM_OP_DEL_FIELD, "bc", str(""), at(2))
                                   : merge("m", TM_ENTITY_SHADOW, TM_OP_SET_FIELD, "fbc",
                                           tm_bytes_of(&was, 1), at(2)),
                        TM_LINK_APPLIED);
        const struct tm_entity *e = tm_store_find(s, str("m"));
        CU_ASSERT_FATAL(e != NULL);
        CU_ASSERT_EQUAL(tm_entity_fields(e), 2);
        CU_ASSERT_PTR_NULL(tm_field_find(e, str("bc")));
        CU_ASSERT_EQUAL(merge("m", type, TM_OP_SET_FIELD, "bc", value, at(1)), TM_LINK_LOST);
    }
}

static void the_type_of_the_later_change_stays(void)
{
    fresh();
    set("m", "a", "1");
    CU_ASSERT_EQUAL(merge("m", TM_ENTITY_SET, TM_OP_SET_FIELD, "x", str(""), at(-1)), TM_LINK_LOST);
    expect("m", "a", "1");
    CU_ASSERT_EQUAL(merge("m", TM_ENTITY_SET, TM_OP_SET_FIELD, "x", str(""), at(500)),
                    TM_LINK_APPLIED);
    CU_ASSERT_EQUAL(tm_entity_type(tm_store_find(s, str("m"))), TM_ENTITY_SET);
    CU_ASSERT_EQUAL(merge_set("m", "b", "1", at(0)), TM_LINK_LOST); /* of the type that lost */
}

static enum tm_link_outcome count_string(int64_t total, struct tm_op_version v)
{
    struct tm_counter_at c = {{OTHER, 1, total}, 0, 0, 0};
    return merge("m", TM_ENTITY_STRING, TM_OP_COUNTER_AT, "", tm_bytes_of(&c, sizeof c), v);
}

/* None is later, and which came first differs between clusters. */
static void of_two_counters_of_nothing_of_different_types_the_hash_stays(void)
{
    for (unsigned string_first = 0; string_first < 2; string_first++) {
        fresh();
        if (string_first)
            CU_ASSERT_EQUAL(count_string(5, at(-6)), TM_LINK_APPLIED);
        CU_ASSERT_EQUAL(merge_count("m", 1, 7, NEVER, 0, at(-5)), TM_LINK_APPLIED);
        CU_ASSERT_EQUAL(count_string(5, at(-6)), TM_LINK_LOST);
        CU_ASSERT_EQUAL(merge_count("m", 2, 7, NEVER, 0, at(-4)), TM_LINK_APPLIED);
        expect("m", "n", "14");
        CU_ASSERT_PTR_NULL(tm_store_shadow(s, str("m")));
    }
}

/* A floor for it would have no stamp that says when it may go; others make none if they see the
 * other type first. */
static void a_counter_of_nothing_that_lost_to_another_type_leaves_nothing(void)
{
    for (unsigned local = 0; local < 2; local++) {
        fresh();
        CU_ASSERT_EQUAL(count_string(5, at(-6)), TM_LINK_APPLIED);
        if (local)
            set("m", "a", "1");
        else
            CU_ASSERT_EQUAL(merge_set("m", "a", "1", at(-5)), TM_LINK_APPLIED);
        expect("m", "a", "1");
        CU_ASSERT_PTR_NULL(tm_store_shadow(s, str("m")));
        add("m", 3);
        CU_ASSERT_EQUAL(count_string(6, at(500)), TM_LINK_LOST);
        expect("m", "n", "3");
    }
}

/* The register does not keep it from counting, and others have it still. */
static void what_is_settled_goes_for_a_counter_only_if_it_is_against_it(void)
{
    uint64_t settled, collected;
    fresh();
    set("m", "a", "1");
    set("m", "b", "1");
    set("m", "n", "1");
    begin();
    tm_store_persist(s, str("m"));
    tm_store_del_field(s, str("m"), TM_ENTITY_HASH, str("b"));
    tm_store_del_field(s, str("m"), TM_ENTITY_HASH, str("n"));
    (void)finish();
    CU_ASSERT_EQUAL(merge_count("m", 1, 7, NEVER, 0, at(900)), TM_LINK_LOST);
    begin();
    tm_link_set_frontier(s, hlc - 1, 0);
    (void)finish();
    tm_link_frontier(s, &settled, &collected);
    CU_ASSERT_EQUAL(settled, hlc - 1);
    CU_ASSERT_EQUAL(merge_count("m", 1, 7, NEVER, 0, at(900)), TM_LINK_APPLIED);
    expect("m", "n", "7");
    CU_ASSERT_FALSE(tm_store_shadow_field(s, str("m"), str("fn"), NULL, NULL));
    CU_ASSERT(tm_store_shadow_field(s, str("m"), str("fb"), NULL, NULL));
    CU_ASSERT(tm_store_shadow_field(s, str("m"), str("x"), NULL, NULL));
}

/* It is lost anyhow, and others keep the floor still. */
static void nothing_goes_for_a_counter_that_another_type_outlives(void)
{
    fresh();
    set("m", "a", "1");
    begin();
    tm_store_set_field(s, str("m"), TM_ENTITY_STRING, str(""), str("1"));
    tm_link_set_frontier(s, hlc - 1, 0);
    (void)finish();
    CU_ASSERT_EQUAL(merge_count("m", 1, 7, NEVER, 0, at(900)), TM_LINK_LOST);
    CU_ASSERT(tm_store_shadow_field(s, str("m"), str("d"), NULL, NULL));
}

/* As where it has not expired yet, it dies with what it counts from. */
static void what_counts_from_a_life_that_is_over_is_dead(void)
{
    fresh();
    set("m", "n", "40");
    struct tm_op_version base = {hlc, OWN}, late = {(uint64_t)(NOW + 50) << 16, OTHER};
    begin();
    tm_store_set_expiry(s, str("m"), NOW + 10);
    (void)finish();
    now_ms = NOW + 100;
    hlc = now_ms << 16;
    begin();
    tm_store_expire(s, str("m"));
    (void)finish();
    CU_ASSERT_EQUAL(merge_count("m", 1, 3, base, 40, late), TM_LINK_LOST);
    CU_ASSERT_EQUAL(merge_count("m", 1, 3, NEVER, 0, late), TM_LINK_LOST);
    expect("m", "n", NULL);
    begin();
    tm_link_set_frontier(s, hlc - 1, 0); /* who counts from nothing knew that it had expired */
    (void)finish();
    CU_ASSERT_EQUAL(merge_count("m", 1, 3, NEVER, 0, late), TM_LINK_APPLIED);
    expect("m", "n", "3");
}

/* As RENAME makes it: what is held is not to be seen yet.  Others are told of the same. */
static void what_is_made_anew_under_hold_keeps_its_register_of_expiry(void)
{
    struct tm_bytes value;
    struct tm_op_version stamp;
    fresh();
    set("m", "a", "1");
    begin();
    tm_store_set_expiry(s, str("m"), NOW + 1000);
    (void)finish();
    begin();
    tm_store_del_field(s, str("m"), TM_ENTITY_HASH, str("a"));
    (void)finish();
    begin();
    tm_store_hold(s);
    tm_store_set_field(s, str("m"), TM_ENTITY_SET, str("z"), str(""));
    tm_store_release(s);
    (void)finish();
    CU_ASSERT_FATAL(tm_store_shadow_field(s, str("m"), str("x"), &value, &stamp));
    CU_ASSERT_EQUAL(tm_load64(value.data), 0);
    CU_ASSERT_EQUAL(stamp.hlc, hlc);
    CU_ASSERT_EQUAL(tm_store_next_expiry(s), UINT64_MAX);
}

/* That it expired is later than its tombstones. */
static void what_is_made_anew_under_hold_has_the_floor_of_what_expired(void)
{
    struct tm_op_version stamp;
    fresh();
    set("m", "a", "1");
    begin();
    tm_store_set_expiry(s, str("m"), NOW + 1000);
    tm_store_del_field(s, str("m"), TM_ENTITY_HASH, str("a"));
    (void)finish();
    hlc = (uint64_t)(NOW + 2000) << 16;
    begin();
    tm_store_hold(s);
    tm_store_set_field(s, str("m"), TM_ENTITY_SET, str("z"), str(""));
    tm_store_release(s);
    (void)finish();
    CU_ASSERT_FATAL(tm_store_shadow_field(s, str("m"), str("d"), NULL, &stamp));
    CU_ASSERT_EQUAL(stamp.hlc, ((uint64_t)(NOW + 1000) << 16) - 1);
    CU_ASSERT_FALSE(tm_store_shadow_field(s, str("m"), str("x"), NULL, NULL));
}

static void expiry_is_a_register_of_its_own(void)
{
    uint64_t ms = NOW + 77, later = NOW + 99;
    fresh();
    set("m", "a", "1");
    begin();
    tm_store_set_expiry(s, str("m"), ms);
    (void)finish();
    CU_ASSERT_EQUAL(merge("m", TM_ENTITY_HASH, TM_OP_SET_EXPIRY, "", tm_bytes_of(&later, 8), at(1)),
                    TM_LINK_LOST);
    CU_ASSERT_EQUAL(tm_store_next_expiry(s), ms);
    CU_ASSERT_EQUAL(
        merge("m", TM_ENTITY_HASH, TM_OP_SET_EXPIRY, "", tm_bytes_of(&later, 8), at(500)),
        TM_LINK_APPLIED);
    CU_ASSERT_EQUAL(tm_store_next_expiry(s), later);
    CU_ASSERT_EQUAL(merge_set("m", "a", "2", at(3)), TM_LINK_APPLIED); /* the field is older */
    CU_ASSERT_EQUAL(merge("m", TM_ENTITY_HASH, TM_OP_PERSIST, "", str(""), at(501)),
                    TM_LINK_APPLIED);
    CU_ASSERT_EQUAL(tm_store_next_expiry(s), UINT64_MAX);
}

/* Who has looked whether it is due, and who has not, share the same. */
static void what_is_due_is_as_what_has_expired(void)
{
    uint64_t ms = NOW + 5;
    fresh();
    set("m", "a", "1");
    begin();
    tm_store_set_expiry(s, str("m"), ms);
    (void)finish();
    uint64_t before = tm_link_hash(s, str("m"), ms - 1, 0), due = tm_link_hash(s, str("m"), ms, 0);
    CU_ASSERT_NOT_EQUAL(before, due);
    begin();
    tm_store_expire(s, str("m"));
    (void)finish();
    CU_ASSERT_PTR_NULL(tm_store_find(s, str("m")));
    CU_ASSERT_EQUAL(tm_link_hash(s, str("m"), ms, 0), due);
}

static void an_extension_of_what_expired_here_says_what_it_lacks(void)
{
    uint64_t ms = NOW + 1, later = NOW + 99;
    fresh();
    set("m", "a", "1");
    begin();
    tm_store_set_expiry(s, str("m"), ms);
    (void)finish();
    now_ms = NOW + 2;
    begin();
    tm_store_expire(s, str("m"));
    (void)finish();
    CU_ASSERT_EQUAL(tm_store_count(s), 0);
    CU_ASSERT_EQUAL(merge_set("m", "b", "old life", at(-70000)), TM_LINK_LOST);
    CU_ASSERT_EQUAL(
        merge("m", TM_ENTITY_HASH, TM_OP_SET_EXPIRY, "", tm_bytes_of(&later, 8), at(500)),
        TM_LINK_LACKS);
    CU_ASSERT_EQUAL(merge_set("m", "a", "1", at(1)), TM_LINK_APPLIED); /* the state is sent */
    CU_ASSERT_EQUAL(tm_store_next_expiry(s), later);
}

/* Not yet taken away, but what came meanwhile was taken for dead. */
static void a_life_that_ended_before_it_expired_here_says_what_it_lacks(void)
{
    uint64_t ms = NOW + 1000;
    fresh();
    set("m", "a", "1");
    begin();
    tm_store_set_expiry(s, str("m"), ms);
    (void)finish();
    now_ms = NOW + 1001;
    begin();
    tm_store_expire(s, str("m"));
    (void)finish();
    CU_ASSERT_EQUAL(merge_set("m", "b", "of the next life", at(60 << 16)), TM_LINK_LOST);
    CU_ASSERT_EQUAL(merge("m", TM_ENTITY_HASH, TM_OP_DEL_ENTITY, "", str(""), at(50 << 16)),
                    TM_LINK_LACKS);
    CU_ASSERT_EQUAL(merge_set("m", "b", "of the next life", at(60 << 16)), TM_LINK_APPLIED);
}

/* m expires at that time, ms. */
static void expires(uint64_t ms)
{
    begin();
    tm_store_set_expiry(s, str("m"), ms);
    (void)finish();
}

/* The next leader's clock is behind that of the leader under whom it expired. */
static void what_expired_here_is_lacking_by_a_slower_clock_too(void)
{
    uint64_t ms = NOW + 1000;
    fresh();
    set("m", "a", "1");
    expires(ms);
    hlc = ms << 16;
    begin();
    tm_store_expire(s, str("m"));
    (void)finish();
    now_ms = NOW + 500;
    CU_ASSERT_PTR_NULL(tm_store_find(s, str("m")));
    CU_ASSERT_EQUAL(merge_set("m", "b", "of that life", at(45 << 16)), TM_LINK_LOST);
    CU_ASSERT_EQUAL(merge("m", TM_ENTITY_HASH, TM_OP_DEL_ENTITY, "", str(""), at(50 << 16)),
                    TM_LINK_LACKS);
    CU_ASSERT_EQUAL(merge_set("m", "b", "of the next life", at(60 << 16)), TM_LINK_APPLIED);
}

/* It was due when the change came: no later leader can go on with a life that lacks it. */
static void what_came_too_late_for_a_life_ends_it(void)
{
    uint64_t ms = NOW + 1000;
    fresh();
    set("m", "a", "1");
    expires(ms);
    now_ms = ms + 1;
    hlc = now_ms << 16;
    CU_ASSERT_PTR_NOT_NULL(tm_store_find(s, str("m")));
    CU_ASSERT_EQUAL(merge_set("m", "b", "of that life", at(45 << 16)), TM_LINK_LOST);
    CU_ASSERT_PTR_NULL(tm_store_find(s, str("m")));
    now_ms = NOW + 500;
    CU_ASSERT_EQUAL(merge("m", TM_ENTITY_HASH, TM_OP_PERSIST, "", str(""), at(50 << 16)),
                    TM_LINK_LACKS);
}

static void equal_sums_of_different_increments_differ(void)
{
    fresh();
    add("m", 3);
    uint64_t three = tm_link_hash(s, str("m"), NOW, 0);
    fresh();
    CU_ASSERT_EQUAL(merge_count("m", 1, 3, NEVER, 0, at(1)), TM_LINK_APPLIED);
    CU_ASSERT_NOT_EQUAL(tm_link_hash(s, str("m"), NOW, 0), three);
}

static void an_extension_of_what_is_due_here_says_what_it_lacks(void)
{
    fresh();
    set("m", "a", "1");
    begin();
    tm_store_set_expiry(s, str("m"), NOW + 1);
    (void)finish();
    now_ms = NOW + 2;
    CU_ASSERT_EQUAL(merge_set("m", "b", "late", at(1)), TM_LINK_LOST);
    CU_ASSERT_EQUAL(merge("m", TM_ENTITY_HASH, TM_OP_PERSIST, "", str(""), at(2)), TM_LINK_LACKS);
    CU_ASSERT_EQUAL(merge_set("m", "b", "late", at(1)), TM_LINK_APPLIED);
    CU_ASSERT_EQUAL(tm_store_next_expiry(s), UINT64_MAX);
}

static void an_evicted_key_is_as_if_it_had_never_been(void)
{
    fresh();
    set("m", "a", "1");
    begin();
    tm_store_del_field(s, str("m"), TM_ENTITY_HASH, str("b"));
    tm_store_set_expiry(s, str("m"), NOW + 5);
    (void)finish();
    begin();
    tm_link_evict(s, str("m"));
    const struct tm_record *r = finish();
    struct tm_bytes body = tm_record_body(r);
    struct tm_change change;
    struct tm_op op;
    CU_ASSERT(tm_change_next(&body, &change) && tm_op_next(&change.ops, &op));
    CU_ASSERT_EQUAL(tm_stamp_said(r, &op).origin, TM_ORIGIN_NONE);
    CU_ASSERT_EQUAL(tm_store_count(s), 0);
    CU_ASSERT_EQUAL(tm_store_shadows(s), 0);
    CU_ASSERT_EQUAL(merge_set("m", "a", "again", at(-9)), TM_LINK_APPLIED);
}

static void count_keys(void *host, struct tm_bytes key)
{
    (void)key;
    ++*(unsigned *)host;
}

static void a_walk_visits_each_committed_key_once_in_any_slices(void)
{
    char key[16];
    unsigned whole = 0, sliced = 0;
    fresh();
    for (unsigned i = 0; i < 300; i++) {
        (void)snprintf(key, sizeof key, "m%u", i);
        set(key, "a", "1");
        if (i % 3 == 0) {
            begin();
            tm_store_del(s, str(key)); /* its shadow is left */
            (void)finish();
        }
    }
    tm_store_commit(s, tm_store_applied(s));
    set("m-new", "a", "1"); /* not committed */
    CU_ASSERT_EQUAL(tm_link_keys(s, 0, 0, UINT32_MAX, count_keys, &whole), 0);
    CU_ASSERT_EQUAL(whole, 300);
    for (uint64_t from = 0, step = (UINT64_C(1) << 48) / 7; from >> 48 == 0;) {
        uint64_t to = from + step < UINT64_C(1) << 48 ? from + step : 0, at_cursor = from;
        while (at_cursor != to)
            at_cursor = tm_link_keys(s, at_cursor, to, 1, count_keys, &sliced);
        if (to == 0)
            break;
        from = to;
    }
    CU_ASSERT_EQUAL(sliced, 300);
    expect("m-new", "a", "1");
}

struct in_order {
    uint64_t last;
    unsigned keys;
    bool sorted;
};

static void look_at_order(void *host, struct tm_bytes key)
{
    struct in_order *o = host;
    uint64_t hash = tm_table_hash(key);
    o->sorted &= o->keys == 0 || hash > o->last;
    o->last = hash;
    o->keys++;
}

/* Keys of one leaf of the table whose hashes begin alike, more than one step of a walk holds. */
static void a_walk_goes_in_the_order_of_hashes(void)
{
    char key[16];
    unsigned made = 0;
    struct in_order o = {.sorted = true};
    fresh();
    for (unsigned i = 0; made < 100; i++) {
        (void)snprintf(key, sizeof key, "m%u", i);
        if (tm_table_hash(str(key)) >> 52 != 0xabc)
            continue;
        set(key, "a", "1");
        if (made++ % 4 == 0) {
            begin();
            tm_store_del(s, str(key));
            (void)finish();
        }
    }
    for (unsigned i = 0; i < 2000; i++) {
        (void)snprintf(key, sizeof key, "p%u", i);
        set(key, "a", "1");
    }
    tm_store_commit(s, tm_store_applied(s));
    CU_ASSERT_EQUAL(tm_link_keys(s, 0, 0, UINT32_MAX, look_at_order, &o), 0);
    CU_ASSERT_EQUAL(o.keys, 2100);
    CU_ASSERT_TRUE(o.sorted);
}

static const struct tm_test tests[] = {
    TM_TEST(increments_from_all_sides_add_up),
    TM_TEST(a_count_goes_with_its_base),
    TM_TEST(a_counter_that_was_deleted_counts_from_nothing),
    TM_TEST(of_too_many_leaders_the_oldest_of_that_cluster_is_folded),
    TM_TEST(what_one_record_set_and_counted_is_set),
    TM_TEST(what_no_link_carries_counts_as_before),
    TM_TEST(what_was_counted_before_a_link_carries_it_counts_once),
    TM_TEST(snapshots_hold_based_counters),
    TM_TEST(the_later_change_of_a_field_stays),
    TM_TEST(a_deletion_here_holds_against_what_was_made_before_it),
    TM_TEST(a_deletion_that_no_record_holds_is_refused_and_changes_nothing),
    TM_TEST(only_what_many_write_leaves_tombstones),
    TM_TEST(a_deletion_there_spares_what_was_made_after_it),
    TM_TEST(a_field_or_member_that_was_deleted_there_goes),
    TM_TEST(the_type_of_the_later_change_stays),
    TM_TEST(of_two_counters_of_nothing_of_different_types_the_hash_stays),
    TM_TEST(a_counter_of_nothing_that_lost_to_another_type_leaves_nothing),
    TM_TEST(what_is_settled_goes_for_a_counter_only_if_it_is_against_it),
    TM_TEST(nothing_goes_for_a_counter_that_another_type_outlives),
    TM_TEST(what_counts_from_a_life_that_is_over_is_dead),
    TM_TEST(what_is_made_anew_under_hold_keeps_its_register_of_expiry),
    TM_TEST(what_is_made_anew_under_hold_has_the_floor_of_what_expired),
    TM_TEST(expiry_is_a_register_of_its_own),
    TM_TEST(what_is_due_is_as_what_has_expired),
    TM_TEST(an_extension_of_what_expired_here_says_what_it_lacks),
    TM_TEST(a_life_that_ended_before_it_expired_here_says_what_it_lacks),
    TM_TEST(what_expired_here_is_lacking_by_a_slower_clock_too),
    TM_TEST(what_came_too_late_for_a_life_ends_it),
    TM_TEST(equal_sums_of_different_increments_differ),
    TM_TEST(an_extension_of_what_is_due_here_says_what_it_lacks),
    TM_TEST(an_evicted_key_is_as_if_it_had_never_been),
    TM_TEST(a_walk_visits_each_committed_key_once_in_any_slices),
    TM_TEST(a_walk_goes_in_the_order_of_hashes),
};

int main(void)
{
    return store_test_main("storage/store_shared", tests, TM_ARRAY_LEN(tests));
}
