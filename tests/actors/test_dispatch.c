#include "dispatch_world.h"

/* The told answers are exactly these (session, seq, status), in order. */
#define EXPECT_TOLD(w, i, s, n, st)                                                                \
    do {                                                                                           \
        CU_ASSERT_FATAL((w)->told_count > (i));                                                    \
        CU_ASSERT_EQUAL((w)->told[i].session, (s));                                                \
        CU_ASSERT_EQUAL((w)->told[i].answer.id, (n));                                              \
        CU_ASSERT_EQUAL((w)->told[i].answer.status, (st));                                         \
    } while (0)

#define EXPECT_ASKED(w, i, place, n)                                                               \
    do {                                                                                           \
        CU_ASSERT_FATAL((w)->asked_count > (i));                                                   \
        CU_ASSERT(world_same((w)->asked[i].to, (place)));                                          \
        CU_ASSERT_EQUAL((w)->asked[i].seq, (n));                                                   \
    } while (0)

static void a_leader_here_is_called_and_elsewhere_is_sent_to(void)
{
    struct world w;
    world_begin(&w);
    w.leader[0] = WORLD_SELF;
    w.leader[1] = WORLD_B;
    CU_ASSERT_EQUAL(world_set(&w, 7, 1, 0), TM_OK);
    EXPECT_ASKED(&w, 0, WORLD_SELF, 1);
    EXPECT_TOLD(&w, 0, 7, 1, TM_ANSWER_DONE);
    CU_ASSERT_EQUAL(world_set(&w, 7, 2, 1), TM_OK);
    EXPECT_ASKED(&w, 1, WORLD_B, 2);
    CU_ASSERT_EQUAL(w.told_count, 1);
    CU_ASSERT_EQUAL(tm_dispatch_count(w.d), 1);
    struct tm_answer a = {.id = w.asked[1].wire_id,
                          .status = TM_ANSWER_DONE,
                          .reply = tm_bytes_str("+OK\r\n"),
                          .index = 44,
                          .cursor = 5,
                          .watch_token = 6,
                          .copies = 2};
    tm_dispatch_answer(w.d, WORLD_B, &a);
    EXPECT_TOLD(&w, 1, 7, 2, TM_ANSWER_DONE);
    const struct tm_answer *got = &w.told[1].answer;
    CU_ASSERT(tm_bytes_equal(got->reply, a.reply));
    CU_ASSERT(got->index == 44 && got->cursor == 5 && got->watch_token == 6 && got->copies == 2);
    CU_ASSERT_EQUAL(tm_dispatch_count(w.d), 0);
    world_end(&w);
}

static void requests_wait_in_order_until_somebody_leads(void)
{
    struct world w;
    world_begin(&w);
    for (uint64_t n = 1; n <= 5; n++)
        CU_ASSERT_EQUAL(world_set(&w, 1 + n % 2, n, 2), TM_OK);
    world_pass(&w, TM_MS(300));
    CU_ASSERT_EQUAL(w.asked_count, 0);
    world_lead(&w, 2, WORLD_C);
    CU_ASSERT_EQUAL_FATAL(w.asked_count, 5);
    for (unsigned i = 0; i < 5; i++)
        EXPECT_ASKED(&w, i, WORLD_C, i + 1);
    world_end(&w);
}

static void nobody_leads_for_too_long_is_refused(void)
{
    struct world w;
    world_begin(&w);
    world_set(&w, 1, 1, 0);
    world_pass(&w, TM_MS(900));
    CU_ASSERT_EQUAL(w.told_count, 0);
    world_set(&w, 1, 2, 0);
    world_pass(&w, TM_MS(200));
    CU_ASSERT_EQUAL(w.told_count, 1);
    EXPECT_TOLD(&w, 0, 1, 1, TM_ANSWER_REFUSED);
    CU_ASSERT_EQUAL(w.told[0].answer.err, TM_ERR_NOTLEADER);
    world_pass(&w, TM_MS(1000));
    EXPECT_TOLD(&w, 1, 1, 2, TM_ANSWER_REFUSED);
    CU_ASSERT_EQUAL(tm_dispatch_count(w.d), 0);
    CU_ASSERT_EQUAL(tm_dispatch_next_deadline(w.d), UINT64_MAX);
    world_end(&w);
}

