/* cgroup.h: the limits of the control groups a process lives in, v1 and v2.
 *
 * A container sees its own group at the root of the mount, a service sees its further down: each
 * level from the process's group up to the mount is asked, and the least answer counts.  What
 * cannot be read is no limit.  Boot code; blocks on /proc and /sys. */
#ifndef TM_RUNTIME_CGROUP_H
#define TM_RUNTIME_CGROUP_H

#include "runtime/base.h"

#define TM_CGROUP_MOUNT      "/sys/fs/cgroup"
#define TM_CGROUP_MEMBERSHIP "/proc/self/cgroup"
#define TM_CGROUP_NO_LIMIT   UINT64_MAX
#define TM_CGROUP_PATH_MAX   1024

/* What one folder of a hierarchy says; TM_CGROUP_NO_LIMIT: nothing. */
typedef uint64_t tm_cgroup_level_fn(const char *folder);

/* The least limit of all levels of the groups that the file `membership` lists, read below `mount`:
 * v2 is asked by level_v2, the v1 hierarchy of `controller` ("cpu", "memory") by level_v1. */
uint64_t tm_cgroup_least(const char *mount, const char *membership, const char *controller,
                         tm_cgroup_level_fn *level_v2, tm_cgroup_level_fn *level_v1);

/* The first line of folder/file, without its newline; false: there is none. */
bool tm_cgroup_line(const char *folder, const char *file, char *line, size_t size);

#endif
