/* heartbeat.c: joined heartbeats and the timers of a worker's replicas.
 *
 * Five messages, each a 64-byte head and perhaps items of 16 bytes: BEAT (count and digest of what
 * is led), SAME or DIFFERS as its answer, LIST (the led set in chunks) and LIST_REPLY (its items
 * again, each with the receiver's term and whether it agrees).  At rest there are only BEAT and
 * SAME.  A follower that sees no item for a partition it follows there drops that leader.
 *
 * A digest is the sum of a hash of (partition, term) over the set, so it is kept by adding and
 * taking away when a replica changes; a partition is in the set of its leader from the win on, in a
 * follower's once the term is durable there. */
#include "actors/heartbeat.h"
#include "actors/replica_internal.h"
#include "runtime/hash.h"

enum beat_kind { BEAT = 1, BEAT_SAME, BEAT_DIFFERS, BEAT_LIST, BEAT_LIST_REPLY };

struct beat_head {
    uint8_t kind;
    uint8_t zero;
    uint16_t chunk;  /* LIST: which, of how many; LIST_REPLY: echoed */
    uint16_t chunks; /* 1..32 */
    uint16_t items;
    uint64_t disk;  /* the sender's */
    uint64_t boot;  /* BEAT, LIST: the sender's; answers: of whom they answer */
    uint64_t round; /* answers: echoed */
    uint64_t count; /* SAME, DIFFERS: the sender's wall clock, ms; 0: not told */
    uint64_t digest;
    uint64_t interval_ns;
    uint64_t flush_age_ns;
};
struct beat_item {
    uint32_t partition;
    uint32_t agrees; /* LIST_REPLY */
    uint64_t term;
};
TM_STATIC_ASSERT(sizeof(struct beat_head) == 64, "frozen");
TM_STATIC_ASSERT(offsetof(struct beat_head, disk) == 8, "frozen");
TM_STATIC_ASSERT(offsetof(struct beat_head, flush_age_ns) == 56, "frozen");
TM_STATIC_ASSERT(sizeof(struct beat_item) == 16, "frozen");
TM_STATIC_ASSERT(offsetof(struct beat_item, term) == 8, "frozen");

#define CHUNKS_MAX     32
#define CLOCK_NS       TM_SECONDS(10) /* so long it counts what a peer's clock said */
#define CLOCK_RETRY_NS TM_SECONDS(2)  /* so long the answer to an asked clock is waited for */
#define READ_RETRY_NS  TM_MS(2)       /* between rounds while reads wait */

struct beat_message {
    struct beat_head head;
    struct beat_item item[TM_BEAT_ITEMS_MAX];
};
TM_STATIC_ASSERT(sizeof(struct beat_message) == TM_BEAT_MESSAGE_MAX, "bound of a message");

void tm_beat_options_default(struct tm_beat_options *opt)
{
    *opt = (struct tm_beat_options){
        .interval_ns = TM_MS(20), .rest_interval_ns = TM_MS(500), .rest_after_ns = TM_SECONDS(2)};
}

void tm_beat_init(struct tm_beat *b, const struct tm_beat_options *opt, const struct tm_beat_io *io,
                  void *host, const struct tm_ctx *ctx, struct tm_id self, unsigned worker,
                  uint64_t boot, struct tm_beat_link *links, unsigned count)
{
    memset(b, 0, sizeof *b);
    memset(links, 0, count * sizeof *links);
    b->ctx = ctx;
    b->opt = opt;
    b->io = io;
    b->host = host;
    b->self = self;
    b->worker = worker;
    b->boot = boot;
    b->link = links;
    b->links = count;
    b->next_tick = UINT64_MAX;
    for (unsigned i = 0; i < TM_BEAT_BUCKETS; i++)
        b->bucket_tick[i] = UINT64_MAX;
    b->active_at = tm_ctx_now(ctx);
}

