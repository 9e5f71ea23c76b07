/* Processes that end and come back, machines that are slow, and what operators do.  A node that is
 * down was put down here, or is excused because its disk failed: everything else is a bug.  A node
 * whose damaged disk will not serve again gets a new one, as an operator would do. */
#include "tests/sim/sim_faults_internal.h"

#define STOP_PATIENCE   TM_SECONDS(8)
#define REFUSALS_MAX    4
#define FAULTY_PATIENCE TM_SECONDS(40)

static uint64_t draw(struct tm_sim_faults *f, uint64_t bound)
{
    return tm_sim_faults_draw(f, bound);
}

bool tm_sim_any_running(struct tm_sim_faults *f, unsigned *node)
{
    unsigned first = tm_sim_any_node(f);
    for (unsigned i = 0; i < f->nodes; i++) {
        *node = (first + i) % f->nodes;
        if (tm_sim_is_up(f->sim, *node) && !f->absence[*node].leaving && !f->absence[*node].fragile)
            return true;
    }
    return false;
}

/* ---- machines ---- */

static bool begin_slow(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    a->node = tm_sim_any_node(f);
    tm_sim_slow(f->sim, a->node, TM_US(20) << draw(f, 12));
    return true;
}

static void end_slow(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    tm_sim_slow(f->sim, a->node, 0);
}

const struct tm_sim_fault_acts tm_sim_slow_acts = {begin_slow, end_slow};

static bool begin_rings(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    a->node = tm_sim_any_node(f);
    tm_sim_rings_full(f->sim, a->node, 1 + (unsigned)draw(f, draw(f, 4) == 0 ? 100 : 40));
    return true;
}

static void end_rings(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    tm_sim_rings_full(f->sim, a->node, 0);
}

const struct tm_sim_fault_acts tm_sim_rings_acts = {begin_rings, end_rings};

/* ---- processes ---- */

void tm_sim_gone(struct tm_sim_faults *f, unsigned node, uint64_t until)
{
    struct tm_sim_absence *b = &f->absence[node];
    b->down = true;
    b->leaving = b->fragile = false;
    b->scrub_at = b->sturdy_at = 0;
    b->until = until;
}

bool tm_sim_end_nodes(struct tm_sim_faults *f, uint32_t nodes, enum tm_sim_end how,
                      const struct tm_sim_active *a)
{
    uint64_t now = tm_sim_now(f->sim);
    for (unsigned i = 0; i < f->nodes; i++)
        if ((nodes >> i & 1) != 0 && f->absence[i].fragile)
            return false;
    if (f->config.memory && !tm_sim_atlas_may(&f->atlas, nodes))
        return false;
    if (f->config.memory)
        tm_sim_atlas_mark(&f->atlas, nodes);
    for (unsigned i = 0; i < f->nodes; i++) {
        if ((nodes >> i & 1) == 0)
            continue;
        tm_sim_end(f->sim, i, how);
        tm_sim_gone(f, i, now + 1 + draw(f, tm_max_u64(a->until, now) - now + 1));
    }
    return true;
}

/* Mostly a disk rests: waits a little for one that does not, so that something is cut short. */
static void wait_for_writes(struct tm_sim_faults *f, unsigned node)
{
    for (unsigned i = 0; i < 100 && tm_sim_disk_under_way(tm_sim_disk_of(f->sim, node)) == 0; i++)
        tm_sim_run_for(f->sim, TM_US(50));
}

static bool begin_end(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    uint32_t nodes = 0;
    unsigned node;
    if (!tm_sim_any_running(f, &node))
        return false;
    if (a->kind == TM_SIM_FAULT_POWER_ALL)
        nodes = tm_sim_all_nodes(f);
    else if (a->kind == TM_SIM_FAULT_POWER_SOME)
        nodes = (uint32_t)draw(f, tm_sim_all_nodes(f)) | 1u << node;
    else
        nodes = 1u << node;
    a->side = nodes;
    if (draw(f, 2) == 0)
        wait_for_writes(f, node);
    return tm_sim_end_nodes(f, nodes, a->kind == TM_SIM_FAULT_KILL ? TM_SIM_KILL : TM_SIM_POWER, a);
}

const struct tm_sim_fault_acts tm_sim_end_acts = {begin_end, NULL};

static bool begin_stop(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    if (!tm_sim_any_running(f, &a->node) || tm_sim_is_paused(f->sim, a->node) ||
        (f->config.memory && !tm_sim_atlas_may(&f->atlas, 1u << a->node)))
        return false;
    if (f->config.memory) /* it may have to be killed in the end */
        tm_sim_atlas_mark(&f->atlas, 1u << a->node);
    if (a->kind == TM_SIM_FAULT_WORKERS)
        tm_sim_set_workers(f->sim, a->node, 1 + (unsigned)draw(f, TM_SIM_WORKERS_MAX));
    tm_sim_ask_stop(f->sim, a->node);
    f->absence[a->node].leaving = true;
    f->absence[a->node].until = tm_sim_now(f->sim) + STOP_PATIENCE;
    return true;
}

