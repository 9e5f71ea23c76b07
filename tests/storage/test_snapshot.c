/* Snapshots over the simulated disk: written in slices, published, loaded, sent, damaged. */
#include "storage/snapshot.h"

#include "storage/snapshot_internal.h"
#include "tests/storage/store_env.h"

static const uint8_t CLUSTER[16] = {4, 2};

struct fixture {
    struct store_env env;
    unsigned changes;
    uint64_t loaded, sum;
};

static void setup(struct fixture *f, uint64_t seed)
{
    memset(f, 0, sizeof *f);
    env_init(&f->env, seed);
}

static void on_changed(void *host, struct tm_snapshot_writer *writer)
{
    (void)writer;
    ((struct fixture *)host)->changes++;
}

static struct tm_snapshot_info info_of(uint64_t from)
{
    struct tm_snapshot_info info = {.partition = 3, .walked_from = from, .term = 2, .hash = from};
    info.note_len = TM_SNAPSHOT_NOTE_MAX;
    info.note[TM_SNAPSHOT_NOTE_MAX - 1] = 99;
    memcpy(info.cluster, CLUSTER, 16);
    return info;
}

/* The i-th item of the snapshot at `from`: its bytes follow from both. */
static uint32_t item_of(uint64_t from, uint64_t i, uint8_t *out)
{
    uint32_t len = (uint32_t)((from * 7919 + i * 104729) % 3000);
    if (i % 97 == 13)
        len = 300000; /* larger than a chunk */
    for (uint32_t k = 0; k < len; k++)
        out[k] = (uint8_t)(from + i * 3 + k);
    return len;
}

static uint8_t item_buf[1 << 19];

static struct tm_snapshot_writer *begin(struct fixture *f, uint64_t from)
{
    struct tm_snapshot_info info = info_of(from);
    struct tm_snapshot_writer *w;
    CU_ASSERT_FATAL(tm_snapshot_writer_new(&f->env.ctx, &info, on_changed, f, &w) == TM_OK);
    return w;
}

static void add_items(struct fixture *f, struct tm_snapshot_writer *w, uint64_t from, uint64_t n)
{
    for (uint64_t i = 0; i < n;) {
        uint32_t len = item_of(from, i, item_buf);
        enum tm_err err = tm_snapshot_writer_item(w, tm_bytes_of(item_buf, len));
        CU_ASSERT_FATAL(err == TM_OK || err == TM_ERR_FULL);
        i += err == TM_OK;
        if (err == TM_ERR_FULL)
            CU_ASSERT_FATAL(tm_sim_disk_step(f->env.sd));
    }
}

static void write_one(struct fixture *f, uint64_t from, uint64_t n)
{
    struct tm_snapshot_writer *w = begin(f, from);
    add_items(f, w, from, n);
    tm_snapshot_writer_finish(w, from + 10, NULL);
    tm_sim_disk_drain(f->env.sd);
    CU_ASSERT_FATAL(tm_snapshot_writer_state(w) == TM_SNAPSHOT_COMPLETE);
    tm_snapshot_writer_publish(w);
    tm_sim_disk_drain(f->env.sd);
    CU_ASSERT_FATAL(tm_snapshot_writer_state(w) == TM_SNAPSHOT_PUBLISHED);
    CU_ASSERT(tm_snapshot_writer_info(w)->items == n);
    tm_snapshot_writer_close(w, NULL);
}

struct check {
    uint64_t from, next;
};

static enum tm_err check_item(void *arg, struct tm_bytes item)
{
    struct check *c = arg;
    uint32_t len = item_of(c->from, c->next++, item_buf);
    CU_ASSERT_FATAL(item.len == len && memcmp(item.data, item_buf, len) == 0);
    return TM_OK;
}

