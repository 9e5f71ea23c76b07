#include "tools/machine.h"
#include "tests/scratch.h"

#include <sys/stat.h>
#include <unistd.h>

static const char *dir;

static void put(const char *path, const char *text)
{
    char full[256];
    snprintf(full, sizeof full, "%s/%s", dir, path);
    for (char *slash = strchr(full + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(full, 0755);
        *slash = '/';
    }
    FILE *f = fopen(full, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fputs(text, f);
    fclose(f);
}

static uint64_t limit(const char *membership)
{
    char file[96];
    put("membership", membership);
    snprintf(file, sizeof file, "%s/membership", dir);
    return tm_machine_cgroup_memory(dir, file);
}

static void begin(void)
{
    dir = tm_scratch();
}

static void the_least_limit_of_all_levels_counts(void)
{
    begin();
    put("a/b/memory.max", "max\n");
    put("a/memory.max", "5000000\n");
    CU_ASSERT_EQUAL(limit("0::/a/b\n"), 5000000);
    put("memory.max", "4000000\n");
    CU_ASSERT_EQUAL(limit("0::/a/b\n"), 4000000);
    CU_ASSERT_EQUAL(limit("0::/elsewhere/seen/from/outside\n"), 4000000);
}

static void version_1_is_read_too(void)
{
    begin();
    put("memory/x/memory.limit_in_bytes", "777777\n");
    CU_ASSERT_EQUAL(limit("4:memory:/x\n3:cpu,cpuacct:/x\n"), 777777);
    CU_ASSERT_EQUAL(limit("3:cpu,cpuacct:/x\n"), UINT64_MAX);
}

static void no_cgroup_is_no_limit(void)
{
    begin();
    CU_ASSERT_EQUAL(limit("0::/\n"), UINT64_MAX);
    CU_ASSERT_EQUAL(tm_machine_cgroup_memory(dir, "/nonexistent"), UINT64_MAX);
    CU_ASSERT(tm_machine_memory() > TM_MIB(64));
    CU_ASSERT(tm_machine_memory_share(3) <= tm_machine_memory() / 5);
}

static void nodes_get_disjoint_cpus_and_share_what_is_left(void)
{
    struct tm_cpu_budget budget = {.affine = 8, .cores = 8, .quota_milli = TM_CPU_NO_QUOTA};
    for (size_t cpu = 2; cpu < 10; cpu++)
        CPU_SET(cpu, &budget.affinity);
    cpu_set_t a, b, both;
    tm_machine_cpus(&budget, 0, 2, 6, &a);
    tm_machine_cpus(&budget, 2, 2, 6, &b);
    CU_ASSERT_EQUAL(CPU_COUNT(&a), 4);
    CU_ASSERT(CPU_ISSET(2, &a) && CPU_ISSET(3, &a) && CPU_ISSET(8, &a) && CPU_ISSET(9, &a));
    CU_ASSERT(CPU_ISSET(4, &b) && CPU_ISSET(5, &b));
    CPU_AND(&both, &a, &b);
    CU_ASSERT_EQUAL(CPU_COUNT(&both), 2);
    tm_machine_cpus(&budget, 4, 4, 8, &a);
    CU_ASSERT_EQUAL(CPU_COUNT(&a), 4);
}

static const struct tm_test tests[] = {
    TM_TEST(the_least_limit_of_all_levels_counts),
    TM_TEST(version_1_is_read_too),
    TM_TEST(no_cgroup_is_no_limit),
    TM_TEST(nodes_get_disjoint_cpus_and_share_what_is_left),
};
TM_TEST_MAIN("tools/machine", tests)
