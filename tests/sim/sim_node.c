/* A node is its disk, which lives for ever, and at times a process on it: shards that reach the
 * world through the functions here.  Its clocks are its own (sim_clock.c). */
#include "tests/sim/sim_internal.h"

#include <stdarg.h>

#define RING_BYTES TM_MIB(4)

const char *const tm_sim_names[TM_SIM_NODES_MAX] = {"a", "b", "c", "d", "e", "f", "g"};

/* ---- a worker's world ---- */

static uint64_t w_now(void *host)
{
    return tm_sim_node_time(((struct tm_sim_worker *)host)->node);
}

static uint64_t w_wall(void *host)
{
    return tm_sim_node_wall(((struct tm_sim_worker *)host)->node);
}

static uint64_t w_random(void *host)
{
    return tm_rng_next(&((struct tm_sim_worker *)host)->sim->rng);
}

static void w_log(void *host, enum tm_log_level level, const char *event, const char *fmt, ...)
    TM_PRINTF(4, 5);

/* What a node gives up it says: each with its partition, and mostly how many. */
static bool tells_of_drop(const char *event)
{
    return strcmp(event, "records_lost") == 0 || strcmp(event, "offer_refused") == 0 ||
           strcmp(event, "offer_damaged") == 0;
}

static void tell_drop(const struct tm_sim_worker *w, const char *event, const char *text)
{
    unsigned partition, count;
    unsigned long long from, to;
    uint64_t records = UINT64_MAX;
    if (sscanf(text, "partition=%u", &partition) != 1)
        return;
    if (sscanf(text, "partition=%u records=%u", &partition, &count) == 2)
        records = count;
    else if (sscanf(text, "partition=%u from=%llu to=%llu", &partition, &from, &to) == 3)
        records = to - from + 1;
    else if (strcmp(event, "offer_refused") == 0)
        return; /* the leader says so, too */
    for (unsigned i = 0; i < w->sim->watcher_count; i++)
        if (w->sim->watchers[i].dropped != NULL)
            w->sim->watchers[i].dropped(w->sim->watchers[i].host, w->node->number, partition,
                                        records);
}

static void w_log(void *host, enum tm_log_level level, const char *event, const char *fmt, ...)
{
    const struct tm_sim_worker *w = host;
    bool drop = tells_of_drop(event);
    if (w->sim->log == NULL && !drop)
        return;
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (drop)
        tell_drop(w, event, text);
    if (w->sim->log == NULL)
        return;
    fprintf(w->sim->log, "%12.6f %s%s%s%u %c %s %s\n", (double)w->sim->now / 1e9,
            w->sim->config.place != NULL ? w->sim->config.cluster : "",
            w->sim->config.place != NULL ? "/" : "", tm_sim_names[w->node->number], w->number,
            "DIWE"[level], event, text);
}

static enum tm_err w_local(void *host, unsigned worker, const struct tm_bytes *pieces,
                           unsigned count)
{
    struct tm_sim_worker *w = host;
    struct tm_sim_worker *to = &w->node->workers[worker];
    size_t len = 0;
    for (unsigned i = 0; i < count; i++)
        len += pieces[i].len;
    if (to->ring_bytes + len > RING_BYTES)
        return TM_ERR_FULL;
    if (w->node->rings_full > 0 && tm_rng_below(&w->sim->rng, 100) < w->node->rings_full) {
        w->node->ring_refusals++;
        return TM_ERR_FULL;
    }
    struct tm_sim_ring_item *item = malloc(sizeof *item + len);
    TM_ASSERT(item != NULL);
    *item = (struct tm_sim_ring_item){.from = w->number, .len = len};
    uint8_t *at = item->bytes;
    for (unsigned i = 0; i < count; at += pieces[i].len, i++)
        if (pieces[i].len > 0)
            memcpy(at, pieces[i].data, pieces[i].len);
    *to->ring_end = item;
    to->ring_end = &item->next;
    to->ring_bytes += len;
    tm_sim_wake(to);
    return TM_OK;
}

static void w_fatal(void *host, enum tm_err err, const char *why)
{
    struct tm_sim_worker *w = host;
    snprintf(w->node->why, sizeof w->node->why, "%s (%s)", why, tm_err_name(err));
    w->node->failed = true;
    tm_sim_say(w->sim, "%s%u FATAL %s", tm_sim_names[w->node->number], w->number, w->node->why);
}

