/* A run is drawn as a whole: which clusters and links, what filters, which faults how often. Faults
 * strike while clients write; a node or cluster that is down is started again after a while; then
 * all is made well, the clients come to their ends, and the clusters have to become equal. */
#include "tests/sim/sim_links.h"

#include "actors/partition.h"
#include "runtime/rng.h"
#include "storage/store_link.h"
#include "tests/sim/sim_links_load.h"

#include <inttypes.h>
#include <stdlib.h>

#define PENDING_MAX 64
#define SETTLE_NS   TM_SECONDS(60)
#define LOOK_NS     TM_MS(200) /* what nodes count is looked at so often */

const char *tm_sim_links_shape_name(enum tm_sim_links_shape shape)
{
    static const char *const names[] = {
#define X(shape) #shape,
        TM_SIM_LINKS_SHAPES(X)
#undef X
    };
    return names[shape];
}

const char *tm_sim_links_fault_name(enum tm_sim_links_fault fault)
{
    static const char *const names[] = {
#define X(fault, word) word,
        TM_SIM_LINKS_FAULTS(X)
#undef X
    };
    return names[fault];
}

/* ---- drawing ---- */

static void draw_cluster(struct tm_sim_config *c, struct tm_rng *rng)
{
    c->nodes = tm_rng_below(rng, 3) == 0 ? 1 : 3;
    c->copies = c->nodes;
    c->partitions = 1 + (unsigned)tm_rng_below(rng, 8);
    c->workers[0] = 1 + (unsigned)tm_rng_below(rng, 3);
    c->options.wal_bytes = TM_MIB(64); /* reaches back further than troubles last */
}

/* Which types the link takes, and the line that says so: all, some, or all but some. */
static uint8_t draw_filter(struct tm_rng *rng, char *line, size_t size)
{
    static const char *const lines[] = {"", "replicateEntityTypes=A,B", "excludeEntityTypes=D",
                                        "replicateEntityTypes=A,B,C\nexcludeEntityTypes=B"};
    static const uint8_t ships[] = {0xf, 0x3, 0x7, 0x5};
    unsigned which = (unsigned)tm_rng_below(rng, TM_ARRAY_LEN(lines));
    snprintf(line, size, "%s", lines[which]);
    return ships[which];
}

static void add_link(struct tm_sim_links_plan *p, unsigned from, unsigned to, uint8_t ships,
                     const char *filter, bool transit)
{
    p->world.to[from] |= 1u << to;
    p->ships[from][to] = ships;
    snprintf(p->filter[from][to], sizeof p->filter[from][to], "%s%s%s", filter,
             filter[0] != '\0' ? "\n" : "", transit ? "forward=transit" : "forward=none");
}

/* A filter for just these types; there is at least one. */
static void list_types(uint8_t types, char *line, size_t size)
{
    const char *comma = "";
    size_t used = (size_t)snprintf(line, size, "replicateEntityTypes=");
    for (unsigned t = 0; t < TM_SIM_LINKS_TYPES; t++)
        if ((types >> t & 1) != 0) {
            used += (size_t)snprintf(line + used, size - used, "%s%c", comma, 'A' + (int)t);
            comma = ",";
        }
}

static void draw_links(struct tm_sim_links_plan *p, struct tm_rng *rng)
{
    char filter[64];
    uint8_t ships = draw_filter(rng, filter, sizeof filter);
    unsigned n = p->world.clusters;
    if (p->shape == TM_SIM_LINKS_ONE_WAY || p->shape == TM_SIM_LINKS_CHAIN)
        for (unsigned i = 0; i + 1 < n; i++) {
            add_link(p, i, i + 1, ships, filter, p->shape == TM_SIM_LINKS_CHAIN);
            ships &= draw_filter(rng, filter, sizeof filter);
            list_types(ships, filter, sizeof filter);
        }
    else
        for (unsigned i = 0; i < n; i++)
            for (unsigned j = 0; j < n; j++)
                if (i != j)
                    add_link(p, i, j, ships, filter, false);
}

/* Where types come to over several links, and who may write them so that all who have them can
 * become equal: whoever sends to all who send to it. */
