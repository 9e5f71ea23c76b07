/* Time moves from event to event: a frame or a disk operation that is due, a driver that wants to
 * act, a worker's deadline.  A worker that something was handed to takes a turn as soon as its last
 * one is over.  Which of several workers goes first is drawn. */
#include "tests/sim/sim_internal.h"

#include <stdarg.h>

/* ---- who looks on ---- */

void tm_sim_watch(struct tm_sim *sim, const struct tm_sim_watcher *watcher)
{
    TM_ASSERT(sim->watcher_count < TM_SIM_WATCHERS_MAX);
    sim->watchers[sim->watcher_count++] = *watcher;
}

void tm_sim_unwatch(struct tm_sim *sim, const void *host)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < sim->watcher_count; i++)
        if (sim->watchers[i].host != host)
            sim->watchers[kept++] = sim->watchers[i];
    sim->watcher_count = kept;
}

void tm_sim_harmed(struct tm_sim *sim, unsigned node, enum tm_sim_harm harm)
{
    for (unsigned i = 0; i < sim->watcher_count; i++)
        if (sim->watchers[i].harmed != NULL)
            sim->watchers[i].harmed(sim->watchers[i].host, node, harm);
}

const char *tm_sim_event_name(enum tm_sim_event event)
{
    static const char *const names[] = {
#define X(event, text) text,
        TM_SIM_EVENTS(X)
#undef X
    };
    return names[event];
}

void tm_sim_say(struct tm_sim *sim, const char *fmt, ...)
{
    if (sim->log == NULL)
        return;
    va_list args;
    va_start(args, fmt);
    fprintf(sim->log, "%12.6f -- ", (double)sim->now / 1e9);
    vfprintf(sim->log, fmt, args);
    fputc('\n', sim->log);
    va_end(args);
}

void tm_sim_wrong(struct tm_sim *sim, const char *fmt, ...)
{
    char text[sizeof sim->wrong - 32];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    tm_sim_say(sim, "WRONG %s", text);
    if (sim->wrongs++ == 0)
        snprintf(sim->wrong, sizeof sim->wrong, "at %u ms: %s", (unsigned)(sim->now / 1000000),
                 text);
}

unsigned tm_sim_wrongs(const struct tm_sim *sim)
{
    return sim->wrongs;
}

const char *tm_sim_wrong_text(const struct tm_sim *sim)
{
    return sim->wrong;
}

/* ---- drivers ---- */

void tm_sim_drive(struct tm_sim *sim, const struct tm_sim_driver *driver)
{
    TM_ASSERT(sim->driver_count < TM_SIM_DRIVERS_MAX);
    sim->drivers[sim->driver_count++] = *driver;
}

static uint64_t next_drive(const struct tm_sim *sim)
{
    uint64_t next = UINT64_MAX;
    for (unsigned i = 0; i < sim->driver_count; i++)
        next = tm_min_u64(next, sim->drivers[i].next(sim->drivers[i].host));
    return next;
}

static void drive(struct tm_sim *sim)
{
    for (unsigned i = 0; i < sim->driver_count; i++)
        if (sim->drivers[i].next(sim->drivers[i].host) <= sim->now)
            sim->drivers[i].act(sim->drivers[i].host);
}

/* ---- turns ---- */

/* A worker has a ring from each other one, and looks into one after the other. */
static void take_rings(struct tm_sim_worker *w)
{
    struct tm_sim_ring_item *all = w->ring, *item, *next;
    unsigned count = w->node->count, first = 0;
    if (all == NULL)
        return;
    if (all->next != NULL && count > 2)
        first = (unsigned)tm_rng_below(&w->sim->rng, count);
    w->ring = NULL;
    w->ring_end = &w->ring;
    w->ring_bytes = 0;
    for (unsigned i = 0; i < count; i++)
        for (item = all; item != NULL; item = item->next)
            if (item->from == (first + i) % count)
                tm_shard_local(w->shard, item->from, tm_bytes_of(item->bytes, item->len));
    for (item = all; item != NULL; item = next) {
        next = item->next;
        free(item);
    }
}

