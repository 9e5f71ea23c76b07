/* The copy of the directory, on the simulated disk and on one of this machine. */
#include "actors/directory_file.h"
#include "runtime/disk_uring.h"
#include "tests/sim/sim_disk.h"
#include "tests/scratch.h"

#include <fcntl.h>
#include <unistd.h>

static struct tm_directory d, back;

static void make(uint64_t version, unsigned members)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
    struct tm_directory_spec spec = {
        .cluster = "x", .names = names, .count = members, .partitions = 40, .copies = 1};
    tm_directory_propose(&d, &spec);
    d.version = version;
    d.facts_len = (uint32_t)snprintf(d.facts, sizeof d.facts, "n=%0*d\n", (int)version * 3, 1);
}

static void expect(struct tm_disk *disk)
{
    CU_ASSERT_EQUAL(tm_directory_load(disk, &back), TM_OK);
    CU_ASSERT_EQUAL(memcmp(&d, &back, sizeof d), 0);
}

struct ended {
    unsigned times;
    uint64_t version;
    enum tm_err err;
};

static void on_done(void *host, uint64_t version, enum tm_err err)
{
    struct ended *e = host;
    e->times++;
    e->version = version;
    e->err = err;
}

static struct tm_sim_disk *sd;

/* An empty one; the test frees sd. */
static struct tm_disk *new_disk(uint64_t seed)
{
    sd = tm_sim_disk_new(seed);
    return tm_sim_disk_table(sd);
}

static void what_is_saved_is_loaded(void)
{
    struct tm_disk *disk = new_disk(1);
    CU_ASSERT_EQUAL(tm_directory_load(disk, &back), TM_ERR_NOTFOUND);
    for (uint64_t version = 1; version < 9; version++) {
        make(version, (unsigned)version % 5 + 1); /* longer, and shorter again */
        CU_ASSERT_EQUAL(tm_directory_save(disk, &d), TM_OK);
        expect(disk);
        tm_sim_disk_crash(sd, 0);
        expect(disk);
    }
    tm_sim_disk_free(sd);
}

static void one_damaged_copy_is_no_loss_and_is_mended(void)
{
    struct tm_disk *disk = new_disk(7);
    make(3, 4);
    CU_ASSERT_EQUAL(tm_directory_save(disk, &d), TM_OK);
    uint64_t size = 0;
    (void)tm_sim_disk_data(sd, TM_DIRECTORY_FILE, &size);
    for (uint64_t at = 0; at < size; at += 7) {
        CU_ASSERT_TRUE(tm_sim_disk_flip(sd, TM_DIRECTORY_FILE, at, at % 8));
        expect(disk);
        const uint8_t *bytes = tm_sim_disk_data(sd, TM_DIRECTORY_FILE, &size);
        CU_ASSERT_EQUAL(memcmp(bytes, bytes + size / 2, size / 2), 0);
    }
    CU_ASSERT_TRUE(tm_sim_disk_flip(sd, TM_DIRECTORY_FILE, 130, 2));
    CU_ASSERT_TRUE(tm_sim_disk_flip(sd, TM_DIRECTORY_FILE, size / 2 + 131, 2));
    CU_ASSERT_EQUAL(tm_directory_load(disk, &back), TM_ERR_CORRUPT);
    tm_sim_disk_free(sd);
}

/* As earlier builds wrote it. */
static void a_file_with_one_copy_is_taken(void)
{
    struct tm_disk *disk = new_disk(8);
    make(3, 4);
    size_t size = tm_directory_size(&d);
    uint8_t *bytes = malloc(size);
    CU_ASSERT_FATAL(bytes != NULL);
    tm_directory_encode(&d, bytes);
    int64_t file = tm_disk_run_open(disk, TM_DIRECTORY_FILE, TM_DISK_CREATE);
    CU_ASSERT_FATAL(file >= 0);
    CU_ASSERT_EQUAL(tm_disk_run_write(disk, (int32_t)file, bytes, (uint32_t)size, 0, 0),
                    (int64_t)size);
    tm_disk_run_close(disk, (int32_t)file);
    expect(disk);
    CU_ASSERT_TRUE(tm_sim_disk_flip(sd, TM_DIRECTORY_FILE, size - 20, 2));
    CU_ASSERT_EQUAL(tm_directory_load(disk, &back), TM_ERR_CORRUPT);
    free(bytes);
    tm_sim_disk_free(sd);
}

/* A crash left a longer one beside: nothing of it stays. */
static void what_lies_beside_is_not_mixed_in(void)
{
    struct tm_disk *disk = new_disk(2);
    make(9, 6);
    tm_sim_disk_fail(sd, TM_DISK_RENAME, 28, 1); /* not 5: it may have happened then */
    CU_ASSERT_EQUAL(tm_directory_save(disk, &d), TM_ERR_NOSPACE);
    CU_ASSERT_EQUAL(tm_directory_load(disk, &back), TM_ERR_NOTFOUND);
    make(1, 1);
    CU_ASSERT_EQUAL(tm_directory_save(disk, &d), TM_OK);
    expect(disk);
    tm_sim_disk_free(sd);
}

