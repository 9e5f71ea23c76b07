/* All links get another filter, as by `tidemill apply`: cluster after cluster, each by one version
 * of its directory.  What the filter has narrowed away may leave until the source goes by it, and
 * not after. */
#include "tests/sim/sim_links_internal.h"

#include <stdlib.h>

struct tm_sim_links_changes {
    struct tm_sim_links_run *run;
    struct tm_sim_links_load *load;
    uint64_t begun_at;
    unsigned at;                         /* which change */
    unsigned order[TM_SIM_CLUSTERS_MAX]; /* of the clusters */
    unsigned cluster;                    /* in that order; all: the change is made */
    bool under_way;
};

static void begin_change(struct tm_sim_links_changes *c)
{
    struct tm_sim_links_run *r = c->run;
    const struct tm_sim_links_change *change = &r->plan->change[c->at];
    unsigned n = r->plan->world.clusters, first = (unsigned)tm_rng_below(&r->rng, n);
    c->under_way = true;
    c->cluster = 0;
    for (unsigned i = 0; i < n; i++)
        c->order[i] = (first + i) % n;
    for (unsigned i = 0; i < n; i++)
        for (unsigned j = 0; j < n; j++)
            if ((r->plan->world.to[i] >> j & 1) != 0) {
                tm_sim_links_filter(r->plan, i, j, change->line);
                tm_sim_links_load_widens(c->load, i, j, change->ships);
            }
    tm_sim_world_renew(r->w);
    tm_sim_links_apply(r, c->order[0]);
    tm_sim_say(tm_sim_world_cluster(r->w, 0), "all links take types %x from now on", change->ships);
}

/* The cluster goes by the change. */
static void done_with(struct tm_sim_links_changes *c, unsigned cluster)
{
    struct tm_sim_links_run *r = c->run;
    for (unsigned j = 0; j < r->plan->world.clusters; j++)
        if ((r->plan->world.to[cluster] >> j & 1) != 0)
            tm_sim_links_load_narrows(c->load, cluster, j, r->plan->change[c->at].ships);
    if (++c->cluster < r->plan->world.clusters) {
        tm_sim_links_apply(r, c->order[c->cluster]);
        return;
    }
    c->under_way = false;
    c->at++;
    r->out->changed++;
}

bool tm_sim_links_changes_act(struct tm_sim_links_run *r)
{
    struct tm_sim_links_changes *c = r->changes;
    if (c == NULL || c->at == r->plan->changes)
        return true;
    uint64_t now = tm_sim_world_now(r->w);
    if (!c->under_way && now < c->begun_at + r->plan->change[c->at].at_ns)
        return false;
    if (!c->under_way)
        begin_change(c);
    if (tm_sim_links_applied(r, c->order[c->cluster]))
        done_with(c, c->order[c->cluster]);
    return c->at == r->plan->changes;
}

void tm_sim_links_changes_begin(struct tm_sim_links_run *r, struct tm_sim_links_load *l)
{
    if (r->plan->changes == 0)
        return;
    r->changes = calloc(1, sizeof *r->changes);
    TM_ASSERT(r->changes != NULL);
    r->changes->run = r;
    r->changes->load = l;
    r->changes->begun_at = tm_sim_world_now(r->w);
}

void tm_sim_links_changes_free(struct tm_sim_links_run *r)
{
    free(r->changes);
}
