/* What goes wrong: a fault strikes about so often, and what it did is undone after a while.  Where
 * machines and disks fail, whose nodes end is up to the faults of that cluster (sim_faults.h). */
#include "tests/sim/sim_links_internal.h"

#include "actors/link_notes.h"
#include "actors/link_way.h"
#include "actors/shard_internal.h"

#include <inttypes.h>

static void undo_later(struct tm_sim_links_run *r, enum tm_sim_links_undo_kind kind,
                       unsigned cluster, unsigned node, uint64_t most_ms)
{
    TM_ASSERT(r->count < TM_SIM_LINKS_PENDING_MAX);
    r->pending[r->count++] = (struct tm_sim_links_undo){
        tm_sim_world_now(r->w) + TM_MS(1 + tm_rng_below(&r->rng, most_ms)), kind, cluster, node};
}

static void start(struct tm_sim_links_run *r, unsigned cluster, unsigned node)
{
    struct tm_sim *sim = tm_sim_world_cluster(r->w, cluster);
    if (((r->gone | r->away) >> cluster & 1) != 0)
        return;
    if (!tm_sim_is_up(sim, node) && !tm_sim_start(sim, node))
        tm_sim_wrong(sim, "node %s/%s does not start: %s", tm_sim_world_name(cluster),
                     tm_sim_node_name(node), tm_sim_why(sim, node));
}

void tm_sim_links_start_all(struct tm_sim_links_run *r, unsigned cluster)
{
    for (unsigned i = 0; i < r->plan->world.cluster[cluster].nodes; i++)
        start(r, cluster, i);
}

static void set_wire(struct tm_sim_links_run *r, unsigned from, unsigned to, unsigned lose)
{
    const struct tm_sim_world_config *c = &r->plan->world;
    for (unsigned i = 0; i < c->cluster[from].nodes; i++)
        for (unsigned k = 0; k < c->cluster[to].nodes; k++)
            *tm_sim_wire_link(tm_sim_world_wire(r->w), tm_sim_world_block(r->w, from, i),
                              tm_sim_world_block(r->w, to, k)) =
                (struct tm_sim_link){.lose = lose,
                                     .twice = lose / 2,
                                     .flip = lose / 4,
                                     .more_ns = lose > 0 ? TM_MS(5) : 0};
}

/* All clocks of the cluster are so far ahead, or a little more. */
static void set_clocks(struct tm_sim *sim, int64_t ms)
{
    for (unsigned i = 0; i < tm_sim_config_of(sim)->nodes; i++)
        tm_sim_clock_jump(sim, i, ms + (int64_t)tm_sim_draw(sim, 50) - tm_sim_clock_ahead(sim, i));
}

/* A line about the cluster's link to, or from, the other. */
static void say(struct tm_sim_links_run *r, unsigned cluster, const char *way, unsigned other,
                const char *what, const char *value)
{
    char name[64];
    if ((r->gone >> cluster & 1) != 0)
        return;
    snprintf(name, sizeof name, "op:%s:%s/%s", way, tm_sim_world_name(other), what);
    tm_sim_links_say(r, cluster, name, value);
}

static void undo(struct tm_sim_links_run *r, const struct tm_sim_links_undo *u)
{
    struct tm_sim *sim = tm_sim_world_cluster(r->w, u->cluster);
    switch (u->kind) {
    case TM_SIM_LINKS_UNDO_START:
        start(r, u->cluster, u->node);
        break;
    case TM_SIM_LINKS_UNDO_RESUME:
        if (tm_sim_is_up(sim, u->node))
            tm_sim_pause(sim, u->node, false);
        break;
    case TM_SIM_LINKS_UNDO_MEND_WIRE:
        tm_sim_world_cut(r->w, u->cluster, u->node, false);
        set_wire(r, u->cluster, u->node, 0);
        break;
    case TM_SIM_LINKS_UNDO_SLOW:
        tm_sim_slow(sim, u->node, 0);
        break;
    case TM_SIM_LINKS_UNDO_SKEW:
        set_clocks(sim, 0);
        r->skewed = false;
        break;
    case TM_SIM_LINKS_UNDO_PAUSE_OUT:
        say(r, u->cluster, "to", u->node, "paused", NULL);
        break;
    case TM_SIM_LINKS_UNDO_PAUSE_IN:
        say(r, u->cluster, "from", u->node, "paused", NULL);
        break;
    }
}

