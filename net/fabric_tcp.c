/* fabric_tcp.c: the table of the tcp fabric, its timers, and how it is made.
 *
 * A frame sent is its length and its pieces, copied once into the connection's output, which
 * leaves at the end of the turn.  A pair (this worker, a peer's worker) has at most one link, and
 * a link one connection (fabric_tcp_link.c).  Without one, a frame is answered CLOSED, and if it is
 * on this side to connect, it does so from then on.
 *
 * The actor has nothing to do but what is due: connections to try again, and links that kept
 * silent while connecting or greeting. */
#include "net/fabric_tcp_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PIECES_MAX   16
#define OUTPUT_LIMIT ((uint32_t)1 << 20)
#define OUTPUT_TOTAL ((uint32_t)64 << 20)
#define RECV_BUFFERS 32
#define RECV_BYTES   (64 << 10)

/* --- the actor: timers ------------------------------------------------------------------------ */

static enum tm_err actor_start(void *self, struct tm_worker *worker, char *why, size_t why_len)
{
    struct tcp *t = self;
    struct tm_socket_handler handler;
    t->counters = worker->ctx.counters;
    if (tm_socket_accept(t->hub, t->cfg.listen_fd, tm_tcp_handler(t, &handler), NULL) == NULL) {
        snprintf(why, why_len, "no memory for the listener of the tcp fabric");
        return TM_ERR_NOMEM;
    }
    t->listening = true;
    return TM_OK;
}

static void actor_stop(void *self)
{
    ((struct tcp *)self)->stopped = true;
}

static unsigned attend_pairs(struct tcp *t, uint64_t now)
{
    unsigned done = 0;
    for (unsigned node = t->cfg.node + 1; node < TM_NODES_MAX; node++) {
        struct tcp_peer *peer = &t->peers[node];
        for (unsigned w = 0; w < peer->cfg.workers; w++) {
            struct tcp_pair *pair = &peer->pairs[w];
            if (!pair->wanted || pair->link != NULL)
                continue;
            if (now < pair->retry_at) {
                tm_tcp_wake_within(t, pair->retry_at);
                continue;
            }
            tm_tcp_connect(t, pair);
            done++;
        }
    }
    return done;
}

static unsigned attend_links(struct tcp *t, uint64_t now)
{
    unsigned done = 0;
    for (struct tcp_link *l = t->links; l != NULL; l = l->next) {
        if (l->state != LINK_CONNECTING && l->state != LINK_GREETING)
            continue;
        uint64_t until = l->since + (l->state == LINK_CONNECTING ? TCP_CONNECT_NS : TCP_GREET_NS);
        if (now < until) {
            tm_tcp_wake_within(t, until);
            continue;
        }
        tm_tcp_link_abort(t, l, "no answer in time");
        done++;
    }
    return done;
}

static unsigned actor_poll(void *self)
{
    struct tcp *t = self;
    uint64_t now = tm_tcp_now(t);
    if (now < t->wake_at)
        return 0;
    t->wake_at = TCP_NEVER;
    return attend_links(t, now) + attend_pairs(t, now);
}

static uint64_t actor_deadline(void *self)
{
    return ((struct tcp *)self)->wake_at;
}

static const struct tm_actor_ops actor_ops = {
    .name = "fabric_tcp",
    .phase = TM_PHASE_TIMERS,
    .start = actor_start,
    .stop = actor_stop,
    .poll = actor_poll,
    .next_deadline = actor_deadline,
};

/* --- the table -------------------------------------------------------------------------------- */

static enum tm_err dropped(struct tcp *t, enum tm_err err)
{
    tm_tcp_count(t, TM_COUNTER_tcp_frames_dropped, TM_COUNTER_link_frames_dropped, 1);
    return err;
}

static enum tm_err table_send(struct tm_fabric *f, unsigned node, unsigned worker,
                              const struct tm_bytes *pieces, unsigned count)
{
    struct tcp *t = f->host;
    struct tcp_pair *pair = tm_tcp_find_pair(t, node, worker);
    struct tm_bytes all[1 + PIECES_MAX];
    uint8_t prefix[TCP_PREFIX];
    size_t len = 0;
    TM_ASSERT(count <= PIECES_MAX);
    if (pair == NULL)
        return dropped(t, TM_ERR_CLOSED);
    if (pair->link == NULL || pair->link->state != LINK_OPEN) {
        if (!pair->wanted && node > t->cfg.node) {
            pair->wanted = true;
            tm_tcp_wake_within(t, 0);
        }
        return dropped(t, TM_ERR_CLOSED);
    }
    for (unsigned i = 0; i < count; i++) {
        all[1 + i] = pieces[i];
        len += pieces[i].len;
    }
    TM_ASSERT(len >= 1 && len <= TM_FABRIC_TCP_FRAME);
    tm_store32(prefix, (uint32_t)len);
    all[0] = tm_bytes_of(prefix, TCP_PREFIX);
    enum tm_err err = tm_socket_sendv(pair->link->conn, all, 1 + count);
    if (err != TM_OK)
        return dropped(t, err);
    tm_tcp_count(t, TM_COUNTER_tcp_frames_sent, TM_COUNTER_link_frames_sent, 1);
    tm_tcp_count(t, TM_COUNTER_tcp_bytes_sent, TM_COUNTER_link_bytes_sent, len);
    return TM_OK;
}

