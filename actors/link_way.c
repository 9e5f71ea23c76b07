/* The happy path of two workers: their channel's hellos are accepted on both sides; once the
 * cluster is noted here, READY goes out over that channel; who has sent READY and got it may send.
 * So nothing is lost that was sent after `up`, though the two sides may take their time to note.
 *
 * What a peer worker is now follows from a few facts: the process that its channel met (boot), what
 * was said to and by that process, whether its node is there, whether its cluster is linked and
 * noted.  Whatever changes one of them marks the block, and the next turn tells the sink what has
 * changed by that.
 *
 * The uuid behind a name is claimed by whichever worker meets a node of it first, in the node's
 * shared table; worker 0 writes it down.  Until that is durable nobody is READY. */
#include "actors/link_way.h"

#include "actors/whole_file.h"
#include "runtime/counters.h"
#include "runtime/hash.h"

#include <stdio.h>
#include <stdlib.h>

#define BESIDE         TM_LINK_NOTES_FILE ".tmp"
#define NOTE_AGAIN_NS  TM_SECONDS(10)
#define NOTE_LOOK_NS   TM_MS(5)
#define READY_AGAIN_NS TM_MS(5)

/* How a site stands in the shared table: it goes on, by whoever met it, then by worker 0; and back
 * to CLAIMED where another cluster may take the name. */
enum standing { UNKNOWN, CLAIMED, MET, NOTED };

enum said { READY_SENT = 1, READY_GOT = 2, TOLD_UP = 4, ANSWER_OWED = 8 };

struct peer {
    uint64_t boot; /* of the process that the channel met last; 0: none */
    uint8_t said;  /* of enum said, as to that process */
};

/* A node of a site. */
struct block {
    struct tm_link_hello hello; /* as it said last; workers 0: it was not met */
    int site;                   /* -1: none has it */
    bool gone;                  /* the fabric says so */
    struct peer peers[TM_WORKERS_MAX];
};

struct site {
    bool linked, heard;
    uint64_t adopted;  /* beginning of a uuid; 0: none */
    uint64_t stranger; /* of one that was refused; 0: none */
    struct tm_link_identity identity;
    char refusal[TM_CHANNEL_REASON_MAX];
};

struct tm_link_way {
    struct tm_link_way_config config;
    struct tm_link_identity self;
    struct tm_post *post; /* NULL: not started */
    struct tm_fabric *fabric;
    struct block blocks[TM_NODES_MAX];
    struct site sites[TM_LINK_SITES_MAX];
    uint64_t changed;  /* bit per block: to be looked at */
    uint64_t unnoted;  /* bit per site: met by this worker, and not noted yet */
    uint64_t again_at; /* READY found the way full; 0: not */
    bool flush_notes;  /* worker 0: a note may be missing */
    uint64_t note_at;  /* not before */
    int noting;        /* the site whose note is being written; -1: none */
    struct tm_link_notes notes;
    bool noted_before; /* that site had another note */
    struct tm_link_note note_before;
    struct tm_whole_write write;
};

static void count(const struct tm_link_way *way, enum tm_counter which)
{
    tm_counter_add(way->config.ctx->counters, which, 1);
}

/* ---- what all workers know of a site ---- */

static uint32_t standing_of(const struct tm_link_way *way, unsigned site)
{
    return atomic_load_explicit(&way->config.known->site[site].standing, memory_order_acquire);
}

static void put_uuid(struct tm_link_way *way, unsigned site, const uint8_t uuid[16],
                     enum standing standing)
{
    struct tm_link_known *k = way->config.known;
    atomic_store(&k->site[site].uuid[0], tm_load64(uuid));
    atomic_store(&k->site[site].uuid[1], tm_load64(uuid + 8));
    atomic_store_explicit(&k->site[site].standing, (uint32_t)standing, memory_order_release);
}

static bool is_uuid(const struct tm_link_way *way, unsigned site, const uint8_t uuid[16])
{
    const struct tm_link_known *k = way->config.known;
    return atomic_load(&k->site[site].uuid[0]) == tm_load64(uuid) &&
           atomic_load(&k->site[site].uuid[1]) == tm_load64(uuid + 8);
}

