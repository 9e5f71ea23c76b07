/* histogram.h: counts of values in log-linear buckets: each power of two is cut into 128 equal
 * buckets, so that a value read back is off by less than 1/128 (0.8 %), over all of 0..2^64 - 1.
 * Values below 256 are exact.  Histograms are merged by adding, never averaged.  Fixed size (58
 * KiB), no allocation; one thread each. */
#ifndef TM_RUNTIME_HISTOGRAM_H
#define TM_RUNTIME_HISTOGRAM_H

#include "runtime/base.h"

#include <stdio.h>

#define TM_HISTOGRAM_SUB_BITS 7
#define TM_HISTOGRAM_BUCKETS  ((64 - TM_HISTOGRAM_SUB_BITS + 1) << TM_HISTOGRAM_SUB_BITS)

/* All zero is empty. */
struct tm_histogram {
    uint64_t total;
    uint64_t min; /* of the values themselves; 0 while empty, like max */
    uint64_t max;
    double sum;
    uint64_t counts[TM_HISTOGRAM_BUCKETS];
};

/* Empties it. */
void tm_histogram_reset(struct tm_histogram *h);

/* Counts value `times` times. */
void tm_histogram_add(struct tm_histogram *h, uint64_t value, uint64_t times);

/* Adds all of from to to. */
void tm_histogram_merge(struct tm_histogram *to, const struct tm_histogram *from);

/* The smallest value so that at least `percentile` percent (0..100) of all counted are not above
 * it, as the upper end of its bucket, but not above the largest counted.  0 while empty. */
uint64_t tm_histogram_percentile(const struct tm_histogram *h, double percentile);

/* Mean and standard deviation; the mean is exact, the deviation to a bucket's width.  0 while
 * empty. */
double tm_histogram_mean(const struct tm_histogram *h);
double tm_histogram_deviation(const struct tm_histogram *h);

/* Writes the percentile distribution in HdrHistogram's text form, which its plotters read, with
 * `ticks` lines for each halving of the distance to 100 % (5 is usual).  Values are divided by
 * `unit` (1000 to show nanoseconds as microseconds). */
void tm_histogram_print(const struct tm_histogram *h, FILE *out, unsigned ticks, double unit);

#endif