/* Lists and loads what is there: the newest's walked_from, 0 if there is none. */
static uint64_t load_newest(struct fixture *f, uint64_t items, bool *damaged)
{
    struct tm_snapshot_info list[2];
    unsigned count;
    struct tm_snapshot_lost lost;
    CU_ASSERT_FATAL(tm_snapshot_list(&f->env.ctx, 3, CLUSTER, list, &count, damaged, &lost) ==
                    TM_OK);
    for (unsigned i = 0; i < count; i++) {
        struct check c = {.from = list[i].walked_from};
        CU_ASSERT(list[i].note[TM_SNAPSHOT_NOTE_MAX - 1] == 99 && list[i].hash == c.from);
        CU_ASSERT(list[i].walked_to == c.from + 10 && list[i].term == 2);
        enum tm_err err = tm_snapshot_load(&f->env.ctx, &list[i], check_item, &c);
        if (err == TM_OK) {
            CU_ASSERT(c.next == items && list[i].items == items);
            return c.from;
        }
        CU_ASSERT(err == TM_ERR_CORRUPT);
        *damaged = true;
    }
    return 0;
}

static void a_snapshot_is_loaded_as_it_was_written(void)
{
    struct fixture f;
    bool damaged;
    setup(&f, tm_test_seed());
    CU_ASSERT(load_newest(&f, 0, &damaged) == 0 && !damaged);
    write_one(&f, 100, 1000);
    CU_ASSERT(f.changes > 3);
    tm_sim_disk_crash(f.env.sd, 0);
    CU_ASSERT(load_newest(&f, 1000, &damaged) == 100 && !damaged);
    write_one(&f, 7, 0); /* an empty partition has snapshots too */
    CU_ASSERT(load_newest(&f, 0, &damaged) == 7);
    env_done(&f.env);
}

static unsigned files_like(struct fixture *f, const char *end)
{
    unsigned n = 0;
    char name[TM_SNAP_NAME_MAX + 16];
    for (uint64_t from = 0; from < 2000; from += 10) {
        tm_snap_name_file(name, 3, from, from + 10);
        strcat(name, end);
        n += tm_sim_disk_exists(f->env.sd, name);
    }
    return n;
}

static void two_are_kept(void)
{
    struct fixture f;
    struct tm_snapshot_info list[2];
    unsigned count;
    struct tm_snapshot_lost lost;
    bool damaged;
    setup(&f, tm_test_seed());
    for (uint64_t from = 10; from <= 100; from += 10)
        write_one(&f, from, 50);
    CU_ASSERT(files_like(&f, "") == 2);
    CU_ASSERT(tm_snapshot_list(&f.env.ctx, 3, CLUSTER, list, &count, &damaged, &lost) == TM_OK);
    CU_ASSERT(count == 2 && list[0].walked_from == 100 && list[1].walked_from == 90);
    uint8_t other[16] = {1};
    CU_ASSERT(tm_snapshot_list(&f.env.ctx, 3, other, list, &count, &damaged, &lost) ==
              TM_ERR_IDENTITY);
    env_done(&f.env);
}

static void the_pointer_flips_only_when_it_is_published(void)
{
    struct fixture f;
    bool damaged;
    setup(&f, tm_test_seed());
    write_one(&f, 100, 200);
    struct tm_snapshot_writer *w = begin(&f, 200);
    add_items(&f, w, 200, 200);
    tm_snapshot_writer_finish(w, 210, NULL);
    tm_sim_disk_drain(f.env.sd);
    CU_ASSERT(tm_snapshot_writer_state(w) == TM_SNAPSHOT_COMPLETE);
    CU_ASSERT(files_like(&f, "") == 2);
    tm_snapshot_writer_close(w, NULL);
    tm_sim_disk_drain(f.env.sd);
    CU_ASSERT(files_like(&f, "") == 1); /* what is not published is removed */
    CU_ASSERT(load_newest(&f, 200, &damaged) == 100 && !damaged);
    w = begin(&f, 300);
    add_items(&f, w, 300, 200);
    tm_snapshot_writer_finish(w, 310, NULL);
    tm_sim_disk_drain(f.env.sd);
    tm_sim_disk_crash(f.env.sd, 100); /* complete, but never published: does not count */
    CU_ASSERT(load_newest(&f, 200, &damaged) == 100 && !damaged);
    CU_ASSERT(files_like(&f, "") == 1);
    tm_snapshot_writer_close(w, NULL);
    tm_sim_disk_drain(f.env.sd);
    env_done(&f.env);
}

