/* Clusters whose data directories were put back from copies, played by hand: a source, said to be
 * or not, a target, both ways, and three nodes of which one is lost meanwhile. */
#include "actors/links.h"
#include "storage/store_link.h"
#include "tests/sim/operator.h"
#include "tests/sim/settle.h"
#include "tests/sim/sim_hand.h"
#include "tests/sim/sim_world.h"

enum { EAST, WEST };

static struct tm_sim_world *w;
static struct tm_sim *sims[2];
static struct tm_sim_hand *at[2];
static struct tm_sim_disk *copies[TM_SIM_NODES_MAX]; /* of one cluster's nodes */

struct world {
    uint64_t seed;
    unsigned nodes;
    bool both_ways;
    const char *options;
};

static void open_world(struct world c)
{
    struct tm_sim_world_config config;
    tm_sim_world_config_default(&config, c.seed, 2);
    config.to[EAST] = 1 << WEST;
    config.to[WEST] = c.both_ways ? 1 << EAST : 0;
    for (unsigned i = 0; i < 2; i++) {
        config.cluster[i].nodes = c.nodes;
        config.cluster[i].copies = c.nodes;
        config.cluster[i].partitions = 2 + i;
        config.cluster[i].options.wal_bytes = TM_MIB(16);
        config.options[i][1 - i] = c.options;
    }
    w = tm_sim_world_new(&config);
    for (unsigned i = 0; i < 2; i++) {
        sims[i] = tm_sim_world_cluster(w, i);
        create(sims[i]);
        at[i] = tm_sim_hand_new(sims[i], 0, 0);
    }
}

static void close_world(void)
{
    for (unsigned i = 0; i < 2; i++) {
        tm_sim_hand_free(at[i]);
        CU_ASSERT_EQUAL(tm_sim_fatal(sims[i]), 0);
    }
    CU_ASSERT_STRING_EQUAL(tm_sim_world_wrong(w), "");
    tm_sim_world_free(w);
    for (unsigned i = 0; i < TM_SIM_NODES_MAX; i++) {
        if (copies[i] != NULL)
            tm_sim_disk_free(copies[i]);
        copies[i] = NULL;
    }
}

static void run(unsigned seconds)
{
    tm_sim_world_run_for(w, TM_SECONDS((uint64_t)seconds));
}

static void expect(unsigned cluster, const char *line, const char *answer)
{
    const char *got = tm_sim_hand_ask(at[cluster], line);
    if (strcmp(got, answer) != 0)
        printf("  at %s %s: %s, not %s\n", tm_sim_world_name(cluster), line, got, answer);
    CU_ASSERT_STRING_EQUAL(got, answer);
}

static uint64_t counted(unsigned cluster, enum tm_counter which)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < tm_sim_config_of(sims[cluster])->nodes; i++)
        for (unsigned k = 0; k < tm_sim_workers(sims[cluster], i); k++)
            sum += tm_counter_get(tm_sim_counters(sims[cluster], i, k), which);
    return sum;
}

/* ---- copies ---- */

static void stop_all(unsigned cluster)
{
    tm_sim_hand_free(at[cluster]);
    at[cluster] = NULL;
    for (unsigned i = 0; i < tm_sim_config_of(sims[cluster])->nodes; i++)
        if (tm_sim_is_up(sims[cluster], i))
            (void)tm_sim_stop(sims[cluster], i, TM_SECONDS(10));
}

static void go_on(unsigned cluster)
{
    start_all(sims[cluster]);
    CU_ASSERT_TRUE_FATAL(tm_sim_run_until(sims[cluster], converged, sims[cluster], TM_SECONDS(60)));
    at[cluster] = tm_sim_hand_new(sims[cluster], 0, 0);
}

static void copy_all(unsigned cluster)
{
    stop_all(cluster);
    for (unsigned i = 0; i < tm_sim_config_of(sims[cluster])->nodes; i++) {
        if (copies[i] == NULL)
            copies[i] = tm_sim_disk_new(1);
        tm_sim_disk_put_back(copies[i], tm_sim_disk_of(sims[cluster], i));
    }
    go_on(cluster);
}

