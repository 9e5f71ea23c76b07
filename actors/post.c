/* Channels in a table by (node, worker), and in a list for the end of the turn.  A channel lives as
 * long as the post: the peer's restarts are its own matter.
 *
 * What a channel has to do, and when, changes only when something is done to it.  So whoever does
 * something marks it as touched, and the end of the turn looks at those, and at those whose
 * deadline, kept in one row for all, has come: with many peers most have nothing to do most of the
 * time. */
#include "actors/post.h"

#include "runtime/counters.h"

#include <stdlib.h>

#define PIECES_MAX 80
#define LINKS_MAX  (TM_NODES_MAX * 4)

struct link {
    struct tm_post *post;
    struct tm_channel *channel;
    struct tm_place peer;
    unsigned index; /* in the list */
    bool waits;     /* a message came while memory was short */
};

struct tm_post {
    struct tm_post_config config;
    struct tm_fabric *fabric;
    struct link *links[TM_NODES_MAX][TM_WORKERS_MAX];
    struct link *list[LINKS_MAX]; /* those that exist; more than that are refused */
    uint64_t due[LINKS_MAX]; /* of each in the list: deadline, as of when it was last looked at */
    uint64_t touched[LINKS_MAX / 64]; /* a bit for each: due[] does not hold any more */
    uint64_t again[LINKS_MAX / 64]; /* to be tried each turn: frame not taken, or short of memory */
    uint64_t boot[TM_NODES_MAX];    /* of the process of each node that a channel met last */
    unsigned count;
    uint8_t *scratch; /* for messages that arrive misaligned */
    size_t scratch_cap;
    uint8_t hello[TM_CHANNEL_HELLO_MAX];
};

static void count(const struct tm_post *post, enum tm_counter own, enum tm_counter links)
{
    tm_counter_add(post->config.ctx->counters, post->config.links ? links : own, 1);
}

static void set_bit(uint64_t *bits, unsigned i)
{
    bits[i / 64] |= UINT64_C(1) << (i % 64);
}

static bool take_bit(uint64_t *bits, unsigned i)
{
    bool was = (bits[i / 64] >> (i % 64) & 1) != 0;
    bits[i / 64] &= ~(UINT64_C(1) << (i % 64));
    return was;
}

static void touch(struct link *l)
{
    set_bit(l->post->touched, l->index);
}

/* ---- what the channels tell ---- */

static enum tm_err on_emit(void *host, struct tm_channel *ch, const struct tm_bytes *pieces,
                           unsigned count)
{
    struct link *l = host;
    (void)ch;
    enum tm_err err =
        l->post->fabric->send(l->post->fabric, l->peer.node, l->peer.worker, pieces, count);
    if (err == TM_ERR_FULL)
        set_bit(l->post->again, l->index);
    return err;
}

/* The message at an 8-aligned address; NULL if memory is short. */
static const uint8_t *aligned(struct tm_post *post, struct tm_bytes message)
{
    if (((uintptr_t)message.data & 7) == 0)
        return message.data;
    if (message.len > post->scratch_cap) {
        size_t cap = tm_align_up(message.len, TM_KIB(64));
        void *p = realloc(post->scratch, cap);
        if (p == NULL)
            return NULL;
        post->scratch = p;
        post->scratch_cap = cap;
    }
    memcpy(post->scratch, message.data, message.len);
    return post->scratch;
}

static bool on_message(void *host, struct tm_channel *ch, struct tm_bytes message)
{
    struct link *l = host;
    struct tm_post *post = l->post;
    struct tm_message_head head;
    (void)ch;
    if (message.len < sizeof head)
        return true;
    const uint8_t *data = aligned(post, message);
    if (data == NULL) {
        l->waits = true;
        set_bit(post->again, l->index);
        return false;
    }
    memcpy(&head, data, sizeof head);
    head.node = l->peer.node;
    head.worker = l->peer.worker;
    count(post, TM_COUNTER_channel_messages_received, TM_COUNTER_link_messages_received);
    post->config.ops.message(post->config.ops.host, &head,
                             tm_bytes_of(data + sizeof head, message.len - sizeof head));
    return true;
}

