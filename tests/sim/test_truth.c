/* The oracle can see: worlds made by hand, sound except in one thing, to which it must object. */
#include "tests/sim/truth_world.h"

/* ---- sound ---- */

static void a_sound_history_is_not_objected_to(void)
{
    struct world w;
    with_record(&w);
    append(&w, 0, 1, 7); /* cut off by the next leader */
    flush(&w, 0);
    look(&w, 0);
    elect(&w, 1, 2, 6);
    look(&w, 1);
    lead_on(&w, 1, 2);
    replicate(&w, 1, 2);
    commit(&w, 1, 2);
    look(&w, 1);
    follow(&w, 0, 2);
    cut(&w, 0, 2);
    look(&w, 0);
    replicate(&w, 1, 0);
    commit(&w, 0, 2);
    look(&w, 0);
    boot(&w, 0, (struct tm_sim_truth_boot){.unclean = true});
    CU_ASSERT_EQUAL(tm_sim_truth_committed(w.truth, 0), 2);
    struct tm_sim_truth_stats stats = tm_sim_truth_stats(w.truth);
    CU_ASSERT(stats.leaders == 2 && stats.votes == 4 && stats.committed == 2);
    CU_ASSERT(stats.records == 3 && stats.durable == 7); /* all nodes: record 1, both 2 */
    expect(&w, NULL);
}

/* ---- terms and votes ---- */

static void two_leaders_of_a_term_are_seen(void)
{
    struct world w;
    with_record(&w);
    elect(&w, 1, 2, 6);
    look(&w, 1);
    w.node[2].r.role = TM_ROLE_LEADER;
    w.node[2].r.granted = 4;
    look(&w, 2);
    expect(&w, "nodes 1 and 2 lead term 2 (invariant 1)");
}

static void a_vote_that_is_on_no_disk_is_seen(void)
{
    struct world w;
    with_record(&w);
    promise(&w, 1, 2, 1);
    w.node[1].r.role = TM_ROLE_CANDIDATE;
    w.node[1].r.asked = true;
    w.node[1].r.granted = 6; /* node 2 has not written its vote */
    look(&w, 1);
    expect(&w, "counts a vote of node 2 in term 2 that is not on its disk");
}

static void a_voter_of_another_disk_is_seen(void)
{
    struct world w;
    with_record(&w);
    w.node[2].id.disk = 777; /* wiped; its vote is on the new disk */
    promise(&w, 1, 2, 1);
    promise(&w, 2, 2, 1);
    w.node[1].r.role = TM_ROLE_LEADER;
    w.node[1].r.granted = 6;
    w.node[1].r.term_start = 2;
    look(&w, 1);
    expect(&w, "counts a vote of node 2 in term 2 that is not on its disk");
}

static void two_votes_in_a_term_are_seen(void)
{
    struct world w;
    with_record(&w);
    elect(&w, 1, 2, 6);
    look(&w, 1);
    promise(&w, 0, 2, 0);
    w.node[0].r.role = TM_ROLE_CANDIDATE;
    w.node[0].r.asked = true;
    w.node[0].r.granted = 1 | 4;
    look(&w, 0);
    expect(&w, "node 2 voted for nodes 1 and 0 in term 2 (invariant 1)");
}

static void a_promise_that_is_taken_back_is_seen(void)
{
    struct world w;
    with_record(&w);
    promise(&w, 2, 5, 1);
    look(&w, 2);
    promise(&w, 2, 4, TM_NODE_UNKNOWN);
    expect(&w, "promised term 5, now 4 (invariant 1)");
    with_record(&w);
    promise(&w, 2, 5, 1);
    promise(&w, 2, 5, 0);
    expect(&w, "voted for node 1 in term 5, then for node 0");
}

static void a_promise_lost_at_a_restart_is_seen(void)
{
    struct world w;
    with_record(&w);
    promise(&w, 2, 5, 1);
    look(&w, 2);
    w.node[2].r.hs.vote.node = TM_NODE_UNKNOWN;
    w.node[2].r.hs.term = 1;
    boot(&w, 2, (struct tm_sim_truth_boot){.unclean = true});
    expect(&w, "is in term 1 after 5 (invariant 1)");
}

