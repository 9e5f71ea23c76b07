/* Rot in several copies of one partition at a time, found when all start anew: as long as one good
 * copy of each record is left they mend each other, though none of them may lead before it has;
 * what no copy has any more is never served, and said. */
#include "tests/sim/hand_world.h"

#define KEYS 60

static bool at_rest(void *arg)
{
    return whole(arg) && converged(arg);
}

/* A cluster of one partition with something in it, at rest; nothing looks for rot. */
static void open_filled_as(unsigned nodes, unsigned copies, bool eventual)
{
    char line[64];
    fflush(stdout); /* an assertion of the product ends the process */
    prepare();
    config.nodes = nodes;
    config.copies = copies;
    config.eventual = eventual;
    config.options.scrub_rate = 0;
    open_cluster();
    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(line, sizeof line, "SET k%u value%u", i, i);
        CU_ASSERT_STRING_EQUAL(ask(0, line), "OK");
    }
    settle(at_rest);
}

static void open_filled(unsigned nodes, unsigned copies)
{
    open_filled_as(nodes, copies, false);
}

static void restart_all(void)
{
    for (unsigned i = 0; i < config.nodes; i++)
        tm_sim_end(sim, i, TM_SIM_POWER);
    start_all(sim);
    tm_sim_run_for(sim, TM_MS(1)); /* before anybody asks */
}

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

/* Of each copy some records, of no two the same. */
static void spoil_apart(void)
{
    for (unsigned i = 0; i < config.nodes; i++) {
        if (part(i, 0)->witness)
            continue;
        CU_ASSERT_FATAL(tm_log_first(part(i, 0)->log) <= 5); /* no snapshot has it */
        for (unsigned k = 0; k < 3; k++)
            spoil_record(i, 5 + 3 * i + 15 * k);
    }
}

static void copies_mend_each_other(unsigned nodes, unsigned copies)
{
    unsigned holed = 0;
    open_filled(nodes, copies);
    spoil_apart();
    restart_all();
    for (unsigned i = 0; i < nodes; i++)
        holed += part(i, 0)->replica.hs.health == TM_HEALTH_HOLED;
    CU_ASSERT_EQUAL(holed, copies); /* so none of them could be elected */
    settle(at_rest);
    for (unsigned i = 0; i < nodes; i++)
        CU_ASSERT(part(i, 0)->witness || counted(i, TM_COUNTER_records_repaired) >= 3);
    restart_all(); /* what was mended is durable */
    for (unsigned i = 0; i < nodes; i++)
        CU_ASSERT_EQUAL(part(i, 0)->replica.hs.health, TM_HEALTH_WHOLE);
    close_filled();
}

static void three_copies_with_holes_mend_each_other(void)
{
    copies_mend_each_other(3, 3);
}

static void two_copies_with_holes_mend_each_other(void)
{
    copies_mend_each_other(3, 2);
    copies_mend_each_other(2, 2);
}

/* The record rots on the two others, which end; c gives up what its snapshot holds, of all but the
 * newest records. */
static void leave_snapshot_only(unsigned c, uint64_t rotten, unsigned newer)
{
    struct tm_snapshot_info info;
    CU_ASSERT_TRUE_FATAL(tm_sim_snapshot(sim, c, 0));
    tm_sim_run_for(sim, TM_SECONDS(1));
    CU_ASSERT_TRUE_FATAL(tm_keeper_snapshot(tm_sim_shard(sim, c, 0)->keeper, 0, false, &info));
    CU_ASSERT_EQUAL_FATAL(info.walked_from, tm_log_last(part(c, 0)->log));
    for (unsigned i = 0; i < newer; i++)
        CU_ASSERT_STRING_EQUAL(ask(c, "SET newer 1"), "OK");
    settle(at_rest);
    for (unsigned i = 0; i < 3; i++) {
        if (i == c)
            continue;
        spoil_record(i, rotten);
        tm_sim_end(sim, i, TM_SIM_POWER);
    }
    tm_log_compact(part(c, 0)->log, info.walked_from);
}

/* Starts them; until all is well none of them loses its vote. */
static void start_others_and_settle(unsigned c)
{
    for (unsigned i = 0; i < 3; i++)
        if (i != c)
            CU_ASSERT_TRUE_FATAL(tm_sim_start(sim, i));
    tm_sim_run_for(sim, TM_MS(1));
    uint64_t end = tm_sim_now(sim) + TM_SECONDS(30);
    for (bool first = true; !at_rest(sim) && tm_sim_now(sim) < end; first = false) {
        for (unsigned i = 0; i < 3; i++) {
            enum tm_health health = part(i, 0)->replica.hs.health;
            CU_ASSERT(health != TM_HEALTH_FAULTY);
            CU_ASSERT(!first || i == c || health == TM_HEALTH_HOLED);
        }
        tm_sim_run_for(sim, TM_US(100));
    }
}

