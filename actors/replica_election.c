/* replica_election.c: pre-vote, vote, handing over.
 *
 * A follower that hears no leader asks all voters whether they would vote for it in the next term
 * (pre-vote): nobody's term changes, so that a node that was away cannot disturb.  With a quorum of
 * leave it takes the next term, votes for itself, and asks once that is durable.
 *
 * Several followers that see the same leader die start a few milliseconds apart, by their place
 * among the members; of two that ask each other, the one with the longer log, then the earlier
 * place, goes first, and the other stands back.
 *
 * What is a quorum (docs/PROTOCOL.md): a majority of voters, the witness included; or the confirmed
 * in-sync set of one.  Besides, the votes of replicas that can prove what they had must meet every
 * commit quorum, or all data voters must have answered, and then the longest log stands. */
#include "actors/replica_internal.h"

bool tm_replica_eligible(const struct tm_replica *r)
{
    if (r->own < 0 || r->members.at[r->own].role != TM_MEMBER_VOTER)
        return false;
    if (r->hs.health >= TM_HEALTH_HOLED)
        return false;
    return !tm_replica_has_witness(r) || tm_replica_insync_has(&r->hs.insync, r->self);
}

void tm_replica_new_timeout(struct tm_replica *r)
{
    uint64_t span = r->opt->election_max_ns - r->opt->election_min_ns + 1;
    r->timeout_ns = r->opt->election_min_ns + tm_ctx_random(r->ctx) % span;
}

/* When to ask for leave at the latest, as far as is known now. */
static uint64_t election_due(struct tm_replica *r, uint64_t *grain)
{
    uint64_t promise = 0;
    *grain = 1;
    if (r->election_at != 0)
        return r->election_at;
    uint64_t heard = tm_max_u64(r->heard_at, tm_beat_heard(r->beat, r, &promise));
    *grain = tm_max_u64(TM_MS(1), promise / 4);
    return heard + promise + r->timeout_ns;
}

void tm_replica_arm_election(struct tm_replica *r)
{
    if (r->role == TM_ROLE_LEADER)
        return;
    if (!tm_replica_eligible(r)) {
        r->deadline = UINT64_MAX;
        if (r->lost)
            tm_replica_set_deadline(r, tm_replica_now(r) + r->timeout_ns);
        if (r->role == TM_ROLE_FOLLOWER)
            return;
        tm_replica_become(r, TM_ROLE_FOLLOWER);
        tm_replica_announce(r);
        return;
    }
    uint64_t grain, due = election_due(r, &grain);
    tm_replica_set_deadline(r, tm_replica_grid(due, grain));
}

bool tm_replica_leader_alive(const struct tm_replica *r)
{
    if (r->role == TM_ROLE_LEADER)
        return true;
    if (r->leader == TM_NODE_UNKNOWN || (r->down >> r->leader & 1) != 0)
        return false;
    uint64_t promise = 0;
    uint64_t heard = tm_max_u64(r->heard_at, tm_beat_heard(r->beat, r, &promise));
    return tm_replica_now(r) < heard + promise + r->opt->election_min_ns;
}

/* A log with holes ends where it always did.  If the term of its last record is among what is
 * missing, the candidate's log must be known to be committed that far: then all that this one may
 * have helped to commit is in it. */
static bool log_reaches_mine(const struct tm_replica *r, const struct tm_replica_msg *msg)
{
    struct tm_tail mine = r->last;
    if (r->hs.health == TM_HEALTH_HOLED && !r->io->end(r->host, &mine))
        return msg->commit >= mine.index;
    if (msg->index_term != mine.term)
        return msg->index_term > mine.term;
    return msg->index >= mine.index;
}

/* Whether the candidate may have this replica's vote as far as log, health and in-sync set go.  The
 * witness has no log: any reaches it.  Neither does what a copy has that is not in its own set bind
 * one that is in it and whole: every commit had that one's disk, whether before the set or since.
 * Whether the vote counts, the candidate's members say. */
static bool fit_to_lead(const struct tm_replica *r, const struct tm_replica_msg *msg)
{
    if (r->hs.health == TM_HEALTH_FAULTY)
        return false;
    bool witnessed = (msg->flags & TM_MSG_WITH_SET) != 0;
    if (!witnessed && r->hs.insync.count == 0)
        return log_reaches_mine(r, msg);
    bool bound =
        tm_replica_insync_has(&r->hs.insync, r->self) || (msg->flags & TM_MSG_SUSPECT) != 0;
    return tm_replica_insync_has(&r->hs.insync, msg->from) && (!bound || log_reaches_mine(r, msg));
}

/* With a witness: whether a member of the set can deny what it has not, and whether all have
 * answered who may hold a lone copy (an unconfirmed set of one had a larger one before it). */
