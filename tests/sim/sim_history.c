/* A group's calls lie one behind the other in the order in which they were made; the answer finds
 * its call by id.  Those that flush everything lie apart and are joined to each group's when it is
 * judged: also those made before its first call, unless they had ended by then.  A history is
 * judged each time when as many calls have been answered again, with what is under way as unknown:
 * a part of a history that has an order has one too. */
#include "tests/sim/sim_history.h"

#include "tests/sim/sim_run.h"

#include <stdlib.h>

#define JUDGED_EVERY 24

struct group {
    struct tm_sim_call *calls;
    unsigned count, cap;
    unsigned answered, judged; /* judged when so many were answered */
    bool wrong, undecided;     /* when it was judged last */
};

struct tm_sim_history {
    struct tm_sim_history_config config;
    struct group flushes;
    struct tm_sim_call *joined; /* room for a group's calls and all flushes */
    unsigned joined_cap;
    struct group *groups;
    uint32_t group_count;
    struct tm_sim_linear_result *result;
    struct tm_sim_history_stats stats;
};

struct tm_sim_history *tm_sim_history_new(const struct tm_sim_history_config *config)
{
    struct tm_sim_history *h = calloc(1, sizeof *h);
    TM_ASSERT(h != NULL && config->layout.groups > 0);
    h->config = *config;
    h->result = malloc(sizeof *h->result);
    TM_ASSERT(h->result != NULL);
    return h;
}

void tm_sim_history_free(struct tm_sim_history *h)
{
    for (uint32_t i = 0; i < h->group_count; i++)
        free(h->groups[i].calls);
    free(h->flushes.calls);
    free(h->joined);
    free(h->groups);
    free(h->result);
    free(h);
}

static struct group *group_of(struct tm_sim_history *h, const struct tm_sim_call *call)
{
    TM_ASSERT(call->count > 0);
    if (call->step[0].verb == TM_SIM_FLUSH)
        return &h->flushes;
    uint32_t number = tm_sim_group_of(&h->config.layout, call->step[0].reg);
    if (number >= h->group_count) {
        uint32_t count = tm_max_u64(number + 1, 2ull * h->group_count) & UINT32_MAX;
        h->groups = realloc(h->groups, count * sizeof *h->groups);
        TM_ASSERT(h->groups != NULL);
        memset(h->groups + h->group_count, 0, (count - h->group_count) * sizeof *h->groups);
        h->group_count = count;
    }
    return &h->groups[number];
}

/* All that may have happened to the group, in h->joined; returns how many. */
static unsigned join_flushes(struct tm_sim_history *h, const struct group *g)
{
    unsigned count = g->count;
    if (h->joined_cap < g->count + h->flushes.count) {
        h->joined_cap = 2 * (g->count + h->flushes.count);
        h->joined = realloc(h->joined, h->joined_cap * sizeof *h->joined);
        TM_ASSERT(h->joined != NULL);
    }
    memcpy(h->joined, g->calls, g->count * sizeof *g->calls);
    for (unsigned i = 0; i < h->flushes.count; i++) {
        const struct tm_sim_call *f = &h->flushes.calls[i];
        if (f->outcome != TM_SIM_DONE || f->returned_ns >= g->calls[0].called_ns)
            h->joined[count++] = *f;
    }
    return count;
}

static void judge(struct tm_sim_history *h, struct group *g)
{
    g->judged = g->answered;
    if (g->wrong || g == &h->flushes)
        return;
    unsigned count = join_flushes(h, g);
    tm_sim_linear_check(h->joined, count, &h->config.linear, h->result);
    h->stats.judged++;
    h->stats.tries += h->result->tries;
    h->stats.undecided -= g->undecided;
    g->undecided = h->result->verdict == TM_SIM_LINEAR_UNDECIDED;
    h->stats.undecided += g->undecided;
    if (h->result->verdict != TM_SIM_LINEAR_NO)
        return;
    g->wrong = true;
    h->config.wrong(h->config.host, (uint32_t)(g - h->groups), h->result->text);
}

