/* Tombstones, and whatever else is kept for changes that may still come, go when none can.
 *
 * Once a second each partition that leads here looks how far it is: `applied`, up to which stamp it
 * has all there is, its own and what each linked cluster's stream has brought.  It tells its
 * neighbours when what it looked at is committed, and its streams have come so far; they tell it.
 * What all neighbours have applied, too, is *settled*: nobody holds, or will send, what a deletion
 * up to there has killed.  What all neighbours know to be settled is *collected*, in slices, by
 * records that say nothing to other clusters.
 *
 * Where a link forwards what came over others (transit), what it has sent completely is what its
 * source had got completely, from all but the link's own target.  In a ring of such links each
 * waits for the next, and nothing is ever collected. */
#include "actors/links_internal.h"

#include "runtime/hlc.h"

#define LOOK_NS    TM_SECONDS(1)
#define WALK_NS    TM_SECONDS(3) /* between two walks over a partition's shadows */
#define WALK_KEYS  1024          /* looked at in one slice */
#define SLICE_KEYS 256           /* that one record collects of */
#define NEVER      UINT64_MAX

static const struct tm_bytes NONE = {NULL, 0};

static bool leads(const struct tm_links_slot *slot)
{
    return slot->p != NULL && slot->p->announced && slot->p->store != NULL &&
           slot->p->replica.role == TM_ROLE_LEADER && slot->in_term == slot->p->replica.hs.term;
}

/* ---- what neighbours have said ---- */

static struct tm_links_out *out_to(struct tm_links *l, unsigned site)
{
    for (unsigned i = 0; i < TM_LINKS_MAX; i++)
        if (l->out[i].used && l->out[i].site == (int)site)
            return &l->out[i];
    return NULL;
}

static bool forwards(const struct tm_links_out *o)
{
    return o != NULL && o->plan->out[o->link].options.forward == TM_LINK_FORWARD_TRANSIT;
}

static struct tm_link_told heard_of(const struct tm_links_slot *slot, const struct tm_links_out *o)
{
    struct tm_link_told least = {NEVER, NEVER, NEVER, 0}, nothing = {0};
    bool any = false;
    for (unsigned k = 0; k < slot->count; k++) {
        const struct tm_link_told *t = &slot->out[k].heard;
        if (slot->out[k].link != &o->outlet)
            continue;
        any = true;
        least.applied = tm_min_u64(least.applied, t->applied);
        least.settled = tm_min_u64(least.settled, t->settled);
        least.want = tm_max_u64(least.want, t->want);
    }
    return any ? least : nothing;
}

/* What the cluster of that site is known to have reached, in the partition's slots.  If it sends
 * here, its stream says so: what it wrote in ignorance, as a counter that counts from nothing, has
 * come before.  What it answers to the stream out may be here first. */
static struct tm_link_reached known_of(struct tm_links *l, const struct tm_links_slot *slot,
                                       unsigned site)
{
    const struct tm_links_out *o = out_to(l, site);
    struct tm_link_reached k = {.complete = NEVER};
    if (l->from[site].used)
        k = tm_link_in_reached(l->in, site, slot->p->id);
    if (o != NULL) {
        struct tm_link_told heard = heard_of(slot, o);
        heard.want = tm_max_u64(heard.want, k.told.want);
        if (l->from[site].used)
            k.told.want = heard.want;
        else
            tm_link_told_raise(&k.told, &heard);
    }
    return k;
}

/* All the plan's links are met, as far as there can be a say of theirs. */
static bool all_known(const struct tm_links *l, const struct tm_links_slot *slot)
{
    const struct tm_link_plan *plan = l->shard->links;
    unsigned in = 0;
    for (unsigned i = 0; i < TM_LINK_SITES_MAX; i++)
        in += l->from[i].used;
    for (unsigned i = 0; i < TM_LINKS_MAX; i++)
        if (l->out[i].used && tm_links_waits_for_unmet(slot, &l->out[i]))
            return false;
    return in == plan->in_count;
}

