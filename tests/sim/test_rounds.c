/* Three nodes held by hand: rounds begin, are confirmed, reads wait; sound histories and others. */
#include "tests/sim/sim_rounds.h"
#include "tests/test.h"

#include <stdio.h>

#define NODES    3u
#define PATIENCE TM_SECONDS(5)

struct world {
    uint64_t now;
    char text[256];
    struct tm_sim_rounds *rounds;
    struct tm_ctx ctx;
    struct tm_beat beat[NODES];
    struct tm_replica r[NODES];
    struct tm_replica_read read;
};

static void wrong(void *host, const char *text)
{
    struct world *w = host;
    snprintf(w->text, sizeof w->text, "%s", text);
}

static uint64_t now_ns(void *host)
{
    return ((struct world *)host)->now;
}

static void look(struct world *w, unsigned node)
{
    tm_sim_rounds_look(w->rounds, &w->r[node], w->now);
}

static void begin(struct world *w)
{
    *w = (struct world){.now = TM_SECONDS(1), .ctx = {.host = w, .now_ns = now_ns}};
    w->rounds = tm_sim_rounds_new(&(struct tm_sim_rounds_config){
        .partitions = 1, .patience = PATIENCE, .host = w, .wrong = wrong});
    for (unsigned i = 0; i < NODES; i++) {
        struct tm_replica *r = &w->r[i];
        w->beat[i] = (struct tm_beat){
            .ctx = &w->ctx, .self = {.disk = 100 + i, .node = (uint8_t)i}, .boot = 7, .round = 1};
        r->self = w->beat[i].self;
        r->beat = &w->beat[i];
        r->rounds_end = &r->rounds;
        r->members.count = NODES;
        for (unsigned k = 0; k < NODES; k++) {
            r->members.at[k] = (struct tm_member){.id = {.disk = 100 + k, .node = (uint8_t)k},
                                                  .role = TM_MEMBER_VOTER};
            r->peer[k].disk = 100 + k;
        }
        look(w, i);
    }
}

static void lead(struct world *w, unsigned node, uint64_t term)
{
    w->now += TM_MS(1);
    w->r[node].hs.term = term;
    w->r[node].role = TM_ROLE_LEADER;
    look(w, node);
}

/* A turn of the node's worker that begins a round, and a later one in which another confirms it. */
static void begin_round(struct world *w, unsigned node)
{
    w->now += TM_MS(1);
    w->beat[node].round++;
    look(w, node);
}

static void confirm(struct world *w, unsigned node, unsigned by)
{
    w->now += TM_MS(1);
    w->r[node].peer[by].confirmed = w->beat[node].round;
    look(w, node);
}

/* A read arrives, to wait for that round; the next round begins at the end of the turn. */
static void wait_for(struct world *w, unsigned node, uint64_t round)
{
    struct tm_replica *r = &w->r[node];
    w->now += TM_MS(1);
    w->read = (struct tm_replica_read){.until = w->now + PATIENCE, .round = round};
    r->rounds = &w->read;
    r->rounds_end = &w->read.next;
    w->beat[node].round++;
    look(w, node);
}

static void expect(struct world *w, const char *text)
{
    bool right = text == NULL ? w->text[0] == '\0' : strstr(w->text, text) != NULL;
    if (!right)
        printf("  expected \"%s\", heard \"%s\"\n", text == NULL ? "" : text, w->text);
    CU_ASSERT_TRUE(right);
    tm_sim_rounds_free(w->rounds);
}

static void a_round_that_began_before_the_next_leader_may_be_confirmed(void)
{
    struct world w;
    begin(&w);
    lead(&w, 0, 1);
    wait_for(&w, 0, 2);
    lead(&w, 1, 2);
    confirm(&w, 0, 2);
    begin_round(&w, 1);
    confirm(&w, 1, 2);
    expect(&w, NULL);
}

static void a_minority_confirms_nothing(void)
{
    struct world w;
    begin(&w);
    lead(&w, 0, 1);
    lead(&w, 1, 2);
    begin_round(&w, 0);
    expect(&w, NULL);
}

static void a_round_confirmed_behind_a_newer_leader_is_seen(void)
{
    struct world w;
    begin(&w);
    lead(&w, 0, 1);
    lead(&w, 1, 2);
    begin_round(&w, 0);
    confirm(&w, 0, 2);
    expect(&w, "node 0 takes round 2 of term 1 for confirmed, which began 1000 us after node 1 led "
               "term 2");
}

static void a_read_that_joins_a_round_under_way_is_seen(void)
{
    struct world w;
    begin(&w);
    lead(&w, 0, 1);
    begin_round(&w, 0);
    wait_for(&w, 0, 2);
    expect(&w, "a read at node 0 waits for round 2, which began 1000 us before it arrived");
}

