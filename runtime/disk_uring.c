/* disk_uring.c: files through io_uring.
 *
 * An operation's state lies in its own scratch space, so there is no pool to run out of: `start`
 * prepares the next step of an op (an entry, or two linked ones), `stepped` takes the completion,
 * and either prepares another step (a short write, the second half of SYNC_DIR, O_DIRECT refused)
 * or finishes.  When the ring is full the op waits in a list and is started in a later turn.
 *
 * What the kernels we support cannot do asynchronously (size, truncate) is done at once, and a NOP
 * carries the result, so that `done` never runs inside submit. */
#include "runtime/disk_uring.h"
#include "runtime/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILE_MODE 0600
#define DIR_MODE  0700

/* Overlays tm_disk_op.scratch. */
struct step {
    struct tm_uring_op op;      /* of the step's entry */
    struct tm_uring_op sync_op; /* of the fdatasync linked to a write */
    uint32_t moved;             /* READ and WRITE: bytes so far */
    int32_t held;               /* linked write, TRUNCATE: the result; SYNC_DIR: the folder */
    int32_t synced;             /* linked write: the result of its sync */
    uint8_t pending;            /* linked write: entries in the kernel */
    bool linked;                /* WRITE: with a sync linked to it */
    bool buffered;              /* OPEN: O_DIRECT was refused */
    bool opened;                /* SYNC_DIR: held is open */
    struct tm_disk_uring *disk;
};
TM_STATIC_ASSERT(sizeof(struct step) <= sizeof(((struct tm_disk_op *)0)->scratch),
                 "the state of an operation fits its scratch space");

static struct step *step_of(struct tm_disk_op *op)
{
    return (struct step *)(void *)op->scratch;
}

static bool names_a_file(enum tm_disk_kind kind)
{
    return kind == TM_DISK_OPEN || (kind >= TM_DISK_RENAME && kind <= TM_DISK_SYNC_DIR);
}

static int open_flags(const struct tm_disk_op *op, bool buffered)
{
    int flags = O_CLOEXEC | ((op->flags & TM_DISK_RDONLY) != 0 ? O_RDONLY : O_RDWR);
    if ((op->flags & TM_DISK_CREATE) != 0)
        flags |= O_CREAT;
    if ((op->flags & TM_DISK_EXCL) != 0)
        flags |= O_EXCL;
    if ((op->flags & TM_DISK_DIRECT) != 0 && !buffered)
        flags |= O_DIRECT;
    return flags;
}

/* --- submit ----------------------------------------------------------------------------------- */

static void step_done(struct tm_uring_op *uop, int32_t res, uint32_t cqe_flags);
static void sync_done(struct tm_uring_op *uop, int32_t res, uint32_t cqe_flags);

static void wait_for_room(struct tm_disk_uring *d, struct tm_disk_op *op)
{
    op->next = NULL;
    if (d->waiting_tail != NULL)
        d->waiting_tail->next = op;
    else
        d->waiting_head = op;
    d->waiting_tail = op;
}

static void prep_write(struct tm_disk_uring *d, struct tm_disk_op *op, struct io_uring_sqe *sqe)
{
    struct step *s = step_of(op);
    io_uring_prep_write(sqe, op->file, (uint8_t *)op->buf + s->moved, op->len - s->moved,
                        op->offset + s->moved);
    if ((op->flags & TM_DISK_DSYNC) == 0)
        return;
    if (!s->linked) {
        sqe->rw_flags = RWF_DSYNC;
        return;
    }
    sqe->flags = IOSQE_IO_LINK;
    struct io_uring_sqe *sync = tm_uring_sqe(d->uring, &s->sync_op);
    TM_ASSERT(sync != NULL);
    io_uring_prep_fsync(sync, op->file, IORING_FSYNC_DATASYNC);
}

