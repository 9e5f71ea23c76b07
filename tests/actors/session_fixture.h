/* session_fixture.h: sessions above a router of the test's own.
 *
 * The router keeps what was submitted; the test decides when, in which order and how each request
 * is answered.  Partitions hold strings and evaluate a handful of commands, so that replies can be
 * held against what one sequential store would have said. */
#ifndef TM_TESTS_ACTORS_SESSION_FIXTURE_H
#define TM_TESTS_ACTORS_SESSION_FIXTURE_H

#include "actors/command.h"
#include "actors/session.h"
#include "net/resp.h"
#include "tests/test.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#define FIX_PARTITIONS 16
#define FIX_KEYS       256
#define FIX_REQUESTS   4096

struct fix_request {
    struct tm_request r;
    uint64_t session;
    char text[8][24][64]; /* the words, per command */
    unsigned argc[8];
    bool taken;
};

struct fix {
    struct tm_ctx ctx;
    struct tm_router router;
    struct tm_sessions *all;
    uint64_t now_ns, wall_ms, random;
    struct fix_request *requests;
    unsigned submitted, room; /* room: how many more submit takes before it is full */
    bool answer_at_once;
    char password[32];
    char key[FIX_KEYS][64], value[FIX_KEYS][64];
    bool used[FIX_KEYS];
    uint64_t index[FIX_PARTITIONS], term;         /* of what is written; term 0: strong */
    unsigned unwatched, shutdowns, other_clients; /* of other workers */
    bool watch_dirty;
    uint32_t taken_from, taken_to; /* these partitions are led by member 2, whoever led them */
    char maxmemory[32];
    unsigned log_lines;
    char last_log[256];
    char out[1 << 16];
};

static inline struct fix *fix_of(void *host)
{
    return host;
}
static inline uint64_t fix_now(void *host)
{
    return fix_of(host)->now_ns;
}
static inline uint64_t fix_wall(void *host)
{
    return fix_of(host)->wall_ms;
}
static inline uint64_t fix_random(void *host)
{
    return ++fix_of(host)->random;
}
static inline void fix_log(void *host, enum tm_log_level level, const char *event, const char *fmt,
                           ...) TM_PRINTF(4, 5);
static inline void fix_log(void *host, enum tm_log_level level, const char *event, const char *fmt,
                           ...)
{
    struct fix *f = host;
    va_list args;
    (void)level;
    int n = snprintf(f->last_log, sizeof f->last_log, "%s ", event);
    va_start(args, fmt);
    vsnprintf(f->last_log + n, sizeof f->last_log - (size_t)n, fmt, args);
    va_end(args);
    f->log_lines++;
}

/* ---- The store behind the partitions ---- */

static inline int fix_find(struct fix *f, const char *key)
{
    for (int i = 0; i < FIX_KEYS; i++)
        if (f->used[i] && strcmp(f->key[i], key) == 0)
            return i;
    return -1;
}

static inline void fix_set(struct fix *f, const char *key, const char *value)
{
    int at = fix_find(f, key);
    for (int i = 0; at < 0 && i < FIX_KEYS; i++)
        if (!f->used[i])
            at = i;
    f->used[at] = true;
    snprintf(f->key[at], sizeof f->key[at], "%s", key);
    snprintf(f->value[at], sizeof f->value[at], "%s", value);
}

static inline uint32_t fix_partition(const char *key)
{
    return tm_partition_of_slot(tm_slot_of_key(tm_bytes_str(key)), FIX_PARTITIONS);
}

/* SCAN and KEYS of one partition: two keys at a time; the cursor is the place of the next one. */
static inline void fix_walk(struct fix *f, uint32_t partition, bool all, uint64_t *cursor,
                            struct tm_resp_writer *w)
{
    size_t at = w->len;
    unsigned count = 0, i = (unsigned)*cursor;
    for (; i < FIX_KEYS && (all || count < 2); i++)
        if (f->used[i] && fix_partition(f->key[i]) == partition) {
            tm_resp_bulk_str(w, f->key[i]);
            count++;
        }
    *cursor = i < FIX_KEYS ? i : 0;
    tm_resp_insert_array(w, at, count);
}

static inline void fix_get(struct fix *f, const char *key, struct tm_resp_writer *w)
{
    int at = fix_find(f, key);
    if (at >= 0)
        tm_resp_bulk_str(w, f->value[at]);
    else
        tm_resp_null(w);
}

