/* A run has four parts: the cluster comes up; clients and faults have their time; what is left is
 * healed and comes to rest; what clients know is compared with what is there.  It ends at the first
 * rule that is broken. */
#include "tests/sim/sim_run.h"

#include "tests/sim/sim_oracle.h"
#include "tests/sim/sim_stamps.h"

#include <stdlib.h>

#define COME_UP_NS TM_SECONDS(30)
#define ANSWER_NS  TM_SECONDS(30)
#define HEAL_NS    TM_SECONDS(10)
#define LOOK_NS    TM_MS(50)
#define CHECKS_MAX 16

#define ORACLE  0
#define HISTORY 1
static const struct tm_sim_check *const CHECKS[] = {&tm_sim_oracle_check, &tm_sim_history_check,
                                                    &tm_sim_stamps_check, NULL};

struct run {
    const struct tm_sim_plan *plan;
    struct tm_sim *sim;
    struct tm_sim_load *load; /* NULL: of an eventual cluster, or one that is flushed */
    struct tm_sim_work *work;
    struct tm_sim_census *census; /* NULL: as load */
    struct tm_sim_faults *faults;
    struct tm_sim_snapshots_stats snapshots;
    void *check[CHECKS_MAX];
    struct tm_sim_calls calls[CHECKS_MAX];
};

static bool well(const struct run *r)
{
    return tm_sim_wrongs(r->sim) == 0;
}

static bool converged(struct run *r, char *why, size_t size)
{
    return tm_sim_converged(r->sim, why, size);
}

static bool answered(struct run *r, char *why, size_t size)
{
    bool done = tm_sim_work_stop(r->work);
    if (r->load != NULL)
        done &= tm_sim_load_stop(r->load);
    if (r->census != NULL)
        done &= tm_sim_census_stop(r->census);
    if (!done)
        snprintf(why, size, "a call is not answered");
    return done;
}

/* Waits for `what`; it is wrong if that takes longer than ns. */
static void await(struct run *r, bool (*what)(struct run *r, char *why, size_t size), uint64_t ns)
{
    char why[512] = "";
    uint64_t end = tm_sim_now(r->sim) + ns;
    while (well(r) && !what(r, why, sizeof why)) {
        if (tm_sim_now(r->sim) >= end)
            tm_sim_wrong(r->sim, "after %u s: %s", (unsigned)(ns / TM_SECONDS(1)), why);
        tm_sim_faults_run(r->faults, LOOK_NS);
    }
}

static void come_up(struct run *r)
{
    for (unsigned i = 0; i < r->plan->cluster.nodes; i++) {
        if (!tm_sim_start(r->sim, i))
            tm_sim_wrong(r->sim, "node %u does not start: %s", i, tm_sim_why(r->sim, i));
        tm_sim_run_for(r->sim, tm_sim_draw(r->sim, TM_MS(200)));
    }
    r->faults = tm_sim_faults_new(r->sim, &r->plan->faults);
    if (r->plan->born_in_peace)
        await(r, converged, COME_UP_NS);
    tm_sim_faults_begin(r->faults);
}

static void start_clients(struct run *r)
{
    if (!r->plan->cluster.eventual && r->plan->work.flush == 0)
        r->load = tm_sim_load_new(r->sim, &r->plan->load);
    if (r->load != NULL && r->plan->census.clients > 0)
        r->census = tm_sim_census_new(r->sim, r->check[ORACLE], &r->plan->census);
    r->work = tm_sim_work_new(r->sim, &r->plan->work);
    for (unsigned i = 0; CHECKS[i] != NULL; i++)
        tm_sim_work_listen(r->work, &r->calls[i]);
}

/* Everything that is left loses power at once, right after snapshots were asked for: what is on
 * disk, snapshots and logs, gives the same tables again (the oracle compares states by index). */
static void all_over_again(struct run *r)
{
    const struct tm_sim_config *c = &r->plan->cluster;
    uint32_t up = 0;
    if (r->plan->faults.memory || tm_sim_draw(r->sim, 2) == 0)
        return;
    for (unsigned i = 0; i < c->nodes; i++)
        for (uint32_t p = 0; tm_sim_is_up(r->sim, i) && p <= c->partitions; p++)
            (void)tm_sim_snapshot(r->sim, i, p);
    tm_sim_faults_run(r->faults, tm_sim_draw(r->sim, TM_SECONDS(1)));
    for (unsigned i = 0; i < c->nodes; i++)
        up |= (uint32_t)tm_sim_is_up(r->sim, i) << i;
    for (unsigned i = 0; i < c->nodes; i++)
        if ((up >> i & 1) != 0)
            tm_sim_end(r->sim, i, TM_SIM_POWER);
    for (unsigned i = 0; i < c->nodes; i++)
        if ((up >> i & 1) != 0 && !tm_sim_start(r->sim, i))
            tm_sim_wrong(r->sim, "node %u does not start: %s", i, tm_sim_why(r->sim, i));
    await(r, converged, r->plan->rest_ns);
}

static void compare_snapshots(struct run *r)
{
    r->snapshots = tm_sim_snapshots_compare(r->sim);
    if (well(r) && r->snapshots.compared == 0 && !r->plan->faults.memory)
        tm_sim_wrong(r->sim, "no snapshot was compared with its table");
}

