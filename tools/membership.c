/* The facts are the file's options line by line.  Asking is asking like any client: no part of the
 * fabric is needed, and a node that the members do not know is told so. */
#include "tools/membership.h"

#include "runtime/clock.h"
#include "tools/client.h"
#include "tools/facts.h"
#include "tools/ports.h"

#include <stdio.h>
#include <stdlib.h>

#define ASK_MS     250  /* for one answer of a node */
#define ASK_ALL_MS 1000 /* then no further node is asked */

static void *must(void *p)
{
    TM_ASSERT(p != NULL); /* a few kilobytes, outside of the workers */
    return p;
}

/* ---- facts ---- */

static void add(struct tm_facts *f, const char *node, const char *name, const char *value)
{
    char full[2 * TM_DIRECTORY_NAME_MAX];
    snprintf(full, sizeof full, "%s%s%s", node, node[0] != '\0' ? "/" : "", name);
    if (value[0] != '\0')
        tm_facts_add(f, full, value);
}

static void add_number(struct tm_facts *f, const char *node, const char *name, unsigned value)
{
    char text[16];
    snprintf(text, sizeof text, "%u", value);
    add(f, node, name, value != 0 ? text : "");
}

static void collect(struct tm_facts *f, const struct tm_topology *t,
                    const struct tm_cluster_spec *c)
{
    const struct tm_name_list *nodes = tm_cluster_listed(c);
    add(f, "", "provider", c->provider);
    add(f, "", "region", c->region);
    add(f, "", "location", c->location);
    tm_facts_add_links(f, t, c);
    for (unsigned i = 0; i < nodes->count; i++) {
        const struct tm_node_spec *n = tm_topology_node(t, c->name, nodes->names[i]);
        if (n == NULL || n->line == 0)
            continue;
        add(f, nodes->names[i], "address", n->address);
        add_number(f, nodes->names[i], "port", n->port);
        add_number(f, nodes->names[i], "workers", n->workers);
        add(f, nodes->names[i], "fabric", n->fabric);
        add(f, nodes->names[i], "fabricPort", n->fabric_port);
        add(f, nodes->names[i], "fabricAddress", n->fabric_address);
    }
}

enum tm_err tm_membership_facts(const struct tm_topology *t, const struct tm_cluster_spec *c,
                                char out[TM_DIRECTORY_FACTS_MAX + 1])
{
    struct tm_facts f = {.count = 0};
    collect(&f, t, c);
    return tm_facts_write(&f, out, TM_DIRECTORY_FACTS_MAX + 1);
}

/* ---- asking ---- */

/* The directory in an answer to TIDEMILL DIRECTORY. */
static enum tm_err take_reply(struct tm_bytes reply, struct tm_directory *out)
{
    struct tm_resp_value v;
    size_t at = 0, used;
    bool next = false;
    while (at < reply.len &&
           tm_resp_read(reply.data + at, reply.len - at, &v, &used) == TM_RESP_DONE) {
        if (next)
            return tm_directory_decode(v.text, out);
        next = tm_bytes_equal(v.text, tm_bytes_str("bytes"));
        at += used;
    }
    return TM_ERR_NOTFOUND;
}

enum tm_err tm_membership_ask_at(const char *address, const char *password,
                                 struct tm_directory *out)
{
    struct tm_client c;
    struct tm_bytes reply;
    enum tm_err e = tm_client_open(&c, address, ASK_MS);
    if (e == TM_OK)
        e = tm_client_auth(&c, password);
    if (e == TM_OK)
        e = tm_client_ask(&c, (const char *const[]){"TIDEMILL", "DIRECTORY", NULL}, &reply);
    if (e == TM_OK)
        e = take_reply(reply, out);
    tm_client_close(&c);
    return e;
}

