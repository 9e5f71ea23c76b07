/* tidemill serve: one node of a cluster, in the foreground, until a signal or SHUTDOWN.
 *
 * The order matters: the topology is evaluated in a forked child before anything else exists;
 * signals are blocked before threads are; the data directory is locked before it is read. */
#include "actors/directory_file.h"
#include "tools/command.h"
#include "tools/host.h"
#include "tools/machine.h"
#include "tools/membership.h"
#include "tools/nodedir.h"
#include "runtime/cpu.h"
#include "runtime/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define FILES_MIN 256
#define STOP_MS   10000

extern char **environ;

struct serve {
    const char *topology_path, *cluster_name, *node_name, *data_dir, *machine_workers, *parent;
    struct tm_options options;
    struct tm_topology *topology;
    const struct tm_cluster_spec *cluster;
    int node;
    char path[4096]; /* of the data directory, absolute */
    int lock_fd, dir_fd, stop_fd;
    struct tm_datadir_identity identity;
    bool was_clean, was_created;
    bool is_new, made; /* the data directory: nobody has had it; it was not there */
    struct tm_host *host;
    char why[TM_HOST_WHY_MAX];
};

/* ---- arguments ---- */

/* Facts of the machine from the topology file, below the command line and the environment. */
static enum tm_err options_from_topology(struct serve *s)
{
    const struct tm_node_spec *n = tm_topology_node(s->topology, s->cluster_name, s->node_name);
    char workers[16];
    if (n == NULL)
        return TM_OK;
    snprintf(workers, sizeof workers, "%u", n->workers);
    const char *const rows[][2] = {{"address", n->address},
                                   {"workers", n->workers != 0 ? workers : ""},
                                   {"fabric", n->fabric},
                                   {"fabric-port", n->fabric_port}};
    for (size_t i = 0; i < TM_ARRAY_LEN(rows); i++) {
        if (rows[i][1][0] == '\0')
            continue;
        enum tm_err e =
            tm_options_set(&s->options, rows[i][0], rows[i][1], TM_OPTION_TOPOLOGY, s->why);
        if (e != TM_OK)
            return e;
    }
    return TM_OK;
}

static int take_arguments(struct serve *s, int argc, char **argv)
{
    const struct tm_flag flags[] = {
        {"topology", "FILE", &s->topology_path, "the topology file"},
        {"cluster", "C", &s->cluster_name, "the cluster of the file"},
        {"node", "N", &s->node_name, "the node of the cluster"},
        {"data-dir", "D", &s->data_dir, "where the node keeps its data"},
        {"machine-workers", "N", &s->machine_workers,
         "workers of all nodes on this machine; `up` tells it"},
        {"parent", "PID", &s->parent, "end when this process has; `up` tells it"}};
    char why[TM_OPTION_WHY_MAX];
    tm_options_init(&s->options);
    if (tm_options_from_env(&s->options, environ, why) != TM_OK ||
        tm_options_from_args(&s->options, flags, TM_ARRAY_LEN(flags), &argc, argv, why) != TM_OK)
        return tm_usage_error("serve", "%s", why);
    if (argc > 0)
        return tm_usage_error("serve", "unexpected argument \"%s\"", argv[0]);
    const char *const needed[][2] = {{"--topology", s->topology_path},
                                     {"--cluster", s->cluster_name},
                                     {"--node", s->node_name},
                                     {"--data-dir", s->data_dir}};
    for (size_t i = 0; i < TM_ARRAY_LEN(needed); i++)
        if (needed[i][1] == NULL || needed[i][1][0] == '\0')
            return tm_usage_error("serve", "%s is needed", needed[i][0]);
    return TM_EXIT_DONE;
}

