/* Time moves from event to event: a frame or a disk operation that is due, a driver that wants to
 * act, a worker's deadline.  A worker that something was handed to takes a turn as soon as its last
 * one is over. */
#include "tests/sim/sim_cluster.h"

#include "actors/message.h"
#include "net/resp.h"
#include "runtime/counters.h"
#include "runtime/rng.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define RING_BYTES  TM_MIB(4)
#define CLOCK_BASE  1700000000000ULL /* ms */
#define DRIVERS_MAX 8

static const char *const NAMES[TM_SIM_NODES_MAX] = {"a", "b", "c", "d", "e", "f", "g"};

/* A message from another worker of the node. */
struct ring_item {
    struct ring_item *next;
    unsigned from;
    size_t len;
    uint8_t bytes[] __attribute__((aligned(8)));
};

struct worker {
    struct tm_sim *sim;
    struct node *node;
    unsigned number;
    struct tm_shard *shard;
    struct tm_ctx ctx;
    struct tm_counters *counters;
    struct ring_item *ring, **ring_end;
    size_t ring_bytes;
    bool awake;
    uint64_t busy_until;
};

struct node {
    struct tm_sim *sim;
    unsigned number, count; /* workers */
    struct tm_sim_disk *disk;
    struct tm_datadir_identity identity;
    struct tm_node shared;
    struct worker workers[TM_SIM_WORKERS_MAX];
    bool up, paused, stopping, failed;
    uint64_t skew_ms;
    char why[512];
};

struct tm_sim_conn {
    struct tm_sim_conn *next;
    struct tm_sim *sim;
    struct worker *worker;
    struct tm_session *session; /* NULL: closed by the client, to be freed */
    struct tm_sim_client client;
    uint8_t *in, *out; /* to the node; from it */
    size_t in_len, out_len, in_cap, out_cap;
    struct tm_resp_skipper skipper;
    uint64_t arrives;
    bool closing;
};

struct tm_sim {
    struct tm_sim_config config;
    struct tm_rng rng;
    uint64_t now;
    struct node nodes[TM_SIM_NODES_MAX];
    struct tm_sim_wire *wire;
    struct tm_sim_conn *conns;
    struct tm_sim_driver drivers[DRIVERS_MAX];
    unsigned driver_count;
    unsigned fatal;
    bool print;
};

/* ---- a worker's world ---- */

static uint64_t w_now(void *host)
{
    return ((struct worker *)host)->sim->now;
}

static uint64_t w_wall(void *host)
{
    const struct worker *w = host;
    return CLOCK_BASE + w->node->skew_ms + w->sim->now / 1000000;
}

static uint64_t w_random(void *host)
{
    return tm_rng_next(&((struct worker *)host)->sim->rng);
}

static void w_log(void *host, enum tm_log_level level, const char *event, const char *fmt, ...)
    TM_PRINTF(4, 5);

static void w_log(void *host, enum tm_log_level level, const char *event, const char *fmt, ...)
{
    const struct worker *w = host;
    if (!w->sim->print)
        return;
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    printf("%12.6f %s%u %c %s %s\n", (double)w->sim->now / 1e9, NAMES[w->node->number], w->number,
           "DIWE"[level], event, text);
}

static enum tm_err w_local(void *host, unsigned worker, const struct tm_bytes *pieces,
                           unsigned count)
{
    struct worker *w = host;
    struct worker *to = &w->node->workers[worker];
    size_t len = 0;
    for (unsigned i = 0; i < count; i++)
        len += pieces[i].len;
    if (to->ring_bytes + len > RING_BYTES)
        return TM_ERR_FULL;
    struct ring_item *item = malloc(sizeof *item + len);
    TM_ASSERT(item != NULL);
    *item = (struct ring_item){.from = w->number, .len = len};
    uint8_t *at = item->bytes;
    for (unsigned i = 0; i < count; at += pieces[i].len, i++)
        if (pieces[i].len > 0)
            memcpy(at, pieces[i].data, pieces[i].len);
    *to->ring_end = item;
    to->ring_end = &item->next;
    to->ring_bytes += len;
    to->awake = true;
    return TM_OK;
}

