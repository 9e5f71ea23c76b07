/* A replica is held against what is true.  First its log: every record that is new in it becomes
 * part of the tree, and must follow what it follows here.  Then its promises, its role, what it
 * counts as acknowledged, what it commits, the state that leads to.
 *
 * A rule is checked when that which it speaks of has changed since the last look at this replica;
 * records once committed are compared by their end only, for a hash stands for all before it. */
#include "tests/sim/sim_truth_internal.h"

#include <stdlib.h>

#define ULL(x) ((unsigned long long)(x))

/* One look: a replica, its copy, the partition. */
struct look {
    struct tm_sim_truth *t;
    const struct tm_sim_view *v;
    const struct tm_replica *r;
    struct tm_sim_part *part;
    struct tm_sim_copy *copy;
    const struct tm_sim_seen *was;
    uint32_t partition;
    uint64_t bit;
    unsigned node;
};

#define WRONG(l, ...) tm_sim_truth_wrong((l)->t, (l)->partition, __VA_ARGS__)

static bool known_at(const struct look *l, uint64_t index, uint64_t *term, uint64_t *hash)
{
    *term = *hash = 0;
    return index > 0 && l->v->at(l->v->log, index, term, hash);
}

/* The record at `index` of this log, or NULL if it cannot be told. */
static struct tm_sim_entry *own_entry(const struct look *l, uint64_t index)
{
    uint64_t term, hash;
    if (!known_at(l, index, &term, &hash))
        return NULL;
    return tm_sim_truth_entry(l->t, l->partition, index, term, hash);
}

/* ---- the log ---- */

static const struct tm_member *witness_of(const struct tm_members *m)
{
    for (unsigned i = 0; i < m->count; i++)
        if (m->at[i].role == TM_MEMBER_WITNESS)
            return &m->at[i];
    return NULL;
}

static bool is_write(const struct tm_record *record)
{
    return record->kind == TM_RECORD_EFFECT || record->kind == TM_RECORD_FLUSH;
}

/* --solo stop: no write is taken by one who was in sync alone before this turn, and still is. */
static void check_taken(const struct look *l, const struct tm_record *record)
{
    const struct tm_sim_seen *was = l->was;
    bool leads = l->r->role == TM_ROLE_LEADER && was->role == TM_ROLE_LEADER &&
                 was->process == l->r && was->hs.term == l->r->hs.term;
    if (l->t->config.solo_stop && leads && is_write(record) && record->term == was->hs.term &&
        witness_of(&l->r->members) != NULL && was->hs.insync.count == 1 &&
        l->r->hs.insync.count == 1)
        WRONG(l, "node %u takes record %llu on one copy, with --solo stop", l->node,
              ULL(record->index));
}

/* In no log was it before. */
static void take_new(const struct look *l, struct tm_sim_entry *e)
{
    const struct tm_sim_truth_config *c = &l->t->config;
    const struct tm_record *record = l->v->record(l->v->log, e->index);
    e->seen_ns = l->v->clock_ns;
    e->bytes = record != NULL ? record->length : 0;
    if (record != NULL)
        check_taken(l, record);
    if (record != NULL && c->appeared != NULL)
        c->appeared(c->host, record);
}

static void learn_one(const struct look *l, uint64_t index)
{
    uint64_t term, hash, before, prev;
    if (!known_at(l, index, &term, &hash))
        return;
    struct tm_sim_entry *e = tm_sim_truth_entry(l->t, l->partition, index, term, hash);
    if (e->term != term)
        WRONG(l, "node %u has record %llu in term %llu, others in %llu (invariant 5)", l->node,
              ULL(index), ULL(term), ULL(e->term));
    if (known_at(l, index - 1, &before, &prev)) {
        tm_sim_truth_link(l->t, l->partition, e, prev, l->node);
        if (before > term)
            WRONG(l, "node %u: terms go down from %llu to %llu at %llu", l->node, ULL(before),
                  ULL(term), ULL(index));
    }
    if (e->looked == 0)
        take_new(l, e);
    e->looked |= l->bit;
    if (l->t->config.memory)
        e->durable |= l->bit;
}

