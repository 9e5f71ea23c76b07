/* Tables for people; whoever wants all of it asks for JSON. */
#include "actors/link_operator.h"
#include "tools/link_explain.h"
#include "tools/link_internal.h"

#include <stdio.h>

void tm_link_print_list(const json_t *report)
{
    printf("%-32s %-6s %-17s %8s %12s %12s %10s %10s\n", "LINK", "MODE", "STATE", "STREAMS",
           "LAG RECORDS", "LAG BYTES", "LAG AGE", "DELAY");
    for (size_t i = 0; i < json_array_size(report); i++) {
        const json_t *link = json_array_get(report, i), *lag = json_object_get(link, "lag");
        char name[160], bytes[32], age[32], delay[32];
        snprintf(name, sizeof name, "%s -> %s", tm_link_text(link, "source"),
                 tm_link_text(link, "target"));
        tm_link_bytes(tm_link_number(lag, "bytes"), bytes, sizeof bytes);
        tm_link_duration(tm_link_number(lag, "ms"), age, sizeof age);
        tm_link_duration(tm_link_number(lag, "delay_ms"), delay, sizeof delay);
        if (!json_is_true(json_object_get(link, "sourceAsked")))
            printf("%-32s %-6s %-17s   (no node of %s was asked)\n", name, "-", "unknown",
                   tm_link_text(link, "source"));
        else
            printf("%-32s %-6s %-17s %8lld %12lld %12s %10s %10s\n", name,
                   tm_link_text(link, "mode"), tm_link_text(link, "state"),
                   (long long)tm_link_number(link, "streams"),
                   (long long)tm_link_number(lag, "records"), bytes, age, delay);
    }
}

/* What operators said at one end, a line each. */
static void print_said(const json_t *says, const char *at)
{
    for (unsigned i = 0; i < TM_LINK_OPERATOR_COUNT; i++) {
        const json_t *v = json_object_get(says, tm_link_operator_name(i));
        bool there =
            json_is_integer(v) && (json_integer_value(v) != 0 || i == TM_LINK_OPERATOR_throttle);
        bool hex = json_is_string(v) && json_string_value(v)[0] != '\0';
        if (there)
            printf("  by an operator at %s: %s %lld: %s\n", at, tm_link_operator_name(i),
                   (long long)json_integer_value(v), tm_link_operator_text(i));
        else if (hex)
            printf("  by an operator at %s: %s %s: %s\n", at, tm_link_operator_name(i),
                   json_string_value(v), tm_link_operator_text(i));
    }
}

static int by_source(const void *a, const void *b)
{
    const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
    json_int_t c = tm_link_number(x, "source") - tm_link_number(y, "source");
    if (c == 0)
        c = tm_link_number(x, "target") - tm_link_number(y, "target");
    return (c > 0) - (c < 0);
}

static void print_streams(const json_t *link)
{
    json_t *rows = tm_link_sorted(json_copy(json_object_get(link, "out")), by_source);
    size_t n = json_array_size(rows);
    if (n > 0)
        printf("%6s %6s  %-14s %-14s %-9s %-9s %12s %12s %10s %10s  %s\n", "FROM", "TO", "LED BY",
               "SENDS TO", "STATE", "WAITS FOR", "COMMITTED", "TARGET HAS", "LAG", "AGE", "");
    for (size_t i = 0; i < n; i++) {
        const json_t *row = json_array_get(rows, i);
        char age[32];
        tm_link_duration(tm_link_number(row, "lag_ms"), age, sizeof age);
        printf("%6lld %6lld  %-14s %-14s %-9s %-9s %12lld %12lld %10lld %10s  %s%s%s\n",
               (long long)tm_link_number(row, "source"), (long long)tm_link_number(row, "target"),
               tm_link_text(row, "at"), tm_link_text(row, "node"), tm_link_text(row, "state"),
               tm_link_text(row, "waits"), (long long)tm_link_number(row, "commit"),
               (long long)tm_link_number(row, "acked"),
               (long long)tm_link_number(row, "lag_records"), age, tm_link_text(row, "refusal"),
               tm_link_text(row, "refusal_text")[0] != '\0' ? ": " : "",
               tm_link_text(row, "refusal_text"));
    }
    json_decref(rows);
}

static void print_dead(const json_t *link)
{
    const json_t *dead = json_object_get(link, "dead");
    for (size_t i = 0; i < json_array_size(dead); i++) {
        const json_t *d = json_array_get(dead, i);
        printf("dead letter: key \"%s\" from partition %lld, index %lld, at %s: %s\n",
               tm_link_text(d, "key"), (long long)tm_link_number(d, "source"),
               (long long)tm_link_number(d, "index"), tm_link_text(d, "at"),
               tm_link_text(d, "error"));
    }
}

void tm_link_print_link(const json_t *link)
{
    char rate[32];
    json_t *says = tm_link_explain(link);
    tm_link_bytes(tm_link_number(link, "rate"), rate, sizeof rate);
    printf("%s\n", json_string_value(json_array_get(says, 0)));
    json_decref(says);
    printf("  mode %s, %s a second%s, %lld of %lld nodes of %s within reach\n",
           tm_link_text(link, "mode"), tm_link_number(link, "rate") == 0 ? "any rate" : rate,
           json_is_true(json_object_get(link, "throttled")) ? " (by an operator)" : "",
           (long long)tm_link_number(link, "reach"), (long long)tm_link_number(link, "nodes"),
           tm_link_text(link, "target"));
    print_said(json_object_get(link, "sourceSays"), tm_link_text(link, "source"));
    print_said(json_object_get(link, "targetSays"), tm_link_text(link, "target"));
    print_streams(link);
    print_dead(link);
}

void tm_link_print_json(const json_t *value)
{
    json_dumpf(value, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    putchar('\n');
}
