/* link_batch.h: a batch under way: what committed records of one partition hold for one partition
 * of the target cluster.
 *
 * Of each record the changes are taken whose key belongs to the target partition, whose type the
 * rules ship, and of these the operations whose origin is forwarded; each under its own stamp. What
 * clusters keep to themselves (of shadows all but tombstones, expiries that happened, MERGED marks,
 * what has no origin) stays.  A batch ends at the end of a record, so its end moves on whatever was
 * left out.
 *
 * A FLUSH is the first change of a batch: SET_FIELD of the shadow entity of the empty key, field
 * 'F' + u16 first slot + u16 last slot.  Pure; the buffer is the caller's. */
#ifndef TM_ACTORS_LINK_BATCH_H
#define TM_ACTORS_LINK_BATCH_H

#include "actors/link.h"
#include "actors/link_wire.h"

struct tm_link_builder {
    const struct tm_link_filter *filter;
    struct tm_link_stream stream;
    struct tm_link_mark from;
    struct tm_link_position to;
    uint8_t *buf;
    uint32_t cap, used;
    uint64_t changes;                 /* taken so far */
    uint64_t skipped;                 /* held back by the rules or by their origin */
    uint64_t stamp_hlc, stamp_origin; /* of the last operation taken */
    uint64_t type_hash;               /* of the type asked about last, and the answer */
    bool type_ships;
    bool whole; /* all keys of the source partition are the target partition's */
};

/* Begins after `from` (of that stream's position, or all zero) in a buffer of cap bytes, at most
 * TM_LINK_RAW_MAX.  All are borrowed. */
void tm_link_builder_begin(struct tm_link_builder *b, const struct tm_link_filter *filter,
                           const struct tm_link_stream *stream, const struct tm_link_position *from,
                           uint8_t *buf, uint32_t cap);

/* Takes the next record, checked and committed, of index to.index + 1.  TM_ERR_FULL: there is no
 * room for it beside what is there; it was not taken, and goes into the next batch.  An empty
 * builder of TM_LINK_RAW_MAX bytes takes any record. */
enum tm_err tm_link_builder_add(struct tm_link_builder *b, const struct tm_record *record);

/* The changes so far. */
static inline struct tm_bytes tm_link_builder_raw(const struct tm_link_builder *b)
{
    return tm_bytes_of(b->buf, b->used);
}

/* The slots of a FLUSH change.  False: it is another change. */
bool tm_link_flush_slots(const struct tm_change *change, uint16_t *first, uint16_t *last);

#define TM_LINK_FLOOR_NAME (4 + 64)

/* Writes the name of the floor (tm_store_set_floor) that a FLUSH leaves at a target: these slots,
 * of the types that the source of that name ships.  The result lies in out. */
struct tm_bytes tm_link_floor_name(uint16_t first, uint16_t last, const char *source,
                                   uint8_t out[TM_LINK_FLOOR_NAME]);

/* Reads such a name; *source points into it.  False: it is none. */
bool tm_link_floor_read(struct tm_bytes name, uint16_t *first, uint16_t *last,
                        struct tm_bytes *source);

#endif
