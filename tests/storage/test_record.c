/* Records: the frozen layout, building and iterating, refusing what was damaged. */
#include "runtime/hash.h"
#include "storage/record.h"
#include "test.h"

static uint64_t buffer[8192];
static const struct tm_record HEAD = {
    .partition = 7, .term = 3, .index = 11, .hlc = 0x1234, .origin = 0x77, .prev_hash = 0x99};

static struct tm_bytes str(const char *s)
{
    return tm_bytes_str(s);
}

static void add(struct tm_record_builder *b, const char *key, enum tm_entity_type type,
                enum tm_op_code code, const char *name, struct tm_bytes value)
{
    struct tm_op op = {code, str(name), value}, at;
    CU_ASSERT_EQUAL(tm_record_op(b, str(key), type, &op, &at), TM_OK);
    CU_ASSERT(tm_bytes_equal(at.value, value) && at.value.data != value.data);
}

static struct tm_record *example(void)
{
    static const struct tm_counter_component c = {1, 2, 30};
    static const struct tm_op_version v = {5, 6};
    static const uint64_t at = 1000;
    struct tm_record_builder b;
    tm_record_begin(&b, buffer, sizeof buffer, TM_RECORD_EFFECT, &HEAD);
    CU_ASSERT(tm_record_empty(&b));
    add(&b, "Order:1", TM_ENTITY_HASH, TM_OP_SET_FIELD, "status", str("paid"));
    add(&b, "Order:1", TM_ENTITY_HASH, TM_OP_COUNTER, "n", tm_bytes_of(&c, sizeof c));
    add(&b, "Order:1", TM_ENTITY_HASH, TM_OP_DEL_FIELD, "old", str(""));
    add(&b, "tag", TM_ENTITY_SET, TM_OP_SET_FIELD, "red", str(""));
    add(&b, "tag", TM_ENTITY_SET, TM_OP_SET_EXPIRY, "", tm_bytes_of(&at, sizeof at));
    add(&b, "gone", TM_ENTITY_STRING, TM_OP_EXPIRE_ENTITY, "", tm_bytes_of(&v, sizeof v));
    add(&b, "", TM_ENTITY_STRING, TM_OP_SET_FIELD, "", str(""));
    add(&b, "x", TM_ENTITY_STRING, TM_OP_DEL_ENTITY, "", str(""));
    add(&b, "x", TM_ENTITY_STRING, TM_OP_PERSIST, "", str(""));
    return tm_record_end(&b);
}

static void the_layout_on_disk_never_changes(void)
{
    struct tm_record *r = example();
    const uint8_t *p = (const uint8_t *)r;
    CU_ASSERT_EQUAL(tm_load32(p), r->length);
    CU_ASSERT_EQUAL(tm_load16(p + 4), 2);
    CU_ASSERT_EQUAL(tm_load32(p + 8), 7);
    CU_ASSERT_EQUAL(tm_load64(p + 16), 3);
    CU_ASSERT_EQUAL(tm_load64(p + 24), 11);
    CU_ASSERT_EQUAL(tm_load64(p + 32), 0x1234);
    CU_ASSERT_EQUAL(tm_load64(p + 40), 0x77);
    CU_ASSERT_EQUAL(tm_load64(p + 48), 0x99);
    CU_ASSERT_EQUAL(tm_load64(p + 56), r->checksum);
    const uint8_t change[] = "\x4d\0\0\0\x07\0\x01\0Order:1" /* 77 bytes, key 7, hash */
                             "\x01\x06\0\0\x04\0\0\0statuspaid"
                             "\x03\x01\0\0\x18\0\0\0n";
    CU_ASSERT_EQUAL(memcmp(p + 64, change, sizeof change - 1), 0);
    struct tm_record zeroed = *r;
    zeroed.checksum = 0;
    struct tm_bytes pieces[] = {tm_bytes_of(&zeroed, 64), tm_bytes_of(p + 64, r->length - 64)};
    CU_ASSERT_EQUAL(r->checksum, tm_hash64_pieces(pieces, 2, 0));
}

