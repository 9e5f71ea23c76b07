/* Segments are read through a window, for one may be larger than what a start should take.
 *
 * Three passes.  collect() reads every segment and notes the blocks that verify, stepping on by
 * 4096 bytes where none does, and noting what such a page looks like.  decide() drops the dead,
 * sorts by sequence and walks the links: it yields the list of accepted blocks, with a mark on each
 * that has missing ones before it, and the end.  replay() reads the accepted blocks again and hands
 * over what they hold, faults in their place.  Nothing is kept of a block between the passes but
 * its 112-byte note.
 *
 * A sector that the device cannot read is taken as bad bytes, so that the same rules apply. */
#include "storage/wal_scan.h"

#include <stdio.h>
#include <stdlib.h>

#include "storage/record.h"

#define READ_BYTES (8u << 20)

/* The note on one valid block. */
struct note {
    uint64_t segment;
    uint64_t offset;
    uint64_t sequence;
    uint64_t prev_sequence;
    uint64_t life_first;
    uint64_t life_prev;
    uint64_t durable;
    uint64_t first_segment;
    uint32_t disk_bytes;
    uint32_t flags;
    uint8_t hash[16];
    uint8_t prev_hash[16];
    /* Set by decide(): what is missing before an accepted block. */
    enum { GAP_NONE, GAP_ONE, GAP_MANY } gap;
    bool accepted;
};

/* A page that belongs to no valid block and is not all zeros. */
struct page {
    uint64_t segment;
    uint64_t offset;
    bool bad;     /* some sector is of no write at all */
    bool stamped; /* some sector is of a write; the lows of the first and the newest such */
    uint32_t first_low;
    uint32_t newest_low;
};

struct life {
    uint64_t first;
    uint64_t prev;
};

struct scan {
    const struct tm_wal_scan_config *config;
    const struct tm_wal_scan_sink *sink;
    struct tm_wal_scan_result *result;
    struct note *notes;
    size_t count, cap;
    struct page *pages; /* in the order of segments and offsets */
    size_t page_count, page_cap;
    struct life *lives;
    size_t life_count;
    uint64_t floor_segment; /* below it everything was released */
    uint8_t *image;         /* the window: a part of the segment that is loaded */
    uint8_t *stream;        /* a decoded block */
    uint64_t image_bytes, stream_bytes;
    uint64_t loaded; /* its id, 0 = none; which part */
    uint64_t window_at, window_bytes;
    uint8_t cluster[16];
    uint64_t disk_id;
    bool identity_known;
    bool at_end_rot; /* rot directly before the end */
    enum tm_err err;
};

static void fail(struct scan *s, enum tm_err err)
{
    if (s->err == TM_OK)
        s->err = err;
}

/* --- files --- */

static void note_segment(void *arg, const char *name)
{
    struct scan *s = arg;
    struct tm_wal_scan_result *r = s->result;
    uint32_t worker;
    uint64_t id;
    if (!tm_wal_name_parse(name, &worker, &id) || worker != s->config->worker)
        return;
    if ((r->segment_count & (r->segment_count + 1)) == 0) {
        size_t cap = 2 * (size_t)r->segment_count + 2;
        void *grown = realloc(r->segments, cap * sizeof *r->segments);
        if (grown == NULL) {
            fail(s, TM_ERR_NOMEM);
            return;
        }
        r->segments = grown;
    }
    r->segments[r->segment_count++] = (struct tm_wal_scan_segment){.id = id};
}

