#include "actors/change.h"
#include "test.h"

static char said[8][256];
static unsigned count;

static void keep(void *arg, const struct tm_change *change)
{
    (void)arg;
    if (count < 8)
        tm_change_text(change, said[count], sizeof said[0]);
    count++;
}

static void expect(const char *from, const char *to, const char *const *lines, unsigned n)
{
    count = 0;
    CU_ASSERT_EQUAL(tm_changes("c", from, to, keep, NULL), n);
    CU_ASSERT_EQUAL_FATAL(count, n);
    for (unsigned i = 0; i < n; i++) {
        CU_ASSERT_STRING_EQUAL(said[i], lines[i]);
        if (strcmp(said[i], lines[i]) != 0)
            printf("  got: %s\n", said[i]);
    }
}

#define EXPECT(from, to, ...)                                                                      \
    expect(from, to, (const char *const[]){__VA_ARGS__},                                           \
           sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void what_is_the_same_is_no_change(void)
{
    const char *facts = "region=x\nto:b/batchBytes=64KiB\nto:b/replicationMode=async\n";
    CU_ASSERT_EQUAL(tm_changes("c", facts, facts, NULL, NULL), 0);
    CU_ASSERT_EQUAL(tm_changes("c", "", "", NULL, NULL), 0);
}

static void each_value_is_told_with_what_it_was(void)
{
    EXPECT("from:e/forward=none\nregion=mars\nto:b/batchBytes=64KiB\n",
           "from:e/forward=transit\nlocation=here\nto:b/batchBytes=1MiB\n",
           "~ link e -> c: forward: none -> transit", "+ location: here", "- region: mars",
           "~ link c -> b: batchBytes: 64KiB -> 1MiB");
    EXPECT("to:b/batchBytes=64KiB\nto:b/excludeEntityTypes=X\n",
           "to:b/batchBytes=64KiB\nto:b/replicateEntityTypes=Y\n",
           "- link c -> b: excludeEntityTypes: X", "+ link c -> b: replicateEntityTypes: Y");
    EXPECT("n-1/address=10.0.0.1\n", "n-1/address=10.0.0.2\n",
           "~ n-1/address: 10.0.0.1 -> 10.0.0.2");
}

static void what_an_operator_says_is_told_of_the_link(void)
{
    EXPECT("op:to:b/paused=yes\nto:b/batchBytes=64KiB\n",
           "op:from:e/epoch=2\nop:to:b/throttle=1KiB\nto:b/batchBytes=64KiB\n",
           "+ link e -> c: epoch: 2", "- link c -> b: paused: yes",
           "+ link c -> b: throttle: 1KiB");
}

static void a_link_or_a_type_that_comes_or_goes_is_one_change(void)
{
    EXPECT("to:b/batchBytes=64KiB\nto:b/replicationMode=async\ntype:T/conflict=max\n"
           "type:T/field:f/conflict=min\n",
           "cluster:d/nodes=x::+1\ncluster:d/partitions=4\nto:b/batchBytes=64KiB\n"
           "to:b/replicationMode=async\nto:bb/batchBytes=64KiB\nto:bb/replicationMode=sync\n",
           "+ cluster d", "+ link c -> bb", "- type T");
    EXPECT("to:b/batchBytes=64KiB\nto:b/replicationMode=async\n", "", "- link c -> b");
}

static void what_a_mode_brings_is_said(void)
{
    EXPECT(
        "to:b/replicationMode=async\n", "to:b/replicationMode=sync\n",
        "~ link c -> b: replicationMode: async -> sync (the target catches up first; writes wait "
        "for it from then on)");
    EXPECT("to:b/replicationMode=sync\n", "to:b/replicationMode=async\n",
           "~ link c -> b: replicationMode: sync -> async (writes do not wait for the target from "
           "then on)");
    EXPECT("type:T/conflict=max\n", "type:T/conflict=max\ntype:T/residency=eu\n",
           "+ type T: residency: eu (what has left already stays where it is)");
}

/* A function may be thousands of bytes long. */
static void long_values_are_cut(void)
{
    char from[4096], text[256] = "";
    memset(from, 'x', sizeof from);
    memcpy(from, "type:T/function=", 16);
    memcpy(from + sizeof from - 2, "\n", 2);
    count = 0;
    CU_ASSERT_EQUAL(tm_changes("c", from, "type:T/function=y\n", keep, NULL), 1);
    CU_ASSERT(strlen(said[0]) < sizeof said[0]);
    const struct tm_change change = {.kind = TM_CHANGE_CHANGED,
                                     .subject = "s",
                                     .option = "o",
                                     .from = from,
                                     .to = from,
                                     .note = from};
    tm_change_text(&change, text, sizeof text);
    CU_ASSERT_EQUAL(strlen(text), sizeof text - 1);
}

static const struct tm_test tests[] = {
    TM_TEST(what_is_the_same_is_no_change),
    TM_TEST(each_value_is_told_with_what_it_was),
    TM_TEST(what_an_operator_says_is_told_of_the_link),
    TM_TEST(a_link_or_a_type_that_comes_or_goes_is_one_change),
    TM_TEST(what_a_mode_brings_is_said),
    TM_TEST(long_values_are_cut),
};
TM_TEST_MAIN("actors/change", tests)
