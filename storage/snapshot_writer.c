/* Writing a snapshot, one disk operation at a time:
 *
 *   OPENING    make the folders, open a file with a name of its own
 *   WRITING    two buffers: one is filled, the other written; a chunk is one write
 *   SYNCING    sync; write the header; sync; give the file its name, which another one of the
 *              same range may have; sync the folders
 *   COMPLETE   until publish
 *   FLIPPING   read "current", write the new one beside it, sync, rename, sync the folder;
 *              remove what it no longer names
 *
 * The header comes last, so a file without one is known to be unfinished.  A failure at any step
 * ends in FAILED, with the unfinished file removed; but not one that took the place of another,
 * for that one may count.  After close the same steps run to where they
 * can stop, and the writer frees itself. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#define XXH_STATIC_LINKING_ONLY /* for the state on the stack */
#include <xxhash.h>

#include "storage/snapshot_internal.h"

enum step {
    STEP_IDLE,
    STEP_MKDIR_TOP,
    STEP_MKDIR,
    STEP_OPEN,
    STEP_CHUNK,
    STEP_SYNC_CHUNKS,
    STEP_HEADER,
    STEP_SYNC_HEADER,
    STEP_CLOSE,
    STEP_OPEN_SAME,
    STEP_CLOSE_SAME,
    STEP_RENAME,
    STEP_SYNC_FOLDER,
    STEP_SYNC_PARENT,
    STEP_SYNC_TOP,
    STEP_OPEN_CURRENT,
    STEP_READ_CURRENT,
    STEP_CLOSE_CURRENT,
    STEP_OPEN_NEW,
    STEP_WRITE_NEW,
    STEP_SYNC_NEW,
    STEP_CLOSE_NEW,
    STEP_FLIP,
    STEP_SYNC_FLIP,
    STEP_UNLINK_OLD,
    STEP_ABORT_CLOSE,
    STEP_ABORT_UNLINK
};

struct buffer {
    uint8_t *bytes;
    uint64_t cap;
    uint32_t length; /* of the items in it */
    uint32_t items;
    bool sealed; /* waits to be written */
};

struct tm_snapshot_writer {
    const struct tm_ctx *ctx;
    void (*changed)(void *host, struct tm_snapshot_writer *writer);
    void *host;
    enum tm_snapshot_state state;
    enum tm_err err;
    struct tm_snapshot_info info;
    struct tm_snapshot_info expected;
    bool has_expected, closed;
    struct tm_snapshot_end end; /* once it is closed */
    bool replaces;              /* a file of that name is there already */

    enum step step;
    struct tm_disk_op op;
    int32_t file, current;
    uint64_t at; /* where the next chunk goes */
    uint64_t chunks;
    XXH3_state_t *hashes;

    struct buffer buffers[2];
    struct buffer *filling, *writing;
    uint8_t *page; /* two pages: header, "current" */

    char folder[TM_SNAP_NAME_MAX / 2], tmp[TM_SNAP_NAME_MAX], name[TM_SNAP_NAME_MAX],
        old[TM_SNAP_NAME_MAX];
    char current_name[TM_SNAP_NAME_MAX], current_new[TM_SNAP_NAME_MAX];
    const char *unlink_name; /* what an abort removes */
};

static void step_done(struct tm_disk_op *op);
static void go_on(struct tm_snapshot_writer *w);

static void start(struct tm_snapshot_writer *w, enum step step, struct tm_disk_op op)
{
    TM_ASSERT(w->step == STEP_IDLE);
    w->step = step;
    op.done = step_done;
    op.owner = w;
    w->op = op;
    w->ctx->disk->submit(w->ctx->disk, &w->op);
}

void tm_snapshot_writer_abandon(struct tm_snapshot_writer *w)
{
    tm_snapshot_end_leave(&w->end);
    for (unsigned i = 0; i < 2; i++)
        free(w->buffers[i].bytes);
    free(w->page);
    free(w->hashes);
    free(w);
}

static void tell(struct tm_snapshot_writer *w)
{
    if (!w->closed && w->changed != NULL)
        w->changed(w->host, w);
}

/* --- ending before the end --- */

