/* Reads the file, has it evaluated, and checks each define call against a table of options: name,
 * type, where it goes.  Then what spans calls: duplicate names, targets, factors against nodes.
 * Values are in topology_value.c, links in topology_links.c, types in topology_entity.c. */
#include "tools/topology_eval.h"
#include "tools/topology_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define CLUSTER(field) offsetof(struct tm_cluster_spec, field)
#define NODE(field)    offsetof(struct tm_node_spec, field)

static const struct tm_topology_option cluster_options[] = {
    {"nodes", TM_VALUE_NAMES, CLUSTER(nodes)},
    {"replicationFactor", TM_VALUE_INTEGER, CLUSTER(replication_factor), 1, TM_REPLICATION_MAX},
    {"partitions", TM_VALUE_INTEGER, CLUSTER(partitions), 1, TM_PARTITIONS_MAX},
    {"consistency", TM_VALUE_EVENTUAL, CLUSTER(eventual), .choices = {"strong", "eventual"}},
    {"provider", TM_VALUE_LABEL, CLUSTER(provider)},
    {"region", TM_VALUE_LABEL, CLUSTER(region)},
    {"location", TM_VALUE_LABEL, CLUSTER(location)},
    {"jurisdiction", TM_VALUE_NAME, CLUSTER(jurisdiction)},
    {"replicateTo", TM_VALUE_LATER},
    {"replicateEntityTypes", TM_VALUE_TYPES, CLUSTER(common.include)},
    {"excludeEntityTypes", TM_VALUE_TYPES, CLUSTER(common.exclude)},
#define TM_LINK_VALUES_AT CLUSTER(common)
    TM_LINK_VALUES
#undef TM_LINK_VALUES_AT
};

static const struct tm_topology_option node_options[] = {
    {"cluster", TM_VALUE_LABEL, NODE(cluster)},
    {"address", TM_VALUE_ADDRESS, NODE(address)},
    {"port", TM_VALUE_INTEGER, NODE(port), 1, 65000},
    {"workers", TM_VALUE_INTEGER, NODE(workers), 1, TM_WORKERS_MAX},
    {"fabric", TM_VALUE_WORD, NODE(fabric), .choices = {"dpdk", "tcp"}},
    {"fabricPort", TM_VALUE_LABEL, NODE(fabric_port)},
    {"fabricAddress", TM_VALUE_ADDRESS, NODE(fabric_address)},
};

static void default_text(char **s)
{
    if (*s == NULL)
        *s = tm_topology_must(strdup(""));
}

/* The region's part before the first '-', as far as that is a name. */
static void derive_jurisdiction(struct tm_cluster_spec *c)
{
    if (c->jurisdiction != NULL)
        return;
    c->jurisdiction = tm_topology_must(strndup(c->region, strcspn(c->region, "-")));
    if (!tm_topology_name_ok(c->jurisdiction, false))
        c->jurisdiction[0] = '\0';
}

static enum tm_err finish_cluster(struct tm_loader *l, struct tm_cluster_spec *c)
{
    if (c->nodes.names == NULL) {
        char name[TM_TOPOLOGY_NAME_MAX + 8];
        snprintf(name, sizeof name, "%s-1", c->name);
        c->nodes.names = tm_topology_must(calloc(1, sizeof *c->nodes.names));
        c->nodes.names[0] = tm_topology_must(strdup(name));
        c->nodes.count = 1;
    }
    if (c->nodes.count > TM_NODES_MAX)
        return tm_topology_complain(l, "nodes", "%u nodes, at most %d are allowed", c->nodes.count,
                                    TM_NODES_MAX);
    if (c->replication_factor == 0)
        c->replication_factor = c->nodes.count < 3 ? c->nodes.count : 3;
    if (c->replication_factor > c->nodes.count)
        return tm_topology_complain(l, "replicationFactor",
                                    "%u copies need %u nodes, the cluster has %u",
                                    c->replication_factor, c->replication_factor, c->nodes.count);
    if (c->partitions == 0)
        c->partitions = 256;
    default_text(&c->provider);
    default_text(&c->region);
    default_text(&c->location);
    derive_jurisdiction(c);
    return TM_OK;
}

