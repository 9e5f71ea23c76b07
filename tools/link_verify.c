/* tidemill link verify: has the source's nodes compare what they have with what the target has,
 * waits, and names what differs.
 *
 * Each worker compares the streams of the partitions that it leads; partitions that change hands
 * meanwhile, or do not stream, are told as not compared. */
#include "tools/command.h"
#include "tools/link_explain.h"
#include "tools/link_internal.h"

#include <stdio.h>
#include <time.h>

#define LOOK_MS 200
#define AGAIN   10 /* times for partitions that changed hands, a second after the other */

struct verify {
    struct tm_link_command *c;
    struct tm_linked *source;
    const json_t *link;
    json_t *rows;     /* what VERIFIED says last, and did of other partitions */
    json_int_t begun; /* streams that somebody has compared, or tried to */
};

static json_int_t sum(const struct verify *v, const char *kind, const char *name)
{
    json_int_t total = 0;
    for (size_t i = 0; i < json_array_size(v->rows); i++) {
        const json_t *row = json_array_get(v->rows, i);
        if (strcmp(tm_link_text(row, "kind"), kind) == 0)
            total += name != NULL ? tm_link_number(row, name) : 1;
    }
    return total;
}

static void ask(struct verify *v, const char *word, const char *target, const char *partition)
{
    json_decref(v->rows);
    v->rows =
        tm_linked_ask(v->source, v->c->where.password,
                      (const char *const[]){"TIDEMILL", "LINK", word, target, partition, NULL});
}

static void pause_ms(unsigned ms)
{
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000L * 1000};
    nanosleep(&t, NULL);
}

/* All streams, or those of one partition, until all workers are through. */
static void compare(struct verify *v, const char *partition)
{
    ask(v, "VERIFY", v->c->target, partition);
    while (sum(v, "verified", "running") > 0) {
        pause_ms(LOOK_MS);
        ask(v, "VERIFIED", NULL, NULL);
    }
}

/* Takes a partition that was not compared out of the rows; false: there is none. */
static bool take_unverified(json_t *rows, json_int_t *partition)
{
    bool found = false;
    for (size_t i = json_array_size(rows); i-- > 0;) {
        const json_t *row = json_array_get(rows, i);
        if (strcmp(tm_link_text(row, "kind"), "unverified") != 0 ||
            (found && tm_link_number(row, "source") != *partition))
            continue;
        *partition = tm_link_number(row, "source");
        found = true;
        json_array_remove(rows, i);
    }
    return found;
}

/* Whoever leads it by now compares it again. */
static void compare_again(struct verify *v)
{
    json_int_t partition = 0;
    for (unsigned i = 0; i < AGAIN && take_unverified(v->rows, &partition); i++) {
        json_t *before = v->rows;
        char number[24];
        v->rows = NULL;
        snprintf(number, sizeof number, "%lld", (long long)partition);
        pause_ms(1000);
        compare(v, number);
        json_array_extend(v->rows, before);
        json_decref(before);
    }
}

static json_t *rows_of(const struct verify *v, const char *kind)
{
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(v->rows); i++) {
        json_t *row = json_array_get(v->rows, i);
        if (strcmp(tm_link_text(row, "kind"), kind) == 0)
            json_array_append(list, row);
    }
    return list;
}

/* What was found: {"keys", "streams", "compared", "differs", ..., "differences", "unverified"}. */
static json_t *result_of(const struct verify *v)
{
    static const char *const sums[] = {"keys",   "differs",   "only_source", "only_target",
                                       "others", "unsettled", "more"};
    json_t *o = json_pack("{s:s, s:s}", "source", v->c->source, "target", v->c->target);
    for (size_t i = 0; i < TM_ARRAY_LEN(sums); i++)
        json_object_set_new(o, sums[i], json_integer(sum(v, "verified", sums[i])));
    json_object_set_new(o, "streams", json_integer(tm_link_number(v->link, "streams")));
    json_object_set_new(o, "compared", json_integer(v->begun - sum(v, "unverified", NULL)));
    json_object_set_new(o, "differences", rows_of(v, "difference"));
    json_object_set_new(o, "unverified", rows_of(v, "unverified"));
    json_object_set(o, "unled", json_object_get(v->link, "unled"));
    json_object_set_new(o, "errors", rows_of(v, "error"));
    return o;
}

