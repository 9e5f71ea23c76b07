/* link_in_internal.h: between the files of the target's end of streams.
 *
 *   link_in.c        streams, messages, answers, turns
 *   link_in_take.c   what a batch brings: whether it may, and into the store
 *   link_in_sweep.c  batches that begin with a flush
 *   link_in_sync.c   resynchronisation: ranges and states
 *   link_in_lacks.c  what expired here too soon
 *   link_in_dead.c   what could not be applied
 *   link_in_stage.c  batches that their source has not committed yet
 *   link_in_told.c   what sources say of how far they are
 *   link_in_purge.c  what the filter does not ship any more */
#ifndef TM_ACTORS_LINK_IN_INTERNAL_H
#define TM_ACTORS_LINK_IN_INTERNAL_H

#include "actors/link_batch.h"
#include "actors/link_in.h"
#include "actors/link_stage_wire.h"
#include "actors/link_sync_wire.h"

#define TM_LINK_IN_BUCKETS   256
#define TM_LINK_IN_PENDING   64
#define TM_LINK_IN_KEY_BYTES (4 * 65536)

/* A batch whose record is not committed yet. */
struct tm_link_in_pending {
    uint64_t record; /* index in the target's log */
    uint64_t index, hash, hlc;
    uint64_t staged, staged_hash; /* end of what is applied or staged then */
};

/* What is staged of a stream, in its order: each batch begins where the one before it ends, the
 * first one at the position. */
struct tm_link_in_staged {
    unsigned count;
    bool litter; /* the partition may hold some that do not belong there any more */
    uint64_t incarnation;
    struct {
        struct tm_link_mark from, to;
        uint64_t record; /* of the target's log, that holds it */
    } at[TM_LINK_MARKS];
};

/* What was seen of changes when they were checked. */
struct tm_link_in_seen {
    uint64_t newest; /* stamp among them */
    unsigned changes;
};

/* A batch that begins with a flush. */
struct tm_link_in_sweep {
    struct tm_link_batch batch;
    uint64_t cursor;
    uint16_t first, last;
    bool floored;
    struct tm_op_version stamp;
    uint32_t raw_len;
    struct tm_link_in_seen seen;
    uint8_t raw[] __attribute__((aligned(8)));
};

struct tm_link_in_stream {
    struct tm_link_in_stream *next;      /* in its bucket */
    struct tm_link_in_stream *busy_next; /* with something to look after each turn */
    bool busy;
    unsigned site;
    uint32_t source, target;
    struct tm_place from;
    struct tm_link_stream id; /* as the source gave it last */
    struct tm_link_in_pending pending[TM_LINK_IN_PENDING];
    unsigned first, count;
    uint64_t acked; /* what the last ACK said */
    uint64_t taken; /* end of the last batch that was taken or staged */
    uint64_t taken_hash;
    uint64_t safe, safe_hash; /* of what is applied or staged, what the last ACK said */
    bool looked;              /* `staged` is what the partition holds; NULL: nothing */
    struct tm_link_in_staged *staged;
    uint64_t written; /* the newest record of the target's log that changed what is staged */
    uint64_t stated;  /* the record that STATED waits for; 0: none */
    uint32_t round;
    struct tm_link_in_sweep *sweep;
    bool missed;      /* batches came meanwhile */
    uint32_t refused; /* for this reason the last time: said once */
    bool lacks;       /* the partition may have notes of what the source is to be asked for */
    uint64_t ask_at;
    uint64_t held;        /* the stamp that the clock does not let in yet; 0: none */
    uint64_t complete_at; /* where the stream stood when it was told so */
    uint64_t complete;    /* HLC: all that its source made up to there is here */
    struct tm_link_tell
        later; /* what will be so when the stream stands there; session 0: nothing */
    struct tm_link_told told;
    uint64_t incarnation;  /* whose that is */
    uint64_t purge_cursor; /* orders below were looked at */
    uint64_t seen_at;      /* something came from its source */
    uint64_t restated;     /* order of the last key that was taken anew (TM_LINK_ADOPTS), plus 1 */
};

struct tm_link_in {
    struct tm_link_in_config c;
    struct tm_link_in_stream *bucket[TM_LINK_IN_BUCKETS];
    struct tm_link_in_stream *busy;
    unsigned streams, sweeps;
    struct tm_link_dead dead[TM_LINK_DEAD_MAX];
    unsigned dead_count; /* the oldest first */
    uint64_t deads;      /* ever */
    uint8_t keys[TM_LINK_IN_KEY_BYTES];
    uint8_t stage[sizeof(struct tm_link_batch) + TM_LINK_STAGE_MAX] __attribute__((aligned(8)));
    struct tm_link_range range[TM_LINK_RANGES];
    struct tm_link_key key[TM_LINK_KEYS];
    uint64_t drop[TM_LINK_DROPS];
};

