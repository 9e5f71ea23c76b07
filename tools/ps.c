/* tidemill ps: the nodes on the data directories below DIR, and what they are doing. */
#include "tools/command.h"
#include "tools/nodedir.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static void print_json(const struct tm_nodedir *all, unsigned count)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < count; i++) {
        const struct tm_nodedir *d = &all[i];
        json_t *pid = d->lives ? json_integer(d->pid) : json_null();
        json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:s, s:s, s:s, s:s}", "cluster",
                                              d->cluster, "node", d->node, "pid", pid, "listen",
                                              d->file.listen, "dir", d->path, "state",
                                              tm_nodedir_state(d), "fabric", d->file.fabric));
    }
    json_dumpf(list, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(list);
}

static void print_table(const struct tm_nodedir *all, unsigned count)
{
    printf("%-20s %-16s %8s  %-22s %-9s %s\n", "CLUSTER", "NODE", "PID", "ADDRESS", "STATE",
           "FABRIC");
    for (unsigned i = 0; i < count; i++) {
        const struct tm_nodedir *d = &all[i];
        char pid[24] = "-";
        if (d->lives)
            snprintf(pid, sizeof pid, "%lld", (long long)d->pid);
        printf("%-20s %-16s %8s  %-22s %-9s %s\n", d->cluster, d->node, pid, d->file.listen,
               tm_nodedir_state(d), d->file.fabric);
    }
}

int tm_main_ps(int argc, char **argv)
{
    bool json = false;
    const char *dir = NULL;
    const struct tm_arg args[] = {
        {"--json", &json, NULL}, {"--dir", NULL, &dir}, {NULL, NULL, NULL}};
    if (!tm_args_take("ps", &argc, argv, args, false))
        return TM_EXIT_USAGE;
    if (argc != 0 || dir == NULL)
        return tm_usage_error("ps", "--dir DIR is needed, and nothing else");
    char *real = realpath(dir, NULL);
    struct tm_nodedir *all;
    unsigned count;
    enum tm_err err =
        real == NULL ? TM_ERR_NOTFOUND : tm_nodedir_list(real, NULL, NULL, &all, &count);
    free(real);
    if (err != TM_OK)
        return tm_fail("--dir %s: %s", dir, tm_err_text(err));
    if (json)
        print_json(all, count);
    else
        print_table(all, count);
    free(all);
    return TM_EXIT_DONE;
}
