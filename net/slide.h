/* slide.h: a run of a byte stream held in memory, contiguous, growing at one end and shrinking at
 * the other.
 *
 * Bytes are named by their offset in the stream.  The owner keeps [low, high); everything within
 * is one plain array, so a message in it needs no gluing.  When the array's end is reached, what
 * is still held moves to its front (at most one byte moved per byte gone through), or the array
 * doubles, up to `limit`.  When nothing is held it starts again at its front, so that a quiet
 * stream keeps using the same few cache lines.
 *
 * Pointers into it live until the next reserve, drop or free.  One thread. */
#ifndef TM_NET_SLIDE_H
#define TM_NET_SLIDE_H

#include "runtime/base.h"

struct tm_slide {
    uint8_t *mem;
    size_t size;   /* of mem; 0 before the first reserve */
    size_t limit;  /* most bytes that mem may have */
    uint64_t base; /* offset of mem[0] in the stream */
    uint64_t low;  /* held from here */
    uint64_t high; /* to here */
};

/* An empty one that starts at offset 0 and never takes more than limit bytes of memory. */
void tm_slide_init(struct tm_slide *s, size_t limit);
void tm_slide_free(struct tm_slide *s);

/* Forgets all; the stream starts at 0 again.  The memory stays. */
void tm_slide_reset(struct tm_slide *s);

/* Makes [low, end) addressable, and held: high becomes at least end.  end - low <= limit / 2.
 * TM_ERR_NOMEM: nothing changed. */
enum tm_err tm_slide_reserve(struct tm_slide *s, uint64_t end);

/* The byte at offset at, with all up to high behind it; low <= at <= high. */
static inline uint8_t *tm_slide_at(const struct tm_slide *s, uint64_t at)
{
    TM_ASSERT(at >= s->low && at <= s->high);
    return s->mem + (at - s->base);
}

/* Lets go of what lies before low (which does not go back; it may pass high, if all goes). */
static inline void tm_slide_drop(struct tm_slide *s, uint64_t low)
{
    TM_ASSERT(low >= s->low);
    s->low = low;
    if (low >= s->high) {
        s->high = low;
        s->base = low;
    }
}

/* Gives memory back if nothing is held and there is more than keep bytes of it. */
void tm_slide_trim(struct tm_slide *s, size_t keep);

#endif
