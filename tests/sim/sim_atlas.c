/* Questions are answered from what the shards of the nodes that are up say of themselves, put side
 * by side for each partition. */
#include "tests/sim/sim_atlas.h"

/* What the nodes say of one partition. */
struct view {
    unsigned leaders, in_sync;
    uint32_t there, faulty;                  /* bit per node */
    bool sets_equal;                         /* of all that are there */
    uint64_t set_term, set_epoch, set_nodes; /* the newest */
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
    bool newer =
        p->set_term > v->set_term || (p->set_term == v->set_term && p->set_epoch > v->set_epoch);
    v->sets_equal = v->there == 0 || (v->sets_equal && !newer && v->set_term == p->set_term &&
                                      v->set_epoch == p->set_epoch && v->set_nodes == p->set_nodes);
    if (v->there == 0 || newer) {
        v->set_term = p->set_term;
        v->set_epoch = p->set_epoch;
        v->set_nodes = p->set_nodes;
    }
    v->there |= 1u << g->node;
    v->faulty |= (uint32_t)p->faulty << g->node;
    v->leaders += p->ready;
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

static bool all_whole(const struct tm_sim_atlas *a)
{
    for (uint32_t p = 0; p <= tm_sim_directory(a->sim)->partitions; p++)
        if (!is_whole(a, p))
            return false;
    return true;
}

bool tm_sim_atlas_is_clear(const struct tm_sim_atlas *a)
{
    return a->born && a->doubt == 0 && all_whole(a);
}

void tm_sim_atlas_scatter(struct tm_sim_atlas *a, uint32_t nodes)
{
    a->apart |= nodes;
}

bool tm_sim_atlas_may(const struct tm_sim_atlas *a, uint32_t nodes)
{
    if (!a->born)
        return false;
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

void tm_sim_atlas_expect(struct tm_sim_atlas *a, uint32_t nodes)
{
    a->doubt |= nodes;
    a->latent |= nodes;
}

void tm_sim_atlas_damage(struct tm_sim_atlas *a, uint32_t nodes)
{
    tm_sim_atlas_expect(a, nodes);
    a->damaged |= nodes;
}

void tm_sim_atlas_started(struct tm_sim_atlas *a, unsigned node)
{
    if (!tm_sim_disk_has_rot(tm_sim_disk_of(a->sim, node), ".spare"))
        a->latent &= ~(1u << node);
}

bool tm_sim_atlas_is_faulty(const struct tm_sim_atlas *a, unsigned node)
{
    for (uint32_t p = 0; p <= tm_sim_directory(a->sim)->partitions; p++)
        if ((all_nodes(&tm_sim_directory(a->sim)->placement[p]) >> node & 1) != 0) {
            struct view v = view_of(a, p);
            if ((v.faulty >> node & 1) != 0 || (v.there >> node & 1) == 0)
                return true;
        }
    return false;
}

bool tm_sim_atlas_may_replace(const struct tm_sim_atlas *a, unsigned node)
{
    for (uint32_t p = 0; p <= tm_sim_directory(a->sim)->partitions; p++) {
        const struct tm_holders *h = &tm_sim_directory(a->sim)->placement[p];
        if (h->copies != 2 || (data_nodes(h) >> node & 1) == 0)
            continue;
        struct view v = view_of(a, p);
        uint32_t other = data_nodes(h) & ~(1u << node);
        if ((v.there & other) == 0 || (v.set_nodes & other) == 0)
            return false;
    }
    return ((a->damaged & ~a->apart) >> node & 1) != 0;
}

bool tm_sim_atlas_may_linger(const struct tm_sim_atlas *a, unsigned node)
{
    for (uint32_t p = 0; p <= tm_sim_directory(a->sim)->partitions; p++) {
        const struct tm_holders *h = &tm_sim_directory(a->sim)->placement[p];
        if (h->copies == 2 && (all_nodes(h) >> node & 1) != 0)
            return false;
    }
    return true;
}

void tm_sim_atlas_review(struct tm_sim_atlas *a)
{
    uint32_t still = a->latent;
    a->born = a->born || all_whole(a);
    if (a->doubt == 0)
        return;
    for (uint32_t p = 0; p <= tm_sim_directory(a->sim)->partitions; p++) {
        uint32_t here = all_nodes(&tm_sim_directory(a->sim)->placement[p]) & a->doubt;
        if (here != 0 && (here & still) != here && !is_whole(a, p))
            still |= here;
    }
    for (unsigned i = 0; i < TM_SIM_NODES_MAX; i++)
        if (((a->damaged & ~still) >> i & 1) != 0)
            tm_sim_harmed(a->sim, i, TM_SIM_HARM_OVER);
    a->doubt = still;
    a->damaged &= still;
    a->apart &= still;
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