/* Whether that may be the cluster behind the site's name; claims the name for it if nobody has. */
static bool is_same_cluster(struct tm_link_way *way, unsigned site, const uint8_t uuid[16])
{
    uint32_t was = UNKNOWN;
    if (atomic_compare_exchange_strong(&way->config.known->site[site].standing, &was, CLAIMED))
        put_uuid(way, site, uuid, MET);
    return was == CLAIMED || is_uuid(way, site, uuid); /* may_speak compares again */
}

/* Whether an operator lets that cluster have the site's name; it has it then. */
static bool is_adopted(struct tm_link_way *way, unsigned site, const struct tm_link_hello *h)
{
    uint32_t was = NOTED;
    struct site *s = &way->sites[site];
    if (tm_load64(h->uuid) != s->adopted) {
        s->stranger = tm_load64(h->uuid);
        return false;
    }
    if (atomic_compare_exchange_strong(&way->config.known->site[site].standing, &was, CLAIMED)) {
        put_uuid(way, site, h->uuid, MET);
        tm_ctx_log(way->config.ctx, TM_LOG_WARN, "link_cluster_adopted", "cluster=%s uuid=%016llx",
                   way->config.sites[site].name, (unsigned long long)s->adopted);
        s->heard = false;
    }
    return is_same_cluster(way, site, h->uuid);
}

/* ---- what a peer is now ---- */

static bool may_speak(const struct tm_link_way *way, const struct block *b)
{
    return b->site >= 0 && b->hello.workers != 0 && way->sites[b->site].linked &&
           standing_of(way, (unsigned)b->site) == NOTED &&
           is_uuid(way, (unsigned)b->site, b->hello.uuid);
}

static bool is_ready(const struct tm_link_way *way, struct tm_place at)
{
    const struct block *b = &way->blocks[at.node];
    uint8_t both = READY_SENT | READY_GOT;
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
    const struct block *b = &way->blocks[to.node];
    struct peer *p = &way->blocks[to.node].peers[to.worker];
    if (b->gone || p->boot == 0 || !may_speak(way, b))
        return;
    if ((p->said & READY_SENT) == 0 && send_ready(way, to, 0))
        p->said |= READY_SENT;
    if ((p->said & (READY_SENT | ANSWER_OWED)) == (READY_SENT | ANSWER_OWED) &&
        send_ready(way, to, 1))
        p->said &= (uint8_t)~ANSWER_OWED;
}

static void look_at_peer(struct tm_link_way *way, struct tm_place at)
{
    struct block *b = &way->blocks[at.node];
    struct peer *p = &b->peers[at.worker];
    const struct tm_link_way_ops *ops = &way->config.ops;
    say_ready(way, at);
    bool ready = is_ready(way, at), told = (p->said & TOLD_UP) != 0;
    if (ready == told)
        return;
    p->said ^= TOLD_UP;
    (ready ? ops->up : ops->down)(ops->host, (unsigned)b->site, at);
}

static void look_at_changed(struct tm_link_way *way)
{
    for (uint64_t left = way->changed; left != 0; left &= left - 1) {
        unsigned block = (unsigned)__builtin_ctzll(left);
        way->changed &= ~(1ULL << block);
        for (unsigned w = 0; w < TM_WORKERS_MAX; w++)
            if (way->blocks[block].peers[w].boot != 0)
                look_at_peer(way, (struct tm_place){(uint8_t)block, (uint8_t)w});
    }
}

static void site_changed(struct tm_link_way *way, unsigned site)
{
    const struct tm_link_site *s = &way->config.sites[site];
    for (unsigned i = 0; i < s->count; i++)
        way->changed |= 1ULL << s->nodes[i].block;
}

/* ---- hellos ---- */

/* NULL: it makes sense. */
static const char *nonsense(const struct tm_link_hello *h, struct tm_place from)
{
    static const uint8_t none[16];
    if (h->protocol != TM_LINK_PROTOCOL)
        return "it speaks another version of the protocol between clusters";
    if (memchr(h->cluster, '\0', sizeof h->cluster) == NULL ||
        memchr(h->node, '\0', sizeof h->node) == NULL)
        return "its names make no sense";
    if (h->workers == 0 || h->workers > TM_WORKERS_MAX || from.worker >= h->workers)
        return "its number of workers makes no sense";
    if (h->partitions == 0 || h->partitions > TM_DIRECTORY_PARTITIONS_MAX)
        return "its number of partitions makes no sense";
    if (h->incarnation == 0 || memcmp(h->uuid, none, sizeof none) == 0)
        return "it does not say which cluster it is";
    return NULL;
}

