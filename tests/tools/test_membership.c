#include "tools/membership.h"
#include "tools/ports.h"
#include "tests/tools/topology_file.h"

static char why[512];
static char facts[TM_DIRECTORY_FACTS_MAX + 1];
static struct tm_directory d;

/* The directory of a cluster made from that file's first cluster. */
static void create(const char *text)
{
    struct tm_topology *t = topology_file_load(text);
    const struct tm_cluster_spec *c = &t->clusters[0];
    CU_ASSERT_EQUAL(tm_membership_facts(t, c, facts), TM_OK);
    struct tm_directory_spec spec = {.cluster = c->name,
                                     .names = (const char *const *)c->nodes.names,
                                     .count = c->nodes.count,
                                     .partitions = c->partitions,
                                     .copies = c->replication_factor,
                                     .blocks = c->blocks,
                                     .facts = facts};
    tm_directory_propose(&d, &spec);
    tm_topology_free(t);
}

static enum tm_err follow(struct tm_topology *t, unsigned cluster, const char *self)
{
    why[0] = '\0';
    return tm_membership_follow(t, &t->clusters[cluster], &d, self, why, sizeof why);
}

static unsigned port_of(const struct tm_topology *t, unsigned cluster, unsigned node)
{
    struct tm_ports p;
    CU_ASSERT_EQUAL_FATAL(
        tm_ports_plan(t, &t->clusters[cluster], node, 7000, "127.0.0.1", &p, why, sizeof why),
        TM_OK);
    return p.first;
}

static void facts_are_the_options_of_the_file_in_order(void)
{
    create("defineCluster('c', { nodes: ['b', 'a'], region: 'us \"east\"\\n1', provider: 'p' });"
           "defineNode('a', { address: '10.0.0.2', workers: 3, port: 9000 });"
           "defineNode('elsewhere', { address: '10.0.0.9' });");
    CU_ASSERT_STRING_EQUAL(d.facts, "a/address=10.0.0.2\n"
                                    "a/port=9000\n"
                                    "a/workers=3\n"
                                    "provider=p\n"
                                    "region=us  east  1\n");
    create("defineCluster('c', { nodes: ['a'] });");
    CU_ASSERT_STRING_EQUAL(d.facts, "");
}

static struct tm_link_plan plan;

static void read_plan(void)
{
    const struct tm_link_base base = {.address = "127.0.0.1", .base_port = 7000};
    enum tm_err e = tm_link_plan_parse(&plan, d.cluster, d.facts, &base, why, sizeof why);
    if (e != TM_OK)
        printf("  %s\n", why);
    CU_ASSERT_EQUAL_FATAL(e, TM_OK);
}

/* What the file says of links arrives at a node as it was said. */
static void a_node_reads_the_links_that_the_file_says(void)
{
    create("defineCluster('c', { region: 'eu-1', replicateTo: ['gone',"
           " { cluster: 'd', replicationMode: 'sync', replicateEntityTypes: ['T*', 'U*'] }],"
           " excludeEntityTypes: ['X'], batchBytes: '128k' });"
           "defineCluster('d', { nodes: ['m', 'n'], region: 'us-2', partitions: 7,"
           " replicateTo: ['c'], forward: 'transit' });"
           "defineCluster('stranger', {});"
           "defineNode('n', { address: '10.0.0.2', port: 9000 });"
           "defineEntity('T', { residency: ['eu'], conflict: 'max', fields: {"
           " '50%/\"x\"=': { conflict: 'home', home: 'd' }, f: { conflict: function (a, b) {\n"
           "  return a > b ? a : b; // 100%\n} } } });");
    read_plan();
    CU_ASSERT(plan.out_count == 2 && plan.in_count == 1 && plan.peer_count == 2);
    CU_ASSERT_STRING_EQUAL(plan.jurisdiction, "eu");
    const struct tm_link *to_d = &plan.out[0], *to_gone = &plan.out[1];
    const struct tm_link_peer *peer = &plan.peers[to_d->peer];
    CU_ASSERT(strcmp(peer->name, "d") == 0 && peer->partitions == 7 && peer->node_count == 2);
    CU_ASSERT_STRING_EQUAL(peer->jurisdiction, "us");
    CU_ASSERT_EQUAL(plan.nodes[peer->node_first].first_port, 7000 + 32);
    CU_ASSERT_EQUAL(plan.nodes[peer->node_first + 1].first_port, 9000);
    CU_ASSERT_EQUAL(plan.peers[to_gone->peer].node_count, 0);
    CU_ASSERT(to_d->options.mode == TM_LINK_SYNC && to_gone->options.mode == TM_LINK_ASYNC);
    CU_ASSERT(to_d->options.batch_bytes == 128 << 10 && to_gone->options.batch_bytes == 128 << 10);
    CU_ASSERT_EQUAL(plan.in[0].options.forward, TM_LINK_FORWARD_TRANSIT);
    static const struct {
        const char *type;
        enum tm_link_verdict d, gone;
    } rows[] = {{"T", TM_LINK_RESIDENT, TM_LINK_RESIDENT},
                {"Uvw", TM_LINK_CARRIED, TM_LINK_CARRIED},
                {"V", TM_LINK_FILTERED, TM_LINK_CARRIED},
                {"X", TM_LINK_FILTERED, TM_LINK_FILTERED}};
    for (unsigned i = 0; i < TM_ARRAY_LEN(rows); i++) {
        CU_ASSERT_EQUAL(tm_link_plan_out(&plan, 0, tm_bytes_str(rows[i].type)), rows[i].d);
        CU_ASSERT_EQUAL(tm_link_plan_out(&plan, 1, tm_bytes_str(rows[i].type)), rows[i].gone);
    }
    struct tm_link_rule rule = tm_link_plan_rule(&plan, tm_bytes_str("T"), tm_bytes_str("f"));
    CU_ASSERT_STRING_EQUAL(tm_link_rule_text(&plan, rule),
                           "function (a, b) {\n  return a > b ? a : b; // 100%\n}");
    rule = tm_link_plan_rule(&plan, tm_bytes_str("T"), tm_bytes_str("50%/\"x\"="));
    CU_ASSERT(rule.rule == TM_CONFLICT_HOME && strcmp(tm_link_rule_text(&plan, rule), "d") == 0);
    rule = tm_link_plan_rule(&plan, tm_bytes_str("T"), tm_bytes_str("other"));
    CU_ASSERT_EQUAL(rule.rule, TM_CONFLICT_MAX);
}

