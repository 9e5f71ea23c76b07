/* replica_members.c: who takes part, and how a wiped node comes back.
 *
 * The members in force are those of the last CONFIG record in the log, committed or not; a cut may
 * take back one such record, never two, for a leader makes the next only when the last is committed
 * and so is a record of its term.  A step changes one voting member, so that quorums before and
 * after meet.
 *
 * A voter whose node speaks with another disk was wiped.  Its answers count nowhere; it is fed as
 * a learner all the same, and when it has what is committed the leader takes the old disk out of
 * the voters (RETURNING) and then lets the new one in: two records.  With a witness the in-sync set
 * of one decides alone, so one record is enough; a witness gets the in-sync set before it counts.
 */
#include "actors/replica_internal.h"

int tm_replica_place(const struct tm_replica *r, unsigned node)
{
    for (unsigned i = 0; i < r->members.count; i++)
        if (r->members.at[i].id.node == node)
            return (int)i;
    return -1;
}

struct tm_peer *tm_replica_peer(struct tm_replica *r, unsigned node)
{
    int place = tm_replica_place(r, node);
    return place < 0 || node == r->self.node ? NULL : &r->peer[place];
}

static struct tm_peer *peer_of_role(struct tm_replica *r, enum tm_member_role role)
{
    for (unsigned i = 0; i < r->members.count; i++)
        if (r->members.at[i].role == role && !tm_replica_is_self(r, i))
            return &r->peer[i];
    return NULL;
}

struct tm_peer *tm_replica_witness(struct tm_replica *r)
{
    struct tm_peer *p = peer_of_role(r, TM_MEMBER_WITNESS);
    return p != NULL ? p : peer_of_role(r, TM_MEMBER_WITNESS_RETURNING);
}

struct tm_peer *tm_replica_other(struct tm_replica *r)
{
    return peer_of_role(r, TM_MEMBER_VOTER);
}

bool tm_replica_has_witness(const struct tm_replica *r)
{
    for (unsigned i = 0; i < r->members.count; i++)
        if (r->members.at[i].role == TM_MEMBER_WITNESS)
            return true;
    return false;
}

unsigned tm_replica_voting(const struct tm_replica *r)
{
    unsigned count = 0;
    for (unsigned i = 0; i < r->members.count; i++)
        count += tm_replica_votes(r->members.at[i].role);
    return count;
}

static void peer_restart(struct tm_replica *r, struct tm_peer *p)
{
    uint64_t now = tm_replica_now(r);
    p->match = 0;
    p->received = 0;
    p->commit_sent = 0;
    p->commit = 0;
    p->heard_at = now;
    p->progress_at = now;
    p->synced_at = 0;
    p->confirmed = 0;
    p->no_room = false;
    p->down = (r->down >> p->id.node & 1) != 0;
    tm_replica_probe(p, r->last.index + 1, false);
}

void tm_replica_peers_reset(struct tm_replica *r)
{
    for (unsigned i = 0; i < r->members.count; i++)
        peer_restart(r, &r->peer[i]);
}

void tm_replica_members_set(struct tm_replica *r, const struct tm_members *m)
{
    struct tm_peer old[TM_MEMBERS_MAX];
    struct tm_members before = r->members;
    memcpy(old, r->peer, sizeof old);
    r->previous = before;
    r->members = *m;
    r->own = -1;
    r->peers = m->count;
    for (unsigned i = 0; i < m->count; i++) {
        struct tm_peer *p = &r->peer[i];
        int was = -1;
        for (unsigned k = 0; k < before.count; k++)
            if (before.at[k].id.node == m->at[i].id.node)
                was = (int)k;
        *p = was >= 0 ? old[was] : (struct tm_peer){.state = TM_PEER_PROBE};
        p->id = m->at[i].id;
        p->role = m->at[i].role;
        if (was < 0)
            peer_restart(r, p);
        if (tm_id_equal(p->id, r->self))
            r->own = (int)i;
    }
    if (!r->started)
        return;
    tm_beat_update(r->beat, r);
    tm_replica_arm_election(r);
}

bool tm_replica_members_of(const struct tm_record *record, struct tm_members *m)
{
    if (tm_members_decode(tm_record_body(record), m) != TM_OK)
        return false;
    m->index = record->index;
    return true;
}

