/* The histories of docs/PROTOCOL.md that logs, disks and snapshots play in. */
#include "tests/sim/hand_world.h"

#include <errno.h>

/* ---- log and disk ---- */

/* Clients that write without a pause until they are told to end. */
#define WRITERS 4
struct writer {
    struct tm_sim_hand *hand;
    unsigned sent;
};

static void write_on(struct writer *w, unsigned number)
{
    char line[64];
    for (; w->hand != NULL && w->sent < tm_sim_hand_answers(w->hand) + 4; w->sent++) {
        snprintf(line, sizeof line, "INCR w%u", number);
        tm_sim_hand_send(w->hand, line);
    }
}

static bool all_disks_are_busy(void)
{
    bool busy = true;
    for (unsigned i = 0; i < config.nodes; i++)
        busy &= tm_sim_disk_under_way(tm_sim_disk_of(sim, i)) > 0;
    return busy;
}

/* All power goes while each node writes; afterwards each writer's counter is at least what it
 * was told. */
static void power_goes_while_writing(uint64_t after)
{
    struct writer writers[WRITERS] = {{NULL}};
    int told[WRITERS];
    char line[32];
    for (unsigned i = 0; i < WRITERS; i++)
        writers[i].hand = tm_sim_hand_new(sim, i % config.nodes, 0);
    for (uint64_t end = tm_sim_now(sim) + after; tm_sim_now(sim) < end || !all_disks_are_busy();) {
        for (unsigned i = 0; i < WRITERS; i++)
            write_on(&writers[i], i);
        tm_sim_run_for(sim, TM_US(50));
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        told[i] = atoi(tm_sim_hand_text(writers[i].hand));
        tm_sim_hand_free(writers[i].hand);
    }
    for (unsigned i = 0; i < config.nodes; i++)
        tm_sim_end(sim, i, TM_SIM_POWER);
    for (unsigned i = 0; i < config.nodes; i++)
        restart(i);
    settle(whole);
    for (unsigned i = 0; i < WRITERS; i++) {
        snprintf(line, sizeof line, "GET w%u", i);
        CU_ASSERT(atoi(ask(0, line)) >= told[i]);
    }
}

/* [13 is on disk, 11 is not]  One copy, whose disk keeps a block to itself while a later one is
 * done: none of the two is acknowledged, and after a loss of power the log ends before the hole. */
static void blocks_that_finish_out_of_order_count_in_order(void)
{
    char line[32], value[16];
    prepare();
    config.nodes = config.copies = 1;
    open_cluster();
    for (unsigned round = 0; round < 8; round++) {
        struct tm_sim_disk *disk = tm_sim_disk_of(sim, 0);
        snprintf(value, sizeof value, "%u", round);
        snprintf(line, sizeof line, "SET k %u", round);
        CU_ASSERT_STRING_EQUAL(ask(0, line), "OK");
        struct tm_sim_hand *eleven = tm_sim_hand_new(sim, 0, 0);
        struct tm_sim_hand *thirteen = tm_sim_hand_new(sim, 0, 0);
        tm_sim_disk_hold(disk, ".seg");
        tm_sim_hand_send(eleven, "SET k held");
        tm_sim_run_for(sim, TM_MS(2));
        CU_ASSERT_EQUAL(tm_sim_disk_overtaken(disk), 0);
        tm_sim_hand_send(thirteen, "SET later done");
        tm_sim_run_for(sim, TM_MS(10));
        CU_ASSERT(tm_sim_disk_overtaken(disk) > 0); /* there is a hole */
        CU_ASSERT_EQUAL(tm_sim_hand_answers(eleven) + tm_sim_hand_answers(thirteen), 0);
        tm_sim_hand_free(eleven);
        tm_sim_hand_free(thirteen);
        tm_sim_end(sim, 0, TM_SIM_POWER_NONE_KEPT);
        restart(0);
        settle(whole);
        CU_ASSERT_EQUAL(counted(0, TM_COUNTER_wal_torn_tails), round + 1);
        CU_ASSERT_STRING_EQUAL(ask(0, "GET k"), value);
        CU_ASSERT_STRING_EQUAL(ask(0, "GET later"), "(nil)");
    }
    close_cluster();
}

/* [power loss tears every replica's tail at once]  All are cut off in the middle of a write, until
 * all tails were torn by one loss of power: torn tails are known for what they are, and nobody
 * waits for anybody's denial. */
