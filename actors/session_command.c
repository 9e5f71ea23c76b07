/* session_command.c: COMMAND: what the table says, in redis's form.
 *
 * Cluster clients take the positions of keys from here, redis-cli its hints. */
#include "actors/session_internal.h"

#include "actors/glob.h"

#include <ctype.h>

static void write_name(struct tm_resp_writer *w, const struct tm_command *c)
{
    char name[24];
    size_t n = 0;
    for (; c->name[n] != 0 && n < sizeof name; n++)
        name[n] = (char)tolower((unsigned char)c->name[n]);
    tm_resp_bulk(w, tm_bytes_of(name, n));
}

/* Writes the words whose flag is set as a set of simple strings. */
struct flag_word {
    uint32_t flag;
    const char *word;
};

static void write_flags(struct tm_resp_writer *w, uint32_t flags, const struct flag_word *words,
                        size_t count)
{
    size_t at = w->len;
    uint64_t written = 0;
    for (size_t i = 0; i < count; i++)
        if ((flags & words[i].flag) != 0) {
            tm_resp_simple(w, words[i].word);
            written++;
        }
    tm_resp_insert_set(w, at, written);
}

static void write_redis_flags(struct tm_resp_writer *w, const struct tm_command *c)
{
    static const struct flag_word words[] = {
        {TM_CMD_READONLY, "readonly"}, {TM_CMD_WRITE, "write"},        {TM_CMD_DENYOOM, "denyoom"},
        {TM_CMD_ADMIN, "admin"},       {TM_CMD_FAST, "fast"},          {TM_CMD_NOAUTH, "no_auth"},
        {TM_CMD_NOMULTI, "no_multi"},  {TM_CMD_NUMKEYS, "movablekeys"}};
    write_flags(w, c->flags, words, TM_ARRAY_LEN(words));
}

/* Redis's categories; those of a group stand for bits that no flag has. */
enum {
    KEYSPACE = 1 << 24,
    SET = 1 << 25,
    HASH = 1 << 26,
    STRING = 1 << 27,
    SLOW = 1 << 28,
    CONNECTION = 1 << 29,
    TRANSACTION = 1 << 30
};

/* In redis's order. */
static const struct flag_word categories[] = {{KEYSPACE, "@keyspace"},
                                              {TM_CMD_READONLY, "@read"},
                                              {TM_CMD_WRITE, "@write"},
                                              {SET, "@set"},
                                              {HASH, "@hash"},
                                              {STRING, "@string"},
                                              {TM_CMD_ADMIN, "@admin"},
                                              {TM_CMD_FAST, "@fast"},
                                              {SLOW, "@slow"},
                                              {TM_CMD_ADMIN, "@dangerous"},
                                              {CONNECTION, "@connection"},
                                              {TRANSACTION, "@transaction"}};

static uint32_t categories_of(const struct tm_command *c)
{
    static const struct flag_word groups[] = {{KEYSPACE, "generic"},
                                              {SET, "set"},
                                              {HASH, "hash"},
                                              {STRING, "string"},
                                              {CONNECTION, "connection"},
                                              {TRANSACTION, "transactions"}};
    uint32_t bits = c->flags | ((c->flags & TM_CMD_FAST) == 0 ? (uint32_t)SLOW : 0);
    for (size_t i = 0; i < TM_ARRAY_LEN(groups); i++)
        bits |= strcmp(c->group, groups[i].word) == 0 ? groups[i].flag : 0;
    return bits;
}

static bool in_category(const struct tm_command *c, struct tm_bytes name)
{
    for (size_t i = 0; i < TM_ARRAY_LEN(categories); i++)
        if ((categories_of(c) & categories[i].flag) != 0 &&
            tm_word_is(name, categories[i].word + 1))
            return true;
    return false;
}

static void write_spec_part(struct tm_resp_writer *w, const char *name, const char *type,
                            uint64_t fields)
{
    tm_resp_bulk_str(w, name);
    tm_resp_map(w, 2);
    tm_resp_bulk_str(w, "type");
    tm_resp_bulk_str(w, type);
    tm_resp_bulk_str(w, "spec");
    tm_resp_map(w, fields);
}

