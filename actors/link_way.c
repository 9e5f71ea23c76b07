/* The happy path of two workers: their channel's hellos are accepted on both sides; once the
 * cluster is noted here, READY goes out over that channel; who has sent READY and got it may send.
 * So nothing is lost that was sent after `up`, though the two sides may take their time to note.
 *
 * Here is the life of a way, and what may be asked of it; hellos are link_way_hello.c, peers
 * link_way_peer.c, what is known of the clusters behind names link_way_known.c. */
#include "actors/link_way_internal.h"

#include "runtime/hash.h"

#include <stdio.h>
#include <stdlib.h>

#define NOTE_LOOK_NS TM_MS(5)

/* ---- the fabric, which is there before the post ---- */

static enum tm_err on_local(void *host, unsigned worker, const struct tm_bytes *pieces, unsigned n)
{
    (void)host, (void)worker, (void)pieces, (void)n;
    return TM_ERR_INVALID; /* this post leads to other clusters only */
}

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
                                        .message = tm_link_way_on_message,
                                        .local = on_local,
                                        .accept = tm_link_way_on_accept,
                                        .up = tm_link_way_on_up,
                                        .node_event = tm_link_way_on_node_event,
                                        .refused = tm_link_way_on_refused}};
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
            struct tm_link_way_peer *p = &way->blocks[n].peers[w];
            struct tm_place at = {(uint8_t)n, (uint8_t)w};
            if ((p->said & TM_LINK_TOLD_UP) != 0)
                way->config.ops.down(way->config.ops.host, (unsigned)way->blocks[n].site, at);
            *p = (struct tm_link_way_peer){0};
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
        e = tm_link_way_read_notes(way, why, why_size);
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
    tm_link_way_site_changed(way, site);
    /* Who comes back has to hear READY again: it may have been dropped here meanwhile. */
    for (unsigned i = 0; !linked && i < way->config.sites[site].count; i++)
        for (unsigned w = 0; w < TM_WORKERS_MAX; w++)
            way->blocks[way->config.sites[site].nodes[i].block].peers[w].said &=
                (uint8_t)~TM_LINK_READY_SENT;
    greet(way, site);
}

void tm_link_way_adopt(struct tm_link_way *way, unsigned site, uint64_t uuid)
{
    TM_ASSERT(site < way->config.site_count);
    way->sites[site].adopted = uuid;
}

/* ---- sites ---- */

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

int tm_link_way_site_of_uuid(const struct tm_link_way *way, const uint8_t uuid[16])
{
    for (unsigned i = 0; i < way->config.site_count; i++)
        if (tm_link_way_standing(way, i) == TM_LINK_NOTED && tm_link_way_is_uuid(way, i, uuid))
            return (int)i;
    return -1;
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

/* ---- turns ---- */

void tm_link_way_turn(struct tm_link_way *way)
{
    if (way->post == NULL)
        return;
    if (way->config.worker == 0)
        tm_link_way_tend_notes(way);
    for (uint64_t left = way->unnoted; left != 0; left &= left - 1) {
        unsigned site = (unsigned)__builtin_ctzll(left);
        if (tm_link_way_standing(way, site) != TM_LINK_NOTED)
            continue;
        way->unnoted &= ~(1ULL << site);
        tm_link_way_site_changed(way, site);
    }
    if (way->again_at != 0 && tm_ctx_now(way->config.ctx) >= way->again_at) {
        way->again_at = 0;
        way->changed = UINT64_MAX;
    }
    tm_link_way_look(way);
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

bool tm_link_way_begun(const struct tm_link_way *way)
{
    return way->post != NULL;
}

bool tm_link_way_quiet(const struct tm_link_way *way)
{
    return !tm_whole_writing(&way->write);
}
