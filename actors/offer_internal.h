/* offer_internal.h: between the files of the offers.
 *
 *   offer.c        what was cut off here: life, cutting, offering
 *   offer_file.c   its files: storing, loading, removing, finding at boot
 *   offer_job.c    what others offer to a leader here: taking in, merging, answering */
#ifndef TM_ACTORS_OFFER_INTERNAL_H
#define TM_ACTORS_OFFER_INTERNAL_H

#include "actors/merge.h"
#include "actors/offer.h"
#include "actors/offer_image.h"
#include "actors/shard_internal.h"

#define TM_OFFER_JOBS 8

enum tm_offer_state {
    TM_OFFER_GATHERING, /* records are copied from the log */
    TM_OFFER_STORING,   /* the file is being written */
    TM_OFFER_STORED,    /* waits for its time */
    TM_OFFER_LOADING,   /* the file is being read */
    TM_OFFER_LOADED,    /* in memory: being sent, or waiting for the answer */
    TM_OFFER_REMOVING   /* the file is going */
};

struct tm_offer {
    struct tm_offer *next;
    struct tm_offers *owner;
    enum tm_offer_state state;
    struct tm_offer_head head; /* as in the image; while gathering: partition, cluster, fork */
    uint8_t *image;            /* NULL while it is only in its file */
    size_t length, cap;        /* of image */

    uint64_t from, to, end_hash; /* the suffix asked for, and the hash of record `to` */
    bool cut;                    /* it has left the log */
    bool found;                  /* at the start: it may be in the log still */
    bool empty;                  /* nothing in it, or nothing that could be kept */
    bool filed;                  /* there is a file */
    bool doomed;                 /* to be removed as soon as nothing is under way */
    bool refused;                /* then its file is kept under another name */
    bool rebase;                 /* its fork was cut off too: new_* is to take its place */
    uint64_t new_index, new_hash;

    struct tm_log_fetch fetch;
    bool fetching;
    struct tm_disk_op op;
    bool busy; /* op is under way */
    int32_t file;
    unsigned step;
    char name[TM_OFFER_NAME_MAX], other[TM_OFFER_NAME_MAX + 8];

    struct tm_place to_place;
    size_t sent;
    uint64_t deadline; /* LOADED: of the answer; STORED: not offered before */
};

struct tm_offer_job {
    struct tm_offers *owner; /* NULL: free */
    bool ended;              /* waits for its fetch only */
    struct tm_place from;
    uint32_t partition;
    uint64_t id;
    uint8_t *image;
    size_t have, length;
    struct tm_merge *merge;
    uint64_t term;    /* led in */
    uint64_t learned; /* of the own log */
    size_t write_max; /* source bytes of one record written */
    bool filled;      /* the merge wrote into the record under construction */
    bool more, written;
    uint64_t until;     /* to be committed before the answer */
    uint64_t deadline;  /* of its pieces */
    uint64_t resume_at; /* the log had no room: not before */
    struct tm_log_fetch fetch;
    bool fetching;
};

struct tm_offers {
    struct tm_shard *shard;
    struct tm_offer *list;
    uint64_t bytes;     /* of images */
    unsigned in_hand;   /* loading and loaded */
    bool kicked;        /* something may go on */
    uint64_t job_bytes; /* of the jobs' images */
    struct tm_offer_job jobs[TM_OFFER_JOBS];
};

enum { TM_OFFERED_MERGED, TM_OFFERED_REFUSED }; /* arg2 of OFFERED */

static inline uint64_t tm_offers_now(const struct tm_offers *o)
{
    return tm_ctx_now(o->shard->ctx);
}

/* ---- offer.c ---- */

/* The one way to change states; asserts the legal edges. */
void tm_offer_become(struct tm_offer *x, enum tm_offer_state state);
void tm_offer_drop_image(struct tm_offer *x);
void tm_offer_forget(struct tm_offers *o, struct tm_offer *x);
struct tm_offer *tm_offer_make(struct tm_offers *o);

/* The leader's word on an offer of this node. */
void tm_offer_answered(struct tm_offers *o, uint32_t partition, uint64_t id, uint64_t status);

/* ---- offer_file.c: each ends in a state by itself ---- */

void tm_offer_store(struct tm_offer *x);  /* STORED, with the image kept if that failed */
void tm_offer_load(struct tm_offer *x);   /* LOADED, or STORED and doomed if it is damaged */
void tm_offer_remove(struct tm_offer *x); /* forgotten */
enum tm_err tm_offer_find(struct tm_offers *o);

/* ---- offer_job.c ---- */

/* A piece of an offer came, or, from this node itself, all of it at once. */
void tm_offer_job_piece(struct tm_offers *o, struct tm_place from,
                        const struct tm_message_head *head, struct tm_bytes piece);
bool tm_offer_job_turn(struct tm_offers *o);
bool tm_offer_job_quiet(const struct tm_offers *o);
void tm_offer_job_free_all(struct tm_offers *o);

#endif
