/* Random clusters under random faults; replica_cluster.h checks the invariants at every event.
 * TM_SEED=N starts at seed N, TM_SEEDS=N runs so many (default: as many as fit into about two
 * seconds), TM_VERBOSE=1 tells what the replicas noted. */
#include "replica_cluster.h"

#include <time.h>

struct swarm {
    struct cluster *c;
    bool wipes, damage;
};

static uint64_t chance(struct swarm *s, uint64_t n)
{
    return sim_below(s->c, n);
}

static struct cluster *random_cluster(uint64_t seed)
{
    static const struct {
        unsigned voters;
        bool witness;
    } shape[] = {{1, false}, {2, true},  {3, false}, {2, true},
                 {5, false}, {4, false}, {2, false}, {3, false}};
    unsigned pick = (unsigned)(seed % TM_ARRAY_LEN(shape));
    unsigned voters = shape[pick].voters;
    bool witness = shape[pick].witness;
    struct cluster *c =
        cluster_new(seed, voters, witness, voters + witness, 1 + (unsigned)(seed / 8 % PARTS_MAX));
    c->loss = sim_below(c, 3) == 0 ? (unsigned)sim_below(c, 100) : 0;
    c->dup = sim_below(c, 3) == 0 ? (unsigned)sim_below(c, 100) : 0;
    c->delay_max_ns = sim_below(c, 4) == 0 ? TM_MS(20) : TM_US(300);
    c->eof = sim_below(c, 2) == 0;
    c->memory = sim_below(c, 5) == 0 && voters > 1;
    c->opt.eventual = sim_below(c, 4) == 0;
    c->opt.prefer_after_ns = sim_below(c, 2) == 0 ? TM_MS(500) : 0;
    c->opt.append_bytes_max = sim_below(c, 2) == 0 ? 300 : (uint32_t)TM_KIB(64);
    c->opt.inflight_bytes_max = sim_below(c, 2) == 0 ? 1000 : (uint32_t)TM_MIB(1);
    c->opt.disk_stall_ns = sim_below(c, 2) == 0 ? TM_MS(200) : TM_SECONDS(1);
    c->beat_opt.rest_after_ns = TM_MS(300);
    c->beat_opt.rest_interval_ns = sim_below(c, 2) == 0 ? TM_MS(200) : TM_MS(20);
    return c;
}

/* All is well and nothing is on its way. */
static bool calm(struct cluster *c)
{
    for (unsigned i = 0; i < c->nodes; i++) {
        if (!c->node[i].up || c->node[i].ops > 0)
            return false;
        for (unsigned k = 0; k < c->parts; k++)
            if (c->node[i].part[k].replica.hs.health != TM_HEALTH_WHOLE ||
                c->node[i].part[k].replica.step != TM_STEP_NONE)
                return false;
    }
    for (unsigned k = 0; k < c->parts; k++)
        if (!cluster_converged(c, k))
            return false;
    return true;
}

/* Whether one node may lose what it has.  Of three or more voters one always may, if no other did
 * before it was made good; with a witness the in-sync set must be known to hold two. */
static bool may_lose_one(struct swarm *s)
{
    bool well = calm(s->c);
    if (well)
        s->c->harmed = false;
    if (s->c->harmed || s->c->voters + s->c->witness < 3 || (s->c->witness && !well))
        return false;
    s->c->harmed = true;
    return true;
}

static void crash_or_start(struct swarm *s)
{
    struct cluster *c = s->c;
    unsigned id = (unsigned)chance(s, c->nodes);
    if (!c->node[id].up)
        cluster_start(c, id);
    else if (!c->memory || may_lose_one(s))
        cluster_crash(c, id);
}

/* A node loses its disk while all is well, and comes back empty. */
static void wipe_one(struct swarm *s)
{
    struct cluster *c = s->c;
    unsigned id = (unsigned)chance(s, c->nodes);
    if (!s->wipes || !c->node[id].up || !may_lose_one(s))
        return;
    cluster_crash(c, id);
    cluster_wipe(c, id);
    cluster_start(c, id);
}

/* The tail of one disk is damaged past what it can prove, or below it, while the others are
 * whole. */
static void damage_one(struct swarm *s)
{
    struct cluster *c = s->c;
    unsigned id = (unsigned)chance(s, c->nodes);
    if (!s->damage || !c->node[id].up || !may_lose_one(s))
        return;
    cluster_crash(c, id);
    for (unsigned k = 0; k < c->parts; k++) {
        struct sim_part *p = &c->node[id].part[k];
        uint64_t there = p->disk.last - p->disk.base.index;
        p->disk.last -= chance(s, tm_min_u64(there, 20) + 1);
        p->damaged = chance(s, 2) == 0 ? TM_HEALTH_FAULTY : TM_HEALTH_SUSPECT;
    }
    cluster_start(c, id);
}

static void cut_or_join(struct swarm *s)
{
    struct cluster *c = s->c;
    unsigned a = (unsigned)chance(s, c->nodes), b = (unsigned)chance(s, c->nodes);
    if (a == b)
        return;
    if (chance(s, 3) == 0)
        c->cut_links[a] ^= 1ull << b; /* one way */
    else
        cluster_cut_link(c, a, b, chance(s, 2) == 0);
}

