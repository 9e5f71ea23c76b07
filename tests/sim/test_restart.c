/* Small logs: leaders give up their logs' beginnings, copies get snapshots, and all the while every
 * partition has a leader that serves; after restarts, and while a disk is full. */
#include "actors/partition.h"
#include "runtime/counters.h"
#include "tests/sim/settle.h"

#define PARTITIONS 48
#define OLDEST     "wal/g0001/w00-00000001.seg"

static const struct tm_sim_load_config LIGHT = {
    .clients = 6, .registers = 8, .counters = 4, .pause_ns = TM_MS(100), .value_bytes = 400};
static const struct tm_sim_load_config HEAVY = {
    .clients = 6, .registers = 8, .counters = 4, .pause_ns = TM_MS(5), .value_bytes = 400};

struct world {
    struct tm_sim *sim;
    struct tm_sim_load *load;
    unsigned nodes;
};

static void slow_world(struct tm_sim_config *c, unsigned workers)
{
    uint64_t seed = tm_test_seed();
    fflush(stdout); /* an assertion of the product ends the process */
    tm_sim_config_default(c, seed);
    c->workers[0] = workers;
    c->partitions = PARTITIONS;
    c->disk_max_ns = TM_MS(3);
    c->open_ns = TM_MS(200);
}

static void small_log(struct tm_sim_config *c, unsigned workers)
{
    slow_world(c, workers);
    c->options.wal_segment_bytes = TM_KIB(256);
    c->options.wal_bytes = TM_MIB(2);
    c->options.max_entity_bytes = TM_KIB(64);
}

static void begin(struct world *w, const struct tm_sim_config *c,
                  const struct tm_sim_load_config *load)
{
    *w = (struct world){.sim = tm_sim_new(c), .nodes = c->nodes};
    create(w->sim);
    w->load = tm_sim_load_new(w->sim, load);
}

static void end(struct world *w)
{
    expect_sound(w->sim, w->load);
    tm_sim_load_free(w->load);
    tm_sim_free(w->sim);
}

/* All are asked to end at once, as `tidemill down` does. */
static void stop_all(struct world *w)
{
    for (unsigned i = 0; i < w->nodes; i++)
        tm_sim_ask_stop(w->sim, i);
    for (unsigned i = 0; i < w->nodes; i++)
        CU_ASSERT_TRUE(tm_sim_stop(w->sim, i, TM_SECONDS(10)));
}

static void start_with(struct world *w, unsigned workers, uint64_t apart_ms)
{
    for (unsigned i = 0; i < w->nodes; i++) {
        tm_sim_set_workers(w->sim, i, workers);
        start_node(w->sim, i);
        tm_sim_run_for(w->sim, TM_MS(tm_sim_draw(w->sim, apart_ms)));
    }
}

static uint64_t sum(struct world *w, enum tm_counter counter)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < w->nodes; i++)
        for (unsigned k = 0; k < tm_sim_workers(w->sim, i); k++)
            n += tm_counter_get(tm_sim_counters(w->sim, i, k), counter);
    return n;
}

/* All nodes end and start again at about the same time, with other worker counts.  Workers open
 * their logs one after the other, and peers come up in between. */
static void restart_with(struct world *w, unsigned workers)
{
    tm_sim_run_for(w->sim, TM_SECONDS(1));
    stop_all(w);
    start_with(w, workers, 1000);
    CU_ASSERT_TRUE(tm_sim_run_until(w->sim, whole, w->sim, TM_SECONDS(20)));
    uint64_t changes = sum(w, TM_COUNTER_leader_changes);
    tm_sim_run_for(w->sim, TM_SECONDS(8));
    changes = sum(w, TM_COUNTER_leader_changes) - changes;
    CU_ASSERT(changes <= 2 * (PARTITIONS + 1)); /* preferred leaders take over, once */
    CU_ASSERT_TRUE(tm_sim_run_until(w->sim, whole, w->sim, TM_SECONDS(20)));
}

static void worker_counts_may_change_between_starts(void)
{
    static const unsigned counts[] = {2, 1, 3, 1, 3};
    struct tm_sim_config c;
    struct world w;
    slow_world(&c, 1);
    begin(&w, &c, &LIGHT);
    for (unsigned i = 0; i < sizeof counts / sizeof counts[0]; i++)
        restart_with(&w, counts[i]);
    CU_ASSERT_EQUAL(sum(&w, TM_COUNTER_snapshots_sent), 0); /* every copy finds its log again */
    CU_ASSERT_EQUAL(sum(&w, TM_COUNTER_snapshots_failed), 0);
    tm_sim_run_for(w.sim, TM_SECONDS(15));
    restart_with(&w, 3); /* older generations were given up, and are removed */
    for (unsigned i = 0; i < w.nodes; i++)
        CU_ASSERT_FALSE(tm_sim_disk_exists(tm_sim_disk_of(w.sim, i), OLDEST));
    end(&w);
}

static void worker_counts_may_change_with_tiny_logs_under_load(void)
{
    static const unsigned counts[] = {3, 1, 3};
    struct tm_sim_config c;
    struct world w;
    small_log(&c, 2);
    begin(&w, &c, &HEAVY);
    for (unsigned i = 0; i < sizeof counts / sizeof counts[0]; i++)
        restart_with(&w, counts[i]);
    end(&w);
}