const struct tm_sim_fault_acts tm_sim_stop_acts = {begin_stop, NULL};

/* Ends a node and lets it start at once on a disk that stops somewhere on the way. */
static bool begin_boot(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    if (!tm_sim_any_running(f, &a->node))
        return false;
    a->amount = 1 + draw(f, 1ULL << (1 + draw(f, 11)));
    if (!tm_sim_end_nodes(f, 1u << a->node, TM_SIM_KILL, a))
        return false;
    if (f->config.memory) /* it may be long up and whole by then */
        tm_sim_atlas_expect(&f->atlas, 1u << a->node);
    tm_sim_disk_die_after(tm_sim_disk_of(f->sim, a->node), a->amount, NULL);
    return true;
}

const struct tm_sim_fault_acts tm_sim_boot_acts = {begin_boot, NULL};

/* The machine stops right when a file got another name, or lost its own.  Mostly its disk is slow
 * until then, so that something else is under way: that has happened or has not. */
static bool begin_named(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    static const char *const parts[] = {".seg", ".seg", ".seg", ""};
    if (f->config.memory || !tm_sim_any_running(f, &a->node) ||
        tm_sim_disk_will_die(tm_sim_disk_of(f->sim, a->node)))
        return false;
    struct tm_sim_disk *disk = tm_sim_disk_of(f->sim, a->node);
    if (draw(f, 4) != 0)
        tm_sim_disk_set_latency(disk, TM_US(50), TM_MS(2) << draw(f, 6));
    a->amount = draw(f, TM_ARRAY_LEN(parts));
    tm_sim_disk_die_after(disk, 0, parts[a->amount]);
    return true;
}

static void end_named(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    const struct tm_sim_config *c = tm_sim_config_of(f->sim);
    struct tm_sim_disk *disk = tm_sim_disk_of(f->sim, a->node);
    if (!tm_sim_disk_has_died(disk))
        tm_sim_disk_die_after(disk, 0, NULL);
    tm_sim_disk_set_latency(disk, c->disk_min_ns, c->disk_max_ns);
}

const struct tm_sim_fault_acts tm_sim_named_acts = {begin_named, end_named};

static void replace_disk(struct tm_sim_faults *f, unsigned node)
{
    if (tm_sim_is_up(f->sim, node))
        tm_sim_end(f->sim, node, TM_SIM_KILL);
    tm_sim_wipe(f->sim, node);
    f->absence[node].refusals = 0;
    f->replaced++;
}

static bool begin_wipe(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    if (f->replaced >= TM_SIM_REPLACED_MAX || !tm_sim_any_running(f, &a->node) ||
        !tm_sim_atlas_may(&f->atlas, 1u << a->node))
        return false;
    tm_sim_atlas_mark(&f->atlas, 1u << a->node);
    replace_disk(f, a->node);
    tm_sim_gone(f, a->node, a->until);
    return true;
}

const struct tm_sim_fault_acts tm_sim_wipe_acts = {begin_wipe, NULL};

/* ---- operators ---- */

static uint32_t any_partition(struct tm_sim_faults *f)
{
    return (uint32_t)draw(f, tm_sim_config_of(f->sim)->partitions + 1ULL);
}

static bool begin_transfer(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    uint32_t p = any_partition(f);
    bool did = false;
    a->other = tm_sim_any_node(f);
    a->amount = p;
    for (a->node = 0; !did && a->node < f->nodes; a->node++)
        did = tm_sim_transfer(f->sim, a->node, p, a->other);
    return did;
}

const struct tm_sim_fault_acts tm_sim_transfer_acts = {begin_transfer, NULL};

static bool begin_snapshot(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    a->node = tm_sim_any_node(f);
    a->amount = any_partition(f);
    return tm_sim_snapshot(f->sim, a->node, (uint32_t)a->amount);
}

const struct tm_sim_fault_acts tm_sim_snapshot_acts = {begin_snapshot, NULL};

/* ---- looking after nodes ---- */

static bool excused(const struct tm_sim_faults *f, unsigned node)
{
    return tm_sim_disk_has_died(tm_sim_disk_of(f->sim, node)) ||
           f->absence[node].excused_until > tm_sim_now(f->sim) ||
           (f->atlas.damaged >> node & 1) != 0;
}

static void come_back(struct tm_sim_faults *f, unsigned node)
{
    struct tm_sim_absence *b = &f->absence[node];
    uint64_t now = tm_sim_now(f->sim);
    struct tm_sim_disk *disk = tm_sim_disk_of(f->sim, node);
    b->down = false;
    if (tm_sim_start(f->sim, node)) {
        b->refusals = 0;
        if (tm_sim_disk_will_die(disk))
            return;
        tm_sim_atlas_started(&f->atlas, node);
        if ((f->atlas.latent >> node & 1) != 0)
            b->scrub_at = now + draw(f, TM_SECONDS(20));
        return;
    }
    bool stopped = tm_sim_disk_has_died(disk);
    if (!excused(f, node)) {
        tm_sim_wrong(f->sim, "node %s does not start: %s", tm_sim_node_name(node),
                     tm_sim_why(f->sim, node));
        return;
    }
    tm_sim_say(f->sim, "%s does not start: %s", tm_sim_node_name(node), tm_sim_why(f->sim, node));
    tm_sim_disk_die_after(disk, 0, NULL);
    tm_sim_end(f->sim, node, stopped && draw(f, 2) == 0 ? TM_SIM_POWER : TM_SIM_KILL);
    if (stopped)
        b->refusals = 0;
    else if (++b->refusals >= REFUSALS_MAX && tm_sim_atlas_may_replace(&f->atlas, node))
        replace_disk(f, node);
    tm_sim_gone(f, node, now + 1 + draw(f, TM_SECONDS(2)));
}