static void learn(const struct look *l)
{
    uint64_t from = l->r->last.index, term, hash;
    while (from + 1 >= l->v->first && known_at(l, from, &term, &hash)) {
        const struct tm_sim_entry *e = tm_sim_truth_find(l->t, l->partition, from, hash);
        if (e != NULL && (e->looked & l->bit) != 0)
            break;
        from--;
    }
    for (uint64_t i = from + 1; i <= l->r->last.index; i++)
        learn_one(l, i);
    /* What a snapshot holds came durably with it. */
    uint64_t base = l->v->first - 1;
    l->copy->snapshot = tm_max_u64(l->copy->snapshot, base);
    if (base > 0 && l->v->first != l->was->first) {
        struct tm_sim_entry *e = own_entry(l, base);
        if (e != NULL)
            e->durable |= l->bit;
    }
}

/* ---- promises ---- */

static void check_promise(const struct look *l)
{
    const struct tm_promise *now = &l->r->hs, *had = &l->was->hs;
    if (now->term < had->term)
        WRONG(l, "node %u is in term %llu after %llu (invariant 1)", l->node, ULL(now->term),
              ULL(had->term));
    if (now->term == had->term && had->vote.node != TM_NODE_UNKNOWN &&
        !tm_id_equal(now->vote, had->vote))
        WRONG(l, "node %u votes for %u in term %llu after %u (invariant 1)", l->node,
              now->vote.node, ULL(now->term), had->vote.node);
}

/* Whether a replica has e durably, as a record or in what its log begins after. */
static bool has(const struct look *l, struct tm_id id, const struct tm_sim_entry *e)
{
    return (e->durable & tm_sim_truth_bit(l->t, id)) != 0 ||
           tm_sim_truth_copy(l->t, id, l->partition)->seen.first > e->index;
}

/* Who could not prove what it had is whole again when it has at least that. */
static void check_healed(const struct look *l)
{
    const struct tm_sim_entry *e = l->copy->owed;
    uint64_t term, hash;
    if (l->r->hs.health == TM_HEALTH_WHOLE && l->v->last > l->r->last.index)
        WRONG(l, "node %u is whole, and behind its last record %llu its log goes on to %llu",
              l->node, ULL(l->r->last.index), ULL(l->v->last));
    if (l->was->hs.health == TM_HEALTH_WHOLE || l->r->hs.health != TM_HEALTH_WHOLE || e == NULL ||
        !e->committed || l->r->role == TM_ROLE_LEADER || e->index + 1 < l->v->first)
        return;
    if (!known_at(l, e->index, &term, &hash) || hash != e->hash || l->r->durable < e->index)
        WRONG(l,
              "node %u is whole again without record %llu of term %llu, which it had (invariant 6)",
              l->node, ULL(e->index), ULL(e->term));
}

static bool same_set(const struct tm_insync *a, const struct tm_insync *b)
{
    return a->count == b->count && tm_id_equal(a->at[0], b->at[0]) &&
           (a->count < 2 || tm_id_equal(a->at[1], b->at[1]));
}

/* Whoever is in a set has all that was committed before it was made, as far as the leader of its
 * term could know: one that was deposed meanwhile gets nobody's leave for its set. */
static void check_members_of_set(const struct look *l, const struct tm_insync *s)
{
    const struct tm_sim_entry *e = NULL;
    for (uint64_t i = l->part->committed; i > l->part->origin; i--) {
        e = tm_sim_truth_committed_at(l->t, l->partition, i);
        if (e == NULL || e->committed_in <= s->term)
            break;
        e = NULL;
    }
    for (unsigned i = 0; e != NULL && !l->t->config.memory && i < s->count; i++)
        if (!has(l, s->at[i], e))
            WRONG(l, "in-sync set %llu.%llu has node %u, which lacks record %llu, committed before",
                  ULL(s->term), ULL(s->epoch), s->at[i].node, ULL(e->index));
}

