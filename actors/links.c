/* A partition's streams are made when it leads, anew for each term, and when links come or go; they
 * take their turn when something of theirs happened: more was committed, a message came, a read
 * ended, a time has come. */
#include "actors/links_internal.h"

#include <stdlib.h>

#define NEVER UINT64_MAX

struct tm_links_slot *tm_links_slot_of(struct tm_links *l, uint32_t id)
{
    uint32_t slot = id / l->shard->node->workers;
    return id % l->shard->node->workers == l->shard->self.worker && slot < l->slots &&
                   id < l->shard->directory->partitions
               ? &l->slot[slot]
               : NULL;
}

void tm_links_wake(struct tm_links_slot *slot)
{
    struct tm_links *l = slot->links;
    if (slot->active)
        return;
    slot->active = true;
    slot->active_next = l->active;
    l->active = slot;
}

/* ---- life ---- */

struct tm_links *tm_links_new(struct tm_shard *shard, struct tm_link_way *way)
{
    struct tm_links *l = calloc(1, sizeof *l);
    if (l == NULL)
        return NULL;
    l->shard = shard;
    l->ctx = shard->ctx;
    l->way = way;
    l->next_at = NEVER;
    l->slots = shard->slots;
    l->slot = calloc(l->slots, sizeof *l->slot);
    l->raw = aligned_alloc(8, TM_LINK_RAW_MAX);
    l->packed = aligned_alloc(8, TM_LINK_RAW_MAX);
    l->in_raw = aligned_alloc(8, TM_LINK_RAW_MAX);
    l->sync = calloc(1, sizeof *l->sync);
    l->verify = tm_links_verify_new(l);
    l->conflicts = calloc(1, sizeof *l->conflicts);
    struct tm_link_in_config c = {.ctx = l->ctx,
                                  .ops = &tm_links_in_ops,
                                  .host = l,
                                  .targets = shard->directory->partitions,
                                  .origin = shard->env.origin,
                                  .raw = l->in_raw};
    l->in = tm_link_in_new(&c);
    if (l->slot == NULL || l->raw == NULL || l->packed == NULL || l->in_raw == NULL ||
        l->sync == NULL || l->verify == NULL || l->conflicts == NULL || l->in == NULL) {
        tm_links_free(l);
        return NULL;
    }
    for (uint32_t i = 0; i < l->slots; i++)
        l->slot[i] = (struct tm_links_slot){.links = l, .p = shard->partitions[i]};
    return l;
}

static void drop_streams(struct tm_links_slot *slot)
{
    if (slot->links->verify != NULL)
        tm_links_verify_forget(slot->links->verify, slot);
    for (unsigned k = 0; k < slot->count; k++)
        tm_link_out_end(&slot->out[k]);
    free(slot->out);
    free(slot->gate);
    slot->out = NULL;
    slot->gate = NULL;
    slot->count = slot->gates = 0;
    slot->stages = false;
    slot->out_term = 0;
    tm_links_forget_reads(slot->links, slot);
}

void tm_links_free(struct tm_links *l)
{
    if (l == NULL)
        return;
    for (uint32_t i = 0; l->slot != NULL && i < l->slots; i++)
        drop_streams(&l->slot[i]);
    tm_link_in_free(l->in);
    free(l->slot);
    free(l->raw);
    free(l->packed);
    free(l->in_raw);
    free(l->sync);
    tm_links_verify_free(l->verify);
    free(l->conflicts);
    free(l);
}

void tm_links_stop(struct tm_links *l)
{
    l->stopping = true;
    for (uint32_t i = 0; i < l->slots; i++)
        drop_streams(&l->slot[i]);
}

bool tm_links_quiet(const struct tm_links *l)
{
    return !l->fetching;
}

/* ---- streams ---- */

static bool leads(const struct tm_links_slot *slot)
{
    return slot->p != NULL && slot->p->announced && slot->p->replica.role == TM_ROLE_LEADER;
}

static unsigned streams_of(const struct tm_links *l, uint32_t id)
{
    unsigned n = 0;
    for (unsigned i = 0; i < TM_LINKS_MAX; i++) {
        const struct tm_links_out *o = &l->out[i];
        uint32_t first, last;
        if (!o->used || !o->resolved)
            continue;
        tm_link_targets(id, o->outlet.sources, o->outlet.targets, &first, &last);
        n += last - first + 1;
    }
    return n;
}