static void come_to_rest(struct run *r)
{
    char why[512];
    tm_sim_faults_heal(r->faults);
    tm_sim_faults_run(r->faults, HEAL_NS);
    await(r, answered, ANSWER_NS);
    await(r, converged, r->plan->rest_ns);
    if (well(r))
        all_over_again(r);
    if (well(r) && tm_sim_differences(r->sim, why, sizeof why) != 0)
        tm_sim_wrong(r->sim, "%s", why);
    if (well(r) && r->load != NULL)
        tm_sim_load_verify(r->load);
    if (well(r))
        tm_sim_work_read_all(r->work);
    if (well(r) && r->census != NULL)
        tm_sim_census_count(r->census);
    if (well(r))
        compare_snapshots(r);
    for (unsigned i = 0; well(r) && CHECKS[i] != NULL; i++)
        if (CHECKS[i]->at_rest != NULL)
            CHECKS[i]->at_rest(r->check[i]);
}

static void begin(struct run *r, const struct tm_sim_plan *plan, FILE *log)
{
    struct tm_sim_config cluster = plan->cluster;
    cluster.log = log;
    *r = (struct run){.plan = plan, .sim = tm_sim_new(&cluster)};
    for (unsigned i = 0; CHECKS[i] != NULL; i++) {
        TM_ASSERT(i < CHECKS_MAX);
        r->check[i] = CHECKS[i]->begin(r->sim, plan, &r->calls[i]);
    }
}

static uint64_t counted(struct tm_sim *sim, enum tm_counter counter)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < tm_sim_config_of(sim)->nodes; i++)
        for (unsigned k = 0; k < TM_SIM_WORKERS_MAX; k++)
            sum += tm_counter_get(tm_sim_counters(sim, i, k), counter);
    return sum;
}

static struct tm_sim_effects effects_of(struct tm_sim *sim)
{
    struct tm_sim_wire_counts w = tm_sim_wire_counts(tm_sim_wire_of(sim));
    const struct tm_sim_disk_tally *d = tm_sim_disk_tally(sim);
    return (struct tm_sim_effects){.frames_lost = w.lost,
                                   .frames_twice = w.twice,
                                   .frames_overtaken = w.overtaken,
                                   .frames_waited = w.waited,
                                   .frames_delayed = w.delayed,
                                   .frames_clogged = w.clogged,
                                   .frames_cut = w.cut,
                                   .frames_flipped = w.flipped,
                                   .frames_clipped = w.clipped,
                                   .frames_full = w.full,
                                   .rings_full = tm_sim_ring_refusals(sim),
                                   .torn = d->torn,
                                   .unsynced_lost = d->lost,
                                   .eio_reads = d->failed_reads,
                                   .eio_writes = d->failed_writes,
                                   .eio_syncs = d->failed_syncs,
                                   .eio_names = d->failed_names,
                                   .no_space = d->no_space,
                                   .misdirected = d->misdirected,
                                   .misdirected_far = d->misdirected_far,
                                   .misread = d->misread,
                                   .misread_far = d->misread_far,
#define X(name) .name = counted(sim, TM_COUNTER_##name),
                                   TM_SIM_COUNTERS(X)
#undef X
    };
}

static void finish(struct run *r, struct tm_sim_result *result)
{
    if (r->load != NULL && tm_sim_load_wrongs(r->load) > 0)
        tm_sim_wrong(r->sim, "%s", tm_sim_load_wrong(r->load));
    result->good = well(r);
    snprintf(result->why, sizeof result->why, "%s", tm_sim_wrong_text(r->sim));
    result->hash = tm_sim_hash_of(r->sim);
    result->simulated_ns = tm_sim_now(r->sim);
    result->effects = effects_of(r->sim);
    result->snapshots = r->snapshots;
    if (r->load != NULL)
        result->load = tm_sim_load_stats(r->load);
    if (r->work != NULL)
        result->work = tm_sim_work_stats(r->work);
    if (r->census != NULL)
        result->census = tm_sim_census_stats(r->census);
    result->eventual = tm_sim_oracle_eventual(r->check[ORACLE]);
    if (r->check[HISTORY] != NULL)
        result->history = tm_sim_history_stats(r->check[HISTORY]);
    if (r->faults != NULL)
        memcpy(result->fired, tm_sim_faults_fired(r->faults), sizeof result->fired);
}

void tm_sim_run(const struct tm_sim_plan *plan, FILE *log, struct tm_sim_result *result)
{
    struct run r;
    *result = (struct tm_sim_result){.good = false};
    begin(&r, plan, log);
    come_up(&r);
    if (well(&r)) {
        start_clients(&r);
        tm_sim_faults_run(r.faults, plan->run_ns);
    }
    if (well(&r))
        come_to_rest(&r);
    finish(&r, result);
    if (r.census != NULL)
        tm_sim_census_free(r.census);
    for (unsigned i = 0; CHECKS[i] != NULL; i++)
        CHECKS[i]->end(r.check[i]);
    if (r.faults != NULL)
        tm_sim_faults_free(r.faults);
    if (r.load != NULL)
        tm_sim_load_free(r.load);
    if (r.work != NULL)
        tm_sim_work_free(r.work);
    tm_sim_free(r.sim);
}
