/* session_connection.c: the handshake and the small local commands. */
#include "actors/session_internal.h"

#include <ctype.h>
#include <stdio.h>

/* A word in lower case, cut, as redis names commands in errors. */
static const char *lower(struct tm_bytes word, char buf[64])
{
    size_t n = (size_t)tm_min_u64(word.len, 63);
    for (size_t i = 0; i < n; i++)
        buf[i] = (char)tolower(word.data[i]);
    buf[n] = 0;
    return buf;
}

static void upper(struct tm_bytes word, char buf[64])
{
    lower(word, buf);
    for (char *c = buf; *c != 0; c++)
        *c = (char)toupper((unsigned char)*c);
}

void tm_session_wrong_arity(struct tm_resp_writer *w, const struct tm_bytes *argv)
{
    char name[64];
    tm_resp_errorf(w, "ERR wrong number of arguments for '%s' command", lower(argv[0], name));
}

void tm_session_wrong_sub_arity(struct tm_resp_writer *w, const struct tm_bytes *argv)
{
    char name[64], sub[64];
    tm_resp_errorf(w, "ERR wrong number of arguments for '%s|%s' command", lower(argv[0], name),
                   lower(argv[1], sub));
}

void tm_session_unknown_subcommand(struct tm_resp_writer *w, const struct tm_bytes *argv)
{
    char name[64];
    upper(argv[0], name);
    tm_resp_errorf(w, "ERR unknown subcommand '%.*s'. Try %s HELP.",
                   (int)tm_min_u64(argv[1].len, 128), (const char *)argv[1].data, name);
}

/* In redis's form: an array of lines. */
static void write_help(struct tm_resp_writer *w, const struct tm_subcommand *subs, unsigned count,
                       struct tm_bytes container)
{
    char line[160], name[64];
    size_t at = w->len;
    uint64_t lines = 3;
    upper(container, name);
    snprintf(line, sizeof line,
             "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", name);
    tm_resp_simple(w, line);
    for (unsigned i = 0; i < count; i++) {
        if (subs[i].text == NULL)
            continue;
        snprintf(line, sizeof line, "%s%s%s", subs[i].name, subs[i].words[0] != 0 ? " " : "",
                 subs[i].words);
        tm_resp_simple(w, line);
        snprintf(line, sizeof line, "    %s", subs[i].text);
        tm_resp_simple(w, line);
        lines += 2;
    }
    tm_resp_simple(w, "HELP");
    tm_resp_simple(w, "    Prints this help.");
    tm_resp_insert_array(w, at, lines);
}

void tm_subcommand_dispatch(struct tm_session *s, struct tm_resp_writer *w,
                            const struct tm_subcommand *subs, unsigned count,
                            const struct tm_bytes *argv, unsigned argc)
{
    unsigned i = 0;
    while (i < count && !tm_word_is(argv[1], subs[i].name))
        i++;
    bool help = i == count && tm_word_is(argv[1], "HELP");
    int arity = help ? 2 : i < count ? subs[i].arity : 0;
    if (i == count && !help)
        tm_session_unknown_subcommand(w, argv);
    else if (arity >= 0 ? argc != (unsigned)arity : argc < (unsigned)-arity)
        tm_session_wrong_sub_arity(w, argv);
    else if (help && !s->all->checking)
        write_help(w, subs, count, argv[0]);
    else if (!s->all->checking)
        subs[i].run(s, w, argv, argc);
}

void tm_session_local_ping(struct tm_session *s, struct tm_resp_writer *w,
                           const struct tm_bytes *argv, unsigned argc)
{
    (void)s;
    if (argc > 2)
        tm_session_wrong_arity(w, argv);
    else if (argc == 2)
        tm_resp_bulk(w, argv[1]);
    else
        tm_resp_simple(w, "PONG");
}

void tm_session_local_echo(struct tm_session *s, struct tm_resp_writer *w,
                           const struct tm_bytes *argv, unsigned argc)
{
    (void)s;
    (void)argc;
    tm_resp_bulk(w, argv[1]);
}

