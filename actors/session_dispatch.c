/* session_dispatch.c: one command: what redis checks first, then where it goes; and the way back.
 *
 * The happy path is a command with one key: its slot gives the partition, an entry is made at the
 * tail of the ring, the request goes to the router.  The answer finds its entry by number; at the
 * head of the ring the reply goes straight to the output, else it is kept in the entry (short ones
 * in place) until those before it have left.
 *
 * What a partition refused or lost becomes an error here: refused = it may be sent again; unknown =
 * it may have happened, and nobody but the client can decide what then. */
#include "actors/session_internal.h"

#include "runtime/crc16.h"

#include <stdio.h>

#define RING_FIRST 8

/* ---- Entries ---- */

static bool grow_ring(struct tm_session *s)
{
    uint32_t cap = s->ring_cap > 0 ? s->ring_cap * 2 : RING_FIRST;
    struct tm_entry *ring = tm_session_alloc(s->all, cap * sizeof *ring);
    if (ring == NULL)
        return false;
    for (uint64_t n = s->head; n < s->tail; n++)
        ring[n & (cap - 1)] = s->ring[n & (s->ring_cap - 1)];
    tm_session_free(s->all, s->ring, s->ring_cap * sizeof *ring);
    s->ring = ring;
    s->ring_cap = cap;
    return true;
}

struct tm_entry *tm_session_entry(struct tm_session *s, enum tm_entry_kind kind)
{
    if (s->tail - s->head == s->ring_cap && !grow_ring(s)) {
        tm_session_doom(s, "memory");
        return NULL;
    }
    struct tm_entry *e = &s->ring[s->tail++ & (s->ring_cap - 1)];
    e->kind = (uint8_t)kind;
    e->done = false;
    e->mute = s->reply_off || s->skip_reply;
    e->resp = s->resp;
    e->partition = 0;
    e->len = 0;
    e->gather = NULL;
    return e;
}

struct tm_entry *tm_session_entry_at(const struct tm_session *s, uint64_t number)
{
    if (number < s->head || number >= s->tail)
        return NULL;
    return &s->ring[number & (s->ring_cap - 1)];
}

static void free_entry(struct tm_session *s, struct tm_entry *e)
{
    if (e->len > TM_SMALL_REPLY)
        tm_session_unhold(s, e->block, e->len);
    e->len = 0;
    if (e->kind == TM_ENTRY_GATHER)
        tm_gather_free(s, e->gather);
    else if (e->kind == TM_ENTRY_CHAIN)
        tm_chain_free(s, e->chain);
    else if (e->kind == TM_ENTRY_EXEC)
        tm_multi_free(s, &e->multi);
    e->gather = NULL;
}

void tm_session_entry_undo(struct tm_session *s)
{
    TM_ASSERT(s->tail > s->head);
    free_entry(s, &s->ring[--s->tail & (s->ring_cap - 1)]);
}

void tm_session_entries_free(struct tm_session *s)
{
    while (s->tail > s->head)
        tm_session_entry_undo(s);
    tm_session_free(s->all, s->ring, s->ring_cap * sizeof s->ring[0]);
    s->ring = NULL;
    s->ring_cap = 0;
}

static bool is_head(const struct tm_session *s, const struct tm_entry *e)
{
    return e == &s->ring[s->head & (s->ring_cap - 1)];
}

void tm_session_count_reply(struct tm_session *s, struct tm_bytes reply)
{
    s->all->stats.replies++;
    s->all->stats.errors += reply.len > 0 && reply.data[0] == '-';
}

void tm_session_entry_reply(struct tm_session *s, struct tm_entry *e, struct tm_bytes reply)
{
    TM_ASSERT(!e->done && e->len == 0);
    e->done = true;
    if (e->mute || s->dead)
        return;
    tm_session_count_reply(s, reply);
    if (is_head(s, e)) {
        tm_session_out(s, reply);
        return;
    }
    if (reply.len <= TM_SMALL_REPLY) {
        memcpy(e->small, reply.data, reply.len);
    } else {
        uint8_t *block = tm_session_hold(s, reply);
        if (block == NULL)
            return;
        e->block = block;
    }
    e->len = (uint32_t)reply.len;
}

void tm_session_flush(struct tm_session *s)
{
    while (s->head < s->tail) {
        struct tm_entry *e = &s->ring[s->head & (s->ring_cap - 1)];
        if (!e->done)
            break;
        if (e->kind == TM_ENTRY_GATHER)
            tm_gather_compose(s, e);
        else if (e->kind == TM_ENTRY_CHAIN)
            tm_chain_compose(s, e);
        else if (e->kind == TM_ENTRY_EXEC)
            tm_multi_compose(s, e);
        else if (e->len > 0)
            tm_session_out(s, tm_bytes_of(e->len > TM_SMALL_REPLY ? e->block : e->small, e->len));
        free_entry(s, e);
        s->head++;
    }
    if (s->head == s->tail && s->ring_cap > RING_FIRST * 8)
        tm_session_entries_free(s);
}

