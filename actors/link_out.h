/* link_out.h: the source's end of one stream: from a partition that is led here to one of the
 * target cluster's.
 *
 * It keeps no position: it asks the target for it (OPEN), compares it with the log, and sends what
 * follows, as many batches at a time as the window holds.  Whatever goes wrong on the way or at the
 * target ends in asking again: a lost message (no acknowledgement in time), a new leader there
 * (MOVED, POSITION), a node that is gone.  A new leader here begins anew.  Records of which nothing
 * is shipped are passed over in silence; they are told only if the log is to be given up (move).
 *
 *     ASK --OPEN--> ASKED --POSITION--> STREAM
 *      ^--no answer, MOVED, gone--'        | no ACK, MOVED, gone: ASK
 *      any --REFUSED--> REFUSED --a while later--> ASK
 *      ASKED --position not in the log any more, or of another filter--> BEHIND
 *      BEHIND --its turn--> RESYNC --done--> ASK
 *      ASKED --position never was in the log--> DIVERGED --a while later--> ASK
 *      ASKED --away for too long, and not rewound--> SNAPSHOT --a while later--> ASK
 *
 * Where writes wait for the target (stages), what is written ships before it is committed, and is
 * staged there (link_stage_wire.h); what has come to be committed is told with the next batch, or
 * in a moment.
 *
 * Pure: wire, log and time through ctx and struct tm_link_out_ops.  One worker's thread. */
#ifndef TM_ACTORS_LINK_OUT_H
#define TM_ACTORS_LINK_OUT_H

#include "actors/link.h"
#include "actors/link_stage_wire.h"
#include "net/fabric.h"
#include "storage/store.h"
#include "runtime/counters.h"
#include "runtime/ctx.h"

#define TM_LINK_WINDOW 32 /* batches under way, or staged, at most */
TM_STATIC_ASSERT(TM_LINK_WINDOW <= TM_LINK_MARKS, "the target can stage all that is under way");

/* X(name, text) */
#define TM_LINK_OUT_STATE_LIST(X)                                                                  \
    X(ASK, "about to ask the target where the stream stands")                                      \
    X(ASKED, "waits for the target to say where the stream stands")                                \
    X(STREAM, "ships what is committed")                                                           \
    X(REFUSED, "the target does not take it")                                                      \
    X(BEHIND, "the log does not reach back to where the target stands")                            \
    X(RESYNC, "sends what the target lacks, beside the log")                                       \
    X(DIVERGED, "the target stands where this cluster's log never was")                            \
    X(SNAPSHOT,                                                                                    \
      "SNAPSHOT-REQUIRED: the target was away for longer than tombstoneMaxAge, and may hold what " \
      "was deleted here")

enum tm_link_out_state {
#define X(name, text) TM_LINK_OUT_##name,
    TM_LINK_OUT_STATE_LIST(X)
#undef X
};

/* The state's name and text; static storage. */
const char *tm_link_out_state_name(enum tm_link_out_state state);
const char *tm_link_out_state_text(enum tm_link_out_state state);

struct tm_link_out;
struct tm_link_sync;

struct tm_link_out_ops {
    /* A message to the target partition's worker on that node; fails as tm_link_way_send. */
    enum tm_err (*send)(void *host, struct tm_link_out *out, unsigned block, uint16_t type,
                        const struct tm_bytes *pieces, unsigned count);
    /* The source partition's log.  first: the first index that may be there.  meta: as
     * tm_log_term_at and tm_log_hash_at, together; index 0 is (0, 0).  last: of what is written,
     * committed or not.  record: one of these, valid until the next call; TM_ERR_AGAIN: it is being
     * read, `turn` is to be called again then; TM_ERR_NOTFOUND: it is not there (any more), or is
     * not committed and not in memory. */
    uint64_t (*first)(void *host, const struct tm_link_out *out);
    uint64_t (*commit)(void *host, const struct tm_link_out *out);
    uint64_t (*last)(void *host, const struct tm_link_out *out);
    bool (*meta)(void *host, const struct tm_link_out *out, uint64_t index, uint64_t *term,
                 uint64_t *hash);
    enum tm_err (*record)(void *host, const struct tm_link_out *out, uint64_t index,
                          const struct tm_record **record);
    /* Tombstones were given up without waiting for the target, which does not have record *index
     * of this log by way of it: then it has to take this cluster's state in the place of what it
     * has from before *bar (HLC).  False: not so.  NULL: never. */
    bool (*absent)(void *host, const struct tm_link_out *out, uint64_t *index, uint64_t *bar);
    /* This cluster made that stamp, or had seen it, before: what it makes from now on is later. */
    void (*observe)(void *host, const struct tm_link_out *out, uint64_t hlc);
    /* The source partition's entities. */
    struct tm_store *(*store)(void *host, const struct tm_link_out *out);
};

