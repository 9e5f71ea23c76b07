/* Words for links.  Which types leave is asked of the very plan that nodes go by (link_plan.h), so
 * what is told here is what happens there. */
#include "tools/plan_links.h"
#include "tools/membership.h"
#include "tools/words.h"

#include <stdio.h>
#include <stdlib.h>

/* The target's address and ports matter to nobody here. */
static const struct tm_link_base BASE = {.address = "127.0.0.1", .base_port = 7000};

enum tm_err tm_plan_resolve(const struct tm_topology *t, const struct tm_cluster_spec *c,
                            struct tm_link_plan *plan, char *why, size_t why_size)
{
    char *facts = malloc(TM_DIRECTORY_FACTS_MAX + 1), line[256] = "";
    TM_ASSERT(facts != NULL);
    enum tm_err e = tm_membership_facts(t, c, facts);
    if (e != TM_OK)
        snprintf(why, why_size,
                 "%s:%u: defineCluster(\"%s\"): the file says more of it than the %d bytes that a "
                 "directory holds: shorten its lists and functions",
                 t->path, c->line, c->name, TM_DIRECTORY_FACTS_MAX);
    else if ((e = tm_link_plan_parse(plan, c->name, facts, &BASE, line, sizeof line)) != TM_OK)
        snprintf(why, why_size, "%s:%u: defineCluster(\"%s\"): %s", t->path, c->line, c->name,
                 line);
    free(facts);
    return e;
}

/* ---- words ---- */

#define NAMES_SHOWN 16 /* of a list; JSON has them all */

static void say_list(struct tm_words *w, const struct tm_name_list *list)
{
    for (unsigned i = 0; i < list->count && i < NAMES_SHOWN; i++)
        tm_words_say(w, "%s%s", i > 0 ? ", " : "", list->names[i]);
    if (list->count > NAMES_SHOWN)
        tm_words_say(w, " … (%u in all)", list->count);
}

static const char *value(const struct tm_link_spec *link, enum tm_link_option which, char buf[32])
{
    tm_link_option_text(which, tm_link_option_get(&link->options, which), buf, 32);
    return buf;
}

static void say_mode(struct tm_words *w, const struct tm_cluster_spec *c,
                     const struct tm_link_spec *link)
{
    static const char *const done[][2] = {
        [TM_LINK_ACK_DURABLE] = {"a quorum of", "have it on disk"},
        [TM_LINK_ACK_RECEIVED] = {"the leader at", "has it in memory, on its way to a quorum"},
        [TM_LINK_ACK_APPLIED] = {"a quorum of", "have it on disk and reads there show it"},
    };
    char a[32], b[32];
    if (link->options.mode == TM_LINK_SYNC) {
        const char *const *which = done[link->options.ack_level];
        tm_words_say(
            w,
            "a write at %s gets its OK when a quorum of %s have it on disk and, after that, %s %s "
            "%s; one of types that do not leave waits for nothing",
            c->name, c->name, which[0], link->target, which[1]);
        return;
    }
    tm_words_say(
        w,
        "a write at %s gets its OK without waiting for %s; what is committed follows, every %s, in "
        "batches of some %s",
        c->name, link->target, value(link, TM_LINK_OPTION_batch_max_delay_us, a),
        value(link, TM_LINK_OPTION_batch_bytes, b));
    if (link->options.max_bytes_per_second > 0)
        tm_words_say(w, ", at most %s a second",
                     value(link, TM_LINK_OPTION_max_bytes_per_second, a));
}

static void say_backlog(struct tm_words *w, const struct tm_cluster_spec *c,
                        const struct tm_link_spec *link)
{
    char a[32], b[32];
    tm_words_say(
        w,
        "each worker of %s keeps up to %s and %s of log for it, never more than three eighths of "
        "--wal-bytes, then ",
        c->name, value(link, TM_LINK_OPTION_max_backlog_bytes, a),
        value(link, TM_LINK_OPTION_max_backlog_age, b));
    if (link->options.backlog_full == TM_LINK_FULL_REJECT)
        tm_words_say(w, "refuses writes until the target is back (backlogFull: reject)");
    else
        tm_words_say(
            w, "only the latest version of each entity, then what differs is found by comparing; "
               "local writes go on");
}

static void say_away(struct tm_words *w, const struct tm_cluster_spec *c,
                     const struct tm_link_spec *link)
{
    char a[32];
    if (link->options.mode == TM_LINK_ASYNC)
        tm_words_say(w, "writes go on as ever; ");
    else if (link->options.on_unavailable == TM_LINK_FAIL)
        tm_words_say(
            w,
            "after %s a write is answered -TIMEOUT, outcome unknown; the record stays, and is "
            "shipped later; ",
            value(link, TM_LINK_OPTION_sync_timeout_ms, a));
    else if (link->options.on_unavailable == TM_LINK_BLOCK)
        tm_words_say(w, "a write waits until it is back, or its client gives up; ");
    else
        tm_words_say(
            w,
            "after %s the link is DEGRADED: writes go on with the OK of %s alone, until the target "
            "has caught up; ",
            value(link, TM_LINK_OPTION_sync_timeout_ms, a), c->name);
    say_backlog(w, c, link);
}