/* to: what `tidemill restored` says of it; 0: nobody says anything. */
static void put_back(unsigned cluster, uint64_t from, uint64_t to)
{
    struct tm_restored r = {.from = from, .to = to};
    stop_all(cluster);
    for (unsigned i = 0; i < tm_sim_config_of(sims[cluster])->nodes; i++) {
        struct tm_sim_disk *disk = tm_sim_disk_of(sims[cluster], i);
        tm_sim_disk_put_back(disk, copies[i]);
        if (to != 0)
            CU_ASSERT_EQUAL(tm_restored_save(tm_sim_disk_table(disk), &r), TM_OK);
    }
}

static uint64_t other_incarnation(unsigned cluster, uint64_t random)
{
    uint64_t to;
    CU_ASSERT_TRUE_FATAL(tm_incarnation_draw(
        random << 40, tm_sim_shard(sims[cluster], 0, 0)->directory->uuid, 0, &to));
    return to;
}

static void expect_incarnation(unsigned cluster, uint64_t incarnation)
{
    for (unsigned i = 0; i < tm_sim_config_of(sims[cluster])->nodes; i++)
        for (unsigned k = 0; k < tm_sim_workers(sims[cluster], i); k++) {
            const struct tm_shard *s = tm_sim_shard(sims[cluster], i, k);
            CU_ASSERT_EQUAL(s->links->incarnation, incarnation);
            CU_ASSERT_EQUAL(s->env.origin, incarnation);
        }
}

/* ---- a source ---- */

/* A:1, A:2 and C:1 go on after the copy, which is then put back. */
static uint64_t lose_some(void)
{
    expect(EAST, "SET A:1 before", "OK");
    expect(EAST, "HSET H:1 f before g before", "2");
    expect(EAST, "INCRBY C:1 5", "5");
    expect(EAST, "SET D:1 kept", "OK");
    run(3);
    uint64_t to = other_incarnation(EAST, 77);
    copy_all(EAST);
    run(3);
    expect(EAST, "SET A:1 lost", "OK");
    expect(EAST, "SET A:2 lost", "OK");
    expect(EAST, "HSET H:1 f lost", "0");
    expect(EAST, "INCRBY C:1 100", "105");
    expect(EAST, "DEL D:1", "1");
    run(3);
    expect(WEST, "GET A:1", "lost");
    expect(WEST, "GET C:1", "105");
    return to;
}

/* The source was put back and said to be: it stands, and no write of it is taken. */
static void restore_source(struct world c)
{
    open_world(c);
    uint64_t to = lose_some();
    put_back(EAST, 0, to);
    go_on(EAST);
    expect(EAST, "GET A:1", "before");
    expect(EAST, "SET A:3 new", "OK");
    run(20);
    expect_incarnation(EAST, to);
    expect(WEST, "GET A:3", "(nil)");
    expect(WEST, "GET A:1", "lost");
    const char *info = tm_sim_hand_ask(at[WEST], "INFO links");
    CU_ASSERT_PTR_NOT_NULL(strstr(info, "why=INCARNATION"));
}

static void say_at_west(const char *field, uint64_t value)
{
    char name[64], hex[17];
    snprintf(name, sizeof name, "op:from:east/%s", field);
    snprintf(hex, sizeof hex, "%016llx", (unsigned long long)value);
    expect_said(sims[WEST], name, hex);
    run(30);
}

static uint64_t now_hlc(void)
{
    return tm_hlc_pack(tm_ctx_wall_ms(tm_sim_shard(sims[WEST], 0, 0)->ctx), 0);
}

