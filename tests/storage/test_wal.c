/* The WAL over the simulated disk: random lives, and one rule each. */
#include "tests/storage/wal_world.h"

#include "runtime/counters.h"
#include "storage/wal_format.h"
#include "storage/wal_scan.h"

static void release_below(struct fixture *f, uint64_t segment)
{
    tm_wal_release(f->wal, segment);
    while (f->released < f->acked && f->model[f->released].segment < segment)
        f->released++;
}

static void release_some(struct fixture *f)
{
    uint64_t first = tm_wal_first_segment(f->wal), current = tm_wal_current_segment(f->wal);
    release_below(f, first + env_below(&f->env, current - first + 1));
}

/* One turn of a random life. */
static void random_turn(struct fixture *f)
{
    struct store_env *env = &f->env;
    unsigned records = (unsigned)env_below(env, 6);
    for (unsigned i = 0; i < records; i++) {
        uint32_t body =
            (uint32_t)(env_chance(env, 5) ? env_below(env, 16000) : env_below(env, 400));
        append_one(f, (uint32_t)env_below(env, PARTITIONS), body,
                   env_chance(env, 90) ? TM_WAL_EFFECT : TM_WAL_RESERVED);
    }
    tm_wal_flush(f->wal);
    for (uint64_t n = env_below(env, 6); n > 0; n--)
        tm_sim_disk_step(env->sd);
    pass_time(f, TM_MS(env_below(env, 40)));
    if (env_chance(env, 8))
        release_some(f);
}

/* The segments that hold model records are known again after a start. */
static void relearn_segments(struct fixture *f)
{
    for (unsigned i = f->released; i < f->count; i++)
        f->model[i].segment = tm_wal_segment_of(f->wal, f->model[i].place);
}

static void lives(uint64_t seed, enum tm_wal_sync sync, unsigned rounds)
{
    struct fixture *f = setup(seed);
    f->config.sync = sync;
    f->config.flushes_under_way = 1 + (uint32_t)env_below(&f->env, 4);
    for (unsigned life = 0; life < rounds; life++) {
        CU_ASSERT_FATAL(open_wal(f) == TM_OK);
        CU_ASSERT_FATAL(f->rot == 0 && f->damaged == 0);
        settle(f);
        relearn_segments(f);
        for (uint64_t turns = env_below(&f->env, 120); turns > 0; turns--)
            random_turn(f);
        CU_ASSERT_FATAL(f->failed == 0);
        unsigned end = (unsigned)env_below(&f->env, 10);
        if (end < 6) {
            crash(f, -1);
        } else if (end < 8) {
            tm_sim_disk_kill(f->env.sd);
            drop(f);
        } else {
            close_clean(f);
        }
    }
    teardown(f);
}

static void what_was_durable_survives_crashes(void)
{
    uint64_t seed = tm_test_seed();
    for (unsigned i = 0; i < 12; i++) {
        lives(seed + 2 * i, TM_WAL_DSYNC, 25);
        lives(seed + 2 * i + 1, TM_WAL_FSYNC, 25);
    }
}

/* --- one rule each --- */

static void a_hole_ends_what_counts(void)
{
    uint64_t seed = tm_test_seed();
    unsigned seen = 0;
    for (unsigned i = 0; i < 40; i++) {
        struct fixture *f = setup(seed + i);
        f->config.flushes_under_way = 4;
        start(f);
        fill(f, 20, 100);
        uint64_t writes = tm_sim_disk_count(f->env.sd, TM_DISK_WRITE);
        for (unsigned k = 0; k < 4; k++) {
            CU_ASSERT_FATAL(append_one(f, k, 100, TM_WAL_EFFECT) == TM_OK);
            tm_wal_flush(f->wal);
        }
        CU_ASSERT(tm_sim_disk_under_way(f->env.sd) == 4);
        tm_sim_disk_step(f->env.sd);
        tm_sim_disk_step(f->env.sd);
        CU_ASSERT(tm_sim_disk_count(f->env.sd, TM_DISK_WRITE) == writes + 2);
        unsigned acked = f->acked;
        seen += acked < 22; /* one of the two completed before an older one */
        crash(f, 0);
        CU_ASSERT_FATAL(open_wal(f) == TM_OK);
        CU_ASSERT(f->rot == 0 && f->damaged == 0);
        CU_ASSERT(f->found == acked);
        settle(f);
        fill(f, 20, 100); /* 12 and 13 stay dead when their sequences have been passed */
        crash(f, 0);
        CU_ASSERT_FATAL(open_wal(f) == TM_OK);
        CU_ASSERT(f->found == f->count);
        teardown(f);
    }
    CU_ASSERT(seen > 0);
}

