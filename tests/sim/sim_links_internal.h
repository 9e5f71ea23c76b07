/* sim_links_internal.h: between the files of a run of linked clusters.
 *
 *   sim_links_plan.c     what a run is like, drawn
 *   sim_links.c          the run, and what has to hold in the end
 *   sim_links_faults.c   what goes wrong, and is made well
 *   sim_links_changes.c  the filters of all links change
 *   sim_links_operator.c what operators say, until all nodes go by it
 *   sim_links_lost.c     a whole cluster is lost
 *   sim_links_load.c     clients, and what they know
 *   sim_links_ok.c       whether the OKs of synchronous links are right */
#ifndef TM_TESTS_SIM_SIM_LINKS_INTERNAL_H
#define TM_TESTS_SIM_SIM_LINKS_INTERNAL_H

#include "actors/links.h"
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
    TM_SIM_LINKS_UNDO_SKEW,
    TM_SIM_LINKS_UNDO_PAUSE_OUT,
    TM_SIM_LINKS_UNDO_PAUSE_IN
};

struct tm_sim_links_undo {
    uint64_t at;
    enum tm_sim_links_undo_kind kind;
    unsigned cluster, node; /* MEND_WIRE: from, to */
};

struct tm_sim_links_changes;
struct tm_sim_links_desks;
struct tm_sim_links_lost;

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
    struct tm_sim_links_desks *desks;
    struct tm_sim_links_lost *lost; /* NULL: no cluster is */
    uint64_t moved_at;              /* some link was not at rest */
    unsigned resyncs;               /* that operators asked for */
    unsigned gone, away;            /* clusters that are, for good or for now */
    bool telling;                   /* into the log, how keys differ */
    struct tm_sim_links_result *out;
};

/* All nodes up, all wires whole; where machines fail, nodes are started by those faults. */
void tm_sim_links_make_well(struct tm_sim_links_run *r);

/* Faults from now on; those that are due, every few milliseconds, also after `heal`: that ends
 * them, and nodes come back while time goes on. */
void tm_sim_links_faults_begin(struct tm_sim_links_run *r);
void tm_sim_links_faults_act(struct tm_sim_links_run *r);
void tm_sim_links_faults_heal(struct tm_sim_links_run *r);
void tm_sim_links_mend_notes(struct tm_sim_links_run *r); /* an operator does, after the healing */
void tm_sim_links_faults_free(struct tm_sim_links_run *r);

/* All nodes of the cluster that are down start. */
void tm_sim_links_start_all(struct tm_sim_links_run *r, unsigned cluster);

/* Operators of a cluster put a line beside what the file says, or take it away (value NULL); or go
 * by what the file says now (tm_sim_world_renew).  Asked for again and again by `act`, every few
 * milliseconds; true when every cluster goes by what it is to. */
void tm_sim_links_operator_begin(struct tm_sim_links_run *r);
void tm_sim_links_say(struct tm_sim_links_run *r, unsigned cluster, const char *name,
                      const char *value);
void tm_sim_links_apply(struct tm_sim_links_run *r, unsigned cluster);
bool tm_sim_links_applied(const struct tm_sim_links_run *r, unsigned cluster);
bool tm_sim_links_operator_act(struct tm_sim_links_run *r);
void tm_sim_links_operator_free(struct tm_sim_links_run *r);

/* The cluster is made anew by its file: its operators say everything again. */
void tm_sim_links_made_anew(struct tm_sim_links_run *r, unsigned cluster);

/* The directory of some node that is up; NULL: none has one. */
const struct tm_directory *tm_sim_links_directory(struct tm_sim_links_run *r, unsigned cluster);

/* What the cluster's nodes say of its link to the other, all together. */
struct tm_links_figures tm_sim_links_figures(struct tm_sim_links_run *r, unsigned from,
                                             unsigned to);

/* The loss of the plan: begins to wait for its time; goes on, as often; true when all that follows
 * from it is said.  At the end of faults. */
void tm_sim_links_lost_begin(struct tm_sim_links_run *r, struct tm_sim_links_load *l);
bool tm_sim_links_lost_act(struct tm_sim_links_run *r);
void tm_sim_links_lost_end(struct tm_sim_links_run *r);
void tm_sim_links_lost_free(struct tm_sim_links_run *r);

/* Changes of filters begin; go on, as often; true when all of the plan are made. */
void tm_sim_links_changes_begin(struct tm_sim_links_run *r, struct tm_sim_links_load *l);
bool tm_sim_links_changes_act(struct tm_sim_links_run *r);
void tm_sim_links_changes_free(struct tm_sim_links_run *r);

#endif
