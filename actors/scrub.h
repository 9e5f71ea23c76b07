/* scrub.h: a slow look at what one worker has at rest: its log's segments and its snapshots.
 *
 * Damage is otherwise met when something is read: by then the good copies may be gone.  A pass
 * reads all that is durable of the log, then each snapshot that counts, at --scrub-rate, and the
 * next one begins --scrub-interval-ms after it began.  One read is under way at a time.
 *
 * What is bad twice in a row is mended:
 *   records that a snapshot holds       the log gives them up
 *   records of a follower, or of a      the log's fault: the leader brings them back (log.h); who
 *   leader that others can replace      leads hands over
 *   records of any other leader         it takes a snapshot, which holds them: to step down would
 *                                       end the service, and nobody else may have them
 *   a snapshot                          another one is taken
 *
 * One worker's thread. */
#ifndef TM_ACTORS_SCRUB_H
#define TM_ACTORS_SCRUB_H

#include "runtime/base.h"

struct tm_scrub;
struct tm_shard;

/* The first pass begins an interval after this: what is there was read at the start.  The shard's
 * keeper and logs outlive it.  TM_ERR_NOMEM. */
enum tm_err tm_scrub_new(struct tm_shard *shard, struct tm_scrub **out);
void tm_scrub_free(struct tm_scrub *x);

/* Some ten times a second: what may be read until the next. */
void tm_scrub_tick(struct tm_scrub *x);

/* Every turn: the next read, if it is time. */
void tm_scrub_turn(struct tm_scrub *x);

/* Begins nothing more; and whether nothing is under way. */
void tm_scrub_stop(struct tm_scrub *x);
bool tm_scrub_quiet(const struct tm_scrub *x);

#endif
