/* session.c: client connections (actors/session.h): life, input, the loop over commands.
 *
 * The happy path: received bytes are parsed where they lie, each command is dispatched, its reply
 * or its request goes out, nothing is copied and nothing allocated.  What is left at the end, a
 * command in part, moves to the session's own input buffer until the rest comes.
 *
 * A command that cannot go on (pipeline full, output unread, router full, or it must wait for the
 * earlier ones) is not taken: it stays in the input buffer, the session asks not to be read, and
 * tm_session_continue parses it again when what hindered it is gone.
 *
 * The session is never freed from within: a limit broken, or a client killed, makes it "dead", and
 * the worker closes it. */
#include "actors/session_internal.h"

#include <stdlib.h>

#define TICK_SLICE      256 /* table slots a tick looks at */
#define ARGS_MAX        (128 * 1024)
#define OUTPUT_PAUSE    TM_MIB(1)
#define OUTPUT_SLACK    TM_MIB(256) /* for replies under way when reading pauses */
#define STALL_MS        60000
#define UNDER_WAY_BYTES TM_MIB(2) /* of replies asked for, as large as those of late */
#define UNDER_WAY_FIRST 64 /* requests of a connection; one more for each that was answered */
#define TOTAL_BYTES     TM_MIB(1024)

TM_STATIC_ASSERT(sizeof(struct tm_session) <= 512, "what session.h promises of an idle session");

struct tm_session_limits tm_session_limits_of(const struct tm_options *o)
{
    uint64_t output = o->client_output_buffer_bytes;
    return (struct tm_session_limits){.clients = (uint32_t)o->max_clients,
                                      .pipeline = (uint32_t)o->client_pipeline_max,
                                      .args = ARGS_MAX,
                                      .query_bytes = (uint32_t)o->client_query_buffer_bytes,
                                      .max_entity_bytes = (uint32_t)o->max_entity_bytes,
                                      .output_pause = (uint32_t)tm_min_u64(output, OUTPUT_PAUSE),
                                      .output_bytes = (uint32_t)(output + OUTPUT_SLACK),
                                      .stall_ms = STALL_MS,
                                      .total_bytes = TOTAL_BYTES};
}

struct tm_session_limits tm_session_limits_default(void)
{
    struct tm_options o;
    tm_options_init(&o);
    return tm_session_limits_of(&o);
}

/* Whether one more reply as large as those of late would fit beside those under way.  They fill the
 * memory of the leaders, and the ways from there, which others use, too; so a connection begins
 * with few requests under way, before the size of its replies is known. */
static bool has_room_for_reply(const struct tm_session *s)
{
    const struct tm_session_limits *l = &s->all->limits;
    uint64_t under_way = s->tail - s->head;
    uint64_t bytes = tm_min_u64(l->output_bytes / 2, UNDER_WAY_BYTES);
    return under_way < l->pipeline && under_way <= UNDER_WAY_FIRST + s->head &&
           (under_way == 0 || (under_way + 1) * s->reply_size <= bytes);
}

/* Whether the next command may be executed. */
static bool can_go(const struct tm_session *s)
{
    return !s->dead && !s->ending && !s->barrier && !s->full && !s->paused &&
           (s->partial || has_room_for_reply(s));
}

/* ---- All sessions ---- */

/* 16 bytes for each client that may be there. */
static struct tm_session **alloc_places(uint32_t cap)
{
    return calloc(cap, sizeof(struct tm_session *));
}

static bool alloc_tables(struct tm_sessions *all)
{
    size_t args = all->limits.args, partitions = all->router->partitions;
    all->table_cap = 64;
    while (all->table_cap < all->limits.clients * 2)
        all->table_cap *= 2;
    all->table = alloc_places(all->table_cap);
    all->argv = malloc(args * sizeof all->argv[0]);
    all->words = malloc(2 * args * sizeof all->words[0]);
    all->part_of_key = malloc(args * sizeof all->part_of_key[0]);
    all->mark = calloc(partitions, sizeof all->mark[0]);
    all->part_of = malloc(partitions * sizeof all->part_of[0]);
    all->part_start = malloc((partitions + 1) * sizeof all->part_start[0]);
    all->parse.unquoted = malloc(TM_RESP_INLINE_MAX);
    return all->table != NULL && all->argv != NULL && all->words != NULL &&
           all->part_of_key != NULL && all->mark != NULL && all->part_of != NULL &&
           all->part_start != NULL && all->parse.unquoted != NULL;
}

