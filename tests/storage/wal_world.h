/* wal_world.h: the WAL over the simulated disk.  A model keeps every record that was appended, in
 * order; what a start replays must be a prefix of it (behind what was released) that has at least
 * everything that was reported durable. */
#ifndef TM_TESTS_STORAGE_WAL_WORLD_H
#define TM_TESTS_STORAGE_WAL_WORLD_H

#include "storage/wal.h"
#include "tests/storage/store_env.h"

#define PARTITIONS 4
#define MODEL_MAX  60000

struct model_record {
    uint64_t checksum;
    uint64_t sequence;
    uint64_t segment;
    tm_wal_place place;
    uint32_t partition;
    uint32_t length;
};

struct fixture {
    struct store_env env;
    struct tm_wal_config config;
    struct tm_wal *wal;
    struct model_record model[MODEL_MAX];
    unsigned count;
    unsigned acked;    /* model[0..acked) was durable */
    unsigned released; /* model[0..released) may be gone */
    uint64_t durable_told;
    /* Replay. */
    bool replaying;
    unsigned found;
    unsigned first_found;
    unsigned rot, damaged;
    struct tm_wal_fault faults[64];
    unsigned fault_count;
    bool skipping; /* tests of rot: gaps are allowed */
    unsigned skipped;
    /* Callbacks. */
    unsigned failed;
    bool space;
    unsigned space_calls;
    uint64_t index[PARTITIONS], hash[PARTITIONS];
};

static inline void on_durable(void *host, uint64_t sequence, const struct tm_wal_span *spans,
                              unsigned count)
{
    struct fixture *f = host;
    CU_ASSERT_FATAL(sequence > f->durable_told);
    f->durable_told = sequence;
    while (f->acked < f->count && f->model[f->acked].sequence <= sequence)
        f->acked++;
    for (unsigned i = 0; i < count; i++)
        CU_ASSERT_FATAL(spans[i].partition < PARTITIONS);
}

static inline void on_failed(void *host, enum tm_err err)
{
    CU_ASSERT(err == TM_ERR_IO);
    ((struct fixture *)host)->failed++;
}

static inline void on_space(void *host, bool available)
{
    ((struct fixture *)host)->space = available;
    ((struct fixture *)host)->space_calls++;
}

static inline void on_record(void *host, const struct tm_wal_found *found)
{
    struct fixture *f = host;
    const struct tm_record *r = (const void *)found->record.data;
    if (r->kind >= TM_RECORD_LOCAL_FIRST)
        return;
    CU_ASSERT_FATAL(tm_record_check(r, found->record.len) == TM_OK);
    if (f->first_found == UINT32_MAX) {
        f->found = 0;
        while (f->found < f->count && f->model[f->found].checksum != r->checksum)
            f->found++;
        f->first_found = f->found;
    }
    while (f->skipping && f->found < f->count && f->model[f->found].checksum != r->checksum) {
        f->found++;
        f->skipped++;
    }
    CU_ASSERT_FATAL(f->found < f->count);
    CU_ASSERT_FATAL(f->model[f->found].checksum == r->checksum);
    CU_ASSERT_FATAL(f->model[f->found].sequence == found->sequence);
    f->model[f->found].place = found->place;
    f->found++;
}

static inline void on_fault(void *host, const struct tm_wal_fault *fault)
{
    struct fixture *f = host;
    f->rot += fault->kind == TM_WAL_ROT;
    f->damaged += fault->kind == TM_WAL_DAMAGED;
    if (f->fault_count < TM_ARRAY_LEN(f->faults))
        f->faults[f->fault_count++] = *fault;
}

static inline struct fixture *setup(uint64_t seed)
{
    struct fixture *f = calloc(1, sizeof *f);
    CU_ASSERT_FATAL(f != NULL);
    env_init(&f->env, seed);
    f->space = true;
    f->config =
        (struct tm_wal_config){.ctx = &f->env.ctx,
                               .folder = "wal",
                               .generation = 1,
                               .partitions = PARTITIONS,
                               .cluster = {1, 2, 3},
                               .disk_id = 77,
                               .incarnation = 1,
                               .segment_bytes = TM_KIB(128),
                               .read_bytes = TM_KIB(12),
                               .max_record_bytes = 16 * 1024,
                               .callbacks = {f, on_durable, on_failed, on_space},
                               .replay = {.host = f, .record = on_record, .fault = on_fault}};
    return f;
}

static inline enum tm_err open_wal(struct fixture *f)
{
    f->found = f->rot = f->damaged = f->fault_count = f->skipped = 0;
    f->first_found = UINT32_MAX;
    f->durable_told = 0;
    f->config.incarnation++;
    enum tm_err err = tm_wal_open(&f->config, &f->wal);
    if (err == TM_OK)
        tm_wal_begin(f->wal);
    return err;
}

/* After a start: what was not found was never acknowledged, and is forgotten by the model. */
static inline void settle(struct fixture *f)
{
    if (f->first_found == UINT32_MAX)
        f->first_found = f->found = f->released;
    CU_ASSERT_FATAL(f->first_found <= f->released);
    CU_ASSERT_FATAL(f->found >= f->acked);
    f->count = f->acked = f->found;
    f->released = f->first_found;
    memset(f->index, 0, sizeof f->index);
    memset(f->hash, 0, sizeof f->hash);
}

static inline void drop(struct fixture *f)
{
    tm_wal_abandon(f->wal);
    f->wal = NULL;
}

static inline void crash(struct fixture *f, int keep)
{
    tm_sim_disk_crash(f->env.sd, keep);
    drop(f);
}