/* Of 100 there is one, the second of 200 is being written. */
static struct tm_snapshot_writer *write_second(struct fixture *f, uint64_t seed)
{
    setup(f, seed);
    write_one(f, 100, 60);
    struct tm_snapshot_writer *w = begin(f, 200);
    add_items(f, w, 200, 60);
    tm_snapshot_writer_finish(w, 210, NULL);
    return w;
}

/* So many steps of the disk, and it is published when it may be: whether it was. */
static bool step_on(struct fixture *f, struct tm_snapshot_writer *w, uint64_t steps)
{
    while (steps-- > 0) {
        tm_sim_disk_step(f->env.sd);
        if (tm_snapshot_writer_state(w) == TM_SNAPSHOT_COMPLETE)
            tm_snapshot_writer_publish(w);
    }
    return tm_snapshot_writer_state(w) == TM_SNAPSHOT_PUBLISHED;
}

/* The second loads, or, unless it was published, the first. */
static void expect_one(struct fixture *f, bool published)
{
    bool damaged;
    uint64_t got = load_newest(f, 60, &damaged);
    CU_ASSERT_FATAL(!damaged && (got == 200 || (got == 100 && !published)));
    env_done(&f->env);
}

static void a_crash_at_any_step_leaves_one_that_loads(void)
{
    uint64_t seed = tm_test_seed();
    for (unsigned round = 0; round < 150; round++) {
        struct fixture f;
        struct tm_snapshot_writer *w = write_second(&f, seed + round);
        bool published = step_on(&f, w, env_below(&f.env, 40));
        tm_sim_disk_crash(f.env.sd, -1);
        tm_snapshot_writer_abandon(w);
        expect_one(&f, published);
    }
}

/* A process ends in the middle of the flip; the next goes by what it finds, which the machine must
 * not take back when it loses power later. */
static void one_that_was_found_is_there_after_a_power_loss(void)
{
    uint64_t seed = tm_test_seed();
    unsigned newer = 0;
    for (unsigned round = 0; round < 150; round++) {
        struct fixture f;
        bool damaged;
        struct tm_snapshot_writer *w = write_second(&f, seed + round);
        bool published = step_on(&f, w, env_below(&f.env, 40));
        tm_sim_disk_kill(f.env.sd);
        tm_snapshot_writer_abandon(w);
        uint64_t found = load_newest(&f, 60, &damaged);
        CU_ASSERT_FATAL(found != 0 && !damaged);
        tm_sim_disk_crash(f.env.sd, 0);
        CU_ASSERT_EQUAL(load_newest(&f, 60, &damaged), found);
        newer += found == 200 && !published;
        env_done(&f.env);
    }
    CU_ASSERT(newer > 0);
}

static void a_writer_may_be_closed_at_any_step(void)
{
    uint64_t seed = tm_test_seed();
    for (unsigned steps = 0; steps < 45; steps++) {
        struct fixture f;
        struct tm_snapshot_writer *w = write_second(&f, seed + steps);
        bool published = step_on(&f, w, steps);
        struct tm_snapshot_closed list = {0};
        tm_snapshot_writer_close(w, &list);
        tm_sim_disk_drain(f.env.sd);
        CU_ASSERT_PTR_NULL(list.first);
        expect_one(&f, published);
    }
}

/* Two writers and a reader are closed, and before they are through the process dies. */
static void what_was_closed_is_freed_when_the_process_dies(void)
{
    struct fixture f;
    setup(&f, tm_test_seed());
    write_one(&f, 100, 60);
    struct tm_snapshot_closed list = {0};
    struct tm_snapshot_info infos[2];
    struct tm_snapshot_reader *r;
    unsigned count;
    struct tm_snapshot_lost lost;
    bool damaged;
    CU_ASSERT_FATAL(tm_snapshot_list(&f.env.ctx, 3, CLUSTER, infos, &count, &damaged, &lost) ==
                    TM_OK);
    CU_ASSERT_FATAL(count == 1);
    CU_ASSERT_FATAL(tm_snapshot_reader_new(&f.env.ctx, &infos[0], &r) == TM_OK);
    for (unsigned i = 0; i < 2; i++)
        tm_snapshot_writer_close(begin(&f, 200 + i), &list);
    tm_snapshot_reader_close(r, &list);
    CU_ASSERT_PTR_NOT_NULL(list.first);
    tm_sim_disk_crash(f.env.sd, -1);
    tm_snapshot_closed_free(&list, true); /* a leak but for that */
    CU_ASSERT_PTR_NULL(list.first);
    env_done(&f.env);
}

