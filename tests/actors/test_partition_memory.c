/* A partition without memory: whichever allocation fails, the request is refused or its outcome
 * told as it is, every other request goes on, and the node lives. */
#include "partition_world.h"

#include "storage/entity.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

static struct pw world;
static bool counting;
static unsigned allocations; /* while counting */
static unsigned fail_at;     /* the allocation that fails; 0: none */
static size_t fail_size;     /* every allocation of so many bytes fails; 0: none */
static size_t last_size;

static bool fails(size_t size)
{
    if (fail_size != 0 && size == fail_size)
        return true;
    if (!counting)
        return false;
    last_size = size;
    return ++allocations == fail_at;
}

void *__wrap_malloc(size_t size)
{
    return fails(size) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails(count * size) ? NULL : __real_calloc(count, size);
}

/* Asks, with allocation `which` of the evaluation failing.  False: there were not so many. */
static bool ask_failing(unsigned leader, const char *line, unsigned which, uint64_t *id)
{
    counting = true;
    allocations = 0;
    fail_at = which;
    *id = pw_ask(&world, leader, line);
    counting = false;
    return allocations >= which;
}

static const char LONG_VALUE[] = "a-value-longer-than-a-reply-kept-in-place";

/* What happened, and what was said of it, agree. */
static void expect_told(uint64_t id, const char *reply, bool changed)
{
    const struct pw_answer *a = pw_await(&world, id);
    if (a->status == TM_ANSWER_REFUSED) {
        CU_ASSERT(a->err == TM_ERR_NOMEM || a->err == TM_ERR_FULL);
        CU_ASSERT_FALSE(changed);
        return;
    }
    CU_ASSERT_EQUAL(a->status, TM_ANSWER_DONE);
    bool lost = strcmp(a->reply, "-ERR done, but there was no memory for the reply") == 0;
    CU_ASSERT(lost || strcmp(a->reply, reply) == 0);
    CU_ASSERT_TRUE(changed);
}

static void whichever_allocation_of_a_write_fails_what_is_said_is_true(void)
{
    char line[256], reply[128];
    bool more = true;
    unsigned failures = 0;
    snprintf(reply, sizeof reply, "$%zu %s", strlen(LONG_VALUE), LONG_VALUE);
    for (unsigned which = 1; more; which++) {
        uint64_t id;
        pw_open(&world);
        unsigned l = pw_await_leader(&world);
        snprintf(line, sizeof line, "SET k %s", LONG_VALUE);
        CU_ASSERT_STRING_EQUAL(pw_do(&world, line), "+OK");
        for (unsigned i = 0; i < PW_NODES; i++)
            tm_sim_disk_stall(world.node[i].sd, i != l);
        for (unsigned i = 0; i < 16; i++, pw_run(&world, TM_MS(1)))
            (void)pw_ask(&world, l, "SET other 1");
        CU_ASSERT_EQUAL(world.node[l].p->pending_count, 16); /* the next needs a larger ring */
        more = ask_failing(l, "GETDEL k", which, &id);
        failures += more;
        for (unsigned i = 0; i < PW_NODES; i++)
            tm_sim_disk_stall(world.node[i].sd, false);
        pw_run(&world, TM_MS(20));
        expect_told(id, reply, strcmp(pw_do(&world, "EXISTS k"), ":0") == 0);
        CU_ASSERT_STRING_EQUAL(pw_do(&world, "SET k again"), "+OK");
        pw_expect_equal(&world);
        pw_close(&world);
    }
    CU_ASSERT(failures >= 2); /* the ring, and the reply */
}

static void whichever_allocation_of_a_read_fails_it_is_refused(void)
{
    static const char *const lines[] = {"GET k", "SETNX k 2"};
    pw_open(&world);
    unsigned l = pw_await_leader(&world);
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "SET k 1"), "+OK");
    for (size_t i = 0; i < TM_ARRAY_LEN(lines); i++) {
        uint64_t id;
        CU_ASSERT_TRUE(ask_failing(l, lines[i], 1, &id));
        CU_ASSERT_EQUAL(pw_await(&world, id)->status, TM_ANSWER_REFUSED);
        CU_ASSERT_EQUAL(world.answers[id].err, TM_ERR_NOMEM);
        CU_ASSERT_FALSE(ask_failing(l, lines[i], 2, &id));
        CU_ASSERT_EQUAL(pw_await(&world, id)->status, TM_ANSWER_DONE);
    }
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "GET k"), "$1 1");
    pw_close(&world);
}

static void a_wait_without_memory_is_refused(void)
{
    pw_open(&world);
    unsigned l = pw_await_leader(&world);
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "SET k 1"), "+OK");
    struct tm_request rq = {.kind = TM_REQUEST_WAIT, .copies = 2, .index = 1};
    counting = true;
    allocations = 0;
    fail_at = 1;
    uint64_t id = pw_request(&world, l, &rq);
    counting = false;
    CU_ASSERT_EQUAL(pw_await(&world, id)->status, TM_ANSWER_REFUSED);
    pw_close(&world);
}

/* The writes of a deposed leader are cut while there is no memory to remember who asked: they are
 * not answered here, and who asked says in time that the outcome is unknown. */
static void writes_cut_without_memory_do_not_end_the_node(void)
{
    uint64_t ids[8], id;
    pw_open(&world);
    unsigned l = pw_await_leader(&world);
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "SET k 1"), "+OK");
    CU_ASSERT_FALSE(ask_failing(l, "GET k", 2, &id)); /* what keeps a reply of "$1 1" */
    size_t kept = last_size - strlen("$1\r\n1\r\n") + strlen("+OK\r\n");
    CU_ASSERT_STRING_EQUAL(pw_await(&world, id)->reply, "$1 1");
    pw_isolate(&world, l, true);
    for (unsigned i = 0; i < TM_ARRAY_LEN(ids); i++, pw_run(&world, TM_MS(1)))
        ids[i] = pw_ask(&world, l, "SET k lost");
    for (unsigned i = 0; i < 50000 && pw_leader(&world) == l; i++)
        pw_step(&world);
    unsigned next = pw_await_leader(&world);
    CU_ASSERT_NOT_EQUAL_FATAL(next, l);
    CU_ASSERT_STRING_EQUAL(pw_await(&world, pw_ask(&world, next, "SET k 2"))->reply, "+OK");
    fail_size = kept;
    pw_isolate(&world, l, false);
    pw_run(&world, TM_MS(500));
    fail_size = 0;
    for (unsigned i = 0; i < TM_ARRAY_LEN(ids); i++)
        CU_ASSERT_FALSE(pw_has(&world, ids[i]));
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "GET k"), "$1 2");
    pw_expect_equal(&world);
    pw_close(&world);
}

static const struct tm_test tests[] = {
    TM_TEST(whichever_allocation_of_a_write_fails_what_is_said_is_true),
    TM_TEST(whichever_allocation_of_a_read_fails_it_is_refused),
    TM_TEST(a_wait_without_memory_is_refused),
    TM_TEST(writes_cut_without_memory_do_not_end_the_node),
};

TM_TEST_MAIN("actors/partition_memory", tests)
