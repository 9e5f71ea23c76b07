/* A round begins at the end of the turn in which it is seen first; those of a process are known by
 * its boot id.  Only the last RING rounds are remembered: nothing is said of older ones.
 *
 * What is confirmed is looked at when a turn is over.  In a long one a round may be confirmed,
 * reads answered, and then what it was confirmed by be gone: members changed, a peer came back with
 * another disk.  If anything of that kind differs from the last look, every round may have been
 * confirmed that had begun by then. */
#include "tests/sim/sim_rounds.h"

#include "actors/replica_internal.h"
#include "tests/sim/sim_cluster.h"
#include "tests/sim/sim_hash.h"

#include <stdio.h>
#include <stdlib.h>

#define RING   512u
#define ULL(x) ((unsigned long long)(x))

struct begun {
    uint64_t round, at_ns, clock_ns; /* true time, the node's */
};

struct worker {
    uint64_t boot, newest;
    struct begun ring[RING];
};

struct win {
    uint64_t term, seen_ns;
    unsigned node;
};

/* A leader, as it was looked at last. */
struct last {
    uint64_t basis; /* what rounds were confirmed by */
    uint64_t round; /* the newest one confirmed; UINT64_MAX: it needed none */
};

struct part {
    struct last last[TM_SIM_NODES_MAX];
    struct win *wins;
    unsigned count, cap;
    uint64_t newest;     /* term of a win */
    unsigned leaders;    /* bit per node: it led when it was looked at last */
    uint64_t covered_ns; /* reads asked for until then may be answered */
};

struct tm_sim_rounds {
    struct tm_sim_rounds_config config;
    struct part *parts;
    struct worker workers[TM_SIM_NODES_MAX][TM_SIM_WORKERS_MAX];
};

struct tm_sim_rounds *tm_sim_rounds_new(const struct tm_sim_rounds_config *config)
{
    struct tm_sim_rounds *s = calloc(1, sizeof *s);
    TM_ASSERT(s != NULL);
    s->config = *config;
    s->parts = calloc(config->partitions, sizeof *s->parts);
    TM_ASSERT(s->parts != NULL);
    return s;
}

void tm_sim_rounds_free(struct tm_sim_rounds *s)
{
    for (uint32_t p = 0; p < s->config.partitions; p++)
        free(s->parts[p].wins);
    free(s->parts);
    free(s);
}

/* When the present round began; the one a process is in at its first look began no one knows when.
 */
static void note_round(struct worker *w, const struct tm_beat *b, uint64_t now_ns)
{
    if (w->boot != b->boot) {
        memset(w, 0, sizeof *w);
        w->boot = b->boot;
        w->newest = b->round;
    }
    if (b->round == w->newest)
        return;
    w->newest = b->round;
    w->ring[b->round % RING] =
        (struct begun){.round = b->round, .at_ns = now_ns, .clock_ns = tm_ctx_now(b->ctx)};
}

static const struct begun *begun_of(const struct worker *w, uint64_t round)
{
    const struct begun *b = &w->ring[round % RING];
    return round != 0 && b->round == round ? b : NULL;
}

static void note_win(struct part *p, const struct tm_replica *r, uint64_t now_ns)
{
    for (unsigned i = p->count; i > 0; i--)
        if (p->wins[i - 1].term == r->hs.term)
            return;
    if (p->count == p->cap) {
        p->cap = p->cap == 0 ? 16 : 2 * p->cap;
        p->wins = realloc(p->wins, p->cap * sizeof *p->wins);
        TM_ASSERT(p->wins != NULL);
    }
    p->newest = tm_max_u64(p->newest, r->hs.term);
    p->wins[p->count++] = (struct win){.term = r->hs.term, .seen_ns = now_ns, .node = r->self.node};
}

/* The highest round that a majority of those who vote has confirmed; 0: none. */
static uint64_t confirmed(const struct tm_replica *r)
{
    uint64_t rounds[TM_MEMBERS_MAX], best = 0;
    unsigned voting = 0;
    for (unsigned i = 0; i < r->members.count; i++) {
        const struct tm_member *m = &r->members.at[i];
        if (!tm_replica_votes(m->role))
            continue;
        rounds[voting++] = tm_id_equal(m->id, r->self)
                               ? UINT64_MAX
                               : tm_beat_confirmed(r->beat, r, m->id.node, m->id.disk);
    }
    for (unsigned i = 0; i < voting; i++) {
        unsigned reach = 0;
        for (unsigned k = 0; k < voting; k++)
            reach += rounds[k] >= rounds[i];
        if (reach > voting / 2)
            best = tm_max_u64(best, rounds[i]);
    }
    return best;
}

