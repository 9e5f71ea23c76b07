/* offer.h: what failovers cut off on one worker, and how it comes back (consistency "eventual").
 *
 * Cutting.  Before the replica gives up a suffix of its log, the suffix is copied into a file of
 * the data directory (offer_image.h), durably; until then it stays in the log.  Records that cannot
 * be kept (no memory, damaged) are counted and logged.
 *
 * Offering.  Once the partition has a leader whose log agrees with this node's up to the fork, the
 * records go there (OFFER), again and again until it says that they are merged and committed
 * (OFFERED); then the file goes.  If this node leads by then, it merges them itself.  A refusal,
 * because the leader's log does not reach back to the fork any more, is counted and logged, and the
 * file kept under a name ending in ".refused".
 *
 * Leading.  An offer is taken in, checked, compared with the own log from the fork on, and what
 * survives of it (merge.h) is written like any write.
 *
 * Memory is bounded: TM_OFFERS_BYTES_MAX for what is held, and the same for what is taken in.  One
 * thread, the worker's.  Never called from inside the disk, but cut from inside the replica. */
#ifndef TM_ACTORS_OFFER_H
#define TM_ACTORS_OFFER_H

#include "actors/message.h"
#include "actors/partition.h"

#define TM_OFFERS_BYTES_MAX TM_MIB(192)

struct tm_offers;
struct tm_shard;

/* Finds the files of this worker's partitions; boot.  TM_ERR_NOMEM, TM_ERR_IO. */
enum tm_err tm_offers_new(struct tm_shard *shard, struct tm_offers **out);
void tm_offers_free(struct tm_offers *o);

/* Records from..to, the end of the partition's log, are to go.  True: they may, now; false: ask
 * again in a while, they are being put aside. */
bool tm_offers_cut(struct tm_offers *o, struct tm_partition *p, uint64_t from, uint64_t to);

/* OFFER and OFFERED. */
void tm_offers_message(struct tm_offers *o, const struct tm_message_head *head,
                       struct tm_bytes body);

/* Every turn: goes on with what events made possible.  True if there is more to do at once. */
bool tm_offers_turn(struct tm_offers *o);

/* Some ten times a second: timeouts, new attempts. */
void tm_offers_tick(struct tm_offers *o);

/* Nothing is under way on the disk. */
bool tm_offers_quiet(const struct tm_offers *o);

#endif
