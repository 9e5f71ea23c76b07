/* snapshot.h: the snapshots of one partition: files of hashed chunks.
 *
 * A snapshot holds a partition's committed items as a fuzzy walk saw them between two indexes
 * (walked_from..walked_to), so that it and the log from walked_from + 1 on give the exact state;
 * its log base is walked_from.  Items are opaque bytes to this file.
 *
 * Files lie in "snapshots/<partition>/": "<walked_from>-<walked_to>.snap" (a header, chunks each
 * with an XXH3-128 hash, a hash over all of them; snapshot_internal.h has the bytes) and "current",
 * which names the two that count, newest first.
 *
 * Writing happens in small slices: the caller hands over items while there is room, in as many
 * turns as it likes.  The pointer ("current") flips with tm_snapshot_writer_publish, which the
 * caller calls once the WAL is durable through walked_to.  Two snapshots are kept, older ones
 * removed after the flip.  One that does not verify is reported, no longer counts as one of the
 * two, and is kept under the name *.damaged, never deleted; "current" names it until another that
 * reaches as far is published.  One writer at a time publishes for a partition.
 *
 * One thread: the worker's. */
#ifndef TM_STORAGE_SNAPSHOT_H
#define TM_STORAGE_SNAPSHOT_H

#include "runtime/ctx.h"
#include "runtime/disk.h"

#define TM_SNAPSHOT_CHUNK_BYTES (256u * 1024) /* content of a chunk, if no item is larger */
#define TM_SNAPSHOT_NOTE_MAX    248

struct tm_snapshot_info {
    uint32_t partition;
    uint64_t walked_from; /* the log base: everything up to it is in the items */
    uint64_t walked_to;   /* the highest index that any item shows */
    uint64_t term;        /* of walked_from */
    uint64_t hash;        /* of walked_from */
    uint8_t cluster[16];
    /* The caller's, kept beside the items: the members as of walked_from (actors/transfer.h). */
    uint32_t note_len;
    uint8_t note[TM_SNAPSHOT_NOTE_MAX];
    /* Filled in by the writer: */
    uint64_t items;
    uint64_t chunks;
    uint64_t bytes; /* of the whole file */
};

/* The walked_from of a snapshot that cannot be read, and its hash: 0, not known. */
struct tm_snapshot_lost {
    uint64_t index; /* 0: there is none */
    uint64_t hash;
};

/* The snapshots of a partition that count, newest first; made durable as such.  Boot only; reads
 * "current" and the headers, not the chunks.  *count is 0..2.  A header that does not verify
 * is skipped and logged, and *damaged set.  *lost is the furthest that was there and cannot be
 * read, at this start or an earlier one: until a snapshot that reaches it is published, its name is
 * kept.  If "current" itself does not verify, all files count there.  TM_ERR_IO, TM_ERR_IDENTITY
 * (another cluster). */
enum tm_err tm_snapshot_list(const struct tm_ctx *ctx, uint32_t partition,
                             const uint8_t cluster[16], struct tm_snapshot_info out[2],
                             unsigned *count, bool *damaged, struct tm_snapshot_lost *lost);

/* Verifies every chunk and hands over each item, to its end.  Boot only.  TM_ERR_CORRUPT: some
 * chunk is bad; items may have been handed over before it showed: drop them, and try the older
 * snapshot.  item returns TM_OK to go on, else that error ends the load. */
enum tm_err tm_snapshot_load(const struct tm_ctx *ctx, const struct tm_snapshot_info *info,
                             enum tm_err (*item)(void *arg, struct tm_bytes item), void *arg);

/* --- writing one's own, or receiving a leader's --- */

struct tm_snapshot_writer;

enum tm_snapshot_state {
    TM_SNAPSHOT_OPENING,
    TM_SNAPSHOT_WRITING,   /* takes items or chunks */
    TM_SNAPSHOT_SYNCING,   /* finish was called */
    TM_SNAPSHOT_COMPLETE,  /* durable as a file; waits for publish */
    TM_SNAPSHOT_FLIPPING,  /* publish was called */
    TM_SNAPSHOT_PUBLISHED, /* current, durably; older ones are gone */
    TM_SNAPSHOT_FAILED     /* tm_snapshot_writer_error says why; what was written is removed */
};

/* Starts a snapshot.  `changed` (with `host`; may be NULL, for who looks each turn) is called from
 * disk completions whenever the state changes or room came back.  TM_ERR_NOMEM. */
enum tm_err tm_snapshot_writer_new(const struct tm_ctx *ctx, const struct tm_snapshot_info *info,
                                   void (*changed)(void *host, struct tm_snapshot_writer *writer),
                                   void *host, struct tm_snapshot_writer **out);

