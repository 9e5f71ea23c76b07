/* What linked clusters keep of what is gone, played by hand: three in a mesh, links cut and mended,
 * commands at one or the other. */
#include "tests/sim/mesh_world.h"

static void what_was_written_before_a_flush_and_comes_after_it_stays_away(void)
{
    struct mesh m = new_mesh(1, "");
    ask(&m, EAST, "SET A:1 east");
    ask(&m, NORTH, "SET B:2 north");
    tm_sim_world_run_for(m.w, TM_SECONDS(3));
    expect(&m, EAST, "GET B:2", "$5\r\nnorth\r\n");
    cut(&m, NORTH, true);
    ask(&m, NORTH, "SET B:2 before");
    ask(&m, NORTH, "SET C:3 before");
    ask(&m, NORTH, "INCRBY D:4 5");
    tm_sim_world_run_for(m.w, TM_SECONDS(1));
    expect(&m, EAST, "FLUSHALL", "+OK\r\n");
    tm_sim_world_run_for(m.w, TM_SECONDS(2));
    ask(&m, NORTH, "SET E:5 after");
    expect(&m, WEST, "DBSIZE", ":0\r\n");
    cut(&m, NORTH, false);
    tm_sim_world_run_for(m.w, TM_SECONDS(15));
    for (unsigned i = 0; i < CLUSTERS; i++) {
        expect(&m, i, "DBSIZE", ":1\r\n");
        expect(&m, i, "GET E:5", "$5\r\nafter\r\n");
        expect(&m, i, "EXISTS B:2 C:3 D:4", ":0\r\n");
    }
    end_mesh(&m);
}

/* Writes large values until one is refused; how many were taken. */
static unsigned fill_up(struct mesh *m, unsigned cluster, unsigned most)
{
    static char line[40100];
    unsigned n = 0;
    for (; n < most; n++) {
        int at = snprintf(line, sizeof line, "SET A:%u ", n % 40);
        memset(line + at, 'x', 40000);
        memcpy(line + at + 40000, "\r\n", 3);
        client_send(m->client[cluster], tm_bytes_str(line));
        CU_ASSERT_TRUE_FATAL(
            tm_sim_world_run_until(m->w, answered, m->client[cluster], TM_SECONDS(5)));
        if (m->client[cluster]->reply[0] == '-')
            break;
    }
    return n;
}

static void past_its_backlog_a_link_may_refuse_writes(void)
{
    struct mesh m = new_mesh(2, "backlogFull=reject\nmaxBacklogBytes=2MiB");
    ask(&m, EAST, "SET A:1 small");
    tm_sim_world_run_for(m.w, TM_SECONDS(3));
    CU_ASSERT_EQUAL(fill_up(&m, EAST, 400), 400); /* all links keep up */
    cut(&m, NORTH, true);
    unsigned taken = fill_up(&m, EAST, 1000);
    CU_ASSERT(taken > 10 && taken < 900);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.client[EAST]->reply, "-BACKLOGFULL"));
    CU_ASSERT_PTR_NOT_NULL(strstr(ask(&m, EAST, "INFO links"), "why=BACKLOGFULL"));
    expect(&m, EAST, "STRLEN A:1", ":40000\r\n"); /* reads go on */
    tm_sim_world_run_for(m.w, TM_SECONDS(20));
    CU_ASSERT_EQUAL(fill_up(&m, EAST, 1), 0);
    cut(&m, NORTH, false);
    tm_sim_world_run_for(m.w, TM_SECONDS(20));
    CU_ASSERT_EQUAL(fill_up(&m, EAST, 100), 100);
    const struct tm_counters *c = tm_sim_counters(tm_sim_world_cluster(m.w, EAST), 0, 0);
    CU_ASSERT_EQUAL(tm_counter_get(c, TM_COUNTER_link_resyncs), 0);
    end_mesh(&m);
}

/* A target is away for more than a minute, and comes back to all that was written. */
static uint64_t resyncs_after(const char *age)
{
    struct mesh m = new_mesh(3, age);
    ask(&m, EAST, "SET A:1 small");
    CU_ASSERT_EQUAL(fill_up(&m, EAST, 340), 340);
    tm_sim_world_run_for(m.w, TM_SECONDS(3));
    cut(&m, NORTH, true);
    for (unsigned i = 0; i < 10; i++) { /* less than the bytes that a backlog may have */
        CU_ASSERT_EQUAL(fill_up(&m, EAST, 52), 52);
        tm_sim_world_run_for(m.w, TM_SECONDS(8));
    }
    expect(&m, EAST, "SET B:1 last", "+OK\r\n");
    cut(&m, NORTH, false);
    tm_sim_world_run_for(m.w, TM_SECONDS(20));
    expect(&m, NORTH, "GET B:1", "$4\r\nlast\r\n");
    const struct tm_counters *c = tm_sim_counters(tm_sim_world_cluster(m.w, EAST), 0, 0);
    uint64_t resyncs = tm_counter_get(c, TM_COUNTER_link_resyncs);
    end_mesh(&m);
    return resyncs;
}

