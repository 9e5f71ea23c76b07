/* Streams that wait for the same are told together; of each group the stream that is furthest
 * behind names the first record that its target does not have.  What somebody can do about it
 * stands behind what is wrong. */
#include "tools/link_explain.h"

#include "actors/link_view.h"
#include "tools/words.h"

#include <stdio.h>
#include <stdlib.h>

#define GROUPS_MAX 64 /* more than there are ways to wait at a time */

static void end(struct tm_words *w, json_t *into)
{
    json_array_append_new(into, json_string(w->text));
    *w = (struct tm_words){0};
}

void tm_link_duration(json_int_t ms, char *text, size_t cap)
{
    static const struct {
        json_int_t below;
        double unit;
        const char *name;
    } rows[] = {{120 * 1000, 1e3, "s"},
                {120 * 60000, 6e4, "min"},
                {48 * 3600000LL, 36e5, "h"},
                {INT64_MAX, 864e5, "d"}};
    unsigned i = 0;
    while (ms >= rows[i].below && i + 1 < TM_ARRAY_LEN(rows))
        i++;
    if (ms < 1000)
        snprintf(text, cap, "%lld ms", (long long)ms);
    else
        snprintf(text, cap, "%.1f %s", (double)ms / rows[i].unit, rows[i].name);
}

void tm_link_bytes(json_int_t bytes, char *text, size_t cap)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes / 1024;
    unsigned i = 0;
    for (; v >= 1024 && i + 1 < TM_ARRAY_LEN(units); i++)
        v /= 1024;
    if (bytes < 1024)
        snprintf(text, cap, "%lld bytes", (long long)bytes);
    else
        snprintf(text, cap, "%.1f %s", v, units[i]);
}

/* ---- the whole ---- */

