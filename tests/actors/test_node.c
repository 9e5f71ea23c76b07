#include "actors/node.h"
#include "tests/test.h"

static const char *const names[] = {"a", "b", "c"};

static struct tm_directory *directory(unsigned partitions)
{
    struct tm_directory *d = malloc(sizeof *d);
    TM_ASSERT(d != NULL);
    struct tm_directory_spec spec = {
        .cluster = "x", .names = names, .count = 3, .partitions = partitions, .copies = 3};
    tm_directory_propose(d, &spec);
    return d;
}

static void begin(struct tm_node *n, unsigned partitions)
{
    *n = (struct tm_node){.self = 1, .workers = 2};
    TM_ASSERT(tm_node_run(n, directory(partitions)) == TM_OK);
}

static void a_node_runs_from_the_moment_it_has_a_directory(void)
{
    struct tm_node n = {.self = 1, .workers = 2};
    CU_ASSERT_FALSE(atomic_load(&n.running));
    CU_ASSERT_EQUAL(tm_node_run(&n, directory(4)), TM_OK);
    CU_ASSERT_TRUE(atomic_load(&n.running));
    for (uint32_t p = 0; p <= 4; p++) /* the system partition too */
        CU_ASSERT_EQUAL(tm_node_leader(&n, p).node, TM_NODES_MAX);
    tm_node_free(&n);
}

/* What a worker goes by stays valid until it takes the next; a version waits until all took the one
 * before. */
static void a_directory_lives_until_every_worker_took_the_next(void)
{
    struct tm_node n;
    begin(&n, 4);
    struct tm_directory *second = directory(4), *third = directory(4);
    second->version = 2;
    third->version = 3;
    CU_ASSERT_EQUAL(tm_node_publish(&n, second), TM_ERR_AGAIN);
    const struct tm_directory *of0 = tm_node_take(&n, 0);
    CU_ASSERT_EQUAL(tm_node_publish(&n, second), TM_ERR_AGAIN);
    const struct tm_directory *of1 = tm_node_take(&n, 1);
    CU_ASSERT_EQUAL(tm_node_publish(&n, second), TM_OK);
    CU_ASSERT(of0->version == 1 && of1->version == 1);
    CU_ASSERT_EQUAL(tm_node_directory(&n)->version, 2);
    of0 = tm_node_take(&n, 0);
    CU_ASSERT(of0->version == 2 && of1->version == 1);
    CU_ASSERT_EQUAL(tm_node_publish(&n, third), TM_ERR_AGAIN); /* worker 1 still has the first */
    of1 = tm_node_take(&n, 1);
    CU_ASSERT_EQUAL(tm_node_publish(&n, third), TM_OK);
    CU_ASSERT(of0->version == 2 && of1->version == 2);
    CU_ASSERT_EQUAL(tm_node_take(&n, 0)->version, 3);
    tm_node_free(&n);
}

static struct tm_directory *with_facts(uint64_t version, const char *facts)
{
    struct tm_directory *d = directory(4);
    d->version = version;
    d->facts_len = (uint32_t)snprintf(d->facts, sizeof d->facts, "%s", facts);
    return d;
}

/* A worker's links live as long as the directory that it took before them. */
static void links_come_with_their_directory(void)
{
    struct tm_node n = {.self = 1, .workers = 2, .link_base = {"10.0.0.1", 9000}};
    CU_ASSERT_EQUAL(tm_node_run(&n, with_facts(1, "cluster:b/nodes=b-1::+1\n"
                                                  "to:b/replicationMode=async\n")),
                    TM_OK);
    CU_ASSERT_EQUAL(tm_node_take(&n, 0)->version, 1);
    CU_ASSERT_EQUAL(tm_node_take(&n, 1)->version, 1);
    const struct tm_link_plan *first = tm_node_links(&n);
    CU_ASSERT(first->version == 1 && first->out_count == 1);
    CU_ASSERT(first->nodes[0].first_port == 9032 &&
              strcmp(first->nodes[0].address, "10.0.0.1") == 0);
    CU_ASSERT_EQUAL(tm_node_publish(&n, with_facts(2, "to:c/replicationMode=async\n")), TM_OK);
    CU_ASSERT_EQUAL(tm_node_take(&n, 0)->version, 2);
    CU_ASSERT(tm_node_links(&n)->version == 2 &&
              tm_link_plan_find_out(tm_node_links(&n), "c") == 0);
    CU_ASSERT_EQUAL(tm_link_plan_find_out(first, "b"), 0); /* worker 1 still goes by it */
    tm_node_take(&n, 1);
    /* What this build does not know stops all of it, and says why. */
    CU_ASSERT_EQUAL(tm_node_publish(&n, with_facts(3, "to:c/colour=red\n"
                                                      "to:c/replicationMode=async\n")),
                    TM_OK);
    CU_ASSERT(tm_node_links(&n)->version == 3 && tm_node_links(&n)->out_count == 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(tm_node_links(&n)->refused, "to:c/colour=red"));
    tm_node_free(&n);
}

