/* Questions are answered from what the shards of the nodes that are up say of themselves, put side
 * by side for each partition. */
#include "tests/sim/sim_atlas.h"

/* What the nodes say of one partition. */
struct view {
    unsigned leaders, in_sync, copies;
    uint32_t there, faulty; /* bit per node */
    bool sets_equal;        /* of all that are there */
    uint64_t set_term, set_epoch, set_nodes;
};

struct gather {
    uint32_t partition;
    unsigned node;
    struct view view;
};

static void gather(void *arg, const struct tm_shard_partition *p)
{
    struct gather *g = arg;
    struct view *v = &g->view;
    if (p->partition != g->partition)
        return;
    if (v->there == 0) {
        v->sets_equal = true;
        v->set_term = p->set_term;
        v->set_epoch = p->set_epoch;
        v->set_nodes = p->set_nodes;
    }
    v->sets_equal &=
        v->set_term == p->set_term && v->set_epoch == p->set_epoch && v->set_nodes == p->set_nodes;
    v->there |= 1u << g->node;
    v->faulty |= (uint32_t)p->faulty << g->node;
    v->leaders += p->ready;
    v->copies = p->copies;
    if (p->ready)
        v->in_sync = p->in_sync;
}

static struct view view_of(const struct tm_sim_atlas *a, uint32_t partition)
{
    struct gather g = {.partition = partition};
    for (g.node = 0; g.node < tm_sim_config_of(a->sim)->nodes; g.node++)
        for (unsigned w = 0; tm_sim_is_up(a->sim, g.node) && w < tm_sim_workers(a->sim, g.node);
             w++)
            tm_shard_partitions(tm_sim_shard(a->sim, g.node, w), gather, &g);
    return g.view;
}

static uint32_t data_nodes(const struct tm_holders *h)
{
    uint32_t nodes = 0;
    for (unsigned i = 0; i < h->copies; i++)
        nodes |= 1u << h->data[i];
    return nodes;
}

static uint32_t all_nodes(const struct tm_holders *h)
{
    return data_nodes(h) | (h->witness != TM_NO_NODE ? 1u << h->witness : 0);
}

/* Leader and copies agree that nothing is missing anywhere. */
static bool is_whole(const struct tm_sim_atlas *a, uint32_t partition)
{
    const struct tm_holders *h = &tm_sim_directory(a->sim)->placement[partition];
    struct view v = view_of(a, partition);
    return (v.there & all_nodes(h)) == all_nodes(h) && v.faulty == 0 && v.leaders == 1 &&
           v.in_sync == h->copies &&
           (h->copies != 2 || (v.sets_equal && (v.set_nodes & data_nodes(h)) == data_nodes(h)));
}

void tm_sim_atlas_init(struct tm_sim_atlas *a, struct tm_sim *sim)
{
    *a = (struct tm_sim_atlas){.sim = sim};
}

bool tm_sim_atlas_may(const struct tm_sim_atlas *a, uint32_t nodes)
{
    for (uint32_t p = 0; p <= tm_sim_directory(a->sim)->partitions; p++) {
        const struct tm_holders *h = &tm_sim_directory(a->sim)->placement[p];
        if ((all_nodes(h) & nodes) == 0)
            continue;
        unsigned doubtful = (unsigned)__builtin_popcount((a->doubt | nodes) & all_nodes(h));
        if (h->copies == 2 ? doubtful > 1 || h->witness == TM_NO_NODE || !is_whole(a, p)
                           : doubtful > (h->copies - 1u) / 2)
            return false;
    }
    return true;
}

void tm_sim_atlas_mark(struct tm_sim_atlas *a, uint32_t nodes)
{
    a->doubt |= nodes;
}

void tm_sim_atlas_review(struct tm_sim_atlas *a)
{
    uint32_t still = 0;
    if (a->doubt == 0)
        return;
    for (uint32_t p = 0; p <= tm_sim_directory(a->sim)->partitions; p++) {
        uint32_t here = all_nodes(&tm_sim_directory(a->sim)->placement[p]) & a->doubt;
        if (here != 0 && (here & still) != here && !is_whole(a, p))
            still |= here;
    }
    a->doubt = still;
}

bool tm_sim_atlas_spares(const struct tm_sim_atlas *a, uint32_t dead)
{
    bool solo_stop = tm_sim_config_of(a->sim)->options.solo == TM_SOLO_STOP;
    for (uint32_t p = 0; p <= tm_sim_directory(a->sim)->partitions; p++) {
        const struct tm_holders *h = &tm_sim_directory(a->sim)->placement[p];
        unsigned alive = (unsigned)__builtin_popcount(data_nodes(h) & ~(a->doubt | dead));
        if (h->copies == 2 ? (dead & all_nodes(h)) != 0 &&
                                 (solo_stop || h->witness == TM_NO_NODE || !is_whole(a, p) ||
                                  __builtin_popcount((a->doubt | dead) & all_nodes(h)) > 1)
                           : (dead & data_nodes(h)) != 0 && alive < h->copies / 2 + 1u)
            return false;
    }
    return true;
}
