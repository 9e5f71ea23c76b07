/* One turn: events were fed (frames, completions, client bytes); tm_shard_turn lets partitions give
 * the answers that became due, which may bring new requests, until nothing is due; tm_shard_flush
 * ships records, beats, writes the log's block and sends the frames.
 *
 * Before the cluster exists a shard only says hello; worker 0 runs the creation. */
#include "actors/keeper.h"
#include "actors/offer.h"
#include "actors/scrub.h"
#include "actors/shard_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define TICK_NS        TM_MS(10)
#define SLOW_NS        TM_MS(100)
#define BEHIND_NS      TM_MS(1)
#define DUE_ROUNDS_MAX 1024
#define BACKLOG_MAX    TM_MIB(256)
#define CALLS_MAX      (1u << 17)
#define CALL_BYTES_MAX TM_MIB(64)
#define ALL_WORKERS    TM_WORKERS_MAX
#define HANDOVER_MS    100  /* how long a former leader may still answer */
#define HAND_OVER_MS   1000 /* how long a leaving node tries to hand over */

/* What a worker says of itself when a channel comes up. */
struct hello {
    uint32_t protocol;
    uint8_t workers;
    uint8_t created;
    uint16_t reserved;
    uint8_t uuid[16];
    char node[TM_DIRECTORY_NAME_MAX + 1];
};
TM_STATIC_ASSERT(sizeof(struct hello) == 88 && sizeof(struct hello) <= TM_CHANNEL_HELLO_MAX,
                 "frozen on the wire");

/* ---- sending ---- */

/* False: there is no memory, or as much waits as may. */
static bool backlog_push(struct tm_shard *s, struct tm_place to, const struct tm_message_head *head,
                         const struct tm_bytes *pieces, unsigned count)
{
    size_t len = sizeof *head;
    for (unsigned i = 0; i < count; i++)
        len += pieces[i].len;
    struct tm_backlog *b = s->backlog_bytes + len <= BACKLOG_MAX ? malloc(sizeof *b + len) : NULL;
    if (b == NULL)
        return false;
    *b = (struct tm_backlog){.to = to, .len = (uint32_t)len};
    memcpy(b->bytes, head, sizeof *head);
    uint8_t *at = b->bytes + sizeof *head;
    for (unsigned i = 0; i < count; i++) {
        if (pieces[i].len > 0)
            memcpy(at, pieces[i].data, pieces[i].len);
        at += pieces[i].len;
    }
    *s->backlog_end = b;
    s->backlog_end = &b->next;
    s->backlog_bytes += len;
    return true;
}

bool tm_shard_post(struct tm_shard *s, struct tm_place to, const struct tm_message_head *head,
                   const struct tm_bytes *pieces, unsigned count)
{
    return (s->backlog == NULL && tm_post_send(s->post, to, *head, pieces, count) != TM_ERR_FULL) ||
           backlog_push(s, to, head, pieces, count);
}

static void backlog_drain(struct tm_shard *s)
{
    while (s->backlog != NULL) {
        struct tm_backlog *b = s->backlog;
        struct tm_message_head head;
        memcpy(&head, b->bytes, sizeof head);
        struct tm_bytes body = tm_bytes_of(b->bytes + sizeof head, b->len - sizeof head);
        if (tm_post_send(s->post, b->to, head, &body, 1) == TM_ERR_FULL)
            return;
        s->backlog = b->next;
        if (s->backlog == NULL)
            s->backlog_end = &s->backlog;
        s->backlog_bytes -= b->len;
        free(b);
    }
}

void tm_shard_answer(void *host, struct tm_place to, const struct tm_answer *answer)
{
    struct tm_shard *s = host;
    if (to.node == TM_NODES_MAX) {
        tm_sessions_answer(s->sessions, s->read_session, answer);
        return;
    }
    if (to.node == s->self.node && to.worker == s->self.worker) {
        tm_dispatch_answer(s->dispatch, s->self, answer);
        return;
    }
    uint8_t head_bytes[TM_ANSWER_HEAD];
    tm_answer_encode(answer, head_bytes);
    struct tm_bytes pieces[2] = {tm_bytes_of(head_bytes, sizeof head_bytes), answer->reply};
    struct tm_message_head head = {.type = TM_MESSAGE_ANSWER};
    (void)tm_shard_post(s, to, &head, pieces, 2); /* else who asked says: outcome unknown */
}

