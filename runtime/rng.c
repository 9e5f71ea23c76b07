#include "runtime/rng.h"

#include <sys/random.h>

static uint64_t rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

static uint64_t splitmix(uint64_t *x)
{
    uint64_t z = *x += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

void tm_rng_seed(struct tm_rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        rng->s[i] = splitmix(&seed);
}

void tm_rng_seed_from_os(struct tm_rng *rng)
{
    uint64_t seed = 0;
    ssize_t n = getrandom(&seed, sizeof seed, 0);
    TM_ASSERT(n == (ssize_t)sizeof seed);
    tm_rng_seed(rng, seed);
}

uint64_t tm_rng_next(struct tm_rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

/* Lemire, "Fast random integer generation in an interval" (2019): the high half of a product, drawn
 * again where the low half shows that it would be favoured. */
uint64_t tm_rng_below(struct tm_rng *rng, uint64_t bound)
{
    TM_ASSERT(bound > 0);
    __uint128_t m = (__uint128_t)tm_rng_next(rng) * bound;
    uint64_t unfair = (UINT64_C(0) - bound) % bound;
    while ((uint64_t)m < unfair)
        m = (__uint128_t)tm_rng_next(rng) * bound;
    return (uint64_t)(m >> 64);
}

uint64_t tm_rng_between(struct tm_rng *rng, uint64_t lo, uint64_t hi)
{
    TM_ASSERT(lo <= hi);
    uint64_t span = hi - lo + 1;
    return span == 0 ? tm_rng_next(rng) : lo + tm_rng_below(rng, span);
}

bool tm_rng_chance(struct tm_rng *rng, uint64_t numerator, uint64_t denominator)
{
    return tm_rng_below(rng, denominator) < numerator;
}
