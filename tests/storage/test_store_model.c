/* The store against a model that copies everything: random records, commits, undos, flushes,
 * expiry, snapshots taken while all of that goes on.  A is a leader's store; B applies what is
 * committed; C is loaded from slices of A and catches up by the log. */
#include "runtime/hash.h"
#include "storage/entity.h"
#include "storage/store_link.h"
#include "tests/storage/arena_main.h"

enum { KEYS = 24, FIELDS = 160, SHADOWS = 80, WINDOW = 24, STEPS = 12000, LOG_MAX = 16384 };

enum form { ABSENT, PLAIN, NUMBER };
struct field {
    int64_t number;
    enum form form;
};
struct entity {
    bool there;
    enum tm_entity_type type;
    uint64_t expiry;
    unsigned count;
    struct field field[FIELDS];
};
struct shadow {
    unsigned number; /* 0: not there */
    struct tm_op_version stamp;
};
struct model {
    struct entity key[KEYS];
    struct shadow shadow[KEYS][SHADOWS];
    uint64_t touched[KEYS];
    uint64_t flushed;
};

static struct tm_store *a, *b, *c;
static struct model models[WINDOW + 1]; /* models[i]: after committed + i */
static unsigned ahead;
static struct tm_record *history[LOG_MAX];
static uint64_t seed, term = 1;
static struct tm_op_version stamp; /* of what is written next */
static uint64_t buffer[1 << 15];

static uint64_t rnd(uint64_t n)
{
    seed = tm_hash64(&seed, 8, 77);
    return seed % n;
}

static struct tm_bytes key_name(unsigned k)
{
    static char names[KEYS][16];
    return tm_bytes_of(names[k], (size_t)snprintf(names[k], 16, "Type:%u", k));
}

static struct tm_bytes field_name(unsigned f)
{
    static char names[FIELDS][16];
    return tm_bytes_of(names[f], (size_t)snprintf(names[f], 16, "field%u", f));
}

static struct tm_bytes text_of(const struct field *f)
{
    static char text[400];
    int len = snprintf(text, sizeof text, "%s%" PRId64, f->form == PLAIN ? "p" : "", f->number);
    if (f->form == PLAIN)
        while (len < (int)(f->number % 90))
            text[len++] = 'x';
    return tm_bytes_of(text, (size_t)len);
}

static void model_clear(struct entity *e)
{
    memset(e, 0, sizeof *e);
}

static void model_field(struct entity *e, enum tm_entity_type type, unsigned f, struct field v)
{
    if (e->there && e->type != type)
        model_clear(e);
    e->there = true;
    e->type = type;
    e->count += v.form != ABSENT && e->field[f].form == ABSENT;
    e->count -= v.form == ABSENT && e->field[f].form != ABSENT;
    e->field[f] = v;
    if (e->count == 0)
        model_clear(e);
}

static void write_set(struct model *m, unsigned k, enum tm_entity_type type, unsigned f)
{
    struct field v = {(int64_t)rnd(1000), type == TM_ENTITY_SET || rnd(2) ? PLAIN : NUMBER};
    struct tm_bytes name = type == TM_ENTITY_STRING ? tm_bytes_str("") : field_name(f);
    struct tm_bytes value = type == TM_ENTITY_SET ? tm_bytes_str("") : text_of(&v);
    tm_store_set_field(a, key_name(k), type, name, value);
    model_field(&m->key[k], type, type == TM_ENTITY_STRING ? 0 : f, v);
}

static void write_add(struct model *m, unsigned k, enum tm_entity_type type, unsigned f)
{
    struct entity *e = &m->key[k];
    struct field *old = &e->field[f = type == TM_ENTITY_STRING ? 0 : f], v = {0, NUMBER};
    if (type == TM_ENTITY_SET || (e->there && e->type == type && old->form == PLAIN))
        return;
    int64_t delta = (int64_t)rnd(100) - 50;
    if (e->there && e->type == type && old->form == NUMBER)
        v.number = old->number;
    v.number += delta;
    tm_store_add(a, key_name(k), type, type == TM_ENTITY_STRING ? tm_bytes_str("") : field_name(f),
                 delta);
    model_field(e, type, f, v);
}

