/* tidemill conflicts: what linked clusters wrote without knowing of each other, and what became of
 * it.
 *
 * Each worker keeps the newest conflicts that its merges resolved; all nodes are asked.  One is
 * named CLUSTER/NODE/WORKER/NUMBER.  `reapply` writes the value that lost as a new change, as any
 * client would: it is later than all that is there, and goes over the links like any write. */
#include "runtime/hlc.h"
#include "tools/client.h"
#include "tools/command.h"
#include "tools/link_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TIMEOUT_MS 5000

struct conflicts {
    struct tm_linked_where where;
    const char *verb, *id, *key;
    bool json;
    struct tm_linked_all all;
    json_t *list;
};

static int take_arguments(struct conflicts *c, int argc, char **argv)
{
    const struct tm_arg args[] = {{"--json", &c->json, NULL},
                                  {"--dir", NULL, &c->where.dir},
                                  {"--at", NULL, &c->where.at},
                                  {"--cluster", NULL, &c->where.cluster},
                                  {"--key", NULL, &c->key},
                                  {"--requirepass", NULL, &c->where.password},
                                  {NULL, NULL, NULL}};
    if (!tm_args_take("conflicts", &argc, argv, args, false))
        return TM_EXIT_USAGE;
    c->verb = argc > 0 ? argv[0] : "ls";
    c->id = argc > 1 ? argv[1] : NULL;
    bool lists = strcmp(c->verb, "ls") == 0;
    if (!lists && strcmp(c->verb, "show") != 0 && strcmp(c->verb, "reapply") != 0)
        return tm_usage_error("conflicts", "unknown verb \"%s\"", c->verb);
    if (argc > 2 || (c->id == NULL) != lists)
        return tm_usage_error("conflicts", lists ? "ls takes no names" : "%s needs the ID of one",
                              c->verb);
    return tm_linked_check("conflicts", &c->where);
}

/* ---- gathering ---- */

static void add_rows(struct conflicts *c, struct tm_linked *k)
{
    json_t *rows = tm_linked_ask(k, c->where.password,
                                 (const char *const[]){"TIDEMILL", "LINK", "CONFLICTS", NULL});
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_t *row = json_array_get(rows, i);
        char id[256];
        if (strcmp(tm_link_text(row, "kind"), "conflict") != 0 ||
            (c->key != NULL && strcmp(tm_link_text(row, "key"), c->key) != 0))
            continue;
        snprintf(id, sizeof id, "%s/%s/%lld/%lld", k->name, tm_link_text(row, "at"),
                 (long long)tm_link_number(row, "worker"),
                 (long long)tm_link_number(row, "number"));
        json_object_set_new(row, "id", json_string(id));
        json_object_set_new(row, "cluster", json_string(k->name));
        json_array_append(c->list, row);
    }
    tm_linked_say_errors(k, rows);
    json_decref(rows);
}

static int newest_first(const void *a, const void *b)
{
    const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
    json_int_t d = tm_link_number(y, "at_ms") - tm_link_number(x, "at_ms");
    if (d == 0)
        d = tm_link_number(y, "number") - tm_link_number(x, "number");
    return (d > 0) - (d < 0);
}

static void gather(struct conflicts *c)
{
    c->list = json_array();
    for (unsigned i = 0; i < c->all.count; i++)
        add_rows(c, &c->all.clusters[i]);
    c->list = tm_link_sorted(c->list, newest_first);
}

/* ---- showing ---- */

static void time_of(json_int_t ms, char text[32])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm t;
    gmtime_r(&seconds, &t);
    strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &t);
}

static const char *value_of(const json_t *row, bool winner, char *text, size_t size)
{
    const char *which = winner ? "winner" : "loser";
    char name[32];
    snprintf(name, sizeof name, "%s_deleted", which);
    if (tm_link_number(row, name) != 0)
        return "deleted";
    snprintf(name, sizeof name, "%s_bytes", which);
    json_int_t bytes = tm_link_number(row, name);
    snprintf(text, size, "\"%.60s\"%s", tm_link_text(row, which), bytes > 60 ? "..." : "");
    return text;
}

static void print_list(const struct conflicts *c)
{
    printf("%-32s %-20s %-10s %-24s %-12s %-20s %s\n", "ID", "RESOLVED", "RULE", "KEY", "FIELD",
           "WON", "LOST");
    for (size_t i = 0; i < json_array_size(c->list); i++) {
        const json_t *row = json_array_get(c->list, i);
        char at[32], won[80], lost[80];
        time_of(tm_link_number(row, "at_ms"), at);
        printf("%-32s %-20s %-10s %-24s %-12s %-20s %s\n", tm_link_text(row, "id"), at,
               tm_link_text(row, "rule"), tm_link_text(row, "key"), tm_link_text(row, "field"),
               value_of(row, true, won, sizeof won), value_of(row, false, lost, sizeof lost));
    }
}