static void a_leader_without_a_majority_is_seen(void)
{
    struct world w;
    with_record(&w);
    elect(&w, 1, 2, 2);
    look(&w, 1);
    expect(&w, "leads term 2 by 1 of 3 votes (invariant 4)");
}

static void a_leader_without_what_was_committed_is_seen(void)
{
    struct world w;
    with_record(&w);
    lead_on(&w, 0, 1);
    replicate(&w, 0, 1);
    commit(&w, 0, 2);
    look(&w, 0);
    elect(&w, 2, 2, 6); /* node 2 has one record only */
    look(&w, 2);
    expect(&w, "leads term 2 without record 2, which was committed in term 1 (invariants 4, 5)");
}

/* ---- durability ---- */

static void an_acknowledgement_before_the_flush_is_seen(void)
{
    struct world w;
    with_record(&w);
    copy_record(&w, 1, append(&w, 0, 1, 0));
    look(&w, 0);
    look(&w, 1);
    w.node[0].r.peer[1].match = 2;
    look(&w, 0);
    expect(&w, "node 1 acknowledged record 2 of term 1, it is not on its disk (invariant 2)");
}

static void an_acknowledgement_of_a_term_that_is_not_durable_is_seen(void)
{
    struct world w;
    with_record(&w);
    elect(&w, 0, 3, 1 | 4);
    look(&w, 0);
    copy_record(&w, 1, append(&w, 0, 3, 0));
    flush(&w, 1);
    w.node[0].r.peer[1].match = 2;
    look(&w, 0);
    expect(&w, "node 1 acknowledged in term 3, its disk has term 1 (invariant 1)");
}

static void a_leader_that_counts_its_memory_is_seen(void)
{
    struct world w;
    with_record(&w);
    append(&w, 0, 1, 0);
    w.node[0].r.durable = 2;
    look(&w, 0);
    expect(&w, "node 0 takes record 2 of term 1 for durable");
}

static void a_hole_on_a_disk_is_seen(void)
{
    struct world w;
    with_record(&w);
    append(&w, 0, 1, 0);
    tm_sim_truth_durable(w.truth, w.node[0].id, append(&w, 0, 1, 0));
    expect(&w, "goes on with record 3 after 1 (invariant 2)");
}

static void a_commit_without_a_quorum_of_copies_is_seen(void)
{
    struct world w;
    with_record(&w);
    append(&w, 0, 1, 0);
    flush(&w, 0);
    commit(&w, 0, 2);
    look(&w, 0);
    expect(&w, "commits record 2 of term 1 on 1 of 3 data copies (invariant 9)");
}

static void a_record_lost_at_a_restart_is_seen(void)
{
    struct world w;
    with_record(&w);
    lead_on(&w, 0, 1);
    w.node[0].log[2].index = 0;
    w.node[0].r.last = (struct tm_tail){1, 1, w.node[0].log[1].checksum};
    w.node[0].r.durable = 1;
    w.node[0].r.role = TM_ROLE_FOLLOWER;
    boot(&w, 0, (struct tm_sim_truth_boot){.unclean = true, .rotten = true});
    expect(&w, "node 0 came back without record 2, which it had durably");
}

static void one_that_knows_what_it_lost_may_have_lost_it(void)
{
    struct world w;
    with_record(&w);
    w.node[2].r.last = (struct tm_tail){0};
    w.node[2].r.durable = w.node[2].r.commit = w.node[2].applied = 0;
    w.node[2].log[1].index = 0;
    w.node[2].r.hs.health = TM_HEALTH_SUSPECT;
    boot(&w, 2, (struct tm_sim_truth_boot){.unclean = true, .rotten = true});
    expect(&w, NULL);
}

static void damage_that_nobody_did_is_seen(void)
{
    struct world w;
    with_record(&w);
    w.node[2].r.hs.health = TM_HEALTH_SUSPECT;
    boot(&w, 2, (struct tm_sim_truth_boot){.unclean = true});
    expect(&w, "takes its log for damaged, and nobody has damaged it");
}

/* ---- commits and states ---- */

static void an_earlier_term_committed_by_counting_is_seen(void)
{
    struct world w;
    with_record(&w);
    lead_on(&w, 0, 1);
    elect(&w, 0, 3, 3);
    look(&w, 0);
    replicate(&w, 0, 1);
    commit(&w, 0, 2);
    look(&w, 0);
    expect(&w, "committed record 2 of term 1 by counting (invariant 3)");
}