/* Removes what is there of it: closes and unlinks, then frees if it was closed. */
static void abort_on(struct tm_snapshot_writer *w)
{
    if (w->file >= 0 || w->current >= 0) {
        int32_t file = w->file >= 0 ? w->file : w->current;
        if (w->file >= 0)
            w->file = -1;
        else
            w->current = -1;
        start(w, STEP_ABORT_CLOSE, (struct tm_disk_op){.kind = TM_DISK_CLOSE, .file = file});
    } else if (w->unlink_name != NULL) {
        const char *name = w->unlink_name;
        w->unlink_name = NULL;
        start(w, STEP_ABORT_UNLINK, (struct tm_disk_op){.kind = TM_DISK_UNLINK, .name = name});
    } else if (w->closed) {
        tm_snapshot_writer_abandon(w);
    }
}

static void fail(struct tm_snapshot_writer *w, enum tm_err err)
{
    w->state = TM_SNAPSHOT_FAILED;
    w->err = err;
    tm_ctx_log(w->ctx, TM_LOG_ERROR, "snapshot_failed", "partition=%" PRIu32 " err=%s",
               w->info.partition, tm_err_name(err));
    abort_on(w);
    tell(w);
}

/* --- chunks --- */

static bool reserve(struct buffer *b, uint64_t content)
{
    uint64_t bytes = tm_align_up(sizeof(struct tm_snap_chunk) + content, TM_SNAP_PAGE);
    if (bytes <= b->cap)
        return true;
    uint8_t *grown = aligned_alloc(TM_SNAP_PAGE, bytes);
    if (grown == NULL)
        return false;
    if (b->bytes != NULL)
        memcpy(grown, b->bytes, sizeof(struct tm_snap_chunk) + b->length);
    free(b->bytes);
    b->bytes = grown;
    b->cap = bytes;
    return true;
}

static void seal(struct tm_snapshot_writer *w)
{
    struct buffer *b = w->filling;
    struct tm_snap_chunk *c = (void *)b->bytes;
    *c = (struct tm_snap_chunk){
        .number = (uint32_t)w->chunks, .length = b->length, .items = b->items};
    tm_snap_chunk_seal(c);
    b->sealed = true;
    w->chunks++;
    w->info.items += b->items;
}

/* Hands the sealed buffer to the disk, if it may take one now. */
static void write_sealed(struct tm_snapshot_writer *w)
{
    struct buffer *b = w->filling;
    bool ready = w->state == TM_SNAPSHOT_WRITING || w->state == TM_SNAPSHOT_SYNCING;
    if (!b->sealed || w->step != STEP_IDLE || w->writing != NULL || !ready)
        return;
    const struct tm_snap_chunk *c = (const void *)b->bytes;
    uint64_t used = sizeof *c + c->length, bytes = tm_snap_disk_bytes(c->length);
    memset(b->bytes + used, 0, bytes - used);
    XXH3_128bits_update(w->hashes, c->hash, 16);
    w->writing = b;
    w->filling = b == &w->buffers[0] ? &w->buffers[1] : &w->buffers[0];
    start(w, STEP_CHUNK,
          (struct tm_disk_op){.kind = TM_DISK_WRITE,
                              .file = w->file,
                              .buf = b->bytes,
                              .len = (uint32_t)bytes,
                              .offset = w->at});
    w->at += bytes;
}

static bool takes(const struct tm_snapshot_writer *w)
{
    return w->state == TM_SNAPSHOT_OPENING || w->state == TM_SNAPSHOT_WRITING;
}

bool tm_snapshot_writer_room(const struct tm_snapshot_writer *w)
{
    return takes(w) && !w->filling->sealed && w->filling->length == 0;
}