static enum tm_err w_option_set(void *host, const struct tm_bytes *pairs, unsigned count,
                                unsigned *bad, char *why, size_t cap)
{
    (void)host, (void)pairs, (void)count, (void)bad;
    snprintf(why, cap, "options are fixed in the simulator");
    return TM_ERR_PERMISSION;
}

static uint64_t w_counter(void *host, enum tm_counter which)
{
    const struct tm_sim_worker *w = host;
    uint64_t all = 0;
    for (unsigned i = 0; i < w->node->count; i++)
        all += tm_counter_get(w->node->workers[i].ctx.counters, which);
    return all;
}

static void w_shutdown(void *host)
{
    ((struct tm_sim_worker *)host)->node->stopping = true;
}

/* ---- life of a node ---- */

static bool refuse(struct tm_sim_node *n, const char *why)
{
    snprintf(n->why, sizeof n->why, "%s", why);
    return false;
}

static bool open_directory(struct tm_sim_node *n, bool *was_clean)
{
    struct tm_datadir_error error = {0};
    struct tm_disk *disk = tm_sim_disk_table(n->disk);
    enum tm_err e = tm_datadir_read(disk, &n->identity, &error);
    if (e == TM_ERR_NOTFOUND)
        e = tm_datadir_format(&n->workers[0].ctx, n->sim->config.cluster, tm_sim_names[n->number],
                              &n->identity, &error);
    if (e == TM_OK)
        e = tm_datadir_check(&n->identity, n->sim->config.cluster, tm_sim_names[n->number], &error);
    if (e == TM_OK)
        e = tm_datadir_begin(disk, &n->identity, n->count, was_clean, &error);
    if (e == TM_OK)
        e = tm_datadir_sweep(disk, &n->identity, &error);
    return e == TM_OK || refuse(n, error.text);
}

static void describe(struct tm_sim_node *n)
{
    const struct tm_sim_config *c = &n->sim->config;
    n->shared = (struct tm_node){.self = n->number,
                                 .workers = n->count,
                                 .boot = tm_rng_next(&n->sim->rng) | 1,
                                 .cluster_hash = 0x51u,
                                 .disk_id = n->identity.disk_id,
                                 .incarnation = n->identity.incarnation,
                                 .spec = {.cluster = c->cluster,
                                          .facts = c->facts,
                                          .names = tm_sim_names,
                                          .count = c->nodes,
                                          .partitions = n->sim->file_partitions,
                                          .copies = n->sim->file_copies,
                                          .eventual = n->sim->file_eventual}};
    if (c->place != NULL)
        n->shared.spec.blocks = c->place->blocks;
    n->shared.file = n->shared.spec;
    if (c->place != NULL) {
        n->known = (struct tm_link_known){0};
        n->shared.known = &n->known;
        n->shared.block = c->place->first + n->number;
        n->shared.sites = c->place->sites;
        n->shared.site_count = c->place->site_count;
    }
    for (unsigned i = 0; i < c->nodes; i++) {
        struct tm_node_address *at = &n->shared.address[i];
        snprintf(at->ip, sizeof at->ip, "10.0.0.%u", i + 1);
        at->port = 7000;
        at->worker_port0 = 7001;
    }
}

static void make_shard(struct tm_sim_worker *w, bool was_clean)
{
    struct tm_sim_node *n = w->node;
    struct tm_shard_config c = {.ctx = &w->ctx,
                                .options = &n->sim->config.options,
                                .node = &n->shared,
                                .worker = w->number,
                                .identity = w->number == 0 ? &n->identity : NULL,
                                .datadir = &n->identity,
                                .version = "sim",
                                .was_clean = was_clean,
                                .sync = n->sim->config.sync,
                                .memory_limit = n->sim->config.options.memory_limit,
                                .limits = tm_session_limits_of(&n->sim->config.options),
                                .host = w,
                                .local = w_local,
                                .fatal = w_fatal,
                                .counter = w_counter,
                                .option_set = w_option_set,
                                .shutdown = w_shutdown};
    w->shard = tm_shard_new(&c);
    TM_ASSERT(w->shard != NULL);
    w->begun = false;
    w->busy_until = n->sim->now;
    if (w->number > 0 && n->sim->config.open_ns > 0)
        w->busy_until += tm_rng_below(&n->sim->rng, n->sim->config.open_ns);
    tm_sim_wake(w);
}

