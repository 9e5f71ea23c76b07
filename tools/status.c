/* tidemill status: how a cluster is, as its members say.
 *
 * The member at ADDRESS names all others (TIDEMILL MEMBERS: one for each worker of each node); each
 * is asked for the partitions it has copies of (TIDEMILL PARTITIONS), all with one time limit. What
 * they say is merged by partition: the leader of the highest term counts, others may not have heard
 * of it.  A member that does not answer is a finding, not a failure. */
#include "tools/client.h"
#include "tools/command.h"
#include "tools/status_internal.h"
#include "tools/status_links.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define TIMEOUT_MS 3000

static void ask_member(struct tm_status *s, struct tm_status_member *m, const char *password)
{
    struct tm_client c;
    char info[4096];
    struct tm_bytes reply;
    enum tm_err err = tm_client_open(&c, m->address, TIMEOUT_MS);
    m->connected = err == TM_OK;
    if (err == TM_OK)
        err = tm_client_auth(&c, password);
    if (err == TM_OK)
        err = tm_client_text(&c, (const char *const[]){"INFO", "cluster", NULL}, info, sizeof info);
    if (err == TM_OK) {
        tm_info_field(info, "cluster_name", s->cluster, sizeof s->cluster);
        err = tm_client_ask(&c, (const char *const[]){"TIDEMILL", "PARTITIONS", NULL}, &reply);
    }
    if (err == TM_OK)
        err = tm_status_take(s, m, reply);
    m->err = err;
    tm_client_close(&c);
}

const char *tm_status_reason(enum tm_err err, bool connected)
{
    if (err == TM_ERR_CLOSED && !connected)
        return "nobody listens there";
    if (err == TM_ERR_PERMISSION && connected)
        return "it refuses the password: give its own as --requirepass, or none if it has none";
    return tm_err_text(err);
}

/* Asks ADDRESS who the members are. */
static int find_members(struct tm_status *s, const char *address, const char *password)
{
    struct tm_client c;
    struct tm_bytes reply;
    struct tm_resp_value v = {0};
    size_t used;
    enum tm_err err = tm_client_open(&c, address, TIMEOUT_MS);
    bool connected = err == TM_OK;
    if (err == TM_OK)
        err = tm_client_auth(&c, password);
    if (err == TM_OK)
        err = tm_client_ask(&c, (const char *const[]){"TIDEMILL", "MEMBERS", NULL}, &reply);
    if (err == TM_OK && tm_resp_read(reply.data, reply.len, &v, &used) != TM_RESP_DONE)
        err = TM_ERR_CORRUPT;
    int status = TM_EXIT_DONE;
    if (err == TM_OK && v.type == TM_RESP_ERROR)
        status = tm_fail("%s: %.*s", address, (int)tm_min_u64(v.text.len, 512), v.text.data);
    else if (err == TM_OK)
        err = tm_status_members(s, reply);
    if (err != TM_OK)
        status = tm_fail("%s: %s", address, tm_status_reason(err, connected));
    else if (status == TM_EXIT_DONE && s->member_count == 0)
        status = tm_fail("%s: it names no member of its cluster", address);
    tm_client_close(&c);
    return status;
}

int tm_status_gather(struct tm_status *s, const char *address, const char *password)
{
    int status = find_members(s, address, password);
    for (unsigned i = 0; i < s->member_count; i++)
        ask_member(s, &s->members[i], password);
    if (status == TM_EXIT_DONE)
        tm_status_merge(s);
    return status;
}

static const char *node_name(const struct tm_status *s, int member)
{
    return member < 0 ? "-" : s->members[member].node;
}

static void print_partitions(const struct tm_status *s)
{
    printf("%9s  %-16s %8s %10s %10s %8s  %-7s %s\n", "PARTITION", "LEADER", "TERM", "COMMIT",
           "APPLIED", "LAG", "IN SYNC", "");
    for (unsigned p = 0; p < s->partition_count; p++) {
        const struct tm_status_partition *q = &s->partitions[p];
        printf("%9u  %-16s %8" PRIu64 " %10" PRIu64 " %10" PRIu64 " %8" PRIu64
               "  %u of %u  %s%s%s\n",
               p, node_name(s, q->leader), q->term, q->commit, q->applied, q->lag, q->in_sync,
               q->copies, q->leader < 0 ? "NO LEADER " : "",
               q->leader >= 0 && q->in_sync < 2 && q->copies > 1 ? "ONE COPY " : "",
               q->faulty > 0 ? "FAULTY" : "");
    }
}

