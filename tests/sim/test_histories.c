/* The histories that break a rule of docs/PROTOCOL.md, one case each, with the product's own shards
 * on simulated machines: what is in brackets there is named here.  The oracle watches all of them.
 *
 * Clusters have one partition, beside the system's own, unless a case needs more. */
#include "tests/sim/hand_world.h"

#include <errno.h>

/* ---- identity ---- */

/* [wiped node votes after restart]  Of three, one is away and one comes back empty: the third may
 * not win by the vote of a disk that has forgotten what it acknowledged. */
static void a_wiped_node_does_not_vote(void)
{
    prepare();
    open_cluster();
    unsigned a = leader(), b = (a + 1) % 3, c = (a + 2) % 3;
    tm_sim_isolate(sim, b, true);
    CU_ASSERT_STRING_EQUAL(ask(a, "SET k 1"), "OK"); /* a and c have it */
    tm_sim_end(sim, a, TM_SIM_KILL);
    tm_sim_end(sim, c, TM_SIM_KILL);
    tm_sim_wipe(sim, c);
    tm_sim_isolate(sim, b, false);
    restart(c);
    CU_ASSERT_TRUE(nobody_leads_for(TM_SECONDS(5)));
    restart(a);
    settle(whole);
    CU_ASSERT_STRING_EQUAL(ask(b, "GET k"), "1");
    close_cluster();
}

/* [all are wiped one after the other while one runs]  Each node in turn loses its disk and comes
 * back cut off from the others; for a while it hears one of them only.  It founds nothing beside
 * the cluster that there is, the first node neither. */
static void a_wiped_node_founds_nothing_beside_a_cluster(void)
{
    prepare();
    open_cluster();
    CU_ASSERT_STRING_EQUAL(ask(0, "SET k 1"), "OK");
    for (unsigned i = 0; i < 6; i++) {
        unsigned a = i % 3, b = (a + 1 + i / 3) % 3, c = other_than(a, b);
        tm_sim_isolate(sim, a, true);
        tm_sim_end(sim, a, TM_SIM_POWER);
        tm_sim_wipe(sim, a);
        restart(a);
        tm_sim_run_for(sim, TM_SECONDS(2));
        tm_sim_isolate(sim, a, false);
        tm_sim_cut(sim, a, c, true);
        tm_sim_cut(sim, c, a, true);
        tm_sim_run_for(sim, TM_SECONDS(1));
        tm_sim_cut(sim, a, c, false);
        tm_sim_cut(sim, c, a, false);
        settle(whole);
        CU_ASSERT_STRING_EQUAL(ask(a, "GET k"), "1");
    }
    settle(converged);
    close_cluster();
}

/* [rolling restart with an edited file]  The file says other copies, partitions and modes: the
 * cluster goes on as it is. */
static void an_edited_file_changes_nothing_in_a_rolling_restart(void)
{
    char key[32];
    prepare();
    config.partitions = 8;
    open_cluster();
    for (unsigned i = 0; i < 20; i++) {
        snprintf(key, sizeof key, "SET k%u %u", i, i);
        CU_ASSERT_STRING_EQUAL(ask(i % 3, key), "OK");
    }
    tm_sim_edit_file(sim, 5, 1, true);
    for (unsigned i = 0; i < 3; i++) {
        CU_ASSERT_TRUE(tm_sim_stop(sim, i, TM_SECONDS(5)));
        restart(i);
        settle(whole);
    }
    settle(converged);
    for (unsigned i = 0; i < 20; i++) {
        char value[16];
        snprintf(key, sizeof key, "GET k%u", i);
        snprintf(value, sizeof value, "%u", i);
        CU_ASSERT_STRING_EQUAL(ask(i % 3, key), value);
    }
    CU_ASSERT_PTR_NOT_NULL(part(0, 7)); /* still eight */
    CU_ASSERT_FALSE(part(0, 0)->env->eventual);
    close_cluster();
}

/* [fewer cores after restart]  Every node comes back with other numbers of workers, by power loss
 * and by a clean stop; what was acknowledged lies in logs of older generations. */