/* How far the target is, and whether the way to it is full: what tells whether packing pays. */
struct tm_link_pace {
    uint64_t quickest, before; /* a batch until it was acknowledged, ns: in this span of time and in
                                  the one before; 0: none was */
    uint64_t since;            /* this span began */
    uint64_t full_until;       /* the way was full a moment ago */
    uint64_t held_until; /* it was full just now, to that node: no stream sends there before */
    unsigned held_block;
};

/* A link to another cluster, as all its streams on one worker see it. */
struct tm_link_outlet {
    const struct tm_ctx *ctx;
    const struct tm_link_out_ops *ops;
    void *host;
    const char *target; /* the cluster's name */
    struct tm_link_filter filter;
    struct tm_link_limits limits;
    uint64_t rate;                /* of all workers together, in bytes a second; 0: no bound */
    uint64_t incarnation, epoch;  /* of this cluster */
    uint32_t sources, targets;    /* partitions of the two clusters */
    uint8_t blocks[TM_NODES_MAX]; /* the target's nodes */
    unsigned block_count;         /* 1.. */
    bool backfill;                /* what a wider filter adds is shipped from the beginning */
    bool paused;                  /* nothing new is sent; what is under way is taken note of */
    bool plain;                   /* batches are never packed */
    struct tm_link_pace pace;
    bool prompt;               /* synchronous: what there is to be sent waits for nothing */
    bool stages;               /* and it is not waited for until it is committed */
    struct tm_link_sync *sync; /* shared by the worker's links (link_sync.h) */
    uint8_t *raw, *packed;     /* TM_LINK_RAW_MAX bytes each, shared by the worker's links */
    int64_t tokens;            /* bytes that may be sent now; below 0: too many were */
    uint64_t refilled_at;
    uint64_t round_at; /* when streams began to send what they had, the last time */
};

/* A batch under way. */
struct tm_link_flight {
    struct tm_link_position to;
    uint64_t sent_at;
    uint64_t oldest_ms; /* when the first record in it was written */
    uint32_t bytes;
    uint32_t changes;
    bool staged; /* it was not committed when it left */
};

struct tm_link_out {
    struct tm_link_outlet *link;
    void *log; /* for ops: whose log */
    uint32_t source, target;
    enum tm_link_out_state state;
    unsigned block;      /* the node that is taken for the target's leader */
    uint64_t session;    /* of the newest OPEN, or of the last time that sending began anew */
    uint64_t opened;     /* the session before it, of the answer after which sending began */
    uint64_t next_at;    /* when something is due by time; UINT64_MAX: nothing is */
    uint64_t backoff_ns; /* how long the next failure waits */
    uint64_t acked;      /* the target has everything up to this index for good */
    uint64_t received;   /* and its leader up to this one */
    uint64_t staged;     /* it has it, applied or staged, for good up to this one */
    uint64_t live;       /* the newest that is staged there and in this log, when it was asked */
    unsigned staging;    /* batches under way that are staged */
    struct tm_link_mark through;     /* of these, those up to there were told to be committed, */
    uint64_t through_at;             /* then */
    uint64_t notice_at;              /* when it is told of the others; 0: there are none */
    uint64_t stage_after;            /* nothing is staged before */
    struct tm_link_position begun;   /* sending began anew there */
    struct tm_link_position sent;    /* the end of the last batch that was sent */
    struct tm_link_position scanned; /* between `sent` and this nothing is to be shipped */
    struct tm_link_flight flight[TM_LINK_WINDOW]; /* a ring: sent, not acknowledged */
    unsigned flight_first, flight_count;
    uint64_t flight_bytes;
    struct tm_link_position sync_to; /* where the stream goes on after a resynchronisation; index 0:
                                        none is under way */
    struct tm_link_mark sync_stands; /* where the target stood */
    uint64_t sync_cursor;            /* orders below are done (link_sync_wire.h) */
    uint64_t sync_hlc;               /* newest stamp when it began */
    uint64_t sync_bar; /* HLC: what the target has from before it goes, if not named; 0: it stays */
    uint64_t bar;      /* what the next one is to have as sync_bar */
    uint64_t begun_at; /* sending began anew */
    uint64_t waiting_since;  /* when the first record after `scanned` was seen; 0: none waits */
    uint64_t bytes_a_record; /* that one took in recent batches */
    bool move;               /* `acked` is to follow `scanned` */
    enum tm_link_refusal refusal; /* by the target, which has not taken it since */
    char refusal_text[TM_LINK_REFUSAL_TEXT_MAX + 1];
    uint64_t refused_cursor;     /* sync_cursor then */
    enum tm_link_out_state said; /* in the log, the last time */
    enum tm_link_refusal said_refusal;
    uint64_t delay_ms; /* as of the last ACK */
    uint64_t acked_at;
    struct tm_link_told heard, told; /* from the target, and to it */
    uint64_t told_complete, told_at;
    uint64_t seen_at; /* something came from the target; 0: nothing yet */
};

