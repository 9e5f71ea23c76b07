/* What the oracle sees in a replica that it looks at, rule by rule (sim_truth_look.c), and what it
 * knows of disks (sim_truth.c): beside each thing to object to, the nearest one that is sound. */
#include "tests/sim/truth_world.h"

/* ---- the log ---- */

static void a_record_in_another_term_is_seen(void)
{
    struct world w;
    with_record(&w);
    copy_record(&w, 1, append(&w, 0, 1, 7));
    look(&w, 0);
    w.node[1].log[2].term = 2;
    look(&w, 1);
    expect(&w, "node 1 has record 2 in term 2, others in 1 (invariant 5)");
}

static void terms_that_go_down_are_seen(void)
{
    struct world w;
    begin(&w);
    elect(&w, 0, 3, 3);
    append(&w, 0, 3, 0);
    append(&w, 0, 2, 0);
    look(&w, 0);
    expect(&w, "node 0: terms go down from 3 to 2 at 2");
}

static void each_thing_that_changes_is_looked_at_once(void)
{
    enum { ROLE, TERM, VOTE, INDEX, COMMIT, APPLIED, GRANTED, EPOCH, CONFIRMED, HEALTH, MATCH, N };
    for (unsigned i = 0; i < N; i++) {
        struct world w;
        with_record(&w);
        struct tm_replica *r = &w.node[i == MATCH ? 0 : 2].r;
        uint64_t had = tm_sim_truth_stats(w.truth).looks;
        look(&w, r->self.node);
        CU_ASSERT_EQUAL(tm_sim_truth_stats(w.truth).looks, had);
        r->role = i == ROLE ? TM_ROLE_CANDIDATE : r->role;
        r->asked |= i == ROLE;
        r->hs.term += i == TERM;
        r->hs.vote = i == VOTE ? w.node[1].id : r->hs.vote;
        r->commit -= i == COMMIT;
        w.node[2].applied -= i == APPLIED;
        r->granted += i == GRANTED;
        r->hs.insync.epoch += i == EPOCH;
        r->hs.insync.confirmed |= i == CONFIRMED;
        r->hs.health = i == HEALTH ? TM_HEALTH_SUSPECT : r->hs.health;
        r->peer[1].match -= i == MATCH;
        if (i == INDEX)
            append(&w, 2, 1, 7);
        for (int twice = 0; twice < 2; twice++) {
            look(&w, r->self.node);
            CU_ASSERT_EQUAL(tm_sim_truth_stats(w.truth).looks, had + 1);
        }
        expect(&w, NULL);
    }
}

/* ---- terms and votes ---- */

static void a_vote_that_changes_in_memory_is_seen(void)
{
    struct world w;
    with_record(&w);
    promise(&w, 2, 5, 1);
    look(&w, 2);
    w.node[2].r.hs.vote = w.node[0].id; /* its disk still has the other one */
    look(&w, 2);
    expect(&w, "node 2 votes for 0 in term 5 after 1 (invariant 1)");
    with_record(&w);
    promise(&w, 2, 5, 1);
    look(&w, 2);
    w.node[2].r.hs.term = 4;
    look(&w, 2);
    expect(&w, "node 2 is in term 4 after 5 (invariant 1)");
}

static void a_term_taken_without_leave_is_seen(void)
{
    static const struct {
        unsigned granted;
        bool asked, forced, wrong;
    } cases[] = {
        {2, false, false, true},  /* by its own leave only */
        {6, false, false, false}, /* by a majority's */
        {2, true, false, false},  /* it had leave, and now asks for votes */
        {2, false, true, false},  /* it was told to */
    };
    for (unsigned i = 0; i < TM_ARRAY_LEN(cases); i++) {
        struct world w;
        with_record(&w);
        promise(&w, 1, 2, 1);
        w.node[1].r.role = TM_ROLE_CANDIDATE;
        w.node[1].r.granted = cases[i].granted;
        w.node[1].r.asked = cases[i].asked;
        w.node[1].r.forced = cases[i].forced;
        look(&w, 1);
        expect(&w, cases[i].wrong ? "node 1 takes term 2 by leave of 1 of 3" : NULL);
    }
}

static void a_leader_of_the_next_term_needs_votes_again(void)
{
    struct world w;
    with_record(&w);
    elect(&w, 0, 2, 1); /* it led term 1, and no look saw it follow */
    look(&w, 0);
    expect(&w, "node 0 leads term 2 by 1 of 3 votes (invariant 4)");
}

