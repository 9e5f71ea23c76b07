#include "runtime/ring.h"
#include "runtime/workspace.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct tm_workspace_object objects[] = {
    {"counters", 10000, TM_CACHE_PAIR},
    {"ring/0-1", 4096 + sizeof(struct tm_ring), TM_CACHE_PAIR},
    {"page", 100, 4096},
    {"small", 1, 1},
};
#define COUNT TM_ARRAY_LEN(objects)

static char folder[64], path[128], data_dir[128];

static int set_up(void)
{
    snprintf(folder, sizeof folder, "/dev/shm/tm-test-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/tidemill-test", folder);
    snprintf(data_dir, sizeof data_dir, "%s/data", folder);
    return mkdir(data_dir, 0700);
}

static void tear_down(void)
{
    unlink(path);
    rmdir(data_dir);
    CU_ASSERT_EQUAL(rmdir(folder), 0);
}

/* Creates the workspace in a child, which then dies by SIGKILL as soon as `stop` is written. */
struct child {
    pid_t pid;
    int stop;
};

static struct child start_owner(void)
{
    int ready[2], stop[2];
    CU_ASSERT_EQUAL_FATAL(pipe(ready) + pipe(stop), 0);
    fflush(NULL);
    struct child child = {.pid = fork(), .stop = stop[1]};
    if (child.pid == 0) {
        struct tm_workspace ws;
        close(stop[1]);
        enum tm_err err = tm_workspace_create(&ws, path, data_dir, objects, COUNT);
        if (err == TM_OK)
            memcpy(tm_workspace_find(&ws, "small", NULL), "x", 1);
        char answer = (char)err;
        if (write(ready[1], &answer, 1) != 1 || read(stop[0], &answer, 1) < 0)
            _exit(1);
        raise(SIGKILL);
    }
    char answer = -1;
    CU_ASSERT_EQUAL(read(ready[0], &answer, 1), 1);
    CU_ASSERT_EQUAL_FATAL(answer, TM_OK);
    close(ready[0]);
    close(ready[1]);
    close(stop[0]);
    return child;
}

