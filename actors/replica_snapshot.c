/* replica_snapshot.c: when the log does not go back far enough.
 *
 * The leader finds that a peer needs records it has no more, and asks the host to send a snapshot
 * (io.snapshot_needed); until that is done nothing else goes there.  The follower's host asks
 * whether it is of use, loads it durably, resets its log, and says so.  A snapshot holds committed
 * records only: what it ends with fits every later leader's log. */
#include "actors/replica_internal.h"

static bool is_useful(struct tm_replica *r, const struct tm_tail *tail)
{
    if (r->role == TM_ROLE_LEADER)
        return false;
    if (tail->index > r->last.index)
        return true;
    /* A copy that was repaired may have compacted further than it has heard to be committed. */
    if (tail->index <= r->commit || tail->index < r->io->first(r->host))
        return false;
    uint64_t own_term = r->last.term, hash = r->last.hash;
    if (tail->index < r->last.index && r->io->meta(r->host, tail->index, &own_term, &hash) != TM_OK)
        return true;
    return hash != tail->hash; /* what follows an equal record may have been acknowledged */
}

/* Whether more than the snapshot holds is in a log with holes, and cannot be kept behind it, for
 * what the log has at its end is another record, or missing.  It may have been acknowledged: that
 * it is missing has to be written down before. */
static bool gives_up(struct tm_replica *r, const struct tm_tail *tail)
{
    struct tm_tail end = {.index = 0};
    if (r->hs.health != TM_HEALTH_HOLED)
        return false;
    (void)r->io->end(r->host, &end);
    return end.index > tail->index && !r->io->keeps(r->host, tail);
}

bool tm_replica_snapshot_wanted(struct tm_replica *r, unsigned from, uint64_t term,
                                const struct tm_tail *tail)
{
    TM_ASSERT(from < 64);
    if (from == r->self.node)
        return false;
    if (term < r->hs.term)
        return false;
    if (term == r->hs.term &&
        (r->role == TM_ROLE_LEADER || (r->leader != TM_NODE_UNKNOWN && r->leader != from)))
        return false; /* nobody sends that who leads */
    tm_replica_follow(r, term, from);
    r->heard_at = tm_replica_now(r);
    if (!is_useful(r, tail))
        return false;
    if (gives_up(r, tail))
        tm_replica_set_health(r, TM_HEALTH_FAULTY);
    return true;
}

bool tm_replica_snapshot_useful(struct tm_replica *r, const struct tm_tail *tail)
{
    if (gives_up(r, tail) || (r->hs.health == TM_HEALTH_FAULTY && !tm_replica_settled(r)))
        return false;
    return is_useful(r, tail);
}

bool tm_replica_snapshot_mends(struct tm_replica *r, const struct tm_tail *tail)
{
    return r->hs.health == TM_HEALTH_HOLED && !tm_replica_leader_alive(r) &&
           tm_replica_snapshot_useful(r, tail);
}

void tm_replica_snapshot_installed(struct tm_replica *r, const struct tm_tail *tail,
                                   const struct tm_members *members, bool goes_on)
{
    TM_ASSERT(r->role != TM_ROLE_LEADER && tail->index >= r->commit);
    TM_ASSERT(tm_members_valid(members) && members->index <= tail->index);
    if (r->role != TM_ROLE_FOLLOWER)
        tm_replica_follow(r, r->hs.term, TM_NODE_UNKNOWN);
    r->last = *tail;
    r->durable = tail->index;
    r->commit = tail->index;
    r->verified = tail->index;
    if (!goes_on || r->members.index <= tail->index) {
        tm_replica_members_set(r, members);
        r->previous = (struct tm_members){.count = 0};
    }
    if (r->hs.health == TM_HEALTH_HOLED && !goes_on) /* it held all that was missing */
        tm_replica_repaired(r, tail, tail->index);
    tm_replica_heal(r);
    tm_replica_send_ack(r);
}

void tm_replica_snapshot_sent(struct tm_replica *r, unsigned node, uint64_t index, bool ok)
{
    struct tm_peer *p = tm_replica_peer(r, node);
    if (r->role != TM_ROLE_LEADER || p == NULL || p->state != TM_PEER_SNAPSHOT)
        return;
    uint64_t next = ok ? tm_min_u64(index, r->last.index) + 1 : tm_replica_ask_from(r, p);
    tm_replica_probe(p, tm_max_u64(next, p->match + 1), false);
    if (ok)
        tm_replica_pump(r, p);
    else
        p->sent_at = tm_replica_now(r); /* again after a while */
}
