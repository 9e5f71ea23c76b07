#include "actors/directory.h"
#include "actors/router.h"
#include "test.h"

static const char *const three[] = {"node-1", "node-2", "node-3"};
static struct tm_directory d, back;

static const char *const FACTS = "node-2/address=10.0.0.2\nregion=\nreplicateTo=a,b\n";

static struct tm_directory_spec spec(void)
{
    return (struct tm_directory_spec){
        .cluster = "c", .names = three, .count = 3, .partitions = 256, .copies = 2, .facts = FACTS};
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
    CU_ASSERT_EQUAL(tm_directory_version(tm_bytes_of(bytes, len)), 1);
    CU_ASSERT_EQUAL(tm_directory_version(tm_bytes_of(bytes, 100)), 0);
    size_t n = 9;
    CU_ASSERT_STRING_EQUAL(back.facts, FACTS);
    const char *address = tm_directory_fact(&back, "node-2/address", &n);
    CU_ASSERT(n == 8 && address != NULL && memcmp(address, "10.0.0.2", 8) == 0);
    CU_ASSERT_PTR_NOT_NULL(tm_directory_fact(&back, "region", &n));
    CU_ASSERT_EQUAL(n, 0);
    CU_ASSERT_PTR_NULL(tm_directory_fact(&back, "replicate", &n));
    CU_ASSERT_EQUAL(back.nodes[2].block, 2);
    free(bytes);
}

/* Encodes d with these facts and reads it back. */
static enum tm_err with_facts(const char *facts, uint32_t len)
{
    struct tm_directory_spec s = spec();
    tm_directory_propose(&d, &s);
    memcpy(d.facts, facts, len + 1);
    d.facts_len = len;
    uint8_t *bytes = malloc(tm_directory_size(&d));
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    tm_directory_encode(&d, bytes);
    enum tm_err e = tm_directory_decode(tm_bytes_of(bytes, tm_directory_size(&d)), &back);
    free(bytes);
    return e;
}

static void facts_are_lines_in_order(void)
{
    static const char *const good[] = {"", "a=1\n", "a=\nb==\n", "a=1\naa=2\nb/c=3 4\n"};
    static const char *const bad[] = {"a\n", "=1\n", "a=1", "\n", "b=1\na=1\n", "a=1\na=2\n"};
    for (size_t i = 0; i < TM_ARRAY_LEN(good); i++)
        CU_ASSERT_EQUAL(with_facts(good[i], (uint32_t)strlen(good[i])), TM_OK);
    for (size_t i = 0; i < TM_ARRAY_LEN(bad); i++)
        CU_ASSERT_EQUAL(with_facts(bad[i], (uint32_t)strlen(bad[i])), TM_ERR_CORRUPT);
    CU_ASSERT_EQUAL(with_facts("a=1\n\0b=2\n", 9), TM_ERR_CORRUPT);
}

static void another_format_is_told_from_a_broken_one(void)
{
    size_t len;
    uint8_t *bytes = encoded(&len);
    bytes[7]++;
    CU_ASSERT_EQUAL(tm_directory_decode(tm_bytes_of(bytes, len), &back), TM_ERR_VERSION);
    CU_ASSERT_EQUAL(tm_directory_version(tm_bytes_of(bytes, len)), 0);
    free(bytes);
}

static void every_flipped_bit_is_refused(void)
{
    size_t len;
    uint8_t *bytes = encoded(&len);
    for (size_t i = 0; i < len; i++) {
        bytes[i] ^= (uint8_t)(1u << (i % 8));
        CU_ASSERT_EQUAL(tm_directory_decode(tm_bytes_of(bytes, len), &back),
                        i == 7 ? TM_ERR_VERSION : TM_ERR_CORRUPT);
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

static char said[4096];
static unsigned by_file;

static void note(void *arg, const char *text, bool file_holds)
{
    size_t at = strlen(said);
    CU_ASSERT_PTR_EQUAL(arg, &d);
    snprintf(said + at, sizeof said - at, "%s\n", text);
    by_file += file_holds;
}

static unsigned differences(const struct tm_directory_spec *s)
{
    said[0] = '\0';
    by_file = 0;
    return tm_directory_differences(&d, s, note, &d);
}

static void an_edited_file_is_reported_line_by_line(void)
{
    static const char *const edited[] = {"node-1", "node-2", "node-9"};
    struct tm_directory_spec s = spec();
    tm_directory_propose(&d, &s);
    CU_ASSERT_EQUAL(differences(&s), 0);
    s.names = edited;
    s.copies = 3;
    s.eventual = true;
    s.partitions = 64;
    CU_ASSERT_EQUAL(differences(&s), 5);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "the file says 64, the cluster has 256"));
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "adds 'node-9'"));
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "leaves out 'node-3'"));
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "consistency: the file says 'eventual'"));
    CU_ASSERT_EQUAL(by_file, 0);
}

