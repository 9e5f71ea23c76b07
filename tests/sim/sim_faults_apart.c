/* Rot in several copies of one partition at a time, in different places.  The map of it is kept by
 * record: a block may be spoiled if of each record in it, of whatever partition, some other copy is
 * left that is whole, has it durably, and was not spoiled there.  So all copies may be damaged at
 * once, and no two of the same record that has no third.
 *
 * It happens to clusters that are whole; from then on all that were hit are in doubt until they
 * were seen whole again, and none of them gets an empty disk: it may be the only one that has
 * something. Half of the time they all end at once and find it when they start, else each finds it
 * by itself, by the scrub or when it starts anew.
 *
 * Or it is one copy, and what it loses lies where the logs of all others begin: those have it in
 * their snapshots, which end in the middle of the hole, and behind the hole the copy has more. */
#include "actors/keeper.h"
#include "actors/partition.h"
#include "actors/shard_internal.h"
#include "storage/log_internal.h"
#include "tests/sim/sim_faults_internal.h"

#define LOST_MAX 512
#define TRIES    8

/* Records of a node that were spoiled just now. */
struct lost {
    unsigned node;
    uint32_t partition;
    uint64_t index;
};

struct apart {
    struct tm_sim_faults *f;
    struct lost lost[LOST_MAX];
    unsigned count;
    uint32_t hit; /* bit per node */
};

static uint64_t draw(const struct apart *x, uint64_t bound)
{
    return tm_sim_faults_draw(x->f, bound);
}

/* The partition on that node, if it is up and has a log of it. */
static const struct tm_partition *part(const struct apart *x, unsigned node, uint32_t id)
{
    if (!tm_sim_is_up(x->f->sim, node))
        return NULL;
    unsigned worker = id % tm_sim_workers(x->f->sim, node);
    const struct tm_partition *p = tm_shard_partition(tm_sim_shard(x->f->sim, node, worker), id);
    return p != NULL && !p->witness && !p->stopping ? p : NULL;
}

/* ---- the map ---- */

static bool is_lost(const struct apart *x, unsigned node, uint32_t id, uint64_t index)
{
    for (unsigned i = 0; i < x->count; i++)
        if (x->lost[i].node == node && x->lost[i].partition == id && x->lost[i].index == index)
            return true;
    return false;
}

static bool is_good(const struct apart *x, unsigned node, uint32_t id, uint64_t index)
{
    const struct tm_partition *p = part(x, node, id);
    return p != NULL && !p->rootless && p->replica.hs.health == TM_HEALTH_WHOLE &&
           index >= tm_log_first(p->log) && index <= tm_log_durable(p->log) &&
           !is_lost(x, node, id, index);
}

static bool is_kept(const struct apart *x, unsigned but, uint32_t id, uint64_t index)
{
    for (unsigned i = 0; i < x->f->nodes; i++)
        if (i != but && is_good(x, i, id, index))
            return true;
    return false;
}

static uint64_t block_at(const struct tm_partition *p, uint64_t index)
{
    return TM_WAL_PLACE_BLOCK(tm_log_index_at(&p->log->index, index)->place);
}

/* Notes what is lost with that block.  False: something in it would be nowhere. */
static bool may_lose(struct apart *x, unsigned node, unsigned worker, uint64_t block)
{
    unsigned partitions = tm_sim_config_of(x->f->sim)->partitions + 1;
    for (uint32_t id = worker; id < partitions; id += tm_sim_workers(x->f->sim, node)) {
        const struct tm_partition *p = part(x, node, id);
        for (uint64_t i = p != NULL ? tm_log_first(p->log) : 1;
             p != NULL && i <= tm_log_last(p->log); i++) {
            if (block_at(p, i) != block)
                continue;
            if (x->count == LOST_MAX || !is_kept(x, node, id, i))
                return false;
            x->lost[x->count++] = (struct lost){.node = node, .partition = id, .index = i};
        }
    }
    return true;
}

/* Whether the log of that worker goes on behind the block: what is lost with it is known then. */
static bool is_followed(const struct apart *x, unsigned node, unsigned worker, uint64_t block)
{
    unsigned partitions = tm_sim_config_of(x->f->sim)->partitions + 1;
    for (uint32_t id = worker; id < partitions; id += tm_sim_workers(x->f->sim, node)) {
        const struct tm_partition *p = part(x, node, id);
        uint64_t durable = p != NULL ? tm_log_durable(p->log) : 0;
        if (p != NULL && durable >= tm_log_first(p->log) && block_at(p, durable) > block)
            return true;
    }
    return false;
}

