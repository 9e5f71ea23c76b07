/* options_internal.h: the option table as rows, for the files options*.c only. */
#ifndef TM_RUNTIME_OPTIONS_INTERNAL_H
#define TM_RUNTIME_OPTIONS_INTERNAL_H

#include "runtime/options.h"

enum tm_option_type {
    TM_OPTION_BOOL,
    TM_OPTION_INT,
    TM_OPTION_SIZE,
    TM_OPTION_TIME,
    TM_OPTION_ENUM,
    TM_OPTION_TEXT
};

struct tm_option_row {
    const char *name;
    enum tm_option_type type;
    bool live;
    size_t offset;      /* of the field in struct tm_options */
    int64_t def;        /* not TEXT */
    int64_t min;        /* INT, SIZE, TIME */
    int64_t max;        /* those; TEXT: bytes */
    const char *unit;   /* INT, TIME ("ms", "us") */
    const char *words;  /* ENUM: "|spin|yield" */
    const char *string; /* TEXT: the default */
    const char *text;
};

extern const struct tm_option_row tm_option_rows[TM_OPTION_COUNT];

/* What a value of this row may be, as a phrase ("a size from 1MiB to 1GiB, such as 64MiB"). */
void tm_option_allowed(const struct tm_option_row *row, char *buf, size_t cap);

/* A number of the row's type as people write it ("64MiB", "50ms", "spin", "true"). */
void tm_option_pretty(const struct tm_option_row *row, int64_t value, char *buf, size_t cap);

/* Parses text by the row's type and range into *value (not TEXT); false if it is not one. */
bool tm_option_parse(const struct tm_option_row *row, const char *text, int64_t *value);

/* The option or flag name nearest to `name`; NULL if none is near (runtime/nearest.h). */
const char *tm_option_nearest(const char *name, const struct tm_flag *flags, unsigned flag_count);

/* Compares names: '-' and '_' do not count, nor does case ("walBytes" is "wal-bytes"). */
bool tm_option_name_is(const char *name, const char *given, size_t given_len);

#endif
