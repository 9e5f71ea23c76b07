/* Synchronous links: what a client was told is at both clusters, whatever happens to either; and
 * what becomes of writes whose target is away. */
#include "tests/sim/links_pair.h"

#include "runtime/rng.h"

static const char *const sync_fail = "replicationMode=sync\nonUnavailable=fail\nsyncTimeoutMs=1s";
static const char *const sync_block = "replicationMode=sync\nonUnavailable=block\nsyncTimeoutMs=1s";
static const char *const sync_degrade =
    "replicationMode=sync\nonUnavailable=degrade\nsyncTimeoutMs=1s";

/* ---- what an OK means ---- */

static void what_was_acknowledged_is_at_the_target_soon(void)
{
    open_world(1, sync_fail, false);
    struct tm_sim_hand *h = hand(east, 0), *there = hand(west, 1);
    expect(h, "SET A:1 1", "OK");
    expect_soon(there, "GET A:1", "1");
    tm_sim_hand_free(h);
    tm_sim_hand_free(there);
    close_world();
}

static void where_it_has_to_be_applied_it_is_there_at_once(void)
{
    open_world(1, "replicationMode=sync\nonUnavailable=fail\nackLevel=applied", false);
    struct tm_sim_hand *h = hand(east, 0), *there = hand(west, 1);
    char line[64], key[64], value[32];
    for (unsigned i = 0; i < 40; i++) {
        snprintf(line, sizeof line, "SET A:%u %u", i, i);
        snprintf(key, sizeof key, "GET A:%u", i);
        snprintf(value, sizeof value, "%u", i);
        expect(h, line, "OK");
        expect(there, key, value);
    }
    expect(h, "MULTI", "OK");
    expect(h, "SET {A:1}a 1", "QUEUED");
    expect(h, "INCR {A:1}b", "QUEUED");
    expect(h, "EXEC", "[OK 1]");
    expect(there, "GET {A:1}b", "1");
    tm_sim_hand_free(h);
    tm_sim_hand_free(there);
    close_world();
}

static void types_that_are_not_shipped_wait_for_nothing(void)
{
    open_world(2, "replicationMode=sync\nonUnavailable=fail\nreplicateEntityTypes=A", false);
    struct tm_sim_hand *h = hand(east, 0);
    expect(h, "SET A:1 1", "OK");
    part(true);
    expect(h, "SET B:1 1", "OK");
    expect_timeout(h, "SET A:2 1");
    tm_sim_hand_free(h);
    close_world();
}

/* ---- the target is away ---- */

static void fail_answers_that_the_outcome_is_unknown_and_ships_later(void)
{
    open_world(3, sync_fail, false);
    struct tm_sim_hand *h = hand(east, 0), *there = hand(west, 0);
    expect(h, "SET A:1 1", "OK");
    part(true);
    uint64_t before = tm_sim_world_now(w);
    expect_timeout(h, "SET A:1 2");
    uint64_t took = tm_sim_world_now(w) - before;
    CU_ASSERT_TRUE(took >= TM_MS(1000) && took < TM_MS(1500));
    expect(h, "GET A:1", "2"); /* reads wait for nothing */
    expect(there, "GET A:1", "1");
    part(false);
    tm_sim_world_run_for(w, TM_SECONDS(5));
    expect(there, "GET A:1", "2");
    expect(h, "SET A:1 3", "OK");
    CU_ASSERT_EQUAL(counted(east, TM_COUNTER_link_sync_unknown), 1);
    CU_ASSERT_EQUAL(counted(east, TM_COUNTER_link_degraded), 0);
    tm_sim_hand_free(h);
    tm_sim_hand_free(there);
    close_world();
}

static void block_waits_longer_than_any_other_patience(void)
{
    open_world(4, sync_block, false);
    struct tm_sim_hand *h = hand(east, 1), *there = hand(west, 0);
    expect(h, "SET A:1 1", "OK");
    part(true);
    tm_sim_hand_send(h, "SET A:1 2");
    tm_sim_world_run_for(w, TM_SECONDS(30));
    CU_ASSERT_EQUAL(tm_sim_hand_answers(h), 1);
    part(false);
    tm_sim_world_run_for(w, TM_SECONDS(5));
    CU_ASSERT_EQUAL(tm_sim_hand_answers(h), 2);
    CU_ASSERT_STRING_EQUAL(tm_sim_hand_text(h), "OK");
    expect(there, "GET A:1", "2");
    tm_sim_hand_free(h);
    tm_sim_hand_free(there);
    close_world();
}

