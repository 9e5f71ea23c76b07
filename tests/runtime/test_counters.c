#include "runtime/counters.h"
#include "test.h"

#include <ctype.h>
#include <stdalign.h>

static alignas(TM_CACHE_PAIR) uint8_t memory[64 * 1024];

static void every_counter_is_named_once_and_explained(void)
{
    for (unsigned i = 0; i < TM_COUNTER_COUNT; i++) {
        const char *name = tm_counter_name((enum tm_counter)i);
        CU_ASSERT_EQUAL(tm_counter_find(name), i);
        CU_ASSERT(strlen(tm_counter_text((enum tm_counter)i)) > 3);
        CU_ASSERT(strlen(tm_counter_unit((enum tm_counter)i)) > 0);
        for (const char *c = name; *c != '\0'; c++)
            CU_ASSERT(islower((unsigned char)*c) || isdigit((unsigned char)*c) || *c == '_');
    }
    CU_ASSERT_EQUAL(tm_counter_find("no such"), TM_COUNTER_COUNT);
}

static void a_node_sums_its_workers_and_takes_the_largest_peak(void)
{
    struct tm_counters_table *table = NULL;
    CU_ASSERT(tm_counters_footprint(3) <= sizeof memory);
    CU_ASSERT_PTR_NOT_NULL_FATAL(tm_counters_new(memory, 3));
    CU_ASSERT_EQUAL_FATAL(tm_counters_join(&table, memory, sizeof memory), TM_OK);
    for (unsigned w = 0; w < 3; w++) {
        struct tm_counters *c = tm_counters_worker(table, w);
        CU_ASSERT_EQUAL((uintptr_t)c % TM_CACHE_PAIR, 0);
        tm_counter_add(c, TM_COUNTER_commits, 10);
        tm_counter_add(c, TM_COUNTER_commits, w);
        tm_counter_set(c, TM_COUNTER_clients, 5);
        tm_counter_sub(c, TM_COUNTER_clients, w);
        tm_counter_peak(c, TM_COUNTER_turn_max_us, 100 * (w + 1));
        tm_counter_peak(c, TM_COUNTER_turn_max_us, 7);
    }
    CU_ASSERT_EQUAL(tm_counters_read(table, TM_COUNTER_commits), 33);
    CU_ASSERT_EQUAL(tm_counters_read(table, TM_COUNTER_clients), 12);
    CU_ASSERT_EQUAL(tm_counters_read(table, TM_COUNTER_turn_max_us), 300);
    CU_ASSERT_EQUAL(tm_counters_read(table, TM_COUNTER_replies), 0);
    CU_ASSERT_EQUAL(tm_counter_get(tm_counters_worker(table, 1), TM_COUNTER_commits), 11);
    CU_ASSERT_PTR_EQUAL(tm_counters_leave(table), memory);
}

static void another_builds_table_is_not_misread(void)
{
    struct tm_counters_table *table = NULL;
    tm_counters_new(memory, 2);
    CU_ASSERT_EQUAL(tm_counters_join(&table, memory, tm_counters_footprint(2) - 1), TM_ERR_INVALID);
    ((struct tm_counters_table *)(void *)memory)->names_hash ^= 1;
    CU_ASSERT_EQUAL(tm_counters_join(&table, memory, sizeof memory), TM_ERR_VERSION);
    CU_ASSERT_PTR_EQUAL(tm_counters_delete(memory), memory);
    CU_ASSERT_EQUAL(tm_counters_join(&table, memory, sizeof memory), TM_ERR_INVALID);
    CU_ASSERT_PTR_NULL(tm_counters_delete(memory));
    CU_ASSERT_EQUAL(tm_counters_footprint(0), 0);
    CU_ASSERT_EQUAL(tm_counters_footprint(65), 0);
}

static const struct tm_test tests[] = {
    TM_TEST(every_counter_is_named_once_and_explained),
    TM_TEST(a_node_sums_its_workers_and_takes_the_largest_peak),
    TM_TEST(another_builds_table_is_not_misread),
};
TM_TEST_MAIN("runtime/counters", tests)
