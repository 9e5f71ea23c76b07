/* commands_set.c: sets: entities whose members are fields without values.
 *
 * Commands over several sets see those of one partition; the session refuses others.  A result that
 * is stored is first only encoded (tm_store_hold), so that the destination may be a source. */
#include "actors/commands_internal.h"
#include "storage/store_link.h"

static bool find_set(struct tm_exec *x, struct tm_bytes key, const struct tm_entity **e)
{
    return tm_find_typed(x, key, TM_ENTITY_SET, e);
}

static bool has(const struct tm_entity *e, struct tm_bytes member)
{
    return e != NULL && tm_entity_field(e, member, NULL);
}

static uint64_t size_of(const struct tm_entity *e)
{
    return e != NULL ? tm_entity_fields(e) : 0;
}

void tm_cmd_sadd(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    const struct tm_entity *e;
    int64_t added = 0;
    if (!find_set(x, argv[1], &e) || !tm_fits_fields(x, argv[1], e, argv + 2, argc - 2, 1))
        return;
    for (unsigned i = 2; i < argc; i++) {
        bool there = has(e, argv[i]);
        if (there && !tm_store_adds_again(x->store, argv[1], argv[i]))
            continue;
        tm_store_set_field(x->store, argv[1], TM_ENTITY_SET, argv[i], TM_NO_BYTES);
        e = tm_store_find(x->store, argv[1]);
        added += !there;
    }
    tm_resp_integer(x->reply, added);
}

void tm_cmd_srem(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    const struct tm_entity *e;
    int64_t removed = 0;
    if (!find_set(x, argv[1], &e))
        return;
    for (unsigned i = 2; i < argc; i++) {
        if (!has(e, argv[i]))
            continue;
        tm_store_del_field(x->store, argv[1], TM_ENTITY_SET, argv[i]);
        e = tm_store_find(x->store, argv[1]);
        removed++;
    }
    tm_resp_integer(x->reply, removed);
}

void tm_cmd_sismember(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    const struct tm_entity *e;
    if (find_set(x, argv[1], &e))
        tm_resp_integer(x->reply, has(e, argv[2]));
}

void tm_cmd_smismember(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    const struct tm_entity *e;
    if (!find_set(x, argv[1], &e))
        return;
    tm_resp_array(x->reply, argc - 2);
    for (unsigned i = 2; i < argc; i++)
        tm_resp_integer(x->reply, has(e, argv[i]));
}

void tm_cmd_scard(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    const struct tm_entity *e;
    if (find_set(x, argv[1], &e))
        tm_resp_integer(x->reply, (int64_t)size_of(e));
}

static void reply_members(struct tm_exec *x, const struct tm_entity *e)
{
    struct tm_field_iter it;
    struct tm_bytes member;
    tm_resp_set(x->reply, size_of(e));
    if (e == NULL)
        return;
    tm_field_first(&it, e);
    while (tm_field_next(&it, &member, NULL))
        tm_resp_bulk(x->reply, member);
}

void tm_cmd_smembers(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    const struct tm_entity *e;
    if (find_set(x, argv[1], &e))
        reply_members(x, e);
}

static void pop_one(struct tm_exec *x, struct tm_bytes key, const struct tm_entity *e)
{
    struct tm_bytes member;
    if (e == NULL) {
        tm_resp_null(x->reply);
        return;
    }
    tm_entity_field_at(e, tm_exec_below(x, tm_entity_fields(e)), &member, NULL);
    tm_resp_bulk(x->reply, member);
    tm_store_del_field(x->store, key, TM_ENTITY_SET, member);
}

