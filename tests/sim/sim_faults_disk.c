/* Disks that are slow, full, fail or lie.  What damages data asks the atlas first, and puts the
 * node in doubt.  A node with rot starts anew before long, so that it finds it; one whose disk lies
 * must not crash before it has written on, for the newest block of a log can be missed by nothing.
 */
#include "tests/sim/sim_faults_internal.h"

#include <errno.h>

#define EXCUSE    TM_SECONDS(20)
#define WRITES_ON TM_SECONDS(2)

static uint64_t draw(struct tm_sim_faults *f, uint64_t bound)
{
    return tm_sim_faults_draw(f, bound);
}

static struct tm_sim_disk *disk_of(struct tm_sim_faults *f, const struct tm_sim_active *a)
{
    return tm_sim_disk_of(f->sim, a->node);
}

/* ---- slow and full ---- */

static bool begin_stall(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    a->node = tm_sim_any_node(f);
    if (f->absence[a->node].fragile)
        return false;
    tm_sim_disk_stall(disk_of(f, a), true);
    return true;
}

static void end_stall(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    tm_sim_disk_stall(disk_of(f, a), false);
}

const struct tm_sim_fault_acts tm_sim_stall_acts = {begin_stall, end_stall};

static bool begin_slow(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    a->node = tm_sim_any_node(f);
    a->amount = TM_MS(1) << draw(f, 9);
    tm_sim_disk_set_latency(disk_of(f, a), TM_US(50), a->amount);
    return true;
}

static void end_slow(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    const struct tm_sim_config *c = tm_sim_config_of(f->sim);
    tm_sim_disk_set_latency(disk_of(f, a), c->disk_min_ns, c->disk_max_ns);
}

const struct tm_sim_fault_acts tm_sim_slow_disk_acts = {begin_slow, end_slow};

static bool begin_space(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    a->node = tm_sim_any_node(f);
    a->amount = draw(f, 3) == 0 ? 1 : TM_KIB(4) << draw(f, 10);
    tm_sim_disk_set_capacity(disk_of(f, a), tm_sim_disk_used(disk_of(f, a)) + a->amount);
    f->absence[a->node].excused_until = a->until + EXCUSE;
    return true;
}

static void end_space(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    tm_sim_disk_set_capacity(disk_of(f, a), 0);
}

const struct tm_sim_fault_acts tm_sim_space_acts = {begin_space, end_space};

/* ---- errors ---- */

static enum tm_disk_kind failing(enum tm_sim_fault kind)
{
    switch (kind) {
    case TM_SIM_FAULT_EIO_READ:
        return TM_DISK_READ;
    case TM_SIM_FAULT_EIO_WRITE:
        return TM_DISK_WRITE;
    default:
        return TM_DISK_SYNC;
    }
}

/* A failed write ends the process; a failed read costs what was to be read. */
static bool begin_fail(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    bool reads = a->kind == TM_SIM_FAULT_EIO_READ;
    if (!tm_sim_any_running(f, &a->node))
        return false;
    if ((reads || f->config.memory) && !tm_sim_atlas_may(&f->atlas, 1u << a->node))
        return false;
    if (reads && (!tm_sim_atlas_may_linger(&f->atlas, a->node) || draw(f, 2) == 0) &&
        !tm_sim_end_nodes(f, 1u << a->node, TM_SIM_KILL, a))
        return false;
    if (reads || f->config.memory)
        tm_sim_atlas_damage(&f->atlas, 1u << a->node);
    if (reads)
        tm_sim_harmed(f->sim, a->node, TM_SIM_HARM_ROT);
    f->absence[a->node].excused_until = a->until + EXCUSE;
    tm_sim_disk_fail(disk_of(f, a), failing(a->kind), EIO, 1 + (unsigned)draw(f, 3));
    return true;
}

static void end_fail(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    tm_sim_disk_fail(disk_of(f, a), failing(a->kind), EIO, 0);
    if (tm_sim_is_up(f->sim, a->node))
        f->absence[a->node].scrub_at = tm_sim_now(f->sim) + draw(f, TM_SECONDS(20));
}

const struct tm_sim_fault_acts tm_sim_fail_acts = {begin_fail, end_fail};

