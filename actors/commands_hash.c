/* commands_hash.c: hashes: entities with named fields. */
#include "actors/commands_internal.h"

#include <math.h>

static bool find_hash(struct tm_exec *x, struct tm_bytes key, const struct tm_entity **e)
{
    return tm_find_typed(x, key, TM_ENTITY_HASH, e);
}

/* Sets the pairs from argv[2] on; the number of new fields. */
static bool set_pairs(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc,
                      const char *command, int64_t *added)
{
    const struct tm_entity *e;
    if (argc % 2 != 0) {
        tm_reply_arity(x, command);
        return false;
    }
    if (!find_hash(x, argv[1], &e) || !tm_fits_fields(x, argv[1], e, argv + 2, argc - 2, 2))
        return false;
    uint64_t before = e != NULL ? tm_entity_fields(e) : 0;
    for (unsigned i = 2; i < argc; i += 2)
        tm_store_set_field(x->store, argv[1], TM_ENTITY_HASH, argv[i], argv[i + 1]);
    e = tm_store_find(x->store, argv[1]);
    *added = e != NULL ? (int64_t)(tm_entity_fields(e) - before) : 0;
    return true;
}

void tm_cmd_hset(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    int64_t added;
    if (set_pairs(x, argv, argc, "hset", &added))
        tm_resp_integer(x->reply, added);
}

void tm_cmd_hmset(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    int64_t added;
    if (set_pairs(x, argv, argc, "hmset", &added))
        tm_reply_ok(x);
}

void tm_cmd_hsetnx(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    const struct tm_entity *e;
    if (!find_hash(x, argv[1], &e))
        return;
    bool there = e != NULL && tm_entity_field(e, argv[2], NULL);
    if (!there && !tm_fits_fields(x, argv[1], e, argv + 2, 2, 2))
        return;
    if (!there)
        tm_store_set_field(x->store, argv[1], TM_ENTITY_HASH, argv[2], argv[3]);
    tm_resp_integer(x->reply, !there);
}

static void reply_field(struct tm_exec *x, const struct tm_entity *e, struct tm_bytes name)
{
    struct tm_value v;
    bool there = e != NULL && tm_entity_field(e, name, &v);
    tm_reply_value(x, there, &v);
}

void tm_cmd_hget(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    const struct tm_entity *e;
    if (find_hash(x, argv[1], &e))
        reply_field(x, e, argv[2]);
}

void tm_cmd_hmget(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    const struct tm_entity *e;
    if (!find_hash(x, argv[1], &e))
        return;
    tm_resp_array(x->reply, argc - 2);
    for (unsigned i = 2; i < argc; i++)
        reply_field(x, e, argv[i]);
}

enum { NAMES = 1, VALUES = 2 };

static void reply_all(struct tm_exec *x, struct tm_bytes key, unsigned what)
{
    const struct tm_entity *e;
    struct tm_field_iter it;
    struct tm_bytes name;
    struct tm_value v;
    if (!find_hash(x, key, &e))
        return;
    uint64_t count = e != NULL ? tm_entity_fields(e) : 0;
    if (what == (NAMES | VALUES))
        tm_resp_map(x->reply, count);
    else
        tm_resp_array(x->reply, count);
    if (e == NULL)
        return;
    tm_field_first(&it, e);
    while (tm_field_next(&it, &name, &v)) {
        if (what & NAMES)
            tm_resp_bulk(x->reply, name);
        if (what & VALUES)
            tm_resp_bulk(x->reply, v.text);
    }
}

void tm_cmd_hgetall(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    reply_all(x, argv[1], NAMES | VALUES);
}

void tm_cmd_hkeys(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    reply_all(x, argv[1], NAMES);
}

void tm_cmd_hvals(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    reply_all(x, argv[1], VALUES);
}

void tm_cmd_hdel(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    const struct tm_entity *e;
    int64_t deleted = 0;
    if (!find_hash(x, argv[1], &e))
        return;
    for (unsigned i = 2; i < argc && e != NULL; i++) {
        if (!tm_entity_field(e, argv[i], NULL))
            continue;
        tm_store_del_field(x->store, argv[1], TM_ENTITY_HASH, argv[i]);
        e = tm_store_find(x->store, argv[1]);
        deleted++;
    }
    tm_resp_integer(x->reply, deleted);
}