static void draw_reach(struct tm_sim_links_plan *p)
{
    unsigned n = p->world.clusters;
    TM_ASSERT(n <= TM_SIM_CLUSTERS_MAX);
    memcpy(p->reach, p->ships, sizeof p->reach);
    if (p->shape == TM_SIM_LINKS_CHAIN)
        for (unsigned j = 2; j < n; j++)
            for (unsigned i = 0; i + 1 < j; i++)
                p->reach[i][j] = p->reach[i][j - 1] & p->ships[j - 1][j];
    for (unsigned i = 0; i < n; i++) {
        p->may_write[i] = 0xf;
        for (unsigned j = 0; j < n; j++)
            p->may_write[i] &= (uint8_t)(~p->reach[j][i] | p->reach[i][j]);
    }
}

static void draw_faults(struct tm_sim_links_plan *p, struct tm_rng *rng)
{
    static const unsigned means_ms[TM_SIM_LINKS_FAULT_COUNT] = {
        [TM_SIM_LINKS_KILL] = 4000,     [TM_SIM_LINKS_POWER] = 8000,    [TM_SIM_LINKS_STOP] = 10000,
        [TM_SIM_LINKS_PAUSE] = 8000,    [TM_SIM_LINKS_CLUSTER] = 15000, [TM_SIM_LINKS_CUT] = 6000,
        [TM_SIM_LINKS_HALF_CUT] = 8000, [TM_SIM_LINKS_LOSSY] = 5000,    [TM_SIM_LINKS_CLOCK] = 6000,
        [TM_SIM_LINKS_TRANSFER] = 3000, [TM_SIM_LINKS_SNAPSHOT] = 5000};
    for (unsigned k = 0; k < TM_SIM_LINKS_FAULT_COUNT; k++)
        if (tm_rng_below(rng, 3) != 0)
            p->fault_mean_ns[k] = TM_MS(means_ms[k]);
}

void tm_sim_links_draw(struct tm_sim_links_plan *p, uint64_t seed, uint64_t faults_ns)
{
    struct tm_rng rng;
    tm_rng_seed(&rng, seed);
    *p = (struct tm_sim_links_plan){.seed = seed, .faults_ns = faults_ns};
    p->shape = (enum tm_sim_links_shape)tm_rng_below(&rng, 4);
    unsigned clusters = p->shape >= TM_SIM_LINKS_MESH ? 3 : 2;
    tm_sim_world_config_default(&p->world, tm_rng_next(&rng), clusters);
    for (unsigned i = 0; i < clusters; i++)
        draw_cluster(&p->world.cluster[i], &rng);
    p->clients = 1 + (unsigned)tm_rng_below(&rng, 3);
    p->deletes = tm_rng_below(&rng, 4) != 0;
    p->expires = tm_rng_below(&rng, 3) == 0;
    draw_links(p, &rng);
    draw_reach(p);
    draw_faults(p, &rng);
}

void tm_sim_links_text(const struct tm_sim_links_plan *p, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "%s", tm_sim_links_shape_name(p->shape));
    for (unsigned i = 0; i < p->world.clusters && used < size; i++)
        used += (size_t)snprintf(text + used, size - used,
                                 "; %s: %u nodes of %u, %u partitions, "
                                 "writes %x",
                                 tm_sim_world_name(i), p->world.cluster[i].nodes,
                                 p->world.cluster[i].workers[0], p->world.cluster[i].partitions,
                                 p->may_write[i]);
    if (used < size)
        used += (size_t)snprintf(text + used, size - used, "; clients: %u%s%s; faults:", p->clients,
                                 p->deletes ? " deletes" : "", p->expires ? " expires" : "");
    for (unsigned k = 0; k < TM_SIM_LINKS_FAULT_COUNT && used < size; k++)
        if (p->fault_mean_ns[k] != 0)
            used += (size_t)snprintf(text + used, size - used, " %s",
                                     tm_sim_links_fault_name((enum tm_sim_links_fault)k));
}

/* ---- faults ---- */

enum undo_kind { START, RESUME, MEND_WIRE };

struct undo {
    uint64_t at;
    enum undo_kind kind;
    unsigned cluster, node; /* MEND_WIRE: from, to */
};

struct run {
    const struct tm_sim_links_plan *plan;
    struct tm_sim_world *w;
    struct tm_rng rng;
    uint64_t next[TM_SIM_LINKS_FAULT_COUNT];
    struct undo pending[PENDING_MAX];
    unsigned count;
    bool telling; /* into the log, how keys differ */
    struct tm_sim_links_result *out;
};