static void a_record_is_read_back_by_its_place(void)
{
    struct fixture *f = opened(tm_test_seed());
    fill(f, 200, 300);
    fill(f, 5, 16000);
    for (unsigned i = 0; i < 50; i++)
        CU_ASSERT_FATAL(append_one(f, 1, 15000, TM_WAL_EFFECT) == TM_OK || i > 3);
    CU_ASSERT(read_place(f, f->model[f->count - 1].place).err == TM_ERR_AGAIN);
    settle_idle(f);
    settle_idle(f);
    for (unsigned i = 0; i < f->count; i++) {
        struct reader r = read_place(f, f->model[i].place);
        CU_ASSERT_FATAL(r.err == TM_OK && r.checksum == f->model[i].checksum);
    }
    crash(f, -1);
    CU_ASSERT_FATAL(open_wal(f) == TM_OK);
    for (unsigned i = 0; i < f->count; i++) {
        struct reader r = read_place(f, f->model[i].place);
        CU_ASSERT_FATAL(r.err == TM_OK && r.checksum == f->model[i].checksum);
    }
    teardown(f);
}

/* The segment file and the offset of the block that holds a record. */
static uint64_t locate(struct fixture *f, unsigned i, char *name)
{
    tm_wal_name_segment(name, "wal", 1, 0, tm_wal_segment_of(f->wal, f->model[i].place));
    return tm_wal_place_offset(f->model[i].place);
}

static void flip_in(struct fixture *f, unsigned i)
{
    char name[TM_WAL_NAME_MAX];
    uint64_t at = locate(f, i, name);
    CU_ASSERT_FATAL(tm_sim_disk_flip(f->env.sd, name, at + env_below(&f->env, 4096),
                                     (unsigned)env_below(&f->env, 8)));
}

static void rot_before_the_durable_point_is_reported_and_nothing_is_cut(void)
{
    static struct tm_counters counters;
    uint64_t seed = tm_test_seed();
    for (unsigned round = 0; round < 30; round++) {
        struct fixture *f = opened(seed + round);
        fill(f, 300, 200);
        unsigned victim = (unsigned)env_below(&f->env, 280);
        flip_in(f, victim);
        struct reader r = read_place(f, f->model[victim].place);
        CU_ASSERT(r.err == TM_ERR_CORRUPT);
        crash(f, -1);
        f->skipping = true;
        memset(&counters, 0, sizeof counters);
        f->env.ctx.counters = &counters;
        CU_ASSERT_FATAL(open_wal(f) == TM_OK);
        CU_ASSERT(f->found == f->count && f->damaged == 0);
        CU_ASSERT_EQUAL(tm_counter_get(&counters, TM_COUNTER_wal_rotten_blocks), 1);
        /* Every record that is missing lies in a range that was reported, and only those. */
        unsigned in_block = 0, covered = 0;
        for (unsigned i = 0; i < f->count; i++) {
            const struct model_record *m = &f->model[i];
            in_block += m->sequence == f->model[victim].sequence;
            for (unsigned k = 0; k < f->fault_count; k++) {
                const struct tm_wal_span *s = &f->faults[k].span;
                CU_ASSERT(s->partition != TM_WAL_ALL);
                covered += s->partition == m->partition && i + 1 >= s->first && i + 1 <= s->last &&
                           m->sequence == f->model[victim].sequence;
            }
        }
        CU_ASSERT(f->skipped + f->first_found == in_block && covered == in_block);
        teardown(f);
    }
}

static void damage_past_the_durable_point_is_remembered(void)
{
    struct fixture *f = opened(tm_test_seed());
    fill(f, 50, 200);
    flip_in(f, f->count - 1); /* no marker yet: nothing proves that this one was durable */
    crash(f, -1);
    f->acked = 0;
    for (unsigned i = 0; i < 3; i++) {
        CU_ASSERT_FATAL(open_wal(f) == TM_OK);
        CU_ASSERT(f->damaged >= 1 && f->rot == 0);
        CU_ASSERT(f->faults[0].span.partition == TM_WAL_ALL);
        crash(f, -1);
    }
    teardown(f);
}

