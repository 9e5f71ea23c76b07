#include "runtime/cpu.h"

#include "runtime/cgroup.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t milli_of(uint64_t quota_us, uint64_t period_us)
{
    if (period_us == 0 || quota_us == 0)
        return TM_CPU_NO_QUOTA;
    return tm_max_u64(quota_us * 1000 / period_us, 1);
}

/* "max 100000" or "150000 100000". */
static uint64_t quota_v2(const char *folder)
{
    char line[128];
    unsigned long long quota = 0;
    unsigned long long period = 0;
    if (!tm_cgroup_line(folder, "cpu.max", line, sizeof line) ||
        sscanf(line, "%llu %llu", &quota, &period) != 2)
        return TM_CPU_NO_QUOTA;
    return milli_of(quota, period);
}

/* cpu.cfs_quota_us is -1 for none. */
static uint64_t quota_v1(const char *folder)
{
    char line[128];
    if (!tm_cgroup_line(folder, "cpu.cfs_quota_us", line, sizeof line))
        return TM_CPU_NO_QUOTA;
    long long quota = strtoll(line, NULL, 10);
    if (quota <= 0 || !tm_cgroup_line(folder, "cpu.cfs_period_us", line, sizeof line))
        return TM_CPU_NO_QUOTA;
    return milli_of((uint64_t)quota, strtoull(line, NULL, 10));
}

uint64_t tm_cpu_quota_milli(const char *mount, const char *membership)
{
    return tm_cgroup_least(mount, membership, "cpu", quota_v2, quota_v1);
}

void tm_cpu_budget_read(struct tm_cpu_budget *budget)
{
    memset(budget, 0, sizeof *budget);
    if (sched_getaffinity(0, sizeof budget->affinity, &budget->affinity) != 0)
        CPU_SET(0, &budget->affinity);
    budget->affine = (unsigned)CPU_COUNT(&budget->affinity);
    budget->quota_milli = tm_cpu_quota_milli(TM_CGROUP_MOUNT, TM_CGROUP_MEMBERSHIP);
    budget->cores = budget->affine;
    if (budget->quota_milli < (uint64_t)budget->affine * 1000)
        budget->cores = (unsigned)((budget->quota_milli + 999) / 1000);
    TM_ASSERT(budget->affine >= 1 && budget->cores >= 1);
}

int tm_cpu_nth(const struct tm_cpu_budget *budget, unsigned n)
{
    n %= budget->affine;
    size_t cpu = 0;
    while (!CPU_ISSET(cpu, &budget->affinity) || n-- > 0) {
        cpu++;
        TM_ASSERT(cpu < CPU_SETSIZE);
    }
    return (int)cpu;
}

enum tm_err tm_cpu_pin(int cpu)
{
    if (cpu < 0 || cpu >= CPU_SETSIZE)
        return TM_ERR_INVALID;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    return tm_err_from_errno(pthread_setaffinity_np(pthread_self(), sizeof set, &set));
}