/* Up to where a cluster says itself that all is settled. */
static uint64_t word_of(const struct tm_link_reached *k)
{
    return tm_min_u64(tm_min_u64(k->told.applied, k->told.settled), k->complete);
}

/* ---- how far this cluster is ---- */

/* The stamp of the newest record: all that this cluster wrote up to it is there.  0: not known, or,
 * in an eventual partition, not so: what a failover cut off may come back. */
static uint64_t own_stamp(const struct tm_partition *p, uint64_t index)
{
    struct tm_bytes bytes = tm_log_get(p->log, index);
    return bytes.data == NULL || p->eventual
               ? 0
               : ((const struct tm_record *)(const void *)bytes.data)->hlc;
}

static bool keeps_nothing(const struct tm_links_slot *slot)
{
    const struct tm_store *s = slot->p->store;
    bool own = tm_store_shadow(s, NONE) != NULL;
    bool clean = slot->frontier.clean && tm_store_applied(s) == slot->frontier.walked;
    return (clean || tm_store_shadows(s) == own) && tm_link_flush_due(s) == NEVER;
}

/* What is looked at now, of the newest records; it holds when they are committed.  A cluster that
 * is not waited for counts for more than it has said, but not where it is told itself. */
static void look(struct tm_links *l, struct tm_links_slot *slot)
{
    struct tm_links_frontier *f = &slot->frontier;
    struct tm_link_reached known[TM_LINK_SITES_MAX];
    uint64_t complete[TM_LINK_SITES_MAX];
    uint64_t collected, settled;
    struct tm_links_view v = {.index = tm_store_applied(slot->p->store)};
    uint64_t own = own_stamp(slot->p, v.index);
    if (own == 0)
        return;
    tm_link_frontier(slot->p->store, &settled, &collected);
    v.told = (struct tm_link_told){own, NEVER, collected, 0};
    f->settles = f->collects = f->sure = NEVER;
    f->wanted = 0;
    for (unsigned i = 0; i < TM_LINK_SITES_MAX; i++) {
        if (!l->from[i].used && out_to(l, i) == NULL)
            continue;
        known[i] = known_of(l, slot, i);
        complete[i] = known[i].complete;
        f->away.word[i] = word_of(&known[i]);
        f->sure = tm_min_u64(f->sure, f->away.word[i]);
        tm_links_count_away(&f->away, i, &known[i]);
        v.told.applied = tm_min_u64(v.told.applied, known[i].complete);
        f->settles = tm_min_u64(f->settles, known[i].told.applied);
        f->collects = tm_min_u64(f->collects, known[i].told.settled);
        f->wanted = tm_max_u64(f->wanted, known[i].told.want);
    }
    f->asked = f->wanted;
    f->wanted = f->wanted > own ? f->wanted : 0;
    f->settles = tm_max_u64(settled, tm_min_u64(f->settles, v.told.applied));
    f->collects = tm_max_u64(collected, tm_min_u64(f->collects, f->settles));
    v.told.applied = tm_max_u64(v.told.applied, settled);
    v.told.settled = keeps_nothing(slot) ? f->settles : settled;
    for (unsigned i = 0; i < TM_LINK_SITES_MAX; i++) {
        if (!l->from[i].used && out_to(l, i) == NULL)
            continue;
        bool transit = forwards(out_to(l, i));
        v.complete[i] = own;
        v.applied[i] = complete[i];
        v.settled[i] = v.told.settled;
        v.want[i] = f->want;
        for (unsigned k = 0; k < TM_LINK_SITES_MAX; k++) {
            if (k == i || (!l->from[k].used && out_to(l, k) == NULL))
                continue;
            v.want[i] = tm_max_u64(v.want[i], known[k].told.want);
            if (transit)
                v.complete[i] = tm_min_u64(v.complete[i], known[k].complete);
            if (forwards(out_to(l, k)))
                v.settled[i] = tm_min_u64(v.settled[i], known[k].told.settled);
        }
    }
    f->seen = v;
}

/* ---- telling ---- */

