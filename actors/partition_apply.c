/* Applying: records of the log become the state.
 *
 * A follower applies what is committed, a replica that becomes leader the rest of its log as well,
 * speculatively, and takes requests when it has.  What a follower learns to be committed in a turn
 * is applied together, in groups: each change waits for memory several times, and the changes of a
 * group wait together.  Records that are only on disk are fetched. */
#include "actors/partition_internal.h"

#define GROUP        16 /* records whose entities are fetched together */
#define EACH_AT_MOST 4  /* of one partition among them */

/* How far the log may be applied now, and whether record index is committed. */
static uint64_t apply_goal(const struct tm_partition *p)
{
    return p->replica.role == TM_ROLE_LEADER ? p->replica.last.index : p->replica.commit;
}

/* A snapshot walks what is committed: records that it may hold are, even if nobody has told this
 * replica yet.  While records were fetched the commit index may have passed some that a new leader
 * had applied speculatively. */
static void apply_one(struct tm_partition *p, const struct tm_record *record)
{
    uint64_t applied = tm_store_applied(p->store);
    bool committed =
        record->index <= p->replica.commit || record->index <= tm_store_load_until(p->store);
    if (committed && tm_store_committed(p->store) < applied)
        tm_store_commit(p->store, applied);
    enum tm_err e = tm_store_apply(p->store, record, !committed);
    TM_ASSERT(e == TM_OK);
    tm_watch_touch(&p->watches, record);
    tm_counter_add(p->env->ctx->counters, TM_COUNTER_applied, 1);
}

static bool fetched_record(struct tm_log_fetch *fetch, uint64_t index, struct tm_bytes record)
{
    struct tm_partition *p = fetch->owner;
    if (p->stopping || index != tm_store_applied(p->store) + 1 || index > apply_goal(p))
        return false;
    apply_one(p, (const struct tm_record *)(const void *)record.data);
    return true;
}

static void fetched(struct tm_log_fetch *fetch, enum tm_err err)
{
    struct tm_partition *p = fetch->owner;
    p->apply_fetching = false;
    if (p->stopping || err == TM_ERR_CORRUPT || err == TM_ERR_IO)
        return; /* a fault: the log set tells, the leader brings it back */
    tm_partition_apply(p);
}

static void fetch_from(struct tm_partition *p, uint64_t index, uint64_t goal)
{
    p->apply_fetch = (struct tm_log_fetch){.first = index,
                                           .last = goal,
                                           .max_bytes = TM_MIB(4),
                                           .record = fetched_record,
                                           .done = fetched,
                                           .owner = p};
    p->apply_fetching = tm_log_fetch(p->log, &p->apply_fetch) == TM_OK;
}

static void start_leading(struct tm_partition *p)
{
    if (p->leading || p->replica.role != TM_ROLE_LEADER || p->store == NULL ||
        tm_store_applied(p->store) <
            tm_max_u64(p->replica.last.index, tm_store_load_until(p->store)))
        return;
    p->leading = true;
    p->gate = p->env->ops->gated != NULL && p->env->ops->gated(p->env->host, p) ? 0 : UINT64_MAX;
    p->gate_shut = 0;
    tm_store_set_policy(p->store, p->env->policy);
    p->watches.next_token = p->replica.hs.term << 32; /* never that of another leader */
}

void tm_partition_apply(struct tm_partition *p)
{
    if (p->store == NULL || p->apply_fetching || p->stopping)
        return;
    uint64_t goal = apply_goal(p);
    while (tm_store_applied(p->store) < goal) {
        uint64_t index = tm_store_applied(p->store) + 1;
        struct tm_bytes bytes = tm_log_get(p->log, index);
        if (bytes.data == NULL) {
            fetch_from(p, index, goal);
            return;
        }
        apply_one(p, (const struct tm_record *)(const void *)bytes.data);
    }
    tm_store_commit(p->store, tm_min_u64(p->replica.commit, tm_store_applied(p->store)));
    start_leading(p);
    if (p->leading && !p->announced)
        tm_partition_due(p);
}

/* ---- in groups ---- */

void tm_partition_apply_later(struct tm_partition *p)
{
    if (p->is_behind || p->store == NULL)
        return;
    p->is_behind = true;
    p->behind_next = p->env->behind;
    p->env->behind = p;
    tm_store_prefetch(p->store);
}

struct group {
    struct tm_partition *partitions[GROUP];
    unsigned count;
    struct tm_store_ahead ahead[GROUP];
    unsigned used;
};

/* Takes partitions off the list, and has their next records fetched. */
static void gather(struct tm_partition_env *env, struct group *g)
{
    for (g->count = 0; g->count < GROUP && env->behind != NULL;) {
        struct tm_partition *p = env->behind;
        env->behind = p->behind_next;
        p->is_behind = false;
        g->partitions[g->count++] = p;
        uint64_t next = tm_store_applied(p->store) + 1;
        for (uint64_t i = next; i <= apply_goal(p) && i < next + EACH_AT_MOST; i++)
            tm_log_prefetch(p->log, i);
    }
}

/* What the records are about. */
static void look_ahead(struct group *g)
{
    g->used = 0;
    for (unsigned k = 0; k < g->count; k++) {
        const struct tm_partition *p = g->partitions[k];
        uint64_t next = tm_store_applied(p->store) + 1;
        for (uint64_t i = next; i <= apply_goal(p) && i < next + EACH_AT_MOST; i++) {
            struct tm_bytes record = tm_log_get(p->log, i);
            if (record.data == NULL || g->used == GROUP)
                break;
            tm_store_ahead_record(&g->ahead[g->used++], p->store, (const void *)record.data);
        }
    }
}

void tm_partition_apply_behind(struct tm_partition_env *env)
{
    struct group g;
    while (env->behind != NULL) {
        gather(env, &g);
        look_ahead(&g);
        for (unsigned step = 0; step < TM_STORE_AHEAD_STEPS; step++)
            for (unsigned i = 0; i < g.used; i++)
                tm_store_ahead_step(&g.ahead[i]);
        for (unsigned k = 0; k < g.count; k++)
            tm_partition_apply(g.partitions[k]);
    }
}
