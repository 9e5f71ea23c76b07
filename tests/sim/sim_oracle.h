/* sim_oracle.h: watches a simulated cluster and objects as soon as something is true that may never
 * be.
 *
 * After every turn of a worker it looks at the partitions of that worker, read from the product's
 * own objects, and at every block that became durable on any disk, parsed from its bytes; it keeps
 * what has become true (sim_truth.h) and holds what it sees against it: invariants 1 to 6, 9 and 11
 * of docs/ARCHITECTURE.md, the rules of the in-sync set, in eventual mode the window of what may
 * be lost.  What clients may be told is judged by sim_history.h.
 *
 * The first wrong stands; the caller ends the run when tm_sim_oracle_wrongs says so.
 *
 * The cluster tells it of every turn and of what happens to nodes; whoever runs the cluster tells
 * it of damage that was done to a disk.  One thread; freed before its cluster. */
#ifndef TM_TESTS_SIM_SIM_ORACLE_H
#define TM_TESTS_SIM_SIM_ORACLE_H

#include "tests/sim/sim_cluster.h"

struct tm_sim_oracle;

/* For a cluster none of whose nodes was started yet.  config is the one sim was made from. */
struct tm_sim_oracle *tm_sim_oracle_new(struct tm_sim *sim, const struct tm_sim_config *config);
void tm_sim_oracle_free(struct tm_sim_oracle *o);

/* A turn of that worker has ended. */
void tm_sim_oracle_turned(struct tm_sim_oracle *o, unsigned node, unsigned worker);

/* A node's process has begun (its disk as tm_sim_disk_of has it now), or is over; clean: by a stop
 * that came to its end. */
void tm_sim_oracle_started(struct tm_sim_oracle *o, unsigned node);
void tm_sim_oracle_ended(struct tm_sim_oracle *o, unsigned node, bool clean);

/* What was done to the node's disk since it is there. */
enum tm_sim_harm {
    TM_SIM_HARM_ROT, /* bits changed: the node has to notice, and to say so (invariant 6) */
    TM_SIM_HARM_LIE /* a write was reported and did not happen, or elsewhere: as the newest one of a
                       log it cannot be noticed */
};
void tm_sim_oracle_harmed(struct tm_sim_oracle *o, unsigned node, enum tm_sim_harm harm);

/* At the end, when the cluster is at rest and all that is left of it is up: replicas equal,
 * snapshots equal to what they are of, counters plausible.  False: why says what is not. */
bool tm_sim_oracle_at_rest(struct tm_sim_oracle *o, char *why, size_t size);

/* Wrongs so far, and the first of them in words ("" if there is none). */
unsigned tm_sim_oracle_wrongs(const struct tm_sim_oracle *o);
const char *tm_sim_oracle_wrong(const struct tm_sim_oracle *o);

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