static void on_coming(void *host, struct tm_channel *ch, struct tm_bytes message)
{
    struct link *l = host;
    struct tm_message_head head;
    (void)ch;
    if (l->post->config.ops.coming == NULL || message.len < sizeof head)
        return;
    memcpy(&head, message.data, sizeof head);
    l->post->config.ops.coming(l->post->config.ops.host, &head);
}

static const char *on_accept(void *host, struct tm_channel *ch, struct tm_bytes hello)
{
    struct link *l = host;
    (void)ch;
    return l->post->config.ops.accept(l->post->config.ops.host, l->peer, hello);
}

static void ask(struct link *l)
{
    tm_channel_ask(l->channel, tm_ctx_now(l->post->config.ctx));
    touch(l);
}

/* Two processes of one node cannot both be there: asks all channels that are at odds.  Nobody else
 * might: nothing is sent to who is not link_up, and a process that was met once says no more hello,
 * or never did to this worker. */
static void ask_who_lives(struct link *l, uint64_t boot)
{
    bool odds = false;
    for (unsigned i = 0; i < l->post->count; i++) {
        struct link *other = l->post->list[i];
        if (other == l || other->peer.node != l->peer.node || !tm_channel_is_up(other->channel) ||
            tm_channel_peer_boot(other->channel) == boot)
            continue;
        ask(other);
        odds = true;
    }
    if (odds)
        ask(l);
}

static void on_up(void *host, struct tm_channel *ch, uint64_t boot, struct tm_bytes hello)
{
    struct link *l = host;
    (void)ch;
    l->post->boot[l->peer.node] = boot;
    ask_who_lives(l, boot);
    l->post->config.ops.up(l->post->config.ops.host, l->peer, hello, boot);
}

static void on_reset(void *host, struct tm_channel *ch, uint64_t dropped)
{
    struct link *l = host;
    (void)ch;
    count(l->post, TM_COUNTER_channel_resets, TM_COUNTER_link_resets);
    tm_ctx_log(l->post->config.ctx, TM_LOG_INFO, "peer_restarted",
               "node=%u worker=%u messages_dropped=%llu", l->peer.node, l->peer.worker,
               (unsigned long long)dropped);
}

static void on_refused(void *host, struct tm_channel *ch, const char *reason)
{
    struct link *l = host;
    const struct tm_post_ops *ops = &l->post->config.ops;
    (void)ch;
    if (ops->refused != NULL) {
        ops->refused(ops->host, l->peer, reason);
        return;
    }
    tm_ctx_log(l->post->config.ctx, TM_LOG_ERROR, "peer_refuses", "node=%u worker=%u reason=\"%s\"",
               l->peer.node, l->peer.worker, reason);
}

static void on_writable(void *host, struct tm_channel *ch)
{
    /* Who was refused with FULL tries again by its own timer. */
    (void)host;
    (void)ch;
}

/* ---- links ---- */

static struct link *link_new(struct tm_post *post, struct tm_place peer)
{
    if (post->count == TM_ARRAY_LEN(post->list) || post->fabric == NULL)
        return NULL;
    struct link *l = calloc(1, sizeof *l);
    if (l == NULL)
        return NULL;
    *l = (struct link){.post = post, .peer = peer, .index = post->count};
    struct tm_channel_config cfg = {
        .cluster = post->config.cluster_hash,
        .boot = post->config.boot,
        .local_node = post->config.self.node,
        .local_worker = post->config.self.worker,
        .peer_node = peer.node,
        .peer_worker = peer.worker,
        .max_frame = post->fabric->max_frame,
        .hello = tm_bytes_of(post->hello, post->config.hello.len),
        .sink = {.host = l,
                 .emit = on_emit,
                 .message = on_message,
                 .accept = on_accept,
                 .up = on_up,
                 .reset = on_reset,
                 .refused = on_refused,
                 .writable = on_writable,
                 .coming = on_coming},
    };
    if (tm_channel_new(&cfg, &l->channel) != TM_OK) {
        free(l);
        return NULL;
    }
    post->links[peer.node][peer.worker] = l;
    post->list[post->count++] = l;
    touch(l);
    return l;
}

