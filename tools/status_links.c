/* The node that was asked says whether there are links at all; if so all nodes that can be found
 * from there are asked for them, and for how many conflicts they resolved.  What an operator has to
 * know at once is written in capitals, with the words of `tidemill link explain` below. */
#include "tools/status_links.h"

#include "tools/client.h"
#include "tools/link_explain.h"
#include "tools/link_report.h"

#include <stdio.h>
#include <stdlib.h>

#define TIMEOUT_MS 3000
#define INFO_BYTES 65536

/* A section of INFO; "": it does not answer. */
static void info_of(const char *address, const char *password, const char *section,
                    char text[INFO_BYTES])
{
    struct tm_client c;
    enum tm_err err = tm_client_open(&c, address, TIMEOUT_MS);
    text[0] = '\0';
    if (err == TM_OK)
        err = tm_client_auth(&c, password);
    if (err == TM_OK)
        (void)tm_client_text(&c, (const char *const[]){"INFO", section, NULL}, text, INFO_BYTES);
    tm_client_close(&c);
}

/* ---- one link ---- */

static const char *const loud_states[] = {"stands", "refused", "degraded", "snapshot_required"};

static bool is_loud(const json_t *link)
{
    const char *state = tm_link_text(link, "state");
    for (size_t i = 0; i < TM_ARRAY_LEN(loud_states); i++)
        if (strcmp(state, loud_states[i]) == 0)
            return true;
    return tm_link_number(link, "degraded") > 0 || tm_link_number(link, "dead") > 0;
}

/* Partitions whose writes do not wait for the target of a synchronous link. */
static json_int_t degraded_of(const json_t *link)
{
    const json_t *gates = json_object_get(link, "gates");
    json_int_t n = 0;
    for (size_t i = 0; i < json_array_size(gates); i++)
        n += strcmp(tm_link_text(json_array_get(gates, i), "state"), "DEGRADED") == 0;
    return n;
}

/* Streams that the target refuses, as the end says that was asked; *some: why, of one of them. */
static json_int_t refused_of(const json_t *link, const char **some)
{
    bool asked = json_is_true(json_object_get(link, "sourceAsked"));
    const json_t *rows = json_object_get(link, asked ? "out" : "in");
    json_int_t n = 0;
    *some = "";
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const char *refusal = tm_link_text(json_array_get(rows, i), "refusal");
        n += refusal[0] != '\0';
        *some = refusal[0] != '\0' ? refusal : *some;
    }
    return n;
}

/* Only this cluster's nodes were asked, which is the target. */
static void look_from_target(json_t *row, const json_t *says, json_int_t refused, const char *why)
{
    char text[128];
    const char *state = tm_link_number(says, "paused") != 0 ? "paused"
                        : refused > 0                       ? "refused"
                                                            : "taken";
    json_object_set_new(row, "state", json_string(state));
    json_object_set_new(row, "mode", json_string(tm_link_text(says, "mode")));
    json_object_del(row, "lag"); /* which the source knows */
    if (refused == 0)
        return;
    snprintf(text, sizeof text, "%lld streams are refused here: %s", (long long)refused, why);
    json_array_append_new(json_object_get(row, "why"), json_string(text));
}

static json_t *row_of(const json_t *link)
{
    static const char *const copied[] = {"source", "target", "mode", "state", "lag"};
    json_t *row = json_object();
    for (size_t i = 0; i < TM_ARRAY_LEN(copied); i++)
        if (json_object_get(link, copied[i]) != NULL)
            json_object_set(row, copied[i], json_object_get(link, copied[i]));
    json_object_set_new(row, "degraded", json_integer(degraded_of(link)));
    const char *some;
    json_int_t refused = refused_of(link, &some);
    json_object_set_new(row, "refused", json_integer(refused));
    json_object_set_new(row, "dead",
                        json_integer((json_int_t)json_array_size(json_object_get(link, "dead"))));
    json_t *why = tm_link_explain(link);
    json_array_remove(why, 0); /* which says the state */
    json_object_set_new(row, "why", why);
    if (!json_is_true(json_object_get(link, "sourceAsked"))) {
        json_array_remove(why, 0); /* and that the source was not asked */
        look_from_target(row, json_object_get(link, "targetSays"), refused, some);
    }
    json_object_set_new(row, "loud", json_boolean(is_loud(row)));
    return row;
}