static inline void fix_count_keys(struct fix *f, struct fix_request *q, unsigned c, bool del,
                                  struct tm_resp_writer *w)
{
    int64_t n = 0;
    for (unsigned i = 1; i < q->argc[c]; i++) {
        int at = fix_find(f, q->text[c][i]);
        n += at >= 0;
        if (at >= 0 && del)
            f->used[at] = false;
    }
    tm_resp_integer(w, n);
}

/* Evaluates command c of a request as its partition would; true: it wrote. */
static inline bool fix_run(struct fix *f, struct fix_request *q, unsigned c, uint64_t *cursor,
                           struct tm_resp_writer *w)
{
    const char *name = q->text[c][0];
    int64_t keys = 0;
    if (strcasecmp(name, "GET") == 0) {
        fix_get(f, q->text[c][1], w);
    } else if (strcasecmp(name, "SET") == 0 || strcasecmp(name, "MSET") == 0) {
        for (unsigned i = 1; i + 1 < q->argc[c] && (toupper(name[0]) != 'S' || i == 1); i += 2) {
            CU_ASSERT_EQUAL(fix_partition(q->text[c][i]), q->r.partition);
            fix_set(f, q->text[c][i], q->text[c][i + 1]);
        }
        tm_resp_simple(w, "OK");
        return true;
    } else if (strcasecmp(name, "MGET") == 0) {
        tm_resp_array(w, q->argc[c] - 1);
        for (unsigned i = 1; i < q->argc[c]; i++)
            fix_get(f, q->text[c][i], w);
    } else if (strcasecmp(name, "DEL") == 0 || strcasecmp(name, "EXISTS") == 0) {
        fix_count_keys(f, q, c, toupper(name[0]) == 'D', w);
        return toupper(name[0]) == 'D';
    } else if (strcasecmp(name, "DBSIZE") == 0) {
        for (int i = 0; i < FIX_KEYS; i++)
            keys += f->used[i] && fix_partition(f->key[i]) == q->r.partition;
        tm_resp_integer(w, keys);
    } else if (strcasecmp(name, "FLUSHALL") == 0) {
        for (int i = 0; i < FIX_KEYS; i++)
            if (f->used[i] && fix_partition(f->key[i]) == q->r.partition)
                f->used[i] = false;
        tm_resp_simple(w, "OK");
        return true;
    } else if (strcasecmp(name, "KEYS") == 0 || strcasecmp(name, "SCAN") == 0) {
        fix_walk(f, q->r.partition, toupper(name[0]) == 'K', cursor, w);
    } else if (strcasecmp(name, "RANDOMKEY") == 0) {
        for (int i = 0; i < FIX_KEYS; i++)
            if (f->used[i] && fix_partition(f->key[i]) == q->r.partition) {
                tm_resp_bulk_str(w, f->key[i]);
                return false;
            }
        tm_resp_null(w);
    } else {
        tm_resp_error(w, "ERR the test does not know this command");
    }
    return false;
}

/* Answers a request that waits as its partition would. */
static inline void fix_answer(struct fix *f, struct fix_request *q)
{
    struct tm_answer a = {.id = q->r.id, .status = TM_ANSWER_DONE, .cursor = q->r.cursor};
    struct tm_resp_writer w;
    bool wrote = false;
    TM_ASSERT(!q->taken);
    q->taken = true;
    tm_resp_writer_init(&w, 1 << 20);
    w.version = q->r.resp;
    if (q->r.kind == TM_REQUEST_WATCH) {
        a.watch_token = 77;
        f->watch_dirty = false;
    } else if (q->r.kind == TM_REQUEST_WAIT) {
        a.copies = 3;
    } else if (q->r.watch_token != 0 && f->watch_dirty) {
        tm_resp_null_array(&w);
    } else {
        if (q->r.kind == TM_REQUEST_MULTI)
            tm_resp_array(&w, q->r.count);
        for (unsigned c = 0; c < q->r.count; c++)
            wrote |= fix_run(f, q, c, &a.cursor, &w);
    }
    if (wrote)
        a.index = ++f->index[q->r.partition];
    a.term = wrote ? f->term : 0;
    a.reply = tm_resp_writer_bytes(&w);
    tm_sessions_answer(f->all, q->session, &a);
    tm_resp_writer_free(&w);
}

static inline void fix_refuse(struct fix *f, struct fix_request *q, enum tm_answer_status status,
                              enum tm_err err)
{
    struct tm_answer a = {.id = q->r.id, .status = status, .err = err};
    q->taken = true;
    tm_sessions_answer(f->all, q->session, &a);
}