static void fewer_workers_find_what_more_of_them_wrote(void)
{
    static const unsigned counts[4][3] = {{4, 4, 4}, {1, 1, 1}, {2, 1, 3}, {3, 2, 1}};
    char line[32];
    prepare();
    config.partitions = 6;
    config.workers[0] = 3;
    open_cluster();
    for (unsigned round = 0; round < 12; round++) {
        for (unsigned i = 0; i < 12; i++) {
            snprintf(line, sizeof line, "INCR c%u", i);
            CU_ASSERT_EQUAL(atoi(ask(i % 3, line)), (int)round + 1);
        }
        for (unsigned i = 0; i < 3; i++) {
            tm_sim_set_workers(sim, i, counts[round % 4][i]);
            if (round % 2 == 0)
                tm_sim_end(sim, i, TM_SIM_POWER);
            else
                CU_ASSERT_TRUE(tm_sim_stop(sim, i, TM_SECONDS(5)));
        }
        for (unsigned i = 0; i < 3; i++)
            restart(i);
        settle(whole);
    }
    for (unsigned i = 0; i < 12; i++) {
        snprintf(line, sizeof line, "GET c%u", i);
        CU_ASSERT_STRING_EQUAL(ask(0, line), "12");
    }
    close_cluster();
}

/* A node starts with the only change of members there ever was in its log, and not committed; when
 * that is cut, the members are those of the creation again. */
static void a_change_that_is_cut_after_a_restart_leaves_the_members_there_were(void)
{
    prepare();
    config.nodes = 5;
    config.copies = 5;
    open_cluster();
    unsigned a = leader(), e = (a + 1) % 5;
    CU_ASSERT_STRING_EQUAL(ask(a, "SET k 1"), "OK");
    tm_sim_end(sim, e, TM_SIM_KILL);
    tm_sim_wipe(sim, e);
    restart(e);
    const struct tm_replica *r = &part(a, 0)->replica;
    for (unsigned i = 0; i < 4000000 && r->members.index <= r->commit; i++)
        tm_sim_run_for(sim, TM_US(1)); /* frames take longer: nobody has it yet */
    tm_sim_isolate(sim, a, true);
    CU_ASSERT_FATAL(r->members.index > r->commit);
    tm_sim_end(sim, e, TM_SIM_KILL);
    tm_sim_run_for(sim, TM_MS(5)); /* on its own disk */
    tm_sim_end(sim, a, TM_SIM_KILL);
    (void)successor(a);
    CU_ASSERT_STRING_EQUAL(ask((a + 2) % 5, "SET k 2"), "OK");
    tm_sim_isolate(sim, a, false);
    restart(a);
    settle(converged);
    r = &part(a, 0)->replica;
    CU_ASSERT_EQUAL(r->members.index, 0);
    CU_ASSERT_EQUAL(r->members.count, 5);
    CU_ASSERT(r->own >= 0);
    restart(e);
    settle(whole);
    close_cluster();
}

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

/* The power of these nodes (bits) goes while writes are under way; afterwards each writer's counter
 * is at least what it was told. */
static void power_goes_while_writing(unsigned nodes, uint64_t after)
{
    struct writer writers[WRITERS] = {{NULL}};
    int told[WRITERS];
    char line[32];
    for (unsigned i = 0; i < WRITERS; i++)
        writers[i].hand = tm_sim_hand_new(sim, i % config.nodes, 0);
    for (uint64_t end = tm_sim_now(sim) + after; tm_sim_now(sim) < end;) {
        for (unsigned i = 0; i < WRITERS; i++)
            write_on(&writers[i], i);
        tm_sim_run_for(sim, TM_US(50));
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        told[i] = atoi(tm_sim_hand_text(writers[i].hand));
        tm_sim_hand_free(writers[i].hand);
    }
    for (unsigned i = 0; i < config.nodes; i++)
        if ((nodes >> i & 1) != 0)
            tm_sim_end(sim, i, TM_SIM_POWER);
    for (unsigned i = 0; i < config.nodes; i++)
        if ((nodes >> i & 1) != 0)
            restart(i);
    settle(whole);
    for (unsigned i = 0; i < WRITERS; i++) {
        snprintf(line, sizeof line, "GET w%u", i);
        CU_ASSERT(atoi(ask(0, line)) >= told[i]);
    }
}

