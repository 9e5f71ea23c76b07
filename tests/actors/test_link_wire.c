#include "actors/link_wire.h"
#include "actors/router.h"
#include "runtime/hash.h"
#include "runtime/rng.h"
#include "tests/test.h"

static struct tm_link_stream stream_of(void)
{
    return (struct tm_link_stream){.session = 9,
                                   .incarnation = 77,
                                   .epoch = 2,
                                   .source = 5,
                                   .sources = 8,
                                   .target = 2,
                                   .targets = 4};
}

static struct tm_link_batch batch_of(struct tm_bytes raw)
{
    return (struct tm_link_batch){.stream = stream_of(),
                                  .from = {10, 3, 111},
                                  .to = {.incarnation = 77,
                                         .epoch = 2,
                                         .index = 12,
                                         .term = 3,
                                         .hash = 222,
                                         .hlc = 5,
                                         .rules = 1},
                                  .raw_hash = tm_hash64(raw.data, raw.len, 0),
                                  .raw_len = (uint32_t)raw.len,
                                  .packed_len = (uint32_t)raw.len};
}

/* Changes as a batch has them: of a hash, `count` fields under one stamp, or without. */
static struct tm_bytes changes(uint8_t *buf, size_t cap, unsigned count, bool stamped)
{
    static uint64_t space[1 << 13];
    struct tm_record_builder b;
    struct tm_record head = {.index = 1};
    struct tm_op_version v = {.hlc = 1 << 16, .origin = 77};
    struct tm_op at;
    tm_record_begin(&b, space, sizeof space, TM_RECORD_EFFECT, &head);
    struct tm_op stamp = {.code = TM_OP_STAMPED, .value = tm_bytes_of(&v, sizeof v)};
    if (stamped)
        tm_record_op(&b, tm_bytes_str("T:1"), TM_ENTITY_HASH, &stamp, &at);
    for (unsigned i = 0; i < count; i++) {
        struct tm_op set = {.code = TM_OP_SET_FIELD,
                            .name = tm_bytes_of(&i, sizeof i),
                            .value = tm_bytes_str("a value")};
        tm_record_op(&b, tm_bytes_str("T:1"), TM_ENTITY_HASH, &set, &at);
    }
    struct tm_bytes body = tm_record_body(tm_record_end(&b));
    CU_ASSERT_FATAL(body.len <= cap);
    memcpy(buf, body.data, body.len);
    return tm_bytes_of(buf, body.len);
}

static void each_pair_of_partitions_with_a_common_slot_is_a_stream(void)
{
    for (uint32_t p = 1; p <= 12; p++)
        for (uint32_t t = 1; t <= 12; t++) {
            bool there[12][12] = {{false}};
            for (uint32_t slot = 0; slot < TM_SLOTS; slot++)
                there[tm_partition_of_slot(slot, p)][tm_partition_of_slot(slot, t)] = true;
            for (uint32_t i = 0; i < p; i++)
                for (uint32_t k = 0; k < t; k++)
                    CU_ASSERT_EQUAL(tm_link_overlap(i, p, k, t), there[i][k]);
        }
}

static void a_message_is_read_as_it_was_written(void)
{
    struct tm_link_receipt ack = {stream_of(), 12, 222, 30}, ack2;
    struct tm_link_at at = {.stream = stream_of(), .committed = 0}, at2;
    struct tm_link_mark marks[TM_LINK_MARKS];
    struct tm_link_moved moved = {stream_of(), 3, 0}, moved2;
    struct {
        struct tm_link_refused head;
        char text[8];
    } refused = {{stream_of(), TM_LINK_REFUSAL_CLOCK, 8}, "by 900ms"};
    struct tm_link_refused refused2;
    struct tm_bytes text;
    CU_ASSERT_EQUAL(tm_link_receipt_decode(tm_bytes_of(&ack, sizeof ack), &ack2), TM_OK);
    CU_ASSERT(memcmp(&ack, &ack2, sizeof ack) == 0);
    CU_ASSERT_EQUAL(tm_link_at_decode(tm_bytes_of(&at, sizeof at), &at2, marks), TM_OK);
    CU_ASSERT(memcmp(&at, &at2, sizeof at) == 0);
    CU_ASSERT_EQUAL(tm_link_moved_decode(tm_bytes_of(&moved, sizeof moved), &moved2), TM_OK);
    CU_ASSERT_EQUAL(moved2.block, 3);
    CU_ASSERT_EQUAL(tm_link_refused_decode(tm_bytes_of(&refused, sizeof refused), &refused2, &text),
                    TM_OK);
    CU_ASSERT(tm_bytes_equal(text, tm_bytes_str("by 900ms")));
    CU_ASSERT_STRING_EQUAL(tm_link_refusal_name(refused2.reason), "CLOCK");
    CU_ASSERT(!tm_link_refusal_stands(refused2.reason));
    CU_ASSERT(tm_link_refusal_stands(999));
}

static void streams_that_cannot_be_are_refused(void)
{
    struct tm_link_open good = {stream_of()}, out;
    CU_ASSERT_EQUAL(tm_link_open_decode(tm_bytes_of(&good, sizeof good), &out), TM_OK);
    CU_ASSERT_EQUAL(tm_link_open_decode(tm_bytes_of(&good, sizeof good - 1), &out), TM_ERR_CORRUPT);
    struct tm_link_open bad[7] = {good, good, good, good, good, good, good};
    bad[0].stream.session = 0;
    bad[1].stream.incarnation = 0;
    bad[2].stream.source = 8;
    bad[3].stream.target = 3; /* has no slot in common */
    bad[4].stream.targets = 0;
    bad[5].stream.sources = 5000;
    bad[6].stream.sources = 0;
    for (unsigned i = 0; i < 7; i++)
        CU_ASSERT_EQUAL(tm_link_open_decode(tm_bytes_of(&bad[i], sizeof bad[i]), &out),
                        TM_ERR_CORRUPT);
}

