/* What is said of links follows from what nodes say, whoever of them says it twice or not at all.
 */
#include "tools/link_explain.h"
#include "test.h"

#include <stdio.h>

#define OUT(source, target, more)                                                                  \
    "{'kind':'out','peer':'cloud','at':'f-1','source':" #source ",'target':" #target               \
    ",'commit':10,'acked':10,'state':'STREAM','waits':'NOTHING','node':'c-1','refusal':''," more   \
    "'lag_records':0,'lag_bytes':0,'lag_ms':0,'delay_ms':3}"
#define LINK(more)                                                                                 \
    "{'kind':'link','way':'out','peer':'cloud','at':'f-1','mode':'async','partitions':2,"          \
    "'nodes':3,'reach':3,'rate':0,'paused':0,'refused':'','stranger':''" more "}"

static struct tm_linked clusters[2];
static struct tm_linked_all all = {.clusters = clusters};
static json_t *report, *says;

/* One cluster's rows: JSON with ' for ". */
static void say(unsigned i, const char *name, const char *rows)
{
    char text[8192];
    size_t n = 0;
    for (const char *c = rows; *c != '\0' && n + 1 < sizeof text; c++)
        text[n++] = *c == '\'' ? '"' : *c;
    text[n] = '\0';
    json_error_t error;
    json_decref(clusters[i].rows);
    clusters[i].rows = json_loads(text, 0, &error);
    CU_ASSERT_FATAL(clusters[i].rows != NULL);
    snprintf(clusters[i].name, sizeof clusters[i].name, "%s", name);
    all.count = i + 1;
}

static const json_t *look(const char *source, const char *target)
{
    json_decref(report);
    json_decref(says);
    report = tm_link_report(&all);
    const json_t *link = tm_link_report_find(report, source, target);
    CU_ASSERT_FATAL(link != NULL);
    says = tm_link_explain(link);
    return link;
}

static bool said(const char *needle)
{
    for (size_t i = 0; i < json_array_size(says); i++)
        if (strstr(json_string_value(json_array_get(says, i)), needle) != NULL)
            return true;
    for (size_t i = 0; i < json_array_size(says); i++)
        printf("  said: %s\n", json_string_value(json_array_get(says, i)));
    return false;
}

#define STATE(word) CU_ASSERT_STRING_EQUAL(tm_link_text(look("factory", "cloud"), "state"), word)

static void what_streams_is_said_in_one_sentence(void)
{
    say(0, "factory", "[" LINK("") "," OUT(0, 0, "") "," OUT(1, 0, "") "]");
    STATE("streams");
    CU_ASSERT_EQUAL(json_array_size(says), 1);
    CU_ASSERT(said("factory -> cloud: streams: the target has all"));
    CU_ASSERT(said("took 3 ms"));
}

static void a_partition_of_which_nobody_tells_has_no_leader(void)
{
    say(0, "factory", "[" LINK("") "," OUT(0, 0, "") "]");
    STATE("unled");
    CU_ASSERT(said("partition 1 of factory: no node that answers leads it"));
}

static void a_node_that_has_no_end_of_partitions_has_as_many_as_may_be(void)
{
    say(0, "factory", "[" LINK(",'partitions':4611686018427387904") "," OUT(0, 0, "") "]");
    const json_t *unled = json_object_get(look("factory", "cloud"), "unled");
    CU_ASSERT_EQUAL(json_array_size(unled), TM_DIRECTORY_PARTITIONS_MAX - 1);
}

static void of_two_leaders_the_one_that_knows_more_counts(void)
{
    say(0, "factory",
        "[" LINK("") "," OUT(0, 0, "") "," OUT(
            1, 0,
            "") ",{'kind':'out','peer':'cloud','at':'f-2','source':1,'target':0,'commit':12,'acked'"
                ":7,"
                "'state':'STREAM','waits':'BATCH','lag_records':5,'lag_bytes':2048,'lag_ms':90000,"
                "'record':8,'record_age_ms':90000,'record_stamp':'01a2','record_type':'Order'}]");
    STATE("lags");
    CU_ASSERT_EQUAL(tm_link_number(look("factory", "cloud"), "streams"), 2);
    CU_ASSERT(said("behind by 5 records, about 2.0 KiB, the oldest waits for 90.0 s"));
    CU_ASSERT(said("partition 1 (1 of 2 streams): the next batch is being gathered. First record "
                   "that cloud does not have for good: partition 1, index 8, stamp 01a2, written "
                   "90.0 s ago, type Order, committed at factory"));
}