static void degrade_goes_on_alone_until_the_target_has_caught_up(void)
{
    open_world(5, sync_degrade, false);
    struct tm_sim_hand *h = hand(east, 0), *there = hand(west, 0);
    expect(h, "SET A:1 1", "OK");
    part(true);
    uint64_t before = tm_sim_world_now(w);
    expect(h, "SET A:1 2", "OK");
    CU_ASSERT_TRUE(tm_sim_world_now(w) - before >= TM_MS(1000));
    CU_ASSERT_EQUAL(counted(east, TM_COUNTER_link_degraded), 1);
    before = tm_sim_world_now(w);
    expect(h, "SET A:1 3", "OK");
    CU_ASSERT_TRUE(tm_sim_world_now(w) - before < TM_MS(200));
    expect(there, "GET A:1", "1");
    tm_sim_world_run_for(w, TM_MS(300));
    CU_ASSERT_EQUAL(counted(east, TM_COUNTER_link_gates_open), 1);
    part(false);
    CU_ASSERT_TRUE(tm_sim_world_run_until(w, all_sync, NULL, TM_SECONDS(30)));
    expect(there, "GET A:1", "3");
    CU_ASSERT_EQUAL(counted(east, TM_COUNTER_link_restored), 1);
    part(true);
    before = tm_sim_world_now(w);
    expect(h, "SET A:1 4", "OK"); /* waited for the target again */
    CU_ASSERT_TRUE(tm_sim_world_now(w) - before >= TM_MS(1000));
    tm_sim_hand_free(h);
    tm_sim_hand_free(there);
    close_world();
}

static void the_next_leader_knows_that_the_link_is_degraded(void)
{
    open_world(6, sync_degrade, false);
    struct tm_sim_hand *h = hand(east, 0);
    expect(h, "SET A:1 1", "OK");
    part(true);
    expect(h, "SET A:1 2", "OK");
    tm_sim_hand_free(h);
    tm_sim_world_run_for(w, TM_SECONDS(2));
    CU_ASSERT_EQUAL(counted(east, TM_COUNTER_link_gates_open), 1);
    restart_without_memory(east);
    h = hand(east, 0);
    expect(h, "GET A:1", "2");
    uint64_t before = tm_sim_world_now(w);
    expect(h, "SET A:1 3", "OK");
    CU_ASSERT_TRUE(tm_sim_world_now(w) - before < TM_MS(200));
    tm_sim_hand_free(h);
    close_world();
}

/* ---- the leader is lost ---- */

static void a_leader_that_is_lost_says_ok_to_nobody_who_waits(void)
{
    open_world(7, sync_block, false);
    struct tm_sim_hand *h[3], *there = hand(west, 0);
    for (unsigned i = 0; i < 3; i++)
        h[i] = hand(east, i);
    expect(h[0], "SET A:1 1", "OK");
    part(true);
    for (unsigned i = 0; i < 3; i++)
        tm_sim_hand_send(h[i], "SET A:1 2");
    tm_sim_world_run_for(w, TM_SECONDS(1));
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        unsigned leader = leader_of(east, p);
        CU_ASSERT_TRUE(tm_sim_transfer(east, leader, p, (leader + 1) % 3));
    }
    tm_sim_world_run_for(w, TM_SECONDS(3));
    for (unsigned i = 0; i < 3; i++)
        CU_ASSERT_NSTRING_EQUAL(tm_sim_hand_text(h[i]), "TIMEOUT outcome unknown", 23);
    part(false);
    tm_sim_world_run_for(w, TM_SECONDS(5));
    expect(there, "GET A:1", "2");
    for (unsigned i = 0; i < 3; i++)
        tm_sim_hand_free(h[i]);
    tm_sim_hand_free(there);
    close_world();
}

/* ---- what operators change ---- */