static void kill_owner(struct child child)
{
    close(child.stop);
    int status;
    waitpid(child.pid, &status, 0);
    CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void objects_are_found_by_name_aligned_apart_and_zero(void)
{
    struct tm_workspace ws;
    CU_ASSERT_EQUAL_FATAL(set_up(), 0);
    CU_ASSERT_EQUAL_FATAL(tm_workspace_create(&ws, path, data_dir, objects, COUNT), TM_OK);
    CU_ASSERT_EQUAL(ws.size, tm_workspace_footprint(objects, COUNT));
    uint8_t *end = ws.base + 4096;
    for (size_t i = 0; i < COUNT; i++) {
        size_t footprint = 0;
        uint8_t *object = tm_workspace_find(&ws, objects[i].name, &footprint);
        CU_ASSERT_PTR_NOT_NULL_FATAL(object);
        CU_ASSERT_EQUAL(footprint, objects[i].footprint);
        CU_ASSERT_EQUAL((uintptr_t)object % tm_max_u64(objects[i].align, TM_CACHE_PAIR), 0);
        CU_ASSERT(object >= end);
        for (size_t k = 0; k < footprint; k++)
            CU_ASSERT_EQUAL_FATAL(object[k], 0);
        end = object + footprint;
    }
    CU_ASSERT(end <= ws.base + ws.size);
    CU_ASSERT_PTR_NULL(tm_workspace_find(&ws, "no such", NULL));
    CU_ASSERT_STRING_EQUAL(tm_workspace_data_dir(&ws), data_dir);
    CU_ASSERT_EQUAL(tm_workspace_owner_pid(&ws), getpid());
    tm_workspace_delete(&ws);
    CU_ASSERT_EQUAL(access(path, F_OK), -1);
    tear_down();
}

static void a_reader_sees_what_the_owner_wrote_also_after_its_death(void)
{
    CU_ASSERT_EQUAL_FATAL(set_up(), 0);
    struct child owner = start_owner();
    struct tm_workspace live, late;
    CU_ASSERT(tm_workspace_owner_lives(path));
    CU_ASSERT_EQUAL_FATAL(tm_workspace_join(&live, path, false), TM_OK);
    CU_ASSERT_EQUAL(*(char *)tm_workspace_find(&live, "small", NULL), 'x');
    CU_ASSERT_EQUAL(tm_workspace_owner_pid(&live), owner.pid);
    kill_owner(owner);
    CU_ASSERT_FALSE(tm_workspace_owner_lives(path));
    CU_ASSERT_EQUAL_FATAL(tm_workspace_join(&late, path, false), TM_OK);
    CU_ASSERT_EQUAL(*(char *)tm_workspace_find(&late, "small", NULL), 'x');
    CU_ASSERT_EQUAL(*(char *)tm_workspace_find(&live, "small", NULL), 'x');
    tm_workspace_leave(&live);
    tm_workspace_leave(&late);
    tear_down();
}

static void only_a_dead_owners_file_is_replaced(void)
{
    CU_ASSERT_EQUAL_FATAL(set_up(), 0);
    struct child owner = start_owner();
    struct tm_workspace ws, reader;
    CU_ASSERT_EQUAL(tm_workspace_create(&ws, path, data_dir, objects, COUNT), TM_ERR_LOCKED);
    CU_ASSERT_EQUAL_FATAL(tm_workspace_join(&reader, path, false), TM_OK);
    kill_owner(owner);
    CU_ASSERT_EQUAL_FATAL(tm_workspace_create(&ws, path, data_dir, objects, COUNT), TM_OK);
    CU_ASSERT_EQUAL(*(char *)tm_workspace_find(&ws, "small", NULL), 0);
    CU_ASSERT_EQUAL(*(char *)tm_workspace_find(&reader, "small", NULL), 'x');
    tm_workspace_leave(&reader);
    tm_workspace_delete(&ws);
    tear_down();
}

static void a_foreign_file_is_left_alone(void)
{
    CU_ASSERT_EQUAL_FATAL(set_up(), 0);
    struct tm_workspace ws;
    char back[16] = "";
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    CU_ASSERT_EQUAL(write(fd, "precious", 8), 8);
    CU_ASSERT_EQUAL(tm_workspace_create(&ws, path, data_dir, objects, COUNT), TM_ERR_EXISTS);
    CU_ASSERT_EQUAL(tm_workspace_join(&ws, path, false), TM_ERR_INVALID);
    CU_ASSERT_EQUAL(pread(fd, back, 8, 0), 8);
    CU_ASSERT_STRING_EQUAL(back, "precious");
    close(fd);
    CU_ASSERT_EQUAL(tm_workspace_sweep(folder), 0);
    CU_ASSERT_EQUAL(access(path, F_OK), 0);
    tear_down();
}

static void put_byte(const char *file, off_t at, uint8_t byte)
{
    int fd = open(file, O_WRONLY);
    CU_ASSERT_EQUAL(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void a_damaged_or_newer_layout_is_refused(void)
{
    CU_ASSERT_EQUAL_FATAL(set_up(), 0);
    struct tm_workspace ws, reader;
    CU_ASSERT_EQUAL_FATAL(tm_workspace_create(&ws, path, data_dir, objects, COUNT), TM_OK);
    uint8_t version = ws.base[8], offset = ws.base[4096 + 48];
    put_byte(path, 8, 99);
    CU_ASSERT_EQUAL(tm_workspace_join(&reader, path, false), TM_ERR_VERSION);
    put_byte(path, 8, version);
    put_byte(path, 4096 + 48, (uint8_t)(offset + 128)); /* an object's place */
    CU_ASSERT_EQUAL(tm_workspace_join(&reader, path, false), TM_ERR_CORRUPT);
    put_byte(path, 4096 + 48, offset);
    put_byte(path, 12, 255); /* the number of objects */
    CU_ASSERT_EQUAL(tm_workspace_join(&reader, path, false), TM_ERR_CORRUPT);
    put_byte(path, 12, COUNT);
    CU_ASSERT_EQUAL(tm_workspace_join(&reader, path, false), TM_OK);
    tm_workspace_leave(&reader);
    CU_ASSERT_EQUAL(truncate(path, 8192), 0);
    CU_ASSERT_EQUAL(tm_workspace_join(&reader, path, false), TM_ERR_CORRUPT);
    CU_ASSERT_EQUAL(truncate(path, 100), 0);
    CU_ASSERT_EQUAL(tm_workspace_join(&reader, path, false), TM_ERR_INVALID);
    tm_workspace_delete(&ws);
    CU_ASSERT_EQUAL(tm_workspace_join(&reader, path, false), TM_ERR_NOTFOUND);
    tear_down();
}

static void bad_lists_are_refused(void)
{
    static const struct tm_workspace_object twice[] = {{"a", 1, 1}, {"a", 1, 1}};
    static const struct tm_workspace_object odd[] = {{"a", 1, 192}};
    static const struct tm_workspace_object nameless[] = {{"", 1, 1}};
    static const struct tm_workspace_object empty[] = {{"a", 0, 1}};
    struct tm_workspace ws;
    CU_ASSERT_EQUAL(tm_workspace_footprint(twice, 2), 0);
    CU_ASSERT_EQUAL(tm_workspace_footprint(odd, 1), 0);
    CU_ASSERT_EQUAL(tm_workspace_footprint(nameless, 1), 0);
    CU_ASSERT_EQUAL(tm_workspace_footprint(empty, 1), 0);
    CU_ASSERT_EQUAL(tm_workspace_create(&ws, "relative", "/d", objects, COUNT), TM_ERR_INVALID);
    CU_ASSERT_EQUAL(tm_workspace_create(&ws, "/dev/shm/no/such", "/d", objects, COUNT),
                    TM_ERR_NOTFOUND);
}

static void the_path_follows_the_data_directory(void)
{
    CU_ASSERT_EQUAL_FATAL(set_up(), 0);
    char a[TM_WORKSPACE_PATH_MAX + 1], b[TM_WORKSPACE_PATH_MAX + 1], dotted[200];
    snprintf(dotted, sizeof dotted, "%s/../data/.", data_dir);
    CU_ASSERT_EQUAL(tm_workspace_path(a, data_dir), TM_OK);
    CU_ASSERT_EQUAL(tm_workspace_path(b, dotted), TM_OK);
    CU_ASSERT_STRING_EQUAL(a, b);
    CU_ASSERT_EQUAL(tm_workspace_path(b, folder), TM_OK);
    CU_ASSERT_STRING_NOT_EQUAL(a, b);
    CU_ASSERT_EQUAL(tm_workspace_path(b, "/no/such/folder"), TM_ERR_NOTFOUND);
    tear_down();
}

/* The node's user, and root, who looks at it, mean the same file. */
static void the_path_is_the_same_for_all_users(void)
{
    char a[TM_WORKSPACE_PATH_MAX + 1], b[TM_WORKSPACE_PATH_MAX + 1] = "";
    int back[2];
    if (geteuid() != 0) {
        tm_test_skip("only root may become another user");
        return;
    }
    CU_ASSERT_EQUAL_FATAL(set_up(), 0);
    CU_ASSERT_EQUAL_FATAL(chmod(folder, 0755), 0);
    CU_ASSERT_EQUAL_FATAL(chown(data_dir, 65534, 65534), 0);
    CU_ASSERT_EQUAL(tm_workspace_path(a, data_dir), TM_OK);
    CU_ASSERT_EQUAL_FATAL(pipe(back), 0);
    pid_t child = fork();
    if (child == 0) {
        if (setuid(65534) != 0 || tm_workspace_path(b, data_dir) != TM_OK)
            _exit(1);
        _exit(write(back[1], b, sizeof b) == sizeof b ? 0 : 1);
    }
    int status = 0;
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT_EQUAL_FATAL(status, 0);
    CU_ASSERT_EQUAL(read(back[0], b, sizeof b), (ssize_t)sizeof b);
    CU_ASSERT_STRING_EQUAL(a, b);
    close(back[0]);
    close(back[1]);
    tear_down();
}

static void sweep_takes_only_what_nobody_can_ask_for(void)
{
    CU_ASSERT_EQUAL_FATAL(set_up(), 0);
    struct child owner = start_owner();
    CU_ASSERT_EQUAL(rmdir(data_dir), 0);
    CU_ASSERT_EQUAL(tm_workspace_sweep(folder), 0); /* the owner lives */
    kill_owner(owner);
    CU_ASSERT_EQUAL(mkdir(data_dir, 0700), 0);
    CU_ASSERT_EQUAL(tm_workspace_sweep(folder), 0); /* `stat` may still want to look */
    CU_ASSERT_EQUAL(rmdir(data_dir), 0);
    CU_ASSERT_EQUAL(tm_workspace_sweep(folder), 1);
    CU_ASSERT_EQUAL(access(path, F_OK), -1);
    CU_ASSERT_EQUAL(tm_workspace_sweep("/no/such/folder"), 0);
    tear_down();
}

static void too_little_shared_memory_is_an_error_at_boot(void)
{
    CU_ASSERT_EQUAL_FATAL(set_up(), 0);
    char small[200], file[256];
    snprintf(small, sizeof small, "%s/small", folder);
    CU_ASSERT_EQUAL(mkdir(small, 0700), 0);
    if (mount("tmpfs", small, "tmpfs", 0, "size=64k") != 0) {
        tm_test_skip("mounting a small tmpfs takes root");
        rmdir(small);
        tear_down();
        return;
    }
    static const struct tm_workspace_object large[] = {{"large", 1 << 20, 1}};
    struct tm_workspace ws;
    snprintf(file, sizeof file, "%s/tidemill-x", small);
    CU_ASSERT_EQUAL(tm_workspace_create(&ws, file, data_dir, large, 1), TM_ERR_NOSPACE);
    CU_ASSERT_EQUAL(access(file, F_OK), -1);
    CU_ASSERT_EQUAL(tm_workspace_create(&ws, file, data_dir, objects, COUNT), TM_OK);
    tm_workspace_delete(&ws);
    CU_ASSERT_EQUAL(umount(small), 0);
    CU_ASSERT_EQUAL(rmdir(small), 0);
    tear_down();
}

static void two_joins_share_one_ring(void)
{
    CU_ASSERT_EQUAL_FATAL(set_up(), 0);
    struct tm_workspace ws, client;
    size_t bytes;
    CU_ASSERT_EQUAL_FATAL(tm_workspace_create(&ws, path, data_dir, objects, COUNT), TM_OK);
    tm_ring_new(tm_workspace_find(&ws, "ring/0-1", NULL), 4096);
    CU_ASSERT_EQUAL_FATAL(tm_workspace_join(&client, path, true), TM_OK);
    CU_ASSERT_PTR_NOT_EQUAL(client.base, ws.base);
    struct tm_ring_producer p;
    struct tm_ring_consumer c;
    struct tm_ring_record r;
    void *mine = tm_workspace_find(&ws, "ring/0-1", &bytes);
    tm_ring_producer_init(&p, tm_ring_join(mine, bytes));
    tm_ring_consumer_init(&c, tm_ring_join(tm_workspace_find(&client, "ring/0-1", NULL), bytes));
    memcpy(tm_ring_claim(&p, 5, 2), "hi", 2);
    tm_ring_publish(&p);
    CU_ASSERT(tm_ring_next(&c, &r) && r.kind == 5 && memcmp(r.data, "hi", 2) == 0);
    tm_workspace_leave(&client);
    tm_workspace_delete(&ws);
    tear_down();
}

static const struct tm_test tests[] = {
    TM_TEST(objects_are_found_by_name_aligned_apart_and_zero),
    TM_TEST(a_reader_sees_what_the_owner_wrote_also_after_its_death),
    TM_TEST(only_a_dead_owners_file_is_replaced),
    TM_TEST(a_foreign_file_is_left_alone),
    TM_TEST(a_damaged_or_newer_layout_is_refused),
    TM_TEST(bad_lists_are_refused),
    TM_TEST(the_path_follows_the_data_directory),
    TM_TEST(the_path_is_the_same_for_all_users),
    TM_TEST(sweep_takes_only_what_nobody_can_ask_for),
    TM_TEST(too_little_shared_memory_is_an_error_at_boot),
    TM_TEST(two_joins_share_one_ring),
};
TM_TEST_MAIN("runtime/workspace", tests)