static inline void close_clean(struct fixture *f)
{
    tm_wal_flush(f->wal);
    tm_sim_disk_drain(f->env.sd);
    while (!tm_wal_idle(f->wal)) {
        tm_wal_flush(f->wal);
        tm_sim_disk_drain(f->env.sd);
    }
    tm_wal_close(f->wal, true);
    f->wal = NULL;
}

static inline void teardown(struct fixture *f)
{
    if (f->wal != NULL) {
        tm_sim_disk_kill(f->env.sd);
        drop(f);
    }
    env_done(&f->env);
    free(f);
}

static inline enum tm_err append_one(struct fixture *f, uint32_t partition, uint32_t body,
                                     enum tm_wal_class klass)
{
    _Alignas(8) static uint8_t buf[1 << 20];
    uint64_t index = f->count + 1;
    struct tm_record *r = env_record(buf, partition, 1, index, 0, body, env_random(&f->env));
    struct tm_wal_span span = {.partition = partition,
                               .first = index,
                               .last = index,
                               .tail_hash = r->checksum,
                               .commit = index - 1};
    struct tm_wal_pos pos;
    enum tm_err err = tm_wal_append(f->wal, tm_bytes_of(r, r->length), klass, &span, 1, &pos);
    if (err != TM_OK)
        return err;
    CU_ASSERT_FATAL(f->count < MODEL_MAX);
    f->model[f->count++] = (struct model_record){.checksum = r->checksum,
                                                 .sequence = pos.sequence,
                                                 .segment = tm_wal_segment_of(f->wal, pos.place),
                                                 .place = pos.place,
                                                 .partition = partition,
                                                 .length = r->length};
    return TM_OK;
}

static inline void pass_time(struct fixture *f, uint64_t ns)
{
    f->env.now_ns += ns;
    if (tm_wal_next_deadline(f->wal) <= f->env.now_ns)
        tm_wal_tick(f->wal);
}

/* Appends n records in turns of a few, everything durable at the end. */
static inline void fill(struct fixture *f, unsigned n, uint32_t body)
{
    while (n > 0) {
        enum tm_err err =
            append_one(f, (uint32_t)env_below(&f->env, PARTITIONS), body, TM_WAL_EFFECT);
        CU_ASSERT_FATAL(err == TM_OK || err == TM_ERR_FULL);
        n -= err == TM_OK;
        if (err == TM_ERR_FULL || env_chance(&f->env, 30)) {
            tm_wal_flush(f->wal);
            tm_sim_disk_drain(f->env.sd);
        }
    }
    tm_wal_flush(f->wal);
    tm_sim_disk_drain(f->env.sd);
    tm_wal_flush(f->wal);
    tm_sim_disk_drain(f->env.sd);
    CU_ASSERT_FATAL(f->acked == f->count);
}

static inline void settle_idle(struct fixture *f)
{
    tm_sim_disk_drain(f->env.sd);
    tm_wal_flush(f->wal);
    tm_sim_disk_drain(f->env.sd);
}

/* A start as config says, up to where nothing is under way. */
static inline void start(struct fixture *f)
{
    CU_ASSERT_FATAL(open_wal(f) == TM_OK);
    tm_sim_disk_drain(f->env.sd);
}

static inline struct fixture *opened(uint64_t seed)
{
    struct fixture *f = setup(seed);
    start(f);
    return f;
}

/* A log that may have so many segments. */
static inline struct fixture *opened_of(unsigned segments)
{
    struct fixture *f = setup(tm_test_seed());
    f->config.max_bytes = segments * f->config.segment_bytes;
    start(f);
    return f;
}

/* A crash, so many times in a hundred, or a clean close; then a start that finds nothing wrong. */
static inline void start_again(struct fixture *f, unsigned crashes)
{
    if (env_chance(&f->env, crashes))
        crash(f, -1);
    else
        close_clean(f);
    CU_ASSERT_FATAL(open_wal(f) == TM_OK);
    CU_ASSERT(f->rot == 0 && f->damaged == 0);
    settle(f);
    tm_sim_disk_drain(f->env.sd);
}

struct reader {
    struct tm_wal_read read;
    uint64_t checksum;
    enum tm_err err;
    bool done;
};

static inline bool read_record(struct tm_wal_read *read, struct tm_bytes record, tm_wal_place place)
{
    struct reader *r = read->owner;
    CU_ASSERT(place == read->place);
    r->checksum = ((const struct tm_record *)(const void *)record.data)->checksum;
    return false;
}

static inline void read_end(struct tm_wal_read *read, enum tm_err err)
{
    struct reader *r = read->owner;
    r->err = err;
    r->done = true;
}

static inline struct reader read_place(struct fixture *f, tm_wal_place place)
{
    struct reader r = {.read = {.place = place, .record = read_record, .done = read_end}};
    r.read.owner = &r;
    r.err = tm_wal_read(f->wal, &r.read);
    if (r.err == TM_OK) {
        CU_ASSERT(!r.done);
        tm_sim_disk_drain(f->env.sd);
        CU_ASSERT(r.done);
    }
    return r;
}

/* Appends until an effect is refused; the answer. */
static inline enum tm_err fill_up(struct fixture *f)
{
    for (unsigned i = 0; i < 5000; i++) {
        enum tm_err err = append_one(f, i % PARTITIONS, 900, TM_WAL_EFFECT);
        if (err != TM_OK && err != TM_ERR_FULL)
            return err;
        tm_wal_flush(f->wal);
        tm_sim_disk_drain(f->env.sd);
    }
    return TM_OK;
}

#endif
