/* sim_links_internal.h: between the files of a run of linked clusters.
 *
 *   sim_links_plan.c     what a run is like, drawn
 *   sim_links.c          the run, and what has to hold in the end
 *   sim_links_faults.c   what goes wrong, and is made well
 *   sim_links_changes.c  an operator who changes the filters of all links
 *   sim_links_load.c     clients, and what they know
 *   sim_links_ok.c       whether the OKs of synchronous links are right */
#ifndef TM_TESTS_SIM_SIM_LINKS_INTERNAL_H
#define TM_TESTS_SIM_SIM_LINKS_INTERNAL_H

#include "tests/sim/sim_links_load.h"
#include "tests/sim/sim_links_ok.h"
#include "tests/sim/sim_oracle.h"

#include "runtime/rng.h"

#define TM_SIM_LINKS_PENDING_MAX 64

enum tm_sim_links_undo_kind {
    TM_SIM_LINKS_UNDO_START,
    TM_SIM_LINKS_UNDO_RESUME,
    TM_SIM_LINKS_UNDO_MEND_WIRE,
    TM_SIM_LINKS_UNDO_SLOW,
    TM_SIM_LINKS_UNDO_SKEW
};

struct tm_sim_links_undo {
    uint64_t at;
    enum tm_sim_links_undo_kind kind;
    unsigned cluster, node; /* MEND_WIRE: from, to */
};

struct tm_sim_links_changes;

struct tm_sim_links_run {
    struct tm_sim_links_plan *plan;
    struct tm_sim_world *w;
    struct tm_rng rng;
    uint64_t next[TM_SIM_LINKS_FAULT_COUNT];
    struct tm_sim_links_undo pending[TM_SIM_LINKS_PENDING_MAX];
    unsigned count;
    bool skewed;                                         /* a cluster's clocks are far ahead */
    struct tm_sim_faults *machines[TM_SIM_CLUSTERS_MAX]; /* NULL: its nodes end by `next` */
    struct tm_sim_oracle *oracle[TM_SIM_CLUSTERS_MAX];   /* where machines fail, or links wait */
    struct tm_sim_links_ok *ok;                          /* NULL: no link is synchronous */
    struct tm_sim_links_changes *changes;
    bool telling; /* into the log, how keys differ */
    struct tm_sim_links_result *out;
};

/* All nodes up, all wires whole; where machines fail, nodes are started by those faults. */
void tm_sim_links_make_well(struct tm_sim_links_run *r);

/* Faults from now on; those that are due, every few milliseconds, also after `heal`: that ends
 * them, and nodes come back while time goes on. */
void tm_sim_links_faults_begin(struct tm_sim_links_run *r);
void tm_sim_links_faults_act(struct tm_sim_links_run *r);
void tm_sim_links_faults_heal(struct tm_sim_links_run *r);
void tm_sim_links_faults_free(struct tm_sim_links_run *r);

/* The operator begins; goes on, as often; true when all changes of the plan are made. */
void tm_sim_links_changes_begin(struct tm_sim_links_run *r, struct tm_sim_links_load *l);
bool tm_sim_links_changes_act(struct tm_sim_links_run *r);
void tm_sim_links_changes_free(struct tm_sim_links_run *r);

#endif