/* What one batch brings, while it is applied. */
struct tm_link_in_apply {
    struct tm_link_in *in;
    const struct tm_link_from *from;
    const struct tm_link_batch *batch;
    struct tm_bytes raw;
    unsigned first, count;       /* which of its changes */
    bool ends;                   /* with the position */
    struct tm_link_in_seen seen; /* of `raw` */
    uint32_t target;
    uint64_t past; /* HLC: what is not later came before, and is collected */
    bool told;     /* it is all that the source knows of these keys */
    bool promoted; /* the source is lost: nobody is there to be refused what may not be here */
    uint64_t won, lost;
};

/* ---- link_in.c ---- */

/* The stream has something to look after each turn. */
void tm_link_in_be_busy(struct tm_link_in *in, struct tm_link_in_stream *s);

/* A message for the stream's source; text: what follows the body. */
void tm_link_in_answer(struct tm_link_in *in, const struct tm_link_in_stream *s, uint16_t type,
                       const void *body, size_t len, struct tm_bytes text);

/* The stored position; all zero if there is none. */
struct tm_link_position tm_link_in_position(struct tm_link_in *in, const struct tm_link_from *from,
                                            const struct tm_link_in_stream *s);
void tm_link_in_tell_position(struct tm_link_in *in, const struct tm_link_from *from,
                              struct tm_link_in_stream *s, const struct tm_link_position *at);

/* REFUSED: counted, and logged where the reason is another one than last time. */
TM_PRINTF(4, 5)
void tm_link_in_refuse(struct tm_link_in *in, struct tm_link_in_stream *s,
                       enum tm_link_refusal reason, const char *fmt, ...);

/* In record `record` the stream came to `to`, with what is staged after it; the ACK is due when
 * that is committed.  before: where it stood. */
void tm_link_in_wait_for_commit(struct tm_link_in *in, struct tm_link_in_stream *s,
                                const struct tm_link_position *to, uint64_t before, uint64_t hlc,
                                uint64_t record);

/* ACK: what is committed, and what was taken. */
void tm_link_in_acknowledge(struct tm_link_in *in, const struct tm_link_in_stream *s,
                            const struct tm_link_in_pending *last);

/* Why a record could not be written, for the source to try again. */
void tm_link_in_refuse_err(struct tm_link_in *in, struct tm_link_in_stream *s, enum tm_err e);

/* ---- link_in_take.c ---- */

/* Looks at all changes. */
struct tm_link_in_seen tm_link_in_see(struct tm_bytes raw);

/* The same, and whether every key belongs to both partitions, and its type may be here; whether the
 * stamps are not too far ahead.  False: it was refused. */
bool tm_link_in_may_enter(struct tm_link_in *in, const struct tm_link_from *from,
                          struct tm_link_in_stream *s, struct tm_bytes raw,
                          struct tm_link_in_seen *seen);
bool tm_link_in_clock_is_well(struct tm_link_in *in, const struct tm_link_from *from,
                              struct tm_link_in_stream *s, uint64_t hlc);

/* Whether what comes after `from` is what comes next. */
static inline bool tm_link_in_follows(const struct tm_link_position *at,
                                      const struct tm_link_mark *from)
{
    return at->index == from->index && at->term == from->term && at->hash == from->hash;
}

/* Between begin and finish of a record: merges some of the changes of a struct tm_link_in_apply;
 * stores its batch's end as the position. */
void tm_link_in_fill(struct tm_store *store, void *arg);
void tm_link_in_put_position(struct tm_store *store, const struct tm_link_in_apply *a);

/* A batch that follows, from bytes outside: checked and taken, or refused. */
void tm_link_in_batch(struct tm_link_in *in, const struct tm_link_from *from,
                      struct tm_link_in_stream *s, const struct tm_link_position *at,
                      const struct tm_link_batch *batch, struct tm_bytes packed);

/* The same in one record, or in several where it does not fit into one; *record is the last. */
enum tm_err tm_link_in_write(struct tm_link_in *in, const struct tm_link_in_stream *s,
                             struct tm_link_in_apply *a, uint64_t *record);

/* All changes of a batch that may be taken, and the position, go into the store. */
void tm_link_in_take(struct tm_link_in *in, struct tm_link_in_stream *s,
                     struct tm_link_in_apply *a);

/* ---- link_in_sweep.c ---- */

/* The batch begins with a flush of these slots: it is taken in the turns to come. */
void tm_link_in_begin_sweep(struct tm_link_in *in, struct tm_link_in_stream *s,
                            const struct tm_link_in_apply *a, uint16_t first, uint16_t last);
void tm_link_in_end_sweep(struct tm_link_in *in, struct tm_link_in_stream *s);

/* Removes some of what was flushed; with the last of it takes the rest of the batch. */
void tm_link_in_go_on_sweeping(struct tm_link_in *in, struct tm_link_in_stream *s);

