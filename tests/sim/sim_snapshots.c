/* All copies are asked again and again, for a node takes a few snapshots at a time only.  Nothing
 * is written meanwhile but what the nodes do by themselves: a copy whose table has gone on since is
 * asked once more. */
#include "tests/sim/sim_snapshots.h"

#include "actors/keeper_internal.h"
#include "actors/transfer.h"

#include <stdlib.h>

#define PATIENCE TM_SECONDS(60)
#define LOOK_NS  TM_MS(2)
#define ULL(x)   ((unsigned long long)(x))

struct all {
    struct tm_sim *sim;
    struct tm_sim_snapshots_stats stats;
    enum { NOT_ASKED, ASKED, DONE } * copies; /* by node and partition */
    uint32_t partitions;
    unsigned waiting;
};

/* The copy of the partition on a node that is up; NULL: it has none, or no data. */
static struct tm_partition *copy_of(struct tm_sim *sim, unsigned node, uint32_t partition,
                                    struct tm_shard **shard)
{
    if (!tm_sim_is_up(sim, node))
        return NULL;
    *shard = tm_sim_shard(sim, node, partition % tm_sim_workers(sim, node));
    struct tm_partition *p = tm_shard_find(*shard, partition);
    return p != NULL && p->store != NULL ? p : NULL;
}

/* ---- one copy ---- */

static bool same_members(const struct tm_members *a, const struct tm_members *b)
{
    bool same = a->index == b->index && a->count == b->count;
    for (unsigned i = 0; same && i < a->count; i++)
        same = tm_id_equal(a->at[i].id, b->at[i].id) && a->at[i].role == b->at[i].role;
    return same;
}

static bool beside_equal(const struct tm_snapshot_info *info, const struct tm_partition *p,
                         char *why, size_t size)
{
    uint64_t term = 0, hash = 0;
    struct tm_members members;
    if (!tm_log_term_at(p->log, info->walked_from, &term) ||
        !tm_log_hash_at(p->log, info->walked_from, &hash) || info->term != term ||
        info->hash != hash) {
        snprintf(why, size, "follows (%llu, %016llx), the log has (%llu, %016llx)", ULL(info->term),
                 ULL(info->hash), ULL(term), ULL(hash));
        return false;
    }
    if (tm_transfer_members(info, &members) != TM_OK ||
        !same_members(&members, &p->replica.members)) {
        snprintf(why, size, "has other members than the replica, of record %llu",
                 ULL(members.index));
        return false;
    }
    return true;
}

static bool tables_equal(const struct tm_store *loaded, const struct tm_store *live, char *why,
                         size_t size)
{
    if (tm_store_committed(loaded) == tm_store_committed(live) &&
        tm_store_load_until(loaded) <= tm_store_committed(loaded) &&
        tm_store_state_hash(loaded) == tm_store_state_hash(live) &&
        tm_store_count(loaded) == tm_store_count(live))
        return true;
    snprintf(why, size,
             "at %llu to %llu gives state %016llx of %llu entities, the table at %llu has "
             "%016llx of %llu",
             ULL(tm_store_committed(loaded)), ULL(tm_store_load_until(loaded)),
             ULL(tm_store_state_hash(loaded)), ULL(tm_store_count(loaded)),
             ULL(tm_store_committed(live)), ULL(tm_store_state_hash(live)),
             ULL(tm_store_count(live)));
    return false;
}

static bool load_equal(const struct tm_shard *shard, const struct tm_snapshot_info *info,
                       const struct tm_partition *p, char *why, size_t size)
{
    struct tm_arena arena;
    bool equal = false;
    TM_ASSERT(tm_arena_open(&arena) == TM_OK);
    struct tm_store *fresh = tm_store_new(&arena, p->id);
    tm_store_load_begin(fresh, info->walked_from);
    enum tm_err e = tm_snapshot_load(shard->ctx, info, tm_keeper_load_item, fresh);
    if (e != TM_OK)
        snprintf(why, size, "does not load: %s", tm_err_text(e));
    else
        equal = tables_equal(fresh, p->store, why, size);
    tm_store_delete(fresh);
    tm_arena_close(&arena);
    return equal;
}

bool tm_sim_snapshot_equal(struct tm_sim *sim, unsigned node, uint32_t partition, char *why,
                           size_t size)
{
    struct tm_shard *shard;
    struct tm_snapshot_info info;
    const struct tm_partition *p = copy_of(sim, node, partition, &shard);
    TM_ASSERT(p != NULL);
    if (!tm_keeper_snapshot(shard->keeper, partition, false, &info)) {
        snprintf(why, size, "is not there");
        return false;
    }
    return load_equal(shard, &info, p, why, size) && beside_equal(&info, p, why, size);
}

/* ---- all of them ---- */

static bool is_taking(const struct tm_keeper *k, const struct tm_partition *p)
{
    for (unsigned i = 0; i < TM_KEEPER_TAKINGS; i++)
        if (k->takings[i].p == p)
            return true;
    return false;
}

/* Whether the newest snapshot is one of the table as it is now, with nothing in it that is not
 * committed: a snapshot has none of that. */
static bool is_of_now(const struct tm_shard *shard, const struct tm_partition *p)
{
    struct tm_snapshot_info info;
    return tm_keeper_snapshot(shard->keeper, p->id, false, &info) &&
           info.walked_from == tm_store_committed(p->store) &&
           tm_store_applied(p->store) == tm_store_committed(p->store);
}

static void go_on(struct all *a, unsigned node, uint32_t partition)
{
    struct tm_shard *shard;
    char why[256];
    const struct tm_partition *p = copy_of(a->sim, node, partition, &shard);
    size_t at = node * a->partitions + partition;
    if (p == NULL || a->copies[at] == DONE)
        return;
    a->waiting++;
    if (a->copies[at] == NOT_ASKED) {
        if (tm_sim_snapshot(a->sim, node, partition))
            a->copies[at] = ASKED;
    } else if (is_taking(shard->keeper, p)) {
        return;
    } else if (!is_of_now(shard, p)) {
        a->copies[at] = NOT_ASKED;
        a->stats.again++;
    } else {
        a->copies[at] = DONE;
        a->stats.compared++;
        a->stats.entities += tm_store_count(p->store);
        if (!tm_sim_snapshot_equal(a->sim, node, partition, why, sizeof why))
            tm_sim_wrong(a->sim, "partition %u: the snapshot of node %s %s", partition,
                         tm_sim_node_name(node), why);
    }
}

struct tm_sim_snapshots_stats tm_sim_snapshots_compare(struct tm_sim *sim)
{
    const struct tm_sim_config *c = tm_sim_config_of(sim);
    struct all a = {.sim = sim, .partitions = c->partitions + 1};
    uint64_t end = tm_sim_now(sim) + PATIENCE;
    a.copies = calloc((size_t)c->nodes * a.partitions, sizeof *a.copies);
    TM_ASSERT(a.copies != NULL);
    do {
        a.waiting = 0;
        for (unsigned node = 0; node < c->nodes; node++)
            for (uint32_t p = 0; p < a.partitions; p++)
                go_on(&a, node, p);
        tm_sim_run_for(sim, LOOK_NS);
    } while (a.waiting > 0 && tm_sim_wrongs(sim) == 0 && tm_sim_now(sim) < end);
    if (a.waiting > 0 && tm_sim_wrongs(sim) == 0)
        tm_sim_wrong(sim, "%u snapshots were not taken within %u s", a.waiting,
                     (unsigned)(PATIENCE / TM_SECONDS(1)));
    free(a.copies);
    return a.stats;
}
