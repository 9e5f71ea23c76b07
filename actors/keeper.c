/* What was there at the start, and the snapshots being taken; keeper_send.c and keeper_receive.c
 * hold the transfers to and from other nodes, keeper_rescue.c what an operator may ask for.
 *
 * A segment of the log holds records of nearly every partition, so it is free only after each had
 * its snapshot: under pressure the partitions take their turns, a few at a time, without a pause.
 *
 * What a snapshot holds need not go from the log at once: retain.h says how far it may. */
#include "actors/keeper_internal.h"
#include "actors/transfer.h"

#include <stdlib.h>

#define SLICE_BYTES TM_KIB(64)
#define RETRY_NS    TM_MS(100) /* after a snapshot could not be written */

/* ---- at the start ---- */

enum tm_err tm_keeper_load_item(void *arg, struct tm_bytes item)
{
    struct tm_store *store = arg;
    struct tm_keeper_item h;
    if (item.len < sizeof h)
        return TM_ERR_CORRUPT;
    memcpy(&h, item.data, sizeof h);
    return tm_store_load_slice(store, item.data + sizeof h, item.len - sizeof h, h.cursor, h.index);
}

static enum tm_err load_found(struct tm_keeper *k, uint32_t partition, struct tm_keeper_found *f)
{
    struct tm_snapshot_info infos[2];
    unsigned count;
    bool damaged;
    enum tm_err e = tm_snapshot_list(k->shard->ctx, partition, k->shard->directory->uuid, infos,
                                     &count, &damaged, &f->lost);
    for (unsigned i = 0; e == TM_OK && i < count && !f->there; i++) {
        f->store = tm_store_new(&k->shard->arena, partition);
        f->info = infos[i];
        tm_store_load_begin(f->store, infos[i].walked_from);
        f->there =
            tm_snapshot_load(k->shard->ctx, &infos[i], tm_keeper_load_item, f->store) == TM_OK;
        if (f->there) {
            f->older_there = i + 1 < count;
            if (f->older_there)
                f->older = infos[i + 1];
            tm_counter_add(tm_keeper_counters(k), TM_COUNTER_snapshots_loaded, 1);
        } else {
            tm_ctx_log(k->shard->ctx, TM_LOG_ERROR, "snapshot_damaged",
                       "partition=%u index=%llu action=\"the older one is tried\"", partition,
                       (unsigned long long)infos[i].walked_from);
            if (infos[i].walked_from >= f->lost.index)
                f->lost = (struct tm_snapshot_lost){infos[i].walked_from, infos[i].hash};
            tm_store_delete(f->store);
            f->store = NULL;
        }
    }
    return e;
}

enum tm_err tm_keeper_new(struct tm_shard *shard, struct tm_keeper **out)
{
    struct tm_keeper *k = calloc(1, sizeof *k);
    if (k == NULL)
        return TM_ERR_NOMEM;
    k->shard = shard;
    tm_retain_init(&k->retain, shard);
    k->found = calloc(shard->slots, sizeof *k->found);
    k->wanted = calloc(shard->slots, sizeof *k->wanted);
    *out = k;
    if (k->found == NULL || k->wanted == NULL)
        return TM_ERR_NOMEM;
    const struct tm_directory *d = shard->directory;
    enum tm_err e = TM_OK;
    for (uint32_t id = shard->self.worker; e == TM_OK && id <= d->partitions;
         id += shard->node->workers)
        e = load_found(k, id, tm_keeper_found_of(k, id));
    return e;
}

bool tm_keeper_base(const struct tm_keeper *k, uint32_t partition, struct tm_log_base *out)
{
    const struct tm_keeper_found *f = tm_keeper_found_of(k, partition);
    *out = (struct tm_log_base){.lost = f->lost.index, .lost_hash = f->lost.hash};
    if (f->there) {
        out->index = f->info.walked_from;
        out->term = f->info.term;
        out->hash = f->info.hash;
    }
    return f->there || f->lost.index > 0;
}

struct tm_store *tm_keeper_store(struct tm_keeper *k, uint32_t partition)
{
    struct tm_keeper_found *f = tm_keeper_found_of(k, partition);
    if (f->store == NULL)
        f->store = tm_store_new(&k->shard->arena, partition);
    return f->store;
}

enum tm_err tm_keeper_load(struct tm_keeper *k, uint32_t partition, struct tm_store **store,
                           struct tm_members *members)
{
    struct tm_keeper_found *f = tm_keeper_found_of(k, partition);
    *store = f->store;
    f->store = NULL;
    if (f->there)
        tm_transfer_members(&f->info, members); /* none if they make no sense */
    return TM_OK;
}

