/* Rot at rest that nobody reads: it is found by the scrub and mended, while the cluster runs, in
 * whoever's log or snapshot it is. */
#include "tests/sim/hand_world.h"

#define KEYS 60

static bool at_rest(void *arg)
{
    return whole(arg) && converged(arg);
}

/* A cluster of one partition with something in it, at rest. */
static void open_filled(unsigned nodes, unsigned copies)
{
    char line[64];
    fflush(stdout); /* an assertion of the product ends the process */
    prepare();
    config.nodes = nodes;
    config.copies = copies;
    config.options.scrub_interval_ms = 500;
    config.options.scrub_rate = TM_MIB(16);
    open_cluster();
    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(line, sizeof line, "SET k%u value%u", i, i);
        CU_ASSERT_STRING_EQUAL(ask(0, line), "OK");
    }
    settle(at_rest);
}

/* All is at rest again, and there. */
static void close_filled(void)
{
    char line[64], value[64];
    settle(at_rest);
    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(line, sizeof line, "GET k%u", i);
        snprintf(value, sizeof value, "value%u", i);
        CU_ASSERT_STRING_EQUAL(ask(config.nodes - 1, line), value);
    }
    CU_ASSERT_EQUAL(tm_sim_fatal(sim), 0);
    close_cluster();
}

/* Who leads, and its term is what it was, led all the while. */
static uint64_t term_of(unsigned node)
{
    return part(node, 0)->replica.hs.term;
}

static bool found(void *arg)
{
    return counted(*(unsigned *)arg, TM_COUNTER_scrub_damaged) > 0;
}

static void rot_of(unsigned node)
{
    spoil_record(node, 20);
    CU_ASSERT_TRUE(tm_sim_run_until(sim, found, &node, TM_SECONDS(10)));
    settle(at_rest);
    CU_ASSERT(counted(node, TM_COUNTER_records_repaired) > 0);
    CU_ASSERT_EQUAL(part(node, 0)->replica.hs.health, TM_HEALTH_WHOLE);
    uint64_t damaged = counted(node, TM_COUNTER_scrub_damaged);
    uint64_t passes = counted(node, TM_COUNTER_scrub_passes);
    tm_sim_run_for(sim, TM_SECONDS(5));
    CU_ASSERT(counted(node, TM_COUNTER_scrub_passes) > passes);
    CU_ASSERT_EQUAL(counted(node, TM_COUNTER_scrub_damaged), damaged); /* it is mended */
}

static void rot_in_a_followers_log_is_found_and_repaired(void)
{
    open_filled(3, 3);
    unsigned a = leader();
    uint64_t term = term_of(a);
    rot_of((a + 1) % 3);
    CU_ASSERT(leader() == a && term_of(a) == term);
    close_filled();
}

/* Two records of the way back of a wiped node lie behind what is lost. */
static void rot_before_two_configurations_is_repaired(void)
{
    open_filled(3, 3);
    unsigned a = leader(), wiped = (a + 1) % 3, other = (a + 2) % 3;
    tm_sim_end(sim, wiped, TM_SIM_POWER);
    tm_sim_wipe(sim, wiped);
    CU_ASSERT_TRUE_FATAL(tm_sim_start(sim, wiped));
    settle(at_rest);
    CU_ASSERT_FATAL(part(other, 0)->replica.previous.index > 20);
    struct tm_members before = part(other, 0)->replica.members;
    rot_of(other);
    CU_ASSERT_EQUAL(memcmp(&before, &part(other, 0)->replica.members, sizeof before), 0);
    close_filled();
}

static void a_leader_with_rot_hands_over_and_is_repaired(void)
{
    open_filled(3, 3);
    unsigned a = leader();
    uint64_t term = term_of(a);
    rot_of(a);
    CU_ASSERT(term_of(a) > term); /* another led meanwhile */
    close_filled();
}

/* [two copies rot one after the other, unread]  The same record, of both copies that there are: had
 * the first not been repaired from the second, it would be nowhere. */
static void what_rots_in_both_copies_one_after_the_other_is_not_lost(void)
{
    open_filled(3, 2);
    unsigned repaired = 0;
    for (unsigned i = 0; i < 3; i++) {
        if (part(i, 0)->witness)
            continue;
        CU_ASSERT_FATAL(tm_log_first(part(i, 0)->log) <= 20); /* no snapshot has it */
        spoil_record(i, 20);
        tm_sim_run_for(sim, TM_SECONDS(10));
        repaired += counted(i, TM_COUNTER_records_repaired) > 0;
    }
    CU_ASSERT_EQUAL(repaired, 2);
    for (unsigned i = 0; i < 3; i++)
        tm_sim_end(sim, i, TM_SIM_POWER);
    for (unsigned i = 0; i < 3; i++)
        CU_ASSERT_TRUE_FATAL(tm_sim_start(sim, i));
    close_filled();
}

static void the_only_copy_saves_itself_by_a_snapshot(void)
{
    unsigned node = 0;
    open_filled(1, 1);
    uint64_t term = term_of(0);
    spoil_record(0, 20);
    CU_ASSERT_TRUE(tm_sim_run_until(sim, found, &node, TM_SECONDS(10)));
    tm_sim_run_for(sim, TM_SECONDS(3));
    CU_ASSERT(tm_replica_leads(&part(0, 0)->replica) && term_of(0) == term);
    CU_ASSERT(counted(0, TM_COUNTER_snapshots_written) > 0);
    CU_ASSERT(tm_log_first(part(0, 0)->log) > 20);
    tm_sim_end(sim, 0, TM_SIM_POWER);
    CU_ASSERT_TRUE_FATAL(tm_sim_start(sim, 0));
    close_filled();
}

