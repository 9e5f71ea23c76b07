#include "actors/link_conflicts.h"
#include "tests/test.h"

#include <stdlib.h>

static struct tm_link_conflicts *ring;

static void add(unsigned number, const char *key, const char *won, const char *lost)
{
    char field[16];
    snprintf(field, sizeof field, "f%u", number);
    const struct tm_conflict_found found = {
        .key = tm_bytes_str(key),
        .field = tm_bytes_str(field),
        .type = TM_ENTITY_HASH,
        .rule = {.rule = TM_CONFLICT_MAX},
        .winner = {.stamp = {number + 1, 7}, .value = tm_bytes_str(won)},
        .loser = {.stamp = {number, 9},
                  .deleted = lost == NULL,
                  .value = tm_bytes_str(lost != NULL ? lost : "")}};
    tm_link_conflicts_add(ring, 1000 + number, &found);
}

static void begin(void)
{
    ring = calloc(1, sizeof *ring);
    CU_ASSERT_FATAL(ring != NULL);
}

static void what_was_resolved_is_kept_as_it_was(void)
{
    begin();
    CU_ASSERT_EQUAL(tm_link_conflicts_kept(ring), 0);
    add(1, "Order:1", "b", "a");
    add(2, "Order:2", "c", NULL);
    CU_ASSERT_EQUAL_FATAL(tm_link_conflicts_kept(ring), 2);
    const struct tm_link_conflict *c = tm_link_conflicts_at(ring, 1);
    CU_ASSERT(c->number == 1 && c->at_ms == 1001 && c->rule == TM_CONFLICT_MAX && !c->whole);
    CU_ASSERT(c->key_len == 7 && memcmp(c->key, "Order:1", 7) == 0);
    CU_ASSERT(c->field_len == 2 && memcmp(c->field, "f1", 2) == 0);
    CU_ASSERT(c->winner.stamp.hlc == 2 && c->winner.stamp.origin == 7 && c->winner.value[0] == 'b');
    CU_ASSERT(c->loser.stamp.hlc == 1 && c->loser.stamp.origin == 9 && c->loser.value[0] == 'a');
    c = tm_link_conflicts_at(ring, 0); /* the newest */
    CU_ASSERT(c->number == 2 && c->loser.deleted && c->loser.len == 0 && !c->winner.deleted);
    free(ring);
}

static void the_newest_stay_when_it_is_full(void)
{
    begin();
    for (unsigned i = 1; i <= 2 * TM_LINK_CONFLICTS_MAX + 3; i++)
        add(i, "k", "won", "lost");
    CU_ASSERT_EQUAL(tm_link_conflicts_kept(ring), TM_LINK_CONFLICTS_MAX);
    for (unsigned i = 0; i < TM_LINK_CONFLICTS_MAX; i++)
        CU_ASSERT_EQUAL(tm_link_conflicts_at(ring, i)->number, 2 * TM_LINK_CONFLICTS_MAX + 3 - i);
    free(ring);
}

static void what_is_too_long_is_cut_and_says_so(void)
{
    static char text[TM_LINK_CONFLICT_VALUE_MAX + 2];
    begin();
    memset(text, 'x', sizeof text - 1);
    add(1, "k", text, "short");
    const struct tm_link_conflict *c = tm_link_conflicts_at(ring, 0);
    CU_ASSERT(c->winner.len == TM_LINK_CONFLICT_VALUE_MAX + 1 && c->loser.len == 5);
    CU_ASSERT(tm_link_conflict_is_whole(c));
    text[TM_LINK_CONFLICT_KEY_MAX] = '\0';
    add(2, text, "w", "l");
    CU_ASSERT(tm_link_conflict_is_whole(tm_link_conflicts_at(ring, 0)));
    text[TM_LINK_CONFLICT_KEY_MAX] = 'x';
    text[TM_LINK_CONFLICT_KEY_MAX + 1] = '\0';
    add(3, text, "w", "l");
    CU_ASSERT_FALSE(tm_link_conflict_is_whole(tm_link_conflicts_at(ring, 0)));
    free(ring);
}

static const struct tm_test tests[] = {
    TM_TEST(what_was_resolved_is_kept_as_it_was),
    TM_TEST(the_newest_stay_when_it_is_full),
    TM_TEST(what_is_too_long_is_cut_and_says_so),
};
TM_TEST_MAIN("actors/link_conflicts", tests)