/* How far the target is behind; 0 all over where nothing waits. */
struct tm_link_lag {
    uint64_t records, bytes, age_ms, delay_ms;
};

/* This worker leads that many of the source's partitions, and may send as large a share of the
 * link's rate, one byte a second at least: limits.bytes_per_second becomes that. */
void tm_link_outlet_share(struct tm_link_outlet *link, uint32_t led);

/* Begins to ask.  link, and what `log` is, outlive the stream. */
void tm_link_out_init(struct tm_link_out *out, struct tm_link_outlet *link, void *log,
                      uint32_t source, uint32_t target);

/* What each message of the stream begins with (link_wire.h): who it is. */
struct tm_link_stream tm_link_out_stream(const struct tm_link_out *out);

/* The stream ends. */
void tm_link_out_end(struct tm_link_out *out);

/* What is due: by time, by new records, by a record that was read.  As often as that happens. */
void tm_link_out_turn(struct tm_link_out *out);

/* The state as it is shown: REFUSED from a refusal on until the target has taken what it refused,
 * or nothing of it is left, and DIVERGED until it stands in the log, SNAPSHOT until an operator has
 * spoken, however often they are asked about meanwhile. */
enum tm_link_out_state tm_link_out_shown(const struct tm_link_out *out);

/* When the next turn is due by time alone. */
uint64_t tm_link_out_deadline(const struct tm_link_out *out);

/* POSITION, ACK, MOVED or REFUSED for this stream from node `block`: bytes from outside. */
void tm_link_out_message(struct tm_link_out *out, unsigned block, uint16_t type,
                         struct tm_bytes body);

/* The node is there (again).  The node is gone: whatever it was sent is lost. */
void tm_link_out_up(struct tm_link_out *out, unsigned block);
void tm_link_out_down(struct tm_link_out *out, unsigned block);

/* The log has to keep what comes after this record for the stream. */
uint64_t tm_link_out_needs(const struct tm_link_out *out);

/* Records up to `index` are to be given up: if that is because the target was not told that it
 * needs none of them, it is told. */
void tm_link_out_move(struct tm_link_out *out, uint64_t index);

/* Asks anew at once: the rules changed, an operator wants it, it was resynchronised. */
void tm_link_out_restart(struct tm_link_out *out);

/* The target has all of the stream up to this index for good, if only staged, or its leader has
 * (`received`), what is not shipped included; 0: not known, for it does not stream.  Falls where it
 * is asked anew. */
uint64_t tm_link_out_passed(const struct tm_link_out *out, bool received);

/* The target may be told that whoever stands at record `index` has got all that was made up to
 * `complete`, and what the source says of itself: said if the stream has come so far, and either it
 * is news or nothing was said for long. */
void tm_link_out_tell(struct tm_link_out *out, uint64_t index, uint64_t complete,
                      const struct tm_link_told *told);

/* How much of the stream the target does not have for good. */
struct tm_link_lag tm_link_out_lag(const struct tm_link_out *out);

#endif
