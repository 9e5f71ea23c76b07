/* wal.h: the write-ahead log of one worker, shared by its partitions.
 *
 * Records are gathered into blocks; a block is one write to the current segment (O_DIRECT, see
 * wal_format.h for its bytes).  Segments have one size, are written with zeros before their first
 * use, are prepared one ahead, and are used again under a new id once released.  Nothing is ever
 * truncated: removing a suffix of a partition is a record.
 *
 * What is durable is a *contiguous* prefix of blocks: the callback `durable` comes block by block
 * in the order of their sequences, whatever order the device completes them in.
 *
 * Errors.  A failed write or flush poisons the WAL for good (TM_WAL_FAILED, callback `failed`):
 * what was on its way is never reported durable.  Without space (TM_WAL_FULL, callback `space`)
 * effects are refused before they are appended, hard state and cuts still fit into reserved room,
 * and the WAL resumes by itself when there is room again.
 *
 * Worker counts may change between starts: each count is a *generation* with files of its own.
 * Older generations are read-only and replayed first, in order.
 *
 * One thread: the worker's.  Callbacks are made from inside the disk's completion or from
 * tm_wal_open, never from append or flush; they may append, but not close. */
#ifndef TM_STORAGE_WAL_H
#define TM_STORAGE_WAL_H

#include "runtime/ctx.h"
#include "runtime/disk.h"

#define TM_WAL_ALL          UINT32_MAX /* in a fault: every partition of this WAL */
#define TM_WAL_INFLIGHT_MAX 4
#define TM_WAL_LARGE        8  /* records */
#define TM_WAL_GENERATIONS  16 /* older generations that may still be there */

struct tm_wal;

/* What an append may use: EFFECT leaves the reserved room alone.  FOLLOWED, for effects that a
 * leader has logged already, leaves half of it: what was under way when this disk got full still
 * fits; in a segment beyond max_bytes it leaves half of that.  RESERVED is for hard state,
 * configurations, cuts and what else a full disk must not stop.
 */
enum tm_wal_class { TM_WAL_EFFECT, TM_WAL_FOLLOWED, TM_WAL_RESERVED };

enum tm_wal_state {
    TM_WAL_RUNNING,
    TM_WAL_FULL,  /* effects are refused with TM_ERR_NOSPACE; leaves this state by itself */
    TM_WAL_FAILED /* poisoned: everything is refused with TM_ERR_IO, forever */
};

/* How a block is made durable.  With the product's disk a DSYNC write is itself done in the faster
 * of two ways (tm_disk_uring_probe); FSYNC is for disks that know no such write. */
enum tm_wal_sync {
    TM_WAL_DSYNC, /* one write with TM_DISK_DSYNC */
    TM_WAL_FSYNC  /* a write, then a TM_DISK_SYNC */
};

enum tm_wal_span_flags {
    TM_WAL_SPAN_CUT = 1 << 0,  /* records from `first` on, appended before, were removed */
    TM_WAL_SPAN_HARD = 1 << 1, /* hard state of this partition is in the block */
    TM_WAL_SPAN_RESET = 1 << 2 /* the log was reset to a snapshot at index first - 1 */
};

/* What one block holds of one partition: an entry of the block's directory.  first..last are the
 * indexes of its records, in the log as it stands after this block; last < first: none, and the log
 * went at least up to first - 1. */
struct tm_wal_span {
    uint32_t partition;
    uint32_t flags;
    uint64_t first;
    uint64_t last;
    uint64_t tail_hash; /* hash of record `last` */
    uint64_t commit;    /* the commit index known at the append */
};

/* Where a record lies.  Opaque, valid while this WAL is open and the segment not released;
 * 0 is no place. */
typedef uint64_t tm_wal_place;

struct tm_wal_pos {
    uint64_t sequence; /* of its block: durable once tm_wal_durable() >= sequence */
    tm_wal_place place;
};

/* A record found at replay, in the order in which they were appended. */
struct tm_wal_found {
    struct tm_bytes record; /* valid during the call */
    tm_wal_place place;
    uint64_t sequence;   /* of its block, within its generation */
    uint32_t generation; /* of the volume it was found in */
    uint32_t worker;
    uint64_t commit; /* the partition's commit index as this block's directory has it */
};

