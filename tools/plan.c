/* tidemill plan: checks a topology file and says what it means, for people or as JSON; with --dir,
 * what it would change in the clusters that run there. */
#include "tools/apply_show.h"
#include "tools/command.h"
#include "tools/plan_graph.h"
#include "tools/plan_links.h"
#include "tools/topology.h"
#include "actors/directory.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

extern char **environ;

struct shares {
    unsigned leads[TM_NODES_MAX];   /* partitions it leads by preference */
    unsigned holds[TM_NODES_MAX];   /* partitions it has data of */
    unsigned witness[TM_NODES_MAX]; /* partitions it is witness of */
};

static void count_shares(const struct tm_cluster_spec *c, struct shares *s)
{
    *s = (struct shares){0};
    for (unsigned p = 0; p < c->partitions; p++) {
        struct tm_holders pl;
        tm_holders_compute(p, (const char *const *)c->nodes.names, c->nodes.count,
                           c->replication_factor, &pl);
        s->leads[pl.data[0]]++;
        for (unsigned i = 0; i < pl.copies; i++)
            s->holds[pl.data[i]]++;
        if (pl.witness != TM_NO_NODE)
            s->witness[pl.witness]++;
    }
}

static const char *survives(const struct tm_cluster_spec *c)
{
    static const char *const majority[] = {"", "no node", "", "1 node", "1 node", "2 nodes"};
    if (c->replication_factor == 2)
        return c->nodes.count > 2 ? "1 node (two copies and a witness)"
                                  : "no node without a forced recovery (two nodes in all)";
    return majority[c->replication_factor];
}

static void print_cluster(const struct tm_topology *t, const struct tm_cluster_spec *c,
                          const struct tm_link_plan *plan)
{
    struct shares s;
    count_shares(c, &s);
    printf("cluster %s: %u node%s, %u partitions, %u cop%s, consistency %s\n", c->name,
           c->nodes.count, c->nodes.count == 1 ? "" : "s", c->partitions, c->replication_factor,
           c->replication_factor == 1 ? "y" : "ies", c->eventual ? "eventual" : "strong");
    const char *const labels[][2] = {{"provider", c->provider},
                                     {"region", c->region},
                                     {"location", c->location},
                                     {"jurisdiction", c->jurisdiction}};
    for (size_t i = 0; i < TM_ARRAY_LEN(labels); i++)
        if (labels[i][1][0] != '\0')
            printf("  %s: %s\n", labels[i][0], labels[i][1]);
    for (unsigned i = 0; i < c->nodes.count; i++) {
        printf("  node %s: holds %u partitions, leads %u", c->nodes.names[i], s.holds[i],
               s.leads[i]);
        if (s.witness[i] > 0)
            printf(", witness of %u", s.witness[i]);
        putchar('\n');
    }
    printf("  keeps what it acknowledged and goes on after losing: %s\n", survives(c));
    tm_plan_print_links(t, c, plan);
}

static json_t *json_cluster(const struct tm_topology *t, const struct tm_cluster_spec *c,
                            const struct tm_link_plan *plan)
{
    struct shares s;
    count_shares(c, &s);
    json_t *nodes = json_array();
    for (unsigned i = 0; i < c->nodes.count; i++)
        json_array_append_new(nodes, json_pack("{s:s, s:i, s:i, s:i}", "name", c->nodes.names[i],
                                               "holds", (int)s.holds[i], "leads", (int)s.leads[i],
                                               "witness", (int)s.witness[i]));
    return json_pack("{s:s, s:i, s:i, s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "name", c->name,
                     "partitions", (int)c->partitions, "replicationFactor",
                     (int)c->replication_factor, "consistency", c->eventual ? "eventual" : "strong",
                     "provider", c->provider, "region", c->region, "location", c->location,
                     "jurisdiction", c->jurisdiction, "nodes", nodes, "links",
                     tm_plan_json_links(t, c, plan));
}

