/* Boot in order: the node's description, ports, shared memory, log, fabric, then each worker with
 * its actors.  The end in order: every shard gives up leadership and closes its log on its own
 * thread, the loops end, memory and ports are given back. */
#include "tools/host_internal.h"
#include "runtime/clock.h"
#include "tools/membership.h"
#include "tools/rules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>
#include <xxhash.h>

#define LOG_RING_BYTES TM_KIB(64)
#define LOCK_DIR       "/tmp/tidemill-ports"
#define BACKLOG        1024
#define WAITING_NS     TM_SECONDS(1)
#define KEEP_NS        TM_MS(900)

/* ---- the shard as an actor ---- */

static struct tm_idle_config idle_of(const struct tm_host *h, const struct tm_options *o)
{
    return (struct tm_idle_config){.strategy = o->idle,
                                   .cores = h->cpu.cores,
                                   .workers = h->config.machine_workers,
                                   .spin_ns = TM_US(o->idle_spin_us),
                                   .yield_ns = TM_US(o->idle_yield_us)};
}

static void take_options(struct tm_host_worker *w)
{
    uint32_t version = atomic_load(&w->host->options_version);
    if (version == w->options_seen)
        return;
    w->options_seen = version;
    pthread_mutex_lock(&w->host->mutex);
    struct tm_options options = w->host->options;
    pthread_mutex_unlock(&w->host->mutex);
    struct tm_idle_config idle = idle_of(w->host, &options);
    if (w->has_loop)
        tm_worker_set_idle(w->worker, &idle);
    tm_shard_options(w->shard, &options);
    tm_host_clients_options(w, &options);
}

static enum tm_err shard_start(void *self, struct tm_worker *worker, char *why, size_t why_len)
{
    struct tm_host_worker *w = self;
    (void)worker;
    enum tm_err e = tm_shard_start(w->shard, why, why_len);
    if (e == TM_OK)
        tm_host_clients_start(w);
    return e;
}

static unsigned shard_poll(void *self)
{
    struct tm_host_worker *w = self;
    if (atomic_load_explicit(&w->host->stopping, memory_order_relaxed) && !w->stop_asked) {
        w->stop_asked = true;
        tm_shard_stop(w->shard);
    }
    tm_shard_turn(w->shard);
    return tm_shard_idle(w->shard) ? 0 : 1;
}

static void shard_flush(void *self)
{
    struct tm_host_worker *w = self;
    tm_host_clients_pump(w);
    tm_shard_flush(w->shard);
    tm_host_clients_pump(w);
    if (w->stop_asked && !atomic_load(&w->stopped) && tm_shard_stopped(w->shard)) {
        atomic_store(&w->stopped, true);
        eventfd_write(w->host->event_fd, 1);
    }
}

static bool shard_before_park(void *self)
{
    struct tm_host_worker *w = self;
    return tm_shard_idle(w->shard);
}

static uint64_t shard_deadline(void *self)
{
    struct tm_host_worker *w = self;
    return tm_shard_next_deadline(w->shard);
}

static void shard_housekeep(void *self)
{
    struct tm_host_worker *w = self;
    const struct tm_sessions_stats *st = tm_sessions_stats(tm_shard_sessions(w->shard));
    const struct tm_socket_stats *so = tm_socket_hub_stats(w->hub);
    struct tm_counters *c = w->counters;
    take_options(w);
    tm_counter_set(c, TM_COUNTER_clients, st->clients);
    tm_counter_set(c, TM_COUNTER_clients_accepted, so->accepted);
    tm_counter_set(c, TM_COUNTER_clients_rejected, st->rejected + so->refused);
    tm_counter_set(c, TM_COUNTER_clients_dropped, st->closed_by_limit);
    tm_counter_set(c, TM_COUNTER_client_bytes_received, so->bytes_in);
    tm_counter_set(c, TM_COUNTER_client_bytes_sent, so->bytes_out);
    tm_counter_set(c, TM_COUNTER_commands, st->commands);
    tm_counter_set(c, TM_COUNTER_client_memory_bytes, st->memory);
    tm_counter_set(c, TM_COUNTER_replies, st->replies);
    tm_counter_set(c, TM_COUNTER_replies_error, st->errors);
}

