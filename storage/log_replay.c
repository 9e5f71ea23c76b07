/* Rebuilding a log from what the WAL's replay finds, in the order in which it was appended.
 *
 * A log starts at its snapshot's base, its *root*.  If the WAL has older records still, it begins
 * with the first of them instead, and in the end they stay if they lead up to the root without a
 * gap, else they go.  What follows links by index and hash.  Where it does not, something was lost:
 *   - an index further on: the ones between are a fault;
 *   - an index that is there already: a cut was lost, which must have come before it;
 *   - another hash before it: what the log holds behind the commit index is from before a cut that
 *     was lost, and is a fault.
 * (The last two also happen for a moment behind a snapshot's base, while old records are replayed
 * that a later CUT removes again.)
 * A rotten block's directory says what to expect, so most of it is known before. */
#include "storage/log_internal.h"

/* More records than this missing at the front are not entered one by one: a snapshot is lost. */
#define LOST_SNAPSHOT 65536u
/* Nor more than this anywhere: a snapshot has to bring them, and what lies before them. */
#define LOST_RECORDS 4194304u

#define INDEX_MAX (1ull << 60) /* no log reaches that: who says so is damaged */

/* That a log is suspect is no place of it: it has not moved by that. */
static void note_place(struct tm_log *log, const struct tm_wal_found *found)
{
    const struct tm_record *r = (const void *)found->record.data;
    log->commit = tm_max_u64(log->commit, found->commit);
    if (r->kind == TM_RECORD_SUSPECT)
        return;
    log->replay_generation = found->generation;
    log->replay_worker = found->worker;
    log->replay_sequence = found->sequence;
    log->in_own |= found->generation == log->set->config.wal.generation;
}

/* The log's records up to `last` exist but are lost. */
static void lose_until(struct tm_log *log, uint64_t last, uint64_t last_hash)
{
    uint64_t first = log->last + 1;
    if (last < first)
        return;
    if (last - first > (log->last == log->base ? LOST_SNAPSHOT : LOST_RECORDS)) {
        first = log->base + 1;
        tm_log_rebase(log, last, 0, last_hash);
        tm_log_add_fault(log, first, last);
        return;
    }
    while (log->last < last)
        if (tm_log_push(log, 0, log->last + 1 == last ? last_hash : 0, 0) != TM_OK)
            break;
    log->cache_first = log->last + 1;
    tm_log_add_fault(log, first, last);
}

/* A cut may have been lost: what the log holds may be from before it, but for what was committed
 * then.  The last record's hash is `hash`, 0 if not known. */
static void doubt(struct tm_log *log, uint64_t hash)
{
    uint64_t first = tm_max_u64(log->base, log->replay_sure) + 1;
    for (uint64_t i = first; i <= log->last; i++)
        *tm_log_index_at(&log->index, i) = (struct tm_log_entry){0, i == log->last ? hash : 0};
    tm_log_add_fault(log, first, log->last);
}

/* Records up to `last` must have been here, and a cut may have been among what was lost. */
static void jump_to(struct tm_log *log, uint64_t last, uint64_t hash)
{
    if (last <= log->last)
        return;
    doubt(log, 0);
    lose_until(log, last, hash);
}

static uint64_t last_hash(const struct tm_log *log)
{
    return log->last == log->base ? log->base_hash : tm_log_index_at(&log->index, log->last)->hash;
}

/* The record before the next one was found to have the hash `prev`.  false: that contradicts the
 * snapshot's base or what was committed, so the next one is not to be trusted. */
static bool link_up(struct tm_log *log, uint64_t prev)
{
    uint64_t have = last_hash(log);
    if (have == prev || log->last == 0)
        return true;
    if (have == 0 && tm_log_in_fault(log, log->last)) {
        if (log->last == log->base)
            log->base_hash = prev;
        else
            tm_log_index_at(&log->index, log->last)->hash = prev;
        return true;
    }
    if (log->last == log->base)
        return false;
    if (log->replay_sure >= log->last)
        return false;
    doubt(log, prev);
    return true;
}

/* The log goes on with that record, at the end or behind what is missing. */
static void go_on_with(struct tm_log *log, const struct tm_record *r, tm_wal_place place,
                       struct tm_bytes bytes)
{
    jump_to(log, r->index - 1, r->prev_hash);
    bool linked = link_up(log, r->prev_hash);
    if (tm_log_push(log, place, r->checksum, r->term) != TM_OK)
        return;
    if (!linked)
        tm_log_add_fault(log, r->index, r->index);
    tm_log_cache_add(log, r->index, bytes);
    if (log->set->config.found != NULL && r->index > log->root)
        log->set->config.found(log->set->config.callbacks.host, log->partition, bytes);
}