static bool set_satisfied(const struct tm_replica *r, bool *all)
{
    bool denied = false;
    *all = true;
    for (unsigned i = 0; i < r->members.count; i++) {
        bool in_set = tm_replica_insync_has(&r->hs.insync, r->members.at[i].id);
        bool data = r->members.at[i].role == TM_MEMBER_VOTER;
        denied |= in_set && (r->whole >> i & 1) != 0;
        if ((tm_replica_alone(r) ? in_set : data) && (r->granted >> i & 1) == 0)
            *all = false;
    }
    return denied;
}

static bool election_won(const struct tm_replica *r, bool *longest_stands)
{
    unsigned voting = tm_replica_voting(r), need = voting / 2 + 1, votes = 0;
    unsigned denials = 0;
    for (unsigned i = 0; i < r->members.count; i++) {
        bool voter = r->members.at[i].role == TM_MEMBER_VOTER;
        votes += r->granted >> i & (tm_replica_votes(r->members.at[i].role) ? 1 : 0);
        denials += r->whole >> i & (voter ? 1 : 0);
    }
    bool all = votes == voting, met = denials >= voting - need + 1;
    if (tm_replica_has_witness(r))
        met = set_satisfied(r, &all);
    *longest_stands = !met && all;
    bool enough = votes >= need || (tm_replica_alone(r) && (r->granted >> r->own & 1) != 0);
    return enough && (met || all);
}

static void count_vote(struct tm_replica *r, unsigned place, bool whole)
{
    r->granted |= 1u << place;
    if (whole)
        r->whole |= 1u << place;
}

static void count_own_vote(struct tm_replica *r)
{
    r->granted = r->whole = 0;
    count_vote(r, (unsigned)r->own, r->hs.health == TM_HEALTH_WHOLE);
}

static void ask_voters(struct tm_replica *r, enum tm_msg_kind kind)
{
    for (unsigned i = 0; i < r->members.count; i++) {
        if ((int)i == r->own || !tm_replica_votes(r->members.at[i].role))
            continue;
        struct tm_replica_msg msg = tm_replica_msg_make(r, kind);
        msg.term += kind == TM_MSG_PREVOTE;
        msg.index = r->last.index;
        msg.index_term = r->last.term;
        msg.commit = r->commit;
        if (r->hs.health != TM_HEALTH_WHOLE)
            msg.flags |= TM_MSG_SUSPECT;
        if (kind == TM_MSG_VOTE && r->forced)
            msg.flags |= TM_MSG_FORCED;
        if (tm_replica_has_witness(r)) {
            msg.flags |= TM_MSG_WITH_SET;
            msg.insync = r->hs.insync;
        }
        tm_replica_post(r, r->members.at[i].id.node, &msg);
    }
}

static void lead(struct tm_replica *r)
{
    uint64_t now = tm_replica_now(r);
    tm_replica_become(r, TM_ROLE_LEADER);
    r->leader = r->self.node;
    r->lead_since = now;
    r->own_progress_at = now;
    r->election_at = 0;
    r->term_start = r->last.index + 1;
    r->ship_to = r->last.index;
    r->prefer_at =
        now + r->opt->prefer_after_ns + tm_ctx_random(r->ctx) % (r->opt->prefer_after_ns + 1);
    r->transfer_to = TM_NODE_UNKNOWN;
    tm_replica_set_health(r, TM_HEALTH_WHOLE);
    tm_replica_peers_reset(r);
    tm_replica_window_reset(r);
    tm_replica_set_deadline(r, now + r->opt->retry_ns / 2);
    tm_replica_announce(r);
    if (tm_replica_append_control(r, TM_RECORD_NOOP, tm_bytes_of(NULL, 0)) != TM_OK) {
        tm_replica_resign(r);
        return;
    }
    tm_replica_insync_lead(r);
    tm_replica_ship(r);
}

static void lead_if_won(struct tm_replica *r)
{
    if (election_won(r, &r->longest_stands))
        lead(r);
}

/* Leave of itself may be all it needs: a single voter, or the confirmed in-sync set of one. */
static void campaign_if_leave(struct tm_replica *r)
{
    bool unused;
    if (election_won(r, &unused))
        tm_replica_campaign(r, false);
}

/* Soon at first: whoever refused may just not have noticed yet that the leader is gone. */
static uint64_t retry_after(struct tm_replica *r)
{
    uint64_t pace = r->prevote_tries < 8 ? r->opt->retry_ns : r->timeout_ns;
    if (r->prevote_tries < 3)
        pace >>= 3 - r->prevote_tries;
    return pace + tm_ctx_random(r->ctx) % (pace / 2 + 1);
}

