#include "actors/link_plan.h"
#include "runtime/rng.h"
#include "test.h"

#include <stdlib.h>

static struct tm_link_plan plan, other;
static char why[256];

static const struct tm_link_base BASE = {.address = "127.0.0.1", .base_port = 7000};

#define LINES                                                                                      \
    "cluster:cloud/jurisdiction=us\n"                                                              \
    "cluster:cloud/nodes=c-1::+4,c-2:10.0.0.2:9000\n"                                              \
    "cluster:cloud/partitions=128\n"                                                               \
    "cluster:near/jurisdiction=eu\n"                                                               \
    "from:edge/forward=transit\n"                                                                  \
    "from:edge/replicationMode=async\n"                                                            \
    "jurisdiction=eu\n"                                                                            \
    "node-1/address=10.0.0.2\n"                                                                    \
    "region=eu-west-1\n"                                                                           \
    "to:near/replicationMode=sync\n"                                                               \
    "to:near/batchBytes=1MiB\n"                                                                    \
    "to:cloud/excludeEntityTypes=Order_log\n"                                                      \
    "to:cloud/replicateEntityTypes=Order*,Customer\n"                                              \
    "to:cloud/replicationMode=async\n"                                                             \
    "type:Customer/residency=eu,uk\n"                                                              \
    "type:Order/conflict=field-lww\n"                                                              \
    "type:Order/field:stock/conflict=counter\n"                                                    \
    "type:Order/field:a%2Fb/conflict=function\n"                                                   \
    "type:Order/field:a%2Fb/function=function (a, b) { return a < b ? %22x%22 : b; }%0A\n"         \
    "type:Tariff/conflict=home\n"                                                                  \
    "type:Tariff/home=hq\n"

static enum tm_err parse(const char *facts)
{
    memset(&plan, 0xa5, sizeof plan);
    why[0] = '\0';
    return tm_link_plan_parse(&plan, "here", facts, &BASE, why, sizeof why);
}

static struct tm_link_rule rule_of(const char *type, const char *field)
{
    return tm_link_plan_rule(&plan, tm_bytes_str(type), tm_bytes_str(field));
}

static enum tm_link_verdict out_of(const char *cluster, const char *type)
{
    int link = tm_link_plan_find_out(&plan, cluster);
    CU_ASSERT_FATAL(link >= 0);
    return tm_link_plan_out(&plan, (unsigned)link, tm_bytes_str(type));
}

static void links_and_their_ends_are_found(void)
{
    CU_ASSERT_EQUAL_FATAL(parse(LINES), TM_OK);
    CU_ASSERT(plan.out_count == 2 && plan.in_count == 1 && plan.peer_count == 3);
    int cloud = tm_link_plan_find_out(&plan, "cloud"), near = tm_link_plan_find_out(&plan, "near");
    CU_ASSERT(cloud == 0 && near == 1);
    CU_ASSERT_EQUAL(tm_link_plan_find_out(&plan, "edge"), -1);
    CU_ASSERT_EQUAL(tm_link_plan_find_in(&plan, "edge"), 0);
    CU_ASSERT_EQUAL(plan.out[cloud].options.mode, TM_LINK_ASYNC);
    CU_ASSERT_EQUAL(plan.out[near].options.mode, TM_LINK_SYNC);
    CU_ASSERT_EQUAL(plan.out[near].options.batch_bytes, 1 << 20);
    CU_ASSERT_EQUAL(plan.out[near].options.sync_timeout_ms, 1000);
    CU_ASSERT_EQUAL(plan.in[0].options.forward, TM_LINK_FORWARD_TRANSIT);
    const struct tm_link_peer *p = &plan.peers[plan.out[cloud].peer];
    CU_ASSERT(p->node_count == 2 && p->partitions == 128);
    const struct tm_link_node *n = &plan.nodes[p->node_first];
    CU_ASSERT(strcmp(n[0].address, "127.0.0.1") == 0 && n[0].first_port == 7000 + 4 * 32);
    CU_ASSERT(strcmp(n[1].address, "10.0.0.2") == 0 && n[1].first_port == 9000);
    CU_ASSERT_STRING_EQUAL(n[1].name, "c-2");
    CU_ASSERT_EQUAL(plan.peers[plan.out[near].peer].node_count, 0); /* UNRESOLVED */
}