/* Two copies lost the same record, so none of them can lead; the third has it in a snapshot, not in
 * its log any more. */
static void what_only_a_snapshot_has_comes_back(uint64_t from_end, unsigned newer)
{
    open_filled(3, 3);
    unsigned c = leader();
    leave_snapshot_only(c, tm_log_last(part(c, 0)->log) - from_end, newer);
    start_others_and_settle(c);
    close_filled();
}

static void a_record_that_only_a_snapshot_has_comes_back(void)
{
    what_only_a_snapshot_has_comes_back(7, 0);
}

/* With it the term is missing that votes are given by. */
static void the_last_record_comes_back_from_a_snapshot(void)
{
    what_only_a_snapshot_has_comes_back(0, 0);
}

/* What follows the snapshot's last record is not given up for it. */
static void what_lies_behind_the_hole_stays(void)
{
    what_only_a_snapshot_has_comes_back(7, 5);
}

static bool went_on_alone(void *arg)
{
    const struct tm_partition *p = part(*(const unsigned *)arg, 0);
    return p->replica.role == TM_ROLE_LEADER && p->replica.hs.insync.count == 1 &&
           p->replica.hs.insync.confirmed;
}

static unsigned alone, lagging; /* of two copies: the one that goes on, and the other */

/* The other is heard no more, at once or as soon as it has a record of which it does not know that
 * it is committed. */
static uint64_t leave_alone(bool uncertain)
{
    struct tm_snapshot_info info;
    alone = leader();
    lagging = other_than(alone, alone);
    if (part(lagging, 0)->witness)
        lagging = other_than(alone, lagging);
    struct tm_sim_hand *h = tm_sim_hand_new(sim, alone, 0);
    uint64_t last = tm_log_last(part(lagging, 0)->log);
    if (uncertain)
        tm_sim_hand_send(h, "SET k0 value0");
    while (uncertain && tm_log_last(part(lagging, 0)->log) == last)
        tm_sim_run_for(sim, TM_US(10));
    tm_sim_isolate(sim, lagging, true);
    tm_sim_hand_free(h);
    CU_ASSERT_TRUE_FATAL(tm_sim_snapshot(sim, lagging, 0));
    tm_sim_run_for(sim, TM_SECONDS(1));
    const struct tm_keeper *keeper = tm_sim_shard(sim, lagging, 0)->keeper;
    CU_ASSERT_TRUE_FATAL(tm_keeper_snapshot(keeper, 0, false, &info));
    CU_ASSERT_EQUAL(info.walked_from + uncertain, tm_log_last(part(lagging, 0)->log));
    CU_ASSERT_TRUE_FATAL(tm_sim_run_until(sim, went_on_alone, &alone, TM_SECONDS(30)));
    tm_log_compact(part(lagging, 0)->log, info.walked_from);
    return info.walked_from;
}

/* Of two copies one goes on alone, with the witness, and what it had before rots: the records from
 * `before` the end of the other's snapshot to `behind` it.  The other has them there, not in its
 * log any more; it is not in sync, and cannot be elected. */
static void one_alone_gets_back(uint64_t before, uint64_t behind, bool eventual)
{
    open_filled_as(3, 2, eventual);
    uint64_t end = leave_alone(behind > 0);
    for (unsigned i = 0; i < 5; i++)
        CU_ASSERT_STRING_EQUAL(ask(alone, "SET newer 1"), "OK");
    tm_sim_run_for(sim, TM_MS(200)); /* idle: it is written down where the log ends */
    for (uint64_t i = end - before; i <= end + behind; i++)
        spoil_record(alone, i);
    tm_sim_end(sim, alone, TM_SIM_POWER);
    CU_ASSERT_TRUE_FATAL(tm_sim_start(sim, alone));
    tm_sim_run_for(sim, TM_MS(1));
    CU_ASSERT_EQUAL(part(alone, 0)->replica.hs.health, TM_HEALTH_HOLED);
    tm_sim_isolate(sim, lagging, false);
    settle(at_rest);
    CU_ASSERT_EQUAL(counted(alone, TM_COUNTER_async_cut), 0); /* all it had it has still */
    CU_ASSERT_EQUAL(counted(alone, TM_COUNTER_async_dropped), 0);
    close_filled();
}

static void one_copy_alone_gets_what_only_a_snapshot_has(void)
{
    one_alone_gets_back(7, 0, false);
    one_alone_gets_back(7, 0, true);
}

/* What misses has another end than what has: the hole is filled from behind first. */
static void one_copy_alone_gets_what_ends_in_a_log(void)
{
    one_alone_gets_back(1, 1, false);
    one_alone_gets_back(0, 1, true);
}

