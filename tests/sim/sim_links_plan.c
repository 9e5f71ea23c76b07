/* A run is drawn as a whole: which clusters and links, with what options and filters, how filters
 * change while it lasts, which faults how often. */
#include "tests/sim/sim_links.h"

#include "runtime/rng.h"

#define PICK(rng, ...)                                                                             \
    ((const unsigned[]){                                                                           \
        __VA_ARGS__}[tm_rng_below(rng, TM_ARRAY_LEN(((const unsigned[]){__VA_ARGS__})))])

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

/* Which types a link takes, and the line that says so: all, some, or all but some. */
static const struct {
    const char *line;
    uint8_t ships;
} FILTERS[] = {{"", 0xf},
               {"replicateEntityTypes=A,B", 0x3},
               {"excludeEntityTypes=D", 0x7},
               {"replicateEntityTypes=A,B,C\nexcludeEntityTypes=B", 0x5}};

static uint8_t draw_filter(struct tm_rng *rng, char *line, size_t size)
{
    unsigned which = (unsigned)tm_rng_below(rng, TM_ARRAY_LEN(FILTERS));
    snprintf(line, size, "%s", FILTERS[which].line);
    return FILTERS[which].ships;
}

void tm_sim_links_filter(struct tm_sim_links_plan *p, unsigned from, unsigned to, const char *line)
{
    char text[TM_SIM_LINKS_FILTER];
    if (line != p->line[from][to])
        snprintf(p->line[from][to], sizeof p->line[from][to], "%s", line);
    snprintf(text, sizeof text, "%s%s%s%s%s%s", line, line[0] != '\0' ? "\n" : "",
             p->transit ? "forward=transit" : "forward=none", p->limits, p->mode[from][to],
             p->purges ? "\nonNarrow=purge" : "");
    memcpy(p->filter[from][to], text, sizeof text);
}