static void what_operators_say_is_of_their_link_alone(void)
{
    CU_ASSERT_EQUAL_FATAL(parse(LINES), TM_OK);
    CU_ASSERT(plan.epoch == 1 && plan.out[0].said.set == 0);
    CU_ASSERT_EQUAL_FATAL(
        parse("op:epoch=3\nop:from:cloud/epoch=2\nop:from:edge/epoch=7\n"
              "op:from:edge/released=0000018bcfe56800\nop:to:cloud/paused=yes\n"
              "op:to:cloud/throttle=64KiB\nop:to:gone/paused=yes\nop:to:near/resync=2\n" LINES),
        TM_OK);
    const struct tm_link_operator *cloud = &plan.out[0].said, *near = &plan.out[1].said;
    CU_ASSERT(cloud->paused == 1 && cloud->throttle == 65536 && cloud->resync == 0);
    CU_ASSERT(near->paused == 0 && near->resync == 2);
    CU_ASSERT_FALSE(tm_link_operator_says(near, TM_LINK_OPERATOR_throttle));
    CU_ASSERT(plan.in[0].said.epoch == 7 && plan.epoch == 3);
    CU_ASSERT_EQUAL(plan.in[0].said.released, 0x18bcfe56800);
    CU_ASSERT(plan.out_count == 2 && plan.in_count == 1 && plan.peer_count == 3);
    static const char *const bad[] = {"op:to:cloud/paused=no\n",
                                      "op:to:cloud/epoch=2\n",
                                      "op:from:edge/resync=1\n",
                                      "op:to:cloud/resync=0\n",
                                      "op:to:cloud/resync=65536\n",
                                      "op:cloud/paused=yes\n",
                                      "op:to:cloud/pause=yes\n",
                                      "op:epoch=0\n",
                                      "op:to:gone/paused=maybe\n",
                                      "op:from:edge/adopted=00c0ffee\n",
                                      "op:to:cloud/throttle=-1\n",
                                      "op:at:cloud/paused=yes\n",
                                      "op:from:edge/rewind=0000000000000000\n",
                                      "op:to:cloud/paused=yes\nop:to:cloud/paused=yes\n"};
    for (unsigned i = 0; i < TM_ARRAY_LEN(bad); i++) {
        char lines[2048];
        snprintf(lines, sizeof lines, "%s%s", LINES, bad[i]);
        CU_ASSERT_EQUAL(parse(lines), TM_ERR_INVALID);
        CU_ASSERT_PTR_NOT_NULL(strstr(why, "line \"op:"));
    }
}

static void exclude_wins_and_a_star_ends_a_name(void)
{
    CU_ASSERT_EQUAL_FATAL(parse(LINES), TM_OK);
    CU_ASSERT_EQUAL(out_of("cloud", "Order"), TM_LINK_CARRIED);
    CU_ASSERT_EQUAL(out_of("cloud", "Orders"), TM_LINK_CARRIED);
    CU_ASSERT_EQUAL(out_of("cloud", "Order_log"), TM_LINK_FILTERED);
    CU_ASSERT_EQUAL(out_of("cloud", "Orde"), TM_LINK_FILTERED);
    CU_ASSERT_EQUAL(out_of("cloud", "_default"), TM_LINK_FILTERED);
    CU_ASSERT_EQUAL(out_of("near", "_default"), TM_LINK_CARRIED);
    CU_ASSERT_EQUAL_FATAL(parse("to:a/replicationMode=async\nto:a/replicateEntityTypes=X\n"
                                "to:a/excludeEntityTypes=*\n"),
                          TM_OK);
    CU_ASSERT_EQUAL(out_of("a", "X"), TM_LINK_FILTERED);
}

