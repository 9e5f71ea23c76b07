/* facts.h: what a topology file says of a cluster, as the lines of a directory's facts
 * (actors/directory.h): gathered in any order, written in theirs.
 *
 * One thread; memory that is not to be had ends the program. */
#ifndef TM_TOOLS_FACTS_H
#define TM_TOOLS_FACTS_H

#include "tools/topology.h"

struct tm_facts {
    char **lines; /* "name=value" */
    unsigned count, room;
};

/* Adds a line; in the value, what is no text becomes a blank, and so does '"'. */
void tm_facts_add(struct tm_facts *f, const char *name, const char *value);

/* Adds the lines of a cluster's links, in and out, of the clusters at their other ends and of the
 * types with rules: those of actors/link_plan.h.  None if the cluster has no link and the file no
 * types. */
void tm_facts_add_links(struct tm_facts *f, const struct tm_topology *t,
                        const struct tm_cluster_spec *c);

/* Writes the lines, ascending by name, and frees them.  TM_ERR_TOOBIG: they take more than size. */
enum tm_err tm_facts_write(struct tm_facts *f, char *out, size_t size);

#endif
