/* tidemill stat: the counters of a node, read from shared memory without the node's help.
 *
 * The workspace stays behind when a node dies, so the numbers of its last moment can be read until
 * it is started again or its data directory is removed. */
#include "runtime/counters.h"
#include "runtime/workspace.h"
#include "tools/command.h"
#include "tools/nodedir.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static json_t *json_values(const struct tm_counters_table *table, int worker)
{
    json_t *o = json_object();
    for (unsigned i = 0; i < TM_COUNTER_COUNT; i++) {
        enum tm_counter c = (enum tm_counter)i;
        uint64_t v =
            worker < 0 ? tm_counters_read(table, c) : tm_counter_get(&table->of[worker], c);
        json_object_set_new(o, tm_counter_name(c), json_integer((json_int_t)v));
    }
    return o;
}

static void print_json(const struct tm_counters_table *table, const char *path, bool lives,
                       long long pid)
{
    json_t *workers = json_array();
    for (unsigned w = 0; w < table->workers; w++)
        json_array_append_new(workers, json_values(table, (int)w));
    json_t *all =
        json_pack("{s:s, s:b, s:I, s:o, s:o}", "dir", path, "alive", (int)lives, "pid",
                  (json_int_t)pid, "counters", json_values(table, -1), "workers", workers);
    json_dumpf(all, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    putchar('\n');
    json_decref(all);
}

static void print_table(const struct tm_counters_table *table, const char *path, bool lives,
                        long long pid)
{
    printf("%s: %s, pid %lld, %u worker%s\n", path, lives ? "alive" : "dead", pid, table->workers,
           table->workers == 1 ? "" : "s");
    for (unsigned i = 0; i < TM_COUNTER_COUNT; i++) {
        enum tm_counter c = (enum tm_counter)i;
        printf("%-26s %20" PRIu64 " %-12s", tm_counter_name(c), tm_counters_read(table, c),
               tm_counter_unit(c));
        for (unsigned w = 0; table->workers > 1 && w < table->workers; w++)
            printf(" %" PRIu64, tm_counter_get(&table->of[w], c));
        putchar('\n');
    }
}

/* The counters of a joined workspace; NULL after it said why there are none. */
static struct tm_counters_table *join_counters(const struct tm_workspace *ws)
{
    size_t bytes;
    struct tm_counters_table *table;
    void *mem = tm_workspace_find(ws, TM_COUNTERS_OBJECT, &bytes);
    enum tm_err err = mem == NULL ? TM_ERR_NOTFOUND : tm_counters_join(&table, mem, bytes);
    if (err == TM_OK)
        return table;
    tm_fail("%s: its counters: %s", ws->path,
            err == TM_ERR_VERSION
                ? "those of another build: ask with the tidemill that runs the node"
                : tm_err_text(err));
    return NULL;
}

static int show(const char *dir, bool json)
{
    char path[TM_WORKSPACE_PATH_MAX + 1];
    struct tm_workspace ws;
    enum tm_err err = tm_workspace_path(path, dir);
    if (err != TM_OK)
        return tm_fail("%s: %s", dir, tm_err_text(err));
    err = tm_workspace_join(&ws, path, false);
    if (err == TM_ERR_NOTFOUND)
        return tm_fail("%s: no node has left counters here: start it first", dir);
    if (err == TM_ERR_VERSION)
        return tm_fail("%s: of another build: ask with the tidemill that runs the node", path);
    if (err != TM_OK)
        return tm_fail("%s: %s", path, tm_err_text(err));
    struct tm_counters_table *table = join_counters(&ws);
    if (table != NULL) {
        bool lives = tm_workspace_owner_lives(path);
        (json ? print_json : print_table)(table, dir, lives,
                                          (long long)tm_workspace_owner_pid(&ws));
    }
    tm_workspace_leave(&ws);
    return table != NULL ? TM_EXIT_DONE : TM_EXIT_FAILED;
}

int tm_main_stat(int argc, char **argv)
{
    bool json = false;
    const struct tm_arg args[] = {{"--json", &json, NULL}, {NULL, NULL, NULL}};
    if (!tm_args_take("stat", &argc, argv, args, false))
        return TM_EXIT_USAGE;
    if (argc != 1)
        return tm_usage_error("stat", "one data directory is needed, DIR/<cluster>/<node>");
    return show(argv[0], json);
}
