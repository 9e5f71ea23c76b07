/* The ring's indices are bytes ever written and ever read, so that full and empty differ without a
 * spare slot; an index modulo the capacity is a place.  A record is {u32 length, u32 kind}, its
 * bytes, and filling to 8.  It never crosses the end: where it would, a filler record of kind
 * TM_RING_PAD takes the rest and the record starts at place 0.
 *
 * Each side reads the other's index only when its copy says "full" or "empty", so in steady flow
 * the two lines move between the cores once a batch. */
#include "runtime/ring.h"

static uint64_t record_size(uint32_t len)
{
    return tm_align_up((uint64_t)len + TM_RING_HEADER_BYTES, 8);
}

static void put_header(struct tm_ring *ring, uint64_t place, uint32_t len, uint32_t kind)
{
    tm_store32(ring->data + place, len);
    tm_store32(ring->data + place + 4, kind);
}

size_t tm_ring_footprint(size_t capacity)
{
    if (!tm_is_pow2(capacity) || capacity < TM_RING_MIN || capacity > TM_RING_MAX)
        return 0;
    return sizeof(struct tm_ring) + capacity;
}

void *tm_ring_new(void *mem, size_t capacity)
{
    if (mem == NULL || (uintptr_t)mem % TM_CACHE_PAIR != 0 || tm_ring_footprint(capacity) == 0)
        return NULL;
    struct tm_ring *ring = mem;
    memset(ring, 0, sizeof *ring);
    ring->capacity = capacity;
    atomic_store_explicit(&ring->magic, TM_RING_MAGIC, memory_order_release);
    return mem;
}

struct tm_ring *tm_ring_join(void *mem, size_t bytes)
{
    if (mem == NULL || (uintptr_t)mem % TM_CACHE_PAIR != 0 || bytes < sizeof(struct tm_ring))
        return NULL;
    struct tm_ring *ring = mem;
    if (atomic_load_explicit(&ring->magic, memory_order_acquire) != TM_RING_MAGIC)
        return NULL;
    size_t footprint = tm_ring_footprint(ring->capacity);
    return footprint != 0 && footprint <= bytes ? ring : NULL;
}

void *tm_ring_leave(struct tm_ring *ring)
{
    return ring;
}

void *tm_ring_delete(void *mem)
{
    struct tm_ring *ring = mem;
    if (tm_ring_join(mem, SIZE_MAX) == NULL)
        return NULL;
    atomic_store_explicit(&ring->magic, 0, memory_order_release);
    return mem;
}

void tm_ring_producer_init(struct tm_ring_producer *p, struct tm_ring *ring)
{
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    *p = (struct tm_ring_producer){.ring = ring,
                                   .capacity = ring->capacity,
                                   .tail = tail,
                                   .published = tail,
                                   .head = head,
                                   .last = tail,
                                   .broken = tail % 8 != 0 || tail - head > ring->capacity};
}

void tm_ring_consumer_init(struct tm_ring_consumer *c, struct tm_ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    *c = (struct tm_ring_consumer){.ring = ring,
                                   .capacity = ring->capacity,
                                   .head = head,
                                   .released = head,
                                   .tail = head,
                                   .broken = head % 8 != 0};
}

uint64_t tm_ring_used(const struct tm_ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    return tm_min_u64(tail - head, ring->capacity);
}

uint64_t tm_ring_full_count(const struct tm_ring *ring)
{
    return atomic_load_explicit(&ring->full, memory_order_relaxed);
}

/* True if `need` more bytes fit; reads the consumer's index only if the copy is not enough. */
static bool has_room(struct tm_ring_producer *p, uint64_t need)
{
    if (TM_LIKELY(p->tail - p->head + need <= p->capacity))
        return true;
    uint64_t head = atomic_load_explicit(&p->ring->head, memory_order_acquire);
    if (p->published - head > p->capacity)
        p->broken = true;
    else
        p->head = head;
    return !p->broken && p->tail - p->head + need <= p->capacity;
}

