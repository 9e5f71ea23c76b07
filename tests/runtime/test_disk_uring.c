#include "runtime/disk_uring.h"
#include "tests/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#define BLOCK 4096

static int root_fd;
static struct tm_uring uring;
static struct tm_disk_uring du;
static struct tm_disk *disk = &du.disk;
static unsigned done_count;

static void begin(unsigned entries)
{
    char why[256];
    root_fd = open(tm_scratch(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CU_ASSERT_FATAL(root_fd >= 0);
    CU_ASSERT_EQUAL_FATAL(tm_uring_open(&uring, entries, why, sizeof why), TM_OK);
    tm_disk_uring_init(&du, &uring, root_fd);
    done_count = 0;
}

static void end(void)
{
    CU_ASSERT_EQUAL(du.in_flight, 0);
    CU_ASSERT(tm_uring_close(&uring));
    close(root_fd);
}

static void note(struct tm_disk_op *op)
{
    (void)op;
    done_count++;
}

static void turn(void)
{
    tm_disk_uring_poll(&du);
    tm_uring_wait(&uring, TM_SECONDS(60));
    tm_uring_reap(&uring, 1000);
}

/* Submits op, and turns until it is done. */
static int64_t by_ring(struct tm_disk_op op)
{
    op.done = note;
    unsigned before = done_count;
    disk->submit(disk, &op);
    CU_ASSERT_EQUAL(done_count, before); /* never from inside submit */
    for (int i = 0; i < 1000 && done_count == before; i++)
        turn();
    CU_ASSERT_EQUAL_FATAL(done_count, before + 1);
    return op.result;
}

static int64_t by_run(struct tm_disk_op op)
{
    return disk->run(disk, &op);
}

static int64_t (*const ways[])(struct tm_disk_op) = {by_ring, by_run};

static void every_kind_answers_the_same_by_ring_and_by_run(void)
{
    for (size_t w = 0; w < TM_ARRAY_LEN(ways); w++) {
        int64_t (*go)(struct tm_disk_op) = ways[w];
        char buf[16] = "0123456789abcde";
        begin(8);
        CU_ASSERT_EQUAL(go((struct tm_disk_op){.kind = TM_DISK_MKDIR, .name = "wal"}), 0);
        CU_ASSERT_EQUAL(go((struct tm_disk_op){.kind = TM_DISK_MKDIR, .name = "wal"}), 0);
        struct tm_disk_op open = {.kind = TM_DISK_OPEN, .name = "wal/a"};
        CU_ASSERT_EQUAL(go(open), -ENOENT);
        open.flags = TM_DISK_CREATE | TM_DISK_EXCL;
        int32_t fd = (int32_t)go(open);
        CU_ASSERT_FATAL(fd >= 0);
        CU_ASSERT_EQUAL(go(open), -EEXIST);
        struct tm_disk_op io = {.kind = TM_DISK_WRITE, .file = fd, .buf = buf, .len = 16};
        io.offset = 100;
        CU_ASSERT_EQUAL(go(io), 16);
        CU_ASSERT_EQUAL(go((struct tm_disk_op){.kind = TM_DISK_SYNC, .file = fd}), 0);
        CU_ASSERT_EQUAL(go((struct tm_disk_op){.kind = TM_DISK_SIZE, .file = fd}), 116);
        char back[32] = {0};
        io = (struct tm_disk_op){.kind = TM_DISK_READ, .file = fd, .buf = back, .len = 32};
        io.offset = 100;
        CU_ASSERT_EQUAL(go(io), 16);
        CU_ASSERT_EQUAL(memcmp(back, buf, 16), 0);
        io.offset = 200;
        CU_ASSERT_EQUAL(go(io), 0);
        CU_ASSERT_EQUAL(go((struct tm_disk_op){.kind = TM_DISK_TRUNCATE, .file = fd, .offset = 50}),
                        0);
        CU_ASSERT_EQUAL(go((struct tm_disk_op){.kind = TM_DISK_SIZE, .file = fd}), 50);
        CU_ASSERT_EQUAL(go((struct tm_disk_op){.kind = TM_DISK_CLOSE, .file = fd}), 0);
        CU_ASSERT_EQUAL(go((struct tm_disk_op){.kind = TM_DISK_SIZE, .file = fd}), -EBADF);
        struct tm_disk_op move = {.kind = TM_DISK_RENAME, .name = "wal/a", .name2 = "b"};
        CU_ASSERT_EQUAL(go(move), 0);
        CU_ASSERT_EQUAL(go(move), -ENOENT);
        CU_ASSERT_EQUAL(go((struct tm_disk_op){.kind = TM_DISK_SYNC_DIR, .name = ""}), 0);
        CU_ASSERT_EQUAL(go((struct tm_disk_op){.kind = TM_DISK_SYNC_DIR, .name = "wal"}), 0);
        CU_ASSERT_EQUAL(go((struct tm_disk_op){.kind = TM_DISK_SYNC_DIR, .name = "no"}), -ENOENT);
        CU_ASSERT_EQUAL(go((struct tm_disk_op){.kind = TM_DISK_UNLINK, .name = "b"}), 0);
        CU_ASSERT_EQUAL(go((struct tm_disk_op){.kind = TM_DISK_UNLINK, .name = "b"}), -ENOENT);
        end();
    }
}

static void a_folder_is_synced_without_leaking_its_descriptor(void)
{
    begin(8);
    CU_ASSERT_EQUAL(tm_disk_run_mkdir(disk, "wal"), 0);
    int before = dup(root_fd);
    close(before);
    for (int i = 0; i < 10; i++)
        CU_ASSERT_EQUAL(by_ring((struct tm_disk_op){.kind = TM_DISK_SYNC_DIR, .name = "wal"}), 0);
    int after = dup(root_fd);
    close(after);
    CU_ASSERT_EQUAL(before, after);
    end();
}

static void a_durable_write_is_whole_both_ways(void)
{
    begin(8);
    char buf[64];
    memset(buf, 'x', sizeof buf);
    int32_t fd = (int32_t)tm_disk_run_open(disk, "f", TM_DISK_CREATE);
    enum tm_disk_dsync dsyncs[] = {TM_DISK_DSYNC_RWF, TM_DISK_DSYNC_LINKED};
    for (unsigned i = 0; i < 2; i++) {
        du.dsync = dsyncs[i];
        CU_ASSERT_EQUAL(by_ring((struct tm_disk_op){.kind = TM_DISK_WRITE,
                                                    .file = fd,
                                                    .buf = buf,
                                                    .len = sizeof buf,
                                                    .offset = i * sizeof buf,
                                                    .flags = TM_DISK_DSYNC}),
                        sizeof buf);
    }
    CU_ASSERT_EQUAL(tm_disk_run_size(disk, fd), 2 * sizeof buf);
    CU_ASSERT_EQUAL(tm_disk_run_close(disk, fd), 0);
    end();
}

/* A file-size limit cuts the first write short and fails the rest. */
static void a_short_write_is_continued_and_its_error_reported(void)
{
    begin(8);
    char buf[100] = {0};
    struct rlimit before;
    getrlimit(RLIMIT_FSIZE, &before);
    struct rlimit low = {.rlim_cur = 64, .rlim_max = before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    int32_t fd = (int32_t)tm_disk_run_open(disk, "f", TM_DISK_CREATE);
    uint32_t flags[] = {0, TM_DISK_DSYNC, TM_DISK_DSYNC};
    enum tm_disk_dsync dsyncs[] = {TM_DISK_DSYNC_RWF, TM_DISK_DSYNC_RWF, TM_DISK_DSYNC_LINKED};
    setrlimit(RLIMIT_FSIZE, &low);
    for (unsigned i = 0; i < 3; i++) {
        du.dsync = dsyncs[i];
        struct tm_disk_op op = {
            .kind = TM_DISK_WRITE, .file = fd, .buf = buf, .len = 100, .flags = flags[i]};
        CU_ASSERT_EQUAL(by_ring(op), -EFBIG);
        CU_ASSERT_EQUAL(by_run(op), -EFBIG);
    }
    setrlimit(RLIMIT_FSIZE, &before);
    CU_ASSERT_EQUAL(tm_disk_run_size(disk, fd), 64);
    CU_ASSERT_EQUAL(tm_disk_run_close(disk, fd), 0);
    end();
}

static void direct_files_read_what_was_written_and_end_at_their_size(void)
{
    begin(8);
    uint8_t *buf = aligned_alloc(BLOCK, (size_t)4 * BLOCK);
    CU_ASSERT_PTR_NOT_NULL_FATAL(buf);
    memset(buf, 0x5a, (size_t)4 * BLOCK);
    for (size_t w = 0; w < TM_ARRAY_LEN(ways); w++) {
        int32_t fd = (int32_t)ways[w]((struct tm_disk_op){
            .kind = TM_DISK_OPEN, .name = "d", .flags = TM_DISK_CREATE | TM_DISK_DIRECT});
        CU_ASSERT_FATAL(fd >= 0);
        struct tm_disk_op io = {
            .kind = TM_DISK_WRITE, .file = fd, .buf = buf, .len = BLOCK, .flags = TM_DISK_DSYNC};
        CU_ASSERT_EQUAL(ways[w](io), BLOCK);
        CU_ASSERT_EQUAL(ftruncate(fd, BLOCK + 10), 0); /* an odd end, as a crash may leave it */
        io.kind = TM_DISK_READ;
        io.len = 4 * BLOCK;
        CU_ASSERT_EQUAL(ways[w](io), BLOCK + 10);
        CU_ASSERT_EQUAL(buf[0], 0x5a);
        CU_ASSERT_EQUAL(buf[BLOCK - 1], 0x5a);
        CU_ASSERT_EQUAL(buf[BLOCK], 0);
        memset(buf, 0x5a, (size_t)4 * BLOCK);
        CU_ASSERT_EQUAL(tm_disk_run_close(disk, fd), 0);
        CU_ASSERT_EQUAL(tm_disk_run_unlink(disk, "d"), 0);
    }
    free(buf);
    end();
}

static void more_operations_than_entries_wait_and_finish(void)
{
    enum { N = 200 };
    static struct tm_disk_op ops[N];
    static uint64_t values[N];
    begin(2);
    du.dsync = TM_DISK_DSYNC_LINKED;
    int32_t fd = (int32_t)tm_disk_run_open(disk, "f", TM_DISK_CREATE);
    for (unsigned i = 0; i < N; i++) {
        values[i] = i * UINT64_C(0x9e3779b97f4a7c15);
        ops[i] = (struct tm_disk_op){.kind = TM_DISK_WRITE,
                                     .file = fd,
                                     .buf = &values[i],
                                     .len = 8,
                                     .offset = (uint64_t)i * 8,
                                     .flags = i % 10 == 0 ? TM_DISK_DSYNC : 0,
                                     .done = note};
        disk->submit(disk, &ops[i]);
    }
    for (int i = 0; i < 10000 && done_count < N; i++)
        turn();
    CU_ASSERT_EQUAL(done_count, N);
    uint64_t back[N];
    CU_ASSERT_EQUAL(tm_disk_run_read(disk, fd, back, sizeof back, 0), sizeof back);
    CU_ASSERT_EQUAL(memcmp(back, values, sizeof back), 0);
    for (unsigned i = 0; i < N; i++)
        CU_ASSERT_EQUAL(ops[i].result, 8);
    CU_ASSERT_EQUAL(tm_disk_run_close(disk, fd), 0);
    end();
}

static void what_waits_for_room_starts_in_order(void)
{
    begin(8);
    du.uring = NULL; /* no room at all */
    struct tm_disk_op ops[3];
    for (int i = 0; i < 3; i++) {
        ops[i] = (struct tm_disk_op){.kind = TM_DISK_MKDIR, .name = "d", .done = note};
        disk->submit(disk, &ops[i]);
    }
    CU_ASSERT_PTR_EQUAL(du.waiting_head, &ops[0]);
    CU_ASSERT_PTR_EQUAL(ops[0].next, &ops[1]);
    CU_ASSERT_PTR_EQUAL(ops[1].next, &ops[2]);
    CU_ASSERT_EQUAL(tm_disk_uring_poll(&du), 0);
    tm_disk_uring_attach(&du, &uring);
    CU_ASSERT_EQUAL(tm_disk_uring_poll(&du), 3);
    for (int i = 0; i < 100 && done_count < 3; i++)
        turn();
    CU_ASSERT_EQUAL(done_count, 3);
    end();
}

static char listed[64];

static void visit(void *arg, const char *name)
{
    (void)arg;
    strcat(listed, name);
    strcat(listed, " ");
}

static void names_are_listed_in_byte_order(void)
{
    begin(8);
    listed[0] = '\0';
    CU_ASSERT_EQUAL(tm_disk_run_mkdir(disk, "w"), 0);
    const char *names[] = {"w/b", "w/B", "w/a10", "w/a2", "w/.x"};
    for (size_t i = 0; i < TM_ARRAY_LEN(names); i++)
        CU_ASSERT_EQUAL(
            tm_disk_run_close(disk, (int32_t)tm_disk_run_open(disk, names[i], TM_DISK_CREATE)), 0);
    CU_ASSERT_EQUAL(disk->list(disk, "w", visit, NULL), 5);
    CU_ASSERT_STRING_EQUAL(listed, ".x B a10 a2 b ");
    CU_ASSERT_EQUAL(disk->list(disk, "", visit, NULL), 1);
    CU_ASSERT_EQUAL(disk->list(disk, "none", visit, NULL), -ENOENT);
    CU_ASSERT(disk->free_bytes(disk) > 0);
    end();
}

static void the_probe_chooses_a_way_and_leaves_no_file(void)
{
    begin(8);
    du.dsync = (enum tm_disk_dsync)7;
    CU_ASSERT_EQUAL(tm_disk_uring_probe(&du), 0);
    CU_ASSERT(du.dsync == TM_DISK_DSYNC_RWF || du.dsync == TM_DISK_DSYNC_LINKED);
    CU_ASSERT_EQUAL(disk->list(disk, "", visit, NULL), 0);
    struct rlimit before;
    getrlimit(RLIMIT_FSIZE, &before);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &none);
    du.dsync = (enum tm_disk_dsync)7;
    CU_ASSERT_EQUAL(tm_disk_uring_probe(&du), -EFBIG);
    CU_ASSERT_EQUAL(du.dsync, 7);
    setrlimit(RLIMIT_FSIZE, &before);
    CU_ASSERT_EQUAL(disk->list(disk, "", visit, NULL), 0);
    end();
}

static const struct tm_test tests[] = {
    TM_TEST(every_kind_answers_the_same_by_ring_and_by_run),
    TM_TEST(a_folder_is_synced_without_leaking_its_descriptor),
    TM_TEST(a_durable_write_is_whole_both_ways),
    TM_TEST(a_short_write_is_continued_and_its_error_reported),
    TM_TEST(direct_files_read_what_was_written_and_end_at_their_size),
    TM_TEST(more_operations_than_entries_wait_and_finish),
    TM_TEST(what_waits_for_room_starts_in_order),
    TM_TEST(names_are_listed_in_byte_order),
    TM_TEST(the_probe_chooses_a_way_and_leaves_no_file),
};
TM_TEST_MAIN("runtime/disk_uring", tests)
