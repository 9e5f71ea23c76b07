/* Eventual mode: what failovers cut off is put aside, comes back, and leaves nothing behind. */
#include "tests/sim/hand_world.h"

/* [deleted comes back through a re-offer]  What a leader took while it was cut off comes back after
 * the next one deleted it: it stays deleted; what nobody touched comes back. */
static void deleted_does_not_come_back_through_a_re_offer(void)
{
    prepare();
    config.eventual = true;
    open_cluster();
    unsigned a = leader(), b = (a + 1) % 3;
    CU_ASSERT_STRING_EQUAL(ask(a, "HSET hash known 1"), "1");
    CU_ASSERT_STRING_EQUAL(ask(a, "SET known 1"), "OK");
    tm_sim_run_for(sim, TM_SECONDS(1)); /* to all */
    tm_sim_isolate(sim, a, true);
    CU_ASSERT_STRING_EQUAL(ask(a, "SET gone old"), "OK");
    CU_ASSERT_STRING_EQUAL(ask(a, "SET kept old"), "OK");
    CU_ASSERT_STRING_EQUAL(ask(a, "SET known old"), "OK");
    CU_ASSERT_STRING_EQUAL(ask(a, "HSET hash offered old"), "1");
    CU_ASSERT_STRING_EQUAL(ask(a, "INCRBY count 5"), "5");
    unsigned next = successor(a);
    CU_ASSERT_STRING_EQUAL(ask(next, "SET gone new"), "OK");
    CU_ASSERT_STRING_EQUAL(ask(next, "DEL gone"), "1");
    CU_ASSERT_STRING_EQUAL(ask(next, "DEL known hash"), "2"); /* which it had as they were before */
    CU_ASSERT_STRING_EQUAL(ask(next, "INCRBY count 2"), "2");
    tm_sim_isolate(sim, a, false);
    settle(converged);
    CU_ASSERT_STRING_EQUAL(ask(b, "GET gone"), "(nil)");
    CU_ASSERT_STRING_EQUAL(ask(b, "GET known"), "(nil)");
    CU_ASSERT_STRING_EQUAL(ask(b, "HGET hash offered"), "(nil)");
    CU_ASSERT_STRING_EQUAL(ask(b, "GET kept"), "old");
    CU_ASSERT_STRING_EQUAL(ask(b, "GET count"), "7");
    close_cluster();
}

/* The same over the death of the node that has it, and of the leader that is to take it. */
static void an_offer_survives_both_ends(void)
{
    prepare();
    config.eventual = true;
    open_cluster();
    unsigned a = leader();
    tm_sim_isolate(sim, a, true);
    CU_ASSERT_STRING_EQUAL(ask(a, "SET kept old"), "OK");
    tm_sim_run_for(sim, TM_MS(5)); /* on its disk */
    unsigned next = successor(a);
    CU_ASSERT_STRING_EQUAL(ask(next, "SET more new"), "OK");
    tm_sim_isolate(sim, a, false);
    for (unsigned round = 0; round < 6; round++) { /* all through cutting, keeping, offering */
        tm_sim_run_for(sim, tm_sim_draw(sim, TM_MS(300)));
        unsigned victim = round % 2 == 0 ? a : leader();
        if (victim == NOBODY)
            continue;
        tm_sim_end(sim, victim, TM_SIM_POWER);
        restart(victim);
    }
    settle(converged);
    CU_ASSERT_STRING_EQUAL(ask(next, "GET kept"), "old");
    CU_ASSERT_STRING_EQUAL(ask(next, "GET more"), "new");
    close_cluster();
}

/* What is cut is counted, also where it was put aside by one process and cut by the next. */
static void a_cut_that_comes_after_a_restart_is_counted(void)
{
    uint64_t cut = 0;
    prepare();
    config.eventual = true;
    open_cluster();
    for (unsigned round = 0; round < 12; round++) {
        unsigned a = leader();
        tm_sim_isolate(sim, a, true);
        CU_ASSERT(atoi(ask(a, "INCR count")) > 0);
        tm_sim_run_for(sim, TM_MS(5));
        CU_ASSERT_STRING_EQUAL(ask(successor(a), "SET more new"), "OK");
        tm_sim_isolate(sim, a, false);
        tm_sim_run_for(sim, tm_sim_draw(sim, TM_MS(100)));
        tm_sim_end(sim, a, TM_SIM_POWER);
        restart(a);
        settle(converged);
    }
    for (unsigned i = 0; i < 3; i++)
        cut += tm_counter_get(tm_sim_counters(sim, i, 0), TM_COUNTER_async_cut);
    CU_ASSERT(cut > 0);
    CU_ASSERT_STRING_EQUAL(ask(0, "GET count"), "12");
    close_cluster();
}

