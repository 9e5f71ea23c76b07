/* session_client.c: CLIENT: this connection, and the others of this node.
 *
 * LIST and KILL look at the connections of this worker, and have the other workers do the same
 * (session_node.c). */
#include "actors/session_internal.h"

#include <stdio.h>

static struct tm_bytes name_of(const struct tm_session *s, unsigned which)
{
    return tm_bytes_str(s->names != NULL ? s->names + which * TM_CLIENT_NAME_MAX : "");
}

void tm_session_names_free(struct tm_session *s)
{
    tm_session_free(s->all, s->names, 3 * TM_CLIENT_NAME_MAX);
    s->names = NULL;
}

static bool store_name(struct tm_session *s, struct tm_resp_writer *w, unsigned which,
                       const char *what, struct tm_bytes name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] < '!' || name.data[i] > '~') {
            tm_resp_errorf(w, "ERR %s cannot contain spaces, newlines or special characters.",
                           what);
            return false;
        }
    if (name.len >= TM_CLIENT_NAME_MAX) {
        tm_resp_errorf(w, "ERR %s is longer than %d bytes", what, TM_CLIENT_NAME_MAX - 1);
        return false;
    }
    if (s->names == NULL) {
        s->names = tm_session_alloc(s->all, 3 * TM_CLIENT_NAME_MAX);
        if (s->names == NULL) {
            tm_session_doom(s, "memory");
            return false;
        }
        memset(s->names, 0, 3 * TM_CLIENT_NAME_MAX);
    }
    char *at = s->names + which * TM_CLIENT_NAME_MAX;
    memset(at, 0, TM_CLIENT_NAME_MAX);
    if (name.len > 0)
        memcpy(at, name.data, name.len);
    return true;
}

bool tm_session_set_name(struct tm_session *s, struct tm_resp_writer *w, struct tm_bytes name)
{
    return store_name(s, w, 0, "Client names", name);
}

static void client_id(struct tm_session *s, struct tm_resp_writer *w, const struct tm_bytes *argv,
                      unsigned argc)
{
    (void)argv, (void)argc;
    tm_resp_integer(w, (int64_t)s->id);
}

static void client_getname(struct tm_session *s, struct tm_resp_writer *w,
                           const struct tm_bytes *argv, unsigned argc)
{
    struct tm_bytes name = name_of(s, 0);
    (void)argv, (void)argc;
    if (name.len > 0)
        tm_resp_bulk(w, name);
    else
        tm_resp_null(w);
}

static void client_setname(struct tm_session *s, struct tm_resp_writer *w,
                           const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    if (tm_session_set_name(s, w, argv[2]))
        tm_resp_simple(w, "OK");
}

static void client_setinfo(struct tm_session *s, struct tm_resp_writer *w,
                           const struct tm_bytes *argv, unsigned argc)
{
    bool ok = false;
    (void)argc;
    if (tm_word_is(argv[2], "LIB-NAME"))
        ok = store_name(s, w, 1, "lib-name", argv[3]);
    else if (tm_word_is(argv[2], "LIB-VER"))
        ok = store_name(s, w, 2, "lib-ver", argv[3]);
    else
        tm_resp_errorf(w, "ERR Unrecognized option '%.*s'", (int)tm_min_u64(argv[2].len, 64),
                       (const char *)argv[2].data);
    if (ok)
        tm_resp_simple(w, "OK");
}

/* ---- LIST, INFO ---- */

