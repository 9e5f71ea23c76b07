/* links_pair.h: two linked clusters, east and west, of three nodes each, and what tests do to them.
 * The link leads from east to west, or both ways. */
#ifndef TM_TESTS_SIM_LINKS_PAIR_H
#define TM_TESTS_SIM_LINKS_PAIR_H

#include "actors/links.h"
#include "actors/partition.h"
#include "actors/shard_internal.h"
#include "runtime/counters.h"
#include "tests/sim/operator.h"
#include "tests/sim/settle.h"
#include "tests/sim/sim_hand.h"
#include "tests/sim/sim_world.h"

enum { EAST, WEST };

#define PARTITIONS 3

static struct tm_sim_world *w;
static struct tm_sim *east, *west;

static inline void open_world(uint64_t seed, const char *options, bool both_ways)
{
    struct tm_sim_world_config c;
    tm_sim_world_config_default(&c, seed, 2);
    c.to[EAST] = 1 << WEST;
    c.options[EAST][WEST] = options;
    if (both_ways) {
        c.to[WEST] = 1 << EAST;
        c.options[WEST][EAST] = options;
    }
    for (unsigned i = 0; i < 2; i++) {
        c.cluster[i].partitions = PARTITIONS + i;
        c.cluster[i].workers[0] = 1 + i;
    }
    w = tm_sim_world_new(&c);
    east = tm_sim_world_cluster(w, EAST);
    west = tm_sim_world_cluster(w, WEST);
    create(east);
    create(west);
}

static inline void close_world(void)
{
    CU_ASSERT_EQUAL(tm_sim_fatal(east), 0);
    CU_ASSERT_EQUAL(tm_sim_fatal(west), 0);
    CU_ASSERT_STRING_EQUAL(tm_sim_world_wrong(w), "");
    tm_sim_world_free(w);
}

/* The node that leads that partition, or the cluster's number of nodes. */
static inline unsigned leader_of(struct tm_sim *sim, uint32_t partition)
{
    unsigned n = tm_sim_config_of(sim)->nodes;
    for (unsigned i = 0; i < n; i++)
        for (unsigned k = 0; tm_sim_is_up(sim, i) && k < tm_sim_workers(sim, i); k++) {
            const struct tm_partition *p = tm_shard_find(tm_sim_shard(sim, i, k), partition);
            if (partition % tm_sim_workers(sim, i) == k && p != NULL && p->announced)
                return i;
        }
    return n;
}

static inline uint64_t counted(struct tm_sim *sim, enum tm_counter which)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < tm_sim_config_of(sim)->nodes; i++)
        for (unsigned k = 0; tm_sim_is_up(sim, i) && k < tm_sim_workers(sim, i); k++)
            sum += tm_counter_get(tm_sim_counters(sim, i, k), which);
    return sum;
}

static inline bool all_sync(void *arg)
{
    (void)arg;
    return counted(east, TM_COUNTER_link_gates_open) == 0 &&
           counted(east, TM_COUNTER_link_streams_out) > 0;
}

static inline void part(bool cut)
{
    tm_sim_world_cut(w, EAST, WEST, cut);
    tm_sim_world_cut(w, WEST, EAST, cut);
}

static inline struct tm_sim_hand *hand(struct tm_sim *sim, unsigned node)
{
    struct tm_sim_hand *h = tm_sim_hand_new(sim, node, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(h);
    return h;
}

static inline void expect(struct tm_sim_hand *h, const char *line, const char *answer)
{
    const char *text = tm_sim_hand_ask(h, line);
    if (strcmp(text, answer) != 0)
        printf("  %s: %s, not %s\n", line, text, answer);
    CU_ASSERT_STRING_EQUAL(text, answer);
}

static inline void expect_timeout(struct tm_sim_hand *h, const char *line)
{
    CU_ASSERT_NSTRING_EQUAL(tm_sim_hand_ask(h, line), "TIMEOUT outcome unknown", 23);
}

static inline void restart_without_memory(struct tm_sim *sim)
{
    for (unsigned i = 0; i < 3; i++)
        tm_sim_end(sim, i, TM_SIM_POWER_NONE_KEPT);
    start_all(sim);
    CU_ASSERT_TRUE_FATAL(tm_sim_world_run_until(w, whole, sim, TM_SECONDS(30)));
}

/* What is staged is applied a moment after it was committed. */
static inline void expect_soon(struct tm_sim_hand *h, const char *line, const char *answer)
{
    uint64_t end = tm_sim_world_now(w) + TM_SECONDS(10);
    while (strcmp(tm_sim_hand_ask(h, line), answer) != 0 && tm_sim_world_now(w) < end)
        tm_sim_world_run_for(w, TM_MS(1));
    CU_ASSERT_STRING_EQUAL(tm_sim_hand_text(h), answer);
}

#endif
