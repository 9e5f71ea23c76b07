/* What a client sends, down to the store and back: parser, sessions, commands, records, replies.
 *
 * The first two bytes say how the rest, which is the client's, arrives: in pieces of that size,
 * with or without a password asked for, with requests answered at once or later.  Behind the
 * session stand two partitions, each a leader's store and a follower's.
 *
 * Held: cutting the bytes otherwise parses to the same words; every reply is whole RESP; a record
 * that a command made is valid, and gives the follower the state of the leader; a command that only
 * reads makes none; a request survives its encoding. */
#include "actors/command.h"
#include "actors/request_wire.h"
#include "actors/session.h"
#include "net/resp.h"
#include "storage/arena.h"
#include "storage/entity.h"
#include "storage/store.h"
#include "tests/fuzz/fuzz.h"

#define PARTITIONS   2
#define REQUESTS_MAX 64
#define WORDS_MAX    256
#define ENTITY_MAX   16384

struct waiting {
    uint64_t session;
    uint8_t *bytes;
    size_t len;
};

struct node {
    struct fuzz_world world;
    struct tm_router router;
    struct tm_sessions *sessions;
    struct tm_arena arena;
    struct tm_store *leader[PARTITIONS], *follower[PARTITIONS];
    struct tm_resp_writer reply;
    struct waiting waiting[REQUESTS_MAX];
    unsigned waits;
    bool at_once;
    const char *password;
};

static uint64_t record_space[TM_RECORD_MAX / 8];

/* --- the parser by itself --- */

static enum tm_resp_status parse_cut(const struct tm_bytes all, size_t piece, uint8_t *unquoted,
                                     struct tm_bytes *argv, unsigned *argc, size_t *used)
{
    struct tm_resp_parser p = {0};
    struct tm_resp_limits limits = {
        .max_args = WORDS_MAX, .max_arg_bytes = ENTITY_MAX, .unquoted = unquoted};
    for (size_t len = piece < all.len ? piece : all.len;; len += piece) {
        len = len < all.len ? len : all.len;
        enum tm_resp_status status = tm_resp_parse(&p, &limits, all.data, len, argv, argc, used);
        if (status != TM_RESP_MORE || len == all.len) {
            char text[128];
            if (status == TM_RESP_BROKEN)
                FUZZ_CHECK(tm_resp_parse_error(&p, text, sizeof text) < sizeof text);
            return status;
        }
    }
}

static void parse_both_ways(struct tm_bytes all, size_t piece)
{
    static uint8_t unquoted[2][TM_RESP_INLINE_MAX];
    static struct tm_bytes argv[2][WORDS_MAX];
    unsigned argc[2];
    size_t used[2];
    while (all.len > 0) {
        enum tm_resp_status whole =
            parse_cut(all, all.len, unquoted[0], argv[0], &argc[0], &used[0]);
        enum tm_resp_status cut = parse_cut(all, piece, unquoted[1], argv[1], &argc[1], &used[1]);
        FUZZ_CHECK(whole == cut);
        if (whole != TM_RESP_DONE)
            return;
        FUZZ_CHECK(argc[0] == argc[1] && used[0] == used[1]);
        FUZZ_CHECK(used[0] > 0 && used[0] <= all.len);
        for (unsigned i = 0; i < argc[0]; i++)
            FUZZ_CHECK(tm_bytes_equal(argv[0][i], argv[1][i]));
        all = tm_bytes_of(all.data + used[0], all.len - used[0]);
    }
}

/* The same bytes as replies of a server. */
static void skip_both_ways(struct tm_bytes all, size_t piece)
{
    struct tm_resp_skipper whole = {0}, cut = {0};
    size_t used = 0, used_cut = 0;
    enum tm_resp_status status = tm_resp_skip(&whole, all.data, all.len, &used);
    enum tm_resp_status status_cut = TM_RESP_MORE;
    for (size_t len = 0; len < all.len && status_cut == TM_RESP_MORE;) {
        len = len + piece < all.len ? len + piece : all.len;
        status_cut = tm_resp_skip(&cut, all.data, len, &used_cut);
    }
    FUZZ_CHECK(status == status_cut || all.len == 0);
    FUZZ_CHECK(status != TM_RESP_DONE || (used == used_cut && used <= all.len));
    struct tm_resp_value value;
    for (size_t at = 0; at < all.len; at += used)
        if (tm_resp_read(all.data + at, all.len - at, &value, &used) != TM_RESP_DONE)
            return;
}

