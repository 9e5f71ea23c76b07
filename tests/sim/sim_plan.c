/* First the shape, then the world it lives in, then what clients do, then which kinds of faults the
 * run has: about a third of all, so that runs with few kinds and runs with many are both common. */
#include "tests/sim/sim_plan.h"

#include "runtime/rng.h"

#include <stdio.h>

static const struct {
    uint64_t mean_lo_s, mean_hi_s, most_ms;
} KINDS[] = {
#define X(kind, word, acts, lo, hi, ms) {lo, hi, ms},
    TM_SIM_FAULTS(X)
#undef X
};

static unsigned pick(struct tm_rng *rng, const unsigned *choices, unsigned count)
{
    return choices[tm_rng_below(rng, count)];
}

#define PICK(rng, ...)                                                                             \
    pick(rng, (const unsigned[]){__VA_ARGS__},                                                     \
         sizeof((const unsigned[]){__VA_ARGS__}) / sizeof(unsigned))

static void draw_shape(struct tm_sim_config *c, struct tm_rng *rng)
{
    c->nodes = PICK(rng, 1, 2, 3, 3, 3, 3, 4, 5, 5, 6, 7);
    c->copies = PICK(rng, 1, 2, 2, 3, 3, 3, 3, 4, 5);
    if (c->copies > c->nodes)
        c->copies = c->nodes;
    c->partitions = PICK(rng, 1, 2, 4, 8, 12, 16);
    for (unsigned i = 0; i < TM_SIM_NODES_MAX; i++)
        c->workers[i] = PICK(rng, 1, 1, 2, 2, 3, 4);
    if (tm_rng_chance(rng, 3, 4)) /* nodes are mostly alike */
        for (unsigned i = 1; i < TM_SIM_NODES_MAX; i++)
            c->workers[i] = c->workers[0];
    c->eventual = tm_rng_chance(rng, 1, 6);
    c->options.durability = tm_rng_chance(rng, 1, 6) ? TM_DURABILITY_MEMORY : TM_DURABILITY_DISK;
}

static void draw_world(struct tm_sim_config *c, struct tm_rng *rng)
{
    c->wire.max_frame = PICK(rng, 1400, 1400, 4000, 9000);
    c->wire.min_ns = TM_US(PICK(rng, 2, 10, 50));
    c->wire.max_ns = c->wire.min_ns + TM_US(PICK(rng, 10, 100, 1000));
    c->wire.silent = tm_rng_chance(rng, 1, 3);
    c->disk_min_ns = TM_US(PICK(rng, 5, 20, 50));
    c->disk_max_ns = c->disk_min_ns + TM_US(PICK(rng, 50, 300, 2000));
    c->turn_ns = TM_US(PICK(rng, 5, 10, 100));
    c->options.wal_segment_bytes = TM_KIB(PICK(rng, 256, 512, 1024));
    c->options.wal_bytes = c->options.wal_segment_bytes * PICK(rng, 4, 6, 8, 16);
    c->sync = tm_rng_chance(rng, 1, 3) ? TM_WAL_FSYNC : TM_WAL_DSYNC;
    c->options.solo = tm_rng_chance(rng, 1, 5) ? TM_SOLO_STOP : TM_SOLO_SERVE;
}

/* Both together ask about a hundred times a second. */
static void draw_load(struct tm_sim_load_config *l, struct tm_rng *rng)
{
    l->clients = PICK(rng, 2, 4, 8);
    l->registers = PICK(rng, 1, 3, 6);
    l->counters = PICK(rng, 1, 4, 8);
    l->value_bytes = PICK(rng, 8, 200, 2000);
    l->pause_ns = TM_MS(80) * l->clients;
}

/* Some six calls a second. */
static void draw_census(struct tm_sim_census_config *c, struct tm_rng *rng)
{
    c->clients = PICK(rng, 0, 1, 2, 4);
    c->keys = PICK(rng, 4, 16, 64);
    c->pause_ns = TM_MS(160) * (c->clients + 1);
    c->patience_ns = TM_SECONDS(PICK(rng, 2, 12));
}

static void draw_work(struct tm_sim_work_config *w, struct tm_rng *rng)
{
    w->clients = PICK(rng, 4, 8, 16, 32);
    w->calls_per_s = 65;
    w->ahead = PICK(rng, 1, 1, 2, 4, 8);
    w->groups = PICK(rng, 1, 4, 16);
    w->registers = w->groups * PICK(rng, 6, 12, 36);
    w->hot = PICK(rng, 0, 20, 60, 90);
    w->share[TM_SIM_READ] = PICK(rng, 10, 40, 80);
    w->share[TM_SIM_WRITE] = PICK(rng, 20, 50);
    w->share[TM_SIM_WRITE_NEW] = PICK(rng, 0, 10);
    w->share[TM_SIM_REMOVE] = PICK(rng, 0, 5, 20);
    w->share[TM_SIM_ADD] = PICK(rng, 10, 50);
    w->share[TM_SIM_EXPECT] = PICK(rng, 0, 10, 40);
    w->multi = PICK(rng, 0, 10, 50);
    w->ttl = PICK(rng, 0, 0, 10, 50);
    w->share[TM_SIM_EXPIRE] = PICK(rng, 0, 0, 5, 20);
    w->share[TM_SIM_PERSIST] = PICK(rng, 0, 5);
    w->share[TM_SIM_TTL] = PICK(rng, 0, 10);
    w->many = PICK(rng, 0, 10, 40);
    w->scatter = PICK(rng, 0, 50);
    w->flush = PICK(rng, 0, 0, 0, 0, 30, 150);
    w->resp3 = PICK(rng, 0, 50, 100);
    w->retry = PICK(rng, 0, 50, 100);
    w->fill = PICK(rng, 0, 20, 20, 200, 1000);
    w->patience_ns = TM_MS(PICK(rng, 200, 2000, 12000));
}

