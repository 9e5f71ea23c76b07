/* partition_world.h: one partition on three nodes, by hand: the product's partition, replica,
 * heartbeats, store and log over a simulated disk each, joined by a wire that the test cuts.
 *
 * Time moves in steps of 200 us: what was sent in the last one is delivered, disks complete (unless
 * the test stalls them), every node takes a turn.  Requests are commands given as text; answers are
 * kept until they are asked for, and a second answer to one request ends the test. */
#ifndef TM_TESTS_ACTORS_PARTITION_WORLD_H
#define TM_TESTS_ACTORS_PARTITION_WORLD_H

#include "actors/heartbeat.h"
#include "actors/partition.h"
#include "tests/sim/sim_disk.h"
#include "tests/test.h"

#include <stdarg.h>

#define PW_NODES   3
#define PW_ANSWERS 4096
#define PW_WALL    1700000000000ull
#define PW_STEP    TM_US(200)

struct pw_message {
    struct pw_message *next;
    unsigned from, to;
    struct tm_message_head head;
    size_t len;
    uint8_t bytes[] __attribute__((aligned(8)));
};

struct pw_answer {
    bool given;
    enum tm_answer_status status;
    enum tm_err err;
    uint64_t index, term, watch_token;
    uint32_t copies;
    char reply[64]; /* its beginning, CRLF as a blank, the last one left out */
};

struct pw_node {
    struct pw *w;
    unsigned id;
    bool up;
    uint64_t ahead_ms; /* its wall clock */
    uint64_t incarnation, boot;
    struct tm_sim_disk *sd;
    struct tm_ctx ctx;
    struct tm_counters counters;
    struct tm_hlc hlc;
    struct tm_arena arena;
    struct tm_beat beat;
    struct tm_beat_link links[PW_NODES];
    struct tm_partition_env env;
    struct tm_partition *p;
    uint64_t next_slow;
    unsigned snapshots_wanted;
};

struct pw {
    uint64_t now, rng;
    struct tm_options options;
    struct tm_replica_options replica_options;
    struct tm_beat_options beat_options;
    struct pw_node node[PW_NODES];
    bool cut[PW_NODES][PW_NODES]; /* from, to */
    struct pw_message *queue, **queue_end;
    struct pw_answer answers[PW_ANSWERS];
    uint64_t asked; /* the newest id */
};

/* ---- a node's world ---- */