/* ---- spoiling ---- */

/* Some bits of the block in which the record lies. */
static void flip_bits(struct apart *x, unsigned node, const struct tm_log *log, uint64_t index)
{
    char name[TM_WAL_NAME_MAX];
    struct tm_sim_disk *disk = tm_sim_disk_of(x->f->sim, node);
    uint64_t segment = tm_log_segment_of(log, index), size = 0;
    uint64_t offset = tm_wal_place_offset(tm_log_index_at(&log->index, index)->place);
    struct tm_wal_block header;
    tm_wal_name_segment(name, "wal", log->set->config.wal.generation, log->set->config.wal.worker,
                        segment);
    const uint8_t *data = tm_sim_disk_data(disk, name, &size);
    if (data == NULL || offset >= size ||
        tm_wal_block_header(data + offset, segment, offset, size - offset, &header) != TM_OK)
        return;
    for (uint64_t times = 1 + draw(x, 3); times > 0; times--)
        (void)tm_sim_disk_flip(disk, name, offset + draw(x, header.disk_bytes),
                               (unsigned)draw(x, 8));
    x->hit |= 1u << node;
    tm_sim_say(x->f->sim, "rot on %s: %s from %llu to %llu", tm_sim_node_name(node), name,
               (unsigned long long)offset, (unsigned long long)offset + header.disk_bytes);
}

static void spoil_one(struct apart *x, unsigned node, uint32_t id)
{
    const struct tm_partition *p = part(x, node, id);
    unsigned worker = id % tm_sim_workers(x->f->sim, node);
    for (unsigned tries = 0; p != NULL && tries < TRIES; tries++) {
        uint64_t first = tm_log_first(p->log), durable = tm_log_durable(p->log);
        if (durable < first)
            return;
        uint64_t index = first + draw(x, durable - first + 1), block = block_at(p, index);
        unsigned had = x->count;
        if (tm_log_segment_of(p->log, index) != 0 && is_followed(x, node, worker, block) &&
            may_lose(x, node, worker, block)) {
            flip_bits(x, node, p->log, index);
            return;
        }
        x->count = had;
    }
}

/* ---- the fault ---- */

static void damage(struct tm_sim_faults *f, uint32_t nodes, struct tm_sim_active *a)
{
    tm_sim_atlas_damage(&f->atlas, nodes);
    tm_sim_atlas_scatter(&f->atlas, nodes);
    for (unsigned i = 0; i < f->nodes; i++)
        if ((nodes >> i & 1) != 0) {
            tm_sim_harmed(f->sim, i, TM_SIM_HARM_ROT);
            f->absence[i].scrub_at = a->until + tm_sim_faults_draw(f, TM_SECONDS(20));
        }
    if (tm_sim_faults_draw(f, 2) == 0)
        (void)tm_sim_end_nodes(f, nodes, tm_sim_faults_draw(f, 2) == 0 ? TM_SIM_KILL : TM_SIM_POWER,
                               a);
}

/* Everybody is whole and may be hit. */
static bool is_calm(const struct tm_sim_faults *f)
{
    for (unsigned i = 0; i < f->nodes; i++)
        if (f->absence[i].fragile || f->absence[i].leaving || tm_sim_is_paused(f->sim, i))
            return false;
    return tm_sim_atlas_is_clear(&f->atlas);
}

static bool begin_apart(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    struct apart x = {.f = f};
    uint32_t id = (uint32_t)draw(&x, tm_sim_config_of(f->sim)->partitions + 1ULL);
    const struct tm_holders *h = &tm_sim_directory(f->sim)->placement[id];
    if (f->config.memory || h->copies < 2 || !is_calm(f))
        return false;
    unsigned first = (unsigned)draw(&x, h->copies), wanted = 2 + (unsigned)draw(&x, h->copies - 1u);
    for (unsigned i = 0; i < wanted; i++)
        spoil_one(&x, h->data[(first + i) % h->copies], id);
    a->side = x.hit;
    a->amount = id;
    if (x.hit != 0)
        damage(f, x.hit, a);
    return __builtin_popcount(x.hit) > 1;
}

