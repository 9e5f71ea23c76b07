/* The table, and what sets its values.  Text arrives from four sources through one function, set(),
 * which parses by the row's type, checks the range and stores into the field; so every source gets
 * the same errors.  A refused value changes nothing. */
#include "runtime/options_internal.h"

#include "runtime/ctx.h"

#include <stdarg.h>

#define WHEN_LIVE     true
#define WHEN_BOOT     false
#define WORD(c, word) "|" word
#define ROW(field, n, t, when, txt)                                                                \
    .name = (n), .type = (t), .live = WHEN_##when, .offset = offsetof(struct tm_options, field),   \
    .text = (txt)
#define BOOL(field, n, d, when, txt) {ROW(field, n, TM_OPTION_BOOL, when, txt), .def = (d)},
#define INT(field, n, d, lo, hi, u, when, txt)                                                     \
    {ROW(field, n, TM_OPTION_INT, when, txt), .def = (d), .min = (lo), .max = (hi), .unit = (u)},
#define SIZE(field, n, d, lo, hi, when, txt)                                                       \
    {ROW(field, n, TM_OPTION_SIZE, when, txt), .def = (d), .min = (lo), .max = (hi)},
#define TIME(field, n, d, lo, hi, u, when, txt)                                                    \
    {ROW(field, n, TM_OPTION_TIME, when, txt), .def = (d), .min = (lo), .max = (hi),               \
     .unit = UNIT_##u},
#define UNIT_MS "ms"
#define UNIT_US "us"
#define ENUM(field, n, type, LIST, d, when, txt)                                                   \
    {ROW(field, n, TM_OPTION_ENUM, when, txt), .def = (d), .words = LIST(WORD)},
#define TEXT(field, n, d, hi, when, txt)                                                           \
    {ROW(field, n, TM_OPTION_TEXT, when, txt), .string = (d), .max = (hi)},

const struct tm_option_row tm_option_rows[TM_OPTION_COUNT] = {
    TM_OPTION_LIST(BOOL, INT, SIZE, TIME, ENUM, TEXT)};

TM_STATIC_ASSERT(sizeof(enum tm_idle) == sizeof(unsigned), "ENUM fields are stored as unsigned");
TM_STATIC_ASSERT((int)TM_LOG_WORD_DEBUG == (int)TM_LOG_DEBUG &&
                     (int)TM_LOG_WORD_INFO == (int)TM_LOG_INFO &&
                     (int)TM_LOG_WORD_WARN == (int)TM_LOG_WARN &&
                     (int)TM_LOG_WORD_ERROR == (int)TM_LOG_ERROR,
                 "--log-level is cast to enum tm_log_level");

static enum tm_err fail(enum tm_err err, char *why, const char *fmt, ...) TM_PRINTF(3, 4);

static enum tm_err fail(enum tm_err err, char *why, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, TM_OPTION_WHY_MAX, fmt, args);
    va_end(args);
    return err;
}

/* How the user wrote the option: --wal-bytes, TIDEMILL_WAL_BYTES, wal-bytes. */
static void spell(enum tm_option_source source, const char *name, char *buf, size_t cap)
{
    bool env = source == TM_OPTION_ENVIRONMENT;
    snprintf(buf, cap, "%s%.60s",
             env                                ? "TIDEMILL_"
             : source == TM_OPTION_COMMAND_LINE ? "--"
                                                : "",
             name);
    for (char *c = buf; env && *c != '\0'; c++)
        *c = *c == '-' ? '_' : *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
}

static enum tm_err unknown(const char *name, enum tm_option_source source,
                           const struct tm_flag *flags, unsigned flag_count, char *why)
{
    char given[96], near[96];
    const char *nearest = tm_option_nearest(name, flags, flag_count);
    spell(source, name, given, sizeof given);
    if (nearest == NULL)
        return fail(TM_ERR_NOTFOUND, why, "%s (%s): no such option; see tidemill help serve", given,
                    tm_option_source_name(source));
    spell(source, nearest, near, sizeof near);
    return fail(TM_ERR_NOTFOUND, why, "%s (%s): no such option; the nearest is %s", given,
                tm_option_source_name(source), near);
}

static enum tm_err refuse(enum tm_err err, const struct tm_option_row *row, const char *text,
                          enum tm_option_source source, char *why)
{
    char given[96], allowed[256];
    spell(source, row->name, given, sizeof given);
    tm_option_allowed(row, allowed, sizeof allowed);
    return fail(err, why, "%s (%s): \"%.60s\"%s is not allowed; it takes %s", given,
                tm_option_source_name(source), text, strlen(text) > 60 ? "…" : "", allowed);
}

static void *field_of(struct tm_options *options, const struct tm_option_row *row)
{
    return (char *)options + row->offset;
}

static void store(struct tm_options *options, const struct tm_option_row *row, int64_t value)
{
    void *field = field_of(options, row);
    if (row->type == TM_OPTION_BOOL)
        *(bool *)field = value != 0;
    else if (row->type == TM_OPTION_ENUM)
        *(unsigned *)field = (unsigned)value;
    else
        memcpy(field, &value, sizeof value);
}

