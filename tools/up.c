/* tidemill up: starts every node of a topology file on this machine, each its own process.
 *
 * What already runs on the same DIR is left alone, what died is started again with its data.  up
 * then waits until every cluster answers writes, asking each node as a client would.  Detached it
 * returns; in the foreground it stays, says which nodes end, and stops all when it is told to.  A
 * node that does not start is named with the last error of its log. */
#include "tools/client.h"
#include "tools/command.h"
#include "tools/up_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define DIR_DEFAULT    "tidemill-data"
#define ASK_MS         2000   /* for one answer of a node */
#define TICK_MS        100    /* between two looks at the nodes */
#define OLD_PROCESS_MS 60000  /* a killed process may take this long to give back its memory */
#define STUCK_MS       120000 /* without any progress */

extern char **environ;

static int usage(const char *text)
{
    return tm_usage_error("up", "%s", text);
}

static int parse(struct tm_up *up, const char **cluster, int argc, char **argv)
{
    const char *dir = DIR_DEFAULT, *detach = NULL;
    char why[TM_OPTION_WHY_MAX];
    const struct tm_flag flags[] = {
        {"dir", "DIR", &dir, "Where the data directories are: DIR/<cluster>/<node>."},
        {"cluster", "NAME", cluster, "Only the nodes of this cluster."},
        {"detach", NULL, &detach, "Return when every cluster answers writes."}};
    tm_options_init(&up->options);
    if (tm_options_from_env(&up->options, environ, why) != TM_OK ||
        tm_options_from_args(&up->options, flags, TM_ARRAY_LEN(flags), &argc, argv, why) != TM_OK ||
        tm_options_check(&up->options, why) != TM_OK || !tm_ports_check(&up->options, why))
        return usage(why);
    if (argc != 1)
        return usage("one topology file is needed");
    if (dir[0] == '\0')
        return usage("--dir \"\" is no folder");
    if (up->options.source[TM_OPTION_log_file] == TM_OPTION_COMMAND_LINE)
        return usage("--log-file is for one node: with --detach each logs to its own "
                     "DIR/<cluster>/<node>/node.log");
    up->detach = detach != NULL;
    if (readlink("/proc/self/exe", up->program, sizeof up->program - 1) < 0)
        return tm_fail("/proc/self/exe: %s", tm_err_text(tm_err_from_errno(errno)));
    char *real = realpath(argv[0], NULL);
    if (real == NULL)
        return tm_fail("%s: %s", argv[0], tm_err_text(tm_err_from_errno(errno)));
    snprintf(up->topology, sizeof up->topology, "%s", real);
    free(real);
    char *here = dir[0] == '/' ? NULL : getcwd(NULL, 0);
    int n = snprintf(up->dir, sizeof up->dir, "%s%s%s", here != NULL ? here : "",
                     here != NULL ? "/" : "", dir);
    free(here);
    return n <= TM_NODEDIR_PATH_MAX ? TM_EXIT_DONE : tm_fail("--dir %s: the path is too long", dir);
}

/* Fills in the members of one cluster. */
static int add_members(struct tm_up *up, const struct tm_cluster_spec *c)
{
    char why[TM_NODEDIR_WHY];
    for (unsigned n = 0; n < c->nodes.count; n++) {
        struct tm_up_member *m = &up->members[up->count++];
        *m = (struct tm_up_member){.cluster = c, .node = n};
        if (tm_ports_plan(up->t, c, n, (unsigned)up->options.base_port, up->options.address,
                          &m->ports, why, sizeof why) != TM_OK)
            return tm_fail("%s: %s", up->t->path, why);
        if (tm_nodedir_look(up->dir, c->name, c->nodes.names[n], &m->dir) != TM_OK)
            return tm_fail("--dir %s: the path is too long", up->dir);
    }
    return TM_EXIT_DONE;
}

static int no_cluster(const struct tm_up *up, const char *wanted)
{
    const char *names[TM_CLUSTERS_MAX];
    char near[TM_NEAR_MAX];
    if (wanted == NULL)
        return tm_fail("%s: no cluster is defined", up->t->path);
    for (unsigned i = 0; i < up->t->cluster_count; i++)
        names[i] = up->t->clusters[i].name;
    return tm_fail("%s: there is no cluster \"%s\"%s", up->t->path, wanted,
                   tm_did_you_mean(near, wanted, names, up->t->cluster_count));
}

static int choose(struct tm_up *up, const char *only)
{
    unsigned room = 0;
    for (unsigned i = 0; i < up->t->cluster_count; i++)
        room += up->t->clusters[i].nodes.count;
    up->members = calloc(room + 1, sizeof *up->members);
    if (up->members == NULL)
        return tm_fail("%s", tm_err_text(TM_ERR_NOMEM));
    for (unsigned i = 0; i < up->t->cluster_count; i++) {
        const struct tm_cluster_spec *c = &up->t->clusters[i];
        if (only != NULL && strcmp(only, c->name) != 0)
            continue;
        int status = add_members(up, c);
        if (status != TM_EXIT_DONE)
            return status;
    }
    if (up->count == 0)
        return no_cluster(up, only);
    if (up->options.listen[0] != '\0' && up->count > 1)
        return usage("--listen is for one node: move a node's ports by defineNode in the file");
    return TM_EXIT_DONE;
}

