/* What a store tells of conflicts, rule by rule, at one cluster. */
#include "tests/storage/store_merging.h"

static char told[1024]; /* "field: winner over loser; " of each conflict */

static void tell_side(const struct tm_conflict_side *side)
{
    size_t at = strlen(told);
    if (side->deleted)
        snprintf(told + at, sizeof told - at, "(none)");
    else
        snprintf(told + at, sizeof told - at, "%.*s", (int)side->value.len, side->value.data);
}

static void conflict(void *host, const struct tm_conflict_found *found)
{
    (void)host;
    size_t at = strlen(told);
    snprintf(told + at, sizeof told - at, "%.*s: ", (int)found->field.len, found->field.data);
    tell_side(&found->winner);
    strcat(told, " over ");
    tell_side(&found->loser);
    strcat(told, "; ");
}

static void fresh(void)
{
    const struct tm_link_policy policy = {.keep = sharing, .conflict = conflict};
    fresh_store(&policy);
    told[0] = '\0';
}

static void del(const char *field)
{
    begin();
    tm_store_del_field(s, str("m"), TM_ENTITY_HASH, str(field));
    (void)finish();
}

static void what_lost_to_an_own_change_is_told(void)
{
    const uint8_t hash = TM_ENTITY_HASH;
    fresh();
    set("m", "other", "1");
    set("m", "a", "mine");
    merge_set("m", "a", "theirs", at(1));
    CU_ASSERT_STRING_EQUAL(told, "a: mine over theirs; ");
    told[0] = '\0';
    merge("m", TM_ENTITY_SHADOW, TM_OP_SET_FIELD, "fa", tm_bytes_of(&hash, 1), at(1));
    CU_ASSERT_STRING_EQUAL(told, "a: mine over (none); ");
    told[0] = '\0';
    del("a");
    merge_set("m", "a", "theirs", at(1));
    CU_ASSERT_STRING_EQUAL(told, "a: (none) over theirs; ");
    fresh();
    set("m", "a", "mine");
    begin();
    tm_store_del(s, str("m"));
    (void)finish();
    merge_set("m", "a", "theirs", at(1));
    CU_ASSERT_STRING_EQUAL(told, "a: (none) over theirs; ");
}

static void what_lost_to_anothers_or_wins_is_not_told(void)
{
    fresh();
    merge_set("m", "a", "later", at(1000));
    merge_set("m", "a", "earlier", at(500));
    merge_set("m", "a", "later", at(1000));
    set("m", "b", "mine");
    /* The other cluster tells it, where mine comes too late. */
    merge_set("m", "b", "theirs", at(2000));
    CU_ASSERT_STRING_EQUAL(told, "");
}

static const struct tm_test tests[] = {
    TM_TEST(what_lost_to_an_own_change_is_told),
    TM_TEST(what_lost_to_anothers_or_wins_is_not_told),
};

int main(void)
{
    return store_test_main("storage/store_conflict", tests, TM_ARRAY_LEN(tests));
}
