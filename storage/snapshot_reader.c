/* Reading chunks for sending.  Chunks differ in size, so their offsets are learnt one after the
 * other: a chunk's own page tells where the next begins.  A read of chunk n walks from the last
 * offset known to the one wanted, then reads the whole and verifies it. */
#include <inttypes.h>
#include <stdlib.h>

#include "storage/snapshot_internal.h"

enum reading { READ_NOTHING, READ_OPEN, READ_PAGE, READ_WHOLE, READ_CLOSE };

struct tm_snapshot_reader {
    const struct tm_ctx *ctx;
    struct tm_snapshot_info info;
    char name[TM_SNAP_NAME_MAX];
    int32_t file;
    bool closed;
    struct tm_snapshot_end end; /* once it is closed */
    enum reading reading;
    struct tm_disk_op op;
    uint64_t *offsets; /* of chunks 0..known - 1 */
    uint64_t known, cap;
    uint8_t *buf;
    uint64_t buf_bytes;
    /* The read that was asked for. */
    bool asked;
    uint64_t chunk;
    void (*done)(void *host, enum tm_err err, uint64_t chunk, struct tm_bytes bytes);
    void *host;
};

static void op_done(struct tm_disk_op *op);

static void start(struct tm_snapshot_reader *r, enum reading reading, struct tm_disk_op op)
{
    TM_ASSERT(r->reading == READ_NOTHING);
    r->reading = reading;
    op.done = op_done;
    op.owner = r;
    r->op = op;
    r->ctx->disk->submit(r->ctx->disk, &r->op);
}

void tm_snapshot_reader_abandon(struct tm_snapshot_reader *r)
{
    tm_snapshot_end_leave(&r->end);
    free(r->offsets);
    free(r->buf);
    free(r);
}

static void answer(struct tm_snapshot_reader *r, enum tm_err err, struct tm_bytes bytes)
{
    r->asked = false;
    if (err == TM_ERR_CORRUPT)
        tm_ctx_log(r->ctx, TM_LOG_ERROR, "snapshot_rot", "partition=%" PRIu32 " chunk=%" PRIu64,
                   r->info.partition, r->chunk);
    r->done(r->host, err, r->chunk, bytes);
}

static bool reserve(struct tm_snapshot_reader *r, uint64_t bytes)
{
    if (bytes <= r->buf_bytes)
        return true;
    free(r->buf);
    r->buf = aligned_alloc(TM_SNAP_PAGE, bytes);
    r->buf_bytes = r->buf == NULL ? 0 : bytes;
    return r->buf != NULL;
}

static bool learn(struct tm_snapshot_reader *r, uint64_t offset)
{
    if (r->known == r->cap) {
        uint64_t cap = r->cap == 0 ? 64 : 2 * r->cap;
        uint64_t *grown = realloc(r->offsets, cap * sizeof *grown);
        if (grown == NULL)
            return false;
        r->offsets = grown;
        r->cap = cap;
    }
    r->offsets[r->known++] = offset;
    return true;
}

static void read_at(struct tm_snapshot_reader *r, enum reading reading, uint64_t offset,
                    uint64_t bytes)
{
    start(r, reading,
          (struct tm_disk_op){.kind = TM_DISK_READ,
                              .file = r->file,
                              .buf = r->buf,
                              .len = (uint32_t)bytes,
                              .offset = offset});
}

/* The next step towards the chunk that was asked for. */
static void go_on(struct tm_snapshot_reader *r)
{
    if (!r->asked || r->reading != READ_NOTHING)
        return;
    uint64_t i = tm_min_u64(r->chunk, r->known - 1);
    if (!reserve(r, TM_SNAP_PAGE))
        answer(r, TM_ERR_NOMEM, tm_bytes_of(NULL, 0));
    else
        read_at(r, READ_PAGE, r->offsets[i], TM_SNAP_PAGE);
}

