/* Clusters that are not waited for any more before tombstones go.
 *
 * A cluster of which nothing comes over a partition's streams, and be it that it has nothing new to
 * tell, is noted as away there (link_absence.h), where something is kept for it.  Eventual ones
 * tell nothing ever: of them one node within reach will do.  After `tombstoneMaxAge` it counts as
 * if it had applied all that is older than that, so that tombstones go on being collected
 * (links_frontier.c).  The first that goes without its word makes it SNAPSHOT-REQUIRED, by the same
 * record: then what it ships is refused, and nothing is shipped to it, whatever leads here, until
 * an operator has spoken.  Two things he may say:
 *
 *   rewind HERE IT   it takes this cluster's state in the place of its own (link_out_answers.c)
 *   rewind IT HERE   its streams go on, but for what is as old as what was given up
 *
 * Where links forward what came over others (transit), those behind this cluster are told that all
 * up to a stamp is here only when that is noted: what comes from it later and is older is passed
 * over by them, so it is passed over here, too. */
#include "actors/link_absence.h"
#include "actors/links_internal.h"
#include "runtime/hlc.h"

#include <inttypes.h>

#define NOTICE_MAX_NS TM_SECONDS(600) /* silent for so long before that is noted */
#define NOTICE_PART   3               /* or for that part of the age */

/* ---- sites ---- */

static const struct tm_links_out *out_to(const struct tm_links *l, unsigned site)
{
    for (unsigned i = 0; i < TM_LINKS_MAX; i++)
        if (l->out[i].used && l->out[i].site == (int)site)
            return &l->out[i];
    return NULL;
}

static bool is_within_reach(const struct tm_links *l, unsigned site)
{
    const struct tm_link_site *s = tm_link_way_site(l->way, site);
    for (unsigned i = 0; i < s->count; i++)
        if (tm_link_way_is_there(l->way, s->nodes[i].block))
            return true;
    return false;
}

/* When there was a sign of it last. */
static uint64_t seen_at(const struct tm_links_slot *slot, unsigned site, uint64_t now)
{
    const struct tm_links *l = slot->links;
    const struct tm_links_away *w = &slot->frontier.away;
    const struct tm_links_out *o = out_to(l, site);
    uint64_t seen = w->there_at[site] == 0 ? now : w->there_at[site];
    if (w->word[site] == 0 && is_within_reach(l, site))
        return now;
    if (l->from[site].used)
        seen = tm_max_u64(seen, tm_link_in_seen(l->in, site, slot->p->id));
    for (unsigned k = 0; o != NULL && k < slot->count; k++)
        if (slot->out[k].link == &o->outlet)
            seen = tm_max_u64(seen, slot->out[k].seen_at);
    return seen;
}

/* Seconds: of the two links between the clusters the one that waits longer. */
static uint64_t max_age(const struct tm_links *l, unsigned site)
{
    const struct tm_links_out *o = out_to(l, site);
    const struct tm_links_from *f = &l->from[site];
    int64_t out = o == NULL ? 0 : o->plan->out[o->link].options.tombstone_max_age;
    int64_t in = !f->used ? 0 : f->plan->in[f->link].options.tombstone_max_age;
    return (uint64_t)(out > in ? out : in);
}

/* Some link but those to the site forwards what came over others. */
static bool is_forwarded(const struct tm_links *l, unsigned site)
{
    for (unsigned i = 0; i < TM_LINKS_MAX; i++)
        if (l->out[i].used && l->out[i].site != (int)site &&
            l->out[i].plan->out[l->out[i].link].options.forward == TM_LINK_FORWARD_TRANSIT)
            return true;
    return false;
}

/* ---- what an operator has said ---- */

/* Streams to the site that have come beyond what is noted: they were compared, and its state is
 * this cluster's.  any: one at least is on its way there. */
static bool is_replaced(const struct tm_links_slot *slot, const struct tm_links_out *o,
                        const struct tm_link_absence *a, bool *any)
{
    bool all = o->resolved;
    unsigned n = 0;
    *any = false;
    for (unsigned k = 0; k < slot->count; k++) {
        const struct tm_link_out *out = &slot->out[k];
        if (out->link != &o->outlet)
            continue;
        n++;
        bool beyond = out->state == TM_LINK_OUT_STREAM && out->acked > a->index;
        all = all && beyond;
        *any =
            *any || beyond || out->state == TM_LINK_OUT_BEHIND || out->state == TM_LINK_OUT_RESYNC;
    }
    return all && n > 0;
}

