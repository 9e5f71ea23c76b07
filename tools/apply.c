/* tidemill apply: makes running clusters go by an edited topology file, as far as that can change
 * while they run: links, filters, throttles, modes, rules for conflicts, residency, labels.
 *
 * All is looked at before anything is changed; then each cluster takes its change as one version of
 * its directory: all of its nodes or none. */
#include "tools/apply_show.h"
#include "tools/command.h"
#include "tools/plan_links.h"
#include "tools/ports.h"
#include "tools/running.h"

#include <stdio.h>
#include <stdlib.h>

extern char **environ;

struct apply {
    struct tm_options options;
    struct tm_running_where where;
    const char *json, *dry_run;
    struct tm_topology *t;
    struct tm_running *all;
    unsigned count;
    char why[TM_RUNNING_WHY];
};

static int take_arguments(struct apply *a, int argc, char **argv, const char **path)
{
    const struct tm_flag flags[] = {
        {"dir", "DIR", &a->where.dir, "Where the data directories are: DIR/<cluster>/<node>."},
        {"cluster", "NAME", &a->where.cluster, "Only this cluster."},
        {"dry-run", NULL, &a->dry_run, "Only say what would change."},
        {"json", NULL, &a->json, "Say it as JSON."}};
    char why[TM_OPTION_WHY_MAX];
    tm_options_init(&a->options);
    if (tm_options_from_env(&a->options, environ, why) != TM_OK ||
        tm_options_from_args(&a->options, flags, TM_ARRAY_LEN(flags), &argc, argv, why) != TM_OK ||
        !tm_ports_check(&a->options, why))
        return tm_usage_error("apply", "%s", why);
    if (argc != 1)
        return tm_usage_error("apply", "one topology file is needed");
    a->where.options = &a->options;
    *path = argv[0];
    return TM_EXIT_DONE;
}

/* What `plan` would refuse is not applied. */
static enum tm_err check_plans(struct apply *a)
{
    struct tm_link_plan *plan = malloc(sizeof *plan);
    enum tm_err e = plan != NULL ? TM_OK : TM_ERR_NOMEM;
    for (unsigned i = 0; e == TM_OK && i < a->count; i++)
        e = tm_plan_resolve(a->t, a->all[i].cluster, plan, a->why, sizeof a->why);
    free(plan);
    return e;
}

static enum tm_err change_all(struct apply *a)
{
    enum tm_err e = TM_OK;
    for (unsigned i = 0; e == TM_OK && i < a->count; i++) {
        const struct tm_running *r = &a->all[i];
        unsigned waiting = 0;
        if (strcmp(r->now->facts, r->facts) == 0)
            continue;
        e = tm_running_change(r, &a->where, &waiting, a->why);
        if (e == TM_OK && a->json == NULL)
            printf("cluster %s: changed: version %llu\n", r->cluster->name,
                   (unsigned long long)r->now->version + 1);
        if (e == TM_OK && waiting > 0)
            fprintf(stderr, "tidemill: cluster %s: %u node%s not taken it yet, and will\n",
                    r->cluster->name, waiting, waiting == 1 ? " has" : "s have");
    }
    return e;
}

int tm_main_apply(int argc, char **argv)
{
    static struct apply a;
    const char *path;
    int usage = take_arguments(&a, argc, argv, &path);
    if (usage != TM_EXIT_DONE)
        return usage;
    enum tm_err e = tm_topology_load(path, &a.t, a.why, sizeof a.why);
    if (e == TM_OK)
        e = tm_running_find(a.t, &a.where, &a.all, &a.count, a.why);
    if (e == TM_OK)
        e = check_plans(&a);
    if (e == TM_OK && a.json == NULL)
        tm_apply_print(a.all, a.count);
    if (e == TM_OK && a.dry_run == NULL)
        e = change_all(&a);
    if (e == TM_OK && a.json != NULL)
        tm_apply_print_json(a.all, a.count, a.dry_run == NULL);
    if (a.all != NULL)
        tm_running_free(a.all, a.count);
    if (a.t != NULL)
        tm_topology_free(a.t);
    return e == TM_OK ? TM_EXIT_DONE : tm_fail("%s", a.why);
}
