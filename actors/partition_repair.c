/* What rotted here is good elsewhere: a replica whose log has holes asks the other members for
 * exactly the records that are missing, one member after the other, and is whole again with the
 * last of them.  No leader is needed for that: with damage in different places on several copies
 * there may be none, for who has holes does not lead.
 *
 * What is asked for is known by the hash of its last record, which by the chain stands for all
 * before it: who has another record there has another history, and does not answer.  Who answers
 * gives what it has in memory, else what one read brings; the rest is asked for again.  Each record
 * is checked against the chain here (tm_log_repair) and counts when it is durable.
 *
 * Who has it in its state only, and hears no leader, sends a snapshot of what is committed.  That
 * is taken if its last record is in the log here, by its hash: then both have one history, and what
 * follows that record here stays.  So a copy that went on alone, and holds what nobody else has,
 * gets back what is missing before that from one that may not be elected.
 *
 * What nobody has is not given: then the partition has no leader, and says so. */
#include "actors/partition_internal.h"

#define SHUT_NS    TM_SECONDS(10)  /* so long nobody has led and nobody has mended it: it is said */
#define AGAIN_NS   TM_SECONDS(600) /* and again after that */
#define SEEK_NS    TM_MS(100)
#define GIVE_BYTES TM_KIB(256)   /* an answer ends with the record that reaches it */
#define WANT_BYTES 8u            /* the body of a WANT: the hash of the last record */
#define LEND_NS    TM_SECONDS(2) /* between two snapshots that are asked of a copy */

bool tm_partition_holes_known(const struct tm_partition *p)
{
    for (unsigned i = 0; i < tm_log_fault_count(p->log); i++)
        if (tm_log_fault_hash(p->log, i) == 0)
            return false;
    return true;
}

enum tm_err tm_partition_repair(struct tm_partition *p, const struct tm_record *record)
{
    enum tm_err e = tm_log_repair(p->log, tm_bytes_of(record, record->length));
    if (e != TM_OK)
        return e;
    p->seek_to = tm_max_u64(p->seek_to, record->index);
    p->env->flush_now = true;
    tm_counter_add(p->env->ctx->counters, TM_COUNTER_records_repaired, 1);
    return TM_OK;
}

/* ---- who misses something ---- */

static bool may_have(const struct tm_partition *p, unsigned place)
{
    const struct tm_member *m = &p->replica.members.at[place];
    return m->id.node != p->env->self.node && m->role != TM_MEMBER_WITNESS &&
           m->role != TM_MEMBER_WITNESS_RETURNING;
}

static void ask_next(struct tm_partition *p)
{
    uint64_t first, last;
    uint8_t hash[WANT_BYTES];
    unsigned count = p->replica.members.count;
    tm_log_fault_at(p->log, 0, &first, &last);
    tm_store64(hash, tm_log_fault_hash(p->log, 0));
    for (unsigned tries = 0; tries < count; tries++) {
        unsigned place = p->seek_turn++ % count;
        if (!may_have(p, place))
            continue;
        struct tm_message_head head = {.type = TM_MESSAGE_WANT, .arg = first, .arg2 = last};
        struct tm_bytes body = tm_bytes_of(hash, sizeof hash);
        p->env->ops->tell(p->env->host, p, p->replica.members.at[place].id.node, &head, &body, 1);
        return;
    }
}

void tm_partition_seek(struct tm_partition *p)
{
    unsigned faults = tm_log_fault_count(p->log);
    uint64_t now = tm_ctx_now(p->env->ctx), durable = tm_log_durable(p->log);
    if (p->replica.hs.health != TM_HEALTH_HOLED)
        return;
    if (faults > 0) {
        if (now >= p->seek_at)
            ask_next(p);
        p->seek_at = tm_max_u64(p->seek_at, now + SEEK_NS);
    } else if (durable >= tm_min_u64(p->seek_to, tm_log_last(p->log))) {
        struct tm_tail last = {tm_log_last(p->log), tm_log_last_term(p->log),
                               tm_log_last_hash(p->log)};
        tm_replica_repaired(&p->replica, &last, durable);
    }
}

