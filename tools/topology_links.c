/* Links: each name in replicateTo makes one, with what the cluster says of all its links and what
 * the entry itself says over it.  Then, over the whole file, what contradicts: two ends that cannot
 * keep what the mode promises, more than a node keeps of links, names that match nothing.
 *
 * A target that the file does not define is no error: the link is UNRESOLVED until it is. */
#include "runtime/nearest.h"
#include "tools/topology_internal.h"

#include <stdio.h>
#include <stdlib.h>

static const struct tm_topology_option entry_options[] = {
    {"cluster", TM_VALUE_NAME, offsetof(struct tm_link_spec, target)},
    {"replicateEntityTypes", TM_VALUE_TYPES, offsetof(struct tm_link_spec, include)},
    {"excludeEntityTypes", TM_VALUE_TYPES, offsetof(struct tm_link_spec, exclude)},
#define TM_LINK_VALUES_AT 0
    TM_LINK_VALUES
#undef TM_LINK_VALUES_AT
};

static struct tm_name_list copy_list(const struct tm_name_list *list)
{
    struct tm_name_list copy = {.count = list->count};
    if (list->count > 0)
        copy.names = tm_topology_must(calloc(list->count, sizeof *copy.names));
    for (unsigned i = 0; i < list->count; i++)
        copy.names[i] = tm_topology_must(strdup(list->names[i]));
    return copy;
}

void tm_topology_free_link(struct tm_link_spec *link)
{
    free(link->target);
    tm_topology_free_list(&link->include);
    tm_topology_free_list(&link->exclude);
}

/* What one link alone shows to be wrong; `own` are the rows that its own entry gives. */
static enum tm_err check_link(struct tm_loader *l, const struct tm_cluster_spec *c,
                              const struct tm_link_spec *link, uint32_t own)
{
    if (strcmp(link->target, c->name) == 0)
        return tm_topology_complain(l, "replicateTo", "a cluster cannot replicate to itself");
    if (c->eventual && link->options.mode == TM_LINK_SYNC)
        return tm_topology_complain(l, "replicationMode",
                                    "\"sync\" contradicts consistency: \"eventual\"; choose one");
    for (unsigned i = 0; i < TM_LINK_OPTION_COUNT; i++)
        if ((own >> i & 1) != 0 && (tm_link_option_rows[i].flags & TM_LINK_OPTION_SYNC) != 0 &&
            link->options.mode != TM_LINK_SYNC)
            return tm_topology_complain(l, tm_link_option_rows[i].name,
                                        "is of synchronous links only: add replicationMode: "
                                        "\"sync\", or take it out");
    if (link->options.batch_bytes > link->options.max_backlog_bytes)
        return tm_topology_complain(l, "batchBytes", "is more than maxBacklogBytes");
    return TM_OK;
}

static enum tm_err take_entry(struct tm_loader *l, struct tm_cluster_spec *c, const json_t *entry,
                              unsigned number)
{
    struct tm_link_spec *link = &c->links[c->link_count++];
    *link = (struct tm_link_spec){.line = tm_topology_option_line(l, "replicateTo"),
                                  .options = c->common.options,
                                  .include = copy_list(&c->common.include),
                                  .exclude = copy_list(&c->common.exclude)};
    enum tm_err e = TM_OK;
    const char *name =
        json_string_value(json_is_object(entry) ? json_object_get(entry, "cluster") : entry);
    if (name == NULL)
        return tm_topology_complain(
            l, "replicateTo",
            "entry %u must be a cluster's name or { cluster: \"name\", … }, "
            "not %s",
            number, tm_topology_type_name(entry));
    if (!tm_topology_name_ok(name, false))
        return tm_topology_complain(l, "replicateTo",
                                    "\"%.64s\" is no valid name: 1 to %d of letters, digits, "
                                    "\".\", \"_\" and \"-\"",
                                    name, TM_TOPOLOGY_NAME_MAX);
    for (unsigned i = 0; i + 1 < c->link_count; i++)
        if (strcmp(c->links[i].target, name) == 0) {
            link->target = tm_topology_must(strdup(""));
            return tm_topology_complain(l, "replicateTo", "\"%s\" is listed twice", name);
        }
    snprintf(l->inside, sizeof l->inside, "link to \"%s\": ", name);
    if (json_is_object(entry))
        e = tm_topology_take(l, entry, entry_options, TM_ARRAY_LEN(entry_options), link);
    else
        l->inside[0] = '\0';
    uint32_t own = link->given;
    if (link->target == NULL)
        link->target = tm_topology_must(strdup(name));
    link->given |= c->common.given;
    if (e == TM_OK)
        e = check_link(l, c, link, own);
    l->inside[0] = '\0';
    return e;
}