static struct tm_beat_link *find_link(const struct tm_beat *b, unsigned node, unsigned worker)
{
    for (unsigned i = 0; i < b->links_used; i++)
        if (b->link[i].used && b->link[i].node == node && b->link[i].worker == worker)
            return &b->link[i];
    return NULL;
}

/* The link to the worker of node that holds the partition; NULL while its workers are not known. */
static struct tm_beat_link *link_of(const struct tm_beat *b, unsigned node, uint32_t partition)
{
    return b->workers[node] == 0 ? NULL : find_link(b, node, partition % b->workers[node]);
}

/* The same, made if need be; NULL also if all links are in use. */
static struct tm_beat_link *make_link(struct tm_beat *b, unsigned node, uint32_t partition)
{
    struct tm_beat_link *l = link_of(b, node, partition);
    if (l != NULL || b->workers[node] == 0)
        return l;
    for (unsigned i = 0; i < b->links && l == NULL; i++)
        if (!b->link[i].used) {
            l = &b->link[i];
            b->links_used = (unsigned)tm_max_u64(b->links_used, i + 1);
        }
    if (l != NULL)
        *l = (struct tm_beat_link){.used = true,
                                   .node = (uint8_t)node,
                                   .worker = (uint8_t)(partition % b->workers[node]),
                                   .made_round = b->round};
    return l;
}

/* --- the sets --- */

static uint64_t item_hash(uint32_t partition, uint64_t term)
{
    uint64_t pair[2] = {partition, term};
    return tm_hash64(pair, sizeof pair, 0);
}

static void count_led(struct tm_beat *b, struct tm_replica *r, bool in)
{
    uint64_t hash = item_hash(r->partition, r->set_term);
    for (unsigned node = 0; node < TM_NODES_MAX; node++) {
        if ((r->set_nodes >> node & 1) == 0)
            continue;
        struct tm_beat_link *l = make_link(b, node, r->partition);
        TM_ASSERT(l != NULL || b->workers[node] == 0); /* the caller of init counted them */
        if (l == NULL)
            continue;
        l->led_count = in ? l->led_count + 1 : l->led_count - 1;
        l->led_digest = in ? l->led_digest + hash : l->led_digest - hash;
    }
}

static void count_followed(struct tm_beat *b, struct tm_replica *r, bool in)
{
    struct tm_beat_link *l = make_link(b, r->set_leader, r->partition);
    uint64_t hash = item_hash(r->partition, r->set_term);
    if (l == NULL)
        return;
    l->followed_count = in ? l->followed_count + 1 : l->followed_count - 1;
    l->followed_digest = in ? l->followed_digest + hash : l->followed_digest - hash;
}

static void count(struct tm_beat *b, struct tm_replica *r, bool in)
{
    if (r->led)
        count_led(b, r, in);
    if (r->followed)
        count_followed(b, r, in);
}

static void take_out(struct tm_beat *b, struct tm_replica *r)
{
    count(b, r, false);
    r->led = r->followed = false;
}

static void put_in(struct tm_beat *b, struct tm_replica *r, bool led, bool followed)
{
    r->led = led;
    r->followed = followed;
    if (led) {
        r->lead_round = b->round;
        b->round_wanted = true;
    }
    count(b, r, true);
}

static uint64_t member_nodes(const struct tm_replica *r)
{
    uint64_t nodes = 0;
    for (unsigned i = 0; i < r->members.count; i++)
        nodes |= 1ull << r->members.at[i].id.node;
    return nodes & ~(1ull << r->self.node);
}

