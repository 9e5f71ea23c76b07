/* sim_run.h: one simulated run from its plan to its verdict.
 *
 * The cluster is created, loaded, harmed, healed; then it has to come to rest with everything that
 * was promised.  What is checked on the way are the checks in the table of sim_run.c: who adds one
 * adds a row.  One thread. */
#ifndef TM_TESTS_SIM_SIM_RUN_H
#define TM_TESTS_SIM_SIM_RUN_H

#include "tests/sim/sim_plan.h"

/* Somebody who judges a run; reports by tm_sim_wrong. */
struct tm_sim_check {
    const char *name;
    /* Before the first node starts.  Becomes a watcher of the cluster by itself if it wants to;
     * fills in `calls` if it wants to hear of those (zeroed before). */
    void *(*begin)(struct tm_sim *sim, const struct tm_sim_plan *plan, struct tm_sim_calls *calls);
    /* The cluster is at rest, all calls are answered; may be NULL. */
    void (*at_rest)(void *host);
    void (*end)(void *host);
};

struct tm_sim_result {
    bool good;
    char why[1024]; /* if not */
    uint64_t hash, simulated_ns;
    struct tm_sim_load_stats load;
    struct tm_sim_work_stats work;
    uint64_t fired[TM_SIM_FAULT_COUNT];
};

/* log: gets the lines of the nodes and what happened; may be NULL. */
void tm_sim_run(const struct tm_sim_plan *plan, FILE *log, struct tm_sim_result *result);

#endif
