/* Both loops, with a clock moved by hand. */
#include "bench/schedule.h"
#include "tests/test.h"

#define START TM_SECONDS(100)

static struct tm_schedule open_loop(double rate, uint64_t warmup_ns, uint64_t length_ns)
{
    struct tm_schedule_spec spec = {.rate = rate, .warmup_ns = warmup_ns, .length_ns = length_ns};
    struct tm_schedule s;
    tm_schedule_init(&s, &spec, START);
    return s;
}

static unsigned take_all(struct tm_schedule *s, uint64_t now, struct tm_due *last)
{
    unsigned n = 0;
    while (tm_schedule_take(s, now, last))
        n++;
    return n;
}

static void open_loop_operation_k_is_due_at_start_plus_k_over_rate(void)
{
    struct tm_schedule s = open_loop(1000, 0, TM_SECONDS(1));
    struct tm_due due;
    for (uint64_t k = 0; k < 1000; k++) {
        uint64_t at = START + TM_MS(k);
        if (k > 0)
            CU_ASSERT(!tm_schedule_take(&s, at - 1, &due));
        CU_ASSERT(tm_schedule_take(&s, at, &due));
        CU_ASSERT_EQUAL(due.due_ns, at);
        CU_ASSERT(due.measured);
        CU_ASSERT(!tm_schedule_take(&s, at, &due));
        CU_ASSERT_EQUAL(tm_schedule_wait(&s, at), TM_MS(1));
    }
    CU_ASSERT(!tm_schedule_take(&s, START + TM_SECONDS(1), &due));
    CU_ASSERT(s.over && !s.missed);
    CU_ASSERT_EQUAL(s.measured, 1000);
}

static void due_times_do_not_drift_at_odd_rates(void)
{
    struct tm_schedule s = open_loop(333333.3, 0, TM_SECONDS(3600));
    struct tm_due due;
    unsigned n = take_all(&s, START + TM_SECONDS(3), &due);
    CU_ASSERT_EQUAL(n, 1000000); /* k = 0 .. 999,999, the last at 3 s - 2.7 us */
    CU_ASSERT(due.due_ns <= START + TM_SECONDS(3));
    CU_ASSERT(START + TM_SECONDS(3) - due.due_ns < TM_US(3));
}

static void an_operation_is_timed_from_when_it_was_due(void)
{
    struct tm_schedule s = open_loop(1000, 0, TM_SECONDS(10));
    static struct tm_tally t;
    struct tm_due due;
    memset(&t, 0, sizeof t);
    /* The server stands still until 100 ms; then all that was due is sent and answered at once. */
    uint64_t now = START + TM_MS(100);
    unsigned n = 0;
    for (; tm_schedule_take(&s, now, &due); n++) {
        CU_ASSERT_EQUAL(due.due_ns, START + TM_MS(n));
        tm_tally_sent(&t, &due, now);
        tm_tally_answered(&t, &s, &due, now + TM_MS(1), true);
    }
    CU_ASSERT_EQUAL(n, 101);
    CU_ASSERT_EQUAL(t.done, 101);
    CU_ASSERT_EQUAL(t.latency.max, TM_MS(101));
    CU_ASSERT_EQUAL(t.latency.min, TM_MS(1));
    CU_ASSERT_EQUAL(t.sent_late.max, TM_MS(100));
    CU_ASSERT_DOUBLE_EQUAL(tm_histogram_mean(&t.latency), (double)TM_MS(51), 1);
}

static void the_closed_loop_times_from_when_it_asked(void)
{
    struct tm_schedule s = open_loop(0, TM_MS(10), TM_MS(100));
    static struct tm_tally t;
    struct tm_due due;
    memset(&t, 0, sizeof t);
    CU_ASSERT(tm_schedule_take(&s, START + TM_MS(9), &due));
    CU_ASSERT(!due.measured);
    tm_tally_answered(&t, &s, &due, START + TM_MS(12), true);
    CU_ASSERT(tm_schedule_take(&s, START + TM_MS(50), &due));
    CU_ASSERT_EQUAL(due.due_ns, START + TM_MS(50));
    tm_tally_answered(&t, &s, &due, START + TM_MS(53), true);
    CU_ASSERT(tm_schedule_take(&s, START + TM_MS(109), &due));
    tm_tally_answered(&t, &s, &due, START + TM_MS(113), true);
    CU_ASSERT(!tm_schedule_take(&s, START + TM_MS(110), &due));
    CU_ASSERT(s.over);
    CU_ASSERT_EQUAL(t.done, 2);
    CU_ASSERT_EQUAL(t.latency.max, TM_MS(4));
    /* The first and the second were answered in the window; the third was not. */
    CU_ASSERT_EQUAL(t.in_window, 2);
    CU_ASSERT_DOUBLE_EQUAL(tm_tally_per_second(&t, &s), 20, 1e-9);
}

static void the_warm_up_is_not_measured(void)
{
    struct tm_schedule s = open_loop(100, TM_SECONDS(1), TM_SECONDS(1));
    static struct tm_tally t;
    struct tm_due due;
    memset(&t, 0, sizeof t);
    for (uint64_t now = START; !s.over; now += TM_MS(10))
        while (tm_schedule_take(&s, now, &due)) {
            CU_ASSERT_EQUAL(due.measured, due.due_ns >= START + TM_SECONDS(1));
            tm_tally_sent(&t, &due, now);
            tm_tally_answered(&t, &s, &due, now, true);
        }
    CU_ASSERT_EQUAL(t.done, 100);
    CU_ASSERT_EQUAL(s.next, 200);
}

