/* The data directory's identity over the simulated disk; the lock over a real folder. */
#include "storage/datadir.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/scratch.h"
#include "tests/storage/store_env.h"

#define COPY_AT 4096

static struct tm_datadir_error error;

static void an_identity_is_written_once_and_read_back(void)
{
    struct store_env env;
    struct tm_datadir_identity id, again;
    env_init(&env, 1);
    CU_ASSERT(tm_datadir_read(env.ctx.disk, &id, &error) == TM_ERR_NOTFOUND);
    CU_ASSERT(tm_datadir_format(&env.ctx, "c", "n-1", &id, &error) == TM_OK);
    CU_ASSERT(id.disk_id != 0 && !id.created && id.generation_count == 0);
    CU_ASSERT(tm_datadir_format(&env.ctx, "c", "n-1", &again, &error) == TM_ERR_EXISTS);
    CU_ASSERT(tm_datadir_read(env.ctx.disk, &again, &error) == TM_OK);
    CU_ASSERT(memcmp(&id, &again, sizeof id) == 0);
    id.created = true;
    id.partitions = 256;
    memset(id.cluster_uuid, 7, 16);
    memset(id.creation_token, 9, 16);
    CU_ASSERT(tm_datadir_write(env.ctx.disk, &id, &error) == TM_OK);
    tm_sim_disk_crash(env.sd, 0);
    CU_ASSERT(tm_datadir_read(env.ctx.disk, &again, &error) == TM_OK);
    CU_ASSERT(memcmp(&id, &again, sizeof id) == 0);
    env_done(&env);
}

static void a_directory_of_another_node_or_cluster_is_refused_by_name(void)
{
    struct store_env env;
    struct tm_datadir_identity id;
    env_init(&env, 1);
    CU_ASSERT(tm_datadir_format(&env.ctx, "east", "n-1", &id, &error) == TM_OK);
    CU_ASSERT(tm_datadir_check(&id, "east", "n-1", &error) == TM_OK);
    CU_ASSERT(tm_datadir_check(&id, "west", "n-1", &error) == TM_ERR_IDENTITY);
    CU_ASSERT(strstr(error.text, "node n-1 of cluster east") != NULL);
    CU_ASSERT(strstr(error.text, "node n-1 of cluster west") != NULL);
    CU_ASSERT(tm_datadir_check(&id, "east", "n-2", &error) == TM_ERR_IDENTITY);
    char longest[TM_DATADIR_NAME_MAX + 2];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    tm_sim_disk_remove(env.sd, "identity");
    CU_ASSERT(tm_datadir_format(&env.ctx, longest, "n-1", &id, &error) == TM_ERR_INVALID);
    env_done(&env);
}

static void a_newer_format_and_damage_are_told_apart(void)
{
    struct store_env env;
    struct tm_datadir_identity id;
    env_init(&env, 1);
    CU_ASSERT(tm_datadir_format(&env.ctx, "c", "n", &id, &error) == TM_OK);
    for (uint64_t at = 0; at < 336; at++) {
        CU_ASSERT(tm_sim_disk_flip(env.sd, "identity", at, (unsigned)at % 8));
        CU_ASSERT(tm_sim_disk_flip(env.sd, "identity", at + COPY_AT, (unsigned)at % 8));
        enum tm_err err = tm_datadir_read(env.ctx.disk, &id, &error);
        CU_ASSERT(err == TM_ERR_CORRUPT || (err == TM_ERR_VERSION && at >= 8 && at < 12));
        CU_ASSERT(tm_sim_disk_flip(env.sd, "identity", at, (unsigned)at % 8));
        CU_ASSERT(tm_sim_disk_flip(env.sd, "identity", at + COPY_AT, (unsigned)at % 8));
    }
    CU_ASSERT(tm_sim_disk_flip(env.sd, "identity", 8, 1)); /* version 1 -> 3 */
    CU_ASSERT(tm_datadir_read(env.ctx.disk, &id, &error) == TM_ERR_VERSION);
    CU_ASSERT(strstr(error.text, "format 3") != NULL);
    env_done(&env);
}

