/* Time goes to whatever is next in any cluster or between them; then all clusters do what is due,
 * one after the other in an order that is drawn, for what they do meets on the wire only. */
#include "tests/sim/sim_world.h"

#include "runtime/rng.h"

#include <stdarg.h>
#include <stdlib.h>

struct cluster {
    struct tm_sim *sim;
    struct tm_sim_place place;
    unsigned blocks[TM_SIM_NODES_MAX];
    struct tm_link_site sites[TM_SIM_CLUSTERS_MAX - 1];
    char facts[16384];
};

struct tm_sim_world {
    struct tm_sim_world_config config;
    struct tm_rng rng;
    struct tm_sim_hash hash;
    uint64_t now;
    struct tm_sim_wire *wire;
    struct cluster clusters[TM_SIM_CLUSTERS_MAX];
    struct tm_sim_driver driver;
};

const char *tm_sim_world_name(unsigned cluster)
{
    static const char *const names[TM_SIM_CLUSTERS_MAX] = {"east", "west", "north", "south"};
    return names[cluster];
}

/* ---- who is where ---- */

unsigned tm_sim_world_block(const struct tm_sim_world *w, unsigned cluster, unsigned node)
{
    for (unsigned i = 0; i < cluster; i++)
        node += w->config.cluster[i].nodes;
    return node;
}

/* Which node a block is. */
static unsigned node_of(const struct tm_sim_world *w, unsigned block, unsigned *cluster)
{
    *cluster = 0;
    while (block >= w->config.cluster[*cluster].nodes)
        block -= w->config.cluster[(*cluster)++].nodes;
    return block;
}

static void woke(void *host, unsigned block, unsigned worker)
{
    struct tm_sim_world *w = host;
    unsigned cluster, node = node_of(w, block, &cluster);
    tm_sim_woke(w->clusters[cluster].sim, node, worker);
}

static void fill_site(const struct tm_sim_world *w, unsigned cluster, struct tm_link_site *site)
{
    snprintf(site->name, sizeof site->name, "%s", tm_sim_world_name(cluster));
    site->count = w->config.cluster[cluster].nodes;
    for (unsigned i = 0; i < site->count; i++) {
        site->nodes[i].block = (uint8_t)tm_sim_world_block(w, cluster, i);
        snprintf(site->nodes[i].name, sizeof site->nodes[i].name, "%s", tm_sim_node_name(i));
    }
}

/* ---- the lines of a cluster's directory ---- */

struct lines {
    char *at[256];
    unsigned count;
};

static void add_line(struct lines *l, const char *fmt, ...) TM_PRINTF(2, 3);

static void add_line(struct lines *l, const char *fmt, ...)
{
    va_list args;
    TM_ASSERT(l->count < TM_ARRAY_LEN(l->at));
    va_start(args, fmt);
    TM_ASSERT(vasprintf(&l->at[l->count++], fmt, args) >= 0);
    va_end(args);
}

/* Each line of text, with that before it. */
static void add_lines(struct lines *l, const char *before, const char *text)
{
    while (text != NULL && *text != '\0') {
        size_t len = strcspn(text, "\n");
        if (len > 0)
            add_line(l, "%s%.*s", before, (int)len, text);
        text += len + (text[len] == '\n');
    }
}

static void add_link(struct lines *l, const struct tm_sim_world *w, const char *way, unsigned from,
                     unsigned to, unsigned other)
{
    char before[64];
    snprintf(before, sizeof before, "%s:%s/", way, tm_sim_world_name(other));
    const char *options = w->config.options[from][to];
    if (options == NULL || strstr(options, "replicationMode=") == NULL)
        add_line(l, "%sreplicationMode=async", before);
    add_lines(l, before, options);
}

