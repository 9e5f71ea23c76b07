/* replica_world.h: the world of simulated replicas: their log, disk and wire (struct
 * tm_replica_io).
 *
 * Everything is one heap of events in virtual time.  Messages are encoded, delayed, lost and
 * doubled; a disk completes operations in order and later than asked.  What leaves a replica is
 * held against the invariants of docs/ARCHITECTURE.md (1 to 6, 9 and 10) as it passes; a failed
 * check prints the seed and aborts, so that a debugger stands where it happened.  replica_cluster.h
 * runs it. */
#ifndef TM_TESTS_ACTORS_REPLICA_WORLD_H
#define TM_TESTS_ACTORS_REPLICA_WORLD_H

#include "actors/heartbeat.h"
#include "actors/replica.h"
#include "test.h"

#include <stdarg.h>

#define NODES_MAX  7
#define PARTS_MAX  3
#define LOG_MAX    2000
#define OPS_MAX    8192
#define HEAP_MAX   16384
#define TERMS_MAX  4096
#define FORCED_MAX 4 /* recoveries */

#define CHECK(c, cond)                                                                             \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "seed %" PRIu64 " at %" PRIu64 " us: %s:%d: %s\n", (c)->seed,          \
                    (c)->now / 1000, __FILE__, __LINE__, #cond);                                   \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct sim_log {
    struct tm_tail base;
    struct tm_members base_members;
    uint64_t last;
    const struct tm_record *record[LOG_MAX + 1]; /* by index */
};

enum sim_op_kind { OP_APPEND, OP_CUT, OP_STATE, OP_SNAPSHOT };

struct sim_snapshot {
    struct tm_tail tail;
    struct tm_members members;
    uint64_t term;
};

struct sim_op {
    enum sim_op_kind kind;
    unsigned part;
    uint64_t due;
    const struct tm_record *record;
    uint64_t from; /* CUT */
    struct tm_promise hs;
    uint64_t seq;
    struct sim_snapshot snapshot;
    unsigned sender;
};

struct sim_part {
    struct sim_node *node;
    unsigned part;
    struct tm_replica replica;
    struct sim_log log;  /* in memory */
    struct sim_log disk; /* durable */
    struct tm_promise disk_hs;
    uint64_t applied;
    uint64_t cached_from;   /* older records have to be fetched */
    unsigned reads_refused; /* so many times that cannot begin */
    bool installing;
    bool full; /* effects do not fit, NOOP and CONFIG do */
    unsigned appends_refused;
    enum tm_health damaged; /* what a start finds */
    unsigned notes[TM_NOTE_COUNT];
    uint64_t lost_records;
    unsigned hidden; /* records behind damage, that the replica is not shown */
    unsigned snapshots;
    struct tm_replica_status seen;
};

struct sim_node {
    struct cluster *c;
    unsigned id;
    bool up;
    uint64_t paused_until;
    uint64_t incarnation;
    uint64_t disk_id;
    int64_t clock_ms;      /* its wall clock is ahead of true time */
    uint64_t disk_slow_ns; /* added to each operation */
    uint64_t disk_last;    /* due time of the last operation */
    struct tm_ctx ctx;
    struct tm_beat beat;
    struct tm_beat_link links[NODES_MAX];
    struct tm_beat_io beat_io;
    uint64_t wake;
    unsigned op_head, ops;
    struct sim_op op[OPS_MAX];
    struct sim_part part[PARTS_MAX];
};

enum sim_event_kind { EV_REPLICA, EV_BEAT, EV_SNAPSHOT, EV_AVAILABLE, EV_DOWN, EV_UP, EV_SENT };

struct sim_event {
    uint64_t at, order;
    enum sim_event_kind kind;
    unsigned from, to, part;
    uint64_t from_inc, to_inc;
    uint8_t *bytes;
    size_t len;
    struct sim_snapshot snapshot;
};

struct sim_read {
    struct tm_replica_read read;
    struct sim_part *at;
    uint64_t floor; /* highest index committed anywhere when it arrived */
    uint64_t seen;  /* the leader's last index then */
    bool done, ok;
    struct sim_read *next;
};

