/* Segments.  One job runs at a time, each step one disk operation:
 *
 *   new:      OPEN temporary -> ZERO in pieces -> SYNC -> RENAME to its name -> SYNC_DIR -> ready
 *   recycle:  RENAME a given-up segment or a spare to the new id -> SYNC_DIR -> ready
 *   spare:    RENAME a given-up segment (wal_spare.c)
 *   drop:     CLOSE -> UNLINK
 *
 * One segment is kept ready.  A segment that is given up becomes the next ready one if one is
 * needed, else a spare.  One in which rot was found is removed, for behind the end of a log it
 * would be taken for damage to what may have been acknowledged.  A segment's name is durable before
 * anything is written into it: a block under the new id in a file that went back to its old name
 * would be lost.  Removals need no flush: blocks say which segment is the first that is needed, and
 * nothing given up is touched before such a block is durable, or a start would take it for lost.
 *
 * No space: the temporary file is removed, `starved` is set, and a new attempt is made every
 * RETRY_NS or when a segment is given up.  What frees room is itself written down: cuts, snapshots
 * taken in the place of logs.  So that a WAL as large as it may be does not end with a reserve that
 * elections have used up, there is one segment more for those, and none for effects until all of it
 * fits again. */
#include "storage/wal_internal.h"

#include <errno.h>
#include <stdlib.h>

#define RETRY_NS TM_MS(100)

_Alignas(TM_WAL_PAGE) uint8_t tm_wal_zeros[TM_WAL_ZERO_PIECE];

static void job_done(struct tm_disk_op *op);

enum tm_err tm_wal_segment_push(struct tm_wal_segment **list, unsigned *count, unsigned *cap,
                                struct tm_wal_segment segment)
{
    if (*count == *cap) {
        unsigned grown_cap = *cap == 0 ? 16 : 2 * *cap;
        struct tm_wal_segment *grown = realloc(*list, grown_cap * sizeof *grown);
        if (grown == NULL)
            return TM_ERR_NOMEM;
        *list = grown;
        *cap = grown_cap;
    }
    (*list)[(*count)++] = segment;
    return TM_OK;
}

uint64_t tm_wal_take_id(struct tm_wal *wal)
{
    uint64_t id = wal->next_id++;
    return (id & TM_WAL_SEGMENT_MASK) == 0 ? wal->next_id++ : id;
}

static void start(struct tm_wal *wal, enum tm_wal_job job, struct tm_disk_op op)
{
    wal->job = job;
    op.done = job_done;
    op.owner = wal;
    wal->job_op = op;
    wal->disk->submit(wal->disk, &wal->job_op);
}

static void start_sync_dir(struct tm_wal *wal)
{
    start(wal, TM_WAL_JOB_SYNC_DIR,
          (struct tm_disk_op){.kind = TM_DISK_SYNC_DIR, .name = wal->dir_name});
}

static void start_rename(struct tm_wal *wal)
{
    wal->job_segment.id = tm_wal_take_id(wal);
    tm_wal_name_segment(wal->job_name2, wal->folder, wal->config.generation, wal->config.worker,
                        wal->job_segment.id);
    start(wal, TM_WAL_JOB_RENAME,
          (struct tm_disk_op){
              .kind = TM_DISK_RENAME, .name = wal->job_name, .name2 = wal->job_name2});
}

static void start_zero(struct tm_wal *wal)
{
    uint64_t left = wal->job_segment.bytes - wal->job_at;
    start(wal, TM_WAL_JOB_ZERO,
          (struct tm_disk_op){.kind = TM_DISK_WRITE,
                              .file = wal->job_segment.file,
                              .buf = tm_wal_zeros,
                              .len = (uint32_t)tm_min_u64(left, sizeof tm_wal_zeros),
                              .offset = wal->job_at});
}

static void starve(struct tm_wal *wal)
{
    wal->starved = true;
    wal->retry_ns = tm_ctx_now(wal->ctx) + RETRY_NS;
    tm_wal_tell_space(wal);
}

bool tm_wal_exceeds(const struct tm_wal *wal, uint64_t more_bytes)
{
    return wal->config.max_bytes != 0 &&
           tm_wal_disk_bytes(wal) + more_bytes > wal->config.max_bytes;
}

/* Of the reserve less is left than followers leave, or not enough for what one has to follow. */
static bool may_overdraw(const struct tm_wal *wal)
{
    const struct tm_wal_buffer *b = wal->stage;
    uint64_t end = b == NULL ? wal->offset : b->offset + b->used;
    return !tm_wal_exceeds(wal, 0) && (wal->in_need || wal->segments[wal->current].bytes - end <
                                                           wal->config.reserve_bytes / 2);
}