enum tm_wal_fault_kind {
    TM_WAL_ROT,    /* a block up to the durable point is bad: what it held was acknowledged */
    TM_WAL_DAMAGED /* bad blocks past the durable point that no torn write explains: they may
                      have held acknowledged records; to be cut only after denials */
};

/* A bad place found at replay, told in order between the records.  first..last are records of
 * `partition` that are lost here (last < first: none or unknown).  partition TM_WAL_ALL: it is
 * not known whose records were there, nor how many. */
struct tm_wal_fault {
    enum tm_wal_fault_kind kind;
    struct tm_wal_span span;
    uint32_t generation;
    uint32_t worker;
    bool noted;        /* found by an earlier start, which wrote this into the log */
    uint64_t sequence; /* of the first bad block, or of the one that notes it */
    uint64_t segment;
    uint64_t offset;
};

struct tm_wal_replay {
    void *host;
    /* A volume (one worker's files of one generation) begins; its first kept block has
     * first_sequence, 0 if it holds no block at all.  Oldest generation first, this WAL's own
     * volume last.  True, only for that one: it held more once.  The first block of this start
     * then says so, and later starts are told of a DAMAGED fault that is noted. */
    bool (*volume)(void *host, uint32_t generation, uint32_t worker, uint64_t first_sequence);
    void (*record)(void *host, const struct tm_wal_found *found);
    void (*fault)(void *host, const struct tm_wal_fault *fault);
};

struct tm_wal_generation {
    uint32_t generation;
    uint32_t workers;
};

struct tm_wal_callbacks {
    void *host;
    /* The block `sequence` and all before it are durable; spans is its directory, valid during
     * the call. */
    void (*durable)(void *host, uint64_t sequence, const struct tm_wal_span *spans, unsigned count);
    /* Poisoned, told once. */
    void (*failed)(void *host, enum tm_err err);
    /* false: tm_wal_short began; true: it ended. */
    void (*space)(void *host, bool available);
};

struct tm_wal_config {
    const struct tm_ctx *ctx;
    const char *folder; /* "wal"; created if absent; copied */
    uint32_t worker;
    uint32_t generation; /* of this start, from 1 */
    uint32_t partitions; /* partitions are 0..partitions-1, all over the node */
    uint8_t cluster[16];
    uint64_t disk_id;     /* blocks of another disk are faults */
    uint64_t incarnation; /* of this start, noted in each block */

    uint64_t segment_bytes; /* multiple of 4 KiB, at most 1 GiB; 0 = 64 MiB */
    uint64_t max_bytes;     /* of all segments of this WAL, but for one more when even the reserve
                               is used up or does for nothing that is followed, or for a start; 0 =
                               no bound but the disk's */
    uint64_t reserve_bytes; /* 0 = an eighth of a segment */
    uint32_t max_record_bytes;  /* 0 = TM_RECORD_MAX and a header, but at most a quarter segment */
    uint32_t read_bytes;        /* of a segment at once, at a start; pages; 0 = 8 MiB */
    uint32_t flushes_under_way; /* 1..TM_WAL_INFLIGHT_MAX; 0 = 2 */
    uint64_t gather_ns;         /* between large blocks, at least; 0 = not at all */
    uint64_t marker_ns;         /* idle time before a marker block; 0 = 50 ms */
    uint64_t stall_ns;          /* a durable write that takes longer is counted; 0 = none is */
    enum tm_wal_sync sync;

    /* Generations that are still on disk, ascending, all below `generation`. */
    const struct tm_wal_generation *older;
    unsigned older_count;

    struct tm_wal_callbacks callbacks;
    struct tm_wal_replay replay;
};

/* Opens the WAL: replays what is there through config->replay (older generations first; of those
 * every worker's volume whole: the receiver takes its own partitions), makes what was accepted
 * durable, and prepares a fresh segment.  Runs disk operations to their end: boot only.  What the
 * torn tail of a crash held is dropped silently, for it was never acknowledged. Fails with
 * TM_ERR_NOMEM, TM_ERR_IO, TM_ERR_NOSPACE (not even a first segment), TM_ERR_VERSION,
 * TM_ERR_IDENTITY (blocks of another cluster, disk or worker), TM_ERR_INVALID (config). */
