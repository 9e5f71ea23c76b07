/* sim_plan.h: what one run is like, all of it drawn from its seed: the shape of the cluster, what
 * clients do, what goes wrong.  Plain data; pure functions. */
#ifndef TM_TESTS_SIM_SIM_PLAN_H
#define TM_TESTS_SIM_SIM_PLAN_H

#include "tests/sim/sim_census.h"
#include "tests/sim/sim_cluster.h"
#include "tests/sim/sim_faults.h"
#include "tests/sim/sim_load.h"
#include "tests/sim/sim_work.h"

struct tm_sim_plan {
    uint64_t seed;
    struct tm_sim_config cluster;       /* log: NULL */
    struct tm_sim_load_config load;     /* of a strong cluster, beside the work */
    struct tm_sim_census_config census; /* as load; of some of them none */
    struct tm_sim_work_config work;
    struct tm_sim_faults_config faults;
    bool born_in_peace; /* faults begin when the cluster exists */
    uint64_t run_ns;    /* with load and faults */
    uint64_t rest_ns;   /* within that everything converges once healed */
};

/* run_ns: how long the run is to be. */
void tm_sim_plan_draw(struct tm_sim_plan *plan, uint64_t seed, uint64_t run_ns);

/* Whether clocks are to be wrong in the run. */
bool tm_sim_plan_turns_clocks(const struct tm_sim_plan *plan);

/* One line that says what the run is like. */
void tm_sim_plan_text(const struct tm_sim_plan *plan, char *text, size_t size);

#endif
