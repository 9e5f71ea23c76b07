/* What a peer worker is now, and what it says: READY to and fro, then messages.  A change of what
 * that follows from marks its block, and the next look tells the sink what has changed by that. */
#include "actors/link_way_internal.h"

#define READY_AGAIN_NS TM_MS(5)

static bool may_speak(const struct tm_link_way *way, const struct tm_link_way_block *b)
{
    return b->site >= 0 && b->hello.workers != 0 && way->sites[b->site].linked &&
           tm_link_way_standing(way, (unsigned)b->site) == TM_LINK_NOTED &&
           tm_link_way_is_uuid(way, (unsigned)b->site, b->hello.uuid);
}

static bool is_ready(const struct tm_link_way *way, struct tm_place at)
{
    const struct tm_link_way_block *b = &way->blocks[at.node];
    uint8_t both = TM_LINK_READY_SENT | TM_LINK_READY_GOT;
    return way->post != NULL && !b->gone && (b->peers[at.worker].said & both) == both &&
           may_speak(way, b) && tm_post_is_up(way->post, at);
}

/* Sends READY if that flag asks for it; true if it has been sent.  arg 1: an answer, which is not
 * answered in turn. */
static bool send_ready(struct tm_link_way *way, struct tm_place to, uint64_t arg)
{
    struct tm_message_head head = {.type = TM_MESSAGE_LINK_READY, .arg = arg};
    enum tm_err e = tm_post_send(way->post, to, head, NULL, 0);
    if (e == TM_ERR_FULL || e == TM_ERR_NOMEM)
        way->again_at = tm_ctx_now(way->config.ctx) + READY_AGAIN_NS;
    return e == TM_OK;
}

static void say_ready(struct tm_link_way *way, struct tm_place to)
{
    const struct tm_link_way_block *b = &way->blocks[to.node];
    struct tm_link_way_peer *p = &way->blocks[to.node].peers[to.worker];
    if (b->gone || p->boot == 0 || !may_speak(way, b))
        return;
    if ((p->said & TM_LINK_READY_SENT) == 0 && send_ready(way, to, 0))
        p->said |= TM_LINK_READY_SENT;
    if ((p->said & (TM_LINK_READY_SENT | TM_LINK_ANSWER_OWED)) ==
            (TM_LINK_READY_SENT | TM_LINK_ANSWER_OWED) &&
        send_ready(way, to, 1))
        p->said &= (uint8_t)~TM_LINK_ANSWER_OWED;
}

static void look_at_peer(struct tm_link_way *way, struct tm_place at)
{
    struct tm_link_way_block *b = &way->blocks[at.node];
    struct tm_link_way_peer *p = &b->peers[at.worker];
    const struct tm_link_way_ops *ops = &way->config.ops;
    say_ready(way, at);
    bool ready = is_ready(way, at), told = (p->said & TM_LINK_TOLD_UP) != 0;
    if (ready == told)
        return;
    p->said ^= TM_LINK_TOLD_UP;
    (ready ? ops->up : ops->down)(ops->host, (unsigned)b->site, at);
}

void tm_link_way_look(struct tm_link_way *way)
{
    for (uint64_t left = way->changed; left != 0; left &= left - 1) {
        unsigned block = (unsigned)__builtin_ctzll(left);
        way->changed &= ~(1ULL << block);
        for (unsigned w = 0; w < TM_WORKERS_MAX; w++)
            if (way->blocks[block].peers[w].boot != 0)
                look_at_peer(way, (struct tm_place){(uint8_t)block, (uint8_t)w});
    }
}

void tm_link_way_site_changed(struct tm_link_way *way, unsigned site)
{
    const struct tm_link_site *s = &way->config.sites[site];
    for (unsigned i = 0; i < s->count; i++)
        way->changed |= 1ULL << s->nodes[i].block;
}

void tm_link_way_say_anew(struct tm_link_way *way, unsigned block)
{
    for (unsigned w = 0; w < TM_WORKERS_MAX; w++)
        way->blocks[block].peers[w].said &= TM_LINK_TOLD_UP;
    way->changed |= 1ULL << block;
}

