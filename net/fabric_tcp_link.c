/* fabric_tcp_link.c: the connections of the tcp fabric, and the frames that arrive on them.
 *
 * A link's life is CONNECTING → GREETING → OPEN → GONE, where an accepted one begins at GREETING
 * and belongs to no pair before it said who it is.  Bytes received are cut into frames where they
 * lie; only a frame that is cut by the end of a receive buffer is put together.  A newer connection
 * of the same peer worker replaces the older one, whose process is dead or has given it up.
 *
 * What goes wrong ends the connection: a greeting that is not to the point, a length out of range.
 * The connector tries again, with growing pauses unless the link had been open for a while. */
#include "net/fabric_tcp_internal.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#define PAUSE_FIRST_NS  TM_MS(10)
#define PAUSE_LAST_NS   TM_MS(500)
#define LASTED_NS       TM_MS(100) /* open that long: the next try is immediate */
#define USER_TIMEOUT_MS 5000       /* unacknowledged by the peer's kernel */

#define GREETING_MAGIC   0x43464d54u /* "TMFC" */
#define GREETING_VERSION 1

/* The first bytes in each direction. */
struct greeting {
    uint32_t magic;
    uint8_t version;
    uint8_t src_node;
    uint8_t src_worker;
    uint8_t dst_node;
    uint8_t dst_worker;
    uint8_t zero[7];
    uint64_t cluster;
};
TM_STATIC_ASSERT(sizeof(struct greeting) == 24, "on the wire");
TM_STATIC_ASSERT(offsetof(struct greeting, dst_worker) == 8, "on the wire");
TM_STATIC_ASSERT(offsetof(struct greeting, cluster) == 16, "on the wire");

struct tcp_pair *tm_tcp_find_pair(struct tcp *t, unsigned node, unsigned worker)
{
    if (node >= TM_NODES_MAX || worker >= t->peers[node].cfg.workers)
        return NULL;
    return &t->peers[node].pairs[worker];
}

/* --- links ------------------------------------------------------------------------------------ */

static struct tcp_link *link_new(struct tcp *t, struct tcp_pair *pair, enum tcp_link_state state)
{
    struct tcp_link *l = t->spare;
    if (l == NULL)
        return NULL;
    t->spare = l->next;
    l->conn = NULL;
    l->pair = pair;
    l->state = state;
    l->since = tm_tcp_now(t);
    l->fill = 0;
    l->prev = NULL;
    l->next = t->links;
    if (t->links != NULL)
        t->links->prev = l;
    t->links = l;
    t->strangers += pair == NULL;
    tm_tcp_wake_within(t, l->since + (state == LINK_CONNECTING ? TCP_CONNECT_NS : TCP_GREET_NS));
    return l;
}

void tm_tcp_link_free(struct tcp *t, struct tcp_link *l)
{
    if (l->prev != NULL)
        l->prev->next = l->next;
    else
        t->links = l->next;
    if (l->next != NULL)
        l->next->prev = l->prev;
    t->strangers -= l->pair == NULL;
    l->next = t->spare;
    t->spare = l;
}

static void tell(struct tcp *t, const struct tcp_peer *peer, enum tm_fabric_event event)
{
    bool up = event == TM_FABRIC_PEER_UP;
    if (!t->cfg.links)
        tm_counter_add(t->counters, up ? TM_COUNTER_peer_ups : TM_COUNTER_peer_downs, 1);
    tm_ctx_log(&t->worker->ctx, TM_LOG_INFO, up ? "fabric_peer_up" : "fabric_peer_down",
               "fabric=%s peer=%u", t->cfg.links ? "links" : "tcp", peer->node);
    t->sink.event(t->sink.host, peer->node, event);
}

/* It no longer carries frames; says whether it did, and that it was the peer's last one. */
static bool link_leave(struct tcp_link *l)
{
    bool open = l->state == LINK_OPEN;
    l->state = LINK_GONE;
    if (l->pair != NULL && l->pair->link == l)
        l->pair->link = NULL;
    return open && --l->pair->peer->open == 0;
}

static void link_open(struct tcp *t, struct tcp_link *l)
{
    l->state = LINK_OPEN;
    l->since = tm_tcp_now(t);
    l->fill = 0;
    l->pair->peer->open++;
    tell(t, l->pair->peer, TM_FABRIC_PEER_UP);
}

/* --- connecting ------------------------------------------------------------------------------- */

