/* A source partition's log: records from the tail cache, or, where a target is far behind, read
 * from disk a megabyte at a time.  A few such reads may be under way on a worker; the streams of
 * one partition share one, and who finds none free waits. */
#include "actors/links_internal.h"

#include <stdlib.h>

static struct tm_links_slot *slot_of(const struct tm_link_out *out)
{
    return out->log;
}

static uint64_t log_first(void *host, const struct tm_link_out *out)
{
    (void)host;
    return tm_log_first(slot_of(out)->p->log);
}

static uint64_t log_commit(void *host, const struct tm_link_out *out)
{
    (void)host;
    return slot_of(out)->p->replica.commit;
}

static bool log_meta(void *host, const struct tm_link_out *out, uint64_t index, uint64_t *term,
                     uint64_t *hash)
{
    const struct tm_log *log = slot_of(out)->p->log;
    (void)host;
    return tm_log_term_at(log, index, term) && tm_log_hash_at(log, index, hash);
}

static struct tm_store *log_store(void *host, const struct tm_link_out *out)
{
    (void)host;
    return slot_of(out)->p->store;
}

/* ---- reading from disk ---- */

static bool on_record(struct tm_log_fetch *fetch, uint64_t index, struct tm_bytes record)
{
    struct tm_links_reader *r = fetch->owner;
    if (r->slot == NULL || index != r->next)
        return false;
    if (r->length + record.len > r->cap) {
        size_t cap = r->length + record.len + TM_LINKS_READ_BYTES;
        uint8_t *grown = realloc(r->bytes, cap);
        if (grown == NULL)
            return false;
        r->bytes = grown;
        r->cap = cap;
    }
    memcpy(r->bytes + r->length, record.data, record.len);
    r->length += record.len;
    r->next++;
    return true;
}

static void on_done(struct tm_log_fetch *fetch, enum tm_err err)
{
    struct tm_links_reader *r = fetch->owner;
    (void)err; /* a fault: the log tells, and the replica brings it back */
    r->fetching = false;
    if (r->slot != NULL)
        tm_links_wake(r->slot);
}

static void begin_read(struct tm_links *l, struct tm_links_reader *r, struct tm_links_slot *slot,
                       uint64_t index)
{
    r->links = l;
    r->slot = slot;
    r->first = r->next = r->at = index;
    r->offset = r->length = 0;
    r->used_at = tm_ctx_now(l->ctx);
    r->fetch = (struct tm_log_fetch){.first = index,
                                     .last = slot->p->replica.commit,
                                     .max_bytes = TM_LINKS_READ_BYTES,
                                     .record = on_record,
                                     .done = on_done,
                                     .owner = r};
    r->fetching = !l->stopping && tm_log_fetch(slot->p->log, &r->fetch) == TM_OK;
    if (!r->fetching)
        r->slot = NULL; /* it is asked for again */
}

static const struct tm_record *was_read(struct tm_links_reader *r, uint64_t index)
{
    if (index < r->first || index >= r->next)
        return NULL;
    if (index < r->at) {
        r->at = r->first;
        r->offset = 0;
    }
    const struct tm_record *record = (const void *)(r->bytes + r->offset);
    for (; r->at < index; r->at++) {
        r->offset += record->length;
        record = (const void *)(r->bytes + r->offset);
    }
    r->used_at = tm_ctx_now(r->links->ctx);
    return record;
}

/* The reader of that slot, else one that nobody waits for. */
static struct tm_links_reader *reader_for(struct tm_links *l, const struct tm_links_slot *slot)
{
    struct tm_links_reader *idle = NULL;
    for (unsigned i = 0; i < TM_LINKS_READERS; i++) {
        struct tm_links_reader *r = &l->reader[i];
        if (r->slot == slot)
            return r;
        if (!r->fetching && (idle == NULL || r->used_at < idle->used_at))
            idle = r;
    }
    return idle;
}

static enum tm_err log_record(void *host, const struct tm_link_out *out, uint64_t index,
                              const struct tm_record **record)
{
    struct tm_links *l = host;
    struct tm_links_slot *slot = slot_of(out);
    if (index < tm_log_first(slot->p->log))
        return TM_ERR_NOTFOUND;
    *record = (const void *)tm_log_get(slot->p->log, index).data;
    if (*record != NULL)
        return TM_OK;
    struct tm_links_reader *r = reader_for(l, slot);
    if (r == NULL)
        return TM_ERR_AGAIN;
    if (r->slot == slot && !r->fetching)
        *record = was_read(r, index);
    if (*record != NULL)
        return TM_OK;
    if (!r->fetching)
        begin_read(l, r, slot, index);
    return TM_ERR_AGAIN;
}

void tm_links_forget_reads(struct tm_links *l, const struct tm_links_slot *slot)
{
    uint64_t now = tm_ctx_now(l->ctx);
    for (unsigned i = 0; i < TM_LINKS_READERS; i++) {
        struct tm_links_reader *r = &l->reader[i];
        if (slot != NULL && r->slot == slot)
            r->slot = NULL;
        if (r->fetching || (r->slot != NULL && now - r->used_at < TM_SECONDS(1)))
            continue;
        r->slot = NULL;
        free(r->bytes);
        r->bytes = NULL;
        r->length = r->cap = 0;
    }
}

/* ---- the way ---- */

static enum tm_err out_send(void *host, struct tm_link_out *out, unsigned block, uint16_t type,
                            const struct tm_bytes *pieces, unsigned count)
{
    struct tm_links *l = host;
    struct tm_message_head head = {.type = type, .partition = out->target};
    return tm_link_way_send(l->way, tm_link_way_place(l->way, block, out->target), head, pieces,
                            count);
}

const struct tm_link_out_ops tm_links_out_ops = {.send = out_send,
                                                 .first = log_first,
                                                 .commit = log_commit,
                                                 .meta = log_meta,
                                                 .record = log_record,
                                                 .store = log_store};
