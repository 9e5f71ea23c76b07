/* resp_writer.c: replies out (net/resp.h).
 *
 * Every reply is headers (a type byte, a number, CR LF) and bytes.  A header is written backwards
 * into a small buffer and copied behind what is there.  Where RESP2 has no such type the nearest
 * one stands in, as redis does it.  When the limit is reached, or memory is refused, overflow is
 * set and nothing more is written: the owner replaces the whole. */
#include "net/resp.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST_CAP 512

void tm_resp_writer_init(struct tm_resp_writer *w, size_t limit)
{
    *w = (struct tm_resp_writer){.limit = limit, .version = 2};
}

void tm_resp_writer_free(struct tm_resp_writer *w)
{
    free(w->data);
    w->data = NULL;
    w->len = w->cap = 0;
}

void tm_resp_writer_reset(struct tm_resp_writer *w, uint8_t version, size_t keep)
{
    TM_ASSERT(version == 2 || version == 3);
    if (w->cap > keep)
        tm_resp_writer_free(w);
    w->len = 0;
    w->overflow = false;
    w->version = version;
}

static bool grow(struct tm_resp_writer *w, size_t need)
{
    size_t cap = w->cap > 0 ? w->cap : FIRST_CAP;
    while (cap < need)
        cap *= 2;
    cap = (size_t)tm_min_u64(cap, w->limit);
    uint8_t *data = realloc(w->data, cap);
    if (data == NULL)
        return false;
    w->data = data;
    w->cap = cap;
    return true;
}

uint8_t *tm_resp_reserve(struct tm_resp_writer *w, size_t n)
{
    if (TM_UNLIKELY(w->overflow || n > w->limit - w->len ||
                    (n > w->cap - w->len && !grow(w, w->len + n)))) {
        w->overflow = true;
        return NULL;
    }
    return w->data + w->len;
}

void tm_resp_raw(struct tm_resp_writer *w, struct tm_bytes resp)
{
    uint8_t *at = tm_resp_reserve(w, resp.len);
    if (at == NULL || resp.len == 0)
        return;
    memcpy(at, resp.data, resp.len);
    w->len += resp.len;
}