void tm_replica_members_cut(struct tm_replica *r, uint64_t from)
{
    if (r->members.index < from || r->members.count == 0)
        return;
    struct tm_members back = r->previous;
    TM_ASSERT(back.index < from);
    tm_replica_members_set(r, &back);
    r->previous = (struct tm_members){.count = 0};
}

void tm_replica_config_back(struct tm_replica *r, const struct tm_record *record)
{
    struct tm_members members;
    TM_ASSERT(record->kind == TM_RECORD_CONFIG);
    if (record->index > r->members.index && tm_replica_members_of(record, &members))
        tm_replica_members_set(r, &members);
}

bool tm_replica_peer_heard(struct tm_replica *r, struct tm_peer *p, uint64_t disk)
{
    bool other = p->disk != 0 && p->disk != disk;
    p->disk = disk;
    p->down = false;
    if (other)
        peer_restart(r, p);
    if (p->role == TM_MEMBER_LEARNER || p->disk == p->id.disk)
        p->heard_at = tm_replica_now(r);
    return other;
}

/* --- changes, at the leader --- */

static bool may_change(const struct tm_replica *r)
{
    return r->members.index <= r->commit && r->commit >= r->term_start;
}

static enum tm_err append_members(struct tm_replica *r, const struct tm_members *to)
{
    uint8_t body[TM_MEMBERS_SIZE_MAX];
    TM_ASSERT(tm_members_valid(to) && may_change(r));
    tm_members_encode(to, body);
    enum tm_err err = tm_replica_append_control(r, TM_RECORD_CONFIG,
                                                tm_bytes_of(body, TM_MEMBERS_SIZE(to->count)));
    if (err != TM_OK)
        return err;
    struct tm_members now = *to;
    now.index = r->last.index;
    tm_replica_members_set(r, &now);
    tm_replica_ship(r);
    return TM_OK;
}

static bool voting_in(const struct tm_members *m, const struct tm_member *one)
{
    for (unsigned i = 0; i < m->count; i++)
        if (tm_id_equal(m->at[i].id, one->id) && m->at[i].role == one->role)
            return true;
    return false;
}

static unsigned voting_missing(const struct tm_members *from, const struct tm_members *to)
{
    unsigned missing = 0;
    for (unsigned i = 0; i < from->count; i++)
        missing += tm_replica_votes(from->at[i].role) && !voting_in(to, &from->at[i]);
    return missing;
}

static const struct tm_member *witness_of(const struct tm_members *m)
{
    for (unsigned i = 0; i < m->count; i++)
        if (m->at[i].role == TM_MEMBER_WITNESS)
            return &m->at[i];
    return NULL;
}

enum tm_err tm_replica_change(struct tm_replica *r, const struct tm_members *to)
{
    if (r->role != TM_ROLE_LEADER)
        return TM_ERR_NOTLEADER;
    if (!tm_members_valid(to))
        return TM_ERR_INVALID;
    unsigned changes = voting_missing(&r->members, to) + voting_missing(to, &r->members);
    struct tm_member self = {.id = r->self, .role = TM_MEMBER_VOTER};
    const struct tm_member *w = witness_of(&r->members), *w2 = witness_of(to);
    bool same_witness = (w == NULL) == (w2 == NULL) && (w == NULL || tm_id_equal(w->id, w2->id));
    if (changes > 1 || !voting_in(to, &self) || !same_witness || (w != NULL && changes > 0))
        return TM_ERR_INVALID;
    return may_change(r) ? append_members(r, to) : TM_ERR_AGAIN;
}

/* --- wiped nodes --- */

static bool caught_up(const struct tm_replica *r, const struct tm_peer *p)
{
    return p->state == TM_PEER_REPLICATE && !p->down && p->match >= r->commit;
}

/* Writes the members with another role and disk at `place`. */
static void replace(struct tm_replica *r, unsigned place, enum tm_member_role role, uint64_t disk)
{
    struct tm_members to = r->members;
    to.at[place].role = role;
    to.at[place].id.disk = disk;
    if (append_members(r, &to) == TM_OK && tm_replica_votes(role))
        tm_replica_note(r, TM_NOTE_READMITTED, to.at[place].id.node, disk);
}

