/* sim_history.h: keeps the calls of a run by groups of registers, and has each group's history
 * judged (sim_linear.h): as it grows, and in full when everything was read at rest.
 *
 * A call that flushes everything (TM_SIM_FLUSH) is in the history of every group, each of which may
 * be flushed at a moment of its own.
 *
 * Every acknowledged write is then among the calls that must have happened, and the reads at rest
 * are among them too: one that is missing at the end has no place in any order.
 *
 * For consistency "strong".  What it objects to goes to `wrong`, once for each group.  One thread.
 */
#ifndef TM_TESTS_SIM_SIM_HISTORY_H
#define TM_TESTS_SIM_SIM_HISTORY_H

#include "tests/sim/sim_linear.h"
#include "tests/sim/sim_words.h"

struct tm_sim_history;

struct tm_sim_history_config {
    struct tm_sim_layout layout;
    struct tm_sim_linear_config linear;
    void *host;
    /* calls: those that have no order, as lines; valid during the call. */
    void (*wrong)(void *host, uint32_t group, const char *calls);
};

struct tm_sim_history *tm_sim_history_new(const struct tm_sim_history_config *config);
void tm_sim_history_free(struct tm_sim_history *h);

/* As of struct tm_sim_calls. */
void tm_sim_history_called(struct tm_sim_history *h, const struct tm_sim_call *call);
void tm_sim_history_returned(struct tm_sim_history *h, const struct tm_sim_call *call);

/* Judges all groups as they are now. */
void tm_sim_history_judge(struct tm_sim_history *h);

/* X(field) */
#define TM_SIM_HISTORY_STATS(X)                                                                    \
    X(calls)                                                                                       \
    X(groups)                                                                                      \
    X(judged)    /* histories, as they grew and at the end */                                      \
    X(undecided) /* groups, when they were judged last */                                          \
    X(tries)

struct tm_sim_history_stats {
#define X(field) uint64_t field;
    TM_SIM_HISTORY_STATS(X)
#undef X
};
struct tm_sim_history_stats tm_sim_history_stats(const struct tm_sim_history *h);

/* As a check of a run (sim_run.h). */
struct tm_sim_check;
extern const struct tm_sim_check tm_sim_history_check;

#endif
