/* topology.h: a topology file, evaluated and checked.
 *
 * The file is JavaScript (ES5.1 and `const`).  It is evaluated in a forked child with bounds on
 * memory and time and no access to anything (tools/topology_eval.h); what it declared is checked
 * here, option by option, against the tables in topology.c.  Call before threads or the EAL exist:
 * loading forks.  One thread. */
#ifndef TM_TOOLS_TOPOLOGY_H
#define TM_TOOLS_TOPOLOGY_H

#include "actors/link_plan.h"

#define TM_CLUSTERS_MAX      64
#define TM_TOPOLOGY_NAME_MAX 63 /* bytes of a cluster's, node's or type's name: [A-Za-z0-9._-] */
#define TM_PARTITIONS_MAX    4096
#define TM_REPLICATION_MAX   5
#define TM_LIST_MAX          256 /* entries of a list of names */

struct tm_name_list {
    char **names;
    unsigned count;
};

/* A link as the file says it, defaults and what the cluster says of all its links filled in. */
struct tm_link_spec {
    char *target;
    unsigned line; /* where it stands in the file */
    struct tm_link_options options;
    uint32_t given; /* bit r: the file has row r of link_options.h, for it or for the cluster */
    struct tm_name_list include, exclude; /* of types; no include: all */
};

/* How conflicts are resolved, of a type or of one field. */
struct tm_rule_spec {
    enum tm_conflict rule;
    char *home;     /* HOME: the cluster's name; else NULL */
    char *function; /* FUNCTION: its text in the file; else NULL */
};

struct tm_field_spec {
    char *name; /* 1..63 bytes */
    struct tm_rule_spec rule;
};

/* One defineEntity. */
struct tm_entity_spec {
    char *name;
    unsigned line;
    bool resident; /* it has a residency; the list may be empty */
    struct tm_name_list residency;
    struct tm_rule_spec rule;
    struct tm_field_spec *fields;
    unsigned field_count;
};

/* One defineCluster, defaults filled in. */
struct tm_cluster_spec {
    char *name;
    unsigned line; /* of the call in the file */
    struct tm_name_list nodes;
    unsigned blocks[TM_NODES_MAX]; /* of each node: its place in the port plan (tools/ports.h) */
    struct tm_name_list listed;    /* see tm_cluster_listed */
    unsigned replication_factor;   /* 1..5, at most the number of nodes */
    unsigned partitions;           /* 1..4096 */
    bool eventual;                 /* consistency: "eventual" */
    char *provider, *region, *location; /* labels; "" when absent */

    char *jurisdiction; /* by default the region's part before '-'; "" when absent */

    struct tm_link_spec common; /* what it says of all its links; no target */
    struct tm_link_spec *links; /* one for each name in replicateTo */
    unsigned link_count;
};

/* One defineNode: physical facts of a node; absent ones are "" or 0. */
struct tm_node_spec {
    char *name;
    char *cluster; /* "" = the node of that name in any cluster */
    char *address; /* IPv4 */
    unsigned port; /* the shared client port; 0 = by the port plan */
    unsigned workers;
    char *fabric;         /* "dpdk" | "tcp" | "" */
    char *fabric_port;    /* as --fabric-port */
    char *fabric_address; /* IPv4 on that port's wire */
    unsigned line;        /* 0: not in the file (tools/membership.h) */
};

struct tm_topology {
    char *path;
    struct tm_cluster_spec *clusters;
    unsigned cluster_count;
    struct tm_node_spec *nodes;
    unsigned node_count;
    struct tm_entity_spec *entities;
    unsigned entity_count;
    char **warnings;
    unsigned warning_count;
};

/* Evaluates and checks the file.  On success *out is the caller's, to be freed by
 * tm_topology_free.  On failure returns TM_ERR_INVALID (the file is wrong), TM_ERR_NOTFOUND,
 * TM_ERR_TIMEOUT or TM_ERR_IO, and err holds one line: file, line, what is wrong, what would be
 * right. */
enum tm_err tm_topology_load(const char *path, struct tm_topology **out, char *err,
                             size_t err_size);
void tm_topology_free(struct tm_topology *t);

/* What the file says of a type, or NULL. */
const struct tm_entity_spec *tm_topology_entity(const struct tm_topology *t, const char *name);

/* The cluster of that name, or NULL. */
const struct tm_cluster_spec *tm_topology_cluster(const struct tm_topology *t, const char *name);

/* The facts of a node: the defineNode for (cluster, node), else for node in any cluster, or NULL.
 */
const struct tm_node_spec *tm_topology_node(const struct tm_topology *t, const char *cluster,
                                            const char *node);

/* The nodes as the file lists them, where the cluster's own order has taken their place
 * (tm_membership_follow). */
static inline const struct tm_name_list *tm_cluster_listed(const struct tm_cluster_spec *c)
{
    return c->listed.names != NULL ? &c->listed : &c->nodes;
}

/* A node's position in its cluster's list, or -1. */
int tm_cluster_node_index(const struct tm_cluster_spec *c, const char *node);

#endif
