/* replica_cluster.h: a cluster of replicas in one thread and virtual time, for tests.
 *
 * Each node has a disk that completes operations in order and later than asked, an image of what is
 * durable, and replicas over it; a network of encoded messages with delay, loss, doubling and cut
 * links joins them.  A crash keeps the durable image (and a random part of what was on its way);
 * messages of earlier incarnations are not delivered.  One seed gives one run.
 *
 * Every event is followed by checks of design.md's invariants 1 to 6, 9 and 10, over all nodes.  A
 * failed check prints the seed and aborts, so that a debugger stands where it happened. */
#ifndef TM_TESTS_REPLICA_CLUSTER_H
#define TM_TESTS_REPLICA_CLUSTER_H

#include "actors/heartbeat.h"
#include "actors/replica.h"
#include "test.h"

#include <stdarg.h>

#define NODES_MAX 7
#define PARTS_MAX 3
#define LOG_MAX   2000
#define OPS_MAX   8192
#define HEAP_MAX  16384
#define TERMS_MAX 4096

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
    enum tm_health damaged; /* what a start finds */
    unsigned notes[TM_NOTE_COUNT];
    uint64_t lost_records;
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
    uint8_t leader_of[PARTS_MAX][TERMS_MAX]; /* node + 1 */
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
    struct tm_record *copy = sim_alloc(c, r->length);
    memcpy(copy, r, r->length);
    p->log.record[++p->log.last] = copy;
    sim_op(p, OP_APPEND)->record = copy;
    return TM_OK;
}
static inline void io_cut(void *host, uint64_t from)
{
    struct sim_part *p = host;
    struct cluster *c = p->node->c;
    CHECK(c, from > p->log.base.index && from <= p->log.last);
    for (uint64_t i = from; i <= p->log.last; i++) /* invariant 5: never a committed one */
        CHECK(c, c->loss_allowed || c->committed[p->part][i] != p->log.record[i]->checksum);
    p->log.last = from - 1;
    sim_op(p, OP_CUT)->from = from;
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
    CHECK(c, s->term < TERMS_MAX);
    uint8_t *who = &c->leader_of[p->part][s->term];
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
    if (sim_below(p->node->c, 2) == 0)
        return false; /* not put aside yet */
    p->lost_records += to - from + 1;
    return true;
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
    .note = io_note,
};

/* --- nodes --- */

static inline uint64_t sim_now(void *host)
{
    return ((struct sim_node *)host)->c->now;
}
static inline uint64_t sim_wall(void *host)
{
    return ((struct sim_node *)host)->c->now / TM_MS(1);
}
static inline uint64_t sim_node_random(void *host)
{
    return sim_random(((struct sim_node *)host)->c);
}
static inline void sim_beat_send(void *host, unsigned to, unsigned worker, struct tm_bytes m)
{
    struct sim_node *n = host;
    CHECK(n->c, worker == 0);
    struct sim_event *e = sim_event(n->c, EV_BEAT, n->id, to, 0, sim_delay(n->c));
    e->bytes = malloc(m.len);
    memcpy(e->bytes, m.data, m.len);
    e->len = m.len;
    n->c->beats++;
    sim_send(n->c, e);
}
static inline uint64_t sim_flush_age(void *host)
{
    const struct sim_node *n = host;
    return n->ops == 0 ? 0 : n->disk_slow_ns;
}

static inline void sim_turn(struct sim_node *n)
{
    struct cluster *c = n->c;
    if (!n->up)
        return;
    for (unsigned i = 0; i < c->parts; i++)
        tm_replica_ship(&n->part[i].replica);
    n->wake = tm_max_u64(tm_beat_turn(&n->beat), c->now + TM_US(1));
}

static inline void cluster_members(const struct cluster *c, struct tm_members *m)
{
    *m = (struct tm_members){.count = c->voters + c->witness};
    for (unsigned i = 0; i < m->count; i++)
        m->at[i] = (struct tm_member){.id = {.disk = 100 + i, .node = (uint8_t)i},
                                      .role = i < c->voters ? TM_MEMBER_VOTER : TM_MEMBER_WITNESS};
}

