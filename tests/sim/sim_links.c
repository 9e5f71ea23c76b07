/* Faults strike while clients write; then all is made well, the clients come to their ends, and the
 * clusters have to become equal. */
#include "tests/sim/sim_links_internal.h"

#include "actors/partition.h"
#include "storage/store_link.h"

#include <inttypes.h>

#define SETTLE_NS TM_SECONDS(60)
#define REST_NS   TM_SECONDS(1)
#define PURGE_NS  TM_SECONDS(5) /* by then what is to be purged is gone */
#define LOOK_NS   TM_MS(200)    /* what nodes count is looked at so often */

/* ---- what is counted ---- */

static uint64_t counted(struct tm_sim_links_run *r, enum tm_counter which)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < r->plan->world.clusters; i++)
        for (unsigned n = 0; n < r->plan->world.cluster[i].nodes; n++)
            for (unsigned k = 0; k < TM_SIM_WORKERS_MAX; k++)
                sum += tm_counter_get(tm_sim_counters(tm_sim_world_cluster(r->w, i), n, k), which);
    return sum;
}

/* What nodes must never have to count. */
static void expect_none(struct tm_sim_links_run *r)
{
    static const enum tm_counter none[] = {TM_COUNTER_link_changes_echoed,
                                           TM_COUNTER_link_residency_refused,
                                           TM_COUNTER_link_dead_letters, TM_COUNTER_link_malformed};
    for (unsigned i = 0; i < TM_ARRAY_LEN(none); i++)
        if (counted(r, none[i]) > 0)
            tm_sim_wrong(tm_sim_world_cluster(r->w, 0), "nodes counted %" PRIu64 " %s",
                         counted(r, none[i]), tm_counter_name(none[i]));
}

/* ---- the end ---- */