static void add_link(struct tm_sim_links_plan *p, unsigned from, unsigned to, uint8_t ships,
                     const char *filter, bool transit)
{
    p->world.to[from] |= 1u << to;
    p->ships[from][to] = ships;
    p->transit = transit;
    tm_sim_links_filter(p, from, to, filter);
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

/* The lines of all links, once more. */
static void filter_all(struct tm_sim_links_plan *p)
{
    for (unsigned i = 0; i < p->world.clusters; i++)
        for (unsigned j = 0; j < p->world.clusters; j++)
            if ((p->world.to[i] >> j & 1) != 0)
                tm_sim_links_filter(p, i, j, p->line[i][j]);
}

/* In some runs links are synchronous: their targets have to have what has its OK. */
static void draw_mode(struct tm_sim_links_plan *p, struct tm_rng *rng, unsigned from, unsigned to)
{
    static const char *const unavailable[] = {"fail", "block", "degrade"};
    static const char *const ack[] = {"durable", "durable", "applied", "received"};
    static const char *const patience[] = {"50ms", "200ms", "1s"};
    const char *level = ack[tm_rng_below(rng, TM_ARRAY_LEN(ack))];
    if (tm_rng_chance(rng, 1, 4))
        return;
    snprintf(p->mode[from][to], sizeof p->mode[from][to],
             "\nreplicationMode=sync\nonUnavailable=%s\nsyncTimeoutMs=%s\nackLevel=%s",
             unavailable[tm_rng_below(rng, 3)], patience[tm_rng_below(rng, 3)], level);
    tm_sim_links_filter(p, from, to, p->line[from][to]);
    p->sync = true;
    p->waits[from][to] = strcmp(level, "received") != 0;
}

/* In some runs a whole cluster is lost.  What is made anew after clocks were far ahead would write
 * what is earlier than what is there: there are none then. */
static void draw_loss(struct tm_sim_links_plan *p)
{
    struct tm_rng rng;
    tm_rng_seed(&rng, p->seed ^ 0x6c6f7373);
    unsigned what = (unsigned)tm_rng_below(&rng, 8);
    p->lost_cluster = (unsigned)tm_rng_below(&rng, p->world.clusters);
    p->lost_at_ns = p->faults_ns / 4 + tm_rng_below(&rng, p->faults_ns / 2);
    bool forwards = p->shape == TM_SIM_LINKS_BOTH_WAYS && tm_rng_chance(&rng, 1, 2);
    if (what > 1 || (what == 0 && p->world.to[p->lost_cluster] == 0))
        return;
    p->loss = what == 0 ? TM_SIM_LINKS_FOR_GOOD : TM_SIM_LINKS_ANEW;
    if (p->loss == TM_SIM_LINKS_ANEW && forwards) {
        p->transit = true;
        filter_all(p);
    }
}

static void draw_modes(struct tm_sim_links_plan *p)
{
    struct tm_rng rng;
    tm_rng_seed(&rng, p->seed ^ 0x73796e63); /* its own: the rest is drawn as without */
    if (!tm_rng_chance(&rng, 1, 3))
        return;
    for (unsigned i = 0; i < p->world.clusters; i++)
        for (unsigned j = 0; j < p->world.clusters; j++)
            if ((p->world.to[i] >> j & 1) != 0)
                draw_mode(p, &rng, i, j);
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

/* Small batches that wait, bytes that are not packed, a rate that is kept to. */
static void draw_limits(struct tm_sim_links_plan *p, struct tm_rng *rng)
{
    char *text = p->limits;
    size_t used = 0, size = sizeof p->limits;
    if (tm_rng_chance(rng, 1, 3))
        used +=
            (size_t)snprintf(text + used, size - used, "\nbatchBytes=%u", PICK(rng, 4096, 8192));
    if (tm_rng_chance(rng, 1, 3))
        used += (size_t)snprintf(text + used, size - used, "\nbatchMaxDelayUs=%u",
                                 PICK(rng, 0, 100, 20000));
    if (tm_rng_chance(rng, 1, 3))
        used += (size_t)snprintf(text + used, size - used, "\ncompression=none");
    if (tm_rng_chance(rng, 1, 6))
        (void)snprintf(text + used, size - used, "\nmaxBytesPerSecond=%u",
                       PICK(rng, 100000, 300000));
}

/* Large values and small logs: a target that is away for long is resynchronised. */
static void draw_bulk(struct tm_sim_links_plan *p, struct tm_rng *rng)
{
    if (!tm_rng_chance(rng, 1, 4))
        return;
    p->bulk = PICK(rng, 2000, 8000);
    for (unsigned i = 0; i < p->world.clusters; i++) {
        struct tm_options *o = &p->world.cluster[i].options;
        o->wal_segment_bytes = TM_KIB(256);
        o->wal_bytes = o->wal_segment_bytes * PICK(rng, 6, 8, 16);
    }
}

/* All links of the run get another filter, twice at most: in shapes whose links have the same. */
static void draw_changes(struct tm_sim_links_plan *p, struct tm_rng *rng)
{
    if (p->shape == TM_SIM_LINKS_CHAIN || !tm_rng_chance(rng, 1, 3))
        return;
    p->changes = 1 + (unsigned)tm_rng_below(rng, TM_SIM_LINKS_CHANGES);
    for (unsigned i = 0; i < p->changes; i++) {
        unsigned which = (unsigned)tm_rng_below(rng, TM_ARRAY_LEN(FILTERS));
        p->change[i] = (struct tm_sim_links_change){.at_ns = p->faults_ns / 4 +
                                                             tm_rng_below(rng, p->faults_ns / 2),
                                                    .line = FILTERS[which].line,
                                                    .ships = FILTERS[which].ships};
        for (unsigned c = 0; p->shape == TM_SIM_LINKS_ONE_WAY && c + 1 < p->world.clusters; c++)
            p->keeps_off[c + 1] |= FILTERS[which].ships; /* it never comes back */
    }
}

/* In some runs machines and disks of clusters of three fail as in runs of one cluster, clocks and
 * what ends whole clusters excepted. */
static void draw_machines(struct tm_sim_links_plan *p, struct tm_rng *rng)
{
    static const enum tm_sim_fault not [] = {TM_SIM_FAULT_CLOCK_JUMP, TM_SIM_FAULT_CLOCK_RATE,
                                             TM_SIM_FAULT_AMBUSH,     TM_SIM_FAULT_LONG_PAUSE,
                                             TM_SIM_FAULT_SUSPEND,    TM_SIM_FAULT_DRIFT};
    if (!tm_rng_chance(rng, 1, 3))
        return;
    p->machines.haste = 1;
    p->machines.calm_ns = p->machines.storm_ns = TM_SECONDS(1);
    p->machines.seed = tm_rng_next(rng);
    for (unsigned k = 0; k < TM_SIM_FAULT_COUNT; k++) {
        bool has = tm_rng_chance(rng, 1, 3);
        uint64_t mean = tm_rng_between(rng, TM_SECONDS(3), TM_SECONDS(20));
        p->machines.rate[k] = (struct tm_sim_fault_rate){
            .mean_ns = has ? mean : 0, .most_ns = TM_MS(1) + tm_rng_below(rng, TM_SECONDS(3))};
    }
    for (unsigned i = 0; i < TM_ARRAY_LEN(not ); i++)
        p->machines.rate[not [i]].mean_ns = 0;
    p->has_machines = true;
}

/* In some runs conflicts of a type go by another rule, and what a narrower filter takes away is
 * purged. */
static void draw_rules(struct tm_sim_links_plan *p)
{
    static const char *const rules[] = {"entity-lww", "set", "max", "min", "home"};
    struct tm_rng rng;
    tm_rng_seed(&rng, p->seed ^ 0x72756c6573);
    unsigned which = (unsigned)tm_rng_below(&rng, 2 * TM_ARRAY_LEN(rules));
    p->purges = tm_rng_chance(&rng, 1, 2);
    if (p->purges)
        filter_all(p);
    bool speaks = tm_rng_chance(&rng, 1, 3);
    if (!speaks)
        p->fault_mean_ns[TM_SIM_LINKS_OPERATOR] = 0;
    if (which >= TM_ARRAY_LEN(rules))
        return;
    p->rule = rules[which];
    for (unsigned i = 0; i < p->world.clusters; i++)
        snprintf(p->facts[i], sizeof p->facts[i], "type:B/conflict=%s%s", p->rule,
                 strcmp(p->rule, "home") == 0 ? "\ntype:B/home=east" : "");
}

static void draw_faults(struct tm_sim_links_plan *p, struct tm_rng *rng)
{
    static const unsigned means_ms[TM_SIM_LINKS_FAULT_COUNT] = {
        [TM_SIM_LINKS_KILL] = 4000,     [TM_SIM_LINKS_POWER] = 8000,
        [TM_SIM_LINKS_STOP] = 10000,    [TM_SIM_LINKS_PAUSE] = 8000,
        [TM_SIM_LINKS_CLUSTER] = 15000, [TM_SIM_LINKS_CUT] = 6000,
        [TM_SIM_LINKS_HALF_CUT] = 8000, [TM_SIM_LINKS_LOSSY] = 5000,
        [TM_SIM_LINKS_CLOCK] = 6000,    [TM_SIM_LINKS_TRANSFER] = 3000,
        [TM_SIM_LINKS_SNAPSHOT] = 5000, [TM_SIM_LINKS_FLAP] = 4000,
        [TM_SIM_LINKS_OPERATOR] = 4000, [TM_SIM_LINKS_SLOW] = 6000,
        [TM_SIM_LINKS_SKEW] = 12000};
    for (unsigned k = 0; k < TM_SIM_LINKS_FAULT_COUNT; k++)
        if (k == TM_SIM_LINKS_OPERATOR || tm_rng_below(rng, 3) != 0)
            p->fault_mean_ns[k] = TM_MS(means_ms[k]);
}

/* What does not go together, though each is drawn as if it were alone. */
static void fit(struct tm_sim_links_plan *p)
{
    bool lost = p->loss != TM_SIM_LINKS_NO_LOSS;
    if (p->sync || lost) /* who ships more than before catches up first: OKs mean less meanwhile */
        p->changes = 0;
    for (unsigned i = 0; p->changes > 0 && i < p->world.clusters; i++)
        p->may_write[i] &= (uint8_t)~p->keeps_off[i];
    if (p->rule != NULL) /* versions of what expired: section 16 of the architecture */
        p->expires = false;
    if (lost)
        p->has_machines = false;
    if (p->loss == TM_SIM_LINKS_ANEW)
        p->fault_mean_ns[TM_SIM_LINKS_SKEW] = 0;
}

void tm_sim_links_draw(struct tm_sim_links_plan *p, uint64_t seed, uint64_t faults_ns,
                       unsigned without)
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
    draw_limits(p, &rng);
    draw_links(p, &rng);
    if ((without & TM_SIM_LINKS_WITHOUT_SYNC) == 0)
        draw_modes(p);
    if ((without & TM_SIM_LINKS_WITHOUT_LOSS) == 0)
        draw_loss(p);
    draw_bulk(p, &rng);
    draw_reach(p);
    draw_changes(p, &rng);
    draw_faults(p, &rng);
    draw_machines(p, &rng);
    draw_rules(p);
    fit(p);
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
        used += (size_t)snprintf(
            text + used, size - used, "; clients: %u%s%s, %u bytes; %u changes; limits:%s%s",
            p->clients, p->deletes ? " deletes" : "", p->expires ? " expires" : "", p->bulk,
            p->changes, p->limits, p->has_machines ? "; machines" : "");
    for (unsigned i = 0; i < p->world.clusters && used < size; i++)
        for (unsigned j = 0; j < p->world.clusters && used < size; j++)
            if (p->mode[i][j][0] != '\0')
                used += (size_t)snprintf(text + used, size - used, "; %s to %s:%s",
                                         tm_sim_world_name(i), tm_sim_world_name(j), p->mode[i][j]);
    if (used < size && p->loss != TM_SIM_LINKS_NO_LOSS)
        used += (size_t)snprintf(text + used, size - used, "; %s is lost %s%s",
                                 tm_sim_world_name(p->lost_cluster),
                                 p->loss == TM_SIM_LINKS_ANEW ? "and made anew" : "for good",
                                 p->transit ? ", all is shipped on" : "");
    if (used < size)
        used += (size_t)snprintf(
            text + used, size - used, "%s%s%s; faults:", p->rule != NULL ? "; rule of B: " : "",
            p->rule != NULL ? p->rule : "", p->purges && p->changes > 0 ? "; purges" : "");
    for (unsigned k = 0; k < TM_SIM_LINKS_FAULT_COUNT && used < size; k++)
        if (p->fault_mean_ns[k] != 0)
            used += (size_t)snprintf(text + used, size - used, " %s",
                                     tm_sim_links_fault_name((enum tm_sim_links_fault)k));
}
