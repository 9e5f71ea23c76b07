/* What is staged at the target of a synchronous link, in histories made by hand: its source's
 * leader is lost before it is committed, the target's before it is applied, the whole source for
 * good. */
#include "tests/sim/links_pair.h"

#include "actors/keeper.h"
#include "actors/link_stage_wire.h"
#include "actors/router.h"
#include "storage/entity.h"

static const char *const sync_block = "replicationMode=sync\nonUnavailable=block";

/* The key's partition at east, and who leads it. */
#define KEY "A:1"

static uint32_t partition_of(const struct tm_sim *sim)
{
    return tm_partition_of_slot(tm_slot_of_key(tm_bytes_str(KEY)),
                                tm_sim_config_of(sim)->partitions);
}

/* Batches that are staged at west, as its leader of that partition has them. */
static unsigned staged(void)
{
    uint32_t t = partition_of(west);
    unsigned leader = leader_of(west, t), n = 0;
    if (leader == 3)
        return 0;
    const struct tm_partition *p =
        tm_shard_find(tm_sim_shard(west, leader, t % tm_sim_workers(west, leader)), t);
    const struct tm_entity *e = tm_store_shadow(p->store, tm_bytes_of(NULL, 0));
    struct tm_link_staged_name name;
    struct tm_field_iter fields;
    struct tm_bytes field;
    if (e == NULL)
        return 0;
    tm_field_first(&fields, e);
    while (tm_field_next(&fields, &field, NULL))
        n += tm_link_staged_name_read(field, &name);
    return n;
}

static bool one_staged(void *arg)
{
    (void)arg;
    return staged() == 1;
}

static bool none_staged(void *arg)
{
    (void)arg;
    return staged() == 0;
}

/* East's leader of the key hears nothing of its followers, and, if `both`, they nothing of it. */
static void cut_off(unsigned leader, bool both, bool cut)
{
    for (unsigned i = 0; i < 3; i++)
        if (i != leader) {
            tm_sim_cut(east, i, leader, cut);
            tm_sim_cut(east, leader, i, cut && both);
        }
}

/* East writes 1, acknowledged and applied; then a 2 that its leader cannot commit, staged at west.
 * Returns that leader, cut off from its followers. */
static unsigned stage_one(struct tm_sim_hand **h, bool both)
{
    uint32_t p = partition_of(east);
    tm_sim_world_run_for(w, TM_SECONDS(1));
    unsigned leader = leader_of(east, p);
    CU_ASSERT_FATAL(leader < 3);
    *h = hand(east, leader);
    expect(*h, "SET " KEY " 1", "OK");
    CU_ASSERT_TRUE_FATAL(tm_sim_world_run_until(w, none_staged, NULL, TM_SECONDS(10)));
    cut_off(leader, both, true);
    tm_sim_hand_send(*h, "SET " KEY " 2");
    CU_ASSERT_TRUE_FATAL(tm_sim_world_run_until(w, one_staged, NULL, TM_MS(500)));
    tm_sim_world_run_for(w, TM_MS(50)); /* whoever heard of it has it on disk */
    CU_ASSERT_EQUAL(tm_sim_hand_answers(*h), 1);
    return leader;
}

/* The leader dies, and comes back when another one leads. */
static void lose_leader(unsigned leader)
{
    tm_sim_end(east, leader, TM_SIM_POWER_NONE_KEPT);
    cut_off(leader, true, false);
    tm_sim_world_run_for(w, TM_SECONDS(10));
    start_node(east, leader);
    CU_ASSERT_TRUE_FATAL(tm_sim_world_run_until(w, whole, east, TM_SECONDS(60)));
}

static void what_a_lost_leader_alone_had_is_unstaged(void)
{
    struct tm_sim_hand *h, *there;
    open_world(21, sync_block, false);
    unsigned leader = stage_one(&h, true);
    lose_leader(leader);
    CU_ASSERT_TRUE(tm_sim_world_run_until(w, none_staged, NULL, TM_SECONDS(30)));
    CU_ASSERT_TRUE(counted(west, TM_COUNTER_link_batches_unstaged) > 0);
    tm_sim_hand_free(h);
    h = hand(east, 0);
    there = hand(west, 0);
    expect(h, "GET " KEY, "1");
    expect(there, "GET " KEY, "1");
    expect(h, "SET " KEY " 3", "OK");
    expect_soon(there, "GET " KEY, "3");
    tm_sim_hand_free(h);
    tm_sim_hand_free(there);
    close_world();
}

