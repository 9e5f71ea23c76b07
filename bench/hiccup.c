#include "bench/hiccup.h"

#include "runtime/clock.h"

void tm_hiccup_count(struct tm_histogram *h, uint64_t gap_ns)
{
    for (uint64_t wait = gap_ns;; wait -= TM_US(1)) {
        tm_histogram_add(h, wait, 1);
        if (wait <= TM_US(1))
            return;
    }
}

void tm_hiccup_measure(struct tm_histogram *h, uint64_t length_ns)
{
    tm_histogram_reset(h);
    uint64_t last = tm_clock_ns(), begin = last, passed = 0;
    while (last - begin < length_ns) {
        uint64_t now = tm_clock_ns(), gap = now - last;
        last = now;
        passed += gap;
        if (passed < TM_US(1))
            continue;
        tm_hiccup_count(h, gap);
        passed = 0;
        last = tm_clock_ns(); /* what the counting took is no gap of the platform */
    }
}