static inline uint64_t pw_random(void *host)
{
    struct pw *w = ((struct pw_node *)host)->w;
    uint64_t z = (w->rng += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static inline uint64_t pw_now(void *host)
{
    return ((struct pw_node *)host)->w->now;
}

static inline uint64_t pw_wall(void *host)
{
    const struct pw_node *n = host;
    return PW_WALL + n->ahead_ms + n->w->now / 1000000;
}

TM_PRINTF(4, 5)
static inline void pw_log(void *host, enum tm_log_level level, const char *event, const char *fmt,
                          ...)
{
    if (getenv("TM_VERBOSE") == NULL)
        return;
    va_list args;
    va_start(args, fmt);
    printf("    %9" PRIu64 " us node %u %c %s ", ((struct pw_node *)host)->w->now / 1000,
           ((struct pw_node *)host)->id, "DIWE"[level], event);
    vprintf(fmt, args);
    printf("\n");
    va_end(args);
}

static inline void pw_post(struct pw *w, unsigned from, unsigned to,
                           const struct tm_message_head *head, const struct tm_bytes *pieces,
                           unsigned count)
{
    size_t len = 0;
    for (unsigned i = 0; i < count; i++)
        len += pieces[i].len;
    if (w->cut[from][to])
        return;
    struct pw_message *m = malloc(sizeof *m + len);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    *m = (struct pw_message){.from = from, .to = to, .head = *head};
    m->head.node = (uint8_t)from;
    for (unsigned i = 0; i < count; m->len += pieces[i].len, i++)
        if (pieces[i].len > 0)
            memcpy(m->bytes + m->len, pieces[i].data, pieces[i].len);
    *w->queue_end = m;
    w->queue_end = &m->next;
}

static inline void pw_send(void *host, struct tm_partition *p, unsigned node,
                           const struct tm_bytes *pieces, unsigned count)
{
    struct pw_node *n = host;
    (void)p;
    pw_post(n->w, n->id, node, &(struct tm_message_head){.type = TM_MESSAGE_RAFT}, pieces, count);
}

static inline void pw_tell(void *host, struct tm_partition *p, unsigned node,
                           const struct tm_message_head *head, const struct tm_bytes *pieces,
                           unsigned count)
{
    struct pw_node *n = host;
    (void)p;
    pw_post(n->w, n->id, node, head, pieces, count);
}

static inline void pw_beat_send(void *host, unsigned node, unsigned worker, struct tm_bytes message)
{
    struct pw_node *n = host;
    (void)worker;
    pw_post(n->w, n->id, node, &(struct tm_message_head){.type = TM_MESSAGE_HEARTBEAT}, &message,
            1);
}

static inline uint64_t pw_flush_age(void *host)
{
    return tm_wal_stalled_ns(tm_log_set_wal(((struct pw_node *)host)->env.logs));
}

static inline void pw_answered(void *host, struct tm_place to, const struct tm_answer *answer)
{
    struct pw *w = ((struct pw_node *)host)->w;
    CU_ASSERT_FATAL(answer->id >= 1 && answer->id <= w->asked && to.node < PW_NODES);
    struct pw_answer *a = &w->answers[answer->id];
    CU_ASSERT_FATAL(!a->given); /* every request is answered once */
    *a = (struct pw_answer){.given = true,
                            .status = answer->status,
                            .err = answer->err,
                            .index = answer->index,
                            .term = answer->term,
                            .watch_token = answer->watch_token,
                            .copies = answer->copies};
    size_t n = 0;
    for (size_t i = 0; i < answer->reply.len && n < sizeof a->reply - 1; i++)
        if (answer->reply.data[i] != '\n')
            a->reply[n++] = answer->reply.data[i] == '\r' ? ' ' : (char)answer->reply.data[i];
    a->reply[n > 0 ? n - 1 : 0] = '\0';
}

static inline void pw_leads(void *host, struct tm_partition *p, uint64_t term)
{
    (void)host;
    (void)p;
    (void)term;
}

static inline bool pw_lost(void *host, struct tm_partition *p, uint64_t from, uint64_t to)
{
    (void)host;
    (void)p;
    return from <= to;
}

static inline void pw_snapshot_needed(void *host, struct tm_partition *p, unsigned node)
{
    (void)p;
    (void)node;
    ((struct pw_node *)host)->snapshots_wanted++;
}

static const struct tm_partition_ops pw_ops = {.send = pw_send,
                                               .tell = pw_tell,
                                               .answer = pw_answered,
                                               .leads = pw_leads,
                                               .lost = pw_lost,
                                               .snapshot_needed = pw_snapshot_needed};
static const struct tm_beat_io pw_beat_io = {.send = pw_beat_send, .flush_age_ns = pw_flush_age};

/* ---- what the log tells ---- */

static inline void pw_durable(void *host, uint32_t partition, uint64_t index)
{
    struct pw_node *n = host;
    (void)partition;
    if (n->p != NULL)
        tm_partition_durable(n->p, index);
}

static inline void pw_hard(void *host, uint32_t partition)
{
    struct pw_node *n = host;
    (void)partition;
    if (n->p != NULL)
        tm_partition_hard_durable(n->p);
}

static inline void pw_fault(void *host, uint32_t partition)
{
    struct pw_node *n = host;
    (void)partition;
    if (n->p != NULL)
        tm_partition_fault(n->p);
}

static inline void pw_failed(void *host, enum tm_err err)
{
    (void)host;
    CU_ASSERT_EQUAL_FATAL(err, TM_OK); /* no test makes the disk fail */
}

/* ---- life of a node ---- */

static inline void pw_open_logs(struct pw_node *n)
{
    struct tm_log_set_config c = {.wal = {.ctx = &n->ctx,
                                          .folder = "wal",
                                          .generation = 1,
                                          .partitions = 1,
                                          .cluster = {7},
                                          .disk_id = 100 + n->id,
                                          .incarnation = ++n->incarnation,
                                          .segment_bytes = n->w->options.wal_segment_bytes,
                                          .max_record_bytes = 8192},
                                  .workers = 1,
                                  .cache_bytes = TM_KIB(16),
                                  .opened = n->incarnation > 1,
                                  .callbacks = {.host = n,
                                                .durable = pw_durable,
                                                .hard = pw_hard,
                                                .fault = pw_fault,
                                                .failed = pw_failed}};
    enum tm_err e = tm_log_set_open(&c, &n->env.logs);
    CU_ASSERT_EQUAL_FATAL(e, TM_OK);
}

static inline void pw_start(struct pw *w, unsigned id)
{
    struct pw_node *n = &w->node[id];
    CU_ASSERT_FATAL(!n->up);
    n->ctx = (struct tm_ctx){.host = n,
                             .now_ns = pw_now,
                             .wall_ms = pw_wall,
                             .random = pw_random,
                             .log = pw_log,
                             .disk = tm_sim_disk_table(n->sd),
                             .counters = &n->counters};
    n->hlc = (struct tm_hlc){0};
    n->boot = pw_random(n);
    CU_ASSERT_EQUAL_FATAL(tm_arena_open(&n->arena), TM_OK);
    n->env = (struct tm_partition_env){.ctx = &n->ctx,
                                       .options = &w->options,
                                       .replica_options = &w->replica_options,
                                       .ops = &pw_ops,
                                       .host = n,
                                       .arena = &n->arena,
                                       .beat = &n->beat,
                                       .hlc = &n->hlc,
                                       .origin = 5,
                                       .self = {.disk = 100 + id, .node = (uint8_t)id},
                                       .record = aligned_alloc(64, TM_RECORD_MAX)};
    tm_resp_writer_init(&n->env.reply, TM_MIB(1));
    tm_beat_init(&n->beat, &w->beat_options, &pw_beat_io, n, &n->ctx, n->env.self, 0, n->boot,
                 n->links, PW_NODES);
    for (unsigned i = 0; i < PW_NODES; i++)
        tm_beat_workers(&n->beat, i, 1);
    pw_open_logs(n);
    struct tm_partition_boot boot = {.members = {.count = PW_NODES}};
    for (unsigned i = 0; i < PW_NODES; i++)
        boot.members.at[i] = (struct tm_member){.id = {.disk = 100 + i, .node = (uint8_t)i},
                                                .role = TM_MEMBER_VOTER};
    n->p = tm_partition_new(&n->env, &boot);
    CU_ASSERT_PTR_NOT_NULL_FATAL(n->p);
    n->up = true;
}

/* The process dies, or with it the power: `keep` percent of what was not flushed is kept. */
static inline void pw_die(struct pw_node *n, int keep)
{
    if (keep < 0)
        tm_sim_disk_kill(n->sd);
    else
        tm_sim_disk_crash(n->sd, keep);
    tm_partition_stop(n->p);
    tm_partition_free(n->p);
    tm_log_set_abandon(n->env.logs);
    tm_resp_writer_free(&n->env.reply);
    free(n->env.record);
    tm_arena_close(&n->arena);
    n->p = NULL;
    n->up = false;
    for (unsigned i = 0; i < PW_NODES; i++) /* as the fabric tells */
        if (n->w->node[i].up)
            tm_beat_peer_down(&n->w->node[i].beat, n->id);
}

/* ---- time ---- */

static inline void pw_give_due(struct pw_node *n)
{
    while (n->env.due != NULL) {
        struct tm_partition *p = n->env.due;
        n->env.due = p->due_next;
        tm_partition_turn(p);
    }
}

static inline void pw_ship(struct pw_node *n)
{
    while (n->env.dirty != NULL) {
        struct tm_partition *p = n->env.dirty;
        n->env.dirty = p->dirty_next;
        tm_partition_ship(p);
    }
}

/* One turn, as a worker's (tm_shard_turn, tm_shard_flush). */
static inline void pw_turn(struct pw_node *n)
{
    tm_partition_apply_behind(&n->env);
    pw_give_due(n);
    if (n->w->now >= n->next_slow) {
        n->next_slow = n->w->now + TM_MS(100);
        tm_partition_tick(n->p);
    }
    if (tm_log_set_next_deadline(n->env.logs) <= n->w->now)
        tm_log_set_tick(n->env.logs);
    pw_ship(n);
    (void)tm_beat_turn(&n->beat);
    tm_partition_apply_behind(&n->env);
    pw_give_due(n);
    pw_ship(n);
    tm_log_set_flush(n->env.logs);
}

static inline void pw_take(struct pw_node *to, const struct pw_message *m)
{
    struct tm_bytes body = tm_bytes_of(m->bytes, m->len);
    if (m->head.type == TM_MESSAGE_HEARTBEAT)
        tm_beat_receive(&to->beat, m->from, 0, body);
    else if (m->head.type == TM_MESSAGE_WANT)
        tm_partition_wanted(to->p, &m->head, body);
    else if (m->head.type == TM_MESSAGE_GIVE)
        tm_partition_given(to->p, &m->head, body);
    else
        tm_partition_message(to->p, m->from, body);
}

static inline void pw_deliver(struct pw *w)
{
    struct pw_message *m = w->queue;
    w->queue = NULL;
    w->queue_end = &w->queue;
    while (m != NULL) {
        struct pw_message *next = m->next;
        struct pw_node *to = &w->node[m->to];
        if (to->up)
            pw_take(to, m);
        free(m);
        m = next;
    }
}

static inline void pw_step(struct pw *w)
{
    w->now += PW_STEP;
    pw_deliver(w);
    for (unsigned i = 0; i < PW_NODES; i++) {
        if (!w->node[i].up)
            continue;
        for (unsigned under_way = tm_sim_disk_under_way(w->node[i].sd); under_way > 0; under_way--)
            (void)tm_sim_disk_step(w->node[i].sd);
        pw_turn(&w->node[i]);
    }
}

static inline void pw_run(struct pw *w, uint64_t ns)
{
    for (uint64_t end = w->now + ns; w->now < end;)
        pw_step(w);
}

/* The node that leads and serves, PW_NODES if there is none or not one alone. */
static inline unsigned pw_leader(const struct pw *w)
{
    unsigned found = PW_NODES;
    for (unsigned i = 0; i < PW_NODES; i++) {
        if (!w->node[i].up || !w->node[i].p->leading || !w->node[i].p->announced)
            continue;
        if (found != PW_NODES)
            return PW_NODES;
        found = i;
    }
    return found;
}

static inline unsigned pw_await_leader(struct pw *w)
{
    for (unsigned i = 0; i < 50000 && pw_leader(w) == PW_NODES; i++)
        pw_step(w);
    CU_ASSERT_FATAL(pw_leader(w) < PW_NODES);
    return pw_leader(w);
}

/* ---- requests ---- */

/* Words are divided by blanks. */
static inline unsigned pw_split(const char *line, struct tm_bytes *argv, unsigned max)
{
    unsigned n = 0;
    for (; *line != '\0'; line += strspn(line, " ")) {
        CU_ASSERT_FATAL(n < max);
        argv[n++] = tm_bytes_of(line, strcspn(line, " "));
        line += argv[n - 1].len;
    }
    return n;
}

static inline uint64_t pw_request(struct pw *w, unsigned node, struct tm_request *rq)
{
    rq->id = ++w->asked;
    rq->resp = 2;
    CU_ASSERT_FATAL(w->asked < PW_ANSWERS && w->node[node].up);
    tm_partition_request(w->node[node].p, (struct tm_place){.node = (uint8_t)node}, rq);
    return rq->id;
}

static inline uint64_t pw_ask(struct pw *w, unsigned node, const char *line)
{
    struct tm_bytes argv[64];
    struct tm_request_command words = {argv, pw_split(line, argv, 64)};
    struct tm_request rq = {.kind = TM_REQUEST_EXEC, .commands = &words, .count = 1};
    return pw_request(w, node, &rq);
}

static inline bool pw_has(const struct pw *w, uint64_t id)
{
    return w->answers[id].given;
}

static inline const struct pw_answer *pw_await(struct pw *w, uint64_t id)
{
    for (unsigned i = 0; i < 50000 && !pw_has(w, id); i++)
        pw_step(w);
    CU_ASSERT_TRUE_FATAL(pw_has(w, id));
    return &w->answers[id];
}

/* Asks whoever leads, and gives the reply as text. */
static inline const char *pw_do(struct pw *w, const char *line)
{
    const struct pw_answer *a = pw_await(w, pw_ask(w, pw_await_leader(w), line));
    return a->status == TM_ANSWER_DONE ? a->reply : "not done";
}

/* ---- the whole ---- */

static inline void pw_open(struct pw *w)
{
    memset(w, 0, sizeof *w);
    w->rng = tm_test_seed();
    w->now = TM_SECONDS(1);
    w->queue_end = &w->queue;
    tm_options_init(&w->options);
    w->options.wal_segment_bytes = TM_KIB(64);
    tm_replica_options_default(&w->replica_options);
    w->replica_options.prefer_after_ns = 0; /* who leads, leads */
    tm_beat_options_default(&w->beat_options);
    for (unsigned i = 0; i < PW_NODES; i++) {
        w->node[i].w = w;
        w->node[i].id = i;
        w->node[i].sd = tm_sim_disk_new(w->rng + i);
    }
    for (unsigned i = 0; i < PW_NODES; i++)
        pw_start(w, i);
}

static inline void pw_close(struct pw *w)
{
    for (unsigned i = 0; i < PW_NODES; i++) {
        if (w->node[i].up)
            pw_die(&w->node[i], -1);
        tm_sim_disk_free(w->node[i].sd);
    }
    while (w->queue != NULL) {
        struct pw_message *m = w->queue;
        w->queue = m->next;
        free(m);
    }
}

static inline void pw_isolate(struct pw *w, unsigned node, bool cut)
{
    for (unsigned i = 0; i < PW_NODES; i++)
        w->cut[node][i] = w->cut[i][node] = cut;
}

/* All that are up have applied the same, and it is the same. */
static inline bool pw_equal(const struct pw *w)
{
    const struct tm_store *first = NULL;
    for (unsigned i = 0; i < PW_NODES; i++) {
        const struct pw_node *n = &w->node[i];
        if (!n->up)
            continue;
        if (first == NULL)
            first = n->p->store;
        if (tm_store_applied(n->p->store) != tm_store_applied(first) ||
            n->p->replica.commit != tm_store_applied(first) ||
            tm_store_state_hash(n->p->store) != tm_store_state_hash(first))
            return false;
    }
    return true;
}

static inline void pw_expect_equal(struct pw *w)
{
    for (unsigned i = 0; i < 50000 && !pw_equal(w); i++)
        pw_step(w);
    CU_ASSERT_TRUE(pw_equal(w));
}

#endif
