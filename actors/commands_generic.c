/* commands_generic.c: keys of any type: deleting, naming, life and expiry, walking.
 *
 * RENAME and COPY write the destination's fields as absolute values: a counter arrives as its sum.
 * The last group speaks of one partition only; the session asks all of them and puts the answers
 * together. */
#include "actors/commands_internal.h"
#include "actors/glob.h"
#include "runtime/crc16.h"
#include "storage/store_link.h"

#define REDIS_DATABASES 16 /* that redis speaks of in its errors */

static int64_t count_there(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    int64_t n = 0;
    for (unsigned i = 1; i < argc; i++)
        n += tm_find(x, argv[i]) != NULL;
    return n;
}

void tm_cmd_del(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    int64_t n = 0;
    for (unsigned i = 1; i < argc; i++) {
        if (tm_store_find(x->store, argv[i]) == NULL)
            continue;
        tm_store_del(x->store, argv[i]);
        n++;
    }
    tm_resp_integer(x->reply, n);
}

void tm_cmd_unlink(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    tm_cmd_del(x, argv, argc);
}

void tm_cmd_exists(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    tm_resp_integer(x->reply, count_there(x, argv, argc));
}

void tm_cmd_touch(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    tm_resp_integer(x->reply, count_there(x, argv, argc));
}

static const char *type_name(const struct tm_entity *e)
{
    static const char *const names[] = {"string", "hash", "set"};
    return e == NULL ? "none" : names[tm_entity_type(e)];
}

void tm_cmd_type(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    tm_resp_simple(x->reply, type_name(tm_find(x, argv[1])));
}

/* ---- RENAME, COPY ---- */

/* Encodes all that e holds under another key; between hold and release. */
static void copy_entity(struct tm_exec *x, const struct tm_entity *e, struct tm_bytes to)
{
    enum tm_entity_type type = tm_entity_type(e);
    struct tm_value v = {.text = TM_NO_BYTES};
    if (tm_store_find(x->store, to) != NULL)
        tm_store_del(x->store, to);
    if (type == TM_ENTITY_STRING) {
        tm_entity_string(e, &v);
        tm_store_set_field(x->store, to, type, TM_NO_BYTES, v.text);
    } else {
        struct tm_field_iter it;
        struct tm_bytes name;
        tm_field_first(&it, e);
        while (tm_field_next(&it, &name, &v))
            tm_store_set_field(x->store, to, type, name,
                               type == TM_ENTITY_SET ? TM_NO_BYTES : v.text);
    }
    if (tm_entity_expiry(e) != 0)
        tm_store_set_expiry(x->store, to, tm_entity_expiry(e));
}

static bool same_key(const struct tm_bytes *argv)
{
    return tm_bytes_equal(argv[1], argv[2]);
}

/* False if there is nothing to rename, or no room; then the error is written. */
static bool rename_key(struct tm_exec *x, const struct tm_bytes *argv)
{
    const struct tm_entity *e = tm_store_find(x->store, argv[1]);
    if (!tm_fits(x, tm_entity_bytes(e) - argv[1].len + argv[2].len))
        return false;
    tm_store_hold(x->store);
    copy_entity(x, e, argv[2]);
    tm_store_del(x->store, argv[1]);
    tm_store_release(x->store);
    return true;
}

static bool there_or_error(struct tm_exec *x, struct tm_bytes key)
{
    if (tm_store_find(x->store, key) != NULL)
        return true;
    tm_resp_error(x->reply, "ERR no such key");
    return false;
}

void tm_cmd_rename(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    if (there_or_error(x, argv[1]) && (same_key(argv) || rename_key(x, argv)))
        tm_reply_ok(x);
}

void tm_cmd_renamenx(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    if (!there_or_error(x, argv[1]))
        return;
    bool taken = same_key(argv) || tm_store_find(x->store, argv[2]) != NULL;
    if (taken || rename_key(x, argv))
        tm_resp_integer(x->reply, !taken);
}

