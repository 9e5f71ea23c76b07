/* The rules one by one: a replica led by hand where one is enough, a cluster where it is not. */
#include "actors/replica_internal.h"
#include "replica_puppet.h"

#define AN_ELECTION TM_SECONDS(2)

/* --- votes --- */

static struct tm_replica_msg vote_of(unsigned from, uint64_t term, uint64_t last, uint64_t of_term)
{
    struct tm_replica_msg m = puppet_msg(from, TM_MSG_VOTE, term);
    m.index = last;
    m.index_term = of_term;
    return m;
}

static bool granted(struct cluster *c, unsigned to)
{
    const struct tm_replica_msg *m = puppet_answer(c, to, TM_MSG_VOTE_REPLY);
    return m != NULL && (m->flags & TM_MSG_GRANTED) != 0 && (m->flags & TM_MSG_PRE) == 0;
}

static void a_vote_is_durable_before_it_is_shown(void)
{
    struct cluster *c = puppet_new(3, false);
    struct tm_replica_msg m = vote_of(1, 5, 0, 0);
    c->node[0].disk_slow_ns = TM_MS(30);
    puppet_tell(c, 0, &m);
    cluster_run(c, TM_MS(20));
    CU_ASSERT_PTR_NULL(puppet_answer(c, 1, TM_MSG_VOTE_REPLY));
    CU_ASSERT_EQUAL(c->node[0].part[0].disk_hs.term, 0);
    cluster_run(c, TM_MS(20));
    CU_ASSERT(granted(c, 1));
    CU_ASSERT_EQUAL(c->node[0].part[0].disk_hs.term, 5);
    cluster_free(c);
}

static void one_vote_per_term_also_across_a_crash(void)
{
    struct cluster *c = puppet_new(3, false);
    struct tm_replica_msg one = vote_of(1, 5, 0, 0), two = vote_of(2, 5, 0, 0);
    puppet_tell(c, 0, &one);
    cluster_run(c, TM_MS(5));
    CU_ASSERT(granted(c, 1));
    cluster_crash(c, 0);
    cluster_start(c, 0);
    puppet_tell(c, 0, &two);
    cluster_run(c, TM_MS(5));
    CU_ASSERT_FALSE(granted(c, 2));
    puppet_tell(c, 0, &one); /* the same candidate may hear it again */
    cluster_run(c, TM_MS(5));
    CU_ASSERT(granted(c, 1));
    cluster_free(c);
}

static void no_vote_for_a_shorter_log(void)
{
    struct cluster *c = puppet_new(3, false);
    struct chain k;
    chain_begin(&k, (struct tm_tail){0});
    chain_add(&k, 1, 0);
    chain_add(&k, 3, 0);
    puppet_append(c, 1, 3, &k, 0);
    cluster_run(c, TM_MS(5));
    struct tm_replica_msg older = vote_of(2, 4, 9, 2), shorter = vote_of(2, 5, 1, 3),
                          equal = vote_of(2, 6, 2, 3);
    puppet_tell(c, 0, &older);
    cluster_run(c, TM_MS(5));
    CU_ASSERT_FALSE(granted(c, 2));
    puppet_tell(c, 0, &shorter);
    cluster_run(c, TM_MS(5));
    CU_ASSERT_FALSE(granted(c, 2));
    puppet_tell(c, 0, &equal);
    cluster_run(c, TM_MS(5));
    CU_ASSERT(granted(c, 2));
    cluster_free(c);
}

static void a_prevote_changes_no_term_and_waits_for_the_leader_to_fall_silent(void)
{
    struct cluster *c = puppet_new(3, false);
    struct chain k;
    chain_begin(&k, (struct tm_tail){0});
    chain_add(&k, 1, 0);
    puppet_append(c, 1, 1, &k, 0);
    cluster_run(c, TM_MS(5));
    struct tm_replica_msg m = puppet_msg(2, TM_MSG_PREVOTE, 2);
    m.index = m.index_term = 1;
    puppet_tell(c, 0, &m);
    const struct tm_replica_msg *reply = puppet_answer(c, 2, TM_MSG_VOTE_REPLY);
    CU_ASSERT_FATAL(reply != NULL);
    CU_ASSERT_EQUAL(reply->flags, TM_MSG_PRE);
    tm_beat_peer_down(&c->node[0].beat, 1);
    puppet_tell(c, 0, &m);
    reply = puppet_answer(c, 2, TM_MSG_VOTE_REPLY);
    CU_ASSERT_FATAL(reply != NULL);
    CU_ASSERT_EQUAL(reply->flags, TM_MSG_PRE | TM_MSG_GRANTED);
    CU_ASSERT_EQUAL(reply->term, 1);
    CU_ASSERT_EQUAL(replica_of(c, 0)->hs.term, 1);
    cluster_free(c);
}

static unsigned prevotes_asked(struct cluster *c, unsigned of, unsigned ms)
{
    unsigned n = 0;
    for (unsigned i = 0; i < ms; i++) {
        cluster_run(c, TM_MS(1));
        n += puppet_answer(c, of, TM_MSG_PREVOTE) != NULL;
    }
    return n;
}

/* Two that saw the leader die need not have seen it at the same moment. */
static void leave_that_was_refused_is_asked_for_again_soon_and_then_slower(void)
{
    struct cluster *c = puppet_new(3, false);
    struct chain k;
    chain_begin(&k, (struct tm_tail){0});
    chain_add(&k, 1, 0);
    puppet_append(c, 1, 1, &k, 0);
    cluster_run(c, TM_MS(5));
    tm_beat_peer_down(&c->node[0].beat, 1);
    sim_turn(&c->node[0]);
    unsigned waited = 0;
    while (waited < 20 && prevotes_asked(c, 2, 1) == 0)
        waited++;
    CU_ASSERT_EQUAL_FATAL(replica_of(c, 0)->role, TM_ROLE_PRECANDIDATE);
    CU_ASSERT_EQUAL(prevotes_asked(c, 2, 8), 1);
    CU_ASSERT_EQUAL(prevotes_asked(c, 2, 16), 1);
    unsigned later = prevotes_asked(c, 2, 90);
    CU_ASSERT(later >= 2 && later <= 5);
    cluster_free(c);
}