static void announce_to(struct tm_shard *s, const struct tm_partition *p, unsigned node)
{
    struct tm_place to = {.node = (uint8_t)node,
                          .worker = (uint8_t)tm_node_worker_of(s->node, node, p->id)};
    struct tm_message_head head = {
        .type = TM_MESSAGE_LEADER, .partition = p->id, .arg = p->replica.hs.term};
    if (tm_post_send(s->post, to, head, NULL, 0) == TM_ERR_FULL)
        s->tell_owed |= 1ULL << node;
}

/* Tells a worker of another node, or all of them, of what is led here. */
static void announce_all(struct tm_shard *s, unsigned node, unsigned worker)
{
    for (uint32_t i = 0; i < s->slots; i++) {
        const struct tm_partition *p = s->partitions[i];
        if (p != NULL && p->announced &&
            (worker == ALL_WORKERS || tm_node_worker_of(s->node, node, p->id) == worker))
            announce_to(s, p, node);
    }
}

/* What LEADER messages came before this worker ran are gone: it asks.  A node that is not up says
 * it by itself when it comes up. */
static bool ask_leaders(struct tm_shard *s, unsigned node)
{
    struct tm_message_head head = {.type = TM_MESSAGE_LEADERS};
    for (unsigned w = 0; w < atomic_load(&s->node->peer_workers[node]); w++) {
        struct tm_place to = {.node = (uint8_t)node, .worker = (uint8_t)w};
        if (tm_post_send(s->post, to, head, NULL, 0) == TM_ERR_FULL)
            return false;
    }
    return true;
}

static void settle_leaders(struct tm_shard *s)
{
    for (unsigned i = 0; i < s->directory->members; i++) {
        if ((s->ask_owed >> i & 1) != 0 && ask_leaders(s, i))
            s->ask_owed &= ~(1ULL << i);
        if ((s->tell_owed >> i & 1) == 0)
            continue;
        s->tell_owed &= ~(1ULL << i);
        announce_all(s, i, ALL_WORKERS);
    }
}

/* ---- what partitions ask ---- */

static void p_send(void *host, struct tm_partition *p, unsigned node, const struct tm_bytes *pieces,
                   unsigned count)
{
    struct tm_shard *s = host;
    struct tm_place to = {.node = (uint8_t)node,
                          .worker = (uint8_t)tm_node_worker_of(s->node, node, p->id)};
    struct tm_message_head head = {.type = TM_MESSAGE_RAFT, .partition = p->id};
    tm_post_send(s->post, to, head, pieces, count);
}

static void p_leads(void *host, struct tm_partition *p, uint64_t term)
{
    struct tm_shard *s = host;
    tm_node_set_leader(s->node, p->id, s->self.node, term);
    for (unsigned i = 0; i < s->directory->members; i++)
        if (i != s->self.node)
            announce_to(s, p, i);
}

static void p_snapshot_needed(void *host, struct tm_partition *p, unsigned node)
{
    struct tm_shard *s = host;
    tm_keeper_send(s->keeper, p, node);
}

static bool p_lost(void *host, struct tm_partition *p, uint64_t from, uint64_t to)
{
    struct tm_shard *s = host;
    return tm_offers_cut(s->offers, p, from, to);
}

const struct tm_partition_ops tm_shard_partition_ops = {
    .send = p_send,
    .answer = tm_shard_answer,
    .leads = p_leads,
    .snapshot_needed = p_snapshot_needed,
    .lost = p_lost,
};

/* ---- what the dispatch asks ---- */

/* In eventual mode, while the leader is out of reach, this node's own replica is asked: it answers
 * reads, and refuses writes until there is a leader. */
static struct tm_place d_leader(void *host, uint32_t partition)
{
    struct tm_shard *s = host;
    struct tm_place leader = tm_node_leader(s->node, partition);
    const struct tm_directory *d = s->directory;
    bool eventual = d->eventual && partition < d->partitions;
    bool reachable = leader.node == s->self.node ||
                     (leader.node < d->members && atomic_load(&s->node->peer_alive[leader.node]));
    if (!eventual || reachable || !tm_holders_include(&d->placement[partition], s->self.node))
        return leader;
    return (struct tm_place){.node = s->self.node,
                             .worker =
                                 (uint8_t)tm_node_worker_of(s->node, s->self.node, partition)};
}