static const struct tm_actor_ops shard_ops = {.name = "shard",
                                              .phase = TM_PHASE_TIMERS,
                                              .start = shard_start,
                                              .poll = shard_poll,
                                              .flush = shard_flush,
                                              .before_park = shard_before_park,
                                              .next_deadline = shard_deadline,
                                              .housekeep = shard_housekeep};

/* ---- what shards ask of the process ---- */

void tm_host_fatal(struct tm_host *h, enum tm_err err, const char *why)
{
    pthread_mutex_lock(&h->mutex);
    if (h->fatal_err == TM_OK) {
        h->fatal_err = err;
        snprintf(h->fatal, sizeof h->fatal, "%s", why);
    }
    pthread_mutex_unlock(&h->mutex);
    eventfd_write(h->event_fd, 1);
}

static void on_fatal(void *host, enum tm_err err, const char *why)
{
    struct tm_host_worker *w = host;
    tm_host_fatal(w->host, err, why);
}

static void on_stats(void *host, struct tm_router_stats *out)
{
    const struct tm_host_worker *w = host;
    struct rusage ru;
    getrusage(RUSAGE_SELF, &ru);
    out->pid = (uint64_t)getpid();
    out->uptime_ms = (tm_ctx_now(&w->worker->ctx) - w->host->started_ns) / 1000000;
    out->memory_rss = (uint64_t)ru.ru_maxrss * 1024;
    out->cpu_user_us = (uint64_t)ru.ru_utime.tv_sec * 1000000 + (uint64_t)ru.ru_utime.tv_usec;
    out->cpu_system_us = (uint64_t)ru.ru_stime.tv_sec * 1000000 + (uint64_t)ru.ru_stime.tv_usec;
}

static uint64_t on_counter(void *host, enum tm_counter which)
{
    const struct tm_host_worker *w = host;
    return tm_counters_read(w->host->counters, which);
}

static enum tm_err on_option_set(void *host, const struct tm_bytes *pairs, unsigned count,
                                 unsigned *bad, char *why, size_t cap)
{
    struct tm_host_worker *w = host;
    char text[TM_OPTION_WHY_MAX];
    pthread_mutex_lock(&w->host->mutex);
    enum tm_err e = tm_options_change(&w->host->options, pairs, count, bad, text);
    atomic_store(&w->host->log_target.level, (int)w->host->options.log_level);
    pthread_mutex_unlock(&w->host->mutex);
    if (e == TM_OK) {
        atomic_fetch_add(&w->host->options_version, 1);
        take_options(w);
    } else {
        snprintf(why, cap, "%s", text);
    }
    return e == TM_ERR_UNSUPPORTED ? TM_ERR_PERMISSION : e;
}

static void on_shutdown(void *host)
{
    struct tm_host_worker *w = host;
    tm_host_fatal(w->host, TM_OK, "");
    atomic_store(&w->host->shutdown_asked, true);
    eventfd_write(w->host->event_fd, 1);
}

/* ---- boot: description, ports ---- */

