/* Appending: the record goes to the WAL, its place and hash to the index, its bytes to the cache.
 * `pending` remembers, for each block that is not durable yet, where the log ended in it; when the
 * block is durable the log is durable up to there.  A cut takes both back at once, so that the
 * durable index never counts a record that was replaced.
 *
 * Repairs are appended as records that carry the lost one as their body; the index then points
 * into that.  The durable index stays below a fault, and below a repair that is not durable. */
#include "storage/log.h"

#include "storage/log_internal.h"

uint32_t tm_log_partition(const struct tm_log *log)
{
    return log->partition;
}

uint64_t tm_log_first(const struct tm_log *log)
{
    return log->base + 1;
}

uint64_t tm_log_last(const struct tm_log *log)
{
    return log->last;
}

/* A base without a term is one whose snapshot was lost. */
static bool known(const struct tm_log *log, uint64_t index)
{
    if (index == log->base)
        return log->base == 0 || log->base_term != 0;
    return index > log->base && index <= log->last && !tm_log_in_fault(log, index);
}

bool tm_log_term_at(const struct tm_log *log, uint64_t index, uint64_t *term)
{
    if (!known(log, index))
        return false;
    *term = index == log->base ? log->base_term : tm_log_index_term(&log->index, index);
    return true;
}

bool tm_log_hash_at(const struct tm_log *log, uint64_t index, uint64_t *hash)
{
    if (!known(log, index))
        return false;
    *hash = index == log->base ? log->base_hash : tm_log_index_at(&log->index, index)->hash;
    return true;
}

uint64_t tm_log_last_term(const struct tm_log *log)
{
    return log->last == log->base ? log->base_term : tm_log_index_term(&log->index, log->last);
}

uint64_t tm_log_last_hash(const struct tm_log *log)
{
    return log->last == log->base ? log->base_hash : tm_log_index_at(&log->index, log->last)->hash;
}

void tm_log_set_commit(struct tm_log *log, uint64_t commit)
{
    log->commit = tm_max_u64(log->commit, commit);
}

uint64_t tm_log_commit(const struct tm_log *log)
{
    return log->commit;
}

void tm_log_disown(struct tm_log *log)
{
    log->disowned = true;
    log->set->maintain = true;
}

bool tm_log_suspect(const struct tm_log *log)
{
    return log->suspect_rot || log->suspect_damaged;
}

/* --- durable --- */

uint64_t tm_log_durable(const struct tm_log *log)
{
    uint64_t durable = log->tail_durable;
    if (log->fault_count > 0)
        durable = tm_min_u64(durable, log->faults[0].first - 1);
    if (log->repair_first != 0)
        durable = tm_min_u64(durable, log->repair_first - 1);
    return durable;
}

void tm_log_tell_durable(struct tm_log *log)
{
    uint64_t durable = tm_log_durable(log);
    const struct tm_log_set_callbacks *cb = &log->set->config.callbacks;
    if (durable == log->durable_told)
        return;
    bool moved = durable > log->durable_told;
    log->durable_told = durable;
    if (moved && cb->durable != NULL && log->set->opened)
        cb->durable(cb->host, log->partition, durable);
}

void tm_log_block_durable(struct tm_log *log, uint64_t sequence)
{
    unsigned n = 0;
    while (n < log->pending_count && log->pending[n].sequence <= sequence)
        log->tail_durable = log->pending[n++].last;
    log->pending_count -= n;
    memmove(log->pending, log->pending + n, log->pending_count * sizeof log->pending[0]);
    if (log->repair_sequence <= sequence)
        log->repair_first = log->repair_sequence = 0;
    tm_log_tell_durable(log);
}

static void expect_durable(struct tm_log *log, uint64_t sequence)
{
    if (log->pending_count == 0 || log->pending[log->pending_count - 1].sequence != sequence) {
        TM_ASSERT(log->pending_count < TM_LOG_PENDING);
        log->pending[log->pending_count++].sequence = sequence;
    }
    log->pending[log->pending_count - 1].last = log->last;
}

/* --- faults --- */

bool tm_log_in_fault(const struct tm_log *log, uint64_t index)
{
    for (unsigned i = 0; i < log->fault_count; i++)
        if (index >= log->faults[i].first && index <= log->faults[i].last)
            return true;
    return false;
}

