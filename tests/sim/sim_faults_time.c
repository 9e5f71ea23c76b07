/* Processes and machines that stand still, for a moment or for most of a run, and clocks that are
 * wrong.  A process that is stopped finds its clocks where they would have been; a machine that is
 * suspended finds its monotonic clock where it was left, and the wall clock set, or left behind. */
#include "tests/sim/sim_faults_internal.h"

static uint64_t draw(struct tm_sim_faults *f, uint64_t bound)
{
    return tm_sim_faults_draw(f, bound);
}

static int64_t either_way(struct tm_sim_faults *f, int64_t amount)
{
    return draw(f, 2) == 0 ? amount : -amount;
}

/* ---- standing still ---- */

static bool begin_pause(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    if (!tm_sim_any_running(f, &a->node) || tm_sim_is_paused(f->sim, a->node))
        return false;
    tm_sim_pause(f->sim, a->node, true);
    return true;
}

static void end_pause(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    if (tm_sim_is_up(f->sim, a->node))
        tm_sim_pause(f->sim, a->node, false);
}

const struct tm_sim_fault_acts tm_sim_pause_acts = {begin_pause, end_pause};

/* amount: when it began, if the wall clock stands still, too; else 0. */
static bool begin_suspend(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    if (!begin_pause(f, a))
        return false;
    tm_sim_clock_stop(f->sim, a->node, true);
    if (draw(f, 3) == 0)
        a->amount = tm_sim_now(f->sim);
    return true;
}

static void end_suspend(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    end_pause(f, a);
    tm_sim_clock_stop(f->sim, a->node, false);
    if (a->amount != 0)
        tm_sim_clock_jump(f->sim, a->node, -(int64_t)((tm_sim_now(f->sim) - a->amount) / TM_MS(1)));
}

const struct tm_sim_fault_acts tm_sim_suspend_acts = {begin_suspend, end_suspend};

/* ---- clocks ---- */

static bool begin_jump(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    int64_t ms = (int64_t)(1ULL << draw(f, 20));
    a->node = tm_sim_any_node(f);
    tm_sim_clock_jump(f->sim, a->node, either_way(f, ms));
    return true;
}

const struct tm_sim_fault_acts tm_sim_jump_acts = {begin_jump, NULL};

static bool begin_rate(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    int64_t ppm = (int64_t)(10ULL << draw(f, 15));
    a->node = tm_sim_any_node(f);
    tm_sim_clock_rate(f->sim, a->node, either_way(f, ppm));
    return true;
}

static void end_rate(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    tm_sim_clock_rate(f->sim, a->node, 0);
}

const struct tm_sim_fault_acts tm_sim_rate_acts = {begin_rate, end_rate};

/* What it gained or lost stays. */
static bool begin_drift(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    a->node = tm_sim_any_node(f);
    a->amount = 100ULL << draw(f, 12);
    tm_sim_clock_drift(f->sim, a->node, either_way(f, (int64_t)a->amount));
    return true;
}

static void end_drift(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    tm_sim_clock_drift(f->sim, a->node, 0);
}

const struct tm_sim_fault_acts tm_sim_drift_acts = {begin_drift, end_drift};
