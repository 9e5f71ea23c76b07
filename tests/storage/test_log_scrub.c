/* Reading again what is at rest: exactly the records that lie in rotten blocks are told. */
#include "tests/storage/log_set_fixture.h"

#include <errno.h>

#define TOLD_MAX 64

struct look {
    struct tm_log_scrub scrub;
    struct fixture *f;
    uint64_t read;
    unsigned told;
    struct {
        uint32_t partition;
        uint64_t first, last;
    } lost[TOLD_MAX];
    bool lose;
};

static void on_lost(struct tm_log_scrub *scrub, uint32_t partition, uint64_t first, uint64_t last)
{
    struct look *l = scrub->owner;
    CU_ASSERT_FATAL(l->told < TOLD_MAX);
    l->lost[l->told].partition = partition;
    l->lost[l->told].first = first;
    l->lost[l->told++].last = last;
    if (l->lose)
        tm_log_lose(log_at(l->f, partition), first, last);
}

static void on_read(struct tm_log_scrub *scrub, uint64_t bytes)
{
    ((struct look *)scrub->owner)->read += bytes;
}

/* All segments once, in pieces of the smallest size. */
static void pass(struct look *l, struct fixture *f)
{
    enum tm_err err;
    l->f = f;
    l->told = 0;
    l->read = 0;
    l->scrub.lost = on_lost;
    l->scrub.done = on_read;
    l->scrub.owner = l;
    while ((err = tm_log_set_scrub(f->set, &l->scrub, 1)) == TM_OK) {
        CU_ASSERT_FALSE(tm_log_set_idle(f->set));
        tm_sim_disk_drain(f->env.sd);
        CU_ASSERT_FALSE_FATAL(l->scrub.wal.busy);
    }
    CU_ASSERT_EQUAL_FATAL(err, TM_ERR_NOTFOUND);
}

static uint64_t block_of(struct fixture *f, uint32_t p, uint64_t i)
{
    return TM_WAL_PLACE_BLOCK(tm_log_index_at(&log_at(f, p)->index, i)->place);
}

static bool was_told(const struct look *l, uint32_t p, uint64_t i)
{
    for (unsigned k = 0; k < l->told; k++)
        if (l->lost[k].partition == p && i >= l->lost[k].first && i <= l->lost[k].last)
            return true;
    return false;
}

static uint64_t records_told(const struct look *l)
{
    uint64_t n = 0;
    for (unsigned k = 0; k < l->told; k++)
        n += l->lost[k].last - l->lost[k].first + 1;
    return n;
}

static void what_is_whole_is_read_and_nothing_is_told(void)
{
    struct fixture *f = filled(tm_test_seed(), 400);
    struct look l = {0};
    pass(&l, f);
    const struct tm_wal *wal = tm_log_set_wal(f->set);
    CU_ASSERT(tm_wal_segments(wal) > 2);
    CU_ASSERT(l.read > (tm_wal_segments(wal) - 1) * TM_KIB(64));
    CU_ASSERT_EQUAL(l.told, 0);
    crash(f, -1);
    tm_log_scrub_free(&l.scrub);
    reopen(f); /* the end of the segment before is one that a crash made */
    pass(&l, f);
    CU_ASSERT(l.read > 0 && l.told == 0);
    tm_log_scrub_free(&l.scrub);
    teardown(f);
}

static void the_records_of_a_rotten_block_are_told_and_no_others(void)
{
    struct fixture *f = filled(tm_test_seed(), 300);
    struct look l = {0};
    for (unsigned round = 0; round < 20; round++) {
        uint32_t p = partition_at((unsigned)env_below(&f->env, MINE));
        uint64_t i = 1 + env_below(&f->env, f->logs[p].last), block = block_of(f, p, i);
        pass(&l, f);
        uint64_t before = records_told(&l);
        bool known = was_told(&l, p, i);
        flip_block_of(f, p, i);
        pass(&l, f);
        CU_ASSERT(was_told(&l, p, i) || known); /* a bit may flip back */
        CU_ASSERT(known || records_told(&l) > before);
        for (unsigned k = 0; k < MINE && !known; k++)
            for (uint64_t n = 1; n <= f->logs[partition_at(k)].last; n++)
                CU_ASSERT(block_of(f, partition_at(k), n) != block ||
                          was_told(&l, partition_at(k), n));
    }
    for (unsigned k = 0; k < MINE; k++) /* what is told cannot be read, all else can */
        for (uint64_t n = 1; n <= f->logs[partition_at(k)].last; n++) {
            enum tm_err err = fetch_all(f, partition_at(k), n, n);
            CU_ASSERT_EQUAL(err, was_told(&l, partition_at(k), n) ? TM_ERR_CORRUPT : TM_OK);
        }
    tm_log_scrub_free(&l.scrub);
    teardown(f);
}

