/* The checksum says that the bytes are those that were written; that they make a chain of records
 * is checked all the same, since whoever merges them relies on it. */
#include "actors/offer_image.h"

#include "runtime/hash.h"

#include <inttypes.h>
#include <stdio.h>

static uint64_t checksum_of(const struct tm_offer_head *head, const uint8_t *image)
{
    struct tm_offer_head h = *head;
    h.checksum = 0;
    const struct tm_bytes pieces[] = {tm_bytes_of(&h, sizeof h),
                                      tm_bytes_of(image + sizeof h, h.length - sizeof h)};
    return tm_hash64_pieces(pieces, 2, 0);
}

static const struct tm_record *record_at(const uint8_t *image, size_t at)
{
    return (const struct tm_record *)(const void *)(image + at);
}

void tm_offer_seal(uint8_t *image, size_t length)
{
    struct tm_offer_head h;
    TM_ASSERT(length > sizeof h && length <= TM_OFFER_BYTES_MAX);
    memcpy(&h, image, sizeof h);
    const struct tm_record *first = record_at(image, sizeof h), *last = first;
    h.count = 0;
    for (size_t at = sizeof h; at < length; at += last->length, h.count++)
        last = record_at(image, at);
    h.magic = TM_OFFER_MAGIC;
    h.length = length;
    h.first = first->index;
    h.term = first->term;
    h.last = last->index;
    h.id = last->checksum;
    h.checksum = checksum_of(&h, image);
    memcpy(image, &h, sizeof h);
}

enum tm_err tm_offer_head_check(const struct tm_offer_head *h, const uint8_t cluster[16])
{
    if (h->magic != TM_OFFER_MAGIC || h->length <= sizeof *h || h->length % 8 != 0 ||
        h->count == 0 || h->first <= h->fork_index || h->last < h->first ||
        h->last - h->first != h->count - 1)
        return TM_ERR_CORRUPT;
    if (h->length > TM_OFFER_BYTES_MAX)
        return TM_ERR_TOOBIG;
    return memcmp(h->cluster, cluster, 16) == 0 ? TM_OK : TM_ERR_IDENTITY;
}

static bool follows(const struct tm_record *r, const struct tm_record *before,
                    const struct tm_offer_head *h)
{
    if (r->partition != h->partition || r->kind >= TM_RECORD_LOCAL_FIRST)
        return false;
    if (before == NULL)
        return r->index == h->first && r->term == h->term &&
               (h->fork_index + 1 != h->first || r->prev_hash == h->fork_hash);
    return r->index == before->index + 1 && r->prev_hash == before->checksum &&
           r->term >= before->term;
}

enum tm_err tm_offer_check(struct tm_bytes image, const uint8_t cluster[16])
{
    struct tm_offer_head h;
    TM_ASSERT(((uintptr_t)image.data & 7) == 0);
    if (image.len <= sizeof h)
        return TM_ERR_CORRUPT;
    memcpy(&h, image.data, sizeof h);
    enum tm_err e = tm_offer_head_check(&h, cluster);
    if (e != TM_OK)
        return e;
    if (h.length != image.len || h.checksum != checksum_of(&h, image.data))
        return TM_ERR_CORRUPT;
    const struct tm_record *before = NULL;
    uint32_t count = 0;
    for (size_t at = sizeof h; at < image.len; at += before->length, count++) {
        const struct tm_record *r = record_at(image.data, at);
        if (tm_record_check(r, image.len - at) != TM_OK || !follows(r, before, &h))
            return TM_ERR_CORRUPT;
        before = r;
    }
    return count == h.count && before->checksum == h.id ? TM_OK : TM_ERR_CORRUPT;
}

struct tm_bytes tm_offer_records(struct tm_bytes image)
{
    size_t head = sizeof(struct tm_offer_head);
    return tm_bytes_of(image.data + head, image.len - head);
}

void tm_offer_name(const struct tm_offer_head *h, char name[TM_OFFER_NAME_MAX])
{
    (void)snprintf(name, TM_OFFER_NAME_MAX,
                   TM_OFFER_FOLDER "/%" PRIu32 "-%" PRIu64 "-%" PRIu64 "-%016" PRIx64, h->partition,
                   h->term, h->first, h->id);
}
