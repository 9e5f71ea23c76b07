/* Opening: logs are made at their snapshots' bases, the WAL is opened and replays into them and
 * into the hard state, then the hard state file is sealed.  In the first start of a generation
 * each log that was carried over gets a MOVED record, which a later start checks against what it
 * finds in the older files.
 *
 * Giving up segments: at the end of a turn in which one may have become needless (a compaction, a
 * reset, a cut, the last repair, damage declared harmless, another current segment) the oldest that
 * any log still needs is looked up.  If the hard state file does not cover the ones below it yet,
 * or does not have the floors of what was compacted, it is refreshed first, and the release follows
 * when that is done: else the loss of a snapshot would leave a log that looks empty.  What was
 * compacted since then waits for the next time, so that a busy worker gives up segments, too. */
#include "storage/log_set.h"

#include <stdlib.h>

#include "storage/log_internal.h"

#define COMING   2         /* logs of a durable block that are fetched ahead */
#define RETRY_NS TM_MS(20) /* between attempts to write the hard state file for a release */

/* --- replay --- */

static uint32_t workers_of(const struct tm_log_set *set, uint32_t generation)
{
    for (unsigned i = 0; i < set->config.wal.older_count; i++)
        if (set->config.wal.older[i].generation == generation)
            return set->config.wal.older[i].workers;
    return set->config.workers;
}

static bool on_volume(void *host, uint32_t generation, uint32_t worker, uint64_t first_sequence)
{
    struct tm_log_set *set = host;
    set->volume_workers = workers_of(set, generation);
    set->volume_worker = worker;
    bool whole = tm_hs_volume(set->hs, generation, worker, set->volume_workers, first_sequence);
    if (generation != set->config.wal.generation)
        return false;
    set->own_lost = first_sequence == 0 && (!whole || set->config.opened);
    if (set->own_lost && whole)
        tm_hs_doubt(set->hs);
    for (uint32_t i = 0; i < set->log_count; i++)
        set->logs[i]->suspect_older = tm_log_suspect(set->logs[i]);
    return set->own_lost;
}

static void on_record(void *host, const struct tm_wal_found *found)
{
    struct tm_log_set *set = host;
    const struct tm_record *r = (const void *)found->record.data;
    if (r->kind == TM_RECORD_HARD_STATE) {
        tm_hs_record(set->hs, found);
        return;
    }
    struct tm_log *log = tm_log_of(set, r->partition);
    if (log != NULL)
        tm_log_replay_record(log, found);
}

static void on_fault(void *host, const struct tm_wal_fault *fault)
{
    struct tm_log_set *set = host;
    tm_hs_fault(set->hs, fault);
    bool all = fault->span.partition == TM_WAL_ALL;
    uint32_t step = all ? set->volume_workers : set->config.wal.partitions;
    uint32_t from = all ? set->volume_worker : fault->span.partition;
    for (uint32_t p = from; p < set->config.wal.partitions; p += step) {
        struct tm_log *log = tm_log_of(set, p);
        if (log != NULL)
            tm_log_replay_fault(log, fault);
    }
}

/* --- what the WAL tells while running --- */

void tm_log_set_prefetch(const struct tm_log_set *set, uint32_t partition)
{
    const struct tm_log *log = tm_log_of(set, partition);
    if (log != NULL)
        tm_log_prefetch_head(log);
}

static void announce(const struct tm_log_set *set, uint32_t partition)
{
    const struct tm_log_set_callbacks *cb = &set->config.callbacks;
    tm_log_set_prefetch(set, partition);
    if (cb->coming != NULL)
        cb->coming(cb->host, partition);
}

static void on_durable(void *host, uint64_t sequence, const struct tm_wal_span *spans,
                       unsigned count)
{
    struct tm_log_set *set = host;
    const struct tm_log_set_callbacks *cb = &set->config.callbacks;
    for (unsigned i = 0; i < count && i < COMING; i++)
        announce(set, spans[i].partition);
    for (unsigned i = 0; i < count; i++) {
        struct tm_log *log = tm_log_of(set, spans[i].partition);
        if (i + COMING < count)
            announce(set, spans[i + COMING].partition);
        tm_log_block_durable(log, sequence);
        if ((spans[i].flags & TM_WAL_SPAN_HARD) != 0 && cb->hard != NULL)
            cb->hard(cb->host, spans[i].partition);
    }
}