static void votes_and_acknowledgements_of_another_disk_do_not_count(void)
{
    struct cluster *c = puppet_new(3, false);
    struct tm_replica *r = replica_of(c, 0);
    cluster_run(c, TM_MS(400));
    CU_ASSERT_EQUAL_FATAL(r->role, TM_ROLE_PRECANDIDATE);
    struct tm_replica_msg m = puppet_msg(1, TM_MSG_VOTE_REPLY, 0);
    m.flags = TM_MSG_PRE | TM_MSG_GRANTED;
    m.commit = 1;
    m.from.disk = 999;
    puppet_tell(c, 0, &m);
    CU_ASSERT_EQUAL(r->role, TM_ROLE_PRECANDIDATE);
    m.from.disk = 101;
    puppet_tell(c, 0, &m);
    CU_ASSERT_EQUAL(r->role, TM_ROLE_CANDIDATE);
    cluster_run(c, TM_MS(5));
    m.flags = TM_MSG_GRANTED;
    m.term = 1;
    puppet_tell(c, 0, &m);
    CU_ASSERT_EQUAL_FATAL(r->role, TM_ROLE_LEADER);
    cluster_run(c, TM_MS(5));
    CU_ASSERT_EQUAL(r->durable, 1);
    struct tm_replica_msg ack = puppet_msg(1, TM_MSG_APPEND_REPLY, 1);
    ack.index = ack.commit = 1;
    ack.from.disk = 999;
    puppet_tell(c, 0, &ack);
    CU_ASSERT_EQUAL(r->commit, 0);
    ack.from.disk = 101;
    puppet_tell(c, 0, &ack);
    CU_ASSERT_EQUAL(r->commit, 1);
    cluster_free(c);
}

/* --- the log --- */

static void an_acknowledgement_names_only_what_is_durable(void)
{
    struct cluster *c = puppet_new(3, false);
    struct chain k;
    chain_begin(&k, (struct tm_tail){0});
    for (uint64_t i = 0; i < 3; i++)
        chain_add(&k, 1, i);
    puppet_append(c, 1, 1, &k, 0);
    cluster_run(c, TM_MS(5));
    CU_ASSERT_EQUAL_FATAL(puppet_answer(c, 1, TM_MSG_APPEND_REPLY)->index, 3);
    struct chain more;
    chain_begin(&more, k.tail);
    chain_add(&more, 1, 9);
    c->node[0].disk_slow_ns = TM_MS(50);
    puppet_append(c, 1, 1, &more, 4);
    CU_ASSERT_PTR_NULL(puppet_answer(c, 1, TM_MSG_APPEND_REPLY));
    struct chain none;
    chain_begin(&none, more.tail);
    puppet_append(c, 1, 1, &none, 4); /* a probe is answered at once, with the truth */
    const struct tm_replica_msg *reply = puppet_answer(c, 1, TM_MSG_APPEND_REPLY);
    CU_ASSERT_FATAL(reply != NULL);
    CU_ASSERT_EQUAL(reply->index, 3);
    CU_ASSERT_EQUAL(reply->commit, 4);
    cluster_run(c, TM_MS(60));
    CU_ASSERT_EQUAL(puppet_answer(c, 1, TM_MSG_APPEND_REPLY)->index, 4);
    cluster_free(c);
}

static void a_gap_is_refused_with_where_to_go_back_to(void)
{
    struct cluster *c = puppet_new(3, false);
    struct chain k, later;
    chain_begin(&k, (struct tm_tail){0});
    chain_add(&k, 1, 0);
    puppet_append(c, 1, 1, &k, 0);
    cluster_run(c, TM_MS(5));
    chain_begin(&later, (struct tm_tail){7, 1, 12345});
    chain_add(&later, 1, 0);
    puppet_append(c, 1, 1, &later, 0);
    const struct tm_replica_msg *reply = puppet_answer(c, 1, TM_MSG_APPEND_REPLY);
    CU_ASSERT_FATAL(reply != NULL);
    CU_ASSERT(reply->flags & TM_MSG_REJECT);
    CU_ASSERT_EQUAL(reply->index, 1);
    CU_ASSERT_EQUAL(reply->index_term, 1);
    CU_ASSERT_EQUAL(replica_of(c, 0)->last.index, 1);
    cluster_free(c);
}

static void a_record_that_does_not_chain_is_not_taken(void)
{
    struct cluster *c = puppet_new(3, false);
    struct chain k;
    chain_begin(&k, (struct tm_tail){0});
    chain_add(&k, 1, 0);
    chain_add(&k, 1, 1);
    struct tm_record *second = (struct tm_record *)(void *)(k.bytes + k.len / 2);
    second->prev_hash ^= 1;
    tm_record_seal(second);
    puppet_append(c, 1, 1, &k, 0);
    CU_ASSERT_EQUAL(replica_of(c, 0)->last.index, 1);
    k.bytes[70] ^= 1;
    puppet_append(c, 1, 1, &k, 0); /* damaged on the way */
    CU_ASSERT_EQUAL(replica_of(c, 0)->last.index, 1);
    cluster_free(c);
}