bool tm_sim_begin(struct tm_sim_worker *w)
{
    struct tm_sim_node *n = w->node;
    struct tm_fabric_sink sink = tm_shard_sink(w->shard);
    tm_shard_set_fabric(w->shard, tm_sim_wire_join(n->sim->wire, n->number, w->number, &sink));
    w->begun = true;
    const struct tm_sim_place *place = n->sim->config.place;
    if (place != NULL && place->site_count > 0) {
        struct tm_fabric_sink links = tm_shard_link_sink(w->shard);
        unsigned block = place->first + n->number;
        tm_shard_set_link_fabric(w->shard, tm_sim_wire_join(place->wire, block, w->number, &links));
    }
    return tm_shard_start(w->shard, n->why, sizeof n->why) == TM_OK;
}

static void tell(struct tm_sim *sim, unsigned node, enum tm_sim_event event)
{
    tm_sim_say(sim, "%s %s", tm_sim_names[node], tm_sim_event_name(event));
    tm_sim_hash_add(&sim->hash, node << 8 | (unsigned)event);
    for (unsigned i = 0; i < sim->watcher_count; i++)
        if (sim->watchers[i].node != NULL)
            sim->watchers[i].node(sim->watchers[i].host, node, event);
}

static bool start_shards(struct tm_sim_node *n)
{
    for (unsigned i = 0; i < n->count; i++)
        if (n->workers[i].busy_until <= n->sim->now && !tm_sim_begin(&n->workers[i]))
            return false;
    return true;
}

bool tm_sim_start(struct tm_sim *sim, unsigned node)
{
    struct tm_sim_node *n = &sim->nodes[node];
    bool was_clean = false;
    TM_ASSERT(!n->up);
    n->why[0] = '\0';
    n->count = sim->config.workers[node] != 0 ? sim->config.workers[node] : sim->config.workers[0];
    n->failed = n->paused = n->stopping = false;
    tm_sim_clock_stop(sim, node, false);
    tm_sim_disk_set_latency(n->disk, sim->config.disk_min_ns, sim->config.disk_max_ns);
    tm_sim_disk_poll(n->disk, sim->now);
    for (unsigned i = 0; i < n->count; i++)
        n->workers[i].ctx.disk = tm_sim_disk_table_of(n->disk, i);
    if (!open_directory(n, &was_clean)) {
        tm_sim_disk_kill(n->disk);
        return false;
    }
    describe(n);
    n->up = true;
    for (unsigned i = 0; i < n->count; i++)
        make_shard(&n->workers[i], was_clean);
    if (!start_shards(n)) {
        tm_sim_end(sim, node, TM_SIM_KILL);
        return false;
    }
    tell(sim, node, TM_SIM_STARTED);
    return true;
}

static void drop_rings(struct tm_sim_worker *w)
{
    while (w->ring != NULL) {
        struct tm_sim_ring_item *item = w->ring;
        w->ring = item->next;
        free(item);
    }
    w->ring_end = &w->ring;
    w->ring_bytes = 0;
}

/* The process is over. */
static void leave(struct tm_sim_node *n, void (*end)(struct tm_shard *s))
{
    n->up = n->stopping = n->paused = false;
    tm_sim_conns_close(n);
    tm_sim_wire_leave(n->sim->wire, n->number);
    if (n->sim->config.place != NULL)
        tm_sim_wire_leave(n->sim->config.place->wire, n->sim->config.place->first + n->number);
    for (unsigned i = 0; i < n->count; i++) {
        struct tm_sim_worker *w = &n->workers[i];
        end(w->shard);
        w->shard = NULL;
        w->awake = false;
        drop_rings(w);
    }
    tm_node_free(&n->shared);
}

void tm_sim_end(struct tm_sim *sim, unsigned node, enum tm_sim_end how)
{
    struct tm_sim_node *n = &sim->nodes[node];
    if (!n->up && how == TM_SIM_KILL)
        return;
    tell(sim, node, how == TM_SIM_KILL ? TM_SIM_KILLED : TM_SIM_POWERED_OFF);
    if (how != TM_SIM_KILL)
        tm_sim_disk_crash(n->disk, how == TM_SIM_POWER ? -1 : 0);
    else
        tm_sim_disk_kill(n->disk);
    if (n->up)
        leave(n, tm_shard_abandon);
}

