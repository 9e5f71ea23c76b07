/* MULTI, EXEC, WATCH: redis 7's rules, within one slot. */
#include "session_fixture.h"

#define CROSSSLOT "-CROSSSLOT Keys in request don't hash to the same slot\r\n"
#define EXECABORT "-EXECABORT Transaction discarded because of previous errors.\r\n"

static void a_transaction_is_one_request(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "multi\r\nset {t}a 1\r\nget {t}b\r\nget {t}a\r\n",
               "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
    CU_ASSERT_EQUAL(f->submitted, 0);
    fix_send(s, "exec\r\nget {t}a\r\n");
    CU_ASSERT_EQUAL(f->submitted, 2);
    CU_ASSERT_EQUAL(f->requests[0].r.kind, TM_REQUEST_MULTI);
    CU_ASSERT_EQUAL(f->requests[0].r.count, 3);
    CU_ASSERT_EQUAL(f->requests[0].r.partition, fix_partition("{t}a"));
    CU_ASSERT_STRING_EQUAL(f->requests[0].text[0][2], "1");
    fix_answer_all(f);
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), "*3\r\n+OK\r\n$-1\r\n$1\r\n1\r\n$1\r\n1\r\n");
    fix_delete(f);
}

static void an_empty_transaction_is_an_empty_array(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "multi\r\nexec\r\n", "+OK\r\n*0\r\n");
    CU_ASSERT_EQUAL(f->submitted, 0);
    fix_delete(f);
}

static void local_commands_answer_in_their_places(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "multi\r\nping\r\nset a 1\r\necho x\r\nget a\r\nunwatch\r\nexec\r\n",
               "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n"
               "*5\r\n+PONG\r\n+OK\r\n$1\r\nx\r\n$1\r\n1\r\n+OK\r\n");
    CU_ASSERT_EQUAL(f->requests[0].r.count, 2);
    FIX_EXPECT(f, s, "multi\r\nping\r\necho y\r\nexec\r\n",
               "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+PONG\r\n$1\r\ny\r\n");
    fix_delete(f);
}

static void mixed_replies_keep_their_order(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    fix_send(s, "get first\r\nmulti\r\nping\r\nget a\r\nexec\r\nmulti\r\necho z\r\nexec\r\n");
    fix_answer(f, fix_waiting(f, 1));
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), "");
    fix_answer_all(f);
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), "$-1\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+PONG\r\n"
                                             "$-1\r\n+OK\r\n+QUEUED\r\n*1\r\n$1\r\nz\r\n");
    fix_delete(f);
}

static void errors_while_queueing_abort_the_transaction(void)
{
    static const struct {
        const char *command, *error;
    } cases[] = {
        {"nosuch", "-ERR unknown command 'nosuch', with args beginning with: \r\n"},
        {"get", "-ERR wrong number of arguments for 'get' command\r\n"},
        {"shutdown", "-ERR Command not allowed inside a transaction\r\n"},
        {"command count x", "-ERR wrong number of arguments for 'command|count' command\r\n"},
        {"client nosuch", "-ERR unknown subcommand 'nosuch'. Try CLIENT HELP.\r\n"},
        {"mget a b", CROSSSLOT}};
    for (size_t i = 0; i < TM_ARRAY_LEN(cases); i++) {
        struct fix *f = fix_new();
        struct tm_session *s = fix_open(f);
        char text[100], expected[200];
        snprintf(text, sizeof text, "multi\r\nset a 1\r\n%s\r\nset a 2\r\nexec\r\nget a\r\n",
                 cases[i].command);
        snprintf(expected, sizeof expected, "+OK\r\n+QUEUED\r\n%s+QUEUED\r\n" EXECABORT "$-1\r\n",
                 cases[i].error);
        FIX_EXPECT(f, s, text, expected);
        fix_delete(f);
    }
}