static enum tm_err set(struct tm_options *options, enum tm_option which, const char *text,
                       enum tm_option_source source, char *why)
{
    const struct tm_option_row *row = &tm_option_rows[which];
    int64_t value = 0;
    if (row->type == TM_OPTION_TEXT) {
        if (strlen(text) > (size_t)row->max)
            return refuse(TM_ERR_TOOBIG, row, text, source, why);
    } else if (!tm_option_parse(row, text, &value)) {
        return refuse(TM_ERR_INVALID, row, text, source, why);
    }
    if (options->source[which] > source)
        return TM_OK;
    options->source[which] = (uint8_t)source;
    if (row->type == TM_OPTION_TEXT)
        memcpy(field_of(options, row), text, strlen(text) + 1);
    else
        store(options, row, value);
    return TM_OK;
}

void tm_options_init(struct tm_options *options)
{
    memset(options, 0, sizeof *options);
    for (size_t i = 0; i < TM_OPTION_COUNT; i++) {
        const struct tm_option_row *row = &tm_option_rows[i];
        if (row->type == TM_OPTION_TEXT)
            memcpy(field_of(options, row), row->string, strlen(row->string) + 1);
        else
            store(options, row, row->def);
    }
}

enum tm_err tm_options_set(struct tm_options *options, const char *name, const char *text,
                           enum tm_option_source source, char *why)
{
    enum tm_option which = tm_option_find(name);
    if (which == TM_OPTION_COUNT)
        return unknown(name, source, NULL, 0, why);
    return set(options, which, text, source, why);
}

static const char *text_of(struct tm_bytes bytes, char *buf, size_t size)
{
    snprintf(buf, size, "%.*s", (int)tm_min_u64(bytes.len, size - 1), (const char *)bytes.data);
    return buf;
}

/* Whether the option of that name may change, and has not been seen yet. */
static enum tm_err may_change(struct tm_bytes name, bool seen[TM_OPTION_COUNT], char *why)
{
    char text[64];
    enum tm_option which = tm_option_find(text_of(name, text, sizeof text));
    if (which == TM_OPTION_COUNT)
        return unknown(text, TM_OPTION_RUNTIME, NULL, 0, why);
    if (!tm_option_rows[which].live)
        return fail(TM_ERR_UNSUPPORTED, why,
                    "%s cannot change while the node runs: start the node with --%s",
                    tm_option_rows[which].name, tm_option_rows[which].name);
    if (seen[which])
        return fail(TM_ERR_INVALID, why, "duplicate parameter");
    seen[which] = true;
    return TM_OK;
}

enum tm_err tm_options_change(struct tm_options *options, const struct tm_bytes *pairs,
                              unsigned count, unsigned *bad, char *why)
{
    struct tm_options changed = *options;
    bool seen[TM_OPTION_COUNT] = {false};
    enum tm_err err = TM_OK;
    for (unsigned i = 0; i < count && err == TM_OK; i++)
        err = may_change(pairs[2 * (*bad = i)], seen, why);
    for (unsigned i = 0; i < count && err == TM_OK; i++) {
        char name[64], text[1100];
        *bad = i;
        err = set(&changed, tm_option_find(text_of(pairs[2 * i], name, sizeof name)),
                  text_of(pairs[2 * i + 1], text, sizeof text), TM_OPTION_RUNTIME, why);
    }
    if (err == TM_OK)
        err = tm_options_check(&changed, why);
    if (err == TM_OK)
        *options = changed;
    return err;
}

enum tm_err tm_options_from_env(struct tm_options *options, char *const *env, char *why)
{
    static const char prefix[] = "TIDEMILL_";
    for (; *env != NULL; env++) {
        const char *equals = strchr(*env, '=');
        if (equals == NULL || strncmp(*env, prefix, sizeof prefix - 1) != 0)
            continue;
        char name[64];
        const char *start = *env + sizeof prefix - 1;
        snprintf(name, sizeof name, "%.*s", (int)(equals - start), start);
        enum tm_err err = tm_options_set(options, name, equals + 1, TM_OPTION_ENVIRONMENT, why);
        if (err != TM_OK)
            return err;
    }
    return TM_OK;
}

/* One argument "--name[=value]", with the arguments that follow it. */
struct arg {
    const char *name;
    size_t name_len;
    const char *value; /* after '=', or NULL */
    const char *next;  /* the argument that follows, or NULL */
    bool took_next;
};

static const char *value_of(struct arg *arg)
{
    if (arg->value != NULL)
        return arg->value;
    arg->took_next = arg->next != NULL;
    return arg->next;
}

static const struct tm_flag *find_flag(const struct tm_flag *flags, unsigned count,
                                       const struct arg *arg)
{
    for (unsigned i = 0; i < count; i++)
        if (tm_option_name_is(flags[i].name, arg->name, arg->name_len))
            return &flags[i];
    return NULL;
}