static void replay_effect(struct tm_log *log, const struct tm_record *r, tm_wal_place place,
                          struct tm_bytes bytes)
{
    if (r->index <= log->base && r->index > log->root)
        return;
    if (r->index <= log->base)
        tm_log_rebase(log, r->index - 1, 0, r->prev_hash);
    else if (r->index <= log->last)
        tm_log_truncate(log, r->index - 1);
    go_on_with(log, r, place, bytes);
    log->suspect_rot = false;
}

/* What a repair brings back, if it is a record of the log. */
static const struct tm_record *brought_back(const struct tm_record *repair)
{
    const struct tm_record *r = (const void *)(repair + 1);
    if (repair->length < sizeof *repair + sizeof *r || r->length != repair->length - sizeof *repair)
        return NULL;
    return r->partition == repair->partition && r->kind < TM_RECORD_LOCAL_FIRST ? r : NULL;
}

/* Beyond the end: the segment of what it repairs was given up, for nothing else was in it. */
static void replay_repair(struct tm_log *log, const struct tm_record *repair, tm_wal_place place)
{
    const struct tm_record *r = brought_back(repair);
    if (r == NULL || r->index <= log->base)
        return;
    log->repaired = tm_max_u64(log->repaired, r->index);
    if (r->index > log->last) {
        go_on_with(log, r, place, tm_bytes_of(r, r->length));
        return;
    }
    if (tm_log_index_set_term(&log->index, r->index, r->term) != TM_OK)
        return;
    *tm_log_index_at(&log->index, r->index) = (struct tm_log_entry){place, r->checksum};
    tm_log_remove_fault(log, r->index);
    if (log->set->config.restored != NULL && r->index > log->root)
        log->set->config.restored(log->set->config.callbacks.host, log->partition,
                                  tm_bytes_of(r, r->length));
}

static void cut_from(struct tm_log *log, uint64_t from)
{
    uint64_t last = tm_max_u64(from - 1, log->base);
    if (last < log->last)
        tm_log_truncate(log, last);
    else
        jump_to(log, from - 1, 0);
}

static void replay_cut(struct tm_log *log, const struct tm_record *r)
{
    cut_from(log, r->index);
    log->suspect_rot = false;
    if (log->last == r->index - 1)
        link_up(log, r->prev_hash);
}

/* The log went on after a snapshot that ended at `index`.  The one that was found holds all of it,
 * or what it does not hold is lost.  Of several such records the last counts, also if it reaches
 * less far. */
static void begin_after(struct tm_log *log, uint64_t index, uint64_t hash)
{
    if (index > log->root) {
        tm_log_rebase(log, index, 0, hash);
        tm_log_add_fault(log, log->root + 1, index);
    } else if (hash != 0 && index > 0) {
        tm_log_rebase(log, index, 0, hash);
    } else {
        tm_log_rebase(log, log->root, log->root_term, log->root_hash);
    }
}

static void replay_reset(struct tm_log *log, const struct tm_record *r)
{
    begin_after(log, r->index, r->prev_hash);
    log->commit = tm_max_u64(log->commit, r->index);
    log->suspect_rot = log->suspect_damaged = log->suspect_older = false;
}

/* The log went on here from an older generation, where it ended with this record. */
static void replay_moved(struct tm_log *log, const struct tm_record *r, tm_wal_place place)
{
    log->moved = place;
    log->suspect_rot = false;
    if (r->index <= log->base)
        return;
    if (r->index < log->last)
        tm_log_truncate(log, r->index);
    jump_to(log, r->index, r->prev_hash);
    link_up(log, r->prev_hash);
}

/* Hands on what is committed by now, from the root on.  The next one is in memory, for it was found
 * just before; or it is lost, and with it what follows. */
static void hand_on(struct tm_log *log)
{
    const struct tm_log_set_config *c = &log->set->config;
    log->handed_on = tm_max_u64(log->handed_on, log->root);
    while (c->committed != NULL && log->handed_on < log->replay_sure) {
        uint64_t index = log->handed_on + 1;
        struct tm_bytes record = tm_log_cache_get(log, index);
        const struct tm_record *r = (const void *)record.data;
        if (index <= log->base || r == NULL || tm_log_in_fault(log, index) ||
            (index == log->root + 1 && r->prev_hash != log->root_hash))
            return;
        c->committed(c->callbacks.host, log->partition, record);
        log->handed_on = index;
    }
}

