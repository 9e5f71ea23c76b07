/* The directory of a whole cluster: a new version is written through the system partition, and
 * every node comes to go by it, whatever happens to nodes meanwhile. */
#include "tests/sim/raw_client.h"
#include "tests/sim/settle.h"
#include "tests/sim/sim_internal.h"

static struct tm_sim *sim;

/* ---- a client ---- */

static struct client *connect_to(unsigned node)
{
    return client_of(sim, node, 0);
}

static void send_words(struct client *c, const struct tm_bytes *words, unsigned count)
{
    char head[32];
    int n = snprintf(head, sizeof head, "*%u\r\n", count);
    client_send(c, tm_bytes_of(head, (size_t)n));
    for (unsigned i = 0; i < count; i++) {
        n = snprintf(head, sizeof head, "$%zu\r\n", words[i].len);
        tm_sim_send(c->conn, tm_bytes_of(head, (size_t)n));
        tm_sim_send(c->conn, words[i]);
        tm_sim_send(c->conn, tm_bytes_str("\r\n"));
    }
}

/* ---- the directory ---- */

/* What the node goes by; false: it is not part of the cluster yet. */
static bool directory_at(unsigned node, struct tm_directory *d)
{
    struct client *c = connect_to(node);
    const struct tm_bytes words[] = {tm_bytes_str("TIDEMILL"), tm_bytes_str("DIRECTORY")};
    send_words(c, words, 2);
    bool good = tm_sim_run_until(sim, answered, c, TM_SECONDS(5)) && !c->closed;
    const char *at = NULL;
    for (size_t i = 0; good && i + 7 < c->len && at == NULL; i++)
        if (memcmp(c->reply + i, "bytes\r\n$", 8) == 0)
            at = c->reply + i + 8;
    if (at != NULL) {
        char *bytes;
        size_t len = strtoul(at, &bytes, 10);
        CU_ASSERT_EQUAL(tm_directory_decode(tm_bytes_of(bytes + 2, len), d), TM_OK);
    }
    leave(c);
    return at != NULL;
}

static uint64_t version_at(unsigned node)
{
    static struct tm_directory d;
    return directory_at(node, &d) ? d.version : 0;
}

struct goal {
    unsigned nodes;
    uint64_t version;
};

static bool reached(void *arg)
{
    const struct goal *g = arg;
    for (unsigned i = 0; i < g->nodes; i++)
        if (tm_sim_is_up(sim, i) && version_at(i) != g->version)
            return false;
    return true;
}

static void expect_everywhere(unsigned nodes, uint64_t version)
{
    struct goal g = {nodes, version};
    bool good = tm_sim_run_until(sim, reached, &g, TM_SECONDS(20));
    for (unsigned i = 0; !good && i < nodes; i++)
        if (tm_sim_is_up(sim, i))
            printf("  node %u goes by version %" PRIu64 "\n", i, version_at(i));
    CU_ASSERT_TRUE(good);
}

/* The reply to a change of `now` into the next version with such facts, asked of that node; "" if
 * none came. */
static const char *change_facts(unsigned node, const struct tm_directory *now, const char *facts,
                                uint64_t patience)
{
    static char text[256];
    static struct tm_directory next;
    next = *now;
    next.version++;
    next.facts_len = (uint32_t)snprintf(next.facts, sizeof next.facts, "%s", facts);
    size_t len = tm_directory_size(&next);
    uint8_t *bytes = malloc(len);
    TM_ASSERT(bytes != NULL);
    tm_directory_encode(&next, bytes);
    struct client *c = connect_to(node);
    const struct tm_bytes words[] = {tm_bytes_str("TIDEMILL.CHANGE"), tm_bytes_of(bytes, len)};
    send_words(c, words, 2);
    text[0] = '\0';
    if (tm_sim_run_until(sim, answered, c, patience) && !c->closed)
        snprintf(text, sizeof text, "%s", c->reply);
    leave(c);
    free(bytes);
    return text;
}