/* A request for a partition that is here: by its leader, or, in eventual mode, by any replica. */
static void evaluate(struct tm_partition *p, struct tm_place from, const struct tm_request *rq)
{
    if (!p->eventual || p->leading || !tm_partition_read_here(p, from, rq))
        tm_partition_request(p, from, rq);
}

static void d_local(void *host, const struct tm_request *rq)
{
    struct tm_shard *s = host;
    struct tm_partition *p = tm_shard_find(s, rq->partition);
    if (p != NULL && !s->stopping) {
        evaluate(p, s->self, rq);
        return;
    }
    struct tm_answer a = {.id = rq->id, .status = TM_ANSWER_REFUSED, .err = TM_ERR_NOTLEADER};
    tm_dispatch_answer(s->dispatch, s->self, &a);
}

static enum tm_err d_remote(void *host, struct tm_place to, struct tm_bytes request)
{
    struct tm_shard *s = host;
    struct tm_message_head head = {.type = TM_MESSAGE_REQUEST};
    /* A channel keeps what is sent to a dead node, and then the time of the old leader would have
     * to pass before the next one may be asked. */
    if (to.node != s->self.node && !atomic_load(&s->node->peer_alive[to.node]))
        return TM_ERR_CLOSED;
    tm_counter_add(s->ctx->counters, TM_COUNTER_commands_forwarded, 1);
    return tm_post_send(s->post, to, head, &request, 1);
}

static void d_answer(void *host, uint64_t session, const struct tm_answer *answer)
{
    struct tm_shard *s = host;
    tm_sessions_answer(s->sessions, session, answer);
}

/* ---- what the post tells ---- */

static void on_raft(struct tm_shard *s, const struct tm_message_head *head, struct tm_bytes body)
{
    struct tm_partition *p = tm_shard_find(s, head->partition);
    if (p != NULL && !p->stopping)
        tm_partition_message(p, head->node, body);
}

static void on_request(struct tm_shard *s, const struct tm_message_head *head, struct tm_bytes body)
{
    struct tm_request rq;
    struct tm_place from = {.node = head->node, .worker = head->worker};
    if (tm_request_decode(body, &s->words, &rq) != TM_OK)
        return;
    struct tm_partition *p = tm_shard_find(s, rq.partition);
    if (p != NULL && !s->stopping) {
        evaluate(p, from, &rq);
        return;
    }
    struct tm_answer a = {.id = rq.id, .status = TM_ANSWER_REFUSED, .err = TM_ERR_NOTLEADER};
    tm_shard_answer(s, from, &a);
}

static void on_answer(struct tm_shard *s, const struct tm_message_head *head, struct tm_bytes body)
{
    struct tm_answer a;
    struct tm_place from = {.node = head->node, .worker = head->worker};
    if (s->dispatch != NULL && tm_answer_decode(body, &a) == TM_OK)
        tm_dispatch_answer(s->dispatch, from, &a);
}

static void on_leader(struct tm_shard *s, const struct tm_message_head *head)
{
    if (s->running && head->partition <= s->directory->partitions)
        tm_node_set_leader(s->node, head->partition, head->node, head->arg);
}

static void on_message(void *host, const struct tm_message_head *head, struct tm_bytes body)
{
    struct tm_shard *s = host;
    switch (head->type) {
    case TM_MESSAGE_RAFT:
        on_raft(s, head, body);
        break;
    case TM_MESSAGE_HEARTBEAT:
        if (s->running)
            tm_beat_receive(&s->beat, head->node, head->worker, body);
        break;
    case TM_MESSAGE_REQUEST:
        on_request(s, head, body);
        break;
    case TM_MESSAGE_ANSWER:
        on_answer(s, head, body);
        break;
    case TM_MESSAGE_LEADER:
        on_leader(s, head);
        break;
    case TM_MESSAGE_LEADERS:
        if (s->running)
            announce_all(s, head->node, head->worker);
        break;
    case TM_MESSAGE_SNAPSHOT:
    case TM_MESSAGE_SNAPSHOT_ACK:
        if (s->running)
            tm_keeper_message(s->keeper, head, body);
        break;
    case TM_MESSAGE_OFFER:
    case TM_MESSAGE_OFFERED:
        if (s->running)
            tm_offers_message(s->offers, head, body);
        break;
    case TM_MESSAGE_ASK:
        tm_shard_on_ask(s, head, body);
        break;
    case TM_MESSAGE_TOLD:
        tm_shard_on_told(s, head, body);
        break;
    default:
        if (s->self.worker == 0)
            tm_creation_message(&s->creation, head, body);
        break;
    }
}

