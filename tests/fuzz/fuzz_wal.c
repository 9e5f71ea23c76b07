/* The log of a worker: a program of appends, votes, cuts, crashes and restarts over a simulated
 * disk, then damage of any kind to its files, blocks that say what was never so among it, and
 * starts again.
 *
 * Held: a start ends, with logs or with an error that says why; what replay hands over are valid
 * records; a log has no hole but its faults; two starts in a row find the same; a log that was
 * opened can be written and closed.  As long as nothing was damaged, nothing that was reported
 * durable is missing, and nothing is called faulty or suspect. */
#include "storage/log_set.h"
#include "storage/record.h"
#include "storage/wal_format.h"
#include "tests/fuzz/fuzz_disk.h"

#define PARTITIONS 4
#define WORKERS    2
#define MINE       2 /* partitions 0 and 2 belong to worker 0 */
#define STEPS_MAX  300
#define SEGMENT    TM_KIB(32)

struct log_world {
    struct fuzz_world world;
    struct tm_sim_disk *sd;
    struct tm_log_set_config config;
    struct tm_log_set *set;
    uint64_t durable[PARTITIONS]; /* index that was reported */
    uint64_t hash[PARTITIONS];    /* and its hash */
    uint64_t term;
    bool harmed, forged, failed;
};

static uint32_t mine(unsigned i)
{
    return i % MINE * WORKERS;
}

static void on_durable(void *host, uint32_t partition, uint64_t index)
{
    struct log_world *w = host;
    w->durable[partition] = index;
    FUZZ_CHECK(index == 0 ||
               tm_log_hash_at(tm_log_set_log(w->set, partition), index, &w->hash[partition]) ||
               w->harmed);
}

static void on_partition(void *host, uint32_t partition)
{
    (void)host;
    FUZZ_CHECK(partition < PARTITIONS);
}

static void on_failed(void *host, enum tm_err err)
{
    FUZZ_CHECK(err != TM_OK);
    ((struct log_world *)host)->failed = true;
}

static void on_space(void *host, bool available)
{
    (void)host;
    (void)available;
}

static bool no_base(void *host, uint32_t partition, struct tm_log_base *out)
{
    (void)host;
    (void)partition;
    (void)out;
    return false;
}

static void on_record(void *host, uint32_t partition, struct tm_bytes record)
{
    const struct tm_record *r = (const void *)record.data;
    FUZZ_CHECK(r->length == record.len && r->partition == partition);
    FUZZ_CHECK(((struct log_world *)host)->forged || tm_record_check(r, record.len) == TM_OK);
}

/* --- starts and ends --- */

static bool open_logs(struct log_world *w)
{
    w->config.wal.incarnation++;
    w->failed = false;
    enum tm_err err = tm_log_set_open(&w->config, &w->set);
    FUZZ_CHECK(err == TM_OK || w->harmed);
    if (err != TM_OK)
        w->set = NULL;
    return err == TM_OK;
}

struct sight {
    uint64_t first, last, commit;
    unsigned faults;
    bool suspect;
};

/* What a log shows; it has no hole but its faults. */
static struct sight look(struct log_world *w, uint32_t partition)
{
    struct tm_log *log = tm_log_set_log(w->set, partition);
    struct sight s = {tm_log_first(log), tm_log_last(log), tm_log_commit(log),
                      tm_log_fault_count(log), tm_log_suspect(log)};
    uint64_t hash, term, from, to, before = 0;
    FUZZ_CHECK(s.first <= s.last + 1 && tm_log_durable(log) <= s.last);
    for (unsigned i = 0; i < s.faults; i++) {
        tm_log_fault_at(log, i, &from, &to);
        FUZZ_CHECK(from <= to && (i == 0 || from > before));
        before = to;
    }
    unsigned holes = 0;
    for (uint64_t i = s.first; i <= s.last; i++)
        holes += !tm_log_hash_at(log, i, &hash) || !tm_log_term_at(log, i, &term);
    FUZZ_CHECK(holes == 0 || s.faults > 0);
    return s;
}

