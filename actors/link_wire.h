/* link_wire.h: what the two ends of a stream between clusters say to each other.
 *
 * A *stream* leads from one partition of the source cluster to one of the target cluster; there is
 * one for each pair that has slots in common.  The bodies of the LINK_* messages (actors/message.h)
 * are the little-endian structs below; each begins with a struct tm_link_stream, which the target
 * sends back as it came.  head.partition is the receiver's partition.
 *
 * A *batch* carries what the records (from, to] of the source's log hold for the target, whatever
 * the filter left of them.  Its changes are a body of storage/record.h in which a STAMPED operation
 * stands before the first change, and wherever the stamp changes: so every operation says when and
 * where it was made.  Everything received is from outside and checked; nothing is asserted of it.
 * Pure; any thread. */
#ifndef TM_ACTORS_LINK_WIRE_H
#define TM_ACTORS_LINK_WIRE_H

#include "actors/message.h"
#include "storage/record.h"

/* The longest body of a batch before it is packed: any record fits into one, stamped. */
#define TM_LINK_RAW_MAX          (TM_RECORD_MAX + (uint32_t)TM_KIB(64))
#define TM_LINK_REFUSAL_TEXT_MAX 200

/* Which stream, and which of its source's attempts: answers to another session are passed over. */
struct tm_link_stream {
    uint64_t session;         /* drawn by the source with each OPEN; not 0 */
    uint64_t incarnation;     /* of the source cluster; not 0 */
    uint64_t epoch;           /* of the source's links: an older one is refused */
    uint32_t source, sources; /* partition of the source cluster, of so many */
    uint32_t target, targets; /* and of the target cluster */
};
TM_STATIC_ASSERT(sizeof(struct tm_link_stream) == 40, "frozen on the wire");

/* Up to where a target has a stream.  Stored by the target in the record that holds the effects: in
 * its partition's shadow entity, field 'p' + the source's uuid + u32 source partition. */
struct tm_link_position {
    uint64_t incarnation; /* of the source cluster, 0: nothing was ever taken, or it is forgotten */
    uint64_t epoch;
    uint64_t index, term, hash; /* the last record taken, by the source's log */
    uint64_t hlc;               /* the newest stamp that came */
    uint64_t rules;             /* what was shipped up to here: hash of the filter */
};
TM_STATIC_ASSERT(sizeof(struct tm_link_position) == 56, "frozen at rest and on the wire");

/* `rules` of a target that takes the source as it is: all is to be compared, whatever the filter.
 * Never at rest. */
#define TM_LINK_ADOPTS UINT64_MAX

#define TM_LINK_POSITION_NAME 21

/* Writes the name of that field. */
void tm_link_position_name(const uint8_t uuid[16], uint32_t source,
                           uint8_t out[TM_LINK_POSITION_NAME]);

/* The position in a field's value.  False: it is none. */
bool tm_link_position_decode(struct tm_bytes value, struct tm_link_position *out);

/* A record of the source's log. */
struct tm_link_mark {
    uint64_t index, term, hash;
};

/* LINK_OPEN, to the target: where do you stand? */
struct tm_link_open {
    struct tm_link_stream stream;
};

#define TM_LINK_MARKS 32 /* batches of a stream that are staged at most */

/* LINK_POSITION: all up to `position` is applied, up to `committed` for good.  Then `marks` struct
 * tm_link_mark: the ends of the batches that are staged behind it (link_stage_wire.h), in their
 * order, the first `durable` of them for good; the batch that may come next begins at the last one,
 * or at the position.  The answer to OPEN, and to a batch that does not follow. */
struct tm_link_at {
    struct tm_link_stream stream;
    struct tm_link_position position;
    uint64_t committed;
    uint32_t durable, marks;
};
TM_STATIC_ASSERT(sizeof(struct tm_link_at) == 112, "frozen on the wire");