static void a_conflict_is_cut_and_told_as_lost_in_eventual_mode(void)
{
    struct cluster *c = puppet_new(3, false);
    struct chain k, other;
    c->opt.eventual = true;
    chain_begin(&k, (struct tm_tail){0});
    chain_add(&k, 1, 0);
    puppet_append(c, 1, 1, &k, 1);
    struct tm_tail common = k.tail;
    chain_begin(&k, common);
    chain_add(&k, 1, 1);
    chain_add(&k, 1, 2);
    puppet_append(c, 1, 1, &k, 1);
    cluster_run(c, TM_MS(10));
    chain_begin(&other, common);
    chain_add(&other, 2, 7);
    puppet_append(c, 2, 2, &other, 1);
    CU_ASSERT_EQUAL(c->node[0].part[0].lost_records, 2);
    CU_ASSERT_EQUAL(replica_of(c, 0)->last.hash, other.tail.hash);
    cluster_run(c, TM_MS(10));
    CU_ASSERT_EQUAL(puppet_answer(c, 2, TM_MSG_APPEND_REPLY)->index, 2);
    cluster_free(c);
}

static void notes_are_sentences_for_operators(void)
{
    char text[256];
    tm_replica_note_text(TM_NOTE_WIDENED, 2, 7, "n3", text, sizeof text);
    CU_ASSERT_STRING_EQUAL(text, "two copies again: that of n3 is back");
    tm_replica_note_text(TM_NOTE_STALLED, TM_MS(1234), 7, "?", text, sizeof text);
    CU_ASSERT_STRING_EQUAL(text,
                           "own disk does not acknowledge for 1234 ms: leadership moves away");
    CU_ASSERT_EQUAL(tm_replica_note_level(TM_NOTE_NARROWED), TM_LOG_WARN);
    CU_ASSERT_EQUAL(tm_replica_note_level(TM_NOTE_WIDENED), TM_LOG_INFO);
    for (unsigned n = 0; n < TM_NOTE_COUNT; n++) {
        enum tm_replica_note note = (enum tm_replica_note)n;
        tm_replica_note_text(note, UINT64_MAX, UINT64_MAX, "a-long-name", text, sizeof text);
        CU_ASSERT(strlen(text) > 20 && strpbrk(text, "{}") == NULL);
        for (size_t size = 1; size < 60; size++) {
            char small[64];
            memset(small, '#', sizeof small);
            tm_replica_note_text(note, UINT64_MAX, UINT64_MAX, "a-long-name", small, size);
            CU_ASSERT_EQUAL(strlen(small), tm_min_u64(size - 1, strlen(text)));
            CU_ASSERT_EQUAL(strncmp(small, text, strlen(small)), 0);
            CU_ASSERT_EQUAL(small[size], '#');
        }
    }
}

static void equal_terms_with_another_hash_are_damage_not_conflict(void)
{
    struct cluster *c = puppet_new(3, false);
    struct tm_replica *r = replica_of(c, 0);
    struct chain k, rotten;
    chain_begin(&k, (struct tm_tail){0});
    chain_add(&k, 1, 0);
    chain_add(&k, 1, 1);
    puppet_append(c, 1, 1, &k, 0);
    cluster_run(c, TM_MS(10));
    chain_begin(&rotten, (struct tm_tail){0});
    chain_add(&rotten, 1, 0);
    chain_add(&rotten, 1, 99);
    puppet_append(c, 2, 2, &rotten, 0);
    cluster_run(c, TM_MS(10));
    CU_ASSERT_EQUAL(c->node[0].part[0].notes[TM_NOTE_MISMATCH], 1);
    CU_ASSERT_EQUAL(r->hs.health, TM_HEALTH_FAULTY);
    CU_ASSERT_EQUAL(r->last.index, 2); /* nothing was cut */
    CU_ASSERT_EQUAL(r->last.hash, k.tail.hash);
    struct tm_replica_msg m = vote_of(1, 9, 50, 8);
    puppet_tell(c, 0, &m);
    cluster_run(c, TM_MS(10));
    CU_ASSERT_FALSE(granted(c, 1));
    cluster_free(c);
}

static void a_committed_record_is_never_cut(void)
{
    struct cluster *c = puppet_new(3, false);
    struct chain k, other;
    chain_begin(&k, (struct tm_tail){0});
    chain_add(&k, 1, 0);
    chain_add(&k, 1, 1);
    puppet_append(c, 1, 1, &k, 2);
    CU_ASSERT_EQUAL_FATAL(replica_of(c, 0)->commit, 2);
    chain_begin(&other, (struct tm_tail){0});
    chain_add(&other, 2, 5);
    puppet_append(c, 2, 2, &other, 0);
    CU_ASSERT_EQUAL(replica_of(c, 0)->last.hash, k.tail.hash);
    CU_ASSERT_EQUAL(replica_of(c, 0)->hs.health, TM_HEALTH_FAULTY);
    cluster_free(c);
}

/* Node 0 leads term 2 with one record of term 1 that nobody else has shown yet. */
static struct cluster *leader_with_an_old_record(void)
{
    struct cluster *c = puppet_new(3, false);
    struct chain k;
    chain_begin(&k, (struct tm_tail){0});
    chain_add(&k, 1, 0);
    puppet_append(c, 1, 1, &k, 0);
    cluster_run(c, TM_MS(600));
    struct tm_replica_msg m = puppet_msg(2, TM_MSG_VOTE_REPLY, 1);
    m.flags = TM_MSG_PRE | TM_MSG_GRANTED;
    m.commit = 2;
    puppet_tell(c, 0, &m);
    cluster_run(c, TM_MS(5));
    m.flags = TM_MSG_GRANTED;
    m.term = 2;
    puppet_tell(c, 0, &m);
    CU_ASSERT_EQUAL_FATAL(replica_of(c, 0)->role, TM_ROLE_LEADER);
    cluster_run(c, TM_MS(5));
    return c;
}

