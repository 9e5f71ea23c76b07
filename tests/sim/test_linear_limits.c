/* Where the search for an order ends without one: what does not fit, or takes too long, is
 * undecided and never taken for right; and what is said of a history that has no order. */
#include "tests/sim/linear_calls.h"

static struct tm_sim_step *reads(struct tm_sim_call *c, uint32_t reg, uint64_t value)
{
    struct tm_sim_step *s = step(c, TM_SIM_READ, reg, 0);
    s->found = value != 0;
    s->result = value;
    return s;
}

static void check(uint64_t tries_max)
{
    struct tm_sim_linear_config config = {.clock_error_ns = 0, .tries_max = tries_max};
    tm_sim_linear_check(calls, count, &config, &result);
}

static void expect(enum tm_sim_linear verdict)
{
    expect_of(&(struct tm_sim_linear_config){.tries_max = 1u << 20}, verdict);
}

/* So many writes one after the other, and a read of the last value, or of the first. */
static void chain(unsigned writes, bool right)
{
    count = 0;
    for (unsigned i = 0; i < writes; i++)
        step(add(10 * i, 10 * i + 1, 0), TM_SIM_WRITE, 0, 1 + i);
    reads(add(10 * writes, 10 * writes + 1, 1), 0, right ? writes : 1);
}

static void more_calls_than_fit_are_undecided(void)
{
    chain(TM_SIM_LINEAR_CALLS_MAX - 1, true);
    expect(TM_SIM_LINEAR_YES);
    chain(TM_SIM_LINEAR_CALLS_MAX - 1, false);
    expect(TM_SIM_LINEAR_NO);
    for (unsigned right = 0; right < 2; right++) {
        chain(TM_SIM_LINEAR_CALLS_MAX, right);
        expect(TM_SIM_LINEAR_UNDECIDED);
    }
}

static void ends_of_times_that_do_not_fit_are_undecided(void)
{
    for (unsigned more = 0; more < 2; more++) {
        chain(TM_SIM_LINEAR_CALLS_MAX / 2 + more - 1, false);
        for (unsigned i = 0; i + 1 < count; i++)
            calls[i].step[0].ttl_ms = 100000;
        step(add(9000, 9001, 0), TM_SIM_WRITE, 0, 999);
        expect(more == 0 ? TM_SIM_LINEAR_NO : TM_SIM_LINEAR_UNDECIDED);
    }
}

/* Calls of eight registers each, the last of one is the first of the next. */
static void more_registers_than_fit_are_undecided(void)
{
    for (unsigned n = 9; n < 11; n++) {
        count = 0;
        for (unsigned i = 0; i < n; i++) {
            struct tm_sim_call *c = add(10 * i, 10 * i + 1, 0);
            for (unsigned k = 0; k < TM_SIM_STEPS_MAX; k++)
                reads(c, 7 * i + k, i + 1 == n && k == 7); /* nobody wrote it */
        }
        expect(n == 9 ? TM_SIM_LINEAR_NO : TM_SIM_LINEAR_UNDECIDED);
    }
}

/* Whichever comes first. */
static void what_is_undecided_stays_so_beside_what_is_right(void)
{
    for (unsigned reg = 0; reg < 2; reg++)
        for (unsigned wrong = 0; wrong < 2; wrong++) {
            chain(TM_SIM_LINEAR_CALLS_MAX, true);
            for (unsigned i = 0; i < count; i++)
                calls[i].step[0].reg = 1;
            struct tm_sim_call *c = add(9000, 9001, 2);
            reads(c, reg == 0 ? 0 : 2, wrong);
            if (reg == 0) { /* it comes first */
                struct tm_sim_call last = *c;
                memmove(&calls[1], &calls[0], (count - 1) * sizeof calls[0]);
                calls[0] = last;
            }
            expect(wrong ? TM_SIM_LINEAR_NO : TM_SIM_LINEAR_UNDECIDED);
        }
}

/* Unknown writes into a register each; one call reads eight of them, the next some more; a value
 * that nobody wrote. */
static void more_loose_calls_than_fit_are_undecided(void)
{
    for (unsigned n = 11; n < 13; n++) {
        count = 0;
        for (unsigned i = 0; i < n; i++) {
            struct tm_sim_call *c = add(i, i + 1, i);
            step(c, TM_SIM_WRITE, i, 100 + i);
            c->outcome = TM_SIM_UNKNOWN;
        }
        for (unsigned i = 0; i < 2; i++) {
            struct tm_sim_call *c = add(100 + 10 * i, 101 + 10 * i, 50);
            for (unsigned k = 0; k < TM_SIM_STEPS_MAX; k++)
                reads(c, 7 * i + k, i == 0 && k == 0 ? 7 : 0);
        }
        expect(n == 11 ? TM_SIM_LINEAR_NO : TM_SIM_LINEAR_UNDECIDED);
    }
}

static void as_many_tries_are_made_as_it_may_and_no_more(void)
{
    chain(20, true);
    expect(TM_SIM_LINEAR_YES);
    uint64_t tries = result.tries;
    CU_ASSERT(tries >= count);
    check(tries + 1);
    CU_ASSERT_EQUAL(result.verdict, TM_SIM_LINEAR_YES);
    for (uint64_t max = 1; max <= tries; max++) {
        check(max);
        CU_ASSERT(result.verdict == TM_SIM_LINEAR_UNDECIDED && result.tries == max);
    }
}

