/* rng.h: xoshiro256** (Blackman and Vigna), seeded through splitmix64: fast, repeatable random
 * numbers, for the simulator and for timeouts and identities of the product.  Not for secrets.  One
 * thread for each tm_rng. */
#ifndef TM_RUNTIME_RNG_H
#define TM_RUNTIME_RNG_H

#include "runtime/base.h"

struct tm_rng {
    uint64_t s[4];
};

/* The same seed gives the same numbers, on every machine and in every version. */
void tm_rng_seed(struct tm_rng *rng, uint64_t seed);

/* Seeds from the kernel.  Boot only: it may wait for the kernel's entropy. */
void tm_rng_seed_from_os(struct tm_rng *rng);

/* 64 uniformly random bits. */
uint64_t tm_rng_next(struct tm_rng *rng);

/* Uniform in 0..bound - 1, without bias; bound is at least 1. */
uint64_t tm_rng_below(struct tm_rng *rng, uint64_t bound);

/* Uniform in lo..hi, both included; lo <= hi. */
uint64_t tm_rng_between(struct tm_rng *rng, uint64_t lo, uint64_t hi);

/* True with probability numerator / denominator. */
bool tm_rng_chance(struct tm_rng *rng, uint64_t numerator, uint64_t denominator);

#endif
