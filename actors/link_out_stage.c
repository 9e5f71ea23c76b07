/* The happy path: what is written leaves as a batch to be staged; when it has come to be committed,
 * the next batch says so, or, if there is none for a moment, a notice.
 *
 * A new leader takes over what is staged by the marks that the target tells: those that lie in its
 * log are its own batches from then on, what follows them never was committed. */
#include "actors/link_out_internal.h"

#define NOTICE_NS TM_MS(2) /* how long a notice waits for a batch to go with */
#define FULL_NS   TM_MS(2)
#define NEVER     UINT64_MAX
#define MARGIN    256 /* what a record may grow by in a batch: its stamp, what it is about */

static const struct tm_link_flight *flight_at(const struct tm_link_out *out, unsigned i)
{
    return &out->flight[(out->flight_first + i) % TM_LINK_WINDOW];
}

uint64_t tm_link_out_limit(const struct tm_link_out *out)
{
    const struct tm_link_outlet *link = out->link;
    uint64_t commit = tm_link_out_commit(out);
    if (!link->stages || tm_link_out_now(out) < out->stage_after)
        return tm_max_u64(commit, out->scanned.index);
    return tm_max_u64(commit, link->ops->last(link->host, out));
}

/* A flush is carried out in several records, which has to wait until it is certain. */
bool tm_link_out_may_stage(const struct tm_link_builder *b, const struct tm_record *record)
{
    return record->kind != TM_RECORD_FLUSH &&
           (uint64_t)b->used + record->length + MARGIN <= TM_LINK_STAGE_MAX;
}

/* The newest batch that was staged and is committed by now. */
static struct tm_link_mark committed(const struct tm_link_out *out)
{
    uint64_t commit = tm_link_out_commit(out);
    struct tm_link_mark m = {0};
    for (unsigned i = 0; i < out->flight_count && flight_at(out, i)->to.index <= commit; i++) {
        const struct tm_link_flight *f = flight_at(out, i);
        if (f->staged)
            m = (struct tm_link_mark){f->to.index, f->to.term, f->to.hash};
    }
    return m;
}

void tm_link_out_told_through(struct tm_link_out *out, const struct tm_link_mark *through)
{
    if (through->index <= out->through.index)
        return;
    out->through = *through;
    out->through_at = tm_link_out_now(out);
    out->notice_at = 0;
}

enum tm_err tm_link_out_stage(struct tm_link_out *out, const struct tm_link_batch *batch,
                              struct tm_bytes packed)
{
    struct tm_link_outlet *link = out->link;
    struct tm_link_staging m = {.batch = *batch, .through = committed(out)};
    struct tm_bytes pieces[2] = {tm_bytes_of(&m, sizeof m), packed};
    enum tm_err e = link->ops->send(link->host, out, out->block, TM_MESSAGE_LINK_STAGE, pieces, 2);
    if (e == TM_OK)
        tm_link_out_told_through(out, &m.through);
    return e;
}

void tm_link_out_is_staged(struct tm_link_out *out, uint64_t index)
{
    uint64_t sent_at = 0;
    for (unsigned i = 0; i < out->flight_count && flight_at(out, i)->to.index <= index; i++)
        sent_at = flight_at(out, i)->staged ? flight_at(out, i)->sent_at : 0;
    if (sent_at != 0)
        tm_link_out_paced(out->link, tm_link_out_now(out) - sent_at);
    out->staged = index;
}

uint64_t tm_link_out_notice(struct tm_link_out *out)
{
    struct tm_link_outlet *link = out->link;
    struct tm_link_commit m = {.stream = tm_link_out_stream(out), .through = committed(out)};
    uint64_t now = tm_link_out_now(out);
    bool urgent = out->flight_count >= TM_LINK_WINDOW / 2 ||
                  out->flight_bytes >= link->limits.window_bytes / 2;
    if (m.through.index <= out->through.index)
        return NEVER;
    if (out->notice_at == 0)
        out->notice_at = now + NOTICE_NS;
    if (now < out->notice_at && !urgent)
        return out->notice_at;
    struct tm_bytes piece = tm_bytes_of(&m, sizeof m);
    enum tm_err e = link->ops->send(link->host, out, out->block, TM_MESSAGE_LINK_COMMIT, &piece, 1);
    if (e == TM_OK)
        tm_link_out_told_through(out, &m.through);
    else if (e == TM_ERR_CLOSED)
        tm_link_out_ask_later(out, true);
    return e == TM_OK ? NEVER : now + FULL_NS;
}

/* ---- a new leader ---- */

unsigned tm_link_out_known(const struct tm_link_out *out, const struct tm_link_mark *marks,
                           unsigned count)
{
    const struct tm_link_outlet *link = out->link;
    uint64_t term, hash;
    while (count > 0) {
        const struct tm_link_mark *m = &marks[count - 1];
        if (link->ops->meta(link->host, out, m->index, &term, &hash) && term == m->term &&
            hash == m->hash)
            break;
        count--;
    }
    return count;
}

/* Who leads has written a record of its own term. */
static uint64_t own_term(const struct tm_link_out *out)
{
    const struct tm_link_outlet *link = out->link;
    uint64_t term = 0, hash;
    (void)link->ops->meta(link->host, out, link->ops->last(link->host, out), &term, &hash);
    return term;
}

bool tm_link_out_is_outdated(const struct tm_link_out *out, const struct tm_link_mark *last)
{
    return last->term > own_term(out);
}

static void unstage(struct tm_link_out *out, const struct tm_link_mark *keep)
{
    struct tm_link_outlet *link = out->link;
    struct tm_link_unstage m = {
        .stream = tm_link_out_stream(out), .keep = *keep, .term = own_term(out)};
    struct tm_bytes piece = tm_bytes_of(&m, sizeof m);
    if (link->ops->send(link->host, out, out->block, TM_MESSAGE_LINK_UNSTAGE, &piece, 1) != TM_OK)
        tm_link_out_ask_later(out, false);
}

void tm_link_out_take_marks(struct tm_link_out *out, const struct tm_link_at *at,
                            const struct tm_link_mark *marks, unsigned known)
{
    uint64_t now = tm_link_out_now(out);
    struct tm_link_mark keep = {at->position.index, at->position.term, at->position.hash};
    out->through = (struct tm_link_mark){0};
    for (unsigned i = 0; i < known && i < TM_LINK_WINDOW; i++) {
        keep = marks[i];
        out->sent.index = keep.index;
        out->sent.term = keep.term;
        out->sent.hash = keep.hash;
        out->flight[i] = (struct tm_link_flight){.to = out->sent, .sent_at = now, .staged = true};
        out->flight_count = out->staging = i + 1;
        if (i < at->durable)
            out->staged = keep.index;
    }
    out->begun = out->scanned = out->sent;
    if (at->marks > known)
        unstage(out, &keep);
}
