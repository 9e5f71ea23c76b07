/* store_undo.c: what is not committed yet.
 *
 * Every change of a table is one entry in a ring, in the order of indices.  Commit takes entries
 * off the old end and frees what they came from; undo takes them off the new end, puts that back
 * and frees what they led to.  A snapshot hides all of them, reads, and shows them again.
 *
 * For tm_store_seen the entries of a bucket of key hashes are chained from the newest to the
 * oldest.  Committed ones need no unlinking: a number below `first` ends the chain; undo takes
 * away heads only.  The ring grows when the uncommitted window does, which the partition bounds. */
#include "storage/store_internal.h"

#define UNDO_CAP_FIRST  16u
#define TIDY_PER_COMMIT 32u

static struct tm_undo_entry *entry_at(const struct tm_undo *u, uint64_t number)
{
    return &u->ring[number & (u->cap - 1)];
}

/* Nothing that is read depends on a shadow. */
static bool is_chained(const struct tm_undo_entry *e)
{
    if (e->shadow)
        return false;
    return e->kind == TM_UNDO_ENTITY || e->kind == TM_UNDO_STAMP;
}

static void chain(struct tm_undo *u, uint64_t number)
{
    struct tm_undo_entry *e = entry_at(u, number);
    if (!is_chained(e))
        return;
    uint64_t *head = &u->heads[e->hash & (u->cap - 1)];
    e->older = *head;
    *head = number;
}

static void ring_free(struct tm_undo *u, struct tm_pool *pool)
{
    if (u->cap == 0)
        return;
    tm_pool_free(pool, u->ring, u->cap * sizeof *u->ring);
    tm_pool_free(pool, u->heads, u->cap * sizeof *u->heads);
}

static void ring_grow(struct tm_undo *u, struct tm_pool *pool)
{
    struct tm_undo wide = *u;
    wide.cap = u->cap == 0 ? UNDO_CAP_FIRST : 2 * u->cap;
    wide.ring = tm_pool_alloc(pool, wide.cap * sizeof *wide.ring);
    wide.heads = tm_pool_alloc(pool, wide.cap * sizeof *wide.heads);
    memset(wide.heads, 0, wide.cap * sizeof *wide.heads);
    for (uint64_t n = u->first; n < u->next; n++) {
        *entry_at(&wide, n) = *entry_at(u, n);
        chain(&wide, n);
    }
    ring_free(u, pool);
    *u = wide;
}

static struct tm_undo_entry *newest(const struct tm_undo *u)
{
    return u->first == u->next ? NULL : entry_at(u, u->next - 1);
}

static void hash_add(struct tm_store *s, const struct tm_undo_entry *entry, uint64_t delta)
{
    s->hash += delta;
    if (entry->shadow)
        s->hash_shadow += delta;
}

static struct tm_undo_entry *push(struct tm_store *s, const struct tm_undo_entry *entry)
{
    struct tm_undo *u = &s->undo;
    if (u->next == 0)
        u->first = u->next = 1;
    if (u->next - u->first == u->cap)
        ring_grow(u, &s->pool);
    uint64_t number = u->next++;
    *entry_at(u, number) = *entry;
    chain(u, number);
    hash_add(s, entry, entry->delta);
    return entry_at(u, number);
}

void tm_undo_entity(struct tm_store *s, uint64_t index, uint64_t hash, struct tm_entity *from,
                    struct tm_entity *to, uint64_t delta)
{
    struct tm_undo_entry *last = newest(&s->undo);
    bool shadow = tm_is_shadow(to != NULL ? to : from);
    if (last != NULL && last->kind == TM_UNDO_ENTITY && last->index == index &&
        last->hash == hash && last->to == from && last->shadow == shadow) {
        last->to = to; /* the same record made `from`: nobody can come back to it */
        last->delta += delta;
        hash_add(s, last, delta);
        tm_blob_free(s, from);
        return;
    }
    struct tm_undo_entry entry = {
        .index = index, .hash = hash, .delta = delta, .kind = TM_UNDO_ENTITY, .shadow = shadow};
    entry.from = from;
    entry.to = to;
    (void)push(s, &entry);
}

