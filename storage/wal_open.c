/* Starting.  Older generations are replayed and kept open for reading, then this WAL's own volume.
 * Everything accepted is made durable before it is built upon: what a crashed process wrote may
 * still be in the device's cache.  Then the first block of this start, the *opening* block, is
 * written: it says which sequences between the last accepted one and itself are dead, so that no
 * later start can take them for live; and if the end was damaged, or all that there was is gone, it
 * carries a SUSPECT record, so that this is not forgotten either.
 *
 * Writing goes on in a fresh segment, unless the last block says that it was the last.  Where the
 * disk has no room for a fresh one, or max_bytes allows none, it goes on in the last, behind all
 * that was ever written there, so that nothing that was cut is mixed with what comes; that no write
 * of the dead process is still on its way there, the open says (TM_DISK_ALONE). */
#include <stdlib.h>

#include "runtime/counters.h"
#include "storage/record.h"
#include "storage/wal_internal.h"
#include "storage/wal_scan.h"

static enum tm_err err_of(int64_t result)
{
    return result < 0 ? tm_err_from_errno((int)-result) : TM_OK;
}

/* --- memory --- */

static bool alloc_buffers(struct tm_wal *wal)
{
    uint64_t image =
        tm_wal_disk_bytes_of(tm_wal_stream_bytes(wal->record_cap, 2ull * wal->span_cap));
    for (unsigned i = 0; i < wal->buffer_count; i++) {
        struct tm_wal_buffer *b = &wal->ring[i];
        b->wal = wal;
        b->records = malloc(wal->record_cap);
        b->image = aligned_alloc(TM_WAL_PAGE, image);
        b->spans = calloc(wal->span_cap, sizeof *b->spans);
        if (b->records == NULL || b->image == NULL || b->spans == NULL)
            return false;
    }
    wal->prev_spans = calloc(wal->span_cap, sizeof *wal->prev_spans);
    wal->span_of = calloc(wal->config.partitions, sizeof *wal->span_of);
    wal->volumes = calloc(TM_WAL_VOLUMES_MAX + 1, sizeof *wal->volumes);
    return wal->prev_spans != NULL && wal->span_of != NULL && wal->volumes != NULL;
}

static void close_segments(struct tm_wal *wal, const struct tm_wal_segment *list, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        tm_disk_run_close(wal->disk, list[i].file);
}

static void close_files(struct tm_wal *wal)
{
    close_segments(wal, wal->segments, wal->segment_count);
    close_segments(wal, wal->doomed, wal->doomed_count);
    close_segments(wal, wal->spares, wal->spare_count);
    for (unsigned i = 1; i < wal->volume_count; i++)
        close_segments(wal, wal->volumes[i].segments, wal->volumes[i].count);
}

void tm_wal_abandon(struct tm_wal *wal)
{
    for (unsigned i = 1; i < wal->volume_count; i++)
        free(wal->volumes[i].segments);
    for (unsigned i = 0; i < wal->buffer_count; i++) {
        free(wal->ring[i].records);
        free(wal->ring[i].image);
        free(wal->ring[i].spans);
    }
    for (unsigned i = 0; i < TM_WAL_READS; i++)
        free(wal->slots[i].image);
    free(wal->stream);
    free(wal->segments);
    free(wal->doomed);
    free(wal->spares);
    free(wal->volumes);
    free(wal->span_of);
    free(wal->prev_spans);
    free(wal);
}

/* --- replay --- */

static void pass_record(void *host, const struct tm_wal_found *found)
{
    struct tm_wal *wal = host;
    if (wal->config.replay.record != NULL)
        wal->config.replay.record(wal->config.replay.host, found);
}

static void pass_fault(void *host, const struct tm_wal_fault *fault)
{
    struct tm_wal *wal = host;
    tm_ctx_log(wal->ctx, TM_LOG_ERROR, fault->kind == TM_WAL_ROT ? "wal_rot" : "wal_damaged",
               "generation=%u worker=%u segment=%llu offset=%llu sequence=%llu partition=%d",
               fault->generation, fault->worker, (unsigned long long)fault->segment,
               (unsigned long long)fault->offset, (unsigned long long)fault->sequence,
               (int)fault->span.partition);
    if (wal->config.replay.fault != NULL)
        wal->config.replay.fault(wal->config.replay.host, fault);
}

