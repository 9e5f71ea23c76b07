/* What disks may lose: a bit for each disk in each record that it held when something befell it. */
#include "tests/sim/sim_truth_internal.h"

static void lose_of(struct tm_sim_part *p, uint64_t disks)
{
    for (uint64_t i = 0; i < p->cap; i++)
        for (struct tm_sim_entry *e = p->at[i]; e != NULL; e = e->other)
            e->gone |= e->durable & disks;
}

void tm_sim_truth_lose(struct tm_sim_truth *t, unsigned node)
{
    uint64_t disks = 0;
    for (unsigned i = 0; i < t->disk_count; i++)
        disks |= (uint64_t)(t->disks[i].id.node == node) << i;
    for (uint32_t p = 0; p < t->config.partitions; p++)
        lose_of(&t->parts[p], disks);
}

void tm_sim_truth_missing(struct tm_sim_truth *t, uint32_t partition, uint64_t index, uint64_t disk)
{
    struct tm_sim_entry *e = tm_sim_truth_first(&t->parts[partition], index);
    for (; e != NULL; e = e->other)
        if (e->index == index)
            e->missing |= e->durable & ~e->cut & disk;
}

void tm_sim_truth_found_again(struct tm_sim_truth *t, uint32_t partition, uint64_t disk)
{
    const struct tm_sim_part *p = &t->parts[partition];
    for (uint64_t i = 0; i < p->cap; i++)
        for (struct tm_sim_entry *e = p->at[i]; e != NULL; e = e->other)
            e->missing &= ~disk;
}

bool tm_sim_truth_is_kept(const struct tm_sim_truth *t, uint32_t partition, uint64_t index,
                          uint64_t hash)
{
    const struct tm_sim_entry *e = tm_sim_truth_find(t, partition, index, hash);
    return e != NULL && (e->committed || (e->durable & ~e->gone) != 0);
}
