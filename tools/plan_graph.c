/* Cycles by length: for each length, ways from each cluster through clusters of higher numbers
 * only, so that each cycle is found once, at its lowest. */
#include "tools/plan_graph.h"

#include <stdio.h>
#include <stdlib.h>

#define STEPS_MAX 200000 /* of the search; then what was found is what is shown */

struct search {
    const struct tm_topology *t;
    struct tm_plan_cycle *out;
    unsigned count, steps;
    struct tm_plan_cycle way;
    bool on_way[TM_CLUSTERS_MAX], more;
};

static int index_of(const struct tm_topology *t, const char *name)
{
    const struct tm_cluster_spec *c = tm_topology_cluster(t, name);
    return c != NULL ? (int)(c - t->clusters) : -1;
}

static const char *name_of(const struct tm_topology *t, unsigned cluster)
{
    return t->clusters[cluster].name;
}

static void found(struct search *s)
{
    if (s->count == TM_PLAN_CYCLES_MAX)
        s->more = true;
    else
        s->out[s->count++] = s->way;
}

/* Goes on from the last cluster of the way, which is to have `length` links in all. */
static void walk(struct search *s, unsigned length)
{
    const struct tm_cluster_spec *c = &s->t->clusters[s->way.clusters[s->way.length - 1]];
    for (unsigned i = 0; i < c->link_count && !s->more; i++) {
        int to = index_of(s->t, c->links[i].target);
        unsigned stop = c->links[i].options.forward == TM_LINK_FORWARD_NONE;
        if (++s->steps > STEPS_MAX)
            s->more = true;
        if (to < (int)s->way.clusters[0])
            continue;
        s->way.stops += stop;
        if (to == (int)s->way.clusters[0] && s->way.length == length) {
            found(s);
        } else if (s->way.length < length && !s->on_way[to]) {
            s->on_way[to] = true;
            s->way.clusters[s->way.length++] = (unsigned)to;
            walk(s, length);
            s->way.length--;
            s->on_way[to] = false;
        }
        s->way.stops -= stop;
    }
}

unsigned tm_plan_cycles(const struct tm_topology *t, struct tm_plan_cycle *out, bool *more)
{
    struct search s = {.t = t, .out = out};
    for (unsigned length = 2; length <= t->cluster_count; length++)
        for (unsigned i = 0; i < t->cluster_count && !s.more; i++) {
            s.way = (struct tm_plan_cycle){.clusters = {i}, .length = 1};
            s.on_way[i] = true;
            walk(&s, length);
            s.on_way[i] = false;
        }
    *more = s.more;
    return s.count;
}

void tm_plan_spread(const struct tm_topology *t, unsigned origin, struct tm_plan_spread *out)
{
    unsigned queue[TM_CLUSTERS_MAX] = {origin}, hops[TM_CLUSTERS_MAX] = {0}, count = 1;
    *out = (struct tm_plan_spread){0};
    out->at[origin] = true;
    for (unsigned next = 0; next < count; next++) {
        const struct tm_cluster_spec *c = &t->clusters[queue[next]];
        for (unsigned i = 0; i < c->link_count; i++) {
            int to = index_of(t, c->links[i].target);
            bool ships =
                queue[next] == origin || c->links[i].options.forward == TM_LINK_FORWARD_TRANSIT;
            if (to < 0 || to == (int)origin || !ships)
                continue;
            out->crossings++;
            if (out->at[to])
                continue; /* it knows the change by its version */
            out->at[to] = true;
            out->reached++;
            hops[to] = hops[queue[next]] + 1;
            out->hops = hops[to];
            queue[count++] = (unsigned)to;
        }
    }
}

/* ---- deletions ---- */

static bool links_to(const struct tm_topology *t, unsigned from, unsigned to, bool transit)
{
    const struct tm_cluster_spec *c = &t->clusters[from];
    for (unsigned i = 0; i < c->link_count; i++)
        if (index_of(t, c->links[i].target) == (int)to)
            return !transit || c->links[i].options.forward == TM_LINK_FORWARD_TRANSIT;
    return false;
}