static void turn(struct tm_sim_worker *w)
{
    struct tm_sim *sim = w->sim;
    if (!w->begun && !tm_sim_begin(w)) {
        w->node->failed = true;
        return;
    }
    tm_sim_hash_add(&sim->hash, sim->now << 8 | w->node->number << 4 | w->number);
    w->awake = false;
    take_rings(w);
    tm_shard_turn(w->shard);
    tm_sim_conns_pump(w);
    tm_shard_flush(w->shard);
    tm_sim_conns_pump(w);
    w->awake |= !tm_shard_idle(w->shard);
    w->deadline = tm_sim_time_of(w->node, tm_shard_next_deadline(w->shard));
    w->busy_until = sim->now + 1 + tm_rng_below(&sim->rng, sim->config.turn_ns + w->node->slow_ns);
    for (unsigned i = 0; i < sim->watcher_count; i++)
        if (sim->watchers[i].turned != NULL)
            sim->watchers[i].turned(sim->watchers[i].host, w->node->number, w->number);
}

/* When the worker takes its next turn. */
static uint64_t next_turn(const struct tm_sim_worker *w)
{
    return w->awake ? w->busy_until : tm_max_u64(w->deadline, w->busy_until);
}

void tm_sim_woke(struct tm_sim *sim, unsigned node, unsigned worker)
{
    tm_sim_wake(&sim->nodes[node].workers[worker]);
}

static void woke(void *host, unsigned node, unsigned worker)
{
    tm_sim_woke(host, node, worker);
}

static void poll_disks(struct tm_sim *sim)
{
    for (unsigned i = 0; i < sim->config.nodes; i++) {
        struct tm_sim_node *n = &sim->nodes[i];
        bool due = tm_sim_disk_next_due(n->disk) <= sim->now;
        if (due && (!n->up || n->paused))
            continue;
        uint64_t served = tm_sim_disk_poll(n->disk, sim->now);
        for (unsigned k = 0; k < n->count; k++)
            if ((served >> k & 1) != 0)
                tm_sim_wake(&n->workers[k]);
    }
}

static bool is_due(const struct tm_sim_worker *w)
{
    return w->node->up && !w->node->paused && next_turn(w) <= w->sim->now;
}

/* Whoever is due now, in an order that is drawn: threads that run side by side. */
static void take_turns(struct tm_sim *sim)
{
    struct tm_sim_worker *due[TM_SIM_NODES_MAX * TM_SIM_WORKERS_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < sim->config.nodes; i++)
        for (unsigned k = 0; k < sim->nodes[i].count; k++)
            if (is_due(&sim->nodes[i].workers[k]))
                due[count++] = &sim->nodes[i].workers[k];
    while (count > 0) {
        unsigned i = count > 1 ? (unsigned)tm_rng_below(&sim->rng, count) : 0;
        struct tm_sim_worker *w = due[i];
        due[i] = due[--count];
        if (is_due(w))
            turn(w);
    }
}

/* All that is due now. */
void tm_sim_step(struct tm_sim *sim)
{
    drive(sim);
    poll_disks(sim);
    tm_sim_wire_poll(sim->wire, sim->now);
    tm_sim_conns_step(sim);
    take_turns(sim);
    tm_sim_end_failed(sim);
    tm_sim_conns_reap(sim);
}

uint64_t tm_sim_next_event(const struct tm_sim *sim)
{
    uint64_t next = tm_min_u64(tm_sim_wire_next_due(sim->wire), next_drive(sim));
    next = tm_min_u64(next, tm_sim_conns_due(sim));
    for (unsigned i = 0; i < sim->config.nodes; i++) {
        const struct tm_sim_node *n = &sim->nodes[i];
        if (!n->up || n->paused)
            continue;
        next = tm_min_u64(next, tm_sim_disk_next_due(n->disk));
        for (unsigned k = 0; k < n->count; k++)
            next = tm_min_u64(next, next_turn(&n->workers[k]));
    }
    return next;
}

uint64_t tm_sim_now(const struct tm_sim *sim)
{
    return sim->now;
}

void tm_sim_set_now(struct tm_sim *sim, uint64_t now)
{
    TM_ASSERT(now >= sim->now);
    sim->now = now;
}

