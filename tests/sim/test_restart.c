/* Small logs: leaders give up their logs' beginnings, copies get snapshots, and all the while every
 * partition has a leader that serves; after restarts, and while a disk is full. */
#include "runtime/counters.h"
#include "tests/sim/sim_cluster.h"
#include "tests/sim/sim_load.h"
#include "tests/test.h"

#define PARTITIONS 48

static const struct tm_sim_load_config LOAD = {
    .clients = 6, .registers = 8, .counters = 4, .pause_ns = TM_MS(5), .value_bytes = 400};

struct world {
    struct tm_sim *sim;
    struct tm_sim_load *load;
    unsigned nodes;
};

static bool converged(void *arg)
{
    char why[512];
    return tm_sim_converged(arg, why, sizeof why);
}

static bool whole(void *arg)
{
    char why[512];
    return tm_sim_whole(arg, why, sizeof why);
}

static bool load_stopped(void *arg)
{
    return tm_sim_load_stop(arg);
}

static void small_log(struct tm_sim_config *c, unsigned workers)
{
    uint64_t seed = tm_test_seed();
    fflush(stdout); /* an assertion of the product ends the process */
    tm_sim_config_default(c, seed);
    c->workers[0] = workers;
    c->partitions = PARTITIONS;
    c->options.wal_segment_bytes = TM_KIB(256);
    c->options.wal_bytes = TM_MIB(2);
    c->options.max_entity_bytes = TM_KIB(64);
    c->disk_max_ns = TM_MS(3);
    c->open_ns = TM_MS(200);
}

static void start(struct world *w, unsigned node)
{
    bool started = tm_sim_start(w->sim, node);
    if (!started)
        printf("  node %u does not start: %s\n", node, tm_sim_why(w->sim, node));
    CU_ASSERT_TRUE_FATAL(started);
}

static void begin(struct world *w, const struct tm_sim_config *c)
{
    *w = (struct world){.sim = tm_sim_new(c), .nodes = c->nodes};
    for (unsigned i = 0; i < w->nodes; i++)
        start(w, i);
    CU_ASSERT_TRUE_FATAL(tm_sim_run_until(w->sim, converged, w->sim, TM_SECONDS(10)));
    w->load = tm_sim_load_new(w->sim, &LOAD);
}

static void end(struct world *w)
{
    char why[512] = "";
    CU_ASSERT_TRUE(tm_sim_run_until(w->sim, load_stopped, w->load, TM_SECONDS(30)));
    bool good = tm_sim_run_until(w->sim, converged, w->sim, TM_SECONDS(60));
    if (!good)
        (void)tm_sim_converged(w->sim, why, sizeof why);
    else if (tm_sim_differences(w->sim, why, sizeof why) != 0)
        good = false;
    if (good)
        tm_sim_load_verify(w->load);
    else
        printf("  %s\n", why);
    CU_ASSERT_TRUE(good);
    if (tm_sim_load_wrongs(w->load) > 0)
        printf("  %s\n", tm_sim_load_wrong(w->load));
    CU_ASSERT_EQUAL(tm_sim_load_wrongs(w->load), 0);
    CU_ASSERT_EQUAL(tm_sim_fatal(w->sim), 0);
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

static void start_all(struct world *w, unsigned workers, uint64_t apart_ms)
{
    for (unsigned i = 0; i < w->nodes; i++) {
        tm_sim_set_workers(w->sim, i, workers);
        start(w, i);
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

/* Workers of a node open their logs one after the other, and peers come up in between. */
static void worker_counts_may_change_between_starts(void)
{
    static const unsigned counts[] = {2, 1, 3, 1, 3};
    struct tm_sim_config c;
    struct world w;
    small_log(&c, 1);
    begin(&w, &c);
    for (unsigned i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        tm_sim_run_for(w.sim, TM_SECONDS(1));
        stop_all(&w);
        start_all(&w, counts[i], 1000);
        CU_ASSERT_TRUE(tm_sim_run_until(w.sim, whole, w.sim, TM_SECONDS(20)));
        uint64_t changes = sum(&w, TM_COUNTER_leader_changes);
        tm_sim_run_for(w.sim, TM_SECONDS(8));
        changes = sum(&w, TM_COUNTER_leader_changes) - changes;
        CU_ASSERT(changes <= 2 * (PARTITIONS + 1)); /* preferred leaders take over, once */
        CU_ASSERT_TRUE(tm_sim_run_until(w.sim, whole, w.sim, TM_SECONDS(20)));
    }
    end(&w);
}

static void a_snapshot_that_fails_is_not_taken_again_at_once(void)
{
    struct tm_sim_config c;
    struct world w;
    small_log(&c, 2);
    c.options.wal_bytes = 2 * c.options.wal_segment_bytes; /* always under pressure */
    begin(&w, &c);
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

static const struct tm_test tests[] = {
    TM_TEST(a_snapshot_that_fails_is_not_taken_again_at_once),
    TM_TEST(worker_counts_may_change_between_starts),
};

TM_TEST_MAIN("sim/restart", tests)