/* Takes over `changes`, NULL where nobody asked for them. */
static void print_json(const struct tm_topology *t, const struct tm_link_plan *plans,
                       json_t *changes)
{
    json_t *clusters = json_array(), *warnings = json_array();
    for (unsigned i = 0; i < t->cluster_count; i++)
        json_array_append_new(clusters, json_cluster(t, &t->clusters[i], &plans[i]));
    for (unsigned i = 0; i < t->warning_count; i++)
        json_array_append_new(warnings, json_string(t->warnings[i]));
    json_t *all = json_pack("{s:o, s:o, s:o}", "clusters", clusters, "types", tm_plan_json_types(t),
                            "warnings", warnings);
    json_t *graph = tm_plan_json_graph(t);
    json_object_update(all, graph);
    json_decref(graph);
    if (changes != NULL)
        json_object_set_new(all, "running", changes);
    json_dumpf(all, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(all);
}

static void print_text(const struct tm_topology *t, const struct tm_link_plan *plans)
{
    for (unsigned i = 0; i < t->cluster_count; i++)
        print_cluster(t, &t->clusters[i], &plans[i]);
    tm_plan_print_types(t);
    tm_plan_print_graph(t);
    for (unsigned i = 0; i < t->warning_count; i++)
        printf("warning: %s\n", t->warnings[i]);
}

/* What the nodes of each cluster will be told of links. */
static enum tm_err resolve(const struct tm_topology *t, struct tm_link_plan *plans, char *err,
                           size_t err_size)
{
    enum tm_err e = TM_OK;
    for (unsigned i = 0; e == TM_OK && i < t->cluster_count; i++)
        e = tm_plan_resolve(t, &t->clusters[i], &plans[i], err, err_size);
    return e;
}

/* What the file would change in the clusters that run below dir.  Numbers their nodes as they do,
 * so it comes last. */
static enum tm_err look(struct tm_topology *t, const char *dir, struct tm_running **all,
                        unsigned *count, char *err)
{
    static struct tm_options options;
    const struct tm_running_where where = {.dir = dir, .options = &options, .absent_ok = true};
    char why[TM_OPTION_WHY_MAX];
    tm_options_init(&options);
    if (tm_options_from_env(&options, environ, why) != TM_OK) {
        snprintf(err, TM_RUNNING_WHY, "%s", why);
        return TM_ERR_INVALID;
    }
    return tm_running_find(t, &where, all, count, err);
}

static int show(struct tm_topology *t, bool json, const char *dir)
{
    char err[TM_RUNNING_WHY];
    struct tm_running *all = NULL;
    unsigned count = 0;
    struct tm_link_plan *plans = calloc(t->cluster_count, sizeof *plans);
    TM_ASSERT(plans != NULL);
    enum tm_err e = resolve(t, plans, err, sizeof err);
    if (e == TM_OK && !json)
        print_text(t, plans);
    if (e == TM_OK && dir != NULL)
        e = look(t, dir, &all, &count, err);
    if (e == TM_OK && json)
        print_json(t, plans, dir != NULL ? tm_apply_json(all, count) : NULL);
    else if (e == TM_OK && dir != NULL)
        tm_apply_print(all, count);
    if (all != NULL)
        tm_running_free(all, count);
    free(plans);
    return e == TM_OK ? TM_EXIT_DONE : tm_fail("%s", err);
}

int tm_main_plan(int argc, char **argv)
{
    bool json = false;
    const char *dir = NULL;
    const struct tm_arg args[] = {
        {"--json", &json, NULL}, {"--dir", NULL, &dir}, {NULL, NULL, NULL}};
    if (!tm_args_take("plan", &argc, argv, args, false))
        return TM_EXIT_USAGE;
    if (argc != 1)
        return tm_usage_error("plan", "one topology file is needed");
    struct tm_topology *t;
    char err[1024];
    if (tm_topology_load(argv[0], &t, err, sizeof err) != TM_OK)
        return tm_fail("%s", err);
    int status = show(t, json, dir);
    tm_topology_free(t);
    return status;
}
