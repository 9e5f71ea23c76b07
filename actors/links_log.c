/* A source partition's log: records from the tail cache, or, where a target is far behind, read
 * from disk.
 *
 * The records of all partitions of a worker lie in its log as they were written, so what is read
 * for one partition is for all of them: one reading at a time begins at the oldest record that a
 * stream waits for, and each partition that waits takes what follows the last that it has, as much
 * as there is room for. */
#include "actors/links_internal.h"

#include <stdlib.h>

#define AHEAD 6 /* records in memory are fetched so many before they are looked at */

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

static uint64_t log_last(void *host, const struct tm_link_out *out)
{
    (void)host;
    return slot_of(out)->p->replica.last.index;
}

static bool log_meta(void *host, const struct tm_link_out *out, uint64_t index, uint64_t *term,
                     uint64_t *hash)
{
    const struct tm_log *log = slot_of(out)->p->log;
    (void)host;
    return tm_log_term_at(log, index, term) && tm_log_hash_at(log, index, hash);
}

/* A cluster that was restored learns by that what its clock had come to. */
static void log_observe(void *host, const struct tm_link_out *out, uint64_t hlc)
{
    (void)host;
    tm_hlc_observe(slot_of(out)->p->env->hlc, hlc);
}

static struct tm_store *log_store(void *host, const struct tm_link_out *out)
{
    (void)host;
    return slot_of(out)->p->store;
}

/* ---- reading from disk ---- */

static void clear(struct tm_links *l, struct tm_links_read *r, uint64_t next)
{
    l->read_bytes -= r->length;
    r->length = r->offset = 0;
    r->first = r->next = r->at = next;
}

static bool make_room(struct tm_links_read *r, size_t bytes)
{
    if (r->length + bytes <= r->cap)
        return true;
    size_t cap = tm_max_u64(r->length + bytes, TM_LINKS_READ_BYTES);
    uint8_t *grown = realloc(r->bytes, cap);
    if (grown == NULL)
        return false;
    r->bytes = grown;
    r->cap = cap;
    return true;
}

/* Takes the record if it is what comes next there.  Who has no room for it ends the reading. */
static void take(struct tm_links *l, struct tm_links_slot *slot, uint64_t index,
                 struct tm_bytes record)
{
    struct tm_links_read *r = &slot->read;
    if (r->wants == 0 || index != r->next || index > slot->p->replica.commit)
        return;
    bool fits = r->length == 0 || (r->length + record.len <= TM_LINKS_READ_BYTES &&
                                   l->read_bytes + record.len <= TM_LINKS_READ_ALL);
    if (!fits || !make_room(r, record.len)) {
        l->read_full = true;
        return;
    }
    memcpy(r->bytes + r->length, record.data, record.len);
    r->length += record.len;
    l->read_bytes += record.len;
    r->next++;
}

static bool on_record(struct tm_log_fetch *fetch, uint64_t index, struct tm_bytes record)
{
    struct tm_links *l = fetch->owner;
    if (l->fetch_slot != NULL)
        take(l, l->fetch_slot, index, record);
    return l->fetch_slot != NULL;
}

static void on_other(struct tm_log_fetch *fetch, const struct tm_log *log, uint64_t index,
                     struct tm_bytes record)
{
    struct tm_links *l = fetch->owner;
    struct tm_links_slot *slot = tm_links_slot_of(l, tm_log_partition(log));
    if (slot != NULL && slot->p != NULL && slot->p->log == log)
        take(l, slot, index, record);
}

/* Who waits for the oldest record that is on disk only. */
static struct tm_links_slot *oldest(struct tm_links *l)
{
    struct tm_links_slot *found = NULL;
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < l->slots; i++) {
        struct tm_links_slot *slot = &l->slot[i];
        uint64_t next = slot->read.next;
        if (slot->read.wants == 0 || next > slot->p->replica.commit ||
            tm_log_get(slot->p->log, next).data != NULL)
            continue;
        uint64_t place = tm_log_place(slot->p->log, next);
        if (place == 0 || place >= least)
            continue;
        least = place;
        found = slot;
    }
    return found;
}

static bool read_block(struct tm_links *l);