/* ---- taking ---- */

void tm_keeper_end_writer(struct tm_keeper *k, struct tm_snapshot_writer *writer)
{
    if (writer != NULL && k->shard->abandoned)
        tm_snapshot_writer_abandon(writer);
    else if (writer != NULL)
        tm_snapshot_writer_close(writer, &k->closed);
}

static void take_drop(struct tm_keeper_taking *t)
{
    tm_keeper_end_writer(t->keeper, t->writer);
    free(t->buf);
    *t = (struct tm_keeper_taking){0};
}

static void take_end(struct tm_keeper_taking *t, bool ok)
{
    tm_counter_add(tm_keeper_counters(t->keeper),
                   ok ? TM_COUNTER_snapshots_written : TM_COUNTER_snapshots_failed, 1);
    if (!ok)
        t->keeper->retry_at = tm_keeper_now(t->keeper) + RETRY_NS;
    if (!ok && t->rescue)
        tm_keeper_rescue_failed(t);
    take_drop(t);
}

static struct tm_keeper_taking *taking_of(struct tm_keeper *k, const struct tm_partition *p)
{
    for (unsigned i = 0; i < TM_KEEPER_TAKINGS; i++)
        if (k->takings[i].p == p)
            return &k->takings[i];
    return NULL;
}

/* What a snapshot begun now would hold; false if there is nothing to take one of. */
static bool describe(const struct tm_keeper *k, const struct tm_partition *p,
                     struct tm_snapshot_info *info)
{
    *info =
        (struct tm_snapshot_info){.partition = p->id, .walked_from = tm_store_committed(p->store)};
    if (tm_store_applied(p->store) < tm_store_load_until(p->store) ||
        !tm_log_term_at(p->log, info->walked_from, &info->term) ||
        !tm_log_hash_at(p->log, info->walked_from, &info->hash))
        return false;
    const struct tm_members *m = &p->replica.members;
    if (m->index > info->walked_from)
        m = &p->replica.previous;
    if (m->count == 0 || m->index > info->walked_from)
        return false; /* not known as of then: later */
    tm_transfer_note(m, info);
    memcpy(info->cluster, k->shard->directory->uuid, 16);
    return true;
}

static bool may_take(struct tm_keeper *k, const struct tm_partition *p)
{
    return taking_of(k, NULL) != NULL && tm_keeper_now(k) >= k->retry_at && p->store != NULL &&
           !p->stopping && taking_of(k, p) == NULL && tm_keeper_receipt_of(k, p->id) == NULL;
}

struct tm_keeper_taking *tm_keeper_take_new(struct tm_keeper *k, struct tm_partition *p,
                                            const struct tm_snapshot_info *info)
{
    struct tm_keeper_taking *t = taking_of(k, NULL);
    if (!may_take(k, p))
        return NULL;
    t->cap = SLICE_BYTES;
    t->buf = malloc(sizeof(struct tm_keeper_item) + t->cap);
    if (t->buf == NULL ||
        tm_snapshot_writer_new(k->shard->ctx, info, NULL, NULL, &t->writer) != TM_OK) {
        free(t->buf);
        *t = (struct tm_keeper_taking){0};
        return NULL;
    }
    t->keeper = k;
    t->p = p;
    t->walked_to = info->walked_from;
    return t;
}

bool tm_keeper_take_begin(struct tm_keeper *k, struct tm_partition *p)
{
    struct tm_snapshot_info info;
    return may_take(k, p) && !p->rescuing && describe(k, p, &info) &&
           tm_keeper_take_new(k, p, &info) != NULL;
}

/* The next item into t->buf, unless the walk is over.  TM_ERR_NOMEM: an entity larger than the
 * buffer, and no memory for it. */
static enum tm_err take_slice(struct tm_keeper_taking *t)
{
    size_t used;
    struct tm_keeper_item h;
    if (t->walked)
        return TM_OK;
    enum tm_err e;
    uint8_t *slice = t->buf + sizeof h;
    while ((e = tm_store_snapshot(t->p->store, &t->cursor, slice, t->cap, &used, &h.index)) ==
           TM_ERR_TOOBIG) {
        uint8_t *larger = realloc(t->buf, sizeof h + used);
        if (larger == NULL)
            return TM_ERR_NOMEM;
        t->buf = larger;
        t->cap = used;
        slice = larger + sizeof h;
    }
    TM_ASSERT(e == TM_OK);
    if (t->rescue)
        h.index = t->end.index;
    h.cursor = t->cursor;
    memcpy(t->buf, &h, sizeof h);
    t->len = sizeof h + used;
    t->walked = t->cursor == 0;
    t->walked_to = tm_max_u64(t->walked_to, h.index);
    return TM_OK;
}

