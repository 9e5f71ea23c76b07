/* sim_eventual.h: what a cluster of consistency "eventual" owes its clients when it has come to
 * rest.
 *
 * A write counts by the version of the record that made it, (term, index): of two writes of one
 * register the later version stands, whoever was answered first, and also if its record was cut off
 * by a failover and came back by a merge.  So at rest a register holds the latest of all versions
 * that were committed; and if nobody lost anything (no disk, nothing counted as dropped), of all
 * that were acknowledged.  A counter then is the sum of what was acknowledged, members of sets are
 * all there.  What was refused is nowhere, and no write has happened twice.
 *
 * Versions are read off the records that were in any log.  For histories without removals,
 * times to live and conditions.  One thread. */
#ifndef TM_TESTS_SIM_SIM_EVENTUAL_H
#define TM_TESTS_SIM_SIM_EVENTUAL_H

#include "tests/sim/sim_truth.h"
#include "tests/sim/sim_words.h"

struct tm_sim_eventual;

struct tm_sim_eventual_config {
    struct tm_sim_layout layout;
    void *host;
    void (*wrong)(void *host, const char *text);
};

struct tm_sim_eventual *tm_sim_eventual_new(const struct tm_sim_eventual_config *config);
void tm_sim_eventual_free(struct tm_sim_eventual *e);

/* As of struct tm_sim_calls. */
void tm_sim_eventual_returned(struct tm_sim_eventual *e, const struct tm_sim_call *call);

/* A record is in some log. */
void tm_sim_eventual_record(struct tm_sim_eventual *e, const struct tm_record *record);

/* At rest, when every register was read once more.  truth: knows what is committed.  lost: somebody
 * lost something that nobody had. */
void tm_sim_eventual_judge(struct tm_sim_eventual *e, const struct tm_sim_truth *truth, bool lost);

#endif
