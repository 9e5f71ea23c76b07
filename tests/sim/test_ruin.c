/* Ruin: what was acknowledged and no copy has any more.  It is said which partition that is,
 * nothing of it is served and nobody leads it, also after more starts; all other partitions go on.
 * An operator who takes the loss (TIDEMILL RECOVER) gets what lies before it back into service, on
 * all copies, and nothing of the history that has ended returns. */
#include "tests/sim/hand_world.h"

#include "actors/directory.h"

#define KEYS 60

static FILE *lines; /* what nodes log */

/* The i-th key of partition 0 or 1. */
static const char *key_of(uint32_t partition, unsigned i)
{
    static char key[32];
    for (unsigned n = 0, found = 0;; n++) {
        snprintf(key, sizeof key, "k%u", n);
        uint32_t slot = tm_slot_of_key(tm_bytes_of(key, strlen(key)));
        if (tm_partition_of_slot(slot, config.partitions) == partition && found++ == i)
            return key;
    }
}

static const char *set_at(unsigned node, uint32_t partition, unsigned i, const char *what)
{
    char line[96];
    snprintf(line, sizeof line, "SET %s %s%u", key_of(partition, i), what, i);
    return ask(node, line);
}

static const char *set(uint32_t partition, unsigned i, const char *what)
{
    return set_at(0, partition, i, what);
}

static const char *get(unsigned node, uint32_t partition, unsigned i)
{
    char line[64];
    snprintf(line, sizeof line, "GET %s", key_of(partition, i));
    return ask(node, line);
}

static bool at_rest(void *arg)
{
    return whole(arg) && converged(arg);
}

static void open_two(unsigned nodes, unsigned copies)
{
    fflush(stdout); /* an assertion of the product ends the process */
    prepare();
    config.nodes = nodes;
    config.copies = copies;
    config.partitions = 2;
    config.options.scrub_rate = 0;
    config.log = lines = tmpfile();
    CU_ASSERT_PTR_NOT_NULL_FATAL(lines);
    open_cluster();
    for (unsigned i = 0; i < KEYS; i++)
        for (uint32_t p = 0; p < 2; p++)
            CU_ASSERT_STRING_EQUAL(set(p, i, "value"), "OK");
    settle(at_rest);
}

static void restart_all(void)
{
    for (unsigned i = 0; i < config.nodes; i++)
        tm_sim_end(sim, i, TM_SIM_POWER);
    start_all(sim);
    tm_sim_run_for(sim, TM_MS(1)); /* before anybody asks */
}

static void spoil_everywhere(uint64_t first, uint64_t last)
{
    for (unsigned i = 0; i < config.nodes; i++)
        for (uint64_t r = first; r <= last && part(i, 0) != NULL && !part(i, 0)->witness; r++)
            spoil_record(i, r);
}

/* So many lines have that text. */
static unsigned logged(const char *text)
{
    char line[1024];
    unsigned n = 0;
    rewind(lines);
    while (fgets(line, sizeof line, lines) != NULL)
        n += strstr(line, text) != NULL;
    fseek(lines, 0, SEEK_END);
    return n;
}

static void expect_refused(void)
{
    CU_ASSERT_TRUE(nobody_leads_for(TM_SECONDS(10)));
    CU_ASSERT_EQUAL(strncmp(get(0, 0, 3), "CLUSTERDOWN", 11), 0);
    CU_ASSERT_EQUAL(strncmp(set(0, 3, "late"), "CLUSTERDOWN", 11), 0);
    for (unsigned i = 0; i < KEYS; i++) {
        char value[64];
        snprintf(value, sizeof value, "value%u", i);
        CU_ASSERT_STRING_EQUAL(get(config.nodes - 1, 1, i), value);
    }
    CU_ASSERT_STRING_EQUAL(set(1, KEYS, "new"), "OK");
    CU_ASSERT(logged("damage_stays partition=0") >= config.copies);
    CU_ASSERT_EQUAL(logged("damage_stays partition=1"), 0);
    CU_ASSERT_EQUAL(tm_sim_wrongs(sim), 0);
}

/* What lies before the damage is there, on all nodes, and nothing of what followed it. */
static void expect_recovered(unsigned left)
{
    settle(at_rest);
    for (unsigned n = 0; n < config.nodes; n++)
        for (unsigned i = 0; i < KEYS; i++) {
            char value[64];
            snprintf(value, sizeof value, "value%u", i);
            CU_ASSERT_STRING_EQUAL(get(n, 0, i), i < left ? value : "(nil)");
        }
}

