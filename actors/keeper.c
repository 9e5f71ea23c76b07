/* Four parts: what was there at the start; the snapshots being taken; sends, one per (partition,
 * node); receipts, one per partition.
 *
 * A segment of the log holds records of nearly every partition, so it is free only after each had
 * its snapshot: under pressure the partitions take their turns, a few at a time, without a pause.
 *
 * What a snapshot holds need not go from the log at once: retain.h says how far it may. */
#include "actors/keeper.h"
#include "actors/offer.h"
#include "actors/retain.h"
#include "actors/shard_internal.h"
#include "actors/transfer.h"

#include <stdlib.h>

#define TAKINGS_MAX  4
#define SLICE_BYTES  TM_KIB(64)
#define SENDS_MAX    64
#define RECEIPTS_MAX 64
#define RETRY_NS     TM_MS(100)     /* after a snapshot could not be written */
#define SILENCE_NS   TM_SECONDS(10) /* a transfer that does not move so long is given up */

struct item_head {
    uint64_t cursor;
    uint64_t index;
};

/* What came of the snapshots on disk. */
struct found {
    struct tm_store *store; /* until it is handed over */
    struct tm_snapshot_info info;
    struct tm_snapshot_info older; /* the one before it */
    bool there, older_there;
    bool owed; /* a new one is to be taken */
};

struct taking {
    struct tm_keeper *keeper;
    struct tm_partition *p; /* NULL: free */
    struct tm_snapshot_writer *writer;
    uint64_t cursor, walked_to;
    bool walked;
    uint8_t *buf; /* an item: head and slice */
    size_t cap, len;
};

struct sending {
    struct tm_partition *p; /* NULL: free */
    struct tm_snapshot_reader *reader;
    struct tm_snapshot_info info;
    struct tm_keeper *keeper;
    unsigned node;
    uint64_t chunk;
    uint64_t moved_at;
    bool reading;
};

struct receipt {
    struct tm_partition *p; /* NULL: free */
    struct tm_keeper *keeper;
    struct tm_snapshot_writer *writer;
    struct tm_snapshot_info info;
    struct tm_store *store;
    struct tm_place from;
    uint64_t moved_at;
    bool installed;
    bool ack_owed; /* when the writer has room for the next chunk */
};

struct tm_keeper {
    struct tm_shard *shard;
    struct found *found; /* by id / workers */
    struct taking takings[TAKINGS_MAX];
    uint32_t next; /* slot whose turn it is to be taken */
    bool pressed;  /* something of the logs is to be given up, as far as is known */
    struct tm_retain retain;
    uint64_t retry_at; /* none is taken before: one has failed */
    bool stopped;
    struct sending sends[SENDS_MAX];
    uint64_t *wanted; /* by id / workers: nodes that wait for a sending */
    uint32_t next_wanted;
    bool any_wanted;
    struct receipt receipts[RECEIPTS_MAX];
};

enum { ACK_NEXT, ACK_DONE, ACK_FAILED }; /* arg2 of SNAPSHOT_ACK; arg is the next chunk */

static uint64_t now(const struct tm_keeper *k)
{
    return tm_ctx_now(k->shard->ctx);
}

static struct tm_counters *counters(const struct tm_keeper *k)
{
    return k->shard->ctx->counters;
}

static struct found *found_of(const struct tm_keeper *k, uint32_t partition)
{
    return &k->found[partition / k->shard->node->workers];
}

/* ---- at the start ---- */

static enum tm_err load_item(void *arg, struct tm_bytes item)
{
    struct tm_store *store = arg;
    struct item_head h;
    if (item.len < sizeof h)
        return TM_ERR_CORRUPT;
    memcpy(&h, item.data, sizeof h);
    return tm_store_load_slice(store, item.data + sizeof h, item.len - sizeof h, h.cursor, h.index);
}