/* Taken again where nothing happened since: of the same range, under the same name. */
static void one_that_counts_outlives_another_of_its_range(void)
{
    uint64_t seed = tm_test_seed();
    for (unsigned round = 0; round < 120; round++) {
        struct fixture f;
        bool damaged;
        setup(&f, seed + round);
        write_one(&f, 100, 60);
        struct tm_snapshot_writer *w = begin(&f, 100);
        add_items(&f, w, 100, 60);
        tm_snapshot_writer_finish(w, 110, NULL);
        for (unsigned i = 0; i < round / 2; i++)
            tm_sim_disk_step(f.env.sd);
        if (round % 2 == 0) {
            tm_snapshot_writer_close(w, NULL);
            tm_sim_disk_drain(f.env.sd);
            CU_ASSERT_EQUAL(files_like(&f, ""), 1);
        } else {
            tm_sim_disk_crash(f.env.sd, -1);
            tm_snapshot_writer_abandon(w);
        }
        CU_ASSERT_FATAL(load_newest(&f, 60, &damaged) == 100 && !damaged);
        env_done(&f.env);
    }
}

static void damage_is_found_reported_kept_and_the_older_one_serves(void)
{
    uint64_t seed = tm_test_seed();
    for (unsigned round = 0; round < 60; round++) {
        struct fixture f;
        bool damaged;
        uint64_t size;
        char name[TM_SNAP_NAME_MAX];
        setup(&f, seed + round);
        write_one(&f, 100, 120);
        write_one(&f, 200, 120);
        tm_snap_name_file(name, 3, 200, 210);
        const struct tm_snap_header *h = (const void *)tm_sim_disk_data(f.env.sd, name, &size);
        CU_ASSERT_FATAL(h->bytes == size);
        uint64_t at = env_below(&f.env, size);
        bool matters = at < sizeof *h || at >= TM_SNAP_PAGE;
        CU_ASSERT_FATAL(tm_sim_disk_flip(f.env.sd, name, at, 5));
        uint64_t got = load_newest(&f, 120, &damaged);
        /* Zeros behind the last item of a chunk, and behind the header, hold nothing. */
        CU_ASSERT(damaged ? got == 100 : got == 200);
        CU_ASSERT(damaged || !matters || at > TM_SNAP_PAGE);
        CU_ASSERT(files_like(&f, ".damaged") == damaged);
        CU_ASSERT(!damaged || (load_newest(&f, 120, &damaged) == 100 && !damaged));
        write_one(&f, 300, 120); /* the good older one is still one of the two */
        CU_ASSERT(load_newest(&f, 120, &damaged) == 300);
        CU_ASSERT(files_like(&f, "") == 2);
        env_done(&f.env);
    }
}

