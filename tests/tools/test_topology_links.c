#include "tests/tools/topology_file.h"

/* How many warnings say that. */
static unsigned warned(const struct tm_topology *t, const char *expect)
{
    unsigned n = 0;
    for (unsigned i = 0; i < t->warning_count; i++)
        n += strstr(t->warnings[i], expect) != NULL;
    return n;
}

static void warns(const char *text, const char *expect)
{
    struct tm_topology *t = topology_file_load(text);
    bool said = warned(t, expect) == 1;
    CU_ASSERT(said);
    if (!said)
        printf("  wanted once: %s\n  got %u, such as: %s\n", expect, t->warning_count,
               t->warning_count > 0 ? t->warnings[0] : "");
    tm_topology_free(t);
}

static void a_link_has_the_clusters_options_and_its_own_over_them(void)
{
    struct tm_topology *t = topology_file_load(
        "defineCluster('a', {\n"
        "  replicateTo: ['b', { cluster: 'c', replicationMode: 'sync', syncTimeoutMs: '2s',\n"
        "    replicateEntityTypes: ['X*'], backfill: true }],\n"
        "  replicateEntityTypes: ['Order', 'Customer'], excludeEntityTypes: ['Log'],\n"
        "  batchBytes: '128KiB', batchMaxDelayUs: 250, maxBacklogAge: '2h', backfill: false,\n"
        "  onNarrow: 'purge', compression: 'none', maxBacklogBytes: '1g', backlogFull: 'reject',\n"
        "  maxBytesPerSecond: 1000000, forward: 'transit', maxClockSkewMs: '1s',\n"
        "  tombstoneMaxAge: '30d', linkFabric: 'dpdk' });\n"
        "defineCluster('b'); defineCluster('c');\n");
    const struct tm_cluster_spec *a = &t->clusters[0];
    CU_ASSERT_EQUAL_FATAL(a->link_count, 2);
    const struct tm_link_spec *b = &a->links[0], *c = &a->links[1];
    CU_ASSERT(strcmp(b->target, "b") == 0 && strcmp(c->target, "c") == 0);
    CU_ASSERT(b->options.mode == TM_LINK_ASYNC && c->options.mode == TM_LINK_SYNC);
    CU_ASSERT(b->options.batch_bytes == 128 << 10 && c->options.batch_bytes == 128 << 10);
    CU_ASSERT_EQUAL(b->options.batch_max_delay_us, 250);
    CU_ASSERT_EQUAL(b->options.max_backlog_age, 7200);
    CU_ASSERT_EQUAL(b->options.max_backlog_bytes, 1 << 30);
    CU_ASSERT(b->options.backfill == 0 && c->options.backfill == 1);
    CU_ASSERT_EQUAL(b->options.on_narrow, TM_LINK_NARROW_PURGE);
    CU_ASSERT_EQUAL(b->options.compression, TM_LINK_PLAIN);
    CU_ASSERT_EQUAL(b->options.backlog_full, TM_LINK_FULL_REJECT);
    CU_ASSERT_EQUAL(b->options.max_bytes_per_second, 1000000);
    CU_ASSERT_EQUAL(b->options.forward, TM_LINK_FORWARD_TRANSIT);
    CU_ASSERT_EQUAL(b->options.fabric, TM_LINK_DPDK);
    CU_ASSERT_EQUAL(b->options.max_clock_skew_ms, 1000);
    CU_ASSERT_EQUAL(b->options.tombstone_max_age, 30 * 86400);
    CU_ASSERT_EQUAL(c->options.sync_timeout_ms, 2000);
    CU_ASSERT(b->include.count == 2 && c->include.count == 1 && c->exclude.count == 1);
    CU_ASSERT_STRING_EQUAL(c->include.names[0], "X*");
    tm_topology_free(t);
}

static void defaults_are_those_of_the_table(void)
{
    struct tm_topology *t =
        topology_file_load("defineCluster('a', { replicateTo: ['b'] }); defineCluster('b');");
    struct tm_link_options o;
    tm_link_options_init(&o);
    const struct tm_link_spec *link = &t->clusters[0].links[0];
    CU_ASSERT_EQUAL(memcmp(&link->options, &o, sizeof o), 0);
    CU_ASSERT(link->include.count == 0 && link->exclude.count == 0 && link->given == 0);
    CU_ASSERT(o.mode == TM_LINK_ASYNC && o.backfill == 1 && o.sync_timeout_ms == 1000 &&
              o.max_clock_skew_ms == 500 && o.on_unavailable == TM_LINK_FAIL &&
              o.forward == TM_LINK_FORWARD_NONE && o.ack_level == TM_LINK_ACK_DURABLE);
    CU_ASSERT_EQUAL(t->warning_count, 0);
    tm_topology_free(t);
}

