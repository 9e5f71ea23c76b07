/* session_multi.c: MULTI, EXEC, DISCARD, WATCH, UNWATCH.
 *
 * After MULTI commands are checked and kept as bytes.  EXEC sends the keyed ones as one request to
 * the one partition that owns them all; it evaluates them in one go and writes one record.  Local
 * commands (PING, TIME ...) may stand among them: they are run when the answer is written, and
 * their replies put in their places.
 *
 * All keys of a transaction, the watched ones included, lie in one slot: else EXEC is CROSSSLOT, as
 * in redis's cluster mode.
 *
 * A watch lives at the leader, under a token: a mark set by any change of a watched key, or of the
 * leader.  The token is spent by EXEC, and given back by UNWATCH, DISCARD and the end of the
 * connection. */
#include "actors/session_internal.h"

#define CROSSSLOT "CROSSSLOT Keys in request don't hash to the same slot"

void tm_multi_free(struct tm_session *s, struct tm_multi **multi)
{
    struct tm_multi *m = *multi;
    *multi = NULL;
    if (m == NULL)
        return;
    tm_words_free(s->all, &m->words);
    tm_session_unhold(s, m->reply, m->reply_len);
    tm_session_free(s->all, m, sizeof *m);
}

void tm_multi_abort(struct tm_session *s)
{
    if (s->multi != NULL)
        s->multi->aborted = true;
}

static void refuse_queued(struct tm_session *s, const char *text)
{
    tm_multi_abort(s);
    tm_session_error(s, text);
}

/* A command whose keys lie in several slots is refused at once, as in redis; one that does not go
 * with those before it, or is about all keys, makes EXEC fail. */
static bool slot_fits(struct tm_session *s, const struct tm_command *c, int32_t slot)
{
    struct tm_multi *m = s->multi;
    int32_t other = m->slot >= 0 ? m->slot : s->watch_slot;
    if (slot == -2) {
        refuse_queued(s, CROSSSLOT);
        return false;
    }
    m->crossed |= (c->flags & TM_CMD_BROADCAST) != 0 || (slot >= 0 && other >= 0 && slot != other);
    if (slot >= 0)
        m->slot = slot;
    return true;
}

/* Whether the subcommand is one, with as many words as it takes; else the error is answered. */
static bool subcommand_fits(struct tm_session *s, const struct tm_command *c,
                            const struct tm_bytes *argv, unsigned argc)
{
    bool container = c->local == tm_session_local_client || c->local == tm_session_local_config ||
                     c->local == tm_session_local_command || c->local == tm_session_local_cluster ||
                     c->local == tm_session_local_slowlog || c->local == tm_session_local_latency;
    if (!container || argc < 2)
        return true;
    struct tm_resp_writer *w = tm_session_scratch(s, s->resp);
    s->all->checking = true;
    c->local(s, w, argv, argc);
    s->all->checking = false;
    if (w->len == 0)
        return true;
    tm_multi_abort(s);
    tm_session_add_scratch(s);
    return false;
}

static bool keep_command(struct tm_session *s, const struct tm_bytes *argv, unsigned argc)
{
    struct tm_words *w = &s->multi->words;
    size_t size = w->len;
    for (unsigned i = 0; i < argc; i++)
        size += argv[i].len + 4;
    if (size > s->all->limits.query_bytes) {
        refuse_queued(s, "ERR the transaction is larger than client-query-buffer-bytes");
        return false;
    }
    bool ok = tm_words_add_count(s->all, w, argc);
    for (unsigned i = 0; ok && i < argc; i++)
        ok = tm_words_add(s->all, w, argv[i]);
    if (!ok)
        tm_session_doom(s, "memory");
    return ok;
}

void tm_multi_queue(struct tm_session *s, const struct tm_command *c, const struct tm_bytes *argv,
                    unsigned argc)
{
    struct tm_multi *m = s->multi;
    bool keyed = (c->flags & TM_CMD_LOCAL) == 0;
    if (keyed ? !slot_fits(s, c, tm_session_slot(c, argv, argc))
              : !subcommand_fits(s, c, argv, argc))
        return;
    for (unsigned i = 1; (c->flags & TM_CMD_WRITE) != 0 && i < argc; i++)
        if (argv[i].len > s->all->limits.max_entity_bytes) {
            refuse_queued(s, "ERR an argument is larger than max-entity-bytes");
            return;
        }
    if (!keep_command(s, argv, argc))
        return;
    m->commands++;
    m->keyed += keyed;
    m->word_count += keyed ? argc : 0;
    m->hello |= c->local == tm_session_local_hello;
    tm_session_simple(s, "QUEUED");
}