/* [13 is on disk, 11 is not]  One copy, whose disk finishes later blocks before earlier ones. */
static void blocks_that_finish_out_of_order_count_in_order(void)
{
    prepare();
    config.nodes = config.copies = 1;
    config.disk_min_ns = TM_US(20);
    config.disk_max_ns = TM_MS(3);
    open_cluster();
    for (unsigned round = 0; round < 15; round++)
        power_goes_while_writing(1, TM_MS(5) + tm_sim_draw(sim, TM_MS(20)));
    close_cluster();
}

/* [power loss tears every replica's tail at once]  All are cut off in the middle of a write: torn
 * tails are known for what they are, and nobody waits for anybody's denial. */
static void a_power_loss_of_all_tears_tails_and_loses_nothing(void)
{
    prepare();
    config.disk_min_ns = TM_US(100);
    config.disk_max_ns = TM_MS(2);
    open_cluster();
    for (unsigned round = 0; round < 12; round++)
        power_goes_while_writing(7, TM_MS(5) + tm_sim_draw(sim, TM_MS(30)));
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

/* [fsync that succeeds the second time]  A write fails once: the node says so and ends, what it was
 * told to write is not asked for again, and the others have all that was acknowledged. */
static void a_write_that_failed_once_is_not_tried_again(void)
{
    prepare();
    open_cluster();
    unsigned a = leader();
    CU_ASSERT_STRING_EQUAL(ask(a, "SET k 1"), "OK");
    tm_sim_disk_fail(tm_sim_disk_of(sim, a), TM_DISK_WRITE, EIO, 1);
    struct tm_sim_hand *h = tm_sim_hand_new(sim, (a + 1) % 3, 0);
    tm_sim_hand_send(h, "SET k 2");
    tm_sim_run_for(sim, TM_SECONDS(1));
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
    CU_ASSERT_EQUAL(tm_counter_get(tm_sim_counters(sim, a, 0), TM_COUNTER_snapshots_written), 1);
    tm_sim_hand_free(h);
    tm_sim_isolate(sim, a, false);
    settle(converged);
    tm_sim_end(sim, a, TM_SIM_POWER);
    restart(a);
    settle(converged);
    CU_ASSERT_EQUAL(tm_counter_get(tm_sim_counters(sim, a, 0), TM_COUNTER_snapshots_loaded), 1);
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
        uint64_t first = tm_log_first(part(0, 0)->log);
        take_under_writes_until_power_goes(round);
        taken += tm_log_first(part(0, 0)->log) > first;
    }
    CU_ASSERT(taken > 3 && taken < 40);
    close_cluster();
}

/* ---- answers ---- */

/* [partition 7 has a newer leader]  A node leads many partitions; one of them moves on without its
 * knowing, while the others are confirmed by the very same heartbeats. */
static void a_heartbeat_confirms_no_partition_that_has_a_newer_leader(void)
{
    static const char key[] = "{t}k";
    prepare();
    config.partitions = 2;
    open_cluster();
    uint32_t id = 0;
    unsigned a = leader_of(0), b, c;
    CU_ASSERT_STRING_EQUAL(ask(a, "SET {t}k 1"), "OK");
    for (id = 0; id < 2; id++)
        if (tm_store_find(part(a, id)->store, tm_bytes_str(key)) != NULL)
            break;
    CU_ASSERT_FATAL(id < 2);
    if (leader_of(id) != a || leader_of(1 - id) != a) { /* a is to lead both */
        (void)tm_sim_transfer(sim, leader_of(id), id, a);
        (void)tm_sim_transfer(sim, leader_of(1 - id), 1 - id, a);
        tm_sim_run_for(sim, TM_SECONDS(1));
    }
    CU_ASSERT_EQUAL_FATAL(leader_of(id), a);
    CU_ASSERT_EQUAL_FATAL(leader_of(1 - id), a);
    b = (a + 1) % 3;
    c = (a + 2) % 3;
    CU_ASSERT_TRUE(tm_sim_transfer(sim, a, id, c));
    tm_sim_run_for(sim, TM_US(300)); /* the word is on its way to c, or there */
    tm_sim_cut(sim, c, a, true);     /* which from now on a does not hear */
    struct tm_sim_hand *reader = tm_sim_hand_new(sim, a, 0);
    for (unsigned i = 0; i < 2000 && !part(c, id)->announced; i++)
        tm_sim_run_for(sim, TM_US(100));
    CU_ASSERT_EQUAL_FATAL(leader_of(id), c);
    CU_ASSERT_STRING_EQUAL(ask(c, "SET {t}k 2"), "OK");
    tm_sim_hand_send(reader, "GET {t}k");
    tm_sim_run_for(sim, TM_SECONDS(1));
    CU_ASSERT_STRING_NOT_EQUAL(tm_sim_hand_text(reader), "1"); /* "2", or that a leads no more */
    CU_ASSERT_EQUAL(leader_of(1 - id), a); /* that one was confirmed all the time */
    tm_sim_hand_free(reader);
    tm_sim_cut(sim, c, a, false);
    settle(converged);
    CU_ASSERT_STRING_EQUAL(ask(b, "GET {t}k"), "2");
    close_cluster();
}

