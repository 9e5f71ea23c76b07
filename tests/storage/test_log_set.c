/* Logs and hard state over the simulated disk: a model keeps, per partition, every version of every
 * record and what was reported durable; after each crash the logs must be a chain that has at
 * least that, and the hard state no older than what was reported. */
#include "tests/storage/log_set_fixture.h"

static void random_turn(struct fixture *f)
{
    struct store_env *env = &f->env;
    for (uint64_t n = env_below(env, 8); n > 0; n--) {
        uint32_t p = partition_at((unsigned)env_below(env, MINE));
        uint64_t what = env_below(env, 100);
        if (what < 75)
            append(f, p);
        else if (what < 80)
            cut(f, p);
        else if (what < 90)
            commit_some(f, p);
        else if (what < 93)
            snapshot(f, p);
        else
            put(f, p);
    }
    tm_log_set_flush(f->set);
    for (uint64_t n = env_below(env, 6); n > 0; n--)
        tm_sim_disk_step(env->sd);
    env->now_ns += TM_MS(env_below(env, 40));
    if (tm_log_set_next_deadline(f->set) <= env->now_ns)
        tm_log_set_tick(f->set);
}

static void lives(uint64_t seed, unsigned rounds)
{
    struct fixture *f = setup(seed);
    f->config.wal.flushes_under_way = 1 + (uint32_t)env_below(&f->env, 4);
    f->config.wal.sync = env_chance(&f->env, 50) ? TM_WAL_DSYNC : TM_WAL_FSYNC;
    for (unsigned life = 0; life < rounds; life++) {
        reopen(f);
        for (unsigned i = 0; i < MINE; i++) {
            check_log(f, partition_at(i));
            check_hard(f, partition_at(i), false);
            check_bytes(f, partition_at(i));
        }
        for (uint64_t turns = env_below(&f->env, 60); turns > 0; turns--)
            random_turn(f);
        CU_ASSERT_FATAL(f->failed == 0 && f->faults == 0);
        if (env_chance(&f->env, 80)) {
            crash(f, -1);
            continue;
        }
        for (unsigned i = 0; i < 20 && !tm_log_set_idle(f->set); i++)
            settle(f);
        tm_log_set_close(f->set, true);
        f->set = NULL;
    }
    teardown(f);
}

static void logs_and_votes_survive_crashes(void)
{
    uint64_t seed = tm_test_seed();
    for (unsigned i = 0; i < 25; i++)
        lives(seed + i, 20);
}

/* --- faults --- */

/* Whatever was durable is there with the same hash, or known to be lost. */
static void check_nothing_is_lost_silently(struct fixture *f, uint32_t p)
{
    struct model_log *m = &f->logs[p];
    struct tm_log *log = log_at(f, p);
    if (tm_log_last(log) < m->durable)
        CU_ASSERT_FATAL(tm_log_suspect(log));
    for (uint64_t i = m->base + 1; i <= tm_min_u64(m->durable, tm_log_last(log)); i++) {
        uint64_t hash;
        bool known = tm_log_hash_at(log, i, &hash);
        CU_ASSERT_FATAL(known ? hash == m->hash[i] : tm_log_in_fault(log, i));
    }
    if (tm_log_fault_count(log) > 0) {
        uint64_t first, last;
        tm_log_fault_at(log, 0, &first, &last);
        CU_ASSERT_FATAL(tm_log_durable(log) < first);
    }
}

static void repair_all(struct fixture *f, uint32_t p)
{
    _Alignas(8) uint8_t buf[4096];
    struct tm_log *log = log_at(f, p);
    bool backwards = env_chance(&f->env, 50);
    while (tm_log_fault_count(log) > 0) {
        uint64_t first, last;
        tm_log_fault_at(log, 0, &first, &last);
        uint64_t i = backwards && last < tm_log_last(log) ? last : first;
        struct tm_record *r = build(f, buf, p, i);
        CU_ASSERT_FATAL(r->checksum == f->logs[p].hash[i]);
        uint64_t right = r->prev_hash;
        r->prev_hash ^= 1;
        tm_record_seal(r);
        if (i < tm_log_last(log)) /* something behind it tells what it was */
            CU_ASSERT_FATAL(tm_log_repair(log, tm_bytes_of(r, r->length)) == TM_ERR_CORRUPT ||
                            i < last);
        r->prev_hash = right;
        tm_record_seal(r);
        enum tm_err err = tm_log_repair(log, tm_bytes_of(r, r->length));
        CU_ASSERT_FATAL(err == TM_OK || err == TM_ERR_FULL);
        if (err == TM_ERR_FULL)
            settle(f);
        CU_ASSERT_FATAL(err != TM_OK ||
                        tm_log_repair(log, tm_bytes_of(r, r->length)) == TM_ERR_INVALID);
    }
}