static enum tm_err describe_node(struct tm_host *h, char *why)
{
    const struct tm_cluster_spec *c = h->config.cluster;
    const struct tm_name_list *listed = tm_cluster_listed(c);
    struct tm_node *n = &h->node;
    h->facts = malloc(TM_DIRECTORY_FACTS_MAX + 1);
    TM_ASSERT(h->facts != NULL);
    for (unsigned i = 0; i < c->nodes.count; i++) {
        h->names[i] = c->nodes.names[i];
        snprintf(n->address[i].ip, sizeof n->address[i].ip, "%s", h->ports[i].address);
        n->address[i].port = tm_ports_client(&h->ports[i]);
        n->address[i].worker_port0 = tm_ports_worker(&h->ports[i], 0);
    }
    n->self = h->config.node;
    n->workers = h->count;
    n->cluster_hash = XXH3_64bits(c->name, strlen(c->name));
    n->spec = (struct tm_directory_spec){.cluster = c->name,
                                         .names = h->names,
                                         .count = c->nodes.count,
                                         .partitions = c->partitions,
                                         .copies = c->replication_factor,
                                         .eventual = c->eventual,
                                         .blocks = c->blocks,
                                         .facts = h->facts};
    n->file = n->spec;
    n->file.names = (const char *const *)listed->names;
    n->file.count = listed->count;
    n->link_base = (struct tm_link_base){.address = h->options.address,
                                         .base_port = (unsigned)h->options.base_port};
    n->disk_id = h->config.identity->disk_id;
    n->incarnation = h->config.identity->incarnation;
    while (n->boot == 0)
        if (getrandom(&n->boot, sizeof n->boot, 0) != sizeof n->boot)
            n->boot = 0;
    tm_host_links_describe(h);
    enum tm_err e = tm_membership_facts(h->config.topology, c, h->facts);
    if (e != TM_OK)
        snprintf(why, TM_HOST_WHY_MAX,
                 "%s says more of cluster %s than the %d bytes that a directory holds: shorten its "
                 "lists",
                 h->config.topology->path, c->name, TM_DIRECTORY_FACTS_MAX);
    return e;
}

static enum tm_err plan_ports(struct tm_host *h, char *why)
{
    const struct tm_options *o = &h->options;
    for (unsigned i = 0; i < h->config.cluster->nodes.count; i++) {
        enum tm_err e =
            tm_ports_plan(h->config.topology, h->config.cluster, i, (unsigned)o->base_port,
                          o->address, &h->ports[i], why, TM_HOST_WHY_MAX);
        if (e != TM_OK)
            return e;
    }
    const struct tm_ports *own = &h->ports[h->config.node];
    if (o->listen[0] == '\0')
        tm_ports_text(own, tm_ports_client(own), h->listen, sizeof h->listen);
    else
        snprintf(h->listen, sizeof h->listen, "%s", o->listen);
    return TM_OK;
}

/* Locks, probes, binds and listens. */
static enum tm_err take_port(struct tm_host *h, const char *text, bool shared, int *fd, char *why)
{
    struct tm_addr addr;
    enum tm_err e = tm_addr_resolve(&addr, text);
    if (e != TM_OK || tm_addr_port(&addr) == 0) {
        snprintf(why, TM_HOST_WHY_MAX,
                 "cannot listen at \"%s\": an address and a port are needed, "
                 "such as 127.0.0.1:7000",
                 text);
        return TM_ERR_INVALID;
    }
    struct tm_portlock *lock = &h->locks[h->lock_count];
    if (*fd == -1 && (!shared || h->shared_locked == false)) {
        e = tm_portlock_acquire(lock, LOCK_DIR, &addr, why, TM_HOST_WHY_MAX);
        if (e != TM_OK)
            return e;
        h->lock_count++;
        h->shared_locked |= shared;
    }
    *fd = tm_socket_bind(&addr, shared, BACKLOG);
    if (*fd < 0) {
        snprintf(why, TM_HOST_WHY_MAX, "cannot listen at %s: %s", text, strerror(-*fd));
        e = tm_err_from_errno(-*fd);
        *fd = -1;
    }
    return e;
}

static enum tm_err take_ports(struct tm_host *h, char *why)
{
    const struct tm_ports *own = &h->ports[h->config.node];
    bool tcp = h->options.fabric == TM_FABRIC_KIND_TCP && h->config.cluster->nodes.count > 1;
    enum tm_err e = TM_OK;
    for (unsigned i = 0; e == TM_OK && i < h->count; i++) {
        struct tm_host_worker *w = &h->workers[i];
        char text[96];
        e = take_port(h, h->listen, true, &w->client_fds[0], why);
        if (e == TM_OK)
            e = take_port(h, tm_ports_text(own, tm_ports_worker(own, i), text, sizeof text), false,
                          &w->client_fds[1], why);
        if (e == TM_OK && tcp)
            e = take_port(h, tm_ports_text(own, tm_ports_fabric(own, i), text, sizeof text), false,
                          &w->tcp_fd, why);
        if (e == TM_OK && h->node.site_count > 0)
            e = take_port(h, tm_ports_text(own, tm_ports_link(own, i), text, sizeof text), false,
                          &w->link_fd, why);
    }
    return e;
}