void tm_sim_history_called(struct tm_sim_history *h, const struct tm_sim_call *call)
{
    struct group *g = group_of(h, call);
    if (g->count == g->cap) {
        g->cap = g->cap == 0 ? 32 : 2 * g->cap;
        g->calls = realloc(g->calls, g->cap * sizeof *g->calls);
        TM_ASSERT(g->calls != NULL);
    }
    h->stats.groups += g->count == 0 && g != &h->flushes;
    h->stats.calls++;
    g->calls[g->count++] = *call;
}

void tm_sim_history_returned(struct tm_sim_history *h, const struct tm_sim_call *call)
{
    struct group *g = group_of(h, call);
    unsigned at = g->count;
    while (at > 0 && g->calls[at - 1].id != call->id)
        at--;
    TM_ASSERT(at > 0 && call->outcome != TM_SIM_PENDING);
    g->calls[at - 1] = *call;
    if (++g->answered >= g->judged + JUDGED_EVERY)
        judge(h, g);
}

void tm_sim_history_judge(struct tm_sim_history *h)
{
    for (uint32_t i = 0; i < h->group_count; i++)
        if (h->groups[i].count > 0)
            judge(h, &h->groups[i]);
}

struct tm_sim_history_stats tm_sim_history_stats(const struct tm_sim_history *h)
{
    return h->stats;
}

/* ---- as a check of a run ---- */

/* Wall clocks lie apart by up to 100 ms, unless somebody turns them. */
#define CLOCK_ERROR_NS TM_MS(150)
#define TRIES_MAX      200000u

static void called(void *host, const struct tm_sim_call *call)
{
    tm_sim_history_called(host, call);
}

static void returned(void *host, const struct tm_sim_call *call)
{
    tm_sim_history_returned(host, call);
}

static void object(void *host, uint32_t group, const char *calls)
{
    const char *end = strchr(calls, '\n');
    int first = (int)(end == NULL ? strlen(calls) : (size_t)(end - calls));
    for (const char *line = calls; *line != '\0'; line += strcspn(line, "\n") + 1) {
        tm_sim_say(host, "  %.*s", (int)strcspn(line, "\n"), line);
        if (line[strcspn(line, "\n")] == '\0')
            break;
    }
    tm_sim_wrong(host, "the calls of group %u have no order (the log has them): %.*s", group, first,
                 calls);
}

static void *check_begin(struct tm_sim *sim, const struct tm_sim_plan *plan,
                         struct tm_sim_calls *calls)
{
    bool turned = tm_sim_plan_turns_clocks(plan);
    if (plan->cluster.eventual)
        return NULL;
    struct tm_sim_history_config config = {
        .layout = {.groups = plan->work.groups, .registers = plan->work.registers},
        .linear = {.clock_error_ns = turned ? UINT64_MAX : CLOCK_ERROR_NS, .tries_max = TRIES_MAX},
        .host = sim,
        .wrong = object};
    struct tm_sim_history *h = tm_sim_history_new(&config);
    *calls = (struct tm_sim_calls){.host = h, .called = called, .returned = returned};
    return h;
}

static void check_at_rest(void *host)
{
    struct tm_sim_history *h = host;
    if (h == NULL)
        return;
    tm_sim_history_judge(h);
    tm_sim_say(h->config.host,
               "history: %llu calls, %llu groups, %llu of them undecided, judged %llu times, "
               "%llu tries",
               (unsigned long long)h->stats.calls, (unsigned long long)h->stats.groups,
               (unsigned long long)h->stats.undecided, (unsigned long long)h->stats.judged,
               (unsigned long long)h->stats.tries);
}

static void check_end(void *host)
{
    if (host != NULL)
        tm_sim_history_free(host);
}

const struct tm_sim_check tm_sim_history_check = {
    .name = "history", .begin = check_begin, .at_rest = check_at_rest, .end = check_end};
