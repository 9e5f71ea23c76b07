/* replica_cluster.h: a cluster of replicas in one thread and virtual time, for tests.
 *
 * Each node has a disk that completes operations in order and later than asked, an image of what is
 * durable, and replicas over it; a network of encoded messages with delay, loss, doubling and cut
 * links joins them (replica_world.h).  A crash keeps the durable image (and a random part of what
 * was on its way); messages of earlier incarnations are not delivered.  One seed gives one run.
 *
 * Every event is followed by checks of the invariants over all nodes. */
#ifndef TM_TESTS_ACTORS_REPLICA_CLUSTER_H
#define TM_TESTS_ACTORS_REPLICA_CLUSTER_H

#include "replica_world.h"

/* --- nodes --- */

static inline uint64_t sim_now(void *host)
{
    return ((struct sim_node *)host)->c->now;
}
static inline uint64_t sim_wall(void *host)
{
    const struct sim_node *n = host;
    return n->c->now / TM_MS(1) + (uint64_t)((int64_t)1000000 + n->clock_ms);
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
    tm_replica_snapshot_installed(&p->replica, &op->snapshot.tail, &op->snapshot.members, false);
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
/* Appends one record at node, whose turn goes on: it is not shipped yet; its index, or 0. */
static inline uint64_t cluster_append(struct cluster *c, unsigned node, unsigned part)
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
    return slot.index;
}
/* Appends one record at node and ships it; its index, or 0. */
static inline uint64_t cluster_propose(struct cluster *c, unsigned node, unsigned part)
{
    uint64_t index = cluster_append(c, node, part);
    if (index != 0)
        sim_turn(&c->node[node]);
    return index;
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
