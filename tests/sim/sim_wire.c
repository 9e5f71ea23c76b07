/* What is under way lies in a heap by time of arrival: frames, and notices of nodes that went or
 * came.  An end belongs to one life of its node; what is on its way to an earlier life is lost.
 * What arrives at a node whose process stands still waits beside the heap, and goes into it again
 * when that goes on. */
#include "tests/sim/sim_wire.h"

#include "runtime/rng.h"

#include <stdlib.h>

enum kind { FRAME, DOWN, UP };

struct item {
    uint64_t at, order;
    enum kind kind;
    uint8_t from, from_worker, to, to_worker;
    bool waited;   /* it has arrived before */
    uint64_t life; /* of `to`; notices: of `from` */
    uint8_t *data;
    uint32_t len;
};

struct end {
    struct tm_fabric fabric;
    struct tm_fabric_sink sink;
    struct tm_sim_wire *wire;
    uint8_t node, worker;
    bool there;
    uint64_t *newest; /* by node and worker that sent: the latest of theirs that arrived */
};

struct tm_sim_wire {
    struct tm_sim_wire_config config;
    struct tm_rng rng;
    uint64_t now, order;
    struct tm_sim_wire_counts counts;
    struct tm_sim_link links[TM_NODES_MAX][TM_NODES_MAX];
    struct end *ends[TM_NODES_MAX][TM_WORKERS_MAX];
    uint64_t life[TM_NODES_MAX];
    bool there[TM_NODES_MAX], deaf[TM_NODES_MAX], asleep[TM_NODES_MAX];
    struct item *waiting[TM_NODES_MAX]; /* TM_SIM_WIRE_WAITING_MAX, or NULL */
    unsigned waiting_count[TM_NODES_MAX];
    bool cut[TM_NODES_MAX][TM_NODES_MAX];
    struct item *heap;
    size_t count, cap;
    uint8_t scratch[65536] __attribute__((aligned(64)));
};

/* ---- the heap ---- */