static void a_full_or_failing_disk_leaves_the_last_one(void)
{
    static const enum tm_disk_kind kinds[] = {TM_DISK_OPEN,   TM_DISK_WRITE,    TM_DISK_SYNC,
                                              TM_DISK_RENAME, TM_DISK_SYNC_DIR, TM_DISK_CLOSE};
    uint64_t seed = tm_test_seed();
    for (unsigned round = 0; round < 60; round++) {
        struct fixture f;
        bool damaged;
        setup(&f, seed + round);
        write_one(&f, 100, 60);
        struct tm_snapshot_writer *w = begin(&f, 200);
        uint64_t steps = env_below(&f.env, 30);
        int with = env_chance(&f.env, 50) ? 28 : 5;
        for (unsigned i = 0; i < 60;) {
            if (steps-- == 0)
                tm_sim_disk_fail(f.env.sd, kinds[round % TM_ARRAY_LEN(kinds)], with, 1);
            uint32_t len = item_of(200, i, item_buf);
            enum tm_err err = tm_snapshot_writer_item(w, tm_bytes_of(item_buf, len));
            i += err != TM_ERR_FULL;
            tm_sim_disk_step(f.env.sd);
        }
        tm_snapshot_writer_finish(w, 210, NULL);
        tm_sim_disk_fail(f.env.sd, kinds[round % TM_ARRAY_LEN(kinds)], with, 1);
        tm_sim_disk_drain(f.env.sd);
        if (tm_snapshot_writer_state(w) == TM_SNAPSHOT_COMPLETE)
            tm_snapshot_writer_publish(w);
        tm_sim_disk_drain(f.env.sd);
        bool failed = tm_snapshot_writer_state(w) == TM_SNAPSHOT_FAILED;
        CU_ASSERT(!failed ||
                  tm_snapshot_writer_error(w) == (with == 28 ? TM_ERR_NOSPACE : TM_ERR_IO));
        tm_snapshot_writer_close(w, NULL);
        tm_sim_disk_drain(f.env.sd);
        tm_sim_disk_fail(f.env.sd, TM_DISK_OPEN, 5, 0);
        uint64_t got = load_newest(&f, 60, &damaged);
        CU_ASSERT(!damaged && (got == 200 || (failed && got == 100)));
        env_done(&f.env);
    }
}

/* --- from node to node --- */

struct transfer {
    struct fixture *to;
    struct tm_snapshot_writer *writer;
    struct check check;
    enum tm_err err;
    unsigned done;
};

static void on_chunk(void *host, enum tm_err err, uint64_t chunk, struct tm_bytes bytes)
{
    struct transfer *t = host;
    t->err = err;
    t->done++;
    if (err != TM_OK)
        return;
    CU_ASSERT_FATAL(chunk == tm_snapshot_writer_chunks(t->writer));
    while (!tm_snapshot_writer_room(t->writer))
        CU_ASSERT_FATAL(tm_sim_disk_step(t->to->env.sd));
    static uint8_t wire[1 << 20]; /* a frame gives no alignment */
    memcpy(wire + 1, bytes.data, bytes.len);
    struct tm_bytes got = tm_bytes_of(wire + 1, bytes.len);
    uint64_t at = env_below(&t->to->env, bytes.len);
    wire[1 + at] ^= 4;
    enum tm_err bad = tm_snapshot_writer_chunk(t->writer, got);
    CU_ASSERT_FATAL(bad == TM_ERR_CORRUPT || (bad == TM_ERR_INVALID && at < 8));
    wire[1 + at] ^= 4;
    CU_ASSERT_FATAL(tm_snapshot_writer_chunk(t->writer, got) == TM_OK);
    CU_ASSERT_FATAL(tm_snapshot_chunk_items(got, check_item, &t->check) == TM_OK);
    CU_ASSERT_FATAL(tm_snapshot_writer_chunk(t->writer, got) == TM_ERR_INVALID);
}