/* ---- what is said ---- */

static struct tm_sim_step *told(struct tm_sim_step *s, bool found)
{
    s->told = true;
    s->found = found;
    return s;
}

/* Every verb, and last a read of what nobody wrote. */
static void all_verbs(void)
{
    count = 0;
    step(add(0, 1, 0), TM_SIM_WRITE, 0, 5)->ttl_ms = 700;
    told(step(add(2, 3, 1), TM_SIM_WRITE_NEW, 0, 6), true);
    told(step(add(4, 5, 0), TM_SIM_EXPIRE, 0, 0), true);
    step(add(6, 7, 0), TM_SIM_ADD, 0, (uint64_t)-3)->result = (uint64_t)-3;
    struct tm_sim_step *s = step(add(8, 9, 0), TM_SIM_TTL, 0, 0);
    s->found = true;
    s->result = TM_SIM_FOR_EVER;
    told(step(add(10, 11, 0), TM_SIM_PERSIST, 0, 0), false);
    struct tm_sim_call *c = add(12, 13, 1);
    told(step(c, TM_SIM_EXPECT, 0, (uint64_t)-3), true);
    step(c, TM_SIM_REMOVE, 0, 0);
    c->summed = true;
    c->sum = 1;
    step(add(14, 15, 0), TM_SIM_EXPECT, 0, 0);
    step(add(16, 17, 0), TM_SIM_TTL, 0, 0);
    reads(add(18, 19, 0), 0, 0);
    step(add(20, 21, 0), TM_SIM_WRITE, 0, 7)->ttl_ms = 400;
    s = step(add(22, 23, 0), TM_SIM_TTL, 0, 0);
    s->found = true;
    s->result = 398;
    c = add(24, 25, 2);
    step(c, TM_SIM_REMOVE, 0, 0);
    c->outcome = TM_SIM_UNKNOWN;
    c->node = 2;
    c->worker = 1;
    reads(add(26, 27, 0), 0, 8);
}

static const char said[] = //
    "12 of 15 fit:\n"
    "* call 1 client 0 of node 0.0, 0.000000..0.001000: WRITE r0 5 for 700 ms\n"
    "* call 2 client 1 of node 0.0, 0.002000..0.003000: WRITE_NEW r0 6 (was there)\n"
    "* call 3 client 0 of node 0.0, 0.004000..0.005000: EXPIRE r0 for 0 ms (was there)\n"
    "* call 4 client 0 of node 0.0, 0.006000..0.007000: ADD r0 -3 = -3\n"
    "* call 5 client 0 of node 0.0, 0.008000..0.009000: TTL r0 = for ever\n"
    "* call 6 client 0 of node 0.0, 0.010000..0.011000: PERSIST r0 (was not there)\n"
    "* call 7 client 1 of node 0.0, 0.012000..0.013000: EXPECT r0 -3 (was there) REMOVE r0 "
    "(1 found)\n"
    "* call 8 client 0 of node 0.0, 0.014000..0.015000: EXPECT r0 nothing\n"
    "* call 9 client 0 of node 0.0, 0.016000..0.017000: TTL r0 = nothing\n"
    "* call 10 client 0 of node 0.0, 0.018000..0.019000: READ r0 = nothing\n"
    "* call 11 client 0 of node 0.0, 0.020000..0.021000: WRITE r0 7 for 400 ms\n"
    "* call 12 client 0 of node 0.0, 0.022000..0.023000: TTL r0 = 398 ms\n"
    "  call 13 client 2 of node 2.1, 0.024000..?: REMOVE r0\n"
    "  call 14 client 0 of node 0.0, 0.026000..0.027000: READ r0 = 8\n";

static void a_history_without_an_order_is_told_call_by_call(void)
{
    all_verbs();
    expect(TM_SIM_LINEAR_NO);
    if (strcmp(result.text, said) != 0)
        printf("  %s", result.text);
    CU_ASSERT_STRING_EQUAL(result.text, said);
    calls[count - 1].step[0].result = 7;
    expect(TM_SIM_LINEAR_YES);
    CU_ASSERT_STRING_EQUAL(result.text, "");
}

static void what_is_too_much_to_tell_is_cut_off(void)
{
    chain(TM_SIM_LINEAR_CALLS_MAX - 1, false);
    expect(TM_SIM_LINEAR_NO);
    CU_ASSERT_EQUAL(strlen(result.text), sizeof result.text - 1);
    CU_ASSERT(strncmp(result.text, "255 of 256 fit:\n* call 1 ", 25) == 0);
}

static const struct tm_test tests[] = {
    TM_TEST(more_calls_than_fit_are_undecided),
    TM_TEST(ends_of_times_that_do_not_fit_are_undecided),
    TM_TEST(more_registers_than_fit_are_undecided),
    TM_TEST(what_is_undecided_stays_so_beside_what_is_right),
    TM_TEST(more_loose_calls_than_fit_are_undecided),
    TM_TEST(as_many_tries_are_made_as_it_may_and_no_more),
    TM_TEST(a_history_without_an_order_is_told_call_by_call),
    TM_TEST(what_is_too_much_to_tell_is_cut_off),
};

TM_TEST_MAIN("sim/linear_limits", tests)