/* 11 was durable and is gone, 12 never came, 13 is there and proves that 11 was durable. */
static void rot_right_before_a_hole_is_remembered(void)
{
    uint64_t seed = tm_test_seed();
    unsigned seen = 0;
    for (unsigned i = 0; i < 20; i++) {
        struct fixture *f = opened(seed + i);
        fill(f, 20, 200);
        unsigned eleven = f->count - 1;
        for (unsigned k = 0; k < 2; k++) {
            CU_ASSERT_FATAL(append_one(f, 1, 100, TM_WAL_EFFECT) == TM_OK);
            tm_wal_flush(f->wal);
        }
        tm_sim_disk_step(f->env.sd);
        bool hole = f->acked == eleven + 1;
        char name[TM_WAL_NAME_MAX];
        uint64_t at = locate(f, eleven, name);
        CU_ASSERT(tm_sim_disk_zero(f->env.sd, name, at, 4096));
        crash(f, 0);
        f->acked = 0;
        f->skipping = true;
        for (unsigned again = 0; again < 3 && hole; again++) {
            CU_ASSERT_FATAL(open_wal(f) == TM_OK);
            CU_ASSERT(f->damaged >= 1 && f->found <= eleven);
            crash(f, 0);
        }
        seen += hole;
        if (!hole)
            CU_ASSERT_FATAL(open_wal(f) == TM_OK);
        teardown(f);
    }
    CU_ASSERT(seen > 0);
}

static void rot_of_the_last_block_before_a_start_is_told_by_the_start(void)
{
    struct fixture *f = opened(tm_test_seed());
    fill(f, 50, 200);
    crash(f, 0);
    CU_ASSERT_FATAL(open_wal(f) == TM_OK && f->found == f->count);
    flip_in(f, f->count - 1);
    crash(f, 0);
    f->skipping = true;
    for (unsigned again = 0; again < 3; again++) {
        CU_ASSERT_FATAL(open_wal(f) == TM_OK);
        CU_ASSERT(f->damaged == 0 && f->rot >= 1 && f->found < f->count);
        crash(f, 0);
    }
    teardown(f);
}

static void an_idle_marker_makes_the_last_block_provably_durable(void)
{
    struct fixture *f = opened(tm_test_seed());
    fill(f, 50, 200);
    CU_ASSERT_FATAL(tm_wal_next_deadline(f->wal) != UINT64_MAX);
    pass_time(f, TM_MS(51));
    tm_sim_disk_drain(f->env.sd);
    CU_ASSERT(tm_wal_next_deadline(f->wal) == UINT64_MAX);
    flip_in(f, f->count - 1);
    crash(f, -1);
    f->skipping = true;
    CU_ASSERT_FATAL(open_wal(f) == TM_OK);
    CU_ASSERT(f->damaged == 0 && f->rot >= 1);
    CU_ASSERT(f->faults[0].span.partition != TM_WAL_ALL);
    teardown(f);
}

/* The first segment holds one block, of which nothing is left. */
static void rot_of_all_that_a_first_segment_held_is_remembered(void)
{
    uint64_t seed = tm_test_seed();
    char name[TM_WAL_NAME_MAX];
    tm_wal_name_segment(name, "wal", 1, 0, 1);
    for (unsigned how = 0; how < 3; how++) {
        struct fixture *f = opened(seed + how);
        crash(f, 0);
        CU_ASSERT_FATAL(open_wal(f) == TM_OK && f->rot == 0);
        fill(f, 10, 200);
        bool harmed = how == 0   ? tm_sim_disk_flip(f->env.sd, name, 200, 3)
                      : how == 1 ? tm_sim_disk_zero(f->env.sd, name, 0, 4096)
                                 : tm_sim_disk_remove(f->env.sd, name);
        CU_ASSERT_FATAL(harmed);
        for (unsigned again = 0; again < 3; again++) {
            crash(f, 0);
            CU_ASSERT_FATAL(open_wal(f) == TM_OK);
            CU_ASSERT(f->rot == 1 && f->found == f->count);
        }
        while (tm_wal_current_segment(f->wal) < 6)
            fill(f, 10, 4000);
        tm_wal_release(f->wal, tm_wal_current_segment(f->wal)); /* whoever needed it does no more */
        fill(f, 1, 10);
        crash(f, 0);
        CU_ASSERT_FATAL(open_wal(f) == TM_OK);
        CU_ASSERT(f->rot == 0);
        teardown(f);
    }
}

static void a_misdirected_write_is_rot_not_silence(void)
{
    struct fixture *f = opened(tm_test_seed());
    fill(f, 20, 200);
    tm_sim_disk_misdirect(f->env.sd, true);
    CU_ASSERT_FATAL(append_one(f, 1, 100, TM_WAL_EFFECT) == TM_OK);
    settle_idle(f);
    CU_ASSERT(f->acked == f->count);
    pass_time(f, TM_MS(60));
    tm_sim_disk_drain(f->env.sd);
    crash(f, -1);
    f->skipping = true;
    f->acked = 0;
    CU_ASSERT_FATAL(open_wal(f) == TM_OK);
    CU_ASSERT(f->rot >= 1 && f->faults[0].span.partition == 1);
    teardown(f);
}