static int by_id(const void *a, const void *b)
{
    const struct tm_wal_scan_segment *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static bool grow(struct scan *s, uint8_t **buffer, uint64_t *have, uint64_t bytes)
{
    if (bytes <= *have)
        return true;
    free(*buffer);
    *buffer = aligned_alloc(TM_WAL_PAGE, tm_align_up(bytes, TM_WAL_PAGE));
    *have = *buffer == NULL ? 0 : bytes;
    if (*buffer == NULL)
        fail(s, TM_ERR_NOMEM);
    return *buffer != NULL;
}

/* Reads the window; where the device fails, page by page, with bad bytes for what is unreadable. */
static void read_window(struct scan *s, int32_t file, uint64_t at, uint32_t len)
{
    struct tm_disk *disk = s->config->disk;
    if (tm_disk_run_read(disk, file, s->image, len, at) == (int64_t)len)
        return;
    for (uint32_t page = 0; page < len; page += TM_WAL_PAGE) {
        uint8_t *to = s->image + page;
        if (tm_disk_run_read(disk, file, to, TM_WAL_PAGE, at + page) != TM_WAL_PAGE)
            memset(to, 0xff, TM_WAL_PAGE);
    }
}

static int64_t open_segment(struct scan *s, const struct tm_wal_scan_segment *segment)
{
    char name[TM_WAL_NAME_MAX];
    tm_wal_name_segment(name, s->config->folder, s->config->generation, s->config->worker,
                        segment->id);
    int64_t file = tm_disk_run_open(s->config->disk, name, TM_DISK_RDONLY | TM_DISK_DIRECT);
    if (file < 0)
        fail(s, tm_err_from_errno((int)-file));
    return file;
}

static bool measure(struct scan *s, struct tm_wal_scan_segment *segment)
{
    int64_t file = open_segment(s, segment);
    if (file < 0)
        return false;
    int64_t size = tm_disk_run_size(s->config->disk, (int32_t)file);
    tm_disk_run_close(s->config->disk, (int32_t)file);
    if (size < 0) {
        fail(s, tm_err_from_errno((int)-size));
        return false;
    }
    segment->bytes = tm_min_u64((uint64_t)size & ~(uint64_t)(TM_WAL_PAGE - 1), TM_WAL_SEGMENT_MAX);
    return true;
}

/* The segment's bytes from `at` on, so many (they are in it), from the window, which moves there if
 * it has to.  NULL: it failed. */
static const uint8_t *view(struct scan *s, const struct tm_wal_scan_segment *segment, uint64_t at,
                           uint64_t bytes)
{
    if (s->loaded == segment->id && at >= s->window_at &&
        at + bytes <= s->window_at + s->window_bytes)
        return s->image + (at - s->window_at);
    uint64_t most = s->config->read_bytes != 0 ? s->config->read_bytes : READ_BYTES;
    int64_t file = open_segment(s, segment);
    if (file < 0)
        return NULL;
    s->loaded = 0;
    s->window_at = at;
    s->window_bytes = tm_min_u64(tm_max_u64(bytes, most), segment->bytes - at);
    if (grow(s, &s->image, &s->image_bytes, s->window_bytes)) {
        read_window(s, (int32_t)file, at, (uint32_t)s->window_bytes);
        s->loaded = segment->id;
    }
    tm_disk_run_close(s->config->disk, (int32_t)file);
    return s->err == TM_OK ? s->image : NULL;
}

/* --- pass one: what verifies --- */

static enum tm_err decode(struct scan *s, const uint8_t *image, const struct tm_wal_block *b)
{
    if (!grow(s, &s->stream, &s->stream_bytes, b->length))
        return TM_ERR_NOMEM;
    return tm_wal_block_decode(image, b, s->stream);
}

static void check_identity(struct scan *s, const struct tm_wal_block *b)
{
    if (!s->identity_known) {
        memcpy(s->cluster, b->cluster, 16);
        s->disk_id = b->disk_id;
        s->identity_known = true;
    }
    if (memcmp(s->cluster, b->cluster, 16) != 0 || s->disk_id != b->disk_id ||
        b->worker != s->config->worker || b->generation != s->config->generation)
        fail(s, TM_ERR_IDENTITY);
}

static void note_block(struct scan *s, const struct tm_wal_block *b, const uint8_t *image)
{
    if (s->count == s->cap) {
        s->cap = s->cap == 0 ? 1024 : 2 * s->cap;
        struct note *grown = realloc(s->notes, s->cap * sizeof *grown);
        if (grown == NULL) {
            fail(s, TM_ERR_NOMEM);
            return;
        }
        s->notes = grown;
    }
    struct note *n = &s->notes[s->count++];
    *n = (struct note){.segment = b->segment,
                       .offset = b->offset,
                       .sequence = b->sequence,
                       .prev_sequence = b->prev_sequence,
                       .life_first = b->life_first,
                       .life_prev = b->life_prev,
                       .durable = b->durable,
                       .first_segment = b->first_segment,
                       .disk_bytes = b->disk_bytes,
                       .flags = b->flags};
    memcpy(n->prev_hash, b->prev_hash, 16);
    tm_wal_block_hash(image, b->disk_bytes, n->hash);
    s->floor_segment = tm_max_u64(s->floor_segment, b->first_segment);
}

static void add_page(struct scan *s, const struct page *page)
{
    if (s->page_count == s->page_cap) {
        s->page_cap = s->page_cap == 0 ? 1024 : 2 * s->page_cap;
        struct page *grown = realloc(s->pages, s->page_cap * sizeof *grown);
        if (grown == NULL) {
            fail(s, TM_ERR_NOMEM);
            return;
        }
        s->pages = grown;
    }
    s->pages[s->page_count++] = *page;
}

/* Judges a page outside of valid blocks, sector by sector. */
static void note_page(struct scan *s, struct tm_wal_scan_segment *segment, uint64_t offset,
                      const uint8_t *image)
{
    struct page page = {.segment = segment->id, .offset = offset};
    for (uint32_t at = 0; at < TM_WAL_PAGE; at += TM_WAL_SECTOR) {
        uint32_t low;
        switch (tm_wal_sector_judge(image + at, offset + at, &low)) {
        case TM_WAL_SECTOR_EMPTY:
            break;
        case TM_WAL_SECTOR_BAD:
            page.bad = true;
            break;
        case TM_WAL_SECTOR_STAMPED:
            if (!page.stamped)
                page.first_low = page.newest_low = low;
            if ((int32_t)(low - page.newest_low) > 0)
                page.newest_low = low;
            page.stamped = true;
        }
    }
    segment->bad |= page.bad;
    if (page.bad || page.stamped)
        add_page(s, &page);
}

/* The block at `at`, if one verifies there: its size, else 0. */
static uint32_t collect_block(struct scan *s, struct tm_wal_scan_segment *segment, uint64_t at)
{
    struct tm_wal_block b;
    const uint8_t *image = view(s, segment, at, TM_WAL_PAGE);
    if (image == NULL)
        return 0;
    enum tm_err err = tm_wal_block_header(image, segment->id, at, segment->bytes - at, &b);
    if (err == TM_ERR_VERSION)
        fail(s, err);
    if (err != TM_OK || (image = view(s, segment, at, b.disk_bytes)) == NULL ||
        decode(s, image, &b) != TM_OK)
        return 0;
    check_identity(s, &b);
    note_block(s, &b, image);
    segment->used = true;
    return b.disk_bytes;
}

static void collect_segment(struct scan *s, struct tm_wal_scan_segment *segment)
{
    uint64_t at = 0;
    while (at < segment->bytes && s->err == TM_OK) {
        uint32_t bytes = collect_block(s, segment, at);
        const uint8_t *page = bytes == 0 ? view(s, segment, at, TM_WAL_PAGE) : NULL;
        if (page != NULL)
            note_page(s, segment, at, page);
        at += bytes != 0 ? bytes : TM_WAL_PAGE;
    }
}

static void collect(struct scan *s)
{
    char folder[TM_WAL_NAME_MAX];
    tm_wal_name_generation(folder, s->config->folder, s->config->generation);
    int64_t n = s->config->disk->list(s->config->disk, folder, note_segment, s);
    if (n < 0 && tm_err_from_errno((int)-n) != TM_ERR_NOTFOUND)
        fail(s, tm_err_from_errno((int)-n));
    struct tm_wal_scan_result *r = s->result;
    if (r->segment_count > 0)
        qsort(r->segments, r->segment_count, sizeof *r->segments, by_id);
    for (unsigned i = 0; i < r->segment_count && s->err == TM_OK; i++)
        if (measure(s, &r->segments[i]))
            collect_segment(s, &r->segments[i]);
}

/* --- pass two: what counts --- */

static int by_sequence(const void *a, const void *b)
{
    const struct note *x = a, *y = b;
    if (x->sequence != y->sequence)
        return x->sequence < y->sequence ? -1 : 1;
    return x->segment < y->segment ? -1 : x->segment > y->segment;
}

static bool know_life(const struct scan *s, uint64_t first)
{
    for (size_t i = s->life_count; i > 0; i--)
        if (s->lives[i - 1].first == first)
            return true;
    return false;
}

static bool collect_lives(struct scan *s)
{
    for (size_t i = 0; i < s->count; i++) {
        struct note *n = &s->notes[i];
        if (know_life(s, n->life_first))
            continue;
        struct life *grown = realloc(s->lives, (s->life_count + 1) * sizeof *grown);
        if (grown == NULL) {
            fail(s, TM_ERR_NOMEM);
            return false;
        }
        s->lives = grown;
        s->lives[s->life_count++] = (struct life){n->life_first, n->life_prev};
    }
    return true;
}

static int by_prev(const void *a, const void *b)
{
    const struct life *x = a, *y = b;
    return x->prev < y->prev ? -1 : x->prev > y->prev;
}

/* Joins the dead ranges that overlap, so that they ascend and are disjoint. */
static void join_lives(struct scan *s)
{
    size_t kept = 0;
    if (s->life_count > 0)
        qsort(s->lives, s->life_count, sizeof *s->lives, by_prev);
    for (size_t i = 0; i < s->life_count; i++) {
        struct life *to = &s->lives[kept == 0 ? 0 : kept - 1];
        if (kept > 0 && s->lives[i].prev + 1 < to->first)
            to->first = tm_max_u64(to->first, s->lives[i].first);
        else
            s->lives[kept++] = s->lives[i];
    }
    s->life_count = kept;
}

/* The first sequence >= `sequence` that is not dead. */
static uint64_t next_alive(const struct scan *s, uint64_t sequence)
{
    for (size_t i = 0; i < s->life_count; i++)
        if (sequence > s->lives[i].prev && sequence < s->lives[i].first)
            return s->lives[i].first;
    return sequence;
}

static bool counts(const struct scan *s, const struct note *n)
{
    return n->segment >= s->floor_segment && next_alive(s, n->sequence) == n->sequence;
}

static struct tm_wal_scan_segment *segment_by_id(struct scan *s, uint64_t id)
{
    for (unsigned i = 0; i < s->result->segment_count; i++)
        if (s->result->segments[i].id == id)
            return &s->result->segments[i];
    return NULL;
}

/* What is missing before the first block that counts. */
static int gap_at_start(const struct scan *s, const struct note *n)
{
    if (n->prev_sequence == 0 || (n->segment == s->floor_segment && n->offset == 0))
        return GAP_NONE;
    for (size_t i = 0; i < s->page_count && n->segment == s->floor_segment; i++) {
        const struct page *page = &s->pages[i];
        if (page->segment == n->segment && page->offset < n->offset && page->stamped)
            return page->first_low == (uint32_t)n->prev_sequence ? GAP_ONE : GAP_MANY;
    }
    return GAP_MANY;
}

static int gap_between(const struct scan *s, const struct note *cur, const struct note *n)
{
    if (n->prev_sequence == cur->sequence)
        return memcmp(n->prev_hash, cur->hash, 16) == 0 ? GAP_NONE : GAP_MANY;
    uint64_t first = next_alive(s, cur->sequence + 1);
    if (first > n->prev_sequence)
        return GAP_MANY; /* the link goes where nothing alive can be */
    return next_alive(s, first + 1) > n->prev_sequence ? GAP_ONE : GAP_MANY;
}

/* Marks the accepted blocks; returns the last one, NULL if there is none. */
static const struct note *walk(struct scan *s)
{
    struct tm_wal_scan_result *r = s->result;
    struct note *cur = NULL;
    for (size_t i = 0; i < s->count; i++) {
        struct note *n = &s->notes[i];
        if (!counts(s, n) || (cur != NULL && n->prev_sequence < cur->sequence)) {
            r->discarded++;
            continue;
        }
        int gap = cur == NULL ? gap_at_start(s, n) : gap_between(s, cur, n);
        if (gap != GAP_NONE && n->prev_sequence > r->durable) {
            s->at_end_rot = cur == NULL || next_alive(s, cur->sequence + 1) <= r->durable;
            r->discarded += s->count - i;
            break;
        }
        n->gap = gap == GAP_NONE ? GAP_NONE : gap == GAP_ONE ? GAP_ONE : GAP_MANY;
        n->accepted = true;
        struct tm_wal_scan_segment *segment = segment_by_id(s, n->segment);
        segment->accepted_bytes = tm_max_u64(segment->accepted_bytes, n->offset + n->disk_bytes);
        r->blocks++;
        r->rot += gap != GAP_NONE;
        if (cur == NULL) {
            r->first_sequence = n->prev_sequence + 1;
            r->lost_from = gap == GAP_NONE ? 0 : tm_max_u64(s->floor_segment, 1);
        }
        cur = n;
    }
    return cur;
}

/* Looks at every page past the end: of an unfinished write, of an older one, or damaged. */
static void judge_tail(struct scan *s)
{
    struct tm_wal_scan_result *r = s->result;
    for (size_t i = 0; i < s->page_count; i++) {
        const struct page *page = &s->pages[i];
        if (page->segment < r->last_segment ||
            (page->segment == r->last_segment && page->offset < r->end_offset))
            continue;
        int32_t ahead = (int32_t)(page->newest_low - (uint32_t)r->last_sequence);
        bool torn = page->stamped && ahead > 0;
        r->damaged |= page->bad;
        r->torn |= torn;
        if (torn)
            r->max_sequence = tm_max_u64(r->max_sequence, r->last_sequence + (uint32_t)ahead);
        if (torn || page->bad)
            segment_by_id(s, page->segment)->used = true;
        if ((torn || page->bad) && page->segment == r->last_segment)
            r->free_offset = tm_max_u64(r->free_offset, page->offset + TM_WAL_PAGE);
    }
    for (size_t i = 0; i < s->count; i++) {
        const struct note *n = &s->notes[i];
        r->torn |= !n->accepted && n->sequence > r->last_sequence; /* whole, but not reached */
        if (n->segment == r->last_segment)
            r->free_offset = tm_max_u64(r->free_offset, n->offset + n->disk_bytes);
    }
}

static void decide(struct scan *s)
{
    struct tm_wal_scan_result *r = s->result;
    if (s->count > 0)
        qsort(s->notes, s->count, sizeof *s->notes, by_sequence);
    if (!collect_lives(s))
        return;
    join_lives(s);
    for (size_t i = 0; i < s->count; i++) {
        r->durable = tm_max_u64(r->durable, s->notes[i].durable);
        r->max_sequence = tm_max_u64(r->max_sequence, s->notes[i].sequence);
    }
    const struct note *last = walk(s);
    if (last != NULL) {
        r->last_sequence = last->sequence;
        r->last_segment = last->segment;
        r->end_offset = last->offset + last->disk_bytes;
        r->closed = (last->flags & TM_WAL_BLOCK_CLOSED) != 0;
        memcpy(r->last_hash, last->hash, 16);
    }
    r->first_segment = tm_max_u64(s->floor_segment, r->segment_count ? r->segments[0].id : 0);
    judge_tail(s);
    r->damaged |= s->at_end_rot; /* what lies past it is not read again: it has to be remembered */
}

/* --- pass three: what it says --- */

static void tell(struct scan *s, struct tm_wal_fault fault, const struct tm_wal_span *span)
{
    fault.generation = s->config->generation;
    fault.worker = s->config->worker;
    fault.span = span != NULL ? *span : (struct tm_wal_span){.partition = TM_WAL_ALL, .first = 1};
    if (s->sink->fault != NULL)
        s->sink->fault(s->sink->host, &fault);
}

static void tell_fault(struct scan *s, enum tm_wal_fault_kind kind, const struct tm_wal_span *span,
                       uint64_t sequence, uint64_t segment, uint64_t offset)
{
    tell(s,
         (struct tm_wal_fault){
             .kind = kind, .sequence = sequence, .segment = segment, .offset = offset},
         span);
}

/* Tells of what is missing before the block in `stream`, that begins where `cur` ended. */
static void tell_gap(struct scan *s, const struct note *n, const struct note *cur)
{
    uint64_t segment = cur == NULL ? n->segment : cur->segment;
    uint64_t offset = cur == NULL ? 0 : cur->offset + cur->disk_bytes;
    uint64_t first = cur == NULL ? n->prev_sequence : next_alive(s, cur->sequence + 1);
    const struct tm_wal_block *header = (const void *)s->stream;
    if (n->gap == GAP_MANY)
        tell_fault(s, TM_WAL_ROT, NULL, first, segment, offset);
    const struct tm_wal_span *prev = tm_wal_block_prev(s->stream);
    for (uint32_t i = 0; i < header->prev_spans; i++)
        tell_fault(s, TM_WAL_ROT, &prev[i], n->prev_sequence, segment, offset);
}

static uint64_t commit_of(const uint8_t *stream, uint32_t partition)
{
    const struct tm_wal_block *header = (const void *)stream;
    const struct tm_wal_span *own = tm_wal_block_own(stream);
    for (uint32_t i = 0; i < header->own_spans; i++)
        if (own[i].partition == partition)
            return own[i].commit;
    return 0;
}

static void tell_record(struct scan *s, const struct note *n, struct tm_bytes record,
                        uint64_t at_record)
{
    const struct tm_record *r = (const void *)record.data;
    s->result->records++;
    if (r->kind == TM_RECORD_SUSPECT && r->partition == TM_WAL_ALL)
        tell(s,
             (struct tm_wal_fault){.kind = TM_WAL_DAMAGED,
                                   .noted = true,
                                   .sequence = n->sequence,
                                   .segment = n->segment,
                                   .offset = n->offset},
             NULL);
    struct tm_wal_found found = {
        .record = record,
        .place = tm_wal_place_make(s->config->volume, n->segment, n->offset, at_record),
        .sequence = n->sequence,
        .generation = s->config->generation,
        .worker = s->config->worker,
        .commit = commit_of(s->stream, r->partition)};
    if (s->sink->record != NULL)
        s->sink->record(s->sink->host, &found);
}

static void replay_block(struct scan *s, const struct note *n, const struct note *cur)
{
    struct tm_wal_scan_segment *segment = segment_by_id(s, n->segment);
    struct tm_wal_block header;
    const uint8_t *image = view(s, segment, n->offset, n->disk_bytes);
    if (image == NULL)
        return;
    if (tm_wal_block_header(image, n->segment, n->offset, n->disk_bytes, &header) != TM_OK ||
        decode(s, image, &header) != TM_OK) {
        tell_fault(s, TM_WAL_ROT, NULL, n->sequence, n->segment, n->offset);
        return;
    }
    if (n->gap != GAP_NONE)
        tell_gap(s, n, cur);
    if (s->sink->block != NULL)
        s->sink->block(s->sink->host, &header, s->stream);
    struct tm_bytes all = tm_wal_block_records(s->stream), rest = all, record;
    while (tm_wal_record_next(&rest, &record))
        tell_record(s, n, record, (uint64_t)(record.data - all.data));
    segment->last_sequence = n->sequence;
}

static void replay(struct scan *s)
{
    struct tm_wal_scan_result *r = s->result;
    if (s->sink->begin != NULL)
        s->sink->begin(s->sink->host, r->first_sequence);
    const struct note *cur = NULL;
    for (size_t i = 0; i < s->count && s->err == TM_OK; i++) {
        const struct note *n = &s->notes[i];
        if (!n->accepted)
            continue;
        replay_block(s, n, cur);
        cur = n;
    }
    if (s->at_end_rot) {
        r->rot++;
        tell_fault(s, TM_WAL_ROT, NULL, r->last_sequence + 1, r->last_segment, r->end_offset);
    }
    if (r->damaged)
        tell_fault(s, TM_WAL_DAMAGED, NULL, r->last_sequence + 1, r->last_segment, r->end_offset);
}

enum tm_err tm_wal_scan(const struct tm_wal_scan_config *config,
                        const struct tm_wal_scan_sink *sink, struct tm_wal_scan_result *result)
{
    *result = (struct tm_wal_scan_result){0};
    struct scan s = {.config = config, .sink = sink, .result = result};
    if (config->cluster != NULL) {
        memcpy(s.cluster, config->cluster, 16);
        s.disk_id = config->disk_id;
        s.identity_known = true;
    }
    collect(&s);
    if (s.err == TM_OK)
        decide(&s);
    if (s.err == TM_OK)
        replay(&s);
    free(s.notes);
    free(s.pages);
    free(s.lives);
    free(s.image);
    free(s.stream);
    if (s.err != TM_OK)
        tm_wal_scan_release(result);
    return s.err;
}

void tm_wal_scan_release(struct tm_wal_scan_result *result)
{
    free(result->segments);
    result->segments = NULL;
    result->segment_count = 0;
}

/* --- which volumes there are --- */

struct volumes {
    struct tm_disk *disk;
    uint32_t generations[TM_WAL_GENERATIONS * 4];
    unsigned generation_count;
    uint64_t workers; /* bits */
};

static void note_generation(void *arg, const char *name)
{
    struct volumes *v = arg;
    uint32_t generation;
    int end = 0;
    if (sscanf(name, "g%u%n", &generation, &end) == 1 && name[end] == '\0' &&
        v->generation_count < TM_ARRAY_LEN(v->generations))
        v->generations[v->generation_count++] = generation;
}

static void note_worker(void *arg, const char *name)
{
    struct volumes *v = arg;
    uint32_t worker;
    uint64_t segment;
    if (tm_wal_name_parse(name, &worker, &segment) && worker < 64)
        v->workers |= 1ull << worker;
}

enum tm_err tm_wal_scan_volumes(struct tm_disk *disk, const char *folder,
                                void (*visit)(void *arg, uint32_t generation, uint32_t worker),
                                void *arg)
{
    struct volumes v = {.disk = disk};
    int64_t n = disk->list(disk, folder, note_generation, &v);
    if (n < 0)
        return tm_err_from_errno((int)-n);
    for (unsigned i = 0; i < v.generation_count; i++) {
        char name[TM_WAL_NAME_MAX];
        tm_wal_name_generation(name, folder, v.generations[i]);
        v.workers = 0;
        n = disk->list(disk, name, note_worker, &v);
        if (n < 0)
            return tm_err_from_errno((int)-n);
        for (uint32_t w = 0; w < 64; w++)
            if (v.workers >> w & 1)
                visit(arg, v.generations[i], w);
    }
    return TM_OK;
}