enum tm_err tm_snapshot_writer_item(struct tm_snapshot_writer *w, struct tm_bytes item)
{
    if (w->state == TM_SNAPSHOT_FAILED)
        return w->err;
    if (item.len > TM_SNAP_ITEM_MAX)
        return TM_ERR_TOOBIG;
    uint32_t need = 8 + (uint32_t)tm_align_up(item.len, 8);
    TM_ASSERT(takes(w));
    if (!w->filling->sealed && w->filling->length > 0 &&
        w->filling->length + need > TM_SNAPSHOT_CHUNK_BYTES)
        seal(w);
    write_sealed(w);
    struct buffer *b = w->filling;
    if (b->sealed)
        return TM_ERR_FULL;
    if (!reserve(b, tm_max_u64(b->length + need, TM_SNAPSHOT_CHUNK_BYTES)))
        return TM_ERR_NOMEM;
    uint8_t *to = b->bytes + sizeof(struct tm_snap_chunk) + b->length;
    memset(to + need - 8, 0, 8);
    tm_store64(to, item.len);
    memcpy(to + 8, item.data, item.len);
    b->length += need;
    b->items++;
    return TM_OK;
}

enum tm_err tm_snapshot_writer_chunk(struct tm_snapshot_writer *w, struct tm_bytes chunk)
{
    const struct tm_snap_chunk *c = (const void *)chunk.data;
    if (w->state == TM_SNAPSHOT_FAILED)
        return w->err;
    TM_ASSERT(takes(w));
    struct tm_snap_chunk head;
    if (chunk.len < sizeof head)
        return TM_ERR_CORRUPT;
    memcpy(&head, c, sizeof head);
    if (head.magic == TM_SNAP_CHUNK_MAGIC && head.number != (uint32_t)w->chunks)
        return TM_ERR_INVALID;
    struct buffer *b = w->filling;
    if (b->sealed || b->length > 0)
        return TM_ERR_FULL;
    if (!reserve(b, chunk.len - sizeof head))
        return TM_ERR_NOMEM;
    memcpy(b->bytes, chunk.data, chunk.len);
    if (!tm_snap_chunk_valid(tm_bytes_of(b->bytes, chunk.len), w->chunks) ||
        chunk.len != sizeof head + head.length)
        return TM_ERR_CORRUPT;
    b->length = head.length;
    b->items = head.items;
    b->sealed = true;
    w->chunks++;
    w->info.items += head.items;
    write_sealed(w);
    return TM_OK;
}

uint64_t tm_snapshot_writer_chunks(const struct tm_snapshot_writer *w)
{
    return w->chunks;
}

/* --- finishing --- */

static bool as_expected(const struct tm_snapshot_writer *w)
{
    return !w->has_expected || (w->chunks == w->expected.chunks &&
                                w->info.items == w->expected.items && w->at == w->expected.bytes);
}

static void lay_header(struct tm_snapshot_writer *w)
{
    struct tm_snap_header h;
    XXH128_canonical_t all;
    w->info.chunks = w->chunks;
    w->info.bytes = w->at;
    tm_snap_header_of(&w->info, &h);
    XXH128_canonicalFromHash(&all, XXH3_128bits_digest(w->hashes));
    memcpy(h.chunks_hash, all.digest, 16);
    tm_snap_header_seal(&h);
    memset(w->page, 0, TM_SNAP_PAGE);
    memcpy(w->page, &h, sizeof h);
}

void tm_snapshot_writer_finish(struct tm_snapshot_writer *w, uint64_t walked_to,
                               const struct tm_snapshot_info *expected)
{
    if (w->state == TM_SNAPSHOT_FAILED)
        return;
    TM_ASSERT(takes(w));
    if (expected != NULL) {
        w->expected = *expected;
        w->has_expected = true;
    }
    w->info.walked_to = expected != NULL ? expected->walked_to : walked_to;
    if (!w->filling->sealed && w->filling->length > 0)
        seal(w);
    bool opening = w->state == TM_SNAPSHOT_OPENING;
    w->state = TM_SNAPSHOT_SYNCING;
    if (!opening && w->step == STEP_IDLE)
        go_on(w);
}

static void sync_dir(struct tm_snapshot_writer *w, enum step step, const char *name)
{
    start(w, step, (struct tm_disk_op){.kind = TM_DISK_SYNC_DIR, .name = name});
}

/* Everything is written: what comes next while SYNCING or WRITING. */
static void go_on(struct tm_snapshot_writer *w)
{
    write_sealed(w);
    if (w->step != STEP_IDLE || w->state != TM_SNAPSHOT_SYNCING)
        return;
    if (!as_expected(w)) {
        fail(w, TM_ERR_CORRUPT);
        return;
    }
    start(w, STEP_SYNC_CHUNKS, (struct tm_disk_op){.kind = TM_DISK_SYNC, .file = w->file});
}