/* The i-th request that waits, in order of submission; NULL. */
static inline struct fix_request *fix_waiting(struct fix *f, unsigned i)
{
    for (unsigned n = 0; n < f->submitted; n++)
        if (!f->requests[n].taken && i-- == 0)
            return &f->requests[n];
    return NULL;
}

static inline void fix_answer_all(struct fix *f)
{
    struct fix_request *q;
    while ((q = fix_waiting(f, 0)) != NULL)
        fix_answer(f, q);
}

static inline enum tm_err fix_submit(void *host, uint64_t session, const struct tm_request *r)
{
    struct fix *f = host;
    if (f->room == 0)
        return TM_ERR_FULL;
    f->room--;
    if (r->kind == TM_REQUEST_UNWATCH) {
        f->unwatched++;
        return TM_OK;
    }
    TM_ASSERT(f->submitted < FIX_REQUESTS && r->count <= 8 && r->id != 0);
    struct fix_request *q = &f->requests[f->submitted++];
    memset(q, 0, sizeof *q);
    q->r = *r;
    q->session = session;
    for (unsigned c = 0; c < r->count; c++) {
        q->argc[c] = r->commands[c].argc;
        for (unsigned i = 0; i < q->argc[c] && i < 24; i++)
            snprintf(q->text[c][i], sizeof q->text[c][i], "%.*s",
                     (int)tm_min_u64(r->commands[c].argv[i].len, 63),
                     (const char *)r->commands[c].argv[i].data);
    }
    if (f->answer_at_once)
        fix_answer(f, q);
    return TM_OK;
}

/* ---- The rest of the router: two nodes of two workers; member 3 is down ---- */

static inline uint32_t fix_member_count(void *host)
{
    (void)host;
    return 4;
}
static inline void fix_member(void *host, uint32_t i, struct tm_router_member *m)
{
    (void)host;
    *m = (struct tm_router_member){.port = (uint16_t)(7001 + i),
                                   .node = i < 2 ? "node-1" : "node-2",
                                   .worker = i % 2,
                                   .alive = i != 3};
    snprintf(m->id, sizeof m->id, "%040x", i + 1);
    snprintf(m->ip, sizeof m->ip, "127.0.0.1");
}
static inline uint32_t fix_leader(void *host, uint32_t partition)
{
    const struct fix *f = host;
    if (partition >= f->taken_from && partition < f->taken_to)
        return 2;
    return partition == 15 ? TM_MEMBER_NONE : partition / 8 * 2; /* 0..7: member 0; 8..14: 2 */
}
static inline uint64_t fix_epoch(void *host)
{
    (void)host;
    return 5;
}
static inline bool fix_option(void *host, unsigned i, struct tm_router_option *o)
{
    static const char *const names[] = {"memory-limit", "durability", "max-clients"};
    struct fix *f = host;
    const char *const values[] = {f->maxmemory, "disk", "100"};
    if (i >= 3)
        return false;
    o->name = names[i];
    snprintf(o->value, sizeof o->value, "%s", values[i]);
    return true;
}
static inline uint64_t fix_clients(void *host)
{
    return tm_sessions_stats(fix_of(host)->all)->clients + fix_of(host)->other_clients;
}
static inline enum tm_err fix_option_set(void *host, const struct tm_bytes *pairs, unsigned count,
                                         unsigned *bad, char *why, size_t cap)
{
    struct fix *f = host;
    for (unsigned i = 0; i < count; i++) {
        struct tm_bytes name = pairs[2 * i], value = pairs[2 * i + 1];
        *bad = i;
        if (tm_bytes_equal(name, tm_bytes_str("durability")))
            return TM_ERR_PERMISSION;
        if (!tm_bytes_equal(name, tm_bytes_str("memory-limit")))
            return TM_ERR_NOTFOUND;
        if (value.len == 0 || value.data[0] < '0' || value.data[0] > '9') {
            snprintf(why, cap, "takes a size");
            return TM_ERR_INVALID;
        }
    }
    if (count > 0)
        snprintf(f->maxmemory, sizeof f->maxmemory, "%.*s", (int)pairs[2 * count - 1].len,
                 (const char *)pairs[2 * count - 1].data);
    return TM_OK;
}
static inline const char *fix_password(void *host)
{
    return fix_of(host)->password;
}
static inline void fix_stats(void *host, struct tm_router_stats *out)
{
    (void)host;
    *out = (struct tm_router_stats){.port = 7001, .keys = 12, .keys_expiring = 3, .clients = 2};
}
static inline void fix_stats_reset(void *host)
{
    (void)host;
}
static inline bool fix_counter(void *host, unsigned i, const char **name, uint64_t *value)
{
    (void)host;
    *name = "commits";
    *value = 41;
    return i == 0;
}
static inline void fix_shutdown(void *host)
{
    fix_of(host)->shutdowns++;
}