static bool foreign(const struct tm_peer *p)
{
    return p->disk != 0 && p->disk != p->id.disk;
}

/* One replica alone decides: the other two may change their disks in place. */
static bool readmit_alone(struct tm_replica *r, unsigned i)
{
    struct tm_peer *p = &r->peer[i];
    if (!foreign(p) || r->step != TM_STEP_NONE)
        return false;
    if (p->role == TM_MEMBER_VOTER ? !caught_up(r, p) : r->seeded_disk != p->disk)
        return false;
    replace(r, i, p->role, p->disk);
    return true;
}

/* Two steps: the old disk stops to count, then the new one begins to. */
static bool readmit_stepwise(struct tm_replica *r, unsigned i)
{
    struct tm_peer *p = &r->peer[i];
    enum tm_member_role role = p->role;
    bool data = role == TM_MEMBER_VOTER || role == TM_MEMBER_RETURNING;
    if (role == TM_MEMBER_LEARNER || (data ? !caught_up(r, p) : r->seeded_disk != p->disk))
        return false;
    if (data && role == TM_MEMBER_VOTER && tm_replica_has_witness(r))
        return false; /* only alone: the in-sync set is to name the new disk */
    if (role == TM_MEMBER_WITNESS && r->hs.insync.count < 2)
        return false; /* its promise of a lone copy is not to be forgotten */
    if (tm_replica_votes(role) && !foreign(p))
        return false;
    enum tm_member_role out = data ? TM_MEMBER_RETURNING : TM_MEMBER_WITNESS_RETURNING;
    enum tm_member_role in = data ? TM_MEMBER_VOTER : TM_MEMBER_WITNESS;
    replace(r, i, tm_replica_votes(role) || foreign(p) ? out : in, p->disk);
    if (role == TM_MEMBER_WITNESS_RETURNING)
        tm_replica_insync_share(r);
    return true;
}

void tm_replica_readmit(struct tm_replica *r)
{
    if (r->role != TM_ROLE_LEADER || !may_change(r) || r->transfer_to != TM_NODE_UNKNOWN)
        return;
    if (r->forced_members) {
        r->forced_members = append_members(r, &r->members) != TM_OK;
        return;
    }
    for (unsigned i = 0; i < r->members.count; i++) {
        if (tm_replica_is_self(r, i) || r->peer[i].disk == 0)
            continue;
        if (tm_replica_alone(r) ? readmit_alone(r, i) : readmit_stepwise(r, i))
            return;
    }
}

bool tm_replica_members_forced(const struct tm_replica *r, struct tm_members *to)
{
    if (r->own < 0 || r->members.at[r->own].role != TM_MEMBER_VOTER)
        return false;
    *to = (struct tm_members){.index = r->members.index, .count = 1};
    to->at[0] = r->members.at[r->own];
    for (unsigned i = 0; i < r->members.count; i++) {
        if ((int)i == r->own)
            continue;
        struct tm_member *one = &to->at[to->count++];
        *one = r->members.at[i];
        if (one->role == TM_MEMBER_VOTER)
            one->role = TM_MEMBER_RETURNING;
        else if (one->role == TM_MEMBER_WITNESS)
            one->role = TM_MEMBER_WITNESS_RETURNING;
    }
    return true;
}

enum tm_err tm_replica_recover(struct tm_replica *r)
{
    struct tm_members to;
    if (!tm_replica_members_forced(r, &to))
        return TM_ERR_INVALID;
    if (r->role == TM_ROLE_LEADER)
        return TM_ERR_EXISTS;
    tm_replica_members_set(r, &to);
    tm_replica_set_health(r, TM_HEALTH_WHOLE);
    r->lost = false;
    r->hs.term = tm_max_u64(r->hs.term, r->last.term) + TM_REPLICA_TERM_FAR;
    r->hs.insync.count = 0;
    tm_replica_persist(r);
    r->forced_members = true;
    if (r->role == TM_ROLE_FOLLOWER)
        tm_replica_become(r, TM_ROLE_PRECANDIDATE);
    if (r->role == TM_ROLE_PRECANDIDATE)
        tm_replica_campaign(r, true);
    return TM_OK;
}