static void a_link_that_becomes_synchronous_catches_up_first(void)
{
    open_world(10, "replicationMode=async", false);
    struct tm_sim_hand *h = hand(east, 0), *there = hand(west, 0);
    expect(h, "SET A:1 1", "OK");
    tm_sim_world_run_for(w, TM_SECONDS(1));
    part(true);
    expect(h, "SET A:1 2", "OK");
    expect_said(east, "to:west/replicationMode", "sync");
    uint64_t before = tm_sim_world_now(w);
    expect(h, "SET A:1 3", "OK");
    CU_ASSERT_TRUE(tm_sim_world_now(w) - before < TM_MS(200));
    CU_ASSERT_EQUAL(counted(east, TM_COUNTER_link_gates_open), PARTITIONS);
    tm_sim_hand_free(h);
    restart_without_memory(east);
    h = hand(east, 0);
    expect(h, "SET A:1 4", "OK"); /* the next leaders have not forgotten that it is only joining */
    part(false);
    tm_sim_world_run_for(w, TM_SECONDS(1));
    CU_ASSERT_TRUE(tm_sim_world_run_until(w, all_sync, NULL, TM_SECONDS(30)));
    expect(there, "GET A:1", "4");
    part(true);
    expect_timeout(h, "SET A:1 5");
    tm_sim_hand_free(h);
    restart_without_memory(east);
    h = hand(east, 0);
    expect_timeout(h, "SET A:1 6"); /* nor that it has joined */
    tm_sim_hand_free(h);
    tm_sim_hand_free(there);
    close_world();
}

static void a_promoted_target_has_all_and_takes_no_more(void)
{
    open_world(11, sync_fail, false);
    struct tm_sim_hand *h = hand(east, 0), *there = hand(west, 0);
    expect(h, "SET A:1 1", "OK");
    expect_said(west, "op:from:east/epoch", "2");
    expect(there, "GET A:1", "1");
    expect_timeout(h, "SET A:1 2");
    expect(there, "GET A:1", "1");
    expect(there, "SET A:1 3", "OK");
    tm_sim_hand_free(there);
    restart_without_memory(west);
    there = hand(west, 0);
    expect_timeout(h, "SET A:2 2");
    expect(there, "GET A:1", "3");
    expect(there, "GET A:2", "(nil)");
    tm_sim_hand_free(h);
    tm_sim_hand_free(there);
    close_world();
}

/* ---- a target that nobody knows ---- */

static void an_unresolved_target_is_one_that_is_away(void)
{
    static const char *const facts[] = {
        "to:moon/onUnavailable=fail\nto:moon/replicationMode=sync\nto:moon/syncTimeoutMs=1s\n",
        "to:moon/onUnavailable=degrade\nto:moon/replicationMode=sync\nto:moon/syncTimeoutMs=1s\n"};
    for (unsigned i = 0; i < 2; i++) {
        struct tm_sim_config c;
        tm_sim_config_default(&c, 8 + i);
        c.facts = facts[i];
        struct tm_sim *sim = tm_sim_new(&c);
        create(sim);
        struct tm_sim_hand *h = hand(sim, 0);
        if (i == 0)
            expect_timeout(h, "SET A:1 1");
        else
            expect(h, "SET A:1 1", "OK");
        expect(h, "GET A:1", "1");
        tm_sim_hand_free(h);
        CU_ASSERT_EQUAL(tm_sim_fatal(sim), 0);
        tm_sim_free(sim);
    }
}

/* ---- the source is lost for good ---- */

#define WRITERS 6

/* Each counts a key of its own up, and knows what was acknowledged last. */
struct writer {
    struct tm_sim_hand *hand;
    unsigned asked, acknowledged, answers;
    bool waits;
};

static void go_on(struct writer *writers)
{
    char line[64];
    for (unsigned i = 0; i < WRITERS; i++) {
        struct writer *m = &writers[i];
        if (m->hand == NULL)
            m->hand = tm_sim_hand_new(east, i % 3, 0);
        if (m->hand == NULL)
            continue;
        if (strcmp(tm_sim_hand_text(m->hand), "closed") == 0) {
            tm_sim_hand_free(m->hand);
            m->hand = NULL;
            m->waits = false;
            m->answers = 0;
            continue;
        }
        if (m->waits && tm_sim_hand_answers(m->hand) == m->answers)
            continue;
        if (m->waits && strcmp(tm_sim_hand_text(m->hand), "OK") == 0)
            m->acknowledged = m->asked;
        m->answers = tm_sim_hand_answers(m->hand);
        m->waits = true;
        snprintf(line, sizeof line, "SET A:w%u %u", i, ++m->asked);
        tm_sim_hand_send(m->hand, line);
    }
}