void tm_log_add_fault(struct tm_log *log, uint64_t first, uint64_t last)
{
    unsigned at = 0;
    if (first > last)
        return;
    while (at < log->fault_count && log->faults[at].last + 1 < first)
        at++;
    /* Everything that touches it becomes one with it. */
    unsigned end = at;
    while (end < log->fault_count && log->faults[end].first <= last + 1) {
        first = tm_min_u64(first, log->faults[end].first);
        last = tm_max_u64(last, log->faults[end].last);
        end++;
    }
    if (end == at && log->fault_count == TM_LOG_FAULTS_MAX) { /* too many: two become one */
        unsigned with = at == log->fault_count ? at - 1 : at;
        log->faults[with].first = tm_min_u64(first, log->faults[with].first);
        log->faults[with].last = tm_max_u64(last, log->faults[with].last);
        return;
    }
    memmove(&log->faults[at + 1], &log->faults[end],
            (log->fault_count - end) * sizeof log->faults[0]);
    log->faults[at] = (struct tm_log_range){first, last};
    log->fault_count = log->fault_count - (end - at) + 1;
}

/* The record `index` is there again. */
void tm_log_remove_fault(struct tm_log *log, uint64_t index)
{
    for (unsigned i = 0; i < log->fault_count; i++) {
        struct tm_log_range r = log->faults[i];
        if (index < r.first || index > r.last)
            continue;
        memmove(&log->faults[i], &log->faults[i + 1],
                (log->fault_count - i - 1) * sizeof log->faults[0]);
        log->fault_count--;
        if (index < r.last)
            tm_log_add_fault(log, index + 1, r.last);
        if (index > r.first)
            tm_log_add_fault(log, r.first, index - 1);
        return;
    }
}

static void clip_faults(struct tm_log *log, uint64_t first, uint64_t last)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < log->fault_count; i++) {
        struct tm_log_range r = log->faults[i];
        r.first = tm_max_u64(r.first, first);
        r.last = tm_min_u64(r.last, last);
        if (r.first <= r.last)
            log->faults[kept++] = r;
    }
    log->fault_count = kept;
}

unsigned tm_log_fault_count(const struct tm_log *log)
{
    return log->fault_count;
}

void tm_log_fault_at(const struct tm_log *log, unsigned i, uint64_t *first, uint64_t *last)
{
    TM_ASSERT(i < log->fault_count);
    *first = log->faults[i].first;
    *last = log->faults[i].last;
}

uint64_t tm_log_fault_hash(const struct tm_log *log, unsigned i)
{
    TM_ASSERT(i < log->fault_count);
    struct tm_log_range r = log->faults[i];
    bool here = r.first > log->base && r.last <= log->last;
    return here ? tm_log_index_at(&log->index, r.last)->hash : 0;
}

/* --- changing --- */

enum tm_err tm_log_push(struct tm_log *log, tm_wal_place place, uint64_t hash, uint64_t term)
{
    if (tm_log_index_reserve(&log->index) != TM_OK)
        return TM_ERR_NOMEM;
    tm_log_index_push(&log->index, (struct tm_log_entry){place, hash}, term);
    log->last++;
    return TM_OK;
}

void tm_log_truncate(struct tm_log *log, uint64_t last)
{
    TM_ASSERT(last >= log->base && last <= log->last);
    log->last = last;
    tm_log_index_cut(&log->index, last + 1);
    clip_faults(log, 0, last);
    log->tail_durable = tm_min_u64(log->tail_durable, last);
    for (unsigned i = 0; i < log->pending_count; i++)
        log->pending[i].last = tm_min_u64(log->pending[i].last, last);
    if (log->repair_first > last)
        log->repair_first = log->repair_sequence = 0;
    tm_log_cache_cut(log);
    log->durable_told = tm_min_u64(log->durable_told, last);
}

/* Empties the log: it goes on after (index, term, hash). */
void tm_log_rebase(struct tm_log *log, uint64_t index, uint64_t term, uint64_t hash)
{
    log->base = log->last = log->tail_durable = index;
    log->base_term = term;
    log->base_hash = hash;
    log->pending_count = log->fault_count = 0;
    log->repair_first = log->repair_sequence = 0;
    tm_log_index_reset(&log->index, index + 1);
    log->cache_first = index + 1;
}

static struct tm_wal_span span_of(const struct tm_log *log, uint32_t flags, uint64_t first,
                                  uint64_t last, uint64_t hash)
{
    return (struct tm_wal_span){.partition = log->partition,
                                .flags = flags,
                                .first = first,
                                .last = last,
                                .tail_hash = hash,
                                .commit = log->commit};
}

