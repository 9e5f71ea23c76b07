#include "runtime/hash.h"
#include "test.h"

/* Known values: formats at rest depend on them. */
static void values_are_those_of_xxh3(void)
{
    CU_ASSERT_EQUAL(tm_hash64(NULL, 0, 0), UINT64_C(0x2d06800538d394c2));
    CU_ASSERT_EQUAL(tm_hash128(NULL, 0, 0).hi, UINT64_C(0x99aa06d3014798d8));
    CU_ASSERT_EQUAL(tm_hash128(NULL, 0, 0).lo, UINT64_C(0x6001c324468d497f));
    CU_ASSERT_NOT_EQUAL(tm_hash64("a", 1, 0), tm_hash64("a", 1, 1));
    CU_ASSERT_FALSE(tm_hash128_equal(tm_hash128("a", 1, 0), tm_hash128("a", 1, 1)));
}

static void pieces_hash_as_their_concatenation(void)
{
    static uint8_t bytes[5000];
    srandom((unsigned)tm_test_seed());
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)random();
    for (int round = 0; round < 500; round++) {
        size_t len = (size_t)random() % sizeof bytes;
        size_t a = (size_t)random() % (len + 1), b = a + (size_t)random() % (len - a + 1);
        struct tm_bytes pieces[] = {tm_bytes_of(bytes, a), tm_bytes_of(bytes + a, b - a),
                                    tm_bytes_of(NULL, 0), tm_bytes_of(bytes + b, len - b)};
        uint64_t seed = (uint64_t)random();
        CU_ASSERT_EQUAL(tm_hash64_pieces(pieces, 4, seed), tm_hash64(bytes, len, seed));
    }
}

static const struct tm_test tests[] = {
    TM_TEST(values_are_those_of_xxh3),
    TM_TEST(pieces_hash_as_their_concatenation),
};
TM_TEST_MAIN("runtime/hash", tests)