static void rounds_of_another_process_are_other_rounds(void)
{
    struct world w;
    begin(&w);
    lead(&w, 0, 1);
    begin_round(&w, 0);
    w.beat[0].boot = 8;
    w.beat[0].round = 0;
    look(&w, 0);
    lead(&w, 0, 2);
    begin_round(&w, 0);
    wait_for(&w, 0, 2);
    expect(&w, NULL);
}

static void a_round_covers_the_reads_asked_for_before_it_began(void)
{
    struct world w;
    begin(&w);
    lead(&w, 0, 1);
    uint64_t before = w.now;
    begin_round(&w, 0);
    CU_ASSERT_FALSE(tm_sim_rounds_cover(w.rounds, 0, before));
    uint64_t began = w.now;
    confirm(&w, 0, 1);
    CU_ASSERT_TRUE(tm_sim_rounds_cover(w.rounds, 0, before));
    CU_ASSERT_TRUE(tm_sim_rounds_cover(w.rounds, 0, began));
    CU_ASSERT_FALSE(tm_sim_rounds_cover(w.rounds, 0, began + 1));
    expect(&w, NULL);
}

/* A long turn: something happens that takes back what was confirmed, perhaps earlier in it.  The
 * turn begins a round of its own, too. */
static void expect_covered(struct world *w, bool all)
{
    uint64_t began = w->now;
    w->now += TM_MS(1);
    w->beat[0].round++;
    look(w, 0);
    CU_ASSERT_TRUE(tm_sim_rounds_cover(w->rounds, 0, began));
    CU_ASSERT_EQUAL(tm_sim_rounds_cover(w->rounds, 0, began + 1), all);
    CU_ASSERT_EQUAL(tm_sim_rounds_cover(w->rounds, 0, w->now), all);
    expect(w, NULL);
}

static void begin_led(struct world *w)
{
    begin(w);
    lead(w, 0, 1);
    begin_round(w, 0);
    CU_ASSERT_FALSE(tm_sim_rounds_cover(w->rounds, 0, w->now));
}

static void a_round_may_be_confirmed_and_taken_back_in_one_turn(void)
{
    struct world w;
    begin_led(&w);
    w.r[0].lead_round = 2;
    expect_covered(&w, false);
    begin_led(&w);
    w.r[0].members.at[1].id.disk = w.r[0].peer[1].disk = 201;
    expect_covered(&w, false);
    begin_led(&w);
    w.r[0].peer[2].disk = 202;
    expect_covered(&w, false);
    begin_led(&w);
    w.beat[0].workers[1] = 4;
    expect_covered(&w, false);
}

static void who_needed_no_round_may_have_answered_before(void)
{
    struct world w;
    begin(&w);
    w.r[0].members.count = 1;
    lead(&w, 0, 1);
    begin_round(&w, 0);
    CU_ASSERT_TRUE(tm_sim_rounds_cover(w.rounds, 0, w.now));
    w.r[0].members.count = NODES;
    expect_covered(&w, true);
}

static void where_nothing_changed_nothing_was_taken_back(void)
{
    struct world w;
    begin_led(&w);
    uint64_t began = w.now;
    begin_round(&w, 0);
    w.now += TM_MS(1);
    look(&w, 0);
    CU_ASSERT_FALSE(tm_sim_rounds_cover(w.rounds, 0, began));
    expect(&w, NULL);
}

static void who_leads_no_more_may_have_answered_before(void)
{
    struct world w;
    begin(&w);
    lead(&w, 0, 1);
    w.now += TM_MS(1);
    w.r[0].role = TM_ROLE_FOLLOWER;
    look(&w, 0);
    CU_ASSERT_TRUE(tm_sim_rounds_cover(w.rounds, 0, w.now));
    uint64_t then = w.now++;
    look(&w, 0);
    CU_ASSERT_FALSE(tm_sim_rounds_cover(w.rounds, 0, then + 1));
    expect(&w, NULL);
}

static const struct tm_test tests[] = {
    TM_TEST(a_round_that_began_before_the_next_leader_may_be_confirmed),
    TM_TEST(a_minority_confirms_nothing),
    TM_TEST(a_round_confirmed_behind_a_newer_leader_is_seen),
    TM_TEST(a_read_that_joins_a_round_under_way_is_seen),
    TM_TEST(rounds_of_another_process_are_other_rounds),
    TM_TEST(a_round_covers_the_reads_asked_for_before_it_began),
    TM_TEST(a_round_may_be_confirmed_and_taken_back_in_one_turn),
    TM_TEST(who_needed_no_round_may_have_answered_before),
    TM_TEST(where_nothing_changed_nothing_was_taken_back),
    TM_TEST(who_leads_no_more_may_have_answered_before),
};

TM_TEST_MAIN("sim/rounds", tests)
