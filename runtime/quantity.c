#include "runtime/quantity.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct suffix {
    const char *text;
    int64_t factor;
};

static const struct suffix sizes[] = {
    {"", 1},
    {"b", 1},
    {"k", 1 << 10},
    {"kb", 1 << 10},
    {"kib", 1 << 10},
    {"m", 1 << 20},
    {"mb", 1 << 20},
    {"mib", 1 << 20},
    {"g", 1 << 30},
    {"gb", 1 << 30},
    {"gib", 1 << 30},
    {"t", INT64_C(1) << 40},
    {"tb", INT64_C(1) << 40},
    {"tib", INT64_C(1) << 40},
};
static const struct suffix times[] = {
    {"us", 1},
    {"ms", 1000},
    {"s", 1000000},
    {"m", 60000000},
    {"min", 60000000},
    {"h", INT64_C(3600000000)},
    {"d", INT64_C(86400000000)},
};

static bool find_suffix(const struct suffix *list, size_t count, const char *text, int64_t *factor)
{
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(list[i].text, text) == 0) {
            *factor = list[i].factor;
            return true;
        }
    }
    return false;
}

bool tm_number_parse(const char *text, int64_t *value, const char **rest)
{
    if (!isdigit((unsigned char)text[text[0] == '-']))
        return false;
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    *rest = end;
    return errno == 0;
}

bool tm_size_parse(const char *text, int64_t *bytes)
{
    int64_t number, factor;
    const char *rest;
    return tm_number_parse(text, &number, &rest) &&
           find_suffix(sizes, TM_ARRAY_LEN(sizes), rest, &factor) &&
           !__builtin_mul_overflow(number, factor, bytes);
}

bool tm_time_parse(const char *text, const char *unit, int64_t *value)
{
    int64_t number, factor, own, us;
    const char *rest;
    if (!tm_number_parse(text, &number, &rest) ||
        !find_suffix(times, TM_ARRAY_LEN(times), unit, &own) ||
        !find_suffix(times, TM_ARRAY_LEN(times), *rest == '\0' ? unit : rest, &factor) ||
        __builtin_mul_overflow(number, factor, &us))
        return false;
    *value = us / own;
    return us % own == 0;
}

void tm_size_text(int64_t bytes, char *buf, size_t cap)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    size_t i = 0;
    while (bytes != 0 && i + 1 < TM_ARRAY_LEN(units) && bytes % 1024 == 0) {
        bytes /= 1024;
        i++;
    }
    snprintf(buf, cap, "%lld%s", (long long)bytes, units[i]);
}

void tm_time_text(int64_t value, const char *unit, char *buf, size_t cap)
{
    static const struct suffix steps[] = {{"us", 1},   {"ms", 1000}, {"s", 1000},
                                          {"min", 60}, {"h", 60},    {"d", 24}};
    size_t i = 0;
    while (i + 1 < TM_ARRAY_LEN(steps) && strcmp(steps[i].text, unit) != 0)
        i++;
    while (value != 0 && i + 1 < TM_ARRAY_LEN(steps) && value % steps[i + 1].factor == 0)
        value /= steps[++i].factor;
    snprintf(buf, cap, "%lld%s", (long long)value, value == 0 ? "" : steps[i].text);
}