static void commit_needs_a_record_of_this_term(void)
{
    struct cluster *c = leader_with_an_old_record();
    struct tm_replica *r = replica_of(c, 0);
    struct tm_replica_msg ack = puppet_msg(2, TM_MSG_APPEND_REPLY, 2);
    ack.index = ack.commit = 1; /* a quorum has the record of term 1 */
    puppet_tell(c, 0, &ack);
    CU_ASSERT_EQUAL(r->commit, 0);
    ack.index = ack.commit = 2;
    puppet_tell(c, 0, &ack);
    CU_ASSERT_EQUAL(r->commit, 2);
    cluster_free(c);
}

static void the_leader_counts_itself_by_its_disk(void)
{
    struct cluster *c = leader_with_an_old_record();
    struct tm_replica *r = replica_of(c, 0);
    c->node[0].disk_slow_ns = TM_MS(100);
    uint64_t index = cluster_propose(c, 0, 0);
    struct tm_replica_msg ack = puppet_msg(2, TM_MSG_APPEND_REPLY, 2);
    ack.index = ack.commit = index;
    puppet_tell(c, 0, &ack);
    CU_ASSERT_EQUAL(r->commit, 2); /* one disk of three has more */
    cluster_run(c, TM_MS(110));
    CU_ASSERT_EQUAL(r->commit, index);
    cluster_free(c);
}

static void nobody_can_acknowledge_what_the_leader_has_not(void)
{
    struct cluster *c = leader_with_an_old_record();
    struct tm_replica_msg ack = puppet_msg(2, TM_MSG_APPEND_REPLY, 2);
    ack.index = ack.commit = 1000;
    puppet_tell(c, 0, &ack);
    CU_ASSERT_EQUAL(replica_of(c, 0)->commit, 0);
    CU_ASSERT_EQUAL(replica_of(c, 0)->peer[2].match, 0);
    cluster_free(c);
}

/* --- clusters --- */

static void a_single_voter_leads_and_commits_by_its_disk(void)
{
    struct cluster *c = cluster_up(1, 1, false);
    CU_ASSERT_EQUAL(cluster_await_leader(c, TM_MS(50)), 0);
    uint64_t index = cluster_propose(c, 0, 0);
    CU_ASSERT_FALSE(cluster_committed(c, index));
    cluster_run(c, TM_MS(10));
    CU_ASSERT(cluster_committed(c, index));
    cluster_free(c);
}

static void three_replicate_and_converge(void)
{
    struct cluster *c = cluster_up(2, 3, false);
    CU_ASSERT(cluster_await_leader(c, AN_ELECTION) >= 0);
    for (int i = 0; i < 50; i++)
        CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_run(c, TM_MS(200));
    CU_ASSERT(cluster_converged(c, 0));
    cluster_free(c);
}

/* SIGKILL of a leader, told by EOF: the next write is committed within 20 ms of virtual time. */
static void a_dead_leader_is_replaced_within_20_ms(void)
{
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct cluster *c = cluster_up(seed, seed % 2 == 0 ? 3 : 5, false);
        int leader = cluster_await_leader(c, AN_ELECTION);
        CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
        cluster_run(c, TM_MS(500));
        cluster_crash(c, (unsigned)leader);
        uint64_t died = c->now;
        CU_ASSERT(cluster_await_leader(c, TM_SECONDS(1)) >= 0);
        CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
        CU_ASSERT(c->now - died <= TM_MS(20));
        cluster_free(c);
    }
}

static void a_silent_leader_is_replaced_after_the_timeout(void)
{
    struct cluster *c = cluster_up(3, 3, false);
    int leader = cluster_await_leader(c, AN_ELECTION);
    cluster_isolate(c, (unsigned)leader, true);
    cluster_run(c, TM_SECONDS(2));
    int next = cluster_leader(c, 0);
    CU_ASSERT(next >= 0 && next != leader);
    CU_ASSERT_EQUAL(replica_of(c, (unsigned)leader)->role != TM_ROLE_LEADER, true);
    CU_ASSERT(c->node[leader].part[0].notes[TM_NOTE_QUORUM_LOST] == 1);
    cluster_free(c);
}

static void a_node_that_was_away_does_not_disturb(void)
{
    struct cluster *c = cluster_up(4, 3, false);
    int leader = cluster_await_leader(c, AN_ELECTION);
    unsigned away = leader == 0 ? 1 : 0;
    cluster_isolate(c, away, true);
    cluster_run(c, TM_SECONDS(3));
    uint64_t term = replica_of(c, (unsigned)leader)->hs.term;
    cluster_isolate(c, away, false);
    cluster_run(c, TM_SECONDS(1));
    CU_ASSERT_EQUAL(cluster_leader(c, 0), leader);
    CU_ASSERT_EQUAL(replica_of(c, (unsigned)leader)->hs.term, term);
    CU_ASSERT(cluster_converged(c, 0));
    cluster_free(c);
}

/* Heartbeats slow down at rest and go fast again with the first write, and no term changes. */
static void rest_and_work_keep_the_leader(void)
{
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct cluster *c = cluster_up(seed, 3, false);
        unsigned leader = (unsigned)cluster_await_leader(c, AN_ELECTION);
        for (int i = 0; i < 10; i++) {
            cluster_run(c, TM_SECONDS(3) + sim_below(c, TM_SECONDS(3)));
            CU_ASSERT(cluster_writes(c, 0, TM_MS(20)));
        }
        CU_ASSERT_EQUAL(replica_of(c, leader)->hs.term, 1);
        CU_ASSERT_EQUAL(replica_of(c, leader)->role, TM_ROLE_LEADER);
        cluster_run(c, TM_SECONDS(5));
        uint64_t before = c->beats;
        uint64_t messages = c->messages[TM_MSG_APPEND] + c->messages[TM_MSG_APPEND_REPLY];
        cluster_run(c, TM_SECONDS(10));
        CU_ASSERT(c->beats - before <= 2 * 2 * 21);
        CU_ASSERT_EQUAL(messages, c->messages[TM_MSG_APPEND] + c->messages[TM_MSG_APPEND_REPLY]);
        cluster_free(c);
    }
}