/* As in redis, whose cluster mode sees at EXEC what belongs together. */
static void a_transaction_over_several_slots_fails_at_exec(void)
{
    static const char *const others[] = {"set b 1", "flushall", "dbsize",
                                         "keys *",  "scan 0",   "randomkey"};
    for (size_t i = 0; i < TM_ARRAY_LEN(others); i++) {
        struct fix *f = fix_new();
        struct tm_session *s = fix_open(f);
        char text[100];
        snprintf(text, sizeof text, "multi\r\nset a 1\r\n%s\r\nexec\r\nget a\r\n", others[i]);
        FIX_EXPECT(f, s, text, "+OK\r\n+QUEUED\r\n+QUEUED\r\n" CROSSSLOT "$-1\r\n");
        CU_ASSERT_EQUAL(f->submitted, 1);
        fix_delete(f);
    }
}

static void wait_in_a_transaction_counts_and_does_not_wait(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "set a 1\r\nset b 2\r\n", "+OK\r\n+OK\r\n");
    f->submitted = 0;
    fix_send(s, "multi\r\nset a 3\r\nwait 5 0\r\nwaitaof 1 5 0\r\nget a\r\nwait x 0\r\nexec\r\n");
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), "+OK\r\n+QUEUED\r\n");
    CU_ASSERT_EQUAL(f->submitted, 2); /* each partition written to is asked, without waiting */
    for (unsigned i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(f->requests[i].r.kind, TM_REQUEST_WAIT);
        CU_ASSERT_EQUAL(f->requests[i].r.copies, 0);
    }
    fix_answer(f, fix_waiting(f, 0));
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), "");
    fix_answer(f, fix_waiting(f, 0));
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), "+QUEUED\r\n");
    fix_refuse(f, fix_waiting(f, 0), TM_ANSWER_REFUSED, TM_ERR_NOTLEADER); /* of WAITAOF */
    fix_answer_all(f);
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), "+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n"
                                             "*5\r\n+OK\r\n:2\r\n*2\r\n:0\r\n:0\r\n$1\r\n3\r\n"
                                             "-ERR value is not an integer or out of range\r\n");
    FIX_EXPECT(f, s, "client reply off\r\nmulti\r\nwait 0 0\r\ndiscard\r\nclient reply on\r\n",
               "+OK\r\n");
    fix_send(s, "multi\r\nwait 0 0\r\nset a 4\r\n"); /* the client leaves while it is counted */
    tm_session_close(s);
    fix_answer_all(f);
    fix_delete(f);
}