static void on_coming(void *host, const struct tm_message_head *head)
{
    struct tm_shard *s = host;
    struct tm_partition *p =
        head->type == TM_MESSAGE_RAFT ? tm_shard_find(s, head->partition) : NULL;
    if (p == NULL)
        return;
    tm_partition_prefetch(p);
    tm_log_set_prefetch(s->logs, head->partition);
}

static const char *on_accept(void *host, struct tm_place from, struct tm_bytes bytes)
{
    struct tm_shard *s = host;
    const struct tm_datadir_identity *id = s->config.datadir;
    struct hello h;
    if (bytes.len != sizeof h)
        return "its hello has another layout: run the same version on all nodes";
    memcpy(&h, bytes.data, sizeof h);
    if (h.protocol != TM_NODE_PROTOCOL)
        return "it speaks another version of the protocol between nodes";
    if (h.workers == 0 || h.workers > TM_WORKERS_MAX || from.worker >= h.workers)
        return "its number of workers makes no sense";
    if (from.node >= s->node->spec.count || memchr(h.node, '\0', sizeof h.node) == NULL ||
        strcmp(h.node, s->node->spec.names[from.node]) != 0)
        return "the nodes have different lists of nodes: start all with the same topology file";
    if (h.created && id->created && memcmp(h.uuid, id->cluster_uuid, 16) != 0)
        return "it belongs to another cluster of the same name: look at its data directory";
    return NULL;
}

static void on_up(void *host, struct tm_place from, struct tm_bytes bytes, uint64_t boot)
{
    struct tm_shard *s = host;
    struct hello h;
    memcpy(&h, bytes.data, sizeof h);
    bool fresh = s->peer_boot[from.node] != boot;
    s->peer_boot[from.node] = boot;
    tm_node_set_peer(s->node, from.node, h.workers, true);
    if (fresh)
        tm_ctx_log(s->ctx, TM_LOG_INFO, "peer_up", "node=%s worker=%u", h.node, from.worker);
    if (s->self.worker == 0 && from.worker == 0)
        tm_creation_peer_up(&s->creation, from.node);
    for (unsigned w = 0; w < h.workers; w++)
        tm_post_know(s->post, (struct tm_place){.node = from.node, .worker = (uint8_t)w});
    if (!s->running)
        return;
    tm_beat_workers(&s->beat, from.node, h.workers);
    if (fresh)
        tm_dispatch_node_lost(s->dispatch, from.node);
    tm_beat_peer_up(&s->beat, from.node);
    announce_all(s, from.node, from.worker);
}

static void on_node_event(void *host, unsigned node, bool up)
{
    struct tm_shard *s = host;
    if (node >= s->node->spec.count)
        return;
    tm_node_set_peer(s->node, node, 0, up);
    if (s->self.worker == 0 && !up)
        tm_creation_peer_down(&s->creation, node);
    if (!s->running)
        return;
    if (up) {
        tm_beat_peer_up(&s->beat, node);
    } else {
        tm_ctx_log(s->ctx, TM_LOG_WARN, "peer_down", "node=%s", s->node->spec.names[node]);
        tm_beat_peer_down(&s->beat, node);
        tm_dispatch_node_lost(s->dispatch, node);
    }
}

static enum tm_err post_local(void *host, unsigned worker, const struct tm_bytes *pieces,
                              unsigned count)
{
    struct tm_shard *s = host;
    return s->config.local(s->config.host, worker, pieces, count);
}

/* ---- running ---- */

/* The cluster exists: what this worker needs for it is made. */
static enum tm_err begin_running(struct tm_shard *s, char *why, size_t why_size)
{
    s->directory = tm_node_take(s->node, s->self.worker);
    struct tm_dispatch_config c = {.ctx = s->ctx,
                                   .partitions = s->directory->partitions + 1,
                                   .self = s->self,
                                   .calls = CALLS_MAX,
                                   .bytes = CALL_BYTES_MAX,
                                   .patience_ms = TM_REQUEST_PATIENCE_MS,
                                   .handover_ms = HANDOVER_MS,
                                   .ops = {.host = s,
                                           .leader = d_leader,
                                           .local = d_local,
                                           .remote = d_remote,
                                           .answer = d_answer}};
    s->dispatch = tm_dispatch_new(&c);
    if (s->dispatch == NULL) {
        snprintf(why, why_size, "not enough memory for requests");
        return TM_ERR_NOMEM;
    }
    s->router.partitions = s->directory->partitions;
    s->ask_owed = ~(1ULL << s->self.node);
    return tm_shard_open_storage(s, why, why_size);
}