static void prep_sync_dir(struct tm_disk_uring *d, struct tm_disk_op *op, struct io_uring_sqe *sqe)
{
    struct step *s = step_of(op);
    if (op->name[0] == '\0')
        io_uring_prep_fsync(sqe, d->dir_fd, 0);
    else if (s->opened)
        io_uring_prep_fsync(sqe, s->held, 0);
    else
        io_uring_prep_openat(sqe, d->dir_fd, op->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
}

static void prep(struct tm_disk_uring *d, struct tm_disk_op *op, struct io_uring_sqe *sqe)
{
    struct step *s = step_of(op);
    switch (op->kind) {
    case TM_DISK_OPEN:
        io_uring_prep_openat(sqe, d->dir_fd, op->name, open_flags(op, s->buffered), FILE_MODE);
        break;
    case TM_DISK_CLOSE:
        io_uring_prep_close(sqe, op->file);
        break;
    case TM_DISK_READ:
        io_uring_prep_read(sqe, op->file, (uint8_t *)op->buf + s->moved, op->len - s->moved,
                           op->offset + s->moved);
        break;
    case TM_DISK_WRITE:
        prep_write(d, op, sqe);
        break;
    case TM_DISK_SYNC:
        io_uring_prep_fsync(sqe, op->file, IORING_FSYNC_DATASYNC);
        break;
    case TM_DISK_RENAME:
        io_uring_prep_renameat(sqe, d->dir_fd, op->name, d->dir_fd, op->name2, 0);
        break;
    case TM_DISK_UNLINK:
        io_uring_prep_unlinkat(sqe, d->dir_fd, op->name, 0);
        break;
    case TM_DISK_MKDIR:
        io_uring_prep_mkdirat(sqe, d->dir_fd, op->name, DIR_MODE);
        break;
    case TM_DISK_SYNC_DIR:
        prep_sync_dir(d, op, sqe);
        break;
    case TM_DISK_TRUNCATE:
        s->held = ftruncate(op->file, (off_t)op->offset) == 0 ? 0 : -errno;
        io_uring_prep_nop(sqe);
        break;
    case TM_DISK_SIZE:
        io_uring_prep_nop(sqe); /* measured when it completes: the size takes 64 bits */
        break;
    }
}

static bool start(struct tm_disk_uring *d, struct tm_disk_op *op)
{
    struct step *s = step_of(op);
    s->linked = op->kind == TM_DISK_WRITE && (op->flags & TM_DISK_DSYNC) != 0 &&
                d->dsync == TM_DISK_DSYNC_LINKED;
    s->pending = s->linked ? 2 : 1;
    if (d->uring == NULL || !tm_uring_reserve(d->uring, s->pending))
        return false;
    s->op.done = step_done;
    s->sync_op.done = sync_done;
    struct io_uring_sqe *sqe = tm_uring_sqe(d->uring, &s->op);
    TM_ASSERT(sqe != NULL);
    prep(d, op, sqe);
    return true;
}

static void submit(struct tm_disk *disk, struct tm_disk_op *op)
{
    struct tm_disk_uring *d = disk->host;
    TM_ASSERT(!names_a_file(op->kind) || (op->name != NULL && op->name[0] != '/'));
    memset(op->scratch, 0, sizeof op->scratch);
    step_of(op)->disk = d;
    d->in_flight++;
    if (d->waiting_head != NULL || !start(d, op))
        wait_for_room(d, op);
}

static void finish(struct tm_disk_uring *d, struct tm_disk_op *op, int64_t result)
{
    TM_ASSERT(d->in_flight > 0);
    d->in_flight--;
    op->result = result;
    op->done(op);
}

static void again(struct tm_disk_uring *d, struct tm_disk_op *op)
{
    if (!start(d, op))
        wait_for_room(d, op);
}

/* READ ends at its length or at the end of the file.  A direct read that was cut at the end cannot
 * go on from there: EINVAL then means the end too. */
static void read_stepped(struct tm_disk_uring *d, struct tm_disk_op *op, int32_t res)
{
    struct step *s = step_of(op);
    if (res > 0)
        s->moved += (uint32_t)res;
    if (res > 0 && s->moved < op->len)
        again(d, op);
    else if (res >= 0 || (res == -EINVAL && s->moved > 0))
        finish(d, op, s->moved);
    else
        finish(d, op, res);
}

static void write_stepped(struct tm_disk_uring *d, struct tm_disk_op *op, int32_t res)
{
    struct step *s = step_of(op);
    if (res > 0)
        s->moved += (uint32_t)res;
    if (s->moved == op->len)
        finish(d, op, op->len);
    else if (res > 0)
        again(d, op);
    else
        finish(d, op, res == 0 ? -ENOSPC : res);
}

static void sync_dir_stepped(struct tm_disk_uring *d, struct tm_disk_op *op, int32_t res)
{
    struct step *s = step_of(op);
    if (op->name[0] != '\0' && !s->opened && res >= 0) {
        s->opened = true;
        s->held = res;
        again(d, op);
        return;
    }
    if (s->opened)
        close(s->held);
    finish(d, op, res);
}

static int64_t size_of_file(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? (int64_t)st.st_size : -(int64_t)errno;
}

/* The lock belongs to the open file, which the kernel keeps for operations under way also when the
 * process is gone. */
static int take_alone(int fd, const struct tm_disk_op *op, int wait)
{
    if (fd < 0 || (op->flags & TM_DISK_ALONE) == 0 || flock(fd, LOCK_EX | wait) == 0)
        return fd;
    int result = -errno;
    close(fd);
    return result;
}

static void stepped(struct tm_disk_uring *d, struct tm_disk_op *op, int32_t res)
{
    struct step *s = step_of(op);
    if (res == -EINTR || res == -EAGAIN) {
        again(d, op);
        return;
    }
    switch (op->kind) {
    case TM_DISK_OPEN:
        if (res == -EINVAL && (op->flags & TM_DISK_DIRECT) != 0 && !s->buffered) {
            s->buffered = true;
            again(d, op);
            return;
        }
        finish(d, op, take_alone(res, op, LOCK_NB));
        return;
    case TM_DISK_READ:
        read_stepped(d, op, res);
        return;
    case TM_DISK_WRITE:
        write_stepped(d, op, res);
        return;
    case TM_DISK_SYNC_DIR:
        sync_dir_stepped(d, op, res);
        return;
    case TM_DISK_MKDIR:
        finish(d, op, res == -EEXIST ? 0 : res);
        return;
    case TM_DISK_TRUNCATE:
        finish(d, op, res < 0 ? res : s->held);
        return;
    case TM_DISK_SIZE:
        finish(d, op, res < 0 ? res : size_of_file(op->file));
        return;
    default:
        finish(d, op, res);
    }
}

/* A linked write ends when both entries have: cut short, its sync was cancelled by the kernel. */
static void linked_stepped(struct tm_disk_op *op, int32_t synced)
{
    struct step *s = step_of(op);
    bool whole = s->held > 0 && s->moved + (uint32_t)s->held == op->len;
    stepped(s->disk, op, whole && synced < 0 ? synced : s->held);
}

static void step_done(struct tm_uring_op *uop, int32_t res, uint32_t cqe_flags)
{
    (void)cqe_flags;
    struct step *s = TM_CONTAINER_OF(uop, struct step, op);
    struct tm_disk_op *op = TM_CONTAINER_OF((void *)s, struct tm_disk_op, scratch);
    if (!s->linked) {
        stepped(s->disk, op, res);
        return;
    }
    s->held = res;
    if (--s->pending == 0)
        linked_stepped(op, s->synced);
}

static void sync_done(struct tm_uring_op *uop, int32_t res, uint32_t cqe_flags)
{
    (void)cqe_flags;
    struct step *s = TM_CONTAINER_OF(uop, struct step, sync_op);
    struct tm_disk_op *op = TM_CONTAINER_OF((void *)s, struct tm_disk_op, scratch);
    s->synced = res;
    if (--s->pending == 0)
        linked_stepped(op, res);
}

unsigned tm_disk_uring_poll(struct tm_disk_uring *d)
{
    unsigned started = 0;
    while (d->waiting_head != NULL) {
        struct tm_disk_op *op = d->waiting_head;
        struct tm_disk_op *next = op->next;
        if (!start(d, op))
            break;
        d->waiting_head = next;
        started++;
    }
    if (d->waiting_head == NULL)
        d->waiting_tail = NULL;
    return started;
}

/* --- run: plain system calls ------------------------------------------------------------------ */

static int64_t result_of(int64_t rc)
{
    return rc < 0 ? -(int64_t)errno : rc;
}

static int64_t run_open(struct tm_disk_uring *d, const struct tm_disk_op *op)
{
    int fd = openat(d->dir_fd, op->name, open_flags(op, false), FILE_MODE);
    if (fd < 0 && errno == EINVAL && (op->flags & TM_DISK_DIRECT) != 0)
        fd = openat(d->dir_fd, op->name, open_flags(op, true), FILE_MODE);
    return fd < 0 ? -(int64_t)errno : take_alone(fd, op, 0);
}

static int64_t run_read(const struct tm_disk_op *op)
{
    uint32_t moved = 0;
    while (moved < op->len) {
        ssize_t n = pread(op->file, (uint8_t *)op->buf + moved, op->len - moved,
                          (off_t)(op->offset + moved));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && !(errno == EINVAL && moved > 0))
            return -(int64_t)errno;
        if (n <= 0)
            break;
        moved += (uint32_t)n;
    }
    return moved;
}

