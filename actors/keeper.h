/* keeper.h: the snapshots of one worker's partitions: loading, taking, sending, installing.
 *
 * Taking.  When the log fills up, the partitions are walked in turn, a slice a turn; a few at a
 * time.  The file counts once the log is durable through the highest index walked; then the log may
 * begin after it, and keeps what retain.h says.
 *
 * Sending.  A follower that needs what the log no longer has gets the newest snapshot, chunk by
 * chunk, each acknowledged; a broken transfer is begun again by the leader's replica.  The follower
 * loads while it receives, and puts the new state in the old one's place when the file is durable.
 *
 * A snapshot is items of {u64 cursor, u64 index, slice} (tm_store_snapshot).  One thread. */
#ifndef TM_ACTORS_KEEPER_H
#define TM_ACTORS_KEEPER_H

#include "actors/message.h"
#include "actors/partition.h"
#include "storage/snapshot.h"

struct tm_keeper;
struct tm_shard;

/* How far behind the old history a forced recovery from damage begins the new one: more records
 * than any history has. */
#define TM_KEEPER_FAR (UINT64_C(1) << 40)

/* Reads the newest good snapshot of each of the worker's partitions; boot. */
enum tm_err tm_keeper_new(struct tm_shard *shard, struct tm_keeper **out);
void tm_keeper_free(struct tm_keeper *k);

/* Where the partition's log begins, by its snapshot, and how far one went that cannot be read;
 * false: it has neither. */
bool tm_keeper_base(const struct tm_keeper *k, uint32_t partition, struct tm_log_base *out);

/* The partition's store as loaded at the start, an empty one if there was no snapshot: for what the
 * log has beyond it.  The keeper's until tm_keeper_load. */
struct tm_store *tm_keeper_store(struct tm_keeper *k, uint32_t partition);

/* Hands over that store, NULL if there was neither snapshot nor tm_keeper_store, and the members in
 * the snapshot. */
enum tm_err tm_keeper_load(struct tm_keeper *k, uint32_t partition, struct tm_store **store,
                           struct tm_members *members);

/* node needs the partition's state: from inside the replica, so it begins with the next tick. */
void tm_keeper_send(struct tm_keeper *k, struct tm_partition *p, unsigned node);

/* node has holes in its log, up to `index` at least, and nobody leads: it gets a snapshot that
 * holds that.  Nothing if the partition leads here, or as much is under way as may. */
void tm_keeper_lend(struct tm_keeper *k, struct tm_partition *p, unsigned node, uint64_t index);

/* SNAPSHOT and SNAPSHOT_ACK. */
void tm_keeper_message(struct tm_keeper *k, const struct tm_message_head *head,
                       struct tm_bytes body);

/* Takes a snapshot of the partition now, whether or not the log is full.  False: not now. */
bool tm_keeper_take(struct tm_keeper *k, struct tm_partition *p);

/* The newest snapshot of the partition, or the one before it; false: there is none that is good as
 * far as is known. */
bool tm_keeper_snapshot(const struct tm_keeper *k, uint32_t partition, bool older,
                        struct tm_snapshot_info *out);

/* That one was found damaged: it counts no more, and a new one is taken. */
void tm_keeper_spoilt(struct tm_keeper *k, const struct tm_partition *p, bool older);

/* A new snapshot of the partition is taken as soon as may be, whether or not the log is full. */
void tm_keeper_renew(struct tm_keeper *k, const struct tm_partition *p);

/* An operator takes the loss of what the partition's log lacks: a snapshot of what it has in memory
 * is taken, and the partition goes on behind it (tm_partition_go_on), alone; or it is logged that
 * this failed, and all is as it was.  Until then the partition hears nobody.  It needs a rescue
 * (tm_partition_needs_rescue).  Asked again while one is under way it does nothing. TM_ERR_INVALID:
 * not a voter; TM_ERR_EXISTS: it is getting a leader's snapshot. */
enum tm_err tm_keeper_rescue(struct tm_keeper *k, struct tm_partition *p);

/* Gives the log up to `index`, if a snapshot holds that; false: none does. */
bool tm_keeper_give_up(struct tm_keeper *k, struct tm_partition *p, uint64_t index);

/* Some ten times a second: begins what is due, goes on with what waits. */
void tm_keeper_tick(struct tm_keeper *k);

/* Every turn: the next slices.  True if there is more to do at once. */
bool tm_keeper_turn(struct tm_keeper *k);

/* The node ends: drops what is being taken or received, and begins nothing more. */
void tm_keeper_stop(struct tm_keeper *k);

/* Nothing is under way on the disk. */
bool tm_keeper_quiet(const struct tm_keeper *k);

#endif