static void a_cluster_without_links_is_told_of_none(void)
{
    create("defineCluster('c', {}); defineCluster('d', { replicateTo: ['e'] });"
           "defineCluster('e', {});");
    CU_ASSERT_STRING_EQUAL(d.facts, "");
    create("defineCluster('c', { region: 'eu-1' }); defineEntity('T', { residency: ['eu'] });");
    read_plan();
    CU_ASSERT(plan.out_count == 0 && plan.in_count == 0 && plan.type_count == 1);
    CU_ASSERT_STRING_EQUAL(plan.jurisdiction, "eu");
}

/* A name that begins another, with a sign between that sorts otherwise. */
static void facts_ascend_as_a_directory_wants_them(void)
{
    create("defineCluster('c', { nodes: ['region', 'region.a', 'reg'], region: 'x' });"
           "defineNode('region', { workers: 1 }); defineNode('region.a', { workers: 2 });"
           "defineNode('reg', { workers: 3 });");
    size_t len = tm_directory_size(&d);
    uint8_t *bytes = malloc(len);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    tm_directory_encode(&d, bytes);
    static struct tm_directory back;
    CU_ASSERT_EQUAL(tm_directory_decode(tm_bytes_of(bytes, len), &back), TM_OK);
    CU_ASSERT_STRING_EQUAL(back.facts, d.facts);
    free(bytes);
}

static void more_than_a_directory_holds_is_refused(void)
{
    struct tm_topology *t = topology_file_load(
        "var names = [], nodes = [];"
        "for (var i = 0; i < 256; i++) names.push('t' + (1000 + i) + Array(58).join('x'));"
        "for (i = 0; i < 64; i++) nodes.push('n' + (1000 + i) + Array(58).join('y'));"
        "defineCluster('c', { nodes: nodes, replicateTo: ['u', 'v'], replicateEntityTypes: names,"
        " excludeEntityTypes: names });"
        "for (i = 0; i < 64; i++) defineNode(nodes[i], { fabricPort: Array(200).join('p') });");
    CU_ASSERT_EQUAL(tm_membership_facts(t, &t->clusters[0], facts), TM_ERR_TOOBIG);
    tm_topology_free(t);
}

static void the_same_file_agrees(void)
{
    const char *text = "defineCluster('c', { nodes: ['a', 'b', 'c'] });";
    create(text);
    struct tm_topology *t = topology_file_load(text);
    CU_ASSERT_TRUE(tm_membership_agrees(&t->clusters[0], &d));
    CU_ASSERT_EQUAL(follow(t, 0, "b"), TM_OK);
    CU_ASSERT_PTR_EQUAL(tm_cluster_listed(&t->clusters[0]), &t->clusters[0].nodes);
    tm_topology_free(t);
}