static void write_del_field(struct model *m, unsigned k, unsigned f)
{
    struct entity *e = &m->key[k];
    if (!e->there)
        return;
    f = e->type == TM_ENTITY_STRING ? 0 : f;
    tm_store_del_field(a, key_name(k), e->type,
                       e->type == TM_ENTITY_STRING ? tm_bytes_str("") : field_name(f));
    model_field(e, e->type, f, (struct field){0, ABSENT});
}

static void write_expiry(struct model *m, unsigned k)
{
    struct entity *e = &m->key[k];
    if (!e->there)
        return;
    e->expiry = rnd(3) == 0 ? 0 : 1 + rnd(1000);
    if (e->expiry == 0)
        tm_store_persist(a, key_name(k));
    else
        tm_store_set_expiry(a, key_name(k), e->expiry);
}

/* Beside the keys' own entities, and kept by flushes.  Key 0 has many fields, the others few. */
static void write_shadow(struct model *m, unsigned k, unsigned f)
{
    f %= k == 0 ? SHADOWS : 4;
    if (rnd(4) == 0) {
        tm_store_del_shadow(a, key_name(k), field_name(f));
        m->shadow[k][f] = (struct shadow){0};
        return;
    }
    unsigned number = 1 + (unsigned)rnd(1000);
    m->shadow[k][f] = (struct shadow){number, stamp};
    tm_store_set_shadow(a, key_name(k), field_name(f), tm_bytes_of(&number, sizeof number));
}

static void write_stamp(const struct tm_record *head)
{
    bool own = rnd(3) == 0;
    stamp = (struct tm_op_version){1 + rnd(100), 10 + rnd(5)};
    tm_store_stamp(a, own ? 0 : stamp.hlc, own ? 0 : stamp.origin);
    if (own)
        stamp = (struct tm_op_version){head->hlc, head->origin};
}

/* One random operation on the leader's store and on the model. */
static void write_one(struct model *m, uint64_t index)
{
    unsigned k = (unsigned)rnd(KEYS), f = (unsigned)rnd(FIELDS), r = (unsigned)rnd(100);
    enum tm_entity_type type = (enum tm_entity_type)(k % 3);
    if (rnd(50) == 0)
        type = (enum tm_entity_type)rnd(3);
    if (rnd(4) == 0) {
        write_shadow(m, k, f);
        return;
    }
    if (r < 60)
        write_set(m, k, type, f);
    else if (r < 75)
        write_add(m, k, type, f);
    else if (r < 85)
        write_del_field(m, k, f);
    else if (r < 95)
        write_expiry(m, k);
    else if (r < 97) {
        (rnd(2) ? tm_store_del : tm_store_expire)(a, key_name(k));
        model_clear(&m->key[k]);
    } else if (r == 97 && rnd(10) == 0) {
        tm_store_flush(a);
        memset(m->key, 0, sizeof m->key);
        memcpy(m->shadow, models[ahead].shadow, sizeof m->shadow);
        m->flushed = index;
        return;
    }
    m->touched[k] = index;
}

static void check_entity(const struct tm_entity *e, const struct entity *m)
{
    struct tm_value v;
    CU_ASSERT_EQUAL_FATAL(e != NULL, m->there);
    if (e == NULL)
        return;
    CU_ASSERT_EQUAL_FATAL(tm_entity_type(e), m->type);
    CU_ASSERT_EQUAL(tm_entity_expiry(e), m->expiry);
    if (m->type == TM_ENTITY_STRING) {
        tm_entity_string(e, &v);
        CU_ASSERT(tm_bytes_equal(v.text, text_of(&m->field[0])));
        return;
    }
    CU_ASSERT_EQUAL_FATAL(tm_entity_fields(e), m->count);
    for (unsigned f = 0; f < FIELDS; f++) {
        bool there = tm_entity_field(e, field_name(f), &v);
        CU_ASSERT_EQUAL_FATAL(there, m->field[f].form != ABSENT);
        if (there && m->type == TM_ENTITY_HASH)
            CU_ASSERT(tm_bytes_equal(v.text, text_of(&m->field[f])));
    }
}

