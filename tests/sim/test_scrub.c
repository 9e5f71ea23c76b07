/* Rot at rest that nobody reads: it is found by the scrub and mended, while the cluster runs, in
 * whoever's log or snapshot it is. */
#include "actors/keeper.h"
#include "actors/shard_internal.h"
#include "runtime/counters.h"
#include "storage/log_internal.h"
#include "storage/snapshot_internal.h"
#include "tests/sim/sim_cluster.h"
#include "tests/sim/sim_hand.h"
#include "tests/test.h"

#define KEYS 60

static struct tm_sim *sim;
static struct tm_sim_config config;

static bool whole(void *arg)
{
    char why[512];
    (void)arg;
    return tm_sim_whole(sim, why, sizeof why) && tm_sim_converged(sim, why, sizeof why);
}

static void settle(void)
{
    CU_ASSERT_TRUE_FATAL(tm_sim_run_until(sim, whole, NULL, TM_SECONDS(60)));
}

static uint64_t counted(unsigned node, enum tm_counter counter)
{
    return tm_counter_get(tm_sim_counters(sim, node, 0), counter);
}

static const struct tm_partition *part(unsigned node)
{
    return tm_shard_partition(tm_sim_shard(sim, node, 0), 0);
}

static unsigned leader(void)
{
    for (unsigned i = 0; i < config.nodes; i++)
        if (part(i) != NULL && tm_replica_leads(&part(i)->replica))
            return i;
    CU_FAIL_FATAL("nobody leads");
    return 0;
}

static void ask(unsigned node, const char *line, const char *expected)
{
    struct tm_sim_hand *h = tm_sim_hand_new(sim, node, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(h);
    CU_ASSERT_STRING_EQUAL(tm_sim_hand_ask(h, line), expected);
    tm_sim_hand_free(h);
}

static void write_keys(void)
{
    char line[64];
    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(line, sizeof line, "SET k%u value%u", i, i);
        ask(0, line, "OK");
    }
}

/* A cluster of one partition with something in it, at rest. */
static void open_cluster(unsigned nodes, unsigned copies)
{
    uint64_t seed = tm_test_seed();
    fflush(stdout); /* an assertion of the product ends the process */
    tm_sim_config_default(&config, seed);
    config.nodes = nodes;
    config.copies = copies;
    config.partitions = 1;
    config.options.scrub_interval_ms = 500;
    config.options.scrub_rate = TM_MIB(16);
    sim = tm_sim_new(&config);
    for (unsigned i = 0; i < nodes; i++)
        CU_ASSERT_TRUE_FATAL(tm_sim_start(sim, i));
    settle();
    write_keys();
    settle();
}

static void close_cluster(void)
{
    char line[64], value[64];
    settle();
    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(line, sizeof line, "GET k%u", i);
        snprintf(value, sizeof value, "value%u", i);
        ask(config.nodes - 1, line, value);
    }
    CU_ASSERT_EQUAL(tm_sim_fatal(sim), 0);
    tm_sim_free(sim);
}

static void spoil_record(unsigned node, uint64_t index)
{
    char name[TM_WAL_NAME_MAX];
    const struct tm_log *log = part(node)->log;
    tm_wal_place place = tm_log_index_at(&log->index, index)->place;
    tm_wal_name_segment(name, "wal", 1, 0, tm_wal_place_segment(place));
    CU_ASSERT_TRUE_FATAL(
        tm_sim_disk_flip(tm_sim_disk_of(sim, node), name, tm_wal_place_offset(place) + 600, 3));
}

static bool found(void *arg)
{
    return counted(*(unsigned *)arg, TM_COUNTER_scrub_damaged) > 0;
}

static void rot_of(unsigned node)
{
    spoil_record(node, 20);
    CU_ASSERT_TRUE(tm_sim_run_until(sim, found, &node, TM_SECONDS(10)));
    settle();
    CU_ASSERT(counted(node, TM_COUNTER_records_repaired) > 0);
    CU_ASSERT_EQUAL(part(node)->replica.hs.health, TM_HEALTH_WHOLE);
    uint64_t damaged = counted(node, TM_COUNTER_scrub_damaged);
    uint64_t passes = counted(node, TM_COUNTER_scrub_passes);
    tm_sim_run_for(sim, TM_SECONDS(5));
    CU_ASSERT(counted(node, TM_COUNTER_scrub_passes) > passes);
    CU_ASSERT_EQUAL(counted(node, TM_COUNTER_scrub_damaged), damaged); /* it is mended */
}

static void rot_in_a_followers_log_is_found_and_repaired(void)
{
    open_cluster(3, 3);
    unsigned a = leader();
    rot_of((a + 1) % 3);
    CU_ASSERT_EQUAL(leader(), a);
    close_cluster();
}

/* Two records of the way back of a wiped node lie behind what is lost. */
static void rot_before_two_configurations_is_repaired(void)
{
    open_cluster(3, 3);
    unsigned a = leader(), wiped = (a + 1) % 3, other = (a + 2) % 3;
    tm_sim_end(sim, wiped, TM_SIM_POWER);
    tm_sim_wipe(sim, wiped);
    CU_ASSERT_TRUE_FATAL(tm_sim_start(sim, wiped));
    settle();
    CU_ASSERT_FATAL(part(other)->replica.previous.index > 20);
    struct tm_members before = part(other)->replica.members;
    rot_of(other);
    CU_ASSERT_EQUAL(memcmp(&before, &part(other)->replica.members, sizeof before), 0);
    close_cluster();
}