static void past_its_age_a_backlog_is_folded(void)
{
    CU_ASSERT_EQUAL(resyncs_after("maxBacklogAge=1h"), 0);
    CU_ASSERT(resyncs_after("maxBacklogAge=30s") > 0);
}

/* ---- collecting ---- */

/* All tombstones go although nobody writes any more, and then all is quiet. */
static void expect_collected(const unsigned to[CLUSTERS], const char *options)
{
    struct mesh m = new_links(4, to, options);
    uint64_t records[CLUSTERS];
    tm_sim_world_run_for(m.w, TM_SECONDS(3));
    bury_some(&m);
    CU_ASSERT(kept_at(&m, EAST).shadows >= 4);
    tm_sim_world_run_for(m.w, TM_SECONDS(180));
    CU_ASSERT_EQUAL(shadows(&m), 0);
    for (unsigned i = 0; i < CLUSTERS; i++) {
        records[i] = kept_at(&m, i).records;
        expect(&m, i, "HGET A:1 g", "$1\r\n2\r\n");
        expect(&m, i, "EXISTS A:2 B:3 C:5", ":0\r\n");
        expect(&m, i, "GET C:4", "$1\r\ny\r\n");
    }
    tm_sim_world_run_for(m.w, TM_SECONDS(120));
    for (unsigned i = 0; i < CLUSTERS; i++)
        CU_ASSERT_EQUAL(kept_at(&m, i).records, records[i]);
    expect(&m, EAST, "INCRBY B:3 5", ":5\r\n"); /* counts anew, everywhere */
    tm_sim_world_run_for(m.w, TM_SECONDS(5));
    expect(&m, NORTH, "GET B:3", "$1\r\n5\r\n");
    end_mesh(&m);
}

static void in_a_mesh_tombstones_go_when_all_have_them(void)
{
    static const unsigned mesh[CLUSTERS] = {6, 5, 3};
    expect_collected(mesh, "");
}

static void in_a_chain_too(void)
{
    static const unsigned one_way[CLUSTERS] = {2, 4, 0}, both_ways[CLUSTERS] = {2, 5, 2};
    expect_collected(one_way, "forward=transit");
    expect_collected(both_ways, "forward=transit");
}

static void in_a_ring_of_transit_they_stay(void)
{
    static const unsigned ring[CLUSTERS] = {2, 4, 1};
    struct mesh m = new_links(5, ring, "forward=transit");
    bury_some(&m);
    tm_sim_world_run_for(m.w, TM_SECONDS(60));
    CU_ASSERT(shadows(&m) >= 12);
    end_mesh(&m);
}

static void while_one_is_away_they_stay_and_what_it_wrote_stays_dead(void)
{
    struct mesh m = new_mesh(6, "");
    ask(&m, NORTH, "HSET A:1 f 1 g 2");
    ask(&m, NORTH, "SET A:2 x");
    tm_sim_world_run_for(m.w, TM_SECONDS(3));
    cut(&m, NORTH, true);
    ask(&m, NORTH, "HSET A:1 f late");
    ask(&m, NORTH, "SET A:2 late");
    tm_sim_world_run_for(m.w, TM_MS(10));
    bury_some(&m);
    tm_sim_world_run_for(m.w, TM_SECONDS(300));
    CU_ASSERT(kept_at(&m, EAST).shadows >= 4 && kept_at(&m, WEST).shadows >= 4);
    cut(&m, NORTH, false);
    tm_sim_world_run_for(m.w, TM_SECONDS(60));
    CU_ASSERT_EQUAL(shadows(&m), 0);
    for (unsigned i = 0; i < CLUSTERS; i++) {
        expect(&m, i, "HEXISTS A:1 f", ":0\r\n");
        expect(&m, i, "EXISTS A:2 B:3", ":0\r\n");
    }
    end_mesh(&m);
}

static void what_a_flush_left_goes_too(void)
{
    struct mesh m = new_mesh(7, "");
    bury_some(&m);
    expect(&m, WEST, "FLUSHALL", "+OK\r\n");
    tm_sim_world_run_for(m.w, TM_SECONDS(60));
    CU_ASSERT_EQUAL(shadows(&m), 0);
    expect(&m, NORTH, "DBSIZE", ":0\r\n");
    end_mesh(&m);
}

static const struct tm_test tests[] = {
    {"what was written before a flush and comes after it stays away",
     what_was_written_before_a_flush_and_comes_after_it_stays_away},
    {"past its backlog a link may refuse writes", past_its_backlog_a_link_may_refuse_writes},
    {"past its age a backlog is folded", past_its_age_a_backlog_is_folded},
    {"in a mesh tombstones go when all have them", in_a_mesh_tombstones_go_when_all_have_them},
    {"in a chain too", in_a_chain_too},
    {"in a ring of transit they stay", in_a_ring_of_transit_they_stay},
    {"while one is away they stay, and what it wrote stays dead",
     while_one_is_away_they_stay_and_what_it_wrote_stays_dead},
    {"what a flush left goes too", what_a_flush_left_goes_too},
};

TM_TEST_MAIN("sim/links_kept", tests)
