#include "runtime/uring.h"
#include "test.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct seen {
    struct tm_uring_op op;
    unsigned calls;
    int32_t res;
    uint32_t flags;
};

static struct tm_uring uring;
static char why[256];

static void note(struct tm_uring_op *op, int32_t res, uint32_t flags)
{
    struct seen *s = TM_CONTAINER_OF(op, struct seen, op);
    s->calls++;
    s->res = res;
    s->flags = flags;
}

static void open_ring(unsigned entries)
{
    CU_ASSERT_EQUAL_FATAL(tm_uring_open(&uring, entries, why, sizeof why), TM_OK);
}

static void a_completion_reaches_its_op_and_nobody_else(void)
{
    open_ring(8);
    struct seen a = {.op.done = note};
    struct seen b = {.op.done = note};
    io_uring_prep_nop(tm_uring_sqe(&uring, &a.op));
    io_uring_prep_close(tm_uring_sqe(&uring, &b.op), -1);
    io_uring_prep_nop(tm_uring_sqe(&uring, NULL));
    CU_ASSERT_EQUAL(tm_uring_reap(&uring, 100), 0);
    tm_uring_submit(&uring);
    CU_ASSERT_EQUAL(tm_uring_reap(&uring, 2), 2);
    CU_ASSERT_EQUAL(tm_uring_reap(&uring, 100), 1);
    CU_ASSERT_EQUAL(a.calls, 1);
    CU_ASSERT_EQUAL(a.res, 0);
    CU_ASSERT_EQUAL(b.calls, 1);
    CU_ASSERT_EQUAL(b.res, -EBADF);
    CU_ASSERT_EQUAL(uring.in_flight, 0);
    CU_ASSERT(tm_uring_close(&uring));
}

static void a_turn_enters_the_kernel_once(void)
{
    open_ring(64);
    struct seen ops[40] = {0};
    for (size_t i = 0; i < TM_ARRAY_LEN(ops); i++) {
        ops[i].op.done = note;
        io_uring_prep_nop(tm_uring_sqe(&uring, &ops[i].op));
    }
    CU_ASSERT_EQUAL(uring.submits, 0);
    tm_uring_submit(&uring);
    tm_uring_submit(&uring);
    CU_ASSERT_EQUAL(uring.submits, 1);
    CU_ASSERT_EQUAL(tm_uring_reap(&uring, 100), 40);
    tm_uring_close(&uring);
}

static void a_full_queue_is_submitted_and_goes_on(void)
{
    open_ring(4);
    struct seen ops[50] = {0};
    for (size_t i = 0; i < TM_ARRAY_LEN(ops); i++) {
        ops[i].op.done = note;
        struct io_uring_sqe *sqe = tm_uring_sqe(&uring, &ops[i].op);
        CU_ASSERT_PTR_NOT_NULL_FATAL(sqe);
        io_uring_prep_nop(sqe);
    }
    tm_uring_submit(&uring);
    unsigned reaped = 0;
    for (int i = 0; i < 100 && reaped < 50; i++)
        reaped += tm_uring_reap(&uring, 100);
    CU_ASSERT_EQUAL(reaped, 50);
    for (size_t i = 0; i < TM_ARRAY_LEN(ops); i++)
        CU_ASSERT_EQUAL(ops[i].calls, 1);
    tm_uring_close(&uring);
}

static void reserved_entries_enter_together(void)
{
    open_ring(4);
    for (int i = 0; i < 3; i++)
        io_uring_prep_nop(tm_uring_sqe(&uring, NULL));
    CU_ASSERT(tm_uring_reserve(&uring, 2));
    CU_ASSERT_EQUAL(uring.submits, 1);
    CU_ASSERT_EQUAL(io_uring_sq_ready(&uring.ring), 0);
    tm_uring_close(&uring);
}

static void a_spinning_owner_sees_completions_without_submitting(void)
{
    open_ring(8);
    struct seen s = {.op.done = note};
    int fd = eventfd(0, EFD_CLOEXEC);
    io_uring_prep_poll_multishot(tm_uring_sqe(&uring, &s.op), fd, POLLIN);
    tm_uring_submit(&uring);
    for (unsigned round = 1; round <= 3; round++) {
        uint64_t one = 1;
        CU_ASSERT_EQUAL(write(fd, &one, sizeof one), sizeof one);
        for (int i = 0; i < 1000000 && s.calls < round; i++)
            tm_uring_reap(&uring, 10);
        CU_ASSERT_EQUAL(s.calls, round);
        CU_ASSERT((s.flags & IORING_CQE_F_MORE) != 0);
    }
    CU_ASSERT_EQUAL(uring.in_flight, 1);
    CU_ASSERT(tm_uring_close(&uring));
    CU_ASSERT_EQUAL(s.res, -ECANCELED);
    CU_ASSERT_EQUAL(s.calls, 4);
    close(fd);
}