/* One line as redis 7 writes it. */
static void write_line(const struct tm_session *s, struct tm_resp_writer *text)
{
    char line[768];
    uint64_t now = tm_session_now_ms(s->all);
    int n = snprintf(
        line, sizeof line,
        "id=%llu addr=%s laddr=%s fd=%d name=%s age=%llu idle=%llu flags=%s db=0 sub=0 psub=0 "
        "ssub=0 multi=%d qbuf=%zu qbuf-free=%zu argv-mem=0 multi-mem=%zu obl=%zu oll=%llu omem=%zu "
        "tot-mem=%zu events=%s cmd=%s user=default redir=-1 resp=%u lib-name=%s lib-ver=%s\n",
        (unsigned long long)s->id, s->peer.addr, s->peer.laddr, s->peer.fd,
        (const char *)name_of(s, 0).data, (unsigned long long)((now - s->opened_ms) / 1000),
        (unsigned long long)((now - s->last_ms) / 1000), s->multi != NULL ? "x" : "N",
        s->multi != NULL ? (int)s->multi->commands : -1, s->in_len - s->in_at,
        s->in_cap - s->in_len, s->multi != NULL ? s->multi->words.cap : 0, s->out_bytes,
        (unsigned long long)(s->tail - s->head), s->out_bytes,
        sizeof *s + s->in_cap + s->out_bytes + s->ring_cap * sizeof s->ring[0],
        s->out_bytes > 0 ? "rw" : "r", s->last_command != NULL ? s->last_command->name : "NULL",
        s->resp, (const char *)name_of(s, 1).data, (const char *)name_of(s, 2).data);
    tm_resp_raw(text, tm_bytes_of(line, tm_min_u64((uint64_t)n, sizeof line - 1)));
}

static void send_text(struct tm_session *s, struct tm_resp_writer *w)
{
    struct tm_resp_writer *text = &s->all->text;
    w->overflow |= text->overflow;
    tm_resp_verbatim(w, tm_resp_writer_bytes(text));
}

static void client_info(struct tm_session *s, struct tm_resp_writer *w, const struct tm_bytes *argv,
                        unsigned argc)
{
    (void)argv, (void)argc;
    write_line(s, tm_session_text(s));
    send_text(s, w);
}

static bool id_listed(uint64_t id, const struct tm_bytes *ids, unsigned count)
{
    int64_t wanted;
    for (unsigned i = 0; i < count; i++)
        if (tm_resp_to_i64(ids[i], &wanted) && (uint64_t)wanted == id)
            return true;
    return false;
}

/* Redis's types of clients; all of ours are normal.  Else writes the error. */
static bool known_type(struct tm_resp_writer *w, struct tm_bytes word)
{
    static const char *const types[] = {"NORMAL", "MASTER", "REPLICA", "SLAVE", "PUBSUB"};
    for (size_t i = 0; i < TM_ARRAY_LEN(types); i++)
        if (tm_word_is(word, types[i]))
            return true;
    tm_resp_errorf(w, "ERR Unknown client type '%.*s'", (int)tm_min_u64(word.len, 64),
                   (const char *)word.data);
    return false;
}

static bool are_ids(struct tm_resp_writer *w, const struct tm_bytes *ids, unsigned count)
{
    int64_t id;
    for (unsigned i = 0; i < count; i++)
        if (!tm_resp_to_i64(ids[i], &id) || id <= 0) {
            tm_resp_error(w, "ERR Invalid client ID");
            return false;
        }
    return true;
}

static void client_list(struct tm_session *s, struct tm_resp_writer *w, const struct tm_bytes *argv,
                        unsigned argc)
{
    struct tm_resp_writer *text = tm_session_text(s);
    bool by_id = argc > 3 && tm_word_is(argv[2], "ID");
    bool by_type = argc == 4 && tm_word_is(argv[2], "TYPE");
    bool nobody = by_type && !tm_word_is(argv[3], "NORMAL");
    if (argc > 2 && !by_id && !by_type) {
        tm_resp_error(w, "ERR syntax error");
        return;
    }
    if ((by_type && !known_type(w, argv[3])) || (by_id && !are_ids(w, argv + 3, argc - 3)))
        return;
    for (uint32_t i = 0; i < s->all->table_cap && !nobody; i++) {
        const struct tm_session *other = s->all->table[i];
        if (other != NULL && !other->closed && (!by_id || id_listed(other->id, argv + 3, argc - 3)))
            write_line(other, text);
    }
    send_text(s, w);
    tm_session_spread(s, TM_GATHER_TEXT);
}