static void say_types(struct tm_words *w, const struct tm_link_spec *link)
{
    if (link->include.count == 0)
        tm_words_say(w, "all types");
    say_list(w, &link->include);
    if (link->exclude.count > 0) {
        tm_words_say(w, "; never ");
        say_list(w, &link->exclude);
    }
}

/* The types that residency keeps from leaving over out[link]. */
static json_t *kept(const struct tm_topology *t, const struct tm_link_plan *plan, unsigned link)
{
    json_t *names = json_array();
    for (unsigned i = 0; i < t->entity_count; i++)
        if (tm_link_plan_out(plan, link, tm_bytes_str(t->entities[i].name)) == TM_LINK_RESIDENT)
            json_array_append_new(names, json_string(t->entities[i].name));
    return names;
}

static void say_kept(struct tm_words *w, const struct tm_topology *t,
                     const struct tm_link_plan *plan, unsigned link)
{
    const struct tm_link_peer *peer = &plan->peers[plan->out[link].peer];
    json_t *names = kept(t, plan, link);
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        const struct tm_entity_spec *e = tm_topology_entity(t, name);
        tm_words_say(w, "%s%s (", i > 0 ? ", " : "", name);
        if (e->residency.count == 0)
            tm_words_say(w, "stays where it is written");
        else if (tm_topology_cluster(t, peer->name) == NULL)
            tm_words_say(w, "where the target is, is not known");
        else if (peer->jurisdiction[0] == '\0')
            tm_words_say(w, "the target has no jurisdiction");
        else if (tm_link_plan_type(plan, tm_bytes_str(name))->may_leave >> link & 1)
            tm_words_say(w, "excluded");
        else {
            bool listed = false;
            for (unsigned k = 0; k < e->residency.count; k++)
                listed |= strcmp(e->residency.names[k], peer->jurisdiction) == 0;
            if (listed) {
                tm_words_say(w, "never by a wildcard: name it");
            } else {
                tm_words_say(w, "only in ");
                say_list(w, &e->residency);
                tm_words_say(w, "; the target is in %s", peer->jurisdiction);
            }
        }
        tm_words_say(w, ")");
    }
    json_decref(names);
}

static void say_forward(struct tm_words *w, const struct tm_cluster_spec *c,
                        const struct tm_link_spec *link)
{
    if (link->options.forward == TM_LINK_FORWARD_TRANSIT)
        tm_words_say(
            w, "also ships on what came to %s over other links, never to where it was written",
            c->name);
    else
        tm_words_say(w, "ships only what was written at %s (forward: none)", c->name);
}

static const char *state(const struct tm_topology *t, const struct tm_link_spec *link)
{
    return tm_topology_cluster(t, link->target) != NULL ? "PLANNED" : "UNRESOLVED";
}

static void print_line(const char *label,
                       void (*fill)(struct tm_words *, const struct tm_cluster_spec *,
                                    const struct tm_link_spec *),
                       const struct tm_cluster_spec *c, const struct tm_link_spec *link)
{
    struct tm_words w = {.at = 0};
    fill(&w, c, link);
    printf("    %s: %s\n", label, w.text);
}

static void print_link(const struct tm_topology *t, const struct tm_cluster_spec *c,
                       const struct tm_link_spec *link, const struct tm_link_plan *plan)
{
    int at = tm_link_plan_find_out(plan, link->target);
    struct tm_words types = {.at = 0}, stays = {.at = 0};
    say_types(&types, link);
    if (at >= 0)
        say_kept(&stays, t, plan, (unsigned)at);
    printf("  link %s -> %s: %s%s\n", c->name, link->target,
           link->options.mode == TM_LINK_SYNC ? "synchronous" : "asynchronous",
           strcmp(state(t, link), "UNRESOLVED") == 0 ? "; UNRESOLVED: not defined in this file"
                                                     : "");
    print_line("OK", say_mode, c, link);
    printf("    leaves: %s\n", types.text);
    if (stays.at > 0)
        printf("    stays by residency: %s\n", stays.text);
    print_line("target away", say_away, c, link);
    print_line("forward", say_forward, c, link);
    printf("    filter changed: a wider one %s, a narrower one %s\n",
           link->options.backfill ? "ships what the target never got" : "ships from then on only",
           link->options.on_narrow == TM_LINK_NARROW_PURGE ? "evicts at the target"
                                                           : "keeps what the target has");
    printf("    way: %s, %s; a clock more than %s ahead is held at the target\n",
           link->options.fabric == TM_LINK_DPDK ? "dpdk (shared memory)" : "tcp",
           link->options.compression == TM_LINK_LZ4 ? "LZ4 where it pays" : "not compressed",
           value(link, TM_LINK_OPTION_max_clock_skew_ms, (char[32]){0}));
}