/* ---- link_in_sync.c ---- */

/* RANGES (those are in in->range) and STATE (the orders are in in->drop), from bytes outside. */
void tm_link_in_on_ranges(struct tm_link_in *in, const struct tm_link_from *from,
                          struct tm_link_in_stream *s, const struct tm_link_ranges *r);
void tm_link_in_on_state(struct tm_link_in *in, const struct tm_link_from *from,
                         struct tm_link_in_stream *s, const struct tm_link_position *at,
                         const struct tm_link_state_head *head, struct tm_bytes packed);

/* STATED: what the last STATE brought is committed. */
void tm_link_in_say_stated(struct tm_link_in *in, const struct tm_link_in_stream *s);

/* ---- link_in_stage.c ---- */

/* STAGE, COMMIT, UNSTAGE from bytes outside. */
void tm_link_in_on_stage(struct tm_link_in *in, const struct tm_link_from *from,
                         struct tm_link_in_stream *s, const struct tm_link_position *at,
                         const struct tm_link_staging *m, struct tm_bytes packed);
void tm_link_in_on_commit(struct tm_link_in *in, const struct tm_link_from *from,
                          struct tm_link_in_stream *s, const struct tm_link_position *at,
                          const struct tm_link_commit *m);
void tm_link_in_on_unstage(struct tm_link_in *in, const struct tm_link_from *from,
                           struct tm_link_in_stream *s, const struct tm_link_position *at,
                           const struct tm_link_unstage *m);

/* s->staged is what is staged of the stream that stands there.  False: memory is short. */
bool tm_link_in_look(struct tm_link_in *in, const struct tm_link_from *from,
                     struct tm_link_in_stream *s, const struct tm_link_position *at);

/* A batch that is committed at its source follows on `end`: so all before it is, and what is staged
 * is applied; *at is the position then.  False: it was answered. */
bool tm_link_in_apply_staged(struct tm_link_in *in, const struct tm_link_from *from,
                             struct tm_link_in_stream *s, struct tm_link_position *at,
                             const struct tm_link_mark *end);

/* Between begin and finish of a record that moves the position another way: nothing of the stream
 * stays staged.  And then what is known of it is to be looked at anew. */
void tm_link_in_unstage_all(struct tm_store *store, const struct tm_link_from *from,
                            uint32_t source);
void tm_link_in_forget_staged(struct tm_link_in_stream *s);

/* ---- link_in_lacks.c ---- */

/* Between begin and finish of a record: notes that all who ship the key are to be asked for it. */
void tm_link_in_note_lacks(struct tm_link_in *in, struct tm_store *store, uint32_t t,
                           struct tm_bytes key);

/* The stream's source has told all it knows of these keys. */
void tm_link_in_lacks_told(struct tm_store *store, const struct tm_link_from *from, uint32_t source,
                           const uint64_t *orders, uint32_t count);

/* Asks for what is noted, if that is due. */
void tm_link_in_ask_lacks(struct tm_link_in *in, struct tm_link_in_stream *s);

/* Between begin and finish of a record: notes that the source of from is to be asked for the key of
 * that order in t. */
void tm_link_in_note_asked(struct tm_link_in *in, struct tm_store *store,
                           const struct tm_link_from *from, uint32_t source, uint32_t t,
                           uint64_t order);

/* ---- link_in_dead.c ---- */

/* The first change of the part that a is at cannot be applied. */
void tm_link_in_bury(struct tm_link_in *in, const struct tm_link_in_stream *s,
                     const struct tm_link_in_apply *a, enum tm_err err);

/* ---- link_in_purge.c ---- */

/* Evicts some of what a narrower filter left behind, if there may be any. */
void tm_link_in_purge(struct tm_link_in *in, struct tm_link_in_stream *s);

/* ---- link_in_told.c ---- */

/* LINK_TOLD for a stream that stands there. */
void tm_link_in_told(struct tm_link_in_stream *s, const struct tm_link_position *at,
                     const struct tm_link_tell *tell);

/* Up to which stamp what comes behind that record is known to have come before over this stream,
 * and need not be kept. */
uint64_t tm_link_in_past(const struct tm_store *store, struct tm_link_in_stream *s,
                         const struct tm_link_mark *from);

/* HLC: up to there tombstones were given up here without waiting for the source, so that what it
 * sends with such a stamp may be of what was deleted, and is passed over; 0: none were. */
uint64_t tm_link_in_bar(const struct tm_store *store, const struct tm_link_from *from);

/* Whether that was so, and no operator has let the source go on since. */
bool tm_link_in_is_barred(const struct tm_store *store, const struct tm_link_from *from);

/* The stream, NULL: not known here. */
struct tm_link_in_stream *tm_link_in_find(struct tm_link_in *in, unsigned site, uint32_t source,
                                          uint32_t target);

#endif
