#include "runtime/rng.h"
#include "runtime/timer.h"
#include "test.h"

#define TICK TM_TIMER_TICK_NS

static struct tm_timers timers;

/* A timer that remembers when it fired, and may act in its callback. */
struct probe {
    struct tm_timer timer;
    uint64_t fired_at;
    unsigned fired;
    struct probe *cancels;
    uint64_t rearm_at;
};

static void on_fire(struct tm_timer *timer, uint64_t now_ns)
{
    struct probe *p = TM_CONTAINER_OF(timer, struct probe, timer);
    CU_ASSERT_FALSE(tm_timer_is_armed(timer));
    p->fired_at = now_ns;
    p->fired++;
    if (p->cancels != NULL)
        tm_timer_cancel(&timers, &p->cancels->timer);
    if (p->rearm_at != 0)
        tm_timer_arm(&timers, timer, p->rearm_at);
}

static struct probe probe(void)
{
    struct probe p = {.fired = 0};
    tm_timer_init(&p.timer, on_fire);
    return p;
}

static void a_timer_fires_once_and_not_early(void)
{
    struct probe p = probe();
    tm_timers_init(&timers, 1000 * TICK);
    CU_ASSERT_EQUAL(tm_timers_next(&timers), TM_TIMER_NEVER);
    tm_timer_arm(&timers, &p.timer, 1010 * TICK + 1);
    CU_ASSERT(tm_timer_is_armed(&p.timer));
    CU_ASSERT_EQUAL(tm_timers_next(&timers), 1011 * TICK);
    CU_ASSERT_EQUAL(tm_timers_run(&timers, 1011 * TICK - 1), 0);
    CU_ASSERT_EQUAL(tm_timers_run(&timers, 1011 * TICK), 1);
    CU_ASSERT_EQUAL(p.fired, 1);
    CU_ASSERT_EQUAL(tm_timers_run(&timers, 5000 * TICK), 0);
    CU_ASSERT_EQUAL(tm_timers_next(&timers), TM_TIMER_NEVER);
}

static void a_deadline_that_passed_fires_with_the_next_run(void)
{
    struct probe p = probe();
    tm_timers_init(&timers, 1000 * TICK);
    tm_timer_arm(&timers, &p.timer, 5);
    CU_ASSERT_EQUAL(tm_timers_next(&timers), 0);
    CU_ASSERT_EQUAL(tm_timers_run(&timers, 900 * TICK), 1); /* also if the clock seems to go back */
    p.rearm_at = 5;
    tm_timer_arm(&timers, &p.timer, 5);
    CU_ASSERT_EQUAL(tm_timers_run(&timers, 1000 * TICK), 1); /* not for ever in one run */
    CU_ASSERT_EQUAL(tm_timers_next(&timers), 0);
    p.rearm_at = 0;
    CU_ASSERT_EQUAL(tm_timers_run(&timers, 1000 * TICK), 1);
    CU_ASSERT_EQUAL(timers.armed, 0);
}

static void cancel_and_move(void)
{
    struct probe a = probe(), b = probe();
    tm_timers_init(&timers, 0);
    tm_timer_arm(&timers, &a.timer, 100 * TICK);
    tm_timer_arm(&timers, &b.timer, 100 * TICK);
    tm_timer_cancel(&timers, &a.timer);
    tm_timer_cancel(&timers, &a.timer);
    CU_ASSERT_EQUAL(timers.armed, 1);
    tm_timer_arm(&timers, &b.timer, 7 * TICK);
    CU_ASSERT_EQUAL(timers.armed, 1);
    CU_ASSERT_EQUAL(tm_timers_next(&timers), 7 * TICK);
    tm_timer_arm(&timers, &b.timer, TM_TIMER_NEVER);
    CU_ASSERT_EQUAL(tm_timers_next(&timers), TM_TIMER_NEVER);
    CU_ASSERT_EQUAL(tm_timers_run(&timers, 1000 * TICK), 0);
    CU_ASSERT_EQUAL(a.fired + b.fired, 0);
}

