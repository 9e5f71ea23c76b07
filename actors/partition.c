/* Life and roles.
 *
 * Recovery: the store comes from a snapshot or is empty, with what the WAL's replay showed to be
 * committed; the rest is applied after the replica has started, like any other record
 * (partition_apply.c). */
#include "actors/partition_internal.h"

#include "storage/entity.h"

#include <stdlib.h>

#define EXPIRY_LOOK_NS TM_MS(100)
#define TIDY_BLOBS     256 /* freed a tick of what FLUSHALL left */

/* ---- roles ---- */

static void announce(struct tm_partition *p)
{
    if (!p->leading || p->announced || p->replica.commit < p->replica.term_start)
        return;
    p->announced = true;
    p->env->ops->leads(p->env->host, p, p->replica.hs.term);
}

static void stop_leading(struct tm_partition *p)
{
    if (p->leading)
        tm_counter_add(p->env->ctx->counters, TM_COUNTER_step_downs, 1);
    p->leading = p->announced = false;
    if (p->pending_count > 0)
        tm_partition_due(p); /* who waits at the gate waits no longer */
    if (p->store != NULL && tm_store_applied(p->store) > tm_store_committed(p->store)) {
        tm_counter_add(p->env->ctx->counters, TM_COUNTER_undone,
                       tm_store_applied(p->store) - tm_store_committed(p->store));
        tm_store_undo(p->store, tm_store_committed(p->store));
    }
    tm_watch_clear(&p->watches);
    if (p->waits != NULL) {
        p->waits_lost = true;
        tm_partition_due(p);
    }
}

void tm_partition_set_role(struct tm_partition *p, const struct tm_replica_status *status)
{
    if (status->role == TM_ROLE_LEADER) {
        tm_counter_add(p->env->ctx->counters, TM_COUNTER_leader_changes, 1);
        tm_partition_apply(p);
    } else {
        stop_leading(p);
    }
}

void tm_partition_mark(struct tm_partition *p)
{
    if (p->is_dirty)
        return;
    p->is_dirty = true;
    p->dirty_next = p->env->dirty;
    p->env->dirty = p;
}

void tm_partition_turn(struct tm_partition *p)
{
    p->is_due = false;
    announce(p);
    tm_partition_give_answers(p);
}

/* With --durability memory a record counts as durable once it is in memory; the log flushes it
 * behind. */
static void durable_in_memory(struct tm_partition *p)
{
    if (p->env->options->durability != TM_DURABILITY_MEMORY)
        return;
    uint64_t last = p->replica.last.index;
    if (p->eventual && p->leading)
        tm_partition_settle(p, last);
    tm_replica_durable(&p->replica, last, p->replica.last.term);
}

void tm_partition_ship(struct tm_partition *p)
{
    p->is_dirty = false;
    durable_in_memory(p);
    tm_replica_ship(&p->replica);
}

/* ---- what the log tells ---- */

void tm_partition_durable(struct tm_partition *p, uint64_t index)
{
    uint64_t term;
    index = tm_min_u64(index, p->replica.last.index); /* behind a fault the log has more */
    if (p->env->options->durability == TM_DURABILITY_MEMORY ||
        !tm_log_term_at(p->log, index, &term))
        return;
    if (p->eventual && p->leading)
        tm_partition_settle(p, index);
    tm_replica_durable(&p->replica, index, term);
}

void tm_partition_hard_durable(struct tm_partition *p)
{
    if (p->persist_told == p->persist_seq ||
        !tm_hs_durable(tm_log_set_hs(p->env->logs), p->id, tm_log_set_wal(p->env->logs)))
        return;
    p->persist_told = p->persist_seq;
    tm_replica_persisted(&p->replica, p->persist_seq);
}

void tm_partition_fault(struct tm_partition *p)
{
    uint64_t first, last;
    if (tm_log_fault_count(p->log) == 0)
        return;
    tm_log_fault_at(p->log, 0, &first, &last);
    tm_ctx_log(p->env->ctx, TM_LOG_ERROR, "log_damaged",
               "partition=%u first=%llu last=%llu action=\"repair from a peer\"", p->id,
               (unsigned long long)first, (unsigned long long)last);
    tm_counter_add(p->env->ctx->counters, TM_COUNTER_wal_rotten_blocks, 1);
    tm_replica_damaged(&p->replica, first, tm_partition_holes_known(p));
}

