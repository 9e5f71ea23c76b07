/* tidemill restored: says of data directories that they were put back from copies.
 *
 * The nodes of a cluster get one new incarnation (actors/incarnation.h), which each finds at its
 * next start.  Those on other machines have to get the same: what is printed says how. */
#include "actors/directory_file.h"
#include "actors/incarnation.h"
#include "actors/link_plan.h"
#include "runtime/disk_uring.h"
#include "storage/datadir.h"
#include "tools/command.h"
#include "tools/nodedir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

/* The nodes of one cluster below --dir. */
struct cluster {
    const struct tm_nodedir *nodes;
    unsigned count;
    struct tm_directory *newest; /* of those that the nodes went by last; version 0: none */
    struct tm_restored says;
    int *locks; /* of each node; -1: it has no directory, so nothing to put back */
};

/* ---- what is there ---- */

static enum tm_err load(const char *path, struct tm_directory *d)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return tm_err_from_errno(errno);
    struct tm_disk_uring disk;
    tm_disk_uring_init(&disk, NULL, fd);
    enum tm_err e = tm_directory_load(&disk.disk, d);
    close(fd);
    return e;
}

/* Locks the node's data directory and reads what it went by. */
static int take_node(struct cluster *c, unsigned i, struct tm_directory *d)
{
    const struct tm_nodedir *node = &c->nodes[i];
    struct tm_datadir_error error;
    enum tm_err e = load(node->path, d);
    if (e == TM_ERR_NOTFOUND) {
        printf("%s %s: no cluster was ever here: left as it is\n", node->cluster, node->node);
        return TM_EXIT_DONE;
    }
    if (e != TM_OK)
        return tm_fail("%s/%s: %s", node->path, TM_DIRECTORY_FILE, tm_err_text(e));
    if (node->lives)
        return tm_fail("node %s of cluster %s runs (pid %lld): stop all nodes of the cluster first",
                       node->node, node->cluster, (long long)node->pid);
    if (tm_datadir_lock(node->path, &c->locks[i], &error) != TM_OK)
        return tm_fail("%s", error.text);
    if (c->newest->version != 0 && memcmp(c->newest->uuid, d->uuid, sizeof d->uuid) != 0)
        return tm_fail("%s is of another cluster than %s", node->path, c->nodes[0].path);
    if (d->version > c->newest->version)
        *c->newest = *d;
    return TM_EXIT_DONE;
}

static int take_nodes(struct cluster *c)
{
    struct tm_directory *d = malloc(sizeof *d);
    if (d == NULL)
        return tm_fail("%s", tm_err_text(TM_ERR_NOMEM));
    int status = TM_EXIT_DONE;
    for (unsigned i = 0; i < c->count && status == TM_EXIT_DONE; i++)
        status = take_node(c, i, d);
    free(d);
    return status;
}

/* ---- which incarnation ---- */

/* By the directory, the one before. */
static int find_before(struct cluster *c)
{
    const struct tm_link_base base = {.address = "127.0.0.1", .base_port = TM_LINK_BLOCK_PORTS};
    char why[256];
    struct tm_link_plan *plan = malloc(sizeof *plan);
    if (plan == NULL)
        return tm_fail("%s", tm_err_text(TM_ERR_NOMEM));
    enum tm_err e =
        tm_link_plan_parse(plan, c->newest->cluster, c->newest->facts, &base, why, sizeof why);
    c->says.from = plan->incarnation;
    free(plan);
    return e == TM_OK ? TM_EXIT_DONE
                      : tm_fail("the directory of cluster %s cannot be read: %s",
                                c->nodes[0].cluster, why);
}

static int choose(struct cluster *c, uint64_t given)
{
    uint64_t random;
    int status = find_before(c);
    if (status != TM_EXIT_DONE)
        return status;
    if (given != 0 && (given == c->says.from || !tm_incarnation_is_of(given, c->newest->uuid)))
        return tm_fail("%016" PRIx64 " is no other incarnation of cluster %s", given,
                       c->nodes[0].cluster);
    c->says.to = given;
    while (given == 0) {
        if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
            return tm_fail("no random numbers: %s", tm_err_text(tm_err_from_errno(errno)));
        if (tm_incarnation_draw(random, c->newest->uuid, c->says.from, &c->says.to))
            break;
    }
    return TM_EXIT_DONE;
}

/* ---- saying it ---- */

