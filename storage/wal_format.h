/* wal_format.h: the bytes of a WAL block.
 *
 * A block is a multiple of 4096 bytes at a multiple of 4096 in its segment.  Each of its 512-byte
 * sectors has 504 bytes of content and an 8-byte stamp {u32 low half of the block's sequence,
 * u32 checksum of content, sequence and place in the segment}: so one can tell of each sector by
 * itself whether it belongs to this write, to an older one, or is damaged.  The contents of all
 * sectors, joined, are the block's *stream*:
 *
 *     struct tm_wal_block, own_spans × struct tm_wal_span, prev_spans × struct tm_wal_span
 *     (what the block before it held), then records, each a multiple of 8 bytes
 *
 * and zeros to the end.  Header and payload checksums are seeded with segment and offset, so that
 * a block found elsewhere (misdirected, or left from the segment's earlier life) is not valid.
 * Little-endian, frozen by asserts.  Pure functions; any thread. */
#ifndef TM_STORAGE_WAL_FORMAT_H
#define TM_STORAGE_WAL_FORMAT_H

#include "runtime/base.h"
#include "storage/wal.h"

#define TM_WAL_MAGIC       0x4b4c424c41574d54ull /* "TMWALBLK" */
#define TM_WAL_FORMAT      1u
#define TM_WAL_PAGE        4096u
#define TM_WAL_SECTOR      512u
#define TM_WAL_SECTOR_DATA 504u
#define TM_WAL_SEGMENT_MAX (1u << 30)

enum tm_wal_block_flags {
    TM_WAL_BLOCK_OPENING = 1 << 0, /* the first block of a start */
    TM_WAL_BLOCK_MARKER = 1 << 1,  /* written when idle, to make the durable point known */
    TM_WAL_BLOCK_CLOSED = 1 << 2   /* the last block: nothing else was under way */
};

struct tm_wal_block {
    uint64_t magic;
    uint32_t format;
    uint32_t flags;
    uint8_t cluster[16];
    uint64_t disk_id;
    uint64_t incarnation;
    uint32_t generation;
    uint32_t worker;
    uint64_t segment;
    uint64_t offset;
    uint64_t sequence;
    uint64_t prev_sequence; /* sequence - 1, except where a start left a gap */
    uint8_t prev_hash[16];  /* of the whole block prev_sequence, 0 if there is none */
    /* This start's first sequence, and the last one accepted before it: what lies between was
     * never acknowledged, and is dead. */
    uint64_t life_first;
    uint64_t life_prev;
    uint64_t durable;       /* the highest contiguous sequence known durable at submission */
    uint64_t first_segment; /* the lowest that was still needed */
    uint32_t length;        /* of the stream */
    uint32_t disk_bytes;    /* of the block */
    uint32_t own_spans;
    uint32_t prev_spans;
    uint32_t records;
    uint32_t zero;
    uint64_t payload_checksum; /* XXH3-64 of the stream after the header */
    uint64_t header_checksum;  /* XXH3-64 of the header with this field zero */
};
TM_STATIC_ASSERT(sizeof(struct tm_wal_block) == 176, "frozen");
TM_STATIC_ASSERT(sizeof(struct tm_wal_block) <= TM_WAL_SECTOR_DATA, "a header is in one sector");
TM_STATIC_ASSERT(offsetof(struct tm_wal_block, segment) == 56, "frozen");
TM_STATIC_ASSERT(offsetof(struct tm_wal_block, prev_hash) == 88, "frozen");
TM_STATIC_ASSERT(offsetof(struct tm_wal_block, durable) == 120, "frozen");
TM_STATIC_ASSERT(offsetof(struct tm_wal_block, header_checksum) == 168, "frozen");
TM_STATIC_ASSERT(sizeof(struct tm_wal_span) == 40, "frozen");

/* Bytes on disk of a block whose stream has `length` bytes. */
static inline uint64_t tm_wal_disk_bytes_of(uint64_t length)
{
    uint64_t sectors = (length + TM_WAL_SECTOR_DATA - 1) / TM_WAL_SECTOR_DATA;
    return tm_align_up(sectors * TM_WAL_SECTOR, TM_WAL_PAGE);
}

static inline uint64_t tm_wal_stream_bytes(uint64_t records, uint64_t spans)
{
    return sizeof(struct tm_wal_block) + spans * sizeof(struct tm_wal_span) + records;
}

/* Lays a block into image (4096-aligned, at least tm_wal_disk_bytes_of its stream): completes
 * header (magic, format, length, disk_bytes, checksums; all else is the caller's) and stamps
 * every sector.  `own` and `prev` have header->own_spans and header->prev_spans entries. */