/* --- the pointer --- */

/* Where a damaged one ended that the new one does not reach: that goes on being known. */
static void keep_lost(struct tm_snap_current *fresh, const struct tm_snap_current *old)
{
    for (uint32_t i = 0; i < old->count && fresh->count < 2; i++)
        if ((old->lost >> i & 1) != 0 && old->of[i].from > fresh->of[0].from) {
            fresh->lost = 1u << fresh->count;
            fresh->of[fresh->count++] = old->of[i];
        }
}

/* Takes the older ones from what "current" held and lays the new one. */
static void lay_current(struct tm_snapshot_writer *w, size_t have)
{
    struct tm_snap_current old = {0}, fresh = {.count = 1};
    if (!tm_snap_current_take(w->page, have, &old))
        old.count = 0;
    fresh.of[0].from = w->info.walked_from;
    fresh.of[0].to = w->info.walked_to;
    w->old[0] = '\0';
    keep_lost(&fresh, &old);
    for (uint32_t i = 0; i < old.count; i++) {
        if ((old.lost >> i & 1) != 0 ||
            (old.of[i].from == fresh.of[0].from && old.of[i].to == fresh.of[0].to))
            continue;
        if (fresh.count < 2)
            fresh.of[fresh.count++] = old.of[i];
        else
            tm_snap_name_file(w->old, w->info.partition, old.of[i].from, old.of[i].to);
    }
    tm_snap_current_seal(&fresh);
    memset(w->page, 0, 2 * TM_SNAP_PAGE);
    memcpy(w->page, &fresh, sizeof fresh);
    memcpy(w->page + TM_SNAP_PAGE, &fresh, sizeof fresh);
}

static void open_new(struct tm_snapshot_writer *w)
{
    start(
        w, STEP_OPEN_NEW,
        (struct tm_disk_op){.kind = TM_DISK_OPEN, .name = w->current_new, .flags = TM_DISK_CREATE});
}

void tm_snapshot_writer_publish(struct tm_snapshot_writer *w)
{
    TM_ASSERT(w->state == TM_SNAPSHOT_COMPLETE);
    w->state = TM_SNAPSHOT_FLIPPING;
    start(w, STEP_OPEN_CURRENT,
          (struct tm_disk_op){
              .kind = TM_DISK_OPEN, .name = w->current_name, .flags = TM_DISK_RDONLY});
}

/* --- steps --- */

static void step_open(struct tm_snapshot_writer *w, enum step step, int64_t result)
{
    switch (step) {
    case STEP_MKDIR_TOP:
        start(w, STEP_MKDIR, (struct tm_disk_op){.kind = TM_DISK_MKDIR, .name = w->folder});
        break;
    case STEP_MKDIR:
        start(w, STEP_OPEN,
              (struct tm_disk_op){
                  .kind = TM_DISK_OPEN, .name = w->tmp, .flags = TM_DISK_CREATE | TM_DISK_DIRECT});
        break;
    default:
        w->file = (int32_t)result;
        w->unlink_name = w->tmp;
        if (w->state == TM_SNAPSHOT_OPENING)
            w->state = TM_SNAPSHOT_WRITING;
        go_on(w);
        tell(w);
    }
}

static void give_name(struct tm_snapshot_writer *w)
{
    start(w, STEP_RENAME,
          (struct tm_disk_op){.kind = TM_DISK_RENAME, .name = w->tmp, .name2 = w->name});
}