static void make_streams(struct tm_links *l, struct tm_links_slot *slot)
{
    drop_streams(slot);
    unsigned n = streams_of(l, slot->p->id);
    slot->out_term = slot->p->replica.hs.term;
    slot->out = n == 0 ? NULL : malloc(n * sizeof *slot->out);
    if (!tm_links_make_gates(slot) || (n > 0 && slot->out == NULL)) {
        slot->out_term = 0; /* tried again with the next look */
        return;
    }
    for (unsigned i = 0; i < TM_LINKS_MAX; i++) {
        struct tm_links_out *o = &l->out[i];
        uint32_t first, last;
        if (!o->used || !o->resolved)
            continue;
        slot->stages |= o->outlet.stages;
        tm_link_targets(slot->p->id, o->outlet.sources, o->outlet.targets, &first, &last);
        for (uint32_t t = first; t <= last; t++)
            tm_link_out_init(&slot->out[slot->count++], &o->outlet, slot, slot->p->id, t);
    }
    TM_ASSERT(slot->count == n);
    tm_links_wake(slot);
}

/* Streams and what link_in knows are of the present term, or there are none. */
static void look(struct tm_links *l, struct tm_links_slot *slot)
{
    if (slot->p == NULL)
        return;
    uint64_t term = slot->p->replica.hs.term;
    if (slot->in_term != term) {
        tm_link_in_lost(l->in, slot->p->id);
        slot->in_term = term;
    }
    if (leads(slot) && slot->promoted_in != term) {
        slot->promoted_in = term;
        tm_links_promote(slot);
    }
    if (!leads(slot) && (slot->out_term != 0 || slot->count > 0))
        drop_streams(slot);
    else if (leads(slot) && slot->out_term != term && !l->stopping &&
             slot->p->id < l->shard->directory->partitions)
        make_streams(l, slot);
}

static struct tm_link_out *stream_of(struct tm_links_slot *slot, const struct tm_links_out *o,
                                     uint32_t target)
{
    for (unsigned i = 0; i < slot->count; i++)
        if (slot->out[i].link == &o->outlet && slot->out[i].target == target)
            return &slot->out[i];
    return NULL;
}

/* ---- what happens ---- */

static struct tm_links_out *link_to(struct tm_links *l, unsigned site)
{
    for (unsigned i = 0; i < TM_LINKS_MAX; i++)
        if (l->out[i].used && l->out[i].site == (int)site)
            return &l->out[i];
    return NULL;
}

void tm_links_message(struct tm_links *l, unsigned site, const struct tm_message_head *head,
                      struct tm_bytes body)
{
    struct tm_place from = {.node = head->node, .worker = head->worker};
    struct tm_links_slot *slot = tm_links_slot_of(l, head->partition);
    struct tm_link_stream stream;
    if (l->stopping)
        return;
    if (slot != NULL)
        look(l, slot);
    if (head->type == TM_MESSAGE_LINK_OPEN || head->type == TM_MESSAGE_LINK_BATCH ||
        head->type == TM_MESSAGE_LINK_RANGES || head->type == TM_MESSAGE_LINK_STATE ||
        head->type == TM_MESSAGE_LINK_TOLD ||
        (head->type >= TM_MESSAGE_LINK_STAGE && head->type <= TM_MESSAGE_LINK_UNSTAGE)) {
        tm_link_in_message(l->in, site, from, head->type, head->partition, body);
        return;
    }
    const struct tm_links_out *o = link_to(l, site);
    if (slot == NULL || o == NULL || body.len < sizeof stream)
        return;
    memcpy(&stream, body.data, sizeof stream);
    struct tm_link_out *out = stream_of(slot, o, stream.target);
    if (out == NULL)
        return;
    if (head->type != TM_MESSAGE_LINK_DIFFERS || !tm_links_verify_message(l, out, body))
        tm_link_out_message(out, head->node, head->type, body);
    tm_links_wake(slot);
}

/* Calls tell for each stream to that worker's partitions. */
static void each_stream(struct tm_links *l, unsigned site, struct tm_place at,
                        void (*tell)(struct tm_link_out *out, unsigned block))
{
    const struct tm_links_out *o = link_to(l, site);
    for (uint32_t i = 0; o != NULL && i < l->slots; i++)
        for (unsigned k = 0; k < l->slot[i].count; k++) {
            struct tm_link_out *out = &l->slot[i].out[k];
            struct tm_place place = tm_link_way_place(l->way, at.node, out->target);
            if (out->link != &o->outlet || place.worker != at.worker)
                continue;
            tell(out, at.node);
            tm_links_wake(&l->slot[i]);
        }
}

void tm_links_up(struct tm_links *l, unsigned site, struct tm_place from)
{
    each_stream(l, site, from, tm_link_out_up);
}

void tm_links_down(struct tm_links *l, unsigned site, struct tm_place to)
{
    each_stream(l, site, to, tm_link_out_down);
}

