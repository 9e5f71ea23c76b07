/* Logs over the simulated disk, and a model of them: it keeps, per partition, every record and what
 * was reported durable; what a start replays as committed is compared at once. */
#ifndef TM_TESTS_STORAGE_LOG_SET_FIXTURE_H
#define TM_TESTS_STORAGE_LOG_SET_FIXTURE_H

#include "storage/log_internal.h"
#include "tests/storage/log_set_env.h"

#define PARTITIONS 6
#define WORKERS    2
#define MINE       3 /* partitions 0, 2, 4 belong to worker 0 */
#define INDEX_MAX  4000
#define BODY_MAX   600

struct model_log {
    uint64_t base, base_term, base_hash; /* the newest snapshot */
    uint64_t last, commit, durable;
    uint64_t hash[INDEX_MAX], term[INDEX_MAX];
    uint64_t hash_then[INDEX_MAX]; /* of what was there when it was reported durable */
    uint32_t body[INDEX_MAX];
    uint64_t salt[INDEX_MAX];
    struct tm_hard_state puts[INDEX_MAX];
    unsigned put_count, put_durable; /* puts[put_durable - 1] was reported durable */
    uint64_t given;                  /* by replay, as committed */
};

struct fixture {
    struct store_env env;
    struct tm_log_set_config config;
    struct tm_log_set *set;
    struct model_log logs[PARTITIONS];
    unsigned failed, faults;
    bool space;
};

static inline uint32_t partition_at(unsigned i)
{
    return i * WORKERS;
}

static inline void on_durable(void *host, uint32_t partition, uint64_t index)
{
    struct fixture *f = host;
    struct model_log *m = &f->logs[partition];
    CU_ASSERT_FATAL(index <= m->last);
    CU_ASSERT_FATAL(index == tm_log_durable(tm_log_set_log(f->set, partition)));
    m->durable = index;
    for (uint64_t i = m->base + 1; i <= index; i++)
        m->hash_then[i] = m->hash[i];
}

static inline void on_hard(void *host, uint32_t partition)
{
    struct fixture *f = host;
    struct model_log *m = &f->logs[partition];
    if (tm_hs_durable(tm_log_set_hs(f->set), partition, tm_log_set_wal(f->set)))
        m->put_durable = m->put_count;
}

static inline void on_fault(void *host, uint32_t partition)
{
    (void)partition;
    ((struct fixture *)host)->faults++;
}

static inline void on_failed(void *host, enum tm_err err)
{
    (void)err;
    ((struct fixture *)host)->failed++;
}

static inline void on_space(void *host, bool available)
{
    ((struct fixture *)host)->space = available;
}

static inline bool on_base(void *host, uint32_t partition, struct tm_log_base *out)
{
    const struct model_log *m = &((struct fixture *)host)->logs[partition];
    *out = (struct tm_log_base){m->base, m->base_term, m->base_hash};
    return m->base > 0;
}

static inline void on_committed(void *host, uint32_t partition, struct tm_bytes bytes)
{
    struct model_log *m = &((struct fixture *)host)->logs[partition];
    const struct tm_record *r = (const void *)bytes.data;
    CU_ASSERT_FATAL(r->index == tm_max_u64(m->given, m->base) + 1 && r->index <= m->commit);
    CU_ASSERT_FATAL(r->checksum == m->hash[r->index]);
    m->given = r->index;
}

static inline struct fixture *setup(uint64_t seed)
{
    struct fixture *f = calloc(1, sizeof *f);
    CU_ASSERT_FATAL(f != NULL);
    env_init(&f->env, seed);
    f->space = true;
    f->config = (struct tm_log_set_config){
        .wal = log_set_wal_config(&f->env, PARTITIONS),
        .workers = WORKERS,
        .cache_bytes = 16 * 1024,
        .callbacks = {f, on_durable, on_hard, on_fault, on_failed, on_space},
        .base = on_base,
        .committed = on_committed};
    f->config.wal.read_bytes = TM_KIB(8); /* so that blocks lie across its end */
    return f;
}

static inline void reopen(struct fixture *f)
{
    f->config.wal.incarnation++;
    for (uint32_t p = 0; p < PARTITIONS; p++)
        f->logs[p].given = 0;
    enum tm_err err = tm_log_set_open(&f->config, &f->set);
    CU_ASSERT_FATAL(err == TM_OK);
}

static inline struct tm_log *log_at(struct fixture *f, uint32_t partition)
{
    return tm_log_set_log(f->set, partition);
}

static inline void settle(struct fixture *f)
{
    log_set_settle(f->set, &f->env);
}

static inline void crash(struct fixture *f, int keep)
{
    tm_sim_disk_crash(f->env.sd, keep);
    tm_log_set_abandon(f->set);
    f->set = NULL;
}

static inline void teardown(struct fixture *f)
{
    if (f->set != NULL) {
        tm_sim_disk_kill(f->env.sd);
        tm_log_set_abandon(f->set);
    }
    env_done(&f->env);
    free(f);
}

