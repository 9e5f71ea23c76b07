/* Power that fails in a moment that matters: a leader was told that the witness knows it to be
 * alone, has acknowledged on its own what waited for that, and has not yet written down that it
 * may. Faults that come when they like hardly ever meet it, for it is over with the next write of
 * the disk.
 *
 * An ambush is laid by its rate and lies for a while; it is counted when it springs: a node that a
 * turn left in such a state ends before any other event; faults under way end, and who else is away
 * comes back before it. */
#include "actors/partition.h"
#include "tests/sim/sim_faults_internal.h"

#include <stdlib.h>

#define AWAY_NS  TM_MS(300)
#define SCENE_NS TM_SECONDS(2)

static bool begin_ambush(struct tm_sim_faults *f, struct tm_sim_active *a)
{
    f->ambush_until = a->until;
    return false;
}

const struct tm_sim_fault_acts tm_sim_ambush_acts = {begin_ambush, NULL};

static bool leads_alone(const struct tm_replica *r)
{
    return r->role == TM_ROLE_LEADER && r->hs.insync.count == 1 && r->hs.insync.confirmed;
}

/* Whether it has committed alone and would not know any more that it may. */
static bool is_prey(struct tm_sim_lone *l, const struct tm_replica *r)
{
    bool was = l->alone;
    l->alone = leads_alone(r);
    if (!l->alone || !was)
        l->since = l->commit; /* before this turn */
    l->commit = r->commit;
    return l->alone && r->commit > l->since && r->hs_done < r->hs_wanted;
}

static void turned(void *host, unsigned node, unsigned worker)
{
    struct tm_sim_faults *f = host;
    uint32_t partitions = tm_sim_config_of(f->sim)->partitions + 1;
    for (uint32_t id = worker; id < partitions; id += tm_sim_workers(f->sim, node)) {
        const struct tm_partition *p = tm_shard_partition(tm_sim_shard(f->sim, node, worker), id);
        bool prey = p != NULL && is_prey(&f->lone[node * partitions + id], &p->replica);
        if (prey && tm_sim_now(f->sim) < f->ambush_until && !f->healing)
            f->prey |= 1u << node;
    }
}

static uint64_t next_spring(void *host)
{
    const struct tm_sim_faults *f = host;
    return f->prey != 0 ? 0 : UINT64_MAX;
}

/* Until then the disk of a node is this fast. */
static void set_disk(struct tm_sim_faults *f, unsigned node, uint64_t min_ns, uint64_t max_ns)
{
    if (f->active_count == TM_SIM_ACTIVE_MAX)
        return;
    f->active[f->active_count++] = (struct tm_sim_active){
        .kind = TM_SIM_FAULT_SLOW_DISK, .node = node, .until = tm_sim_now(f->sim) + SCENE_NS};
    tm_sim_disk_set_latency(tm_sim_disk_of(f->sim, node), min_ns, max_ns);
}

/* What is under way ends; the others come back first, with slow disks: so that the prey, when it
 * leads again, has it with a copy that can be reached and lacks what it committed alone. */
static void set_the_scene(struct tm_sim_faults *f, uint32_t prey)
{
    uint64_t now = tm_sim_now(f->sim);
    for (unsigned i = 0; i < f->active_count; i++)
        f->active[i].until = tm_min_u64(f->active[i].until, now);
    for (unsigned i = 0; i < f->nodes; i++) {
        bool fell = (prey >> i & 1) != 0;
        if (f->absence[i].down)
            f->absence[i].until = now + 1 + (fell ? AWAY_NS : 0) + tm_sim_faults_draw(f, AWAY_NS);
        if (fell)
            set_disk(f, i, TM_US(5), TM_US(50));
        else
            set_disk(f, i, TM_MS(20), TM_MS(60));
    }
}

static void spring(void *host)
{
    struct tm_sim_faults *f = host;
    struct tm_sim_active a = {.until = tm_sim_now(f->sim) + AWAY_NS};
    uint32_t prey = f->prey;
    f->prey = 0;
    if (!tm_sim_end_nodes(f, prey, TM_SIM_POWER_NONE_KEPT, &a))
        return;
    set_the_scene(f, prey);
    f->fired[TM_SIM_FAULT_AMBUSH]++;
    f->ambush_until = 0;
    tm_sim_say(f->sim, "fault ambush nodes %x", prey);
}

void tm_sim_ambush_prepare(struct tm_sim_faults *f)
{
    const struct tm_sim_config *config = tm_sim_config_of(f->sim);
    f->lone = calloc(config->nodes * (config->partitions + 1ULL), sizeof *f->lone);
    TM_ASSERT(f->lone != NULL);
    tm_sim_watch(f->sim, &(struct tm_sim_watcher){.host = f, .turned = turned});
    tm_sim_drive(f->sim, &(struct tm_sim_driver){.host = f, .next = next_spring, .act = spring});
}