/* ---- all ---- */

static json_int_t conflicts_of(const struct tm_linked *c, const char *password)
{
    char *info = malloc(INFO_BYTES), number[32];
    json_int_t sum = 0;
    TM_ASSERT(info != NULL);
    for (unsigned i = 0; i < c->node_count; i++) {
        if (c->nodes[i].err != TM_OK)
            continue;
        info_of(c->nodes[i].address, password, "tidemill", info);
        if (tm_info_field(info, "link_conflicts", number, sizeof number))
            sum += strtoll(number, NULL, 10);
    }
    free(info);
    return sum;
}

static bool has_links(const char *address, const char *password)
{
    char *info = malloc(INFO_BYTES), link[512];
    TM_ASSERT(info != NULL);
    info_of(address, password, "links", info);
    bool has = tm_info_field(info, "link0", link, sizeof link);
    free(info);
    return has;
}

json_t *tm_status_links(const char *address, const char *cluster, const char *password,
                        json_int_t *conflicts)
{
    const struct tm_linked_where where = {.at = address, .password = password};
    struct tm_linked_all all = {0};
    char why[TM_LINK_WHY];
    json_t *list = json_array();
    *conflicts = 0;
    if (!has_links(address, password))
        return list;
    if (tm_linked_find(&where, &all, why) == TM_OK) {
        const struct tm_linked *own = tm_linked_cluster(&all, cluster);
        json_t *report = tm_link_report(&all);
        if (own != NULL)
            *conflicts = conflicts_of(own, password);
        for (size_t i = 0; i < json_array_size(report); i++) {
            const json_t *link = json_array_get(report, i);
            if (strcmp(tm_link_text(link, "source"), cluster) == 0 ||
                strcmp(tm_link_text(link, "target"), cluster) == 0)
                json_array_append_new(list, row_of(link));
        }
        json_decref(report);
    }
    tm_linked_free(&all);
    return list;
}

/* ---- printing ---- */

static void print_row(const json_t *row)
{
    const json_t *lag = json_object_get(row, "lag"), *why = json_object_get(row, "why");
    char name[2 * TM_DIRECTORY_NAME_MAX + 8], state[32], bytes[32], age[32];
    bool loud = json_is_true(json_object_get(row, "loud"));
    snprintf(name, sizeof name, "%s -> %s", tm_link_text(row, "source"),
             tm_link_text(row, "target"));
    snprintf(state, sizeof state, "%s", tm_link_text(row, "state"));
    for (char *c = state; loud && *c != '\0'; c++)
        if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A');
    tm_link_bytes(tm_link_number(lag, "bytes"), bytes, sizeof bytes);
    tm_link_duration(tm_link_number(lag, "ms"), age, sizeof age);
    if (lag != NULL)
        printf("%-32s %-6s %-17s %10lld %12s %10s\n", name, tm_link_text(row, "mode"), state,
               (long long)tm_link_number(lag, "records"), bytes, age);
    else
        printf("%-32s %-6s %-17s\n", name, tm_link_text(row, "mode"), state);
    for (size_t i = 0; i < json_array_size(why); i++)
        printf("  %s%s\n", loud ? "! " : "", json_string_value(json_array_get(why, i)));
}

void tm_status_print_links(const json_t *links, json_int_t conflicts)
{
    if (json_array_size(links) == 0)
        return;
    printf("%-32s %-6s %-17s %10s %12s %10s\n", "LINK", "MODE", "STATE", "LAG", "BYTES", "AGE");
    for (size_t i = 0; i < json_array_size(links); i++)
        print_row(json_array_get(links, i));
    if (conflicts > 0)
        printf("%lld conflicts were resolved here since the nodes began (tidemill conflicts)\n",
               (long long)conflicts);
}
