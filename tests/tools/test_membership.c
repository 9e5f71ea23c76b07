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
    create("defineCluster('c', { nodes: ['b', 'a'], region: 'us \"east\"\\n1', provider: 'p',"
           " replicateTo: ['d', 'e'], replicationMode: 'sync', replicateEntityTypes: ['T', 'U'],"
           " excludeEntityTypes: ['X'] });"
           "defineNode('a', { address: '10.0.0.2', workers: 3, port: 9000 });"
           "defineNode('elsewhere', { address: '10.0.0.9' });");
    CU_ASSERT_STRING_EQUAL(d.facts, "a/address=10.0.0.2\n"
                                    "a/port=9000\n"
                                    "a/workers=3\n"
                                    "excludeEntityTypes=X\n"
                                    "provider=p\n"
                                    "region=us  east  1\n"
                                    "replicateEntityTypes=T,U\n"
                                    "replicateTo=d,e\n"
                                    "replicationMode=sync\n");
    create("defineCluster('c', { nodes: ['a'] });");
    CU_ASSERT_STRING_EQUAL(d.facts, "");
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
        "defineCluster('c', { nodes: nodes, replicateTo: names, replicateEntityTypes: names,"
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
    TM_TEST(facts_ascend_as_a_directory_wants_them),
    TM_TEST(more_than_a_directory_holds_is_refused),
    TM_TEST(the_same_file_agrees),
    TM_TEST(members_keep_their_numbers_and_ports),
    TM_TEST(what_the_file_says_of_a_members_place_holds),
    TM_TEST(a_member_that_the_file_leaves_out_is_where_it_was),
    TM_TEST(who_is_no_member_is_told_who_is_and_what_to_do),
};

TM_TEST_MAIN("tools/membership", tests)