struct tm_resp_writer *tm_session_scratch(struct tm_session *s, uint8_t resp)
{
    s->all->scratch.limit = s->all->limits.output_bytes;
    tm_resp_writer_reset(&s->all->scratch, resp, TM_MIB(1));
    return &s->all->scratch;
}

struct tm_resp_writer *tm_session_text(struct tm_session *s)
{
    s->all->text.limit = s->all->limits.output_bytes;
    tm_resp_writer_reset(&s->all->text, 2, TM_MIB(1));
    return &s->all->text;
}

void tm_session_entry_scratch(struct tm_session *s, struct tm_entry *e)
{
    struct tm_resp_writer *w = &s->all->scratch;
    if (w->overflow) {
        tm_session_doom(s, "output_limit");
        tm_resp_writer_reset(w, e->resp, TM_MIB(1));
    }
    tm_session_entry_reply(s, e, tm_resp_writer_bytes(w));
}

void tm_session_add_scratch(struct tm_session *s)
{
    struct tm_entry *e = tm_session_entry(s, TM_ENTRY_TEXT);
    if (e == NULL)
        return;
    tm_session_entry_scratch(s, e);
    tm_session_flush(s);
}

void tm_session_error(struct tm_session *s, const char *text)
{
    tm_resp_error(tm_session_scratch(s, s->resp), text);
    tm_session_add_scratch(s);
}

void tm_session_simple(struct tm_session *s, const char *text)
{
    tm_resp_simple(tm_session_scratch(s, s->resp), text);
    tm_session_add_scratch(s);
}

/* ---- Answers ---- */

static const char *refusal_text(enum tm_err err)
{
    switch (err) {
    case TM_ERR_NOSPACE:
        return "DISKFULL no space left for writes: free some, the node resumes by itself";
    case TM_ERR_NOMEM:
        return "OOM command not allowed when used memory > 'maxmemory'.";
    case TM_ERR_TOOBIG:
        return "ERR the command is larger than a partition takes: see max-entity-bytes";
    case TM_ERR_FULL:
    case TM_ERR_AGAIN:
        return "TRYAGAIN the partition is busy: nothing was done, try again";
    case TM_ERR_IO:
    case TM_ERR_CORRUPT:
        return "MISCONF the disk of the partition's leader failed: nothing was done";
    case TM_ERR_NOREPLICAS:
        return "NOREPLICAS Not enough good replicas to write.";
    case TM_ERR_BACKLOG:
        return "BACKLOGFULL a linked cluster lags by more than maxBacklogBytes or maxBacklogAge: "
               "nothing was done, see INFO links";
    default:
        return "CLUSTERDOWN the partition has no leader: nothing was done, try again";
    }
}

void tm_session_write_refusal(struct tm_resp_writer *w, enum tm_answer_status status,
                              enum tm_err err)
{
    if (status == TM_ANSWER_UNKNOWN)
        tm_resp_errorf(
            w, "TIMEOUT outcome unknown: the command may or may not have been executed%s%s",
            err != TM_ERR_TIMEOUT ? ": " : "", err != TM_ERR_TIMEOUT ? tm_err_text(err) : "");
    else
        tm_resp_error(w, refusal_text(err));
}

static void answer_single(struct tm_session *s, struct tm_entry *e, const struct tm_answer *a)
{
    if (a->status == TM_ANSWER_DONE) {
        tm_session_entry_reply(s, e, a->reply);
        return;
    }
    tm_session_write_refusal(tm_session_scratch(s, e->resp), a->status, a->err);
    tm_session_entry_scratch(s, e);
}

/* A token of 0 comes from a partition that had no memory for it. */
static void answer_watch(struct tm_session *s, struct tm_entry *e, const struct tm_answer *a)
{
    struct tm_resp_writer *w = tm_session_scratch(s, e->resp);
    bool done = a->status == TM_ANSWER_DONE;
    s->watching = false;
    if (done && a->watch_token != 0) {
        s->watch_token = a->watch_token;
        tm_resp_simple(w, "OK");
    } else {
        if (s->watch_token == 0)
            s->watch_slot = -1;
        tm_session_write_refusal(w, done ? TM_ANSWER_REFUSED : a->status,
                                 done ? TM_ERR_NOMEM : a->err);
    }
    tm_session_entry_scratch(s, e);
}