void tm_undo_field(struct tm_store *s, uint64_t index, uint64_t hash, const struct tm_target *t,
                   struct tm_entity *from, struct tm_entity *to, uint64_t delta)
{
    struct tm_undo_entry entry = {.index = index,
                                  .hash = hash,
                                  .delta = delta,
                                  .kind = TM_UNDO_FIELD,
                                  .shadow = t->type == TM_ENTITY_SHADOW};
    entry.from = from;
    entry.to = to;
    entry.large = tm_entity_large(t->e);
    (void)push(s, &entry);
    entry.large->hash_sum += delta;
}

void tm_undo_flush(struct tm_store *s, uint64_t index, uint64_t delta)
{
    struct tm_undo_entry entry = {.index = index, .delta = delta, .kind = TM_UNDO_FLUSH};
    entry.flushed = tm_pool_alloc(&s->pool, sizeof *entry.flushed);
    *entry.flushed = (struct tm_flushed){s->table, s->expiry, s->flushed};
    tm_table_init(&s->table);
    s->expiry = (struct tm_expiry){0};
    s->flushed = index;
    (void)push(s, &entry);
}

static void exchange_stamp(struct tm_store *s, struct tm_undo_entry *u)
{
    struct tm_entity *e = u->entity;
    struct tm_large *large = tm_entity_large(e);
    struct tm_undo_entry now = *u;
    now.hlc = e->hlc;
    now.origin = tm_entity_origin(e);
    now.expiry = tm_entity_expiry(e);
    now.touched = large->touched;
    if (now.expiry != 0)
        tm_expiry_remove(&s->expiry, e);
    tm_entity_set_stamp(e, u->hlc, u->origin);
    tm_store64(e + 1, u->expiry);
    large->touched = u->touched;
    if (u->expiry != 0)
        tm_expiry_add(&s->expiry, &s->pool, e);
    *u = now;
}

void tm_undo_stamp(struct tm_store *s, const struct tm_stamp *by, uint64_t hash,
                   struct tm_entity *e, uint64_t expiry)
{
    struct tm_undo_entry entry = {
        .index = by->index, .hash = hash, .kind = TM_UNDO_STAMP, .shadow = tm_is_shadow(e)};
    entry.entity = e;
    entry.hlc = by->hlc;
    entry.origin = by->origin_no;
    entry.expiry = expiry;
    entry.touched = by->index;
    uint64_t before = tm_hash_meta(s, hash, e);
    exchange_stamp(s, &entry);
    entry.delta = tm_hash_meta(s, hash, e) - before;
    (void)push(s, &entry);
}

static void exchange_flush(struct tm_store *s, struct tm_undo_entry *u)
{
    struct tm_flushed now = {s->table, s->expiry, u->flushed->before};
    s->table = u->flushed->table;
    s->expiry = u->flushed->expiry;
    *u->flushed = now;
}

/* Takes one entry's change back (forth = false) or does it again. */
static void turn(struct tm_store *s, struct tm_undo_entry *u, bool forth)
{
    struct tm_entity *from, *to;
    uint64_t delta = forth ? u->delta : 0 - u->delta;
    hash_add(s, u, delta);
    switch (u->kind) {
    case TM_UNDO_ENTITY:
        from = forth ? u->from : u->to, to = forth ? u->to : u->from;
        tm_store_place(s, u->hash, from, to);
        break;
    case TM_UNDO_FIELD:
        from = forth ? u->from : u->to, to = forth ? u->to : u->from;
        tm_field_place(s, u->large, u->hash, from, to);
        u->large->hash_sum += delta;
        break;
    case TM_UNDO_STAMP:
        exchange_stamp(s, u);
        break;
    case TM_UNDO_FLUSH:
        exchange_flush(s, u);
        break;
    }
}

void tm_undo_hide(struct tm_store *s)
{
    for (uint64_t n = s->undo.next; n > s->undo.first; n--)
        turn(s, entry_at(&s->undo, n - 1), false);
}

void tm_undo_show(struct tm_store *s)
{
    for (uint64_t n = s->undo.first; n < s->undo.next; n++)
        turn(s, entry_at(&s->undo, n), true);
}