static void rot_is_known_kept_and_repaired(void)
{
    uint64_t seed = tm_test_seed();
    unsigned faulty = 0;
    for (unsigned round = 0; round < 60; round++) {
        struct fixture *f = filled(seed + round, 200);
        pass_idle(f);
        for (uint64_t n = 1 + env_below(&f->env, 3); n > 0; n--) {
            uint32_t p = partition_at((unsigned)env_below(&f->env, MINE));
            flip_block_of(f, p, 1 + env_below(&f->env, f->logs[p].last));
        }
        for (unsigned again = 0; again < 2; again++) {
            crash(f, -1);
            reopen(f);
            for (unsigned i = 0; i < MINE; i++)
                check_nothing_is_lost_silently(f, partition_at(i));
        }
        for (unsigned i = 0; i < MINE; i++) {
            uint32_t p = partition_at(i);
            faulty += tm_log_fault_count(log_at(f, p)) > 0;
            check_hard(f, p, true);
            repair_all(f, p);
        }
        settle(f);
        for (unsigned again = 0; again < 2; again++) {
            for (unsigned i = 0; i < MINE; i++) {
                struct tm_log *log = log_at(f, partition_at(i));
                CU_ASSERT_FATAL(tm_log_fault_count(log) == 0);
                CU_ASSERT_FATAL(tm_log_suspect(log) ||
                                tm_log_last(log) == f->logs[partition_at(i)].last);
                if (!tm_log_suspect(log))
                    CU_ASSERT_FATAL(tm_log_durable(log) == f->logs[partition_at(i)].last);
                f->logs[partition_at(i)].last = tm_log_last(log);
                check_bytes(f, partition_at(i));
            }
            crash(f, -1);
            reopen(f);
        }
        teardown(f);
    }
    CU_ASSERT(faulty > 20);
}

/* Two rotten blocks in a row: the directory of the first one's is gone with the second. */
static void a_cut_that_was_lost_to_rot_is_noticed(void)
{
    for (unsigned wrong = 0; wrong < 4; wrong++) {
        struct fixture *f = filled(tm_test_seed(), 60);
        struct model_log *m = &f->logs[2];
        while (m->last < 10 || m->last - m->commit < 5) {
            CU_ASSERT_FATAL(append(f, 2) == TM_OK);
            settle(f);
        }
        uint64_t from = m->last - (wrong >= 2 ? 0 : 2);
        CU_ASSERT_FATAL(tm_log_cut(log_at(f, 2), from) == TM_OK);
        m->last = from - 1;
        m->durable = tm_min_u64(m->durable, m->last);
        CU_ASSERT_FATAL(append(f, 2) == TM_OK); /* another record `from`, in the block of the cut */
        settle(f);
        if (wrong >= 1) { /* the block behind holds this one's too: no hash links it */
            CU_ASSERT_FATAL(append(f, 2) == TM_OK && append(f, 2) == TM_OK);
            settle(f);
        } else {
            CU_ASSERT_FATAL(append(f, 0) == TM_OK); /* the block behind: of others */
            settle(f);
        }
        if (wrong == 3) { /* and behind that one of others, so that only indexes tell */
            CU_ASSERT_FATAL(append(f, 0) == TM_OK);
            settle(f);
        }
        uint32_t second = wrong >= 1 ? 2 : 0;
        uint64_t last = f->logs[second].last;
        CU_ASSERT_FATAL(append(f, 2) == TM_OK);
        settle(f);
        pass_idle(f);
        flip_block_of(f, 2, from);
        flip_block_of(f, second, last);
        if (wrong == 3)
            flip_block_of(f, 0, f->logs[0].last);
        crash(f, -1);
        reopen(f);
        check_nothing_is_lost_silently(f, 2);
        CU_ASSERT(tm_log_last(log_at(f, 2)) == m->last);
        CU_ASSERT(tm_log_fault_count(log_at(f, 2)) > 0);
        uint64_t hash;
        CU_ASSERT(!tm_log_hash_at(log_at(f, 2), from, &hash));
        repair_all(f, 2);
        settle(f);
        check_bytes(f, 2);
        teardown(f);
    }
}

static void rot_met_while_reading_is_a_fault_of_the_log(void)
{
    struct fixture *f = filled(tm_test_seed(), 300);
    struct model_log *m = &f->logs[2];
    uint64_t bad = m->last / 2;
    flip_block_of(f, 2, bad);
    CU_ASSERT(tm_log_durable(log_at(f, 2)) == m->last);
    CU_ASSERT(fetch_all(f, 2, 1, m->last) == TM_ERR_CORRUPT);
    CU_ASSERT(f->faults == 1 && tm_log_fault_count(log_at(f, 2)) == 1);
    uint64_t first, last;
    tm_log_fault_at(log_at(f, 2), 0, &first, &last);
    CU_ASSERT(first <= bad && bad <= last);
    CU_ASSERT(tm_log_durable(log_at(f, 2)) == first - 1);
    repair_all(f, 2);
    CU_ASSERT(tm_log_durable(log_at(f, 2)) == first - 1); /* not before the repair is durable */
    m->durable = first - 1;
    settle(f);
    CU_ASSERT(tm_log_durable(log_at(f, 2)) == m->last);
    CU_ASSERT(fetch_all(f, 2, 1, m->last) == TM_OK);
    teardown(f);
}