void tm_beat_update(struct tm_beat *b, struct tm_replica *r)
{
    bool led = r->role == TM_ROLE_LEADER;
    bool followed =
        r->role == TM_ROLE_FOLLOWER && r->leader != TM_NODE_UNKNOWN && tm_replica_term_settled(r);
    uint64_t nodes = led ? member_nodes(r) : 0;
    unsigned leader = followed ? r->leader : TM_NODE_UNKNOWN;
    if (r->led == led && r->followed == followed && r->set_nodes == nodes &&
        r->set_leader == leader && (r->set_term == r->hs.term || !(led || followed)))
        return;
    take_out(b, r);
    r->set_term = r->hs.term;
    r->set_nodes = nodes;
    r->set_leader = leader;
    put_in(b, r, led, followed);
}

static unsigned bucket_number(uint32_t partition)
{
    return partition * 2654435761u >> 24;
}

static struct tm_replica **bucket_of(struct tm_beat *b, uint32_t partition)
{
    return &b->bucket[bucket_number(partition)];
}

static struct tm_replica *find_replica(struct tm_beat *b, uint32_t partition)
{
    struct tm_replica *r = *bucket_of(b, partition);
    while (r != NULL && r->partition != partition)
        r = r->bucket_next;
    return r;
}

void tm_beat_join(struct tm_beat *b, struct tm_replica *r)
{
    r->beat_prev = NULL;
    r->beat_next = b->replicas;
    if (b->replicas != NULL)
        b->replicas->beat_prev = r;
    b->replicas = r;
    struct tm_replica **bucket = bucket_of(b, r->partition);
    r->bucket_next = *bucket;
    *bucket = r;
    tm_beat_deadline(b, r);
}

void tm_beat_leave(struct tm_beat *b, struct tm_replica *r)
{
    take_out(b, r);
    if (r->beat_prev != NULL)
        r->beat_prev->beat_next = r->beat_next;
    else
        b->replicas = r->beat_next;
    if (r->beat_next != NULL)
        r->beat_next->beat_prev = r->beat_prev;
    struct tm_replica **in = bucket_of(b, r->partition);
    while (*in != r)
        in = &(*in)->bucket_next;
    *in = r->bucket_next;
    for (struct tm_replica **at = &b->waiting; *at != NULL; at = &(*at)->wait_next) {
        if (*at != r)
            continue;
        *at = r->wait_next;
        break;
    }
    r->waiting = false;
}

void tm_beat_workers(struct tm_beat *b, unsigned node, unsigned workers)
{
    TM_ASSERT(node < TM_NODES_MAX && workers >= 1 && workers <= TM_WORKERS_MAX);
    if (b->workers[node] == workers)
        return;
    for (struct tm_replica *r = b->replicas; r != NULL; r = r->beat_next)
        count(b, r, false);
    for (unsigned i = 0; i < b->links_used; i++)
        if (b->link[i].used && b->link[i].node == node)
            b->link[i].used = false;
    b->workers[node] = (uint8_t)workers;
    for (struct tm_replica *r = b->replicas; r != NULL; r = r->beat_next) {
        count(b, r, true);
        b->round_wanted |= r->led;
    }
}

/* --- pace --- */

uint64_t tm_beat_interval(const struct tm_beat *b)
{
    bool rest = tm_ctx_now(b->ctx) - b->active_at >= b->opt->rest_after_ns;
    return rest ? b->opt->rest_interval_ns : b->opt->interval_ns;
}

uint64_t tm_beat_patience(const struct tm_beat *b)
{
    bool slow = tm_ctx_now(b->ctx) < b->slow_until;
    return slow ? b->opt->rest_interval_ns : tm_beat_interval(b);
}

void tm_beat_touch(struct tm_beat *b)
{
    uint64_t now = tm_ctx_now(b->ctx);
    if (now - b->active_at >= b->opt->rest_after_ns)
        b->slow_until = now + b->opt->rest_interval_ns;
    b->active_at = now;
}

void tm_beat_deadline(struct tm_beat *b, const struct tm_replica *r)
{
    uint64_t *bucket_tick = &b->bucket_tick[bucket_number(r->partition)];
    *bucket_tick = tm_min_u64(*bucket_tick, r->deadline);
    b->next_tick = tm_min_u64(b->next_tick, r->deadline);
}