static void w_fatal(void *host, enum tm_err err, const char *why)
{
    struct worker *w = host;
    snprintf(w->node->why, sizeof w->node->why, "%s (%s)", why, tm_err_name(err));
    w->node->failed = true;
    if (w->sim->print)
        printf("%12.6f %s%u FATAL %s\n", (double)w->sim->now / 1e9, NAMES[w->node->number],
               w->number, w->node->why);
}

static enum tm_err w_option_set(void *host, struct tm_bytes name, struct tm_bytes value, char *why,
                                size_t cap)
{
    (void)host;
    (void)name;
    (void)value;
    snprintf(why, cap, "options are fixed in the simulator");
    return TM_ERR_PERMISSION;
}

static void w_shutdown(void *host)
{
    ((struct worker *)host)->node->stopping = true;
}

static void woke(void *host, unsigned node, unsigned worker)
{
    struct tm_sim *sim = host;
    sim->nodes[node].workers[worker].awake = true;
}

/* ---- life of a node ---- */

static bool refuse(struct node *n, const char *why)
{
    snprintf(n->why, sizeof n->why, "%s", why);
    return false;
}

static bool open_directory(struct node *n, bool *was_clean)
{
    struct tm_datadir_error error = {0};
    struct tm_disk *disk = tm_sim_disk_table(n->disk);
    enum tm_err e = tm_datadir_read(disk, &n->identity, &error);
    if (e == TM_ERR_NOTFOUND)
        e = tm_datadir_format(&n->workers[0].ctx, "sim", NAMES[n->number], &n->identity, &error);
    if (e == TM_OK)
        e = tm_datadir_check(&n->identity, "sim", NAMES[n->number], &error);
    if (e == TM_OK)
        e = tm_datadir_begin(disk, &n->identity, n->count, was_clean, &error);
    return e == TM_OK || refuse(n, error.text);
}

static void describe(struct node *n)
{
    const struct tm_sim_config *c = &n->sim->config;
    n->shared = (struct tm_node){.self = n->number,
                                 .workers = n->count,
                                 .boot = tm_rng_next(&n->sim->rng) | 1,
                                 .cluster_hash = 0x51u,
                                 .disk_id = n->identity.disk_id,
                                 .incarnation = n->identity.incarnation,
                                 .spec = {.cluster = "sim",
                                          .names = NAMES,
                                          .count = c->nodes,
                                          .partitions = c->partitions,
                                          .copies = c->copies,
                                          .eventual = c->eventual}};
    for (unsigned i = 0; i < c->nodes; i++) {
        struct tm_node_address *at = &n->shared.address[i];
        snprintf(at->ip, sizeof at->ip, "10.0.0.%u", i + 1);
        at->port = 7000;
        at->worker_port0 = 7001;
    }
}

static void make_shard(struct worker *w, bool was_clean)
{
    struct node *n = w->node;
    struct tm_shard_config c = {.ctx = &w->ctx,
                                .options = &n->sim->config.options,
                                .node = &n->shared,
                                .worker = w->number,
                                .identity = w->number == 0 ? &n->identity : NULL,
                                .datadir = &n->identity,
                                .version = "sim",
                                .was_clean = was_clean,
                                .sync = TM_WAL_DSYNC,
                                .memory_limit = n->sim->config.options.memory_limit,
                                .limits = tm_session_limits_of(&n->sim->config.options),
                                .host = w,
                                .local = w_local,
                                .fatal = w_fatal,
                                .option_set = w_option_set,
                                .shutdown = w_shutdown};
    w->shard = tm_shard_new(&c);
    TM_ASSERT(w->shard != NULL);
    struct tm_fabric_sink sink = tm_shard_sink(w->shard);
    tm_shard_set_fabric(w->shard, tm_sim_wire_join(n->sim->wire, n->number, w->number, &sink));
}