static void an_answer_that_does_not_come_is_unknown_for_a_write_only(void)
{
    struct world w;
    world_begin(&w);
    w.leader[0] = WORLD_B;
    world_set(&w, 1, 1, 0);
    world_get(&w, 2, 1, 0);
    world_pass(&w, TM_MS(1100));
    CU_ASSERT_EQUAL_FATAL(w.told_count, 2);
    EXPECT_TOLD(&w, 0, 1, 1, TM_ANSWER_UNKNOWN);
    CU_ASSERT_EQUAL(w.told[0].answer.err, TM_ERR_TIMEOUT);
    EXPECT_TOLD(&w, 1, 2, 1, TM_ANSWER_REFUSED);
    world_done(&w, 0); /* too late */
    world_done(&w, 1);
    CU_ASSERT_EQUAL(w.told_count, 2);
    world_end(&w);
}

static void a_wait_has_its_own_time(void)
{
    struct world w;
    world_begin(&w);
    w.leader[0] = WORLD_B;
    world_submit_kind(&w, TM_REQUEST_WAIT, "WAIT", 1, 1, 0, 3000);
    world_submit_kind(&w, TM_REQUEST_WAIT, "WAIT", 1, 2, 0, 0);
    world_submit_kind(&w, TM_REQUEST_WAIT, "WAIT", 1, 3, 0, INT64_MAX);
    world_set(&w, 2, 4, 0);
    world_pass(&w, TM_MS(1100));
    CU_ASSERT_EQUAL(w.told_count, 1);
    EXPECT_TOLD(&w, 0, 2, 4, TM_ANSWER_UNKNOWN);
    world_pass(&w, TM_MS(3000));
    CU_ASSERT_EQUAL(w.told_count, 2);
    EXPECT_TOLD(&w, 1, 1, 1, TM_ANSWER_REFUSED);
    world_pass(&w, TM_SECONDS(60));
    CU_ASSERT_EQUAL(tm_dispatch_count(w.d), 2);
    world_done(&w, 1);
    world_done(&w, 2);
    CU_ASSERT_EQUAL(w.told_count, 4);
    world_end(&w);
}

static void what_came_back_undone_goes_to_the_next_leader_first(void)
{
    static const enum tm_err passing[] = {TM_ERR_NOTLEADER, TM_ERR_AGAIN, TM_ERR_FULL};
    for (unsigned e = 0; e < TM_ARRAY_LEN(passing); e++) {
        struct world w;
        world_begin(&w);
        w.leader[0] = WORLD_B;
        for (uint64_t n = 1; n <= 3; n++)
            world_set(&w, 1, n, 0);
        world_reply(&w, 0, TM_ANSWER_REFUSED, passing[e]);
        CU_ASSERT_EQUAL(w.told_count, 0);
        world_set(&w, 1, 4, 0);
        CU_ASSERT_EQUAL(w.asked_count, 3); /* 4 must not overtake 1 */
        world_reply(&w, 1, TM_ANSWER_REFUSED, passing[e]);
        world_lead(&w, 0, WORLD_C);
        CU_ASSERT_EQUAL(w.asked_count, 3); /* 3 is still at B */
        world_reply(&w, 2, TM_ANSWER_REFUSED, passing[e]);
        CU_ASSERT_EQUAL_FATAL(w.asked_count, 7);
        for (unsigned i = 3; i < 7; i++)
            EXPECT_ASKED(&w, i, WORLD_C, i - 2);
        CU_ASSERT_EQUAL(w.told_count, 0);
        world_end(&w);
    }
}

static void refusals_out_of_order_are_repeated_in_order(void)
{
    struct world w;
    world_begin(&w);
    w.leader[0] = WORLD_B;
    for (uint64_t n = 1; n <= 5; n++)
        world_set(&w, n, n, 0);
    static const unsigned order[] = {3, 1, 4, 2, 0};
    world_lead(&w, 0, WORLD_C);
    for (unsigned i = 0; i < 5; i++)
        world_reply(&w, order[i], TM_ANSWER_REFUSED, TM_ERR_NOTLEADER);
    CU_ASSERT_EQUAL_FATAL(w.asked_count, 10);
    for (unsigned i = 0; i < 5; i++)
        EXPECT_ASKED(&w, 5 + i, WORLD_C, i + 1);
    world_end(&w);
}

static void the_same_leader_is_asked_again_after_a_while(void)
{
    struct world w;
    world_begin(&w);
    w.leader[0] = WORLD_B;
    world_set(&w, 1, 1, 0);
    world_reply(&w, 0, TM_ANSWER_REFUSED, TM_ERR_NOTLEADER);
    CU_ASSERT_EQUAL(w.asked_count, 1);
    world_pass(&w, TM_MS(30));
    CU_ASSERT_EQUAL(w.asked_count, 2);
    EXPECT_ASKED(&w, 1, WORLD_B, 1);
    world_reply(&w, 1, TM_ANSWER_REFUSED, TM_ERR_NOTLEADER);
    world_lead(&w, 0, WORLD_C); /* another one need not be waited for */
    EXPECT_ASKED(&w, 2, WORLD_C, 1);
    world_end(&w);
}

