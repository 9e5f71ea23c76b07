/* The histories that break a rule of docs/PROTOCOL.md, one case each, with the product's own shards
 * on simulated machines: what is in brackets there is named here.  Those of logs, disks and
 * snapshots are in test_histories_disk.c. */
#include "tests/sim/hand_world.h"

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
