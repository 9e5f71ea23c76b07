/* link_in.h: the target's end of streams: takes batches into the partitions that are led here.
 *
 * A batch is taken if it begins where the stream's stored position ends, by index and hash.  Its
 * changes are merged and the new position is stored in one record, so that a batch counts once
 * whatever is sent again; the acknowledgement leaves when that record is committed.  A batch that
 * does not follow is answered with the position.  What may not be taken is refused, with the reason
 * (link_wire.h); a change that can never be applied goes to the list of dead letters.
 *
 * A batch that begins with a FLUSH takes several records: what the source has flushed is removed
 * slice by slice, in turns of the worker, and the last record holds the rest and the position.
 * Removing is idempotent, so whoever leads after a crash begins again.
 *
 * A batch that the source has not committed yet (link_stage_wire.h) is kept aside, in a record of
 * its own, and applied with the next one, when the source has told that it is committed, or when
 * the source is promoted away from.
 *
 * What a change shows to have expired here too soon is noted in the partition (TM_SHADOW_LACKS) in
 * the same record, and its state asked for at every cluster that ships it, until it came.
 *
 * Pure: reaches partitions, wire and rules through struct tm_link_in_ops.  One worker's thread. */
#ifndef TM_ACTORS_LINK_IN_H
#define TM_ACTORS_LINK_IN_H

#include "actors/dispatch.h"
#include "actors/link_wire.h"
#include "runtime/counters.h"
#include "runtime/ctx.h"
#include "storage/store_link.h"

#define TM_LINK_DEAD_MAX 64 /* dead letters that are kept */

/* What this cluster knows of a link from another one. */
struct tm_link_from {
    uint8_t uuid[16];   /* the source cluster's */
    uint32_t sources;   /* its partitions */
    const char *source; /* its name */
    uint64_t skew_ms;   /* maxClockSkewMs */
    uint64_t released;  /* stamps up to this one are taken whatever the clock says; 0: none */
    uint64_t adopted;   /* an incarnation that may take the place of the one before; 0: none */
    uint64_t rewind;    /* positions stored before that stamp are forgotten; 0: none */
    uint64_t epoch;     /* this cluster was promoted: streams of older epochs are refused */
    bool paused;
    bool purge;    /* what the filter does not ship any more is evicted */
    bool transit;  /* the source ships also what others wrote */
    uint64_t own;  /* this cluster's incarnation */
    bool received; /* ackLevel: the source waits for no more than that the leader has a batch */
    const void *host;
    /* By residency: entities of that type may be here. */
    bool (*may_enter)(const void *host, struct tm_bytes type);
    /* The link's filter, which its source goes by: entities of that type come over it. */
    bool (*ships)(const void *host, struct tm_bytes type);
    uint64_t filter; /* hash of it, as the source makes one of its own (tm_link_filter) */
};

struct tm_link_in_ops {
    /* The link from that site; NULL: there is none. */
    const struct tm_link_from *(*from)(void *host, unsigned site);
    /* The link from the cluster of that uuid, if an operator has promoted this cluster in its
     * place; known also where the source was not met.  NULL: it was not.  */
    const struct tm_link_from *(*promoted)(void *host, const uint8_t uuid[16]);
    /* Partition t is led here and may be written to; else *block is the node that leads it, or
     * TM_LINK_NOBODY. */
    bool (*leads)(void *host, uint32_t t, unsigned *block);
    struct tm_store *(*store)(void *host, uint32_t t);
    /* One record of t, as tm_partition_write; its stamp is above `hlc`. */
    enum tm_err (*write)(void *host, uint32_t t, uint64_t hlc,
                         void (*fill)(struct tm_store *s, void *arg), void *arg, uint64_t *index);
    uint64_t (*commit)(void *host, uint32_t t);
    /* The node takes no more entities: --memory-limit. */
    bool (*out_of_memory)(void *host);
    /* A message for source partition p, to whoever sent last; may be lost. */
    void (*send)(void *host, unsigned site, struct tm_place to, uint32_t p, uint16_t type,
                 const struct tm_bytes *pieces, unsigned count);
    /* One operation of another cluster, inside `write`; nothing where the key is empty. */
    enum tm_link_outcome (*merge)(void *host, struct tm_store *s,
                                  const struct tm_link_change *change);
};

/* A change that could not be applied, however small a record it was tried in. */
struct tm_link_dead {
    uint64_t number; /* of those ever buried here */
    unsigned site;
    uint32_t source, target;
    uint64_t index; /* end of its batch */
    uint64_t at_ms;
    unsigned tries; /* how often its key was buried while it lay here */
    enum tm_err err;
    uint64_t order;  /* of the key (link_sync_wire.h) */
    uint8_t key_len; /* of what is kept of the key */
    uint8_t key[64];
};

