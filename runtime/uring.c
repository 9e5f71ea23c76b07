/* uring.c: a thin layer over liburing.
 *
 * A turn prepares entries (tm_uring_sqe), enters the kernel once (tm_uring_submit, which also runs
 * the work that DEFER_TASKRUN kept for us), and reads the completions in the next turn without
 * entering (tm_uring_reap).  A spinning worker that submits nothing enters only when
 * IORING_SQ_TASKRUN says so: io_uring_peek_batch_cqe does that.
 *
 * What can go wrong: the ring cannot be made (texts below); the submission queue stays full since
 * the kernel refuses entries (the caller keeps its request). */
#include "runtime/uring.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#define SQ_ENTRIES_MAX  4096
#define CQ_PER_SQ       4
#define CLOSE_TRIES     200
#define CLOSE_WAIT_NS   TM_MS(10)
#define BUF_ENTRIES_MAX 32768

static const unsigned flag_sets[] = {
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
        IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    0,
};

static enum tm_err explain(int errnum, char *why, size_t why_len)
{
    struct rlimit lock = {0};
    switch (errnum) {
    case ENOSYS:
        snprintf(why, why_len, "this kernel has no io_uring: use Linux 6.1 or newer");
        return TM_ERR_UNSUPPORTED;
    case EPERM:
    case EACCES:
        snprintf(why, why_len,
                 "io_uring is forbidden here: set sysctl kernel.io_uring_disabled=0, or allow it "
                 "in the container's seccomp profile");
        return TM_ERR_PERMISSION;
    case ENOMEM:
        getrlimit(RLIMIT_MEMLOCK, &lock);
        snprintf(why, why_len,
                 "no memory for an io_uring: the locked-memory limit of this user is %llu KiB: "
                 "raise memlock (ulimit -l, LimitMEMLOCK=), or start fewer workers",
                 (unsigned long long)lock.rlim_cur / 1024);
        return TM_ERR_NOMEM;
    case EMFILE:
    case ENFILE:
        snprintf(why, why_len, "no descriptor left for an io_uring: raise ulimit -n");
        return TM_ERR_NOMEM;
    default:
        snprintf(why, why_len, "cannot open an io_uring: %s", strerror(errnum));
        return tm_err_from_errno(errnum);
    }
}

enum tm_err tm_uring_open(struct tm_uring *u, unsigned sq_entries, char *why, size_t why_len)
{
    TM_ASSERT(tm_is_pow2(sq_entries) && sq_entries <= SQ_ENTRIES_MAX);
    memset(u, 0, sizeof *u);
    int rc = -EINVAL;
    for (size_t i = 0; rc == -EINVAL && i < TM_ARRAY_LEN(flag_sets); i++) {
        struct io_uring_params params = {.flags = flag_sets[i] | IORING_SETUP_CQSIZE,
                                         .cq_entries = sq_entries * CQ_PER_SQ};
        rc = io_uring_queue_init_params(sq_entries, &u->ring, &params);
    }
    if (rc < 0)
        return explain(-rc, why, why_len);
    u->deferred = (u->ring.flags & IORING_SETUP_DEFER_TASKRUN) != 0;
    if ((u->ring.features & IORING_FEAT_EXT_ARG) == 0) {
        io_uring_queue_exit(&u->ring);
        snprintf(why, why_len, "the io_uring of this kernel is too old: use Linux 6.1 or newer");
        return TM_ERR_UNSUPPORTED;
    }
    return TM_OK;
}

bool tm_uring_close(struct tm_uring *u)
{
    for (int i = 0; u->in_flight > 0 && i < CLOSE_TRIES; i++) {
        struct io_uring_sqe *sqe = tm_uring_sqe(u, NULL);
        if (sqe != NULL)
            io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
        tm_uring_submit(u);
        while (tm_uring_reap(u, UINT32_MAX) > 0)
            continue;
        if (u->in_flight > 0)
            tm_uring_wait(u, CLOSE_WAIT_NS);
    }
    bool clean = u->in_flight == 0;
    io_uring_queue_exit(&u->ring);
    return clean;
}

struct io_uring_sqe *tm_uring_sqe(struct tm_uring *u, struct tm_uring_op *op)
{
    if (!tm_uring_reserve(u, 1))
        return NULL;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    TM_ASSERT(sqe != NULL);
    io_uring_sqe_set_data(sqe, op);
    u->in_flight += op != NULL;
    return sqe;
}

bool tm_uring_reserve(struct tm_uring *u, unsigned count)
{
    TM_ASSERT(count <= u->ring.sq.ring_entries);
    if (TM_LIKELY(io_uring_sq_space_left(&u->ring) >= count))
        return true;
    tm_uring_submit(u);
    if (io_uring_sq_space_left(&u->ring) >= count)
        return true;
    u->refused++;
    return false;
}

bool tm_uring_cancel(struct tm_uring *u, struct tm_uring_op *op)
{
    struct io_uring_sqe *sqe = tm_uring_sqe(u, NULL);
    if (sqe != NULL)
        io_uring_prep_cancel(sqe, op, 0);
    return sqe != NULL;
}

