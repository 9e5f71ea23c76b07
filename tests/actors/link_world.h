/* link_world.h: the streams of one link between two clusters, without the clusters: each partition
 * is a log in memory with a leader among a few nodes, on which the product's link_out and link_in
 * run; between them a wire that loses, doubles and reorders whatever the test allows.
 *
 * Time moves in steps of 100 us.  A source partition writes random records of strings and hashes;
 * some of its log is not committed yet, and a change of leader may cut that off.  A target
 * partition is a log and the store that it makes; a change of leader takes back what is not
 * committed, a crash also what the node knew.
 *
 * The truth is read from the logs alone: lw_expect lists what the source has committed for a target
 * partition, by a filter written down a second time here; lw_taken what the target's log holds of
 * that stream.  Both are lists of (stamp, key). */
#ifndef TM_TESTS_ACTORS_LINK_WORLD_H
#define TM_TESTS_ACTORS_LINK_WORLD_H

#include "actors/link_batch.h"
#include "actors/link_in.h"
#include "actors/link_out.h"
#include "actors/link_sync.h"
#include "actors/router.h"
#include "runtime/hlc.h"
#include "runtime/rng.h"
#include "storage/arena.h"
#include "storage/entity.h"
#include "storage/store_link.h"
#include "tests/test.h"

#include <stdarg.h>

#define LW_PARTS    6 /* partitions of a cluster at most */
#define LW_NODES    3 /* nodes of a cluster; a node of the target has block 10 + n */
#define LW_BLOCK    10
#define LW_RECORDS  20000
#define LW_STEP     TM_US(100)
#define LW_WALL     1700000000000ull
#define LW_OURS     7 /* the source's incarnation */
#define LW_OTHERS   8 /* that of a third cluster, whose changes the source has as well */
#define LW_THEIRS   9 /* the target's */
#define LW_SITE     1 /* the source, as the target counts */
#define LW_MESSAGES 4096

struct lw_log {
    struct tm_record *record[LW_RECORDS]; /* [i - 1] is index i */
    uint64_t first, last, commit;
};

struct lw_message {
    bool to_target;
    unsigned node; /* to, or of the target: from */
    uint32_t source, target;
    uint16_t type;
    uint64_t at;
    size_t len;
    uint8_t *bytes;
};

struct lw_source {
    struct lw_log log;
    uint64_t term;
    struct tm_link_out out[LW_PARTS]; /* by target partition */
    bool streams[LW_PARTS];
    struct tm_store *store;
    uint64_t reading; /* a record that is being read; 0: none */
    uint64_t observed;
};

struct lw_target {
    struct lw_log log;
    uint64_t term;
    unsigned leader; /* node; LW_NODES: nobody */
    struct tm_store *store;
};

struct lw {
    uint64_t now;
    struct tm_rng rng;
    struct tm_ctx ctx;
    struct tm_counters counters;
    struct tm_arena arena;
    struct tm_hlc source_clock, target_clock;
    uint64_t source_ahead_ms;
    uint32_t sources, targets;
    struct lw_source source[LW_PARTS];
    struct lw_target target[LW_PARTS];
    struct tm_link_outlet outlet;
    struct tm_link_in *in[LW_NODES];
    bool down[LW_NODES];
    struct tm_link_from from;
    bool unlinked, full_memory;
    bool real_merge; /* as the product does */
    struct tm_link_sync *sync;
    unsigned lose, twice, late, busy; /* in a thousand */
    bool cut;
    uint64_t far_ns;   /* how long each message takes beyond a step */
    bool tells_leader; /* MOVED names the leader */
    uint64_t largest;  /* bytes that a target's record may take */
    struct lw_message wire[LW_MESSAGES];
    unsigned under_way;
    uint8_t *raw, *packed;
    unsigned said; /* lines that the source's ends wrote of their states */
};

/* ---- ctx ---- */

static inline uint64_t lw_now(void *host)
{
    return ((struct lw *)host)->now;
}
static inline uint64_t lw_wall(void *host)
{
    return LW_WALL + ((struct lw *)host)->now / TM_MS(1);
}
static inline uint64_t lw_random(void *host)
{
    return tm_rng_next(&((struct lw *)host)->rng);
}
TM_PRINTF(4, 5)
static inline void lw_log_line(void *host, enum tm_log_level level, const char *event,
                               const char *fmt, ...)
{
    ((struct lw *)host)->said += strcmp(event, "link_out") == 0;
    if (getenv("TM_VERBOSE") == NULL)
        return;
    va_list args;
    va_start(args, fmt);
    printf("    %9" PRIu64 " us %c %s ", ((struct lw *)host)->now / 1000, "DIWE"[level], event);
    vprintf(fmt, args);
    printf("\n");
    va_end(args);
}

