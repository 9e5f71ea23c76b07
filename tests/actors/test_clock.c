/* Wall clocks that differ, as heartbeats tell of them. */
#include "actors/replica_internal.h"
#include "replica_cluster.h"

#define AN_ELECTION TM_SECONDS(2)

static int64_t ahead(struct cluster *c, unsigned of, unsigned node)
{
    return tm_beat_ahead_ms(&c->node[of].beat, replica_of(c, of), node);
}

static void a_leader_learns_how_far_its_clock_is_ahead_or_behind(void)
{
    struct cluster *c = cluster_up(1, 3, false);
    unsigned leader = (unsigned)cluster_await_leader(c, AN_ELECTION);
    unsigned a = (leader + 1) % 3, b = (leader + 2) % 3;
    cluster_run(c, TM_SECONDS(1));
    CU_ASSERT_EQUAL(ahead(c, leader, a), 0);
    c->node[a].clock_ms = -2000;
    c->node[b].clock_ms = 3000;
    cluster_run(c, TM_SECONDS(1));
    CU_ASSERT_EQUAL(cluster_leader(c, 0), (int)leader);
    CU_ASSERT(ahead(c, leader, a) <= 2000 && ahead(c, leader, a) > 1900);
    CU_ASSERT(ahead(c, leader, b) >= -3000 && ahead(c, leader, b) < -2900);
    CU_ASSERT_EQUAL(ahead(c, a, leader), 0); /* only who sends heartbeats learns */
    cluster_crash(c, a);
    cluster_run(c, TM_SECONDS(11));
    CU_ASSERT_EQUAL(ahead(c, leader, a), 0); /* long ago */
    cluster_free(c);
}

/* What is late was said earlier: only the part that no delay explains counts. */
static void a_slow_way_is_not_taken_for_a_wrong_clock(void)
{
    struct cluster *c = cluster_up(2, 3, false);
    unsigned leader = (unsigned)cluster_await_leader(c, AN_ELECTION), a = (leader + 1) % 3;
    c->opt.election_min_ns = TM_SECONDS(20);
    c->opt.election_max_ns = TM_SECONDS(21);
    c->beat_opt.interval_ns = c->beat_opt.rest_interval_ns = TM_SECONDS(3);
    c->delay_max_ns = TM_SECONDS(1);
    c->node[a].clock_ms = -3000;
    int64_t least = INT64_MAX, most = 0;
    for (unsigned i = 0; i < 100; i++) {
        cluster_run(c, TM_MS(100));
        int64_t ms = ahead(c, leader, a);
        least = ms != 0 && ms < least ? ms : least;
        most = ms > most ? ms : most;
        CU_ASSERT(ahead(c, leader, (leader + 2) % 3) == 0);
    }
    CU_ASSERT(most <= 3000 && least > 1900 && least < 2900);
    cluster_free(c);
}

static void the_preferred_leader_takes_over_once_its_clock_is_right(void)
{
    struct cluster *c = cluster_up(3, 3, false);
    c->opt.prefer_after_ns = TM_MS(500);
    cluster_run(c, TM_SECONDS(4));
    CU_ASSERT_EQUAL(cluster_leader(c, 0), 0);
    cluster_crash(c, 0);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    c->node[0].clock_ms = 5000;
    cluster_start(c, 0);
    cluster_run(c, TM_SECONDS(8));
    CU_ASSERT_NOT_EQUAL(cluster_leader(c, 0), 0);
    c->node[0].clock_ms = 0;
    cluster_run(c, TM_SECONDS(8));
    CU_ASSERT_EQUAL(cluster_leader(c, 0), 0);
    cluster_free(c);
}

static const struct tm_test tests[] = {
    TM_TEST(a_leader_learns_how_far_its_clock_is_ahead_or_behind),
    TM_TEST(a_slow_way_is_not_taken_for_a_wrong_clock),
    TM_TEST(the_preferred_leader_takes_over_once_its_clock_is_right),
};

TM_TEST_MAIN("actors/clock", tests)
