/* Memory and CPUs of this machine, divided among nodes. */
#include "tools/machine.h"
#include "runtime/cgroup.h"

#include <stdlib.h>
#include <unistd.h>

/* "5000000" or "max". */
static uint64_t limit_in(const char *folder, const char *file)
{
    char line[64], *end;
    if (!tm_cgroup_line(folder, file, line, sizeof line))
        return TM_CGROUP_NO_LIMIT;
    uint64_t limit = strtoull(line, &end, 10);
    return end == line ? TM_CGROUP_NO_LIMIT : limit;
}

static uint64_t limit_v2(const char *folder)
{
    return limit_in(folder, "memory.max");
}

static uint64_t limit_v1(const char *folder)
{
    return limit_in(folder, "memory.limit_in_bytes");
}

uint64_t tm_machine_cgroup_memory(const char *mount, const char *membership)
{
    return tm_cgroup_least(mount, membership, "memory", limit_v2, limit_v1);
}

uint64_t tm_machine_memory(void)
{
    uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    return tm_min_u64(all, tm_machine_cgroup_memory(TM_CGROUP_MOUNT, TM_CGROUP_MEMBERSHIP));
}

uint64_t tm_machine_memory_share(unsigned nodes)
{
    return tm_machine_memory() / 10 * 6 / nodes;
}

void tm_machine_cpus(const struct tm_cpu_budget *budget, unsigned first, unsigned workers,
                     unsigned shared, cpu_set_t *out)
{
    CPU_ZERO(out);
    for (unsigned n = 0; n < budget->affine; n++)
        if ((n >= first && n < first + workers) || n >= shared)
            CPU_SET((size_t)tm_cpu_nth(budget, n), out);
}
