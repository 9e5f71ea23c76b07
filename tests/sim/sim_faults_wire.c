/* Links between nodes: what befalls frames on one, on all of a node's, on all there are; and shapes
 * of cuts, of which several may be under way at a time. */
#include "tests/sim/sim_faults_internal.h"

#define RELIEF_NS TM_MS(1100) /* longer than a copy may be silent (--disk-stall-ms) */

/* ---- links ---- */

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
static void set_links(struct tm_sim_faults *f, const struct tm_sim_active *a, link_fn *set,
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

static bool begin_link(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    uint64_t wide = tm_sim_faults_draw(f, 3); /* one link, all of a node's, all */
    a->node = wide == 2 ? TM_SIM_NODES_MAX : tm_sim_any_node(f);
    a->other = wide >= 1 ? TM_SIM_NODES_MAX : tm_sim_any_node(f);
    if (a->node == a->other && wide == 0)
        return false;
    if (a->kind == TM_SIM_FAULT_CLOG)
        a->amount = a->until;
    else if (a->kind == TM_SIM_FAULT_DELAY)
        a->amount = TM_US(10) << tm_sim_faults_draw(f, 15);
    else
        a->amount = 1 + tm_sim_faults_draw(f, tm_sim_faults_draw(f, 2) == 0 ? 300 : 3000);
    set_links(f, a, link_of(a->kind), a->amount);
    return true;
}

static void end_link(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    set_links(f, a, link_of(a->kind), 0);
}

const struct tm_sim_fault_acts tm_sim_link_acts = {begin_link, end_link};

/* ---- cuts ---- */

/* The neighbours on each side that a node of a ring sees: with itself a majority. */
static unsigned ring_reach(unsigned nodes)
{
    return (nodes / 2 + 1) / 2;
}

bool tm_sim_fault_cuts(const struct tm_sim_faults *f, const struct tm_sim_active *a, unsigned from,
                       unsigned to)
{
    bool here = (a->side >> from & 1) != 0, there = (a->side >> to & 1) != 0;
    unsigned apart = (to + f->nodes - from) % f->nodes, reach = ring_reach(f->nodes);
    if (from == to)
        return false;
    switch (a->kind) {
    case TM_SIM_FAULT_CUT_ONE_WAY:
        return a->node == from && a->other == to;
    case TM_SIM_FAULT_FLAP:
        return (a->node == from && a->other == to) || (a->node == to && a->other == from);
    case TM_SIM_FAULT_ISOLATE:
    case TM_SIM_FAULT_RELIEF:
        return a->node == from || a->node == to;
    case TM_SIM_FAULT_SPLIT:
        return here != there;
    case TM_SIM_FAULT_BRIDGE: /* `node` alone reaches both sides */
        return here != there && a->node != from && a->node != to;
    case TM_SIM_FAULT_RING: /* each sees its neighbours, so that majorities differ */
        return apart > reach && f->nodes - apart > reach;
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
                cut |= tm_sim_fault_cuts(f, &f->active[n], i, k);
            tm_sim_cut(f->sim, i, k, cut);
        }
}

/* A bridge beside nobody, or to nobody, is none. */
static bool cuts_any(const struct tm_sim_faults *f, const struct tm_sim_active *a)
{
    for (unsigned i = 0; i < f->nodes; i++)
        for (unsigned k = 0; k < f->nodes; k++)
            if (tm_sim_fault_cuts(f, a, i, k))
                return true;
    return false;
}

static bool begin_cut(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    if (f->nodes < 2 || (a->kind == TM_SIM_FAULT_BRIDGE && f->nodes < 3) ||
        (a->kind == TM_SIM_FAULT_RING && f->nodes < 4))
        return false;
    a->node = tm_sim_any_node(f);
    a->other = (a->node + 1 + (unsigned)tm_sim_faults_draw(f, f->nodes - 1)) % f->nodes;
    a->side = (uint32_t)(1 + tm_sim_faults_draw(f, tm_sim_all_nodes(f) - 1));
    if (!cuts_any(f, a))
        return false;
    set_cuts(f);
    return true;
}

static void end_cut(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    a->kind = TM_SIM_FAULT_COUNT;
    set_cuts(f);
}

const struct tm_sim_fault_acts tm_sim_cut_acts = {begin_cut, end_cut};

/* A node is away for a while; as it comes back, another one goes: who has not caught up meets those
 * who were not there. */
static bool begin_relief(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    a->until += RELIEF_NS;
    return begin_cut(f, a);
}

static void end_relief(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    struct tm_sim_active gone = {.until = a->until + 2 * RELIEF_NS};
    unsigned node;
    bool kill = tm_sim_faults_draw(f, 2) == 0;
    end_cut(f, a);
    if (!f->healing && tm_sim_any_running(f, &node) && node != a->node)
        (void)tm_sim_end_nodes(f, 1u << node, kill ? TM_SIM_KILL : TM_SIM_POWER, &gone);
}

const struct tm_sim_fault_acts tm_sim_relief_acts = {begin_relief, end_relief};