static void recover(unsigned node)
{
    tm_sim_oracle_give_up(oracle, 0);
    CU_ASSERT_STRING_EQUAL(ask(node, "TIDEMILL RECOVER 0"), "OK");
}

/* The partition takes writes again, and keeps them over the end of all. */
static void expect_in_service(unsigned left)
{
    char why[512];
    expect_recovered(left);
    CU_ASSERT_STRING_EQUAL(set(0, left, "value"), "OK");
    restart_all();
    expect_recovered(left + 1);
    CU_ASSERT_EQUAL(tm_sim_fatal(sim), 0);
    CU_ASSERT_EQUAL(tm_sim_differences(sim, why, sizeof why), 0);
}

static void close_good(void)
{
    if (tm_sim_wrongs(sim) > 0)
        printf("  %s\n", tm_sim_wrong_text(sim));
    CU_ASSERT_EQUAL(tm_sim_wrongs(sim), 0);
    tm_sim_oracle_free(oracle);
    tm_sim_free(sim);
    fclose(lines);
}

/* Record 2 + i is the i-th key's: a leader's NOOP comes first. */
static void ruin(unsigned nodes, unsigned copies, uint64_t first, uint64_t last)
{
    open_two(nodes, copies);
    spoil_everywhere(first, last);
    restart_all();
    expect_refused();
    restart_all();
    expect_refused();
    recover(part(0, 0)->witness ? 1 : 0);
    expect_in_service((unsigned)first - 2);
    close_good();
}

static void an_only_copy_goes_on_at_an_operators_word(void)
{
    ruin(1, 1, 20, 20);
    ruin(1, 1, 20, 23);
    ruin(1, 1, 2, 2);
}

static void three_copies_go_on_at_an_operators_word(void)
{
    ruin(3, 3, 20, 20);
    ruin(3, 3, 20, 23);
}

static void two_copies_go_on_at_an_operators_word(void)
{
    ruin(2, 2, 20, 23);
    ruin(3, 2, 20, 23);
}

/* More than the log keeps, so that it begins behind a snapshot. */
static void outgrow_the_log(void)
{
    static char line[TM_KIB(60) + 64];
    for (unsigned i = 0; i < 160; i++) {
        int n = snprintf(line, sizeof line, "SET %s ", key_of(0, KEYS + i % 4));
        memset(line + n, 'x', TM_KIB(60));
        line[n + (int)TM_KIB(60)] = '\0';
        CU_ASSERT_STRING_EQUAL(ask(0, line), "OK");
    }
    settle(at_rest);
    CU_ASSERT(counted(0, TM_COUNTER_snapshots_written) > 2);
}

/* Neither of its snapshots can be read, and the log begins behind them. */
static void a_lost_snapshot_of_an_only_copy_is_no_empty_partition(void)
{
    struct tm_snapshot_info info;
    char name[TM_SNAP_NAME_MAX];
    open_two(1, 1);
    outgrow_the_log();
    if (tm_keeper_snapshot(tm_sim_shard(sim, 0, 0)->keeper, 0, true, &info)) {
        tm_snap_name_file(name, 0, info.walked_from, info.walked_to);
        CU_ASSERT_TRUE(tm_sim_disk_flip(tm_sim_disk_of(sim, 0), name, TM_SNAP_PAGE + 200, 5));
    }
    spoil_snapshot(0);
    restart_all();
    CU_ASSERT(part(0, 0)->replica.hs.health >= TM_HEALTH_HOLED);
    expect_refused();
    recover(0);
    expect_in_service(0);
    close_good();
}

/* The third copy has everything, but was away when an operator took the loss. */
static void a_copy_of_the_history_that_ended_is_overwritten(void)
{
    open_two(3, 3);
    tm_sim_end(sim, 2, TM_SIM_KILL);
    for (unsigned i = 0; i < 2; i++)
        spoil_record(i, 20);
    for (unsigned i = 0; i < 2; i++)
        tm_sim_end(sim, i, TM_SIM_POWER);
    for (unsigned i = 0; i < 2; i++)
        start_node(sim, i);
    CU_ASSERT_TRUE(nobody_leads_for(TM_SECONDS(10)));
    recover(0);
    tm_sim_run_for(sim, TM_SECONDS(5));
    CU_ASSERT_STRING_EQUAL(set(0, 18, "value"), "OK");
    start_all(sim);
    expect_in_service(19);
    close_good();
}

static bool leads_alone(unsigned node)
{
    return part(node, 0)->replica.role == TM_ROLE_LEADER && part(node, 0)->announced;
}

static bool somebody_leads_it(void *arg)
{
    (void)arg;
    return part(0, 0)->led_after_all;
}