static void a_snapshot_that_fails_is_not_taken_again_at_once(void)
{
    struct tm_sim_config c;
    struct world w;
    small_log(&c, 2);
    c.options.wal_bytes = 2 * c.options.wal_segment_bytes; /* always under pressure */
    begin(&w, &c, &HEAVY);
    tm_sim_run_for(w.sim, TM_SECONDS(1));
    for (unsigned i = 0; i < w.nodes; i++)
        tm_sim_disk_set_capacity(tm_sim_disk_of(w.sim, i), 1);
    uint64_t before = sum(&w, TM_COUNTER_snapshots_failed);
    tm_sim_run_for(w.sim, TM_SECONDS(2));
    uint64_t failed = sum(&w, TM_COUNTER_snapshots_failed) - before;
    CU_ASSERT(failed > 0);
    CU_ASSERT(failed <= 1500); /* not 8,000: on six workers four at a time, ten times a second */
    for (unsigned i = 0; i < w.nodes; i++)
        tm_sim_disk_set_capacity(tm_sim_disk_of(w.sim, i), 0);
    CU_ASSERT_TRUE(tm_sim_run_until(w.sim, whole, w.sim, TM_SECONDS(20)));
    end(&w);
}

/* ---- copies that were away ---- */

static const struct tm_wal *wal_of(struct world *w, unsigned node)
{
    const struct tm_partition *p = NULL;
    for (uint32_t id = 0; p == NULL; id++)
        p = tm_shard_partition(tm_sim_shard(w->sim, node, 0), id);
    return tm_log_set_wal(p->env->logs);
}

static void a_copy_that_was_away_for_a_moment_is_sent_no_snapshot(void)
{
    struct tm_sim_config c;
    struct world w;
    small_log(&c, 1);
    c.options.wal_bytes = TM_MIB(4);
    begin(&w, &c, &HEAVY);
    tm_sim_run_for(w.sim, TM_SECONDS(4));
    CU_ASSERT(sum(&w, TM_COUNTER_snapshots_written) > 2 * PARTITIONS);
    for (unsigned i = 0; i < 12; i++) {
        tm_sim_isolate(w.sim, i % w.nodes, true);
        tm_sim_run_for(w.sim, TM_MS(50));
        tm_sim_isolate(w.sim, i % w.nodes, false);
        CU_ASSERT_TRUE(tm_sim_run_until(w.sim, whole, w.sim, TM_SECONDS(20)));
    }
    CU_ASSERT_EQUAL(sum(&w, TM_COUNTER_snapshots_sent), 0);
    end(&w);
}

static void a_copy_that_is_away_for_long_stops_no_writes(void)
{
    struct tm_sim_config c;
    struct world w;
    small_log(&c, 1);
    c.options.wal_bytes = TM_MIB(4);
    begin(&w, &c, &HEAVY);
    tm_sim_end(w.sim, 2, TM_SIM_POWER);
    tm_sim_run_for(w.sim, TM_SECONDS(2)); /* segments are made */
    uint64_t refused = sum(&w, TM_COUNTER_refused_diskfull);
    for (unsigned i = 0; i < 10; i++) {
        uint64_t acked = tm_sim_load_stats(w.load).acked;
        tm_sim_run_for(w.sim, TM_SECONDS(2));
        CU_ASSERT(tm_sim_load_stats(w.load).acked > acked + 500);
    }
    CU_ASSERT_EQUAL(sum(&w, TM_COUNTER_refused_diskfull), refused);
    start_node(w.sim, 2);
    CU_ASSERT_TRUE(tm_sim_run_until(w.sim, whole, w.sim, TM_SECONDS(20)));
    CU_ASSERT(sum(&w, TM_COUNTER_snapshots_sent) > 0);
    end(&w);
}

static void a_full_disk_gets_back_what_snapshots_hold(void)
{
    struct tm_sim_config c;
    struct world w;
    small_log(&c, 1);
    c.options.wal_bytes = TM_MIB(64); /* never under pressure */
    begin(&w, &c, &HEAVY);
    tm_sim_end(w.sim, 2, TM_SIM_POWER); /* the leaders would spare what it lacks */
    while (tm_wal_held_bytes(wal_of(&w, 0)) < TM_MIB(6))
        tm_sim_run_for(w.sim, TM_MS(100));
    for (uint32_t id = 0; id <= PARTITIONS; id++)
        while (!tm_sim_snapshot(w.sim, 0, id)) /* as many as may be are being taken */
            tm_sim_run_for(w.sim, TM_MS(5));
    tm_sim_run_for(w.sim, TM_MS(200));
    uint64_t held = tm_wal_held_bytes(wal_of(&w, 0)), lowest = held;
    struct tm_sim_disk *disk = tm_sim_disk_of(w.sim, 0);
    tm_sim_disk_set_capacity(disk, tm_sim_disk_used(disk));
    for (unsigned i = 0; i < 500; i++) { /* what it gets back is used again */
        tm_sim_run_for(w.sim, TM_MS(10));
        lowest = tm_min_u64(lowest, tm_wal_held_bytes(wal_of(&w, 0)));
    }
    CU_ASSERT(lowest < held / 2);
    tm_sim_disk_set_capacity(disk, 0);
    start_node(w.sim, 2);
    CU_ASSERT_TRUE(tm_sim_run_until(w.sim, whole, w.sim, TM_SECONDS(20)));
    end(&w);
}

static const struct tm_test tests[] = {
    TM_TEST(a_copy_that_was_away_for_a_moment_is_sent_no_snapshot),
    TM_TEST(a_copy_that_is_away_for_long_stops_no_writes),
    TM_TEST(a_full_disk_gets_back_what_snapshots_hold),
    TM_TEST(a_snapshot_that_fails_is_not_taken_again_at_once),
    TM_TEST(worker_counts_may_change_between_starts),
    TM_TEST(worker_counts_may_change_with_tiny_logs_under_load),
};

TM_TEST_MAIN("sim/restart", tests)