static struct tm_link_told told_to(const struct tm_links_view *v, unsigned site)
{
    struct tm_link_told t = v->told;
    t.applied = tm_min_u64(t.applied, v->applied[site]);
    t.settled = tm_min_u64(tm_min_u64(v->settled[site], t.settled), t.applied);
    t.collected = tm_min_u64(t.collected, t.settled);
    t.want = v->want[site];
    return t;
}

static void tell(struct tm_links *l, struct tm_links_slot *slot)
{
    struct tm_links_frontier *f = &slot->frontier;
    for (unsigned k = 0; k < slot->count; k++) {
        const struct tm_links_out *o =
            TM_CONTAINER_OF(slot->out[k].link, struct tm_links_out, outlet);
        if (o->site < 0)
            continue;
        struct tm_link_told t = told_to(&f->said, (unsigned)o->site);
        tm_link_out_tell(&slot->out[k], f->said.index, f->said.complete[o->site], &t);
    }
    for (unsigned i = 0; i < TM_LINK_SITES_MAX; i++) {
        if (!l->from[i].used)
            continue;
        struct tm_link_told t = told_to(&f->said, i);
        tm_link_in_hear(l->in, i, slot->p->id, &t);
    }
}

/* ---- collecting ---- */

struct slice {
    struct tm_links *links;
    struct tm_links_slot *slot;
    unsigned used, keys; /* in in_raw: u16 length, bytes */
    uint64_t end;
    bool last;
};

static void gather(void *host, struct tm_bytes key)
{
    struct slice *c = host;
    struct tm_links_frontier *f = &c->slot->frontier;
    uint64_t due = tm_link_due(c->slot->p->store, key), order = tm_link_order(key);
    if (order >= c->end)
        return;
    if (f->away.any && due <= f->up_to && f->up_to > f->away.sure) {
        uint64_t last = tm_link_due_last(c->slot->p->store, key, f->up_to);
        if (last > f->away.sure)
            f->away.given = tm_max_u64(f->away.given, last);
    }
    if (due > f->through) {
        f->need = tm_min_u64(f->need, due);
        if (due <= f->now)
            f->wants = tm_max_u64(f->wants, due);
        return;
    }
    if (c->keys == SLICE_KEYS || c->used + 2 + key.len > TM_LINK_RAW_MAX) {
        c->end = order;
        return;
    }
    tm_store16(c->links->in_raw + c->used, (uint16_t)key.len);
    memcpy(c->links->in_raw + c->used + 2, key.data, key.len);
    c->used += 2 + (unsigned)key.len;
    c->keys++;
}

static void fill(struct tm_partition *p, void *arg)
{
    struct slice *c = arg;
    struct tm_links_frontier *f = &c->slot->frontier;
    if (f->away.given != 0)
        tm_links_give_up(c->slot, f->away.given);
    for (unsigned at = 0; at < c->used;) {
        size_t len = tm_load16(c->links->in_raw + at);
        (void)tm_link_collect(p->store, tm_bytes_of(c->links->in_raw + at + 2, len), f->through);
        at += 2 + (unsigned)len;
    }
    if (!c->last)
        return;
    (void)tm_link_collect_flushes(p->store, f->through);
    tm_store_stamp(p->store, 0, 0);
    tm_link_set_frontier(p->store, f->up_to, f->through);
}

