/* Promises over the simulated disk, through the log set that keeps them: what was reported durable
 * is there after a crash, whatever the log or the file lost, and is not proven where both lost. */
#include "storage/hard_state.h"

#include "storage/wal_format.h"
#include "tests/storage/log_set_env.h"

#define PARTITIONS 3
#define COPIES     4

struct fixture {
    struct store_env env;
    struct tm_log_set_config config;
    struct tm_log_set *set;
    struct tm_hard_state put[PARTITIONS];
    uint64_t told[PARTITIONS]; /* the term that was reported durable */
    unsigned failed;
};

static void on_hard(void *host, uint32_t p)
{
    struct fixture *f = host;
    if (tm_hs_durable(tm_log_set_hs(f->set), p, tm_log_set_wal(f->set)))
        f->told[p] = f->put[p].term;
}

static void on_failed(void *host, enum tm_err err)
{
    CU_ASSERT(err == TM_ERR_IO);
    ((struct fixture *)host)->failed++;
}

static void reopen(struct fixture *f)
{
    f->config.wal.incarnation++;
    CU_ASSERT_FATAL(tm_log_set_open(&f->config, &f->set) == TM_OK);
}

static struct fixture *opened(uint64_t seed)
{
    struct fixture *f = calloc(1, sizeof *f);
    CU_ASSERT_FATAL(f != NULL);
    env_init(&f->env, seed);
    f->config =
        (struct tm_log_set_config){.wal = log_set_wal_config(&f->env, PARTITIONS),
                                   .workers = 1,
                                   .cache_bytes = 4096,
                                   .callbacks = {.host = f, .hard = on_hard, .failed = on_failed}};
    reopen(f);
    return f;
}

static void put(struct fixture *f, uint32_t p)
{
    f->put[p].term++;
    f->put[p].vote = (uint32_t)env_below(&f->env, 3);
    f->put[p].vote_disk = env_random(&f->env);
    tm_hs_put(tm_log_set_hs(f->set), p, &f->put[p]);
}

static void settle(struct fixture *f)
{
    log_set_settle(f->set, &f->env);
}

static void die(struct fixture *f, bool power)
{
    if (power)
        tm_sim_disk_crash(f->env.sd, -1);
    else
        tm_sim_disk_kill(f->env.sd);
    tm_log_set_abandon(f->set);
    f->set = NULL;
}

static void teardown(struct fixture *f)
{
    if (f->set != NULL)
        die(f, false);
    env_done(&f->env);
    free(f);
}

/* Flips a bit in `copies` of the four, as bits. */
static void harm_file(struct fixture *f, unsigned copies)
{
    char name[TM_WAL_NAME_MAX];
    uint64_t size = 0;
    tm_wal_name_hard(name, "wal", 1, 0);
    CU_ASSERT_FATAL(tm_sim_disk_data(f->env.sd, name, &size) != NULL && size % COPIES == 0);
    for (unsigned i = 0; i < COPIES; i++)
        if ((copies >> i & 1) != 0)
            CU_ASSERT(tm_sim_disk_flip(f->env.sd, name, i * size / COPIES + 30, 3));
}

/* Flips a bit in the last page of the log that was written. */
static void harm_log(struct fixture *f)
{
    static const uint8_t zeros[TM_WAL_PAGE];
    char name[TM_WAL_NAME_MAX];
    for (uint64_t segment = 40; segment > 0; segment--) {
        uint64_t size = 0;
        tm_wal_name_segment(name, "wal", 1, 0, segment);
        const uint8_t *data = tm_sim_disk_data(f->env.sd, name, &size);
        for (uint64_t at = size; data != NULL && at >= TM_WAL_PAGE; at -= TM_WAL_PAGE)
            if (memcmp(data + at - TM_WAL_PAGE, zeros, TM_WAL_PAGE) != 0) {
                CU_ASSERT(tm_sim_disk_flip(f->env.sd, name,
                                           at - TM_WAL_PAGE + env_below(&f->env, 200), 3));
                return;
            }
    }
    CU_FAIL_FATAL("an empty log");
}

/* Nothing that was shown is forgotten; what was put last may be there or not. */
static void check(struct fixture *f, bool proven)
{
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        struct tm_hard_state got;
        enum tm_err err = tm_hs_get(tm_log_set_hs(f->set), p, &got);
        if (err == TM_ERR_CORRUPT && !proven)
            continue;
        if (err == TM_ERR_NOTFOUND)
            got.term = 0;
        CU_ASSERT_FATAL(err == TM_OK || err == TM_ERR_NOTFOUND);
        CU_ASSERT_FATAL(got.term >= f->told[p] && got.term <= f->put[p].term);
        if (got.term == f->put[p].term && got.term > 0)
            CU_ASSERT_FATAL(got.vote_disk == f->put[p].vote_disk);
        f->put[p] = got;
        if (err == TM_ERR_NOTFOUND)
            f->put[p] = (struct tm_hard_state){0};
    }
}

