/* resp_request.c: requests (net/resp.h).
 *
 * The happy path is a multibulk command that is there in full: one pass over it, words noted as
 * they pass.  Where bytes are missing, the parser keeps how far it came, not the words (the buffer
 * may move): when the rest is there a second pass over bytes known to be right collects them.
 *
 * Inline commands are looked at only when their line is complete; their words are unquoted into a
 * buffer of the caller's, so that the received bytes stay as they are.  What redis accepts is
 * accepted, the unchecked two bytes after a bulk included; what it refuses is refused with its
 * text. */
#include "net/resp.h"

#include <stdio.h>

#define UNAUTHENTICATED_ARGS  10
#define UNAUTHENTICATED_BYTES 16384

enum { STAGE_START, STAGE_MULTIBULK };

/* X(name, text) */
#define PARSE_ERRORS(X)                                                                            \
    X(NONE, "")                                                                                    \
    X(INLINE_TOO_BIG, "too big inline request")                                                    \
    X(QUOTES, "unbalanced quotes in request")                                                      \
    X(COUNT_TOO_BIG, "too big mbulk count string")                                                 \
    X(COUNT, "invalid multibulk length")                                                           \
    X(COUNT_NOAUTH, "unauthenticated multibulk length")                                            \
    X(BULK_TOO_BIG, "too big bulk count string")                                                   \
    X(BULK_TYPE, "expected '$', got '")                                                            \
    X(BULK, "invalid bulk length")                                                                 \
    X(BULK_NOAUTH, "unauthenticated bulk length")

enum {
#define X(name, text) BAD_##name,
    PARSE_ERRORS(X)
#undef X
};

static const char *const error_texts[] = {
#define X(name, text) text,
    PARSE_ERRORS(X)
#undef X
};

/* A line of `lead` and a short number; returns where the next one begins, NULL: it is none. */
static const uint8_t *peek_number(const uint8_t *p, const uint8_t *end, char lead, size_t *n)
{
    *n = 0;
    if (p == end || *p++ != (uint8_t)lead)
        return NULL;
    for (unsigned digits = 0; p < end && digits < 8; digits++, p++) {
        unsigned digit = (unsigned)*p - '0';
        if (digit > 9)
            return end - p >= 2 && p[0] == '\r' && p[1] == '\n' ? p + 2 : NULL;
        *n = 10 * *n + digit;
    }
    return NULL;
}

bool tm_resp_peek(struct tm_bytes data, unsigned word, struct tm_bytes *out)
{
    const uint8_t *end = data.data + data.len;
    size_t words, len;
    const uint8_t *p = peek_number(data.data, end, '*', &words);
    for (unsigned i = 0; p != NULL && i < words; i++) {
        p = peek_number(p, end, '$', &len);
        if (p == NULL || len > (size_t)(end - p))
            return false;
        *out = tm_bytes_of(p, len);
        if (i == word)
            return true;
        p = (size_t)(end - p) - len >= 2 ? p + len + 2 : NULL;
    }
    return false;
}

bool tm_resp_to_i64(struct tm_bytes text, int64_t *value)
{
    size_t i = text.len > 0 && text.data[0] == '-';
    uint64_t n = 0;
    if (i == text.len || text.len > 20)
        return false;
    if (text.data[i] == '0') {
        *value = 0;
        return text.len == 1;
    }
    for (; i < text.len; i++) {
        unsigned digit = (unsigned)text.data[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(n, 10u, &n) || __builtin_add_overflow(n, digit, &n))
            return false;
    }
    bool negative = text.data[0] == '-';
    if (n > (uint64_t)INT64_MAX + negative)
        return false;
    *value = negative ? (int64_t)(0 - n) : (int64_t)n;
    return true;
}

static enum tm_resp_status broken(struct tm_resp_parser *p, uint8_t error)
{
    p->error = error;
    return TM_RESP_BROKEN;
}

/* The number on the line that starts at *at (behind its type byte).  DONE: *at stands behind the
 * line end. */