/* LINK_BATCH: this, then packed_len bytes. */
struct tm_link_batch {
    struct tm_link_stream stream;
    struct tm_link_mark from;
    struct tm_link_position to;
    uint64_t raw_hash;   /* of the body before it was packed */
    uint32_t raw_len;    /* 0: the filter left nothing */
    uint32_t packed_len; /* less than raw_len: LZ4; else the same */
};
TM_STATIC_ASSERT(sizeof(struct tm_link_batch) == 136, "frozen on the wire");

/* LINK_ACK: the target's quorum has all of the stream up to that record. */
struct tm_link_receipt {
    struct tm_link_stream stream;
    uint64_t index, hash;
    uint64_t delay_ms; /* between the newest change's stamp and its commit, by the target's clock */
    uint64_t received; /* its leader has all of it up to here, on its way to the quorum */
    uint64_t received_hash;       /* of that record */
    uint64_t staged, staged_hash; /* applied or staged, the quorum has all of it up to here */
};
TM_STATIC_ASSERT(sizeof(struct tm_link_receipt) == 96, "frozen on the wire");

/* LINK_MOVED: the target partition is not led here. */
#define TM_LINK_NOBODY 0xffu
struct tm_link_moved {
    struct tm_link_stream stream;
    uint32_t block; /* the node that leads it, by the port plan; TM_LINK_NOBODY: not known */
    uint32_t reserved;
};
TM_STATIC_ASSERT(sizeof(struct tm_link_moved) == 48, "frozen on the wire");

/* X(name, number, stands, text).  Append only.  What does not stand is tried again by itself. */
#define TM_LINK_REFUSAL_LIST(X)                                                                    \
    X(PARTITIONS, 1, true, "the clusters do not agree on their numbers of partitions")             \
    X(INCARNATION, 2, true, "the source was restored: rewind the link or adopt the source")        \
    X(EPOCH, 3, true, "the source is of an older epoch: it was promoted away from")                \
    X(RESIDENCY, 4, true, "a type must not come here: it names where it may be")                   \
    X(CLOCK, 5, false, "stamps are too far ahead of the target's clock")                           \
    X(MEMORY, 6, false, "the target is at its --memory-limit")                                     \
    X(DISK, 7, false, "the target's disk is full")                                                 \
    X(UNLINKED, 8, false, "the target knows no such link")                                         \
    X(MALFORMED, 9, true, "the target cannot read what was sent")                                  \
    X(PAUSED, 10, false, "the target's operator holds the link")                                   \
    X(BUSY, 11, false, "the target takes no writes at the moment")                                 \
    X(SNAPSHOT, 12, true,                                                                          \
      "SNAPSHOT-REQUIRED: the source was away for longer than tombstoneMaxAge, and may ship what " \
      "was deleted here")

enum tm_link_refusal {
    TM_LINK_REFUSAL_NONE,
#define X(name, number, stands, text) TM_LINK_REFUSAL_##name = number,
    TM_LINK_REFUSAL_LIST(X)
#undef X
};

/* LINK_REFUSED: then text_len bytes that say more ("type=Customer"). */
struct tm_link_refused {
    struct tm_link_stream stream;
    uint32_t reason; /* enum tm_link_refusal, or one that a newer version has */
    uint32_t text_len;
};
TM_STATIC_ASSERT(sizeof(struct tm_link_refused) == 48, "frozen on the wire");

/* What a cluster says of the slots of a stream, all HLCs: it has applied whatever was made up to
 * `applied`, wherever that was; so have all it shares them with, up to `settled`; and up to
 * `collected` it keeps no tombstones (storage/store_link.h). */
struct tm_link_told {
    uint64_t applied, settled, collected;
    uint64_t
        want; /* something is kept that goes once all have told of more than this; 0: nothing */
};

static inline void tm_link_told_raise(struct tm_link_told *t, const struct tm_link_told *by)
{
    t->applied = tm_max_u64(t->applied, by->applied);
    t->settled = tm_max_u64(t->settled, by->settled);
    t->collected = tm_max_u64(t->collected, by->collected);
    t->want = by->want;
}

