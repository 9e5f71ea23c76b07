/* record.c: encoding, sealing and checking of records.
 *
 * The happy path: tm_record_begin writes the header, tm_record_op appends operations to the open
 * change or opens the next one, tm_record_end pads and seals.  Every size is bounded by the
 * caller's buffer, so the builder never allocates.
 *
 * Bytes from outside come through tm_record_check: the header's lengths are believed only after
 * they were compared with what is there, the checksum is compared before the body is looked at,
 * and the body's structure is checked even so (a checksum says who wrote it, not that it was
 * right).  After that the iterators need no checks of their own. */
#include "storage/record.h"
#include "runtime/hash.h"

#define CHANGE_HEAD 8u
#define OP_HEAD     8u

static uint64_t record_checksum(const struct tm_record *r)
{
    struct tm_record head = *r;
    head.checksum = 0;
    const struct tm_bytes pieces[] = {tm_bytes_of(&head, sizeof head),
                                      tm_bytes_of(r + 1, r->length - sizeof head)};
    return tm_hash64_pieces(pieces, 2, 0);
}

void tm_record_seal(struct tm_record *r)
{
    r->length = tm_record_length(r->body_len);
    TM_ASSERT(r->length <= TM_RECORD_MAX);
    uint8_t *end = (uint8_t *)(r + 1) + r->body_len;
    memset(end, 0, r->length - sizeof *r - r->body_len);
    r->checksum = 0;
    r->checksum = tm_hash64(r, r->length, 0);
}

static bool is_of_shadows(const struct tm_op *op)
{
    return op->code == TM_OP_SET_FIELD || op->code == TM_OP_DEL_FIELD ||
           op->code == TM_OP_DEL_ENTITY || op->code == TM_OP_MERGED || op->code == TM_OP_STAMPED;
}

static bool op_well_formed(enum tm_entity_type type, const struct tm_op *op)
{
    bool names_none = op->name.len == 0;
    if (type == TM_ENTITY_SHADOW && !is_of_shadows(op))
        return false;
    switch (op->code) {
    case TM_OP_SET_FIELD:
    case TM_OP_FOLDED:
        return type == TM_ENTITY_STRING ? names_none : type != TM_ENTITY_SET || op->value.len == 0;
    case TM_OP_DEL_FIELD:
        return op->value.len == 0 && (type != TM_ENTITY_STRING || names_none);
    case TM_OP_COUNTER:
        return op->value.len == sizeof(struct tm_counter_component) && type != TM_ENTITY_SET &&
               (type != TM_ENTITY_STRING || names_none);
    case TM_OP_COUNTER_AT:
        return op->value.len == sizeof(struct tm_counter_at) && type != TM_ENTITY_SET &&
               (type != TM_ENTITY_STRING || names_none);
    case TM_OP_DEL_ENTITY:
    case TM_OP_PERSIST:
        return names_none && op->value.len == 0;
    case TM_OP_EXPIRE_ENTITY:
    case TM_OP_STAMPED:
        return names_none && op->value.len == sizeof(struct tm_op_version);
    case TM_OP_MERGED:
        return names_none && op->value.len == sizeof(struct tm_op_source);
    case TM_OP_EXPIRY:
        return names_none && op->value.len == 8;
    case TM_OP_SET_EXPIRY:
        return names_none && op->value.len == 8 && tm_load64(op->value.data) != 0;
    }
    return false;
}

bool tm_op_next(struct tm_bytes *rest, struct tm_op *op)
{
    if (rest->len == 0)
        return false;
    uint32_t word = tm_load32(rest->data);
    size_t name_len = word >> 8, value_len = tm_load32(rest->data + 4);
    op->code = (enum tm_op_code)(word & 0xff);
    op->name = tm_bytes_of(rest->data + OP_HEAD, name_len);
    op->value = tm_bytes_of(rest->data + OP_HEAD + name_len, value_len);
    size_t size = OP_HEAD + name_len + value_len;
    *rest = tm_bytes_of(rest->data + size, rest->len - size);
    return true;
}