/* ---- boot: shared memory and log ---- */

static enum tm_err make_workspace(struct tm_host *h, char *why)
{
    static char names[2 * TM_PORTS_WORKERS_MAX * TM_PORTS_WORKERS_MAX][TM_WORKSPACE_NAME_MAX + 1];
    static struct tm_workspace_object objects[TM_ARRAY_LEN(names)];
    unsigned count = 0;
    char path[TM_WORKSPACE_PATH_MAX + 1];
    objects[count++] =
        (struct tm_workspace_object){"counters", tm_counters_footprint(h->count), TM_CACHE_PAIR};
    for (unsigned i = 0; i < h->count; i++) {
        snprintf(names[count], sizeof names[count], "log-%u", i);
        objects[count] = (struct tm_workspace_object){
            names[count], tm_ring_footprint(LOG_RING_BYTES), TM_CACHE_PAIR};
        count++;
        for (unsigned k = 0; k < h->count; k++) {
            if (i == k)
                continue;
            snprintf(names[count], sizeof names[count], "ring-%u-%u", i, k);
            objects[count] = (struct tm_workspace_object){
                names[count], tm_ring_footprint(tm_host_ring_bytes(h)), TM_CACHE_PAIR};
            count++;
        }
    }
    tm_workspace_sweep(TM_WORKSPACE_FOLDER);
    enum tm_err e = tm_workspace_path(path, h->config.data_dir);
    if (e == TM_OK)
        e = tm_workspace_create(&h->workspace, path, h->config.data_dir, objects, count);
    if (e != TM_OK)
        snprintf(why, TM_HOST_WHY_MAX, "cannot make the workspace %s of %zu KiB: %s", path,
                 tm_workspace_footprint(objects, count) / 1024,
                 e == TM_ERR_NOSPACE ? "/dev/shm is full: make it larger (mount -o "
                                       "remount,size=64m /dev/shm), or lower --workspace-bytes"
                                     : tm_err_text(e));
    h->has_workspace = e == TM_OK;
    return e;
}

static enum tm_err start_log(struct tm_host *h, char *why)
{
    enum tm_err e = tm_logger_init(&h->logger, &h->log_target);
    for (unsigned i = 0; e == TM_OK && i < h->count; i++) {
        char name[TM_WORKSPACE_NAME_MAX + 1];
        size_t bytes;
        snprintf(name, sizeof name, "log-%u", i);
        void *mem = tm_workspace_find(&h->workspace, name, &bytes);
        TM_ASSERT(mem != NULL && tm_ring_new(mem, LOG_RING_BYTES) != NULL);
        e = tm_logger_attach(&h->logger, &h->workers[i].log, tm_ring_join(mem, bytes), (int)i,
                             h->workers[i].counters);
    }
    if (e == TM_OK)
        e = tm_logger_start(&h->logger);
    h->logging = e == TM_OK;
    if (e != TM_OK)
        snprintf(why, TM_HOST_WHY_MAX, "cannot start the log: %s", tm_err_text(e));
    return e;
}

static enum tm_err share_memory(struct tm_host *h, char *why)
{
    enum tm_err e = make_workspace(h, why);
    if (e != TM_OK)
        return e;
    size_t bytes;
    void *mem = tm_workspace_find(&h->workspace, "counters", &bytes);
    TM_ASSERT(mem != NULL && tm_counters_new(mem, h->count) != NULL);
    e = tm_counters_join(&h->counters, mem, bytes);
    TM_ASSERT(e == TM_OK);
    for (unsigned i = 0; i < h->count; i++)
        h->workers[i].counters = tm_counters_worker(h->counters, i);
    tm_host_rings_join(h);
    return TM_OK;
}

/* ---- boot: workers ---- */

static bool pins(const struct tm_host *h)
{
    if (h->options.placement == TM_PLACEMENT_SHARED)
        return false;
    return h->options.pin == TM_PIN_ON ||
           (h->options.pin == TM_PIN_AUTO && h->config.machine_workers <= h->cpu.cores);
}

