/* sim_links_ok.h: what an OK of a synchronous link says, held against the disks at its instant.
 *
 * Clients write values that tell which write they are of ("<east.4711>").  Each record that comes
 * to be in some log of any cluster is searched for them; an OK to one is right if such a record is
 * on the disks of a quorum of its partition's copies where it was written, and likewise at every
 * synchronous target that its type goes to: that record, or one with a later change of the same
 * key, which it lost to, or that says that the key expires, which by that clock it may have.  A
 * target may be without it if the partition at the source has written down, on a quorum, that the
 * link is DEGRADED, and nothing since that it is not.
 *
 * Needs an oracle of each cluster (sim_oracle.h), from its beginning on.  One thread. */
#ifndef TM_TESTS_SIM_SIM_LINKS_OK_H
#define TM_TESTS_SIM_SIM_LINKS_OK_H

#include "tests/sim/sim_links.h"
#include "tests/sim/sim_oracle.h"

struct tm_sim_links_ok;

/* plan, w and the oracles (one for each cluster) live as long; it hears what they hear. */
struct tm_sim_links_ok *tm_sim_links_ok_new(const struct tm_sim_links_plan *plan,
                                            struct tm_sim_world *w, struct tm_sim_oracle **oracles);
void tm_sim_links_ok_free(struct tm_sim_links_ok *ok);

/* A client of the cluster was told that its write of that number to the key is done. */
void tm_sim_links_ok_said(struct tm_sim_links_ok *ok, unsigned cluster, const char *key,
                          uint64_t number);

/* Which targets (bit j) have to have what is said to be done with the key just now: its writes wait
 * for them, and their links are not said to be degraded. */
unsigned tm_sim_links_ok_bound(const struct tm_sim_links_ok *ok, unsigned cluster, const char *key);

/* How many writes had their OK by then, are what the cluster wrote to their keys last, and the
 * target that they are shipped to has neither them nor what they would lose to. */
uint64_t tm_sim_links_ok_lacks(const struct tm_sim_links_ok *ok, unsigned cluster, unsigned target,
                               uint64_t by);

/* The cluster is made anew, on empty disks: what its logs had is gone, and another oracle hears. */
void tm_sim_links_ok_forget(struct tm_sim_links_ok *ok, unsigned cluster);

void tm_sim_links_ok_count(const struct tm_sim_links_ok *ok, struct tm_sim_links_result *out);

#endif