static inline struct tm_session_limits fix_limits(void)
{
    struct tm_session_limits l = tm_session_limits_default();
    l.clients = 20000;
    l.args = 4096;
    return l;
}

static inline struct fix *fix_new_with(const struct tm_session_limits *limits)
{
    struct fix *f = calloc(1, sizeof *f);
    f->requests = malloc(FIX_REQUESTS * sizeof f->requests[0]);
    f->now_ns = TM_SECONDS(100);
    f->wall_ms = 1700000000123;
    f->room = UINT32_MAX;
    f->ctx = (struct tm_ctx){
        .host = f, .now_ns = fix_now, .wall_ms = fix_wall, .random = fix_random, .log = fix_log};
    f->router = (struct tm_router){.host = f,
                                   .partitions = FIX_PARTITIONS,
                                   .self = 0,
                                   .cluster = "test",
                                   .node = "node-1",
                                   .version = "0.1.0",
                                   .submit = fix_submit,
                                   .member_count = fix_member_count,
                                   .member = fix_member,
                                   .leader = fix_leader,
                                   .epoch = fix_epoch,
                                   .option = fix_option,
                                   .clients = fix_clients,
                                   .option_set = fix_option_set,
                                   .password = fix_password,
                                   .stats = fix_stats,
                                   .stats_reset = fix_stats_reset,
                                   .counter = fix_counter,
                                   .shutdown = fix_shutdown};
    snprintf(f->maxmemory, sizeof f->maxmemory, "1000");
    f->all = tm_sessions_new(&f->ctx, &f->router, limits, 3);
    return f;
}

static inline struct fix *fix_new(void)
{
    struct tm_session_limits l = fix_limits();
    return fix_new_with(&l);
}

/* Ends the test: nothing of the sessions may be left. */
static inline void fix_delete(struct fix *f)
{
    tm_sessions_delete(f->all);
    free(f->requests);
    free(f);
}

static inline struct tm_session *fix_open_by(struct fix *f, bool own_port)
{
    static unsigned port = 40000;
    struct tm_session_peer peer = {.fd = 7, .own_port = own_port};
    snprintf(peer.addr, sizeof peer.addr, "127.0.0.1:%u", port++);
    snprintf(peer.laddr, sizeof peer.laddr, "127.0.0.1:7001");
    return tm_session_open(f->all, &peer, f);
}

static inline struct tm_session *fix_open(struct fix *f)
{
    return fix_open_by(f, false);
}

static inline void fix_send(struct tm_session *s, const char *text)
{
    tm_session_input(s, (const uint8_t *)text, strlen(text));
}

/* Takes all output of the session, as a string. */
static inline const char *fix_output(struct fix *f, struct tm_session *s)
{
    struct tm_bytes pieces[4];
    size_t len = 0;
    unsigned n;
    while ((n = tm_session_output(s, pieces, 4)) > 0) {
        size_t sent = 0;
        for (unsigned i = 0; i < n; i++) {
            TM_ASSERT(len + pieces[i].len < sizeof f->out);
            memcpy(f->out + len, pieces[i].data, pieces[i].len);
            len += pieces[i].len;
            sent += pieces[i].len;
        }
        tm_session_sent(s, sent);
    }
    f->out[len] = 0;
    return f->out;
}

/* Sends text, lets the partitions answer in order, and holds the output against what is expected.
 */
#define FIX_EXPECT(f, s, text, expected)                                                           \
    do {                                                                                           \
        fix_send((s), (text));                                                                     \
        fix_answer_all(f);                                                                         \
        const char *got_ = fix_output((f), (s));                                                   \
        if (strcmp(got_, (expected)) != 0)                                                         \
            printf("\n  sent %s\n  got  %s\n", (text), got_);                                      \
        CU_ASSERT_STRING_EQUAL(got_, (expected));                                                  \
    } while (0)

/* The same where the output is long: it has to hold a part. */
#define FIX_EXPECT_PART(f, s, text, part)                                                          \
    do {                                                                                           \
        fix_send((s), (text));                                                                     \
        fix_answer_all(f);                                                                         \
        const char *got_ = fix_output((f), (s));                                                   \
        if (strstr(got_, (part)) == NULL)                                                          \
            printf("\n  sent %s\n  got  %s\n", (text), got_);                                      \
        CU_ASSERT_PTR_NOT_NULL(strstr(got_, (part)));                                              \
    } while (0)

#endif
