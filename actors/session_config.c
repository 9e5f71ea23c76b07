/* session_config.c: CONFIG: all options of the node, and the names redis clients ask for.
 *
 * A redis name either stands for an option of ours, or for something that is always so (a log is
 * always written, nothing is ever evicted): then it cannot be changed, and setting it to what it is
 * succeeds. */
#include "actors/session_internal.h"

#include "actors/glob.h"

#include <stdio.h>

/* Redis names: OPTION(redis, ours) and FIXED(redis, value). */
#define REDIS_NAMES(OPTION, FIXED)                                                                 \
    OPTION("maxclients", "max-clients")                                                            \
    OPTION("maxmemory", "memory-limit")                                                            \
    OPTION("bind", "address")                                                                      \
    OPTION("io-threads", "workers")                                                                \
    OPTION("loglevel", "log-level")                                                                \
    OPTION("logfile", "log-file")                                                                  \
    OPTION("proto-max-bulk-len", "client-query-buffer-bytes")                                      \
    FIXED("save", "")                                                                              \
    FIXED("appendonly", "yes")                                                                     \
    FIXED("maxmemory-policy", "noeviction")                                                        \
    FIXED("cluster-enabled", "yes")                                                                \
    FIXED("databases", "1")                                                                        \
    FIXED("timeout", "0")

static const struct redis_name {
    const char *name;
    const char *option; /* or NULL: */
    const char *value;
} redis_names[] = {
#define OPTION(redis, ours) {redis, ours, NULL},
#define FIXED(redis, text)  {redis, NULL, text},
    REDIS_NAMES(OPTION, FIXED)
#undef OPTION
#undef FIXED
};

static bool find_option(const struct tm_session *s, const char *name, struct tm_router_option *o)
{
    const struct tm_router *router = s->all->router;
    for (unsigned i = 0; router->option(router->host, i, o); i++)
        if (strcmp(o->name, name) == 0)
            return true;
    return false;
}

static bool wanted(const char *name, const struct tm_bytes *patterns, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (tm_glob_match(patterns[i], tm_bytes_str(name), true))
            return true;
    return false;
}

static void add_pair(struct tm_resp_writer *w, uint64_t *pairs, const char *name, const char *value)
{
    tm_resp_bulk_str(w, name);
    tm_resp_bulk_str(w, value);
    ++*pairs;
}

/* appendfsync and port are made from what they mean. */
static void add_derived(struct tm_session *s, struct tm_resp_writer *w, uint64_t *pairs,
                        const struct tm_bytes *patterns, unsigned count)
{
    struct tm_router_option o;
    if (wanted("appendfsync", patterns, count)) {
        bool memory = find_option(s, "durability", &o) && strcmp(o.value, "memory") == 0;
        add_pair(w, pairs, "appendfsync", memory ? "everysec" : "always");
    }
    if (wanted("port", patterns, count)) {
        struct tm_router_stats stats = {0};
        char port[24];
        s->all->router->stats(s->all->router->host, &stats);
        snprintf(port, sizeof port, "%llu", (unsigned long long)stats.port);
        add_pair(w, pairs, "port", port);
    }
}

static void config_get(struct tm_session *s, struct tm_resp_writer *w, const struct tm_bytes *argv,
                       unsigned argc)
{
    const struct tm_router *router = s->all->router;
    const struct tm_bytes *patterns = argv + 2;
    unsigned count = argc - 2;
    struct tm_router_option o;
    size_t at = w->len;
    uint64_t pairs = 0;
    for (unsigned i = 0; router->option(router->host, i, &o); i++)
        if (wanted(o.name, patterns, count))
            add_pair(w, &pairs, o.name, o.value);
    for (size_t i = 0; i < TM_ARRAY_LEN(redis_names); i++) {
        const struct redis_name *r = &redis_names[i];
        if (!wanted(r->name, patterns, count))
            continue;
        if (r->option == NULL)
            add_pair(w, &pairs, r->name, r->value);
        else if (find_option(s, r->option, &o))
            add_pair(w, &pairs, r->name, o.value);
    }
    add_derived(s, w, &pairs, patterns, count);
    tm_resp_insert_map(w, at, pairs);
}

