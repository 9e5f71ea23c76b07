/* machine.h: what one node may take of this machine when several are started on it.  Boot code; may
 * block on /proc and /sys. */
#ifndef TM_TOOLS_MACHINE_H
#define TM_TOOLS_MACHINE_H

#include "runtime/cpu.h"

/* Bytes of memory that this process may use: what the machine has, or the smallest limit of its
 * cgroups (v1 and v2) if that is less. */
uint64_t tm_machine_memory(void);

/* The same with the limits of the cgroups that `membership` ("/proc/self/cgroup") lists, read below
 * `mount` ("/sys/fs/cgroup"); UINT64_MAX if they set none. */
uint64_t tm_machine_cgroup_memory(const char *mount, const char *membership);

/* What --memory-limit 0 means for one of `nodes` nodes: 60 % of that, divided. */
uint64_t tm_machine_memory_share(unsigned nodes);

/* The CPUs for one of several nodes that fit on the machine together: `workers` CPUs of its own,
 * the budget's number `first` and the following, and those from number `shared` on, which no
 * worker was given. */
void tm_machine_cpus(const struct tm_cpu_budget *budget, unsigned first, unsigned workers,
                     unsigned shared, cpu_set_t *out);

#endif
