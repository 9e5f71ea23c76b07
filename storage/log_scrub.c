/* What a scrub finds in the WAL, as records of logs: the place of each record is known, so a bad
 * range of a segment is looked for in every log that may reach into it.  Bad bytes that no log
 * needs are no loss: the hard state has a file of its own, markers have served their time. */
#include "storage/log_internal.h"

static bool lies_in(const struct tm_log *log, uint64_t index, const struct tm_wal_scrub *scrub,
                    uint64_t from, uint64_t to)
{
    tm_wal_place place = tm_log_index_at(&log->index, index)->place;
    uint64_t offset = tm_wal_place_offset(place);
    return place != 0 && tm_wal_place_volume(place) == scrub->volume &&
           tm_wal_place_segment(place) == (scrub->segment & TM_WAL_SEGMENT_MASK) &&
           offset >= from && offset < to && !tm_log_in_fault(log, index);
}

/* Tells the runs of the log's records that lie there; each call may shorten the log. */
static void tell_lost(struct tm_log_scrub *s, const struct tm_log *log, uint64_t from, uint64_t to)
{
    for (uint64_t i = log->base + 1; i <= log->last; i++) {
        uint64_t last = i;
        if (!lies_in(log, i, &s->wal, from, to))
            continue;
        while (last < log->last && lies_in(log, last + 1, &s->wal, from, to))
            last++;
        s->lost(s, log->partition, i, last);
        i = tm_max_u64(last, log->base);
    }
}

static void on_bad(struct tm_wal_scrub *wal, uint64_t from, uint64_t to)
{
    struct tm_log_scrub *s = wal->owner;
    for (uint32_t i = 0; i < s->set->log_count; i++)
        if (!s->set->logs[i]->disowned)
            tell_lost(s, s->set->logs[i], from, to);
}

static void on_done(struct tm_wal_scrub *wal, uint64_t bytes)
{
    struct tm_log_scrub *s = wal->owner;
    s->set->fetches--;
    s->done(s, bytes);
}

enum tm_err tm_log_set_scrub(struct tm_log_set *set, struct tm_log_scrub *s, uint64_t bytes)
{
    s->set = set;
    s->wal.bad = on_bad;
    s->wal.done = on_done;
    s->wal.owner = s;
    enum tm_err err = tm_wal_scrub(set->wal, &s->wal, bytes);
    if (err == TM_OK)
        set->fetches++;
    return err;
}

void tm_log_scrub_free(struct tm_log_scrub *s)
{
    tm_wal_scrub_free(&s->wal);
}

void tm_log_lose(struct tm_log *log, uint64_t first, uint64_t last)
{
    first = tm_max_u64(first, log->base + 1);
    last = tm_min_u64(last, log->last);
    if (first > last)
        return;
    tm_ctx_log(log->set->ctx, TM_LOG_ERROR, "log_rot", "partition=%u first=%llu last=%llu",
               log->partition, (unsigned long long)first, (unsigned long long)last);
    tm_log_add_fault(log, first, last);
    log->durable_told = tm_min_u64(log->durable_told, tm_log_durable(log));
    const struct tm_log_set_callbacks *cb = &log->set->config.callbacks;
    if (cb->fault != NULL)
        cb->fault(cb->host, log->partition);
}