static inline struct tm_record *build(struct fixture *f, uint8_t *buf, uint32_t p, uint64_t i)
{
    const struct model_log *m = &f->logs[p];
    uint64_t prev = i == 1 ? 0 : i - 1 == m->base ? m->base_hash : m->hash[i - 1];
    return env_record(buf, p, m->term[i], i, prev, m->body[i], m->salt[i]);
}

static inline enum tm_err append(struct fixture *f, uint32_t p)
{
    _Alignas(8) uint8_t buf[4096];
    struct model_log *m = &f->logs[p];
    uint64_t i = m->last + 1;
    CU_ASSERT_FATAL(i < INDEX_MAX);
    m->term[i] = tm_log_last_term(log_at(f, p)) + env_chance(&f->env, 5);
    if (m->term[i] == 0)
        m->term[i] = 1;
    m->body[i] = (uint32_t)env_below(&f->env, BODY_MAX);
    m->salt[i] = env_random(&f->env);
    struct tm_record *r = build(f, buf, p, i);
    enum tm_err err = tm_log_append(log_at(f, p), tm_bytes_of(r, r->length), TM_WAL_EFFECT);
    if (err == TM_OK) {
        m->hash[i] = r->checksum;
        m->last = i;
    }
    return err;
}

static inline void cut(struct fixture *f, uint32_t p)
{
    struct model_log *m = &f->logs[p];
    uint64_t low = tm_max_u64(m->commit, m->base);
    if (m->last <= low)
        return;
    uint64_t from = low + 1 + env_below(&f->env, m->last - low);
    if (tm_log_cut(log_at(f, p), from) != TM_OK)
        return;
    m->last = from - 1;
    m->durable = tm_min_u64(m->durable, m->last);
}

static inline void commit_some(struct fixture *f, uint32_t p)
{
    struct model_log *m = &f->logs[p];
    if (m->durable <= m->commit)
        return;
    m->commit += 1 + env_below(&f->env, m->durable - m->commit);
    tm_log_set_commit(log_at(f, p), m->commit);
}

static inline void snapshot(struct fixture *f, uint32_t p)
{
    struct model_log *m = &f->logs[p];
    if (m->commit <= m->base)
        return;
    uint64_t to = m->base + 1 + env_below(&f->env, m->commit - m->base);
    m->base_term = m->term[to];
    m->base_hash = m->hash[to];
    m->base = to;
    if (env_chance(&f->env, 50)) /* a tail of what the snapshot holds may stay */
        to -= env_below(&f->env, 1 + tm_min_u64(to, 40));
    uint64_t first = tm_max_u64(tm_log_first(log_at(f, p)), to + 1);
    tm_log_compact(log_at(f, p), to);
    CU_ASSERT_FATAL(tm_log_first(log_at(f, p)) == first);
}

static inline void put(struct fixture *f, uint32_t p)
{
    struct model_log *m = &f->logs[p];
    struct tm_hard_state h = {.vote = TM_VOTE_NONE};
    if (m->put_count > 0)
        h = m->puts[m->put_count - 1];
    h.term += env_below(&f->env, 3);
    h.vote = (uint32_t)env_below(&f->env, 3);
    h.vote_disk = env_random(&f->env);
    h.config.count = 3;
    h.config.voters[2].disk_id = env_random(&f->env);
    tm_hs_put(tm_log_set_hs(f->set), p, &h);
    CU_ASSERT_FATAL(m->put_count < INDEX_MAX);
    m->puts[m->put_count++] = h;
}

