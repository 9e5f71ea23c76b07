/* sim_atlas.h: the map of what the faults have taken away, so that a good copy of each committed
 * record is left, and whatever goes wrong beyond that is a bug.
 *
 * A node is *in doubt* from the moment something was done to it that the rules allow to cost it
 * records (its disk was wiped or damaged; with --durability memory its process ended), until it was
 * seen whole again.  Of the R copies of a partition at most (R - 1) / 2 may be in doubt at a time;
 * of two copies one, and only while both are in sync.
 *
 * That holds by node.  Bits of logs may rot on any number of copies at a time if a map by record
 * says that each has a good copy left (sim_faults_apart.c): then none of these gets another disk.
 *
 * Plain data; one thread. */
#ifndef TM_TESTS_SIM_SIM_ATLAS_H
#define TM_TESTS_SIM_SIM_ATLAS_H

#include "tests/sim/sim_cluster.h"

struct tm_sim_atlas {
    struct tm_sim *sim;
    bool born;        /* the cluster was whole once */
    uint32_t doubt;   /* bit per node */
    uint32_t damaged; /* of them, those whose disk was damaged */
    uint32_t latent;  /* of them, those that may not have noticed */
    uint32_t apart;   /* of them, those of which any may be the only one that has something */
};

void tm_sim_atlas_init(struct tm_sim_atlas *a, struct tm_sim *sim);

/* Whether these nodes (bits) may come in doubt now, beside those that are.  Looks at the cluster:
 * two copies must both be in sync. */
bool tm_sim_atlas_may(const struct tm_sim_atlas *a, uint32_t nodes);
void tm_sim_atlas_mark(struct tm_sim_atlas *a, uint32_t nodes);

/* The nodes will come in doubt before long, at a moment that nobody chooses: they are from now on,
 * until they have started anew. */
void tm_sim_atlas_expect(struct tm_sim_atlas *a, uint32_t nodes);

/* The nodes' disks are damaged: in doubt, and not seen whole before they have started anew, with no
 * rot left in a spare of a log: no start reads that, and it shows when the log goes on there. */
void tm_sim_atlas_damage(struct tm_sim_atlas *a, uint32_t nodes);
void tm_sim_atlas_started(struct tm_sim_atlas *a, unsigned node);

/* Nobody is in doubt, and all is whole. */
bool tm_sim_atlas_is_clear(const struct tm_sim_atlas *a);

/* The nodes are damaged in different places: none may be replaced until it was seen whole. */
void tm_sim_atlas_scatter(struct tm_sim_atlas *a, uint32_t nodes);

/* Whether some partition of the node, which is up, waits for repair. */
bool tm_sim_atlas_is_faulty(const struct tm_sim_atlas *a, unsigned node);

/* Whether a damaged node may get an empty disk: it is in doubt, so nothing depends on it; of two
 * copies the other one must be in the newest in-sync set. */
bool tm_sim_atlas_may_replace(const struct tm_sim_atlas *a, unsigned node);

/* Whether a node may be damaged unseen, while it runs: not where there are only two copies, of
 * which one could be left alone with it. */
bool tm_sim_atlas_may_linger(const struct tm_sim_atlas *a, unsigned node);

/* Takes those out that are seen whole now: every partition of theirs has one leader that counts all
 * its copies as in sync, and none of them is faulty. */
void tm_sim_atlas_review(struct tm_sim_atlas *a);

/* Whether every partition can serve while the nodes of `dead` are: enough voters, none of them in
 * doubt beyond what is allowed, both copies of two in sync if one is to go. */
bool tm_sim_atlas_spares(const struct tm_sim_atlas *a, uint32_t dead);

#endif