static bool before(const struct item *a, const struct item *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void swap(struct item *a, struct item *b)
{
    struct item t = *a;
    *a = *b;
    *b = t;
}

static void put(struct tm_sim_wire *w, struct item item)
{
    if (w->count == w->cap) {
        w->cap = w->cap == 0 ? 256 : w->cap * 2;
        w->heap = realloc(w->heap, w->cap * sizeof *w->heap);
        TM_ASSERT(w->heap != NULL);
    }
    item.order = ++w->order;
    w->heap[w->count] = item;
    for (size_t i = w->count++; i > 0 && before(&w->heap[i], &w->heap[(i - 1) / 2]);
         i = (i - 1) / 2)
        swap(&w->heap[i], &w->heap[(i - 1) / 2]);
}

static struct item take(struct tm_sim_wire *w)
{
    struct item top = w->heap[0];
    w->heap[0] = w->heap[--w->count];
    for (size_t i = 0;;) {
        size_t least = i, left = 2 * i + 1;
        for (size_t k = left; k < w->count && k <= left + 1; k++)
            if (before(&w->heap[k], &w->heap[least]))
                least = k;
        if (least == i)
            return top;
        swap(&w->heap[i], &w->heap[least]);
        i = least;
    }
}

/* ---- the fabric ---- */

static bool chance(struct tm_sim_wire *w, unsigned of_10000)
{
    return of_10000 > 0 && tm_rng_below(&w->rng, 10000) < of_10000;
}

static uint64_t arrival(struct tm_sim_wire *w, const struct tm_sim_link *link)
{
    uint64_t at = w->now + tm_rng_between(&w->rng, w->config.min_ns, w->config.max_ns);
    if (link->more_ns > 0) {
        at += tm_rng_below(&w->rng, link->more_ns);
        w->counts.delayed++;
    }
    if (link->clogged_until <= at)
        return at;
    w->counts.clogged++;
    return link->clogged_until + tm_rng_below(&w->rng, TM_MS(1));
}

/* Changes or shortens the frame, if the link is like that. */
static void spoil(struct tm_sim_wire *w, const struct tm_sim_link *link, struct item *item)
{
    if (chance(w, link->flip)) {
        item->data[tm_rng_below(&w->rng, item->len)] ^= (uint8_t)(1 + tm_rng_below(&w->rng, 255));
        w->counts.flipped++;
    }
    if (item->len > 1 && chance(w, link->clip)) {
        item->len = (uint32_t)(1 + tm_rng_below(&w->rng, item->len - 1));
        w->counts.clipped++;
    }
}

static void send_copy(struct tm_sim_wire *w, struct item item, const struct tm_bytes *pieces,
                      unsigned count)
{
    const struct tm_sim_link *link = &w->links[item.from][item.to];
    if (w->cut[item.from][item.to]) {
        w->counts.cut++;
        return;
    }
    if (chance(w, w->config.lose + link->lose)) {
        w->counts.lost++;
        return;
    }
    item.at = arrival(w, link);
    item.data = malloc(item.len);
    TM_ASSERT(item.data != NULL);
    uint8_t *at = item.data;
    for (unsigned i = 0; i < count; at += pieces[i].len, i++)
        if (pieces[i].len > 0)
            memcpy(at, pieces[i].data, pieces[i].len);
    spoil(w, link, &item);
    put(w, item);
}

static enum tm_err send(struct tm_fabric *f, unsigned node, unsigned worker,
                        const struct tm_bytes *pieces, unsigned count)
{
    struct end *e = f->host;
    struct tm_sim_wire *w = e->wire;
    size_t len = 0;
    for (unsigned i = 0; i < count; len += pieces[i].len, i++)
        TM_ASSERT(len + pieces[i].len <= f->max_frame);
    if (!w->there[node])
        return w->config.silent ? TM_OK : TM_ERR_CLOSED;
    if (chance(w, w->links[e->node][node].full)) {
        w->counts.full++;
        return TM_ERR_FULL;
    }
    struct item item = {.kind = FRAME,
                        .from = e->node,
                        .from_worker = e->worker,
                        .to = (uint8_t)node,
                        .to_worker = (uint8_t)worker,
                        .life = w->life[node],
                        .len = (uint32_t)len};
    bool twice = chance(w, w->config.twice + w->links[e->node][node].twice);
    w->counts.twice += twice;
    for (unsigned copies = twice ? 2 : 1; copies > 0; copies--)
        send_copy(w, item, pieces, count);
    return TM_OK;
}

static unsigned poll(struct tm_fabric *f, unsigned budget)
{
    /* Everything is handed over by tm_sim_wire_poll. */
    (void)f;
    (void)budget;
    return 0;
}

static void flush(struct tm_fabric *f)
{
    (void)f;
}

static bool park(struct tm_fabric *f)
{
    (void)f;
    return true;
}

static void close_end(struct tm_fabric *f)
{
    ((struct end *)f->host)->there = false;
}

/* ---- nodes ---- */

/* Tells all workers of all other nodes. */
static void notice(struct tm_sim_wire *w, unsigned node, enum kind kind)
{
    for (unsigned n = 0; !w->config.silent && n < TM_NODES_MAX; n++) {
        if (n == node || !w->there[n])
            continue;
        put(w, (struct item){.at = w->now + w->config.notice_ns + tm_rng_below(&w->rng, TM_US(100)),
                             .kind = kind,
                             .from = (uint8_t)node,
                             .to = (uint8_t)n,
                             .life = w->life[node]});
    }
}

struct tm_fabric *tm_sim_wire_join(struct tm_sim_wire *w, unsigned node, unsigned worker,
                                   const struct tm_fabric_sink *sink)
{
    if (!w->there[node]) {
        w->there[node] = true;
        w->life[node]++;
        notice(w, node, UP);
    }
    struct end *e = w->ends[node][worker];
    if (e == NULL) {
        e = calloc(1, sizeof *e);
        TM_ASSERT(e != NULL);
        e->newest = calloc((size_t)TM_NODES_MAX * TM_WORKERS_MAX, sizeof *e->newest);
        TM_ASSERT(e->newest != NULL);
        w->ends[node][worker] = e;
    }
    *e = (struct end){.sink = *sink,
                      .wire = w,
                      .node = (uint8_t)node,
                      .worker = (uint8_t)worker,
                      .there = true,
                      .newest = e->newest,
                      .fabric = {.host = e,
                                 .name = "sim",
                                 .max_frame = w->config.max_frame,
                                 .send = send,
                                 .poll = poll,
                                 .flush = flush,
                                 .park = park,
                                 .unpark = flush,
                                 .close = close_end}};
    return &e->fabric;
}

void tm_sim_wire_leave(struct tm_sim_wire *w, unsigned node)
{
    w->there[node] = w->deaf[node] = w->asleep[node] = false;
    while (w->waiting_count[node] > 0)
        free(w->waiting[node][--w->waiting_count[node]].data);
    for (unsigned i = 0; i < TM_WORKERS_MAX; i++)
        if (w->ends[node][i] != NULL)
            w->ends[node][i]->there = false;
    notice(w, node, DOWN);
}

void tm_sim_wire_cut(struct tm_sim_wire *w, unsigned from, unsigned to, bool cut)
{
    w->cut[from][to] = cut;
}

struct tm_sim_link *tm_sim_wire_link(struct tm_sim_wire *w, unsigned from, unsigned to)
{
    return &w->links[from][to];
}

bool tm_sim_wire_is_easy(const struct tm_sim_wire *w, unsigned from, unsigned to)
{
    const struct tm_sim_link *link = &w->links[from][to];
    return !w->cut[from][to] && !w->deaf[to] && link->lose + link->flip + link->clip <= 4000 &&
           link->full <= 4000 && link->more_ns <= TM_MS(100) && link->clogged_until <= w->now;
}

struct tm_sim_wire_counts tm_sim_wire_counts(const struct tm_sim_wire *w)
{
    return w->counts;
}

void tm_sim_wire_deaf(struct tm_sim_wire *w, unsigned node, bool deaf)
{
    w->deaf[node] = deaf;
}

void tm_sim_wire_sleep(struct tm_sim_wire *w, unsigned node, bool asleep)
{
    w->asleep[node] = asleep;
    for (unsigned i = 0; !asleep && i < w->waiting_count[node]; i++) {
        struct item item = w->waiting[node][i];
        item.at = w->now;
        put(w, item);
    }
    if (!asleep)
        w->waiting_count[node] = 0;
}

/* ---- time ---- */

static void note_order(struct tm_sim_wire *w, struct end *e, const struct item *item)
{
    uint64_t *newest = &e->newest[item->from * TM_WORKERS_MAX + item->from_worker];
    w->counts.overtaken += item->order < *newest;
    *newest = tm_max_u64(*newest, item->order);
}

/* As many as its rings hold; false: the frame is lost. */
static bool keep_waiting(struct tm_sim_wire *w, const struct item *item)
{
    struct item **list = &w->waiting[item->to];
    if (w->waiting_count[item->to] == TM_SIM_WIRE_WAITING_MAX)
        return false;
    if (*list == NULL)
        *list = calloc(TM_SIM_WIRE_WAITING_MAX, sizeof **list);
    TM_ASSERT(*list != NULL);
    struct item *kept = &(*list)[w->waiting_count[item->to]++];
    *kept = *item;
    kept->waited = true;
    w->counts.waited += !item->waited;
    return true;
}

/* True if it stays on the wire. */
static bool hand_frame(struct tm_sim_wire *w, const struct item *item)
{
    struct end *e = w->ends[item->to][item->to_worker];
    if (e == NULL || !e->there || item->life != w->life[item->to] || w->deaf[item->to] ||
        (w->cut[item->from][item->to] && !item->waited))
        return false;
    if (w->asleep[item->to])
        return keep_waiting(w, item);
    memcpy(w->scratch, item->data, item->len);
    w->counts.delivered++;
    note_order(w, e, item);
    if (w->config.hash != NULL)
        tm_sim_hash_bytes(w->config.hash, item->data, item->len);
    e->sink.frame(e->sink.host, item->from, item->from_worker, w->scratch, item->len);
    w->config.woke(w->config.host, item->to, item->to_worker);
    return false;
}

/* A notice that is out of date by now is not given. */
static void hand_notice(struct tm_sim_wire *w, const struct item *item)
{
    bool up = item->kind == UP;
    if (w->there[item->from] != up || w->life[item->from] != item->life || !w->there[item->to])
        return;
    for (unsigned i = 0; i < TM_WORKERS_MAX; i++) {
        struct end *e = w->ends[item->to][i];
        if (e == NULL || !e->there)
            continue;
        e->sink.event(e->sink.host, item->from, up ? TM_FABRIC_PEER_UP : TM_FABRIC_PEER_DOWN);
        w->config.woke(w->config.host, item->to, i);
    }
}

void tm_sim_wire_poll(struct tm_sim_wire *w, uint64_t now_ns)
{
    w->now = now_ns;
    while (w->count > 0 && w->heap[0].at <= now_ns) {
        struct item item = take(w);
        if (item.kind == FRAME && hand_frame(w, &item))
            continue;
        if (item.kind != FRAME)
            hand_notice(w, &item);
        free(item.data);
    }
}

uint64_t tm_sim_wire_next_due(const struct tm_sim_wire *w)
{
    return w->count > 0 ? w->heap[0].at : UINT64_MAX;
}

uint64_t tm_sim_wire_delivered(const struct tm_sim_wire *w)
{
    return w->counts.delivered;
}

/* ---- life ---- */

struct tm_sim_wire *tm_sim_wire_new(const struct tm_sim_wire_config *config)
{
    struct tm_sim_wire *w = calloc(1, sizeof *w);
    TM_ASSERT(w != NULL);
    w->config = *config;
    tm_rng_seed(&w->rng, config->seed);
    return w;
}

void tm_sim_wire_free(struct tm_sim_wire *w)
{
    for (size_t i = 0; i < w->count; i++)
        free(w->heap[i].data);
    for (unsigned n = 0; n < TM_NODES_MAX; n++) {
        while (w->waiting_count[n] > 0)
            free(w->waiting[n][--w->waiting_count[n]].data);
        free(w->waiting[n]);
        for (unsigned i = 0; i < TM_WORKERS_MAX; i++)
            if (w->ends[n][i] != NULL) {
                free(w->ends[n][i]->newest);
                free(w->ends[n][i]);
            }
    }
    free(w->heap);
    free(w);
}
