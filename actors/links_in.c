/* The target partitions, as link_in sees them: the worker's own, as long as they are led here. What
 * link_in knows of one holds for a term: it is told to forget it before it is asked in a later
 * one. */
#include "actors/links_internal.h"

#include "storage/store_link.h"

static struct tm_links_slot *led(struct tm_links *l, uint32_t t)
{
    struct tm_links_slot *slot = tm_links_slot_of(l, t);
    if (slot == NULL || slot->p == NULL || !slot->p->announced ||
        slot->p->replica.role != TM_ROLE_LEADER || slot->in_term != slot->p->replica.hs.term)
        return NULL;
    return slot;
}

static bool in_leads(void *host, uint32_t t, unsigned *block)
{
    struct tm_links *l = host;
    const struct tm_directory *d = l->shard->directory;
    *block = TM_LINK_NOBODY;
    if (led(l, t) != NULL)
        return true;
    struct tm_place leader = tm_node_leader(l->shard->node, t);
    if (leader.node < d->members && leader.node != l->shard->self.node)
        *block = d->nodes[leader.node].block;
    return false;
}

static struct tm_store *in_store(void *host, uint32_t t)
{
    struct tm_links_slot *slot = led(host, t);
    TM_ASSERT(slot != NULL); /* asked by who was told that it is led here */
    return slot->p->store;
}

struct fill {
    void (*fill)(struct tm_store *s, void *arg);
    void *arg;
};

static void fill_record(struct tm_partition *p, void *arg)
{
    struct fill *f = arg;
    f->fill(p->store, f->arg);
}

static enum tm_err in_write(void *host, uint32_t t, uint64_t hlc,
                            void (*fill)(struct tm_store *s, void *arg), void *arg, uint64_t *index)
{
    struct tm_links *l = host;
    struct tm_links_slot *slot = led(l, t);
    struct fill f = {fill, arg};
    uint64_t term;
    if (slot == NULL)
        return TM_ERR_NOTLEADER;
    tm_hlc_observe(slot->p->env->hlc, hlc);
    return tm_partition_write(slot->p, fill_record, &f, index, &term);
}

static const struct tm_link_from *in_promoted(void *host, const uint8_t uuid[16])
{
    struct tm_links *l = host;
    int site = tm_link_way_site_of_uuid(l->way, uuid);
    if (site < 0 || !l->from[site].used || l->from[site].from.epoch == 0)
        return NULL;
    memcpy(l->from[site].from.uuid, uuid, 16);
    return &l->from[site].from;
}

void tm_links_promote(struct tm_links_slot *slot)
{
    struct tm_links *l = slot->links;
    if (l->promotes && !l->stopping && slot->p->id < l->shard->directory->partitions)
        tm_link_in_promote(l->in, slot->p->id);
}

static uint64_t in_commit(void *host, uint32_t t)
{
    const struct tm_links_slot *slot = led(host, t);
    return slot == NULL ? 0 : slot->p->replica.commit;
}

static bool in_out_of_memory(void *host)
{
    const struct tm_links *l = host;
    return l->shard->env.out_of_memory;
}

static void in_send(void *host, unsigned site, struct tm_place to, uint32_t p, uint16_t type,
                    const struct tm_bytes *pieces, unsigned count)
{
    struct tm_links *l = host;
    struct tm_message_head head = {.type = type, .partition = p};
    (void)site;
    (void)tm_link_way_send(l->way, to, head, pieces, count); /* lost: the source asks again */
}

static enum tm_link_outcome in_merge(void *host, struct tm_store *s,
                                     const struct tm_link_change *change)
{
    struct tm_links *l = host;
    if (change->key.len == 0)
        return TM_LINK_KNOWN; /* a FLUSH, which link_in has done */
    enum tm_link_outcome outcome = tm_link_merge(s, change, tm_ctx_wall_ms(l->ctx), NULL);
    tm_links_came(l, change);
    return outcome;
}

const struct tm_link_in_ops tm_links_in_ops = {.from = tm_links_from_site,
                                               .promoted = in_promoted,
                                               .leads = in_leads,
                                               .store = in_store,
                                               .write = in_write,
                                               .commit = in_commit,
                                               .out_of_memory = in_out_of_memory,
                                               .send = in_send,
                                               .merge = in_merge};
