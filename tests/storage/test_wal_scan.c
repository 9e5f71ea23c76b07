/* What a tool sees of a WAL folder, without opening it. */
#include "storage/wal_scan.h"

#include "tests/storage/store_env.h"

struct seen {
    uint64_t blocks, records, faults, volumes, first;
    uint64_t last_sequence;
    struct tm_wal_fault fault;
};

static void on_begin(void *host, uint64_t first_sequence)
{
    ((struct seen *)host)->first = first_sequence;
}

static void on_block(void *host, const struct tm_wal_block *header, const uint8_t *stream)
{
    struct seen *s = host;
    CU_ASSERT(header->sequence > s->last_sequence && stream != NULL);
    s->last_sequence = header->sequence;
    s->blocks++;
}

static void on_record(void *host, const struct tm_wal_found *found)
{
    CU_ASSERT(tm_record_check(found->record.data, found->record.len) == TM_OK);
    ((struct seen *)host)->records++;
}

static void on_fault(void *host, const struct tm_wal_fault *fault)
{
    struct seen *s = host;
    if (s->faults++ == 0)
        s->fault = *fault;
}

static void on_volume(void *arg, uint32_t generation, uint32_t worker)
{
    struct seen *s = arg;
    CU_ASSERT(generation == 2 && worker == 5);
    s->volumes++;
}

/* A WAL of worker 5, generation 2, with `n` blocks of one record. */
static void make_wal(struct store_env *env, unsigned n)
{
    struct tm_wal_config c = {.ctx = &env->ctx,
                              .folder = "wal",
                              .worker = 5,
                              .generation = 2,
                              .partitions = 8,
                              .cluster = {1},
                              .disk_id = 4,
                              .segment_bytes = TM_KIB(128),
                              .max_record_bytes = 8192};
    struct tm_wal *wal;
    _Alignas(8) uint8_t buf[4096];
    CU_ASSERT_FATAL(tm_wal_open(&c, &wal) == TM_OK);
    tm_wal_begin(wal);
    tm_sim_disk_drain(env->sd);
    for (unsigned i = 1; i <= n; i++) {
        struct tm_record *r = env_record(buf, 3, 1, i, 0, 100, 0);
        struct tm_wal_span span = {.partition = 3, .first = i, .last = i, .commit = i - 1};
        CU_ASSERT_FATAL(
            tm_wal_append(wal, tm_bytes_of(r, r->length), TM_WAL_EFFECT, &span, 1, NULL) == TM_OK);
        tm_wal_flush(wal);
        tm_sim_disk_drain(env->sd);
    }
    tm_sim_disk_kill(env->sd);
    tm_wal_abandon(wal);
}

static struct tm_wal_scan_result scan(struct store_env *env, struct seen *s)
{
    struct tm_wal_scan_config c = {
        .disk = env->ctx.disk, .folder = "wal", .generation = 2, .worker = 5};
    struct tm_wal_scan_sink sink = {s, on_begin, on_block, on_record, on_fault};
    struct tm_wal_scan_result r;
    *s = (struct seen){0};
    CU_ASSERT_FATAL(tm_wal_scan(&c, &sink, &r) == TM_OK);
    tm_wal_scan_release(&r);
    return r;
}

static void a_whole_log_is_walked_without_fault(void)
{
    struct store_env env;
    struct seen s = {0};
    env_init(&env, tm_test_seed());
    make_wal(&env, 100);
    CU_ASSERT(tm_wal_scan_volumes(env.ctx.disk, "wal", on_volume, &s) == TM_OK && s.volumes == 1);
    struct tm_wal_scan_result r = scan(&env, &s);
    CU_ASSERT(s.records == 100 && s.blocks == 101 && s.faults == 0 && s.first == 1);
    CU_ASSERT(r.blocks == 101 && r.records == 100 && !r.torn && !r.damaged && r.rot == 0);
    CU_ASSERT(r.last_sequence == 101 && r.durable == 100);
    env_done(&env);
}

static void an_unreadable_sector_is_rot(void)
{
    struct store_env env;
    struct seen s;
    env_init(&env, tm_test_seed());
    make_wal(&env, 20);
    CU_ASSERT_FATAL(tm_sim_disk_flip(env.sd, "wal/g0002/w05-00000001.seg", 10 * 4096 + 700, 2));
    struct tm_wal_scan_result r = scan(&env, &s);
    CU_ASSERT(r.rot == 1 && s.faults == 1 && s.records == 19 && !r.damaged);
    CU_ASSERT(s.fault.kind == TM_WAL_ROT && s.fault.span.partition == 3);
    CU_ASSERT(s.fault.span.first == 10 && s.fault.span.last == 10);
    CU_ASSERT(s.fault.segment == 1 && s.fault.offset == 10 * 4096 && s.fault.sequence == 11);
    env_done(&env);
}

static void a_lost_segment_is_rot_of_whoever_was_in_it(void)
{
    struct store_env env;
    struct seen s;
    env_init(&env, tm_test_seed());
    make_wal(&env, 100); /* four segments of 32 blocks */
    CU_ASSERT_FATAL(tm_sim_disk_remove(env.sd, "wal/g0002/w05-00000002.seg"));
    struct tm_wal_scan_result r = scan(&env, &s);
    CU_ASSERT(r.rot == 1 && s.records < 100 && s.records > 50);
    CU_ASSERT(s.fault.kind == TM_WAL_ROT && s.fault.span.partition == TM_WAL_ALL);
    CU_ASSERT_FATAL(tm_sim_disk_remove(env.sd, "wal/g0002/w05-00000001.seg"));
    r = scan(&env, &s);
    CU_ASSERT(r.rot == 1 && s.fault.span.partition == TM_WAL_ALL);
    env_done(&env);
}

static void an_empty_or_absent_folder_is_no_log(void)
{
    struct store_env env;
    struct seen s;
    env_init(&env, 1);
    struct tm_wal_scan_result r = scan(&env, &s);
    CU_ASSERT(r.first_sequence == 0 && s.first == 0 && r.blocks == 0 && s.faults == 0);
    env_done(&env);
}

static const struct tm_test tests[] = {
    TM_TEST(a_whole_log_is_walked_without_fault),
    TM_TEST(an_unreadable_sector_is_rot),
    TM_TEST(a_lost_segment_is_rot_of_whoever_was_in_it),
    TM_TEST(an_empty_or_absent_folder_is_no_log),
};

TM_TEST_MAIN("storage/wal_scan", tests)
