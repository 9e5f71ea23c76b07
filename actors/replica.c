/* replica.c: life and roles of a replica, its hard state, the way of events to their handlers.
 *
 * A replica starts as a follower.  It hears of a leader by an append or a joined heartbeat; when
 * none is heard it asks whether it could win (pre-vote), then campaigns (replica_election.c), leads
 * (replica_append.c, replica_commit.c) until it sees a higher term or no quorum any more.
 *
 * What makes it slow to speak: a changed term, vote or in-sync set is written first (io.persist);
 * replies that would show it are remembered as owed, not as messages, and are made from the state
 * at the time when it is durable.  A crash in between leaves nobody who heard of it. */
#include "actors/replica_internal.h"

#include <stdio.h>

void tm_replica_options_default(struct tm_replica_options *opt)
{
    *opt = (struct tm_replica_options){
        .election_min_ns = TM_MS(150),
        .election_max_ns = TM_MS(300),
        .stagger_ns = TM_MS(3),
        .retry_ns = TM_MS(20),
        .disk_stall_ns = TM_SECONDS(1),
        .clock_skew_ms_max = 500,
        .prefer_after_ns = TM_SECONDS(5),
        .append_bytes_max = (uint32_t)TM_KIB(256),
        .inflight_bytes_max = (uint32_t)TM_MIB(4),
        .window_bytes_max = TM_MIB(16),
    };
}

void tm_replica_init(struct tm_replica *r, const struct tm_replica_options *opt,
                     const struct tm_replica_io *io, void *host, const struct tm_ctx *ctx,
                     struct tm_beat *beat, uint32_t partition, struct tm_id self)
{
    TM_ASSERT(self.node < 64 && self.disk != 0);
    memset(r, 0, sizeof *r);
    r->ctx = ctx;
    r->io = io;
    r->opt = opt;
    r->beat = beat;
    r->host = host;
    r->partition = partition;
    r->self = self;
    r->own = -1;
    r->leader = TM_NODE_UNKNOWN;
    r->transfer_to = TM_NODE_UNKNOWN;
    r->set_leader = TM_NODE_UNKNOWN;
    r->hs.vote.node = TM_NODE_UNKNOWN;
    r->deadline = UINT64_MAX;
    r->rounds_end = &r->rounds;
}

/* The in-sync set of a partition that was just created: both data replicas. */
static void first_insync(struct tm_replica *r)
{
    if (r->own < 0 || !tm_replica_has_witness(r) || r->members.index != 0)
        return;
    if (r->hs.insync.count != 0 || r->hs.insync.term != 0 || r->hs.term != 0)
        return;
    for (unsigned i = 0; i < r->members.count; i++)
        if (r->members.at[i].role == TM_MEMBER_VOTER)
            r->hs.insync.at[r->hs.insync.count++] = r->members.at[i].id;
    tm_replica_persist(r);
}

void tm_replica_start(struct tm_replica *r, const struct tm_replica_boot *boot)
{
    TM_ASSERT(!r->started && boot->commit <= boot->last.index);
    r->started = true;
    r->hs = boot->hs;
    if (boot->last.term > r->hs.term) {
        r->hs.term = boot->last.term;
        r->hs.vote = (struct tm_id){.node = TM_NODE_UNKNOWN};
        tm_replica_persist(r);
        r->term_seq = r->hs_wanted;
    }
    r->last = boot->last;
    r->durable = boot->last.index;
    r->commit = boot->commit;
    r->previous = boot->previous;
    if (boot->members.count > 0)
        tm_replica_members_set(r, &boot->members);
    r->previous = boot->previous;
    first_insync(r);
    bool witness = r->own >= 0 && tm_replica_witnesses(r->members.at[r->own].role);
    if (boot->health > r->hs.health && !witness) /* a witness promised nothing of a log */
        tm_replica_set_health(r, boot->health);
    r->heard_at = tm_replica_now(r);
    tm_beat_join(r->beat, r);
    tm_replica_new_timeout(r);
    if (tm_replica_voting(r) == 1)
        r->election_at = tm_replica_now(r);
    else if (r->own == 0) /* the preferred leader asks first */
        r->election_at = tm_replica_now(r) + r->opt->election_min_ns / 4;
    tm_replica_arm_election(r);
}

