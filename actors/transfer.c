#include "actors/transfer.h"

#define PAGE 4096 /* a chunk takes one of these at least */

/* The head of the body; the note and the chunk follow. */
struct head {
    uint32_t partition;
    uint32_t note_len;
    uint64_t walked_from;
    uint64_t walked_to;
    uint64_t term;
    uint64_t hash;
    uint64_t items;
    uint64_t chunks;
    uint64_t bytes;
    uint8_t cluster[16];
};
TM_STATIC_ASSERT(sizeof(struct head) == TM_TRANSFER_HEAD_SIZE, "frozen on the wire");
TM_STATIC_ASSERT(8 + TM_MEMBERS_SIZE_MAX <= TM_SNAPSHOT_NOTE_MAX, "the note holds all members");

void tm_transfer_note(const struct tm_members *m, struct tm_snapshot_info *info)
{
    memset(info->note, 0, sizeof info->note);
    tm_store64(info->note, m->index);
    tm_members_encode(m, info->note + 8);
    info->note_len = (uint32_t)(8 + TM_MEMBERS_SIZE(m->count));
}

enum tm_err tm_transfer_members(const struct tm_snapshot_info *info, struct tm_members *m)
{
    enum tm_err e = TM_ERR_CORRUPT;
    if (info->note_len > 8 && info->note_len <= TM_SNAPSHOT_NOTE_MAX &&
        tm_load64(info->note) <= info->walked_from)
        e = tm_members_decode(tm_bytes_of(info->note + 8, info->note_len - 8), m);
    if (e != TM_OK)
        *m = (struct tm_members){0};
    else
        m->index = tm_load64(info->note);
    return e;
}

size_t tm_transfer_encode(const struct tm_snapshot_info *info, uint8_t *out)
{
    struct head h = {.partition = info->partition,
                     .note_len = info->note_len,
                     .walked_from = info->walked_from,
                     .walked_to = info->walked_to,
                     .term = info->term,
                     .hash = info->hash,
                     .items = info->items,
                     .chunks = info->chunks,
                     .bytes = info->bytes};
    memcpy(h.cluster, info->cluster, 16);
    memcpy(out, &h, sizeof h);
    size_t padded = tm_align_up(info->note_len, 8);
    memcpy(out + sizeof h, info->note, padded);
    return sizeof h + padded;
}

static bool may_be(const struct head *h, uint32_t partition)
{
    return h->partition == partition && h->walked_from >= 1 && h->term >= 1 &&
           h->walked_to >= h->walked_from && h->chunks >= 1 && h->chunks <= UINT32_MAX &&
           h->items >= h->chunks && h->bytes / PAGE >= h->chunks;
}

enum tm_err tm_transfer_decode(struct tm_bytes body, uint32_t partition,
                               struct tm_snapshot_info *info, struct tm_bytes *chunk)
{
    struct head h;
    struct tm_members m;
    if (body.len < sizeof h)
        return TM_ERR_CORRUPT;
    memcpy(&h, body.data, sizeof h);
    size_t padded = tm_align_up(h.note_len, 8);
    if (!may_be(&h, partition) || h.note_len > TM_SNAPSHOT_NOTE_MAX || body.len < sizeof h + padded)
        return TM_ERR_CORRUPT;
    *info = (struct tm_snapshot_info){.partition = h.partition,
                                      .walked_from = h.walked_from,
                                      .walked_to = h.walked_to,
                                      .term = h.term,
                                      .hash = h.hash,
                                      .note_len = h.note_len,
                                      .items = h.items,
                                      .chunks = h.chunks,
                                      .bytes = h.bytes};
    memcpy(info->cluster, h.cluster, 16);
    memcpy(info->note, body.data + sizeof h, h.note_len);
    *chunk = tm_bytes_of(body.data + sizeof h + padded, body.len - sizeof h - padded);
    return tm_transfer_members(info, &m);
}