/* Known from other systems: a leader sleeps, is replaced, wakes, and is asked first of all. */
static void a_leader_that_slept_answers_nothing_stale(void)
{
    prepare();
    open_cluster();
    for (unsigned round = 0; round < 5; round++) {
        char line[32], value[16];
        unsigned a = leader();
        struct tm_sim_hand *h = tm_sim_hand_new(sim, a, 0);
        snprintf(line, sizeof line, "SET k %u", 2 * round + 1);
        CU_ASSERT_STRING_EQUAL(tm_sim_hand_ask(h, line), "OK");
        tm_sim_hand_send(h, "GET k"); /* arrives when it wakes */
        tm_sim_pause(sim, a, true);
        unsigned b = successor(a);
        snprintf(line, sizeof line, "SET k %u", 2 * round + 2);
        snprintf(value, sizeof value, "%u", 2 * round + 2);
        CU_ASSERT_STRING_EQUAL(ask(b, line), "OK");
        tm_sim_pause(sim, a, false);
        const char *told = tm_sim_hand_ask(h, "GET k"); /* it may know nobody to ask yet */
        if (strncmp(told, "CLUSTERDOWN", 11) != 0)
            CU_ASSERT_STRING_EQUAL(told, value);
        tm_sim_hand_free(h);
        settle(converged);
    }
    close_cluster();
}

/* What a's peers say does not reach it any more; every other time what it says does not reach them
 * either. */
static void deafen(unsigned a, bool cut, bool dumb)
{
    if (dumb) {
        tm_sim_isolate(sim, a, cut);
        return;
    }
    tm_sim_cut(sim, (a + 1) % 3, a, cut);
    tm_sim_cut(sim, (a + 2) % 3, a, cut);
}

/* Known from other systems: a write is reported failed, and its effect is there all the same.  The
 * leader steps down for it hears nobody; the write is in no other log, or in all of them. */
static void a_write_that_was_refused_is_nowhere(void)
{
    prepare();
    open_cluster();
    unsigned a = leader(), b = (a + 1) % 3;
    CU_ASSERT_STRING_EQUAL(ask(a, "SET k 1"), "OK");
    for (unsigned round = 0; round < 8; round++) {
        a = leader();
        struct tm_sim_hand *h = tm_sim_hand_new(sim, a, 0);
        deafen(a, true, round % 2 == 0);
        tm_sim_hand_send(h, "INCR refused");
        tm_sim_run_for(sim, TM_MS(100) + tm_sim_draw(sim, TM_MS(1000)));
        deafen(a, false, round % 2 == 0);
        tm_sim_run_for(sim, TM_SECONDS(12));
        CU_ASSERT_EQUAL(tm_sim_hand_answers(h), 1);
        bool unknown = strncmp(tm_sim_hand_text(h), "TIMEOUT", 7) == 0;
        int told = atoi(tm_sim_hand_text(h)), now = atoi(ask(b, "GET refused"));
        if (!unknown && told == 0) /* an error that says: nothing was done */
            CU_ASSERT_EQUAL(now, 0);
        if (told != 0)
            CU_ASSERT_EQUAL(now, told);
        CU_ASSERT_STRING_EQUAL(ask(b, now != 0 ? "DEL refused" : "DEL k"), "1");
        CU_ASSERT_STRING_EQUAL(ask(b, "SET k 1"), "OK");
        tm_sim_hand_free(h);
    }
    settle(converged);
    close_cluster();
}

/* Known from other systems: a client watches and reads, what it read expires, and its transaction
 * goes through, as if nothing had happened.  The others' clocks are off, each another way. */
