/* creation.h: how a cluster comes into being, and how a node finds out that it already has.
 *
 * Run by worker 0 of each node.  Nodes tell each other their STATE.  The first node of the
 * topology's list is the founder: once it has heard of every node, and none belongs to a cluster
 * yet, it makes the directory (with everybody's disk id) and sends CREATE; each node stores it
 * durably and answers CREATED; when all have, START makes the cluster exist.  The founder stores
 * first, so a crash anywhere in between goes on with the same token.  Should a node be wiped, or
 * the topology file be edited meanwhile, the directory changes and its version grows: CREATED and
 * START count for the version in their arg only.
 *
 * A node without a cluster that meets one that has: it was wiped, or its START was lost.  It takes
 * the DIRECTORY from there and joins under its own disk id, in one durable step; whose votes count
 * is the replicas' matter.
 *
 * Wiped nodes make the rest: a wiped founder may begin a creation while a cluster exists, before it
 * hears of that.  So what a node said counts only while its channel stays up; who said CREATED
 * joins no other cluster before the founder has; and the founder gives up its proposal for a
 * cluster that exists.  Then a creation is completed only if no node runs in another cluster.
 *
 * Once it runs, the same messages keep it up to date: STATE says which version a node goes by,
 * DIRECTORY gives a newer one (exchange.h).
 *
 * The creation token is the cluster's UUID.  Blocks on the disk: boot only.  One thread. */
#ifndef TM_ACTORS_CREATION_H
#define TM_ACTORS_CREATION_H

#include "actors/exchange.h"
#include "actors/message.h"
#include "actors/node.h"
#include "storage/datadir.h"

struct tm_creation_ops {
    void *host;
    /* To worker 0 of another node; false: it is not up. */
    bool (*send)(void *host, unsigned node, struct tm_message_head head, struct tm_bytes body);
    /* The cluster exists and this node is part of it; directory is handed over. */
    void (*run)(void *host, struct tm_directory *directory);
    /* The node goes by this version now. */
    void (*changed)(void *host, const struct tm_directory *directory);
};

struct tm_creation {
    const struct tm_ctx *ctx;
    struct tm_node *node;
    struct tm_datadir_identity *identity; /* of this directory, formatted */
    struct tm_creation_ops ops;
    struct tm_directory *directory; /* proposed or stored, until run */
    bool have_directory;
    bool running;
    bool over;        /* the host could not run what was handed over, and ends */
    uint64_t said;    /* bit per node: something was logged of it once */
    uint64_t broken;  /* bit per node: it holds what another creation began */
    uint64_t seen;    /* bit per node: its STATE came */
    uint64_t heard;   /* of these: it may become part of ours */
    uint64_t created; /* bit per node: it stored the directory of this token and version */
    uint64_t disk[TM_NODES_MAX];
    uint64_t next_send;
    uint64_t say_at;             /* that we wait; 0: not begun */
    struct tm_exchange exchange; /* from running on */
};

/* identity: what the data directory says, formatted by the caller if it was new; outlives c.  Loads
 * the stored directory; if the cluster exists, calls ops.run at once.  TM_ERR_CORRUPT: the stored
 * directory is damaged. */
enum tm_err tm_creation_start(struct tm_creation *c, const struct tm_ctx *ctx, struct tm_node *node,
                              struct tm_datadir_identity *identity,
                              const struct tm_creation_ops *ops);
void tm_creation_end(struct tm_creation *c);

/* Worker 0 of a node is there: what it said before does not count any more, and it is told our
 * STATE.  Or it is gone. */
void tm_creation_peer_up(struct tm_creation *c, unsigned node);
void tm_creation_peer_down(struct tm_creation *c, unsigned node);

/* STATE, CREATE, CREATED, START or DIRECTORY, from outside. */
void tm_creation_message(struct tm_creation *c, const struct tm_message_head *head,
                         struct tm_bytes body);

/* Repeats what was not answered, every 200 ms; while the cluster runs, what could not be sent or
 * stored. */
void tm_creation_tick(struct tm_creation *c);
uint64_t tm_creation_next_deadline(const struct tm_creation *c);

/* Nothing is under way on the disk. */
bool tm_creation_quiet(const struct tm_creation *c);

#endif
