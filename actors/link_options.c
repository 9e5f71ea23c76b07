#include "actors/link_options.h"
#include "runtime/quantity.h"

#include <stdio.h>

#define WORD_ROW(field, name, words, flags, text)                                                  \
    {name, TM_LINK_OPTION_WORD, words, 0, 0, 0, NULL, flags, text},
#define YES_NO_ROW(field, name, def, flags, text)                                                  \
    {name, TM_LINK_OPTION_YES_NO, NULL, def, 0, 1, NULL, flags, text},
#define SIZE_ROW(field, name, def, min, max, flags, text)                                          \
    {name, TM_LINK_OPTION_SIZE, NULL, (int64_t)(def), (int64_t)(min), (int64_t)(max), NULL, flags, \
     text},
#define TIME_ROW(field, name, def, min, max, unit, flags, text)                                    \
    {name, TM_LINK_OPTION_TIME, NULL, def, min, max, unit, flags, text},

const struct tm_link_option_row tm_link_option_rows[TM_LINK_OPTION_COUNT] = {
    TM_LINK_OPTIONS(WORD_ROW, YES_NO_ROW, SIZE_ROW, TIME_ROW)};

TM_STATIC_ASSERT(sizeof(struct tm_link_options) == TM_LINK_OPTION_COUNT * sizeof(int64_t),
                 "options are reached by row");

void tm_link_options_init(struct tm_link_options *o)
{
    for (unsigned i = 0; i < TM_LINK_OPTION_COUNT; i++)
        tm_link_option_set(o, i, tm_link_option_rows[i].def);
}

enum tm_link_option tm_link_option_find(struct tm_bytes name)
{
    unsigned i = 0;
    while (i < TM_LINK_OPTION_COUNT &&
           !tm_bytes_equal(name, tm_bytes_str(tm_link_option_rows[i].name)))
        i++;
    return i;
}

static bool parse_word(const char *words, const char *text, int64_t *value)
{
    size_t len = strlen(text);
    for (*value = 0; *words == '|'; (*value)++) {
        size_t word = strcspn(words + 1, "|");
        if (word == len && memcmp(words + 1, text, len) == 0)
            return true;
        words += 1 + word;
    }
    return false;
}

bool tm_link_option_parse(enum tm_link_option which, const char *text, int64_t *value)
{
    const struct tm_link_option_row *row = &tm_link_option_rows[which];
    switch (row->kind) {
    case TM_LINK_OPTION_WORD:
        return parse_word(row->words, text, value);
    case TM_LINK_OPTION_YES_NO:
        return parse_word("|false|true", text, value);
    case TM_LINK_OPTION_SIZE:
        if (!tm_size_parse(text, value))
            return false;
        break;
    case TM_LINK_OPTION_TIME:
        if (!tm_time_parse(text, row->unit, value))
            return false;
        break;
    }
    return *value >= row->min && *value <= row->max;
}

static void word_text(const char *words, int64_t value, char *buf, size_t cap)
{
    while (value-- > 0)
        words += 1 + strcspn(words + 1, "|");
    snprintf(buf, cap, "%.*s", (int)strcspn(words + 1, "|"), words + 1);
}

void tm_link_option_text(enum tm_link_option which, int64_t value, char *buf, size_t cap)
{
    const struct tm_link_option_row *row = &tm_link_option_rows[which];
    if (row->kind == TM_LINK_OPTION_WORD)
        word_text(row->words, value, buf, cap);
    else if (row->kind == TM_LINK_OPTION_YES_NO)
        snprintf(buf, cap, "%s", value != 0 ? "true" : "false");
    else if (row->kind == TM_LINK_OPTION_SIZE)
        tm_size_text(value, buf, cap);
    else
        tm_time_text(value, row->unit, buf, cap);
}

/* "a", "b" or "c". */
static void list_words(const char *words, char *buf, size_t cap)
{
    size_t at = 0;
    for (const char *w = words; *w == '|' && at < cap;) {
        size_t len = strcspn(w + 1, "|");
        bool first = w == words, last = w[1 + len] == '\0';
        at += (size_t)snprintf(buf + at, cap - at, "%s\"%.*s\"",
                               first  ? ""
                               : last ? " or "
                                      : ", ",
                               (int)len, w + 1);
        w += 1 + len;
    }
}

void tm_link_option_allowed(enum tm_link_option which, char *buf, size_t cap)
{
    const struct tm_link_option_row *row = &tm_link_option_rows[which];
    char lo[32], hi[32], def[32];
    if (row->kind == TM_LINK_OPTION_WORD) {
        list_words(row->words, buf, cap);
        return;
    }
    if (row->kind == TM_LINK_OPTION_YES_NO) {
        snprintf(buf, cap, "true or false");
        return;
    }
    tm_link_option_text(which, row->min, lo, sizeof lo);
    tm_link_option_text(which, row->max, hi, sizeof hi);
    tm_link_option_text(which, row->def, def, sizeof def);
    snprintf(buf, cap, "a %s from %s to %s, such as %s",
             row->kind == TM_LINK_OPTION_SIZE ? "size" : "time", lo, hi, def);
}
