/* sim_eventual.h: what a cluster of consistency "eventual" owes its clients when it has come to
 * rest.
 *
 * A write counts by the version of the record that made it, (term, index): of two writes of one
 * register the later version stands, whoever was answered first, and also if its record was cut off
 * by a failover and came back by a merge.  What somebody has to have (tm_sim_truth_is_kept:
 * committed, or durable on a disk that has not lost it) has to be there in the end: a register
 * holds the latest of all such versions, members of sets are there, a counter is the sum of what
 * such records added, and may be that of more.  What was acknowledged was in some record.  What
 * nobody has to have was lost with the disks that held it: of the records of one leadership no more
 * bytes, and of no longer a time, than the window that was declared.  What was refused is nowhere,
 * and no write has happened twice.
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
    uint64_t window_bytes, window_ns; /* of what a failover may lose */
    void *host;
    void (*wrong)(void *host, const char *text);
};

/* X(field): what was judged. */
#define TM_SIM_EVENTUAL_STATS(X)                                                                   \
    X(judged)       /* clusters */                                                                 \
    X(records)      /* that wrote something, cut off or not */                                     \
    X(cut)          /* of them, that were never committed as they were written */                  \
    X(cut_and_owed) /* of those, that had to come back */                                          \
    X(lost)         /* of those, that only lost copies had */                                      \
    X(lost_bytes)   /* in the latter */                                                            \
    X(missing)      /* registers without what had to come back: nodes said they gave it up */

struct tm_sim_eventual_stats {
#define X(field) uint64_t field;
    TM_SIM_EVENTUAL_STATS(X)
#undef X
};

struct tm_sim_eventual *tm_sim_eventual_new(const struct tm_sim_eventual_config *config);
void tm_sim_eventual_free(struct tm_sim_eventual *e);

/* As of struct tm_sim_calls. */
void tm_sim_eventual_returned(struct tm_sim_eventual *e, const struct tm_sim_call *call);

/* A record is in some log, for the first time. */
void tm_sim_eventual_record(struct tm_sim_eventual *e, const struct tm_record *record,
                            uint64_t now_ns);

/* Once, at rest, when every register was read once more.  truth: knows what has to be there.
 * dropped: by partition, so many records nodes said they gave up. */
void tm_sim_eventual_judge(struct tm_sim_eventual *e, const struct tm_sim_truth *truth,
                           const uint64_t *dropped);

struct tm_sim_eventual_stats tm_sim_eventual_stats(const struct tm_sim_eventual *e);

#endif