/* asks: it does not know that this worker is ready, and may have dropped what it got. */
static void on_ready(struct tm_link_way *way, struct tm_place from, bool asks)
{
    struct tm_link_way_block *b = &way->blocks[from.node];
    struct tm_link_way_peer *p = &b->peers[from.worker];
    if (asks && (p->said & TM_LINK_TOLD_UP) != 0) {
        p->said &= (uint8_t)~TM_LINK_TOLD_UP;
        way->config.ops.down(way->config.ops.host, (unsigned)b->site, from);
    }
    p->said |= (uint8_t)(TM_LINK_READY_GOT | (asks ? TM_LINK_ANSWER_OWED : 0));
    way->changed |= 1ULL << from.node;
}

void tm_link_way_on_message(void *host, const struct tm_message_head *head, struct tm_bytes body)
{
    struct tm_link_way *way = host;
    struct tm_link_way_block *b = &way->blocks[head->node];
    struct tm_link_way_peer *p = &b->peers[head->worker];
    struct tm_place from = {head->node, head->worker};
    if (head->type == TM_MESSAGE_LINK_READY) {
        on_ready(way, from, head->arg == 0);
        return;
    }
    /* What arrives between the peer's READY and the turn that tells of it comes after `up`. */
    if ((p->said & TM_LINK_TOLD_UP) == 0 && b->site >= 0)
        look_at_peer(way, from);
    if (head->type < TM_LINK_MESSAGE_FIRST || (p->said & TM_LINK_TOLD_UP) == 0 ||
        !may_speak(way, b)) {
        tm_counter_add(way->config.ctx->counters, TM_COUNTER_link_messages_dropped, 1);
        return;
    }
    way->config.ops.message(way->config.ops.host, (unsigned)b->site, head, body);
}

void tm_link_way_on_node_event(void *host, unsigned node, bool up)
{
    struct tm_link_way *way = host;
    struct tm_link_way_block *b = &way->blocks[node];
    if (b->site < 0 || b->gone == !up)
        return;
    b->gone = !up;
    tm_link_way_say_anew(way, node);
    if (!up && b->hello.workers != 0)
        tm_ctx_log(way->config.ctx, TM_LOG_WARN, "link_peer_down", "cluster=%s node=%s",
                   way->config.sites[b->site].name, tm_link_way_node_name(way, node));
}

bool tm_link_way_is_there(const struct tm_link_way *way, unsigned block)
{
    unsigned workers = block < TM_NODES_MAX ? way->blocks[block].hello.workers : 0;
    for (unsigned w = 0; w < workers; w++)
        if (is_ready(way, (struct tm_place){(uint8_t)block, (uint8_t)w}))
            return true;
    return false;
}

struct tm_place tm_link_way_place(const struct tm_link_way *way, unsigned block, uint32_t t)
{
    TM_ASSERT(block < TM_NODES_MAX);
    unsigned workers = way->blocks[block].hello.workers;
    return (struct tm_place){.node = (uint8_t)block,
                             .worker = (uint8_t)(workers > 1 ? t % workers : 0)};
}

bool tm_link_way_is_up(const struct tm_link_way *way, struct tm_place to)
{
    return to.node < TM_NODES_MAX && to.worker < TM_WORKERS_MAX && is_ready(way, to);
}

enum tm_err tm_link_way_send(struct tm_link_way *way, struct tm_place to,
                             struct tm_message_head head, const struct tm_bytes *pieces, unsigned n)
{
    TM_ASSERT(head.type > TM_MESSAGE_LINK_READY);
    if (!tm_link_way_is_up(way, to)) {
        if (way->post != NULL && tm_link_way_is_there(way, to.node) &&
            to.worker < way->blocks[to.node].hello.workers)
            tm_post_know(way->post, to);
        return TM_ERR_CLOSED;
    }
    return tm_post_send(way->post, to, head, pieces, n);
}