/* Takes it in again if it may be; on_its_way: it is being compared. */
static void admit(const struct tm_links_slot *slot, unsigned site, struct tm_link_absence *a,
                  bool *on_its_way)
{
    const struct tm_links *l = slot->links;
    const struct tm_links_out *o = out_to(l, site);
    const struct tm_links_from *f = &l->from[site];
    *on_its_way = false;
    if (!tm_link_absence_stands(a))
        return;
    if (o == NULL) {
        a->admitted = f->from.rewind > a->noted;
        return;
    }
    a->admitted = is_replaced(slot, o, a, on_its_way);
    if (a->admitted != 0 &&
        (!f->used || tm_link_same_filter(o->outlet.filter.hash, f->from.filter)))
        a->bar = a->index = a->noted = a->admitted = 0; /* it has nothing any more that is older */
}

/* ---- notes ---- */

struct notes {
    unsigned count;
    struct {
        unsigned site;
        uint8_t uuid[16];
        struct tm_link_absence a;
    } note[TM_LINK_SITES_MAX];
};

static void add(struct notes *n, unsigned site, const uint8_t uuid[16],
                const struct tm_link_absence *a)
{
    n->note[n->count].site = site;
    memcpy(n->note[n->count].uuid, uuid, 16);
    n->note[n->count++].a = *a;
}

/* Everything up to there is given up. */
static void raise_bar(struct tm_links_slot *slot, unsigned site, struct tm_link_absence *a,
                      uint64_t bar)
{
    const struct tm_links *l = slot->links;
    uint64_t wall = tm_ctx_wall_ms(l->ctx);
    bool anew = !tm_link_absence_stands(a);
    a->bar = tm_max_u64(a->bar, bar);
    a->index = tm_store_applied(slot->p->store);
    a->noted = tm_hlc_pack(wall, 0);
    a->admitted = 0;
    if (!anew)
        return;
    for (unsigned k = 0; k < slot->count; k++)
        if (TM_CONTAINER_OF(slot->out[k].link, struct tm_links_out, outlet)->site == (int)site)
            tm_link_out_restart(&slot->out[k]); /* it has to say where it stands */
    tm_counter_add(l->ctx->counters, TM_COUNTER_link_snapshot_required, 1);
    tm_ctx_log(l->ctx, TM_LOG_WARN, "link_snapshot_required",
               "cluster=%s partition=%u away_ms=%" PRIu64
               " text=\"away for longer than tombstoneMaxAge: deletions are forgotten without it, "
               "and its streams stand until an operator rewinds the link\"",
               tm_link_way_site(l->way, site)->name, slot->p->id,
               a->since_ms != 0 && wall > a->since_ms ? wall - a->since_ms : 0);
}

static void fill(struct tm_partition *p, void *arg)
{
    const struct notes *n = arg;
    for (unsigned i = 0; i < n->count; i++)
        tm_link_absence_put(p->store, n->note[i].uuid, &n->note[i].a);
}

void tm_links_give_up(struct tm_links_slot *slot, uint64_t given)
{
    const struct tm_links *l = slot->links;
    const struct tm_links_away *w = &slot->frontier.away;
    struct tm_link_absence a;
    uint8_t uuid[16];
    for (unsigned i = 0; i < TM_LINK_SITES_MAX; i++) {
        if (w->least[i] == 0 || w->word[i] >= given || !tm_link_way_uuid(l->way, i, uuid))
            continue;
        (void)tm_link_absence_get(slot->p->store, uuid, &a);
        raise_bar(slot, i, &a, given);
        tm_link_absence_put(slot->p->store, uuid, &a);
    }
}

bool tm_links_may_give_up(const struct tm_links_slot *slot)
{
    const struct tm_links *l = slot->links;
    struct tm_link_absence a;
    uint8_t uuid[16];
    for (unsigned i = 0; i < TM_LINK_SITES_MAX; i++) {
        const struct tm_links_out *o = out_to(l, i);
        bool on_its_way;
        if (slot->frontier.away.least[i] == 0 || o == NULL || !tm_link_way_uuid(l->way, i, uuid) ||
            !tm_link_absence_get(slot->p->store, uuid, &a) || !tm_link_absence_stands(&a))
            continue;
        if (is_replaced(slot, o, &a, &on_its_way) || on_its_way)
            return false;
    }
    return true;
}

