/* The driver sleeps until the next moment of any kind, or the end of a fault under way.  A fault
 * draws its victims; where the atlas says no, or nobody fits, it does not happen this time.  Nodes
 * that are down come back at a moment drawn when they went; one that is down unasked for is a bug.
 */
#include "tests/sim/sim_faults.h"

#include "runtime/rng.h"
#include "tests/sim/sim_atlas.h"

#include <stdlib.h>

#define ACTIVE_MAX    64
#define REVIEW_NS     TM_MS(250)
#define STOP_PATIENCE TM_SECONDS(8)

/* A fault under way. */
struct active {
    enum tm_sim_fault kind;
    uint64_t until;
    unsigned node, other;
    uint32_t side; /* bit per node */
    uint64_t amount;
};

/* What is to become of a node that is not up, or that was asked to stop. */
struct absence {
    bool down, leaving, dead;
    uint64_t until; /* down: to be started; leaving: to be killed */
};

struct tm_sim_faults {
    struct tm_sim *sim;
    struct tm_sim_faults_config config;
    struct tm_rng rng;
    struct tm_sim_atlas atlas;
    unsigned nodes;
    uint64_t next[TM_SIM_FAULT_COUNT];
    struct active active[ACTIVE_MAX];
    unsigned active_count;
    struct absence absence[TM_SIM_NODES_MAX];
    uint64_t review_at;
    uint64_t fired[TM_SIM_FAULT_COUNT];
};

const char *tm_sim_fault_name(enum tm_sim_fault kind)
{
    static const char *const names[] = {
#define X(kind, word, ...) word,
        TM_SIM_FAULTS(X)
#undef X
    };
    return names[kind];
}

static uint64_t draw(struct tm_sim_faults *f, uint64_t bound)
{
    return tm_rng_below(&f->rng, bound);
}

static unsigned any_node(struct tm_sim_faults *f)
{
    return (unsigned)draw(f, f->nodes);
}

/* A node whose process runs and is to run on. */
static bool any_running(struct tm_sim_faults *f, unsigned *node)
{
    unsigned first = any_node(f);
    for (unsigned i = 0; i < f->nodes; i++) {
        *node = (first + i) % f->nodes;
        if (tm_sim_is_up(f->sim, *node) && !f->absence[*node].leaving)
            return true;
    }
    return false;
}

static uint32_t all_of(const struct tm_sim_faults *f)
{
    return (1u << f->nodes) - 1;
}

/* ---- wire ---- */

typedef void link_fn(struct tm_sim_link *link, uint64_t amount);

static void link_lose(struct tm_sim_link *l, uint64_t amount)
{
    l->lose = (unsigned)amount;
}

static void link_twice(struct tm_sim_link *l, uint64_t amount)
{
    l->twice = (unsigned)amount;
}

static void link_delay(struct tm_sim_link *l, uint64_t amount)
{
    l->more_ns = amount;
}

static void link_clog(struct tm_sim_link *l, uint64_t amount)
{
    l->clogged_until = amount;
}

static void link_flip(struct tm_sim_link *l, uint64_t amount)
{
    l->flip = (unsigned)amount;
}

static void link_clip(struct tm_sim_link *l, uint64_t amount)
{
    l->clip = (unsigned)amount;
}

static void link_full(struct tm_sim_link *l, uint64_t amount)
{
    l->full = (unsigned)amount;
}

/* From `node` to `other`, either of which may be all (TM_SIM_NODES_MAX). */
static void set_links(struct tm_sim_faults *f, const struct active *a, link_fn *set,
                      uint64_t amount)
{
    for (unsigned i = 0; i < f->nodes; i++)
        for (unsigned k = 0; k < f->nodes; k++)
            if ((a->node == i || a->node == TM_SIM_NODES_MAX) &&
                (a->other == k || a->other == TM_SIM_NODES_MAX))
                set(tm_sim_wire_link(tm_sim_wire_of(f->sim), i, k), amount);
}

static link_fn *link_of(enum tm_sim_fault kind)
{
    switch (kind) {
    case TM_SIM_FAULT_LOSE:
        return link_lose;
    case TM_SIM_FAULT_TWICE:
        return link_twice;
    case TM_SIM_FAULT_DELAY:
        return link_delay;
    case TM_SIM_FAULT_CLOG:
        return link_clog;
    case TM_SIM_FAULT_FLIP:
        return link_flip;
    case TM_SIM_FAULT_CLIP:
        return link_clip;
    default:
        return link_full;
    }
}

