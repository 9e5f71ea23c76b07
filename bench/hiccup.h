/* hiccup.h: the platform's own pauses, as a thread sees them that does nothing but look at the
 * clock.  They are what no program on this machine can be better than. */
#ifndef TM_BENCH_HICCUP_H
#define TM_BENCH_HICCUP_H

#include "runtime/histogram.h"

/* Counts a gap between two looks at the clock: something arriving once a microsecond would have
 * waited gap, gap - 1 us, gap - 2 us, ...: so a long gap weighs as much as it hurts. */
void tm_hiccup_count(struct tm_histogram *h, uint64_t gap_ns);

/* Spins for length_ns on the calling thread and counts its gaps into h, which is emptied first. */
void tm_hiccup_measure(struct tm_histogram *h, uint64_t length_ns);

#endif