void tm_cmd_hexists(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    const struct tm_entity *e;
    if (find_hash(x, argv[1], &e))
        tm_resp_integer(x->reply, e != NULL && tm_entity_field(e, argv[2], NULL));
}

void tm_cmd_hlen(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    const struct tm_entity *e;
    if (find_hash(x, argv[1], &e))
        tm_resp_integer(x->reply, e != NULL ? (int64_t)tm_entity_fields(e) : 0);
}

void tm_cmd_hstrlen(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    const struct tm_entity *e;
    struct tm_value v;
    if (!find_hash(x, argv[1], &e))
        return;
    bool there = e != NULL && tm_entity_field(e, argv[2], &v);
    tm_resp_integer(x->reply, there ? (int64_t)v.text.len : 0);
}

void tm_cmd_hincrby(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    const struct tm_entity *e;
    struct tm_value v;
    int64_t delta, now = 0, sum;
    if (!tm_word_int(x, argv[3], &delta) || !find_hash(x, argv[1], &e))
        return;
    if (e != NULL && tm_entity_field(e, argv[2], &v) &&
        !tm_word_range(x, v.text, INT64_MIN, INT64_MAX, "ERR hash value is not an integer", &now))
        return;
    if (!tm_add_int(x, now, delta, &sum) || !tm_fits_fields(x, argv[1], e, argv + 2, 1, 1))
        return;
    tm_store_add(x->store, argv[1], TM_ENTITY_HASH, argv[2], delta);
    tm_resp_integer(x->reply, sum);
}

void tm_cmd_hincrbyfloat(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    const struct tm_entity *e;
    struct tm_value v;
    long double delta, now = 0;
    char buf[TM_FLOAT_TEXT];
    if (!tm_text_float(argv[3], &delta)) {
        tm_resp_error(x->reply, "ERR value is not a valid float");
        return;
    }
    if (isinf(delta)) {
        tm_resp_error(x->reply, "ERR value is NaN or Infinity");
        return;
    }
    if (!find_hash(x, argv[1], &e))
        return;
    if (e != NULL && tm_entity_field(e, argv[2], &v) && !tm_text_float(v.text, &now)) {
        tm_resp_error(x->reply, "ERR hash value is not a float");
        return;
    }
    if (isnan(now + delta) || isinf(now + delta)) {
        tm_resp_error(x->reply, "ERR increment would produce NaN or Infinity");
        return;
    }
    const struct tm_bytes pair[] = {argv[2], tm_float_text(now + delta, buf)};
    if (!tm_fits_fields(x, argv[1], e, pair, 2, 2))
        return;
    tm_store_set_field(x->store, argv[1], TM_ENTITY_HASH, pair[0], pair[1]);
    tm_resp_bulk(x->reply, pair[1]);
}

void tm_cmd_hrandfield(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    const struct tm_entity *e;
    struct tm_bytes name;
    bool with_values = argc == 4 && tm_word_is(argv[3], "withvalues");
    int64_t count, most = with_values ? INT64_MAX / 2 : INT64_MAX;
    if (argc == 2) {
        if (!find_hash(x, argv[1], &e))
            return;
        if (e == NULL) {
            tm_resp_null(x->reply);
            return;
        }
        tm_entity_field_at(e, tm_exec_below(x, tm_entity_fields(e)), &name, NULL);
        tm_resp_bulk(x->reply, name);
        return;
    }
    if (!tm_word_count(x, argv[2], &count))
        return;
    if (argc > 3 && !with_values) {
        tm_reply_syntax(x);
        return;
    }
    if (count < -most || count > most) {
        tm_resp_error(x->reply, "ERR value is out of range");
        return;
    }
    if (!find_hash(x, argv[1], &e))
        return;
    if (e == NULL || count == 0)
        tm_resp_array(x->reply, 0);
    else
        tm_reply_random_fields(x, e, count, with_values);
}

void tm_cmd_hscan(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    tm_scan_fields(x, argv, argc, TM_ENTITY_HASH);
}