/* --- a partition's leader, as far as commands go --- */

/* Closes the open record of the leader; what came of it goes to the follower. */
static uint64_t close_record(struct node *n, unsigned p)
{
    struct tm_record *r;
    enum tm_err err = tm_store_finish(n->leader[p], &r);
    FUZZ_CHECK(err == TM_OK || err == TM_ERR_TOOBIG);
    if (r == NULL)
        return 0;
    FUZZ_CHECK(tm_record_check(r, r->length) == TM_OK);
    FUZZ_CHECK(tm_store_apply(n->follower[p], r, false) == TM_OK);
    tm_store_commit(n->leader[p], r->index);
    FUZZ_CHECK(tm_store_state_hash(n->leader[p]) == tm_store_state_hash(n->follower[p]));
    return r->index;
}

static void open_record(struct node *n, unsigned p)
{
    uint64_t index = tm_store_applied(n->leader[p]) + 1;
    struct tm_record head = {.partition = p, .term = 1, .index = index, .hlc = index, .origin = 7};
    tm_store_begin(n->leader[p], record_space, sizeof record_space, &head);
}

static void expire(struct node *n, unsigned p)
{
    const struct tm_entity *e;
    uint64_t now_ms = tm_ctx_wall_ms(&n->world.ctx);
    while ((e = tm_store_due(n->leader[p], now_ms)) != NULL) {
        open_record(n, p);
        tm_store_expire(n->leader[p], tm_entity_key(e));
        FUZZ_CHECK(close_record(n, p) != 0);
    }
}

static void run_commands(struct node *n, const struct tm_request *rq, struct tm_answer *a)
{
    struct tm_exec x = {.store = n->leader[rq->partition],
                        .reply = &n->reply,
                        .now_ms = tm_ctx_wall_ms(&n->world.ctx),
                        .random = tm_ctx_random(&n->world.ctx),
                        .max_entity_bytes = ENTITY_MAX,
                        .cursor = rq->cursor};
    bool writes = false;
    expire(n, rq->partition);
    tm_resp_writer_reset(&n->reply, rq->resp, 4096);
    if (rq->kind == TM_REQUEST_MULTI)
        tm_resp_array(&n->reply, rq->count);
    open_record(n, rq->partition);
    for (unsigned i = 0; i < rq->count; i++) {
        const struct tm_command *c = tm_command_find(rq->commands[i].argv[0]);
        FUZZ_CHECK(c != NULL && c->run != NULL && tm_command_arity_ok(c, rq->commands[i].argc));
        c->run(&x, rq->commands[i].argv, rq->commands[i].argc);
        writes |= (c->flags & TM_CMD_WRITE) != 0;
    }
    a->index = close_record(n, rq->partition);
    FUZZ_CHECK(writes || a->index == 0);
    a->cursor = x.cursor;
    if (n->reply.overflow) {
        tm_resp_writer_reset(&n->reply, rq->resp, 4096);
        tm_resp_error(&n->reply, "ERR the reply is too long");
    }
    a->reply = tm_resp_writer_bytes(&n->reply);
}

static void evaluate(struct node *n, uint64_t session, const struct tm_request *rq)
{
    struct tm_answer a = {.id = rq->id, .status = TM_ANSWER_DONE};
    FUZZ_CHECK(rq->partition < PARTITIONS);
    if (rq->kind == TM_REQUEST_WATCH)
        a.watch_token = 1;
    else if (rq->kind == TM_REQUEST_WAIT)
        a.copies = 2;
    else
        run_commands(n, rq, &a);
    tm_sessions_answer(n->sessions, session, &a);
}

/* As it would go to another worker: the answer is to what arrived there. */
static enum tm_err submit(void *host, uint64_t session, const struct tm_request *rq)
{
    struct node *n = host;
    struct tm_request_words words = {0};
    struct tm_request got;
    size_t len = tm_request_size(rq);
    if (rq->kind == TM_REQUEST_UNWATCH)
        return TM_OK;
    if (n->waits == REQUESTS_MAX)
        return TM_ERR_FULL;
    if (len == 0)
        return TM_ERR_TOOBIG;
    uint8_t *bytes = malloc(len);
    FUZZ_CHECK(bytes != NULL);
    tm_request_encode(rq, bytes);
    n->world.now_ns += TM_MS(1);
    if (!n->at_once) {
        n->waiting[n->waits++] = (struct waiting){session, bytes, len};
        return TM_OK;
    }
    FUZZ_CHECK(tm_request_decode(tm_bytes_of(bytes, len), &words, &got) == TM_OK);
    evaluate(n, session, &got);
    tm_request_words_free(&words);
    free(bytes);
    return TM_OK;
}