static inline bool same_hard(const struct tm_hard_state *a, const struct tm_hard_state *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* The recovered hard state is one of those put since the last that was reported durable. */
static inline void check_hard(struct fixture *f, uint32_t p, bool rot)
{
    struct model_log *m = &f->logs[p];
    struct tm_hard_state got;
    enum tm_err err = tm_hs_get(tm_log_set_hs(f->set), p, &got);
    if (rot && err == TM_ERR_CORRUPT)
        return;
    if (err == TM_ERR_NOTFOUND) {
        CU_ASSERT_FATAL(m->put_durable == 0);
        m->put_count = 0;
        return;
    }
    CU_ASSERT_FATAL(err == TM_OK);
    unsigned i = m->put_durable == 0 ? 0 : m->put_durable - 1;
    while (i < m->put_count && !same_hard(&m->puts[i], &got))
        i++;
    CU_ASSERT_FATAL(i < m->put_count);
    m->put_count = m->put_durable = i + 1;
}

/* The recovered log is a chain with at least what was durable; the model takes it over. */
static inline void check_log(struct fixture *f, uint32_t p)
{
    struct model_log *m = &f->logs[p];
    struct tm_log *log = log_at(f, p);
    CU_ASSERT_FATAL(tm_log_fault_count(log) == 0 && !tm_log_suspect(log));
    CU_ASSERT_FATAL(tm_log_first(log) <= m->base + 1);
    CU_ASSERT_FATAL(tm_log_last(log) >= m->durable);
    CU_ASSERT_FATAL(tm_log_durable(log) == tm_log_last(log));
    CU_ASSERT_FATAL(tm_log_commit(log) <= tm_max_u64(m->commit, m->base));
    for (uint64_t i = tm_max_u64(tm_log_first(log) - 1, 1); i <= tm_log_last(log); i++) {
        uint64_t hash = 0, term = 0;
        CU_ASSERT_FATAL(tm_log_hash_at(log, i, &hash) && tm_log_term_at(log, i, &term));
        bool known = i <= tm_max_u64(m->durable, m->base);
        CU_ASSERT_FATAL(!known || hash == (i == m->base ? m->base_hash : m->hash[i]));
        CU_ASSERT_FATAL(!known || term == (i == m->base ? m->base_term : m->term[i]));
        m->hash[i] = hash;
        m->term[i] = term;
    }
    m->last = m->durable = tm_log_last(log);
    m->commit = tm_max_u64(tm_log_commit(log), m->base);
}

struct fetcher {
    struct tm_log_fetch fetch;
    struct model_log *m;
    uint64_t expect;
    unsigned calls;
    enum tm_err err;
    bool done;
};

static inline bool fetched(struct tm_log_fetch *fetch, uint64_t index, struct tm_bytes record)
{
    struct fetcher *x = fetch->owner;
    const struct tm_record *r = (const void *)record.data;
    CU_ASSERT_FATAL(index == x->expect++ && r->index == index);
    CU_ASSERT_FATAL(tm_record_check(r, record.len) == TM_OK);
    CU_ASSERT_FATAL(r->checksum == x->m->hash[index]);
    x->m->body[index] = r->body_len;
    x->m->salt[index] = r->origin;
    return true;
}

static inline void fetch_done(struct tm_log_fetch *fetch, enum tm_err err)
{
    struct fetcher *x = fetch->owner;
    x->err = err;
    x->done = true;
}

/* Reads first..last from disk, in as many fetches as it takes; the last answer. */
static inline enum tm_err fetch_all(struct fixture *f, uint32_t p, uint64_t first, uint64_t last)
{
    struct fetcher x = {.m = &f->logs[p], .expect = first, .err = TM_OK};
    while (x.err == TM_OK && x.expect <= last) {
        x.fetch = (struct tm_log_fetch){.first = x.expect,
                                        .last = last,
                                        .max_bytes = 5000,
                                        .record = fetched,
                                        .done = fetch_done,
                                        .owner = &x};
        x.done = false;
        x.err = tm_log_fetch(log_at(f, p), &x.fetch);
        if (x.err != TM_OK)
            break;
        tm_sim_disk_drain(f->env.sd);
        CU_ASSERT_FATAL(x.done && x.fetch.next == x.expect);
    }
    return x.err;
}

static inline void check_bytes(struct fixture *f, uint32_t p)
{
    struct model_log *m = &f->logs[p];
    uint64_t first = tm_log_first(log_at(f, p));
    for (uint64_t i = first; i <= m->last; i++) {
        struct tm_bytes b = tm_log_get(log_at(f, p), i);
        if (b.data != NULL)
            CU_ASSERT_FATAL(((const struct tm_record *)(const void *)b.data)->checksum ==
                            m->hash[i]);
    }
    if (m->last >= first)
        CU_ASSERT_FATAL(fetch_all(f, p, first, m->last) == TM_OK);
}

static inline struct fixture *filled(uint64_t seed, unsigned turns)
{
    struct fixture *f = setup(seed);
    reopen(f);
    for (unsigned i = 0; i < turns; i++) {
        uint32_t p = partition_at((unsigned)env_below(&f->env, MINE));
        while (append(f, p) != TM_OK) /* a segment is being prepared */
            settle(f);
        if (env_chance(&f->env, 10))
            put(f, p);
        tm_log_set_flush(f->set);
        if (env_chance(&f->env, 50))
            settle(f);
    }
    settle(f);
    return f;
}

/* Writes a marker, so that all before it is provably durable. */
static inline void pass_idle(struct fixture *f)
{
    f->env.now_ns += TM_MS(60);
    tm_log_set_tick(f->set);
    settle(f);
}

static inline uint64_t first_segment(const struct fixture *f)
{
    return tm_wal_first_segment(tm_log_set_wal(f->set));
}

/* Crashes (keep: tm_sim_disk_crash) and starts as the second generation, after one of one worker.
 */
static inline void reopen_as_second(struct fixture *f, int keep)
{
    static const struct tm_wal_generation first = {1, 1};
    crash(f, keep);
    f->config.wal.generation = 2;
    f->config.wal.older = &first;
    f->config.wal.older_count = 1;
    reopen(f);
}

static inline void flip_block_of(struct fixture *f, uint32_t p, uint64_t i)
{
    char name[TM_WAL_NAME_MAX];
    tm_wal_place place = tm_log_index_at(&log_at(f, p)->index, i)->place;
    tm_wal_name_segment(name, "wal", 1, 0, tm_wal_segment_of(tm_log_set_wal(f->set), place));
    uint64_t at = tm_wal_place_offset(place) + env_below(&f->env, 4096);
    CU_ASSERT_FATAL(tm_sim_disk_flip(f->env.sd, name, at, (unsigned)env_below(&f->env, 8)));
}

#endif