static void undo_later(struct run *r, enum undo_kind kind, unsigned cluster, unsigned node,
                       uint64_t most_ms)
{
    TM_ASSERT(r->count < PENDING_MAX);
    r->pending[r->count++] = (struct undo){
        tm_sim_world_now(r->w) + TM_MS(1 + tm_rng_below(&r->rng, most_ms)), kind, cluster, node};
}

static void start(struct run *r, unsigned cluster, unsigned node)
{
    struct tm_sim *sim = tm_sim_world_cluster(r->w, cluster);
    if (!tm_sim_is_up(sim, node) && !tm_sim_start(sim, node))
        tm_sim_wrong(sim, "node %s/%s does not start: %s", tm_sim_world_name(cluster),
                     tm_sim_node_name(node), tm_sim_why(sim, node));
}

static void set_wire(struct run *r, unsigned from, unsigned to, unsigned lose)
{
    const struct tm_sim_world_config *c = &r->plan->world;
    for (unsigned i = 0; i < c->cluster[from].nodes; i++)
        for (unsigned k = 0; k < c->cluster[to].nodes; k++)
            *tm_sim_wire_link(tm_sim_world_wire(r->w), tm_sim_world_block(r->w, from, i),
                              tm_sim_world_block(r->w, to, k)) =
                (struct tm_sim_link){.lose = lose,
                                     .twice = lose / 2,
                                     .flip = lose / 4,
                                     .more_ns = lose > 0 ? TM_MS(5) : 0};
}

static void undo(struct run *r, const struct undo *u)
{
    struct tm_sim *sim = tm_sim_world_cluster(r->w, u->cluster);
    switch (u->kind) {
    case START:
        start(r, u->cluster, u->node);
        break;
    case RESUME:
        if (tm_sim_is_up(sim, u->node))
            tm_sim_pause(sim, u->node, false);
        break;
    case MEND_WIRE:
        tm_sim_world_cut(r->w, u->cluster, u->node, false);
        set_wire(r, u->cluster, u->node, 0);
        break;
    }
}

static void undo_due(struct run *r, uint64_t now)
{
    for (unsigned i = 0; i < r->count;) {
        if (r->pending[i].at > now) {
            i++;
            continue;
        }
        struct undo u = r->pending[i];
        r->pending[i] = r->pending[--r->count];
        undo(r, &u);
    }
}

static bool any_down(struct tm_sim *sim)
{
    for (unsigned i = 0; i < tm_sim_config_of(sim)->nodes; i++)
        if (!tm_sim_is_up(sim, i) || tm_sim_is_paused(sim, i))
            return true;
    return false;
}

static bool strike_node(struct run *r, enum tm_sim_links_fault fault, unsigned cluster,
                        unsigned node)
{
    struct tm_sim *sim = tm_sim_world_cluster(r->w, cluster);
    if (any_down(sim))
        return false;
    if (fault == TM_SIM_LINKS_PAUSE) {
        tm_sim_pause(sim, node, true);
        undo_later(r, RESUME, cluster, node, 2000);
        return true;
    }
    if (fault == TM_SIM_LINKS_STOP)
        (void)tm_sim_stop(sim, node, TM_SECONDS(2));
    else
        tm_sim_end(sim, node, fault == TM_SIM_LINKS_KILL ? TM_SIM_KILL : TM_SIM_POWER);
    undo_later(r, START, cluster, node, 3000);
    return true;
}

static bool strike_cluster(struct run *r, unsigned cluster)
{
    struct tm_sim *sim = tm_sim_world_cluster(r->w, cluster);
    if (any_down(sim))
        return false;
    for (unsigned i = 0; i < tm_sim_config_of(sim)->nodes; i++) {
        tm_sim_end(sim, i, tm_rng_below(&r->rng, 2) == 0 ? TM_SIM_KILL : TM_SIM_POWER);
        undo_later(r, START, cluster, i, 5000);
    }
    return true;
}

static bool strike_wire(struct run *r, enum tm_sim_links_fault fault, unsigned a, unsigned b)
{
    bool both = fault == TM_SIM_LINKS_CUT;
    for (unsigned i = 0; i < r->count; i++)
        if (r->pending[i].kind == MEND_WIRE)
            return false;
    if (fault == TM_SIM_LINKS_LOSSY)
        set_wire(r, a, b, 200 + (unsigned)tm_rng_below(&r->rng, 2000));
    else
        tm_sim_world_cut(r->w, a, b, true);
    if (both)
        tm_sim_world_cut(r->w, b, a, true);
    undo_later(r, MEND_WIRE, a, b, 6000);
    if (both)
        undo_later(r, MEND_WIRE, b, a, 6000);
    return true;
}

