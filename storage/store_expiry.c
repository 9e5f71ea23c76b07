/* store_expiry.c: a binary heap of the entities that expire, soonest first.
 *
 * Each such blob holds its own place in the heap (behind its expiry), so that one that is replaced
 * or deleted leaves at once: a cache that sets the same keys anew all day keeps one slot a key. */
#include "storage/store_internal.h"

static void slot_put(struct tm_expiry *x, uint32_t i, struct tm_expiry_slot slot)
{
    x->slots[i] = slot;
    tm_store32((uint8_t *)(slot.entity + 1) + 8, i);
}

static void sift_up(struct tm_expiry *x, uint32_t i, struct tm_expiry_slot slot)
{
    while (i > 0 && x->slots[(i - 1) / 2].ms > slot.ms) {
        slot_put(x, i, x->slots[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    slot_put(x, i, slot);
}

static void sift_down(struct tm_expiry *x, uint32_t i, struct tm_expiry_slot slot)
{
    uint32_t child;
    while ((child = 2 * i + 1) < x->count) {
        if (child + 1 < x->count && x->slots[child + 1].ms < x->slots[child].ms)
            child++;
        if (x->slots[child].ms >= slot.ms)
            break;
        slot_put(x, i, x->slots[child]);
        i = child;
    }
    slot_put(x, i, slot);
}

static void grow(struct tm_expiry *x, struct tm_pool *pool)
{
    uint32_t cap = x->cap == 0 ? 4 : x->cap + x->cap / 2;
    struct tm_expiry_slot *slots = tm_pool_alloc(pool, cap * sizeof *slots);
    if (x->count > 0)
        memcpy(slots, x->slots, x->count * sizeof *slots);
    if (x->cap > 0)
        tm_pool_free(pool, x->slots, x->cap * sizeof *slots);
    x->slots = slots;
    x->cap = cap;
}

void tm_expiry_add(struct tm_expiry *x, struct tm_pool *pool, struct tm_entity *e)
{
    if (x->count == x->cap)
        grow(x, pool);
    sift_up(x, x->count++, (struct tm_expiry_slot){tm_entity_expiry(e), e});
}

void tm_expiry_replace(struct tm_expiry *x, struct tm_entity *from, struct tm_entity *to)
{
    uint32_t i = tm_load32((uint8_t *)(from + 1) + 8);
    TM_ASSERT(i < x->count && x->slots[i].entity == from);
    slot_put(x, i, (struct tm_expiry_slot){x->slots[i].ms, to});
}

void tm_expiry_remove(struct tm_expiry *x, struct tm_entity *e)
{
    uint32_t i = tm_load32((uint8_t *)(e + 1) + 8);
    TM_ASSERT(i < x->count && x->slots[i].entity == e);
    struct tm_expiry_slot last = x->slots[--x->count];
    if (i == x->count)
        return;
    if (i > 0 && x->slots[(i - 1) / 2].ms > last.ms)
        sift_up(x, i, last);
    else
        sift_down(x, i, last);
}

void tm_expiry_free(struct tm_expiry *x, struct tm_pool *pool)
{
    if (x->cap > 0)
        tm_pool_free(pool, x->slots, x->cap * sizeof *x->slots);
    *x = (struct tm_expiry){0};
}