static void answer_exec(struct tm_session *s, struct tm_entry *e, const struct tm_answer *a)
{
    if (a->status != TM_ANSWER_DONE) {
        e->kind = TM_ENTRY_TEXT;
        struct tm_multi *multi = e->multi;
        tm_multi_free(s, &multi);
        answer_single(s, e, a);
        return;
    }
    if (!e->mute)
        e->multi->reply = tm_session_hold(s, a->reply);
    e->multi->reply_len = e->multi->reply != NULL ? a->reply.len : 0;
    e->done = true;
}

void tm_session_on_answer(struct tm_session *s, const struct tm_answer *a)
{
    uint64_t number = a->id >> TM_PART_BITS;
    uint32_t part = a->id & ((1u << TM_PART_BITS) - 1);
    struct tm_entry *e = tm_session_entry_at(s, number);
    if (e == NULL || e->done)
        return;
    s->reply_size = (uint32_t)tm_max_u64(s->reply_size - s->reply_size / 8, a->reply.len);
    if (a->index != 0 && e->kind != TM_ENTRY_GATHER && !s->closed)
        tm_session_note_write(s, e->partition, a->index, a->term);
    switch ((enum tm_entry_kind)e->kind) {
    case TM_ENTRY_TEXT:
        return;
    case TM_ENTRY_SINGLE:
        answer_single(s, e, a);
        break;
    case TM_ENTRY_WATCH:
        answer_watch(s, e, a);
        break;
    case TM_ENTRY_GATHER:
        tm_gather_answer(s, e, part, a);
        break;
    case TM_ENTRY_CHAIN:
        tm_chain_answer(s, number, a);
        break;
    case TM_ENTRY_EXEC:
        answer_exec(s, e, a);
        break;
    }
    tm_session_flush(s);
    tm_session_continue(s);
}

bool tm_session_submit(struct tm_session *s, uint64_t number, uint32_t part, struct tm_request *r)
{
    const struct tm_router *router = s->all->router;
    r->id = number << TM_PART_BITS | part;
    enum tm_err err = router->submit(router->host, s->id, r);
    if (err == TM_ERR_FULL)
        return false;
    if (err != TM_OK) {
        struct tm_answer a = {.id = r->id, .status = TM_ANSWER_REFUSED, .err = err};
        tm_session_on_answer(s, &a);
    }
    return true;
}

/* ---- Commands ---- */

static void unknown_command(struct tm_session *s, const struct tm_bytes *argv, unsigned argc)
{
    char args[132];
    size_t len = 0;
    args[0] = 0;
    for (unsigned i = 1; i < argc && len < 128; i++) {
        int room = 128 - (int)len;
        int take = argv[i].len < (size_t)room ? (int)argv[i].len : room;
        int n =
            snprintf(args + len, sizeof args - len, "'%.*s' ", take, (const char *)argv[i].data);
        len = (size_t)tm_min_u64(len + (size_t)n, sizeof args - 1);
    }
    tm_resp_errorf(tm_session_scratch(s, s->resp),
                   "ERR unknown command '%.*s', with args beginning with: %s",
                   (int)tm_min_u64(argv[0].len, 128), (const char *)argv[0].data, args);
    tm_session_add_scratch(s);
}

/* What redis checks before it looks at what the command is; true: an error was answered. */
static bool refused(struct tm_session *s, const struct tm_command *c, const struct tm_bytes *argv,
                    unsigned argc)
{
    if (c == NULL) {
        unknown_command(s, argv, argc);
    } else if (!tm_command_arity_ok(c, argc)) {
        tm_session_wrong_arity(tm_session_scratch(s, s->resp), argv);
        tm_session_add_scratch(s);
    } else if (!s->authenticated && (c->flags & TM_CMD_NOAUTH) == 0) {
        tm_session_error(s, "NOAUTH Authentication required.");
    } else if (s->multi != NULL && (c->flags & TM_CMD_NOMULTI) != 0) {
        tm_session_error(s, "ERR Command not allowed inside a transaction");
    } else {
        return false;
    }
    tm_multi_abort(s);
    return true;
}

struct slot_search {
    const struct tm_bytes *argv;
    int32_t slot;
};

static void visit_key(void *host, unsigned position)
{
    struct slot_search *search = host;
    int32_t slot = (int32_t)tm_slot_of_key(search->argv[position]);
    if (search->slot == -1)
        search->slot = slot;
    else if (search->slot != slot)
        search->slot = -2;
}

