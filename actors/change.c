/* Both texts ascend by name, so one walk finds what is in one of them, or differs. */
#include "actors/change.h"

#include "actors/link_operator.h"

#include <stdio.h>

#define NAME_SIZE  512
#define VALUE_SIZE 512 /* longer values are cut: functions, long lists */

struct line {
    const char *name, *value;
    size_t name_len, value_len;
};

struct walk {
    const char *cluster, *texts[2];
    void (*visit)(void *arg, const struct tm_change *change);
    void *arg;
    unsigned count;
};

static bool next_line(const char **rest, struct line *l)
{
    const char *end = strchr(*rest, '\n');
    const char *is = end != NULL ? memchr(*rest, '=', (size_t)(end - *rest)) : NULL;
    if (is == NULL)
        return false;
    *l = (struct line){*rest, is + 1, (size_t)(is - *rest), (size_t)(end - is - 1)};
    *rest = end + 1;
    return true;
}

/* "to:cloud/" of "to:cloud/batchBytes"; the length, 0: it is of no group. */
static size_t group_of(const struct line *l)
{
    const char *colon = memchr(l->name, ':', l->name_len);
    const char *slash = memchr(l->name, '/', l->name_len);
    return colon != NULL && slash != NULL && colon < slash ? (size_t)(slash - l->name) + 1 : 0;
}

static bool is_operators(const struct line *l)
{
    size_t len = strlen(TM_LINK_OPERATOR_PREFIX);
    return l->name_len > len && memcmp(l->name, TM_LINK_OPERATOR_PREFIX, len) == 0;
}

/* Whether the text has a line of that group. */
static bool has_group(const char *text, const char *group, size_t len)
{
    struct line l;
    while (next_line(&text, &l))
        if (group_of(&l) == len && memcmp(l.name, group, len) == 0)
            return true;
    return false;
}

static void copy(char *buf, size_t size, const char *text, size_t len)
{
    if (len >= size)
        snprintf(buf, size, "%.*s...", (int)(size - 4), text);
    else
        snprintf(buf, size, "%.*s", (int)len, text);
}

static void name_subject(const char *cluster, const struct line *whole, char subject[NAME_SIZE])
{
    size_t skip = is_operators(whole) ? strlen(TM_LINK_OPERATOR_PREFIX) : 0;
    const struct line line = {.name = whole->name + skip, .name_len = whole->name_len - skip};
    const struct line *l = &line;
    size_t group = group_of(l);
    int who = 0;
    const char *at = l->name;
    if (group > 0) {
        at = (const char *)memchr(l->name, ':', l->name_len) + 1;
        who = (int)(l->name + group - 1 - at);
    }
    if (group == 0)
        snprintf(subject, NAME_SIZE, "%.*s", (int)l->name_len, l->name);
    else if (l->name[0] == 't' && l->name[1] == 'o')
        snprintf(subject, NAME_SIZE, "link %s -> %.*s", cluster, who, at);
    else if (l->name[0] == 'f')
        snprintf(subject, NAME_SIZE, "link %.*s -> %s", who, at, cluster);
    else
        snprintf(subject, NAME_SIZE, "%.*s %.*s", (int)(at - 1 - l->name), l->name, who, at);
}

static bool is_option(const struct line *l, const char *name)
{
    size_t group = group_of(l), len = strlen(name);
    return l->name_len == group + len && memcmp(l->name + group, name, len) == 0;
}

/* What somebody should know before it is done. */
static const char *note_of(const struct line *from, const struct line *to)
{
    if (to != NULL && from != NULL && is_option(to, "replicationMode"))
        return memcmp(to->value, "sync", 4) == 0
                   ? "the target catches up first; writes wait for it from then on"
                   : "writes do not wait for the target from then on";
    const struct line *l = to != NULL ? to : from;
    if (is_option(l, "residency"))
        return "what has left already stays where it is";
    return "";
}

