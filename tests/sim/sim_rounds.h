/* sim_rounds.h: whether the rounds that confirm a leader, and with it its reads, mean anything
 * (invariant 10).
 *
 * Notes when each round of a worker began and when each leader was first seen, and objects to a
 * leader that takes a round for confirmed which began after somebody had won a later term: some of
 * those who confirmed it must have known.  And to a read that waits for a round which began before
 * the read arrived.  Says whether there was any round that a read can have been confirmed by.
 *
 * Reports by `wrong`.  One thread. */
#ifndef TM_TESTS_SIM_SIM_ROUNDS_H
#define TM_TESTS_SIM_SIM_ROUNDS_H

#include "actors/heartbeat.h"
#include "actors/replica.h"

struct tm_sim_rounds;

struct tm_sim_rounds_config {
    uint32_t partitions; /* numbers 0..partitions-1 */
    uint64_t patience; /* a read's `until` is so long after its arrival (ns of its node's clock) */
    void *host;
    void (*wrong)(void *host, const char *text);
};

struct tm_sim_rounds *tm_sim_rounds_new(const struct tm_sim_rounds_config *config);
void tm_sim_rounds_free(struct tm_sim_rounds *s);

/* A turn of r's worker is over; now_ns: true time.  r is only looked at. */
void tm_sim_rounds_look(struct tm_sim_rounds *s, const struct tm_replica *r, uint64_t now_ns);

/* Of r's partition nothing can be told of this turn: it is going away. */
void tm_sim_rounds_left(struct tm_sim_rounds *s, uint32_t partition, uint64_t now_ns);

/* Whether a read of the partition that was asked for at `asked_ns` may have been answered by now: a
 * round that began since was confirmed, or somebody led without needing one. */
bool tm_sim_rounds_cover(const struct tm_sim_rounds *s, uint32_t partition, uint64_t asked_ns);

#endif
