/* A look at all partitions of all nodes that are up, through what shards say of themselves. */
#include "tests/sim/sim_internal.h"

struct look {
    struct tm_sim *sim;
    unsigned node;
    char *why;
    size_t size;
    unsigned leaders[TM_DIRECTORY_PARTITIONS_MAX + 1], seen[TM_DIRECTORY_PARTITIONS_MAX + 1];
    struct tm_shard_partition first[TM_DIRECTORY_PARTITIONS_MAX + 1];
    unsigned first_node[TM_DIRECTORY_PARTITIONS_MAX + 1];
    unsigned unequal, different;
};

static void look_at(void *arg, const struct tm_shard_partition *p)
{
    struct look *l = arg;
    uint32_t id = p->partition;
    l->leaders[id] += p->ready;
    if (strcmp(p->role, "WITNESS") == 0)
        return;
    if (l->seen[id]++ == 0) {
        l->first[id] = *p;
        l->first_node[id] = l->node;
    }
    const struct tm_shard_partition *f = &l->first[id];
    if (p->applied != f->applied || p->commit != f->commit || p->last != p->commit ||
        p->applied != p->commit || p->faulty) {
        snprintf(l->why, l->size,
                 "partition %u: %s has applied %llu commit %llu last %llu term %llu%s, "
                 "%s applied %llu commit %llu",
                 id, tm_sim_names[l->node], (unsigned long long)p->applied,
                 (unsigned long long)p->commit, (unsigned long long)p->last,
                 (unsigned long long)p->term, p->faulty ? " faulty" : "",
                 tm_sim_names[l->first_node[id]], (unsigned long long)f->applied,
                 (unsigned long long)f->commit);
        l->unequal++;
    } else if (p->state_hash != f->state_hash || p->entities != f->entities) {
        snprintf(
            l->why, l->size,
            "partition %u at %llu: state %016llx of %llu entities on %s, %016llx of %llu on %s", id,
            (unsigned long long)p->applied, (unsigned long long)p->state_hash,
            (unsigned long long)p->entities, tm_sim_names[l->node],
            (unsigned long long)f->state_hash, (unsigned long long)f->entities,
            tm_sim_names[l->first_node[id]]);
        l->different++;
    }
}

static struct look *look(struct tm_sim *sim, char *why, size_t size,
                         void (*visit)(void *arg, const struct tm_shard_partition *p))
{
    struct look *l = calloc(1, sizeof *l);
    TM_ASSERT(l != NULL);
    *l = (struct look){.sim = sim, .why = why, .size = size};
    why[0] = '\0';
    for (unsigned i = 0; i < sim->config.nodes; i++) {
        l->node = i;
        for (unsigned k = 0; sim->nodes[i].up && k < sim->nodes[i].count; k++)
            tm_shard_partitions(sim->nodes[i].workers[k].shard, visit, l);
    }
    return l;
}

static void note_offer(void *arg, const char *name)
{
    struct look *l = arg;
    if (strchr(name, '.') != NULL) /* refused, or not whole */
        return;
    snprintf(l->why, l->size, "%s still has to offer %s", tm_sim_names[l->node], name);
    l->unequal++;
}

/* Eventual mode: what failovers cut off has found a leader. */
static void look_at_offers(struct look *l)
{
    for (l->node = 0; l->sim->config.eventual && l->node < l->sim->config.nodes; l->node++) {
        struct tm_disk *disk = tm_sim_disk_table(l->sim->nodes[l->node].disk);
        if (l->sim->nodes[l->node].up)
            disk->list(disk, "offers", note_offer, l);
    }
}

/* How the partition stands on each node. */
struct replicas {
    uint32_t partition;
    const char *name;
    char *text;
    size_t size;
};

static void tell_replica(void *arg, const struct tm_shard_partition *p)
{
    struct replicas *r = arg;
    if (p->partition != r->partition)
        return;
    int n = snprintf(
        r->text, r->size, "; %s %s%s%s term %llu last %llu.%llu commit %llu applied %llu", r->name,
        p->role, p->ready ? " ready" : "", p->faulty ? " faulty" : "", (unsigned long long)p->term,
        (unsigned long long)p->last_term, (unsigned long long)p->last,
        (unsigned long long)p->commit, (unsigned long long)p->applied);
    size_t used = tm_min_u64((uint64_t)n, r->size - 1);
    r->text += used;
    r->size -= used;
}

static void tell_replicas(struct tm_sim *sim, uint32_t partition, char *text, size_t size)
{
    struct replicas r = {.partition = partition, .text = text, .size = size};
    for (unsigned i = 0; i < sim->config.nodes; i++) {
        r.name = tm_sim_names[i];
        for (unsigned k = 0; sim->nodes[i].up && k < sim->nodes[i].count; k++)
            tm_shard_partitions(sim->nodes[i].workers[k].shard, tell_replica, &r);
    }
}

bool tm_sim_converged(struct tm_sim *sim, char *why, size_t size)
{
    struct look *l = look(sim, why, size, look_at);
    look_at_offers(l);
    bool good = l->unequal == 0;
    for (uint32_t p = 0; p <= sim->config.partitions; p++) {
        const struct tm_holders *h = &sim->directory->placement[p];
        unsigned copies = 0;
        for (unsigned i = 0; i < h->copies; i++)
            copies += sim->nodes[h->data[i]].up;
        if (l->leaders[p] == 1 && l->seen[p] >= copies)
            continue;
        int n = snprintf(why, size, "partition %u: %u leaders, %u copies", p, l->leaders[p],
                         l->seen[p]);
        tell_replicas(sim, p, why + n, size - (size_t)n);
        good = false;
    }
    free(l);
    return good;
}

static void look_whole(void *arg, const struct tm_shard_partition *p)
{
    struct look *l = arg;
    l->leaders[p->partition] += p->ready;
    if (p->faulty || (p->ready && p->in_sync < p->copies)) {
        snprintf(l->why, l->size, "partition %u on %s: %u of %u in sync%s", p->partition,
                 tm_sim_names[l->node], p->in_sync, p->copies, p->faulty ? ", faulty" : "");
        l->unequal++;
    }
}

bool tm_sim_whole(struct tm_sim *sim, char *why, size_t size)
{
    struct look *l = look(sim, why, size, look_whole);
    bool good = l->unequal == 0;
    for (uint32_t p = 0; p <= sim->config.partitions; p++)
        good &= l->leaders[p] == 1;
    free(l);
    return good;
}

unsigned tm_sim_differences(struct tm_sim *sim, char *why, size_t size)
{
    struct look *l = look(sim, why, size, look_at);
    unsigned different = l->different;
    free(l);
    return different;
}
