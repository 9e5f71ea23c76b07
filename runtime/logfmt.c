/* tm_log_format: printf that knows what is a value.
 *
 * The format is walked; each conversion is printed by itself with its own argument, and a string
 * becomes a logfmt value: bare if it can be, else quoted with escapes.  A line that does not fit
 * ends in "..." and its newline; a value is cut, never a quote left open. */
#include "runtime/log.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>

static const char *const level_names[] = {"debug", "info", "warn", "error"};

const char *tm_log_level_name(enum tm_log_level level)
{
    return (unsigned)level < TM_ARRAY_LEN(level_names) ? level_names[level] : "unknown";
}

/* The line being written.  `room` keeps back what the end needs: a quote, "..." and a newline. */
struct line {
    char *buf;
    size_t len;
    size_t room;
    bool quoted; /* inside quotes that fmt opened */
    bool cut;
    int errnum; /* errno at the call, for %m */
};

static void put(struct line *line, const char *text, size_t len)
{
    if (line->cut)
        return;
    if (line->len + len > line->room) {
        line->cut = true;
        return;
    }
    memcpy(line->buf + line->len, text, len);
    line->len += len;
}

static void put_str(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

static bool is_plain(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f)
            return false;
    }
    return len > 0;
}

static void put_escaped(struct line *line, const char *s, size_t len)
{
    for (size_t i = 0; i < len && !line->cut; i++) {
        unsigned char c = (unsigned char)s[i];
        char hex[8];
        if (c == '"' || c == '\\') {
            char pair[2] = {'\\', s[i]};
            put(line, pair, 2);
        } else if (c == '\n' || c == '\r' || c == '\t') {
            put_str(line, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
        } else if (c < ' ' || c == 0x7f) {
            snprintf(hex, sizeof hex, "\\u%04x", (unsigned)c);
            put_str(line, hex);
        } else {
            put(line, s + i, 1);
        }
    }
}

static void put_value(struct line *line, const char *s, size_t len)
{
    if (line->quoted) {
        put_escaped(line, s, len);
    } else if (is_plain(s, len)) {
        put(line, s, len);
    } else if (!line->cut && line->len < line->room) {
        /* The closing quote has its place kept, so that a cut value is still a value. */
        line->quoted = true;
        put(line, "\"", 1);
        put_escaped(line, s, len);
        line->buf[line->len++] = '"';
        line->quoted = false;
    } else {
        line->cut = true;
    }
}

/* One conversion: "%-*.*llx" taken apart. */
struct spec {
    char text[32]; /* for printf, '*' replaced by its numbers */
    int precision; /* -1: none */
    char length;   /* 0, 'H' hh, 'h', 'l', 'L' ll, 'j', 'z', 't', 'D' long double */
    char conv;
};

/* An argument list behind a struct, so that it can be handed on by pointer. */
struct args {
    va_list list;
};

static const char *read_number(const char *f, struct args *args, int *n)
{
    *n = 0;
    if (*f == '*') {
        *n = va_arg(args->list, int);
        return f + 1;
    }
    for (; isdigit((unsigned char)*f); f++)
        *n = *n < 10000 ? *n * 10 + (*f - '0') : *n;
    return f;
}

static const char *read_length(const char *f, char *length)
{
    *length = 0;
    if (f[0] == 'h' && f[1] == 'h')
        return *length = 'H', f + 2;
    if (f[0] == 'l' && f[1] == 'l')
        return *length = 'L', f + 2;
    if (*f == 'L')
        return *length = 'D', f + 1;
    if (*f != '\0' && strchr("hljzt", *f) != NULL)
        return *length = *f, f + 1;
    return f;
}

/* Parses what follows '%'; returns what follows the conversion. */
static const char *parse_spec(const char *f, struct args *args, struct spec *spec)
{
    char flags[8] = "";
    size_t flag_count = 0;
    for (; *f != '\0' && strchr("-+ #0", *f) != NULL; f++)
        if (flag_count < sizeof flags - 1)
            flags[flag_count++] = *f;
    int width, precision = -1;
    f = read_number(f, args, &width);
    if (*f == '.')
        f = read_number(f + 1, args, &precision);
    f = read_length(f, &spec->length);
    spec->precision = precision;
    spec->conv = *f;
    const char *len = spec->length == 'H'   ? "hh"
                      : spec->length == 'L' ? "ll"
                      : spec->length == 'D' ? "L"
                                            : (char[2]){spec->length, 0};
    char dot[16] = "", wide[16] = "";
    if (precision >= 0)
        snprintf(dot, sizeof dot, ".%d", precision);
    if (width != 0)
        snprintf(wide, sizeof wide, "%d", width);
    snprintf(spec->text, sizeof spec->text, "%%%s%s%s%s%c", flags, wide, dot, len, spec->conv);
    return *f == '\0' ? f : f + 1;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
/* The argument types of an integer conversion are told by its length alone; signed and unsigned
 * ones of a size are read alike. */
static int print_integer(char *out, size_t cap, const struct spec *spec, struct args *args)
{
    switch (spec->length) {
    case 'l':
    case 'z':
    case 't':
        return snprintf(out, cap, spec->text, va_arg(args->list, long));
    case 'L':
    case 'j':
        return snprintf(out, cap, spec->text, va_arg(args->list, long long));
    default:
        return snprintf(out, cap, spec->text, va_arg(args->list, int));
    }
}
TM_STATIC_ASSERT(sizeof(long) == sizeof(size_t) && sizeof(long) == sizeof(ptrdiff_t) &&
                     sizeof(long long) == sizeof(intmax_t),
                 "print_integer reads %z, %t as long and %j as long long");

static int print_other(char *out, size_t cap, const struct spec *spec, struct args *args)
{
    if (spec->conv == 'p')
        return snprintf(out, cap, "%p", va_arg(args->list, void *));
    if (spec->length == 'D')
        return snprintf(out, cap, spec->text, va_arg(args->list, long double));
    return snprintf(out, cap, spec->text, va_arg(args->list, double));
}
#pragma GCC diagnostic pop

static void put_string(struct line *line, const struct spec *spec, struct args *args)
{
    const char *s = va_arg(args->list, const char *);
    if (s == NULL)
        s = "(null)";
    size_t len = spec->precision >= 0 ? strnlen(s, (size_t)spec->precision) : strlen(s);
    put_value(line, s, len);
}

static void put_conversion(struct line *line, const struct spec *spec, struct args *args)
{
    char out[128];
    int n;
    switch (spec->conv) {
    case 's':
        put_string(line, spec, args);
        return;
    case 'c':
        out[0] = (char)va_arg(args->list, int);
        put_value(line, out, 1);
        return;
    case 'm':
        snprintf(out, sizeof out, "%s", strerrordesc_np(line->errnum));
        put_value(line, out, strlen(out));
        return;
    case 'd':
    case 'i':
    case 'u':
    case 'o':
    case 'x':
    case 'X':
        n = print_integer(out, sizeof out, spec, args);
        break;
    default:
        TM_ASSERT(spec->conv != '\0' && strchr("pfFeEgGaA", spec->conv) != NULL);
        n = print_other(out, sizeof out, spec, args);
        break;
    }
    put(line, out, tm_min_u64((uint64_t)n, sizeof out - 1));
}

static void put_format(struct line *line, const char *f, struct args *args)
{
    while (*f != '\0' && !line->cut) {
        if (f[0] == '%' && f[1] == '%') {
            put(line, "%", 1);
            f += 2;
        } else if (*f == '%') {
            struct spec spec;
            f = parse_spec(f + 1, args, &spec);
            put_conversion(line, &spec, args);
        } else {
            put(line, f, 1);
            line->quoted ^= *f == '"' && !line->cut;
            f++;
        }
    }
}

static void put_time(struct line *line, uint64_t wall_us)
{
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm tm;
    char text[64];
    gmtime_r(&seconds, &tm);
    size_t len = strftime(text, sizeof text, "time=%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + len, sizeof text - len, ".%06uZ", (unsigned)(wall_us % 1000000));
    put_str(line, text);
}

size_t tm_log_format(char *buf, size_t cap, uint64_t wall_us, enum tm_log_level level,
                     const char *node, int worker, const char *event, const char *fmt, va_list args)
{
    static const char ending[] = "\"...\n";
    TM_ASSERT(cap >= 64);
    struct line line = {.buf = buf, .room = cap - sizeof ending, .errnum = errno};
    struct args rest;
    va_copy(rest.list, args);
    put_time(&line, wall_us);
    put_str(&line, " level=");
    put_str(&line, tm_log_level_name(level));
    if (node != NULL && node[0] != '\0') {
        put_str(&line, " node=");
        put_value(&line, node, strlen(node));
    }
    if (worker >= 0) {
        char number[32];
        snprintf(number, sizeof number, " worker=%d", worker);
        put_str(&line, number);
    }
    put_str(&line, " event=");
    put_str(&line, event);
    if (fmt[0] != '\0')
        put_str(&line, " ");
    put_format(&line, fmt, &rest);
    va_end(rest.list);
    if (line.quoted)
        buf[line.len++] = '"';
    if (line.cut) {
        memcpy(buf + line.len, "...", 3);
        line.len += 3;
    }
    buf[line.len++] = '\n';
    return line.len;
}