/* By its vote alone, with in-sync set {0, 1}, {1}, {0}. */
static void a_lone_vote_is_enough_for_whoever_is_in_sync_alone(void)
{
    static const unsigned sets[] = {3, 2, 1};
    for (unsigned i = 0; i < TM_ARRAY_LEN(sets); i++) {
        struct world w;
        with_witness(&w);
        elect(&w, 0, 2, 1);
        insync(&w, 0, 2, 1, sets[i]);
        look(&w, 0);
        expect(&w, sets[i] == 1 ? NULL : "node 0 leads term 2 by 1 of 3 votes");
    }
}

/* ---- --solo stop ---- */

static void a_copy_left_out_with_solo_stop_is_seen(void)
{
    for (unsigned replaced = 0; replaced < 2; replaced++) {
        for (unsigned stop = 0; stop < 2; stop++) {
            struct world w;
            with_witness_by(&w, &(struct tm_sim_truth_config){.solo_stop = stop == 1});
            if (replaced == 1) {
                w.node[1].id.disk = w.node[1].r.self.disk = 777;
                boot(&w, 1, (struct tm_sim_truth_boot){0});
            }
            insync(&w, 0, 1, 2, 1);
            look(&w, 0);
            expect(&w, stop == 1 && replaced == 0
                           ? "node 0 goes on without node 1, with --solo stop"
                           : NULL);
        }
    }
}

static void a_write_taken_alone_with_solo_stop_is_seen(void)
{
    static const struct {
        enum tm_record_kind kind;
        bool stop, wrong;
    } cases[] = {
        {TM_RECORD_EFFECT, true, true},
        {TM_RECORD_FLUSH, true, true},
        {TM_RECORD_NOOP, true, false}, /* no client's */
        {TM_RECORD_EFFECT, false, false},
    };
    for (unsigned i = 0; i < TM_ARRAY_LEN(cases); i++) {
        struct world w;
        with_witness_by(&w, &(struct tm_sim_truth_config){.solo_stop = cases[i].stop});
        w.node[1].id.disk = w.node[1].r.self.disk = 777; /* so node 0 may go on alone */
        boot(&w, 1, (struct tm_sim_truth_boot){0});
        append_kind(&w, 0, 1, 0, TM_RECORD_EFFECT); /* before it was alone */
        insync(&w, 0, 1, 2, 1);
        look(&w, 0);
        append_kind(&w, 0, 1, 0, cases[i].kind);
        look(&w, 0);
        expect(&w, cases[i].wrong ? "node 0 takes record 3 on one copy, with --solo stop" : NULL);
    }
}

/* ---- promises of in-sync sets ---- */

static void an_in_sync_set_that_goes_back_is_seen(void)
{
    struct world w;
    with_witness(&w);
    insync(&w, 0, 1, 2, 1);
    insync(&w, 0, 1, 1, 3);
    expect(&w, "node 0 went back to in-sync set 1.1 from 1.2");
    with_witness(&w);
    insync(&w, 0, 2, 1, 3);                        /* of a newer term, whatever the epoch */
    w.node[0].r.hs.insync = (struct tm_insync){0}; /* none at all is no older one */
    tm_sim_truth_promise(w.truth, w.node[0].id, 0, &w.node[0].r.hs);
    expect(&w, NULL);
}

/* The witness has an older one, or another of the same number, or just this. */
static void the_witness_knows_a_set_by_number_and_content(void)
{
    static const struct {
        uint64_t epoch;
        unsigned nodes;
        bool wrong;
    } cases[] = {{1, 1, true}, {2, 2, true}, {2, 1, false}, {3, 2, false}};
    for (unsigned i = 0; i < TM_ARRAY_LEN(cases); i++) {
        struct world w;
        with_witness(&w);
        insync(&w, 0, 1, 2, 1);
        promise(&w, 2, 1, TM_NODE_UNKNOWN);
        insync(&w, 2, 1, cases[i].epoch, cases[i].nodes);
        w.node[0].r.hs.insync.confirmed = true;
        look(&w, 0);
        expect(&w, cases[i].wrong ? "takes its in-sync set 1.2 for confirmed" : NULL);
    }
}