static void leadership_is_handed_over_when_the_successor_has_everything(void)
{
    struct cluster *c = cluster_up(5, 3, false);
    unsigned leader = (unsigned)cluster_await_leader(c, AN_ELECTION), next = (leader + 1) % 3;
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    struct tm_replica_slot slot;
    uint64_t index = cluster_propose(c, leader, 0);
    CU_ASSERT_EQUAL(tm_replica_transfer(replica_of(c, leader), next), TM_OK);
    CU_ASSERT_EQUAL(tm_replica_next(replica_of(c, leader), &slot), TM_ERR_AGAIN);
    CU_ASSERT_EQUAL(tm_replica_transfer(replica_of(c, leader), next), TM_ERR_AGAIN);
    sim_turn(&c->node[leader]);
    cluster_run(c, TM_MS(30));
    CU_ASSERT_EQUAL(cluster_leader(c, 0), (int)next);
    CU_ASSERT(cluster_committed(c, index));
    CU_ASSERT_EQUAL(tm_replica_transfer(replica_of(c, leader), next), TM_ERR_NOTLEADER);
    CU_ASSERT_EQUAL(tm_replica_transfer(replica_of(c, next), 6), TM_ERR_INVALID);
    cluster_free(c);
}

static void the_preferred_leader_takes_over_once_in_sync(void)
{
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct cluster *c = cluster_up(seed, 3, false);
        c->opt.prefer_after_ns = TM_MS(500);
        cluster_run(c, TM_SECONDS(4));
        CU_ASSERT_EQUAL(cluster_leader(c, 0), 0);
        cluster_crash(c, 0);
        CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
        CU_ASSERT_NOT_EQUAL(cluster_leader(c, 0), 0);
        cluster_start(c, 0);
        cluster_run(c, TM_SECONDS(4));
        CU_ASSERT_EQUAL(cluster_leader(c, 0), 0);
        cluster_free(c);
    }
}

static void leadership_leaves_a_disk_that_stalls(void)
{
    struct cluster *c = cluster_up(6, 3, false);
    unsigned leader = (unsigned)cluster_await_leader(c, AN_ELECTION);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    c->node[leader].disk_slow_ns = TM_SECONDS(60);
    uint64_t index = cluster_propose(c, leader, 0);
    cluster_run(c, TM_SECONDS(2));
    CU_ASSERT_NOT_EQUAL(cluster_leader(c, 0), (int)leader);
    CU_ASSERT(cluster_committed(c, index)); /* by the other two disks */
    CU_ASSERT_EQUAL(c->node[leader].part[0].notes[TM_NOTE_STALLED], 1);
    cluster_free(c);
}

static void the_window_of_uncommitted_records_is_bounded(void)
{
    struct cluster *c = cluster_up(7, 3, false);
    unsigned leader = (unsigned)cluster_await_leader(c, AN_ELECTION);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_run(c, TM_MS(50));
    cluster_isolate(c, leader, true);
    c->opt.window_bytes_max = 1000;
    unsigned taken = 0;
    struct tm_replica_slot slot;
    while (cluster_propose(c, leader, 0) != 0)
        taken++;
    CU_ASSERT(taken >= 4 && taken <= 16);
    CU_ASSERT_EQUAL(tm_replica_next(replica_of(c, leader), &slot), TM_ERR_FULL);
    cluster_isolate(c, leader, false);
    cluster_run(c, TM_MS(200));
    CU_ASSERT_EQUAL(tm_replica_next(replica_of(c, leader), &slot), TM_OK);
    CU_ASSERT_EQUAL(tm_replica_window_bytes(replica_of(c, leader)), 0);
    c->opt.window_bytes_max = TM_MIB(1);
    c->opt.window_ns_max = TM_MS(10);
    cluster_isolate(c, leader, true);
    CU_ASSERT(cluster_propose(c, leader, 0) != 0);
    cluster_run(c, TM_MS(11));
    CU_ASSERT_EQUAL(tm_replica_next(replica_of(c, leader), &slot), TM_ERR_FULL);
    cluster_free(c);
}

/* A leader may gather for long before it ships. */
static void the_window_counts_from_the_append_not_from_the_shipping(void)
{
    struct cluster *c = cluster_up(7, 3, false);
    unsigned leader = (unsigned)cluster_await_leader(c, AN_ELECTION);
    struct tm_replica *r = replica_of(c, leader);
    struct tm_replica_slot slot;
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_run(c, TM_MS(50));
    cluster_isolate(c, leader, true);
    c->opt.window_ns_max = TM_MS(10);
    CU_ASSERT(cluster_append(c, leader, 0) != 0);
    c->now += TM_MS(6);
    CU_ASSERT_EQUAL(tm_replica_next(r, &slot), TM_OK);
    CU_ASSERT(cluster_append(c, leader, 0) != 0);
    c->now += TM_MS(4);
    CU_ASSERT_EQUAL(tm_replica_next(r, &slot), TM_ERR_FULL); /* of what is not shipped yet */
    tm_replica_ship(r);
    CU_ASSERT_EQUAL(tm_replica_next(r, &slot), TM_ERR_FULL);
    cluster_isolate(c, leader, false);
    cluster_run(c, TM_MS(200));
    CU_ASSERT_EQUAL(tm_replica_window_bytes(r), 0);
    CU_ASSERT_EQUAL(tm_replica_next(r, &slot), TM_OK);
    CU_ASSERT(cluster_append(c, leader, 0) != 0); /* what was committed is not counted any more */
    CU_ASSERT_EQUAL(tm_replica_next(r, &slot), TM_OK);
    cluster_free(c);
}