struct tm_link_in;

struct tm_link_in_config {
    const struct tm_ctx *ctx;
    const struct tm_link_in_ops *ops;
    void *host;
    uint32_t targets; /* partitions of this cluster */
    uint64_t origin;  /* its incarnation: what it made itself is not to come back, and counted */
    uint8_t *raw;     /* TM_LINK_RAW_MAX bytes, 8-aligned, borrowed; used within a call only */
};

/* NULL if memory is short. */
struct tm_link_in *tm_link_in_new(const struct tm_link_in_config *config);
void tm_link_in_free(struct tm_link_in *in);

/* This cluster has that incarnation from now on. */
void tm_link_in_is(struct tm_link_in *in, uint64_t origin);

/* OPEN or BATCH for partition t from a worker of that site: bytes from outside. */
void tm_link_in_message(struct tm_link_in *in, unsigned site, struct tm_place from, uint16_t type,
                        uint32_t t, struct tm_bytes body);

/* Acknowledges what is committed, goes on with flushes; every turn.  True if there is more to do at
 * once. */
bool tm_link_in_turn(struct tm_link_in *in);

/* What this cluster knows of the link from that site has changed: its streams are told where they
 * stand by it. */
void tm_link_in_changed(struct tm_link_in *in, unsigned site);

/* What was asked for and did not come is asked for again, and some of what is to be purged goes;
 * some ten times a second. */
void tm_link_in_tick(struct tm_link_in *in);

/* What the clusters behind a site have said that concerns partition t. */
struct tm_link_reached {
    uint64_t complete; /* HLC: all that came over its streams, or would, up to there is here */
    struct tm_link_told told;
};

/* The least that the site's streams to t have told; nothing where one has not. */
struct tm_link_reached tm_link_in_reached(struct tm_link_in *in, unsigned site, uint32_t t);

/* When something came last over the site's streams to t; 0: nothing did since t is led here. */
uint64_t tm_link_in_seen(struct tm_link_in *in, unsigned site, uint32_t t);

/* Tells the sources of the site's streams to t. */
void tm_link_in_hear(struct tm_link_in *in, unsigned site, uint32_t t,
                     const struct tm_link_told *told);

/* Partition t is led here: what is staged there of clusters that were promoted away from is
 * applied, as much as can be now.  After each promotion, when t is led, and now and then. */
void tm_link_in_promote(struct tm_link_in *in, uint32_t t);

/* Partition t is not led here any more: what was under way is forgotten. */
void tm_link_in_lost(struct tm_link_in *in, uint32_t t);

/* One stream, as this end knows it. */
struct tm_link_in_view {
    unsigned site;
    uint32_t source, target;
    uint32_t refusal;                 /* of the last answer (link_wire.h); 0: it was taken */
    uint64_t held;                    /* stamp held back because of its clock; 0: none */
    unsigned waiting;                 /* batches taken, not committed yet */
    bool flushing;                    /* a FLUSHALL is being carried out */
    struct tm_link_position position; /* stored */
    uint64_t incarnation, epoch;      /* as the source says */
};

/* Calls visit for each stream of a partition that is led here. */
void tm_link_in_each(struct tm_link_in *in,
                     void (*visit)(void *host, const struct tm_link_in_view *view), void *host);

/* Of the streams from one site to partitions that are led here. */
struct tm_link_in_counts {
    uint64_t streams;
    uint64_t refused; /* by the last answer */
    uint64_t why;     /* enum tm_link_refusal, of some stream of these */
    uint64_t held;    /* held back because of the source's clock */
    uint64_t dead;    /* dead letters that are kept, also of partitions that were led here */
};

/* Of sites 0..sites - 1. */
void tm_link_in_count(const struct tm_link_in *in, struct tm_link_in_counts *counts,
                      unsigned sites);

/* Streams known here now, and the dead letters of late, the oldest first (i below the number that
 * tm_link_in_deads gives). */
unsigned tm_link_in_streams(const struct tm_link_in *in);
unsigned tm_link_in_deads(const struct tm_link_in *in);
const struct tm_link_dead *tm_link_in_dead(const struct tm_link_in *in, unsigned i);

/* The dead letter of that number is tried again: its source is asked for the key as it is now, with
 * what the change brought, and that is merged as the change would have been; if it still does not
 * fit it is buried again.  It goes from the list, unless that fails: TM_ERR_NOTFOUND: there is
 * none; TM_ERR_NOTLEADER: its partition is not led here; TM_ERR_CLOSED: there is no such link any
 * more; else why nothing can be written. */
enum tm_err tm_link_in_retry(struct tm_link_in *in, uint64_t number);

/* It goes from the list.  False: there is none. */
bool tm_link_in_drop(struct tm_link_in *in, uint64_t number);

#endif