static void a_snapshot_is_sent_chunk_by_chunk_and_can_be_resumed(void)
{
    struct fixture from, to;
    bool damaged;
    setup(&from, tm_test_seed());
    setup(&to, 77);
    write_one(&from, 500, 700);
    struct tm_snapshot_info list[2];
    unsigned count;
    struct tm_snapshot_lost lost;
    CU_ASSERT_FATAL(tm_snapshot_list(&from.env.ctx, 3, CLUSTER, list, &count, &damaged, &lost) ==
                    TM_OK);
    CU_ASSERT_FATAL(list[0].chunks > 5);
    struct transfer t = {.to = &to, .check = {.from = 500}};
    CU_ASSERT_FATAL(tm_snapshot_writer_new(&to.env.ctx, &list[0], on_changed, &to, &t.writer) ==
                    TM_OK);
    CU_ASSERT(tm_snapshot_writer_room(t.writer)); /* the first one needs no waiting */
    struct tm_snapshot_reader *r = NULL;
    for (uint64_t i = 0; i < list[0].chunks; i++) {
        if (r == NULL || i % 4 == 3) { /* the leader changed: another reader goes on */
            if (r != NULL)
                tm_snapshot_reader_close(r, NULL);
            CU_ASSERT_FATAL(tm_snapshot_reader_new(&from.env.ctx, &list[0], &r) == TM_OK);
        }
        uint64_t next = tm_snapshot_writer_chunks(t.writer);
        CU_ASSERT_FATAL(tm_snapshot_read(r, next, on_chunk, &t) == TM_OK);
        CU_ASSERT(tm_snapshot_read(r, next, on_chunk, &t) == TM_ERR_FULL);
        tm_sim_disk_drain(from.env.sd);
        CU_ASSERT_FATAL(t.done == i + 1 && t.err == TM_OK);
    }
    CU_ASSERT(tm_snapshot_read(r, list[0].chunks, on_chunk, &t) == TM_ERR_NOTFOUND);
    tm_snapshot_reader_close(r, NULL);
    tm_sim_disk_drain(from.env.sd);
    tm_snapshot_writer_finish(t.writer, 0, &list[0]);
    tm_sim_disk_drain(to.env.sd);
    CU_ASSERT_FATAL(tm_snapshot_writer_state(t.writer) == TM_SNAPSHOT_COMPLETE);
    tm_snapshot_writer_publish(t.writer);
    tm_sim_disk_drain(to.env.sd);
    tm_snapshot_writer_close(t.writer, NULL);
    CU_ASSERT(load_newest(&to, 700, &damaged) == 500 && !damaged);
    CU_ASSERT(t.check.next == 700);
    env_done(&from.env);
    env_done(&to.env);
}

static void a_transfer_that_ends_too_early_is_no_snapshot(void)
{
    struct fixture f;
    bool damaged;
    setup(&f, tm_test_seed());
    struct tm_snapshot_info info = info_of(500), expected = info_of(500);
    struct tm_snapshot_writer *w;
    expected.chunks = 3;
    CU_ASSERT_FATAL(tm_snapshot_writer_new(&f.env.ctx, &info, on_changed, &f, &w) == TM_OK);
    tm_snapshot_writer_finish(w, 0, &expected);
    tm_sim_disk_drain(f.env.sd);
    CU_ASSERT(tm_snapshot_writer_state(w) == TM_SNAPSHOT_FAILED);
    CU_ASSERT(tm_snapshot_writer_error(w) == TM_ERR_CORRUPT);
    tm_snapshot_writer_close(w, NULL);
    tm_sim_disk_drain(f.env.sd);
    CU_ASSERT(load_newest(&f, 0, &damaged) == 0);
    env_done(&f.env);
}

static void a_rotten_chunk_is_never_sent(void)
{
    struct fixture f;
    struct tm_snapshot_info list[2];
    unsigned count;
    struct tm_snapshot_lost lost;
    bool damaged;
    char name[TM_SNAP_NAME_MAX];
    setup(&f, tm_test_seed());
    write_one(&f, 500, 100);
    CU_ASSERT_FATAL(tm_snapshot_list(&f.env.ctx, 3, CLUSTER, list, &count, &damaged, &lost) ==
                    TM_OK);
    tm_snap_name_file(name, 3, 500, 510);
    CU_ASSERT_FATAL(tm_sim_disk_flip(f.env.sd, name, TM_SNAP_PAGE + 5000, 1));
    struct tm_snapshot_reader *r;
    CU_ASSERT_FATAL(tm_snapshot_reader_new(&f.env.ctx, &list[0], &r) == TM_OK);
    struct transfer t = {0};
    CU_ASSERT(tm_snapshot_read(r, 0, on_chunk, &t) == TM_OK);
    tm_sim_disk_drain(f.env.sd);
    CU_ASSERT(t.done == 1 && t.err == TM_ERR_CORRUPT);
    tm_snapshot_reader_close(r, NULL);
    tm_sim_disk_drain(f.env.sd);
    env_done(&f.env);
}