static enum tm_err init_loop(struct tm_host_worker *w)
{
    struct tm_host *h = w->host;
    const struct tm_options *o = &h->options;
    struct tm_worker_config c = {.index = w->index,
                                 .cpu = pins(h) ? tm_cpu_nth(&h->cpu, w->index) : -1,
                                 .idle = idle_of(h, o),
                                 .dir_fd = h->config.dir_fd,
                                 .counters = w->counters,
                                 .log = &w->log};
    w->has_loop = true;
    return tm_worker_init(&w->own, &c);
}

static enum tm_err make_shard(struct tm_host_worker *w, char *why)
{
    struct tm_host *h = w->host;
    struct tm_shard_config c = {.ctx = &w->worker->ctx,
                                .options = &h->options,
                                .node = &h->node,
                                .worker = w->index,
                                .identity = w->index == 0 ? h->config.identity : NULL,
                                .datadir = h->config.identity,
                                .version = TM_VERSION,
                                .was_clean = h->config.was_clean,
                                .sync = TM_WAL_DSYNC,
                                .memory_limit = tm_max_u64(h->options.memory_limit / h->count, 1),
                                .limits = tm_session_limits_of(&h->options),
                                .host = w,
                                .local = tm_host_local,
                                .fatal = on_fatal,
                                .stats = on_stats,
                                .counter = on_counter,
                                .option_set = on_option_set,
                                .shutdown = on_shutdown};
    w->shard = tm_shard_new(&c);
    w->rules = tm_rules_new("/proc/self/exe");
    if (w->shard == NULL || w->rules == NULL) {
        snprintf(why, TM_HOST_WHY_MAX, "not enough memory for worker %u", w->index);
        return TM_ERR_NOMEM;
    }
    const struct tm_link_functions functions = {.call = tm_rules_call, .host = w->rules};
    tm_shard_set_functions(w->shard, &functions);
    return TM_OK;
}

static enum tm_err make_worker(struct tm_host *h, unsigned i, char *why)
{
    struct tm_host_worker *w = &h->workers[i];
    bool shared = h->options.placement == TM_PLACEMENT_SHARED && i > 0;
    w->worker = shared ? &h->workers[0].own : &w->own;
    enum tm_err e = shared ? TM_OK : init_loop(w);
    if (e != TM_OK) {
        snprintf(why, TM_HOST_WHY_MAX, "worker %u: %s", i, w->own.why);
        return e;
    }
    e = make_shard(w, why);
    if (e == TM_OK)
        e = tm_host_fabric_add(w, why);
    if (e == TM_OK)
        e = tm_host_links_add(w, why);
    if (e == TM_OK && h->count > 1)
        e = tm_worker_add(w->worker, &tm_host_rings_ops, w);
    if (e == TM_OK)
        e = tm_host_clients_open(w);
    if (e == TM_OK)
        e = tm_worker_add(w->worker, &shard_ops, w);
    if (e == TM_ERR_FULL)
        snprintf(why, TM_HOST_WHY_MAX,
                 "too many workers for one thread: lower --workers or use "
                 "--placement dedicated");
    return e;
}

/* Finds the faster durable write of this device, before the loops run. */
static void probe_disk(struct tm_host *h)
{
    struct tm_disk_uring *first = &h->workers[0].own.disk;
    if (tm_disk_uring_probe(first) != 0)
        return; /* whatever is wrong with the device shows when the log is opened */
    for (unsigned i = 1; i < h->count; i++)
        h->workers[i].own.disk.dsync = first->dsync;
}

static enum tm_err start_workers(struct tm_host *h, char *why)
{
    for (unsigned i = 0; i < h->count; i++) {
        enum tm_err e = make_worker(h, i, why);
        if (e != TM_OK)
            return e;
    }
    probe_disk(h);
    for (unsigned i = 0; i < h->count; i++) {
        struct tm_host_worker *w = &h->workers[i];
        if (!w->has_loop)
            continue;
        enum tm_err e = tm_worker_start(&w->own);
        if (e != TM_OK) {
            snprintf(why, TM_HOST_WHY_MAX, "worker %u does not start: %s", i, w->own.why);
            return e;
        }
        w->runs = true;
    }
    return TM_OK;
}