static void a_failed_write_poisons_for_good(void)
{
    struct fixture *f = opened(tm_test_seed());
    f->config.sync = TM_WAL_DSYNC;
    fill(f, 20, 200);
    unsigned acked = f->acked;
    CU_ASSERT_FATAL(append_one(f, 1, 100, TM_WAL_EFFECT) == TM_OK);
    tm_sim_disk_fail(f->env.sd, TM_DISK_WRITE, 5, 1);
    tm_wal_flush(f->wal);
    CU_ASSERT_FATAL(append_one(f, 2, 100, TM_WAL_EFFECT) == TM_OK);
    tm_wal_flush(f->wal);
    tm_sim_disk_drain(f->env.sd);
    CU_ASSERT(f->failed == 1 && tm_wal_state(f->wal) == TM_WAL_FAILED);
    CU_ASSERT(append_one(f, 1, 100, TM_WAL_RESERVED) == TM_ERR_IO);
    CU_ASSERT(tm_wal_room(f->wal, 8, TM_WAL_RESERVED) == TM_ERR_IO);
    tm_wal_flush(f->wal);
    tm_sim_disk_drain(f->env.sd);
    CU_ASSERT(f->acked <= acked + 1);
    CU_ASSERT(f->model[f->count - 2].sequence > f->durable_told);
    teardown(f);
}

static void a_failed_flush_poisons_too(void)
{
    struct fixture *f = setup(tm_test_seed());
    f->config.sync = TM_WAL_FSYNC;
    start(f);
    fill(f, 20, 200);
    unsigned acked = f->acked;
    CU_ASSERT_FATAL(append_one(f, 1, 100, TM_WAL_EFFECT) == TM_OK);
    tm_wal_flush(f->wal);
    tm_sim_disk_fail(f->env.sd, TM_DISK_SYNC, 5, 1);
    tm_sim_disk_drain(f->env.sd);
    CU_ASSERT(f->failed == 1 && f->acked == acked);
    CU_ASSERT(append_one(f, 1, 100, TM_WAL_EFFECT) == TM_ERR_IO);
    teardown(f);
}

static void a_full_disk_refuses_effects_takes_hard_state_and_resumes(void)
{
    struct fixture *f = opened(tm_test_seed());
    tm_sim_disk_set_capacity(f->env.sd, tm_sim_disk_used(f->env.sd) + TM_KIB(200));
    CU_ASSERT(fill_up(f) == TM_ERR_NOSPACE);
    settle_idle(f);
    tm_wal_tick(f->wal);
    CU_ASSERT(tm_wal_state(f->wal) == TM_WAL_FULL && !f->space && f->failed == 0);
    unsigned taken = 0;
    for (; taken < 3; taken++) {
        CU_ASSERT(append_one(f, 0, 200, TM_WAL_RESERVED) == TM_OK);
        settle_idle(f);
    }
    CU_ASSERT(f->acked == f->count);
    tm_sim_disk_set_capacity(f->env.sd, 0);
    pass_time(f, TM_SECONDS(1));
    tm_sim_disk_drain(f->env.sd);
    CU_ASSERT(f->space && tm_wal_state(f->wal) == TM_WAL_RUNNING);
    fill(f, 100, 900);
    crash(f, -1);
    CU_ASSERT_FATAL(open_wal(f) == TM_OK);
    CU_ASSERT(f->found == f->count);
    teardown(f);
}

/* The rest of the last segment takes small effects still. */
static void a_full_disk_that_refuses_large_effects_says_so(void)
{
    struct fixture *f = opened(tm_test_seed());
    tm_sim_disk_set_capacity(f->env.sd, tm_sim_disk_used(f->env.sd));
    while (tm_wal_room(f->wal, TM_KIB(16), TM_WAL_EFFECT) != TM_ERR_NOSPACE) {
        CU_ASSERT_FALSE_FATAL(tm_wal_short(f->wal));
        CU_ASSERT_FATAL(append_one(f, 1, 900, TM_WAL_EFFECT) == TM_OK);
        settle_idle(f);
    }
    tm_wal_tick(f->wal);
    CU_ASSERT(tm_wal_short(f->wal) && !f->space);
    CU_ASSERT(tm_wal_state(f->wal) == TM_WAL_RUNNING);
    CU_ASSERT(append_one(f, 1, 100, TM_WAL_EFFECT) == TM_OK);
    settle_idle(f);
    CU_ASSERT_TRUE(tm_wal_short(f->wal));
    tm_sim_disk_set_capacity(f->env.sd, 0);
    pass_time(f, TM_SECONDS(1));
    tm_sim_disk_drain(f->env.sd);
    tm_wal_tick(f->wal);
    CU_ASSERT(!tm_wal_short(f->wal) && f->space);
    CU_ASSERT(tm_wal_room(f->wal, TM_KIB(16), TM_WAL_EFFECT) == TM_OK);
    teardown(f);
}