const struct tm_sim_fault_acts tm_sim_apart_acts = {begin_apart, NULL};

/* ---- one copy, where the others' logs begin ---- */

/* Where that node's newest snapshot of the partition ends; 0: it has none, or its log does not know
 * that record. */
static uint64_t snapshot_end(const struct apart *x, unsigned node, uint32_t id)
{
    struct tm_snapshot_info info;
    const struct tm_partition *p = part(x, node, id);
    uint64_t term, hash;
    unsigned worker = id % tm_sim_workers(x->f->sim, node);
    if (p == NULL ||
        !tm_keeper_snapshot(tm_sim_shard(x->f->sim, node, worker)->keeper, id, false, &info) ||
        !tm_log_term_at(p->log, info.walked_from, &term) ||
        !tm_log_hash_at(p->log, info.walked_from, &hash))
        return 0;
    return info.walked_from;
}

/* From the first to the last end of a snapshot at the others; false: some have none. */
static bool ends_of_others(const struct apart *x, unsigned but, uint32_t id, uint64_t *first,
                           uint64_t *last)
{
    const struct tm_holders *h = &tm_sim_directory(x->f->sim)->placement[id];
    *first = UINT64_MAX;
    *last = 0;
    for (unsigned i = 0; i < h->copies; i++) {
        if (h->data[i] == but)
            continue;
        uint64_t end = snapshot_end(x, h->data[i], id);
        *first = tm_min_u64(*first, end);
        *last = tm_max_u64(*last, end);
    }
    return *first > 0;
}

static void compact_others(const struct apart *x, unsigned but, uint32_t id)
{
    const struct tm_holders *h = &tm_sim_directory(x->f->sim)->placement[id];
    for (unsigned i = 0; i < h->copies; i++)
        if (h->data[i] != but)
            tm_log_compact(part(x, h->data[i], id)->log, snapshot_end(x, h->data[i], id));
}

/* The others take snapshots; what is written until this ends lies behind them. */
static bool begin_gap(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    struct apart x = {.f = f};
    uint32_t id = (uint32_t)draw(&x, tm_sim_config_of(f->sim)->partitions + 1ULL);
    const struct tm_holders *h = &tm_sim_directory(f->sim)->placement[id];
    if (h->copies < 3 || !is_calm(f))
        return false;
    a->amount = id;
    a->node = h->data[draw(&x, h->copies)];
    for (unsigned i = 0; i < h->copies; i++)
        if (h->data[i] != a->node)
            (void)tm_sim_snapshot(f->sim, h->data[i], id);
    return true;
}

static void end_gap(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    struct apart x = {.f = f};
    uint32_t id = (uint32_t)a->amount;
    unsigned worker = id % tm_sim_workers(f->sim, a->node);
    const struct tm_partition *p = part(&x, a->node, id);
    uint64_t first, last;
    if (f->healing || p == NULL || !is_calm(f) || !ends_of_others(&x, a->node, id, &first, &last))
        return;
    first -= draw(&x, 3);
    last += 1 + draw(&x, 2);
    if (first < tm_log_first(p->log) || last >= tm_log_durable(p->log) ||
        !is_followed(&x, a->node, worker, block_at(p, last)))
        return;
    for (uint64_t i = first; i <= last; i++)
        if (tm_log_segment_of(p->log, i) == 0 ||
            (!is_lost(&x, a->node, id, i) && !may_lose(&x, a->node, worker, block_at(p, i))))
            return;
    for (uint64_t i = first; i <= last; i++)
        flip_bits(&x, a->node, p->log, i);
    compact_others(&x, a->node, id);
    tm_sim_atlas_damage(&f->atlas, x.hit);
    tm_sim_harmed(f->sim, a->node, TM_SIM_HARM_ROT);
    a->until = tm_sim_now(f->sim) + TM_MS(1) + draw(&x, TM_MS(500));
    f->absence[a->node].scrub_at = a->until + draw(&x, TM_SECONDS(20));
    (void)tm_sim_end_nodes(f, x.hit, draw(&x, 2) == 0 ? TM_SIM_KILL : TM_SIM_POWER, a);
}

const struct tm_sim_fault_acts tm_sim_gap_acts = {begin_gap, end_gap};
