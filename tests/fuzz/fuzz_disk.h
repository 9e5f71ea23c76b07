/* fuzz_disk.h: for targets whose product has a disk: a simulated one, and files written into it. */
#ifndef TM_TESTS_FUZZ_FUZZ_DISK_H
#define TM_TESTS_FUZZ_FUZZ_DISK_H

#include "tests/fuzz/fuzz.h"
#include "tests/sim/sim_disk.h"

/* As fuzz_world_init, with an empty disk, which the caller frees. */
static inline struct tm_sim_disk *fuzz_world_with_disk(struct fuzz_world *w)
{
    struct tm_sim_disk *sd = tm_sim_disk_new(1);
    fuzz_world_init(w);
    w->ctx.disk = tm_sim_disk_table(sd);
    return sd;
}

/* Writes these bytes at `at`, durably, into a file that need not be there.  False: it cannot be
 * opened. */
static inline bool fuzz_overwrite(struct tm_disk *disk, const char *name, uint64_t at,
                                  struct tm_bytes bytes)
{
    int64_t file = tm_disk_run_open(disk, name, TM_DISK_CREATE);
    if (file < 0)
        return false;
    if (bytes.len > 0)
        tm_disk_run_write(disk, (int32_t)file, bytes.data, (uint32_t)bytes.len, at, TM_DISK_DSYNC);
    tm_disk_run_close(disk, (int32_t)file);
    return true;
}

#endif