static void a_callback_may_cancel_one_that_is_due_too(void)
{
    struct probe a = probe(), b = probe();
    a.cancels = &b;
    b.cancels = &a;
    tm_timers_init(&timers, 0);
    tm_timer_arm(&timers, &a.timer, 3 * TICK);
    tm_timer_arm(&timers, &b.timer, 5 * TICK);
    CU_ASSERT_EQUAL(tm_timers_run(&timers, 1000 * TICK), 1);
    CU_ASSERT_EQUAL(a.fired + b.fired, 1);
    CU_ASSERT_EQUAL(timers.armed, 0);
}

/* Jumping from next to next reaches each deadline within its tick, with few looks. */
static void next_leads_to_every_deadline(void)
{
    struct tm_rng rng;
    tm_rng_seed(&rng, tm_test_seed());
    for (int round = 0; round < 2000; round++) {
        uint64_t now = tm_rng_next(&rng) >> (tm_rng_below(&rng, 40) + 3);
        uint64_t deadline = now + (tm_rng_next(&rng) >> (tm_rng_below(&rng, 50) + 4));
        struct probe p = probe();
        tm_timers_init(&timers, now);
        tm_timer_arm(&timers, &p.timer, deadline);
        int looks = 0;
        for (; p.fired == 0 && looks < 20; looks++) {
            uint64_t next = tm_timers_next(&timers);
            CU_ASSERT_FATAL(next != TM_TIMER_NEVER && (next == 0 || next > now));
            now = tm_max_u64(now, next);
            tm_timers_run(&timers, now);
        }
        CU_ASSERT(looks <= TM_TIMER_LEVELS);
        CU_ASSERT(p.fired == 1 && p.fired_at >= deadline && p.fired_at < deadline + TICK);
    }
}

static void random_timers_fire_in_their_tick(void)
{
    enum { COUNT = 300 };
    static struct probe probes[COUNT];
    struct tm_rng rng;
    tm_rng_seed(&rng, tm_test_seed());
    uint64_t now = tm_rng_below(&rng, UINT64_C(1) << 40);
    tm_timers_init(&timers, now);
    for (int i = 0; i < COUNT; i++)
        probes[i] = probe();
    unsigned fired = 0;
    for (int step = 0; step < 40000; step++) {
        struct probe *p = &probes[tm_rng_below(&rng, COUNT)];
        if (tm_rng_chance(&rng, 1, 4))
            tm_timer_cancel(&timers, &p->timer);
        else
            tm_timer_arm(&timers, &p->timer,
                         now + (tm_rng_next(&rng) >> (20 + tm_rng_below(&rng, 40))));
        if (tm_rng_chance(&rng, 1, 2))
            continue;
        uint64_t before = now;
        now += tm_rng_next(&rng) >> (24 + tm_rng_below(&rng, 36));
        fired += tm_timers_run(&timers, now);
        uint64_t earliest = TM_TIMER_NEVER;
        for (int i = 0; i < COUNT; i++) {
            struct probe *q = &probes[i];
            if (q->fired_at > before)
                CU_ASSERT_FATAL(q->timer.deadline_ns <= now);
            if (tm_timer_is_armed(&q->timer)) {
                CU_ASSERT_FATAL(q->timer.deadline_ns > now - now % TICK);
                earliest = tm_min_u64(earliest, q->timer.deadline_ns);
            }
        }
        CU_ASSERT_FATAL(earliest == TM_TIMER_NEVER || tm_timers_next(&timers) < earliest + TICK);
    }
    CU_ASSERT(fired > 1000);
}

static const struct tm_test tests[] = {
    TM_TEST(a_timer_fires_once_and_not_early),
    TM_TEST(a_deadline_that_passed_fires_with_the_next_run),
    TM_TEST(cancel_and_move),
    TM_TEST(a_callback_may_cancel_one_that_is_due_too),
    TM_TEST(next_leads_to_every_deadline),
    TM_TEST(random_timers_fire_in_their_tick),
};
TM_TEST_MAIN("runtime/timer", tests)