static inline void sim_boot_part(struct sim_part *p)
{
    struct cluster *c = p->node->c;
    struct tm_replica_boot boot;
    memset(&boot, 0, sizeof boot);
    p->log = p->disk;
    p->installing = false;
    p->applied = p->log.base.index;
    p->cached_from = p->log.last + 1;
    boot.hs = p->disk_hs;
    sim_log_tail(&p->log, &boot.last);
    boot.commit = p->log.base.index;
    sim_log_members(&p->log, &boot.members, &boot.previous);
    boot.health = p->damaged;
    tm_replica_init(&p->replica, &c->opt, &sim_io, p, &p->node->ctx, &p->node->beat, p->part,
                    (struct tm_id){.disk = p->node->disk_id, .node = (uint8_t)p->node->id});
    tm_replica_start(&p->replica, &boot);
}

static inline void cluster_start(struct cluster *c, unsigned id)
{
    struct sim_node *n = &c->node[id];
    CHECK(c, !n->up);
    if (getenv("TM_VERBOSE") != NULL)
        fprintf(stderr, "%9" PRIu64 " us node %u starts, damage %d\n", c->now / 1000, id,
                (int)n->part[0].damaged);
    n->up = true;
    n->incarnation++;
    n->paused_until = 0;
    n->ops = 0;
    n->disk_last = c->now;
    n->ctx = (struct tm_ctx){
        .host = n, .now_ns = sim_now, .wall_ms = sim_wall, .random = sim_node_random};
    n->beat_io = (struct tm_beat_io){.send = sim_beat_send, .flush_age_ns = sim_flush_age};
    tm_beat_init(&n->beat, &c->beat_opt, &n->beat_io, n, &n->ctx,
                 (struct tm_id){.disk = n->disk_id, .node = (uint8_t)id}, 0, sim_random(c),
                 n->links, NODES_MAX);
    for (unsigned i = 0; i < c->nodes; i++)
        tm_beat_workers(&n->beat, i, 1);
    for (unsigned i = 0; i < c->parts; i++)
        sim_boot_part(&n->part[i]);
    n->wake = c->now + TM_US(1);
    for (unsigned i = 0; i < c->nodes; i++)
        if (i != id && c->node[i].up)
            sim_push(c, sim_event(c, EV_UP, id, i, 0, sim_delay(c)));
}

static inline void sim_forget_disk(struct cluster *c, struct sim_part *p)
{
    struct tm_promise none = {.vote = {.node = TM_NODE_UNKNOWN}};
    memset(&p->disk, 0, offsetof(struct sim_log, record));
    p->disk_hs = none;
    (void)c;
}

static inline struct cluster *cluster_new(uint64_t seed, unsigned voters, bool witness,
                                          unsigned nodes, unsigned parts)
{
    struct cluster *c = calloc(1, sizeof *c);
    if (c == NULL)
        abort();
    c->seed = seed;
    c->rng = seed * 0x2545f4914f6cdd1dull + 1;
    c->now = TM_SECONDS(1);
    c->nodes = nodes;
    c->parts = parts;
    c->voters = voters;
    c->witness = witness;
    c->eof = true;
    c->delay_max_ns = TM_US(200);
    tm_replica_options_default(&c->opt);
    tm_beat_options_default(&c->beat_opt);
    c->opt.prefer_after_ns = 0;
    struct tm_members first;
    cluster_members(c, &first);
    for (unsigned i = 0; i < nodes; i++) {
        struct sim_node *n = &c->node[i];
        n->c = c;
        n->id = i;
        n->disk_id = 100 + i;
        for (unsigned k = 0; k < parts; k++) {
            n->part[k].node = n;
            n->part[k].part = k;
            sim_forget_disk(c, &n->part[k]);
            if (i < first.count)
                n->part[k].disk.base_members = first;
        }
    }
    return c;
}

static inline struct cluster *cluster_up(uint64_t seed, unsigned voters, bool witness)
{
    struct cluster *c = cluster_new(seed, voters, witness, voters + witness, 1);
    for (unsigned i = 0; i < c->nodes; i++)
        cluster_start(c, i);
    return c;
}