struct tm_sessions *tm_sessions_new(const struct tm_ctx *ctx, const struct tm_router *router,
                                    const struct tm_session_limits *limits, unsigned worker)
{
    TM_ASSERT(worker < 64 && limits->args >= 16 && limits->pipeline >= 1);
    TM_ASSERT(router->partitions >= 1 && router->partitions <= TM_SLOTS);
    struct tm_sessions *all = calloc(1, sizeof *all);
    if (all == NULL)
        return NULL;
    all->ctx = ctx;
    all->router = router;
    all->limits = *limits;
    all->worker = worker;
    tm_resp_writer_init(&all->scratch, limits->output_bytes);
    tm_resp_writer_init(&all->inner, limits->output_bytes);
    tm_resp_writer_init(&all->text, limits->output_bytes);
    if (!alloc_tables(all)) {
        tm_sessions_delete(all);
        return NULL;
    }
    return all;
}

void tm_sessions_delete(struct tm_sessions *all)
{
    for (uint32_t i = 0; all->places > 0 && i < all->table_cap; i++)
        if (all->table[i] != NULL) {
            all->table[i]->watch_token = 0;
            all->table[i]->watching = false;
            if (all->table[i]->closed)
                tm_session_free_if_done(all->table[i]);
            else
                tm_session_close(all->table[i]);
        }
    tm_sessions_pool_free(all);
    tm_resp_writer_free(&all->scratch);
    tm_resp_writer_free(&all->inner);
    tm_resp_writer_free(&all->text);
    free(all->parse.unquoted);
    free(all->part_start);
    free(all->part_of);
    free(all->mark);
    free(all->part_of_key);
    free(all->words);
    free(all->argv);
    free(all->table);
    free(all);
}

struct tm_session_limits *tm_sessions_limits(struct tm_sessions *all)
{
    return &all->limits;
}

const struct tm_sessions_stats *tm_sessions_stats(const struct tm_sessions *all)
{
    return &all->stats;
}

uint64_t tm_session_now_ms(const struct tm_sessions *all)
{
    return tm_ctx_now(all->ctx) / TM_MS(1);
}

/* Ids are sequence x 64 + worker; the sequence, by the size of the table, is the place. */
static struct tm_session **place_of(const struct tm_sessions *all, uint64_t id)
{
    return &all->table[(id / 64) & (all->table_cap - 1)];
}

struct tm_session *tm_sessions_find(const struct tm_sessions *all, uint64_t id)
{
    struct tm_session *s = *place_of(all, id);
    return s != NULL && s->id == id ? s : NULL;
}

void tm_sessions_answer(struct tm_sessions *all, uint64_t session, const struct tm_answer *answer)
{
    struct tm_session *s = tm_sessions_find(all, session);
    if (s == NULL)
        return;
    tm_session_on_answer(s, answer);
    if (s->closed)
        tm_session_free_if_done(s);
}

void tm_session_stall(struct tm_session *s)
{
    if (s->stalled)
        return;
    s->stalled = true;
    s->stalled_next = s->all->stalled_first;
    s->all->stalled_first = s;
}

static void resume_one(struct tm_session *s)
{
    s->full = false;
    for (uint64_t n = s->head; n < s->tail && !s->closed; n++) {
        struct tm_entry *e = tm_session_entry_at(s, n);
        if (e != NULL && e->kind == TM_ENTRY_CHAIN && !tm_chain_resume(s, n))
            return;
        e = tm_session_entry_at(s, n);
        if (e != NULL && e->kind == TM_ENTRY_GATHER && e->gather->how >= TM_GATHER_WAIT &&
            !tm_session_wait_resume(s, n))
            return;
    }
    if (s->closed)
        tm_session_free_if_done(s);
    else
        tm_session_continue(s);
}

bool tm_sessions_resume(struct tm_sessions *all)
{
    struct tm_session *s = all->stalled_first;
    all->stalled_first = NULL;
    while (s != NULL) {
        struct tm_session *next = s->stalled_next;
        s->stalled = false;
        resume_one(s);
        s = next;
    }
    return all->stalled_first != NULL;
}

void tm_sessions_tick(struct tm_sessions *all)
{
    uint64_t now = tm_ctx_now(all->ctx);
    for (unsigned i = 0; i < TICK_SLICE && i < all->table_cap; i++) {
        struct tm_session *s = all->table[all->tick_at++ & (all->table_cap - 1)];
        if (s != NULL && !s->dead && s->out_bytes > 0 &&
            now - s->out_moved_ns > TM_MS(all->limits.stall_ms))
            tm_session_doom(s, "stalled");
    }
}

void tm_session_mark_ready(struct tm_session *s)
{
    if (s->ready || s->closed)
        return;
    s->ready = true;
    s->ready_next = NULL;
    if (s->all->ready_first == NULL)
        s->all->ready_first = s;
    else
        s->all->ready_last->ready_next = s;
    s->all->ready_last = s;
}