static void what_is_read_wrong_once_is_no_damage(void)
{
    struct fixture *f = filled(tm_test_seed(), 200);
    struct look l = {0};
    tm_sim_disk_fail(f->env.sd, TM_DISK_READ, EIO, 1);
    pass(&l, f);
    CU_ASSERT_EQUAL(l.told, 0);
    tm_sim_disk_misread(f->env.sd, true);
    pass(&l, f);
    CU_ASSERT_EQUAL(l.told, 0);
    tm_sim_disk_fail(f->env.sd, TM_DISK_READ, EIO, 2);
    pass(&l, f);
    CU_ASSERT(l.told > 0);
    tm_log_scrub_free(&l.scrub);
    teardown(f);
}

static void what_was_repaired_is_not_told_again(void)
{
    _Alignas(8) uint8_t buf[4096];
    struct fixture *f = filled(tm_test_seed(), 200);
    struct look l = {.lose = true};
    uint64_t i = f->logs[2].last / 2;
    flip_block_of(f, 2, i);
    pass(&l, f);
    CU_ASSERT_TRUE_FATAL(was_told(&l, 2, i));
    CU_ASSERT_EQUAL(f->faults, l.told);
    unsigned told = l.told;
    for (unsigned k = 0; k < told; k++)
        for (uint64_t n = l.lost[k].last; n >= l.lost[k].first; n--) {
            struct tm_record *r = build(f, buf, l.lost[k].partition, n);
            CU_ASSERT_EQUAL(
                tm_log_repair(log_at(f, l.lost[k].partition), tm_bytes_of(r, r->length)), TM_OK);
        }
    settle(f);
    pass(&l, f);
    CU_ASSERT_EQUAL(l.told, 0);
    for (unsigned k = 0; k < MINE; k++)
        CU_ASSERT_EQUAL(tm_log_fault_count(log_at(f, partition_at(k))), 0);
    check_bytes(f, 2);
    tm_log_scrub_free(&l.scrub);
    teardown(f);
}

static void older_generations_are_read_too(void)
{
    static const struct tm_wal_generation older[] = {{1, WORKERS}};
    struct fixture *f = filled(tm_test_seed(), 200);
    struct look l = {0};
    char name[TM_WAL_NAME_MAX];
    crash(f, -1);
    f->config.wal.generation = 2;
    f->config.wal.older = older;
    f->config.wal.older_count = 1;
    reopen(f);
    settle(f);
    pass(&l, f);
    CU_ASSERT_EQUAL(l.told, 0);
    tm_wal_place place = tm_log_index_at(&log_at(f, 2)->index, 3)->place;
    CU_ASSERT_NOT_EQUAL_FATAL(tm_wal_place_volume(place), 0);
    tm_wal_name_segment(name, "wal", 1, 0, tm_wal_place_segment(place));
    CU_ASSERT_TRUE_FATAL(tm_sim_disk_flip(f->env.sd, name, tm_wal_place_offset(place) + 700, 3));
    pass(&l, f);
    CU_ASSERT_TRUE(was_told(&l, 2, 3));
    tm_log_scrub_free(&l.scrub);
    teardown(f);
}

static void a_segment_may_go_while_it_is_read(void)
{
    struct fixture *f = filled(tm_test_seed(), 400);
    struct look l = {.f = f};
    l.scrub = (struct tm_log_scrub){.lost = on_lost, .done = on_read, .owner = &l};
    CU_ASSERT_EQUAL_FATAL(tm_log_set_scrub(f->set, &l.scrub, 1), TM_OK);
    for (unsigned k = 0; k < MINE; k++) {
        uint32_t p = partition_at(k);
        tm_log_set_commit(log_at(f, p), f->logs[p].last);
        f->logs[p].commit = f->logs[p].last;
        tm_log_compact(log_at(f, p), f->logs[p].last);
    }
    for (unsigned i = 0; i < 20; i++) {
        f->env.now_ns += TM_MS(60);
        tm_log_set_tick(f->set);
        settle(f);
    }
    CU_ASSERT(tm_wal_first_segment(tm_log_set_wal(f->set)) > 1);
    pass(&l, f);
    CU_ASSERT_EQUAL(l.told, 0);
    tm_log_scrub_free(&l.scrub);
    teardown(f);
}

static const struct tm_test tests[] = {
    TM_TEST(what_is_whole_is_read_and_nothing_is_told),
    TM_TEST(the_records_of_a_rotten_block_are_told_and_no_others),
    TM_TEST(what_is_read_wrong_once_is_no_damage),
    TM_TEST(what_was_repaired_is_not_told_again),
    TM_TEST(older_generations_are_read_too),
    TM_TEST(a_segment_may_go_while_it_is_read),
};

TM_TEST_MAIN("storage/log_scrub", tests)
