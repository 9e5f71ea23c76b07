/* load_spec.c: one reader for each option, found by its name in the table. */
#include "bench/load_spec.h"

#include "net/addr.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

struct option {
    const char *name, *value, *preset, *text;
    enum tm_err (*read)(struct tm_load_spec *spec, const char *text, char *why);
};

static enum tm_err bad(char *why, const char *fmt, ...) TM_PRINTF(2, 3);

static enum tm_err bad(char *why, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, TM_LOAD_WHY_MAX, fmt, ap);
    va_end(ap);
    return TM_ERR_INVALID;
}

static enum tm_err read_number(const char *text, uint64_t lo, uint64_t hi, uint64_t *value,
                               char *why)
{
    char *end = NULL;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != 0 || errno != 0 || n < lo || n > hi)
        return bad(why, "\"%s\" is no whole number from %llu to %llu", text, (unsigned long long)lo,
                   (unsigned long long)hi);
    *value = n;
    return TM_OK;
}

static enum tm_err read_decimal(const char *text, double lo, double hi, double *value, char *why)
{
    char *end = NULL;
    double n = strtod(text, &end);
    if (end == text || *end != 0 || !isfinite(n) || n < lo || n > hi)
        return bad(why, "\"%s\" is no number from %g to %g", text, lo, hi);
    *value = n;
    return TM_OK;
}

static enum tm_err read_u32(const char *text, uint32_t hi, uint32_t *value, char *why)
{
    uint64_t n = 0;
    enum tm_err err = read_number(text, 1, hi, &n, why);
    *value = (uint32_t)n;
    return err;
}

static enum tm_err read_time(const char *text, double lo, uint64_t *ns, char *why)
{
    double s = 0;
    enum tm_err err = read_decimal(text, lo, 86400, &s, why);
    *ns = (uint64_t)(s * 1e9);
    return err;
}

/* Calls read for each of the comma-separated numbers of text, at most max. */
static enum tm_err read_list(const char *text, unsigned max, double lo, double hi, double *values,
                             unsigned *count, char *why)
{
    *count = 0;
    for (const char *item = text;; item++) {
        char one[32];
        size_t len = strcspn(item, ",");
        if (*count == max || len >= sizeof one)
            return bad(why, "\"%s\" is no list of at most %u numbers", text, max);
        memcpy(one, item, len);
        one[len] = 0;
        enum tm_err err = read_decimal(one, lo, hi, &values[(*count)++], why);
        item += len;
        if (err != TM_OK || *item == 0)
            return err;
    }
}

static enum tm_err read_op(struct tm_load_spec *s, const char *text, char *why)
{
    s->mix_text = text;
    return tm_load_mix_parse(&s->work.mix, text, why, TM_LOAD_WHY_MAX);
}

static enum tm_err read_size(struct tm_load_spec *s, const char *text, char *why)
{
    return read_number(text, 1, TM_LOAD_VALUE_MAX, &s->work.value_bytes, why);
}

static enum tm_err read_keys(struct tm_load_spec *s, const char *text, char *why)
{
    return read_number(text, 1, TM_LOAD_KEYS_MAX, &s->work.keys, why);
}

static enum tm_err read_zipf(struct tm_load_spec *s, const char *text, char *why)
{
    s->work.order = TM_KEYS_ZIPF;
    return read_decimal(text, 0.01, 10, &s->work.zipf, why);
}

static enum tm_err read_sequential(struct tm_load_spec *s, const char *text, char *why)
{
    (void)text, (void)why;
    s->work.order = TM_KEYS_SEQUENTIAL;
    return TM_OK;
}

static enum tm_err read_prefix(struct tm_load_spec *s, const char *text, char *why)
{
    size_t len = strlen(text);
    if (len == 0 || len > TM_LOAD_PREFIX_MAX || strpbrk(text, " :{}\r\n") != NULL)
        return bad(why, "\"%s\" is no prefix: 1 to %d characters without blanks, colons and braces",
                   text, TM_LOAD_PREFIX_MAX);
    memcpy(s->work.prefix, text, len + 1);
    return TM_OK;
}