/* The first moment at which the copy's log begins behind that record. */
static void run_until_it_begins_behind(uint64_t index)
{
    for (uint64_t end = tm_sim_now(sim) + TM_SECONDS(30); tm_sim_now(sim) < end;) {
        const struct tm_partition *p = part(lagging, 0);
        if (p != NULL && tm_log_first(p->log) > index)
            return;
        tm_sim_run_for(sim, TM_US(1));
    }
    CU_FAIL_FATAL("no snapshot was installed");
}

/* One copy was away for so long that it gets a snapshot.  The power fails when it has installed and
 * acknowledged that, before its log says so: what the log ends with is from before.  Where the
 * snapshot ended. */
static uint64_t install_a_snapshot(uint64_t hole)
{
    struct tm_snapshot_info info;
    lagging = other_than(leader(), leader());
    uint64_t last = tm_log_last(part(lagging, 0)->log);
    if (hole != 0)
        spoil_record(lagging, hole);
    tm_sim_end(sim, lagging, TM_SIM_POWER);
    for (unsigned i = 0; i < 20; i++)
        CU_ASSERT_STRING_EQUAL(ask(leader(), "SET newer 1"), "OK");
    tm_sim_run_for(sim, TM_SECONDS(1));
    for (unsigned i = 0; i < 3; i++) {
        if (i == lagging)
            continue;
        CU_ASSERT_TRUE_FATAL(tm_sim_snapshot(sim, i, 0));
        tm_sim_run_for(sim, TM_SECONDS(1));
        const struct tm_keeper *keeper = tm_sim_shard(sim, i, 0)->keeper;
        CU_ASSERT_TRUE_FATAL(tm_keeper_snapshot(keeper, 0, false, &info));
        tm_log_compact(part(i, 0)->log, info.walked_from);
    }
    CU_ASSERT_TRUE_FATAL(tm_sim_start(sim, lagging));
    run_until_it_begins_behind(last);
    CU_ASSERT_FATAL(tm_log_first(part(lagging, 0)->log) > last + 19);
    return tm_log_first(part(lagging, 0)->log) - 1;
}

/* Its name tells how far it went, and if its head is good that tells of which record.  `starts`
 * follow each other before anything else is durable. */
static void an_end_that_was_in_a_snapshot(uint64_t spoilt_at, uint64_t hole, unsigned starts)
{
    open_filled(3, 3);
    uint64_t end = install_a_snapshot(hole);
    spoil_snapshot_at(lagging, spoilt_at);
    tm_sim_end(sim, lagging, TM_SIM_POWER_NONE_KEPT);
    for (unsigned i = 0; i < starts; i++) {
        CU_ASSERT_TRUE_FATAL(tm_sim_start(sim, lagging));
        tm_sim_run_for(sim, TM_US(20)); /* opened: nothing is durable */
        const struct tm_partition *p = part(lagging, 0);
        CU_ASSERT_EQUAL(tm_log_last(p->log), end);
        CU_ASSERT(p->replica.last.index < end - 19);
        CU_ASSERT_EQUAL(p->replica.hs.health,
                        spoilt_at < TM_SNAP_PAGE ? TM_HEALTH_FAULTY : TM_HEALTH_HOLED);
        if (i + 1 < starts)
            tm_sim_end(sim, lagging, TM_SIM_POWER_NONE_KEPT);
    }
    close_filled();
}

/* A copy never takes for its end what lies before what it has acknowledged. */
static void what_a_snapshot_held_is_known_to_be_missing(void)
{
    an_end_that_was_in_a_snapshot(TM_SNAP_PAGE + 200, 0, 1);
    an_end_that_was_in_a_snapshot(TM_SNAP_PAGE + 200, 0, 3);
    an_end_that_was_in_a_snapshot(TM_SNAP_PAGE + 200, 5, 2);
}

static void what_ended_with_an_unknown_record_is_missed_too(void)
{
    an_end_that_was_in_a_snapshot(100, 0, 1);
    an_end_that_was_in_a_snapshot(100, 0, 3);
    an_end_that_was_in_a_snapshot(100, 5, 2);
}

/* Two changes of the members follow what is committed: what they were before is not known, and a
 * snapshot that named them as of the first would be taken by nobody. */
static void a_snapshot_waits_until_the_members_as_of_its_end_are_known(void)
{
    open_filled(3, 3);
    struct tm_replica *r = (struct tm_replica *)(uintptr_t)&part(leader(), 0)->replica;
    const struct tm_members members = r->members, previous = r->previous;
    r->previous = r->members;
    r->previous.index = r->last.index + 1;
    r->members.index = r->last.index + 2;
    CU_ASSERT_FALSE(tm_sim_snapshot(sim, leader(), 0));
    r->previous.index = r->last.index; /* as of the last that is committed */
    CU_ASSERT_TRUE(tm_sim_snapshot(sim, leader(), 0));
    r->members = members;
    r->previous = previous;
    close_filled();
}