static void what_was_refused_is_not_repeated_after_a_later_one_was_done(void)
{
    struct world w;
    world_begin(&w);
    w.leader[0] = WORLD_B;
    world_set(&w, 1, 1, 0);
    world_set(&w, 2, 2, 0);
    world_set(&w, 1, 3, 0);
    world_reply(&w, 0, TM_ANSWER_REFUSED, TM_ERR_AGAIN);
    world_reply(&w, 1, TM_ANSWER_REFUSED, TM_ERR_AGAIN);
    world_done(&w, 2); /* it led in between */
    CU_ASSERT_EQUAL(w.told_count, 2);
    EXPECT_TOLD(&w, 0, 1, 3, TM_ANSWER_DONE);
    EXPECT_TOLD(&w, 1, 1, 1, TM_ANSWER_REFUSED);
    world_pass(&w, TM_MS(30));
    CU_ASSERT_EQUAL(w.asked_count, 4);
    EXPECT_ASKED(&w, 3, WORLD_B, 2); /* another session's goes on */
    world_end(&w);
}

static void a_refusal_after_a_later_one_was_done_is_final(void)
{
    struct world w;
    world_begin(&w);
    w.leader[0] = WORLD_B;
    world_set(&w, 1, 1, 0);
    world_get(&w, 1, 2, 0);
    world_done(&w, 1);
    world_reply(&w, 0, TM_ANSWER_REFUSED, TM_ERR_NOTLEADER); /* its record was cut */
    CU_ASSERT_EQUAL(w.told_count, 2);
    EXPECT_TOLD(&w, 1, 1, 1, TM_ANSWER_REFUSED);
    world_pass(&w, TM_MS(100));
    CU_ASSERT_EQUAL(w.asked_count, 2);
    world_end(&w);
}

static void other_refusals_are_passed_on(void)
{
    static const enum tm_err final[] = {TM_ERR_NOSPACE, TM_ERR_NOMEM, TM_ERR_NOREPLICAS};
    struct world w;
    world_begin(&w);
    w.leader[0] = WORLD_B;
    for (unsigned i = 0; i < TM_ARRAY_LEN(final); i++) {
        world_set(&w, 1, i + 1, 0);
        world_reply(&w, i, TM_ANSWER_REFUSED, final[i]);
        EXPECT_TOLD(&w, i, 1, i + 1, TM_ANSWER_REFUSED);
        CU_ASSERT_EQUAL(w.told[i].answer.err, final[i]);
    }
    CU_ASSERT_EQUAL(w.asked_count, TM_ARRAY_LEN(final));
    world_end(&w);
}

static void a_refusal_by_this_worker_is_repeated_too(void)
{
    struct world w;
    world_begin(&w);
    w.leader[0] = WORLD_SELF;
    w.local_answer = (struct tm_answer){.status = TM_ANSWER_REFUSED, .err = TM_ERR_NOTLEADER};
    world_set(&w, 1, 1, 0);
    world_set(&w, 1, 2, 0);
    CU_ASSERT_EQUAL(w.told_count, 0);
    CU_ASSERT_EQUAL(w.asked_count, 1);
    world_lead(&w, 0, WORLD_B);
    CU_ASSERT_EQUAL_FATAL(w.asked_count, 3);
    EXPECT_ASKED(&w, 1, WORLD_B, 1);
    EXPECT_ASKED(&w, 2, WORLD_B, 2);
    world_end(&w);
}

/* A session that goes on with its next request from inside an answer. */
static void go_on(struct world *w, uint64_t session, const struct tm_answer *a)
{
    if (w->budget == 0)
        return;
    w->budget--;
    CU_ASSERT_EQUAL(world_set(w, session, a->id + 100, w->asked[0].partition), TM_OK);
}

static bool refused_once;

/* Before the request in hand is refused, an older one is answered, whose session goes on. */
static void answer_older_first(struct world *w, const struct world_asked *a)
{
    if (a->seq == 1 || refused_once)
        return;
    refused_once = true;
    w->local_answer.status = TM_ANSWER_DONE;
    w->local_answer.err = TM_OK;
    w->budget = 1;
    w->on_answer = go_on;
    world_done(w, 0);
    w->local_answer = (struct tm_answer){.status = TM_ANSWER_REFUSED, .err = TM_ERR_AGAIN};
}

