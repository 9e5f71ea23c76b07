/* Starting, watching and stopping the processes of `tidemill up`.
 *
 * A node is `tidemill serve` with the options that were given to up, and a share of the machine:
 * workers, memory, and CPUs of its own where there are enough; where there are not, serve is told
 * of how many workers there are in all, and pins nothing.  Detached, a node gets a session of its
 * own and logs to its folder; else it keeps up's standard error and ends when up does. */
#include "tools/machine.h"
#include "tools/up_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORD_MAX 1200 /* "--name=value" */

void tm_up_divide(struct tm_up *up)
{
    struct tm_cpu_budget budget;
    tm_cpu_budget_read(&budget);
    unsigned fair = budget.cores / up->count;
    up->all_workers = 0;
    for (unsigned i = 0; i < up->count; i++) {
        struct tm_up_member *m = &up->members[i];
        const struct tm_node_spec *facts = tm_topology_node(up->t, m->cluster->name, tm_up_name(m));
        m->workers = fair < 1 ? 1 : fair > TM_PORTS_WORKERS_MAX ? TM_PORTS_WORKERS_MAX : fair;
        if (facts != NULL && facts->workers > 0)
            m->workers = facts->workers;
        if (up->options.workers > 0)
            m->workers = (unsigned)up->options.workers;
        m->first_cpu = up->all_workers;
        up->all_workers += m->workers;
    }
    up->crowded = up->all_workers > budget.cores;
}

/* The command line of a node. */
struct words {
    char *at[TM_OPTION_COUNT + 24];
    unsigned count;
    bool no_memory;
};

static void add_word(struct words *w, const char *fmt, ...) TM_PRINTF(2, 3);
static void add_word(struct words *w, const char *fmt, ...)
{
    char text[WORD_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    TM_ASSERT(w->count + 1 < TM_ARRAY_LEN(w->at));
    w->at[w->count] = strdup(text);
    w->no_memory |= w->at[w->count] == NULL;
    w->at[++w->count] = NULL;
}

/* The share of the machine, where neither a person nor the topology file has said otherwise. */
static void add_share(struct words *w, const struct tm_up *up, const struct tm_up_member *m)
{
    const uint8_t *source = up->options.source;
    if (source[TM_OPTION_workers] == TM_OPTION_DEFAULT)
        add_word(w, "--workers=%u", m->workers);
    if (source[TM_OPTION_memory_limit] == TM_OPTION_DEFAULT)
        add_word(w, "--memory-limit=%llu", (unsigned long long)tm_machine_memory_share(up->count));
    if (up->crowded)
        add_word(w, "--machine-workers=%u", up->all_workers);
    if (!up->detach)
        add_word(w, "--parent=%d", (int)getpid());
}

static void make_words(struct words *w, const struct tm_up *up, const struct tm_up_member *m)
{
    char value[1100];
    *w = (struct words){0};
    add_word(w, "tidemill");
    add_word(w, "serve");
    add_word(w, "--topology=%s", up->topology);
    add_word(w, "--cluster=%s", m->cluster->name);
    add_word(w, "--node=%s", tm_up_name(m));
    add_word(w, "--data-dir=%s", m->dir.path);
    for (unsigned i = 0; i < TM_OPTION_COUNT; i++) {
        if (up->options.source[i] != TM_OPTION_COMMAND_LINE)
            continue;
        tm_option_format(&up->options, (enum tm_option)i, value, sizeof value);
        add_word(w, "--%s=%s", tm_option_name((enum tm_option)i), value);
    }
    add_share(w, up, m);
    if (up->detach)
        add_word(w, "--log-file=%s/node.log", m->dir.path);
}

static void free_words(struct words *w)
{
    for (unsigned i = 0; i < w->count; i++)
        free(w->at[i]);
}

/* In the child: standard streams, session, CPUs, signals; then the node's program. */
static _Noreturn void become(const struct tm_up *up, const struct tm_up_member *m, char **words,
                             const char *log)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int out = up->detach ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (null < 0 || (up->detach && out < 0) || dup2(null, 0) < 0)
        _exit(126);
    if (up->detach && (dup2(out, 1) < 0 || dup2(out, 2) < 0 || setsid() < 0))
        _exit(126);
    if (!up->detach)
        setpgid(0, 0); /* Ctrl-C is for up, which then asks the nodes to stop */
    if (!up->crowded) {
        struct tm_cpu_budget budget;
        cpu_set_t cpus;
        tm_cpu_budget_read(&budget);
        tm_machine_cpus(&budget, m->first_cpu, m->workers, up->all_workers, &cpus);
        sched_setaffinity(0, sizeof cpus, &cpus);
    }
    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    sigprocmask(SIG_SETMASK, &up->signals, NULL);
    execv(up->program, words);
    execv("/proc/self/exe", words); /* the file was replaced since */
    _exit(127);
}

