#include "bench/cost.h"
#include "tests/test.h"

#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void the_program_name_does_not_confuse_the_fields(void)
{
    const char *stat = "77 (a) S 1 (b) R) S 1 77 77 0 -1 4194560 1 2 3 4 250 50 7 8 20 0 1 0 99";
    CU_ASSERT_DOUBLE_EQUAL(tm_cost_parse_pid(stat, 100), 3.0, 1e-9);
    CU_ASSERT(tm_cost_parse_pid("nonsense", 100) < 0);
}

static double cpu_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void spent_cpu_is_seen_for_the_process_and_the_machine(void)
{
    pid_t self = getpid();
    struct tm_cost before, after;
    tm_cost_sample(&before, &self, 1);
    double until = cpu_now() + 0.3;
    while (cpu_now() < until)
        continue;
    tm_cost_sample(&after, &self, 1);
    tm_cost_since(&after, &before);
    CU_ASSERT(after.own_s >= 0.25 && after.own_s < 5);
    CU_ASSERT(after.pid_s[0] >= 0.2);
    CU_ASSERT(fabs(after.pid_s[0] - after.own_s) < 0.1);
    CU_ASSERT(after.busy_s >= 0.2);
}

static void a_process_that_went_away_is_negative(void)
{
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    struct tm_cost before, after;
    tm_cost_sample(&before, &child, 1);
    CU_ASSERT(before.pid_s[0] >= 0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    tm_cost_sample(&after, &child, 1);
    tm_cost_since(&after, &before);
    CU_ASSERT(after.pid_s[0] < 0);
}

static void flushes_are_summed_by_device_name(void)
{
    struct tm_cost before = {.device_count = 2, .device = {{"sda", 10}, {"sdb", 100}}};
    struct tm_cost after = {.device_count = 2, .device = {{"sdb", 103}, {"sda", 14}}};
    tm_cost_since(&after, &before);
    CU_ASSERT_EQUAL(after.device[0].flushes, 3);
    CU_ASSERT_EQUAL(after.device[1].flushes, 4);
    CU_ASSERT_EQUAL(tm_cost_flushes(&after), 7);
}

static const struct tm_test tests[] = {
    TM_TEST(the_program_name_does_not_confuse_the_fields),
    TM_TEST(spent_cpu_is_seen_for_the_process_and_the_machine),
    TM_TEST(a_process_that_went_away_is_negative),
    TM_TEST(flushes_are_summed_by_device_name),
};
TM_TEST_MAIN("bench/cost", tests)