static void a_resident_type_leaves_only_for_listed_jurisdictions(void)
{
    CU_ASSERT_EQUAL_FATAL(parse(LINES), TM_OK);
    CU_ASSERT_EQUAL(out_of("cloud", "Customer"), TM_LINK_RESIDENT); /* named, but in us */
    CU_ASSERT_EQUAL(out_of("near", "Customer"), TM_LINK_CARRIED);
    CU_ASSERT_EQUAL(tm_link_plan_in(&plan, 0, tm_bytes_str("Customer")), TM_LINK_CARRIED);
    CU_ASSERT(tm_link_plan_in_ships(&plan, 0, tm_bytes_str("Customer")));
    /* Here is not where it may be; and where here is, or the target, nobody knows. */
    static const char *const heres[] = {"jurisdiction=us\n", ""};
    for (unsigned i = 0; i < 2; i++) {
        char lines[512];
        snprintf(lines, sizeof lines,
                 "%sfrom:a/replicationMode=async\nto:b/replicationMode=async\n"
                 "type:C/residency=eu\ntype:Nowhere/residency=\n",
                 heres[i]);
        CU_ASSERT_EQUAL_FATAL(parse(lines), TM_OK);
        CU_ASSERT_EQUAL(tm_link_plan_in(&plan, 0, tm_bytes_str("C")), TM_LINK_RESIDENT);
        CU_ASSERT(!tm_link_plan_in_ships(&plan, 0, tm_bytes_str("C")));
        CU_ASSERT_EQUAL(tm_link_plan_in(&plan, 0, tm_bytes_str("Nowhere")), TM_LINK_RESIDENT);
        CU_ASSERT_EQUAL(out_of("b", "C"), TM_LINK_RESIDENT);
        CU_ASSERT_EQUAL(out_of("b", "Nowhere"), TM_LINK_RESIDENT);
        CU_ASSERT(tm_link_plan_in_ships(&plan, 0, tm_bytes_str("D")));
    }
}

static void a_wildcard_never_takes_a_resident_type(void)
{
    static const char *const lists[] = {"*", "Cust*", "Order,C*"};
    char lines[256];
    for (unsigned i = 0; i < TM_ARRAY_LEN(lists); i++) {
        snprintf(lines, sizeof lines,
                 "cluster:b/jurisdiction=eu\nto:b/replicationMode=async\n"
                 "to:b/replicateEntityTypes=%s\ntype:Customer/residency=eu\n",
                 lists[i]);
        CU_ASSERT_EQUAL_FATAL(parse(lines), TM_OK);
        CU_ASSERT_EQUAL(out_of("b", "Customer"), TM_LINK_RESIDENT);
    }
    CU_ASSERT_EQUAL_FATAL(parse("cluster:b/jurisdiction=eu\nto:b/replicationMode=async\n"
                                "to:b/replicateEntityTypes=*,Customer\n"
                                "type:Customer/residency=eu\n"),
                          TM_OK);
    CU_ASSERT_EQUAL(out_of("b", "Customer"), TM_LINK_CARRIED);
}

static void a_field_has_its_own_rule_or_its_types(void)
{
    CU_ASSERT_EQUAL_FATAL(parse(LINES), TM_OK);
    CU_ASSERT_EQUAL(rule_of("Order", "stock").rule, TM_CONFLICT_COUNTER);
    CU_ASSERT_EQUAL(rule_of("Order", "status").rule, TM_CONFLICT_FIELD_LWW);
    CU_ASSERT_EQUAL(rule_of("Unheard", "stock").rule, TM_CONFLICT_FIELD_LWW);
    struct tm_link_rule r = rule_of("Order", "a/b");
    CU_ASSERT_EQUAL(r.rule, TM_CONFLICT_FUNCTION);
    CU_ASSERT_STRING_EQUAL(tm_link_rule_text(&plan, r),
                           "function (a, b) { return a < b ? \"x\" : b; }\n");
    r = rule_of("Tariff", "anything");
    CU_ASSERT(r.rule == TM_CONFLICT_HOME && strcmp(tm_link_rule_text(&plan, r), "hq") == 0);
}

