/* disk_uring.h: the product's disk (runtime/disk.h): a data directory behind io_uring.
 *
 * submit uses the worker's ring; run, list and free_bytes are plain system calls.  Short reads and
 * writes are continued.  What the ring cannot take in this turn waits in a list of the ops
 * themselves and starts in a later one, in order.
 *
 * Belongs to the worker that owns the ring; submit is called on its thread. */
#ifndef TM_RUNTIME_DISK_URING_H
#define TM_RUNTIME_DISK_URING_H

#include "runtime/disk.h"
#include "runtime/uring.h"

/* How a WRITE with TM_DISK_DSYNC becomes durable. */
enum tm_disk_dsync {
    TM_DISK_DSYNC_RWF,   /* one write with RWF_DSYNC */
    TM_DISK_DSYNC_LINKED /* a write and an fdatasync linked to it */
};

struct tm_disk_uring {
    struct tm_disk disk; /* hand out &disk */
    struct tm_uring *uring;
    int dir_fd;
    enum tm_disk_dsync dsync; /* may be changed between operations */
    uint32_t in_flight;       /* ops submitted and not yet done */
    struct tm_disk_op *waiting_head;
    struct tm_disk_op *waiting_tail;
};

/* dir_fd is the open data directory; it stays the caller's and open.  uring may be NULL: then only
 * run, list and free_bytes may be used (boot, tools), until tm_disk_uring_attach. */
void tm_disk_uring_init(struct tm_disk_uring *d, struct tm_uring *uring, int dir_fd);

/* Gives it the ring it was made without, or takes it away (NULL, after tm_uring_close): what is
 * submitted then, or waited for room in the ring, stays undone. */
void tm_disk_uring_attach(struct tm_disk_uring *d, struct tm_uring *uring);

/* Times both ways of a durable write on a file of its own, a few blocks each, and sets dsync to the
 * faster one.  Boot; returns 0 or a negative errno, dsync then unchanged. */
int64_t tm_disk_uring_probe(struct tm_disk_uring *d);

/* Starts what waits for room in the ring; once a turn.  Returns the number of ops started. */
unsigned tm_disk_uring_poll(struct tm_disk_uring *d);

#endif