/* What its log lacks is not on its disk, whatever was there. */
static void note_missing(const struct look *l)
{
    uint64_t first, last;
    for (unsigned k = 0; k < l->v->faults && !l->t->config.memory; k++) {
        l->v->fault(l->v->log, k, &first, &last);
        l->copy->missing = l->copy->missing == 0 ? first : tm_min_u64(l->copy->missing, first);
        for (uint64_t i = first; i <= last; i++)
            tm_sim_truth_missing(l->t, l->partition, i, l->bit);
    }
}

/* What was missing counts when it is on the disk again. */
static void check_brought_back(const struct look *l)
{
    uint64_t from = tm_max_u64(l->copy->missing, l->v->first);
    if (l->r->hs.health != TM_HEALTH_WHOLE || l->was->hs.health == TM_HEALTH_WHOLE ||
        l->copy->missing == 0)
        return;
    for (uint64_t i = from; i <= l->r->durable; i++) {
        const struct tm_sim_entry *e = own_entry(l, i);
        if (e != NULL && (e->missing & l->bit) != 0)
            WRONG(l,
                  "node %u is whole again, and record %llu of term %llu, which its log lacked, is "
                  "not on its disk again (invariant 2)",
                  l->node, ULL(i), ULL(e->term));
    }
    l->copy->missing = 0;
}

/* --solo stop: nobody goes on alone, but for one whose other copy has another disk. */
static void check_solo(const struct look *l, const struct tm_insync *s)
{
    const struct tm_insync *had = &l->was->hs.insync;
    if (!l->t->config.solo_stop || s->count != 1 || had->count != 2)
        return;
    struct tm_id other = had->at[tm_id_equal(had->at[0], s->at[0]) ? 1 : 0];
    if (!tm_sim_truth_is_replaced(l->t, other))
        WRONG(l, "node %u goes on without node %u, with --solo stop", l->node, other.node);
}

/* An in-sync set is what it is for good. */
static void check_set(const struct look *l)
{
    const struct tm_insync *s = &l->r->hs.insync;
    struct tm_sim_part *p = l->part;
    if (s->count == 0 || (s->term == l->was->hs.insync.term && s->epoch == l->was->hs.insync.epoch))
        return;
    for (unsigned i = p->set_count; i > 0; i--) {
        const struct tm_insync *o = &p->sets[i - 1];
        if (o->term != s->term || o->epoch != s->epoch)
            continue;
        if (!same_set(o, s))
            WRONG(l, "node %u has another in-sync set %llu.%llu than there was", l->node,
                  ULL(s->term), ULL(s->epoch));
        return;
    }
    if (p->set_count == p->set_cap) {
        p->set_cap = p->set_cap == 0 ? 16 : 2 * p->set_cap;
        p->sets = realloc(p->sets, p->set_cap * sizeof *p->sets);
        TM_ASSERT(p->sets != NULL);
    }
    p->sets[p->set_count++] = *s;
    check_members_of_set(l, s);
    check_solo(l, s);
}

static bool votes(enum tm_member_role role)
{
    return role == TM_MEMBER_VOTER || role == TM_MEMBER_WITNESS;
}

/* Whether the witness has the leader's in-sync set of one, or a newer one, durably. */
static bool witness_knows(const struct look *l, const struct tm_member *w)
{
    const struct tm_insync *s = &l->r->hs.insync;
    const struct tm_insync *there = &tm_sim_truth_copy(l->t, w->id, l->partition)->promise.insync;
    int o = tm_sim_truth_set_order(there, s);
    return o > 0 || (o == 0 && same_set(there, s));
}

/* ---- elections ---- */

static void note_vote(const struct look *l, struct tm_id voter)
{
    struct tm_sim_part *p = l->part;
    uint64_t term = l->r->hs.term;
    for (unsigned i = p->vote_count; i > 0; i--) {
        const struct tm_sim_vote *v = &p->votes[i - 1];
        if (v->term != term || !tm_id_equal(v->voter, voter))
            continue;
        if (!tm_id_equal(v->candidate, l->r->self))
            WRONG(l, "node %u voted for nodes %u and %u in term %llu (invariant 1)", voter.node,
                  v->candidate.node, l->node, ULL(term));
        return;
    }
    const struct tm_promise *there = &tm_sim_truth_copy(l->t, voter, l->partition)->promise;
    if (there->term < term || (there->term == term && !tm_id_equal(there->vote, l->r->self)))
        WRONG(l,
              "node %u counts a vote of node %u in term %llu that is not on its disk, which has "
              "term %llu and a vote for %u (invariant 1)",
              l->node, voter.node, ULL(term), ULL(there->term), there->vote.node);
    if (p->vote_count == p->vote_cap) {
        p->vote_cap = p->vote_cap == 0 ? 16 : 2 * p->vote_cap;
        p->votes = realloc(p->votes, p->vote_cap * sizeof *p->votes);
        TM_ASSERT(p->votes != NULL);
    }
    p->votes[p->vote_count++] =
        (struct tm_sim_vote){.term = term, .voter = voter, .candidate = l->r->self};
    l->t->stats.votes++;
}