static void tell(struct walk *w, const struct line *from, const struct line *to, bool whole)
{
    char subject[NAME_SIZE], option[NAME_SIZE] = "", values[2][VALUE_SIZE] = {"", ""};
    const struct line *l = to != NULL ? to : from;
    size_t group = group_of(l);
    name_subject(w->cluster, l, subject);
    if (group > 0 && !whole)
        copy(option, sizeof option, l->name + group, l->name_len - group);
    if (from != NULL && !whole)
        copy(values[0], sizeof values[0], from->value, from->value_len);
    if (to != NULL && !whole)
        copy(values[1], sizeof values[1], to->value, to->value_len);
    const struct tm_change change = {.kind = from == NULL ? TM_CHANGE_ADDED
                                             : to == NULL ? TM_CHANGE_REMOVED
                                                          : TM_CHANGE_CHANGED,
                                     .whole = whole,
                                     .operators = is_operators(l),
                                     .subject = subject,
                                     .option = option,
                                     .from = values[0],
                                     .to = values[1],
                                     .note = whole ? "" : note_of(from, to)};
    w->count++;
    if (w->visit != NULL)
        w->visit(w->arg, &change);
}

/* A line that only one of the texts has; the first of a group that the other has nothing of stands
 * for all of it. */
static void tell_one(struct walk *w, const struct line *l, bool is_new, const struct line *before)
{
    size_t group = group_of(l);
    bool whole =
        group > 0 && !is_operators(l) && !has_group(w->texts[is_new ? 0 : 1], l->name, group);
    if (whole && before->name != NULL && group_of(before) == group &&
        memcmp(before->name, l->name, group) == 0)
        return;
    tell(w, is_new ? NULL : l, is_new ? l : NULL, whole);
}

static int compare(const struct line *a, const struct line *b)
{
    int c = memcmp(a->name, b->name, tm_min_u64(a->name_len, b->name_len));
    return c != 0 ? c : (a->name_len > b->name_len) - (a->name_len < b->name_len);
}

unsigned tm_changes(const char *cluster, const char *from, const char *to,
                    void (*visit)(void *arg, const struct tm_change *change), void *arg)
{
    struct walk w = {.cluster = cluster, .texts = {from, to}, .visit = visit, .arg = arg};
    struct line f, t, before_f = {0}, before_t = {0};
    bool has_f = next_line(&from, &f), has_t = next_line(&to, &t);
    while (has_f || has_t) {
        int order = !has_f ? 1 : !has_t ? -1 : compare(&f, &t);
        if (order < 0)
            tell_one(&w, &f, false, &before_f);
        else if (order > 0)
            tell_one(&w, &t, true, &before_t);
        else if (f.value_len != t.value_len || memcmp(f.value, t.value, f.value_len) != 0)
            tell(&w, &f, &t, false);
        if (order <= 0) {
            before_f = f;
            has_f = next_line(&from, &f);
        }
        if (order >= 0) {
            before_t = t;
            has_t = next_line(&to, &t);
        }
    }
    return w.count;
}

void tm_change_text(const struct tm_change *c, char *buf, size_t size)
{
    static const char signs[] = {'+', '-', '~'};
    int n = snprintf(buf, size, "%c %s", signs[c->kind], c->subject);
    size_t at = tm_min_u64((uint64_t)n, size - 1);
    if (c->option[0] != '\0')
        at += tm_min_u64((uint64_t)snprintf(buf + at, size - at, ": %s", c->option), size - at - 1);
    if (c->kind == TM_CHANGE_CHANGED)
        at += tm_min_u64((uint64_t)snprintf(buf + at, size - at, ": %s -> %s", c->from, c->to),
                         size - at - 1);
    else if (c->from[0] != '\0' || c->to[0] != '\0')
        at += tm_min_u64((uint64_t)snprintf(buf + at, size - at, ": %s%s", c->from, c->to),
                         size - at - 1);
    if (c->note[0] != '\0')
        snprintf(buf + at, size - at, " (%s)", c->note);
}
