/* What differs for good is named, whatever is under way; what does not is not. */
#include "actors/link_verify.h"
#include "tests/actors/link_world.h"

static struct tm_link_verify v;
static unsigned found[TM_LINK_DIFFERENCE_UNSETTLED + 1];
static char last_key[64];

static void on_found(void *host, const struct tm_link_verify *of, enum tm_link_difference_kind kind,
                     uint64_t order, struct tm_bytes key)
{
    CU_ASSERT_PTR_EQUAL(host, found);
    CU_ASSERT(of == &v && order < TM_LINK_ORDERS);
    found[kind]++;
    if (key.len > 0)
        snprintf(last_key, sizeof last_key, "%.*s", (int)key.len, (const char *)key.data);
}

/* Sets or deletes one of some keys; a change of a third cluster's that the link does not carry. */
static void put(struct lw *w, unsigned number, uint64_t origin)
{
    struct tm_record_builder b;
    char key[32], value[32];
    struct tm_op_version stamp = {0};
    bool deletes = number % 7 == 0 && origin == 0;
    snprintf(key, sizeof key, "Order:%u", number % 150);
    snprintf(value, sizeof value, "%" PRIu64, tm_rng_next(&w->rng));
    lw_begin(w, &b, 0, TM_RECORD_EFFECT);
    if (origin != 0)
        stamp = (struct tm_op_version){tm_hlc_now(&w->source_clock, lw_wall(w)), origin};
    lw_op(&b, key, TM_ENTITY_STRING, TM_OP_STAMPED, tm_bytes_of(NULL, 0),
          tm_bytes_of(&stamp, sizeof stamp));
    lw_op(&b, key, TM_ENTITY_STRING, deletes ? TM_OP_DEL_ENTITY : TM_OP_SET_FIELD,
          tm_bytes_of(NULL, 0), tm_bytes_str(deletes ? "" : value));
    lw_end(w, &b, 0);
}

static struct lw *world(uint64_t seed, unsigned records)
{
    struct lw *w = lw_new(seed, 1, 1);
    w->real_merge = true;
    for (unsigned i = 1; i <= records; i++)
        put(w, i, 0);
    CU_ASSERT_FATAL(lw_settle(w, TM_SECONDS(20)));
    lw_run(w, TM_MS(50));
    return w;
}

/* The wire hands DIFFERS to the stream: here it is for the one that compares. */
static bool deliver(struct lw *w)
{
    bool any = false;
    for (unsigned i = 0; i < w->under_way;) {
        struct lw_message *m = &w->wire[i];
        if (m->to_target || m->type != TM_MESSAGE_LINK_DIFFERS) {
            i++;
            continue;
        }
        any |= tm_link_verify_message(&v, tm_bytes_of(m->bytes, m->len));
        free(m->bytes);
        w->wire[i] = w->wire[--w->under_way];
    }
    return any;
}

/* Compares to the end, while the source goes on writing `writes` records. */
static enum tm_err compare(struct lw *w, unsigned writes)
{
    uint64_t wait = 0, end = w->now + TM_SECONDS(120);
    enum tm_err e = TM_ERR_AGAIN;
    memset(found, 0, sizeof found);
    last_key[0] = '\0';
    v.found = on_found;
    v.host = found;
    tm_link_verify_begin(&v, &w->source[0].out[0], LW_THEIRS, 0);
    while (e == TM_ERR_AGAIN && w->now < end) {
        if (deliver(w) || w->now >= wait)
            e = tm_link_verify_turn(&v, &wait);
        if (writes > 0 && tm_rng_below(&w->rng, 20) == 0) {
            put(w, (unsigned)tm_rng_below(&w->rng, 1000), 0);
            writes--;
        }
        lw_step(w, true);
    }
    tm_link_verify_end(&v);
    return e;
}

static unsigned all_found(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < TM_ARRAY_LEN(found); i++)
        n += found[i];
    return n;
}

static void what_is_the_same_is_not_named(void)
{
    struct lw *w = world(1, 300);
    CU_ASSERT_EQUAL(compare(w, 0), TM_OK);
    CU_ASSERT(v.keys > 10 && all_found() == 0);
    uint64_t sent = lw_counted(w, TM_COUNTER_link_check_bytes);
    CU_ASSERT(sent > 0 && lw_counted(w, TM_COUNTER_link_resync_bytes) == 0);
    lw_free(w);
}

static void what_is_under_way_is_not_named(void)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct lw *w = world(seed, 200);
        CU_ASSERT_EQUAL(compare(w, 1000), TM_OK);
        CU_ASSERT_EQUAL(all_found(), 0);
        lw_free(w);
    }
}

