/* tidemill-sim-links: one simulated run of linked clusters.  tools/sim --links starts it.
 *
 *   tidemill-sim-links --seed N [--seconds S] [--without KIND,...] [--only KIND,...] [--log FILE]
 * [--plan]
 *
 * Prints one JSON object.  Exit 0: the run was good; 1: a rule was broken; 2: bad usage. */
#include "tests/sim/sim_links.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>

/* Nodes come and go all the time: their memory is kept for the next. */
extern const char *malloc_conf;
const char *malloc_conf = "dirty_decay_ms:-1,muzzy_decay_ms:-1";

struct args {
    uint64_t seed, seconds;
    const char *without, *only, *log;
    bool plan_only;
};

static int usage(void)
{
    fprintf(stderr, "usage: tidemill-sim-links --seed N [--seconds S] [--without KIND,...] "
                    "[--only KIND,...] [--log FILE] [--plan]\nkinds: machines changes sync loss");
    for (unsigned k = 0; k < TM_SIM_LINKS_FAULT_COUNT; k++)
        fprintf(stderr, " %s", tm_sim_links_fault_name((enum tm_sim_links_fault)k));
    fputc('\n', stderr);
    return 2;
}

static bool parse(int argc, char **argv, struct args *a)
{
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"seconds", required_argument, NULL, 't'},
                                            {"without", required_argument, NULL, 'w'},
                                            {"only", required_argument, NULL, 'o'},
                                            {"log", required_argument, NULL, 'l'},
                                            {"plan", no_argument, NULL, 'p'},
                                            {0}};
    bool seeded = false;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 's':
            a->seed = strtoull(optarg, NULL, 0);
            seeded = true;
            break;
        case 't':
            a->seconds = strtoull(optarg, NULL, 0);
            break;
        case 'w':
            a->without = optarg;
            break;
        case 'o':
            a->only = optarg;
            break;
        case 'l':
            a->log = optarg;
            break;
        case 'p':
            a->plan_only = true;
            break;
        default:
            return false;
        }
    }
    return seeded && a->seconds > 0 && optind == argc;
}

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

static bool is_out(const struct args *a, const char *name)
{
    return (a->without != NULL && listed(a->without, name)) ||
           (a->only != NULL && !listed(a->only, name));
}

static void mask(struct tm_sim_links_plan *plan, const struct args *a)
{
    for (unsigned k = 0; k < TM_SIM_LINKS_FAULT_COUNT; k++)
        if (is_out(a, tm_sim_links_fault_name((enum tm_sim_links_fault)k)))
            plan->fault_mean_ns[k] = 0;
    if (is_out(a, "machines"))
        plan->has_machines = false;
    if (is_out(a, "changes"))
        plan->changes = 0;
}

static void print_text(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++)
        putchar(*text == '"' || *text == '\\' || (unsigned char)*text < ' ' ? '\'' : *text);
    putchar('"');
}

/* Prints the fields that LIST names, of a result's part, as an object with the part's name. */
#define PRINT_COUNT(field) printf("%s\"" #field "\": %" PRIu64, comma, part->field), comma = ", ";
#define PRINT_COUNTS(result, name, LIST)                                                           \
    do {                                                                                           \
        const __typeof__((result)->name) *part = &(result)->name;                                  \
        const char *comma = "";                                                                    \
        printf(", \"" #name "\": {");                                                              \
        LIST(PRINT_COUNT)                                                                          \
        putchar('}');                                                                              \
    } while (0)

static void print_result(const struct tm_sim_links_plan *plan, const struct tm_sim_links_result *r)
{
    char text[1024];
    tm_sim_links_text(plan, text, sizeof text);
    printf("{\"seed\": %" PRIu64 ", \"good\": %s, \"hash\": \"%016" PRIx64
           "\", \"simulated_s\": %.3f, \"settled_s\": %.3f, \"why\": ",
           plan->seed, r->good ? "true" : "false", r->hash, (double)r->simulated_ns / 1e9,
           (double)r->settled_ns / 1e9);
    print_text(r->why);
    printf(", \"plan\": ");
    print_text(text);
    PRINT_COUNTS(r, load, TM_SIM_LINKS_LOAD);
    PRINT_COUNTS(r, oks, TM_SIM_LINKS_OKS);
    PRINT_COUNTS(r, lost, TM_SIM_LINKS_LOSSES);
    PRINT_COUNTS(r, frames, TM_SIM_LINKS_FRAMES);
    PRINT_COUNTS(r, effects, TM_SIM_LINKS_COUNTERS);
    printf(", \"fired\": {");
    for (unsigned k = 0; k < TM_SIM_LINKS_FAULT_COUNT; k++)
        printf("%s\"%s\": %" PRIu64, k > 0 ? ", " : "",
               tm_sim_links_fault_name((enum tm_sim_links_fault)k), r->fired[k]);
    printf("}, \"machines\": {");
    for (unsigned k = 0; k < TM_SIM_FAULT_COUNT; k++)
        if (r->machines[k] > 0)
            printf("\"%s\": %" PRIu64 ", ", tm_sim_fault_name((enum tm_sim_fault)k),
                   r->machines[k]);
    printf("\"changes\": %" PRIu64 "}}\n", r->changed);
}

int main(int argc, char **argv)
{
    static struct tm_sim_links_plan plan;
    struct tm_sim_links_result result;
    struct args args = {.seconds = 60};
    FILE *log = NULL;
    if (!parse(argc, argv, &args))
        return usage();
    unsigned without = (is_out(&args, "sync") ? TM_SIM_LINKS_WITHOUT_SYNC : 0) |
                       (is_out(&args, "loss") ? TM_SIM_LINKS_WITHOUT_LOSS : 0);
    tm_sim_links_draw(&plan, args.seed, TM_SECONDS(args.seconds), without);
    mask(&plan, &args);
    if (args.plan_only) {
        char text[1024];
        tm_sim_links_text(&plan, text, sizeof text);
        puts(text);
        return 0;
    }
    if (args.log != NULL && (log = fopen(args.log, "w")) == NULL) {
        perror(args.log);
        return 2;
    }
    if (log != NULL) /* an assertion must not take the last lines along */
        setvbuf(log, NULL, _IOLBF, 0);
    tm_sim_links_run(&plan, log, &result);
    print_result(&plan, &result);
    if (log != NULL)
        fclose(log);
    return result.good ? 0 : 1;
}