static void one_damaged_copy_is_no_loss_and_is_mended_by_the_next_start(void)
{
    for (uint64_t copy = 0; copy <= COPY_AT; copy += COPY_AT) {
        struct store_env env;
        struct tm_datadir_identity id, found;
        bool clean;
        env_init(&env, 1);
        CU_ASSERT(tm_datadir_format(&env.ctx, "c", "n", &id, &error) == TM_OK);
        CU_ASSERT(tm_datadir_begin(env.ctx.disk, &id, 2, &clean, &error) == TM_OK);
        CU_ASSERT(tm_sim_disk_flip(env.sd, "identity", copy + 100, 3));
        CU_ASSERT(tm_datadir_read(env.ctx.disk, &found, &error) == TM_OK);
        CU_ASSERT(memcmp(&id, &found, sizeof id) == 0);
        CU_ASSERT(tm_datadir_begin(env.ctx.disk, &id, 2, &clean, &error) == TM_OK);
        CU_ASSERT(tm_sim_disk_flip(env.sd, "identity", COPY_AT - copy + 100, 3));
        CU_ASSERT(tm_datadir_read(env.ctx.disk, &found, &error) == TM_OK);
        CU_ASSERT(memcmp(&id, &found, sizeof id) == 0);
        env_done(&env);
    }
}

static void a_full_disk_does_not_keep_the_identity_from_being_written(void)
{
    struct store_env env;
    struct tm_datadir_identity id, found;
    bool clean;
    env_init(&env, 1);
    CU_ASSERT(tm_datadir_format(&env.ctx, "c", "n", &id, &error) == TM_OK);
    tm_sim_disk_set_capacity(env.sd, tm_sim_disk_used(env.sd));
    CU_ASSERT(tm_datadir_begin(env.ctx.disk, &id, 2, &clean, &error) == TM_OK);
    CU_ASSERT(tm_datadir_opened(env.ctx.disk, &id, &error) == TM_OK);
    CU_ASSERT(tm_datadir_end(env.ctx.disk, &id, &error) == TM_OK);
    tm_sim_disk_crash(env.sd, 0);
    CU_ASSERT(tm_datadir_read(env.ctx.disk, &found, &error) == TM_OK);
    CU_ASSERT(memcmp(&id, &found, sizeof id) == 0);
    env_done(&env);
}

static void data_without_an_identity_is_not_formatted_over(void)
{
    struct store_env env;
    struct tm_datadir_identity id;
    env_init(&env, 1);
    tm_disk_run_open(env.ctx.disk, "wal/g0001/w00-00000001.seg", TM_DISK_CREATE);
    CU_ASSERT(tm_datadir_read(env.ctx.disk, &id, &error) == TM_ERR_CORRUPT);
    CU_ASSERT(tm_datadir_format(&env.ctx, "c", "n", &id, &error) == TM_ERR_CORRUPT);
    env_done(&env);
}

static void starts_are_counted_and_worker_counts_become_generations(void)
{
    struct store_env env;
    struct tm_datadir_identity id;
    bool clean = true;
    env_init(&env, 1);
    CU_ASSERT(tm_datadir_format(&env.ctx, "c", "n", &id, &error) == TM_OK);
    CU_ASSERT(tm_datadir_begin(env.ctx.disk, &id, 2, &clean, &error) == TM_OK);
    CU_ASSERT(!clean && id.incarnation == 1 && id.generation_count == 1 && !id.opened);
    CU_ASSERT(tm_datadir_opened(env.ctx.disk, &id, &error) == TM_OK);
    CU_ASSERT(tm_datadir_end(env.ctx.disk, &id, &error) == TM_OK);
    CU_ASSERT(tm_datadir_read(env.ctx.disk, &id, &error) == TM_OK && id.clean);
    CU_ASSERT(tm_datadir_begin(env.ctx.disk, &id, 2, &clean, &error) == TM_OK);
    CU_ASSERT(clean && id.incarnation == 2 && id.generation_count == 1 && id.opened);
    CU_ASSERT(tm_datadir_begin(env.ctx.disk, &id, 4, &clean, &error) == TM_OK);
    CU_ASSERT(!clean && id.generation_count == 2);
    CU_ASSERT(id.generations[1].generation == 2 && id.generations[1].workers == 4);
    CU_ASSERT(tm_datadir_opened(env.ctx.disk, &id, &error) == TM_OK);
    CU_ASSERT(tm_datadir_begin(env.ctx.disk, &id, 2, &clean, &error) == TM_OK);
    CU_ASSERT(id.generation_count == 3 && id.generations[2].generation == 3);
    CU_ASSERT(tm_datadir_forget_older(env.ctx.disk, &id, &error) == TM_OK);
    CU_ASSERT(tm_datadir_read(env.ctx.disk, &id, &error) == TM_OK);
    CU_ASSERT(id.generation_count == 1 && id.generations[0].generation == 3);
    for (uint32_t i = 0; i < TM_WAL_GENERATIONS - 1; i++) {
        CU_ASSERT(tm_datadir_opened(env.ctx.disk, &id, &error) == TM_OK);
        CU_ASSERT(tm_datadir_begin(env.ctx.disk, &id, 3 + i, &clean, &error) == TM_OK);
    }
    CU_ASSERT(tm_datadir_opened(env.ctx.disk, &id, &error) == TM_OK);
    CU_ASSERT(tm_datadir_begin(env.ctx.disk, &id, 99, &clean, &error) == TM_ERR_FULL);
    env_done(&env);
}

