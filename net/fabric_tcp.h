/* fabric_tcp.h: the tcp fabric: frames between nodes over io_uring sockets.
 *
 * For builds without DPDK, and for places that forbid it.  Each pair of workers that has something
 * to say has one connection; a frame is its length (4 bytes, little-endian) and its bytes.  The
 * node with the lower number connects, at the first frame sent to that worker, and again
 * whenever the connection is lost: at once, then after 10 ms, doubling up to 500 ms.  Both sides
 * greet with who they are before the first frame; strangers and other clusters are closed.
 *
 * Each worker has its own fabric, which brings its sockets (a hub of its own) to the worker:
 * frames and events wake a parked worker by themselves, and reach the sink out of the worker's
 * completions, between the polls and the flushes of a turn; the table's poll finds nothing.
 *
 * Events: UP whenever a connection to the node was greeted (again); DOWN when the last one to it
 * ended, at once when its process died.
 *
 * The worker's counters count what passes: config.links says which. */
#ifndef TM_NET_FABRIC_TCP_H
#define TM_NET_FABRIC_TCP_H

#include "net/addr.h"
#include "net/fabric.h"
#include "runtime/worker.h"

#define TM_FABRIC_TCP_FRAME 32768 /* its max_frame */

/* Where a node's workers listen for this fabric. */
struct tm_fabric_tcp_peer {
    struct tm_addr addr;           /* the port in it is not read */
    unsigned workers;              /* 0: there is no such node */
    uint16_t port[TM_WORKERS_MAX]; /* of each worker, host order */
};

struct tm_fabric_tcp_config {
    uint64_t cluster; /* hash of the cluster's identity */
    unsigned node;    /* this one */
    unsigned worker;
    int listen_fd;         /* of tm_socket_bind, at this worker's port; the fabric's from new on */
    uint32_t output_limit; /* bytes that wait per connection; 0: 1 MiB; at least 64 KiB */
    bool links;            /* peers are of other clusters: link_* count frames, and nobody events */
    uint16_t buffer_group; /* unique in the worker's ring (net/socket.h) */
    const struct tm_fabric_tcp_peer *peers; /* TM_NODES_MAX of them, by node; copied */
};

/* Makes the fabric and adds its actors to the worker; any thread, after tm_worker_init and before
 * start or open.  The worker starts listening when it starts.  Calls of the table: on the worker's
 * thread, while it runs; `close` frees all and is called after tm_worker_join or _close, on any
 * thread.  On failure listen_fd stays the caller's: TM_ERR_INVALID (a field out of its range),
 * TM_ERR_NOMEM, TM_ERR_FULL (the worker has no place for two actors: do not start it). */
enum tm_err tm_fabric_tcp_new(const struct tm_fabric_tcp_config *cfg, struct tm_worker *worker,
                              const struct tm_fabric_sink *sink, struct tm_fabric **out);

#endif
