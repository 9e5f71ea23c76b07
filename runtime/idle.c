/* idle.c: when to spin, yield or park.
 *
 * The window before parking is worth its cost only while the next work comes within it.
 * `credit` counts that: work found while waiting and short sleeps raise it, a window that passed in
 * vain lowers it, a long sleep clears it.  Below CREDIT_NEEDED the worker parks at once: one
 * heartbeat and its answer, at rest, do not reach it.
 *
 * Where workers share cores, one that works much of the time parks at once too: its wake-up is paid
 * by all that has gathered meanwhile, and whoever it waits for gets the core. */
#include "runtime/idle.h"

#define CREDIT_NEEDED   2
#define CREDIT_MAX      8
#define CREDIT_MISS     2
#define LONG_SLEEP      16 /* windows */
#define CROWDED_SPIN_NS TM_US(2)
#define LOAD_NS         TM_MS(2) /* of time that the share of work is taken over */
#define LOADED          4        /* a worker that works one part of so many is loaded */

void tm_idler_init(struct tm_idler *idler, const struct tm_idle_config *config, uint64_t now)
{
    bool crowded = config->cores < config->workers;
    *idler = (struct tm_idler){.strategy = config->strategy,
                               .spin_ns = config->spin_ns,
                               .last_work = now,
                               .turn_at = now,
                               .crowded = crowded};
    if (config->strategy == TM_IDLE_AUTO && crowded)
        idler->strategy = TM_IDLE_BACKOFF;
    if (idler->strategy == TM_IDLE_BACKOFF && crowded)
        idler->spin_ns = tm_min_u64(config->spin_ns, CROWDED_SPIN_NS);
    idler->window_ns = idler->spin_ns;
    if (idler->strategy == TM_IDLE_BACKOFF)
        idler->window_ns += config->yield_ns;
}

static void earn(struct tm_idler *idler)
{
    if (idler->credit < CREDIT_MAX)
        idler->credit++;
}

static void lose(struct tm_idler *idler, uint32_t amount)
{
    idler->credit -= idler->credit < amount ? idler->credit : amount;
}

/* The turn before this one, and what was slept after it. */
static void note_load(struct tm_idler *idler, uint64_t now)
{
    uint64_t passed = now - idler->turn_at;
    if (idler->turn_worked)
        idler->work_ns += passed;
    idler->all_ns += passed;
    if (idler->all_ns > LOAD_NS) {
        idler->work_ns = idler->work_ns * LOAD_NS / 2 / idler->all_ns;
        idler->all_ns = LOAD_NS / 2;
    }
}

static bool is_loaded(const struct tm_idler *idler)
{
    return idler->work_ns * LOADED >= idler->all_ns;
}

static enum tm_idle_action wait_in_window(struct tm_idler *idler, uint64_t now)
{
    uint64_t idle_ns = now - idler->last_work;
    if (idler->credit < CREDIT_NEEDED || (idler->crowded && is_loaded(idler)))
        return TM_IDLE_DO_PARK;
    if (idle_ns < idler->window_ns) {
        idler->waiting = true;
        return idle_ns < idler->spin_ns ? TM_IDLE_DO_SPIN : TM_IDLE_DO_YIELD;
    }
    if (idler->waiting)
        lose(idler, CREDIT_MISS);
    idler->waiting = false;
    return TM_IDLE_DO_PARK;
}

enum tm_idle_action tm_idler_next(struct tm_idler *idler, bool worked, uint64_t now)
{
    note_load(idler, now);
    idler->turn_at = now;
    idler->turn_worked = worked;
    if (worked) {
        if (idler->waiting)
            earn(idler);
        idler->waiting = false;
        idler->last_work = now;
        return TM_IDLE_DO_SPIN;
    }
    switch (idler->strategy) {
    case TM_IDLE_SPIN:
        return TM_IDLE_DO_SPIN;
    case TM_IDLE_YIELD:
        return TM_IDLE_DO_YIELD;
    case TM_IDLE_BACKOFF:
    case TM_IDLE_AUTO:
        return wait_in_window(idler, now);
    default:
        return TM_IDLE_DO_PARK;
    }
}

void tm_idler_woken(struct tm_idler *idler, uint64_t slept_ns)
{
    if (slept_ns <= idler->window_ns)
        earn(idler);
    else if (slept_ns > LONG_SLEEP * idler->window_ns)
        idler->credit = 0;
    else
        lose(idler, 1);
}