/* With one of three away the leader cannot be replaced. */
static void a_leader_that_is_needed_stays(void)
{
    open_filled(3, 3);
    unsigned a = leader(), away = (a + 1) % 3;
    tm_sim_end(sim, away, TM_SIM_POWER);
    tm_sim_run_for(sim, TM_SECONDS(3));
    CU_ASSERT_EQUAL_FATAL(leader(), a);
    uint64_t term = term_of(a);
    spoil_record(a, 20);
    CU_ASSERT_TRUE(tm_sim_run_until(sim, found, &a, TM_SECONDS(10)));
    tm_sim_run_for(sim, TM_SECONDS(3));
    CU_ASSERT(leader() == a && term_of(a) == term);
    CU_ASSERT_EQUAL(part(a, 0)->replica.hs.health, TM_HEALTH_WHOLE);
    CU_ASSERT(tm_log_first(part(a, 0)->log) > 20);
    CU_ASSERT_TRUE_FATAL(tm_sim_start(sim, away));
    close_filled();
}

static void a_rotten_snapshot_is_taken_anew(void)
{
    unsigned node = 1;
    open_filled(3, 3);
    CU_ASSERT_TRUE(tm_sim_snapshot(sim, 1, 0));
    tm_sim_run_for(sim, TM_SECONDS(1));
    uint64_t written = counted(1, TM_COUNTER_snapshots_written);
    spoil_snapshot(1);
    CU_ASSERT_TRUE(tm_sim_run_until(sim, found, &node, TM_SECONDS(10)));
    tm_sim_run_for(sim, TM_SECONDS(3));
    CU_ASSERT_EQUAL(counted(1, TM_COUNTER_snapshots_written), written + 1);
    CU_ASSERT_EQUAL(counted(1, TM_COUNTER_scrub_damaged), 1);
    tm_sim_end(sim, 1, TM_SIM_POWER);
    CU_ASSERT_TRUE_FATAL(tm_sim_start(sim, 1));
    settle(at_rest);
    CU_ASSERT_EQUAL(counted(1, TM_COUNTER_snapshots_loaded), 1);
    close_filled();
}

/* Behind its first chunk, which is whole. */
static void rot_further_on_in_a_snapshot_is_found(void)
{
    static char line[TM_KIB(60) + 32];
    unsigned node = 1;
    open_filled(3, 3);
    for (unsigned i = 0; i < 12; i++) {
        int n = snprintf(line, sizeof line, "SET long%u ", i);
        memset(line + n, 'x', TM_KIB(60));
        line[n + (int)TM_KIB(60)] = '\0';
        CU_ASSERT_STRING_EQUAL(ask(0, line), "OK");
    }
    settle(at_rest);
    CU_ASSERT_TRUE(tm_sim_snapshot(sim, 1, 0));
    tm_sim_run_for(sim, TM_SECONDS(1));
    uint64_t written = counted(1, TM_COUNTER_snapshots_written);
    spoil_snapshot_at(1, 2 * TM_SNAPSHOT_CHUNK_BYTES);
    CU_ASSERT_TRUE(tm_sim_run_until(sim, found, &node, TM_SECONDS(10)));
    tm_sim_run_for(sim, TM_SECONDS(3));
    CU_ASSERT_EQUAL(counted(1, TM_COUNTER_snapshots_written), written + 1);
    CU_ASSERT_EQUAL(counted(1, TM_COUNTER_scrub_damaged), 1);
    close_filled();
}

static uint64_t read_in(uint64_t rate, uint64_t seconds)
{
    CU_ASSERT_EQUAL(counted(0, TM_COUNTER_scrub_damaged), 0);
    config.options.scrub_rate = rate;
    tm_shard_options(tm_sim_shard(sim, 0, 0), &config.options);
    tm_sim_run_for(sim, TM_SECONDS(2));
    uint64_t before = counted(0, TM_COUNTER_scrub_bytes);
    tm_sim_run_for(sim, TM_SECONDS(seconds));
    return counted(0, TM_COUNTER_scrub_bytes) - before;
}

static void so_much_is_read_as_the_option_says(void)
{
    open_filled(1, 1);
    uint64_t slow = read_in(TM_KIB(64), 40), fast = read_in(TM_KIB(256), 40);
    CU_ASSERT(slow > 30 * TM_KIB(64) && slow <= 41 * TM_KIB(64));
    CU_ASSERT(fast > 2 * slow && fast <= 41 * TM_KIB(256));
    CU_ASSERT_EQUAL(read_in(0, 10), 0);
    close_filled();
}

static const struct tm_test tests[] = {
    TM_TEST(rot_in_a_followers_log_is_found_and_repaired),
    TM_TEST(rot_before_two_configurations_is_repaired),
    TM_TEST(a_leader_with_rot_hands_over_and_is_repaired),
    TM_TEST(what_rots_in_both_copies_one_after_the_other_is_not_lost),
    TM_TEST(the_only_copy_saves_itself_by_a_snapshot),
    TM_TEST(a_leader_that_is_needed_stays),
    TM_TEST(a_rotten_snapshot_is_taken_anew),
    TM_TEST(rot_further_on_in_a_snapshot_is_found),
    TM_TEST(so_much_is_read_as_the_option_says),
};

TM_TEST_MAIN("sim/scrub", tests)