bool tm_change_next(struct tm_bytes *rest, struct tm_change *change)
{
    if (rest->len == 0)
        return false;
    size_t size = tm_load32(rest->data), key_len = tm_load16(rest->data + 4);
    change->type = (enum tm_entity_type)rest->data[6];
    change->key = tm_bytes_of(rest->data + CHANGE_HEAD, key_len);
    change->ops = tm_bytes_of(rest->data + CHANGE_HEAD + key_len, size - CHANGE_HEAD - key_len);
    *rest = tm_bytes_of(rest->data + size, rest->len - size);
    return true;
}

static enum tm_err ops_check(struct tm_bytes ops, enum tm_entity_type type)
{
    if (ops.len == 0)
        return TM_ERR_CORRUPT;
    while (ops.len > 0) {
        if (ops.len < OP_HEAD)
            return TM_ERR_CORRUPT;
        uint64_t name_len = tm_load32(ops.data) >> 8, value_len = tm_load32(ops.data + 4);
        if (name_len + value_len > ops.len - OP_HEAD)
            return TM_ERR_CORRUPT;
        struct tm_op op;
        (void)tm_op_next(&ops, &op);
        if (op.code < TM_OP_SET_FIELD || op.code > TM_OP_FOLDED)
            return TM_ERR_VERSION;
        if (!op_well_formed(type, &op))
            return TM_ERR_CORRUPT;
    }
    return TM_OK;
}

enum tm_err tm_changes_check(struct tm_bytes body)
{
    while (body.len > 0) {
        if (body.len < CHANGE_HEAD)
            return TM_ERR_CORRUPT;
        size_t size = tm_load32(body.data), key_len = tm_load16(body.data + 4);
        if (size > body.len || size < CHANGE_HEAD + key_len || body.data[7] != 0)
            return TM_ERR_CORRUPT;
        if (body.data[6] > TM_ENTITY_SHADOW)
            return TM_ERR_VERSION;
        struct tm_change change;
        (void)tm_change_next(&body, &change);
        enum tm_err err = ops_check(change.ops, change.type);
        if (err != TM_OK)
            return err;
    }
    return TM_OK;
}

static bool kind_known(unsigned kind)
{
    switch (kind) {
#define X(name, number, text) case number:
        TM_RECORD_KIND_LIST(X)
#undef X
        return true;
    default:
        return false;
    }
}

static bool padding_is_zero(const struct tm_record *r)
{
    const uint8_t *p = (const uint8_t *)(r + 1) + r->body_len,
                  *end = (const uint8_t *)r + r->length;
    while (p < end)
        if (*p++ != 0)
            return false;
    return true;
}

enum tm_err tm_record_check(const void *p, size_t avail)
{
    TM_ASSERT(((uintptr_t)p & 7) == 0);
    const struct tm_record *r = p;
    if (avail < sizeof *r)
        return TM_ERR_AGAIN;
    if (r->length > TM_RECORD_MAX || r->body_len > TM_RECORD_MAX ||
        r->length != tm_record_length(r->body_len))
        return TM_ERR_CORRUPT;
    if (r->length > avail)
        return TM_ERR_AGAIN;
    if (r->checksum != record_checksum(r) || !padding_is_zero(r))
        return TM_ERR_CORRUPT;
    if (r->flags != 0 || !kind_known(r->kind))
        return TM_ERR_VERSION;
    if (r->kind == TM_RECORD_EFFECT || r->kind == TM_RECORD_FLUSH)
        return tm_changes_check(tm_record_body(r));
    return TM_OK;
}

const char *tm_record_kind_name(unsigned kind)
{
    switch (kind) {
#define X(name, number, text)                                                                      \
    case number:                                                                                   \
        return #name;
        TM_RECORD_KIND_LIST(X)
#undef X
    default:
        return "UNKNOWN";
    }
}

const char *tm_op_name(unsigned code)
{
    switch (code) {
#define X(name, number, text)                                                                      \
    case number:                                                                                   \
        return #name;
        TM_OP_LIST(X)
#undef X
    default:
        return "UNKNOWN";
    }
}

void tm_record_begin(struct tm_record_builder *b, void *buf, size_t cap, enum tm_record_kind kind,
                     const struct tm_record *head)
{
    TM_ASSERT(((uintptr_t)buf & 7) == 0 && cap >= sizeof *head && cap % 8 == 0);
    *b = (struct tm_record_builder){
        .buf = buf, .cap = (uint32_t)tm_min_u64(cap, TM_RECORD_MAX), .used = sizeof *head};
    struct tm_record *r = buf;
    *r = *head;
    r->kind = (uint16_t)kind;
    r->flags = 0;
    r->length = 0;
    r->body_len = 0;
    r->checksum = 0;
}

