/* tidemill plan: checks a topology file and says what it means, for people or as JSON. */
#include "tools/command.h"
#include "tools/topology.h"
#include "actors/directory.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

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

static const char *target_state(const struct tm_topology *t, const char *name)
{
    return tm_topology_cluster(t, name) != NULL ? "planned, not yet carried"
                                                : "UNRESOLVED: not defined in this file";
}

static void print_types(const char *label, const struct tm_name_list *types, const char *none)
{
    printf("%s", label);
    for (unsigned i = 0; i < types->count; i++)
        printf("%s%s", i > 0 ? ", " : "", types->names[i]);
    if (types->count == 0)
        printf("%s", none);
}

static void print_cluster(const struct tm_topology *t, const struct tm_cluster_spec *c)
{
    struct shares s;
    count_shares(c, &s);
    printf("cluster %s: %u node%s, %u partitions, %u cop%s, consistency %s\n", c->name,
           c->nodes.count, c->nodes.count == 1 ? "" : "s", c->partitions, c->replication_factor,
           c->replication_factor == 1 ? "y" : "ies", c->eventual ? "eventual" : "strong");
    const char *const labels[][2] = {
        {"provider", c->provider}, {"region", c->region}, {"location", c->location}};
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
    for (unsigned i = 0; i < c->replicate_to.count; i++) {
        printf("  link %s -> %s: %s, ", c->name, c->replicate_to.names[i],
               c->sync_links ? "synchronous" : "asynchronous");
        print_types("types ", &c->include_types, "all");
        if (c->exclude_types.count > 0)
            print_types(" except ", &c->exclude_types, "");
        printf("; %s\n", target_state(t, c->replicate_to.names[i]));
    }
}

static json_t *json_names(const struct tm_name_list *list)
{
    json_t *a = json_array();
    for (unsigned i = 0; i < list->count; i++)
        json_array_append_new(a, json_string(list->names[i]));
    return a;
}

static json_t *json_cluster(const struct tm_topology *t, const struct tm_cluster_spec *c)
{
    struct shares s;
    count_shares(c, &s);
    json_t *nodes = json_array(), *links = json_array();
    for (unsigned i = 0; i < c->nodes.count; i++)
        json_array_append_new(nodes, json_pack("{s:s, s:i, s:i, s:i}", "name", c->nodes.names[i],
                                               "holds", (int)s.holds[i], "leads", (int)s.leads[i],
                                               "witness", (int)s.witness[i]));
    for (unsigned i = 0; i < c->replicate_to.count; i++) {
        const char *target = c->replicate_to.names[i];
        json_array_append_new(
            links,
            json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "source", c->name, "target", target, "mode",
                      c->sync_links ? "sync" : "async", "state",
                      tm_topology_cluster(t, target) != NULL ? "PLANNED" : "UNRESOLVED", "include",
                      json_names(&c->include_types), "exclude", json_names(&c->exclude_types)));
    }
    return json_pack("{s:s, s:i, s:i, s:s, s:s, s:s, s:s, s:o, s:o}", "name", c->name, "partitions",
                     (int)c->partitions, "replicationFactor", (int)c->replication_factor,
                     "consistency", c->eventual ? "eventual" : "strong", "provider", c->provider,
                     "region", c->region, "location", c->location, "nodes", nodes, "links", links);
}

static void print_json(const struct tm_topology *t)
{
    json_t *clusters = json_array(), *warnings = json_array();
    for (unsigned i = 0; i < t->cluster_count; i++)
        json_array_append_new(clusters, json_cluster(t, &t->clusters[i]));
    for (unsigned i = 0; i < t->warning_count; i++)
        json_array_append_new(warnings, json_string(t->warnings[i]));
    json_t *all = json_pack("{s:o, s:o}", "clusters", clusters, "warnings", warnings);
    json_dumpf(all, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(all);
}

int tm_main_plan(int argc, char **argv)
{
    bool json = false;
    const struct tm_arg args[] = {{"--json", &json, NULL}, {NULL, NULL, NULL}};
    if (!tm_args_take("plan", &argc, argv, args, false))
        return TM_EXIT_USAGE;
    if (argc != 1)
        return tm_usage_error("plan", "one topology file is needed");
    struct tm_topology *t;
    char err[1024];
    if (tm_topology_load(argv[0], &t, err, sizeof err) != TM_OK)
        return tm_fail("%s", err);
    if (json) {
        print_json(t);
    } else {
        for (unsigned i = 0; i < t->cluster_count; i++)
            print_cluster(t, &t->clusters[i]);
        for (unsigned i = 0; i < t->warning_count; i++)
            printf("warning: %s\n", t->warnings[i]);
    }
    tm_topology_free(t);
    return TM_EXIT_DONE;
}