void tm_session_local_select(struct tm_session *s, struct tm_resp_writer *w,
                             const struct tm_bytes *argv, unsigned argc)
{
    int64_t db;
    (void)s;
    (void)argc;
    if (!tm_resp_to_i64(argv[1], &db))
        tm_resp_error(w, "ERR value is not an integer or out of range");
    else if (db != 0)
        tm_resp_error(w, "ERR SELECT is not allowed in cluster mode");
    else
        tm_resp_simple(w, "OK");
}

static void say_ok(struct tm_resp_writer *w)
{
    tm_resp_simple(w, "OK");
}

void tm_session_local_readonly(struct tm_session *s, struct tm_resp_writer *w,
                               const struct tm_bytes *argv, unsigned argc)
{
    (void)s, (void)argv, (void)argc;
    say_ok(w);
}

void tm_session_local_readwrite(struct tm_session *s, struct tm_resp_writer *w,
                                const struct tm_bytes *argv, unsigned argc)
{
    (void)s, (void)argv, (void)argc;
    say_ok(w);
}

void tm_session_local_asking(struct tm_session *s, struct tm_resp_writer *w,
                             const struct tm_bytes *argv, unsigned argc)
{
    (void)s, (void)argv, (void)argc;
    say_ok(w);
}

void tm_session_local_time(struct tm_session *s, struct tm_resp_writer *w,
                           const struct tm_bytes *argv, unsigned argc)
{
    uint64_t ms = tm_ctx_wall_ms(s->all->ctx);
    (void)argv, (void)argc;
    tm_resp_array(w, 2);
    tm_resp_bulk_u64(w, ms / 1000);
    tm_resp_bulk_u64(w, ms % 1000 * 1000);
}

/* Every node takes every command and leads some partitions; there are no replicas to name. */
void tm_session_local_role(struct tm_session *s, struct tm_resp_writer *w,
                           const struct tm_bytes *argv, unsigned argc)
{
    (void)s, (void)argv, (void)argc;
    tm_resp_array(w, 3);
    tm_resp_bulk_str(w, "master");
    tm_resp_integer(w, 0);
    tm_resp_array(w, 0);
}

void tm_session_local_shutdown(struct tm_session *s, struct tm_resp_writer *w,
                               const struct tm_bytes *argv, unsigned argc)
{
    const struct tm_router *router = s->all->router;
    if (argc == 2 && tm_word_is(argv[1], "ABORT")) {
        tm_resp_error(w, "ERR No shutdown in progress.");
        return;
    }
    bool save = false, nosave = false, known = true;
    for (unsigned i = 1; i < argc; i++) {
        save |= tm_word_is(argv[i], "SAVE");
        nosave |= tm_word_is(argv[i], "NOSAVE");
        known &= tm_word_is(argv[i], "SAVE") || tm_word_is(argv[i], "NOSAVE") ||
                 tm_word_is(argv[i], "NOW") || tm_word_is(argv[i], "FORCE");
    }
    if (!known || (save && nosave)) {
        tm_resp_error(w, "ERR syntax error");
        return;
    }
    s->ending = true;
    router->shutdown(router->host);
}

/* ---- AUTH, HELLO ---- */

/* Compares in a time that does not depend on where the two differ. */
static bool same_secret(struct tm_bytes given, const char *password)
{
    size_t len = strlen(password);
    unsigned diff = given.len != len;
    for (size_t i = 0; i < given.len; i++)
        diff |= given.data[i] ^ (uint8_t)password[len > 0 ? i % len : 0];
    return diff == 0;
}

/* user NULL: the default user.  Writes the error; true: the connection is authenticated. */
static bool authenticate(struct tm_session *s, struct tm_resp_writer *w,
                         const struct tm_bytes *user, struct tm_bytes given)
{
    const char *password = s->all->router->password(s->all->router->host);
    bool none = password == NULL || password[0] == 0;
    bool known = user == NULL || tm_bytes_equal(*user, tm_bytes_str("default"));
    if (none && user == NULL) {
        tm_resp_error(w, "ERR AUTH <password> called without any password configured for the "
                         "default user. Are you sure your configuration is correct?");
        return false;
    }
    if (!known || (!none && !same_secret(given, password))) {
        tm_resp_error(w, "WRONGPASS invalid username-password pair or user is disabled.");
        return false;
    }
    s->authenticated = true;
    return true;
}

