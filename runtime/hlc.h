/* hlc.h: hybrid logical clock (Kulkarni et al., 2014): stamps that follow wall time and still order
 * what happened one after the other, also across nodes whose clocks differ.
 *
 * A stamp is 48 bits of milliseconds since 1970 above a 16-bit count; stamps compare as numbers.
 * When a millisecond has had its 65,536 stamps the count carries into the milliseconds.  A tm_hlc
 * belongs to one thread.  Pure: wall time is given. */
#ifndef TM_RUNTIME_HLC_H
#define TM_RUNTIME_HLC_H

#include "runtime/base.h"

#define TM_HLC_COUNT_BITS 16
#define TM_HLC_MS_MAX     ((UINT64_C(1) << 47) - 1) /* half of the range: now never overflows */

/* All zero is a valid start. */
struct tm_hlc {
    uint64_t last; /* the largest stamp given out or seen */
};

/* The stamp of the count'th event of millisecond ms. */
static inline uint64_t tm_hlc_pack(uint64_t ms, uint16_t count)
{
    return ms << TM_HLC_COUNT_BITS | count;
}

static inline uint64_t tm_hlc_ms(uint64_t stamp)
{
    return stamp >> TM_HLC_COUNT_BITS;
}

static inline uint16_t tm_hlc_count(uint64_t stamp)
{
    return (uint16_t)stamp;
}

/* A new stamp: larger than every stamp given out or seen before, and not before wall_ms.  A wall
 * clock beyond TM_HLC_MS_MAX is not followed. */
uint64_t tm_hlc_now(struct tm_hlc *hlc, uint64_t wall_ms);

/* Takes note of a stamp that came from elsewhere or from the log.  One beyond TM_HLC_MS_MAX is no
 * stamp and is passed over. */
void tm_hlc_observe(struct tm_hlc *hlc, uint64_t stamp);

/* By how many milliseconds the stamp is ahead of wall time; 0 if it is not. */
uint64_t tm_hlc_ahead_ms(uint64_t stamp, uint64_t wall_ms);

/* TM_OK, or TM_ERR_INVALID for a stamp ahead of wall time by more than max_skew_ms, or beyond
 * TM_HLC_MS_MAX: a node that sent it has a wrong clock, and it is not to be observed. */
enum tm_err tm_hlc_check(uint64_t stamp, uint64_t wall_ms, uint64_t max_skew_ms);

#endif
