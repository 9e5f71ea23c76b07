/* sim_links_load.h: the clients of linked clusters, and what they know of how it has to end.
 *
 * At each cluster some clients write into keys that all share; one writes keys of its own, in an
 * order that others can check; one reads what those of other clusters wrote.  One thread. */
#ifndef TM_TESTS_SIM_SIM_LINKS_LOAD_H
#define TM_TESTS_SIM_SIM_LINKS_LOAD_H

#include "tests/sim/sim_links.h"

#define TM_SIM_LINKS_KEYS     8 /* of each type, shared */
#define TM_SIM_LINKS_KEY_SIZE 48

struct tm_sim_links_load;

/* plan: it lives as long, and its `ships` and `reach` change by the two functions below. */
struct tm_sim_links_load *tm_sim_links_load_new(struct tm_sim_world *w,
                                                struct tm_sim_links_plan *plan);
void tm_sim_links_load_free(struct tm_sim_links_load *l);

/* Told when a client of the cluster has its OK for the write of that number, 0: one that has none;
 * says which clusters (bit j) have it for certain from then on.  One. */
void tm_sim_links_load_hear(struct tm_sim_links_load *l,
                            unsigned (*said)(void *host, unsigned cluster, const char *key,
                                             uint64_t number),
                            void *host);

/* The cluster has lost everything; for good: nobody is there any more. */
void tm_sim_links_load_lost(struct tm_sim_links_load *l, unsigned cluster, bool for_good);

/* The link's filter is about to become that one: what it adds may arrive from now on, and will be
 * there in the end.  The source goes by it: what it takes away is not shipped any more. */
void tm_sim_links_load_widens(struct tm_sim_links_load *l, unsigned from, unsigned to,
                              uint8_t ships);
void tm_sim_links_load_narrows(struct tm_sim_links_load *l, unsigned from, unsigned to,
                               uint8_t ships);

/* No new commands, except those that bring the clients' own keys to their ends; true when all are
 * answered. */
bool tm_sim_links_load_stop(struct tm_sim_links_load *l);

/* The cluster is whole and at rest: reads all keys there, and compares.  False: not done yet, call
 * again later; what is wrong is told by tm_sim_wrong. */
bool tm_sim_links_load_examine(struct tm_sim_links_load *l);

/* Key number i of a type: the shared ones, then three of each cluster's own. */
void tm_sim_links_key(unsigned type, unsigned i, char key[TM_SIM_LINKS_KEY_SIZE]);

void tm_sim_links_load_count(const struct tm_sim_links_load *l, struct tm_sim_links_result *out);

#endif
