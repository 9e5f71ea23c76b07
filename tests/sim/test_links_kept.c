/* What linked clusters keep of what is gone, played by hand: three in a mesh, links cut and mended,
 * commands at one or the other. */
#include "actors/links.h"
#include "tests/sim/raw_client.h"
#include "tests/sim/settle.h"
#include "tests/sim/sim_world.h"

enum { EAST, WEST, NORTH, CLUSTERS };

struct mesh {
    struct tm_sim_world *w;
    struct client *client[CLUSTERS];
};

static struct mesh new_mesh(uint64_t seed, const char *options)
{
    struct mesh m;
    struct tm_sim_world_config c;
    tm_sim_world_config_default(&c, seed, CLUSTERS);
    for (unsigned i = 0; i < CLUSTERS; i++) {
        c.cluster[i].nodes = c.cluster[i].copies = 1;
        c.cluster[i].partitions = 1 + 2 * i;
        c.cluster[i].workers[0] = 1;
        c.cluster[i].options.wal_bytes = TM_MIB(64);
        for (unsigned j = 0; j < CLUSTERS; j++)
            c.options[i][j] = options;
        c.to[i] = 7 & ~(1u << i);
    }
    m.w = tm_sim_world_new(&c);
    for (unsigned i = 0; i < CLUSTERS; i++) {
        create(tm_sim_world_cluster(m.w, i));
        m.client[i] = client_of(tm_sim_world_cluster(m.w, i), 0, 0);
    }
    return m;
}

static void end_mesh(struct mesh *m)
{
    for (unsigned i = 0; i < CLUSTERS; i++)
        leave(m->client[i]);
    CU_ASSERT_STRING_EQUAL(tm_sim_world_wrong(m->w), "");
    tm_sim_world_free(m->w);
}

static const char *ask(struct mesh *m, unsigned cluster, const char *command)
{
    char line[128];
    snprintf(line, sizeof line, "%s\r\n", command);
    client_send(m->client[cluster], tm_bytes_str(line));
    CU_ASSERT_TRUE_FATAL(tm_sim_world_run_until(m->w, answered, m->client[cluster], TM_SECONDS(5)));
    return m->client[cluster]->reply;
}

static void expect(struct mesh *m, unsigned cluster, const char *command, const char *reply)
{
    const char *got = ask(m, cluster, command);
    if (strcmp(got, reply) != 0)
        printf("  at %s %s: %s", tm_sim_world_name(cluster), command, got);
    CU_ASSERT_STRING_EQUAL(got, reply);
}

static void cut(struct mesh *m, unsigned cluster, bool is_cut)
{
    for (unsigned i = 0; i < CLUSTERS; i++)
        if (i != cluster) {
            tm_sim_world_cut(m->w, cluster, i, is_cut);
            tm_sim_world_cut(m->w, i, cluster, is_cut);
        }
}

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

static const struct tm_test tests[] = {
    {"what was written before a flush and comes after it stays away",
     what_was_written_before_a_flush_and_comes_after_it_stays_away},
    {"past its backlog a link may refuse writes", past_its_backlog_a_link_may_refuse_writes},
    {"past its age a backlog is folded", past_its_age_a_backlog_is_folded},
};

TM_TEST_MAIN("sim/links_kept", tests)