enum tm_err tm_membership_ask(const struct tm_topology *t, const struct tm_cluster_spec *c,
                              const char *self, const struct tm_options *o,
                              struct tm_directory *out)
{
    uint64_t by = tm_clock_ns() + TM_MS(ASK_ALL_MS);
    for (unsigned i = 0; i < c->nodes.count && tm_clock_ns() < by; i++) {
        struct tm_ports ports;
        char why[512], text[96];
        if (strcmp(c->nodes.names[i], self) == 0 ||
            tm_ports_plan(t, c, i, (unsigned)o->base_port, o->address, &ports, why, sizeof why) !=
                TM_OK)
            continue;
        tm_ports_text(&ports, tm_ports_client(&ports), text, sizeof text);
        if (tm_membership_ask_at(text, o->requirepass, out) == TM_OK &&
            strcmp(out->cluster, c->name) == 0)
            return TM_OK;
    }
    return TM_ERR_NOTFOUND;
}

/* ---- following ---- */

static char *fact_of(const struct tm_directory *d, const char *node, const char *name)
{
    char full[2 * TM_DIRECTORY_NAME_MAX];
    size_t len = 0;
    snprintf(full, sizeof full, "%s/%s", node, name);
    const char *value = tm_directory_fact(d, full, &len);
    return must(strndup(value != NULL ? value : "", len));
}

/* What the directory knows of a member that the file leaves out. */
static void add_node(struct tm_topology *t, const struct tm_cluster_spec *c,
                     const struct tm_directory *d, const char *name)
{
    char *port = fact_of(d, name, "port");
    t->nodes = must(realloc(t->nodes, (t->node_count + 1) * sizeof *t->nodes));
    t->nodes[t->node_count++] =
        (struct tm_node_spec){.name = must(strdup(name)),
                              .cluster = must(strdup(c->name)),
                              .address = fact_of(d, name, "address"),
                              .port = (unsigned)strtoul(port, NULL, 10),
                              .fabric = must(strdup("")),
                              .fabric_port = must(strdup("")),
                              .fabric_address = fact_of(d, name, "fabricAddress")};
    free(port);
}

static bool lists(const struct tm_name_list *list, const char *name)
{
    for (unsigned i = 0; i < list->count; i++)
        if (strcmp(list->names[i], name) == 0)
            return true;
    return false;
}

static void say_members(const struct tm_directory *d, const char *self, const char *path, char *why,
                        size_t size)
{
    char names[256] = "";
    size_t at = 0;
    for (unsigned i = 0; i < d->members && at < sizeof names; i++)
        at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", i > 0 ? ", " : "",
                               d->nodes[i].name);
    snprintf(why, size,
             "it is not part of cluster %s, which exists with the nodes %s%s: take %s out of %s; "
             "nodes cannot be added to a cluster that exists yet",
             d->cluster, names, at >= sizeof names ? " ..." : "", self, path);
}

bool tm_membership_agrees(const struct tm_cluster_spec *c, const struct tm_directory *d)
{
    bool same = c->nodes.count == d->members;
    for (unsigned i = 0; same && i < d->members; i++)
        same =
            strcmp(c->nodes.names[i], d->nodes[i].name) == 0 && c->blocks[i] == d->nodes[i].block;
    return same;
}

enum tm_err tm_membership_follow(struct tm_topology *t, const struct tm_cluster_spec *cluster,
                                 const struct tm_directory *d, const char *self, char *why,
                                 size_t why_size)
{
    struct tm_cluster_spec *c = &t->clusters[cluster - t->clusters];
    if (strcmp(d->cluster, c->name) != 0) {
        snprintf(why, why_size, "the directory is that of cluster %s", d->cluster);
        return TM_ERR_INVALID;
    }
    if (tm_directory_find(d, self) < 0) {
        say_members(d, self, t->path, why, why_size);
        return TM_ERR_NOTFOUND;
    }
    if (tm_membership_agrees(c, d))
        return TM_OK;
    TM_ASSERT(c->listed.names == NULL); /* once */
    c->listed = c->nodes;
    c->nodes = (struct tm_name_list){.names = must(calloc(d->members, sizeof(char *))),
                                     .count = d->members};
    for (unsigned i = 0; i < d->members; i++) {
        c->nodes.names[i] = must(strdup(d->nodes[i].name));
        c->blocks[i] = d->nodes[i].block;
        if (!lists(&c->listed, d->nodes[i].name))
            add_node(t, c, d, d->nodes[i].name);
    }
    return TM_OK;
}
