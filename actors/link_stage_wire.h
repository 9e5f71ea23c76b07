/* link_stage_wire.h: batches of a synchronous link that are at the target before their source has
 * committed them.
 *
 * The source ships what it writes beside its own replication; the target keeps such a batch aside,
 * *staged*, and says so: that its quorum has it is what a client's OK needs of the target.  It is
 * applied when the source says that its own quorum has it, by the term and the hash of the batch's
 * last record, or when an operator promotes the target.  A new leader at the source looks which of
 * the staged batches its log has; the others were never committed, and it says so (UNSTAGE).
 *
 * At rest a staged batch is a field of the target partition's shadow: 's', the source's uuid, u32
 * source partition, u64 index of the batch's last record (big-endian); its value is the struct
 * tm_link_batch as it came, and its packed_len bytes.
 *
 * As link_wire.h: everything from outside is checked; pure; any thread. */
#ifndef TM_ACTORS_LINK_STAGE_WIRE_H
#define TM_ACTORS_LINK_STAGE_WIRE_H

#include "actors/link_wire.h"

/* The longest body that is staged, before it is packed: what is longer ships when it is committed.
 */
#define TM_LINK_STAGE_MAX ((uint32_t)TM_KIB(128))

/* LINK_STAGE: this, then batch.packed_len bytes. */
struct tm_link_staging {
    struct tm_link_batch batch;
    struct tm_link_mark through; /* end of a batch: by now all up to there is committed; index 0:
                                    nothing is said */
};
TM_STATIC_ASSERT(sizeof(struct tm_link_staging) == 160, "frozen on the wire");

/* LINK_COMMIT: the same, without a batch. */
struct tm_link_commit {
    struct tm_link_stream stream;
    struct tm_link_mark through;
};
TM_STATIC_ASSERT(sizeof(struct tm_link_commit) == 64, "frozen on the wire");

/* LINK_UNSTAGE: what is staged behind `keep` (a mark that the target has told, or its position) is
 * in the log of no leader of that term, so it never was committed and never will be. */
struct tm_link_unstage {
    struct tm_link_stream stream;
    struct tm_link_mark keep;
    uint64_t term;
};
TM_STATIC_ASSERT(sizeof(struct tm_link_unstage) == 72, "frozen on the wire");

/* Read a body.  TM_ERR_CORRUPT: it is none.  *packed points into it. */
enum tm_err tm_link_staging_decode(struct tm_bytes body, struct tm_link_staging *out,
                                   struct tm_bytes *packed);
enum tm_err tm_link_commit_decode(struct tm_bytes body, struct tm_link_commit *out);
enum tm_err tm_link_unstage_decode(struct tm_bytes body, struct tm_link_unstage *out);

/* ---- at rest ---- */

#define TM_LINK_STAGED_NAME 29

/* Of which stream of whom a staged batch is. */
struct tm_link_staged_name {
    uint8_t uuid[16];
    uint32_t source;
    uint64_t index;
};

/* Writes the field's name; reads it, false: it is none. */
void tm_link_staged_name(const struct tm_link_staged_name *name, uint8_t out[TM_LINK_STAGED_NAME]);
bool tm_link_staged_name_read(struct tm_bytes bytes, struct tm_link_staged_name *out);

/* The field's value; *packed points into it.  False: it is none. */
bool tm_link_staged_decode(struct tm_bytes value, struct tm_link_batch *out,
                           struct tm_bytes *packed);

#endif