bool tm_multi_queue_wait(struct tm_session *s, const struct tm_bytes *argv, unsigned argc,
                         uint32_t *place)
{
    static const uint8_t none[4];
    struct tm_bytes words[5];
    TM_ASSERT(argc < TM_ARRAY_LEN(words));
    memcpy(words, argv, argc * sizeof words[0]);
    words[argc] = tm_bytes_of(none, sizeof none);
    if (!keep_command(s, words, argc + 1))
        return false;
    s->multi->commands++;
    *place = (uint32_t)(s->multi->words.len - sizeof none);
    return true;
}

void tm_multi_count_copies(struct tm_session *s, uint32_t place, uint32_t copies)
{
    TM_ASSERT(s->multi != NULL); /* the fence keeps whatever would end it waiting */
    tm_store32(s->multi->words.data + place, copies);
}

enum tm_step tm_session_steer_multi(struct tm_session *s, const struct tm_bytes *argv,
                                    unsigned argc)
{
    (void)argv;
    (void)argc;
    if (s->multi != NULL) {
        tm_session_error(s, "ERR MULTI calls can not be nested");
        return TM_STEP_DONE;
    }
    s->multi = tm_session_alloc(s->all, sizeof *s->multi);
    if (s->multi == NULL) {
        tm_session_doom(s, "memory");
        return TM_STEP_DONE;
    }
    *s->multi = (struct tm_multi){.slot = -1};
    tm_session_simple(s, "OK");
    return TM_STEP_DONE;
}

/* ---- Watches ---- */

bool tm_session_unwatch(struct tm_session *s)
{
    const struct tm_router *router = s->all->router;
    if (s->watch_token != 0) {
        struct tm_request r = {
            .id = 1,
            .kind = TM_REQUEST_UNWATCH,
            .partition = tm_partition_of_slot((uint32_t)s->watch_slot, router->partitions),
            .watch_token = s->watch_token};
        if (router->submit(router->host, s->id, &r) == TM_ERR_FULL) {
            tm_session_stall(s);
            return false;
        }
    }
    s->watch_token = 0;
    s->watch_slot = -1;
    return true;
}

enum tm_step tm_session_steer_watch(struct tm_session *s, const struct tm_bytes *argv,
                                    unsigned argc)
{
    if (s->multi != NULL) {
        tm_session_error(s, "ERR WATCH inside MULTI is not allowed");
        return TM_STEP_DONE;
    }
    if (s->watching)
        return TM_STEP_BARRIER;
    int32_t slot = tm_session_slot(tm_command_find(argv[0]), argv, argc);
    if (slot < 0 || (s->watch_slot >= 0 && slot != s->watch_slot)) {
        tm_session_error(s, CROSSSLOT);
        return TM_STEP_DONE;
    }
    struct tm_request_command command = {.argv = argv + 1, .argc = argc - 1};
    struct tm_request r = {.kind = TM_REQUEST_WATCH,
                           .partition =
                               tm_partition_of_slot((uint32_t)slot, s->all->router->partitions),
                           .resp = s->resp,
                           .commands = &command,
                           .count = 1,
                           .watch_token = s->watch_token};
    int32_t before = s->watch_slot;
    if (tm_session_entry(s, TM_ENTRY_WATCH) == NULL)
        return TM_STEP_DONE;
    s->watching = true;
    s->watch_slot = slot;
    if (tm_session_submit(s, s->tail - 1, 0, &r))
        return TM_STEP_DONE;
    s->watching = false;
    s->watch_slot = before;
    tm_session_entry_undo(s);
    return TM_STEP_FULL;
}

enum tm_step tm_session_steer_unwatch(struct tm_session *s, const struct tm_bytes *argv,
                                      unsigned argc)
{
    if (s->multi != NULL) {
        tm_multi_queue(s, tm_command_find(argv[0]), argv, argc);
        return TM_STEP_DONE;
    }
    if (s->watching)
        return TM_STEP_BARRIER;
    if (!tm_session_unwatch(s))
        return TM_STEP_FULL;
    tm_session_simple(s, "OK");
    return TM_STEP_DONE;
}