static void write_field(struct tm_resp_writer *w, const char *name, int64_t value)
{
    tm_resp_bulk_str(w, name);
    tm_resp_integer(w, value);
}

static void write_key_flags(struct tm_resp_writer *w, const struct tm_command *c)
{
    tm_resp_set(w, 2);
    tm_resp_simple(w, (c->flags & TM_CMD_WRITE) != 0 ? "RW" : "RO");
    tm_resp_simple(w, (c->flags & TM_CMD_WRITE) != 0 ? "update" : "access");
}

static void write_key_spec(struct tm_resp_writer *w, const struct tm_command *c)
{
    bool counted = (c->flags & TM_CMD_NUMKEYS) != 0;
    tm_resp_map(w, 3);
    tm_resp_bulk_str(w, "flags");
    write_key_flags(w, c);
    write_spec_part(w, "begin_search", "index", 1);
    write_field(w, "index", counted ? c->first_key - 1 : c->first_key);
    write_spec_part(w, "find_keys", counted ? "keynum" : "range", 3);
    write_field(w, counted ? "keynumidx" : "lastkey",
                counted           ? 0
                : c->last_key < 0 ? c->last_key
                                  : c->last_key - c->first_key);
    write_field(w, counted ? "firstkey" : "keystep", counted ? 1 : c->key_step);
    write_field(w, counted ? "keystep" : "limit", counted ? c->key_step : 0);
}

static void write_info(struct tm_resp_writer *w, const struct tm_command *c)
{
    bool counted = (c->flags & TM_CMD_NUMKEYS) != 0;
    tm_resp_array(w, 10);
    write_name(w, c);
    tm_resp_integer(w, c->arity);
    write_redis_flags(w, c);
    tm_resp_integer(w, counted ? 0 : c->first_key);
    tm_resp_integer(w, counted ? 0 : c->last_key);
    tm_resp_integer(w, counted ? 0 : c->key_step);
    write_flags(w, categories_of(c), categories, TM_ARRAY_LEN(categories));
    tm_resp_array(w, 0); /* tips */
    tm_resp_array(w, c->first_key > 0 ? 1 : 0);
    if (c->first_key > 0)
        write_key_spec(w, c);
    tm_resp_array(w, 0); /* subcommands */
}

/* The command of that name that clients may send, or NULL. */
static const struct tm_command *find(struct tm_bytes name)
{
    const struct tm_command *c = tm_command_find(name);
    return c != NULL && (c->flags & TM_CMD_INTERNAL) == 0 ? c : NULL;
}

static unsigned command_total(void)
{
    unsigned n = 0;
    while (tm_command_at(n) != NULL)
        n++;
    return n;
}

static void write_all(struct tm_resp_writer *w)
{
    tm_resp_array(w, command_total());
    for (unsigned i = 0; tm_command_at(i) != NULL; i++)
        write_info(w, tm_command_at(i));
}

static void command_count(struct tm_session *s, struct tm_resp_writer *w,
                          const struct tm_bytes *argv, unsigned argc)
{
    (void)s, (void)argv, (void)argc;
    tm_resp_integer(w, command_total());
}

static void command_info(struct tm_session *s, struct tm_resp_writer *w,
                         const struct tm_bytes *argv, unsigned argc)
{
    (void)s;
    if (argc == 2) {
        write_all(w);
        return;
    }
    tm_resp_array(w, argc - 2);
    for (unsigned i = 2; i < argc; i++) {
        const struct tm_command *c = find(argv[i]);
        if (c != NULL)
            write_info(w, c);
        else
            tm_resp_null(w);
    }
}

static void write_docs(struct tm_resp_writer *w, const struct tm_command *c)
{
    write_name(w, c);
    tm_resp_map(w, 3);
    tm_resp_bulk_str(w, "summary");
    tm_resp_bulk_str(w, c->summary);
    tm_resp_bulk_str(w, "since");
    tm_resp_bulk_str(w, "0.1.0");
    tm_resp_bulk_str(w, "group");
    tm_resp_bulk_str(w, c->group);
}

