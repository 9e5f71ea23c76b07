/* Two and three clusters in virtual time: which workers of linked clusters reach each other,
 * whatever happens to nodes and to the wire between. */
#include "actors/links.h"
#include "tests/sim/settle.h"
#include "tests/sim/sim_world.h"

enum { EAST, WEST, NORTH };

struct pair {
    struct tm_sim_world *w;
    unsigned a, b;
};

static const struct tm_link_way *way_of(struct tm_sim_world *w, unsigned cluster, unsigned node,
                                        unsigned worker)
{
    return tm_shard_way(tm_sim_shard(tm_sim_world_cluster(w, cluster), node, worker));
}

/* Every worker of one cluster's nodes that run can send to the first of each of the other's. */
static bool reach(struct tm_sim_world *w, unsigned from, unsigned to)
{
    struct tm_sim *here = tm_sim_world_cluster(w, from), *there = tm_sim_world_cluster(w, to);
    for (unsigned i = 0; i < tm_sim_config_of(here)->nodes; i++)
        for (unsigned k = 0; tm_sim_is_up(here, i) && k < tm_sim_workers(here, i); k++)
            for (unsigned n = 0; n < tm_sim_config_of(there)->nodes; n++) {
                struct tm_place at = {.node = (uint8_t)tm_sim_world_block(w, to, n)};
                if (tm_sim_is_up(there, n) && !tm_link_way_is_up(way_of(w, from, i, k), at))
                    return false;
            }
    return true;
}

static bool meet(void *arg)
{
    const struct pair *p = arg;
    return reach(p->w, p->a, p->b) && reach(p->w, p->b, p->a);
}

static bool apart(void *arg)
{
    const struct pair *p = arg;
    struct tm_sim *here = tm_sim_world_cluster(p->w, p->a);
    for (unsigned i = 0; i < tm_sim_config_of(here)->nodes; i++)
        for (unsigned k = 0; tm_sim_is_up(here, i) && k < tm_sim_workers(here, i); k++)
            for (unsigned n = 0; n < tm_sim_world_config_of(p->w)->cluster[p->b].nodes; n++)
                if (tm_link_way_is_there(way_of(p->w, p->a, i, k),
                                         tm_sim_world_block(p->w, p->b, n)))
                    return false;
    return true;
}

static struct tm_sim_world *new_world(uint64_t seed)
{
    struct tm_sim_world_config c;
    tm_sim_world_config_default(&c, seed, 2);
    c.cluster[EAST].partitions = 7;
    c.cluster[WEST].workers[0] = 3;
    c.to[EAST] = 1 << WEST;
    return tm_sim_world_new(&c);
}

static struct tm_sim_world *two_clusters(uint64_t seed)
{
    struct tm_sim_world *w = new_world(seed);
    for (unsigned i = 0; i < 2; i++)
        create(tm_sim_world_cluster(w, i));
    return w;
}

static void finish(struct tm_sim_world *w)
{
    for (unsigned i = 0; i < tm_sim_world_config_of(w)->clusters; i++) {
        struct tm_sim *sim = tm_sim_world_cluster(w, i);
        CU_ASSERT_EQUAL(tm_sim_fatal(sim), 0);
        CU_ASSERT_TRUE(tm_sim_run_until(sim, converged, sim, TM_SECONDS(30)));
    }
    CU_ASSERT_STRING_EQUAL(tm_sim_world_wrong(w), "");
    tm_sim_world_free(w);
}

static void expect_meet(struct tm_sim_world *w, unsigned a, unsigned b)
{
    struct pair p = {w, a, b};
    CU_ASSERT_TRUE(tm_sim_world_run_until(w, meet, &p, TM_SECONDS(10)));
}

static void linked_clusters_meet(void)
{
    struct tm_sim_world *w = two_clusters(1);
    expect_meet(w, EAST, WEST);
    const struct tm_link_identity *id = tm_link_way_identity(way_of(w, WEST, 2, 1), 0);
    CU_ASSERT_FATAL(id != NULL);
    CU_ASSERT_EQUAL(id->partitions, 7);
    CU_ASSERT_EQUAL(tm_link_way_place(way_of(w, EAST, 0, 0), 3, 5).worker, 2);
    finish(w);
}

static void clusters_without_a_link_do_not_meet(void)
{
    struct tm_sim_world_config c;
    tm_sim_world_config_default(&c, 2, 3);
    c.to[WEST] = 1 << NORTH;
    struct tm_sim_world *w = tm_sim_world_new(&c);
    for (unsigned i = 0; i < 3; i++)
        create(tm_sim_world_cluster(w, i));
    expect_meet(w, WEST, NORTH);
    tm_sim_world_run_for(w, TM_SECONDS(3));
    CU_ASSERT_PTR_NULL(tm_link_way_identity(way_of(w, EAST, 0, 0), 0));
    CU_ASSERT_PTR_NULL(tm_link_way_identity(way_of(w, WEST, 0, 0), 0));
    finish(w);
}

static void nodes_are_met_again_after_whatever_happened_to_them(void)
{
    struct tm_sim_world *w = two_clusters(3);
    struct tm_sim *west = tm_sim_world_cluster(w, WEST);
    expect_meet(w, EAST, WEST);
    for (unsigned round = 0; round < 24; round++) {
        unsigned node = round % 3;
        if (round % 4 < 2)
            tm_sim_end(west, node, round % 4 == 0 ? TM_SIM_KILL : TM_SIM_POWER);
        else if (round % 4 == 2)
            tm_sim_stop(west, node, TM_SECONDS(5));
        else
            tm_sim_pause(west, node, true);
        tm_sim_world_run_for(w, TM_MS(1 + 97 * round));
        if (round % 4 == 3)
            tm_sim_pause(west, node, false);
        else
            start_node(west, node);
        expect_meet(w, EAST, WEST);
    }
    tm_sim_end(west, 1, TM_SIM_KILL);
    tm_sim_wipe(west, 1);
    start_node(west, 1);
    expect_meet(w, EAST, WEST);
    finish(w);
}

