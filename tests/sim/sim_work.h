/* sim_work.h: clients of a simulated cluster that do a bit of everything, and tell what they asked
 * and were told (sim_calls.h); they judge nothing but the form of a reply.
 *
 * Each has a connection to some worker of some node, asks one call after the other or a few ahead,
 * waits, gives up, connects anew; what was refused is sometimes asked again.  Together they ask
 * about `calls_per_s`.  After some calls, or a few whose outcome is unknown, a group of registers
 * is left alone and another takes its place, so that its history stays short.  One thread; the
 * cluster does not run any more once its work is freed. */
#ifndef TM_TESTS_SIM_SIM_WORK_H
#define TM_TESTS_SIM_SIM_WORK_H

#include "tests/sim/sim_calls.h"
#include "tests/sim/sim_cluster.h"
#include "tests/sim/sim_words_many.h"

#define TM_SIM_WORK_CLIENTS_MAX     64
#define TM_SIM_WORK_CALLS_MAX       8  /* of one client under way */
#define TM_SIM_WORK_GROUP_CALLS     60 /* until another group takes its place */
#define TM_SIM_WORK_UNKNOWN         6
#define TM_SIM_WORK_FLUSHES_UNKNOWN 3 /* then there are no more */

struct tm_sim_work;

struct tm_sim_work_config {
    unsigned clients;
    unsigned calls_per_s;
    unsigned ahead;             /* calls a client sends without waiting, 1..TM_SIM_WORK_CALLS_MAX */
    uint32_t registers, groups; /* in use at a time */
    unsigned hot;               /* of 100 steps: on one of the first few registers */
    unsigned share[TM_SIM_EXPECT + 1]; /* weights of verbs, by enum tm_sim_verb; EXPECT: by WATCH */
    unsigned multi;                    /* of 100 calls: a transaction of several steps */
    unsigned many;                     /* of 100 calls: a command about several registers */
    unsigned scatter;                  /* of 100 of those about keys: of several slots */
    unsigned flush;                    /* of 100000 calls */
    unsigned resp3;                    /* of 100 connections */
    unsigned ttl;                      /* of 100 writes of strings: for a time */
    unsigned retry;                    /* of 100 refused calls: asked again */
    uint32_t fill;                     /* bytes of a value at most */
    uint64_t patience_ns;              /* until a client gives up an answer */
    uint64_t linger_ns; /* at most, from a read that is watched to its transaction; 0: at once */
};

/* X(field): what happened. */
#define TM_SIM_WORK_STATS(X)                                                                       \
    X(called)                                                                                      \
    X(done)                                                                                        \
    X(refused)                                                                                     \
    X(unknown)                                                                                     \
    X(transactions)                                                                                \
    X(lingered) /* between WATCH and transaction */                                                \
    X(several)  /* registers by one command */                                                     \
    X(flushes)                                                                                     \
    X(expiries) /* times to live given, taken, asked for */                                        \
    X(resp3)    /* connections */                                                                  \
    X(connections)

struct tm_sim_work_stats {
#define X(field) uint64_t field;
    TM_SIM_WORK_STATS(X)
#undef X
};

/* The clients begin to connect at once. */
struct tm_sim_work *tm_sim_work_new(struct tm_sim *sim, const struct tm_sim_work_config *config);
void tm_sim_work_free(struct tm_sim_work *w);

/* Who hears of the calls; few. */
void tm_sim_work_listen(struct tm_sim_work *w, const struct tm_sim_calls *calls);

/* No new calls, and none under way is given up as long as its connection lives; true once all are
 * answered. */
bool tm_sim_work_stop(struct tm_sim_work *w);

/* Of a cluster at rest, with the work stopped: reads every register that was ever touched, by
 * calls like all others.  A read that fails is wrong. */
void tm_sim_work_read_all(struct tm_sim_work *w);

struct tm_sim_work_stats tm_sim_work_stats(const struct tm_sim_work *w);

#endif
