/* From the plan to what streams go by.  A link is told by its target's name: a new version of the
 * directory changes it in place, and streams begin anew where it changed what they ship. */
#include "actors/links_internal.h"

#include "actors/link_batch.h"
#include "actors/router.h"
#include "runtime/hash.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- out ---- */

static bool out_ships(const void *host, struct tm_bytes type)
{
    const struct tm_links_out *o = host;
    enum tm_link_verdict v = tm_link_plan_out(o->plan, o->link, type);
    if (v == TM_LINK_RESIDENT)
        tm_counter_add(o->links->ctx->counters, TM_COUNTER_link_residency_kept, 1);
    return v == TM_LINK_CARRIED;
}

/* What was written here; with transit what came from others, but never the target's own: except
 * what it wrote in an earlier incarnation, for it may have lost that. */
static bool out_forwards(const void *host, uint64_t origin)
{
    const struct tm_links_out *o = host;
    const struct tm_shard *s = o->links->shard;
    if (origin == s->env.origin || tm_incarnation_is_of(origin, s->directory->uuid))
        return true;
    const struct tm_link_identity *to =
        o->site < 0 ? NULL : tm_link_way_identity(o->links->way, (unsigned)o->site);
    if (to != NULL && tm_incarnation_is_of(origin, to->uuid))
        return origin != to->incarnation;
    return o->plan->out[o->link].options.forward == TM_LINK_FORWARD_TRANSIT && to != NULL;
}

/* What the topology file says of how much; the rate is shared out after it. */
static struct tm_link_limits limits_of(const struct tm_link *link)
{
    const struct tm_link_options *o = &link->options;
    return (struct tm_link_limits){
        .batch_bytes = (uint32_t)o->batch_bytes,
        .batch_delay_us = (uint32_t)o->batch_max_delay_us,
        .window_bytes = (uint32_t)tm_max_u64(TM_MIB(1), 4 * (uint64_t)o->batch_bytes)};
}

/* As the file says, or an operator. */
static uint64_t rate_of(const struct tm_link *link)
{
    return tm_link_operator_says(&link->said, TM_LINK_OPERATOR_throttle)
               ? link->said.throttle
               : (uint64_t)link->options.max_bytes_per_second;
}

/* Where the target is, as far as that is known. */
static void resolve(struct tm_links *l, struct tm_links_out *o)
{
    const struct tm_link_peer *peer = &o->plan->peers[o->plan->out[o->link].peer];
    o->site = l->way != NULL ? tm_link_way_find(l->way, peer->name) : -1;
    o->resolved = false;
    if (o->site < 0)
        return;
    const struct tm_link_site *site = tm_link_way_site(l->way, (unsigned)o->site);
    const struct tm_link_identity *id = tm_link_way_identity(l->way, (unsigned)o->site);
    o->outlet.block_count = site->count;
    for (unsigned i = 0; i < site->count; i++)
        o->outlet.blocks[i] = site->nodes[i].block;
    if (id == NULL)
        return; /* how many partitions it has shows when it is met */
    o->outlet.targets = id->partitions;
    o->resolved = true;
}

static struct tm_links_out *out_of(struct tm_links *l, const char *target)
{
    struct tm_links_out *spare = NULL;
    for (unsigned i = 0; i < TM_LINKS_MAX; i++) {
        if (l->out[i].used && strcmp(l->out[i].target, target) == 0)
            return &l->out[i];
        if (!l->out[i].used && spare == NULL)
            spare = &l->out[i];
    }
    return spare;
}