static void a_whole_cluster_away_is_told_and_comes_back(void)
{
    struct tm_sim_world *w = two_clusters(4);
    struct tm_sim *west = tm_sim_world_cluster(w, WEST);
    struct pair p = {w, EAST, WEST};
    expect_meet(w, EAST, WEST);
    for (unsigned i = 0; i < 3; i++)
        tm_sim_end(west, i, TM_SIM_POWER);
    CU_ASSERT_TRUE(tm_sim_world_run_until(w, apart, &p, TM_SECONDS(1)));
    tm_sim_world_run_for(w, TM_SECONDS(20));
    start_all(west);
    expect_meet(w, EAST, WEST);
    finish(w);
}

static void a_cut_between_clusters_is_outlived(void)
{
    struct tm_sim_world *w = new_world(5);
    tm_sim_world_cut(w, EAST, WEST, true); /* before they ever met */
    for (unsigned i = 0; i < 2; i++)
        create(tm_sim_world_cluster(w, i));
    tm_sim_world_run_for(w, TM_SECONDS(2));
    CU_ASSERT_FALSE(reach(w, EAST, WEST));
    tm_sim_world_cut(w, EAST, WEST, false);
    expect_meet(w, EAST, WEST);
    tm_sim_world_cut(w, EAST, WEST, true);
    tm_sim_world_cut(w, WEST, EAST, true);
    tm_sim_end(tm_sim_world_cluster(w, WEST), 0, TM_SIM_KILL);
    tm_sim_world_run_for(w, TM_SECONDS(10));
    start_node(tm_sim_world_cluster(w, WEST), 0);
    tm_sim_world_run_for(w, TM_SECONDS(2));
    tm_sim_world_cut(w, EAST, WEST, false);
    tm_sim_world_cut(w, WEST, EAST, false);
    expect_meet(w, EAST, WEST);
    finish(w);
}

static void a_cluster_that_was_made_anew_is_refused(void)
{
    struct tm_sim_world *w = two_clusters(6);
    struct tm_sim *west = tm_sim_world_cluster(w, WEST);
    struct pair p = {w, EAST, WEST};
    expect_meet(w, EAST, WEST);
    for (unsigned i = 0; i < 3; i++)
        tm_sim_end(west, i, TM_SIM_KILL);
    tm_sim_world_run_for(w, TM_MS(10));
    for (unsigned i = 0; i < 3; i++)
        tm_sim_wipe(west, i);
    create(west);
    tm_sim_world_run_for(w, TM_SECONDS(5));
    CU_ASSERT_TRUE(apart(&p));
    CU_ASSERT_PTR_NOT_NULL(tm_link_way_refusal(way_of(w, EAST, 0, 0), 0));
    char text[512];
    struct tm_shard *east = tm_sim_shard(tm_sim_world_cluster(w, EAST), 0, 0);
    CU_ASSERT_TRUE_FATAL(tm_links_text(east, 0, text, sizeof text));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "why=it is another cluster of that name"));
    /* Also by nodes that have started anew since. */
    tm_sim_end(tm_sim_world_cluster(w, EAST), 1, TM_SIM_POWER);
    start_node(tm_sim_world_cluster(w, EAST), 1);
    tm_sim_world_run_for(w, TM_SECONDS(5));
    CU_ASSERT_TRUE(apart(&p));
    finish(w);
}

static uint64_t hash_of_a_run(uint64_t seed)
{
    struct tm_sim_world *w = two_clusters(seed);
    struct tm_sim_link *link = tm_sim_wire_link(tm_sim_world_wire(w), 0, 3);
    *link = (struct tm_sim_link){.lose = 500, .twice = 500};
    tm_sim_world_run_for(w, TM_SECONDS(1));
    tm_sim_end(tm_sim_world_cluster(w, EAST), 2, TM_SIM_POWER);
    tm_sim_world_run_for(w, TM_SECONDS(1));
    uint64_t hash = tm_sim_world_hash(w);
    tm_sim_world_free(w);
    return hash;
}

static void one_seed_is_one_run(void)
{
    uint64_t seed = tm_test_seed();
    uint64_t hash = hash_of_a_run(seed);
    CU_ASSERT_EQUAL(hash_of_a_run(seed), hash);
    CU_ASSERT_NOT_EQUAL(hash_of_a_run(seed + 1), hash);
}

static const struct tm_test tests[] = {
    {"linked clusters meet", linked_clusters_meet},
    {"clusters without a link do not meet", clusters_without_a_link_do_not_meet},
    {"nodes are met again after whatever happened to them",
     nodes_are_met_again_after_whatever_happened_to_them},
    {"a whole cluster away is told and comes back", a_whole_cluster_away_is_told_and_comes_back},
    {"a cut between clusters is outlived", a_cut_between_clusters_is_outlived},
    {"a cluster that was made anew is refused", a_cluster_that_was_made_anew_is_refused},
    {"one seed is one run", one_seed_is_one_run},
};

TM_TEST_MAIN("sim/world", tests)