static enum tm_err find_node(struct serve *s)
{
    enum tm_err e = tm_topology_load(s->topology_path, &s->topology, s->why, sizeof s->why);
    if (e != TM_OK)
        return e;
    const char *names[TM_CLUSTERS_MAX];
    char near[TM_NEAR_MAX];
    s->cluster = tm_topology_cluster(s->topology, s->cluster_name);
    if (s->cluster == NULL) {
        for (unsigned i = 0; i < s->topology->cluster_count; i++)
            names[i] = s->topology->clusters[i].name;
        snprintf(s->why, sizeof s->why, "%s defines no cluster \"%s\"%s", s->topology_path,
                 s->cluster_name,
                 tm_did_you_mean(near, s->cluster_name, names, s->topology->cluster_count));
        return TM_ERR_NOTFOUND;
    }
    s->node = tm_cluster_node_index(s->cluster, s->node_name);
    if (s->node < 0) {
        snprintf(s->why, sizeof s->why, "cluster %s has no node \"%s\"%s", s->cluster_name,
                 s->node_name,
                 tm_did_you_mean(near, s->node_name, (const char *const *)s->cluster->nodes.names,
                                 s->cluster->nodes.count));
        return TM_ERR_NOTFOUND;
    }
    return options_from_topology(s);
}

/* What the options leave to the machine: workers, memory. */
static enum tm_err fill_options(struct serve *s)
{
    struct tm_options *o = &s->options;
    struct tm_cpu_budget cpu;
    tm_cpu_budget_read(&cpu);
    if (o->workers == 0)
        o->workers = cpu.cores;
    if (o->workers > TM_PORTS_WORKERS_MAX) {
        if (o->source[TM_OPTION_workers] != TM_OPTION_DEFAULT) {
            snprintf(s->why, sizeof s->why, "--workers %d: the port plan has room for %d",
                     (int)o->workers, TM_PORTS_WORKERS_MAX);
            return TM_ERR_INVALID;
        }
        o->workers = TM_PORTS_WORKERS_MAX;
    }
    if (o->memory_limit == 0)
        o->memory_limit = tm_machine_memory_share(1);
    TM_STATIC_ASSERT(sizeof s->why >= TM_OPTION_WHY_MAX, "room for what is told");
    if (!tm_ports_check(o, s->why))
        return TM_ERR_INVALID;
    return tm_options_check(o, s->why);
}

/* ---- the data directory ---- */

static enum tm_err identify(struct serve *s, const struct tm_ctx *ctx)
{
    struct tm_datadir_error err;
    enum tm_err e = tm_datadir_read(ctx->disk, &s->identity, &err);
    if (e == TM_ERR_NOTFOUND)
        e = tm_datadir_format(ctx, s->cluster_name, s->node_name, &s->identity, &err);
    if (e == TM_OK)
        e = tm_datadir_check(&s->identity, s->cluster_name, s->node_name, &err);
    if (e == TM_OK)
        e = tm_datadir_begin(ctx->disk, &s->identity, (uint32_t)s->options.workers, &s->was_clean,
                             &err);
    if (e == TM_OK)
        e = tm_datadir_sweep(ctx->disk, &s->identity, &err);
    if (e != TM_OK)
        snprintf(s->why, sizeof s->why, "%s", err.text);
    return e;
}

/* The cluster numbers its nodes, not the file of today: the directory is in the data directory, or,
 * where that is new, with the nodes that run. */
static enum tm_err follow_directory(struct serve *s, struct tm_disk *disk)
{
    struct tm_directory *d = malloc(sizeof *d);
    TM_ASSERT(d != NULL);
    bool known = s->identity.created ? tm_directory_load(disk, d) == TM_OK
                                     : tm_membership_ask(s->topology, s->cluster, s->node_name,
                                                         &s->options, d) == TM_OK;
    enum tm_err e = TM_OK;
    if (known)
        e = tm_membership_follow(s->topology, s->cluster, d, s->node_name, s->why, sizeof s->why);
    s->node = tm_cluster_node_index(s->cluster, s->node_name);
    free(d);
    return e;
}

/* A node that does not become part of the cluster: somebody may know why. */
static enum tm_err waiting(void *arg, char *why)
{
    struct serve *s = arg;
    struct tm_directory *d = malloc(sizeof *d);
    enum tm_err e = TM_OK;
    if (d != NULL && !s->was_created &&
        tm_membership_ask(s->topology, s->cluster, s->node_name, &s->options, d) == TM_OK) {
        if (tm_directory_find(d, s->node_name) < 0)
            e = tm_membership_follow(s->topology, s->cluster, d, s->node_name, why,
                                     TM_HOST_WHY_MAX);
        else if (!tm_membership_agrees(s->cluster, d))
            e = TM_ERR_AGAIN;
        if (e == TM_ERR_AGAIN)
            snprintf(why, TM_HOST_WHY_MAX,
                     "the cluster has its nodes in another order than %s, which this node has "
                     "just learned: start it again",
                     s->topology->path);
    }
    free(d);
    return e;
}