static void the_leader_of_the_highest_term_counts(void)
{
    struct tm_node n;
    begin(&n, 4);
    CU_ASSERT_TRUE(tm_node_set_leader(&n, 3, 0, 5));
    CU_ASSERT_EQUAL(tm_node_leader(&n, 3).node, 0);
    CU_ASSERT_FALSE(tm_node_set_leader(&n, 3, 2, 4));
    CU_ASSERT_EQUAL(tm_node_leader(&n, 3).node, 0);
    CU_ASSERT_TRUE(tm_node_set_leader(&n, 3, 2, 6));
    CU_ASSERT_EQUAL(tm_node_leader(&n, 3).node, 2);
    CU_ASSERT_EQUAL(tm_node_leader(&n, 2).node, TM_NODES_MAX);
    tm_node_free(&n);
}

static void the_epoch_grows_with_every_change_and_only_then(void)
{
    struct tm_node n;
    begin(&n, 4);
    uint64_t epoch = atomic_load(&n.epoch);
    CU_ASSERT_TRUE(tm_node_set_leader(&n, 4, 2, 1));
    CU_ASSERT(atomic_load(&n.epoch) > epoch);
    epoch = atomic_load(&n.epoch);
    CU_ASSERT_FALSE(tm_node_set_leader(&n, 4, 2, 1));
    CU_ASSERT_FALSE(tm_node_set_leader(&n, 4, 1, 0));
    CU_ASSERT_EQUAL(atomic_load(&n.epoch), epoch);
    tm_node_set_peer(&n, 0, 4, true);
    CU_ASSERT(atomic_load(&n.epoch) > epoch);
    tm_node_free(&n);
}

static void partitions_spread_over_the_workers_of_their_leader(void)
{
    struct tm_node n;
    begin(&n, 16);
    for (uint32_t p = 0; p < 16; p++) {
        tm_node_set_leader(&n, p, p % 3, 1);
        CU_ASSERT_EQUAL(tm_node_worker_of(&n, 1, p), p % 2); /* ours: 2 workers */
        CU_ASSERT_EQUAL(tm_node_worker_of(&n, 0, p), 0);     /* not known yet */
    }
    tm_node_set_peer(&n, 0, 5, true);
    for (uint32_t p = 0; p < 16; p++) {
        CU_ASSERT_EQUAL(tm_node_worker_of(&n, 0, p), p % 5);
        struct tm_place place = tm_node_leader(&n, p);
        CU_ASSERT_EQUAL(place.node, p % 3);
        CU_ASSERT_EQUAL(place.worker, p % 3 == 0 ? p % 5 : p % 3 == 1 ? p % 2 : 0);
    }
    tm_node_free(&n);
}

static void a_peer_that_goes_keeps_its_number_of_workers(void)
{
    struct tm_node n;
    begin(&n, 4);
    tm_node_set_peer(&n, 2, 3, true);
    CU_ASSERT_TRUE(atomic_load(&n.peer_alive[2]));
    tm_node_set_peer(&n, 2, 0, false);
    CU_ASSERT_FALSE(atomic_load(&n.peer_alive[2]));
    CU_ASSERT_EQUAL(atomic_load(&n.peer_workers[2]), 3);
    tm_node_free(&n);
}

static void the_last_node_and_a_great_term_fit(void)
{
    struct tm_node n;
    begin(&n, 4);
    uint64_t term = (1ULL << 56) - 1;
    CU_ASSERT_TRUE(tm_node_set_leader(&n, 0, TM_NODES_MAX - 1, term));
    CU_ASSERT_EQUAL(tm_node_leader(&n, 0).node, TM_NODES_MAX - 1);
    CU_ASSERT_FALSE(tm_node_set_leader(&n, 0, 0, term - 1));
    tm_node_free(&n);
}

static const struct tm_test tests[] = {
    TM_TEST(a_node_runs_from_the_moment_it_has_a_directory),
    TM_TEST(a_directory_lives_until_every_worker_took_the_next),
    TM_TEST(links_come_with_their_directory),
    TM_TEST(the_leader_of_the_highest_term_counts),
    TM_TEST(the_epoch_grows_with_every_change_and_only_then),
    TM_TEST(partitions_spread_over_the_workers_of_their_leader),
    TM_TEST(a_peer_that_goes_keeps_its_number_of_workers),
    TM_TEST(the_last_node_and_a_great_term_fit),
};

TM_TEST_MAIN("actors/node", tests)
