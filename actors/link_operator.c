/* A row's kind says how its value is read.  Of a text of facts a line is found by its name, which
 * ends before the '='. */
#include "actors/link_operator.h"

#include "actors/link_options.h"

#include <stdio.h>

struct row {
    const char *name, *text;
    enum tm_link_operator_kind kind;
    bool out, in;
};

static const struct row rows[] = {
#define X(field, kind, out, in, text) {#field, text, TM_LINK_OPERATOR_##kind, out, in},
    TM_LINK_OPERATOR_LIST(X)
#undef X
};

const char *tm_link_operator_name(enum tm_link_operator_row row)
{
    TM_ASSERT(row < TM_LINK_OPERATOR_COUNT);
    return rows[row].name;
}

const char *tm_link_operator_text(enum tm_link_operator_row row)
{
    TM_ASSERT(row < TM_LINK_OPERATOR_COUNT);
    return rows[row].text;
}

/* ---- values ---- */

bool tm_link_operator_number(struct tm_bytes text, uint64_t *out)
{
    uint64_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || n > UINT16_MAX)
            return false;
        n = 10 * n + (uint64_t)(text.data[i] - '0');
    }
    *out = n;
    return text.len > 0 && n >= 1 && n <= UINT16_MAX;
}

bool tm_link_operator_hex(struct tm_bytes text, uint64_t *out)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        const char *at = memchr(digits, text.data[i], 16);
        if (at == NULL)
            return false;
        n = n << 4 | (uint64_t)(at - digits);
    }
    *out = n;
    return text.len == 16 && n != 0;
}

static bool take_rate(struct tm_bytes text, uint64_t *out)
{
    char copy[32];
    int64_t value;
    if (text.len >= sizeof copy)
        return false;
    snprintf(copy, sizeof copy, "%.*s", (int)text.len, (const char *)text.data);
    if (!tm_link_option_parse(TM_LINK_OPTION_max_bytes_per_second, copy, &value))
        return false;
    *out = (uint64_t)value;
    return true;
}

static bool take_value(enum tm_link_operator_kind kind, struct tm_bytes value, uint64_t *out)
{
    switch (kind) {
    case TM_LINK_OPERATOR_YES:
        *out = 1;
        return tm_bytes_equal(value, tm_bytes_str("yes"));
    case TM_LINK_OPERATOR_RATE:
        return take_rate(value, out);
    case TM_LINK_OPERATOR_NUMBER:
        return tm_link_operator_number(value, out);
    case TM_LINK_OPERATOR_HEX:
        return tm_link_operator_hex(value, out);
    }
    return false;
}

const char *tm_link_operator_take(struct tm_link_operator *o, bool out, struct tm_bytes what,
                                  struct tm_bytes value)
{
    static const char *const bad[] = {"must be yes", "must be a size a second, such as 64KiB",
                                      "must be a number from 1 to 65535",
                                      "must be 16 hexadecimal digits, not all 0"};
    unsigned i = 0;
    while (i < TM_LINK_OPERATOR_COUNT && !tm_bytes_equal(what, tm_bytes_str(rows[i].name)))
        i++;
    if (i == TM_LINK_OPERATOR_COUNT || !(out ? rows[i].out : rows[i].in))
        return "is nothing that an operator may say of a link, as far as this build knows";
    if ((o->set >> i & 1) != 0)
        return "is there twice";
    uint64_t *fields[] = {
#define X(field, kind, out, in, text) &o->field,
        TM_LINK_OPERATOR_LIST(X)
#undef X
    };
    if (!take_value(rows[i].kind, value, fields[i]))
        return bad[rows[i].kind];
    o->set |= 1U << i;
    return NULL;
}

/* ---- texts of facts ---- */

/* How the name of the line compares with that one. */
static int compare_line(const char *line, const char *name)
{
    size_t a = strcspn(line, "=\n"), b = strlen(name);
    int c = memcmp(line, name, tm_min_u64(a, b));
    return c != 0 ? c : (a > b) - (a < b);
}

static size_t line_len(const char *line)
{
    const char *end = strchr(line, '\n');
    return end != NULL ? (size_t)(end - line) + 1 : strlen(line);
}

enum tm_err tm_link_facts_put(char *facts, size_t size, const char *name, const char *value)
{
    char *at = facts;
    while (*at != '\0' && compare_line(at, name) < 0)
        at += line_len(at);
    size_t old = *at != '\0' && compare_line(at, name) == 0 ? line_len(at) : 0;
    size_t fresh = value != NULL ? strlen(name) + strlen(value) + 2 : 0, rest = strlen(at + old);
    if ((size_t)(at - facts) + fresh + rest >= size)
        return TM_ERR_TOOBIG;
    memmove(at + fresh, at + old, rest + 1);
    if (fresh > 0) {
        size_t n = strlen(name), v = strlen(value);
        memcpy(at, name, n);
        at[n] = '=';
        memcpy(at + n + 1, value, v);
        at[n + 1 + v] = '\n';
    }
    return TM_OK;
}

unsigned tm_link_facts_said(const char *facts,
                            void (*visit)(void *arg, struct tm_bytes name, struct tm_bytes value),
                            void *arg)
{
    size_t prefix = strlen(TM_LINK_OPERATOR_PREFIX);
    unsigned n = 0;
    for (const char *at = facts; *at != '\0'; at += line_len(at)) {
        const char *is = memchr(at, '=', line_len(at));
        if (strncmp(at, TM_LINK_OPERATOR_PREFIX, prefix) != 0 || is == NULL)
            continue;
        n++;
        if (visit != NULL)
            visit(arg, tm_bytes_of(at + prefix, (size_t)(is - at) - prefix),
                  tm_bytes_of(is + 1, strcspn(is + 1, "\n")));
    }
    return n;
}

struct keeping {
    char *facts;
    size_t size;
    enum tm_err err;
};

static void keep_line(void *arg, struct tm_bytes name, struct tm_bytes value)
{
    struct keeping *k = arg;
    char line[256], text[64];
    snprintf(line, sizeof line, TM_LINK_OPERATOR_PREFIX "%.*s", (int)name.len,
             (const char *)name.data);
    snprintf(text, sizeof text, "%.*s", (int)value.len, (const char *)value.data);
    if (k->err == TM_OK)
        k->err = tm_link_facts_put(k->facts, k->size, line, text);
}

enum tm_err tm_link_facts_keep(const char *held, char *facts, size_t size)
{
    struct keeping k = {.facts = facts, .size = size};
    tm_link_facts_said(held, keep_line, &k);
    return k.err;
}