enum tm_err tm_wal_open(const struct tm_wal_config *config, struct tm_wal **out);

/* After open, before the first append: from now on disk operations are under way while nobody
 * waits for them, the first of them for the next segment.  Until then tm_wal_abandon does no harm.
 */
void tm_wal_begin(struct tm_wal *wal);

/* Closes and frees a WAL with nothing under way: tm_wal_idle (asserted).  With `clean` a last
 * block says that nothing was under way, so that the next start may go on in the same segment. */
void tm_wal_close(struct tm_wal *wal, bool clean);

/* Frees the memory and nothing else, as when the process dies.  The disk must have forgotten what
 * was under way: for the simulator. */
void tm_wal_abandon(struct tm_wal *wal);

/* No block is gathered, being written or waiting, and no segment is being prepared. */
bool tm_wal_idle(const struct tm_wal *wal);

/* May a record of `bytes` be appended now?  TM_OK, TM_ERR_FULL (too much under way: try next
 * turn), TM_ERR_NOSPACE, TM_ERR_TOOBIG, TM_ERR_IO (failed).  A TM_OK holds until the next append
 * or flush.  A leader asks before it evaluates. */
enum tm_err tm_wal_room(struct tm_wal *wal, uint32_t bytes, enum tm_wal_class klass);

/* Effects are refused for lack of space: all of them (TM_WAL_FULL), or, as far as is known from
 * tm_wal_room and tm_wal_append, large ones.  Leaves this state by itself, when there is room for
 * what was refused. */
bool tm_wal_short(const struct tm_wal *wal);

/* Appends one encoded record (a multiple of 8 bytes, copied) to the block being gathered.  spans
 * tells the directory what it is: one span for a record of one partition, several for one that
 * carries many.  Fails like tm_wal_room, and then nothing was appended.  *out may be NULL. */
enum tm_err tm_wal_append(struct tm_wal *wal, struct tm_bytes record, enum tm_wal_class klass,
                          const struct tm_wal_span *spans, unsigned count, struct tm_wal_pos *out);

/* End of turn: writes the gathered block if fewer than flushes_under_way are under way; else it
 * gathers on and goes with the first tm_wal_flush after a completion.  While blocks are large
 * (TM_WAL_LARGE records and more) one is under way at a time, and begins gather_ns after the one
 * before: a flush costs the machine much the same however much it makes durable. */
void tm_wal_flush(struct tm_wal *wal);

/* Housekeeping that time asks for: marker blocks, new attempts to get space. */
void tm_wal_tick(struct tm_wal *wal);

/* When tm_wal_tick or tm_wal_flush is due, on the clock of the ctx; UINT64_MAX: nothing is. */
uint64_t tm_wal_next_deadline(const struct tm_wal *wal);

/* The highest contiguous durable sequence. */
uint64_t tm_wal_durable(const struct tm_wal *wal);

/* The sequence of the newest block that was begun: all that was appended so far is durable when
 * tm_wal_durable reaches it. */
uint64_t tm_wal_begun(const struct tm_wal *wal);

/* What it may take; see enum tm_wal_state. */
enum tm_wal_state tm_wal_state(const struct tm_wal *wal);

/* Nanoseconds since the oldest block under way was handed to the disk; 0: none is under way. */
uint64_t tm_wal_stalled_ns(const struct tm_wal *wal);

/* When a block last became durable (ctx clock); the time of open before the first. */
uint64_t tm_wal_last_durable_ns(const struct tm_wal *wal);

/* The largest record that can ever be appended. */
uint32_t tm_wal_max_record(const struct tm_wal *wal);

/* Segments.  Ids of a WAL's own generation ascend from 1.  Places of older generations belong to
 * segment 0: they are not released one by one. */