static void a_jurisdiction_is_the_regions_first_part(void)
{
    struct tm_topology *t = topology_file_load(
        "defineCluster('a', { region: 'eu-west-1' }); defineCluster('b', { region: 'eu' });"
        "defineCluster('c', { region: 'rack 7' }); defineCluster('d');"
        "defineCluster('e', { region: 'us-1', jurisdiction: 'ch' });");
    static const char *const expect[] = {"eu", "eu", "", "", "ch"};
    for (unsigned i = 0; i < 5; i++)
        CU_ASSERT_STRING_EQUAL(t->clusters[i].jurisdiction, expect[i]);
    tm_topology_free(t);
    refused("defineCluster('a', { jurisdiction: 'e u' });", "\"e u\" is no valid name");
}

static void targets_are_checked(void)
{
    refused(
        "defineCluster('a', {\n replicateTo: ['a'] });",
        ":2: defineCluster(\"a\"): option \"replicateTo\": a cluster cannot replicate to itself");
    refused("defineCluster('a', { replicateTo: [{ cluster: 'a' }] });",
            "link to \"a\": option \"replicateTo\": a cluster cannot replicate to itself");
    refused("defineCluster('a', { replicateTo: ['b', 'b'] });", "\"b\" is listed twice");
    refused("defineCluster('a', { replicateTo: ['b', { cluster: 'b' }] });",
            "\"b\" is listed twice");
    refused("defineCluster('a', { replicateTo: 'b' });", "must be an array of names, not a string");
    refused("defineCluster('a', { replicateTo: [7] });",
            "entry 1 must be a cluster's name or { cluster: \"name\", … }, not a number");
    refused("defineCluster('a', { replicateTo: [{ mode: 'sync' }] });", "entry 1 must be");
    refused("defineCluster('a', { replicateTo: [{ cluster: 7 }] });", "entry 1 must be");
    refused("defineCluster('a', { replicateTo: ['../b'] });", "\"../b\" is no valid name");
    refused("var n = []; for (var i = 0; i < 17; i++) n.push('c' + i);\n"
            "defineCluster('a', { replicateTo: n });",
            "has 17 entries, at most 16 are allowed");
    refused("for (var i = 0; i < 17; i++) defineCluster('c' + i, { replicateTo: ['a'] });\n"
            "defineCluster('a');",
            "17 clusters replicate to it, at most 16 are allowed");
    refused("var n = []; for (var i = 0; i < 33; i++) n.push('n' + i);\n"
            "defineCluster('b', { nodes: n }); defineCluster('c', { nodes: n });\n"
            "defineCluster('a', { replicateTo: ['b'] });"
            "defineCluster('d', { replicateTo: ['b', 'c'] });",
            ":3: defineCluster(\"d\"): the clusters that it is linked with have 66 nodes");
}

static void a_target_that_is_not_there_is_a_warning(void)
{
    warns("defineCluster('a', { replicateTo: ['b'] });",
          "a -> b: the target is not defined in this file: the link is UNRESOLVED");
    warns("defineCluster('a', { replicateTo: [{ cluster: 'b', replicationMode: 'sync' }] });",
          "UNRESOLVED");
}

static void values_are_told_what_is_allowed(void)
{
    refused(
        "defineCluster('a', { replicateTo: ['b'],\n batchBytes: '1k' });",
        ":2: defineCluster(\"a\"): option \"batchBytes\": must be a size from 4KiB to 4MiB, such "
        "as 64KiB, not \"1k\"");
    refused(
        "defineCluster('a', { replicateTo: [{ cluster: 'b',\n batchBytes: true }] });",
        "link to \"b\": option \"batchBytes\": must be a size from 4KiB to 4MiB, such as 64KiB, "
        "not true");
    refused("defineCluster('a', { batchBytes: 5000.5 });", "must be a size");
    refused("defineCluster('a', { batchBytes: [5000] });", "not an array");
    refused("defineCluster('a', { batchBytes: function () {} });", "not function");
    refused("defineCluster('a', { batchMaxDelayUs: '1.5ms' });",
            "must be a time from 0 to 1s, such as 10ms, not \"1.5ms\"");
    refused("defineCluster('a', { maxBacklogAge: '10y' });", "must be a time from 1s to 365d");
    refused("defineCluster('a', { backfill: 'true' });", "must be true or false, not \"true\"");
    refused("defineCluster('a', { backfill: 1 });", "must be true or false, not 1");
    refused("defineCluster('a', { replicationMode: 'Sync' });",
            "must be \"async\" or \"sync\", not \"Sync\"");
    refused("defineCluster('a', { onUnavailable: true });",
            "must be \"fail\", \"block\" or \"degrade\", not true");
    refused("defineCluster('a', { onUnavailible: 'fail' });", "did you mean \"onUnavailable\"?");
    refused("defineCluster('a', { replicateTo: [{ cluster: 'b', forwards: 'none' }] });",
            "link to \"b\": option \"forwards\": unknown option; did you mean \"forward\"?");
    refused("defineCluster('a', { replicateTo: [{ cluster: 'b', nodes: ['x'] }] });",
            "unknown option");
    refused("defineCluster('a', { replicateTo: ['b'], replicateEntityTypes: ['A*B'] });",
            "\"A*B\" is no valid name");
    refused("defineCluster('a', { replicateTo: ['b'], replicateEntityTypes: ['A', 'A'] });",
            "\"A\" is listed twice");
}