/* Tries for a moment: `ps` and `up` take the lock for an instant when they look whether it is free;
 * and for as long as they may be stopped in that instant, if no node lives that has said that it is
 * its own. */
static enum tm_err lock_data_dir(struct serve *s, struct tm_datadir_error *err)
{
    const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    for (unsigned tries = 1;; tries++) {
        enum tm_err e = tm_datadir_lock(s->data_dir, &s->lock_fd, err);
        pid_t holder = tm_nodedir_holder(s->data_dir);
        unsigned most = tm_process_is_node(holder) && !tm_process_is_ending(holder) ? 10 : 3000;
        if (e != TM_ERR_LOCKED || tries >= most)
            return e;
        nanosleep(&pause, NULL);
    }
}

static bool is_there(const char *folder, const char *name)
{
    char path[sizeof((struct serve *)0)->path + 16];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

/* A start that was refused leaves nothing behind of a data directory that it made itself.  What
 * else lies there stays, and the folder with it. */
static void take_back(const struct serve *s)
{
    char path[sizeof s->path + 16];
    if (!s->is_new || s->path[0] == '\0' || !tm_datadir_discard(s->path, &s->identity))
        return;
    snprintf(path, sizeof path, "%s/node.json", s->path);
    unlink(path);
    if (s->made)
        rmdir(s->path);
}

static enum tm_err open_data_dir(struct serve *s)
{
    struct tm_datadir_error err;
    s->made = !is_there(s->data_dir, "");
    s->is_new = !is_there(s->data_dir, "lock") && !is_there(s->data_dir, "identity");
    enum tm_err e = lock_data_dir(s, &err);
    if (e != TM_OK) {
        snprintf(s->why, sizeof s->why, "%s", err.text);
        return e;
    }
    s->dir_fd = open(s->data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir_fd < 0 || realpath(s->data_dir, s->path) == NULL) {
        snprintf(s->why, sizeof s->why, "%s: %s", s->data_dir, strerror(errno));
        return tm_err_from_errno(errno);
    }
    /* A worker that never starts lends its disk and randomness. */
    struct tm_worker *w = aligned_alloc(TM_CACHE_PAIR, tm_align_up(sizeof *w, TM_CACHE_PAIR));
    TM_ASSERT(w != NULL);
    memset(w, 0, sizeof *w);
    struct tm_worker_config c = {.cpu = -1, .dir_fd = s->dir_fd};
    e = tm_worker_init(w, &c);
    if (e == TM_OK) {
        e = identify(s, &w->ctx);
        s->was_created = s->identity.created;
        if (e == TM_OK)
            e = follow_directory(s, w->ctx.disk);
        tm_worker_fini(w);
    } else {
        snprintf(s->why, sizeof s->why, "%s", w->why);
    }
    free(w);
    return e;
}

/* What `ps` and people find beside the data.  A node that cannot write it serves all the same. */
static void write_node_file(const struct serve *s, const char *state)
{
    struct tm_nodefile f = {.pid = getpid(), .workers = tm_host_workers(s->host)};
    char why[TM_NODEDIR_WHY];
    snprintf(f.cluster, sizeof f.cluster, "%s", s->cluster_name);
    snprintf(f.node, sizeof f.node, "%s", s->node_name);
    snprintf(f.listen, sizeof f.listen, "%s", tm_host_listen(s->host));
    snprintf(f.fabric, sizeof f.fabric, "%s", tm_host_fabric_name(s->host));
    snprintf(f.state, sizeof f.state, "%s", state);
    snprintf(f.boot, sizeof f.boot, "%016llx", (unsigned long long)tm_host_boot(s->host));
    snprintf(f.version, sizeof f.version, "%s", TM_VERSION);
    if (tm_nodefile_write(s->path, &f, why, sizeof why) != TM_OK)
        tm_fail("%s", why);
}

/* ---- running ---- */

static void running(void *arg)
{
    write_node_file(arg, "running");
}

static enum tm_err raise_limits(struct serve *s)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) != 0)
        return TM_OK;
    if (l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max;
        setrlimit(RLIMIT_NOFILE, &l);
    }
    if (l.rlim_max >= FILES_MIN)
        return TM_OK;
    snprintf(s->why, sizeof s->why,
             "this user may open %llu files, a node needs %d and one for each client: raise the "
             "limit (ulimit -n, LimitNOFILE=)",
             (unsigned long long)l.rlim_max, FILES_MIN);
    return TM_ERR_PERMISSION;
}