static const char *change(unsigned node, const struct tm_directory *now, uint64_t patience)
{
    char facts[64];
    snprintf(facts, sizeof facts, "region=moon-%llu\n", (unsigned long long)now->version + 1);
    return change_facts(node, now, facts, patience);
}

/* Changes what the node goes by, until that succeeds. */
static void change_until_done(unsigned node)
{
    static struct tm_directory now;
    for (unsigned tries = 0; tries < 50; tries++) {
        CU_ASSERT_TRUE_FATAL(directory_at(node, &now));
        if (strcmp(change(node, &now, TM_SECONDS(10)), "+OK\r\n") == 0)
            return;
        tm_sim_run_for(sim, TM_MS(200));
    }
    CU_FAIL("the directory cannot be changed");
}

/* A change whose answer is that of the partition: a node that has just come back knows no leader to
 * ask. */
static const char *decided(unsigned node, const struct tm_directory *now, const char *facts)
{
    const char *said = "";
    for (unsigned tries = 0; tries < 50; tries++) {
        said = change_facts(node, now, facts, TM_SECONDS(10));
        if (strncmp(said, "-ERR", 4) == 0 || strncmp(said, "+OK", 3) == 0)
            return said;
        tm_sim_run_for(sim, TM_MS(200));
    }
    return said;
}

/* ---- the cluster ---- */

static void begin(struct tm_sim_config *c)
{
    sim = tm_sim_new(c);
    create(sim);
    expect_everywhere(c->nodes, 1);
}

static void end(unsigned nodes)
{
    for (unsigned i = 0; i < nodes; i++)
        if (!tm_sim_is_up(sim, i))
            CU_ASSERT_TRUE_FATAL(tm_sim_start(sim, i));
    CU_ASSERT_TRUE(tm_sim_run_until(sim, converged, sim, TM_SECONDS(60)));
    CU_ASSERT_EQUAL(tm_sim_fatal(sim), 0);
    tm_sim_free(sim);
}

static uint64_t seed_of_test(void)
{
    uint64_t seed = tm_test_seed();
    fflush(stdout);
    return seed;
}

/* Of four nodes, one has no copy of the system partition; worker 0 of none holds it where it lives
 * on worker 1. */
static void a_change_asked_of_any_node_reaches_all(void)
{
    struct tm_sim_config c;
    tm_sim_config_default(&c, seed_of_test());
    c.nodes = 4;
    c.partitions = 11 + (unsigned)(c.seed & 1);
    begin(&c);
    for (unsigned i = 0; i < c.nodes; i++) {
        change_until_done(i);
        expect_everywhere(c.nodes, 2 + i);
    }
    end(c.nodes);
}

static void a_change_that_does_not_follow_the_present_version_is_refused(void)
{
    struct tm_sim_config c;
    static struct tm_directory first;
    tm_sim_config_default(&c, seed_of_test());
    begin(&c);
    CU_ASSERT_TRUE_FATAL(directory_at(0, &first));
    change_until_done(0);
    CU_ASSERT_PTR_NOT_NULL(strstr(change(1, &first, TM_SECONDS(10)), "-ERR the directory is not"));
    struct client *cl = connect_to(2);
    const struct tm_bytes words[] = {tm_bytes_str("TIDEMILL.CHANGE"), tm_bytes_str("nonsense")};
    send_words(cl, words, 2);
    CU_ASSERT_TRUE(tm_sim_run_until(sim, answered, cl, TM_SECONDS(10)));
    CU_ASSERT_PTR_NOT_NULL(strstr(cl->reply, "are no directory"));
    leave(cl);
    expect_everywhere(c.nodes, 2);
    end(c.nodes);
}

/* Links are what the newest version says, at every worker; a line that no node knows changes
 * nothing. */
