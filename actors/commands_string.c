/* commands_string.c: strings and counters.
 *
 * INCR and its kin are logged as counters (a running total of the leader's term), the rest as
 * absolute values.  A command that overwrites a string drops its expiry, one that edits it keeps
 * it, as in redis. */
#include "actors/commands_internal.h"

#include <math.h>

void tm_cmd_get(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    const struct tm_entity *e;
    struct tm_value v;
    if (tm_find_string(x, argv[1], &e, &v))
        tm_reply_value(x, e != NULL, &v);
}

enum {
    NX = 1,
    XX = 2,
    GET = 4,
    KEEPTTL = 8,
    PERSIST = 16,
    EX = 32,
    PX = 64,
    EXAT = 128,
    PXAT = 256
};
#define ANY_TIME (EX | PX | EXAT | PXAT)

struct set_options {
    unsigned flags;
    struct tm_bytes time;
};

/* X(word, flag, not together with) of SET; of GETEX. */
#define SET_OPTIONS(X)                                                                             \
    X("nx", NX, XX)                                                                                \
    X("xx", XX, NX)                                                                                \
    X("get", GET, 0)                                                                               \
    X("keepttl", KEEPTTL, ANY_TIME)                                                                \
    X("ex", EX, KEEPTTL | ANY_TIME)                                                                \
    X("px", PX, KEEPTTL | ANY_TIME)                                                                \
    X("exat", EXAT, KEEPTTL | ANY_TIME)                                                            \
    X("pxat", PXAT, KEEPTTL | ANY_TIME)
#define GETEX_OPTIONS(X)                                                                           \
    X("persist", PERSIST, ANY_TIME)                                                                \
    X("ex", EX, PERSIST | ANY_TIME)                                                                \
    X("px", PX, PERSIST | ANY_TIME)                                                                \
    X("exat", EXAT, PERSIST | ANY_TIME)                                                            \
    X("pxat", PXAT, PERSIST | ANY_TIME)

struct option {
    const char *word;
    unsigned flag, excludes;
};
#define X(word, flag, excludes) {word, flag, excludes},
static const struct option set_table[] = {SET_OPTIONS(X)};
static const struct option getex_table[] = {GETEX_OPTIONS(X)};
#undef X

static bool parse_options(struct tm_exec *x, const struct tm_bytes *argv, unsigned first,
                          unsigned argc, const struct option *table, size_t count,
                          struct set_options *o)
{
    *o = (struct set_options){0};
    for (unsigned i = first; i < argc; i++) {
        size_t k = 0;
        while (k < count && !tm_word_is(argv[i], table[k].word))
            k++;
        bool timed = k < count && (table[k].flag & ANY_TIME) != 0;
        if (k == count || (o->flags & table[k].excludes) != 0 || (timed && i + 1 == argc)) {
            tm_reply_syntax(x);
            return false;
        }
        o->flags |= table[k].flag;
        if (timed)
            o->time = argv[++i];
    }
    return true;
}

/* The time that EX and its kin name, 0 if none. */
static bool option_time(struct tm_exec *x, const struct set_options *o, const char *command,
                        int64_t *ms)
{
    *ms = 0;
    if ((o->flags & ANY_TIME) == 0)
        return true;
    return tm_word_expiry(x, o->time, o->flags & (EX | EXAT) ? 1000 : 1,
                          o->flags & (EX | PX) ? x->now_ms : 0, true, command, ms);
}

static bool fits_string(struct tm_exec *x, struct tm_bytes key, uint64_t len)
{
    return tm_fits(x, key.len + len);
}

void tm_cmd_set(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    struct set_options o;
    int64_t ms;
    if (!parse_options(x, argv, 3, argc, set_table, TM_ARRAY_LEN(set_table), &o) ||
        !option_time(x, &o, "set", &ms) || !fits_string(x, argv[1], argv[2].len))
        return;
    bool get = (o.flags & GET) != 0;
    const struct tm_entity *e = tm_store_find(x->store, argv[1]);
    struct tm_value v;
    if (get) {
        if (!tm_find_string(x, argv[1], &e, &v))
            return;
        tm_reply_value(x, e != NULL, &v);
    }
    if ((o.flags & NX && e != NULL) || (o.flags & XX && e == NULL)) {
        if (!get)
            tm_resp_null(x->reply);
        return;
    }
    tm_put_string(x, argv[1], argv[2], (o.flags & KEEPTTL) != 0);
    if (ms != 0)
        tm_store_set_expiry(x->store, argv[1], (uint64_t)ms);
    if (!get)
        tm_reply_ok(x);
}