static enum tm_err take_flag(const struct tm_flag *flag, struct arg *arg, char *why)
{
    if (flag->value == NULL) {
        if (arg->value != NULL)
            return fail(TM_ERR_INVALID, why, "--%s (command line): takes no value", flag->name);
        *flag->given = "";
        return TM_OK;
    }
    const char *value = value_of(arg);
    if (value == NULL)
        return fail(TM_ERR_INVALID, why, "--%s (command line): needs a value, %s", flag->name,
                    flag->value);
    *flag->given = value;
    return TM_OK;
}

static enum tm_option find_named(const char *name, size_t len)
{
    for (unsigned i = 0; i < TM_OPTION_COUNT; i++)
        if (tm_option_name_is(tm_option_rows[i].name, name, len))
            return (enum tm_option)i;
    return TM_OPTION_COUNT;
}

enum tm_option tm_option_find(const char *name)
{
    return find_named(name, strlen(name));
}

/* --no-name of a BOOL row, or TM_OPTION_COUNT. */
static enum tm_option find_negated(const struct arg *arg)
{
    if (arg->name_len < 4 || strncmp(arg->name, "no-", 3) != 0 || arg->value != NULL)
        return TM_OPTION_COUNT;
    enum tm_option which = find_named(arg->name + 3, arg->name_len - 3);
    bool is_bool = which != TM_OPTION_COUNT && tm_option_rows[which].type == TM_OPTION_BOOL;
    return is_bool ? which : TM_OPTION_COUNT;
}

static enum tm_err take_option(struct tm_options *options, const struct tm_flag *flags,
                               unsigned flag_count, struct arg *arg, char *why)
{
    enum tm_option which = find_negated(arg);
    if (which != TM_OPTION_COUNT)
        return set(options, which, "false", TM_OPTION_COMMAND_LINE, why);
    which = find_named(arg->name, arg->name_len);
    if (which == TM_OPTION_COUNT) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)tm_min_u64(arg->name_len, 63), arg->name);
        return unknown(name, TM_OPTION_COMMAND_LINE, flags, flag_count, why);
    }
    if (tm_option_rows[which].type == TM_OPTION_BOOL)
        return set(options, which, arg->value == NULL ? "true" : arg->value, TM_OPTION_COMMAND_LINE,
                   why);
    const char *value = value_of(arg);
    if (value != NULL)
        return set(options, which, value, TM_OPTION_COMMAND_LINE, why);
    char allowed[256];
    tm_option_allowed(&tm_option_rows[which], allowed, sizeof allowed);
    return fail(TM_ERR_INVALID, why, "--%s (command line): needs a value, %s",
                tm_option_rows[which].name, allowed);
}

enum tm_err tm_options_from_args(struct tm_options *options, const struct tm_flag *flags,
                                 unsigned flag_count, int *argc, char **argv, char *why)
{
    int kept = 0, i = 0;
    for (; i < *argc && strcmp(argv[i], "--") != 0; i++) {
        if (argv[i][0] != '-' || argv[i][1] == '\0') {
            argv[kept++] = argv[i];
            continue;
        }
        struct arg arg = {.name = argv[i] + (argv[i][1] == '-' ? 2 : 1),
                          .next = i + 1 < *argc ? argv[i + 1] : NULL};
        const char *equals = strchr(arg.name, '=');
        arg.name_len = equals == NULL ? strlen(arg.name) : (size_t)(equals - arg.name);
        arg.value = equals == NULL ? NULL : equals + 1;
        if (argv[i][1] != '-')
            return unknown(arg.name, TM_OPTION_COMMAND_LINE, flags, flag_count, why);
        const struct tm_flag *flag = find_flag(flags, flag_count, &arg);
        enum tm_err err = flag != NULL ? take_flag(flag, &arg, why)
                                       : take_option(options, flags, flag_count, &arg, why);
        if (err != TM_OK)
            return err;
        i += arg.took_next;
    }
    for (i++; i < *argc; i++)
        argv[kept++] = argv[i];
    *argc = kept;
    return TM_OK;
}

enum tm_err tm_options_check(const struct tm_options *o, char *why)
{
    if (o->wal_segment_bytes % 4096 != 0)
        return fail(TM_ERR_INVALID, why, "--wal-segment-bytes must be a multiple of 4KiB");
    if (o->wal_bytes < 4 * o->wal_segment_bytes)
        return fail(TM_ERR_INVALID, why,
                    "--wal-bytes must be at least four times --wal-segment-bytes");
    if (o->max_entity_bytes > o->wal_segment_bytes / 2)
        return fail(TM_ERR_INVALID, why,
                    "--max-entity-bytes must be at most half of --wal-segment-bytes: what is "
                    "written of an entity at once lies in one segment");
    if (o->client_query_buffer_bytes < o->max_entity_bytes + TM_KIB(64))
        return fail(TM_ERR_INVALID, why,
                    "--client-query-buffer-bytes must be at least --max-entity-bytes + 64KiB");
    if (o->election_timeout_ms < 3 * o->heartbeat_ms)
        return fail(TM_ERR_INVALID, why,
                    "--election-timeout-ms must be at least three times --heartbeat-ms");
    if (o->async_batch_bytes > o->async_window_bytes)
        return fail(TM_ERR_INVALID, why,
                    "--async-batch-bytes must not be more than --async-window-bytes");
    return TM_OK;
}