static void links_that_are_changed_reach_every_node_or_none(void)
{
    static struct tm_directory now;
    struct tm_sim_config c;
    tm_sim_config_default(&c, seed_of_test());
    begin(&c);
    CU_ASSERT_TRUE_FATAL(directory_at(0, &now));
    const char *said = decided(1, &now, "to:moon/colour=red\n");
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "-ERR the directory is not taken: line "
                                        "\"to:moon/colour=red\": is no option of a link"));
    expect_everywhere(c.nodes, 1);
    said = decided(1, &now, "to:moon/replicationMode=async\n");
    CU_ASSERT_STRING_EQUAL(said, "+OK\r\n");
    expect_everywhere(c.nodes, 2);
    for (unsigned i = 0; i < c.nodes; i++) {
        const struct tm_link_plan *links = tm_node_links(&sim->nodes[i].shared);
        CU_ASSERT(links->version == 2 && tm_link_plan_find_out(links, "moon") == 0);
    }
    end(c.nodes);
}

/* [a node that was down acts on what was changed meanwhile]  First it knows no better: what it is
 * asked to write follows a version that is no more. */
static void a_node_that_was_down_goes_by_what_it_missed(void)
{
    struct tm_sim_config c;
    static struct tm_directory older;
    tm_sim_config_default(&c, seed_of_test());
    c.nodes = 4;
    begin(&c);
    for (unsigned away = 0; away < c.nodes; away++) {
        tm_sim_end(sim, away, away % 2 == 0 ? TM_SIM_KILL : TM_SIM_POWER);
        change_until_done((away + 1) % c.nodes);
        change_until_done((away + 2) % c.nodes);
        expect_everywhere(c.nodes, 3 + 2 * away);
        tm_sim_isolate(sim, away, true);
        CU_ASSERT_TRUE_FATAL(tm_sim_start(sim, away));
        tm_sim_run_for(sim, TM_SECONDS(1));
        CU_ASSERT_TRUE_FATAL(directory_at(away, &older));
        CU_ASSERT_FATAL(older.version < 3 + 2 * away); /* it acts on that */
        CU_ASSERT_PTR_NULL(strstr(change(away, &older, TM_MS(500)), "+OK"));
        tm_sim_isolate(sim, away, false);
        expect_everywhere(c.nodes, 3 + 2 * away);
        CU_ASSERT_PTR_NOT_NULL(
            strstr(decided(away, &older, "region=sun\n"), "-ERR the directory is not"));
        expect_everywhere(c.nodes, 3 + 2 * away);
    }
    end(c.nodes);
}

static void a_wiped_node_goes_by_the_newest(void)
{
    struct tm_sim_config c;
    tm_sim_config_default(&c, seed_of_test());
    begin(&c);
    for (unsigned wiped = 0; wiped < c.nodes; wiped++) {
        tm_sim_end(sim, wiped, TM_SIM_KILL);
        tm_sim_wipe(sim, wiped);
        change_until_done((wiped + 1) % c.nodes);
        CU_ASSERT_TRUE_FATAL(tm_sim_start(sim, wiped));
        expect_everywhere(c.nodes, 2 + wiped);
        tm_sim_run_for(sim, TM_SECONDS(2)); /* it is to count again before the next goes */
        CU_ASSERT_TRUE(tm_sim_run_until(sim, converged, sim, TM_SECONDS(60)));
    }
    end(c.nodes);
}

/* Everybody has lost power at once: the copies on the disks, and what is committed, are all there
 * is. */
static void a_version_survives_the_power_of_all(void)
{
    struct tm_sim_config c;
    tm_sim_config_default(&c, seed_of_test());
    c.nodes = 4;
    begin(&c);
    for (uint64_t version = 2; version < 6; version++) {
        change_until_done((unsigned)(version % c.nodes));
        for (unsigned i = 0; i < c.nodes; i++)
            tm_sim_end(sim, i, TM_SIM_POWER);
        for (unsigned i = 0; i < c.nodes; i++)
            CU_ASSERT_TRUE_FATAL(tm_sim_start(sim, i));
        expect_everywhere(c.nodes, version);
    }
    end(c.nodes);
}

