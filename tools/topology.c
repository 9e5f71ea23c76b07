/* Reads the file, has it evaluated, and checks each define call against a table of options: name,
 * type, where it goes.  Then what spans calls: duplicate names, targets, factors against nodes.
 *
 * Every complaint names file, line, call and option.  The line Duktape knows is the end of the
 * call; the option's own line is found by searching back from there. */
#include "tools/topology.h"
#include "tools/topology_eval.h"
#include "runtime/nearest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct loader {
    struct tm_topology *t;
    const char *source;
    char *err;
    size_t err_size;
    /* The call under way. */
    const char *fn, *name;
    unsigned line;
};

enum value_type { NAME_LIST, INTEGER, LABEL, ADDRESS, CHOICE };

struct option {
    const char *name;
    enum value_type type;
    size_t offset;
    long min, max;          /* INTEGER */
    const char *choices[2]; /* CHOICE: the second one sets the bool, or the string is kept */
    bool keep_text;
};

#define CLUSTER(field) offsetof(struct tm_cluster_spec, field)
#define NODE(field)    offsetof(struct tm_node_spec, field)

static const struct option cluster_options[] = {
    {"nodes", NAME_LIST, CLUSTER(nodes)},
    {"replicationFactor", INTEGER, CLUSTER(replication_factor), 1, TM_REPLICATION_MAX},
    {"partitions", INTEGER, CLUSTER(partitions), 1, TM_PARTITIONS_MAX},
    {"consistency", CHOICE, CLUSTER(eventual), .choices = {"strong", "eventual"}},
    {"provider", LABEL, CLUSTER(provider)},
    {"region", LABEL, CLUSTER(region)},
    {"location", LABEL, CLUSTER(location)},
    {"replicateTo", NAME_LIST, CLUSTER(replicate_to)},
    {"replicationMode", CHOICE, CLUSTER(sync_links), .choices = {"async", "sync"}},
    {"replicateEntityTypes", NAME_LIST, CLUSTER(include_types)},
    {"excludeEntityTypes", NAME_LIST, CLUSTER(exclude_types)},
};

static const struct option node_options[] = {
    {"cluster", LABEL, NODE(cluster)},
    {"address", ADDRESS, NODE(address)},
    {"port", INTEGER, NODE(port), 1, 65000},
    {"workers", INTEGER, NODE(workers), 1, TM_WORKERS_MAX},
    {"fabric", CHOICE, NODE(fabric), .choices = {"dpdk", "tcp"}, .keep_text = true},
    {"fabricPort", LABEL, NODE(fabric_port)},
    {"fabricAddress", ADDRESS, NODE(fabric_address)},
};

static void *must(void *p)
{
    TM_ASSERT(p != NULL); /* a few kilobytes, before anything runs */
    return p;
}

/* The line of option `key` of the call that ends at l->line: the last mention before it. */
static unsigned option_line(const struct loader *l, const char *key)
{
    unsigned line = 1, found = l->line;
    size_t key_len = strlen(key);
    for (const char *s = l->source; *s != '\0' && line <= l->line; s++) {
        if (*s == '\n')
            line++;
        else if (strncmp(s, key, key_len) == 0)
            found = line;
    }
    return found;
}

/* Writes one line of error about the present call; key is NULL or the option it is about. */
static enum tm_err complain(struct loader *l, const char *key, const char *fmt, ...)
    TM_PRINTF(3, 4);