/* Whether the data directory says that every worker's log of this generation is there.  Until then
 * nothing is acknowledged, so that a start which failed half-way left nothing that counts.  Worker
 * 0 writes it. */
static enum tm_err logs_noted(struct tm_shard *s, bool *noted, char *why, size_t why_size)
{
    struct tm_node *n = s->node;
    *noted = atomic_load(&n->logs_noted);
    if (*noted || s->self.worker != 0 || atomic_load(&n->logs_open) < n->workers)
        return TM_OK;
    struct tm_datadir_error err;
    enum tm_err e = tm_datadir_opened(s->ctx->disk, s->config.identity, &err);
    if (e != TM_OK)
        snprintf(why, why_size, "%s", err.text);
    *noted = e == TM_OK;
    atomic_store(&n->logs_noted, *noted);
    return e;
}

static void check_running(struct tm_shard *s)
{
    char why[512];
    bool noted = false;
    if (s->running || s->failed || s->stopping || !atomic_load(&s->node->running))
        return;
    enum tm_err e = s->logs == NULL ? begin_running(s, why, sizeof why) : TM_OK;
    if (e == TM_OK)
        e = logs_noted(s, &noted, why, sizeof why);
    if (e == TM_OK && noted)
        e = tm_shard_open_partitions(s, why, sizeof why);
    if (e != TM_OK) {
        s->failed = true;
        s->config.fatal(s->config.host, e, why);
    }
}

/* Once no worker's log needs an older generation, that is noted, and the next start removes its
 * files. */
static void tend_generations(struct tm_shard *s)
{
    struct tm_node *n = s->node;
    struct tm_datadir_error err;
    uint32_t partition;
    const struct tm_hs *hs = tm_log_set_hs(s->logs);
    if (tm_log_set_needs_older(s->logs, &partition))
        s->moving = 0;
    else if (s->moving == 0)
        s->moving = tm_hs_floors(hs) + 1;
    if (!s->moved && s->moving != 0 && tm_hs_floors_saved(hs) + 1 >= s->moving) {
        s->moved = true;
        atomic_fetch_add(&n->logs_moved, 1);
    }
    if (s->self.worker == 0 && atomic_load(&n->logs_moved) == n->workers &&
        s->config.identity->generation_count > 1 &&
        tm_datadir_forget_older(s->ctx->disk, s->config.identity, &err) != TM_OK)
        tm_ctx_log(s->ctx, TM_LOG_ERROR, "older_logs_kept", "text=\"%s\"", err.text);
}

/* ---- life ---- */

static void make_hello(const struct tm_shard_config *c, struct hello *h)
{
    *h = (struct hello){.protocol = TM_NODE_PROTOCOL,
                        .workers = (uint8_t)c->node->workers,
                        .created = c->datadir->created};
    memcpy(h->uuid, c->datadir->cluster_uuid, 16);
    snprintf(h->node, sizeof h->node, "%s", c->node->spec.names[c->node->self]);
}

struct tm_shard *tm_shard_new(const struct tm_shard_config *config)
{
    struct tm_shard *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->config = *config;
    s->memory_limit = config->memory_limit;
    s->ctx = config->ctx;
    s->node = config->node;
    s->options = *config->options;
    s->self =
        (struct tm_place){.node = (uint8_t)config->node->self, .worker = (uint8_t)config->worker};
    s->backlog_end = &s->backlog;
    struct hello h;
    make_hello(config, &h);
    struct tm_post_config pc = {.ctx = s->ctx,
                                .self = s->self,
                                .boot = config->node->boot,
                                .cluster_hash = config->node->cluster_hash,
                                .hello = tm_bytes_of(&h, sizeof h),
                                .ops = {.host = s,
                                        .message = on_message,
                                        .coming = on_coming,
                                        .local = post_local,
                                        .accept = on_accept,
                                        .up = on_up,
                                        .node_event = on_node_event}};
    s->post = tm_post_new(&pc);
    tm_shard_router_init(s);
    s->sessions = tm_sessions_new(s->ctx, &s->router, &config->limits, config->worker);
    if (s->post == NULL || s->sessions == NULL) {
        tm_shard_free(s);
        return NULL;
    }
    return s;
}