void tm_partition_message(struct tm_partition *p, unsigned node, struct tm_bytes bytes)
{
    struct tm_replica_msg msg;
    if (tm_replica_msg_decode(bytes, &msg) != TM_OK || msg.partition != p->id ||
        msg.from.node != node)
        return;
    if (p->rescuing) {
        p->led_after_all |= msg.kind == TM_MSG_APPEND && msg.term >= p->replica.hs.term;
        return;
    }
    tm_replica_receive(&p->replica, &msg);
    if (p->replica.hs.health >= TM_HEALTH_HOLED)
        tm_partition_durable(p, tm_log_durable(p->log)); /* what lay behind the fault is durable */
    if (p->waits != NULL)
        tm_partition_due(p); /* copies may have moved */
}

bool tm_partition_keeps(const struct tm_partition *p, const struct tm_tail *tail)
{
    return p->replica.hs.health == TM_HEALTH_HOLED && tail->index < tm_log_last(p->log) &&
           tm_log_knows(p->log, tail->index, tail->hash);
}

enum tm_err tm_partition_install(struct tm_partition *p, struct tm_store *store,
                                 const struct tm_tail *tail, const struct tm_members *members)
{
    TM_ASSERT(!p->apply_fetching && p->replica.role != TM_ROLE_LEADER);
    bool goes_on = tm_partition_keeps(p, tail);
    enum tm_err e = TM_OK;
    tm_partition_unsettle(p, 0);
    if (goes_on)
        tm_log_compact_to(p->log, tail->index, tail->term, tail->hash);
    else
        e = tm_log_reset(p->log, tail->index, tail->term, tail->hash);
    if (e != TM_OK)
        return e;
    p->rootless = false;
    tm_watch_clear(&p->watches);
    tm_store_delete(p->store);
    p->store = store;
    tm_log_set_commit(p->log, tail->index);
    tm_replica_snapshot_installed(&p->replica, tail, members, goes_on);
    tm_partition_decide(p, tail->index);
    return TM_OK;
}

bool tm_partition_needs_rescue(const struct tm_partition *p)
{
    return p->store != NULL && (p->rootless || tm_log_fault_count(p->log) > 0);
}

enum tm_err tm_partition_go_on(struct tm_partition *p, const struct tm_record *end,
                               const struct tm_members *members)
{
    TM_ASSERT(p->rescuing && end->index > tm_log_last(p->log));
    if (!tm_partition_quiet(p))
        return TM_ERR_AGAIN;
    enum tm_err e = tm_log_reset(p->log, end->index, end->term, end->checksum);
    if (e != TM_OK)
        return e;
    p->rescuing = p->rootless = false;
    tm_partition_unsettle(p, 0);
    e = tm_store_apply(p->store, end, false);
    TM_ASSERT(e == TM_OK); /* a follower has nothing that is not committed */
    tm_log_set_commit(p->log, end->index);
    struct tm_tail tail = {.index = end->index, .term = end->term, .hash = end->checksum};
    tm_replica_snapshot_installed(&p->replica, &tail, members, false);
    tm_partition_decide(p, tail.index);
    return tm_replica_recover(&p->replica);
}

void tm_partition_tick(struct tm_partition *p)
{
    uint64_t now = tm_ctx_now(p->env->ctx);
    if (p->waits != NULL)
        tm_partition_due(p);
    if (p->reads != NULL)
        tm_replica_reads_expire(&p->replica);
    tm_partition_watch_clock(p);
    tm_replica_heal(&p->replica); /* there was no room to end the log when it should have healed */
    tm_partition_seek(p);
    tm_partition_tell_shut(p);
    if (p->store != NULL)
        tm_store_tidy(p->store, TIDY_BLOBS);
    if (p->leading && now >= p->next_expiry_look) {
        p->next_expiry_look = now + EXPIRY_LOOK_NS;
        tm_partition_expire_due(p);
    }
    if (!p->apply_fetching)
        tm_partition_apply(p);
    if (p->replica.hs.health == TM_HEALTH_WHOLE && tm_log_suspect(p->log))
        (void)tm_log_clear_suspect(p->log); /* there was no room to say so when it healed */
}

