/* Both ways of writing take the same steps and differ in who waits for each.  After a step that
 * failed the file is closed; what was begun beside the old one is removed by the next write.
 *
 * The file holds the directory twice, one after the other: without it a node does not start, and of
 * a cluster with one node nobody else has it. */
#include "actors/directory_file.h"

#include <stdlib.h>

#define BESIDE    TM_DIRECTORY_FILE ".tmp"
#define BYTES_MAX TM_MIB(1)

enum step { STEP_REMOVE, STEP_OPEN, STEP_WRITE, STEP_SYNC, STEP_CLOSE, STEP_RENAME, STEP_FOLDER };

/* Takes the first good one of the two copies; a file of an earlier build has one.  *mend: the other
 * one is damaged. */
static enum tm_err decode_either(struct tm_bytes file, struct tm_directory *d, bool *mend)
{
    size_t half = file.len / 2;
    enum tm_err e = tm_directory_decode(tm_bytes_of(file.data, half), d);
    if (e == TM_OK) {
        *mend = memcmp(file.data, file.data + half, half) != 0;
        return TM_OK;
    }
    if (tm_directory_decode(file, d) == TM_OK)
        return TM_OK;
    *mend = tm_directory_decode(tm_bytes_of(file.data + half, file.len - half), d) == TM_OK;
    return *mend ? TM_OK : e;
}

enum tm_err tm_directory_load(struct tm_disk *disk, struct tm_directory *d)
{
    int64_t file = tm_disk_run_open(disk, TM_DIRECTORY_FILE, TM_DISK_RDONLY);
    if (file < 0)
        return tm_err_from_errno((int)-file);
    int64_t len = tm_disk_run_size(disk, (int32_t)file);
    uint8_t *bytes = len > 0 && len < (int64_t)BYTES_MAX ? malloc((size_t)len) : NULL;
    enum tm_err e = TM_ERR_CORRUPT;
    bool mend = false;
    if (bytes != NULL && tm_disk_run_read(disk, (int32_t)file, bytes, (uint32_t)len, 0) == len)
        e = decode_either(tm_bytes_of(bytes, (size_t)len), d, &mend);
    free(bytes);
    tm_disk_run_close(disk, (int32_t)file);
    if (mend)
        (void)tm_directory_save(disk, d); /* if not now, then at the next start */
    return e;
}

/* The operation of the present step. */
static void prepare(struct tm_directory_write *w)
{
    static const enum tm_disk_kind kinds[] = {TM_DISK_UNLINK,  TM_DISK_OPEN,  TM_DISK_WRITE,
                                              TM_DISK_SYNC,    TM_DISK_CLOSE, TM_DISK_RENAME,
                                              TM_DISK_SYNC_DIR};
    w->op = (struct tm_disk_op){.kind = kinds[w->step],
                                .name = BESIDE,
                                .name2 = TM_DIRECTORY_FILE,
                                .file = w->file,
                                .buf = w->bytes,
                                .len = w->len,
                                .owner = w};
    if (w->step == STEP_OPEN)
        w->op.flags = TM_DISK_CREATE;
    if (w->step == STEP_FOLDER)
        w->op.name = "";
}

/* Takes the step's result; false: that was the last one. */
static bool advance(struct tm_directory_write *w)
{
    if (w->op.result < 0 && w->step != STEP_REMOVE && w->failed == 0)
        w->failed = w->op.result;
    if (w->step == STEP_OPEN && w->failed == 0)
        w->file = (int32_t)w->op.result;
    if (w->step == STEP_CLOSE)
        w->file = -1;
    if (w->failed == 0)
        return w->step++ != STEP_FOLDER;
    w->step = STEP_CLOSE;
    return w->file >= 0;
}

static enum tm_err begin(struct tm_directory_write *w, struct tm_disk *disk,
                         const struct tm_directory *d)
{
    size_t len = tm_directory_size(d);
    uint8_t *bytes = malloc(2 * len);
    if (bytes == NULL)
        return TM_ERR_NOMEM;
    tm_directory_encode(d, bytes);
    memcpy(bytes + len, bytes, len);
    *w = (struct tm_directory_write){.disk = disk,
                                     .step = STEP_REMOVE,
                                     .bytes = bytes,
                                     .len = (uint32_t)(2 * len),
                                     .file = -1,
                                     .version = d->version};
    return TM_OK;
}

static enum tm_err end(struct tm_directory_write *w)
{
    free(w->bytes);
    w->bytes = NULL;
    return w->failed == 0 ? TM_OK : tm_err_from_errno((int)-w->failed);
}

enum tm_err tm_directory_save(struct tm_disk *disk, const struct tm_directory *d)
{
    struct tm_directory_write w;
    enum tm_err e = begin(&w, disk, d);
    if (e != TM_OK)
        return e;
    do {
        prepare(&w);
        w.op.result = disk->run(disk, &w.op);
    } while (advance(&w));
    return end(&w);
}

static void next_step(struct tm_directory_write *w);

static void stepped(struct tm_disk_op *op)
{
    struct tm_directory_write *w = op->owner;
    if (advance(w)) {
        next_step(w);
        return;
    }
    uint64_t version = w->version;
    enum tm_err e = end(w);
    w->done(w->host, version, e);
}

static void next_step(struct tm_directory_write *w)
{
    prepare(w);
    w->op.done = stepped;
    w->disk->submit(w->disk, &w->op);
}

enum tm_err tm_directory_write(struct tm_directory_write *w, struct tm_disk *disk,
                               const struct tm_directory *d,
                               void (*done)(void *host, uint64_t version, enum tm_err err),
                               void *host)
{
    if (tm_directory_writing(w))
        return TM_ERR_FULL;
    enum tm_err e = begin(w, disk, d);
    if (e != TM_OK)
        return e;
    w->done = done;
    w->host = host;
    next_step(w);
    return TM_OK;
}

void tm_directory_write_abandon(struct tm_directory_write *w)
{
    free(w->bytes);
    w->bytes = NULL;
}