void tm_cmd_setnx(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    if (!fits_string(x, argv[1], argv[2].len))
        return;
    bool there = tm_store_find(x->store, argv[1]) != NULL;
    if (!there)
        tm_put_string(x, argv[1], argv[2], false);
    tm_resp_integer(x->reply, !there);
}

static void set_for(struct tm_exec *x, const struct tm_bytes *argv, int64_t unit_ms,
                    const char *command)
{
    int64_t ms;
    if (!tm_word_expiry(x, argv[2], unit_ms, x->now_ms, true, command, &ms) ||
        !fits_string(x, argv[1], argv[3].len))
        return;
    tm_put_string(x, argv[1], argv[3], false);
    tm_store_set_expiry(x->store, argv[1], (uint64_t)ms);
    tm_reply_ok(x);
}

void tm_cmd_setex(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    set_for(x, argv, 1000, "setex");
}

void tm_cmd_psetex(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    set_for(x, argv, 1, "psetex");
}

void tm_cmd_getset(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    const struct tm_entity *e;
    struct tm_value v;
    if (!fits_string(x, argv[1], argv[2].len) || !tm_find_string(x, argv[1], &e, &v))
        return;
    tm_reply_value(x, e != NULL, &v);
    tm_put_string(x, argv[1], argv[2], false);
}

void tm_cmd_getdel(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    const struct tm_entity *e;
    struct tm_value v;
    if (!tm_find_string(x, argv[1], &e, &v))
        return;
    tm_reply_value(x, e != NULL, &v);
    if (e != NULL)
        tm_store_del(x->store, argv[1]);
}

void tm_cmd_getex(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    struct set_options o;
    const struct tm_entity *e;
    struct tm_value v;
    int64_t ms;
    if (!parse_options(x, argv, 2, argc, getex_table, TM_ARRAY_LEN(getex_table), &o) ||
        !tm_find_string(x, argv[1], &e, &v))
        return;
    if (e == NULL) {
        tm_resp_null(x->reply);
        return;
    }
    if (!option_time(x, &o, "getex", &ms))
        return;
    tm_reply_value(x, true, &v);
    if (ms != 0 && (uint64_t)ms <= x->now_ms)
        tm_store_del(x->store, argv[1]);
    else if (ms != 0)
        tm_store_set_expiry(x->store, argv[1], (uint64_t)ms);
    else if (o.flags & PERSIST && tm_entity_expiry(e) != 0)
        tm_store_persist(x->store, argv[1]);
}

void tm_cmd_append(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    const struct tm_entity *e;
    struct tm_value v;
    if (!tm_find_string(x, argv[1], &e, &v) || !fits_string(x, argv[1], v.text.len + argv[2].len))
        return;
    size_t len = v.text.len;
    if (argv[2].len > 0 || e == NULL)
        tm_store_set_range(x->store, argv[1], len, argv[2]);
    tm_resp_integer(x->reply, (int64_t)(len + argv[2].len));
}

void tm_cmd_strlen(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    const struct tm_entity *e;
    struct tm_value v;
    if (tm_find_string(x, argv[1], &e, &v))
        tm_resp_integer(x->reply, (int64_t)v.text.len);
}

void tm_cmd_getrange(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    const struct tm_entity *e;
    struct tm_value v;
    int64_t start, end;
    if (!tm_word_int(x, argv[2], &start) || !tm_word_int(x, argv[3], &end) ||
        !tm_find_string(x, argv[1], &e, &v))
        return;
    int64_t len = (int64_t)v.text.len;
    bool none = start < 0 && end < 0 && start > end;
    start = start < 0 ? start + len : start;
    end = end < 0 ? end + len : end;
    start = start < 0 ? 0 : start;
    end = end < 0 ? 0 : end;
    end = end >= len ? len - 1 : end;
    if (none || len == 0 || start > end)
        tm_resp_bulk(x->reply, tm_bytes_str(""));
    else
        tm_resp_bulk(x->reply, tm_bytes_of(v.text.data + start, (size_t)(end - start + 1)));
}

