#include "runtime/cpu.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define PATH_MAX_LEN 1024

static bool read_line(const char *path, char *buf, size_t len)
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    bool ok = fgets(buf, (int)len, f) != NULL;
    fclose(f);
    return ok;
}

static uint64_t milli_of(uint64_t quota_us, uint64_t period_us)
{
    if (period_us == 0 || quota_us == 0)
        return TM_CPU_NO_QUOTA;
    return tm_max_u64(quota_us * 1000 / period_us, 1);
}

/* v2: "max 100000" or "150000 100000". */
static uint64_t level_v2(const char *folder)
{
    char path[PATH_MAX_LEN];
    char line[128];
    unsigned long long quota = 0;
    unsigned long long period = 0;
    int n = snprintf(path, sizeof path, "%s/cpu.max", folder);
    if (n < 0 || (size_t)n >= sizeof path || !read_line(path, line, sizeof line) ||
        sscanf(line, "%llu %llu", &quota, &period) != 2)
        return TM_CPU_NO_QUOTA;
    return milli_of(quota, period);
}

/* v1: cpu.cfs_quota_us is -1 for none. */
static uint64_t level_v1(const char *folder)
{
    char path[PATH_MAX_LEN];
    char line[128];
    int n = snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
    if (n < 0 || (size_t)n >= sizeof path || !read_line(path, line, sizeof line))
        return TM_CPU_NO_QUOTA;
    long long quota = strtoll(line, NULL, 10);
    n = snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
    if (quota <= 0 || n < 0 || (size_t)n >= sizeof path || !read_line(path, line, sizeof line))
        return TM_CPU_NO_QUOTA;
    return milli_of((uint64_t)quota, strtoull(line, NULL, 10));
}

/* The smallest quota from base/path up to base itself.  Levels that are not visible (a container
 * sees only its own) are no limit. */
static uint64_t walk_up(const char *base, const char *group, uint64_t (*level)(const char *))
{
    char folder[PATH_MAX_LEN];
    int n = snprintf(folder, sizeof folder, "%s%s", base, group);
    if (n < 0 || (size_t)n >= sizeof folder)
        return TM_CPU_NO_QUOTA;
    size_t base_len = strlen(base);
    uint64_t least = TM_CPU_NO_QUOTA;
    for (;;) {
        least = tm_min_u64(least, level(folder));
        char *slash = strrchr(folder, '/');
        if (slash == NULL || (size_t)(slash - folder) < base_len || strlen(folder) <= base_len)
            return least;
        *slash = '\0';
    }
}

static bool lists_cpu(const char *controllers)
{
    for (const char *c = controllers; c != NULL; c = strchr(c, ',')) {
        c += *c == ',';
        if (strncmp(c, "cpu", 3) == 0 && (c[3] == ',' || c[3] == '\0'))
            return true;
    }
    return false;
}

/* One line of /proc/self/cgroup: "hierarchy:controllers:/path". */
static uint64_t quota_of_line(const char *mount, char *line)
{
    line[strcspn(line, "\n")] = '\0';
    char *controllers = strchr(line, ':');
    char *group = controllers == NULL ? NULL : strchr(controllers + 1, ':');
    if (group == NULL || group[1] != '/')
        return TM_CPU_NO_QUOTA;
    *controllers++ = '\0';
    *group++ = '\0';
    char base[PATH_MAX_LEN];
    if (*controllers == '\0') {
        uint64_t pure = walk_up(mount, group, level_v2);
        int n = snprintf(base, sizeof base, "%s/unified", mount);
        TM_ASSERT(n > 0 && (size_t)n < sizeof base);
        return tm_min_u64(pure, walk_up(base, group, level_v2));
    }
    if (!lists_cpu(controllers))
        return TM_CPU_NO_QUOTA;
    int n = snprintf(base, sizeof base, "%s/cpu", mount);
    TM_ASSERT(n > 0 && (size_t)n < sizeof base);
    uint64_t least = walk_up(base, group, level_v1);
    n = snprintf(base, sizeof base, "%s/%s", mount, controllers);
    if (n > 0 && (size_t)n < sizeof base)
        least = tm_min_u64(least, walk_up(base, group, level_v1));
    return least;
}

uint64_t tm_cpu_quota_milli(const char *mount, const char *membership)
{
    uint64_t least = TM_CPU_NO_QUOTA;
    char line[PATH_MAX_LEN];
    FILE *f = fopen(membership, "re");
    if (f == NULL)
        return least;
    while (fgets(line, sizeof line, f) != NULL)
        least = tm_min_u64(least, quota_of_line(mount, line));
    fclose(f);
    return least;
}

void tm_cpu_budget_read(struct tm_cpu_budget *budget)
{
    memset(budget, 0, sizeof *budget);
    if (sched_getaffinity(0, sizeof budget->affinity, &budget->affinity) != 0)
        CPU_SET(0, &budget->affinity);
    budget->affine = (unsigned)CPU_COUNT(&budget->affinity);
    budget->quota_milli = tm_cpu_quota_milli("/sys/fs/cgroup", "/proc/self/cgroup");
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