static void a_damaged_tail_makes_suspects_until_they_are_cleared(void)
{
    struct fixture *f = filled(tm_test_seed(), 100);
    CU_ASSERT_FATAL(append(f, 2) == TM_OK);
    settle(f);
    flip_block_of(f, 2, f->logs[2].last); /* no marker: past what is provably durable */
    for (unsigned i = 0; i < 3; i++) {
        crash(f, -1);
        reopen(f);
        for (unsigned k = 0; k < MINE; k++) {
            CU_ASSERT(tm_log_suspect(log_at(f, partition_at(k))));
            check_hard(f, partition_at(k), false); /* the file has what was shown */
        }
        CU_ASSERT(tm_log_last(log_at(f, 2)) == f->logs[2].last - 1);
    }
    CU_ASSERT(tm_log_clear_suspect(log_at(f, 2)) == TM_OK);
    f->logs[2].last = f->logs[2].durable = tm_log_last(log_at(f, 2));
    put(f, 2);
    settle(f);
    CU_ASSERT(append(f, 2) == TM_OK);
    settle(f);
    crash(f, -1);
    reopen(f);
    CU_ASSERT(!tm_log_suspect(log_at(f, 2)) && tm_log_suspect(log_at(f, 0)));
    check_log(f, 2);
    check_hard(f, 2, false);
    teardown(f);
}

/* The hard state file knows what there was; where it is lost too, the data directory does. */
static void lose_all(bool hard_state_too)
{
    struct fixture *f = filled(tm_test_seed(), 100);
    char name[TM_WAL_NAME_MAX];
    crash(f, -1);
    for (unsigned i = 1; i < 40; i++) {
        tm_wal_name_segment(name, "wal", 1, 0, i);
        tm_sim_disk_remove(f->env.sd, name);
    }
    tm_wal_name_hard(name, "wal", 1, 0);
    if (hard_state_too)
        tm_sim_disk_remove(f->env.sd, name);
    f->config.opened = hard_state_too;
    for (unsigned again = 0; again < 4; again++) {
        reopen(f);
        for (unsigned k = 0; k < MINE; k++) {
            struct tm_hard_state h;
            CU_ASSERT(tm_log_suspect(log_at(f, partition_at(k))));
            CU_ASSERT((tm_hs_get(tm_log_set_hs(f->set), partition_at(k), &h) == TM_ERR_CORRUPT) ==
                      hard_state_too);
        }
        if (again < 2) {
            crash(f, 0); /* before anything but the opening block is durable */
            continue;
        }
        settle(f);
        crash(f, -1);
    }
    teardown(f);
}

static void a_lost_wal_is_not_an_empty_one(void)
{
    lose_all(false);
    lose_all(true);
}

/* What an older generation's damage made suspect, this one says itself before that one goes; also
 * where its first start came no further than its first block. */
static void suspicion_outlives_the_generation_that_was_damaged(void)
{
    struct fixture *f = setup(tm_test_seed());
    reopen(f);
    CU_ASSERT_FATAL(append(f, 2) == TM_OK);
    settle(f);
    flip_block_of(f, 2, 1);
    reopen_as_second(f, -1);
    crash(f, 0);
    reopen(f);
    settle(f);
    uint32_t needed;
    CU_ASSERT(!tm_log_set_needs_older(f->set, &needed));
    crash(f, 0);
    f->config.wal.older_count = 0;
    CU_ASSERT_FATAL(tm_wal_remove_generation(f->env.ctx.disk, "wal", 1) == TM_OK);
    reopen(f);
    for (unsigned k = 0; k < MINE; k++)
        CU_ASSERT(tm_log_suspect(log_at(f, partition_at(k))));
    CU_ASSERT(tm_log_clear_suspect(log_at(f, 2)) == TM_OK);
    settle(f);
    crash(f, 0);
    reopen(f);
    CU_ASSERT(!tm_log_suspect(log_at(f, 2)) && tm_log_suspect(log_at(f, 0)));
    teardown(f);
}

static void hard_state_survives_rot_in_three_of_its_four_copies(void)
{
    uint64_t seed = tm_test_seed();
    for (unsigned good = 0; good < 4; good++) {
        struct fixture *f = filled(seed + good, 100);
        for (unsigned i = 0; i < 40; i++) {
            put(f, partition_at(i % MINE));
            settle(f);
            f->env.now_ns += TM_SECONDS(2);
            tm_log_set_tick(f->set); /* refreshes the file */
            settle(f);
        }
        char name[TM_WAL_NAME_MAX];
        uint64_t size = 0;
        tm_wal_name_hard(name, "wal", 1, 0);
        CU_ASSERT_FATAL(tm_sim_disk_data(f->env.sd, name, &size) != NULL && size % 4 == 0);
        for (unsigned copy = 0; copy < 4; copy++)
            if (copy != good)
                CU_ASSERT(tm_sim_disk_flip(f->env.sd, name, copy * size / 4 + 100, 3));
        crash(f, -1);
        reopen(f);
        for (unsigned i = 0; i < MINE; i++)
            check_hard(f, partition_at(i), false);
        teardown(f);
    }
}

