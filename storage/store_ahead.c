/* store_ahead.c: fetching what changes to come will touch.
 *
 * The way of a change through memory: the store, the directory of its table, the leaf, the slots,
 * the entity; beside it, the ring and the chains of what is not committed. */
#include "storage/store_internal.h"

TM_STATIC_ASSERT(TM_STORE_AHEAD_STEPS == TM_TABLE_STEPS, "the table's steps are these");

void tm_store_prefetch(const struct tm_store *s)
{
    for (size_t at = 0; at < sizeof *s; at += 64)
        __builtin_prefetch((const uint8_t *)s + at);
}

static void prefetch_undo(const struct tm_undo *u, uint64_t hash)
{
    if (u->cap == 0)
        return;
    __builtin_prefetch(&u->ring[u->next & (u->cap - 1)], 1);
    __builtin_prefetch(&u->heads[hash & (u->cap - 1)], 1);
}

void tm_store_ahead(struct tm_store_ahead *a, const struct tm_store *s, struct tm_bytes key)
{
    *a = (struct tm_store_ahead){.store = s, .hash = tm_table_hash(key)};
}

void tm_store_ahead_record(struct tm_store_ahead *a, const struct tm_store *s,
                           const struct tm_record *record)
{
    struct tm_change change = {.key = {NULL, 0}};
    struct tm_bytes body = tm_record_body(record);
    if (record->kind == TM_RECORD_EFFECT)
        (void)tm_change_next(&body, &change);
    tm_store_ahead(a, s, change.key);
}

void tm_store_ahead_step(struct tm_store_ahead *a)
{
    if (a->step == 0)
        prefetch_undo(&a->store->undo, a->hash);
    if (a->step < TM_TABLE_STEPS)
        tm_table_prefetch(&a->store->table, a->hash, a->step++);
}