void tm_log_replay_record(struct tm_log *log, const struct tm_wal_found *found)
{
    const struct tm_record *r = (const void *)found->record.data;
    bool counted = r->kind < TM_RECORD_LOCAL_FIRST || r->kind == TM_RECORD_CUT;
    if (r->index > INDEX_MAX || (counted && r->index == 0)) {
        log->suspect_damaged = true;
        return;
    }
    note_place(log, found);
    switch (r->kind) {
    case TM_RECORD_CUT:
        replay_cut(log, r);
        break;
    case TM_RECORD_RESET:
        replay_reset(log, r);
        break;
    case TM_RECORD_FORGET:
        replay_reset(log, r);
        log->suspect_damaged = true;
        break;
    case TM_RECORD_MOVED:
        replay_moved(log, r, found->place);
        break;
    case TM_RECORD_REPAIR:
        replay_repair(log, r, found->place);
        break;
    case TM_RECORD_SUSPECT:
        log->suspect_damaged = true;
        log->suspect_older = false;
        break;
    case TM_RECORD_CLEAR:
        log->suspect_rot = log->suspect_damaged = log->suspect_older = false;
        break;
    default:
        if (r->kind < TM_RECORD_LOCAL_FIRST)
            replay_effect(log, r, found->place, found->record);
    }
    log->replay_sure = tm_min_u64(log->commit, log->last);
    hand_on(log);
}

/* What a rotten block held of this partition, as the directory behind it says.  If blocks before
 * it are unknown, nothing links what it held to what came before them.  Without records it begins
 * where the log ended: what is missing there was repaired by it. */
static void lose_span(struct tm_log *log, const struct tm_wal_span *span)
{
    bool ranged = span->last >= span->first, cut = (span->flags & TM_WAL_SPAN_CUT) != 0;
    bool reset = (span->flags & TM_WAL_SPAN_RESET) != 0;
    if (tm_max_u64(span->first, span->last) > INDEX_MAX ||
        (span->first == 0 && (ranged || cut || reset))) {
        log->suspect_rot = true;
        return;
    }
    if (reset)
        begin_after(log, span->first - 1, 0);
    else if (cut || (ranged && span->first <= log->last))
        cut_from(log, span->first);
    if ((ranged || cut) && (log->suspect_rot || span->first > log->last + 1))
        doubt(log, 0);
    if (ranged || cut)
        log->suspect_rot = false;
    if (ranged)
        lose_until(log, span->last, span->tail_hash);
    else if (!cut && !reset)
        lose_until(log, tm_max_u64(span->first, 1) - 1, 0);
    log->commit = tm_max_u64(log->commit, span->commit);
    log->replay_sure = tm_min_u64(log->commit, log->last);
}

void tm_log_replay_fault(struct tm_log *log, const struct tm_wal_fault *fault)
{
    if (fault->span.partition != TM_WAL_ALL) {
        lose_span(log, &fault->span);
    } else if (fault->kind == TM_WAL_DAMAGED) { /* the first block of this start says so, too */
        log->suspect_damaged = true;
        log->suspect_older = false;
    } else {
        log->suspect_rot = true;
    }
}

/* Whether everything from the beginning to the root is here, and ends as the snapshot does. */
static bool leads_to_root(const struct tm_log *log)
{
    bool whole = log->fault_count == 0 || log->faults[0].first > log->root;
    return whole && tm_log_index_at(&log->index, log->root)->hash == log->root_hash;
}

/* The snapshot holds everything up to the root: what is missing or wrong before that is no loss. */
static void join_root(struct tm_log *log)
{
    uint64_t root = log->root, hash = 0;
    if (root == 0 || log->base > root)
        return;
    if (log->base < root && log->last >= root && leads_to_root(log)) {
        if (log->base > 0) /* a record tells the term that the base itself does not */
            tm_log_drop_front(log, log->base + 1, tm_log_index_term(&log->index, log->base + 1),
                              tm_log_index_at(&log->index, log->base + 1)->hash);
        return;
    }
    if (log->last <= root) {
        tm_log_rebase(log, root, log->root_term, log->root_hash);
        return;
    }
    hash = log->base == root ? log->base_hash : tm_log_index_at(&log->index, root)->hash;
    tm_log_drop_front(log, root, log->root_term, log->root_hash);
    if (hash != 0 && hash != log->root_hash)
        tm_log_add_fault(log, root + 1, root + 1); /* it follows something else */
}

/* Replay is over: all that was found is durable. */
void tm_log_replay_end(struct tm_log *log)
{
    uint64_t floor, hash;
    join_root(log);
    log->commit = tm_max_u64(log->commit, log->root);
    tm_hs_floor(log->set->hs, log->partition, &floor, &hash);
    if (floor > log->last)
        lose_until(log, floor, hash);
    lose_until(log, log->lost, log->lost_hash);
    log->tail_durable = log->last;
    log->durable_told = tm_log_durable(log);
}
