/* A linked cluster that is away for longer than tombstoneMaxAge, played by hand: tombstones go
 * without it, its streams stand, and nothing that was deleted comes back with it. */
#include "actors/link_operator.h"
#include "actors/link_plan.h"
#include "actors/shard_internal.h"
#include "runtime/counters.h"
#include "tests/sim/mesh_world.h"

#include <stdlib.h>

#define AGE "tombstoneMaxAge=60s"

static const unsigned both_ways[CLUSTERS] = {6, 5, 3};

static uint64_t counted(struct mesh *m, unsigned cluster, enum tm_counter id)
{
    return tm_counter_get(tm_sim_counters(tm_sim_world_cluster(m->w, cluster), 0, 0), id);
}

static bool has_reply(void *arg)
{
    const struct client *c = arg;
    return c->len > 0 || c->closed;
}

/* The next version of the cluster's directory has that line. */
static void say(struct mesh *m, unsigned cluster, const char *name, const char *value)
{
    static struct tm_directory next;
    char head[64];
    struct client *c = m->client[cluster];
    tm_sim_world_run_for(m->w, TM_SECONDS(1));
    next = *tm_sim_shard(tm_sim_world_cluster(m->w, cluster), 0, 0)->directory;
    next.version++;
    CU_ASSERT_EQUAL(tm_link_facts_put(next.facts, sizeof next.facts, name, value), TM_OK);
    next.facts_len = (uint32_t)strlen(next.facts);
    size_t len = tm_directory_size(&next);
    uint8_t *bytes = malloc(len);
    TM_ASSERT(bytes != NULL);
    tm_directory_encode(&next, bytes);
    int n = snprintf(head, sizeof head, "*2\r\n$15\r\nTIDEMILL.CHANGE\r\n$%zu\r\n", len);
    client_send(c, tm_bytes_of(head, (size_t)n));
    tm_sim_send(c->conn, tm_bytes_of(bytes, len));
    tm_sim_send(c->conn, tm_bytes_str("\r\n"));
    CU_ASSERT_TRUE_FATAL(tm_sim_world_run_until(m->w, has_reply, c, TM_SECONDS(10)));
    CU_ASSERT_STRING_EQUAL(c->reply, "+OK\r\n");
    free(bytes);
}

/* As `tidemill link rewind SOURCE TARGET`. */
static void rewind_link(struct mesh *m, unsigned source, unsigned target)
{
    char name[64], value[32];
    const struct tm_shard *s = tm_sim_shard(tm_sim_world_cluster(m->w, target), 0, 0);
    snprintf(name, sizeof name, "op:from:%s/rewind", tm_sim_world_name(source));
    snprintf(value, sizeof value, "%016llx",
             (unsigned long long)tm_hlc_pack(tm_ctx_wall_ms(s->ctx), 0));
    say(m, target, name, value);
}

static void expect_info(struct mesh *m, unsigned cluster, const char *text)
{
    const char *info = ask(m, cluster, "INFO links");
    if (strstr(info, text) == NULL)
        printf("  no %s at %s in %s\n", text, tm_sim_world_name(cluster), info);
    CU_ASSERT_PTR_NOT_NULL(strstr(info, text));
}

/* What was sent and is still under way is lost. */
static void restart(struct mesh *m, unsigned cluster)
{
    struct tm_sim *sim = tm_sim_world_cluster(m->w, cluster);
    tm_sim_world_run_for(m->w, TM_SECONDS(5));
    leave(m->client[cluster]);
    tm_sim_end(sim, 0, TM_SIM_POWER_NONE_KEPT);
    create(sim);
    m->client[cluster] = client_of(sim, 0, 0);
}

