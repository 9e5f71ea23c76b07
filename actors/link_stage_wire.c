/* As in link_wire.c the bodies are the structs themselves. */
#include "actors/link_stage_wire.h"

#include "storage/store_link.h"

enum tm_err tm_link_staging_decode(struct tm_bytes body, struct tm_link_staging *out,
                                   struct tm_bytes *packed)
{
    if (!tm_link_take_head(body, out, sizeof *out, packed) ||
        !tm_link_batch_can_be(&out->batch, packed->len) || out->batch.raw_len > TM_LINK_STAGE_MAX ||
        !tm_link_mark_can_be(&out->through) || out->through.index > out->batch.from.index ||
        out->through.term > out->batch.from.term)
        return TM_ERR_CORRUPT;
    return TM_OK;
}

enum tm_err tm_link_commit_decode(struct tm_bytes body, struct tm_link_commit *out)
{
    struct tm_bytes rest;
    return tm_link_take_head(body, out, sizeof *out, &rest) && rest.len == 0 &&
                   out->through.index != 0 && tm_link_mark_can_be(&out->through)
               ? TM_OK
               : TM_ERR_CORRUPT;
}

enum tm_err tm_link_unstage_decode(struct tm_bytes body, struct tm_link_unstage *out)
{
    struct tm_bytes rest;
    return tm_link_take_head(body, out, sizeof *out, &rest) && rest.len == 0 &&
                   tm_link_mark_can_be(&out->keep) && out->term != 0 && out->keep.term <= out->term
               ? TM_OK
               : TM_ERR_CORRUPT;
}

/* ---- at rest ---- */

void tm_link_staged_name(const struct tm_link_staged_name *name, uint8_t out[TM_LINK_STAGED_NAME])
{
    out[0] = TM_SHADOW_STAGED;
    memcpy(out + 1, name->uuid, 16);
    tm_store32(out + 17, name->source);
    tm_store64(out + 21, __builtin_bswap64(name->index));
}

bool tm_link_staged_name_read(struct tm_bytes bytes, struct tm_link_staged_name *out)
{
    if (bytes.len != TM_LINK_STAGED_NAME || bytes.data[0] != TM_SHADOW_STAGED)
        return false;
    memcpy(out->uuid, bytes.data + 1, 16);
    out->source = tm_load32(bytes.data + 17);
    out->index = __builtin_bswap64(tm_load64(bytes.data + 21));
    return true;
}

bool tm_link_staged_decode(struct tm_bytes value, struct tm_link_batch *out,
                           struct tm_bytes *packed)
{
    return tm_link_take_head(value, out, sizeof *out, packed) &&
           tm_link_batch_can_be(out, packed->len) && out->raw_len <= TM_LINK_STAGE_MAX;
}
