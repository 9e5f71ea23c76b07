/* Whole clusters in virtual time: whatever happens to nodes, disks and wires, nothing acknowledged
 * is lost, nothing refused happens, and in the end all copies are equal. */
#include "tests/sim/settle.h"
#include "tests/sim/sim_oracle.h"

static const struct tm_sim_load_config LOAD = {
    .clients = 6, .registers = 6, .counters = 4, .pause_ns = TM_MS(8), .value_bytes = 200};
static const struct tm_sim_load_config HEAVY = {
    .clients = 12, .registers = 6, .counters = 4, .pause_ns = TM_MS(2), .value_bytes = 400};

/* Everything is well again, so everything must be there. */
static void expect_whole(struct tm_sim *sim, struct tm_sim_load *load)
{
    for (unsigned i = 0; i < tm_sim_config_of(sim)->nodes; i++) {
        tm_sim_isolate(sim, i, false);
        tm_sim_pause(sim, i, false);
    }
    start_all(sim);
    expect_sound(sim, load);
}

static void report(const struct tm_sim *sim, const struct tm_sim_load *load)
{
    struct tm_sim_load_stats st = tm_sim_load_stats(load);
    printf("  %.1f s:", (double)tm_sim_now(sim) / 1e9);
#define X(field) printf(" " #field " %llu", (unsigned long long)st.field);
    TM_SIM_LOAD_STATS(X)
#undef X
    printf("\n");
    fflush(stdout);
}

static uint64_t seed_of_test(void)
{
    uint64_t seed = tm_test_seed();
    fflush(stdout); /* an assertion of the product ends the process */
    return seed;
}

/* What may happen to one node, as bits. */
enum hit {
    HIT_KILL = 1,
    HIT_POWER = 2,
    HIT_ISOLATE = 4,
    HIT_PAUSE = 8,
    HIT_STOP = 16,
    HIT_ALL_POWER = 32,
    HIT_WIPE = 64,
    HIT_STALL = 128,
};

struct storm {
    struct tm_sim *sim;
    struct tm_sim_load *load;
    struct tm_sim_oracle *oracle;
    unsigned nodes;
};

static void begin(struct storm *s, const struct tm_sim_config *c,
                  const struct tm_sim_load_config *load)
{
    *s = (struct storm){.sim = tm_sim_new(c), .nodes = c->nodes};
    s->oracle = tm_sim_oracle_new(s->sim);
    create(s->sim);
    s->load = tm_sim_load_new(s->sim, load);
}

static void end(struct storm *s)
{
    expect_whole(s->sim, s->load);
    report(s->sim, s->load);
    if (tm_sim_wrongs(s->sim) > 0)
        printf("  %s\n", tm_sim_wrong_text(s->sim));
    CU_ASSERT_EQUAL(tm_sim_wrongs(s->sim), 0);
    tm_sim_load_free(s->load);
    tm_sim_oracle_free(s->oracle);
    tm_sim_free(s->sim);
}

static uint64_t some_ms(struct storm *s, uint64_t from, uint64_t to)
{
    return TM_MS(from + tm_sim_draw(s->sim, to - from));
}

static void power_of_all(struct storm *s)
{
    for (unsigned i = 0; i < s->nodes; i++)
        tm_sim_end(s->sim, i, TM_SIM_POWER);
    for (unsigned i = 0; i < s->nodes; i++) {
        CU_ASSERT_TRUE_FATAL(tm_sim_start(s->sim, (i + 1) % s->nodes));
        tm_sim_run_for(s->sim, some_ms(s, 0, 50));
    }
}

/* Wiped only while all others are whole, and waited for. */
static void wipe(struct storm *s, unsigned node)
{
    start_all(s->sim);
    tm_sim_run_for(s->sim, TM_SECONDS(1)); /* whoever is gone is missed by then */
    if (!tm_sim_run_until(s->sim, whole, s->sim, TM_SECONDS(20)))
        return;
    tm_sim_end(s->sim, node, TM_SIM_KILL);
    tm_sim_wipe(s->sim, node);
    tm_sim_run_for(s->sim, some_ms(s, 0, 400));
    CU_ASSERT_TRUE_FATAL(tm_sim_start(s->sim, node));
    tm_sim_run_for(s->sim, TM_SECONDS(1));
    CU_ASSERT_TRUE(tm_sim_run_until(s->sim, whole, s->sim, TM_SECONDS(30)));
}

static void hit(struct storm *s, enum hit what)
{
    unsigned node = (unsigned)tm_sim_draw(s->sim, s->nodes);
    switch (what) {
    case HIT_KILL:
    case HIT_POWER:
        tm_sim_end(s->sim, node, what == HIT_KILL ? TM_SIM_KILL : TM_SIM_POWER);
        tm_sim_run_for(s->sim, some_ms(s, 1, 800));
        CU_ASSERT_TRUE_FATAL(tm_sim_start(s->sim, node));
        break;
    case HIT_ISOLATE:
        tm_sim_isolate(s->sim, node, true);
        tm_sim_run_for(s->sim, some_ms(s, 1, 2000));
        tm_sim_isolate(s->sim, node, false);
        break;
    case HIT_PAUSE:
        tm_sim_pause(s->sim, node, true);
        tm_sim_run_for(s->sim, some_ms(s, 1, 1000));
        tm_sim_pause(s->sim, node, false);
        break;
    case HIT_STOP:
        CU_ASSERT_TRUE(tm_sim_stop(s->sim, node, TM_SECONDS(5)));
        tm_sim_run_for(s->sim, some_ms(s, 1, 300));
        CU_ASSERT_TRUE_FATAL(tm_sim_start(s->sim, node));
        break;
    case HIT_ALL_POWER:
        power_of_all(s);
        break;
    case HIT_WIPE:
        wipe(s, node);
        break;
    case HIT_STALL:
        tm_sim_disk_stall(tm_sim_disk_of(s->sim, node), true);
        tm_sim_run_for(s->sim, some_ms(s, 1, 2500));
        tm_sim_disk_stall(tm_sim_disk_of(s->sim, node), false);
        break;
    }
}