/* Lines of several types' fields, mixed. */
static void fields_stay_with_their_types(void)
{
    CU_ASSERT_EQUAL_FATAL(parse("type:A/field:x/conflict=max\ntype:B/field:y/conflict=min\n"
                                "type:A/field:w/conflict=set\ntype:C/field:z/conflict=counter\n"
                                "type:B/field:v/conflict=max\ntype:A/field:y/conflict=counter\n"),
                          TM_OK);
    CU_ASSERT_EQUAL(rule_of("A", "x").rule, TM_CONFLICT_MAX);
    CU_ASSERT_EQUAL(rule_of("A", "w").rule, TM_CONFLICT_SET);
    CU_ASSERT_EQUAL(rule_of("A", "y").rule, TM_CONFLICT_COUNTER);
    CU_ASSERT_EQUAL(rule_of("A", "v").rule, TM_CONFLICT_FIELD_LWW);
    CU_ASSERT_EQUAL(rule_of("B", "y").rule, TM_CONFLICT_MIN);
    CU_ASSERT_EQUAL(rule_of("B", "v").rule, TM_CONFLICT_MAX);
    CU_ASSERT_EQUAL(rule_of("C", "z").rule, TM_CONFLICT_COUNTER);
}

static void refused(const char *facts, enum tm_err e, const char *expect)
{
    CU_ASSERT_EQUAL(parse(facts), e);
    CU_ASSERT(plan.out_count == 0 && plan.in_count == 0 && plan.type_count == 0);
    bool said = strstr(why, expect) != NULL && strchr(why, '\n') == NULL;
    CU_ASSERT(said);
    if (!said)
        printf("  wanted: %s\n  got: %s\n", expect, why);
}

static void a_line_that_is_not_known_is_refused(void)
{
    static const char *const lines[][2] = {
        {"to:a/replicationMode=async\nto:a/speed=9\n", "to:a/speed=9\": is no option of a link"},
        {"way:a/b=c\n", "is of no kind that this build knows"},
        {"to:a=c\n", "is of no kind"},
        {"cluster:a/colour=c\n", "nothing of a cluster"},
        {"type:a/colour=c\n", "nothing of a type"},
        {"type:a/field:x=c\n", "is no field"},
        {"type:a/conflict=dice\n", "is no rule for conflicts"},
        {"to:a/replicationMode=maybe\n", "must be \"async\" or \"sync\""},
        {"to:a/batchBytes=1\n", "must be a size from 4KiB to 4MiB, such as 64KiB"},
        {"to:a/batchBytes=64KiB\n", "the link to a has no replicationMode"},
        {"from:a/batchBytes=64KiB\n", "the link from a has no replicationMode"},
        {"to:a/replicationMode=async\nto:a/replicationMode=sync\n", "is there twice"},
        {"to:a/replicateEntityTypes=\n", "is empty"},
        {"to:a/replicateEntityTypes=A,,B\n", "is no name of a type"},
        {"to:a/replicateEntityTypes=A*B\n", "is no name of a type"},
        {"cluster:a/nodes=n\n", "name:address:port"},
        {"cluster:a/nodes=n:10.0.0.256:7000\n", "name:address:port"},
        {"cluster:a/nodes=n:host:7000\n", "name:address:port"},
        {"cluster:a/nodes=n::+4000\n", "past 65535"},
        {"cluster:a/nodes=n::0\n", "past 65535"},
        {"type:a/conflict=home\n", "belong together"},
        {"type:a/field:f/function=x\n", "belong together"},
        {"type:a/conflict=function\ntype:a/function=%0\n", "is empty, broken or too long"},
        {"type:a/conflict=function\ntype:a/function=%00\n", "is empty, broken or too long"},
        {"to:a/replicationMode=async", "does not end"},
        {"to:a/replicationMode\n", "has no '='"}};
    for (size_t i = 0; i < TM_ARRAY_LEN(lines); i++)
        refused(lines[i][0], TM_ERR_INVALID, lines[i][1]);
}

