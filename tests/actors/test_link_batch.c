#include "actors/link_batch.h"
#include "actors/router.h"
#include "storage/store_link.h"
#include "tests/test.h"

#define OURS   7
#define THEIRS 8

static bool ships_orders(const void *host, struct tm_bytes type)
{
    (void)host;
    return tm_bytes_equal(type, tm_bytes_str("Order"));
}

static bool ships_all(const void *host, struct tm_bytes type)
{
    (void)host;
    (void)type;
    return true;
}

static bool forwards_ours(const void *host, uint64_t origin)
{
    (void)host;
    return origin == OURS;
}

static bool forwards_all(const void *host, uint64_t origin)
{
    (void)host;
    return origin != 0;
}

static const struct tm_link_filter everything = {NULL, ships_all, forwards_all, 1};
static const struct tm_link_stream whole = {
    .session = 1, .incarnation = OURS, .sources = 1, .targets = 1};
static uint64_t space[1 << 12];
static struct tm_record_builder rb;
static uint8_t buf[1 << 14];
static struct tm_link_builder lb;

static void begin(enum tm_record_kind kind, uint64_t index)
{
    struct tm_record head = {.term = 2, .index = index, .hlc = index << 16, .origin = OURS};
    tm_record_begin(&rb, space, sizeof space, kind, &head);
}

static void op(const char *key, enum tm_entity_type type, enum tm_op_code code, const char *name,
               const void *value, size_t len)
{
    struct tm_op o = {.code = code, .name = tm_bytes_str(name), .value = tm_bytes_of(value, len)};
    struct tm_op at;
    CU_ASSERT_EQUAL_FATAL(tm_record_op(&rb, tm_bytes_str(key), type, &o, &at), TM_OK);
}

static void set(const char *key, const char *value)
{
    op(key, TM_ENTITY_STRING, TM_OP_SET_FIELD, "", value, strlen(value));
}

static void stamp(const char *key, uint64_t hlc, uint64_t origin)
{
    struct tm_op_version v = {hlc, origin};
    op(key, TM_ENTITY_STRING, TM_OP_STAMPED, "", &v, sizeof v);
}

static enum tm_err add(void)
{
    const struct tm_record *r = tm_record_end(&rb);
    CU_ASSERT_EQUAL_FATAL(tm_record_check(r, r->length), TM_OK);
    return tm_link_builder_add(&lb, r);
}

static void open_batch(const struct tm_link_filter *filter, const struct tm_link_stream *stream)
{
    struct tm_link_position from = {0};
    tm_link_builder_begin(&lb, filter, stream, &from, buf, sizeof buf);
}

/* "key=value@stamp/origin " of each set, "key!@..." of other operations; that the changes are well
 * formed is looked at besides. */
static const char *text(void)
{
    static char out[4096];
    struct tm_bytes rest = tm_link_builder_raw(&lb);
    struct tm_change c;
    struct tm_op o;
    struct tm_op_version v = {0};
    int n = 0;
    out[0] = '\0';
    CU_ASSERT_EQUAL_FATAL(tm_link_changes_check(rest), TM_OK);
    while (tm_change_next(&rest, &c))
        while (tm_op_next(&c.ops, &o)) {
            if (o.code == TM_OP_STAMPED) {
                memcpy(&v, o.value.data, sizeof v);
                continue;
            }
            bool is_set = o.code == TM_OP_SET_FIELD;
            n += snprintf(out + n, sizeof out - (size_t)n, "%.*s%s%.*s@%u/%u ", (int)c.key.len,
                          (const char *)c.key.data, is_set ? "=" : "!",
                          is_set ? (int)o.value.len : 0, (const char *)o.value.data,
                          (unsigned)(v.hlc >> 16), (unsigned)v.origin);
        }
    return out;
}

