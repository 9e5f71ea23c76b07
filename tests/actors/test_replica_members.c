/* Who takes part, who may be believed, and the histories of docs/PROTOCOL.md that are about it. */
#include "replica_puppet.h"

#define AN_ELECTION TM_SECONDS(2)

static unsigned leader_of(struct cluster *c)
{
    int leader = cluster_leader(c, 0);
    CU_ASSERT_FATAL(leader >= 0);
    return (unsigned)leader;
}

static struct cluster *settled(uint64_t seed, unsigned voters, unsigned nodes)
{
    struct cluster *c = cluster_new(seed, voters, false, nodes, 1);
    for (unsigned i = 0; i < nodes; i++)
        cluster_start(c, i);
    CU_ASSERT_FATAL(cluster_await_leader(c, AN_ELECTION) >= 0);
    CU_ASSERT_FATAL(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_run(c, TM_MS(100));
    return c;
}

static enum tm_health health_of(struct cluster *c, unsigned node)
{
    return replica_of(c, node)->hs.health;
}

/* --- membership --- */

static void a_learner_is_fed_then_let_in_by_one_record(void)
{
    struct cluster *c = settled(1, 3, 4);
    unsigned a = leader_of(c);
    struct tm_members m = replica_of(c, a)->members;
    m.at[m.count++] = (struct tm_member){.id = {.node = 3}, .role = TM_MEMBER_LEARNER};
    CU_ASSERT_EQUAL(tm_replica_change(replica_of(c, a), &m), TM_OK);
    CU_ASSERT_EQUAL(tm_replica_change(replica_of(c, a), &m), TM_ERR_AGAIN); /* one at a time */
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_run(c, TM_MS(300));
    CU_ASSERT_EQUAL(replica_of(c, 3)->last.index, replica_of(c, a)->last.index);
    CU_ASSERT_EQUAL(tm_replica_copies(replica_of(c, a), replica_of(c, a)->commit), 3);
    m.at[3] = (struct tm_member){.id = {.disk = 103, .node = 3}, .role = TM_MEMBER_VOTER};
    CU_ASSERT_EQUAL(tm_replica_change(replica_of(c, a), &m), TM_OK);
    cluster_run(c, TM_MS(300));
    CU_ASSERT(cluster_converged(c, 0));
    CU_ASSERT_EQUAL(tm_replica_copies(replica_of(c, a), replica_of(c, a)->commit), 4);
    cluster_crash(c, a); /* three of four go on, the new one among them */
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_free(c);
}

static void a_step_changes_one_voter_and_never_the_leader(void)
{
    struct cluster *c = settled(2, 3, 5);
    unsigned a = leader_of(c);
    struct tm_replica *r = replica_of(c, a);
    struct tm_members two = r->members, self = r->members, bad = r->members;
    two.at[two.count++] = (struct tm_member){.id = {103, 3}, .role = TM_MEMBER_VOTER};
    two.at[two.count++] = (struct tm_member){.id = {104, 4}, .role = TM_MEMBER_VOTER};
    CU_ASSERT_EQUAL(tm_replica_change(r, &two), TM_ERR_INVALID);
    self.at[a].role = TM_MEMBER_LEARNER;
    CU_ASSERT_EQUAL(tm_replica_change(r, &self), TM_ERR_INVALID);
    bad.at[0].id.node = bad.at[1].id.node;
    CU_ASSERT_EQUAL(tm_replica_change(r, &bad), TM_ERR_INVALID);
    CU_ASSERT_EQUAL(tm_replica_change(replica_of(c, (a + 1) % 3), &two), TM_ERR_NOTLEADER);
    cluster_free(c);
}

static void members_that_were_cut_are_those_before_again(void)
{
    struct cluster *c = settled(3, 3, 4);
    unsigned a = leader_of(c);
    cluster_isolate(c, a, true);
    struct tm_members m = replica_of(c, a)->members;
    m.at[m.count++] = (struct tm_member){.id = {103, 3}, .role = TM_MEMBER_VOTER};
    CU_ASSERT_EQUAL(tm_replica_change(replica_of(c, a), &m), TM_OK);
    CU_ASSERT_EQUAL(replica_of(c, a)->members.count, 4);
    cluster_run(c, TM_SECONDS(1));
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_isolate(c, a, false);
    cluster_run(c, TM_SECONDS(1));
    CU_ASSERT_EQUAL(replica_of(c, a)->members.count, 3);
    CU_ASSERT(cluster_converged(c, 0));
    cluster_free(c);
}

/* --- [wiped node votes after restart] --- */

static void a_wiped_node_helps_nobody_to_win(void)
{
    struct cluster *c = settled(4, 3, 3);
    unsigned a = leader_of(c), b = (a + 1) % 3, late = (a + 2) % 3;
    cluster_isolate(c, late, true);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1))); /* on a and b */
    cluster_crash(c, b);
    cluster_wipe(c, b);
    cluster_crash(c, a);
    cluster_isolate(c, late, false);
    cluster_start(c, b);
    cluster_run(c, TM_SECONDS(5));
    CU_ASSERT(cluster_leader(c, 0) < 0); /* late and b are two of three nodes, not of disks */
    cluster_start(c, a);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(2)));
    cluster_run(c, TM_SECONDS(2));
    CU_ASSERT(cluster_converged(c, 0));
    cluster_free(c);
}

