/* sim_world.h: several simulated clusters, linked, in one virtual time.
 *
 * Each cluster is a struct tm_sim of its own: with its own seed, wire, disks, clients, faults and
 * oracles, as if it were alone.  Between the clusters lies one more wire, on which a node is its
 * block: its place among the nodes of all clusters.  Whoever runs one cluster (tm_sim_run_for and
 * what uses it) runs all of them.
 *
 * One thread. */
#ifndef TM_TESTS_SIM_SIM_WORLD_H
#define TM_TESTS_SIM_SIM_WORLD_H

#include "tests/sim/sim_cluster.h"

#define TM_SIM_CLUSTERS_MAX 4

struct tm_sim_world;

struct tm_sim_world_config {
    uint64_t seed;
    unsigned clusters;
    struct tm_sim_config cluster[TM_SIM_CLUSTERS_MAX]; /* names, facts, place are filled in */
    unsigned to[TM_SIM_CLUSTERS_MAX];                  /* bit j: a link from this cluster to j */
    /* More lines of the links: those of a link stand at its source and at its target, without
     * "to:NAME/" ("replicateEntityTypes=A"); those of a cluster as they are.  NULL: none. */
    const char *options[TM_SIM_CLUSTERS_MAX][TM_SIM_CLUSTERS_MAX];
    const char *facts[TM_SIM_CLUSTERS_MAX];
    struct tm_sim_wire_config wire; /* between clusters; seed, host, woke and hash are filled in */
};

/* So many clusters as tm_sim_config_default has them, with seeds of their own, and no links. */
void tm_sim_world_config_default(struct tm_sim_world_config *c, uint64_t seed, unsigned clusters);

/* All nodes unformatted and not running. */
struct tm_sim_world *tm_sim_world_new(const struct tm_sim_world_config *config);
void tm_sim_world_free(struct tm_sim_world *w);

const struct tm_sim_world_config *tm_sim_world_config_of(const struct tm_sim_world *w);
struct tm_sim *tm_sim_world_cluster(struct tm_sim_world *w, unsigned cluster);

/* What clusters are called: "east", "west", ...; and a node's block. */
const char *tm_sim_world_name(unsigned cluster);
unsigned tm_sim_world_block(const struct tm_sim_world *w, unsigned cluster, unsigned node);

/* What the file says of a cluster; the config's options, which may be other texts by now, are
 * written into it anew: nodes go by it once an operator has changed their directory. */
const char *tm_sim_world_facts(const struct tm_sim_world *w, unsigned cluster);
void tm_sim_world_renew(struct tm_sim_world *w);

/* The file has no link from the one to the other any more. */
void tm_sim_world_unlink(struct tm_sim_world *w, unsigned from, unsigned to);

/* Of all clusters and what went between them. */
uint64_t tm_sim_world_hash(const struct tm_sim_world *w);

uint64_t tm_sim_world_now(const struct tm_sim_world *w);
void tm_sim_world_run_for(struct tm_sim_world *w, uint64_t ns);
bool tm_sim_world_run_until(struct tm_sim_world *w, bool (*done)(void *arg), void *arg,
                            uint64_t ns);

/* Somebody who acts on several clusters: as tm_sim_drive; one. */
void tm_sim_world_drive(struct tm_sim_world *w, const struct tm_sim_driver *driver);

/* The wire between the clusters; no frames from one cluster to another, or them again. */
struct tm_sim_wire *tm_sim_world_wire(struct tm_sim_world *w);
void tm_sim_world_cut(struct tm_sim_world *w, unsigned from, unsigned to, bool cut);

/* The first rule that was broken in any cluster, "" if none was. */
const char *tm_sim_world_wrong(const struct tm_sim_world *w);

#endif