static void start_new(struct tm_wal *wal)
{
    uint64_t bytes = wal->config.segment_bytes, room = wal->disk->free_bytes(wal->disk);
    bool over = tm_wal_exceeds(wal, bytes);
    if ((over && !may_overdraw(wal)) || (room != 0 && room < bytes)) {
        starve(wal);
        return;
    }
    wal->overdrawn = over;
    wal->in_need = false;
    wal->job_segment = (struct tm_wal_segment){.bytes = bytes, .file = -1};
    wal->job_at = 0;
    tm_wal_name_new(wal->job_name, wal->folder, wal->config.generation, wal->config.worker);
    start(wal, TM_WAL_JOB_OPEN,
          (struct tm_disk_op){.kind = TM_DISK_OPEN,
                              .name = wal->job_name,
                              .flags = TM_DISK_CREATE | TM_DISK_DIRECT | TM_DISK_ALONE});
}

/* Takes a given-up segment that nobody reads any more. */
static bool take_doomed(struct tm_wal *wal, struct tm_wal_segment *out)
{
    for (unsigned i = 0; i < wal->doomed_count && wal->durable >= wal->release_sequence; i++) {
        if (wal->doomed[i].readers > 0)
            continue;
        *out = wal->doomed[i];
        wal->doomed_count--;
        memmove(&wal->doomed[i], &wal->doomed[i + 1],
                (wal->doomed_count - i) * sizeof *wal->doomed);
        return true;
    }
    return false;
}

static void start_drop(struct tm_wal *wal)
{
    start(wal, TM_WAL_JOB_DROP_CLOSE,
          (struct tm_disk_op){.kind = TM_DISK_CLOSE, .file = wal->job_segment.file});
}

/* The segment of the job was given up. */
static void start_reuse(struct tm_wal *wal, bool need)
{
    const struct tm_wal_segment *s = &wal->job_segment;
    tm_wal_name_segment(wal->job_name, wal->folder, wal->config.generation, wal->config.worker,
                        s->id);
    if (need && !s->bad && s->bytes == wal->config.segment_bytes &&
        !tm_wal_exceeds(wal, s->bytes)) {
        start_rename(wal);
    } else if (tm_wal_spare_keeps(wal, s)) {
        tm_wal_name_spare(wal->job_name2, wal->folder, wal->config.generation, wal->config.worker,
                          wal->next_spare);
        start(wal, TM_WAL_JOB_SPARE,
              (struct tm_disk_op){
                  .kind = TM_DISK_RENAME, .name = wal->job_name, .name2 = wal->job_name2});
    } else {
        start_drop(wal);
    }
}

void tm_wal_work(struct tm_wal *wal)
{
    if (wal->job != TM_WAL_JOB_NONE || wal->failed)
        return;
    wal->overdrawn = wal->overdrawn && tm_wal_exceeds(wal, 0);
    bool need = tm_wal_ready(wal) == 0;
    if (take_doomed(wal, &wal->job_segment))
        start_reuse(wal, need);
    else if (need && tm_wal_spare_take(wal, &wal->job_segment, wal->job_name))
        start_rename(wal);
    else if (need)
        start_new(wal);
    else if (tm_wal_spare_due(wal) && tm_wal_spare_take(wal, &wal->job_segment, wal->job_name))
        start_drop(wal);
}

/* A step of preparing failed: without space we try again, anything else is the device's end. */
static void step_failed(struct tm_wal *wal, int64_t result)
{
    if (result != -ENOSPC && result != -EDQUOT) {
        wal->job = TM_WAL_JOB_NONE;
        tm_wal_poison(wal, tm_err_from_errno((int)-result));
        return;
    }
    if (wal->job_segment.file >= 0) {
        start(wal, TM_WAL_JOB_ABORT_CLOSE,
              (struct tm_disk_op){.kind = TM_DISK_CLOSE, .file = wal->job_segment.file});
        return;
    }
    wal->job = TM_WAL_JOB_NONE;
    starve(wal);
}

static void step_new(struct tm_wal *wal, int64_t result)
{
    switch (wal->job) {
    case TM_WAL_JOB_OPEN:
        wal->job_segment.file = (int32_t)result;
        start_zero(wal);
        break;
    case TM_WAL_JOB_ZERO:
        wal->job_at += (uint64_t)result;
        if (wal->job_at < wal->job_segment.bytes)
            start_zero(wal);
        else
            start(wal, TM_WAL_JOB_SYNC,
                  (struct tm_disk_op){.kind = TM_DISK_SYNC, .file = wal->job_segment.file});
        break;
    case TM_WAL_JOB_SYNC:
        start_rename(wal);
        break;
    case TM_WAL_JOB_RENAME:
        start_sync_dir(wal);
        break;
    default:
        TM_ASSERT(wal->job == TM_WAL_JOB_SYNC_DIR);
        wal->job = TM_WAL_JOB_NONE;
        wal->job_segment.last_sequence = 0;
        if (tm_wal_segment_push(&wal->segments, &wal->segment_count, &wal->segment_cap,
                                wal->job_segment) != TM_OK) {
            tm_wal_poison(wal, TM_ERR_NOMEM);
            return;
        }
        wal->starved = false;
        tm_wal_work(wal);
        tm_wal_tell_space(wal);
    }
}