static void look_again(struct log_world *w)
{
    struct tm_hard_state hard;
    for (unsigned i = 0; i < MINE; i++) {
        uint32_t p = mine(i);
        struct sight s = look(w, p);
        enum tm_err err = tm_hs_get(tm_log_set_hs(w->set), p, &hard);
        uint64_t hash = 0;
        if (w->harmed)
            continue;
        FUZZ_CHECK(s.faults == 0 && !s.suspect && err != TM_ERR_CORRUPT);
        FUZZ_CHECK(s.last >= w->durable[p]);
        if (w->durable[p] >= s.first)
            FUZZ_CHECK(tm_log_hash_at(tm_log_set_log(w->set, p), w->durable[p], &hash) &&
                       hash == w->hash[p]);
    }
}

static void settle(struct log_world *w)
{
    for (unsigned i = 0; i < 8; i++) {
        tm_log_set_flush(w->set);
        tm_sim_disk_drain(w->sd);
    }
}

/* Dies, with power or without, or ends; and starts twice: it finds the same again. */
static bool restart(struct log_world *w, uint8_t how)
{
    struct sight before[PARTITIONS];
    if (w->set != NULL && how % 3 == 0)
        settle(w);
    if (w->set != NULL && how % 3 == 0 && tm_log_set_idle(w->set) && !w->failed) {
        tm_log_set_close(w->set, true);
    } else if (w->set != NULL) {
        if (how % 3 == 1)
            tm_sim_disk_crash(w->sd, how / 3 % 101);
        else
            tm_sim_disk_kill(w->sd);
        tm_log_set_abandon(w->set);
    }
    w->set = NULL;
    if (!open_logs(w))
        return false;
    look_again(w);
    for (unsigned i = 0; i < MINE; i++)
        before[mine(i)] = look(w, mine(i));
    tm_sim_disk_kill(w->sd);
    tm_log_set_abandon(w->set);
    w->set = NULL;
    if (!open_logs(w))
        return false;
    for (unsigned i = 0; i < MINE; i++) {
        struct sight now = look(w, mine(i)), *then = &before[mine(i)];
        FUZZ_CHECK(now.first == then->first && now.last == then->last);
        FUZZ_CHECK(now.faults == then->faults && now.suspect == then->suspect);
    }
    return true;
}

/* --- steps --- */

static void append(struct log_world *w, uint32_t p, uint32_t body)
{
    static uint64_t space[1024];
    struct tm_log *log = tm_log_set_log(w->set, p);
    struct tm_record *r = (void *)space;
    if (tm_log_fault_count(log) > 0)
        return; /* its replica would not */
    *r = (struct tm_record){.kind = TM_RECORD_SYSTEM,
                            .partition = p,
                            .body_len = body % (sizeof space - sizeof *r - 8),
                            .term = tm_max_u64(w->term, tm_log_last_term(log)),
                            .index = tm_log_last(log) + 1,
                            .prev_hash = tm_log_last_hash(log)};
    memset(r + 1, (int)(r->index & 0xff), r->body_len);
    tm_record_seal(r);
    enum tm_err err = tm_log_append(log, tm_bytes_of(r, r->length), TM_WAL_EFFECT);
    FUZZ_CHECK(err == TM_OK || err == TM_ERR_FULL || err == TM_ERR_NOSPACE || err == TM_ERR_IO ||
               err == TM_ERR_TOOBIG);
}

static void cut(struct log_world *w, uint32_t p, uint8_t back)
{
    struct tm_log *log = tm_log_set_log(w->set, p);
    uint64_t last = tm_log_last(log), from = last - back % 8;
    if (back % 8 >= last || from <= tm_log_commit(log) || from < tm_log_first(log) ||
        tm_log_fault_count(log) > 0)
        return;
    if (tm_log_cut(log, from) == TM_OK && w->durable[p] >= from) {
        w->durable[p] = 0;
        w->term++;
    }
}

