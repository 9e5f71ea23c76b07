/* sim_faults.h: what goes wrong in a simulated run, when, and how often it did.
 *
 * Each kind of fault has a rate and a span drawn by the plan; the faults' driver draws its moments
 * and victims, starts what ended, and lets the atlas (sim_atlas.h) forbid what would take the last
 * good copy of a record away.  One thread. */
#ifndef TM_TESTS_SIM_SIM_FAULTS_H
#define TM_TESTS_SIM_SIM_FAULTS_H

#include "tests/sim/sim_cluster.h"

/* X(KIND, word, how): how often a run that has the kind meets it: the mean seconds between two of
 * them are drawn from lo..hi, how long one lasts from 0..ms. */
#define TM_SIM_FAULTS(X)                                                                           \
    X(LOSE, "lose", 5, 60, 20000)                                                                  \
    X(TWICE, "twice", 5, 60, 20000)                                                                \
    X(DELAY, "delay", 5, 60, 20000)                                                                \
    X(CLOG, "clog", 2, 40, 3000)                                                                   \
    X(CUT_ONE_WAY, "cut-one-way", 4, 60, 8000)                                                     \
    X(ISOLATE, "isolate", 4, 60, 8000)                                                             \
    X(SPLIT, "split", 4, 60, 8000)                                                                 \
    X(BRIDGE, "bridge", 4, 60, 8000)                                                               \
    X(RING, "ring", 4, 60, 8000)                                                                   \
    X(FLAP, "flap", 1, 10, 100)                                                                    \
    X(FLIP, "flip", 5, 60, 5000)                                                                   \
    X(CLIP, "clip", 5, 60, 5000)                                                                   \
    X(FRAMES_FULL, "frames-full", 3, 40, 2000)                                                     \
    X(RINGS_FULL, "rings-full", 3, 40, 2000)                                                       \
    X(SLOW, "slow", 5, 60, 10000)                                                                  \
    X(PAUSE, "pause", 4, 60, 4000)                                                                 \
    X(CLOCK_JUMP, "clock-jump", 3, 60, 0)                                                          \
    X(CLOCK_RATE, "clock-rate", 5, 60, 20000)                                                      \
    X(STALL, "stall", 4, 60, 4000)                                                                 \
    X(KILL, "kill", 3, 60, 4000)                                                                   \
    X(POWER, "power", 4, 60, 4000)                                                                 \
    X(POWER_SOME, "power-some", 5, 90, 3000)                                                       \
    X(POWER_ALL, "power-all", 10, 120, 1000)                                                       \
    X(STOP, "stop", 5, 60, 2000)                                                                   \
    X(WORKERS, "workers", 20, 120, 500)                                                            \
    X(WIPE, "wipe", 15, 120, 2000)

enum tm_sim_fault {
#define X(kind, ...) TM_SIM_FAULT_##kind,
    TM_SIM_FAULTS(X)
#undef X
        TM_SIM_FAULT_COUNT
};

const char *tm_sim_fault_name(enum tm_sim_fault kind);

/* Of one kind, in one run. */
struct tm_sim_fault_rate {
    uint64_t mean_ns; /* between two; 0: this run has none */
    uint64_t most_ns; /* how long one lasts at most */
};

struct tm_sim_faults_config {
    uint64_t seed;
    struct tm_sim_fault_rate rate[TM_SIM_FAULT_COUNT];
    bool memory; /* --durability memory */
};

struct tm_sim_faults;

/* Drives the cluster from now on.  The nodes are up and the cluster exists. */
struct tm_sim_faults *tm_sim_faults_new(struct tm_sim *sim,
                                        const struct tm_sim_faults_config *config);
void tm_sim_faults_free(struct tm_sim_faults *f);

/* Runs the cluster for so long, with faults; returns early when a rule was broken. */
void tm_sim_faults_run(struct tm_sim_faults *f, uint64_t ns);

/* No more faults: what was going on ends, a sufficient set of nodes is started (drawn), the others
 * are dead from now on. */
void tm_sim_faults_heal(struct tm_sim_faults *f);

/* How often each kind had an effect. */
const uint64_t *tm_sim_faults_fired(struct tm_sim_faults *f);

#endif