static const char *node_name(const struct tm_link_way *way, unsigned block)
{
    const struct tm_link_site *s = &way->config.sites[way->blocks[block].site];
    for (unsigned i = 0; i < s->count; i++)
        if (s->nodes[i].block == block)
            return s->nodes[i].name;
    return "";
}

/* NULL: it is welcome. */
static const char *judge(struct tm_link_way *way, struct tm_place from,
                         const struct tm_link_hello *h)
{
    int site = way->blocks[from.node].site;
    const char *why = nonsense(h, from);
    if (why != NULL)
        return why;
    if (site < 0 || strcmp(h->cluster, way->config.sites[site].name) != 0 ||
        strcmp(h->node, node_name(way, from.node)) != 0)
        return "the clusters have different lists of nodes: start all with the same topology file";
    if (!way->sites[site].linked)
        return "there is no link between the two clusters here";
    if (memcmp(h->uuid, way->self.uuid, 16) == 0 ||
        (!is_same_cluster(way, (unsigned)site, h->uuid) && !is_adopted(way, (unsigned)site, h)))
        return "it is another cluster of that name than last time";
    const struct site *s = &way->sites[site];
    if (s->heard && memcmp(s->identity.uuid, h->uuid, 16) == 0 &&
        s->identity.partitions != h->partitions)
        return "its number of partitions has changed";
    return NULL;
}

/* Notes, and says once, why two clusters do not speak. */
static void note_refusal(struct tm_link_way *way, unsigned block, bool theirs, const char *why)
{
    int site = way->blocks[block].site;
    count(way, TM_COUNTER_link_refusals);
    if (site < 0)
        return;
    struct site *s = &way->sites[site];
    if (strncmp(s->refusal, why, sizeof s->refusal - 1) == 0)
        return;
    snprintf(s->refusal, sizeof s->refusal, "%s", why);
    tm_ctx_log(way->config.ctx, TM_LOG_ERROR, "link_refused",
               "cluster=%s node=%s by=%s reason=\"%s\"", way->config.sites[site].name,
               node_name(way, block), theirs ? "it" : "us", why);
}

/* Nobody of that node is taken for ready until it has said so once more. */
static void say_anew(struct tm_link_way *way, unsigned block)
{
    for (unsigned w = 0; w < TM_WORKERS_MAX; w++)
        way->blocks[block].peers[w].said &= TOLD_UP;
    way->changed |= 1ULL << block;
}

static const char *on_accept(void *host, struct tm_place from, struct tm_bytes bytes)
{
    struct tm_link_way *way = host;
    struct tm_link_hello h;
    const char *why = "its hello has another layout: run versions that fit each other";
    if (bytes.len == sizeof h) {
        memcpy(&h, bytes.data, sizeof h);
        why = judge(way, from, &h);
    }
    if (why == NULL)
        return NULL;
    note_refusal(way, from.node, false, why);
    say_anew(way, from.node); /* whoever was accepted there before may be gone */
    return why;
}

static void on_refused(void *host, struct tm_place from, const char *reason)
{
    note_refusal(host, from.node, true, reason);
}

static void take_identity(struct site *s, const struct tm_link_hello *h)
{
    if (s->heard && memcmp(s->identity.uuid, h->uuid, sizeof h->uuid) == 0 &&
        h->epoch < s->identity.epoch)
        return;
    s->heard = true;
    s->stranger = 0;
    s->refusal[0] = '\0';
    s->identity = (struct tm_link_identity){
        .incarnation = h->incarnation, .epoch = h->epoch, .partitions = h->partitions};
    memcpy(s->identity.uuid, h->uuid, sizeof h->uuid);
}