static const char *text_of_state(const char *state)
{
#define X(word, text)                                                                              \
    if (strcmp(state, #word) == 0)                                                                 \
        return text;
    TM_LINK_STATE_LIST(X)
#undef X
    return "";
}

static void say_head(struct tm_words *w, const json_t *link)
{
    const json_t *lag = json_object_get(link, "lag");
    char bytes[32], age[32], delay[32];
    tm_link_bytes(tm_link_number(lag, "bytes"), bytes, sizeof bytes);
    tm_link_duration(tm_link_number(lag, "ms"), age, sizeof age);
    tm_link_duration(tm_link_number(lag, "delay_ms"), delay, sizeof delay);
    tm_words_say(w, "%s -> %s: %s: %s", tm_link_text(link, "source"), tm_link_text(link, "target"),
                 tm_link_text(link, "state"), text_of_state(tm_link_text(link, "state")));
    if (tm_link_number(lag, "records") > 0)
        tm_words_say(w, "; behind by %lld records, about %s, the oldest waits for %s",
                     (long long)tm_link_number(lag, "records"), bytes, age);
    if (tm_link_number(lag, "delay_ms") > 0)
        tm_words_say(w, "; what came last took %s from its write here to its commit there", delay);
}

/* What is wrong between the clusters, not with single streams. */
static void say_link(const json_t *link, json_t *into)
{
    const char *source = tm_link_text(link, "source"), *target = tm_link_text(link, "target");
    const json_t *here = json_object_get(link, "sourceSays");
    const json_t *there = json_object_get(link, "targetSays");
    struct tm_words w = {0};
    if (!json_is_true(json_object_get(link, "sourceAsked"))) {
        tm_words_say(
            &w,
            "only %s was asked: what waits, and for what, knows %s (--at ADDRESS:PORT of one of "
            "its nodes)",
            target, source);
        end(&w, into);
    } else if (tm_link_number(link, "nodes") == 0) {
        tm_words_say(
            &w,
            "define %s in the topology file and run `tidemill apply`; until then the log is kept "
            "for it within the link's bounds",
            target);
        end(&w, into);
    }
    if (tm_link_number(here, "paused") != 0 || tm_link_number(there, "paused") != 0) {
        tm_words_say(&w,
                     "an operator has paused it at %s: `tidemill link resume %s %s` lets it go on",
                     tm_link_number(here, "paused") != 0 ? source : target, source, target);
        end(&w, into);
    }
    for (unsigned i = 0; i < 2; i++) {
        const json_t *says = i == 0 ? here : there;
        if (tm_link_text(says, "refused")[0] == '\0')
            continue;
        tm_words_say(&w, "%s and %s do not speak with each other: %s", i == 0 ? source : target,
                     i == 0 ? target : source, tm_link_text(says, "refused"));
        if (tm_link_text(says, "stranger")[0] != '\0')
            tm_words_say(
                &w,
                "; if it was made anew on purpose, `tidemill link adopt %s %s` takes it in the "
                "place of the one before",
                source, target);
        end(&w, into);
    }
    if (tm_link_number(link, "nodes") > 0 && tm_link_number(link, "reach") == 0 &&
        tm_link_text(link, "refused")[0] == '\0') {
        tm_words_say(
            &w,
            "none of the %lld nodes of %s is within reach of %s: they are down, or the network "
            "between is; writes at %s go on, and its log is kept for %s within the link's bounds",
            (long long)tm_link_number(link, "nodes"), target, source, source, target);
        end(&w, into);
    }
}

/* ---- partitions ---- */

static int by_number(const void *a, const void *b)
{
    json_int_t x = *(const json_int_t *)a, y = *(const json_int_t *)b;
    return (x > y) - (x < y);
}

/* "partition 3", "partitions 0-3, 7"; sorts. */
static void say_partitions(struct tm_words *w, json_int_t *numbers, size_t count)
{
    if (count == 0)
        return;
    qsort(numbers, count, sizeof *numbers, by_number);
    size_t different = 1;
    for (size_t i = 1; i < count; i++)
        if (numbers[i] != numbers[different - 1])
            numbers[different++] = numbers[i];
    tm_words_say(w, different == 1 ? "partition " : "partitions ");
    for (size_t i = 0; i < different;) {
        size_t to = i;
        while (to + 1 < different && numbers[to + 1] == numbers[to] + 1)
            to++;
        tm_words_say(w, "%s%lld", i > 0 ? ", " : "", (long long)numbers[i]);
        if (to > i)
            tm_words_say(w, "%s%lld", to > i + 1 ? "-" : ", ", (long long)numbers[to]);
        i = to + 1;
    }
}

static void say_unled(const json_t *link, json_t *into)
{
    const json_t *unled = json_object_get(link, "unled");
    size_t n = json_array_size(unled);
    if (n == 0 || tm_link_number(link, "streams") == 0)
        return;
    struct tm_words w = {0};
    json_int_t *numbers = calloc(n, sizeof *numbers);
    TM_ASSERT(numbers != NULL);
    for (size_t i = 0; i < n; i++)
        numbers[i] = json_integer_value(json_array_get(unled, i));
    say_partitions(&w, numbers, n);
    tm_words_say(
        &w,
        " of %s: no node that answers leads %s: nothing is shipped from there before one does "
        "(`tidemill status`)",
        tm_link_text(link, "source"), n == 1 ? "it" : "them");
    free(numbers);
    end(&w, into);
}

/* Partitions of a synchronous link whose writes do not wait for the target. */
static void say_gates(const json_t *link, json_t *into)
{
    const json_t *gates = json_object_get(link, "gates");
    size_t n = json_array_size(gates), count = 0;
    json_int_t *numbers = calloc(n + 1, sizeof *numbers);
    struct tm_words w = {0};
    TM_ASSERT(numbers != NULL);
    for (size_t i = 0; i < n; i++)
        if (strcmp(tm_link_text(json_array_get(gates, i), "state"), "DEGRADED") == 0)
            numbers[count++] = tm_link_number(json_array_get(gates, i), "source");
    if (count > 0) {
        say_partitions(&w, numbers, count);
        tm_words_say(
            &w, " DEGRADED: writes at %s get their OK without %s, until it has caught up to lag 0",
            tm_link_text(link, "source"), tm_link_text(link, "target"));
        end(&w, into);
    }
    free(numbers);
}

/* ---- streams ---- */

struct group {
    const json_t *worst; /* the row furthest behind */
    size_t count;
    json_int_t *partitions;
};

static bool alike(const json_t *a, const json_t *b)
{
    static const char *const names[] = {"waits", "refusal", "refusal_text"};
    for (size_t i = 0; i < TM_ARRAY_LEN(names); i++)
        if (strcmp(tm_link_text(a, names[i]), tm_link_text(b, names[i])) != 0)
            return false;
    return strcmp(tm_link_text(a, "waits"), "NODE") != 0 ||
           strcmp(tm_link_text(a, "node"), tm_link_text(b, "node")) == 0;
}

static unsigned group_streams(const json_t *link, struct group *groups)
{
    const json_t *out = json_object_get(link, "out");
    size_t n = json_array_size(out);
    unsigned count = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *row = json_array_get(out, i);
        unsigned g = 0;
        while (g < count && !alike(groups[g].worst, row))
            g++;
        if (g == GROUPS_MAX)
            continue;
        if (g == count) {
            groups[count++] =
                (struct group){.worst = row, .partitions = calloc(n, sizeof(json_int_t))};
            TM_ASSERT(groups[g].partitions != NULL);
        }
        groups[g].partitions[groups[g].count++] = tm_link_number(row, "source");
        if (tm_link_number(row, "lag_ms") > tm_link_number(groups[g].worst, "lag_ms"))
            groups[g].worst = row;
    }
    return count;
}

static enum tm_link_waits waits_of(const json_t *row)
{
    unsigned i = 0;
    while (i < TM_LINK_WAITS_ACK && strcmp(tm_link_text(row, "waits"), tm_link_waits_name(i)) != 0)
        i++;
    return i;
}

static unsigned refusal_of(const json_t *row)
{
#define X(name, number, stands, text)                                                              \
    if (strcmp(tm_link_text(row, "refusal"), #name) == 0)                                          \
        return number;
    TM_LINK_REFUSAL_LIST(X)
#undef X
    return TM_LINK_REFUSAL_NONE;
}

/* What somebody may do about a refusal; S and T stand for source and target. */
#define FROM '\1'
#define TO   '\2'
#define S    "\1"
#define T    "\2"
static const char *remedy_of(unsigned refusal)
{
    switch (refusal) {
    case TM_LINK_REFUSAL_INCARNATION:
        return "`tidemill link adopt " S " " T "` takes it as it is now, `tidemill link rewind " S
               " " T "` has it ship all again, and " T " keeps what is later there";
    case TM_LINK_REFUSAL_EPOCH:
        return S " is fenced: it has to follow " T " from now on, or to be made anew";
    case TM_LINK_REFUSAL_RESIDENCY:
        return "take the type out of the link's types, or list the jurisdiction of " T " in its "
               "residency, and `tidemill apply` at both clusters";
    case TM_LINK_REFUSAL_CLOCK:
        return "set the clocks of " S "; it passes by itself when time has come up to them, or at "
               "once with `tidemill link release " S " " T "`";
    case TM_LINK_REFUSAL_MEMORY:
        return "raise --memory-limit at " T " or delete there; it is tried again by itself";
    case TM_LINK_REFUSAL_DISK:
        return "make room on the disks of " T "; it is tried again by itself";
    case TM_LINK_REFUSAL_UNLINKED:
        return "`tidemill apply` the same file at " T;
    case TM_LINK_REFUSAL_PAUSED:
        return "`tidemill link resume " S " " T "`";
    case TM_LINK_REFUSAL_PARTITIONS:
        return "run both clusters by the same topology file";
    case TM_LINK_REFUSAL_MALFORMED:
        return "the builds of the two clusters do not fit each other: run the same version";
    case TM_LINK_REFUSAL_SNAPSHOT:
        return "`tidemill link rewind " T " " S "`, if there is such a link, has " S " take what " T
               " has in the place of what it has from before; `tidemill link rewind " S " " T
               "` has " T " take it again, but nothing as old as what it gave up";
    default:
        return "it is tried again by itself";
    }
}

static void say_remedy(struct tm_words *w, unsigned refusal, const char *source, const char *target)
{
    tm_words_say(w, ": ");
    for (const char *c = remedy_of(refusal); *c != '\0'; c++)
        if (*c == FROM || *c == TO)
            tm_words_say(w, "%s", *c == FROM ? source : target);
        else
            tm_words_say(w, "%c", *c);
}

/* What the streams of the group wait for. */
static void say_wait(struct tm_words *w, const json_t *link, const json_t *row)
{
    const char *source = tm_link_text(link, "source"), *target = tm_link_text(link, "target");
    enum tm_link_waits waits = waits_of(row);
    unsigned refusal = refusal_of(row);
    char number[32];
    if (waits == TM_LINK_WAITS_REFUSED) {
        tm_words_say(w, ": %s refuses: %s", target, tm_link_refusal_text(refusal));
        if (tm_link_text(row, "refusal_text")[0] != '\0')
            tm_words_say(w, " (%s)", tm_link_text(row, "refusal_text"));
        say_remedy(w, refusal, source, target);
    } else {
        tm_words_say(w, ": %s", tm_link_waits_text(waits));
    }
    if (waits == TM_LINK_WAITS_NODE && tm_link_text(row, "node")[0] != '\0')
        tm_words_say(w, " (%s); another one is asked next", tm_link_text(row, "node"));
    if (waits == TM_LINK_WAITS_RESYNC ||
        (waits == TM_LINK_WAITS_TURN && tm_link_number(row, "resync_percent") > 0))
        tm_words_say(w, ": %lld %% done", (long long)tm_link_number(row, "resync_percent"));
    if (waits == TM_LINK_WAITS_THROTTLE) {
        tm_link_bytes(tm_link_number(row, "rate"), number, sizeof number);
        tm_words_say(w, " (%s a second here, its share of the link's rate)", number);
    }
    if (waits == TM_LINK_WAITS_WINDOW || waits == TM_LINK_WAITS_ACK) {
        tm_link_bytes(tm_link_number(row, "flight_bytes"), number, sizeof number);
        tm_words_say(w, " (%s in %lld batches to %s)", number,
                     (long long)tm_link_number(row, "flight"),
                     tm_link_text(row, "node")[0] != '\0' ? tm_link_text(row, "node") : target);
    }
    if (waits == TM_LINK_WAITS_DIVERGED)
        tm_words_say(
            w,
            " (it has index %lld, %s has committed %lld): %s was restored or has lost records; "
            "stop its nodes, say so with `tidemill restored`, and start them again",
            (long long)tm_link_number(row, "acked"), source,
            (long long)tm_link_number(row, "commit"), source);
    if (waits == TM_LINK_WAITS_SNAPSHOT)
        tm_words_say(
            w,
            ": `tidemill link rewind %s %s` has %s take what %s has in the place of what it has "
            "from before",
            source, target, target, source);
    if (json_object_get(row, "next_ms") != NULL &&
        (waits == TM_LINK_WAITS_REFUSED || waits == TM_LINK_WAITS_DIVERGED ||
         waits == TM_LINK_WAITS_SNAPSHOT)) {
        tm_link_duration(tm_link_number(row, "next_ms"), number, sizeof number);
        tm_words_say(w, "; asked again in %s", number);
    }
}

/* The first record that the target does not have. */
static void say_record(struct tm_words *w, const json_t *link, const json_t *row)
{
    const char *source = tm_link_text(link, "source"), *target = tm_link_text(link, "target");
    char age[32];
    if (tm_link_number(row, "lag_records") == 0)
        return;
    tm_words_say(w, ". First record that %s does not have for good: partition %lld, ", target,
                 (long long)tm_link_number(row, "source"));
    if (tm_link_number(row, "record") == 0) {
        tm_words_say(w,
                     tm_link_number(row, "record_on_disk") != 0
                         ? "after index %lld, on the disk of %s only, committed"
                         : "none that is shipped after index %lld, as far as %s has looked",
                     (long long)tm_link_number(row, "acked"), source);
        return;
    }
    tm_link_duration(tm_link_number(row, "record_age_ms"), age, sizeof age);
    tm_words_say(w, "index %lld, stamp %s, written %s ago, type %s, committed at %s",
                 (long long)tm_link_number(row, "record"), tm_link_text(row, "record_stamp"), age,
                 tm_link_text(row, "record_type"), source);
}

static void say_streams(const json_t *link, json_t *into)
{
    struct group groups[GROUPS_MAX];
    unsigned count = group_streams(link, groups);
    for (unsigned i = 0; i < count; i++) {
        struct tm_words w = {0};
        const json_t *row = groups[i].worst;
        if (waits_of(row) != TM_LINK_WAITS_NOTHING || count > 1) {
            say_partitions(&w, groups[i].partitions, groups[i].count);
            tm_words_say(&w, " (%zu of %lld streams)", groups[i].count,
                         (long long)tm_link_number(link, "streams"));
            say_wait(&w, link, row);
            say_record(&w, link, row);
            end(&w, into);
        }
        free(groups[i].partitions);
    }
}

json_t *tm_link_explain(const json_t *link)
{
    json_t *says = json_array();
    struct tm_words w = {0};
    say_head(&w, link);
    end(&w, says);
    say_link(link, says);
    say_unled(link, says);
    say_gates(link, says);
    say_streams(link, says);
    size_t dead = json_array_size(json_object_get(link, "dead"));
    if (dead > 0) {
        tm_words_say(
            &w, "%zu change%s came to %s and could not be applied (`tidemill link dead ls %s %s`)",
            dead, dead == 1 ? "" : "s", tm_link_text(link, "target"), tm_link_text(link, "source"),
            tm_link_text(link, "target"));
        end(&w, says);
    }
    return says;
}