/* A node with an older copy that starts alone goes by that until it meets others. */
static void a_node_with_an_older_copy_starts_and_takes_the_newer(void)
{
    struct tm_sim_config c;
    tm_sim_config_default(&c, seed_of_test());
    begin(&c);
    tm_sim_end(sim, 2, TM_SIM_KILL);
    change_until_done(0);
    expect_everywhere(c.nodes, 2);
    tm_sim_end(sim, 0, TM_SIM_KILL);
    tm_sim_end(sim, 1, TM_SIM_KILL);
    CU_ASSERT_TRUE_FATAL(tm_sim_start(sim, 2));
    tm_sim_run_for(sim, TM_SECONDS(2));
    CU_ASSERT_EQUAL(version_at(2), 1);
    CU_ASSERT_TRUE_FATAL(tm_sim_start(sim, 1));
    expect_everywhere(c.nodes, 2);
    end(c.nodes);
}

/* Who has a copy of the system partition, and who leads it. */
struct system {
    uint32_t partition;
    unsigned leader;
    unsigned holders; /* bit per node */
};

static void look(void *arg, const struct tm_shard_partition *p)
{
    struct system *s = arg;
    if (p->partition != s->partition)
        return;
    s->holders |= 1u << p->node;
    if (p->ready)
        s->leader = p->node;
}

static struct system system_of(const struct tm_sim_config *c)
{
    struct system s = {.partition = c->partitions, .leader = c->nodes};
    for (unsigned i = 0; i < c->nodes; i++)
        for (unsigned w = 0; tm_sim_is_up(sim, i) && w < tm_sim_workers(sim, i); w++)
            tm_shard_partitions(tm_sim_shard(sim, i, w), look, &s);
    return s;
}

static void the_directory_is_written_to_a_quorum_in_eventual_mode(void)
{
    struct tm_sim_config c;
    static struct tm_directory first;
    tm_sim_config_default(&c, seed_of_test());
    c.eventual = true;
    begin(&c);
    change_until_done(0);
    expect_everywhere(c.nodes, 2);
    unsigned leader = system_of(&c).leader;
    CU_ASSERT_FATAL(leader < c.nodes);
    CU_ASSERT_TRUE_FATAL(directory_at(leader, &first));
    tm_sim_isolate(sim, leader, true);
    /* Its disk alone does not do. */
    CU_ASSERT_PTR_NULL(strstr(change(leader, &first, TM_MS(100)), "+OK"));
    tm_sim_run_for(sim, TM_SECONDS(2));
    CU_ASSERT_EQUAL(version_at(leader), 2);
    change_until_done((leader + 1) % c.nodes);
    tm_sim_isolate(sim, leader, false);
    expect_everywhere(c.nodes, 3);
    static struct tm_directory here, there;
    CU_ASSERT_TRUE(directory_at(leader, &here));
    CU_ASSERT_TRUE(directory_at((leader + 1) % c.nodes, &there));
    CU_ASSERT_EQUAL(memcmp(&here, &there, sizeof here), 0);
    end(c.nodes);
}

/* Two of the three copies are lost with a version that the third never saw, but a node without a
 * copy goes by it. */