/* One in eight has clients that think about what they watch, for longer than a leader may lead.
 * Drawn by a generator of its own: all else of a seed stays as it was. */
static void draw_linger(struct tm_sim_work_config *w, uint64_t seed)
{
    struct tm_rng rng;
    tm_rng_seed(&rng, seed ^ 0x700000);
    if (!tm_rng_chance(&rng, 1, 8))
        return;
    w->linger_ns = TM_MS(PICK(&rng, 500, 3000, 12000));
    w->share[TM_SIM_EXPECT] += 40;
}

/* What a failover may lose, and in half of those clusters values that fill it while a leader cannot
 * commit; by a generator of its own, too. */
static void draw_window(struct tm_sim_plan *plan, uint64_t seed)
{
    struct tm_options *o = &plan->cluster.options;
    struct tm_rng rng;
    tm_rng_seed(&rng, seed ^ 0x77000000);
    if (!plan->cluster.eventual)
        return;
    o->async_window_bytes = TM_KIB(PICK(&rng, 64, 64, 64, 256, 1024, 16384));
    o->async_window_ms = PICK(&rng, 100, 300, 1000, 3000, 10000);
    if (!tm_rng_chance(&rng, 1, 2))
        return;
    plan->work.fill = 4000;
    plan->work.calls_per_s = 300;
}

/* Of half of the eventual clusters it can be told what has to be there in the end. */
static void simplify(struct tm_sim_work_config *w)
{
    w->share[TM_SIM_WRITE_NEW] = w->share[TM_SIM_REMOVE] = w->share[TM_SIM_EXPECT] = 0;
    w->share[TM_SIM_EXPIRE] = w->ttl = w->flush = 0;
}

static void draw_rate(struct tm_sim_faults_config *f, struct tm_rng *rng, unsigned kind)
{
    uint64_t mean =
        tm_rng_between(rng, TM_SECONDS(KINDS[kind].mean_lo_s), TM_SECONDS(KINDS[kind].mean_hi_s));
    f->rate[kind] = (struct tm_sim_fault_rate){
        .mean_ns = mean, .most_ns = TM_MS(1) + tm_rng_below(rng, TM_MS(KINDS[kind].most_ms) + 1)};
}

/* Half of those with witnesses have ambushes, and disks that are slow enough for them; by a
 * generator of its own, too. */
static void draw_ambush(struct tm_sim_plan *plan, uint64_t seed)
{
    struct tm_rng rng;
    tm_rng_seed(&rng, seed ^ 0x4900000);
    if (plan->cluster.copies != 2 || plan->cluster.nodes < 3 || plan->faults.memory ||
        !tm_rng_chance(&rng, 1, 2))
        return;
    draw_rate(&plan->faults, &rng, TM_SIM_FAULT_AMBUSH);
    plan->cluster.disk_max_ns = TM_MS(PICK(&rng, 5, 20, 40));
}

/* A quarter of all runs has each of the later kinds; by a generator of their own, too.  None lasts
 * longer than most of the run. */
static void draw_later(struct tm_sim_faults_config *f, uint64_t seed, uint64_t run_ns)
{
    struct tm_rng rng;
    tm_rng_seed(&rng, ~seed);
    TM_STATIC_ASSERT(TM_SIM_FAULT_ROT_GAP + 1 == TM_SIM_FAULT_COUNT, "drawn by itself");
    for (unsigned k = TM_SIM_FAULT_LATER; k < TM_SIM_FAULT_ROT_GAP; k++) {
        bool has = tm_rng_chance(&rng, 25, 100);
        draw_rate(f, &rng, k);
        f->rate[k].most_ns = tm_min_u64(f->rate[k].most_ns, run_ns / 5 * 4);
        if (!has)
            f->rate[k].mean_ns = 0;
    }
}

/* One in ten of strong clusters of several nodes is flushed about twice in three seconds, while
 * leaders are cut off from the others: what one of them flushed alone has to come back.  By a
 * generator of its own, too. */
static void draw_flushes(struct tm_sim_plan *plan, uint64_t seed)
{
    struct tm_rng rng;
    tm_rng_seed(&rng, seed ^ 0xf1000000);
    if (plan->cluster.eventual || plan->cluster.nodes < 3 || !tm_rng_chance(&rng, 1, 10))
        return;
    plan->work.flush = 1000;
    for (unsigned k = TM_SIM_FAULT_ISOLATE; k <= TM_SIM_FAULT_SPLIT; k++)
        draw_rate(&plan->faults, &rng, k);
}

