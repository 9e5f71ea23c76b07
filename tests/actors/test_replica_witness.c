/* Two copies and a witness: node 0 and 1 hold data, node 2 is the witness. */
#include "replica_puppet.h"

#define AN_ELECTION TM_SECONDS(2)

static struct cluster *pair_up(uint64_t seed)
{
    struct cluster *c = cluster_up(seed, 2, true);
    CU_ASSERT_FATAL(cluster_await_leader(c, AN_ELECTION) >= 0);
    CU_ASSERT_FATAL(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_run(c, TM_MS(100));
    CU_ASSERT_FATAL(cluster_converged(c, 0));
    return c;
}

static unsigned leader_of(struct cluster *c)
{
    int leader = cluster_leader(c, 0);
    CU_ASSERT_FATAL(leader >= 0);
    return (unsigned)leader;
}

/* The set that node's disk holds. */
static const struct tm_insync *set_of(struct cluster *c, unsigned node)
{
    return &c->node[node].part[0].disk_hs.insync;
}

static void a_commit_needs_both_disks_and_not_the_witness(void)
{
    struct cluster *c = pair_up(1);
    unsigned a = leader_of(c);
    cluster_crash(c, 2);
    cluster_run(c, TM_MS(50));
    CU_ASSERT(cluster_writes(c, 0, TM_MS(20))); /* W is off the path */
    cluster_start(c, 2);
    cluster_run(c, TM_MS(100));
    c->node[1 - a].disk_slow_ns = TM_MS(300);
    uint64_t index = cluster_propose(c, a, 0);
    cluster_run(c, TM_MS(200));
    CU_ASSERT_FALSE(cluster_committed(c, index));
    cluster_run(c, TM_MS(200));
    CU_ASSERT(cluster_committed(c, index));
    CU_ASSERT_EQUAL(set_of(c, a)->count, 2);
    cluster_free(c);
}

static void writes_go_on_when_either_data_node_dies(void)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct cluster *c = pair_up(seed);
        unsigned a = leader_of(c), dead = seed % 2 == 0 ? a : 1 - a;
        cluster_crash(c, dead);
        uint64_t died = c->now;
        CU_ASSERT(cluster_await_leader(c, TM_SECONDS(1)) >= 0);
        CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
        CU_ASSERT(c->now - died <= TM_MS(100));
        CU_ASSERT_EQUAL(leader_of(c), 1 - dead);
        CU_ASSERT_EQUAL(set_of(c, 1 - dead)->count, 1);
        CU_ASSERT_EQUAL(set_of(c, 2)->count, 1);
        CU_ASSERT_EQUAL(set_of(c, 2)->at[0].node, 1 - dead);
        CU_ASSERT_EQUAL(tm_replica_in_sync(replica_of(c, 1 - dead), c->now), 1);
        cluster_start(c, dead);
        cluster_run(c, TM_SECONDS(1));
        CU_ASSERT(cluster_converged(c, 0));
        for (unsigned i = 0; i < 3; i++)
            CU_ASSERT_EQUAL(set_of(c, i)->count, 2);
        cluster_free(c);
    }
}

static void no_lone_commit_before_the_witness_knows(void)
{
    struct cluster *c = pair_up(2);
    unsigned a = leader_of(c), b = 1 - a;
    cluster_cut_link(c, a, 2, true);
    cluster_run(c, TM_MS(10));
    cluster_crash(c, b);
    uint64_t index = cluster_propose(c, a, 0);
    cluster_run(c, TM_MS(250));
    CU_ASSERT_FALSE(cluster_committed(c, index));
    CU_ASSERT_EQUAL(set_of(c, 2)->count, 2);
    cluster_cut_link(c, a, 2, false);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(3)));
    CU_ASSERT_EQUAL(set_of(c, 2)->count, 1);
    cluster_free(c);
}

/* A alone went on; then A dies, and B, which has the old log, comes back. */
static void the_witness_gives_no_vote_to_who_is_not_in_sync(void)
{
    struct cluster *c = pair_up(3);
    unsigned a = leader_of(c), b = 1 - a;
    cluster_crash(c, b);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_crash(c, a);
    cluster_start(c, b);
    cluster_run(c, TM_SECONDS(5));
    CU_ASSERT(cluster_leader(c, 0) < 0);
    cluster_start(c, a);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_run(c, TM_SECONDS(1));
    CU_ASSERT(cluster_converged(c, 0));
    cluster_free(c);
}

