/* replica_commit.c: what is durable where, what is committed by it, how much is neither.
 *
 * The leader counts itself by what its own disk has, never by what its memory has.  Committed is
 * the highest index that a quorum of data voters has durably, provided that it is of the present
 * term (the NOOP at the start of a term makes that so soon).  With a witness: what both data
 * replicas have; what the leader has alone, once the witness knows that it is alone.
 *
 * The window of what is appended and not committed is bounded in bytes and, in eventual mode, in
 * time: beyond it tm_replica_next answers FULL. */
#include "actors/replica_internal.h"

static uint64_t match_of(const struct tm_replica *r, unsigned i)
{
    if ((int)i == r->own)
        return r->durable;
    return tm_replica_genuine(&r->peer[i]) ? r->peer[i].match : 0;
}

static uint64_t quorum_index(struct tm_replica *r)
{
    uint64_t match[TM_MEMBERS_MAX];
    unsigned voters = 0;
    for (unsigned i = 0; i < r->members.count; i++)
        if (r->members.at[i].role == TM_MEMBER_VOTER)
            match[voters++] = match_of(r, i);
    if (!tm_replica_has_witness(r))
        return tm_replica_quorum_of(match, voters, voters / 2 + 1);
    if (tm_replica_lone_commits(r))
        return r->durable;
    return tm_replica_quorum_of(match, voters, voters);
}

void tm_replica_commit_count(struct tm_replica *r)
{
    if (r->role != TM_ROLE_LEADER)
        return;
    uint64_t index = tm_min_u64(quorum_index(r), r->last.index);
    if (index < r->term_start || index <= r->commit)
        return; /* invariant 3 */
    tm_replica_commit_to(r, index);
    tm_replica_readmit(r);
}

static void window_committed(struct tm_replica *r)
{
    if (r->commit >= r->last.index) {
        r->marks = 0;
        r->unmarked_at = 0;
        r->committed_bytes = r->appended_bytes;
        return;
    }
    while (r->marks > 0 && r->mark[r->mark_head].index <= r->commit) {
        r->committed_bytes = r->mark[r->mark_head].bytes;
        r->mark_head = (r->mark_head + 1) % TM_WIN_MARKS;
        r->marks--;
    }
}

void tm_replica_commit_to(struct tm_replica *r, uint64_t index)
{
    if (index <= r->commit)
        return;
    TM_ASSERT(index <= r->last.index);
    r->commit = index;
    window_committed(r);
    r->io->committed(r->host, index);
    if (r->role == TM_ROLE_LEADER)
        tm_replica_reads_committed(r);
}

void tm_replica_window_reset(struct tm_replica *r)
{
    r->marks = 0;
    r->mark_head = 0;
    r->unmarked_at = 0;
    r->appended_bytes = 0;
    r->committed_bytes = 0;
}

/* Notes where the log stands at the end of a turn.  When all marks are in use the newest grows. */
void tm_replica_window_mark(struct tm_replica *r)
{
    if (r->commit >= r->last.index)
        return;
    struct tm_win_mark mark = {r->last.index, r->appended_bytes, r->unmarked_at};
    r->unmarked_at = 0;
    if (r->marks == TM_WIN_MARKS) {
        unsigned newest = (r->mark_head + r->marks - 1) % TM_WIN_MARKS;
        mark.at = r->mark[newest].at;
        r->mark[newest] = mark;
        return;
    }
    r->mark[(r->mark_head + r->marks++) % TM_WIN_MARKS] = mark;
}

uint64_t tm_replica_window_since(const struct tm_replica *r, uint64_t now)
{
    if (r->marks > 0)
        return r->mark[r->mark_head].at;
    return r->unmarked_at != 0 ? r->unmarked_at : now;
}

uint64_t tm_replica_window_bytes(const struct tm_replica *r)
{
    return r->role == TM_ROLE_LEADER ? r->appended_bytes - r->committed_bytes : 0;
}

void tm_replica_durable(struct tm_replica *r, uint64_t index, uint64_t term)
{
    uint64_t at = r->last.term, hash = 0;
    if (index <= r->durable || index > r->last.index)
        return;
    if (index != r->last.index && r->io->meta(r->host, index, &at, &hash) != TM_OK)
        return;
    if (at != term)
        return; /* of a record that was cut */
    r->durable = index;
    if (r->role == TM_ROLE_LEADER) {
        r->own_progress_at = tm_replica_now(r);
        tm_replica_commit_count(r);
        tm_replica_insync_drive(r, tm_replica_now(r));
        return;
    }
    tm_replica_heal(r);
    if (r->verified > 0)
        tm_replica_send_ack(r);
}

/* A replica that could not prove what it had is whole again once it has durably all that a leader,
 * elected without relying on it, knows to be committed, a record of the leader's own term
 * included. */
void tm_replica_heal(struct tm_replica *r)
{
    if (r->hs.health == TM_HEALTH_WHOLE || r->role != TM_ROLE_FOLLOWER || r->firm == 0)
        return;
    if (tm_min_u64(r->verified, r->durable) < r->firm || !r->io->end_at(r->host, r->last.index))
        return;
    tm_replica_set_health(r, TM_HEALTH_WHOLE);
    tm_replica_arm_election(r);
}

unsigned tm_replica_copies(const struct tm_replica *r, uint64_t index)
{
    unsigned copies = 0;
    if (r->role != TM_ROLE_LEADER)
        return 0;
    for (unsigned i = 0; i < r->members.count; i++)
        copies += r->members.at[i].role == TM_MEMBER_VOTER && match_of(r, i) >= index;
    return copies;
}

unsigned tm_replica_in_sync(const struct tm_replica *r, uint64_t now)
{
    if (r->role != TM_ROLE_LEADER)
        return 0;
    if (tm_replica_has_witness(r))
        return r->hs.insync.count;
    unsigned count = 0;
    for (unsigned i = 0; i < r->members.count; i++) {
        if (r->members.at[i].role != TM_MEMBER_VOTER)
            continue;
        const struct tm_peer *p = &r->peer[i];
        count += (int)i == r->own || (tm_replica_genuine(p) && !tm_replica_lost(r, p, now) &&
                                      p->state == TM_PEER_REPLICATE);
    }
    return count;
}

uint64_t tm_replica_everywhere(const struct tm_replica *r)
{
    if (r->role != TM_ROLE_LEADER)
        return 0;
    uint64_t least = r->durable;
    for (unsigned i = 0; i < r->members.count; i++)
        if (!tm_replica_witnesses(r->members.at[i].role) && !tm_replica_is_self(r, i))
            least = tm_min_u64(least, match_of(r, i));
    return least;
}
