#include "tools/plan_graph.h"
#include "tests/tools/topology_file.h"

static struct tm_plan_cycle cycles[TM_PLAN_CYCLES_MAX];
static struct tm_plan_spread spread;

static struct tm_topology *ring(unsigned n, const char *forward)
{
    char file[1024];
    snprintf(file, sizeof file,
             "for (var i = 0; i < %u; i++) defineCluster('c' + i, { forward: '%s',"
             " replicateTo: ['c' + (i + 1) %% %u] });",
             n, forward, n);
    return topology_file_load(file);
}

static struct tm_topology *mesh(unsigned n, const char *forward)
{
    char file[1024];
    snprintf(file, sizeof file,
             "var n = []; for (var i = 0; i < %u; i++) n.push('c' + i);"
             "n.forEach(function (c) { defineCluster(c, { forward: '%s', replicateTo:"
             " n.filter(function (o) { return o !== c; }) }); });",
             n, forward);
    return topology_file_load(file);
}

/* The clusters that remember deletions for good, by the first letter of each, for cluster 0. */
static const char *remembered(struct tm_topology *t)
{
    static char text[TM_CLUSTERS_MAX + 1];
    bool all[TM_CLUSTERS_MAX], eventual;
    unsigned at = 0;
    bool any = tm_plan_remembers(t, 0, all, &eventual);
    for (unsigned i = 0; any && i < t->cluster_count; i++)
        if (all[i])
            text[at++] = t->clusters[i].name[0];
    text[at] = '\0';
    tm_topology_free(t);
    return text;
}

static void deletions_stay_where_some_cluster_never_says_that_it_has_all(void)
{
    static const char *const cases[][2] = {
        {"defineCluster('a', { replicateTo: ['b'] }); defineCluster('b');", ""},
        {"defineCluster('a', { consistency: 'eventual' }); defineCluster('b');", ""},
        {"defineCluster('a', { replicateTo: ['b'] });"
         "defineCluster('b', { consistency: 'eventual' }); defineCluster('c');",
         "ab"},
        /* Whoever is linked with it waits for it, and so does the next. */
        {"defineCluster('a', { replicateTo: ['b'] }); defineCluster('b');"
         "defineCluster('c', { consistency: 'eventual', replicateTo: ['b'] });",
         "abc"},
        /* To and fro is no ring. */
        {"defineCluster('a', { replicateTo: ['b'], forward: 'transit' });"
         "defineCluster('b', { replicateTo: ['a', 'c'], forward: 'transit' });"
         "defineCluster('c', { replicateTo: ['b'], forward: 'transit' });",
         ""},
        /* One that does not forward ends it. */
        {"defineCluster('a', { replicateTo: ['b'], forward: 'transit' });"
         "defineCluster('b', { replicateTo: ['c'], forward: 'transit' });"
         "defineCluster('c', { replicateTo: ['a'] });",
         ""},
        /* A ring, and one that it ships to. */
        {"defineCluster('a', { replicateTo: ['b', 'd'], forward: 'transit' });"
         "defineCluster('b', { replicateTo: ['c'], forward: 'transit' });"
         "defineCluster('c', { replicateTo: ['a'], forward: 'transit' }); defineCluster('d');",
         "abcd"},
    };
    for (unsigned i = 0; i < TM_ARRAY_LEN(cases); i++)
        CU_ASSERT_STRING_EQUAL(remembered(topology_file_load(cases[i][0])), cases[i][1]);
    CU_ASSERT_STRING_EQUAL(remembered(ring(4, "transit")), "cccc");
    CU_ASSERT_STRING_EQUAL(remembered(ring(2, "transit")), "");
    CU_ASSERT_STRING_EQUAL(remembered(mesh(4, "none")), "");
}

static unsigned cycles_of(struct tm_topology *t, bool *more)
{
    return tm_plan_cycles(t, cycles, more);
}

static void a_ring_has_one_loop_and_a_write_ends_before_its_origin(void)
{
    bool more;
    struct tm_topology *t = ring(5, "transit");
    CU_ASSERT_EQUAL(cycles_of(t, &more), 1);
    CU_ASSERT(!more && cycles[0].length == 5 && cycles[0].stops == 0);
    for (unsigned i = 0; i < 5; i++) {
        tm_plan_spread(t, i, &spread);
        CU_ASSERT(spread.crossings == 4 && spread.reached == 4 && spread.hops == 4);
    }
    tm_topology_free(t);
    t = ring(5, "none");
    CU_ASSERT(cycles_of(t, &more) == 1 && cycles[0].stops == 5);
    tm_plan_spread(t, 2, &spread);
    CU_ASSERT(spread.crossings == 1 && spread.reached == 1 && spread.at[3] && !spread.at[4]);
    tm_topology_free(t);
}

static void a_mesh_crosses_each_link_once_at_most(void)
{
    bool more;
    struct tm_topology *t = mesh(4, "none");
    CU_ASSERT_EQUAL(cycles_of(t, &more), 6 + 8 + 6); /* of two, three and four clusters */
    CU_ASSERT(!more && cycles[0].length == 2 && cycles[19].length == 4);
    tm_plan_spread(t, 0, &spread);
    CU_ASSERT(spread.crossings == 3 && spread.reached == 3 && spread.hops == 1);
    tm_topology_free(t);
    t = mesh(4, "transit");
    tm_plan_spread(t, 0, &spread);
    CU_ASSERT(spread.crossings == 3 + 3 * 2 && spread.reached == 3);
    tm_topology_free(t);
    t = mesh(16, "none");
    CU_ASSERT_EQUAL(cycles_of(t, &more), TM_PLAN_CYCLES_MAX);
    CU_ASSERT(more);
    tm_topology_free(t);
}

static void a_chain_goes_on_where_it_forwards(void)
{
    bool more;
    struct tm_topology *t = topology_file_load(
        "defineCluster('edge', { replicateTo: ['regional'] });"
        "defineCluster('regional', { replicateTo: ['global', 'gone'], forward: 'transit' });"
        "defineCluster('global', { replicateTo: ['archive'] }); defineCluster('archive');");
    CU_ASSERT_EQUAL(cycles_of(t, &more), 0);
    tm_plan_spread(t, 0, &spread);
    CU_ASSERT(spread.crossings == 2 && spread.at[1] && spread.at[2] && !spread.at[3]);
    tm_plan_spread(t, 1, &spread);
    CU_ASSERT(spread.crossings == 1 && spread.reached == 1 && spread.at[2]);
    tm_plan_spread(t, 3, &spread);
    CU_ASSERT_EQUAL(spread.crossings, 0);
    tm_topology_free(t);
}

static const struct tm_test tests[] = {
    TM_TEST(deletions_stay_where_some_cluster_never_says_that_it_has_all),
    TM_TEST(a_ring_has_one_loop_and_a_write_ends_before_its_origin),
    TM_TEST(a_mesh_crosses_each_link_once_at_most),
    TM_TEST(a_chain_goes_on_where_it_forwards),
};
TM_TEST_MAIN("tools/plan_graph", tests)
