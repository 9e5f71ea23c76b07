/* commands_util.c: what many commands do: reading words, finding entities, chance, scans.
 *
 * Error texts are redis's own, to the letter: clients and their tests compare them. */
#include "actors/commands_internal.h"
#include "actors/glob.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void tm_reply_syntax(struct tm_exec *x)
{
    tm_resp_error(x->reply, "ERR syntax error");
}

void tm_reply_arity(struct tm_exec *x, const char *command)
{
    tm_resp_errorf(x->reply, "ERR wrong number of arguments for '%s' command", command);
}

void tm_reply_ok(struct tm_exec *x)
{
    tm_resp_simple(x->reply, "OK");
}

bool tm_word_range(struct tm_exec *x, struct tm_bytes word, int64_t low, int64_t high,
                   const char *error, int64_t *out)
{
    if (tm_resp_to_i64(word, out) && *out >= low && *out <= high)
        return true;
    tm_resp_error(x->reply, error);
    return false;
}

bool tm_word_int(struct tm_exec *x, struct tm_bytes word, int64_t *out)
{
    return tm_word_range(x, word, INT64_MIN, INT64_MAX,
                         "ERR value is not an integer or out of range", out);
}

bool tm_word_count(struct tm_exec *x, struct tm_bytes word, int64_t *out)
{
    if (!tm_word_int(x, word, out))
        return false;
    if (*out != INT64_MIN)
        return true;
    tm_resp_error(x->reply, "ERR value is out of range, value must between "
                            "-9223372036854775807 and 9223372036854775807");
    return false;
}

bool tm_text_float(struct tm_bytes text, long double *out)
{
    char buf[TM_FLOAT_TEXT], *end; /* what tm_float_text wrote is read again */
    if (text.len == 0 || text.len >= sizeof buf || memchr(text.data, 0, text.len) != NULL ||
        strchr(" \t\n\v\f\r", text.data[0]) != NULL)
        return false;
    memcpy(buf, text.data, text.len);
    buf[text.len] = 0;
    errno = 0;
    *out = strtold(buf, &end);
    return *end == 0 && !isnan(*out) && !(errno == ERANGE && (isinf(*out) || *out == 0));
}

struct tm_bytes tm_float_text(long double value, char *buf)
{
    int n = snprintf(buf, TM_FLOAT_TEXT, "%.17Lf", value);
    TM_ASSERT(n > 0 && n < TM_FLOAT_TEXT);
    size_t len = (size_t)n;
    while (buf[len - 1] == '0')
        len--;
    if (buf[len - 1] == '.')
        len--;
    if (len == 2 && buf[0] == '-' && buf[1] == '0')
        return tm_bytes_str("0");
    return tm_bytes_of(buf, len);
}

bool tm_word_expiry(struct tm_exec *x, struct tm_bytes word, int64_t unit_ms, uint64_t base_ms,
                    bool positive, const char *command, int64_t *out)
{
    int64_t v;
    if (!tm_word_int(x, word, &v))
        return false;
    if ((positive && v <= 0) || __builtin_mul_overflow(v, unit_ms, &v) ||
        __builtin_add_overflow(v, (int64_t)base_ms, &v)) {
        tm_resp_errorf(x->reply, "ERR invalid expire time in '%s' command", command);
        return false;
    }
    *out = v;
    return true;
}

const struct tm_entity *tm_find(struct tm_exec *x, struct tm_bytes key)
{
    const struct tm_entity *e = tm_store_find(x->store, key);
    x->hits += e != NULL;
    x->misses += e == NULL;
    return e;
}

bool tm_find_typed(struct tm_exec *x, struct tm_bytes key, enum tm_entity_type type,
                   const struct tm_entity **e)
{
    *e = tm_find(x, key);
    if (*e == NULL || tm_entity_type(*e) == type)
        return true;
    tm_resp_error(x->reply, "WRONGTYPE Operation against a key holding the wrong kind of value");
    return false;
}

