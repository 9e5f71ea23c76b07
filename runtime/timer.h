/* timer.h: timers of one worker: arm, cancel and expiry in O(1), whatever their number.
 *
 * A hierarchical timing wheel (Varghese and Lauck, 1987, scheme 6.2): 8 levels of 64 slots, the
 * lowest of TM_TIMER_TICK_NS each, a level's slot as long as the whole level below.  Timers are
 * part of their owner (TM_CONTAINER_OF finds it); nothing is allocated.  Times are nanoseconds of
 * the clock of tm_ctx, given by the caller; there is no clock in here.
 *
 * A timer never fires early, and late by less than TM_TIMER_TICK_NS beyond the turn's own delay.
 * Timers due in the same run fire in no particular order.  One thread. */
#ifndef TM_RUNTIME_TIMER_H
#define TM_RUNTIME_TIMER_H

#include "runtime/base.h"

#define TM_TIMER_TICK_NS   (UINT64_C(1) << 14) /* 16.4 us */
#define TM_TIMER_LEVELS    8
#define TM_TIMER_SLOT_BITS 6
#define TM_TIMER_SLOTS     (1 << TM_TIMER_SLOT_BITS)
#define TM_TIMER_NEVER     UINT64_MAX

struct tm_timers;

/* A member of a ring of timers; an empty ring is a link to itself. */
struct tm_timer_link {
    struct tm_timer_link *next;
    struct tm_timer_link *prev;
};

/* One timer.  Only `fire` and `deadline_ns` are for reading by others. */
struct tm_timer {
    struct tm_timer_link link;
    uint64_t deadline_ns;
    void (*fire)(struct tm_timer *timer, uint64_t now_ns);
    uint16_t slot;
};

struct tm_timers {
    uint64_t tick;                      /* all ticks up to this one have been run */
    uint64_t occupied[TM_TIMER_LEVELS]; /* a bit for each slot that holds timers */
    struct tm_timer_link slots[TM_TIMER_LEVELS][TM_TIMER_SLOTS];
    struct tm_timer_link due;    /* armed with a deadline that had passed */
    struct tm_timer_link firing; /* those of the run under way */
    unsigned armed;
};

/* Makes timers empty, at now_ns.  It must not be moved afterwards. */
void tm_timers_init(struct tm_timers *timers, uint64_t now_ns);

/* Makes timer one that calls fire when its time has come.  fire may arm, cancel or free any timer,
 * itself included; it is no longer armed when fire is called. */
void tm_timer_init(struct tm_timer *timer, void (*fire)(struct tm_timer *timer, uint64_t now_ns));

/* Arms it for deadline_ns; one already armed is moved.  A deadline that has passed fires with the
 * next run (never in the one under way); TM_TIMER_NEVER disarms.  The timer must stay where it is
 * until it fired or was cancelled. */
void tm_timer_arm(struct tm_timers *timers, struct tm_timer *timer, uint64_t deadline_ns);

/* Disarms it; harmless if it is not armed. */
void tm_timer_cancel(struct tm_timers *timers, struct tm_timer *timer);

/* True from arm until it is about to fire, or cancelled. */
bool tm_timer_is_armed(const struct tm_timer *timer);

/* Fires all timers with a deadline up to now_ns, to the tick; returns their number.  A now_ns
 * before the last one is taken as the last one.  Not from within fire. */
unsigned tm_timers_run(struct tm_timers *timers, uint64_t now_ns);

/* When to call run next: not later than the earliest deadline rounded up to its tick, and later
 * than the last run unless a timer is due already (then 0).  It may be earlier than the deadline
 * (at most TM_TIMER_LEVELS - 1 times for one timer): then that run fires nothing, and asking again
 * gives a closer answer.  TM_TIMER_NEVER if none is armed. */
uint64_t tm_timers_next(const struct tm_timers *timers);

#endif