static void a_vote_is_not_forgotten_with_the_segment_that_held_it(void)
{
    struct fixture *f = filled(tm_test_seed(), 10);
    put(f, 0);
    settle(f);
    struct model_log *m = &f->logs[0];
    CU_ASSERT(m->put_durable == m->put_count);
    uint64_t first = first_segment(f);
    for (unsigned i = 0; i < 600; i++) { /* segments come and go */
        uint32_t p = partition_at(i % MINE);
        CU_ASSERT_FATAL(append(f, p) == TM_OK);
        settle(f);
        commit_some(f, p);
        snapshot(f, p);
        f->env.now_ns += TM_MS(10);
        tm_log_set_flush(f->set);
    }
    settle(f);
    CU_ASSERT(first_segment(f) > first + 2);
    crash(f, -1);
    reopen(f);
    for (unsigned i = 0; i < MINE; i++) {
        check_log(f, partition_at(i));
        check_hard(f, partition_at(i), false);
    }
    crash(f, -1);
    char name[TM_WAL_NAME_MAX];
    uint64_t size = 0;
    tm_wal_name_hard(name, "wal", 1, 0);
    CU_ASSERT_FATAL(tm_sim_disk_data(f->env.sd, name, &size) != NULL);
    for (unsigned copy = 0; copy < 4; copy++)
        tm_sim_disk_flip(f->env.sd, name, copy * size / 4 + 30, 3);
    reopen(f);
    struct tm_hard_state h;
    CU_ASSERT(tm_hs_get(tm_log_set_hs(f->set), 0, &h) == TM_ERR_CORRUPT);
    crash(f, -1);
    reopen(f); /* and that is not forgotten either */
    CU_ASSERT(tm_hs_get(tm_log_set_hs(f->set), 0, &h) == TM_ERR_CORRUPT);
    teardown(f);
}

static void a_lost_snapshot_is_a_fault_not_an_empty_log(void)
{
    struct fixture *f = filled(tm_test_seed(), 100);
    struct model_log *m = &f->logs[2];
    m->commit = m->last;
    tm_log_set_commit(log_at(f, 2), m->commit);
    m->base = m->last;
    m->base_term = m->term[m->last];
    m->base_hash = m->hash[m->last];
    tm_log_compact(log_at(f, 2), m->last);
    for (unsigned i = 0; i < 30; i++) {
        f->env.now_ns += TM_SECONDS(1);
        put(f, 2);
        tm_log_set_tick(f->set);
        settle(f);
    }
    crash(f, -1);
    for (unsigned i = 1; i < 40; i++) {
        char name[TM_WAL_NAME_MAX];
        tm_wal_name_segment(name, "wal", 1, 0, i);
        tm_sim_disk_remove(f->env.sd, name);
    }
    uint64_t had = m->base;
    m->base = 0;
    reopen(f);
    CU_ASSERT(tm_log_last(log_at(f, 2)) == had && tm_log_fault_count(log_at(f, 2)) == 1);
    CU_ASSERT(tm_log_durable(log_at(f, 2)) == 0);
    CU_ASSERT(tm_log_reset(log_at(f, 2), had + 5, 9, 1234) == TM_OK);
    CU_ASSERT(tm_log_fault_count(log_at(f, 2)) == 0 && !tm_log_suspect(log_at(f, 2)));
    CU_ASSERT(tm_log_first(log_at(f, 2)) == had + 6 && tm_log_last(log_at(f, 2)) == had + 5);
    teardown(f);
}

static void a_log_that_was_given_up_stays_suspect_until_it_is_whole(void)
{
    struct fixture *f = filled(tm_test_seed(), 100);
    struct model_log *m = &f->logs[2];
    CU_ASSERT_FATAL(m->last > 3);
    m->base = 2; /* the only snapshot that is left */
    m->base_term = m->term[2];
    m->base_hash = m->hash[2];
    CU_ASSERT(tm_log_forget(log_at(f, 2), m->base, m->base_term, m->base_hash) == TM_OK);
    CU_ASSERT(tm_log_last(log_at(f, 2)) == 2 && tm_log_first(log_at(f, 2)) == 3);
    CU_ASSERT(tm_log_suspect(log_at(f, 2)));
    settle(f);
    crash(f, -1);
    reopen(f);
    CU_ASSERT(tm_log_last(log_at(f, 2)) == 2 && tm_log_fault_count(log_at(f, 2)) == 0);
    CU_ASSERT(tm_log_suspect(log_at(f, 2)));
    CU_ASSERT(tm_log_clear_suspect(log_at(f, 2)) == TM_OK);
    settle(f);
    crash(f, -1);
    reopen(f);
    CU_ASSERT(tm_log_last(log_at(f, 2)) == 2 && !tm_log_suspect(log_at(f, 2)));
    teardown(f);
}

