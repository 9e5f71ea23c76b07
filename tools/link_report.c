/* Rows of both ends are dealt out to their links; then each link is summed up.  Of two nodes that
 * both say they lead a partition the one counts that knows more of it as committed. */
#include "tools/link_report.h"

#include "actors/link_operator.h"

#include <stdio.h>
#include <stdlib.h>

static bool is(const json_t *row, const char *name, const char *value)
{
    return strcmp(tm_link_text(row, name), value) == 0;
}

json_t *tm_link_report_find(const json_t *report, const char *source, const char *target)
{
    for (size_t i = 0; i < json_array_size(report); i++) {
        json_t *link = json_array_get(report, i);
        if (is(link, "source", source) && is(link, "target", target))
            return link;
    }
    return NULL;
}

/* ---- dealing rows out ---- */

static json_t *link_of(json_t *report, const char *source, const char *target)
{
    json_t *link = tm_link_report_find(report, source, target);
    if (link != NULL)
        return link;
    link = json_pack("{s:s, s:s, s:b, s:b, s:[], s:[], s:[], s:[], s:[], s:{}, s:{}}", "source",
                     source, "target", target, "sourceAsked", 0, "targetAsked", 0, "unled", "out",
                     "gates", "in", "dead", "sourceSays", "targetSays");
    json_array_append_new(report, link);
    return link;
}

/* What a worker says of the link and its other end. */
static void take_link(json_t *link, const json_t *row, bool out)
{
    static const char *const most[] = {"nodes", "reach", "rate", "partitions", "wall_ms"};
    static const char *const some[] = {"mode", "refused", "stranger", "incarnation"};
    json_t *says = json_object_get(link, out ? "sourceSays" : "targetSays");
    json_object_set_new(link, out ? "sourceAsked" : "targetAsked", json_true());
    for (unsigned i = 0; i < TM_LINK_OPERATOR_COUNT; i++) {
        const char *said = tm_link_operator_name(i);
        if (json_object_get(row, said) != NULL)
            json_object_set(says, said, json_object_get(row, said));
    }
    for (size_t i = 0; i < TM_ARRAY_LEN(most); i++)
        if (tm_link_number(row, most[i]) >= tm_link_number(says, most[i]))
            json_object_set(says, most[i], json_object_get(row, most[i]));
    for (size_t i = 0; i < TM_ARRAY_LEN(some); i++)
        if (json_object_get(says, some[i]) == NULL || tm_link_text(row, some[i])[0] != '\0')
            json_object_set(says, some[i], json_object_get(row, some[i]));
}

static bool same_stream(const json_t *a, const json_t *b)
{
    return tm_link_number(a, "source") == tm_link_number(b, "source") &&
           tm_link_number(a, "target") == tm_link_number(b, "target");
}

static void take_stream(json_t *list, json_t *row)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *known = json_array_get(list, i);
        if (!same_stream(known, row))
            continue;
        if (tm_link_number(row, "commit") > tm_link_number(known, "commit"))
            json_array_set(list, i, row);
        return;
    }
    json_array_append(list, row);
}

static void take_rows(json_t *report, const struct tm_linked *c)
{
    for (size_t i = 0; i < json_array_size(c->rows); i++) {
        json_t *row = json_array_get(c->rows, i);
        const char *peer = tm_link_text(row, "peer");
        if (is(row, "kind", "link") && is(row, "way", "out"))
            take_link(link_of(report, c->name, peer), row, true);
        else if (is(row, "kind", "link"))
            take_link(link_of(report, peer, c->name), row, false);
        else if (is(row, "kind", "out"))
            take_stream(json_object_get(link_of(report, c->name, peer), "out"), row);
        else if (is(row, "kind", "gate"))
            json_array_append(json_object_get(link_of(report, c->name, peer), "gates"), row);
        else if (is(row, "kind", "in"))
            take_stream(json_object_get(link_of(report, peer, c->name), "in"), row);
        else if (is(row, "kind", "dead"))
            json_array_append(json_object_get(link_of(report, peer, c->name), "dead"), row);
    }
}

/* ---- summing up ---- */

static json_int_t more(json_int_t a, json_int_t b)
{
    return a > b ? a : b;
}

static void sum_lag(json_t *link)
{
    static const char *const sums[] = {"records", "bytes"}, *const most[] = {"ms", "delay_ms"};
    json_t *lag = json_object(), *out = json_object_get(link, "out"), *refusals = json_object();
    json_int_t sum[2] = {0}, max[2] = {0};
    for (size_t i = 0; i < json_array_size(out); i++) {
        const json_t *row = json_array_get(out, i);
        const char *refusal = tm_link_text(row, "refusal");
        sum[0] += tm_link_number(row, "lag_records");
        sum[1] += tm_link_number(row, "lag_bytes");
        max[0] = more(max[0], tm_link_number(row, "lag_ms"));
        max[1] = more(max[1], tm_link_number(row, "delay_ms"));
        if (refusal[0] != '\0')
            json_object_set_new(refusals, refusal,
                                json_integer(tm_link_number(refusals, refusal) + 1));
    }
    for (unsigned k = 0; k < 2; k++) {
        json_object_set_new(lag, sums[k], json_integer(sum[k]));
        json_object_set_new(lag, most[k], json_integer(max[k]));
    }
    json_object_set_new(link, "lag", lag);
    json_object_set_new(link, "refusals", refusals);
    json_object_set_new(link, "streams", json_integer((json_int_t)json_array_size(out)));
}

