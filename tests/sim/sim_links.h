/* sim_links.h: drawn runs of two or three linked clusters, and what has to hold in them.
 *
 * While it lasts, clients at every cluster write keys of several types; nodes, whole clusters, the
 * wire between and the clocks have their troubles.  Then all is made well, and within a while
 *
 *   - clusters that share a type hold the same of each of its keys (tm_link_hash),
 *   - nothing that a link's filter leaves out is at its target,
 *   - counters are what was added to them at all clusters together: each increment once,
 *   - what only one cluster writes is as it was written last, and deleted for good if that was a
 *     deletion.
 *
 * An OK to a write that waits for synchronous links is held against the disks of both clusters at
 * its instant (sim_links_ok.h).
 *
 * At any time who reads at a target sees what one writer did in its order: a number that is counted
 * up never falls, and, unless streams were resynchronised, of two keys of one partition the second
 * is never ahead.  Filters may change while it lasts: what is narrowed away stays as it was, and
 * what is widened again has to become equal.
 *
 * One seed is one run.  One thread. */
#ifndef TM_TESTS_SIM_SIM_LINKS_H
#define TM_TESTS_SIM_SIM_LINKS_H

#include "tests/sim/sim_faults.h"
#include "tests/sim/sim_world.h"

/* X(shape): which links there are. */
#define TM_SIM_LINKS_SHAPES(X)                                                                     \
    X(ONE_WAY)                                                                                     \
    X(BOTH_WAYS)                                                                                   \
    X(MESH)                                                                                        \
    X(CHAIN)

enum tm_sim_links_shape {
#define X(shape) TM_SIM_LINKS_##shape,
    TM_SIM_LINKS_SHAPES(X)
#undef X
};
const char *tm_sim_links_shape_name(enum tm_sim_links_shape shape);

/* X(FAULT, word) */
#define TM_SIM_LINKS_FAULTS(X)                                                                     \
    X(KILL, "kill")                                                                                \
    X(POWER, "power")                                                                              \
    X(STOP, "stop")                                                                                \
    X(PAUSE, "pause")                                                                              \
    X(CLUSTER, "cluster")                                                                          \
    X(CUT, "cut")                                                                                  \
    X(HALF_CUT, "half-cut")                                                                        \
    X(LOSSY, "lossy")                                                                              \
    X(CLOCK, "clock")                                                                              \
    X(TRANSFER, "transfer")                                                                        \
    X(SNAPSHOT, "snapshot")                                                                        \
    X(FLAP, "flap")                                                                                \
    X(SLOW, "slow")                                                                                \
    X(SKEW, "skew")                                                                                \
    X(OPERATOR, "operator")

enum tm_sim_links_fault {
#define X(fault, word) TM_SIM_LINKS_##fault,
    TM_SIM_LINKS_FAULTS(X)
#undef X
        TM_SIM_LINKS_FAULT_COUNT
};
const char *tm_sim_links_fault_name(enum tm_sim_links_fault fault);

#define TM_SIM_LINKS_TYPES   4 /* "A" to "D" */
#define TM_SIM_LINKS_CHANGES 2
#define TM_SIM_LINKS_FILTER  512 /* bytes of the lines of a link */

/* All links get another filter. */
struct tm_sim_links_change {
    uint64_t at_ns; /* after faults begin */
    const char *line;
    uint8_t ships;
};

/* What becomes of a whole cluster. */
enum tm_sim_links_loss {
    TM_SIM_LINKS_NO_LOSS,
    TM_SIM_LINKS_FOR_GOOD, /* at the end of faults it is lost, and its targets are promoted */
    TM_SIM_LINKS_ANEW      /* it loses its disks, and is made anew under its name */
};

struct tm_sim_links_plan {
    uint64_t seed, faults_ns;
    enum tm_sim_links_shape shape;
    struct tm_sim_world_config world;
    char line[TM_SIM_CLUSTERS_MAX][TM_SIM_CLUSTERS_MAX][64]; /* of the filter alone */
    char filter[TM_SIM_CLUSTERS_MAX][TM_SIM_CLUSTERS_MAX][TM_SIM_LINKS_FILTER];
    char limits[128]; /* lines of all links, each after a line end */
    char mode[TM_SIM_CLUSTERS_MAX][TM_SIM_CLUSTERS_MAX][128]; /* of each, likewise */
    bool waits[TM_SIM_CLUSTERS_MAX][TM_SIM_CLUSTERS_MAX]; /* writes wait for that target's disks */
    bool sync;                                            /* some link is synchronous */
    bool transit;
    uint8_t ships[TM_SIM_CLUSTERS_MAX][TM_SIM_CLUSTERS_MAX]; /* bit t: the link takes type t */
    uint8_t reach[TM_SIM_CLUSTERS_MAX][TM_SIM_CLUSTERS_MAX]; /* also over others, by transit */
    uint8_t may_write[TM_SIM_CLUSTERS_MAX];                  /* bit t: clients there do */
    uint8_t keeps_off[TM_SIM_CLUSTERS_MAX];                  /* bit t: not where filters change */
    unsigned clients;                                        /* a cluster */
    bool deletes, expires;
    bool purges;      /* a filter that is narrowed takes away what the target has */
    const char *rule; /* for conflicts of type "B"; NULL: that of all others */
    char facts[TM_SIM_CLUSTERS_MAX][256]; /* of the file, beside the links */
    unsigned bulk; /* bytes of large values; 0: none are written, and logs are large enough */
    unsigned changes;
    struct tm_sim_links_change change[TM_SIM_LINKS_CHANGES];
    uint64_t fault_mean_ns[TM_SIM_LINKS_FAULT_COUNT]; /* 0: never */
    enum tm_sim_links_loss loss;
    unsigned lost_cluster;
    uint64_t lost_at_ns; /* ANEW: after faults begin */
    bool has_machines;   /* they fail, in clusters of three */
    struct tm_sim_faults_config machines;
};