/* Makes DIR/<cluster>/<node>. */
static enum tm_err make_folders(struct tm_up_member *m)
{
    char part[TM_NODEDIR_PATH_MAX + 1];
    m->made = 0;
    for (const char *end = m->dir.path; *end != '\0';) {
        end += 1 + strcspn(end + 1, "/");
        snprintf(part, sizeof part, "%.*s", (int)(end - m->dir.path), m->dir.path);
        bool made = mkdir(part, *end == '\0' ? 0700 : 0755) == 0;
        if (!made && errno != EEXIST)
            return tm_err_from_errno(errno);
        if (made && m->made == 0)
            m->made = strlen(part);
    }
    return TM_OK;
}

/* Whether there is nothing in the folder but, perhaps, its log. */
static bool holds_nothing(const char *path)
{
    struct dirent **names;
    int n = scandir(path, &names, NULL, NULL);
    bool nothing = n >= 0;
    for (int i = 0; i < n; i++) {
        const char *name = names[i]->d_name;
        nothing &=
            strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "node.log") == 0;
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    return nothing;
}

void tm_up_take_back(const struct tm_up_member *m)
{
    char path[TM_NODEDIR_PATH_MAX + 16];
    if (m->made == 0 || !holds_nothing(m->dir.path))
        return;
    snprintf(path, sizeof path, "%s/node.log", m->dir.path);
    unlink(path);
    snprintf(path, sizeof path, "%s", m->dir.path);
    while (strlen(path) >= m->made && rmdir(path) == 0)
        *strrchr(path, '/') = '\0';
}

static enum tm_err may_append(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return tm_err_from_errno(errno);
    close(fd);
    return TM_OK;
}

enum tm_err tm_up_start(struct tm_up *up, struct tm_up_member *m, char *why)
{
    enum tm_err err = make_folders(m);
    if (err != TM_OK) {
        snprintf(why, TM_NODEDIR_WHY, "cannot make %s: %s; give another folder with --dir",
                 m->dir.path, strerror(errno));
        return err;
    }
    char log[TM_NODEDIR_PATH_MAX + 16];
    struct stat st;
    snprintf(log, sizeof log, "%s/node.log", m->dir.path);
    m->log_from = stat(log, &st) == 0 ? (uint64_t)st.st_size : 0;
    if (up->detach && (err = may_append(log)) != TM_OK) {
        snprintf(why, TM_NODEDIR_WHY, "cannot write its log %s: %s", log, tm_err_text(err));
        return err;
    }
    struct words w;
    make_words(&w, up, m);
    m->child = w.no_memory ? -1 : fork();
    if (m->child == 0)
        become(up, m, w.at, log);
    free_words(&w);
    if (m->child > 0)
        return TM_OK;
    m->child = 0;
    snprintf(why, TM_NODEDIR_WHY, "cannot start a process: %s", tm_err_text(TM_ERR_NOMEM));
    return TM_ERR_NOMEM;
}

/* A child that ended because the node runs already, started by another `up` a moment before: from
 * now on the member is that process. */
