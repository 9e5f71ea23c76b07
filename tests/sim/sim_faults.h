/* sim_faults.h: what goes wrong in a simulated run, when, and how often it did.
 *
 * Each kind of fault has a rate and a span drawn by the plan; the faults' driver draws its moments
 * and victims, starts what ended, and lets the atlas (sim_atlas.h) forbid what would take the last
 * good copy of a record away.  One thread. */
#ifndef TM_TESTS_SIM_SIM_FAULTS_H
#define TM_TESTS_SIM_SIM_FAULTS_H

#include "tests/sim/sim_cluster.h"

/* X(KIND, word, acts, lo, hi, ms): the mean seconds between two of them, in a run that has the
 * kind, are drawn from lo..hi, how long one lasts from 0..ms; acts: who does it
 * (sim_faults_internal.h). */
#define TM_SIM_FAULTS(X)                                                                           \
    X(LOSE, "lose", link, 5, 60, 20000)                                                            \
    X(TWICE, "twice", link, 5, 60, 20000)                                                          \
    X(DELAY, "delay", link, 5, 60, 20000)                                                          \
    X(CLOG, "clog", link, 2, 40, 3000)                                                             \
    X(FLIP, "flip", link, 5, 60, 5000)                                                             \
    X(CLIP, "clip", link, 5, 60, 5000)                                                             \
    X(FRAMES_FULL, "frames-full", link, 3, 40, 2000)                                               \
    X(CUT_ONE_WAY, "cut-one-way", cut, 4, 60, 8000)                                                \
    X(ISOLATE, "isolate", cut, 4, 60, 8000)                                                        \
    X(SPLIT, "split", cut, 4, 60, 8000)                                                            \
    X(BRIDGE, "bridge", cut, 4, 60, 8000)                                                          \
    X(RING, "ring", cut, 4, 60, 8000)                                                              \
    X(FLAP, "flap", cut, 1, 10, 100)                                                               \
    X(RELIEF, "relief", relief, 3, 30, 3000)                                                       \
    X(RINGS_FULL, "rings-full", rings, 3, 40, 2000)                                                \
    X(SLOW, "slow", slow, 5, 60, 10000)                                                            \
    X(PAUSE, "pause", pause, 4, 60, 4000)                                                          \
    X(CLOCK_JUMP, "clock-jump", jump, 3, 60, 0)                                                    \
    X(CLOCK_RATE, "clock-rate", rate, 5, 60, 20000)                                                \
    X(STALL, "stall", stall, 4, 60, 4000)                                                          \
    X(SLOW_DISK, "slow-disk", slow_disk, 4, 60, 10000)                                             \
    X(NO_SPACE, "no-space", space, 5, 90, 8000)                                                    \
    X(EIO_READ, "eio-read", fail, 10, 120, 5000)                                                   \
    X(EIO_WRITE, "eio-write", fail, 5, 90, 3000)                                                   \
    X(EIO_SYNC, "eio-sync", fail, 5, 90, 3000)                                                     \
    X(ROT, "rot", rot, 10, 90, 3000)                                                               \
    X(MISREAD, "misread", misread, 10, 120, 3000)                                                  \
    X(MISDIRECT, "misdirect", misdirect, 10, 120, 1)                                               \
    X(KILL, "kill", end, 3, 60, 4000)                                                              \
    X(POWER, "power", end, 4, 60, 4000)                                                            \
    X(POWER_SOME, "power-some", end, 5, 90, 3000)                                                  \
    X(POWER_ALL, "power-all", end, 10, 120, 1000)                                                  \
    X(STOP, "stop", stop, 5, 60, 2000)                                                             \
    X(BOOT_CRASH, "boot-crash", boot, 4, 60, 100)                                                  \
    X(WORKERS, "workers", stop, 20, 120, 500)                                                      \
    X(WIPE, "wipe", wipe, 15, 120, 2000)                                                           \
    X(TRANSFER, "transfer", transfer, 1, 30, 0)                                                    \
    X(SNAPSHOT, "snapshot", snapshot, 1, 30, 0)                                                    \
    X(AMBUSH, "ambush", ambush, 1, 10, 20000)                                                      \
    X(NAME_CRASH, "name-crash", named, 2, 20, 8000)                                                \
    X(LONG_PAUSE, "long-pause", pause, 10, 120, 300000)                                            \
    X(SUSPEND, "suspend", suspend, 5, 90, 120000)                                                  \
    X(DRIFT, "drift", drift, 5, 90, 60000)                                                         \
    X(EIO_NAME, "eio-name", fail_name, 3, 60, 3000)                                                \
    X(ROT_APART, "rot-apart", apart, 5, 60, 3000)                                                  \
    X(ROT_GAP, "rot-gap", gap, 2, 20, 400)

enum tm_sim_fault {
#define X(kind, ...) TM_SIM_FAULT_##kind,
    TM_SIM_FAULTS(X)
#undef X
        TM_SIM_FAULT_COUNT
};

/* From here on kinds draw from generators of their own, so that a run that has none of them is
 * what it was before there were any. */
#define TM_SIM_FAULT_LATER TM_SIM_FAULT_NAME_CRASH

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
    /* Storms: about every calm_ns, for about storm_ns, all faults come so many times as often, so
     * that one meets what another left half done.  haste 1: none. */
    uint64_t calm_ns, storm_ns;
    unsigned haste;
};

struct tm_sim_faults;

/* The nodes are up.  No faults yet. */
struct tm_sim_faults *tm_sim_faults_new(struct tm_sim *sim,
                                        const struct tm_sim_faults_config *config);
void tm_sim_faults_free(struct tm_sim_faults *f);

/* Faults from now on; none that damages a disk before the cluster was seen whole. */
void tm_sim_faults_begin(struct tm_sim_faults *f);

/* Does what is due; by who runs the time himself, every few milliseconds. */
void tm_sim_faults_act(struct tm_sim_faults *f);

/* Runs the cluster for so long, with faults; returns early when a rule was broken. */
void tm_sim_faults_run(struct tm_sim_faults *f, uint64_t ns);

/* No more faults: what was going on ends, the clocks are set, a sufficient set of nodes (drawn)
 * comes back while tm_sim_faults_run goes on, the others are dead. */
void tm_sim_faults_heal(struct tm_sim_faults *f);

/* How often each kind had an effect. */
const uint64_t *tm_sim_faults_fired(struct tm_sim_faults *f);

#endif
