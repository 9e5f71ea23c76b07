/* A seed names its cluster's members, one for each worker; the first worker of each node answers
 * for all of them.  A node that does not answer is a finding, not a failure. */
#include "tools/link_ask.h"

#include "actors/link_operator.h"
#include "tools/client.h"
#include "tools/command.h"
#include "tools/membership.h"
#include "tools/nodedir.h"
#include "tools/running.h"
#include "tools/status_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define ASK_MS 5000

static void *must(void *p)
{
    TM_ASSERT(p != NULL); /* some hundred kilobytes, in a process of its own */
    return p;
}

/* ---- asking ---- */

static enum tm_err ask_node(const struct tm_linked_node *n, const char *password,
                            const char *const *words, json_t *into)
{
    struct tm_client c;
    struct tm_bytes reply;
    enum tm_err e = tm_client_open(&c, n->address, ASK_MS);
    if (e == TM_OK)
        e = tm_client_auth(&c, password);
    if (e == TM_OK)
        e = tm_client_ask(&c, words, &reply);
    json_t *rows = e == TM_OK ? tm_linked_rows(reply, n->name) : NULL;
    if (e == TM_OK && rows == NULL)
        e = TM_ERR_CORRUPT;
    if (rows != NULL)
        json_array_extend(into, rows);
    json_decref(rows);
    tm_client_close(&c);
    return e;
}

json_t *tm_linked_ask(struct tm_linked *c, const char *password, const char *const *words)
{
    json_t *rows = json_array();
    for (unsigned i = 0; i < c->node_count; i++) {
        if (c->nodes[i].err != TM_OK)
            continue;
        enum tm_err e = ask_node(&c->nodes[i], password, words, rows);
        if (e != TM_OK)
            json_array_append_new(rows, json_pack("{s:s, s:s, s:s}", "kind", "silent", "at",
                                                  c->nodes[i].name, "text", tm_err_text(e)));
    }
    return rows;
}

/* ---- finding ---- */

static struct tm_linked *add_cluster(struct tm_linked_all *all, const char *name)
{
    struct tm_linked *known = tm_linked_cluster(all, name);
    if (known != NULL)
        return known;
    all->clusters = must(realloc(all->clusters, (all->count + 1) * sizeof *all->clusters));
    struct tm_linked *c = &all->clusters[all->count++];
    *c = (struct tm_linked){.rows = json_array()};
    snprintf(c->name, sizeof c->name, "%s", name);
    return c;
}

/* Asks one node what cluster it is of; the newest directory of a cluster counts. */
static enum tm_err take_seed(struct tm_linked_all *all, const struct tm_linked_where *where,
                             const char *address)
{
    struct tm_directory *d = must(malloc(sizeof *d));
    enum tm_err e = tm_membership_ask_at(address, where->password, d);
    if (e != TM_OK || (where->cluster != NULL && strcmp(d->cluster, where->cluster) != 0)) {
        free(d);
        return e;
    }
    struct tm_linked *c = add_cluster(all, d->cluster);
    if (c->now != NULL && c->now->version >= d->version) {
        free(d);
        return TM_OK;
    }
    free(c->now);
    c->now = d;
    snprintf(c->seed, sizeof c->seed, "%s", address);
    return TM_OK;
}

static enum tm_err take_seeds(struct tm_linked_all *all, const struct tm_linked_where *where,
                              enum tm_err *last)
{
    struct tm_nodedir *dirs;
    unsigned count;
    if (where->at != NULL)
        return *last = take_seed(all, where, where->at);
    enum tm_err e = tm_nodedir_list(where->dir, where->cluster, NULL, &dirs, &count);
    for (unsigned i = 0; e == TM_OK && i < count; i++)
        if (dirs[i].lives && dirs[i].file.listen[0] != '\0') {
            enum tm_err asked = take_seed(all, where, dirs[i].file.listen);
            *last = asked != TM_OK ? asked : *last;
        }
    if (e == TM_OK)
        free(dirs);
    return e;
}

/* Unless it is known: of a node the first worker counts. */
static void add_node(struct tm_linked *c, const char *name, const char *address)
{
    for (unsigned i = 0; i < c->node_count; i++)
        if (strcmp(c->nodes[i].name, name) == 0)
            return;
    if (c->node_count == TM_NODES_MAX)
        return;
    struct tm_linked_node *n = &c->nodes[c->node_count++];
    *n = (struct tm_linked_node){0};
    snprintf(n->name, sizeof n->name, "%.*s", TM_DIRECTORY_NAME_MAX, name);
    snprintf(n->address, sizeof n->address, "%s", address);
}

static void take_members(struct tm_linked *c, const char *password)
{
    struct tm_client client;
    struct tm_bytes reply;
    struct tm_status s = {0};
    enum tm_err e = tm_client_open(&client, c->seed, ASK_MS);
    if (e == TM_OK)
        e = tm_client_auth(&client, password);
    if (e == TM_OK)
        e = tm_client_ask(&client, (const char *const[]){"TIDEMILL", "MEMBERS", NULL}, &reply);
    if (e == TM_OK)
        e = tm_status_members(&s, reply);
    for (unsigned i = 0; e == TM_OK && i < s.member_count; i++)
        add_node(c, s.members[i].node, s.members[i].address);
    if (c->node_count == 0) /* then it is asked itself, and why it does not answer is said */
        add_node(c, c->seed, c->seed);
    tm_status_free(&s);
    tm_client_close(&client);
}