static void add_cluster(struct lines *l, const struct tm_sim_world *w, unsigned cluster)
{
    char nodes[512] = "";
    size_t used = 0;
    for (unsigned i = 0; i < w->config.cluster[cluster].nodes; i++)
        used += (size_t)snprintf(nodes + used, sizeof nodes - used, "%s%s::+%u", i > 0 ? "," : "",
                                 tm_sim_node_name(i), tm_sim_world_block(w, cluster, i));
    add_line(l, "cluster:%s/nodes=%s", tm_sim_world_name(cluster), nodes);
    add_line(l, "cluster:%s/partitions=%u", tm_sim_world_name(cluster),
             w->config.cluster[cluster].partitions);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void make_facts(struct tm_sim_world *w, unsigned cluster)
{
    struct lines l = {.count = 0};
    struct cluster *c = &w->clusters[cluster];
    size_t used = 0;
    add_lines(&l, "", w->config.facts[cluster]);
    for (unsigned j = 0; j < w->config.clusters; j++) {
        bool out = (w->config.to[cluster] >> j & 1) != 0,
             in = (w->config.to[j] >> cluster & 1) != 0;
        if (j != cluster && (out || in))
            add_cluster(&l, w, j);
        if (j != cluster && out)
            add_link(&l, w, "to", cluster, j, j);
        if (j != cluster && in)
            add_link(&l, w, "from", j, cluster, j);
    }
    qsort(l.at, l.count, sizeof l.at[0], by_text);
    for (unsigned i = 0; i < l.count; i++) {
        used += (size_t)snprintf(c->facts + used, sizeof c->facts - used, "%s\n", l.at[i]);
        TM_ASSERT(used < sizeof c->facts);
        free(l.at[i]);
    }
}

/* ---- time ---- */

static uint64_t next_event(const struct tm_sim_world *w)
{
    uint64_t next = tm_sim_wire_next_due(w->wire);
    if (w->driver.next != NULL)
        next = tm_min_u64(next, w->driver.next(w->driver.host));
    for (unsigned i = 0; i < w->config.clusters; i++)
        next = tm_min_u64(next, tm_sim_next_event(w->clusters[i].sim));
    return next;
}

static void step(struct tm_sim_world *w)
{
    unsigned n = w->config.clusters, first = (unsigned)tm_rng_below(&w->rng, n);
    if (w->driver.next != NULL && w->driver.next(w->driver.host) <= w->now)
        w->driver.act(w->driver.host);
    tm_sim_wire_poll(w->wire, w->now);
    for (unsigned i = 0; i < n; i++)
        tm_sim_step(w->clusters[(first + i) % n].sim);
}

static void set_now(struct tm_sim_world *w, uint64_t now)
{
    w->now = now;
    for (unsigned i = 0; i < w->config.clusters; i++)
        tm_sim_set_now(w->clusters[i].sim, now);
}

static void run_until(void *host, uint64_t end)
{
    struct tm_sim_world *w = host;
    for (;;) {
        step(w);
        uint64_t next = tm_max_u64(next_event(w), w->now + 1);
        if (next > end)
            break;
        set_now(w, next);
    }
    set_now(w, end);
}

uint64_t tm_sim_world_now(const struct tm_sim_world *w)
{
    return w->now;
}

void tm_sim_world_run_for(struct tm_sim_world *w, uint64_t ns)
{
    run_until(w, w->now + ns);
}

bool tm_sim_world_run_until(struct tm_sim_world *w, bool (*done)(void *arg), void *arg, uint64_t ns)
{
    for (uint64_t end = w->now + ns; w->now < end;) {
        if (done(arg))
            return true;
        tm_sim_world_run_for(w, TM_MS(1));
    }
    return done(arg);
}

void tm_sim_world_drive(struct tm_sim_world *w, const struct tm_sim_driver *driver)
{
    TM_ASSERT(w->driver.next == NULL);
    w->driver = *driver;
}

/* ---- the wire between ---- */

struct tm_sim_wire *tm_sim_world_wire(struct tm_sim_world *w)
{
    return w->wire;
}

void tm_sim_world_cut(struct tm_sim_world *w, unsigned from, unsigned to, bool cut)
{
    for (unsigned i = 0; i < w->config.cluster[from].nodes; i++)
        for (unsigned k = 0; k < w->config.cluster[to].nodes; k++)
            tm_sim_wire_cut(w->wire, tm_sim_world_block(w, from, i), tm_sim_world_block(w, to, k),
                            cut);
}

/* ---- life ---- */

const struct tm_sim_world_config *tm_sim_world_config_of(const struct tm_sim_world *w)
{
    return &w->config;
}

struct tm_sim *tm_sim_world_cluster(struct tm_sim_world *w, unsigned cluster)
{
    return w->clusters[cluster].sim;
}

const char *tm_sim_world_facts(const struct tm_sim_world *w, unsigned cluster)
{
    return w->clusters[cluster].facts;
}

void tm_sim_world_renew(struct tm_sim_world *w)
{
    for (unsigned i = 0; i < w->config.clusters; i++)
        make_facts(w, i);
}

void tm_sim_world_unlink(struct tm_sim_world *w, unsigned from, unsigned to)
{
    w->config.to[from] &= ~(1u << to);
    tm_sim_world_renew(w);
}

uint64_t tm_sim_world_hash(const struct tm_sim_world *w)
{
    struct tm_sim_hash all = w->hash;
    for (unsigned i = 0; i < w->config.clusters; i++)
        tm_sim_hash_add(&all, tm_sim_hash_of(w->clusters[i].sim));
    return all.value;
}

const char *tm_sim_world_wrong(const struct tm_sim_world *w)
{
    for (unsigned i = 0; i < w->config.clusters; i++)
        if (tm_sim_wrongs(w->clusters[i].sim) > 0)
            return tm_sim_wrong_text(w->clusters[i].sim);
    return "";
}

void tm_sim_world_config_default(struct tm_sim_world_config *c, uint64_t seed, unsigned clusters)
{
    struct tm_rng rng;
    TM_ASSERT(clusters <= TM_SIM_CLUSTERS_MAX);
    tm_rng_seed(&rng, seed);
    *c = (struct tm_sim_world_config){
        .seed = seed,
        .clusters = clusters,
        .wire = {
            .min_ns = TM_US(200), .max_ns = TM_MS(1), .max_frame = 32768, .notice_ns = TM_MS(1)}};
    for (unsigned i = 0; i < clusters; i++)
        tm_sim_config_default(&c->cluster[i], tm_rng_next(&rng));
}

static void make_cluster(struct tm_sim_world *w, unsigned cluster)
{
    struct cluster *c = &w->clusters[cluster];
    struct tm_sim_config config = w->config.cluster[cluster];
    c->place = (struct tm_sim_place){.wire = w->wire,
                                     .first = tm_sim_world_block(w, cluster, 0),
                                     .blocks = c->blocks,
                                     .sites = c->sites,
                                     .host = w,
                                     .run_until = run_until};
    for (unsigned i = 0; i < config.nodes; i++)
        c->blocks[i] = c->place.first + i;
    for (unsigned j = 0; j < w->config.clusters; j++)
        if (j != cluster)
            fill_site(w, j, &c->sites[c->place.site_count++]);
    make_facts(w, cluster);
    config.cluster = tm_sim_world_name(cluster);
    config.facts = c->facts;
    config.place = &c->place;
    c->sim = tm_sim_new(&config);
}

struct tm_sim_world *tm_sim_world_new(const struct tm_sim_world_config *config)
{
    struct tm_sim_world *w = calloc(1, sizeof *w);
    TM_ASSERT(w != NULL);
    w->config = *config;
    tm_rng_seed(&w->rng, config->seed ^ 0x6c696e6b73);
    w->config.wire.seed = tm_rng_next(&w->rng);
    w->config.wire.host = w;
    w->config.wire.woke = woke;
    w->config.wire.hash = &w->hash;
    w->wire = tm_sim_wire_new(&w->config.wire);
    for (unsigned i = 0; i < config->clusters; i++)
        make_cluster(w, i);
    w->now = tm_sim_now(w->clusters[0].sim);
    return w;
}

void tm_sim_world_free(struct tm_sim_world *w)
{
    for (unsigned i = 0; i < w->config.clusters; i++)
        tm_sim_free(w->clusters[i].sim);
    tm_sim_wire_free(w->wire);
    free(w);
}
