/* Segments that were given up, until they are needed again. */
#include "tests/storage/wal_world.h"

#include <errno.h>

#include "storage/wal_format.h"
#include "storage/wal_internal.h"

#define HELD 4 /* segments that max_bytes allows */

/* Filled to the last, then all given up but the current one: HELD - 1 - (1 ready) spares. */
static struct fixture *with_spares(void)
{
    struct fixture *f = setup(tm_test_seed());
    f->config.max_bytes = HELD * f->config.segment_bytes;
    CU_ASSERT_FATAL(open_wal(f) == TM_OK);
    tm_sim_disk_drain(f->env.sd);
    CU_ASSERT(fill_up(f) == TM_ERR_NOSPACE);
    tm_wal_release(f->wal, tm_wal_current_segment(f->wal));
    f->released = f->acked;
    settle_idle(f);
    CU_ASSERT_EQUAL(f->wal->spare_count, HELD - 2);
    return f;
}

static unsigned spare_files(struct fixture *f)
{
    unsigned n = 0;
    for (uint64_t number = 0; number < f->wal->next_spare; number++) {
        char name[TM_WAL_NAME_MAX];
        tm_wal_name_spare(name, "wal", 1, 0, number);
        n += tm_sim_disk_exists(f->env.sd, name);
    }
    return n;
}

static void what_was_given_up_is_neither_removed_nor_made_anew(void)
{
    struct fixture *f = with_spares();
    uint64_t opened = tm_sim_disk_count(f->env.sd, TM_DISK_OPEN);
    for (unsigned i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(spare_files(f), HELD - 2);
        CU_ASSERT(fill_up(f) == TM_ERR_NOSPACE);
        CU_ASSERT(f->wal->spare_count == 0 && spare_files(f) == 0);
        CU_ASSERT_EQUAL(tm_wal_disk_bytes(f->wal), f->config.max_bytes);
        tm_wal_release(f->wal, tm_wal_current_segment(f->wal));
        f->released = f->acked;
        settle_idle(f);
    }
    CU_ASSERT_EQUAL(tm_sim_disk_count(f->env.sd, TM_DISK_OPEN), opened);
    CU_ASSERT_EQUAL(tm_sim_disk_count(f->env.sd, TM_DISK_UNLINK), 1); /* of what was unfinished */
    teardown(f);
}

static void a_start_goes_on_in_a_spare(void)
{
    struct fixture *f = with_spares();
    fill(f, 40, 900);
    crash(f, -1);
    for (unsigned starts = 0; starts < 2 * HELD; starts++) {
        uint64_t written = tm_sim_disk_count(f->env.sd, TM_DISK_WRITE);
        CU_ASSERT_FATAL(open_wal(f) == TM_OK);
        settle(f);
        CU_ASSERT_EQUAL(tm_sim_disk_count(f->env.sd, TM_DISK_WRITE), written + 1);
        settle_idle(f);
        CU_ASSERT_EQUAL(tm_wal_disk_bytes(f->wal), f->config.max_bytes);
        tm_wal_release(f->wal, tm_wal_current_segment(f->wal));
        f->released = f->acked;
        settle_idle(f);
        fill(f, 5, 200);
        crash(f, -1);
    }
    teardown(f);
}

static void a_full_disk_gets_its_room_back(void)
{
    struct fixture *f = with_spares();
    pass_time(f, TM_SECONDS(10));
    tm_wal_tick(f->wal);
    settle_idle(f);
    CU_ASSERT_EQUAL(f->wal->spare_count, HELD - 2); /* there is room enough */
    for (unsigned left = HELD - 2; left > 0; left--) {
        CU_ASSERT_EQUAL(spare_files(f), left);
        tm_sim_disk_set_capacity(f->env.sd,
                                 tm_sim_disk_used(f->env.sd) + f->config.segment_bytes / 2);
        f->env.now_ns += TM_MS(100);
        tm_wal_tick(f->wal);
        settle_idle(f);
    }
    CU_ASSERT_EQUAL(spare_files(f), 0);
    fill(f, 20, 200);
    teardown(f);
}

static void a_lower_limit_takes_spares_first(void)
{
    struct fixture *f = with_spares();
    tm_wal_set_limits(f->wal, (HELD - 1) * f->config.segment_bytes, 0, 0);
    for (unsigned i = 0; i < 10; i++) {
        f->env.now_ns += TM_MS(100);
        tm_wal_tick(f->wal);
        settle_idle(f);
    }
    CU_ASSERT(f->wal->spare_count == HELD - 3 && spare_files(f) == HELD - 3);
    fill(f, 20, 200);
    teardown(f);
}

static void spares_of_another_size_are_removed_at_the_start(void)
{
    struct fixture *f = with_spares();
    fill(f, 5, 200);
    close_clean(f);
    f->config.segment_bytes *= 2;
    f->config.max_bytes *= 4;
    CU_ASSERT_FATAL(open_wal(f) == TM_OK);
    settle(f);
    CU_ASSERT(f->wal->spare_count == 0 && spare_files(f) == 0);
    fill(f, 20, 200);
    teardown(f);
}

static void one_that_cannot_be_renamed_is_removed(void)
{
    struct fixture *f = setup(tm_test_seed());
    f->config.max_bytes = HELD * f->config.segment_bytes;
    CU_ASSERT_FATAL(open_wal(f) == TM_OK);
    tm_sim_disk_drain(f->env.sd);
    while (tm_wal_segments(f->wal) < HELD - 1)
        fill(f, 1, 900);
    CU_ASSERT_FATAL(tm_wal_ready(f->wal) == 1);
    tm_sim_disk_fail(f->env.sd, TM_DISK_RENAME, ENOSPC, 1);
    tm_wal_release(f->wal, tm_wal_current_segment(f->wal));
    f->released = f->acked;
    settle_idle(f);
    CU_ASSERT(f->failed == 0 && f->wal->spare_count == 1 && spare_files(f) == 1);
    CU_ASSERT_EQUAL(tm_wal_disk_bytes(f->wal), 3 * f->config.segment_bytes);
    fill(f, 40, 900);
    teardown(f);
}

/* At any moment of it the power may go; what a start finds is whole each time. */
static void power_may_go_at_any_step(void)
{
    for (uint64_t steps = 0; steps < 40; steps++) {
        struct fixture *f = with_spares();
        fill(f, 60, 900);
        tm_wal_release(f->wal, tm_wal_current_segment(f->wal));
        f->released = f->acked;
        tm_wal_flush(f->wal);
        for (uint64_t i = 0; i < steps; i++)
            tm_sim_disk_step(f->env.sd);
        crash(f, -1);
        CU_ASSERT_FATAL(open_wal(f) == TM_OK);
        CU_ASSERT(f->rot == 0 && f->damaged == 0);
        settle(f);
        tm_wal_release(f->wal, tm_wal_current_segment(f->wal));
        f->released = f->acked;
        settle_idle(f);
        fill(f, 40, 900);
        teardown(f);
    }
}

static const struct tm_test tests[] = {
    TM_TEST(what_was_given_up_is_neither_removed_nor_made_anew),
    TM_TEST(a_start_goes_on_in_a_spare),
    TM_TEST(a_full_disk_gets_its_room_back),
    TM_TEST(a_lower_limit_takes_spares_first),
    TM_TEST(spares_of_another_size_are_removed_at_the_start),
    TM_TEST(one_that_cannot_be_renamed_is_removed),
    TM_TEST(power_may_go_at_any_step),
};

TM_TEST_MAIN("storage/wal_spare", tests)