static enum tm_err load_found(struct tm_keeper *k, uint32_t partition, struct found *f)
{
    struct tm_snapshot_info infos[2];
    unsigned count;
    bool damaged;
    enum tm_err e = tm_snapshot_list(k->shard->ctx, partition, k->shard->directory->uuid, infos,
                                     &count, &damaged);
    for (unsigned i = 0; e == TM_OK && i < count && !f->there; i++) {
        f->store = tm_store_new(&k->shard->arena, partition);
        f->info = infos[i];
        tm_store_load_begin(f->store, infos[i].walked_from);
        f->there = tm_snapshot_load(k->shard->ctx, &infos[i], load_item, f->store) == TM_OK;
        if (f->there) {
            f->older_there = i + 1 < count;
            if (f->older_there)
                f->older = infos[i + 1];
            tm_counter_add(counters(k), TM_COUNTER_snapshots_loaded, 1);
        } else {
            tm_ctx_log(k->shard->ctx, TM_LOG_ERROR, "snapshot_damaged",
                       "partition=%u index=%llu action=\"the older one is tried\"", partition,
                       (unsigned long long)infos[i].walked_from);
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
        e = load_found(k, id, found_of(k, id));
    return e;
}

bool tm_keeper_base(const struct tm_keeper *k, uint32_t partition, struct tm_log_base *out)
{
    const struct found *f = found_of(k, partition);
    if (f->there)
        *out = (struct tm_log_base){
            .index = f->info.walked_from, .term = f->info.term, .hash = f->info.hash};
    return f->there;
}

struct tm_store *tm_keeper_store(struct tm_keeper *k, uint32_t partition)
{
    struct found *f = found_of(k, partition);
    if (f->store == NULL)
        f->store = tm_store_new(&k->shard->arena, partition);
    return f->store;
}

enum tm_err tm_keeper_load(struct tm_keeper *k, uint32_t partition, struct tm_store **store,
                           struct tm_members *members)
{
    struct found *f = found_of(k, partition);
    *store = f->store;
    f->store = NULL;
    if (f->there)
        tm_transfer_members(&f->info, members); /* none if they make no sense */
    return TM_OK;
}

/* ---- taking ---- */

static void writer_moved(void *host, struct tm_snapshot_writer *writer)
{
    /* Looked at by the next turn. */
    (void)host;
    (void)writer;
}

static void writer_end(const struct tm_keeper *k, struct tm_snapshot_writer *writer)
{
    if (writer != NULL && k->shard->abandoned)
        tm_snapshot_writer_abandon(writer);
    else if (writer != NULL)
        tm_snapshot_writer_close(writer);
}

static void take_drop(struct taking *t)
{
    writer_end(t->keeper, t->writer);
    free(t->buf);
    *t = (struct taking){0};
}

static void take_end(struct taking *t, bool ok)
{
    tm_counter_add(counters(t->keeper),
                   ok ? TM_COUNTER_snapshots_written : TM_COUNTER_snapshots_failed, 1);
    if (!ok)
        t->keeper->retry_at = now(t->keeper) + RETRY_NS;
    take_drop(t);
}

static struct taking *taking_of(struct tm_keeper *k, const struct tm_partition *p)
{
    for (unsigned i = 0; i < TAKINGS_MAX; i++)
        if (k->takings[i].p == p)
            return &k->takings[i];
    return NULL;
}

static struct receipt *receipt_of(struct tm_keeper *k, uint32_t partition)
{
    for (unsigned i = 0; i < RECEIPTS_MAX; i++)
        if (k->receipts[i].p != NULL && k->receipts[i].p->id == partition)
            return &k->receipts[i];
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
    if (m->count == 0)
        return false; /* not known as of then: later */
    tm_transfer_note(m, info);
    memcpy(info->cluster, k->shard->directory->uuid, 16);
    return true;
}

static bool take_begin(struct tm_keeper *k, struct tm_partition *p)
{
    struct taking *t = taking_of(k, NULL);
    struct tm_snapshot_info info;
    if (t == NULL || now(k) < k->retry_at || p->store == NULL || p->stopping ||
        taking_of(k, p) != NULL || receipt_of(k, p->id) != NULL || !describe(k, p, &info))
        return false;
    t->cap = SLICE_BYTES;
    t->buf = malloc(sizeof(struct item_head) + t->cap);
    if (t->buf == NULL ||
        tm_snapshot_writer_new(k->shard->ctx, &info, writer_moved, k, &t->writer) != TM_OK) {
        free(t->buf);
        *t = (struct taking){0};
        return false;
    }
    t->keeper = k;
    t->p = p;
    t->walked_to = info.walked_from;
    return true;
}

/* The next item into t->buf, unless the walk is over.  TM_ERR_NOMEM: an entity larger than the
 * buffer, and no memory for it. */
static enum tm_err take_slice(struct taking *t)
{
    size_t used;
    struct item_head h;
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
    h.cursor = t->cursor;
    memcpy(t->buf, &h, sizeof h);
    t->len = sizeof h + used;
    t->walked = t->cursor == 0;
    t->walked_to = tm_max_u64(t->walked_to, h.index);
    return TM_OK;
}

/* Goes on writing; one slice at a time, so that a turn stays short. */
static bool take_write(struct taking *t)
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
    const struct found *f = found_of(k, p->id);
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

/* It is current now, and of those before it only the newest is left. */
static void note_published(struct tm_keeper *k, uint32_t partition,
                           const struct tm_snapshot_writer *writer)
{
    struct found *f = found_of(k, partition);
    f->older = f->info;
    f->older_there = f->there;
    f->info = *tm_snapshot_writer_info(writer);
    f->there = true;
    f->owed = false;
}

static void take_published(struct taking *t)
{
    note_published(t->keeper, t->p->id, t->writer);
    trim(t->keeper, t->p);
    take_end(t, true);
}

/* True if there is more to do at once. */
static bool take_turn(struct taking *t)
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
        if (tm_log_durable(t->p->log) < t->walked_to)
            return false;
        tm_snapshot_writer_publish(t->writer);
        return true;
    case TM_SNAPSHOT_PUBLISHED:
        take_published(t);
        return true;
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
        if (p == NULL || p->store == NULL || taking_of(k, p) != NULL ||
            receipt_of(k, p->id) != NULL)
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
        if (p == NULL || !take_begin(k, p))
            return;
    }
}

