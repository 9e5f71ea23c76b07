/* The option table as text: parsing and printing values, messages, help and documentation. */
#include "runtime/nearest.h"
#include "runtime/options_internal.h"
#include "runtime/quantity.h"

#include <ctype.h>

static bool parse_word(const char *words, const char *text, int64_t *value)
{
    size_t len = strlen(text);
    for (*value = 0; *words == '|'; (*value)++) {
        size_t word = strcspn(words + 1, "|");
        if (word == len && strncasecmp(words + 1, text, len) == 0)
            return true;
        words += 1 + word;
    }
    return false;
}

static bool parse_bool(const char *text, int64_t *value)
{
    if (!parse_word("|true|yes|on|1", text, value)) {
        *value = 0;
        return parse_word("|false|no|off|0", text, &(int64_t){0});
    }
    *value = 1;
    return true;
}

bool tm_option_parse(const struct tm_option_row *row, const char *text, int64_t *value)
{
    const char *rest;
    switch (row->type) {
    case TM_OPTION_BOOL:
        return parse_bool(text, value);
    case TM_OPTION_ENUM:
        return parse_word(row->words, text, value);
    case TM_OPTION_INT:
        if (!tm_number_parse(text, value, &rest) || *rest != '\0')
            return false;
        break;
    case TM_OPTION_SIZE:
        if (!tm_size_parse(text, value))
            return false;
        break;
    case TM_OPTION_TIME:
        if (!tm_time_parse(text, row->unit, value))
            return false;
        break;
    case TM_OPTION_TEXT:
        return false;
    }
    return *value >= row->min && *value <= row->max;
}

static void print_word(const char *words, int64_t n, char *buf, size_t cap)
{
    while (n-- > 0)
        words += 1 + strcspn(words + 1, "|");
    snprintf(buf, cap, "%.*s", (int)strcspn(words + 1, "|"), words + 1);
}

void tm_option_pretty(const struct tm_option_row *row, int64_t value, char *buf, size_t cap)
{
    if (row->type == TM_OPTION_BOOL) {
        snprintf(buf, cap, "%s", value != 0 ? "true" : "false");
    } else if (row->type == TM_OPTION_ENUM) {
        print_word(row->words, value, buf, cap);
    } else if (row->type == TM_OPTION_SIZE) {
        tm_size_text(value, buf, cap);
    } else if (row->type == TM_OPTION_TIME) {
        tm_time_text(value, row->unit, buf, cap);
    } else {
        snprintf(buf, cap, "%lld", (long long)value);
    }
}

void tm_option_allowed(const struct tm_option_row *row, char *buf, size_t cap)
{
    char lo[32], hi[32], def[32];
    switch (row->type) {
    case TM_OPTION_BOOL:
        snprintf(buf, cap, "true or false");
        return;
    case TM_OPTION_TEXT:
        snprintf(buf, cap, "at most %lld bytes of text", (long long)row->max);
        return;
    case TM_OPTION_ENUM: {
        size_t len = (size_t)snprintf(buf, cap, "one of ");
        for (const char *w = row->words + 1; *w != '\0' && len + 2 < cap; w++)
            len += (size_t)snprintf(buf + len, cap - len, *w == '|' ? ", " : "%c", *w);
        return;
    }
    default:
        break;
    }
    tm_option_pretty(row, row->min, lo, sizeof lo);
    tm_option_pretty(row, row->max, hi, sizeof hi);
    tm_option_pretty(row, row->def, def, sizeof def);
    bool number = row->type == TM_OPTION_INT;
    snprintf(buf, cap, "a %s from %s to %s, such as %s",
             number                        ? "number"
             : row->type == TM_OPTION_SIZE ? "size"
                                           : "time",
             lo, hi, def);
}

bool tm_option_name_is(const char *name, const char *given, size_t given_len)
{
    const char *end = given + given_len;
    for (;; name++, given++) {
        while (*name == '-')
            name++;
        while (given < end && (*given == '-' || *given == '_'))
            given++;
        if (*name == '\0' || given == end)
            return *name == '\0' && given == end && given_len > 0;
        if (tolower((unsigned char)*name) != tolower((unsigned char)*given))
            return false;
    }
}

const char *tm_option_nearest(const char *name, const struct tm_flag *flags, unsigned flag_count)
{
    const char *nearest = tm_option_rows[0].name;
    unsigned best = UINT32_MAX;
    for (unsigned i = 0; i < TM_OPTION_COUNT + flag_count; i++) {
        const char *candidate =
            i < TM_OPTION_COUNT ? tm_option_rows[i].name : flags[i - TM_OPTION_COUNT].name;
        unsigned d = tm_name_distance(name, candidate);
        if (d < best) {
            best = d;
            nearest = candidate;
        }
    }
    return tm_name_is_near(name, best) ? nearest : NULL;
}

const char *tm_option_name(enum tm_option which)
{
    TM_ASSERT(which < TM_OPTION_COUNT);
    return tm_option_rows[which].name;
}

const char *tm_option_text(enum tm_option which)
{
    TM_ASSERT(which < TM_OPTION_COUNT);
    return tm_option_rows[which].text;
}