static void print_members(const struct tm_status *s)
{
    printf("%-16s %-22s %6s %6s  %s\n", "NODE", "ADDRESS", "LEADS", "HOLDS", "STATE");
    for (unsigned i = 0; i < s->member_count; i++) {
        const struct tm_status_member *m = &s->members[i];
        printf("%-16s %-22s %6u %6u  %s\n", m->node, m->address, m->leads, m->holds,
               m->err == TM_OK ? "reachable" : tm_status_reason(m->err, m->connected));
    }
}

static void print_totals(const struct tm_status *s)
{
    const struct tm_status_totals *t = &s->totals;
    printf("cluster %s: %u partitions, %u led, %u with one copy, %u faulty, %u of %u members "
           "unreachable, lag at most %" PRIu64 "\n",
           s->cluster, s->partition_count, t->led, t->one_copy, t->faulty, t->unreachable,
           s->member_count, t->max_lag);
}

static json_t *json_members(const struct tm_status *s)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < s->member_count; i++) {
        const struct tm_status_member *m = &s->members[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:i, s:i}", "node", m->node,
                                              "address", m->address, "reachable", m->err == TM_OK,
                                              "leads", (int)m->leads, "holds", (int)m->holds));
    }
    return list;
}

static json_t *json_replicas(const struct tm_status *s, unsigned partition)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < s->replica_count; i++) {
        const struct tm_status_replica *r = &s->replicas[i];
        if (r->partition != partition)
            continue;
        char hash[24];
        snprintf(hash, sizeof hash, "%016" PRIx64, r->state_hash);
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:b, s:I, s:s}", "node",
                                        node_name(s, (int)r->member), "role", r->role, "term",
                                        (json_int_t)r->term, "commit", (json_int_t)r->commit,
                                        "last", (json_int_t)r->last, "applied",
                                        (json_int_t)r->applied, "faulty", (int)r->faulty,
                                        "entities", (json_int_t)r->entities, "stateHash", hash));
    }
    return list;
}

static void print_json(const struct tm_status *s, json_t *links, json_int_t conflicts)
{
    json_t *partitions = json_array();
    for (unsigned p = 0; p < s->partition_count; p++) {
        const struct tm_status_partition *q = &s->partitions[p];
        json_t *leader = q->leader < 0 ? json_null() : json_string(node_name(s, q->leader));
        json_array_append_new(
            partitions, json_pack("{s:i, s:o, s:I, s:I, s:I, s:i, s:i, s:i, s:o}", "partition",
                                  (int)p, "leader", leader, "term", (json_int_t)q->term, "commit",
                                  (json_int_t)q->commit, "lag", (json_int_t)q->lag, "copies",
                                  (int)q->copies, "inSync", (int)q->in_sync, "faulty",
                                  (int)q->faulty, "replicas", json_replicas(s, p)));
    }
    const struct tm_status_totals *t = &s->totals;
    json_t *all =
        json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:I, s:o, s:o, s:O, s:I}", "cluster", s->cluster,
                  "partitionCount", (int)s->partition_count, "led", (int)t->led, "oneCopy",
                  (int)t->one_copy, "faulty", (int)t->faulty, "unreachable", (int)t->unreachable,
                  "maxLag", (json_int_t)t->max_lag, "members", json_members(s), "partitions",
                  partitions, "links", links, "conflicts", conflicts);
    json_dumpf(all, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    putchar('\n');
    json_decref(all);
}

int tm_main_status(int argc, char **argv)
{
    bool json = false;
    const char *password = tm_client_password();
    const struct tm_arg args[] = {
        {"--json", &json, NULL}, {"--requirepass", NULL, &password}, {NULL, NULL, NULL}};
    if (!tm_args_take("status", &argc, argv, args, false))
        return TM_EXIT_USAGE;
    if (argc != 1)
        return tm_usage_error("status", "the ADDRESS:PORT of one node is needed");
    if (!tm_client_is_address(argv[0]))
        return tm_usage_error("status", "\"%s\" is no ADDRESS:PORT", argv[0]);
    struct tm_status s = {0};
    int status = tm_status_gather(&s, argv[0], password);
    if (status == TM_EXIT_DONE) {
        json_int_t conflicts;
        json_t *links = tm_status_links(argv[0], s.cluster, password, &conflicts);
        if (json) {
            print_json(&s, links, conflicts);
        } else {
            print_members(&s);
            print_partitions(&s);
            tm_status_print_links(links, conflicts);
            print_totals(&s);
        }
        json_decref(links);
    }
    tm_status_free(&s);
    return status;
}
