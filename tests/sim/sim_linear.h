/* sim_linear.h: whether a history of calls (sim_calls.h) could have happened one after the other.
 *
 * An order of the calls is sought in which each takes effect between its begin and its end, and
 * every client was told what it should have been (Wing and Gong's search, with the memory of where
 * it has been that Lowe adds).  A call that was refused must have no effect.  One whose outcome is
 * unknown may take effect at any moment from its begin on, or never.  Calls that a client sent
 * ahead of each other's answers happen in the order in which they were sent.  What was written for
 * a time, or was given one, ends after it, by a clock that may be wrong by so much; and what a
 * client was told of the time that is left is right, by such a clock.
 *
 * What no call and no client joins is judged apart; FLUSH joins nothing: each part has its own. The
 * search is bounded: some histories stay
 * undecided.  Pure; one thread. */
#ifndef TM_TESTS_SIM_SIM_LINEAR_H
#define TM_TESTS_SIM_SIM_LINEAR_H

#include "tests/sim/sim_calls.h"

#define TM_SIM_LINEAR_CALLS_MAX                                                                    \
    256 /* that are searched together, ends of times to live included                              \
         */

enum tm_sim_linear {
    TM_SIM_LINEAR_YES,
    TM_SIM_LINEAR_NO,
    TM_SIM_LINEAR_UNDECIDED /* too long, or too many orders */
};

struct tm_sim_linear_config {
    uint64_t clock_error_ns; /* of any clock against true time; UINT64_MAX: nothing is known */
    uint64_t tries_max;      /* calls tried at some place, in each search */
};

struct tm_sim_linear_result {
    enum tm_sim_linear verdict;
    uint64_t tries;
    /* If NO: the calls that belong together, as lines, and where the search came no further. */
    char text[16384];
};

/* calls: in any order; PENDING counts as UNKNOWN. */
void tm_sim_linear_check(const struct tm_sim_call *calls, unsigned count,
                         const struct tm_sim_linear_config *config,
                         struct tm_sim_linear_result *result);

#endif
