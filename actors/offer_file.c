/* The files of offers.  Storing writes beside the name, syncs, renames and syncs the folder: a file
 * of that name is whole.  A file that cannot be written leaves the image in memory as the only
 * copy, which is offered all the same.  One that cannot be read, or is damaged, is put aside under
 * a name ending in ".refused" and counted as lost.  A file that goes, or gets that name, does so
 * durably: it would be offered again after a loss of power, when the leader's log may reach back to
 * its fork no more, and be counted as lost though it was merged, or twice.
 *
 * Each way is a list of disk operations, one after the other; the first that fails ends it. */
#include "actors/offer_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const enum tm_disk_kind store_steps[] = {TM_DISK_OPEN,    TM_DISK_TRUNCATE, TM_DISK_WRITE,
                                                TM_DISK_SYNC,    TM_DISK_CLOSE,    TM_DISK_RENAME,
                                                TM_DISK_SYNC_DIR};
static const enum tm_disk_kind load_steps[] = {TM_DISK_OPEN, TM_DISK_READ, TM_DISK_CLOSE};
static const enum tm_disk_kind remove_steps[] = {TM_DISK_UNLINK, TM_DISK_SYNC_DIR};
static const enum tm_disk_kind refuse_steps[] = {TM_DISK_RENAME, TM_DISK_SYNC_DIR};

static const struct tm_ctx *ctx_of(const struct tm_offer *x)
{
    return x->owner->shard->ctx;
}

static void step_done(struct tm_disk_op *op);

static void submit(struct tm_offer *x, enum tm_disk_kind kind)
{
    bool storing = x->state == TM_OFFER_STORING;
    x->op = (struct tm_disk_op){.kind = kind,
                                .file = x->file,
                                .buf = x->image,
                                .len = (uint32_t)x->length,
                                .done = step_done,
                                .owner = x};
    if (kind == TM_DISK_OPEN)
        x->op.flags = storing ? TM_DISK_CREATE : TM_DISK_RDONLY;
    if (kind == TM_DISK_TRUNCATE)
        x->op.offset = x->length;
    if (kind == TM_DISK_OPEN)
        x->op.name = storing ? x->other : x->name;
    else if (kind == TM_DISK_RENAME)
        x->op.name = storing ? x->other : x->name;
    else
        x->op.name = kind == TM_DISK_SYNC_DIR ? TM_OFFER_FOLDER : x->name;
    x->op.name2 = storing ? x->name : x->other;
    x->busy = true;
    ctx_of(x)->disk->submit(ctx_of(x)->disk, &x->op);
}

static void stored(struct tm_offer *x, int64_t result)
{
    if (result < 0)
        tm_ctx_log(ctx_of(x), TM_LOG_ERROR, "offer_not_stored",
                   "partition=%u file=%s error=\"%s\" text=\"kept in memory only until a leader "
                   "has taken it\"",
                   x->head.partition, x->name, tm_err_text(tm_err_from_errno((int)-result)));
    else
        tm_offer_drop_image(x);
    x->filed = x->filed || result >= 0;
    tm_offer_become(x, TM_OFFER_STORED);
}

static void loaded(struct tm_offer *x, int64_t result)
{
    enum tm_err e = result < 0 ? tm_err_from_errno((int)-result) : TM_ERR_CORRUPT;
    struct tm_offer_head head = x->head;
    if (result >= 0)
        memcpy(&head, x->image, sizeof head);
    if (result >= 0 && head.id == x->head.id && head.partition == x->head.partition)
        e = tm_offer_check(tm_bytes_of(x->image, x->length), x->head.cluster);
    if (e == TM_OK) {
        tm_offer_become(x, TM_OFFER_LOADED);
        return;
    }
    tm_ctx_log(ctx_of(x), TM_LOG_ERROR, "offer_damaged", "partition=%u file=%s error=\"%s\"",
               x->head.partition, x->name, tm_err_text(e));
    tm_counter_add(ctx_of(x)->counters, TM_COUNTER_async_dropped, x->head.count);
    tm_offer_drop_image(x);
    tm_offer_become(x, TM_OFFER_STORED);
    x->doomed = x->refused = true;
}

static void finish(struct tm_offer *x, int64_t result)
{
    x->owner->kicked = true;
    if (x->state == TM_OFFER_STORING)
        stored(x, result);
    else if (x->state == TM_OFFER_LOADING)
        loaded(x, result);
    else
        tm_offer_forget(x->owner, x);
}

static enum tm_disk_kind step_of(const struct tm_offer *x, unsigned step, unsigned *count)
{
    if (x->state == TM_OFFER_STORING) {
        *count = TM_ARRAY_LEN(store_steps);
        return store_steps[step];
    }
    if (x->state == TM_OFFER_LOADING) {
        *count = TM_ARRAY_LEN(load_steps);
        return load_steps[step];
    }
    *count = TM_ARRAY_LEN(remove_steps);
    return x->refused ? refuse_steps[step] : remove_steps[step];
}

static void abandoned(struct tm_disk_op *op)
{
    struct tm_offer *x = op->owner;
    x->busy = false;
    finish(x, -EIO);
}

