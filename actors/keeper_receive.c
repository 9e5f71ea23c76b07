/* Receipts, one per partition: chunks go into a file and, at once, into a store, which takes the
 * place of the partition's when the file is durable. */
#include "actors/keeper_internal.h"
#include "actors/offer.h"
#include "actors/transfer.h"

#define LENT 0 /* the term that a chunk names which does not come from a leader */

struct tm_keeper_receipt *tm_keeper_receipt_of(struct tm_keeper *k, uint32_t partition)
{
    for (unsigned i = 0; i < TM_KEEPER_RECEIPTS; i++)
        if (k->receipts[i].p != NULL && k->receipts[i].p->id == partition)
            return &k->receipts[i];
    return NULL;
}

static void ack(struct tm_keeper_receipt *r, uint64_t status)
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
    struct tm_message_head answer = {.type = TM_MESSAGE_SNAPSHOT_ACK,
                                     .partition = p->id,
                                     .arg2 = have ? TM_KEEPER_ACK_DONE : TM_KEEPER_ACK_FAILED};
    struct tm_place to = {.node = head->node, .worker = head->worker};
    tm_post_send(k->shard->post, to, answer, NULL, 0);
}

static void receipt_end(struct tm_keeper_receipt *r)
{
    if (r->store != NULL)
        tm_store_delete(r->store);
    tm_keeper_end_writer(r->keeper, r->writer);
    r->keeper->receiving--;
    *r = (struct tm_keeper_receipt){0};
}

static void receipt_fail(struct tm_keeper_receipt *r)
{
    tm_counter_add(tm_keeper_counters(r->keeper), TM_COUNTER_snapshots_failed, 1);
    ack(r, TM_KEEPER_ACK_FAILED);
    receipt_end(r);
}

/* While the log has no room, a snapshot is taken in only where it frees some: it costs a record in
 * reserved room, and the partitions that hold the oldest segments have to get theirs. */
static bool worth_it(const struct tm_keeper *k, const struct tm_partition *p)
{
    return tm_wal_state(tm_log_set_wal(k->shard->logs)) != TM_WAL_FULL ||
           tm_log_last(p->log) >= tm_log_first(p->log);
}

static struct tm_keeper_receipt *receipt_begin(struct tm_keeper *k, struct tm_partition *p,
                                               const struct tm_message_head *head,
                                               const struct tm_snapshot_info *info)
{
    struct tm_keeper_receipt *r = NULL;
    struct tm_tail tail = {.index = info->walked_from, .term = info->term, .hash = info->hash};
    for (unsigned i = 0; i < TM_KEEPER_RECEIPTS && r == NULL; i++)
        if (k->receipts[i].p == NULL)
            r = &k->receipts[i];
    if (r == NULL || p->store == NULL || !worth_it(k, p) ||
        memcmp(info->cluster, k->shard->directory->uuid, 16) != 0 ||
        !(head->arg2 == LENT
              ? tm_replica_snapshot_mends(&p->replica, &tail)
              : tm_replica_snapshot_wanted(&p->replica, head->node, head->arg2, &tail)) ||
        !tm_keeper_make_way(k, p))
        return NULL;
    *r = (struct tm_keeper_receipt){
        .keeper = k, .info = *info, .from = {.node = head->node, .worker = head->worker}};
    if (tm_snapshot_writer_new(k->shard->ctx, info, NULL, NULL, &r->writer) != TM_OK)
        return NULL;
    r->p = p;
    k->receiving++;
    r->store = tm_store_new(&k->shard->arena, p->id);
    tm_store_load_begin(r->store, info->walked_from);
    return r;
}