static void an_edited_order_of_nodes_is_reported(void)
{
    static const char *const edited[] = {"node-2", "node-1", "node-3"};
    struct tm_directory_spec s = spec();
    tm_directory_propose(&d, &s);
    s.names = edited;
    CU_ASSERT_EQUAL(differences(&s), 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "another order"));
}

static void edited_facts_are_reported_one_by_one(void)
{
    struct tm_directory_spec s = spec();
    tm_directory_propose(&d, &s);
    s.facts = "location=x\nnode-2/address=10.0.0.9\nreplicateTo=a,b\nzone=\n";
    CU_ASSERT_EQUAL(differences(&s), 4);
    CU_ASSERT_EQUAL(by_file, 1); /* where a node is stands in the file */
    CU_ASSERT_STRING_EQUAL(said,
                           "location: the file says 'x', the cluster has nothing\n"
                           "node-2/address: the file says '10.0.0.9', the cluster has '10.0.0.2'\n"
                           "region: the file says nothing, the cluster has ''\n"
                           "zone: the file says '', the cluster has nothing\n");
    s.facts = NULL;
    CU_ASSERT_EQUAL(differences(&s), 3);
    strcpy(d.facts, "op:to:x/paused=yes\n"); /* which no file has */
    CU_ASSERT_EQUAL(differences(&s), 0);
    const struct tm_directory_spec made = spec();
    tm_directory_propose(&d, &made);
    s.facts = "from:e/batchBytes=1\nnode-2/address=10.0.0.2\nregion=\nreplicateTo=a,b\n"
              "to:x/batchBytes=4KiB\nto:x/replicationMode=async\n";
    CU_ASSERT_EQUAL(differences(&s), 2);
    CU_ASSERT_EQUAL(by_file, 0);
    CU_ASSERT_STRING_EQUAL(said, "link e -> c: the file has it, the cluster does not\n"
                                 "link c -> x: the file has it, the cluster does not\n");
}

static void only_the_next_version_with_the_same_placement_may_follow(void)
{
    struct tm_directory_spec s = spec();
    tm_directory_propose(&d, &s);
    back = d;
    back.version++;
    back.facts_len = (uint32_t)snprintf(back.facts, sizeof back.facts, "region=mars\n");
    CU_ASSERT_PTR_NULL(tm_directory_refuses(&d, &back));
#define REFUSED(change, text)                                                                      \
    do {                                                                                           \
        struct tm_directory keep = back;                                                           \
        change;                                                                                    \
        const char *why = tm_directory_refuses(&d, &back);                                         \
        CU_ASSERT_PTR_NOT_NULL_FATAL(why);                                                         \
        CU_ASSERT_PTR_NOT_NULL(strstr(why, text));                                                 \
        back = keep;                                                                               \
    } while (0)
    REFUSED(back.version--, "follow");
    REFUSED(back.version++, "follow");
    REFUSED(back.uuid[15] = 1, "another cluster");
    REFUSED(back.cluster[0] = 'x', "another cluster");
    REFUSED(back.partitions = 255, "fixed at creation");
    REFUSED(back.copies = 3, "cannot be changed yet");
    REFUSED(back.eventual = true, "cannot be changed yet");
    REFUSED(back.nodes[2].disk_id = 5, "cannot be changed yet");
    REFUSED(back.placement[9].data[0] ^= 1, "cannot be changed yet");
#undef REFUSED
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
    TM_TEST(facts_are_lines_in_order),
    TM_TEST(another_format_is_told_from_a_broken_one),
    TM_TEST(an_edited_file_is_reported_line_by_line),
    TM_TEST(an_edited_order_of_nodes_is_reported),
    TM_TEST(edited_facts_are_reported_one_by_one),
    TM_TEST(only_the_next_version_with_the_same_placement_may_follow),
    TM_TEST(the_system_partition_has_an_odd_number_of_copies),
};
TM_TEST_MAIN("actors/directory", tests)