static bool strike(struct run *r, enum tm_sim_links_fault fault)
{
    unsigned clusters = r->plan->world.clusters, a = (unsigned)tm_rng_below(&r->rng, clusters);
    unsigned b = (a + 1 + (unsigned)tm_rng_below(&r->rng, clusters - 1)) % clusters;
    const struct tm_sim_config *c = &r->plan->world.cluster[a];
    struct tm_sim *sim = tm_sim_world_cluster(r->w, a);
    unsigned node = (unsigned)tm_rng_below(&r->rng, c->nodes);
    uint32_t partition = (uint32_t)tm_rng_below(&r->rng, c->partitions + 1);
    switch (fault) {
    case TM_SIM_LINKS_KILL:
    case TM_SIM_LINKS_POWER:
    case TM_SIM_LINKS_STOP:
    case TM_SIM_LINKS_PAUSE:
        return strike_node(r, fault, a, node);
    case TM_SIM_LINKS_CLUSTER:
        return strike_cluster(r, a);
    case TM_SIM_LINKS_CUT:
    case TM_SIM_LINKS_HALF_CUT:
    case TM_SIM_LINKS_LOSSY:
        return strike_wire(r, fault, a, b);
    case TM_SIM_LINKS_CLOCK: /* within what clusters bear of each other */
        tm_sim_clock_jump(sim, node,
                          (int64_t)tm_rng_below(&r->rng, 400) - tm_sim_clock_ahead(sim, node));
        return true;
    case TM_SIM_LINKS_TRANSFER:
        return tm_sim_transfer(sim, node, partition, (unsigned)tm_rng_below(&r->rng, c->nodes));
    case TM_SIM_LINKS_SNAPSHOT:
        return tm_sim_snapshot(sim, node, partition);
    case TM_SIM_LINKS_FAULT_COUNT:
        break;
    }
    return false;
}

static uint64_t counted(struct run *r, enum tm_counter which)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < r->plan->world.clusters; i++)
        for (unsigned n = 0; n < r->plan->world.cluster[i].nodes; n++)
            for (unsigned k = 0; k < TM_SIM_WORKERS_MAX; k++)
                sum += tm_counter_get(tm_sim_counters(tm_sim_world_cluster(r->w, i), n, k), which);
    return sum;
}

/* What nodes must never have to count. */
static void expect_none(struct run *r)
{
    static const enum tm_counter none[] = {TM_COUNTER_link_changes_echoed,
                                           TM_COUNTER_link_residency_refused,
                                           TM_COUNTER_link_dead_letters, TM_COUNTER_link_malformed};
    for (unsigned i = 0; i < TM_ARRAY_LEN(none); i++)
        if (counted(r, none[i]) > 0)
            tm_sim_wrong(tm_sim_world_cluster(r->w, 0), "nodes counted %" PRIu64 " %s",
                         counted(r, none[i]), tm_counter_name(none[i]));
}

static void draw_next(struct run *r, unsigned fault)
{
    uint64_t mean = r->plan->fault_mean_ns[fault];
    r->next[fault] = mean == 0
                         ? UINT64_MAX
                         : tm_sim_world_now(r->w) + mean / 4 + tm_rng_below(&r->rng, mean * 3 / 2);
}

static void with_faults(struct run *r)
{
    uint64_t end = tm_sim_world_now(r->w) + r->plan->faults_ns;
    for (unsigned k = 0; k < TM_SIM_LINKS_FAULT_COUNT; k++)
        draw_next(r, k);
    while (tm_sim_world_now(r->w) < end && tm_sim_world_wrong(r->w)[0] == '\0') {
        tm_sim_world_run_for(r->w, TM_MS(5));
        if (tm_sim_world_now(r->w) % LOOK_NS < TM_MS(5))
            expect_none(r);
        undo_due(r, tm_sim_world_now(r->w));
        for (unsigned k = 0; k < TM_SIM_LINKS_FAULT_COUNT; k++) {
            if (r->next[k] > tm_sim_world_now(r->w))
                continue;
            r->out->fired[k] += strike(r, (enum tm_sim_links_fault)k);
            draw_next(r, k);
        }
    }
    undo_due(r, UINT64_MAX);
}