static void a_power_loss_of_all_tears_tails_and_loses_nothing(void)
{
    unsigned at_once = 0, rounds = 0;
    uint64_t before[3] = {0};
    prepare();
    config.disk_min_ns = TM_US(100);
    config.disk_max_ns = TM_MS(2);
    open_cluster();
    for (; (at_once == 0 || rounds < 12) && rounds < 1000; rounds++) {
        unsigned torn = 0;
        power_goes_while_writing(TM_MS(5) + tm_sim_draw(sim, TM_MS(30)));
        for (unsigned i = 0; i < 3; i++) {
            uint64_t tails = counted(i, TM_COUNTER_wal_torn_tails);
            torn += tails > before[i];
            before[i] = tails;
        }
        at_once += torn == 3;
    }
    CU_ASSERT(at_once > 0);
    close_cluster();
}

/* A copy cuts off what it led alone; its disk stalls, so that the cut is under way when power goes.
 * Afterwards the cut has happened or has not, whatever the disk kept of it: both are right. */
static void a_cut_under_way_when_power_goes_happens_or_does_not(void)
{
    unsigned happened = 0, rounds = 0;
    prepare();
    open_cluster();
    for (; (happened < 3 || rounds < 12) && rounds < 400; rounds++) {
        unsigned a = leader();
        tm_sim_isolate(sim, a, true);
        struct tm_sim_hand *h = tm_sim_hand_new(sim, a, 0);
        tm_sim_hand_send(h, "SET k alone");
        tm_sim_run_for(sim, TM_MS(20)); /* on its own disk */
        struct tm_tail had = part(a, 0)->replica.last;
        (void)successor(a);
        tm_sim_disk_stall(tm_sim_disk_of(sim, a), true);
        tm_sim_isolate(sim, a, false);
        tm_sim_run_for(sim, TM_MS(300));
        tm_sim_end(sim, a, TM_SIM_POWER);
        tm_sim_hand_free(h);
        tm_sim_isolate(sim, a, true);
        restart(a);
        tm_sim_run_for(sim, TM_MS(10)); /* it opens its log */
        CU_ASSERT_PTR_NOT_NULL_FATAL(part(a, 0));
        uint64_t hash = 0;
        happened += !tm_log_hash_at(part(a, 0)->log, had.index, &hash) || hash != had.hash;
        tm_sim_isolate(sim, a, false);
        settle(whole);
    }
    CU_ASSERT(happened >= 3 && happened < rounds);
    close_cluster();
}

/* A write or flush fails once: the node says so and ends, what it was told to write is not asked
 * for again, and the others have all that was acknowledged. */
static void fails_once(enum tm_wal_sync sync, enum tm_disk_kind kind)
{
    prepare();
    config.sync = sync;
    open_cluster();
    unsigned a = leader();
    CU_ASSERT_STRING_EQUAL(ask(a, "SET k 1"), "OK");
    tm_sim_disk_fail(tm_sim_disk_of(sim, a), kind, EIO, 1);
    struct tm_sim_hand *h = tm_sim_hand_new(sim, (a + 1) % 3, 0);
    tm_sim_hand_send(h, "SET k 2");
    tm_sim_run_for(sim, TM_SECONDS(1));
    const struct tm_sim_disk_tally *tally = tm_sim_disk_tally(sim);
    CU_ASSERT_EQUAL(tally->failed_writes, kind == TM_DISK_WRITE);
    CU_ASSERT_EQUAL(tally->failed_syncs, kind == TM_DISK_SYNC);
    CU_ASSERT_EQUAL(tm_sim_fatal(sim), 1);
    CU_ASSERT_FALSE_FATAL(tm_sim_is_up(sim, a));
    unsigned b = successor(a);
    const char *value = ask(b, "GET k");
    bool told = tm_sim_hand_answers(h) > 0 && strcmp(tm_sim_hand_text(h), "OK") == 0;
    CU_ASSERT(strcmp(value, "2") == 0 || (!told && strcmp(value, "1") == 0));
    tm_sim_hand_free(h);
    tm_sim_wipe(sim, a); /* the device was replaced */
    restart(a);
    settle(whole);
    close_cluster();
}

/* [fsync that succeeds the second time]  The ways to make a block durable: a write that is durable
 * by itself, or a write and a flush, each of which may fail. */
static void a_write_that_failed_once_is_not_tried_again(void)
{
    fails_once(TM_WAL_DSYNC, TM_DISK_WRITE);
    fails_once(TM_WAL_FSYNC, TM_DISK_WRITE);
    fails_once(TM_WAL_FSYNC, TM_DISK_SYNC);
}

