/* Fetching older records: one verified block read after the other.  A block usually holds several
 * of the records wanted, so each read goes on as long as the block has the next one.  A block that
 * does not verify makes a fault of all of the log's records that lie in it. */
#include "storage/log_internal.h"

static void start_read(struct tm_log_fetch *fetch);

/* The lost or repaired record itself: a repair carries it as its body. */
static struct tm_bytes unwrap(struct tm_bytes record)
{
    const struct tm_record *r = (const void *)record.data;
    return r->kind == TM_RECORD_REPAIR ? tm_record_body(r) : record;
}

uint64_t tm_log_place(const struct tm_log *log, uint64_t index)
{
    if (index <= log->base || index > log->last)
        return 0;
    return tm_log_index_at(&log->index, index)->place;
}

/* Whether that is the record of the log at the index, as it lies there. */
static bool is_record(const struct tm_log *log, uint64_t index, struct tm_bytes bytes,
                      tm_wal_place place)
{
    const struct tm_record *r = (const void *)bytes.data;
    return tm_log_place(log, index) == place &&
           tm_log_index_at(&log->index, index)->hash == r->checksum;
}

static void give_other(struct tm_log_fetch *fetch, struct tm_bytes record, tm_wal_place place)
{
    struct tm_bytes bytes = unwrap(record);
    const struct tm_record *r = (const void *)bytes.data;
    if (bytes.len < sizeof *r)
        return;
    const struct tm_log *log = tm_log_of(fetch->log->set, r->partition);
    if (log != NULL && log != fetch->log && is_record(log, r->index, bytes, place))
        fetch->other(fetch, log, r->index, bytes);
}

static bool take_record(struct tm_wal_read *read, struct tm_bytes record, tm_wal_place place)
{
    struct tm_log_fetch *fetch = read->owner;
    struct tm_log *log = fetch->log;
    bool wanted = fetch->next <= fetch->last;
    if (!wanted && fetch->other == NULL)
        return false;
    struct tm_bytes bytes = unwrap(record);
    if (!wanted || !is_record(log, fetch->next, bytes, place)) {
        if (fetch->other != NULL)
            give_other(fetch, record, place);
        return true;
    }
    uint64_t index = fetch->next++;
    fetch->bytes += bytes.len;
    bool more = fetch->record(fetch, index, bytes);
    if (!more || (fetch->max_bytes != 0 && fetch->bytes >= fetch->max_bytes))
        fetch->last = index; /* the bound, or the receiver, ended it */
    return fetch->next <= fetch->last || fetch->other != NULL;
}

static void finish(struct tm_log_fetch *fetch, enum tm_err err)
{
    fetch->log->set->fetches--;
    fetch->done(fetch, err);
}

/* The block at fetch->next is bad: so are the neighbours that lie in it. */
static void mark_bad_block(struct tm_log_fetch *fetch)
{
    struct tm_log *log = fetch->log;
    uint64_t block = TM_WAL_PLACE_BLOCK(fetch->read.place);
    uint64_t first = fetch->next, last = fetch->next;
    while (first - 1 > log->base &&
           TM_WAL_PLACE_BLOCK(tm_log_index_at(&log->index, first - 1)->place) == block)
        first--;
    while (last < log->last &&
           TM_WAL_PLACE_BLOCK(tm_log_index_at(&log->index, last + 1)->place) == block)
        last++;
    tm_log_lose(log, first, last);
}

static void read_done(struct tm_wal_read *read, enum tm_err err)
{
    struct tm_log_fetch *fetch = read->owner;
    struct tm_log *log = fetch->log;
    bool gone = fetch->next <= log->base || fetch->next > log->last;
    bool ends = fetch->other != NULL && fetch->next > fetch->first;
    if (err == TM_OK && (ends || fetch->next > fetch->last)) {
        finish(fetch, TM_OK);
        return;
    }
    if (gone || tm_log_index_at(&log->index, fetch->next)->place != read->place) {
        /* Cut, compacted, or simply in the next block. */
        if (gone || err != TM_OK)
            finish(fetch, TM_ERR_NOTFOUND);
        else
            start_read(fetch);
        return;
    }
    if (err == TM_OK)
        err = TM_ERR_CORRUPT; /* a whole block without the record that it should hold */
    if (err == TM_ERR_CORRUPT || err == TM_ERR_IO)
        mark_bad_block(fetch);
    finish(fetch, err);
}

static enum tm_err try_read(struct tm_log_fetch *fetch)
{
    struct tm_log *log = fetch->log;
    if (tm_log_in_fault(log, fetch->next))
        return TM_ERR_CORRUPT;
    fetch->read = (struct tm_wal_read){.place = tm_log_index_at(&log->index, fetch->next)->place,
                                       .record = take_record,
                                       .done = read_done,
                                       .owner = fetch};
    return tm_wal_read(log->set->wal, &fetch->read);
}

/* Goes on in another block.  What cannot be read right now is left to a later fetch. */
static void start_read(struct tm_log_fetch *fetch)
{
    enum tm_err err = try_read(fetch);
    if (err == TM_ERR_FULL || err == TM_ERR_AGAIN)
        finish(fetch, TM_OK);
    else if (err != TM_OK)
        finish(fetch, err);
}

enum tm_err tm_log_fetch(struct tm_log *log, struct tm_log_fetch *fetch)
{
    if (fetch->first <= log->base || fetch->first > fetch->last || fetch->last > log->last)
        return TM_ERR_NOTFOUND;
    fetch->log = log;
    fetch->next = fetch->first;
    fetch->bytes = 0;
    enum tm_err err = try_read(fetch);
    if (err == TM_OK)
        log->set->fetches++;
    return err;
}