/* The segment has got a spare's name; where that failed it is removed. */
static void spare_named(struct tm_wal *wal, int64_t result)
{
    wal->job = TM_WAL_JOB_NONE;
    wal->job_segment.id = wal->next_spare;
    if (result < 0 || tm_wal_spare_push(wal, wal->job_segment) != TM_OK) {
        start_drop(wal);
        return;
    }
    wal->next_spare++;
    tm_wal_work(wal);
}

static void job_done(struct tm_disk_op *op)
{
    struct tm_wal *wal = op->owner;
    switch (wal->job) {
    case TM_WAL_JOB_ABORT_CLOSE:
        start(wal, TM_WAL_JOB_ABORT_UNLINK,
              (struct tm_disk_op){.kind = TM_DISK_UNLINK, .name = wal->job_name});
        return;
    case TM_WAL_JOB_ABORT_UNLINK:
        wal->job = TM_WAL_JOB_NONE;
        starve(wal);
        return;
    case TM_WAL_JOB_SPARE:
        spare_named(wal, op->result);
        return;
    case TM_WAL_JOB_DROP_CLOSE:
        start(wal, TM_WAL_JOB_DROP_UNLINK,
              (struct tm_disk_op){.kind = TM_DISK_UNLINK, .name = wal->job_name});
        return;
    case TM_WAL_JOB_DROP_UNLINK:
        wal->job = TM_WAL_JOB_NONE;
        tm_wal_work(wal);
        return;
    default:
        if (op->result < 0)
            step_failed(wal, op->result);
        else
            step_new(wal, op->result);
    }
}

void tm_wal_release(struct tm_wal *wal, uint64_t segment)
{
    /* The last durable block stays: the next start begins its chain with it. */
    unsigned n = 0;
    if (segment > wal->lost_from)
        wal->lost_from = 0;
    while (n < wal->current && wal->segments[n].id < segment &&
           wal->segments[n].last_sequence < wal->durable) {
        if (tm_wal_segment_push(&wal->doomed, &wal->doomed_count, &wal->doomed_cap,
                                wal->segments[n]) != TM_OK)
            break; /* it stays held: the next release takes it */
        n++;
    }
    if (n == 0)
        return;
    wal->segment_count -= n;
    wal->current -= n;
    memmove(wal->segments, wal->segments + n, wal->segment_count * sizeof *wal->segments);
    wal->release_sequence = wal->submit;
}

uint64_t tm_wal_first_segment(const struct tm_wal *wal)
{
    return wal->segments[0].id;
}

uint64_t tm_wal_current_segment(const struct tm_wal *wal)
{
    return wal->segments[wal->current].id;
}

uint64_t tm_wal_segment_back(const struct tm_wal *wal, uint64_t bytes)
{
    unsigned i = wal->current;
    while (i > 0 && wal->segments[i - 1].bytes <= bytes)
        bytes -= wal->segments[--i].bytes;
    return wal->segments[i].id;
}

uint64_t tm_wal_segment_last_sequence(const struct tm_wal *wal, uint64_t segment)
{
    uint64_t last = 0;
    for (unsigned i = 0; i < wal->current; i++)
        if (wal->segments[i].id <= segment)
            last = tm_max_u64(last, wal->segments[i].last_sequence);
    return last;
}

uint64_t tm_wal_segment_of(const struct tm_wal *wal, tm_wal_place place)
{
    if (tm_wal_place_volume(place) != 0)
        return 0;
    for (unsigned i = 0; i < wal->segment_count; i++)
        if ((wal->segments[i].id & TM_WAL_SEGMENT_MASK) == tm_wal_place_segment(place))
            return wal->segments[i].id;
    return 0;
}

unsigned tm_wal_segments(const struct tm_wal *wal)
{
    return wal->current + 1;
}

uint64_t tm_wal_held_bytes(const struct tm_wal *wal)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i <= wal->current; i++)
        sum += wal->segments[i].bytes;
    return sum;
}

uint64_t tm_wal_disk_bytes(const struct tm_wal *wal)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < wal->segment_count; i++)
        sum += wal->segments[i].bytes;
    for (unsigned i = 0; i < wal->doomed_count; i++)
        sum += wal->doomed[i].bytes;
    sum += wal->spare_count * wal->config.segment_bytes;
    return sum + (wal->job == TM_WAL_JOB_NONE ? 0 : wal->job_segment.bytes);
}