static void undo_due(struct tm_sim_links_run *r, uint64_t now)
{
    for (unsigned i = 0; i < r->count;) {
        if (r->pending[i].at > now) {
            i++;
            continue;
        }
        struct tm_sim_links_undo u = r->pending[i];
        r->pending[i] = r->pending[--r->count];
        undo(r, &u);
    }
}

static bool any_down(struct tm_sim *sim)
{
    for (unsigned i = 0; i < tm_sim_config_of(sim)->nodes; i++)
        if (!tm_sim_is_up(sim, i) || tm_sim_is_paused(sim, i))
            return true;
    return false;
}

static bool strike_node(struct tm_sim_links_run *r, enum tm_sim_links_fault fault, unsigned cluster,
                        unsigned node)
{
    struct tm_sim *sim = tm_sim_world_cluster(r->w, cluster);
    if (any_down(sim) || r->machines[cluster] != NULL)
        return false;
    if (fault == TM_SIM_LINKS_PAUSE) {
        tm_sim_pause(sim, node, true);
        undo_later(r, TM_SIM_LINKS_UNDO_RESUME, cluster, node, 2000);
        return true;
    }
    if (fault == TM_SIM_LINKS_STOP)
        (void)tm_sim_stop(sim, node, TM_SECONDS(2));
    else
        tm_sim_end(sim, node, fault == TM_SIM_LINKS_KILL ? TM_SIM_KILL : TM_SIM_POWER);
    undo_later(r, TM_SIM_LINKS_UNDO_START, cluster, node, 3000);
    return true;
}

static bool strike_cluster(struct tm_sim_links_run *r, unsigned cluster)
{
    struct tm_sim *sim = tm_sim_world_cluster(r->w, cluster);
    if (any_down(sim) || r->machines[cluster] != NULL)
        return false;
    for (unsigned i = 0; i < tm_sim_config_of(sim)->nodes; i++) {
        tm_sim_end(sim, i, tm_rng_below(&r->rng, 2) == 0 ? TM_SIM_KILL : TM_SIM_POWER);
        undo_later(r, TM_SIM_LINKS_UNDO_START, cluster, i, 5000);
    }
    return true;
}

/* The wire comes and goes, both ways. */
static bool strike_flap(struct tm_sim_links_run *r, unsigned a, unsigned b)
{
    uint64_t until = tm_sim_world_now(r->w) + TM_MS(200 + tm_rng_below(&r->rng, 1500));
    for (unsigned i = 0; i < r->count; i++)
        if (r->pending[i].kind == TM_SIM_LINKS_UNDO_MEND_WIRE)
            return false;
    while (tm_sim_world_now(r->w) < until && tm_sim_world_wrong(r->w)[0] == '\0') {
        bool cut = tm_rng_below(&r->rng, 2) == 0;
        tm_sim_world_cut(r->w, a, b, cut);
        tm_sim_world_cut(r->w, b, a, cut);
        tm_sim_world_run_for(r->w, TM_MS(1 + tm_rng_below(&r->rng, 100)));
    }
    tm_sim_world_cut(r->w, a, b, false);
    tm_sim_world_cut(r->w, b, a, false);
    return true;
}

static bool strike_slow(struct tm_sim_links_run *r, unsigned cluster, unsigned node)
{
    if (r->machines[cluster] != NULL)
        return false;
    tm_sim_slow(tm_sim_world_cluster(r->w, cluster), node, TM_US(20) << tm_rng_below(&r->rng, 10));
    undo_later(r, TM_SIM_LINKS_UNDO_SLOW, cluster, node, 4000);
    return true;
}

/* Further ahead than clusters bear: what is made there then is held by the others. */
static bool strike_skew(struct tm_sim_links_run *r, unsigned cluster)
{
    if (r->skewed)
        return false;
    r->skewed = true;
    set_clocks(tm_sim_world_cluster(r->w, cluster), 600 + (int64_t)tm_rng_below(&r->rng, 3000));
    undo_later(r, TM_SIM_LINKS_UNDO_SKEW, cluster, 0, 3000);
    return true;
}

static bool strike_clock(struct tm_sim_links_run *r, struct tm_sim *sim, unsigned node)
{
    if (r->skewed)
        return false;
    tm_sim_clock_jump(sim, node,
                      (int64_t)tm_rng_below(&r->rng, 400) - tm_sim_clock_ahead(sim, node));
    return true;
}