struct tm_session *tm_sessions_next_ready(struct tm_sessions *all)
{
    struct tm_session *s = all->ready_first;
    if (s != NULL) {
        all->ready_first = s->ready_next;
        s->ready = false;
        s->told_input = can_go(s);
    }
    return s;
}

/* ---- Life of one ---- */

static void take_id(struct tm_sessions *all, struct tm_session *s)
{
    do
        s->id = ++all->next_seq * 64 + all->worker;
    while (*place_of(all, s->id) != NULL);
    *place_of(all, s->id) = s;
    all->places++;
}

/* The table is at most half full; numbers of sessions that differed in the smaller one differ in
 * the larger one. */
static bool has_place(struct tm_sessions *all)
{
    if (all->places < all->table_cap / 2)
        return true;
    struct tm_session **old = all->table, **larger = alloc_places(all->table_cap * 2);
    if (larger == NULL)
        return false;
    uint32_t old_cap = all->table_cap;
    all->table = larger;
    all->table_cap *= 2;
    for (uint32_t i = 0; i < old_cap; i++)
        if (old[i] != NULL)
            *place_of(all, old[i]->id) = old[i];
    free(old);
    return true;
}

struct tm_session *tm_session_open(struct tm_sessions *all, const struct tm_session_peer *peer,
                                   void *owner)
{
    const char *password = all->router->password(all->router->host);
    struct tm_session *s = NULL;
    all->stats.connections++;
    if (all->router->clients(all->router->host) < all->limits.clients && has_place(all))
        s = tm_session_alloc(all, sizeof *s);
    if (s == NULL) {
        all->stats.rejected++;
        return NULL;
    }
    *s = (struct tm_session){.all = all,
                             .owner = owner,
                             .head = 1,
                             .tail = 1,
                             .resp = 2,
                             .watch_slot = -1,
                             .told_input = true,
                             .opened_ms = tm_session_now_ms(all),
                             .last_ms = tm_session_now_ms(all),
                             .authenticated = password == NULL || password[0] == 0,
                             .peer = *peer};
    take_id(all, s);
    all->stats.clients++;
    return s;
}

static void unlink_ready(struct tm_session *s)
{
    struct tm_session **at = &s->all->ready_first, *last = NULL;
    while (*at != NULL && *at != s) {
        last = *at;
        at = &(*at)->ready_next;
    }
    if (*at == s)
        *at = s->ready_next;
    if (s->all->ready_last == s)
        s->all->ready_last = last;
    s->ready = false;
}

static void unlink_stalled(struct tm_session *s)
{
    struct tm_session **at = &s->all->stalled_first;
    while (*at != NULL && *at != s)
        at = &(*at)->stalled_next;
    if (*at == s)
        *at = s->stalled_next;
    s->stalled = false;
}

static void drop_input(struct tm_session *s)
{
    tm_session_free(s->all, s->in, s->in_cap);
    s->in = NULL;
    s->in_at = s->in_len = s->in_cap = 0;
}

void tm_session_free_if_done(struct tm_session *s)
{
    struct tm_sessions *all = s->all;
    TM_ASSERT(s->closed);
    if (s->watching || (s->watch_token != 0 && !tm_session_unwatch(s)))
        return;
    if (s->stalled)
        unlink_stalled(s);
    tm_session_entries_free(s);
    *place_of(all, s->id) = NULL;
    all->places--;
    tm_session_free(all, s, sizeof *s);
}

void tm_session_close(struct tm_session *s)
{
    struct tm_sessions *all = s->all;
    TM_ASSERT(!s->closed && !s->running);
    if (s->ready)
        unlink_ready(s);
    s->closed = s->dead = true;
    all->stats.clients--;
    drop_input(s);
    tm_session_out_free(s);
    tm_session_written_free(s);
    tm_multi_free(s, &s->multi);
    tm_session_names_free(s);
    tm_session_free_if_done(s);
}

void tm_session_doom(struct tm_session *s, const char *reason)
{
    if (s->dead)
        return;
    s->dead = true;
    s->all->stats.closed_by_limit++;
    tm_ctx_log(s->all->ctx, TM_LOG_WARN, "client_closed",
               "reason=%s id=%llu addr=%s unsent=%zu unread=%zu", reason, (unsigned long long)s->id,
               s->peer.addr, s->out_bytes, s->in_len - s->in_at);
    tm_session_mark_ready(s);
}

uint64_t tm_session_id(const struct tm_session *s)
{
    return s->id;
}

void *tm_session_owner(const struct tm_session *s)
{
    return s->owner;
}

/* ---- Input ---- */

bool tm_session_wants_input(const struct tm_session *s)
{
    return can_go(s);
}