static void check_votes(const struct look *l)
{
    const struct tm_members *m = &l->r->members;
    for (unsigned i = 0; i < m->count; i++)
        if ((l->r->granted >> i & 1) != 0 && votes(m->at[i].role))
            note_vote(l, m->at[i].id);
}

/* Whether votes, or leave, of enough members were given; *have of *voting. */
static bool has_majority(const struct look *l, unsigned *have, unsigned *voting)
{
    const struct tm_members *m = &l->r->members;
    *voting = *have = 0;
    for (unsigned i = 0; i < m->count; i++) {
        *voting += votes(m->at[i].role);
        *have += votes(m->at[i].role) && (l->r->granted >> i & 1) != 0;
    }
    const struct tm_insync *s = &l->r->hs.insync;
    bool alone = witness_of(m) != NULL && s->count == 1 && tm_id_equal(s->at[0], l->r->self);
    return alone || *have >= *voting / 2 + 1;
}

static void check_majority(const struct look *l)
{
    unsigned have, voting;
    if (!has_majority(l, &have, &voting))
        WRONG(l, "node %u leads term %llu by %u of %u votes (invariant 4)", l->node,
              ULL(l->r->hs.term), have, voting);
}

/* Who takes a new term, and is not told to, has leave of a majority: nobody is disturbed by a node
 * that cannot win. */
static void check_leave(const struct look *l)
{
    unsigned have, voting;
    if (!l->r->asked && !l->r->forced && l->r->hs.term > l->was->hs.term &&
        !has_majority(l, &have, &voting))
        WRONG(l, "node %u takes term %llu by leave of %u of %u", l->node, ULL(l->r->hs.term), have,
              voting);
}

/* What --durability memory may lose, and says so: all copies answered, the longest log stands. */
static void forgive(const struct look *l)
{
    struct tm_sim_part *p = l->part;
    while (p->committed > 0) {
        struct tm_sim_entry *e = tm_sim_truth_committed_at(l->t, l->partition, p->committed);
        uint64_t term, hash;
        if (e == NULL || (known_at(l, e->index, &term, &hash) && hash == e->hash))
            return;
        e->committed = false;
        p->committed--;
        p->forgave = true;
        l->t->stats.forgiven++;
    }
}

/* What earlier terms committed is in the new leader's log (invariants 4 and 5). */
static void check_complete(const struct look *l)
{
    struct tm_sim_entry *e = NULL;
    for (uint64_t i = l->part->committed; i > l->part->origin; i--) {
        e = tm_sim_truth_committed_at(l->t, l->partition, i);
        if (e == NULL || e->committed_in < l->r->hs.term)
            break;
    }
    uint64_t term, hash;
    if (e == NULL || e->index + 1 < l->v->first)
        return;
    if (known_at(l, e->index, &term, &hash) && hash == e->hash)
        return;
    if (l->t->config.memory && l->r->longest_stands) {
        forgive(l);
        return;
    }
    WRONG(l,
          "node %u leads term %llu without record %llu, which was committed in term %llu "
          "(invariants 4, 5)",
          l->node, ULL(l->r->hs.term), ULL(e->index), ULL(e->committed_in));
}

/* The leadership of this term, NULL if nobody had it. */
static const struct tm_sim_leadership *leader_of(const struct tm_sim_part *p, uint64_t term)
{
    for (unsigned i = p->leader_count; i > 0; i--)
        if (p->leaders[i - 1].term == term)
            return &p->leaders[i - 1];
    return NULL;
}

