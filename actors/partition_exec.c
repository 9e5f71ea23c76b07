/* Evaluating requests at the leader.
 *
 * A write: what is due among its keys is expired by a record of its own; then the store's record
 * is opened, the command runs, and what it changed is appended to the log under the slot the
 * replica gave.  Nothing is undone unless the log refuses the finished record. */
#include "actors/partition_internal.h"

#include "actors/command.h"
#include "storage/entity.h"

#define EXPIRE_SLICE 32
#define PENDING_MAX  65536 /* replies that wait, with those at the gate */

/* The log has no room: because the disk is full, or because snapshots have yet to make some, which
 * passes. */
static enum tm_err no_room(const struct tm_partition *p, enum tm_err e)
{
    struct tm_disk *disk = p->env->ctx->disk;
    if (e != TM_ERR_NOSPACE || disk->free_bytes(disk) < 2 * p->env->options->wal_segment_bytes)
        return e;
    return TM_ERR_FULL;
}

/* Where the next record goes.  At the cap of the asynchronous window a write waits: whoever asked
 * asks again, and what is gathered leaves at once. */
static enum tm_err next_slot(struct tm_partition *p, struct tm_replica_slot *slot)
{
    if (p->clock_ahead)
        return TM_ERR_AGAIN;
    enum tm_err e = tm_replica_next(&p->replica, slot);
    if (e == TM_ERR_FULL && p->eventual) {
        tm_counter_add(p->env->ctx->counters, TM_COUNTER_async_window_waits, 1);
        p->env->window_full = true;
    }
    return e;
}

/* Opens, fills and logs one record.  On any refusal the store is as before. */
enum tm_err tm_partition_write(struct tm_partition *p,
                               void (*fill)(struct tm_partition *p, void *arg), void *arg,
                               uint64_t *index, uint64_t *term)
{
    struct tm_partition_env *env = p->env;
    struct tm_replica_slot slot;
    *index = 0;
    enum tm_err e = next_slot(p, &slot);
    if (e != TM_OK)
        return e;
    struct tm_record head = {.kind = TM_RECORD_EFFECT,
                             .partition = p->id,
                             .term = slot.term,
                             .index = slot.index,
                             .hlc = tm_hlc_now(env->hlc, tm_ctx_wall_ms(env->ctx)),
                             .origin = env->origin,
                             .prev_hash = slot.prev_hash};
    struct tm_record *record;
    tm_store_begin(p->store, env->record, TM_RECORD_MAX, &head);
    fill(p, arg);
    e = tm_store_finish(p->store, &record);
    if (e != TM_OK || record == NULL)
        return e;
    e = tm_log_append(p->log, tm_bytes_of(record, record->length), TM_WAL_EFFECT);
    if (e != TM_OK) {
        tm_store_undo(p->store, slot.index - 1);
        return no_room(p, e);
    }
    tm_watch_touch(&p->watches, record);
    tm_replica_appended(&p->replica, record);
    p->env->unshipped_bytes += record->length;
    tm_partition_mark(p);
    *index = slot.index;
    *term = slot.term;
    return TM_OK;
}

/* ---- expiry ---- */

static void expire_one(struct tm_partition *p, void *arg)
{
    const struct tm_bytes *key = arg;
    tm_store_expire(p->store, *key);
}

static void expire_slice(struct tm_partition *p, void *arg)
{
    const uint64_t *now_ms = arg;
    uint64_t expired = 0;
    const struct tm_entity *e;
    while (expired < EXPIRE_SLICE && (e = tm_store_due(p->store, *now_ms)) != NULL) {
        tm_store_expire(p->store, tm_entity_key(e));
        expired++;
    }
    tm_counter_add(p->env->ctx->counters, TM_COUNTER_entities_expired, expired);
}

void tm_partition_expire_due(struct tm_partition *p)
{
    uint64_t now_ms = tm_ctx_wall_ms(p->env->ctx), index, term;
    for (unsigned slices = 0; slices < 8 && tm_store_next_expiry(p->store) <= now_ms; slices++)
        if (tm_partition_write(p, expire_slice, &now_ms, &index, &term) != TM_OK || index == 0)
            return;
}