/* One slice of the walk. */
static void walk(struct tm_links *l, struct tm_links_slot *slot)
{
    struct tm_links_frontier *f = &slot->frontier;
    struct slice c = {.links = l, .slot = slot, .end = TM_LINK_ORDERS};
    uint64_t index, term, settled, collected;
    uint64_t next = tm_link_shadow_keys(slot->p->store, f->cursor, WALK_KEYS, gather, &c);
    if (c.end < TM_LINK_ORDERS && (next == 0 || c.end < next))
        next = c.end;
    c.last = next == 0;
    uint64_t flush = tm_link_flush_due(slot->p->store);
    if (f->away.any && c.last && flush <= f->up_to && f->up_to > f->away.sure)
        f->away.given = f->up_to;
    if (f->away.given != 0 && !tm_links_may_give_up(slot)) {
        f->walking = false;
        return;
    }
    tm_link_frontier(slot->p->store, &settled, &collected);
    bool news = f->up_to > settled || f->through > collected;
    if ((c.keys > 0 || (c.last && news)) &&
        tm_partition_write(slot->p, fill, &c, &index, &term) != TM_OK)
        return; /* the same again */
    tm_counter_add(l->ctx->counters, TM_COUNTER_link_collected, c.keys);
    f->cursor = next;
    f->walking = !c.last;
    if (!c.last)
        return;
    flush = tm_link_flush_due(slot->p->store);
    f->need = tm_min_u64(f->need, flush);
    f->want = flush != NEVER ? tm_max_u64(f->wants, flush) : f->wants;
    f->clean = f->need == NEVER;
    f->walked = tm_store_applied(slot->p->store);
}

/* Whether a walk would bring anything: what was written since the last may be due, or what that one
 * left has come to be. */
static bool walks(const struct tm_links_slot *slot)
{
    const struct tm_links_frontier *f = &slot->frontier;
    uint64_t settled, collected, need = f->need;
    tm_link_frontier(slot->p->store, &settled, &collected);
    if (keeps_nothing(slot))
        return false;
    if (tm_store_applied(slot->p->store) != f->walked)
        return true;
    return (need > settled && need <= f->settles) || (need > collected && need <= f->collects);
}

static void begin_walk(struct tm_links *l, struct tm_links_slot *slot)
{
    struct tm_links_frontier *f = &slot->frontier;
    f->walk_at = tm_ctx_now(l->ctx) + WALK_NS;
    f->walking = true;
    f->cursor = 0;
    f->need = NEVER;
    f->wants = 0;
    f->now = tm_hlc_pack(tm_ctx_wall_ms(l->ctx), 0);
    f->up_to = f->settles;
    f->through = f->collects;
    f->away.sure = f->sure;
    f->away.given = 0;
}

static void fill_same(struct tm_partition *p, void *arg)
{
    uint64_t settled, collected;
    (void)arg;
    tm_link_frontier(p->store, &settled, &collected);
    tm_link_set_frontier(p->store, settled, collected);
}

/* Others wait for a stamp of this partition, in which nobody writes. */
static void give_stamp(struct tm_links_slot *slot)
{
    uint64_t index, term;
    slot->frontier.wanted = 0;
    (void)tm_partition_write(slot->p, fill_same, NULL, &index, &term);
}

static void turn(struct tm_links *l, struct tm_links_slot *slot, uint64_t now)
{
    struct tm_links_frontier *f = &slot->frontier;
    if (f->term != slot->p->replica.hs.term)
        *f = (struct tm_links_frontier){.term = slot->p->replica.hs.term, .walk_at = now};
    if (f->walking)
        walk(l, slot);
    if (now < f->look_at)
        return;
    f->look_at = now + LOOK_NS;
    if (f->seen.index != 0 && f->seen.index <= slot->p->replica.commit) {
        f->said = f->seen;
        f->seen.index = 0;
    }
    if (f->said.index != 0)
        tell(l, slot);
    if (f->seen.index == 0) {
        if (!slot->p->eventual)
            tm_links_look_away(slot, !keeps_nothing(slot) || f->asked != 0, now);
        look(l, slot);
        if (f->wanted != 0)
            give_stamp(slot);
    }
    if (keeps_nothing(slot))
        f->want = 0;
    if (!f->walking && now >= f->walk_at && all_known(l, slot) && walks(slot))
        begin_walk(l, slot);
}

void tm_links_collect(struct tm_links *l)
{
    uint64_t now = tm_ctx_now(l->ctx);
    bool any = l->shard->links->in_count > 0 || l->shard->links->out_count > 0;
    for (uint32_t i = 0; any && i < l->slots; i++)
        if (leads(&l->slot[i]) && l->slot[i].p->id < l->shard->directory->partitions)
            turn(l, &l->slot[i], now);
}
