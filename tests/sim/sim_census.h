/* sim_census.h: clients of a simulated cluster that keep keys of their own, have them counted, and
 * judge the count.
 *
 * Each writes and deletes keys that nobody else touches, and meanwhile walks them by SCAN, COUNT by
 * COUNT, from whichever node it is connected to, or asks for them by KEYS.  A key that was there
 * all the time has to be named, by SCAN just once; one that was away all the time may not be.
 * Between, WAIT and WAITAOF: so many copies as the answer says have to have the connection's last
 * writes on their disks, as the oracle reads them.
 *
 * For clusters of consistency "strong" that are not flushed.  One thread; the cluster does not run
 * any more once the census is freed. */
#ifndef TM_TESTS_SIM_SIM_CENSUS_H
#define TM_TESTS_SIM_SIM_CENSUS_H

#include "tests/sim/sim_oracle.h"

#define TM_SIM_CENSUS_CLIENTS_MAX 4
#define TM_SIM_CENSUS_KEYS_MAX    64

struct tm_sim_census;

struct tm_sim_census_config {
    unsigned clients;
    unsigned keys;     /* of each */
    uint64_t pause_ns; /* between calls, in the mean */
    uint64_t patience_ns;
};

/* X(field): what happened. */
#define TM_SIM_CENSUS_STATS(X)                                                                     \
    X(written)                                                                                     \
    X(scans)                                                                                       \
    X(steps) /* of scans */                                                                        \
    X(named) /* keys that had to be, and were */                                                   \
    X(waits)                                                                                       \
    X(copies) /* that those were told of */                                                        \
    X(failed) /* calls */

struct tm_sim_census_stats {
#define X(field) uint64_t field;
    TM_SIM_CENSUS_STATS(X)
#undef X
};

/* The clients begin to connect at once.  oracle: of this cluster; outlives the census. */
struct tm_sim_census *tm_sim_census_new(struct tm_sim *sim, struct tm_sim_oracle *oracle,
                                        const struct tm_sim_census_config *config);
void tm_sim_census_free(struct tm_sim_census *c);

/* No new calls, and none under way is given up as long as its connection lives; true once all are
 * answered. */
bool tm_sim_census_stop(struct tm_sim_census *c);

/* Of a cluster at rest, stopped: one more count, which must not fail.  Nothing is written. */
void tm_sim_census_count(struct tm_sim_census *c);

struct tm_sim_census_stats tm_sim_census_stats(const struct tm_sim_census *c);

#endif