/* A process that was killed a moment ago holds its lock and ports a little longer. */
static bool runs(struct tm_nodedir *d)
{
    if (!d->lives)
        return false;
    if (!tm_process_is_ending(d->pid))
        return true;
    return !tm_nodedir_wait_free(d->path, OLD_PROCESS_MS);
}

static int start_all(struct tm_up *up)
{
    char why[TM_NODEDIR_WHY];
    tm_up_divide(up);
    for (unsigned i = 0; i < up->count; i++) {
        struct tm_up_member *m = &up->members[i];
        if (!runs(&m->dir) && tm_up_start(up, m, why) != TM_OK)
            return tm_fail("node %s of cluster %s: %s", tm_up_name(m), m->cluster->name, why);
    }
    return TM_EXIT_DONE;
}

/* A node that ran when up began, and has ended since: it was being stopped.  It is started, too. */
static bool start_ended(struct tm_up *up, struct tm_up_member *m)
{
    char why[TM_NODEDIR_WHY];
    if (m->child != 0 || m->ready || tm_nodedir_lives(m->dir.path))
        return false;
    m->listens = false;
    if (tm_up_start(up, m, why) != TM_OK) {
        tm_fail("node %s of cluster %s: %s", tm_up_name(m), m->cluster->name, why);
        m->ended = true;
    }
    return true;
}

/* Asks the node whether its cluster answers writes. */
static bool says_ready(const struct tm_up *up, const struct tm_up_member *m)
{
    struct tm_client c;
    char info[2048], state[16];
    if (tm_client_open(&c, m->dir.file.listen, ASK_MS) != TM_OK)
        return false;
    bool ok = tm_client_auth(&c, up->options.requirepass) == TM_OK &&
              tm_client_text(&c, (const char *const[]){"CLUSTER", "INFO", NULL}, info,
                             sizeof info) == TM_OK &&
              tm_info_field(info, "cluster_state", state, sizeof state) && strcmp(state, "ok") == 0;
    tm_client_close(&c);
    return ok;
}

/* Looks at one member; true if it got ready. */
static bool look(const struct tm_up *up, struct tm_up_member *m)
{
    if (m->ready || m->ended || m->shut)
        return false;
    struct tm_nodedir now;
    if (tm_nodedir_look(up->dir, m->cluster->name, tm_up_name(m), &now) != TM_OK ||
        now.file.pid == 0 || now.file.pid != (m->child > 0 ? m->child : now.pid))
        return false;
    m->dir = now;
    m->listens = true;
    m->ready = strcmp(now.file.state, "running") == 0 && says_ready(up, m);
    m->shut = !m->ready && tm_up_is_shut(up, m);
    return m->ready || m->shut;
}

/* How the wait for one cluster stands. */
enum progress { UP_WAITING, UP_READY, UP_FAILED };

/* A cluster has failed once a node of it has ended, or is shut, and each of the others has ended or
 * listens: then all that did not start can be named. */
static enum progress cluster_progress(const struct tm_up *up, const struct tm_cluster_spec *c)
{
    bool failed = false, unknown = false, waiting = false;
    for (unsigned i = 0; i < up->count; i++) {
        const struct tm_up_member *m = &up->members[i];
        if (m->cluster != c)
            continue;
        failed |= m->ended || m->shut;
        unknown |= !m->ended && !m->listens;
        waiting |= !m->ready;
    }
    if (failed && !unknown)
        return UP_FAILED;
    return waiting ? UP_WAITING : UP_READY;
}

static bool any_waits(const struct tm_up *up)
{
    for (unsigned i = 0; i < up->count; i++)
        if (cluster_progress(up, up->members[i].cluster) == UP_WAITING)
            return true;
    return false;
}

/* One line a second in a log, one line that changes on a terminal. */
static void show_progress(const struct tm_up *up, unsigned waited_ms, bool done)
{
    bool terminal = isatty(2);
    if (done && terminal && waited_ms >= 1000)
        fputs("\r\033[K", stderr);
    if (done || waited_ms < 1000 || (!terminal && waited_ms % 1000 != 0))
        return;
    unsigned ready = 0, ended = 0;
    for (unsigned i = 0; i < up->count; i++) {
        ready += up->members[i].ready;
        ended += up->members[i].ended;
    }
    fprintf(stderr, "%stidemill up: %u of %u nodes ready, %u ended, %u s%s", terminal ? "\r" : "",
            ready, up->count, ended, waited_ms / 1000, terminal ? " " : "\n");
}

/* The signal that came within a tick (SIGINT, SIGTERM, SIGHUP, SIGCHLD), or 0. */
static int wait_tick(void)
{
    const struct timespec tick = {.tv_nsec = TICK_MS * 1000 * 1000};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    int number = sigtimedwait(&set, NULL, &tick);
    return number > 0 ? number : 0;
}

