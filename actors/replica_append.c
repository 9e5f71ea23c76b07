/* replica_append.c: how records get from the leader's log into the followers'.
 *
 * The leader keeps for each peer the next index to send.  While it does not know where the logs
 * meet (PROBE) one message at a time goes out; then messages are pipelined, bounded in number and
 * bytes (REPLICATE).  Each names the record before its first one by index, term and hash.  The
 * follower compares, cuts what conflicts and is not committed, appends, and acknowledges what is
 * durable and verified to be the leader's.  If the records do not fit it answers with the place
 * where the logs may still agree; terms only grow along a log, so both sides search by halving.
 *
 * Lost messages show as a gap (the follower rejects at once) or as silence (the leader probes
 * without records).  What is not in memory is read (FETCH), what is not in the log any more comes
 * by snapshot (SNAPSHOT).  A record that both have with the same term and another hash means damage
 * on one side: never cut, never overwritten; the replica turns FAULTY and says so. */
#include "actors/replica_internal.h"

/* A peer whose disk is full is sent so much at a time, and no more until that was answered: it may
 * have room for a little, and needs what leads to the NOOP of this term. */
#define NO_ROOM_BYTES 4096u

/* --- leader --- */

void tm_replica_append_own(struct tm_replica *r, const struct tm_record *record)
{
    TM_ASSERT(r->role == TM_ROLE_LEADER);
    TM_ASSERT(record->index == r->last.index + 1 && record->term == r->hs.term);
    TM_ASSERT(record->prev_hash == r->last.hash && record->partition == r->partition);
    uint64_t now = tm_replica_now(r);
    if (r->durable == r->last.index)
        r->own_progress_at = now;
    for (unsigned i = 0; i < r->members.count; i++)
        if (r->peer[i].match == r->last.index)
            r->peer[i].progress_at = now; /* from now on there is something to wait for */
    r->last = (struct tm_tail){record->index, record->term, record->checksum};
    r->verified = record->index;
    r->appended_bytes += record->length;
    if (r->unmarked_at == 0)
        r->unmarked_at = now;
    uint64_t soon = tm_replica_grid(now + r->opt->retry_ns / 4, r->opt->retry_ns / 2);
    if (r->deadline > soon)
        tm_replica_set_deadline(r, soon);
}

enum tm_err tm_replica_append_control(struct tm_replica *r, enum tm_record_kind kind,
                                      struct tm_bytes body)
{
    union {
        struct tm_record head;
        uint8_t bytes[sizeof(struct tm_record) + TM_MEMBERS_SIZE_MAX + 8];
    } u;
    TM_ASSERT(body.len <= TM_MEMBERS_SIZE_MAX);
    memset(&u, 0, sizeof u);
    u.head.kind = (uint16_t)kind;
    u.head.partition = r->partition;
    u.head.body_len = (uint32_t)body.len;
    u.head.term = r->hs.term;
    u.head.index = r->last.index + 1;
    u.head.prev_hash = r->last.hash;
    r->io->stamp(r->host, &u.head.hlc, &u.head.origin);
    if (body.len > 0)
        memcpy(&u.head + 1, body.data, body.len);
    tm_record_seal(&u.head);
    enum tm_err err = r->io->append(r->host, &u.head);
    if (err == TM_OK)
        tm_replica_append_own(r, &u.head);
    return err;
}

/* Enough copies could take a record: the leader itself, as its host knows, and all that have not
 * said otherwise.  With a witness the other copy, if it is full, is soon done without. */
static bool quorum_has_room(struct tm_replica *r)
{
    unsigned voters = 0, room = 0;
    for (unsigned i = 0; i < r->members.count; i++) {
        if (r->members.at[i].role != TM_MEMBER_VOTER)
            continue;
        voters++;
        room += tm_replica_is_self(r, i) || !r->peer[i].no_room;
    }
    return tm_replica_has_witness(r) || room >= voters / 2 + 1;
}

