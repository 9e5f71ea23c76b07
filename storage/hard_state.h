/* hard_state.h: what a replica must never forget: term, vote, configuration.
 *
 * One tm_hs holds the hard state of all partitions of a worker.  It is kept twice: as records in
 * the worker's WAL (one record carries all partitions that changed in a turn, in reserved room, so
 * that a full disk never blocks a vote) and in a small file of four checksummed copies.  The file
 * is written two copies at a time, each pair under the next version, so that a crash while it is
 * rewritten leaves the other pair.  Nothing is durable before both the WAL and a pair of copies
 * have it, so the file proves the newest state whatever happens to the log.  No WAL segment is
 * given up before all four copies hold what it holds: then any one readable copy and the WAL behind
 * it prove it, too.  Where neither does (a rotten WAL block behind the copy and an unreadable pair
 * of copies), the state is reported as not proven; it is never taken for "no vote".
 *
 * One thread: the worker's. */
#ifndef TM_STORAGE_HARD_STATE_H
#define TM_STORAGE_HARD_STATE_H

#include "runtime/ctx.h"
#include "runtime/disk.h"
#include "storage/wal.h"

#define TM_VOTERS_MAX 7
#define TM_VOTE_NONE  UINT32_MAX

enum tm_voter_role { TM_VOTER_DATA, TM_VOTER_WITNESS, TM_VOTER_LEARNER };

struct tm_voter {
    uint64_t disk_id;
    uint32_t node;
    uint32_t role; /* enum tm_voter_role */
};

/* Ordered by (leader_term, epoch). */
struct tm_voter_config {
    uint64_t epoch;
    uint64_t leader_term;
    uint32_t in_sync; /* bit i: voters[i] is in the in-sync set */
    uint32_t count;
    struct tm_voter voters[TM_VOTERS_MAX];
};

enum tm_hard_flags {
    TM_HARD_WITNESS_CONFIRMED = 1 << 0, /* the witness has this configuration durably */
    TM_HARD_LEARNER = 1 << 1,           /* this replica must be seeded before it may vote */
    TM_HARD_FAULTY = 1 << 2             /* with LEARNER: acknowledged records are damaged here */
};

struct tm_hard_state {
    uint64_t term;
    uint64_t vote_disk; /* disk id voted for in `term`; meaningless without a vote */
    uint32_t vote;      /* node voted for in `term`, TM_VOTE_NONE: none */
    uint32_t flags;
    struct tm_voter_config config;
};

struct tm_hs;

struct tm_hs_config {
    const struct tm_ctx *ctx;
    const char *folder; /* the WAL's; copied */
    uint32_t generation;
    uint32_t worker;
    uint32_t workers;    /* partition p is here if p mod workers == worker */
    uint32_t partitions; /* of the cluster */
    uint8_t cluster[16];
    uint64_t disk_id;
    /* Called from disk completions: what was put of this partition is in the file now; a write of
     * the file failed, nothing more becomes durable (told once). */
    void *host;
    void (*saved)(void *host, uint32_t partition);
    void (*failed)(void *host, enum tm_err err);
};

/* An empty tm_hs; nothing is read.  TM_ERR_NOMEM. */
enum tm_err tm_hs_new(const struct tm_hs_config *config, struct tm_hs **out);
/* Nothing of it may be under way (tm_hs_refreshing), or the disk has forgotten it. */
void tm_hs_free(struct tm_hs *hs);

/* Closes the file, run to its end.  Before tm_hs_free, unless the process is as good as dead. */
void tm_hs_close(struct tm_hs *hs);

/* Recovery, boot only, in this order: tm_hs_volume when the replay of a volume begins (reads that
 * volume's file and compares it with where the kept WAL begins; `workers` is how many that
 * generation had; false if WAL is missing that the file knows of, or the file that the WAL needs),
 * tm_hs_record for each record of kind TM_RECORD_HARD_STATE, tm_hs_fault for each
 * fault; then tm_hs_seal writes all four copies of this generation's file, run to its end. */
bool tm_hs_volume(struct tm_hs *hs, uint32_t generation, uint32_t worker, uint32_t workers,
                  uint64_t first_sequence);
/* All of this volume was lost: what it promised is proven by its file, or not at all. */
void tm_hs_doubt(struct tm_hs *hs);
void tm_hs_record(struct tm_hs *hs, const struct tm_wal_found *found);
void tm_hs_fault(struct tm_hs *hs, const struct tm_wal_fault *fault);
enum tm_err tm_hs_seal(struct tm_hs *hs, const struct tm_wal *wal);

/* The partition's newest state, durable or not.  TM_ERR_NOTFOUND: there never was one.
 * TM_ERR_CORRUPT: what was promised cannot be proven; *out is the newest that was found (zero
 * if none): a lower bound of the term, and no leave to vote. */
enum tm_err tm_hs_get(const struct tm_hs *hs, uint32_t partition, struct tm_hard_state *out);

/* Takes the next state off the front of `rest`, which starts as the body of a HARD_STATE record
 * that was checked: what a log on disk promises, for whoever looks at it from outside.  False at
 * the end.
 */
bool tm_hs_record_next(struct tm_bytes *rest, uint32_t *partition, struct tm_hard_state *out);

/* Sets the state; it goes into the WAL with the next tm_hs_commit.  The term never goes back
 * (asserted).  Makes a state that was not proven proven: the caller knows why. */
void tm_hs_put(struct tm_hs *hs, uint32_t partition, const struct tm_hard_state *state);

/* End of turn, before tm_wal_flush: appends what was put since to the WAL.  Fails like
 * tm_wal_append; then everything stays pending and goes with a later commit. */
enum tm_err tm_hs_commit(struct tm_hs *hs, struct tm_wal *wal);

/* The newest state of the partition is durable: messages may show it. */
bool tm_hs_durable(const struct tm_hs *hs, uint32_t partition, const struct tm_wal *wal);

/* Notes in the file that the partition's log was given up through this index (0: nothing).  A
 * partition without a snapshot that reaches it is then faulty at the next start, not empty. */
void tm_hs_set_floor(struct tm_hs *hs, uint32_t partition, uint64_t index, uint64_t hash);
void tm_hs_floor(const struct tm_hs *hs, uint32_t partition, uint64_t *index, uint64_t *hash);

/* How many notes were made, and how many of them, the first ones, are in all four copies: before
 * its note is, nothing of a log may be given up. */
uint64_t tm_hs_floors(const struct tm_hs *hs);
uint64_t tm_hs_floors_saved(const struct tm_hs *hs);

/* All four copies hold what the WAL held up to this sequence. */
uint64_t tm_hs_covered(const struct tm_hs *hs);

/* Starts rewriting all four copies (no-op while that is under way, and after a failure);
 * tm_hs_covered then reaches what tm_wal_durable is now.  What is put meanwhile is taken along. */
void tm_hs_refresh(struct tm_hs *hs, const struct tm_wal *wal);
bool tm_hs_refreshing(const struct tm_hs *hs);

/* Something was put since the last refresh began. */
bool tm_hs_unsaved(const struct tm_hs *hs);

#endif