static void a_wiped_node_is_readmitted_in_two_steps(void)
{
    struct cluster *c = settled(5, 3, 3);
    unsigned a = leader_of(c), b = (a + 1) % 3;
    cluster_crash(c, b);
    cluster_wipe(c, b);
    cluster_start(c, b);
    cluster_run(c, TM_SECONDS(1));
    CU_ASSERT(cluster_converged(c, 0));
    CU_ASSERT_EQUAL(replica_of(c, a)->members.at[b].id.disk, 1100 + b);
    unsigned configs = 0;
    const struct sim_log *log = &c->node[a].part[0].log;
    for (uint64_t i = 1; i <= log->last; i++)
        configs += log->record[i]->kind == TM_RECORD_CONFIG;
    CU_ASSERT_EQUAL(configs, 2);
    cluster_crash(c, (a + 2) % 3);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1))); /* its acknowledgements count again */
    cluster_free(c);
}

/* --- [forgetful voter] --- */

static void a_replica_that_forgot_is_no_voter_until_reseeded(void)
{
    struct cluster *c = settled(6, 3, 3);
    unsigned a = leader_of(c), b = (a + 1) % 3, late = (a + 2) % 3;
    cluster_isolate(c, late, true);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1))); /* on a and b */
    cluster_crash(c, b);
    c->node[b].part[0].disk.last = 0; /* a log in memory */
    c->node[b].part[0].damaged = TM_HEALTH_SUSPECT;
    c->harmed = true;
    cluster_crash(c, a);
    cluster_isolate(c, late, false);
    cluster_start(c, b);
    cluster_run(c, TM_SECONDS(5));
    CU_ASSERT(cluster_leader(c, 0) < 0);
    CU_ASSERT_EQUAL(health_of(c, b), TM_HEALTH_SUSPECT);
    cluster_start(c, a);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(2)));
    cluster_run(c, TM_SECONDS(1));
    CU_ASSERT_EQUAL(health_of(c, b), TM_HEALTH_WHOLE);
    CU_ASSERT(cluster_converged(c, 0));
    cluster_free(c);
}

static void healing_needs_all_that_a_leader_of_a_firm_term_committed(void)
{
    struct cluster *c = puppet_new(3, false);
    cluster_crash(c, 0);
    c->node[0].part[0].damaged = TM_HEALTH_SUSPECT;
    cluster_start(c, 0);
    struct chain k, rest;
    chain_begin(&k, (struct tm_tail){0});
    chain_add(&k, 3, 0);
    puppet_append(c, 1, 4, &k, 1); /* this leader has committed nothing of its own term yet */
    cluster_run(c, TM_MS(10));
    CU_ASSERT_EQUAL(health_of(c, 0), TM_HEALTH_SUSPECT);
    chain_begin(&rest, k.tail);
    chain_add(&rest, 4, 0);
    struct tm_replica_msg m = puppet_msg(1, TM_MSG_APPEND, 4);
    m.index = 1;
    m.index_term = 3;
    m.hash = k.tail.hash;
    m.commit = 2;
    m.flags = TM_MSG_FIRM;
    puppet_tell(c, 0, &m); /* committed up to 2, which is not here */
    cluster_run(c, TM_MS(10));
    CU_ASSERT_EQUAL(health_of(c, 0), TM_HEALTH_SUSPECT);
    m.count = rest.count;
    m.body = tm_bytes_of(rest.bytes, rest.len);
    puppet_tell(c, 0, &m);
    CU_ASSERT_EQUAL(health_of(c, 0), TM_HEALTH_SUSPECT); /* not durable yet */
    cluster_run(c, TM_MS(10));
    CU_ASSERT_EQUAL(health_of(c, 0), TM_HEALTH_WHOLE);
    cluster_free(c);
}