static void print_side(const json_t *row, bool winner)
{
    const char *which = winner ? "winner" : "loser";
    char name[32], text[80], made[32];
    snprintf(name, sizeof name, "%s_stamp", which);
    const char *stamp = tm_link_text(row, name);
    time_of((json_int_t)tm_hlc_ms(strtoull(stamp, NULL, 16)), made);
    printf("  %s: %s, stamp %s (%s)", winner ? "won" : "lost",
           value_of(row, winner, text, sizeof text), stamp, made);
    snprintf(name, sizeof name, "%s_origin", which);
    printf(", written at the cluster of incarnation %s\n", tm_link_text(row, name));
}

static void print_one(const json_t *row)
{
    char at[32];
    time_of(tm_link_number(row, "at_ms"), at);
    printf("%s: %s \"%s\"%s%s%s, rule %s, resolved %s\n", tm_link_text(row, "id"),
           tm_link_text(row, "type"), tm_link_text(row, "key"),
           tm_link_text(row, "field")[0] != '\0' ? ", field \"" : "", tm_link_text(row, "field"),
           tm_link_text(row, "field")[0] != '\0' ? "\"" : "", tm_link_text(row, "rule"), at);
    print_side(row, true);
    print_side(row, false);
}

/* ---- writing again what lost ---- */

/* The words that write it; 0: it cannot be written, *why says why. */
static unsigned words_of(const json_t *row, const char *words[5], const char **why)
{
    const char *type = tm_link_text(row, "type"), *key = tm_link_text(row, "key");
    const char *field = tm_link_text(row, "field"), *value = tm_link_text(row, "loser");
    bool deleted = tm_link_number(row, "loser_deleted") != 0;
    unsigned n = 0;
    if (tm_link_number(row, "cut") != 0 ||
        (!deleted && (size_t)tm_link_number(row, "loser_bytes") != strlen(value))) {
        *why = "its key or value was too long, or no text, to be kept whole: write it by hand";
        return 0;
    }
    if (tm_link_number(row, "whole") != 0 && !deleted) {
        *why = "it is of a whole entity: write its fields by hand (show --json)";
        return 0;
    }
    bool string = strcmp(type, "string") == 0, set = strcmp(type, "set") == 0;
    bool whole = string || tm_link_number(row, "whole") != 0;
    words[n++] = whole ? (deleted ? "DEL" : "SET")
                 : set ? (deleted ? "SREM" : "SADD")
                       : (deleted ? "HDEL" : "HSET");
    words[n++] = key;
    if (!whole)
        words[n++] = field;
    if (!deleted && !set)
        words[n++] = value;
    words[n] = NULL;
    return n;
}

static int reapply(const struct conflicts *c, const json_t *row)
{
    const char *words[5], *why = "";
    char text[512] = "";
    struct tm_client client;
    if (words_of(row, words, &why) == 0)
        return tm_fail("%s: %s", c->id, why);
    const struct tm_linked *k = tm_linked_cluster(&c->all, tm_link_text(row, "cluster"));
    enum tm_err e = tm_client_open(&client, k->seed, TIMEOUT_MS);
    if (e == TM_OK)
        e = tm_client_auth(&client, c->where.password);
    if (e == TM_OK)
        e = tm_client_text(&client, words, text, sizeof text);
    tm_client_close(&client);
    if (e != TM_OK)
        return tm_fail("%s: %s", c->id, text[0] != '\0' ? text : tm_err_text(e));
    if (c->json)
        printf("{\"id\": \"%s\", \"reapplied\": true}\n", c->id);
    else
        printf("%s: written again: %s %s\n", c->id, words[0], words[1]);
    return TM_EXIT_DONE;
}

static const json_t *find(const struct conflicts *c)
{
    for (size_t i = 0; i < json_array_size(c->list); i++)
        if (strcmp(tm_link_text(json_array_get(c->list, i), "id"), c->id) == 0)
            return json_array_get(c->list, i);
    return NULL;
}

static int run(const struct conflicts *c)
{
    const json_t *row = c->id != NULL ? find(c) : NULL;
    if (c->id != NULL && row == NULL)
        return tm_fail(
            "there is no conflict %s (any more): `tidemill conflicts ls` lists the newest", c->id);
    if (strcmp(c->verb, "reapply") == 0)
        return reapply(c, row);
    if (c->json)
        tm_link_print_json(row != NULL ? row : c->list);
    else if (row != NULL)
        print_one(row);
    else
        print_list(c);
    return TM_EXIT_DONE;
}

int tm_main_conflicts(int argc, char **argv)
{
    struct conflicts c = {.where.password = tm_client_password()};
    char why[TM_LINK_WHY] = "";
    int status = take_arguments(&c, argc, argv);
    if (status != TM_EXIT_DONE)
        return status;
    if (tm_linked_find(&c.where, &c.all, why) == TM_OK) {
        tm_linked_say_silent(&c.all);
        gather(&c);
        status = run(&c);
    } else {
        status = tm_fail("%s", why);
    }
    json_decref(c.list);
    tm_linked_free(&c.all);
    return status;
}