static void what_was_shown_is_kept_whatever_one_of_the_two_loses(void)
{
    uint64_t seed = tm_test_seed();
    unsigned unproven = 0;
    for (unsigned round = 0; round < 60; round++) {
        struct fixture *f = opened(seed + round);
        bool harmed = false; /* the log; in old content of a segment it may show much later */
        for (unsigned life = 0; life < 12; life++) {
            for (uint64_t turns = env_below(&f->env, 30); turns > 0; turns--) {
                if (env_chance(&f->env, 60))
                    put(f, (uint32_t)env_below(&f->env, PARTITIONS));
                tm_log_set_flush(f->set);
                for (uint64_t n = env_below(&f->env, 5); n > 0; n--)
                    tm_sim_disk_step(f->env.sd);
            }
            /* Power that fails in the middle of a write of the file is harm enough to that. */
            bool log = env_chance(&f->env, 30), file = env_chance(&f->env, 30);
            die(f, !log && !file && env_chance(&f->env, 70));
            if (log)
                harm_log(f);
            if (file) /* of one pair, or one of each: what is left is enough with the log */
                harm_file(f, env_chance(&f->env, 50) ? 3 : env_chance(&f->env, 50) ? 12 : 5);
            reopen(f);
            harmed |= log;
            check(f, !harmed || !file);
            struct tm_hard_state got;
            unproven += tm_hs_get(tm_log_set_hs(f->set), 0, &got) == TM_ERR_CORRUPT;
            if (harmed && file)
                break; /* it stays unproven for good */
        }
        teardown(f);
    }
    CU_ASSERT(unproven > 0);
}

static void half_a_file_and_half_a_log_prove_nothing(void)
{
    for (unsigned pair = 0; pair < 2; pair++) {
        struct fixture *f = opened(tm_test_seed());
        for (uint32_t p = 0; p < PARTITIONS; p++)
            put(f, p);
        settle(f);
        put(f, 1);
        settle(f);
        CU_ASSERT_EQUAL(f->told[1], 2);
        die(f, true);
        harm_log(f);
        harm_file(f, pair == 0 ? 3 : 12);
        for (unsigned again = 0; again < 2; again++) {
            reopen(f);
            struct tm_hard_state h;
            for (uint32_t p = 0; p < PARTITIONS; p++)
                CU_ASSERT_EQUAL(tm_hs_get(tm_log_set_hs(f->set), p, &h), TM_ERR_CORRUPT);
            die(f, true);
        }
        teardown(f);
    }
}

static void nothing_is_durable_before_both_have_it(void)
{
    struct fixture *f = opened(tm_test_seed());
    settle(f);
    for (unsigned i = 0; i < 50; i++) {
        put(f, 0);
        tm_log_set_flush(f->set);
        uint64_t syncs = tm_sim_disk_count(f->env.sd, TM_DISK_SYNC);
        uint64_t block = tm_wal_durable(tm_log_set_wal(f->set));
        while (f->told[0] < f->put[0].term) {
            CU_ASSERT_FATAL(tm_sim_disk_step(f->env.sd));
            tm_log_set_flush(f->set);
        }
        CU_ASSERT(tm_sim_disk_count(f->env.sd, TM_DISK_SYNC) > syncs);
        CU_ASSERT(tm_wal_durable(tm_log_set_wal(f->set)) > block);
        settle(f);
    }
    teardown(f);
}

static void a_failed_write_of_the_file_is_the_end(void)
{
    struct fixture *f = opened(tm_test_seed());
    put(f, 0);
    settle(f);
    CU_ASSERT_EQUAL(f->told[0], 1);
    put(f, 0);
    tm_sim_disk_fail(f->env.sd, TM_DISK_SYNC, 5, 1); /* blocks of the log need none */
    settle(f);
    CU_ASSERT_EQUAL(f->failed, 1);
    CU_ASSERT_EQUAL(f->told[0], 1);
    put(f, 0);
    settle(f);
    CU_ASSERT_EQUAL(f->told[0], 1);
    teardown(f);
}

static const struct tm_test tests[] = {
    TM_TEST(what_was_shown_is_kept_whatever_one_of_the_two_loses),
    TM_TEST(half_a_file_and_half_a_log_prove_nothing),
    TM_TEST(nothing_is_durable_before_both_have_it),
    TM_TEST(a_failed_write_of_the_file_is_the_end),
};

TM_TEST_MAIN("storage/hard_state", tests)
