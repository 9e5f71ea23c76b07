/* running.h: the clusters of a topology file that run: what they go by, what the file would change,
 * and the change.
 *
 * Nodes are found by their data directories on this machine, or by the port plan.  Everything
 * blocks, seconds at worst; messages are one line.  Main thread of a subcommand. */
#ifndef TM_TOOLS_RUNNING_H
#define TM_TOOLS_RUNNING_H

#include "actors/directory.h"
#include "runtime/options.h"
#include "tools/topology.h"

#define TM_RUNNING_WHY 1024

/* Where to look. */
struct tm_running_where {
    const char *dir;                  /* DIR/<cluster>/<node>; NULL: by the port plan */
    const char *cluster;              /* only this one; NULL: all of the file */
    const struct tm_options *options; /* base_port, address, requirepass */
    bool absent_ok;                   /* clusters of which no node answers are left with no `now` */
};

struct tm_running {
    const struct tm_cluster_spec *cluster;
    struct tm_directory *now; /* the newest that a node goes by; NULL: none answered */
    char *facts;              /* what the file says now, and operators said: room for
                                 TM_DIRECTORY_FACTS_MAX + 1 bytes */
    char (*addresses)[96];    /* of the nodes that answered; the first of `now` */
    unsigned count;
};

/* Finds every cluster asked for, gives t the members and ports that they have
 * (tm_membership_follow), and says what the file would make of them.  *out is the caller's, to be
 * freed by tm_running_free, also after a failure.  TM_ERR_NOTFOUND: no such cluster in the file, or
 * none of its nodes answers (but for absent_ok); TM_ERR_INVALID: the file asks for what cannot be
 * changed in a cluster that exists (nodes, partitions, copies, consistency); TM_ERR_TOOBIG. */
enum tm_err tm_running_find(struct tm_topology *t, const struct tm_running_where *where,
                            struct tm_running **out, unsigned *count, char *why);
void tm_running_free(struct tm_running *all, unsigned count);

/* Makes the cluster go by the file's facts, as the next version of its directory: when this says
 * OK, it is committed, and every node takes it, those that are away when they return.  *waiting:
 * nodes of those that answered before which have not taken it within ten seconds.  TM_ERR_INVALID:
 * refused; TM_ERR_TIMEOUT: unknown; others: it was not asked. */
enum tm_err tm_running_change(const struct tm_running *r, const struct tm_running_where *where,
                              unsigned *waiting, char *why);

#endif