static void released_segments_are_used_again_and_do_not_come_back(void)
{
    struct fixture *f = opened_of(4);
    CU_ASSERT(fill_up(f) == TM_ERR_NOSPACE);
    CU_ASSERT(tm_wal_disk_bytes(f->wal) <= f->config.max_bytes);
    for (unsigned i = 0; i < 20; i++) {
        release_below(f, tm_wal_current_segment(f->wal));
        settle_idle(f);
        CU_ASSERT(tm_wal_state(f->wal) == TM_WAL_RUNNING && f->space);
        CU_ASSERT(fill_up(f) == TM_ERR_NOSPACE);
        CU_ASSERT(read_place(f, f->model[0].place).err == TM_ERR_NOTFOUND);
    }
    crash(f, -1);
    CU_ASSERT_FATAL(open_wal(f) == TM_OK);
    CU_ASSERT(f->rot == 0 && f->damaged == 0 && f->found == f->count);
    CU_ASSERT(f->first_found > 0 && f->first_found <= f->released);
    teardown(f);
}

/* Behind the end of a log rot looks like damage to what was acknowledged there. */
static void a_segment_with_rot_is_not_used_again(void)
{
    for (unsigned by_reading = 0; by_reading < 2; by_reading++) {
        struct fixture *f = opened_of(4);
        CU_ASSERT(fill_up(f) == TM_ERR_NOSPACE);
        unsigned victim = f->count - 1;
        while (f->model[victim].segment == tm_wal_current_segment(f->wal))
            victim--;
        flip_in(f, victim); /* one of the last in its segment */
        f->skipping = true;
        if (by_reading != 0) {
            CU_ASSERT(read_place(f, f->model[victim].place).err == TM_ERR_CORRUPT);
        } else {
            crash(f, -1);
            CU_ASSERT_FATAL(open_wal(f) == TM_OK);
        }
        tm_wal_release(f->wal, tm_wal_current_segment(f->wal));
        f->released = f->acked;
        settle_idle(f);
        for (unsigned i = 0; i < 40; i++) {
            fill(f, 1, 200);
            crash(f, -1);
            CU_ASSERT_FATAL(open_wal(f) == TM_OK);
            CU_ASSERT_EQUAL(f->damaged, 0);
            tm_wal_release(f->wal, tm_wal_current_segment(f->wal));
            f->released = f->acked;
            settle_idle(f);
        }
        teardown(f);
    }
}

static void the_segment_of_the_last_durable_block_is_not_released(void)
{
    struct fixture *f = opened(tm_test_seed());
    uint64_t first = tm_wal_current_segment(f->wal);
    while (tm_wal_current_segment(f->wal) == first)
        fill(f, 1, 900);
    fill(f, 30, 900);
    uint64_t segment = tm_wal_current_segment(f->wal);
    while (tm_wal_current_segment(f->wal) ==
           segment) { /* stops in a fresh segment, nothing there */
        tm_sim_disk_stall(f->env.sd, false);
        settle_idle(f);
        tm_sim_disk_stall(f->env.sd, true);
        CU_ASSERT_FATAL(append_one(f, 1, 900, TM_WAL_EFFECT) == TM_OK);
        tm_wal_flush(f->wal);
    }
    tm_wal_release(f->wal, tm_wal_current_segment(f->wal));
    CU_ASSERT(tm_wal_first_segment(f->wal) == segment);
    tm_sim_disk_stall(f->env.sd, false);
    settle_idle(f);
    tm_wal_release(f->wal, tm_wal_current_segment(f->wal));
    CU_ASSERT(tm_wal_first_segment(f->wal) == segment + 1);
    teardown(f);
}

/* Appends until there is no space, waiting where it is a matter of moments; how many were taken. */
static unsigned append_all(struct fixture *f, uint32_t bytes, enum tm_wal_class klass)
{
    unsigned taken = 0;
    enum tm_err err;
    while ((err = append_one(f, 1, bytes, klass)) != TM_ERR_NOSPACE) {
        CU_ASSERT_FATAL(err == TM_OK || err == TM_ERR_FULL);
        taken += err == TM_OK;
        settle_idle(f);
    }
    return taken;
}

