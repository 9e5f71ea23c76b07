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

static uint64_t heal_at;
static unsigned cut_off;

static uint64_t next_heal(void *host)
{
    (void)host;
    return heal_at;
}

static void heal(void *host)
{
    heal_at = UINT64_MAX;
    tm_sim_isolate(host, cut_off, false);
}

static void what_is_not_committed_is_waited_for(void)
{
    begin();
    cut_off = leader();
    const struct tm_store *store = part(cut_off, 0)->store;
    struct tm_sim_hand *h = tm_sim_hand_new(sim, cut_off, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(h);
    tm_sim_isolate(sim, cut_off, true);
    tm_sim_hand_send(h, "SET more 1");
    tm_sim_run_for(sim, TM_MS(2));
    CU_ASSERT_EQUAL(tm_store_count(store), 8);
    CU_ASSERT_EQUAL(tm_store_committed(store) + 1, tm_store_applied(store));
    heal_at = tm_sim_now(sim) + TM_MS(50);
    tm_sim_drive(sim, &(struct tm_sim_driver){.host = sim, .next = next_heal, .act = heal});
    struct tm_sim_snapshots_stats s = tm_sim_snapshots_compare(sim);
    CU_ASSERT_EQUAL(tm_sim_wrongs(sim), 0);
    CU_ASSERT_EQUAL(s.compared, 6);
    CU_ASSERT_EQUAL(tm_sim_hand_answers(h), 1);
    tm_sim_hand_free(h);
    close_cluster();
}

static const struct tm_test tests[] = {
    TM_TEST(every_copy_is_compared),
    TM_TEST(a_node_that_is_down_has_none),
    TM_TEST(a_witness_has_none),
    TM_TEST(what_is_not_committed_is_waited_for),
    TM_TEST(what_is_newer_or_spoilt_is_not_equal),
};

TM_TEST_MAIN("sim/snapshots", tests)
