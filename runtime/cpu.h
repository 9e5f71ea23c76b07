/* cpu.h: how many cores this process may use, and pinning to them.
 *
 * The budget is the smaller of the affinity mask and the quota of the control groups
 * (runtime/cgroup.h), never the number of online CPUs.  Boot code; may block on /proc and /sys. */
#ifndef TM_RUNTIME_CPU_H
#define TM_RUNTIME_CPU_H

#include <sched.h>

#include "runtime/base.h"

#define TM_CPU_NO_QUOTA UINT64_MAX /* TM_CGROUP_NO_LIMIT */

struct tm_cpu_budget {
    cpu_set_t affinity;   /* of the calling thread when measured */
    unsigned affine;      /* CPUs in it, at least 1 */
    uint64_t quota_milli; /* thousandths of a core; TM_CPU_NO_QUOTA if none */
    unsigned cores;       /* min(affine, quota rounded up), at least 1 */
};

/* Measures.  What cannot be read counts as no limit. */
void tm_cpu_budget_read(struct tm_cpu_budget *budget);

/* The quota in thousandths of a core, read below `mount` (normally "/sys/fs/cgroup") for the
 * cgroups that `membership` (normally "/proc/self/cgroup") lists; the smallest of all levels. */
uint64_t tm_cpu_quota_milli(const char *mount, const char *membership);

/* The number of the n-th CPU of the affinity mask, counted round: n may be any. */
int tm_cpu_nth(const struct tm_cpu_budget *budget, unsigned n);

/* Pins the calling thread to cpu.  TM_ERR_INVALID if this process may not run there. */
enum tm_err tm_cpu_pin(int cpu);

#endif