static bool strike_wire(struct tm_sim_links_run *r, enum tm_sim_links_fault fault, unsigned a,
                        unsigned b)
{
    bool both = fault == TM_SIM_LINKS_CUT;
    for (unsigned i = 0; i < r->count; i++)
        if (r->pending[i].kind == TM_SIM_LINKS_UNDO_MEND_WIRE)
            return false;
    if (fault == TM_SIM_LINKS_LOSSY)
        set_wire(r, a, b, 200 + (unsigned)tm_rng_below(&r->rng, 2000));
    else
        tm_sim_world_cut(r->w, a, b, true);
    if (both)
        tm_sim_world_cut(r->w, b, a, true);
    undo_later(r, TM_SIM_LINKS_UNDO_MEND_WIRE, a, b, 6000);
    if (both)
        undo_later(r, TM_SIM_LINKS_UNDO_MEND_WIRE, b, a, 6000);
    return true;
}

/* What a clock of the cluster says, ms; 0: no node has started. */
static uint64_t wall_of(struct tm_sim_links_run *r, unsigned cluster)
{
    struct tm_sim *sim = tm_sim_world_cluster(r->w, cluster);
    for (unsigned i = 0; i < tm_sim_config_of(sim)->nodes; i++)
        if (tm_sim_is_up(sim, i) && tm_sim_shard(sim, i, 0)->env.ctx != NULL)
            return tm_ctx_wall_ms(tm_sim_shard(sim, i, 0)->env.ctx);
    return 0;
}

/* An operator pauses a link for a while, at either end, has all compared, or has the target forget
 * where its streams stand. */
static bool strike_operator(struct tm_sim_links_run *r, unsigned a, unsigned b)
{
    char value[32];
    if ((r->plan->world.to[a] >> b & 1) == 0 || wall_of(r, b) == 0 ||
        r->plan->loss != TM_SIM_LINKS_NO_LOSS)
        return false;
    switch (tm_rng_below(&r->rng, 4)) {
    case 0:
        say(r, a, "to", b, "paused", "yes");
        undo_later(r, TM_SIM_LINKS_UNDO_PAUSE_OUT, a, b, 3000);
        break;
    case 1:
        say(r, b, "from", a, "paused", "yes");
        undo_later(r, TM_SIM_LINKS_UNDO_PAUSE_IN, b, a, 3000);
        break;
    case 2:
        snprintf(value, sizeof value, "%u", ++r->resyncs);
        say(r, a, "to", b, "resync", value);
        break;
    default:
        snprintf(value, sizeof value, "%016" PRIx64, wall_of(r, b) << 16);
        say(r, b, "from", a, "rewind", value);
    }
    return true;
}

static bool strike(struct tm_sim_links_run *r, enum tm_sim_links_fault fault)
{
    unsigned clusters = r->plan->world.clusters, a = (unsigned)tm_rng_below(&r->rng, clusters);
    unsigned b = (a + 1 + (unsigned)tm_rng_below(&r->rng, clusters - 1)) % clusters;
    const struct tm_sim_config *c = &r->plan->world.cluster[a];
    struct tm_sim *sim = tm_sim_world_cluster(r->w, a);
    unsigned node = (unsigned)tm_rng_below(&r->rng, c->nodes);
    uint32_t partition = (uint32_t)tm_rng_below(&r->rng, c->partitions + 1);
    switch (fault) {
    case TM_SIM_LINKS_KILL:
    case TM_SIM_LINKS_POWER:
    case TM_SIM_LINKS_STOP:
    case TM_SIM_LINKS_PAUSE:
        return strike_node(r, fault, a, node);
    case TM_SIM_LINKS_CLUSTER:
        return strike_cluster(r, a);
    case TM_SIM_LINKS_CUT:
    case TM_SIM_LINKS_HALF_CUT:
    case TM_SIM_LINKS_LOSSY:
        return strike_wire(r, fault, a, b);
    case TM_SIM_LINKS_CLOCK: /* within what clusters bear of each other */
        return strike_clock(r, sim, node);
    case TM_SIM_LINKS_FLAP:
        return strike_flap(r, a, b);
    case TM_SIM_LINKS_SLOW:
        return strike_slow(r, a, node);
    case TM_SIM_LINKS_SKEW:
        return strike_skew(r, a);
    case TM_SIM_LINKS_OPERATOR:
        return strike_operator(r, a, b);
    case TM_SIM_LINKS_TRANSFER:
        return tm_sim_transfer(sim, node, partition, (unsigned)tm_rng_below(&r->rng, c->nodes));
    case TM_SIM_LINKS_SNAPSHOT:
        return tm_sim_snapshot(sim, node, partition);
    case TM_SIM_LINKS_FAULT_COUNT:
        break;
    }
    return false;
}

