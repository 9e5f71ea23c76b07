/* What the clocks of a simulated machine say while it is stopped, suspended, fast, slow or set. */
#include "tests/sim/sim_internal.h"
#include "tests/test.h"

/* Nodes that never run: only their clocks do. */
static struct tm_sim *machines(void)
{
    struct tm_sim_config c;
    tm_sim_config_default(&c, tm_test_seed());
    return tm_sim_new(&c);
}

static uint64_t monotonic(struct tm_sim *sim, unsigned node)
{
    return tm_sim_node_time(&sim->nodes[node]);
}

static uint64_t wall(struct tm_sim *sim, unsigned node)
{
    return tm_sim_node_wall(&sim->nodes[node]);
}

static void a_stopped_process_finds_its_clocks_gone_on(void)
{
    struct tm_sim *sim = machines();
    uint64_t at = monotonic(sim, 0), set = wall(sim, 0);
    tm_sim_pause(sim, 0, true);
    tm_sim_run_for(sim, TM_SECONDS(100));
    tm_sim_pause(sim, 0, false);
    CU_ASSERT_EQUAL(monotonic(sim, 0), at + TM_SECONDS(100));
    CU_ASSERT_EQUAL(wall(sim, 0), set + 100000);
    tm_sim_free(sim);
}

static void a_suspended_machine_finds_its_monotonic_clock_where_it_left_it(void)
{
    struct tm_sim *sim = machines();
    uint64_t at = monotonic(sim, 0), set = wall(sim, 0);
    tm_sim_pause(sim, 0, true);
    tm_sim_clock_stop(sim, 0, true);
    tm_sim_run_for(sim, TM_SECONDS(100));
    CU_ASSERT_EQUAL(monotonic(sim, 0), at);
    tm_sim_pause(sim, 0, false);
    tm_sim_clock_stop(sim, 0, false);
    CU_ASSERT_EQUAL(monotonic(sim, 0), at);
    CU_ASSERT_EQUAL(wall(sim, 0), set + 100000);
    tm_sim_run_for(sim, TM_SECONDS(1));
    CU_ASSERT_EQUAL(monotonic(sim, 0), at + TM_SECONDS(1));
    CU_ASSERT_EQUAL(tm_sim_time_of(&sim->nodes[0], at + TM_SECONDS(3)),
                    tm_sim_now(sim) + TM_SECONDS(2));
    tm_sim_free(sim);
}

/* Its rate changes while it stands still: nothing jumps. */
static void a_clock_that_stands_still_has_no_rate(void)
{
    struct tm_sim *sim = machines();
    uint64_t at = monotonic(sim, 0);
    tm_sim_pause(sim, 0, true);
    tm_sim_clock_stop(sim, 0, true);
    tm_sim_run_for(sim, TM_SECONDS(10));
    tm_sim_clock_rate(sim, 0, 500000);
    tm_sim_run_for(sim, TM_SECONDS(10));
    tm_sim_pause(sim, 0, false);
    tm_sim_clock_stop(sim, 0, false);
    CU_ASSERT_EQUAL(monotonic(sim, 0), at);
    tm_sim_run_for(sim, TM_SECONDS(10));
    CU_ASSERT_EQUAL(monotonic(sim, 0), at + TM_SECONDS(15));
    tm_sim_free(sim);
}

static void a_wall_clock_gains_and_loses(void)
{
    struct tm_sim *sim = machines();
    uint64_t at = monotonic(sim, 1);
    int64_t ahead = tm_sim_clock_ahead(sim, 1);
    tm_sim_clock_drift(sim, 1, 100000);
    tm_sim_run_for(sim, TM_SECONDS(10));
    CU_ASSERT_EQUAL(tm_sim_clock_ahead(sim, 1), ahead + 1000);
    tm_sim_clock_jump(sim, 1, 500); /* goes on gaining */
    tm_sim_run_for(sim, TM_SECONDS(10));
    CU_ASSERT_EQUAL(tm_sim_clock_ahead(sim, 1), ahead + 2500);
    tm_sim_clock_drift(sim, 1, -200000);
    tm_sim_run_for(sim, TM_SECONDS(10));
    CU_ASSERT_EQUAL(tm_sim_clock_ahead(sim, 1), ahead + 500);
    tm_sim_clock_drift(sim, 1, 0);
    tm_sim_run_for(sim, TM_SECONDS(10));
    CU_ASSERT_EQUAL(tm_sim_clock_ahead(sim, 1), ahead + 500);
    CU_ASSERT_EQUAL(monotonic(sim, 1), at + TM_SECONDS(40));
    tm_sim_free(sim);
}

static const struct tm_test tests[] = {
    TM_TEST(a_stopped_process_finds_its_clocks_gone_on),
    TM_TEST(a_suspended_machine_finds_its_monotonic_clock_where_it_left_it),
    TM_TEST(a_clock_that_stands_still_has_no_rate),
    TM_TEST(a_wall_clock_gains_and_loses),
};

TM_TEST_MAIN("sim/clock", tests)