/* A way over transit links leads back from `last` to `first`, and is not the one link between. */
static bool leads_back(const struct tm_topology *t, unsigned last, unsigned first)
{
    unsigned queue[TM_CLUSTERS_MAX] = {last}, count = 1;
    bool seen[TM_CLUSTERS_MAX] = {false};
    seen[last] = true;
    for (unsigned next = 0; next < count; next++)
        for (unsigned to = 0; to < t->cluster_count; to++) {
            if (seen[to] || (queue[next] == last && to == first) ||
                !links_to(t, queue[next], to, true))
                continue;
            if (to == first)
                return true;
            seen[to] = true;
            queue[count++] = to;
        }
    return false;
}

static bool is_in_a_ring(const struct tm_topology *t, unsigned cluster)
{
    for (unsigned to = 0; to < t->cluster_count; to++)
        if (links_to(t, cluster, to, true) && leads_back(t, to, cluster))
            return true;
    return false;
}

bool tm_plan_remembers(const struct tm_topology *t, unsigned cluster, bool all[TM_CLUSTERS_MAX],
                       bool *eventual)
{
    unsigned queue[TM_CLUSTERS_MAX] = {cluster}, count = 1;
    bool ring = false;
    memset(all, 0, TM_CLUSTERS_MAX * sizeof *all);
    all[cluster] = true;
    *eventual = false;
    for (unsigned next = 0; next < count; next++) {
        *eventual |= t->clusters[queue[next]].eventual;
        ring |= is_in_a_ring(t, queue[next]);
        for (unsigned i = 0; i < t->cluster_count; i++)
            if (!all[i] &&
                (links_to(t, queue[next], i, false) || links_to(t, i, queue[next], false))) {
                all[i] = true;
                queue[count++] = i;
            }
    }
    return count > 1 && (*eventual || ring);
}

/* ---- words ---- */

/* "a -> b -> a" */
static void cycle_text(const struct tm_topology *t, const struct tm_plan_cycle *y, char *buf,
                       size_t size)
{
    size_t at = 0;
    for (unsigned i = 0; i <= y->length && at < size; i++)
        at += (size_t)snprintf(buf + at, size - at, "%s%s", i > 0 ? " -> " : "",
                               name_of(t, y->clusters[i % y->length]));
}

static const char *cycle_why(const struct tm_plan_cycle *y)
{
    if (y->stops == y->length)
        return "each of these links ships only what was written at its source (forward: none), so "
               "a record crosses one of them and stays";
    if (y->stops > 0)
        return "a record that came from elsewhere is not shipped on where forward is none, so it "
               "gets no further than that; and nothing is shipped to its origin";
    return "all of these links forward (transit), but a record carries its origin and is never "
           "shipped to it, and a cluster applies a change once and ships on only what it applied";
}

static unsigned links_inside(const struct tm_topology *t)
{
    unsigned n = 0;
    for (unsigned i = 0; i < t->cluster_count; i++)
        for (unsigned k = 0; k < t->clusters[i].link_count; k++)
            n += tm_topology_cluster(t, t->clusters[i].links[k].target) != NULL;
    return n;
}

static void print_cycles(const struct tm_topology *t)
{
    struct tm_plan_cycle *cycles = calloc(TM_PLAN_CYCLES_MAX, sizeof *cycles);
    TM_ASSERT(cycles != NULL);
    bool more;
    unsigned count = tm_plan_cycles(t, cycles, &more);
    char text[TM_CLUSTERS_MAX * (TM_TOPOLOGY_NAME_MAX + 5)];
    if (count == 0)
        printf("loops: none: no way over links leads back to where it began\n");
    for (unsigned i = 0; i < count; i++) {
        cycle_text(t, &cycles[i], text, sizeof text);
        printf("loop %s: safe: %s\n", text, cycle_why(&cycles[i]));
    }
    if (more)
        printf("loops: there are more than these %u; the same holds for each: a link ships nothing "
               "to its origin, and a cluster applies a change once\n",
               count);
    free(cycles);
}

static void print_spread(const struct tm_topology *t, unsigned origin)
{
    struct tm_plan_spread s;
    tm_plan_spread(t, origin, &s);
    if (s.crossings == 0)
        return;
    printf("amplification %s: one write crosses at most %u link%s, to reach", name_of(t, origin),
           s.crossings, s.crossings == 1 ? "" : "s");
    unsigned shown = 0;
    for (unsigned i = 0; i < t->cluster_count; i++)
        if (s.at[i] && i != origin)
            printf("%s %s", shown++ > 0 ? "," : "", name_of(t, i));
    if (s.hops > 1)
        printf("; the longest way has %u links", s.hops);
    if (s.crossings > s.reached)
        printf("; %u time%s it comes to where it is known, and is dropped", s.crossings - s.reached,
               s.crossings - s.reached == 1 ? "" : "s");
    putchar('\n');
}