static inline void cluster_free(struct cluster *c)
{
    while (c->heap_len > 0) {
        struct sim_event *e = sim_pop(c);
        free(e->bytes);
        free(e);
    }
    for (void **chunk = c->chunks, **next; chunk != NULL; chunk = next) {
        next = chunk[0];
        free(chunk);
    }
    free(c);
}

/* --- the disk --- */

static inline void sim_apply_op(struct sim_node *n, const struct sim_op *op)
{
    struct sim_part *p = &n->part[op->part];
    struct sim_log *d = &p->disk;
    switch (op->kind) {
    case OP_APPEND:
        CHECK(n->c, op->record->index == d->last + 1);
        d->record[++d->last] = op->record;
        break;
    case OP_CUT:
        d->last = op->from - 1;
        break;
    case OP_STATE:
        CHECK(n->c, op->hs.term >= p->disk_hs.term);
        if (op->hs.term == p->disk_hs.term && p->disk_hs.vote.node != TM_NODE_UNKNOWN)
            CHECK(n->c, tm_id_equal(op->hs.vote, p->disk_hs.vote)); /* a vote is for good */
        if (op->hs.health == TM_HEALTH_WHOLE && p->disk_hs.health != TM_HEALTH_WHOLE)
            p->damaged = TM_HEALTH_WHOLE; /* until then each start finds the damage again */
        p->disk_hs = op->hs;
        break;
    case OP_SNAPSHOT:
        d->base = op->snapshot.tail;
        d->base_members = op->snapshot.members;
        d->last = d->base.index;
        break;
    }
}

static inline void sim_installed(struct sim_node *n, const struct sim_op *op)
{
    struct sim_part *p = &n->part[op->part];
    struct cluster *c = n->c;
    p->applied = op->snapshot.tail.index;
    p->snapshots++;
    tm_replica_snapshot_installed(&p->replica, &op->snapshot.tail, &op->snapshot.members);
    struct sim_event *e = sim_event(c, EV_SENT, n->id, op->sender, op->part, sim_delay(c));
    e->snapshot = op->snapshot;
    sim_push(c, e);
}

static inline void tm_sim_disk_done(struct sim_node *n)
{
    struct sim_op op = n->op[n->op_head];
    struct sim_part *p = &n->part[op.part];
    n->op_head = (n->op_head + 1) % OPS_MAX;
    n->ops--;
    sim_apply_op(n, &op);
    if (op.kind == OP_STATE)
        tm_replica_persisted(&p->replica, op.seq);
    else if (op.kind == OP_APPEND && op.record->index <= p->log.last &&
             p->log.record[op.record->index] == op.record)
        tm_replica_durable(&p->replica, op.record->index, op.record->term);
    sim_turn(n);
}

/* The first host step of a snapshot: of use?  Then it goes to disk, and the log begins anew.  To
 * keep the images simple the log changes at once and the disk follows before anything else. */
static inline void sim_snapshot(struct cluster *c, const struct sim_event *e)
{
    struct sim_part *p = &c->node[e->to].part[e->part];
    const struct sim_snapshot *s = &e->snapshot;
    if (tm_replica_snapshot_wanted(&p->replica, e->from, s->term, &s->tail)) {
        struct sim_op op = {
            .kind = OP_SNAPSHOT, .part = e->part, .snapshot = *s, .sender = e->from};
        struct sim_node *n = p->node;
        while (n->ops > 0)
            tm_sim_disk_done(n);
        if (!tm_replica_snapshot_wanted(&p->replica, e->from, s->term, &s->tail))
            return;
        CHECK(c, s->tail.index >= p->log.last || /* invariant 6 */
                     !sim_log_has(&p->log, s->tail.index, s->tail.hash));
        sim_apply_op(n, &op);
        p->log = p->disk;
        p->cached_from = p->log.last + 1;
        sim_installed(n, &op);
    } else {
        struct sim_event *sent = sim_event(c, EV_SENT, e->to, e->from, e->part, sim_delay(c));
        sent->snapshot = *s;
        sim_push(c, sent);
    }
}