static void on_up(void *host, struct tm_place from, struct tm_bytes bytes, uint64_t boot)
{
    struct tm_link_way *way = host;
    struct block *b = &way->blocks[from.node];
    struct peer *p = &b->peers[from.worker];
    struct tm_link_hello h;
    TM_ASSERT(bytes.len == sizeof h && b->site >= 0); /* it was accepted */
    memcpy(&h, bytes.data, sizeof h);
    if ((p->said & TOLD_UP) != 0)
        way->config.ops.down(way->config.ops.host, (unsigned)b->site, from);
    *p = (struct peer){.boot = boot};
    b->hello = h;
    b->gone = false;
    take_identity(&way->sites[b->site], &h);
    tm_ctx_log(way->config.ctx, TM_LOG_INFO, "link_peer_up",
               "cluster=%s node=%s worker=%u incarnation=%llx epoch=%llu",
               way->config.sites[b->site].name, h.node, from.worker,
               (unsigned long long)h.incarnation, (unsigned long long)h.epoch);
    way->changed |= 1ULL << from.node;
    if (standing_of(way, (unsigned)b->site) != NOTED)
        way->unnoted |= 1ULL << b->site;
}

/* ---- messages ---- */

/* asks: it does not know that this worker is ready, and may have dropped what it got. */
static void on_ready(struct tm_link_way *way, struct tm_place from, bool asks)
{
    struct block *b = &way->blocks[from.node];
    struct peer *p = &b->peers[from.worker];
    if (asks && (p->said & TOLD_UP) != 0) {
        p->said &= (uint8_t)~TOLD_UP;
        way->config.ops.down(way->config.ops.host, (unsigned)b->site, from);
    }
    p->said |= (uint8_t)(READY_GOT | (asks ? ANSWER_OWED : 0));
    way->changed |= 1ULL << from.node;
}

static void on_message(void *host, const struct tm_message_head *head, struct tm_bytes body)
{
    struct tm_link_way *way = host;
    struct block *b = &way->blocks[head->node];
    struct peer *p = &b->peers[head->worker];
    struct tm_place from = {head->node, head->worker};
    if (head->type == TM_MESSAGE_LINK_READY) {
        on_ready(way, from, head->arg == 0);
        return;
    }
    /* What arrives between the peer's READY and the turn that tells of it comes after `up`. */
    if ((p->said & TOLD_UP) == 0 && b->site >= 0)
        look_at_peer(way, from);
    if (head->type < TM_LINK_MESSAGE_FIRST || (p->said & TOLD_UP) == 0 || !may_speak(way, b)) {
        count(way, TM_COUNTER_link_messages_dropped);
        return;
    }
    way->config.ops.message(way->config.ops.host, (unsigned)b->site, head, body);
}

static enum tm_err on_local(void *host, unsigned worker, const struct tm_bytes *pieces, unsigned n)
{
    (void)host, (void)worker, (void)pieces, (void)n;
    return TM_ERR_INVALID; /* this post leads to other clusters only */
}

static void on_node_event(void *host, unsigned node, bool up)
{
    struct tm_link_way *way = host;
    struct block *b = &way->blocks[node];
    if (b->site < 0 || b->gone == !up)
        return;
    b->gone = !up;
    say_anew(way, node);
    if (!up && b->hello.workers != 0)
        tm_ctx_log(way->config.ctx, TM_LOG_WARN, "link_peer_down", "cluster=%s node=%s",
                   way->config.sites[b->site].name, node_name(way, node));
}

/* ---- the fabric, which is there before the post ---- */

static void on_frame(void *host, unsigned node, unsigned worker, uint8_t *data, size_t len)
{
    struct tm_link_way *way = host;
    if (way->post == NULL || node >= TM_NODES_MAX || way->blocks[node].site < 0)
        return;
    struct tm_fabric_sink sink = tm_post_sink(way->post);
    sink.frame(sink.host, node, worker, data, len);
}

static void on_event(void *host, unsigned node, enum tm_fabric_event event)
{
    struct tm_link_way *way = host;
    if (way->post == NULL || node >= TM_NODES_MAX)
        return;
    struct tm_fabric_sink sink = tm_post_sink(way->post);
    sink.event(sink.host, node, event);
}

struct tm_fabric_sink tm_link_way_sink(struct tm_link_way *way)
{
    return (struct tm_fabric_sink){.host = way, .frame = on_frame, .event = on_event};
}

void tm_link_way_set_fabric(struct tm_link_way *way, struct tm_fabric *fabric)
{
    way->fabric = fabric;
}

/* ---- notes: worker 0 ---- */

static void noted(struct tm_link_way *way, unsigned site, const uint8_t uuid[16])
{
    put_uuid(way, site, uuid, NOTED);
    site_changed(way, site);
}

