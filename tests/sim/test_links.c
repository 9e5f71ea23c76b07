/* Drawn runs of linked clusters, of each shape; tidemill-sim-links has more of them. */
#include "tests/sim/sim_links.h"
#include "tests/test.h"

static struct tm_sim_links_plan plan;
static struct tm_sim_links_result result, again;

/* The first seed from that one on whose run has the shape. */
static void draw(enum tm_sim_links_shape shape, uint64_t seed)
{
    do
        tm_sim_links_draw(&plan, seed++, TM_SECONDS(10), 0);
    while (plan.shape != shape);
}

static void expect_good(enum tm_sim_links_shape shape)
{
    draw(shape, 30);
    tm_sim_links_run(&plan, NULL, &result);
    if (!result.good)
        printf("  seed %" PRIu64 ": %s\n", plan.seed, result.why);
    CU_ASSERT_TRUE(result.good);
    CU_ASSERT_TRUE(result.effects.link_batches_taken > 0 && result.effects.link_changes_taken > 0);
}

static void one_way(void)
{
    expect_good(TM_SIM_LINKS_ONE_WAY);
}

static void both_ways(void)
{
    expect_good(TM_SIM_LINKS_BOTH_WAYS);
}

static void mesh(void)
{
    expect_good(TM_SIM_LINKS_MESH);
}

static void chain(void)
{
    expect_good(TM_SIM_LINKS_CHAIN);
}

static void one_seed_is_one_run(void)
{
    draw(TM_SIM_LINKS_MESH, 7);
    tm_sim_links_run(&plan, NULL, &result);
    tm_sim_links_run(&plan, NULL, &again);
    CU_ASSERT_EQUAL(result.hash, again.hash);
    CU_ASSERT_EQUAL(result.load.commands, again.load.commands);
}

/* What the links do not ship is judged as if they did: the oracle has to object. */
static void what_does_not_arrive_is_noticed(void)
{
    draw(TM_SIM_LINKS_ONE_WAY, 1);
    plan.world.to[0] = 0;
    tm_sim_links_run(&plan, NULL, &result);
    CU_ASSERT_FALSE(result.good);
    CU_ASSERT_PTR_NOT_NULL(strstr(result.why, "do not become equal"));
}

/* The links ship more than the filters that the oracle knows. */
static void what_must_not_arrive_is_noticed(void)
{
    uint64_t seed = 1;
    do
        draw(TM_SIM_LINKS_ONE_WAY, seed++);
    while (plan.ships[0][1] == 0xf);
    snprintf(plan.filter[0][1], sizeof plan.filter[0][1], "forward=none");
    tm_sim_links_run(&plan, NULL, &result);
    CU_ASSERT_FALSE(result.good);
    CU_ASSERT_PTR_NOT_NULL(strstr(result.why, "which no link takes there"));
}

/* Links that do not wait are judged as if they did. */
static void an_ok_that_comes_too_early_is_noticed(void)
{
    draw(TM_SIM_LINKS_ONE_WAY, 1);
    snprintf(plan.filter[0][1], sizeof plan.filter[0][1], "batchMaxDelayUs=20000");
    memset(plan.ships, 0xf, sizeof plan.ships);
    plan.sync = plan.waits[0][1] = true;
    plan.changes = 0;
    tm_sim_links_run(&plan, NULL, &result);
    CU_ASSERT_FALSE(result.good);
    CU_ASSERT_PTR_NOT_NULL(
        strstr(result.why, "had its OK, and is not on a quorum's disks at west"));
}

static void oks_of_synchronous_links_are_judged(void)
{
    uint64_t seed = 1;
    do
        draw(TM_SIM_LINKS_BOTH_WAYS, seed++);
    while (!plan.waits[0][1]);
    tm_sim_links_run(&plan, NULL, &result);
    if (!result.good)
        printf("  seed %" PRIu64 ": %s\n", plan.seed, result.why);
    CU_ASSERT_TRUE(result.good);
    CU_ASSERT_TRUE(result.oks.on_both > 0);
}

static void lose(enum tm_sim_links_loss loss, bool sync)
{
    uint64_t seed = 1;
    do
        tm_sim_links_draw(&plan, seed++, TM_SECONDS(10), 0);
    while (plan.loss != loss || plan.sync != sync);
    tm_sim_links_run(&plan, NULL, &result);
    if (!result.good)
        printf("  seed %" PRIu64 ": %s\n", plan.seed, result.why);
    CU_ASSERT_TRUE(result.good);
    CU_ASSERT_EQUAL(result.lost.clusters, 1);
    CU_ASSERT_EQUAL(result.lost.adopted, loss == TM_SIM_LINKS_ANEW);
}

static void a_cluster_is_lost_for_good_and_its_targets_are_promoted(void)
{
    lose(TM_SIM_LINKS_FOR_GOOD, true);
    lose(TM_SIM_LINKS_FOR_GOOD, false);
}

static void a_cluster_is_made_anew_and_adopted(void)
{
    lose(TM_SIM_LINKS_ANEW, true);
    lose(TM_SIM_LINKS_ANEW, false);
}

static const struct tm_test tests[] = {
    {"one way", one_way},
    {"both ways", both_ways},
    {"mesh", mesh},
    {"chain", chain},
    {"one seed is one run", one_seed_is_one_run},
    {"what does not arrive is noticed", what_does_not_arrive_is_noticed},
    {"what must not arrive is noticed", what_must_not_arrive_is_noticed},
    {"an OK that comes too early is noticed", an_ok_that_comes_too_early_is_noticed},
    {"OKs of synchronous links are judged", oks_of_synchronous_links_are_judged},
    {"a cluster is lost for good, and its targets are promoted",
     a_cluster_is_lost_for_good_and_its_targets_are_promoted},
    {"a cluster is made anew, and adopted", a_cluster_is_made_anew_and_adopted},
};

TM_TEST_MAIN("sim/links", tests)