/* Calls visit for each key of a command. */
static void each_key(const struct tm_command *c, const struct tm_request_command *words,
                     void (*visit)(void *arg, struct tm_bytes key), void *arg)
{
    if (c->first_key == 0)
        return;
    int last = c->last_key < 0 ? (int)words->argc + c->last_key : c->last_key;
    for (int i = c->first_key; i <= last && i < (int)words->argc; i += c->key_step)
        visit(arg, words->argv[i]);
}

struct look {
    struct tm_partition *p;
    uint64_t now_ms;
    uint64_t seen;
    enum tm_err err;
};

static void look_due(void *arg, struct tm_bytes key)
{
    struct look *l = arg;
    uint64_t index, term;
    if (l->err != TM_OK || !tm_store_is_due(l->p->store, key, l->now_ms))
        return;
    l->err = tm_partition_write(l->p, expire_one, &key, &index, &term);
    if (l->err == TM_OK)
        tm_counter_add(l->p->env->ctx->counters, TM_COUNTER_entities_expired, 1);
}

static void look_seen(void *arg, struct tm_bytes key)
{
    struct look *l = arg;
    l->seen = tm_max_u64(l->seen, tm_store_seen(l->p->store, key));
}

/* ---- evaluation ---- */

struct evaluation {
    const struct tm_request *rq;
    struct tm_exec exec;
};

static const struct tm_command *command_of(const struct tm_request_command *words)
{
    return words->argc > 0 ? tm_command_find(words->argv[0]) : NULL;
}

static void evaluate(struct tm_partition *p, void *arg)
{
    struct evaluation *ev = arg;
    struct tm_resp_writer *reply = &p->env->reply;
    struct tm_counters *counters = p->env->ctx->counters;
    if (ev->rq->kind == TM_REQUEST_MULTI)
        tm_resp_array(reply, ev->rq->count);
    for (unsigned i = 0; i < ev->rq->count; i++) {
        const struct tm_request_command *words = &ev->rq->commands[i];
        const struct tm_command *c = command_of(words);
        ev->exec.hits = ev->exec.misses = 0;
        c->run(&ev->exec, words->argv, words->argc);
        if ((c->flags & TM_CMD_READONLY) == 0)
            continue; /* what a write looks up says nothing of how well the data is known */
        tm_counter_add(counters, TM_COUNTER_keyspace_hits, ev->exec.hits);
        tm_counter_add(counters, TM_COUNTER_keyspace_misses, ev->exec.misses);
    }
    p->env->reply_bytes += reply->len;
}

/* Whether all commands may be evaluated here, and what they are. */
static enum tm_err inspect(const struct tm_request *rq, uint32_t *flags)
{
    *flags = 0;
    for (unsigned i = 0; i < rq->count; i++) {
        const struct tm_command *c = command_of(&rq->commands[i]);
        if (c == NULL || c->run == NULL || !tm_command_arity_ok(c, rq->commands[i].argc))
            return TM_ERR_INVALID; /* a node of another version asks what this one does not know */
        *flags |= c->flags;
    }
    return rq->count > 0 || rq->kind == TM_REQUEST_MULTI ? TM_OK : TM_ERR_INVALID;
}

static uint64_t seen_by(struct tm_partition *p, const struct tm_request *rq)
{
    struct look l = {.p = p};
    for (unsigned i = 0; i < rq->count; i++) {
        const struct tm_command *c = command_of(&rq->commands[i]);
        if (c->first_key == 0)
            return tm_store_seen_any(p->store);
        each_key(c, &rq->commands[i], look_seen, &l);
    }
    return l.seen;
}

static enum tm_err expire_keys(struct tm_partition *p, const struct tm_request *rq, uint64_t now_ms)
{
    struct look l = {.p = p, .now_ms = now_ms};
    if (tm_store_next_expiry(p->store) > now_ms)
        return TM_OK;
    for (unsigned i = 0; i < rq->count; i++)
        each_key(command_of(&rq->commands[i]), &rq->commands[i], look_due, &l);
    return l.err;
}