bool tm_find_string(struct tm_exec *x, struct tm_bytes key, const struct tm_entity **e,
                    struct tm_value *v)
{
    *v = (struct tm_value){.text = TM_NO_BYTES};
    if (!tm_find_typed(x, key, TM_ENTITY_STRING, e))
        return false;
    if (*e != NULL)
        tm_entity_string(*e, v);
    return true;
}

bool tm_fits(struct tm_exec *x, uint64_t bytes)
{
    if (bytes <= x->max_entity_bytes)
        return true;
    tm_resp_error(x->reply, "ERR entity exceeds maximum allowed size (max-entity-bytes)");
    return false;
}

bool tm_fits_fields(struct tm_exec *x, struct tm_bytes key, const struct tm_entity *e,
                    const struct tm_bytes *words, unsigned count, unsigned step)
{
    uint64_t bytes = e != NULL ? tm_entity_bytes(e) : key.len, new = 0;
    for (unsigned i = 0; i < count; i++)
        new += words[i].len + (i % step == 0 ? sizeof(struct tm_entity) : 0);
    if (bytes + new <= x->max_entity_bytes || e == NULL)
        return tm_fits(x, bytes + new);
    for (unsigned i = 0; i < count; i += step) { /* what is replaced makes room */
        struct tm_value old;
        if (!tm_entity_field(e, words[i], &old))
            continue;
        new -= tm_min_u64(new, words[i].len + sizeof(struct tm_entity));
        if (step == 2)
            bytes -= tm_min_u64(bytes, old.text.len);
    }
    return tm_fits(x, bytes + new);
}

void tm_put_string(struct tm_exec *x, struct tm_bytes key, struct tm_bytes value, bool keep_expiry)
{
    const struct tm_entity *e = tm_store_find(x->store, key);
    uint64_t expiry = e != NULL ? tm_entity_expiry(e) : 0;
    bool string = e != NULL && tm_entity_type(e) == TM_ENTITY_STRING;
    bool stays = string && (expiry == 0 || keep_expiry);
    if (e != NULL && !stays)
        tm_store_del(x->store, key);
    tm_store_set_field(x->store, key, TM_ENTITY_STRING, TM_NO_BYTES, value);
    if (keep_expiry && expiry != 0 && !stays)
        tm_store_set_expiry(x->store, key, expiry);
}

void tm_reply_value(struct tm_exec *x, bool there, const struct tm_value *v)
{
    if (there)
        tm_resp_bulk(x->reply, v->text);
    else
        tm_resp_null(x->reply);
}

bool tm_add_int(struct tm_exec *x, int64_t a, int64_t b, int64_t *sum)
{
    if (!__builtin_add_overflow(a, b, sum))
        return true;
    tm_resp_error(x->reply, "ERR increment or decrement would overflow");
    return false;
}