static void vote(struct log_world *w, uint32_t p, uint8_t how)
{
    struct tm_hard_state hard = {.vote = TM_VOTE_NONE};
    if (tm_hs_get(tm_log_set_hs(w->set), p, &hard) == TM_ERR_CORRUPT)
        return;
    hard.term += how % 3;
    hard.vote = how % 5;
    tm_hs_put(tm_log_set_hs(w->set), p, &hard);
}

static void pass_time(struct log_world *w, uint8_t ms)
{
    w->world.now_ns += TM_MS(ms);
    if (tm_log_set_next_deadline(w->set) <= w->world.now_ns)
        tm_log_set_tick(w->set);
    tm_log_set_flush(w->set);
}

/* --- damage --- */

/* One of the files there may be. */
static void file_name(uint8_t which, char *name)
{
    if (which % 5 == 0)
        tm_wal_name_hard(name, "wal", 1, 0);
    else
        tm_wal_name_segment(name, "wal", 1, 0, which % 5);
}

static void overwrite(struct log_world *w, const char *name, uint64_t at, struct tm_bytes with)
{
    (void)fuzz_overwrite(w->world.ctx.disk, name, at, with); /* or the disk takes no new file */
}

static void copy_page(struct log_world *w, struct fuzz_input *in, const char *to)
{
    static uint8_t page[TM_WAL_PAGE];
    char from[TM_WAL_NAME_MAX];
    struct tm_disk *disk = w->config.wal.ctx->disk;
    file_name(fuzz_byte(in), from);
    uint64_t source = fuzz_byte(in) % 8 * TM_WAL_PAGE, target = fuzz_byte(in) % 8 * TM_WAL_PAGE;
    int64_t file = tm_disk_run_open(disk, from, TM_DISK_RDONLY);
    if (file < 0)
        return;
    int64_t n = tm_disk_run_read(disk, (int32_t)file, page, sizeof page, source);
    tm_disk_run_close(disk, (int32_t)file);
    if (n == (int64_t)sizeof page)
        overwrite(w, to, target, tm_bytes_of(page, sizeof page));
}

/* Changes what a block says; what chance does not hit, its checksums, is completed again. */
static void forge(struct log_world *w, struct fuzz_input *in, uint64_t segment)
{
    static _Alignas(TM_WAL_PAGE) uint8_t image[SEGMENT];
    static uint64_t stream[SEGMENT / 8];
    char name[TM_WAL_NAME_MAX];
    struct tm_disk *disk = w->config.wal.ctx->disk;
    struct tm_wal_block head;
    uint64_t at = fuzz_byte(in) % 8 * TM_WAL_PAGE;
    tm_wal_name_segment(name, "wal", 1, 0, segment);
    int64_t file = tm_disk_run_open(disk, name, TM_DISK_RDONLY);
    if (file < 0)
        return;
    int64_t n = tm_disk_run_read(disk, (int32_t)file, image, (uint32_t)(SEGMENT - at), at);
    tm_disk_run_close(disk, (int32_t)file);
    if (n < TM_WAL_PAGE || tm_wal_block_header(image, segment, at, (uint64_t)n, &head) != TM_OK ||
        tm_wal_block_decode(image, &head, (uint8_t *)stream) != TM_OK)
        return;
    size_t where = fuzz_u16(in) % head.length;
    struct tm_bytes with = fuzz_take(in, 1 + fuzz_byte(in) % 8);
    if (with.len > 0 && where + with.len <= head.length)
        memcpy((uint8_t *)stream + where, with.data, with.len);
    memcpy(&head, stream, sizeof head);
    uint64_t spans = (uint64_t)head.own_spans + head.prev_spans;
    if (tm_wal_stream_bytes(0, spans) > head.length || head.length > sizeof stream)
        return;
    const uint8_t *bytes = (const uint8_t *)stream;
    struct tm_bytes rest = tm_wal_block_records(bytes), record;
    while (tm_wal_record_next(&rest, &record)) {
        struct tm_record *r = (void *)(uintptr_t)record.data;
        if (r->body_len < record.len && tm_record_length(r->body_len) == record.len)
            tm_record_seal(r);
    }
    tm_wal_block_encode(image, &head, tm_wal_block_own(bytes), tm_wal_block_prev(bytes),
                        tm_wal_block_records(bytes));
    overwrite(w, name, at, tm_bytes_of(image, head.disk_bytes));
    w->forged = true;
}

