/* fabric_dpdk.h: the dpdk fabric: frames between nodes through any ethdev.
 *
 * A tm_dpdk is a set of ports of a node, of which it may have several, each with a domain of its
 * own; each worker opens its end of it as a tm_fabric.
 *
 * Without `port` there is one memif port per peer: shared memory between processes of one machine,
 * of one user, in one network namespace; no root, no hugepages.  With `port` one ethdev (a PCI
 * address, "af_packet:eth1", "af_xdp:eth1", or a virtual device as DPDK names it, such as
 * "net_tap0,iface=t0") carries all peers, across machines.  Each port belongs to one worker, data
 * and control; the others reach it by rings.
 *
 * Sleeping: the worker watches tm_fabric_dpdk_fd() for readability while it is parked, and polls
 * when it is readable.  Everything that must wake it comes that way: doorbells of peers and of
 * this node's other workers, a peer's death, retries that are due. */
#ifndef TM_NET_FABRIC_DPDK_H
#define TM_NET_FABRIC_DPDK_H

#include <netinet/in.h>

#include "net/eal.h"
#include "net/fabric.h"

#define TM_DPDK_PEERS_MAX         32    /* memif ports of one process */
#define TM_DPDK_UDP_DEFAULT       29696 /* frames for worker w go to this UDP port + w */
#define TM_DPDK_MBUFS_MIN         512
#define TM_DPDK_MBUF_BYTES        9600 /* about what one mbuf of 9,216 bytes costs */
#define TM_DPDK_MEMORY_MIB(mbufs) (24 + (unsigned)((uint64_t)(mbufs)*TM_DPDK_MBUF_BYTES >> 20))

struct tm_counters;

/* Where a node is on the wire; read only when `port` is set. */
struct tm_dpdk_address {
    uint32_t ip;             /* IPv4, host order; with af_packet one the kernel does not own */
    uint8_t mac[6];          /* all zero: ask by ARP */
    struct sockaddr_in bell; /* UDP address of the kernel for doorbell datagrams; port 0: none */
};

struct tm_dpdk_config {
    /* The same text on all nodes of a cluster and on nobody else's who shares the machine or the
     * wire, for example the cluster's directory or its UUID. */
    const char *domain;
    const char *secret_path; /* memif: a file that only this user reads; made if it is missing */
    unsigned instance;       /* 0..7: of those of this process; only one may be 0, and so on */
    unsigned node;           /* this node */
    unsigned workers;        /* 1..TM_WORKERS_MAX */
    uint64_t peers;          /* bit n: node n is a peer; this node's own bit is ignored */
    uint64_t boot;           /* differs at each start of the process */
    unsigned mbufs;          /* at least TM_DPDK_MBUFS_MIN; EAL needs TM_DPDK_MEMORY_MIB(mbufs) */
    const char *port;        /* NULL or "": memif */
    unsigned mtu;            /* of `port`; 0: 1500 */
    uint16_t udp_base;       /* 0: TM_DPDK_UDP_DEFAULT */
    struct tm_dpdk_address address[TM_NODES_MAX];
    struct tm_eal_log log;
};

struct tm_dpdk;

/* Makes the node's ports; EAL runs; main thread, before the workers.  The config is copied, its
 * strings too.  Waits up to 2 s for the names of a predecessor that is still dying.
 * TM_ERR_LOCKED: another process is this node.  Other failures: INVALID, UNSUPPORTED (driver),
 * PERMISSION, NOMEM.  `why` is one line that says what to do. */
enum tm_err tm_dpdk_create(const struct tm_dpdk_config *config, struct tm_dpdk **out, char *why,
                           size_t why_size);

/* To be called about once a second while the node runs; main thread.  Puts the secret's file back
 * if it was deleted, for without it no node that starts would find to those that run; of several
 * nodes that share the file one does.  True if it has just done so.  Does nothing with `port`. */
bool tm_dpdk_keep_secret(struct tm_dpdk *net);

/* Frees it; every end is closed before.  NULL is allowed. */
void tm_dpdk_destroy(struct tm_dpdk *net);

/* Opens worker's end on that worker's thread, which stays the only one to use it; once per
 * worker.  counters may be NULL.  TM_ERR_IO: a port does not start; the log says why. */
enum tm_err tm_fabric_dpdk_open(struct tm_dpdk *net, unsigned worker,
                                const struct tm_fabric_sink *sink, struct tm_counters *counters,
                                struct tm_fabric **out);

/* The descriptor to watch while parked: readable means poll.  Owned by the fabric. */
int tm_fabric_dpdk_fd(const struct tm_fabric *f);

#endif
