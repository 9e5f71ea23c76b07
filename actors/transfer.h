/* transfer.h: what a SNAPSHOT message says of the chunk it carries, and what a snapshot's note
 * holds.
 *
 * The note is the partition's members as of the snapshot's log base: u64 index of the record that
 * made them, then the members as in a CONFIG record (actors/replica_wire.h).  It travels and rests
 * in the same bytes.
 *
 * The body of SNAPSHOT is a head, the note padded to 8 bytes, and the chunk as it lies in the
 * file.  Little-endian; everything received is checked.  Pure. */
#ifndef TM_ACTORS_TRANSFER_H
#define TM_ACTORS_TRANSFER_H

#include "actors/replica_wire.h"
#include "storage/snapshot.h"

#define TM_TRANSFER_HEAD_SIZE 80
#define TM_TRANSFER_HEAD_MAX  (TM_TRANSFER_HEAD_SIZE + TM_SNAPSHOT_NOTE_MAX)

/* Fills in info's note. */
void tm_transfer_note(const struct tm_members *m, struct tm_snapshot_info *info);

/* Reads it.  TM_ERR_CORRUPT: not members that may be, or younger than the log base; *m is empty
 * then. */
enum tm_err tm_transfer_members(const struct tm_snapshot_info *info, struct tm_members *m);

/* Writes head and note to out, TM_TRANSFER_HEAD_MAX bytes of room; returns the bytes written, a
 * multiple of 8.  The chunk is to follow. */
size_t tm_transfer_encode(const struct tm_snapshot_info *info, uint8_t *out);

/* Reads the body of a SNAPSHOT of `partition`; *chunk points into it.  TM_ERR_CORRUPT: not a body,
 * of another partition, or a snapshot that cannot be, its members included. */
enum tm_err tm_transfer_decode(struct tm_bytes body, uint32_t partition,
                               struct tm_snapshot_info *info, struct tm_bytes *chunk);

#endif
