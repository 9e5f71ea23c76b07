/* The census counts right in a cluster that works, and sees one that does not. */
#include "tests/sim/sim_census.h"
#include "tests/sim/settle.h"
#include "tests/sim/sim_hand.h"

static struct tm_sim *sim;
static struct tm_sim *blind; /* another cluster, that never runs, and its oracle; or NULL */
static struct tm_sim_oracle *oracle, *other;
static struct tm_sim_census *census;

static void begin(bool seeing)
{
    struct tm_sim_config c;
    tm_sim_config_default(&c, tm_test_seed());
    c.partitions = 4;
    sim = tm_sim_new(&c);
    oracle = tm_sim_oracle_new(sim);
    create(sim);
    struct tm_sim_census_config config = {
        .clients = 2, .keys = 24, .pause_ns = TM_MS(2), .patience_ns = TM_SECONDS(5)};
    blind = seeing ? NULL : tm_sim_new(&c);
    other = seeing ? NULL : tm_sim_oracle_new(blind);
    census = tm_sim_census_new(sim, seeing ? oracle : other, &config);
}

static bool stopped(void *arg)
{
    return tm_sim_census_stop(arg);
}

static void stop(void)
{
    CU_ASSERT_TRUE_FATAL(tm_sim_run_until(sim, stopped, census, TM_SECONDS(10)));
}

/* wrong: words of what it is to object to; NULL: nothing. */
static void end(const char *wrong)
{
    if (wrong == NULL && tm_sim_wrongs(sim) > 0)
        printf("  %s\n", tm_sim_wrong_text(sim));
    CU_ASSERT_EQUAL(tm_sim_wrongs(sim) > 0, wrong != NULL);
    CU_ASSERT(wrong == NULL || strstr(tm_sim_wrong_text(sim), wrong) != NULL);
    tm_sim_census_free(census);
    tm_sim_oracle_free(oracle);
    tm_sim_free(sim);
    if (blind != NULL) {
        tm_sim_oracle_free(other);
        tm_sim_free(blind);
    }
}

static void ask(const char *line)
{
    struct tm_sim_hand *h = tm_sim_hand_new(sim, 0, 0);
    CU_ASSERT_STRING_NOT_EQUAL(tm_sim_hand_ask(h, line), "");
    tm_sim_hand_free(h);
}

/* Which key of the first client is there: the first one by name. */
static unsigned some_key(void)
{
    unsigned name = 0;
    struct tm_sim_hand *h = tm_sim_hand_new(sim, 0, 0);
    for (; name < 1000; name++) {
        char line[32];
        snprintf(line, sizeof line, "EXISTS K0:%u", name);
        if (strcmp(tm_sim_hand_ask(h, line), "1") == 0)
            break;
    }
    tm_sim_hand_free(h);
    return name;
}

static void a_cluster_that_works_is_counted_right(void)
{
    begin(true);
    tm_sim_run_for(sim, TM_SECONDS(30)); /* many a key changes while a walk goes on */
    stop();
    tm_sim_census_count(census);
    struct tm_sim_census_stats s = tm_sim_census_stats(census);
    printf("  written %llu, walks %llu in %llu steps, named %llu, waits %llu for %llu copies\n",
           (unsigned long long)s.written, (unsigned long long)s.scans, (unsigned long long)s.steps,
           (unsigned long long)s.named, (unsigned long long)s.waits, (unsigned long long)s.copies);
    CU_ASSERT(s.written > 50 && s.scans > 20 && s.steps > 20 && s.named > 100);
    CU_ASSERT(s.waits > 20 && s.copies >= s.waits); /* one other of a quorum, two if waited for */
    CU_ASSERT_EQUAL(s.failed, 0);
    end(NULL);
}

static void a_key_that_is_not_named_is_missed(void)
{
    char line[32];
    begin(true);
    tm_sim_run_for(sim, TM_SECONDS(2));
    stop();
    snprintf(line, sizeof line, "DEL K0:%u", some_key());
    ask(line);
    tm_sim_census_count(census);
    end("does not name");
}

static void a_key_that_came_back_is_noticed(void)
{
    begin(true);
    stop(); /* nothing is there yet */
    ask("SET K0:0 back");
    tm_sim_census_count(census);
    end("away all the time");
}

static void who_counts_at_rest_asks_nothing_else(void)
{
    begin(true);
    tm_sim_run_for(sim, TM_SECONDS(1));
    stop();
    struct tm_sim_census_stats before = tm_sim_census_stats(census);
    for (unsigned i = 0; i < 8; i++)
        tm_sim_census_count(census);
    tm_sim_run_for(sim, TM_MS(100));
    struct tm_sim_census_stats after = tm_sim_census_stats(census);
    CU_ASSERT_EQUAL(after.scans, before.scans + 16); /* of two clients */
    CU_ASSERT_EQUAL(after.written, before.written);
    CU_ASSERT_EQUAL(after.waits, before.waits);
    CU_ASSERT_TRUE(tm_sim_census_stop(census));
    end(NULL);
}

/* By an oracle that sees no disk. */
static void copies_that_are_on_no_disk_are_not_believed(void)
{
    begin(false);
    tm_sim_run_for(sim, TM_SECONDS(2));
    end("others have what it wrote");
}

static const struct tm_test tests[] = {
    TM_TEST(a_cluster_that_works_is_counted_right),
    TM_TEST(a_key_that_is_not_named_is_missed),
    TM_TEST(a_key_that_came_back_is_noticed),
    TM_TEST(who_counts_at_rest_asks_nothing_else),
    TM_TEST(copies_that_are_on_no_disk_are_not_believed),
};

TM_TEST_MAIN("sim/census", tests)