/* True if its streams have to be made anew. */
static bool take_out(struct tm_links *l, const struct tm_link_plan *plan, unsigned link)
{
    const char *target = plan->peers[plan->out[link].peer].name;
    struct tm_links_out *o = out_of(l, target);
    if (o == NULL)
        return false; /* all are used by links that go in this very look: taken with the next */
    bool fresh = !o->used, was = o->resolved;
    uint64_t gate = o->sync ? 1 + o->joins : 0;
    uint32_t targets = o->outlet.targets;
    uint64_t hash = o->outlet.filter.hash, incarnation = o->outlet.incarnation;
    if (fresh) {
        *o = (struct tm_links_out){.links = l, .used = true};
        snprintf(o->target, sizeof o->target, "%s", target);
    }
    o->plan = plan;
    o->link = link;
    o->seen = true;
    o->max_backlog_bytes = (uint64_t)plan->out[link].options.max_backlog_bytes;
    if (fresh && tm_links_backlog_bytes(l, o) < o->max_backlog_bytes)
        tm_ctx_log(l->ctx, TM_LOG_INFO, "link_backlog_bound",
                   "target=%s bytes=%" PRIu64 " max_backlog_bytes=%" PRIu64
                   " text=\"three eighths of --wal-bytes are all that a link may keep\"",
                   target, tm_links_backlog_bytes(l, o), o->max_backlog_bytes);
    o->max_backlog_ns = TM_SECONDS((uint64_t)plan->out[link].options.max_backlog_age);
    o->rejects = plan->out[link].options.backlog_full == TM_LINK_FULL_REJECT;
    struct tm_link_outlet *t = &o->outlet;
    t->ctx = l->ctx;
    t->ops = &tm_links_out_ops;
    t->host = l;
    t->target = o->target;
    t->filter = (struct tm_link_filter){.host = o,
                                        .ships = out_ships,
                                        .forwards = out_forwards,
                                        .hash = tm_link_plan_filter(plan, &plan->out[link])};
    t->limits = limits_of(&plan->out[link]);
    t->rate = rate_of(&plan->out[link]);
    o->sync = plan->out[link].options.mode == TM_LINK_SYNC;
    o->joins = plan->out[link].said.joined;
    t->prompt = o->sync;
    t->stages = o->sync && plan->out[link].options.ack_level != TM_LINK_ACK_APPLIED;
    t->plain = plan->out[link].options.compression == TM_LINK_PLAIN;
    t->backfill = plan->out[link].options.backfill != 0;
    t->incarnation = l->shard->env.origin;
    t->epoch = plan->epoch;
    t->paused = plan->out[link].said.paused != 0;
    t->sources = l->shard->directory->partitions;
    t->sync = l->sync;
    t->raw = l->raw;
    t->packed = l->packed;
    resolve(l, o);
    return fresh || was != o->resolved || targets != t->targets || hash != t->filter.hash ||
           incarnation != t->incarnation || gate != (o->sync ? 1 + o->joins : 0);
}

/* ---- in ---- */

static bool in_may_enter(const void *host, struct tm_bytes type)
{
    const struct tm_links_from *f = host;
    return tm_link_plan_in(f->plan, f->link, type) == TM_LINK_CARRIED;
}

static bool in_ships(const void *host, struct tm_bytes type)
{
    const struct tm_links_from *f = host;
    return tm_link_plan_in_ships(f->plan, f->link, type);
}

static void take_in(struct tm_links *l, const struct tm_link_plan *plan, unsigned link)
{
    const struct tm_link_peer *peer = &plan->peers[plan->in[link].peer];
    int site = l->way != NULL ? tm_link_way_find(l->way, peer->name) : -1;
    if (site < 0)
        return;
    struct tm_links_from *f = &l->from[site];
    const struct tm_link_from before = f->from;
    uint8_t uuid[16];
    const struct tm_link_operator *said = &plan->in[link].said;
    const struct tm_link_options *options = &plan->in[link].options;
    memcpy(uuid, f->from.uuid, sizeof uuid);
    *f = (struct tm_links_from){.links = l, .plan = plan, .link = link, .used = true};
    f->from = (struct tm_link_from){.source = tm_link_way_site(l->way, (unsigned)site)->name,
                                    .skew_ms = (uint64_t)options->max_clock_skew_ms,
                                    .released = said->released,
                                    .adopted = said->adopted,
                                    .rewind = said->rewind,
                                    .epoch = said->epoch,
                                    .paused = said->paused != 0,
                                    .purge = options->on_narrow == TM_LINK_NARROW_PURGE,
                                    .transit = options->forward == TM_LINK_FORWARD_TRANSIT,
                                    .own = l->shard->env.origin,
                                    .received = options->mode == TM_LINK_SYNC &&
                                                options->ack_level == TM_LINK_ACK_RECEIVED,
                                    .host = f,
                                    .may_enter = in_may_enter,
                                    .ships = in_ships,
                                    .filter = tm_link_plan_filter(plan, &plan->in[link])};
    memcpy(f->from.uuid, uuid, sizeof uuid);
    if (said->rewind != before.rewind || said->released != before.released ||
        f->from.paused != before.paused)
        tm_link_in_changed(l->in, (unsigned)site);
}

