/* Values of options, each taken by its row of a table, and what is said where one is wrong.
 *
 * Every complaint names file, line, call and option.  The line Duktape knows is the end of the
 * call; the option's own line is found by searching back from there. */
#include "runtime/nearest.h"
#include "tools/topology_internal.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void *tm_topology_must(void *p)
{
    TM_ASSERT(p != NULL); /* a few kilobytes, before anything runs */
    return p;
}

unsigned tm_topology_option_line(const struct tm_loader *l, const char *key)
{
    unsigned line = 1, found = l->line;
    size_t key_len = strlen(key);
    for (const char *s = l->source; *s != '\0' && line <= l->line; s++) {
        if (*s == '\n')
            line++;
        else if (strncmp(s, key, key_len) == 0)
            found = line;
    }
    return found;
}

enum tm_err tm_topology_complain(struct tm_loader *l, const char *key, const char *fmt, ...)
{
    char what[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    snprintf(l->err, l->err_size, "%s:%u: %s(\"%.*s\"): %s%s%s%s%s", l->t->path,
             key != NULL ? tm_topology_option_line(l, key) : l->line, l->fn, TM_TOPOLOGY_NAME_MAX,
             l->name, l->inside, key != NULL ? "option \"" : "", key != NULL ? key : "",
             key != NULL ? "\": " : "", what);
    return TM_ERR_INVALID;
}

void tm_topology_warn(struct tm_topology *t, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    t->warnings =
        tm_topology_must(realloc(t->warnings, (t->warning_count + 1) * sizeof *t->warnings));
    t->warnings[t->warning_count++] = tm_topology_must(strdup(text));
}

bool tm_topology_lists(const struct tm_name_list *list, const char *name)
{
    for (unsigned i = 0; i < list->count; i++)
        if (strcmp(list->names[i], name) == 0)
            return true;
    return false;
}

void tm_topology_free_list(struct tm_name_list *list)
{
    for (unsigned i = 0; i < list->count; i++)
        free(list->names[i]);
    free(list->names);
    *list = (struct tm_name_list){0};
}

bool tm_topology_name_ok(const char *s, bool wildcard)
{
    size_t len = strlen(s);
    if (len == 0 || len > TM_TOPOLOGY_NAME_MAX || s[0] == '.' || s[0] == '-')
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!word && strchr("._-", c) == NULL && !(wildcard && c == '*' && i == len - 1))
            return false;
    }
    return true;
}

const char *tm_topology_type_name(const json_t *v)
{
    const json_t *marker = json_object_get(v, "$type");
    if (marker != NULL && json_is_string(marker))
        return json_string_value(marker);
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    default:
        return "null";
    }
}

static enum tm_err take_list(struct tm_loader *l, const struct tm_topology_option *o,
                             const json_t *v, struct tm_name_list *out)
{
    if (!json_is_array(v))
        return tm_topology_complain(l, o->name, "must be an array of names, not %s",
                                    tm_topology_type_name(v));
    size_t n = json_array_size(v);
    if (n > TM_LIST_MAX)
        return tm_topology_complain(l, o->name, "has %zu entries, at most %d are allowed", n,
                                    TM_LIST_MAX);
    tm_topology_free_list(out); /* of the cluster, where a link has its own */
    bool types = o->type == TM_VALUE_TYPES;
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(v, i);
        if (!json_is_string(item))
            return tm_topology_complain(l, o->name, "entry %zu must be a name, not %s", i + 1,
                                        tm_topology_type_name(item));
        const char *name = json_string_value(item);
        if (!tm_topology_name_ok(name, types))
            return tm_topology_complain(
                l, o->name,
                "\"%.64s\" is no valid name: 1 to %d of letters, digits, \".\", \"_\" "
                "and \"-\"%s",
                name, TM_TOPOLOGY_NAME_MAX, types ? ", \"*\" at the end" : "");
        if (tm_topology_lists(out, name))
            return tm_topology_complain(l, o->name, "\"%s\" is listed twice", name);
        out->names = tm_topology_must(realloc(out->names, (out->count + 1) * sizeof *out->names));
        out->names[out->count++] = tm_topology_must(strdup(name));
    }
    return TM_OK;
}

static enum tm_err take_integer(struct tm_loader *l, const struct tm_topology_option *o,
                                const json_t *v, unsigned *out)
{
    if (json_is_real(v))
        return tm_topology_complain(l, o->name, "must be a whole number from %ld to %ld, not %g",
                                    o->min, o->max, json_real_value(v));
    if (!json_is_integer(v))
        return tm_topology_complain(l, o->name, "must be a whole number from %ld to %ld, not %s",
                                    o->min, o->max, tm_topology_type_name(v));
    json_int_t n = json_integer_value(v);
    if (n < o->min || n > o->max)
        return tm_topology_complain(
            l, o->name, "%" JSON_INTEGER_FORMAT " is out of range: %ld to %ld", n, o->min, o->max);
    *out = (unsigned)n;
    return TM_OK;
}