static enum tm_resp_status read_count(struct tm_resp_parser *p, const uint8_t *data, size_t len,
                                      size_t *at, int64_t *count, uint8_t too_big, uint8_t invalid)
{
    size_t i = *at;
    uint32_t n = 0;
    while (i < len && i - *at < 9 && data[i] >= '0' && data[i] <= '9')
        n = n * 10 + (uint32_t)(data[i++] - '0');
    if (TM_LIKELY(i + 1 < len && data[i] == '\r' && i > *at &&
                  (data[*at] != '0' || i == *at + 1))) {
        *count = n;
        *at = i + 2;
        return TM_RESP_DONE;
    }
    const uint8_t *end = memchr(data + *at, '\r', len - *at);
    if (end == NULL)
        return len - *at > TM_RESP_INLINE_MAX ? broken(p, too_big) : TM_RESP_MORE;
    if ((size_t)(end - data) + 1 >= len)
        return TM_RESP_MORE;
    if (!tm_resp_to_i64(tm_bytes_of(data + *at, (size_t)(end - data) - *at), count))
        return broken(p, invalid);
    *at = (size_t)(end - data) + 2;
    return TM_RESP_DONE;
}

/* Reads "*N": how many words come.  N <= 0 is an empty command. */
static enum tm_resp_status read_header(struct tm_resp_parser *p,
                                       const struct tm_resp_limits *limits, const uint8_t *data,
                                       size_t len)
{
    int64_t count;
    size_t at = 1;
    enum tm_resp_status st = read_count(p, data, len, &at, &count, BAD_COUNT_TOO_BIG, BAD_COUNT);
    if (st != TM_RESP_DONE)
        return st;
    if (count > limits->max_args)
        return broken(p, BAD_COUNT);
    if (limits->unauthenticated && count > UNAUTHENTICATED_ARGS)
        return broken(p, BAD_COUNT_NOAUTH);
    p->pos = at;
    p->args = p->args_left = count > 0 ? (uint32_t)count : 0;
    p->stage = STAGE_MULTIBULK;
    return TM_RESP_DONE;
}

/* Reads "$N" at p->pos: how long the next word is. */
static enum tm_resp_status read_bulk_len(struct tm_resp_parser *p,
                                         const struct tm_resp_limits *limits, const uint8_t *data,
                                         size_t len)
{
    int64_t count;
    size_t at = p->pos + 1;
    if (p->pos >= len)
        return TM_RESP_MORE;
    if (data[p->pos] != '$') {
        /* Redis looks at the type only when the line is complete. */
        const uint8_t *end = memchr(data + p->pos, '\r', len - p->pos);
        if (end == NULL)
            return len - p->pos > TM_RESP_INLINE_MAX ? broken(p, BAD_BULK_TOO_BIG) : TM_RESP_MORE;
        p->got = data[p->pos];
        return broken(p, BAD_BULK_TYPE);
    }
    enum tm_resp_status st = read_count(p, data, len, &at, &count, BAD_BULK_TOO_BIG, BAD_BULK);
    if (st != TM_RESP_DONE)
        return st;
    if (count < 0 || count > limits->max_arg_bytes)
        return broken(p, BAD_BULK);
    if (limits->unauthenticated && count > UNAUTHENTICATED_BYTES)
        return broken(p, BAD_BULK_NOAUTH);
    p->pos = at;
    p->bulk_len = (size_t)count;
    p->in_bulk = true;
    return TM_RESP_DONE;
}

/* Goes on from where the parser stands; words that end now are put into argv. */
static enum tm_resp_status read_words(struct tm_resp_parser *p, const struct tm_resp_limits *limits,
                                      const uint8_t *data, size_t len, struct tm_bytes *argv)
{
    while (p->args_left > 0) {
        if (!p->in_bulk) {
            enum tm_resp_status st = read_bulk_len(p, limits, data, len);
            if (st != TM_RESP_DONE)
                return st;
        }
        if (len - p->pos < p->bulk_len + 2)
            return TM_RESP_MORE;
        argv[p->args - p->args_left] = tm_bytes_of(data + p->pos, p->bulk_len);
        p->pos += p->bulk_len + 2;
        p->in_bulk = false;
        p->args_left--;
    }
    return TM_RESP_DONE;
}

static enum tm_resp_status parse_multibulk(struct tm_resp_parser *p,
                                           const struct tm_resp_limits *limits, const uint8_t *data,
                                           size_t len, struct tm_bytes *argv)
{
    enum tm_resp_status st = TM_RESP_DONE;
    bool resumed = p->stage == STAGE_MULTIBULK;
    if (!resumed)
        st = read_header(p, limits, data, len);
    if (st == TM_RESP_DONE)
        st = read_words(p, limits, data, len, argv);
    if (st == TM_RESP_DONE && resumed) {
        struct tm_resp_parser again = {0};
        st = read_header(&again, limits, data, len);
        TM_ASSERT(st == TM_RESP_DONE && again.args == p->args);
        st = read_words(&again, limits, data, len, argv);
        TM_ASSERT(st == TM_RESP_DONE && again.pos == p->pos);
    }
    return st;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What a backslash inside double quotes stands for; *at is behind the backslash and moves on. */
static uint8_t unescape(const uint8_t *line, size_t len, size_t *at)
{
    uint8_t c = line[*at];
    if (c == 'x' && *at + 2 < len && hex_digit(line[*at + 1]) >= 0 &&
        hex_digit(line[*at + 2]) >= 0) {
        int value = hex_digit(line[*at + 1]) * 16 + hex_digit(line[*at + 2]);
        *at += 3;
        return (uint8_t)value;
    }
    (*at)++;
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return c;
    }
}