/* The list is again as the file has it. */
static void unnote(struct tm_link_way *way)
{
    if (way->noted_before)
        tm_link_notes_put(&way->notes, way->note_before.name, way->note_before.uuid);
    else
        way->notes.count--;
}

static void on_written(void *host, enum tm_err err)
{
    struct tm_link_way *way = host;
    unsigned site = (unsigned)way->noting;
    const struct tm_link_note *note = tm_link_notes_find(&way->notes, way->config.sites[site].name);
    way->noting = -1;
    way->flush_notes = true; /* there may be more */
    if (err == TM_OK) {
        tm_ctx_log(way->config.ctx, TM_LOG_INFO, "link_cluster_met",
                   "cluster=%s uuid=%016llx%016llx", note->name,
                   (unsigned long long)__builtin_bswap64(tm_load64(note->uuid)),
                   (unsigned long long)__builtin_bswap64(tm_load64(note->uuid + 8)));
        noted(way, site, note->uuid);
        return;
    }
    unnote(way);
    way->note_at = tm_ctx_now(way->config.ctx) + NOTE_AGAIN_NS;
    tm_ctx_log(way->config.ctx, TM_LOG_ERROR, "link_not_noted",
               "cluster=%s error=\"%s\" action=\"tried again; nothing is sent to it before\"",
               way->config.sites[site].name, tm_err_text(err));
}

static void write_note(struct tm_link_way *way, unsigned site)
{
    uint8_t uuid[16], *bytes;
    uint32_t len;
    const struct tm_link_known *k = way->config.known;
    const char *name = way->config.sites[site].name;
    tm_store64(uuid, atomic_load(&k->site[site].uuid[0]));
    tm_store64(uuid + 8, atomic_load(&k->site[site].uuid[1]));
    const struct tm_link_note *known = tm_link_notes_find(&way->notes, name);
    bool same = known != NULL && memcmp(known->uuid, uuid, sizeof uuid) == 0;
    if (same || (known != NULL && tm_load64(uuid) != way->sites[site].adopted)) {
        noted(way, site, known->uuid); /* it was met while the notes were read */
        return;
    }
    way->noted_before = known != NULL;
    if (known != NULL)
        way->note_before = *known;
    way->note_at = tm_ctx_now(way->config.ctx) + NOTE_AGAIN_NS;
    if (tm_link_notes_put(&way->notes, name, uuid) != TM_OK) {
        tm_ctx_log(way->config.ctx, TM_LOG_ERROR, "link_not_noted",
                   "cluster=%s error=\"%u clusters are noted already\"", name, TM_LINK_NOTES_MAX);
        return;
    }
    bytes = tm_link_notes_encode(&way->notes, &len);
    if (bytes == NULL) {
        unnote(way);
        return;
    }
    way->note_at = 0;
    way->noting = (int)site;
    tm_whole_write(&way->write, way->config.ctx->disk, TM_LINK_NOTES_FILE, BESIDE, bytes, len,
                   on_written, way);
}

static void tend_notes(struct tm_link_way *way)
{
    way->flush_notes = false;
    for (unsigned i = 0; i < way->config.site_count; i++) {
        if (standing_of(way, i) != MET)
            continue;
        way->flush_notes = true;
        if (way->noting < 0 && tm_ctx_now(way->config.ctx) >= way->note_at)
            write_note(way, i);
    }
}

static enum tm_err read_notes(struct tm_link_way *way, char *why, size_t why_size)
{
    enum tm_err e = tm_link_notes_load(way->config.ctx->disk, &way->notes);
    if (e != TM_OK)
        snprintf(why, why_size,
                 "the file \"%s\" of the data directory, which says which clusters this node met, "
                 "cannot be read: %s",
                 TM_LINK_NOTES_FILE, tm_err_text(e));
    for (unsigned i = 0; e == TM_OK && i < way->config.site_count; i++) {
        const struct tm_link_note *n = tm_link_notes_find(&way->notes, way->config.sites[i].name);
        if (n != NULL)
            noted(way, i, n->uuid);
    }
    return e;
}

/* ---- life ---- */