static void a_confirmed_set_of_one_elects_itself_without_the_witness(void)
{
    struct cluster *c = pair_up(4);
    unsigned a = leader_of(c), b = 1 - a;
    cluster_crash(c, b);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_run(c, TM_MS(10));
    CU_ASSERT(set_of(c, a)->confirmed);
    cluster_crash(c, 2);
    cluster_crash(c, a);
    cluster_start(c, a);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    struct sim_read *read = cluster_read(c, a, 0);
    CU_ASSERT(read->done && read->ok); /* and serves reads by itself */
    cluster_free(c);
}

static void a_set_of_two_does_not_elect_one_without_the_witness(void)
{
    struct cluster *c = pair_up(5);
    cluster_crash(c, 0);
    cluster_crash(c, 1);
    cluster_crash(c, 2);
    cluster_start(c, 0);
    cluster_run(c, TM_SECONDS(5));
    CU_ASSERT(cluster_leader(c, 0) < 0);
    cluster_start(c, 2);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(3))); /* nobody tells that the other is down */
    cluster_free(c);
}

/* Power loss between the first and the second step of narrowing: A has the set of one, W has not.
 */
static void a_crash_while_narrowing_loses_nothing(void)
{
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct cluster *c = pair_up(seed);
        unsigned a = leader_of(c), b = 1 - a;
        cluster_propose(c, a, 0);
        cluster_crash(c, b);
        for (uint64_t steps = sim_below(c, 60); steps > 0; steps--)
            cluster_step(c, c->now + TM_MS(50));
        if (c->node[a].up)
            cluster_crash(c, a);
        cluster_start(c, seed % 2 == 0 ? b : a);
        cluster_run(c, TM_MS(700));
        cluster_start(c, seed % 2 == 0 ? a : b);
        CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(3)));
        cluster_run(c, TM_SECONDS(2));
        CU_ASSERT(cluster_converged(c, 0));
        cluster_free(c);
    }
}

static void widening_stops_lone_commits_first_and_ends_with_the_witness(void)
{
    struct cluster *c = pair_up(6);
    unsigned a = leader_of(c), b = 1 - a;
    cluster_crash(c, b);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    uint64_t narrow = set_of(c, a)->epoch;
    cluster_start(c, b);
    bool seen[8] = {false};
    while (!cluster_converged(c, 0) || replica_of(c, a)->step != TM_STEP_NONE) {
        const struct tm_replica *r = replica_of(c, a);
        seen[r->step] = true;
        if (set_of(c, b)->epoch > narrow && set_of(c, b)->count == 2)
            CU_ASSERT(set_of(c, a)->count == 2); /* A before B */
        if (set_of(c, 2)->epoch > narrow)
            CU_ASSERT(set_of(c, b)->count == 2); /* B before W */
        if (set_of(c, a)->count == 2)            /* all that is committed is on B's disk */
            CU_ASSERT(c->node[b].part[0].disk.last >= r->commit);
        CU_ASSERT_FATAL(cluster_step(c, c->now + TM_SECONDS(1)));
    }
    CU_ASSERT(seen[TM_STEP_WIDEN_SELF] && seen[TM_STEP_WIDEN_OTHER] && seen[TM_STEP_WIDEN_WITNESS]);
    CU_ASSERT_EQUAL(set_of(c, 2)->count, 2);
    CU_ASSERT_EQUAL(c->node[a].part[0].notes[TM_NOTE_NARROWED], 1);
    CU_ASSERT_EQUAL(c->node[a].part[0].notes[TM_NOTE_WIDENED], 1);
    cluster_free(c);
}

static void a_set_of_two_made_anew_by_a_leader_is_no_news(void)
{
    struct cluster *c = pair_up(6);
    CU_ASSERT_EQUAL(set_of(c, 2)->count, 2);
    for (unsigned i = 0; i < 3; i++)
        for (unsigned n = 0; n < TM_NOTE_COUNT; n++)
            if (n == TM_NOTE_WIDENED || n == TM_NOTE_NARROWED)
                CU_ASSERT_EQUAL(c->node[i].part[0].notes[n], 0);
    cluster_free(c);
}

/* Node 0, which has three records of term 1, wins term 2 with the witness's help, which knows that
 * node 0 was alone in sync. */