static void free_flushed(struct tm_store *s, struct tm_flushed *f)
{
    tm_expiry_free(&f->expiry, &s->pool);
    tm_dead_add(s, &f->table);
    tm_pool_free(&s->pool, f, sizeof *f);
}

static void undo_newest(struct tm_store *s)
{
    struct tm_undo_entry *u = newest(&s->undo);
    turn(s, u, false);
    if (is_chained(u))
        s->undo.heads[u->hash & (s->undo.cap - 1)] = u->older;
    if (u->kind == TM_UNDO_ENTITY || u->kind == TM_UNDO_FIELD)
        tm_blob_free(s, u->to);
    if (u->kind == TM_UNDO_FLUSH) {
        s->flushed = u->flushed->before > s->committed ? u->flushed->before : 0;
        free_flushed(s, u->flushed);
    }
    s->undo.next--;
}

void tm_undo_above(struct tm_store *s, uint64_t down_to)
{
    const struct tm_undo_entry *u;
    while ((u = newest(&s->undo)) != NULL && u->index > down_to)
        undo_newest(s);
}

void tm_store_undo(struct tm_store *s, uint64_t down_to)
{
    TM_ASSERT(!s->open && down_to >= s->committed);
    tm_undo_above(s, down_to);
    s->applied = tm_min_u64(s->applied, down_to);
}

void tm_store_abort(struct tm_store *s)
{
    TM_ASSERT(s->open);
    s->open = false;
    tm_store_undo(s, s->applied);
}

static void commit_oldest(struct tm_store *s)
{
    struct tm_undo_entry *u = entry_at(&s->undo, s->undo.first++);
    s->hash_committed += u->delta;
    if (u->kind == TM_UNDO_ENTITY || u->kind == TM_UNDO_FIELD)
        tm_blob_free(s, u->from);
    if (u->kind == TM_UNDO_FLUSH) {
        if (s->flushed == u->index)
            s->flushed = 0;
        free_flushed(s, u->flushed);
    }
}

void tm_store_commit(struct tm_store *s, uint64_t index)
{
    TM_ASSERT(index <= s->applied);
    struct tm_undo *u = &s->undo;
    while (u->first < u->next && entry_at(u, u->first)->index <= index)
        commit_oldest(s);
    s->committed = tm_max_u64(s->committed, index);
    if (s->dead != NULL)
        (void)tm_store_tidy(s, TIDY_PER_COMMIT);
}

static void dead_pop(struct tm_store *s)
{
    struct tm_dead *dead = s->dead;
    s->dead = dead->next;
    tm_table_free(&dead->table, &s->pool, false);
    tm_pool_free(&s->pool, dead, sizeof *dead);
}

bool tm_store_tidy(struct tm_store *s, unsigned blobs)
{
    while (blobs-- > 0 && s->dead != NULL) {
        struct tm_dead *dead = s->dead;
        struct tm_entity *e = tm_table_next(&dead->at);
        if (e == NULL)
            dead_pop(s);
        else
            tm_blob_free(s, e); /* a large one puts its fields in front */
    }
    return s->dead != NULL;
}

uint64_t tm_store_seen(const struct tm_store *s, struct tm_bytes key)
{
    const struct tm_undo *u = &s->undo;
    if (u->first == u->next)
        return 0;
    uint64_t hash = tm_table_hash(key);
    uint64_t n = u->heads[hash & (u->cap - 1)];
    while (n >= u->first && n != 0) {
        const struct tm_undo_entry *e = entry_at(u, n);
        if (e->hash == hash)
            return tm_max_u64(e->index, s->flushed);
        n = e->older;
    }
    return s->flushed;
}

uint64_t tm_store_seen_any(const struct tm_store *s)
{
    const struct tm_undo_entry *u = newest(&s->undo);
    return u == NULL ? 0 : u->index;
}

void tm_undo_free(struct tm_store *s)
{
    while (s->undo.first < s->undo.next)
        commit_oldest(s);
    ring_free(&s->undo, &s->pool);
}