/* One in eight of strong clusters with three copies or more; by a generator of its own, too. */
static void draw_gaps(struct tm_sim_plan *plan, uint64_t seed)
{
    struct tm_rng rng;
    tm_rng_seed(&rng, seed ^ UINT64_C(0x468000000000));
    if (!plan->cluster.eventual && plan->cluster.copies >= 3 && !plan->faults.memory &&
        tm_rng_chance(&rng, 1, 8))
        draw_rate(&plan->faults, &rng, TM_SIM_FAULT_ROT_GAP);
}

static void draw_faults(struct tm_sim_faults_config *f, struct tm_rng *rng)
{
    uint64_t share = 5 + tm_rng_below(rng, 60); /* of 100 kinds */
    TM_STATIC_ASSERT(TM_SIM_FAULT_AMBUSH + 1 == TM_SIM_FAULT_LATER, "drawn by itself");
    for (unsigned k = 0; k < TM_SIM_FAULT_AMBUSH; k++) {
        bool has = tm_rng_chance(rng, share, 100);
        draw_rate(f, rng, k);
        if (!has)
            f->rate[k].mean_ns = 0;
    }
    f->haste = PICK(rng, 1, 4, 16, 64);
    f->calm_ns = TM_SECONDS(PICK(rng, 5, 15, 40));
    f->storm_ns = TM_MS(PICK(rng, 300, 1000, 3000));
}

void tm_sim_plan_draw(struct tm_sim_plan *plan, uint64_t seed, uint64_t run_ns)
{
    struct tm_rng rng;
    tm_rng_seed(&rng, seed);
    *plan = (struct tm_sim_plan){.seed = seed, .run_ns = run_ns, .rest_ns = TM_SECONDS(120)};
    tm_sim_config_default(&plan->cluster, tm_rng_next(&rng));
    plan->cluster.log = NULL;
    draw_shape(&plan->cluster, &rng);
    draw_world(&plan->cluster, &rng);
    draw_load(&plan->load, &rng);
    draw_census(&plan->census, &rng);
    draw_work(&plan->work, &rng);
    draw_linger(&plan->work, seed);
    if (plan->cluster.eventual && tm_rng_chance(&rng, 1, 2))
        simplify(&plan->work);
    draw_window(plan, seed);
    plan->born_in_peace = tm_rng_chance(&rng, 3, 4);
    plan->faults.seed = tm_rng_next(&rng);
    plan->faults.memory = plan->cluster.options.durability == TM_DURABILITY_MEMORY;
    draw_faults(&plan->faults, &rng);
    draw_ambush(plan, seed);
    draw_flushes(plan, seed);
    draw_later(&plan->faults, seed, run_ns);
    draw_gaps(plan, seed);
    if (seed % 2 == 0) { /* not drawn: all else of a seed stays as it was */
        plan->cluster.options.scrub_interval_ms = 4000;
        plan->cluster.options.scrub_rate = TM_MIB(4);
    }
}

bool tm_sim_plan_turns_clocks(const struct tm_sim_plan *plan)
{
    static const enum tm_sim_fault turns[] = {TM_SIM_FAULT_CLOCK_JUMP, TM_SIM_FAULT_CLOCK_RATE,
                                              TM_SIM_FAULT_SUSPEND, TM_SIM_FAULT_DRIFT};
    for (unsigned i = 0; i < TM_ARRAY_LEN(turns); i++)
        if (plan->faults.rate[turns[i]].mean_ns != 0)
            return true;
    return false;
}

void tm_sim_plan_text(const struct tm_sim_plan *plan, char *text, size_t size)
{
    const struct tm_sim_config *c = &plan->cluster;
    int n = snprintf(
        text, size,
        "nodes=%u copies=%u partitions=%u workers=%u %s %s solo=%s segment=%lluk "
        "wal=%lluk window=%lluk,%llums clients=%u registers=%u fill=%u linger=%llums flush=%u "
        "storms=%u "
        "faults:",
        c->nodes, c->copies, c->partitions, c->workers[0], c->eventual ? "eventual" : "strong",
        plan->faults.memory ? "memory" : "disk", c->options.solo == TM_SOLO_STOP ? "stop" : "serve",
        (unsigned long long)c->options.wal_segment_bytes / 1024,
        (unsigned long long)c->options.wal_bytes / 1024,
        (unsigned long long)c->options.async_window_bytes / 1024,
        (unsigned long long)c->options.async_window_ms, plan->work.clients, plan->work.registers,
        plan->work.fill, (unsigned long long)(plan->work.linger_ns / TM_MS(1)), plan->work.flush,
        plan->faults.haste);
    for (unsigned k = 0; k < TM_SIM_FAULT_COUNT; k++)
        if (plan->faults.rate[k].mean_ns != 0 && n > 0 && (size_t)n < size)
            n += snprintf(text + n, size - (size_t)n, " %s", tm_sim_fault_name(k));
}