/* The WAL, or the hard state's file. */
static void on_failed(void *host, enum tm_err err)
{
    struct tm_log_set *set = host;
    const struct tm_log_set_callbacks *cb = &set->config.callbacks;
    bool told = set->failed;
    set->failed = true;
    if (cb->failed != NULL && !told)
        cb->failed(cb->host, err);
}

static void on_hard_saved(void *host, uint32_t partition)
{
    const struct tm_log_set_callbacks *cb = &((struct tm_log_set *)host)->config.callbacks;
    if (cb->hard != NULL)
        cb->hard(cb->host, partition);
}

static void on_space(void *host, bool available)
{
    const struct tm_log_set_callbacks *cb = &((struct tm_log_set *)host)->config.callbacks;
    if (cb->space != NULL)
        cb->space(cb->host, available);
}

/* --- opening --- */

static bool make_logs(struct tm_log_set *set)
{
    const struct tm_log_set_config *c = &set->config;
    set->log_count = 0;
    for (uint32_t p = c->wal.worker; p < c->wal.partitions; p += c->workers) {
        struct tm_log *log = calloc(1, sizeof *log);
        if (log == NULL)
            return false;
        set->logs[set->log_count++] = log;
        struct tm_log_base base = {0};
        if (c->base != NULL && !c->base(c->callbacks.host, p, &base))
            base = (struct tm_log_base){0};
        log->set = set;
        log->partition = p;
        log->root = base.index;
        log->root_term = base.term;
        log->root_hash = base.hash;
        log->lost = base.lost;
        log->lost_hash = base.lost_hash;
        tm_log_rebase(log, base.index, base.term, base.hash);
    }
    return true;
}

static enum tm_err make_parts(struct tm_log_set *set)
{
    struct tm_wal_config *w = &set->config.wal;
    struct tm_hs_config hs = {.ctx = w->ctx,
                              .folder = w->folder,
                              .generation = w->generation,
                              .worker = w->worker,
                              .workers = set->config.workers,
                              .partitions = w->partitions,
                              .disk_id = w->disk_id,
                              .host = set,
                              .saved = on_hard_saved,
                              .failed = on_failed};
    memcpy(hs.cluster, w->cluster, 16);
    if (set->config.workers == 0 || w->worker >= set->config.workers || w->partitions == 0)
        return TM_ERR_INVALID;
    uint64_t cache = set->config.cache_bytes != 0 ? set->config.cache_bytes : TM_MIB(16);
    set->logs = calloc(w->partitions, sizeof(struct tm_log *));
    if (set->logs == NULL || !tm_log_cache_init(&set->cache, cache) || !make_logs(set))
        return TM_ERR_NOMEM;
    return tm_hs_new(&hs, &set->hs);
}

/* Says in the present generation where the log came from. */
static enum tm_err write_moved(struct tm_log *log)
{
    struct tm_record record = {.kind = TM_RECORD_MOVED,
                               .term = tm_log_last_term(log),
                               .index = log->last,
                               .hlc = log->replay_sequence,
                               .origin =
                                   (uint64_t)log->replay_generation << 32 | log->replay_worker,
                               .prev_hash = tm_log_last_hash(log)};
    struct tm_wal_pos pos;
    enum tm_err err = tm_log_write_local(log, &record, 0, log->last + 1, &pos);
    if (err == TM_OK)
        log->moved = pos.place;
    return err;
}

static enum tm_err write_suspect(struct tm_log *log)
{
    struct tm_record record = {.kind = TM_RECORD_SUSPECT, .index = log->last};
    struct tm_wal_pos pos;
    return tm_log_write_local(log, &record, 0, log->last + 1, &pos);
}

static enum tm_err finish_logs(struct tm_log_set *set)
{
    enum tm_err err = TM_OK;
    for (uint32_t i = 0; i < set->log_count && err == TM_OK; i++) {
        struct tm_log *log = set->logs[i];
        bool carried = !log->in_own && log->last > 0 && set->config.wal.older_count > 0;
        tm_log_replay_end(log);
        log->suspect_damaged |= set->own_lost;
        if (log->suspect_older && !set->own_lost && tm_log_suspect(log))
            err = write_suspect(log);
        if (err == TM_OK && carried)
            err = write_moved(log);
    }
    return err;
}

