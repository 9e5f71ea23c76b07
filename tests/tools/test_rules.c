/* Functions that are rules for conflicts, evaluated in a child: what they give, and what becomes of
 * those that throw, give nothing, never end, or want all memory.  The child is the program itself.
 */
#include "tools/rules.h"
#include "test.h"

#include <stdlib.h>

static struct tm_rules *rules;

static enum tm_err call(const char *function, const char *a, const char *b, struct tm_bytes *out)
{
    return tm_rules_call(rules, function, tm_bytes_str(a), tm_bytes_str(b), out);
}

static bool gives(const char *function, const char *a, const char *b, const char *want)
{
    struct tm_bytes out;
    return call(function, a, b, &out) == TM_OK && tm_bytes_equal(out, tm_bytes_str(want));
}

static void open_rules(void)
{
    tm_rules_free(rules);
    rules = tm_rules_new(getenv("TIDEMILL"));
    CU_ASSERT_PTR_NOT_NULL_FATAL(rules);
}

static void a_function_gives_a_string_or_a_number(void)
{
    open_rules();
    CU_ASSERT(gives("function (a, b) { return a > b ? a : b; }", "left", "right", "right"));
    CU_ASSERT(gives("function (a, b) { return Number(a) + Number(b); }", "2", "3.5", "5.5"));
    CU_ASSERT(gives("function (a, b) { return a + b; }", "", "", ""));
    CU_ASSERT(gives("function named(a, b) { // with a comment\n return b; }", "x", "y", "y"));
}

static void the_last_answers_stay_readable(void)
{
    struct tm_bytes first, second, third;
    const char *join = "function (a, b) { return a + b; }";
    open_rules();
    CU_ASSERT_EQUAL(call(join, "a", "b", &first), TM_OK);
    CU_ASSERT_EQUAL(call(join, "c", "d", &second), TM_OK);
    CU_ASSERT_EQUAL(tm_rules_call(rules, join, first, second, &third), TM_OK);
    CU_ASSERT(tm_bytes_equal(first, tm_bytes_str("ab")));
    CU_ASSERT(tm_bytes_equal(third, tm_bytes_str("abcd")));
}

static void what_gives_no_value_harms_no_other(void)
{
    static const char *const bad[] = {
        "function (a, b) { throw new Error('no'); }",
        "function (a, b) { return {}; }",
        "function (a, b) { return a / 0; }",
        "function (a, b) { return Math.random(); }",
        "function (a, b) { global_one = a; return a; }",
        "function (a, b) { this is no text",
        "function (a, b) { for (;;) a += a; }",
    };
    struct tm_bytes out;
    open_rules();
    for (unsigned i = 0; i < TM_ARRAY_LEN(bad); i++) {
        CU_ASSERT_EQUAL(call(bad[i], "1", "2", &out), TM_ERR_INVALID);
        CU_ASSERT(gives("function (a, b) { return a + b; }", "1", "2", "12"));
    }
}

static void what_does_not_end_is_ended_and_rests(void)
{
    struct tm_bytes out;
    open_rules();
    CU_ASSERT_EQUAL(call("function (a, b) { for (;;) { } }", "1", "2", &out), TM_ERR_TIMEOUT);
    for (unsigned i = 0; i < 10000; i++) /* run each time, it would take minutes */
        CU_ASSERT_EQUAL(call("function (a, b) { for (;;) { } }", "1", "2", &out), TM_ERR_TIMEOUT);
    CU_ASSERT(gives("function (a, b) { return a; }", "1", "2", "1"));
}

static void without_a_program_there_is_no_value(void)
{
    struct tm_bytes out;
    tm_rules_free(rules);
    rules = tm_rules_new("/nowhere/tidemill");
    CU_ASSERT_NOT_EQUAL(call("function (a, b) { return a; }", "1", "2", &out), TM_OK);
}

static const struct tm_test tests[] = {
    TM_TEST(a_function_gives_a_string_or_a_number), TM_TEST(the_last_answers_stay_readable),
    TM_TEST(what_gives_no_value_harms_no_other),    TM_TEST(what_does_not_end_is_ended_and_rests),
    TM_TEST(without_a_program_there_is_no_value),
};

int main(void)
{
    if (getenv("TIDEMILL") == NULL)
        return 1;
    int rc = tm_test_main("tools/rules", tests, TM_ARRAY_LEN(tests));
    tm_rules_free(rules);
    return rc;
}
