#include "runtime/cgroup.h"

#include <stdio.h>

bool tm_cgroup_line(const char *folder, const char *file, char *line, size_t size)
{
    char path[TM_CGROUP_PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *f = n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;
    if (f == NULL)
        return false;
    bool ok = fgets(line, (int)size, f) != NULL;
    fclose(f);
    if (ok)
        line[strcspn(line, "\n")] = '\0';
    return ok;
}

/* The least limit from mount/sub/group up to mount/sub itself. */
static uint64_t walk_up(const char *mount, const char *sub, const char *group,
                        tm_cgroup_level_fn *level)
{
    char folder[TM_CGROUP_PATH_MAX];
    int n = snprintf(folder, sizeof folder, "%s%s%s", mount, sub, group);
    if (n < 0 || (size_t)n >= sizeof folder)
        return TM_CGROUP_NO_LIMIT;
    size_t base = strlen(mount) + strlen(sub);
    uint64_t least = TM_CGROUP_NO_LIMIT;
    for (;;) {
        least = tm_min_u64(least, level(folder));
        char *slash = strrchr(folder, '/');
        if (slash == NULL || (size_t)(slash - folder) < base)
            return least;
        *slash = '\0';
    }
}

static bool lists(const char *controllers, const char *controller)
{
    size_t len = strlen(controller);
    for (const char *c = controllers; c != NULL; c = strchr(c, ',')) {
        c += *c == ',';
        if (strncmp(c, controller, len) == 0 && (c[len] == ',' || c[len] == '\0'))
            return true;
    }
    return false;
}

/* A v1 hierarchy is mounted under all its controllers' names, and under each. */
static uint64_t least_v1(const char *mount, const char *controllers, const char *controller,
                         const char *group, tm_cgroup_level_fn *level)
{
    char sub[TM_CGROUP_PATH_MAX];
    snprintf(sub, sizeof sub, "/%s", controllers);
    uint64_t together = walk_up(mount, sub, group, level);
    snprintf(sub, sizeof sub, "/%s", controller);
    return tm_min_u64(together, walk_up(mount, sub, group, level));
}

uint64_t tm_cgroup_least(const char *mount, const char *membership, const char *controller,
                         tm_cgroup_level_fn *level_v2, tm_cgroup_level_fn *level_v1)
{
    uint64_t least = TM_CGROUP_NO_LIMIT;
    char line[TM_CGROUP_PATH_MAX]; /* "hierarchy:controllers:/path" */
    FILE *f = fopen(membership, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (group == NULL || group[1] != '/')
            continue;
        *controllers++ = '\0';
        *group++ = '\0';
        if (*controllers == '\0') {
            least = tm_min_u64(least, walk_up(mount, "", group, level_v2));
            least = tm_min_u64(least, walk_up(mount, "/unified", group, level_v2));
        } else if (lists(controllers, controller)) {
            least = tm_min_u64(least, least_v1(mount, controllers, controller, group, level_v1));
        }
    }
    if (f != NULL)
        fclose(f);
    return least;
}
