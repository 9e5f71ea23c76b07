/* Every now and then, at the end of a worker's turn, each partition that it leads is looked at: is
 * its clock ahead, and if so since when?  Whatever may keep heartbeats from being answered, or the
 * worker from turning, begins that time anew. */
#include "tests/sim/sim_stamps.h"

#include "actors/partition.h"
#include "tests/sim/sim_run.h"

#include <stdlib.h>

#define LEARNS_NS TM_SECONDS(4) /* a leader has heard by then how others' clocks stand */
#define TURNS_NS  TM_SECONDS(1) /* a worker that stood still for longer has to hear again */
#define LOOKS_NS  TM_MS(50)     /* time from one look to the next */
#define MARGIN_MS 1000          /* what heartbeats cannot tell, and clocks change meanwhile */

struct lead {
    uint64_t term, looked_ns;
    uint64_t ahead_since; /* UINT64_MAX: it is not */
    uint64_t last;        /* of its log */
};

struct stamps {
    struct tm_sim *sim;
    uint32_t partitions;
    int64_t skew_ms;
    uint64_t looked_ns[TM_SIM_NODES_MAX][TM_SIM_WORKERS_MAX];
    struct lead *leads; /* by node and partition */
};

static bool answers(const struct stamps *s, unsigned node, unsigned peer)
{
    struct tm_sim_wire *w = tm_sim_wire_of(s->sim);
    return tm_sim_is_up(s->sim, peer) && !tm_sim_is_paused(s->sim, peer) &&
           tm_sim_wire_is_easy(w, node, peer) && tm_sim_wire_is_easy(w, peer, node);
}

static bool is_ahead_of_quorum(const struct stamps *s, unsigned node, const struct tm_members *m)
{
    int64_t own = tm_sim_clock_ahead(s->sim, node);
    unsigned voters = 0, behind = 0;
    for (unsigned i = 0; i < m->count; i++) {
        unsigned peer = m->at[i].id.node;
        if (m->at[i].role != TM_MEMBER_VOTER && m->at[i].role != TM_MEMBER_WITNESS)
            continue;
        voters++;
        behind += peer != node && answers(s, node, peer) &&
                  own - tm_sim_clock_ahead(s->sim, peer) > s->skew_ms + MARGIN_MS;
    }
    return behind >= voters / 2 + 1;
}

/* Objects to effects among the records since the last look. */
static void look_at_records(const struct stamps *s, unsigned node, const struct tm_partition *p,
                            const struct lead *l, uint64_t now)
{
    for (uint64_t i = l->last + 1; i <= tm_log_last(p->log); i++) {
        const struct tm_record *r = (const void *)tm_log_get(p->log, i).data;
        if (r != NULL && r->term == l->term &&
            (r->kind == TM_RECORD_EFFECT || r->kind == TM_RECORD_FLUSH))
            tm_sim_wrong(s->sim,
                         "partition %u: node %u leads and writes record %llu, though its clock has "
                         "been ahead of a quorum's for %llu ms",
                         p->id, node, (unsigned long long)i,
                         (unsigned long long)((now - l->ahead_since) / TM_MS(1)));
    }
}

static void look(struct stamps *s, unsigned node, const struct tm_partition *p)
{
    const struct tm_replica *r = &p->replica;
    struct lead *l = &s->leads[node * s->partitions + p->id];
    uint64_t now = tm_sim_now(s->sim);
    bool goes_on = l->term == r->hs.term && now - l->looked_ns <= TURNS_NS;
    if (p->stopping || r->role != TM_ROLE_LEADER || !is_ahead_of_quorum(s, node, &r->members))
        l->ahead_since = UINT64_MAX;
    else if (l->ahead_since == UINT64_MAX || !goes_on)
        l->ahead_since = now;
    else if (now - l->ahead_since > LEARNS_NS)
        look_at_records(s, node, p, l, now);
    l->term = r->hs.term;
    l->looked_ns = now;
    l->last = tm_log_last(p->log);
}

static void turned(void *host, unsigned node, unsigned worker)
{
    struct stamps *s = host;
    const struct tm_shard *shard = tm_sim_shard(s->sim, node, worker);
    uint64_t now = tm_sim_now(s->sim), *looked = &s->looked_ns[node][worker];
    if (now < *looked + LOOKS_NS)
        return;
    *looked = now;
    for (uint32_t id = worker; id < s->partitions; id += tm_sim_workers(s->sim, node)) {
        const struct tm_partition *p = tm_shard_partition(shard, id);
        if (p != NULL)
            look(s, node, p);
    }
}

static void *check_begin(struct tm_sim *sim, const struct tm_sim_plan *plan,
                         struct tm_sim_calls *calls)
{
    (void)calls;
    struct stamps *s = malloc(sizeof *s);
    TM_ASSERT(s != NULL);
    *s = (struct stamps){.sim = sim,
                         .partitions = plan->cluster.partitions + 1, /* and the directory */
                         .skew_ms = (int64_t)plan->cluster.options.max_clock_skew_ms};
    s->leads = calloc((size_t)plan->cluster.nodes * s->partitions, sizeof *s->leads);
    TM_ASSERT(s->leads != NULL);
    for (size_t i = 0; i < (size_t)plan->cluster.nodes * s->partitions; i++)
        s->leads[i].ahead_since = UINT64_MAX;
    if (tm_sim_plan_turns_clocks(plan))
        tm_sim_watch(sim, &(struct tm_sim_watcher){.host = s, .turned = turned});
    return s;
}

static void check_end(void *host)
{
    struct stamps *s = host;
    free(s->leads);
    free(s);
}

const struct tm_sim_check tm_sim_stamps_check = {
    .name = "stamps", .begin = check_begin, .end = check_end};
