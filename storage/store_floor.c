/* store_floor.c: what was flushed, for changes that come later and were made before.
 *
 * A FLUSH leaves a field of the empty key's shadow, named 'F' and whatever tells how far it goes
 * (struct tm_link_policy, covers); its stamp is a floor for all keys that it covers.  The store
 * keeps the names of such fields that it has seen: mostly none, else a few, each looked up where a
 * key's floor is asked for.  A name stays in the list when its field goes, or is undone. */
#include "storage/store_link.h"
#include "storage/store_internal.h"

void tm_floors_note(struct tm_store *s, struct tm_bytes name)
{
    if (name.len == 0 || name.data[0] != TM_SHADOW_FLUSH)
        return;
    if (s->floors == NULL) {
        s->floors = tm_pool_alloc(&s->pool, sizeof *s->floors);
        *s->floors = (struct tm_floors){0};
    }
    struct tm_floors *f = s->floors;
    for (unsigned i = 0; i < f->count; i++)
        if (tm_bytes_equal(name, tm_bytes_of(f->name[i], f->len[i])))
            return;
    if (f->count == TM_FLOORS || name.len > TM_FLOOR_NAME) {
        f->more = true;
        return;
    }
    f->len[f->count] = (uint8_t)name.len;
    memcpy(f->name[f->count++], name.data, name.len);
}

void tm_floors_free(struct tm_store *s)
{
    if (s->floors != NULL)
        tm_pool_free(&s->pool, s->floors, sizeof *s->floors);
}

static void raise(const struct tm_store *s, const struct tm_entity *field, struct tm_bytes key,
                  uint64_t past, struct tm_op_version *floor)
{
    struct tm_bytes name = tm_entity_name(field);
    struct tm_op_version v = tm_store_stamp_of(s, field);
    if (v.hlc <= past || tm_stamp_compare(v, *floor) <= 0)
        return;
    name = tm_bytes_of(name.data + 1, name.len - 1);
    if (name.len == 0 || s->policy.covers == NULL || s->policy.covers(s->policy.host, key, name))
        *floor = v;
}

void tm_floors_raise(const struct tm_store *s, struct tm_bytes key, uint64_t past,
                     struct tm_op_version *floor)
{
    const struct tm_floors *f = s->floors;
    const struct tm_entity *own = tm_store_shadow(s, tm_bytes_of(NULL, 0)), *field;
    if (own == NULL || key.len == 0)
        return;
    for (unsigned i = 0; i < f->count; i++)
        if ((field = tm_field_find(own, tm_bytes_of(f->name[i], f->len[i]))) != NULL)
            raise(s, field, key, past, floor);
    if (!f->more)
        return;
    struct tm_fields it;
    tm_fields_first(&it, own);
    while ((field = tm_fields_next(&it)) != NULL)
        if (tm_entity_name(field).data[0] == TM_SHADOW_FLUSH)
            raise(s, field, key, past, floor);
}

void tm_store_set_floor(struct tm_store *s, struct tm_bytes name, struct tm_op_version v)
{
    uint8_t full[1 + TM_FLOOR_NAME] = {TM_SHADOW_FLUSH};
    struct tm_op_version there;
    TM_ASSERT(name.len < TM_FLOOR_NAME);
    if (name.len > 0)
        memcpy(full + 1, name.data, name.len);
    struct tm_bytes field = tm_bytes_of(full, 1 + name.len), none = tm_bytes_of(NULL, 0);
    if (!tm_store_shadow_field(s, none, field, NULL, &there) || tm_stamp_compare(there, v) < 0)
        tm_keep_shadow(s, none, field, none, v);
}

void tm_store_keep_flush(struct tm_store *s)
{
    if (s->policy.keep != NULL)
        tm_store_set_floor(s, tm_bytes_of(NULL, 0),
                           (struct tm_op_version){s->own.hlc, s->own.origin});
}

bool tm_store_keeps_flush(const struct tm_store *s)
{
    return s->policy.keep != NULL;
}
