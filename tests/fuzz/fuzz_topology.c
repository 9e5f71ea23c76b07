/* Topology files.  The first byte chooses: 0xff, the bytes are a file, evaluated in its bounded
 * child as always; else they are the JSON that such a child may answer, so that the checks of
 * options are reached thousands of times a second (the evaluation is wrapped at link time).
 *
 * Held: a topology or one line that says what is wrong, never both or neither; what is accepted
 * keeps its bounds. */
#include "tests/fuzz/fuzz.h"
#include "tools/membership.h"
#include "tools/topology.h"
#include "tools/topology_eval.h"

#include <sys/mman.h>
#include <unistd.h>

static struct tm_bytes answer; /* of the child, if there is to be none */

enum tm_err __real_tm_topology_eval(const char *path, const char *source, size_t len, char **json,
                                    char *err, size_t err_size);
enum tm_err __wrap_tm_topology_eval(const char *path, const char *source, size_t len, char **json,
                                    char *err, size_t err_size);

enum tm_err __wrap_tm_topology_eval(const char *path, const char *source, size_t len, char **json,
                                    char *err, size_t err_size)
{
    if (answer.data == NULL)
        return __real_tm_topology_eval(path, source, len, json, err, err_size);
    *json = strndup((const char *)answer.data, answer.len);
    return *json != NULL ? TM_OK : TM_ERR_NOMEM;
}

static void check_names(const struct tm_name_list *list)
{
    FUZZ_CHECK(list->count <= TM_LIST_MAX);
    for (unsigned i = 0; i < list->count; i++)
        FUZZ_CHECK(strlen(list->names[i]) <= TM_TOPOLOGY_NAME_MAX);
}

static void check_link(const struct tm_cluster_spec *c, const struct tm_link_spec *link)
{
    check_names(&link->include);
    check_names(&link->exclude);
    FUZZ_CHECK(strcmp(link->target, c->name) != 0);
    FUZZ_CHECK(!c->eventual || link->options.mode == TM_LINK_ASYNC);
    for (unsigned i = 0; i < TM_LINK_OPTION_COUNT; i++) {
        int64_t v = tm_link_option_get(&link->options, i), back;
        char text[32];
        tm_link_option_text(i, v, text, sizeof text);
        FUZZ_CHECK(tm_link_option_parse(i, text, &back) && back == v);
    }
}

/* What passed is what a directory can say, and a node reads. */
static void check_facts(const struct tm_topology *t, const struct tm_cluster_spec *c)
{
    static char facts[TM_DIRECTORY_FACTS_MAX + 1];
    static struct tm_link_plan plan;
    const struct tm_link_base base = {.address = "127.0.0.1", .base_port = 7000};
    char why[256] = "";
    if (tm_membership_facts(t, c, facts) != TM_OK)
        return; /* too long, as `plan` says */
    enum tm_err e = tm_link_plan_parse(&plan, c->name, facts, &base, why, sizeof why);
    FUZZ_CHECK(e == TM_OK || e == TM_ERR_TOOBIG);
    for (unsigned i = 0; e == TM_OK && i < c->link_count; i++)
        FUZZ_CHECK(tm_link_plan_find_out(&plan, c->links[i].target) >= 0);
}

static void check(const struct tm_topology *t)
{
    FUZZ_CHECK(t->entity_count <= TM_LINK_TYPES_MAX);
    FUZZ_CHECK(t->cluster_count <= TM_CLUSTERS_MAX);
    for (unsigned i = 0; i < t->cluster_count; i++) {
        const struct tm_cluster_spec *c = &t->clusters[i];
        check_names(&c->nodes);
        FUZZ_CHECK(c->link_count <= TM_LINKS_MAX && c->jurisdiction != NULL);
        for (unsigned k = 0; k < c->link_count; k++)
            check_link(c, &c->links[k]);
        FUZZ_CHECK(c->nodes.count >= 1 && c->nodes.count <= TM_NODES_MAX);
        FUZZ_CHECK(c->replication_factor >= 1 && c->replication_factor <= TM_REPLICATION_MAX);
        FUZZ_CHECK(c->replication_factor <= c->nodes.count);
        FUZZ_CHECK(c->partitions >= 1 && c->partitions <= TM_PARTITIONS_MAX);
        FUZZ_CHECK(c->provider != NULL && c->region != NULL && c->location != NULL);
        FUZZ_CHECK(tm_topology_cluster(t, c->name) == c);
        check_facts(t, c);
        for (unsigned k = 0; k < c->nodes.count; k++) {
            FUZZ_CHECK(tm_cluster_node_index(c, c->nodes.names[k]) == (int)k);
            (void)tm_topology_node(t, c->name, c->nodes.names[k]);
        }
    }
    for (unsigned i = 0; i < t->node_count; i++)
        FUZZ_CHECK(t->nodes[i].port <= 65535 && t->nodes[i].workers <= 64);
}

/* The bytes as a file, of which nothing is left afterwards. */
static void load(struct tm_bytes source)
{
    char path[64], err[1024] = "";
    struct tm_topology *t = NULL;
    int fd = memfd_create("topology", MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0);
    FUZZ_CHECK(write(fd, source.data, source.len) == (ssize_t)source.len);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    enum tm_err e = tm_topology_load(path, &t, err, sizeof err);
    close(fd);
    FUZZ_CHECK((e == TM_OK) == (t != NULL) && (e == TM_OK || err[0] != 0));
    FUZZ_CHECK(e == TM_OK || strchr(err, '\n') == NULL);
    if (t != NULL) {
        check(t);
        tm_topology_free(t);
    }
}

FUZZ_TARGET(data, size)
{
    if (size < 2 || size > 16384)
        return 0;
    struct tm_bytes rest = tm_bytes_of(data + 1, size - 1);
    answer = data[0] != 0xff ? rest : (struct tm_bytes){0};
    load(rest);
    return 0;
}
