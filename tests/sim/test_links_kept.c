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

static const struct tm_test tests[] = {
    {"what was written before a flush and comes after it stays away",
     what_was_written_before_a_flush_and_comes_after_it_stays_away},
};

TM_TEST_MAIN("sim/links_kept", tests)