static void what_both_copies_have_needs_no_witness(void)
{
    struct world w;
    with_witness(&w);
    replicate(&w, 0, 1);
    insync(&w, 0, 1, 2, 1); /* the witness does not know */
    commit(&w, 0, 1);
    look(&w, 0);
    expect(&w, NULL);
}

/* ---- commits ---- */

static void a_commit_of_what_its_log_does_not_have_is_seen(void)
{
    struct world w;
    with_record(&w);
    commit(&w, 0, 2);
    look(&w, 0);
    expect(&w, "node 0 committed 2, which its log does not have");
}

/* Not only where the partition's newest commit is. */
static void another_record_committed_further_back_is_seen(void)
{
    struct world w;
    with_record(&w);
    lead_on(&w, 0, 1);
    replicate(&w, 0, 1);
    commit(&w, 0, 2);
    look(&w, 0);
    w.node[2].log[1] = (struct tm_record){.index = 1, .term = 0, .checksum = 999};
    w.node[2].r.last = (struct tm_tail){1, 0, 999};
    boot(&w, 2, (struct tm_sim_truth_boot){.lied = true});
    expect(&w, "node 2 committed record 1 of term 0, it was committed of term 1 (invariant 5)");
}

/* ---- starts ---- */

/* Node 2 starts damaged, and then takes itself for whole: with nothing, with the record in memory
 * only, with it on its disk. */
static void who_is_whole_again_has_what_it_had(void)
{
    for (unsigned has = 0; has < 3; has++) {
        struct world w;
        with_record(&w);
        struct node *n = &w.node[2];
        n->log[1].index = 0;
        n->r.last = (struct tm_tail){0};
        n->r.durable = n->r.commit = n->applied = n->flushed = 0;
        n->r.hs.health = TM_HEALTH_SUSPECT;
        boot(&w, 2, (struct tm_sim_truth_boot){.unclean = true, .rotten = true});
        if (has > 0)
            copy_record(&w, 2, &w.node[0].log[1]);
        if (has > 1)
            flush(&w, 2);
        n->r.hs.health = TM_HEALTH_WHOLE;
        look(&w, 2);
        expect(&w, has == 2 ? NULL : "node 2 is whole again without record 1 of term 1");
    }
}

/* Node 2 has two records, the first of which rots. */
static struct node *with_a_hole(struct world *w)
{
    struct node *n = &w->node[2];
    begin(w);
    one_record(w);
    append(w, 0, 1, 7);
    replicate(w, 0, 2);
    n->hole_first = n->hole_last = 1;
    n->end = 2;
    n->log[1].index = 0;
    n->r.last = (struct tm_tail){0};
    n->r.durable = n->r.commit = n->applied = 0;
    n->r.hs.health = TM_HEALTH_HOLED;
    return n;
}

static void what_was_missing_is_on_the_disk_again_when_it_counts(void)
{
    for (unsigned flushed = 0; flushed < 2; flushed++) {
        struct world w;
        struct node *n = with_a_hole(&w);
        look(&w, 2);
        n->log[1].index = 1;
        if (flushed == 1)
            tm_sim_truth_durable(w.truth, n->id, &n->log[1]);
        n->hole_first = n->hole_last = 0;
        n->r.last = (struct tm_tail){2, 1, n->log[2].checksum};
        n->r.durable = 2;
        n->r.hs.health = TM_HEALTH_WHOLE;
        look(&w, 2);
        expect(&w, flushed == 1 ? NULL
                                : "record 1 of term 1, which its log lacked, is not on its disk");
    }
}

/* Its log ends where it did, or before. */
static void who_has_holes_knows_where_its_log_ended(void)
{
    for (uint64_t end = 1; end <= 2; end++) {
        struct world w;
        struct node *n = with_a_hole(&w);
        n->end = end;
        boot(&w, 2, (struct tm_sim_truth_boot){.unclean = true, .rotten = true});
        expect(&w, end == 2 ? NULL : "without record 2, which it had durably, and takes record 1");
    }
}

/* What was in memory only is not known by its holes. */
static void holes_prove_nothing_of_what_was_in_memory(void)
{
    struct world w;
    begin_with(&w, &(struct tm_sim_truth_config){.memory = true}, false);
    one_record(&w);
    w.node[2].r.hs.health = TM_HEALTH_HOLED;
    boot(&w, 2, (struct tm_sim_truth_boot){.unclean = true, .rotten = true});
    expect(&w, "node 2 came back from an unclean end and takes its memory for whole");
}

