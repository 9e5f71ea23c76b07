/* A block is laid out sector by sector: the pieces of its stream are copied into the 504-byte
 * contents, then each sector gets its stamp.  Decoding goes the other way and checks, from the
 * cheap to the dear: header checksum, lengths, every sector's stamp, the payload checksum. */
#include "storage/wal_format.h"

#include <inttypes.h>
#include <stdio.h>

#define XXH_INLINE_ALL /* a sector's sum costs less than the call into the library */
#include <xxhash.h>

#include "storage/record.h"

static uint64_t place_seed(uint64_t segment, uint64_t offset)
{
    return segment * 0x9e3779b97f4a7c15ull ^ offset;
}

static uint32_t stamp_of(const uint8_t *sector, uint32_t sequence_low, uint64_t offset)
{
    uint64_t seed = (uint64_t)sequence_low << 32 | offset / TM_WAL_SECTOR;
    return (uint32_t)XXH3_64bits_withSeed(sector, TM_WAL_SECTOR_DATA, seed);
}

static uint64_t header_sum(const struct tm_wal_block *header)
{
    struct tm_wal_block h = *header;
    h.header_checksum = 0;
    return XXH3_64bits_withSeed(&h, sizeof h, place_seed(h.segment, h.offset));
}

/* Copies bytes to position `at` of the stream that is laid into image; returns the position
 * after them. */
static uint64_t lay(uint8_t *image, uint64_t at, const void *bytes, uint64_t len)
{
    const uint8_t *from = bytes;
    while (len > 0) {
        uint64_t in_sector = at % TM_WAL_SECTOR_DATA;
        uint64_t n = tm_min_u64(len, TM_WAL_SECTOR_DATA - in_sector);
        memcpy(image + at / TM_WAL_SECTOR_DATA * TM_WAL_SECTOR + in_sector, from, n);
        from += n;
        at += n;
        len -= n;
    }
    return at;
}

static void lay_zeros(uint8_t *image, uint64_t at, uint64_t disk_bytes)
{
    uint64_t end = disk_bytes / TM_WAL_SECTOR * TM_WAL_SECTOR_DATA;
    while (at < end) {
        uint64_t in_sector = at % TM_WAL_SECTOR_DATA;
        uint64_t n = TM_WAL_SECTOR_DATA - in_sector;
        memset(image + at / TM_WAL_SECTOR_DATA * TM_WAL_SECTOR + in_sector, 0, n);
        at += n;
    }
}

static void stamp_all(uint8_t *image, const struct tm_wal_block *header)
{
    uint32_t low = (uint32_t)header->sequence;
    for (uint32_t at = 0; at < header->disk_bytes; at += TM_WAL_SECTOR) {
        tm_store32(image + at + TM_WAL_SECTOR_DATA, low);
        tm_store32(image + at + TM_WAL_SECTOR_DATA + 4,
                   stamp_of(image + at, low, header->offset + at));
    }
}

void tm_wal_block_encode(uint8_t *image, struct tm_wal_block *header, const struct tm_wal_span *own,
                         const struct tm_wal_span *prev, struct tm_bytes records)
{
    struct {
        const void *data;
        uint64_t len;
    } pieces[] = {{own, header->own_spans * sizeof *own},
                  {prev, header->prev_spans * sizeof *prev},
                  {records.data, records.len}};
    uint64_t length =
        tm_wal_stream_bytes(records.len, (uint64_t)header->own_spans + header->prev_spans);
    header->magic = TM_WAL_MAGIC;
    header->format = TM_WAL_FORMAT;
    header->length = (uint32_t)length;
    header->disk_bytes = (uint32_t)tm_wal_disk_bytes_of(length);
    XXH3_state_t sum;
    XXH3_INITSTATE(&sum); /* else one left on the stack, of the same seed, passes for initialised */
    XXH3_64bits_reset_withSeed(&sum, place_seed(header->segment, header->offset));
    uint64_t at = sizeof *header;
    for (unsigned i = 0; i < TM_ARRAY_LEN(pieces); i++) {
        if (pieces[i].len == 0)
            continue;
        XXH3_64bits_update(&sum, pieces[i].data, pieces[i].len);
        at = lay(image, at, pieces[i].data, pieces[i].len);
    }
    TM_ASSERT(at == length);
    header->payload_checksum = XXH3_64bits_digest(&sum);
    header->header_checksum = header_sum(header);
    lay(image, 0, header, sizeof *header);
    lay_zeros(image, length, header->disk_bytes);
    stamp_all(image, header);
}

/* Whether a block can say that of what was before it. */
static bool is_possible(const struct tm_wal_block *h)
{
    uint64_t prev = h->sequence == h->life_first ? h->life_prev : h->sequence - 1;
    return h->life_prev < h->life_first && h->life_first <= h->sequence &&
           h->prev_sequence == prev && h->durable < h->sequence && h->first_segment <= h->segment;
}

enum tm_err tm_wal_block_header(const uint8_t *image, uint64_t segment, uint64_t offset,
                                uint64_t limit, struct tm_wal_block *out)
{
    memcpy(out, image, sizeof *out);
    if (out->magic != TM_WAL_MAGIC || out->segment != segment || out->offset != offset)
        return TM_ERR_CORRUPT;
    if (out->header_checksum != header_sum(out))
        return TM_ERR_CORRUPT;
    if (out->format != TM_WAL_FORMAT)
        return TM_ERR_VERSION;
    uint64_t spans = (uint64_t)out->own_spans + out->prev_spans;
    if (out->disk_bytes > limit || out->disk_bytes != tm_wal_disk_bytes_of(out->length) ||
        out->length < tm_wal_stream_bytes(0, spans))
        return TM_ERR_CORRUPT;
    return is_possible(out) ? TM_OK : TM_ERR_CORRUPT;
}