/* Keys that are shipped: of the first three that have an entity at the source. */
static char keys[3][64];
static unsigned key_count;

static void pick(void *host, struct tm_bytes key)
{
    struct lw *w = host;
    if (key_count < 3 && lw_ships(NULL, tm_link_type_of(key)) && key.len < sizeof keys[0] &&
        tm_store_find(w->source[0].store, key) != NULL &&
        tm_store_find(w->target[0].store, key) != NULL)
        snprintf(keys[key_count++], sizeof keys[0], "%.*s", (int)key.len, (const char *)key.data);
}

/* The target's own: one key evicted, one changed, one that only it has. */
static void meddle(struct tm_store *s, void *arg)
{
    struct tm_bytes value = tm_bytes_str("other");
    (void)arg;
    tm_link_evict(s, tm_bytes_str(keys[0]));
    const struct tm_entity *e = tm_store_find(s, tm_bytes_str(keys[1]));
    enum tm_entity_type type = tm_entity_type(e);
    tm_store_set_field(s, tm_bytes_str(keys[1]), type, tm_bytes_of(NULL, 0), value);
    tm_store_set_field(s, tm_bytes_str("Order:own"), TM_ENTITY_HASH, tm_bytes_str("f"), value);
}

static void what_differs_is_named_also_while_the_source_writes(void)
{
    for (unsigned writes = 0; writes <= 300; writes += 300) {
        struct lw *w = world(3, 200);
        uint64_t index;
        key_count = 0;
        (void)tm_link_keys(w->source[0].store, 0, 0, UINT32_MAX, pick, w);
        CU_ASSERT_EQUAL_FATAL(key_count, 3);
        CU_ASSERT_EQUAL(lw_write(&lw_nodes[w->target[0].leader], 0, 0, meddle, NULL, &index),
                        TM_OK);
        lw_run(w, TM_MS(50));
        CU_ASSERT_EQUAL(compare(w, writes), TM_OK);
        CU_ASSERT_EQUAL(found[TM_LINK_DIFFERENCE_ONLY_TARGET], 1);
        CU_ASSERT_EQUAL(found[TM_LINK_DIFFERENCE_UNSETTLED], 0);
        if (writes == 0) { /* else the source may have written them anew */
            CU_ASSERT_EQUAL(found[TM_LINK_DIFFERENCE_ONLY_SOURCE], 1);
            CU_ASSERT_EQUAL(found[TM_LINK_DIFFERENCE_DIFFERS], 1);
            CU_ASSERT(strcmp(last_key, keys[0]) == 0 || strcmp(last_key, keys[1]) == 0);
        }
        CU_ASSERT(found[TM_LINK_DIFFERENCE_ONLY_SOURCE] <= 1 &&
                  found[TM_LINK_DIFFERENCE_DIFFERS] <= 2);
        lw_free(w);
    }
}

static void what_the_link_does_not_carry_is_told_apart(void)
{
    struct lw *w = world(5, 100);
    put(w, 8, LW_OTHERS);
    put(w, 9, LW_THEIRS); /* came from the target, which has lost it */
    lw_run(w, TM_MS(50));
    CU_ASSERT_EQUAL(compare(w, 0), TM_OK);
    CU_ASSERT(found[TM_LINK_DIFFERENCE_OTHERS] == 1 && found[TM_LINK_DIFFERENCE_DIFFERS] == 1);
    CU_ASSERT_EQUAL(all_found(), 2);
    lw_free(w);
}

static void a_stream_that_stands_cannot_be_compared(void)
{
    struct lw *w = world(4, 50);
    w->source[0].out[0].state = TM_LINK_OUT_REFUSED;
    CU_ASSERT_EQUAL(compare(w, 0), TM_ERR_CLOSED);
    w->source[0].out[0].state = TM_LINK_OUT_STREAM;
    w->lose = 1000;
    CU_ASSERT_EQUAL(compare(w, 0), TM_ERR_CLOSED);
    lw_free(w);
}

static const struct tm_test tests[] = {
    TM_TEST(what_is_the_same_is_not_named),
    TM_TEST(what_is_under_way_is_not_named),
    TM_TEST(what_differs_is_named_also_while_the_source_writes),
    TM_TEST(what_the_link_does_not_carry_is_told_apart),
    TM_TEST(a_stream_that_stands_cannot_be_compared),
};
TM_TEST_MAIN("actors/link_verify", tests)
