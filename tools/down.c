/* tidemill down: stops nodes that run on the data directories below DIR.
 *
 * SIGTERM asks a node to hand over what it leads and to close its log; with --kill it gets SIGKILL.
 * A node has stopped when its lock is free, so that the next `up` finds its ports free too. */
#include "tools/command.h"
#include "tools/nodedir.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 60000

/* Whether another program's process holds what only looks like the lock of a node. */
static bool is_foreign(const struct tm_nodedir *d)
{
    return d->lives &&
           (d->pid <= 0 || (!tm_process_is_ending(d->pid) && !tm_process_is_node(d->pid)));
}

/* Asks all that live; the number of those that could not be asked. */
static unsigned signal_all(const struct tm_nodedir *all, unsigned count, bool hard)
{
    unsigned failed = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct tm_nodedir *d = &all[i];
        if (is_foreign(d)) {
            tm_fail("%s/lock is held by a process that is no node of tidemill: it is left alone",
                    d->path);
            failed++;
            continue;
        }
        if (!d->lives || kill(d->pid, hard ? SIGKILL : SIGTERM) == 0 || errno == ESRCH)
            continue;
        tm_fail("node %s of cluster %s, pid %lld: %s", d->node, d->cluster, (long long)d->pid,
                tm_err_text(tm_err_from_errno(errno)));
        failed++;
    }
    return failed;
}

/* Waits for one to give up its lock, saying so once a second. */
static bool wait_stopped(const struct tm_nodedir *d)
{
    for (unsigned waited = 0; waited < PATIENCE_MS; waited += 1000) {
        if (tm_nodedir_wait_free(d->path, 1000))
            return true;
        fprintf(stderr, "tidemill down: waiting for node %s of cluster %s, pid %lld\n", d->node,
                d->cluster, (long long)d->pid);
    }
    return false;
}

static int stop(const struct tm_nodedir *all, unsigned count, bool hard)
{
    unsigned failed = signal_all(all, count, hard);
    for (unsigned i = 0; i < count; i++) {
        const struct tm_nodedir *d = &all[i];
        if (!d->lives) {
            printf("%s %s was not running\n", d->cluster, d->node);
        } else if (is_foreign(d)) {
            continue; /* nothing was asked of it */
        } else if (wait_stopped(d)) {
            printf("%s %s %s (pid %lld)\n", d->cluster, d->node, hard ? "killed" : "stopped",
                   (long long)d->pid);
        } else {
            failed++;
            tm_fail("node %s of cluster %s, pid %lld, has not stopped for %u s; --kill ends it",
                    d->node, d->cluster, (long long)d->pid, PATIENCE_MS / 1000);
        }
    }
    return failed == 0 ? TM_EXIT_DONE : TM_EXIT_FAILED;
}

/* Names what does not exist of the cluster and node that were asked for, and what may be meant. */
static int no_such_node(const char *dir, const char *cluster, const char *node)
{
    struct tm_nodedir *all;
    unsigned count;
    char near[TM_NEAR_MAX] = "";
    enum tm_err err = tm_nodedir_list(dir, NULL, NULL, &all, &count);
    const char **names = err == TM_OK ? calloc(count + 1, sizeof *names) : NULL;
    bool known = cluster == NULL;
    for (unsigned i = 0; names != NULL && i < count && !known; i++)
        known = node != NULL && strcmp(all[i].cluster, cluster) == 0;
    unsigned n = 0;
    for (unsigned i = 0; names != NULL && i < count; i++)
        if (!known || cluster == NULL || strcmp(all[i].cluster, cluster) == 0)
            names[n++] = known ? all[i].node : all[i].cluster;
    const char *wanted = known ? node : cluster;
    if (names != NULL)
        tm_did_you_mean(near, wanted, names, n);
    int status = tm_fail("--dir %s: there is no %s \"%s\"%s%s%s", dir, known ? "node" : "cluster",
                         wanted, known && cluster != NULL ? " in cluster " : "",
                         known && cluster != NULL ? cluster : "", near);
    free(names);
    free(all);
    return status;
}

int tm_main_down(int argc, char **argv)
{
    bool hard = false;
    const char *dir = NULL, *cluster = NULL, *node = NULL;
    const struct tm_arg args[] = {{"--kill", &hard, NULL},
                                  {"--dir", NULL, &dir},
                                  {"--cluster", NULL, &cluster},
                                  {"--node", NULL, &node},
                                  {NULL, NULL, NULL}};
    if (!tm_args_take("down", &argc, argv, args, false))
        return TM_EXIT_USAGE;
    if (argc != 0)
        return tm_usage_error("down", "unexpected argument \"%s\"", argv[0]);
    if (dir == NULL)
        return tm_usage_error("down", "--dir DIR is needed");
    struct tm_nodedir *all;
    unsigned count;
    enum tm_err err = tm_nodedir_list(dir, cluster, node, &all, &count);
    if (err != TM_OK)
        return tm_fail("--dir %s: %s", dir, tm_err_text(err));
    int status = TM_EXIT_DONE;
    if (count == 0 && cluster == NULL && node == NULL)
        puts("no node has ever run here");
    else if (count == 0)
        status = no_such_node(dir, cluster, node);
    else
        status = stop(all, count, hard);
    free(all);
    return status;
}