static void what_is_refused_is_said_with_what_helps(void)
{
#define REFUSED(source, why, text)                                                                 \
    "{'kind':'out','peer':'cloud','source':" #source ",'target':0,'commit':9,'acked':3,"           \
    "'state':'REFUSED','waits':'REFUSED','refusal':'" why "','refusal_text':'" text                \
    "','lag_records':6,'next_ms':7000,'record_on_disk':1}"
    say(0, "factory",
        "[" LINK("") "," REFUSED(0, "RESIDENCY", "type=Customer") "," REFUSED(1, "CLOCK",
                                                                              "by 9 ms") "]");
    STATE("stands");
    CU_ASSERT(said("partition 0 (1 of 2 streams): cloud refuses: a type must not come here"));
    CU_ASSERT(said("(type=Customer): take the type out"));
    CU_ASSERT(said("asked again in 7.0 s"));
    CU_ASSERT(said("after index 3, on the disk of factory only, committed"));
    CU_ASSERT(said("`tidemill link release factory cloud`"));
    say(0, "factory", "[" LINK("") "," REFUSED(0, "PAUSED", "") "," REFUSED(1, "PAUSED", "") "]");
    STATE("paused");
    CU_ASSERT(said("partitions 0, 1 (2 of 2 streams)"));
    CU_ASSERT(said("`tidemill link resume factory cloud`"));
}

static void what_is_wrong_between_clusters_is_said_of_the_link(void)
{
#define TWO OUT(0, 0, "") "," OUT(1, 0, "") "]"
    say(0, "factory", "[" LINK(",'paused':1") "," TWO);
    STATE("paused");
    CU_ASSERT(said("an operator has paused it at factory"));
    say(0, "factory", "[" LINK(",'nodes':0,'reach':0") "]");
    STATE("unresolved");
    CU_ASSERT(said("define cloud in the topology file"));
    say(0, "factory", "[" LINK(",'reach':0") "," TWO);
    STATE("away");
    CU_ASSERT(said("none of the 3 nodes of cloud is within reach of factory"));
    say(0, "factory",
        "[" LINK(",'reach':0,'refused':'it is another','stranger':'00000000000000ff'") "]");
    STATE("refused");
    CU_ASSERT(said("`tidemill link adopt factory cloud`"));
}

static void a_synchronous_link_that_does_not_wait_is_degraded(void)
{
#define GATE(source, state)                                                                        \
    "{'kind':'gate','peer':'cloud','source':" #source ",'state':'" state "'}"
    say(0, "factory", "[" LINK("") "," GATE(0, "SYNC") "," GATE(1, "DEGRADED") "," TWO);
    STATE("degraded");
    CU_ASSERT(said("partition 1 DEGRADED: writes at factory get their OK without cloud"));
    say(0, "factory", "[" LINK(",'reach':0") "," GATE(0, "DEGRADED") "," TWO);
    STATE("degraded");
    say(0, "factory", "[" LINK("") "," GATE(0, "SYNC") "," TWO);
    STATE("streams");
}

static void a_source_that_was_not_asked_leaves_it_open(void)
{
    say(0, "cloud",
        "[{'kind':'link','way':'in','peer':'factory','nodes':1,'reach':1,'paused':0},"
        "{'kind':'in','peer':'factory','source':0,'target':1,'index':5},"
        "{'kind':'dead','peer':'factory','source':0,'target':1,'key':'a'}]");
    STATE("unknown");
    CU_ASSERT(said("only cloud was asked"));
    CU_ASSERT(said("1 change came to cloud and could not be applied"));
    CU_ASSERT_EQUAL(json_array_size(json_object_get(look("factory", "cloud"), "in")), 1);
}