static void members_keep_their_numbers_and_ports(void)
{
    create("defineCluster('c', { nodes: ['a', 'b', 'c'] });");
    struct tm_topology *t =
        topology_file_load("defineCluster('new', { nodes: ['x', 'y'] });"
                           "defineCluster('c', { nodes: ['z', 'c', 'a', 'b'] });");
    const struct tm_cluster_spec *c = &t->clusters[1];
    CU_ASSERT_FALSE(tm_membership_agrees(c, &d));
    CU_ASSERT_EQUAL(follow(t, 1, "b"), TM_OK);
    CU_ASSERT_TRUE(tm_membership_agrees(c, &d));
    CU_ASSERT_EQUAL_FATAL(c->nodes.count, 3);
    CU_ASSERT_EQUAL(tm_cluster_node_index(c, "b"), 1);
    CU_ASSERT_EQUAL(tm_cluster_node_index(c, "z"), -1);
    for (unsigned i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(port_of(t, 1, i), 7000 + 32 * i);
    CU_ASSERT_EQUAL(tm_cluster_listed(c)->count, 4);
    CU_ASSERT_STRING_EQUAL(tm_cluster_listed(c)->names[0], "z");
    tm_topology_free(t);
}

static void what_the_file_says_of_a_members_place_holds(void)
{
    create("defineCluster('c', { nodes: ['a', 'b'] });"
           "defineNode('b', { address: '10.0.0.2', port: 9000 });");
    struct tm_topology *t =
        topology_file_load("defineCluster('c', { nodes: ['b', 'a'] });"
                           "defineNode('b', { address: '10.0.0.3', port: 9100 });");
    CU_ASSERT_EQUAL(follow(t, 0, "a"), TM_OK);
    CU_ASSERT_EQUAL(port_of(t, 0, 0), 7000);
    CU_ASSERT_EQUAL(port_of(t, 0, 1), 9100);
    tm_topology_free(t);
}

static void a_member_that_the_file_leaves_out_is_where_it_was(void)
{
    create("defineCluster('c', { nodes: ['a', 'b', 'c'] });"
           "defineNode('b', { address: '10.0.0.2', port: 9000, workers: 2 });");
    struct tm_topology *t =
        topology_file_load("defineCluster('c', { nodes: ['c', 'a'], region: 'r' });");
    CU_ASSERT_EQUAL(follow(t, 0, "c"), TM_OK);
    struct tm_ports p;
    CU_ASSERT_EQUAL(tm_ports_plan(t, &t->clusters[0], 1, 7000, "127.0.0.1", &p, why, sizeof why),
                    TM_OK);
    CU_ASSERT(p.first == 9000 && strcmp(p.address, "10.0.0.2") == 0);
    CU_ASSERT_EQUAL(tm_membership_facts(t, &t->clusters[0], facts), TM_OK);
    CU_ASSERT_STRING_EQUAL(facts, "region=r\n"); /* the file's, nothing of what was added */
    tm_topology_free(t);
}

static void who_is_no_member_is_told_who_is_and_what_to_do(void)
{
    create("defineCluster('c', { nodes: ['a', 'b'] });");
    struct tm_topology *t = topology_file_load("defineCluster('c', { nodes: ['a', 'b', 'n'] });"
                                               "defineCluster('other', { nodes: ['a'] });");
    CU_ASSERT_EQUAL(follow(t, 0, "n"), TM_ERR_NOTFOUND);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "not part of cluster c, which exists with the nodes a, b"));
    char advice[128];
    snprintf(advice, sizeof advice, "take n out of %s", topology_file_path());
    CU_ASSERT_PTR_NOT_NULL(strstr(why, advice));
    CU_ASSERT_PTR_NULL(strchr(why, '\n'));
    CU_ASSERT_EQUAL(follow(t, 1, "a"), TM_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "of cluster c"));
    tm_topology_free(t);
}

static const struct tm_test tests[] = {
    TM_TEST(facts_are_the_options_of_the_file_in_order),
    TM_TEST(a_node_reads_the_links_that_the_file_says),
    TM_TEST(a_cluster_without_links_is_told_of_none),
    TM_TEST(facts_ascend_as_a_directory_wants_them),
    TM_TEST(more_than_a_directory_holds_is_refused),
    TM_TEST(the_same_file_agrees),
    TM_TEST(members_keep_their_numbers_and_ports),
    TM_TEST(what_the_file_says_of_a_members_place_holds),
    TM_TEST(a_member_that_the_file_leaves_out_is_where_it_was),
    TM_TEST(who_is_no_member_is_told_who_is_and_what_to_do),
};

TM_TEST_MAIN("tools/membership", tests)
