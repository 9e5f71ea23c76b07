/* store_snapshot.c: entities as snapshot items, in slices.
 *
 *   item:   u32 size, u8 type, u8 0, u16 key_len, u64 hlc, u64 origin, u64 expiry, u32 fields,
 *           key, fields
 *   field:  u64 hlc, u64 origin, u32 name_len << 1 | is a counter (| 1 << 31: a based one), u32
 *           value_len, name, value
 *
 * without padding; a string is one field without a name.  A slice hides what is uncommitted, writes
 * items in hash order until the buffer is full, and shows it again.  Loading takes each item apart
 * with every length checked, and puts it into the store as a record of its stamp would. */
#include "storage/store_internal.h"

#define ITEM_HEAD  36u
#define FIELD_HEAD 24u

#define FIELD_BASED (1u << 31)

struct writer {
    const struct tm_store *store;
    uint8_t *buf;
    size_t cap;
    size_t used; /* beyond cap: what would have been needed */
};

static void put(struct writer *w, const void *data, size_t len)
{
    if (len > 0 && w->used + len <= w->cap)
        memcpy(w->buf + w->used, data, len);
    w->used += len;
}
static void put64(struct writer *w, uint64_t v)
{
    put(w, &v, sizeof v);
}
static void put32(struct writer *w, uint32_t v)
{
    put(w, &v, sizeof v);
}

static void put_field(struct writer *w, const struct tm_entity *f, struct tm_bytes name)
{
    struct tm_bytes raw = tm_entity_raw(f);
    uint32_t form = (tm_entity_flags(f) & TM_ENTITY_COUNTER) != 0;
    if (tm_entity_flags(f) & TM_ENTITY_BASED)
        form |= FIELD_BASED;
    put64(w, f->hlc);
    put64(w, w->store->origins[tm_entity_origin(f)]);
    put32(w, (uint32_t)name.len << 1 | form);
    put32(w, (uint32_t)raw.len);
    put(w, name.data, name.len);
    put(w, raw.data, raw.len);
}

static void put_fields(struct writer *w, const struct tm_entity *e)
{
    const struct tm_entity *f;
    if (tm_entity_flags(e) & TM_ENTITY_LARGE) {
        struct tm_table_iter it;
        tm_table_first(&it, &tm_entity_large(e)->fields);
        while ((f = tm_table_next(&it)) != NULL)
            put_field(w, f, tm_entity_name(f));
        return;
    }
    struct tm_bytes rest = tm_packed_fields(e);
    while ((f = tm_packed_next(&rest)) != NULL)
        put_field(w, f, tm_entity_name(f));
}

static void put_item(void *host, struct tm_entity *e)
{
    struct writer *w = host;
    size_t start = w->used;
    bool string = tm_entity_type(e) == TM_ENTITY_STRING;
    struct tm_bytes key = tm_entity_name(e);
    put32(w, 0);
    put32(w, (uint32_t)tm_entity_type(e) | (uint32_t)key.len << 16);
    put64(w, e->hlc);
    put64(w, w->store->origins[tm_entity_origin(e)]);
    put64(w, tm_entity_expiry(e));
    put32(w, string ? 1 : (uint32_t)tm_entity_fields(e));
    put(w, key.data, key.len);
    if (string)
        put_field(w, e, tm_bytes_of(NULL, 0));
    else
        put_fields(w, e);
    if (w->used <= w->cap)
        tm_store32(w->buf + start, (uint32_t)(w->used - start));
}

enum tm_err tm_store_snapshot(struct tm_store *s, uint64_t *cursor, void *buf, size_t cap,
                              size_t *used, uint64_t *index)
{
    TM_ASSERT(!s->open && *cursor >> 48 == 0);
    struct writer w = {s, buf, cap, 0};
    uint64_t at = *cursor << 16;
    enum tm_err err = TM_OK;
    *index = s->committed;
    *used = 0;
    tm_undo_hide(s);
    do {
        uint64_t next = tm_store_step(s, at, 0, put_item, &w);
        if (w.used > cap) {
            err = *used == 0 ? TM_ERR_TOOBIG : TM_OK;
            break;
        }
        *used = w.used;
        at = next;
    } while (at != 0);
    tm_undo_show(s);
    if (err == TM_ERR_TOOBIG)
        *used = w.used;
    *cursor = at >> 16;
    return err;
}

void tm_store_load_begin(struct tm_store *s, uint64_t index)
{
    TM_ASSERT(s->applied == 0 && s->table.count == 0 && s->shadow.count == 0 && s->load_count == 0);
    s->applied = s->committed = index;
}

static bool take(struct tm_bytes *rest, size_t len, struct tm_bytes *out)
{
    if (len > rest->len)
        return false;
    *out = tm_bytes_of(rest->data, len);
    *rest = tm_bytes_of(rest->data + len, rest->len - len);
    return true;
}

