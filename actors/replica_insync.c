/* replica_insync.c: two copies and a witness (docs/PROTOCOL.md, section of that name).
 *
 * The in-sync set S says which data replicas have all that is committed.  With both in it a commit
 * needs both disks and the witness is off the path.  When one is lost the leader narrows: S =
 * {self} durable here, then at the witness, then the first lone commit; that the witness has it is
 * recorded here too (`confirmed`), and from then on this replica is a quorum by itself.  When the
 * other is back and caught up the leader widens: no lone commits, all committed records durable
 * there, then S = {both} durable here, there, at the witness.
 *
 * Each change has a higher (term, epoch).  A new leader makes S anew under its own term, so that
 * nothing an earlier one began and did not finish can be higher.  Whoever is shown a higher S keeps
 * it, and gives no vote to a candidate outside it. */
#include "actors/replica_internal.h"

bool tm_replica_insync_has(const struct tm_insync *s, struct tm_id id)
{
    for (unsigned i = 0; i < s->count; i++)
        if (tm_id_equal(s->at[i], id))
            return true;
    return false;
}

static int order(const struct tm_insync *a, const struct tm_insync *b)
{
    if (a->term != b->term)
        return a->term < b->term ? -1 : 1;
    return a->epoch == b->epoch ? 0 : a->epoch < b->epoch ? -1 : 1;
}

bool tm_replica_insync_adopt(struct tm_replica *r, const struct tm_insync *s)
{
    if (s->count == 0 || (r->hs.insync.count > 0 && order(s, &r->hs.insync) <= 0))
        return false;
    if (r->role == TM_ROLE_LEADER)
        return false;         /* its own is of its own term, or nobody can have a higher one */
    if (s->term > r->hs.term) /* some leader had that term: no vote below it any more */
        tm_replica_follow(r, s->term, TM_NODE_UNKNOWN);
    r->hs.insync = *s;
    r->hs.insync.confirmed = false;
    tm_replica_persist(r);
    tm_replica_arm_election(r);
    return true;
}

bool tm_replica_alone(const struct tm_replica *r)
{
    return tm_replica_has_witness(r) && r->hs.insync.count == 1 && r->hs.insync.confirmed &&
           tm_id_equal(r->hs.insync.at[0], r->self);
}

bool tm_replica_lone_commits(const struct tm_replica *r)
{
    return tm_replica_alone(r) && r->step == TM_STEP_NONE;
}

bool tm_replica_lost(const struct tm_replica *r, const struct tm_peer *p, uint64_t now)
{
    if (p->down || !tm_replica_genuine(p))
        return p->down || now - r->lead_since > r->opt->disk_stall_ns;
    uint64_t stall = r->opt->disk_stall_ns;
    uint64_t heard = tm_max_u64(p->heard_at, tm_beat_confirmed_at(r->beat, r, p->id.node, p->disk));
    if (now > heard && now - heard > stall + tm_beat_patience(r->beat))
        return true;
    return p->match < r->last.index && now > p->progress_at && now - p->progress_at > stall;
}

static void send_set(struct tm_replica *r, struct tm_peer *to)
{
    if (to == NULL || !tm_replica_settled(r))
        return;
    struct tm_replica_msg msg = tm_replica_msg_make(r, TM_MSG_INSYNC);
    msg.flags = TM_MSG_WITH_SET;
    msg.insync = r->hs.insync;
    tm_replica_post(r, to->id.node, &msg);
    r->step_at = tm_replica_now(r);
}

/* The one way from step to step. */
static void set_step(struct tm_replica *r, enum tm_insync_step step)
{
    static const uint8_t next[] = {
        [TM_STEP_NONE] =
            1 << TM_STEP_NARROW_SELF | 1 << TM_STEP_WIDEN_WAIT | 1 << TM_STEP_WIDEN_SELF,
        [TM_STEP_NARROW_SELF] = 1 << TM_STEP_NARROW_WITNESS,
        [TM_STEP_NARROW_WITNESS] = 1 << TM_STEP_NONE | 1 << TM_STEP_WIDEN_WAIT,
        [TM_STEP_WIDEN_WAIT] =
            1 << TM_STEP_NONE | 1 << TM_STEP_NARROW_WITNESS | 1 << TM_STEP_WIDEN_SELF,
        [TM_STEP_WIDEN_SELF] = 1 << TM_STEP_WIDEN_OTHER | 1 << TM_STEP_NARROW_SELF,
        [TM_STEP_WIDEN_OTHER] = 1 << TM_STEP_WIDEN_WITNESS | 1 << TM_STEP_NARROW_SELF,
        [TM_STEP_WIDEN_WITNESS] = 1 << TM_STEP_NONE | 1 << TM_STEP_NARROW_SELF,
    };
    TM_ASSERT((next[r->step] >> step & 1) != 0);
    r->step = step;
    r->step_at = 0;
    tm_replica_set_deadline(r, tm_min_u64(r->deadline, tm_replica_now(r) + r->opt->retry_ns / 2));
}