/* Looks for rot until the log of the node begins behind that record. */
static void scrub(unsigned node, uint64_t index)
{
    struct tm_options options = config.options;
    options.scrub_interval_ms = 500;
    options.scrub_rate = TM_MIB(16);
    tm_shard_options(tm_sim_shard(sim, node, 0), &options);
    tm_sim_run_for(sim, TM_SECONDS(5));
    tm_shard_options(tm_sim_shard(sim, node, 0), &config.options);
    CU_ASSERT_FATAL(tm_log_first(part(node, 0)->log) > index);
}

/* [a lost snapshot's record hides what a leader sent again]  A wiped copy is sent a snapshot, for
 * the leader's log does not begin with the first record any more; it rots, and the next leader,
 * whose log does, sends all of that.  What the log of the copy says first, where the snapshot
 * ended, hides nothing of it from the start after. */
static void what_is_sent_again_for_a_lost_snapshot_stays(void)
{
    char line[32];
    prepare();
    open_cluster();
    unsigned a = leader(), b = (a + 1) % 3, c = (a + 2) % 3;
    for (unsigned i = 0; i < 50; i++) {
        snprintf(line, sizeof line, "SET k%u 1", i);
        CU_ASSERT_STRING_EQUAL(ask(a, line), "OK");
    }
    CU_ASSERT_TRUE(tm_sim_snapshot(sim, a, 0));
    tm_sim_run_for(sim, TM_SECONDS(1));
    spoil_record(a, 20); /* which the snapshot has */
    scrub(a, 20);
    tm_sim_end(sim, c, TM_SIM_KILL);
    tm_sim_wipe(sim, c);
    restart(c);
    settle(whole);
    CU_ASSERT_STRING_EQUAL(ask(a, "SET k 1"), "OK");
    settle(converged);
    CU_ASSERT_FATAL(tm_log_first(part(c, 0)->log) > 50);
    CU_ASSERT_EQUAL_FATAL(tm_log_first(part(b, 0)->log), 1);
    CU_ASSERT_TRUE(tm_sim_transfer(sim, a, 0, b));
    CU_ASSERT_EQUAL_FATAL(successor(a), b);
    spoil_snapshot(c);
    tm_sim_end(sim, c, TM_SIM_POWER);
    restart(c);
    settle(whole);
    settle(converged);
    tm_sim_run_for(sim, TM_SECONDS(1)); /* that it is whole again is on its disk */
    for (unsigned start = 0; start < 2; start++) {
        CU_ASSERT_EQUAL(tm_log_first(part(c, 0)->log), 1); /* less than the first time */
        CU_ASSERT_EQUAL(tm_log_fault_count(part(c, 0)->log), 0);
        CU_ASSERT_EQUAL(part(c, 0)->replica.hs.health, TM_HEALTH_WHOLE);
        tm_sim_end(sim, c, TM_SIM_POWER);
        tm_sim_isolate(sim, c, true); /* nobody sends it again */
        restart(c);
        tm_sim_run_for(sim, TM_MS(50));
    }
    tm_sim_isolate(sim, c, false);
    settle(converged);
    CU_ASSERT_STRING_EQUAL(ask(c, "GET k49"), "1");
    close_cluster();
}

/* [forgetful voter]  In memory only: of the two that had a record one ends and forgets; it does not
 * help the third, which never had it, to win. */
static void a_voter_that_forgot_does_not_elect_one_that_never_knew(void)
{
    prepare();
    config.options.durability = TM_DURABILITY_MEMORY;
    open_cluster();
    unsigned a = leader(), b = (a + 1) % 3, c = (a + 2) % 3;
    tm_sim_isolate(sim, c, true);
    CU_ASSERT_STRING_EQUAL(ask(a, "SET k 1"), "OK");
    tm_sim_end(sim, b, TM_SIM_POWER);
    tm_sim_isolate(sim, a, true);
    tm_sim_isolate(sim, c, false);
    tm_sim_cut(sim, a, c, true);
    tm_sim_cut(sim, c, a, true);
    tm_sim_run_for(sim, TM_SECONDS(1)); /* a has noticed that it leads nobody */
    restart(b);
    CU_ASSERT_TRUE(nobody_leads_for(TM_SECONDS(3)));
    tm_sim_isolate(sim, a, false);
    settle(whole);
    CU_ASSERT_STRING_EQUAL(ask(c, "GET k"), "1");
    close_cluster();
}

/* ---- effects and snapshots ---- */

/* [snapshot holds what was cut]  A leader that is cut off takes a snapshot while effects of its
 * own, which nobody else has, are in its table; they are cut, and it starts from that snapshot. */