static void new_leader(const struct look *l)
{
    struct tm_sim_part *p = l->part;
    const struct tm_sim_leadership *other = leader_of(p, l->r->hs.term);
    if (other != NULL && !tm_id_equal(other->who, l->r->self))
        WRONG(l, "nodes %u and %u lead term %llu (invariant 1)", other->who.node, l->node,
              ULL(l->r->hs.term));
    if (other != NULL)
        return;
    if (p->leader_count == p->leader_cap) {
        p->leader_cap = p->leader_cap == 0 ? 16 : 2 * p->leader_cap;
        p->leaders = realloc(p->leaders, p->leader_cap * sizeof *p->leaders);
        TM_ASSERT(p->leaders != NULL);
    }
    p->leaders[p->leader_count++] =
        (struct tm_sim_leadership){.term = l->r->hs.term, .who = l->r->self};
    l->t->stats.leaders++;
    if (l->r->members.index < l->r->term_start) {
        check_votes(l);
        check_majority(l);
    }
    check_complete(l);
}

static void check_role(const struct look *l)
{
    const struct tm_replica *r = l->r;
    bool was_leader = l->was->role == TM_ROLE_LEADER && l->was->hs.term == r->hs.term;
    if (r->role == TM_ROLE_LEADER && !was_leader)
        new_leader(l);
    if (r->role == TM_ROLE_CANDIDATE && r->asked)
        check_votes(l);
    else if (r->role == TM_ROLE_CANDIDATE)
        check_leave(l);
    const struct tm_member *w = witness_of(&r->members);
    if (r->role == TM_ROLE_LEADER && w != NULL && r->hs.insync.count == 1 &&
        r->hs.insync.confirmed && !l->was->hs.insync.confirmed && !witness_knows(l, w))
        WRONG(l, "node %u takes its in-sync set %llu.%llu for confirmed, the witness has not it",
              l->node, ULL(r->hs.insync.term), ULL(r->hs.insync.epoch));
}

/* ---- acknowledgements ---- */

static void check_own_durable(const struct look *l)
{
    if (l->r->durable <= l->was->durable || l->r->durable + 1 < l->v->first)
        return;
    const struct tm_sim_entry *e = own_entry(l, l->r->durable);
    if (e != NULL && (e->durable & l->bit) == 0)
        WRONG(l,
              "node %u takes record %llu of term %llu for durable, it is not on its disk "
              "(invariant 2)",
              l->node, ULL(e->index), ULL(e->term));
}

static void check_match(const struct look *l, unsigned i)
{
    const struct tm_peer *p = &l->r->peer[i];
    bool data = l->r->members.at[i].role != TM_MEMBER_WITNESS &&
                l->r->members.at[i].role != TM_MEMBER_WITNESS_RETURNING;
    if (!data || p->match <= l->was->match[i] || p->disk == 0 || p->match + 1 < l->v->first)
        return;
    struct tm_id id = {.node = p->id.node, .disk = p->disk};
    const struct tm_sim_entry *e = own_entry(l, p->match);
    if (e != NULL && (e->durable & tm_sim_truth_bit(l->t, id)) == 0)
        WRONG(l,
              "node %u acknowledged record %llu of term %llu, it is not on its disk "
              "(invariant 2)",
              p->id.node, ULL(e->index), ULL(e->term));
    uint64_t promised = tm_sim_truth_copy(l->t, id, l->partition)->promise.term;
    if (promised < l->r->hs.term)
        WRONG(l, "node %u acknowledged in term %llu, its disk has term %llu (invariant 1)",
              p->id.node, ULL(l->r->hs.term), ULL(promised));
}

static void check_acknowledged(const struct look *l)
{
    check_own_durable(l);
    if (l->r->role != TM_ROLE_LEADER)
        return;
    for (unsigned i = 0; i < l->r->members.count; i++)
        if (l->r->members.at[i].id.node != l->node)
            check_match(l, i);
}

/* ---- commits ---- */