static void what_contradicts_itself_is_refused(void)
{
    refused("defineCluster('a', { consistency: 'eventual', replicateTo: ['b'],\n"
            " replicationMode: 'sync' });",
            ":2: defineCluster(\"a\"): option \"replicationMode\": \"sync\" contradicts "
            "consistency: \"eventual\"");
    refused("defineCluster('a', { consistency: 'eventual',"
            " replicateTo: [{ cluster: 'b', replicationMode: 'sync' }] });",
            "contradicts consistency: \"eventual\"");
    refused("defineCluster('a', { replicateTo: ['b'], replicationMode: 'sync' });"
            "defineCluster('b', { consistency: 'eventual' });",
            "\"sync\" needs a quorum at the target, and b has consistency: \"eventual\"");
    refused("defineCluster('a', { replicateTo: [{ cluster: 'b', onUnavailable: 'block' }] });",
            "option \"onUnavailable\": is of synchronous links only");
    refused("defineCluster('a', { replicateTo: ['b'], batchBytes: '2MiB',"
            " maxBacklogBytes: '1MiB' });",
            "option \"batchBytes\": is more than maxBacklogBytes");
    refused("defineCluster('a', { replicateTo: ['b'], linkFabric: 'dpdk' }); defineCluster('b');"
            "defineNode('b-1', { fabric: 'tcp' });",
            "\"dpdk\" is shared memory of one machine, and defineNode(\"b-1\") of b gives it the "
            "fabric \"tcp\"");
    refused("defineCluster('a', { replicateTo: ['b'], linkFabric: 'dpdk' }); defineCluster('b');"
            "defineNode('a-1', { fabricPort: 'net_tap0', fabricAddress: '10.0.0.1' });",
            "defineNode(\"a-1\") of a puts it on the wire of a fabricPort");
    refused(
        "defineCluster('a', { replicateTo: ['b'], linkFabric: 'dpdk' }); defineCluster('b');"
        "defineNode('a-1', { address: '10.0.0.1' }); defineNode('b-1', { address: '10.0.0.2' });",
        "defineNode(\"b-1\") of b has it on another machine than others");
}

static void what_has_no_effect_is_a_warning(void)
{
    warns("defineCluster('a', { batchBytes: 65536 });",
          "a: batchBytes has no effect: the cluster has no link");
    warns("defineCluster('a', { replicateEntityTypes: ['X'] });",
          "a: a filter of types has no effect");
    warns("defineCluster('a', { replicateTo: ['b'], ackLevel: 'applied' }); defineCluster('b');",
          "a: ackLevel has no effect: the cluster has no synchronous link");
    warns("defineCluster('a', { replicateTo: ['b'], replicateEntityTypes: ['X', 'Y'],"
          " excludeEntityTypes: ['X'] }); defineCluster('b');",
          "a: type X is both replicated and excluded: exclude wins");
    warns("defineCluster('a', { replicateTo: ['b'], replicateEntityTypes: ['X'],"
          " excludeEntityTypes: ['X*'] }); defineCluster('b');",
          "a -> b: nothing leaves: every type is excluded");
    warns("defineCluster('a', { replicateTo: ['b'], excludeEntityTypes: ['*'] });"
          "defineCluster('b');",
          "a -> b: nothing leaves");
}

static void a_name_that_matches_no_type_is_a_warning(void)
{
    warns("defineEntity('Order', {}); defineCluster('b');"
          "defineCluster('a', { replicateTo: ['b'], replicateEntityTypes: ['Ordr', 'Ord*'] });",
          "a: replicateEntityTypes: \"Ordr\" matches no type that defineEntity names; did you mean "
          "\"Order\"?");
    warns("defineEntity('Order', {}); defineCluster('b');"
          "defineCluster('a', { replicateTo: ['b'], excludeEntityTypes: ['Log*'] });",
          "a: excludeEntityTypes: \"Log*\" matches no type that defineEntity names");
    /* A file that names no type at all leaves it open. */
    struct tm_topology *t =
        topology_file_load("defineCluster('b'); defineCluster('a', { replicateTo: ['b'],"
                           " replicateEntityTypes: ['Order'] });");
    CU_ASSERT_EQUAL(t->warning_count, 0);
    tm_topology_free(t);
}

static void what_is_not_carried_out_yet_is_a_warning(void)
{
    warns(
        "defineCluster('a'); defineEntity('Order', { conflict: function (a, b) { return {}; } });",
        "type Order: conflict \"function\" is not carried out yet");
}

static const struct tm_test tests[] = {
    TM_TEST(a_link_has_the_clusters_options_and_its_own_over_them),
    TM_TEST(defaults_are_those_of_the_table),
    TM_TEST(a_jurisdiction_is_the_regions_first_part),
    TM_TEST(targets_are_checked),
    TM_TEST(a_target_that_is_not_there_is_a_warning),
    TM_TEST(values_are_told_what_is_allowed),
    TM_TEST(what_contradicts_itself_is_refused),
    TM_TEST(what_has_no_effect_is_a_warning),
    TM_TEST(what_is_not_carried_out_yet_is_a_warning),
    TM_TEST(a_name_that_matches_no_type_is_a_warning),
};
TM_TEST_MAIN("tools/topology_links", tests)