static inline void cluster_crash(struct cluster *c, unsigned id)
{
    struct sim_node *n = &c->node[id];
    CHECK(c, n->up);
    n->up = false;
    n->wake = UINT64_MAX;
    for (uint64_t keep = sim_below(c, n->ops + 1); keep > 0; keep--) {
        sim_apply_op(n, &n->op[n->op_head]);
        n->op_head = (n->op_head + 1) % OPS_MAX;
        n->ops--;
    }
    n->ops = 0;
    for (unsigned i = 0; i < c->parts; i++) {
        struct sim_part *p = &n->part[i];
        if (!c->memory)
            continue;
        p->disk.last = p->disk.base.index; /* the log was in memory only */
        p->damaged = TM_HEALTH_SUSPECT;
    }
    for (struct sim_read *r = c->reads; r != NULL; r = r->next)
        r->done |= r->at->node == n;
    for (unsigned i = 0; i < c->nodes && c->eof; i++)
        if (i != id && c->node[i].up)
            sim_push(c, sim_event(c, EV_DOWN, id, i, 0, sim_delay(c)));
}

/* A new, empty disk. */
static inline void cluster_wipe(struct cluster *c, unsigned id)
{
    struct sim_node *n = &c->node[id];
    CHECK(c, !n->up);
    n->disk_id += 1000;
    for (unsigned i = 0; i < c->parts; i++)
        sim_forget_disk(c, &n->part[i]);
}

/* --- time --- */

static inline void sim_deliver(struct cluster *c, struct sim_event *e)
{
    struct sim_node *n = &c->node[e->to];
    bool stale = e->to_inc != n->incarnation || e->from_inc != c->node[e->from].incarnation;
    if (e->kind == EV_DOWN || e->kind == EV_UP)
        stale = c->node[e->from].up != (e->kind == EV_UP);
    if (!n->up || stale)
        return;
    struct tm_replica *r = &n->part[e->part].replica;
    struct tm_replica_msg msg;
    switch (e->kind) {
    case EV_REPLICA:
        CHECK(c, tm_replica_msg_decode(tm_bytes_of(e->bytes, e->len), &msg) == TM_OK);
        tm_replica_receive(r, &msg);
        break;
    case EV_BEAT:
        tm_beat_receive(&n->beat, e->from, 0, tm_bytes_of(e->bytes, e->len));
        break;
    case EV_SNAPSHOT:
        sim_snapshot(c, e);
        break;
    case EV_AVAILABLE:
        tm_replica_log_available(r);
        break;
    case EV_DOWN:
        tm_beat_peer_down(&n->beat, e->from);
        break;
    case EV_UP:
        tm_beat_peer_up(&n->beat, e->from);
        break;
    case EV_SENT:
        tm_replica_snapshot_sent(r, e->from, e->snapshot.tail.index, true);
        break;
    }
    sim_turn(n);
}

/* The disk of memory durability: a record counts as soon as the host is back from the replica. */
static inline bool sim_memory_durable(struct cluster *c)
{
    bool any = false;
    for (unsigned i = 0; i < c->nodes && c->memory; i++)
        for (unsigned k = 0; k < c->parts && c->node[i].up; k++) {
            struct sim_part *p = &c->node[i].part[k];
            struct tm_tail tail;
            sim_log_tail(&p->log, &tail);
            if (p->replica.durable >= tail.index)
                continue;
            tm_replica_durable(&p->replica, tail.index, tail.term);
            sim_turn(p->node);
            any = true;
        }
    return any;
}