static void a_request_in_hand_survives_what_its_leader_answers_before_it(void)
{
    struct world w;
    world_begin(&w);
    refused_once = false;
    w.leader[0] = WORLD_SELF;
    w.local_waits = true;
    world_set(&w, 1, 1, 0);
    w.local_waits = false;
    w.on_local = answer_older_first;
    world_set(&w, 2, 2, 0);
    CU_ASSERT_EQUAL(w.told_count, 2); /* 1, and 101 that went on from there */
    EXPECT_TOLD(&w, 0, 1, 1, TM_ANSWER_DONE);
    EXPECT_TOLD(&w, 1, 1, 101, TM_ANSWER_DONE);
    w.local_answer = (struct tm_answer){.status = TM_ANSWER_DONE};
    world_pass(&w, TM_MS(30));
    EXPECT_TOLD(&w, 2, 2, 2, TM_ANSWER_DONE);
    world_end(&w);
}

static void a_lost_node_costs_writes_their_outcome_and_reads_nothing(void)
{
    struct world w;
    world_begin(&w);
    w.leader[0] = w.leader[1] = WORLD_B;
    w.leader[2] = WORLD_C;
    world_get(&w, 1, 1, 0);
    world_set(&w, 2, 2, 0);
    world_get(&w, 3, 3, 0);
    world_set(&w, 4, 4, 2);
    w.leader[0] = w.leader[1] = WORLD_NOBODY;
    tm_dispatch_node_lost(w.d, 1);
    CU_ASSERT_EQUAL(w.told_count, 1);
    EXPECT_TOLD(&w, 0, 2, 2, TM_ANSWER_UNKNOWN);
    world_done(&w, 0); /* from the dead */
    world_done(&w, 1);
    CU_ASSERT_EQUAL(w.told_count, 1);
    world_set(&w, 5, 5, 0);
    world_lead(&w, 0, WORLD_C);
    CU_ASSERT_EQUAL_FATAL(w.asked_count, 7);
    EXPECT_ASKED(&w, 4, WORLD_C, 1);
    EXPECT_ASKED(&w, 5, WORLD_C, 3);
    EXPECT_ASKED(&w, 6, WORLD_C, 5);
    world_done(&w, 3); /* the other node was not lost */
    EXPECT_TOLD(&w, 1, 4, 4, TM_ANSWER_DONE);
    world_end(&w);
}

static void a_read_before_an_unknown_write_of_its_session_is_not_repeated(void)
{
    struct world w;
    world_begin(&w);
    w.leader[0] = WORLD_B;
    world_get(&w, 1, 1, 0);
    world_set(&w, 1, 2, 0);
    world_get(&w, 1, 3, 0);
    w.leader[0] = WORLD_C;
    tm_dispatch_node_lost(w.d, 1);
    CU_ASSERT_EQUAL_FATAL(w.told_count, 2);
    EXPECT_TOLD(&w, 0, 1, 2, TM_ANSWER_UNKNOWN);
    EXPECT_TOLD(&w, 1, 1, 1, TM_ANSWER_REFUSED);
    CU_ASSERT_EQUAL(w.asked_count, 4);
    EXPECT_ASKED(&w, 3, WORLD_C, 3);
    world_end(&w);
}

static void the_first_answer_of_a_read_asked_twice_is_ignored(void)
{
    struct world w;
    world_begin(&w);
    w.leader[0] = WORLD_B;
    world_get(&w, 1, 1, 0);
    tm_dispatch_node_lost(w.d, 1);
    world_pass(&w, TM_MS(10));
    CU_ASSERT_EQUAL_FATAL(w.asked_count, 2);
    EXPECT_ASKED(&w, 1, WORLD_B, 1);
    world_done(&w, 0);
    CU_ASSERT_EQUAL(w.told_count, 0);
    world_done(&w, 1);
    EXPECT_TOLD(&w, 0, 1, 1, TM_ANSWER_DONE);
    world_end(&w);
}

static void a_transaction_of_reads_is_repeated_and_one_with_a_write_is_not(void)
{
    struct world w;
    world_begin(&w);
    w.leader[0] = WORLD_B;
    world_submit_kind(&w, TM_REQUEST_MULTI, "GET", 1, 1, 0, 0);
    world_submit_kind(&w, TM_REQUEST_MULTI, "SET", 2, 2, 0, 0);
    world_submit_kind(&w, TM_REQUEST_WATCH, "a", 3, 3, 0, 0);
    w.leader[0] = WORLD_C;
    tm_dispatch_node_lost(w.d, 1);
    CU_ASSERT_EQUAL_FATAL(w.told_count, 1);
    EXPECT_TOLD(&w, 0, 2, 2, TM_ANSWER_UNKNOWN);
    CU_ASSERT_EQUAL(w.asked_count, 5);
    EXPECT_ASKED(&w, 3, WORLD_C, 1);
    EXPECT_ASKED(&w, 4, WORLD_C, 3);
    world_end(&w);
}