static void try_later(struct tcp *t, struct tcp_pair *pair)
{
    pair->pause = pair->pause == 0 ? PAUSE_FIRST_NS : tm_min_u64(2 * pair->pause, PAUSE_LAST_NS);
    pair->retry_at = tm_tcp_now(t) + pair->pause;
    tm_tcp_wake_within(t, pair->retry_at);
}

static void try_again(struct tcp *t, struct tcp_pair *pair, bool at_once)
{
    if (!at_once) {
        try_later(t, pair);
        return;
    }
    pair->pause = 0;
    pair->retry_at = tm_tcp_now(t);
    tm_tcp_wake_within(t, pair->retry_at);
}

void tm_tcp_link_abort(struct tcp *t, struct tcp_link *l, const char *reason)
{
    struct tcp_pair *pair = l->pair;
    bool last = link_leave(l);
    tm_socket_abort(l->conn, reason);
    if (pair != NULL && pair->wanted)
        try_later(t, pair);
    if (last)
        tell(t, pair->peer, TM_FABRIC_PEER_DOWN);
}

void tm_tcp_connect(struct tcp *t, struct tcp_pair *pair)
{
    struct tm_addr addr = pair->peer->cfg.addr;
    struct tm_socket_handler handler;
    tm_addr_set_port(&addr, pair->peer->cfg.port[pair->worker]);
    struct tcp_link *l = link_new(t, pair, LINK_CONNECTING);
    if (l != NULL &&
        tm_socket_connect(t->hub, &addr, tm_tcp_handler(t, &handler), l, &l->conn) != TM_OK) {
        tm_tcp_link_free(t, l);
        l = NULL;
    }
    pair->link = l;
    if (l == NULL)
        try_later(t, pair);
}

static void greet(struct tcp *t, struct tcp_link *l)
{
    struct greeting g = {.magic = GREETING_MAGIC,
                         .version = GREETING_VERSION,
                         .src_node = (uint8_t)t->cfg.node,
                         .src_worker = (uint8_t)t->cfg.worker,
                         .dst_node = (uint8_t)l->pair->peer->node,
                         .dst_worker = (uint8_t)l->pair->worker,
                         .cluster = t->cfg.cluster};
    /* A new connection has room; if it is gone, `closed` follows. */
    (void)tm_socket_send(l->conn, &g, sizeof g);
}

