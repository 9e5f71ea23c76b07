/* ring.h: a queue of variable-length records from one producer to one consumer, through memory
 * that both share: two workers of a process, or two processes joined to one workspace.
 *
 * Life of the shared object: footprint, new, join, leave, delete.  It holds no pointer, so each
 * process may map it anywhere.  On top each side keeps a small handle of its own (tm_ring_producer,
 * tm_ring_consumer), used by one thread at a time; whoever makes a handle again, after a restart of
 * that side, goes on where the last one published or released.
 *
 * A record is a kind (the caller's number, below TM_RING_PAD), a length, and that many bytes,
 * 8-aligned and in one piece.  Producer: claim as often as there is something, fill each in place,
 * publish once a batch.  Consumer: next as often as there is something, read in place, release once
 * a batch.  A full ring is an answer (NULL from claim) and counted in the ring; nothing ever waits
 * and nothing is dropped by the ring.  Neither side is woken for room: a producer with a backlog
 * does not sleep.
 *
 * The other side may be a foreign process: what it writes is checked, never believed.  A ring whose
 * indices or lengths make no sense is `broken` for the handle that saw it and stays empty (full).
 *
 * Sleeping (Dekker's pattern): the consumer sets `parked` and then looks at the tail once more, the
 * producer moves the tail and then looks at `parked`.  All four accesses are sequentially
 * consistent, which is the same as a full fence between store and load on each side: one of the two
 * sees the other.  With weaker ones a wake-up is lost on x86 too. */
#ifndef TM_RUNTIME_RING_H
#define TM_RUNTIME_RING_H

#include "runtime/base.h"

#include <stdatomic.h>

#define TM_RING_MAGIC        UINT64_C(0x31474e495200544d) /* "MT\0RING1" */
#define TM_RING_MIN          UINT64_C(1024)
#define TM_RING_MAX          (UINT64_C(1) << 30)
#define TM_RING_HEADER_BYTES 8
#define TM_RING_PAD          UINT32_MAX /* kind of the filler before the wrap; not the caller's */

/* The shared part; the records' bytes follow it.  Only ring.h's functions touch it. */
struct tm_ring {
    _Atomic uint64_t magic;
    uint64_t capacity;
    _Alignas(TM_CACHE_PAIR) _Atomic uint64_t tail; /* bytes ever published */
    _Atomic uint64_t full;                         /* claims answered with "full" */
    _Alignas(TM_CACHE_PAIR) _Atomic uint64_t head; /* bytes ever released */
    _Alignas(TM_CACHE_PAIR) _Atomic uint32_t parked;
    _Alignas(TM_CACHE_PAIR) uint8_t data[];
};
TM_STATIC_ASSERT(sizeof(struct tm_ring) == 4 * TM_CACHE_PAIR,
                 "each index has a line pair of its own; other processes know the layout");

struct tm_ring_producer {
    struct tm_ring *ring;
    uint64_t capacity;
    uint64_t tail;      /* claimed up to here */
    uint64_t published; /* the tail the consumer may see */
    uint64_t head;      /* the consumer's, as last read */
    uint64_t last;      /* where the newest claimed record begins */
    bool broken;
};

struct tm_ring_consumer {
    struct tm_ring *ring;
    uint64_t capacity;
    uint64_t head;     /* read up to here */
    uint64_t released; /* the head the producer may see */
    uint64_t tail;     /* the producer's, as last read */
    bool broken;
};

/* A record as the consumer reads it.  data is valid until the release that follows. */
struct tm_ring_record {
    uint32_t kind;
    uint32_t len;
    const uint8_t *data;
};

/* Bytes of memory a ring of that capacity takes, aligned to TM_CACHE_PAIR; 0 unless capacity is a
 * power of two in TM_RING_MIN..TM_RING_MAX. */
size_t tm_ring_footprint(size_t capacity);

/* Makes an empty ring in mem (tm_ring_footprint(capacity) bytes, aligned to TM_CACHE_PAIR, the
 * caller's) and returns mem; NULL if mem or capacity are not so.  The magic is written last. */
void *tm_ring_new(void *mem, size_t capacity);

/* Joins the ring in mem, of which `bytes` are mapped; only reads.  NULL if there is none, if it is
 * longer than bytes, or misaligned.  The result lives as long as the mapping. */
struct tm_ring *tm_ring_join(void *mem, size_t bytes);

/* Ends a join; returns the memory.  Handles on the ring must not be used afterwards. */
void *tm_ring_leave(struct tm_ring *ring);

/* Unmakes the ring in mem: nobody can join it any more.  All sides have left.  Returns mem, which
 * is the caller's again, or NULL if it holds no ring. */
void *tm_ring_delete(void *mem);

/* Makes p the producer's (c the consumer's) end.  At most one of each in use at a time. */
void tm_ring_producer_init(struct tm_ring_producer *p, struct tm_ring *ring);
void tm_ring_consumer_init(struct tm_ring_consumer *c, struct tm_ring *ring);

/* Bytes published and not yet released, 0..capacity; and claims ever answered with "full".  Any
 * thread, also over a read-only mapping. */
uint64_t tm_ring_used(const struct tm_ring *ring);
uint64_t tm_ring_full_count(const struct tm_ring *ring);

/* The longest record a ring of that capacity takes: one always fits when the ring is empty,
 * wherever the wrap is. */
static inline uint64_t tm_ring_record_max(uint64_t capacity)
{
    return capacity / 2 - TM_RING_HEADER_BYTES;
}

/* Claims room for a record of len bytes (0..tm_ring_record_max, asserted) and kind < TM_RING_PAD.
 * Returns where its bytes go, 8-aligned, the producer's until publish; the consumer sees nothing
 * before that.  NULL: full (counted) or broken; try again in a later turn. */
void *tm_ring_claim(struct tm_ring_producer *p, uint32_t kind, uint32_t len);

/* Shortens the newest claimed record to len bytes, at most what was claimed.  Before publish. */
void tm_ring_trim(struct tm_ring_producer *p, uint32_t len);

/* Shows all claimed records to the consumer.  True: the consumer had parked, and the caller must
 * wake it now (exactly one publish per park says so).  Nothing claimed: no store, false. */
bool tm_ring_publish(struct tm_ring_producer *p);

/* The next record, in order, into *record; false if there is none for now (or the ring is broken).
 * The bytes were written by the other side and may still change if that is a foreign process. */
bool tm_ring_next(struct tm_ring_consumer *c, struct tm_ring_record *record);

/* Gives the room of all records read so far back to the producer.  Nothing read: no store. */
void tm_ring_release(struct tm_ring_consumer *c);

/* True if a record waits; does not consume it. */
bool tm_ring_pending(struct tm_ring_consumer *c);

/* The consumer is about to sleep: asks to be woken by the next publish, then looks once more.
 * True: nothing is there, it may sleep (if every other source says the same).  False: something
 * is, and the ring is not parked.  A worker parks all its rings before it sleeps. */
bool tm_ring_park(struct tm_ring_consumer *c);

/* Takes the request to be woken back; harmless if not parked. */
void tm_ring_unpark(struct tm_ring_consumer *c);

#endif