void tm_uring_submit(struct tm_uring *u)
{
    if (io_uring_sq_ready(&u->ring) == 0)
        return;
    /* A refusal (EAGAIN, EBUSY, EINTR) leaves the entries in the queue for the next turn. */
    if (io_uring_submit_and_get_events(&u->ring) > 0)
        u->submits++;
}

static void deliver(struct tm_uring *u, const struct io_uring_cqe *cqe)
{
    struct tm_uring_op *op = io_uring_cqe_get_data(cqe);
    if (op == NULL)
        return;
    if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
        TM_ASSERT(u->in_flight > 0);
        u->in_flight--;
    }
    op->done(op, cqe->res, cqe->flags);
}

unsigned tm_uring_reap(struct tm_uring *u, unsigned budget)
{
    struct io_uring_cqe *batch[TM_URING_BATCH];
    unsigned total = 0;
    while (total < budget) {
        unsigned want = budget - total < TM_URING_BATCH ? budget - total : TM_URING_BATCH;
        unsigned n = io_uring_peek_batch_cqe(&u->ring, batch, want);
        if (n > 1 && u->coming != NULL)
            u->coming(u->coming_host, batch, n);
        for (unsigned i = 0; i < n; i++)
            deliver(u, batch[i]);
        io_uring_cq_advance(&u->ring, n);
        total += n;
        if (n < want)
            break;
    }
    u->reaped += total;
    return total;
}

void tm_uring_wait(struct tm_uring *u, uint64_t timeout_ns)
{
    if (timeout_ns == UINT64_MAX) {
        io_uring_submit_and_wait(&u->ring, 1);
        return;
    }
    struct io_uring_cqe *cqe = NULL;
    struct __kernel_timespec ts = {.tv_sec = (long long)(timeout_ns / TM_SECONDS(1)),
                                   .tv_nsec = (long long)(timeout_ns % TM_SECONDS(1))};
    io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, &ts, NULL);
}

static size_t ring_bytes(uint32_t count)
{
    return tm_align_up(count * sizeof(struct io_uring_buf), 4096);
}

static size_t map_bytes(const struct tm_uring_bufs *b)
{
    return ring_bytes(b->count) + (size_t)b->count * b->size;
}

static void lend(struct tm_uring_bufs *b, uint16_t id)
{
    io_uring_buf_ring_add(b->ring, b->data + (size_t)id * b->size, b->size, id,
                          io_uring_buf_ring_mask(b->count), 0);
    io_uring_buf_ring_advance(b->ring, 1);
}

enum tm_err tm_uring_bufs_open(struct tm_uring_bufs *b, struct tm_uring *u, uint16_t group,
                               uint32_t count, uint32_t size, char *why, size_t why_len)
{
    TM_ASSERT(tm_is_pow2(count) && count <= BUF_ENTRIES_MAX && size > 0);
    *b = (struct tm_uring_bufs){.count = count, .size = size, .group = group};
    void *map =
        mmap(NULL, map_bytes(b), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) {
        snprintf(why, why_len, "no memory for %u receive buffers", count);
        return TM_ERR_NOMEM;
    }
    b->ring = map;
    b->data = (uint8_t *)map + ring_bytes(count);
    io_uring_buf_ring_init(b->ring);
    struct io_uring_buf_reg reg = {
        .ring_addr = (uint64_t)(uintptr_t)map, .ring_entries = count, .bgid = group};
    int rc = io_uring_register_buf_ring(&u->ring, &reg, 0);
    if (rc < 0) {
        tm_uring_bufs_close(b);
        if (rc != -EINVAL && rc != -ENOSYS)
            return explain(-rc, why, why_len);
        snprintf(why, why_len, "this kernel's io_uring has no buffer rings: use Linux 6.1");
        return TM_ERR_UNSUPPORTED;
    }
    for (uint32_t i = 0; i < count; i++)
        lend(b, (uint16_t)i);
    return TM_OK;
}

void tm_uring_bufs_close(struct tm_uring_bufs *b)
{
    if (b->ring != NULL)
        munmap(b->ring, map_bytes(b));
    b->ring = NULL;
    b->data = NULL;
}

uint8_t *tm_uring_bufs_get(struct tm_uring_bufs *b, uint32_t cqe_flags)
{
    uint32_t id = cqe_flags >> IORING_CQE_BUFFER_SHIFT;
    TM_ASSERT((cqe_flags & IORING_CQE_F_BUFFER) != 0 && id < b->count);
    return b->data + (size_t)id * b->size;
}

void tm_uring_bufs_put(struct tm_uring_bufs *b, uint32_t cqe_flags)
{
    TM_ASSERT((cqe_flags & IORING_CQE_F_BUFFER) != 0);
    lend(b, (uint16_t)(cqe_flags >> IORING_CQE_BUFFER_SHIFT));
}