bool tm_option_is_live(enum tm_option which)
{
    TM_ASSERT(which < TM_OPTION_COUNT);
    return tm_option_rows[which].live;
}

const char *tm_option_source_name(enum tm_option_source source)
{
    static const char *const names[] = {"default", "topology", "environment", "command line",
                                        "runtime"};
    return (unsigned)source < TM_ARRAY_LEN(names) ? names[source] : "unknown";
}

size_t tm_option_format(const struct tm_options *options, enum tm_option which, char *buf,
                        size_t cap)
{
    TM_ASSERT(which < TM_OPTION_COUNT && cap > 0);
    const struct tm_option_row *row = &tm_option_rows[which];
    const void *field = (const char *)options + row->offset;
    int n;
    if (row->type == TM_OPTION_TEXT) {
        n = snprintf(buf, cap, "%s", (const char *)field);
    } else if (row->type == TM_OPTION_BOOL) {
        n = snprintf(buf, cap, "%s", *(const bool *)field ? "true" : "false");
    } else if (row->type == TM_OPTION_ENUM) {
        print_word(row->words, *(const unsigned *)field, buf, cap);
        n = (int)strlen(buf);
    } else {
        int64_t value;
        memcpy(&value, field, sizeof value);
        n = snprintf(buf, cap, "%lld", (long long)value);
    }
    return (size_t)n < cap ? (size_t)n : cap - 1;
}

static void print_default(FILE *out, const struct tm_option_row *row)
{
    char buf[64];
    tm_option_pretty(row, row->def, buf, sizeof buf);
    if (row->type == TM_OPTION_TEXT)
        fputs(row->string[0] == '\0' ? "empty" : row->string, out);
    else
        fputs(buf, out);
}

/* Prints text in lines of up to 92 columns, each indented by eight. */
static void print_wrapped(FILE *out, const char *text)
{
    enum { WIDTH = 84 };
    while (*text != '\0') {
        size_t len = strlen(text);
        if (len > WIDTH)
            for (len = WIDTH; len > 0 && text[len] != ' '; len--)
                continue;
        fprintf(out, "        %.*s\n", (int)len, text);
        text += len + (text[len] == ' ');
    }
}

void tm_options_help(FILE *out, const struct tm_flag *flags, unsigned flag_count)
{
    for (unsigned i = 0; i < flag_count; i++) {
        bool takes = flags[i].value != NULL;
        fprintf(out, "    --%s%s%s\n", flags[i].name, takes ? " " : "",
                takes ? flags[i].value : "");
        print_wrapped(out, flags[i].text);
    }
    for (unsigned i = 0; i < TM_OPTION_COUNT; i++) {
        const struct tm_option_row *row = &tm_option_rows[i];
        char allowed[256];
        tm_option_allowed(row, allowed, sizeof allowed);
        fprintf(out, "    --%s  (%s; default ", row->name, allowed);
        print_default(out, row);
        fputs(")\n", out);
        print_wrapped(out, row->text);
    }
}

static const char *type_name(const struct tm_option_row *row)
{
    static const char *const names[] = {"yes/no", "number", "size", "time", "word", "text"};
    return row->type == TM_OPTION_INT ? row->unit : names[row->type];
}

static void markdown_range(FILE *out, const struct tm_option_row *row)
{
    char lo[32], hi[32];
    if (row->type == TM_OPTION_ENUM) {
        for (const char *w = row->words + 1; *w != '\0'; w++)
            *w == '|' ? fputs(", ", out) : fputc(*w, out);
    } else if (row->type == TM_OPTION_BOOL) {
        fputs("true, false", out);
    } else if (row->type == TM_OPTION_TEXT) {
        fprintf(out, "up to %lld bytes", (long long)row->max);
    } else {
        tm_option_pretty(row, row->min, lo, sizeof lo);
        tm_option_pretty(row, row->max, hi, sizeof hi);
        fprintf(out, "%s – %s", lo, hi);
    }
}

void tm_options_markdown(FILE *out)
{
    fputs(
        "# Options of a node\n\n"
        "<!-- Made from runtime/options.h by `docgen options`; a test holds this page to it. "
        "-->\n\n"
        "Given as `--name value` or `--name=value` (`--name`, `--no-name` for yes/no) to\n"
        "`tidemill serve` and `tidemill up`, or in the environment as `TIDEMILL_NAME` (capitals,\n"
        "`_` for `-`). The command line wins over the environment, and that over the topology\n"
        "file. *Live* options can be changed on a running node by `CONFIG SET name value`. Sizes\n"
        "are bytes or carry a suffix (`4k`, `64MiB`, `1g`: powers of 1024); times are numbers of\n"
        "the unit in the name or carry one (`200us`, `5ms`, `1s`).\n\n"
        "| option | kind | allowed | default | live | what it does |\n"
        "| --- | --- | --- | --- | --- | --- |\n",
        out);
    for (unsigned i = 0; i < TM_OPTION_COUNT; i++) {
        const struct tm_option_row *row = &tm_option_rows[i];
        fprintf(out, "| `--%s` | %s | ", row->name, type_name(row));
        markdown_range(out, row);
        fputs(" | ", out);
        print_default(out, row);
        fprintf(out, " | %s | %s |\n", row->live ? "yes" : "no", row->text);
    }
}