static void what_was_read_and_expired_fails_the_transaction(void)
{
    prepare();
    open_cluster();
    for (unsigned round = 0; round < 6; round++) {
        bool expires = round % 2 == 0;
        unsigned a = leader();
        tm_sim_clock_jump(sim, (a + 1) % 3, 200 - 400 * (int64_t)(round % 3));
        CU_ASSERT_STRING_EQUAL(ask(a, "DEL done"), "0");
        CU_ASSERT_STRING_EQUAL(ask(a, expires ? "SET k 1 PX 80" : "SET k 1 PX 60000"), "OK");
        struct tm_sim_hand *h = tm_sim_hand_new(sim, (a + round) % 3, 0);
        CU_ASSERT_STRING_EQUAL(tm_sim_hand_ask(h, "WATCH k"), "OK");
        CU_ASSERT_STRING_EQUAL(tm_sim_hand_ask(h, "GET k"), "1");
        tm_sim_run_for(sim, TM_MS(200));
        CU_ASSERT_STRING_EQUAL(tm_sim_hand_ask(h, "MULTI"), "OK");
        CU_ASSERT_STRING_EQUAL(tm_sim_hand_ask(h, "SET k 2"), "QUEUED");
        CU_ASSERT_STRING_EQUAL(tm_sim_hand_ask(h, "EXEC"), expires ? "(nil)" : "[OK]");
        CU_ASSERT_STRING_EQUAL(ask(a, "GET k"), expires ? "(nil)" : "2");
        tm_sim_hand_free(h);
    }
    settle(converged);
    close_cluster();
}

/* ---- two copies and a witness ---- */

static unsigned witness(void)
{
    unsigned i = 0;
    while (i < 3 && !part(i, 0)->witness)
        i++;
    return i;
}

/* Known from other systems: data gone after a second failover.  A dies, B goes on alone, B dies, A
 * comes back: it has not what B acknowledged, and neither it nor the witness may pretend. */
static void a_second_failover_waits_for_the_copy_that_went_on_alone(void)
{
    prepare();
    config.copies = 2;
    open_cluster();
    unsigned a = leader(), w = witness(), b = other_than(a, w);
    CU_ASSERT_STRING_EQUAL(ask(a, "SET k 1"), "OK");
    tm_sim_end(sim, a, TM_SIM_KILL);
    CU_ASSERT_EQUAL(successor(a), b);
    CU_ASSERT_STRING_EQUAL(ask(w, "SET k 2"), "OK"); /* on one copy */
    tm_sim_end(sim, b, TM_SIM_POWER);
    restart(a);
    CU_ASSERT_TRUE(nobody_leads_for(TM_SECONDS(3)));
    tm_sim_end(sim, w, TM_SIM_POWER); /* it knows also after this who went on */
    restart(w);
    CU_ASSERT_TRUE(nobody_leads_for(TM_SECONDS(3)));
    restart(b);
    settle(whole);
    CU_ASSERT_STRING_EQUAL(ask(a, "GET k"), "2");
    close_cluster();
}

/* While it narrows, the witness dies: no lone commit before it knows. */
static void no_lone_commit_while_the_witness_is_away(void)
{
    prepare();
    config.copies = 2;
    open_cluster();
    unsigned a = leader(), w = witness(), b = other_than(a, w);
    CU_ASSERT_STRING_EQUAL(ask(a, "SET k 1"), "OK");
    tm_sim_cut(sim, a, w, true);
    tm_sim_cut(sim, w, a, true);
    tm_sim_end(sim, b, TM_SIM_KILL);
    struct tm_sim_hand *h = tm_sim_hand_new(sim, a, 0);
    tm_sim_hand_send(h, "SET k 2");
    tm_sim_run_for(sim, TM_SECONDS(2));
    CU_ASSERT_STRING_NOT_EQUAL(tm_sim_hand_text(h), "OK");
    restart(b); /* with the witness it may lead without what a had not committed */
    tm_sim_cut(sim, a, w, false);
    tm_sim_cut(sim, w, a, false);
    settle(whole);
    const char *value = ask(b, "GET k");
    CU_ASSERT(strcmp(value, "1") == 0 || strcmp(value, "2") == 0);
    tm_sim_hand_free(h);
    close_cluster();
}