enum tm_err tm_topology_take_links(struct tm_loader *l, struct tm_cluster_spec *c,
                                   const json_t *replicate_to)
{
    if (replicate_to == NULL)
        return TM_OK;
    if (!json_is_array(replicate_to))
        return tm_topology_complain(l, "replicateTo", "must be an array of names, not %s",
                                    tm_topology_type_name(replicate_to));
    size_t n = json_array_size(replicate_to);
    if (n > TM_LINKS_MAX)
        return tm_topology_complain(l, "replicateTo", "has %zu entries, at most %d are allowed", n,
                                    TM_LINKS_MAX);
    c->links = tm_topology_must(calloc(n + 1, sizeof *c->links));
    enum tm_err e = TM_OK;
    for (size_t i = 0; e == TM_OK && i < n; i++)
        e = take_entry(l, c, json_array_get(replicate_to, i), (unsigned)i + 1);
    return e;
}

/* ---- the whole file ---- */

/* Whether a name of a filter takes the type. */
static bool takes(const char *pattern, const char *type)
{
    size_t len = strlen(pattern);
    if (len > 0 && pattern[len - 1] == '*')
        return strncmp(pattern, type, len - 1) == 0;
    return strcmp(pattern, type) == 0;
}

static void warn_names(struct tm_topology *t, const struct tm_cluster_spec *c, const char *option,
                       const struct tm_name_list *list)
{
    const char *types[TM_LINK_TYPES_MAX];
    for (unsigned k = 0; k < t->entity_count; k++)
        types[k] = t->entities[k].name;
    for (unsigned i = 0; i < list->count; i++) {
        bool known = false;
        for (unsigned k = 0; k < t->entity_count; k++)
            known |= takes(list->names[i], types[k]);
        if (known)
            continue;
        const char *near = tm_nearest_name(list->names[i], types, t->entity_count);
        tm_topology_warn(t, "%s: %s: \"%s\" matches no type that defineEntity names%s%s%s", c->name,
                         option, list->names[i], near != NULL ? "; did you mean \"" : "",
                         near != NULL ? near : "", near != NULL ? "\"?" : "");
    }
}

/* The types that the file names show whether a filter's names mean anything; if it names none,
 * nothing does. */
static void warn_filter(struct tm_topology *t, const struct tm_cluster_spec *c,
                        const struct tm_link_spec *link)
{
    if (t->entity_count > 0) {
        warn_names(t, c, "replicateEntityTypes", &link->include);
        warn_names(t, c, "excludeEntityTypes", &link->exclude);
    }
    unsigned left = link->include.count;
    for (unsigned i = 0; i < link->include.count; i++)
        for (unsigned x = 0; x < link->exclude.count; x++)
            if (takes(link->exclude.names[x], link->include.names[i])) {
                tm_topology_warn(t, "%s: type %s is both replicated and excluded: exclude wins",
                                 c->name, link->include.names[i]);
                left--;
                break;
            }
    if (left == 0 && (link->include.count > 0 || tm_topology_lists(&link->exclude, "*")))
        tm_topology_warn(t, "%s -> %s: nothing leaves: every type is excluded", c->name,
                         link->target);
}

static void warn_cluster(struct tm_topology *t, const struct tm_cluster_spec *c)
{
    bool sync = false;
    for (unsigned k = 0; k < c->link_count; k++) {
        const struct tm_link_spec *link = &c->links[k];
        sync |= link->options.mode == TM_LINK_SYNC;
        if (tm_topology_cluster(t, link->target) == NULL)
            tm_topology_warn(
                t, "%s -> %s: the target is not defined in this file: the link is UNRESOLVED",
                c->name, link->target);
        bool same = k > 0 && link->include.count == c->common.include.count &&
                    link->exclude.count == c->common.exclude.count;
        for (unsigned i = 0; same && i < link->include.count; i++)
            same = strcmp(link->include.names[i], c->common.include.names[i]) == 0;
        for (unsigned i = 0; same && i < link->exclude.count; i++)
            same = strcmp(link->exclude.names[i], c->common.exclude.names[i]) == 0;
        if (!same)
            warn_filter(t, c, link);
    }
    for (unsigned i = 0; i < TM_LINK_OPTION_COUNT; i++) {
        bool useless = (tm_link_option_rows[i].flags & TM_LINK_OPTION_SYNC) != 0 && !sync;
        if ((c->common.given >> i & 1) != 0 && (c->link_count == 0 || useless))
            tm_topology_warn(t, "%s: %s has no effect: the cluster has no %slink", c->name,
                             tm_link_option_rows[i].name, c->link_count > 0 ? "synchronous " : "");
    }
    if (c->link_count == 0 && c->common.include.count + c->common.exclude.count > 0)
        tm_topology_warn(t, "%s: a filter of types has no effect: the cluster has no link",
                         c->name);
}