bool tm_keeper_take(struct tm_keeper *k, struct tm_partition *p)
{
    return !k->stopped && take_begin(k, p);
}

/* ---- damage ---- */

bool tm_keeper_snapshot(const struct tm_keeper *k, uint32_t partition, bool older,
                        struct tm_snapshot_info *out)
{
    const struct found *f = found_of(k, partition);
    *out = older ? f->older : f->info;
    return older ? f->older_there : f->there;
}

void tm_keeper_renew(struct tm_keeper *k, const struct tm_partition *p)
{
    found_of(k, p->id)->owed = p->store != NULL;
}

void tm_keeper_spoilt(struct tm_keeper *k, const struct tm_partition *p, bool older)
{
    *(older ? &found_of(k, p->id)->older_there : &found_of(k, p->id)->there) = false;
    tm_keeper_renew(k, p);
}

bool tm_keeper_give_up(struct tm_keeper *k, struct tm_partition *p, uint64_t index)
{
    const struct found *f = found_of(k, p->id);
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
            take_begin(k, k->shard->partitions[i]);
}

/* ---- sending ---- */

static void send_free(struct sending *s)
{
    if (s->reader != NULL)
        tm_snapshot_reader_close(s->reader);
    *s = (struct sending){0};
}

static void send_end(struct sending *s, bool ok)
{
    struct tm_partition *p = s->p;
    tm_counter_add(counters(s->keeper),
                   ok ? TM_COUNTER_snapshots_sent : TM_COUNTER_snapshots_failed, 1);
    unsigned node = s->node;
    uint64_t index = s->info.walked_from;
    send_free(s);
    tm_replica_snapshot_sent(&p->replica, node, index, ok);
}

static void send_chunk(void *host, enum tm_err err, uint64_t chunk, struct tm_bytes bytes)
{
    struct sending *s = host;
    s->reading = false;
    if (s->p == NULL || s->p->stopping)
        return;
    if (err == TM_ERR_CORRUPT || err == TM_ERR_IO)
        found_of(s->keeper, s->p->id)->there = false; /* another */
    if (err != TM_OK || s->p->replica.role != TM_ROLE_LEADER) {
        send_end(s, false);
        return;
    }
    struct tm_shard *shard = s->keeper->shard;
    uint8_t about[TM_TRANSFER_HEAD_MAX];
    struct tm_bytes pieces[2] = {tm_bytes_of(about, tm_transfer_encode(&s->info, about)), bytes};
    struct tm_message_head head = {.type = TM_MESSAGE_SNAPSHOT,
                                   .partition = s->p->id,
                                   .arg = chunk,
                                   .arg2 = s->p->replica.hs.term};
    struct tm_place to = {.node = (uint8_t)s->node,
                          .worker = (uint8_t)tm_node_worker_of(shard->node, s->node, s->p->id)};
    if (tm_post_send(shard->post, to, head, pieces, 2) != TM_OK)
        send_end(s, false);
}

static void send_next(struct sending *s)
{
    if (s->reading)
        return;
    enum tm_err e = tm_snapshot_read(s->reader, s->chunk, send_chunk, s);
    s->reading = e == TM_OK;
    if (e != TM_OK)
        send_end(s, false);
}

