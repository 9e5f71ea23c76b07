/* What a store tells of conflicts, rule by rule, at one cluster. */
#include "storage/arena.h"
#include "storage/entity.h"
#include "storage/store_link.h"
#include "test.h"

static struct tm_arena arena;
static struct tm_store *s;
static uint64_t buffer[TM_KIB(64) / 8], hlc, now_ms;
static char told[1024]; /* "field: winner over loser; " of each conflict */

enum { OWN = 5, OTHER = 70, NOW = 1000 };

static struct tm_bytes str(const char *text)
{
    return tm_bytes_str(text);
}

static enum tm_link_sharing sharing(void *host, struct tm_bytes key, uint64_t origin)
{
    (void)host;
    (void)key;
    (void)origin;
    return TM_LINK_MANY;
}

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
    if (s != NULL)
        tm_store_delete(s);
    s = tm_store_new(&arena, 1);
    tm_store_set_policy(s, &policy);
    hlc = (uint64_t)NOW << 16;
    now_ms = NOW;
    told[0] = '\0';
}

static void begin(void)
{
    struct tm_record head = {
        .term = 1, .index = tm_store_applied(s) + 1, .hlc = ++hlc, .origin = OWN};
    tm_store_begin(s, buffer, sizeof buffer, &head);
}

static void finish(void)
{
    struct tm_record *r = NULL;
    CU_ASSERT_EQUAL(tm_store_finish(s, &r), TM_OK);
    if (r != NULL)
        CU_ASSERT_EQUAL(tm_record_check(r, r->length), TM_OK);
}

static void set(const char *field, const char *value)
{
    begin();
    tm_store_set_field(s, str("T:1"), TM_ENTITY_HASH, str(field), str(value));
    finish();
}

static void del(const char *field)
{
    begin();
    tm_store_del_field(s, str("T:1"), TM_ENTITY_HASH, str(field));
    finish();
}

/* So many ticks after the start of the test, by the other cluster. */
static void come(enum tm_entity_type type, enum tm_op_code code, const char *name,
                 struct tm_bytes value, uint64_t ticks)
{
    struct tm_op op = {code, str(name), value};
    struct tm_link_change in = {str("T:1"), type, &op, {((uint64_t)NOW << 16) + ticks, OTHER}};
    begin();
    (void)tm_link_merge(s, &in, now_ms, NULL);
    finish();
}

static void come_set(const char *field, const char *value, uint64_t ticks)
{
    come(TM_ENTITY_HASH, TM_OP_SET_FIELD, field, str(value), ticks);
}

static void what_lost_to_an_own_change_is_told(void)
{
    const uint8_t hash = TM_ENTITY_HASH;
    fresh();
    set("other", "1");
    set("a", "mine");
    come_set("a", "theirs", 1);
    CU_ASSERT_STRING_EQUAL(told, "a: mine over theirs; ");
    told[0] = '\0';
    come(TM_ENTITY_SHADOW, TM_OP_SET_FIELD, "fa", tm_bytes_of(&hash, 1), 1);
    CU_ASSERT_STRING_EQUAL(told, "a: mine over (none); ");
    told[0] = '\0';
    del("a");
    come_set("a", "theirs", 1);
    CU_ASSERT_STRING_EQUAL(told, "a: (none) over theirs; ");
    fresh();
    set("a", "mine");
    begin();
    tm_store_del(s, str("T:1"));
    finish();
    come_set("a", "theirs", 1);
    CU_ASSERT_STRING_EQUAL(told, "a: (none) over theirs; ");
}

static void what_lost_to_anothers_or_wins_is_not_told(void)
{
    fresh();
    come_set("a", "later", 1000);
    come_set("a", "earlier", 500);
    come_set("a", "later", 1000);
    set("b", "mine");
    come_set("b", "theirs", 2000); /* the other cluster tells it, where mine comes too late */
    CU_ASSERT_STRING_EQUAL(told, "");
}

static const struct tm_test tests[] = {
    TM_TEST(what_lost_to_an_own_change_is_told),
    TM_TEST(what_lost_to_anothers_or_wins_is_not_told),
};

int main(void)
{
    if (tm_arena_open(&arena) != TM_OK)
        return 1;
    int rc = tm_test_main("storage/store_conflict", tests, TM_ARRAY_LEN(tests));
    if (s != NULL)
        tm_store_delete(s);
    tm_arena_close(&arena);
    return rc;
}