static struct cluster *led_after_a_lone_life(void)
{
    struct cluster *c = puppet_new(2, true);
    struct chain k;
    chain_begin(&k, (struct tm_tail){0});
    for (uint64_t i = 0; i < 3; i++)
        chain_add(&k, 1, i);
    puppet_append(c, 1, 1, &k, 1); /* it knows of the first that it is committed */
    struct tm_replica_msg w = puppet_msg(2, TM_MSG_VOTE_REPLY, 1);
    w.flags = TM_MSG_WITH_SET;
    w.insync = (struct tm_insync){.term = 1, .epoch = 2, .count = 1, .at = {{100, 0}}};
    puppet_tell(c, 0, &w);
    while (replica_of(c, 0)->role != TM_ROLE_PRECANDIDATE || !puppet_answer(c, 2, TM_MSG_PREVOTE))
        CU_ASSERT_FATAL(cluster_step(c, TM_SECONDS(5)));
    w.flags |= TM_MSG_GRANTED | TM_MSG_PRE;
    w.commit = 2;
    puppet_tell(c, 0, &w);
    while (!puppet_answer(c, 2, TM_MSG_VOTE))
        CU_ASSERT_FATAL(cluster_step(c, TM_SECONDS(5)));
    w = puppet_msg(2, TM_MSG_VOTE_REPLY, 2);
    w.flags = TM_MSG_GRANTED;
    w.commit = 2;
    puppet_tell(c, 0, &w);
    CU_ASSERT_FATAL(tm_replica_leads(replica_of(c, 0)));
    return c;
}

/* The leader does not know what it once committed alone before it commits in its own term; a copy
 * that has all that the leader knows to be committed may lack the rest. */
static void widening_waits_until_it_is_known_what_is_committed(void)
{
    struct cluster *c = led_after_a_lone_life();
    const struct tm_replica *a = replica_of(c, 0);
    cluster_run(c, TM_MS(5));
    CU_ASSERT_EQUAL(a->step, TM_STEP_NARROW_WITNESS);
    CU_ASSERT_EQUAL(a->commit, 1);
    struct tm_replica_msg b = puppet_msg(1, TM_MSG_APPEND_REPLY, 2);
    b.index = b.commit = 1;
    puppet_tell(c, 0, &b); /* the copy is back and has the first record */
    cluster_run(c, TM_MS(5));
    CU_ASSERT_EQUAL(a->hs.insync.count, 1);
    CU_ASSERT_EQUAL(a->step, TM_STEP_WIDEN_WAIT);
    b.index = b.commit = a->last.index;
    puppet_tell(c, 0, &b);
    cluster_run(c, TM_MS(5));
    CU_ASSERT_EQUAL(a->commit, a->last.index);
    CU_ASSERT_EQUAL(a->hs.insync.count, 2);
    cluster_free(c);
}

/* Both have the set of two, the witness was not told; then A dies.  B shows the set it has. */
static void a_candidate_shows_the_witness_a_newer_set(void)
{
    struct cluster *c = pair_up(15);
    unsigned a = leader_of(c), b = 1 - a;
    cluster_crash(c, b);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_run(c, TM_MS(20));
    c->cut_links[a] |= 1u << 2;
    cluster_start(c, b);
    cluster_run(c, TM_MS(250));
    CU_ASSERT_EQUAL(replica_of(c, a)->step, TM_STEP_WIDEN_WITNESS);
    CU_ASSERT_EQUAL(set_of(c, b)->count, 2);
    CU_ASSERT_EQUAL(set_of(c, 2)->count, 1);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_crash(c, a);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    CU_ASSERT_EQUAL(leader_of(c), b);
    cluster_free(c);
}

static void a_stalled_disk_counts_as_lost(void)
{
    struct cluster *c = pair_up(7);
    unsigned a = leader_of(c), b = 1 - a;
    c->node[b].disk_slow_ns = TM_SECONDS(30);
    uint64_t index = cluster_propose(c, a, 0);
    cluster_run(c, TM_MS(900));
    CU_ASSERT_FALSE(cluster_committed(c, index));
    cluster_run(c, TM_MS(300));
    CU_ASSERT(cluster_committed(c, index));
    CU_ASSERT_EQUAL(set_of(c, a)->count, 1);
    cluster_free(c);
}

