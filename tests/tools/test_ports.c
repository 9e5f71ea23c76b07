#include "tools/ports.h"
#include "tests/tools/topology_file.h"

static char why[512];

static enum tm_err plan(const struct tm_topology *t, unsigned cluster, unsigned node, unsigned base,
                        struct tm_ports *p)
{
    why[0] = '\0';
    return tm_ports_plan(t, &t->clusters[cluster], node, base, "127.0.0.1", p, why, sizeof why);
}

static void nodes_are_counted_over_all_clusters(void)
{
    struct tm_topology *t = topology_file_load("defineCluster('a', { nodes: ['x', 'y', 'z'] });"
                                               "defineCluster('b', { nodes: ['x', 'y'] });");
    struct tm_ports p;
    CU_ASSERT_EQUAL(plan(t, 0, 0, 7000, &p), TM_OK);
    CU_ASSERT_EQUAL(tm_ports_client(&p), 7000);
    CU_ASSERT_EQUAL(plan(t, 0, 2, 7000, &p), TM_OK);
    CU_ASSERT_EQUAL(tm_ports_client(&p), 7064);
    CU_ASSERT_EQUAL(plan(t, 1, 1, 7000, &p), TM_OK);
    CU_ASSERT_EQUAL(tm_ports_client(&p), 7000 + 4 * 32);
    CU_ASSERT_EQUAL(tm_ports_worker(&p, 0), 7000 + 4 * 32 + 1);
    CU_ASSERT_EQUAL(tm_ports_worker(&p, 14), 7000 + 4 * 32 + 15);
    CU_ASSERT_EQUAL(tm_ports_fabric(&p, 0), 7000 + 4 * 32 + 16);
    CU_ASSERT_EQUAL(tm_ports_fabric(&p, 14), 7000 + 4 * 32 + 30);
    char buf[80];
    CU_ASSERT_STRING_EQUAL(tm_ports_text(&p, p.first, buf, sizeof buf), "127.0.0.1:7128");
    tm_topology_free(t);
}

static void define_node_overrides_the_plan_of_its_node_only(void)
{
    struct tm_topology *t =
        topology_file_load("defineCluster('a', { nodes: ['x', 'y'] });"
                           "defineNode('y', { address: '10.0.0.2', port: 9000 });");
    struct tm_ports p;
    CU_ASSERT_EQUAL(plan(t, 0, 0, 7000, &p), TM_OK);
    CU_ASSERT_EQUAL(p.first, 7000);
    CU_ASSERT_STRING_EQUAL(p.address, "127.0.0.1");
    CU_ASSERT_EQUAL(plan(t, 0, 1, 7000, &p), TM_OK);
    CU_ASSERT_EQUAL(p.first, 9000);
    CU_ASSERT_STRING_EQUAL(p.address, "10.0.0.2");
    CU_ASSERT_EQUAL(tm_ports_worker(&p, 1), 9002);
    tm_topology_free(t);
}

static void blocks_that_meet_on_one_address_are_refused(void)
{
    struct tm_topology *t = topology_file_load("defineCluster('a', { nodes: ['x', 'y'] });"
                                               "defineNode('y', { port: 7031 });");
    struct tm_ports p;
    CU_ASSERT_EQUAL(plan(t, 0, 0, 7000, &p), TM_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "node x of cluster a and node y of cluster a"));
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "7031"));
    CU_ASSERT_EQUAL(plan(t, 0, 1, 7000, &p), TM_ERR_INVALID);
    CU_ASSERT_EQUAL(plan(t, 0, 0, 6999, &p), TM_OK);
    tm_topology_free(t);

    t = topology_file_load("defineCluster('a', { nodes: ['x', 'y'] });"
                           "defineNode('y', { port: 7000, address: '127.0.0.2' });");
    CU_ASSERT_EQUAL(plan(t, 0, 0, 7000, &p), TM_OK);
    tm_topology_free(t);
}

static void a_block_ends_at_the_last_port(void)
{
    struct tm_topology *t = topology_file_load("defineCluster('a', { nodes: ['x', 'y'] });");
    struct tm_ports p;
    CU_ASSERT_EQUAL(plan(t, 0, 1, 65504 - 32, &p), TM_OK);
    CU_ASSERT_EQUAL(tm_ports_fabric(&p, 14), 65534);
    CU_ASSERT_EQUAL(plan(t, 0, 1, 65505 - 32, &p), TM_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "65535"));
    tm_topology_free(t);
}

static void links_have_ports_of_their_own_where_there_are_several_clusters(void)
{
    struct tm_topology *t = topology_file_load("defineCluster('a', { nodes: ['x', 'y'] });"
                                               "defineCluster('b', { nodes: ['x'] });");
    struct tm_ports p;
    CU_ASSERT_EQUAL(plan(t, 1, 0, 7000, &p), TM_OK);
    CU_ASSERT_EQUAL(tm_ports_link(&p, 0), 7000 + 2 * 32 + 64 * 32);
    CU_ASSERT_EQUAL(tm_ports_link(&p, 14), 7000 + 2 * 32 + 64 * 32 + 14);
    CU_ASSERT_EQUAL(plan(t, 1, 0, 65536 - 64 * 32 - 3 * 32, &p), TM_OK);
    CU_ASSERT_EQUAL(plan(t, 1, 0, 65537 - 64 * 32 - 3 * 32, &p), TM_ERR_INVALID);
    tm_topology_free(t);

    /* b's clients would be told where a's links are. */
    t = topology_file_load("defineCluster('a', { nodes: ['x', 'y'] });"
                           "defineCluster('b', { nodes: ['z'] });"
                           "defineNode('z', { port: 9062 });");
    CU_ASSERT_EQUAL(plan(t, 1, 0, 7000, &p), TM_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "node z of cluster b and node x of cluster a"));
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "port 9062 "));
    CU_ASSERT_EQUAL(plan(t, 0, 0, 7000, &p), TM_ERR_INVALID);
    CU_ASSERT_EQUAL(plan(t, 1, 0, 6900, &p), TM_OK);
    tm_topology_free(t);
}

static const struct tm_test tests[] = {
    TM_TEST(links_have_ports_of_their_own_where_there_are_several_clusters),
    TM_TEST(nodes_are_counted_over_all_clusters),
    TM_TEST(define_node_overrides_the_plan_of_its_node_only),
    TM_TEST(blocks_that_meet_on_one_address_are_refused),
    TM_TEST(a_block_ends_at_the_last_port),
};
TM_TEST_MAIN("tools/ports", tests)