static void a_commit_that_no_leader_made_is_seen(void)
{
    struct world w;
    with_record(&w);
    lead_on(&w, 0, 1);
    replicate(&w, 0, 1);
    commit(&w, 1, 2);
    look(&w, 1);
    expect(&w, "node 1 committed 2, no leader committed more than 1");
}

static void another_record_committed_at_an_index_is_seen(void)
{
    struct world w;
    with_record(&w);
    w.node[2].log[1] = (struct tm_record){.index = 1, .term = 0, .checksum = 999};
    w.node[2].r.last = (struct tm_tail){1, 0, 999};
    w.node[2].r.commit = 1;
    boot(&w, 2, (struct tm_sim_truth_boot){.lied = true});
    expect(&w, "node 2 committed record 1 of term 0, it was committed of term 1 (invariant 5)");
}

static void two_records_of_one_index_and_term_are_seen(void)
{
    struct world w;
    with_record(&w);
    append(&w, 0, 1, 1);
    look(&w, 0);
    append(&w, 1, 1, 2);
    look(&w, 1);
    expect(&w, "log matching: two records have index 2 and term 1");
}

static void a_record_that_follows_another_than_it_says_is_seen(void)
{
    struct world w;
    with_record(&w);
    append(&w, 0, 1, 1);
    look(&w, 0);
    elect(&w, 1, 2, 6);
    append(&w, 1, 2, 2);
    flush(&w, 1);
    look(&w, 1);
    append(&w, 1, 2, 3);
    flush(&w, 1);
    look(&w, 1);
    follow(&w, 0, 2);
    copy_record(&w, 0, &w.node[1].log[3]); /* behind its own record 2 */
    look(&w, 0);
    expect(&w, "chain: on node 0 record 3 of term 2 follows");
}

static void unequal_states_are_seen(void)
{
    struct world w;
    with_record(&w);
    lead_on(&w, 0, 1);
    replicate(&w, 0, 1);
    commit(&w, 0, 2);
    look(&w, 0);
    commit(&w, 1, 2);
    w.node[1].state = 5;
    look(&w, 1);
    expect(&w, "(invariant 11)");
}

/* ---- two copies and a witness ---- */

static void a_witness_counted_as_a_copy_is_seen(void)
{
    struct world w;
    with_witness(&w);
    commit(&w, 0, 1);
    look(&w, 0);
    expect(&w, "on 1 of 2 data copies (invariant 9)");
}

static void a_lone_commit_the_witness_knows_is_sound(void)
{
    struct world w;
    with_witness(&w);
    insync(&w, 0, 1, 2, 1);
    look(&w, 0);
    promise(&w, 2, 1, TM_NODE_UNKNOWN);
    insync(&w, 2, 1, 2, 1);
    w.node[0].r.hs.insync.confirmed = true;
    commit(&w, 0, 1);
    look(&w, 0);
    expect(&w, NULL);
}

static void a_lone_commit_the_witness_does_not_know_is_seen(void)
{
    struct world w;
    with_witness(&w);
    insync(&w, 0, 1, 2, 1);
    commit(&w, 0, 1);
    look(&w, 0);
    expect(&w, "commits record 1 alone, the witness does not know");
    with_witness(&w);
    insync(&w, 0, 1, 2, 1);
    w.node[0].r.hs.insync.confirmed = true;
    look(&w, 0);
    expect(&w, "takes its in-sync set 1.2 for confirmed");
}

static void an_in_sync_set_of_two_contents_is_seen(void)
{
    struct world w;
    with_witness(&w);
    insync(&w, 1, 1, 1, 2);
    look(&w, 1);
    expect(&w, "has another in-sync set 1.1");
}

/* Node 0, which leads, has gone on alone. */
static void alone(struct world *w)
{
    with_witness(w);
    insync(w, 0, 1, 2, 1);
    look(w, 0);
    promise(w, 2, 1, TM_NODE_UNKNOWN);
    insync(w, 2, 1, 2, 1);
    w->node[0].r.hs.insync.confirmed = true;
    commit(w, 0, 1);
    look(w, 0);
}