static void solo_stop_refuses_writes_on_one_copy(void)
{
    struct cluster *c = pair_up(8);
    unsigned a = leader_of(c), b = 1 - a;
    struct tm_replica_slot slot;
    c->opt.solo_stop = true;
    cluster_crash(c, b);
    cluster_run(c, TM_MS(100));
    CU_ASSERT_EQUAL(tm_replica_next(replica_of(c, a), &slot), TM_ERR_NOREPLICAS);
    CU_ASSERT_EQUAL(set_of(c, a)->count, 2);
    struct sim_read *read = cluster_read(c, a, 0);
    cluster_run(c, TM_MS(50));
    CU_ASSERT(read->done && read->ok); /* reads go on, with the witness */
    cluster_start(c, b);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_free(c);
}

/* The old copy never comes back: without lone commits nobody could make the new disk a member. */
static void solo_stop_readmits_a_wiped_data_node(void)
{
    struct cluster *c = pair_up(12);
    unsigned a = leader_of(c), b = 1 - a;
    struct tm_replica_slot slot;
    c->opt.solo_stop = true;
    cluster_crash(c, b);
    cluster_wipe(c, b);
    cluster_run(c, TM_SECONDS(2));
    CU_ASSERT_EQUAL(set_of(c, a)->count, 2); /* it may still come back with its disk */
    cluster_start(c, b);
    for (unsigned ms = 0; ms < 100 && set_of(c, a)->count == 2; ms++)
        cluster_run(c, TM_MS(1));
    CU_ASSERT_EQUAL(set_of(c, a)->count, 1);
    CU_ASSERT_EQUAL(tm_replica_next(replica_of(c, a), &slot), TM_ERR_NOREPLICAS);
    for (unsigned ms = 0; ms < 5000 && set_of(c, a)->count == 1; ms++)
        cluster_run(c, TM_MS(1));
    CU_ASSERT_EQUAL(set_of(c, a)->count, 2);
    CU_ASSERT_EQUAL(replica_of(c, a)->members.at[b].id.disk, 1100 + b);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_free(c);
}

static void a_wiped_witness_counts_again_after_it_got_the_set(void)
{
    for (unsigned alone = 0; alone < 2; alone++) {
        struct cluster *c = pair_up(9 + alone);
        unsigned a = leader_of(c);
        if (alone == 1) {
            cluster_crash(c, 1 - a);
            CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
        }
        cluster_crash(c, 2);
        cluster_wipe(c, 2);
        cluster_start(c, 2);
        cluster_run(c, TM_SECONDS(2));
        const struct tm_members *m = &replica_of(c, a)->members;
        CU_ASSERT_EQUAL(m->at[2].id.disk, 1102);
        CU_ASSERT_EQUAL(m->at[2].role, TM_MEMBER_WITNESS);
        CU_ASSERT_EQUAL(set_of(c, 2)->count, alone == 1 ? 1 : 2);
        if (alone == 1) {
            cluster_start(c, 1 - a);
            cluster_run(c, TM_SECONDS(1));
        }
        CU_ASSERT(cluster_converged(c, 0));
        cluster_crash(c, a); /* its vote counts: the other data node leads with it */
        CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
        cluster_free(c);
    }
}

static void a_wiped_data_node_is_readmitted(void)
{
    struct cluster *c = pair_up(11);
    unsigned a = leader_of(c), b = 1 - a;
    cluster_crash(c, b);
    cluster_wipe(c, b);
    cluster_start(c, b);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(2)));
    cluster_run(c, TM_SECONDS(2));
    CU_ASSERT(cluster_converged(c, 0));
    CU_ASSERT_EQUAL(replica_of(c, a)->members.at[b].id.disk, 1100 + b);
    cluster_crash(c, a);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_free(c);
}

/* A wiped data node asks for votes: its disk is no member of the set. */
static void a_wiped_data_node_gets_no_vote_of_the_witness(void)
{
    struct cluster *c = cluster_new(1, 2, true, 3, 1);
    c->by_hand = true;
    cluster_start(c, 2);
    struct tm_replica_msg m = puppet_msg(1, TM_MSG_VOTE, 1);
    m.from.disk = 1101;
    m.flags = TM_MSG_WITH_SET;
    m.insync = (struct tm_insync){.count = 2, .at = {{100, 0}, {101, 1}}};
    puppet_tell(c, 2, &m);
    cluster_run(c, TM_MS(5));
    CU_ASSERT_EQUAL(replica_of(c, 2)->hs.vote.node, TM_NODE_UNKNOWN);
    m.from.disk = 101;
    puppet_tell(c, 2, &m);
    cluster_run(c, TM_MS(5));
    CU_ASSERT_EQUAL(replica_of(c, 2)->hs.vote.node, 1);
    cluster_free(c);
}

