#include "runtime/disk.h"

static int64_t run(struct tm_disk *disk, struct tm_disk_op op)
{
    return disk->run(disk, &op);
}

int64_t tm_disk_run_open(struct tm_disk *disk, const char *name, uint32_t flags)
{
    return run(disk, (struct tm_disk_op){.kind = TM_DISK_OPEN, .name = name, .flags = flags});
}

int64_t tm_disk_run_close(struct tm_disk *disk, int32_t file)
{
    return run(disk, (struct tm_disk_op){.kind = TM_DISK_CLOSE, .file = file});
}

int64_t tm_disk_run_read(struct tm_disk *disk, int32_t file, void *buf, uint32_t len,
                         uint64_t offset)
{
    return run(disk,
               (struct tm_disk_op){
                   .kind = TM_DISK_READ, .file = file, .buf = buf, .len = len, .offset = offset});
}

int64_t tm_disk_run_write(struct tm_disk *disk, int32_t file, const void *buf, uint32_t len,
                          uint64_t offset, uint32_t flags)
{
    /* The disk only reads buf for a WRITE; the op has one pointer for both directions. */
    return run(disk, (struct tm_disk_op){.kind = TM_DISK_WRITE,
                                         .file = file,
                                         .buf = (void *)(uintptr_t)buf,
                                         .len = len,
                                         .offset = offset,
                                         .flags = flags});
}

int64_t tm_disk_run_sync(struct tm_disk *disk, int32_t file)
{
    return run(disk, (struct tm_disk_op){.kind = TM_DISK_SYNC, .file = file});
}

int64_t tm_disk_run_size(struct tm_disk *disk, int32_t file)
{
    return run(disk, (struct tm_disk_op){.kind = TM_DISK_SIZE, .file = file});
}

int64_t tm_disk_run_rename(struct tm_disk *disk, const char *name, const char *name2)
{
    return run(disk, (struct tm_disk_op){.kind = TM_DISK_RENAME, .name = name, .name2 = name2});
}

int64_t tm_disk_run_unlink(struct tm_disk *disk, const char *name)
{
    return run(disk, (struct tm_disk_op){.kind = TM_DISK_UNLINK, .name = name});
}

int64_t tm_disk_run_mkdir(struct tm_disk *disk, const char *name)
{
    return run(disk, (struct tm_disk_op){.kind = TM_DISK_MKDIR, .name = name});
}

int64_t tm_disk_run_sync_dir(struct tm_disk *disk, const char *name)
{
    return run(disk, (struct tm_disk_op){.kind = TM_DISK_SYNC_DIR, .name = name});
}
