/* Appending.  Records are copied behind each other into the staged block's buffer, whose segment
 * and offset are settled when it is begun, so that a record's place is known at once.  A block
 * that would outgrow its segment or its buffer is sealed and the next one begun, in the next
 * segment if need be.  plan() decides all of that without changing anything: tm_wal_room asks it
 * and tm_wal_append acts on it.
 *
 * Full: effects must leave the reserve.  While a segment is being prepared the answer is FULL (a
 * matter of moments); when there is no space for one it is NOSPACE. */
#include "storage/wal.h"

#include "storage/record.h"
#include "storage/wal_internal.h"

/* For a block of our own that says which segment is the first: it may use the very last room. */
#define CLASS_MARKER ((enum tm_wal_class)3)
TM_STATIC_ASSERT(TM_WAL_RESERVED == 2, "the class of markers is one more");

struct plan {
    bool fresh;   /* a new block is begun */
    bool advance; /* in the next segment */
};

static uint64_t block_bytes(uint64_t records, uint64_t spans)
{
    return tm_wal_disk_bytes_of(tm_wal_stream_bytes(records, spans));
}

static uint64_t stage_bytes(const struct tm_wal_buffer *b)
{
    return block_bytes(b->used, (uint64_t)b->span_count + b->prev_spans);
}

static bool stage_takes(const struct tm_wal *wal, uint32_t bytes, uint32_t spans, uint64_t *end)
{
    const struct tm_wal_buffer *b = wal->stage;
    if (b == NULL || b->span_count + spans > wal->span_cap ||
        b->used + bytes > (b->used == 0 ? wal->record_cap : TM_WAL_GATHER_BYTES) ||
        b->used + bytes > wal->record_cap)
        return false;
    *end =
        b->offset + block_bytes(b->used + bytes, (uint64_t)b->span_count + spans + b->prev_spans);
    return *end <= wal->segments[wal->current].bytes;
}

/* What an append of that class leaves in the last segment.  Of one that is there in excess those
 * who follow may use half: a record that waits for another, of which the leader has logged both,
 * may hold the oldest segment. */
static uint64_t leaves(const struct tm_wal *wal, enum tm_wal_class klass)
{
    switch (klass) {
    case TM_WAL_EFFECT:
        return wal->config.reserve_bytes;
    case TM_WAL_FOLLOWED:
        return wal->overdrawn ? wal->config.segment_bytes / 2 : wal->config.reserve_bytes / 2;
    default:
        return block_bytes(0, wal->span_cap);
    }
}

static enum tm_err plan(const struct tm_wal *wal, uint32_t bytes, uint32_t spans,
                        enum tm_wal_class klass, struct plan *p)
{
    *p = (struct plan){false, false};
    if (wal->failed)
        return TM_ERR_IO;
    if (bytes > wal->config.max_record_bytes || spans > wal->span_cap)
        return TM_ERR_TOOBIG;
    if (wal->overdrawn && klass == TM_WAL_EFFECT)
        return TM_ERR_NOSPACE;
    enum tm_err none = wal->starved ? TM_ERR_NOSPACE : TM_ERR_FULL;
    uint64_t segment = wal->segments[wal->current].bytes, end;
    if (!stage_takes(wal, bytes, spans, &end)) {
        const struct tm_wal_buffer *b = wal->stage;
        uint64_t begin = b == NULL ? wal->offset : b->offset + stage_bytes(b);
        uint64_t size = block_bytes(
            bytes, spans + (uint64_t)(b == NULL ? wal->last_span_count : b->span_count));
        if (wal->next - wal->head >= wal->buffer_count)
            return TM_ERR_FULL;
        p->fresh = true;
        p->advance = begin + size > segment;
        if (p->advance && tm_wal_ready(wal) == 0)
            return none;
        if (p->advance)
            segment = wal->segments[wal->current + 1].bytes;
        end = p->advance ? size : begin + size;
    }
    if (tm_wal_ready(wal) > (p->advance ? 1u : 0u) || klass == CLASS_MARKER)
        return TM_OK;
    return segment - end < leaves(wal, klass) ? none : TM_OK;
}

static void note_refusal(struct tm_wal *wal, uint32_t bytes, enum tm_wal_class klass,
                         enum tm_err err)
{
    if (klass == TM_WAL_EFFECT && err == TM_ERR_NOSPACE && bytes > wal->refused)
        wal->refused = bytes;
}

enum tm_err tm_wal_room(struct tm_wal *wal, uint32_t bytes, enum tm_wal_class klass)
{
    struct plan p;
    enum tm_err err = plan(wal, bytes, 1, klass, &p);
    note_refusal(wal, bytes, klass, err);
    return err;
}

