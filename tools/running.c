/* Of the nodes that answer, the one with the newest version is asked to change; somebody else may
 * do so at the same time, and is found by the version: a change that does not follow is refused by
 * the cluster, and is looked at anew by whoever asked for it. */
#include "tools/running.h"

#include "actors/link_operator.h"
#include "runtime/clock.h"
#include "tools/client.h"
#include "tools/membership.h"
#include "tools/nodedir.h"
#include "tools/ports.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ASK_MS    10000 /* a change waits for a leader and its disk */
#define TAKEN_MS  10000
#define AGAIN_MS  100
#define TRIES_MAX 50

static void *must(void *p)
{
    TM_ASSERT(p != NULL); /* some hundred kilobytes, in a process of its own */
    return p;
}

static void pause_ms(unsigned ms)
{
    const struct timespec t = {.tv_nsec = (long)ms * 1000 * 1000};
    nanosleep(&t, NULL);
}

/* ---- finding ---- */

/* Asks one node; what is newer takes the place of what is known. */
static void ask(struct tm_running *r, const struct tm_running_where *where, const char *address)
{
    struct tm_directory *d = must(malloc(sizeof *d));
    if (tm_membership_ask_at(address, where->options->requirepass, d) != TM_OK ||
        strcmp(d->cluster, r->cluster->name) != 0) {
        free(d);
        return;
    }
    bool newer = r->now == NULL || d->version > r->now->version;
    unsigned at = newer ? 0 : r->count;
    if (newer && r->count > 0)
        memcpy(r->addresses[r->count], r->addresses[0], sizeof r->addresses[0]);
    snprintf(r->addresses[at], sizeof r->addresses[at], "%s", address);
    r->count++;
    if (newer) {
        free(r->now);
        r->now = d;
    } else {
        free(d);
    }
}

static void ask_by_dir(struct tm_running *r, const struct tm_running_where *where)
{
    struct tm_nodedir *all;
    unsigned count;
    if (tm_nodedir_list(where->dir, r->cluster->name, NULL, &all, &count) != TM_OK)
        return;
    for (unsigned i = 0; i < count && r->count < TM_NODES_MAX; i++)
        if (all[i].lives && all[i].file.listen[0] != '\0')
            ask(r, where, all[i].file.listen);
    free(all);
}

static void ask_by_plan(struct tm_running *r, const struct tm_topology *t,
                        const struct tm_running_where *where)
{
    char why[512], text[96];
    for (unsigned i = 0; i < r->cluster->nodes.count && r->count < TM_NODES_MAX; i++) {
        struct tm_ports ports;
        if (tm_ports_plan(t, r->cluster, i, (unsigned)where->options->base_port,
                          where->options->address, &ports, why, sizeof why) == TM_OK)
            ask(r, where, tm_ports_text(&ports, tm_ports_client(&ports), text, sizeof text));
    }
}

/* ---- what the file may change ---- */

struct refusal {
    char *why;
    const char *cluster;
    bool found;
};

/* Differences come with their kind in front: those of facts have names of the file's options. */
static void keep_refusal(void *arg, const char *text, bool file_holds)
{
    struct refusal *r = arg;
    static const char *const fixed[] = {"partitions: ", "replicationFactor: ", "consistency: ",
                                        "nodes: the file adds", "nodes: the file leaves out"};
    (void)file_holds;
    for (unsigned i = 0; i < TM_ARRAY_LEN(fixed) && !r->found; i++)
        if (strncmp(text, fixed[i], strlen(fixed[i])) == 0) {
            snprintf(r->why, TM_RUNNING_WHY,
                     "cluster %s: %s: that cannot be changed in a cluster that exists", r->cluster,
                     text);
            r->found = true;
        }
}

static enum tm_err check_fixed(const struct tm_running *r, char *why)
{
    const struct tm_cluster_spec *c = r->cluster;
    struct refusal refusal = {.why = why, .cluster = c->name};
    struct tm_directory_spec spec = {.cluster = c->name,
                                     .names = (const char *const *)tm_cluster_listed(c)->names,
                                     .count = tm_cluster_listed(c)->count,
                                     .partitions = c->partitions,
                                     .copies = c->replication_factor,
                                     .eventual = c->eventual,
                                     .facts = r->now->facts};
    tm_directory_differences(r->now, &spec, keep_refusal, &refusal);
    return refusal.found ? TM_ERR_INVALID : TM_OK;
}

static enum tm_err find_one(struct tm_topology *t, const struct tm_running_where *where,
                            struct tm_running *r, char *why)
{
    r->addresses = must(calloc(TM_NODES_MAX + 1, sizeof *r->addresses));
    r->facts = must(calloc(1, TM_DIRECTORY_FACTS_MAX + 1));
    if (where->dir != NULL)
        ask_by_dir(r, where);
    else
        ask_by_plan(r, t, where);
    if (r->now != NULL)
        return tm_membership_follow(t, r->cluster, r->now, r->now->nodes[0].name, why,
                                    TM_RUNNING_WHY);
    if (where->absent_ok)
        return TM_OK;
    snprintf(why, TM_RUNNING_WHY,
             "no node of cluster %s answers%s%s: start it with `tidemill up`, or choose others by "
             "--cluster",
             r->cluster->name, where->dir != NULL ? " in " : " by the port plan",
             where->dir != NULL ? where->dir : "");
    return TM_ERR_NOTFOUND;
}

static enum tm_err find_all(struct tm_topology *t, const struct tm_running_where *where,
                            struct tm_running *all, unsigned *count, char *why)
{
    enum tm_err e = TM_OK;
    for (unsigned i = 0; e == TM_OK && i < t->cluster_count; i++) {
        const struct tm_cluster_spec *c = &t->clusters[i];
        if (where->cluster != NULL && strcmp(where->cluster, c->name) != 0)
            continue;
        all[*count].cluster = c;
        e = find_one(t, where, &all[(*count)++], why);
    }
    return e;
}