/* Whether the data copies that a commit needs have e (invariants 4 and 9). */
static void check_quorum(const struct look *l, const struct tm_sim_entry *e)
{
    const struct tm_members *m = &l->r->members;
    const struct tm_member *w = witness_of(m);
    unsigned voters = 0, copies = 0;
    for (unsigned i = 0; i < m->count; i++) {
        if (m->at[i].role != TM_MEMBER_VOTER)
            continue;
        voters++;
        copies += has(l, m->at[i].id, e);
    }
    unsigned need = w == NULL ? voters / 2 + 1 : voters;
    const struct tm_insync *s = &l->r->hs.insync;
    if (w != NULL && s->count == 1 && tm_id_equal(s->at[0], l->r->self)) {
        need = 1;
        if (copies < voters && !witness_knows(l, w))
            WRONG(l, "node %u commits record %llu alone, the witness does not know", l->node,
                  ULL(e->index));
    }
    if (copies < need)
        WRONG(l, "node %u commits record %llu of term %llu on %u of %u data copies (invariant 9)",
              l->node, ULL(e->index), ULL(e->term), copies, voters);
}

/* The term in which this replica led since the last look, 0 if it did not. */
static uint64_t led_in(const struct look *l)
{
    if (l->r->role == TM_ROLE_LEADER)
        return l->r->hs.term;
    return l->was->role == TM_ROLE_LEADER && l->was->process == l->r ? l->was->hs.term : 0;
}

static void commit_anew(const struct look *l, uint64_t to, uint64_t leading)
{
    struct tm_sim_entry *end = own_entry(l, to);
    if (end == NULL) {
        WRONG(l, "node %u committed %llu, which its log does not have", l->node, ULL(to));
        return;
    }
    if (end->term != leading)
        WRONG(l,
              "node %u, leader of term %llu, committed record %llu of term %llu by counting "
              "(invariant 3)",
              l->node, ULL(leading), ULL(to), ULL(end->term));
    if (l->r->role == TM_ROLE_LEADER) /* else it may show another in-sync set by now */
        check_quorum(l, end);
    for (uint64_t i = l->part->committed + 1; i <= to; i++) {
        struct tm_sim_entry *e = own_entry(l, i);
        if (e == NULL)
            continue;
        e->committed = true;
        e->committed_in = leading;
        l->t->stats.committed++;
    }
    l->part->committed = to;
}

/* The end of the snapshot that a forced recovery begins with. */
static bool begins_anew(const struct look *l, uint64_t to)
{
    struct tm_sim_part *p = l->part;
    struct tm_sim_entry *e = own_entry(l, to);
    if (p->origin == 0 || p->committed != p->origin || to + 1 != l->v->first || e == NULL)
        return false;
    e->committed = true;
    e->committed_in = e->term;
    p->committed = to;
    return true;
}

static void check_commit(const struct look *l)
{
    uint64_t to = l->r->commit;
    if (to <= l->was->commit || begins_anew(l, to))
        return;
    uint64_t agreed = tm_min_u64(to, l->part->committed), term, hash;
    const struct tm_sim_entry *e = tm_sim_truth_committed_at(l->t, l->partition, agreed);
    if (e != NULL && known_at(l, agreed, &term, &hash) && hash != e->hash)
        WRONG(l,
              "node %u committed record %llu of term %llu, it was committed of term %llu "
              "(invariant 5)",
              l->node, ULL(agreed), ULL(term), ULL(e->term));
    if (to <= l->part->committed)
        return;
    if (led_in(l) != 0)
        commit_anew(l, to, led_in(l));
    else
        WRONG(l, "node %u committed %llu, no leader committed more than %llu", l->node, ULL(to),
              ULL(l->part->committed));
}

/* Equal index, equal state (invariant 11). */
static void check_state(const struct look *l)
{
    if (!l->v->has_state || l->v->applied == l->was->applied)
        return;
    struct tm_sim_entry *e = tm_sim_truth_committed_at(l->t, l->partition, l->v->applied);
    if (e == NULL)
        return;
    l->t->stats.states++;
    if (e->has_state && e->state != l->v->state_hash)
        WRONG(l, "node %u at %llu has state %016llx, another had %016llx (invariant 11)", l->node,
              ULL(e->index), ULL(l->v->state_hash), ULL(e->state));
    e->state = l->v->state_hash;
    e->has_state = true;
}