uint64_t tm_beat_round(struct tm_beat *b)
{
    b->round_wanted = true;
    return b->round + 1;
}

void tm_beat_wait(struct tm_beat *b, struct tm_replica *r)
{
    if (r->waiting)
        return;
    r->waiting = true;
    r->wait_next = b->waiting;
    b->waiting = r;
}

/* A round was answered: whose reads may go now? */
static void serve_waiting(struct tm_beat *b)
{
    struct tm_replica *list = b->waiting;
    b->waiting = NULL;
    while (list != NULL) {
        struct tm_replica *r = list;
        list = r->wait_next;
        r->waiting = false;
        tm_replica_confirmed(r);
        if (r->rounds != NULL)
            tm_beat_wait(b, r);
    }
}

/* --- asking --- */

uint64_t tm_beat_confirmed(const struct tm_beat *b, const struct tm_replica *r, unsigned node,
                           uint64_t disk)
{
    uint64_t round = 0;
    const struct tm_beat_link *l = link_of(b, node, r->partition);
    if (l != NULL && l->peer_disk == disk && l->confirmed > r->lead_round)
        round = l->confirmed;
    int place = tm_replica_place(r, node);
    if (place >= 0 && r->peer[place].disk == disk && r->peer[place].confirmed > r->lead_round)
        round = tm_max_u64(round, r->peer[place].confirmed);
    return round;
}

uint64_t tm_beat_confirmed_at(const struct tm_beat *b, const struct tm_replica *r, unsigned node,
                              uint64_t disk)
{
    const struct tm_beat_link *l = link_of(b, node, r->partition);
    bool counts = l != NULL && l->peer_disk == disk && l->confirmed > r->lead_round;
    return counts ? l->confirmed_at : 0;
}

uint64_t tm_beat_heard(const struct tm_beat *b, const struct tm_replica *r, uint64_t *promise_ns)
{
    *promise_ns = 0;
    if (r->leader == TM_NODE_UNKNOWN || r->leader == r->self.node)
        return 0;
    const struct tm_beat_link *l = link_of(b, r->leader, r->partition);
    if (l == NULL)
        return 0;
    *promise_ns = l->promise_ns;
    return r->followed ? l->agreed_at : 0;
}

uint64_t tm_beat_flush_age(const struct tm_beat *b, const struct tm_replica *r, unsigned node)
{
    const struct tm_beat_link *l = link_of(b, node, r->partition);
    return l == NULL ? 0 : l->peer_flush_age;
}

int64_t tm_beat_ahead_ms(const struct tm_beat *b, const struct tm_replica *r, unsigned node)
{
    const struct tm_beat_link *l = link_of(b, node, r->partition);
    bool fresh = l != NULL && l->ahead_at != 0 && tm_ctx_now(b->ctx) - l->ahead_at < CLOCK_NS;
    return fresh ? l->ahead_ms : 0;
}

uint64_t tm_beat_disk(const struct tm_beat *b, const struct tm_replica *r, unsigned node)
{
    const struct tm_beat_link *l = link_of(b, node, r->partition);
    return l == NULL ? 0 : l->peer_disk;
}

/* --- sending --- */

static struct beat_head head_of(struct tm_beat *b, enum beat_kind kind)
{
    return (struct beat_head){.kind = (uint8_t)kind,
                              .disk = b->self.disk,
                              .boot = b->boot,
                              .round = b->round,
                              .interval_ns = tm_beat_interval(b),
                              .flush_age_ns = b->io->flush_age_ns(b->host)};
}

/* Where the way there and back takes longer than the interval, no answer ever is to the newest
 * heartbeat: one is chosen now and then whose answer tells how the clocks stand whenever it comes.
 */