/* --solo stop: on one copy nothing is taken, and says so. */
static void solo_stop_takes_nothing_on_one_copy(void)
{
    prepare();
    config.copies = 2;
    config.options.solo = TM_SOLO_STOP;
    open_cluster();
    unsigned a = leader(), w = witness(), b = other_than(a, w);
    CU_ASSERT_STRING_EQUAL(ask(a, "SET k 1"), "OK");
    tm_sim_end(sim, b, TM_SIM_KILL);
    tm_sim_run_for(sim, TM_SECONDS(2));
    CU_ASSERT_EQUAL(strncmp(ask(a, "SET k 2"), "NOREPLICAS", 10), 0);
    restart(b);
    settle(whole);
    CU_ASSERT_STRING_EQUAL(ask(b, "GET k"), "1");
    CU_ASSERT_STRING_EQUAL(ask(b, "SET k 3"), "OK");
    close_cluster();
}

/* ---- answers ---- */

static bool has_answer(void *arg)
{
    return tm_sim_hand_answers(arg) > 0;
}

/* [answered by what the process before had asked]  A node asks the leader, whose disk stalls, and
 * starts anew; what it asks then is under way when the leader answers the first. */
static void a_late_answer_is_not_taken_by_the_next_process(void)
{
    prepare();
    open_cluster();
    unsigned a = leader(), b = (a + 1) % 3, c = (a + 2) % 3;
    tm_sim_disk_stall(tm_sim_disk_of(sim, a), true);
    tm_sim_disk_stall(tm_sim_disk_of(sim, c), true);
    struct tm_sim_hand *first = tm_sim_hand_new(sim, b, 0);
    tm_sim_hand_send(first, "INCR n");
    tm_sim_run_for(sim, TM_MS(5));
    tm_sim_end(sim, b, TM_SIM_KILL);
    tm_sim_hand_free(first);
    restart(b);
    tm_sim_run_for(sim, TM_MS(100));
    struct tm_sim_hand *second = tm_sim_hand_new(sim, b, 0);
    tm_sim_hand_send(second, "SET k v");
    tm_sim_run_for(sim, TM_MS(5));
    CU_ASSERT_EQUAL(tm_sim_hand_answers(second), 0);
    tm_sim_disk_stall(tm_sim_disk_of(sim, a), false);
    tm_sim_disk_stall(tm_sim_disk_of(sim, c), false);
    CU_ASSERT_TRUE(tm_sim_run_until(sim, has_answer, second, TM_SECONDS(10)));
    CU_ASSERT_STRING_EQUAL(tm_sim_hand_text(second), "OK");
    tm_sim_hand_free(second);
    CU_ASSERT_STRING_EQUAL(ask(b, "GET n"), "1");
    settle(converged);
    close_cluster();
}

static const struct tm_test tests[] = {
    TM_TEST(a_wiped_node_does_not_vote),
    TM_TEST(a_wiped_node_founds_nothing_beside_a_cluster),
    TM_TEST(an_edited_file_changes_nothing_in_a_rolling_restart),
    TM_TEST(a_change_that_is_cut_after_a_restart_leaves_the_members_there_were),
    TM_TEST(fewer_workers_find_what_more_of_them_wrote),
    TM_TEST(blocks_that_finish_out_of_order_count_in_order),
    TM_TEST(a_power_loss_of_all_tears_tails_and_loses_nothing),
    TM_TEST(a_cut_under_way_when_power_goes_happens_or_does_not),
    TM_TEST(a_write_that_failed_once_is_not_tried_again),
    TM_TEST(a_voter_that_forgot_does_not_elect_one_that_never_knew),
    TM_TEST(a_snapshot_does_not_hold_what_was_cut),
    TM_TEST(power_may_go_at_any_moment_of_a_snapshot),
    TM_TEST(a_heartbeat_confirms_no_partition_that_has_a_newer_leader),
    TM_TEST(a_leader_that_slept_answers_nothing_stale),
    TM_TEST(a_write_that_was_refused_is_nowhere),
    TM_TEST(what_was_read_and_expired_fails_the_transaction),
    TM_TEST(a_second_failover_waits_for_the_copy_that_went_on_alone),
    TM_TEST(no_lone_commit_while_the_witness_is_away),
    TM_TEST(solo_stop_takes_nothing_on_one_copy),
    TM_TEST(a_late_answer_is_not_taken_by_the_next_process),
};

TM_TEST_MAIN("sim/histories", tests)
