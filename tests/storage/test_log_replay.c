/* What replay hands on as committed. */
#include "tests/storage/log_set_fixture.h"

/* Close behind, as in a partition that is served. */
static void commit_all(struct fixture *f, uint32_t p)
{
    f->logs[p].commit = f->logs[p].durable;
    tm_log_set_commit(log_at(f, p), f->logs[p].commit);
}

static void replay_gives_all_that_it_knows_to_be_committed_though_little_is_kept(void)
{
    struct fixture *f = setup(tm_test_seed());
    reopen(f);
    for (unsigned i = 0; i < 400; i++) { /* ten times what the cache holds */
        for (unsigned k = 0; k < MINE; k++)
            CU_ASSERT_FATAL(append(f, partition_at(k)) == TM_OK);
        settle(f);
        commit_all(f, partition_at(i % MINE));
    }
    uint64_t commit[MINE];
    for (unsigned k = 0; k < MINE; k++) {
        commit[k] = f->logs[partition_at(k)].commit;
        CU_ASSERT_FATAL(commit[k] > 0 && append(f, partition_at(k)) == TM_OK);
    }
    settle(f);
    crash(f, -1);
    reopen(f);
    for (unsigned k = 0; k < MINE; k++)
        CU_ASSERT_EQUAL(f->logs[partition_at(k)].given, commit[k]);
    teardown(f);
}

static const struct tm_test tests[] = {
    TM_TEST(replay_gives_all_that_it_knows_to_be_committed_though_little_is_kept),
};

TM_TEST_MAIN("storage/log_replay", tests)
