/* What a log keeps of the records that its snapshot holds already: copies that lag are sent those.
 */
#include "tests/storage/log_set_fixture.h"

static void snapshot_of_all(struct fixture *f, uint32_t p)
{
    struct model_log *m = &f->logs[p];
    m->commit = m->base = m->last;
    m->base_term = m->term[m->last];
    m->base_hash = m->hash[m->last];
    tm_log_set_commit(log_at(f, p), m->last);
}

static void fill(struct fixture *f, uint32_t p, unsigned records)
{
    for (unsigned i = 0; i < records; i++) {
        while (append(f, p) != TM_OK)
            settle(f);
        settle(f);
    }
    pass_idle(f);
}

static void a_log_keeps_what_the_wal_has_of_what_its_snapshot_holds(void)
{
    struct fixture *f = filled(tm_test_seed(), 150);
    pass_idle(f);
    snapshot_of_all(f, 2);
    crash(f, -1);
    reopen(f);
    CU_ASSERT_EQUAL(tm_log_first(log_at(f, 2)), 1);
    CU_ASSERT_EQUAL(tm_log_commit(log_at(f, 2)), f->logs[2].base);
    check_log(f, 2);
    check_bytes(f, 2);
    teardown(f);
}

static void a_log_begins_where_the_oldest_segment_that_is_left_does(void)
{
    struct fixture *f = filled(tm_test_seed(), 30);
    fill(f, 2, 600);
    uint64_t middle = f->logs[2].last - 100;
    for (unsigned i = 0; i < MINE; i++) {
        uint32_t p = partition_at(i);
        snapshot_of_all(f, p);
        tm_log_compact(log_at(f, p), p == 2 ? middle : f->logs[p].last);
    }
    for (unsigned i = 0; i < 20; i++) {
        f->env.now_ns += TM_MS(60);
        tm_log_set_tick(f->set);
        settle(f);
    }
    uint64_t segment = tm_wal_first_segment(tm_log_set_wal(f->set));
    CU_ASSERT(segment > 1);
    CU_ASSERT(tm_log_last_below(log_at(f, 2), segment) == middle);
    uint64_t below = tm_log_last_below(log_at(f, 2), segment + 1);
    CU_ASSERT(below > middle && below < f->logs[2].last);
    CU_ASSERT_EQUAL(tm_log_segment_of(log_at(f, 2), below), segment);
    CU_ASSERT(tm_log_segment_of(log_at(f, 2), below + 1) > segment);
    crash(f, -1);
    reopen(f);
    /* Of the first record that is left only the term and the hash are taken. */
    CU_ASSERT(tm_log_first(log_at(f, 2)) > 2 && tm_log_first(log_at(f, 2)) <= middle + 2);
    for (unsigned i = 0; i < MINE; i++) {
        check_log(f, partition_at(i));
        check_bytes(f, partition_at(i));
    }
    teardown(f);
}

/* The first record that is lost. */
static void repair_one(struct fixture *f, uint32_t p)
{
    _Alignas(8) uint8_t buf[4096];
    uint64_t first, last;
    tm_log_fault_at(log_at(f, p), 0, &first, &last);
    struct tm_record *r = build(f, buf, p, first);
    enum tm_err e = tm_log_repair(log_at(f, p), tm_bytes_of(r, r->length));
    CU_ASSERT_FATAL(e == TM_OK || e == TM_ERR_FULL);
    settle(f);
}

static void repair(struct fixture *f, uint32_t p)
{
    while (tm_log_fault_count(log_at(f, p)) > 0)
        repair_one(f, p);
}

static void check_last_below(struct fixture *f, uint32_t p)
{
    const struct tm_log *log = log_at(f, p);
    uint64_t newest = tm_wal_current_segment(tm_log_set_wal(f->set)) + 1;
    for (uint64_t segment = 1; segment <= newest; segment++) {
        uint64_t last = tm_log_last(log);
        while (last >= tm_log_first(log) && tm_log_segment_of(log, last) >= segment)
            last--;
        CU_ASSERT_EQUAL(tm_log_last_below(log, segment), last);
    }
}

static void what_lies_below_a_segment_is_found_past_faults_and_repairs(void)
{
    struct fixture *f = filled(tm_test_seed(), 30);
    fill(f, 2, 600);
    uint64_t last = f->logs[2].last;
    CU_ASSERT(tm_wal_current_segment(tm_log_set_wal(f->set)) > 4);
    check_last_below(f, 2);
    flip_block_of(f, 2, 2);
    flip_block_of(f, 2, last / 2);
    crash(f, -1);
    reopen(f);
    CU_ASSERT(tm_log_fault_count(log_at(f, 2)) > 1);
    check_last_below(f, 2);
    repair_one(f, 2);
    CU_ASSERT(tm_log_fault_count(log_at(f, 2)) > 0);
    check_last_below(f, 2);
    repair(f, 2);
    check_last_below(f, 2);
    fill(f, 2, 200);
    check_last_below(f, 2);
    uint64_t until = last - 40;
    snapshot_of_all(f, 2);
    tm_log_compact(log_at(f, 2), until);
    check_last_below(f, 2);
    crash(f, -1);
    reopen(f);
    check_last_below(f, 2);
    teardown(f);
}