static enum tm_err boot(struct tm_host *h, char *why)
{
    tm_cpu_budget_read(&h->cpu);
    tm_log_target_init(&h->log_target, h->config.cluster->nodes.names[h->config.node],
                       (enum tm_log_level)h->options.log_level);
    if (h->options.log_file[0] != '\0') {
        enum tm_err e = tm_log_target_open(&h->log_target, h->options.log_file);
        if (e != TM_OK) {
            snprintf(why, TM_HOST_WHY_MAX, "cannot log to %s: %s", h->options.log_file,
                     tm_err_text(e));
            return e;
        }
    }
    enum tm_err e = plan_ports(h, why);
    if (e != TM_OK)
        return e;
    if ((e = describe_node(h, why)) != TM_OK || (e = take_ports(h, why)) != TM_OK ||
        (e = share_memory(h, why)) != TM_OK || (e = tm_host_fabric_prepare(h, why)) != TM_OK ||
        (e = start_log(h, why)) != TM_OK)
        return e;
    return start_workers(h, why);
}

enum tm_err tm_host_start(const struct tm_host_config *config, struct tm_host **out, char *why)
{
    struct tm_host *h = calloc(1, sizeof *h);
    TM_ASSERT(h != NULL);
    h->config = *config;
    h->options = config->options;
    h->count = (unsigned)config->options.workers;
    h->workers =
        aligned_alloc(TM_CACHE_PAIR, tm_align_up(h->count * sizeof *h->workers, TM_CACHE_PAIR));
    TM_ASSERT(h->workers != NULL);
    memset(h->workers, 0, h->count * sizeof *h->workers);
    for (unsigned i = 0; i < h->count; i++) {
        h->workers[i].host = h;
        h->workers[i].index = i;
        h->workers[i].tcp_fd = h->workers[i].link_fd = -1;
        h->workers[i].client_fds[0] = h->workers[i].client_fds[1] = -1;
    }
    pthread_mutex_init(&h->mutex, NULL);
    h->started_ns = tm_clock_ns();
    h->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    enum tm_err e = boot(h, why);
    if (e != TM_OK) {
        char unused[TM_HOST_WHY_MAX];
        tm_host_stop(h, unused);
        tm_host_free(h);
        return e;
    }
    *out = h;
    return TM_OK;
}

/* ---- running and the end ---- */

enum tm_err tm_host_wait(struct tm_host *h, int stop_fd, const struct tm_host_events *events,
                         char *why)
{
    bool told = false;
    uint64_t look_at = tm_clock_ns() + WAITING_NS, keep_at = 0;
    for (;;) {
        struct pollfd fds[2] = {{.fd = stop_fd, .events = POLLIN},
                                {.fd = h->event_fd, .events = POLLIN}};
        if (tm_clock_ns() >= keep_at) {
            tm_host_fabric_keep(h);
            keep_at = tm_clock_ns() + KEEP_NS;
        }
        int ready = poll(fds, 2, told ? 1000 : 20);
        if (!told && atomic_load(&h->node.running)) {
            told = true;
            events->running(events->arg);
        }
        if (!told && tm_clock_ns() >= look_at) {
            enum tm_err e = events->waiting(events->arg, why);
            if (e != TM_OK)
                return e;
            look_at = tm_clock_ns() + WAITING_NS;
        }
        if (ready < 0 && errno != EINTR)
            return TM_ERR_IO;
        if (fds[0].revents != 0 || atomic_load(&h->shutdown_asked))
            return TM_OK;
        pthread_mutex_lock(&h->mutex);
        enum tm_err e = h->fatal_err;
        snprintf(why, TM_HOST_WHY_MAX, "%s", h->fatal);
        pthread_mutex_unlock(&h->mutex);
        if (e != TM_OK)
            return e;
    }
}

/* The first worker that has not come to its end; h->count: all have. */
static unsigned still_busy(const struct tm_host *h)
{
    unsigned i = 0;
    while (i < h->count && atomic_load(&h->workers[i].stopped))
        i++;
    return i;
}