enum tm_err tm_replica_next(struct tm_replica *r, struct tm_replica_slot *slot)
{
    if (r->role != TM_ROLE_LEADER)
        return TM_ERR_NOTLEADER;
    if (r->transfer_to != TM_NODE_UNKNOWN)
        return TM_ERR_AGAIN;
    uint64_t now = tm_replica_now(r);
    if (r->opt->solo_stop && tm_replica_has_witness(r)) {
        struct tm_peer *other = tm_replica_other(r);
        if (r->hs.insync.count == 1 || other == NULL || tm_replica_lost(r, other, now))
            return TM_ERR_NOREPLICAS;
    }
    if (!quorum_has_room(r))
        return TM_ERR_NOSPACE;
    if (tm_replica_window_bytes(r) >= r->opt->window_bytes_max)
        return TM_ERR_FULL;
    if (r->opt->window_ns_max != 0 &&
        now - tm_replica_window_since(r, now) >= r->opt->window_ns_max)
        return TM_ERR_FULL;
    *slot = (struct tm_replica_slot){r->last.index + 1, r->hs.term, r->last.hash};
    return TM_OK;
}

void tm_replica_appended(struct tm_replica *r, const struct tm_record *record)
{
    tm_replica_append_own(r, record);
}

void tm_replica_ship(struct tm_replica *r)
{
    if (r->role != TM_ROLE_LEADER || r->ship_to == r->last.index)
        return;
    r->ship_to = r->last.index;
    tm_beat_touch(r->beat);
    tm_replica_window_mark(r);
    tm_replica_pump_all(r);
}

void tm_replica_probe(struct tm_peer *p, uint64_t next, bool bare)
{
    TM_ASSERT(next > p->match);
    p->state = TM_PEER_PROBE;
    p->next = next;
    p->bare = bare;
    p->sent_at = 0;
    p->flights = 0;
    p->flight_bytes = 0;
}

/* What one message is to carry, gathered. */
struct batch {
    struct tm_bytes pieces[TM_PIECES_MAX];
    unsigned pieces_used;
    uint32_t records;
    uint32_t bytes;
};

static bool batch_add(struct batch *b, const struct tm_record *record, uint32_t bytes_max)
{
    if (b->records > 0 && b->bytes + record->length > bytes_max)
        return false;
    const uint8_t *data = (const uint8_t *)record;
    struct tm_bytes *tail = b->pieces_used > 0 ? &b->pieces[b->pieces_used - 1] : NULL;
    if (tail != NULL && tail->data + tail->len == data)
        tail->len += record->length;
    else if (b->pieces_used == TM_PIECES_MAX)
        return false;
    else
        b->pieces[b->pieces_used++] = tm_bytes_of(record, record->length);
    b->records++;
    b->bytes += record->length;
    return true;
}

/* Gathers records from p->next to `to`.  False: none can be had now, and p->state says why. */
static bool gather(struct tm_replica *r, struct tm_peer *p, uint64_t to, struct batch *b)
{
    for (uint64_t i = p->next; i <= to; i++) {
        const struct tm_record *record = NULL;
        enum tm_err err = r->io->record(r->host, i, &record);
        if (err == TM_OK) {
            TM_ASSERT(record->index == i);
            if (!batch_add(b, record, p->no_room ? NO_ROOM_BYTES : r->opt->append_bytes_max))
                break;
            continue;
        }
        if (b->records > 0)
            break;
        if (err != TM_ERR_AGAIN)
            return false; /* damaged here: whoever noticed it calls tm_replica_damaged */
        p->state = TM_PEER_FETCH;
        return false;
    }
    return true;
}

static void need_snapshot(struct tm_replica *r, struct tm_peer *p)
{
    p->state = TM_PEER_SNAPSHOT;
    p->flights = 0;
    p->flight_bytes = 0;
    r->io->snapshot_needed(r->host, p->id.node);
}