struct begin {
    struct tm_wal *wal;
    uint32_t generation;
    uint32_t worker;
};

static void begin_record(void *host, const struct tm_wal_found *found)
{
    pass_record(((struct begin *)host)->wal, found);
}

static void begin_fault(void *host, const struct tm_wal_fault *fault)
{
    pass_fault(((struct begin *)host)->wal, fault);
}

/* What the last block of this WAL held is told again by the first one of this start: else nobody
 * would know what was lost if it rots. */
static void begin_block(void *host, const struct tm_wal_block *header, const uint8_t *stream)
{
    struct tm_wal *wal = ((struct begin *)host)->wal;
    uint32_t count = header->own_spans;
    const struct tm_wal_span all = {.partition = TM_WAL_ALL, .first = 1};
    bool fits = count <= wal->span_cap;
    wal->prev_span_count = wal->last_span_count = fits ? count : 1;
    memcpy(wal->prev_spans, fits ? tm_wal_block_own(stream) : &all,
           wal->prev_span_count * sizeof *wal->prev_spans);
}

static void begin_volume(void *host, uint64_t first_sequence)
{
    const struct begin *b = host;
    const struct tm_wal_replay *replay = &b->wal->config.replay;
    if (replay->volume != NULL)
        b->wal->lost = replay->volume(replay->host, b->generation, b->worker, first_sequence);
}

static enum tm_err replay_volume(struct tm_wal *wal, uint32_t generation, uint32_t worker,
                                 unsigned volume, struct tm_wal_scan_result *result)
{
    struct tm_wal_scan_config config = {.disk = wal->disk,
                                        .folder = wal->folder,
                                        .generation = generation,
                                        .worker = worker,
                                        .cluster = wal->config.cluster,
                                        .disk_id = wal->config.disk_id,
                                        .volume = volume,
                                        .read_bytes = wal->config.read_bytes};
    struct begin begin = {wal, generation, worker};
    struct tm_wal_scan_sink sink = {.host = &begin,
                                    .begin = begin_volume,
                                    .block = volume == 0 ? begin_block : NULL,
                                    .record = begin_record,
                                    .fault = begin_fault};
    enum tm_err err = tm_wal_scan(&config, &sink, result);
    if (err == TM_OK && wal->ctx->counters != NULL)
        tm_counter_add(wal->ctx->counters, TM_COUNTER_wal_rotten_blocks, result->rot);
    return err;
}

/* Opens a segment's file and adds it to the list. */
static enum tm_err add_segment(struct tm_wal *wal, uint32_t generation, uint32_t worker,
                               const struct tm_wal_scan_segment *found, uint32_t flags,
                               struct tm_wal_segment **list, unsigned *count, unsigned *cap)
{
    char name[TM_WAL_NAME_MAX];
    tm_wal_name_segment(name, wal->folder, generation, worker, found->id);
    int64_t file = tm_disk_run_open(wal->disk, name, flags | TM_DISK_DIRECT);
    if (file < 0)
        return err_of(file);
    return tm_wal_segment_push(list, count, cap,
                               (struct tm_wal_segment){.id = found->id,
                                                       .bytes = found->bytes,
                                                       .last_sequence = found->last_sequence,
                                                       .file = (int32_t)file,
                                                       .bad = found->bad});
}

/* Makes durable what a scan accepted: writes of the dead process may still be on their way. */
static enum tm_err sync_accepted(struct tm_wal *wal, const struct tm_wal_scan_result *r,
                                 const struct tm_wal_segment *segments, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (segments[i].last_sequence <= r->durable && segments[i].id != r->last_segment)
            continue;
        int64_t n = tm_disk_run_sync(wal->disk, segments[i].file);
        if (n < 0)
            return err_of(n);
    }
    return TM_OK;
}

