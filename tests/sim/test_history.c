/* Histories judged as they grow, group by group. */
#include "tests/sim/sim_history.h"
#include "tests/test.h"

static const struct tm_sim_layout LAYOUT = {.groups = 2, .registers = 6};

struct world {
    struct tm_sim_history *history;
    uint64_t ids, now;
    unsigned wrongs;
    uint32_t group;
};

static void wrong(void *host, uint32_t group, const char *calls)
{
    struct world *w = host;
    CU_ASSERT_PTR_NOT_NULL(strstr(calls, "READ"));
    w->wrongs++;
    w->group = group;
}

static void begin_with(struct world *w, uint64_t tries)
{
    *w = (struct world){.now = 1000};
    struct tm_sim_history_config c = {
        .layout = LAYOUT, .linear = {.tries_max = tries}, .host = w, .wrong = wrong};
    w->history = tm_sim_history_new(&c);
}

static void begin(struct world *w)
{
    begin_with(w, 100000);
}

static struct tm_sim_call call_of(struct world *w, enum tm_sim_verb verb, uint32_t reg,
                                  uint64_t value)
{
    struct tm_sim_call c = {.id = ++w->ids, .count = 1, .called_ns = w->now += 10};
    c.step[0] = (struct tm_sim_step){.verb = verb, .reg = reg, .value = value};
    tm_sim_history_called(w->history, &c);
    return c;
}

static void returns(struct world *w, struct tm_sim_call c, enum tm_sim_outcome outcome)
{
    c.outcome = outcome;
    c.returned_ns = w->now += 10;
    tm_sim_history_returned(w->history, &c);
}

static void writes(struct world *w, uint32_t reg, uint64_t value)
{
    returns(w, call_of(w, TM_SIM_WRITE, reg, value), TM_SIM_DONE);
}

static void reads(struct world *w, uint32_t reg, uint64_t value)
{
    struct tm_sim_call c = call_of(w, TM_SIM_READ, reg, 0);
    c.step[0].found = value != 0;
    c.step[0].result = value;
    returns(w, c, TM_SIM_DONE);
}

static void a_stale_read_is_seen_while_the_history_grows(void)
{
    struct world w;
    begin(&w);
    writes(&w, 0, 1);
    writes(&w, 0, 2);
    reads(&w, 0, 1);
    for (unsigned i = 0; i < 40; i++)
        reads(&w, 0, 2);
    CU_ASSERT_EQUAL(w.wrongs, 1);
    tm_sim_history_judge(w.history);
    CU_ASSERT_EQUAL(w.wrongs, 1); /* said once */
    tm_sim_history_free(w.history);
}

static void a_lost_write_is_seen_at_the_end(void)
{
    struct world w;
    begin(&w);
    for (uint32_t reg = 0; reg < 6; reg++)
        writes(&w, reg, 10 + reg);
    tm_sim_history_judge(w.history);
    CU_ASSERT_EQUAL(w.wrongs, 0);
    for (uint32_t reg = 0; reg < 6; reg++)
        reads(&w, reg, reg == 3 ? 0 : 10 + reg);
    tm_sim_history_judge(w.history);
    CU_ASSERT_EQUAL(w.wrongs, 1);
    CU_ASSERT_EQUAL(w.group, 1);
    tm_sim_history_free(w.history);
}

static void what_is_under_way_may_have_happened(void)
{
    struct world w;
    begin(&w);
    struct tm_sim_call c = call_of(&w, TM_SIM_WRITE, 0, 7);
    for (unsigned i = 0; i < 50; i++)
        reads(&w, 0, 7);
    tm_sim_history_judge(w.history);
    CU_ASSERT_EQUAL(w.wrongs, 0);
    returns(&w, c, TM_SIM_REFUSED); /* and now it may not */
    tm_sim_history_judge(w.history);
    CU_ASSERT_EQUAL(w.wrongs, 1);
    tm_sim_history_free(w.history);
}

static void the_next_registers_are_other_groups(void)
{
    struct world w;
    begin(&w);
    CU_ASSERT_EQUAL(tm_sim_group_of(&LAYOUT, 5), 1);
    CU_ASSERT_EQUAL(tm_sim_group_of(&LAYOUT, 6), 2);
    CU_ASSERT_EQUAL(tm_sim_group_of(&LAYOUT, 13), 5);
    writes(&w, 0, 1);
    reads(&w, 6, 0);
    tm_sim_history_judge(w.history);
    CU_ASSERT_EQUAL(tm_sim_history_stats(w.history).groups, 2);
    CU_ASSERT_EQUAL(w.wrongs, 0);
    tm_sim_history_free(w.history);
}

static void a_flush_counts_for_every_group_also_for_later_ones(void)
{
    for (unsigned known = 0; known < 2; known++) {
        struct world w;
        begin(&w);
        writes(&w, 0, 1);
        writes(&w, 1, 2);
        struct tm_sim_call c = call_of(&w, TM_SIM_FLUSH, 0, 0);
        returns(&w, c, known != 0 ? TM_SIM_DONE : TM_SIM_UNKNOWN);
        reads(&w, 1, 0);
        writes(&w, 6, 3); /* of a group that was not there before */
        reads(&w, 6, 0);
        tm_sim_history_judge(w.history);
        CU_ASSERT_EQUAL(w.wrongs, known); /* if it ended before, it cannot have taken that */
        reads(&w, 0, 1);
        tm_sim_history_judge(w.history);
        CU_ASSERT_EQUAL(w.wrongs, 2 * known);
        tm_sim_history_free(w.history);
    }
}

/* Once for a group, however often it is judged. */
static void a_group_that_stays_undecided_is_counted(void)
{
    struct world w;
    begin_with(&w, 8);
    writes(&w, 0, 1);
    reads(&w, 0, 1);
    for (uint64_t value = 2; value < 30; value++)
        writes(&w, 1, value);
    reads(&w, 1, 28); /* stale, if anybody had looked so far */
    for (unsigned i = 0; i < 2; i++) {
        tm_sim_history_judge(w.history);
        CU_ASSERT_EQUAL(tm_sim_history_stats(w.history).groups, 2);
        CU_ASSERT_EQUAL(tm_sim_history_stats(w.history).undecided, 1);
        CU_ASSERT_EQUAL(w.wrongs, 0);
    }
    tm_sim_history_free(w.history);
}

static const struct tm_test tests[] = {
    TM_TEST(a_stale_read_is_seen_while_the_history_grows),
    TM_TEST(a_lost_write_is_seen_at_the_end),
    TM_TEST(what_is_under_way_may_have_happened),
    TM_TEST(the_next_registers_are_other_groups),
    TM_TEST(a_flush_counts_for_every_group_also_for_later_ones),
    TM_TEST(a_group_that_stays_undecided_is_counted),
};

TM_TEST_MAIN("sim/history", tests)