enum tm_err tm_wal_block_decode(const uint8_t *image, const struct tm_wal_block *header,
                                uint8_t *stream)
{
    uint64_t at = 0;
    for (uint32_t s = 0; s < header->disk_bytes; s += TM_WAL_SECTOR) {
        uint32_t low;
        if (tm_wal_sector_judge(image + s, header->offset + s, &low) != TM_WAL_SECTOR_STAMPED ||
            low != (uint32_t)header->sequence)
            return TM_ERR_CORRUPT;
        uint64_t n = tm_min_u64(TM_WAL_SECTOR_DATA, header->length - at);
        memcpy(stream + at, image + s, n);
        at += n;
    }
    uint64_t sum = XXH3_64bits_withSeed(stream + sizeof *header, header->length - sizeof *header,
                                        place_seed(header->segment, header->offset));
    return sum == header->payload_checksum ? TM_OK : TM_ERR_CORRUPT;
}

const struct tm_wal_span *tm_wal_block_own(const uint8_t *stream)
{
    return (const void *)(stream + sizeof(struct tm_wal_block));
}

const struct tm_wal_span *tm_wal_block_prev(const uint8_t *stream)
{
    const struct tm_wal_block *header = (const void *)stream;
    return tm_wal_block_own(stream) + header->own_spans;
}

struct tm_bytes tm_wal_block_records(const uint8_t *stream)
{
    const struct tm_wal_block *header = (const void *)stream;
    uint64_t front = tm_wal_stream_bytes(0, (uint64_t)header->own_spans + header->prev_spans);
    return tm_bytes_of(stream + front, header->length - front);
}

bool tm_wal_record_next(struct tm_bytes *rest, struct tm_bytes *record)
{
    if (rest->len < sizeof(struct tm_record))
        return false;
    uint32_t len = tm_load32(rest->data);
    if (len < sizeof(struct tm_record) || len % 8 != 0 || len > rest->len)
        return false;
    *record = tm_bytes_of(rest->data, len);
    *rest = tm_bytes_of(rest->data + len, rest->len - len);
    return true;
}

void tm_wal_block_hash(const uint8_t *image, uint32_t disk_bytes, uint8_t out[16])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(image, disk_bytes));
    memcpy(out, canonical.digest, 16);
}

static bool all_zero(const uint8_t *p)
{
    uint64_t any = 0;
    for (unsigned i = 0; i < TM_WAL_SECTOR; i += 8)
        any |= tm_load64(p + i);
    return any == 0;
}

enum tm_wal_sector_state tm_wal_sector_judge(const uint8_t *sector, uint64_t offset,
                                             uint32_t *sequence_low)
{
    uint32_t low = tm_load32(sector + TM_WAL_SECTOR_DATA);
    *sequence_low = low;
    if (tm_load32(sector + TM_WAL_SECTOR_DATA + 4) == stamp_of(sector, low, offset))
        return TM_WAL_SECTOR_STAMPED;
    return all_zero(sector) ? TM_WAL_SECTOR_EMPTY : TM_WAL_SECTOR_BAD;
}

void tm_wal_name_generation(char *out, const char *folder, uint32_t generation)
{
    int n = snprintf(out, TM_WAL_NAME_MAX, "%s/g%04" PRIu32, folder, generation);
    TM_ASSERT(n > 0 && n < TM_WAL_NAME_MAX);
}

void tm_wal_name_segment(char *out, const char *folder, uint32_t generation, uint32_t worker,
                         uint64_t segment)
{
    int n = snprintf(out, TM_WAL_NAME_MAX, "%s/g%04" PRIu32 "/w%02" PRIu32 "-%08" PRIu64 ".seg",
                     folder, generation, worker, segment);
    TM_ASSERT(n > 0 && n < TM_WAL_NAME_MAX);
}

void tm_wal_name_new(char *out, const char *folder, uint32_t generation, uint32_t worker)
{
    int n = snprintf(out, TM_WAL_NAME_MAX, "%s/g%04" PRIu32 "/w%02" PRIu32 ".new", folder,
                     generation, worker);
    TM_ASSERT(n > 0 && n < TM_WAL_NAME_MAX);
}

void tm_wal_name_spare(char *out, const char *folder, uint32_t generation, uint32_t worker,
                       uint64_t number)
{
    int n = snprintf(out, TM_WAL_NAME_MAX, "%s/g%04" PRIu32 "/w%02" PRIu32 "-%08" PRIu64 ".spare",
                     folder, generation, worker, number);
    TM_ASSERT(n > 0 && n < TM_WAL_NAME_MAX);
}

void tm_wal_name_hard(char *out, const char *folder, uint32_t generation, uint32_t worker)
{
    int n = snprintf(out, TM_WAL_NAME_MAX, "%s/g%04" PRIu32 "/w%02" PRIu32 ".hard", folder,
                     generation, worker);
    TM_ASSERT(n > 0 && n < TM_WAL_NAME_MAX);
}

bool tm_wal_name_parse(const char *name, uint32_t *worker, uint64_t *segment)
{
    int end = 0;
    if (sscanf(name, "w%" SCNu32 "-%" SCNu64 ".seg%n", worker, segment, &end) != 2)
        return false;
    return end > 0 && name[end] == '\0';
}

bool tm_wal_name_parse_spare(const char *name, uint32_t *worker, uint64_t *number)
{
    int end = 0;
    if (sscanf(name, "w%" SCNu32 "-%" SCNu64 ".spare%n", worker, number, &end) != 2)
        return false;
    return end > 0 && name[end] == '\0';
}