static enum tm_err complain(struct loader *l, const char *key, const char *fmt, ...)
{
    char what[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    snprintf(l->err, l->err_size, "%s:%u: %s(\"%.*s\"): %s%s%s%s", l->t->path,
             key != NULL ? option_line(l, key) : l->line, l->fn, TM_TOPOLOGY_NAME_MAX, l->name,
             key != NULL ? "option \"" : "", key != NULL ? key : "", key != NULL ? "\": " : "",
             what);
    return TM_ERR_INVALID;
}

static void warn(struct tm_topology *t, const char *fmt, ...) TM_PRINTF(2, 3);

static void warn(struct tm_topology *t, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    t->warnings = must(realloc(t->warnings, (t->warning_count + 1) * sizeof *t->warnings));
    t->warnings[t->warning_count++] = must(strdup(text));
}

static bool name_ok(const char *s, bool wildcard)
{
    size_t len = strlen(s);
    if (len == 0 || len > TM_TOPOLOGY_NAME_MAX || s[0] == '.' || s[0] == '-')
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!word && strchr("._-", c) == NULL && !(wildcard && c == '*' && i == len - 1))
            return false;
    }
    return true;
}

static const char *type_name(const json_t *v)
{
    const json_t *marker = json_object_get(v, "$type");
    if (marker != NULL && json_is_string(marker))
        return json_string_value(marker);
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    default:
        return "null";
    }
}

static enum tm_err take_list(struct loader *l, const struct option *o, const json_t *v,
                             struct tm_name_list *out)
{
    if (!json_is_array(v))
        return complain(l, o->name, "must be an array of names, not %s", type_name(v));
    size_t n = json_array_size(v);
    if (n > TM_LIST_MAX)
        return complain(l, o->name, "has %zu entries, at most %d are allowed", n, TM_LIST_MAX);
    bool types = strstr(o->name, "EntityTypes") != NULL;
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(v, i);
        if (!json_is_string(item))
            return complain(l, o->name, "entry %zu must be a name, not %s", i + 1, type_name(item));
        const char *name = json_string_value(item);
        if (!name_ok(name, types))
            return complain(l, o->name,
                            "\"%.64s\" is no valid name: 1 to %d of letters, digits, \".\", \"_\" "
                            "and \"-\"%s",
                            name, TM_TOPOLOGY_NAME_MAX, types ? ", \"*\" at the end" : "");
        for (unsigned k = 0; k < out->count; k++)
            if (strcmp(out->names[k], name) == 0)
                return complain(l, o->name, "\"%s\" is listed twice", name);
        out->names = must(realloc(out->names, (out->count + 1) * sizeof *out->names));
        out->names[out->count++] = must(strdup(name));
    }
    return TM_OK;
}

static enum tm_err take_integer(struct loader *l, const struct option *o, const json_t *v,
                                unsigned *out)
{
    if (json_is_real(v))
        return complain(l, o->name, "must be a whole number from %ld to %ld, not %g", o->min,
                        o->max, json_real_value(v));
    if (!json_is_integer(v))
        return complain(l, o->name, "must be a whole number from %ld to %ld, not %s", o->min,
                        o->max, type_name(v));
    json_int_t n = json_integer_value(v);
    if (n < o->min || n > o->max)
        return complain(l, o->name, "%" JSON_INTEGER_FORMAT " is out of range: %ld to %ld", n,
                        o->min, o->max);
    *out = (unsigned)n;
    return TM_OK;
}

static enum tm_err take_choice(struct loader *l, const struct option *o, const json_t *v, void *out)
{
    const char *s = json_string_value(v);
    if (s == NULL || (strcmp(s, o->choices[0]) != 0 && strcmp(s, o->choices[1]) != 0))
        return complain(l, o->name, "must be \"%s\" or \"%s\", not %s%.64s%s", o->choices[0],
                        o->choices[1], s != NULL ? "\"" : "", s != NULL ? s : type_name(v),
                        s != NULL ? "\"" : "");
    if (o->keep_text)
        *(char **)out = must(strdup(s));
    else
        *(bool *)out = strcmp(s, o->choices[1]) == 0;
    return TM_OK;
}