static enum tm_err open_older_volume(struct tm_wal *wal, uint32_t generation, uint32_t worker)
{
    if (wal->volume_count > TM_WAL_VOLUMES_MAX)
        return TM_ERR_UNSUPPORTED;
    unsigned number = wal->volume_count;
    struct tm_wal_scan_result result;
    enum tm_err err = replay_volume(wal, generation, worker, number, &result);
    if (err != TM_OK)
        return err;
    if (result.first_sequence == 0) { /* a volume that was opened has a block at least */
        struct tm_wal_fault lost = {.kind = TM_WAL_ROT,
                                    .span = {.partition = TM_WAL_ALL, .first = 1},
                                    .generation = generation,
                                    .worker = worker};
        pass_fault(wal, &lost);
    }
    struct tm_wal_volume *v = &wal->volumes[wal->volume_count++];
    unsigned cap = 0;
    v->generation = generation;
    v->worker = worker;
    for (unsigned i = 0; i < result.segment_count && err == TM_OK; i++)
        err = add_segment(wal, generation, worker, &result.segments[i], TM_DISK_RDONLY,
                          &v->segments, &v->count, &cap);
    if (err == TM_OK)
        err = sync_accepted(wal, &result, v->segments, v->count);
    tm_wal_scan_release(&result);
    return err;
}

static enum tm_err open_older(struct tm_wal *wal)
{
    wal->volume_count = 1;
    for (unsigned i = 0; i < wal->config.older_count; i++)
        for (uint32_t w = 0; w < wal->config.older[i].workers; w++) {
            enum tm_err err = open_older_volume(wal, wal->config.older[i].generation, w);
            if (err != TM_OK)
                return err;
        }
    return TM_OK;
}

/* --- this WAL's own segments --- */

/* Sorts what the scan found: released ones, held ones, and unused ones behind, which are ready.
 * Ids ascend over all of them. */
static enum tm_err open_own(struct tm_wal *wal, const struct tm_wal_scan_result *r)
{
    uint64_t last_used = r->last_segment;
    for (unsigned i = 0; i < r->segment_count; i++)
        if (r->segments[i].used)
            last_used = tm_max_u64(last_used, r->segments[i].id);
    for (unsigned i = 0; i < r->segment_count; i++) {
        const struct tm_wal_scan_segment *found = &r->segments[i];
        bool spare = found->id > last_used;
        bool released =
            found->id < r->first_segment || (spare && found->bytes != wal->config.segment_bytes);
        enum tm_err err =
            released
                ? add_segment(wal, wal->config.generation, wal->config.worker, found, TM_DISK_ALONE,
                              &wal->doomed, &wal->doomed_count, &wal->doomed_cap)
                : add_segment(wal, wal->config.generation, wal->config.worker, found, TM_DISK_ALONE,
                              &wal->segments, &wal->segment_count, &wal->segment_cap);
        if (err != TM_OK)
            return err;
        if (!released && !spare)
            wal->current = wal->segment_count - 1;
        wal->next_id = tm_max_u64(wal->next_id, found->id + 1);
    }
    return TM_OK;
}

static int64_t zero_file(struct tm_wal *wal, int32_t file)
{
    int64_t n = 0;
    for (uint64_t at = 0; at < wal->config.segment_bytes && n >= 0;) {
        uint64_t len = tm_min_u64(sizeof tm_wal_zeros, wal->config.segment_bytes - at);
        n = tm_disk_run_write(wal->disk, file, tm_wal_zeros, (uint32_t)len, at, 0);
        at += len;
    }
    return n < 0 ? n : tm_disk_run_sync(wal->disk, file);
}

/* A file full of zeros for a segment, under the name of one that is being made. */
static enum tm_err make_file(struct tm_wal *wal, struct tm_wal_segment *segment, char *name)
{
    uint64_t room = wal->disk->free_bytes(wal->disk);
    if (room != 0 && room < segment->bytes)
        return TM_ERR_NOSPACE;
    tm_wal_name_new(name, wal->folder, wal->config.generation, wal->config.worker);
    int64_t n = tm_disk_run_open(wal->disk, name, TM_DISK_CREATE | TM_DISK_DIRECT | TM_DISK_ALONE);
    if (n < 0)
        return err_of(n);
    segment->file = (int32_t)n;
    n = zero_file(wal, segment->file);
    if (n >= 0)
        return TM_OK;
    tm_disk_run_close(wal->disk, segment->file);
    tm_disk_run_unlink(wal->disk, name);
    return err_of(n);
}