static void note_flight(struct tm_peer *p, uint64_t last, uint32_t bytes)
{
    TM_ASSERT(p->flights < TM_FLIGHTS);
    unsigned at = (p->flight_head + p->flights++) % TM_FLIGHTS;
    p->flight[at] = (struct tm_flight){last, bytes};
    p->flight_bytes += bytes;
}

/* Sends one message from p->next on, with records up to `to`, or none if to < p->next.  False:
 * not possible now. */
static bool send_append(struct tm_replica *r, struct tm_peer *p, uint64_t to)
{
    struct batch b = {.records = 0};
    struct tm_replica_msg msg = tm_replica_msg_make(r, TM_MSG_APPEND);
    TM_ASSERT(tm_replica_term_settled(r));
    msg.index = p->next - 1;
    if (p->next < r->io->first(r->host)) {
        need_snapshot(r, p);
        return false;
    }
    if (msg.index > 0 && r->io->meta(r->host, msg.index, &msg.index_term, &msg.hash) != TM_OK)
        return false;
    if (!gather(r, p, to, &b))
        return false;
    msg.flags = r->commit >= r->term_start ? TM_MSG_FIRM : 0;
    msg.commit = r->commit;
    msg.count = b.records;
    if (b.records > 0)
        note_flight(p, p->next + b.records - 1, b.bytes);
    p->next += b.records;
    p->commit_sent = r->commit;
    p->sent_at = tm_replica_now(r);
    r->io->send(r->host, p->id.node, &msg, b.pieces, b.pieces_used);
    return true;
}

static void pump_probe(struct tm_replica *r, struct tm_peer *p)
{
    uint64_t now = tm_replica_now(r);
    if (p->sent_at != 0) {
        if (now - p->sent_at < (p->down ? 20 : 2) * r->opt->retry_ns)
            return;
        p->bare = true;
    }
    uint64_t next = p->next;
    if (send_append(r, p, p->bare ? 0 : r->ship_to))
        p->next = next; /* moves on when it is answered */
    p->flights = 0;
    p->flight_bytes = 0;
}

void tm_replica_pump(struct tm_replica *r, struct tm_peer *p)
{
    TM_ASSERT(r->role == TM_ROLE_LEADER);
    if (p->id.node == r->self.node || tm_replica_witnesses(p->role))
        return;
    if (p->state == TM_PEER_PROBE) {
        pump_probe(r, p);
        return;
    }
    while (p->state == TM_PEER_REPLICATE && p->next <= r->ship_to) {
        if (p->flights == TM_FLIGHTS || p->flight_bytes >= r->opt->inflight_bytes_max ||
            (p->no_room && p->flights > 0))
            return;
        if (!send_append(r, p, r->ship_to))
            return;
    }
}

void tm_replica_pump_all(struct tm_replica *r)
{
    for (unsigned i = 0; i < r->members.count && r->role == TM_ROLE_LEADER; i++)
        tm_replica_pump(r, &r->peer[i]);
}

void tm_replica_tell_commit(struct tm_replica *r, struct tm_peer *p)
{
    if (p->state != TM_PEER_REPLICATE || p->commit >= r->commit || p->next <= r->ship_to)
        return;
    if (p->commit_sent < r->commit || tm_replica_now(r) - p->sent_at >= 4 * r->opt->retry_ns)
        (void)send_append(r, p, 0);
}

void tm_replica_log_available(struct tm_replica *r)
{
    if (r->role != TM_ROLE_LEADER)
        return;
    for (unsigned i = 0; i < r->members.count; i++) {
        struct tm_peer *p = &r->peer[i];
        if (p->state != TM_PEER_FETCH)
            continue;
        tm_replica_probe(p, tm_max_u64(p->match + 1, p->next), false);
        tm_replica_pump(r, p);
    }
}