static void trouble(struct tm_rng *rng)
{
    struct tm_sim *sim = tm_rng_below(rng, 2) == 0 ? east : west;
    unsigned node = (unsigned)tm_rng_below(rng, 3);
    uint32_t p = (uint32_t)tm_rng_below(rng, PARTITIONS);
    switch (tm_rng_below(rng, 6)) {
    case 0:
        if (tm_sim_is_up(sim, node))
            tm_sim_end(sim, node, TM_SIM_POWER_NONE_KEPT);
        break;
    case 1:
        if (leader_of(sim, p) < 3)
            (void)tm_sim_transfer(sim, leader_of(sim, p), p, node);
        break;
    case 2:
        part(true);
        break;
    case 3:
        part(false);
        break;
    default:
        for (unsigned i = 0; i < 3; i++) {
            if (!tm_sim_is_up(east, i))
                start_node(east, i);
            if (!tm_sim_is_up(west, i))
                start_node(west, i);
        }
    }
}

/* East is gone from one moment to the next, and so is the memory of all of West: what is on its
 * disks has all that was acknowledged, once it is promoted. */
static void examine(struct writer *writers)
{
    unsigned acknowledged = 0;
    char line[64];
    for (unsigned i = 0; i < 3; i++) {
        if (tm_sim_is_up(east, i))
            tm_sim_end(east, i, TM_SIM_KILL);
        if (tm_sim_is_up(west, i))
            tm_sim_end(west, i, TM_SIM_POWER_NONE_KEPT);
    }
    start_all(west);
    CU_ASSERT_TRUE_FATAL(tm_sim_world_run_until(w, whole, west, TM_SECONDS(60)));
    expect_said(west, "op:from:east/epoch", "2");
    struct tm_sim_hand *there = hand(west, 0);
    for (unsigned i = 0; i < WRITERS; i++) {
        snprintf(line, sizeof line, "GET A:w%u", i);
        const char *text = tm_sim_hand_ask(there, line);
        unsigned has = strcmp(text, "(nil)") == 0 ? 0 : (unsigned)strtoul(text, NULL, 10);
        if (has < writers[i].acknowledged || has > writers[i].asked)
            printf("  writer %u: acknowledged %u, there %u\n", i, writers[i].acknowledged, has);
        CU_ASSERT_TRUE(has >= writers[i].acknowledged && has <= writers[i].asked);
        acknowledged += writers[i].acknowledged;
        if (writers[i].hand != NULL)
            tm_sim_hand_free(writers[i].hand);
    }
    CU_ASSERT_TRUE(acknowledged > 0);
    tm_sim_hand_free(there);
}

static void lose_the_source(uint64_t seed, const char *options, bool both_ways)
{
    struct writer writers[WRITERS] = {{0}};
    struct tm_rng rng;
    tm_rng_seed(&rng, seed);
    open_world(seed, options, both_ways);
    unsigned steps = 200 + (unsigned)tm_rng_below(&rng, 3000);
    for (unsigned i = 0; i < steps; i++) {
        go_on(writers);
        if (tm_rng_below(&rng, 150) == 0)
            trouble(&rng);
        tm_sim_world_run_for(w, TM_MS(2));
    }
    go_on(writers);
    examine(writers);
    close_world();
}

static void nothing_acknowledged_is_lost_with_the_source(void)
{
    uint64_t seed = tm_test_seed();
    for (unsigned i = 0; i < 10; i++)
        lose_the_source(seed + i, i % 2 == 0 ? sync_fail : sync_block, i % 3 == 2);
}

static const struct tm_test tests[] = {
    {"what was acknowledged is at the target soon", what_was_acknowledged_is_at_the_target_soon},
    {"where it has to be applied it is there at once",
     where_it_has_to_be_applied_it_is_there_at_once},
    {"types that are not shipped wait for nothing", types_that_are_not_shipped_wait_for_nothing},
    {"fail answers that the outcome is unknown, and ships later",
     fail_answers_that_the_outcome_is_unknown_and_ships_later},
    {"block waits longer than any other patience", block_waits_longer_than_any_other_patience},
    {"degrade goes on alone until the target has caught up",
     degrade_goes_on_alone_until_the_target_has_caught_up},
    {"the next leader knows that the link is degraded",
     the_next_leader_knows_that_the_link_is_degraded},
    {"a leader that is lost says OK to nobody who waits",
     a_leader_that_is_lost_says_ok_to_nobody_who_waits},
    {"a link that becomes synchronous catches up first",
     a_link_that_becomes_synchronous_catches_up_first},
    {"a promoted target has all, and takes no more", a_promoted_target_has_all_and_takes_no_more},
    {"an unresolved target is one that is away", an_unresolved_target_is_one_that_is_away},
    {"nothing acknowledged is lost with the source", nothing_acknowledged_is_lost_with_the_source},
};

TM_TEST_MAIN("sim/links_sync", tests)