/* Once another process of the node is known, what leads to the one before leads nowhere.  Boot ids
 * have no order: a channel that meets the one before late, by a welcome that was long under way,
 * brings all others down until it meets the present one, which it asks for (ask_who_lives). */
static bool link_up(const struct link *l)
{
    return l != NULL && tm_channel_is_up(l->channel) &&
           tm_channel_peer_boot(l->channel) == l->post->boot[l->peer.node];
}

static struct link *link_to(struct tm_post *post, struct tm_place peer)
{
    if (peer.node >= TM_NODES_MAX || peer.worker >= TM_WORKERS_MAX ||
        peer.node == post->config.self.node)
        return NULL;
    struct link *l = post->links[peer.node][peer.worker];
    return l != NULL ? l : link_new(post, peer);
}

struct tm_post *tm_post_new(const struct tm_post_config *config)
{
    TM_ASSERT(config->hello.len <= TM_CHANNEL_HELLO_MAX);
    struct tm_post *post = calloc(1, sizeof *post);
    if (post == NULL)
        return NULL;
    post->config = *config;
    memcpy(post->hello, config->hello.data, config->hello.len);
    return post;
}

void tm_post_free(struct tm_post *post)
{
    if (post == NULL)
        return;
    for (unsigned i = 0; i < post->count; i++) {
        tm_channel_free(post->list[i]->channel);
        free(post->list[i]);
    }
    free(post->scratch);
    free(post);
}

/* ---- the fabric's side ---- */

static void on_frame(void *host, unsigned node, unsigned worker, uint8_t *data, size_t len)
{
    struct tm_post *post = host;
    struct link *l =
        link_to(post, (struct tm_place){.node = (uint8_t)node, .worker = (uint8_t)worker});
    if (l == NULL)
        return;
    touch(l);
    tm_channel_input(l->channel, data, len, tm_ctx_now(post->config.ctx));
}

static void on_event(void *host, unsigned node, enum tm_fabric_event event)
{
    struct tm_post *post = host;
    bool up = event == TM_FABRIC_PEER_UP;
    uint64_t now = tm_ctx_now(post->config.ctx);
    if (up)
        count(post, TM_COUNTER_peer_ups, TM_COUNTER_link_ups);
    else
        count(post, TM_COUNTER_peer_downs, TM_COUNTER_link_downs);
    for (unsigned i = 0; i < post->count; i++) {
        if (post->list[i]->peer.node != node)
            continue;
        touch(post->list[i]);
        if (up)
            tm_channel_peer_up(post->list[i]->channel, now);
        else
            tm_channel_peer_down(post->list[i]->channel, now);
    }
    post->config.ops.node_event(post->config.ops.host, node, up);
}

struct tm_fabric_sink tm_post_sink(struct tm_post *post)
{
    return (struct tm_fabric_sink){.host = post, .frame = on_frame, .event = on_event};
}

void tm_post_set_fabric(struct tm_post *post, struct tm_fabric *fabric)
{
    post->fabric = fabric;
}

void tm_post_know(struct tm_post *post, struct tm_place to)
{
    (void)link_to(post, to);
}

/* ---- sending ---- */

static enum tm_err send_far(struct tm_post *post, struct tm_place to, const struct tm_bytes *pieces,
                            unsigned n)
{
    struct link *l = link_to(post, to);
    if (!link_up(l))
        return TM_ERR_CLOSED;
    touch(l);
    enum tm_err e = tm_channel_send(l->channel, pieces, n);
    if (e == TM_OK)
        count(post, TM_COUNTER_channel_messages_sent, TM_COUNTER_link_messages_sent);
    else if (e == TM_ERR_FULL)
        count(post, TM_COUNTER_channel_full, TM_COUNTER_link_full);
    return e;
}