void tm_replica_prevote(struct tm_replica *r)
{
    TM_ASSERT(tm_replica_eligible(r));
    uint64_t now = tm_replica_now(r);
    if (r->role == TM_ROLE_CANDIDATE)
        tm_replica_become(r, TM_ROLE_FOLLOWER);
    if (r->role == TM_ROLE_FOLLOWER) {
        tm_replica_become(r, TM_ROLE_PRECANDIDATE);
        r->leader = TM_NODE_UNKNOWN;
        r->prevote_tries = 0;
        tm_replica_note(r, TM_NOTE_PREVOTE, r->hs.term + 1, 0);
        tm_replica_announce(r);
    }
    r->prevote_tries++;
    tm_replica_set_deadline(r, now + retry_after(r));
    if (!tm_replica_settled(r))
        return;
    count_own_vote(r);
    campaign_if_leave(r);
    if (r->role == TM_ROLE_PRECANDIDATE)
        ask_voters(r, TM_MSG_PREVOTE);
}

void tm_replica_campaign(struct tm_replica *r, bool forced)
{
    tm_replica_become(r, TM_ROLE_CANDIDATE);
    r->leader = TM_NODE_UNKNOWN;
    r->hs.term++;
    r->hs.vote = r->self;
    r->verified = 0;
    r->firm = 0;
    r->asked = false;
    r->forced = forced;
    tm_replica_persist(r);
    r->term_seq = r->hs_wanted;
    tm_replica_new_timeout(r);
    tm_replica_set_deadline(r, tm_replica_now(r) + r->timeout_ns);
    tm_replica_note(r, TM_NOTE_ELECTION, r->hs.term, 0);
    tm_replica_announce(r);
}

void tm_replica_ask(struct tm_replica *r)
{
    TM_ASSERT(r->role == TM_ROLE_CANDIDATE && tm_replica_settled(r));
    r->asked = true;
    count_own_vote(r);
    lead_if_won(r);
    if (r->role == TM_ROLE_CANDIDATE)
        ask_voters(r, TM_MSG_VOTE);
}

static void answer_vote(struct tm_replica *r, unsigned node, uint64_t asked, uint8_t flags)
{
    struct tm_replica_msg msg = tm_replica_msg_make(r, TM_MSG_VOTE_REPLY);
    msg.flags = flags;
    msg.index = r->last.index;
    msg.index_term = r->last.term;
    msg.commit = asked;
    if (r->hs.health != TM_HEALTH_WHOLE && r->hs.health != TM_HEALTH_HOLED)
        msg.flags |= TM_MSG_SUSPECT;
    if (r->hs.insync.count > 0) {
        msg.flags |= TM_MSG_WITH_SET;
        msg.insync = r->hs.insync;
    }
    tm_replica_post(r, node, &msg);
}

/* Of two that ask at the same time with equal logs, the earlier place goes first. */
static bool goes_before(const struct tm_replica *r, const struct tm_replica_msg *msg)
{
    if (r->role != TM_ROLE_PRECANDIDATE || r->prevote_tries > 3)
        return false;
    if (msg->index != r->last.index || msg->index_term != r->last.term)
        return false;
    int place = tm_replica_place(r, msg->from.node);
    return place < 0 || r->own < place;
}

void tm_replica_on_prevote(struct tm_replica *r, const struct tm_replica_msg *msg)
{
    if ((msg->flags & TM_MSG_WITH_SET) != 0 && msg->term > r->hs.term)
        tm_replica_insync_adopt(r, &msg->insync);
    if (!tm_replica_settled(r))
        return; /* asked again soon */
    bool grant = msg->term > r->hs.term && !tm_replica_leader_alive(r) && fit_to_lead(r, msg) &&
                 !goes_before(r, msg);
    answer_vote(r, msg->from.node, msg->term, (uint8_t)(TM_MSG_PRE | (grant ? TM_MSG_GRANTED : 0)));
    if (!grant || r->role == TM_ROLE_LEADER || r->role == TM_ROLE_CANDIDATE)
        return;
    if (r->role == TM_ROLE_PRECANDIDATE)
        tm_replica_become(r, TM_ROLE_FOLLOWER);
    r->election_at =
        tm_replica_now(r) + 3 * r->opt->retry_ns + tm_ctx_random(r->ctx) % (r->opt->retry_ns + 1);
    tm_replica_arm_election(r);
}

void tm_replica_send_votes(struct tm_replica *r)
{
    for (unsigned node = 0; node < 64; node++) {
        if ((r->vote_owed >> node & 1) == 0)
            continue;
        bool granted = r->hs.vote.node == node;
        answer_vote(r, node, r->hs.term, granted ? TM_MSG_GRANTED : 0);
    }
    r->vote_owed = 0;
}