static const char *remembers_why(bool eventual)
{
    return eventual
               ? "consistency: \"eventual\" cannot say that it has all, and each waits for the "
                 "others to say so"
               : "in the ring of links that forward (transit) each waits for the next to say "
                 "that it has all, and the rest for them";
}

/* Each group of clusters once, at its first. */
static bool remembers_first(const struct tm_topology *t, unsigned cluster,
                            bool all[TM_CLUSTERS_MAX], bool *eventual)
{
    return tm_plan_remembers(t, cluster, all, eventual) && memchr(all, true, cluster) == NULL;
}

static void print_remembers(const struct tm_topology *t, unsigned cluster)
{
    bool all[TM_CLUSTERS_MAX], eventual;
    if (!remembers_first(t, cluster, all, &eventual))
        return;
    printf("deletions: remembered for good at");
    for (unsigned i = cluster; i < t->cluster_count; i++)
        if (all[i])
            printf("%s %s", i > cluster ? "," : "", name_of(t, i));
    printf(": %s\n", remembers_why(eventual));
}

void tm_plan_print_graph(const struct tm_topology *t)
{
    if (links_inside(t) == 0)
        return;
    print_cycles(t);
    for (unsigned i = 0; i < t->cluster_count; i++)
        print_spread(t, i);
    for (unsigned i = 0; i < t->cluster_count; i++)
        print_remembers(t, i);
}

/* ---- JSON ---- */

static json_t *json_spread(const struct tm_topology *t, unsigned origin)
{
    struct tm_plan_spread s;
    json_t *reached = json_array();
    tm_plan_spread(t, origin, &s);
    for (unsigned i = 0; i < t->cluster_count; i++)
        if (s.at[i] && i != origin)
            json_array_append_new(reached, json_string(name_of(t, i)));
    return json_pack("{s:s, s:i, s:i, s:o}", "origin", name_of(t, origin), "crossings",
                     (int)s.crossings, "hops", (int)s.hops, "reaches", reached);
}

static json_t *json_cycle(const struct tm_topology *t, const struct tm_plan_cycle *y)
{
    json_t *clusters = json_array();
    for (unsigned i = 0; i < y->length; i++)
        json_array_append_new(clusters, json_string(name_of(t, y->clusters[i])));
    return json_pack("{s:o, s:b, s:s}", "clusters", clusters, "safe", 1, "why", cycle_why(y));
}

static json_t *json_remembers(const struct tm_topology *t)
{
    json_t *groups = json_array();
    bool all[TM_CLUSTERS_MAX], eventual;
    for (unsigned c = 0; c < t->cluster_count; c++) {
        if (!remembers_first(t, c, all, &eventual))
            continue;
        json_t *names = json_array();
        for (unsigned i = c; i < t->cluster_count; i++)
            if (all[i])
                json_array_append_new(names, json_string(name_of(t, i)));
        json_array_append_new(
            groups, json_pack("{s:o, s:s}", "clusters", names, "why", remembers_why(eventual)));
    }
    return groups;
}

json_t *tm_plan_json_graph(const struct tm_topology *t)
{
    struct tm_plan_cycle *cycles = calloc(TM_PLAN_CYCLES_MAX, sizeof *cycles);
    TM_ASSERT(cycles != NULL);
    json_t *list = json_array(), *spreads = json_array();
    bool more;
    unsigned count = tm_plan_cycles(t, cycles, &more);
    for (unsigned i = 0; i < count; i++)
        json_array_append_new(list, json_cycle(t, &cycles[i]));
    for (unsigned i = 0; i < t->cluster_count; i++)
        json_array_append_new(spreads, json_spread(t, i));
    free(cycles);
    return json_pack("{s:o, s:b, s:o, s:o}", "cycles", list, "moreCycles", (int)more,
                     "amplification", spreads, "remembers", json_remembers(t));
}
