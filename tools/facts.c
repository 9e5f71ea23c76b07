/* Names and values are short, but for lists and functions; a function's text is written with %XX
 * for what a line cannot hold. */
#include "tools/facts.h"
#include "tools/ports.h"

#include <stdio.h>
#include <stdlib.h>

TM_STATIC_ASSERT(TM_LINK_BLOCK_PORTS == TM_PORTS_PER_NODE, "nodes know the port plan's blocks");

#define FACT_NAME_MAX (6 * TM_TOPOLOGY_NAME_MAX)

static void *must(void *p)
{
    TM_ASSERT(p != NULL); /* a few kilobytes, outside of the workers */
    return p;
}

void tm_facts_add(struct tm_facts *f, const char *name, const char *value)
{
    if (f->count == f->room) {
        f->room = f->room * 2 + 64;
        f->lines = must(realloc(f->lines, f->room * sizeof *f->lines));
    }
    size_t size = strlen(name) + strlen(value) + 2;
    char *line = must(malloc(size));
    snprintf(line, size, "%s=%s", name, value);
    for (char *c = line; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == '"')
            *c = ' ';
    f->lines[f->count++] = line;
}

static int by_name(const void *a, const void *b)
{
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    size_t xl = strcspn(x, "="), yl = strcspn(y, "=");
    int c = memcmp(x, y, tm_min_u64(xl, yl));
    return c != 0 ? c : (xl > yl) - (xl < yl);
}

enum tm_err tm_facts_write(struct tm_facts *f, char *out, size_t size)
{
    size_t at = 0;
    enum tm_err e = TM_OK;
    if (f->count > 0)
        qsort(f->lines, f->count, sizeof f->lines[0], by_name);
    out[0] = '\0';
    for (unsigned i = 0; i < f->count; i++) {
        size_t len = strlen(f->lines[i]);
        if (at + len + 2 > size)
            e = TM_ERR_TOOBIG;
        else
            at += (size_t)snprintf(out + at, len + 2, "%s\n", f->lines[i]);
        free(f->lines[i]);
    }
    free(f->lines);
    *f = (struct tm_facts){0};
    return e;
}

/* ---- links ---- */

/* "kind:who/what" and its value; nothing for an empty value. */
static void add(struct tm_facts *f, const char *kind, const char *who, const char *what,
                const char *value)
{
    char name[2 * FACT_NAME_MAX];
    snprintf(name, sizeof name, "%s:%s/%s", kind, who, what);
    if (value[0] != '\0')
        tm_facts_add(f, name, value);
}

/* "a,b,c", to be freed. */
static char *join(const struct tm_name_list *list)
{
    size_t size = 1, at = 0;
    for (unsigned i = 0; i < list->count; i++)
        size += strlen(list->names[i]) + 1;
    char *text = must(calloc(1, size));
    for (unsigned i = 0; i < list->count; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%s", i > 0 ? "," : "", list->names[i]);
    return text;
}

static void add_link(struct tm_facts *f, const char *way, const char *peer,
                     const struct tm_link_spec *link)
{
    char *include = join(&link->include), *exclude = join(&link->exclude), text[64];
    for (unsigned i = 0; i < TM_LINK_OPTION_COUNT; i++) {
        tm_link_option_text(i, tm_link_option_get(&link->options, i), text, sizeof text);
        add(f, way, peer, tm_link_option_rows[i].name, text);
    }
    add(f, way, peer, "replicateEntityTypes", include);
    add(f, way, peer, "excludeEntityTypes", exclude);
    free(include);
    free(exclude);
}

/* What is known of the cluster at the other end. */
static void add_peer(struct tm_facts *f, const struct tm_topology *t,
                     const struct tm_cluster_spec *c)
{
    char nodes[TM_NODES_MAX * (TM_TOPOLOGY_NAME_MAX + 32)], number[16];
    size_t at = 0;
    for (unsigned i = 0; i < c->nodes.count; i++) {
        const struct tm_node_spec *n = tm_topology_node(t, c->name, c->nodes.names[i]);
        bool port = n != NULL && n->port != 0;
        at += (size_t)snprintf(nodes + at, sizeof nodes - at, "%s%s:%s:%s%u", i > 0 ? "," : "",
                               c->nodes.names[i], n != NULL ? n->address : "", port ? "" : "+",
                               port ? n->port : c->blocks[i]);
    }
    snprintf(number, sizeof number, "%u", c->partitions);
    add(f, "cluster", c->name, "nodes", nodes);
    add(f, "cluster", c->name, "partitions", number);
    add(f, "cluster", c->name, "jurisdiction", c->jurisdiction);
}

/* %XX for what a line, a name of a line or a quoted text cannot hold; to be freed. */
static char *escape(const char *text)
{
    char *out = must(malloc(3 * strlen(text) + 1)), *to = out;
    for (const char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f || strchr("%\"=/", *c) != NULL)
            to += snprintf(to, 4, "%%%02X", (unsigned)(unsigned char)*c);
        else
            *to++ = *c;
    }
    *to = '\0';
    return out;
}

static void add_rule(struct tm_facts *f, const char *type, const char *prefix,
                     const struct tm_rule_spec *rule)
{
    char what[FACT_NAME_MAX];
    snprintf(what, sizeof what, "%sconflict", prefix);
    add(f, "type", type, what, tm_conflict_name(rule->rule));
    snprintf(what, sizeof what, "%shome", prefix);
    add(f, "type", type, what, rule->home != NULL ? rule->home : "");
    snprintf(what, sizeof what, "%sfunction", prefix);
    char *function = escape(rule->function != NULL ? rule->function : "");
    add(f, "type", type, what, function);
    free(function);
}

static void add_type(struct tm_facts *f, const struct tm_entity_spec *e)
{
    char prefix[FACT_NAME_MAX];
    add_rule(f, e->name, "", &e->rule);
    if (e->resident) {
        char *regions = join(&e->residency);
        snprintf(prefix, sizeof prefix, "type:%s/residency", e->name);
        tm_facts_add(f, prefix, regions); /* an empty one says a lot */
        free(regions);
    }
    for (unsigned i = 0; i < e->field_count; i++) {
        char *field = escape(e->fields[i].name);
        snprintf(prefix, sizeof prefix, "field:%s/", field);
        add_rule(f, e->name, prefix, &e->fields[i].rule);
        free(field);
    }
}

static const struct tm_link_spec *link_between(const struct tm_cluster_spec *from,
                                               const struct tm_cluster_spec *to)
{
    for (unsigned i = 0; i < from->link_count; i++)
        if (strcmp(from->links[i].target, to->name) == 0)
            return &from->links[i];
    return NULL;
}

void tm_facts_add_links(struct tm_facts *f, const struct tm_topology *t,
                        const struct tm_cluster_spec *c)
{
    bool linked = c->link_count > 0;
    for (unsigned i = 0; i < c->link_count; i++)
        add_link(f, "to", c->links[i].target, &c->links[i]);
    for (unsigned i = 0; i < t->cluster_count; i++) {
        const struct tm_cluster_spec *peer = &t->clusters[i];
        const struct tm_link_spec *in = link_between(peer, c);
        if (in != NULL)
            add_link(f, "from", peer->name, in);
        if (in != NULL || link_between(c, peer) != NULL)
            add_peer(f, t, peer);
        linked |= in != NULL;
    }
    if ((linked || t->entity_count > 0) && c->jurisdiction[0] != '\0')
        tm_facts_add(f, "jurisdiction", c->jurisdiction);
    for (unsigned i = 0; i < t->entity_count; i++)
        add_type(f, &t->entities[i]);
}
