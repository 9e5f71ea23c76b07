/* Which copy goes on at a forced recovery, and what is said of the loss. */
#include "tools/recover_judge.h"
#include "test.h"

static struct tm_status_member members[3];
static struct tm_status_replica replicas[3];
static struct tm_status_partition partition;
static struct tm_status s;

static void begin(void)
{
    static const char *const names[] = {"a", "b", "w"};
    s = (struct tm_status){.members = members,
                           .member_count = 3,
                           .replicas = replicas,
                           .partitions = &partition,
                           .partition_count = 1};
    partition = (struct tm_status_partition){.leader = -1};
    for (unsigned i = 0; i < 3; i++) {
        members[i] = (struct tm_status_member){.err = TM_ERR_CLOSED};
        (void)snprintf(members[i].node, sizeof members[i].node, "%s", names[i]);
    }
}

static struct tm_status_replica *says(unsigned member, const char *role, uint64_t last_term,
                                      uint64_t last)
{
    struct tm_status_replica *r = &replicas[s.replica_count++];
    *r = (struct tm_status_replica){
        .member = member, .node = member, .last_term = last_term, .last = last};
    (void)snprintf(r->role, sizeof r->role, "%s", role);
    members[member].err = TM_OK;
    return r;
}

static void a_copy_alone_goes_on_and_the_loss_is_told(void)
{
    char text[1024];
    begin();
    struct tm_status_replica *b = says(1, "PRECANDIDATE", 4, 120);
    b->commit = 118;
    struct tm_recover_case c = tm_recover_judge(&s, b);
    CU_ASSERT_EQUAL(c.verdict, TM_RECOVER_YES);
    CU_ASSERT_FALSE(c.left_behind);
    tm_recover_text(&s, &c, text, sizeof text);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "out of reach: a, w"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "after record 120"));
    CU_ASSERT_PTR_NULL(strstr(text, "alone"));
}

static void a_led_partition_is_left_alone(void)
{
    begin();
    struct tm_status_replica *b = says(1, "FOLLOWER", 4, 120);
    partition.leader = 0;
    CU_ASSERT_EQUAL(tm_recover_judge(&s, b).verdict, TM_RECOVER_LED);
}

static void a_witness_cannot_go_on(void)
{
    begin();
    CU_ASSERT_EQUAL(tm_recover_judge(&s, says(2, "WITNESS", 0, 0)).verdict, TM_RECOVER_NODATA);
}

static void the_copy_with_the_later_last_record_is_preferred(void)
{
    begin();
    struct tm_status_replica *a = says(0, "FOLLOWER", 4, 130);
    struct tm_status_replica *b = says(1, "FOLLOWER", 5, 120);
    (void)says(2, "WITNESS", 9, 999);
    struct tm_recover_case c = tm_recover_judge(&s, a);
    CU_ASSERT_EQUAL(c.verdict, TM_RECOVER_BETTER);
    CU_ASSERT_PTR_EQUAL(c.better, b);
    CU_ASSERT_EQUAL(tm_recover_judge(&s, b).verdict, TM_RECOVER_YES);
    b->last_term = 4;
    CU_ASSERT_EQUAL(tm_recover_judge(&s, a).verdict, TM_RECOVER_YES);
    CU_ASSERT_EQUAL(tm_recover_judge(&s, b).verdict, TM_RECOVER_BETTER);
}

/* The witness remembers that the other copy went on alone. */
static void being_left_behind_is_told(void)
{
    char text[1024];
    begin();
    struct tm_status_replica *b = says(1, "FOLLOWER", 4, 120), *w = says(2, "WITNESS", 0, 0);
    b->set_nodes = 3;
    b->set_term = 4;
    b->set_epoch = 2;
    w->set_nodes = 1;
    w->set_term = 4;
    w->set_epoch = 3;
    struct tm_recover_case c = tm_recover_judge(&s, b);
    CU_ASSERT_TRUE(c.left_behind);
    CU_ASSERT_PTR_NOT_NULL(strstr(tm_recover_text(&s, &c, text, sizeof text), "gone on alone"));
    w->set_epoch = 1; /* an older one says nothing */
    CU_ASSERT_FALSE(tm_recover_judge(&s, b).left_behind);
}

static const struct tm_test tests[] = {
    TM_TEST(a_copy_alone_goes_on_and_the_loss_is_told),
    TM_TEST(a_led_partition_is_left_alone),
    TM_TEST(a_witness_cannot_go_on),
    TM_TEST(the_copy_with_the_later_last_record_is_preferred),
    TM_TEST(being_left_behind_is_told),
};
TM_TEST_MAIN("tools/recover_judge", tests)