bool tm_sim_start(struct tm_sim *sim, unsigned node)
{
    struct node *n = &sim->nodes[node];
    bool was_clean = false;
    TM_ASSERT(!n->up);
    n->why[0] = '\0';
    n->count = sim->config.workers[node] != 0 ? sim->config.workers[node] : sim->config.workers[0];
    n->failed = n->paused = n->stopping = false;
    tm_sim_disk_set_latency(n->disk, sim->config.disk_min_ns, sim->config.disk_max_ns);
    tm_sim_disk_poll(n->disk, sim->now);
    for (unsigned i = 0; i < n->count; i++)
        n->workers[i].ctx.disk = tm_sim_disk_table(n->disk);
    if (!open_directory(n, &was_clean))
        return false;
    describe(n);
    n->up = true;
    for (unsigned i = 0; i < n->count; i++)
        make_shard(&n->workers[i], was_clean);
    for (unsigned i = 0; i < n->count; i++) {
        n->workers[i].awake = true;
        n->workers[i].busy_until = sim->now;
        enum tm_err e = tm_shard_start(n->workers[i].shard, n->why, sizeof n->why);
        if (e != TM_OK) {
            tm_sim_end(sim, node, TM_SIM_KILL);
            return false;
        }
    }
    return true;
}

static void drop_rings(struct worker *w)
{
    while (w->ring != NULL) {
        struct ring_item *item = w->ring;
        w->ring = item->next;
        free(item);
    }
    w->ring_end = &w->ring;
    w->ring_bytes = 0;
}

static void close_conns(struct node *n)
{
    for (struct tm_sim_conn *c = n->sim->conns; c != NULL; c = c->next)
        if (c->worker->node == n) {
            c->closing = true;
            c->session = NULL;
            c->arrives = n->sim->now;
        }
}

/* The process is over. */
static void leave(struct node *n, void (*end)(struct tm_shard *s))
{
    n->up = n->stopping = n->paused = false;
    close_conns(n);
    tm_sim_wire_leave(n->sim->wire, n->number);
    for (unsigned i = 0; i < n->count; i++) {
        struct worker *w = &n->workers[i];
        end(w->shard);
        w->shard = NULL;
        w->awake = false;
        drop_rings(w);
    }
    tm_node_free(&n->shared);
}

void tm_sim_end(struct tm_sim *sim, unsigned node, enum tm_sim_end how)
{
    struct node *n = &sim->nodes[node];
    if (!n->up && how == TM_SIM_KILL)
        return;
    if (how == TM_SIM_POWER)
        tm_sim_disk_crash(n->disk, -1);
    else
        tm_sim_disk_kill(n->disk);
    if (n->up)
        leave(n, tm_shard_abandon);
}

static bool all_stopped(const struct node *n)
{
    for (unsigned i = 0; i < n->count; i++)
        if (!tm_shard_stopped(n->workers[i].shard))
            return false;
    return true;
}

static bool stopped(void *arg)
{
    const struct node *n = arg;
    return !n->up || n->failed || all_stopped(n);
}

bool tm_sim_stop(struct tm_sim *sim, unsigned node, uint64_t patience_ns)
{
    struct node *n = &sim->nodes[node];
    struct tm_datadir_error error;
    if (!n->up)
        return true;
    for (unsigned i = 0; i < n->count; i++) {
        tm_shard_stop(n->workers[i].shard);
        n->workers[i].awake = true;
    }
    if (!tm_sim_run_until(sim, stopped, n, patience_ns) || !n->up || n->failed) {
        tm_sim_end(sim, node, TM_SIM_KILL);
        return false;
    }
    leave(n, tm_shard_free);
    tm_sim_disk_drain(n->disk);
    return tm_datadir_end(tm_sim_disk_table(n->disk), &n->identity, &error) == TM_OK;
}

