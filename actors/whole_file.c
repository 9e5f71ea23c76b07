/* Both ways of writing take the same steps and differ in who waits for each.  After a step that
 * failed the file is closed; what was begun beside the old one is removed by the next write. */
#include "actors/whole_file.h"

#include <stdlib.h>

enum step { STEP_REMOVE, STEP_OPEN, STEP_WRITE, STEP_SYNC, STEP_CLOSE, STEP_RENAME, STEP_FOLDER };

/* The operation of the present step. */
static void prepare(struct tm_whole_write *w)
{
    static const enum tm_disk_kind kinds[] = {TM_DISK_UNLINK,  TM_DISK_OPEN,  TM_DISK_WRITE,
                                              TM_DISK_SYNC,    TM_DISK_CLOSE, TM_DISK_RENAME,
                                              TM_DISK_SYNC_DIR};
    w->op = (struct tm_disk_op){.kind = kinds[w->step],
                                .name = w->beside,
                                .name2 = w->name,
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
static bool advance(struct tm_whole_write *w)
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

static enum tm_err result(const struct tm_whole_write *w)
{
    return w->failed == 0 ? TM_OK : tm_err_from_errno((int)-w->failed);
}

enum tm_err tm_whole_save(struct tm_disk *disk, const char *name, const char *beside,
                          uint8_t *bytes, uint32_t len)
{
    struct tm_whole_write w = {
        .disk = disk, .name = name, .beside = beside, .bytes = bytes, .len = len, .file = -1};
    do {
        prepare(&w);
        w.op.result = disk->run(disk, &w.op);
    } while (advance(&w));
    return result(&w);
}

static void next_step(struct tm_whole_write *w);

static void stepped(struct tm_disk_op *op)
{
    struct tm_whole_write *w = op->owner;
    if (advance(w)) {
        next_step(w);
        return;
    }
    free(w->bytes);
    w->bytes = NULL;
    w->done(w->host, result(w));
}

static void next_step(struct tm_whole_write *w)
{
    prepare(w);
    w->op.done = stepped;
    w->disk->submit(w->disk, &w->op);
}

void tm_whole_write(struct tm_whole_write *w, struct tm_disk *disk, const char *name,
                    const char *beside, uint8_t *bytes, uint32_t len,
                    void (*done)(void *host, enum tm_err err), void *host)
{
    TM_ASSERT(!tm_whole_writing(w) && bytes != NULL);
    *w = (struct tm_whole_write){.disk = disk,
                                 .name = name,
                                 .beside = beside,
                                 .bytes = bytes,
                                 .len = len,
                                 .file = -1,
                                 .done = done,
                                 .host = host};
    next_step(w);
}

enum tm_err tm_whole_read(struct tm_disk *disk, const char *name, uint32_t max, uint8_t **bytes,
                          uint32_t *len)
{
    int64_t file = tm_disk_run_open(disk, name, TM_DISK_RDONLY);
    if (file < 0)
        return tm_err_from_errno((int)-file);
    int64_t size = tm_disk_run_size(disk, (int32_t)file);
    enum tm_err e = TM_ERR_CORRUPT;
    *bytes = NULL;
    if (size > 0 && size <= (int64_t)max) {
        *bytes = malloc((size_t)size);
        e = *bytes == NULL ? TM_ERR_NOMEM : TM_OK;
    }
    if (e == TM_OK && tm_disk_run_read(disk, (int32_t)file, *bytes, (uint32_t)size, 0) != size)
        e = TM_ERR_CORRUPT;
    *len = (uint32_t)size;
    tm_disk_run_close(disk, (int32_t)file);
    if (e != TM_OK) {
        free(*bytes);
        *bytes = NULL;
    }
    return e;
}

void tm_whole_write_abandon(struct tm_whole_write *w)
{
    free(w->bytes);
    w->bytes = NULL;
}