/* --- [power loss tears every replica's tail at once] --- */

static void when_all_have_answered_the_longest_log_stands(void)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct cluster *c = settled(seed, 3, 3);
        for (int i = 0; i < 10; i++)
            CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
        cluster_run(c, TM_MS(100));
        uint64_t all = c->committed_max[0];
        for (unsigned i = 0; i < 3; i++) {
            cluster_crash(c, i);
            c->node[i].part[0].disk.last = all - (i + seed) % 3; /* one kept everything */
            c->node[i].part[0].damaged = TM_HEALTH_SUSPECT;
        }
        c->harmed = true;
        unsigned absent = (unsigned)(seed % 3);
        for (unsigned i = 0; i < 3; i++)
            if (i != absent)
                cluster_start(c, i);
        cluster_run(c, TM_SECONDS(3));
        CU_ASSERT(cluster_leader(c, 0) < 0); /* two of three suspects prove nothing */
        cluster_start(c, absent);
        CU_ASSERT_FATAL(cluster_await_leader(c, TM_SECONDS(3)) >= 0);
        CU_ASSERT(tm_replica_status(replica_of(c, leader_of(c))).longest_stands);
        CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
        cluster_run(c, TM_SECONDS(1));
        CU_ASSERT(cluster_converged(c, 0));
        cluster_free(c);
    }
}

static void denials_that_meet_every_quorum_let_a_suspect_help(void)
{
    struct cluster *c = settled(7, 4, 4);
    unsigned a = leader_of(c);
    cluster_crash(c, a); /* of four: two that are whole and a suspect make three */
    unsigned s = (a + 1) % 4;
    cluster_crash(c, s);
    c->node[s].part[0].disk.last -= 1;
    c->node[s].part[0].damaged = TM_HEALTH_SUSPECT;
    c->harmed = true;
    cluster_start(c, s);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(3)));
    CU_ASSERT_FALSE(tm_replica_status(replica_of(c, leader_of(c))).longest_stands);
    cluster_run(c, TM_SECONDS(1));
    CU_ASSERT_EQUAL(health_of(c, s), TM_HEALTH_WHOLE);
    cluster_free(c);
}

/* --- rot --- */

static void a_faulty_replica_gives_no_vote_and_does_not_campaign(void)
{
    struct cluster *c = settled(8, 3, 3);
    unsigned a = leader_of(c), b = (a + 1) % 3, last = (a + 2) % 3;
    cluster_crash(c, b);
    c->node[b].part[0].disk.last = 1;
    c->node[b].part[0].damaged = TM_HEALTH_FAULTY;
    c->node[b].part[0].hidden = 3;
    c->harmed = true;
    cluster_crash(c, a);
    cluster_start(c, b);
    cluster_run(c, TM_SECONDS(3));
    CU_ASSERT(cluster_leader(c, 0) < 0); /* `last` has everything, but one vote */
    CU_ASSERT_EQUAL(replica_of(c, b)->hs.vote.node, a);
    CU_ASSERT_EQUAL(replica_of(c, b)->role, TM_ROLE_FOLLOWER);
    cluster_start(c, a);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(2)));
    cluster_run(c, TM_SECONDS(1));
    CU_ASSERT_EQUAL(health_of(c, b), TM_HEALTH_FAULTY); /* what lies behind is still there */
    while (c->node[b].part[0].hidden > 0)
        tm_replica_heal(replica_of(c, b));
    CU_ASSERT_EQUAL(health_of(c, b), TM_HEALTH_WHOLE);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(2)));
    cluster_run(c, TM_SECONDS(1));
    CU_ASSERT(cluster_converged(c, 0));
    (void)last;
    cluster_free(c);
}

