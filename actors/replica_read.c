/* replica_read.c: when the reply of a read may leave (invariant 10).
 *
 * A read was evaluated at arrival.  It leaves once a leadership round that began after its arrival
 * was answered by a quorum, the leader has committed a record of its term, and what the read saw is
 * committed.  All reads of a turn ask for the same round.  Reads that have their round wait, by
 * index, for the commit.  Nobody's clock is asked. */
#include "actors/replica_internal.h"

uint64_t tm_replica_quorum_of(const uint64_t *values, unsigned count, unsigned need)
{
    TM_ASSERT(count <= TM_MEMBERS_MAX && need >= 1);
    uint64_t best = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned reach = 0;
        for (unsigned k = 0; k < count; k++)
            reach += values[k] >= values[i];
        if (reach >= need)
            best = tm_max_u64(best, values[i]);
    }
    return best;
}

static bool quorum_of_one(const struct tm_replica *r)
{
    return tm_replica_alone(r) || tm_replica_voting(r) == 1;
}

static uint64_t depends_on(const struct tm_replica *r, const struct tm_replica_read *read)
{
    return tm_max_u64(read->index, r->term_start);
}

static void wait_for_commit(struct tm_replica *r, struct tm_replica_read *read)
{
    read->index = depends_on(r, read);
    struct tm_replica_read **at = &r->indexed;
    while (*at != NULL && (*at)->index <= read->index)
        at = &(*at)->next;
    read->next = *at;
    *at = read;
}

enum tm_err tm_replica_read(struct tm_replica *r, struct tm_replica_read *read)
{
    if (r->role != TM_ROLE_LEADER)
        return TM_ERR_NOTLEADER;
    TM_ASSERT(read->index <= r->last.index);
    read->next = NULL;
    if (quorum_of_one(r)) {
        if (depends_on(r, read) <= r->commit)
            return TM_OK;
        wait_for_commit(r, read);
        return TM_ERR_AGAIN;
    }
    read->round = tm_beat_round(r->beat);
    *r->rounds_end = read;
    r->rounds_end = &read->next;
    tm_beat_wait(r->beat, r);
    return TM_ERR_AGAIN;
}

static uint64_t confirmed_round(struct tm_replica *r)
{
    uint64_t rounds[TM_MEMBERS_MAX];
    unsigned voting = 0;
    if (quorum_of_one(r))
        return UINT64_MAX;
    for (unsigned i = 0; i < r->members.count; i++) {
        const struct tm_member *m = &r->members.at[i];
        if (!tm_replica_votes(m->role))
            continue;
        rounds[voting++] =
            (int)i == r->own ? UINT64_MAX : tm_beat_confirmed(r->beat, r, m->id.node, m->id.disk);
    }
    return tm_replica_quorum_of(rounds, voting, voting / 2 + 1);
}

void tm_replica_confirmed(struct tm_replica *r)
{
    if (r->role != TM_ROLE_LEADER)
        return;
    uint64_t round = confirmed_round(r);
    while (r->rounds != NULL && r->rounds->round <= round) {
        struct tm_replica_read *read = r->rounds;
        r->rounds = read->next;
        if (r->rounds == NULL)
            r->rounds_end = &r->rounds;
        if (depends_on(r, read) <= r->commit)
            r->io->read_done(r->host, read, true);
        else
            wait_for_commit(r, read);
    }
}

void tm_replica_reads_committed(struct tm_replica *r)
{
    while (r->indexed != NULL && r->indexed->index <= r->commit) {
        struct tm_replica_read *read = r->indexed;
        r->indexed = read->next;
        r->io->read_done(r->host, read, true);
    }
}

static void fail_list(struct tm_replica *r, struct tm_replica_read *list)
{
    while (list != NULL) {
        struct tm_replica_read *next = list->next;
        r->io->read_done(r->host, list, false);
        list = next;
    }
}

/* Takes the overdue ones out of a list; returns where the list ends then. */
static struct tm_replica_read **expire(struct tm_replica_read **at, uint64_t now,
                                       struct tm_replica_read **overdue)
{
    while (*at != NULL) {
        struct tm_replica_read *read = *at;
        if (read->until == 0 || read->until > now) {
            at = &read->next;
            continue;
        }
        *at = read->next;
        read->next = *overdue;
        *overdue = read;
    }
    return at;
}

void tm_replica_reads_expire(struct tm_replica *r)
{
    struct tm_replica_read *overdue = NULL;
    r->rounds_end = expire(&r->rounds, tm_replica_now(r), &overdue);
    expire(&r->indexed, tm_replica_now(r), &overdue);
    fail_list(r, overdue);
}

void tm_replica_reads_fail(struct tm_replica *r)
{
    struct tm_replica_read *rounds = r->rounds, *indexed = r->indexed;
    r->rounds = NULL;
    r->rounds_end = &r->rounds;
    r->indexed = NULL;
    fail_list(r, rounds);
    fail_list(r, indexed);
}
