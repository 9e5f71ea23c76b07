#include "runtime/idle.h"
#include "test.h"

#define SPIN  TM_US(50)
#define YIELD TM_US(200)

static struct tm_idler made(enum tm_idle strategy, unsigned cores, unsigned workers)
{
    struct tm_idler idler;
    struct tm_idle_config config = {.strategy = strategy,
                                    .spin_ns = SPIN,
                                    .yield_ns = YIELD,
                                    .cores = cores,
                                    .workers = workers};
    tm_idler_init(&idler, &config, 1000);
    return idler;
}

/* Work that comes within the window again and again. */
static uint64_t busy(struct tm_idler *idler, uint64_t now)
{
    for (int i = 0; i < 8; i++) {
        tm_idler_woken(idler, TM_US(40));
        CU_ASSERT_EQUAL(tm_idler_next(idler, true, now += TM_US(40)), TM_IDLE_DO_SPIN);
        tm_idler_next(idler, false, now + 500);
    }
    return now;
}

static void auto_backs_off_only_where_workers_outnumber_cores(void)
{
    struct tm_idler crowded = made(TM_IDLE_AUTO, 2, 3);
    struct tm_idler roomy = made(TM_IDLE_AUTO, 4, 4);
    uint64_t now = busy(&crowded, 1000);
    CU_ASSERT_EQUAL(tm_idler_next(&crowded, false, now + TM_US(20)), TM_IDLE_DO_YIELD);
    now = busy(&roomy, 1000);
    CU_ASSERT_EQUAL(tm_idler_next(&roomy, false, now + TM_US(20)), TM_IDLE_DO_SPIN);
    CU_ASSERT_EQUAL(tm_idler_next(&roomy, false, now + SPIN), TM_IDLE_DO_PARK);
}

static void plain_strategies_keep_to_their_word(void)
{
    struct tm_idler spin = made(TM_IDLE_SPIN, 1, 9);
    struct tm_idler yield = made(TM_IDLE_YIELD, 1, 9);
    struct tm_idler park = made(TM_IDLE_PARK, 9, 1);
    CU_ASSERT_EQUAL(tm_idler_next(&spin, false, TM_SECONDS(9)), TM_IDLE_DO_SPIN);
    CU_ASSERT_EQUAL(tm_idler_next(&yield, false, TM_SECONDS(9)), TM_IDLE_DO_YIELD);
    busy(&park, 1000);
    CU_ASSERT_EQUAL(tm_idler_next(&park, false, 1001), TM_IDLE_DO_PARK);
}

static void backoff_spins_then_yields_then_parks(void)
{
    struct tm_idler idler = made(TM_IDLE_BACKOFF, 4, 4);
    uint64_t now = busy(&idler, 1000);
    CU_ASSERT_EQUAL(tm_idler_next(&idler, false, now + SPIN - 1), TM_IDLE_DO_SPIN);
    CU_ASSERT_EQUAL(tm_idler_next(&idler, false, now + SPIN), TM_IDLE_DO_YIELD);
    CU_ASSERT_EQUAL(tm_idler_next(&idler, false, now + SPIN + YIELD - 1), TM_IDLE_DO_YIELD);
    CU_ASSERT_EQUAL(tm_idler_next(&idler, false, now + SPIN + YIELD), TM_IDLE_DO_PARK);
}

static void a_crowded_machine_spins_two_microseconds_at_most(void)
{
    struct tm_idler idler = made(TM_IDLE_BACKOFF, 2, 6);
    uint64_t now = busy(&idler, 1000);
    CU_ASSERT_EQUAL(tm_idler_next(&idler, false, now + TM_US(1)), TM_IDLE_DO_SPIN);
    CU_ASSERT_EQUAL(tm_idler_next(&idler, false, now + TM_US(2)), TM_IDLE_DO_YIELD);
}