static void make_file(struct store_env *env, const char *name)
{
    int64_t file = tm_disk_run_open(env->ctx.disk, name, TM_DISK_CREATE);
    CU_ASSERT_FATAL(file >= 0);
    tm_disk_run_close(env->ctx.disk, (int32_t)file);
}

static void count_name(void *arg, const char *name)
{
    (void)name;
    ++*(unsigned *)arg;
}

static unsigned files_in(struct store_env *env, const char *folder)
{
    unsigned count = 0;
    CU_ASSERT(env->ctx.disk->list(env->ctx.disk, folder, count_name, &count) >= 0);
    return count;
}

/* A start that failed before all logs were open leaves a generation that need not be whole. */
static void a_generation_that_was_never_opened_is_replaced(void)
{
    struct store_env env;
    struct tm_datadir_identity id;
    bool clean;
    env_init(&env, 1);
    CU_ASSERT(tm_datadir_format(&env.ctx, "c", "n", &id, &error) == TM_OK);
    CU_ASSERT(tm_datadir_begin(env.ctx.disk, &id, 1, &clean, &error) == TM_OK);
    CU_ASSERT(tm_datadir_begin(env.ctx.disk, &id, 2, &clean, &error) == TM_OK);
    CU_ASSERT(id.generation_count == 1);
    CU_ASSERT(id.generations[0].generation == 2 && id.generations[0].workers == 2);
    CU_ASSERT(tm_datadir_opened(env.ctx.disk, &id, &error) == TM_OK);
    CU_ASSERT(tm_datadir_begin(env.ctx.disk, &id, 3, &clean, &error) == TM_OK);
    CU_ASSERT(tm_datadir_read(env.ctx.disk, &id, &error) == TM_OK && !id.opened);
    CU_ASSERT(tm_datadir_begin(env.ctx.disk, &id, 2, &clean, &error) == TM_OK);
    CU_ASSERT(id.generation_count == 2 && id.generations[0].generation == 2);
    CU_ASSERT(id.generations[1].generation == 4 && id.generations[1].workers == 2);
    env_done(&env);
}

static void files_of_generations_not_listed_are_swept(void)
{
    struct store_env env;
    struct tm_datadir_identity id = {.generation_count = 2, .generations = {{2, 1}, {4, 1}}};
    env_init(&env, 1);
    CU_ASSERT(tm_datadir_sweep(env.ctx.disk, &id, &error) == TM_OK); /* no folder yet */
    tm_disk_run_mkdir(env.ctx.disk, "wal");
    const char *const folders[] = {"wal/g0001", "wal/g0002", "wal/g0003", "wal/g0004", "wal/g4x"};
    for (unsigned i = 0; i < TM_ARRAY_LEN(folders); i++) {
        char name[32];
        tm_disk_run_mkdir(env.ctx.disk, folders[i]);
        snprintf(name, sizeof name, "%s/w00.seg", folders[i]);
        make_file(&env, name);
    }
    CU_ASSERT(tm_datadir_sweep(env.ctx.disk, &id, &error) == TM_OK);
    for (unsigned i = 0; i < TM_ARRAY_LEN(folders); i++)
        CU_ASSERT(files_in(&env, folders[i]) == (i == 0 || i == 2 ? 0 : 1));
    env_done(&env);
}