static void hello_in_a_transaction_changes_what_comes_after_it(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    fix_send(s, "get first\r\nmulti\r\nget a\r\nhello 3\r\nexec\r\nget a\r\n");
    fix_answer_all(f);
    const char *out = fix_output(f, s);
    CU_ASSERT_PTR_NOT_NULL(strstr(out, "*2\r\n$-1\r\n%7\r\n$6\r\nserver\r\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(out, "*0\r\n_\r\n")); /* the last GET, in RESP3 */
    FIX_EXPECT_PART(f, s, "multi\r\nhello 2\r\nexec\r\nget a\r\n", "*0\r\n$-1\r\n");
    FIX_EXPECT(f, s, "multi\r\nauth default x\r\nexec\r\n", "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    fix_delete(f);
}

static void multi_has_the_errors_of_redis(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "exec\r\n", "-ERR EXEC without MULTI\r\n");
    FIX_EXPECT(f, s, "discard\r\n", "-ERR DISCARD without MULTI\r\n");
    FIX_EXPECT(f, s, "multi\r\nmulti\r\n", "+OK\r\n-ERR MULTI calls can not be nested\r\n");
    FIX_EXPECT(f, s, "watch a\r\n", "-ERR WATCH inside MULTI is not allowed\r\n");
    FIX_EXPECT(f, s, "set a 1\r\nexec\r\n", "+QUEUED\r\n*1\r\n+OK\r\n");
    FIX_EXPECT(f, s, "multi\r\nset a 2\r\ndiscard\r\nget a\r\n",
               "+OK\r\n+QUEUED\r\n+OK\r\n$1\r\n1\r\n");
    fix_delete(f);
}

static void a_clean_watch_lets_exec_through(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "watch {t}a {t}b\r\nmulti\r\nset {t}a 1\r\nexec\r\n",
               "+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    CU_ASSERT_EQUAL(f->requests[0].r.kind, TM_REQUEST_WATCH);
    CU_ASSERT_EQUAL(f->requests[0].argc[0], 2);
    CU_ASSERT_STRING_EQUAL(f->requests[0].text[0][0], "{t}a");
    CU_ASSERT_EQUAL(f->requests[1].r.watch_token, 77);
    /* It is spent: the next one is not bound to it. */
    FIX_EXPECT(f, s, "multi\r\nset other 1\r\nexec\r\n", "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    CU_ASSERT_EQUAL(f->requests[2].r.watch_token, 0);
    CU_ASSERT_EQUAL(f->unwatched, 0);
    fix_delete(f);
}

static void a_dirty_watch_makes_exec_null(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "watch a\r\n", "+OK\r\n");
    f->watch_dirty = true;
    FIX_EXPECT(f, s, "multi\r\nset a 1\r\nexec\r\n", "+OK\r\n+QUEUED\r\n*-1\r\n");
    FIX_EXPECT(f, s, "watch a\r\n", "+OK\r\n");
    f->watch_dirty = true;
    FIX_EXPECT(f, s, "multi\r\nping\r\nset a 1\r\nexec\r\n",
               "+OK\r\n+QUEUED\r\n+QUEUED\r\n*-1\r\n");
    FIX_EXPECT(f, s, "watch a\r\n", "+OK\r\n");
    f->watch_dirty = true;
    FIX_EXPECT(f, s, "multi\r\nexec\r\n", "+OK\r\n*-1\r\n"); /* also an empty one */
    fix_delete(f);
}

static void exec_waits_for_the_token_of_its_watch(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    fix_send(s, "watch a\r\nmulti\r\nset a 1\r\nexec\r\n");
    CU_ASSERT_EQUAL(f->submitted, 1);
    fix_answer(f, fix_waiting(f, 0));
    CU_ASSERT_EQUAL(f->submitted, 2);
    CU_ASSERT_EQUAL(f->requests[1].r.watch_token, 77);
    fix_answer_all(f);
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), "+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    fix_delete(f);
}

static void a_watch_binds_the_slot(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "watch a b\r\n", CROSSSLOT);
    FIX_EXPECT(f, s, "watch a\r\nwatch b\r\n", "+OK\r\n" CROSSSLOT);
    FIX_EXPECT(f, s, "multi\r\nset b 1\r\nexec\r\n", "+OK\r\n+QUEUED\r\n" CROSSSLOT);
    CU_ASSERT_EQUAL(f->unwatched, 1);
    FIX_EXPECT(f, s, "watch b\r\n", "+OK\r\n");
    FIX_EXPECT(f, s, "watch b\r\n", "+OK\r\n"); /* extends */
    CU_ASSERT_EQUAL(f->requests[2].r.watch_token, 77);
    fix_delete(f);
}

static void watches_are_given_back(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "watch a\r\nunwatch\r\n", "+OK\r\n+OK\r\n");
    CU_ASSERT_EQUAL(f->unwatched, 1);
    FIX_EXPECT(f, s, "unwatch\r\n", "+OK\r\n");
    CU_ASSERT_EQUAL(f->unwatched, 1);
    FIX_EXPECT(f, s, "watch a\r\nmulti\r\ndiscard\r\n", "+OK\r\n+OK\r\n+OK\r\n");
    CU_ASSERT_EQUAL(f->unwatched, 2);
    FIX_EXPECT(f, s, "watch a\r\nreset\r\n", "+OK\r\n+RESET\r\n");
    CU_ASSERT_EQUAL(f->unwatched, 3);
    FIX_EXPECT(f, s, "watch a\r\n", "+OK\r\n");
    tm_session_close(s);
    CU_ASSERT_EQUAL(f->unwatched, 4);
    CU_ASSERT_EQUAL(tm_sessions_stats(f->all)->memory, 0);
    fix_delete(f);
}