struct tm_link_way *tm_link_way_new(const struct tm_link_way_config *config)
{
    TM_ASSERT(config->site_count <= TM_LINK_SITES_MAX && config->block < TM_NODES_MAX);
    struct tm_link_way *way = calloc(1, sizeof *way);
    if (way == NULL)
        return NULL;
    way->config = *config;
    way->noting = -1;
    for (unsigned i = 0; i < TM_NODES_MAX; i++)
        way->blocks[i].site = -1;
    for (unsigned i = 0; i < config->site_count; i++)
        for (unsigned k = 0; k < config->sites[i].count; k++) {
            unsigned block = config->sites[i].nodes[k].block;
            TM_ASSERT(block < TM_NODES_MAX && block != config->block &&
                      way->blocks[block].site < 0);
            way->blocks[block].site = (int)i;
        }
    return way;
}

void tm_link_way_abandon(struct tm_link_way *way)
{
    tm_whole_write_abandon(&way->write);
    tm_link_way_free(way);
}

void tm_link_way_free(struct tm_link_way *way)
{
    if (way == NULL)
        return;
    TM_ASSERT(!tm_whole_writing(&way->write));
    tm_post_free(way->post);
    free(way);
}

/* Makes the post anew, for what self is now: to peers it is another process. */
static enum tm_err make_post(struct tm_link_way *way)
{
    const struct tm_link_way_config *c = &way->config;
    struct tm_link_hello h = {.protocol = TM_LINK_PROTOCOL,
                              .partitions = way->self.partitions,
                              .incarnation = way->self.incarnation,
                              .epoch = way->self.epoch,
                              .workers = (uint8_t)c->workers};
    uint64_t life[3] = {c->boot, way->self.incarnation, way->self.epoch};
    memcpy(h.uuid, way->self.uuid, sizeof h.uuid);
    snprintf(h.cluster, sizeof h.cluster, "%s", c->cluster);
    snprintf(h.node, sizeof h.node, "%s", c->name);
    struct tm_post_config pc = {.ctx = c->ctx,
                                .self = {.node = (uint8_t)c->block, .worker = (uint8_t)c->worker},
                                .boot = tm_hash64(life, sizeof life, 0) | 1,
                                .cluster_hash = TM_LINK_CLUSTER_HASH,
                                .hello = tm_bytes_of(&h, sizeof h),
                                .links = true,
                                .ops = {.host = way,
                                        .message = on_message,
                                        .local = on_local,
                                        .accept = on_accept,
                                        .up = on_up,
                                        .node_event = on_node_event,
                                        .refused = on_refused}};
    struct tm_post *post = tm_post_new(&pc);
    if (post == NULL)
        return TM_ERR_NOMEM;
    tm_post_free(way->post);
    way->post = post;
    tm_post_set_fabric(post, way->fabric);
    return TM_OK;
}

/* All peers are to be met anew. */
static void forget_peers(struct tm_link_way *way)
{
    for (unsigned n = 0; n < TM_NODES_MAX; n++)
        for (unsigned w = 0; w < TM_WORKERS_MAX; w++) {
            struct peer *p = &way->blocks[n].peers[w];
            struct tm_place at = {(uint8_t)n, (uint8_t)w};
            if ((p->said & TOLD_UP) != 0)
                way->config.ops.down(way->config.ops.host, (unsigned)way->blocks[n].site, at);
            *p = (struct peer){0};
        }
}

static void greet(struct tm_link_way *way, unsigned site)
{
    const struct tm_link_site *s = &way->config.sites[site];
    for (unsigned i = 0; way->post != NULL && way->sites[site].linked && i < s->count; i++)
        tm_post_know(way->post, (struct tm_place){.node = s->nodes[i].block});
}

enum tm_err tm_link_way_start(struct tm_link_way *way, const struct tm_link_identity *self,
                              char *why, size_t why_size)
{
    TM_ASSERT(way->fabric != NULL && self->incarnation != 0 && self->partitions != 0);
    enum tm_err e = TM_OK;
    if (way->post == NULL && way->config.worker == 0)
        e = read_notes(way, why, why_size);
    if (e != TM_OK)
        return e;
    way->self = *self;
    e = make_post(way);
    if (e != TM_OK) {
        snprintf(why, why_size, "not enough memory for links");
        return e;
    }
    forget_peers(way);
    for (unsigned i = 0; i < way->config.site_count; i++)
        greet(way, i);
    return TM_OK;
}