struct tm_fabric_sink tm_shard_sink(struct tm_shard *s)
{
    return tm_post_sink(s->post);
}

void tm_shard_set_fabric(struct tm_shard *s, struct tm_fabric *fabric)
{
    tm_post_set_fabric(s->post, fabric);
}

struct tm_sessions *tm_shard_sessions(struct tm_shard *s)
{
    return s->sessions;
}

enum tm_err tm_shard_start(struct tm_shard *s, char *why, size_t why_size)
{
    for (unsigned i = 0; i < s->node->spec.count; i++)
        if (i != s->self.node)
            tm_post_know(s->post, (struct tm_place){.node = (uint8_t)i});
    if (s->self.worker == 0) {
        struct tm_creation_ops ops = tm_shard_creation_ops(s);
        enum tm_err e = tm_creation_start(&s->creation, s->ctx, s->node, s->config.identity, &ops);
        if (e != TM_OK) {
            snprintf(why, why_size,
                     "the file \"directory\" of the data directory cannot be read: %s%s",
                     tm_err_text(e),
                     e != TM_ERR_CORRUPT ? ""
                                         : "; if the other nodes are well, empty this node's data "
                                           "directory and start it again");
            return e;
        }
    }
    return atomic_load(&s->node->running) ? begin_running(s, why, why_size) : TM_OK;
}

void tm_shard_local(struct tm_shard *s, unsigned worker, struct tm_bytes message)
{
    tm_post_local(s->post, worker, message);
}

/* ---- turns ---- */

static void leave(struct tm_shard *s);

static void give_due(struct tm_shard *s)
{
    for (unsigned rounds = 0; s->env.due != NULL && rounds < DUE_ROUNDS_MAX; rounds++) {
        struct tm_partition *list = s->env.due;
        s->env.due = NULL;
        while (list != NULL) {
            struct tm_partition *p = list;
            list = p->due_next;
            tm_partition_turn(p);
        }
    }
}

static void slow_work(struct tm_shard *s)
{
    for (uint32_t i = 0; i < s->slots; i++)
        if (s->partitions[i] != NULL)
            tm_partition_tick(s->partitions[i]);
    tm_shard_tend_room(s);
    s->env.out_of_memory = s->memory_limit != 0 && s->arena.bytes > s->memory_limit;
    tm_shard_publish(s);
    tm_shard_tend_directory(s);
    tend_generations(s);
    settle_leaders(s);
    tm_keeper_tick(s->keeper);
    tm_scrub_tick(s->scrub);
    tm_post_housekeep(s->post);
    tm_offers_tick(s->offers);
}

static void timed_work(struct tm_shard *s)
{
    uint64_t now = tm_ctx_now(s->ctx);
    if (s->epoch_seen != atomic_load_explicit(&s->node->epoch, memory_order_relaxed)) {
        s->epoch_seen = atomic_load(&s->node->epoch);
        tm_shard_renumber(s);
        tm_dispatch_leaders_changed(s->dispatch);
    }
    if (tm_dispatch_next_deadline(s->dispatch) <= now && tm_dispatch_tick(s->dispatch))
        tm_sessions_resume(s->sessions);
    if (now >= s->next_slow) {
        s->next_slow = now + SLOW_NS;
        slow_work(s);
    }
    if (!s->stopped && tm_log_set_next_deadline(s->logs) <= now)
        tm_log_set_tick(s->logs);
}

void tm_shard_turn(struct tm_shard *s)
{
    if (s->self.worker == 0)
        tm_creation_tick(&s->creation);
    if (s->directory != NULL)
        s->directory = tm_node_take(s->node, s->self.worker);
    check_running(s);
    if (s->running) {
        tm_partition_apply_behind(&s->env);
        give_due(s);
        timed_work(s);
        s->keeper_busy = tm_keeper_turn(s->keeper);
        s->keeper_busy = tm_offers_turn(s->offers) || s->keeper_busy;
        tm_scrub_turn(s->scrub);
    }
    leave(s);
    if (tm_ctx_now(s->ctx) >= s->next_tick) {
        s->next_tick = tm_ctx_now(s->ctx) + SLOW_NS;
        tm_sessions_tick(s->sessions);
    }
}

