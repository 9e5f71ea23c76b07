/* retain.h: how much of its partitions' logs a worker keeps.
 *
 * What a snapshot holds could go from the log at once; but whoever lags by little is then sent the
 * whole snapshot for it.  So a log keeps a tail: what lies in the newest eighth of what the WAL may
 * take costs nothing, for other partitions' records keep those segments anyhow.  A leader keeps
 * besides what some copy does not have yet, until the log becomes scarce; in eventual mode, where
 * that is what offers are compared with, somewhat longer.  What the target of a link lacks stays up
 * to that link's maxBacklogBytes, but in no more than three eighths of the WAL (actors/links.h). On
 * a full disk nothing stays but what no snapshot holds.
 *
 * Records of an older generation (the worker count changed) go when the worker has run for a while,
 * so that copies that start together find their logs again first.
 *
 * One worker's thread; a struct of its keeper. */
#ifndef TM_ACTORS_RETAIN_H
#define TM_ACTORS_RETAIN_H

#include "actors/partition.h"

struct tm_shard;

struct tm_retain {
    const struct tm_shard *shard;
    uint64_t since; /* the worker began to run */
    bool many;      /* there were so many older generations then that they have to go at once */
    bool pressed;   /* the WAL has used half of what it may take */
    bool scarce;    /* five eighths, and not come down to half since */
    bool short_of;  /* three quarters, likewise */
    bool full;      /* the disk has no room, however little the WAL has used of its own */
};

/* Knows of no pressure; shard is borrowed and outlives it. */
void tm_retain_init(struct tm_retain *r, const struct tm_shard *shard);

/* Looks at the log; some ten times a second.  True if something is to be given up. */
bool tm_retain_look(struct tm_retain *r);

/* How far p's log may be given up, as far as a snapshot holds it: at least tm_log_first - 1, which
 * means nothing at all. */
uint64_t tm_retain_until(const struct tm_retain *r, const struct tm_partition *p);

#endif