static enum tm_err read_seed(struct tm_load_spec *s, const char *text, char *why)
{
    return read_number(text, 0, UINT64_MAX, &s->work.seed, why);
}

static enum tm_err read_connections(struct tm_load_spec *s, const char *text, char *why)
{
    return read_u32(text, TM_LOAD_CONNECTIONS_MAX, &s->connections, why);
}

static enum tm_err read_pipeline(struct tm_load_spec *s, const char *text, char *why)
{
    return read_u32(text, TM_LOAD_PIPELINE_MAX, &s->pipeline, why);
}

static enum tm_err read_rate(struct tm_load_spec *s, const char *text, char *why)
{
    return read_decimal(text, 0.001, 1e9, &s->schedule.rate, why);
}

static enum tm_err read_sweep(struct tm_load_spec *s, const char *text, char *why)
{
    return read_list(text, TM_LOAD_SWEEP_MAX, 0.1, 100, s->sweep, &s->sweep_count, why);
}

static enum tm_err read_seconds(struct tm_load_spec *s, const char *text, char *why)
{
    return read_time(text, 0.001, &s->schedule.length_ns, why);
}

static enum tm_err read_ops(struct tm_load_spec *s, const char *text, char *why)
{
    return read_number(text, 1, TM_LOAD_KEYS_MAX, &s->schedule.ops, why);
}

static enum tm_err read_warmup(struct tm_load_spec *s, const char *text, char *why)
{
    return read_time(text, 0, &s->schedule.warmup_ns, why);
}

static enum tm_err read_then(struct tm_load_spec *s, const char *text, char *why)
{
    size_t len = strlen(text);
    if (len > TM_LOAD_THEN_MAX || text[strspn(text, " ")] == 0)
        return bad(why, "\"%s\" is no command of at most %d characters", text, TM_LOAD_THEN_MAX);
    memcpy(s->then, text, len + 1);
    return TM_OK;
}

static enum tm_err read_then_per(struct tm_load_spec *s, const char *text, char *why)
{
    return read_u32(text, TM_LOAD_PIPELINE_MAX, &s->then_per, why);
}

static enum tm_err read_cluster(struct tm_load_spec *s, const char *text, char *why)
{
    (void)text, (void)why;
    s->cluster = true;
    return TM_OK;
}

static enum tm_err read_cpu_of(struct tm_load_spec *s, const char *text, char *why)
{
    double pids[TM_LOAD_PIDS_MAX];
    enum tm_err err = read_list(text, TM_LOAD_PIDS_MAX, 1, 4194304, pids, &s->pid_count, why);
    for (unsigned i = 0; i < s->pid_count && err == TM_OK; i++)
        s->pids[i] = (pid_t)pids[i];
    return err;
}

static enum tm_err read_hiccups(struct tm_load_spec *s, const char *text, char *why)
{
    return read_time(text, 0.001, &s->hiccup_ns, why);
}

static enum tm_err read_json(struct tm_load_spec *s, const char *text, char *why)
{
    (void)text, (void)why;
    s->json = true;
    return TM_OK;
}

static enum tm_err read_hdr(struct tm_load_spec *s, const char *text, char *why)
{
    if (*text == 0)
        return bad(why, "needs the name of a file");
    s->hdr = text;
    return TM_OK;
}

static const struct option options[] = {
#define X(name, value, preset, text) {#name, value, preset, text, read_##name},
    TM_LOAD_OPTION_LIST(X)
#undef X
};

/* True if the len characters of given name the option ('-' stands for '_'). */
static bool is_named(const struct option *o, const char *given, size_t len)
{
    if (strlen(o->name) != len)
        return false;
    for (size_t i = 0; i < len; i++)
        if (given[i] != o->name[i] && !(given[i] == '-' && o->name[i] == '_'))
            return false;
    return true;
}

static const struct option *find(const char *name, size_t len)
{
    for (size_t i = 0; i < TM_ARRAY_LEN(options); i++)
        if (is_named(&options[i], name, len))
            return &options[i];
    return NULL;
}

