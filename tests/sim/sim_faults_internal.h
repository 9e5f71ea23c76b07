/* sim_faults_internal.h: between the files of the faults.
 *
 *   sim_faults.c         when: rates, what is under way, healing
 *   sim_faults_wire.c    links and cuts
 *   sim_faults_node.c    processes, machines, what operators do
 *   sim_faults_time.c    standing still, clocks
 *   sim_faults_disk.c    disks
 *   sim_faults_apart.c   rot in several copies at a time, and where others' logs begin
 *   sim_faults_ambush.c  what waits for its moment */
#ifndef TM_TESTS_SIM_SIM_FAULTS_INTERNAL_H
#define TM_TESTS_SIM_SIM_FAULTS_INTERNAL_H

#include "runtime/rng.h"
#include "tests/sim/sim_atlas.h"
#include "tests/sim/sim_faults.h"

#define TM_SIM_ACTIVE_MAX 64
#define TM_SIM_REPLACED_MAX                                                                        \
    32 /* disks by the fault `wipe`: the truth knows a bit for each disk                           \
        */

/* A fault under way. */
struct tm_sim_active {
    enum tm_sim_fault kind;
    uint64_t until;
    unsigned node, other; /* TM_SIM_NODES_MAX: all */
    uint32_t side;        /* bit per node */
    uint64_t amount;
};

/* What is to become of a node. */
struct tm_sim_absence {
    bool down;    /* to be started at `until` */
    bool leaving; /* asked to stop; to be killed at `until` */
    bool dead;    /* for ever */
    bool fragile; /* its disk has lied or is about to: must not crash before it has written on */
    uint64_t until;
    uint64_t excused_until; /* it may end by itself, or refuse to start, for its disk failed */
    uint64_t sturdy_at;     /* fragile: until then; 0: longer */
    uint64_t scrub_at;      /* to be restarted so that it finds rot; 0: no need */
    unsigned refusals;      /* to start, one after the other */
    uint64_t faulty_since;  /* some partition, on a damaged disk; 0: none */
};

/* What an ambush knows of a replica. */
struct tm_sim_lone {
    bool alone; /* after its last turn it led an in-sync set of one that the witness knows */
    uint64_t commit;
    uint64_t since; /* the commit index when it was alone first */
};

struct tm_sim_faults {
    struct tm_sim *sim;
    struct tm_sim_faults_config config;
    struct tm_rng rng, later; /* of kinds from TM_SIM_FAULT_LATER on */
    struct tm_sim_atlas atlas;
    unsigned nodes;
    uint64_t next[TM_SIM_FAULT_COUNT];
    struct tm_sim_active active[TM_SIM_ACTIVE_MAX];
    unsigned active_count;
    struct tm_sim_absence absence[TM_SIM_NODES_MAX];
    unsigned replaced; /* disks */
    uint64_t review_at;
    uint64_t weather_at; /* a storm begins, or ends */
    bool storm;
    bool later_draws; /* and so is what is drawn now */
    bool healing;
    uint64_t ambush_until;    /* one lies */
    uint32_t prey;            /* bit per node: into which it fell */
    struct tm_sim_lone *lone; /* by node and partition; NULL: no ambushes */
    uint64_t fired[TM_SIM_FAULT_COUNT];
};

/* A kind's functions: begin draws the rest of `a` and says whether it happened; one that leaves
 * a->until alone is under way until then, and end undoes it. */
struct tm_sim_fault_acts {
    bool (*begin)(struct tm_sim_faults *f, struct tm_sim_active *a);
    void (*end)(struct tm_sim_faults *f, struct tm_sim_active *a); /* NULL: over at once */
};

extern const struct tm_sim_fault_acts tm_sim_link_acts, tm_sim_cut_acts, tm_sim_rings_acts,
    tm_sim_slow_acts, tm_sim_pause_acts, tm_sim_jump_acts, tm_sim_rate_acts, tm_sim_end_acts,
    tm_sim_stop_acts, tm_sim_boot_acts, tm_sim_named_acts, tm_sim_wipe_acts, tm_sim_transfer_acts,
    tm_sim_relief_acts, tm_sim_snapshot_acts, tm_sim_stall_acts, tm_sim_slow_disk_acts,
    tm_sim_fail_acts, tm_sim_space_acts, tm_sim_rot_acts, tm_sim_misread_acts,
    tm_sim_misdirect_acts, tm_sim_ambush_acts, tm_sim_suspend_acts, tm_sim_drift_acts,
    tm_sim_fail_name_acts, tm_sim_apart_acts, tm_sim_gap_acts;

static inline uint64_t tm_sim_faults_draw(struct tm_sim_faults *f, uint64_t bound)
{
    return tm_rng_below(f->later_draws ? &f->later : &f->rng, bound);
}

static inline unsigned tm_sim_any_node(struct tm_sim_faults *f)
{
    return (unsigned)tm_sim_faults_draw(f, f->nodes);
}

static inline uint32_t tm_sim_all_nodes(const struct tm_sim_faults *f)
{
    return (1u << f->nodes) - 1;
}

/* A node whose process runs and is to run on, and may crash. */
bool tm_sim_any_running(struct tm_sim_faults *f, unsigned *node);

/* The node is down, until then. */
void tm_sim_gone(struct tm_sim_faults *f, unsigned node, uint64_t until);

/* Ends these nodes at once, to come back before a->until, unless one of them must not crash, or
 * could forget what has no other good copy. */
bool tm_sim_end_nodes(struct tm_sim_faults *f, uint32_t nodes, enum tm_sim_end how,
                      const struct tm_sim_active *a);

/* Whether this fault, of a kind that cuts, keeps frames from going from one node to another. */
bool tm_sim_fault_cuts(const struct tm_sim_faults *f, const struct tm_sim_active *a, unsigned from,
                       unsigned to);

/* Nodes that are to come back, that are asked to go, that went by themselves. */
void tm_sim_attend(struct tm_sim_faults *f);
uint64_t tm_sim_attend_at(const struct tm_sim_faults *f);

/* Once, for a run that has ambushes: looks on from now on, until the cluster runs no more. */
void tm_sim_ambush_prepare(struct tm_sim_faults *f);

/* Now and then: who is whole again, who needs another disk. */
void tm_sim_faults_review(struct tm_sim_faults *f);

#endif