static void a_set_of_a_lower_term_is_refused_by_a_voter(void)
{
    struct cluster *c = cluster_new(1, 2, true, 3, 1);
    c->by_hand = true;
    cluster_start(c, 2);
    struct tm_replica_msg m = puppet_msg(1, TM_MSG_VOTE, 7);
    m.flags = TM_MSG_WITH_SET;
    m.insync = (struct tm_insync){.count = 2, .at = {{100, 0}, {101, 1}}};
    puppet_tell(c, 2, &m);
    struct tm_replica_msg late = puppet_msg(0, TM_MSG_INSYNC, 6); /* A of term 6 narrows */
    late.flags = TM_MSG_WITH_SET;
    late.insync = (struct tm_insync){.term = 6, .epoch = 2, .count = 1, .at = {{100, 0}}};
    puppet_tell(c, 2, &late);
    cluster_run(c, TM_MS(5));
    CU_ASSERT_EQUAL(set_of(c, 2)->count, 2);
    late.term = late.insync.term = 7;
    puppet_tell(c, 2, &late);
    cluster_run(c, TM_MS(5));
    CU_ASSERT_EQUAL(set_of(c, 2)->count, 1);
    late.insync.epoch = 1;
    late.insync.count = 2;
    late.insync.at[1] = (struct tm_id){101, 1};
    puppet_tell(c, 2, &late); /* an earlier epoch of the same term */
    cluster_run(c, TM_MS(5));
    CU_ASSERT_EQUAL(set_of(c, 2)->count, 1);
    cluster_free(c);
}

/* What a copy outside the set has beyond the log of the one in it was never committed: else nobody
 * could be elected once the witness is wiped, too.  Whose tail was damaged is held to it. */
static void a_longer_log_outside_the_set_hinders_nobody_in_it(void)
{
    enum { IN_THE_SET, OUTSIDE, OUTSIDE_OF_A_SUSPECT, CASES };
    for (unsigned i = 0; i < CASES; i++) {
        struct cluster *c = puppet_new(2, true);
        struct chain k;
        chain_begin(&k, (struct tm_tail){0});
        for (unsigned r = 0; r < 3; r++)
            chain_add(&k, 1, r);
        puppet_append(c, 1, 1, &k, 0);
        cluster_run(c, TM_MS(5));
        struct tm_replica_msg m = puppet_msg(1, TM_MSG_INSYNC, 1);
        m.flags = TM_MSG_WITH_SET;
        m.insync = (struct tm_insync){.term = 1, .epoch = 2, .count = 1, .at = {{101, 1}}};
        if (i == IN_THE_SET)
            m.insync =
                (struct tm_insync){.term = 1, .epoch = 2, .count = 2, .at = {{100, 0}, {101, 1}}};
        puppet_tell(c, 0, &m);
        cluster_run(c, TM_MS(5));
        CU_ASSERT_EQUAL(set_of(c, 0)->count, i == IN_THE_SET ? 2 : 1);
        m.kind = TM_MSG_VOTE;
        m.term = 2;
        m.index = 2; /* of three */
        m.index_term = 1;
        m.flags =
            TM_MSG_WITH_SET | TM_MSG_FORCED | (i == OUTSIDE_OF_A_SUSPECT ? TM_MSG_SUSPECT : 0);
        puppet_tell(c, 0, &m);
        cluster_run(c, TM_MS(5));
        const struct tm_replica_msg *reply = puppet_answer(c, 1, TM_MSG_VOTE_REPLY);
        CU_ASSERT_PTR_NOT_NULL_FATAL(reply);
        CU_ASSERT_EQUAL((reply->flags & TM_MSG_GRANTED) != 0, i == OUTSIDE);
        cluster_free(c);
    }
}

static void four_voters_have_no_witness_and_need_three(void)
{
    struct cluster *c = cluster_up(12, 4, false);
    CU_ASSERT(cluster_await_leader(c, AN_ELECTION) >= 0);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    unsigned a = leader_of(c);
    cluster_crash(c, (a + 1) % 4);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_crash(c, (a + 2) % 4);
    CU_ASSERT_FALSE(cluster_writes(c, 0, TM_SECONDS(3)));
    cluster_free(c);
}