static enum tm_err apply(struct tm_load_spec *spec, const struct option *o, const char *given,
                         const char *text, char *why)
{
    char reason[TM_LOAD_WHY_MAX];
    enum tm_err err = o->read(spec, text, reason);
    if (err != TM_OK)
        bad(why, "%s: %.400s", given, reason);
    return err;
}

/* Reads the option argv[0], and argv[1] if it is its value; *took says how many. */
static enum tm_err take(struct tm_load_spec *spec, int argc, char **argv, int *took, char *why)
{
    const char *given = argv[0], *name = given + 2;
    size_t len = strcspn(name, "=");
    const struct option *o = strncmp(given, "--", 2) == 0 ? find(name, len) : NULL;
    *took = 1;
    if (o == NULL)
        return bad(why, "there is no option %.*s; tidemill bench help lists them", 100, given);
    if (o->value == NULL && name[len] == '=')
        return bad(why, "%.*s takes no value", (int)len + 2, given);
    if (o->value == NULL || name[len] == '=')
        return apply(spec, o, given, o->value != NULL ? name + len + 1 : "", why);
    if (argc < 2)
        return bad(why, "%s needs a value: %s", given, o->value);
    *took = 2;
    return apply(spec, o, given, argv[1], why);
}

/* What no single option can say. */
static enum tm_err check(const struct tm_load_spec *s, char *why)
{
    struct tm_addr addr;
    if (s->address == NULL)
        return bad(why, "which server? give its address, like 127.0.0.1:6379");
    if (tm_addr_parse(&addr, s->address) == TM_ERR_INVALID)
        return bad(why, "\"%.150s\" is no address: host:port or unix:/path", s->address);
    if (s->sweep_count > 0 && s->schedule.rate > 0)
        return bad(why, "--sweep chooses the rates itself: leave out --rate");
    if (s->then_per > 1 && (s->schedule.rate > 0 || s->sweep_count > 0))
        return bad(why, "--then-per above 1 is for the closed loop: leave out --rate and --sweep");
    if (s->pipeline % s->then_per != 0)
        return bad(why, "--pipeline %u is no multiple of --then-per %u", s->pipeline, s->then_per);
    if (s->then_per > 1 && s->then[0] == 0)
        return bad(why, "--then-per needs --then");
    if (s->cluster && s->work.order == TM_KEYS_SEQUENTIAL)
        return bad(why, "--sequential does not go with --cluster, where a connection has its keys");
    if (s->cluster && s->work.mix.weight[TM_LOAD_OP_MSET] > 0)
        return bad(why, "mset has keys of several slots: leave out --cluster");
    return TM_OK;
}

enum tm_err tm_load_spec_parse(struct tm_load_spec *spec, int argc, char **argv, char *why)
{
    *spec = (struct tm_load_spec){0};
    for (size_t i = 0; i < TM_ARRAY_LEN(options); i++)
        if (options[i].preset[0] != 0) {
            enum tm_err err = apply(spec, &options[i], options[i].name, options[i].preset, why);
            TM_ASSERT(err == TM_OK);
        }
    for (int i = 0, took = 1; i < argc; i += took) {
        took = 1;
        if (argv[i][0] != '-' && spec->address == NULL) {
            spec->address = argv[i];
            continue;
        }
        if (argv[i][0] != '-')
            return bad(why, "one address at a time: %.100s, or %.100s?", spec->address, argv[i]);
        enum tm_err err = take(spec, argc - i, argv + i, &took, why);
        if (err != TM_OK)
            return err;
    }
    return check(spec, why);
}

void tm_load_spec_help(FILE *out)
{
    for (size_t i = 0; i < TM_ARRAY_LEN(options); i++) {
        const struct option *o = &options[i];
        char left[64] = "--";
        size_t at = 2;
        for (const char *c = o->name; *c != 0; c++)
            left[at++] = *c == '_' ? '-' : *c;
        snprintf(left + at, sizeof left - at, " %s", o->value != NULL ? o->value : "");
        fprintf(out, "  %-26s %s", left, o->text);
        if (o->preset[0] != 0)
            fprintf(out, " (%s)", o->preset);
        fputc('\n', out);
    }
}