static void a_batch_holds_every_change_under_its_own_stamp(void)
{
    open_batch(&everything, &whole);
    begin(TM_RECORD_EFFECT, 1);
    set("Order:1", "a");
    set("Item:2", "b");
    CU_ASSERT_EQUAL(add(), TM_OK);
    begin(TM_RECORD_NOOP, 2);
    CU_ASSERT_EQUAL(add(), TM_OK);
    begin(TM_RECORD_EFFECT, 3);
    op("Order:1", TM_ENTITY_STRING, TM_OP_DEL_ENTITY, "", NULL, 0);
    CU_ASSERT_EQUAL(add(), TM_OK);
    CU_ASSERT_STRING_EQUAL(text(), "Order:1=a@1/7 Item:2=b@1/7 Order:1!@3/7 ");
    CU_ASSERT_EQUAL(lb.to.index, 3);
    CU_ASSERT_EQUAL(lb.to.term, 2);
    CU_ASSERT_EQUAL(lb.to.hash, ((struct tm_record *)(void *)space)->checksum);
    CU_ASSERT_EQUAL(lb.to.hlc, 3 << 16);
    CU_ASSERT_EQUAL(lb.from.index, 0);
}

static void types_that_the_rules_do_not_ship_stay_but_the_end_moves_on(void)
{
    static const struct tm_link_filter orders = {NULL, ships_orders, forwards_all, 1};
    open_batch(&orders, &whole);
    begin(TM_RECORD_EFFECT, 1);
    set("Item:1", "a");
    set("Order:2", "b");
    set("Orders:2", "c");
    set("Order", "no colon");
    CU_ASSERT_EQUAL(add(), TM_OK);
    begin(TM_RECORD_EFFECT, 2);
    op("Item:1", TM_ENTITY_STRING, TM_OP_DEL_ENTITY, "", NULL, 0);
    CU_ASSERT_EQUAL(add(), TM_OK);
    CU_ASSERT_STRING_EQUAL(text(), "Order:2=b@1/7 ");
    CU_ASSERT_EQUAL(lb.to.index, 2);
    CU_ASSERT_EQUAL(lb.skipped, 4);
}

static void keys_of_other_target_partitions_stay(void)
{
    unsigned seen = 0;
    for (uint32_t t = 0; t < 5; t++) {
        struct tm_link_stream s = whole;
        s.target = t;
        s.targets = 5;
        open_batch(&everything, &s);
        begin(TM_RECORD_EFFECT, 1);
        char key[16];
        for (unsigned i = 0; i < 40; i++) {
            snprintf(key, sizeof key, "Order:%u", i);
            set(key, "v");
        }
        CU_ASSERT_EQUAL(add(), TM_OK);
        struct tm_bytes rest = tm_link_builder_raw(&lb);
        struct tm_change c;
        while (tm_change_next(&rest, &c)) {
            CU_ASSERT_EQUAL(tm_partition_of_slot(tm_slot_of_key(c.key), 5), t);
            seen++;
        }
    }
    CU_ASSERT_EQUAL(seen, 40);
}

static void operations_go_by_their_own_origin(void)
{
    static const struct tm_link_filter ours = {NULL, ships_all, forwards_ours, 1};
    open_batch(&ours, &whole);
    begin(TM_RECORD_EFFECT, 9);
    lb.to.index = 8;
    set("a", "1");
    stamp("b", 5 << 16, THEIRS);
    set("b", "2");
    stamp("c", 6 << 16, OURS);
    set("c", "3");
    set("d", "4");
    stamp("e", 0, 0);
    set("e", "5");
    CU_ASSERT_EQUAL(add(), TM_OK);
    CU_ASSERT_STRING_EQUAL(text(), "a=1@9/7 c=3@6/7 d=4@6/7 e=5@9/7 ");
    lb.filter = &everything;
    open_batch(&everything, &whole);
    lb.to.index = 8;
    CU_ASSERT_EQUAL(tm_link_builder_add(&lb, (struct tm_record *)(void *)space), TM_OK);
    CU_ASSERT_STRING_EQUAL(text(), "a=1@9/7 b=2@5/8 c=3@6/7 d=4@6/7 e=5@9/7 ");
}

static void a_stamp_inside_what_stays_holds_for_what_follows(void)
{
    static const struct tm_link_filter orders = {NULL, ships_orders, forwards_all, 1};
    open_batch(&orders, &whole);
    begin(TM_RECORD_EFFECT, 1);
    stamp("Item:1", 5 << 16, THEIRS);
    set("Item:1", "x");
    set("Order:1", "y");
    CU_ASSERT_EQUAL(add(), TM_OK);
    CU_ASSERT_STRING_EQUAL(text(), "Order:1=y@5/8 ");
}