/* What the file says, and what operators have said. */
static enum tm_err file_facts(const struct tm_topology *t, const struct tm_running *r)
{
    enum tm_err e = tm_membership_facts(t, r->cluster, r->facts);
    return e == TM_OK ? tm_link_facts_keep(r->now->facts, r->facts, TM_DIRECTORY_FACTS_MAX + 1) : e;
}

enum tm_err tm_running_find(struct tm_topology *t, const struct tm_running_where *where,
                            struct tm_running **out, unsigned *count, char *why)
{
    *out = must(calloc(t->cluster_count, sizeof **out));
    *count = 0;
    if (where->cluster != NULL && tm_topology_cluster(t, where->cluster) == NULL) {
        snprintf(why, TM_RUNNING_WHY, "%s defines no cluster \"%s\"", t->path, where->cluster);
        return TM_ERR_NOTFOUND;
    }
    enum tm_err e = find_all(t, where, *out, count, why);
    /* Now that each cluster's nodes are where they are, what is said of them to others is right. */
    for (unsigned i = 0; e == TM_OK && i < *count; i++) {
        struct tm_running *r = &(*out)[i];
        if (r->now == NULL)
            continue;
        e = check_fixed(r, why);
        if (e == TM_OK)
            e = file_facts(t, r);
        if (e == TM_ERR_TOOBIG)
            snprintf(why, TM_RUNNING_WHY,
                     "%s says more of cluster %s than the %d bytes that a directory holds", t->path,
                     r->cluster->name, TM_DIRECTORY_FACTS_MAX);
    }
    return e;
}

void tm_running_free(struct tm_running *all, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        free(all[i].now);
        free(all[i].facts);
        free(all[i].addresses);
    }
    free(all);
}

/* ---- changing ---- */

/* Asks one node, once; text: what it said. */
static enum tm_err ask_change(const char *address, const char *password, struct tm_bytes directory,
                              char *text, size_t size)
{
    struct tm_client c;
    struct tm_bytes reply;
    struct tm_resp_value v;
    size_t used;
    const struct tm_bytes words[] = {tm_bytes_str("TIDEMILL.CHANGE"), directory};
    text[0] = '\0';
    enum tm_err e = tm_client_open(&c, address, ASK_MS);
    if (e == TM_OK)
        e = tm_client_auth(&c, password);
    if (e == TM_OK)
        e = tm_client_ask_bytes(&c, words, 2, &reply);
    if (e == TM_OK && tm_resp_read(reply.data, reply.len, &v, &used) == TM_RESP_DONE) {
        snprintf(text, size, "%.*s", (int)tm_min_u64(v.text.len, INT32_MAX), v.text.data);
        if (v.type == TM_RESP_ERROR)
            e = TM_ERR_INVALID;
    }
    tm_client_close(&c);
    return e;
}

/* Until the cluster has decided: while it has no leader it says so. */
static enum tm_err change(const struct tm_running *r, const struct tm_running_where *where,
                          struct tm_bytes directory, char *why)
{
    char text[512];
    enum tm_err e = TM_ERR_CLOSED;
    for (unsigned i = 0; i < TRIES_MAX; i++) {
        const char *address = r->addresses[i % r->count];
        e = ask_change(address, where->options->requirepass, directory, text, sizeof text);
        bool undecided = e == TM_ERR_CLOSED || strncmp(text, "TRYAGAIN", 8) == 0 ||
                         strncmp(text, "CLUSTERDOWN", 11) == 0;
        if (!undecided)
            break;
        pause_ms(AGAIN_MS);
    }
    bool unknown = e == TM_ERR_TIMEOUT || strncmp(text, "TIMEOUT", 7) == 0;
    if (e != TM_OK)
        snprintf(why, TM_RUNNING_WHY, "cluster %s: %s%s", r->cluster->name,
                 text[0] != '\0' ? text : tm_err_text(e),
                 unknown ? " (unknown whether it is changed: look again with `tidemill plan`)"
                         : "");
    return unknown ? TM_ERR_TIMEOUT : e;
}

/* How many of the nodes do not go by that version yet. */
static unsigned lagging(const struct tm_running *r, const struct tm_running_where *where,
                        uint64_t version)
{
    struct tm_directory *d = must(malloc(sizeof *d));
    unsigned n = 0;
    for (unsigned i = 0; i < r->count; i++)
        n += tm_membership_ask_at(r->addresses[i], where->options->requirepass, d) != TM_OK ||
             d->version < version;
    free(d);
    return n;
}

enum tm_err tm_running_change(const struct tm_running *r, const struct tm_running_where *where,
                              unsigned *waiting, char *why)
{
    struct tm_directory *next = must(malloc(sizeof *next));
    *next = *r->now;
    next->version++;
    memset(next->facts, 0, sizeof next->facts);
    next->facts_len = (uint32_t)snprintf(next->facts, sizeof next->facts, "%s", r->facts);
    size_t len = tm_directory_size(next);
    uint8_t *bytes = must(malloc(len));
    tm_directory_encode(next, bytes);
    enum tm_err e = change(r, where, tm_bytes_of(bytes, len), why);
    *waiting = 0;
    uint64_t by = tm_clock_ns() + TM_MS(TAKEN_MS);
    while (e == TM_OK && (*waiting = lagging(r, where, next->version)) > 0 && tm_clock_ns() < by)
        pause_ms(AGAIN_MS);
    free(bytes);
    free(next);
    return e;
}