static bool begin_link(struct tm_sim_faults *f, struct active *a)
{
    uint64_t wide = draw(f, 3); /* one link, all of a node's, all */
    a->node = wide == 2 ? TM_SIM_NODES_MAX : any_node(f);
    a->other = wide >= 1 ? TM_SIM_NODES_MAX : any_node(f);
    if (a->node == a->other && wide == 0)
        return false;
    if (a->kind == TM_SIM_FAULT_CLOG)
        a->amount = a->until;
    else if (a->kind == TM_SIM_FAULT_DELAY)
        a->amount = TM_US(10) << draw(f, 15);
    else
        a->amount = 1 + draw(f, draw(f, 2) == 0 ? 300 : 3000);
    set_links(f, a, link_of(a->kind), a->amount);
    return true;
}

static void end_link(struct tm_sim_faults *f, struct active *a)
{
    set_links(f, a, link_of(a->kind), 0);
}

/* ---- cuts ---- */

/* Whether this fault cuts frames from one node to another. */
static bool cuts(const struct tm_sim_faults *f, const struct active *a, unsigned from, unsigned to)
{
    bool here = (a->side >> from & 1) != 0, there = (a->side >> to & 1) != 0;
    unsigned apart = (to + f->nodes - from) % f->nodes;
    switch (a->kind) {
    case TM_SIM_FAULT_CUT_ONE_WAY:
        return a->node == from && a->other == to;
    case TM_SIM_FAULT_FLAP:
        return (a->node == from && a->other == to) || (a->node == to && a->other == from);
    case TM_SIM_FAULT_ISOLATE:
        return a->node == from || a->node == to;
    case TM_SIM_FAULT_SPLIT:
        return here != there;
    case TM_SIM_FAULT_BRIDGE: /* `node` alone reaches both sides */
        return here != there && a->node != from && a->node != to;
    case TM_SIM_FAULT_RING: /* each sees its neighbours, so that majorities differ */
        return apart > f->nodes / 2 / 2 + 1 && f->nodes - apart > f->nodes / 2 / 2 + 1;
    default:
        return false;
    }
}

static void set_cuts(struct tm_sim_faults *f)
{
    for (unsigned i = 0; i < f->nodes; i++)
        for (unsigned k = 0; k < f->nodes; k++) {
            bool cut = false;
            for (unsigned n = 0; n < f->active_count; n++)
                cut |= cuts(f, &f->active[n], i, k);
            tm_sim_cut(f->sim, i, k, cut && i != k);
        }
}

static bool begin_cut(struct tm_sim_faults *f, struct active *a)
{
    if (f->nodes < 2 || (a->kind == TM_SIM_FAULT_BRIDGE && f->nodes < 3) ||
        (a->kind == TM_SIM_FAULT_RING && f->nodes < 4))
        return false;
    a->node = any_node(f);
    a->other = (a->node + 1 + (unsigned)draw(f, f->nodes - 1)) % f->nodes;
    a->side = (uint32_t)(1 + draw(f, all_of(f) - 1));
    set_cuts(f);
    return true;
}

static void end_cut(struct tm_sim_faults *f, struct active *a)
{
    a->kind = TM_SIM_FAULT_COUNT;
    set_cuts(f);
}

/* ---- machines ---- */

static bool begin_slow(struct tm_sim_faults *f, struct active *a)
{
    a->node = any_node(f);
    tm_sim_slow(f->sim, a->node, TM_US(20) << draw(f, 12));
    return true;
}

static void end_slow(struct tm_sim_faults *f, struct active *a)
{
    tm_sim_slow(f->sim, a->node, 0);
}

static bool begin_rings(struct tm_sim_faults *f, struct active *a)
{
    a->node = any_node(f);
    tm_sim_rings_full(f->sim, a->node, 1 + (unsigned)draw(f, draw(f, 4) == 0 ? 100 : 40));
    return true;
}

static void end_rings(struct tm_sim_faults *f, struct active *a)
{
    tm_sim_rings_full(f->sim, a->node, 0);
}

static bool begin_pause(struct tm_sim_faults *f, struct active *a)
{
    if (!any_running(f, &a->node) || tm_sim_is_paused(f->sim, a->node))
        return false;
    tm_sim_pause(f->sim, a->node, true);
    return true;
}

