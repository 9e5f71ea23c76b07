/* Snapshots are compared with tables, and a difference is seen. */
#include "tests/sim/hand_world.h"
#include "tests/sim/sim_snapshots.h"

static void begin(void)
{
    char line[64];
    prepare();
    open_cluster();
    unsigned l = successor(NOBODY);
    for (unsigned i = 0; i < 20; i++) {
        snprintf(line, sizeof line, "HSET h%u f%u %u", i % 5, i, i);
        ask(l, line);
    }
    ask(l, "INCRBY count 7");
    ask(l, "SET gone x PX 100000000");
    settle(converged);
}

static void every_copy_is_compared(void)
{
    begin();
    struct tm_sim_snapshots_stats s = tm_sim_snapshots_compare(sim);
    CU_ASSERT_EQUAL(tm_sim_wrongs(sim), 0);
    CU_ASSERT_EQUAL(s.compared, 6); /* of the system partition, too */
    CU_ASSERT_TRUE(s.entities >= 3 * 7);
    uint64_t written = 0;
    for (unsigned i = 0; i < 3; i++)
        written += counted(i, TM_COUNTER_snapshots_written);
    CU_ASSERT_EQUAL(written, 6 + s.again);
    close_cluster();
}

static void a_node_that_is_down_has_none(void)
{
    begin();
    unsigned a = other_than(leader(), leader());
    tm_sim_end(sim, a, TM_SIM_KILL);
    CU_ASSERT_EQUAL(tm_sim_snapshots_compare(sim).compared, 4);
    restart(a);
    settle(converged);
    close_cluster();
}

static void a_witness_has_none(void)
{
    prepare();
    config.copies = 2;
    open_cluster();
    unsigned l = successor(NOBODY);
    ask(l, "SET a 1");
    settle(converged);
    CU_ASSERT_EQUAL(tm_sim_snapshots_compare(sim).compared,
                    2 + tm_sim_directory(sim)->placement[1].copies);
    close_cluster();
}

static void what_is_newer_or_spoilt_is_not_equal(void)
{
    char why[256] = "";
    begin();
    (void)tm_sim_snapshots_compare(sim);
    unsigned l = leader();
    CU_ASSERT_TRUE(tm_sim_snapshot_equal(sim, l, 0, why, sizeof why));
    ask(l, "DEL h0");
    CU_ASSERT_FALSE(tm_sim_snapshot_equal(sim, l, 0, why, sizeof why));
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "of 7 entities, the table at"));
    CU_ASSERT_EQUAL(tm_sim_snapshots_compare(sim).compared, 6);
    CU_ASSERT_TRUE(tm_sim_snapshot_equal(sim, l, 0, why, sizeof why));
    spoil_snapshot(l);
    CU_ASSERT_FALSE(tm_sim_snapshot_equal(sim, l, 0, why, sizeof why));
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "does not load"));
    close_cluster();
}

static const struct tm_test tests[] = {
    TM_TEST(every_copy_is_compared),
    TM_TEST(a_node_that_is_down_has_none),
    TM_TEST(a_witness_has_none),
    TM_TEST(what_is_newer_or_spoilt_is_not_equal),
};

TM_TEST_MAIN("sim/snapshots", tests)