/* What of a node keeps shared memory from it; NULL: nothing.  address: of the nodes so far. */
static const char *keeps_out(const struct tm_node_spec *n, const char **address)
{
    if (strcmp(n->fabric, "tcp") == 0)
        return "gives it the fabric \"tcp\"";
    if (n->fabric_port[0] != '\0')
        return "puts it on the wire of a fabricPort";
    if (n->address[0] == '\0')
        return NULL; /* as --address says, which is looked at when it starts */
    bool elsewhere = *address != NULL && strcmp(*address, n->address) != 0;
    *address = n->address;
    return elsewhere ? "has it on another machine than others" : NULL;
}

/* A link over the dpdk fabric is shared memory of one machine. */
static enum tm_err check_near(struct tm_loader *l, const struct tm_cluster_spec *from,
                              const struct tm_cluster_spec *to)
{
    const struct tm_cluster_spec *const ends[] = {from, to};
    const char *address = NULL;
    for (unsigned k = 0; k < 2; k++)
        for (unsigned i = 0; i < ends[k]->nodes.count; i++) {
            const struct tm_node_spec *n =
                tm_topology_node(l->t, ends[k]->name, ends[k]->nodes.names[i]);
            const char *why = n == NULL ? NULL : keeps_out(n, &address);
            if (why != NULL)
                return tm_topology_complain(l, "linkFabric",
                                            "\"dpdk\" is shared memory of one machine, and "
                                            "defineNode(\"%s\") of %s %s",
                                            n->name, ends[k]->name, why);
        }
    return TM_OK;
}

/* Both ends of a link are there: can they keep what it promises? */
static enum tm_err check_ends(struct tm_loader *l, const struct tm_cluster_spec *from,
                              const struct tm_link_spec *link, const struct tm_cluster_spec *to)
{
    if (link->options.mode == TM_LINK_SYNC && to->eventual)
        return tm_topology_complain(l, "replicationMode",
                                    "\"sync\" needs a quorum at the target, and %s has "
                                    "consistency: \"eventual\"",
                                    to->name);
    return link->options.fabric == TM_LINK_DPDK ? check_near(l, from, to) : TM_OK;
}

/* The clusters at the other ends of a cluster's links, and their nodes, are bounded. */
static enum tm_err check_bounds(struct tm_loader *l, const struct tm_cluster_spec *c)
{
    const struct tm_topology *t = l->t;
    unsigned in = 0, nodes = 0;
    for (unsigned i = 0; i < t->cluster_count; i++) {
        const struct tm_cluster_spec *o = &t->clusters[i];
        bool to = false, from = false;
        for (unsigned k = 0; k < c->link_count; k++)
            to |= strcmp(c->links[k].target, o->name) == 0;
        for (unsigned k = 0; k < o->link_count; k++)
            from |= strcmp(o->links[k].target, c->name) == 0;
        in += from;
        nodes += to || from ? o->nodes.count : 0;
    }
    if (in > TM_LINKS_MAX)
        return tm_topology_complain(l, NULL, "%u clusters replicate to it, at most %d are allowed",
                                    in, TM_LINKS_MAX);
    if (nodes > TM_LINK_NODES_MAX)
        return tm_topology_complain(
            l, NULL, "the clusters that it is linked with have %u nodes, at most %d are allowed",
            nodes, TM_LINK_NODES_MAX);
    return TM_OK;
}

enum tm_err tm_topology_check_links(struct tm_loader *l)
{
    struct tm_topology *t = l->t;
    enum tm_err e = TM_OK;
    for (unsigned i = 0; e == TM_OK && i < t->cluster_count; i++) {
        const struct tm_cluster_spec *c = &t->clusters[i];
        l->fn = "defineCluster";
        l->name = c->name;
        l->line = c->line;
        e = check_bounds(l, c);
        for (unsigned k = 0; e == TM_OK && k < c->link_count; k++) {
            const struct tm_cluster_spec *to = tm_topology_cluster(t, c->links[k].target);
            snprintf(l->inside, sizeof l->inside, "link to \"%s\": ", c->links[k].target);
            if (to != NULL)
                e = check_ends(l, c, &c->links[k], to);
        }
        l->inside[0] = '\0';
        warn_cluster(t, c);
    }
    return e;
}