static void a_former_leader_may_answer_until_the_handover_is_over(void)
{
    struct world w;
    world_begin(&w);
    w.leader[0] = WORLD_B;
    world_set(&w, 1, 1, 0);
    world_set(&w, 1, 2, 0);
    world_get(&w, 2, 3, 0);
    world_lead(&w, 0, WORLD_C);
    world_set(&w, 1, 4, 0);
    world_pass(&w, TM_MS(90));
    world_done(&w, 0);
    EXPECT_TOLD(&w, 0, 1, 1, TM_ANSWER_DONE);
    CU_ASSERT_EQUAL(w.asked_count, 3); /* 4 waits for 2 and 3 */
    world_pass(&w, TM_MS(20));
    CU_ASSERT_EQUAL(w.told_count, 2);
    EXPECT_TOLD(&w, 1, 1, 2, TM_ANSWER_UNKNOWN);
    CU_ASSERT_EQUAL_FATAL(w.asked_count, 5);
    EXPECT_ASKED(&w, 3, WORLD_C, 3);
    EXPECT_ASKED(&w, 4, WORLD_C, 4);
    world_end(&w);
}

static void a_handover_ends_as_soon_as_all_is_answered(void)
{
    struct world w;
    world_begin(&w);
    w.leader[0] = WORLD_B;
    world_set(&w, 1, 1, 0);
    world_lead(&w, 0, WORLD_C);
    world_set(&w, 1, 2, 0);
    world_done(&w, 0);
    CU_ASSERT_EQUAL(w.asked_count, 2);
    EXPECT_ASKED(&w, 1, WORLD_C, 2);
    world_pass(&w, TM_MS(200)); /* nothing of C's is given up */
    CU_ASSERT_EQUAL(w.told_count, 1);
    world_end(&w);
}

static void a_leader_that_is_leader_again_gives_nothing_up(void)
{
    struct world w;
    world_begin(&w);
    w.leader[0] = WORLD_B;
    world_set(&w, 1, 1, 0);
    world_lead(&w, 0, WORLD_C);
    world_pass(&w, TM_MS(50));
    world_lead(&w, 0, WORLD_B);
    world_pass(&w, TM_MS(300));
    CU_ASSERT_EQUAL(w.told_count, 0);
    world_set(&w, 1, 2, 0);
    CU_ASSERT_EQUAL(w.asked_count, 2);
    world_done(&w, 0);
    EXPECT_TOLD(&w, 0, 1, 1, TM_ANSWER_DONE);
    world_end(&w);
}

static void several_changes_of_leader_do_not_prolong_the_handover(void)
{
    struct world w;
    world_begin(&w);
    w.leader[0] = WORLD_B;
    world_set(&w, 1, 1, 0);
    for (unsigned i = 0; i < 11; i++) {
        world_lead(&w, 0, i % 2 == 0 ? WORLD_C : WORLD_SELF);
        world_pass(&w, TM_MS(10));
    }
    EXPECT_TOLD(&w, 0, 1, 1, TM_ANSWER_UNKNOWN);
    world_end(&w);
}

static void a_full_way_is_tried_again(void)
{
    struct world w;
    world_begin(&w);
    w.leader[0] = WORLD_B;
    w.way = TM_ERR_FULL;
    world_set(&w, 1, 1, 0);
    w.way = TM_ERR_CLOSED;
    world_set(&w, 1, 2, 0);
    world_pass(&w, TM_MS(100));
    w.way = TM_OK;
    world_set(&w, 1, 3, 0);
    world_pass(&w, TM_MS(10));
    CU_ASSERT_EQUAL_FATAL(w.asked_count, 3);
    for (unsigned i = 0; i < 3; i++)
        EXPECT_ASKED(&w, i, WORLD_B, i + 1);
    CU_ASSERT_EQUAL(w.told_count, 0);
    world_end(&w);
}

static void late_answers_do_not_meet_a_reused_slot(void)
{
    struct world w;
    world_begin_with(&w, 1, TM_MIB(1));
    w.leader[0] = WORLD_B;
    world_set(&w, 1, 1, 0);
    tm_dispatch_node_lost(w.d, 1);
    EXPECT_TOLD(&w, 0, 1, 1, TM_ANSWER_UNKNOWN);
    world_set(&w, 2, 2, 0);
    CU_ASSERT_EQUAL_FATAL(w.asked_count, 2);
    world_done(&w, 0);
    CU_ASSERT_EQUAL(w.told_count, 1);
    world_done(&w, 1);
    EXPECT_TOLD(&w, 1, 2, 2, TM_ANSWER_DONE);
    world_done(&w, 1);
    CU_ASSERT_EQUAL(w.told_count, 2);
    world_end(&w);
}