/* Makes a new S, of this leader's term and with the next epoch. */
static void make_set(struct tm_replica *r, const struct tm_peer *other)
{
    struct tm_insync *s = &r->hs.insync;
    TM_ASSERT(s->term <= r->hs.term);
    uint64_t epoch = s->term == r->hs.term ? s->epoch + 1 : 1;
    *s = (struct tm_insync){.term = r->hs.term, .epoch = epoch, .count = 1, .at = {r->self}};
    if (other != NULL)
        s->at[s->count++] = other->id;
    r->seeded_disk = 0;
    tm_replica_persist(r);
    r->step_seq = r->hs_wanted;
}

static void narrow(struct tm_replica *r)
{
    make_set(r, NULL);
    set_step(r, TM_STEP_NARROW_SELF);
}

/* The node has another disk: the copy that the members name is gone for good.  Then --solo stop,
 * too, has to go on alone so far that the new disk can be made a member; writes stay refused. */
static bool replaced(const struct tm_peer *p)
{
    return p->disk != 0 && p->disk != p->id.disk;
}

static void widen(struct tm_replica *r, const struct tm_peer *other)
{
    make_set(r, other);
    set_step(r, TM_STEP_WIDEN_SELF);
}

void tm_replica_insync_lead(struct tm_replica *r)
{
    r->step = TM_STEP_NONE;
    r->seeded_disk = 0;
    struct tm_peer *other = tm_replica_other(r);
    if (!tm_replica_has_witness(r) || tm_replica_alone(r) || other == NULL)
        return;
    bool both = r->hs.insync.count == 2 && tm_replica_insync_has(&r->hs.insync, other->id);
    if (both && (!other->down || r->opt->solo_stop))
        widen(r, other); /* both as before, under this term */
    else
        narrow(r);
}

void tm_replica_insync_share(struct tm_replica *r)
{
    struct tm_peer *other = tm_replica_other(r);
    if (tm_replica_has_witness(r) && other != NULL && r->step == TM_STEP_NONE &&
        r->hs.insync.count == 2)
        widen(r, other);
}

static void confirmed_by_witness(struct tm_replica *r)
{
    TM_ASSERT(r->hs.insync.count == 1);
    r->hs.insync.confirmed = true;
    tm_replica_persist(r);
    set_step(r, TM_STEP_NONE);
    tm_replica_note(r, TM_NOTE_NARROWED, r->self.node, r->hs.insync.epoch);
    tm_replica_commit_count(r);
    tm_replica_confirmed(r);
}

static bool ready_to_widen(const struct tm_replica *r, const struct tm_peer *other, uint64_t now)
{
    return tm_replica_genuine(other) && other->state == TM_PEER_REPLICATE &&
           other->match + TM_REPLICA_NEAR >= r->last.index && !tm_replica_lost(r, other, now) &&
           r->commit >= r->term_start && r->members.index <= r->commit;
}

/* All that is committed is durable there.  Before a record of this term is committed the leader may
 * not know of the last that an earlier one committed alone. */
static bool has_committed(const struct tm_replica *r, const struct tm_peer *other)
{
    return r->commit >= r->term_start && other->match >= r->commit;
}

static void drive_single(struct tm_replica *r, struct tm_peer *other, uint64_t now)
{
    bool ready = ready_to_widen(r, other, now) ||
                 (r->step == TM_STEP_NARROW_WITNESS && tm_replica_genuine(other) &&
                  !tm_replica_lost(r, other, now) && other->state == TM_PEER_REPLICATE);
    if (r->step == TM_STEP_WIDEN_WAIT) {
        if (tm_replica_lost(r, other, now)) {
            set_step(r, r->hs.insync.confirmed ? TM_STEP_NONE : TM_STEP_NARROW_WITNESS);
            tm_replica_commit_count(r);
        } else if (has_committed(r, other)) {
            widen(r, other);
        }
    } else if (ready && r->transfer_to == TM_NODE_UNKNOWN) {
        set_step(r, TM_STEP_WIDEN_WAIT);
        drive_single(r, other, now);
    }
}

