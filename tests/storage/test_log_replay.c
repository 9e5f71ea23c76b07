/* What replay takes over of what was repaired, and what it hands on as committed. */
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

/* Each repair in a block of its own, behind a promise. */
static void repair_in_turn(struct fixture *f, uint32_t p, bool backwards)
{
    _Alignas(8) uint8_t buf[4096];
    uint64_t first, last;
    while (tm_log_fault_count(log_at(f, p)) > 0) {
        tm_log_fault_at(log_at(f, p), 0, &first, &last);
        struct tm_record *r = build(f, buf, p, backwards ? last : first);
        put(f, p);
        CU_ASSERT_FATAL(tm_hs_commit(tm_log_set_hs(f->set), tm_log_set_wal(f->set)) == TM_OK);
        CU_ASSERT_FATAL(tm_log_repair(log_at(f, p), tm_bytes_of(r, r->length)) == TM_OK);
        settle(f);
    }
}

static void begin_after_all(struct fixture *f, uint32_t p)
{
    struct model_log *m = &f->logs[p];
    m->commit = m->base = m->last;
    m->base_term = m->term[m->last];
    m->base_hash = m->hash[m->last];
    tm_log_set_commit(log_at(f, p), m->last);
    tm_log_compact(log_at(f, p), m->last);
}

/* Three records rot, each in a block of its own, and are sent again; nobody needs their segment any
 * more, and it goes. */
static struct fixture *repaired(bool backwards)
{
    struct fixture *f = setup(tm_test_seed());
    reopen(f);
    for (unsigned i = 0; i < 6; i++) {
        CU_ASSERT_FATAL(append(f, i % 2 == 0 ? 2 : 4) == TM_OK);
        settle(f);
    }
    pass_idle(f);
    for (uint64_t i = 1; i <= 3; i++)
        flip_block_of(f, 2, i);
    crash(f, -1);
    reopen(f);
    CU_ASSERT_FATAL(tm_log_last(log_at(f, 2)) == 3 && tm_log_durable(log_at(f, 2)) == 0);
    uint64_t had = tm_wal_current_segment(tm_log_set_wal(f->set));
    repair_in_turn(f, 2, backwards);
    begin_after_all(f, 4);
    for (unsigned i = 0; i < 20; i++)
        pass_idle(f);
    CU_ASSERT_FATAL(had > 1 && tm_wal_first_segment(tm_log_set_wal(f->set)) == had);
    return f;
}

static void what_was_repaired_stands_without_what_it_replaced(void)
{
    for (unsigned backwards = 0; backwards < 2; backwards++) {
        struct fixture *f = repaired(backwards == 1);
        for (unsigned i = 0; i < 3; i++) {
            CU_ASSERT_EQUAL(f->logs[2].durable, 3 + i);
            crash(f, -1);
            reopen(f);
            CU_ASSERT_EQUAL(tm_log_last(log_at(f, 2)), 3 + i);
            check_log(f, 2);
            check_bytes(f, 2);
            CU_ASSERT_FATAL(append(f, 2) == TM_OK);
            settle(f);
        }
        teardown(f);
    }
}

static struct {
    uint64_t found, restored; /* bit i: the record of index i */
    uint64_t found_last;
} told;

static void note_found(void *host, uint32_t partition, struct tm_bytes bytes)
{
    const struct tm_record *r = (const void *)bytes.data;
    (void)host;
    if (partition != 2)
        return;
    CU_ASSERT(r->index > told.found_last);
    told.found |= 1u << r->index;
    told.found_last = r->index;
}

static void note_restored(void *host, uint32_t partition, struct tm_bytes bytes)
{
    const struct tm_record *r = (const void *)bytes.data;
    struct fixture *f = host;
    CU_ASSERT(partition == 2 && r->length == bytes.len);
    CU_ASSERT_EQUAL(r->checksum, f->logs[2].hash[r->index]);
    CU_ASSERT(r->index < told.found_last);
    told.restored |= 1u << r->index;
}

/* Who keeps what only some records say (the members) has to hear of each. */
static void what_was_repaired_in_the_middle_is_told(void)
{
    struct fixture *f = setup(tm_test_seed());
    reopen(f);
    for (unsigned i = 0; i < 6; i++) {
        CU_ASSERT_FATAL(append(f, 2) == TM_OK);
        settle(f);
    }
    pass_idle(f);
    flip_block_of(f, 2, 3);
    for (unsigned starts = 0; starts < 3; starts++) {
        crash(f, -1);
        told.found = told.restored = told.found_last = 0;
        f->config.found = note_found;
        f->config.restored = note_restored;
        reopen(f);
        CU_ASSERT_EQUAL(told.found, 1u << 1 | 1u << 2 | 1u << 4 | 1u << 5 | 1u << 6);
        CU_ASSERT_EQUAL(told.restored, starts == 0 ? 0 : 1u << 3);
        repair_in_turn(f, 2, false);
    }
    teardown(f);
}

/* Rot takes the repair, too: the block behind it says that there was more than is found. */
static void a_repair_that_rots_is_missed(void)
{
    for (uint64_t i = 1; i <= 3; i++) {
        struct fixture *f = repaired(false);
        flip_block_of(f, 2, i);
        crash(f, -1);
        reopen(f);
        CU_ASSERT_EQUAL(tm_log_last(log_at(f, 2)), 3);
        CU_ASSERT(tm_log_in_fault(log_at(f, 2), i));
        repair_in_turn(f, 2, false);
        crash(f, -1);
        reopen(f);
        check_log(f, 2);
        check_bytes(f, 2);
        teardown(f);
    }
}

/* The first record of a log in an older generation is lost, then repaired in this one: what follows
 * lies where it was. */
static void a_repair_makes_no_older_generation_needless(void)
{
    struct fixture *f = setup(tm_test_seed());
    uint32_t needed = 0;
    reopen(f);
    for (unsigned i = 0; i < 3; i++) {
        CU_ASSERT_FATAL(append(f, 2) == TM_OK);
        settle(f);
    }
    flip_block_of(f, 2, 1);
    reopen_as_second(f, -1);
    CU_ASSERT(tm_log_set_needs_older(f->set, &needed) && needed == 2);
    repair_in_turn(f, 2, false);
    CU_ASSERT(tm_log_set_needs_older(f->set, &needed) && needed == 2);
    begin_after_all(f, 2);
    CU_ASSERT(!tm_log_set_needs_older(f->set, &needed));
    teardown(f);
}

static const struct tm_test tests[] = {
    TM_TEST(what_was_repaired_stands_without_what_it_replaced),
    TM_TEST(what_was_repaired_in_the_middle_is_told),
    TM_TEST(a_repair_that_rots_is_missed),
    TM_TEST(a_repair_makes_no_older_generation_needless),
    TM_TEST(replay_gives_all_that_it_knows_to_be_committed_though_little_is_kept),
};

TM_TEST_MAIN("storage/log_replay", tests)