static void find_unled(json_t *link)
{
    const json_t *out = json_object_get(link, "out");
    json_t *unled = json_object_get(link, "unled");
    json_int_t partitions = tm_link_number(link, "partitions");
    bool led[TM_DIRECTORY_PARTITIONS_MAX] = {false};
    if (partitions > TM_DIRECTORY_PARTITIONS_MAX)
        partitions = TM_DIRECTORY_PARTITIONS_MAX; /* a node may say anything */
    for (size_t i = 0; i < json_array_size(out); i++) {
        json_int_t source = tm_link_number(json_array_get(out, i), "source");
        if (source >= 0 && source < partitions)
            led[source] = true;
    }
    for (json_int_t p = 0; p < partitions; p++)
        if (!led[p])
            json_array_append_new(unled, json_integer(p));
}

static bool has_wait(const json_t *link, const char *name)
{
    const json_t *out = json_object_get(link, "out");
    for (size_t i = 0; i < json_array_size(out); i++)
        if (is(json_array_get(out, i), "waits", name))
            return true;
    return false;
}

/* Of the partitions of a synchronous link some do not wait for the target. */
static bool is_degraded(const json_t *link)
{
    const json_t *gates = json_object_get(link, "gates");
    for (size_t i = 0; i < json_array_size(gates); i++)
        if (is(json_array_get(gates, i), "state", "DEGRADED"))
            return true;
    return false;
}

static const char *state_of(const json_t *link)
{
    bool paused = tm_link_number(json_object_get(link, "sourceSays"), "paused") != 0 ||
                  tm_link_number(json_object_get(link, "targetSays"), "paused") != 0 ||
                  tm_link_number(json_object_get(link, "refusals"), "PAUSED") > 0;
    bool met = json_array_size(json_object_get(link, "out")) > 0;
    if (!json_is_true(json_object_get(link, "sourceAsked")))
        return "unknown";
    if (tm_link_number(link, "nodes") == 0)
        return "unresolved";
    if (paused)
        return "paused";
    if (tm_link_number(link, "reach") == 0 && is_degraded(link))
        return "degraded";
    if (tm_link_number(link, "reach") == 0)
        return tm_link_text(link, "refused")[0] != '\0' ? "refused" : "away";
    if (has_wait(link, "SNAPSHOT") ||
        tm_link_number(json_object_get(link, "refusals"), "SNAPSHOT") > 0)
        return "snapshot_required";
    if (has_wait(link, "REFUSED") || has_wait(link, "DIVERGED"))
        return "stands";
    if (!met || json_array_size(json_object_get(link, "unled")) > 0)
        return "unled";
    if (is_degraded(link))
        return "degraded";
    if (has_wait(link, "RESYNC") || has_wait(link, "TURN"))
        return "resync";
    return tm_link_number(json_object_get(link, "lag"), "records") > 0 ? "lags" : "streams";
}

static void sum_up(json_t *link)
{
    static const char *const copied[] = {"mode",  "partitions", "nodes",
                                         "reach", "refused",    "stranger"};
    const json_t *says = json_object_get(link, "sourceSays");
    for (size_t i = 0; i < TM_ARRAY_LEN(copied); i++)
        if (json_object_get(says, copied[i]) != NULL)
            json_object_set(link, copied[i], json_object_get(says, copied[i]));
    const json_t *throttle = json_object_get(says, "throttle");
    json_object_set_new(link, "throttled", json_boolean(throttle != NULL));
    json_object_set_new(link, "rate",
                        json_integer(tm_link_number(says, throttle != NULL ? "throttle" : "rate")));
    sum_lag(link);
    find_unled(link);
    json_object_set_new(link, "state", json_string(state_of(link)));
}

static int by_names(const void *a, const void *b)
{
    const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
    int c = strcmp(tm_link_text(x, "source"), tm_link_text(y, "source"));
    return c != 0 ? c : strcmp(tm_link_text(x, "target"), tm_link_text(y, "target"));
}

json_t *tm_link_report(const struct tm_linked_all *all)
{
    json_t *report = json_array();
    for (unsigned i = 0; i < all->count; i++)
        take_rows(report, &all->clusters[i]);
    for (size_t i = 0; i < json_array_size(report); i++)
        sum_up(json_array_get(report, i));
    return tm_link_sorted(report, by_names);
}