static inline bool lw_chance(struct lw *w, unsigned in_a_thousand)
{
    return tm_rng_below(&w->rng, 1000) < in_a_thousand;
}

/* ---- logs ---- */

static inline uint64_t lw_hash_at(const struct lw_log *l, uint64_t index)
{
    return index == 0 ? 0 : l->record[index - 1]->checksum;
}

static inline void lw_append(struct lw_log *l, const struct tm_record *r)
{
    CU_ASSERT_FATAL(r->index == l->last + 1 && r->index <= LW_RECORDS);
    l->record[l->last] = malloc(r->length);
    memcpy(l->record[l->last++], r, r->length);
}

static inline void lw_cut(struct lw_log *l, uint64_t to)
{
    CU_ASSERT_FATAL(to >= l->commit);
    while (l->last > to)
        free(l->record[--l->last]);
}

/* ---- the filter, a second time ---- */

static inline bool lw_ships(const void *host, struct tm_bytes type)
{
    (void)host;
    return !tm_bytes_equal(type, tm_bytes_str("Secret"));
}
static inline bool lw_forwards(const void *host, uint64_t origin)
{
    (void)host;
    return origin == LW_OURS;
}
static inline bool lw_may_enter(const void *host, struct tm_bytes type)
{
    (void)host;
    return !tm_bytes_equal(type, tm_bytes_str("Local"));
}

/* ---- the wire ---- */

static inline void lw_put(struct lw *w, const struct lw_message *like,
                          const struct tm_bytes *pieces, unsigned count)
{
    struct lw_message m = *like;
    if (w->cut || lw_chance(w, w->lose) || w->under_way == LW_MESSAGES)
        return;
    for (unsigned i = 0; i < count; i++)
        m.len += pieces[i].len;
    m.at = w->now + LW_STEP + w->far_ns +
           (lw_chance(w, w->late) ? tm_rng_below(&w->rng, TM_MS(20)) : 0);
    m.bytes = aligned_alloc(8, tm_align_up(m.len, 8) + 8);
    size_t at = 0;
    for (unsigned i = 0; i < count; i++) {
        if (pieces[i].len > 0)
            memcpy(m.bytes + at, pieces[i].data, pieces[i].len);
        at += pieces[i].len;
    }
    w->wire[w->under_way++] = m;
}

static inline void lw_post(struct lw *w, const struct lw_message *m, const struct tm_bytes *pieces,
                           unsigned count)
{
    lw_put(w, m, pieces, count);
    if (lw_chance(w, w->twice))
        lw_put(w, m, pieces, count);
}

static inline enum tm_err lw_out_send(void *host, struct tm_link_out *out, unsigned block,
                                      uint16_t type, const struct tm_bytes *pieces, unsigned count)
{
    struct lw *w = host;
    CU_ASSERT_FATAL(block >= LW_BLOCK && block < LW_BLOCK + LW_NODES);
    if (w->down[block - LW_BLOCK] || w->cut)
        return TM_ERR_CLOSED;
    if (lw_chance(w, w->busy))
        return TM_ERR_FULL;
    struct lw_message m = {.to_target = true,
                           .node = block - LW_BLOCK,
                           .source = out->source,
                           .target = out->target,
                           .type = type};
    lw_post(w, &m, pieces, count);
    return TM_OK;
}

static inline void lw_deliver(struct lw *w, struct lw_message *m)
{
    struct tm_bytes body = tm_bytes_of(m->bytes, m->len);
    struct tm_place from = {.node = 0, .worker = (uint8_t)m->target};
    if (m->to_target && w->in[m->node] != NULL && !w->down[m->node])
        tm_link_in_message(w->in[m->node], LW_SITE, from, m->type, m->target, body);
    if (!m->to_target && w->source[m->source].streams[m->target])
        tm_link_out_message(&w->source[m->source].out[m->target], LW_BLOCK + m->node, m->type,
                            body);
}