static void an_exhausted_reserve_can_still_say_what_was_released(void)
{
    struct fixture *f = opened_of(3);
    CU_ASSERT(fill_up(f) == TM_ERR_NOSPACE);
    (void)append_all(f, 100, TM_WAL_RESERVED);
    settle_idle(f);
    tm_wal_release(f->wal, tm_wal_current_segment(f->wal));
    settle_idle(f);
    settle_idle(f);
    pass_time(f, TM_SECONDS(1));
    CU_ASSERT(tm_wal_state(f->wal) == TM_WAL_RUNNING);
    fill(f, 20, 500);
    teardown(f);
}

/* Until the log goes on in a segment more than it may have; returns its id. */
static uint64_t overdraw(struct fixture *f)
{
    CU_ASSERT(fill_up(f) == TM_ERR_NOSPACE);
    uint64_t full = tm_wal_current_segment(f->wal);
    for (unsigned i = 0; i < 1000 && tm_wal_current_segment(f->wal) == full; i++) {
        (void)append_one(f, 1, 100, TM_WAL_RESERVED);
        pass_time(f, TM_MS(200));
        settle_idle(f);
    }
    CU_ASSERT_EQUAL_FATAL(tm_wal_current_segment(f->wal), full + 1);
    return full + 1;
}

static void release_ends_the_overdraft(struct fixture *f, uint64_t below)
{
    tm_wal_release(f->wal, below);
    for (unsigned i = 0; i < 10; i++) {
        pass_time(f, TM_MS(200));
        settle_idle(f);
    }
    CU_ASSERT(tm_wal_disk_bytes(f->wal) <= f->config.max_bytes);
    CU_ASSERT_EQUAL(tm_wal_state(f->wal), TM_WAL_RUNNING);
    fill(f, 20, 500);
}

static void a_used_up_reserve_gets_one_segment_more_and_no_effects_but_followed_ones(void)
{
    struct fixture *f = opened_of(3);
    uint64_t more = overdraw(f);
    CU_ASSERT_EQUAL(tm_wal_disk_bytes(f->wal), f->config.max_bytes + f->config.segment_bytes);
    CU_ASSERT_EQUAL(append_one(f, 1, 100, TM_WAL_EFFECT), TM_ERR_NOSPACE);
    unsigned followed = append_all(f, 100, TM_WAL_FOLLOWED);
    CU_ASSERT(followed > 0);
    CU_ASSERT(append_all(f, 100, TM_WAL_RESERVED) >= followed / 2); /* it has the other half */
    CU_ASSERT_EQUAL(tm_wal_disk_bytes(f->wal), f->config.max_bytes + f->config.segment_bytes);
    CU_ASSERT_EQUAL(tm_wal_state(f->wal), TM_WAL_FULL);
    release_ends_the_overdraft(f, more);
    teardown(f);
}

/* It would leave a little less of the reserve than it has to. */
static void what_is_followed_and_does_not_fit_gets_one_segment_more(void)
{
    struct fixture *f = opened_of(3);
    CU_ASSERT(fill_up(f) == TM_ERR_NOSPACE);
    (void)append_all(f, 100, TM_WAL_FOLLOWED);
    pass_time(f, TM_MS(200));
    settle_idle(f);
    CU_ASSERT_EQUAL(append_one(f, 1, 100, TM_WAL_FOLLOWED), TM_OK);
    CU_ASSERT_EQUAL(append_one(f, 1, 100, TM_WAL_EFFECT), TM_ERR_NOSPACE);
    CU_ASSERT_EQUAL(tm_wal_disk_bytes(f->wal), f->config.max_bytes + f->config.segment_bytes);
    teardown(f);
}

/* What a start may add to a log that has all it may have is for what frees room, and however often
 * it ends there is no second. */
static void starts_of_a_full_log_give_effects_no_segment_more(void)
{
    struct fixture *f = opened_of(3);
    if (env_chance(&f->env, 50))
        (void)overdraw(f);
    else
        CU_ASSERT(fill_up(f) == TM_ERR_NOSPACE);
    for (unsigned i = 0; i < 8; i++) {
        start_again(f, 70);
        CU_ASSERT(tm_wal_disk_bytes(f->wal) <= f->config.max_bytes + f->config.segment_bytes);
        CU_ASSERT_EQUAL(append_one(f, 1, 900, TM_WAL_EFFECT), TM_ERR_NOSPACE);
        CU_ASSERT_EQUAL(append_one(f, 1, 100, TM_WAL_RESERVED), TM_OK);
        settle_idle(f);
    }
    release_ends_the_overdraft(f, tm_wal_current_segment(f->wal));
    teardown(f);
}