/* Waits until every cluster is ready or has failed.  False if it was told to stop. */
static bool wait_ready(struct tm_up *up)
{
    unsigned waited = 0, still = 0;
    for (; any_waits(up) && still < STUCK_MS; waited += TICK_MS, still += TICK_MS) {
        int number = wait_tick();
        if (number != 0 && number != SIGCHLD) {
            show_progress(up, waited, true);
            return false;
        }
        bool progress = tm_up_reap(up);
        for (unsigned i = 0; i < up->count; i++)
            progress |= start_ended(up, &up->members[i]) || look(up, &up->members[i]);
        if (progress)
            still = 0;
        show_progress(up, waited, false);
    }
    show_progress(up, waited, true);
    return true;
}

static void print_members(const struct tm_up *up)
{
    bool head = false;
    for (unsigned i = 0; i < up->count; i++) {
        const struct tm_up_member *m = &up->members[i];
        if (m->ended || !m->listens)
            continue;
        if (!head)
            printf("%-20s %-16s %8s  %s\n", "CLUSTER", "NODE", "PID", "ADDRESS");
        head = true;
        printf("%-20s %-16s %8lld  %s%s\n", m->cluster->name, tm_up_name(m),
               (long long)m->dir.file.pid, m->dir.file.listen,
               m->child == 0 ? "  (was running)" : "");
    }
    fflush(stdout);
}

/* Says what did not start; the number of such nodes. */
static unsigned report_failures(const struct tm_up *up)
{
    unsigned failed = 0;
    for (unsigned i = 0; i < up->count; i++) {
        const struct tm_up_member *m = &up->members[i];
        char reason[TM_NODEDIR_WHY];
        bool others = cluster_progress(up, m->cluster) == UP_FAILED;
        if (m->ready || (others && !m->ended && !m->shut))
            continue;
        failed++;
        tm_up_reason(up, m, reason, sizeof reason);
        tm_fail("node %s of cluster %s %s: %s", tm_up_name(m), m->cluster->name,
                m->shut ? "runs, but cannot serve all" : "did not start", reason);
    }
    return failed;
}

/* Nodes that said why they do not start leave nothing behind; one that was killed keeps its log. */
static void take_back_refused(const struct tm_up *up)
{
    for (unsigned i = up->count; i > 0; i--) {
        const struct tm_up_member *m = &up->members[i - 1];
        if (m->ended && WIFEXITED(m->status) && WEXITSTATUS(m->status) != 0)
            tm_up_take_back(m);
    }
}

/* In the foreground: until it is told to stop, or no node is left. */
static int supervise(struct tm_up *up)
{
    for (;;) {
        int number = wait_tick();
        if (number != 0 && number != SIGCHLD)
            break;
        unsigned left = 0;
        for (unsigned i = 0; i < up->count; i++) {
            struct tm_up_member *m = &up->members[i];
            char reason[TM_NODEDIR_WHY];
            if (m->child > 0 && !m->ended && waitpid(m->child, &m->status, WNOHANG) == m->child) {
                m->ended = true;
                tm_up_reason(up, m, reason, sizeof reason);
                tm_fail("node %s of cluster %s ended: %s; `tidemill up` again starts it",
                        tm_up_name(m), m->cluster->name, reason);
            }
            left += m->child > 0 && !m->ended;
        }
        if (left == 0)
            return tm_fail("no node that was started here is left");
    }
    tm_up_stop(up);
    return TM_EXIT_DONE;
}

static unsigned started(const struct tm_up *up)
{
    unsigned n = 0;
    for (unsigned i = 0; i < up->count; i++)
        n += up->members[i].child > 0;
    return n;
}

static int run(struct tm_up *up)
{
    int status = start_all(up);
    bool told_to_stop = status == TM_EXIT_DONE && !wait_ready(up);
    if (status == TM_EXIT_DONE && !told_to_stop) {
        print_members(up);
        if (report_failures(up) > 0) {
            status = TM_EXIT_FAILED;
            take_back_refused(up);
        }
        if (status == TM_EXIT_DONE && !up->detach && started(up) > 0)
            return supervise(up);
    }
    if (told_to_stop || (status != TM_EXIT_DONE && !up->detach))
        tm_up_stop(up);
    return told_to_stop ? TM_EXIT_FAILED : status;
}

int tm_main_up(int argc, char **argv)
{
    static struct tm_up up;
    const char *cluster = NULL;
    char err[1024];
    int status = parse(&up, &cluster, argc, argv);
    if (status != TM_EXIT_DONE)
        return status;
    if (tm_topology_load(up.topology, &up.t, err, sizeof err) != TM_OK)
        return tm_fail("%s", err);
    for (unsigned i = 0; i < up.t->warning_count; i++)
        fprintf(stderr, "tidemill up: warning: %s\n", up.t->warnings[i]);
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGHUP);
    sigaddset(&blocked, SIGCHLD);
    sigprocmask(SIG_BLOCK, &blocked, &up.signals);
    status = choose(&up, cluster);
    if (status == TM_EXIT_DONE)
        status = run(&up);
    free(up.members);
    tm_topology_free(up.t);
    return status;
}