/* The largest index in lo..hi whose term is at most `term`; lo if there is none or not known. */
static uint64_t last_of_term(struct tm_replica *r, uint64_t lo, uint64_t hi, uint64_t term)
{
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo + 1) / 2, at = 0, hash = 0;
        enum tm_err err = r->io->meta(r->host, mid, &at, &hash);
        if (err == TM_OK && at > term)
            hi = mid - 1;
        else
            lo = mid;
    }
    return lo;
}

static void go_back(struct tm_replica *r, struct tm_peer *p, const struct tm_replica_msg *msg)
{
    if (p->state == TM_PEER_SNAPSHOT)
        return;
    uint64_t hint = tm_min_u64(msg->index, r->last.index);
    uint64_t base = r->io->first(r->host) - 1;
    if (hint > base && hint > p->match)
        hint = last_of_term(r, tm_max_u64(base, p->match), hint, msg->index_term);
    tm_replica_probe(p, tm_max_u64(hint, p->match) + 1, false);
    tm_replica_pump(r, p);
}

static void land_flights(struct tm_peer *p)
{
    while (p->flights > 0 && p->flight[p->flight_head].last <= p->match) {
        p->flight_bytes -= p->flight[p->flight_head].bytes;
        p->flight_head = (p->flight_head + 1) % TM_FLIGHTS;
        p->flights--;
    }
}

static void take_ack(struct tm_replica *r, struct tm_peer *p, const struct tm_replica_msg *msg)
{
    if (msg->index > p->match) {
        p->match = msg->index;
        p->progress_at = tm_replica_now(r);
    }
    p->commit = tm_max_u64(p->commit, msg->hash);
    p->received = tm_max_u64(tm_max_u64(p->received, p->match), msg->commit);
    if (p->state == TM_PEER_PROBE) {
        p->state = TM_PEER_REPLICATE;
        p->next = tm_max_u64(p->match, msg->commit) + 1;
    }
    p->next = tm_max_u64(p->next, p->match + 1);
    land_flights(p);
}

void tm_replica_on_append_reply(struct tm_replica *r, const struct tm_replica_msg *msg)
{
    struct tm_peer *p = tm_replica_peer(r, msg->from.node);
    if (r->role != TM_ROLE_LEADER || msg->term != r->hs.term || p == NULL ||
        tm_replica_witnesses(p->role))
        return;
    bool reject = (msg->flags & TM_MSG_REJECT) != 0;
    if (!reject && (msg->index > r->last.index || msg->commit > r->last.index))
        return; /* nobody has what the leader has not */
    bool had_no_room = p->no_room;
    p->no_room = (msg->flags & TM_MSG_NO_ROOM) != 0;
    if (reject && (msg->flags & TM_MSG_SUSPECT) != 0 && msg->index < p->match)
        p->match = p->received = 0; /* it lost what it had, and says so */
    if (reject) {
        go_back(r, p, msg);
        return;
    }
    take_ack(r, p, msg);
    if (had_no_room && !p->no_room && p->state == TM_PEER_REPLICATE)
        tm_replica_probe(p, tm_max_u64(p->received, p->match) + 1, false); /* it dropped the rest */
    tm_replica_commit_count(r);
    tm_replica_insync_drive(r, tm_replica_now(r));
    tm_replica_transfer_drive(r, tm_replica_now(r));
    if (r->role == TM_ROLE_LEADER)
        tm_replica_pump(r, p);
}

/* --- follower --- */

/* Refuses: the logs may still agree up to `hint`. */
static void reject(struct tm_replica *r, unsigned node, uint64_t hint)
{
    if (!tm_replica_term_settled(r)) {
        r->ack_owed = true;
        return;
    }
    struct tm_replica_msg msg = tm_replica_msg_make(r, TM_MSG_APPEND_REPLY);
    uint64_t hash = 0;
    msg.flags = TM_MSG_REJECT;
    msg.index = hint;
    if (hint == r->last.index)
        msg.index_term = r->last.term;
    else if (hint > 0 && r->io->meta(r->host, hint, &msg.index_term, &hash) != TM_OK)
        msg.index_term = UINT64_MAX;
    if (r->hs.health != TM_HEALTH_WHOLE)
        msg.flags |= TM_MSG_SUSPECT;
    if (r->no_room)
        msg.flags |= TM_MSG_NO_ROOM;
    tm_replica_post(r, node, &msg);
}