static void a_rewound_target_keeps_what_the_source_lost(void)
{
    restore_source((struct world){.seed = 1, .nodes = 1});
    say_at_west("rewind", now_hlc());
    expect(WEST, "GET A:3", "new");
    expect(WEST, "GET A:1", "lost");
    expect(WEST, "GET A:2", "lost");
    expect(WEST, "EXISTS D:1", "0");
    expect(EAST, "GET A:1", "before");
    expect(EAST, "SET A:1 after", "OK"); /* is later than what was lost */
    expect(EAST, "INCRBY C:1 1", "6");
    run(3);
    expect(WEST, "GET A:1", "after");
    expect(WEST, "GET C:1", "106");
    close_world();
}

static void one_that_adopts_the_source_has_what_it_has(void)
{
    restore_source((struct world){.seed = 2, .nodes = 1});
    expect(WEST, "SET W:1 own", "OK");
    say_at_west("adopted", tm_sim_shard(sims[EAST], 0, 0)->env.origin);
    expect(WEST, "GET A:3", "new");
    expect(WEST, "GET A:1", "before");
    expect(WEST, "EXISTS A:2", "0");
    expect(WEST, "HGET H:1 f", "before");
    expect(WEST, "HGET H:1 g", "before");
    expect(WEST, "GET C:1", "5");
    expect(WEST, "GET D:1", "kept");
    expect(WEST, "GET W:1", "own");
    expect(EAST, "INCRBY C:1 1", "6");
    expect(EAST, "HSET H:1 f after", "0");
    run(3);
    expect(WEST, "GET C:1", "6");
    expect(WEST, "HGET H:1 f", "after");
    close_world();
}

static void where_a_link_leads_back_the_source_gets_back_what_it_lost(void)
{
    restore_source((struct world){.seed = 3, .nodes = 1, .both_ways = true});
    expect(WEST, "SET W:1 own", "OK");
    run(5);
    expect(EAST, "GET W:1", "own");
    expect(EAST, "GET A:1", "lost");
    expect(EAST, "GET A:2", "lost");
    expect(EAST, "GET C:1", "105");
    expect(EAST, "EXISTS D:1", "0");
    say_at_west("rewind", now_hlc());
    expect(WEST, "GET A:3", "new");
    expect(EAST, "INCRBY C:1 1", "106");
    run(3);
    expect(WEST, "INCRBY C:1 1", "107");
    run(3);
    expect(EAST, "GET C:1", "107");
    expect(WEST, "GET C:1", "107");
    close_world();
}

static bool all_diverged(void)
{
    return strstr(tm_sim_hand_ask(at[EAST], "INFO links"), "diverged=4,") != NULL;
}

/* Also once more is written than was lost: what is at the index where the target stands is another
 * record. */
static void one_of_which_nobody_says_so_stands_all_the_same(void)
{
    char line[64];
    open_world((struct world){.seed = 4, .nodes = 1});
    (void)lose_some();
    for (unsigned i = 0; i < 8; i++) {
        snprintf(line, sizeof line, "SET B:%u lost", i);
        expect(EAST, line, "OK");
    }
    run(3);
    put_back(EAST, 0, 0);
    go_on(EAST);
    run(30);
    CU_ASSERT_PTR_NOT_NULL(strstr(tm_sim_hand_ask(at[EAST], "INFO links"), "why=DIVERGED"));
    CU_ASSERT_TRUE(all_diverged());
    for (unsigned i = 0; i < 200; i++) {
        snprintf(line, sizeof line, "SET B:%u new", i);
        expect(EAST, line, "OK");
    }
    run(30);
    CU_ASSERT_TRUE(all_diverged());
    for (unsigned i = 0; i < 8; i++) {
        snprintf(line, sizeof line, "GET B:%u", i);
        expect(WEST, line, "lost");
    }
    expect(WEST, "EXISTS B:100", "0");
    close_world();
}

static void what_it_counts_is_told_from_what_it_lost(void)
{
    restore_source((struct world){.seed = 5, .nodes = 3, .both_ways = true});
    expect(EAST, "INCRBY C:1 1000", "1105"); /* in the same term as before, it may be */
    run(3);
    say_at_west("rewind", now_hlc());
    expect(WEST, "GET C:1", "1105");
    expect(EAST, "GET C:1", "1105");
    close_world();
}