/* The key's store where it is led; NULL: nobody leads. */
static struct tm_store *store_of(struct tm_sim *sim, const char *key)
{
    const struct tm_sim_config *c = tm_sim_config_of(sim);
    uint32_t id = tm_partition_of_slot(tm_slot_of_key(tm_bytes_str(key)), c->partitions);
    for (unsigned i = 0; i < c->nodes; i++) {
        if (!tm_sim_is_up(sim, i))
            continue;
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

static void tell_key(struct tm_sim_links_run *r, unsigned cluster, const char *key)
{
    struct tm_sim *sim = tm_sim_world_cluster(r->w, cluster);
    struct tm_store *s = store_of(sim, key);
    uint32_t partitions = tm_sim_config_of(sim)->partitions;
    tm_sim_say(sim, "%s at %s, in partition %u of %u:", key, tm_sim_world_name(cluster),
               tm_partition_of_slot(tm_slot_of_key(tm_bytes_str(key)), partitions), partitions);
    if (s != NULL)
        tm_link_state(s, tm_bytes_str(key), tell_op, sim);
    for (unsigned j = 0; j < r->plan->world.clusters; j++) {
        struct tm_links_figures f = tm_sim_links_figures(r, cluster, j);
        if (f.streams > 0)
            tm_sim_say(sim, "    to %s: %" PRIu64 " streams, %" PRIu64 " go on, lag %" PRIu64,
                       tm_sim_world_name(j), f.streams, f.streaming, f.lag_records);
    }
}

/* Of what a lost cluster had written others may have got different parts, and it does not come back
 * to who made anew has its name; but where all that comes is shipped on. */
static bool lacks_what_was_lost(const struct tm_sim_links_run *r, unsigned a, unsigned b,
                                unsigned type)
{
    const struct tm_sim_links_plan *p = r->plan;
    unsigned lost = p->lost_cluster;
    bool chain = p->shape == TM_SIM_LINKS_CHAIN, after = a > lost && b > lost;
    if (p->loss == TM_SIM_LINKS_NO_LOSS)
        return false;
    if (p->loss == TM_SIM_LINKS_FOR_GOOD && (a == lost || b == lost || (chain && !after)))
        return true;
    if ((p->may_write[lost] >> type & 1) == 0 || (chain && (after || (a < lost && b < lost))))
        return false;
    return chain || !p->transit;
}

/* Whether both clusters are to hold the same of a type: whatever comes to one comes to both. */
static bool share(const struct tm_sim_links_run *r, unsigned a, unsigned b, unsigned type)
{
    const struct tm_sim_links_plan *p = r->plan;
    if (lacks_what_was_lost(r, a, b, type))
        return false;
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

static bool equal(struct tm_sim_links_run *r, unsigned a, unsigned b, unsigned type, char *why,
                  size_t size)
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
        for (unsigned c = 0; r->telling && c < r->plan->world.clusters; c++)
            tell_key(r, c, key);
        return false;
    }
    return true;
}

/* What is due, every few milliseconds; true when operators have nothing more to do. */
static bool act(struct tm_sim_links_run *r)
{
    tm_sim_links_faults_act(r);
    bool lost = tm_sim_links_lost_act(r), changed = tm_sim_links_changes_act(r);
    return tm_sim_links_operator_act(r) && lost && changed;
}

/* Where not all has to be equal: no link has had anything to do for a while. */
static bool links_rest(struct tm_sim_links_run *r, char *why, size_t size)
{
    uint64_t now = tm_sim_world_now(r->w);
    const struct tm_sim_links_plan *p = r->plan;
    for (unsigned i = 0; p->loss != TM_SIM_LINKS_NO_LOSS && i < p->world.clusters; i++)
        for (unsigned j = 0; j < p->world.clusters; j++) {
            if ((p->world.to[i] >> j & 1) == 0 || ((r->gone >> i | r->gone >> j) & 1) != 0)
                continue;
            struct tm_links_figures f = tm_sim_links_figures(r, i, j);
            if (f.streams > 0 && f.streaming == f.streams && f.lag_records == 0)
                continue;
            snprintf(why, size,
                     "of %" PRIu64 " streams from %s to %s %" PRIu64 " go on, they lag by %" PRIu64,
                     f.streams, tm_sim_world_name(i), tm_sim_world_name(j), f.streaming,
                     f.lag_records);
            r->moved_at = now;
        }
    return p->loss == TM_SIM_LINKS_NO_LOSS || now >= r->moved_at + REST_NS;
}

static bool settled(struct tm_sim_links_run *r, char *why, size_t size)
{
    unsigned n = r->plan->world.clusters;
    snprintf(why, size, "what operators say is not taken");
    if (!act(r))
        return false;
    for (unsigned i = 0; i < n; i++) {
        struct tm_sim *sim = tm_sim_world_cluster(r->w, i);
        if ((r->gone >> i & 1) != 0)
            continue;
        if (!tm_sim_converged(sim, why, size) || tm_sim_differences(sim, why, size) != 0)
            return false;
    }
    if (!links_rest(r, why, size))
        return false;
    for (unsigned a = 0; a < n; a++)
        for (unsigned b = 0; b < n; b++)
            for (unsigned t = 0; a != b && t < TM_SIM_LINKS_TYPES; t++)
                if (share(r, a, b, t) && !equal(r, a, b, t, why, size))
                    return false;
    return true;
}

/* Time goes on, and those who are to come back do. */
static void go_on(struct tm_sim_links_run *r, uint64_t ns)
{
    for (uint64_t end = tm_sim_world_now(r->w) + ns; tm_sim_world_now(r->w) < end;) {
        tm_sim_world_run_for(r->w, TM_MS(5));
        (void)act(r);
    }
}

/* Runs until that is so, or it has been wrong for too long. */
static bool within(struct tm_sim_links_run *r, bool (*done)(struct tm_sim_links_load *l),
                   struct tm_sim_links_load *l, const char *what)
{
    for (uint64_t end = tm_sim_world_now(r->w) + SETTLE_NS;
         tm_sim_world_wrong(r->w)[0] == '\0' && !done(l);) {
        tm_sim_links_mend_notes(r);
        if (tm_sim_world_now(r->w) >= end)
            tm_sim_wrong(tm_sim_world_cluster(r->w, 0), "%s", what);
        go_on(r, TM_MS(10));
    }
    return tm_sim_world_wrong(r->w)[0] == '\0';
}

static void settle(struct tm_sim_links_run *r)
{
    char why[512] = "";
    uint64_t begun = r->moved_at = tm_sim_world_now(r->w);
    while (tm_sim_world_wrong(r->w)[0] == '\0' && !settled(r, why, sizeof why)) {
        tm_sim_links_mend_notes(r);
        r->telling = tm_sim_world_now(r->w) >= begun + SETTLE_NS;
        if (r->telling && !settled(r, why, sizeof why))
            tm_sim_wrong(tm_sim_world_cluster(r->w, 0), "the clusters do not become equal: %s",
                         why);
        go_on(r, TM_MS(50));
    }
    r->out->settled_ns = tm_sim_world_now(r->w) - begun;
    if (r->plan->purges && r->plan->changes > 0)
        go_on(r, PURGE_NS);
}

static void count(struct tm_sim_links_run *r, const struct tm_sim_links_load *l)
{
    struct tm_sim_links_result *out = r->out;
    struct tm_sim_wire_counts frames = tm_sim_wire_counts(tm_sim_world_wire(r->w));
    tm_sim_links_load_count(l, out);
    if (r->ok != NULL)
        tm_sim_links_ok_count(r->ok, out);
#define X(name) out->frames.name = frames.name;
    TM_SIM_LINKS_FRAMES(X)
#undef X
#define X(name) out->effects.name = counted(r, TM_COUNTER_##name);
    TM_SIM_LINKS_COUNTERS(X)
#undef X
    for (unsigned i = 0; i < r->plan->world.clusters; i++)
        if (tm_sim_fatal(tm_sim_world_cluster(r->w, i)) > 0 && r->machines[i] == NULL)
            tm_sim_wrong(tm_sim_world_cluster(r->w, i), "a node ended by itself");
    expect_none(r);
    snprintf(out->why, sizeof out->why, "%.500s", tm_sim_world_wrong(r->w));
    out->good = out->why[0] == '\0';
    out->hash = tm_sim_world_hash(r->w);
    out->simulated_ns = tm_sim_world_now(r->w);
}

static void with_faults(struct tm_sim_links_run *r, struct tm_sim_links_load *l)
{
    uint64_t end = tm_sim_world_now(r->w) + r->plan->faults_ns;
    tm_sim_links_faults_begin(r);
    tm_sim_links_changes_begin(r, l);
    tm_sim_links_lost_begin(r, l);
    while (tm_sim_world_now(r->w) < end && tm_sim_world_wrong(r->w)[0] == '\0') {
        tm_sim_world_run_for(r->w, TM_MS(5));
        if (tm_sim_world_now(r->w) % LOOK_NS < TM_MS(5))
            expect_none(r);
        (void)act(r);
    }
    tm_sim_links_lost_end(r);
    tm_sim_links_faults_heal(r);
}

/* The texts of links stay in the plan, and change there. */
static struct tm_sim_world *make_world(struct tm_sim_links_plan *plan, FILE *log)
{
    struct tm_sim_world_config c = plan->world;
    for (unsigned i = 0; i < c.clusters; i++) {
        c.cluster[i].log = log;
        c.facts[i] = plan->facts[i];
        for (unsigned j = 0; j < c.clusters; j++)
            c.options[i][j] = plan->filter[i][j];
    }
    return tm_sim_world_new(&c);
}

static unsigned said(void *host, unsigned cluster, const char *key, uint64_t number)
{
    const struct tm_sim_links_run *r = host;
    if (number != 0)
        tm_sim_links_ok_said(r->ok, cluster, key, number);
    return tm_sim_links_ok_bound(r->ok, cluster, key);
}

void tm_sim_links_run(const struct tm_sim_links_plan *plan, FILE *log,
                      struct tm_sim_links_result *out)
{
    static struct tm_sim_links_plan mine;
    mine = *plan;
    struct tm_sim_links_run r = {.plan = &mine, .w = make_world(&mine, log), .out = out};
    *out = (struct tm_sim_links_result){0};
    tm_rng_seed(&r.rng, plan->seed ^ 0x6661756c74);
    bool looks = plan->sync || plan->loss != TM_SIM_LINKS_NO_LOSS;
    for (unsigned i = 0; (plan->has_machines || looks) && i < plan->world.clusters; i++)
        r.oracle[i] = tm_sim_oracle_new(tm_sim_world_cluster(r.w, i));
    tm_sim_links_operator_begin(&r);
    if (looks)
        r.ok = tm_sim_links_ok_new(&mine, r.w, r.oracle);
    tm_sim_links_make_well(&r);
    struct tm_sim_links_load *l = tm_sim_links_load_new(r.w, &mine);
    if (looks)
        tm_sim_links_load_hear(l, said, &r);
    tm_sim_world_run_for(r.w, TM_SECONDS(1));
    with_faults(&r, l);
    if (within(&r, tm_sim_links_load_stop, l, "some client is not answered"))
        settle(&r);
    if (tm_sim_world_wrong(r.w)[0] == '\0')
        (void)within(&r, tm_sim_links_load_examine, l, "some key cannot be read");
    count(&r, l);
    tm_sim_links_faults_free(&r);
    tm_sim_links_changes_free(&r);
    tm_sim_links_lost_free(&r);
    tm_sim_links_operator_free(&r);
    if (r.ok != NULL)
        tm_sim_links_ok_free(r.ok);
    for (unsigned i = 0; i < plan->world.clusters; i++)
        if (r.oracle[i] != NULL)
            tm_sim_oracle_free(r.oracle[i]);
    tm_sim_world_free(r.w);
    tm_sim_links_load_free(l);
}