void tm_replica_tell_lost(struct tm_replica *r)
{
    if (r->role == TM_ROLE_FOLLOWER && r->leader != TM_NODE_UNKNOWN && r->leader != r->self.node)
        reject(r, r->leader, r->last.index);
}

void tm_replica_send_ack(struct tm_replica *r)
{
    r->ack_owed = false;
    if (r->leader == TM_NODE_UNKNOWN || r->role != TM_ROLE_FOLLOWER)
        return;
    if (!tm_replica_term_settled(r)) {
        r->ack_owed = true;
        return;
    }
    if (r->verified == 0 && r->last.index > 0) {
        reject(r, r->leader, r->last.index); /* nothing is known to fit yet */
        return;
    }
    struct tm_replica_msg msg = tm_replica_msg_make(r, TM_MSG_APPEND_REPLY);
    msg.index = tm_min_u64(r->verified, r->durable);
    msg.commit = r->verified;
    msg.hash = r->commit;
    TM_ASSERT(msg.index <= r->durable); /* invariant 2 */
    if (r->hs.health != TM_HEALTH_WHOLE)
        msg.flags |= TM_MSG_SUSPECT;
    if (r->no_room)
        msg.flags |= TM_MSG_NO_ROOM;
    tm_replica_post(r, r->leader, &msg);
}

void tm_replica_room(struct tm_replica *r, bool room)
{
    bool changed = r->no_room == room;
    r->no_room = !room;
    if (changed)
        tm_replica_send_ack(r);
}

/* Equal term, another hash; or another term where this replica has committed.  One of the two is
 * damaged: no vote, no acknowledgement beyond, until it is known which. */
static void mismatch(struct tm_replica *r, uint64_t index, uint64_t term)
{
    tm_replica_note(r, TM_NOTE_MISMATCH, index, term);
    tm_replica_set_health(r, TM_HEALTH_FAULTY);
    r->verified = tm_min_u64(r->verified, index - 1);
}

enum fit { FITS, CONFLICT, DAMAGE };

/* How the own record `index` compares with (term, hash). */
static enum fit compare(struct tm_replica *r, uint64_t index, uint64_t term, uint64_t hash)
{
    uint64_t own_term = 0, own_hash = 0;
    if (index == 0 || index < r->io->first(r->host) - 1)
        return FITS; /* committed and compacted */
    if (index == r->last.index) {
        own_term = r->last.term;
        own_hash = r->last.hash;
    } else if (r->io->meta(r->host, index, &own_term, &own_hash) != TM_OK) {
        return index <= r->commit ? FITS : DAMAGE;
    }
    if (own_term == term && own_hash == hash)
        return FITS;
    return own_term == term || index <= r->commit ? DAMAGE : CONFLICT;
}

/* False: not yet. */
static bool cut(struct tm_replica *r, uint64_t from)
{
    TM_ASSERT(from > r->commit && from <= r->last.index && r->role == TM_ROLE_FOLLOWER);
    if (r->opt->eventual && !r->io->lost(r->host, from, r->last.index))
        return false;
    struct tm_tail tail = {.index = from - 1};
    if (tail.index > 0) {
        enum tm_err err = r->io->meta(r->host, tail.index, &tail.term, &tail.hash);
        TM_ASSERT(err == TM_OK);
    }
    if (!r->io->cut(r->host, from))
        return false;
    tm_replica_members_cut(r, from);
    r->last = tail;
    r->durable = tm_min_u64(r->durable, tail.index);
    TM_ASSERT(r->verified <= tail.index);
    return true;
}

