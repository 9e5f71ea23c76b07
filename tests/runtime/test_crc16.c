#include "runtime/crc16.h"
#include "test.h"

static uint16_t bit_by_bit(const uint8_t *p, size_t len)
{
    unsigned crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned)p[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1) & 0xffff;
    }
    return (uint16_t)crc;
}

static unsigned slot(const char *key)
{
    return tm_slot_of_key(tm_bytes_str(key));
}

static void the_check_value_is_that_of_xmodem(void)
{
    CU_ASSERT_EQUAL(tm_crc16("123456789", 9), 0x31c3);
    CU_ASSERT_EQUAL(tm_crc16("", 0), 0);
}

static void the_table_equals_the_shift_register(void)
{
    uint8_t bytes[64];
    srandom((unsigned)tm_test_seed());
    for (unsigned b = 0; b < 256; b++) {
        bytes[0] = (uint8_t)b;
        CU_ASSERT_EQUAL(tm_crc16(bytes, 1), bit_by_bit(bytes, 1));
    }
    for (int round = 0; round < 1000; round++) {
        size_t len = (size_t)random() % sizeof bytes;
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)random();
        CU_ASSERT_EQUAL(tm_crc16(bytes, len), bit_by_bit(bytes, len));
    }
}

/* The values are those that redis 7 answers to CLUSTER KEYSLOT. */
static void slots_are_those_of_redis_cluster(void)
{
    CU_ASSERT_EQUAL(slot("foo"), 12182);
    CU_ASSERT_EQUAL(slot("bar"), 5061);
    CU_ASSERT_EQUAL(slot("somekey"), 11058);
    CU_ASSERT_EQUAL(slot(""), 0);
}

static void only_the_first_full_tag_counts(void)
{
    CU_ASSERT_EQUAL(slot("{user1000}.following"), slot("user1000"));
    CU_ASSERT_EQUAL(slot("Order:{42}:items"), slot("42"));
    CU_ASSERT_EQUAL(slot("foo{bar}{zap}"), slot("bar"));
    CU_ASSERT_EQUAL(slot("foo{{bar}}zap"), slot("{bar"));
    CU_ASSERT_EQUAL(slot("foo{}{bar}"), tm_crc16("foo{}{bar}", 10) % TM_SLOTS);
    CU_ASSERT_EQUAL(slot("foo{bar"), tm_crc16("foo{bar", 7) % TM_SLOTS);
    CU_ASSERT_EQUAL(slot("}foo{"), tm_crc16("}foo{", 5) % TM_SLOTS);
}

static const struct tm_test tests[] = {
    TM_TEST(the_check_value_is_that_of_xmodem),
    TM_TEST(the_table_equals_the_shift_register),
    TM_TEST(slots_are_those_of_redis_cluster),
    TM_TEST(only_the_first_full_tag_counts),
};
TM_TEST_MAIN("runtime/crc16", tests)