/* Where it stands; changes in disk completions, in finish and in publish. */
enum tm_snapshot_state tm_snapshot_writer_state(const struct tm_snapshot_writer *writer);
/* Why it failed; TM_OK in any state but FAILED. */
enum tm_err tm_snapshot_writer_error(const struct tm_snapshot_writer *writer);

/* A chunk, or an item of any size, would be taken now.  A receiver acknowledges a chunk when there
 * is room for the next. */
bool tm_snapshot_writer_room(const struct tm_snapshot_writer *writer);

/* Adds one item, at most 64 MiB (copied).  TM_ERR_FULL: no room now, wait for `changed`. */
enum tm_err tm_snapshot_writer_item(struct tm_snapshot_writer *writer, struct tm_bytes item);

/* Receiving: adds one chunk as tm_snapshot_read gave it, verified by its hash.  It must be the
 * next one (tm_snapshot_writer_chunks): TM_ERR_INVALID if not; TM_ERR_CORRUPT; TM_ERR_FULL (see
 * tm_snapshot_writer_room: the first one always finds room). */
enum tm_err tm_snapshot_writer_chunk(struct tm_snapshot_writer *writer, struct tm_bytes chunk);

/* The number of chunks taken so far: a broken transfer goes on with this one. */
uint64_t tm_snapshot_writer_chunks(const struct tm_snapshot_writer *writer);

/* No more items.  walked_to is the highest index walked; it is ignored when chunks were received,
 * whose count and hash must be those of info (`expected` as the sender's info, else NULL). */
void tm_snapshot_writer_finish(struct tm_snapshot_writer *writer, uint64_t walked_to,
                               const struct tm_snapshot_info *expected);

/* Flips the pointer.  State COMPLETE is required (asserted). */
void tm_snapshot_writer_publish(struct tm_snapshot_writer *writer);

/* What was written; complete from state COMPLETE on. */
const struct tm_snapshot_info *tm_snapshot_writer_info(const struct tm_snapshot_writer *writer);

/* Writers and readers that were closed and still end something on the disk.  The caller's, all zero
 * at first. */
struct tm_snapshot_closed {
    struct tm_snapshot_end *first;
};

/* The list ends: its members go on without it; or are freed, if nothing comes from the disk any
 * more, as when the process dies (for the simulator). */
void tm_snapshot_closed_free(struct tm_snapshot_closed *list, bool abandon);

/* Ends a writer in any state.  Operations under way end by themselves; what is not published is
 * removed.  `changed` is not called any more.  Until all is done it is in the list (may be NULL).
 */
void tm_snapshot_writer_close(struct tm_snapshot_writer *writer, struct tm_snapshot_closed *list);

/* Frees the memory and nothing else, as when the process dies: for the simulator. */
void tm_snapshot_writer_abandon(struct tm_snapshot_writer *writer);

/* --- sending --- */

struct tm_snapshot_reader;

/* Opens a snapshot for sending, asynchronously: the first read waits for it.  TM_ERR_NOMEM. */
enum tm_err tm_snapshot_reader_new(const struct tm_ctx *ctx, const struct tm_snapshot_info *info,
                                   struct tm_snapshot_reader **out);

/* Reads one chunk, counted from 0, and verifies it.  One read at a time (TM_ERR_FULL).  done gets
 * TM_OK and the chunk with its header, valid during the call; TM_ERR_NOTFOUND past the last;
 * TM_ERR_CORRUPT (reported, and then the snapshot is not to be used: the next start takes it off
 * the list), TM_ERR_IO. */
enum tm_err tm_snapshot_read(struct tm_snapshot_reader *reader, uint64_t chunk,
                             void (*done)(void *host, enum tm_err err, uint64_t chunk,
                                          struct tm_bytes bytes),
                             void *host);

/* `done` is not called any more; what is under way ends by itself.  Until then it is in the list
 * (may be NULL). */
void tm_snapshot_reader_close(struct tm_snapshot_reader *reader, struct tm_snapshot_closed *list);
void tm_snapshot_reader_abandon(struct tm_snapshot_reader *reader); /* as the writer's */

/* Walks the items of one chunk (as received) without a file: for a follower that loads while it
 * receives.  TM_ERR_CORRUPT if the chunk does not verify; then nothing was handed over. */
enum tm_err tm_snapshot_chunk_items(struct tm_bytes chunk,
                                    enum tm_err (*item)(void *arg, struct tm_bytes item),
                                    void *arg);

#endif