static int64_t run_write(const struct tm_disk_op *op)
{
    uint32_t moved = 0;
    while (moved < op->len) {
        ssize_t n = pwrite(op->file, (const uint8_t *)op->buf + moved, op->len - moved,
                           (off_t)(op->offset + moved));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 ? -ENOSPC : -(int64_t)errno;
        moved += (uint32_t)n;
    }
    if ((op->flags & TM_DISK_DSYNC) != 0 && fdatasync(op->file) != 0)
        return -(int64_t)errno;
    return op->len;
}

static int64_t run_sync_dir(struct tm_disk_uring *d, const struct tm_disk_op *op)
{
    if (op->name[0] == '\0')
        return result_of(fsync(d->dir_fd));
    int fd = openat(d->dir_fd, op->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -(int64_t)errno;
    int64_t result = result_of(fsync(fd));
    close(fd);
    return result;
}

static int64_t run_kind(struct tm_disk_uring *d, const struct tm_disk_op *op)
{
    switch (op->kind) {
    case TM_DISK_OPEN:
        return run_open(d, op);
    case TM_DISK_CLOSE:
        return result_of(close(op->file));
    case TM_DISK_READ:
        return run_read(op);
    case TM_DISK_WRITE:
        return run_write(op);
    case TM_DISK_SYNC:
        return result_of(fdatasync(op->file));
    case TM_DISK_TRUNCATE:
        return result_of(ftruncate(op->file, (off_t)op->offset));
    case TM_DISK_RENAME:
        return result_of(renameat(d->dir_fd, op->name, d->dir_fd, op->name2));
    case TM_DISK_UNLINK:
        return result_of(unlinkat(d->dir_fd, op->name, 0));
    case TM_DISK_MKDIR:
        return mkdirat(d->dir_fd, op->name, DIR_MODE) == 0 || errno == EEXIST ? 0 : -errno;
    case TM_DISK_SYNC_DIR:
        return run_sync_dir(d, op);
    case TM_DISK_SIZE:
        return size_of_file(op->file);
    }
    return -EINVAL;
}

static int64_t run(struct tm_disk *disk, struct tm_disk_op *op)
{
    TM_ASSERT(!names_a_file(op->kind) || (op->name != NULL && op->name[0] != '/'));
    op->result = run_kind(disk->host, op);
    return op->result;
}

/* --- list, free_bytes ------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Reads all names of dir into *names (malloc'd, as each name); their number, or a negative errno
 * with what was read so far. */
static int64_t read_names(DIR *dir, char ***names, size_t *count)
{
    size_t room = 0;
    struct dirent *entry;
    while (errno = 0, (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (*count == room) {
            room = room == 0 ? 64 : room * 2;
            char **grown = realloc(*names, room * sizeof(char *));
            if (grown == NULL)
                return -ENOMEM;
            *names = grown;
        }
        if (((*names)[*count] = strdup(entry->d_name)) == NULL)
            return -ENOMEM;
        (*count)++;
    }
    return errno == 0 ? (int64_t)*count : -(int64_t)errno;
}

static int64_t list(struct tm_disk *disk, const char *folder,
                    void (*visit)(void *arg, const char *name), void *arg)
{
    struct tm_disk_uring *d = disk->host;
    const char *path = folder[0] == '\0' ? "." : folder;
    int fd = openat(d->dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        int64_t err = -(int64_t)errno;
        if (fd >= 0)
            close(fd);
        return err;
    }
    char **names = NULL;
    size_t count = 0;
    int64_t result = read_names(dir, &names, &count);
    closedir(dir);
    if (count > 0)
        qsort(names, count, sizeof *names, by_name);
    for (size_t i = 0; i < count; i++) {
        if (result >= 0)
            visit(arg, names[i]);
        free(names[i]);
    }
    free(names);
    return result;
}

static uint64_t free_bytes(struct tm_disk *disk)
{
    struct tm_disk_uring *d = disk->host;
    struct statvfs vfs;
    if (fstatvfs(d->dir_fd, &vfs) != 0)
        return 0;
    return tm_max_u64((uint64_t)vfs.f_bavail * vfs.f_frsize, 1);
}

/* --- probe ------------------------------------------------------------------------------------ */

#define PROBE_NAME   "dsync-probe.tmp"
#define PROBE_BLOCK  4096
#define PROBE_ROUNDS 8

static bool write_durably(int fd, struct iovec *iov, off_t at, enum tm_disk_dsync way)
{
    if (way == TM_DISK_DSYNC_RWF)
        return pwritev2(fd, iov, 1, at, RWF_DSYNC) == PROBE_BLOCK;
    return pwritev(fd, iov, 1, at) == PROBE_BLOCK && fdatasync(fd) == 0;
}

/* Overwrites blocks that are allocated already, in turns, so that a disturbance meets both. */
static int64_t time_both(int fd, uint64_t took[2])
{
    static _Alignas(PROBE_BLOCK) uint8_t block[PROBE_BLOCK];
    struct iovec iov = {.iov_base = block, .iov_len = PROBE_BLOCK};
    errno = EIO; /* of a short write */
    for (int i = -1; i < PROBE_ROUNDS; i++) {
        for (unsigned way = 0; way < 2; way++) {
            uint64_t before = tm_clock_ns();
            if (!write_durably(fd, &iov, (off_t)way * PROBE_BLOCK, (enum tm_disk_dsync)way))
                return -(int64_t)errno;
            if (i >= 0)
                took[way] += tm_clock_ns() - before;
        }
    }
    return 0;
}

int64_t tm_disk_uring_probe(struct tm_disk_uring *d)
{
    struct tm_disk_op op = {
        .kind = TM_DISK_OPEN, .name = PROBE_NAME, .flags = TM_DISK_CREATE | TM_DISK_DIRECT};
    uint64_t took[2] = {0};
    int64_t fd = run_open(d, &op);
    if (fd < 0)
        return fd;
    int64_t result = time_both((int)fd, took);
    close((int)fd);
    unlinkat(d->dir_fd, PROBE_NAME, 0);
    if (result == 0)
        d->dsync = took[0] <= took[1] ? TM_DISK_DSYNC_RWF : TM_DISK_DSYNC_LINKED;
    return result;
}

void tm_disk_uring_init(struct tm_disk_uring *d, struct tm_uring *uring, int dir_fd)
{
    *d = (struct tm_disk_uring){.uring = uring, .dir_fd = dir_fd};
    d->disk = (struct tm_disk){
        .host = d, .submit = submit, .run = run, .list = list, .free_bytes = free_bytes};
}

void tm_disk_uring_attach(struct tm_disk_uring *d, struct tm_uring *uring)
{
    d->uring = uring;
}