static inline void lw_carry(struct lw *w)
{
    for (unsigned i = 0; i < w->under_way;) {
        if (w->wire[i].at > w->now) {
            i++;
            continue;
        }
        struct lw_message m = w->wire[i];
        memmove(&w->wire[i], &w->wire[i + 1], (--w->under_way - i) * sizeof m);
        lw_deliver(w, &m);
        free(m.bytes);
    }
}

/* ---- what the streams ask ---- */

static inline uint64_t lw_first(void *host, const struct tm_link_out *out)
{
    (void)host;
    return ((struct lw_source *)out->log)->log.first;
}
static inline uint64_t lw_commit(void *host, const struct tm_link_out *out)
{
    (void)host;
    return ((struct lw_source *)out->log)->log.commit;
}
static inline uint64_t lw_last(void *host, const struct tm_link_out *out)
{
    (void)host;
    return ((struct lw_source *)out->log)->log.last;
}
static inline bool lw_meta(void *host, const struct tm_link_out *out, uint64_t index,
                           uint64_t *term, uint64_t *hash)
{
    const struct lw_log *l = &((struct lw_source *)out->log)->log;
    (void)host;
    if (index > l->last || index + 1 < l->first)
        return false;
    *term = index == 0 ? 0 : l->record[index - 1]->term;
    *hash = lw_hash_at(l, index);
    return true;
}
static inline enum tm_err lw_record(void *host, const struct tm_link_out *out, uint64_t index,
                                    const struct tm_record **record)
{
    struct lw *w = host;
    struct lw_source *s = out->log;
    CU_ASSERT_FATAL(index <= (w->outlet.stages ? s->log.last : s->log.commit));
    if (index < s->log.first)
        return TM_ERR_NOTFOUND;
    if (index > s->log.commit && lw_chance(w, w->busy))
        return TM_ERR_NOTFOUND;
    if (index <= s->log.commit && s->reading == 0 && lw_chance(w, w->busy)) {
        s->reading = index;
        return TM_ERR_AGAIN;
    }
    s->reading = 0;
    *record = s->log.record[index - 1];
    return TM_OK;
}
static inline struct tm_store *lw_source_store(void *host, const struct tm_link_out *out)
{
    (void)host;
    return ((struct lw_source *)out->log)->store;
}
static inline void lw_observe(void *host, const struct tm_link_out *out, uint64_t hlc)
{
    struct lw_source *s = out->log;
    (void)host;
    s->observed = tm_max_u64(s->observed, hlc);
}
static const struct tm_link_out_ops lw_out_ops = {.send = lw_out_send,
                                                  .first = lw_first,
                                                  .commit = lw_commit,
                                                  .last = lw_last,
                                                  .meta = lw_meta,
                                                  .record = lw_record,
                                                  .observe = lw_observe,
                                                  .store = lw_source_store};

/* ---- what a target node's streams ask; host is the node ---- */

struct lw_node {
    struct lw *w;
    unsigned id;
};
static struct lw_node lw_nodes[LW_NODES];

