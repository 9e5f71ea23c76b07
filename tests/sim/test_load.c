/* Clients that are stopping wait for their answers: one that never comes is seen. */
#include "tests/sim/sim_census.h"
#include "tests/sim/settle.h"
#include "tests/sim/sim_work.h"

static struct tm_sim *sim;
static struct tm_sim_oracle *oracle;

static void begin(void)
{
    struct tm_sim_config c;
    tm_sim_config_default(&c, tm_test_seed());
    c.partitions = 2;
    sim = tm_sim_new(&c);
    oracle = tm_sim_oracle_new(sim);
    create(sim);
}

static void pause_all(bool paused)
{
    for (unsigned i = 0; i < tm_sim_config_of(sim)->nodes; i++)
        tm_sim_pause(sim, i, paused);
}

/* Nodes that sleep do not answer, and their connections live: for longer than any patience.  stop:
 * of the clients. */
static void check_stop(bool (*stop)(void *clients), void *clients)
{
    tm_sim_run_for(sim, TM_SECONDS(1));
    pause_all(true);
    tm_sim_run_for(sim, TM_MS(50)); /* now all have asked */
    CU_ASSERT_FALSE(tm_sim_run_until(sim, stop, clients, TM_SECONDS(30)));
    pause_all(false);
    CU_ASSERT_TRUE(tm_sim_run_until(sim, stop, clients, TM_SECONDS(20)));
    CU_ASSERT_EQUAL(tm_sim_wrongs(sim), 0);
}

static void end(void)
{
    tm_sim_oracle_free(oracle);
    tm_sim_free(sim);
}

static void registers_and_counters_wait_for_their_answers(void)
{
    static const struct tm_sim_load_config config = {
        .clients = 8, .registers = 4, .counters = 2, .pause_ns = TM_MS(1), .value_bytes = 20};
    begin();
    struct tm_sim_load *load = tm_sim_load_new(sim, &config);
    check_stop(load_stopped, load);
    CU_ASSERT_EQUAL(tm_sim_load_wrongs(load), 0);
    tm_sim_load_free(load);
    end();
}

static bool stop_work(void *work)
{
    return tm_sim_work_stop(work);
}

static void the_work_waits_for_its_answers(void)
{
    struct tm_sim_work_config config = {.clients = 16,
                                        .calls_per_s = 4000,
                                        .ahead = 4,
                                        .registers = 24,
                                        .groups = 4,
                                        .fill = 20,
                                        .patience_ns = TM_MS(200)};
    config.share[TM_SIM_READ] = config.share[TM_SIM_WRITE] = 1;
    begin();
    struct tm_sim_work *work = tm_sim_work_new(sim, &config);
    check_stop(stop_work, work);
    tm_sim_work_free(work);
    end();
}

/* Leadership goes back and forth while everything is read at rest. */
static void what_a_hand_over_refuses_is_read_again(void)
{
    struct tm_sim_work_config config = {.clients = 4,
                                        .calls_per_s = 4000,
                                        .ahead = 1,
                                        .registers = 24,
                                        .groups = 24,
                                        .fill = 20,
                                        .patience_ns = TM_SECONDS(2)};
    config.share[TM_SIM_WRITE] = 1;
    begin();
    struct tm_sim_work *work = tm_sim_work_new(sim, &config);
    tm_sim_run_for(sim, TM_SECONDS(1));
    CU_ASSERT_TRUE_FATAL(tm_sim_run_until(sim, stop_work, work, TM_SECONDS(20)));
    uint64_t refused = tm_sim_work_stats(work).refused;
    for (unsigned i = 0; i < 5000 && tm_sim_work_stats(work).refused == refused; i++) {
        for (unsigned from = 0; from < 3; from++)
            (void)tm_sim_transfer(sim, from, i % 2, (from + 1) % 3);
        tm_sim_work_read_all(work);
    }
    CU_ASSERT(tm_sim_work_stats(work).refused > refused);
    CU_ASSERT_EQUAL(tm_sim_wrongs(sim), 0);
    tm_sim_work_free(work);
    end();
}

static bool stop_census(void *census)
{
    return tm_sim_census_stop(census);
}

static void the_census_waits_for_its_answers(void)
{
    static const struct tm_sim_census_config config = {
        .clients = 4, .keys = 24, .pause_ns = TM_US(10), .patience_ns = TM_SECONDS(2)};
    begin();
    struct tm_sim_census *census = tm_sim_census_new(sim, oracle, &config);
    check_stop(stop_census, census);
    tm_sim_census_free(census);
    end();
}

static const struct tm_test tests[] = {
    TM_TEST(registers_and_counters_wait_for_their_answers),
    TM_TEST(the_work_waits_for_its_answers),
    TM_TEST(the_census_waits_for_its_answers),
    TM_TEST(what_a_hand_over_refuses_is_read_again),
};

TM_TEST_MAIN("sim/load", tests)