static bool copy_options(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc,
                         bool *replace)
{
    int64_t db;
    *replace = false;
    for (unsigned i = 3; i < argc; i++) {
        if (tm_word_is(argv[i], "replace")) {
            *replace = true;
        } else if (tm_word_is(argv[i], "db") && i + 1 < argc) {
            if (!tm_word_int(x, argv[++i], &db))
                return false;
            if (db != 0) {
                tm_resp_error(x->reply,
                              db < 0 || db >= REDIS_DATABASES
                                  ? "ERR DB index is out of range"
                                  : "ERR Copying to another database is not allowed in cluster "
                                    "mode");
                return false;
            }
        } else {
            tm_reply_syntax(x);
            return false;
        }
    }
    return true;
}

void tm_cmd_copy(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    bool replace;
    if (!copy_options(x, argv, argc, &replace))
        return;
    if (same_key(argv)) {
        tm_resp_error(x->reply, "ERR source and destination objects are the same");
        return;
    }
    const struct tm_entity *e = tm_store_find(x->store, argv[1]);
    bool taken = !replace && tm_store_find(x->store, argv[2]) != NULL;
    if (e == NULL || taken) {
        tm_resp_integer(x->reply, 0);
        return;
    }
    if (!tm_fits(x, tm_entity_bytes(e) - argv[1].len + argv[2].len))
        return;
    tm_store_hold(x->store);
    copy_entity(x, e, argv[2]);
    tm_store_release(x->store);
    tm_resp_integer(x->reply, 1);
}

/* ---- Expiry ---- */

enum { EXPIRE_NX = 1, EXPIRE_XX = 2, EXPIRE_GT = 4, EXPIRE_LT = 8 };

