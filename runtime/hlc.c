#include "runtime/hlc.h"

uint64_t tm_hlc_now(struct tm_hlc *hlc, uint64_t wall_ms)
{
    uint64_t wall = tm_hlc_pack(tm_min_u64(wall_ms, TM_HLC_MS_MAX), 0);
    hlc->last = tm_max_u64(hlc->last + 1, wall);
    return hlc->last;
}

void tm_hlc_observe(struct tm_hlc *hlc, uint64_t stamp)
{
    if (tm_hlc_ms(stamp) <= TM_HLC_MS_MAX)
        hlc->last = tm_max_u64(hlc->last, stamp);
}

uint64_t tm_hlc_ahead_ms(uint64_t stamp, uint64_t wall_ms)
{
    uint64_t ms = tm_hlc_ms(stamp);
    return ms > wall_ms ? ms - wall_ms : 0;
}

enum tm_err tm_hlc_check(uint64_t stamp, uint64_t wall_ms, uint64_t max_skew_ms)
{
    bool sane = tm_hlc_ms(stamp) <= TM_HLC_MS_MAX && tm_hlc_ahead_ms(stamp, wall_ms) <= max_skew_ms;
    return sane ? TM_OK : TM_ERR_INVALID;
}