uint64_t tm_wal_segment_of(const struct tm_wal *wal, tm_wal_place place);
uint64_t tm_wal_first_segment(const struct tm_wal *wal);
uint64_t tm_wal_current_segment(const struct tm_wal *wal);

/* The oldest of the newest segments: the current one, and as many before it as hold `bytes`. */
uint64_t tm_wal_segment_back(const struct tm_wal *wal, uint64_t bytes);

/* The sequence of the last block written into `segment` (first <= segment < current). */
uint64_t tm_wal_segment_last_sequence(const struct tm_wal *wal, uint64_t segment);

/* Gives up all segments below `segment` (not the current one, nor that of the last
 * durable block): their
 * records will not be read or replayed again.  The caller has made sure that hard state and
 * snapshots cover them.  Their files are used again or removed when the next flushed block, which
 * says so, is durable. */
void tm_wal_release(struct tm_wal *wal, uint64_t segment);

/* Removes a generation's files, which no partition needs any more.  Boot only, before
 * tm_wal_open, for generations that are not listed in its config.  An absent one is no error. */
enum tm_err tm_wal_remove_generation(struct tm_disk *disk, const char *folder, uint32_t generation);

/* Changes what tm_wal_open was told of max_bytes, marker_ns and stall_ns; the same values mean the
 * same.  With less than is on disk nothing is taken away: no further segment is made until what is
 * released brings it below. */
void tm_wal_set_limits(struct tm_wal *wal, uint64_t max_bytes, uint64_t marker_ns,
                       uint64_t stall_ns);

/* Segments that hold records still needed, the current one included. */
unsigned tm_wal_segments(const struct tm_wal *wal);

/* Bytes of all segments on disk, and of those that hold records still needed. */
uint64_t tm_wal_disk_bytes(const struct tm_wal *wal);
uint64_t tm_wal_held_bytes(const struct tm_wal *wal);

/* One verified read of the block a record lies in.  Owned by the caller until `done`. */
struct tm_wal_read {
    tm_wal_place place; /* of the first record wanted */
    /* Called for each record of that block from `place` on; false ends the read. */
    bool (*record)(struct tm_wal_read *read, struct tm_bytes record, tm_wal_place place);
    /* TM_OK, TM_ERR_CORRUPT (rot: nothing was delivered), TM_ERR_IO, TM_ERR_CLOSED. */
    void (*done)(struct tm_wal_read *read, enum tm_err err);
    void *owner;
    struct tm_wal_read *next; /* the WAL's while under way */
};

/* Starts a read; `done` comes in a later turn.  TM_ERR_FULL: as many are under way as may be,
 * try next turn.  TM_ERR_AGAIN: the block is not durable yet.  TM_ERR_NOTFOUND: released. */
enum tm_err tm_wal_read(struct tm_wal *wal, struct tm_wal_read *read);

/* Reading again, a piece at a time, all that is durable of all segments, to see whether it still
 * verifies.  The caller's; all zero but for the callbacks at first; busy while a piece is read. */
struct tm_wal_scrub {
    /* No block verifies from `from` to before `to` of scrub->segment in scrub->volume, though read
     * twice: rot, if any record lies there. */
    void (*bad)(struct tm_wal_scrub *scrub, uint64_t from, uint64_t to);
    /* The piece has been looked at; so many bytes were read. */
    void (*done)(struct tm_wal_scrub *scrub, uint64_t bytes);
    void *owner;
    bool busy;
    unsigned volume; /* where it stands, as in places */
    uint64_t segment;
    /* The WAL's: */
    uint64_t offset, limit, wanted, doubt, bad_from;
    struct tm_wal *wal;
    uint8_t *image;
    uint64_t cap;
    struct tm_disk_op op;
};

/* Begins to read the next piece, of about `bytes`; `done` comes in a later turn.  TM_ERR_NOTFOUND:
 * that was all, and the next one is the first again.  TM_ERR_NOMEM. */
enum tm_err tm_wal_scrub(struct tm_wal *wal, struct tm_wal_scrub *scrub, uint64_t bytes);

/* Frees its memory; not while it is busy, unless the disk has forgotten it. */
void tm_wal_scrub_free(struct tm_wal_scrub *scrub);

#endif
