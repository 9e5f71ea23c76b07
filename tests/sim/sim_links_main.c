/* tidemill-sim-links: one simulated run of linked clusters.
 *
 *   tidemill-sim-links --seed N [--seconds S] [--without KIND,...] [--log FILE] [--plan]
 *
 * Prints one JSON object.  Exit 0: the run was good; 1: a rule was broken; 2: bad usage. */
#include "tests/sim/sim_links.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>

/* Nodes come and go all the time: their memory is kept for the next. */
extern const char *malloc_conf;
const char *malloc_conf = "dirty_decay_ms:-1,muzzy_decay_ms:-1";

/* Whether the word stands in a list of words with commas between them. */
static bool listed(const char *list, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = list; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, word, len) == 0 && (at[len] == ',' || at[len] == '\0'))
            return true;
    }
    return false;
}

static void print_plan(const struct tm_sim_links_plan *p)
{
    printf("\"shape\": \"%s\", \"clusters\": [", tm_sim_links_shape_name(p->shape));
    for (unsigned i = 0; i < p->world.clusters; i++)
        printf("%s{\"nodes\": %u, \"workers\": %u, \"partitions\": %u, \"writes\": %u}",
               i > 0 ? ", " : "", p->world.cluster[i].nodes, p->world.cluster[i].workers[0],
               p->world.cluster[i].partitions, p->may_write[i]);
    printf("], \"clients\": %u, \"deletes\": %s, \"expires\": %s", p->clients,
           p->deletes ? "true" : "false", p->expires ? "true" : "false");
}

static void print_result(const struct tm_sim_links_result *r)
{
    printf(", \"good\": %s, \"hash\": \"%016" PRIx64 "\", \"simulated_s\": %.3f, \"settled_s\": "
           "%.3f, \"commands\": %" PRIu64 ", \"refused\": %" PRIu64 ", \"unknown\": %" PRIu64
           ", \"reads\": %" PRIu64 ", \"batches\": %" PRIu64 ", \"changes\": %" PRIu64
           ", \"fired\": {",
           r->good ? "true" : "false", r->hash, (double)r->simulated_ns / 1e9,
           (double)r->settled_ns / 1e9, r->commands, r->refused, r->unknown, r->reads, r->batches,
           r->changes);
    for (unsigned k = 0; k < TM_SIM_LINKS_FAULT_COUNT; k++)
        printf("%s\"%s\": %" PRIu64, k > 0 ? ", " : "",
               tm_sim_links_fault_name((enum tm_sim_links_fault)k), r->fired[k]);
    printf("}, \"why\": \"");
    for (const char *c = r->why; *c != '\0'; c++)
        putchar(*c == '"' || *c == '\\' || (unsigned char)*c < ' ' ? '\'' : *c);
    printf("\"}\n");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},    {"seconds", required_argument, NULL, 't'},
        {"without", required_argument, NULL, 'w'}, {"log", required_argument, NULL, 'l'},
        {"plan", no_argument, NULL, 'p'},          {0}};
    static struct tm_sim_links_plan plan;
    struct tm_sim_links_result result;
    uint64_t seed = 0, seconds = 60;
    bool seeded = false, plan_only = false;
    const char *without = "";
    FILE *log = NULL;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 's')
            seed = strtoull(optarg, NULL, 0), seeded = true;
        else if (c == 't')
            seconds = strtoull(optarg, NULL, 0);
        else if (c == 'l')
            log = fopen(optarg, "w");
        else if (c == 'w')
            without = optarg;
        else if (c == 'p')
            plan_only = true;
        else
            seeded = false;
    }
    if (!seeded || seconds == 0 || optind != argc) {
        fprintf(stderr, "usage: tidemill-sim-links --seed N [--seconds S] [--without KIND,...] "
                        "[--log FILE] [--plan]\n");
        return 2;
    }
    if (log != NULL) /* an assertion must not take the last lines along */
        setvbuf(log, NULL, _IOLBF, 0);
    tm_sim_links_draw(&plan, seed, TM_SECONDS(seconds));
    for (unsigned k = 0; k < TM_SIM_LINKS_FAULT_COUNT; k++)
        if (listed(without, tm_sim_links_fault_name((enum tm_sim_links_fault)k)))
            plan.fault_mean_ns[k] = 0;
    printf("{\"seed\": %" PRIu64 ", ", seed);
    print_plan(&plan);
    if (plan_only) {
        printf("}\n");
        return 0;
    }
    tm_sim_links_run(&plan, log, &result);
    print_result(&result);
    return result.good ? 0 : 1;
}
