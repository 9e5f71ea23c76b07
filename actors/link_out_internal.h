/* link_out_internal.h: between the files of the source's end of a stream.
 *
 *   link_out.c          states, sending, turns
 *   link_out_answers.c  what the target says
 *   link_out_shown.c    what is said of it: what stands, and until when */
#ifndef TM_ACTORS_LINK_OUT_INTERNAL_H
#define TM_ACTORS_LINK_OUT_INTERNAL_H

#include "actors/link_out.h"

#define TM_LINK_BACKOFF_MIN_NS TM_MS(20)
#define TM_LINK_BACKOFF_MAX_NS TM_SECONDS(2)
#define TM_LINK_STANDS_NS      TM_SECONDS(10) /* when what stands is asked about again */

static inline uint64_t tm_link_out_now(const struct tm_link_out *out)
{
    return tm_ctx_now(out->link->ctx);
}
static inline uint64_t tm_link_out_commit(const struct tm_link_out *out)
{
    return out->link->ops->commit(out->link->host, out);
}

/* The one way from state to state; something is due at next_at, UINT64_MAX: nothing by time. */
void tm_link_out_become(struct tm_link_out *out, enum tm_link_out_state state, uint64_t next_at);

/* What is to be shown of the stream is logged, if it is another thing than the last time. */
void tm_link_out_say(struct tm_link_out *out);

/* The target refuses nothing (any more): for good; since it let the stream speak; if it has taken
 * what it had refused, or nothing is left of that. */
void tm_link_out_accept(struct tm_link_out *out);
void tm_link_out_may_speak(struct tm_link_out *out);
void tm_link_out_look_taken(struct tm_link_out *out);

/* Nothing is under way any more. */
void tm_link_out_forget_flight(struct tm_link_out *out);

/* Asks after a while that doubles with each failure, of the present node or of the next one. */
void tm_link_out_ask_later(struct tm_link_out *out, bool elsewhere);

/* A batch was acknowledged so long after it was sent. */
void tm_link_out_paced(struct tm_link_outlet *link, uint64_t ns);

/* Answers to what was sent before do not count from now on. */
uint64_t tm_link_out_new_session(struct tm_link_out *out);

#endif
