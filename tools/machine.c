/* Memory and CPUs of this machine, divided among nodes.
 *
 * A container sees its own cgroup at the root of the mount, a service sees it further down: each
 * level from the process's group up to the mount is read, and the least limit counts.  A file that
 * cannot be read sets no limit. */
#include "tools/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PATH_LEN 1024

/* The number in base/group/file; UINT64_MAX if there is none, or "max". */
static uint64_t limit_in(const char *folder, const char *file)
{
    char path[PATH_LEN + 64], line[64];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return UINT64_MAX;
    char *end = line;
    uint64_t limit = fgets(line, sizeof line, f) != NULL ? strtoull(line, &end, 10) : 0;
    fclose(f);
    return end == line ? UINT64_MAX : limit;
}

/* The least limit from mount/sub/group up to mount/sub. */
static uint64_t walk_up(const char *mount, const char *sub, const char *group, const char *file)
{
    char folder[PATH_LEN];
    int n = snprintf(folder, sizeof folder, "%s%s%s", mount, sub, group);
    if (n < 0 || (size_t)n >= sizeof folder)
        return UINT64_MAX;
    size_t base = strlen(mount) + strlen(sub);
    uint64_t least = UINT64_MAX;
    for (;;) {
        least = tm_min_u64(least, limit_in(folder, file));
        char *slash = strrchr(folder, '/');
        if (slash == NULL || (size_t)(slash - folder) < base)
            return least;
        *slash = '\0';
    }
}

uint64_t tm_machine_cgroup_memory(const char *mount, const char *membership)
{
    uint64_t least = UINT64_MAX;
    char line[PATH_LEN];
    FILE *f = fopen(membership, "re");
    if (f == NULL)
        return least;
    while (fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (group == NULL)
            continue;
        *group++ = '\0';
        controllers++;
        if (*controllers == '\0') {
            least = tm_min_u64(least, walk_up(mount, "", group, "memory.max"));
            least = tm_min_u64(least, walk_up(mount, "/unified", group, "memory.max"));
        } else if (strstr(controllers, "memory") != NULL) {
            least = tm_min_u64(least, walk_up(mount, "/memory", group, "memory.limit_in_bytes"));
        }
    }
    fclose(f);
    return least;
}

uint64_t tm_machine_memory(void)
{
    uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    return tm_min_u64(all, tm_machine_cgroup_memory("/sys/fs/cgroup", "/proc/self/cgroup"));
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