void tm_cmd_substr(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    tm_cmd_getrange(x, argv, argc);
}

void tm_cmd_setrange(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    const struct tm_entity *e;
    struct tm_value v;
    int64_t offset;
    if (!tm_word_int(x, argv[2], &offset))
        return;
    if (offset < 0) {
        tm_resp_error(x->reply, "ERR offset is out of range");
        return;
    }
    if (!tm_find_string(x, argv[1], &e, &v))
        return;
    uint64_t len = v.text.len, end = (uint64_t)offset + argv[3].len;
    if (argv[3].len == 0) {
        tm_resp_integer(x->reply, (int64_t)len);
        return;
    }
    if (!fits_string(x, argv[1], tm_max_u64(len, end)))
        return;
    tm_store_set_range(x->store, argv[1], (size_t)offset, argv[3]);
    tm_resp_integer(x->reply, (int64_t)tm_max_u64(len, end));
}

static void add(struct tm_exec *x, struct tm_bytes key, int64_t delta)
{
    const struct tm_entity *e;
    struct tm_value v;
    int64_t now = 0, sum;
    if (!tm_find_string(x, key, &e, &v) || (e != NULL && !tm_word_int(x, v.text, &now)) ||
        !tm_add_int(x, now, delta, &sum))
        return;
    tm_store_add(x->store, key, TM_ENTITY_STRING, TM_NO_BYTES, delta);
    tm_resp_integer(x->reply, sum);
}

void tm_cmd_incr(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    add(x, argv[1], 1);
}

void tm_cmd_decr(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    add(x, argv[1], -1);
}

void tm_cmd_incrby(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    int64_t delta;
    if (tm_word_int(x, argv[2], &delta))
        add(x, argv[1], delta);
}

void tm_cmd_decrby(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    int64_t delta;
    if (!tm_word_int(x, argv[2], &delta))
        return;
    if (delta == INT64_MIN)
        tm_resp_error(x->reply, "ERR decrement would overflow");
    else
        add(x, argv[1], -delta);
}

void tm_cmd_incrbyfloat(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    const struct tm_entity *e;
    struct tm_value v;
    long double now = 0, delta;
    char buf[TM_FLOAT_TEXT];
    if (!tm_find_string(x, argv[1], &e, &v))
        return;
    if ((e != NULL && !tm_text_float(v.text, &now)) || !tm_text_float(argv[2], &delta)) {
        tm_resp_error(x->reply, "ERR value is not a valid float");
        return;
    }
    if (isnan(now + delta) || isinf(now + delta)) {
        tm_resp_error(x->reply, "ERR increment would produce NaN or Infinity");
        return;
    }
    struct tm_bytes text = tm_float_text(now + delta, buf);
    if (!fits_string(x, argv[1], text.len))
        return;
    tm_put_string(x, argv[1], text, true);
    tm_resp_bulk(x->reply, text);
}

void tm_cmd_mget(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    tm_resp_array(x->reply, argc - 1);
    for (unsigned i = 1; i < argc; i++) {
        const struct tm_entity *e = tm_find(x, argv[i]);
        struct tm_value v;
        bool string = e != NULL && tm_entity_type(e) == TM_ENTITY_STRING;
        if (string)
            tm_entity_string(e, &v);
        tm_reply_value(x, string, &v);
    }
}

static bool pairs_fit(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc,
                      const char *command)
{
    if (argc % 2 == 0) {
        tm_reply_arity(x, command);
        return false;
    }
    for (unsigned i = 1; i < argc; i += 2)
        if (!fits_string(x, argv[i], argv[i + 1].len))
            return false;
    return true;
}

static void put_pairs(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    for (unsigned i = 1; i < argc; i += 2)
        tm_put_string(x, argv[i], argv[i + 1], false);
}

void tm_cmd_mset(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    if (!pairs_fit(x, argv, argc, "mset"))
        return;
    put_pairs(x, argv, argc);
    tm_reply_ok(x);
}

void tm_cmd_msetnx(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    if (!pairs_fit(x, argv, argc, "msetnx"))
        return;
    bool there = false;
    for (unsigned i = 1; i < argc; i += 2)
        there |= tm_store_find(x->store, argv[i]) != NULL;
    if (!there)
        put_pairs(x, argv, argc);
    tm_resp_integer(x->reply, !there);
}
