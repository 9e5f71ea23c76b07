#include "replica_cluster.h"

static void a_single_voter_leads_and_commits_by_itself(void)
{
    struct cluster *c = cluster_up(1, 1, false);
    CU_ASSERT_EQUAL(cluster_await_leader(c, TM_MS(50)), 0);
    uint64_t index = cluster_propose(c, 0, 0);
    CU_ASSERT_FALSE(cluster_committed(c, index)); /* not durable yet */
    cluster_run(c, TM_MS(10));
    CU_ASSERT(cluster_committed(c, index));
    cluster_free(c);
}

static void three_elect_one_leader_and_replicate(void)
{
    struct cluster *c = cluster_up(2, 3, false);
    CU_ASSERT(cluster_await_leader(c, TM_SECONDS(2)) >= 0);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_run(c, TM_MS(200));
    CU_ASSERT(cluster_converged(c, 0));
    cluster_free(c);
}

static const struct tm_test tests[] = {
    TM_TEST(a_single_voter_leads_and_commits_by_itself),
    TM_TEST(three_elect_one_leader_and_replicate),
};
TM_TEST_MAIN("actors/replica", tests)
