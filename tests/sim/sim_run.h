/* sim_run.h: one simulated run from its plan to its verdict.
 *
 * The cluster is created, loaded, harmed, healed; then it has to come to rest with everything that
 * was promised.  What is checked on the way are the checks in the table of sim_run.c: who adds one
 * adds a row.  One thread. */
#ifndef TM_TESTS_SIM_SIM_RUN_H
#define TM_TESTS_SIM_SIM_RUN_H

#include "tests/sim/sim_eventual.h"
#include "tests/sim/sim_history.h"
#include "tests/sim/sim_plan.h"
#include "tests/sim/sim_snapshots.h"

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

/* X(name): what faults, and recovery from them, came to: all nodes, all the run. */
#define TM_SIM_EFFECTS(X)                                                                          \
    X(frames_lost)                                                                                 \
    X(frames_twice)                                                                                \
    X(frames_overtaken)                                                                            \
    X(frames_waited)                                                                               \
    X(frames_delayed)                                                                              \
    X(frames_clogged)                                                                              \
    X(frames_cut)                                                                                  \
    X(frames_flipped)                                                                              \
    X(frames_clipped)                                                                              \
    X(frames_full)                                                                                 \
    X(rings_full)                                                                                  \
    X(torn)                                                                                        \
    X(unsynced_lost)                                                                               \
    X(eio_reads)                                                                                   \
    X(eio_writes)                                                                                  \
    X(eio_syncs)                                                                                   \
    X(eio_names)                                                                                   \
    X(no_space)                                                                                    \
    X(misdirected)                                                                                 \
    X(misdirected_far)                                                                             \
    X(misread)                                                                                     \
    X(misread_far)

/* X(counter): what the product says it did. */
#define TM_SIM_COUNTERS(X)                                                                         \
    X(commits)                                                                                     \
    X(leader_changes)                                                                              \
    X(step_downs)                                                                                  \
    X(undone)                                                                                      \
    X(solo_commits)                                                                                \
    X(clock_handovers)                                                                             \
    X(wal_torn_tails)                                                                              \
    X(wal_rotten_blocks)                                                                           \
    X(records_repaired)                                                                            \
    X(snapshots_written)                                                                           \
    X(snapshots_loaded)                                                                            \
    X(snapshots_sent)                                                                              \
    X(snapshots_failed)                                                                            \
    X(async_cut)                                                                                   \
    X(async_reoffered)                                                                             \
    X(async_merged)                                                                                \
    X(async_dropped)                                                                               \
    X(async_window_waits)                                                                          \
    X(refused_diskfull)                                                                            \
    X(entities_expired)

struct tm_sim_effects {
#define X(name) uint64_t name;
    TM_SIM_EFFECTS(X)
    TM_SIM_COUNTERS(X)
#undef X
};

struct tm_sim_result {
    bool good;
    char why[1024]; /* if not */
    uint64_t hash, simulated_ns;
    struct tm_sim_load_stats load;
    struct tm_sim_work_stats work;
    struct tm_sim_census_stats census;
    struct tm_sim_history_stats history; /* of a strong cluster */
    struct tm_sim_eventual_stats eventual;
    struct tm_sim_snapshots_stats snapshots; /* at the end */
    struct tm_sim_effects effects;
    uint64_t fired[TM_SIM_FAULT_COUNT];
};

/* log: gets the lines of the nodes and what happened; may be NULL. */
void tm_sim_run(const struct tm_sim_plan *plan, FILE *log, struct tm_sim_result *result);

#endif
