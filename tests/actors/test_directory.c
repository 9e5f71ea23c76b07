#include "actors/directory.h"
#include "actors/router.h"
#include "test.h"

static const char *const three[] = {"node-1", "node-2", "node-3"};
static struct tm_directory d, back;

static struct tm_directory_spec spec(void)
{
    return (struct tm_directory_spec){
        .cluster = "c", .names = three, .count = 3, .partitions = 256, .copies = 2};
}

static uint8_t *encoded(size_t *len)
{
    struct tm_directory_spec s = spec();
    tm_directory_propose(&d, &s);
    d.token = 77;
    d.nodes[1].disk_id = 99;
    *len = tm_directory_size(&d);
    uint8_t *bytes = malloc(*len);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    tm_directory_encode(&d, bytes);
    return bytes;
}

static void a_directory_survives_its_encoding(void)
{
    size_t len;
    uint8_t *bytes = encoded(&len);
    CU_ASSERT_EQUAL(tm_directory_decode(tm_bytes_of(bytes, len), &back), TM_OK);
    CU_ASSERT_EQUAL(memcmp(&d, &back, sizeof d), 0);
    CU_ASSERT_EQUAL(tm_directory_find(&back, "node-3"), 2);
    CU_ASSERT_EQUAL(tm_directory_find(&back, "node-4"), -1);
    free(bytes);
}

static void every_flipped_bit_is_refused(void)
{
    size_t len;
    uint8_t *bytes = encoded(&len);
    for (size_t i = 0; i < len; i++) {
        bytes[i] ^= (uint8_t)(1u << (i % 8));
        CU_ASSERT_EQUAL(tm_directory_decode(tm_bytes_of(bytes, len), &back), TM_ERR_CORRUPT);
        bytes[i] ^= (uint8_t)(1u << (i % 8));
    }
    for (size_t cut = 0; cut < len; cut += 13)
        CU_ASSERT_EQUAL(tm_directory_decode(tm_bytes_of(bytes, cut), &back), TM_ERR_CORRUPT);
    free(bytes);
}

static void slots_and_partitions_agree(void)
{
    for (uint32_t partitions = 1; partitions <= 4096; partitions = partitions * 3 + 1)
        for (uint32_t p = 0; p < partitions; p++) {
            uint32_t first = tm_partition_first_slot(p, partitions);
            uint32_t next = tm_partition_first_slot(p + 1, partitions);
            CU_ASSERT(first < next);
            CU_ASSERT_EQUAL(tm_partition_of_slot(first, partitions), p);
            CU_ASSERT_EQUAL(tm_partition_of_slot(next - 1, partitions), p);
        }
    CU_ASSERT_EQUAL(tm_partition_first_slot(256, 256), 16384);
}

static void an_edited_file_is_reported_line_by_line(void)
{
    static const char *const edited[] = {"node-1", "node-2", "node-9"};
    struct tm_directory_spec s = spec();
    char buf[1024];
    tm_directory_propose(&d, &s);
    CU_ASSERT_EQUAL(tm_directory_differences(&d, &s, buf, sizeof buf), 0);
    CU_ASSERT_STRING_EQUAL(buf, "");
    s.names = edited;
    s.copies = 3;
    s.eventual = true;
    s.partitions = 64;
    CU_ASSERT_EQUAL(tm_directory_differences(&d, &s, buf, sizeof buf), 5);
    CU_ASSERT_PTR_NOT_NULL(strstr(buf, "the file says 64, the cluster has 256"));
    CU_ASSERT_PTR_NOT_NULL(strstr(buf, "adds \"node-9\""));
    CU_ASSERT_PTR_NOT_NULL(strstr(buf, "leaves out \"node-3\""));
    CU_ASSERT_EQUAL(tm_directory_differences(&d, &s, buf, 10), 5);
}

static void the_system_partition_has_an_odd_number_of_copies(void)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g"};
    static const unsigned want[] = {0, 1, 2, 3, 3, 5, 5, 5};
    for (unsigned n = 1; n <= 7; n++) {
        struct tm_directory_spec s = {
            .cluster = "c", .names = names, .count = n, .partitions = 4, .copies = 1};
        tm_directory_propose(&d, &s);
        CU_ASSERT_EQUAL(d.placement[4].copies, want[n]);
    }
}

static const struct tm_test tests[] = {
    TM_TEST(a_directory_survives_its_encoding),
    TM_TEST(every_flipped_bit_is_refused),
    TM_TEST(slots_and_partitions_agree),
    TM_TEST(an_edited_file_is_reported_line_by_line),
    TM_TEST(the_system_partition_has_an_odd_number_of_copies),
};
TM_TEST_MAIN("actors/directory", tests)
