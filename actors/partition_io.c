/* The replica's view of log and wire: each function of struct tm_replica_io, over storage/log.h.
 *
 * A log may hold more than the replica was told at start: with a fault in the middle the replica
 * begins before the damage, and the leader sends from there on.  What it sends is then compared
 * with what is already here, put into the fault as a repair, or, where the log ends, appended.
 *
 * The replica's promise (term, vote, health, in-sync set) is kept as the log's hard state. */
#include "actors/partition_internal.h"

#include "actors/message.h"

#include <stdlib.h>
#include <string.h>

static struct tm_partition *self(void *host)
{
    return host;
}

/* The last record that the replica may be shown: before the first fault, if there is one. */
static uint64_t shown_last(const struct tm_log *log)
{
    if (tm_log_fault_count(log) == 0)
        return tm_log_last(log);
    uint64_t first, last;
    tm_log_fault_at(log, 0, &first, &last);
    return first - 1;
}

static uint64_t io_first(void *host)
{
    const struct tm_partition *p = self(host);
    return p->rootless ? p->base.index + 1 : tm_log_first(p->log);
}

static enum tm_err io_meta(void *host, uint64_t index, uint64_t *term, uint64_t *hash)
{
    const struct tm_partition *p = self(host);
    const struct tm_log *log = p->log;
    if (p->rootless && index == p->base.index && index > 0) {
        *term = p->base.term;
        *hash = p->base.hash;
        return TM_OK;
    }
    if (tm_log_term_at(log, index, term) && tm_log_hash_at(log, index, hash))
        return TM_OK;
    return TM_ERR_NOTFOUND;
}

static bool io_end(void *host, struct tm_tail *end)
{
    const struct tm_log *log = self(host)->log;
    end->index = tm_log_last(log);
    return tm_log_term_at(log, end->index, &end->term) &&
           tm_log_hash_at(log, end->index, &end->hash);
}

static bool io_keeps(void *host, const struct tm_tail *tail)
{
    return tm_partition_keeps(self(host), tail);
}

static bool ship_record(struct tm_log_fetch *fetch, uint64_t index, struct tm_bytes record)
{
    struct tm_ship_read *read = &((struct tm_partition *)fetch->owner)->ship_read;
    TM_ASSERT(index == read->next);
    if (read->length + record.len > read->capacity) {
        size_t capacity = tm_max_u64(2 * read->capacity, read->length + record.len);
        uint8_t *grown = realloc(read->bytes, capacity);
        if (grown == NULL)
            return false;
        read->bytes = grown;
        read->capacity = capacity;
    }
    memcpy(read->bytes + read->length, record.data, record.len);
    read->length += record.len;
    read->next++;
    return true;
}

static void ship_done(struct tm_log_fetch *fetch, enum tm_err err)
{
    struct tm_partition *p = fetch->owner;
    p->ship_fetching = false;
    if (!p->stopping && (err == TM_OK || err == TM_ERR_NOTFOUND))
        tm_replica_log_available(&p->replica);
    if (p->ship_fetching)
        return; /* the next read has begun */
    free(p->ship_read.bytes);
    p->ship_read = (struct tm_ship_read){0};
}

/* One message's worth at a time: it has left, copied, when log_available returns. */
static void ship_fetch(struct tm_partition *p, uint64_t index)
{
    p->ship_fetch = (struct tm_log_fetch){.first = index,
                                          .last = shown_last(p->log),
                                          .max_bytes = p->env->replica_options->append_bytes_max,
                                          .record = ship_record,
                                          .done = ship_done,
                                          .owner = p};
    if (tm_log_fetch(p->log, &p->ship_fetch) != TM_OK)
        return; /* the replica asks again */
    p->ship_fetching = true;
    p->ship_read.first = p->ship_read.next = p->ship_read.at = index;
    p->ship_read.length = p->ship_read.offset = 0;
}

/* A record that was read, unless the log holds another at this index by now. */
static const struct tm_record *was_read(struct tm_partition *p, uint64_t index)
{
    struct tm_ship_read *read = &p->ship_read;
    uint64_t hash;
    if (p->ship_fetching || index < read->first || index >= read->next ||
        !tm_log_hash_at(p->log, index, &hash))
        return NULL;
    if (index < read->at) {
        read->at = read->first;
        read->offset = 0;
    }
    const struct tm_record *record = (const void *)(read->bytes + read->offset);
    for (; read->at < index; read->at++) {
        read->offset += record->length;
        record = (const void *)(read->bytes + read->offset);
    }
    return record->checksum == hash ? record : NULL;
}