int tm_linked_check(const char *command, const struct tm_linked_where *where)
{
    if ((where->dir == NULL) == (where->at == NULL))
        return tm_usage_error(command, "either --dir DIR or --at ADDRESS:PORT is needed");
    if (where->at != NULL && !tm_client_is_address(where->at))
        return tm_usage_error(command, "\"%s\" is no ADDRESS:PORT", where->at);
    return TM_EXIT_DONE;
}

enum tm_err tm_linked_find(const struct tm_linked_where *where, struct tm_linked_all *out,
                           char *why)
{
    static const char *const links[] = {"TIDEMILL", "LINKS", NULL};
    enum tm_err last = TM_ERR_NOTFOUND;
    *out = (struct tm_linked_all){0};
    enum tm_err e = take_seeds(out, where, &last);
    if (out->count == 0) {
        bool asked = e == TM_OK || where->at != NULL;
        snprintf(why, TM_LINK_WHY, "%s%s%s: %s", where->at != NULL ? "" : "no node in ",
                 where->at != NULL ? where->at : where->dir, where->at != NULL ? "" : " answers",
                 asked ? tm_status_reason(last, false) : tm_err_text(e));
        return e != TM_OK ? e : TM_ERR_NOTFOUND;
    }
    for (unsigned i = 0; i < out->count; i++) {
        struct tm_linked *c = &out->clusters[i];
        take_members(c, where->password);
        for (unsigned k = 0; k < c->node_count; k++)
            c->nodes[k].err = ask_node(&c->nodes[k], where->password, links, c->rows);
    }
    return TM_OK;
}

void tm_linked_say_errors(const struct tm_linked *c, const json_t *rows)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const char *kind = tm_link_text(row, "kind");
        if (strcmp(kind, "error") == 0 || strcmp(kind, "refused") == 0 ||
            strcmp(kind, "silent") == 0)
            fprintf(stderr, "tidemill: node %s of cluster %s: %s\n", tm_link_text(row, "at"),
                    c->name, tm_link_text(row, "text"));
    }
}

void tm_linked_say_silent(const struct tm_linked_all *all)
{
    for (unsigned i = 0; i < all->count; i++) {
        const struct tm_linked *k = &all->clusters[i];
        for (unsigned n = 0; n < k->node_count; n++)
            if (k->nodes[n].err != TM_OK)
                fprintf(stderr, "tidemill: node %s of cluster %s (%s) does not answer: %s\n",
                        k->nodes[n].name, k->name, k->nodes[n].address,
                        tm_err_text(k->nodes[n].err));
        tm_linked_say_errors(k, k->rows);
    }
}

void tm_linked_free(struct tm_linked_all *all)
{
    for (unsigned i = 0; i < all->count; i++) {
        free(all->clusters[i].now);
        json_decref(all->clusters[i].rows);
    }
    free(all->clusters);
    *all = (struct tm_linked_all){0};
}

struct tm_linked *tm_linked_cluster(const struct tm_linked_all *all, const char *name)
{
    for (unsigned i = 0; i < all->count; i++)
        if (strcmp(all->clusters[i].name, name) == 0)
            return &all->clusters[i];
    return NULL;
}

/* ---- changing ---- */

/* The nodes that answered, the one with the newest directory first. */
static unsigned answering(const struct tm_linked *c, char (*addresses)[96])
{
    unsigned n = 0;
    snprintf(addresses[n++], sizeof addresses[0], "%s", c->seed);
    for (unsigned i = 0; i < c->node_count; i++)
        if (c->nodes[i].err == TM_OK)
            snprintf(addresses[n++], sizeof addresses[0], "%s", c->nodes[i].address);
    return n;
}

enum tm_err tm_linked_say(struct tm_linked *c, const char *password, const char *line,
                          const char *value, unsigned *waiting, char *why)
{
    struct tm_cluster_spec spec = {.name = c->name};
    struct tm_options *options = must(calloc(1, sizeof *options));
    const struct tm_running_where where = {.options = options};
    struct tm_running r = {.cluster = &spec, .now = c->now};
    tm_options_init(options);
    snprintf(options->requirepass, sizeof options->requirepass, "%s", password);
    r.addresses = must(calloc(TM_NODES_MAX + 1, sizeof *r.addresses));
    r.count = answering(c, r.addresses);
    r.facts = must(strdup(c->now->facts));
    r.facts = must(realloc(r.facts, TM_DIRECTORY_FACTS_MAX + 1));
    enum tm_err e = tm_link_facts_put(r.facts, TM_DIRECTORY_FACTS_MAX + 1, line, value);
    *waiting = 0;
    if (e != TM_OK)
        snprintf(why, TM_LINK_WHY, "cluster %s: its directory has no room for one line more",
                 c->name);
    else if (strcmp(r.facts, c->now->facts) == 0)
        e = TM_ERR_EXISTS;
    else
        e = tm_running_change(&r, &where, waiting, why);
    free(r.facts);
    free(r.addresses);
    free(options);
    return e;
}
