#include "actors/placement.h"
#include "test.h"

static const char *const three[] = {"node-1", "node-2", "node-3"};
static const char *const many[] = {"a", "b", "c", "d", "e", "f", "g"};

/* Placement is computed by every node at creation and must never change between versions. */
static void placement_is_frozen(void)
{
    uint64_t digest = 14695981039346656037ULL;
    for (uint32_t p = 0; p < 256; p++) {
        struct tm_holders out;
        tm_holders_compute(p, three, 3, 2, &out);
        CU_ASSERT_EQUAL(out.copies, 2);
        const uint8_t cells[] = {out.data[0], out.data[1], out.witness};
        for (unsigned i = 0; i < 3; i++)
            digest = (digest ^ cells[i]) * 1099511628211ULL;
    }
    CU_ASSERT_EQUAL(digest, 12085724227058397473ULL);
    if (digest != 12085724227058397473ULL)
        printf("  digest %" PRIu64 "\n", digest);
}

static void copies_are_distinct_and_the_witness_is_no_copy(void)
{
    for (uint32_t p = 0; p < 512; p++)
        for (unsigned copies = 1; copies <= 5; copies++) {
            struct tm_holders out;
            tm_holders_compute(p, many, 7, copies, &out);
            uint64_t seen = 0;
            for (unsigned i = 0; i < copies; i++) {
                CU_ASSERT(out.data[i] < 7 && (seen & (1u << out.data[i])) == 0);
                seen |= 1u << out.data[i];
                CU_ASSERT(tm_holders_include(&out, out.data[i]));
            }
            CU_ASSERT_EQUAL(out.witness != TM_NO_NODE, copies == 2);
            if (out.witness != TM_NO_NODE)
                CU_ASSERT((seen & (1u << out.witness)) == 0);
        }
}

static void two_nodes_have_no_witness(void)
{
    struct tm_holders out;
    tm_holders_compute(7, three, 2, 2, &out);
    CU_ASSERT_EQUAL(out.witness, TM_NO_NODE);
    CU_ASSERT_FALSE(tm_holders_include(&out, 2));
}

static void leaders_are_spread(void)
{
    unsigned led[7] = {0};
    for (uint32_t p = 0; p < 1024; p++) {
        struct tm_holders out;
        tm_holders_compute(p, many, 7, 3, &out);
        led[out.data[0]]++;
    }
    for (unsigned i = 0; i < 7; i++)
        CU_ASSERT(led[i] > 1024 / 7 / 2 && led[i] < 1024 / 7 * 2);
}

static void a_node_more_moves_only_what_it_takes(void)
{
    for (uint32_t p = 0; p < 256; p++) {
        struct tm_holders before, after;
        tm_holders_compute(p, many, 6, 3, &before);
        tm_holders_compute(p, many, 7, 3, &after);
        for (unsigned i = 0; i < 3; i++)
            CU_ASSERT(after.data[i] == 6 || tm_holders_include(&before, after.data[i]));
    }
}

static const struct tm_test tests[] = {
    TM_TEST(placement_is_frozen),
    TM_TEST(copies_are_distinct_and_the_witness_is_no_copy),
    TM_TEST(two_nodes_have_no_witness),
    TM_TEST(leaders_are_spread),
    TM_TEST(a_node_more_moves_only_what_it_takes),
};
TM_TEST_MAIN("actors/placement", tests)
