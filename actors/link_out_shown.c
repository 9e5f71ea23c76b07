/* What is said of a stream: in the log once for each thing that comes to be so, and in figures the
 * same for as long as it is so.  A stream that stands asks again and again, and is not told of by
 * that: what was refused stays refused until the target has taken it, or nothing of it is left to
 * be sent.  Of leave to speak that is so with the next position that the target names; of what was
 * sent, with an acknowledgement beyond where sending began. */
#include "actors/link_out_internal.h"

enum tm_link_out_state tm_link_out_shown(const struct tm_link_out *out)
{
    bool asks = out->state == TM_LINK_OUT_ASK || out->state == TM_LINK_OUT_ASKED;
    if (out->refusal != TM_LINK_REFUSAL_NONE)
        return TM_LINK_OUT_REFUSED;
    bool stood = out->said == TM_LINK_OUT_DIVERGED || out->said == TM_LINK_OUT_SNAPSHOT;
    return asks && stood ? out->said : out->state;
}

void tm_link_out_say(struct tm_link_out *out)
{
    enum tm_link_out_state shown = tm_link_out_shown(out);
    if (shown == TM_LINK_OUT_ASK || shown == TM_LINK_OUT_ASKED ||
        out->refusal == TM_LINK_REFUSAL_BUSY) /* comes and goes with the target's load */
        return;
    if (shown == out->said && out->refusal == out->said_refusal)
        return;
    out->said = shown;
    out->said_refusal = out->refusal;
    tm_ctx_log(out->link->ctx, shown >= TM_LINK_OUT_REFUSED ? TM_LOG_WARN : TM_LOG_INFO, "link_out",
               "target=%s source_partition=%u target_partition=%u state=%s text=\"%s%s%s%s%s\"",
               out->link->target, out->source, out->target, tm_link_out_state_name(shown),
               tm_link_out_state_text(shown), shown == TM_LINK_OUT_REFUSED ? ": " : "",
               shown == TM_LINK_OUT_REFUSED ? tm_link_refusal_text((unsigned)out->refusal) : "",
               out->refusal_text[0] != '\0' ? ": " : "", out->refusal_text);
}

/* Whether that is held against whoever speaks, whatever it sends. */
static bool is_of_speaking(enum tm_link_refusal refusal)
{
    return refusal == TM_LINK_REFUSAL_PARTITIONS || refusal == TM_LINK_REFUSAL_INCARNATION ||
           refusal == TM_LINK_REFUSAL_EPOCH || refusal == TM_LINK_REFUSAL_UNLINKED ||
           refusal == TM_LINK_REFUSAL_PAUSED;
}

void tm_link_out_accept(struct tm_link_out *out)
{
    out->refusal = TM_LINK_REFUSAL_NONE;
    out->refusal_text[0] = '\0';
}

void tm_link_out_may_speak(struct tm_link_out *out)
{
    if (is_of_speaking(out->refusal))
        tm_link_out_accept(out);
}

void tm_link_out_look_taken(struct tm_link_out *out)
{
    if (out->refusal == TM_LINK_REFUSAL_NONE || is_of_speaking(out->refusal))
        return;
    bool stream = out->state == TM_LINK_OUT_STREAM;
    bool taken = tm_max_u64(out->acked, out->received) > out->begun.index;
    bool nothing_left = out->flight_count == 0 && out->scanned.index >= tm_link_out_commit(out);
    bool synced = out->state == TM_LINK_OUT_RESYNC && out->sync_cursor > out->refused_cursor;
    if (!synced && !(stream && (taken || nothing_left)))
        return;
    tm_link_out_accept(out);
    tm_link_out_say(out);
}
