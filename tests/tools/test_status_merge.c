#include "net/resp.h"
#include "tools/status_internal.h"
#include "test.h"

static struct tm_status s;

static void begin(unsigned members)
{
    char text[1024];
    tm_status_free(&s);
    snprintf(text, sizeof text, "*%u\r\n", members);
    for (unsigned i = 0; i < members; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 "*6\r\n$4\r\nnode\r\n$2\r\nn%u\r\n$3\r\nnew\r\n:1\r\n"
                 "$7\r\naddress\r\n$14\r\n127.0.0.1:%u\r\n",
                 i, 7001 + 32 * i);
    CU_ASSERT_EQUAL(tm_status_members(&s, tm_bytes_str(text)), TM_OK);
    CU_ASSERT_EQUAL_FATAL(s.member_count, members);
}

struct row {
    unsigned partition;
    const char *role;
    unsigned term, commit, applied, copies, in_sync, faulty;
};

static enum tm_err says(unsigned member, const struct row *rows, unsigned count)
{
    struct tm_resp_writer w;
    tm_resp_writer_init(&w, 1 << 20);
    tm_resp_array(&w, count);
    for (const struct row *r = rows; r < rows + count; r++) {
        tm_resp_array(&w, 18);
        tm_resp_bulk_str(&w, "something_new");
        tm_resp_bulk_str(&w, "skipped");
        tm_resp_bulk_str(&w, "role");
        tm_resp_bulk_str(&w, r->role);
        const struct {
            const char *name;
            unsigned value;
        } numbers[] = {{"partition", r->partition}, {"term", r->term},     {"commit", r->commit},
                       {"applied", r->applied},     {"copies", r->copies}, {"in_sync", r->in_sync},
                       {"faulty", r->faulty}};
        for (size_t i = 0; i < TM_ARRAY_LEN(numbers); i++) {
            tm_resp_bulk_str(&w, numbers[i].name);
            tm_resp_integer(&w, numbers[i].value);
        }
    }
    enum tm_err err = tm_status_take(&s, &s.members[member], tm_resp_writer_bytes(&w));
    tm_resp_writer_free(&w);
    return err;
}

static void members_have_their_names_whether_they_answer_or_not(void)
{
    static const char *const broken[] = {"nonsense\n",
                                         ":1\r\n",
                                         "*1\r\n",
                                         "*1\r\n:1\r\n",
                                         "*1\r\n*2\r\n$4\r\nnode\r\n$2\r\nn1\r\n",
                                         "*1\r\n*2\r\n$4\r\nnode\r\n*1\r\n:1\r\n"};
    begin(2);
    CU_ASSERT_STRING_EQUAL(s.members[0].address, "127.0.0.1:7001");
    CU_ASSERT_STRING_EQUAL(s.members[1].address, "127.0.0.1:7033");
    CU_ASSERT_STRING_EQUAL(s.members[1].node, "n1");
    for (size_t i = 0; i < TM_ARRAY_LEN(broken); i++) {
        tm_status_free(&s);
        CU_ASSERT_EQUAL(tm_status_members(&s, tm_bytes_str(broken[i])), TM_ERR_CORRUPT);
        CU_ASSERT_EQUAL(s.member_count, 0);
    }
    tm_status_free(&s);
    CU_ASSERT_EQUAL(tm_status_members(&s, tm_bytes_str("-ERR unknown\r\n")), TM_ERR_UNSUPPORTED);
}

static void the_leader_of_the_highest_term_counts(void)
{
    begin(3);
    const struct row stale[] = {{0, "LEADER", 3, 10, 10, 3, 3, 0}};
    const struct row leader[] = {{0, "LEADER", 5, 30, 30, 3, 2, 0}};
    const struct row follower[] = {{0, "FOLLOWER", 5, 28, 20, 0, 0, 0}};
    CU_ASSERT_EQUAL(says(2, follower, 1), TM_OK); /* knows term 5 before any leader is seen */
    CU_ASSERT_EQUAL(says(0, stale, 1), TM_OK);
    CU_ASSERT_EQUAL(says(1, leader, 1), TM_OK);
    tm_status_merge(&s);
    CU_ASSERT_EQUAL_FATAL(s.partition_count, 1);
    CU_ASSERT_EQUAL(s.partitions[0].leader, 1);
    CU_ASSERT_EQUAL(s.partitions[0].term, 5);
    CU_ASSERT_EQUAL(s.partitions[0].commit, 30);
    CU_ASSERT_EQUAL(s.partitions[0].in_sync, 2);
    CU_ASSERT_EQUAL(s.partitions[0].lag, 20); /* the stale one has applied 10 of 30 */
    CU_ASSERT_EQUAL(s.members[1].leads, 1);
    CU_ASSERT_EQUAL(s.members[0].leads, 0);
    CU_ASSERT_EQUAL(s.totals.led, 1);
}