/* Writes `count` lines after this form, which takes a number, and reads them. */
static enum tm_err many(const char *form, unsigned count)
{
    static char lines[1 << 17];
    size_t at = 0;
    for (unsigned i = 0; i < count; i++)
        for (const char *c = form; *c != '\0' && at + 16 < sizeof lines; c++)
            if (*c == '#')
                at += (size_t)snprintf(lines + at, sizeof lines - at, "%u", i);
            else
                lines[at++] = *c;
    lines[at] = '\0';
    return parse(lines);
}

static void each_bound_is_held(void)
{
    static const struct {
        const char *form;
        unsigned max;
    } rows[] = {{"to:c#/replicationMode=async\n", TM_LINKS_MAX},
                {"from:c#/replicationMode=sync\n", TM_LINKS_MAX},
                {"cluster:c#/partitions=1\n", TM_LINK_PEERS_MAX},
                {"type:t#/conflict=max\n", TM_LINK_TYPES_MAX},
                {"type:t/field:f#/conflict=max\n", TM_LINK_FIELDS_MAX},
                {"type:t#/residency=r#\n", TM_LINK_REGIONS_MAX},
                {"cluster:c#/nodes=a::+#,b::+#,c::+#,d::+#\n", TM_LINK_NODES_MAX / 4}};
    for (size_t i = 0; i < TM_ARRAY_LEN(rows); i++) {
        CU_ASSERT_EQUAL(many(rows[i].form, rows[i].max), TM_OK);
        CU_ASSERT_EQUAL(many(rows[i].form, rows[i].max + 1), TM_ERR_TOOBIG);
    }
    char names[4096] = "to:a/replicationMode=async\nto:a/replicateEntityTypes=";
    size_t at = strlen(names);
    for (unsigned i = 0; i <= TM_LINK_PATTERNS_MAX; i++)
        at += (size_t)snprintf(names + at, sizeof names - at, "%st%u", i > 0 ? "," : "", i);
    snprintf(names + at, sizeof names - at, "\n");
    CU_ASSERT_EQUAL(parse(names), TM_ERR_TOOBIG);
}

static void the_order_of_lines_does_not_matter(void)
{
    char *lines[32], text[] = LINES, shuffled[sizeof text];
    unsigned count = 0;
    for (char *at = text; *at != '\0'; at += strlen(at) + 1) {
        at[strcspn(at, "\n")] = '\0';
        lines[count++] = at;
    }
    CU_ASSERT_EQUAL_FATAL(parse(LINES), TM_OK);
    other = plan;
    uint64_t seed = tm_test_seed();
    struct tm_rng rng;
    tm_rng_seed(&rng, seed);
    for (unsigned round = 0; round < 50; round++) {
        size_t at = 0;
        for (unsigned i = count; i-- > 1;) {
            unsigned k = (unsigned)(tm_rng_next(&rng) % (i + 1));
            char *swap = lines[i];
            lines[i] = lines[k];
            lines[k] = swap;
        }
        for (unsigned i = 0; i < count; i++)
            at += (size_t)snprintf(shuffled + at, sizeof shuffled - at, "%s\n", lines[i]);
        CU_ASSERT_EQUAL_FATAL(parse(shuffled), TM_OK);
        static const char *const types[] = {"Order", "Customer", "Order_log", "x"};
        for (unsigned i = 0; i < plan.out_count; i++) {
            CU_ASSERT_STRING_EQUAL(plan.peers[plan.out[i].peer].name,
                                   other.peers[other.out[i].peer].name);
            CU_ASSERT_EQUAL(
                memcmp(&plan.out[i].options, &other.out[i].options, sizeof plan.out[i].options), 0);
            for (unsigned t = 0; t < TM_ARRAY_LEN(types); t++)
                CU_ASSERT_EQUAL(tm_link_plan_out(&plan, i, tm_bytes_str(types[t])),
                                tm_link_plan_out(&other, i, tm_bytes_str(types[t])));
        }
        CU_ASSERT_EQUAL(rule_of("Order", "stock").rule, TM_CONFLICT_COUNTER);
        CU_ASSERT_EQUAL(rule_of("Order", "a/b").rule, TM_CONFLICT_FUNCTION);
    }
}