static void answers_from_elsewhere_and_with_wild_ids_are_ignored(void)
{
    struct world w;
    world_begin(&w);
    w.leader[0] = WORLD_B;
    world_set(&w, 1, 1, 0);
    struct tm_answer a = {.id = w.asked[0].wire_id, .status = TM_ANSWER_DONE};
    tm_dispatch_answer(w.d, WORLD_C, &a);
    tm_dispatch_answer(w.d, WORLD_SELF, &a);
    tm_dispatch_answer(w.d, (struct tm_place){.node = 1, .worker = 1}, &a);
    static const uint64_t wild[] = {0, 1, 63, 64, 1 << 20, (1 << 20) - 1, UINT64_MAX};
    for (unsigned i = 0; i < TM_ARRAY_LEN(wild); i++) {
        a.id = wild[i] == w.asked[0].wire_id ? 0 : wild[i];
        tm_dispatch_answer(w.d, WORLD_B, &a);
    }
    CU_ASSERT_EQUAL(w.told_count, 0);
    world_done(&w, 0);
    CU_ASSERT_EQUAL(w.told_count, 1);
    world_end(&w);
}

static void an_answer_to_the_process_before_is_ignored(void)
{
    struct world w;
    world_begin(&w);
    w.leader[0] = WORLD_B;
    world_set(&w, 1, 1, 0);
    tm_dispatch_free(w.d);
    world_start(&w, 64, TM_MIB(1));
    world_set(&w, 1, 1, 0);
    CU_ASSERT_EQUAL(w.asked_count, 2);
    world_done(&w, 0);
    CU_ASSERT_EQUAL(w.told_count, 0);
    world_done(&w, 1);
    CU_ASSERT_EQUAL(w.told_count, 1);
    world_end(&w);
}

static void an_answer_to_what_waits_is_ignored(void)
{
    struct world w;
    world_begin(&w);
    w.leader[0] = WORLD_B;
    world_set(&w, 1, 1, 0);
    world_reply(&w, 0, TM_ANSWER_REFUSED, TM_ERR_NOTLEADER);
    world_done(&w, 0);
    CU_ASSERT_EQUAL(w.told_count, 0);
    world_pass(&w, TM_MS(10));
    CU_ASSERT_EQUAL(w.asked_count, 2);
    world_done(&w, 1);
    CU_ASSERT_EQUAL(w.told_count, 1);
    world_end(&w);
}

static void calls_are_bounded_and_tick_says_when_there_is_room(void)
{
    struct world w;
    world_begin_with(&w, 2, TM_MIB(1));
    w.leader[0] = WORLD_B;
    CU_ASSERT_EQUAL(world_set(&w, 1, 1, 0), TM_OK);
    CU_ASSERT_EQUAL(world_set(&w, 1, 2, 0), TM_OK);
    CU_ASSERT_EQUAL(world_set(&w, 1, 3, 0), TM_ERR_FULL);
    CU_ASSERT_FALSE(tm_dispatch_tick(w.d));
    world_done(&w, 0);
    world_done(&w, 1);
    CU_ASSERT_NOT_EQUAL(tm_dispatch_next_deadline(w.d), UINT64_MAX);
    CU_ASSERT_TRUE(tm_dispatch_tick(w.d));
    CU_ASSERT_FALSE(tm_dispatch_tick(w.d)); /* said once */
    CU_ASSERT_EQUAL(world_set(&w, 1, 3, 0), TM_OK);
    world_end(&w);
}

static void bytes_are_bounded(void)
{
    struct world w;
    world_begin_with(&w, 64, 300); /* a request takes some 85 bytes */
    w.leader[0] = WORLD_B;
    uint64_t n = 0;
    while (world_set(&w, 1, n + 1, 0) == TM_OK)
        n++;
    CU_ASSERT(n >= 2 && n <= 4);
    CU_ASSERT_EQUAL(world_set(&w, 1, n + 1, 0), TM_ERR_FULL);
    for (unsigned i = 0; i < n; i++)
        world_done(&w, i);
    CU_ASSERT_TRUE(tm_dispatch_tick(w.d));
    CU_ASSERT_EQUAL(world_set(&w, 1, n + 1, 0), TM_OK);
    world_end(&w);
}

