/* The bodies are the structs themselves: numbers are little-endian on every machine that we build
 * for (runtime/base.h).  What a decoder checks is what the rest of the code relies on: numbers of
 * partitions in range, positions that can be, lengths that fit. */
#include "actors/link_wire.h"

#include "actors/directory.h"
#include "actors/router.h"
#include "runtime/hash.h"

#include <lz4.h>

#define PACK_LEAST 128 /* below it there is little to gain */

const char *tm_link_refusal_name(unsigned reason)
{
    switch (reason) {
#define X(name, number, stands, text)                                                              \
    case number:                                                                                   \
        return #name;
        TM_LINK_REFUSAL_LIST(X)
#undef X
    default:
        return "UNKNOWN";
    }
}

const char *tm_link_refusal_text(unsigned reason)
{
    switch (reason) {
#define X(name, number, stands, text)                                                              \
    case number:                                                                                   \
        return text;
        TM_LINK_REFUSAL_LIST(X)
#undef X
    default:
        return "for a reason that only a newer version knows";
    }
}

bool tm_link_refusal_stands(unsigned reason)
{
    switch (reason) {
#define X(name, number, stands, text)                                                              \
    case number:                                                                                   \
        return stands;
        TM_LINK_REFUSAL_LIST(X)
#undef X
    default:
        return true;
    }
}

/* ---- positions ---- */

void tm_link_position_name(const uint8_t uuid[16], uint32_t source,
                           uint8_t out[TM_LINK_POSITION_NAME])
{
    out[0] = 'p';
    memcpy(out + 1, uuid, 16);
    tm_store32(out + 17, source);
}

/* All zero, or of a record that a log can have. */
bool tm_link_position_can_be(const struct tm_link_position *p)
{
    if (p->incarnation == 0)
        return p->index == 0 && p->term == 0 && p->hash == 0;
    return p->index == 0 ? p->term == 0 && p->hash == 0 : p->term != 0;
}

bool tm_link_mark_can_be(const struct tm_link_mark *m)
{
    return m->index == 0 ? m->term == 0 && m->hash == 0 : m->term != 0;
}

bool tm_link_batch_can_be(const struct tm_link_batch *b, size_t packed_len)
{
    const struct tm_link_position *to = &b->to;
    return tm_link_mark_can_be(&b->from) && b->from.term <= to->term &&
           tm_link_position_can_be(to) && to->incarnation == b->stream.incarnation &&
           to->epoch == b->stream.epoch && to->index > b->from.index &&
           b->raw_len <= TM_LINK_RAW_MAX && b->packed_len <= b->raw_len &&
           packed_len == b->packed_len && (b->raw_len == 0 || b->packed_len > 0);
}

bool tm_link_position_decode(struct tm_bytes value, struct tm_link_position *out)
{
    if (value.len != sizeof *out)
        return false;
    memcpy(out, value.data, sizeof *out);
    return out->incarnation != 0 && tm_link_position_can_be(out);
}

/* ---- which streams there are ---- */

bool tm_link_overlap(uint32_t source, uint32_t sources, uint32_t target, uint32_t targets)
{
    uint32_t first, last;
    tm_link_targets(source, sources, targets, &first, &last);
    return target >= first && target <= last;
}

void tm_link_targets(uint32_t source, uint32_t sources, uint32_t targets, uint32_t *first,
                     uint32_t *last)
{
    *first = tm_partition_of_slot(tm_partition_first_slot(source, sources), targets);
    *last = tm_partition_of_slot(tm_partition_first_slot(source + 1, sources) - 1, targets);
}

/* ---- messages ---- */

bool tm_link_stream_can_be(const struct tm_link_stream *s)
{
    return s->session != 0 && s->incarnation != 0 && s->sources >= 1 &&
           s->sources <= TM_DIRECTORY_PARTITIONS_MAX && s->targets >= 1 &&
           s->targets <= TM_DIRECTORY_PARTITIONS_MAX && s->source < s->sources &&
           s->target < s->targets && tm_link_overlap(s->source, s->sources, s->target, s->targets);
}

bool tm_link_take_head(struct tm_bytes body, void *out, size_t size, struct tm_bytes *rest)
{
    struct tm_link_stream stream;
    if (body.len < size)
        return false;
    memcpy(out, body.data, size);
    memcpy(&stream, body.data, sizeof stream);
    *rest = tm_bytes_of(body.data + size, body.len - size);
    return tm_link_stream_can_be(&stream);
}

enum tm_err tm_link_open_decode(struct tm_bytes body, struct tm_link_open *out)
{
    struct tm_bytes rest;
    return tm_link_take_head(body, out, sizeof *out, &rest) && rest.len == 0 ? TM_OK
                                                                             : TM_ERR_CORRUPT;
}

/* They go on from the position, and terms never go back. */
static bool marks_can_be(const struct tm_link_at *at, const struct tm_link_mark *marks)
{
    uint64_t index = at->position.index, term = at->position.term;
    for (uint32_t i = 0; i < at->marks; i++) {
        if (marks[i].index <= index || marks[i].term < term || marks[i].term == 0)
            return false;
        index = marks[i].index;
        term = marks[i].term;
    }
    return true;
}

enum tm_err tm_link_at_decode(struct tm_bytes body, struct tm_link_at *out,
                              struct tm_link_mark marks[TM_LINK_MARKS])
{
    struct tm_bytes rest;
    if (!tm_link_take_head(body, out, sizeof *out, &rest) || out->marks > TM_LINK_MARKS ||
        out->durable > out->marks || rest.len != out->marks * sizeof *marks ||
        !tm_link_position_can_be(&out->position) || out->committed > out->position.index)
        return TM_ERR_CORRUPT;
    if (rest.len > 0)
        memcpy(marks, rest.data, rest.len);
    return marks_can_be(out, marks) ? TM_OK : TM_ERR_CORRUPT;
}