/* Eventual mode gathers for --async-batch-us or until --async-batch-bytes, and never more nor
 * longer than a failover may lose. */
static bool gathering(struct tm_shard *s)
{
    if (!s->env.eventual || s->env.dirty == NULL || s->env.window_full ||
        s->env.unshipped_bytes >= s->options.async_batch_bytes)
        return false;
    uint64_t now = tm_ctx_now(s->ctx);
    if (s->ship_at == 0)
        s->ship_at =
            now + tm_min_u64(TM_US(s->options.async_batch_us), TM_MS(s->options.async_window_ms));
    return now < s->ship_at;
}

static void ship_dirty(struct tm_shard *s)
{
    if (gathering(s))
        return;
    s->ship_at = 0;
    s->env.unshipped_bytes = 0;
    s->env.window_full = false;
    while (s->env.dirty != NULL) {
        struct tm_partition *p = s->env.dirty;
        s->env.dirty = p->dirty_next;
        tm_partition_ship(p);
    }
}

/* The log's block of this turn.  With --durability memory nobody waits for records, and they are
 * flushed behind, BEHIND_NS later; hard state never waits. */
static void flush_log(struct tm_shard *s)
{
    uint64_t now = tm_ctx_now(s->ctx);
    bool behind = s->options.durability == TM_DURABILITY_MEMORY && !s->stopping;
    if (behind && !s->env.flush_now && now < s->flush_at)
        return;
    s->env.flush_now = false;
    s->flush_at = now + BEHIND_NS;
    tm_log_set_flush(s->logs);
}

void tm_shard_flush(struct tm_shard *s)
{
    if (s->running) {
        tm_partition_apply_behind(&s->env);
        give_due(s);
        ship_dirty(s);
        s->beat_deadline = tm_beat_turn(&s->beat);
        give_due(s);
        ship_dirty(s);
        if (!s->stopped) /* from then on the log is to be closed */
            flush_log(s);
        backlog_drain(s);
    }
    tm_post_flush(s->post);
    if (s->stopping && !s->stopped && (s->logs == NULL || tm_log_set_idle(s->logs)))
        s->stopped = true;
}

uint64_t tm_shard_next_deadline(const struct tm_shard *s)
{
    uint64_t next = tm_min_u64(tm_post_next_deadline(s->post), s->next_tick);
    if (s->self.worker == 0)
        next = tm_min_u64(next, tm_creation_next_deadline(&s->creation));
    if (!s->running || s->leave_by != 0)
        return tm_min_u64(next, tm_ctx_now(s->ctx) + TICK_NS);
    next = tm_min_u64(next, tm_min_u64(s->beat_deadline, s->next_slow));
    if (s->ship_at != 0)
        next = tm_min_u64(next, s->ship_at);
    if (s->options.durability == TM_DURABILITY_MEMORY && !tm_log_set_idle(s->logs))
        next = tm_min_u64(next, s->flush_at);
    next = tm_min_u64(next, tm_dispatch_next_deadline(s->dispatch));
    return s->stopped ? next : tm_min_u64(next, tm_log_set_next_deadline(s->logs));
}

bool tm_shard_idle(const struct tm_shard *s)
{
    return s->env.due == NULL && (s->env.dirty == NULL || s->ship_at != 0) && !s->keeper_busy;
}

/* ---- the end ---- */

/* Hands every partition led here to the first member that has all of it; true if none is left. */
static bool hand_over(struct tm_shard *s)
{
    bool none = true;
    for (uint32_t i = 0; s->running && i < s->slots; i++) {
        struct tm_partition *p = s->partitions[i];
        if (p == NULL || !p->leading)
            continue;
        const struct tm_members *m = &p->replica.members;
        for (unsigned k = 0; k < m->count; k++)
            if (m->at[k].role == TM_MEMBER_VOTER && m->at[k].id.node != s->self.node &&
                atomic_load(&s->node->peer_alive[m->at[k].id.node])) {
                none = false;
                if (tm_replica_transfer(&p->replica, m->at[k].id.node) == TM_OK)
                    break;
            }
    }
    return none;
}