static void set_full(struct cluster *c, unsigned node, bool full)
{
    c->node[node].part[0].full = full;
    tm_replica_room(replica_of(c, node), !full);
}

static void a_write_that_no_quorum_has_room_for_is_refused_at_once(void)
{
    struct cluster *c = cluster_up(21, 3, false);
    unsigned leader = (unsigned)cluster_await_leader(c, AN_ELECTION);
    unsigned one = (leader + 1) % 3, two = (leader + 2) % 3;
    struct tm_replica_slot slot;
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    set_full(c, one, true);
    cluster_run(c, TM_MS(20));
    CU_ASSERT_EQUAL(tm_replica_next(replica_of(c, leader), &slot), TM_OK);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    set_full(c, two, true);
    cluster_run(c, TM_MS(20));
    CU_ASSERT_EQUAL(tm_replica_next(replica_of(c, leader), &slot), TM_ERR_NOSPACE);
    cluster_run(c, TM_SECONDS(3));
    CU_ASSERT_EQUAL(tm_replica_next(replica_of(c, leader), &slot), TM_ERR_NOSPACE);
    CU_ASSERT_EQUAL(cluster_leader(c, 0), (int)leader);
    set_full(c, two, false);
    cluster_run(c, TM_MS(20));
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    set_full(c, two, true);
    cluster_run(c, TM_MS(20));
    cluster_crash(c, two); /* who is gone has no full disk */
    tm_beat_peer_down(&c->node[leader].beat, two);
    CU_ASSERT_EQUAL(tm_replica_next(replica_of(c, leader), &slot), TM_OK);
    cluster_free(c);
}

static void a_copy_that_is_full_is_not_pressed_and_catches_up_when_it_has_room(void)
{
    struct cluster *c = cluster_up(22, 3, false);
    unsigned leader = (unsigned)cluster_await_leader(c, AN_ELECTION);
    unsigned one = (leader + 1) % 3;
    struct sim_part *p = &c->node[one].part[0];
    set_full(c, one, true);
    for (int i = 0; i < 500; i++)
        CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    CU_ASSERT(p->log.last < 10);
    p->appends_refused = 0;
    cluster_run(c, TM_SECONDS(1));
    CU_ASSERT(p->appends_refused < 100);
    set_full(c, one, false);
    cluster_run(c, TM_MS(200));
    CU_ASSERT(cluster_converged(c, 0));
    cluster_free(c);
}

/* 11 and 12 records of the old leader that nobody else has, 9 of the new one's. */
static void a_returning_leader_loses_what_was_not_committed(void)
{
    struct cluster *c = cluster_up(8, 3, false);
    unsigned old = (unsigned)cluster_await_leader(c, AN_ELECTION);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_run(c, TM_MS(50));
    cluster_isolate(c, old, true);
    for (int i = 0; i < 12; i++)
        cluster_propose(c, old, 0);
    cluster_run(c, TM_SECONDS(1));
    for (int i = 0; i < 9; i++)
        CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_isolate(c, old, false);
    cluster_run(c, TM_SECONDS(1));
    CU_ASSERT(cluster_converged(c, 0));
    cluster_free(c);
}

static void what_is_not_in_memory_is_read_and_what_is_gone_comes_by_snapshot(void)
{
    struct cluster *c = cluster_up(9, 3, false);
    unsigned leader = (unsigned)cluster_await_leader(c, AN_ELECTION), away = (leader + 1) % 3;
    cluster_crash(c, away);
    for (int i = 0; i < 30; i++)
        CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    leader = (unsigned)cluster_leader(c, 0);
    c->node[leader].part[0].cached_from = c->node[leader].part[0].log.last + 1;
    cluster_start(c, away);
    cluster_run(c, TM_SECONDS(1));
    CU_ASSERT(cluster_converged(c, 0));
    CU_ASSERT_EQUAL(c->node[away].part[0].snapshots, 0);
    cluster_crash(c, away);
    for (int i = 0; i < 30; i++)
        CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_run(c, TM_MS(100));
    leader = (unsigned)cluster_leader(c, 0);
    cluster_compact(c, leader, 0);
    CU_ASSERT(c->node[leader].part[0].log.base.index > 50);
    cluster_start(c, away);
    cluster_run(c, TM_SECONDS(1));
    CU_ASSERT(cluster_converged(c, 0));
    CU_ASSERT_EQUAL(c->node[away].part[0].snapshots, 1);
    cluster_free(c);
}

static void a_read_that_was_refused_is_asked_for_again(void)
{
    struct cluster *c = cluster_up(9, 3, false);
    unsigned leader = (unsigned)cluster_await_leader(c, AN_ELECTION), away = (leader + 1) % 3;
    cluster_crash(c, away);
    for (int i = 0; i < 30; i++)
        CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    struct sim_part *p = &c->node[cluster_leader(c, 0)].part[0];
    p->cached_from = p->log.last + 1;
    p->reads_refused = 3;
    cluster_start(c, away);
    cluster_run(c, TM_SECONDS(1));
    CU_ASSERT_EQUAL(p->reads_refused, 0);
    CU_ASSERT(cluster_converged(c, 0));
    cluster_free(c);
}

/* A follower of three that has two records, `commit` of them committed; *first: of the first. */
static struct cluster *follower_of_two(uint64_t commit, struct tm_tail *first)
{
    struct cluster *c = puppet_new(3, false);
    struct chain k;
    chain_begin(&k, (struct tm_tail){0});
    chain_add(&k, 1, 0);
    *first = k.tail;
    chain_add(&k, 1, 1);
    puppet_append(c, 1, 1, &k, commit);
    cluster_run(c, TM_MS(10));
    return c;
}

