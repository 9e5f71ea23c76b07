/* Reading again what is at rest.  A cursor goes through the segments, a piece at a time; each block
 * that is durable is decoded as recovery would do it.  In a closed segment they end with its last
 * sequence, in the current one before the first block that is not durable.
 *
 * Where no block verifies the same place is read once more, for the device may have erred; then a
 * run of bad pages goes on to the next block that verifies, and is told as a whole.  What lay there
 * and whether anybody needs it is not known here. */
#include <stdlib.h>

#include "storage/wal_internal.h"

#define PIECE_LEAST (64u << 10)
#define PIECE_MOST  (256u << 10)
#define NOWHERE     UINT64_MAX

/* How far the segment may be read: what is durable of it. */
static uint64_t limit_of(const struct tm_wal *wal, unsigned volume,
                         const struct tm_wal_segment *segment)
{
    if (volume == 0 && segment == &wal->segments[wal->current]) {
        uint64_t limit = wal->offset;
        for (uint64_t s = wal->head; s < wal->next; s++) {
            const struct tm_wal_buffer *b = &wal->ring[s % wal->buffer_count];
            if (b->segment == segment->id)
                limit = tm_min_u64(limit, b->offset);
        }
        return limit;
    }
    bool durable =
        segment->last_sequence != 0 && (volume != 0 || segment->last_sequence <= wal->durable);
    return durable ? segment->bytes : 0;
}

static void begin_segment(struct tm_wal_scrub *s, uint64_t id)
{
    s->segment = id;
    s->offset = 0;
    s->doubt = s->bad_from = NOWHERE;
}

/* The segment that the cursor stands in, or the next one that has something; NULL: the end. */
static struct tm_wal_segment *stand(struct tm_wal *wal, struct tm_wal_scrub *s)
{
    for (; s->volume == 0 || s->volume < wal->volume_count; s->volume++, begin_segment(s, 0)) {
        struct tm_wal_segment *list =
            s->volume == 0 ? wal->segments : wal->volumes[s->volume].segments;
        unsigned count = s->volume == 0 ? wal->current + 1 : wal->volumes[s->volume].count;
        for (unsigned i = 0; i < count; i++) {
            if (list[i].id < s->segment)
                continue;
            if (list[i].id > s->segment)
                begin_segment(s, list[i].id);
            if (s->offset < limit_of(wal, s->volume, &list[i]))
                return &list[i];
        }
    }
    return NULL;
}

static void tell_bad(struct tm_wal_scrub *s, uint64_t to)
{
    if (s->bad_from != NOWHERE)
        s->bad(s, s->bad_from, to);
    s->bad_from = NOWHERE;
}

/* The block at `at` of the piece.  Its size; 0: none verifies; UINT64_MAX: it is not all here. */
static uint64_t look(struct tm_wal_scrub *s, const struct tm_wal_segment *segment, uint64_t at,
                     uint64_t len, uint64_t *sequence)
{
    struct tm_wal *wal = s->wal;
    struct tm_wal_block header;
    const uint8_t *image = s->image + at;
    uint64_t offset = s->offset + at;
    if (tm_wal_block_header(image, segment->id, offset, s->limit - offset, &header) != TM_OK)
        return 0;
    if (header.disk_bytes > len - at) {
        s->wanted = header.disk_bytes;
        return UINT64_MAX;
    }
    if (!tm_wal_grow_stream(wal, header.length) ||
        tm_wal_block_decode(image, &header, wal->stream) != TM_OK)
        return 0;
    *sequence = header.sequence;
    return header.disk_bytes;
}

/* No block verifies at s->offset + at.  False: it is to be read once more. */
static bool pass_bad(struct tm_wal_scrub *s, uint64_t at)
{
    uint64_t offset = s->offset + at;
    if (s->bad_from != NOWHERE)
        return true;
    if (s->doubt != offset) {
        s->doubt = offset;
        return false;
    }
    s->bad_from = offset;
    return true;
}

/* Verifies the piece and moves the cursor on. */
static void verify(struct tm_wal_scrub *s, struct tm_wal_segment *segment, uint64_t len)
{
    uint64_t at = 0, sequence = 0;
    bool last = false;
    s->wanted = 0;
    while (at + TM_WAL_PAGE <= len && !last) {
        uint64_t bytes = look(s, segment, at, len, &sequence);
        if (bytes == UINT64_MAX || (bytes == 0 && !pass_bad(s, at)))
            break;
        segment->bad |= bytes == 0;
        if (bytes != 0) {
            tell_bad(s, s->offset + at);
            last = segment->last_sequence == sequence && s->limit == segment->bytes;
        }
        at += bytes != 0 ? bytes : TM_WAL_PAGE;
    }
    s->offset += at;
    if (last || s->offset >= s->limit) {
        tell_bad(s, s->offset);
        begin_segment(s, s->segment + 1);
    }
}

static void read_done(struct tm_disk_op *op)
{
    struct tm_wal_scrub *s = op->owner;
    struct tm_wal *wal = s->wal;
    struct tm_wal_segment *segment = tm_wal_leave_segment(wal, s->volume, s->segment);
    uint64_t len = op->len, got = op->result < 0 ? 0 : (uint64_t)op->result;
    memset(s->image + got, 0xff, len - got); /* what cannot be read is like bytes that are wrong */
    if (segment != NULL)
        verify(s, segment, len);
    else
        begin_segment(s, s->segment + 1);
    s->busy = false;
    s->done(s, len);
}

enum tm_err tm_wal_scrub(struct tm_wal *wal, struct tm_wal_scrub *s, uint64_t bytes)
{
    if (s->segment == 0 && s->volume == 0)
        begin_segment(s, 1);
    struct tm_wal_segment *segment = stand(wal, s);
    if (segment == NULL) {
        s->volume = 0;
        s->segment = 0;
        return TM_ERR_NOTFOUND;
    }
    s->limit = limit_of(wal, s->volume, segment);
    bytes = tm_max_u64(tm_min_u64(tm_max_u64(bytes, PIECE_LEAST), PIECE_MOST), s->wanted);
    bytes = tm_min_u64(tm_align_up(bytes, TM_WAL_PAGE), s->limit - s->offset);
    if (bytes > s->cap) {
        free(s->image);
        s->image = aligned_alloc(TM_WAL_PAGE, bytes);
        s->cap = s->image == NULL ? 0 : bytes;
    }
    if (s->image == NULL)
        return TM_ERR_NOMEM;
    s->wal = wal;
    s->busy = true;
    segment->readers++;
    s->op = (struct tm_disk_op){.kind = TM_DISK_READ,
                                .file = segment->file,
                                .buf = s->image,
                                .len = (uint32_t)bytes,
                                .offset = s->offset,
                                .done = read_done,
                                .owner = s};
    wal->disk->submit(wal->disk, &s->op);
    return TM_OK;
}

void tm_wal_scrub_free(struct tm_wal_scrub *s)
{
    free(s->image);
    *s = (struct tm_wal_scrub){0};
}
