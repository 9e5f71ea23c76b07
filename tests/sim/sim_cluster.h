/* sim_cluster.h: a whole cluster in one thread: the product's own shards over a simulated wire,
 * simulated disks and a virtual clock.  One seed is one run.
 *
 * A node is a process that can be started, killed, cut from power, stopped cleanly, wiped, paused
 * and cut off from others.  Each of its workers is one tm_shard; a worker's turn takes some time of
 * its own.  Clients are connections to a worker that carry RESP bytes both ways.
 *
 * A run that the product ends by an assertion, or a node that reports a fatal error that the test
 * did not expect, is a bug.
 *
 * One thread.  TM_SIM_LOG=1 in the environment prints the nodes' log lines with virtual time. */
#ifndef TM_TESTS_SIM_CLUSTER_H
#define TM_TESTS_SIM_CLUSTER_H

#include "actors/shard.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_wire.h"

#define TM_SIM_NODES_MAX   7
#define TM_SIM_WORKERS_MAX 4

struct tm_sim;

struct tm_sim_config {
    uint64_t seed;
    unsigned nodes;
    unsigned workers[TM_SIM_NODES_MAX]; /* of the next start; 0: as node 0 */
    unsigned partitions, copies;
    bool eventual;
    struct tm_sim_wire_config wire; /* seed, host and woke are filled in */
    uint64_t disk_min_ns, disk_max_ns;
    uint64_t turn_ns; /* what a turn of a worker takes at most */
    struct tm_options options;
};

/* Three nodes of two workers, 12 partitions of three copies, a quick and honest world, small log
 * segments. */
void tm_sim_config_default(struct tm_sim_config *c, uint64_t seed);

/* All nodes unformatted and not running. */
struct tm_sim *tm_sim_new(const struct tm_sim_config *config);
void tm_sim_free(struct tm_sim *sim);

/* ---- nodes ---- */

enum tm_sim_end {
    TM_SIM_KILL, /* the process dies; the machine, and what was written, lives on */
    TM_SIM_POWER /* unsynced sectors are lost, wholly or in part */
};

/* Starts the node on what its disk holds.  False: it refused to start (tm_sim_why). */
bool tm_sim_start(struct tm_sim *sim, unsigned node);
void tm_sim_end(struct tm_sim *sim, unsigned node, enum tm_sim_end how);

/* Asks for a clean stop; the node is down when tm_sim_is_up says so, or after `patience_ns` by a
 * kill.  False: it had to be killed. */
bool tm_sim_stop(struct tm_sim *sim, unsigned node, uint64_t patience_ns);

/* The data directory is gone; the node must be down. */
void tm_sim_wipe(struct tm_sim *sim, unsigned node);

bool tm_sim_is_up(const struct tm_sim *sim, unsigned node);
const char *tm_sim_why(const struct tm_sim *sim, unsigned node);

/* Fatal errors that nodes reported since the last call; such a node is down. */
unsigned tm_sim_fatal(struct tm_sim *sim);

/* SIGSTOP and SIGCONT: nothing of the node moves meanwhile, what is sent to it is lost. */
void tm_sim_pause(struct tm_sim *sim, unsigned node, bool paused);

/* No frames between this node and all others, or the others again. */
void tm_sim_isolate(struct tm_sim *sim, unsigned node, bool cut);
void tm_sim_cut(struct tm_sim *sim, unsigned from, unsigned to, bool cut);

struct tm_sim_disk *tm_sim_disk_of(struct tm_sim *sim, unsigned node);
struct tm_shard *tm_sim_shard(struct tm_sim *sim, unsigned node, unsigned worker);
unsigned tm_sim_workers(const struct tm_sim *sim, unsigned node);
const struct tm_counters *tm_sim_counters(const struct tm_sim *sim, unsigned node, unsigned worker);

/* ---- time ---- */

uint64_t tm_sim_now(const struct tm_sim *sim);
void tm_sim_run_for(struct tm_sim *sim, uint64_t ns);

/* Runs until `done` says true, looking every millisecond; false: it did not within ns. */
bool tm_sim_run_until(struct tm_sim *sim, bool (*done)(void *arg), void *arg, uint64_t ns);

/* Somebody who acts at times of its own: `next` says when (UINT64_MAX: not now), `act` is called
 * then.  One more, of few; as long as the cluster runs. */
struct tm_sim_driver {
    void *host;
    uint64_t (*next)(void *host);
    void (*act)(void *host);
};
void tm_sim_drive(struct tm_sim *sim, const struct tm_sim_driver *driver);

/* Below bound, from the cluster's own seed. */
uint64_t tm_sim_draw(struct tm_sim *sim, uint64_t bound);

/* ---- clients ---- */

struct tm_sim_conn;

struct tm_sim_client {
    void *host;
    /* One whole RESP reply; valid during the call. */
    void (*reply)(void *host, struct tm_sim_conn *conn, struct tm_bytes reply);
    /* The connection is gone, not by tm_sim_disconnect; conn is void after the call. */
    void (*closed)(void *host, struct tm_sim_conn *conn);
};

/* NULL: nobody listens there, or too many. */
struct tm_sim_conn *tm_sim_connect(struct tm_sim *sim, unsigned node, unsigned worker,
                                   const struct tm_sim_client *client);
/* The bytes are under way for some microseconds. */
void tm_sim_send(struct tm_sim_conn *conn, struct tm_bytes bytes);
void tm_sim_disconnect(struct tm_sim_conn *conn);

/* ---- what holds in a cluster at rest ---- */

/* Whether every partition has a leader that serves, and all its copies that are up have applied
 * the same index.  why: what does not hold. */
bool tm_sim_converged(struct tm_sim *sim, char *why, size_t size);

/* Whether every partition has a leader that serves and as many copies in sync as it is meant to
 * have; also under load. */
bool tm_sim_whole(struct tm_sim *sim, char *why, size_t size);

/* Of a converged cluster: the copies whose state differs from another's of the same partition. */
unsigned tm_sim_differences(struct tm_sim *sim, char *why, size_t size);

#endif