/* The disk lied about record 2: its log ends at 1 now, and goes on from there. */
static void what_a_start_finds_is_what_there_is(void)
{
    struct world w;
    with_record(&w);
    struct node *n = &w.node[0];
    struct tm_record second = *append(&w, 0, 1, 7), third = *append(&w, 0, 1, 8);
    tm_sim_truth_durable(w.truth, n->id, &second);
    n->log[2].index = n->log[3].index = 0;
    n->r.last = (struct tm_tail){1, 1, n->log[1].checksum};
    n->r.role = TM_ROLE_FOLLOWER;
    boot(&w, 0, (struct tm_sim_truth_boot){.unclean = true, .lied = true});
    CU_ASSERT_EQUAL(w.wrongs, 0);
    tm_sim_truth_durable(w.truth, n->id, &third);
    expect(&w, "goes on with record 3 after 1");
    with_record(&w);
    lead_on(&w, 0, 1);
    replicate(&w, 0, 1);
    boot(&w, 1, (struct tm_sim_truth_boot){.unclean = true});
    cut(&w, 1, 2);
    CU_ASSERT_EQUAL(tm_sim_truth_cut_off(w.truth, 1), 1); /* it knows which record that was */
    expect(&w, NULL);
}

/* ---- what it knows ---- */

static void it_knows_who_has_what_and_what_is_committed(void)
{
    struct world w;
    with_record(&w);
    uint64_t first = w.node[0].log[1].checksum;
    uint64_t second = append(&w, 0, 1, 7)->checksum;
    CU_ASSERT_EQUAL(tm_sim_truth_copies(w.truth, 0, 2, second), 0);
    flush(&w, 0);
    look(&w, 0);
    CU_ASSERT_EQUAL(tm_sim_truth_copies(w.truth, 0, 1, first), 3);
    CU_ASSERT_EQUAL(tm_sim_truth_copies(w.truth, 0, 1, first + 1), 0);
    CU_ASSERT_EQUAL(tm_sim_truth_copies(w.truth, 0, 2, second), 1);
    CU_ASSERT_TRUE(tm_sim_truth_is_committed(w.truth, 0, 1, first));
    CU_ASSERT_FALSE(tm_sim_truth_is_committed(w.truth, 0, 1, first + 1));
    CU_ASSERT_FALSE(tm_sim_truth_is_committed(w.truth, 0, 2, second));
    tm_sim_truth_durable(w.truth, w.node[0].id, &w.node[0].log[2]); /* a repair */
    CU_ASSERT_EQUAL(tm_sim_truth_copies(w.truth, 0, 2, second), 1);
    expect(&w, NULL);
}

static const struct tm_test tests[] = {
    TM_TEST(a_record_in_another_term_is_seen),
    TM_TEST(terms_that_go_down_are_seen),
    TM_TEST(each_thing_that_changes_is_looked_at_once),
    TM_TEST(a_vote_that_changes_in_memory_is_seen),
    TM_TEST(a_term_taken_without_leave_is_seen),
    TM_TEST(a_leader_of_the_next_term_needs_votes_again),
    TM_TEST(a_lone_vote_is_enough_for_whoever_is_in_sync_alone),
    TM_TEST(a_copy_left_out_with_solo_stop_is_seen),
    TM_TEST(a_write_taken_alone_with_solo_stop_is_seen),
    TM_TEST(an_in_sync_set_that_goes_back_is_seen),
    TM_TEST(the_witness_knows_a_set_by_number_and_content),
    TM_TEST(what_both_copies_have_needs_no_witness),
    TM_TEST(a_commit_of_what_its_log_does_not_have_is_seen),
    TM_TEST(another_record_committed_further_back_is_seen),
    TM_TEST(who_is_whole_again_has_what_it_had),
    TM_TEST(what_was_missing_is_on_the_disk_again_when_it_counts),
    TM_TEST(who_has_holes_knows_where_its_log_ended),
    TM_TEST(holes_prove_nothing_of_what_was_in_memory),
    TM_TEST(what_a_start_finds_is_what_there_is),
    TM_TEST(it_knows_who_has_what_and_what_is_committed),
};

TM_TEST_MAIN("sim/truth_look", tests)
