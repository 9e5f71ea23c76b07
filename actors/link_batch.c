/* A record is taken whole or not at all: what it adds is written behind what is there, and given up
 * again where the buffer ends. */
#include "actors/link_batch.h"

#include "actors/router.h"
#include "runtime/hash.h"
#include "storage/store_link.h"

#define FLUSH_NAME 5u

void tm_link_builder_begin(struct tm_link_builder *b, const struct tm_link_filter *filter,
                           const struct tm_link_stream *stream, const struct tm_link_position *from,
                           uint8_t *buf, uint32_t cap)
{
    *b = (struct tm_link_builder){.filter = filter,
                                  .stream = *stream,
                                  .from = {from->index, from->term, from->hash},
                                  .to = *from,
                                  .buf = buf,
                                  .cap = cap};
    b->to.incarnation = stream->incarnation;
    b->to.epoch = stream->epoch;
    b->to.rules = filter->hash;
    uint64_t first = tm_partition_first_slot(stream->source, stream->sources);
    uint64_t end = tm_partition_first_slot(stream->source + 1, stream->sources);
    b->whole = first >= tm_partition_first_slot(stream->target, stream->targets) &&
               end <= tm_partition_first_slot(stream->target + 1, stream->targets);
}

static bool put(struct tm_link_builder *b, const void *bytes, size_t len)
{
    if (len > b->cap - b->used)
        return false;
    if (len > 0)
        memcpy(b->buf + b->used, bytes, len);
    b->used += (uint32_t)len;
    return true;
}

static bool put_op(struct tm_link_builder *b, const struct tm_op *op)
{
    uint8_t head[TM_OP_HEAD];
    tm_op_head(head, op);
    return put(b, head, sizeof head) && put(b, op->name.data, op->name.len) &&
           put(b, op->value.data, op->value.len);
}

static bool put_stamp(struct tm_link_builder *b, const struct tm_op_version *stamp)
{
    if (b->stamp_hlc == stamp->hlc && b->stamp_origin == stamp->origin)
        return true;
    struct tm_op op = {.code = TM_OP_STAMPED, .value = tm_bytes_of(stamp, sizeof *stamp)};
    b->stamp_hlc = stamp->hlc;
    b->stamp_origin = stamp->origin;
    b->to.hlc = tm_max_u64(b->to.hlc, stamp->hlc);
    return put_op(b, &op);
}

static bool put_change_head(struct tm_link_builder *b, struct tm_bytes key,
                            enum tm_entity_type type)
{
    uint8_t head[TM_CHANGE_HEAD];
    tm_change_head(head, key, type);
    return put(b, head, sizeof head) && put(b, key.data, key.len);
}

/* ---- what is shipped ---- */

static bool ships_type(struct tm_link_builder *b, struct tm_bytes key)
{
    struct tm_bytes type = tm_link_type_of(key);
    uint64_t hash = tm_hash64(type.data, type.len, 1);
    if (hash == b->type_hash)
        return b->type_ships;
    b->type_hash = hash;
    b->type_ships = b->filter->ships(b->filter->host, type);
    return b->type_ships;
}

static bool ships(struct tm_link_builder *b, const struct tm_change *change)
{
    const struct tm_link_stream *s = &b->stream;
    if (change->key.len == 0 ||
        (!b->whole && tm_partition_of_slot(tm_slot_of_key(change->key), s->targets) != s->target))
        return false;
    bool yes = ships_type(b, change->key);
    b->skipped += !yes;
    return yes;
}

/* Whether the operation itself goes, apart from its stamp: of shadows what says of a key the same
 * as an operation on its entity does elsewhere (storage/store_link.h). */
static bool op_goes(enum tm_entity_type type, const struct tm_op *op)
{
    if (type == TM_ENTITY_SHADOW)
        return tm_link_is_tombstone(op);
    switch (op->code) {
    case TM_OP_SET_FIELD:
    case TM_OP_DEL_FIELD:
    case TM_OP_COUNTER:
    case TM_OP_COUNTER_AT:
    case TM_OP_DEL_ENTITY:
    case TM_OP_SET_EXPIRY:
    case TM_OP_PERSIST:
        return true;
    default:
        return false;
    }
}