/* Runs one event, if there is one until `limit`. */
static inline bool cluster_step(struct cluster *c, uint64_t limit)
{
    if (sim_memory_durable(c))
        return true;
    uint64_t at = c->heap_len > 0 ? c->heap[0]->at : UINT64_MAX;
    struct sim_node *disk = NULL, *wake = NULL;
    for (unsigned i = 0; i < c->nodes; i++) {
        struct sim_node *n = &c->node[i];
        if (!n->up)
            continue;
        if (n->ops > 0 && tm_max_u64(n->op[n->op_head].due, n->paused_until) < at) {
            at = tm_max_u64(n->op[n->op_head].due, n->paused_until);
            disk = n;
            wake = NULL;
        }
        if (tm_max_u64(n->wake, n->paused_until) < at) {
            at = tm_max_u64(n->wake, n->paused_until);
            wake = n;
            disk = NULL;
        }
    }
    if (at > limit)
        return false;
    c->now = tm_max_u64(c->now, at);
    if (disk != NULL) {
        tm_sim_disk_done(disk);
    } else if (wake != NULL) {
        sim_turn(wake);
    } else {
        struct sim_event *e = sim_pop(c);
        if (c->node[e->to].up && c->node[e->to].paused_until > c->now) {
            e->at = c->node[e->to].paused_until;
            sim_push(c, e);
            return true;
        }
        sim_deliver(c, e);
        free(e->bytes);
        free(e);
    }
    return true;
}
static inline void cluster_run(struct cluster *c, uint64_t ns)
{
    uint64_t limit = c->now + ns;
    while (cluster_step(c, limit))
        ;
    c->now = limit;
}

/* --- what a test does and asks --- */