static void ask_clock(struct tm_beat_link *l)
{
    if (l->asked_round != 0 && l->sent_at - l->asked_at < CLOCK_RETRY_NS)
        return;
    l->asked_round = l->sent_round;
    l->asked_at = l->sent_at;
    l->asked_wall_ms = l->sent_wall_ms;
}

static void send_beat(struct tm_beat *b, struct tm_beat_link *l)
{
    struct beat_head head = head_of(b, BEAT);
    head.count = l->led_count;
    head.digest = l->led_digest;
    l->sent_at = tm_ctx_now(b->ctx);
    l->sent_wall_ms = tm_ctx_wall_ms(b->ctx);
    l->sent_round = head.round;
    ask_clock(l);
    l->promised_ns = head.interval_ns;
    b->io->send(b->host, l->node, l->worker, tm_bytes_of(&head, sizeof head));
}

static bool led_at(const struct tm_beat *b, const struct tm_replica *r,
                   const struct tm_beat_link *l)
{
    return r->led && (r->set_nodes >> l->node & 1) != 0 && link_of(b, l->node, r->partition) == l;
}

static void send_list(struct tm_beat *b, struct tm_beat_link *l)
{
    struct beat_message m;
    uint64_t chunks = (l->led_count + TM_BEAT_ITEMS_MAX - 1) / TM_BEAT_ITEMS_MAX;
    TM_ASSERT(chunks <= CHUNKS_MAX);
    m.head = head_of(b, BEAT_LIST);
    m.head.chunks = (uint16_t)chunks;
    for (struct tm_replica *r = b->replicas; r != NULL; r = r->beat_next) {
        if (!led_at(b, r, l))
            continue;
        m.item[m.head.items++] = (struct beat_item){r->partition, 0, r->set_term};
        if (m.head.items < TM_BEAT_ITEMS_MAX)
            continue;
        b->io->send(b->host, l->node, l->worker, tm_bytes_of(&m, sizeof m));
        m.head.items = 0;
        m.head.chunk++;
    }
    if (m.head.items > 0)
        b->io->send(b->host, l->node, l->worker,
                    tm_bytes_of(&m, sizeof m.head + m.head.items * sizeof m.item[0]));
    l->list_wanted = false;
}

/* When the next heartbeat leaves: what the last one promised, or sooner. */
static uint64_t next_beat(const struct tm_beat *b, const struct tm_beat_link *l)
{
    uint64_t interval = tm_min_u64(tm_beat_interval(b), l->promised_ns);
    if (b->waiting != NULL)
        interval = tm_min_u64(interval, READ_RETRY_NS);
    return l->sent_at + interval;
}

static uint64_t send_due(struct tm_beat *b, uint64_t now)
{
    uint64_t next = UINT64_MAX;
    bool due = b->round_wanted, lists = false;
    for (unsigned i = 0; i < b->links_used; i++) {
        struct tm_beat_link *l = &b->link[i];
        due |= l->used && l->led_count > 0 && now >= next_beat(b, l);
        lists |= l->used && l->list_wanted;
    }
    if (due || lists)
        b->round++;
    b->round_wanted = false;
    for (unsigned i = 0; i < b->links_used; i++) {
        struct tm_beat_link *l = &b->link[i];
        if (!l->used)
            continue;
        if (l->led_count > 0 && l->list_wanted)
            send_list(b, l);
        if (l->led_count > 0 && due)
            send_beat(b, l);
        if (l->led_count > 0)
            next = tm_min_u64(next, next_beat(b, l));
    }
    return next;
}

static void tick_bucket(struct tm_beat *b, unsigned bucket, uint64_t now)
{
    b->bucket_tick[bucket] = UINT64_MAX;
    for (struct tm_replica *r = b->bucket[bucket]; r != NULL; r = r->bucket_next) {
        if (r->deadline <= now)
            tm_replica_tick(r, now);
        tm_beat_deadline(b, r);
    }
}