static void answer_waiting(struct node *n)
{
    struct tm_request_words words = {0};
    struct tm_request rq;
    unsigned count = n->waits;
    n->waits = 0;
    struct waiting taken[REQUESTS_MAX];
    memcpy(taken, n->waiting, sizeof taken);
    for (unsigned i = 0; i < count; i++) {
        struct tm_bytes bytes = tm_bytes_of(taken[i].bytes, taken[i].len);
        FUZZ_CHECK(tm_request_decode(bytes, &words, &rq) == TM_OK);
        evaluate(n, taken[i].session, &rq);
        free(taken[i].bytes);
    }
    tm_request_words_free(&words);
    tm_sessions_resume(n->sessions);
}

/* --- the rest of the router --- */

static uint32_t member_count(void *host)
{
    (void)host;
    return 1;
}

static void member(void *host, uint32_t i, struct tm_router_member *m)
{
    (void)host;
    FUZZ_CHECK(i == 0);
    *m = (struct tm_router_member){.port = 7001, .node = "node-1", .alive = true};
    snprintf(m->id, sizeof m->id, "%040x", 1);
    snprintf(m->ip, sizeof m->ip, "127.0.0.1");
}

static uint32_t leader_of(void *host, uint32_t partition)
{
    (void)host;
    FUZZ_CHECK(partition < PARTITIONS);
    return 0;
}

static uint64_t epoch(void *host)
{
    (void)host;
    return 1;
}

static bool option(void *host, unsigned i, struct tm_router_option *o)
{
    (void)host;
    o->name = "memory-limit";
    snprintf(o->value, sizeof o->value, "1000");
    return i == 0;
}

static enum tm_err option_set(void *host, const struct tm_bytes *pairs, unsigned count,
                              unsigned *bad, char *why, size_t cap)
{
    (void)host;
    *bad = 0;
    snprintf(why, cap, "takes a size");
    if (count > 0 && tm_word_is(pairs[0], "memory-limit"))
        return TM_ERR_INVALID;
    return TM_ERR_NOTFOUND;
}

static const char *password(void *host)
{
    return ((struct node *)host)->password;
}

static uint64_t clients(void *host)
{
    (void)host;
    return 0;
}

static void stats(void *host, struct tm_router_stats *out)
{
    (void)host;
    *out = (struct tm_router_stats){.port = 7001, .keys = 12};
}

static void nothing(void *host)
{
    (void)host;
}

static bool counter(void *host, unsigned i, const char **name, uint64_t *value)
{
    (void)host;
    *name = "counter";
    *value = 1;
    return i == 0;
}

static void partitions_of(void *host, struct tm_resp_writer *w)
{
    (void)host;
    tm_resp_array(w, 0);
}

static void recover(void *host, uint32_t partition, struct tm_resp_writer *w)
{
    (void)host;
    FUZZ_CHECK(partition <= PARTITIONS);
    tm_resp_simple(w, "OK");
}

static enum tm_err ask(void *host, unsigned worker, uint64_t session, struct tm_bytes request)
{
    (void)host;
    (void)worker;
    (void)session;
    (void)request;
    return TM_ERR_NOMEM; /* there is no other worker */
}

static struct tm_session_limits limits(void)
{
    struct tm_session_limits l = tm_session_limits_default();
    l.clients = 4;
    l.pipeline = 32;
    l.args = WORDS_MAX;
    l.query_bytes = 65536;
    l.max_entity_bytes = ENTITY_MAX;
    l.total_bytes = TM_MIB(8);
    return l;
}