/* A snapshot was installed and is lost, and the record that says so is still replayed. */
static void a_reset_to_less_than_one_before_counts(void)
{
    struct fixture *f = filled(tm_test_seed(), 100);
    struct model_log *m = &f->logs[2];
    f->config.committed = NULL; /* what was there before is not in the model */
    CU_ASSERT(tm_log_reset(log_at(f, 2), 1000, 8, 4321) == TM_OK);
    for (unsigned forget = 0; forget < 2; forget++) {
        *m = (struct model_log){.base = 20, .last = 20, .durable = 20, .commit = 1000};
        m->base_term = 8;
        m->base_hash = 77;
        struct tm_log *log = log_at(f, 2);
        CU_ASSERT((forget ? tm_log_forget : tm_log_reset)(log, 20, 8, 77) == TM_OK);
        for (unsigned i = 0; i < 10; i++)
            CU_ASSERT_FATAL(append(f, 2) == TM_OK);
        settle(f);
        crash(f, -1);
        reopen(f);
        CU_ASSERT_EQUAL(tm_log_first(log_at(f, 2)), 21);
        CU_ASSERT(tm_log_suspect(log_at(f, 2)) == (forget == 1));
        CU_ASSERT(tm_log_clear_suspect(log_at(f, 2)) == TM_OK);
        check_log(f, 2);
    }
    teardown(f);
}

static void a_log_goes_on_after_an_installed_snapshot(void)
{
    struct fixture *f = filled(tm_test_seed(), 100);
    struct model_log *m = &f->logs[4];
    CU_ASSERT(tm_log_reset(log_at(f, 4), 1000, 8, 4321) == TM_OK);
    m->base = m->last = m->commit = m->durable = 1000;
    m->base_term = 8;
    m->base_hash = 4321;
    for (unsigned i = 0; i < 20; i++)
        CU_ASSERT_FATAL(append(f, 4) == TM_OK);
    CU_ASSERT(tm_log_durable(log_at(f, 4)) == 1000);
    settle(f);
    CU_ASSERT(tm_log_durable(log_at(f, 4)) == 1020 && m->durable == 1020);
    check_bytes(f, 4);
    crash(f, -1);
    reopen(f);
    check_log(f, 4);
    check_log(f, 2);
    check_bytes(f, 4);
    teardown(f);
}

/* --- worker counts --- */

static void a_log_moves_on_when_the_worker_count_changes(void)
{
    uint64_t seed = tm_test_seed();
    for (unsigned round = 0; round < 10; round++) {
        struct fixture *f = filled(seed + round, 150);
        struct tm_wal_generation older[4] = {{1, 2}};
        crash(f, -1);
        /* Worker 1 of the first generation was there too. */
        f->config.wal.worker = 1;
        reopen(f);
        settle(f);
        crash(f, 100);
        f->config.wal.worker = 0;
        for (uint32_t generation = 2; generation < 5; generation++) {
            f->config.wal.generation = generation;
            f->config.wal.older = older;
            f->config.wal.older_count = generation - 1;
            for (unsigned start = 0; start < 3; start++) {
                reopen(f);
                for (unsigned i = 0; i < MINE; i++) {
                    check_log(f, partition_at(i));
                    check_hard(f, partition_at(i), false);
                    check_bytes(f, partition_at(i));
                }
                for (uint64_t turns = env_below(&f->env, 20); turns > 0; turns--)
                    random_turn(f);
                crash(f, -1);
            }
            older[generation - 1] = (struct tm_wal_generation){generation, 1};
        }
        /* The beginning of its history goes: that shows. */
        reopen(f);
        bool needs[MINE];
        for (unsigned i = 0; i < MINE; i++) {
            struct tm_log *log = log_at(f, partition_at(i));
            uint64_t next = f->logs[partition_at(i)].base + 1; /* behind the snapshot */
            needs[i] = tm_log_last(log) >= next &&
                       tm_wal_place_volume(tm_log_index_at(&log->index, next)->place) == 1;
        }
        crash(f, -1);
        char name[TM_WAL_NAME_MAX];
        for (unsigned i = 1; i < 20; i++) {
            tm_wal_name_segment(name, "wal", 1, 0, i);
            tm_sim_disk_remove(f->env.sd, name);
        }
        reopen(f);
        for (unsigned i = 0; i < MINE; i++) {
            check_nothing_is_lost_silently(f, partition_at(i));
            CU_ASSERT(tm_log_fault_count(log_at(f, partition_at(i))) > 0 || !needs[i]);
        }
        teardown(f);
    }
}

/* Makes snapshots of what the partition has. */
static void compact_all(struct fixture *f, uint32_t p)
{
    struct model_log *m = &f->logs[p];
    if (m->last == m->base)
        return;
    m->commit = m->last;
    tm_log_set_commit(log_at(f, p), m->last);
    m->base_term = m->term[m->last];
    m->base_hash = m->hash[m->last];
    m->base = m->last;
    tm_log_compact(log_at(f, p), m->last);
}

