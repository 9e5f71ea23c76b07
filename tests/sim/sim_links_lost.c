/* A whole cluster is lost, from one moment to the next.  For good: its targets, which lose all that
 * is not on their disks at the same moment, are promoted.  Or it is made anew on empty disks, and
 * operators say at the others that this is the one they know by that name.  What had arrived
 * nowhere by then may not be more than the cluster had just said that its links lag by. */
#include "tests/sim/sim_links_internal.h"

#include "actors/partition.h"
#include "actors/shard_internal.h"

#include <inttypes.h>
#include <stdlib.h>

#define CALM_NS TM_MS(600) /* so long the same nodes lead: then all have said how far they are */
#define SAID_NS TM_MS(300) /* and this is how old that may be */
#define AWAY_NS TM_SECONDS(1)

enum step { WAITS, AWAY, REFUSED, OVER };

struct tm_sim_links_lost {
    struct tm_sim_links_load *load;
    uint64_t at, leads; /* when; a hash of who does, and since when it was that */
    uint64_t calm_since;
    uint64_t adopt_at;
    uint8_t uuid[16]; /* of the one that was lost */
    enum step step;
};

/* ---- what may be lost ---- */

/* Which node leads what; 0: somebody is missing. */
static uint64_t who_leads(struct tm_sim *sim)
{
    uint64_t hash = 1;
    const struct tm_sim_config *c = tm_sim_config_of(sim);
    for (uint32_t id = 0; id < c->partitions; id++) {
        unsigned leader = c->nodes;
        for (unsigned i = 0; i < c->nodes; i++) {
            const struct tm_partition *p =
                tm_sim_is_up(sim, i) && !tm_sim_is_paused(sim, i)
                    ? tm_shard_partition(tm_sim_shard(sim, i, id % tm_sim_workers(sim, i)), id)
                    : NULL;
            if (p != NULL && p->announced)
                leader = i;
        }
        if (leader == c->nodes)
            return 0;
        hash = hash * 31 + leader + 1;
    }
    return hash;
}

static void watch(struct tm_sim_links_run *r, struct tm_sim_links_lost *lost, unsigned cluster)
{
    uint64_t leads = who_leads(tm_sim_world_cluster(r->w, cluster));
    if (leads != lost->leads || leads == 0)
        lost->calm_since = tm_sim_world_now(r->w);
    lost->leads = leads;
}

/* How many streams there are between clusters of so many partitions. */
static unsigned streams_of(uint32_t from, uint32_t to)
{
    unsigned n = 1;
    for (uint32_t slot = 1; slot < TM_SLOTS; slot++)
        n += tm_partition_of_slot(slot, from) != tm_partition_of_slot(slot - 1, from) ||
             tm_partition_of_slot(slot, to) != tm_partition_of_slot(slot - 1, to);
    return n;
}

static void judge_lag(struct tm_sim_links_run *r, const struct tm_sim_links_lost *lost,
                      unsigned cluster)
{
    uint64_t now = tm_sim_world_now(r->w);
    if (now < lost->calm_since + CALM_NS)
        return;
    for (unsigned j = 0; j < r->plan->world.clusters; j++) {
        if ((r->plan->world.to[cluster] >> j & 1) == 0)
            continue;
        const struct tm_sim_config *c = r->plan->world.cluster;
        struct tm_links_figures f = tm_sim_links_figures(r, cluster, j);
        if (f.streams < streams_of(c[cluster].partitions, c[j].partitions))
            continue; /* it has not met the target since it started: nothing is said */
        uint64_t lacks = tm_sim_links_ok_lacks(r->ok, cluster, j, now - SAID_NS);
        uint64_t lag = f.lag_records;
        r->out->lost.lags_judged++;
        r->out->lost.writes += lacks;
        if (lacks > lag)
            tm_sim_wrong(tm_sim_world_cluster(r->w, cluster),
                         "%s is lost, and with it %" PRIu64 " writes that %s lacks; the link was "
                         "said to lag by %" PRIu64 " records",
                         tm_sim_world_name(cluster), lacks, tm_sim_world_name(j), lag);
    }
}

/* ---- losing ---- */

static void end_all(struct tm_sim_links_run *r, unsigned cluster, enum tm_sim_end how)
{
    struct tm_sim *sim = tm_sim_world_cluster(r->w, cluster);
    for (unsigned i = 0; i < tm_sim_config_of(sim)->nodes; i++)
        if (tm_sim_is_up(sim, i))
            tm_sim_end(sim, i, how);
}

static void lose(struct tm_sim_links_run *r, const struct tm_sim_links_lost *lost)
{
    unsigned cluster = r->plan->lost_cluster;
    tm_sim_say(tm_sim_world_cluster(r->w, cluster), "%s is lost", tm_sim_world_name(cluster));
    judge_lag(r, lost, cluster);
    end_all(r, cluster, TM_SIM_KILL);
    tm_sim_links_load_lost(lost->load, cluster, r->plan->loss == TM_SIM_LINKS_FOR_GOOD);
    r->out->lost.clusters++;
}

