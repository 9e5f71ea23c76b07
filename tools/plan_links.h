/* plan_links.h: what the links of a topology mean, in words and as JSON; for `tidemill plan`.
 *
 * One thread; writes to stdout.  The topology was loaded, so it is whole. */
#ifndef TM_TOOLS_PLAN_LINKS_H
#define TM_TOOLS_PLAN_LINKS_H

#include "tools/topology.h"

#include <jansson.h>

/* What the nodes of c will be told of its links; a bound of link_plan.h or of a directory that does
 * not hold: TM_ERR_TOOBIG and one line in why. */
enum tm_err tm_plan_resolve(const struct tm_topology *t, const struct tm_cluster_spec *c,
                            struct tm_link_plan *plan, char *why, size_t why_size);

/* The links out of a cluster, whose plan is given: from, to, which types leave and which stay, the
 * mode, what happens when the target is away, bounds. */
void tm_plan_print_links(const struct tm_topology *t, const struct tm_cluster_spec *c,
                         const struct tm_link_plan *plan);
json_t *tm_plan_json_links(const struct tm_topology *t, const struct tm_cluster_spec *c,
                           const struct tm_link_plan *plan);

/* The types that the file has rules for. */
void tm_plan_print_types(const struct tm_topology *t);
json_t *tm_plan_json_types(const struct tm_topology *t);

#endif
