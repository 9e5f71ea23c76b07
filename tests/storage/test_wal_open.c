/* What a start finds: clean ends and torn ones, older generations, files that are not its own. */
#include "tests/storage/wal_world.h"

#include "runtime/counters.h"
#include "storage/wal_format.h"

/* Whatever ended the last life: a crash may tear what was under way, and then writing goes on
 * behind that. */
static void a_full_disk_does_not_keep_the_log_from_opening(void)
{
    struct fixture *f = setup(tm_test_seed());
    f->config.segment_bytes = TM_KIB(512);
    CU_ASSERT_FATAL(open_wal(f) == TM_OK);
    tm_sim_disk_set_capacity(f->env.sd, tm_sim_disk_used(f->env.sd) + TM_KIB(600));
    CU_ASSERT(fill_up(f) == TM_ERR_NOSPACE);
    settle_idle(f);
    tm_sim_disk_set_capacity(f->env.sd, tm_sim_disk_used(f->env.sd));
    uint64_t segment = tm_wal_current_segment(f->wal);
    enum tm_err taken = TM_OK;
    for (unsigned i = 0; i < 6; i++) {
        taken = append_one(f, 1, 100, TM_WAL_RESERVED);
        CU_ASSERT(taken == TM_OK || (i > 3 && taken == TM_ERR_NOSPACE));
        tm_wal_flush(f->wal);
        start_again(f, 50);
        CU_ASSERT(tm_wal_current_segment(f->wal) == segment);
        CU_ASSERT(append_one(f, 1, 900, TM_WAL_EFFECT) == TM_ERR_NOSPACE);
    }
    tm_sim_disk_set_capacity(f->env.sd, 0);
    pass_time(f, TM_SECONDS(1));
    tm_sim_disk_drain(f->env.sd);
    fill(f, 100, 900);
    CU_ASSERT(tm_wal_current_segment(f->wal) != segment);
    crash(f, -1);
    CU_ASSERT_FATAL(open_wal(f) == TM_OK);
    CU_ASSERT(f->found == f->count && f->rot == 0 && f->damaged == 0);
    teardown(f);
}

static void a_clean_close_goes_on_in_the_same_segment(void)
{
    struct fixture *f = opened(tm_test_seed());
    fill(f, 20, 200);
    uint64_t segment = tm_wal_current_segment(f->wal);
    close_clean(f);
    CU_ASSERT_FATAL(open_wal(f) == TM_OK);
    CU_ASSERT(f->found == f->count);
    CU_ASSERT(tm_wal_current_segment(f->wal) == segment);
    settle(f);
    tm_sim_disk_drain(f->env.sd);
    fill(f, 20, 200);
    crash(f, -1);
    CU_ASSERT_FATAL(open_wal(f) == TM_OK);
    CU_ASSERT(f->found == f->count && f->rot == 0);
    CU_ASSERT(tm_wal_current_segment(f->wal) != segment);
    teardown(f);
}

static void older_generations_are_replayed_first(void)
{
    struct fixture *f = opened(tm_test_seed());
    fill(f, 60, 200);
    crash(f, -1);
    struct tm_wal_generation older[] = {{1, 1}};
    f->config.generation = 2;
    f->config.older = older;
    f->config.older_count = 1;
    CU_ASSERT_FATAL(open_wal(f) == TM_OK);
    CU_ASSERT(f->found == f->count && f->rot == 0);
    struct reader r = read_place(f, f->model[7].place);
    CU_ASSERT(r.err == TM_OK && r.checksum == f->model[7].checksum);
    tm_sim_disk_drain(f->env.sd);
    fill(f, 60, 200);
    crash(f, -1);
    CU_ASSERT_FATAL(open_wal(f) == TM_OK);
    CU_ASSERT(f->found == f->count && f->rot == 0);
    teardown(f);
}

/* The process is killed while it makes a segment ready; the next one writes into it, and then the
 * power fails: what was written is under a name that lasts. */
static void a_segment_found_ready_has_its_name_for_good(void)
{
    uint64_t seed = tm_test_seed();
    for (unsigned i = 0; i < 40; i++) {
        struct fixture *f = opened(seed + i);
        fill(f, 20, 2000);
        uint64_t current = tm_wal_current_segment(f->wal);
        while (tm_wal_current_segment(f->wal) == current) {
            tm_sim_disk_stall(f->env.sd, false);
            settle_idle(f);
            tm_sim_disk_stall(f->env.sd, true);
            CU_ASSERT_FATAL(append_one(f, 1, 900, TM_WAL_EFFECT) == TM_OK);
            tm_wal_flush(f->wal);
        }
        tm_sim_disk_stall(f->env.sd, false);
        for (uint64_t steps = env_below(&f->env, 12); steps > 0; steps--)
            tm_sim_disk_step(f->env.sd); /* the next segment is being prepared */
        tm_sim_disk_kill(f->env.sd);
        drop(f);
        CU_ASSERT_FATAL(open_wal(f) == TM_OK);
        settle(f);
        CU_ASSERT_FATAL(append_one(f, 1, 900, TM_WAL_EFFECT) == TM_OK);
        tm_wal_flush(f->wal);
        while (f->acked < f->count)
            CU_ASSERT_FATAL(tm_sim_disk_step(f->env.sd));
        crash(f, 0);
        CU_ASSERT_FATAL(open_wal(f) == TM_OK);
        CU_ASSERT(f->found == f->count && f->rot == 0);
        teardown(f);
    }
}