static void what_clusters_keep_to_themselves_stays(void)
{
    struct tm_op_version v = {1, OURS};
    struct tm_op_source source = {1, 1};
    open_batch(&everything, &whole);
    begin(TM_RECORD_EFFECT, 1);
    op("", TM_ENTITY_SHADOW, TM_OP_SET_FIELD, "p", "position", 8);
    op("k", TM_ENTITY_SHADOW, TM_OP_SET_FIELD, "ox", "", 0);
    op("k", TM_ENTITY_HASH, TM_OP_FOLDED, "x", "made", 4);
    op("k", TM_ENTITY_SHADOW, TM_OP_DEL_FIELD, "fx", "", 0);
    stamp("k", 3, TM_ORIGIN_NONE);
    set("k", "derived");
    stamp("k", 0, 0);
    op("k", TM_ENTITY_STRING, TM_OP_EXPIRE_ENTITY, "", &v, sizeof v);
    op("k", TM_ENTITY_STRING, TM_OP_MERGED, "", &source, sizeof source);
    CU_ASSERT_EQUAL(add(), TM_OK);
    CU_ASSERT_EQUAL(tm_link_builder_raw(&lb).len, 0);
    CU_ASSERT_EQUAL(lb.changes, 0);
    CU_ASSERT_EQUAL(lb.to.index, 1);
}

static void tombstones_go_under_their_stamps(void)
{
    open_batch(&everything, &whole);
    begin(TM_RECORD_EFFECT, 1);
    op("k", TM_ENTITY_SHADOW, TM_OP_SET_FIELD, "d", "", 0);
    op("k", TM_ENTITY_SHADOW, TM_OP_SET_FIELD, "fname", "t", 1);
    stamp("k", 5 << 16, THEIRS);
    op("k", TM_ENTITY_SHADOW, TM_OP_SET_FIELD, "x", "12345678", 8);
    CU_ASSERT_EQUAL(add(), TM_OK);
    CU_ASSERT_STRING_EQUAL(text(), "k=@1/7 k=t@1/7 k=12345678@5/8 ");
}

static void counters_expiries_and_deleted_fields_go(void)
{
    static const enum tm_op_code codes[] = {TM_OP_COUNTER, TM_OP_COUNTER_AT, TM_OP_DEL_FIELD,
                                            TM_OP_SET_EXPIRY, TM_OP_PERSIST};
    struct tm_counter_component c = {.origin = OURS, .term = 2, .total = 5};
    struct tm_counter_at at = {.component = c};
    uint64_t ms = 1700000000000;
    open_batch(&everything, &whole);
    begin(TM_RECORD_EFFECT, 1);
    op("k", TM_ENTITY_HASH, TM_OP_COUNTER, "n", &c, sizeof c);
    op("k", TM_ENTITY_HASH, TM_OP_COUNTER_AT, "n", &at, sizeof at);
    op("k", TM_ENTITY_HASH, TM_OP_DEL_FIELD, "m", NULL, 0);
    op("k", TM_ENTITY_HASH, TM_OP_SET_EXPIRY, "", &ms, sizeof ms);
    op("k", TM_ENTITY_HASH, TM_OP_PERSIST, "", NULL, 0);
    CU_ASSERT_EQUAL(add(), TM_OK);
    struct tm_bytes rest = tm_link_builder_raw(&lb);
    struct tm_change change;
    struct tm_op o;
    CU_ASSERT_FATAL(tm_link_changes_check(rest) == TM_OK && tm_change_next(&rest, &change));
    CU_ASSERT(tm_op_next(&change.ops, &o) && o.code == TM_OP_STAMPED);
    for (unsigned i = 0; i < 5; i++)
        CU_ASSERT(tm_op_next(&change.ops, &o) && o.code == codes[i]);
}

