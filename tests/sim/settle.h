/* Simulated clusters of tests: started, brought to rest, found sound. */
#ifndef TM_TESTS_SIM_SETTLE_H
#define TM_TESTS_SIM_SETTLE_H

#include "tests/sim/sim_cluster.h"
#include "tests/sim/sim_load.h"
#include "tests/test.h"

/* ---- conditions of tm_sim_run_until, of the cluster ---- */

static inline bool converged(void *sim)
{
    char why[512];
    return tm_sim_converged(sim, why, sizeof why);
}

static inline bool whole(void *sim)
{
    char why[512];
    return tm_sim_whole(sim, why, sizeof why);
}

static inline bool load_stopped(void *load)
{
    return tm_sim_load_stop(load);
}

/* ---- from the start to the end ---- */

static inline void start_node(struct tm_sim *sim, unsigned node)
{
    bool started = tm_sim_start(sim, node);
    if (!started)
        printf("  node %u does not start: %s\n", node, tm_sim_why(sim, node));
    CU_ASSERT_TRUE_FATAL(started);
}

/* All nodes that do not run. */
static inline void start_all(struct tm_sim *sim)
{
    for (unsigned i = 0; i < tm_sim_config_of(sim)->nodes; i++)
        if (!tm_sim_is_up(sim, i))
            start_node(sim, i);
}

/* A new cluster: all its nodes run, at rest. */
static inline void create(struct tm_sim *sim)
{
    start_all(sim);
    CU_ASSERT_TRUE_FATAL(tm_sim_run_until(sim, converged, sim, TM_SECONDS(30)));
}

/* The load ends, all comes to rest, copies are equal and hold what clients were told. */
static inline void expect_sound(struct tm_sim *sim, struct tm_sim_load *load)
{
    char why[512] = "";
    CU_ASSERT_TRUE(tm_sim_run_until(sim, load_stopped, load, TM_SECONDS(30)));
    bool good = tm_sim_run_until(sim, converged, sim, TM_SECONDS(60));
    if (!good)
        (void)tm_sim_converged(sim, why, sizeof why);
    else if (tm_sim_differences(sim, why, sizeof why) != 0)
        good = false;
    if (good)
        tm_sim_load_verify(load);
    else
        printf("  %s\n", why);
    CU_ASSERT_TRUE(good);
    if (tm_sim_load_wrongs(load) > 0)
        printf("  %s\n", tm_sim_load_wrong(load));
    CU_ASSERT_EQUAL(tm_sim_load_wrongs(load), 0);
    CU_ASSERT_EQUAL(tm_sim_fatal(sim), 0);
}

#endif