void tm_wal_block_encode(uint8_t *image, struct tm_wal_block *header, const struct tm_wal_span *own,
                         const struct tm_wal_span *prev, struct tm_bytes records);

/* The header at image (at least 512 bytes), if it is one for (segment, offset): TM_OK,
 * TM_ERR_VERSION, TM_ERR_CORRUPT.  Lengths have been checked against `limit`, the bytes from there
 * to the end of the segment; and that what it says of sequences and segments before it can be: one
 * that gives up its own segment, say, would take all blocks there with it. */
enum tm_err tm_wal_block_header(const uint8_t *image, uint64_t segment, uint64_t offset,
                                uint64_t limit, struct tm_wal_block *out);

/* Verifies the whole block under `header` (as tm_wal_block_header gave it) and joins its stream
 * into `stream` (header->length bytes, 8-aligned).  TM_OK or TM_ERR_CORRUPT. */
enum tm_err tm_wal_block_decode(const uint8_t *image, const struct tm_wal_block *header,
                                uint8_t *stream);

/* Parts of a decoded stream. */
const struct tm_wal_span *tm_wal_block_own(const uint8_t *stream);
const struct tm_wal_span *tm_wal_block_prev(const uint8_t *stream);
struct tm_bytes tm_wal_block_records(const uint8_t *stream);

/* Takes the next record off the front of `rest`; false at the end, or if what is left is no
 * record (its length says nonsense: then `rest` keeps bytes). */
bool tm_wal_record_next(struct tm_bytes *rest, struct tm_bytes *record);

/* The hash that the next block carries as prev_hash. */
void tm_wal_block_hash(const uint8_t *image, uint32_t disk_bytes, uint8_t out[16]);

enum tm_wal_sector_state {
    TM_WAL_SECTOR_EMPTY,   /* zeros: never written */
    TM_WAL_SECTOR_STAMPED, /* wholly of the block whose sequence has this low half */
    TM_WAL_SECTOR_BAD
};

/* Judges the sector at `offset` in its segment. */
enum tm_wal_sector_state tm_wal_sector_judge(const uint8_t *sector, uint64_t offset,
                                             uint32_t *sequence_low);

/* Places: 8 bits volume, 18 bits of the segment, 18 bits page of the block, 20 bits of the
 * record's offset among the block's records in units of 8.  Segment ids skip multiples of 2^18, so
 * that no place is 0. */
#define TM_WAL_SEGMENT_MASK       0x3ffffull
#define TM_WAL_PLACE_BLOCK(place) ((place) >> 20) /* the same for all records of one block */
static inline tm_wal_place tm_wal_place_make(unsigned volume, uint64_t segment, uint64_t offset,
                                             uint64_t record_offset)
{
    return (uint64_t)volume << 56 | (segment & TM_WAL_SEGMENT_MASK) << 38 |
           (offset / TM_WAL_PAGE) << 20 | record_offset / 8;
}
static inline unsigned tm_wal_place_volume(tm_wal_place place)
{
    return (unsigned)(place >> 56);
}
static inline uint64_t tm_wal_place_segment(tm_wal_place place) /* low 18 bits */
{
    return place >> 38 & TM_WAL_SEGMENT_MASK;
}
static inline uint64_t tm_wal_place_offset(tm_wal_place place)
{
    return (place >> 20 & 0x3ffff) * TM_WAL_PAGE;
}
static inline uint64_t tm_wal_place_record(tm_wal_place place)
{
    return (place & 0xfffff) * 8;
}

#define TM_WAL_NAME_MAX 128

/* File names, written into `out`, which has room for TM_WAL_NAME_MAX bytes; folder has fewer than
 * 64.  The generation's folder, a segment, a segment that is being made, one kept for reuse, the
 * hard state. */
void tm_wal_name_generation(char *out, const char *folder, uint32_t generation);
/* As above. */
void tm_wal_name_segment(char *out, const char *folder, uint32_t generation, uint32_t worker,
                         uint64_t segment);
/* As above. */
void tm_wal_name_new(char *out, const char *folder, uint32_t generation, uint32_t worker);
/* As above. */
void tm_wal_name_spare(char *out, const char *folder, uint32_t generation, uint32_t worker,
                       uint64_t number);
/* As above. */
void tm_wal_name_hard(char *out, const char *folder, uint32_t generation, uint32_t worker);

/* Reads a segment's or a spare's file name (without folder); false: it is none. */
bool tm_wal_name_parse(const char *name, uint32_t *worker, uint64_t *segment);
bool tm_wal_name_parse_spare(const char *name, uint32_t *worker, uint64_t *number);

#endif
