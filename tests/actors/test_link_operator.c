#include "actors/link_operator.h"
#include "test.h"

#include <stdio.h>

static char facts[256];

static const char *put(const char *name, const char *value)
{
    CU_ASSERT_EQUAL(tm_link_facts_put(facts, sizeof facts, name, value), TM_OK);
    return facts;
}

static void lines_are_put_in_their_order_changed_and_taken_away(void)
{
    facts[0] = '\0';
    CU_ASSERT_STRING_EQUAL(put("op:to:b/paused", "yes"), "op:to:b/paused=yes\n");
    CU_ASSERT_STRING_EQUAL(put("region", "x"), "op:to:b/paused=yes\nregion=x\n");
    CU_ASSERT_STRING_EQUAL(put("a", ""), "a=\nop:to:b/paused=yes\nregion=x\n");
    put("op:to:b/throttle", "64KiB");
    put("op:to:bb/paused", "yes"); /* '/' comes before 'b' */
    CU_ASSERT_STRING_EQUAL(facts, "a=\nop:to:b/paused=yes\nop:to:b/throttle=64KiB\n"
                                  "op:to:bb/paused=yes\nregion=x\n");
    CU_ASSERT_STRING_EQUAL(put("op:to:b/throttle", "0"),
                           "a=\nop:to:b/paused=yes\nop:to:b/throttle=0\n"
                           "op:to:bb/paused=yes\nregion=x\n");
    put("op:to:b/paused", NULL);
    put("a", NULL);
    put("nothing", NULL);
    CU_ASSERT_STRING_EQUAL(facts, "op:to:b/throttle=0\nop:to:bb/paused=yes\nregion=x\n");
    put("region", NULL);
    put("op:to:bb/paused", NULL);
    CU_ASSERT_STRING_EQUAL(put("op:to:b/throttle", NULL), "");
}

static void what_does_not_fit_changes_nothing(void)
{
    char small[32] = "a=1\nc=3\n";
    CU_ASSERT_EQUAL(tm_link_facts_put(small, sizeof small, "b", "a value that is too long"),
                    TM_ERR_TOOBIG);
    CU_ASSERT_STRING_EQUAL(small, "a=1\nc=3\n");
    CU_ASSERT_EQUAL(tm_link_facts_put(small, sizeof small, "b", "twenty-one characters"),
                    TM_ERR_TOOBIG);
    CU_ASSERT_EQUAL(tm_link_facts_put(small, sizeof small, "b", "of twenty characters"), TM_OK);
    CU_ASSERT_STRING_EQUAL(small, "a=1\nb=of twenty characters\nc=3\n");
    CU_ASSERT_EQUAL(tm_link_facts_keep("op:to:a/paused=yes\n", small, sizeof small), TM_ERR_TOOBIG);
}

static void a_new_file_keeps_what_operators_said_and_nothing_else(void)
{
    snprintf(facts, sizeof facts, "region=x\nto:b/batchBytes=1MiB\n");
    CU_ASSERT_EQUAL(tm_link_facts_keep("location=y\nop:epoch=2\nop:to:b/paused=yes\n"
                                       "to:b/batchBytes=64KiB\n",
                                       facts, sizeof facts),
                    TM_OK);
    CU_ASSERT_STRING_EQUAL(facts,
                           "op:epoch=2\nop:to:b/paused=yes\nregion=x\nto:b/batchBytes=1MiB\n");
    CU_ASSERT_EQUAL(tm_link_facts_said(facts, NULL, NULL), 2);
}

static struct tm_link_operator said;

static const char *take(bool out, const char *what, const char *value)
{
    return tm_link_operator_take(&said, out, tm_bytes_str(what), tm_bytes_str(value));
}

static void each_value_is_read_by_its_kind_and_at_its_end(void)
{
    said = (struct tm_link_operator){0};
    CU_ASSERT_PTR_NULL(take(true, "throttle", "0"));
    CU_ASSERT(tm_link_operator_says(&said, TM_LINK_OPERATOR_throttle) && said.throttle == 0);
    CU_ASSERT_PTR_NOT_NULL(take(true, "throttle", "1MiB")); /* twice */
    CU_ASSERT_PTR_NOT_NULL(take(false, "resync", "1"));
    CU_ASSERT_PTR_NOT_NULL(take(true, "released", "0000000000000001"));
    CU_ASSERT_PTR_NULL(take(false, "released", "00000000000000ff"));
    CU_ASSERT_EQUAL(said.released, 255);
    CU_ASSERT_PTR_NOT_NULL(take(false, "adopted", "00000000000000FF"));
    CU_ASSERT_PTR_NOT_NULL(take(false, "adopted", "00000000000000ff0"));
    CU_ASSERT_PTR_NULL(take(false, "adopted", "fedcba9876543210"));
    CU_ASSERT_EQUAL(said.adopted, 0xfedcba9876543210);
    CU_ASSERT_FALSE(tm_link_operator_says(&said, TM_LINK_OPERATOR_paused));
}

static const struct tm_test tests[] = {
    TM_TEST(lines_are_put_in_their_order_changed_and_taken_away),
    TM_TEST(what_does_not_fit_changes_nothing),
    TM_TEST(a_new_file_keeps_what_operators_said_and_nothing_else),
    TM_TEST(each_value_is_read_by_its_kind_and_at_its_end),
};
TM_TEST_MAIN("actors/link_operator", tests)
