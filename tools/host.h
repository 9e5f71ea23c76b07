/* host.h: one node as a process: its workers, and all that stands behind them.
 *
 * Each worker runs a shard (actors/shard.h) with a fabric's end, a hub of client sockets and rings
 * to its siblings; this is where the pure parts meet io_uring, sockets, shared memory and threads.
 * Files: host.c (life), host_clients.c (sockets and sessions), host_rings.c (between workers),
 * host_fabric.c (dpdk or tcp), host_links.c (to other clusters).  Main thread, except where said.
 */
#ifndef TM_TOOLS_HOST_H
#define TM_TOOLS_HOST_H

#include "actors/node.h"
#include "runtime/options.h"
#include "storage/datadir.h"
#include "tools/ports.h"
#include "tools/topology.h"

#define TM_HOST_WHY_MAX 1024

struct tm_host;

struct tm_host_config {
    const struct tm_topology *topology;
    const struct tm_cluster_spec *cluster;
    unsigned node;                        /* its number in the cluster */
    const char *data_dir;                 /* absolute */
    int dir_fd;                           /* of it */
    struct tm_options options;            /* checked; workers filled in */
    struct tm_datadir_identity *identity; /* outlives the host; written by worker 0 */
    bool was_clean;
    unsigned machine_workers; /* of all nodes started on this machine, this one included */
    unsigned stop_ms;         /* patience of tm_host_stop */
};

/* Takes ports, shared memory and the fabric, and starts the workers.  On failure everything is
 * given back and why (TM_HOST_WHY_MAX) holds one line that says what to do. */
enum tm_err tm_host_start(const struct tm_host_config *config, struct tm_host **out, char *why);

struct tm_host_events {
    void *arg;
    /* Once, when the cluster exists and the node is part of it. */
    void (*running)(void *arg);
    /* Each second before that.  An error ends the wait; why (TM_HOST_WHY_MAX) says what it was. */
    enum tm_err (*waiting)(void *arg, char *why);
};

/* Waits until the node ends: `stop_fd` (a signalfd or the like) becomes readable, or a worker says
 * that it cannot go on.  Returns TM_OK for an asked end, else the error; why says what it was. */
enum tm_err tm_host_wait(struct tm_host *h, int stop_fd, const struct tm_host_events *events,
                         char *why);

/* Ends the workers: leadership is given up, the log closed.  False: some did not come to their end
 * within stop_ms, or one had failed before; what they had under way was cut short as by SIGKILL,
 * and the data directory gets no mark of a clean end.  why (TM_HOST_WHY_MAX) then says so. */
bool tm_host_stop(struct tm_host *h, char *why);

/* After tm_host_stop: gives back memory, ports and the fabric. */
void tm_host_free(struct tm_host *h);

/* What to show of a node that runs: "127.0.0.1:7000". */
const char *tm_host_listen(const struct tm_host *h);
const char *tm_host_fabric_name(const struct tm_host *h);
unsigned tm_host_workers(const struct tm_host *h);
uint64_t tm_host_boot(const struct tm_host *h);

#endif