/* Begins the transfer, with a snapshot that reaches the log; takes one first if there is none. */
static void send_begin(struct tm_keeper *k, struct sending *s)
{
    const struct found *f = found_of(k, s->p->id);
    if (!f->there || f->info.walked_from + 1 < tm_log_first(s->p->log)) {
        take_begin(k, s->p);
        return;
    }
    s->info = f->info;
    if (tm_snapshot_reader_new(k->shard->ctx, &s->info, &s->reader) != TM_OK)
        send_end(s, false);
    else
        send_next(s);
}

static struct sending *sending_of(struct tm_keeper *k, const struct tm_partition *p, unsigned node)
{
    for (unsigned i = 0; i < SENDS_MAX; i++)
        if (k->sends[i].p == p && (p == NULL || k->sends[i].node == node))
            return &k->sends[i];
    return NULL;
}

/* One that is under way began with a follower that has forgotten it: it begins again. */
void tm_keeper_send(struct tm_keeper *k, struct tm_partition *p, unsigned node)
{
    struct sending *s = sending_of(k, p, node);
    k->wanted[p->id / k->shard->node->workers] |= 1ULL << node;
    k->any_wanted = true;
    if (s != NULL)
        send_free(s);
}

/* Gives free sendings to what is wanted, in turn. */
static void send_wanted(struct tm_keeper *k)
{
    bool left = false;
    for (uint32_t n = 0; k->any_wanted && n < k->shard->slots; n++) {
        uint32_t slot = (k->next_wanted + n) % k->shard->slots;
        struct tm_partition *p = k->shard->partitions[slot];
        if (k->wanted[slot] == 0)
            continue;
        if (p == NULL || p->replica.role != TM_ROLE_LEADER)
            k->wanted[slot] = 0; /* who leads now finds out by itself */
        while (k->wanted[slot] != 0) {
            struct sending *s = sending_of(k, NULL, 0);
            if (s == NULL) {
                k->next_wanted = slot;
                return;
            }
            unsigned node = (unsigned)__builtin_ctzll(k->wanted[slot]);
            k->wanted[slot] &= k->wanted[slot] - 1;
            *s = (struct sending){.p = p, .keeper = k, .node = node, .moved_at = now(k)};
        }
        left |= k->wanted[slot] != 0;
    }
    k->any_wanted = left;
}

static void on_ack(struct tm_keeper *k, const struct tm_message_head *head)
{
    for (unsigned i = 0; i < SENDS_MAX; i++) {
        struct sending *s = &k->sends[i];
        if (s->p == NULL || s->p->id != head->partition || s->node != head->node ||
            s->reader == NULL)
            continue;
        s->moved_at = now(k);
        s->chunk = head->arg;
        if (head->arg2 != ACK_NEXT)
            send_end(s, head->arg2 == ACK_DONE);
        else if (s->chunk < s->info.chunks)
            send_next(s);
        return;
    }
}

/* ---- receiving ---- */

static void ack(struct receipt *r, uint64_t status)
{
    struct tm_message_head head = {.type = TM_MESSAGE_SNAPSHOT_ACK,
                                   .partition = r->p->id,
                                   .arg = tm_snapshot_writer_chunks(r->writer),
                                   .arg2 = status};
    tm_post_send(r->keeper->shard->post, r->from, head, NULL, 0);
}

/* The leader's replica begins again after a while; or goes on behind it, if all of it is here. */
static void decline(struct tm_keeper *k, const struct tm_partition *p,
                    const struct tm_message_head *head, const struct tm_snapshot_info *info)
{
    struct tm_replica_status st = tm_replica_status(&p->replica);
    bool have = st.leader == head->node && st.term == head->arg2 && info->walked_from <= st.last;
    struct tm_message_head answer = {
        .type = TM_MESSAGE_SNAPSHOT_ACK, .partition = p->id, .arg2 = have ? ACK_DONE : ACK_FAILED};
    struct tm_place to = {.node = head->node, .worker = head->worker};
    tm_post_send(k->shard->post, to, answer, NULL, 0);
}

static void receipt_end(struct receipt *r)
{
    if (r->store != NULL)
        tm_store_delete(r->store);
    writer_end(r->keeper, r->writer);
    *r = (struct receipt){0};
}

static void receipt_fail(struct receipt *r)
{
    tm_counter_add(counters(r->keeper), TM_COUNTER_snapshots_failed, 1);
    ack(r, ACK_FAILED);
    receipt_end(r);
}

