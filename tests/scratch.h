/* scratch.h: folders for a test, removed with all they hold when the program ends. */
#ifndef TM_TESTS_SCRATCH_H
#define TM_TESTS_SCRATCH_H

#include <ftw.h>
#include <unistd.h>

#include "test.h"

static char tm_scratch_made[64][32];
static unsigned tm_scratch_count;
static pid_t tm_scratch_owner; /* what a child of it leaves by exit stays */

static int tm_scratch_remove(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static void tm_scratch_end(void)
{
    while (tm_scratch_count > 0 && tm_scratch_owner == getpid())
        nftw(tm_scratch_made[--tm_scratch_count], tm_scratch_remove, 8, FTW_DEPTH | FTW_PHYS);
}

/* Makes a new folder; its path stays valid. */
static inline const char *tm_scratch(void)
{
    if (tm_scratch_count == 0)
        atexit(tm_scratch_end);
    tm_scratch_owner = getpid();
    CU_ASSERT_FATAL(tm_scratch_count < sizeof tm_scratch_made / sizeof tm_scratch_made[0]);
    char *path = tm_scratch_made[tm_scratch_count++];
    snprintf(path, sizeof tm_scratch_made[0], "/tmp/tidemill-test-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(path));
    return path;
}

#endif
