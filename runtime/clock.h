/* clock.h: what the kernel's clocks say.
 *
 * For the worker, boot code, tools and bench; actors ask their tm_ctx.  Any thread. */
#ifndef TM_RUNTIME_CLOCK_H
#define TM_RUNTIME_CLOCK_H

#include "runtime/base.h"

#include <time.h>

/* Nanoseconds of a clock that never goes back and starts anywhere above zero. */
static inline uint64_t tm_clock_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Microseconds since 1970 (UTC); may jump. */
static inline uint64_t tm_clock_wall_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

#endif
