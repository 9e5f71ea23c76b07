/* What expired here although another cluster had given it more time: that change came too late, and
 * the entity's fields are gone.  Whoever ships the type is asked for the key: the fields may have
 * been written by any of them, and each keeps what it has.
 *
 * The notes are fields of the partition's shadow, written with the change and taken away with the
 * answer, so a new leader goes on asking.  They are few as long as links lag by less than entities
 * live; where a link was away, each entity that was given more time meanwhile is one. */
#include "actors/link_in_internal.h"

#include "actors/link_way.h"
#include "actors/router.h"
#include "storage/entity.h"

#include <stdlib.h>

#define NAME_LEN  29u
#define NOTES_MAX 65536 /* fields of a partition's own shadow, from which on none are added */
#define ASK_NS    TM_SECONDS(1)

static const struct tm_bytes NONE = {NULL, 0};

static struct tm_bytes name_of(const uint8_t uuid[16], uint32_t source, uint64_t order,
                               uint8_t name[NAME_LEN])
{
    name[0] = TM_SHADOW_LACKS;
    memcpy(name + 1, uuid, 16);
    tm_store32(name + 17, source);
    tm_store64(name + 21, order);
    return tm_bytes_of(name, NAME_LEN);
}

static void ask_soon(struct tm_link_in *in, uint32_t t)
{
    for (unsigned b = 0; b < TM_LINK_IN_BUCKETS; b++)
        for (struct tm_link_in_stream *s = in->bucket[b]; s != NULL; s = s->next)
            if (s->target == t)
                s->lacks = true;
}

void tm_link_in_note_lacks(struct tm_link_in *in, struct tm_store *store, uint32_t t,
                           struct tm_bytes key)
{
    const struct tm_entity *own = tm_store_shadow(store, NONE);
    uint32_t slot = tm_slot_of_key(key);
    uint8_t name[NAME_LEN];
    tm_counter_add(in->c.ctx->counters, TM_COUNTER_link_lacks, 1);
    if (own != NULL && tm_entity_fields(own) >= NOTES_MAX) {
        tm_ctx_log(in->c.ctx, TM_LOG_ERROR, "link_lacks_forgotten",
                   "partition=%u text=\"too many entities expired here too soon: resynchronise the "
                   "links to this cluster\"",
                   t);
        return;
    }
    tm_store_stamp(store, 0, 0);
    for (unsigned site = 0; site < TM_LINK_SITES_MAX; site++) {
        const struct tm_link_from *from = in->c.ops->from(in->c.host, site);
        if (from == NULL || from->sources == 0 || !from->ships(from->host, tm_link_type_of(key)))
            continue;
        uint32_t source = tm_partition_of_slot(slot, from->sources);
        tm_store_set_shadow(store, NONE, name_of(from->uuid, source, tm_link_order(key), name),
                            NONE);
    }
    ask_soon(in, t);
}

void tm_link_in_note_asked(struct tm_link_in *in, struct tm_store *store,
                           const struct tm_link_from *from, uint32_t source, uint32_t t,
                           uint64_t order)
{
    uint8_t name[NAME_LEN];
    tm_store_stamp(store, 0, 0);
    tm_store_set_shadow(store, NONE, name_of(from->uuid, source, order, name), NONE);
    ask_soon(in, t);
}

void tm_link_in_lacks_told(struct tm_store *store, const struct tm_link_from *from, uint32_t source,
                           const uint64_t *orders, uint32_t count)
{
    uint8_t name[NAME_LEN];
    for (uint32_t i = 0; i < count; i++)
        tm_store_del_shadow(store, NONE, name_of(from->uuid, source, orders[i], name));
}

/* ---- asking ---- */

static int by_order(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

/* Some of what is noted for the stream's source, ascending. */
static uint32_t gather(struct tm_link_in *in, const struct tm_link_in_stream *s,
                       const struct tm_link_from *from, uint64_t orders[TM_LINK_LACKS_KEYS])
{
    const struct tm_entity *own = tm_store_shadow(in->c.ops->store(in->c.host, s->target), NONE);
    uint8_t prefix[NAME_LEN];
    struct tm_field_iter it;
    struct tm_bytes name;
    uint32_t count = 0;
    if (own == NULL)
        return 0;
    (void)name_of(from->uuid, s->source, 0, prefix);
    tm_field_first(&it, own);
    while (count < TM_LINK_LACKS_KEYS && tm_field_next(&it, &name, NULL))
        if (name.len == NAME_LEN && memcmp(name.data, prefix, NAME_LEN - 8) == 0)
            orders[count++] = tm_load64(name.data + NAME_LEN - 8);
    qsort(orders, count, sizeof *orders, by_order);
    return count;
}

void tm_link_in_ask_lacks(struct tm_link_in *in, struct tm_link_in_stream *s)
{
    const struct tm_link_from *from = in->c.ops->from(in->c.host, s->site);
    uint64_t orders[TM_LINK_LACKS_KEYS], now = tm_ctx_now(in->c.ctx);
    if (from == NULL || now < s->ask_at)
        return;
    struct tm_link_lacks m = {.stream = s->id, .count = gather(in, s, from, orders)};
    s->lacks = m.count > 0;
    s->ask_at = now + ASK_NS;
    if (m.count > 0)
        tm_link_in_answer(in, s, TM_MESSAGE_LINK_LACKS, &m, sizeof m,
                          tm_bytes_of(orders, m.count * sizeof *orders));
}
