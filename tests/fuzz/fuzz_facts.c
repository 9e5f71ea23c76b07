/* The lines of a directory that speak of links and types (actors/link_plan.h): any bytes.
 *
 * Held: a plan within its bounds, or one line that says what is wrong and a plan without any link;
 * a resident type leaves over a link only where the filter names it, or takes all. */
#include "tests/fuzz/fuzz.h"
#include "actors/link_plan.h"

static struct tm_link_plan plan;

static bool ended(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

static void check_link(const struct tm_link *link)
{
    FUZZ_CHECK(link->peer < plan.peer_count);
    for (unsigned i = 0; i < TM_LINK_OPTION_COUNT; i++) {
        int64_t v = tm_link_option_get(&link->options, i), back;
        char text[32];
        tm_link_option_text(i, v, text, sizeof text);
        FUZZ_CHECK(tm_link_option_parse(i, text, &back) && back == v);
    }
}

static void check_rule(struct tm_link_rule rule)
{
    bool with_text = rule.rule == TM_CONFLICT_HOME || rule.rule == TM_CONFLICT_FUNCTION;
    FUZZ_CHECK(rule.rule < TM_CONFLICT_COUNT && rule.text < plan.text_len);
    FUZZ_CHECK((tm_link_rule_text(&plan, rule)[0] != '\0') == with_text);
}

static void check_type(const struct tm_link_type *type)
{
    struct tm_bytes name = tm_bytes_str(type->name);
    FUZZ_CHECK(ended(type->name, sizeof type->name) && tm_link_plan_type(&plan, name) == type);
    FUZZ_CHECK(type->field_first + type->field_count <= plan.field_count);
    check_rule(type->rule);
    for (unsigned i = 0; i < type->field_count; i++) {
        const struct tm_link_field *f = &plan.fields[type->field_first + i];
        FUZZ_CHECK(ended(f->name, sizeof f->name));
        check_rule(f->rule);
        struct tm_link_rule found = tm_link_plan_rule(&plan, name, tm_bytes_str(f->name));
        FUZZ_CHECK(found.rule == f->rule.rule && found.text == f->rule.text);
    }
    for (unsigned i = 0; i < plan.out_count; i++) {
        const char *where = plan.peers[plan.out[i].peer].jurisdiction;
        bool listed = false;
        for (unsigned r = 0; r < plan.region_count; r++)
            listed |= (type->residency >> r & 1) != 0 && strcmp(plan.regions[r], where) == 0;
        if (tm_link_plan_out(&plan, i, name) == TM_LINK_CARRIED)
            FUZZ_CHECK(!type->resident || (listed && where[0] != '\0'));
    }
    for (unsigned i = 0; i < plan.in_count; i++)
        FUZZ_CHECK((tm_link_plan_in(&plan, i, name) == TM_LINK_CARRIED) == type->may_enter);
}

static void check(void)
{
    FUZZ_CHECK(plan.out_count <= TM_LINKS_MAX && plan.in_count <= TM_LINKS_MAX);
    FUZZ_CHECK(plan.peer_count <= TM_LINK_PEERS_MAX && plan.node_count <= TM_LINK_NODES_MAX);
    FUZZ_CHECK(plan.text_len >= 1 && plan.text_len <= TM_LINK_TEXT_MAX);
    for (unsigned i = 0; i < plan.node_count; i++)
        FUZZ_CHECK(plan.nodes[i].peer < plan.peer_count && plan.nodes[i].first_port != 0);
    for (unsigned i = 0; i < plan.out_count; i++)
        check_link(&plan.out[i]);
    for (unsigned i = 0; i < plan.in_count; i++)
        check_link(&plan.in[i]);
    for (unsigned i = 0; i < plan.type_count; i++)
        check_type(&plan.types[i]);
}

FUZZ_TARGET(data, size)
{
    static char facts[65536];
    const struct tm_link_base base = {.address = "127.0.0.1", .base_port = 7000};
    char why[256] = "";
    if (size >= sizeof facts)
        return 0;
    memcpy(facts, data, size);
    facts[size] = '\0';
    memset(&plan, 0xa5, sizeof plan);
    enum tm_err e = tm_link_plan_parse(&plan, "here", facts, &base, why, sizeof why);
    FUZZ_CHECK(e == TM_OK || e == TM_ERR_INVALID || e == TM_ERR_TOOBIG);
    FUZZ_CHECK((e == TM_OK) == (why[0] == '\0'));
    FUZZ_CHECK(e == TM_OK || (plan.out_count == 0 && plan.in_count == 0 && plan.type_count == 0));
    check();
    return 0;
}
