/* ports.h: which ports a node uses.
 *
 * Every node of a topology file has a block of 32 ports, block n beginning at --base-port + 32 n,
 * where n counts the nodes of all clusters in the order of the file, as it was when the cluster was
 * created (tools/membership.h):
 *
 *   +0        the node's shared client port, the one that is shown to people
 *   +1 .. 15  the workers' own client ports, which CLUSTER SLOTS names
 *   +16 .. 30 the workers' listeners of the tcp fabric
 *   +2048 ..  the workers' listeners for linked clusters, where the file has more than one: in the
 *             block of a node 64 places further on, for links reach the first 64
 *
 * A defineNode with a port puts that node's block there; one with an address says where the node
 * binds and is reached.  So every node knows every other's ports from the file alone, as long as
 * all are started with the same --base-port.  Pure. */
#ifndef TM_TOOLS_PORTS_H
#define TM_TOOLS_PORTS_H

#include "runtime/options.h"
#include "tools/topology.h"

#define TM_PORTS_PER_NODE    32
#define TM_PORTS_FABRIC      16 /* where in its block the fabric's ports begin */
#define TM_PORTS_LINKS       (TM_PORTS_PER_NODE * TM_NODES_MAX)
#define TM_PORTS_WORKERS_MAX 15 /* workers a node may have under the plan */

struct tm_ports {
    char address[64]; /* IPv4 */
    uint16_t first;   /* of the node's block: the shared client port */
};

/* Plans the ports of the node number `node` (0-based) of cluster c, which belongs to t.  address is
 * used where the file gives none.  TM_ERR_INVALID, with one line in why, if the block (or, where
 * the file has several clusters, the ports for links) would reach past 65535, or meet ports of
 * another node of the file on the same address. */
enum tm_err tm_ports_plan(const struct tm_topology *t, const struct tm_cluster_spec *c,
                          unsigned node, unsigned base_port, const char *address,
                          struct tm_ports *out, char *why, size_t why_size);

/* Whether --address and --listen have the form of an address; else why (TM_OPTION_WHY_MAX bytes)
 * gets one line. */
bool tm_ports_check(const struct tm_options *o, char *why);

/* The shared client port; a worker's own client port, its fabric port, its port for links.  worker
 * < TM_PORTS_WORKERS_MAX. */
static inline uint16_t tm_ports_client(const struct tm_ports *p)
{
    return p->first;
}
static inline uint16_t tm_ports_worker(const struct tm_ports *p, unsigned worker)
{
    TM_ASSERT(worker < TM_PORTS_WORKERS_MAX);
    return (uint16_t)(p->first + 1 + worker);
}
static inline uint16_t tm_ports_fabric(const struct tm_ports *p, unsigned worker)
{
    TM_ASSERT(worker < TM_PORTS_WORKERS_MAX);
    return (uint16_t)(p->first + TM_PORTS_FABRIC + worker);
}
static inline uint16_t tm_ports_link(const struct tm_ports *p, unsigned worker)
{
    TM_ASSERT(worker < TM_PORTS_WORKERS_MAX);
    return (uint16_t)(p->first + TM_PORTS_LINKS + worker);
}

/* "ADDRESS:PORT" into buf, for messages, node.json and --listen; returns buf. */
const char *tm_ports_text(const struct tm_ports *p, uint16_t port, char *buf, size_t size);

#endif