static enum tm_err take_cluster(struct tm_loader *l, const json_t *options)
{
    struct tm_topology *t = l->t;
    for (unsigned i = 0; i < t->cluster_count; i++)
        if (strcmp(t->clusters[i].name, l->name) == 0)
            return tm_topology_complain(l, NULL, "this name was defined in line %u already",
                                        t->clusters[i].line);
    if (t->cluster_count == TM_CLUSTERS_MAX)
        return tm_topology_complain(l, NULL, "at most %d clusters are allowed", TM_CLUSTERS_MAX);
    t->clusters =
        tm_topology_must(realloc(t->clusters, (t->cluster_count + 1) * sizeof *t->clusters));
    struct tm_cluster_spec *c = &t->clusters[t->cluster_count++];
    *c = (struct tm_cluster_spec){.name = tm_topology_must(strdup(l->name)), .line = l->line};
    tm_link_options_init(&c->common.options);
    enum tm_err e = tm_topology_take(l, options, cluster_options, TM_ARRAY_LEN(cluster_options), c);
    if (e == TM_OK)
        e = finish_cluster(l, c);
    return e != TM_OK ? e : tm_topology_take_links(l, c, json_object_get(options, "replicateTo"));
}

static enum tm_err take_node(struct tm_loader *l, const json_t *options)
{
    struct tm_topology *t = l->t;
    t->nodes = tm_topology_must(realloc(t->nodes, (t->node_count + 1) * sizeof *t->nodes));
    struct tm_node_spec *n = &t->nodes[t->node_count++];
    *n = (struct tm_node_spec){.name = tm_topology_must(strdup(l->name)), .line = l->line};
    enum tm_err e = tm_topology_take(l, options, node_options, TM_ARRAY_LEN(node_options), n);
    if (e != TM_OK)
        return e;
    default_text(&n->cluster);
    default_text(&n->address);
    default_text(&n->fabric);
    default_text(&n->fabric_port);
    default_text(&n->fabric_address);
    for (unsigned i = 0; i + 1 < t->node_count; i++)
        if (strcmp(t->nodes[i].name, n->name) == 0 && strcmp(t->nodes[i].cluster, n->cluster) == 0)
            return tm_topology_complain(l, NULL, "this node was defined in line %u already",
                                        t->nodes[i].line);
    return TM_OK;
}

static enum tm_err take_call(struct tm_loader *l, const json_t *call)
{
    l->fn = json_string_value(json_object_get(call, "fn"));
    l->name = json_string_value(json_object_get(call, "name"));
    l->line = (unsigned)json_integer_value(json_object_get(call, "line"));
    const json_t *options = json_object_get(call, "options");
    if (l->fn == NULL || l->name == NULL || !json_is_object(options)) {
        snprintf(l->err, l->err_size,
                 "%s: a toJSON of its own stands in the way of what the file defines", l->t->path);
        return TM_ERR_INVALID;
    }
    if (!tm_topology_name_ok(l->name, false))
        return tm_topology_complain(l, NULL,
                                    "a name has 1 to %d of letters, digits, \".\", \"_\" and \"-\"",
                                    TM_TOPOLOGY_NAME_MAX);
    if (strcmp(l->fn, "defineEntity") == 0)
        return tm_topology_take_entity(l, options);
    return strcmp(l->fn, "defineCluster") == 0 ? take_cluster(l, options) : take_node(l, options);
}

/* Nodes are counted over all clusters, in the order of the file. */
static void number_blocks(struct tm_topology *t)
{
    unsigned block = 0;
    for (unsigned i = 0; i < t->cluster_count; i++)
        for (unsigned n = 0; n < t->clusters[i].nodes.count; n++)
            t->clusters[i].blocks[n] = block++;
}

/* What only the whole file shows. */
static enum tm_err check_whole(struct tm_loader *l)
{
    struct tm_topology *t = l->t;
    number_blocks(t);
    if (t->cluster_count == 0) {
        snprintf(l->err, l->err_size, "%s: defines no cluster: call defineCluster(\"name\", {…})",
                 t->path);
        return TM_ERR_INVALID;
    }
    for (unsigned i = 0; i < t->cluster_count; i++) {
        const struct tm_cluster_spec *c = &t->clusters[i];
        if (c->nodes.count == 2)
            tm_topology_warn(
                t,
                "%s: two nodes in all: no automatic failover; a third, even small, node as "
                "witness gives it",
                c->name);
    }
    for (unsigned i = 0; i < t->node_count; i++) {
        bool used = false;
        for (unsigned k = 0; k < t->cluster_count; k++)
            used |= (t->nodes[i].cluster[0] == '\0' ||
                     strcmp(t->nodes[i].cluster, t->clusters[k].name) == 0) &&
                    tm_cluster_node_index(&t->clusters[k], t->nodes[i].name) >= 0;
        if (!used)
            tm_topology_warn(t, "defineNode(\"%s\") in line %u belongs to no cluster",
                             t->nodes[i].name, t->nodes[i].line);
    }
    enum tm_err e = tm_topology_check_links(l);
    return e != TM_OK ? e : tm_topology_check_entities(l);
}