struct cluster {
    uint64_t seed, rng, now, order;
    unsigned nodes, parts, voters; /* voters: data voters at creation */
    bool witness;                  /* node `voters` is the witness */
    bool memory;                   /* durability memory */
    bool loss_allowed;             /* damage beyond what may be survived */
    bool by_hand;                  /* the test speaks for some nodes: their disks prove nothing */
    bool harmed;                   /* one copy was lost, and not all is well again since */
    bool eof;                      /* death is told at once */
    unsigned loss, dup;            /* per mille */
    uint64_t delay_max_ns;
    uint64_t cut_links[NODES_MAX]; /* bit per node: messages from here to there are lost */
    struct tm_replica_options opt;
    struct tm_beat_options beat_opt;
    struct sim_node node[NODES_MAX];
    struct sim_event *heap[HEAP_MAX];
    unsigned heap_len;
    uint64_t committed[PARTS_MAX][LOG_MAX + 1];    /* hash by index, 0: not yet */
    uint64_t committed_in[PARTS_MAX][LOG_MAX + 1]; /* the term in which that was so first */
    uint64_t committed_max[PARTS_MAX];
    uint8_t leader_of[PARTS_MAX][FORCED_MAX][TERMS_MAX]; /* node + 1 */
    uint64_t messages[TM_MSG_END], beats;
    struct tm_replica_msg last_msg[NODES_MAX][NODES_MAX][TM_MSG_END]; /* sent: from, to, kind */
    struct sim_read *reads;
    void *chunks; /* arena */
};

/* --- chance and memory --- */