/* ---- KILL, REPLY ---- */

struct kill_filter {
    struct tm_bytes addr, laddr;
    int64_t id; /* 0: any */
    bool skip_me;
    bool nobody; /* another type: none of ours */
};

static bool kill_matches(const struct kill_filter *f, const struct tm_session *s)
{
    return !f->nobody && (f->id == 0 || (uint64_t)f->id == s->id) &&
           (f->addr.data == NULL || tm_bytes_equal(f->addr, tm_bytes_str(s->peer.addr))) &&
           (f->laddr.data == NULL || tm_bytes_equal(f->laddr, tm_bytes_str(s->peer.laddr)));
}

/* Closes what matches; the killer itself only after its reply. */
static int64_t kill_matching(struct tm_session *s, const struct kill_filter *f)
{
    int64_t killed = 0;
    for (uint32_t i = 0; i < s->all->table_cap; i++) {
        struct tm_session *other = s->all->table[i];
        if (other == NULL || other->closed || other->dead || !kill_matches(f, other) ||
            (other == s && f->skip_me))
            continue;
        killed++;
        if (other == s)
            s->ending = true;
        else
            tm_session_doom(other, "killed");
    }
    return killed;
}

static bool parse_kill(struct tm_resp_writer *w, const struct tm_bytes *argv, unsigned argc,
                       struct kill_filter *f)
{
    bool ok = argc % 2 == 0;
    for (unsigned i = 2; ok && i + 1 < argc; i += 2) {
        struct tm_bytes value = argv[i + 1];
        if (tm_word_is(argv[i], "ID")) {
            if (!tm_resp_to_i64(value, &f->id) || f->id <= 0) {
                tm_resp_error(w, "ERR client-id should be greater than 0");
                return false;
            }
        } else if (tm_word_is(argv[i], "ADDR")) {
            f->addr = value;
        } else if (tm_word_is(argv[i], "LADDR")) {
            f->laddr = value;
        } else if (tm_word_is(argv[i], "USER")) {
            if (!tm_bytes_equal(value, tm_bytes_str("default"))) {
                tm_resp_errorf(w, "ERR No such user '%.*s'", (int)tm_min_u64(value.len, 64),
                               (const char *)value.data);
                return false;
            }
        } else if (tm_word_is(argv[i], "TYPE")) {
            if (!known_type(w, value))
                return false;
            f->nobody |= !tm_word_is(value, "NORMAL");
        } else if (tm_word_is(argv[i], "SKIPME")) {
            f->skip_me = tm_word_is(value, "YES");
            ok = f->skip_me || tm_word_is(value, "NO");
        } else {
            ok = false;
        }
    }
    if (!ok)
        tm_resp_error(w, "ERR syntax error");
    return ok;
}

static void client_kill(struct tm_session *s, struct tm_resp_writer *w, const struct tm_bytes *argv,
                        unsigned argc)
{
    struct kill_filter f = {.skip_me = argc > 3};
    if (argc == 3) {
        f.addr = argv[2];
        if (kill_matching(s, &f) > 0)
            tm_resp_simple(w, "OK");
        else
            tm_resp_error(w, "ERR No such client");
        tm_session_spread(s, TM_GATHER_ANY);
    } else if (parse_kill(w, argv, argc, &f)) {
        tm_resp_integer(w, kill_matching(s, &f));
        tm_session_spread(s, TM_GATHER_SUM);
    }
}

static void client_reply(struct tm_session *s, struct tm_resp_writer *w,
                         const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    if (tm_word_is(argv[2], "ON")) {
        s->reply_off = s->skip_reply = false;
        tm_resp_simple(w, "OK");
    } else if (tm_word_is(argv[2], "OFF")) {
        s->reply_off = true;
    } else if (tm_word_is(argv[2], "SKIP")) {
        s->skip_next = !s->reply_off;
    } else {
        tm_resp_error(w, "ERR syntax error");
    }
}