static void an_in_sync_set_with_one_who_lacks_what_is_committed_is_seen(void)
{
    struct world w;
    alone(&w);
    insync(&w, 0, 1, 3, 3);
    look(&w, 0);
    expect(&w, "in-sync set 1.3 has node 1, which lacks record 1");
}

/* Node 0 sleeps; 1 takes over and goes on alone; 0 wakes and, as far as it knows, leads. */
static void a_deposed_leaders_set_need_not_have_what_the_next_committed(void)
{
    struct world w;
    with_witness(&w);
    replicate(&w, 0, 1);
    commit(&w, 0, 1);
    look(&w, 0);
    elect(&w, 1, 2, 6);
    insync(&w, 1, 2, 1, 3);
    look(&w, 1);
    insync(&w, 1, 2, 2, 2);
    insync(&w, 2, 2, 2, 2);
    w.node[1].r.hs.insync.confirmed = true;
    append(&w, 1, 2, 0);
    flush(&w, 1);
    commit(&w, 1, 2);
    look(&w, 1);
    insync(&w, 0, 1, 2, 1);
    look(&w, 0);
    expect(&w, NULL);
}

/* ---- memory, eventual ---- */

static void a_forgetful_voter_is_seen(void)
{
    struct world w;
    begin_with(&w, &(struct tm_sim_truth_config){.memory = true}, false);
    one_record(&w);
    w.node[2].r.last = (struct tm_tail){0};
    w.node[2].r.durable = w.node[2].r.commit = w.node[2].applied = 0;
    w.node[2].log[1].index = 0;
    w.node[2].flushed = 0;
    tm_sim_truth_reset(w.truth, w.node[2].id, 0, 0, 0); /* nothing had reached its disk */
    boot(&w, 2, (struct tm_sim_truth_boot){.unclean = true});
    expect(&w, "takes its memory for whole");
}

/* A copy of two that have a witness is none. */
static void a_forgetful_copy_beside_a_witness_is_seen(void)
{
    struct world w;
    begin_with(&w, &(struct tm_sim_truth_config){.memory = true}, true);
    one_record(&w);
    boot(&w, 1, (struct tm_sim_truth_boot){.unclean = true});
    expect(&w, "node 1 came back from an unclean end and takes its memory for whole");
}

/* It has promised nothing of a log.  Wiped, it does not even know that it is one. */
static void a_witness_forgets_nothing_in_memory(void)
{
    for (int wiped = 0; wiped < 2; wiped++) {
        struct world w;
        begin_with(&w, &(struct tm_sim_truth_config){.memory = true}, true);
        one_record(&w);
        if (wiped)
            w.node[2].r.members.count = 0;
        boot(&w, 2, (struct tm_sim_truth_boot){.unclean = true});
        expect(&w, NULL);
    }
}

static void what_all_copies_forgot_is_forgiven_if_said(void)
{
    for (int said = 0; said < 2; said++) {
        struct world w;
        begin_with(&w, &(struct tm_sim_truth_config){.memory = true}, false);
        one_record(&w);
        struct node *n = &w.node[1];
        n->r.last = (struct tm_tail){0};
        n->r.durable = n->r.commit = n->applied = 0;
        n->log[1].index = 0;
        n->r.hs.health = TM_HEALTH_SUSPECT;
        boot(&w, 1, (struct tm_sim_truth_boot){.unclean = true});
        elect(&w, 1, 2, 7);
        n->r.longest_stands = said;
        look(&w, 1);
        CU_ASSERT_EQUAL(tm_sim_truth_forgave(w.truth, 0), said);
        expect(&w, said ? NULL : "leads term 2 without record 1");
    }
}

static void count_one(void *host, const struct tm_record *record)
{
    struct world *w = host;
    w->appeared += record->kind == TM_RECORD_EFFECT;
}

/* Also one that no disk has. */
static void a_record_appears_once_in_whichever_log_has_it_first(void)
{
    struct tm_sim_truth_config c = {.appeared = count_one};
    struct world w;
    begin_with(&w, &c, false);
    one_record(&w);
    unsigned had = w.appeared;
    append(&w, 0, 1, 7);
    CU_ASSERT_EQUAL(w.appeared, had);
    look(&w, 0);
    CU_ASSERT_EQUAL(w.appeared, had + 1);
    look(&w, 0);
    append(&w, 1, 1, 7);
    look(&w, 1);
    CU_ASSERT_EQUAL(w.appeared, had + 1);
    expect(&w, NULL);
}