static void changes_come_back_as_they_went_in(void)
{
    struct tm_record *r = example();
    CU_ASSERT_EQUAL_FATAL(tm_record_check(r, sizeof buffer), TM_OK);
    CU_ASSERT_EQUAL(r->length % 8, 0);
    static const char *const keys[] = {"Order:1", "tag", "gone", "", "x"};
    static const unsigned ops[] = {3, 2, 1, 1, 2};
    struct tm_bytes body = tm_record_body(r);
    struct tm_change change;
    struct tm_op op = {0};
    unsigned n = 0;
    for (; tm_change_next(&body, &change); n++) {
        unsigned k = 0;
        CU_ASSERT_FATAL(n < 5);
        CU_ASSERT(tm_bytes_equal(change.key, str(keys[n])));
        while (tm_op_next(&change.ops, &op))
            k++;
        CU_ASSERT_EQUAL(k, ops[n]);
        if (n == 1) {
            CU_ASSERT_EQUAL(op.code, TM_OP_SET_EXPIRY);
            CU_ASSERT_EQUAL(tm_load64(op.value.data), 1000);
            CU_ASSERT_EQUAL(change.type, TM_ENTITY_SET);
        }
    }
    CU_ASSERT_EQUAL(n, 5);
}

static void any_changed_bit_is_found(void)
{
    struct tm_record *r = example();
    uint32_t length = r->length;
    for (size_t bit = 0; bit < (size_t)length * 8; bit++) {
        ((uint8_t *)buffer)[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum tm_err err = tm_record_check(buffer, length);
        CU_ASSERT(err == TM_ERR_CORRUPT || err == TM_ERR_AGAIN);
        ((uint8_t *)buffer)[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t len = 0; len < length; len++)
        CU_ASSERT_EQUAL(tm_record_check(buffer, len), TM_ERR_AGAIN);
    CU_ASSERT_EQUAL(tm_record_check(buffer, length), TM_OK);
}

/* Bytes whose checksum is right but whose structure is random: they must be refused or be safe to
 * iterate. */
static void a_body_is_believed_only_after_its_structure_was_checked(void)
{
    uint64_t seed = tm_test_seed();
    unsigned accepted = 0;
    for (unsigned round = 0; round < 20000; round++) {
        struct tm_record *r = example();
        for (unsigned k = 0; k < 1 + seed % 3; k++) {
            seed = tm_hash64(&seed, 8, round);
            ((uint8_t *)(r + 1))[seed % r->body_len] = (uint8_t)(seed >> 32);
        }
        r->body_len = seed >> 40 & 1 ? r->body_len : (uint32_t)(seed >> 50) % r->body_len;
        tm_record_seal(r);
        struct tm_bytes body = tm_record_body(r);
        if (tm_record_check(r, r->length) != TM_OK)
            continue;
        accepted++;
        struct tm_change change;
        struct tm_op op;
        while (tm_change_next(&body, &change))
            while (tm_op_next(&change.ops, &op))
                CU_ASSERT(op.value.data + op.value.len <= (const uint8_t *)r + r->length);
    }
    CU_ASSERT(accepted > 0 && accepted < 20000);
}

static void what_a_newer_version_wrote_is_not_taken_for_damage(void)
{
    struct tm_record *r = example();
    r->kind = 63;
    tm_record_seal(r);
    CU_ASSERT_EQUAL(tm_record_check(r, r->length), TM_ERR_VERSION);
    r = example();
    r->flags = 1;
    tm_record_seal(r);
    CU_ASSERT_EQUAL(tm_record_check(r, r->length), TM_ERR_VERSION);
    r = example();
    ((uint8_t *)(r + 1))[15] = 99; /* the first operation's code */
    tm_record_seal(r);
    CU_ASSERT_EQUAL(tm_record_check(r, r->length), TM_ERR_VERSION);
}

static void operations_that_make_no_sense_are_refused(void)
{
    struct {
        enum tm_entity_type type;
        struct tm_op op;
    } bad[] = {{TM_ENTITY_STRING, {TM_OP_SET_FIELD, str("n"), str("v")}},
               {TM_ENTITY_SET, {TM_OP_SET_FIELD, str("n"), str("v")}},
               {TM_ENTITY_SET, {TM_OP_COUNTER, str("n"), str("123456789012345678901234")}},
               {TM_ENTITY_HASH, {TM_OP_COUNTER, str("n"), str("12345678")}},
               {TM_ENTITY_HASH, {TM_OP_DEL_FIELD, str("n"), str("v")}},
               {TM_ENTITY_HASH, {TM_OP_DEL_ENTITY, str("n"), str("")}},
               {TM_ENTITY_HASH, {TM_OP_EXPIRE_ENTITY, str(""), str("")}},
               {TM_ENTITY_HASH, {TM_OP_SET_EXPIRY, str(""), str("1234")}},
               {TM_ENTITY_HASH, {TM_OP_SET_EXPIRY, str(""), tm_bytes_of("\0\0\0\0\0\0\0\0", 8)}},
               {TM_ENTITY_HASH, {TM_OP_PERSIST, str(""), str("x")}},
               {TM_ENTITY_HASH, {TM_OP_MERGED, str(""), str("12345678")}},
               {TM_ENTITY_HASH, {TM_OP_MERGED, str("n"), str("1234567812345678")}},
               {TM_ENTITY_HASH, {TM_OP_STAMPED, str(""), str("12345678")}},
               {TM_ENTITY_HASH, {TM_OP_STAMPED, str("n"), str("1234567812345678")}},
               {TM_ENTITY_HASH, {TM_OP_EXPIRY, str(""), str("1234")}},
               {TM_ENTITY_SHADOW, {TM_OP_PERSIST, str(""), str("")}},
               {TM_ENTITY_SHADOW, {TM_OP_SET_EXPIRY, str(""), str("12345678")}},
               {TM_ENTITY_SHADOW, {TM_OP_COUNTER, str("n"), str("123456789012345678901234")}}};
    for (size_t i = 0; i < TM_ARRAY_LEN(bad); i++) {
        struct tm_record_builder b;
        struct tm_op at;
        tm_record_begin(&b, buffer, sizeof buffer, TM_RECORD_EFFECT, &HEAD);
        CU_ASSERT_EQUAL(tm_record_op(&b, str("k"), bad[i].type, &bad[i].op, &at), TM_OK);
        struct tm_record *r = tm_record_end(&b);
        CU_ASSERT_EQUAL(tm_record_check(r, r->length), TM_ERR_CORRUPT);
    }
}

static void a_full_buffer_is_an_answer_and_leaves_the_record_whole(void)
{
    struct tm_record_builder b;
    struct tm_op op = {TM_OP_SET_FIELD, str(""), str("0123456789")}, at;
    tm_record_begin(&b, buffer, 128, TM_RECORD_EFFECT, &HEAD);
    CU_ASSERT_EQUAL(tm_record_op(&b, str("a"), TM_ENTITY_STRING, &op, &at), TM_OK);
    CU_ASSERT_EQUAL(tm_record_op(&b, str("b"), TM_ENTITY_STRING, &op, &at), TM_OK);
    CU_ASSERT_EQUAL(tm_record_op(&b, str("c"), TM_ENTITY_STRING, &op, &at), TM_ERR_TOOBIG);
    struct tm_record *r = tm_record_end(&b);
    CU_ASSERT(r->length <= 128);
    CU_ASSERT_EQUAL(tm_record_check(r, r->length), TM_OK);
    tm_record_begin(&b, buffer, sizeof buffer, TM_RECORD_EFFECT, &HEAD);
    struct tm_bytes long_key = tm_bytes_of(buffer, TM_KEY_MAX + 1);
    CU_ASSERT_EQUAL(tm_record_op(&b, long_key, TM_ENTITY_STRING, &op, &at), TM_ERR_TOOBIG);
}

static void a_stamped_change_is_what_its_two_operations_make(void)
{
    static uint64_t other[32];
    struct tm_op_version v = {77, 8};
    struct tm_op stamped = {TM_OP_STAMPED, str(""), tm_bytes_of(&v, sizeof v)}, at;
    struct tm_op op = {TM_OP_SET_FIELD, str(""), str("value")};
    struct tm_record_builder a, b;
    size_t need = sizeof HEAD + 8 + 3 + 2 * 8 + sizeof v + 5;
    tm_record_begin(&a, other, sizeof other, TM_RECORD_EFFECT, &HEAD);
    CU_ASSERT_EQUAL(tm_record_op(&a, str("key"), TM_ENTITY_STRING, &stamped, &at), TM_OK);
    CU_ASSERT_EQUAL(tm_record_op(&a, str("key"), TM_ENTITY_STRING, &op, &at), TM_OK);
    tm_record_begin(&b, buffer, tm_align_up(need, 8) - 8, TM_RECORD_EFFECT, &HEAD);
    CU_ASSERT_EQUAL(tm_record_stamped(&b, str("key"), TM_ENTITY_STRING, v, &op, &at),
                    TM_ERR_TOOBIG);
    CU_ASSERT(tm_record_empty(&b));
    tm_record_begin(&b, buffer, tm_align_up(need, 8), TM_RECORD_EFFECT, &HEAD);
    CU_ASSERT_EQUAL(tm_record_stamped(&b, str("key"), TM_ENTITY_STRING, v, &op, &at), TM_OK);
    CU_ASSERT(tm_bytes_equal(at.value, op.value) && at.value.data != op.value.data);
    struct tm_record *r = tm_record_end(&a);
    CU_ASSERT(tm_bytes_equal(tm_bytes_of(r, r->length), tm_bytes_of(tm_record_end(&b), r->length)));
}

static void a_flush_forgets_the_changes_before_it(void)
{
    struct tm_record_builder b;
    struct tm_op op = {TM_OP_SET_FIELD, str(""), str("v")}, at;
    tm_record_begin(&b, buffer, sizeof buffer, TM_RECORD_EFFECT, &HEAD);
    CU_ASSERT_EQUAL(tm_record_op(&b, str("a"), TM_ENTITY_STRING, &op, &at), TM_OK);
    tm_record_flush(&b);
    CU_ASSERT(!tm_record_empty(&b));
    CU_ASSERT_EQUAL(tm_record_op(&b, str("a"), TM_ENTITY_STRING, &op, &at), TM_OK);
    struct tm_record *r = tm_record_end(&b);
    CU_ASSERT_EQUAL(r->kind, TM_RECORD_FLUSH);
    CU_ASSERT_EQUAL(r->body_len, 8 + 1 + 8 + 1);
    CU_ASSERT_EQUAL(tm_record_check(r, r->length), TM_OK);
}

static void names_come_from_the_one_table(void)
{
    CU_ASSERT_STRING_EQUAL(tm_record_kind_name(TM_RECORD_CUT), "CUT");
    CU_ASSERT_STRING_EQUAL(tm_record_kind_name(33), "UNKNOWN");
    CU_ASSERT_STRING_EQUAL(tm_op_name(TM_OP_COUNTER), "COUNTER");
    CU_ASSERT_STRING_EQUAL(tm_op_name(0), "UNKNOWN");
}

static const struct tm_test tests[] = {
    TM_TEST(the_layout_on_disk_never_changes),
    TM_TEST(changes_come_back_as_they_went_in),
    TM_TEST(any_changed_bit_is_found),
    TM_TEST(a_body_is_believed_only_after_its_structure_was_checked),
    TM_TEST(what_a_newer_version_wrote_is_not_taken_for_damage),
    TM_TEST(operations_that_make_no_sense_are_refused),
    TM_TEST(a_full_buffer_is_an_answer_and_leaves_the_record_whole),
    TM_TEST(a_stamped_change_is_what_its_two_operations_make),
    TM_TEST(a_flush_forgets_the_changes_before_it),
    TM_TEST(names_come_from_the_one_table),
};

TM_TEST_MAIN("storage/record", tests)
