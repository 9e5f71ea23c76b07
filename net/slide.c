/* slide.c: moving and growing the array of a tm_slide.
 *
 * Reserve usually finds room behind what is held.  If not: while more than half of the array
 * would be in use it doubles, else the held bytes move to the front; as they are at most half, a
 * move pays for at least as many bytes that passed. */
#include "net/slide.h"

#include <stdlib.h>

#define SLIDE_FIRST ((size_t)64 << 10)

void tm_slide_init(struct tm_slide *s, size_t limit)
{
    *s = (struct tm_slide){.limit = limit};
}

void tm_slide_free(struct tm_slide *s)
{
    free(s->mem);
    *s = (struct tm_slide){0};
}

void tm_slide_reset(struct tm_slide *s)
{
    s->base = s->low = s->high = 0;
}

static enum tm_err grow(struct tm_slide *s, size_t need)
{
    size_t size = s->size == 0 ? SLIDE_FIRST : s->size;
    while (size < need)
        size *= 2;
    if (size > s->limit)
        size = s->limit;
    uint8_t *mem = malloc(size);
    if (mem == NULL)
        return TM_ERR_NOMEM;
    if (s->high > s->low)
        memcpy(mem, tm_slide_at(s, s->low), (size_t)(s->high - s->low));
    free(s->mem);
    s->mem = mem;
    s->size = size;
    s->base = s->low;
    return TM_OK;
}

enum tm_err tm_slide_reserve(struct tm_slide *s, uint64_t end)
{
    if (end > s->base + s->size) {
        uint64_t span = end - s->low;
        TM_ASSERT(span <= s->limit / 2);
        if (2 * span > s->size) {
            enum tm_err err = grow(s, (size_t)(2 * span));
            if (err != TM_OK)
                return err;
        } else {
            memmove(s->mem, tm_slide_at(s, s->low), (size_t)(s->high - s->low));
            s->base = s->low;
        }
    }
    if (end > s->high)
        s->high = end;
    return TM_OK;
}

void tm_slide_trim(struct tm_slide *s, size_t keep)
{
    if (s->high > s->low || s->size <= keep)
        return;
    free(s->mem);
    s->mem = NULL;
    s->size = 0;
    s->base = s->low;
}