static const struct redis_name *find_redis_name(struct tm_bytes name)
{
    for (size_t i = 0; i < TM_ARRAY_LEN(redis_names); i++)
        if (tm_word_is(name, redis_names[i].name))
            return &redis_names[i];
    return NULL;
}

static void write_set_error(struct tm_resp_writer *w, struct tm_bytes name, enum tm_err err,
                            const char *why)
{
    int len = (int)tm_min_u64(name.len, 128);
    if (err == TM_ERR_NOTFOUND)
        tm_resp_errorf(w, "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'", len,
                       (const char *)name.data);
    else if (err == TM_ERR_PERMISSION)
        tm_resp_errorf(w,
                       "ERR CONFIG SET failed (possibly related to argument '%.*s') - can't set "
                       "immutable config",
                       len, (const char *)name.data);
    else
        tm_resp_errorf(w, "ERR CONFIG SET failed (possibly related to argument '%.*s') - %s", len,
                       (const char *)name.data, why[0] != 0 ? why : tm_err_text(err));
}

static void config_set(struct tm_session *s, struct tm_resp_writer *w, const struct tm_bytes *argv,
                       unsigned argc)
{
    const struct tm_router *router = s->all->router;
    struct tm_bytes *pairs = s->all->words; /* room for twice the words of any command */
    struct tm_bytes *given = pairs + argc;  /* the names as they were given */
    unsigned count = 0, bad = 0;
    char why[512] = "";
    if (argc % 2 != 0) {
        tm_resp_error(w, "ERR syntax error");
        return;
    }
    for (unsigned i = 2; i < argc; i += 2) {
        const struct redis_name *r = find_redis_name(argv[i]);
        bool fixed = r != NULL && r->option == NULL;
        if (fixed && !tm_bytes_equal(argv[i + 1], tm_bytes_str(r->value))) {
            write_set_error(w, argv[i], TM_ERR_PERMISSION, why);
            return;
        }
        if (fixed)
            continue; /* it is so */
        given[count] = argv[i];
        pairs[2 * count] = r != NULL ? tm_bytes_str(r->option) : argv[i];
        pairs[2 * count++ + 1] = argv[i + 1];
    }
    enum tm_err err = router->option_set(router->host, pairs, count, &bad, why, sizeof why);
    if (err == TM_OK)
        tm_resp_simple(w, "OK");
    else
        write_set_error(w, given[bad], err, why);
}

static void config_resetstat(struct tm_session *s, struct tm_resp_writer *w,
                             const struct tm_bytes *argv, unsigned argc)
{
    (void)argv, (void)argc;
    s->all->router->stats_reset(s->all->router->host);
    tm_resp_simple(w, "OK");
}

static void config_rewrite(struct tm_session *s, struct tm_resp_writer *w,
                           const struct tm_bytes *argv, unsigned argc)
{
    (void)s, (void)argv, (void)argc;
    tm_resp_error(w, "ERR The server is running without a config file");
}

void tm_session_local_config(struct tm_session *s, struct tm_resp_writer *w,
                             const struct tm_bytes *argv, unsigned argc)
{
    static const struct tm_subcommand subs[] = {
        {"GET", -3, config_get, "<pattern> [<pattern> ...]",
         "Options whose names match a glob-like pattern, and their values."},
        {"SET", -4, config_set, "<option> <value> [<option> <value> ...]",
         "Changes live options: all that are given, or none."},
        {"RESETSTAT", 2, config_resetstat, "", "Sets the statistics of INFO to zero."},
        {"REWRITE", 2, config_rewrite, "", "Refused: there is no configuration file."}};
    tm_subcommand_dispatch(s, w, subs, TM_ARRAY_LEN(subs), argv, argc);
}