static bool change_is_open_for(const struct tm_record_builder *b, struct tm_bytes key,
                               enum tm_entity_type type)
{
    if (b->change == 0)
        return false;
    const uint8_t *c = b->buf + b->change;
    return c[6] == type && tm_bytes_equal(tm_bytes_of(c + CHANGE_HEAD, tm_load16(c + 4)), key);
}

static uint8_t *put_bytes(uint8_t *at, struct tm_bytes bytes)
{
    if (bytes.len > 0 && bytes.data != NULL)
        memcpy(at, bytes.data, bytes.len);
    return at + bytes.len;
}

/* Begins a change; its size follows when it is known. */
static uint8_t *put_change_head(uint8_t *p, struct tm_bytes key, enum tm_entity_type type)
{
    tm_store32(p, 0);
    tm_store16(p + 4, (uint16_t)key.len);
    p[6] = (uint8_t)type;
    p[7] = 0;
    return put_bytes(p + CHANGE_HEAD, key);
}

/* Returns what is behind it. */
static uint8_t *put_op(uint8_t *p, const struct tm_op *op, struct tm_op *at)
{
    tm_store32(p, (uint32_t)op->code | (uint32_t)op->name.len << 8);
    tm_store32(p + 4, (uint32_t)op->value.len);
    uint8_t *name = p + OP_HEAD;
    uint8_t *value = put_bytes(name, op->name);
    *at = (struct tm_op){op->code, tm_bytes_of(name, op->name.len),
                         tm_bytes_of(value, op->value.len)};
    return put_bytes(value, op->value);
}

static bool is_within_limits(struct tm_bytes key, const struct tm_op *op)
{
    return key.len <= TM_KEY_MAX && op->name.len <= TM_NAME_MAX && op->value.len <= TM_NAME_MAX;
}

enum tm_err tm_record_op(struct tm_record_builder *b, struct tm_bytes key, enum tm_entity_type type,
                         const struct tm_op *op, struct tm_op *at)
{
    bool open = change_is_open_for(b, key, type);
    size_t need = (open ? 0 : CHANGE_HEAD + key.len) + OP_HEAD + op->name.len + op->value.len;
    if (!is_within_limits(key, op) || need > b->cap - b->used)
        return TM_ERR_TOOBIG;
    uint8_t *p = b->buf + b->used;
    if (!open) {
        b->change = b->used;
        p = put_change_head(p, key, type);
    }
    (void)put_op(p, op, at);
    b->used += (uint32_t)need;
    tm_store32(b->buf + b->change, b->used - b->change);
    return TM_OK;
}

enum tm_err tm_record_stamped(struct tm_record_builder *b, struct tm_bytes key,
                              enum tm_entity_type type, struct tm_op_version stamp,
                              const struct tm_op *op, struct tm_op *at)
{
    struct tm_op stamped = {.code = TM_OP_STAMPED, .value = tm_bytes_of(&stamp, sizeof stamp)};
    size_t need = CHANGE_HEAD + key.len + 2 * OP_HEAD + sizeof stamp + op->name.len + op->value.len;
    if (!is_within_limits(key, op) || need > b->cap - b->used)
        return TM_ERR_TOOBIG;
    b->change = b->used;
    uint8_t *p = put_change_head(b->buf + b->used, key, type);
    (void)put_op(put_op(p, &stamped, at), op, at);
    b->used += (uint32_t)need;
    tm_store32(b->buf + b->change, (uint32_t)need);
    return TM_OK;
}

void tm_record_flush(struct tm_record_builder *b)
{
    ((struct tm_record *)(void *)b->buf)->kind = TM_RECORD_FLUSH;
    b->used = sizeof(struct tm_record);
    b->change = 0;
}

bool tm_record_empty(const struct tm_record_builder *b)
{
    const struct tm_record *r = (const void *)b->buf;
    return b->used == sizeof *r && r->kind != TM_RECORD_FLUSH;
}

struct tm_record *tm_record_end(struct tm_record_builder *b)
{
    struct tm_record *r = (void *)b->buf;
    r->body_len = b->used - (uint32_t)sizeof *r;
    tm_record_seal(r);
    return r;
}
