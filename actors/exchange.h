/* exchange.h: how the nodes of a running cluster come to go by the newest version of the directory.
 *
 * The source is the system partition: what is committed there under TM_DIRECTORY_KEY.  A node that
 * holds a copy of that partition looks at what it has applied (shard_directory.c); the others have
 * it from nodes.  Versions are counted up one by one, each is committed before any node goes by it,
 * and so any node may give it to any other: each tells the others its version when they meet and
 * when it changes, and who is told a lower one gives its own.
 *
 * A node may go by an older version at any time: it was down, or cut off.  So nothing that must
 * hold between nodes may follow from the directory alone; such a change takes effect by a record in
 * the log of the partition that it concerns.
 *
 * Worker 0 only.  The copy in the data directory follows; it is a cache (directory_file.h). */
#ifndef TM_ACTORS_EXCHANGE_H
#define TM_ACTORS_EXCHANGE_H

#include "actors/directory_file.h"
#include "actors/node.h"
#include "runtime/ctx.h"

struct tm_exchange_ops {
    void *host;
    /* Tells the node which version is held here; gives it the directory.  False: not now. */
    bool (*tell)(void *host, unsigned node, uint64_t version);
    bool (*give)(void *host, unsigned node, const struct tm_directory *d);
    /* From now on the node goes by this one. */
    void (*changed)(void *host, const struct tm_directory *d);
};

struct tm_exchange {
    const struct tm_ctx *ctx;
    struct tm_node *node;
    struct tm_exchange_ops ops;
    struct tm_directory *next; /* newer than the node's; as soon as no worker needs the old one */
    uint64_t owed;             /* bit per node: to be told our version */
    struct tm_directory_write write;
    uint64_t stored;   /* version of the copy in the data directory */
    uint64_t write_at; /* after a write that failed: not before */
};

/* The node has just begun to run, with what its data directory holds. */
void tm_exchange_begin(struct tm_exchange *x, const struct tm_ctx *ctx, struct tm_node *node,
                       const struct tm_exchange_ops *ops);
/* Frees; nothing is under way (quiet), or the disk has forgotten it. */
void tm_exchange_end(struct tm_exchange *x);

/* The node is there: it is told our version. */
void tm_exchange_peer_up(struct tm_exchange *x, unsigned node);

/* The node goes by that version. */
void tm_exchange_heard(struct tm_exchange *x, unsigned node, uint64_t version);

/* A directory, as the system partition or a node of the cluster has it; bytes from outside.  Taken
 * if it is newer. */
void tm_exchange_offer(struct tm_exchange *x, struct tm_bytes bytes);

/* Does what was put off; some times a second. */
void tm_exchange_tick(struct tm_exchange *x);

/* Nothing is under way on the disk. */
bool tm_exchange_quiet(const struct tm_exchange *x);

#endif