bool tm_session_wants_close(const struct tm_session *s)
{
    return s->dead || (s->ending && s->head == s->tail && s->out_bytes == 0);
}

/* Lets the worker know if it is to do something else than it was told. */
static void tell(struct tm_session *s)
{
    if (can_go(s) != s->told_input || tm_session_wants_close(s))
        tm_session_mark_ready(s);
}

static void answer_broken(struct tm_session *s)
{
    char text[100] = "ERR ";
    tm_resp_parse_error(&s->parser, text + 4, sizeof text - 4);
    tm_ctx_log(s->all->ctx, TM_LOG_INFO, "client_protocol_error", "id=%llu addr=%s error=\"%s\"",
               (unsigned long long)s->id, s->peer.addr, text + 4);
    s->reply_off = s->skip_reply = false;
    tm_session_error(s, text);
    s->ending = true;
}

/* One command at the start of data: its length if it was executed, 0 if it must wait. */
static size_t run_one(struct tm_session *s, const uint8_t *data, size_t len)
{
    struct tm_sessions *all = s->all;
    unsigned argc;
    size_t used = 0;
    all->parse.max_args = all->limits.args;
    all->parse.max_arg_bytes = all->limits.query_bytes;
    all->parse.unauthenticated = !s->authenticated;
    switch (tm_resp_parse(&s->parser, &all->parse, data, len, all->argv, &argc, &used)) {
    case TM_RESP_MORE:
        if (len > all->limits.query_bytes)
            tm_session_doom(s, "query_limit");
        return 0;
    case TM_RESP_BROKEN:
        answer_broken(s);
        return 0;
    case TM_RESP_DONE:
        break;
    }
    enum tm_step step = argc > 0 ? tm_session_dispatch(s, all->argv, argc) : TM_STEP_DONE;
    s->barrier = step == TM_STEP_BARRIER;
    s->full = step == TM_STEP_FULL;
    if (s->full)
        tm_session_stall(s);
    return step == TM_STEP_DONE ? used : 0;
}

/* Executes commands as long as nothing hinders; returns how many bytes they took. */
static size_t run(struct tm_session *s, const uint8_t *data, size_t len)
{
    size_t done = 0;
    s->running = true;
    while (done < len && can_go(s)) {
        size_t used = run_one(s, data + done, len - done);
        if (used == 0)
            break;
        done += used;
    }
    s->running = false;
    tell(s);
    return done;
}

static void run_buffered(struct tm_session *s)
{
    s->in_at += run(s, s->in + s->in_at, s->in_len - s->in_at);
    if (s->in_at == s->in_len || s->dead || s->ending)
        drop_input(s);
}

void tm_session_continue(struct tm_session *s)
{
    if (s->head == s->tail)
        s->barrier = false;
    if (s->running || s->closed)
        return;
    if (s->in_len > s->in_at && can_go(s))
        run_buffered(s);
    tell(s);
}

static void keep_input(struct tm_session *s, const uint8_t *data, size_t len)
{
    if (s->in_at > 0) {
        memmove(s->in, s->in + s->in_at, s->in_len - s->in_at);
        s->in_len -= s->in_at;
        s->in_at = 0;
    }
    if (!tm_session_grow(s->all, &s->in, &s->in_cap, s->in_len, s->in_len + len)) {
        tm_session_doom(s, "memory");
        return;
    }
    memcpy(s->in + s->in_len, data, len);
    s->in_len += len;
}

void tm_sessions_coming(const struct tm_sessions *all, const struct tm_session *const *sessions,
                        const struct tm_bytes *data, unsigned count)
{
    const struct tm_router *router = all->router;
    struct tm_bytes keys[TM_SESSIONS_COMING];
    unsigned n = 0;
    TM_ASSERT(count <= TM_SESSIONS_COMING);
    for (unsigned i = 0; i < count; i++) {
        if (sessions[i] == NULL)
            continue;
        for (size_t at = 0; at < offsetof(struct tm_session, peer); at += 64)
            __builtin_prefetch((const uint8_t *)sessions[i] + at);
        n += tm_resp_peek(data[i], 1, &keys[n]);
    }
    if (n > 0 && router->coming != NULL)
        router->coming(router->host, keys, n);
}

void tm_session_input(struct tm_session *s, const uint8_t *data, size_t len)
{
    TM_ASSERT(!s->closed && !s->running);
    s->all->stats.input_bytes += len;
    s->last_ms = tm_session_now_ms(s->all);
    if (s->dead || s->ending || len == 0)
        return;
    if (s->in_len > s->in_at) {
        keep_input(s, data, len);
        if (can_go(s))
            run_buffered(s);
        return;
    }
    size_t used = run(s, data, len);
    if (used < len && !s->dead && !s->ending)
        keep_input(s, data + used, len - used);
}