static inline const struct tm_link_from *lw_from(void *host, unsigned site)
{
    struct lw *w = ((struct lw_node *)host)->w;
    return site == LW_SITE && !w->unlinked ? &w->from : NULL;
}
static inline const struct tm_link_from *lw_promoted(void *host, const uint8_t uuid[16])
{
    struct lw *w = ((struct lw_node *)host)->w;
    return w->from.epoch > 0 && memcmp(uuid, w->from.uuid, 16) == 0 ? &w->from : NULL;
}
static inline bool lw_leads(void *host, uint32_t t, unsigned *block)
{
    const struct lw_node *n = host;
    *block = n->w->tells_leader && n->w->target[t].leader < LW_NODES
                 ? LW_BLOCK + n->w->target[t].leader
                 : TM_LINK_NOBODY;
    return n->w->target[t].leader == n->id;
}
static inline struct tm_store *lw_store(void *host, uint32_t t)
{
    return ((struct lw_node *)host)->w->target[t].store;
}
static inline enum tm_err lw_write(void *host, uint32_t t, uint64_t hlc,
                                   void (*fill)(struct tm_store *s, void *arg), void *arg,
                                   uint64_t *index)
{
    static uint64_t buf[TM_RECORD_MAX / 8];
    struct lw *w = ((struct lw_node *)host)->w;
    struct lw_target *target = &w->target[t];
    CU_ASSERT_FATAL(target->leader == ((struct lw_node *)host)->id);
    *index = 0;
    if (lw_chance(w, w->busy))
        return TM_ERR_FULL;
    tm_hlc_observe(&w->target_clock, hlc);
    struct tm_record head = {.partition = t,
                             .term = target->term,
                             .index = target->log.last + 1,
                             .hlc = tm_hlc_now(&w->target_clock, lw_wall(w)),
                             .origin = LW_THEIRS,
                             .prev_hash = lw_hash_at(&target->log, target->log.last)},
                     *r;
    CU_ASSERT(head.hlc > hlc);
    tm_store_begin(target->store, buf, (size_t)w->largest, &head);
    fill(target->store, arg);
    enum tm_err e = tm_store_finish(target->store, &r);
    if (e != TM_OK || r == NULL)
        return e;
    CU_ASSERT_EQUAL(tm_record_check(r, r->length), TM_OK);
    lw_append(&target->log, r);
    *index = r->index;
    return TM_OK;
}
static inline uint64_t lw_target_commit(void *host, uint32_t t)
{
    return ((struct lw_node *)host)->w->target[t].log.commit;
}
static inline bool lw_oom(void *host)
{
    return ((struct lw_node *)host)->w->full_memory;
}
static inline void lw_in_send(void *host, unsigned site, struct tm_place to, uint32_t p,
                              uint16_t type, const struct tm_bytes *pieces, unsigned count)
{
    const struct lw_node *n = host;
    CU_ASSERT_EQUAL(site, LW_SITE);
    struct lw_message m = {.node = n->id, .source = p, .target = to.worker, .type = type};
    lw_post(n->w, &m, pieces, count);
}

/* As if the target wrote nothing itself: whatever comes is newer than what is there, except for
 * what a flush removes. */
static inline enum tm_link_outcome lw_merge(void *host, struct tm_store *s,
                                            const struct tm_link_change *change)
{
    const struct tm_op *op = change->op;
    struct tm_op_version stamp = change->stamp;
    const struct tm_entity *e = tm_store_find(s, change->key);
    struct lw *w = ((struct lw_node *)host)->w;
    if (w->real_merge)
        return change->key.len > 0 ? tm_link_merge(s, change, lw_wall(w), NULL) : TM_LINK_KNOWN;
    if (op->code == TM_OP_DEL_ENTITY &&
        (e == NULL || tm_stamp_compare(tm_store_stamp_of(s, e), stamp) > 0))
        return TM_LINK_LOST;
    tm_store_stamp(s, stamp.hlc, stamp.origin);
    if (op->code == TM_OP_DEL_ENTITY)
        tm_store_del(s, change->key);
    else
        tm_store_write(s, change->key, change->type, op);
    return TM_LINK_APPLIED;
}
static const struct tm_link_in_ops lw_in_ops = {.from = lw_from,
                                                .promoted = lw_promoted,
                                                .leads = lw_leads,
                                                .store = lw_store,
                                                .write = lw_write,
                                                .commit = lw_target_commit,
                                                .out_of_memory = lw_oom,
                                                .send = lw_in_send,
                                                .merge = lw_merge};

/* ---- life ---- */

static inline void lw_noop(struct lw *w, uint32_t p);

/* A new leader at the source: what is not committed may be lost, streams begin anew. */
static inline void lw_source_lead(struct lw *w, uint32_t p)
{
    struct lw_source *s = &w->source[p];
    s->term++;
    lw_cut(&s->log, s->log.commit + tm_rng_below(&w->rng, s->log.last - s->log.commit + 1));
    if (w->outlet.stages) { /* it streams when its first record is committed */
        lw_noop(w, p);
        s->log.commit = s->log.last;
    }
    for (uint32_t t = 0; t < w->targets; t++) {
        if (s->streams[t])
            tm_link_out_end(&s->out[t]);
        s->streams[t] = tm_link_overlap(p, w->sources, t, w->targets);
        if (s->streams[t])
            tm_link_out_init(&s->out[t], &w->outlet, s, p, t);
    }
}

static inline void lw_node_start(struct lw *w, unsigned n)
{
    struct tm_link_in_config c = {.ctx = &w->ctx,
                                  .ops = &lw_in_ops,
                                  .host = &lw_nodes[n],
                                  .targets = w->targets,
                                  .raw = w->raw};
    w->in[n] = tm_link_in_new(&c);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w->in[n]);
}