static void go(struct tm_sim_faults *f, unsigned node)
{
    (void)tm_sim_finish_stop(f->sim, node);
    tm_sim_gone(f, node, tm_sim_now(f->sim) + 1 + draw(f, TM_SECONDS(2)));
}

/* Its process is gone, and nobody here did it. */
static void ended(struct tm_sim_faults *f, unsigned node)
{
    bool lied = f->absence[node].fragile;
    if (!excused(f, node)) {
        tm_sim_wrong(f->sim, "node %s ended: %s", tm_sim_node_name(node), tm_sim_why(f->sim, node));
        f->absence[node].dead = true;
        return;
    }
    if (f->config.memory)
        tm_sim_atlas_mark(&f->atlas, 1u << node);
    tm_sim_gone(f, node, tm_sim_now(f->sim) + 1 + draw(f, TM_SECONDS(3)));
    if (lied) /* what it holds cannot be trusted, and it cannot know */
        replace_disk(f, node);
}

static void look_after_disk(struct tm_sim_faults *f, unsigned node)
{
    struct tm_sim_absence *b = &f->absence[node];
    uint64_t now = tm_sim_now(f->sim);
    if (b->sturdy_at != 0 && now >= b->sturdy_at) {
        b->fragile = false;
        b->sturdy_at = 0;
    }
    if (tm_sim_disk_is_dead(tm_sim_disk_of(f->sim, node))) {
        tm_sim_end(f->sim, node, draw(f, 2) == 0 ? TM_SIM_POWER : TM_SIM_KILL);
        tm_sim_gone(f, node, now + 1 + draw(f, TM_SECONDS(2)));
    } else if (b->scrub_at != 0 && now >= b->scrub_at && !b->leaving) {
        struct tm_sim_active a = {.until = now + TM_MS(500)};
        if (!tm_sim_end_nodes(f, 1u << node, TM_SIM_KILL, &a))
            b->scrub_at = now + TM_MS(500); /* later: what it has in memory is needed */
    }
}

/* A partition that stays faulty on a damaged disk will not become whole again there. */
static void look_after_faulty(struct tm_sim_faults *f, unsigned node)
{
    struct tm_sim_absence *b = &f->absence[node];
    uint64_t now = tm_sim_now(f->sim);
    bool faulty = (f->atlas.damaged >> node & 1) != 0 && tm_sim_atlas_is_faulty(&f->atlas, node);
    if (!faulty || b->faulty_since == 0)
        b->faulty_since = faulty ? now : 0;
    else if (now - b->faulty_since > FAULTY_PATIENCE && tm_sim_atlas_may_replace(&f->atlas, node)) {
        replace_disk(f, node);
        tm_sim_gone(f, node, now + 1 + draw(f, TM_SECONDS(1)));
    }
}

void tm_sim_faults_review(struct tm_sim_faults *f)
{
    tm_sim_atlas_review(&f->atlas);
    for (unsigned i = 0; i < f->nodes; i++)
        if (tm_sim_is_up(f->sim, i))
            look_after_faulty(f, i);
}

void tm_sim_attend(struct tm_sim_faults *f)
{
    uint64_t now = tm_sim_now(f->sim);
    for (unsigned i = 0; i < f->nodes; i++) {
        struct tm_sim_absence *b = &f->absence[i];
        bool up = tm_sim_is_up(f->sim, i);
        if (b->leaving && (!up || tm_sim_has_stopped(f->sim, i) || now >= b->until))
            go(f, i);
        else if (b->down && now >= b->until)
            come_back(f, i);
        else if (up)
            look_after_disk(f, i);
        else if (!b->down && !b->dead)
            ended(f, i);
    }
}

uint64_t tm_sim_attend_at(const struct tm_sim_faults *f)
{
    uint64_t next = UINT64_MAX;
    for (unsigned i = 0; i < f->nodes; i++) {
        const struct tm_sim_absence *b = &f->absence[i];
        if (b->down)
            next = tm_min_u64(next, b->until);
        else if (b->leaving)
            next = tm_min_u64(next, tm_sim_now(f->sim) + TM_MS(1));
        else if (b->scrub_at != 0)
            next = tm_min_u64(next, tm_max_u64(b->scrub_at, tm_sim_now(f->sim) + TM_MS(1)));
    }
    return next;
}