struct inline_reader {
    const uint8_t *line;
    size_t len, at;
    uint8_t *out; /* where the next byte of a word goes; words never get longer by unquoting */
};

/* Takes what stands in quotes; at is behind the opening quote and ends behind the closing one.
 * False: no closing quote, or no blank behind it. */
static bool read_quoted(struct inline_reader *r, uint8_t quote)
{
    while (r->at < r->len && r->line[r->at] != quote) {
        bool escape = r->line[r->at] == '\\' && r->at + 1 < r->len;
        if (escape && quote == '"') {
            r->at++;
            *r->out++ = unescape(r->line, r->len, &r->at);
        } else {
            if (escape && r->line[r->at + 1] == '\'')
                r->at++;
            *r->out++ = r->line[r->at++];
        }
    }
    if (r->at >= r->len)
        return false;
    r->at++;
    return r->at == r->len || is_blank(r->line[r->at]) || r->line[r->at] == 0;
}

/* One word of an inline command, from at (no blank there). */
static bool read_inline_word(struct inline_reader *r, struct tm_bytes *word)
{
    uint8_t *start = r->out;
    while (r->at < r->len && !is_blank(r->line[r->at]) && r->line[r->at] != 0) {
        uint8_t c = r->line[r->at++];
        if (c == '"' || c == '\'') {
            if (!read_quoted(r, c))
                return false;
            break;
        }
        *r->out++ = c;
    }
    *word = tm_bytes_of(start, (size_t)(r->out - start));
    return true;
}

static enum tm_resp_status parse_inline(struct tm_resp_parser *p,
                                        const struct tm_resp_limits *limits, const uint8_t *data,
                                        size_t len, struct tm_bytes *argv, unsigned *argc)
{
    const uint8_t *end = memchr(data + p->pos, '\n', len - p->pos);
    size_t line = end != NULL ? (size_t)(end - data) : len;
    if (line > TM_RESP_INLINE_MAX)
        return broken(p, BAD_INLINE_TOO_BIG);
    p->pos = line;
    if (end == NULL)
        return TM_RESP_MORE;
    p->pos++;
    if (line > 0 && data[line - 1] == '\r')
        line--;
    struct inline_reader r = {.line = data, .len = line, .out = limits->unquoted};
    for (;;) {
        while (r.at < line && is_blank(data[r.at]))
            r.at++;
        if (r.at == line || data[r.at] == 0)
            return TM_RESP_DONE;
        if (*argc == limits->max_args)
            return broken(p, BAD_COUNT);
        if (!read_inline_word(&r, &argv[(*argc)++]))
            return broken(p, BAD_QUOTES);
    }
}

enum tm_resp_status tm_resp_parse(struct tm_resp_parser *p, const struct tm_resp_limits *limits,
                                  const uint8_t *data, size_t len, struct tm_bytes *argv,
                                  unsigned *argc, size_t *used)
{
    enum tm_resp_status st;
    *argc = 0;
    if (len == 0)
        return TM_RESP_MORE;
    if (data[0] == '*') {
        st = parse_multibulk(p, limits, data, len, argv);
        *argc = p->args;
    } else {
        st = parse_inline(p, limits, data, len, argv, argc);
    }
    if (st == TM_RESP_DONE) {
        *used = p->pos;
        *p = (struct tm_resp_parser){0};
    }
    return st;
}

size_t tm_resp_parse_error(const struct tm_resp_parser *p, char *buf, size_t cap)
{
    char got[4] = "";
    TM_ASSERT(p->error != BAD_NONE && p->error < TM_ARRAY_LEN(error_texts) && cap > 0);
    if (p->error == BAD_BULK_TYPE)
        snprintf(got, sizeof got, "%c'", p->got);
    int n = snprintf(buf, cap, "Protocol error: %s%s", error_texts[p->error], got);
    return (size_t)n < cap ? (size_t)n : cap - 1;
}