uint64_t tm_exec_random(struct tm_exec *x)
{
    uint64_t z = x->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t tm_exec_below(struct tm_exec *x, uint64_t n)
{
    TM_ASSERT(n > 0);
    return (uint64_t)((unsigned __int128)tm_exec_random(x) * n >> 64);
}

bool tm_draw_next(struct tm_exec *x, struct tm_draw *d)
{
    TM_ASSERT(d->left > 0);
    bool take = tm_exec_below(x, d->left) < d->want;
    d->want -= take;
    d->left--;
    return take;
}

static void reply_field(struct tm_exec *x, struct tm_bytes name, const struct tm_value *v)
{
    if (v != NULL && x->reply->version == 3)
        tm_resp_array(x->reply, 2);
    tm_resp_bulk(x->reply, name);
    if (v != NULL)
        tm_resp_bulk(x->reply, v->text);
}

void tm_reply_random_fields(struct tm_exec *x, const struct tm_entity *e, int64_t count,
                            bool with_values)
{
    uint64_t size = tm_entity_fields(e), n = count < 0 ? 0 - (uint64_t)count : (uint64_t)count;
    struct tm_bytes name;
    struct tm_value value, *v = with_values ? &value : NULL;
    if (count > 0)
        n = tm_min_u64(n, size);
    tm_resp_array(x->reply, with_values && x->reply->version == 2 ? 2 * n : n);
    if (count < 0) {
        for (uint64_t i = 0; i < n && !x->reply->overflow; i++) {
            tm_entity_field_at(e, tm_exec_below(x, size), &name, v);
            reply_field(x, name, v);
        }
        return;
    }
    struct tm_draw draw = {n, size};
    struct tm_field_iter it;
    tm_field_first(&it, e);
    while (draw.want > 0 && tm_field_next(&it, &name, v))
        if (tm_draw_next(x, &draw))
            reply_field(x, name, v);
}

bool tm_scan_options(struct tm_exec *x, const struct tm_bytes *argv, unsigned first, unsigned argc,
                     bool keys, struct tm_scan_options *o)
{
    *o = (struct tm_scan_options){.count = 10};
    for (unsigned i = first; i < argc; i += 2) {
        int64_t count;
        if (i + 1 < argc && tm_word_is(argv[i], "count")) {
            if (!tm_word_int(x, argv[i + 1], &count))
                return false;
            if (count < 1) {
                tm_reply_syntax(x);
                return false;
            }
            o->count = (unsigned)tm_min_u64((uint64_t)count, 1u << 20);
        } else if (i + 1 < argc && tm_word_is(argv[i], "match")) {
            o->match = argv[i + 1];
        } else if (i + 1 < argc && keys && tm_word_is(argv[i], "type")) {
            o->type = argv[i + 1];
        } else {
            tm_reply_syntax(x);
            return false;
        }
    }
    return true;
}

struct field_scan {
    struct tm_exec *x;
    const struct tm_scan_options *options;
    uint64_t written;
    bool values;
};

static void scan_field(void *host, struct tm_bytes name, const struct tm_value *value)
{
    struct field_scan *f = host;
    if (f->options->match.data != NULL && !tm_glob_match(f->options->match, name, false))
        return;
    tm_resp_bulk(f->x->reply, name);
    if (f->values)
        tm_resp_bulk(f->x->reply, value->text);
    f->written += f->values ? 2 : 1;
}

static bool parse_cursor(struct tm_exec *x, struct tm_bytes word, uint64_t *cursor)
{
    uint64_t v = 0;
    bool ok = word.len > 0 && word.len <= 20;
    for (size_t i = 0; ok && i < word.len; i++) {
        uint64_t digit = (uint64_t)word.data[i] - '0';
        ok = digit <= 9 && !__builtin_mul_overflow(v, 10, &v) &&
             !__builtin_add_overflow(v, digit, &v);
    }
    if (!ok)
        tm_resp_error(x->reply, "ERR invalid cursor");
    *cursor = v;
    return ok;
}

void tm_scan_fields(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc,
                    enum tm_entity_type type)
{
    const struct tm_entity *e;
    struct tm_scan_options options = {.count = 10};
    uint64_t cursor;
    if (!parse_cursor(x, argv[2], &cursor) || !tm_find_typed(x, argv[1], type, &e) ||
        (e != NULL && !tm_scan_options(x, argv, 3, argc, false, &options)))
        return;
    struct field_scan f = {x, &options, 0, type == TM_ENTITY_HASH};
    struct tm_resp_writer *w = x->reply;
    tm_resp_array(w, 2);
    size_t at = w->len;
    cursor = e != NULL && cursor >> 48 == 0
                 ? tm_entity_scan(e, cursor, options.count, scan_field, &f)
                 : 0;
    tm_resp_insert_array(w, at, f.written);
    size_t mark = w->len;
    tm_resp_bulk_u64(w, cursor);
    if (w->overflow)
        return;
    uint8_t head[32]; /* the cursor comes first, but is known last */
    size_t head_len = w->len - mark;
    TM_ASSERT(head_len <= sizeof head);
    memcpy(head, w->data + mark, head_len);
    memmove(w->data + at + head_len, w->data + at, mark - at);
    memcpy(w->data + at, head, head_len);
}