/* value in decimal, ending at end; returns where it starts. */
static char *decimal(char *end, uint64_t value)
{
    do {
        *--end = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return end;
}

#define HEADER_MAX 24 /* type, sign, 20 digits, CR LF */

static struct tm_bytes header(char buf[HEADER_MAX], char type, bool negative, uint64_t value)
{
    char *end = buf + HEADER_MAX;
    *--end = '\n';
    *--end = '\r';
    end = decimal(end, value);
    if (negative)
        *--end = '-';
    *--end = type;
    return tm_bytes_of(end, (size_t)(buf + HEADER_MAX - end));
}

static void write_header(struct tm_resp_writer *w, char type, uint64_t value)
{
    char buf[HEADER_MAX];
    tm_resp_raw(w, header(buf, type, false, value));
}

/* A line: type, text with CR and LF made blanks, CR LF. */
static void write_line(struct tm_resp_writer *w, char type, const char *text)
{
    size_t len = strlen(text);
    uint8_t *at = tm_resp_reserve(w, len + 3);
    if (at == NULL)
        return;
    *at++ = (uint8_t)type;
    for (size_t i = 0; i < len; i++)
        *at++ = text[i] == '\r' || text[i] == '\n' ? ' ' : (uint8_t)text[i];
    *at++ = '\r';
    *at = '\n';
    w->len += len + 3;
}

void tm_resp_simple(struct tm_resp_writer *w, const char *text)
{
    write_line(w, '+', text);
}

void tm_resp_error(struct tm_resp_writer *w, const char *text)
{
    write_line(w, '-', text);
}

void tm_resp_errorf(struct tm_resp_writer *w, const char *fmt, ...)
{
    char text[513];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    write_line(w, '-', text);
}

void tm_resp_integer(struct tm_resp_writer *w, int64_t value)
{
    char buf[HEADER_MAX];
    bool negative = value < 0;
    tm_resp_raw(w, header(buf, ':', negative, negative ? 0 - (uint64_t)value : (uint64_t)value));
}

static void write_blob(struct tm_resp_writer *w, char type, struct tm_bytes prefix,
                       struct tm_bytes bytes)
{
    char buf[HEADER_MAX];
    struct tm_bytes head = header(buf, type, false, prefix.len + bytes.len);
    uint8_t *at = tm_resp_reserve(w, head.len + prefix.len + bytes.len + 2);
    if (at == NULL)
        return;
    at = (uint8_t *)mempcpy(at, head.data, head.len);
    at = (uint8_t *)mempcpy(at, prefix.data, prefix.len);
    if (bytes.len > 0)
        at = (uint8_t *)mempcpy(at, bytes.data, bytes.len);
    at[0] = '\r';
    at[1] = '\n';
    w->len += head.len + prefix.len + bytes.len + 2;
}

void tm_resp_bulk(struct tm_resp_writer *w, struct tm_bytes bytes)
{
    write_blob(w, '$', tm_bytes_str(""), bytes);
}

void tm_resp_bulk_str(struct tm_resp_writer *w, const char *text)
{
    tm_resp_bulk(w, tm_bytes_str(text));
}

void tm_resp_bulk_i64(struct tm_resp_writer *w, int64_t value)
{
    char buf[24], *end = buf + sizeof buf;
    char *at = decimal(end, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
    if (value < 0)
        *--at = '-';
    tm_resp_bulk(w, tm_bytes_of(at, (size_t)(end - at)));
}

void tm_resp_bulk_u64(struct tm_resp_writer *w, uint64_t value)
{
    char buf[24], *end = buf + sizeof buf;
    char *at = decimal(end, value);
    tm_resp_bulk(w, tm_bytes_of(at, (size_t)(end - at)));
}

void tm_resp_null(struct tm_resp_writer *w)
{
    tm_resp_raw(w, tm_bytes_str(w->version == 3 ? "_\r\n" : "$-1\r\n"));
}

void tm_resp_null_array(struct tm_resp_writer *w)
{
    tm_resp_raw(w, tm_bytes_str(w->version == 3 ? "_\r\n" : "*-1\r\n"));
}

void tm_resp_array(struct tm_resp_writer *w, uint64_t count)
{
    write_header(w, '*', count);
}

static char map_type(const struct tm_resp_writer *w, uint64_t *count)
{
    if (w->version == 3)
        return '%';
    *count *= 2;
    return '*';
}

void tm_resp_map(struct tm_resp_writer *w, uint64_t pairs)
{
    char type = map_type(w, &pairs);
    write_header(w, type, pairs);
}

void tm_resp_set(struct tm_resp_writer *w, uint64_t count)
{
    write_header(w, w->version == 3 ? '~' : '*', count);
}

void tm_resp_push(struct tm_resp_writer *w, uint64_t count)
{
    write_header(w, w->version == 3 ? '>' : '*', count);
}

void tm_resp_double(struct tm_resp_writer *w, double value)
{
    char text[40];
    if (isinf(value))
        snprintf(text, sizeof text, "%s", value > 0 ? "inf" : "-inf");
    else if (isnan(value))
        snprintf(text, sizeof text, "nan");
    else
        snprintf(text, sizeof text, "%.17g", value);
    if (w->version == 3)
        write_line(w, ',', text);
    else
        tm_resp_bulk_str(w, text);
}

void tm_resp_bool(struct tm_resp_writer *w, bool value)
{
    if (w->version == 3)
        write_line(w, '#', value ? "t" : "f");
    else
        tm_resp_integer(w, value);
}

void tm_resp_verbatim(struct tm_resp_writer *w, struct tm_bytes text)
{
    if (w->version == 3)
        write_blob(w, '=', tm_bytes_str("txt:"), text);
    else
        tm_resp_bulk(w, text);
}

static void insert_header(struct tm_resp_writer *w, size_t at, char type, uint64_t count)
{
    char buf[HEADER_MAX];
    struct tm_bytes head = header(buf, type, false, count);
    if (tm_resp_reserve(w, head.len) == NULL)
        return;
    TM_ASSERT(at <= w->len);
    memmove(w->data + at + head.len, w->data + at, w->len - at);
    memcpy(w->data + at, head.data, head.len);
    w->len += head.len;
}

void tm_resp_insert_array(struct tm_resp_writer *w, size_t at, uint64_t count)
{
    insert_header(w, at, '*', count);
}

void tm_resp_insert_map(struct tm_resp_writer *w, size_t at, uint64_t pairs)
{
    char type = map_type(w, &pairs);
    insert_header(w, at, type, pairs);
}

void tm_resp_insert_set(struct tm_resp_writer *w, size_t at, uint64_t count)
{
    insert_header(w, at, w->version == 3 ? '~' : '*', count);
}