/* Sends the set again to whom the step waits for. */
static void remind(struct tm_replica *r, struct tm_peer *other, uint64_t now)
{
    struct tm_peer *to = NULL;
    if (r->step == TM_STEP_NARROW_WITNESS || r->step == TM_STEP_WIDEN_WITNESS)
        to = tm_replica_witness(r);
    else if (r->step == TM_STEP_WIDEN_OTHER)
        to = other;
    uint64_t pace = to != NULL && to->down ? 10 * r->opt->retry_ns : r->opt->retry_ns;
    if (r->step_at == 0 || now - r->step_at >= pace)
        send_set(r, to);
}

/* After a forced recovery two voters decide without a witness until it comes back: it is to know
 * that both are in sync, under this term. */
static void make_set_for_return(struct tm_replica *r, const struct tm_peer *w)
{
    const struct tm_peer *other = tm_replica_other(r);
    if (w->role == TM_MEMBER_WITNESS_RETURNING && !tm_replica_has_witness(r) && other != NULL &&
        tm_replica_genuine(other) && r->hs.insync.term != r->hs.term)
        make_set(r, other);
}

/* A wiped witness is given the set before its vote is made to count. */
static void seed_witness(struct tm_replica *r, uint64_t now)
{
    struct tm_peer *w = tm_replica_witness(r);
    if (w != NULL)
        make_set_for_return(r, w);
    if (w == NULL || w->disk == 0 || r->seeded_disk == w->disk || r->hs.insync.count == 0)
        return;
    if (w->role == TM_MEMBER_WITNESS && w->disk == w->id.disk)
        return;
    if (r->step == TM_STEP_NONE && (r->step_at == 0 || now - r->step_at >= r->opt->retry_ns))
        send_set(r, w);
}

void tm_replica_insync_drive(struct tm_replica *r, uint64_t now)
{
    if (r->role != TM_ROLE_LEADER)
        return;
    seed_witness(r, now);
    struct tm_peer *other = tm_replica_other(r);
    if (!tm_replica_has_witness(r) || other == NULL)
        return;
    if (r->hs.insync.count == 1) {
        if (r->step != TM_STEP_NARROW_SELF)
            drive_single(r, other, now);
    } else if (tm_replica_lost(r, other, now) && (!r->opt->solo_stop || replaced(other))) {
        narrow(r);
    }
    remind(r, other, now);
}

void tm_replica_insync_persisted(struct tm_replica *r)
{
    if (r->hs_done < r->step_seq)
        return;
    if (r->step == TM_STEP_NARROW_SELF)
        set_step(r, TM_STEP_NARROW_WITNESS);
    else if (r->step == TM_STEP_WIDEN_SELF)
        set_step(r, TM_STEP_WIDEN_OTHER);
    else
        return;
    tm_replica_insync_drive(r, tm_replica_now(r));
}

void tm_replica_on_insync(struct tm_replica *r, const struct tm_replica_msg *msg)
{
    if (msg->term == r->hs.term) {
        r->heard_at = tm_replica_now(r);
        tm_replica_insync_adopt(r, &msg->insync);
    }
    r->insync_owed = true;
    tm_replica_send_owed(r);
}

void tm_replica_on_insync_reply(struct tm_replica *r, const struct tm_replica_msg *msg)
{
    struct tm_peer *p = tm_replica_peer(r, msg->from.node);
    if (r->role != TM_ROLE_LEADER || msg->term != r->hs.term || p == NULL ||
        msg->insync.count != r->hs.insync.count || order(&msg->insync, &r->hs.insync) != 0)
        return;
    if (tm_replica_witnesses(p->role))
        r->seeded_disk = msg->from.disk;
    if (!tm_replica_genuine(p))
        return;
    if (p == tm_replica_witness(r)) {
        if (r->step == TM_STEP_NARROW_WITNESS && p->role == TM_MEMBER_WITNESS)
            confirmed_by_witness(r);
        else if (r->step == TM_STEP_WIDEN_WITNESS)
            set_step(r, TM_STEP_NONE);
    } else if (r->step == TM_STEP_WIDEN_OTHER) {
        set_step(r, TM_STEP_WIDEN_WITNESS);
        if (r->hs.insync.epoch > 1) /* else both as before, under a new term */
            tm_replica_note(r, TM_NOTE_WIDENED, p->id.node, r->hs.insync.epoch);
    }
    tm_replica_insync_drive(r, tm_replica_now(r));
    tm_replica_readmit(r);
}