static void on_done(struct tm_log_fetch *fetch, enum tm_err err)
{
    struct tm_links *l = fetch->owner;
    l->fetching = false;
    /* A fault ends it: the log tells, and the replica brings it back. */
    if (err == TM_OK && !l->read_full && !l->stopping && read_block(l))
        return;
    for (uint32_t i = 0; i < l->slots; i++) {
        if (l->slot[i].read.wants != 0)
            tm_links_wake(&l->slot[i]);
        l->slot[i].read.wants = 0;
    }
}

/* Reads the block that holds the oldest record waited for.  False: there is none. */
static bool read_block(struct tm_links *l)
{
    struct tm_links_slot *slot = oldest(l);
    if (slot == NULL)
        return false;
    l->fetch_slot = slot;
    l->fetch = (struct tm_log_fetch){.first = slot->read.next,
                                     .last = slot->p->replica.commit,
                                     .record = on_record,
                                     .other = on_other,
                                     .done = on_done,
                                     .owner = l};
    l->fetching = tm_log_fetch(slot->p->log, &l->fetch) == TM_OK;
    return l->fetching;
}

/* What is read goes behind what is there, unless that was half of it all, or does not fit. */
static void prepare(struct tm_links *l, struct tm_links_read *r)
{
    if (r->next != r->wants || r->length > TM_LINKS_READ_BYTES / 2)
        clear(l, r, r->wants);
}

/* Of several streams the one that is behind decides; while reading is under way, who came first. */
static void want(struct tm_links *l, struct tm_links_read *r, uint64_t index)
{
    bool first = r->wants == 0;
    if (first || (index < r->wants && !l->fetching))
        r->wants = index;
    if (first && l->fetching)
        prepare(l, r);
    l->wanting = true;
}

void tm_links_read_on(struct tm_links *l)
{
    if (!l->wanting || l->fetching)
        return;
    l->wanting = l->read_full = false;
    for (uint32_t i = 0; i < l->slots; i++)
        if (l->slot[i].read.wants != 0)
            prepare(l, &l->slot[i].read);
    if (read_block(l))
        return;
    for (uint32_t i = 0; i < l->slots; i++)
        l->slot[i].read.wants = 0; /* it is asked for again */
}

static const struct tm_record *was_read(struct tm_links *l, struct tm_links_read *r, uint64_t index)
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
    r->used_at = tm_ctx_now(l->ctx);
    return record;
}

static enum tm_err log_record(void *host, const struct tm_link_out *out, uint64_t index,
                              const struct tm_record **record)
{
    struct tm_links *l = host;
    struct tm_links_slot *slot = slot_of(out);
    struct tm_links_read *r = &slot->read;
    if (index < tm_log_first(slot->p->log))
        return TM_ERR_NOTFOUND;
    tm_log_prefetch(slot->p->log, index + AHEAD);
    *record = (const void *)tm_log_get(slot->p->log, index).data;
    bool comes = l->fetching && r->wants != 0; /* all of it is better than some */
    if (*record == NULL && !comes)
        *record = was_read(l, r, index);
    if (*record != NULL)
        return TM_OK;
    if (index > slot->p->replica.commit)
        return TM_ERR_NOTFOUND;
    want(l, r, index);
    return TM_ERR_AGAIN;
}

void tm_links_forget_reads(struct tm_links *l, const struct tm_links_slot *slot)
{
    uint64_t now = tm_ctx_now(l->ctx);
    for (uint32_t i = 0; i < l->slots; i++) {
        struct tm_links_read *r = &l->slot[i].read;
        bool idle = r->cap > 0 && r->wants == 0 && now - r->used_at >= TM_SECONDS(1);
        if (slot == NULL ? !idle : slot != &l->slot[i])
            continue;
        if (l->fetch_slot == &l->slot[i])
            l->fetch_slot = NULL;
        clear(l, r, 0);
        free(r->bytes);
        *r = (struct tm_links_read){0};
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

const struct tm_link_out_ops tm_links_out_ops = {.absent = tm_links_is_absent,
                                                 .send = out_send,
                                                 .first = log_first,
                                                 .commit = log_commit,
                                                 .last = log_last,
                                                 .meta = log_meta,
                                                 .record = log_record,
                                                 .observe = log_observe,
                                                 .store = log_store};