/* Makes a segment at boot, when no ready one was found: of a spare, if there is one. */
static enum tm_err make_segment(struct tm_wal *wal)
{
    char from[TM_WAL_NAME_MAX], to[TM_WAL_NAME_MAX];
    struct tm_wal_segment segment = {.bytes = wal->config.segment_bytes};
    if (!tm_wal_spare_take(wal, &segment, from)) {
        enum tm_err err = make_file(wal, &segment, from);
        if (err != TM_OK)
            return err;
    }
    segment.id = tm_wal_take_id(wal);
    tm_wal_name_segment(to, wal->folder, wal->config.generation, wal->config.worker, segment.id);
    int64_t n = tm_disk_run_rename(wal->disk, from, to);
    if (n >= 0)
        n = tm_disk_run_sync_dir(wal->disk, wal->dir_name);
    if (n >= 0)
        return tm_wal_segment_push(&wal->segments, &wal->segment_count, &wal->segment_cap, segment);
    tm_disk_run_close(wal->disk, segment.file);
    tm_disk_run_unlink(wal->disk, from);
    return err_of(n);
}

/* Of all segments but those that were given up. */
static uint64_t kept_bytes(const struct tm_wal *wal)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < wal->segment_count; i++)
        sum += wal->segments[i].bytes;
    return sum;
}

static bool is_more_than_it_may(const struct tm_wal *wal, uint64_t bytes)
{
    return wal->config.max_bytes != 0 && bytes > wal->config.max_bytes;
}

/* A fresh segment would be one too many, and the last one has room: for effects, too, or, where it
 * is one too many itself, for what frees room. */
static bool is_at_limit(const struct tm_wal *wal, uint64_t room)
{
    uint64_t kept = kept_bytes(wal), reserve = wal->config.reserve_bytes;
    uint64_t enough = is_more_than_it_may(wal, kept) ? reserve / 2 : 2 * reserve;
    return room >= tm_max_u64(TM_WAL_PAGE * 4, enough) && wal->spare_count == 0 &&
           is_more_than_it_may(wal, kept + wal->config.segment_bytes);
}

/* Chooses where writing goes on; the scan's result says where the log ended. */
static enum tm_err choose_segment(struct tm_wal *wal, const struct tm_wal_scan_result *r)
{
    bool used = r->segment_count > 0 && wal->segment_count > 0 &&
                (r->last_sequence > 0 || r->torn || r->damaged);
    uint64_t room = used && wal->segments[wal->current].id == r->last_segment
                        ? wal->segments[wal->current].bytes - r->free_offset
                        : 0;
    enum tm_err err = TM_OK;
    bool stay = room >= TM_WAL_PAGE * 4 && r->closed && !r->torn && !r->damaged;
    if (!stay && (used ? tm_wal_ready(wal) == 0 : wal->segment_count == 0))
        err = !r->damaged && is_at_limit(wal, room) ? TM_ERR_NOSPACE : make_segment(wal);
    if (err == TM_ERR_NOSPACE && room >= TM_WAL_PAGE) {
        tm_ctx_log(wal->ctx, TM_LOG_WARN, "wal_goes_on",
                   "worker=%u segment=%llu offset=%llu text=\"no space for a fresh segment\"",
                   wal->config.worker, (unsigned long long)r->last_segment,
                   (unsigned long long)r->free_offset);
        stay = true;
    } else if (err != TM_OK) {
        return err;
    }
    if (stay) {
        wal->offset = r->free_offset;
        return TM_OK;
    }
    wal->current = used ? wal->current + 1 : 0;
    wal->offset = 0;
    return TM_OK;
}

static void begin_life(struct tm_wal *wal, const struct tm_wal_scan_result *r)
{
    uint64_t first = r->max_sequence == 0 ? 1 : r->max_sequence + TM_WAL_SEQUENCE_GAP;
    wal->head = wal->submit = wal->next = wal->life_first = first;
    wal->life_prev = wal->prev_sequence = wal->durable = r->last_sequence;
    memcpy(wal->prev_hash, r->last_hash, 16);
}