/* SIGTERM and SIGINT are read from a descriptor; SIGPIPE is of no use.  Every thread made later
 * inherits the mask. */
static int block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

/* A child of `up` in the foreground ends with it, however that ended. */
static void follow_parent(const struct serve *s)
{
    if (s->parent == NULL)
        return;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != (pid_t)strtol(s->parent, NULL, 10))
        raise(SIGTERM);
}

static enum tm_err start_host(struct serve *s)
{
    unsigned machine = (unsigned)s->options.workers;
    if (s->machine_workers != NULL)
        machine = (unsigned)strtoul(s->machine_workers, NULL, 10);
    struct tm_host_config c = {.topology = s->topology,
                               .cluster = s->cluster,
                               .node = (unsigned)s->node,
                               .data_dir = s->path,
                               .dir_fd = s->dir_fd,
                               .options = s->options,
                               .identity = &s->identity,
                               .was_clean = s->was_clean,
                               .machine_workers = machine,
                               .stop_ms = STOP_MS};
    return tm_host_start(&c, &s->host, s->why);
}

static enum tm_err prepare(struct serve *s)
{
    enum tm_err e = raise_limits(s);
    if (!s->options.huge_pages)
        prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    if (e != TM_OK)
        return e;
    s->stop_fd = block_signals();
    follow_parent(s);
    if ((e = open_data_dir(s)) != TM_OK)
        return e;
    return start_host(s);
}

/* Closes the log, and leaves the mark of a clean end if every worker came to it. */
static bool end(struct serve *s, char *why)
{
    bool clean = tm_host_stop(s->host, why);
    tm_host_free(s->host);
    struct tm_worker *w = aligned_alloc(TM_CACHE_PAIR, tm_align_up(sizeof *w, TM_CACHE_PAIR));
    TM_ASSERT(w != NULL);
    memset(w, 0, sizeof *w);
    struct tm_worker_config c = {.cpu = -1, .dir_fd = s->dir_fd};
    struct tm_datadir_error err;
    if (clean && tm_worker_init(w, &c) == TM_OK) {
        if (tm_datadir_end(w->ctx.disk, &s->identity, &err) != TM_OK)
            tm_fail("%s", err.text);
        tm_worker_fini(w);
    }
    free(w);
    return clean;
}

int tm_main_serve(int argc, char **argv)
{
    static struct serve s = {.lock_fd = -1, .dir_fd = -1};
    int usage = take_arguments(&s, argc, argv);
    if (usage != TM_EXIT_DONE)
        return usage;
    enum tm_err e = find_node(&s);
    if (e == TM_OK && fill_options(&s) != TM_OK)
        return tm_usage_error("serve", "%s", s.why);
    if (e == TM_OK)
        e = prepare(&s);
    if (e != TM_OK) {
        take_back(&s);
        return tm_fail("node %s of %s does not start: %s", s.node_name, s.cluster_name, s.why);
    }
    write_node_file(&s, "starting");
    struct tm_host_events events = {.arg = &s, .running = running, .waiting = waiting};
    e = tm_host_wait(s.host, s.stop_fd, &events, s.why);
    write_node_file(&s, "stopping");
    char why[TM_HOST_WHY_MAX];
    bool clean = end(&s, why);
    if (e != TM_OK) {
        take_back(&s);
        return tm_fail("node %s of %s ends: %s", s.node_name, s.cluster_name, s.why);
    }
    if (!clean)
        return tm_fail("node %s of %s ends: %s", s.node_name, s.cluster_name, why);
    return TM_EXIT_DONE;
}