/* North has A:1 and A:2, and is away when they are deleted elsewhere; it writes on meanwhile. */
static struct mesh north_is_away(uint64_t seed, const unsigned to[CLUSTERS], uint64_t ns)
{
    struct mesh m = new_links(seed, to, AGE);
    tm_sim_world_run_for(m.w, TM_SECONDS(2));
    ask(&m, NORTH, "HSET A:1 f 1 g 2");
    ask(&m, NORTH, "SET A:2 x");
    ask(&m, EAST, "HSET A:6 f 1 g 2");
    ask(&m, EAST, "SADD C:7 a b");
    tm_sim_world_run_for(m.w, TM_SECONDS(10));
    cut(&m, NORTH, true);
    bury_some(&m);
    ask(&m, EAST, "HDEL A:6 f");
    ask(&m, EAST, "SREM C:7 a");
    ask(&m, NORTH, "SADD D:8 before");
    restart(&m, EAST);
    restart(&m, WEST);
    tm_sim_world_run_for(m.w, ns);
    ask(&m, NORTH, "SADD D:9 late");
    ask(&m, EAST, "SADD D:10 late");
    return m;
}

static void expect_nothing_deleted_at(struct mesh *m, unsigned cluster)
{
    expect(m, cluster, "HEXISTS A:1 f", ":0\r\n");
    expect(m, cluster, "EXISTS A:2 B:3", ":0\r\n");
    expect(m, cluster, "HEXISTS A:6 f", ":0\r\n");
    expect(m, cluster, "SISMEMBER C:7 a", ":0\r\n");
}

static void tombstones_go_without_who_is_away_too_long_and_nothing_comes_back(void)
{
    struct mesh m = north_is_away(1, both_ways, TM_SECONDS(200));
    CU_ASSERT_EQUAL(kept_at(&m, EAST).shadows + kept_at(&m, WEST).shadows, 0);
    CU_ASSERT(counted(&m, EAST, TM_COUNTER_link_snapshot_required) > 0);
    CU_ASSERT(counted(&m, WEST, TM_COUNTER_link_snapshot_required) > 0);
    cut(&m, NORTH, false);
    tm_sim_world_run_for(m.w, TM_SECONDS(60));
    expect_info(&m, EAST, "why=SNAPSHOT");
    expect_info(&m, NORTH, "why=SNAPSHOT");
    expect_nothing_deleted_at(&m, EAST);
    expect_nothing_deleted_at(&m, WEST);
    expect(&m, EAST, "EXISTS D:8 D:9", ":0\r\n");
    expect(&m, NORTH, "EXISTS A:2", ":1\r\n");
    rewind_link(&m, EAST, NORTH);
    rewind_link(&m, WEST, NORTH);
    tm_sim_world_run_for(m.w, TM_SECONDS(60));
    for (unsigned i = 0; i < CLUSTERS; i++) {
        expect_nothing_deleted_at(&m, i);
        expect(&m, i, "SISMEMBER D:9 late", ":1\r\n"); /* later than what was given up */
        expect(&m, i, "SISMEMBER D:10 late", ":1\r\n");
        expect(&m, i, "HGET A:1 g", "$1\r\n2\r\n");
    }
    expect_info(&m, EAST, "why=\r\n");
    expect_info(&m, WEST, "why=\r\n");
    ask(&m, NORTH, "DEL D:9");
    ask(&m, NORTH, "INCRBY B:3 5"); /* all is as before: it counts anew, and is counted */
    tm_sim_world_run_for(m.w, TM_SECONDS(60));
    expect(&m, WEST, "GET B:3", "$1\r\n5\r\n");
    expect(&m, EAST, "EXISTS D:9", ":0\r\n");
    CU_ASSERT_EQUAL(shadows(&m), 0);
    end_mesh(&m);
}

static void a_target_alone_takes_the_source_s_state_when_it_is_rewound(void)
{
    static const unsigned star[CLUSTERS] = {6, 1, 0}; /* north ships nothing */
    struct mesh m = north_is_away(2, star, TM_SECONDS(200));
    cut(&m, NORTH, false);
    tm_sim_world_run_for(m.w, TM_SECONDS(60));
    expect_info(&m, EAST, "snapshot_required=");
    expect(&m, EAST, "EXISTS D:10", ":1\r\n");
    expect(&m, NORTH, "EXISTS D:10", ":0\r\n");
    expect(&m, NORTH, "SISMEMBER C:7 a", ":1\r\n");
    expect(&m, NORTH, "EXISTS A:2", ":1\r\n");
    rewind_link(&m, EAST, NORTH);
    tm_sim_world_run_for(m.w, TM_SECONDS(60));
    expect(&m, NORTH, "EXISTS D:10", ":1\r\n");
    expect(&m, NORTH, "HEXISTS A:6 f", ":0\r\n");
    expect(&m, NORTH, "SISMEMBER C:7 a", ":0\r\n");
    expect(&m, NORTH, "SISMEMBER C:7 b", ":1\r\n");
    ask(&m, EAST, "SET D:11 more");
    tm_sim_world_run_for(m.w, TM_SECONDS(5));
    expect(&m, NORTH, "GET D:11", "$4\r\nmore\r\n");
    end_mesh(&m);
}

