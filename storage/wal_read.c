/* Verified reads.  A slot reads the beginning of the block; if its header says that it is longer,
 * the slot's buffer grows and the whole is read again; then the block is decoded and the records
 * from the wanted place on are handed over.  A segment that is given up meanwhile keeps its file
 * until its readers are done, and the read ends with NOTFOUND: its bytes may be new ones. */
#include <stdlib.h>

#include "storage/wal_internal.h"

#define READ_FIRST (64u << 10)

struct tm_wal_segment *tm_wal_find_segment(struct tm_wal *wal, unsigned volume, uint64_t low)
{
    struct tm_wal_segment *list = wal->segments;
    unsigned count = wal->current + 1;
    if (volume != 0) {
        if (volume >= wal->volume_count)
            return NULL;
        list = wal->volumes[volume].segments;
        count = wal->volumes[volume].count;
    }
    for (unsigned i = 0; i < count; i++)
        if ((list[i].id & TM_WAL_SEGMENT_MASK) == low)
            return &list[i];
    return NULL;
}

struct tm_wal_segment *tm_wal_leave_segment(struct tm_wal *wal, unsigned volume, uint64_t id)
{
    struct tm_wal_segment *held = tm_wal_find_segment(wal, volume, id & TM_WAL_SEGMENT_MASK);
    if (held != NULL && held->id == id) {
        held->readers--;
        return held;
    }
    for (unsigned i = 0; volume == 0 && i < wal->doomed_count; i++)
        if (wal->doomed[i].id == id)
            wal->doomed[i].readers--;
    tm_wal_work(wal);
    return NULL;
}

static void finish(struct tm_wal_read_slot *slot, enum tm_err err)
{
    struct tm_wal_read *read = slot->read;
    slot->read = NULL;
    read->done(read, err);
}

bool tm_wal_grow_stream(struct tm_wal *wal, uint64_t bytes)
{
    if (bytes <= wal->stream_cap)
        return true;
    free(wal->stream);
    wal->stream = aligned_alloc(TM_WAL_PAGE, tm_align_up(bytes, TM_WAL_PAGE));
    wal->stream_cap = wal->stream == NULL ? 0 : bytes;
    return wal->stream != NULL;
}

static bool grow_image(struct tm_wal_read_slot *slot, uint32_t bytes)
{
    if (bytes <= slot->cap)
        return true;
    free(slot->image);
    slot->image = aligned_alloc(TM_WAL_PAGE, bytes);
    slot->cap = slot->image == NULL ? 0 : bytes;
    return slot->image != NULL;
}

static void deliver(struct tm_wal_read_slot *slot, const struct tm_wal_block *header)
{
    struct tm_wal_read *read = slot->read;
    struct tm_bytes all = tm_wal_block_records(slot->wal->stream), rest = all, record;
    uint64_t from = tm_wal_place_record(read->place);
    while (tm_wal_record_next(&rest, &record)) {
        uint64_t at = (uint64_t)(record.data - all.data);
        if (at >= from &&
            !read->record(read, record,
                          tm_wal_place_make(slot->volume, header->segment, header->offset, at)))
            return;
    }
}

static void read_more(struct tm_wal_read_slot *slot, uint32_t bytes)
{
    slot->wanted = bytes;
    slot->op.buf = slot->image;
    slot->op.len = bytes;
    slot->wal->disk->submit(slot->wal->disk, &slot->op);
}

static void read_done(struct tm_disk_op *op)
{
    struct tm_wal_read_slot *slot = op->owner;
    struct tm_wal *wal = slot->wal;
    uint64_t offset = tm_wal_place_offset(slot->read->place);
    struct tm_wal_block header;
    enum tm_err err = TM_ERR_IO;
    if (op->result == (int64_t)slot->wanted)
        err = tm_wal_block_header(slot->image, slot->segment, offset, TM_WAL_SEGMENT_MAX, &header);
    if (err == TM_OK && header.disk_bytes > slot->wanted) {
        if (grow_image(slot, header.disk_bytes)) {
            read_more(slot, header.disk_bytes);
            return;
        }
        err = TM_ERR_NOMEM;
    }
    struct tm_wal_segment *segment = tm_wal_leave_segment(wal, slot->volume, slot->segment);
    if (segment == NULL) {
        finish(slot, TM_ERR_NOTFOUND);
        return;
    }
    if (err == TM_OK && !tm_wal_grow_stream(wal, header.length))
        err = TM_ERR_NOMEM;
    if (err == TM_OK)
        err = tm_wal_block_decode(slot->image, &header, wal->stream);
    segment->bad |= err == TM_ERR_CORRUPT || err == TM_ERR_IO;
    if (err == TM_OK)
        deliver(slot, &header);
    finish(slot, err);
}

enum tm_err tm_wal_read(struct tm_wal *wal, struct tm_wal_read *read)
{
    unsigned volume = tm_wal_place_volume(read->place);
    uint64_t offset = tm_wal_place_offset(read->place);
    struct tm_wal_segment *segment =
        tm_wal_find_segment(wal, volume, tm_wal_place_segment(read->place));
    if (segment == NULL || read->place == 0)
        return TM_ERR_NOTFOUND;
    for (uint64_t s = wal->head; volume == 0 && s < wal->next; s++) {
        const struct tm_wal_buffer *b = &wal->ring[s % wal->buffer_count];
        if (b->segment == segment->id && b->offset == offset)
            return TM_ERR_AGAIN;
    }
    struct tm_wal_read_slot *slot = wal->slots;
    while (slot < wal->slots + TM_WAL_READS && slot->read != NULL)
        slot++;
    if (slot == wal->slots + TM_WAL_READS)
        return TM_ERR_FULL;
    if (!grow_image(slot, READ_FIRST))
        return TM_ERR_NOMEM;
    slot->wal = wal;
    slot->read = read;
    slot->volume = volume;
    slot->segment = segment->id;
    segment->readers++;
    slot->op = (struct tm_disk_op){.kind = TM_DISK_READ,
                                   .file = segment->file,
                                   .offset = offset,
                                   .done = read_done,
                                   .owner = slot};
    read_more(slot, (uint32_t)tm_min_u64(READ_FIRST, segment->bytes - offset));
    return TM_OK;
}