static bool counter_well_formed(size_t len, bool based)
{
    size_t base = sizeof(struct tm_counter_base);
    if (based)
        return len >= base && len <= TM_COUNTER_BASED_BYTES &&
               (len - base) % sizeof(struct tm_counter_part) == 0;
    return len >= 8 && len <= TM_COUNTER_BYTES &&
           (len - 8) % sizeof(struct tm_counter_component) == 0;
}

static bool field_well_formed(enum tm_entity_type type, size_t name, size_t value, unsigned flags)
{
    bool counter = (flags & TM_ENTITY_COUNTER) != 0, based = (flags & TM_ENTITY_BASED) != 0;
    if (name > TM_NAME_MAX || value > TM_NAME_MAX || (based && !counter) ||
        (counter && !counter_well_formed(value, based)))
        return false;
    if (type == TM_ENTITY_STRING)
        return name == 0;
    if (type == TM_ENTITY_SHADOW)
        return !counter;
    return type == TM_ENTITY_HASH || (value == 0 && !counter);
}

static bool load_stamp(struct tm_store *s, const uint8_t *at, struct tm_stamp *by)
{
    int origin = tm_store_origin_no(s, tm_load64(at + 8));
    *by = (struct tm_stamp){s->applied, 0, tm_load64(at), tm_load64(at + 8),
                            origin < 0 ? 0 : (unsigned)origin};
    return origin >= 0;
}

static bool load_field(struct tm_store *s, struct tm_target *t, struct tm_bytes *rest)
{
    struct tm_bytes head, name, value;
    struct tm_stamp by;
    if (!take(rest, FIELD_HEAD, &head) || !load_stamp(s, head.data, &by))
        return false;
    uint32_t form = tm_load32(head.data + 16);
    unsigned flags = (form & 1 ? (unsigned)TM_ENTITY_COUNTER : 0) |
                     (form & FIELD_BASED ? (unsigned)TM_ENTITY_BASED : 0);
    size_t name_len = (form & ~FIELD_BASED) >> 1, value_len = tm_load32(head.data + 20);
    if (!field_well_formed(t->type, name_len, value_len, flags) || !take(rest, name_len, &name) ||
        !take(rest, value_len, &value) || tm_target_field(t, name) != NULL)
        return false;
    tm_target_put(s, t, &by, name, value, flags);
    return true;
}

/* One item, whose size was checked; it may lie in the slice that ends at that cursor only. */
static bool load_item(struct tm_store *s, struct tm_bytes item, uint64_t from, uint64_t to)
{
    struct tm_bytes head, key;
    struct tm_target t;
    struct tm_stamp by;
    (void)take(&item, ITEM_HEAD, &head);
    if (head.data[4] > TM_ENTITY_SHADOW || head.data[5] != 0 ||
        !take(&item, tm_load16(head.data + 6), &key))
        return false;
    tm_target_set(s, &t, key, (enum tm_entity_type)head.data[4]);
    uint64_t place = t.hash >> 16, expiry = tm_load64(head.data + 24);
    uint32_t fields = tm_load32(head.data + 32);
    if (t.e != NULL || place < from || place >= to || fields == 0 ||
        (t.type == TM_ENTITY_SHADOW && expiry != 0))
        return false;
    for (uint32_t i = 0; i < fields; i++)
        if (!load_field(s, &t, &item))
            return false;
    if (item.len != 0 || !load_stamp(s, head.data + 8, &by))
        return false;
    if (t.type != TM_ENTITY_STRING || expiry != 0)
        tm_target_stamp(s, &t, &by, expiry);
    return true;
}

static void load_range_add(struct tm_store *s, uint64_t end, uint64_t index)
{
    if (s->load_count == s->load_cap) {
        uint32_t cap = s->load_cap == 0 ? 16 : 2 * s->load_cap;
        struct tm_load_range *wide = tm_pool_alloc(&s->pool, cap * sizeof *wide);
        if (s->load_cap > 0) {
            memcpy(wide, s->load, s->load_count * sizeof *wide);
            tm_pool_free(&s->pool, s->load, s->load_cap * sizeof *wide);
        }
        s->load = wide;
        s->load_cap = cap;
    }
    s->load[s->load_count++] = (struct tm_load_range){end, index};
    s->load_until = tm_max_u64(s->load_until, index);
}

enum tm_err tm_store_load_slice(struct tm_store *s, const void *bytes, size_t len, uint64_t cursor,
                                uint64_t index)
{
    struct tm_bytes rest = tm_bytes_of(bytes, len), item;
    uint64_t from = s->load_count == 0 ? 0 : s->load[s->load_count - 1].end;
    uint64_t to = cursor == 0 ? UINT64_C(1) << 48 : cursor;
    if (to <= from || to > UINT64_C(1) << 48 || index < s->applied)
        return TM_ERR_CORRUPT;
    while (rest.len > 0) {
        if (rest.len < ITEM_HEAD || tm_load32(rest.data) < ITEM_HEAD ||
            !take(&rest, tm_load32(rest.data), &item) || !load_item(s, item, from, to))
            return TM_ERR_CORRUPT;
        tm_store_commit(s, s->applied);
    }
    load_range_add(s, to, index);
    return TM_OK;
}