static void a_second_copy_put_back_is_another_history_again(void)
{
    restore_source((struct world){.seed = 6, .nodes = 1});
    say_at_west("rewind", now_hlc());
    expect(WEST, "GET A:3", "new");
    uint64_t to = other_incarnation(EAST, 78); /* of the same copy: its directory says none */
    put_back(EAST, 0, to);
    go_on(EAST);
    expect(EAST, "SET A:4 newer", "OK");
    run(20);
    expect_incarnation(EAST, to);
    expect(WEST, "GET A:4", "(nil)");
    say_at_west("adopted", to);
    expect(WEST, "GET A:4", "newer");
    expect(WEST, "EXISTS A:2", "0");
    expect(WEST, "EXISTS A:3", "0");
    expect(WEST, "GET A:1", "before");
    close_world();
}

static void the_incarnation_outlives_whatever_happens_to_nodes(void)
{
    open_world((struct world){.seed = 7, .nodes = 3});
    uint64_t to = lose_some();
    put_back(EAST, 0, to);
    for (unsigned round = 0; round < 12; round++) {
        start_all(sims[EAST]);
        run(0);
        tm_sim_world_run_for(w, TM_MS(37 * (uint64_t)round));
        for (unsigned i = 0; i < 3; i++)
            if (tm_sim_is_up(sims[EAST], i))
                CU_ASSERT(tm_sim_shard(sims[EAST], i, 0)->directory == NULL ||
                          !tm_sim_shard(sims[EAST], i, 0)->running ||
                          tm_sim_shard(sims[EAST], i, 0)->env.origin == to);
        for (unsigned i = 0; i < 3; i++)
            tm_sim_end(sims[EAST], (i + round) % 3, round % 2 == 0 ? TM_SIM_POWER : TM_SIM_KILL);
    }
    go_on(EAST);
    run(3);
    expect_incarnation(EAST, to);
    CU_ASSERT_PTR_NOT_NULL(
        strstr(say(sims[EAST], "op:incarnation", NULL), "may change, but not go"));
    CU_ASSERT_PTR_NOT_NULL(
        strstr(say(sims[EAST], "op:incarnation", "00000000000000aa"), "none of this cluster's"));
    tm_sim_end(sims[EAST], 1, TM_SIM_KILL);
    tm_sim_wipe(sims[EAST], 1);
    start_all(sims[EAST]);
    run(10);
    expect_incarnation(EAST, to);
    say_at_west("adopted", to);
    expect(WEST, "GET A:1", "before");
    close_world();
}

/* The third node runs by the first incarnation, until the directory says another one. */
static void nodes_that_were_not_told_learn_it_as_they_run(void)
{
    char line[64];
    open_world((struct world){.seed = 12, .nodes = 3});
    uint64_t to = lose_some();
    uint32_t system = tm_sim_config_of(sims[EAST])->partitions;
    put_back(EAST, 0, to);
    CU_ASSERT_TRUE(tm_sim_disk_remove(tm_sim_disk_of(sims[EAST], 2), TM_RESTORED_FILE));
    go_on(EAST);
    (void)tm_sim_transfer(sims[EAST], 2, system, 0); /* if it leads there, nobody says it */
    run(20);
    expect_incarnation(EAST, to);
    say_at_west("adopted", to);
    for (unsigned i = 0; i < 20; i++) {
        snprintf(line, sizeof line, "SET N:%u new", i);
        expect(EAST, line, "OK");
    }
    run(3);
    for (unsigned i = 0; i < 20; i++) {
        snprintf(line, sizeof line, "GET N:%u", i);
        expect(WEST, line, "new");
    }
    expect(WEST, "GET A:1", "before");
    close_world();
}

/* ---- a target ---- */

/* Counters show it if something is taken twice, or left out. */
static void write_counters(unsigned cluster, unsigned rounds, const char *rest)
{
    char line[64];
    for (unsigned i = 0; i < rounds; i++) {
        snprintf(line, sizeof line, "INCRBY C:%u%s", i % 7, rest);
        (void)tm_sim_hand_ask(at[cluster], line);
    }
}