static void set_options(const struct tm_conn *conn)
{
    int fd = tm_conn_fd(conn), one = 1, timeout = USER_TIMEOUT_MS;
    /* Without them it works as well, later. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
}

static void on_opened(void *host, struct tm_conn *conn)
{
    struct tcp *t = host;
    struct tcp_link *l = tm_conn_user(conn);
    set_options(conn);
    if (l == NULL) {
        l = t->strangers < TCP_STRANGERS ? link_new(t, NULL, LINK_GREETING) : NULL;
        if (l == NULL) {
            tm_socket_abort(conn, "too many that did not greet");
            return;
        }
        l->conn = conn;
        tm_conn_set_user(conn, l);
        return;
    }
    if (l->state != LINK_CONNECTING)
        return;
    l->conn = conn;
    l->state = LINK_GREETING;
    l->since = tm_tcp_now(t);
    tm_tcp_wake_within(t, l->since + TCP_GREET_NS);
    greet(t, l);
}

static void on_closed(void *host, struct tm_conn *conn, const char *reason, int errnum)
{
    struct tcp *t = host;
    struct tcp_link *l = tm_conn_user(conn);
    if (l == NULL || t->stopped)
        return;
    struct tcp_pair *pair = l->pair;
    bool surprise = l->state != LINK_GONE;
    bool lasted = l->state == LINK_OPEN && tm_tcp_now(t) - l->since >= LASTED_NS;
    bool last = link_leave(l);
    tm_ctx_log(&t->worker->ctx, TM_LOG_DEBUG, "fabric_link_closed",
               "peer=%d worker=%d reason=\"%s\" errno=%d", pair ? (int)pair->peer->node : -1,
               pair ? (int)pair->worker : -1, reason, errnum);
    tm_tcp_link_free(t, l);
    if (surprise && pair != NULL && pair->wanted)
        try_again(t, pair, lasted);
    if (last)
        tell(t, pair->peer, TM_FABRIC_PEER_DOWN);
}

/* --- input ------------------------------------------------------------------------------------ */

/* The pair that an accepted connection speaks for; NULL: it has no business here. */
static struct tcp_pair *introduced(struct tcp *t, const struct greeting *g)
{
    if (g->magic != GREETING_MAGIC || g->version != GREETING_VERSION ||
        g->cluster != t->cfg.cluster || g->dst_node != t->cfg.node ||
        g->dst_worker != t->cfg.worker)
        return NULL;
    return tm_tcp_find_pair(t, g->src_node, g->src_worker);
}

/* False: the link is gone. */
static bool greeted(struct tcp *t, struct tcp_link *l, const struct greeting *g)
{
    struct tcp_pair *pair = introduced(t, g);
    bool ours = l->pair != NULL;
    if (pair == NULL || (ours ? pair != l->pair : pair->peer->node > t->cfg.node)) {
        tm_ctx_log(&t->worker->ctx, TM_LOG_WARN, "fabric_stranger",
                   "fabric=tcp peer=%u worker=%u cluster=%016llx", g->src_node, g->src_worker,
                   (unsigned long long)g->cluster);
        tm_tcp_link_abort(t, l, "greeting not to the point");
        return false;
    }
    if (!ours) {
        struct tcp_link *old = pair->link;
        if (old != NULL) {
            (void)link_leave(old);
            tm_socket_abort(old->conn, "replaced");
        }
        t->strangers--;
        l->pair = pair;
        pair->link = l;
        greet(t, l);
    }
    link_open(t, l);
    return true;
}

static void deliver(struct tcp *t, struct tcp_link *l, uint8_t *frame, size_t len)
{
    tm_tcp_count(t, TM_COUNTER_tcp_frames_received, TM_COUNTER_link_frames_received, 1);
    tm_tcp_count(t, TM_COUNTER_tcp_bytes_received, TM_COUNTER_link_bytes_received, len);
    t->sink.frame(t->sink.host, l->pair->peer->node, l->pair->worker, frame, len);
}

/* Bytes that the unit beginning at p has in all, as far as len bytes of it tell; 0: nonsense. */
static size_t unit_size(const struct tcp_link *l, const uint8_t *p, size_t len)
{
    if (l->state == LINK_GREETING)
        return sizeof(struct greeting);
    if (len < TCP_PREFIX)
        return TCP_PREFIX;
    uint32_t n = tm_load32(p);
    return n == 0 || n > TM_FABRIC_TCP_FRAME ? 0 : TCP_PREFIX + n;
}

/* One whole greeting or frame.  False: the link is gone. */
static bool take_unit(struct tcp *t, struct tcp_link *l, uint8_t *p, size_t size)
{
    if (l->state == LINK_GREETING) {
        struct greeting g;
        memcpy(&g, p, sizeof g);
        return greeted(t, l, &g);
    }
    deliver(t, l, p + TCP_PREFIX, size - TCP_PREFIX);
    return l->state == LINK_OPEN;
}

/* Adds to the unit in part; returns the bytes taken, or SIZE_MAX if the link is gone. */
static size_t complete_part(struct tcp *t, struct tcp_link *l, const uint8_t *data, size_t len)
{
    size_t taken = 0;
    for (;;) {
        size_t size = unit_size(l, l->part, l->fill);
        if (size == 0) {
            tm_tcp_link_abort(t, l, "frame length out of range");
            return SIZE_MAX;
        }
        if (l->fill == size && size > TCP_PREFIX)
            break;
        if (taken == len)
            return taken;
        size_t n = tm_min_u64(size - l->fill, len - taken);
        memcpy(l->part + l->fill, data + taken, n);
        l->fill += n;
        taken += n;
    }
    size_t size = l->fill;
    l->fill = 0;
    return take_unit(t, l, l->part, size) ? taken : SIZE_MAX;
}

static void on_input(void *host, struct tm_conn *conn, uint8_t *data, size_t len)
{
    struct tcp *t = host;
    struct tcp_link *l = tm_conn_user(conn);
    size_t at = 0;
    if (l == NULL || l->state == LINK_GONE || t->stopped)
        return;
    while (at < len) {
        size_t size = l->fill > 0 ? SIZE_MAX : unit_size(l, data + at, len - at);
        if (size > TCP_PREFIX && size <= len - at) {
            if (!take_unit(t, l, data + at, size))
                return;
            at += size;
            continue;
        }
        size_t taken = complete_part(t, l, data + at, len - at);
        if (taken == SIZE_MAX)
            return;
        at += taken;
    }
}

const struct tm_socket_handler *tm_tcp_handler(struct tcp *t, struct tm_socket_handler *h)
{
    *h = (struct tm_socket_handler){
        .host = t, .opened = on_opened, .input = on_input, .closed = on_closed};
    return h;
}
