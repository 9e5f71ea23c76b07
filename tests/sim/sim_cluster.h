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
 * One thread. */
#ifndef TM_TESTS_SIM_SIM_CLUSTER_H
#define TM_TESTS_SIM_SIM_CLUSTER_H

#include "actors/shard.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_wire.h"

#include <stdio.h>

#define TM_SIM_NODES_MAX   7
#define TM_SIM_WORKERS_MAX 4

struct tm_sim;

/* What a cluster has to know to be one of several (tests/sim/sim_world.h). */
struct tm_sim_place {
    struct tm_sim_wire *wire; /* between clusters; its nodes are blocks */
    unsigned first;           /* this cluster's nodes are blocks from this one on: */
    const unsigned *blocks;   /* of each node */
    const struct tm_link_site *sites;
    unsigned site_count; /* of the other clusters */
    void *host;
    /* Runs all clusters until this time. */
    void (*run_until)(void *host, uint64_t now);
};

struct tm_sim_config {
    uint64_t seed;
    const char *cluster;              /* its name; NULL: "sim" */
    const char *facts;                /* lines of its directory; NULL: none */
    const struct tm_sim_place *place; /* NULL: it is the only one */
    unsigned nodes;
    unsigned workers[TM_SIM_NODES_MAX]; /* of the next start; 0: as node 0 */
    unsigned partitions, copies;
    bool eventual;
    struct tm_sim_wire_config wire; /* seed, host and woke are filled in */
    uint64_t disk_min_ns, disk_max_ns;
    uint64_t turn_ns; /* what a turn of a worker takes at most */
    uint64_t open_ns; /* a worker's thread begins so much later than the first one's at most */
    enum tm_wal_sync sync;
    FILE *log; /* the nodes' lines and what happens to them; NULL: none */
    struct tm_options options;
};

/* Three nodes of two workers, 12 partitions of three copies, a quick and honest world, small log
 * segments; logs to stdout if TM_SIM_LOG is in the environment. */
void tm_sim_config_default(struct tm_sim_config *c, uint64_t seed);

/* All nodes unformatted and not running. */
struct tm_sim *tm_sim_new(const struct tm_sim_config *config);
void tm_sim_free(struct tm_sim *sim);

const struct tm_sim_config *tm_sim_config_of(const struct tm_sim *sim);

/* Who holds what, as the creation of the cluster will find or has found. */
const struct tm_directory *tm_sim_directory(const struct tm_sim *sim);

/* What nodes are called in logs and in the directory: "a", "b", ... */
const char *tm_sim_node_name(unsigned node);

/* Of all that happened so far: turns, frames, what disks were told to write, replies.  The same in
 * every run of the seed. */
uint64_t tm_sim_hash_of(const struct tm_sim *sim);

/* ---- who looks on ---- */

/* X(EVENT, word): what befalls a node.  All but STARTED and WIPED are told just before, while its
 * shards are there still (a start that fails ends with KILLED). */
#define TM_SIM_EVENTS(X)                                                                           \
    X(STARTED, "started")                                                                          \
    X(STOPPED, "stopped")                                                                          \
    X(KILLED, "killed")                                                                            \
    X(POWERED_OFF, "power lost")                                                                   \
    X(WIPED, "wiped")

enum tm_sim_event {
#define X(event, word) TM_SIM_##event,
    TM_SIM_EVENTS(X)
#undef X
};
const char *tm_sim_event_name(enum tm_sim_event event);

/* What was done to the disk of a node behind its back, or that it is over. */
enum tm_sim_harm {
    TM_SIM_HARM_ROT, /* bits changed: the node has to notice, and to say so */
    TM_SIM_HARM_LIE, /* a write was reported and did not happen, or elsewhere: if it was the newest
                        one of a log, that cannot be noticed */
    TM_SIM_HARM_OVER /* since then it has started anew, and was seen whole */
};

/* Any of them may be NULL.  They may look at everything and change nothing. */
struct tm_sim_watcher {
    void *host;
    void (*turned)(void *host, unsigned node, unsigned worker); /* a turn of this worker is over */
    void (*node)(void *host, unsigned node, enum tm_sim_event event);
    void (*harmed)(void *host, unsigned node, enum tm_sim_harm harm);
    /* The node says that it gave up so many records of the partition that a failover had cut off;
     * UINT64_MAX: some. */
    void (*dropped)(void *host, unsigned node, uint32_t partition, uint64_t records);
};
void tm_sim_watch(struct tm_sim *sim, const struct tm_sim_watcher *watcher);

/* The watchers of that host look on no longer. */
void tm_sim_unwatch(struct tm_sim *sim, const void *host);

/* To be called by whoever harms a disk: tells the watchers. */
void tm_sim_harmed(struct tm_sim *sim, unsigned node, enum tm_sim_harm harm);

/* A rule was broken: the first one counts, the run is to end soon. */
void tm_sim_wrong(struct tm_sim *sim, const char *fmt, ...) TM_PRINTF(2, 3);
unsigned tm_sim_wrongs(const struct tm_sim *sim);
const char *tm_sim_wrong_text(const struct tm_sim *sim); /* "" if there is none */

/* A line of the log. */
void tm_sim_say(struct tm_sim *sim, const char *fmt, ...) TM_PRINTF(2, 3);

/* ---- nodes ---- */

enum tm_sim_end {
    TM_SIM_KILL,           /* the process dies; the machine, and what was written, lives on */
    TM_SIM_POWER,          /* unsynced sectors are lost, wholly or in part */
    TM_SIM_POWER_NONE_KEPT /* all of them are */
};

/* Starts the node on what its disk holds.  False: it refused to start (tm_sim_why). */
bool tm_sim_start(struct tm_sim *sim, unsigned node);
void tm_sim_end(struct tm_sim *sim, unsigned node, enum tm_sim_end how);

