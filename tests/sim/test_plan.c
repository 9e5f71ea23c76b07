/* What a seed draws stays within what the product takes, and reaches what the rules speak of. */
#include "tests/sim/sim_plan.h"
#include "tests/test.h"

#define SEEDS 2000

static void an_eventual_cluster_has_a_window_of_its_own(void)
{
    struct tm_options usual;
    unsigned eventual = 0, least_bytes = 0, most_bytes = 0, shortest = 0, longest = 0;
    tm_options_init(&usual);
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct tm_sim_plan plan;
        tm_sim_plan_draw(&plan, seed, TM_SECONDS(60));
        const struct tm_options *o = &plan.cluster.options;
        if (!plan.cluster.eventual) {
            CU_ASSERT_EQUAL(o->async_window_bytes, usual.async_window_bytes);
            CU_ASSERT_EQUAL(o->async_window_ms, usual.async_window_ms);
            continue;
        }
        eventual++;
        CU_ASSERT(o->async_window_bytes >= tm_max_u64(TM_KIB(64), o->async_batch_bytes));
        CU_ASSERT(o->async_window_bytes <= TM_MIB(16));
        CU_ASSERT(o->async_window_ms >= 100 && o->async_window_ms <= 10000);
        least_bytes += o->async_window_bytes == TM_KIB(64);
        most_bytes += o->async_window_bytes == TM_MIB(16);
        shortest += o->async_window_ms == 100;
        longest += o->async_window_ms == 10000;
    }
    CU_ASSERT(eventual > SEEDS / 12 && eventual < SEEDS / 4);
    CU_ASSERT(least_bytes > 0 && most_bytes > 0 && shortest > 0 && longest > 0);
}

static void a_seed_draws_the_same_twice(void)
{
    for (uint64_t seed = 0; seed < SEEDS / 10; seed++) {
        struct tm_sim_plan a, b;
        char text[2][1024];
        tm_sim_plan_draw(&a, seed, TM_SECONDS(60));
        tm_sim_plan_draw(&b, seed, TM_SECONDS(60));
        tm_sim_plan_text(&a, text[0], sizeof text[0]);
        tm_sim_plan_text(&b, text[1], sizeof text[1]);
        CU_ASSERT_STRING_EQUAL(text[0], text[1]);
        CU_ASSERT_EQUAL(a.faults.seed, b.faults.seed);
    }
}

static const struct tm_test tests[] = {
    TM_TEST(an_eventual_cluster_has_a_window_of_its_own),
    TM_TEST(a_seed_draws_the_same_twice),
};

TM_TEST_MAIN("sim/plan", tests)