void tm_replica_stop(struct tm_replica *r)
{
    TM_ASSERT(r->started);
    tm_replica_reads_fail(r);
    tm_beat_leave(r->beat, r);
    r->started = false;
    r->deadline = UINT64_MAX;
}

void tm_replica_persist(struct tm_replica *r)
{
    r->io->persist(r->host, &r->hs, ++r->hs_wanted);
}

void tm_replica_set_health(struct tm_replica *r, enum tm_health health)
{
    if (r->hs.health == health)
        return;
    r->hs.health = health;
    r->firm = 0;
    tm_replica_persist(r);
    if (health == TM_HEALTH_WHOLE)
        tm_replica_note(r, TM_NOTE_HEALED, r->last.index, r->hs.term);
}

void tm_replica_become(struct tm_replica *r, enum tm_replica_role role)
{
    static const bool edge[4][4] = {
        [TM_ROLE_FOLLOWER] = {[TM_ROLE_PRECANDIDATE] = true, [TM_ROLE_CANDIDATE] = true},
        [TM_ROLE_PRECANDIDATE] = {[TM_ROLE_FOLLOWER] = true, [TM_ROLE_CANDIDATE] = true},
        [TM_ROLE_CANDIDATE] = {[TM_ROLE_FOLLOWER] = true, [TM_ROLE_LEADER] = true},
        [TM_ROLE_LEADER] = {[TM_ROLE_FOLLOWER] = true},
    };
    TM_ASSERT(edge[r->role][role]);
    TM_ASSERT(role != TM_ROLE_LEADER || tm_replica_term_settled(r));
    TM_ASSERT(role != TM_ROLE_LEADER || tm_id_equal(r->hs.vote, r->self));
    r->role = role;
}

struct tm_replica_status tm_replica_status(const struct tm_replica *r)
{
    return (struct tm_replica_status){
        .role = r->role,
        .term = r->hs.term,
        .leader = r->leader,
        .commit = r->commit,
        .last = r->last.index,
        .longest_stands = r->role == TM_ROLE_LEADER && r->longest_stands,
    };
}

void tm_replica_announce(struct tm_replica *r)
{
    struct tm_replica_status status = tm_replica_status(r);
    tm_beat_update(r->beat, r);
    r->io->role(r->host, &status);
}

static void cease_leading(struct tm_replica *r)
{
    r->transfer_to = TM_NODE_UNKNOWN;
    r->step = TM_STEP_NONE;
    r->longest_stands = false;
    tm_replica_become(r, TM_ROLE_FOLLOWER);
}

void tm_replica_follow(struct tm_replica *r, uint64_t term, unsigned leader)
{
    TM_ASSERT(term >= r->hs.term);
    bool led = r->role == TM_ROLE_LEADER;
    bool changed = r->role != TM_ROLE_FOLLOWER || term != r->hs.term || leader != r->leader;
    TM_ASSERT(term > r->hs.term || leader == TM_NODE_UNKNOWN || r->leader == TM_NODE_UNKNOWN ||
              r->leader == leader); /* invariant 1 */
    if (term > r->hs.term) {
        r->hs.term = term;
        r->hs.vote = (struct tm_id){.node = TM_NODE_UNKNOWN};
        r->verified = 0;
        r->firm = 0;
        tm_replica_persist(r);
        r->term_seq = r->hs_wanted;
    }
    if (led)
        cease_leading(r);
    else if (r->role != TM_ROLE_FOLLOWER)
        tm_replica_become(r, TM_ROLE_FOLLOWER);
    r->leader = leader;
    if (leader != TM_NODE_UNKNOWN) {
        r->heard_at = tm_replica_now(r);
        r->election_at = 0;
        r->down &= ~(1ull << leader);
    }
    if (led) {
        tm_replica_reads_fail(r);
        r->heard_at = tm_replica_now(r);
    }
    if (!changed)
        return;
    tm_replica_new_timeout(r);
    tm_replica_arm_election(r);
    tm_replica_announce(r);
}

void tm_replica_set_deadline(struct tm_replica *r, uint64_t at)
{
    r->deadline = at;
    tm_beat_deadline(r->beat, r);
}

