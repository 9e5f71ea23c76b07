/* The index of a log against plain arrays. */
#include "storage/log_index.h"

#include "tests/storage/store_env.h"

#define MAX 20000

static uint64_t places[MAX], terms[MAX];

static void check(const struct tm_log_index *x, uint64_t first, uint64_t next)
{
    CU_ASSERT_FATAL(x->first == first && x->next == next);
    for (uint64_t i = first; i < next; i++) {
        CU_ASSERT_FATAL(tm_log_index_at(x, i)->place == places[i]);
        CU_ASSERT_FATAL(tm_log_index_term(x, i) == terms[i]);
    }
}

static void it_says_what_was_pushed_through_cuts_and_drops(void)
{
    struct store_env env;
    env_init(&env, tm_test_seed());
    for (unsigned round = 0; round < 10; round++) {
        struct tm_log_index x = {0};
        uint64_t first = 1 + env_below(&env, 1000), next = first, term = 1;
        tm_log_index_reset(&x, first);
        for (unsigned step = 0; step < 400; step++) {
            uint64_t what = env_below(&env, 100), span = next - first;
            for (uint64_t n = env_below(&env, 60); what < 70 && n > 0 && next < MAX; n--) {
                term += env_chance(&env, 3);
                places[next] = env_random(&env);
                terms[next] = env_chance(&env, 5) ? 0 : term;
                CU_ASSERT_FATAL(tm_log_index_reserve(&x) == TM_OK);
                tm_log_index_push(&x, (struct tm_log_entry){places[next], 1}, terms[next]);
                next++;
            }
            if (what >= 70 && what < 78) {
                next = first + env_below(&env, span + 1);
                tm_log_index_cut(&x, next);
            } else if (what >= 78 && what < 85) {
                first += env_below(&env, span + 1);
                tm_log_index_drop(&x, first);
            } else if (what >= 85 && span > 0) {
                uint64_t i = first + env_below(&env, span);
                if (terms[i] == 0) {
                    terms[i] = 1 + env_below(&env, term);
                    CU_ASSERT_FATAL(tm_log_index_set_term(&x, i, terms[i]) == TM_OK);
                }
            }
            if (step % 20 == 0)
                check(&x, first, next);
        }
        check(&x, first, next);
        tm_log_index_free(&x);
    }
    env_done(&env);
}

static void a_repaired_range_becomes_one_run_again(void)
{
    struct tm_log_index x = {0};
    tm_log_index_reset(&x, 1);
    for (uint64_t i = 1; i <= 100; i++) {
        CU_ASSERT_FATAL(tm_log_index_reserve(&x) == TM_OK);
        tm_log_index_push(&x, (struct tm_log_entry){i, i}, i >= 40 && i < 60 ? 0 : 7);
    }
    CU_ASSERT(x.run_count == 3);
    for (uint64_t i = 40; i < 60; i++)
        CU_ASSERT(tm_log_index_set_term(&x, i, 7) == TM_OK);
    CU_ASSERT(x.run_count <= 2);
    for (uint64_t i = 1; i <= 100; i++)
        CU_ASSERT(tm_log_index_term(&x, i) == 7);
    tm_log_index_free(&x);
}

static const struct tm_test tests[] = {
    TM_TEST(it_says_what_was_pushed_through_cuts_and_drops),
    TM_TEST(a_repaired_range_becomes_one_run_again),
};

TM_TEST_MAIN("storage/log_index", tests)