/* So many count, and the furthest that cannot be read was of that record. */
static void expect_lost(struct fixture *f, unsigned expected, uint64_t index, uint64_t hash)
{
    struct tm_snapshot_info list[2];
    struct tm_snapshot_lost lost;
    unsigned count;
    bool damaged;
    CU_ASSERT(tm_snapshot_list(&f->env.ctx, 3, CLUSTER, list, &count, &damaged, &lost) == TM_OK);
    CU_ASSERT_EQUAL(count, expected);
    CU_ASSERT(lost.index == index && lost.hash == hash);
}

static void spoil(struct fixture *f, uint64_t from, uint64_t at)
{
    char name[TM_SNAP_NAME_MAX];
    tm_snap_name_file(name, 3, from, from + 10);
    CU_ASSERT_TRUE_FATAL(tm_sim_disk_flip(f->env.sd, name, at, 1));
}

/* Also after more starts, whatever of the damage is durable; and of the two that count it leaves
 * one its place. */
static void a_lost_end_is_known_until_a_snapshot_reaches_it(uint64_t spoilt_at, uint64_t hash)
{
    struct fixture f;
    bool damaged;
    setup(&f, tm_test_seed());
    write_one(&f, 100, 60);
    write_one(&f, 200, 60);
    expect_lost(&f, 2, 0, 0);
    spoil(&f, 200, spoilt_at);
    CU_ASSERT(load_newest(&f, 60, &damaged) == 100 && damaged);
    for (unsigned i = 0; i < 3; i++) {
        expect_lost(&f, 1, 200, hash);
        tm_sim_disk_crash(f.env.sd, i == 1 ? 100 : 0);
    }
    write_one(&f, 150, 60);
    expect_lost(&f, 1, 200, hash);
    CU_ASSERT(load_newest(&f, 60, &damaged) == 150 && !damaged);
    write_one(&f, 160, 60);
    expect_lost(&f, 1, 200, hash);
    CU_ASSERT_EQUAL(files_like(&f, ""), 1);
    write_one(&f, 300, 60);
    expect_lost(&f, 2, 0, 0);
    CU_ASSERT(load_newest(&f, 60, &damaged) == 300 && !damaged);
    env_done(&f.env);
}

static void where_a_lost_one_ended_stays_known(void)
{
    a_lost_end_is_known_until_a_snapshot_reaches_it(TM_SNAP_PAGE + 200, 200);
    a_lost_end_is_known_until_a_snapshot_reaches_it(100, 0);
}

static void without_the_pointer_all_names_count(void)
{
    struct fixture f;
    char name[TM_SNAP_NAME_MAX];
    setup(&f, tm_test_seed());
    write_one(&f, 100, 60);
    write_one(&f, 200, 60);
    tm_snap_name_current(name, 3, false);
    CU_ASSERT_TRUE_FATAL(tm_sim_disk_flip(f.env.sd, name, 9, 1));
    expect_lost(&f, 2, 0, 0); /* there is another copy */
    CU_ASSERT_TRUE_FATAL(tm_sim_disk_flip(f.env.sd, name, TM_SNAP_PAGE + 9, 1));
    expect_lost(&f, 0, 200, 0);
    env_done(&f.env);
}

static const struct tm_test tests[] = {
    TM_TEST(a_snapshot_is_loaded_as_it_was_written),
    TM_TEST(two_are_kept),
    TM_TEST(the_pointer_flips_only_when_it_is_published),
    TM_TEST(a_crash_at_any_step_leaves_one_that_loads),
    TM_TEST(one_that_was_found_is_there_after_a_power_loss),
    TM_TEST(a_writer_may_be_closed_at_any_step),
    TM_TEST(what_was_closed_is_freed_when_the_process_dies),
    TM_TEST(one_that_counts_outlives_another_of_its_range),
    TM_TEST(damage_is_found_reported_kept_and_the_older_one_serves),
    TM_TEST(where_a_lost_one_ended_stays_known),
    TM_TEST(without_the_pointer_all_names_count),
    TM_TEST(a_full_or_failing_disk_leaves_the_last_one),
    TM_TEST(a_snapshot_is_sent_chunk_by_chunk_and_can_be_resumed),
    TM_TEST(a_transfer_that_ends_too_early_is_no_snapshot),
    TM_TEST(a_rotten_chunk_is_never_sent),
};

TM_TEST_MAIN("storage/snapshot", tests)