static void check_shadow(const struct tm_store *s, struct tm_bytes key, const struct shadow *m)
{
    const struct tm_entity *e = tm_store_shadow(s, key);
    uint64_t count = 0;
    for (unsigned f = 0; f < SHADOWS; f++) {
        struct tm_bytes value;
        struct tm_op_version v;
        bool there = tm_store_shadow_field(s, key, field_name(f), &value, &v);
        CU_ASSERT_EQUAL_FATAL(there, m[f].number != 0);
        if (!there)
            continue;
        count++;
        CU_ASSERT(tm_bytes_equal(value, tm_bytes_of(&m[f].number, sizeof m[f].number)));
        CU_ASSERT_EQUAL(tm_stamp_compare(v, m[f].stamp), 0);
    }
    CU_ASSERT_EQUAL_FATAL(e != NULL, count > 0);
    if (e != NULL)
        CU_ASSERT_EQUAL(tm_entity_fields(e), count);
}

static void check_store(const struct tm_store *s, const struct model *m)
{
    uint64_t count = 0, next = UINT64_MAX;
    for (unsigned k = 0; k < KEYS; k++) {
        check_entity(tm_store_find(s, key_name(k)), &m->key[k]);
        check_shadow(s, key_name(k), m->shadow[k]);
        count += m->key[k].there;
        if (m->key[k].expiry != 0)
            next = tm_min_u64(next, m->key[k].expiry);
    }
    CU_ASSERT_EQUAL(tm_store_count(s), count);
    CU_ASSERT_EQUAL(tm_store_next_expiry(s), next);
}

/* seen may name an untouched key's index only if that record wrote to it without effect. */
static void check_seen(const struct model *m, uint64_t committed)
{
    for (unsigned k = 0; k < KEYS; k++) {
        uint64_t seen = tm_store_seen(a, key_name(k));
        uint64_t most = tm_max_u64(m->touched[k], m->flushed);
        CU_ASSERT(seen == 0 || seen > committed);
        CU_ASSERT(seen <= most);
        if (m->flushed > committed)
            CU_ASSERT(seen >= m->flushed);
    }
}

static void store_record(uint64_t index, const struct tm_record *r)
{
    free(history[index]);
    history[index] = malloc(r->length);
    memcpy(history[index], r, r->length);
}

static void do_write(void)
{
    if (ahead == WINDOW)
        return;
    uint64_t index = tm_store_applied(a) + 1;
    struct model *m = &models[ahead + 1];
    *m = models[ahead];
    if (rnd(200) == 0)
        term++;
    struct tm_record head = {.term = term,
                             .index = index,
                             .hlc = index << 16 | rnd(3),
                             .origin = 1 + rnd(3)},
                     *r;
    bool small = rnd(30) == 0, give_up = rnd(30) == 0;
    tm_store_begin(a, buffer, small ? 256 : sizeof buffer, &head);
    stamp = (struct tm_op_version){head.hlc, head.origin};
    for (unsigned n = 1 + (unsigned)rnd(rnd(10) ? 4 : 150); n-- > 0;) {
        if (rnd(8) == 0)
            write_stamp(&head);
        write_one(m, index);
    }
    if (give_up) {
        tm_store_abort(a);
        return;
    }
    enum tm_err err = tm_store_finish(a, &r);
    CU_ASSERT(err == TM_OK || (err == TM_ERR_TOOBIG && small && r == NULL));
    if (r == NULL)
        return;
    CU_ASSERT_EQUAL(tm_record_check(r, r->length), TM_OK);
    store_record(index, r);
    ahead++;
}