static void a_leader_with_rot_hands_over_and_is_repaired(void)
{
    open_cluster(3, 3);
    rot_of(leader());
    close_cluster();
}

/* [two copies rot one after the other, unread]  The same record, of both copies that there are: had
 * the first not been repaired from the second, it would be nowhere. */
static void what_rots_in_both_copies_one_after_the_other_is_not_lost(void)
{
    open_cluster(3, 2);
    unsigned repaired = 0;
    for (unsigned i = 0; i < 3; i++) {
        if (part(i)->witness)
            continue;
        CU_ASSERT_FATAL(tm_log_first(part(i)->log) <= 20); /* no snapshot has it */
        spoil_record(i, 20);
        tm_sim_run_for(sim, TM_SECONDS(10));
        repaired += counted(i, TM_COUNTER_records_repaired) > 0;
    }
    CU_ASSERT_EQUAL(repaired, 2);
    for (unsigned i = 0; i < 3; i++)
        tm_sim_end(sim, i, TM_SIM_POWER);
    for (unsigned i = 0; i < 3; i++)
        CU_ASSERT_TRUE_FATAL(tm_sim_start(sim, i));
    close_cluster();
}

static void the_only_copy_saves_itself_by_a_snapshot(void)
{
    unsigned node = 0;
    open_cluster(1, 1);
    spoil_record(0, 20);
    CU_ASSERT_TRUE(tm_sim_run_until(sim, found, &node, TM_SECONDS(10)));
    tm_sim_run_for(sim, TM_SECONDS(3));
    CU_ASSERT(tm_replica_leads(&part(0)->replica)); /* all the while */
    CU_ASSERT(counted(0, TM_COUNTER_snapshots_written) > 0);
    CU_ASSERT(tm_log_first(part(0)->log) > 20);
    tm_sim_end(sim, 0, TM_SIM_POWER);
    CU_ASSERT_TRUE_FATAL(tm_sim_start(sim, 0));
    close_cluster();
}

/* With one of three away the leader cannot be replaced. */
static void a_leader_that_is_needed_stays(void)
{
    open_cluster(3, 3);
    unsigned a = leader(), away = (a + 1) % 3;
    tm_sim_end(sim, away, TM_SIM_POWER);
    tm_sim_run_for(sim, TM_SECONDS(3));
    CU_ASSERT_EQUAL_FATAL(leader(), a);
    spoil_record(a, 20);
    CU_ASSERT_TRUE(tm_sim_run_until(sim, found, &a, TM_SECONDS(10)));
    tm_sim_run_for(sim, TM_SECONDS(3));
    CU_ASSERT_EQUAL(leader(), a);
    CU_ASSERT_EQUAL(part(a)->replica.hs.health, TM_HEALTH_WHOLE);
    CU_ASSERT(tm_log_first(part(a)->log) > 20);
    CU_ASSERT_TRUE_FATAL(tm_sim_start(sim, away));
    close_cluster();
}

static void a_rotten_snapshot_is_taken_anew(void)
{
    char name[TM_SNAP_NAME_MAX];
    struct tm_snapshot_info info;
    unsigned node = 1;
    open_cluster(3, 3);
    CU_ASSERT_TRUE(tm_sim_snapshot(sim, 1, 0));
    tm_sim_run_for(sim, TM_SECONDS(1));
    CU_ASSERT_TRUE_FATAL(tm_keeper_snapshot(tm_sim_shard(sim, 1, 0)->keeper, 0, false, &info));
    tm_snap_name_file(name, 0, info.walked_from, info.walked_to);
    uint64_t written = counted(1, TM_COUNTER_snapshots_written);
    CU_ASSERT_TRUE_FATAL(tm_sim_disk_flip(tm_sim_disk_of(sim, 1), name, TM_SNAP_PAGE + 200, 5));
    CU_ASSERT_TRUE(tm_sim_run_until(sim, found, &node, TM_SECONDS(10)));
    tm_sim_run_for(sim, TM_SECONDS(3));
    CU_ASSERT_EQUAL(counted(1, TM_COUNTER_snapshots_written), written + 1);
    CU_ASSERT_EQUAL(counted(1, TM_COUNTER_scrub_damaged), 1);
    tm_sim_end(sim, 1, TM_SIM_POWER);
    CU_ASSERT_TRUE_FATAL(tm_sim_start(sim, 1));
    settle();
    CU_ASSERT_EQUAL(counted(1, TM_COUNTER_snapshots_loaded), 1);
    close_cluster();
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
    open_cluster(1, 1);
    uint64_t slow = read_in(TM_KIB(64), 40), fast = read_in(TM_KIB(256), 40);
    CU_ASSERT(slow > 30 * TM_KIB(64) && slow <= 41 * TM_KIB(64));
    CU_ASSERT(fast > 2 * slow && fast <= 41 * TM_KIB(256));
    CU_ASSERT_EQUAL(read_in(0, 10), 0);
    close_cluster();
}

static const struct tm_test tests[] = {
    TM_TEST(rot_in_a_followers_log_is_found_and_repaired),
    TM_TEST(rot_before_two_configurations_is_repaired),
    TM_TEST(a_leader_with_rot_hands_over_and_is_repaired),
    TM_TEST(what_rots_in_both_copies_one_after_the_other_is_not_lost),
    TM_TEST(the_only_copy_saves_itself_by_a_snapshot),
    TM_TEST(a_leader_that_is_needed_stays),
    TM_TEST(a_rotten_snapshot_is_taken_anew),
    TM_TEST(so_much_is_read_as_the_option_says),
};

TM_TEST_MAIN("sim/scrub", tests)
