/* An operator's way out of damage that no copy mends: the partition goes on with what it has in
 * memory, as the beginning of another history.
 *
 * Its log lacks records in the middle, or what lies before it, and may know that what it lacks was
 * committed.  So nothing is written over the old history's records: the state becomes a snapshot
 * whose last record, a NOOP made for that, has an index that no copy of the old history will ever
 * reach.  A start that finds it needs nothing of the old log; other copies, whatever they hold,
 * lack what is newer and get the snapshot; their old records are never compared with new ones.
 *
 * The snapshot names the members as forced recovery makes them: it counts from the moment its
 * pointer flips, also after a crash then.  Meanwhile the partition hears nobody, for it must not be
 * mended and go on with the old history, too. */
#include "actors/keeper_internal.h"
#include "actors/transfer.h"

enum tm_err tm_keeper_rescue(struct tm_keeper *k, struct tm_partition *p)
{
    struct tm_members unused;
    TM_ASSERT(tm_partition_needs_rescue(p));
    if (!tm_replica_members_forced(&p->replica, &unused))
        return TM_ERR_INVALID;
    if (tm_keeper_receipt_of(k, p->id) != NULL)
        return TM_ERR_EXISTS;
    if (p->rescuing)
        return TM_OK;
    p->rescuing = true;
    p->led_after_all = false;
    tm_keeper_found_of(k, p->id)->rescue = true;
    return TM_OK;
}

/* The record that ends the snapshot: no other has its hash, for no other is of this moment. */
static struct tm_record end_of(const struct tm_partition *p)
{
    uint64_t last = tm_max_u64(tm_log_last(p->log), tm_log_commit(p->log));
    struct tm_record end = {
        .kind = TM_RECORD_NOOP,
        .partition = p->id,
        .term = tm_max_u64(p->replica.hs.term, tm_log_last_term(p->log)),
        .index = tm_max_u64(last, tm_store_applied(p->store)) + TM_KEEPER_FAR,
        .hlc = tm_hlc_now(p->env->hlc, tm_ctx_wall_ms(p->env->ctx)),
        .origin = p->env->self.disk,
    };
    tm_record_seal(&end);
    return end;
}

/* False: not now. */
static bool begin(struct tm_keeper *k, struct tm_partition *p)
{
    struct tm_record end = end_of(p);
    struct tm_members members;
    bool voter = tm_replica_members_forced(&p->replica, &members);
    TM_ASSERT(voter); /* as when it was asked: nobody was heard since */
    struct tm_snapshot_info info = {
        .partition = p->id, .walked_from = end.index, .term = end.term, .hash = end.checksum};
    memcpy(info.cluster, k->shard->directory->uuid, 16);
    tm_transfer_note(&members, &info);
    struct tm_keeper_taking *t = tm_keeper_make_way(k, p) ? tm_keeper_take_new(k, p, &info) : NULL;
    if (t == NULL)
        return false;
    t->rescue = true;
    t->end = end;
    t->forced = members;
    return true;
}

void tm_keeper_rescue_tick(struct tm_keeper *k)
{
    for (uint32_t i = 0; i < k->shard->slots; i++) {
        struct tm_partition *p = k->shard->partitions[i];
        if (k->found[i].rescue && p != NULL && !p->stopping && tm_partition_quiet(p))
            k->found[i].rescue = !begin(k, p);
    }
}

bool tm_keeper_rescue_stands(const struct tm_keeper_taking *t)
{
    return !t->p->led_after_all;
}

bool tm_keeper_rescued(struct tm_keeper_taking *t)
{
    if (t->p->stopping || tm_partition_go_on(t->p, &t->end, &t->forced) != TM_OK)
        return false;
    tm_ctx_log(t->keeper->shard->ctx, TM_LOG_WARN, "forced_recovery_done",
               "partition=%u index=%llu entities=%llu", t->p->id, (unsigned long long)t->end.index,
               (unsigned long long)tm_store_count(t->p->store));
    return true;
}

void tm_keeper_rescue_failed(struct tm_keeper_taking *t)
{
    t->p->rescuing = false;
    tm_ctx_log(t->keeper->shard->ctx, TM_LOG_ERROR, "forced_recovery_failed",
               "partition=%u text=\"%s\"", t->p->id,
               t->p->led_after_all ? "somebody leads it after all"
                                   : "its snapshot could not be written: see to the disk");
}