static void a_closed_session_gives_its_watch_back_as_soon_as_it_can(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    fix_send(s, "watch a\r\n");
    tm_session_close(s);
    f->room = 0;
    fix_answer_all(f);
    CU_ASSERT_EQUAL(f->unwatched, 0);
    CU_ASSERT(tm_sessions_resume(f->all));
    f->room = 10;
    CU_ASSERT_FALSE(tm_sessions_resume(f->all));
    CU_ASSERT_EQUAL(f->unwatched, 1);
    CU_ASSERT_EQUAL(tm_sessions_stats(f->all)->memory, 0);
    fix_delete(f);
}

static void a_refused_transaction_says_so(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    fix_send(s, "multi\r\nset a 1\r\nping\r\nexec\r\n");
    fix_refuse(f, fix_waiting(f, 0), TM_ANSWER_UNKNOWN, TM_ERR_CLOSED);
    const char *out = fix_output(f, s);
    CU_ASSERT_PTR_NOT_NULL(strstr(out, "\r\n-TIMEOUT outcome unknown: "));
    fix_delete(f);
}

static void a_full_router_does_not_lose_the_transaction(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "watch a\r\n", "+OK\r\n");
    f->room = 0;
    FIX_EXPECT(f, s, "multi\r\nset a 1\r\nping\r\nexec\r\n", "+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    CU_ASSERT(tm_sessions_resume(f->all));
    f->room = 10;
    CU_ASSERT_FALSE(tm_sessions_resume(f->all));
    CU_ASSERT_EQUAL(f->requests[1].r.watch_token, 77);
    fix_answer_all(f);
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), "*2\r\n+OK\r\n+PONG\r\n");
    fix_delete(f);
}

static void a_transaction_is_bounded(void)
{
    struct tm_session_limits limits = fix_limits();
    limits.query_bytes = 1000;
    struct fix *f = fix_new_with(&limits);
    struct tm_session *s = fix_open(f);
    fix_send(s, "multi\r\n");
    for (int i = 0; i < 100; i++)
        fix_send(s, "set a some-value-or-other\r\n");
    FIX_EXPECT_PART(f, s, "exec\r\n", "-ERR the transaction is larger than");
    FIX_EXPECT(f, s, "get a\r\n", "$-1\r\n");
    fix_delete(f);
}

static const struct tm_test tests[] = {
    TM_TEST(a_transaction_is_one_request),
    TM_TEST(an_empty_transaction_is_an_empty_array),
    TM_TEST(local_commands_answer_in_their_places),
    TM_TEST(mixed_replies_keep_their_order),
    TM_TEST(errors_while_queueing_abort_the_transaction),
    TM_TEST(a_transaction_over_several_slots_fails_at_exec),
    TM_TEST(wait_in_a_transaction_counts_and_does_not_wait),
    TM_TEST(hello_in_a_transaction_changes_what_comes_after_it),
    TM_TEST(multi_has_the_errors_of_redis),
    TM_TEST(a_clean_watch_lets_exec_through),
    TM_TEST(a_dirty_watch_makes_exec_null),
    TM_TEST(exec_waits_for_the_token_of_its_watch),
    TM_TEST(a_watch_binds_the_slot),
    TM_TEST(watches_are_given_back),
    TM_TEST(a_closed_session_gives_its_watch_back_as_soon_as_it_can),
    TM_TEST(a_refused_transaction_says_so),
    TM_TEST(a_full_router_does_not_lose_the_transaction),
    TM_TEST(a_transaction_is_bounded),
};

TM_TEST_MAIN("actors/session_multi", tests)