static enum tm_err take_string(struct loader *l, const struct option *o, const json_t *v,
                               char **out)
{
    if (!json_is_string(v))
        return complain(l, o->name, "must be a string, not %s", type_name(v));
    const char *s = json_string_value(v);
    struct in_addr ip;
    if (o->type == ADDRESS && inet_pton(AF_INET, s, &ip) != 1)
        return complain(l, o->name, "\"%.64s\" is no IPv4 address such as \"10.0.0.7\"", s);
    if (strlen(s) > 255)
        return complain(l, o->name, "is longer than 255 bytes");
    *out = must(strdup(s));
    return TM_OK;
}

static enum tm_err take_option(struct loader *l, const struct option *o, const json_t *v,
                               void *base)
{
    void *out = (char *)base + o->offset;
    switch (o->type) {
    case NAME_LIST:
        return take_list(l, o, v, out);
    case INTEGER:
        return take_integer(l, o, v, out);
    case CHOICE:
        return take_choice(l, o, v, out);
    case LABEL:
    case ADDRESS:
        return take_string(l, o, v, out);
    }
    return TM_ERR_INVALID;
}

static enum tm_err take_options(struct loader *l, const json_t *options, const struct option *table,
                                size_t count, void *base)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)options, key, v)
    {
        const char *known[16];
        const struct option *o = NULL;
        for (size_t i = 0; i < count; i++) {
            known[i] = table[i].name;
            if (strcmp(table[i].name, key) == 0)
                o = &table[i];
        }
        if (o == NULL) {
            const char *near = tm_nearest_name(key, known, count);
            return complain(l, key, "unknown option%s%s%s", near != NULL ? "; did you mean \"" : "",
                            near != NULL ? near : "", near != NULL ? "\"?" : "");
        }
        enum tm_err e = take_option(l, o, v, base);
        if (e != TM_OK)
            return e;
    }
    return TM_OK;
}

static void default_text(char **s)
{
    if (*s == NULL)
        *s = must(strdup(""));
}

static enum tm_err finish_cluster(struct loader *l, struct tm_cluster_spec *c)
{
    if (c->nodes.names == NULL) {
        char name[TM_TOPOLOGY_NAME_MAX + 8];
        snprintf(name, sizeof name, "%s-1", c->name);
        c->nodes.names = must(calloc(1, sizeof *c->nodes.names));
        c->nodes.names[0] = must(strdup(name));
        c->nodes.count = 1;
    }
    if (c->nodes.count > TM_NODES_MAX)
        return complain(l, "nodes", "%u nodes, at most %d are allowed", c->nodes.count,
                        TM_NODES_MAX);
    if (c->replication_factor == 0)
        c->replication_factor = c->nodes.count < 3 ? c->nodes.count : 3;
    if (c->replication_factor > c->nodes.count)
        return complain(l, "replicationFactor", "%u copies need %u nodes, the cluster has %u",
                        c->replication_factor, c->replication_factor, c->nodes.count);
    if (c->partitions == 0)
        c->partitions = 256;
    for (unsigned i = 0; i < c->replicate_to.count; i++)
        if (strcmp(c->replicate_to.names[i], c->name) == 0)
            return complain(l, "replicateTo", "a cluster cannot replicate to itself");
    if (c->eventual && c->sync_links && c->replicate_to.count > 0)
        return complain(l, "replicationMode",
                        "\"sync\" contradicts consistency: \"eventual\"; choose one");
    default_text(&c->provider);
    default_text(&c->region);
    default_text(&c->location);
    return TM_OK;
}

static enum tm_err take_cluster(struct loader *l, const json_t *options)
{
    struct tm_topology *t = l->t;
    for (unsigned i = 0; i < t->cluster_count; i++)
        if (strcmp(t->clusters[i].name, l->name) == 0)
            return complain(l, NULL, "this name was defined in line %u already",
                            t->clusters[i].line);
    if (t->cluster_count == TM_CLUSTERS_MAX)
        return complain(l, NULL, "at most %d clusters are allowed", TM_CLUSTERS_MAX);
    t->clusters = must(realloc(t->clusters, (t->cluster_count + 1) * sizeof *t->clusters));
    struct tm_cluster_spec *c = &t->clusters[t->cluster_count++];
    *c = (struct tm_cluster_spec){.name = must(strdup(l->name)), .line = l->line};
    enum tm_err e = take_options(l, options, cluster_options, TM_ARRAY_LEN(cluster_options), c);
    return e != TM_OK ? e : finish_cluster(l, c);
}