/* With hundreds of replicas some deadline passes in nearly every turn: only the buckets that hold
 * one are walked, what the others have is read from one small array. */
static void tick_due(struct tm_beat *b, uint64_t now)
{
    b->next_tick = UINT64_MAX;
    for (unsigned i = 0; i < TM_BEAT_BUCKETS; i++) {
        if (b->bucket_tick[i] <= now)
            tick_bucket(b, i, now);
        b->next_tick = tm_min_u64(b->next_tick, b->bucket_tick[i]);
    }
}

uint64_t tm_beat_turn(struct tm_beat *b)
{
    uint64_t now = tm_ctx_now(b->ctx);
    if (now >= b->next_tick)
        tick_due(b, now);
    uint64_t next = send_due(b, now);
    return tm_min_u64(next, b->next_tick);
}

/* --- receiving --- */

static void on_beat(struct tm_beat *b, struct tm_beat_link *l, const struct beat_head *in)
{
    bool same = in->count == l->followed_count && in->digest == l->followed_digest;
    struct beat_head head = head_of(b, same ? BEAT_SAME : BEAT_DIFFERS);
    head.boot = in->boot;
    head.round = in->round;
    head.count = tm_ctx_wall_ms(b->ctx);
    l->promise_ns = tm_min_u64(in->interval_ns, TM_SECONDS(60));
    if (same)
        l->agreed_at = tm_ctx_now(b->ctx);
    b->io->send(b->host, l->node, l->worker, tm_bytes_of(&head, sizeof head));
}

/* The answer left the peer between sending and now, by the own clock: what its clock said lies that
 * far apart from the own at least, however slow the way was. */
static void note_clock(struct tm_beat *b, struct tm_beat_link *l, const struct beat_head *in)
{
    uint64_t peer = in->count, now = tm_ctx_wall_ms(b->ctx);
    bool newest = in->round == l->sent_round;
    if (in->boot != b->boot || peer == 0 || (!newest && in->round != l->asked_round))
        return;
    uint64_t sent = newest ? l->sent_wall_ms : l->asked_wall_ms;
    l->ahead_ms = peer < sent ? (int64_t)(sent - peer) : peer > now ? -(int64_t)(peer - now) : 0;
    l->ahead_at = tm_ctx_now(b->ctx);
    l->asked_round = 0;
}

static void on_same(struct tm_beat *b, struct tm_beat_link *l, const struct beat_head *in)
{
    if (in->boot != b->boot || in->round > b->round || in->round <= l->made_round)
        return;
    l->confirmed = tm_max_u64(l->confirmed, in->round);
    l->confirmed_at = tm_ctx_now(b->ctx);
    serve_waiting(b);
}

/* Everything followed there was to be in the list: what was not has no leader there. */
static void drop_unlisted(struct tm_beat *b, const struct tm_beat_link *l)
{
    for (struct tm_replica *r = b->replicas; r != NULL; r = r->beat_next)
        if (r->followed && r->set_leader == l->node && link_of(b, l->node, r->partition) == l &&
            r->list_round != l->list_round)
            tm_replica_unheard(r);
}

static void on_list(struct tm_beat *b, struct tm_beat_link *l, struct beat_message *m)
{
    struct tm_id from = {.disk = m->head.disk, .node = l->node};
    uint64_t key = m->head.boot ^ m->head.round * 0x9e3779b97f4a7c15ull;
    if (l->list_round != key) {
        l->list_round = key;
        l->list_chunks = 0;
    }
    l->promise_ns = tm_min_u64(m->head.interval_ns, TM_SECONDS(60));
    for (unsigned i = 0; i < m->head.items; i++) {
        struct beat_item *item = &m->item[i];
        struct tm_replica *r = find_replica(b, item->partition);
        item->agrees = r != NULL && tm_replica_heard(r, from, &item->term);
        if (r == NULL)
            item->term = 0;
        else
            r->list_round = key;
    }
    l->list_chunks |= 1u << m->head.chunk;
    if (l->list_chunks == (m->head.chunks == 32 ? UINT32_MAX : (1u << m->head.chunks) - 1))
        drop_unlisted(b, l);
    uint64_t boot = m->head.boot, round = m->head.round;
    uint16_t items = m->head.items, chunk = m->head.chunk, chunks = m->head.chunks;
    m->head = head_of(b, BEAT_LIST_REPLY);
    m->head.boot = boot;
    m->head.round = round;
    m->head.items = items;
    m->head.chunk = chunk;
    m->head.chunks = chunks;
    b->io->send(b->host, l->node, l->worker,
                tm_bytes_of(m, sizeof m->head + items * sizeof m->item[0]));
}