static void a_higher_limit_ends_an_overdraft_at_once(void)
{
    struct fixture *f = opened_of(3);
    (void)overdraw(f);
    tm_wal_set_limits(f->wal, f->config.max_bytes + 1, 0, 0);
    CU_ASSERT_EQUAL(append_one(f, 1, 100, TM_WAL_EFFECT), TM_ERR_NOSPACE);
    tm_wal_set_limits(f->wal, f->config.max_bytes + f->config.segment_bytes, 0, 0);
    CU_ASSERT_EQUAL(append_one(f, 1, 100, TM_WAL_EFFECT), TM_OK);
    teardown(f);
}

static void a_read_of_what_was_released_meanwhile_says_so(void)
{
    struct fixture *f = opened(tm_test_seed());
    uint64_t first = tm_wal_current_segment(f->wal);
    while (tm_wal_current_segment(f->wal) == first)
        fill(f, 1, 900);
    fill(f, 5, 900);
    struct reader r = {
        .read = {.place = f->model[0].place, .record = read_record, .done = read_end}};
    r.read.owner = &r;
    CU_ASSERT_FATAL(tm_wal_read(f->wal, &r.read) == TM_OK);
    tm_wal_release(f->wal, tm_wal_current_segment(f->wal));
    settle_idle(f);
    CU_ASSERT(r.done && r.err == TM_ERR_NOTFOUND && r.checksum == 0);
    teardown(f);
}

static void a_stall_is_measured(void)
{
    struct fixture *f = opened(tm_test_seed());
    fill(f, 5, 200);
    CU_ASSERT(tm_wal_stalled_ns(f->wal) == 0);
    tm_sim_disk_stall(f->env.sd, true);
    CU_ASSERT_FATAL(append_one(f, 1, 100, TM_WAL_EFFECT) == TM_OK);
    tm_wal_flush(f->wal);
    f->env.now_ns += TM_MS(1500);
    CU_ASSERT(tm_wal_stalled_ns(f->wal) == TM_MS(1500));
    tm_sim_disk_stall(f->env.sd, false);
    settle_idle(f);
    CU_ASSERT(tm_wal_stalled_ns(f->wal) == 0 && f->acked == f->count);
    teardown(f);
}

/* Makes one durable write take that long. */
static void stall_for(struct fixture *f, uint64_t ns)
{
    tm_sim_disk_stall(f->env.sd, true);
    CU_ASSERT_FATAL(append_one(f, 1, 100, TM_WAL_EFFECT) == TM_OK);
    tm_wal_flush(f->wal);
    f->env.now_ns += ns;
    tm_sim_disk_stall(f->env.sd, false);
    settle_idle(f);
}

static void long_writes_are_counted_and_limits_change_while_it_runs(void)
{
    static struct tm_counters counters;
    struct fixture *f = setup(tm_test_seed());
    memset(&counters, 0, sizeof counters);
    f->env.ctx.counters = &counters;
    f->config.stall_ns = TM_MS(100);
    f->config.max_bytes = 3 * f->config.segment_bytes;
    start(f);
    stall_for(f, TM_MS(99));
    CU_ASSERT_EQUAL(tm_counter_get(&counters, TM_COUNTER_wal_stalls), 0);
    stall_for(f, TM_MS(101));
    CU_ASSERT_EQUAL(tm_counter_get(&counters, TM_COUNTER_wal_stalls), 1);
    CU_ASSERT_EQUAL(tm_wal_next_deadline(f->wal), tm_wal_last_durable_ns(f->wal) + TM_MS(50));
    CU_ASSERT(fill_up(f) == TM_ERR_NOSPACE);
    CU_ASSERT_EQUAL(tm_wal_segments(f->wal), 3);
    settle_idle(f);

    tm_wal_set_limits(f->wal, 5 * f->config.segment_bytes, TM_MS(7), TM_MS(200));
    pass_time(f, TM_SECONDS(1));
    settle_idle(f);
    CU_ASSERT(tm_wal_state(f->wal) == TM_WAL_RUNNING);
    CU_ASSERT(fill_up(f) == TM_ERR_NOSPACE);
    CU_ASSERT_EQUAL(tm_wal_segments(f->wal), 5);
    tm_wal_release(f->wal, tm_wal_current_segment(f->wal));
    settle_idle(f);
    stall_for(f, TM_MS(199));
    CU_ASSERT_EQUAL(tm_counter_get(&counters, TM_COUNTER_wal_stalls), 1);
    CU_ASSERT_EQUAL(tm_wal_next_deadline(f->wal), tm_wal_last_durable_ns(f->wal) + TM_MS(7));
    teardown(f);
}