enum tm_err tm_post_send(struct tm_post *post, struct tm_place to, struct tm_message_head head,
                         const struct tm_bytes *pieces, unsigned count)
{
    struct tm_bytes all[PIECES_MAX + 1];
    TM_ASSERT(count <= PIECES_MAX);
    head.node = post->config.self.node;
    head.worker = post->config.self.worker;
    all[0] = tm_bytes_of(&head, sizeof head);
    unsigned used = 1;
    for (unsigned i = 0; i < count; i++)
        if (pieces[i].len > 0)
            all[used++] = pieces[i];
    if (to.node != post->config.self.node)
        return send_far(post, to, all, used);
    TM_ASSERT(to.worker != post->config.self.worker);
    return post->config.ops.local(post->config.ops.host, to.worker, all, used);
}

void tm_post_local(struct tm_post *post, unsigned worker, struct tm_bytes message)
{
    struct tm_message_head head;
    TM_ASSERT(message.len >= sizeof head && ((uintptr_t)message.data & 7) == 0);
    memcpy(&head, message.data, sizeof head);
    TM_ASSERT(head.node == post->config.self.node && head.worker == worker);
    post->config.ops.message(post->config.ops.host, &head,
                             tm_bytes_of(message.data + sizeof head, message.len - sizeof head));
}

bool tm_post_is_up(const struct tm_post *post, struct tm_place to)
{
    if (to.node == post->config.self.node)
        return true;
    return link_up(post->links[to.node][to.worker]);
}

/* ---- the turn ---- */

/* Brings due[] up to date. */
static void look(struct tm_post *post)
{
    for (unsigned w = 0; w < TM_ARRAY_LEN(post->touched); w++)
        for (; post->touched[w] != 0; post->touched[w] &= post->touched[w] - 1) {
            unsigned i = w * 64 + (unsigned)__builtin_ctzll(post->touched[w]);
            post->due[i] = tm_channel_next_deadline(post->list[i]->channel);
        }
}

static void flush_link(struct link *l, uint64_t now)
{
    if (l->waits) {
        l->waits = false;
        tm_channel_resume(l->channel);
    }
    tm_channel_flush(l->channel, now);
    touch(l);
}

void tm_post_flush(struct tm_post *post)
{
    uint64_t now = tm_ctx_now(post->config.ctx);
    look(post);
    for (unsigned i = 0; i < post->count; i++)
        if (take_bit(post->again, i) || post->due[i] <= now)
            flush_link(post->list[i], now);
}

uint64_t tm_post_next_deadline(struct tm_post *post)
{
    uint64_t next = UINT64_MAX;
    look(post);
    for (unsigned i = 0; i < post->count; i++)
        next = tm_min_u64(next, post->due[i]);
    return next;
}

void tm_post_housekeep(struct tm_post *post)
{
    uint64_t retransmits = 0, drops = 0;
    for (unsigned i = 0; i < post->count; i++) {
        struct tm_channel *ch = post->list[i]->channel;
        const struct tm_channel_stats *st = tm_channel_stats(ch);
        retransmits += st->retransmits;
        drops += st->duplicates + st->invalid + st->versions + st->foreign + st->corrupt +
                 st->misrouted + st->stale;
        if (tm_channel_idle(ch))
            tm_channel_trim(ch);
    }
    bool links = post->config.links;
    struct tm_counters *c = post->config.ctx->counters;
    tm_counter_set(c, links ? TM_COUNTER_link_retransmits : TM_COUNTER_channel_retransmits,
                   retransmits);
    tm_counter_set(c, links ? TM_COUNTER_link_drops : TM_COUNTER_channel_drops, drops);
}

bool tm_post_idle(const struct tm_post *post)
{
    for (unsigned i = 0; i < post->count; i++)
        if (!tm_channel_idle(post->list[i]->channel))
            return false;
    return true;
}