static struct node *node_new(uint8_t flags)
{
    struct node *n = calloc(1, sizeof *n);
    FUZZ_CHECK(n != NULL && tm_arena_open(&n->arena) == TM_OK);
    fuzz_world_init(&n->world);
    n->at_once = (flags & 1) == 0;
    n->password = (flags & 2) != 0 ? "secret" : NULL;
    for (unsigned p = 0; p < PARTITIONS; p++) {
        n->leader[p] = tm_store_new(&n->arena, p);
        n->follower[p] = tm_store_new(&n->arena, p);
    }
    tm_resp_writer_init(&n->reply, TM_MIB(1));
    n->router = (struct tm_router){.host = n,
                                   .partitions = PARTITIONS,
                                   .cluster = "test",
                                   .node = "node-1",
                                   .version = "0.1.0",
                                   .workers = 1,
                                   .submit = submit,
                                   .ask = ask,
                                   .member_count = member_count,
                                   .member = member,
                                   .leader = leader_of,
                                   .epoch = epoch,
                                   .option = option,
                                   .option_set = option_set,
                                   .password = password,
                                   .clients = clients,
                                   .stats = stats,
                                   .stats_reset = nothing,
                                   .counter = counter,
                                   .partitions_of = partitions_of,
                                   .recover = recover,
                                   .shutdown = nothing};
    struct tm_session_limits l = limits();
    n->sessions = tm_sessions_new(&n->world.ctx, &n->router, &l, 0);
    FUZZ_CHECK(n->sessions != NULL);
    return n;
}

static void node_delete(struct node *n)
{
    for (unsigned i = 0; i < n->waits; i++)
        free(n->waiting[i].bytes);
    tm_sessions_delete(n->sessions);
    for (unsigned p = 0; p < PARTITIONS; p++) {
        tm_store_delete(n->leader[p]);
        tm_store_delete(n->follower[p]);
    }
    tm_resp_writer_free(&n->reply);
    FUZZ_CHECK(n->arena.bytes == 0);
    tm_arena_close(&n->arena);
    free(n);
}

/* --- the client --- */

struct client {
    struct tm_session *session;
    struct tm_resp_skipper skipper;
    uint8_t *got;
    size_t len, cap;
};

/* Takes what the session sends; every reply in it has to be RESP. */
static void take_output(struct client *c)
{
    struct tm_bytes piece;
    size_t used;
    while (tm_session_output(c->session, &piece, 1) > 0) {
        if (c->len + piece.len > c->cap) {
            c->cap = 2 * (c->len + piece.len);
            c->got = realloc(c->got, c->cap);
            FUZZ_CHECK(c->got != NULL);
        }
        memcpy(c->got + c->len, piece.data, piece.len);
        c->len += piece.len;
        tm_session_sent(c->session, piece.len);
    }
    while (c->len > 0) {
        enum tm_resp_status status = tm_resp_skip(&c->skipper, c->got, c->len, &used);
        FUZZ_CHECK(status != TM_RESP_BROKEN);
        if (status == TM_RESP_MORE)
            return;
        memmove(c->got, c->got + used, c->len - used);
        c->len -= used;
    }
}

static void converse(struct node *n, struct tm_bytes all, size_t piece)
{
    struct tm_session_peer peer = {.addr = "127.0.0.1:40000", .laddr = "127.0.0.1:7001", .fd = 7};
    struct client c = {.session = tm_session_open(n->sessions, &peer, n)};
    FUZZ_CHECK(c.session != NULL);
    while (all.len > 0 && !tm_session_wants_close(c.session)) {
        size_t len = piece < all.len ? piece : all.len;
        uint8_t *copy = fuzz_copy(tm_bytes_of(all.data, len));
        tm_session_input(c.session, copy, len);
        free(copy);
        all = tm_bytes_of(all.data + len, all.len - len);
        answer_waiting(n);
        take_output(&c);
        while (tm_sessions_next_ready(n->sessions) != NULL)
            ;
    }
    for (unsigned i = 0; i < 64 && n->waits > 0; i++)
        answer_waiting(n);
    take_output(&c);
    FUZZ_CHECK(c.len == 0 || tm_session_wants_close(c.session));
    n->world.now_ns += TM_SECONDS(100);
    tm_sessions_tick(n->sessions);
    tm_session_close(c.session);
    free(c.got);
}

FUZZ_TARGET(data, size)
{
    if (size < 3 || size > 8192)
        return 0;
    uint8_t *copy = fuzz_copy(tm_bytes_of(data + 2, size - 2));
    struct tm_bytes all = tm_bytes_of(copy, size - 2);
    size_t piece = data[1] == 0 ? all.len : data[1];
    parse_both_ways(all, piece);
    skip_both_ways(all, piece);
    struct node *n = node_new(data[0]);
    converse(n, all, piece);
    node_delete(n);
    free(copy);
    return 0;
}