void tm_keeper_on_chunk(struct tm_keeper *k, const struct tm_message_head *head,
                        struct tm_bytes body)
{
    struct tm_snapshot_info info;
    struct tm_bytes chunk;
    struct tm_partition *p = tm_shard_find(k->shard, head->partition);
    if (p == NULL || p->stopping || p->rescuing ||
        tm_transfer_decode(body, p->id, &info, &chunk) != TM_OK)
        return;
    struct tm_keeper_receipt *r = tm_keeper_receipt_of(k, p->id);
    if (r != NULL && head->arg == 0 && (head->arg2 != LENT || r->from.node == head->node)) {
        receipt_end(r); /* it begins anew */
        r = NULL;
    }
    if (r == NULL && head->arg == 0) {
        r = receipt_begin(k, p, head, &info);
        if (r == NULL)
            decline(k, p, head, &info);
    }
    if (r == NULL || r->from.node != head->node || r->info.walked_from != info.walked_from ||
        tm_snapshot_writer_chunks(r->writer) == r->info.chunks) /* all are here: said again */
        return;
    r->moved_at = tm_keeper_now(k);
    enum tm_err e = tm_snapshot_writer_chunk(r->writer, chunk);
    if (e == TM_ERR_INVALID)
        return; /* an old one */
    if (e == TM_OK)
        e = tm_snapshot_chunk_items(chunk, tm_keeper_load_item, r->store);
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
 * goes, if it does.  False: not yet. */
static bool is_put_aside(const struct tm_keeper_receipt *r, const struct tm_tail *tail)
{
    struct tm_partition *p = r->p;
    uint64_t last = tm_log_last(p->log);
    return !p->eventual || last <= p->replica.commit || tm_partition_keeps(p, tail) ||
           tm_offers_cut(r->keeper->shard->offers, p, p->replica.commit + 1, last);
}

/* The file is durable: its state takes the place of what the partition had. */
static void install(struct tm_keeper_receipt *r)
{
    struct tm_partition *p = r->p;
    struct tm_tail tail = {
        .index = r->info.walked_from, .term = r->info.term, .hash = r->info.hash};
    if (p->apply_fetching || p->ship_fetching || !tm_replica_snapshot_useful(&p->replica, &tail)) {
        receipt_fail(r);
        return;
    }
    if (!is_put_aside(r, &tail))
        return;
    struct tm_members members;
    enum tm_err e = tm_transfer_members(&r->info, &members);
    TM_ASSERT(e == TM_OK); /* looked at when it came */
    if (tm_partition_install(p, r->store, &tail, &members) != TM_OK) {
        receipt_fail(r);
        return;
    }
    r->store = NULL;
    tm_keeper_note_published(r->keeper, p->id, r->writer);
    tm_counter_add(tm_keeper_counters(r->keeper), TM_COUNTER_snapshots_loaded, 1);
    tm_ctx_log(r->keeper->shard->ctx, TM_LOG_INFO, "snapshot_installed", "partition=%u index=%llu",
               p->id, (unsigned long long)tail.index);
    ack(r, TM_KEEPER_ACK_DONE);
    receipt_end(r);
}

static void receipt_turn(struct tm_keeper_receipt *r)
{
    if (r->ack_owed && tm_snapshot_writer_room(r->writer)) {
        r->ack_owed = false;
        ack(r, TM_KEEPER_ACK_NEXT);
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

void tm_keeper_receive_turn(struct tm_keeper *k)
{
    for (unsigned i = 0; i < TM_KEEPER_RECEIPTS; i++)
        if (k->receipts[i].p != NULL)
            receipt_turn(&k->receipts[i]);
}

void tm_keeper_receive_tick(struct tm_keeper *k)
{
    uint64_t now = tm_keeper_now(k);
    for (unsigned i = 0; i < TM_KEEPER_RECEIPTS; i++)
        if (k->receipts[i].p != NULL && now - k->receipts[i].moved_at > TM_KEEPER_SILENCE_NS)
            receipt_end(&k->receipts[i]);
}

void tm_keeper_receive_stop(struct tm_keeper *k)
{
    for (unsigned i = 0; i < TM_KEEPER_RECEIPTS; i++)
        if (k->receipts[i].p != NULL)
            receipt_end(&k->receipts[i]);
}