/* What a start with another worker count has replayed, it builds upon. */
static void what_was_replayed_of_an_older_generation_stays(void)
{
    uint64_t seed = tm_test_seed();
    unsigned unfinished = 0;
    for (unsigned i = 0; i < 40; i++) {
        struct fixture *f = opened(seed + i);
        struct tm_wal_generation older[] = {{1, 1}};
        fill(f, 20, 200);
        CU_ASSERT_FATAL(append_one(f, 1, 900, TM_WAL_EFFECT) == TM_OK);
        tm_wal_flush(f->wal);
        tm_sim_disk_kill(f->env.sd); /* that write may have reached the device's cache */
        drop(f);
        f->config.generation = 2;
        f->config.older = older;
        f->config.older_count = 1;
        CU_ASSERT_FATAL(open_wal(f) == TM_OK);
        unsigned found = f->found;
        unfinished += found > f->acked;
        crash(f, 0);
        CU_ASSERT_FATAL(open_wal(f) == TM_OK);
        CU_ASSERT(f->found == found && f->rot == 0);
        teardown(f);
    }
    CU_ASSERT(unfinished > 0);
}

static void a_lost_volume_is_a_fault(void)
{
    struct fixture *f = opened(tm_test_seed());
    fill(f, 60, 200);
    crash(f, -1);
    f->config.generation = 2;
    struct tm_wal_generation older[] = {{1, 2}};
    f->config.older = older;
    f->config.older_count = 1;
    CU_ASSERT_FATAL(open_wal(f) == TM_OK);
    CU_ASSERT(f->rot == 1 && f->faults[0].worker == 1);
    CU_ASSERT(f->faults[0].span.partition == TM_WAL_ALL);
    teardown(f);
}

static void files_of_another_cluster_or_disk_are_refused(void)
{
    struct fixture *f = opened(tm_test_seed());
    fill(f, 60, 200);
    crash(f, -1);
    f->config.cluster[0] = 9;
    CU_ASSERT(open_wal(f) == TM_ERR_IDENTITY);
    f->config.cluster[0] = 1;
    f->config.disk_id = 78;
    CU_ASSERT(open_wal(f) == TM_ERR_IDENTITY);
    f->config.disk_id = 77;
    CU_ASSERT(open_wal(f) == TM_OK);
    teardown(f);
}

static void a_torn_tail_is_counted_where_it_is_cut(void)
{
    static struct tm_counters counters;
    struct fixture *f = opened(tm_test_seed());
    memset(&counters, 0, sizeof counters);
    fill(f, 10, 200);
    close_clean(f);
    f->env.ctx.counters = &counters;
    CU_ASSERT_FATAL(open_wal(f) == TM_OK);
    CU_ASSERT_EQUAL(tm_counter_get(&counters, TM_COUNTER_wal_torn_tails), 0);
    tm_sim_disk_drain(f->env.sd);
    settle(f);
    fill(f, 10, 200);
    unsigned before = f->count;
    CU_ASSERT_FATAL(append_one(f, 1, 12000, TM_WAL_EFFECT) == TM_OK);
    tm_wal_flush(f->wal);
    crash(f, 50); /* of its sectors half are kept */
    CU_ASSERT_FATAL(open_wal(f) == TM_OK);
    CU_ASSERT(f->found == before && f->damaged == 0 && f->rot == 0);
    CU_ASSERT_EQUAL(tm_counter_get(&counters, TM_COUNTER_wal_torn_tails), 1);
    teardown(f);
}

static const struct tm_test tests[] = {
    TM_TEST(a_full_disk_does_not_keep_the_log_from_opening),
    TM_TEST(a_clean_close_goes_on_in_the_same_segment),
    TM_TEST(older_generations_are_replayed_first),
    TM_TEST(a_segment_found_ready_has_its_name_for_good),
    TM_TEST(what_was_replayed_of_an_older_generation_stays),
    TM_TEST(a_lost_volume_is_a_fault),
    TM_TEST(files_of_another_cluster_or_disk_are_refused),
    TM_TEST(a_torn_tail_is_counted_where_it_is_cut),
};

TM_TEST_MAIN("storage/wal_open", tests)