const struct tm_link_from *tm_links_from_site(void *host, unsigned site)
{
    struct tm_links *l = host;
    if (site >= TM_LINK_SITES_MAX || !l->from[site].used)
        return NULL;
    const struct tm_link_identity *id = tm_link_way_identity(l->way, site);
    if (id == NULL)
        return NULL;
    memcpy(l->from[site].from.uuid, id->uuid, 16);
    l->from[site].from.sources = id->partitions;
    return &l->from[site].from;
}

/* ---- both ---- */

static bool changed(struct tm_links *l, const struct tm_link_plan *plan)
{
    if (l->plan_version != plan->version)
        return true;
    for (unsigned i = 0; i < TM_LINKS_MAX; i++) {
        const struct tm_links_out *o = &l->out[i];
        const struct tm_link_identity *id =
            o->used && o->site >= 0 ? tm_link_way_identity(l->way, (unsigned)o->site) : NULL;
        if (id != NULL && (!o->resolved || id->partitions != o->outlet.targets))
            return true;
    }
    return false;
}

bool tm_links_take_plan(struct tm_links *l)
{
    const struct tm_link_plan *plan = l->shard->links;
    bool anew = false;
    if (!changed(l, plan))
        return false;
    l->plan_version = plan->version;
    tm_link_in_is(l->in, l->shard->env.origin);
    for (unsigned i = 0; i < TM_LINKS_MAX; i++)
        l->out[i].seen = false;
    for (unsigned i = 0; i < plan->out_count; i++)
        anew |= take_out(l, plan, i);
    for (unsigned i = 0; i < TM_LINKS_MAX; i++)
        if (l->out[i].used && !l->out[i].seen) {
            l->out[i].used = false;
            anew = true;
        }
    for (unsigned i = 0; i < TM_LINK_SITES_MAX; i++)
        l->from[i].used = false;
    for (unsigned i = 0; i < plan->in_count; i++)
        take_in(l, plan, i);
    l->stages = l->promotes = false;
    for (unsigned i = 0; i < TM_LINKS_MAX; i++)
        l->stages |= l->out[i].used && l->out[i].outlet.stages;
    for (unsigned i = 0; i < TM_LINK_SITES_MAX; i++)
        l->promotes |= l->from[i].used && l->from[i].from.epoch > 0;
    tm_links_take_ways(l, plan);
    return anew;
}

/* ---- who writes what ---- */

/* Also what no filter lets through: filters change, and what is deleted or counted meanwhile has to
 * be told as such then. */
enum tm_link_sharing tm_links_sharing(void *host, struct tm_bytes key, uint64_t origin)
{
    const struct tm_shard *s = host;
    const struct tm_links *l = s->link_streams;
    (void)key;
    if (l == NULL || l->stopping)
        return TM_LINK_NONE;
    bool came = origin != TM_ORIGIN_NONE && origin != s->env.origin;
    return came || s->links->out_count + s->links->in_count > 0 ? TM_LINK_MANY : TM_LINK_NONE;
}

bool tm_links_covers(void *host, struct tm_bytes key, struct tm_bytes floor)
{
    const struct tm_shard *s = host;
    uint16_t first, last;
    struct tm_bytes source;
    char name[TM_LINK_NAME_MAX + 1];
    uint32_t slot = tm_slot_of_key(key);
    if (!tm_link_floor_read(floor, &first, &last, &source) || slot < first || slot > last ||
        source.len > TM_LINK_NAME_MAX)
        return false;
    snprintf(name, sizeof name, "%.*s", (int)source.len, (const char *)source.data);
    int in = s->links == NULL ? -1 : tm_link_plan_find_in(s->links, name);
    return in >= 0 && tm_link_plan_in_ships(s->links, (unsigned)in, tm_link_type_of(key));
}