/* A new leader at the target, which has everything committed and some of the rest. */
static inline void lw_target_lead(struct lw *w, uint32_t t, unsigned node)
{
    struct lw_target *target = &w->target[t];
    if (target->leader < LW_NODES && w->in[target->leader] != NULL)
        tm_link_in_lost(w->in[target->leader], t);
    uint64_t keep =
        target->log.commit + tm_rng_below(&w->rng, target->log.last - target->log.commit + 1);
    tm_store_undo(target->store, keep);
    lw_cut(&target->log, keep);
    target->log.commit = keep; /* by the new leader's first record */
    tm_store_commit(target->store, keep);
    target->term++;
    target->leader = node;
}

static inline void lw_crash(struct lw *w, unsigned n)
{
    w->down[n] = true;
    for (uint32_t t = 0; t < w->targets; t++)
        if (w->target[t].leader == n)
            lw_target_lead(w, t, (n + 1) % LW_NODES);
    tm_link_in_free(w->in[n]);
    w->in[n] = NULL;
    for (uint32_t p = 0; p < w->sources; p++)
        for (uint32_t t = 0; t < w->targets; t++)
            if (w->source[p].streams[t])
                tm_link_out_down(&w->source[p].out[t], LW_BLOCK + n);
}

static inline struct lw *lw_new(uint64_t seed, uint32_t sources, uint32_t targets)
{
    struct lw *w = calloc(1, sizeof *w);
    tm_rng_seed(&w->rng, seed);
    w->now = TM_SECONDS(1);
    w->sources = sources;
    w->targets = targets;
    w->tells_leader = true;
    w->largest = TM_RECORD_MAX;
    w->raw = aligned_alloc(8, TM_LINK_RAW_MAX);
    w->sync = calloc(1, sizeof *w->sync);
    w->packed = aligned_alloc(8, TM_LINK_RAW_MAX);
    w->ctx = (struct tm_ctx){.host = w,
                             .now_ns = lw_now,
                             .wall_ms = lw_wall,
                             .random = lw_random,
                             .log = lw_log_line,
                             .counters = &w->counters};
    CU_ASSERT_EQUAL_FATAL(tm_arena_open(&w->arena), TM_OK);
    w->from = (struct tm_link_from){.uuid = {1, 2, 3},
                                    .sources = sources,
                                    .source = "source",
                                    .skew_ms = 500,
                                    .may_enter = lw_may_enter,
                                    .ships = lw_ships,
                                    .filter = 1};
    w->outlet = (struct tm_link_outlet){
        .ctx = &w->ctx,
        .ops = &lw_out_ops,
        .host = w,
        .target = "target",
        .filter = {.ships = lw_ships, .forwards = lw_forwards, .hash = 1},
        .limits = {.batch_bytes = 2000, .batch_delay_us = 1000, .window_bytes = 8000},
        .incarnation = LW_OURS,
        .epoch = 1,
        .sources = sources,
        .targets = targets,
        .block_count = LW_NODES,
        .sync = w->sync,
        .raw = w->raw,
        .packed = w->packed};
    for (unsigned n = 0; n < LW_NODES; n++) {
        w->outlet.blocks[n] = (uint8_t)(LW_BLOCK + n);
        lw_nodes[n] = (struct lw_node){w, n};
        lw_node_start(w, n);
    }
    for (uint32_t p = 0; p < sources; p++) {
        w->source[p].log.first = 1;
        w->source[p].store = tm_store_new(&w->arena, p);
        lw_source_lead(w, p);
    }
    for (uint32_t t = 0; t < targets; t++) {
        w->target[t].leader = (unsigned)tm_rng_below(&w->rng, LW_NODES);
        w->target[t].term = 1;
        w->target[t].log.first = 1;
        w->target[t].store = tm_store_new(&w->arena, t);
    }
    return w;
}