void tm_replica_note(struct tm_replica *r, enum tm_replica_note note, uint64_t a, uint64_t b)
{
    r->io->note(r->host, note, a, b);
}

struct tm_replica_msg tm_replica_msg_make(const struct tm_replica *r, enum tm_msg_kind kind)
{
    return (struct tm_replica_msg){
        .kind = kind, .partition = r->partition, .from = r->self, .term = r->hs.term};
}

void tm_replica_post(struct tm_replica *r, unsigned node, struct tm_replica_msg *msg)
{
    TM_ASSERT(tm_replica_term_settled(r)); /* invariant 1: durable before it is shown */
    TM_ASSERT(node != r->self.node);
    r->io->send(r->host, node, msg, NULL, 0);
}

/* A leader that learns of a higher term makes room for it; all kinds but the votes' own, which
 * weigh the term themselves. */
static void weigh_term(struct tm_replica *r, const struct tm_replica_msg *msg)
{
    if (msg->kind == TM_MSG_PREVOTE || msg->kind == TM_MSG_VOTE)
        return;
    bool from_leader =
        msg->kind == TM_MSG_APPEND || msg->kind == TM_MSG_INSYNC || msg->kind == TM_MSG_TIMEOUT_NOW;
    if (msg->term > r->hs.term)
        tm_replica_follow(r, msg->term, from_leader ? msg->from.node : TM_NODE_UNKNOWN);
    else if (from_leader && msg->term == r->hs.term && r->role != TM_ROLE_LEADER)
        tm_replica_follow(r, msg->term, msg->from.node);
}

void tm_replica_receive(struct tm_replica *r, const struct tm_replica_msg *msg)
{
    TM_ASSERT(r->started);
    if (msg->partition != r->partition || msg->from.node == r->self.node)
        return;
    r->down &= ~(1ull << msg->from.node);
    struct tm_peer *p = tm_replica_peer(r, msg->from.node);
    if (p != NULL)
        tm_replica_peer_heard(r, p, msg->from.disk);
    weigh_term(r, msg);
    switch (msg->kind) {
    case TM_MSG_PREVOTE:
        tm_replica_on_prevote(r, msg);
        break;
    case TM_MSG_VOTE:
        tm_replica_on_vote(r, msg);
        break;
    case TM_MSG_VOTE_REPLY:
        tm_replica_on_vote_reply(r, msg);
        break;
    case TM_MSG_APPEND:
        tm_replica_on_append(r, msg);
        break;
    case TM_MSG_APPEND_REPLY:
        tm_replica_on_append_reply(r, msg);
        break;
    case TM_MSG_INSYNC:
        tm_replica_on_insync(r, msg);
        break;
    case TM_MSG_INSYNC_REPLY:
        tm_replica_on_insync_reply(r, msg);
        break;
    case TM_MSG_TIMEOUT_NOW:
        tm_replica_on_timeout_now(r, msg);
        break;
    case TM_MSG_END:
        break;
    }
}

void tm_replica_send_owed(struct tm_replica *r)
{
    if (r->ack_owed && tm_replica_term_settled(r))
        tm_replica_send_ack(r);
    if (!tm_replica_settled(r))
        return;
    if (r->vote_owed != 0)
        tm_replica_send_votes(r);
    if (r->insync_owed && r->leader != TM_NODE_UNKNOWN && r->leader != r->self.node) {
        struct tm_replica_msg msg = tm_replica_msg_make(r, TM_MSG_INSYNC_REPLY);
        msg.flags = TM_MSG_WITH_SET;
        msg.insync = r->hs.insync;
        tm_replica_post(r, r->leader, &msg);
    }
    r->insync_owed = false;
}

void tm_replica_persisted(struct tm_replica *r, uint64_t seq)
{
    TM_ASSERT(seq <= r->hs_wanted);
    r->hs_done = tm_max_u64(r->hs_done, seq);
    tm_beat_update(r->beat, r);
    if (r->role == TM_ROLE_CANDIDATE && !r->asked && tm_replica_settled(r))
        tm_replica_ask(r);
    tm_replica_send_owed(r);
    if (r->role == TM_ROLE_LEADER)
        tm_replica_insync_persisted(r);
}