/* Behind damage the log of a former leader has more than its replica knows of: what the next leader
 * has other records for is put aside, counted and offered like any other. */
static void what_is_replaced_behind_damage_comes_back(void)
{
    prepare();
    config.eventual = true;
    open_cluster();
    unsigned a = leader();
    for (unsigned i = 0; i < 6; i++)
        CU_ASSERT_STRING_EQUAL(ask(a, "SET more old"), "OK");
    settle(converged);
    uint64_t committed = part(a, 0)->replica.commit;
    tm_sim_isolate(sim, a, true);
    CU_ASSERT_STRING_EQUAL(ask(a, "SET kept old"), "OK");
    tm_sim_run_for(sim, TM_MS(5)); /* on its disk */
    spoil_record(a, committed - 2);
    tm_sim_end(sim, a, TM_SIM_POWER);
    CU_ASSERT_STRING_EQUAL(ask(successor(a), "SET more new"), "OK");
    tm_sim_isolate(sim, a, false);
    restart(a);
    tm_sim_run_for(sim, TM_MS(50));
    settle(converged);
    CU_ASSERT(tm_counter_get(tm_sim_counters(sim, a, 0), TM_COUNTER_records_repaired) > 0);
    CU_ASSERT_EQUAL(tm_counter_get(tm_sim_counters(sim, a, 0), TM_COUNTER_async_cut), 1);
    CU_ASSERT_STRING_EQUAL(ask(a, "GET kept"), "old");
    CU_ASSERT_STRING_EQUAL(ask(a, "GET more"), "new");
    close_cluster();
}

/* Stops as soon as another than `old` leads, before anybody heard of it. */
static unsigned successor_of_whom_nobody_heard(unsigned old)
{
    unsigned next = old;
    for (unsigned i = 0; i < 1000000 && (next == old || next == NOBODY); i++) {
        tm_sim_run_for(sim, TM_US(5)); /* frames take longer */
        next = leader();
    }
    CU_ASSERT_FATAL(next != old && next != NOBODY);
    tm_sim_isolate(sim, next, true);
    return next;
}

static void hear_each_other(unsigned a, unsigned b)
{
    tm_sim_cut(sim, a, b, false);
    tm_sim_cut(sim, b, a, false);
}

static void count_name(void *arg, const char *name)
{
    (void)name;
    ++*(unsigned *)arg;
}

static unsigned files_of_offers(unsigned node)
{
    unsigned count = 0;
    struct tm_disk *disk = tm_sim_disk_table(tm_sim_disk_of(sim, node));
    CU_ASSERT_FATAL(disk->list(disk, "offers", count_name, &count) >= 0);
    return count;
}

/* A former leader puts aside what the next one has other records for; before it comes to cut it, it
 * leads again and commits all of that.  Nothing is left to offer. */
static void what_is_put_aside_and_committed_after_all_is_dropped(void)
{
    prepare();
    config.eventual = true;
    open_cluster();
    unsigned a = leader();
    CU_ASSERT_STRING_EQUAL(ask(a, "SET more old"), "OK");
    settle(converged);
    tm_sim_isolate(sim, a, true);
    CU_ASSERT_STRING_EQUAL(ask(a, "SET kept old"), "OK");
    tm_sim_run_for(sim, TM_MS(5)); /* on its disk */
    uint64_t kept = part(a, 0)->replica.last.index;
    unsigned b = successor_of_whom_nobody_heard(a), c = other_than(a, b);
    tm_sim_disk_set_latency(tm_sim_disk_of(sim, a), TM_MS(5), TM_MS(5));
    hear_each_other(a, b);
    for (unsigned i = 0; i < 500 && files_of_offers(a) == 0; i++)
        tm_sim_run_for(sim, TM_MS(1)); /* it is to cut, and begins to keep what it is to cut */
    tm_sim_isolate(sim, b, true);
    tm_sim_run_for(sim, TM_MS(50));
    CU_ASSERT_EQUAL(files_of_offers(a), 1);
    CU_ASSERT_EQUAL(part(a, 0)->replica.last.index, kept);
    hear_each_other(a, c);
    CU_ASSERT_EQUAL(successor(b), a);
    tm_sim_disk_set_latency(tm_sim_disk_of(sim, a), config.disk_min_ns, config.disk_max_ns);
    for (unsigned i = 0; i < 3; i++)
        tm_sim_isolate(sim, i, false);
    settle(converged);
    CU_ASSERT_EQUAL(files_of_offers(a), 0);
    CU_ASSERT_EQUAL(tm_counter_get(tm_sim_counters(sim, a, 0), TM_COUNTER_async_cut), 0);
    CU_ASSERT_STRING_EQUAL(ask(b, "GET kept"), "old");
    close_cluster();
}