/* The same, and it comes back in time: nothing was lost, so nothing is given up. */
static void a_leader_that_speaks_in_time_ends_the_recovery(void)
{
    open_two(3, 3);
    tm_sim_end(sim, 2, TM_SIM_KILL);
    for (unsigned i = 0; i < 2; i++)
        spoil_record(i, 20);
    for (unsigned i = 0; i < 2; i++)
        tm_sim_end(sim, i, TM_SIM_POWER);
    for (unsigned i = 0; i < 2; i++)
        start_node(sim, i);
    CU_ASSERT_TRUE(nobody_leads_for(TM_SECONDS(5)));
    tm_sim_isolate(sim, 0, true);
    start_node(sim, 2);
    CU_ASSERT_NOT_EQUAL(successor(NOBODY), 0);
    CU_ASSERT_STRING_EQUAL(ask(0, "TIDEMILL RECOVER 0"), "OK");
    tm_sim_disk_stall(tm_sim_disk_of(sim, 0), true);
    tm_sim_isolate(sim, 0, false);
    CU_ASSERT_TRUE(tm_sim_run_until(sim, somebody_leads_it, NULL, TM_SECONDS(5)));
    tm_sim_disk_stall(tm_sim_disk_of(sim, 0), false);
    expect_recovered(KEYS);
    restart_all();
    expect_recovered(KEYS);
    close_good();
}

/* Too late: there are two histories for a while, to which the oracle objects; the new one is the
 * one that goes on. */
static void a_leader_that_speaks_too_late_follows(void)
{
    open_two(3, 3);
    spoil_record(0, 20);
    tm_sim_end(sim, 0, TM_SIM_POWER);
    tm_sim_isolate(sim, 0, true);
    start_node(sim, 0);
    CU_ASSERT_NOT_EQUAL(successor(0), 0);
    tm_sim_run_for(sim, TM_SECONDS(1)); /* node 1 knows, too */
    CU_ASSERT_STRING_EQUAL(set_at(1, 0, 5, "other"), "OK");
    recover(0);
    tm_sim_run_for(sim, TM_SECONDS(5));
    CU_ASSERT_TRUE(leads_alone(0));
    tm_sim_isolate(sim, 0, false);
    expect_in_service(18);
    CU_ASSERT_PTR_NOT_NULL(strstr(tm_sim_wrong_text(sim), "(invariant 10)"));
    tm_sim_oracle_free(oracle);
    tm_sim_free(sim);
    fclose(lines);
}

static bool is_led(void)
{
    for (unsigned i = 0; i < 400; i++) {
        unsigned l = leader();
        if (l != NOBODY && part(l, 0)->announced)
            return true;
        tm_sim_run_for(sim, TM_MS(5));
    }
    return false;
}

/* Power goes at any moment after the operator's word: it has to be given again, or it counts. */
static void power_may_go_at_any_moment_of_a_recovery(void)
{
    unsigned again = 0;
    for (unsigned us = 0; us < 130000; us += us < 95000 ? 19000 : 700) {
        open_two(1, 1);
        spoil_everywhere(20, 22);
        restart_all();
        CU_ASSERT_TRUE(nobody_leads_for(TM_SECONDS(1)));
        tm_sim_oracle_give_up(oracle, 0);
        struct tm_sim_hand *h = tm_sim_hand_new(sim, 0, 0);
        tm_sim_hand_send(h, "TIDEMILL RECOVER 0");
        tm_sim_run_for(sim, TM_US(us));
        tm_sim_hand_free(h);
        restart_all();
        if (!is_led()) {
            again++;
            CU_ASSERT_STRING_EQUAL(ask(0, "TIDEMILL RECOVER 0"), "OK");
        }
        expect_in_service(18);
        close_good();
    }
    printf("  the word was given again after %u\n", again);
    CU_ASSERT(again > 3);
}

static const struct tm_test tests[] = {
    TM_TEST(an_only_copy_goes_on_at_an_operators_word),
    TM_TEST(three_copies_go_on_at_an_operators_word),
    TM_TEST(two_copies_go_on_at_an_operators_word),
    TM_TEST(a_lost_snapshot_of_an_only_copy_is_no_empty_partition),
    TM_TEST(a_copy_of_the_history_that_ended_is_overwritten),
    TM_TEST(a_leader_that_speaks_in_time_ends_the_recovery),
    TM_TEST(a_leader_that_speaks_too_late_follows),
    TM_TEST(power_may_go_at_any_moment_of_a_recovery),
};

TM_TEST_MAIN("sim/ruin", tests)