static bool all_stopped(const struct tm_sim_node *n)
{
    for (unsigned i = 0; i < n->count; i++)
        if (!tm_shard_stopped(n->workers[i].shard))
            return false;
    return true;
}

static bool stopped(void *arg)
{
    const struct tm_sim_node *n = arg;
    return !n->up || n->failed || all_stopped(n);
}

void tm_sim_ask_stop(struct tm_sim *sim, unsigned node)
{
    struct tm_sim_node *n = &sim->nodes[node];
    for (unsigned i = 0; n->up && i < n->count; i++) {
        tm_shard_stop(n->workers[i].shard);
        tm_sim_wake(&n->workers[i]);
    }
}

bool tm_sim_finish_stop(struct tm_sim *sim, unsigned node)
{
    struct tm_sim_node *n = &sim->nodes[node];
    struct tm_datadir_error error;
    if (!n->up)
        return true;
    if (n->failed || !all_stopped(n)) {
        tm_sim_end(sim, node, TM_SIM_KILL);
        return false;
    }
    tell(sim, node, TM_SIM_STOPPED);
    leave(n, tm_shard_free);
    tm_sim_disk_drain(n->disk);
    return tm_datadir_end(tm_sim_disk_table(n->disk), &n->identity, &error) == TM_OK;
}

bool tm_sim_has_stopped(const struct tm_sim *sim, unsigned node)
{
    return !sim->nodes[node].up || all_stopped(&sim->nodes[node]);
}

bool tm_sim_stop(struct tm_sim *sim, unsigned node, uint64_t patience_ns)
{
    tm_sim_ask_stop(sim, node);
    (void)tm_sim_run_until(sim, stopped, &sim->nodes[node], patience_ns);
    return tm_sim_finish_stop(sim, node);
}

void tm_sim_wipe(struct tm_sim *sim, unsigned node)
{
    struct tm_sim_node *n = &sim->nodes[node];
    TM_ASSERT(!n->up);
    tm_sim_disk_free(n->disk);
    n->disk = tm_sim_disk_new(tm_rng_next(&sim->rng));
    tm_sim_disk_trace(n->disk, &sim->hash, &sim->disks);
    tell(sim, node, TM_SIM_WIPED);
}

void tm_sim_end_failed(struct tm_sim *sim)
{
    for (unsigned i = 0; i < sim->config.nodes; i++) {
        if (!sim->nodes[i].up || !sim->nodes[i].failed)
            continue;
        sim->fatal++;
        tm_sim_end(sim, i, TM_SIM_KILL);
    }
}

void tm_sim_node_init(struct tm_sim *sim, unsigned node)
{
    struct tm_sim_node *n = &sim->nodes[node];
    n->sim = sim;
    n->number = node;
    n->disk = tm_sim_disk_new(tm_rng_next(&sim->rng));
    tm_sim_disk_trace(n->disk, &sim->hash, &sim->disks);
    n->clock.base = TM_SECONDS(1) + tm_rng_below(&sim->rng, TM_SECONDS(100));
    n->clock.wall_ns = (int64_t)TM_MS(tm_rng_below(&sim->rng, 50));
    for (unsigned k = 0; k < TM_SIM_WORKERS_MAX; k++) {
        struct tm_sim_worker *w = &n->workers[k];
        *w = (struct tm_sim_worker){.sim = sim, .node = n, .number = k, .ring_end = &w->ring};
        w->counters = calloc(1, sizeof *w->counters);
        TM_ASSERT(w->counters != NULL);
        w->ctx = (struct tm_ctx){.host = w,
                                 .now_ns = w_now,
                                 .wall_ms = w_wall,
                                 .random = w_random,
                                 .log = w_log,
                                 .counters = w->counters};
    }
}

void tm_sim_node_fini(struct tm_sim_node *n)
{
    tm_sim_disk_free(n->disk);
    for (unsigned k = 0; k < TM_SIM_WORKERS_MAX; k++)
        free(n->workers[k].counters);
}