/* Goes on writing; one slice at a time, so that a turn stays short. */
static bool take_write(struct tm_keeper_taking *t)
{
    enum tm_err e = t->len == 0 ? take_slice(t) : TM_OK;
    if (e == TM_OK && t->len == 0) {
        tm_snapshot_writer_finish(t->writer, t->walked_to, NULL);
        return true;
    }
    if (e == TM_OK)
        e = tm_snapshot_writer_item(t->writer, tm_bytes_of(t->buf, t->len));
    if (e == TM_OK)
        t->len = 0;
    else if (e != TM_ERR_FULL)
        take_end(t, false);
    return e == TM_OK;
}

/* Gives up what the partition's snapshot holds and nobody needs. */
static void trim(struct tm_keeper *k, struct tm_partition *p)
{
    const struct tm_keeper_found *f = tm_keeper_found_of(k, p->id);
    uint64_t term, hash;
    if (!f->there)
        return;
    uint64_t to = tm_min_u64(f->info.walked_from, tm_retain_until(&k->retain, p));
    if (to >= tm_log_first(p->log) && tm_log_term_at(p->log, to, &term) &&
        tm_log_hash_at(p->log, to, &hash))
        tm_log_compact(p->log, to);
}

/* A disk without room gets back what it can without a new snapshot, which would need some. */
static void trim_all(struct tm_keeper *k)
{
    for (uint32_t i = 0; i < k->shard->slots; i++)
        if (k->shard->partitions[i] != NULL && k->shard->partitions[i]->store != NULL)
            trim(k, k->shard->partitions[i]);
}

/* It is current now, and of those before it only the newest is left: none, if a lost one reaches
 * further (snapshot_writer.c). */
void tm_keeper_note_published(struct tm_keeper *k, uint32_t partition,
                              const struct tm_snapshot_writer *writer)
{
    struct tm_keeper_found *f = tm_keeper_found_of(k, partition);
    f->older = f->info;
    f->info = *tm_snapshot_writer_info(writer);
    if (f->lost.index <= f->info.walked_from)
        f->lost = (struct tm_snapshot_lost){0};
    f->older_there = f->there && f->lost.index == 0;
    f->there = true;
    f->owed = false;
}

/* False: it has to wait. */
static bool take_published(struct tm_keeper_taking *t)
{
    if (t->rescue && !tm_keeper_rescued(t))
        return false;
    tm_keeper_note_published(t->keeper, t->p->id, t->writer);
    trim(t->keeper, t->p);
    take_end(t, true);
    return true;
}

/* True if there is more to do at once. */
static bool take_turn(struct tm_keeper_taking *t)
{
    if (t->p == NULL)
        return false;
    switch (tm_snapshot_writer_state(t->writer)) {
    case TM_SNAPSHOT_OPENING:
    case TM_SNAPSHOT_SYNCING:
    case TM_SNAPSHOT_FLIPPING:
        return false;
    case TM_SNAPSHOT_WRITING:
        return take_write(t);
    case TM_SNAPSHOT_COMPLETE:
        if (!t->rescue && tm_log_durable(t->p->log) < t->walked_to)
            return false;
        if (!t->rescue || tm_keeper_rescue_stands(t))
            tm_snapshot_writer_publish(t->writer);
        else
            take_end(t, false);
        return true;
    case TM_SNAPSHOT_PUBLISHED:
        return take_published(t);
    case TM_SNAPSHOT_FAILED:
        tm_ctx_log(t->keeper->shard->ctx, TM_LOG_ERROR, "snapshot_failed", "partition=%u error=%s",
                   t->p->id, tm_err_text(tm_snapshot_writer_error(t->writer)));
        take_end(t, false);
        return false;
    }
    return false;
}

/* The next partition, in turn, whose log a new snapshot would shorten. */
static struct tm_partition *next_to_take(struct tm_keeper *k)
{
    for (uint32_t tried = 0; tried < k->shard->slots; tried++) {
        struct tm_partition *p = k->shard->partitions[k->next];
        k->next = (k->next + 1) % k->shard->slots;
        if (p == NULL || p->store == NULL || p->rescuing || taking_of(k, p) != NULL ||
            tm_keeper_receipt_of(k, p->id) != NULL)
            continue;
        trim(k, p);
        if (tm_min_u64(tm_store_committed(p->store), tm_retain_until(&k->retain, p)) >=
            tm_log_first(p->log))
            return p;
    }
    return NULL;
}