/* ---- eventual mode: the window of what may be lost ---- */

/* A client's write is among the records since the last look that follow one not committed.  What a
 * leader appends of itself (who counts, its first of a term) waits for no window. */
static bool took_a_write(const struct look *l)
{
    for (uint64_t i = l->r->last.index; i > tm_max_u64(l->was->last.index, l->r->commit + 1); i--) {
        const struct tm_record *record = l->v->record(l->v->log, i);
        if (record == NULL || is_write(record))
            return true;
    }
    return false;
}

static void check_window(const struct look *l)
{
    const struct tm_sim_truth_config *c = &l->t->config;
    if (!c->eventual || l->r->role != TM_ROLE_LEADER || !took_a_write(l))
        return;
    uint64_t bytes = 0, oldest = l->v->clock_ns;
    for (uint64_t i = l->r->last.index - 1; i > l->r->commit; i--) {
        const struct tm_sim_entry *e = own_entry(l, i);
        if (e == NULL || e->term != l->r->hs.term)
            break;
        bytes += e->bytes;
        oldest = e->seen_ns;
    }
    if (bytes >= c->window_bytes + TM_KIB(1))
        WRONG(l, "node %u has %llu bytes that a failover may cut off, %llu were declared", l->node,
              ULL(bytes), ULL(c->window_bytes));
    uint64_t age = l->v->clock_ns - oldest;
    if (age > c->window_ns + c->window_ns / 10 + TM_MS(50))
        WRONG(l, "node %u took a write with one not committed for %llu ms, %llu were declared",
              l->node, ULL(age / 1000000), ULL(c->window_ns / 1000000));
}

/* ---- a look ---- */

static bool unchanged(const struct look *l)
{
    const struct tm_replica *r = l->r;
    const struct tm_sim_seen *s = l->was;
    if (s->process != r || s->role != r->role || s->hs.term != r->hs.term ||
        s->hs.vote.node != r->hs.vote.node || s->last.index != r->last.index ||
        s->last.hash != r->last.hash || s->commit != r->commit || s->durable != r->durable ||
        s->applied != l->v->applied || s->first != l->v->first || s->granted != r->granted ||
        s->hs.insync.term != r->hs.insync.term || s->hs.insync.epoch != r->hs.insync.epoch ||
        s->hs.insync.confirmed != r->hs.insync.confirmed || s->hs.health != r->hs.health)
        return false;
    for (unsigned i = 0; r->role == TM_ROLE_LEADER && i < r->members.count; i++)
        if (s->match[i] != r->peer[i].match)
            return false;
    return true;
}

static void remember(const struct look *l)
{
    const struct tm_replica *r = l->r;
    struct tm_sim_seen *s = &l->copy->seen;
    *s = (struct tm_sim_seen){.process = (struct tm_replica *)(uintptr_t)r,
                              .role = r->role,
                              .hs = r->hs,
                              .last = r->last,
                              .commit = r->commit,
                              .durable = r->durable,
                              .applied = l->v->applied,
                              .first = l->v->first,
                              .granted = r->granted};
    for (unsigned i = 0; i < r->members.count; i++)
        s->match[i] = r->peer[i].match;
}

static struct look look_at(struct tm_sim_truth *t, const struct tm_sim_view *v)
{
    const struct tm_replica *r = v->replica;
    struct tm_sim_copy *copy = tm_sim_truth_copy(t, r->self, r->partition);
    return (struct look){.t = t,
                         .v = v,
                         .r = r,
                         .part = &t->parts[r->partition],
                         .copy = copy,
                         .was = &copy->seen,
                         .partition = r->partition,
                         .bit = tm_sim_truth_bit(t, r->self),
                         .node = r->self.node};
}

static void check_all(const struct look *l)
{
    l->t->stats.looks++;
    learn(l);
    check_promise(l);
    check_healed(l);
    note_missing(l);
    check_brought_back(l);
    check_set(l);
    check_role(l);
    check_acknowledged(l);
    check_commit(l);
    check_state(l);
    check_window(l);
    remember(l);
}