static void stop_partitions(struct tm_shard *s)
{
    s->stopping = true;
    if (s->running) {
        tm_keeper_stop(s->keeper);
        tm_scrub_stop(s->scrub);
    }
    for (uint32_t i = 0; s->running && i < s->slots; i++) {
        struct tm_partition *p = s->partitions[i];
        if (p == NULL)
            continue;
        tm_replica_resign(&p->replica);
        tm_partition_stop(p);
    }
}

void tm_shard_stop(struct tm_shard *s)
{
    if (s->leave_by != 0)
        return;
    s->leave_by = tm_ctx_now(s->ctx) + TM_MS(HAND_OVER_MS);
    for (uint32_t i = 0; s->running && i < s->slots; i++)
        if (s->partitions[i] != NULL)
            tm_replica_leave(&s->partitions[i]->replica);
}

/* On the way out: serves on while leadership is handed over, then stops. */
static void leave(struct tm_shard *s)
{
    if (s->leave_by == 0 || s->stopping)
        return;
    if (hand_over(s) || tm_ctx_now(s->ctx) >= s->leave_by)
        stop_partitions(s);
}

bool tm_shard_stopped(const struct tm_shard *s)
{
    for (uint32_t i = 0; s->running && i < s->slots; i++)
        if (s->partitions[i] != NULL && !tm_partition_quiet(s->partitions[i]))
            return false;
    return s->stopped && tm_creation_quiet(&s->creation) &&
           (!s->running ||
            (tm_keeper_quiet(s->keeper) && tm_offers_quiet(s->offers) && tm_scrub_quiet(s->scrub)));
}

void tm_shard_free(struct tm_shard *s)
{
    if (s == NULL)
        return;
    if (s->sessions != NULL)
        tm_sessions_delete(s->sessions);
    if (s->running || s->slots != 0)
        tm_shard_close_storage(s);
    tm_dispatch_free(s->dispatch);
    tm_post_free(s->post);
    tm_creation_end(&s->creation);
    tm_request_words_free(&s->words);
    while (s->backlog != NULL) {
        struct tm_backlog *b = s->backlog;
        s->backlog = b->next;
        free(b);
    }
    free(s);
}

void tm_shard_abandon(struct tm_shard *s)
{
    s->abandoned = true;
    tm_shard_free(s);
}

enum tm_err tm_shard_transfer(struct tm_shard *s, uint32_t partition, unsigned node)
{
    struct tm_partition *p = tm_shard_find(s, partition);
    return p == NULL ? TM_ERR_NOTFOUND : tm_replica_transfer(&p->replica, node);
}

bool tm_shard_snapshot(struct tm_shard *s, uint32_t partition)
{
    struct tm_partition *p = tm_shard_find(s, partition);
    if (p == NULL || !tm_keeper_take(s->keeper, p))
        return false;
    s->keeper_busy = true;
    return true;
}

void tm_shard_partitions(struct tm_shard *s,
                         void (*visit)(void *arg, const struct tm_shard_partition *p), void *arg)
{
    for (uint32_t i = 0; s->running && i < s->slots; i++) {
        const struct tm_partition *p = s->partitions[i];
        if (p == NULL)
            continue;
        struct tm_replica_status st = tm_replica_status(&p->replica);
        struct tm_shard_partition out = {.partition = p->id,
                                         .role =
                                             p->witness ? "WITNESS" : tm_replica_role_name(st.role),
                                         .leader = st.leader,
                                         .term = st.term,
                                         .commit = st.commit,
                                         .last = st.last,
                                         .last_term = p->replica.last.term,
                                         .node = s->self.node,
                                         .set_term = p->replica.hs.insync.term,
                                         .set_epoch = p->replica.hs.insync.epoch,
                                         .copies = s->directory->placement[p->id].copies,
                                         .ready = p->announced,
                                         .faulty = p->replica.hs.health != TM_HEALTH_WHOLE};
        for (unsigned k = 0; k < p->replica.hs.insync.count; k++)
            out.set_nodes |= UINT64_C(1) << p->replica.hs.insync.at[k].node;
        if (p->leading)
            out.in_sync = tm_replica_in_sync(&p->replica, tm_ctx_now(s->ctx));
        if (p->store != NULL) {
            out.applied = tm_store_applied(p->store);
            out.entities = tm_store_count(p->store);
            out.state_hash = tm_store_state_hash(p->store);
        }
        visit(arg, &out);
    }
}

const struct tm_partition *tm_shard_partition(const struct tm_shard *s, uint32_t id)
{
    return tm_shard_find(s, id);
}