static void a_witness_holds_nothing_and_does_not_lag(void)
{
    begin(2);
    const struct row leader[] = {{0, "LEADER", 1, 9, 9, 2, 1, 0}, {1, "LEADER", 1, 4, 4, 2, 2, 0}};
    const struct row witness[] = {{0, "WITNESS", 1, 0, 0, 0, 0, 0}};
    CU_ASSERT_EQUAL(says(0, leader, 2), TM_OK);
    CU_ASSERT_EQUAL(says(1, witness, 1), TM_OK);
    tm_status_merge(&s);
    CU_ASSERT_EQUAL(s.partitions[0].lag, 0);
    CU_ASSERT_EQUAL(s.members[1].holds, 0);
    CU_ASSERT_EQUAL(s.members[0].holds, 2);
    CU_ASSERT_EQUAL(s.totals.one_copy, 1); /* partition 0; with R = 2 that is degraded */
}

static void leaderless_and_faulty_partitions_and_silent_members_are_counted(void)
{
    begin(2);
    const struct row rows[] = {{0, "FOLLOWER", 1, 9, 9, 0, 0, 1}, {2, "LEADER", 1, 0, 0, 1, 1, 0}};
    CU_ASSERT_EQUAL(says(0, rows, 2), TM_OK);
    s.members[1].err = TM_ERR_TIMEOUT;
    tm_status_merge(&s);
    CU_ASSERT_EQUAL(s.partition_count, 3);
    CU_ASSERT_EQUAL(s.totals.led, 1);
    CU_ASSERT_EQUAL(s.totals.faulty, 1);
    CU_ASSERT_EQUAL(s.totals.unreachable, 1);
    CU_ASSERT_EQUAL(s.totals.one_copy, 0); /* with R = 1 one copy is what it should have */
    CU_ASSERT_EQUAL(s.partitions[1].leader, -1);
}

static void replies_of_another_shape_are_refused_whole(void)
{
    static const char *const broken[] = {":1\r\n", /* no array */
                                         "*1\r\n", /* cut short */
                                         "*2\r\n*2\r\n$9\r\npartition\r\n:1\r\n",
                                         "*1\r\n:1\r\n", /* a row that is none */
                                         "*1\r\n*2\r\n$9\r\npartition\r\n:16385\r\n",
                                         "*1\r\n*2\r\n$4\r\nterm\r\n*1\r\n:1\r\n"};
    for (size_t i = 0; i < TM_ARRAY_LEN(broken); i++) {
        begin(1);
        CU_ASSERT_EQUAL(tm_status_take(&s, &s.members[0], tm_bytes_str(broken[i])), TM_ERR_CORRUPT);
        CU_ASSERT_EQUAL(s.replica_count, 0);
    }
    begin(1);
    CU_ASSERT_EQUAL(tm_status_take(&s, &s.members[0], tm_bytes_str("-ERR unknown\r\n")),
                    TM_ERR_UNSUPPORTED);
    tm_status_free(&s);
}

static const struct tm_test tests[] = {
    TM_TEST(members_have_their_names_whether_they_answer_or_not),
    TM_TEST(the_leader_of_the_highest_term_counts),
    TM_TEST(a_witness_holds_nothing_and_does_not_lag),
    TM_TEST(leaderless_and_faulty_partitions_and_silent_members_are_counted),
    TM_TEST(replies_of_another_shape_are_refused_whole),
};
TM_TEST_MAIN("tools/status_merge", tests)