/* LINK_TOLD, to the target, now and then: whoever stands at `upto` or behind it has got from this
 * source whatever was made up to `complete`. */
struct tm_link_tell {
    struct tm_link_stream stream;
    struct tm_link_mark upto;
    uint64_t complete;
    struct tm_link_told told;
};
TM_STATIC_ASSERT(sizeof(struct tm_link_tell) == 104, "frozen on the wire");

/* LINK_HEARD, to the source, now and then.  The session may be an old one. */
struct tm_link_hear {
    struct tm_link_stream stream;
    struct tm_link_told told;
};
TM_STATIC_ASSERT(sizeof(struct tm_link_hear) == 72, "frozen on the wire");

/* Name and text of a refusal, and whether it stands until somebody acts; an unknown number stands.
 * Static storage. */
const char *tm_link_refusal_name(unsigned reason);
const char *tm_link_refusal_text(unsigned reason);
bool tm_link_refusal_stands(unsigned reason);

/* Whether bytes from outside name a stream, and a position, that there can be. */
bool tm_link_stream_can_be(const struct tm_link_stream *s);
bool tm_link_position_can_be(const struct tm_link_position *p);
bool tm_link_mark_can_be(const struct tm_link_mark *m);
bool tm_link_batch_can_be(const struct tm_link_batch *b, size_t packed_len);

/* The body's beginning, if it is as long as `size` and names a stream; *rest is what follows. */
bool tm_link_take_head(struct tm_bytes body, void *out, size_t size, struct tm_bytes *rest);

/* Read a body.  TM_ERR_CORRUPT: it is none.  *packed and *text point into it. */
enum tm_err tm_link_open_decode(struct tm_bytes body, struct tm_link_open *out);
enum tm_err tm_link_at_decode(struct tm_bytes body, struct tm_link_at *out,
                              struct tm_link_mark marks[TM_LINK_MARKS]);
enum tm_err tm_link_batch_decode(struct tm_bytes body, struct tm_link_batch *out,
                                 struct tm_bytes *packed);
enum tm_err tm_link_receipt_decode(struct tm_bytes body, struct tm_link_receipt *out);
enum tm_err tm_link_tell_decode(struct tm_bytes body, struct tm_link_tell *out);
enum tm_err tm_link_hear_decode(struct tm_bytes body, struct tm_link_hear *out);
enum tm_err tm_link_moved_decode(struct tm_bytes body, struct tm_link_moved *out);
enum tm_err tm_link_refused_decode(struct tm_bytes body, struct tm_link_refused *out,
                                   struct tm_bytes *text);

/* Packs raw (at most TM_LINK_RAW_MAX bytes) into out, cap bytes of room.  Returns the length, or 0
 * if that does not pay: then raw itself is sent. */
uint32_t tm_link_pack(struct tm_bytes raw, uint8_t *out, uint32_t cap);

/* The batch's changes, checked: in `packed` itself or unpacked into buf, 8-aligned, of
 * TM_LINK_RAW_MAX bytes.  TM_ERR_CORRUPT. */
enum tm_err tm_link_unpack(const struct tm_link_batch *b, struct tm_bytes packed, uint8_t *buf,
                           struct tm_bytes *raw);

/* Of a change of a shadow: it says that a key or field is deleted, when it expires, or which
 * versions a field has. */
bool tm_link_is_tombstone(const struct tm_op *op);

/* Whether these are changes as a batch may have them: well-formed, each operation stamped by one
 * before it, none of those that clusters keep to themselves. */
enum tm_err tm_link_changes_check(struct tm_bytes raw);

/* Whether a partition of one cluster has slots in common with one of another, and how many streams
 * begin at it: target partitions first..last. */
bool tm_link_overlap(uint32_t source, uint32_t sources, uint32_t target, uint32_t targets);
void tm_link_targets(uint32_t source, uint32_t sources, uint32_t targets, uint32_t *first,
                     uint32_t *last);

#endif
