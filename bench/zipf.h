/* zipf.h: random ranks by Zipf's law on 1..n: rank r has a share proportional to 1 / r^exponent
 * (rejection-inversion; Hoermann and Derflinger 1996, "Rejection-inversion to generate variates
 * from monotone discrete distributions").  Constant time, no tables.  One thread. */
#ifndef TM_BENCH_ZIPF_H
#define TM_BENCH_ZIPF_H

#include "runtime/rng.h"

struct tm_zipf {
    double exponent, n, low, high, shift;
};

/* n is at least 1 and below 2^53; exponent is above 0. */
void tm_zipf_init(struct tm_zipf *z, uint64_t n, double exponent);

/* A rank, 1..n. */
uint64_t tm_zipf_draw(const struct tm_zipf *z, struct tm_rng *rng);

#endif