static void a_source_alone_goes_on_when_it_is_rewound_but_for_what_is_old(void)
{
    static const unsigned in[CLUSTERS] = {2, 1, 3}; /* to north leads nothing */
    struct mesh m = north_is_away(3, in, TM_SECONDS(200));
    cut(&m, NORTH, false);
    tm_sim_world_run_for(m.w, TM_SECONDS(60));
    expect_info(&m, NORTH, "why=SNAPSHOT");
    rewind_link(&m, NORTH, EAST);
    rewind_link(&m, NORTH, WEST);
    tm_sim_world_run_for(m.w, TM_SECONDS(60));
    for (unsigned i = EAST; i <= WEST; i++) {
        expect(&m, i, "SISMEMBER D:9 late", ":1\r\n");
        expect(&m, i, "EXISTS A:2", ":0\r\n"); /* all came again, and is passed over */
        expect(&m, i, "HEXISTS A:1 f", ":0\r\n");
    }
    ask(&m, NORTH, "SET A:2 anew");
    tm_sim_world_run_for(m.w, TM_SECONDS(5));
    expect(&m, EAST, "GET A:2", "$4\r\nanew\r\n");
    end_mesh(&m);
}

static void who_is_away_while_nothing_is_deleted_goes_on_as_if_it_had_not_been(void)
{
    struct mesh m = new_links(4, both_ways, AGE);
    ask(&m, NORTH, "SET A:2 x");
    tm_sim_world_run_for(m.w, TM_SECONDS(10));
    cut(&m, NORTH, true);
    tm_sim_world_run_for(m.w, TM_SECONDS(300));
    ask(&m, NORTH, "SET A:2 y");
    ask(&m, EAST, "SET A:3 z");
    cut(&m, NORTH, false);
    tm_sim_world_run_for(m.w, TM_SECONDS(20));
    expect(&m, EAST, "GET A:2", "$1\r\ny\r\n");
    expect(&m, NORTH, "GET A:3", "$1\r\nz\r\n");
    CU_ASSERT_EQUAL(counted(&m, EAST, TM_COUNTER_link_snapshot_required), 0);
    end_mesh(&m);
}

static void how_long_it_was_away_outlives_a_restart(void)
{
    struct mesh m = north_is_away(5, both_ways, TM_SECONDS(45));
    CU_ASSERT(kept_at(&m, EAST).shadows > 0);
    restart(&m, EAST);
    tm_sim_world_run_for(m.w, TM_SECONDS(40)); /* would not do if it was counted from here */
    CU_ASSERT_EQUAL(kept_at(&m, EAST).shadows, 0);
    cut(&m, NORTH, false);
    tm_sim_world_run_for(m.w, TM_SECONDS(30));
    expect_info(&m, EAST, "why=SNAPSHOT");
    expect_nothing_deleted_at(&m, EAST);
    end_mesh(&m);
}

static const struct tm_test tests[] = {
    {"tombstones go without who is away too long, and nothing comes back",
     tombstones_go_without_who_is_away_too_long_and_nothing_comes_back},
    {"a target alone takes the source's state when it is rewound",
     a_target_alone_takes_the_source_s_state_when_it_is_rewound},
    {"a source alone goes on when it is rewound, but for what is old",
     a_source_alone_goes_on_when_it_is_rewound_but_for_what_is_old},
    {"who is away while nothing is deleted goes on as if it had not been",
     who_is_away_while_nothing_is_deleted_goes_on_as_if_it_had_not_been},
    {"how long it was away outlives a restart", how_long_it_was_away_outlives_a_restart},
};

TM_TEST_MAIN("sim/links_away", tests)