static void a_log_found_damaged_while_running_is_brought_back(void)
{
    for (unsigned who = 0; who < 2; who++) {
        struct cluster *c = settled(9 + who, 3, 3);
        for (int i = 0; i < 5; i++)
            CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
        cluster_run(c, TM_MS(100));
        unsigned bad = (leader_of(c) + who) % 3;
        struct sim_part *p = &c->node[bad].part[0];
        uint64_t from = p->log.last - 2;
        c->harmed = true;
        p->log.last = p->disk.last = from - 1;
        p->applied = from - 1;
        tm_replica_damaged(&p->replica, from, false);
        sim_turn(p->node);
        CU_ASSERT_NOT_EQUAL(p->replica.role, TM_ROLE_LEADER);
        CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(2)));
        cluster_run(c, TM_SECONDS(1));
        CU_ASSERT_EQUAL(health_of(c, bad), TM_HEALTH_WHOLE);
        CU_ASSERT(cluster_converged(c, 0));
        cluster_free(c);
    }
}

/* Both of the newest two changes are among what is lost. */
static void members_outlive_the_damage_of_their_records(void)
{
    struct cluster *c = settled(17, 3, 4);
    unsigned a = leader_of(c), bad = (a + 1) % 3;
    struct tm_members m = replica_of(c, a)->members;
    uint64_t from = replica_of(c, a)->last.index + 1;
    m.at[m.count++] = (struct tm_member){.id = {.node = 3}, .role = TM_MEMBER_LEARNER};
    CU_ASSERT_EQUAL(tm_replica_change(replica_of(c, a), &m), TM_OK);
    cluster_run(c, TM_MS(300));
    m.at[3] = (struct tm_member){.id = {.disk = 103, .node = 3}, .role = TM_MEMBER_VOTER};
    CU_ASSERT_EQUAL(tm_replica_change(replica_of(c, a), &m), TM_OK);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_run(c, TM_MS(300));
    struct sim_part *p = &c->node[bad].part[0];
    CU_ASSERT_EQUAL(p->replica.members.count, 4);
    c->harmed = true;
    p->log.last = p->disk.last = from - 1;
    p->applied = from - 1;
    tm_replica_damaged(&p->replica, from, false);
    CU_ASSERT_EQUAL(p->replica.members.count, 4);
    sim_turn(p->node);
    cluster_run(c, TM_SECONDS(1));
    CU_ASSERT_EQUAL(health_of(c, bad), TM_HEALTH_WHOLE);
    CU_ASSERT_EQUAL(p->replica.members.count, 4);
    CU_ASSERT(cluster_converged(c, 0));
    cluster_free(c);
}

/* --- [13 is on disk, 11 is not] --- */

static void a_report_for_a_record_that_was_cut_is_ignored(void)
{
    struct cluster *c = puppet_new(3, false);
    struct chain k, other;
    chain_begin(&k, (struct tm_tail){0});
    for (uint64_t i = 0; i < 3; i++)
        chain_add(&k, 1, i);
    puppet_append(c, 1, 1, &k, 0);
    chain_begin(&other, (struct tm_tail){0});
    for (uint64_t i = 0; i < 3; i++)
        chain_add(&other, 2, i);
    puppet_append(c, 2, 2, &other, 0);
    CU_ASSERT_EQUAL_FATAL(replica_of(c, 0)->last.hash, other.tail.hash);
    tm_replica_durable(replica_of(c, 0), 3, 1);
    CU_ASSERT_EQUAL(replica_of(c, 0)->durable, 0);
    tm_replica_durable(replica_of(c, 0), 3, 2);
    CU_ASSERT_EQUAL(replica_of(c, 0)->durable, 3);
    c->node[0].ops = 0;
    cluster_free(c);
}

static const struct tm_test tests[] = {
    TM_TEST(a_learner_is_fed_then_let_in_by_one_record),
    TM_TEST(a_step_changes_one_voter_and_never_the_leader),
    TM_TEST(members_that_were_cut_are_those_before_again),
    TM_TEST(a_wiped_node_helps_nobody_to_win),
    TM_TEST(a_wiped_node_is_readmitted_in_two_steps),
    TM_TEST(a_replica_that_forgot_is_no_voter_until_reseeded),
    TM_TEST(healing_needs_all_that_a_leader_of_a_firm_term_committed),
    TM_TEST(when_all_have_answered_the_longest_log_stands),
    TM_TEST(denials_that_meet_every_quorum_let_a_suspect_help),
    TM_TEST(a_faulty_replica_gives_no_vote_and_does_not_campaign),
    TM_TEST(a_log_found_damaged_while_running_is_brought_back),
    TM_TEST(members_outlive_the_damage_of_their_records),
    TM_TEST(a_report_for_a_record_that_was_cut_is_ignored),
};
TM_TEST_MAIN("actors/replica_members", tests)