/* Frames and events come out of the worker's completions. */
static unsigned table_poll(struct tm_fabric *f, unsigned budget)
{
    (void)f, (void)budget;
    return 0;
}

/* Frames sent after the hub's own flush of this turn leave now too. */
static void table_flush(struct tm_fabric *f)
{
    struct tcp *t = f->host;
    tm_socket_hub_ops()->flush(t->hub);
}

static bool table_park(struct tm_fabric *f)
{
    (void)f;
    return true;
}

static void table_unpark(struct tm_fabric *f)
{
    (void)f;
}

static void free_all(struct tcp *t)
{
    if (t->hub != NULL)
        tm_socket_hub_delete(t->hub);
    free(t->all_links);
    free(t->all_pairs);
    free(t);
}

static void table_close(struct tm_fabric *f)
{
    struct tcp *t = f->host;
    if (!t->listening)
        close(t->cfg.listen_fd);
    free_all(t);
}

/* --- making it -------------------------------------------------------------------------------- */

static bool config_valid(const struct tm_fabric_tcp_config *cfg)
{
    if (cfg->node >= TM_NODES_MAX || cfg->worker >= TM_WORKERS_MAX || cfg->listen_fd < 0 ||
        (cfg->output_limit != 0 && cfg->output_limit < 65536))
        return false;
    for (unsigned n = 0; n < TM_NODES_MAX; n++)
        if (cfg->peers[n].workers > TM_WORKERS_MAX)
            return false;
    return true;
}

static unsigned count_workers(const struct tcp *t)
{
    unsigned workers = 0;
    for (unsigned n = 0; n < TM_NODES_MAX; n++)
        workers += n != t->cfg.node ? t->cfg.peers[n].workers : 0;
    return workers;
}

static void add_peers(struct tcp *t)
{
    struct tcp_pair *pair = t->all_pairs;
    for (unsigned n = 0; n < TM_NODES_MAX; n++) {
        struct tcp_peer *peer = &t->peers[n];
        peer->node = n;
        if (n == t->cfg.node)
            continue;
        peer->cfg = t->cfg.peers[n];
        peer->pairs = pair;
        for (unsigned w = 0; w < peer->cfg.workers; w++)
            *pair++ = (struct tcp_pair){.peer = peer, .worker = w};
    }
    t->cfg.peers = NULL;
}

static struct tm_socket_hub *make_hub(const struct tcp *t, unsigned connections)
{
    struct tm_socket_config config = {
        .max_connections = connections,
        .recv_buffers = RECV_BUFFERS,
        .recv_bytes = RECV_BYTES,
        .output_limit = t->cfg.output_limit != 0 ? t->cfg.output_limit : OUTPUT_LIMIT,
        .output_total = OUTPUT_TOTAL,
        .buffer_group = t->cfg.buffer_group,
    };
    return tm_socket_hub_new(&config);
}

/* All the memory that the fabric ever uses. */
static bool make_all(struct tcp *t)
{
    unsigned workers = count_workers(t);
    /* A replaced connection may still be there beside the new one. */
    unsigned links = 2 * workers + TCP_STRANGERS;
    t->all_pairs = calloc(workers + 1, sizeof *t->all_pairs);
    t->all_links = calloc(links, sizeof *t->all_links);
    if (t->all_pairs == NULL || t->all_links == NULL)
        return false;
    for (unsigned i = 0; i + 1 < links; i++)
        t->all_links[i].next = &t->all_links[i + 1];
    t->spare = t->all_links;
    add_peers(t);
    t->hub = make_hub(t, links);
    return t->hub != NULL;
}

enum tm_err tm_fabric_tcp_new(const struct tm_fabric_tcp_config *cfg, struct tm_worker *worker,
                              const struct tm_fabric_sink *sink, struct tm_fabric **out)
{
    if (!config_valid(cfg))
        return TM_ERR_INVALID;
    struct tcp *t = calloc(1, sizeof *t);
    if (t == NULL)
        return TM_ERR_NOMEM;
    *t = (struct tcp){.cfg = *cfg, .sink = *sink, .worker = worker, .wake_at = TCP_NEVER};
    if (!make_all(t)) {
        free_all(t);
        return TM_ERR_NOMEM;
    }
    if (tm_worker_add(worker, tm_socket_hub_ops(), t->hub) != TM_OK ||
        tm_worker_add(worker, &actor_ops, t) != TM_OK) {
        free_all(t);
        return TM_ERR_FULL;
    }
    t->fabric = (struct tm_fabric){
        .host = t,
        .name = "tcp",
        .max_frame = TM_FABRIC_TCP_FRAME,
        .send = table_send,
        .poll = table_poll,
        .flush = table_flush,
        .park = table_park,
        .unpark = table_unpark,
        .close = table_close,
    };
    *out = &t->fabric;
    return TM_OK;
}