static enum tm_err open_set(struct tm_log_set *set)
{
    enum tm_err err = make_parts(set);
    if (err != TM_OK)
        return err;
    struct tm_wal_config w = set->config.wal;
    w.callbacks = (struct tm_wal_callbacks){set, on_durable, on_failed, on_space};
    w.replay = (struct tm_wal_replay){set, on_volume, on_record, on_fault};
    err = tm_wal_open(&w, &set->wal);
    if (err != TM_OK)
        return err;
    set->scratch_bytes = tm_wal_max_record(set->wal);
    set->scratch = malloc(set->scratch_bytes);
    err = set->scratch == NULL ? TM_ERR_NOMEM : TM_OK;
    if (err == TM_OK)
        err = tm_hs_seal(set->hs, set->wal);
    if (err != TM_OK)
        return err;
    tm_wal_begin(set->wal);
    err = finish_logs(set);
    if (err == TM_OK)
        tm_wal_flush(set->wal);
    return err;
}

enum tm_err tm_log_set_open(const struct tm_log_set_config *config, struct tm_log_set **out)
{
    struct tm_log_set *set = calloc(1, sizeof *set);
    if (set == NULL)
        return TM_ERR_NOMEM;
    set->config = *config;
    set->ctx = config->wal.ctx;
    enum tm_err err = open_set(set);
    if (err != TM_OK) {
        /* What is under way needs its memory; the node ends with this error. */
        if (set->wal == NULL || tm_wal_idle(set->wal))
            tm_log_set_abandon(set);
        return err;
    }
    set->opened = true;
    set->maintain = true;
    *out = set;
    return TM_OK;
}

void tm_log_set_abandon(struct tm_log_set *set)
{
    if (set->wal != NULL)
        tm_wal_abandon(set->wal);
    if (set->hs != NULL)
        tm_hs_free(set->hs);
    for (uint32_t i = 0; i < set->log_count; i++) {
        tm_log_index_free(&set->logs[i]->index);
        free(set->logs[i]->cache_at);
        free(set->logs[i]);
    }
    free(set->logs);
    free(set->scratch);
    free(set->cache.bytes);
    free(set);
}

void tm_log_set_close(struct tm_log_set *set, bool clean)
{
    TM_ASSERT(tm_log_set_idle(set));
    tm_hs_close(set->hs);
    tm_wal_close(set->wal, clean);
    set->wal = NULL;
    tm_log_set_abandon(set);
}

bool tm_log_set_idle(const struct tm_log_set *set)
{
    return tm_wal_idle(set->wal) && !tm_hs_refreshing(set->hs) && set->fetches == 0;
}

struct tm_log *tm_log_set_log(struct tm_log_set *set, uint32_t partition)
{
    struct tm_log *log = tm_log_of(set, partition);
    TM_ASSERT(log != NULL);
    return log;
}

struct tm_hs *tm_log_set_hs(struct tm_log_set *set)
{
    return set->hs;
}

struct tm_wal *tm_log_set_wal(struct tm_log_set *set)
{
    return set->wal;
}

/* --- giving up segments --- */

/* The oldest segment of the present generation that the log needs; UINT64_MAX: none. */
static uint64_t oldest_needed(const struct tm_log *log)
{
    const struct tm_wal *wal = log->set->wal;
    uint64_t oldest = UINT64_MAX;
    if (log->disowned)
        return oldest;
    if (tm_log_suspect(log) || log->fault_count > 0)
        return tm_wal_first_segment(wal);
    uint64_t ragged = tm_log_ragged(log), before = tm_max_u64(ragged, tm_log_last_below(log, 1));
    bool older = before > ragged;
    for (uint64_t i = log->base + 1; i <= ragged; i++) {
        uint64_t segment = tm_log_segment_of(log, i);
        older |= segment == 0;
        if (segment != 0)
            oldest = tm_min_u64(oldest, segment);
    }
    if (before < log->last)
        oldest = tm_min_u64(oldest, tm_log_segment_of(log, before + 1));
    if (older && log->moved != 0)
        oldest = tm_min_u64(oldest, tm_wal_segment_of(wal, log->moved));
    return oldest;
}