void tm_plan_print_links(const struct tm_topology *t, const struct tm_cluster_spec *c,
                         const struct tm_link_plan *plan)
{
    for (unsigned i = 0; i < c->link_count; i++)
        print_link(t, c, &c->links[i], plan);
}

static const char *rule_text(const struct tm_rule_spec *rule, struct tm_words *w)
{
    *w = (struct tm_words){.at = 0};
    if (rule->rule == TM_CONFLICT_FUNCTION)
        tm_words_say(w, "a function of the file");
    else
        tm_words_say(w, "%s", tm_conflict_name(rule->rule));
    if (rule->home != NULL)
        tm_words_say(w, " (%s)", rule->home);
    return w->text;
}

void tm_plan_print_types(const struct tm_topology *t)
{
    struct tm_words w;
    for (unsigned i = 0; i < t->entity_count; i++) {
        const struct tm_entity_spec *e = &t->entities[i];
        printf("type %s: conflicts by %s", e->name, rule_text(&e->rule, &w));
        for (unsigned k = 0; k < e->field_count; k++)
            printf(", %s by %s", e->fields[k].name, rule_text(&e->fields[k].rule, &w));
        w = (struct tm_words){.at = 0};
        say_list(&w, &e->residency);
        if (e->resident)
            printf("; %s%s", e->residency.count > 0 ? "only in " : "stays where it is written",
                   w.text);
        putchar('\n');
    }
}

/* ---- JSON ---- */

static json_t *json_names(const struct tm_name_list *list)
{
    json_t *a = json_array();
    for (unsigned i = 0; i < list->count; i++)
        json_array_append_new(a, json_string(list->names[i]));
    return a;
}

static json_t *json_options(const struct tm_link_spec *link)
{
    json_t *o = json_object();
    for (unsigned i = 0; i < TM_LINK_OPTION_COUNT; i++) {
        const struct tm_link_option_row *row = &tm_link_option_rows[i];
        int64_t v = tm_link_option_get(&link->options, i);
        char text[32];
        tm_link_option_text(i, v, text, sizeof text);
        json_object_set_new(o, row->name,
                            row->kind == TM_LINK_OPTION_WORD     ? json_string(text)
                            : row->kind == TM_LINK_OPTION_YES_NO ? json_boolean(v != 0)
                                                                 : json_integer(v));
    }
    return o;
}

static json_t *json_link(const struct tm_topology *t, const struct tm_cluster_spec *c,
                         const struct tm_link_spec *link, const struct tm_link_plan *plan)
{
    struct tm_words ok = {.at = 0}, away = {.at = 0};
    int at = tm_link_plan_find_out(plan, link->target);
    say_mode(&ok, c, link);
    say_away(&away, c, link);
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:s, s:s}", "source", c->name,
                     "target", link->target, "mode",
                     link->options.mode == TM_LINK_SYNC ? "sync" : "async", "state", state(t, link),
                     "include", json_names(&link->include), "exclude", json_names(&link->exclude),
                     "resident", at >= 0 ? kept(t, plan, (unsigned)at) : json_array(), "options",
                     json_options(link), "ok", ok.text, "away", away.text);
}

json_t *tm_plan_json_links(const struct tm_topology *t, const struct tm_cluster_spec *c,
                           const struct tm_link_plan *plan)
{
    json_t *links = json_array();
    for (unsigned i = 0; i < c->link_count; i++)
        json_array_append_new(links, json_link(t, c, &c->links[i], plan));
    return links;
}

static json_t *json_rule(const struct tm_rule_spec *rule)
{
    json_t *o = json_pack("{s:s}", "conflict", tm_conflict_name(rule->rule));
    if (rule->home != NULL)
        json_object_set_new(o, "home", json_string(rule->home));
    if (rule->function != NULL)
        json_object_set_new(o, "function", json_string(rule->function));
    return o;
}

json_t *tm_plan_json_types(const struct tm_topology *t)
{
    json_t *types = json_array();
    for (unsigned i = 0; i < t->entity_count; i++) {
        const struct tm_entity_spec *e = &t->entities[i];
        json_t *type = json_rule(&e->rule), *fields = json_object();
        for (unsigned k = 0; k < e->field_count; k++)
            json_object_set_new(fields, e->fields[k].name, json_rule(&e->fields[k].rule));
        json_object_set_new(type, "name", json_string(e->name));
        json_object_set_new(type, "fields", fields);
        json_object_set_new(type, "residency",
                            e->resident ? json_names(&e->residency) : json_null());
        json_array_append_new(types, type);
    }
    return types;
}