enum tm_err tm_link_batch_decode(struct tm_bytes body, struct tm_link_batch *out,
                                 struct tm_bytes *packed)
{
    return tm_link_take_head(body, out, sizeof *out, packed) &&
                   tm_link_batch_can_be(out, packed->len)
               ? TM_OK
               : TM_ERR_CORRUPT;
}

enum tm_err tm_link_receipt_decode(struct tm_bytes body, struct tm_link_receipt *out)
{
    struct tm_bytes rest;
    return tm_link_take_head(body, out, sizeof *out, &rest) && rest.len == 0 ? TM_OK
                                                                             : TM_ERR_CORRUPT;
}

static bool told_can_be(const struct tm_link_told *t)
{
    return t->collected <= t->settled && t->settled <= t->applied;
}

enum tm_err tm_link_tell_decode(struct tm_bytes body, struct tm_link_tell *out)
{
    struct tm_bytes rest;
    return tm_link_take_head(body, out, sizeof *out, &rest) && rest.len == 0 &&
                   told_can_be(&out->told)
               ? TM_OK
               : TM_ERR_CORRUPT;
}

enum tm_err tm_link_hear_decode(struct tm_bytes body, struct tm_link_hear *out)
{
    struct tm_bytes rest;
    return tm_link_take_head(body, out, sizeof *out, &rest) && rest.len == 0 &&
                   told_can_be(&out->told)
               ? TM_OK
               : TM_ERR_CORRUPT;
}

enum tm_err tm_link_moved_decode(struct tm_bytes body, struct tm_link_moved *out)
{
    struct tm_bytes rest;
    if (!tm_link_take_head(body, out, sizeof *out, &rest) || rest.len != 0 ||
        (out->block >= TM_NODES_MAX && out->block != TM_LINK_NOBODY))
        return TM_ERR_CORRUPT;
    return TM_OK;
}

enum tm_err tm_link_refused_decode(struct tm_bytes body, struct tm_link_refused *out,
                                   struct tm_bytes *text)
{
    if (!tm_link_take_head(body, out, sizeof *out, text) || text->len != out->text_len ||
        out->text_len > TM_LINK_REFUSAL_TEXT_MAX || out->reason == TM_LINK_REFUSAL_NONE)
        return TM_ERR_CORRUPT;
    for (size_t i = 0; i < text->len; i++)
        if (text->data[i] < ' ' || text->data[i] > '~')
            return TM_ERR_CORRUPT;
    return TM_OK;
}

/* ---- bodies of batches ---- */

uint32_t tm_link_pack(struct tm_bytes raw, uint8_t *out, uint32_t cap)
{
    if (raw.len < PACK_LEAST)
        return 0;
    uint32_t worth = (uint32_t)(raw.len - raw.len / 8);
    int len = LZ4_compress_default((const char *)raw.data, (char *)out, (int)raw.len,
                                   (int)tm_min_u64(worth, cap));
    return len > 0 ? (uint32_t)len : 0;
}

enum tm_err tm_link_unpack(const struct tm_link_batch *b, struct tm_bytes packed, uint8_t *buf,
                           struct tm_bytes *raw)
{
    *raw = packed;
    if (b->packed_len < b->raw_len) {
        int len = LZ4_decompress_safe((const char *)packed.data, (char *)buf, (int)packed.len,
                                      (int)TM_LINK_RAW_MAX);
        if (len < 0 || (uint32_t)len != b->raw_len)
            return TM_ERR_CORRUPT;
        *raw = tm_bytes_of(buf, b->raw_len);
    }
    if (tm_hash64(raw->data, raw->len, 0) != b->raw_hash)
        return TM_ERR_CORRUPT;
    return tm_link_changes_check(*raw);
}

bool tm_link_is_tombstone(const struct tm_op *op)
{
    return op->code == TM_OP_SET_FIELD && op->name.len > 0 &&
           strchr("dfxv", op->name.data[0]) != NULL && op->name.data[0] != '\0';
}

static bool op_allowed(const struct tm_change *change, const struct tm_op *op)
{
    if (change->type == TM_ENTITY_SHADOW) /* of the empty key: where it is a FLUSH (link_batch.h) */
        return op->code == TM_OP_SET_FIELD && (change->key.len == 0 || tm_link_is_tombstone(op));
    switch (op->code) {
    case TM_OP_SET_FIELD:
    case TM_OP_DEL_FIELD:
    case TM_OP_COUNTER:
    case TM_OP_COUNTER_AT:
    case TM_OP_DEL_ENTITY:
    case TM_OP_SET_EXPIRY:
    case TM_OP_PERSIST:
        return change->key.len > 0;
    default:
        return false;
    }
}

/* What the operations of one change may be; *stamped: one before them said so. */
static bool change_allowed(const struct tm_change *change, bool *stamped)
{
    struct tm_bytes ops = change->ops;
    struct tm_op op;
    struct tm_op_version v;
    while (tm_op_next(&ops, &op)) {
        if (op.code == TM_OP_STAMPED) {
            memcpy(&v, op.value.data, sizeof v);
            *stamped = v.hlc != 0 && v.origin != 0;
        } else if (!*stamped || !op_allowed(change, &op)) {
            return false;
        }
    }
    return true;
}

enum tm_err tm_link_changes_check(struct tm_bytes raw)
{
    enum tm_err e = tm_changes_check(raw);
    if (e != TM_OK)
        return e;
    struct tm_change change;
    bool stamped = false;
    while (tm_change_next(&raw, &change)) {
        if (!change_allowed(&change, &stamped))
            return TM_ERR_CORRUPT;
    }
    return TM_OK;
}