static void a_flush_begins_a_batch_of_its_own(void)
{
    struct tm_link_stream s = {
        .session = 1, .incarnation = OURS, .source = 0, .sources = 2, .target = 1, .targets = 3};
    open_batch(&everything, &s);
    begin(TM_RECORD_EFFECT, 1);
    for (unsigned i = 0; i < 20; i++) {
        char key[16];
        snprintf(key, sizeof key, "%u", i);
        set(key, "v");
    }
    CU_ASSERT_EQUAL(add(), TM_OK);
    CU_ASSERT(lb.used > 0);
    begin(TM_RECORD_FLUSH, 2);
    tm_record_flush(&rb);
    CU_ASSERT_EQUAL(add(), TM_ERR_FULL);
    CU_ASSERT_EQUAL(lb.to.index, 1);
    struct tm_link_position from = lb.to;
    tm_link_builder_begin(&lb, &everything, &s, &from, buf, sizeof buf);
    CU_ASSERT_EQUAL(tm_link_builder_add(&lb, (struct tm_record *)(void *)space), TM_OK);
    struct tm_bytes rest = tm_link_builder_raw(&lb);
    struct tm_change c;
    uint16_t first = 0, last = 0;
    CU_ASSERT_EQUAL_FATAL(tm_link_changes_check(rest), TM_OK);
    CU_ASSERT_FATAL(tm_change_next(&rest, &c) && tm_link_flush_slots(&c, &first, &last));
    CU_ASSERT_EQUAL(first, tm_partition_first_slot(1, 3));
    CU_ASSERT_EQUAL(last, TM_SLOTS / 2 - 1);
}

static void a_record_that_does_not_fit_is_left_whole_for_the_next_batch(void)
{
    open_batch(&everything, &whole);
    lb.cap = 100;
    begin(TM_RECORD_EFFECT, 1);
    set("a", "1");
    CU_ASSERT_EQUAL(add(), TM_OK);
    uint32_t used = lb.used;
    begin(TM_RECORD_EFFECT, 2);
    set("b", "1");
    set("c", "a value that goes beyond the end of the buffer");
    CU_ASSERT_EQUAL(add(), TM_ERR_FULL);
    CU_ASSERT_EQUAL(lb.used, used);
    CU_ASSERT_EQUAL(lb.to.index, 1);
    CU_ASSERT_EQUAL(lb.changes, 1);
    CU_ASSERT_STRING_EQUAL(text(), "a=1@1/7 ");
    lb.cap = sizeof buf;
    CU_ASSERT_EQUAL(tm_link_builder_add(&lb, (struct tm_record *)(void *)space), TM_OK);
    CU_ASSERT_EQUAL(lb.changes, 3);
}

static void the_type_is_what_stands_before_the_first_colon(void)
{
    CU_ASSERT(tm_bytes_equal(tm_link_type_of(tm_bytes_str("Order:4:2")), tm_bytes_str("Order")));
    CU_ASSERT(tm_bytes_equal(tm_link_type_of(tm_bytes_str("order")), tm_bytes_str("_default")));
    CU_ASSERT(tm_bytes_equal(tm_link_type_of(tm_bytes_str(":x")), tm_bytes_str("")));
    CU_ASSERT(tm_bytes_equal(tm_link_type_of(tm_bytes_of(NULL, 0)), tm_bytes_str("_default")));
}

static const struct tm_test tests[] = {
    TM_TEST(a_batch_holds_every_change_under_its_own_stamp),
    TM_TEST(types_that_the_rules_do_not_ship_stay_but_the_end_moves_on),
    TM_TEST(keys_of_other_target_partitions_stay),
    TM_TEST(operations_go_by_their_own_origin),
    TM_TEST(a_stamp_inside_what_stays_holds_for_what_follows),
    TM_TEST(what_clusters_keep_to_themselves_stays),
    TM_TEST(tombstones_go_under_their_stamps),
    TM_TEST(counters_expiries_and_deleted_fields_go),
    TM_TEST(a_flush_begins_a_batch_of_its_own),
    TM_TEST(a_record_that_does_not_fit_is_left_whole_for_the_next_batch),
    TM_TEST(the_type_is_what_stands_before_the_first_colon),
};
TM_TEST_MAIN("actors/link_batch", tests)