static void end_pause(struct tm_sim_faults *f, struct active *a)
{
    if (tm_sim_is_up(f->sim, a->node))
        tm_sim_pause(f->sim, a->node, false);
}

static bool begin_jump(struct tm_sim_faults *f, struct active *a)
{
    int64_t ms = (int64_t)(1ULL << draw(f, 20));
    a->node = any_node(f);
    tm_sim_clock_jump(f->sim, a->node, draw(f, 2) == 0 ? ms : -ms);
    return true;
}

static bool begin_rate(struct tm_sim_faults *f, struct active *a)
{
    int64_t ppm = (int64_t)(10ULL << draw(f, 15));
    a->node = any_node(f);
    tm_sim_clock_rate(f->sim, a->node, draw(f, 2) == 0 ? ppm : -ppm);
    return true;
}

static void end_rate(struct tm_sim_faults *f, struct active *a)
{
    tm_sim_clock_rate(f->sim, a->node, 0);
}

static bool begin_stall(struct tm_sim_faults *f, struct active *a)
{
    a->node = any_node(f);
    tm_sim_disk_stall(tm_sim_disk_of(f->sim, a->node), true);
    return true;
}

static void end_stall(struct tm_sim_faults *f, struct active *a)
{
    tm_sim_disk_stall(tm_sim_disk_of(f->sim, a->node), false);
}

/* ---- processes ---- */

static void gone(struct tm_sim_faults *f, unsigned node, uint64_t until)
{
    f->absence[node] = (struct absence){.down = true, .until = until};
}

/* Ends some nodes at once, if they may all forget what they were not bound to keep. */
static bool end_nodes(struct tm_sim_faults *f, uint32_t nodes, enum tm_sim_end how,
                      const struct active *a)
{
    if (f->config.memory && !tm_sim_atlas_may(&f->atlas, nodes))
        return false;
    if (f->config.memory)
        tm_sim_atlas_mark(&f->atlas, nodes);
    uint64_t now = tm_sim_now(f->sim);
    for (unsigned i = 0; i < f->nodes; i++) {
        if ((nodes >> i & 1) == 0)
            continue;
        tm_sim_end(f->sim, i, how);
        gone(f, i, now + 1 + draw(f, a->until - now + 1));
    }
    return true;
}

static bool begin_end(struct tm_sim_faults *f, struct active *a)
{
    uint32_t nodes = 0;
    unsigned node;
    if (!any_running(f, &node))
        return false;
    if (a->kind == TM_SIM_FAULT_POWER_ALL)
        nodes = all_of(f);
    else if (a->kind == TM_SIM_FAULT_POWER_SOME)
        nodes = (uint32_t)draw(f, all_of(f)) | 1u << node;
    else
        nodes = 1u << node;
    bool did = end_nodes(f, nodes, a->kind == TM_SIM_FAULT_KILL ? TM_SIM_KILL : TM_SIM_POWER, a);
    a->until = 0;
    return did;
}

static bool begin_stop(struct tm_sim_faults *f, struct active *a)
{
    if (!any_running(f, &a->node) || tm_sim_is_paused(f->sim, a->node))
        return false;
    if (a->kind == TM_SIM_FAULT_WORKERS)
        tm_sim_set_workers(f->sim, a->node, 1 + (unsigned)draw(f, TM_SIM_WORKERS_MAX));
    tm_sim_ask_stop(f->sim, a->node);
    f->absence[a->node] =
        (struct absence){.leaving = true, .until = tm_sim_now(f->sim) + STOP_PATIENCE};
    a->until = 0;
    return true;
}

static bool begin_wipe(struct tm_sim_faults *f, struct active *a)
{
    if (!any_running(f, &a->node) || !tm_sim_atlas_may(&f->atlas, 1u << a->node))
        return false;
    tm_sim_atlas_mark(&f->atlas, 1u << a->node);
    tm_sim_end(f->sim, a->node, TM_SIM_KILL);
    tm_sim_wipe(f->sim, a->node);
    gone(f, a->node, a->until);
    a->until = 0;
    return true;
}