static bool expire_options(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc,
                           unsigned *flags)
{
    static const char *const words[] = {"nx", "xx", "gt", "lt"};
    *flags = 0;
    for (unsigned i = 3; i < argc; i++) {
        unsigned k = 0;
        while (k < 4 && !tm_word_is(argv[i], words[k]))
            k++;
        if (k == 4) {
            tm_resp_errorf(x->reply, "ERR Unsupported option %.*s",
                           (int)tm_min_u64(argv[i].len, 128), (const char *)argv[i].data);
            return false;
        }
        *flags |= 1u << k;
    }
    if (*flags & EXPIRE_NX && *flags & (EXPIRE_XX | EXPIRE_GT | EXPIRE_LT)) {
        tm_resp_error(x->reply, "ERR NX and XX, GT or LT options at the same time are not "
                                "compatible");
        return false;
    }
    if (*flags & EXPIRE_GT && *flags & EXPIRE_LT) {
        tm_resp_error(x->reply, "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}

/* now: the present expiry, 0 = none, which counts as later than any. */
static bool expire_allowed(unsigned flags, uint64_t now, int64_t ms)
{
    bool later = now != 0 && ms > (int64_t)now;
    bool sooner = now == 0 || ms < (int64_t)now;
    return !(flags & EXPIRE_NX && now != 0) && !(flags & EXPIRE_XX && now == 0) &&
           !(flags & EXPIRE_GT && !later) && !(flags & EXPIRE_LT && !sooner);
}

static void expire(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc, int64_t unit_ms,
                   bool absolute, const char *command)
{
    unsigned flags;
    int64_t ms;
    if (!expire_options(x, argv, argc, &flags) ||
        !tm_word_expiry(x, argv[2], unit_ms, absolute ? 0 : x->now_ms, false, command, &ms))
        return;
    const struct tm_entity *e = tm_store_find(x->store, argv[1]);
    bool done = e != NULL && expire_allowed(flags, tm_entity_expiry(e), ms);
    if (done && ms <= (int64_t)x->now_ms)
        tm_store_del(x->store, argv[1]);
    else if (done)
        tm_store_set_expiry(x->store, argv[1], (uint64_t)ms);
    tm_resp_integer(x->reply, done);
}

void tm_cmd_expire(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    expire(x, argv, argc, 1000, false, "expire");
}

void tm_cmd_pexpire(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    expire(x, argv, argc, 1, false, "pexpire");
}

void tm_cmd_expireat(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    expire(x, argv, argc, 1000, true, "expireat");
}

void tm_cmd_pexpireat(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    expire(x, argv, argc, 1, true, "pexpireat");
}

/* -2: no key, -1: no expiry, else the time left from base_ms on, in units of unit_ms, rounded. */
static void reply_life(struct tm_exec *x, struct tm_bytes key, uint64_t base_ms, uint64_t unit_ms)
{
    const struct tm_entity *e = tm_find(x, key);
    uint64_t at = e != NULL ? tm_entity_expiry(e) : 0;
    uint64_t left = at > base_ms ? at - base_ms : 0;
    int64_t life = (int64_t)((left + unit_ms / 2) / unit_ms);
    tm_resp_integer(x->reply, e == NULL ? -2 : at == 0 ? -1 : life);
}

void tm_cmd_ttl(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    reply_life(x, argv[1], x->now_ms, 1000);
}

void tm_cmd_pttl(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    reply_life(x, argv[1], x->now_ms, 1);
}

void tm_cmd_expiretime(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    reply_life(x, argv[1], 0, 1000);
}

void tm_cmd_pexpiretime(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    reply_life(x, argv[1], 0, 1);
}

void tm_cmd_persist(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    const struct tm_entity *e = tm_store_find(x->store, argv[1]);
    bool expires = e != NULL && tm_entity_expiry(e) != 0;
    if (expires)
        tm_store_persist(x->store, argv[1]);
    tm_resp_integer(x->reply, expires);
}

/* ---- OBJECT ---- */

static const char *string_encoding(const struct tm_entity *e)
{
    struct tm_value v;
    int64_t number;
    tm_entity_string(e, &v);
    if (tm_value_int(v.text, &number))
        return "int";
    return v.text.len <= 44 ? "embstr" : "raw";
}

/* What redis would call it by its default limits. */
static const char *encoding(const struct tm_entity *e)
{
    if (tm_entity_type(e) == TM_ENTITY_STRING)
        return string_encoding(e);
    bool set = tm_entity_type(e) == TM_ENTITY_SET, small = true, ints = true;
    uint64_t fields = tm_entity_fields(e);
    if (fields > (set ? 512 : 128))
        return "hashtable";
    struct tm_field_iter it;
    struct tm_bytes name;
    struct tm_value v;
    int64_t number;
    tm_field_first(&it, e);
    while (tm_field_next(&it, &name, &v)) {
        small = small && name.len <= 64 && v.text.len <= 64;
        ints = ints && tm_value_int(name, &number);
    }
    if (set)
        return ints ? "intset" : "hashtable";
    return small ? "listpack" : "hashtable";
}

static void object_help(struct tm_exec *x)
{
    static const char *const lines[] = {
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    Return the kind of internal representation used in order to store the value",
        "    associated with a <key>.",
        "FREQ <key>",
        "    Return the access frequency index of the <key>. The returned integer is",
        "    proportional to the logarithm of the recent access frequency of the key.",
        "IDLETIME <key>",
        "    Return the idle time of the <key>, that is the approximated number of",
        "    seconds elapsed since the last access to the key.",
        "REFCOUNT <key>",
        "    Return the number of references of the value associated with the specified",
        "    <key>.",
        "HELP",
        "    Prints this help.",
    };
    tm_resp_array(x->reply, TM_ARRAY_LEN(lines));
    for (size_t i = 0; i < TM_ARRAY_LEN(lines); i++)
        tm_resp_simple(x->reply, lines[i]);
}

void tm_cmd_object(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    static const char *const names[] = {"encoding", "refcount", "idletime", "freq", "help"};
    enum { ENCODING, REFCOUNT, IDLETIME, FREQ, HELP, UNKNOWN };
    unsigned what = ENCODING;
    while (what < UNKNOWN && !tm_word_is(argv[1], names[what]))
        what++;
    if (what == UNKNOWN) {
        tm_resp_errorf(x->reply, "ERR unknown subcommand '%.*s'. Try OBJECT HELP.",
                       (int)tm_min_u64(argv[1].len, 128), (const char *)argv[1].data);
        return;
    }
    if (argc != (what == HELP ? 2 : 3)) {
        tm_resp_errorf(x->reply, "ERR wrong number of arguments for 'object|%s' command",
                       names[what]);
        return;
    }
    if (what == HELP) {
        object_help(x);
        return;
    }
    const struct tm_entity *e = tm_find(x, argv[2]);
    if (e == NULL)
        tm_resp_null(x->reply);
    else if (what == ENCODING)
        tm_resp_bulk_str(x->reply, encoding(e));
    else if (what == FREQ)
        tm_resp_error(x->reply,
                      "ERR An LFU maxmemory policy is not selected, access frequency not tracked. "
                      "Please note that when switching between policies at runtime LRU and LFU "
                      "data will take some time to adjust.");
    else
        tm_resp_integer(x->reply, what == REFCOUNT ? 1 : 0);
}

/* ---- A whole partition ---- */

struct key_walk {
    struct tm_exec *x;
    struct tm_scan_options options;
    uint64_t written;
};

/* What is due is as good as gone: its expiry is logged before anyone reads it. */
static bool is_due(const struct tm_exec *x, const struct tm_entity *e)
{
    return tm_entity_expiry(e) != 0 && tm_entity_expiry(e) <= x->now_ms;
}

static void walk_key(void *host, const struct tm_entity *e)
{
    struct key_walk *k = host;
    const struct tm_scan_options *o = &k->options;
    if (is_due(k->x, e) ||
        (o->match.data != NULL && !tm_glob_match(o->match, tm_entity_key(e), false)) ||
        (o->type.data != NULL && !tm_word_is(o->type, type_name(e))))
        return;
    tm_resp_bulk(k->x->reply, tm_entity_key(e));
    k->written++;
}

void tm_cmd_scan(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    struct key_walk k = {.x = x};
    if (!tm_scan_options(x, argv, 2, argc, true, &k.options))
        return;
    size_t at = x->reply->len;
    x->cursor = tm_store_scan(x->store, x->cursor, k.options.count, walk_key, &k);
    tm_resp_insert_array(x->reply, at, k.written);
}

void tm_cmd_keys(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    struct key_walk k = {.x = x, .options = {.match = argv[1]}};
    size_t at = x->reply->len;
    uint64_t cursor = 0;
    do
        cursor = tm_store_scan(x->store, cursor, 1024, walk_key, &k);
    while (cursor != 0 && !x->reply->overflow);
    tm_resp_insert_array(x->reply, at, k.written);
}

struct slot_walk {
    struct tm_exec *x;
    uint32_t slot;
    int64_t limit, found; /* limit -1: only counted */
};

static void walk_slot(void *host, const struct tm_entity *e)
{
    struct slot_walk *s = host;
    if (tm_slot_of_key(tm_entity_key(e)) != s->slot || is_due(s->x, e) || s->found == s->limit)
        return;
    s->found++;
    if (s->limit >= 0)
        tm_resp_bulk(s->x->reply, tm_entity_key(e));
}

/* CLUSTER|SLOT slot limit: the keys of one slot, or, with limit -1, their number. */
void tm_cmd_slot_keys(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    int64_t slot;
    struct slot_walk s = {.x = x};
    size_t at = x->reply->len;
    uint64_t cursor = 0;
    (void)argc;
    if (!tm_word_int(x, argv[1], &slot) || !tm_word_int(x, argv[2], &s.limit))
        return;
    s.slot = (uint32_t)slot;
    do
        cursor = tm_store_scan(x->store, cursor, 1024, walk_slot, &s);
    while (cursor != 0 && s.found != s.limit && !x->reply->overflow);
    if (s.limit < 0)
        tm_resp_integer(x->reply, s.found);
    else
        tm_resp_insert_array(x->reply, at, (uint64_t)s.found);
}

void tm_cmd_randomkey(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argv;
    (void)argc;
    const struct tm_entity *e = NULL;
    for (unsigned tries = 0; tries < 100; tries++) {
        e = tm_store_random(x->store, tm_exec_random(x));
        if (e == NULL || !is_due(x, e))
            break;
        e = NULL;
    }
    if (e != NULL)
        tm_resp_bulk(x->reply, tm_entity_key(e));
    else
        tm_resp_null(x->reply);
}

void tm_cmd_dbsize(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argv;
    (void)argc;
    tm_resp_integer(x->reply, (int64_t)tm_store_count(x->store));
}

void tm_cmd_flushall(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    if (argc > 2 || (argc == 2 && !tm_word_is(argv[1], "sync") && !tm_word_is(argv[1], "async"))) {
        tm_reply_syntax(x);
        return;
    }
    if (tm_store_count(x->store) > 0 || tm_store_keeps_flush(x->store)) {
        tm_store_flush(x->store);
        tm_store_keep_flush(x->store);
    }
    tm_reply_ok(x);
}

void tm_cmd_flushdb(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    tm_cmd_flushall(x, argv, argc);
}
