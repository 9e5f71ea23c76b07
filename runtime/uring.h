/* uring.h: one io_uring, owned by one worker.
 *
 * An operation is a tm_uring_op, embedded in whatever owns it: its `done` is called from
 * tm_uring_reap with the completion's result (a negative errno, or what the call returns) and
 * flags.  The owner keeps the op, and all the kernel was pointed to, until the final completion:
 * the one without IORING_CQE_F_MORE.  A `done` may prepare new operations.
 *
 * Nothing is submitted before tm_uring_submit, which a worker calls once a turn: all that the turn
 * prepared enters the kernel in one call.  Only a full submission queue enters earlier.
 *
 * All calls are made on the thread that opened it (the kernel enforces it: SINGLE_ISSUER). */
#ifndef TM_RUNTIME_URING_H
#define TM_RUNTIME_URING_H

#include <liburing.h>

#include "runtime/base.h"

struct tm_uring_op {
    void (*done)(struct tm_uring_op *op, int32_t res, uint32_t cqe_flags);
};

struct tm_uring {
    struct io_uring ring;
    bool deferred;      /* DEFER_TASKRUN: completions appear only when the kernel is entered */
    uint32_t in_flight; /* ops whose final completion is still to come */
    uint64_t submits;   /* entries into the kernel that submitted something */
    uint64_t reaped;    /* completions */
    uint64_t refused;   /* times the submission queue stayed full although it was submitted */

    /* NULL, or set after opening: these completions, 2 to TM_URING_BATCH, will be delivered one
     * after the other.  Time to fetch what they need; nothing else. */
    void (*coming)(void *host, struct io_uring_cqe *const *cqes, unsigned count);
    void *coming_host;
};

#define TM_URING_BATCH 32 /* completions that are looked at together */

/* Opens the ring with sq_entries (a power of two, 1..4096) and four times as many completions.
 * Uses SINGLE_ISSUER and DEFER_TASKRUN where the kernel has them (6.1), else COOP_TASKRUN (5.19),
 * else neither.  On failure writes one line to why (what is wrong and what to do) and returns
 *   TM_ERR_UNSUPPORTED  no io_uring in this kernel,
 *   TM_ERR_PERMISSION   io_uring is forbidden (sysctl, seccomp),
 *   TM_ERR_NOMEM        the locked-memory limit is too low,
 * or another code; u is then not open. */
enum tm_err tm_uring_open(struct tm_uring *u, unsigned sq_entries, char *why, size_t why_len);

/* Cancels what is in flight, delivers the completions (most are -ECANCELED) and closes.  An op that
 * prepares a successor in its `done` is cancelled again; after 2 seconds what is left is
 * abandoned, and false is returned: then memory that the kernel was pointed to stays in use. */
bool tm_uring_close(struct tm_uring *u);

/* A submission entry for op, to be filled by one io_uring_prep_*; its user_data is set already.  op
 * may be NULL: its completion is dropped.  If the queue is full, it is submitted first.  NULL if it
 * stays full (the kernel is out of memory, or wants completions reaped first): the caller keeps its
 * request and asks again in a later turn.  Flags such as IOSQE_IO_LINK are set after the prep. */
struct io_uring_sqe *tm_uring_sqe(struct tm_uring *u, struct tm_uring_op *op);

/* Makes room for count entries in a row, so that linked ones enter the kernel together.  False:
 * as NULL above.  count is at most sq_entries. */
bool tm_uring_reserve(struct tm_uring *u, unsigned count);

/* Asks the kernel to cancel op.  Its final completion still comes, -ECANCELED or another.  False:
 * as NULL above. */
bool tm_uring_cancel(struct tm_uring *u, struct tm_uring_op *op);

/* Submits what is prepared, if anything; one entry into the kernel at most. */
void tm_uring_submit(struct tm_uring *u);

/* Delivers the completions that are there, at most budget; returns their number.  Enters the kernel
 * only if it announced work to be run. */
unsigned tm_uring_reap(struct tm_uring *u, unsigned budget);

/* Submits, then sleeps until a completion is there or timeout_ns have passed (UINT64_MAX: no
 * timeout).  Delivers nothing: tm_uring_reap follows. */
void tm_uring_wait(struct tm_uring *u, uint64_t timeout_ns);

/* Buffers lent to the kernel, which picks one per received piece.  count is a power of two up to
 * 32768; each has `size` bytes. */
struct tm_uring_bufs {
    struct io_uring_buf_ring *ring;
    uint8_t *data;
    uint32_t count;
    uint32_t size;
    uint16_t group;
};

/* Maps and registers the buffers as group (unique within u).  TM_ERR_UNSUPPORTED before Linux
 * 5.19.  `why` as in tm_uring_open. */
enum tm_err tm_uring_bufs_open(struct tm_uring_bufs *b, struct tm_uring *u, uint16_t group,
                               uint32_t count, uint32_t size, char *why, size_t why_len);

/* Unmaps them.  Call after tm_uring_close, when the kernel can no longer write into them. */
void tm_uring_bufs_close(struct tm_uring_bufs *b);

/* The buffer that a completion with IORING_CQE_F_BUFFER names.  It belongs to the caller until
 * tm_uring_bufs_put. */
uint8_t *tm_uring_bufs_get(struct tm_uring_bufs *b, uint32_t cqe_flags);

/* Lends the buffer of that completion to the kernel again. */
void tm_uring_bufs_put(struct tm_uring_bufs *b, uint32_t cqe_flags);

#endif