static void do_commit(uint64_t *committed)
{
    unsigned n = (unsigned)rnd(ahead + 1);
    for (unsigned i = 1; i <= n; i++)
        CU_ASSERT_EQUAL(tm_store_apply(b, history[*committed + i], false), TM_OK);
    *committed += n;
    tm_store_commit(a, *committed);
    memmove(models, models + n, (ahead + 1 - n) * sizeof models[0]);
    ahead -= n;
    CU_ASSERT_EQUAL(tm_store_state_hash(a), tm_store_state_hash(b));
}

static void do_undo(uint64_t committed)
{
    ahead = (unsigned)rnd(ahead + 1);
    tm_store_undo(a, committed + ahead);
    if (rnd(4) == 0 && ahead > 0) { /* a new leader applies what it inherited, speculatively */
        unsigned back = (unsigned)rnd(ahead);
        tm_store_undo(a, committed + back);
        for (unsigned i = back + 1; i <= ahead; i++)
            CU_ASSERT_EQUAL(tm_store_apply(a, history[committed + i], true), TM_OK);
    }
}

/* One slice at a time goes from A to C; once the walk is over C catches up with B. */
static void do_snapshot(uint64_t committed, uint64_t *cursor, unsigned *walks)
{
    static uint8_t slice[TM_KIB(64)];
    size_t used;
    uint64_t index, hash = tm_store_state_hash(a);
    if (c == NULL) {
        c = tm_store_new(&arena, 9);
        tm_store_load_begin(c, committed);
        *cursor = 0;
    }
    size_t cap = 200 + rnd(3000);
    while (tm_store_snapshot(a, cursor, slice, cap, &used, &index) == TM_ERR_TOOBIG) {
        CU_ASSERT_FATAL(used > cap && used <= sizeof slice);
        cap = used;
    }
    CU_ASSERT_EQUAL(index, committed);
    CU_ASSERT_EQUAL(tm_store_state_hash(a), hash);
    CU_ASSERT_EQUAL_FATAL(tm_store_load_slice(c, slice, used, *cursor, index), TM_OK);
    if (*cursor != 0)
        return;
    for (uint64_t i = tm_store_applied(c) + 1; i <= committed; i++)
        CU_ASSERT_EQUAL(tm_store_apply(c, history[i], false), TM_OK);
    CU_ASSERT_EQUAL(tm_store_load_until(c) <= committed, true);
    CU_ASSERT_EQUAL_FATAL(tm_store_state_hash(c), tm_store_state_hash(b));
    check_store(c, &models[0]);
    tm_store_delete(c);
    c = NULL;
    ++*walks;
}

static void the_store_is_what_a_model_that_copies_everything_says(void)
{
    uint64_t committed = 0, cursor = 0;
    unsigned walks = 0;
    seed = tm_test_seed();
    a = tm_store_new(&arena, 9);
    b = tm_store_new(&arena, 9);
    for (unsigned step = 0; step < STEPS && committed < LOG_MAX - 2 * WINDOW; step++) {
        unsigned r = (unsigned)rnd(20);
        if (r < 12)
            do_write();
        else if (r < 16)
            do_commit(&committed);
        else if (r < 17)
            do_undo(committed);
        else
            do_snapshot(committed, &cursor, &walks);
        CU_ASSERT_EQUAL_FATAL(tm_store_applied(a), committed + ahead);
        check_seen(&models[ahead], committed);
        if (step % 8 == 0)
            check_store(a, &models[ahead]);
        if (step % 64 == 0)
            check_store(b, &models[0]);
    }
    CU_ASSERT(walks > 20);
    CU_ASSERT(committed > 1000);
    tm_store_undo(a, committed);
    check_store(a, &models[0]);
    CU_ASSERT_EQUAL(tm_store_seen_any(a), 0);
    tm_store_delete(a);
    tm_store_delete(b);
    if (c != NULL)
        tm_store_delete(c);
    CU_ASSERT_EQUAL(arena.bytes, 0);
    for (unsigned i = 0; i < LOG_MAX; i++)
        free(history[i]);
}

static const struct tm_test tests[] = {
    TM_TEST(the_store_is_what_a_model_that_copies_everything_says),
};

int main(void)
{
    return arena_test_main("storage/store_model", tests, TM_ARRAY_LEN(tests), NULL);
}