void tm_wal_stage_begin(struct tm_wal *wal, bool advance)
{
    TM_ASSERT(wal->stage == NULL && wal->next - wal->head < wal->buffer_count);
    if (advance) {
        TM_ASSERT(tm_wal_ready(wal) > 0);
        wal->current++;
        wal->offset = 0;
        tm_wal_work(wal);
    }
    struct tm_wal_buffer *b = &wal->ring[wal->next % wal->buffer_count];
    TM_ASSERT(b->state == TM_WAL_FREE);
    b->state = TM_WAL_STAGED;
    b->flags = 0;
    b->sequence = wal->next++;
    b->segment = wal->segments[wal->current].id;
    b->file = wal->segments[wal->current].file;
    b->offset = wal->offset;
    b->used = b->record_count = b->span_count = 0;
    b->prev_spans = wal->last_span_count;
    wal->stage = b;
    wal->span_stamp++;
}

void tm_wal_seal(struct tm_wal *wal)
{
    struct tm_wal_buffer *b = wal->stage;
    TM_ASSERT(b->state == TM_WAL_STAGED);
    b->state = TM_WAL_SEALED;
    b->disk_bytes = (uint32_t)stage_bytes(b);
    wal->offset = b->offset + b->disk_bytes;
    TM_ASSERT(wal->offset <= wal->segments[wal->current].bytes);
    wal->segments[wal->current].last_sequence = b->sequence;
    wal->last_span_count = b->span_count;
    wal->stage = NULL;
}

/* Adds what came later in the same block. */
static void join_span(struct tm_wal_span *to, const struct tm_wal_span *span)
{
    uint32_t removed = TM_WAL_SPAN_CUT | TM_WAL_SPAN_RESET;
    bool ranged = to->last >= to->first || (to->flags & removed) != 0;
    to->flags |= span->flags;
    to->commit = tm_max_u64(to->commit, span->commit);
    if (span->last < span->first && (span->flags & removed) == 0) {
        if (!ranged)
            to->first = tm_max_u64(to->first, span->first);
        return;
    }
    if ((span->flags & TM_WAL_SPAN_RESET) != 0 || !ranged)
        to->first = span->first;
    else
        to->first = tm_min_u64(to->first, span->first);
    to->last = span->last;
    to->tail_hash = span->tail_hash;
}

static void merge_span(struct tm_wal *wal, const struct tm_wal_span *span)
{
    struct tm_wal_buffer *b = wal->stage;
    TM_ASSERT(span->partition < wal->config.partitions);
    if (wal->span_of[span->partition].stamp != wal->span_stamp) {
        wal->span_of[span->partition].stamp = wal->span_stamp;
        wal->span_of[span->partition].slot = b->span_count;
        TM_ASSERT(b->span_count < wal->span_cap);
        b->spans[b->span_count++] = *span;
        return;
    }
    join_span(&b->spans[wal->span_of[span->partition].slot], span);
}

enum tm_err tm_wal_append(struct tm_wal *wal, struct tm_bytes record, enum tm_wal_class klass,
                          const struct tm_wal_span *spans, unsigned count, struct tm_wal_pos *out)
{
    TM_ASSERT(record.len % 8 == 0 && record.len >= sizeof(struct tm_record));
    struct plan p;
    if (record.len > wal->config.max_record_bytes)
        return TM_ERR_TOOBIG;
    enum tm_err err = plan(wal, (uint32_t)record.len, count, klass, &p);
    if (err != TM_OK) {
        note_refusal(wal, (uint32_t)record.len, klass, err);
        wal->in_need = wal->in_need || (klass == TM_WAL_FOLLOWED && err == TM_ERR_NOSPACE);
        tm_wal_update_full(wal);
        return err;
    }
    wal->in_need = wal->in_need && klass != TM_WAL_FOLLOWED;
    if (p.fresh && wal->stage != NULL) {
        tm_wal_seal(wal);
        tm_wal_submit_sealed(wal);
    }
    if (p.fresh)
        tm_wal_stage_begin(wal, p.advance);
    struct tm_wal_buffer *b = wal->stage;
    if (out != NULL)
        *out =
            (struct tm_wal_pos){b->sequence, tm_wal_place_make(0, b->segment, b->offset, b->used)};
    memcpy(b->records + b->used, record.data, record.len);
    b->used += (uint32_t)record.len;
    b->record_count++;
    for (unsigned i = 0; i < count; i++)
        merge_span(wal, &spans[i]);
    return TM_OK;
}

