/* The same log set over the product's disk: io_uring, O_DIRECT, a folder of this machine.  What
 * the simulator cannot show: that alignment, handles and reading back work on a real filesystem. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/disk_uring.h"
#include "storage/log_set.h"
#include "storage/snapshot.h"
#include "tests/scratch.h"
#include "tests/storage/store_env.h"

struct real {
    struct store_env env; /* clock and chance */
    struct tm_uring uring;
    struct tm_disk_uring disk;
    struct tm_ctx ctx;
    int dir;
    struct tm_log_set *set;
    uint64_t durable;
    bool changed;
};

static void on_durable(void *host, uint32_t partition, uint64_t index)
{
    CU_ASSERT(partition == 0);
    ((struct real *)host)->durable = index;
}

static void start(struct real *r)
{
    char why[256];
    memset(r, 0, sizeof *r);
    env_init(&r->env, 1);
    r->dir = open(tm_scratch(), O_RDONLY | O_DIRECTORY);
    CU_ASSERT_FATAL(r->dir >= 0 && tm_uring_open(&r->uring, 64, why, sizeof why) == TM_OK);
    tm_disk_uring_init(&r->disk, &r->uring, r->dir);
    r->ctx = r->env.ctx;
    r->ctx.disk = &r->disk.disk;
}

static void turn(struct real *r)
{
    tm_disk_uring_poll(&r->disk);
    tm_uring_wait(&r->uring, TM_MS(100));
    tm_uring_reap(&r->uring, 64);
}

static void end(struct real *r)
{
    tm_uring_close(&r->uring);
    close(r->dir);
    env_done(&r->env);
}

static void open_set(struct real *r)
{
    struct tm_log_set_config c = {.wal = {.ctx = &r->ctx,
                                          .folder = "wal",
                                          .generation = 1,
                                          .partitions = 1,
                                          .disk_id = 3,
                                          .segment_bytes = TM_MIB(2)},
                                  .workers = 1,
                                  .cache_bytes = 64 * 1024,
                                  .callbacks = {.host = r, .durable = on_durable}};
    CU_ASSERT_FATAL(tm_log_set_open(&c, &r->set) == TM_OK);
}

static void append(struct real *r, uint64_t count, uint32_t body)
{
    static _Alignas(8) uint8_t buf[1 << 20];
    struct tm_log *log = tm_log_set_log(r->set, 0);
    while (count > 0) {
        struct tm_record *rec =
            env_record(buf, 0, 1, tm_log_last(log) + 1, tm_log_last_hash(log), body, 0);
        enum tm_err err = tm_log_append(log, tm_bytes_of(rec, rec->length), TM_WAL_EFFECT);
        CU_ASSERT_FATAL(err == TM_OK || err == TM_ERR_FULL);
        count -= err == TM_OK;
        if (err == TM_ERR_FULL || count % 16 == 0) {
            tm_log_set_flush(r->set);
            turn(r);
        }
    }
    while (tm_log_durable(log) < tm_log_last(log)) {
        tm_log_set_flush(r->set);
        turn(r);
    }
}

static void close_set(struct real *r)
{
    while (!tm_log_set_idle(r->set)) {
        tm_log_set_flush(r->set);
        turn(r);
    }
    tm_log_set_close(r->set, true);
}

struct fetcher {
    struct tm_log_fetch fetch;
    uint64_t expect, prev;
    bool done;
    enum tm_err err;
};

static bool fetched(struct tm_log_fetch *fetch, uint64_t index, struct tm_bytes record)
{
    struct fetcher *x = fetch->owner;
    const struct tm_record *rec = (const void *)record.data;
    CU_ASSERT_FATAL(index == x->expect++ && tm_record_check(rec, record.len) == TM_OK);
    CU_ASSERT_FATAL(rec->prev_hash == x->prev);
    x->prev = rec->checksum;
    return true;
}

static void fetch_done(struct tm_log_fetch *fetch, enum tm_err err)
{
    struct fetcher *x = fetch->owner;
    x->done = true;
    x->err = err;
}

static void fetch_all(struct real *r)
{
    struct tm_log *log = tm_log_set_log(r->set, 0);
    struct fetcher x = {
        .fetch = {.first = 1, .last = tm_log_last(log), .record = fetched, .done = fetch_done},
        .expect = 1};
    x.fetch.owner = &x;
    CU_ASSERT_FATAL(tm_log_fetch(log, &x.fetch) == TM_OK);
    while (!x.done)
        turn(r);
    CU_ASSERT(x.err == TM_OK && x.expect == tm_log_last(log) + 1);
}

static void what_was_written_is_read_back_and_replayed(void)
{
    struct real r;
    start(&r);
    open_set(&r);
    append(&r, 3000, 200);
    append(&r, 20, 100000);
    CU_ASSERT(r.durable == 3020);
    CU_ASSERT(tm_wal_current_segment(tm_log_set_wal(r.set)) > 2);
    fetch_all(&r);
    close_set(&r);
    open_set(&r);
    CU_ASSERT(tm_log_last(tm_log_set_log(r.set, 0)) == 3020);
    CU_ASSERT(tm_log_durable(tm_log_set_log(r.set, 0)) == 3020);
    fetch_all(&r);
    append(&r, 100, 200);
    close_set(&r);
    end(&r);
}

static void on_changed(void *host, struct tm_snapshot_writer *writer)
{
    (void)writer;
    ((struct real *)host)->changed = true;
}

static enum tm_err count_item(void *arg, struct tm_bytes item)
{
    CU_ASSERT(item.len == 5000);
    ++*(uint64_t *)arg;
    return TM_OK;
}

static void snapshots_are_written_and_loaded(void)
{
    struct real r;
    static uint8_t item[5000];
    struct tm_snapshot_info info = {.partition = 9, .walked_from = 10}, list[2];
    struct tm_snapshot_writer *w;
    start(&r);
    CU_ASSERT_FATAL(tm_snapshot_writer_new(&r.ctx, &info, on_changed, &r, &w) == TM_OK);
    for (unsigned i = 0; i < 500;) {
        bool taken = tm_snapshot_writer_item(w, tm_bytes_of(item, sizeof item)) == TM_OK;
        i += taken;
        if (!taken)
            turn(&r);
    }
    tm_snapshot_writer_finish(w, 20, NULL);
    while (tm_snapshot_writer_state(w) != TM_SNAPSHOT_PUBLISHED) {
        CU_ASSERT_FATAL(tm_snapshot_writer_state(w) != TM_SNAPSHOT_FAILED);
        if (tm_snapshot_writer_state(w) == TM_SNAPSHOT_COMPLETE)
            tm_snapshot_writer_publish(w);
        turn(&r);
    }
    tm_snapshot_writer_close(w, NULL);
    unsigned count;
    struct tm_snapshot_lost lost;
    bool damaged;
    uint64_t items = 0;
    CU_ASSERT(r.changed);
    CU_ASSERT(tm_snapshot_list(&r.ctx, 9, info.cluster, list, &count, &damaged, &lost) == TM_OK);
    CU_ASSERT_FATAL(count == 1 && !damaged && list[0].walked_to == 20);
    CU_ASSERT(tm_snapshot_load(&r.ctx, &list[0], count_item, &items) == TM_OK && items == 500);
    end(&r);
}

static const struct tm_test tests[] = {
    TM_TEST(what_was_written_is_read_back_and_replayed),
    TM_TEST(snapshots_are_written_and_loaded),
};

TM_TEST_MAIN("storage over io_uring", tests)