static inline void lw_free(struct lw *w)
{
    for (unsigned n = 0; n < LW_NODES; n++)
        tm_link_in_free(w->in[n]);
    for (uint32_t i = 0; i < LW_PARTS; i++) {
        w->source[i].log.commit = w->target[i].log.commit = 0;
        lw_cut(&w->source[i].log, 0);
        lw_cut(&w->target[i].log, 0);
        if (w->target[i].store != NULL)
            tm_store_delete(w->target[i].store);
        if (w->source[i].store != NULL)
            tm_store_delete(w->source[i].store);
    }
    for (unsigned i = 0; i < w->under_way; i++)
        free(w->wire[i].bytes);
    tm_arena_close(&w->arena);
    free(w->raw);
    free(w->sync);
    free(w->packed);
    free(w);
}

/* ---- time ---- */

static inline void lw_commit_some(struct lw *w, struct lw_log *l, bool all)
{
    l->commit += all ? l->last - l->commit : tm_rng_below(&w->rng, l->last - l->commit + 1);
}

/* The source's state follows what is committed. */
static inline void lw_apply(struct lw_source *s)
{
    while (tm_store_applied(s->store) < s->log.commit) {
        enum tm_err e = tm_store_apply(s->store, s->log.record[tm_store_applied(s->store)], false);
        CU_ASSERT_EQUAL_FATAL(e, TM_OK);
    }
}

/* `calm`: everything that is written is committed at once. */
static inline void lw_step(struct lw *w, bool calm)
{
    w->now += LW_STEP;
    lw_carry(w);
    for (uint32_t p = 0; p < w->sources; p++) {
        lw_commit_some(w, &w->source[p].log, calm);
        lw_apply(&w->source[p]);
        for (uint32_t t = 0; t < w->targets; t++)
            if (w->source[p].streams[t])
                tm_link_out_turn(&w->source[p].out[t]);
    }
    for (uint32_t t = 0; t < w->targets; t++) {
        lw_commit_some(w, &w->target[t].log, calm);
        tm_store_commit(w->target[t].store, w->target[t].log.commit);
    }
    for (unsigned n = 0; n < LW_NODES; n++)
        if (w->in[n] != NULL)
            (void)tm_link_in_turn(w->in[n]);
    for (unsigned n = 0; n < LW_NODES && w->now % TM_MS(100) == 0; n++)
        if (w->in[n] != NULL)
            tm_link_in_tick(w->in[n]);
}

static inline void lw_run(struct lw *w, uint64_t ns)
{
    for (uint64_t end = w->now + ns; w->now < end;)
        lw_step(w, true);
}

/* ---- writing at the source ---- */

static uint64_t lw_space[1 << 15];

static inline void lw_begin(struct lw *w, struct tm_record_builder *b, uint32_t p,
                            enum tm_record_kind kind)
{
    const struct lw_source *s = &w->source[p];
    struct tm_record head = {.partition = p,
                             .term = s->term,
                             .index = s->log.last + 1,
                             .hlc = tm_hlc_now(&w->source_clock, lw_wall(w) + w->source_ahead_ms),
                             .origin = LW_OURS,
                             .prev_hash = lw_hash_at(&s->log, s->log.last)};
    tm_record_begin(b, lw_space, sizeof lw_space, kind, &head);
}

static inline void lw_op(struct tm_record_builder *b, const char *key, enum tm_entity_type type,
                         enum tm_op_code code, struct tm_bytes name, struct tm_bytes value)
{
    struct tm_op op = {.code = code, .name = name, .value = value}, at;
    CU_ASSERT_EQUAL_FATAL(tm_record_op(b, tm_bytes_str(key), type, &op, &at), TM_OK);
}

static inline void lw_end(struct lw *w, struct tm_record_builder *b, uint32_t p)
{
    lw_append(&w->source[p].log, tm_record_end(b));
}

static inline void lw_noop(struct lw *w, uint32_t p)
{
    struct tm_record_builder b;
    lw_begin(w, &b, p, TM_RECORD_NOOP);
    lw_end(w, &b, p);
}

/* A key of that source partition. */
static inline const char *lw_key(struct lw *w, uint32_t p, const char *type, char *out, size_t cap)
{
    do
        snprintf(out, cap, "%s:%u", type, (unsigned)tm_rng_below(&w->rng, 400));
    while (tm_partition_of_slot(tm_slot_of_key(tm_bytes_str(out)), w->sources) != p);
    return out;
}

/* One record with one string of that type. */
static inline void lw_set(struct lw *w, uint32_t p, const char *type, const char *value)
{
    struct tm_record_builder b;
    char key[32];
    lw_begin(w, &b, p, TM_RECORD_EFFECT);
    lw_op(&b, lw_key(w, p, type, key, sizeof key), TM_ENTITY_STRING, TM_OP_SET_FIELD,
          tm_bytes_of(NULL, 0), tm_bytes_str(value));
    lw_end(w, &b, p);
}