/* Asks all shards to stop, and gives them time. */
static bool stop_shards(struct tm_host *h, char *why)
{
    uint64_t end = tm_clock_ns() + TM_MS(h->config.stop_ms);
    atomic_store(&h->stopping, true);
    for (unsigned i = 0; i < h->count; i++)
        if (h->workers[i].has_loop)
            tm_doorbell_force(&h->workers[i].own.bell);
    while (still_busy(h) < h->count && tm_clock_ns() < end) {
        struct pollfd p = {.fd = h->event_fd, .events = POLLIN};
        eventfd_t drained;
        poll(&p, 1, 10);
        eventfd_read(h->event_fd, &drained);
    }
    unsigned busy = still_busy(h);
    if (busy < h->count)
        snprintf(why, TM_HOST_WHY_MAX,
                 "worker %u did not come to its end within %u ms (is the disk slow?): it was cut "
                 "short, as by SIGKILL, and the next start recovers from its log",
                 busy, h->config.stop_ms);
    return busy == h->count;
}

bool tm_host_stop(struct tm_host *h, char *why)
{
    bool running = true, clean = false;
    snprintf(why, TM_HOST_WHY_MAX, "it had failed before");
    for (unsigned i = 0; i < h->count; i++)
        running &= h->workers[i].runs || (i > 0 && h->workers[0].runs);
    if (running && h->fatal_err == TM_OK)
        clean = stop_shards(h, why);
    for (unsigned i = 0; i < h->count; i++)
        if (h->workers[i].runs)
            tm_worker_stop(&h->workers[i].own);
    for (unsigned i = 0; i < h->count; i++) {
        if (h->workers[i].runs)
            tm_worker_join(&h->workers[i].own);
        h->workers[i].runs = false;
    }
    return clean;
}

/* A shard that was cut short has writes that will never be done.  What the kernel still holds (its
 * device hangs) stays where it is: this process is about to end. */
static void free_worker(struct tm_host_worker *w)
{
    tm_host_links_close(w);
    tm_host_fabric_close(w);
    if (w->worker != NULL && w->worker->abandoned)
        return;
    if (w->shard != NULL && !atomic_load(&w->stopped))
        tm_shard_abandon(w->shard);
    else
        tm_shard_free(w->shard);
    tm_rules_free(w->rules);
    if (w->hub != NULL)
        tm_socket_hub_delete(w->hub);
    for (unsigned i = 0; i < TM_ARRAY_LEN(w->client_fds); i++)
        if (w->client_fds[i] >= 0)
            close(w->client_fds[i]);
}

void tm_host_free(struct tm_host *h)
{
    for (unsigned i = 0; i < h->count; i++)
        free_worker(&h->workers[i]);
    if (h->logging)
        tm_logger_stop(&h->logger);
    for (unsigned i = 0; i < h->count; i++)
        if (h->workers[i].has_loop)
            tm_worker_fini(&h->workers[i].own);
    tm_host_fabric_end(h);
    if (h->has_workspace)
        tm_workspace_leave(&h->workspace);
    for (unsigned i = 0; i < h->lock_count; i++)
        tm_portlock_release(&h->locks[i]);
    tm_log_target_close(&h->log_target);
    tm_node_free(&h->node);
    pthread_mutex_destroy(&h->mutex);
    close(h->event_fd);
    free(h->workers);
    free(h->facts);
    free(h->sites);
    free(h);
}

const char *tm_host_listen(const struct tm_host *h)
{
    return h->listen;
}

const char *tm_host_fabric_name(const struct tm_host *h)
{
    if (h->config.cluster->nodes.count == 1)
        return "none";
    /* Not h->options, which a worker may be changing; the fabric does not change. */
    return h->config.options.fabric == TM_FABRIC_KIND_TCP ? "tcp" : "dpdk";
}

unsigned tm_host_workers(const struct tm_host *h)
{
    return h->count;
}

uint64_t tm_host_boot(const struct tm_host *h)
{
    return h->node.boot;
}