static enum tm_err read_batch(const struct tm_link_batch *b, struct tm_bytes packed)
{
    static uint64_t space[1 << 12];
    struct tm_link_batch out;
    struct tm_bytes rest;
    memcpy(space, b, sizeof *b);
    memcpy((uint8_t *)space + sizeof *b, packed.data, packed.len);
    return tm_link_batch_decode(tm_bytes_of(space, sizeof *b + packed.len), &out, &rest);
}

static void a_batch_has_to_lead_on(void)
{
    uint8_t buf[4096];
    struct tm_bytes raw = changes(buf, sizeof buf, 3, true);
    struct tm_link_batch good = batch_of(raw);
    CU_ASSERT_EQUAL(read_batch(&good, raw), TM_OK);
    struct tm_link_batch bad[8] = {good, good, good, good, good, good, good, good};
    bad[0].to.index = 10;
    bad[1].to.term = 2;
    bad[2].to.incarnation = 78;
    bad[3].to.epoch = 1;
    bad[4].from = (struct tm_link_mark){0, 1, 0};
    bad[5].raw_len = TM_LINK_RAW_MAX + 1;
    bad[6].packed_len = good.raw_len + 1;
    bad[7].packed_len = 0;
    for (unsigned i = 0; i < 8; i++)
        CU_ASSERT_EQUAL(read_batch(&bad[i], raw), TM_ERR_CORRUPT);
}

static void packed_changes_come_out_as_they_went_in(void)
{
    static uint8_t raw_buf[1 << 15], packed[1 << 15];
    static uint64_t out[TM_LINK_RAW_MAX / 8];
    struct tm_bytes raw = changes(raw_buf, sizeof raw_buf, 500, true), back;
    struct tm_link_batch b = batch_of(raw);
    b.packed_len = tm_link_pack(raw, packed, sizeof packed);
    CU_ASSERT_FATAL(b.packed_len > 0 && b.packed_len < raw.len);
    struct tm_bytes body = tm_bytes_of(packed, b.packed_len);
    CU_ASSERT_EQUAL(tm_link_unpack(&b, body, (uint8_t *)out, &back), TM_OK);
    CU_ASSERT(tm_bytes_equal(raw, back));
    b.raw_len--;
    CU_ASSERT_EQUAL(tm_link_unpack(&b, body, (uint8_t *)out, &back), TM_ERR_CORRUPT);
    b.raw_len++;
    b.raw_hash++;
    CU_ASSERT_EQUAL(tm_link_unpack(&b, body, (uint8_t *)out, &back), TM_ERR_CORRUPT);
}

static void what_does_not_get_smaller_is_not_packed(void)
{
    uint64_t noise[128];
    uint8_t out[2048];
    struct tm_rng rng;
    tm_rng_seed(&rng, tm_test_seed());
    for (unsigned i = 0; i < 128; i++)
        noise[i] = tm_rng_next(&rng);
    CU_ASSERT_EQUAL(tm_link_pack(tm_bytes_of(noise, sizeof noise), out, sizeof out), 0);
    CU_ASSERT_EQUAL(tm_link_pack(tm_bytes_str("short"), out, sizeof out), 0);
}

static void an_operation_without_a_stamp_is_refused(void)
{
    uint8_t buf[4096];
    CU_ASSERT_EQUAL(tm_link_changes_check(changes(buf, sizeof buf, 3, true)), TM_OK);
    CU_ASSERT_EQUAL(tm_link_changes_check(changes(buf, sizeof buf, 3, false)), TM_ERR_CORRUPT);
    struct tm_bytes raw = changes(buf, sizeof buf, 3, true);
    memset(buf + 8 + 3 + 8, 0, 16); /* (0, 0): back to a stamp that nobody gave */
    CU_ASSERT_EQUAL(tm_link_changes_check(raw), TM_ERR_CORRUPT);
}

static void damaged_bodies_are_refused_or_read(void)
{
    static uint64_t out[TM_LINK_RAW_MAX / 8];
    uint8_t raw_buf[4096], packed[4096];
    struct tm_rng rng;
    tm_rng_seed(&rng, tm_test_seed());
    struct tm_bytes raw = changes(raw_buf, sizeof raw_buf, 50, true), back;
    struct tm_link_batch b = batch_of(raw);
    b.packed_len = tm_link_pack(raw, packed, sizeof packed);
    CU_ASSERT_FATAL(b.packed_len > 0);
    for (unsigned i = 0; i < 3000; i++) {
        uint8_t damaged[4096];
        memcpy(damaged, packed, b.packed_len);
        damaged[tm_rng_below(&rng, b.packed_len)] ^= (uint8_t)(1 + tm_rng_below(&rng, 255));
        if (tm_link_unpack(&b, tm_bytes_of(damaged, b.packed_len), (uint8_t *)out, &back) == TM_OK)
            CU_ASSERT(tm_bytes_equal(raw, back)); /* another way to pack the same */
    }
}

static const struct tm_test tests[] = {
    TM_TEST(each_pair_of_partitions_with_a_common_slot_is_a_stream),
    TM_TEST(a_message_is_read_as_it_was_written),
    TM_TEST(streams_that_cannot_be_are_refused),
    TM_TEST(a_batch_has_to_lead_on),
    TM_TEST(packed_changes_come_out_as_they_went_in),
    TM_TEST(what_does_not_get_smaller_is_not_packed),
    TM_TEST(an_operation_without_a_stamp_is_refused),
    TM_TEST(damaged_bodies_are_refused_or_read),
};
TM_TEST_MAIN("actors/link_wire", tests)