static enum tm_err take_all(struct tm_loader *l, const char *json)
{
    json_error_t je;
    json_t *calls = json_loads(json, 0, &je);
    if (calls == NULL) {
        snprintf(l->err, l->err_size, "%s: declares a string that is not Unicode", l->t->path);
        return TM_ERR_INVALID;
    }
    enum tm_err e = TM_OK;
    for (size_t i = 0; e == TM_OK && i < json_array_size(calls); i++)
        e = take_call(l, json_array_get(calls, i));
    json_decref(calls);
    return e != TM_OK ? e : check_whole(l);
}

static char *read_file(const char *path, size_t *len, char *err, size_t err_size)
{
    FILE *f = fopen(path, "r");
    char *text = malloc(TM_EVAL_SOURCE_MAX + 1);
    if (f == NULL || text == NULL) {
        snprintf(err, err_size, "%s: cannot read the topology file: %s", path, strerror(errno));
        free(text);
        if (f != NULL)
            fclose(f);
        return NULL;
    }
    *len = fread(text, 1, TM_EVAL_SOURCE_MAX + 1, f);
    bool bad = ferror(f) != 0;
    fclose(f);
    if (bad || *len > TM_EVAL_SOURCE_MAX) {
        snprintf(err, err_size, "%s: %s", path,
                 bad ? "cannot read the topology file (is it a folder?)" : "larger than 4 MiB");
        free(text);
        return NULL;
    }
    text[*len] = '\0';
    return text;
}

/* A script may throw, and name things, with line ends and escapes in them. */
static void make_one_line(char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == '\x7f')
            *text = ' ';
}

enum tm_err tm_topology_load(const char *path, struct tm_topology **out, char *err, size_t err_size)
{
    size_t len;
    char *source = read_file(path, &len, err, err_size);
    if (source == NULL)
        return TM_ERR_NOTFOUND;
    char *json = NULL;
    enum tm_err e = TM_ERR_INVALID;
    if (memchr(source, '\0', len) != NULL)
        snprintf(err, err_size, "%s: is no text: a topology file is JavaScript", path);
    else
        e = tm_topology_eval(path, source, len, &json, err, err_size);
    struct tm_topology *t = tm_topology_must(calloc(1, sizeof *t));
    t->path = tm_topology_must(strdup(path));
    if (e == TM_OK) {
        struct tm_loader l = {.t = t, .source = source, .err = err, .err_size = err_size};
        e = take_all(&l, json);
    }
    free(json);
    free(source);
    if (e != TM_OK) {
        make_one_line(err);
        tm_topology_free(t);
        return e;
    }
    *out = t;
    return TM_OK;
}

void tm_topology_free(struct tm_topology *t)
{
    for (unsigned i = 0; i < t->cluster_count; i++) {
        struct tm_cluster_spec *c = &t->clusters[i];
        tm_topology_free_list(&c->nodes);
        tm_topology_free_list(&c->listed);
        tm_topology_free_link(&c->common);
        for (unsigned k = 0; k < c->link_count; k++)
            tm_topology_free_link(&c->links[k]);
        free(c->links);
        free(c->jurisdiction);
        free(c->name);
        free(c->provider);
        free(c->region);
        free(c->location);
    }
    for (unsigned i = 0; i < t->node_count; i++) {
        struct tm_node_spec *n = &t->nodes[i];
        free(n->name);
        free(n->cluster);
        free(n->address);
        free(n->fabric);
        free(n->fabric_port);
        free(n->fabric_address);
    }
    for (unsigned i = 0; i < t->entity_count; i++)
        tm_topology_free_entity(&t->entities[i]);
    free(t->entities);
    for (unsigned i = 0; i < t->warning_count; i++)
        free(t->warnings[i]);
    free(t->warnings);
    free(t->clusters);
    free(t->nodes);
    free(t->path);
    free(t);
}

const struct tm_cluster_spec *tm_topology_cluster(const struct tm_topology *t, const char *name)
{
    for (unsigned i = 0; i < t->cluster_count; i++)
        if (strcmp(t->clusters[i].name, name) == 0)
            return &t->clusters[i];
    return NULL;
}

const struct tm_node_spec *tm_topology_node(const struct tm_topology *t, const char *cluster,
                                            const char *node)
{
    const struct tm_node_spec *any = NULL;
    for (unsigned i = 0; i < t->node_count; i++) {
        const struct tm_node_spec *n = &t->nodes[i];
        if (strcmp(n->name, node) != 0)
            continue;
        if (strcmp(n->cluster, cluster) == 0)
            return n;
        if (n->cluster[0] == '\0')
            any = n;
    }
    return any;
}

int tm_cluster_node_index(const struct tm_cluster_spec *c, const char *node)
{
    for (unsigned i = 0; i < c->nodes.count; i++)
        if (strcmp(c->nodes.names[i], node) == 0)
            return (int)i;
    return -1;
}