static void failures_have_no_latency(void)
{
    struct tm_schedule s = open_loop(0, 0, TM_SECONDS(1));
    static struct tm_tally t;
    struct tm_due due;
    memset(&t, 0, sizeof t);
    CU_ASSERT(tm_schedule_take(&s, START, &due));
    tm_tally_answered(&t, &s, &due, START + 5, false);
    CU_ASSERT_EQUAL(t.failed, 1);
    CU_ASSERT_EQUAL(t.done, 0);
    CU_ASSERT_EQUAL(t.in_window, 0);
    CU_ASSERT_EQUAL(t.latency.total, 0);
}

static void a_rate_that_was_not_reached_is_said(void)
{
    struct tm_schedule s = open_loop(1000, TM_SECONDS(1), TM_SECONDS(10));
    struct tm_due due;
    /* Half of what is due gets sent. */
    for (uint64_t k = 0; k < 5500; k++)
        CU_ASSERT(tm_schedule_take(&s, START + TM_MS(2 * k), &due));
    tm_schedule_tick(&s, START + TM_SECONDS(11));
    CU_ASSERT(s.missed && s.over);
    CU_ASSERT_EQUAL(s.backlog, 5500);
    CU_ASSERT(!tm_schedule_take(&s, START + TM_SECONDS(11), &due));
}

static void a_rate_missed_in_the_warm_up_is_said_too(void)
{
    struct tm_schedule s = open_loop(1000, TM_SECONDS(1), TM_SECONDS(1));
    tm_schedule_tick(&s, START + TM_SECONDS(2));
    CU_ASSERT(s.missed);
    CU_ASSERT_EQUAL(s.backlog, 1000); /* of the window; not the warm-up's */
}

static void a_short_pause_at_the_end_is_made_up_and_measured(void)
{
    struct tm_schedule s = open_loop(1000, 0, TM_SECONDS(1));
    struct tm_due due;
    CU_ASSERT_EQUAL(take_all(&s, START + TM_MS(949), &due), 950);
    tm_schedule_tick(&s, START + TM_MS(1005));
    CU_ASSERT(s.ended && !s.missed && !s.over);
    CU_ASSERT_EQUAL(s.backlog, 50);
    CU_ASSERT_EQUAL(take_all(&s, START + TM_MS(1005), &due), 50);
    CU_ASSERT_EQUAL(due.due_ns, START + TM_MS(999));
    CU_ASSERT(s.over && !s.missed);
    CU_ASSERT_EQUAL(s.measured, 1000);
}

static void a_number_of_operations_ends_the_window(void)
{
    const double rates[] = {0, 3000};
    for (unsigned i = 0; i < 2; i++) {
        struct tm_schedule_spec spec = {.rate = rates[i], .warmup_ns = TM_MS(10), .ops = 7};
        struct tm_schedule s;
        struct tm_due due;
        unsigned warm = 0, measured = 0;
        tm_schedule_init(&s, &spec, START);
        for (uint64_t now = START; !s.over && now < START + TM_SECONDS(1); now += TM_US(100))
            if (tm_schedule_take(&s, now, &due))
                due.measured ? measured++ : warm++;
        CU_ASSERT(s.over && !s.missed);
        CU_ASSERT_EQUAL(measured, 7);
        CU_ASSERT_EQUAL(warm, i == 0 ? 100 : 30);
    }
}

static void waiting_ends_at_the_edges_of_the_window(void)
{
    struct tm_schedule s = open_loop(0.01, TM_SECONDS(2), TM_SECONDS(3));
    struct tm_due due;
    CU_ASSERT_EQUAL(tm_schedule_wait(&s, START), 0);
    CU_ASSERT(tm_schedule_take(&s, START, &due));
    CU_ASSERT_EQUAL(tm_schedule_wait(&s, START), TM_SECONDS(2));
    CU_ASSERT_EQUAL(tm_schedule_wait(&s, START + TM_SECONDS(2)), TM_SECONDS(3));
    tm_schedule_tick(&s, START + TM_SECONDS(5));
    CU_ASSERT(s.over);
    CU_ASSERT_EQUAL(tm_schedule_wait(&s, START + TM_SECONDS(5)), UINT64_MAX);
}

static const struct tm_test tests[] = {
    TM_TEST(open_loop_operation_k_is_due_at_start_plus_k_over_rate),
    TM_TEST(due_times_do_not_drift_at_odd_rates),
    TM_TEST(an_operation_is_timed_from_when_it_was_due),
    TM_TEST(the_closed_loop_times_from_when_it_asked),
    TM_TEST(the_warm_up_is_not_measured),
    TM_TEST(failures_have_no_latency),
    TM_TEST(a_rate_that_was_not_reached_is_said),
    TM_TEST(a_rate_missed_in_the_warm_up_is_said_too),
    TM_TEST(a_short_pause_at_the_end_is_made_up_and_measured),
    TM_TEST(a_number_of_operations_ends_the_window),
    TM_TEST(waiting_ends_at_the_edges_of_the_window),
};
TM_TEST_MAIN("bench/schedule", tests)