static void step_sync(struct tm_snapshot_writer *w, enum step step, int64_t result)
{
    switch (step) {
    case STEP_SYNC_CHUNKS:
        lay_header(w);
        start(w, STEP_HEADER,
              (struct tm_disk_op){
                  .kind = TM_DISK_WRITE, .file = w->file, .buf = w->page, .len = TM_SNAP_PAGE});
        break;
    case STEP_HEADER:
        start(w, STEP_SYNC_HEADER, (struct tm_disk_op){.kind = TM_DISK_SYNC, .file = w->file});
        break;
    case STEP_SYNC_HEADER:
        start(w, STEP_CLOSE, (struct tm_disk_op){.kind = TM_DISK_CLOSE, .file = w->file});
        w->file = -1;
        break;
    case STEP_CLOSE:
        tm_snap_name_file(w->name, w->info.partition, w->info.walked_from, w->info.walked_to);
        start(w, STEP_OPEN_SAME,
              (struct tm_disk_op){.kind = TM_DISK_OPEN, .name = w->name, .flags = TM_DISK_RDONLY});
        break;
    case STEP_OPEN_SAME:
        w->replaces = true;
        start(w, STEP_CLOSE_SAME,
              (struct tm_disk_op){.kind = TM_DISK_CLOSE, .file = (int32_t)result});
        break;
    case STEP_CLOSE_SAME:
        give_name(w);
        break;
    case STEP_RENAME:
        w->unlink_name = w->replaces ? NULL : w->name;
        sync_dir(w, STEP_SYNC_FOLDER, w->folder);
        break;
    case STEP_SYNC_FOLDER:
        sync_dir(w, STEP_SYNC_PARENT, "snapshots");
        break;
    case STEP_SYNC_PARENT:
        sync_dir(w, STEP_SYNC_TOP, "");
        break;
    default:
        w->state = TM_SNAPSHOT_COMPLETE;
        tell(w);
    }
}

static void step_published(struct tm_snapshot_writer *w)
{
    w->state = TM_SNAPSHOT_PUBLISHED;
    tell(w);
}

static void step_flip(struct tm_snapshot_writer *w, enum step step, int64_t result)
{
    switch (step) {
    case STEP_OPEN_CURRENT:
        w->current = (int32_t)result;
        start(
            w, STEP_READ_CURRENT,
            (struct tm_disk_op){
                .kind = TM_DISK_READ, .file = w->current, .buf = w->page, .len = 2 * TM_SNAP_PAGE});
        break;
    case STEP_READ_CURRENT:
        lay_current(w, (size_t)result);
        start(w, STEP_CLOSE_CURRENT,
              (struct tm_disk_op){.kind = TM_DISK_CLOSE, .file = w->current});
        w->current = -1;
        break;
    case STEP_CLOSE_CURRENT:
        open_new(w);
        break;
    case STEP_OPEN_NEW:
        w->current = (int32_t)result;
        start(w, STEP_WRITE_NEW,
              (struct tm_disk_op){.kind = TM_DISK_WRITE,
                                  .file = w->current,
                                  .buf = w->page,
                                  .len = 2 * TM_SNAP_PAGE});
        break;
    case STEP_WRITE_NEW:
        start(w, STEP_SYNC_NEW, (struct tm_disk_op){.kind = TM_DISK_SYNC, .file = w->current});
        break;
    case STEP_SYNC_NEW:
        start(w, STEP_CLOSE_NEW, (struct tm_disk_op){.kind = TM_DISK_CLOSE, .file = w->current});
        w->current = -1;
        break;
    case STEP_CLOSE_NEW:
        w->unlink_name = NULL; /* from here on it may count: it must not be removed */
        start(w, STEP_FLIP,
              (struct tm_disk_op){
                  .kind = TM_DISK_RENAME, .name = w->current_new, .name2 = w->current_name});
        break;
    case STEP_FLIP:
        sync_dir(w, STEP_SYNC_FLIP, w->folder);
        break;
    case STEP_SYNC_FLIP:
        if (w->old[0] == '\0')
            step_published(w);
        else
            start(w, STEP_UNLINK_OLD, (struct tm_disk_op){.kind = TM_DISK_UNLINK, .name = w->old});
        break;
    default:
        step_published(w);
    }
}

static void step_chunk(struct tm_snapshot_writer *w)
{
    struct buffer *b = w->writing;
    b->sealed = false;
    b->length = b->items = 0;
    w->writing = NULL;
    go_on(w);
    if (w->state == TM_SNAPSHOT_WRITING)
        tell(w);
}