static void print_differences(const json_t *o)
{
    const json_t *list = json_object_get(o, "differences");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *d = json_array_get(list, i);
        const char *what = tm_link_text(d, "what"), *key = tm_link_text(d, "key");
        const char *text =
            strcmp(what, "DIFFERS") == 0       ? "differs"
            : strcmp(what, "ONLY_SOURCE") == 0 ? "is missing at the target"
            : strcmp(what, "OTHERS") == 0
                ? "differs by changes of further clusters, which this link does not carry"
            : strcmp(what, "UNSETTLED") == 0 ? "changed whenever it was looked at"
                                             : "only the target has it";
        if (key[0] != '\0')
            printf("  \"%s\" (partition %lld): %s\n", key, (long long)tm_link_number(d, "source"),
                   text);
        else
            printf("  a key of hash %s (partition %lld): %s\n", tm_link_text(d, "order"),
                   (long long)tm_link_number(d, "target"), text);
    }
}

static void print_result(const json_t *o)
{
    json_int_t named = (json_int_t)json_array_size(json_object_get(o, "differences"));
    json_int_t found = tm_link_number(o, "differs") + tm_link_number(o, "only_source") +
                       tm_link_number(o, "only_target") + tm_link_number(o, "others") +
                       tm_link_number(o, "unsettled");
    printf("%s -> %s: %lld keys compared in %lld of %lld streams: %lld differ, %lld are missing at "
           "the target, %lld are only there (they may be its own), %lld changed all the time\n",
           tm_link_text(o, "source"), tm_link_text(o, "target"),
           (long long)tm_link_number(o, "keys"), (long long)tm_link_number(o, "compared"),
           (long long)tm_link_number(o, "streams"), (long long)tm_link_number(o, "differs"),
           (long long)tm_link_number(o, "only_source"), (long long)tm_link_number(o, "only_target"),
           (long long)tm_link_number(o, "unsettled"));
    print_differences(o);
    if (found > named)
        printf("  and %lld more, not named\n", (long long)(found - named));
    if (tm_link_number(o, "more") > 0)
        printf("  and %lld that differed when first looked at, too many to be looked at again\n",
               (long long)tm_link_number(o, "more"));
    const json_t *unverified = json_object_get(o, "unverified");
    for (size_t i = 0; i < json_array_size(unverified); i++)
        printf("  not compared: partition %lld to partition %lld: it changed hands, or does not "
               "stream (tidemill link explain)\n",
               (long long)tm_link_number(json_array_get(unverified, i), "source"),
               (long long)tm_link_number(json_array_get(unverified, i), "target"));
    const json_t *unled = json_object_get(o, "unled");
    for (size_t i = 0; i < json_array_size(unled); i++)
        printf("  not compared: partition %lld: nobody leads it\n",
               (long long)json_integer_value(json_array_get(unled, i)));
}

/* Everything was compared, and is the same. */
static bool is_good(const json_t *o)
{
    return tm_link_number(o, "differs") + tm_link_number(o, "only_source") +
                   tm_link_number(o, "more") + tm_link_number(o, "unsettled") ==
               0 &&
           tm_link_number(o, "compared") == tm_link_number(o, "streams") &&
           json_array_size(json_object_get(o, "unled")) == 0 &&
           json_array_size(json_object_get(o, "errors")) == 0;
}

int tm_link_verify(struct tm_link_command *c)
{
    struct verify v = {.c = c,
                       .source = tm_linked_cluster(&c->all, c->source),
                       .link = tm_link_report_find(c->report, c->source, c->target)};
    if (v.source == NULL)
        return tm_fail(
            "no node of cluster %s was found, which is where what is shipped is compared: "
            "give --dir DIR, or --at ADDRESS:PORT of one of its nodes",
            c->source);
    if (tm_link_number(v.link, "streams") == 0)
        return tm_fail(
            "nothing can be compared: nothing of %s -> %s streams (`tidemill link explain "
            "%s %s`)",
            c->source, c->target, c->source, c->target);
    compare(&v, NULL);
    v.begun = sum(&v, "verified", "streams");
    if (v.begun > sum(&v, "unverified", NULL)) /* else nothing streams */
        compare_again(&v);
    json_t *o = result_of(&v);
    if (c->json)
        tm_link_print_json(o);
    else
        print_result(o);
    int status = is_good(o) ? TM_EXIT_DONE : TM_EXIT_FAILED;
    json_decref(o);
    json_decref(v.rows);
    return status;
}
