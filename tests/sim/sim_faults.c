/* The driver sleeps until the next moment of any kind, or the end of a fault under way.  A fault
 * draws its victims; where the atlas says no, or nobody fits, it does not happen this time. */
#include "tests/sim/sim_faults_internal.h"

#include <stdlib.h>

#define REVIEW_NS TM_MS(250)

const char *tm_sim_fault_name(enum tm_sim_fault kind)
{
    static const char *const names[] = {
#define X(kind, word, ...) word,
        TM_SIM_FAULTS(X)
#undef X
    };
    return names[kind];
}

static const struct tm_sim_fault_acts *const ACTS[] = {
#define X(kind, word, acts, ...) &tm_sim_##acts##_acts,
    TM_SIM_FAULTS(X)
#undef X
};

static uint64_t next_of(struct tm_sim_faults *f, unsigned kind)
{
    uint64_t mean = f->config.rate[kind].mean_ns;
    if (mean == 0 || f->healing)
        return UINT64_MAX;
    if (f->storm)
        mean /= f->config.haste;
    f->later_draws = kind >= TM_SIM_FAULT_LATER;
    uint64_t next = tm_sim_now(f->sim) + 1 + tm_sim_faults_draw(f, 2 * mean);
    f->later_draws = false;
    return next;
}

static void begin(struct tm_sim_faults *f, enum tm_sim_fault kind)
{
    uint64_t now = tm_sim_now(f->sim);
    f->next[kind] = next_of(f, kind);
    if (f->active_count == TM_SIM_ACTIVE_MAX)
        return;
    f->later_draws = kind >= TM_SIM_FAULT_LATER;
    struct tm_sim_active *a = &f->active[f->active_count++];
    *a = (struct tm_sim_active){
        .kind = kind, .until = now + 1 + tm_sim_faults_draw(f, f->config.rate[kind].most_ns)};
    bool did = ACTS[kind]->begin(f, a);
    if (did) {
        f->fired[kind]++;
        tm_sim_say(f->sim, "fault %s node %u other %u side %x amount %llu for %llu ms",
                   tm_sim_fault_name(kind), a->node, a->other, a->side,
                   (unsigned long long)a->amount, (unsigned long long)(a->until - now) / 1000000);
    }
    if (!did || ACTS[kind]->end == NULL) /* an ambush may have fallen meanwhile, and stand last */
        *a = f->active[--f->active_count];
    f->later_draws = false;
}

static void end_active(struct tm_sim_faults *f, unsigned i)
{
    struct tm_sim_active a = f->active[i];
    f->active[i] = f->active[--f->active_count];
    ACTS[a.kind]->end(f, &a);
}

static void draw_moments(struct tm_sim_faults *f)
{
    for (unsigned k = 0; k < TM_SIM_FAULT_COUNT; k++)
        f->next[k] = next_of(f, k);
}

static void change_weather(struct tm_sim_faults *f)
{
    uint64_t mean = f->storm ? f->config.calm_ns : f->config.storm_ns;
    f->storm = !f->storm;
    f->weather_at = tm_sim_now(f->sim) + 1 + tm_sim_faults_draw(f, 2 * mean);
    tm_sim_say(f->sim, "%s", f->storm ? "a storm begins" : "the storm is over");
    draw_moments(f);
}

static uint64_t next_moment(const struct tm_sim_faults *f)
{
    uint64_t next = tm_min_u64(tm_min_u64(f->review_at, f->weather_at), tm_sim_attend_at(f));
    for (unsigned k = 0; k < TM_SIM_FAULT_COUNT; k++)
        next = tm_min_u64(next, f->next[k]);
    for (unsigned i = 0; i < f->active_count; i++)
        next = tm_min_u64(next, f->active[i].until);
    return next;
}

void tm_sim_faults_act(struct tm_sim_faults *f)
{
    uint64_t now = tm_sim_now(f->sim);
    for (unsigned i = f->active_count; i-- > 0;)
        if (i < f->active_count && f->active[i].until <= now)
            end_active(f, i);
    tm_sim_attend(f);
    if (f->review_at <= now) {
        tm_sim_faults_review(f);
        f->review_at = now + REVIEW_NS;
    }
    if (f->weather_at <= now)
        change_weather(f);
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
    tm_rng_seed(&f->later, ~config->seed);
    tm_sim_atlas_init(&f->atlas, sim);
    for (unsigned k = 0; k < TM_SIM_FAULT_COUNT; k++)
        f->next[k] = UINT64_MAX;
    f->weather_at = UINT64_MAX;
    if (config->rate[TM_SIM_FAULT_AMBUSH].mean_ns != 0)
        tm_sim_ambush_prepare(f);
    return f;
}

void tm_sim_faults_begin(struct tm_sim_faults *f)
{
    draw_moments(f);
    if (f->config.haste > 1)
        f->weather_at = tm_sim_now(f->sim) + 1 + tm_sim_faults_draw(f, 2 * f->config.calm_ns);
}

void tm_sim_faults_free(struct tm_sim_faults *f)
{
    free(f->lone);
    free(f);
}

void tm_sim_faults_run(struct tm_sim_faults *f, uint64_t ns)
{
    uint64_t end = tm_sim_now(f->sim) + ns;
    while (tm_sim_now(f->sim) < end && tm_sim_wrongs(f->sim) == 0) {
        tm_sim_faults_act(f);
        uint64_t next = tm_min_u64(tm_max_u64(next_moment(f), tm_sim_now(f->sim) + 1), end);
        tm_sim_run_for(f->sim, next - tm_sim_now(f->sim));
    }
}

/* Who stays away for ever: drawn, and kept if the others are enough. */
static uint32_t draw_dead(struct tm_sim_faults *f)
{
    uint32_t dead = 0;
    if (tm_sim_faults_draw(f, 4) == 0)
        return 0;
    for (unsigned tries = 0; tries < 8; tries++) {
        uint32_t node = 1u << tm_sim_any_node(f);
        if (tm_sim_atlas_spares(&f->atlas, dead | node))
            dead |= node;
    }
    return dead;
}

void tm_sim_faults_heal(struct tm_sim_faults *f)
{
    f->healing = true;
    f->weather_at = UINT64_MAX;
    for (unsigned k = 0; k < TM_SIM_FAULT_COUNT; k++)
        f->next[k] = UINT64_MAX;
    while (f->active_count > 0)
        end_active(f, f->active_count - 1);
    tm_sim_faults_run(f, tm_sim_faults_draw(f, 2) * tm_sim_faults_draw(f, TM_SECONDS(10)));
    tm_sim_atlas_review(&f->atlas);
    uint32_t dead = draw_dead(f);
    tm_sim_atlas_expect(&f->atlas, dead); /* what the others have in memory may be needed now */
    for (unsigned i = 0; i < f->nodes; i++) {
        if ((dead >> i & 1) != 0) {
            tm_sim_end(f->sim, i, TM_SIM_KILL);
            f->absence[i] = (struct tm_sim_absence){.dead = true};
        }
        struct tm_sim_disk *disk = tm_sim_disk_of(f->sim, i);
        if (tm_sim_disk_will_die(disk) &&
            !tm_sim_disk_has_died(disk)) /* a start too short for it */
            tm_sim_disk_die_after(disk, 0, NULL);
        int64_t ms = (int64_t)tm_sim_faults_draw(f, 100) - tm_sim_clock_ahead(f->sim, i);
        tm_sim_clock_jump(f->sim, i, ms);
    }
    tm_sim_say(f->sim, "healed, but for nodes %x", dead);
}

const uint64_t *tm_sim_faults_fired(struct tm_sim_faults *f)
{
    return f->fired;
}