static void a_version_that_a_forced_recovery_lost_is_written_back(void)
{
    struct tm_sim_config c;
    tm_sim_config_default(&c, seed_of_test());
    c.nodes = 4;
    begin(&c);
    change_until_done(0);
    expect_everywhere(c.nodes, 2);
    struct system s = system_of(&c);
    CU_ASSERT_EQUAL_FATAL(__builtin_popcount(s.holders), 3);
    unsigned without = (unsigned)__builtin_ctz(~s.holders);
    unsigned behind =
        (without + 1) % c.nodes == s.leader ? (without + 2) % c.nodes : (without + 1) % c.nodes;
    tm_sim_isolate(sim, behind, true);
    change_until_done(s.leader);
    tm_sim_run_for(sim, TM_SECONDS(1));
    CU_ASSERT_EQUAL(version_at(without), 3);
    for (unsigned i = 0; i < c.nodes; i++)
        if (i != behind && i != without) {
            tm_sim_end(sim, i, TM_SIM_KILL);
            tm_sim_wipe(sim, i);
        }
    CU_ASSERT_EQUAL(version_at(behind), 2);
    struct client *cl = client_of(sim, behind, c.partitions % tm_sim_workers(sim, behind));
    char partition[16];
    snprintf(partition, sizeof partition, "%u", c.partitions);
    const struct tm_bytes words[] = {tm_bytes_str("TIDEMILL"), tm_bytes_str("RECOVER"),
                                     tm_bytes_str(partition)};
    send_words(cl, words, 3);
    CU_ASSERT_TRUE(tm_sim_run_until(sim, answered, cl, TM_SECONDS(10)));
    CU_ASSERT_STRING_EQUAL(cl->reply, "+OK\r\n");
    leave(cl);
    tm_sim_isolate(sim, behind, false);
    expect_everywhere(c.nodes, 3);
    change_until_done(without); /* refused unless the partition has what it follows */
    expect_everywhere(c.nodes, 4);
    CU_ASSERT_EQUAL(tm_sim_fatal(sim), 0);
    tm_sim_free(sim);
}

/* Changes, kills, power, wipes and cuts at random; in the end all go by one version, which is not
 * older than any that was acknowledged. */
static void whatever_happens_all_go_by_what_was_acknowledged_last(void)
{
    struct tm_sim_config c;
    static struct tm_directory now;
    tm_sim_config_default(&c, seed_of_test());
    c.nodes = 3 + (unsigned)(c.seed % 3);
    c.wire.lose = 20;
    begin(&c);
    uint64_t acknowledged = 1;
    for (unsigned step = 0; step < 25; step++) {
        unsigned i = (unsigned)tm_sim_draw(sim, c.nodes);
        switch (tm_sim_draw(sim, 4)) {
        case 0:
            tm_sim_end(sim, i, tm_sim_draw(sim, 2) == 0 ? TM_SIM_KILL : TM_SIM_POWER);
            tm_sim_run_for(sim, TM_MS(tm_sim_draw(sim, 500)));
            CU_ASSERT_TRUE_FATAL(tm_sim_start(sim, i));
            break;
        case 1:
            tm_sim_isolate(sim, i, true);
            tm_sim_run_for(sim, TM_MS(tm_sim_draw(sim, 1000)));
            tm_sim_isolate(sim, i, false);
            break;
        default:
            if (directory_at(i, &now) && strcmp(change((unsigned)tm_sim_draw(sim, c.nodes), &now,
                                                       TM_MS(tm_sim_draw(sim, 3000))),
                                                "+OK\r\n") == 0) {
                CU_ASSERT(now.version >= acknowledged); /* others may have happened unheard */
                acknowledged = now.version + 1;
            }
        }
    }
    CU_ASSERT_TRUE(tm_sim_run_until(sim, converged, sim, TM_SECONDS(60)));
    tm_sim_run_for(sim, TM_SECONDS(2));
    uint64_t version = version_at(0);
    CU_ASSERT(version >= acknowledged && acknowledged > 1);
    expect_everywhere(c.nodes, version);
    end(c.nodes);
}

static const struct tm_test tests[] = {
    TM_TEST(a_change_asked_of_any_node_reaches_all),
    TM_TEST(a_change_that_does_not_follow_the_present_version_is_refused),
    TM_TEST(links_that_are_changed_reach_every_node_or_none),
    TM_TEST(a_node_that_was_down_goes_by_what_it_missed),
    TM_TEST(a_wiped_node_goes_by_the_newest),
    TM_TEST(a_version_survives_the_power_of_all),
    TM_TEST(a_node_with_an_older_copy_starts_and_takes_the_newer),
    TM_TEST(the_directory_is_written_to_a_quorum_in_eventual_mode),
    TM_TEST(a_version_that_a_forced_recovery_lost_is_written_back),
    TM_TEST(whatever_happens_all_go_by_what_was_acknowledged_last),
};

TM_TEST_MAIN("sim/directory", tests)