/* Full means: starved, and not even a small effect would be taken. */
void tm_wal_update_full(struct tm_wal *wal)
{
    struct plan p;
    wal->full = !wal->failed && plan(wal, 1024, 1, TM_WAL_EFFECT, &p) == TM_ERR_NOSPACE;
    if (wal->refused != 0 && plan(wal, wal->refused, 1, TM_WAL_EFFECT, &p) == TM_OK)
        wal->refused = 0;
}

bool tm_wal_short(const struct tm_wal *wal)
{
    return !wal->failed && (wal->full || wal->refused != 0);
}

void tm_wal_tell_space(struct tm_wal *wal)
{
    tm_wal_update_full(wal);
    bool is_short = tm_wal_short(wal);
    if (is_short == wal->short_told || wal->failed)
        return;
    wal->short_told = is_short;
    if (is_short)
        tm_ctx_log(wal->ctx, TM_LOG_WARN, "wal_full", "worker=%u refused_bytes=%u",
                   wal->config.worker, wal->refused);
    else
        tm_ctx_log(wal->ctx, TM_LOG_INFO, "wal_space", "worker=%u", wal->config.worker);
    if (wal->config.callbacks.space != NULL)
        wal->config.callbacks.space(wal->config.callbacks.host, !is_short);
}

static uint64_t marker_due(const struct tm_wal *wal)
{
    if (!wal->window_open || wal->failed || wal->next != wal->head)
        return UINT64_MAX;
    struct plan p;
    if (plan(wal, 0, 0, TM_WAL_EFFECT, &p) != TM_OK)
        return UINT64_MAX; /* the reserve is for others */
    return wal->last_durable_ns + wal->config.marker_ns;
}

void tm_wal_stage_marker(struct tm_wal *wal)
{
    struct plan p;
    if (wal->stage != NULL || plan(wal, 0, 0, CLASS_MARKER, &p) != TM_OK)
        return;
    tm_wal_stage_begin(wal, p.advance);
    wal->stage->flags = TM_WAL_BLOCK_MARKER;
}

void tm_wal_tick(struct tm_wal *wal)
{
    uint64_t now = tm_ctx_now(wal->ctx);
    if (marker_due(wal) <= now) {
        tm_wal_stage_marker(wal);
        tm_wal_flush(wal);
    }
    if ((wal->starved && now >= wal->retry_ns) || wal->spare_count > 0)
        tm_wal_work(wal);
    tm_wal_tell_space(wal);
}

uint64_t tm_wal_next_deadline(const struct tm_wal *wal)
{
    if (wal->failed)
        return UINT64_MAX;
    if (tm_wal_short(wal) != wal->short_told)
        return tm_ctx_now(wal->ctx);
    if (wal->stage != NULL && wal->large && wal->under_way == 0)
        return tm_wal_gathered_at(wal);
    uint64_t retry = wal->starved && wal->job == TM_WAL_JOB_NONE ? wal->retry_ns : UINT64_MAX;
    return tm_min_u64(marker_due(wal), retry);
}

void tm_wal_set_limits(struct tm_wal *wal, uint64_t max_bytes, uint64_t marker_ns,
                       uint64_t stall_ns)
{
    wal->config.max_bytes = max_bytes;
    wal->config.marker_ns = marker_ns != 0 ? marker_ns : TM_WAL_MARKER_NS;
    wal->config.stall_ns = stall_ns;
    wal->overdrawn = wal->overdrawn && tm_wal_exceeds(wal, 0);
}

uint32_t tm_wal_max_record(const struct tm_wal *wal)
{
    return wal->config.max_record_bytes;
}

uint64_t tm_wal_durable(const struct tm_wal *wal)
{
    return wal->durable;
}

uint64_t tm_wal_begun(const struct tm_wal *wal)
{
    return wal->next - 1;
}

enum tm_wal_state tm_wal_state(const struct tm_wal *wal)
{
    return wal->failed ? TM_WAL_FAILED : wal->full ? TM_WAL_FULL : TM_WAL_RUNNING;
}

uint64_t tm_wal_stalled_ns(const struct tm_wal *wal)
{
    for (uint64_t s = wal->head; s < wal->submit; s++) {
        const struct tm_wal_buffer *b = &wal->ring[s % wal->buffer_count];
        if (b->state == TM_WAL_WRITING || b->state == TM_WAL_SYNCING)
            return tm_ctx_now(wal->ctx) - b->started_ns;
    }
    return 0;
}

uint64_t tm_wal_last_durable_ns(const struct tm_wal *wal)
{
    return wal->last_durable_ns;
}

bool tm_wal_idle(const struct tm_wal *wal)
{
    for (unsigned i = 0; i < TM_WAL_READS; i++)
        if (wal->slots[i].read != NULL)
            return false;
    return wal->under_way == 0 && wal->job == TM_WAL_JOB_NONE &&
           (wal->failed || wal->next == wal->head);
}