static void stage_suspect(struct tm_wal *wal)
{
    struct tm_record *record = (void *)wal->stage->records;
    *record = (struct tm_record){.kind = TM_RECORD_SUSPECT, .partition = TM_WAL_ALL};
    tm_record_seal(record);
    wal->stage->used = record->length;
    wal->stage->record_count = 1;
}

/* Writes the first block of this start, to its end. */
static enum tm_err write_opening(struct tm_wal *wal, bool suspect)
{
    tm_wal_stage_begin(wal, false);
    struct tm_wal_buffer *b = wal->stage;
    b->flags = TM_WAL_BLOCK_OPENING;
    if (suspect)
        stage_suspect(wal);
    tm_wal_seal(wal);
    tm_wal_encode(wal, b);
    uint32_t flags = wal->config.sync == TM_WAL_DSYNC ? TM_DISK_DSYNC : 0;
    int64_t n = tm_disk_run_write(wal->disk, b->file, b->image, b->disk_bytes, b->offset, flags);
    if (n >= 0 && wal->config.sync == TM_WAL_FSYNC)
        n = tm_disk_run_sync(wal->disk, b->file);
    if (n < 0)
        return err_of(n);
    wal->durable = b->sequence;
    b->state = TM_WAL_FREE;
    wal->head = wal->submit = wal->next;
    return TM_OK;
}

/* What the dead process was preparing: it may still be written to, and takes room. */
static void remove_unfinished(struct tm_wal *wal)
{
    char name[TM_WAL_NAME_MAX];
    tm_wal_name_new(name, wal->folder, wal->config.generation, wal->config.worker);
    tm_disk_run_unlink(wal->disk, name);
}

static enum tm_err start_own(struct tm_wal *wal)
{
    struct tm_wal_scan_result r;
    remove_unfinished(wal);
    enum tm_err err = replay_volume(wal, wal->config.generation, wal->config.worker, 0, &r);
    if (err != TM_OK)
        return err;
    begin_life(wal, &r);
    wal->lost_from = r.lost_from;
    if (r.torn && wal->ctx->counters != NULL)
        tm_counter_add(wal->ctx->counters, TM_COUNTER_wal_torn_tails, 1);
    err = open_own(wal, &r);
    if (err == TM_OK)
        err = tm_wal_spare_open(wal);
    if (err == TM_OK)
        err = sync_accepted(wal, &r, wal->segments, wal->segment_count);
    if (err == TM_OK) /* names too: a segment that was made ready may be used from here on */
        err = err_of(tm_disk_run_sync_dir(wal->disk, wal->dir_name));
    if (err == TM_OK)
        err = choose_segment(wal, &r);
    if (err == TM_OK)
        err = write_opening(wal, r.damaged || wal->lost);
    tm_wal_scan_release(&r);
    return err;
}

/* --- configuration --- */

static enum tm_err take_config(struct tm_wal *wal, const struct tm_wal_config *config)
{
    struct tm_wal_config *c = &wal->config;
    *c = *config;
    if (c->segment_bytes == 0)
        c->segment_bytes = TM_MIB(64);
    if (c->reserve_bytes == 0)
        c->reserve_bytes = c->segment_bytes / 8;
    if (c->max_record_bytes == 0)
        c->max_record_bytes =
            (uint32_t)tm_min_u64(TM_RECORD_MAX + sizeof(struct tm_record), c->segment_bytes / 4);
    if (c->flushes_under_way == 0)
        c->flushes_under_way = 2;
    if (c->marker_ns == 0)
        c->marker_ns = TM_WAL_MARKER_NS;
    c->max_record_bytes = (uint32_t)tm_align_up(c->max_record_bytes, 8);
    wal->record_cap = c->max_record_bytes;
    wal->span_cap = (uint32_t)tm_min_u64(c->partitions, TM_WAL_SPANS_MAX);
    wal->buffer_count = c->flushes_under_way + 2;
    uint64_t most =
        tm_wal_disk_bytes_of(tm_wal_stream_bytes(wal->record_cap, 2ull * wal->span_cap));
    bool good = c->partitions > 0 && c->segment_bytes % TM_WAL_PAGE == 0 &&
                c->segment_bytes <= TM_WAL_SEGMENT_MAX && c->max_record_bytes <= TM_MIB(7) &&
                c->flushes_under_way <= TM_WAL_INFLIGHT_MAX &&
                most + c->reserve_bytes <= c->segment_bytes && strlen(c->folder) < 64 &&
                c->generation > 0 && c->worker < 64 && c->older_count <= TM_WAL_GENERATIONS;
    if (!good)
        return TM_ERR_INVALID;
    memcpy(wal->folder, c->folder, strlen(c->folder) + 1);
    tm_wal_name_generation(wal->dir_name, wal->folder, c->generation);
    wal->ctx = c->ctx;
    wal->disk = c->ctx->disk;
    wal->next_id = 1;
    wal->last_durable_ns = tm_ctx_now(wal->ctx);
    return TM_OK;
}

