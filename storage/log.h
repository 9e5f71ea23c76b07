/* log.h: one partition's log, as its replica sees it, over the worker's WAL.
 *
 * Indexes ascend by one.  The log begins after a *base* (index, term, hash): 0, or what a snapshot
 * holds.  Of each record it keeps 16 bytes (place and hash); terms are kept as runs; the newest
 * records' bytes stay in a tail cache that the logs of one worker share; older ones are fetched
 * from the WAL.
 *
 * A log can have *faults*: ranges whose records were acknowledged but cannot be read any more, and
 * a *suspect* tail (records past the last one may have been acknowledged, and are lost).  Until
 * they are repaired (tm_log_repair) or denied by enough others (tm_log_clear_suspect) the replica
 * acknowledges nothing on that range, and votes only if it knows where its log ended.  A repaired
 * record is appended to the WAL anew: the rotten block held other partitions' records and a header
 * that nobody else has, so it cannot be made again byte by byte, and the hash of a different block
 * would break the chain after it.
 *
 * Logs are made by a tm_log_set (log_set.h).  One thread: the worker's. */
#ifndef TM_STORAGE_LOG_H
#define TM_STORAGE_LOG_H

#include "runtime/base.h"
#include "storage/wal.h"

struct tm_log;

/* Whose log it is. */
uint32_t tm_log_partition(const struct tm_log *log);

/* The first index that may be here (base + 1) and the last (base when empty).  After a start it
 * begins with the oldest record that the WAL has still, at or before the end of the snapshot. */
uint64_t tm_log_first(const struct tm_log *log);
uint64_t tm_log_last(const struct tm_log *log);
uint64_t tm_log_last_term(const struct tm_log *log);
uint64_t tm_log_last_hash(const struct tm_log *log);

/* Term and hash of base..last.  false: compacted away, past the end, or inside a fault. */
bool tm_log_term_at(const struct tm_log *log, uint64_t index, uint64_t *term);
bool tm_log_hash_at(const struct tm_log *log, uint64_t index, uint64_t *hash);

/* The highest index such that it and all before it are durable here. */
uint64_t tm_log_durable(const struct tm_log *log);

/* The replica's commit index, as block directories carry it.  Never goes back.  After a restart
 * it is the highest that the WAL proves: replay applies no further. */
void tm_log_set_commit(struct tm_log *log, uint64_t commit);
uint64_t tm_log_commit(const struct tm_log *log);

/* Appends a record whose index is last + 1 and whose prev_hash is the last one's hash: both
 * asserted, like its kind (< 64); the caller has verified what came from outside.  Fails like
 * tm_wal_append, and then the log is unchanged. */
enum tm_err tm_log_append(struct tm_log *log, struct tm_bytes record, enum tm_wal_class klass);

/* The record's bytes if they are in memory, else {NULL, 0}.  Valid until the next append to any
 * log of this worker. */
struct tm_bytes tm_log_get(const struct tm_log *log, uint64_t index);

/* Fetches the head of that record into the caches, if it is in memory.  A hint. */
void tm_log_prefetch(const struct tm_log *log, uint64_t index);

/* Where that record of the log lies in the WAL, for comparing with those of other logs: what is
 * lower was as a rule written before.  0: it is not in the log. */
uint64_t tm_log_place(const struct tm_log *log, uint64_t index);

/* Reading from disk.  Owned by the caller until `done`; records come in order. */
struct tm_log_fetch {
    uint64_t first;
    uint64_t last;
    uint64_t max_bytes; /* ends after the record that reaches it; 0 = no bound */
    /* A verified record; valid during the call.  false ends the fetch. */
    bool (*record)(struct tm_log_fetch *fetch, uint64_t index, struct tm_bytes record);
    /* Optional: verified records of other logs of the worker that lie in the block of `first`, with
     * which the fetch ends then. */
    void (*other)(struct tm_log_fetch *fetch, const struct tm_log *log, uint64_t index,
                  struct tm_bytes record);
    /* TM_OK: all wanted were given, or as many as the bound or `record` allowed (`next` says
     * where to go on).  TM_ERR_CORRUPT, TM_ERR_IO: the record `next` cannot be read and is a
     * fault of the log now.  TM_ERR_NOTFOUND: it was cut or compacted meanwhile. */
    void (*done)(struct tm_log_fetch *fetch, enum tm_err err);
    void *owner;
    uint64_t next;
    struct tm_log *log; /* the log's while under way, like what follows */
    struct tm_wal_read read;
    uint64_t bytes;
};