static bool quorum_heard(struct tm_replica *r, uint64_t now)
{
    if (tm_replica_alone(r))
        return true;
    uint64_t patience = r->opt->election_max_ns + tm_beat_patience(r->beat);
    unsigned heard = 0;
    for (unsigned i = 0; i < r->members.count; i++) {
        const struct tm_peer *p = &r->peer[i];
        if (!tm_replica_votes(r->members.at[i].role))
            continue;
        uint64_t at = p->heard_at;
        if (tm_replica_genuine(p))
            at = tm_max_u64(at, tm_beat_confirmed_at(r->beat, r, p->id.node, p->disk));
        heard += (int)i == r->own || at + patience >= now;
    }
    return heard >= tm_replica_voting(r) / 2 + 1;
}

/* A leader whose own disk stalls serves badly: the best of the others takes over. */
static void watch_own_disk(struct tm_replica *r, uint64_t now)
{
    if (r->durable >= r->last.index)
        r->own_progress_at = now;
    if (now - r->own_progress_at <= r->opt->disk_stall_ns || r->transfer_to != TM_NODE_UNKNOWN)
        return;
    struct tm_peer *best = NULL;
    for (unsigned i = 0; i < r->members.count; i++) {
        struct tm_peer *p = &r->peer[i];
        if (tm_replica_is_self(r, i) || p->role != TM_MEMBER_VOTER || !tm_replica_genuine(p) ||
            p->down || tm_beat_flush_age(r->beat, r, p->id.node) > r->opt->disk_stall_ns)
            continue;
        if (best == NULL || p->match > best->match)
            best = p;
    }
    if (best == NULL || tm_replica_transfer(r, best->id.node) != TM_OK)
        return;
    tm_replica_note(r, TM_NOTE_STALLED, now - r->own_progress_at, r->hs.term);
}

/* Once the preferred leader has been in sync for a while it takes over, at a time of its own per
 * partition so that not all do at once. */
static void give_to_preferred(struct tm_replica *r, uint64_t now)
{
    struct tm_peer *p = &r->peer[0];
    if (r->opt->prefer_after_ns == 0 || r->members.at[0].role != TM_MEMBER_VOTER ||
        tm_replica_is_self(r, 0) || now < r->prefer_at || r->transfer_to != TM_NODE_UNKNOWN)
        return;
    if (p->synced_at == 0 || now - p->synced_at < r->opt->prefer_after_ns)
        return;
    if (p->no_room ||
        -tm_beat_ahead_ms(r->beat, r, p->id.node) > (int64_t)r->opt->clock_skew_ms_max)
        return;
    r->prefer_at = now + 8 * r->opt->prefer_after_ns;
    (void)tm_replica_transfer(r, p->id.node);
}

static bool watch_peer(struct tm_replica *r, unsigned i, uint64_t now)
{
    struct tm_peer *p = &r->peer[i];
    if (tm_replica_is_self(r, i))
        return r->durable < r->last.index;
    uint64_t disk = tm_beat_disk(r->beat, r, p->id.node);
    if (disk != 0 && disk != p->disk && (p->disk == 0 || tm_replica_witnesses(p->role)))
        tm_replica_peer_heard(r, p, disk);
    if (tm_replica_witnesses(p->role))
        return false;
    if (p->match >= r->last.index)
        p->progress_at = now;
    bool near = p->state == TM_PEER_REPLICATE && p->match + TM_REPLICA_NEAR >= r->commit;
    if (!near || !tm_replica_genuine(p) || tm_replica_lost(r, p, now))
        p->synced_at = 0;
    else if (p->synced_at == 0)
        p->synced_at = now;
    bool behind = p->match < r->last.index || p->commit < r->commit;
    if (behind && p->state == TM_PEER_REPLICATE && p->match < r->last.index &&
        now - tm_max_u64(p->progress_at, p->sent_at) >= 4 * r->opt->retry_ns)
        tm_replica_probe(p, tm_max_u64(p->received, p->match) + 1, true);
    if (p->state == TM_PEER_FETCH) /* the read may have been refused: ask again */
        tm_replica_probe(p, tm_max_u64(p->match + 1, p->next), false);
    tm_replica_pump(r, p);
    tm_replica_tell_commit(r, p);
    return behind && !p->down;
}