/* What concerns files' names fails.  A file that does not open is one that cannot be read. */
static bool begin_fail_name(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    static const enum tm_disk_kind kinds[] = {TM_DISK_OPEN, TM_DISK_RENAME, TM_DISK_UNLINK,
                                              TM_DISK_SYNC_DIR};
    if (!tm_sim_any_running(f, &a->node))
        return false;
    a->amount = kinds[draw(f, TM_ARRAY_LEN(kinds))];
    bool costs = a->amount == TM_DISK_OPEN || f->config.memory;
    if (costs && !tm_sim_atlas_may(&f->atlas, 1u << a->node))
        return false;
    if (draw(f, 3) == 0 && !tm_sim_end_nodes(f, 1u << a->node, TM_SIM_KILL, a))
        return false;
    if (costs)
        tm_sim_atlas_damage(&f->atlas, 1u << a->node);
    if (a->amount == TM_DISK_OPEN)
        tm_sim_harmed(f->sim, a->node, TM_SIM_HARM_ROT);
    f->absence[a->node].excused_until = a->until + EXCUSE;
    tm_sim_disk_fail(disk_of(f, a), (enum tm_disk_kind)a->amount, EIO, 1 + (unsigned)draw(f, 3));
    return true;
}

static void end_fail_name(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    tm_sim_disk_fail(disk_of(f, a), (enum tm_disk_kind)a->amount, EIO, 0);
    if (tm_sim_is_up(f->sim, a->node))
        f->absence[a->node].scrub_at = tm_sim_now(f->sim) + draw(f, TM_SECONDS(20));
}

const struct tm_sim_fault_acts tm_sim_fail_name_acts = {begin_fail_name, end_fail_name};

/* ---- damage ---- */

/* A node that may be damaged: it is put in doubt, and ended if it must notice at once. */
static bool choose_damaged(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    if (!tm_sim_any_running(f, &a->node) || !tm_sim_atlas_may(&f->atlas, 1u << a->node))
        return false;
    if ((!tm_sim_atlas_may_linger(&f->atlas, a->node) || draw(f, 2) == 0) &&
        !tm_sim_end_nodes(f, 1u << a->node, draw(f, 2) == 0 ? TM_SIM_KILL : TM_SIM_POWER, a))
        return false;
    tm_sim_atlas_damage(&f->atlas, 1u << a->node);
    if (tm_sim_is_up(f->sim, a->node))
        f->absence[a->node].scrub_at = a->until + draw(f, TM_SECONDS(20));
    return true;
}

static bool begin_rot(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    char what[256];
    if (!choose_damaged(f, a))
        return false;
    for (unsigned times = 1 + (unsigned)draw(f, 3); times > 0; times--)
        if (tm_sim_disk_rot(disk_of(f, a), what, sizeof what))
            tm_sim_say(f->sim, "rot on %s: %s", tm_sim_node_name(a->node), what);
    tm_sim_harmed(f->sim, a->node, TM_SIM_HARM_ROT);
    return true;
}

const struct tm_sim_fault_acts tm_sim_rot_acts = {begin_rot, NULL};

static bool begin_misread(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    if (!choose_damaged(f, a))
        return false;
    tm_sim_disk_misread(disk_of(f, a), true);
    tm_sim_harmed(f->sim, a->node, TM_SIM_HARM_ROT);
    return true;
}

static void end_misread(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    tm_sim_disk_misread(disk_of(f, a), false);
}

const struct tm_sim_fault_acts tm_sim_misread_acts = {begin_misread, end_misread};

static bool begin_misdirect(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    if (!tm_sim_any_running(f, &a->node) || tm_sim_disk_is_stalled(disk_of(f, a)) ||
        tm_sim_disk_will_die(disk_of(f, a)) || !tm_sim_atlas_may(&f->atlas, 1u << a->node) ||
        !tm_sim_atlas_may_linger(&f->atlas, a->node))
        return false;
    tm_sim_atlas_damage(&f->atlas, 1u << a->node);
    f->absence[a->node].fragile = true;
    tm_sim_disk_misdirect(disk_of(f, a), true);
    tm_sim_harmed(f->sim, a->node, TM_SIM_HARM_LIE);
    a->until = tm_sim_now(f->sim) + WRITES_ON;
    return true;
}

/* Has it not lied yet, it will not; else it has to write on first. */
static void end_misdirect(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    struct tm_sim_absence *b = &f->absence[a->node];
    tm_sim_disk_misdirect(disk_of(f, a), false);
    if (b->fragile)
        b->scrub_at = tm_sim_now(f->sim) + WRITES_ON + draw(f, TM_SECONDS(20));
    b->sturdy_at = b->fragile ? tm_sim_now(f->sim) + WRITES_ON : 0;
}

const struct tm_sim_fault_acts tm_sim_misdirect_acts = {begin_misdirect, end_misdirect};
