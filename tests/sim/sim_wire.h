/* sim_wire.h: the wire between all workers of a simulated cluster, as a fabric for each of them.
 *
 * Frames take a random time, may be lost, doubled and overtaken; links between nodes can be cut,
 * in one direction or in both.  A node that goes is told to the others as PEER_DOWN, one that comes
 * as PEER_UP, unless the test says that death is silent.  Everything random comes from the seed.
 *
 * One thread; virtual time. */
#ifndef TM_TESTS_SIM_SIM_WIRE_H
#define TM_TESTS_SIM_SIM_WIRE_H

#include "net/fabric.h"
#include "tests/sim/sim_hash.h"

struct tm_sim_wire;

struct tm_sim_wire_config {
    uint64_t seed;
    uint64_t min_ns, max_ns;  /* how long a frame is on its way */
    unsigned lose, twice;     /* of 10000 frames */
    uint32_t max_frame;       /* bytes, as in struct tm_fabric */
    uint64_t notice_ns;       /* until the others are told of a node's death or return */
    bool silent;              /* they are never told */
    struct tm_sim_hash *hash; /* of the run: gets every frame handed over; may be NULL */
    void *host;
    /* Something was handed to the sink of this worker. */
    void (*woke)(void *host, unsigned node, unsigned worker);
};

struct tm_sim_wire *tm_sim_wire_new(const struct tm_sim_wire_config *config);
void tm_sim_wire_free(struct tm_sim_wire *w);

/* A worker's end; lives until its node leaves or the wire is freed. */
struct tm_fabric *tm_sim_wire_join(struct tm_sim_wire *w, unsigned node, unsigned worker,
                                   const struct tm_fabric_sink *sink);

/* The node's process is gone, with what was on its way to it.  What it had sent still arrives. */
void tm_sim_wire_leave(struct tm_sim_wire *w, unsigned node);

/* Frames from one node to another are lost, or not any more. */
void tm_sim_wire_cut(struct tm_sim_wire *w, unsigned from, unsigned to, bool cut);

/* What befalls frames from one node to another, beside what the config says of all. */
struct tm_sim_link {
    unsigned lose, twice, flip, clip, full; /* of 10000; clip: cut short; full: refused */
    uint64_t more_ns;                       /* on their way for up to that much longer */
    uint64_t clogged_until;                 /* none arrives before that */
};

/* May be changed at any time; holds for frames sent from now on. */
struct tm_sim_link *tm_sim_wire_link(struct tm_sim_wire *w, unsigned from, unsigned to);

/* Whether most frames from one node to another arrive before long. */
bool tm_sim_wire_is_easy(const struct tm_sim_wire *w, unsigned from, unsigned to);

/* How many frames were ... */
struct tm_sim_wire_counts {
    uint64_t delivered, lost, twice, flipped, clipped, full, delayed, clogged, cut;
    uint64_t waited;    /* for a process that stood still when they arrived */
    uint64_t overtaken; /* delivered after one that the same worker sent later to the same one */
};
struct tm_sim_wire_counts tm_sim_wire_counts(const struct tm_sim_wire *w);

/* Frames to this node are lost without anybody noticing: its machine does not run. */
void tm_sim_wire_deaf(struct tm_sim_wire *w, unsigned node, bool deaf);

/* Its process stands still, or goes on: what arrives meanwhile, and is no more than its rings hold,
 * is handed over then. */
#define TM_SIM_WIRE_WAITING_MAX 1024u
void tm_sim_wire_sleep(struct tm_sim_wire *w, unsigned node, bool asleep);

/* The time; then everything that is due is handed over. */
void tm_sim_wire_poll(struct tm_sim_wire *w, uint64_t now_ns);
uint64_t tm_sim_wire_next_due(const struct tm_sim_wire *w);

/* Frames handed over so far. */
uint64_t tm_sim_wire_delivered(const struct tm_sim_wire *w);

#endif