static void a_fault_keeps_the_segment_that_shows_it(void)
{
    struct fixture *f = filled(tm_test_seed(), 150);
    pass_idle(f);
    flip_block_of(f, 2, f->logs[2].last / 2);
    crash(f, -1);
    reopen(f);
    CU_ASSERT(tm_log_fault_count(log_at(f, 2)) > 0);
    uint64_t first = first_segment(f);
    for (unsigned i = 0; i < 300; i++) {
        uint32_t p = i % 2 * 4; /* 0 and 4 */
        if (append(f, p) != TM_OK)
            settle(f);
        settle(f);
        if (tm_log_fault_count(log_at(f, p)) == 0)
            compact_all(f, p);
        f->env.now_ns += TM_MS(10);
    }
    CU_ASSERT(first_segment(f) == first);
    CU_ASSERT(tm_wal_current_segment(tm_log_set_wal(f->set)) > first + 1);
    teardown(f);
}

/* The MOVED record is what a lost older generation is noticed by. */
static void a_log_in_an_older_generation_keeps_its_moved_record(void)
{
    struct fixture *f = filled(tm_test_seed(), 60);
    for (unsigned i = 0; i < MINE; i++)
        while (f->logs[partition_at(i)].last == 0) {
            append(f, partition_at(i));
            settle(f);
        }
    reopen_as_second(f, 100);
    for (unsigned i = 0; i < 400; i++) {
        uint32_t p = i % 2 * 2; /* 0 and 2 */
        while (append(f, p) != TM_OK)
            settle(f);
        settle(f);
        compact_all(f, p);
        f->env.now_ns += TM_MS(10);
    }
    CU_ASSERT(first_segment(f) == 1);
    CU_ASSERT(tm_wal_current_segment(tm_log_set_wal(f->set)) > 3);
    crash(f, 100);
    char name[TM_WAL_NAME_MAX];
    for (unsigned i = 1; i < 20; i++) {
        tm_wal_name_segment(name, "wal", 1, 0, i);
        tm_sim_disk_remove(f->env.sd, name);
    }
    reopen(f);
    CU_ASSERT(tm_log_fault_count(log_at(f, 4)) > 0 || tm_log_suspect(log_at(f, 4)));
    CU_ASSERT(tm_log_fault_count(log_at(f, 0)) == 0);
    teardown(f);
}

/* The hard state file covers the segments already when a log is compacted: they stay until it also
 * says how far that went, or a lost snapshot would leave a log that looks empty. */
static void segments_stay_until_the_floor_is_saved(void)
{
    uint64_t seed = tm_test_seed();
    unsigned released = 0, faults = 0;
    for (unsigned round = 0; round < 60; round++) {
        struct fixture *f = filled(seed + round, 60);
        struct model_log *m = &f->logs[2];
        uint64_t first = first_segment(f);
        for (unsigned k = 0; k < MINE; k++) {
            struct model_log *other = &f->logs[partition_at(k)];
            other->commit = other->last;
            tm_log_set_commit(log_at(f, partition_at(k)), other->last);
        }
        for (unsigned i = 0; i < 100 && tm_wal_current_segment(tm_log_set_wal(f->set)) < 4; i++) {
            CU_ASSERT_FATAL(append(f, 2) == TM_OK);
            settle(f);
        }
        put(f, 2); /* and with it all that is durable is covered */
        settle(f);
        m->commit = m->last;
        tm_log_set_commit(log_at(f, 2), m->last);
        for (unsigned k = 0; k < MINE; k++) {
            struct model_log *one = &f->logs[partition_at(k)];
            if (one->last > one->base)
                tm_log_compact(log_at(f, partition_at(k)), one->last);
        }
        for (unsigned steps = round; steps > 0; steps--) {
            tm_log_set_flush(f->set);
            tm_sim_disk_step(f->env.sd);
        }
        released += first_segment(f) > first;
        crash(f, -1);
        reopen(f); /* on the snapshots before */
        faults += tm_log_fault_count(log_at(f, 2)) > 0;
        CU_ASSERT_EQUAL(tm_log_last(log_at(f, 2)), m->last);
        teardown(f);
    }
    CU_ASSERT(released > 0 && faults > 0 && faults < 60);
}

/* Damage behind all that is provably durable, of which nobody knows what it held: every log is
 * suspect. */
static struct fixture *all_suspect(void)
{
    struct fixture *f = filled(tm_test_seed(), 100);
    CU_ASSERT_FATAL(append(f, 2) == TM_OK);
    settle(f);
    flip_block_of(f, 2, f->logs[2].last);
    crash(f, -1);
    reopen(f);
    for (unsigned k = 0; k < MINE; k++)
        CU_ASSERT(tm_log_suspect(log_at(f, partition_at(k))));
    return f;
}

static void give_up_all(struct tm_log *log)
{
    tm_log_set_commit(log, tm_log_last(log));
    tm_log_compact(log, tm_log_last(log));
}