static void there_is_always_one_whole_identity(void)
{
    uint64_t seed = tm_test_seed();
    for (unsigned i = 0; i < 200; i++) {
        struct store_env env;
        struct tm_datadir_identity id, found;
        bool clean;
        env_init(&env, seed + i);
        CU_ASSERT_FATAL(tm_datadir_format(&env.ctx, "c", "n", &id, &error) == TM_OK);
        uint64_t told = 0;
        for (uint64_t n = env_below(&env, 5); n > 0; n--) {
            static const enum tm_disk_kind kinds[] = {TM_DISK_WRITE, TM_DISK_SYNC, TM_DISK_RENAME,
                                                      TM_DISK_SYNC_DIR};
            if (env_chance(&env, 30))
                tm_sim_disk_fail(env.sd, kinds[env_below(&env, 4)], 5, 1);
            if (tm_datadir_begin(env.ctx.disk, &id, 1, &clean, &error) == TM_OK)
                told = id.incarnation;
        }
        tm_sim_disk_crash(env.sd, -1);
        CU_ASSERT_FATAL(tm_datadir_read(env.ctx.disk, &found, &error) == TM_OK);
        CU_ASSERT_FATAL(found.incarnation >= told && found.incarnation <= id.incarnation);
        CU_ASSERT_FATAL(found.disk_id == id.disk_id);
        env_done(&env);
    }
}

static void a_second_process_is_kept_out_and_told_who_is_in(void)
{
    char path[64];
    snprintf(path, sizeof path, "%s/a/b", tm_scratch());
    int fd = -1, other = -1;
    CU_ASSERT_FATAL(tm_datadir_lock(path, &fd, &error) == TM_OK);
    CU_ASSERT(tm_datadir_lock(path, &other, &error) == TM_ERR_LOCKED);
    char pid[32];
    snprintf(pid, sizeof pid, "process %d:", (int)getpid());
    CU_ASSERT(strstr(error.text, pid) != NULL);
    tm_datadir_unlock(fd);
    CU_ASSERT(tm_datadir_lock(path, &fd, &error) == TM_OK);
    tm_datadir_unlock(fd);
    CU_ASSERT(tm_datadir_lock("/proc/nowhere/x", &fd, &error) != TM_OK);
    CU_ASSERT(strstr(error.text, "/proc/nowhere/x") != NULL);
}

static bool is_there(const char *folder, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

/* What a refused start made goes again, unless it may be somebody's data. */
static void only_what_holds_nothing_is_discarded(void)
{
    static const struct tm_datadir_identity fresh, created = {.created = true},
                                                   about_to_be = {.creation_token = {[15] = 1}};
    char path[64], wal[80], identity[80];
    snprintf(path, sizeof path, "%s/fresh", tm_scratch());
    snprintf(wal, sizeof wal, "%s/wal", path);
    snprintf(identity, sizeof identity, "%s/identity", path);
    int fd = -1, late = -1;
    CU_ASSERT_FATAL(tm_datadir_lock(path, &fd, &error) == TM_OK);
    CU_ASSERT_FATAL(mkdir(wal, 0700) == 0);
    int file = open(identity, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CU_ASSERT_FATAL(file >= 0 && close(file) == 0);
    CU_ASSERT_FALSE(tm_datadir_discard(path, &fresh));
    CU_ASSERT_FATAL(rmdir(wal) == 0);
    CU_ASSERT_FALSE(tm_datadir_discard(path, &created));
    CU_ASSERT_FALSE(tm_datadir_discard(path, &about_to_be));
    CU_ASSERT(is_there(path, "identity") && is_there(path, "lock"));
    CU_ASSERT_TRUE(tm_datadir_discard(path, &fresh));
    CU_ASSERT(!is_there(path, "identity") && !is_there(path, "lock"));
    CU_ASSERT_EQUAL(tm_datadir_lock(path, &late, &error), TM_OK); /* the old one holds nobody up */
    CU_ASSERT_TRUE(is_there(path, "lock"));
    tm_datadir_unlock(late);
    tm_datadir_unlock(fd);
}

static const struct tm_test tests[] = {
    TM_TEST(an_identity_is_written_once_and_read_back),
    TM_TEST(a_directory_of_another_node_or_cluster_is_refused_by_name),
    TM_TEST(a_newer_format_and_damage_are_told_apart),
    TM_TEST(one_damaged_copy_is_no_loss_and_is_mended_by_the_next_start),
    TM_TEST(a_full_disk_does_not_keep_the_identity_from_being_written),
    TM_TEST(data_without_an_identity_is_not_formatted_over),
    TM_TEST(starts_are_counted_and_worker_counts_become_generations),
    TM_TEST(a_generation_that_was_never_opened_is_replaced),
    TM_TEST(files_of_generations_not_listed_are_swept),
    TM_TEST(there_is_always_one_whole_identity),
    TM_TEST(a_second_process_is_kept_out_and_told_who_is_in),
    TM_TEST(only_what_holds_nothing_is_discarded),
};

TM_TEST_MAIN("storage/datadir", tests)