static void a_snapshot_does_not_take_back_what_follows_it(void)
{
    struct tm_tail first;
    struct cluster *c = follower_of_two(0, &first);
    struct tm_replica *r = replica_of(c, 0);
    struct tm_tail other = first;
    other.hash ^= 1;
    CU_ASSERT_FALSE(tm_replica_snapshot_wanted(r, 1, 1, &first));
    CU_ASSERT(tm_replica_snapshot_wanted(r, 1, 1, &other));
    struct tm_tail beyond = {.index = 3, .term = 1, .hash = 77};
    CU_ASSERT(tm_replica_snapshot_wanted(r, 1, 1, &beyond));
    CU_ASSERT_FALSE(tm_replica_snapshot_wanted(r, 2, 0, &beyond)); /* an old leader's */
    cluster_free(c);
}

/* Its commit index fell back to before a hole; a snapshot of its own took away hole and log, which
 * cannot tell of those records any more: the world asserts that it is not asked. */
static void a_snapshot_from_before_the_log_is_of_no_use(void)
{
    struct tm_tail first;
    struct cluster *c = follower_of_two(2, &first);
    struct tm_replica *r = replica_of(c, 0);
    CU_ASSERT_EQUAL(r->commit, 2);
    cluster_compact(c, 0, 0);
    r->commit = 0;
    CU_ASSERT_EQUAL(c->node[0].part[0].log.base.index, 2);
    CU_ASSERT_FALSE(tm_replica_snapshot_wanted(r, 1, 1, &first));
    CU_ASSERT_FALSE(tm_replica_snapshot_wanted(r, 1, 1, &c->node[0].part[0].log.base));
    struct tm_tail beyond = {.index = 3, .term = 1, .hash = 77};
    CU_ASSERT(tm_replica_snapshot_wanted(r, 1, 1, &beyond));
    cluster_free(c);
}

/* --- reads --- */

static void a_read_waits_for_a_round_that_began_after_it(void)
{
    struct cluster *c = cluster_up(10, 3, false);
    unsigned leader = (unsigned)cluster_await_leader(c, AN_ELECTION);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_run(c, TM_MS(100));
    struct sim_read *a = cluster_read(c, leader, 0);
    CU_ASSERT_FALSE(a->done);
    cluster_run(c, TM_MS(2));
    CU_ASSERT(a->done && a->ok);
    cluster_isolate(c, leader, true);
    struct sim_read *b = cluster_read(c, leader, 0);
    cluster_run(c, TM_MS(100));
    CU_ASSERT_FALSE(b->done);
    cluster_run(c, TM_SECONDS(2));
    CU_ASSERT(b->done && !b->ok);
    cluster_free(c);
}

/* A and B of five still hear each other; the other three have a newer leader. */
static void a_minority_confirms_no_read(void)
{
    struct cluster *c = cluster_up(13, 5, false);
    unsigned a = (unsigned)cluster_await_leader(c, AN_ELECTION), b = (a + 1) % 5;
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_run(c, TM_MS(100));
    for (unsigned i = 0; i < 5; i++)
        if (i != a && i != b) {
            cluster_cut_link(c, a, i, true);
            cluster_cut_link(c, b, i, true);
        }
    uint64_t beats = c->beats;
    struct sim_read *read = cluster_read(c, a, 0);
    cluster_run(c, TM_MS(100));
    CU_ASSERT(c->beats > beats + 4);
    CU_ASSERT_FALSE(read->done);
    cluster_run(c, TM_SECONDS(1));
    CU_ASSERT(read->done && !read->ok);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_free(c);
}

/* Three copies with a write, and no round under way; *leader leads. */
static struct cluster *cluster_between_rounds(unsigned *leader)
{
    struct cluster *c = cluster_up(11, 3, false);
    *leader = (unsigned)cluster_await_leader(c, AN_ELECTION);
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    cluster_run(c, TM_MS(101));
    return c;
}

static void begin_read(struct cluster *c, unsigned leader, struct sim_read *r)
{
    r->at = &c->node[leader].part[0];
    r->read.owner = r;
    CU_ASSERT_EQUAL(tm_replica_read(replica_of(c, leader), &r->read), TM_ERR_AGAIN);
}

static void one_round_serves_all_reads_of_a_turn(void)
{
    unsigned leader;
    struct cluster *c = cluster_between_rounds(&leader);
    struct sim_read reads[100] = {0};
    uint64_t beats = c->beats;
    for (int i = 0; i < 100; i++)
        begin_read(c, leader, &reads[i]);
    sim_turn(&c->node[leader]);
    cluster_run(c, TM_MS(1));
    for (int i = 0; i < 100; i++)
        CU_ASSERT(reads[i].done && reads[i].ok);
    CU_ASSERT(c->beats - beats <= 4); /* two heartbeats and their answers */
    cluster_free(c);
}

/* Of those that wait for a round, and of those that wait for a commit. */
static void reads_that_nobody_waits_for_any_more_are_ended(void)
{
    unsigned leader;
    struct cluster *c = cluster_between_rounds(&leader);
    struct tm_replica *r = replica_of(c, leader);
    struct sim_read reads[40] = {0};
    for (unsigned i = 0; i < 3; i++)
        c->node[i].disk_slow_ns = TM_SECONDS(1); /* nothing commits for a while */
    uint64_t index = cluster_propose(c, leader, 0);
    for (unsigned i = 0; i < 40; i++) {
        reads[i].read.index = index;
        reads[i].read.until = i % 4 == 0 ? 0 : c->now + TM_MS(i % 2 == 0 ? 20 : 2000);
        if (i == 20)
            cluster_run(c, TM_MS(10)); /* the first ones have their round */
        begin_read(c, leader, &reads[i]);
    }
    tm_replica_reads_expire(r);
    for (unsigned i = 0; i < 40; i++)
        CU_ASSERT_FALSE(reads[i].done);
    cluster_run(c, TM_MS(40));
    tm_replica_reads_expire(r);
    for (unsigned i = 0; i < 40; i++)
        CU_ASSERT_EQUAL(reads[i].done, i % 4 == 2);
    cluster_run(c, TM_SECONDS(3));
    for (unsigned i = 0; i < 40; i++)
        CU_ASSERT(reads[i].done && reads[i].ok == (i % 4 != 2));
    cluster_free(c);
}