static void a_turn_is_one_block_and_gathers_while_the_disk_is_busy(void)
{
    struct fixture *f = setup(tm_test_seed());
    f->config.flushes_under_way = 1;
    start(f);
    uint64_t writes = tm_sim_disk_count(f->env.sd, TM_DISK_WRITE);
    for (unsigned turn = 0; turn < 10; turn++) {
        CU_ASSERT_FATAL(append_one(f, 1, 50, TM_WAL_EFFECT) == TM_OK);
        CU_ASSERT_FATAL(append_one(f, 2, 50, TM_WAL_EFFECT) == TM_OK);
        tm_wal_flush(f->wal);
        CU_ASSERT(tm_sim_disk_under_way(f->env.sd) == 1);
    }
    tm_sim_disk_drain(f->env.sd);
    CU_ASSERT(f->acked == 2);
    tm_wal_flush(f->wal);
    tm_sim_disk_drain(f->env.sd);
    CU_ASSERT(f->acked == 20);
    CU_ASSERT(tm_sim_disk_count(f->env.sd, TM_DISK_WRITE) == writes + 2);
    teardown(f);
}

static void append_many(struct fixture *f, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        CU_ASSERT_FATAL(append_one(f, 1, 50, TM_WAL_EFFECT) == TM_OK);
    tm_wal_flush(f->wal);
}

static void after_a_large_block_the_next_one_gathers_and_goes_by_itself(void)
{
    struct fixture *f = setup(tm_test_seed());
    f->config.gather_ns = TM_US(500);
    start(f);
    f->env.now_ns += TM_MS(1);
    append_many(f, TM_WAL_LARGE - 1);
    append_many(f, TM_WAL_LARGE);
    CU_ASSERT_EQUAL(tm_sim_disk_under_way(f->env.sd), 2); /* after a small one at once */
    append_many(f, 1);
    tm_sim_disk_step(f->env.sd);
    append_many(f, 1);
    CU_ASSERT_EQUAL(tm_sim_disk_under_way(f->env.sd), 1); /* large ones go alone */
    tm_sim_disk_drain(f->env.sd);
    append_many(f, 1);
    CU_ASSERT_EQUAL(tm_sim_disk_under_way(f->env.sd), 0);
    CU_ASSERT_EQUAL(tm_wal_next_deadline(f->wal), f->env.now_ns + TM_US(500));
    f->env.now_ns += TM_US(500);
    tm_wal_flush(f->wal);
    CU_ASSERT_EQUAL(tm_sim_disk_under_way(f->env.sd), 1);
    tm_sim_disk_drain(f->env.sd);
    CU_ASSERT_EQUAL(f->acked, f->count);
    append_many(f, 1); /* that was a small one: at once */
    CU_ASSERT_EQUAL(tm_sim_disk_under_way(f->env.sd), 1);
    teardown(f);
}

static const struct tm_test tests[] = {
    TM_TEST(after_a_large_block_the_next_one_gathers_and_goes_by_itself),
    TM_TEST(a_turn_is_one_block_and_gathers_while_the_disk_is_busy),
    TM_TEST(a_record_is_read_back_by_its_place),
    TM_TEST(a_hole_ends_what_counts),
    TM_TEST(what_was_durable_survives_crashes),
    TM_TEST(rot_before_the_durable_point_is_reported_and_nothing_is_cut),
    TM_TEST(damage_past_the_durable_point_is_remembered),
    TM_TEST(rot_right_before_a_hole_is_remembered),
    TM_TEST(rot_of_the_last_block_before_a_start_is_told_by_the_start),
    TM_TEST(an_idle_marker_makes_the_last_block_provably_durable),
    TM_TEST(rot_of_all_that_a_first_segment_held_is_remembered),
    TM_TEST(a_misdirected_write_is_rot_not_silence),
    TM_TEST(a_failed_write_poisons_for_good),
    TM_TEST(a_failed_flush_poisons_too),
    TM_TEST(a_full_disk_refuses_effects_takes_hard_state_and_resumes),
    TM_TEST(a_full_disk_that_refuses_large_effects_says_so),
    TM_TEST(released_segments_are_used_again_and_do_not_come_back),
    TM_TEST(a_segment_with_rot_is_not_used_again),
    TM_TEST(the_segment_of_the_last_durable_block_is_not_released),
    TM_TEST(an_exhausted_reserve_can_still_say_what_was_released),
    TM_TEST(a_used_up_reserve_gets_one_segment_more_and_no_effects_but_followed_ones),
    TM_TEST(what_is_followed_and_does_not_fit_gets_one_segment_more),
    TM_TEST(starts_of_a_full_log_give_effects_no_segment_more),
    TM_TEST(a_higher_limit_ends_an_overdraft_at_once),
    TM_TEST(a_read_of_what_was_released_meanwhile_says_so),
    TM_TEST(a_stall_is_measured),
    TM_TEST(long_writes_are_counted_and_limits_change_while_it_runs),
};

TM_TEST_MAIN("storage/wal", tests)