/* ---- what a test may ask and do ---- */

void tm_sim_edit_file(struct tm_sim *sim, unsigned partitions, unsigned copies, bool eventual)
{
    sim->file_partitions = partitions;
    sim->file_copies = copies;
    sim->file_eventual = eventual;
}

bool tm_sim_is_up(const struct tm_sim *sim, unsigned node)
{
    return sim->nodes[node].up;
}

bool tm_sim_is_paused(const struct tm_sim *sim, unsigned node)
{
    return sim->nodes[node].paused;
}

const char *tm_sim_why(const struct tm_sim *sim, unsigned node)
{
    return sim->nodes[node].why;
}

unsigned tm_sim_fatal(struct tm_sim *sim)
{
    unsigned fatal = sim->fatal;
    sim->fatal = 0;
    return fatal;
}

void tm_sim_pause(struct tm_sim *sim, unsigned node, bool paused)
{
    struct tm_sim_node *n = &sim->nodes[node];
    n->paused = paused;
    tm_sim_wire_sleep(sim->wire, node, paused);
    if (sim->config.place != NULL)
        tm_sim_wire_sleep(sim->config.place->wire, sim->config.place->first + node, paused);
    for (unsigned i = 0; n->up && !paused && i < n->count; i++)
        tm_sim_wake(&n->workers[i]);
    sim->conns_due = sim->now;
}

void tm_sim_cut(struct tm_sim *sim, unsigned from, unsigned to, bool cut)
{
    tm_sim_wire_cut(sim->wire, from, to, cut);
}

void tm_sim_isolate(struct tm_sim *sim, unsigned node, bool cut)
{
    for (unsigned i = 0; i < sim->config.nodes; i++) {
        tm_sim_wire_cut(sim->wire, node, i, cut);
        tm_sim_wire_cut(sim->wire, i, node, cut);
    }
}

void tm_sim_slow(struct tm_sim *sim, unsigned node, uint64_t turn_ns)
{
    sim->nodes[node].slow_ns = turn_ns;
}

void tm_sim_rings_full(struct tm_sim *sim, unsigned node, unsigned percent)
{
    sim->nodes[node].rings_full = percent;
}

uint64_t tm_sim_ring_refusals(const struct tm_sim *sim)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < sim->config.nodes; i++)
        n += sim->nodes[i].ring_refusals;
    return n;
}

static struct tm_sim_worker *runs(struct tm_sim *sim, unsigned node, uint32_t partition)
{
    struct tm_sim_node *n = &sim->nodes[node];
    return n->up && !n->paused ? &n->workers[partition % n->count] : NULL;
}

bool tm_sim_transfer(struct tm_sim *sim, unsigned node, uint32_t partition, unsigned to)
{
    struct tm_sim_worker *w = runs(sim, node, partition);
    if (w == NULL || tm_shard_transfer(w->shard, partition, to) != TM_OK)
        return false;
    tm_sim_wake(w);
    return true;
}

bool tm_sim_snapshot(struct tm_sim *sim, unsigned node, uint32_t partition)
{
    struct tm_sim_worker *w = runs(sim, node, partition);
    if (w == NULL || !tm_shard_snapshot(w->shard, partition))
        return false;
    tm_sim_wake(w);
    return true;
}

const struct tm_sim_disk_tally *tm_sim_disk_tally(const struct tm_sim *sim)
{
    return &sim->disks;
}

void tm_sim_set_workers(struct tm_sim *sim, unsigned node, unsigned workers)
{
    TM_ASSERT(workers >= 1 && workers <= TM_SIM_WORKERS_MAX);
    sim->config.workers[node] = workers;
}

struct tm_sim_disk *tm_sim_disk_of(struct tm_sim *sim, unsigned node)
{
    return sim->nodes[node].disk;
}

struct tm_shard *tm_sim_shard(struct tm_sim *sim, unsigned node, unsigned worker)
{
    return sim->nodes[node].workers[worker].shard;
}

unsigned tm_sim_workers(const struct tm_sim *sim, unsigned node)
{
    return sim->nodes[node].count;
}

const struct tm_counters *tm_sim_counters(const struct tm_sim *sim, unsigned node, unsigned worker)
{
    return sim->nodes[node].workers[worker].counters;
}