static void a_window_that_is_passed_is_seen(void)
{
    struct tm_sim_truth_config c = {
        .eventual = true, .window_bytes = TM_KIB(1), .window_ns = TM_MS(200)};
    struct world w;
    begin_with(&w, &c, false);
    one_record(&w);
    for (unsigned i = 0; i < 40; i++) /* the mark of 1 KiB over the window is what is allowed */
        append(&w, 0, 1, i);
    look(&w, 0);
    expect(&w, "bytes that a failover may cut off, 1024 were declared");
    begin_with(&w, &c, false);
    one_record(&w);
    append(&w, 0, 1, 1);
    look(&w, 0);
    w.now += TM_MS(400);
    append_kind(&w, 0, 1, 2, TM_RECORD_CONFIG); /* waits for no window */
    look(&w, 0);
    CU_ASSERT_EQUAL(w.wrongs, 0);
    append(&w, 0, 1, 3);
    append_kind(&w, 0, 1, 4, TM_RECORD_CONFIG);
    look(&w, 0);
    expect(&w, "not committed for 400 ms, 200 were declared");
}

static void what_is_cut_off_is_counted_once_a_disk(void)
{
    struct world w;
    begin_with(&w, &(struct tm_sim_truth_config){.eventual = true}, false);
    one_record(&w);
    append(&w, 2, 1, 7);
    append(&w, 2, 1, 8);
    cut(&w, 2, 3); /* was in memory only */
    CU_ASSERT_EQUAL(tm_sim_truth_cut_off(w.truth, 2), 0);
    append(&w, 2, 1, 8);
    for (int twice = 0; twice < 2; twice++) {
        flush(&w, 2);
        cut(&w, 2, 2);
        CU_ASSERT_EQUAL(tm_sim_truth_cut_off(w.truth, 2), 2);
        append(&w, 2, 1, 7);
        append(&w, 2, 1, 8);
    }
    CU_ASSERT_EQUAL(tm_sim_truth_cut_off(w.truth, 0), 0);
    expect(&w, NULL);
}

static void a_snapshot_over_what_was_acknowledged_is_seen(void)
{
    struct world w;
    begin_with(&w, &(struct tm_sim_truth_config){0}, false);
    one_record(&w);
    append(&w, 0, 1, 7);
    replicate(&w, 0, 2);
    const struct tm_record *first = &w.node[2].log[1];
    tm_sim_truth_reset(w.truth, w.node[2].id, 0, 1, first->checksum + 1); /* it has another one */
    CU_ASSERT_EQUAL(w.wrongs, 0);
    tm_sim_truth_reset(w.truth, w.node[1].id, 0, 1, first->checksum); /* has no more */
    CU_ASSERT_EQUAL(w.wrongs, 0);
    replicate(&w, 0, 1);
    tm_sim_truth_reset(w.truth, w.node[1].id, 0, 1, first->checksum);
    expect(&w, "node 1 was whole and had record 1, and gives up 1 more");
}

static void what_is_committed_and_cut_is_seen(void)
{
    static const enum tm_health health[] = {TM_HEALTH_WHOLE, TM_HEALTH_SUSPECT};
    for (unsigned i = 0; i < TM_ARRAY_LEN(health); i++) {
        struct world w;
        with_record(&w);
        w.node[2].r.hs.health = health[i]; /* one that cannot prove what it had may begin anew */
        promise(&w, 2, 1, 0);
        look(&w, 2);
        cut(&w, 2, 1);
        expect(&w,
               i == 0 ? "node 2 was whole and cuts record 1 of term 1, which is committed" : NULL);
    }
}

