/* sim_oracle.h: watches a simulated cluster and objects as soon as something is true that may never
 * be.
 *
 * After every turn of a worker it looks at the partitions of that worker, read from the product's
 * own objects, and at every block that became durable on any disk, parsed from its bytes; it keeps
 * what has become true (sim_truth.h, sim_rounds.h) and holds what it sees against it: invariants 1
 * to 6 and 9 to 11 of docs/ARCHITECTURE.md, the rules of the in-sync set, in eventual mode the
 * window of what may be lost, and that what was cut off is counted.  What clients may be told is
 * judged by sim_history.h.
 *
 * It is a watcher of its cluster and reports by tm_sim_wrong.  One thread. */
#ifndef TM_TESTS_SIM_SIM_ORACLE_H
#define TM_TESTS_SIM_SIM_ORACLE_H

#include "tests/sim/sim_cluster.h"
#include "tests/sim/sim_eventual.h"

struct tm_sim_oracle;
struct tm_record;

/* For a cluster none of whose nodes was started yet; freed before it, when it runs no more. */
struct tm_sim_oracle *tm_sim_oracle_new(struct tm_sim *sim);
void tm_sim_oracle_free(struct tm_sim_oracle *o);

/* Who hears of each record that comes to be in some log, from now on; fn NULL: nobody.  One. */
void tm_sim_oracle_hear(struct tm_sim_oracle *o,
                        void (*fn)(void *host, const struct tm_record *record), void *host);

/* Who leads the cluster by hand is about to recover a damaged partition by force
 * (tm_sim_truth_give_up). */
void tm_sim_oracle_give_up(struct tm_sim_oracle *o, uint32_t partition);

/* On how many nodes' disks this very record was at some time, in a log or in a snapshot. */
unsigned tm_sim_oracle_copies(const struct tm_sim_oracle *o, uint32_t partition, uint64_t index,
                              uint64_t hash);

/* What was judged of what an eventual cluster owes; zero of others. */
struct tm_sim_eventual_stats tm_sim_oracle_eventual(const struct tm_sim_oracle *o);

/* The same as a check of a run (sim_run.h). */
struct tm_sim_check;
extern const struct tm_sim_check tm_sim_oracle_check;

/* What it has seen, to show that it looks.  X(field) */
#define TM_SIM_ORACLE_STATS(X)                                                                     \
    X(looks)     /* at a replica that had changed */                                               \
    X(records)   /* different ones, in logs */                                                     \
    X(durable)   /* records seen on disks, all copies */                                           \
    X(committed) /* records */                                                                     \
    X(leaders)   /* elected, all partitions */                                                     \
    X(votes)     /* counted */                                                                     \
    X(states)    /* state hashes compared */                                                       \
    X(forgiven)  /* committed records that a memory-only cluster may lose */

struct tm_sim_oracle_stats {
#define X(field) uint64_t field;
    TM_SIM_ORACLE_STATS(X)
#undef X
};
struct tm_sim_oracle_stats tm_sim_oracle_stats(const struct tm_sim_oracle *o);

/* Records of this partition that had been committed were lost as --durability memory may lose them:
 * its history proves nothing from then on. */
bool tm_sim_oracle_forgave(const struct tm_sim_oracle *o, uint32_t partition);

#endif