static void a_worker_at_rest_parks_at_once(void)
{
    struct tm_idler idler = made(TM_IDLE_BACKOFF, 2, 3);
    uint64_t now = busy(&idler, 1000);
    CU_ASSERT_EQUAL(tm_idler_next(&idler, false, now + TM_US(300)), TM_IDLE_DO_PARK);
    tm_idler_woken(&idler, TM_MS(100));
    tm_idler_next(&idler, true, now += TM_MS(100));
    CU_ASSERT_EQUAL(tm_idler_next(&idler, false, now + 100), TM_IDLE_DO_PARK);
    /* A heartbeat and its answer do not change that. */
    tm_idler_woken(&idler, TM_US(90));
    tm_idler_next(&idler, true, now += TM_US(90));
    CU_ASSERT_EQUAL(tm_idler_next(&idler, false, now + 100), TM_IDLE_DO_PARK);
}

static void windows_that_pass_in_vain_are_given_up(void)
{
    struct tm_idler idler = made(TM_IDLE_BACKOFF, 2, 3);
    uint64_t now = busy(&idler, 1000);
    int vain = 0;
    while (tm_idler_next(&idler, false, now + TM_US(50)) != TM_IDLE_DO_PARK && vain < 100) {
        CU_ASSERT_EQUAL(tm_idler_next(&idler, false, now + TM_MS(1)), TM_IDLE_DO_PARK);
        tm_idler_next(&idler, true, now += TM_MS(1));
        vain++;
    }
    CU_ASSERT(vain >= 1 && vain <= 8);
}

static void work_in_the_window_keeps_it_open(void)
{
    struct tm_idler idler = made(TM_IDLE_BACKOFF, 2, 3);
    uint64_t now = busy(&idler, 1000);
    for (int i = 0; i < 100; i++) {
        tm_idler_next(&idler, false, now + 500);
        CU_ASSERT_EQUAL(tm_idler_next(&idler, false, now + TM_US(60)), TM_IDLE_DO_YIELD);
        CU_ASSERT_EQUAL(tm_idler_next(&idler, true, now += TM_US(120)), TM_IDLE_DO_SPIN);
    }
}

/* Turns of work_ns, each after a rest of rest_ns. */
static uint64_t load(struct tm_idler *idler, uint64_t now, uint64_t work_ns, uint64_t rest_ns)
{
    for (int i = 0; i < 200; i++) {
        tm_idler_woken(idler, TM_US(40));
        CU_ASSERT_EQUAL(tm_idler_next(idler, true, now), TM_IDLE_DO_SPIN);
        tm_idler_next(idler, false, now += work_ns);
        now += rest_ns;
    }
    tm_idler_next(idler, true, now);
    return now + 100;
}

static void a_loaded_worker_gives_the_core_to_others_where_it_is_shared(void)
{
    struct tm_idler crowded = made(TM_IDLE_BACKOFF, 2, 3);
    struct tm_idler roomy = made(TM_IDLE_BACKOFF, 3, 3);
    uint64_t now = load(&crowded, 1000, TM_US(30), TM_US(60));
    CU_ASSERT_EQUAL(tm_idler_next(&crowded, false, now), TM_IDLE_DO_PARK);
    load(&roomy, 1000, TM_US(30), TM_US(60));
    CU_ASSERT_EQUAL(tm_idler_next(&roomy, false, now), TM_IDLE_DO_SPIN);
    now = load(&crowded, now, TM_US(20), TM_US(100));
    CU_ASSERT_EQUAL(tm_idler_next(&crowded, false, now), TM_IDLE_DO_SPIN);
}

static const struct tm_test tests[] = {
    TM_TEST(a_loaded_worker_gives_the_core_to_others_where_it_is_shared),
    TM_TEST(auto_backs_off_only_where_workers_outnumber_cores),
    TM_TEST(plain_strategies_keep_to_their_word),
    TM_TEST(backoff_spins_then_yields_then_parks),
    TM_TEST(a_crowded_machine_spins_two_microseconds_at_most),
    TM_TEST(a_worker_at_rest_parks_at_once),
    TM_TEST(windows_that_pass_in_vain_are_given_up),
    TM_TEST(work_in_the_window_keeps_it_open),
};
TM_TEST_MAIN("runtime/idle", tests)
