/* sim_snapshots.h: whether a snapshot holds what the table holds.
 *
 * Of a cluster at rest every copy of every partition takes a snapshot; each is then read back from
 * the disk by the product's own loader into an empty table, which must be the live one's equal:
 * same state (entities, stamps, times, the components of counters), as many entities, at the same
 * index; and what stands beside it (term and hash of the record it follows, the members) must be
 * what the replica has.  One thread. */
#ifndef TM_TESTS_SIM_SIM_SNAPSHOTS_H
#define TM_TESTS_SIM_SIM_SNAPSHOTS_H

#include "tests/sim/sim_cluster.h"

/* X(field): what was compared. */
#define TM_SIM_SNAPSHOTS_STATS(X)                                                                  \
    X(compared) /* snapshots */                                                                    \
    X(entities) /* in them */                                                                      \
    X(again)    /* taken anew: the table had gone on meanwhile, or it was not taken */

struct tm_sim_snapshots_stats {
#define X(field) uint64_t field;
    TM_SIM_SNAPSHOTS_STATS(X)
#undef X
};

/* Of all nodes that are up; the cluster runs meanwhile.  What differs, and what was not taken
 * within a minute, goes to tm_sim_wrong. */
struct tm_sim_snapshots_stats tm_sim_snapshots_compare(struct tm_sim *sim);

/* One copy: its newest snapshot against its table.  False: they differ, why says in what. */
bool tm_sim_snapshot_equal(struct tm_sim *sim, unsigned node, uint32_t partition, char *why,
                           size_t size);

#endif