/* Some record lies in an older generation: the first one, if none was lost or written anew. */
static bool reaches_back(const struct tm_log *log)
{
    uint64_t last = tm_min_u64(tm_log_ragged(log) + 1, log->last);
    for (uint64_t i = log->base + 1; i <= last; i++)
        if (tm_wal_place_volume(tm_log_index_at(&log->index, i)->place) != 0)
            return true;
    return false;
}

bool tm_log_set_needs_older(const struct tm_log_set *set, uint32_t *partition)
{
    for (uint32_t i = 0; i < set->log_count; i++) {
        const struct tm_log *log = set->logs[i];
        if (log->disowned || !reaches_back(log))
            continue;
        *partition = log->partition;
        return true;
    }
    return false;
}

static uint64_t oldest_of_all(const struct tm_log_set *set)
{
    uint64_t oldest = tm_wal_current_segment(set->wal);
    for (uint32_t i = 0; i < set->log_count; i++)
        oldest = tm_min_u64(oldest, oldest_needed(set->logs[i]));
    return oldest;
}

/* Whether the file has what was noted by now; last: the last block of what might go. */
static bool is_saved(const struct tm_log_set *set, uint64_t last)
{
    return last <= tm_hs_covered(set->hs) && tm_hs_floors_saved(set->hs) >= set->release_floors;
}

/* Notes what might go, or gives up what was noted if the file has what it was noted with by now,
 * and if what made it needless (a cut, a repair) is durable.  True if nothing is left to go; *last:
 * the last block that the file has to cover. */
static bool give_up(struct tm_log_set *set, uint64_t oldest, uint64_t *last)
{
    if (set->release_to == 0) {
        set->release_to = oldest;
        set->release_floors = tm_hs_floors(set->hs);
        set->release_sequence = tm_wal_begun(set->wal);
    }
    set->release_to = tm_min_u64(set->release_to, oldest);
    bool some = set->release_to > tm_wal_first_segment(set->wal);
    *last = some ? tm_wal_segment_last_sequence(set->wal, set->release_to - 1) : 0;
    if (!is_saved(set, *last) || tm_wal_durable(set->wal) < set->release_sequence)
        return false;
    if (some)
        tm_wal_release(set->wal, set->release_to);
    bool all = set->release_to == oldest && set->release_floors == tm_hs_floors(set->hs);
    set->release_to = 0;
    return all;
}

static void give_up_segments(struct tm_log_set *set)
{
    uint64_t oldest = oldest_of_all(set), last;
    set->looked_in = tm_wal_current_segment(set->wal);
    set->maintain = !give_up(set, oldest, &last) && !give_up(set, oldest, &last);
    uint64_t now = tm_ctx_now(set->ctx);
    if (!set->maintain || is_saved(set, last) || last > tm_wal_durable(set->wal) ||
        now < set->refresh_after_ns)
        return;
    set->refresh_after_ns = now + RETRY_NS; /* and again when the file is written */
    tm_hs_refresh(set->hs, set->wal);
}

/* --- turns --- */

void tm_log_set_flush(struct tm_log_set *set)
{
    if (set->failed)
        return;
    enum tm_err err = tm_hs_commit(set->hs, set->wal);
    set->maintain |= tm_wal_current_segment(set->wal) != set->looked_in;
    if (set->maintain && !tm_hs_refreshing(set->hs))
        give_up_segments(set);
    if (tm_hs_unsaved(set->hs))
        tm_hs_refresh(set->hs, set->wal);
    tm_wal_flush(set->wal);
    if (err == TM_ERR_FULL && tm_hs_commit(set->hs, set->wal) == TM_OK)
        tm_wal_flush(set->wal);
}

void tm_log_set_tick(struct tm_log_set *set)
{
    tm_wal_tick(set->wal);
}

uint64_t tm_log_set_next_deadline(const struct tm_log_set *set)
{
    uint64_t wal = tm_wal_next_deadline(set->wal);
    bool waits = set->release_to != 0 && tm_wal_durable(set->wal) < set->release_sequence;
    if (tm_hs_refreshing(set->hs) || set->failed || !set->maintain || waits)
        return wal;
    return tm_min_u64(wal, tm_max_u64(set->refresh_after_ns, 1));
}