static enum tm_err take_node(struct loader *l, const json_t *options)
{
    struct tm_topology *t = l->t;
    t->nodes = must(realloc(t->nodes, (t->node_count + 1) * sizeof *t->nodes));
    struct tm_node_spec *n = &t->nodes[t->node_count++];
    *n = (struct tm_node_spec){.name = must(strdup(l->name)), .line = l->line};
    enum tm_err e = take_options(l, options, node_options, TM_ARRAY_LEN(node_options), n);
    if (e != TM_OK)
        return e;
    default_text(&n->cluster);
    default_text(&n->address);
    default_text(&n->fabric);
    default_text(&n->fabric_port);
    default_text(&n->fabric_address);
    for (unsigned i = 0; i + 1 < t->node_count; i++)
        if (strcmp(t->nodes[i].name, n->name) == 0 && strcmp(t->nodes[i].cluster, n->cluster) == 0)
            return complain(l, NULL, "this node was defined in line %u already", t->nodes[i].line);
    return TM_OK;
}

static enum tm_err take_call(struct loader *l, const json_t *call)
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
    if (!name_ok(l->name, false))
        return complain(l, NULL, "a name has 1 to %d of letters, digits, \".\", \"_\" and \"-\"",
                        TM_TOPOLOGY_NAME_MAX);
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
static enum tm_err check_whole(struct loader *l)
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
        for (unsigned k = 0; k < c->replicate_to.count; k++)
            if (tm_topology_cluster(t, c->replicate_to.names[k]) == NULL)
                warn(t, "%s -> %s: the target is not defined in this file: the link is UNRESOLVED",
                     c->name, c->replicate_to.names[k]);
        if (c->nodes.count == 2)
            warn(t,
                 "%s: two nodes in all: no automatic failover; a third, even small, node as "
                 "witness gives it",
                 c->name);
        for (unsigned k = 0; k < c->include_types.count; k++)
            for (unsigned x = 0; x < c->exclude_types.count; x++)
                if (strcmp(c->include_types.names[k], c->exclude_types.names[x]) == 0)
                    warn(t, "%s: type %s is both replicated and excluded: exclude wins", c->name,
                         c->include_types.names[k]);
    }
    for (unsigned i = 0; i < t->node_count; i++) {
        bool used = false;
        for (unsigned k = 0; k < t->cluster_count; k++)
            used |= (t->nodes[i].cluster[0] == '\0' ||
                     strcmp(t->nodes[i].cluster, t->clusters[k].name) == 0) &&
                    tm_cluster_node_index(&t->clusters[k], t->nodes[i].name) >= 0;
        if (!used)
            warn(t, "defineNode(\"%s\") in line %u belongs to no cluster", t->nodes[i].name,
                 t->nodes[i].line);
    }
    return TM_OK;
}

static enum tm_err take_all(struct loader *l, const char *json)
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
    struct tm_topology *t = must(calloc(1, sizeof *t));
    t->path = must(strdup(path));
    if (e == TM_OK) {
        struct loader l = {.t = t, .source = source, .err = err, .err_size = err_size};
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

static void free_list(struct tm_name_list *list)
{
    for (unsigned i = 0; i < list->count; i++)
        free(list->names[i]);
    free(list->names);
}

void tm_topology_free(struct tm_topology *t)
{
    for (unsigned i = 0; i < t->cluster_count; i++) {
        struct tm_cluster_spec *c = &t->clusters[i];
        free_list(&c->nodes);
        free_list(&c->listed);
        free_list(&c->replicate_to);
        free_list(&c->include_types);
        free_list(&c->exclude_types);
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