/* While this is the same, what is confirmed stays confirmed. */
static uint64_t basis_of(const struct tm_replica *r)
{
    struct tm_sim_hash sum = {r->beat->boot};
    tm_sim_hash_add(&sum, r->hs.term);
    tm_sim_hash_add(&sum, r->lead_round);
    tm_sim_hash_add(&sum, r->hs.insync.term);
    tm_sim_hash_add(&sum, r->hs.insync.epoch << 1 | r->hs.insync.confirmed);
    for (unsigned i = 0; i < r->members.count; i++) {
        const struct tm_member *m = &r->members.at[i];
        tm_sim_hash_add(&sum, (uint64_t)m->role << 32 | m->id.node);
        tm_sim_hash_add(&sum, m->id.disk);
        tm_sim_hash_add(&sum, r->beat->workers[m->id.node]);
        tm_sim_hash_add(&sum, tm_beat_disk(r->beat, r, m->id.node));
        tm_sim_hash_add(&sum, r->peer[i].disk);
    }
    return sum.value;
}

/* Reads are covered up to when the round began; if that is not known, until now. */
static void cover(struct part *p, uint64_t round, const struct begun *b, uint64_t now_ns)
{
    if (round != 0)
        p->covered_ns = tm_max_u64(p->covered_ns, b != NULL ? b->at_ns : now_ns);
}

/* Likewise, as if all had been confirmed that had begun when it was looked at last. */
static void cover_all(struct part *p, const struct worker *w, const struct last *last,
                      uint64_t now_ns)
{
    uint64_t round = w->newest;
    const struct begun *b = begun_of(w, round);
    if (b != NULL && b->at_ns == now_ns) /* in this turn */
        b = begun_of(w, --round);
    cover(p, round, last->round == UINT64_MAX ? NULL : b, now_ns);
}

static void check_confirmed(const struct tm_sim_rounds *s, const struct part *p,
                            const struct begun *b, const struct tm_replica *r)
{
    char text[256];
    for (unsigned i = p->newest > r->hs.term && b != NULL ? p->count : 0; i > 0; i--) {
        const struct win *other = &p->wins[i - 1];
        if (other->term <= r->hs.term || other->seen_ns >= b->at_ns)
            continue;
        snprintf(text, sizeof text,
                 "partition %u: node %u takes round %llu of term %llu for confirmed, which began "
                 "%llu us after node %u led term %llu (invariant 10)",
                 r->partition, r->self.node, ULL(b->round), ULL(r->hs.term),
                 ULL((b->at_ns - other->seen_ns) / 1000), other->node, ULL(other->term));
        s->config.wrong(s->config.host, text);
        return;
    }
}

/* Of those that wait the last one came last. */
static void check_waiting(const struct tm_sim_rounds *s, const struct worker *w,
                          const struct tm_replica *r)
{
    char text[256];
    if (r->rounds == NULL)
        return;
    const struct tm_replica_read *read =
        (const void *)((const char *)r->rounds_end - offsetof(struct tm_replica_read, next));
    const struct begun *b = begun_of(w, read->round);
    if (b == NULL || read->until <= b->clock_ns + s->config.patience)
        return;
    snprintf(text, sizeof text,
             "partition %u: a read at node %u waits for round %llu, which began %llu us before it "
             "arrived (invariant 10)",
             r->partition, r->self.node, ULL(b->round),
             ULL((read->until - s->config.patience - b->clock_ns) / 1000));
    s->config.wrong(s->config.host, text);
}

void tm_sim_rounds_look(struct tm_sim_rounds *s, const struct tm_replica *r, uint64_t now_ns)
{
    const struct tm_beat *b = r->beat;
    TM_ASSERT(b->self.node < TM_SIM_NODES_MAX && b->worker < TM_SIM_WORKERS_MAX);
    struct worker *w = &s->workers[b->self.node][b->worker];
    struct part *p = &s->parts[r->partition];
    unsigned bit = 1u << b->self.node;
    note_round(w, b, now_ns);
    if (r->role != TM_ROLE_LEADER) {
        if ((p->leaders & bit) != 0)
            tm_sim_rounds_left(s, r->partition, now_ns);
        p->leaders &= ~bit;
        return;
    }
    note_win(p, r, now_ns);
    uint64_t round = tm_replica_alone(r) ? UINT64_MAX : confirmed(r);
    const struct begun *begun = begun_of(w, round);
    struct last *last = &p->last[b->self.node], now = {basis_of(r), round};
    cover(p, round, begun, now_ns);
    if ((p->leaders & bit) != 0 && last->basis != now.basis)
        cover_all(p, w, last, now_ns);
    p->leaders |= bit;
    *last = now;
    check_confirmed(s, p, begun, r);
    check_waiting(s, w, r);
}

/* It may have confirmed and answered before it went. */
void tm_sim_rounds_left(struct tm_sim_rounds *s, uint32_t partition, uint64_t now_ns)
{
    s->parts[partition].covered_ns = now_ns;
}

bool tm_sim_rounds_cover(const struct tm_sim_rounds *s, uint32_t partition, uint64_t asked_ns)
{
    return asked_ns <= s->parts[partition].covered_ns;
}