static void step_done(struct tm_disk_op *op)
{
    struct tm_offer *x = op->owner;
    int64_t result = op->result;
    unsigned count;
    x->busy = false;
    if (op->kind == TM_DISK_READ && result >= 0 && (size_t)result != x->length)
        result = -EIO;
    if (op->kind == TM_DISK_OPEN && result >= 0)
        x->file = (int32_t)result;
    if (op->kind == TM_DISK_CLOSE)
        x->file = -1;
    (void)step_of(x, x->step, &count);
    if (result >= 0 && ++x->step < count) {
        submit(x, step_of(x, x->step, &count));
    } else if (result < 0 && x->file >= 0) {
        submit(x, TM_DISK_CLOSE);
        x->op.done = abandoned;
    } else {
        finish(x, result);
    }
}

static void start(struct tm_offer *x, enum tm_offer_state state, const char *suffix)
{
    unsigned count;
    tm_offer_become(x, state);
    tm_offer_name(&x->head, x->name);
    (void)snprintf(x->other, sizeof x->other, "%s%s", x->name, suffix);
    x->file = -1;
    x->step = 0;
    submit(x, step_of(x, 0, &count));
}

void tm_offer_store(struct tm_offer *x)
{
    start(x, TM_OFFER_STORING, ".tmp");
}

void tm_offer_load(struct tm_offer *x)
{
    TM_ASSERT(x->image == NULL);
    x->image = malloc(x->head.length);
    if (x->image == NULL)
        return; /* STORED still, tried again */
    x->length = x->cap = x->head.length;
    x->owner->bytes += x->cap;
    start(x, TM_OFFER_LOADING, "");
}

void tm_offer_remove(struct tm_offer *x)
{
    start(x, TM_OFFER_REMOVING, ".refused");
}

/* ---- at the start ---- */

struct names {
    char (*at)[TM_OFFER_NAME_MAX];
    unsigned count, cap;
    bool short_of_memory;
};

static void note_name(void *arg, const char *name)
{
    struct names *n = arg;
    if (strlen(TM_OFFER_FOLDER "/") + strlen(name) >= TM_OFFER_NAME_MAX)
        return;
    if (n->count == n->cap) {
        unsigned cap = n->cap == 0 ? 64 : n->cap * 2;
        void *at = realloc(n->at, cap * sizeof *n->at);
        if (at == NULL) {
            n->short_of_memory = true;
            return;
        }
        n->at = at;
        n->cap = cap;
    }
    (void)snprintf(n->at[n->count++], TM_OFFER_NAME_MAX, TM_OFFER_FOLDER "/%s", name);
}

static enum tm_err read_head(struct tm_disk *disk, const char *name, struct tm_offer_head *head)
{
    int64_t file = tm_disk_run_open(disk, name, TM_DISK_RDONLY);
    if (file < 0)
        return tm_err_from_errno((int)-file);
    int64_t got = tm_disk_run_read(disk, (int32_t)file, head, sizeof *head, 0);
    int64_t size = tm_disk_run_size(disk, (int32_t)file);
    (void)tm_disk_run_close(disk, (int32_t)file);
    if (got != (int64_t)sizeof *head || size != (int64_t)head->length)
        return got < 0 ? tm_err_from_errno((int)-got) : TM_ERR_CORRUPT;
    return TM_OK;
}

/* One file of this worker's.  What is not an offer is told and left alone. */
static enum tm_err find_one(struct tm_offers *o, const char *name)
{
    const struct tm_directory *d = o->shard->directory;
    struct tm_offer_head head;
    char right[TM_OFFER_NAME_MAX] = "";
    enum tm_err e = read_head(o->shard->ctx->disk, name, &head);
    if (e == TM_OK)
        e = tm_offer_head_check(&head, d->uuid);
    if (e == TM_OK)
        tm_offer_name(&head, right);
    if (e != TM_OK || strcmp(name, right) != 0 || head.partition > d->partitions) {
        tm_ctx_log(o->shard->ctx, TM_LOG_ERROR, "offer_unreadable", "file=%s error=\"%s\"", name,
                   tm_err_text(e != TM_OK ? e : TM_ERR_CORRUPT));
        return TM_OK;
    }
    struct tm_offer *x = tm_offer_make(o);
    if (x == NULL)
        return TM_ERR_NOMEM;
    x->state = TM_OFFER_STORED;
    x->head = head;
    x->from = head.first;
    x->to = head.last;
    x->end_hash = head.id;
    x->cut = x->filed = x->found = true;
    tm_ctx_log(o->shard->ctx, TM_LOG_INFO, "offer_found",
               "partition=%u first=%" PRIu64 " last=%" PRIu64 " file=%s", head.partition,
               head.first, head.last, name);
    return TM_OK;
}

enum tm_err tm_offer_find(struct tm_offers *o)
{
    struct tm_disk *disk = o->shard->ctx->disk;
    struct names n = {0};
    int64_t result = disk->list(disk, TM_OFFER_FOLDER, note_name, &n);
    enum tm_err e = result < 0 && result != -ENOENT ? tm_err_from_errno((int)-result) : TM_OK;
    if (n.short_of_memory)
        e = TM_ERR_NOMEM;
    for (unsigned i = 0; e == TM_OK && i < n.count; i++) {
        unsigned partition;
        if (sscanf(n.at[i], TM_OFFER_FOLDER "/%u-", &partition) != 1 ||
            partition % o->shard->node->workers != o->shard->self.worker)
            continue;
        const char *dot = strchr(n.at[i], '.');
        if (dot != NULL && strcmp(dot, ".tmp") == 0)
            (void)tm_disk_run_unlink(disk, n.at[i]);
        else if (dot == NULL)
            e = find_one(o, n.at[i]);
    }
    free(n.at);
    return e;
}
