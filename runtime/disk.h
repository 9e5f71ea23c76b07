/* disk.h: the files of one node's data directory, as an actor sees them.
 *
 * A tm_disk is a function table; behind it stands io_uring (runtime/disk_uring.h) or the
 * simulator's disk.  Operations are asynchronous: fill a tm_disk_op, submit it, and `done` is
 * called on the same thread in a later turn, never from inside submit.  The caller owns the op and
 * its buffer and keeps both untouched until `done`.  Operations in flight are not ordered among
 * each other: who needs an order waits for `done`.  At boot, before the worker's loop runs, the
 * same operation can be run to its end with `run`.
 *
 * Names are relative to the data directory, without ".." ("wal/0-000017.seg").  Durable means:
 * after SYNC (or WRITE with TM_DISK_DSYNC) returned 0, the bytes survive power loss; a new name,
 * a rename and an unlink survive after SYNC_DIR of their folder.
 *
 * Errors: result is a negative errno.  After EIO from a write or a sync nothing is known of the
 * bytes: never retry (docs/PROTOCOL.md, Log and disk).  A short write does not occur: it is
 * continued or becomes ENOSPC. */
#ifndef TM_RUNTIME_DISK_H
#define TM_RUNTIME_DISK_H

#include "runtime/base.h"

enum tm_disk_kind {
    TM_DISK_OPEN,     /* name, flags -> result = file handle (>= 0) */
    TM_DISK_CLOSE,    /* file */
    TM_DISK_READ,     /* file, buf, len, offset -> result = bytes read; fewer only at the end */
    TM_DISK_WRITE,    /* file, buf, len, offset, flags -> result = len */
    TM_DISK_SYNC,     /* file: data and size durable */
    TM_DISK_TRUNCATE, /* file, offset = new size */
    TM_DISK_RENAME,   /* name -> name2, replaces name2 atomically */
    TM_DISK_UNLINK,   /* name */
    TM_DISK_MKDIR,    /* name; an existing folder is no error */
    TM_DISK_SYNC_DIR, /* name of the folder, "" for the data directory itself */
    TM_DISK_SIZE      /* file -> result = size in bytes */
};

enum tm_disk_flags {
    TM_DISK_CREATE = 1 << 0, /* OPEN: create if absent, mode 0600 */
    TM_DISK_EXCL = 1 << 1,   /* OPEN with CREATE: -EEXIST if present */
    TM_DISK_RDONLY = 1 << 2, /* OPEN */
    TM_DISK_DIRECT = 1 << 3, /* OPEN: O_DIRECT; buf, len and offset are multiples of 4096.  Falls
                                back to buffered where the filesystem refuses it. */
    TM_DISK_DSYNC = 1 << 4,  /* WRITE: durable when done */
    TM_DISK_ALONE = 1 << 5   /* OPEN: no other process has the file open so until CLOSE, nor has one
                                that died operations under way on it.  `run` waits for that;
                                submitted, it fails with -EWOULDBLOCK. */
};

struct tm_disk_op {
    enum tm_disk_kind kind;
    uint32_t flags;
    int32_t file;
    uint32_t len;
    uint64_t offset;
    void *buf;
    const char *name;
    const char *name2;
    int64_t result;
    void (*done)(struct tm_disk_op *op);
    void *owner;             /* the submitter's, untouched */
    struct tm_disk_op *next; /* the disk's while in flight */
    uint64_t scratch[6];     /* the disk's while in flight */
};

struct tm_disk {
    void *host;

    /* Queues op; it starts at the latest when the turn is flushed.  Always succeeds: failures are
     * results. */
    void (*submit)(struct tm_disk *disk, struct tm_disk_op *op);

    /* Runs op to its end and returns op->result; `done` is not called.  Boot and tests only. */
    int64_t (*run)(struct tm_disk *disk, struct tm_disk_op *op);

    /* Calls visit for each name in folder (without "." and ".."), in ascending byte order; returns
     * their number or a negative errno.  Boot only. */
    int64_t (*list)(struct tm_disk *disk, const char *folder,
                    void (*visit)(void *arg, const char *name), void *arg);

    /* Bytes free for this user in the data directory; 0 when it cannot be told. */
    uint64_t (*free_bytes)(struct tm_disk *disk);
};

/* Short forms of `run` for boot code.  open returns a handle or a negative errno; the others 0 or
 * the byte count, or a negative errno. */
int64_t tm_disk_run_open(struct tm_disk *disk, const char *name, uint32_t flags);
int64_t tm_disk_run_close(struct tm_disk *disk, int32_t file);
int64_t tm_disk_run_read(struct tm_disk *disk, int32_t file, void *buf, uint32_t len,
                         uint64_t offset);
int64_t tm_disk_run_write(struct tm_disk *disk, int32_t file, const void *buf, uint32_t len,
                          uint64_t offset, uint32_t flags);
int64_t tm_disk_run_sync(struct tm_disk *disk, int32_t file);
int64_t tm_disk_run_size(struct tm_disk *disk, int32_t file);
int64_t tm_disk_run_rename(struct tm_disk *disk, const char *name, const char *name2);
int64_t tm_disk_run_unlink(struct tm_disk *disk, const char *name);
int64_t tm_disk_run_mkdir(struct tm_disk *disk, const char *name);
int64_t tm_disk_run_sync_dir(struct tm_disk *disk, const char *name);

#endif