/* Also those that no replica is here to clear. */
static void a_disowned_log_keeps_no_segment(void)
{
    struct fixture *f = all_suspect();
    uint64_t first = first_segment(f);
    for (unsigned k = 0; k < MINE; k++) {
        uint32_t p = partition_at(k);
        struct tm_log *log = log_at(f, p);
        if (p == 0) /* whatever there was of it */
            continue;
        CU_ASSERT(tm_log_clear_suspect(log) == TM_OK);
        give_up_all(log);
    }
    for (unsigned i = 0; i < 40; i++)
        settle(f);
    CU_ASSERT(first_segment(f) == first);
    tm_log_disown(log_at(f, 0));
    for (unsigned i = 0; i < 40; i++)
        settle(f);
    CU_ASSERT(first_segment(f) > first);
    teardown(f);
}

static uint64_t current_segment(const struct fixture *f)
{
    return tm_wal_current_segment(tm_log_set_wal(f->set));
}

/* So many promises, each in a block of its own. */
static void promise_on(struct fixture *f, uint32_t p, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        put(f, p);
        settle(f);
        f->env.now_ns += TM_MS(1);
    }
}

/* Elections without end on a log of four segments, where nobody writes anything else. */
static void promises_alone_fill_no_log(void)
{
    struct fixture *f = setup(tm_test_seed());
    f->config.wal.max_bytes = 4 * f->config.wal.segment_bytes;
    reopen(f);
    promise_on(f, 2, 600);
    CU_ASSERT(f->space);
    CU_ASSERT(current_segment(f) > 10);
    CU_ASSERT(first_segment(f) + 2 > current_segment(f));
    CU_ASSERT_EQUAL(f->logs[2].put_durable, f->logs[2].put_count);
    teardown(f);
}

/* A log whose records that nobody committed lie in the first segment, and three segments of
 * promises behind them: the log is full. */
static struct fixture *full_behind_a_tail(uint64_t seed)
{
    struct fixture *f = setup(seed);
    f->config.wal.max_bytes = 4 * f->config.wal.segment_bytes;
    f->config.wal.reserve_bytes = TM_KIB(32);
    reopen(f);
    for (unsigned i = 0; i < 3; i++)
        CU_ASSERT_FATAL(append(f, 2) == TM_OK);
    settle(f);
    for (unsigned i = 0; i < 100 && f->space; i++)
        promise_on(f, 4, 1);
    CU_ASSERT_FALSE_FATAL(f->space);
    CU_ASSERT_EQUAL(first_segment(f), 1);
    return f;
}

static void cut_all(struct fixture *f, uint32_t p)
{
    CU_ASSERT(tm_log_cut(log_at(f, p), 1) == TM_OK);
    f->logs[p].last = f->logs[p].durable = 0;
}

static void what_was_cut_keeps_no_segment(void)
{
    struct fixture *f = full_behind_a_tail(tm_test_seed());
    cut_all(f, 2);
    settle(f);
    CU_ASSERT(f->space);
    CU_ASSERT(first_segment(f) > 1);
    teardown(f);
}

/* Two blocks under way, one that waits behind them, one that gathers. */
static void fill_blocks(struct fixture *f, uint32_t p)
{
    struct tm_wal *wal = tm_log_set_wal(f->set);
    uint64_t durable = tm_wal_durable(wal);
    while (tm_wal_begun(wal) < durable + 4) {
        struct tm_record harmless = {.kind = TM_RECORD_CLEAR, .index = tm_log_last(log_at(f, p))};
        struct tm_wal_pos pos;
        CU_ASSERT_FATAL(tm_log_write_local(log_at(f, p), &harmless, 0, 1, &pos) == TM_OK);
        if (tm_wal_begun(wal) < durable + 3)
            tm_wal_flush(wal);
    }
}

/* Blocks are under way when a log is cut, and the power goes at any moment after: what was cut is
 * given up only when the cut is durable. */
static void what_was_cut_stays_until_the_cut_is_durable(void)
{
    uint64_t seed = tm_test_seed();
    unsigned released = 0, kept = 0;
    for (unsigned round = 0; round < 40; round++) {
        struct fixture *f = full_behind_a_tail(seed + round);
        uint64_t was = f->logs[2].last, hash = f->logs[2].hash[was], now = 0;
        fill_blocks(f, 4);
        cut_all(f, 2);
        uint64_t begun = tm_wal_begun(tm_log_set_wal(f->set));
        for (unsigned steps = round % 20; steps > 0; steps--) {
            tm_log_set_flush(f->set);
            tm_sim_disk_step(f->env.sd);
        }
        bool durable = tm_wal_durable(tm_log_set_wal(f->set)) >= begun;
        released += first_segment(f) > 1;
        CU_ASSERT(durable || first_segment(f) == 1);
        crash(f, 0);
        reopen(f);
        kept += !durable;
        CU_ASSERT_EQUAL(tm_log_last(log_at(f, 2)), durable ? 0 : was);
        CU_ASSERT(durable || (tm_log_hash_at(log_at(f, 2), was, &now) && now == hash));
        teardown(f);
    }
    CU_ASSERT(released > 0 && kept > 0);
}