/* The process is dead meanwhile. */
static bool harm(struct log_world *w, struct fuzz_input *in)
{
    char name[TM_WAL_NAME_MAX];
    if (w->set != NULL) {
        tm_sim_disk_kill(w->sd);
        tm_log_set_abandon(w->set);
        w->set = NULL;
    }
    w->harmed = true;
    for (unsigned n = 1 + fuzz_byte(in) % 4; n > 0; n--) {
        uint8_t how = fuzz_byte(in);
        file_name(fuzz_byte(in), name);
        uint64_t at = fuzz_u16(in);
        if (how % 8 < 3)
            tm_sim_disk_flip(w->sd, name, at, how / 8 % 8);
        else if (how % 8 == 3)
            tm_sim_disk_zero(w->sd, name, at, 1u << how / 16);
        else if (how % 8 == 4)
            tm_sim_disk_remove(w->sd, name);
        else if (how % 8 == 5)
            overwrite(w, name, at, fuzz_take(in, how / 8));
        else if (how % 8 == 6)
            copy_page(w, in, name);
        else
            forge(w, in, 1 + at % 4);
    }
    return restart(w, 2);
}

/* False: it does not start any more. */
static bool step(struct log_world *w, struct fuzz_input *in)
{
    uint8_t op = fuzz_byte(in);
    uint32_t p = mine(op >> 4);
    switch (op % 16) {
    case 0:
    case 1:
        append(w, p, fuzz_byte(in));
        break;
    case 2:
        append(w, p, fuzz_u16(in));
        break;
    case 3:
    case 4:
        tm_log_set_flush(w->set);
        break;
    case 5:
    case 6:
        for (unsigned n = op >> 4; n > 0 && tm_sim_disk_step(w->sd); n--)
            ;
        break;
    case 7:
        settle(w);
        break;
    case 8:
        cut(w, p, fuzz_byte(in));
        break;
    case 9:
        vote(w, p, fuzz_byte(in));
        break;
    case 10:
        pass_time(w, fuzz_byte(in));
        break;
    case 11:
        tm_log_set_commit(tm_log_set_log(w->set, p), tm_log_durable(tm_log_set_log(w->set, p)));
        break;
    case 12:
        tm_log_compact(tm_log_set_log(w->set, p), 0);
        break;
    case 13:
    case 14:
        return restart(w, fuzz_byte(in));
    default:
        return harm(w, in);
    }
    return true;
}

static void world_init(struct log_world *w)
{
    memset(w, 0, sizeof *w);
    w->sd = fuzz_world_with_disk(&w->world);
    w->term = 1;
    w->config = (struct tm_log_set_config){
        .wal = {.ctx = &w->world.ctx,
                .folder = "wal",
                .generation = 1,
                .partitions = PARTITIONS,
                .cluster = {7},
                .disk_id = 5,
                .segment_bytes = SEGMENT,
                .max_record_bytes = 4096},
        .workers = WORKERS,
        .cache_bytes = 16 * 1024,
        .callbacks = {w, on_durable, on_partition, on_partition, on_failed, on_space},
        .base = no_base,
        .found = on_record,
        .committed = on_record};
}

FUZZ_TARGET(data, size)
{
    static struct log_world world;
    struct log_world *w = &world;
    struct fuzz_input in = fuzz_input_of(data, size);
    world_init(w);
    bool runs = open_logs(w);
    for (unsigned i = 0; i < STEPS_MAX && in.left > 0 && runs; i++)
        runs = step(w, &in);
    if (runs)
        runs = restart(w, 0);
    if (runs) {
        for (unsigned i = 0; i < MINE; i++)
            append(w, mine(i), 100);
        settle(w);
        look_again(w);
        tm_sim_disk_kill(w->sd);
        tm_log_set_abandon(w->set);
    }
    tm_sim_disk_free(w->sd);
    return 0;
}
