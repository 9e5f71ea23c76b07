/* mesh_world.h: three linked clusters of one node each, played by hand: links cut and mended,
 * commands at one or the other, and what is kept there of what is gone.
 *
 * For tests that are one .c file: all is static. */
#ifndef TM_TESTS_SIM_MESH_WORLD_H
#define TM_TESTS_SIM_MESH_WORLD_H

#include "actors/links.h"
#include "storage/store_link.h"
#include "tests/sim/raw_client.h"
#include "tests/sim/settle.h"
#include "tests/sim/sim_world.h"

enum { EAST, WEST, NORTH, CLUSTERS };

struct mesh {
    struct tm_sim_world *w;
    struct client *client[CLUSTERS];
};

/* to: bit j of entry i, a link from i to j. */
static inline struct mesh new_links(uint64_t seed, const unsigned to[CLUSTERS], const char *options)
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
        c.to[i] = to[i];
    }
    m.w = tm_sim_world_new(&c);
    for (unsigned i = 0; i < CLUSTERS; i++) {
        create(tm_sim_world_cluster(m.w, i));
        m.client[i] = client_of(tm_sim_world_cluster(m.w, i), 0, 0);
    }
    return m;
}

static inline struct mesh new_mesh(uint64_t seed, const char *options)
{
    static const unsigned to[CLUSTERS] = {6, 5, 3};
    return new_links(seed, to, options);
}

static inline void end_mesh(struct mesh *m)
{
    for (unsigned i = 0; i < CLUSTERS; i++)
        leave(m->client[i]);
    CU_ASSERT_STRING_EQUAL(tm_sim_world_wrong(m->w), "");
    tm_sim_world_free(m->w);
}

static inline const char *ask(struct mesh *m, unsigned cluster, const char *command)
{
    char line[128];
    snprintf(line, sizeof line, "%s\r\n", command);
    client_send(m->client[cluster], tm_bytes_str(line));
    CU_ASSERT_TRUE_FATAL(tm_sim_world_run_until(m->w, answered, m->client[cluster], TM_SECONDS(5)));
    return m->client[cluster]->reply;
}

static inline void expect(struct mesh *m, unsigned cluster, const char *command, const char *reply)
{
    const char *got = ask(m, cluster, command);
    if (strcmp(got, reply) != 0)
        printf("  at %s %s: %s", tm_sim_world_name(cluster), command, got);
    CU_ASSERT_STRING_EQUAL(got, reply);
}

static inline void cut(struct mesh *m, unsigned cluster, bool is_cut)
{
    for (unsigned i = 0; i < CLUSTERS; i++)
        if (i != cluster) {
            tm_sim_world_cut(m->w, cluster, i, is_cut);
            tm_sim_world_cut(m->w, i, cluster, is_cut);
        }
}

struct kept {
    uint64_t shadows, records;
};

static inline struct kept kept_at(struct mesh *m, unsigned cluster)
{
    struct tm_sim *sim = tm_sim_world_cluster(m->w, cluster);
    struct kept sum = {0};
    for (uint32_t id = 0; id < tm_sim_config_of(sim)->partitions; id++) {
        const struct tm_store *s = tm_shard_partition(tm_sim_shard(sim, 0, 0), id)->store;
        sum.shadows += tm_store_shadows(s) - (tm_store_shadow(s, tm_bytes_str("")) != NULL);
        sum.shadows += tm_link_flush_due(s) != UINT64_MAX;
        sum.records += tm_store_applied(s);
    }
    return sum;
}

static inline uint64_t shadows(struct mesh *m)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < CLUSTERS; i++)
        n += kept_at(m, i).shadows;
    return n;
}

/* Tombstones of each kind, at the first cluster. */
static inline void bury_some(struct mesh *m)
{
    ask(m, EAST, "HSET A:1 f 1 g 2");
    ask(m, EAST, "HDEL A:1 f");
    ask(m, EAST, "SET A:2 x");
    ask(m, EAST, "DEL A:2");
    ask(m, EAST, "INCRBY B:3 7");
    ask(m, EAST, "PEXPIRE B:3 500");
    ask(m, EAST, "SET C:4 y EX 100");
    ask(m, EAST, "PERSIST C:4");
    ask(m, EAST, "SADD C:5 a b");
    ask(m, EAST, "SREM C:5 a b");
}

#endif