/* ---- the end ---- */

/* The key's store where it is led; NULL: nobody leads. */
static struct tm_store *store_of(struct tm_sim *sim, const char *key)
{
    const struct tm_sim_config *c = tm_sim_config_of(sim);
    uint32_t id = tm_partition_of_slot(tm_slot_of_key(tm_bytes_str(key)), c->partitions);
    for (unsigned i = 0; i < c->nodes; i++) {
        const struct tm_partition *p =
            tm_shard_partition(tm_sim_shard(sim, i, id % tm_sim_workers(sim, i)), id);
        if (p != NULL && p->announced && p->store != NULL)
            return p->store;
    }
    return NULL;
}

static void tell_op(void *host, enum tm_entity_type type, const struct tm_op *op,
                    struct tm_op_version stamp)
{
    tm_sim_say(host, "    type %u op %u %.*s = %.*s (%zu bytes) stamp %llx of %llx", type, op->code,
               (int)op->name.len, (const char *)op->name.data, (int)tm_min_u64(op->value.len, 24),
               (const char *)op->value.data, op->value.len, (unsigned long long)stamp.hlc,
               (unsigned long long)stamp.origin);
}

static void tell_key(struct run *r, unsigned cluster, const char *key)
{
    struct tm_sim *sim = tm_sim_world_cluster(r->w, cluster);
    struct tm_store *s = store_of(sim, key);
    tm_sim_say(sim, "%s at %s:", key, tm_sim_world_name(cluster));
    if (s != NULL)
        tm_link_state(s, tm_bytes_str(key), tell_op, sim);
}

/* Whether both clusters are to hold the same of a type: whatever comes to one comes to both. */
static bool share(const struct tm_sim_links_plan *p, unsigned a, unsigned b, unsigned type)
{
    if ((p->reach[a][b] >> type & 1) == 0)
        return false;
    for (unsigned i = 0; i < p->world.clusters; i++)
        if (i != a && i != b && (p->reach[i][a] >> type & 1) != (p->reach[i][b] >> type & 1))
            return false;
    return true;
}

/* What one of them has collected already counts as gone at both. */
static bool same(const struct tm_store *a, const struct tm_store *b, struct tm_bytes key,
                 uint64_t now_ms)
{
    uint64_t settled, here, there;
    tm_link_frontier(a, &settled, &here);
    tm_link_frontier(b, &settled, &there);
    uint64_t past = tm_max_u64(here, there);
    return tm_link_hash(a, key, now_ms, past) == tm_link_hash(b, key, now_ms, past);
}

static bool equal(struct run *r, unsigned a, unsigned b, unsigned type, char *why, size_t size)
{
    uint64_t now_ms = UINT64_C(1) << 47; /* all that expires has */
    unsigned keys = TM_SIM_LINKS_KEYS + 3 * r->plan->world.clusters;
    for (unsigned i = 0; i < keys; i++) {
        char key[TM_SIM_LINKS_KEY_SIZE];
        tm_sim_links_key(type, i, key);
        const struct tm_store *sa = store_of(tm_sim_world_cluster(r->w, a), key),
                              *sb = store_of(tm_sim_world_cluster(r->w, b), key);
        struct tm_bytes k = tm_bytes_str(key);
        if (sa != NULL && sb != NULL && same(sa, sb, k, now_ms))
            continue;
        snprintf(why, size, "%s is not the same at %s and %s", key, tm_sim_world_name(a),
                 tm_sim_world_name(b));
        if (r->telling) {
            tell_key(r, a, key);
            tell_key(r, b, key);
        }
        return false;
    }
    return true;
}

static bool settled(struct run *r, char *why, size_t size)
{
    unsigned n = r->plan->world.clusters;
    for (unsigned i = 0; i < n; i++) {
        struct tm_sim *sim = tm_sim_world_cluster(r->w, i);
        if (!tm_sim_converged(sim, why, size) || tm_sim_differences(sim, why, size) != 0)
            return false;
    }
    for (unsigned a = 0; a < n; a++)
        for (unsigned b = 0; b < n; b++)
            for (unsigned t = 0; a != b && t < TM_SIM_LINKS_TYPES; t++)
                if (share(r->plan, a, b, t) && !equal(r, a, b, t, why, size))
                    return false;
    return true;
}