static void both_ends_and_many_partitions_are_put_together(void)
{
    char rows[8192] = "[" LINK(",'partitions':12");
    for (unsigned p = 0; p < 12; p++)
        if (p != 5)
            snprintf(rows + strlen(rows), sizeof rows - strlen(rows),
                     ",{'kind':'out','peer':'cloud','source':%u,'target':0,'commit':1,"
                     "'waits':'%s','lag_records':%u,'resync_percent':40}",
                     p, p < 4 || p > 9 ? "RESYNC" : "NOTHING", p < 4);
    strcat(rows, "]");
    say(0, "factory", rows);
    say(1, "cloud", "[{'kind':'link','way':'in','peer':'factory','epoch':3,'nodes':1}]");
    const json_t *link = look("factory", "cloud");
    CU_ASSERT_STRING_EQUAL(tm_link_text(link, "state"), "unled");
    CU_ASSERT_EQUAL(tm_link_number(json_object_get(link, "targetSays"), "epoch"), 3);
    CU_ASSERT(said("partitions 0-3, 10, 11 (6 of 11 streams)"));
    CU_ASSERT(said("40 % done"));
    CU_ASSERT(said("partitions 4, 6-9 (5 of 11 streams): the target has all"));
    CU_ASSERT(said("partition 5 of factory"));
}

static void replies_of_nodes_become_rows(void)
{
    const char *reply = "*2\r\n*4\r\n$4\r\nkind\r\n$3\r\nout\r\n$1\r\nn\r\n:42\r\n"
                        "*2\r\n$3\r\nkey\r\n$3\r\n\xff\\a\r\n";
    json_t *rows = tm_linked_rows(tm_bytes_str(reply), "f-1");
    CU_ASSERT_EQUAL_FATAL(json_array_size(rows), 2);
    CU_ASSERT_EQUAL(tm_link_number(json_array_get(rows, 0), "n"), 42);
    CU_ASSERT_STRING_EQUAL(tm_link_text(json_array_get(rows, 0), "at"), "f-1");
    CU_ASSERT_STRING_EQUAL(tm_link_text(json_array_get(rows, 1), "key"), "\\xff\\x5ca");
    json_decref(rows);
    rows = tm_linked_rows(tm_bytes_str("-ERR no\r\n"), "f-1");
    CU_ASSERT_STRING_EQUAL(tm_link_text(json_array_get(rows, 0), "kind"), "error");
    json_decref(rows);
    for (size_t len = 0; len < strlen(reply); len++) { /* cut anywhere */
        rows = tm_linked_rows(tm_bytes_of(reply, len), "f-1");
        CU_ASSERT_PTR_NULL(rows);
    }
}

static void durations_and_sizes_are_written_for_people(void)
{
    static const struct {
        json_int_t number;
        const char *duration, *bytes;
    } rows[] = {{0, "0 ms", "0 bytes"},           {999, "999 ms", "999 bytes"},
                {119999, "120.0 s", "117.2 KiB"}, {120000, "2.0 min", "117.2 KiB"},
                {7200000, "2.0 h", "6.9 MiB"},    {864000000, "10.0 d", "824.0 MiB"}};
    for (size_t i = 0; i < TM_ARRAY_LEN(rows); i++) {
        char text[32];
        tm_link_duration(rows[i].number, text, sizeof text);
        CU_ASSERT_STRING_EQUAL(text, rows[i].duration);
        tm_link_bytes(rows[i].number, text, sizeof text);
        CU_ASSERT_STRING_EQUAL(text, rows[i].bytes);
    }
    json_decref(report);
    json_decref(says);
    for (unsigned i = 0; i < 2; i++)
        json_decref(clusters[i].rows);
}

static const struct tm_test tests[] = {
    TM_TEST(what_streams_is_said_in_one_sentence),
    TM_TEST(a_partition_of_which_nobody_tells_has_no_leader),
    TM_TEST(a_node_that_has_no_end_of_partitions_has_as_many_as_may_be),
    TM_TEST(of_two_leaders_the_one_that_knows_more_counts),
    TM_TEST(what_is_refused_is_said_with_what_helps),
    TM_TEST(what_is_wrong_between_clusters_is_said_of_the_link),
    TM_TEST(a_synchronous_link_that_does_not_wait_is_degraded),
    TM_TEST(a_source_that_was_not_asked_leaves_it_open),
    TM_TEST(both_ends_and_many_partitions_are_put_together),
    TM_TEST(replies_of_nodes_become_rows),
    TM_TEST(durations_and_sizes_are_written_for_people),
};
TM_TEST_MAIN("tools/link_explain", tests)