enum tm_err tm_log_append(struct tm_log *log, struct tm_bytes record, enum tm_wal_class klass)
{
    const struct tm_record *r = (const void *)record.data;
    TM_ASSERT(record.len == r->length && r->kind < TM_RECORD_LOCAL_FIRST);
    TM_ASSERT(r->partition == log->partition && r->index == log->last + 1);
    TM_ASSERT(r->prev_hash == tm_log_last_hash(log));
    if (tm_log_index_reserve(&log->index) != TM_OK)
        return TM_ERR_NOMEM;
    struct tm_wal_span span = span_of(log, 0, r->index, r->index, r->checksum);
    struct tm_wal_pos pos;
    enum tm_err err = tm_wal_append(log->set->wal, record, klass, &span, 1, &pos);
    if (err != TM_OK)
        return err;
    tm_log_index_push(&log->index, (struct tm_log_entry){pos.place, r->checksum}, r->term);
    log->last++;
    log->in_own = true;
    expect_durable(log, pos.sequence);
    tm_log_cache_add(log, r->index, record);
    return TM_OK;
}

void tm_log_prefetch(const struct tm_log *log, uint64_t index)
{
    tm_log_cache_prefetch(log, index);
}

struct tm_bytes tm_log_get(const struct tm_log *log, uint64_t index)
{
    return tm_log_cache_get(log, index);
}

/* Writes a complete record of the log's own; its span has no records, but begins at `first`. */
static enum tm_err write_own(struct tm_log *log, const struct tm_record *record,
                             uint32_t span_flags, uint64_t first, struct tm_wal_pos *pos)
{
    struct tm_wal_span span = span_of(log, span_flags, first, first - 1, record->prev_hash);
    return tm_wal_append(log->set->wal, tm_bytes_of(record, record->length), TM_WAL_RESERVED, &span,
                         1, pos);
}

enum tm_err tm_log_write_local(struct tm_log *log, struct tm_record *record, uint32_t span_flags,
                               uint64_t first, struct tm_wal_pos *pos)
{
    record->partition = log->partition;
    tm_record_seal(record);
    return write_own(log, record, span_flags, first, pos);
}

enum tm_err tm_log_cut(struct tm_log *log, uint64_t from)
{
    TM_ASSERT(from > log->base && from <= log->last && from > log->commit);
    uint64_t hash = log->base_hash;
    if (from - 1 > log->base)
        hash = tm_log_index_at(&log->index, from - 1)->hash;
    struct tm_record record = {.kind = TM_RECORD_CUT, .index = from, .prev_hash = hash};
    struct tm_wal_pos pos;
    enum tm_err err = tm_log_write_local(log, &record, TM_WAL_SPAN_CUT, from, &pos);
    if (err != TM_OK)
        return err;
    tm_log_truncate(log, from - 1);
    log->set->maintain = true;
    expect_durable(log, pos.sequence);
    return TM_OK;
}

void tm_log_drop_front(struct tm_log *log, uint64_t index, uint64_t term, uint64_t hash)
{
    TM_ASSERT(index >= log->base && index <= log->last);
    log->base = index;
    log->base_term = term;
    log->base_hash = hash;
    tm_log_index_drop(&log->index, index + 1);
    clip_faults(log, index + 1, UINT64_MAX);
    log->tail_durable = tm_max_u64(log->tail_durable, index);
    for (unsigned i = 0; i < log->pending_count; i++)
        log->pending[i].last = tm_max_u64(log->pending[i].last, index);
    if (log->repair_first != 0 && log->repair_first <= index)
        log->repair_first = index + 1;
    tm_log_cache_cut(log);
}

void tm_log_compact(struct tm_log *log, uint64_t index)
{
    if (index <= log->base)
        return;
    uint64_t term = 0, hash = 0;
    bool have = tm_log_term_at(log, index, &term) && tm_log_hash_at(log, index, &hash);
    TM_ASSERT(have);
    tm_log_compact_to(log, index, term, hash);
}

bool tm_log_knows(const struct tm_log *log, uint64_t index, uint64_t hash)
{
    uint64_t have = 0;
    if (tm_log_hash_at(log, index, &have))
        return have == hash;
    for (unsigned i = 0; i < log->fault_count && have == 0; i++)
        if (log->faults[i].last == index)
            have = tm_log_fault_hash(log, i);
    return have != 0 && have == hash;
}

void tm_log_compact_to(struct tm_log *log, uint64_t index, uint64_t term, uint64_t hash)
{
    if (index <= log->base)
        return;
    TM_ASSERT(tm_log_knows(log, index, hash));
    tm_log_drop_front(log, index, term, hash);
    tm_hs_set_floor(log->set->hs, log->partition, index, hash);
    log->set->maintain = true;
    log->durable_told = tm_log_durable(log);
}

static bool lies_below(const struct tm_log *log, uint64_t index, uint64_t segment)
{
    return tm_log_segment_of(log, index) < segment;
}

uint64_t tm_log_last_below(const struct tm_log *log, uint64_t segment)
{
    uint64_t low = tm_log_ragged(log), high = log->last;
    while (low < high) {
        uint64_t mid = low + (high - low + 1) / 2;
        if (lies_below(log, mid, segment))
            low = mid;
        else
            high = mid - 1;
    }
    while (low > log->base && !lies_below(log, low, segment))
        low--;
    return low;
}

