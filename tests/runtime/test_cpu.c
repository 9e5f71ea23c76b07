#include "runtime/cpu.h"
#include "tests/scratch.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *root;

static void put(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *p = path + strlen(root) + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        mkdir(path, 0700);
        *p = '/';
    }
    FILE *f = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fputs(text, f);
    fclose(f);
}

static void begin(const char *membership)
{
    root = tm_scratch();
    put("self", membership);
}

static uint64_t quota(void)
{
    char path[256];
    snprintf(path, sizeof path, "%s/self", root);
    return tm_cpu_quota_milli(root, path);
}

static void v2_takes_the_smallest_quota_of_all_levels(void)
{
    begin("0::/a/b\n");
    put("a/b/cpu.max", "400000 100000\n");
    put("a/cpu.max", "150000 100000\n");
    CU_ASSERT_EQUAL(quota(), 1500);
}

static void v2_max_is_no_quota(void)
{
    begin("0::/a\n");
    put("a/cpu.max", "max 100000\n");
    CU_ASSERT_EQUAL(quota(), TM_CPU_NO_QUOTA);
}

static void a_container_that_sees_only_its_own_level_reads_that(void)
{
    begin("0::/docker/0123\n");
    put("cpu.max", "50000 100000\n");
    CU_ASSERT_EQUAL(quota(), 500);
}

static void v1_reads_the_cpu_hierarchy_only(void)
{
    begin("5:cpuset:/c\n4:cpu,cpuacct:/g\n");
    put("cpu,cpuacct/g/cpu.cfs_quota_us", "250000\n");
    put("cpu,cpuacct/g/cpu.cfs_period_us", "100000\n");
    put("cpuset/c/cpu.cfs_quota_us", "1000\n");
    put("cpuset/c/cpu.cfs_period_us", "100000\n");
    CU_ASSERT_EQUAL(quota(), 2500);
}

static void v1_minus_one_is_no_quota(void)
{
    begin("4:cpu:/g\n");
    put("cpu/g/cpu.cfs_quota_us", "-1\n");
    put("cpu/g/cpu.cfs_period_us", "100000\n");
    CU_ASSERT_EQUAL(quota(), TM_CPU_NO_QUOTA);
}

static void damaged_files_are_no_limit(void)
{
    begin("nonsense\n0:\n::\n0::/a\n");
    put("a/cpu.max", "-5 0\n");
    CU_ASSERT_EQUAL(quota(), TM_CPU_NO_QUOTA);
    CU_ASSERT_EQUAL(tm_cpu_quota_milli("/nowhere", "/nowhere/at/all"), TM_CPU_NO_QUOTA);
}

static void *pin_thread(void *arg)
{
    struct tm_cpu_budget *budget = arg;
    int cpu = tm_cpu_nth(budget, budget->affine + 1);
    CU_ASSERT_EQUAL(cpu, tm_cpu_nth(budget, 1));
    CU_ASSERT_EQUAL(tm_cpu_pin(cpu), TM_OK);
    struct tm_cpu_budget after;
    tm_cpu_budget_read(&after);
    CU_ASSERT_EQUAL(after.affine, 1);
    CU_ASSERT_EQUAL(after.cores, 1);
    CU_ASSERT_EQUAL(tm_cpu_nth(&after, 7), cpu);
    CU_ASSERT_EQUAL(tm_cpu_pin(-1), TM_ERR_INVALID);
    return NULL;
}

static void the_budget_follows_the_affinity_of_the_thread(void)
{
    struct tm_cpu_budget budget;
    tm_cpu_budget_read(&budget);
    CU_ASSERT_EQUAL(budget.affine, (unsigned)CPU_COUNT(&budget.affinity));
    CU_ASSERT(budget.cores >= 1 && budget.cores <= budget.affine);
    pthread_t thread;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, pin_thread, &budget), 0);
    pthread_join(thread, NULL);
}

static const struct tm_test tests[] = {
    TM_TEST(v2_takes_the_smallest_quota_of_all_levels),
    TM_TEST(v2_max_is_no_quota),
    TM_TEST(a_container_that_sees_only_its_own_level_reads_that),
    TM_TEST(v1_reads_the_cpu_hierarchy_only),
    TM_TEST(v1_minus_one_is_no_quota),
    TM_TEST(damaged_files_are_no_limit),
    TM_TEST(the_budget_follows_the_affinity_of_the_thread),
};
TM_TEST_MAIN("runtime/cpu", tests)