/* Whose the key is, at either end. */
static inline uint32_t lw_source_of(const struct lw *w, const char *key)
{
    return tm_partition_of_slot(tm_slot_of_key(tm_bytes_str(key)), w->sources);
}
static inline struct lw_target *lw_target_of(struct lw *w, const char *key)
{
    return &w->target[tm_partition_of_slot(tm_slot_of_key(tm_bytes_str(key)), w->targets)];
}

/* An entity that the target's clients wrote; hlc 0: now, by its clock. */
static inline void lw_put_at_target(struct lw *w, const char *key, uint64_t hlc)
{
    struct lw_target *t = lw_target_of(w, key);
    struct tm_record head = {.term = t->term,
                             .index = t->log.last + 1,
                             .hlc = hlc != 0 ? hlc : tm_hlc_now(&w->target_clock, lw_wall(w)),
                             .origin = LW_THEIRS,
                             .prev_hash = lw_hash_at(&t->log, t->log.last)},
                     *r;
    tm_store_begin(t->store, lw_space, sizeof lw_space, &head);
    tm_store_set_field(t->store, tm_bytes_str(key), TM_ENTITY_STRING, tm_bytes_of(NULL, 0),
                       tm_bytes_str("theirs"));
    CU_ASSERT_EQUAL_FATAL(tm_store_finish(t->store, &r), TM_OK);
    lw_append(&t->log, r);
}

/* A random record: a NOOP, or some operations of several types, some made elsewhere. */
static inline void lw_scribble(struct lw *w, uint32_t p)
{
    static const char *const types[] = {"Order", "Item", "Secret", "Order"};
    struct tm_record_builder b;
    char key[32], value[64];
    bool noop = lw_chance(w, 50);
    lw_begin(w, &b, p, noop ? TM_RECORD_NOOP : TM_RECORD_EFFECT);
    for (uint64_t i = noop ? 0 : tm_rng_between(&w->rng, 1, 4); i > 0; i--) {
        const char *type = types[tm_rng_below(&w->rng, 4)];
        bool hash = strcmp(type, "Item") == 0;
        lw_key(w, p, type, key, sizeof key);
        struct tm_op_version v = {0};
        if (lw_chance(w, 200))
            v = (struct tm_op_version){tm_hlc_now(&w->source_clock, lw_wall(w)), LW_OTHERS};
        enum tm_entity_type kind = hash ? TM_ENTITY_HASH : TM_ENTITY_STRING;
        lw_op(&b, key, kind, TM_OP_STAMPED, tm_bytes_of(NULL, 0), tm_bytes_of(&v, sizeof v));
        snprintf(value, sizeof value, "%" PRIu64, tm_rng_next(&w->rng));
        char field = (char)('a' + (char)tm_rng_below(&w->rng, 5));
        if (lw_chance(w, 150))
            lw_op(&b, key, kind, TM_OP_DEL_ENTITY, tm_bytes_of(NULL, 0), tm_bytes_of(NULL, 0));
        else
            lw_op(&b, key, kind, TM_OP_SET_FIELD, tm_bytes_of(&field, hash ? 1 : 0),
                  tm_bytes_str(value));
    }
    lw_end(w, &b, p);
}

static inline void lw_scribble_some(struct lw *w, unsigned records)
{
    for (unsigned i = 0; i < records; i++)
        lw_scribble(w, (uint32_t)tm_rng_below(&w->rng, w->sources));
}

/* Of both ends together. */
static inline uint64_t lw_counted(const struct lw *w, enum tm_counter which)
{
    return tm_counter_get(&w->counters, which);
}

/* ---- the truth ---- */

struct lw_change {
    struct tm_op_version stamp;
    char key[32], name[8], value[64];
    enum tm_op_code code;
};

struct lw_list {
    struct lw_change *at;
    unsigned count, cap;
};