static void expect_same_counters(void)
{
    char line[64], value[32];
    for (unsigned i = 0; i < 7; i++) {
        snprintf(line, sizeof line, "GET C:%u", i);
        snprintf(value, sizeof value, "%s", tm_sim_hand_ask(at[EAST], line));
        CU_ASSERT_STRING_NOT_EQUAL(value, "(nil)");
        expect(WEST, line, value);
    }
}

static void fill_log(unsigned cluster)
{
    static char line[40100];
    for (unsigned i = 0; i < 500; i++) {
        int n = snprintf(line, sizeof line, "SET L:%u ", i % 3);
        memset(line + n, 'x', 40000);
        line[n + 40000] = '\0';
        CU_ASSERT_STRING_EQUAL(tm_sim_hand_ask(at[cluster], line), "OK");
    }
}

static void restore_target(struct world c, bool log_is_gone)
{
    open_world(c);
    write_counters(EAST, 50, " 3");
    expect(EAST, "SET K:1 old", "OK");
    run(3);
    copy_all(WEST);
    run(2);
    write_counters(EAST, 50, " 10");
    if (c.both_ways)
        write_counters(WEST, 30, " 100");
    expect(EAST, "DEL K:1", "1");
    expect(EAST, "SET K:2 x", "OK");
    run(3);
    expect_same_counters();
    if (log_is_gone)
        fill_log(EAST);
    run(3);
    put_back(WEST, 0, log_is_gone ? other_incarnation(WEST, 9) : 0);
    go_on(WEST);
    run(20);
    expect(WEST, "EXISTS K:1", "0");
    expect(WEST, "GET K:2", "x");
    CU_ASSERT_EQUAL(counted(EAST, TM_COUNTER_link_resyncs) > 0, log_is_gone);
}

static void a_target_that_was_put_back_gets_all_again_and_counts_it_once(void)
{
    restore_target((struct world){.seed = 8, .nodes = 1}, false);
    expect_same_counters();
    close_world();
    restore_target((struct world){.seed = 9, .nodes = 3}, false);
    expect_same_counters();
    close_world();
}

static void also_where_the_log_does_not_reach_back(void)
{
    restore_target((struct world){.seed = 10, .nodes = 1}, true);
    expect_same_counters();
    close_world();
}

static void also_what_it_had_written_itself(void)
{
    restore_target((struct world){.seed = 11, .nodes = 1, .both_ways = true}, true);
    char hex[17];
    snprintf(hex, sizeof hex, "%016llx", (unsigned long long)now_hlc());
    expect_said(sims[EAST], "op:from:west/rewind", hex);
    run(30);
    expect_same_counters();
    write_counters(WEST, 30, " 1000");
    run(5);
    expect_same_counters();
    close_world();
}

static const struct tm_test tests[] = {
    {"a rewound target keeps what the source lost", a_rewound_target_keeps_what_the_source_lost},
    {"one that adopts the source has what it has", one_that_adopts_the_source_has_what_it_has},
    {"where a link leads back the source gets back what it lost",
     where_a_link_leads_back_the_source_gets_back_what_it_lost},
    {"one of which nobody says so stands all the same",
     one_of_which_nobody_says_so_stands_all_the_same},
    {"what it counts is told from what it lost", what_it_counts_is_told_from_what_it_lost},
    {"a second copy put back is another history again",
     a_second_copy_put_back_is_another_history_again},
    {"the incarnation outlives whatever happens to nodes",
     the_incarnation_outlives_whatever_happens_to_nodes},
    {"nodes that were not told learn it as they run",
     nodes_that_were_not_told_learn_it_as_they_run},
    {"a target that was put back gets all again and counts it once",
     a_target_that_was_put_back_gets_all_again_and_counts_it_once},
    {"also where the log does not reach back", also_where_the_log_does_not_reach_back},
    {"also what it had written itself", also_what_it_had_written_itself},
};

TM_TEST_MAIN("sim/links_restore", tests)