/* Room for the record: what the words take, and some for each of them.  A command that makes more
 * of its words than that finds out when its record is appended. */
static enum tm_err room_for(const struct tm_partition *p, const struct tm_request *rq)
{
    uint64_t bytes = 512;
    for (unsigned i = 0; i < rq->count; i++)
        for (unsigned k = 0; k < rq->commands[i].argc; k++)
            bytes += rq->commands[i].argv[k].len + 64;
    bytes = tm_min_u64(tm_align_up(bytes, 8), TM_RECORD_MAX);
    return no_room(p, tm_wal_room(tm_log_set_wal(p->env->logs), (uint32_t)bytes, TM_WAL_EFFECT));
}

static struct evaluation prepare(struct tm_partition *p, const struct tm_request *rq)
{
    struct tm_partition_env *env = p->env;
    tm_resp_writer_reset(&env->reply, rq->resp, TM_KIB(64));
    return (struct evaluation){
        .rq = rq,
        .exec = {.store = p->store,
                 .reply = &env->reply,
                 .now_ms = tm_ctx_wall_ms(env->ctx),
                 .random = tm_ctx_random(env->ctx),
                 .max_entity_bytes = (uint32_t)env->options->max_entity_bytes,
                 .cursor = rq->cursor}};
}

/* The reply was too long for any client, or the record for the log: an error takes its place. */
static void replace_by_error(struct tm_partition *p, const struct tm_request *rq, const char *text)
{
    tm_resp_writer_reset(&p->env->reply, rq->resp, TM_KIB(64));
    tm_resp_error(&p->env->reply, text);
}

static void answer_read(struct tm_partition *p, struct tm_place from, struct evaluation *ev)
{
    struct tm_answer a = {.id = ev->rq->id, .status = TM_ANSWER_DONE, .cursor = ev->exec.cursor};
    if (p->env->reply.overflow)
        replace_by_error(p, ev->rq, "ERR the reply is too long");
    if (p->eventual) {
        a.reply = tm_resp_writer_bytes(&p->env->reply);
        tm_partition_answer(p, from, &a);
    } else {
        tm_partition_pend_read(p, from, &a, seen_by(p, ev->rq));
    }
}

static void run_read(struct tm_partition *p, struct tm_place from, const struct tm_request *rq)
{
    struct evaluation ev = prepare(p, rq);
    evaluate(p, &ev);
    answer_read(p, from, &ev);
}

static void run_write(struct tm_partition *p, struct tm_place from, const struct tm_request *rq,
                      uint32_t flags)
{
    enum tm_err e = room_for(p, rq);
    if (e == TM_OK && (flags & TM_CMD_DENYOOM) != 0 && p->env->out_of_memory)
        e = TM_ERR_NOMEM;
    if (e == TM_OK && p->env->backlog_full) {
        tm_counter_add(p->env->ctx->counters, TM_COUNTER_link_writes_refused, 1);
        e = TM_ERR_BACKLOG;
    }
    if (e == TM_OK && p->pending_count >= PENDING_MAX)
        e = TM_ERR_FULL;
    if (e == TM_OK && !tm_partition_may_pend(p))
        e = TM_ERR_NOMEM;
    if (e != TM_OK) {
        tm_partition_refuse(p, from, rq->id, e);
        return;
    }
    uint64_t index, term;
    struct evaluation ev = prepare(p, rq);
    e = tm_partition_write(p, evaluate, &ev, &index, &term);
    if (e == TM_ERR_TOOBIG) {
        replace_by_error(p, rq, "ERR the effect of this command is too large for one record");
        e = TM_OK;
    }
    if (e != TM_OK) {
        tm_partition_refuse(p, from, rq->id, e);
    } else if (index == 0) {
        answer_read(p, from, &ev);
    } else {
        if (p->env->reply.overflow)
            replace_by_error(p, rq, "ERR done, but the reply is too long");
        tm_partition_pend(p, from, rq->id, index, term);
    }
}