/* Its targets are promoted, and who shipped to it does not any more: it would wait for ever. */
static void do_without(struct tm_sim_links_run *r, unsigned cluster, unsigned lost)
{
    char name[64];
    snprintf(name, sizeof name, "op:from:%s/epoch", tm_sim_world_name(lost));
    if ((r->plan->world.to[lost] >> cluster & 1) != 0)
        tm_sim_links_say(r, cluster, name, "2");
    if ((r->plan->world.to[cluster] >> lost & 1) == 0)
        return;
    r->plan->world.to[cluster] &= ~(1u << lost);
    r->plan->waits[cluster][lost] = false;
    tm_sim_world_unlink(r->w, cluster, lost);
    tm_sim_links_apply(r, cluster);
}

/* Of those who remain, half the time all lose their power, too. */
static void lose_for_good(struct tm_sim_links_run *r, struct tm_sim_links_lost *lost)
{
    unsigned cluster = r->plan->lost_cluster;
    lose(r, lost);
    r->gone |= 1u << cluster;
    for (unsigned i = 0; i < r->plan->world.clusters; i++) {
        if (i == cluster)
            continue;
        if (tm_rng_chance(&r->rng, 1, 2))
            end_all(r, i, TM_SIM_POWER_NONE_KEPT);
        do_without(r, i, cluster);
    }
}

static void make_anew(struct tm_sim_links_run *r, struct tm_sim_links_lost *lost)
{
    unsigned cluster = r->plan->lost_cluster;
    struct tm_sim *sim = tm_sim_world_cluster(r->w, cluster);
    const struct tm_directory *d = tm_sim_links_directory(r, cluster);
    if (d == NULL)
        return; /* nobody is up who could tell who it was */
    memcpy(lost->uuid, d->uuid, sizeof lost->uuid);
    lose(r, lost);
    tm_sim_oracle_free(r->oracle[cluster]);
    for (unsigned i = 0; i < tm_sim_config_of(sim)->nodes; i++)
        tm_sim_wipe(sim, i);
    r->oracle[cluster] = tm_sim_oracle_new(sim);
    tm_sim_links_ok_forget(r->ok, cluster);
    tm_sim_links_made_anew(r, cluster);
    r->away |= 1u << cluster;
    lost->at = tm_sim_world_now(r->w) + AWAY_NS + tm_rng_below(&r->rng, TM_SECONDS(3));
    lost->step = AWAY;
}

static void come_back(struct tm_sim_links_run *r, struct tm_sim_links_lost *lost)
{
    r->away &= ~(1u << r->plan->lost_cluster);
    tm_sim_links_start_all(r, r->plan->lost_cluster);
    lost->at = tm_sim_world_now(r->w) + tm_rng_below(&r->rng, TM_SECONDS(3));
    lost->step = REFUSED;
}

/* At all that are linked with it, for both directions. */
static void adopt(struct tm_sim_links_run *r, struct tm_sim_links_lost *lost)
{
    unsigned cluster = r->plan->lost_cluster;
    const struct tm_directory *d = tm_sim_links_directory(r, cluster);
    if (d == NULL || memcmp(d->uuid, lost->uuid, sizeof lost->uuid) == 0)
        return;
    for (unsigned i = 0; i < r->plan->world.clusters; i++) {
        char name[64], value[32];
        snprintf(value, sizeof value, "%016" PRIx64, tm_load64(d->uuid));
        snprintf(name, sizeof name, "op:from:%s/adopted", tm_sim_world_name(cluster));
        if (i != cluster && (r->plan->world.to[cluster] >> i & 1) != 0)
            tm_sim_links_say(r, i, name, value);
        snprintf(name, sizeof name, "op:to:%s/adopted", tm_sim_world_name(cluster));
        if (i != cluster && (r->plan->world.to[i] >> cluster & 1) != 0)
            tm_sim_links_say(r, i, name, value);
    }
    r->out->lost.adopted++;
    lost->step = OVER;
}

bool tm_sim_links_lost_act(struct tm_sim_links_run *r)
{
    struct tm_sim_links_lost *lost = r->lost;
    if (lost == NULL || lost->step == OVER)
        return true;
    if (lost->step == WAITS)
        watch(r, lost, r->plan->lost_cluster);
    if (tm_sim_world_now(r->w) < lost->at)
        return false;
    if (lost->step == WAITS && r->plan->loss == TM_SIM_LINKS_ANEW)
        make_anew(r, lost);
    else if (lost->step == AWAY)
        come_back(r, lost);
    else if (lost->step == REFUSED)
        adopt(r, lost);
    return false;
}

void tm_sim_links_lost_end(struct tm_sim_links_run *r)
{
    if (r->lost == NULL || r->plan->loss != TM_SIM_LINKS_FOR_GOOD)
        return;
    lose_for_good(r, r->lost);
    r->lost->step = OVER;
}

void tm_sim_links_lost_begin(struct tm_sim_links_run *r, struct tm_sim_links_load *l)
{
    if (r->plan->loss == TM_SIM_LINKS_NO_LOSS)
        return;
    r->lost = calloc(1, sizeof *r->lost);
    TM_ASSERT(r->lost != NULL);
    *r->lost = (struct tm_sim_links_lost){.load = l,
                                          .calm_since = tm_sim_world_now(r->w),
                                          .at = r->plan->loss == TM_SIM_LINKS_ANEW
                                                    ? tm_sim_world_now(r->w) + r->plan->lost_at_ns
                                                    : UINT64_MAX};
}

void tm_sim_links_lost_free(struct tm_sim_links_run *r)
{
    free(r->lost);
}