static const struct {
    bool (*begin)(struct tm_sim_faults *f, struct active *a);
    void (*end)(struct tm_sim_faults *f, struct active *a); /* NULL: it has none */
} KINDS[TM_SIM_FAULT_COUNT] = {
    [TM_SIM_FAULT_LOSE] = {begin_link, end_link},
    [TM_SIM_FAULT_TWICE] = {begin_link, end_link},
    [TM_SIM_FAULT_DELAY] = {begin_link, end_link},
    [TM_SIM_FAULT_CLOG] = {begin_link, end_link},
    [TM_SIM_FAULT_FLIP] = {begin_link, end_link},
    [TM_SIM_FAULT_CLIP] = {begin_link, end_link},
    [TM_SIM_FAULT_FRAMES_FULL] = {begin_link, end_link},
    [TM_SIM_FAULT_CUT_ONE_WAY] = {begin_cut, end_cut},
    [TM_SIM_FAULT_ISOLATE] = {begin_cut, end_cut},
    [TM_SIM_FAULT_SPLIT] = {begin_cut, end_cut},
    [TM_SIM_FAULT_BRIDGE] = {begin_cut, end_cut},
    [TM_SIM_FAULT_RING] = {begin_cut, end_cut},
    [TM_SIM_FAULT_FLAP] = {begin_cut, end_cut},
    [TM_SIM_FAULT_RINGS_FULL] = {begin_rings, end_rings},
    [TM_SIM_FAULT_SLOW] = {begin_slow, end_slow},
    [TM_SIM_FAULT_PAUSE] = {begin_pause, end_pause},
    [TM_SIM_FAULT_CLOCK_JUMP] = {begin_jump, NULL},
    [TM_SIM_FAULT_CLOCK_RATE] = {begin_rate, end_rate},
    [TM_SIM_FAULT_STALL] = {begin_stall, end_stall},
    [TM_SIM_FAULT_KILL] = {begin_end, NULL},
    [TM_SIM_FAULT_POWER] = {begin_end, NULL},
    [TM_SIM_FAULT_POWER_SOME] = {begin_end, NULL},
    [TM_SIM_FAULT_POWER_ALL] = {begin_end, NULL},
    [TM_SIM_FAULT_STOP] = {begin_stop, NULL},
    [TM_SIM_FAULT_WORKERS] = {begin_stop, NULL},
    [TM_SIM_FAULT_WIPE] = {begin_wipe, NULL},
};

/* ---- time ---- */

static uint64_t next_of(struct tm_sim_faults *f, unsigned kind)
{
    uint64_t mean = f->config.rate[kind].mean_ns;
    return mean == 0 ? UINT64_MAX : tm_sim_now(f->sim) + 1 + draw(f, 2 * mean);
}

static void begin(struct tm_sim_faults *f, enum tm_sim_fault kind)
{
    f->next[kind] = next_of(f, kind);
    if (f->active_count == ACTIVE_MAX)
        return;
    struct active *a = &f->active[f->active_count++];
    *a = (struct active){.kind = kind,
                         .until = tm_sim_now(f->sim) + 1 + draw(f, f->config.rate[kind].most_ns)};
    bool did = KINDS[kind].begin(f, a);
    if (did) {
        f->fired[kind]++;
        tm_sim_say(f->sim, "fault %s node %u other %u side %x amount %llu", tm_sim_fault_name(kind),
                   a->node, a->other, a->side, (unsigned long long)a->amount);
    }
    if (!did || KINDS[kind].end == NULL)
        f->active_count--;
}

static void end_active(struct tm_sim_faults *f, unsigned i)
{
    struct active a = f->active[i];
    f->active[i] = f->active[--f->active_count];
    KINDS[a.kind].end(f, &a);
}

static void start(struct tm_sim_faults *f, unsigned node)
{
    f->absence[node].down = false;
    if (!tm_sim_start(f->sim, node))
        tm_sim_wrong(f->sim, "node %u does not start: %s", node, tm_sim_why(f->sim, node));
}

/* Nodes that are to come back, are asked to go, or went by themselves. */
static void attend(struct tm_sim_faults *f)
{
    uint64_t now = tm_sim_now(f->sim);
    for (unsigned i = 0; i < f->nodes; i++) {
        struct absence *b = &f->absence[i];
        bool up = tm_sim_is_up(f->sim, i);
        if (b->leaving && (!up || tm_sim_has_stopped(f->sim, i) || now >= b->until)) {
            bool ready = up && tm_sim_has_stopped(f->sim, i);
            if (!ready && f->config.memory)
                tm_sim_atlas_mark(&f->atlas, 1u << i);
            (void)tm_sim_finish_stop(f->sim, i);
            gone(f, i, now + 1 + draw(f, TM_SECONDS(2)));
        } else if (b->down && now >= b->until) {
            start(f, i);
        } else if (!up && !b->down && !b->dead) {
            tm_sim_wrong(f->sim, "node %u ended: %s", i, tm_sim_why(f->sim, i));
            b->dead = true;
        }
    }
}