static enum tm_err make_folders(struct tm_wal *wal)
{
    int64_t n = tm_disk_run_mkdir(wal->disk, wal->folder);
    if (n >= 0)
        n = tm_disk_run_mkdir(wal->disk, wal->dir_name);
    if (n >= 0)
        n = tm_disk_run_sync_dir(wal->disk, wal->folder);
    if (n >= 0)
        n = tm_disk_run_sync_dir(wal->disk, "");
    return err_of(n);
}

enum tm_err tm_wal_open(const struct tm_wal_config *config, struct tm_wal **out)
{
    struct tm_wal *wal = calloc(1, sizeof *wal);
    if (wal == NULL)
        return TM_ERR_NOMEM;
    enum tm_err err = take_config(wal, config);
    if (err != TM_OK) {
        free(wal);
        return err;
    }
    if (!alloc_buffers(wal))
        err = TM_ERR_NOMEM;
    if (err == TM_OK)
        err = make_folders(wal);
    if (err == TM_OK)
        err = open_older(wal);
    if (err == TM_OK)
        err = start_own(wal);
    if (err != TM_OK) {
        close_files(wal);
        tm_wal_abandon(wal);
        return err;
    }
    *out = wal;
    return TM_OK;
}

void tm_wal_begin(struct tm_wal *wal)
{
    wal->overdrawn = is_more_than_it_may(wal, kept_bytes(wal));
    tm_wal_work(wal);
}

void tm_wal_close(struct tm_wal *wal, bool clean)
{
    TM_ASSERT(wal->under_way == 0 && wal->job == TM_WAL_JOB_NONE);
    if (clean && !wal->failed && wal->stage == NULL && wal->next == wal->head &&
        wal->offset + TM_WAL_PAGE * 16 <= wal->segments[wal->current].bytes) {
        tm_wal_stage_begin(wal, false);
        struct tm_wal_buffer *b = wal->stage;
        b->flags = TM_WAL_BLOCK_CLOSED;
        tm_wal_seal(wal);
        tm_wal_encode(wal, b);
        tm_disk_run_write(wal->disk, b->file, b->image, b->disk_bytes, b->offset, TM_DISK_DSYNC);
    }
    close_files(wal);
    tm_wal_abandon(wal);
}

/* --- removing a generation --- */

struct removal {
    struct tm_disk *disk;
    const char *folder;
    int64_t failed;
};

static void remove_file(void *arg, const char *name)
{
    struct removal *r = arg;
    char path[2 * TM_WAL_NAME_MAX];
    size_t a = strlen(r->folder), b = strlen(name);
    if (a + b + 2 > sizeof path)
        return;
    memcpy(path, r->folder, a);
    path[a] = '/';
    memcpy(path + a + 1, name, b + 1);
    int64_t n = tm_disk_run_unlink(r->disk, path);
    if (n < 0)
        r->failed = n;
}

enum tm_err tm_wal_remove_generation(struct tm_disk *disk, const char *folder, uint32_t generation)
{
    char name[TM_WAL_NAME_MAX];
    tm_wal_name_generation(name, folder, generation);
    struct removal r = {disk, name, 0};
    int64_t n = disk->list(disk, name, remove_file, &r);
    if (n >= 0)
        n = r.failed;
    return err_of(n) == TM_ERR_NOTFOUND ? TM_OK : err_of(n);
}
