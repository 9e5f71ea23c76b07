/* resp_reader.c: replies in (net/resp.h).
 *
 * tm_resp_read takes one element apart: a line, or a length and so many bytes.  The end of a whole
 * reply needs no stack: one number counts the elements still to come; an aggregate adds its own.
 * Lines, counts and nesting are bounded by the bytes that are there; a count that could never be
 * (more elements than 2^32) is broken. */
#include "net/resp.h"

#define COUNT_MAX UINT32_MAX

static enum tm_resp_status blob(const uint8_t *data, size_t len, size_t line, int64_t size,
                                struct tm_resp_value *v, size_t *used)
{
    if (size < -1 || size > (int64_t)COUNT_MAX)
        return TM_RESP_BROKEN;
    *used = line;
    if (size == -1) {
        v->type = TM_RESP_NULL;
        return TM_RESP_DONE;
    }
    if (len - line < (size_t)size + 2)
        return TM_RESP_MORE;
    v->text = tm_bytes_of(data + line, (size_t)size);
    *used = line + (size_t)size + 2;
    return data[*used - 2] == '\r' && data[*used - 1] == '\n' ? TM_RESP_DONE : TM_RESP_BROKEN;
}

static enum tm_resp_status aggregate(struct tm_resp_value *v, int64_t count)
{
    if (count == -1 && v->type == TM_RESP_ARRAY) {
        v->type = TM_RESP_NULL;
        return TM_RESP_DONE;
    }
    if (count < 0 || count > (int64_t)COUNT_MAX)
        return TM_RESP_BROKEN;
    bool pairs = v->type == TM_RESP_MAP || v->type == TM_RESP_ATTRIBUTE;
    v->count = (uint64_t)count << pairs;
    return TM_RESP_DONE;
}

static enum tm_resp_status boolean(struct tm_resp_value *v, struct tm_bytes text)
{
    if (text.len != 1 || (text.data[0] != 't' && text.data[0] != 'f'))
        return TM_RESP_BROKEN;
    v->integer = text.data[0] == 't';
    return TM_RESP_DONE;
}

enum tm_resp_status tm_resp_read(const uint8_t *data, size_t len, struct tm_resp_value *v,
                                 size_t *used)
{
    const uint8_t *lf = len > 0 ? memchr(data, '\n', len) : NULL;
    if (lf == NULL)
        return TM_RESP_MORE;
    size_t line = (size_t)(lf - data) + 1;
    if (line < 3 || lf[-1] != '\r')
        return TM_RESP_BROKEN;
    struct tm_bytes text = tm_bytes_of(data + 1, line - 3);
    int64_t number = 0;
    bool is_number = tm_resp_to_i64(text, &number);
    *v = (struct tm_resp_value){.type = (enum tm_resp_type)data[0]};
    *used = line;
    switch (v->type) {
    case TM_RESP_SIMPLE:
    case TM_RESP_ERROR:
    case TM_RESP_DOUBLE:
    case TM_RESP_BIGNUM:
        v->text = text;
        return TM_RESP_DONE;
    case TM_RESP_INTEGER:
        v->text = text;
        v->integer = number;
        return is_number ? TM_RESP_DONE : TM_RESP_BROKEN;
    case TM_RESP_BULK:
    case TM_RESP_VERBATIM:
    case TM_RESP_BLOB_ERROR:
        return is_number ? blob(data, len, line, number, v, used) : TM_RESP_BROKEN;
    case TM_RESP_ARRAY:
    case TM_RESP_SET:
    case TM_RESP_PUSH:
    case TM_RESP_MAP:
    case TM_RESP_ATTRIBUTE:
        return is_number ? aggregate(v, number) : TM_RESP_BROKEN;
    case TM_RESP_NULL:
        return text.len == 0 ? TM_RESP_DONE : TM_RESP_BROKEN;
    case TM_RESP_BOOL:
        return boolean(v, text);
    default:
        return TM_RESP_BROKEN;
    }
}

enum tm_resp_status tm_resp_skip(struct tm_resp_skipper *s, const uint8_t *data, size_t len,
                                 size_t *used)
{
    if (s->pos == 0)
        s->pending = 1;
    while (s->pending > 0) {
        struct tm_resp_value v;
        size_t n;
        enum tm_resp_status st = tm_resp_read(data + s->pos, len - s->pos, &v, &n);
        if (st != TM_RESP_DONE)
            return st;
        s->pos += n;
        s->pending += v.count;
        s->pending -= v.type != TM_RESP_ATTRIBUTE;
    }
    *used = s->pos;
    *s = (struct tm_resp_skipper){0};
    return TM_RESP_DONE;
}
