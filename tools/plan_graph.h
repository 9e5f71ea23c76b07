/* plan_graph.h: the links of a whole topology as a graph: cycles, and why none lets a record
 * circle; how far one write goes; where deletions are remembered for good.
 *
 * What is shown is played through, by the rules that links keep: a cluster ships what was written
 * there, and, over a link with forward: "transit", what it applied; never to the record's origin;
 * and it applies a change once.  One thread. */
#ifndef TM_TOOLS_PLAN_GRAPH_H
#define TM_TOOLS_PLAN_GRAPH_H

#include "tools/topology.h"

#include <jansson.h>

#define TM_PLAN_CYCLES_MAX 32 /* shown; a mesh has more than anybody reads */

struct tm_plan_cycle {
    unsigned clusters[TM_CLUSTERS_MAX]; /* in the order of the links; the last links to the first */
    unsigned length;
    unsigned stops; /* links among them with forward: "none" */
};

/* What one write at a cluster leads to. */
struct tm_plan_spread {
    unsigned crossings; /* links that it crosses, at most */
    unsigned reached;   /* clusters that apply it, beside the origin */
    unsigned hops;      /* links that the longest way has */
    bool at[TM_CLUSTERS_MAX];
};

/* Finds up to TM_PLAN_CYCLES_MAX cycles, each of links once, the shortest first; *more: there are
 * others. */
unsigned tm_plan_cycles(const struct tm_topology *t, struct tm_plan_cycle *out, bool *more);

/* Plays a write of a type that every filter lets pass through. */
void tm_plan_spread(const struct tm_topology *t, unsigned origin, struct tm_plan_spread *out);

/* Whether clusters that links connect with this one, over however many, never give up what they
 * remember of deletions (actors/links_frontier.c): one of them is eventual (*eventual), or three or
 * more make a ring of transit links.  all: the clusters of that group, by number. */
bool tm_plan_remembers(const struct tm_topology *t, unsigned cluster, bool all[TM_CLUSTERS_MAX],
                       bool *eventual);

/* All of the above, to people and as {"cycles": […], "moreCycles", "amplification": […],
 * "remembers": [{"clusters", "why"}]}; nothing where the file has no link between its clusters. */
void tm_plan_print_graph(const struct tm_topology *t);
json_t *tm_plan_json_graph(const struct tm_topology *t);

#endif