/* Whatever the lines are: a plan within its bounds, or one line of refusal and no links. */
static void harmed_lines_are_refused_or_whole(void)
{
    struct tm_rng rng;
    tm_rng_seed(&rng, tm_test_seed());
    for (unsigned round = 0; round < 20000; round++) {
        char text[] = LINES;
        for (unsigned i = 0; i < 1 + round % 4; i++)
            text[tm_rng_next(&rng) % (sizeof text - 1)] = (char)(1 + tm_rng_next(&rng) % 255);
        enum tm_err e = parse(text);
        CU_ASSERT_FATAL(e == TM_OK ? why[0] == '\0' : why[0] != '\0' && plan.out_count == 0);
        for (unsigned i = 0; i < plan.out_count; i++)
            CU_ASSERT_FATAL(plan.out[i].peer < plan.peer_count);
        for (unsigned i = 0; i < plan.type_count; i++)
            CU_ASSERT_FATAL(plan.types[i].field_first + plan.types[i].field_count <=
                            plan.field_count);
    }
}

static void options_are_read_as_they_are_written(void)
{
    char text[128];
    struct tm_link_options o;
    tm_link_options_init(&o);
    for (unsigned i = 0; i < TM_LINK_OPTION_COUNT; i++) {
        const struct tm_link_option_row *row = &tm_link_option_rows[i];
        const int64_t values[] = {row->def, row->min, row->max};
        CU_ASSERT_EQUAL(tm_link_option_get(&o, i), row->def);
        CU_ASSERT_EQUAL(tm_link_option_find(tm_bytes_str(row->name)), i);
        for (unsigned k = 0; k < 3; k++) {
            int64_t back = -1;
            tm_link_option_text(i, values[k], text, sizeof text);
            CU_ASSERT(strlen(text) < 32 && tm_link_option_parse(i, text, &back));
            CU_ASSERT_EQUAL(back, values[k]);
        }
        tm_link_option_allowed(i, text, sizeof text);
        CU_ASSERT(strlen(text) > 8 && strlen(text) < sizeof text - 1);
        CU_ASSERT_FALSE(tm_link_option_parse(i, "", &(int64_t){0}));
    }
    tm_link_option_allowed(TM_LINK_OPTION_on_unavailable, text, sizeof text);
    CU_ASSERT_STRING_EQUAL(text, "\"fail\", \"block\" or \"degrade\"");
    for (unsigned i = 0; i < TM_CONFLICT_COUNT; i++)
        CU_ASSERT_EQUAL(tm_conflict_find(tm_bytes_str(tm_conflict_name(i))), i);
}

static const struct tm_test tests[] = {
    TM_TEST(links_and_their_ends_are_found),
    TM_TEST(what_operators_say_is_of_their_link_alone),
    TM_TEST(exclude_wins_and_a_star_ends_a_name),
    TM_TEST(a_resident_type_leaves_only_for_listed_jurisdictions),
    TM_TEST(a_wildcard_never_takes_a_resident_type),
    TM_TEST(a_field_has_its_own_rule_or_its_types),
    TM_TEST(fields_stay_with_their_types),
    TM_TEST(a_line_that_is_not_known_is_refused),
    TM_TEST(each_bound_is_held),
    TM_TEST(the_order_of_lines_does_not_matter),
    TM_TEST(harmed_lines_are_refused_or_whole),
    TM_TEST(options_are_read_as_they_are_written),
};
TM_TEST_MAIN("actors/link_plan", tests)