/* The only record in the oldest segments rots, and is sent again. */
static void what_was_repaired_keeps_no_segment(void)
{
    _Alignas(8) uint8_t buf[4096];
    struct fixture *f = setup(tm_test_seed());
    reopen(f);
    CU_ASSERT_FATAL(append(f, 2) == TM_OK);
    settle(f);
    promise_on(f, 4, 40);
    CU_ASSERT_FATAL(append(f, 2) == TM_OK);
    settle(f);
    pass_idle(f);
    CU_ASSERT_EQUAL(first_segment(f), 1);
    flip_block_of(f, 2, 1);
    crash(f, -1);
    reopen(f);
    for (unsigned i = 0; i < 4; i++)
        settle(f);
    CU_ASSERT_EQUAL(tm_log_fault_count(log_at(f, 2)), 1);
    CU_ASSERT_EQUAL(first_segment(f), 1);
    struct tm_record *r = build(f, buf, 2, 1);
    CU_ASSERT(tm_log_repair(log_at(f, 2), tm_bytes_of(r, r->length)) == TM_OK);
    for (unsigned i = 0; i < 4; i++)
        settle(f);
    CU_ASSERT(first_segment(f) > 1);
    CU_ASSERT_EQUAL(fetch_all(f, 2, 1, 2), TM_OK);
    teardown(f);
}

/* Damage of which nobody knows what it held holds nothing any more when it is declared harmless. */
static void what_is_whole_again_keeps_no_segment(void)
{
    struct fixture *f = all_suspect();
    uint64_t first = first_segment(f);
    for (unsigned k = 0; k < MINE; k++)
        give_up_all(log_at(f, partition_at(k)));
    for (unsigned i = 0; i < 40; i++)
        settle(f);
    CU_ASSERT_EQUAL(first_segment(f), first);
    for (unsigned k = 0; k < MINE; k++)
        CU_ASSERT(tm_log_clear_suspect(log_at(f, partition_at(k))) == TM_OK);
    for (unsigned i = 0; i < 4; i++)
        settle(f);
    CU_ASSERT(first_segment(f) > first);
    teardown(f);
}

static int64_t (*run_of_disk)(struct tm_disk *disk, struct tm_disk_op *op);

static int64_t run_but_for_hard_state(struct tm_disk *disk, struct tm_disk_op *op)
{
    bool made = op->kind == TM_DISK_OPEN && (op->flags & TM_DISK_CREATE) != 0;
    if (made && strstr(op->name, ".hard") != NULL)
        return -EIO;
    return run_of_disk(disk, op);
}

static void a_start_that_fails_has_nothing_under_way(void)
{
    struct fixture *f = filled(tm_test_seed(), 20);
    struct tm_disk *disk = f->env.ctx.disk, failing = *disk;
    crash(f, 100);
    run_of_disk = disk->run;
    failing.run = run_but_for_hard_state;
    f->env.ctx.disk = &failing;
    f->config.wal.incarnation++;
    CU_ASSERT_EQUAL(tm_log_set_open(&f->config, &f->set), TM_ERR_IO);
    CU_ASSERT_EQUAL(tm_sim_disk_under_way(f->env.sd), 0);
    f->set = NULL;
    f->env.ctx.disk = disk;
    tm_sim_disk_kill(f->env.sd);
    reopen(f);
    teardown(f);
}

static const struct tm_test tests[] = {
    TM_TEST(logs_and_votes_survive_crashes),
    TM_TEST(rot_is_known_kept_and_repaired),
    TM_TEST(a_cut_that_was_lost_to_rot_is_noticed),
    TM_TEST(rot_met_while_reading_is_a_fault_of_the_log),
    TM_TEST(a_damaged_tail_makes_suspects_until_they_are_cleared),
    TM_TEST(a_lost_wal_is_not_an_empty_one),
    TM_TEST(suspicion_outlives_the_generation_that_was_damaged),
    TM_TEST(hard_state_survives_rot_in_three_of_its_four_copies),
    TM_TEST(a_vote_is_not_forgotten_with_the_segment_that_held_it),
    TM_TEST(a_lost_snapshot_is_a_fault_not_an_empty_log),
    TM_TEST(a_log_that_was_given_up_stays_suspect_until_it_is_whole),
    TM_TEST(a_reset_to_less_than_one_before_counts),
    TM_TEST(a_log_goes_on_after_an_installed_snapshot),
    TM_TEST(a_log_moves_on_when_the_worker_count_changes),
    TM_TEST(a_fault_keeps_the_segment_that_shows_it),
    TM_TEST(a_log_in_an_older_generation_keeps_its_moved_record),
    TM_TEST(segments_stay_until_the_floor_is_saved),
    TM_TEST(a_disowned_log_keeps_no_segment),
    TM_TEST(promises_alone_fill_no_log),
    TM_TEST(what_was_cut_keeps_no_segment),
    TM_TEST(what_was_cut_stays_until_the_cut_is_durable),
    TM_TEST(what_was_repaired_keeps_no_segment),
    TM_TEST(what_is_whole_again_keeps_no_segment),
    TM_TEST(a_start_that_fails_has_nothing_under_way),
};

TM_TEST_MAIN("storage/log_set", tests)