static void run_commands(struct tm_partition *p, struct tm_place from, const struct tm_request *rq)
{
    uint32_t flags;
    enum tm_err e = inspect(rq, &flags);
    if (e == TM_OK)
        e = expire_keys(p, rq, tm_ctx_wall_ms(p->env->ctx));
    if (e != TM_OK)
        tm_partition_refuse(p, from, rq->id, e);
    else if ((flags & TM_CMD_WRITE) != 0)
        run_write(p, from, rq, flags);
    else
        run_read(p, from, rq);
}

/* What is due ends before a transaction looks whether something that it watched has changed: not
 * only what it is going to touch. */
static enum tm_err expire_watched(struct tm_partition *p, const struct tm_request *rq)
{
    if (rq->watch_token == 0)
        return TM_OK;
    tm_partition_expire_due(p);
    return tm_store_next_expiry(p->store) > tm_ctx_wall_ms(p->env->ctx) ? TM_OK : TM_ERR_AGAIN;
}

static void run_multi(struct tm_partition *p, struct tm_place from, const struct tm_request *rq)
{
    enum tm_err e = expire_watched(p, rq);
    bool clean = rq->watch_token == 0 || tm_watch_clean(&p->watches, rq->watch_token);
    tm_watch_drop(&p->watches, rq->watch_token);
    if (clean && e != TM_OK) {
        tm_partition_refuse(p, from, rq->id, e);
        return;
    }
    if (clean) {
        run_commands(p, from, rq);
        return;
    }
    struct tm_answer a = {.id = rq->id, .status = TM_ANSWER_DONE};
    tm_resp_writer_reset(&p->env->reply, rq->resp, TM_KIB(64));
    tm_resp_null_array(&p->env->reply);
    tm_partition_pend_read(p, from, &a, tm_store_seen_any(p->store));
}

static void run_watch(struct tm_partition *p, struct tm_place from, const struct tm_request *rq)
{
    struct tm_answer a = {.id = rq->id, .status = TM_ANSWER_DONE};
    if (rq->count != 1) {
        tm_partition_refuse(p, from, rq->id, TM_ERR_INVALID);
        return;
    }
    a.watch_token =
        tm_watch_add(&p->watches, rq->watch_token, rq->commands[0].argv, rq->commands[0].argc);
    if (a.watch_token == 0)
        tm_partition_refuse(p, from, rq->id, TM_ERR_NOMEM);
    else
        tm_partition_answer(p, from, &a);
}

void tm_partition_request(struct tm_partition *p, struct tm_place from, const struct tm_request *rq)
{
    if (rq->kind == TM_REQUEST_UNWATCH) {
        tm_watch_drop(&p->watches, rq->watch_token);
        return;
    }
    if (!p->leading) {
        tm_partition_refuse(p, from, rq->id, TM_ERR_NOTLEADER);
        return;
    }
    switch (rq->kind) {
    case TM_REQUEST_EXEC:
        run_commands(p, from, rq);
        break;
    case TM_REQUEST_MULTI:
        run_multi(p, from, rq);
        break;
    case TM_REQUEST_WATCH:
        run_watch(p, from, rq);
        break;
    case TM_REQUEST_WAIT:
        tm_partition_pend_wait(p, from, rq);
        break;
    case TM_REQUEST_UNWATCH:
        break;
    }
}

bool tm_partition_read_here(struct tm_partition *p, struct tm_place from,
                            const struct tm_request *rq)
{
    uint32_t flags;
    if (p->store == NULL || rq->kind != TM_REQUEST_EXEC || inspect(rq, &flags) != TM_OK ||
        (flags & TM_CMD_WRITE) != 0 || tm_store_applied(p->store) < tm_store_load_until(p->store))
        return false;
    struct evaluation ev = prepare(p, rq);
    evaluate(p, &ev);
    struct tm_answer a = {.id = rq->id,
                          .status = TM_ANSWER_DONE,
                          .cursor = ev.exec.cursor,
                          .reply = tm_resp_writer_bytes(&p->env->reply)};
    tm_partition_answer(p, from, &a);
    return true;
}
