#include "runtime/nearest.h"
#include "test.h"

static const char *const names[] = {"replicationFactor", "replicationMode", "region", "nodes",
                                    "wal-segment-bytes"};

static const char *nearest(const char *given)
{
    const char *name = tm_nearest_name(given, names, TM_ARRAY_LEN(names));
    return name != NULL ? name : "";
}

static void letters_wrong_missing_or_exchanged_are_counted(void)
{
    CU_ASSERT_EQUAL(tm_name_distance("nodes", "nodes"), 0);
    CU_ASSERT_EQUAL(tm_name_distance("modes", "nodes"), 1);
    CU_ASSERT_EQUAL(tm_name_distance("ndes", "nodes"), 1);
    CU_ASSERT_EQUAL(tm_name_distance("nodess", "nodes"), 1);
    CU_ASSERT_EQUAL(tm_name_distance("ndoes", "nodes"), 1);
    CU_ASSERT_EQUAL(tm_name_distance("", "nodes"), 5);
    CU_ASSERT_EQUAL(tm_name_distance("nodes", ""), 5);
    CU_ASSERT_EQUAL(tm_name_distance("kitten", "sitting"), 3);
}

static void case_and_underscores_do_not_count(void)
{
    CU_ASSERT_EQUAL(tm_name_distance("WAL_SEGMENT_BYTES", "wal-segment-bytes"), 0);
    CU_ASSERT_STRING_EQUAL(nearest("REGION"), "region");
}

static void a_prefix_is_near(void)
{
    CU_ASSERT_EQUAL(tm_name_distance("wal-segment", "wal-segment-bytes"), 1);
    CU_ASSERT_EQUAL(tm_name_distance("WAL", "wal-segment-bytes"), 1);
    CU_ASSERT_EQUAL(tm_name_distance("wa", "wal-segment-bytes"), 15);
    CU_ASSERT_STRING_EQUAL(nearest("replication"), "replicationFactor");
}

static void nothing_is_near_to_a_word_of_its_own(void)
{
    CU_ASSERT_STRING_EQUAL(nearest("replicationMod"), "replicationMode");
    CU_ASSERT_STRING_EQUAL(nearest("xylophones"), "");
    CU_ASSERT_PTR_NULL(tm_nearest_name("nodes", names, 0));
    CU_ASSERT_STRING_EQUAL(nearest("foo"), ""); /* three letters changed are another word */
    CU_ASSERT_STRING_EQUAL(nearest("node"), "nodes");
    CU_ASSERT(tm_name_is_near("up", 1) && !tm_name_is_near("up", 2));
    CU_ASSERT(tm_name_is_near("wal-segmnt-byte", 2) && !tm_name_is_near("x", 1));
}

static void long_words_are_compared_by_their_beginning(void)
{
    char a[201], b[201];
    memset(a, 'a', 200);
    memset(b, 'a', 200);
    a[200] = b[200] = 0;
    b[100] = 'b';
    CU_ASSERT_EQUAL(tm_name_distance(a, b), 0);
    b[10] = 'b';
    CU_ASSERT_EQUAL(tm_name_distance(a, b), 1);
}

static const struct tm_test tests[] = {
    TM_TEST(letters_wrong_missing_or_exchanged_are_counted),
    TM_TEST(case_and_underscores_do_not_count),
    TM_TEST(a_prefix_is_near),
    TM_TEST(nothing_is_near_to_a_word_of_its_own),
    TM_TEST(long_words_are_compared_by_their_beginning),
};

TM_TEST_MAIN("runtime/nearest", tests)