/* Behind damage the log may have had members that the leader does not know of. */
static void drop_members(struct tm_replica *r, const struct tm_record *record)
{
    bool replaced = record->kind == TM_RECORD_CONFIG ? r->members.index >= record->index
                                                     : r->members.index == record->index;
    if (replaced && r->previous.index < record->index)
        tm_replica_members_cut(r, record->index);
}

static bool take_record(struct tm_replica *r, const struct tm_record *record)
{
    struct tm_members members;
    if (record->kind == TM_RECORD_CONFIG && !tm_replica_members_of(record, &members))
        return false;
    if (r->io->append(r->host, record) != TM_OK)
        return false;
    r->last = (struct tm_tail){record->index, record->term, record->checksum};
    drop_members(r, record);
    if (record->kind == TM_RECORD_CONFIG)
        tm_replica_members_set(r, &members);
    return true;
}

static bool acceptable(const struct tm_replica *r, const struct tm_record *record,
                       const struct tm_tail *prev, uint64_t leader_term)
{
    return record->partition == r->partition && record->index == prev->index + 1 &&
           record->prev_hash == prev->hash && record->term >= prev->term &&
           record->term <= leader_term && record->kind < TM_RECORD_LOCAL_FIRST;
}

/* Takes the records of msg, which follow a record that fits; returns the last index that is now
 * known to be the leader's. */
static uint64_t take_records(struct tm_replica *r, const struct tm_replica_msg *msg)
{
    struct tm_tail prev = {msg->index, msg->index_term, msg->hash};
    size_t at = 0;
    for (uint32_t i = 0; i < msg->count; i++) {
        const void *p = msg->body.data + at;
        if (tm_record_check(p, msg->body.len - at) != TM_OK)
            break;
        const struct tm_record *record = p;
        if (!acceptable(r, record, &prev, msg->term))
            break;
        if (record->index <= r->last.index) {
            enum fit fit = compare(r, record->index, record->term, record->checksum);
            if (fit == DAMAGE) {
                mismatch(r, record->index, record->term);
                break;
            }
            if (fit == CONFLICT && !cut(r, record->index))
                break;
        }
        if (record->index > r->last.index && !take_record(r, record))
            break;
        prev = (struct tm_tail){record->index, record->term, record->checksum};
        at += record->length;
    }
    return prev.index;
}

void tm_replica_on_append(struct tm_replica *r, const struct tm_replica_msg *msg)
{
    if (msg->term < r->hs.term) {
        reject(r, msg->from.node, r->last.index);
        return;
    }
    TM_ASSERT(r->role == TM_ROLE_FOLLOWER && r->leader == msg->from.node);
    r->heard_at = tm_replica_now(r);
    r->lost = false;
    if (r->own >= 0 && tm_replica_witnesses(r->members.at[r->own].role))
        return;
    if (msg->index > r->last.index) {
        reject(r, msg->from.node, r->last.index);
        return;
    }
    enum fit fit = compare(r, msg->index, msg->index_term, msg->hash);
    if (fit == DAMAGE)
        mismatch(r, msg->index, msg->index_term);
    if (fit != FITS) {
        uint64_t hint = last_of_term(r, tm_max_u64(r->commit, r->io->first(r->host) - 1),
                                     msg->index - 1, msg->index_term);
        reject(r, msg->from.node, fit == DAMAGE ? msg->index - 1 : hint);
        return;
    }
    r->verified = tm_max_u64(r->verified, take_records(r, msg));
    TM_ASSERT(r->verified <= r->last.index || r->verified < r->io->first(r->host));
    if ((msg->flags & TM_MSG_FIRM) != 0)
        r->firm = tm_max_u64(r->firm, msg->commit);
    tm_replica_commit_to(r, tm_min_u64(msg->commit, r->verified));
    tm_replica_heal(r);
    if (msg->count == 0 || r->durable >= r->verified)
        tm_replica_send_ack(r); /* else once they are durable */
}