void tm_link_way_link(struct tm_link_way *way, unsigned site, bool linked)
{
    TM_ASSERT(site < way->config.site_count);
    if (way->sites[site].linked == linked)
        return;
    way->sites[site].linked = linked;
    site_changed(way, site);
    /* Who comes back has to hear READY again: it may have been dropped here meanwhile. */
    for (unsigned i = 0; !linked && i < way->config.sites[site].count; i++)
        for (unsigned w = 0; w < TM_WORKERS_MAX; w++)
            way->blocks[way->config.sites[site].nodes[i].block].peers[w].said &=
                (uint8_t)~READY_SENT;
    greet(way, site);
}

void tm_link_way_adopt(struct tm_link_way *way, unsigned site, uint64_t uuid)
{
    TM_ASSERT(site < way->config.site_count);
    way->sites[site].adopted = uuid;
}

/* ---- who is there ---- */

unsigned tm_link_way_sites(const struct tm_link_way *way)
{
    return way->config.site_count;
}

const struct tm_link_site *tm_link_way_site(const struct tm_link_way *way, unsigned site)
{
    TM_ASSERT(site < way->config.site_count);
    return &way->config.sites[site];
}

int tm_link_way_find(const struct tm_link_way *way, const char *name)
{
    for (unsigned i = 0; i < way->config.site_count; i++)
        if (strcmp(way->config.sites[i].name, name) == 0)
            return (int)i;
    return -1;
}

int tm_link_way_site_of(const struct tm_link_way *way, unsigned block)
{
    return block < TM_NODES_MAX ? way->blocks[block].site : -1;
}

int tm_link_way_site_of_uuid(const struct tm_link_way *way, const uint8_t uuid[16])
{
    for (unsigned i = 0; i < way->config.site_count; i++)
        if (standing_of(way, i) == NOTED && is_uuid(way, i, uuid))
            return (int)i;
    return -1;
}

bool tm_link_way_linked(const struct tm_link_way *way, unsigned site)
{
    return site < way->config.site_count && way->sites[site].linked;
}

const struct tm_link_identity *tm_link_way_identity(const struct tm_link_way *way, unsigned site)
{
    return site < way->config.site_count && way->sites[site].heard ? &way->sites[site].identity
                                                                   : NULL;
}

const char *tm_link_way_refusal(const struct tm_link_way *way, unsigned site)
{
    return site < way->config.site_count && way->sites[site].refusal[0] != '\0'
               ? way->sites[site].refusal
               : NULL;
}

uint64_t tm_link_way_stranger(const struct tm_link_way *way, unsigned site)
{
    TM_ASSERT(site < way->config.site_count);
    return way->sites[site].stranger;
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

/* ---- sending, turns ---- */

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

void tm_link_way_turn(struct tm_link_way *way)
{
    if (way->post == NULL)
        return;
    if (way->config.worker == 0)
        tend_notes(way);
    for (uint64_t left = way->unnoted; left != 0; left &= left - 1) {
        unsigned site = (unsigned)__builtin_ctzll(left);
        if (standing_of(way, site) != NOTED)
            continue;
        way->unnoted &= ~(1ULL << site);
        site_changed(way, site);
    }
    if (way->again_at != 0 && tm_ctx_now(way->config.ctx) >= way->again_at) {
        way->again_at = 0;
        way->changed = UINT64_MAX;
    }
    look_at_changed(way);
}

void tm_link_way_flush(struct tm_link_way *way)
{
    if (way->post != NULL)
        tm_post_flush(way->post);
}

uint64_t tm_link_way_next_deadline(struct tm_link_way *way)
{
    if (way->post == NULL)
        return UINT64_MAX;
    uint64_t next = tm_post_next_deadline(way->post), now = tm_ctx_now(way->config.ctx);
    if (way->changed != 0)
        next = tm_min_u64(next, now);
    if (way->unnoted != 0)
        next = tm_min_u64(next, now + NOTE_LOOK_NS);
    if (way->flush_notes && way->noting < 0)
        next = tm_min_u64(next, tm_max_u64(way->note_at, now));
    return way->again_at != 0 ? tm_min_u64(next, way->again_at) : next;
}

void tm_link_way_housekeep(struct tm_link_way *way)
{
    if (way->post != NULL)
        tm_post_housekeep(way->post);
}

bool tm_link_way_quiet(const struct tm_link_way *way)
{
    return !tm_whole_writing(&way->write);
}