static enum tm_err io_record(void *host, uint64_t index, const struct tm_record **out)
{
    struct tm_partition *p = self(host);
    if (index < tm_log_first(p->log) || index > shown_last(p->log))
        return TM_ERR_NOTFOUND;
    *out = (const void *)tm_log_get(p->log, index).data;
    if (*out == NULL)
        *out = was_read(p, index);
    if (*out != NULL)
        return TM_OK;
    if (!p->ship_fetching)
        ship_fetch(p, index);
    return TM_ERR_AGAIN;
}

/* A record at an index that the log has, or lost, already: the leader brings back what is damaged
 * here.  TM_ERR_INVALID: it differs from a good one, which then has to go. */
static enum tm_err bring_back(struct tm_partition *p, const struct tm_record *record)
{
    uint64_t hash, first, last;
    if (tm_log_hash_at(p->log, record->index, &hash))
        return hash == record->checksum ? TM_OK : TM_ERR_INVALID;
    tm_log_fault_at(p->log, 0, &first, &last);
    if (first != record->index)
        return TM_ERR_INVALID;
    return tm_partition_repair(p, record);
}

/* What the log held is of no use without the snapshot before it: the leader sends all of it. */
static enum tm_err take_root(struct tm_partition *p)
{
    enum tm_err e = tm_log_forget(p->log, p->base.index, p->base.term, p->base.hash);
    p->rootless = e != TM_OK;
    return e;
}

/* What the log holds from there on goes.  TM_ERR_AGAIN: it is being put aside. */
static enum tm_err drop_from(struct tm_partition *p, uint64_t index)
{
    if (p->eventual && !p->env->ops->lost(p->env->host, p, index, tm_log_last(p->log)))
        return TM_ERR_AGAIN;
    tm_partition_unsettle(p, index);
    return tm_log_cut(p->log, index);
}

static enum tm_err io_append(void *host, const struct tm_record *record)
{
    struct tm_partition *p = self(host);
    if (p->rootless) {
        enum tm_err e = take_root(p);
        if (e != TM_OK)
            return e;
    }
    enum tm_wal_class klass = record->kind == TM_RECORD_NOOP || record->kind == TM_RECORD_CONFIG
                                  ? TM_WAL_RESERVED
                                  : TM_WAL_FOLLOWED;
    if (record->index <= tm_log_last(p->log)) {
        enum tm_err e = bring_back(p, record);
        if (e != TM_ERR_INVALID)
            return e;
        e = drop_from(p, record->index);
        if (e != TM_OK)
            return e;
    }
    tm_partition_observe(p, record->hlc);
    if (p->env->options->durability == TM_DURABILITY_MEMORY)
        tm_partition_mark(p);
    enum tm_err e = tm_log_append(p->log, tm_bytes_of(record, record->length), klass);
    if (e == TM_OK && p->replica.role == TM_ROLE_LEADER && p->store != NULL &&
        tm_store_applied(p->store) + 1 == record->index) {
        /* The replica's own NOOP or CONFIG: it moves the store's index like any other.  While what
         * was inherited is still being fetched, this one is applied after it. */
        enum tm_err applied = tm_store_apply(p->store, record, true);
        TM_ASSERT(applied == TM_OK);
    }
    return e;
}

static bool io_cut(void *host, uint64_t from)
{
    struct tm_partition *p = self(host);
    if (tm_log_cut(p->log, from) != TM_OK)
        return false; /* a segment is being prepared, or the log has failed */
    if (p->store != NULL && tm_store_applied(p->store) >= from) {
        tm_counter_add(p->env->ctx->counters, TM_COUNTER_undone,
                       tm_store_applied(p->store) - from + 1);
        tm_store_undo(p->store, from - 1);
    }
    tm_watch_clear(&p->watches);
    tm_partition_unsettle(p, from);
    return true;
}

static bool io_end_at(void *host, uint64_t last)
{
    struct tm_partition *p = self(host);
    return tm_log_last(p->log) <= last || drop_from(p, last + 1) == TM_OK;
}

