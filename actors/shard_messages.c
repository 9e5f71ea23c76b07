/* What goes between this shard and others: messages, kept where the way is full; who leads; what
 * partitions and the dispatch ask of it; what the post brings, by type. */
#include "actors/keeper.h"
#include "actors/links.h"
#include "actors/offer.h"
#include "actors/shard_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define BACKLOG_MAX TM_MIB(256)
#define ALL_WORKERS TM_WORKERS_MAX

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

void tm_shard_drain_backlog(struct tm_shard *s)
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

void tm_shard_settle_leaders(struct tm_shard *s)
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

static void p_tell(void *host, struct tm_partition *p, unsigned node,
                   const struct tm_message_head *head, const struct tm_bytes *pieces,
                   unsigned count)
{
    struct tm_shard *s = host;
    struct tm_place to = {.node = (uint8_t)node,
                          .worker = (uint8_t)tm_node_worker_of(s->node, node, p->id)};
    struct tm_message_head filled = *head;
    filled.partition = p->id;
    tm_post_send(s->post, to, filled, pieces, count);
}

static void p_committed(void *host, struct tm_partition *p)
{
    struct tm_shard *s = host;
    if (s->link_streams != NULL)
        tm_links_committed(s->link_streams, p);
}

static void p_leads(void *host, struct tm_partition *p, uint64_t term)
{
    struct tm_shard *s = host;
    tm_node_set_leader(s->node, p->id, s->self.node, term);
    p_committed(s, p);
    for (unsigned i = 0; i < s->directory->members; i++)
        if (i != s->self.node)
            announce_to(s, p, i);
}

static void p_snapshot_needed(void *host, struct tm_partition *p, unsigned node)
{
    struct tm_shard *s = host;
    tm_keeper_send(s->keeper, p, node);
}

static void p_snapshot_asked(void *host, struct tm_partition *p, unsigned node, uint64_t index)
{
    struct tm_shard *s = host;
    tm_keeper_lend(s->keeper, p, node, index);
}

static bool p_lost(void *host, struct tm_partition *p, uint64_t from, uint64_t to)
{
    struct tm_shard *s = host;
    return tm_offers_cut(s->offers, p, from, to);
}

const struct tm_partition_ops tm_shard_partition_ops = {
    .send = p_send,
    .tell = p_tell,
    .answer = tm_shard_answer,
    .leads = p_leads,
    .snapshot_needed = p_snapshot_needed,
    .snapshot_asked = p_snapshot_asked,
    .committed = p_committed,
    .gated = tm_links_gated,
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

static void d_local(void *host, const struct tm_request *rq)
{
    struct tm_shard *s = host;
    tm_shard_request(s, s->self, rq);
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

struct tm_dispatch_ops tm_shard_dispatch_ops(struct tm_shard *s)
{
    return (struct tm_dispatch_ops){
        .host = s, .leader = d_leader, .local = d_local, .remote = d_remote, .answer = d_answer};
}

/* ---- what the post tells ---- */

static void on_raft(struct tm_shard *s, const struct tm_message_head *head, struct tm_bytes body)
{
    struct tm_partition *p = tm_shard_find(s, head->partition);
    if (p != NULL && !p->stopping)
        tm_partition_message(p, head->node, body);
}

/* About records that one of two copies misses. */
static void on_missing(struct tm_shard *s, const struct tm_message_head *head, struct tm_bytes body)
{
    struct tm_partition *p = tm_shard_find(s, head->partition);
    if (p == NULL || p->stopping)
        return;
    if (head->type == TM_MESSAGE_WANT)
        tm_partition_wanted(p, head, body);
    else
        tm_partition_given(p, head, body);
}

static void on_request(struct tm_shard *s, const struct tm_message_head *head, struct tm_bytes body)
{
    struct tm_request rq;
    struct tm_place from = {.node = head->node, .worker = head->worker};
    if (tm_request_decode(body, &s->words, &rq) == TM_OK)
        tm_shard_request(s, from, &rq);
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
    case TM_MESSAGE_WANT:
    case TM_MESSAGE_GIVE:
        on_missing(s, head, body);
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

static void make_hello(const struct tm_shard_config *c, struct hello *h)
{
    *h = (struct hello){.protocol = TM_NODE_PROTOCOL,
                        .workers = (uint8_t)c->node->workers,
                        .created = c->datadir->created};
    memcpy(h->uuid, c->datadir->cluster_uuid, 16);
    snprintf(h->node, sizeof h->node, "%s", c->node->spec.names[c->node->self]);
}

struct tm_post *tm_shard_post_new(struct tm_shard *s)
{
    struct hello h;
    make_hello(&s->config, &h);
    struct tm_post_config c = {.ctx = s->ctx,
                               .self = s->self,
                               .boot = s->node->boot,
                               .cluster_hash = s->node->cluster_hash,
                               .hello = tm_bytes_of(&h, sizeof h),
                               .ops = {.host = s,
                                       .message = on_message,
                                       .coming = on_coming,
                                       .local = post_local,
                                       .accept = on_accept,
                                       .up = on_up,
                                       .node_event = on_node_event}};
    return tm_post_new(&c);
}
