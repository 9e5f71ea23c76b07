#include "tools/apply_show.h"
#include "actors/change.h"

#include <stdio.h>

static void print_change(void *arg, const struct tm_change *change)
{
    char text[2048];
    (void)arg;
    tm_change_text(change, text, sizeof text);
    printf("  %s\n", text);
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

json_t *tm_apply_json(const struct tm_running *all, unsigned count)
{
    json_t *clusters = json_array();
    for (unsigned i = 0; i < count; i++) {
        const struct tm_running *r = &all[i];
        json_t *changes = json_array();
        if (r->now != NULL)
            tm_changes(r->cluster->name, r->now->facts, r->facts, add_change, changes);
        json_array_append_new(clusters,
                              json_pack("{s:s, s:I, s:o}", "cluster", r->cluster->name, "version",
                                        r->now != NULL ? (json_int_t)r->now->version : 0, "changes",
                                        changes));
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