static void one_that_is_written_beside_work_takes_the_old_ones_place_when_it_is_whole(void)
{
    struct tm_disk *disk = new_disk(3);
    struct tm_directory_write w = {0};
    struct ended ended = {0};
    make(1, 3);
    CU_ASSERT_EQUAL(tm_directory_save(disk, &d), TM_OK);
    struct tm_directory first = d;
    make(2, 5);
    struct tm_directory second = d;
    CU_ASSERT_EQUAL(tm_directory_write(&w, disk, &d, on_done, &ended), TM_OK);
    CU_ASSERT_EQUAL(tm_directory_write(&w, disk, &d, on_done, &ended), TM_ERR_FULL);
    make(7, 1); /* what was given may go */
    for (unsigned steps = 0; ended.times == 0; steps++) {
        CU_ASSERT_TRUE_FATAL(tm_directory_writing(&w) && steps < 20);
        CU_ASSERT_EQUAL(tm_directory_load(disk, &back), TM_OK);
        CU_ASSERT(memcmp(&back, &first, sizeof back) == 0 ||
                  memcmp(&back, &second, sizeof back) == 0);
        tm_sim_disk_step(sd);
    }
    CU_ASSERT(ended.times == 1 && ended.version == 2 && ended.err == TM_OK);
    CU_ASSERT_FALSE(tm_directory_writing(&w));
    tm_sim_disk_crash(sd, 0);
    d = second;
    expect(disk);
    tm_sim_disk_free(sd);
}

static void a_step_that_fails_is_told_and_leaves_the_old_one(void)
{
    static const enum tm_disk_kind kinds[] = {TM_DISK_OPEN, TM_DISK_WRITE, TM_DISK_SYNC,
                                              TM_DISK_CLOSE, TM_DISK_RENAME};
    for (size_t k = 0; k < TM_ARRAY_LEN(kinds); k++) {
        struct tm_disk *disk = new_disk(4 + k);
        struct tm_directory_write w = {0};
        struct ended ended = {0};
        make(1, 3);
        CU_ASSERT_EQUAL(tm_directory_save(disk, &d), TM_OK);
        struct tm_directory first = d;
        make(2, 3);
        tm_sim_disk_fail(sd, kinds[k], 28, 1);
        CU_ASSERT_EQUAL(tm_directory_write(&w, disk, &d, on_done, &ended), TM_OK);
        tm_sim_disk_drain(sd);
        CU_ASSERT(ended.times == 1 && ended.err == TM_ERR_NOSPACE);
        CU_ASSERT_FALSE(tm_directory_writing(&w));
        d = first;
        expect(disk);
        make(2, 3);
        CU_ASSERT_EQUAL(tm_directory_write(&w, disk, &d, on_done, &ended), TM_OK);
        tm_sim_disk_drain(sd);
        CU_ASSERT(ended.times == 2 && ended.err == TM_OK);
        expect(disk);
        tm_sim_disk_free(sd);
    }
}

static void a_real_disk_does_the_same(void)
{
    const char *path = tm_scratch();
    char file[64], why[256];
    struct tm_uring uring;
    struct tm_disk_uring real;
    struct tm_directory_write w = {0};
    struct ended ended = {0};
    int dir = open(path, O_RDONLY | O_DIRECTORY);
    CU_ASSERT_FATAL(dir >= 0 && tm_uring_open(&uring, 64, why, sizeof why) == TM_OK);
    tm_disk_uring_init(&real, &uring, dir);
    for (uint64_t version = 1; version < 6; version++) {
        make(version, 6 - (unsigned)version);
        CU_ASSERT_EQUAL(tm_directory_save(&real.disk, &d), TM_OK);
        expect(&real.disk);
        d.version += 100;
        CU_ASSERT_EQUAL(tm_directory_write(&w, &real.disk, &d, on_done, &ended), TM_OK);
        for (unsigned turns = 0; ended.times < version && turns < 1000; turns++) {
            tm_disk_uring_poll(&real);
            tm_uring_wait(&uring, TM_MS(100));
            tm_uring_reap(&uring, 64);
        }
        CU_ASSERT(ended.times == version && ended.err == TM_OK && ended.version == version + 100);
        expect(&real.disk);
    }
    tm_uring_close(&uring);
    close(dir);
    snprintf(file, sizeof file, "%s/%s", path, TM_DIRECTORY_FILE);
    CU_ASSERT_EQUAL(unlink(file), 0);
    CU_ASSERT_EQUAL(rmdir(path), 0); /* nothing lies beside */
}

static const struct tm_test tests[] = {
    TM_TEST(what_is_saved_is_loaded),
    TM_TEST(one_damaged_copy_is_no_loss_and_is_mended),
    TM_TEST(a_file_with_one_copy_is_taken),
    TM_TEST(what_lies_beside_is_not_mixed_in),
    TM_TEST(one_that_is_written_beside_work_takes_the_old_ones_place_when_it_is_whole),
    TM_TEST(a_step_that_fails_is_told_and_leaves_the_old_one),
    TM_TEST(a_real_disk_does_the_same),
};

TM_TEST_MAIN("actors/directory_file", tests)