enum tm_step tm_session_steer_discard(struct tm_session *s, const struct tm_bytes *argv,
                                      unsigned argc)
{
    (void)argv;
    (void)argc;
    if (s->multi == NULL) {
        tm_session_error(s, "ERR DISCARD without MULTI");
        return TM_STEP_DONE;
    }
    if (s->watching)
        return TM_STEP_BARRIER;
    if (!tm_session_unwatch(s))
        return TM_STEP_FULL;
    tm_multi_free(s, &s->multi);
    tm_session_simple(s, "OK");
    return TM_STEP_DONE;
}

/* ---- EXEC ---- */

/* The keyed commands of the transaction, their words behind them, in one block. */
static struct tm_request_command *list_keyed(struct tm_session *s, const struct tm_multi *m,
                                             size_t *bytes)
{
    *bytes = m->keyed * sizeof(struct tm_request_command) + m->word_count * sizeof(struct tm_bytes);
    struct tm_request_command *list = tm_session_alloc(s->all, *bytes);
    if (list == NULL)
        return NULL;
    struct tm_bytes *words = (struct tm_bytes *)(void *)(list + m->keyed);
    size_t at = 0;
    for (uint32_t i = 0, k = 0; i < m->commands; i++) {
        uint32_t argc = tm_words_count(&m->words, &at);
        struct tm_bytes name = tm_words_next(&m->words, &at);
        bool keyed = (tm_command_find(name)->flags & TM_CMD_LOCAL) == 0;
        if (keyed)
            list[k++] = (struct tm_request_command){.argv = words, .argc = argc};
        if (keyed)
            *words++ = name;
        for (uint32_t w = 1; w < argc; w++) {
            struct tm_bytes word = tm_words_next(&m->words, &at);
            if (keyed)
                *words++ = word;
        }
    }
    return list;
}

/* Sends the transaction; s->multi is used up unless the router is full. */
static enum tm_step submit_multi(struct tm_session *s)
{
    struct tm_multi *m = s->multi;
    bool mixed = m->keyed < m->commands;
    int32_t slot = m->slot >= 0 ? m->slot : s->watch_slot;
    size_t bytes;
    struct tm_request_command *list = list_keyed(s, m, &bytes);
    struct tm_entry *e =
        list != NULL ? tm_session_entry(s, mixed ? TM_ENTRY_EXEC : TM_ENTRY_SINGLE) : NULL;
    if (e == NULL) {
        tm_session_free(s->all, list, bytes);
        tm_session_doom(s, "memory");
        return TM_STEP_DONE;
    }
    uint64_t token = s->watch_token;
    int32_t watch_slot = s->watch_slot;
    struct tm_request r = {.kind = TM_REQUEST_MULTI,
                           .partition = tm_partition_of_slot(slot < 0 ? 0 : (uint32_t)slot,
                                                             s->all->router->partitions),
                           .resp = s->resp,
                           .commands = list,
                           .count = m->keyed,
                           .watch_token = token};
    e->partition = r.partition;
    e->multi = mixed ? m : NULL;
    s->multi = NULL;
    s->watch_token = 0;
    s->watch_slot = -1;
    bool taken = tm_session_submit(s, s->tail - 1, 0, &r);
    tm_session_free(s->all, list, bytes);
    if (!taken) {
        tm_session_entry_at(s, s->tail - 1)->multi = NULL;
        tm_session_entry_undo(s);
        s->multi = m;
        s->watch_token = token;
        s->watch_slot = watch_slot;
        return TM_STEP_FULL;
    }
    if (!mixed)
        tm_multi_free(s, &m);
    return TM_STEP_DONE;
}

/* Only local commands, and nothing watched: nobody else is to be asked. */
static void answer_local(struct tm_session *s)
{
    struct tm_entry *e = tm_session_entry(s, TM_ENTRY_EXEC);
    if (e == NULL)
        return;
    e->multi = s->multi;
    s->multi = NULL;
    e->done = true;
    tm_session_flush(s);
}