static void set_switch(struct tm_resp_writer *w, struct tm_bytes word, bool *flag)
{
    if (!tm_word_is(word, "ON") && !tm_word_is(word, "OFF")) {
        tm_resp_error(w, "ERR syntax error");
        return;
    }
    *flag = tm_word_is(word, "ON");
    tm_resp_simple(w, "OK");
}

static void client_no_evict(struct tm_session *s, struct tm_resp_writer *w,
                            const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    set_switch(w, argv[2], &s->no_evict);
}

static void client_no_touch(struct tm_session *s, struct tm_resp_writer *w,
                            const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    set_switch(w, argv[2], &s->no_touch);
}

static void client_trackinginfo(struct tm_session *s, struct tm_resp_writer *w,
                                const struct tm_bytes *argv, unsigned argc)
{
    (void)s, (void)argv, (void)argc;
    tm_resp_map(w, 3);
    tm_resp_bulk_str(w, "flags");
    tm_resp_set(w, 1);
    tm_resp_bulk_str(w, "off");
    tm_resp_bulk_str(w, "redirect");
    tm_resp_integer(w, -1);
    tm_resp_bulk_str(w, "prefixes");
    tm_resp_array(w, 0);
}

static void client_getredir(struct tm_session *s, struct tm_resp_writer *w,
                            const struct tm_bytes *argv, unsigned argc)
{
    (void)s, (void)argv, (void)argc;
    tm_resp_integer(w, -1); /* tracking is never on */
}

static void client_unpause(struct tm_session *s, struct tm_resp_writer *w,
                           const struct tm_bytes *argv, unsigned argc)
{
    (void)s, (void)argv, (void)argc;
    tm_resp_simple(w, "OK"); /* nothing is ever paused */
}

static void client_tracking(struct tm_session *s, struct tm_resp_writer *w,
                            const struct tm_bytes *argv, unsigned argc)
{
    (void)s, (void)argc;
    if (tm_word_is(argv[2], "OFF"))
        tm_resp_simple(w, "OK");
    else
        tm_resp_error(w, "ERR client tracking is not supported");
}

void tm_session_local_client(struct tm_session *s, struct tm_resp_writer *w,
                             const struct tm_bytes *argv, unsigned argc)
{
    static const struct tm_subcommand subs[] = {
        {"ID", 2, client_id, "", "The id of this connection."},
        {"GETNAME", 2, client_getname, "", "The name of this connection."},
        {"SETNAME", 3, client_setname, "<name>", "Names this connection."},
        {"SETINFO", 4, client_setinfo, "(LIB-NAME|LIB-VER) <text>", "Names the client library."},
        {"LIST", -2, client_list, "[TYPE <type>] [ID <id> ...]", "The connections of this node."},
        {"INFO", 2, client_info, "", "The line of this connection."},
        {"KILL", -3, client_kill, "<address> | <filter> <value> ...",
         "Closes connections of this node: ADDR, LADDR, ID, TYPE, USER, SKIPME."},
        {"REPLY", 3, client_reply, "(ON|OFF|SKIP)", "Whether this connection gets replies."},
        {"NO-EVICT", 3, client_no_evict, "(ON|OFF)", "Accepted; changes nothing."},
        {"NO-TOUCH", 3, client_no_touch, "(ON|OFF)", "Accepted; changes nothing."},
        {"TRACKING", -3, client_tracking, "OFF", "Keys are not tracked."},
        {"TRACKINGINFO", 2, client_trackinginfo, "", "Says that tracking is off."},
        {"GETREDIR", 2, client_getredir, "", "Always -1: tracking is off."},
        {"UNPAUSE", 2, client_unpause, "", "Accepted: clients are never paused."}};
    tm_subcommand_dispatch(s, w, subs, TM_ARRAY_LEN(subs), argv, argc);
}