static void what_the_next_leader_has_too_is_applied(void)
{
    struct tm_sim_hand *h, *there;
    open_world(22, sync_block, false);
    unsigned leader = stage_one(&h, false);
    lose_leader(leader);
    CU_ASSERT_TRUE(tm_sim_world_run_until(w, none_staged, NULL, TM_SECONDS(30)));
    CU_ASSERT_EQUAL(counted(west, TM_COUNTER_link_batches_unstaged), 0);
    tm_sim_hand_free(h);
    h = hand(east, 0);
    there = hand(west, 0);
    expect(h, "GET " KEY, "2");
    expect(there, "GET " KEY, "2");
    tm_sim_hand_free(h);
    tm_sim_hand_free(there);
    close_world();
}

static void a_target_whose_leader_is_lost_applies_what_was_staged(void)
{
    struct tm_sim_hand *h, *there;
    open_world(23, sync_block, false);
    unsigned leader = stage_one(&h, false);
    unsigned target = leader_of(west, partition_of(west));
    tm_sim_end(west, target, TM_SIM_POWER_NONE_KEPT);
    cut_off(leader, true, false);
    tm_sim_world_run_for(w, TM_SECONDS(10));
    start_node(west, target);
    CU_ASSERT_TRUE_FATAL(tm_sim_world_run_until(w, whole, west, TM_SECONDS(60)));
    CU_ASSERT_TRUE(tm_sim_world_run_until(w, none_staged, NULL, TM_SECONDS(30)));
    there = hand(west, 0);
    expect_soon(there, "GET " KEY, "2");
    tm_sim_hand_free(h);
    tm_sim_hand_free(there);
    close_world();
}

/* All of west is without power, and what it has on disk are snapshots. */
static void snapshot_and_restart_west(void)
{
    uint32_t t = partition_of(west);
    for (unsigned i = 0; i < 3; i++)
        CU_ASSERT_TRUE(tm_sim_snapshot(west, i, t));
    tm_sim_world_run_for(w, TM_SECONDS(2));
    CU_ASSERT_TRUE(counted(west, TM_COUNTER_snapshots_written) >= 3);
    restart_without_memory(west);
}

static void what_is_staged_is_in_snapshots(void)
{
    struct tm_sim_hand *h, *there;
    open_world(24, sync_block, false);
    unsigned leader = stage_one(&h, false);
    tm_sim_end(east, leader, TM_SIM_POWER_NONE_KEPT);
    for (unsigned i = 0; i < 3; i++)
        if (i != leader)
            tm_sim_end(east, i, TM_SIM_POWER_NONE_KEPT);
    snapshot_and_restart_west();
    there = hand(west, 0);
    expect(there, "GET " KEY, "1");
    CU_ASSERT_EQUAL(staged(), 1);
    cut_off(leader, true, false);
    start_all(east);
    CU_ASSERT_TRUE_FATAL(tm_sim_world_run_until(w, whole, east, TM_SECONDS(60)));
    CU_ASSERT_TRUE(tm_sim_world_run_until(w, none_staged, NULL, TM_SECONDS(30)));
    expect(there, "GET " KEY, "2");
    tm_sim_hand_free(h);
    tm_sim_hand_free(there);
    close_world();
}

static void a_promoted_target_applies_what_is_staged_also_after_crashes(void)
{
    struct tm_sim_hand *h, *there;
    open_world(25, sync_block, false);
    (void)stage_one(&h, true);
    for (unsigned i = 0; i < 3; i++)
        tm_sim_end(east, i, TM_SIM_KILL);
    restart_without_memory(west); /* nobody here has met east since */
    there = hand(west, 0);
    expect(there, "GET " KEY, "1");
    tm_sim_hand_free(there);
    expect_said(west, "op:from:east/epoch", "2");
    for (unsigned i = 0; i < 3; i++)
        tm_sim_end(west, i, TM_SIM_POWER_NONE_KEPT);
    start_all(west);
    CU_ASSERT_TRUE_FATAL(tm_sim_world_run_until(w, whole, west, TM_SECONDS(60)));
    CU_ASSERT_TRUE(tm_sim_world_run_until(w, none_staged, NULL, TM_SECONDS(10)));
    there = hand(west, 0);
    expect(there, "GET " KEY, "2");
    expect(there, "SET " KEY " 3", "OK");
    tm_sim_hand_free(h);
    tm_sim_hand_free(there);
    close_world();
}

static const struct tm_test tests[] = {
    {"what a lost leader alone had is unstaged", what_a_lost_leader_alone_had_is_unstaged},
    {"what the next leader has, too, is applied", what_the_next_leader_has_too_is_applied},
    {"a target whose leader is lost applies what was staged",
     a_target_whose_leader_is_lost_applies_what_was_staged},
    {"what is staged is in snapshots", what_is_staged_is_in_snapshots},
    {"a promoted target applies what is staged, also after crashes",
     a_promoted_target_applies_what_is_staged_also_after_crashes},
};

TM_TEST_MAIN("sim/links_stage", tests)
