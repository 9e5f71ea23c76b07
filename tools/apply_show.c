#include "tools/apply_show.h"
#include "actors/change.h"
#include "actors/link_operator.h"

#include <stdio.h>

static void print_change(void *arg, const struct tm_change *change)
{
    char text[2048];
    (void)arg;
    tm_change_text(change, text, sizeof text);
    printf("  %s\n", text);
}

/* "to:cloud/paused" as "link factory -> cloud: paused". */
static void name_said(const char *cluster, struct tm_bytes name, char *text, size_t size)
{
    const char *n = (const char *)name.data;
    int len = (int)name.len, slash = 0;
    while (slash < len && n[slash] != '/')
        slash++;
    if (len > 3 && strncmp(n, "to:", 3) == 0 && slash < len)
        snprintf(text, size, "link %s -> %.*s: %.*s", cluster, slash - 3, n + 3, len - slash - 1,
                 n + slash + 1);
    else if (len > 5 && strncmp(n, "from:", 5) == 0 && slash < len)
        snprintf(text, size, "link %.*s -> %s: %.*s", slash - 5, n + 5, cluster, len - slash - 1,
                 n + slash + 1);
    else
        snprintf(text, size, "%.*s", len, n);
}

static void print_said(void *arg, struct tm_bytes name, struct tm_bytes value)
{
    char text[512];
    name_said(arg, name, text, sizeof text);
    printf("  by an operator: %s: %.*s\n", text, (int)value.len, (const char *)value.data);
}

void tm_apply_print(const struct tm_running *all, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct tm_running *r = &all[i];
        if (r->now == NULL) {
            printf("cluster %s: does not run: `tidemill up` starts it\n", r->cluster->name);
            continue;
        }
        unsigned n = tm_changes(r->cluster->name, r->now->facts, r->facts, NULL, NULL);
        printf("cluster %s, version %llu: %s\n", r->cluster->name,
               (unsigned long long)r->now->version, n > 0 ? "changes:" : "nothing to change");
        tm_changes(r->cluster->name, r->now->facts, r->facts, print_change, NULL);
        tm_link_facts_said(r->now->facts, print_said, r->cluster->name);
    }
}

static void add_change(void *arg, const struct tm_change *change)
{
    static const char *const kinds[] = {"added", "removed", "changed"};
    json_array_append_new(arg,
                          json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "kind", kinds[change->kind],
                                    "subject", change->subject, "option", change->option, "from",
                                    change->from, "to", change->to, "note", change->note));
}

struct said {
    json_t *list;
    const char *cluster;
};

static void add_said(void *arg, struct tm_bytes name, struct tm_bytes value)
{
    const struct said *s = arg;
    char text[512];
    name_said(s->cluster, name, text, sizeof text);
    json_array_append_new(
        s->list, json_pack("{s:s, s:s%}", "subject", text, "value", value.data, value.len));
}

json_t *tm_apply_json(const struct tm_running *all, unsigned count)
{
    json_t *clusters = json_array();
    for (unsigned i = 0; i < count; i++) {
        const struct tm_running *r = &all[i];
        json_t *changes = json_array();
        struct said said = {.list = json_array(), .cluster = r->cluster->name};
        if (r->now != NULL) {
            tm_changes(r->cluster->name, r->now->facts, r->facts, add_change, changes);
            tm_link_facts_said(r->now->facts, add_said, &said);
        }
        json_array_append_new(clusters,
                              json_pack("{s:s, s:I, s:o, s:o}", "cluster", r->cluster->name,
                                        "version", r->now != NULL ? (json_int_t)r->now->version : 0,
                                        "changes", changes, "operator", said.list));
    }
    return clusters;
}

void tm_apply_print_json(const struct tm_running *all, unsigned count, bool applied)
{
    json_t *whole =
        json_pack("{s:b, s:o}", "applied", (int)applied, "clusters", tm_apply_json(all, count));
    json_dumpf(whole, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(whole);
}