static void what_never_fits_is_too_big(void)
{
    struct world w;
    static uint8_t big[1024];
    struct tm_bytes argv[3] = {tm_bytes_str("SET"), tm_bytes_str("k"),
                               tm_bytes_of(big, sizeof big)};
    struct tm_request_command command = {argv, 3};
    struct tm_request rq = {.id = 1,
                            .kind = TM_REQUEST_EXEC,
                            .partition = 0,
                            .resp = 2,
                            .commands = &command,
                            .count = 1};
    world_begin_with(&w, 8, 512);
    w.leader[0] = WORLD_B;
    CU_ASSERT_EQUAL(tm_dispatch_submit(w.d, 1, &rq), TM_ERR_TOOBIG);
    CU_ASSERT_EQUAL(tm_dispatch_count(w.d), 0);
    w.leader[0] = WORLD_SELF; /* nothing is kept of it here */
    CU_ASSERT_EQUAL(tm_dispatch_submit(w.d, 1, &rq), TM_OK);
    CU_ASSERT_EQUAL(w.told_count, 1);
    world_end(&w);
}

static void an_unwatch_is_sent_and_never_answered(void)
{
    struct world w;
    world_begin(&w);
    w.leader[0] = WORLD_B;
    w.leader[1] = WORLD_SELF;
    for (uint32_t p = 0; p < 3; p++) /* nobody leads 2 */
        CU_ASSERT_EQUAL(world_submit_kind(&w, TM_REQUEST_UNWATCH, "a", 1, 1, p, 0), TM_OK);
    CU_ASSERT_EQUAL(w.asked_count, 2);
    CU_ASSERT_EQUAL(tm_dispatch_count(w.d), 0);
    world_lead(&w, 2, WORLD_C);
    tm_dispatch_node_lost(w.d, 1);
    world_pass(&w, TM_SECONDS(2));
    CU_ASSERT_EQUAL(w.told_count, 0);
    CU_ASSERT_EQUAL(w.asked_count, 2);
    world_end(&w);
}

static void answers_may_submit_anew(void)
{
    struct world w;
    world_begin(&w);
    w.leader[0] = WORLD_B;
    w.budget = 3;
    w.on_answer = go_on;
    world_set(&w, 1, 1, 0);
    for (unsigned i = 0; i < 4; i++)
        world_done(&w, i);
    CU_ASSERT_EQUAL(w.told_count, 4);
    CU_ASSERT_EQUAL(tm_dispatch_count(w.d), 0);
    world_end(&w);
}

static void a_lost_node_is_not_asked_by_the_answers_that_its_loss_brings(void)
{
    struct world w;
    world_begin(&w);
    w.leader[0] = WORLD_B; /* not told otherwise yet, and the way there seems open */
    w.budget = 40;
    w.on_answer = go_on;
    for (uint64_t n = 1; n <= 4; n++)
        world_set(&w, n, n, 0);
    tm_dispatch_node_lost(w.d, 1);
    CU_ASSERT_EQUAL(w.told_count, 4); /* each once; what they brought waits or was sent anew */
    CU_ASSERT_EQUAL(tm_dispatch_count(w.d), 4);
    w.budget = 0;
    world_lead(&w, 0, WORLD_C);
    world_pass(&w, TM_SECONDS(2));
    CU_ASSERT_EQUAL(tm_dispatch_count(w.d), 0);
    CU_ASSERT_EQUAL(w.told_count, 8);
    world_end(&w);
}

static void expiry_may_submit_anew(void)
{
    struct world w;
    world_begin(&w);
    w.budget = 20;
    w.on_answer = go_on;
    for (uint64_t n = 1; n <= 10; n++)
        world_set(&w, n, n, 0);
    w.asked[0].partition = 0;
    world_pass(&w, TM_MS(1050));
    CU_ASSERT_EQUAL(w.told_count, 10);
    CU_ASSERT_EQUAL(tm_dispatch_count(w.d), 10);
    world_pass(&w, TM_MS(3100));
    CU_ASSERT_EQUAL(w.told_count, 30);
    CU_ASSERT_EQUAL(tm_dispatch_count(w.d), 0);
    world_end(&w);
}

static struct tm_place next_leader;

static void leader_appears(struct world *w, uint64_t session, const struct tm_answer *a)
{
    (void)session;
    (void)a;
    if (next_leader.node == TM_NODES_MAX)
        return;
    w->leader[0] = next_leader;
    next_leader = WORLD_NOBODY;
    tm_dispatch_leader_changed(w->d, 0);
}