static enum tm_err restart(struct tm_log *log, enum tm_record_kind kind, uint64_t index,
                           uint64_t term, uint64_t hash)
{
    struct tm_record record = {
        .kind = (uint16_t)kind, .index = index, .term = term, .prev_hash = hash};
    struct tm_wal_pos pos;
    enum tm_err err = tm_log_write_local(log, &record, TM_WAL_SPAN_RESET, index + 1, &pos);
    if (err != TM_OK)
        return err;
    tm_log_rebase(log, index, term, hash);
    log->suspect_rot = false;
    log->suspect_damaged = kind == TM_RECORD_FORGET;
    log->commit = tm_max_u64(log->commit, index);
    log->in_own = true;
    log->durable_told = index;
    tm_hs_set_floor(log->set->hs, log->partition, index, hash);
    log->set->maintain = true;
    return TM_OK;
}

enum tm_err tm_log_reset(struct tm_log *log, uint64_t index, uint64_t term, uint64_t hash)
{
    return restart(log, TM_RECORD_RESET, index, term, hash);
}

enum tm_err tm_log_forget(struct tm_log *log, uint64_t index, uint64_t term, uint64_t hash)
{
    return restart(log, TM_RECORD_FORGET, index, term, hash);
}

/* --- repair --- */

/* Is it the record that was lost?  Its hash says so where it is known (the one behind it told);
 * else it must continue what is before it. */
static bool fits(const struct tm_log *log, const struct tm_record *r)
{
    uint64_t before, have = tm_log_index_at(&log->index, r->index)->hash;
    bool linked = tm_log_hash_at(log, r->index - 1, &before);
    if (linked && r->prev_hash != before)
        return false;
    return have != 0 ? have == r->checksum : linked;
}

/* A repaired record is the body of a REPAIR record, built in the set's scratch.  That one may be
 * longer than other records are and has no checksum of its own: its body has one. */
static enum tm_err write_repair(struct tm_log *log, struct tm_bytes lost, struct tm_wal_pos *pos)
{
    struct tm_record *record = (void *)log->set->scratch;
    const struct tm_record *inner = (const void *)lost.data;
    if (lost.len > log->set->scratch_bytes - sizeof *record)
        return TM_ERR_TOOBIG;
    *record = (struct tm_record){.kind = TM_RECORD_REPAIR,
                                 .length = (uint32_t)(sizeof *record + lost.len),
                                 .partition = log->partition,
                                 .body_len = (uint32_t)lost.len,
                                 .index = inner->index,
                                 .term = inner->term,
                                 .prev_hash = inner->prev_hash};
    memcpy(record + 1, lost.data, lost.len);
    return write_own(log, record, 0, log->last + 1, pos);
}

enum tm_err tm_log_repair(struct tm_log *log, struct tm_bytes bytes)
{
    const struct tm_record *r = (const void *)bytes.data;
    if (r->index <= log->base || r->index > log->last || !tm_log_in_fault(log, r->index))
        return TM_ERR_INVALID;
    if (r->partition != log->partition || r->kind >= TM_RECORD_LOCAL_FIRST || !fits(log, r))
        return TM_ERR_CORRUPT;
    struct tm_wal_pos pos;
    enum tm_err err = write_repair(log, bytes, &pos);
    if (err == TM_OK)
        err = tm_log_index_set_term(&log->index, r->index, r->term);
    if (err != TM_OK)
        return err;
    *tm_log_index_at(&log->index, r->index) = (struct tm_log_entry){pos.place, r->checksum};
    log->repair_sequence = pos.sequence;
    log->repair_first = log->repair_first == 0 ? r->index : tm_min_u64(log->repair_first, r->index);
    log->in_own = true;
    log->repaired = tm_max_u64(log->repaired, r->index);
    tm_log_remove_fault(log, r->index);
    log->set->maintain |= log->fault_count == 0;
    if (tm_log_in_fault(log, r->index - 1) && r->index - 1 > log->base)
        tm_log_index_at(&log->index, r->index - 1)->hash = r->prev_hash;
    return TM_OK;
}

enum tm_err tm_log_clear_suspect(struct tm_log *log)
{
    if (!tm_log_suspect(log))
        return TM_OK;
    struct tm_record record = {
        .kind = TM_RECORD_CLEAR, .index = log->last, .prev_hash = tm_log_last_hash(log)};
    struct tm_wal_pos pos;
    enum tm_err err = tm_log_write_local(log, &record, 0, log->last + 1, &pos);
    if (err != TM_OK)
        return err;
    log->suspect_rot = log->suspect_damaged = false;
    log->set->maintain = true;
    return TM_OK;
}