static void take_what_is_due(struct tm_keeper *k)
{
    while (k->pressed && taking_of(k, NULL) != NULL) {
        struct tm_partition *p = next_to_take(k);
        k->pressed = p != NULL && tm_retain_look(&k->retain);
        if (p == NULL || !tm_keeper_take_begin(k, p))
            return;
    }
}

bool tm_keeper_take(struct tm_keeper *k, struct tm_partition *p)
{
    return !k->stopped && tm_keeper_take_begin(k, p);
}

bool tm_keeper_make_way(struct tm_keeper *k, const struct tm_partition *p)
{
    struct tm_keeper_taking *t = taking_of(k, p);
    if (t != NULL && tm_snapshot_writer_state(t->writer) == TM_SNAPSHOT_FLIPPING)
        return false;
    if (t != NULL)
        take_drop(t);
    return true;
}

/* ---- damage ---- */

bool tm_keeper_snapshot(const struct tm_keeper *k, uint32_t partition, bool older,
                        struct tm_snapshot_info *out)
{
    const struct tm_keeper_found *f = tm_keeper_found_of(k, partition);
    *out = older ? f->older : f->info;
    return older ? f->older_there : f->there;
}

void tm_keeper_renew(struct tm_keeper *k, const struct tm_partition *p)
{
    tm_keeper_found_of(k, p->id)->owed = p->store != NULL;
}

void tm_keeper_spoilt(struct tm_keeper *k, const struct tm_partition *p, bool older)
{
    *(older ? &tm_keeper_found_of(k, p->id)->older_there : &tm_keeper_found_of(k, p->id)->there) =
        false;
    tm_keeper_renew(k, p);
}

bool tm_keeper_give_up(struct tm_keeper *k, struct tm_partition *p, uint64_t index)
{
    const struct tm_keeper_found *f = tm_keeper_found_of(k, p->id);
    uint64_t term, hash;
    if (!f->there || f->info.walked_from < index || !tm_log_term_at(p->log, index, &term) ||
        !tm_log_hash_at(p->log, index, &hash))
        return false;
    tm_log_compact(p->log, index);
    return true;
}

static void take_owed(struct tm_keeper *k)
{
    for (uint32_t i = 0; i < k->shard->slots; i++)
        if (k->found[i].owed && k->shard->partitions[i] != NULL)
            tm_keeper_take_begin(k, k->shard->partitions[i]);
}

/* ---- messages and time ---- */

void tm_keeper_message(struct tm_keeper *k, const struct tm_message_head *head,
                       struct tm_bytes body)
{
    if (k->stopped)
        return;
    if (head->type == TM_MESSAGE_SNAPSHOT)
        tm_keeper_on_chunk(k, head, body);
    else
        tm_keeper_on_ack(k, head);
}

bool tm_keeper_turn(struct tm_keeper *k)
{
    bool busy = false;
    if (k->stopped)
        return false;
    if (k->receiving > 0)
        tm_keeper_receive_turn(k);
    for (unsigned i = 0; i < TM_KEEPER_TAKINGS; i++)
        busy |= take_turn(&k->takings[i]);
    take_what_is_due(k);
    return busy;
}

void tm_keeper_tick(struct tm_keeper *k)
{
    if (k->stopped)
        return;
    k->pressed = tm_retain_look(&k->retain);
    if (k->retain.full)
        trim_all(k);
    tm_keeper_rescue_tick(k);
    take_owed(k);
    take_what_is_due(k);
    tm_keeper_send_tick(k);
    tm_keeper_receive_tick(k);
}

void tm_keeper_stop(struct tm_keeper *k)
{
    for (unsigned i = 0; i < TM_KEEPER_TAKINGS; i++)
        if (k->takings[i].p != NULL)
            take_drop(&k->takings[i]);
    tm_keeper_receive_stop(k);
    k->stopped = true;
}

void tm_keeper_free(struct tm_keeper *k)
{
    if (k == NULL)
        return;
    tm_keeper_stop(k);
    tm_keeper_send_free(k);
    tm_snapshot_closed_free(&k->closed, k->shard->abandoned);
    for (uint32_t i = 0; k->found != NULL && i < k->shard->slots; i++)
        if (k->found[i].store != NULL)
            tm_store_delete(k->found[i].store);
    free(k->found);
    free(k->wanted);
    free(k);
}