void tm_sim_wipe(struct tm_sim *sim, unsigned node)
{
    struct node *n = &sim->nodes[node];
    TM_ASSERT(!n->up);
    tm_sim_disk_free(n->disk);
    n->disk = tm_sim_disk_new(tm_rng_next(&sim->rng));
}

/* A node that reported a fatal error ends, as its process does. */
static void end_failed(struct tm_sim *sim)
{
    for (unsigned i = 0; i < sim->config.nodes; i++) {
        if (!sim->nodes[i].up || !sim->nodes[i].failed)
            continue;
        sim->fatal++;
        tm_sim_end(sim, i, TM_SIM_KILL);
    }
}

/* ---- what a test may ask ---- */

bool tm_sim_is_up(const struct tm_sim *sim, unsigned node)
{
    return sim->nodes[node].up;
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
    sim->nodes[node].paused = paused;
    tm_sim_wire_deaf(sim->wire, node, paused);
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

uint64_t tm_sim_now(const struct tm_sim *sim)
{
    return sim->now;
}

uint64_t tm_sim_draw(struct tm_sim *sim, uint64_t bound)
{
    return tm_rng_below(&sim->rng, bound);
}

/* ---- clients ---- */

struct tm_sim_conn *tm_sim_connect(struct tm_sim *sim, unsigned node, unsigned worker,
                                   const struct tm_sim_client *client)
{
    struct node *n = &sim->nodes[node];
    if (!n->up || n->paused || worker >= n->count)
        return NULL;
    struct tm_session_peer peer = {.addr = "10.9.9.9:999", .laddr = "10.0.0.1:7000"};
    struct tm_sim_conn *c = calloc(1, sizeof *c);
    TM_ASSERT(c != NULL);
    *c = (struct tm_sim_conn){.sim = sim, .worker = &n->workers[worker], .client = *client};
    c->session = tm_session_open(tm_shard_sessions(c->worker->shard), &peer, c);
    c->arrives = UINT64_MAX;
    if (c->session == NULL) {
        free(c);
        return NULL;
    }
    c->next = sim->conns;
    sim->conns = c;
    return c;
}

static void append(uint8_t **buf, size_t *len, size_t *cap, struct tm_bytes bytes)
{
    if (*len + bytes.len > *cap) {
        *cap = tm_align_up((*len + bytes.len) * 2, 64);
        *buf = realloc(*buf, *cap);
        TM_ASSERT(*buf != NULL);
    }
    memcpy(*buf + *len, bytes.data, bytes.len);
    *len += bytes.len;
}

static uint64_t soon(struct tm_sim *sim)
{
    return sim->now + TM_US(5) + tm_rng_below(&sim->rng, TM_US(50));
}

void tm_sim_send(struct tm_sim_conn *c, struct tm_bytes bytes)
{
    append(&c->in, &c->in_len, &c->in_cap, bytes);
    if (c->arrives == UINT64_MAX)
        c->arrives = soon(c->sim);
}

void tm_sim_disconnect(struct tm_sim_conn *c)
{
    c->client = (struct tm_sim_client){0};
    c->closing = true;
    c->arrives = c->sim->now;
}

static void conn_free(struct tm_sim_conn *c)
{
    free(c->in);
    free(c->out);
    free(c);
}

/* What the client sent reaches the session, or the connection ends. */
static void conn_arrive(struct tm_sim_conn *c)
{
    c->arrives = UINT64_MAX;
    if (c->closing || c->session == NULL || !c->worker->node->up)
        return;
    c->worker->awake = true;
    if (!tm_session_wants_input(c->session)) {
        c->arrives = soon(c->sim);
        return;
    }
    size_t len = c->in_len;
    c->in_len = 0;
    if (len > 0)
        tm_session_input(c->session, c->in, len);
}

/* Takes the whole replies out of what the node sent. */
static void conn_replies(struct tm_sim_conn *c)
{
    size_t at = 0, used;
    while (!c->closing && c->client.reply != NULL) {
        enum tm_resp_status st = tm_resp_skip(&c->skipper, c->out + at, c->out_len - at, &used);
        TM_ASSERT(st != TM_RESP_BROKEN);
        if (st != TM_RESP_DONE)
            break;
        at += used;
        c->client.reply(c->client.host, c, tm_bytes_of(c->out + at - used, used));
    }
    memmove(c->out, c->out + at, c->out_len - at);
    c->out_len -= at;
}

static void pump(struct worker *w)
{
    struct tm_session *s;
    while ((s = tm_sessions_next_ready(tm_shard_sessions(w->shard))) != NULL) {
        struct tm_sim_conn *c = tm_session_owner(s);
        struct tm_bytes pieces[8];
        unsigned n;
        while ((n = tm_session_output(s, pieces, 8)) > 0) {
            size_t len = 0;
            for (unsigned i = 0; i < n; len += pieces[i].len, i++)
                append(&c->out, &c->out_len, &c->out_cap, pieces[i]);
            tm_session_sent(s, len);
        }
        conn_replies(c);
        if (tm_session_wants_close(s)) {
            tm_session_close(s);
            c->session = NULL;
            c->closing = true;
            c->arrives = w->sim->now;
        }
    }
}

/* Ends connections that are over. */
static void reap_conns(struct tm_sim *sim)
{
    for (struct tm_sim_conn **at = &sim->conns; *at != NULL;) {
        struct tm_sim_conn *c = *at;
        if (!c->closing || c->arrives > sim->now) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        if (c->session != NULL)
            tm_session_close(c->session);
        if (c->client.closed != NULL)
            c->client.closed(c->client.host, c);
        conn_free(c);
        at = &sim->conns; /* the call may have connected anew */
    }
}

/* ---- drivers ---- */

void tm_sim_drive(struct tm_sim *sim, const struct tm_sim_driver *driver)
{
    TM_ASSERT(sim->driver_count < DRIVERS_MAX);
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

static void turn(struct worker *w)
{
    w->awake = false;
    struct ring_item *item = w->ring;
    w->ring = NULL;
    w->ring_end = &w->ring;
    w->ring_bytes = 0;
    while (item != NULL) {
        struct ring_item *next = item->next;
        tm_shard_local(w->shard, item->from, tm_bytes_of(item->bytes, item->len));
        free(item);
        item = next;
    }
    tm_shard_turn(w->shard);
    pump(w);
    tm_shard_flush(w->shard);
    pump(w);
    w->awake |= !tm_shard_idle(w->shard);
    w->busy_until = w->sim->now + 1 + tm_rng_below(&w->sim->rng, w->sim->config.turn_ns);
}

/* When the worker takes its next turn. */
static uint64_t next_turn(const struct worker *w)
{
    if (w->awake)
        return w->busy_until;
    return tm_max_u64(tm_shard_next_deadline(w->shard), w->busy_until);
}

static void poll_disks(struct tm_sim *sim)
{
    for (unsigned i = 0; i < sim->config.nodes; i++) {
        struct node *n = &sim->nodes[i];
        if (!n->up || n->paused || tm_sim_disk_next_due(n->disk) > sim->now)
            continue;
        tm_sim_disk_poll(n->disk, sim->now);
        for (unsigned k = 0; k < n->count; k++)
            n->workers[k].awake = true;
    }
}

static void set_disk_clocks(struct tm_sim *sim)
{
    for (unsigned i = 0; i < sim->config.nodes; i++)
        if (tm_sim_disk_next_due(sim->nodes[i].disk) > sim->now)
            tm_sim_disk_poll(sim->nodes[i].disk, sim->now);
}

/* All that is due now. */
static void step(struct tm_sim *sim)
{
    drive(sim);
    set_disk_clocks(sim);
    tm_sim_wire_poll(sim->wire, sim->now);
    poll_disks(sim);
    for (struct tm_sim_conn *c = sim->conns; c != NULL; c = c->next)
        if (c->arrives <= sim->now && !c->closing)
            conn_arrive(c);
    reap_conns(sim);
    for (unsigned i = 0; i < sim->config.nodes; i++) {
        struct node *n = &sim->nodes[i];
        for (unsigned k = 0; n->up && !n->paused && k < n->count; k++)
            if (next_turn(&n->workers[k]) <= sim->now)
                turn(&n->workers[k]);
    }
    end_failed(sim);
    reap_conns(sim);
}

static uint64_t next_event(const struct tm_sim *sim)
{
    uint64_t next = tm_min_u64(tm_sim_wire_next_due(sim->wire), next_drive(sim));
    for (const struct tm_sim_conn *c = sim->conns; c != NULL; c = c->next)
        next = tm_min_u64(next, c->worker->node->paused && !c->closing ? UINT64_MAX : c->arrives);
    for (unsigned i = 0; i < sim->config.nodes; i++) {
        const struct node *n = &sim->nodes[i];
        if (!n->up || n->paused)
            continue;
        next = tm_min_u64(next, tm_sim_disk_next_due(n->disk));
        for (unsigned k = 0; k < n->count; k++)
            next = tm_min_u64(next, next_turn(&n->workers[k]));
    }
    return next;
}

void tm_sim_run_for(struct tm_sim *sim, uint64_t ns)
{
    uint64_t end = sim->now + ns;
    for (;;) {
        step(sim);
        uint64_t next = tm_max_u64(next_event(sim), sim->now + 1);
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
                                .turn_ns = TM_US(10)};
    tm_options_init(&c->options);
    c->options.wal_segment_bytes = TM_MIB(1);
    c->options.wal_bytes = TM_MIB(8);
}

struct tm_sim *tm_sim_new(const struct tm_sim_config *config)
{
    struct tm_sim *sim = calloc(1, sizeof *sim);
    TM_ASSERT(sim != NULL && config->nodes <= TM_SIM_NODES_MAX);
    sim->config = *config;
    sim->now = TM_SECONDS(1);
    sim->print = getenv("TM_SIM_LOG") != NULL;
    tm_rng_seed(&sim->rng, config->seed);
    sim->config.wire.seed = tm_rng_next(&sim->rng);
    sim->config.wire.host = sim;
    sim->config.wire.woke = woke;
    sim->wire = tm_sim_wire_new(&sim->config.wire);
    for (unsigned i = 0; i < config->nodes; i++) {
        struct node *n = &sim->nodes[i];
        n->sim = sim;
        n->number = i;
        n->disk = tm_sim_disk_new(tm_rng_next(&sim->rng));
        n->skew_ms = tm_rng_below(&sim->rng, 50);
        for (unsigned k = 0; k < TM_SIM_WORKERS_MAX; k++) {
            struct worker *w = &n->workers[k];
            *w = (struct worker){.sim = sim, .node = n, .number = k, .ring_end = &w->ring};
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
    return sim;
}

void tm_sim_free(struct tm_sim *sim)
{
    for (unsigned i = 0; i < sim->config.nodes; i++)
        tm_sim_end(sim, i, TM_SIM_KILL);
    while (sim->conns != NULL) {
        struct tm_sim_conn *c = sim->conns;
        sim->conns = c->next;
        conn_free(c);
    }
    for (unsigned i = 0; i < sim->config.nodes; i++) {
        tm_sim_disk_free(sim->nodes[i].disk);
        for (unsigned k = 0; k < TM_SIM_WORKERS_MAX; k++)
            free(sim->nodes[i].workers[k].counters);
    }
    tm_sim_wire_free(sim->wire);
    free(sim);
}

/* ---- the cluster at rest ---- */

struct look {
    struct tm_sim *sim;
    unsigned node;
    char *why;
    size_t size;
    unsigned leaders[TM_DIRECTORY_PARTITIONS_MAX + 1], seen[TM_DIRECTORY_PARTITIONS_MAX + 1];
    struct tm_shard_partition first[TM_DIRECTORY_PARTITIONS_MAX + 1];
    unsigned first_node[TM_DIRECTORY_PARTITIONS_MAX + 1];
    unsigned unequal, different;
};

static void look_at(void *arg, const struct tm_shard_partition *p)
{
    struct look *l = arg;
    uint32_t id = p->partition;
    l->leaders[id] += p->ready;
    if (strcmp(p->role, "WITNESS") == 0)
        return;
    if (l->seen[id]++ == 0) {
        l->first[id] = *p;
        l->first_node[id] = l->node;
    }
    const struct tm_shard_partition *f = &l->first[id];
    if (p->applied != f->applied || p->commit != f->commit || p->last != p->commit ||
        p->applied != p->commit || p->faulty) {
        snprintf(l->why, l->size,
                 "partition %u: %s has applied %llu commit %llu last %llu term %llu%s, "
                 "%s applied %llu commit %llu",
                 id, NAMES[l->node], (unsigned long long)p->applied, (unsigned long long)p->commit,
                 (unsigned long long)p->last, (unsigned long long)p->term,
                 p->faulty ? " faulty" : "", NAMES[l->first_node[id]],
                 (unsigned long long)f->applied, (unsigned long long)f->commit);
        l->unequal++;
    } else if (p->state_hash != f->state_hash || p->entities != f->entities) {
        snprintf(
            l->why, l->size,
            "partition %u at %llu: state %016llx of %llu entities on %s, %016llx of %llu on %s", id,
            (unsigned long long)p->applied, (unsigned long long)p->state_hash,
            (unsigned long long)p->entities, NAMES[l->node], (unsigned long long)f->state_hash,
            (unsigned long long)f->entities, NAMES[l->first_node[id]]);
        l->different++;
    }
}

static struct look *look(struct tm_sim *sim, char *why, size_t size,
                         void (*visit)(void *arg, const struct tm_shard_partition *p))
{
    struct look *l = calloc(1, sizeof *l);
    TM_ASSERT(l != NULL);
    *l = (struct look){.sim = sim, .why = why, .size = size};
    why[0] = '\0';
    for (unsigned i = 0; i < sim->config.nodes; i++) {
        l->node = i;
        for (unsigned k = 0; sim->nodes[i].up && k < sim->nodes[i].count; k++)
            tm_shard_partitions(sim->nodes[i].workers[k].shard, visit, l);
    }
    return l;
}

bool tm_sim_converged(struct tm_sim *sim, char *why, size_t size)
{
    struct look *l = look(sim, why, size, look_at);
    bool good = l->unequal == 0;
    for (uint32_t p = 0; p <= sim->config.partitions; p++) {
        unsigned copies = p < sim->config.partitions ? sim->config.copies : 1;
        if (l->leaders[p] == 1 && l->seen[p] >= copies)
            continue;
        snprintf(why, size, "partition %u: %u leaders, %u copies", p, l->leaders[p], l->seen[p]);
        good = false;
    }
    free(l);
    return good;
}

static void look_whole(void *arg, const struct tm_shard_partition *p)
{
    struct look *l = arg;
    l->leaders[p->partition] += p->ready;
    if (p->faulty || (p->ready && p->in_sync < p->copies)) {
        snprintf(l->why, l->size, "partition %u on %s: %u of %u in sync%s", p->partition,
                 NAMES[l->node], p->in_sync, p->copies, p->faulty ? ", faulty" : "");
        l->unequal++;
    }
}

bool tm_sim_whole(struct tm_sim *sim, char *why, size_t size)
{
    struct look *l = look(sim, why, size, look_whole);
    bool good = l->unequal == 0;
    for (uint32_t p = 0; p <= sim->config.partitions; p++)
        good &= l->leaders[p] == 1;
    free(l);
    return good;
}

unsigned tm_sim_differences(struct tm_sim *sim, char *why, size_t size)
{
    struct look *l = look(sim, why, size, look_at);
    unsigned different = l->different;
    free(l);
    return different;
}