static void a_leader_that_appears_while_calls_expire_confuses_nothing(void)
{
    for (unsigned here = 0; here < 2; here++) {
        struct world w;
        world_begin(&w);
        w.on_answer = leader_appears;
        next_leader = here ? WORLD_SELF : WORLD_B;
        for (uint64_t n = 1; n <= 10; n++)
            world_set(&w, n, n, 0);
        world_pass(&w, TM_MS(1100));
        /* The first one expired; the others were sent in time, or expired as sent ones. */
        EXPECT_TOLD(&w, 0, 1, 1, TM_ANSWER_REFUSED);
        CU_ASSERT_EQUAL(w.asked_count, 9);
        CU_ASSERT_EQUAL(w.told_count, 10);
        for (unsigned i = 1; i < 10; i++)
            EXPECT_TOLD(&w, i, i + 1, i + 1, here ? TM_ANSWER_DONE : TM_ANSWER_UNKNOWN);
        CU_ASSERT_EQUAL(tm_dispatch_count(w.d), 0);
        world_end(&w);
    }
}

static unsigned frame_first, frame_wrong;

static void only_own(struct world *w, uint64_t session, const struct tm_answer *a)
{
    (void)w;
    (void)session;
    frame_wrong += a->id < frame_first;
}

static void a_submit_answers_nothing_but_its_own(void)
{
    struct world w;
    world_begin(&w);
    for (uint64_t n = 1; n <= 3; n++)
        world_set(&w, n, n, 0);
    w.leader[0] = WORLD_SELF; /* not told yet */
    w.on_answer = only_own;
    frame_first = 4;
    frame_wrong = 0;
    world_set(&w, 4, 4, 0);
    CU_ASSERT_EQUAL(frame_wrong, 0);
    frame_first = 0;
    tm_dispatch_leaders_changed(w.d);
    CU_ASSERT_EQUAL_FATAL(w.told_count, 4);
    for (unsigned i = 0; i < 4; i++)
        EXPECT_TOLD(&w, i, i + 1, i + 1, TM_ANSWER_DONE);
    world_end(&w);
}

static const struct tm_test tests[] = {
    TM_TEST(a_leader_here_is_called_and_elsewhere_is_sent_to),
    TM_TEST(requests_wait_in_order_until_somebody_leads),
    TM_TEST(nobody_leads_for_too_long_is_refused),
    TM_TEST(an_answer_that_does_not_come_is_unknown_for_a_write_only),
    TM_TEST(a_wait_has_its_own_time),
    TM_TEST(what_came_back_undone_goes_to_the_next_leader_first),
    TM_TEST(refusals_out_of_order_are_repeated_in_order),
    TM_TEST(the_same_leader_is_asked_again_after_a_while),
    TM_TEST(what_was_refused_is_not_repeated_after_a_later_one_was_done),
    TM_TEST(a_refusal_after_a_later_one_was_done_is_final),
    TM_TEST(other_refusals_are_passed_on),
    TM_TEST(a_refusal_by_this_worker_is_repeated_too),
    TM_TEST(a_request_in_hand_survives_what_its_leader_answers_before_it),
    TM_TEST(a_lost_node_costs_writes_their_outcome_and_reads_nothing),
    TM_TEST(a_read_before_an_unknown_write_of_its_session_is_not_repeated),
    TM_TEST(the_first_answer_of_a_read_asked_twice_is_ignored),
    TM_TEST(a_transaction_of_reads_is_repeated_and_one_with_a_write_is_not),
    TM_TEST(a_former_leader_may_answer_until_the_handover_is_over),
    TM_TEST(a_handover_ends_as_soon_as_all_is_answered),
    TM_TEST(a_leader_that_is_leader_again_gives_nothing_up),
    TM_TEST(several_changes_of_leader_do_not_prolong_the_handover),
    TM_TEST(a_full_way_is_tried_again),
    TM_TEST(late_answers_do_not_meet_a_reused_slot),
    TM_TEST(answers_from_elsewhere_and_with_wild_ids_are_ignored),
    TM_TEST(an_answer_to_the_process_before_is_ignored),
    TM_TEST(an_answer_to_what_waits_is_ignored),
    TM_TEST(calls_are_bounded_and_tick_says_when_there_is_room),
    TM_TEST(bytes_are_bounded),
    TM_TEST(what_never_fits_is_too_big),
    TM_TEST(an_unwatch_is_sent_and_never_answered),
    TM_TEST(answers_may_submit_anew),
    TM_TEST(a_lost_node_is_not_asked_by_the_answers_that_its_loss_brings),
    TM_TEST(expiry_may_submit_anew),
    TM_TEST(a_leader_that_appears_while_calls_expire_confuses_nothing),
    TM_TEST(a_submit_answers_nothing_but_its_own),
};

TM_TEST_MAIN("actors/dispatch", tests)