static void tick_leader(struct tm_replica *r, uint64_t now)
{
    bool busy = r->transfer_to != TM_NODE_UNKNOWN ||
                (r->step != TM_STEP_NONE && r->step != TM_STEP_WIDEN_WITNESS);
    if (!quorum_heard(r, now)) {
        tm_replica_note(r, TM_NOTE_QUORUM_LOST, r->hs.term, 0);
        tm_replica_follow(r, r->hs.term, TM_NODE_UNKNOWN);
        return;
    }
    r->ship_to = r->opt->eventual ? r->ship_to : r->last.index;
    for (unsigned i = 0; i < r->members.count; i++)
        busy |= watch_peer(r, i, now);
    watch_own_disk(r, now);
    tm_replica_insync_drive(r, now);
    tm_replica_readmit(r);
    give_to_preferred(r, now);
    tm_replica_transfer_drive(r, now);
    uint64_t pace = r->opt->retry_ns / 2, grain = pace;
    if (!busy) {
        pace = r->opt->election_min_ns / 2;
        grain = tm_max_u64(grain, tm_beat_interval(r->beat) / 2);
    }
    if (r->role == TM_ROLE_LEADER)
        tm_replica_set_deadline(r, tm_replica_grid(now + pace, grain));
}

void tm_replica_tick(struct tm_replica *r, uint64_t now)
{
    if (now < r->deadline)
        return;
    r->deadline = UINT64_MAX;
    if (r->role == TM_ROLE_LEADER)
        tick_leader(r, now);
    else
        tm_replica_tick_election(r, now);
}

void tm_replica_leave(struct tm_replica *r)
{
    r->leaving = true;
}

void tm_replica_resign(struct tm_replica *r)
{
    if (r->role == TM_ROLE_LEADER)
        tm_replica_follow(r, r->hs.term, TM_NODE_UNKNOWN);
}

/* Asks the log anew for its end, which lies before `from` now. */
void tm_replica_damaged(struct tm_replica *r, uint64_t from, bool known)
{
    tm_replica_resign(r);
    if (r->role != TM_ROLE_FOLLOWER)
        tm_replica_become(r, TM_ROLE_FOLLOWER);
    known = known && (r->hs.health == TM_HEALTH_WHOLE || r->hs.health == TM_HEALTH_HOLED);
    tm_replica_set_health(r, known ? TM_HEALTH_HOLED : TM_HEALTH_FAULTY);
    if (from > r->last.index)
        return;
    /* What comes back has the same members; if both are among what is lost they still are. */
    if (!known && r->previous.index < from)
        tm_replica_members_cut(r, from);
    r->last = (struct tm_tail){.index = from - 1};
    if (from > 1) {
        enum tm_err err = r->io->meta(r->host, from - 1, &r->last.term, &r->last.hash);
        TM_ASSERT(err == TM_OK);
    }
    r->durable = tm_min_u64(r->durable, r->last.index);
    r->verified = tm_min_u64(r->verified, r->last.index);
    r->commit = tm_min_u64(r->commit, r->last.index);
    r->lost = true;
    tm_replica_tell_lost(r);
    tm_replica_arm_election(r);
}

void tm_replica_repaired(struct tm_replica *r, const struct tm_tail *last, uint64_t durable)
{
    TM_ASSERT(r->role == TM_ROLE_FOLLOWER && r->hs.health == TM_HEALTH_HOLED);
    TM_ASSERT(last->index >= r->last.index && durable <= last->index);
    if (last->term > r->hs.term) { /* promises are missing, too */
        tm_replica_set_health(r, TM_HEALTH_FAULTY);
        return;
    }
    r->last = *last;
    r->durable = durable;
    r->lost = false;
    tm_replica_set_health(r, TM_HEALTH_WHOLE);
    tm_replica_arm_election(r);
}

