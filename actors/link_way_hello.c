/* Hellos of peers: the right cluster, behind a link that we have, too, is welcome, and its worker
 * is another process from now on.  Whoever is not is told why, and it is noted once. */
#include "actors/link_way_internal.h"

#include <stdio.h>

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

const char *tm_link_way_node_name(const struct tm_link_way *way, unsigned block)
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
        strcmp(h->node, tm_link_way_node_name(way, from.node)) != 0)
        return "the clusters have different lists of nodes: start all with the same topology file";
    if (!way->sites[site].linked)
        return "there is no link between the two clusters here";
    if (memcmp(h->uuid, way->self.uuid, 16) == 0 ||
        (!tm_link_way_is_same_cluster(way, (unsigned)site, h->uuid) &&
         !tm_link_way_is_adopted(way, (unsigned)site, h)))
        return "it is another cluster of that name than last time";
    const struct tm_link_way_site *s = &way->sites[site];
    if (s->heard && memcmp(s->identity.uuid, h->uuid, 16) == 0 &&
        s->identity.partitions != h->partitions)
        return "its number of partitions has changed";
    return NULL;
}

/* Notes, and says once, why two clusters do not speak. */
static void note_refusal(struct tm_link_way *way, unsigned block, bool theirs, const char *why)
{
    int site = way->blocks[block].site;
    tm_counter_add(way->config.ctx->counters, TM_COUNTER_link_refusals, 1);
    if (site < 0)
        return;
    struct tm_link_way_site *s = &way->sites[site];
    if (strncmp(s->refusal, why, sizeof s->refusal - 1) == 0)
        return;
    snprintf(s->refusal, sizeof s->refusal, "%s", why);
    tm_ctx_log(way->config.ctx, TM_LOG_ERROR, "link_refused",
               "cluster=%s node=%s by=%s reason=\"%s\"", way->config.sites[site].name,
               tm_link_way_node_name(way, block), theirs ? "it" : "us", why);
}

const char *tm_link_way_on_accept(void *host, struct tm_place from, struct tm_bytes bytes)
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
    tm_link_way_say_anew(way, from.node); /* whoever was accepted there before may be gone */
    return why;
}

void tm_link_way_on_refused(void *host, struct tm_place from, const char *reason)
{
    note_refusal(host, from.node, true, reason);
}

static void take_identity(struct tm_link_way_site *s, const struct tm_link_hello *h)
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

void tm_link_way_on_up(void *host, struct tm_place from, struct tm_bytes bytes, uint64_t boot)
{
    struct tm_link_way *way = host;
    struct tm_link_way_block *b = &way->blocks[from.node];
    struct tm_link_way_peer *p = &b->peers[from.worker];
    struct tm_link_hello h;
    TM_ASSERT(bytes.len == sizeof h && b->site >= 0); /* it was accepted */
    memcpy(&h, bytes.data, sizeof h);
    if ((p->said & TM_LINK_TOLD_UP) != 0)
        way->config.ops.down(way->config.ops.host, (unsigned)b->site, from);
    *p = (struct tm_link_way_peer){.boot = boot};
    b->hello = h;
    b->gone = false;
    take_identity(&way->sites[b->site], &h);
    tm_ctx_log(way->config.ctx, TM_LOG_INFO, "link_peer_up",
               "cluster=%s node=%s worker=%u incarnation=%llx epoch=%llu",
               way->config.sites[b->site].name, h.node, from.worker,
               (unsigned long long)h.incarnation, (unsigned long long)h.epoch);
    way->changed |= 1ULL << from.node;
    if (tm_link_way_standing(way, (unsigned)b->site) != TM_LINK_NOTED)
        way->unnoted |= 1ULL << b->site;
}