/* Asks for a clean stop; the node is down when tm_sim_is_up says so, or after `patience_ns` by a
 * kill.  False: it had to be killed. */
bool tm_sim_stop(struct tm_sim *sim, unsigned node, uint64_t patience_ns);

/* The same in parts: asks; whether it is ready; ends it, by a kill (false) if it was not. */
void tm_sim_ask_stop(struct tm_sim *sim, unsigned node);
bool tm_sim_has_stopped(const struct tm_sim *sim, unsigned node);
bool tm_sim_finish_stop(struct tm_sim *sim, unsigned node);

/* The data directory is gone; the node must be down. */
void tm_sim_wipe(struct tm_sim *sim, unsigned node);

bool tm_sim_is_up(const struct tm_sim *sim, unsigned node);
const char *tm_sim_why(const struct tm_sim *sim, unsigned node);

/* Fatal errors that nodes reported since the last call; such a node is down. */
unsigned tm_sim_fatal(struct tm_sim *sim);

/* SIGSTOP and SIGCONT: nothing of the node moves meanwhile; what is sent to it waits as far as its
 * rings hold it.  Its clocks go on. */
void tm_sim_pause(struct tm_sim *sim, unsigned node, bool paused);
bool tm_sim_is_paused(const struct tm_sim *sim, unsigned node);

/* The wall clock of a node jumps; how far it is ahead (ms); it gains that many millionths.  Its
 * monotonic clock runs that many millionths faster; it stands still, as that of a machine that is
 * suspended, to which frames are lost (of a paused node; a start ends that). */
void tm_sim_clock_jump(struct tm_sim *sim, unsigned node, int64_t ms);
int64_t tm_sim_clock_ahead(const struct tm_sim *sim, unsigned node);
void tm_sim_clock_drift(struct tm_sim *sim, unsigned node, int64_t ppm);
void tm_sim_clock_rate(struct tm_sim *sim, unsigned node, int64_t ppm);
void tm_sim_clock_stop(struct tm_sim *sim, unsigned node, bool stopped);

/* A turn of this node's workers takes up to that much longer. */
void tm_sim_slow(struct tm_sim *sim, unsigned node, uint64_t turn_ns);

/* So many of 100 messages between this node's workers find the ring full; how many did so far, of
 * all nodes. */
void tm_sim_rings_full(struct tm_sim *sim, unsigned node, unsigned percent);
uint64_t tm_sim_ring_refusals(const struct tm_sim *sim);

/* Asks for what operators ask for: the partition's leadership for node `to`, a snapshot of the
 * partition.  False: not now, or not by this node. */
bool tm_sim_transfer(struct tm_sim *sim, unsigned node, uint32_t partition, unsigned to);
bool tm_sim_snapshot(struct tm_sim *sim, unsigned node, uint32_t partition);

/* How many workers the node has from its next start on. */
void tm_sim_set_workers(struct tm_sim *sim, unsigned node, unsigned workers);

/* What the topology file says to nodes from their next start on; the config stays what it was. */
void tm_sim_edit_file(struct tm_sim *sim, unsigned partitions, unsigned copies, bool eventual);

/* No frames between this node and all others, or the others again. */
void tm_sim_isolate(struct tm_sim *sim, unsigned node, bool cut);
void tm_sim_cut(struct tm_sim *sim, unsigned from, unsigned to, bool cut);

/* What happened on all disks. */
const struct tm_sim_disk_tally *tm_sim_disk_tally(const struct tm_sim *sim);

struct tm_sim_wire *tm_sim_wire_of(struct tm_sim *sim);
struct tm_sim_disk *tm_sim_disk_of(struct tm_sim *sim, unsigned node);
struct tm_shard *tm_sim_shard(struct tm_sim *sim, unsigned node, unsigned worker);
unsigned tm_sim_workers(const struct tm_sim *sim, unsigned node);
const struct tm_counters *tm_sim_counters(const struct tm_sim *sim, unsigned node, unsigned worker);

/* ---- time ---- */

uint64_t tm_sim_now(const struct tm_sim *sim);
void tm_sim_run_for(struct tm_sim *sim, uint64_t ns);

/* For who runs several clusters in step: does what is due now; when there is more to do; moves the
 * time on, not beyond that. */
void tm_sim_step(struct tm_sim *sim);
uint64_t tm_sim_next_event(const struct tm_sim *sim);
void tm_sim_set_now(struct tm_sim *sim, uint64_t now);

/* Something was handed to this worker. */
void tm_sim_woke(struct tm_sim *sim, unsigned node, unsigned worker);

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

struct tm_rng;
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
/* To any worker of any node that is up: *node and *worker tell which.  NULL: a number of tries
 * found none. */
struct tm_sim_conn *tm_sim_connect_any(struct tm_sim *sim, struct tm_rng *rng,
                                       const struct tm_sim_client *client, unsigned *node,
                                       unsigned *worker);
/* The bytes are under way for some microseconds. */
void tm_sim_send(struct tm_sim_conn *conn, struct tm_bytes bytes);
void tm_sim_disconnect(struct tm_sim_conn *conn);

/* ---- what holds in a cluster at rest ---- */

/* Whether every partition has a leader that serves, and all its copies on nodes that are up have
 * applied the same index.  why: what does not hold. */
bool tm_sim_converged(struct tm_sim *sim, char *why, size_t size);

/* Whether every partition has a leader that serves and as many copies in sync as it is meant to
 * have; also under load. */
bool tm_sim_whole(struct tm_sim *sim, char *why, size_t size);

/* Of a converged cluster: the copies whose state differs from another's of the same partition. */
unsigned tm_sim_differences(struct tm_sim *sim, char *why, size_t size);

#endif