static void command_docs(struct tm_session *s, struct tm_resp_writer *w,
                         const struct tm_bytes *argv, unsigned argc)
{
    size_t at = w->len;
    uint64_t count = 0;
    (void)s;
    for (unsigned i = 0; argc == 2 && tm_command_at(i) != NULL; i++, count++)
        write_docs(w, tm_command_at(i));
    for (unsigned i = 2; i < argc; i++)
        if (find(argv[i]) != NULL) {
            write_docs(w, find(argv[i]));
            count++;
        }
    tm_resp_insert_map(w, at, count);
}

static void command_list(struct tm_session *s, struct tm_resp_writer *w,
                         const struct tm_bytes *argv, unsigned argc)
{
    size_t at = w->len;
    uint64_t count = 0;
    bool filter = argc == 5 && tm_word_is(argv[2], "FILTERBY");
    bool pattern = filter && tm_word_is(argv[3], "PATTERN");
    bool category = filter && tm_word_is(argv[3], "ACLCAT");
    bool module = filter && tm_word_is(argv[3], "MODULE"); /* there are none */
    (void)s;
    if (argc != 2 && !pattern && !category && !module) {
        tm_resp_error(w, "ERR syntax error");
        return;
    }
    for (unsigned i = 0; tm_command_at(i) != NULL; i++) {
        const struct tm_command *c = tm_command_at(i);
        if (module || (pattern && !tm_glob_match(argv[4], tm_bytes_str(c->name), true)) ||
            (category && !in_category(c, argv[4])))
            continue;
        write_name(w, c);
        count++;
    }
    tm_resp_insert_array(w, at, count);
}

struct key_writer {
    struct tm_resp_writer *w;
    const struct tm_command *command;
    const struct tm_bytes *argv;
    uint64_t count;
    bool flags;
};

static void write_key(void *host, unsigned position)
{
    struct key_writer *k = host;
    if (k->flags)
        tm_resp_array(k->w, 2);
    tm_resp_bulk(k->w, k->argv[position]);
    if (k->flags)
        write_key_flags(k->w, k->command);
    k->count++;
}

static void write_keys(struct tm_resp_writer *w, const struct tm_bytes *argv, unsigned argc,
                       bool flags)
{
    const struct tm_command *c = find(argv[2]);
    struct key_writer k = {.w = w, .command = c, .argv = argv + 2, .flags = flags};
    size_t at = w->len;
    if (c == NULL)
        tm_resp_error(w, "ERR Invalid command specified");
    else if (!tm_command_arity_ok(c, argc - 2))
        tm_resp_error(w, "ERR Invalid number of arguments specified for command");
    else if (c->first_key == 0)
        tm_resp_error(w, "ERR The command has no key arguments");
    else if (!tm_command_keys(c, argv + 2, argc - 2, write_key, &k))
        tm_resp_error(w, "ERR Invalid arguments specified for command");
    else
        tm_resp_insert_array(w, at, k.count);
}

static void command_getkeys(struct tm_session *s, struct tm_resp_writer *w,
                            const struct tm_bytes *argv, unsigned argc)
{
    (void)s;
    write_keys(w, argv, argc, false);
}

static void command_getkeysandflags(struct tm_session *s, struct tm_resp_writer *w,
                                    const struct tm_bytes *argv, unsigned argc)
{
    (void)s;
    write_keys(w, argv, argc, true);
}

void tm_session_local_command(struct tm_session *s, struct tm_resp_writer *w,
                              const struct tm_bytes *argv, unsigned argc)
{
    static const struct tm_subcommand subs[] = {
        {"COUNT", 2, command_count, "", "The number of commands."},
        {"INFO", -2, command_info, "[<name> ...]", "Details of some commands, or of all."},
        {"DOCS", -2, command_docs, "[<name> ...]", "What some commands do, or all."},
        {"LIST", -2, command_list, "[FILTERBY (PATTERN|ACLCAT|MODULE) <word>]",
         "The names of commands."},
        {"GETKEYS", -4, command_getkeys, "<command> <word> ...", "The keys of a whole command."},
        {"GETKEYSANDFLAGS", -4, command_getkeysandflags, "<command> <word> ...",
         "The keys of a whole command, and what it does to them."}};
    if (argc == 1)
        write_all(w);
    else
        tm_subcommand_dispatch(s, w, subs, TM_ARRAY_LEN(subs), argv, argc);
}