static void a_snapshot_does_not_hold_what_was_cut(void)
{
    char line[64];
    prepare();
    open_cluster();
    unsigned a = leader();
    for (unsigned i = 0; i < 50; i++) {
        snprintf(line, sizeof line, "SET k%u old", i);
        CU_ASSERT_STRING_EQUAL(ask(a, line), "OK");
    }
    tm_sim_isolate(sim, a, true);
    struct tm_sim_hand *h = tm_sim_hand_new(sim, a, 0);
    for (unsigned i = 0; i < 50; i++) {
        snprintf(line, sizeof line, "SET k%u cut", i);
        tm_sim_hand_send(h, line);
    }
    tm_sim_run_for(sim, TM_MS(2));
    CU_ASSERT(tm_store_applied(part(a, 0)->store) >= tm_store_committed(part(a, 0)->store) + 50);
    CU_ASSERT_TRUE(tm_sim_snapshot(sim, a, 0));
    CU_ASSERT_STRING_EQUAL(ask(successor(a), "SET k0 new"), "OK");
    tm_sim_run_for(sim, TM_SECONDS(1));
    CU_ASSERT_EQUAL(counted(a, TM_COUNTER_snapshots_written), 1);
    tm_sim_hand_free(h);
    tm_sim_isolate(sim, a, false);
    settle(converged);
    tm_sim_end(sim, a, TM_SIM_POWER);
    restart(a);
    settle(converged);
    CU_ASSERT_EQUAL(counted(a, TM_COUNTER_snapshots_loaded), 1);
    CU_ASSERT_STRING_EQUAL(ask(a, "GET k0"), "new");
    CU_ASSERT_STRING_EQUAL(ask(a, "GET k49"), "old");
    close_cluster();
}

/* Writers each of whose writes is of a key of its own, so that no later one hides that it is gone.
 */
static void write_keys(struct writer *w, unsigned round, unsigned number)
{
    char line[64];
    for (; w->hand != NULL && w->sent < tm_sim_hand_answers(w->hand) + 4; w->sent++) {
        snprintf(line, sizeof line, "SET r%uw%un%u 1", round, number, w->sent);
        tm_sim_hand_send(w->hand, line);
    }
}

/* How many of the first `count` keys of that writer are there. */
static unsigned keys_there(unsigned round, unsigned number, unsigned count)
{
    unsigned there = 0;
    for (unsigned at = 0; at < count;) {
        char line[500] = "EXISTS";
        for (unsigned n = 0; at < count && n < 20; at++, n++) {
            size_t len = strlen(line);
            snprintf(line + len, sizeof line - len, " r%uw%un%u", round, number, at);
        }
        there += (unsigned)atoi(ask(0, line));
    }
    return there;
}

/* So many starts in a row leave the log full, and it takes writes again by itself. */
static void wait_for_room(void)
{
    for (unsigned i = 0; i < 500 && strcmp(ask(0, "SET probe 1"), "OK") != 0; i++)
        tm_sim_run_for(sim, TM_MS(10));
    CU_ASSERT_STRING_EQUAL(ask(0, "SET probe 1"), "OK");
}

static void take_under_writes_until_power_goes(unsigned round)
{
    struct writer writers[WRITERS] = {{NULL}};
    unsigned told[WRITERS];
    for (unsigned i = 0; i < WRITERS; i++)
        writers[i].hand = tm_sim_hand_new(sim, 0, 0);
    (void)tm_sim_snapshot(sim, 0, 0);
    for (uint64_t end = tm_sim_now(sim) + TM_US(100) + tm_sim_draw(sim, TM_MS(8));
         tm_sim_now(sim) < end;) {
        for (unsigned i = 0; i < WRITERS; i++)
            write_keys(&writers[i], round, i);
        tm_sim_run_for(sim, TM_US(20));
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        told[i] = tm_sim_hand_answers(writers[i].hand);
        tm_sim_hand_free(writers[i].hand);
    }
    tm_sim_end(sim, 0, TM_SIM_POWER);
    restart(0);
    settle(whole);
    for (unsigned i = 0; i < WRITERS; i++)
        CU_ASSERT_EQUAL(keys_there(round, i, told[i]), told[i]);
}

/* The log begins after a snapshot whose file lacks its directory entry, or whose pointer flipped
 * too early, or which has not what was written while it was walked: power goes at every moment
 * around a snapshot, on the only copy, under writes. */