void tm_cmd_spop(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    const struct tm_entity *e;
    struct tm_bytes member;
    struct tm_field_iter it;
    int64_t count;
    if (argc > 3) {
        tm_reply_syntax(x);
        return;
    }
    if (argc == 3 && !tm_word_range(x, argv[2], 0, INT64_MAX,
                                    "ERR value is out of range, must be positive", &count))
        return;
    if (!find_set(x, argv[1], &e))
        return;
    if (argc == 2) {
        pop_one(x, argv[1], e);
        return;
    }
    if ((uint64_t)count >= size_of(e)) {
        reply_members(x, e);
        tm_store_del(x->store, argv[1]);
        return;
    }
    struct tm_draw draw = {(uint64_t)count, size_of(e)};
    tm_resp_set(x->reply, draw.want);
    if (count == 0)
        return;
    tm_store_hold(x->store);
    tm_field_first(&it, e);
    while (draw.want > 0 && tm_field_next(&it, &member, NULL)) {
        if (!tm_draw_next(x, &draw))
            continue;
        tm_resp_bulk(x->reply, member);
        tm_store_del_field(x->store, argv[1], TM_ENTITY_SET, member);
    }
    tm_store_release(x->store);
}

void tm_cmd_srandmember(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    const struct tm_entity *e;
    struct tm_bytes member;
    int64_t count;
    if (argc > 3) {
        tm_reply_syntax(x);
        return;
    }
    if (argc == 3 && !tm_word_count(x, argv[2], &count))
        return;
    if (!find_set(x, argv[1], &e))
        return;
    if (argc == 3 && (e == NULL || count == 0)) {
        tm_resp_array(x->reply, 0);
    } else if (argc == 3) {
        tm_reply_random_fields(x, e, count, false);
    } else if (e == NULL) {
        tm_resp_null(x->reply);
    } else {
        tm_entity_field_at(e, tm_exec_below(x, tm_entity_fields(e)), &member, NULL);
        tm_resp_bulk(x->reply, member);
    }
}

void tm_cmd_smove(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    const struct tm_entity *from, *to;
    if (!find_set(x, argv[1], &from))
        return;
    if (from == NULL) {
        tm_resp_integer(x->reply, 0);
        return;
    }
    if (!find_set(x, argv[2], &to))
        return;
    bool there = has(from, argv[3]);
    if (there && from != to) {
        if (!tm_fits_fields(x, argv[2], to, argv + 3, 1, 1))
            return;
        tm_store_del_field(x->store, argv[1], TM_ENTITY_SET, argv[3]);
        tm_store_set_field(x->store, argv[2], TM_ENTITY_SET, argv[3], TM_NO_BYTES);
    }
    tm_resp_integer(x->reply, there);
}

void tm_cmd_sscan(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    tm_scan_fields(x, argv, argc, TM_ENTITY_SET);
}

/* ---- Several sets ---- */

enum how { INTER, UNION, DIFF };

struct algebra {
    struct tm_exec *x;
    enum how how;
    const struct tm_bytes *keys;
    unsigned count;
    uint64_t limit; /* stop after so many members; 0 = all */
    uint64_t found;
    void (*emit)(struct algebra *a, struct tm_bytes member);
    struct tm_bytes destination;
    uint64_t bytes; /* that the members found would take */
};

static const struct tm_entity *operand(const struct algebra *a, unsigned i)
{
    return tm_store_find(a->x->store, a->keys[i]);
}

/* Whether the member, which is in set `base`, belongs to the result. */
static bool belongs(const struct algebra *a, unsigned base, struct tm_bytes member)
{
    unsigned others = a->how == UNION ? base : a->count;
    for (unsigned i = 0; i < others; i++)
        if (i != base && has(operand(a, i), member) != (a->how == INTER))
            return false;
    return true;
}

static void walk(struct algebra *a, unsigned base)
{
    struct tm_field_iter it;
    struct tm_bytes member;
    const struct tm_entity *e = operand(a, base);
    if (e == NULL)
        return;
    tm_field_first(&it, e);
    while (tm_field_next(&it, &member, NULL)) {
        if (!belongs(a, base, member))
            continue;
        a->emit(a, member);
        if (++a->found == a->limit)
            return;
    }
}