static void one_act(struct swarm *s)
{
    struct cluster *c = s->c;
    unsigned node = (unsigned)chance(s, c->nodes), part = (unsigned)chance(s, c->parts);
    int leader = cluster_leader(c, part);
    switch (chance(s, 40)) {
    case 0:
        crash_or_start(s);
        break;
    case 1:
    case 2:
        cut_or_join(s);
        break;
    case 3:
        c->node[node].paused_until = c->now + chance(s, TM_MS(600));
        break;
    case 4:
        c->node[node].disk_slow_ns = chance(s, 3) == 0 ? chance(s, TM_MS(300)) : 0;
        break;
    case 5:
        if (leader >= 0)
            (void)tm_replica_transfer(&c->node[leader].part[part].replica, node);
        break;
    case 6:
        if (c->node[node].up)
            cluster_compact(c, node, part);
        break;
    case 7:
        wipe_one(s);
        break;
    case 8:
        damage_one(s);
        break;
    case 9:
        if (c->node[node].up)
            tm_beat_peer_down(&c->node[node].beat, (unsigned)chance(s, c->nodes));
        break;
    case 10:
        if (c->node[node].up) {
            c->node[node].part[part].cached_from = c->node[node].part[part].log.last;
        }
        break;
    default:
        if (leader < 0 || chance(s, 5) == 0)
            leader = (int)node;
        if (!c->node[leader].up)
            break;
        if (chance(s, 3) == 0)
            cluster_read(c, (unsigned)leader, part);
        else
            cluster_propose(c, (unsigned)leader, part);
        break;
    }
}

static void heal(struct cluster *c)
{
    c->loss = c->dup = 0;
    for (unsigned i = 0; i < c->nodes; i++) {
        c->cut_links[i] = 0;
        c->node[i].paused_until = 0;
        c->node[i].disk_slow_ns = 0;
        if (!c->node[i].up)
            cluster_start(c, i);
    }
    for (unsigned i = 0; i < c->nodes; i++)
        for (unsigned k = 0; k < c->nodes; k++)
            if (i != k)
                tm_beat_peer_up(&c->node[i].beat, k);
}

static bool settle(struct cluster *c, unsigned part)
{
    uint64_t limit = c->now + TM_SECONDS(30);
    if (!cluster_writes(c, part, TM_SECONDS(30)))
        return false;
    while (!cluster_converged(c, part))
        if (!cluster_step(c, limit))
            return false;
    return true;
}

static uint64_t noted[TM_NOTE_COUNT], sent[TM_MSG_END], snapshots;

static void sum_up(struct cluster *c)
{
    for (unsigned i = 0; i < c->nodes; i++)
        for (unsigned k = 0; k < c->parts; k++) {
            for (unsigned n = 0; n < TM_NOTE_COUNT; n++)
                noted[n] += c->node[i].part[k].notes[n];
            snapshots += c->node[i].part[k].snapshots;
        }
    for (unsigned m = 1; m < TM_MSG_END; m++)
        sent[m] += c->messages[m];
}

static void run_seed(uint64_t seed, uint64_t *committed)
{
    struct swarm s = {.c = random_cluster(seed)};
    struct cluster *c = s.c;
    s.wipes = chance(&s, 3) == 0 && !c->memory;
    s.damage = chance(&s, 3) == 0 && !c->memory;
    for (unsigned i = 0; i < c->nodes; i++)
        cluster_start(c, i);
    unsigned acts = 50 + (unsigned)chance(&s, 300);
    cluster_run(c, chance(&s, TM_MS(400)));
    while (acts-- > 0) {
        one_act(&s);
        cluster_run(c, chance(&s, chance(&s, 10) == 0 ? TM_MS(400) : TM_MS(10)));
    }
    heal(c);
    for (unsigned k = 0; k < c->parts; k++) {
        bool ok = settle(c, k);
        if (!ok)
            cluster_print(c);
        CHECK(c, ok);
        *committed += c->committed_max[k];
    }
    sum_up(c);
    cluster_free(c);
}

static void invariants_hold_and_clusters_converge(void)
{
    uint64_t first = tm_test_seed(), committed = 0, ran = 0;
    const char *wanted = getenv("TM_SEEDS");
    uint64_t count = wanted != NULL ? strtoull(wanted, NULL, 0) : 0;
    clock_t begin = clock();
    while (count > 0 ? ran < count : clock() - begin < 2 * CLOCKS_PER_SEC)
        run_seed(first + ran++, &committed);
    printf("  %" PRIu64 " clusters, %" PRIu64 " records committed\n", ran, committed);
    for (unsigned n = 0; n < TM_NOTE_COUNT; n++)
        printf("  %s %" PRIu64, tm_replica_note_name((enum tm_replica_note)n), noted[n]);
    for (unsigned m = 1; m < TM_MSG_END; m++)
        printf("  %s %" PRIu64, tm_replica_msg_name(m), sent[m]);
    printf("  snapshots %" PRIu64 "\n", snapshots);
    CU_ASSERT(ran > 0 && committed > ran);
}

static const struct tm_test tests[] = {
    TM_TEST(invariants_hold_and_clusters_converge),
};
TM_TEST_MAIN("actors/replica_swarm", tests)