/* Whom its leader cannot help any more: the log begins behind what it holds now. */
static void forget_the_past(unsigned node)
{
    struct tm_snapshot_info info;
    struct tm_partition *p = (struct tm_partition *)(uintptr_t)part(node, 0);
    struct tm_keeper *keeper = tm_sim_shard(sim, node, 0)->keeper;
    CU_ASSERT_TRUE(tm_sim_snapshot(sim, node, 0));
    tm_sim_run_for(sim, TM_SECONDS(2));
    CU_ASSERT_TRUE_FATAL(tm_keeper_snapshot(keeper, 0, false, &info));
    CU_ASSERT_TRUE(tm_keeper_give_up(keeper, p, info.walked_from));
}

/* A leader takes what only it has, and is cut off; it comes back to one that merges it, or, because
 * its log begins later, refuses it. */
static unsigned offer_from(bool refused)
{
    prepare();
    config.eventual = true;
    open_cluster();
    unsigned a = leader();
    tm_sim_isolate(sim, a, true);
    CU_ASSERT_STRING_EQUAL(ask(a, "SET kept old"), "OK");
    tm_sim_run_for(sim, TM_MS(5)); /* on its disk */
    unsigned next = successor(a);
    CU_ASSERT_STRING_EQUAL(ask(next, "SET more new"), "OK");
    for (unsigned i = 0; i < 3 && refused; i++)
        if (i != a)
            forget_the_past(i);
    tm_sim_isolate(sim, a, false);
    settle(converged);
    tm_sim_run_for(sim, TM_SECONDS(2));
    CU_ASSERT_EQUAL(counted(a, TM_COUNTER_async_dropped), refused ? 1 : 0);
    CU_ASSERT_STRING_EQUAL(ask(next, "GET kept"), refused ? "(nil)" : "old");
    return a;
}

/* Else it would be offered again, to one that might refuse it, and be counted as lost. */
static void what_was_merged_does_not_return_when_power_goes(void)
{
    unsigned a = offer_from(false);
    CU_ASSERT_EQUAL(files_of_offers(a), 0);
    tm_sim_end(sim, a, TM_SIM_POWER_NONE_KEPT);
    restart(a);
    CU_ASSERT_EQUAL(files_of_offers(a), 0);
    settle(converged);
    close_cluster();
}

static void what_was_refused_is_kept_and_counted_once(void)
{
    unsigned a = offer_from(true);
    CU_ASSERT_EQUAL(files_of_offers(a), 1);
    tm_sim_end(sim, a, TM_SIM_POWER_NONE_KEPT);
    restart(a);
    settle(converged);
    tm_sim_run_for(sim, TM_SECONDS(2));
    CU_ASSERT_EQUAL(files_of_offers(a), 1);
    CU_ASSERT_EQUAL(counted(a, TM_COUNTER_async_dropped), 1);
    close_cluster();
}

static const struct tm_test tests[] = {
    TM_TEST(deleted_does_not_come_back_through_a_re_offer),
    TM_TEST(an_offer_survives_both_ends),
    TM_TEST(a_cut_that_comes_after_a_restart_is_counted),
    TM_TEST(what_is_replaced_behind_damage_comes_back),
    TM_TEST(what_is_put_aside_and_committed_after_all_is_dropped),
    TM_TEST(what_was_merged_does_not_return_when_power_goes),
    TM_TEST(what_was_refused_is_kept_and_counted_once),
};

TM_TEST_MAIN("sim/offers", tests)
