/* sim_load.h: clients of a simulated cluster that know what they may be told.
 *
 * Registers: each has one writer, who sets it to 1, 2, 3 ...  A read, by anybody, must give a value
 * not below what was acknowledged or read before it began, not above what was tried, and none that
 * was refused.  After an unknown outcome the writer takes a fresh register.  Pairs: two registers
 * of one slot set by one transaction; a transaction that reads both must find them equal.
 * Counters: incremented by all, by INCR or by WATCH, GET, EXEC; no two may be told the same value,
 * and the end must lie between what was acknowledged and what may have happened.
 *
 * For consistency "strong".  One thread; the cluster does not run any more once its load is freed.
 */
#ifndef TM_TESTS_SIM_SIM_LOAD_H
#define TM_TESTS_SIM_SIM_LOAD_H

#include "tests/sim/sim_cluster.h"

struct tm_sim_load;

struct tm_sim_load_config {
    unsigned clients;
    unsigned registers;   /* of each client */
    unsigned counters;    /* of all */
    uint64_t pause_ns;    /* at most, between a client's commands */
    unsigned value_bytes; /* at most, of a register's value */
};

/* X(field): what happened. */
#define TM_SIM_LOAD_STATS(X)                                                                       \
    X(acked)                                                                                       \
    X(refused)                                                                                     \
    X(unknown)                                                                                     \
    X(reads)                                                                                       \
    X(lost_connections)

struct tm_sim_load_stats {
#define X(field) uint64_t field;
    TM_SIM_LOAD_STATS(X)
#undef X
};

/* The clients begin to connect at once. */
struct tm_sim_load *tm_sim_load_new(struct tm_sim *sim, const struct tm_sim_load_config *config);
void tm_sim_load_free(struct tm_sim_load *load);

/* No new commands, and none under way is given up as long as its connection lives; true once all
 * are answered. */
bool tm_sim_load_stop(struct tm_sim_load *load);

/* Reads everything and compares; the cluster is at rest, the load stopped. */
void tm_sim_load_verify(struct tm_sim_load *load);

struct tm_sim_load_stats tm_sim_load_stats(const struct tm_sim_load *load);

/* The wrongs found so far, and the first of them in words ("" if there is none). */
unsigned tm_sim_load_wrongs(const struct tm_sim_load *load);
const char *tm_sim_load_wrong(const struct tm_sim_load *load);

#endif