void tm_replica_peer_down(struct tm_replica *r, unsigned node)
{
    uint64_t now = tm_replica_now(r);
    r->down |= 1ull << node;
    struct tm_peer *p = tm_replica_peer(r, node);
    if (p != NULL)
        p->down = true;
    if (r->role == TM_ROLE_LEADER && p != NULL) {
        p->synced_at = 0;
        p->no_room = false;
        tm_replica_probe(p, tm_replica_ask_from(r, p), false);
        tm_replica_set_deadline(r, now);
    }
    if (r->role != TM_ROLE_FOLLOWER || r->leader != node)
        return;
    unsigned rank = 0;
    for (int i = 0; i < r->own; i++)
        rank += r->members.at[i].role == TM_MEMBER_VOTER && r->members.at[i].id.node != node;
    r->election_at =
        now + rank * r->opt->stagger_ns + tm_ctx_random(r->ctx) % (r->opt->stagger_ns / 2 + 1);
    tm_replica_arm_election(r);
}

void tm_replica_peer_up(struct tm_replica *r, unsigned node)
{
    r->down &= ~(1ull << node);
    struct tm_peer *p = tm_replica_peer(r, node);
    if (p == NULL)
        return;
    p->down = false;
    if (r->role != TM_ROLE_LEADER)
        return;
    tm_replica_probe(p, tm_replica_ask_from(r, p), true);
    tm_replica_pump(r, p);
}

bool tm_replica_heard(struct tm_replica *r, struct tm_id from, uint64_t *term)
{
    uint64_t theirs = *term;
    *term = r->hs.term;
    if (theirs < r->hs.term || r->role == TM_ROLE_LEADER)
        if (theirs <= r->hs.term)
            return false;
    tm_replica_follow(r, theirs, from.node);
    *term = r->hs.term;
    return tm_replica_term_settled(r);
}

void tm_replica_unheard(struct tm_replica *r)
{
    if (r->role != TM_ROLE_FOLLOWER || r->leader == TM_NODE_UNKNOWN)
        return;
    r->leader = TM_NODE_UNKNOWN;
    tm_replica_announce(r);
}

void tm_replica_term_seen(struct tm_replica *r, uint64_t term)
{
    if (term > r->hs.term)
        tm_replica_follow(r, term, TM_NODE_UNKNOWN);
}

void tm_replica_item_confirmed(struct tm_replica *r, struct tm_id from, uint64_t round)
{
    struct tm_peer *p = tm_replica_peer(r, from.node);
    if (r->role != TM_ROLE_LEADER || p == NULL || round <= r->lead_round)
        return;
    tm_replica_peer_heard(r, p, from.disk);
    p->confirmed = tm_max_u64(p->confirmed, round);
}

const char *tm_replica_role_name(enum tm_replica_role role)
{
    static const char *const roles[] = {"FOLLOWER", "PRECANDIDATE", "CANDIDATE", "LEADER"};
    return (unsigned)role < TM_ARRAY_LEN(roles) ? roles[role] : "UNKNOWN";
}

static const struct {
    const char *name, *text;
    enum tm_log_level level;
} notes[] = {
#define X(name, level, text) {#name, text, TM_LOG_##level},
    TM_REPLICA_NOTE_LIST(X)
#undef X
};

const char *tm_replica_note_name(enum tm_replica_note note)
{
    return (unsigned)note < TM_NOTE_COUNT ? notes[note].name : "UNKNOWN";
}

enum tm_log_level tm_replica_note_level(enum tm_replica_note note)
{
    return (unsigned)note < TM_NOTE_COUNT ? notes[note].level : TM_LOG_WARN;
}

void tm_replica_note_text(enum tm_replica_note note, uint64_t a, uint64_t b, const char *node,
                          char *text, size_t size)
{
    const char *from = (unsigned)note < TM_NOTE_COUNT ? notes[note].text : "an unknown note";
    size_t len = 0;
    text[0] = '\0';
    while (*from != '\0' && len + 1 < size) {
        size_t plain = strcspn(from, "{"), word = strcspn(from, "}") - plain + 1;
        len += (size_t)snprintf(text + len, size - len, "%.*s", (int)plain, from);
        from += plain;
        if (*from == '\0' || len + 1 >= size)
            return;
        uint64_t number = from[1] == 'a' ? a : from[1] == 'b' ? b : a / TM_MS(1);
        len += (size_t)(from[1] == 'n'
                            ? snprintf(text + len, size - len, "%s", node)
                            : snprintf(text + len, size - len, "%llu", (unsigned long long)number));
        from += word;
    }
}