static void storm(const struct tm_sim_config *c, const struct tm_sim_load_config *load,
                  unsigned hits, unsigned kinds)
{
    struct storm s;
    begin(&s, c, load);
    while (hits > 0) {
        unsigned what = 1u << tm_sim_draw(s.sim, 8);
        if ((what & kinds) == 0)
            continue;
        tm_sim_run_for(s.sim, some_ms(&s, 10, 500));
        hit(&s, (enum hit)what);
        hits--;
    }
    tm_sim_run_for(s.sim, TM_MS(500));
    end(&s);
}

static void a_cluster_comes_up_and_serves(void)
{
    struct tm_sim_config c;
    struct storm s;
    tm_sim_config_default(&c, seed_of_test());
    begin(&s, &c, &LOAD);
    tm_sim_run_for(s.sim, TM_SECONDS(2));
    CU_ASSERT(tm_sim_load_stats(s.load).acked > 200);
    CU_ASSERT_EQUAL(tm_sim_load_stats(s.load).refused, 0);
    CU_ASSERT_EQUAL(tm_sim_load_stats(s.load).unknown, 0);
    end(&s);
}

static void nothing_acknowledged_is_lost_when_processes_die(void)
{
    struct tm_sim_config c;
    tm_sim_config_default(&c, seed_of_test());
    storm(&c, &LOAD, 12, HIT_KILL);
}

static void nothing_acknowledged_is_lost_when_power_goes(void)
{
    struct tm_sim_config c;
    tm_sim_config_default(&c, seed_of_test());
    storm(&c, &HEAVY, 12, HIT_POWER | HIT_ALL_POWER);
}

static void cut_off_and_stopped_nodes_harm_nobody(void)
{
    struct tm_sim_config c;
    tm_sim_config_default(&c, seed_of_test());
    storm(&c, &LOAD, 10, HIT_ISOLATE | HIT_PAUSE | HIT_STALL);
}

static void clean_restarts_lose_nothing(void)
{
    struct tm_sim_config c;
    tm_sim_config_default(&c, seed_of_test());
    storm(&c, &LOAD, 10, HIT_STOP);
}

static void a_bad_wire_loses_nothing(void)
{
    struct tm_sim_config c;
    tm_sim_config_default(&c, seed_of_test());
    c.wire.lose = 300;
    c.wire.twice = 200;
    c.wire.max_ns = TM_MS(2);
    c.wire.max_frame = 1400;
    c.wire.silent = true;
    storm(&c, &LOAD, 8, HIT_KILL | HIT_POWER);
}

static void one_copy_survives_its_node(void)
{
    struct tm_sim_config c;
    tm_sim_config_default(&c, seed_of_test());
    c.copies = 1;
    storm(&c, &LOAD, 10, HIT_KILL | HIT_POWER | HIT_ALL_POWER | HIT_STOP);
}

static void two_copies_and_a_witness_lose_nothing(void)
{
    struct tm_sim_config c;
    tm_sim_config_default(&c, seed_of_test());
    c.copies = 2;
    storm(&c, &LOAD, 14, HIT_KILL | HIT_POWER | HIT_ALL_POWER | HIT_ISOLATE | HIT_PAUSE);
}

static void five_copies_lose_nothing(void)
{
    struct tm_sim_config c;
    tm_sim_config_default(&c, seed_of_test());
    c.nodes = 5;
    c.copies = 5;
    c.workers[0] = 1;
    storm(&c, &LOAD, 8, HIT_KILL | HIT_POWER | HIT_ALL_POWER | HIT_ISOLATE);
}

static void a_wiped_node_gets_everything_back(void)
{
    struct tm_sim_config c;
    tm_sim_config_default(&c, seed_of_test());
    storm(&c, &LOAD, 4, HIT_WIPE);
}

static void anything_may_happen(void)
{
    struct tm_sim_config c;
    tm_sim_config_default(&c, seed_of_test());
    c.wire.lose = 20;
    c.wire.twice = 20;
    storm(&c, &HEAVY, 12, 0xff);
}

static const struct tm_test tests[] = {
    TM_TEST(a_cluster_comes_up_and_serves),
    TM_TEST(nothing_acknowledged_is_lost_when_processes_die),
    TM_TEST(nothing_acknowledged_is_lost_when_power_goes),
    TM_TEST(cut_off_and_stopped_nodes_harm_nobody),
    TM_TEST(clean_restarts_lose_nothing),
    TM_TEST(a_bad_wire_loses_nothing),
    TM_TEST(one_copy_survives_its_node),
    TM_TEST(two_copies_and_a_witness_lose_nothing),
    TM_TEST(five_copies_lose_nothing),
    TM_TEST(a_wiped_node_gets_everything_back),
    TM_TEST(anything_may_happen),
};

TM_TEST_MAIN("sim/cluster", tests)