static unsigned smallest(const struct algebra *a)
{
    unsigned best = 0;
    for (unsigned i = 1; i < a->count; i++)
        if (size_of(operand(a, i)) < size_of(operand(a, best)))
            best = i;
    return best;
}

/* Emits the members of the result. */
static void compute(struct algebra *a)
{
    a->found = 0;
    if (a->how == UNION)
        for (unsigned i = 0; i < a->count; i++)
            walk(a, i);
    else
        walk(a, a->how == INTER ? smallest(a) : 0);
}

static bool all_sets(struct tm_exec *x, const struct tm_bytes *keys, unsigned count)
{
    const struct tm_entity *e;
    for (unsigned i = 0; i < count; i++)
        if (!find_set(x, keys[i], &e))
            return false;
    return true;
}

static void emit_reply(struct algebra *a, struct tm_bytes member)
{
    tm_resp_bulk(a->x->reply, member);
}

static void emit_count(struct algebra *a, struct tm_bytes member)
{
    a->bytes += member.len + sizeof(struct tm_entity);
}

static void emit_store(struct algebra *a, struct tm_bytes member)
{
    tm_store_set_field(a->x->store, a->destination, TM_ENTITY_SET, member, TM_NO_BYTES);
}

static void answer(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc, enum how how)
{
    struct algebra a = {
        .x = x, .how = how, .keys = argv + 1, .count = argc - 1, .emit = emit_reply};
    if (!all_sets(x, a.keys, a.count))
        return;
    size_t at = x->reply->len;
    compute(&a);
    tm_resp_insert_set(x->reply, at, a.found);
}

static void store(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc, enum how how)
{
    struct algebra a = {.x = x,
                        .how = how,
                        .keys = argv + 2,
                        .count = argc - 2,
                        .emit = emit_count,
                        .destination = argv[1]};
    if (!all_sets(x, a.keys, a.count))
        return;
    compute(&a);
    if (!tm_fits(x, argv[1].len + a.bytes))
        return;
    tm_store_hold(x->store);
    tm_store_del(x->store, argv[1]);
    a.emit = emit_store;
    compute(&a);
    tm_store_release(x->store);
    tm_resp_integer(x->reply, (int64_t)a.found);
}

void tm_cmd_sinter(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    answer(x, argv, argc, INTER);
}

void tm_cmd_sunion(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    answer(x, argv, argc, UNION);
}

void tm_cmd_sdiff(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    answer(x, argv, argc, DIFF);
}

void tm_cmd_sinterstore(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    store(x, argv, argc, INTER);
}

void tm_cmd_sunionstore(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    store(x, argv, argc, UNION);
}

void tm_cmd_sdiffstore(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    store(x, argv, argc, DIFF);
}

void tm_cmd_sintercard(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    int64_t count, limit = 0;
    if (!tm_word_range(x, argv[1], 1, INT64_MAX, "ERR numkeys should be greater than 0", &count))
        return;
    if (count > (int64_t)argc - 2) {
        tm_resp_error(x->reply, "ERR Number of keys can't be greater than number of args");
        return;
    }
    for (unsigned i = 2 + (unsigned)count; i < argc; i += 2) {
        if (i + 1 == argc || !tm_word_is(argv[i], "limit")) {
            tm_reply_syntax(x);
            return;
        }
        if (!tm_word_range(x, argv[i + 1], 0, INT64_MAX, "ERR LIMIT can't be negative", &limit))
            return;
    }
    struct algebra a = {.x = x,
                        .how = INTER,
                        .keys = argv + 2,
                        .count = (unsigned)count,
                        .limit = (uint64_t)limit,
                        .emit = emit_count};
    if (!all_sets(x, a.keys, a.count))
        return;
    compute(&a);
    tm_resp_integer(x->reply, (int64_t)a.found);
}