void tm_partition_given(struct tm_partition *p, const struct tm_message_head *head,
                        struct tm_bytes body)
{
    const struct tm_record *record = (const void *)body.data;
    uint64_t first, last;
    (void)head;
    if (p->replica.hs.health != TM_HEALTH_HOLED || tm_log_fault_count(p->log) == 0 || p->rescuing ||
        tm_record_check(body.data, body.len) != TM_OK || record->length != body.len)
        return;
    tm_log_fault_at(p->log, 0, &first, &last);
    if ((record->index != first && record->index != last) ||
        tm_partition_repair(p, record) != TM_OK)
        return;
    if (record->kind == TM_RECORD_CONFIG)
        tm_replica_config_back(&p->replica, record);
    if (record->index == last && tm_log_fault_count(p->log) > 0) /* on to the next hole */
        p->seek_at = tm_ctx_now(p->env->ctx);
}

void tm_partition_tell_shut(struct tm_partition *p)
{
    uint64_t first = 0, last = 0, now = tm_ctx_now(p->env->ctx);
    if (p->replica.hs.health < TM_HEALTH_HOLED || tm_replica_leader_alive(&p->replica) ||
        p->rescuing) {
        p->shut_at = 0;
        return;
    }
    if (p->shut_at == 0)
        p->shut_at = now + SHUT_NS;
    if (now < p->shut_at)
        return;
    p->shut_at = now + AGAIN_NS;
    if (tm_log_fault_count(p->log) > 0)
        tm_log_fault_at(p->log, 0, &first, &last);
    tm_ctx_log(p->env->ctx, TM_LOG_ERROR, "damage_stays",
               "partition=%u first=%llu last=%llu text=\"what is damaged here nobody in reach has "
               "given back, and nobody leads: bring back the nodes that are away; if what they "
               "have is lost, too, see tidemill recover\"",
               p->id, (unsigned long long)first, (unsigned long long)last);
}

/* ---- who has it ---- */

static void give(struct tm_partition *p, uint64_t index, struct tm_bytes record)
{
    struct tm_message_head head = {.type = TM_MESSAGE_GIVE, .arg = index};
    p->env->ops->tell(p->env->host, p, p->give_to, &head, &record, 1);
}

/* Returns the first that is not in memory, or would be too much. */
static uint64_t give_from_memory(struct tm_partition *p, uint64_t first, uint64_t last)
{
    size_t given = 0;
    uint64_t i = first;
    for (; i <= last && given < GIVE_BYTES; i++) {
        struct tm_bytes record = tm_log_get(p->log, i);
        if (record.data == NULL)
            break;
        give(p, i, record);
        given += record.len;
    }
    return i;
}

static bool give_record(struct tm_log_fetch *fetch, uint64_t index, struct tm_bytes record)
{
    struct tm_partition *p = fetch->owner;
    if (!p->stopping)
        give(p, index, record);
    return !p->stopping;
}

static void give_done(struct tm_log_fetch *fetch, enum tm_err err)
{
    (void)err;
    ((struct tm_partition *)fetch->owner)->giving = false;
}

/* A leader sends by itself what is needed. */
static void lend_state(struct tm_partition *p, unsigned node, uint64_t index)
{
    uint64_t now = tm_ctx_now(p->env->ctx);
    if (p->rootless || now < p->lend_at || tm_replica_leader_alive(&p->replica))
        return;
    p->lend_at = now + LEND_NS;
    p->env->ops->snapshot_asked(p->env->host, p, node, index);
}

/* Of what begins in the state and ends in the log, not known to be committed, the last comes first:
 * it tells the hash of the one before it. */

void tm_partition_wanted(struct tm_partition *p, const struct tm_message_head *head,
                         struct tm_bytes body)
{
    uint64_t first = head->arg, last = head->arg2, hash;
    if (p->giving || body.len != WANT_BYTES || first > last)
        return;
    if (first < tm_log_first(p->log)) {
        if (p->store != NULL && tm_store_committed(p->store) >= last) {
            lend_state(p, head->node, last);
            return;
        }
        first = last;
    }
    if (!tm_log_hash_at(p->log, last, &hash) || hash != tm_load64(body.data))
        return;
    p->give_to = head->node;
    if (give_from_memory(p, first, last) > first)
        return;
    p->give_fetch = (struct tm_log_fetch){.first = first,
                                          .last = last,
                                          .max_bytes = GIVE_BYTES,
                                          .record = give_record,
                                          .done = give_done,
                                          .owner = p};
    p->giving = tm_log_fetch(p->log, &p->give_fetch) == TM_OK;
}