static void page_done(struct tm_snapshot_reader *r, int64_t result)
{
    struct tm_snap_chunk head;
    uint64_t i = tm_min_u64(r->chunk, r->known - 1);
    memcpy(&head, r->buf, sizeof head);
    if (result != TM_SNAP_PAGE || head.magic != TM_SNAP_CHUNK_MAGIC || head.number != (uint32_t)i ||
        head.length > TM_SNAP_ITEM_MAX + TM_SNAP_PAGE) {
        answer(r, result < 0 ? TM_ERR_IO : TM_ERR_CORRUPT, tm_bytes_of(NULL, 0));
        return;
    }
    uint64_t bytes = tm_snap_disk_bytes(head.length);
    if (i + 1 == r->known && !learn(r, r->offsets[i] + bytes)) {
        answer(r, TM_ERR_NOMEM, tm_bytes_of(NULL, 0));
        return;
    }
    if (i < r->chunk)
        go_on(r);
    else if (!reserve(r, bytes))
        answer(r, TM_ERR_NOMEM, tm_bytes_of(NULL, 0));
    else
        read_at(r, READ_WHOLE, r->offsets[i], bytes);
}

static void whole_done(struct tm_snapshot_reader *r, int64_t result)
{
    struct tm_snap_chunk head;
    memcpy(&head, r->buf, sizeof head);
    struct tm_bytes chunk = tm_bytes_of(r->buf, sizeof head + head.length);
    if (result < 0)
        answer(r, TM_ERR_IO, tm_bytes_of(NULL, 0));
    else if (result != (int64_t)r->op.len || chunk.len > r->buf_bytes ||
             !tm_snap_chunk_valid(chunk, r->chunk))
        answer(r, TM_ERR_CORRUPT, tm_bytes_of(NULL, 0));
    else
        answer(r, TM_OK, chunk);
}

static void close_file(struct tm_snapshot_reader *r)
{
    if (r->file < 0) {
        tm_snapshot_reader_abandon(r);
        return;
    }
    start(r, READ_CLOSE, (struct tm_disk_op){.kind = TM_DISK_CLOSE, .file = r->file});
    r->file = -1;
}

static void op_done(struct tm_disk_op *op)
{
    struct tm_snapshot_reader *r = op->owner;
    enum reading reading = r->reading;
    r->reading = READ_NOTHING;
    if (reading == READ_OPEN && op->result >= 0)
        r->file = (int32_t)op->result;
    if (r->closed) {
        close_file(r);
        return;
    }
    if (reading == READ_PAGE)
        page_done(r, op->result);
    else if (reading == READ_WHOLE)
        whole_done(r, op->result);
    else if (r->file >= 0)
        go_on(r);
    else if (r->asked)
        answer(r, tm_err_from_errno((int)-op->result), tm_bytes_of(NULL, 0));
}

enum tm_err tm_snapshot_reader_new(const struct tm_ctx *ctx, const struct tm_snapshot_info *info,
                                   struct tm_snapshot_reader **out)
{
    struct tm_snapshot_reader *r = calloc(1, sizeof *r);
    if (r == NULL || !learn(r, TM_SNAP_PAGE)) {
        free(r);
        return TM_ERR_NOMEM;
    }
    r->ctx = ctx;
    r->info = *info;
    r->file = -1;
    tm_snap_name_file(r->name, info->partition, info->walked_from, info->walked_to);
    start(r, READ_OPEN,
          (struct tm_disk_op){
              .kind = TM_DISK_OPEN, .name = r->name, .flags = TM_DISK_RDONLY | TM_DISK_DIRECT});
    *out = r;
    return TM_OK;
}

enum tm_err tm_snapshot_read(struct tm_snapshot_reader *r, uint64_t chunk,
                             void (*done)(void *host, enum tm_err err, uint64_t chunk,
                                          struct tm_bytes bytes),
                             void *host)
{
    if (r->asked)
        return TM_ERR_FULL;
    if (chunk >= r->info.chunks)
        return TM_ERR_NOTFOUND;
    if (r->file < 0 && r->reading == READ_NOTHING)
        return TM_ERR_IO; /* it did not open */
    r->asked = true;
    r->chunk = chunk;
    r->done = done;
    r->host = host;
    go_on(r);
    return TM_OK;
}

static void abandon_end(struct tm_snapshot_end *end)
{
    tm_snapshot_reader_abandon(TM_CONTAINER_OF(end, struct tm_snapshot_reader, end));
}

void tm_snapshot_reader_close(struct tm_snapshot_reader *r, struct tm_snapshot_closed *list)
{
    tm_snapshot_end_join(&r->end, list, abandon_end);
    r->closed = true;
    if (r->reading == READ_NOTHING)
        close_file(r);
}