int32_t tm_session_slot(const struct tm_command *c, const struct tm_bytes *argv, unsigned argc)
{
    int64_t slot;
    if (TM_UNLIKELY((c->flags & TM_CMD_INTERNAL) != 0))
        return tm_resp_to_i64(argv[1], &slot) ? (int32_t)slot : -1; /* CLUSTER|SLOT */
    if (c->first_key > 0 && c->first_key == c->last_key && (c->flags & TM_CMD_NUMKEYS) == 0)
        return (unsigned)c->first_key < argc ? (int32_t)tm_slot_of_key(argv[c->first_key]) : -1;
    struct slot_search search = {.argv = argv, .slot = -1};
    if (!tm_command_keys(c, argv, argc, visit_key, &search))
        return -3;
    return search.slot;
}

/* Some word of a write is larger than any entity may be. */
static bool too_big(const struct tm_session *s, const struct tm_command *c,
                    const struct tm_bytes *argv, unsigned argc)
{
    for (unsigned i = 1; (c->flags & TM_CMD_WRITE) != 0 && i < argc; i++)
        if (argv[i].len > s->all->limits.max_entity_bytes)
            return true;
    return false;
}

/* A command for one partition. */
static enum tm_step submit_single(struct tm_session *s, uint32_t partition,
                                  const struct tm_bytes *argv, unsigned argc)
{
    struct tm_request_command command = {.argv = argv, .argc = argc};
    struct tm_request r = {.kind = TM_REQUEST_EXEC,
                           .partition = partition,
                           .resp = s->resp,
                           .commands = &command,
                           .count = 1};
    struct tm_entry *e = tm_session_entry(s, TM_ENTRY_SINGLE);
    if (e == NULL)
        return TM_STEP_DONE;
    e->partition = r.partition;
    if (tm_session_submit(s, s->tail - 1, 0, &r))
        return TM_STEP_DONE;
    tm_session_entry_undo(s);
    return TM_STEP_FULL;
}

static enum tm_step dispatch_keyed(struct tm_session *s, const struct tm_command *c,
                                   const struct tm_bytes *argv, unsigned argc)
{
    if (TM_UNLIKELY(too_big(s, c, argv, argc))) {
        tm_session_error(s, "ERR an argument is larger than max-entity-bytes");
        return TM_STEP_DONE;
    }
    if ((c->flags & TM_CMD_BROADCAST) != 0)
        return tm_session_broadcast(s, c, argv, argc);
    uint32_t partitions = s->all->router->partitions;
    if ((c->flags & TM_CMD_SYSTEM) != 0)
        return submit_single(s, partitions, argv, argc);
    /* Without a key (OBJECT HELP, a bad number of keys) any partition will do: the command itself
     * knows what to say. */
    int32_t slot = tm_session_slot(c, argv, argc);
    if (slot != -2)
        return submit_single(s, tm_partition_of_slot(slot < 0 ? 0 : (uint32_t)slot, partitions),
                             argv, argc);
    if ((c->flags & TM_CMD_SCATTER) != 0)
        return tm_session_scatter(s, c, argv, argc);
    tm_session_error(s, "CROSSSLOT Keys in request don't hash to the same slot");
    return TM_STEP_DONE;
}

static void dispatch_local(struct tm_session *s, const struct tm_command *c,
                           const struct tm_bytes *argv, unsigned argc)
{
    struct tm_resp_writer *w = tm_session_scratch(s, s->resp);
    s->all->spread = false;
    c->local(s, w, argv, argc);
    if (s->all->spread)
        tm_session_ask_all(s, argv, argc);
    else if (w->len > 0 || w->overflow)
        tm_session_add_scratch(s);
}

enum tm_step tm_session_dispatch(struct tm_session *s, const struct tm_bytes *argv, unsigned argc)
{
    const struct tm_command *c = tm_command_find(argv[0]);
    enum tm_step step = TM_STEP_DONE;
    if (TM_UNLIKELY(s->fence) && !s->partial && s->head != s->tail)
        return TM_STEP_BARRIER;
    s->fence = false;
    if (c != NULL && TM_UNLIKELY((c->flags & TM_CMD_INTERNAL) != 0))
        c = NULL;
    if (!refused(s, c, argv, argc)) {
        s->last_command = c;
        if (TM_UNLIKELY(c->local == tm_session_local_cluster))
            c = tm_cluster_rewrite(s, c, &argv, &argc);
        if (c->steer != NULL)
            step = c->steer(s, argv, argc);
        else if (s->multi != NULL)
            tm_multi_queue(s, c, argv, argc);
        else if (c->local != NULL)
            dispatch_local(s, c, argv, argc);
        else
            step = dispatch_keyed(s, c, argv, argc);
    }
    if (step == TM_STEP_DONE) {
        s->all->stats.commands++;
        s->skip_reply = s->skip_next;
        s->skip_next = false;
    }
    return step;
}
