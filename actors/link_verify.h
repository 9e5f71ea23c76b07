/* link_verify.h: compares what the two ends of a stream have, while it streams: nothing is sent but
 * sums and hashes (actors/link_sync_wire.h), and nothing is changed.
 *
 * All keys are walked once.  One that differs is a *suspect*: it may only be under way.  It is
 * looked at again when the target has all that was committed here at that moment, and some time has
 * passed; it differs if both ends have twice what they had, and still not the same.  A key that is
 * written all the time is given up as unsettled.
 *
 * One stream at a time.  Pure; one worker's thread. */
#ifndef TM_ACTORS_LINK_VERIFY_H
#define TM_ACTORS_LINK_VERIFY_H

#include "actors/link_sync.h"

#define TM_LINK_SUSPECTS_MAX 512

/* X(name, text) */
#define TM_LINK_DIFFERENCE_LIST(X)                                                                 \
    X(DIFFERS, "the two ends have it otherwise")                                                   \
    X(ONLY_SOURCE, "only the source has it")                                                       \
    X(ONLY_TARGET, "only the target has it: it may be the target's own")                           \
    X(OTHERS, "it has changes of further clusters, which this link does not carry")                \
    X(UNSETTLED, "it changed whenever it was looked at")

enum tm_link_difference_kind {
#define X(name, text) TM_LINK_DIFFERENCE_##name,
    TM_LINK_DIFFERENCE_LIST(X)
#undef X
};

/* "DIFFERS"; static storage. */
const char *tm_link_difference_name(enum tm_link_difference_kind kind);

struct tm_link_suspect {
    uint64_t order;
    uint64_t ours, theirs; /* sums of hashes, as of the last look */
    uint64_t index;        /* the target has to have everything up to there */
    uint64_t due, since;   /* not before; first seen */
    unsigned looks;
};

enum tm_link_verify_step {
    TM_LINK_VERIFY_WALK,  /* the next keys are to be compared */
    TM_LINK_VERIFY_LOOK,  /* all were; suspects are to be looked at again */
    TM_LINK_VERIFY_ASKED, /* waits for the target */
};

struct tm_link_verify {
    struct tm_link_sync y; /* y.out: the stream; NULL: none */
    enum tm_link_verify_step step;
    uint64_t cursor; /* orders below are compared */
    uint64_t theirs; /* the target's incarnation */
    uint64_t pace_ns, next_walk;
    struct tm_link_suspect suspect[TM_LINK_SUSPECTS_MAX];
    unsigned suspects;
    int looked;    /* the suspect that the target was asked about; -1: the walk */
    uint64_t keys; /* compared, of this stream */
    uint64_t more; /* suspects that there was no room for */
    /* A key that differs; empty for ONLY_TARGET, whose name only the target knows. */
    void (*found)(void *host, const struct tm_link_verify *v, enum tm_link_difference_kind kind,
                  uint64_t order, struct tm_bytes key);
    void *host;
};

/* The stream is compared from now on, a thousand keys every pace_ns at most.  theirs: the target's
 * incarnation, whose changes it has itself.  found and host are set. */
void tm_link_verify_begin(struct tm_link_verify *v, struct tm_link_out *out, uint64_t theirs,
                          uint64_t pace_ns);
void tm_link_verify_end(struct tm_link_verify *v);

/* What comes next.  TM_OK: all of it is compared; TM_ERR_AGAIN: nothing before `wait`;
 * TM_ERR_CLOSED: the stream does not stream, or the target says nothing: it cannot be compared. */
enum tm_err tm_link_verify_turn(struct tm_link_verify *v, uint64_t *wait);

/* DIFFERS for the stream.  False: it is not for this. */
bool tm_link_verify_message(struct tm_link_verify *v, struct tm_bytes body);

#endif