/* ---- looking ---- */

/* Since when the cluster is silent, if it is for long enough to be noted. */
static void look_at(struct tm_links_slot *slot, unsigned site, bool keeps, uint64_t now,
                    struct tm_link_absence *a)
{
    struct tm_links *l = slot->links;
    struct tm_links_away *w = &slot->frontier.away;
    uint64_t notice = tm_min_u64(NOTICE_MAX_NS, TM_SECONDS(max_age(l, site)) / NOTICE_PART);
    uint64_t was = w->there_at[site], seen = seen_at(slot, site, now);
    w->there_at[site] = seen;
    if (was != 0 && seen > was)
        a->since_ms = 0;
    else if (a->since_ms == 0 && keeps && now - seen >= notice)
        a->since_ms = tm_ctx_wall_ms(l->ctx) - (now - seen) / TM_MS(1);
}

/* Up to where it counts as if it had all; 0: it is waited for. */
static uint64_t least_of(struct tm_links_slot *slot, unsigned site, bool on_its_way,
                         struct tm_link_absence *a)
{
    const struct tm_links *l = slot->links;
    const struct tm_links_frontier *f = &slot->frontier;
    uint64_t wall = tm_ctx_wall_ms(l->ctx), age = 1000 * max_age(l, site);
    bool away = a->since_ms != 0 && wall > a->since_ms && wall - a->since_ms >= age;
    bool stands = tm_link_absence_stands(a) && !on_its_way;
    uint64_t least = wall > age ? tm_hlc_pack(wall - age, 0) : 0;
    if (!away && !stands)
        return 0;
    if (!is_forwarded(l, site))
        return least;
    if (!f->walking && f->need != UINT64_MAX && f->need > a->bar && f->need <= least)
        raise_bar(slot, site, a, least);
    return a->bar;
}

void tm_links_look_away(struct tm_links_slot *slot, bool keeps, uint64_t now)
{
    struct tm_links *l = slot->links;
    struct tm_links_away *w = &slot->frontier.away;
    struct notes n = {0};
    struct tm_link_absence was, a;
    uint8_t uuid[16];
    uint64_t index, term;
    w->any = false;
    for (unsigned i = 0; i < TM_LINK_SITES_MAX; i++) {
        bool on_its_way;
        w->least[i] = 0;
        if ((!l->from[i].used && out_to(l, i) == NULL) || !tm_link_way_uuid(l->way, i, uuid))
            continue;
        (void)tm_link_absence_get(slot->p->store, uuid, &was);
        a = was;
        look_at(slot, i, keeps, now, &a);
        admit(slot, i, &a, &on_its_way);
        w->least[i] = least_of(slot, i, on_its_way, &a);
        w->any = w->any || w->least[i] != 0;
        if (memcmp(&a, &was, sizeof a) != 0)
            add(&n, i, uuid, &a);
    }
    if (n.count > 0)
        (void)tm_partition_write(slot->p, fill, &n, &index, &term); /* or with the next look */
}

void tm_links_count_away(const struct tm_links_away *w, unsigned site, struct tm_link_reached *k)
{
    uint64_t least = w->least[site];
    k->complete = tm_max_u64(k->complete, least);
    k->told.applied = tm_max_u64(k->told.applied, least);
    k->told.settled = tm_max_u64(k->told.settled, least);
}

bool tm_links_waits_for_unmet(const struct tm_links_slot *slot, const struct tm_links_out *o)
{
    return o->site < 0 || (!o->resolved && slot->frontier.away.least[o->site] == 0);
}

bool tm_links_is_absent(void *host, const struct tm_link_out *out, uint64_t *index, uint64_t *bar)
{
    struct tm_links *l = host;
    const struct tm_links_slot *slot = out->log;
    const struct tm_links_out *o = TM_CONTAINER_OF(out->link, struct tm_links_out, outlet);
    struct tm_link_absence a;
    uint8_t uuid[16];
    if (o->site < 0 || slot->p->store == NULL ||
        !tm_link_way_uuid(l->way, (unsigned)o->site, uuid) ||
        !tm_link_absence_get(slot->p->store, uuid, &a) || !tm_link_absence_stands(&a))
        return false;
    *index = a.index;
    *bar = a.bar;
    return true;
}