static inline uint64_t sim_random(struct cluster *c)
{
    uint64_t z = (c->rng += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}
static inline uint64_t sim_below(struct cluster *c, uint64_t n)
{
    return n == 0 ? 0 : sim_random(c) % n;
}
static inline void *sim_alloc(struct cluster *c, size_t len)
{
    void **chunk = calloc(1, 16 + len);
    if (chunk == NULL)
        abort();
    chunk[0] = c->chunks;
    c->chunks = chunk;
    return chunk + 2;
}

/* --- events --- */

static inline bool sim_earlier(const struct sim_event *a, const struct sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}
static inline void sim_push(struct cluster *c, struct sim_event *e)
{
    CHECK(c, c->heap_len < HEAP_MAX);
    e->order = c->order++;
    unsigned i = c->heap_len++;
    while (i > 0 && sim_earlier(e, c->heap[(i - 1) / 2])) {
        c->heap[i] = c->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    c->heap[i] = e;
}
static inline struct sim_event *sim_pop(struct cluster *c)
{
    struct sim_event *top = c->heap[0], *e = c->heap[--c->heap_len];
    unsigned i = 0;
    for (;;) {
        unsigned k = 2 * i + 1;
        if (k >= c->heap_len)
            break;
        if (k + 1 < c->heap_len && sim_earlier(c->heap[k + 1], c->heap[k]))
            k++;
        if (!sim_earlier(c->heap[k], e))
            break;
        c->heap[i] = c->heap[k];
        i = k;
    }
    c->heap[i] = e;
    return top;
}
static inline struct sim_event *sim_event(struct cluster *c, enum sim_event_kind kind,
                                          unsigned from, unsigned to, unsigned part, uint64_t delay)
{
    struct sim_event *e = calloc(1, sizeof *e);
    if (e == NULL)
        abort();
    *e = (struct sim_event){
        .at = c->now + delay, .kind = kind, .from = from, .to = to, .part = part};
    e->from_inc = c->node[from].incarnation;
    e->to_inc = c->node[to].incarnation;
    return e;
}
static inline void sim_send(struct cluster *c, struct sim_event *e)
{
    bool lost = (c->cut_links[e->from] >> e->to & 1) != 0 || sim_below(c, 1000) < c->loss;
    bool twice = !lost && sim_below(c, 1000) < c->dup;
    if (lost) {
        free(e->bytes);
        free(e);
        return;
    }
    if (twice) {
        struct sim_event *again = calloc(1, sizeof *again);
        *again = *e;
        again->bytes = malloc(e->len);
        memcpy(again->bytes, e->bytes, e->len);
        again->at += sim_below(c, c->delay_max_ns);
        sim_push(c, again);
    }
    sim_push(c, e);
}
static inline uint64_t sim_delay(struct cluster *c)
{
    return TM_US(20) + sim_below(c, c->delay_max_ns);
}

/* --- the log --- */

static inline void sim_log_tail(const struct sim_log *l, struct tm_tail *t)
{
    const struct tm_record *r = l->last > l->base.index ? l->record[l->last] : NULL;
    *t = r == NULL ? l->base : (struct tm_tail){r->index, r->term, r->checksum};
}
static inline uint64_t sim_log_hash(const struct sim_log *l, uint64_t i)
{
    return i == l->base.index ? l->base.hash : l->record[i]->checksum;
}
/* Record `index` of hash `hash` is in l, or compacted away. */
static inline bool sim_log_has(const struct sim_log *l, uint64_t index, uint64_t hash)
{
    if (index < l->base.index)
        return true;
    return index <= l->last && sim_log_hash(l, index) == hash;
}
static inline void sim_log_members(const struct sim_log *l, struct tm_members *m,
                                   struct tm_members *before)
{
    *m = l->base_members;
    *before = (struct tm_members){.count = 0};
    for (uint64_t i = l->base.index + 1; i <= l->last; i++) {
        if (l->record[i]->kind != TM_RECORD_CONFIG)
            continue;
        *before = *m;
        if (tm_members_decode(tm_record_body(l->record[i]), m) != TM_OK)
            abort();
        m->index = i;
    }
}

static inline struct sim_op *sim_op(struct sim_part *p, enum sim_op_kind kind)
{
    struct sim_node *n = p->node;
    CHECK(n->c, n->ops < OPS_MAX);
    struct sim_op *op = &n->op[(n->op_head + n->ops++) % OPS_MAX];
    memset(op, 0, sizeof *op);
    op->kind = kind;
    op->part = p->part;
    uint64_t took = TM_US(50) + sim_below(n->c, TM_MS(1)) + n->disk_slow_ns;
    op->due = tm_max_u64(n->disk_last, n->c->now + took);
    n->disk_last = op->due;
    return op;
}

static inline uint64_t io_first(void *host)
{
    struct sim_part *p = host;
    return p->log.base.index + 1;
}
static inline enum tm_err io_meta(void *host, uint64_t i, uint64_t *term, uint64_t *hash)
{
    struct sim_part *p = host;
    CHECK(p->node->c, i >= p->log.base.index && i <= p->log.last && i > 0);
    *term = i == p->log.base.index ? p->log.base.term : p->log.record[i]->term;
    *hash = sim_log_hash(&p->log, i);
    return TM_OK;
}
static inline enum tm_err io_record(void *host, uint64_t i, const struct tm_record **out)
{
    struct sim_part *p = host;
    struct cluster *c = p->node->c;
    CHECK(c, i > p->log.base.index && i <= p->log.last);
    if (i < p->cached_from) {
        if (p->reads_refused > 0) {
            p->reads_refused--;
            return TM_ERR_AGAIN;
        }
        p->cached_from = i;
        sim_push(c, sim_event(c, EV_AVAILABLE, p->node->id, p->node->id, p->part, TM_US(300)));
        return TM_ERR_AGAIN;
    }
    *out = p->log.record[i];
    return TM_OK;
}
static inline enum tm_err io_append(void *host, const struct tm_record *r)
{
    struct sim_part *p = host;
    struct cluster *c = p->node->c;
    struct tm_tail tail;
    sim_log_tail(&p->log, &tail);
    CHECK(c, r->index == tail.index + 1 && r->prev_hash == tail.hash && r->index <= LOG_MAX);
    CHECK(c, r->term >= tail.term && tm_record_check(r, r->length) == TM_OK);
    if (p->full && r->kind != TM_RECORD_NOOP && r->kind != TM_RECORD_CONFIG) {
        p->appends_refused++;
        return TM_ERR_NOSPACE;
    }
    struct tm_record *copy = sim_alloc(c, r->length);
    memcpy(copy, r, r->length);
    p->log.record[++p->log.last] = copy;
    sim_op(p, OP_APPEND)->record = copy;
    return TM_OK;
}
static inline bool io_cut(void *host, uint64_t from)
{
    struct sim_part *p = host;
    struct cluster *c = p->node->c;
    CHECK(c, from > p->log.base.index && from <= p->log.last);
    for (uint64_t i = from; i <= p->log.last; i++) /* invariant 5: never a committed one */
        CHECK(c, c->loss_allowed || c->committed[p->part][i] != p->log.record[i]->checksum);
    if (!c->by_hand && sim_below(c, 8) == 0)
        return false; /* no room just now */
    p->log.last = from - 1;
    sim_op(p, OP_CUT)->from = from;
    return true;
}
static inline void io_persist(void *host, const struct tm_promise *hs, uint64_t seq)
{
    struct sim_part *p = host;
    struct sim_op *op = sim_op(p, OP_STATE);
    op->hs = *hs;
    op->seq = seq;
}
static inline void io_stamp(void *host, uint64_t *hlc, uint64_t *origin)
{
    struct sim_part *p = host;
    *hlc = p->node->c->now;
    *origin = 1;
}

/* Invariants 1 and 2, as seen from a message that leaves. */
static inline void sim_check_promises(struct sim_part *p, unsigned to,
                                      const struct tm_replica_msg *m)
{
    struct cluster *c = p->node->c;
    CHECK(c, m->term - (m->kind == TM_MSG_PREVOTE) <= p->disk_hs.term);
    if (m->kind == TM_MSG_VOTE_REPLY && (m->flags & TM_MSG_GRANTED) != 0 &&
        (m->flags & TM_MSG_PRE) == 0)
        CHECK(c, p->disk_hs.vote.node == to && p->disk_hs.term == m->term);
    if (m->kind == TM_MSG_VOTE)
        CHECK(c, p->disk_hs.vote.node == p->node->id && p->disk_hs.term == m->term);
    if (m->kind != TM_MSG_APPEND_REPLY || (m->flags & TM_MSG_REJECT) != 0 || c->memory)
        return;
    for (uint64_t i = p->log.base.index + 1; i <= m->index; i++)
        CHECK(c, sim_log_has(&p->disk, i, sim_log_hash(&p->log, i)));
}
static inline void io_send(void *host, unsigned to, const struct tm_replica_msg *m,
                           const struct tm_bytes *pieces, unsigned count)
{
    struct sim_part *p = host;
    struct cluster *c = p->node->c;
    size_t len = 0;
    for (unsigned i = 0; i < count; i++)
        len += pieces[i].len;
    sim_check_promises(p, to, m);
    struct sim_event *e = sim_event(c, EV_REPLICA, p->node->id, to, p->part, sim_delay(c));
    e->bytes = malloc(TM_MSG_HEAD_MAX + len);
    e->len = tm_replica_msg_encode(m, len, e->bytes);
    for (unsigned i = 0; i < count; i++) {
        memcpy(e->bytes + e->len, pieces[i].data, pieces[i].len);
        e->len += pieces[i].len;
    }
    c->messages[m->kind]++;
    c->last_msg[p->node->id][to][m->kind] = *m;
    if (getenv("TM_VERBOSE") != NULL &&
        m->kind <= (getenv("TM_VERBOSE")[0] == '2' ? TM_MSG_END : TM_MSG_VOTE_REPLY))
        fprintf(stderr,
                "%9" PRIu64 " us node %u part %u: %s to %u flags %x term %" PRIu64 " index %" PRIu64
                " of %" PRIu64 " commit %" PRIu64 " count %u set %u: %" PRIu64 ".%" PRIu64 "\n",
                c->now / 1000, p->node->id, p->part, tm_replica_msg_name(m->kind), to, m->flags,
                m->term, m->index, m->index_term, m->commit, m->count, m->insync.count,
                m->insync.term, m->insync.epoch);
    sim_send(c, e);
}
static inline void io_snapshot_needed(void *host, unsigned to)
{
    struct sim_part *p = host;
    struct cluster *c = p->node->c;
    struct sim_event *e = sim_event(c, EV_SNAPSHOT, p->node->id, to, p->part, TM_MS(5));
    e->snapshot = (struct sim_snapshot){p->log.base, p->log.base_members, p->replica.hs.term};
    sim_push(c, e);
}
static inline unsigned sim_copies(struct cluster *c, unsigned part, uint64_t index, uint64_t hash)
{
    unsigned copies = 0;
    for (unsigned i = 0; i < c->nodes; i++) {
        const struct sim_part *p = &c->node[i].part[part];
        copies += sim_log_has(c->memory ? &p->log : &p->disk, index, hash) &&
                  (index > 0 && p->disk.last + p->log.last > 0);
    }
    return copies;
}
static inline void io_committed(void *host, uint64_t index)
{
    struct sim_part *p = host;
    struct cluster *c = p->node->c;
    uint64_t *known = c->committed[p->part];
    CHECK(c, index <= p->log.last);
    for (uint64_t i = tm_max_u64(p->applied, p->log.base.index) + 1; i <= index; i++) {
        uint64_t hash = p->log.record[i]->checksum;
        CHECK(c, known[i] == 0 || known[i] == hash || c->loss_allowed); /* invariant 5 */
        if (known[i] == 0)
            c->committed_in[p->part][i] = p->replica.hs.term;
        known[i] = hash;
    }
    p->applied = index;
    c->committed_max[p->part] = tm_max_u64(c->committed_max[p->part], index);
    if (p->replica.role != TM_ROLE_LEADER)
        return;
    CHECK(c, p->log.record[index]->term == p->replica.hs.term); /* invariant 3 */
    unsigned voters = 0;
    for (unsigned i = 0; i < p->replica.members.count; i++)
        voters += p->replica.members.at[i].role == TM_MEMBER_VOTER;
    unsigned need = voters / 2 + 1;
    if (c->witness && p->disk_hs.insync.count == 1)
        need = 1;
    unsigned copies = sim_copies(c, p->part, index, known[index]) + c->harmed;
    CHECK(c, copies >= need || c->by_hand); /* invariant 9 */
}
static inline void io_role(void *host, const struct tm_replica_status *s)
{
    struct sim_part *p = host;
    struct cluster *c = p->node->c;
    p->seen = *s;
    if (getenv("TM_VERBOSE") != NULL)
        fprintf(stderr,
                "%9" PRIu64 " us node %u part %u: %s term %" PRIu64 " leader %u commit %" PRIu64
                " last %" PRIu64 "\n",
                c->now / 1000, p->node->id, p->part, tm_replica_role_name(s->role), s->term,
                s->leader, s->commit, s->last);
    if (s->role != TM_ROLE_LEADER)
        return;
    uint64_t term = s->term % TM_REPLICA_TERM_FAR, forced = s->term / TM_REPLICA_TERM_FAR;
    CHECK(c, term < TERMS_MAX && forced < FORCED_MAX);
    uint8_t *who = &c->leader_of[p->part][forced][term];
    CHECK(c, *who == 0 || *who == p->node->id + 1); /* invariant 1 */
    *who = (uint8_t)(p->node->id + 1);
    for (uint64_t i = p->log.base.index + 1; i <= c->committed_max[p->part]; i++) /* 4, 5 */
        CHECK(c, c->loss_allowed || c->committed[p->part][i] == 0 ||
                     c->committed_in[p->part][i] >= s->term ||
                     sim_log_has(&p->log, i, c->committed[p->part][i]));
}
/* Invariant 10: a read that was let go saw everything that was committed when it arrived. */
static inline void io_read_done(void *host, struct tm_replica_read *read, bool ok)
{
    struct sim_part *p = host;
    struct cluster *c = p->node->c;
    struct sim_read *r = read->owner;
    CHECK(c, !r->done && r->at == p);
    r->done = true;
    r->ok = ok;
    if (!ok)
        return;
    CHECK(c, r->floor <= r->seen);
    CHECK(c, r->floor <= p->log.base.index || c->loss_allowed ||
                 sim_log_has(&p->log, r->floor, c->committed[p->part][r->floor]));
}
static inline bool io_lost(void *host, uint64_t from, uint64_t to)
{
    struct sim_part *p = host;
    CHECK(p->node->c, from <= to && to == p->log.last);
    if (!p->node->c->by_hand && sim_below(p->node->c, 2) == 0)
        return false; /* not put aside yet */
    p->lost_records += to - from + 1;
    return true;
}
static inline bool io_end_at(void *host, uint64_t last)
{
    struct sim_part *p = host;
    CHECK(p->node->c, last == p->log.last);
    if (p->hidden > 0)
        p->hidden--; /* not yet */
    return p->hidden == 0;
}
static inline void io_note(void *host, enum tm_replica_note note, uint64_t a, uint64_t b)
{
    struct sim_part *p = host;
    p->notes[note]++;
    if (getenv("TM_VERBOSE") != NULL)
        fprintf(stderr, "%9" PRIu64 " us node %u part %u: %s %" PRIu64 " %" PRIu64 "\n",
                p->node->c->now / 1000, p->node->id, p->part, tm_replica_note_name(note), a, b);
}

static const struct tm_replica_io sim_io = {
    .first = io_first,
    .meta = io_meta,
    .record = io_record,
    .append = io_append,
    .cut = io_cut,
    .persist = io_persist,
    .stamp = io_stamp,
    .send = io_send,
    .snapshot_needed = io_snapshot_needed,
    .committed = io_committed,
    .role = io_role,
    .read_done = io_read_done,
    .lost = io_lost,
    .end_at = io_end_at,
    .note = io_note,
};

#endif