void tm_sim_truth_look(struct tm_sim_truth *t, const struct tm_sim_view *v)
{
    struct look l = look_at(t, v);
    if (!unchanged(&l))
        check_all(&l);
}

/* ---- the first look ---- */

/* What is on the disk is in the log, or the replica knows that it may have lost something. */
static void check_kept(const struct look *l, const struct tm_sim_truth_boot *boot)
{
    const struct tm_sim_copy *c = l->copy;
    uint64_t term, hash;
    bool whole = l->r->hs.health == TM_HEALTH_WHOLE, holed = l->r->hs.health == TM_HEALTH_HOLED;
    bool kept =
        c->index + 1 < l->v->first || c->index == 0 ||
        (known_at(l, c->index, &term, &hash) && hash == c->hash && c->index <= l->r->last.index);
    if (whole && !kept && !boot->lied)
        WRONG(l,
              "node %u came back without record %llu, which it had durably, and does not know it "
              "(invariant 6): its log is %llu..%llu",
              l->node, ULL(c->index), ULL(l->v->first), ULL(l->r->last.index));
    if (holed && !boot->lied && c->index > l->v->last)
        WRONG(l,
              "node %u came back without record %llu, which it had durably, and takes record %llu "
              "for the last behind its holes (invariant 6)",
              l->node, ULL(c->index), ULL(l->v->last));
    if (!whole && c->promise.health == TM_HEALTH_WHOLE && !boot->rotten && !boot->lied &&
        !l->t->config.memory)
        WRONG(l, "node %u takes its log for damaged, and nobody has damaged it", l->node);
    if ((whole || holed) && l->t->config.memory && boot->unclean && c->promise.term > 0 &&
        !l->v->witness && l->r->role != TM_ROLE_LEADER)
        WRONG(l,
              "node %u came back from an unclean end and takes its memory for whole "
              "(invariant 6)",
              l->node);
}

/* What recovery found is durable, more or less than was known to be. */
static void take_found(const struct look *l)
{
    struct tm_sim_copy *c = l->copy;
    uint64_t term, hash, end = tm_min_u64(l->r->durable, l->r->last.index);
    for (uint64_t i = tm_max_u64(l->v->first - 1, 1); i <= end; i++) { /* its base, too */
        struct tm_sim_entry *e = own_entry(l, i);
        if (e == NULL)
            continue;
        e->durable |= l->bit;
        e->gone &= ~l->bit;
    }
    /* Behind a fault the log has more than the replica. */
    end = l->r->last.index < l->v->last && l->r->hs.health != TM_HEALTH_WHOLE ? l->v->last : end;
    if (end == 0 || known_at(l, end, &term, &hash)) {
        c->index = end;
        c->hash = end == 0 ? 0 : hash;
    }
}

/* Records of a term that its disk does not know cannot have been acknowledged. */
static void note_owed(const struct look *l)
{
    const struct tm_sim_entry *e = NULL;
    for (uint64_t i = l->part->committed; i > l->part->origin; i--) {
        e = tm_sim_truth_committed_at(l->t, l->partition, i);
        if (e != NULL && (e->durable & l->bit) != 0 && e->term <= l->r->hs.term)
            break;
        e = NULL;
    }
    l->copy->owed = e;
}

void tm_sim_truth_booted(struct tm_sim_truth *t, const struct tm_sim_view *v,
                         const struct tm_sim_truth_boot *boot)
{
    struct look l = look_at(t, v);
    const struct tm_promise had = l.copy->promise;
    l.copy->seen = (struct tm_sim_seen){.role = TM_ROLE_FOLLOWER, .hs = had, .first = v->first};
    check_kept(&l, boot);
    tm_sim_truth_found_again(t, l.partition, l.bit);
    l.copy->missing = 0;
    note_owed(&l);
    learn(&l);
    take_found(&l);
    if (l.r->hs.term > had.term || (l.r->hs.term == had.term && had.vote.node == TM_NODE_UNKNOWN))
        l.copy->promise = l.r->hs; /* a start makes durable what it found */
    check_all(&l);
}