static void cancel_ends_one_op(void)
{
    open_ring(8);
    struct seen a = {.op.done = note};
    struct seen b = {.op.done = note};
    int fd = eventfd(0, EFD_CLOEXEC);
    io_uring_prep_poll_add(tm_uring_sqe(&uring, &a.op), fd, POLLIN);
    io_uring_prep_poll_add(tm_uring_sqe(&uring, &b.op), fd, POLLIN);
    CU_ASSERT(tm_uring_cancel(&uring, &a.op));
    tm_uring_wait(&uring, TM_SECONDS(60));
    tm_uring_reap(&uring, 10);
    CU_ASSERT_EQUAL(a.res, -ECANCELED);
    CU_ASSERT_EQUAL(b.calls, 0);
    tm_uring_close(&uring);
    CU_ASSERT_EQUAL(b.res, -ECANCELED);
    close(fd);
}

static void wait_ends_by_its_timeout(void)
{
    open_ring(8);
    tm_uring_wait(&uring, TM_MS(2));
    CU_ASSERT_EQUAL(tm_uring_reap(&uring, 10), 0);
    tm_uring_close(&uring);
}

static void received_bytes_arrive_in_lent_buffers(void)
{
    open_ring(8);
    struct tm_uring_bufs bufs;
    CU_ASSERT_EQUAL_FATAL(tm_uring_bufs_open(&bufs, &uring, 3, 4, 64, why, sizeof why), TM_OK);
    int pair[2];
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    struct seen s = {.op.done = note};
    for (int round = 0; round < 20; round++) {
        char text[16];
        snprintf(text, sizeof text, "message %d", round);
        CU_ASSERT_EQUAL(write(pair[0], text, sizeof text), sizeof text);
        struct io_uring_sqe *sqe = tm_uring_sqe(&uring, &s.op);
        io_uring_prep_recv(sqe, pair[1], NULL, 0, 0);
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = 3;
        tm_uring_wait(&uring, TM_SECONDS(60));
        CU_ASSERT_EQUAL(tm_uring_reap(&uring, 10), 1);
        CU_ASSERT_EQUAL_FATAL(s.res, (int32_t)sizeof text);
        CU_ASSERT_STRING_EQUAL((char *)tm_uring_bufs_get(&bufs, s.flags), text);
        tm_uring_bufs_put(&bufs, s.flags);
    }
    close(pair[0]);
    close(pair[1]);
    tm_uring_close(&uring);
    tm_uring_bufs_close(&bufs);
}

/* Opens a ring in a child in which io_uring_setup fails with errnum; the child checks code and
 * text. */
static bool child_is_told(int errnum, enum tm_err want, const char *word)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct sock_filter code[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)errnum),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog prog = {.len = TM_ARRAY_LEN(code), .filter = code};
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) != 0)
            _exit(2);
        enum tm_err err = tm_uring_open(&uring, 64, why, sizeof why);
        _exit(err == want && strstr(why, word) != NULL ? 0 : 1);
    }
    int status = -1;
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void without_io_uring_the_reason_is_said(void)
{
    CU_ASSERT(child_is_told(ENOSYS, TM_ERR_UNSUPPORTED, "Linux 6.1"));
    CU_ASSERT(child_is_told(EPERM, TM_ERR_PERMISSION, "io_uring_disabled"));
    CU_ASSERT(child_is_told(ENOMEM, TM_ERR_NOMEM, "ulimit -l"));
    CU_ASSERT(child_is_told(EMFILE, TM_ERR_NOMEM, "ulimit -n"));
}

/* As an ordinary user, whose rings count against memlock.  A kernel that does not count them lets
 * the ring open: then there is nothing to hold. */
static void an_ordinary_users_memlock_limit_is_named(void)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_MEMLOCK, &none);
        if (getuid() == 0 && setuid(65534) != 0)
            _exit(2);
        enum tm_err err = tm_uring_open(&uring, 1024, why, sizeof why);
        if (err == TM_OK)
            _exit(3);
        _exit(err == TM_ERR_NOMEM && strstr(why, "is 0 KiB") != NULL ? 0 : 1);
    }
    int status = -1;
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT(WIFEXITED(status));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
        printf("(this kernel does not count rings against memlock) ");
    else
        CU_ASSERT_EQUAL(WEXITSTATUS(status), 0);
}

static const struct tm_test tests[] = {
    TM_TEST(a_completion_reaches_its_op_and_nobody_else),
    TM_TEST(a_turn_enters_the_kernel_once),
    TM_TEST(a_full_queue_is_submitted_and_goes_on),
    TM_TEST(reserved_entries_enter_together),
    TM_TEST(a_spinning_owner_sees_completions_without_submitting),
    TM_TEST(cancel_ends_one_op),
    TM_TEST(wait_ends_by_its_timeout),
    TM_TEST(received_bytes_arrive_in_lent_buffers),
    TM_TEST(without_io_uring_the_reason_is_said),
    TM_TEST(an_ordinary_users_memlock_limit_is_named),
};
TM_TEST_MAIN("runtime/uring", tests)