static void a_snapshot_over_what_lies_behind_a_hole_is_seen(void)
{
    for (unsigned written = 0; written < 2; written++) {
        struct world w;
        with_record(&w);
        append(&w, 0, 1, 7);
        replicate(&w, 0, 1);
        struct node *n = &w.node[1];
        n->r.hs.health = TM_HEALTH_HOLED;
        look(&w, 1);
        n->r.hs.health = TM_HEALTH_FAULTY;
        if (written == 1)
            tm_sim_truth_promise(w.truth, n->id, 0, &n->r.hs);
        tm_sim_truth_reset(w.truth, n->id, 0, 1, n->log[1].checksum);
        expect(&w, written == 1 ? NULL : "node 1 was not faulty and had record 1, and gives up 1");
    }
}

/* With memory durability it is whole again before its disk has the snapshot's record. */
static void a_snapshot_that_healed_a_copy_is_sound(void)
{
    struct world w;
    begin_with(&w, &(struct tm_sim_truth_config){.memory = true}, false);
    one_record(&w);
    append(&w, 0, 1, 7);
    replicate(&w, 0, 1);
    struct node *n = &w.node[1];
    n->r.hs.health = TM_HEALTH_FAULTY;
    look(&w, 1);
    tm_sim_truth_promise(w.truth, n->id, 0, &n->r.hs);
    n->r.hs.health = TM_HEALTH_WHOLE;
    look(&w, 1);
    tm_sim_truth_reset(w.truth, n->id, 0, 1, n->log[1].checksum);
    expect(&w, NULL);
}

static const struct tm_test tests[] = {
    TM_TEST(a_sound_history_is_not_objected_to),
    TM_TEST(two_leaders_of_a_term_are_seen),
    TM_TEST(a_vote_that_is_on_no_disk_is_seen),
    TM_TEST(a_voter_of_another_disk_is_seen),
    TM_TEST(two_votes_in_a_term_are_seen),
    TM_TEST(a_promise_that_is_taken_back_is_seen),
    TM_TEST(a_promise_lost_at_a_restart_is_seen),
    TM_TEST(a_leader_without_a_majority_is_seen),
    TM_TEST(a_leader_without_what_was_committed_is_seen),
    TM_TEST(an_acknowledgement_before_the_flush_is_seen),
    TM_TEST(an_acknowledgement_of_a_term_that_is_not_durable_is_seen),
    TM_TEST(a_leader_that_counts_its_memory_is_seen),
    TM_TEST(a_hole_on_a_disk_is_seen),
    TM_TEST(a_commit_without_a_quorum_of_copies_is_seen),
    TM_TEST(a_record_lost_at_a_restart_is_seen),
    TM_TEST(one_that_knows_what_it_lost_may_have_lost_it),
    TM_TEST(damage_that_nobody_did_is_seen),
    TM_TEST(an_earlier_term_committed_by_counting_is_seen),
    TM_TEST(a_commit_that_no_leader_made_is_seen),
    TM_TEST(another_record_committed_at_an_index_is_seen),
    TM_TEST(two_records_of_one_index_and_term_are_seen),
    TM_TEST(a_record_that_follows_another_than_it_says_is_seen),
    TM_TEST(unequal_states_are_seen),
    TM_TEST(a_witness_counted_as_a_copy_is_seen),
    TM_TEST(a_lone_commit_the_witness_knows_is_sound),
    TM_TEST(a_lone_commit_the_witness_does_not_know_is_seen),
    TM_TEST(an_in_sync_set_of_two_contents_is_seen),
    TM_TEST(an_in_sync_set_with_one_who_lacks_what_is_committed_is_seen),
    TM_TEST(a_deposed_leaders_set_need_not_have_what_the_next_committed),
    TM_TEST(a_forgetful_voter_is_seen),
    TM_TEST(a_forgetful_copy_beside_a_witness_is_seen),
    TM_TEST(a_witness_forgets_nothing_in_memory),
    TM_TEST(what_all_copies_forgot_is_forgiven_if_said),
    TM_TEST(a_record_appears_once_in_whichever_log_has_it_first),
    TM_TEST(a_window_that_is_passed_is_seen),
    TM_TEST(what_is_cut_off_is_counted_once_a_disk),
    TM_TEST(a_snapshot_over_what_was_acknowledged_is_seen),
    TM_TEST(what_is_committed_and_cut_is_seen),
    TM_TEST(a_snapshot_over_what_lies_behind_a_hole_is_seen),
    TM_TEST(a_snapshot_that_healed_a_copy_is_sound),
};

TM_TEST_MAIN("sim/truth", tests)