static bool step_good(const struct tm_snapshot_writer *w, enum step step, int64_t result)
{
    if (step == STEP_CHUNK || step == STEP_HEADER || step == STEP_WRITE_NEW)
        return result == (int64_t)w->op.len;
    return result >= 0 || step == STEP_UNLINK_OLD;
}

static void step_done(struct tm_disk_op *op)
{
    struct tm_snapshot_writer *w = op->owner;
    enum step step = w->step;
    int64_t result = op->result;
    w->step = STEP_IDLE;
    if (step == STEP_OPEN && result >= 0 && w->closed) {
        w->file = (int32_t)result;
        w->unlink_name = w->tmp;
    }
    if ((step == STEP_OPEN_NEW || step == STEP_OPEN_SAME) && result >= 0 && w->closed)
        w->current = (int32_t)result;
    if (step == STEP_OPEN_CURRENT && result == -ENOENT && !w->closed) {
        lay_current(w, 0);
        open_new(w);
        return;
    }
    if (step == STEP_OPEN_SAME && result == -ENOENT && !w->closed) {
        give_name(w);
        return;
    }
    if (step >= STEP_ABORT_CLOSE || w->closed) {
        abort_on(w);
        return;
    }
    if (!step_good(w, step, result)) {
        fail(w, result < 0 ? tm_err_from_errno((int)-result) : TM_ERR_IO);
        return;
    }
    if (step == STEP_CHUNK)
        step_chunk(w);
    else if (step <= STEP_OPEN)
        step_open(w, step, result);
    else if (step <= STEP_SYNC_TOP)
        step_sync(w, step, result);
    else
        step_flip(w, step, result);
}

/* --- life --- */

enum tm_err tm_snapshot_writer_new(const struct tm_ctx *ctx, const struct tm_snapshot_info *info,
                                   void (*changed)(void *host, struct tm_snapshot_writer *writer),
                                   void *host, struct tm_snapshot_writer **out)
{
    struct tm_snapshot_writer *w = calloc(1, sizeof *w);
    if (w == NULL)
        return TM_ERR_NOMEM;
    w->ctx = ctx;
    w->changed = changed;
    w->host = host;
    w->info = *info;
    w->info.items = w->info.chunks = w->info.bytes = 0;
    w->file = w->current = -1;
    w->at = TM_SNAP_PAGE;
    w->filling = &w->buffers[0];
    w->page = aligned_alloc(TM_SNAP_PAGE, 2 * TM_SNAP_PAGE);
    w->hashes = aligned_alloc(64, tm_align_up(sizeof *w->hashes, 64));
    if (w->page == NULL || w->hashes == NULL) {
        tm_snapshot_writer_abandon(w);
        return TM_ERR_NOMEM;
    }
    XXH3_128bits_reset(w->hashes);
    tm_snap_name_folder(w->folder, info->partition);
    snprintf(w->tmp, sizeof w->tmp, "%s/%016" PRIx64 ".tmp", w->folder, tm_ctx_random(ctx));
    tm_snap_name_current(w->current_name, info->partition, false);
    tm_snap_name_current(w->current_new, info->partition, true);
    start(w, STEP_MKDIR_TOP, (struct tm_disk_op){.kind = TM_DISK_MKDIR, .name = "snapshots"});
    *out = w;
    return TM_OK;
}

enum tm_snapshot_state tm_snapshot_writer_state(const struct tm_snapshot_writer *w)
{
    return w->state;
}

enum tm_err tm_snapshot_writer_error(const struct tm_snapshot_writer *w)
{
    return w->err;
}

const struct tm_snapshot_info *tm_snapshot_writer_info(const struct tm_snapshot_writer *w)
{
    return &w->info;
}

static void abandon_end(struct tm_snapshot_end *end)
{
    tm_snapshot_writer_abandon(TM_CONTAINER_OF(end, struct tm_snapshot_writer, end));
}

void tm_snapshot_writer_close(struct tm_snapshot_writer *w, struct tm_snapshot_closed *list)
{
    tm_snapshot_end_join(&w->end, list, abandon_end);
    w->closed = true;
    if (w->state == TM_SNAPSHOT_PUBLISHED)
        w->unlink_name = NULL;
    if (w->step == STEP_IDLE)
        abort_on(w);
}