void tm_replica_on_vote(struct tm_replica *r, const struct tm_replica_msg *msg)
{
    if (msg->term > r->hs.term)
        tm_replica_follow(r, msg->term, TM_NODE_UNKNOWN);
    if (msg->term == r->hs.term && (msg->flags & TM_MSG_WITH_SET) != 0)
        tm_replica_insync_adopt(r, &msg->insync);
    bool free_to = r->hs.vote.node == TM_NODE_UNKNOWN;
    if (msg->term == r->hs.term && r->role == TM_ROLE_FOLLOWER && free_to &&
        r->leader == TM_NODE_UNKNOWN && fit_to_lead(r, msg)) {
        r->hs.vote = msg->from;
        tm_replica_persist(r);
        r->term_seq = r->hs_wanted;
        r->heard_at = tm_replica_now(r);
        r->election_at = 0;
        tm_replica_new_timeout(r);
        tm_replica_arm_election(r);
    }
    r->vote_owed |= 1ull << msg->from.node;
    tm_replica_send_owed(r);
}

void tm_replica_on_vote_reply(struct tm_replica *r, const struct tm_replica_msg *msg)
{
    if ((msg->flags & TM_MSG_WITH_SET) != 0)
        tm_replica_insync_adopt(r, &msg->insync);
    bool pre = (msg->flags & TM_MSG_PRE) != 0;
    int place = tm_replica_place(r, msg->from.node);
    if ((msg->flags & TM_MSG_GRANTED) == 0 || place < 0 ||
        msg->from.disk != r->members.at[place].id.disk)
        return;
    bool whole = (msg->flags & TM_MSG_SUSPECT) == 0;
    if (pre && r->role == TM_ROLE_PRECANDIDATE && msg->commit == r->hs.term + 1 &&
        tm_replica_settled(r)) {
        count_vote(r, (unsigned)place, whole);
        campaign_if_leave(r);
    } else if (!pre && r->role == TM_ROLE_CANDIDATE && msg->term == r->hs.term && r->asked &&
               msg->commit == r->hs.term && tm_replica_settled(r)) {
        count_vote(r, (unsigned)place, whole);
        lead_if_won(r);
    }
}

void tm_replica_tick_election(struct tm_replica *r, uint64_t now)
{
    if (!tm_replica_eligible(r)) {
        if (r->lost)
            tm_replica_tell_lost(r);
        tm_replica_arm_election(r);
        return;
    }
    uint64_t grain;
    if (r->role == TM_ROLE_FOLLOWER && now < election_due(r, &grain)) {
        tm_replica_arm_election(r);
        return;
    }
    tm_replica_prevote(r);
}

/* --- handing over --- */

enum tm_err tm_replica_transfer(struct tm_replica *r, unsigned node)
{
    if (r->role != TM_ROLE_LEADER)
        return TM_ERR_NOTLEADER;
    struct tm_peer *p = tm_replica_peer(r, node);
    if (p == NULL || p->role != TM_MEMBER_VOTER || node == r->self.node || !tm_replica_genuine(p))
        return TM_ERR_INVALID;
    if (tm_replica_has_witness(r) && !tm_replica_insync_has(&r->hs.insync, p->id))
        return TM_ERR_INVALID;
    if (r->transfer_to != TM_NODE_UNKNOWN ||
        (r->step != TM_STEP_NONE && r->step != TM_STEP_WIDEN_WITNESS))
        return TM_ERR_AGAIN;
    r->transfer_to = node;
    r->transfer_until = tm_replica_now(r) + r->opt->election_max_ns;
    r->transfer_sent = false;
    tm_replica_ship(r);
    tm_replica_transfer_drive(r, tm_replica_now(r));
    if (r->role == TM_ROLE_LEADER)
        tm_replica_set_deadline(r, tm_replica_now(r) + r->opt->retry_ns / 2);
    return TM_OK;
}

void tm_replica_transfer_drive(struct tm_replica *r, uint64_t now)
{
    if (r->role != TM_ROLE_LEADER || r->transfer_to == TM_NODE_UNKNOWN)
        return;
    struct tm_peer *p = tm_replica_peer(r, r->transfer_to);
    if (now >= r->transfer_until || p == NULL) {
        r->transfer_to = TM_NODE_UNKNOWN;
        return;
    }
    if (p->match != r->last.index || r->transfer_sent)
        return;
    struct tm_replica_msg msg = tm_replica_msg_make(r, TM_MSG_TIMEOUT_NOW);
    tm_replica_post(r, r->transfer_to, &msg);
    r->transfer_sent = true;
}

void tm_replica_on_timeout_now(struct tm_replica *r, const struct tm_replica_msg *msg)
{
    if (msg->term != r->hs.term || r->role != TM_ROLE_FOLLOWER || !tm_replica_eligible(r) ||
        r->leaving)
        return;
    tm_replica_campaign(r, true);
}