static void make_well(struct run *r)
{
    for (unsigned i = 0; i < r->plan->world.clusters; i++)
        for (unsigned j = 0; j < r->plan->world.clusters; j++) {
            if (i == j)
                continue;
            tm_sim_world_cut(r->w, i, j, false);
            set_wire(r, i, j, 0);
        }
    for (unsigned i = 0; i < r->plan->world.clusters; i++)
        for (unsigned k = 0; k < r->plan->world.cluster[i].nodes; k++)
            start(r, i, k);
}

/* Runs until that is so, or it has been wrong for too long. */
static bool within(struct run *r, bool (*done)(struct tm_sim_links_load *l),
                   struct tm_sim_links_load *l, const char *what)
{
    for (uint64_t end = tm_sim_world_now(r->w) + SETTLE_NS;
         tm_sim_world_wrong(r->w)[0] == '\0' && !done(l);) {
        if (tm_sim_world_now(r->w) >= end)
            tm_sim_wrong(tm_sim_world_cluster(r->w, 0), "%s", what);
        tm_sim_world_run_for(r->w, TM_MS(10));
    }
    return tm_sim_world_wrong(r->w)[0] == '\0';
}

static void settle(struct run *r)
{
    char why[512] = "";
    uint64_t begun = tm_sim_world_now(r->w);
    while (tm_sim_world_wrong(r->w)[0] == '\0' && !settled(r, why, sizeof why)) {
        r->telling = tm_sim_world_now(r->w) >= begun + SETTLE_NS;
        if (r->telling && !settled(r, why, sizeof why))
            tm_sim_wrong(tm_sim_world_cluster(r->w, 0), "the clusters do not become equal: %s",
                         why);
        tm_sim_world_run_for(r->w, TM_MS(50));
    }
    r->out->settled_ns = tm_sim_world_now(r->w) - begun;
}

static void count(struct run *r, const struct tm_sim_links_load *l)
{
    struct tm_sim_links_result *out = r->out;
    struct tm_sim_wire_counts frames = tm_sim_wire_counts(tm_sim_world_wire(r->w));
    tm_sim_links_load_count(l, out);
#define X(name) out->frames.name = frames.name;
    TM_SIM_LINKS_FRAMES(X)
#undef X
#define X(name) out->effects.name = counted(r, TM_COUNTER_##name);
    TM_SIM_LINKS_COUNTERS(X)
#undef X
    for (unsigned i = 0; i < r->plan->world.clusters; i++)
        if (tm_sim_fatal(tm_sim_world_cluster(r->w, i)) > 0)
            tm_sim_wrong(tm_sim_world_cluster(r->w, i), "a node ended by itself");
    expect_none(r);
    snprintf(out->why, sizeof out->why, "%.500s", tm_sim_world_wrong(r->w));
    out->good = out->why[0] == '\0';
    out->hash = tm_sim_world_hash(r->w);
    out->simulated_ns = tm_sim_world_now(r->w);
}

static struct tm_sim_world *make_world(const struct tm_sim_links_plan *plan, FILE *log)
{
    struct tm_sim_world_config c = plan->world;
    for (unsigned i = 0; i < c.clusters; i++) {
        c.cluster[i].log = log;
        for (unsigned j = 0; j < c.clusters; j++)
            c.options[i][j] = plan->filter[i][j];
    }
    return tm_sim_world_new(&c);
}

void tm_sim_links_run(const struct tm_sim_links_plan *plan, FILE *log,
                      struct tm_sim_links_result *out)
{
    struct run r = {.plan = plan, .w = make_world(plan, log), .out = out};
    *out = (struct tm_sim_links_result){0};
    tm_rng_seed(&r.rng, plan->seed ^ 0x6661756c74);
    make_well(&r);
    struct tm_sim_links_load *l = tm_sim_links_load_new(r.w, plan);
    tm_sim_world_run_for(r.w, TM_SECONDS(1));
    with_faults(&r);
    make_well(&r);
    if (within(&r, tm_sim_links_load_stop, l, "some client is not answered"))
        settle(&r);
    if (tm_sim_world_wrong(r.w)[0] == '\0')
        (void)within(&r, tm_sim_links_load_examine, l, "some key cannot be read");
    count(&r, l);
    tm_sim_world_free(r.w);
    tm_sim_links_load_free(l);
}
