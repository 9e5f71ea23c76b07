/* A machine's clocks.  The monotonic one may run fast or slow, and stands still while the machine
 * is suspended; the wall clock may jump, and may gain or lose. */
#include "tests/sim/sim_internal.h"

#define CLOCK_BASE (1700000000LL * 1000000000) /* ns */

/* ---- the monotonic clock ---- */

static uint64_t stretch(uint64_t ns, int64_t ppm)
{
    return ppm == 0 ? ns : ns + (uint64_t)((__int128)ns * ppm / 1000000);
}

uint64_t tm_sim_node_time(const struct tm_sim_node *n)
{
    const struct tm_sim_clock *c = &n->clock;
    return c->stopped ? c->base : c->base + stretch(n->sim->now - c->since, c->ppm);
}

uint64_t tm_sim_time_of(const struct tm_sim_node *n, uint64_t local)
{
    const struct tm_sim_clock *c = &n->clock;
    if (local <= c->base)
        return c->since;
    if (local - c->base > TM_SECONDS(1000000))
        return UINT64_MAX;
    if (c->ppm == 0)
        return c->since + (local - c->base);
    uint64_t ns = (uint64_t)((__int128)(local - c->base) * 1000000 / (1000000 + c->ppm));
    while (stretch(ns, c->ppm) < local - c->base)
        ns++;
    return c->since + ns;
}

/* It goes on from what it says now; the workers' deadlines have moved. */
static void restart(struct tm_sim_node *n, int64_t ppm, bool stopped)
{
    n->clock.base = tm_sim_node_time(n);
    n->clock.since = n->sim->now;
    n->clock.ppm = ppm;
    n->clock.stopped = stopped;
    for (unsigned i = 0; i < n->count; i++)
        tm_sim_wake(&n->workers[i]);
}

void tm_sim_clock_rate(struct tm_sim *sim, unsigned node, int64_t ppm)
{
    struct tm_sim_node *n = &sim->nodes[node];
    TM_ASSERT(ppm > -900000 && ppm < 10000000);
    restart(n, ppm, n->clock.stopped);
}

void tm_sim_clock_stop(struct tm_sim *sim, unsigned node, bool stopped)
{
    struct tm_sim_node *n = &sim->nodes[node];
    TM_ASSERT(!stopped || n->paused);
    if (n->clock.stopped != stopped)
        restart(n, n->clock.ppm, stopped);
    tm_sim_wire_deaf(sim->wire, node, stopped);
    if (sim->config.place != NULL)
        tm_sim_wire_deaf(sim->config.place->wire, sim->config.place->first + node, stopped);
}

/* ---- the wall clock ---- */

static int64_t ahead_ns(const struct tm_sim_node *n)
{
    const struct tm_sim_clock *c = &n->clock;
    uint64_t since = n->sim->now - c->wall_since;
    return c->wall_ns + (int64_t)((__int128)since * c->wall_ppm / 1000000);
}

uint64_t tm_sim_node_wall(const struct tm_sim_node *n)
{
    return (uint64_t)(CLOCK_BASE + (int64_t)n->sim->now + ahead_ns(n)) / 1000000;
}

static void set_wall(struct tm_sim_node *n, int64_t ns, int64_t ppm)
{
    n->clock.wall_ns = ns;
    n->clock.wall_since = n->sim->now;
    n->clock.wall_ppm = ppm;
}

void tm_sim_clock_jump(struct tm_sim *sim, unsigned node, int64_t ms)
{
    struct tm_sim_node *n = &sim->nodes[node];
    set_wall(n, ahead_ns(n) + ms * 1000000, n->clock.wall_ppm);
}

void tm_sim_clock_drift(struct tm_sim *sim, unsigned node, int64_t ppm)
{
    struct tm_sim_node *n = &sim->nodes[node];
    TM_ASSERT(ppm > -900000 && ppm < 10000000);
    set_wall(n, ahead_ns(n), ppm);
}

int64_t tm_sim_clock_ahead(const struct tm_sim *sim, unsigned node)
{
    return ahead_ns(&sim->nodes[node]) / 1000000;
}