static bool runs_elsewhere(const struct tm_up *up, struct tm_up_member *m)
{
    struct tm_nodedir now;
    if (!WIFEXITED(m->status) || WEXITSTATUS(m->status) == 0 ||
        tm_nodedir_look(up->dir, m->cluster->name, tm_up_name(m), &now) != TM_OK || !now.lives)
        return false;
    m->dir = now;
    m->child = 0;
    return true;
}

bool tm_up_reap(struct tm_up *up)
{
    bool any = false;
    for (unsigned i = 0; i < up->count; i++) {
        struct tm_up_member *m = &up->members[i];
        if (m->child <= 0 || m->ended || waitpid(m->child, &m->status, WNOHANG) != m->child)
            continue;
        any = true;
        m->ended = !runs_elsewhere(up, m);
    }
    return any;
}

/* What the node's last line says, without what `up` says itself. */
static void strip(const struct tm_up_member *m, char *text)
{
    static const char *const verbs[] = {"does not start: ", "ends: "};
    char said[2 * TM_TOPOLOGY_NAME_MAX + 40];
    snprintf(said, sizeof said, "tidemill: node %s of %s ", tm_up_name(m), m->cluster->name);
    if (strncmp(text, said, strlen(said)) != 0)
        return;
    const char *rest = text + strlen(said);
    for (size_t i = 0; i < TM_ARRAY_LEN(verbs); i++)
        if (strncmp(rest, verbs[i], strlen(verbs[i])) == 0)
            rest += strlen(verbs[i]);
    memmove(text, rest, strlen(rest) + 1);
}

void tm_up_reason(const struct tm_up *up, const struct tm_up_member *m, char *text, size_t size)
{
    char log[TM_NODEDIR_PATH_MAX + 16];
    snprintf(log, sizeof log, "%s/node.log", m->dir.path);
    if (m->ended && WIFEXITED(m->status) && WEXITSTATUS(m->status) == 0) {
        snprintf(text, size, "it was told to stop (tidemill down, or SIGTERM), and did");
        return;
    }
    if (up->detach && tm_last_error_line(log, m->log_from, text, size)) {
        strip(m, text);
        return;
    }
    if (m->ended && WIFSIGNALED(m->status))
        snprintf(text, size, "killed by signal %d", WTERMSIG(m->status));
    else if (m->ended)
        snprintf(text, size, "it ended with exit status %d", WEXITSTATUS(m->status));
    else
        snprintf(text, size, "it runs, but its cluster does not answer writes");
}

bool tm_up_is_shut(const struct tm_up *up, const struct tm_up_member *m)
{
    char log[TM_NODEDIR_PATH_MAX + 16], line[TM_NODEDIR_WHY];
    snprintf(log, sizeof log, "%s/node.log", m->dir.path);
    return up->detach && m->child > 0 && tm_last_error_line(log, m->log_from, line, sizeof line) &&
           (strstr(line, "event=damage_stays") != NULL ||
            (m->cluster->nodes.count == 1 && strstr(line, "event=votes_not_proven") != NULL));
}

static unsigned signal_children(const struct tm_up *up, int number)
{
    unsigned left = 0;
    for (unsigned i = 0; i < up->count; i++) {
        const struct tm_up_member *m = &up->members[i];
        if (m->child == 0 || m->ended)
            continue;
        left++;
        if (number != 0)
            kill(m->child, number);
    }
    return left;
}

void tm_up_stop(struct tm_up *up)
{
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    const struct timespec tick = {.tv_nsec = 50 * 1000 * 1000};
    unsigned left = signal_children(up, SIGTERM);
    if (left > 0)
        fprintf(stderr, "tidemill up: stopping %u node%s\n", left, left == 1 ? "" : "s");
    for (unsigned ticks = 1; left > 0; ticks++) {
        if (sigtimedwait(&stop, NULL, &tick) > 0) {
            fprintf(stderr, "tidemill up: killing what is left\n");
            signal_children(up, SIGKILL);
        }
        tm_up_reap(up);
        left = signal_children(up, 0);
        if (ticks % 20 == 0 && left > 0)
            fprintf(stderr, "tidemill up: waiting for %u node%s to stop\n", left,
                    left == 1 ? "" : "s");
    }
}
