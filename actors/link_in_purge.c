/* onNarrow "purge": what a filter does not ship any more is evicted here.
 *
 * When the source ships by the filter that this cluster knows (the stored position says so), the
 * partition is walked in slices; a key of a type that neither this link nor another one brings
 * goes, if all that is known of it was written at the source.  Then the filter is noted as purged,
 * in the partition's shadow: a new leader begins the walk anew, which does no harm.  An eviction is
 * of this cluster alone: no tombstone, no stamp, nothing to ship. */
#include "actors/link_in_internal.h"

#include "actors/incarnation.h"
#include "actors/link.h"
#include "actors/link_way.h"
#include "actors/router.h"

#define NAME_LEN   21u
#define SLICE_KEYS 1024 /* looked at in one turn */

static const struct tm_bytes NONE = {NULL, 0};

static struct tm_bytes name_of(const uint8_t uuid[16], uint32_t source, uint8_t name[NAME_LEN])
{
    name[0] = TM_SHADOW_NARROWED;
    memcpy(name + 1, uuid, 16);
    tm_store32(name + 17, source);
    return tm_bytes_of(name, NAME_LEN);
}

/* Some keys to be evicted, one behind the other: u16 length, bytes. */
struct slice {
    struct tm_link_in *in;
    const struct tm_link_from *from;
    const struct tm_link_in_stream *s;
    struct tm_store *store;
    unsigned used;
    uint64_t end; /* the first order that there was no room for */
    bool theirs;
    bool last; /* with it the walk ends */
};

/* ---- whose key it is ---- */

static void look_whose(void *host, enum tm_entity_type type, const struct tm_op *op,
                       struct tm_op_version stamp)
{
    struct slice *l = host;
    (void)type;
    (void)op;
    l->theirs =
        l->theirs && (l->from->transit ? stamp.origin != l->from->own
                                       : tm_incarnation_same(stamp.origin, l->s->id.incarnation));
}

static bool is_theirs(struct slice *l, struct tm_bytes key)
{
    l->theirs = true;
    tm_link_state(l->store, key, look_whose, l);
    return l->theirs;
}

static bool is_brought(struct tm_link_in *in, struct tm_bytes type)
{
    for (unsigned site = 0; site < TM_LINK_SITES_MAX; site++) {
        const struct tm_link_from *from = in->c.ops->from(in->c.host, site);
        if (from != NULL && from->ships(from->host, type))
            return true;
    }
    return false;
}

/* ---- a slice ---- */

static void gather(void *host, struct tm_bytes key)
{
    struct slice *l = host;
    uint64_t order = tm_link_order(key);
    if (order >= l->end ||
        tm_partition_of_slot(tm_slot_of_key(key), l->s->id.sources) != l->s->source ||
        is_brought(l->in, tm_link_type_of(key)) || !is_theirs(l, key))
        return;
    if (l->used + 2 + key.len > TM_LINK_IN_KEY_BYTES) {
        l->end = order;
        return;
    }
    tm_store16(l->in->keys + l->used, (uint16_t)key.len);
    memcpy(l->in->keys + l->used + 2, key.data, key.len);
    l->used += 2 + (unsigned)key.len;
}

static void fill(struct tm_store *store, void *arg)
{
    struct slice *l = arg;
    uint8_t name[NAME_LEN];
    uint64_t filter = l->from->filter & TM_LINK_FILTER_MASK, evicted = 0;
    for (unsigned at = 0; at < l->used;) {
        size_t len = tm_load16(l->in->keys + at);
        struct tm_bytes key = tm_bytes_of(l->in->keys + at + 2, len);
        at += 2 + (unsigned)len;
        if (!is_theirs(l, key))
            continue; /* written here meanwhile */
        tm_link_evict(store, key);
        evicted++;
    }
    if (l->last) {
        tm_store_stamp(store, 0, 0);
        tm_store_set_shadow(store, NONE, name_of(l->from->uuid, l->s->source, name),
                            tm_bytes_of(&filter, sizeof filter));
    }
    tm_counter_add(l->in->c.ctx->counters, TM_COUNTER_link_purged, evicted);
}

static bool is_due(const struct tm_link_in *in, const struct tm_link_from *from,
                   const struct tm_link_in_stream *s, const struct tm_link_position *at)
{
    uint64_t filter = from->filter & TM_LINK_FILTER_MASK;
    uint8_t name[NAME_LEN];
    struct tm_bytes value;
    if (!from->purge || at->incarnation == 0 || (at->rules & TM_LINK_FILTER_MASK) != filter)
        return false;
    return !tm_store_shadow_field(in->c.ops->store(in->c.host, s->target), NONE,
                                  name_of(from->uuid, s->source, name), &value, NULL) ||
           value.len != 8 || tm_load64(value.data) != filter;
}

void tm_link_in_purge(struct tm_link_in *in, struct tm_link_in_stream *s)
{
    const struct tm_link_from *from = in->c.ops->from(in->c.host, s->site);
    if (from == NULL || !from->purge || s->sweep != NULL)
        return;
    struct tm_link_position at = tm_link_in_position(in, from, s);
    if (!is_due(in, from, s, &at)) {
        s->purge_cursor = 0;
        return;
    }
    struct slice l = {.in = in,
                      .from = from,
                      .s = s,
                      .store = in->c.ops->store(in->c.host, s->target),
                      .end = TM_LINK_ORDERS};
    uint64_t next = tm_link_keys(l.store, s->purge_cursor, 0, SLICE_KEYS, gather, &l), record;
    if (l.end < TM_LINK_ORDERS && (next == 0 || l.end < next))
        next = l.end;
    l.last = next == 0;
    if ((l.used > 0 || l.last) &&
        in->c.ops->write(in->c.host, s->target, 0, fill, &l, &record) != TM_OK)
        return; /* tried again */
    s->purge_cursor = next;
}