static inline struct tm_replica *replica_of(struct cluster *c, unsigned node)
{
    return &c->node[node].part[0].replica;
}
/* The node that leads in the highest term, or -1. */
static inline int cluster_leader(struct cluster *c, unsigned part)
{
    int best = -1;
    uint64_t term = 0;
    for (unsigned i = 0; i < c->nodes; i++) {
        const struct tm_replica *r = &c->node[i].part[part].replica;
        if (!c->node[i].up || r->role != TM_ROLE_LEADER || r->hs.term < term)
            continue;
        best = (int)i;
        term = r->hs.term;
    }
    return best;
}
static inline int cluster_await_leader(struct cluster *c, uint64_t ns)
{
    uint64_t limit = c->now + ns;
    int leader = cluster_leader(c, 0);
    while (leader < 0 && cluster_step(c, limit))
        leader = cluster_leader(c, 0);
    return leader;
}
/* Appends one record at node and ships it; its index, or 0. */
static inline uint64_t cluster_propose(struct cluster *c, unsigned node, unsigned part)
{
    struct sim_part *p = &c->node[node].part[part];
    struct tm_replica_slot slot;
    union {
        struct tm_record head;
        uint8_t bytes[256];
    } u;
    if (!c->node[node].up || p->log.last >= LOG_MAX - 50 ||
        tm_replica_next(&p->replica, &slot) != TM_OK)
        return 0;
    memset(&u, 0, sizeof u);
    u.head.kind = TM_RECORD_SYSTEM;
    u.head.partition = part;
    u.head.body_len = (uint32_t)(8 + sim_below(c, 100));
    u.head.term = slot.term;
    u.head.index = slot.index;
    u.head.prev_hash = slot.prev_hash;
    u.head.hlc = sim_random(c);
    tm_record_seal(&u.head);
    CHECK(c, io_append(p, &u.head) == TM_OK);
    tm_replica_appended(&p->replica, &u.head);
    sim_turn(&c->node[node]);
    return slot.index;
}
static inline bool cluster_committed(struct cluster *c, uint64_t index)
{
    return index > 0 && c->committed_max[0] >= index;
}
/* Proposes at the leader until one record is committed; false if that did not happen in time. */
static inline bool cluster_writes(struct cluster *c, unsigned part, uint64_t ns)
{
    uint64_t limit = c->now + ns, index = 0, before = c->committed_max[part];
    uint64_t again = 0;
    while (c->committed_max[part] <= before || c->committed_max[part] < index) {
        int leader = cluster_leader(c, part);
        if (leader >= 0 && c->now >= again) {
            index = cluster_propose(c, (unsigned)leader, part);
            again = c->now + TM_MS(50);
        }
        if (!cluster_step(c, limit))
            return false;
    }
    return true;
}
static inline struct sim_read *cluster_read(struct cluster *c, unsigned node, unsigned part)
{
    struct sim_part *p = &c->node[node].part[part];
    struct sim_read *r = sim_alloc(c, sizeof *r);
    r->at = p;
    r->floor = c->committed_max[part];
    r->seen = p->log.last;
    r->read.owner = r;
    r->read.index = sim_below(c, 2) == 0 ? p->log.last : 0;
    r->next = c->reads;
    c->reads = r;
    enum tm_err err = tm_replica_read(&p->replica, &r->read);
    if (err == TM_OK)
        io_read_done(p, &r->read, true);
    else if (err == TM_ERR_NOTLEADER)
        r->done = true;
    sim_turn(&c->node[node]);
    return r;
}
static inline void cluster_cut_link(struct cluster *c, unsigned a, unsigned b, bool cut)
{
    c->cut_links[a] = cut ? c->cut_links[a] | 1ull << b : c->cut_links[a] & ~(1ull << b);
    c->cut_links[b] = cut ? c->cut_links[b] | 1ull << a : c->cut_links[b] & ~(1ull << a);
}
static inline void cluster_isolate(struct cluster *c, unsigned node, bool cut)
{
    for (unsigned i = 0; i < c->nodes; i++)
        if (i != node)
            cluster_cut_link(c, node, i, cut);
}
/* Everything up to the commit index leaves the log, as after a snapshot. */
static inline void cluster_compact(struct cluster *c, unsigned node, unsigned part)
{
    struct sim_part *p = &c->node[node].part[part];
    uint64_t to = tm_min_u64(p->replica.commit, p->disk.last);
    if (!c->node[node].up || to <= p->log.base.index || c->node[node].ops > 0)
        return;
    struct sim_log prefix = p->log;
    struct tm_members members, before;
    prefix.last = to;
    sim_log_members(&prefix, &members, &before);
    if (members.count == 0)
        return; /* wiped, and not told then who took part */
    p->log.base_members = members;
    sim_log_tail(&prefix, &p->log.base);
    p->disk.base = p->log.base;
    p->disk.base_members = p->log.base_members;
}
/* All data voters that are up have the same log, all of it committed. */
static inline bool cluster_converged(struct cluster *c, unsigned part)
{
    int leader = cluster_leader(c, part);
    if (leader < 0)
        return false;
    struct sim_part *l = &c->node[leader].part[part];
    struct tm_tail want, have;
    sim_log_tail(&l->log, &want);
    for (unsigned i = 0; i < l->replica.members.count; i++) {
        struct sim_node *n = &c->node[l->replica.members.at[i].id.node];
        enum tm_member_role role = l->replica.members.at[i].role;
        if (role == TM_MEMBER_RETURNING || role == TM_MEMBER_WITNESS_RETURNING)
            return false;
        if (!n->up || l->replica.members.at[i].id.disk != n->disk_id)
            return false;
        if (role == TM_MEMBER_WITNESS)
            continue;
        sim_log_tail(&n->part[part].log, &have);
        if (have.index != want.index || have.hash != want.hash ||
            n->part[part].replica.commit != want.index ||
            n->part[part].replica.hs.health != TM_HEALTH_WHOLE)
            return false;
    }
    return !l->replica.hs.insync.count || l->replica.hs.insync.count == 2;
}

/* --- one replica led by hand: its peers are down, the test speaks for them --- */