static enum tm_err take_choice(struct tm_loader *l, const struct tm_topology_option *o,
                               const json_t *v, void *out)
{
    const char *s = json_string_value(v);
    if (s == NULL || (strcmp(s, o->choices[0]) != 0 && strcmp(s, o->choices[1]) != 0))
        return tm_topology_complain(
            l, o->name, "must be \"%s\" or \"%s\", not %s%.64s%s", o->choices[0], o->choices[1],
            s != NULL ? "\"" : "", s != NULL ? s : tm_topology_type_name(v), s != NULL ? "\"" : "");
    if (o->type == TM_VALUE_WORD)
        *(char **)out = tm_topology_must(strdup(s));
    else
        *(bool *)out = strcmp(s, o->choices[1]) == 0;
    return TM_OK;
}

static enum tm_err take_string(struct tm_loader *l, const struct tm_topology_option *o,
                               const json_t *v, char **out)
{
    if (!json_is_string(v))
        return tm_topology_complain(l, o->name, "must be a string, not %s",
                                    tm_topology_type_name(v));
    const char *s = json_string_value(v);
    struct in_addr ip;
    if (o->type == TM_VALUE_NAME && !tm_topology_name_ok(s, false))
        return tm_topology_complain(l, o->name,
                                    "\"%.64s\" is no valid name: 1 to %d of letters, digits, "
                                    "\".\", \"_\" and \"-\"",
                                    s, TM_TOPOLOGY_NAME_MAX);
    if (o->type == TM_VALUE_ADDRESS && inet_pton(AF_INET, s, &ip) != 1)
        return tm_topology_complain(l, o->name, "\"%.64s\" is no IPv4 address such as \"10.0.0.7\"",
                                    s);
    if (strlen(s) > 255)
        return tm_topology_complain(l, o->name, "is longer than 255 bytes");
    *out = tm_topology_must(strdup(s));
    return TM_OK;
}

/* A value as a link's option is written: text, a number of its unit, or true and false. */
static enum tm_err take_link(struct tm_loader *l, const struct tm_topology_option *o,
                             const json_t *v, struct tm_link_spec *out)
{
    enum tm_link_option_kind kind = tm_link_option_rows[o->link].kind;
    char text[64] = "", allowed[128];
    int64_t value;
    if (json_is_string(v))
        snprintf(text, sizeof text, "%.63s", json_string_value(v));
    else if (json_is_integer(v))
        snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    else if (json_is_real(v))
        snprintf(text, sizeof text, "%g", json_real_value(v));
    else if (json_is_boolean(v))
        snprintf(text, sizeof text, "%s", json_is_true(v) ? "true" : "false");
    bool fits = kind == TM_LINK_OPTION_YES_NO ? json_is_boolean(v)
                : kind == TM_LINK_OPTION_WORD ? json_is_string(v)
                                              : json_is_string(v) || json_is_integer(v);
    tm_link_option_allowed(o->link, allowed, sizeof allowed);
    if (!fits || !tm_link_option_parse(o->link, text, &value)) {
        const char *quote = json_is_string(v) ? "\"" : "";
        return tm_topology_complain(l, o->name, "must be %s, not %s%s%s", allowed, quote,
                                    text[0] != '\0' ? text : tm_topology_type_name(v), quote);
    }
    tm_link_option_set(&out->options, o->link, value);
    out->given |= 1U << o->link;
    return TM_OK;
}

static enum tm_err take_option(struct tm_loader *l, const struct tm_topology_option *o,
                               const json_t *v, void *base)
{
    void *out = (char *)base + o->offset;
    switch (o->type) {
    case TM_VALUE_NAMES:
    case TM_VALUE_TYPES:
        return take_list(l, o, v, out);
    case TM_VALUE_INTEGER:
        return take_integer(l, o, v, out);
    case TM_VALUE_WORD:
    case TM_VALUE_EVENTUAL:
        return take_choice(l, o, v, out);
    case TM_VALUE_LABEL:
    case TM_VALUE_NAME:
    case TM_VALUE_ADDRESS:
        return take_string(l, o, v, out);
    case TM_VALUE_LINK:
        return take_link(l, o, v, out);
    case TM_VALUE_LATER:
        return TM_OK;
    }
    return TM_ERR_INVALID;
}

enum tm_err tm_topology_take(struct tm_loader *l, const json_t *options,
                             const struct tm_topology_option *table, size_t count, void *base)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)options, key, v)
    {
        const char *known[TM_LINK_OPTION_COUNT + 24];
        TM_ASSERT(count <= TM_ARRAY_LEN(known));
        const struct tm_topology_option *o = NULL;
        for (size_t i = 0; i < count; i++) {
            known[i] = table[i].name;
            if (strcmp(table[i].name, key) == 0)
                o = &table[i];
        }
        if (o == NULL) {
            const char *near = tm_nearest_name(key, known, count);
            return tm_topology_complain(l, key, "unknown option%s%s%s",
                                        near != NULL ? "; did you mean \"" : "",
                                        near != NULL ? near : "", near != NULL ? "\"?" : "");
        }
        enum tm_err e = take_option(l, o, v, base);
        if (e != TM_OK)
            return e;
    }
    return TM_OK;
}