void *tm_ring_claim(struct tm_ring_producer *p, uint32_t kind, uint32_t len)
{
    TM_ASSERT(len <= tm_ring_record_max(p->capacity) && kind != TM_RING_PAD);
    uint64_t size = record_size(len);
    uint64_t place = p->tail & (p->capacity - 1);
    uint64_t rest = p->capacity - place;
    uint64_t pad = rest < size ? rest : 0;
    if (TM_UNLIKELY(p->broken || !has_room(p, pad + size))) {
        uint64_t full = atomic_load_explicit(&p->ring->full, memory_order_relaxed);
        atomic_store_explicit(&p->ring->full, full + 1, memory_order_relaxed);
        return NULL;
    }
    if (pad != 0) {
        put_header(p->ring, place, (uint32_t)(pad - TM_RING_HEADER_BYTES), TM_RING_PAD);
        p->tail += pad;
        place = 0;
    }
    put_header(p->ring, place, len, kind);
    p->last = p->tail;
    p->tail += size;
    return p->ring->data + place + TM_RING_HEADER_BYTES;
}

void tm_ring_trim(struct tm_ring_producer *p, uint32_t len)
{
    TM_ASSERT(p->tail != p->published);
    uint8_t *header = p->ring->data + (p->last & (p->capacity - 1));
    TM_ASSERT(len <= p->tail - p->last - TM_RING_HEADER_BYTES);
    tm_store32(header, len);
    p->tail = p->last + record_size(len);
}

bool tm_ring_publish(struct tm_ring_producer *p)
{
    if (p->tail == p->published)
        return false;
    p->published = p->tail;
    atomic_store_explicit(&p->ring->tail, p->tail, memory_order_seq_cst);
    if (TM_LIKELY(atomic_load_explicit(&p->ring->parked, memory_order_seq_cst) == 0))
        return false;
    return atomic_exchange_explicit(&p->ring->parked, 0, memory_order_seq_cst) != 0;
}

/* Takes a new tail from the producer; false if there is nothing beyond head. */
static bool see_tail(struct tm_ring_consumer *c, memory_order order)
{
    uint64_t tail = atomic_load_explicit(&c->ring->tail, order);
    if (tail - c->released > c->capacity || tail % 8 != 0 || tail - c->head > c->capacity)
        c->broken = true;
    else
        c->tail = tail;
    return !c->broken && c->tail != c->head;
}

/* The record at head; false if its length does not fit between head and tail. */
static bool read_header(struct tm_ring_consumer *c, struct tm_ring_record *record)
{
    uint64_t place = c->head & (c->capacity - 1);
    const uint8_t *header = c->ring->data + place;
    record->len = tm_load32(header);
    record->kind = tm_load32(header + 4);
    record->data = header + TM_RING_HEADER_BYTES;
    uint64_t size = record_size(record->len);
    if (TM_UNLIKELY(size > c->tail - c->head || size > c->capacity - place)) {
        c->broken = true;
        return false;
    }
    c->head += size;
    return true;
}

bool tm_ring_next(struct tm_ring_consumer *c, struct tm_ring_record *record)
{
    do {
        if (TM_UNLIKELY(c->broken) || (c->head == c->tail && !see_tail(c, memory_order_acquire)) ||
            !read_header(c, record))
            return false;
    } while (record->kind == TM_RING_PAD);
    return true;
}

void tm_ring_release(struct tm_ring_consumer *c)
{
    if (c->head == c->released)
        return;
    c->released = c->head;
    atomic_store_explicit(&c->ring->head, c->head, memory_order_release);
}

bool tm_ring_pending(struct tm_ring_consumer *c)
{
    return !c->broken && (c->head != c->tail || see_tail(c, memory_order_acquire));
}

bool tm_ring_park(struct tm_ring_consumer *c)
{
    atomic_store_explicit(&c->ring->parked, 1, memory_order_seq_cst);
    if (c->broken || !see_tail(c, memory_order_seq_cst))
        return true;
    tm_ring_unpark(c);
    return false;
}

void tm_ring_unpark(struct tm_ring_consumer *c)
{
    atomic_store_explicit(&c->ring->parked, 0, memory_order_seq_cst);
}