static void receipt_moved(void *host, struct tm_snapshot_writer *writer)
{
    /* Looked at by the next turn. */
    (void)host;
    (void)writer;
}

/* Two writers of one partition would each take the other's pointer for the one before it: what is
 * being taken here gives way, unless its pointer flips already. */
static bool make_way(struct tm_keeper *k, const struct tm_partition *p)
{
    struct taking *t = taking_of(k, p);
    if (t != NULL && tm_snapshot_writer_state(t->writer) == TM_SNAPSHOT_FLIPPING)
        return false;
    if (t != NULL)
        take_drop(t);
    return true;
}

/* While the log has no room, a snapshot is taken in only where it frees some: it costs a record in
 * reserved room, and the partitions that hold the oldest segments have to get theirs. */
static bool worth_it(const struct tm_keeper *k, const struct tm_partition *p)
{
    return tm_wal_state(tm_log_set_wal(k->shard->logs)) != TM_WAL_FULL ||
           tm_log_last(p->log) >= tm_log_first(p->log);
}

static struct receipt *receipt_begin(struct tm_keeper *k, struct tm_partition *p,
                                     const struct tm_message_head *head,
                                     const struct tm_snapshot_info *info)
{
    struct receipt *r = NULL;
    struct tm_tail tail = {.index = info->walked_from, .term = info->term, .hash = info->hash};
    for (unsigned i = 0; i < RECEIPTS_MAX && r == NULL; i++)
        if (k->receipts[i].p == NULL)
            r = &k->receipts[i];
    if (r == NULL || p->store == NULL || !worth_it(k, p) ||
        memcmp(info->cluster, k->shard->directory->uuid, 16) != 0 ||
        !tm_replica_snapshot_wanted(&p->replica, head->node, head->arg2, &tail) || !make_way(k, p))
        return NULL;
    *r = (struct receipt){
        .keeper = k, .info = *info, .from = {.node = head->node, .worker = head->worker}};
    if (tm_snapshot_writer_new(k->shard->ctx, info, receipt_moved, k, &r->writer) != TM_OK)
        return NULL;
    r->p = p;
    r->store = tm_store_new(&k->shard->arena, p->id);
    tm_store_load_begin(r->store, info->walked_from);
    return r;
}

static void on_chunk(struct tm_keeper *k, const struct tm_message_head *head, struct tm_bytes body)
{
    struct tm_snapshot_info info;
    struct tm_bytes chunk;
    struct tm_partition *p = tm_shard_find(k->shard, head->partition);
    if (p == NULL || p->stopping || tm_transfer_decode(body, p->id, &info, &chunk) != TM_OK)
        return;
    struct receipt *r = receipt_of(k, p->id);
    if (r != NULL && head->arg == 0) {
        receipt_end(r); /* the leader begins anew */
        r = NULL;
    }
    if (r == NULL && head->arg == 0) {
        r = receipt_begin(k, p, head, &info);
        if (r == NULL)
            decline(k, p, head, &info);
    }
    if (r == NULL || r->info.walked_from != info.walked_from)
        return;
    r->moved_at = now(k);
    enum tm_err e = tm_snapshot_writer_chunk(r->writer, chunk);
    if (e == TM_ERR_INVALID)
        return; /* an old one */
    if (e == TM_OK)
        e = tm_snapshot_chunk_items(chunk, load_item, r->store);
    if (e != TM_OK) {
        receipt_fail(r);
        return;
    }
    if (tm_snapshot_writer_chunks(r->writer) == r->info.chunks)
        tm_snapshot_writer_finish(r->writer, 0, &r->info);
    else
        r->ack_owed = true;
}

/* Eventual mode: what this copy has beyond what it knows to be committed is put aside before it
 * goes.  False: not yet. */
static bool is_put_aside(const struct receipt *r)
{
    struct tm_partition *p = r->p;
    uint64_t last = tm_log_last(p->log);
    return !p->eventual || last <= p->replica.commit ||
           tm_offers_cut(r->keeper->shard->offers, p, p->replica.commit + 1, last);
}