/* ---- life ---- */

static void boot_state(struct tm_partition *p, const struct tm_partition_boot *boot,
                       struct tm_replica_boot *rb)
{
    struct tm_hard_state hs = {0};
    enum tm_err e = tm_hs_get(tm_log_set_hs(p->env->logs), p->id, &hs);
    rb->hs = (struct tm_promise){.vote = {.node = TM_NODE_UNKNOWN}};
    if (e != TM_ERR_NOTFOUND && tm_promise_from_hard_state(&hs, &rb->hs) != TM_OK)
        e = TM_ERR_CORRUPT;
    uint64_t last = tm_log_last(p->log), first_lost = 0, last_lost = 0;
    rb->health = TM_HEALTH_WHOLE;
    bool fresh = e == TM_ERR_NOTFOUND && last == 0;
    if (tm_log_suspect(p->log) || (boot->unclean && !fresh))
        rb->health = TM_HEALTH_SUSPECT;
    if (tm_log_fault_count(p->log) > 0) {
        tm_log_fault_at(p->log, 0, &first_lost, &last_lost);
        last = first_lost - 1;
        bool known = rb->health == TM_HEALTH_WHOLE && tm_partition_holes_known(p);
        rb->health = known ? TM_HEALTH_HOLED : TM_HEALTH_FAULTY;
    }
    if (last + 1 < tm_log_first(p->log)) {
        p->rootless = true;
        p->base = boot->base;
        last = boot->base.index;
        tm_ctx_log(p->env->ctx, TM_LOG_ERROR, "snapshot_lost",
                   "partition=%u have=%llu log_begins=%llu action=\"repair from the leader\"",
                   p->id, (unsigned long long)last, (unsigned long long)tm_log_first(p->log));
    }
    if (e == TM_ERR_CORRUPT)
        rb->health = TM_HEALTH_FAULTY;
    else if (p->witness) /* it has no log that damage could have taken anything from */
        rb->health = rb->hs.health = TM_HEALTH_WHOLE;
    rb->last.index = last;
    if (p->rootless) {
        rb->last = p->base;
    } else if (last > 0) {
        bool known = tm_log_term_at(p->log, last, &rb->last.term) &&
                     tm_log_hash_at(p->log, last, &rb->last.hash);
        TM_ASSERT(known); /* the log knows its own end */
    }
    rb->commit = tm_min_u64(tm_log_commit(p->log), last);
    rb->members = boot->members;
    rb->previous = boot->previous;
}

struct tm_partition *tm_partition_new(struct tm_partition_env *env,
                                      const struct tm_partition_boot *boot)
{
    struct tm_partition *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->env = env;
    p->id = boot->id;
    p->witness = boot->witness;
    p->eventual = env->eventual && !boot->strong;
    p->gate = UINT64_MAX;
    p->log = tm_log_set_log(env->logs, boot->id);
    if (!boot->witness)
        p->store = boot->store != NULL ? boot->store : tm_store_new(env->arena, boot->id);
    struct tm_replica_boot rb = {0};
    boot_state(p, boot, &rb);
    tm_replica_init(&p->replica, boot->strong ? env->strong_options : env->replica_options,
                    &tm_partition_io, p, env->ctx, env->beat, p->id, env->self);
    tm_replica_start(&p->replica, &rb);
    tm_partition_apply(p);
    return p;
}

void tm_partition_stop(struct tm_partition *p)
{
    p->stopping = true;
    tm_replica_stop(&p->replica);
}

bool tm_partition_quiet(const struct tm_partition *p)
{
    return !p->apply_fetching && !p->ship_fetching && !p->giving;
}

void tm_partition_free(struct tm_partition *p)
{
    tm_partition_drop_answers(p);
    if (p->store != NULL)
        tm_store_delete(p->store);
    free(p);
}