/* Found while they run: no leader has to step down for good. */
static void copies_that_scrub_mend_each_other(void)
{
    open_filled(3, 3);
    spoil_apart();
    config.options.scrub_interval_ms = 500;
    config.options.scrub_rate = TM_MIB(16);
    for (unsigned i = 0; i < 3; i++)
        tm_shard_options(tm_sim_shard(sim, i, 0), &config.options);
    tm_sim_run_for(sim, TM_SECONDS(5));
    settle(at_rest);
    for (unsigned i = 0; i < 3; i++)
        CU_ASSERT(counted(i, TM_COUNTER_scrub_damaged) > 0);
    restart_all();
    close_filled();
}

/* Whoever mended it.  Scrubbing reads, so the disk stands still only once the rot was found. */
static void what_is_brought_back_counts_when_it_is_durable(void)
{
    open_filled(3, 3);
    unsigned node = other_than(leader(), leader());
    spoil_record(node, 5);
    config.options.scrub_interval_ms = 500;
    config.options.scrub_rate = TM_MIB(16);
    tm_shard_options(tm_sim_shard(sim, node, 0), &config.options);
    const struct tm_partition *p = part(node, 0);
    for (unsigned i = 0; i < 50000 && p->replica.hs.health == TM_HEALTH_WHOLE; i++)
        tm_sim_run_for(sim, TM_US(20));
    CU_ASSERT_EQUAL_FATAL(p->replica.hs.health, TM_HEALTH_HOLED);
    tm_sim_disk_stall(tm_sim_disk_of(sim, node), true);
    tm_sim_run_for(sim, TM_MS(400));
    CU_ASSERT(counted(node, TM_COUNTER_records_repaired) > 0);
    CU_ASSERT_EQUAL(p->replica.hs.health, TM_HEALTH_HOLED);
    tm_sim_disk_stall(tm_sim_disk_of(sim, node), false);
    close_filled();
}

/* Its reader is told nothing, and the node says which partition waits. */
static void what_no_copy_has_is_never_served(unsigned nodes, unsigned copies)
{
    char answer[64];
    open_filled(nodes, copies);
    for (unsigned i = 0; i < nodes; i++)
        if (!part(i, 0)->witness)
            spoil_record(i, 20);
    restart_all();
    CU_ASSERT_TRUE(nobody_leads_for(TM_SECONDS(20)));
    snprintf(answer, sizeof answer, "%.60s", ask(0, "GET k3"));
    CU_ASSERT(strncmp(answer, "value", 5) != 0 && strcmp(answer, "(nil)") != 0);
    for (unsigned i = 0; i < nodes; i++)
        CU_ASSERT(part(i, 0)->witness || part(i, 0)->replica.hs.health == TM_HEALTH_HOLED);
    CU_ASSERT_EQUAL(tm_sim_wrongs(sim), 0);
    tm_sim_oracle_free(oracle);
    tm_sim_free(sim);
}

static void what_three_copies_lost_is_never_served(void)
{
    what_no_copy_has_is_never_served(3, 3);
}

static void what_two_copies_lost_is_never_served(void)
{
    what_no_copy_has_is_never_served(3, 2);
}

static void what_the_only_copy_lost_is_never_served(void)
{
    what_no_copy_has_is_never_served(1, 1);
}

static const struct tm_test tests[] = {
    TM_TEST(three_copies_with_holes_mend_each_other),
    TM_TEST(two_copies_with_holes_mend_each_other),
    TM_TEST(a_record_that_only_a_snapshot_has_comes_back),
    TM_TEST(the_last_record_comes_back_from_a_snapshot),
    TM_TEST(what_lies_behind_the_hole_stays),
    TM_TEST(one_copy_alone_gets_what_only_a_snapshot_has),
    TM_TEST(one_copy_alone_gets_what_ends_in_a_log),
    TM_TEST(what_a_snapshot_held_is_known_to_be_missing),
    TM_TEST(what_ended_with_an_unknown_record_is_missed_too),
    TM_TEST(a_snapshot_waits_until_the_members_as_of_its_end_are_known),
    TM_TEST(copies_that_scrub_mend_each_other),
    TM_TEST(what_is_brought_back_counts_when_it_is_durable),
    TM_TEST(what_three_copies_lost_is_never_served),
    TM_TEST(what_two_copies_lost_is_never_served),
    TM_TEST(what_the_only_copy_lost_is_never_served),
};

TM_TEST_MAIN("sim/repair", tests)