/* The file is durable: its state takes the place of what the partition had. */
static void install(struct receipt *r)
{
    struct tm_partition *p = r->p;
    struct tm_tail tail = {
        .index = r->info.walked_from, .term = r->info.term, .hash = r->info.hash};
    if (p->apply_fetching || p->ship_fetching || !tm_replica_snapshot_useful(&p->replica, &tail)) {
        receipt_fail(r);
        return;
    }
    if (!is_put_aside(r))
        return;
    struct tm_members members;
    enum tm_err e = tm_transfer_members(&r->info, &members);
    TM_ASSERT(e == TM_OK); /* looked at when it came */
    if (tm_partition_install(p, r->store, &tail, &members) != TM_OK) {
        receipt_fail(r);
        return;
    }
    r->store = NULL;
    note_published(r->keeper, p->id, r->writer);
    tm_counter_add(counters(r->keeper), TM_COUNTER_snapshots_loaded, 1);
    tm_ctx_log(r->keeper->shard->ctx, TM_LOG_INFO, "snapshot_installed", "partition=%u index=%llu",
               p->id, (unsigned long long)tail.index);
    ack(r, ACK_DONE);
    receipt_end(r);
}

static void receipt_turn(struct receipt *r)
{
    if (r->p == NULL)
        return;
    if (r->ack_owed && tm_snapshot_writer_room(r->writer)) {
        r->ack_owed = false;
        ack(r, ACK_NEXT);
    }
    switch (tm_snapshot_writer_state(r->writer)) {
    case TM_SNAPSHOT_COMPLETE:
        tm_snapshot_writer_publish(r->writer);
        break;
    case TM_SNAPSHOT_PUBLISHED:
        install(r);
        break;
    case TM_SNAPSHOT_FAILED:
        receipt_fail(r);
        break;
    default:
        break;
    }
}

void tm_keeper_message(struct tm_keeper *k, const struct tm_message_head *head,
                       struct tm_bytes body)
{
    if (k->stopped)
        return;
    if (head->type == TM_MESSAGE_SNAPSHOT)
        on_chunk(k, head, body);
    else
        on_ack(k, head);
}

/* ---- time ---- */

bool tm_keeper_turn(struct tm_keeper *k)
{
    bool busy = false;
    if (k->stopped)
        return false;
    for (unsigned i = 0; i < RECEIPTS_MAX; i++)
        receipt_turn(&k->receipts[i]);
    for (unsigned i = 0; i < TAKINGS_MAX; i++)
        busy |= take_turn(&k->takings[i]);
    take_what_is_due(k);
    return busy;
}

void tm_keeper_tick(struct tm_keeper *k)
{
    uint64_t t = now(k);
    if (k->stopped)
        return;
    k->pressed = tm_retain_look(&k->retain);
    if (k->retain.full)
        trim_all(k);
    take_owed(k);
    take_what_is_due(k);
    send_wanted(k);
    for (unsigned i = 0; i < SENDS_MAX; i++) {
        struct sending *s = &k->sends[i];
        if (s->p == NULL)
            continue;
        if (s->p->replica.role != TM_ROLE_LEADER)
            send_end(s, false);
        else if (s->reader == NULL)
            send_begin(k, s);
        else if (t - s->moved_at > SILENCE_NS)
            send_end(s, false);
    }
    for (unsigned i = 0; i < RECEIPTS_MAX; i++)
        if (k->receipts[i].p != NULL && t - k->receipts[i].moved_at > SILENCE_NS)
            receipt_end(&k->receipts[i]);
}

void tm_keeper_stop(struct tm_keeper *k)
{
    for (unsigned i = 0; i < TAKINGS_MAX; i++)
        if (k->takings[i].p != NULL)
            take_drop(&k->takings[i]);
    for (unsigned i = 0; i < RECEIPTS_MAX; i++)
        if (k->receipts[i].p != NULL)
            receipt_end(&k->receipts[i]);
    k->stopped = true;
}

bool tm_keeper_quiet(const struct tm_keeper *k)
{
    for (unsigned i = 0; i < SENDS_MAX; i++)
        if (k->sends[i].reading)
            return false;
    return true;
}

void tm_keeper_free(struct tm_keeper *k)
{
    if (k == NULL)
        return;
    tm_keeper_stop(k);
    for (unsigned i = 0; i < SENDS_MAX; i++) {
        struct tm_snapshot_reader *reader = k->sends[i].reader;
        if (reader != NULL && k->shard->abandoned)
            tm_snapshot_reader_abandon(reader);
        else if (reader != NULL)
            tm_snapshot_reader_close(reader);
    }
    for (uint32_t i = 0; k->found != NULL && i < k->shard->slots; i++)
        if (k->found[i].store != NULL)
            tm_store_delete(k->found[i].store);
    free(k->found);
    free(k->wanted);
    free(k);
}