void tm_sim_run_for(struct tm_sim *sim, uint64_t ns)
{
    uint64_t end = sim->now + ns;
    if (sim->config.place != NULL) {
        sim->config.place->run_until(sim->config.place->host, end);
        return;
    }
    for (;;) {
        tm_sim_step(sim);
        uint64_t next = tm_max_u64(tm_sim_next_event(sim), sim->now + 1);
        if (next > end)
            break;
        sim->now = next;
    }
    sim->now = end;
}

bool tm_sim_run_until(struct tm_sim *sim, bool (*done)(void *arg), void *arg, uint64_t ns)
{
    for (uint64_t end = sim->now + ns; sim->now < end;) {
        if (done(arg))
            return true;
        tm_sim_run_for(sim, TM_MS(1));
    }
    return done(arg);
}

/* ---- life of the cluster ---- */

uint64_t tm_sim_draw(struct tm_sim *sim, uint64_t bound)
{
    return tm_rng_below(&sim->rng, bound);
}

uint64_t tm_sim_hash_of(const struct tm_sim *sim)
{
    return sim->hash.value;
}

struct tm_sim_wire *tm_sim_wire_of(struct tm_sim *sim)
{
    return sim->wire;
}

const struct tm_sim_config *tm_sim_config_of(const struct tm_sim *sim)
{
    return &sim->config;
}

const struct tm_directory *tm_sim_directory(const struct tm_sim *sim)
{
    return sim->directory;
}

const char *tm_sim_node_name(unsigned node)
{
    return tm_sim_names[node];
}

static struct tm_directory *propose(const struct tm_sim_config *c)
{
    struct tm_directory *d = malloc(sizeof *d);
    TM_ASSERT(d != NULL);
    struct tm_directory_spec spec = {.cluster = c->cluster,
                                     .facts = c->facts,
                                     .names = tm_sim_names,
                                     .count = c->nodes,
                                     .partitions = c->partitions,
                                     .copies = c->copies,
                                     .eventual = c->eventual,
                                     .blocks = c->place != NULL ? c->place->blocks : NULL};
    tm_directory_propose(d, &spec);
    return d;
}

void tm_sim_config_default(struct tm_sim_config *c, uint64_t seed)
{
    *c = (struct tm_sim_config){.seed = seed,
                                .nodes = 3,
                                .workers = {2},
                                .partitions = 12,
                                .copies = 3,
                                .wire = {.min_ns = TM_US(10),
                                         .max_ns = TM_US(100),
                                         .max_frame = 9000,
                                         .notice_ns = TM_MS(1)},
                                .disk_min_ns = TM_US(50),
                                .disk_max_ns = TM_US(300),
                                .turn_ns = TM_US(10),
                                .log = getenv("TM_SIM_LOG") != NULL ? stdout : NULL};
    tm_options_init(&c->options);
    c->options.wal_segment_bytes = TM_MIB(1);
    c->options.wal_bytes = TM_MIB(8);
}

struct tm_sim *tm_sim_new(const struct tm_sim_config *config)
{
    struct tm_sim *sim = calloc(1, sizeof *sim);
    TM_ASSERT(sim != NULL && config->nodes <= TM_SIM_NODES_MAX);
    sim->config = *config;
    if (config->cluster == NULL)
        sim->config.cluster = "sim";
    tm_sim_edit_file(sim, config->partitions, config->copies, config->eventual);
    sim->now = TM_SECONDS(1);
    sim->log = config->log;
    sim->conns_due = UINT64_MAX;
    tm_rng_seed(&sim->rng, config->seed);
    sim->config.wire.seed = tm_rng_next(&sim->rng);
    sim->config.wire.host = sim;
    sim->config.wire.woke = woke;
    sim->config.wire.hash = &sim->hash;
    sim->wire = tm_sim_wire_new(&sim->config.wire);
    sim->directory = propose(&sim->config);
    for (unsigned i = 0; i < config->nodes; i++)
        tm_sim_node_init(sim, i);
    return sim;
}

void tm_sim_free(struct tm_sim *sim)
{
    sim->watcher_count = 0;
    for (unsigned i = 0; i < sim->config.nodes; i++)
        tm_sim_end(sim, i, TM_SIM_KILL);
    tm_sim_conns_free(sim);
    for (unsigned i = 0; i < sim->config.nodes; i++)
        tm_sim_node_fini(&sim->nodes[i]);
    tm_sim_wire_free(sim->wire);
    free(sim->directory);
    free(sim);
}