/* It lies where it was written anew, behind all that follows it: that can go, with it. */
static void what_was_repaired_keeps_nothing_that_follows_it(void)
{
    struct fixture *f = filled(tm_test_seed(), 30);
    fill(f, 2, 400);
    uint64_t last = f->logs[2].last;
    flip_block_of(f, 2, 1);
    crash(f, -1);
    reopen(f);
    CU_ASSERT_FATAL(tm_log_fault_count(log_at(f, 2)) > 0);
    repair(f, 2);
    uint64_t newest = tm_log_segment_of(log_at(f, 2), 1);
    CU_ASSERT(newest > tm_log_segment_of(log_at(f, 2), last));
    CU_ASSERT_EQUAL(tm_log_last_below(log_at(f, 2), newest), last);
    fill(f, 2, 1);
    CU_ASSERT_EQUAL(tm_log_last_below(log_at(f, 2), newest), last);
    teardown(f);
}

static void a_snapshot_that_another_log_led_to_stands_alone(void)
{
    struct fixture *f = filled(tm_test_seed(), 60);
    fill(f, 2, 20);
    struct model_log *m = &f->logs[2];
    m->commit = m->base = m->last - 5; /* not what this log has there: its tail was replaced */
    m->base_term = m->term[m->base];
    m->base_hash = m->hash[m->base] + 1;
    crash(f, -1);
    reopen(f);
    uint64_t first, last;
    CU_ASSERT_EQUAL(tm_log_first(log_at(f, 2)), m->base + 1);
    CU_ASSERT_FATAL(tm_log_fault_count(log_at(f, 2)) == 1);
    tm_log_fault_at(log_at(f, 2), 0, &first, &last);
    CU_ASSERT(first == m->base + 1 && last == first);
    teardown(f);
}

static void damage_before_the_snapshot_is_none(void)
{
    struct fixture *f = filled(tm_test_seed(), 150);
    pass_idle(f);
    snapshot_of_all(f, 2);
    flip_block_of(f, 2, f->logs[2].last / 2);
    crash(f, -1);
    reopen(f);
    check_log(f, 2);
    CU_ASSERT_EQUAL(tm_log_first(log_at(f, 2)), f->logs[2].base + 1);
    CU_ASSERT_EQUAL(append(f, 2), TM_OK);
    settle(f);
    check_bytes(f, 2);
    teardown(f);
}

/* A reading of blocks, beginning with the oldest record of all logs. */
struct reading {
    struct fixture *f;
    uint32_t p; /* whose fetch it is */
    uint64_t place, own, others;
    bool done;
};

static void see(struct reading *x, uint32_t p, uint64_t index, struct tm_bytes record)
{
    const struct tm_record *r = (const void *)record.data;
    CU_ASSERT_FATAL(r->partition == p && r->index == index);
    CU_ASSERT_FATAL(tm_record_check(r, record.len) == TM_OK);
    CU_ASSERT_FATAL(r->checksum == x->f->logs[p].hash[index]);
    CU_ASSERT_FATAL(tm_log_place(log_at(x->f, p), index) >> 20 == x->place >> 20); /* one block */
}

static bool see_own(struct tm_log_fetch *fetch, uint64_t index, struct tm_bytes record)
{
    struct reading *x = fetch->owner;
    see(x, x->p, index, record);
    x->own++;
    return x->own % 3 != 0; /* no more of these; others come all the same */
}

static void see_other(struct tm_log_fetch *fetch, const struct tm_log *log, uint64_t index,
                      struct tm_bytes record)
{
    struct reading *x = fetch->owner;
    CU_ASSERT_FATAL(tm_log_partition(log) != x->p);
    see(x, tm_log_partition(log), index, record);
    x->others++;
}

static void see_end(struct tm_log_fetch *fetch, enum tm_err err)
{
    struct reading *x = fetch->owner;
    CU_ASSERT_EQUAL_FATAL(err, TM_OK);
    x->done = true;
}

static void a_block_that_is_read_serves_other_logs(void)
{
    struct fixture *f = filled(7, 400);
    struct reading x = {.f = f};
    for (unsigned k = 0; k < MINE; k++) {
        x.p = partition_at(k);
        struct tm_log *log = log_at(f, x.p);
        for (uint64_t next = tm_log_first(log); next <= tm_log_last(log);) {
            struct tm_log_fetch fetch = {.first = next,
                                         .last = tm_log_last(log),
                                         .record = see_own,
                                         .other = see_other,
                                         .done = see_end,
                                         .owner = &x};
            x.place = tm_log_place(log, next);
            x.done = false;
            CU_ASSERT_EQUAL_FATAL(tm_log_fetch(log, &fetch), TM_OK);
            tm_sim_disk_drain(f->env.sd);
            CU_ASSERT_FATAL(x.done && fetch.next > next);
            next = fetch.next;
        }
        CU_ASSERT_EQUAL(tm_log_place(log, tm_log_last(log) + 1), 0);
    }
    CU_ASSERT(x.own == 400 && x.others > 50);
    teardown(f);
}

static const struct tm_test tests[] = {
    TM_TEST(a_block_that_is_read_serves_other_logs),
    TM_TEST(a_log_keeps_what_the_wal_has_of_what_its_snapshot_holds),
    TM_TEST(a_log_begins_where_the_oldest_segment_that_is_left_does),
    TM_TEST(what_lies_below_a_segment_is_found_past_faults_and_repairs),
    TM_TEST(what_was_repaired_keeps_nothing_that_follows_it),
    TM_TEST(a_snapshot_that_another_log_led_to_stands_alone),
    TM_TEST(damage_before_the_snapshot_is_none),
};

TM_TEST_MAIN("storage/log_tail", tests)
