/* frame.c: sealing and judging frames.
 *
 * The happy path of a check is one look at the fixed fields and one pass of XXH3 over the bytes.
 * Cheap tests come before the checksum, so that frames of strangers cost next to nothing; fields
 * that need a channel to be judged (seq, offset, boots) are left to it. */
#include "net/frame.h"

#include <xxhash.h>

static uint64_t checksum(const void *head, size_t head_len, const void *payload, size_t len)
{
    return XXH3_64bits_withSeed(payload, len, XXH3_64bits(head, head_len));
}

void tm_frame_seal(struct tm_frame_head *head, struct tm_bytes payload)
{
    TM_ASSERT(head->sack_words <= TM_FRAME_SACK_WORDS && payload.len <= UINT32_MAX);
    head->magic = TM_FRAME_MAGIC;
    head->version = TM_FRAME_VERSION;
    head->payload = (uint32_t)payload.len;
    head->checksum = 0;
    head->checksum =
        checksum(head, TM_FRAME_HEAD + 8u * head->sack_words, payload.data, payload.len);
}

static bool well_formed(const struct tm_frame_head *head, size_t len)
{
    if (head->sack_words > TM_FRAME_SACK_WORDS || head->src_boot == 0)
        return false;
    if (len != (size_t)TM_FRAME_HEAD + 8u * head->sack_words + head->payload)
        return false;
    switch ((enum tm_frame_kind)head->kind) {
    case TM_FRAME_HELLO:
    case TM_FRAME_WELCOME:
    case TM_FRAME_REFUSE:
        return head->payload <= TM_FRAME_BLOB_MAX;
    case TM_FRAME_CONFIRM:
        return head->payload == 0;
    case TM_FRAME_DATA:
        return (head->payload == 0) == (head->seq == 0);
    }
    return false;
}

enum tm_err tm_frame_check(const uint8_t *frame, size_t len, uint64_t cluster,
                           struct tm_frame_head *out)
{
    if (len < TM_FRAME_HEAD || tm_load32(frame) != TM_FRAME_MAGIC)
        return TM_ERR_INVALID;
    if (frame[offsetof(struct tm_frame_head, version)] != TM_FRAME_VERSION)
        return TM_ERR_VERSION;

    uint8_t head[TM_FRAME_HEAD_MAX];
    memcpy(out, frame, TM_FRAME_HEAD);
    if (out->cluster != cluster)
        return TM_ERR_IDENTITY;
    if (!well_formed(out, len))
        return TM_ERR_INVALID;

    size_t head_len = TM_FRAME_HEAD + 8u * out->sack_words;
    memcpy(head, frame, head_len);
    tm_store64(head + offsetof(struct tm_frame_head, checksum), 0);
    uint64_t sum = checksum(head, head_len, frame + head_len, out->payload);
    return sum == out->checksum ? TM_OK : TM_ERR_CORRUPT;
}
