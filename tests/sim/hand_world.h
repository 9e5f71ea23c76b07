/* Simulated clusters that a test leads by hand: who runs, who hears whom, one command at a time.
 *
 * One cluster at a time, by default three nodes of one worker with three copies of one partition
 * beside the system's own.  The oracle watches all that happens. */
#ifndef TM_TESTS_SIM_HAND_WORLD_H
#define TM_TESTS_SIM_HAND_WORLD_H

#include "actors/keeper.h"
#include "actors/partition.h"
#include "actors/shard_internal.h"
#include "runtime/counters.h"
#include "storage/log_internal.h"
#include "storage/snapshot_internal.h"
#include "tests/sim/settle.h"
#include "tests/sim/sim_hand.h"
#include "tests/sim/sim_oracle.h"

#define NOBODY TM_SIM_NODES_MAX

static struct tm_sim *sim;
static struct tm_sim_oracle *oracle;
static struct tm_sim_config config;

static inline void settle(bool (*how)(void *arg))
{
    char why[512] = "";
    bool good = tm_sim_run_until(sim, how, sim, TM_SECONDS(60));
    if (!good) {
        (void)tm_sim_converged(sim, why, sizeof why);
        printf("  %s\n", why);
    }
    CU_ASSERT_TRUE_FATAL(good);
}

/* The default cluster: three nodes of one worker, three copies of one partition. */
static inline void prepare(void)
{
    tm_sim_config_default(&config, tm_test_seed());
    config.partitions = 1;
    config.workers[0] = 1;
}

static inline void open_cluster(void)
{
    sim = tm_sim_new(&config);
    oracle = tm_sim_oracle_new(sim);
    create(sim);
}

/* All is well, and nothing was seen that may not be. */
static inline void close_cluster(void)
{
    char why[512] = "";
    if (tm_sim_wrongs(sim) > 0)
        printf("  %s\n", tm_sim_wrong_text(sim));
    CU_ASSERT_EQUAL(tm_sim_wrongs(sim), 0);
    CU_ASSERT_EQUAL(tm_sim_differences(sim, why, sizeof why), 0);
    tm_sim_oracle_free(oracle);
    tm_sim_free(sim);
}

static inline const struct tm_partition *part(unsigned node, uint32_t id)
{
    if (!tm_sim_is_up(sim, node))
        return NULL;
    return tm_shard_partition(tm_sim_shard(sim, node, id % tm_sim_workers(sim, node)), id);
}

/* What worker 0 of the node has counted. */
static inline uint64_t counted(unsigned node, enum tm_counter counter)
{
    return tm_counter_get(tm_sim_counters(sim, node, 0), counter);
}

/* The node that leads in the highest term, or NOBODY. */
static inline unsigned leader_of(uint32_t id)
{
    unsigned leader = NOBODY;
    uint64_t term = 0;
    for (unsigned i = 0; i < config.nodes; i++) {
        const struct tm_partition *p = part(i, id);
        if (p == NULL || p->replica.role != TM_ROLE_LEADER || p->replica.hs.term < term)
            continue;
        leader = i;
        term = p->replica.hs.term;
    }
    return leader;
}

static inline unsigned leader(void)
{
    return leader_of(0);
}

static inline bool another_leads(void *arg)
{
    unsigned now = leader();
    return now != NOBODY && now != *(const unsigned *)arg && part(now, 0)->announced;
}

/* The next leader, which takes requests, after `old`. */
static inline unsigned successor(unsigned old)
{
    CU_ASSERT_TRUE_FATAL(tm_sim_run_until(sim, another_leads, &old, TM_SECONDS(30)));
    return leader();
}

static inline unsigned other_than(unsigned a, unsigned b)
{
    unsigned i = 0;
    while (i == a || i == b)
        i++;
    return i;
}

/* One command at a node, by a connection of its own. */
static inline const char *ask(unsigned node, const char *line)
{
    static char text[512];
    struct tm_sim_hand *h = tm_sim_hand_new(sim, node, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(h);
    snprintf(text, sizeof text, "%s", tm_sim_hand_ask(h, line));
    tm_sim_hand_free(h);
    return text;
}

static inline void restart(unsigned node)
{
    tm_sim_run_for(sim, TM_MS(20));
    CU_ASSERT_TRUE_FATAL(tm_sim_start(sim, node));
}

/* Runs for so long; false if a leader that serves was there at some moment. */
static inline bool nobody_leads_for(uint64_t ns)
{
    for (uint64_t end = tm_sim_now(sim) + ns; tm_sim_now(sim) < end;) {
        tm_sim_run_for(sim, TM_MS(5));
        unsigned l = leader();
        if (l != NOBODY && part(l, 0)->announced)
            return false;
    }
    return true;
}

/* A bit of that record flips, where the node has it on its disk. */
static inline void spoil_record(unsigned node, uint64_t index)
{
    char name[TM_WAL_NAME_MAX];
    tm_wal_place place = tm_log_index_at(&part(node, 0)->log->index, index)->place;
    tm_wal_name_segment(name, "wal", 1, 0, tm_wal_place_segment(place));
    struct tm_sim_disk *disk = tm_sim_disk_of(sim, node);
    CU_ASSERT_TRUE_FATAL(tm_sim_disk_flip(disk, name, tm_wal_place_offset(place) + 600, 3));
    tm_sim_harmed(sim, node, TM_SIM_HARM_ROT);
}

/* A bit of its newest snapshot flips, so many bytes from its beginning. */
static inline void spoil_snapshot_at(unsigned node, uint64_t at)
{
    char name[TM_SNAP_NAME_MAX];
    struct tm_snapshot_info info;
    CU_ASSERT_TRUE_FATAL(tm_keeper_snapshot(tm_sim_shard(sim, node, 0)->keeper, 0, false, &info));
    tm_snap_name_file(name, 0, info.walked_from, info.walked_to);
    struct tm_sim_disk *disk = tm_sim_disk_of(sim, node);
    CU_ASSERT_TRUE_FATAL(tm_sim_disk_flip(disk, name, at, 5));
    tm_sim_harmed(sim, node, TM_SIM_HARM_ROT);
}

static inline void spoil_snapshot(unsigned node)
{
    spoil_snapshot_at(node, TM_SNAP_PAGE + 200);
}

#endif