void tm_links_committed(struct tm_links *l, struct tm_partition *p)
{
    struct tm_links_slot *slot = tm_links_slot_of(l, p->id);
    if (slot != NULL &&
        (slot->count > 0 || slot->gates > 0 || slot->out_term != p->replica.hs.term))
        tm_links_wake(slot);
}

/* ---- turns ---- */

static void turn_slot(struct tm_links *l, struct tm_links_slot *slot)
{
    look(l, slot);
    slot->seen = slot->p != NULL ? slot->p->replica.last.index : 0;
    for (unsigned k = 0; k < slot->count; k++) {
        tm_link_out_turn(&slot->out[k]);
        l->next_at = tm_min_u64(l->next_at, tm_link_out_deadline(&slot->out[k]));
    }
    if (slot->gates > 0)
        l->next_at = tm_min_u64(l->next_at, tm_links_turn_gates(slot));
}

static void wake_at(struct tm_links *l, struct tm_links_slot *slot, uint64_t at, uint64_t now)
{
    if (at <= now)
        tm_links_wake(slot);
    else
        l->next_at = tm_min_u64(l->next_at, at);
}

/* Wakes whose time has come, and finds the next. */
static void wake_due(struct tm_links *l, uint64_t now)
{
    l->next_at = NEVER;
    for (uint32_t i = 0; i < l->slots; i++) {
        struct tm_links_slot *slot = &l->slot[i];
        for (unsigned k = 0; k < slot->count; k++)
            wake_at(l, slot, tm_link_out_deadline(&slot->out[k]), now);
        if (slot->gates > 0)
            wake_at(l, slot, tm_links_gates_deadline(slot), now);
    }
}

/* What this worker may ship of each link's rate follows what it leads. */
static void share_rates(struct tm_links *l)
{
    uint32_t led = 0;
    for (uint32_t i = 0; i < l->slots; i++)
        led += leads(&l->slot[i]) && l->slot[i].p->id < l->shard->directory->partitions;
    for (unsigned i = 0; i < TM_LINKS_MAX; i++)
        if (l->out[i].used)
            tm_link_outlet_share(&l->out[i].outlet, led);
}

/* Takes up what the plan and the way say of links now, and makes streams accordingly. */
static void renew(struct tm_links *l)
{
    bool fresh = l->plan_version != l->shard->links->version, anew = tm_links_take_plan(l);
    for (uint32_t i = 0; i < l->slots; i++) {
        if (anew || (fresh && l->slot[i].behind))
            l->slot[i].out_term = 0;
        look(l, &l->slot[i]);
        if (l->slot[i].promoted_in != 0 && leads(&l->slot[i]))
            tm_links_promote(&l->slot[i]);
        if (fresh && l->slot[i].count + l->slot[i].gates > 0)
            tm_links_wake(&l->slot[i]); /* what they were held by may be gone */
    }
    share_rates(l);
}

/* Something was written that ships at once. */
static bool has_news(const struct tm_links_slot *slot)
{
    return slot->stages && slot->p->replica.last.index > slot->seen;
}

static void wake_written(struct tm_links *l)
{
    for (uint32_t i = 0; l->stages && i < l->slots; i++)
        if (has_news(&l->slot[i]))
            tm_links_wake(&l->slot[i]);
}

bool tm_links_turn(struct tm_links *l)
{
    uint64_t now = tm_ctx_now(l->ctx);
    if (l->stopping)
        return false;
    if (l->plan_version != l->shard->links->version)
        renew(l);
    if (now >= l->next_at)
        wake_due(l, now);
    wake_written(l);
    struct tm_links_slot *list = l->active;
    l->active = NULL;
    while (list != NULL) {
        struct tm_links_slot *slot = list;
        list = slot->active_next;
        slot->active = false;
        turn_slot(l, slot);
    }
    tm_links_read_on(l);
    l->in_more = tm_link_in_turn(l->in);
    tm_links_verify_turn(l);
    return !tm_links_idle(l);
}

bool tm_links_idle(const struct tm_links *l)
{
    bool news = false;
    for (uint32_t i = 0; l->stages && !news && i < l->slots; i++)
        news = has_news(&l->slot[i]);
    return l->stopping || (l->active == NULL && !l->in_more && !news);
}

uint64_t tm_links_next_deadline(const struct tm_links *l)
{
    return l->stopping ? NEVER : tm_min_u64(l->next_at, tm_links_verify_deadline(l->verify));
}

void tm_links_tick(struct tm_links *l)
{
    if (l->stopping)
        return;
    renew(l);
    for (uint32_t i = 0; i < l->slots; i++)
        if (l->slot[i].gates > 0)
            tm_links_hold_gates(&l->slot[i]);
    tm_links_forget_reads(l, NULL);
    tm_link_in_tick(l->in);
    tm_links_look_back(l);
    tm_links_collect(l);
    tm_links_publish(l);
}