/* Node 0 of a cluster is up, the others are not. */
static inline struct cluster *puppet_new(unsigned voters, bool witness)
{
    struct cluster *c = cluster_new(1, voters, witness, voters + witness, 1);
    c->by_hand = true;
    cluster_start(c, 0);
    return c;
}
static inline struct tm_replica_msg puppet_msg(unsigned from, enum tm_msg_kind kind, uint64_t term)
{
    return (struct tm_replica_msg){
        .kind = kind, .from = {.disk = 100 + from, .node = (uint8_t)from}, .term = term};
}
/* Tells node `to`, through the encoding. */
static inline void puppet_tell(struct cluster *c, unsigned to, const struct tm_replica_msg *msg)
{
    uint64_t space[1024];
    uint8_t *bytes = (uint8_t *)space;
    struct tm_replica_msg got;
    CHECK(c, msg->body.len < sizeof space - TM_MSG_HEAD_MAX);
    size_t len = tm_replica_msg_encode(msg, msg->body.len, bytes);
    if (msg->body.len > 0)
        memcpy(bytes + len, msg->body.data, msg->body.len);
    CHECK(c, tm_replica_msg_decode(tm_bytes_of(bytes, len + msg->body.len), &got) == TM_OK);
    tm_replica_receive(&c->node[to].part[0].replica, &got);
    sim_turn(&c->node[to]);
}
/* The answer of that kind that node 0 gave to node `to` since the last look; NULL: none. */
static inline const struct tm_replica_msg *puppet_answer(struct cluster *c, unsigned to,
                                                         enum tm_msg_kind kind)
{
    static struct tm_replica_msg taken;
    taken = c->last_msg[0][to][kind];
    c->last_msg[0][to][kind].kind = (enum tm_msg_kind)0;
    return taken.kind == kind ? &taken : NULL;
}
/* A chain of records as a leader would write them. */
struct chain {
    struct tm_tail tail;
    uint8_t bytes[4096] __attribute__((aligned(8)));
    size_t len;
    uint32_t count;
    struct tm_tail before; /* what the first one follows */
};
static inline void chain_begin(struct chain *k, struct tm_tail after)
{
    *k = (struct chain){.tail = after, .before = after};
}
static inline void chain_add(struct chain *k, uint64_t term, uint64_t salt)
{
    struct tm_record *r = (struct tm_record *)(void *)(k->bytes + k->len);
    memset(r, 0, sizeof *r);
    r->kind = TM_RECORD_SYSTEM;
    r->term = term;
    r->index = k->tail.index + 1;
    r->hlc = salt;
    r->prev_hash = k->tail.hash;
    tm_record_seal(r);
    k->len += r->length;
    k->count++;
    k->tail = (struct tm_tail){r->index, r->term, r->checksum};
}
static inline void puppet_append(struct cluster *c, unsigned from, uint64_t term,
                                 const struct chain *k, uint64_t commit)
{
    struct tm_replica_msg m = puppet_msg(from, TM_MSG_APPEND, term);
    m.index = k->before.index;
    m.index_term = k->before.term;
    m.hash = k->before.hash;
    m.commit = commit;
    m.count = k->count;
    m.body = tm_bytes_of(k->bytes, k->len);
    puppet_tell(c, 0, &m);
}

/* For whoever looks at a failed run. */
static inline void cluster_print(const struct cluster *c)
{
    for (unsigned i = 0; i < c->nodes; i++) {
        const struct sim_node *n = &c->node[i];
        for (unsigned k = 0; k < c->parts; k++) {
            const struct tm_replica *r = &n->part[k].replica;
            fprintf(stderr,
                    "node %u part %u: up %d %s term %" PRIu64 " leader %u last %" PRIu64
                    " durable %" PRIu64 " commit %" PRIu64 " verified %" PRIu64 " base %" PRIu64
                    " health %d step %d set %u/%d members %u@%" PRIu64 " own %d deadline %" PRIu64
                    " hs %" PRIu64 "/%" PRIu64 " cut %" PRIx64 "\n",
                    i, k, n->up, tm_replica_role_name(r->role), r->hs.term, r->leader,
                    r->last.index, r->durable, r->commit, r->verified, n->part[k].log.base.index,
                    (int)r->hs.health, (int)r->step, r->hs.insync.count, r->hs.insync.confirmed,
                    r->members.count, r->members.index, r->own, r->deadline / 1000, r->hs_done,
                    r->hs_wanted, c->cut_links[i]);
            for (unsigned j = 0; r->role == TM_ROLE_LEADER && j < r->members.count; j++) {
                const struct tm_peer *p = &r->peer[j];
                fprintf(stderr,
                        "    peer %u role %d disk %" PRIu64 "/%" PRIu64 " state %d next %" PRIu64
                        " match %" PRIu64 " received %" PRIu64 " down %d flights %u\n",
                        p->id.node, (int)p->role, p->disk, p->id.disk, (int)p->state, p->next,
                        p->match, p->received, p->down, p->flights);
            }
        }
    }
}

#endif