static inline void lw_list_add(struct lw_list *l, struct tm_op_version stamp, struct tm_bytes key,
                               const struct tm_op *op)
{
    if (l->count == l->cap) {
        l->cap = l->cap == 0 ? 1024 : 2 * l->cap;
        l->at = realloc(l->at, l->cap * sizeof *l->at);
        CU_ASSERT_PTR_NOT_NULL_FATAL(l->at);
    }
    struct lw_change *c = &l->at[l->count++];
    *c = (struct lw_change){.stamp = stamp, .code = op->code};
    snprintf(c->key, sizeof c->key, "%.*s", (int)key.len, (const char *)key.data);
    snprintf(c->name, sizeof c->name, "%.*s", (int)op->name.len, (const char *)op->name.data);
    snprintf(c->value, sizeof c->value, "%.*s", (int)op->value.len, (const char *)op->value.data);
}

/* Calls for each operation of the log's committed records that is an entity's, with its stamp. */
static inline void lw_each(const struct lw_log *log, struct lw_list *into, uint32_t p, uint32_t of,
                           bool shipped)
{
    for (uint64_t i = 0; i < log->commit; i++) {
        const struct tm_record *r = log->record[i];
        struct tm_bytes rest = tm_record_body(r);
        struct tm_op_version own = {r->hlc, r->origin}, stamp = own;
        struct tm_change c;
        struct tm_op op;
        while (r->kind == TM_RECORD_EFFECT && tm_change_next(&rest, &c))
            while (tm_op_next(&c.ops, &op)) {
                if (op.code == TM_OP_STAMPED) {
                    memcpy(&stamp, op.value.data, sizeof stamp);
                    if (stamp.hlc == 0)
                        stamp = own;
                    continue;
                }
                bool ours = stamp.origin == LW_OURS && c.type != TM_ENTITY_SHADOW &&
                            tm_partition_of_slot(tm_slot_of_key(c.key), of) == p;
                if (ours && (!shipped || memcmp(c.key.data, "Secret:", 7) != 0))
                    lw_list_add(into, stamp, c.key, &op);
            }
    }
}

/* What the source has committed for that target partition; what the target has of that source's. */
static inline struct lw_list lw_expect(const struct lw *w, uint32_t p, uint32_t t)
{
    struct lw_list l = {0};
    lw_each(&w->source[p].log, &l, t, w->targets, true);
    return l;
}
static inline struct lw_list lw_taken(const struct lw *w, uint32_t p, uint32_t t)
{
    struct lw_list l = {0};
    lw_each(&w->target[t].log, &l, p, w->sources, false);
    return l;
}

/* Deletions of what is not there leave no trace at the target. */
static inline bool lw_same(const struct lw_change *a, const struct lw_change *b)
{
    return tm_stamp_compare(a->stamp, b->stamp) == 0 && strcmp(a->key, b->key) == 0 &&
           a->code == b->code && strcmp(a->name, b->name) == 0 && strcmp(a->value, b->value) == 0;
}

/* The target has the first operations of the source's for it, each once and in order; all of them
 * if `whole`. */
static inline void lw_check_prefix(const struct lw *w, bool whole)
{
    for (uint32_t p = 0; p < w->sources; p++)
        for (uint32_t t = 0; t < w->targets; t++) {
            struct lw_list want = lw_expect(w, p, t), have = lw_taken(w, p, t);
            unsigned i = 0;
            for (unsigned k = 0; k < have.count; k++, i++) {
                while (i < want.count && want.at[i].code == TM_OP_DEL_ENTITY &&
                       !lw_same(&want.at[i], &have.at[k]))
                    i++;
                CU_ASSERT_FATAL(i < want.count && lw_same(&want.at[i], &have.at[k]));
            }
            while (whole && i < want.count && want.at[i].code == TM_OP_DEL_ENTITY)
                i++;
            CU_ASSERT(!whole || i == want.count);
            free(want.at);
            free(have.at);
        }
}

/* Every stream stands at its source's end, or has passed over all that follows. */
static inline bool lw_settled(const struct lw *w)
{
    for (uint32_t p = 0; p < w->sources; p++)
        for (uint32_t t = 0; t < w->targets; t++) {
            struct tm_link_lag lag = {0};
            if (w->source[p].streams[t])
                lag = tm_link_out_lag(&w->source[p].out[t]);
            if (lag.records != 0)
                return false;
        }
    return true;
}

static inline bool lw_settle(struct lw *w, uint64_t within)
{
    for (uint64_t end = w->now + within; w->now < end;) {
        lw_step(w, true);
        if (lw_settled(w))
            return true;
    }
    return false;
}

#endif