/* Starts a fetch of first..last; `done` comes in a later turn.  TM_ERR_FULL, TM_ERR_AGAIN: try
 * later (too many under way; not durable yet and no longer in memory).  TM_ERR_NOTFOUND: not in
 * the log.  TM_ERR_CORRUPT: `first` lies in a fault. */
enum tm_err tm_log_fetch(struct tm_log *log, struct tm_log_fetch *fetch);

/* Removes the records from `from` (first..last) to the end; a CUT record says so in the WAL, in
 * reserved room.  `from` > commit (asserted).  Fails like tm_wal_append. */
enum tm_err tm_log_cut(struct tm_log *log, uint64_t from);

/* A snapshot durably holds everything up to `index` (at most last, not in a fault): the log begins
 * after it.  Nothing happens if it does already. */
void tm_log_compact(struct tm_log *log, uint64_t index);

/* Whether record `index` has that hash, as far as is known: it may be the last of a fault. */
bool tm_log_knows(const struct tm_log *log, uint64_t index, uint64_t hash);

/* tm_log_compact with such a record; its term is what the snapshot says. */
void tm_log_compact_to(struct tm_log *log, uint64_t index, uint64_t term, uint64_t hash);

/* The highest index that lies in a segment below `segment` of this WAL or in an older generation:
 * once the log begins after it, it needs none of those.  What was repaired before it may lie later.
 * tm_log_first - 1: none. */
uint64_t tm_log_last_below(const struct tm_log *log, uint64_t segment);

/* The log goes on after an installed snapshot (index, term, hash), which is durable: everything
 * in it is dropped, faults and suspicion too.  Fails like tm_wal_append. */
enum tm_err tm_log_reset(struct tm_log *log, uint64_t index, uint64_t term, uint64_t hash);

/* As tm_log_reset, to an older snapshot or none (all zero) because a newer one was lost: what the
 * log held is given up and suspicion stays, until a leader has brought back what is missing. */
enum tm_err tm_log_forget(struct tm_log *log, uint64_t index, uint64_t term, uint64_t hash);

/* Faults, ascending, disjoint.  `i` < tm_log_fault_count.  One that begins below tm_log_first says
 * that the snapshot which held those records is lost: only tm_log_reset or tm_log_forget cures it.
 */
unsigned tm_log_fault_count(const struct tm_log *log);
void tm_log_fault_at(const struct tm_log *log, unsigned i, uint64_t *first, uint64_t *last);

/* The hash of fault i's last record, which tells all of them apart from any others; 0: not known,
 * or it is a snapshot that is lost. */
uint64_t tm_log_fault_hash(const struct tm_log *log, unsigned i);

/* first..last were found to be rotten on disk: a fault of the log now, as when a fetch finds it. */
void tm_log_lose(struct tm_log *log, uint64_t first, uint64_t last);

/* Gives back a lost record of a fault, from a peer, and appends it to the WAL as a repair.  It is
 * accepted if its hash is the known one, or if that is not known, but the record before it is and
 * links to it.  Best from a fault's last record backwards: that one's hash is known if anything
 * follows it, and each repaired record tells the hash of the one before.  TM_ERR_CORRUPT: it is
 * not what was there; TM_ERR_INVALID: nothing is lost at this index; else like tm_wal_append. */
enum tm_err tm_log_repair(struct tm_log *log, struct tm_bytes record);

/* This node has no part in the partition: whatever was found of its log, or is suspected to be
 * lost, keeps no segment from being given up.  Until the set is closed. */
void tm_log_disown(struct tm_log *log);

/* Records past tm_log_last may have been acknowledged and lost. */
bool tm_log_suspect(const struct tm_log *log);

/* Enough others have denied them, or the log was brought up from a leader's that has them all:
 * the tail stands as it is.  Durable with the next flush.  Fails like tm_wal_append. */
enum tm_err tm_log_clear_suspect(struct tm_log *log);

#endif