static bool add_ops(struct tm_link_builder *b, const struct tm_record *r,
                    const struct tm_change *change, struct tm_op_version *stamp, bool ship,
                    unsigned *taken)
{
    struct tm_bytes ops = change->ops;
    struct tm_op op;
    while (tm_op_next(&ops, &op)) {
        if (op.code == TM_OP_STAMPED)
            *stamp = tm_stamp_said(r, &op);
        if (!ship || !op_goes(change->type, &op) || stamp->origin == TM_ORIGIN_NONE)
            continue;
        if (!b->filter->forwards(b->filter->host, stamp->origin)) {
            b->skipped++;
            continue;
        }
        if (!put_stamp(b, stamp) || !put_op(b, &op))
            return false;
        (*taken)++;
    }
    return true;
}

static bool add_change(struct tm_link_builder *b, const struct tm_record *r,
                       const struct tm_change *change, struct tm_op_version *stamp)
{
    uint32_t at = b->used;
    unsigned taken = 0;
    bool ship = ships(b, change);
    if ((ship && !put_change_head(b, change->key, change->type)) ||
        !add_ops(b, r, change, stamp, ship, &taken))
        return false;
    if (taken == 0) {
        b->used = at;
        return true;
    }
    tm_store32(b->buf + at, b->used - at);
    b->changes++;
    return true;
}

/* The slots that both partitions have: of those that the source has flushed, the target's. */
static bool add_flush(struct tm_link_builder *b, const struct tm_op_version *stamp)
{
    const struct tm_link_stream *s = &b->stream;
    uint64_t first = tm_max_u64(tm_partition_first_slot(s->source, s->sources),
                                tm_partition_first_slot(s->target, s->targets));
    uint64_t end = tm_min_u64(tm_partition_first_slot(s->source + 1, s->sources),
                              tm_partition_first_slot(s->target + 1, s->targets));
    uint8_t name[FLUSH_NAME] = {'F'};
    tm_store16(name + 1, (uint16_t)first);
    tm_store16(name + 3, (uint16_t)(end - 1));
    struct tm_op op = {.code = TM_OP_SET_FIELD, .name = tm_bytes_of(name, sizeof name)};
    uint32_t at = b->used;
    if (!put_change_head(b, tm_bytes_of(NULL, 0), TM_ENTITY_SHADOW) || !put_stamp(b, stamp) ||
        !put_op(b, &op))
        return false;
    tm_store32(b->buf + at, b->used - at);
    b->changes++;
    return true;
}

static bool add_all(struct tm_link_builder *b, const struct tm_record *r)
{
    struct tm_op_version stamp = {r->hlc, r->origin};
    struct tm_bytes rest = tm_record_body(r);
    struct tm_change change;
    if (r->kind == TM_RECORD_FLUSH && b->filter->forwards(b->filter->host, r->origin) &&
        (b->used > 0 || !add_flush(b, &stamp)))
        return false;
    while (tm_change_next(&rest, &change))
        if (!add_change(b, r, &change, &stamp))
            return false;
    return true;
}

enum tm_err tm_link_builder_add(struct tm_link_builder *b, const struct tm_record *record)
{
    TM_ASSERT(record->index == b->to.index + 1);
    struct tm_link_builder before = *b;
    if ((record->kind == TM_RECORD_EFFECT || record->kind == TM_RECORD_FLUSH) &&
        !add_all(b, record)) {
        *b = before;
        return TM_ERR_FULL;
    }
    b->to.index = record->index;
    b->to.term = record->term;
    b->to.hash = record->checksum;
    return TM_OK;
}

bool tm_link_flush_slots(const struct tm_change *change, uint16_t *first, uint16_t *last)
{
    struct tm_bytes ops = change->ops;
    struct tm_op op;
    if (change->type != TM_ENTITY_SHADOW || change->key.len != 0)
        return false;
    while (tm_op_next(&ops, &op)) {
        if (op.code != TM_OP_SET_FIELD || op.name.len != FLUSH_NAME || op.name.data[0] != 'F')
            continue;
        *first = tm_load16(op.name.data + 1);
        *last = tm_load16(op.name.data + 3);
        return true;
    }
    return false;
}

struct tm_bytes tm_link_floor_name(uint16_t first, uint16_t last, const char *source,
                                   uint8_t out[TM_LINK_FLOOR_NAME])
{
    size_t len = tm_min_u64(strlen(source), TM_LINK_FLOOR_NAME - 4);
    tm_store16(out, first);
    tm_store16(out + 2, last);
    memcpy(out + 4, source, len);
    return tm_bytes_of(out, 4 + len);
}

bool tm_link_floor_read(struct tm_bytes name, uint16_t *first, uint16_t *last,
                        struct tm_bytes *source)
{
    if (name.len <= 4)
        return false;
    *first = tm_load16(name.data);
    *last = tm_load16(name.data + 2);
    *source = tm_bytes_of(name.data + 4, name.len - 4);
    return true;
}