static int mark(const struct cluster *c, unsigned i)
{
    int fd = open(c->nodes[i].path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return tm_fail("%s: %s", c->nodes[i].path, tm_err_text(tm_err_from_errno(errno)));
    struct tm_disk_uring disk;
    tm_disk_uring_init(&disk, NULL, fd);
    enum tm_err e = tm_restored_save(&disk.disk, &c->says);
    close(fd);
    return e == TM_OK ? TM_EXIT_DONE
                      : tm_fail("%s/" TM_RESTORED_FILE ": %s", c->nodes[i].path, tm_err_text(e));
}

static int mark_all(const struct cluster *c)
{
    unsigned marked = 0;
    int status = TM_EXIT_DONE;
    for (unsigned i = 0; i < c->count && status == TM_EXIT_DONE; i++) {
        if (c->locks[i] < 0)
            continue;
        status = mark(c, i);
        marked += status == TM_EXIT_DONE;
    }
    if (status == TM_EXIT_DONE && marked > 0)
        printf("%s: incarnation %016" PRIx64 " from the next start on, at %u node%s; where it has "
               "nodes on other machines, also there, before any is started:\n"
               "  tidemill restored --dir DIR --cluster %s --incarnation %016" PRIx64 "\n",
               c->nodes[0].cluster, c->says.to, marked, marked == 1 ? "" : "s", c->nodes[0].cluster,
               c->says.to);
    return status;
}

static int restore(const struct tm_nodedir *nodes, unsigned count, uint64_t given)
{
    struct cluster c = {.nodes = nodes,
                        .count = count,
                        .newest = calloc(1, sizeof *c.newest),
                        .locks = calloc(count, sizeof *c.locks)};
    int status = TM_EXIT_FAILED;
    for (unsigned i = 0; c.locks != NULL && i < count; i++)
        c.locks[i] = -1;
    if (c.newest == NULL || c.locks == NULL)
        (void)tm_fail("%s", tm_err_text(TM_ERR_NOMEM));
    else
        status = take_nodes(&c);
    if (status == TM_EXIT_DONE && c.newest->version != 0) {
        status = choose(&c, given);
        if (status == TM_EXIT_DONE)
            status = mark_all(&c);
    }
    for (unsigned i = 0; c.locks != NULL && i < count; i++)
        if (c.locks[i] >= 0)
            tm_datadir_unlock(c.locks[i]);
    free(c.locks);
    free(c.newest);
    return status;
}

/* Cluster by cluster. */
static int restore_all(const struct tm_nodedir *all, unsigned count, uint64_t given)
{
    int status = TM_EXIT_DONE;
    for (unsigned i = 0; i < count && status == TM_EXIT_DONE;) {
        unsigned n = 1;
        while (i + n < count && strcmp(all[i + n].cluster, all[i].cluster) == 0)
            n++;
        status = restore(&all[i], n, given);
        i += n;
    }
    return status;
}

int tm_main_restored(int argc, char **argv)
{
    const char *dir = NULL, *cluster = NULL, *incarnation = NULL;
    const struct tm_arg args[] = {{"--dir", NULL, &dir},
                                  {"--cluster", NULL, &cluster},
                                  {"--incarnation", NULL, &incarnation},
                                  {NULL, NULL, NULL}};
    if (!tm_args_take("restored", &argc, argv, args, false))
        return TM_EXIT_USAGE;
    if (argc != 0)
        return tm_usage_error("restored", "unexpected argument \"%s\"", argv[0]);
    if (dir == NULL)
        return tm_usage_error("restored", "--dir DIR is needed");
    uint64_t given = 0;
    if (incarnation != NULL && cluster == NULL)
        return tm_usage_error("restored", "--incarnation is of one cluster: --cluster is needed");
    if (incarnation != NULL && !tm_link_operator_hex(tm_bytes_str(incarnation), &given))
        return tm_usage_error("restored", "\"%s\" is no incarnation: 16 hexadecimal digits",
                              incarnation);
    struct tm_nodedir *all;
    unsigned count;
    enum tm_err e = tm_nodedir_list(dir, cluster, NULL, &all, &count);
    if (e != TM_OK)
        return tm_fail("--dir %s: %s", dir, tm_err_text(e));
    int status =
        count > 0 ? restore_all(all, count, given)
                  : tm_fail("--dir %s: there is no data directory%s%s", dir,
                            cluster != NULL ? " of cluster " : "", cluster != NULL ? cluster : "");
    free(all);
    return status;
}
