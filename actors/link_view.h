/* link_view.h: how one stream stands, for people: what it waits for, and which record is the first
 * that the target does not have.
 *
 * Pure; one worker's thread.  Costs up to a thousand records' look: for whoever asks, not for every
 * turn. */
#ifndef TM_ACTORS_LINK_VIEW_H
#define TM_ACTORS_LINK_VIEW_H

#include "actors/link_out.h"

/* X(name, text).  The first that holds is what a stream waits for. */
#define TM_LINK_WAITS_LIST(X)                                                                      \
    X(NOTHING, "the target has all that there is")                                                 \
    X(PAUSED, "an operator has paused the link at its source")                                     \
    X(WAY, "no node of the target cluster is within reach")                                        \
    X(NODE, "the node that was taken for the target partition's leader is not within reach")       \
    X(REFUSED, "the target does not take it")                                                      \
    X(DIVERGED, "the target stands where this cluster's log never was")                            \
    X(SNAPSHOT,                                                                                    \
      "SNAPSHOT-REQUIRED: the target was away for longer than tombstoneMaxAge, and may hold what " \
      "was deleted here")                                                                          \
    X(TURN, "another stream is being resynchronised, this one comes after it")                     \
    X(RESYNC, "what the target lacks is found by comparing, and sent")                             \
    X(ANSWER, "the target was asked where the stream stands, and has not said it yet")             \
    X(AGAIN, "the target is asked again in a moment")                                              \
    X(WINDOW, "as much is under way as may be: the target has to commit some of it first")         \
    X(THROTTLE, "the link may send no more bytes in this second")                                  \
    X(DISK, "the next records are read from this node's disk")                                     \
    X(BATCH, "the next batch is being gathered")                                                   \
    X(ACK, "all was sent; the target has to commit it")

enum tm_link_waits {
#define X(name, text) TM_LINK_WAITS_##name,
    TM_LINK_WAITS_LIST(X)
#undef X
};

/* Name and text; static storage. */
const char *tm_link_waits_name(enum tm_link_waits waits);
const char *tm_link_waits_text(enum tm_link_waits waits);

/* What the stream itself does not know. */
struct tm_link_reach {
    bool any;  /* some node of the target is within reach */
    bool node; /* and so is the worker that the stream speaks to */
    /* A committed record that is in memory, or NULL. */
    const struct tm_record *(*peek)(void *host, const struct tm_link_out *out, uint64_t index);
    void *host;
};

struct tm_link_view {
    enum tm_link_waits waits;
    struct tm_link_lag lag;
    uint64_t first, commit; /* of the source partition's log: first is there, commit committed */
    unsigned percent;       /* RESYNC, TURN: done of it */
    uint64_t next_ms;       /* until something is done by time alone; UINT64_MAX: nothing will be */
    /* The first record that is shipped and that the target does not have for good; 0: there is
     * none, or it is not in memory (or far from where the target stands). */
    uint64_t record;
    uint64_t hlc;  /* of the record */
    char type[64]; /* of its first entity that is shipped */
    bool not_in_memory;
};

/* Fills *view with how the stream stands now.  Changes nothing of it; uses the link's `raw`. */
void tm_link_look(struct tm_link_out *out, const struct tm_link_reach *reach,
                  struct tm_link_view *view);

#endif
