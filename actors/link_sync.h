/* link_sync.h: the source's side of a resynchronisation (actors/link_sync_wire.h): one stream at a
 * time of a worker's.
 *
 * What is committed when it begins is walked in the order of keys; sums of ranges are compared
 * first, and of what differs the state is sent, under its own stamps, so that it may come twice and
 * beside what is written meanwhile.  Nothing at the target is wiped.  How far it came is kept in
 * the stream (tm_link_out.sync_…): after a loss it goes on from there, unless leadership here was
 * lost.
 *
 * Pure; one worker's thread. */
#ifndef TM_ACTORS_LINK_SYNC_H
#define TM_ACTORS_LINK_SYNC_H

#include "actors/link_out.h"
#include "actors/link_sync_wire.h"

#define TM_LINK_WALK 1024 /* keys of the source looked at in one round */

enum tm_link_sync_step {
    TM_LINK_SYNC_WALK,   /* the next ranges are to be summed */
    TM_LINK_SYNC_ASKED,  /* waits for DIFFERS */
    TM_LINK_SYNC_SEND,   /* has states to send */
    TM_LINK_SYNC_WAITING /* waits for STATED */
};

struct tm_link_sync {
    struct tm_link_out *out; /* whose turn it is; NULL: nobody's */
    enum tm_link_sync_step step;
    uint32_t round;
    uint64_t sent_at;
    uint64_t from, end; /* orders of this round */
    uint64_t past;      /* HLC: up to there one of the two has collected */
    struct tm_link_range range[TM_LINK_RANGES];
    unsigned ranges;
    struct tm_link_key key[2 * TM_LINK_WALK]; /* what the source has there */
    unsigned keys;
    struct tm_link_key theirs[TM_LINK_KEYS];
    unsigned theirs_count;
    uint64_t send[2 * TM_LINK_WALK]; /* orders whose state is to be sent, and how many are */
    unsigned sends, sent;
    unsigned skip; /* operations of send[sent] that were sent before */
    uint64_t drop[TM_LINK_KEYS];
    unsigned drops, dropped;
    bool looks; /* only compares (link_verify.h): its bytes are counted apart */
};

/* out begins, or goes on.  Nobody else's turn it is. */
void tm_link_sync_begin(struct tm_link_sync *y, struct tm_link_out *out);

/* The stream ends, or asks anew: the next one may have its turn. */
void tm_link_sync_end(struct tm_link_sync *y, const struct tm_link_out *out);

/* What comes next.  TM_ERR_AGAIN: nothing before `wait`; TM_ERR_CLOSED: the target is gone, or said
 * nothing in time. */
enum tm_err tm_link_sync_turn(struct tm_link_sync *y, uint64_t *wait);

/* DIFFERS or STATED for the stream whose turn it is.  True: the last state was taken. */
bool tm_link_sync_message(struct tm_link_sync *y, uint16_t type, struct tm_bytes body);

/* For who only compares, with y->out set: walks the orders from..to (up to TM_LINK_ORDERS, not
 * included), or as many as go into one message, and sends their sums.  As tm_link_out_ops.send. */
enum tm_err tm_link_sync_ask(struct tm_link_sync *y, uint64_t from, uint64_t to);

/* DIFFERS that answers it: y->send and y->drop are the orders, of those before y->end, of which the
 * source has something else than the target, or nothing.  False: it does not answer it. */
bool tm_link_sync_compared(struct tm_link_sync *y, struct tm_bytes body);

#endif