static void draw_next(struct tm_sim_links_run *r, unsigned fault)
{
    uint64_t mean = r->plan->fault_mean_ns[fault];
    r->next[fault] = mean == 0
                         ? UINT64_MAX
                         : tm_sim_world_now(r->w) + mean / 4 + tm_rng_below(&r->rng, mean * 3 / 2);
}

static void begin_machines(struct tm_sim_links_run *r)
{
    struct tm_sim_faults_config c = r->plan->machines;
    for (unsigned i = 0; r->plan->has_machines && i < r->plan->world.clusters; i++) {
        if (r->plan->world.cluster[i].nodes < 3)
            continue;
        c.seed++;
        r->machines[i] = tm_sim_faults_new(tm_sim_world_cluster(r->w, i), &c);
        tm_sim_faults_begin(r->machines[i]);
    }
}

void tm_sim_links_faults_begin(struct tm_sim_links_run *r)
{
    for (unsigned k = 0; k < TM_SIM_LINKS_FAULT_COUNT; k++)
        draw_next(r, k);
    begin_machines(r);
}

void tm_sim_links_faults_act(struct tm_sim_links_run *r)
{
    undo_due(r, tm_sim_world_now(r->w));
    for (unsigned i = 0; i < r->plan->world.clusters; i++)
        if (r->machines[i] != NULL)
            tm_sim_faults_act(r->machines[i]);
    for (unsigned k = 0; k < TM_SIM_LINKS_FAULT_COUNT; k++) {
        if (r->next[k] > tm_sim_world_now(r->w))
            continue;
        r->out->fired[k] += strike(r, (enum tm_sim_links_fault)k);
        draw_next(r, k);
    }
}

void tm_sim_links_make_well(struct tm_sim_links_run *r)
{
    for (unsigned i = 0; i < r->plan->world.clusters; i++)
        for (unsigned j = 0; j < r->plan->world.clusters; j++) {
            if (i == j)
                continue;
            tm_sim_world_cut(r->w, i, j, false);
            set_wire(r, i, j, 0);
        }
    for (unsigned i = 0; i < r->plan->world.clusters; i++)
        if (r->machines[i] == NULL)
            tm_sim_links_start_all(r, i);
}

void tm_sim_links_faults_heal(struct tm_sim_links_run *r)
{
    undo_due(r, UINT64_MAX);
    for (unsigned k = 0; k < TM_SIM_LINKS_FAULT_COUNT; k++)
        r->next[k] = UINT64_MAX;
    for (unsigned i = 0; i < r->plan->world.clusters; i++)
        if (r->machines[i] != NULL)
            tm_sim_faults_heal(r->machines[i]);
    tm_sim_links_make_well(r);
}

/* As docs/OPERATIONS.md says: a node whose file of clusters met is damaged is started without it.
 */
static void mend_notes(struct tm_sim_links_run *r, unsigned cluster, unsigned node)
{
    struct tm_sim *sim = tm_sim_world_cluster(r->w, cluster);
    const struct tm_shard *s = tm_sim_is_up(sim, node) ? tm_sim_shard(sim, node, 0) : NULL;
    if (s == NULL || s->way == NULL || tm_link_way_begun(s->way) || s->env.origin == 0)
        return;
    tm_sim_say(sim, "%s/%s is started anew without its file of clusters met",
               tm_sim_world_name(cluster), tm_sim_node_name(node));
    tm_sim_end(sim, node, TM_SIM_KILL);
    tm_sim_disk_remove(tm_sim_disk_of(sim, node), TM_LINK_NOTES_FILE);
    start(r, cluster, node);
}

void tm_sim_links_mend_notes(struct tm_sim_links_run *r)
{
    for (unsigned i = 0; i < r->plan->world.clusters; i++)
        for (unsigned k = 0; k < r->plan->world.cluster[i].nodes; k++)
            mend_notes(r, i, k);
}

void tm_sim_links_faults_free(struct tm_sim_links_run *r)
{
    for (unsigned i = 0; i < r->plan->world.clusters; i++)
        if (r->machines[i] != NULL) {
            const uint64_t *fired = tm_sim_faults_fired(r->machines[i]);
            for (unsigned k = 0; k < TM_SIM_FAULT_COUNT; k++)
                r->out->machines[k] += fired[k];
            tm_sim_faults_free(r->machines[i]);
        }
}