static uint64_t next_moment(const struct tm_sim_faults *f)
{
    uint64_t next = f->review_at;
    for (unsigned k = 0; k < TM_SIM_FAULT_COUNT; k++)
        next = tm_min_u64(next, f->next[k]);
    for (unsigned i = 0; i < f->active_count; i++)
        next = tm_min_u64(next, f->active[i].until);
    for (unsigned i = 0; i < f->nodes; i++)
        if (f->absence[i].down)
            next = tm_min_u64(next, f->absence[i].until);
        else if (f->absence[i].leaving)
            next = tm_min_u64(next, tm_sim_now(f->sim) + TM_MS(1));
    return next;
}

static void act(struct tm_sim_faults *f)
{
    uint64_t now = tm_sim_now(f->sim);
    for (unsigned i = f->active_count; i-- > 0;)
        if (f->active[i].until <= now)
            end_active(f, i);
    attend(f);
    if (f->review_at <= now) {
        tm_sim_atlas_review(&f->atlas);
        f->review_at = now + REVIEW_NS;
    }
    for (unsigned k = 0; k < TM_SIM_FAULT_COUNT; k++)
        if (f->next[k] <= now)
            begin(f, (enum tm_sim_fault)k);
}

struct tm_sim_faults *tm_sim_faults_new(struct tm_sim *sim,
                                        const struct tm_sim_faults_config *config)
{
    struct tm_sim_faults *f = calloc(1, sizeof *f);
    TM_ASSERT(f != NULL);
    f->sim = sim;
    f->config = *config;
    f->nodes = tm_sim_config_of(sim)->nodes;
    tm_rng_seed(&f->rng, config->seed);
    tm_sim_atlas_init(&f->atlas, sim);
    for (unsigned k = 0; k < TM_SIM_FAULT_COUNT; k++) {
        TM_ASSERT(KINDS[k].begin != NULL);
        f->next[k] = next_of(f, k);
    }
    return f;
}

void tm_sim_faults_free(struct tm_sim_faults *f)
{
    free(f);
}

void tm_sim_faults_run(struct tm_sim_faults *f, uint64_t ns)
{
    uint64_t end = tm_sim_now(f->sim) + ns;
    while (tm_sim_now(f->sim) < end && tm_sim_wrongs(f->sim) == 0) {
        act(f);
        uint64_t next = tm_min_u64(tm_max_u64(next_moment(f), tm_sim_now(f->sim) + 1), end);
        tm_sim_run_for(f->sim, next - tm_sim_now(f->sim));
    }
}

/* Who stays away for ever: drawn, and kept if the others are enough. */
static uint32_t draw_dead(struct tm_sim_faults *f)
{
    uint32_t dead = 0;
    if (draw(f, 4) == 0)
        return 0;
    for (unsigned tries = 0; tries < 8; tries++) {
        uint32_t node = 1u << any_node(f);
        if (tm_sim_atlas_spares(&f->atlas, dead | node))
            dead |= node;
    }
    return dead;
}

void tm_sim_faults_heal(struct tm_sim_faults *f)
{
    while (f->active_count > 0)
        end_active(f, f->active_count - 1);
    for (unsigned k = 0; k < TM_SIM_FAULT_COUNT; k++)
        f->next[k] = UINT64_MAX;
    tm_sim_faults_run(f, draw(f, 2) * draw(f, TM_SECONDS(10)));
    tm_sim_atlas_review(&f->atlas);
    uint32_t dead = draw_dead(f);
    for (unsigned i = 0; i < f->nodes; i++) {
        if ((dead >> i & 1) != 0) {
            tm_sim_end(f->sim, i, TM_SIM_KILL);
            f->absence[i] = (struct absence){.dead = true};
        }
        tm_sim_clock_jump(f->sim, i, (int64_t)draw(f, 100) - tm_sim_clock_ahead(f->sim, i));
    }
    tm_sim_say(f->sim, "healed but for nodes %x", dead);
    tm_sim_faults_run(f, STOP_PATIENCE + TM_SECONDS(2));
}

const uint64_t *tm_sim_faults_fired(struct tm_sim_faults *f)
{
    return f->fired;
}
