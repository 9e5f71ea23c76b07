/* tidemill link dead: changes that came over a link and could not be applied: listed, tried again,
 * given up.
 *
 * They lie at the worker of the target that got them, so the target's nodes are asked.  An ID is
 * node/worker/number. */
#include "tools/command.h"
#include "tools/link_internal.h"

#include <stdio.h>
#include <time.h>

static void time_of(json_int_t ms, char text[32])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm t;
    gmtime_r(&seconds, &t);
    strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &t);
}

static void name_rows(json_t *rows)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_t *row = json_array_get(rows, i);
        char id[256];
        snprintf(id, sizeof id, "%s/%lld/%lld", tm_link_text(row, "at"),
                 (long long)tm_link_number(row, "worker"),
                 (long long)tm_link_number(row, "number"));
        json_object_set_new(row, "id", json_string(id));
    }
}

/* ---- ls, show ---- */

static void print_list(const json_t *dead)
{
    printf("%-20s %-20s %-32s %6s %6s %12s %5s %s\n", "ID", "CAME", "KEY", "FROM", "TO", "INDEX",
           "TRIES", "ERROR");
    for (size_t i = 0; i < json_array_size(dead); i++) {
        const json_t *row = json_array_get(dead, i);
        char at[32];
        time_of(tm_link_number(row, "at_ms"), at);
        printf("%-20s %-20s %-32s %6lld %6lld %12lld %5lld %s\n", tm_link_text(row, "id"), at,
               tm_link_text(row, "key"), (long long)tm_link_number(row, "source"),
               (long long)tm_link_number(row, "target"), (long long)tm_link_number(row, "index"),
               (long long)tm_link_number(row, "tries"), tm_link_text(row, "error"));
    }
}

/* Those of the link, or the one of that ID; a new array. */
static json_t *chosen(const struct tm_link_command *c)
{
    const json_t *link = tm_link_report_find(c->report, c->source, c->target);
    json_t *dead = json_object_get(link, "dead"), *list = json_array();
    name_rows(dead);
    for (size_t i = 0; i < json_array_size(dead); i++)
        if (c->value == NULL || strcmp(tm_link_text(json_array_get(dead, i), "id"), c->value) == 0)
            json_array_append(list, json_array_get(dead, i));
    return list;
}

static int list(const struct tm_link_command *c)
{
    json_t *dead = chosen(c);
    int status = TM_EXIT_DONE;
    if (c->value != NULL && json_array_size(dead) == 0)
        status = tm_fail("%s -> %s has no dead letter %s", c->source, c->target, c->value);
    else if (c->json)
        tm_link_print_json(dead);
    else
        print_list(dead);
    json_decref(dead);
    return status;
}

/* ---- retry, drop ---- */

/* Node, worker and number of an ID, in its own bytes, cut at the last two '/'.  False: it is none.
 */
static bool cut_id(char *id, const char *parts[3])
{
    char *number = strrchr(id, '/');
    if (number == NULL)
        return false;
    *number++ = '\0';
    char *worker = strrchr(id, '/');
    if (worker == NULL)
        return false;
    *worker++ = '\0';
    parts[0] = id;
    parts[1] = worker;
    parts[2] = number;
    return *id != '\0' && *worker != '\0' && *number != '\0';
}

static bool is_done(const json_t *row)
{
    return strcmp(tm_link_text(row, "done"), "OK") == 0;
}

static int print_order(const struct tm_link_command *c, const json_t *rows, bool retry)
{
    unsigned done = 0, failed = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (strcmp(tm_link_text(row, "kind"), "order") != 0)
            continue;
        done += is_done(row);
        failed += !is_done(row);
        if (!is_done(row))
            fprintf(stderr, "tidemill: %s (key \"%s\") stays: %s\n", tm_link_text(row, "id"),
                    tm_link_text(row, "key"), tm_link_text(row, "done"));
    }
    if (done + failed == 0 && c->value != NULL)
        return tm_fail("%s -> %s has no dead letter %s", c->source, c->target, c->value);
    if (c->json)
        tm_link_print_json(rows);
    else
        printf("%s -> %s: %u %s\n", c->source, c->target, done,
               retry ? "asked for again: what still does not fit is listed again" : "dropped");
    return failed == 0 ? TM_EXIT_DONE : TM_EXIT_FAILED;
}

static int order(const struct tm_link_command *c, bool retry)
{
    struct tm_linked *target = tm_linked_cluster(&c->all, c->target);
    const char *parts[3] = {NULL, NULL, NULL};
    char id[256] = "";
    if (c->value != NULL) {
        snprintf(id, sizeof id, "%s", c->value);
        if (!cut_id(id, parts))
            return tm_usage_error("link", "\"%s\" is no ID: node/worker/number", c->value);
    }
    if (target == NULL)
        return tm_fail("no node of cluster %s was found, which is where dead letters lie: give "
                       "--dir DIR, or --at ADDRESS:PORT of one of its nodes",
                       c->target);
    json_t *rows =
        tm_linked_ask(target, c->where.password,
                      (const char *const[]){"TIDEMILL", "LINK", "DEAD", retry ? "RETRY" : "DROP",
                                            c->source, parts[0], parts[1], parts[2], NULL});
    tm_linked_say_errors(target, rows);
    name_rows(rows);
    int status = print_order(c, rows, retry);
    json_decref(rows);
    return status;
}

int tm_link_dead(struct tm_link_command *c)
{
    bool retry = strcmp(c->how, "retry") == 0;
    return retry || strcmp(c->how, "drop") == 0 ? order(c, retry) : list(c);
}

const char *tm_link_dead_usage(struct tm_link_command *c, int argc, char **argv)
{
    bool shows = argc > 1 && strcmp(argv[1], "show") == 0;
    static const char *const known[] = {"ls", "show", "retry", "drop"};
    for (size_t i = 0; i < TM_ARRAY_LEN(known) && argc > 1; i++)
        if (strcmp(argv[1], known[i]) == 0)
            c->how = known[i];
    c->source = argc > 2 ? argv[2] : NULL;
    c->target = argc > 3 ? argv[3] : NULL;
    c->value = argc > 4 ? argv[4] : NULL;
    if (c->how == NULL)
        return "dead needs ls, show, retry or drop, then SOURCE TARGET";
    if (shows && argc != 5)
        return "dead show needs SOURCE TARGET ID";
    return argc < 4 || argc > 5 || (argc == 5 && strcmp(c->how, "ls") == 0)
               ? "dead ls|retry|drop needs SOURCE TARGET; retry and drop take an ID, too"
               : NULL;
}