static void a_new_leader_answers_no_read_before_it_committed_in_its_term(void)
{
    struct cluster *c = leader_with_an_old_record();
    struct tm_replica *r = replica_of(c, 0);
    struct tm_replica_read read = {.index = 0};
    struct sim_read sim = {.at = &c->node[0].part[0]};
    read.owner = &sim;
    CU_ASSERT_EQUAL(tm_replica_read(r, &read), TM_ERR_AGAIN);
    r->peer[1].disk = 101;
    r->peer[1].confirmed = read.round; /* the round is answered */
    tm_replica_confirmed(r);
    CU_ASSERT_FALSE(sim.done);
    struct tm_replica_msg ack = puppet_msg(2, TM_MSG_APPEND_REPLY, 2);
    ack.index = ack.commit = 2;
    puppet_tell(c, 0, &ack);
    CU_ASSERT(sim.done && sim.ok);
    cluster_free(c);
}

static void a_read_of_an_uncommitted_effect_leaves_after_its_commit(void)
{
    struct cluster *c = cluster_up(12, 1, false);
    cluster_await_leader(c, TM_MS(50));
    CU_ASSERT(cluster_writes(c, 0, TM_SECONDS(1)));
    struct tm_replica *r = replica_of(c, 0);
    c->node[0].disk_slow_ns = TM_MS(10);
    uint64_t index = cluster_propose(c, 0, 0);
    struct sim_read seen = {.at = &c->node[0].part[0]}, unseen = seen;
    seen.read = (struct tm_replica_read){.index = index, .owner = &seen};
    unseen.read = (struct tm_replica_read){.index = index - 1, .owner = &unseen};
    CU_ASSERT_EQUAL(tm_replica_read(r, &unseen.read), TM_OK); /* others' effects do not delay it */
    CU_ASSERT_EQUAL(tm_replica_read(r, &seen.read), TM_ERR_AGAIN);
    cluster_run(c, TM_MS(5));
    CU_ASSERT_FALSE(seen.done);
    cluster_run(c, TM_MS(10));
    CU_ASSERT(seen.done && seen.ok);
    cluster_free(c);
}

static const struct tm_test tests[] = {
    TM_TEST(a_vote_is_durable_before_it_is_shown),
    TM_TEST(one_vote_per_term_also_across_a_crash),
    TM_TEST(no_vote_for_a_shorter_log),
    TM_TEST(a_prevote_changes_no_term_and_waits_for_the_leader_to_fall_silent),
    TM_TEST(leave_that_was_refused_is_asked_for_again_soon_and_then_slower),
    TM_TEST(votes_and_acknowledgements_of_another_disk_do_not_count),
    TM_TEST(an_acknowledgement_names_only_what_is_durable),
    TM_TEST(a_gap_is_refused_with_where_to_go_back_to),
    TM_TEST(a_record_that_does_not_chain_is_not_taken),
    TM_TEST(a_conflict_is_cut_and_told_as_lost_in_eventual_mode),
    TM_TEST(notes_are_sentences_for_operators),
    TM_TEST(equal_terms_with_another_hash_are_damage_not_conflict),
    TM_TEST(a_committed_record_is_never_cut),
    TM_TEST(commit_needs_a_record_of_this_term),
    TM_TEST(the_leader_counts_itself_by_its_disk),
    TM_TEST(nobody_can_acknowledge_what_the_leader_has_not),
    TM_TEST(a_single_voter_leads_and_commits_by_its_disk),
    TM_TEST(three_replicate_and_converge),
    TM_TEST(a_dead_leader_is_replaced_within_20_ms),
    TM_TEST(a_silent_leader_is_replaced_after_the_timeout),
    TM_TEST(a_node_that_was_away_does_not_disturb),
    TM_TEST(rest_and_work_keep_the_leader),
    TM_TEST(leadership_is_handed_over_when_the_successor_has_everything),
    TM_TEST(the_preferred_leader_takes_over_once_in_sync),
    TM_TEST(leadership_leaves_a_disk_that_stalls),
    TM_TEST(the_window_of_uncommitted_records_is_bounded),
    TM_TEST(the_window_counts_from_the_append_not_from_the_shipping),
    TM_TEST(a_write_that_no_quorum_has_room_for_is_refused_at_once),
    TM_TEST(a_copy_that_is_full_is_not_pressed_and_catches_up_when_it_has_room),
    TM_TEST(a_returning_leader_loses_what_was_not_committed),
    TM_TEST(what_is_not_in_memory_is_read_and_what_is_gone_comes_by_snapshot),
    TM_TEST(a_read_that_was_refused_is_asked_for_again),
    TM_TEST(a_snapshot_does_not_take_back_what_follows_it),
    TM_TEST(a_snapshot_from_before_the_log_is_of_no_use),
    TM_TEST(a_read_waits_for_a_round_that_began_after_it),
    TM_TEST(a_minority_confirms_no_read),
    TM_TEST(one_round_serves_all_reads_of_a_turn),
    TM_TEST(reads_that_nobody_waits_for_any_more_are_ended),
    TM_TEST(a_new_leader_answers_no_read_before_it_committed_in_its_term),
    TM_TEST(a_read_of_an_uncommitted_effect_leaves_after_its_commit),
};
TM_TEST_MAIN("actors/replica", tests)