static void power_may_go_at_any_moment_of_a_snapshot(void)
{
    char line[2048];
    uint64_t taken = 0;
    prepare();
    config.nodes = config.copies = 1;
    open_cluster();
    struct tm_sim_hand *h = tm_sim_hand_new(sim, 0, 0);
    for (unsigned i = 0; i < 400; i++) { /* a walk of several turns */
        int n = snprintf(line, sizeof line, "SET ballast%u ", i);
        memset(line + n, 'x', sizeof line - (size_t)n - 1);
        line[sizeof line - 1] = '\0';
        CU_ASSERT_STRING_EQUAL(tm_sim_hand_ask(h, line), "OK");
    }
    tm_sim_hand_free(h);
    for (unsigned round = 0; round < 40; round++) {
        wait_for_room();
        uint64_t first = tm_log_first(part(0, 0)->log);
        take_under_writes_until_power_goes(round);
        taken += tm_log_first(part(0, 0)->log) > first;
    }
    CU_ASSERT(taken > 3 && taken < 40);
    close_cluster();
}

static const struct tm_wal *wal_of(unsigned node)
{
    return tm_log_set_wal(part(node, 0)->env->logs);
}

/* A value that takes a good part of a segment's last blocks; what the leader says. */
static const char *write_ballast(unsigned i)
{
    char line[2048];
    int n = snprintf(line, sizeof line, "SET ballast%u ", i % 200);
    memset(line + n, 'x', sizeof line - (size_t)n - 1);
    line[sizeof line - 1] = '\0';
    return ask(leader(), line);
}

/* All segments are made, and then the disks have no room: neither for more, nor for snapshots,
 * which would free some.  Writes go on until they are refused. */
static void fill_logs(void)
{
    unsigned i = 0;
    for (unsigned full = 0; full < config.nodes;) {
        CU_ASSERT_STRING_EQUAL_FATAL(write_ballast(i++), "OK");
        full = 0;
        for (unsigned n = 0; n < config.nodes; n++)
            full += tm_wal_disk_bytes(wal_of(n)) == config.options.wal_bytes;
    }
    for (unsigned n = 0; n < config.nodes; n++) {
        struct tm_sim_disk *disk = tm_sim_disk_of(sim, n);
        tm_sim_disk_set_capacity(disk, tm_sim_disk_used(disk));
    }
    for (unsigned end = i + 2000; i < end; i++)
        if (strncmp(write_ballast(i), "DISKFULL", 8) == 0)
            return;
    CU_FAIL_FATAL("the logs are not full");
}

/* Power goes again and again, as soon as somebody leads: how often until nobody can. */
static unsigned start_until_nobody_leads(void)
{
    for (unsigned starts = 1; starts < 1000; starts++) {
        for (unsigned n = 0; n < config.nodes; n++)
            tm_sim_end(sim, n, TM_SIM_POWER);
        for (unsigned n = 0; n < config.nodes; n++)
            restart(n);
        if (nobody_leads_for(TM_SECONDS(5)))
            return starts;
    }
    return 0;
}

/* What is set aside for votes and the first records of leaders is gone, on all copies, and a
 * snapshot is of no use before one leads. */
static void starts_and_elections_that_used_up_the_reserve_end_nothing(void)
{
    prepare();
    config.options.wal_segment_bytes = TM_KIB(256);
    config.options.wal_bytes = TM_MIB(1);
    open_cluster();
    fill_logs();
    CU_ASSERT(start_until_nobody_leads() > 1);
    for (unsigned n = 0; n < config.nodes; n++)
        tm_sim_disk_set_capacity(tm_sim_disk_of(sim, n), 0);
    settle(whole);
    wait_for_room();
    for (unsigned i = 0; i < 50; i++)
        CU_ASSERT_STRING_EQUAL(write_ballast(i), "OK");
    settle(converged);
    close_cluster();
}

static const struct tm_test tests[] = {
    TM_TEST(blocks_that_finish_out_of_order_count_in_order),
    TM_TEST(a_power_loss_of_all_tears_tails_and_loses_nothing),
    TM_TEST(a_cut_under_way_when_power_goes_happens_or_does_not),
    TM_TEST(a_write_that_failed_once_is_not_tried_again),
    TM_TEST(what_is_sent_again_for_a_lost_snapshot_stays),
    TM_TEST(a_voter_that_forgot_does_not_elect_one_that_never_knew),
    TM_TEST(a_snapshot_does_not_hold_what_was_cut),
    TM_TEST(power_may_go_at_any_moment_of_a_snapshot),
    TM_TEST(starts_and_elections_that_used_up_the_reserve_end_nothing),
};

TM_TEST_MAIN("sim/histories_disk", tests)