static void io_persist(void *host, const struct tm_promise *promise, uint64_t seq)
{
    struct tm_partition *p = self(host);
    struct tm_hard_state hs;
    tm_promise_to_hard_state(promise, &hs);
    tm_hs_put(tm_log_set_hs(p->env->logs), p->id, &hs);
    p->persist_seq = seq;
    p->env->flush_now = true;
}

static void io_stamp(void *host, uint64_t *hlc, uint64_t *origin)
{
    struct tm_partition *p = self(host);
    *hlc = tm_hlc_now(p->env->hlc, tm_ctx_wall_ms(p->env->ctx));
    *origin = p->env->origin;
}

/* ---- the wire ---- */

static void io_send(void *host, unsigned node, const struct tm_replica_msg *msg,
                    const struct tm_bytes *pieces, unsigned count)
{
    struct tm_partition *p = self(host);
    uint8_t head[TM_MSG_HEAD_MAX];
    struct tm_bytes all[TM_PIECES_MAX + 1];
    TM_ASSERT(count <= TM_PIECES_MAX);
    size_t body = 0;
    for (unsigned i = 0; i < count; i++) {
        all[i + 1] = pieces[i];
        body += pieces[i].len;
    }
    all[0] = tm_bytes_of(head, tm_replica_msg_encode(msg, body, head));
    p->env->ops->send(p->env->host, p, node, all, count + 1);
}

static void io_snapshot_needed(void *host, unsigned node)
{
    struct tm_partition *p = self(host);
    p->env->ops->snapshot_needed(p->env->host, p, node);
}

/* ---- outcomes ---- */

static void io_committed(void *host, uint64_t index)
{
    struct tm_partition *p = self(host);
    struct tm_counters *counters = p->env->ctx->counters;
    tm_log_set_commit(p->log, index);
    if (p->leading) {
        tm_counter_add(counters, TM_COUNTER_commits, index - tm_store_committed(p->store));
        if (tm_replica_in_sync(&p->replica, tm_ctx_now(p->env->ctx)) == 1 &&
            p->replica.members.count > 1)
            tm_counter_add(counters, TM_COUNTER_solo_commits, index - tm_store_committed(p->store));
        tm_store_commit(p->store, index);
    }
    if (p->replica.role == TM_ROLE_FOLLOWER)
        tm_partition_apply_later(p);
    else
        tm_partition_apply(p);
    tm_partition_settle(p, index);
    tm_partition_decide(p, index);
    if (p->announced && p->env->ops->committed != NULL)
        p->env->ops->committed(p->env->host, p);
}

static void io_role(void *host, const struct tm_replica_status *status)
{
    tm_partition_set_role(self(host), status);
}

static void io_read_done(void *host, struct tm_replica_read *read, bool ok)
{
    tm_partition_read_done(self(host), read, ok);
}

static bool io_lost(void *host, uint64_t from, uint64_t to)
{
    struct tm_partition *p = self(host);
    return p->env->ops->lost(p->env->host, p, from, to);
}

static void io_note(void *host, enum tm_replica_note note, uint64_t a, uint64_t b)
{
    struct tm_partition *p = self(host);
    struct tm_counters *counters = p->env->ctx->counters;
    if (note == TM_NOTE_PREVOTE)
        tm_counter_add(counters, TM_COUNTER_pre_votes, 1);
    if (note == TM_NOTE_ELECTION)
        tm_counter_add(counters, TM_COUNTER_elections, 1);
    if (note == TM_NOTE_HEALED)
        (void)tm_log_clear_suspect(p->log); /* if there is no room now the tick tries again */
    char text[256];
    tm_replica_note_text(note, a, b, a < p->env->node_count ? p->env->node_names[a] : "?", text,
                         sizeof text);
    tm_ctx_log(p->env->ctx, tm_replica_note_level(note), tm_replica_note_name(note),
               "partition=%u text=\"%s\"", p->id, text);
}

const struct tm_replica_io tm_partition_io = {
    .first = io_first,
    .meta = io_meta,
    .end = io_end,
    .keeps = io_keeps,
    .record = io_record,
    .append = io_append,
    .cut = io_cut,
    .persist = io_persist,
    .stamp = io_stamp,
    .send = io_send,
    .snapshot_needed = io_snapshot_needed,
    .committed = io_committed,
    .role = io_role,
    .read_done = io_read_done,
    .lost = io_lost,
    .end_at = io_end_at,
    .note = io_note,
};
