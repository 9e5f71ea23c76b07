/* Blocks on their way.  Sealed blocks are encoded and submitted in the order of their sequences,
 * as many at a time as flushes_under_way allows; they may complete in any order, and are retired
 * in order: only then are they durable.  With TM_WAL_FSYNC a block is one write and then one
 * flush, which begins when its own write is done.  Under load blocks gather longer, so that fewer
 * flushes carry more.
 *
 * Any error of a block poisons the WAL: what completes later is not reported any more. */
#include "runtime/counters.h"
#include "storage/wal_internal.h"

static struct tm_wal_buffer *buffer_of(struct tm_wal *wal, uint64_t sequence)
{
    return &wal->ring[sequence % wal->buffer_count];
}

/* The first segment that holds a block: one of a start that got no further holds none.  Where one
 * held blocks that rotted, all of them, the next start has to hear of that, too. */
static uint64_t first_needed(const struct tm_wal *wal)
{
    if (wal->lost_from != 0)
        return wal->lost_from;
    unsigned i = 0;
    while (i < wal->current && wal->segments[i].last_sequence == 0)
        i++;
    return wal->segments[i].id;
}

void tm_wal_encode(struct tm_wal *wal, struct tm_wal_buffer *b)
{
    struct tm_wal_block h = {.flags = b->flags,
                             .disk_id = wal->config.disk_id,
                             .incarnation = wal->config.incarnation,
                             .generation = wal->config.generation,
                             .worker = wal->config.worker,
                             .segment = b->segment,
                             .offset = b->offset,
                             .sequence = b->sequence,
                             .prev_sequence = wal->prev_sequence,
                             .life_first = wal->life_first,
                             .life_prev = wal->life_prev,
                             .durable = wal->durable,
                             .first_segment = first_needed(wal),
                             .own_spans = b->span_count,
                             .prev_spans = b->prev_spans,
                             .records = b->record_count};
    TM_ASSERT(b->prev_spans == wal->prev_span_count);
    memcpy(h.cluster, wal->config.cluster, 16);
    memcpy(h.prev_hash, wal->prev_hash, 16);
    tm_wal_block_encode(b->image, &h, b->spans, wal->prev_spans, tm_bytes_of(b->records, b->used));
    TM_ASSERT(h.disk_bytes == b->disk_bytes);
    tm_wal_block_hash(b->image, b->disk_bytes, wal->prev_hash);
    wal->prev_sequence = b->sequence;
    wal->prev_span_count = b->span_count;
    memcpy(wal->prev_spans, b->spans, b->span_count * sizeof *b->spans);
}

void tm_wal_poison(struct tm_wal *wal, enum tm_err err)
{
    if (wal->failed)
        return;
    wal->failed = true;
    tm_ctx_log(wal->ctx, TM_LOG_ERROR, "wal_failed", "worker=%u err=%s", wal->config.worker,
               tm_err_name(err));
    if (wal->config.callbacks.failed != NULL)
        wal->config.callbacks.failed(wal->config.callbacks.host, err);
}

static void count(const struct tm_wal *wal, const struct tm_wal_buffer *b)
{
    struct tm_counters *c = wal->ctx->counters;
    if (c == NULL)
        return;
    tm_counter_add(c, TM_COUNTER_wal_flushes, 1);
    tm_counter_add(c, TM_COUNTER_wal_blocks, 1);
    tm_counter_add(c, TM_COUNTER_wal_bytes, b->disk_bytes);
    tm_counter_add(c, TM_COUNTER_wal_records, b->record_count);
    uint64_t took_ns = tm_ctx_now(wal->ctx) - b->started_ns;
    tm_counter_add(c, TM_COUNTER_wal_flush_us_total, took_ns / 1000);
    if (wal->config.stall_ns != 0 && took_ns > wal->config.stall_ns)
        tm_counter_add(c, TM_COUNTER_wal_stalls, 1);
}

static void retire(struct tm_wal *wal)
{
    while (wal->head < wal->submit && buffer_of(wal, wal->head)->state == TM_WAL_DONE) {
        struct tm_wal_buffer *b = buffer_of(wal, wal->head);
        wal->durable = b->sequence;
        count(wal, b);
        wal->last_durable_ns = tm_ctx_now(wal->ctx);
        wal->window_open = b->record_count > 0;
        if (wal->config.callbacks.durable != NULL)
            wal->config.callbacks.durable(wal->config.callbacks.host, b->sequence, b->spans,
                                          b->span_count);
        b->state = TM_WAL_FREE; /* not before: the callback may append */
        wal->head++;
    }
}

static void completed(struct tm_disk_op *op)
{
    struct tm_wal_buffer *b = op->owner;
    struct tm_wal *wal = b->wal;
    bool written = b->state == TM_WAL_WRITING;
    bool good = written ? op->result == (int64_t)b->disk_bytes : op->result == 0;
    if (good && written && wal->config.sync == TM_WAL_FSYNC && !wal->failed) {
        b->state = TM_WAL_SYNCING;
        b->op.kind = TM_DISK_SYNC;
        wal->disk->submit(wal->disk, &b->op);
        return;
    }
    wal->under_way--;
    b->state = TM_WAL_DONE;
    if (!good) /* out of space for what was allocated is no better than EIO: bytes are unknown */
        tm_wal_poison(wal, op->result < 0 ? tm_err_from_errno((int)-op->result) : TM_ERR_IO);
    if (wal->failed)
        return;
    retire(wal);
    tm_wal_submit_sealed(wal);
    tm_wal_work(wal);
    tm_wal_tell_space(wal);
}

static void submit(struct tm_wal *wal, struct tm_wal_buffer *b)
{
    tm_wal_encode(wal, b);
    b->state = TM_WAL_WRITING;
    b->started_ns = tm_ctx_now(wal->ctx);
    wal->last_submit_ns = b->started_ns;
    wal->large = b->record_count >= TM_WAL_LARGE;
    b->op = (struct tm_disk_op){.kind = TM_DISK_WRITE,
                                .flags = wal->config.sync == TM_WAL_DSYNC ? TM_DISK_DSYNC : 0,
                                .file = b->file,
                                .len = b->disk_bytes,
                                .offset = b->offset,
                                .buf = b->image,
                                .done = completed,
                                .owner = b};
    wal->under_way++;
    wal->submit++;
    wal->disk->submit(wal->disk, &b->op);
}

void tm_wal_submit_sealed(struct tm_wal *wal)
{
    while (!wal->failed && wal->under_way < wal->config.flushes_under_way &&
           wal->submit < wal->next && buffer_of(wal, wal->submit)->state == TM_WAL_SEALED)
        submit(wal, buffer_of(wal, wal->submit));
}

static bool may_seal(const struct tm_wal *wal)
{
    if (!wal->large)
        return wal->under_way < wal->config.flushes_under_way;
    return wal->under_way == 0 && tm_ctx_now(wal->ctx) >= tm_wal_gathered_at(wal);
}

void tm_wal_flush(struct tm_wal *wal)
{
    if (wal->failed)
        return;
    tm_wal_submit_sealed(wal);
    if (wal->doomed_count > 0 && wal->next == wal->head && wal->durable < wal->release_sequence)
        tm_wal_stage_marker(wal);
    if (wal->stage != NULL && may_seal(wal)) {
        tm_wal_seal(wal);
        tm_wal_submit_sealed(wal);
    }
    tm_wal_update_full(wal);
}