enum tm_step tm_session_steer_exec(struct tm_session *s, const struct tm_bytes *argv, unsigned argc)
{
    (void)argv;
    (void)argc;
    if (s->multi == NULL) {
        tm_session_error(s, "ERR EXEC without MULTI");
        return TM_STEP_DONE;
    }
    if (s->watching)
        return TM_STEP_BARRIER;
    if (s->multi->aborted) {
        if (!tm_session_unwatch(s))
            return TM_STEP_FULL;
        tm_multi_free(s, &s->multi);
        tm_session_error(s, "EXECABORT Transaction discarded because of previous errors.");
        return TM_STEP_DONE;
    }
    if (s->multi->crossed) {
        if (!tm_session_unwatch(s))
            return TM_STEP_FULL;
        tm_multi_free(s, &s->multi);
        tm_session_error(s, CROSSSLOT);
        return TM_STEP_DONE;
    }
    s->fence = s->multi->hello;
    if (s->multi->keyed > 0 || s->watch_token != 0)
        return submit_multi(s);
    answer_local(s);
    return TM_STEP_DONE;
}

/* Runs the local command of argc words at *at of the queue.  One that says nothing counts as OK, as
 * does UNWATCH, which has nothing left to do: EXEC spent the watch. */
static void compose_local(struct tm_session *s, const struct tm_words *words, size_t *at,
                          uint32_t argc, struct tm_resp_writer *w)
{
    struct tm_bytes *argv = tm_session_alloc(s->all, argc * sizeof *argv);
    size_t before = w->len;
    if (argv == NULL) {
        w->overflow = true;
        return;
    }
    for (uint32_t i = 0; i < argc; i++)
        argv[i] = tm_words_next(words, at);
    const struct tm_command *c = tm_command_find(argv[0]);
    if (c->local != NULL)
        c->local(s, w, argv, argc);
    else if (c->steer == tm_session_steer_wait || c->steer == tm_session_steer_waitaof)
        tm_session_compose_wait(w, argv, argc);
    if (w->len == before)
        tm_resp_simple(w, "OK");
    tm_session_free(s->all, argv, argc * sizeof *argv);
}

/* Skips the words of a keyed command and takes its reply from those of the partition. */
static void compose_keyed(struct tm_multi *m, size_t *at, uint32_t argc, struct tm_resp_writer *w)
{
    struct tm_resp_skipper skipper = {0};
    size_t used = 0;
    for (uint32_t i = 0; i < argc; i++)
        tm_words_next(&m->words, at);
    if (tm_resp_skip(&skipper, m->reply + m->reply_at, m->reply_len - m->reply_at, &used) !=
        TM_RESP_DONE) {
        w->overflow = true;
        return;
    }
    tm_resp_raw(w, tm_bytes_of(m->reply + m->reply_at, used));
    m->reply_at += used;
}

void tm_multi_compose(struct tm_session *s, struct tm_entry *e)
{
    struct tm_multi *m = e->multi;
    struct tm_resp_writer *w = &s->all->inner;
    struct tm_resp_value v = {.type = TM_RESP_ARRAY};
    size_t at = 0;
    if (e->mute || s->dead)
        return;
    if (m->reply != NULL)
        tm_resp_read(m->reply, m->reply_len, &v, &m->reply_at);
    if (v.type != TM_RESP_ARRAY) { /* a watched key changed, or an error of the whole */
        tm_session_count_reply(s, tm_bytes_of(m->reply, m->reply_len));
        tm_session_out(s, tm_bytes_of(m->reply, m->reply_len));
        return;
    }
    w->limit = s->all->limits.output_bytes;
    tm_resp_writer_reset(w, e->resp, TM_MIB(1));
    tm_resp_array(w, m->commands);
    for (uint32_t i = 0; i < m->commands && !w->overflow; i++) {
        uint32_t argc = tm_words_count(&m->words, &at);
        size_t name_at = at;
        struct tm_bytes name = tm_words_next(&m->words, &name_at);
        if ((tm_command_find(name)->flags & TM_CMD_LOCAL) != 0)
            compose_local(s, &m->words, &at, argc, w);
        else
            compose_keyed(m, &at, argc, w);
    }
    if (w->overflow)
        tm_session_doom(s, "output_limit");
    tm_session_count_reply(s, tm_resp_writer_bytes(w));
    tm_session_out(s, tm_resp_writer_bytes(w));
}