static void two_nodes_in_all_do_not_fail_over(void)
{
    struct cluster *c = cluster_up(13, 2, false);
    CU_ASSERT(cluster_await_leader(c, AN_ELECTION) >= 0);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_run(c, TM_MS(100));
    unsigned a = leader_of(c);
    cluster_crash(c, a);
    cluster_run(c, TM_SECONDS(5));
    CU_ASSERT(cluster_leader(c, 0) < 0);
    CU_ASSERT_EQUAL(tm_replica_recover(replica_of(c, 1 - a)), TM_OK); /* the operator's word */
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_run(c, TM_MS(100));
    CU_ASSERT_EQUAL(tm_replica_recover(replica_of(c, 1 - a)), TM_ERR_EXISTS);
    cluster_crash(c, 1 - a);
    cluster_start(c, 1 - a);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1))); /* it is written down */
    cluster_start(c, a);
    cluster_run(c, TM_SECONDS(1));
    CU_ASSERT(cluster_converged(c, 0)); /* as a voter again */
    cluster_crash(c, a);
    CU_ASSERT_FALSE(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_free(c);
}

static void recover_goes_on_with_one_copy_and_gets_the_others_back(void)
{
    for (uint64_t seed = 14; seed < 44; seed++) {
        struct cluster *c = pair_up(seed);
        unsigned a = leader_of(c), b = 1 - a;
        cluster_crash(c, b);
        CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
        cluster_crash(c, a);
        cluster_start(c, b);
        cluster_run(c, TM_SECONDS(1));
        CU_ASSERT_EQUAL(tm_replica_recover(replica_of(c, 2)),
                        TM_ERR_INVALID); /* a witness has no data */
        c->loss_allowed = true;
        CU_ASSERT_EQUAL(tm_replica_recover(replica_of(c, b)), TM_OK);
        cluster_run(c, TM_MS(500));
        CU_ASSERT_EQUAL(cluster_leader(c, 0), (int)b);
        CU_ASSERT(cluster_propose(c, b, 0) > 0);
        cluster_wipe(c, a); /* what it had is not of this history any more */
        cluster_start(c, a);
        cluster_run(c, TM_SECONDS(2));
        CU_ASSERT(cluster_converged(c, 0));
        unsigned victim = (unsigned)sim_below(c, 2);
        cluster_crash(c, victim);
        CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(2)));
        cluster_start(c, victim);
        CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(2)));
        cluster_free(c);
    }
}

static const struct tm_test tests[] = {
    TM_TEST(a_commit_needs_both_disks_and_not_the_witness),
    TM_TEST(writes_go_on_when_either_data_node_dies),
    TM_TEST(no_lone_commit_before_the_witness_knows),
    TM_TEST(the_witness_gives_no_vote_to_who_is_not_in_sync),
    TM_TEST(a_confirmed_set_of_one_elects_itself_without_the_witness),
    TM_TEST(a_set_of_two_does_not_elect_one_without_the_witness),
    TM_TEST(a_crash_while_narrowing_loses_nothing),
    TM_TEST(a_set_of_two_made_anew_by_a_leader_is_no_news),
    TM_TEST(widening_stops_lone_commits_first_and_ends_with_the_witness),
    TM_TEST(widening_waits_until_it_is_known_what_is_committed),
    TM_TEST(a_candidate_shows_the_witness_a_newer_set),
    TM_TEST(a_stalled_disk_counts_as_lost),
    TM_TEST(solo_stop_refuses_writes_on_one_copy),
    TM_TEST(solo_stop_readmits_a_wiped_data_node),
    TM_TEST(a_wiped_witness_counts_again_after_it_got_the_set),
    TM_TEST(a_wiped_data_node_is_readmitted),
    TM_TEST(a_wiped_data_node_gets_no_vote_of_the_witness),
    TM_TEST(a_set_of_a_lower_term_is_refused_by_a_voter),
    TM_TEST(a_longer_log_outside_the_set_hinders_nobody_in_it),
    TM_TEST(four_voters_have_no_witness_and_need_three),
    TM_TEST(two_nodes_in_all_do_not_fail_over),
    TM_TEST(recover_goes_on_with_one_copy_and_gets_the_others_back),
};
TM_TEST_MAIN("actors/replica_witness", tests)
