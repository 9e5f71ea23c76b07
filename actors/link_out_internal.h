/* link_out_internal.h: between the files of the source's end of a stream.
 *
 *   link_out.c          states, sending, turns
 *   link_out_answers.c  what the target says
 *   link_out_stage.c    what is not committed yet
 *   link_out_shown.c    what is said of it: what stands, and until when */
#ifndef TM_ACTORS_LINK_OUT_INTERNAL_H
#define TM_ACTORS_LINK_OUT_INTERNAL_H

#include "actors/link_batch.h"
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

struct tm_link_stream tm_link_out_stream(const struct tm_link_out *out);

/* ---- link_out_stage.c ---- */

/* Up to where records may be shipped. */
uint64_t tm_link_out_limit(const struct tm_link_out *out);

/* Whether the record, not committed yet, may go into the batch. */
bool tm_link_out_may_stage(const struct tm_link_builder *b, const struct tm_record *record);

/* Sends a batch to be staged, and tells what has come to be committed. */
enum tm_err tm_link_out_stage(struct tm_link_out *out, const struct tm_link_batch *batch,
                              struct tm_bytes packed);

/* The target was told that all up to there is committed. */
void tm_link_out_told_through(struct tm_link_out *out, const struct tm_link_mark *through);

/* Tells it what is committed by now, if no batch has done so for a moment; when that is due. */
uint64_t tm_link_out_notice(struct tm_link_out *out);

/* It has all up to there for good. */
void tm_link_out_is_staged(struct tm_link_out *out, uint64_t index);

/* How many of the marks that the target told lie in this log, with all before them. */
unsigned tm_link_out_known(const struct tm_link_out *out, const struct tm_link_mark *marks,
                           unsigned count);

/* Whether marks that are not in this log were made by a later leader: then this one is none. */
bool tm_link_out_is_outdated(const struct tm_link_out *out, const struct tm_link_mark *last);

/* Batches of these ends are staged there, the first `durable` for good; what comes behind them, if
 * anything, has to go. */
void tm_link_out_take_marks(struct tm_link_out *out, const struct tm_link_at *at,
                            const struct tm_link_mark *marks, unsigned known);

/* Nothing is under way any more. */
void tm_link_out_forget_flight(struct tm_link_out *out);

/* Asks after a while that doubles with each failure, of the present node or of the next one. */
void tm_link_out_ask_later(struct tm_link_out *out, bool elsewhere);

/* A batch was acknowledged so long after it was sent. */
void tm_link_out_paced(struct tm_link_outlet *link, uint64_t ns);

/* Answers to what was sent before do not count from now on. */
uint64_t tm_link_out_new_session(struct tm_link_out *out);

#endif