void tm_session_local_auth(struct tm_session *s, struct tm_resp_writer *w,
                           const struct tm_bytes *argv, unsigned argc)
{
    if (argc > 3)
        tm_resp_error(w, "ERR syntax error");
    else if (authenticate(s, w, argc == 3 ? &argv[1] : NULL, argv[argc - 1]))
        say_ok(w);
}

static void describe(struct tm_session *s, struct tm_resp_writer *w)
{
    w->version = s->resp;
    tm_resp_map(w, 7);
    tm_resp_bulk_str(w, "server");
    tm_resp_bulk_str(w, "tidemill");
    tm_resp_bulk_str(w, "version");
    tm_resp_bulk_str(w, TM_REDIS_VERSION);
    tm_resp_bulk_str(w, "proto");
    tm_resp_integer(w, s->resp);
    tm_resp_bulk_str(w, "id");
    tm_resp_integer(w, (int64_t)s->id);
    tm_resp_bulk_str(w, "mode");
    tm_resp_bulk_str(w, "cluster");
    tm_resp_bulk_str(w, "role");
    tm_resp_bulk_str(w, "master");
    tm_resp_bulk_str(w, "modules");
    tm_resp_array(w, 0);
}

/* The words behind HELLO's version; false: an error was written. */
static bool hello_options(struct tm_session *s, struct tm_resp_writer *w,
                          const struct tm_bytes *argv, unsigned argc, struct tm_bytes *name)
{
    for (unsigned i = 2; i < argc;) {
        if (tm_word_is(argv[i], "AUTH") && i + 2 < argc) {
            if (!authenticate(s, w, &argv[i + 1], argv[i + 2]))
                return false;
            i += 3;
        } else if (tm_word_is(argv[i], "SETNAME") && i + 1 < argc) {
            *name = argv[i + 1];
            i += 2;
        } else {
            tm_resp_errorf(w, "ERR Syntax error in HELLO option '%.*s'",
                           (int)tm_min_u64(argv[i].len, 128), (const char *)argv[i].data);
            return false;
        }
    }
    return true;
}

void tm_session_local_hello(struct tm_session *s, struct tm_resp_writer *w,
                            const struct tm_bytes *argv, unsigned argc)
{
    int64_t version = s->resp;
    struct tm_bytes name = {NULL, 0};
    if (argc > 1 && !tm_resp_to_i64(argv[1], &version)) {
        tm_resp_error(w, "ERR Protocol version is not an integer or out of range");
        return;
    }
    if (version != 2 && version != 3) {
        tm_resp_error(w, "NOPROTO unsupported protocol version");
        return;
    }
    if (!hello_options(s, w, argv, argc, &name))
        return;
    if (!s->authenticated) {
        tm_resp_error(w, "NOAUTH HELLO must be called with the client already authenticated, "
                         "otherwise the HELLO <proto> AUTH <user> <pass> option can be used to "
                         "authenticate the client and select the RESP protocol version at the "
                         "same time");
        return;
    }
    if (name.data != NULL && !tm_session_set_name(s, w, name))
        return;
    s->resp = (uint8_t)version;
    describe(s, w);
}

/* ---- RESET, QUIT ---- */

enum tm_step tm_session_steer_reset(struct tm_session *s, const struct tm_bytes *argv,
                                    unsigned argc)
{
    const char *password = s->all->router->password(s->all->router->host);
    (void)argv;
    if (argc > 1) {
        tm_session_wrong_arity(tm_session_scratch(s, s->resp), argv);
        tm_session_add_scratch(s);
        return TM_STEP_DONE;
    }
    if (s->watching)
        return TM_STEP_BARRIER;
    if (!tm_session_unwatch(s))
        return TM_STEP_FULL;
    tm_multi_free(s, &s->multi);
    tm_session_names_free(s);
    s->reply_off = s->skip_reply = s->skip_next = s->no_evict = s->no_touch = false;
    s->resp = 2;
    s->authenticated = password == NULL || password[0] == 0;
    tm_session_simple(s, "RESET");
    return TM_STEP_DONE;
}

enum tm_step tm_session_steer_quit(struct tm_session *s, const struct tm_bytes *argv, unsigned argc)
{
    (void)argv, (void)argc;
    tm_session_simple(s, "OK");
    s->ending = true;
    return TM_STEP_DONE;
}