/* Draws a run whose faults last that long; without: bits below, what it is to be without, the rest
 * as with it. */
#define TM_SIM_LINKS_WITHOUT_SYNC 1u
#define TM_SIM_LINKS_WITHOUT_LOSS 2u
void tm_sim_links_draw(struct tm_sim_links_plan *plan, uint64_t seed, uint64_t faults_ns,
                       unsigned without);

/* The lines of a link, with that filter. */
void tm_sim_links_filter(struct tm_sim_links_plan *plan, unsigned from, unsigned to,
                         const char *line);

/* One line that says what the run is like. */
void tm_sim_links_text(const struct tm_sim_links_plan *plan, char *text, size_t size);

/* X(name): what clients did. */
#define TM_SIM_LINKS_LOAD(X)                                                                       \
    X(commands)                                                                                    \
    X(refused)                                                                                     \
    X(unknown)                                                                                     \
    X(reads)

/* X(name): what befell frames between the clusters. */
#define TM_SIM_LINKS_FRAMES(X)                                                                     \
    X(lost)                                                                                        \
    X(twice)                                                                                       \
    X(flipped)                                                                                     \
    X(delayed)                                                                                     \
    X(cut)                                                                                         \
    X(overtaken)

/* X(counter): what nodes say they did, all together. */
#define TM_SIM_LINKS_COUNTERS(X)                                                                   \
    X(link_batches_sent)                                                                           \
    X(link_batches_taken)                                                                          \
    X(link_batches_repeated)                                                                       \
    X(link_batches_gap)                                                                            \
    X(link_batches_refused)                                                                        \
    X(link_timeouts)                                                                               \
    X(link_clock_held)                                                                             \
    X(link_resyncs)                                                                                \
    X(link_resync_keys)                                                                            \
    X(link_changes_taken)                                                                          \
    X(link_changes_lost)                                                                           \
    X(link_ups)                                                                                    \
    X(link_downs)                                                                                  \
    X(link_degraded)                                                                               \
    X(link_restored)                                                                               \
    X(link_sync_unknown)                                                                           \
    X(link_purged)                                                                                 \
    X(link_conflicts)                                                                              \
    X(leader_changes)                                                                              \
    X(undone)                                                                                      \
    X(snapshots_written)

/* X(name): of the OKs that a synchronous link answers for, so many targets each. */
#define TM_SIM_LINKS_OKS(X)                                                                        \
    X(judged)                                                                                      \
    X(on_both)     /* the very write is on both quorums' disks */                                  \
    X(overtaken)   /* or a later one of its key, at the target */                                  \
    X(expired)     /* or the key may be over there by its clock */                                 \
    X(before_loss) /* of the target, made anew since: that it had it was told before */            \
    X(degraded)    /* the link was said to be */

/* X(name): of clusters that were lost. */
#define TM_SIM_LINKS_LOSSES(X)                                                                     \
    X(clusters)                                                                                    \
    X(adopted)                                                                                     \
    X(lags_judged) /* by target */                                                                 \
    X(writes)      /* that had their OK, and that a target lacks */

struct tm_sim_links_result {
    bool good;
    char why[512];
    uint64_t hash, simulated_ns, settled_ns; /* the latter: after all was well */
#define X(name) uint64_t name;
    struct {
        TM_SIM_LINKS_LOAD(X)
    } load;
    struct {
        TM_SIM_LINKS_OKS(X)
    } oks;
    struct {
        TM_SIM_LINKS_LOSSES(X)
    } lost;
    struct {
        TM_SIM_LINKS_FRAMES(X)
    } frames;
    struct {
        TM_SIM_LINKS_COUNTERS(X)
    } effects;
#undef X
    uint64_t fired[TM_SIM_LINKS_FAULT_COUNT];
    uint64_t changed;                      /* filters of all links */
    uint64_t machines[TM_SIM_FAULT_COUNT]; /* what machines and disks did */
};

/* Runs it.  log: NULL, none. */
void tm_sim_links_run(const struct tm_sim_links_plan *plan, FILE *log,
                      struct tm_sim_links_result *out);

#endif