static void on_list_reply(struct tm_beat *b, struct tm_beat_link *l, const struct beat_message *m)
{
    struct tm_id from = {.disk = m->head.disk, .node = l->node};
    if (m->head.boot != b->boot || m->head.round > b->round)
        return;
    for (unsigned i = 0; i < m->head.items; i++) {
        struct tm_replica *r = find_replica(b, m->item[i].partition);
        if (r == NULL || r->role != TM_ROLE_LEADER)
            continue;
        if (m->item[i].agrees != 0 && m->item[i].term == r->hs.term)
            tm_replica_item_confirmed(r, from, m->head.round);
        else
            tm_replica_term_seen(r, m->item[i].term);
    }
    serve_waiting(b);
}

static bool valid(struct tm_bytes message, struct beat_message *m)
{
    if (message.len < sizeof m->head || message.len > sizeof *m)
        return false;
    memcpy(m, message.data, message.len);
    const struct beat_head *h = &m->head;
    if (message.len != sizeof *h + h->items * sizeof m->item[0])
        return false;
    if (h->kind < BEAT || h->kind > BEAT_LIST_REPLY || h->zero != 0 || h->disk == 0)
        return false;
    if (h->kind == BEAT_LIST || h->kind == BEAT_LIST_REPLY)
        return h->items > 0 && h->chunks >= 1 && h->chunks <= CHUNKS_MAX && h->chunk < h->chunks;
    return h->items == 0 && h->chunk == 0 && h->chunks == 0;
}

void tm_beat_receive(struct tm_beat *b, unsigned node, unsigned worker, struct tm_bytes message)
{
    struct beat_message m;
    if (node >= TM_NODES_MAX || node == b->self.node || b->workers[node] <= worker ||
        !valid(message, &m))
        return;
    struct tm_beat_link *l = find_link(b, node, worker);
    if (l == NULL)
        l = make_link(b, node, worker);
    if (l == NULL)
        return; /* more workers than can have a partition in common with this one */
    if (l->peer_disk != m.head.disk) {
        l->peer_disk = m.head.disk;
        l->confirmed = 0;
    }
    l->peer_flush_age = m.head.flush_age_ns;
    switch ((enum beat_kind)m.head.kind) {
    case BEAT:
        on_beat(b, l, &m.head);
        break;
    case BEAT_SAME:
        note_clock(b, l, &m.head);
        on_same(b, l, &m.head);
        break;
    case BEAT_DIFFERS:
        note_clock(b, l, &m.head);
        l->list_wanted = m.head.boot == b->boot;
        break;
    case BEAT_LIST:
        on_list(b, l, &m);
        break;
    case BEAT_LIST_REPLY:
        on_list_reply(b, l, &m);
        break;
    }
}

void tm_beat_peer_down(struct tm_beat *b, unsigned node)
{
    for (struct tm_replica *r = b->replicas; r != NULL; r = r->beat_next)
        tm_replica_peer_down(r, node);
}

void tm_beat_peer_up(struct tm_beat *b, unsigned node)
{
    for (struct tm_replica *r = b->replicas; r != NULL; r = r->beat_next)
        tm_replica_peer_up(r, node);
}
