/* What operations do when their time has come.  A SYNC makes those sectors stable that were dirty
 * when it was submitted, a DSYNC write its own.  Who asked for it is told what became stable, as
 * far as the disk says so. */
#include "tests/sim/sim_disk_internal.h"

#include <errno.h>
#include <stdlib.h>

static int64_t do_open(struct tm_sim_disk *sd, const struct tm_disk_op *op)
{
    struct tm_sim_name *found = tm_sim_disk_find(&sd->seen, op->name);
    int inode = found == NULL ? -1 : found->inode;
    if (inode >= 0 && (op->flags & TM_DISK_EXCL) != 0)
        return -EEXIST;
    if (inode < 0 && (op->flags & TM_DISK_CREATE) == 0)
        return -ENOENT;
    if (inode < 0) {
        inode = tm_sim_disk_new_inode(sd);
        tm_sim_disk_change_name(sd, op->name, inode);
    }
    for (int i = 0; i < (int)TM_SIM_HANDLES_MAX; i++)
        if (sd->handles[i] < 0) {
            sd->handles[i] = inode;
            return i;
        }
    return -EMFILE;
}

/* A file in which that much has room, some other one than n: NULL if the one that is drawn has
 * none. */
static struct tm_sim_inode *other_file(struct tm_sim_disk *sd, const struct tm_sim_inode *n,
                                       uint64_t len)
{
    int inode = sd->seen.list[tm_sim_disk_draw(sd, sd->seen.count)].inode;
    struct tm_sim_inode *other = inode < 0 ? NULL : &sd->inodes[inode];
    return other == NULL || other == n || other->size < len ? NULL : other;
}

/* Where it goes astray to: another file, or another place in this one where that much has room. */
static struct tm_sim_inode *stray(struct tm_sim_disk *sd, struct tm_sim_inode *n, uint64_t *offset,
                                  uint64_t len)
{
    struct tm_sim_inode *other = tm_sim_disk_draw(sd, 2) == 0 ? other_file(sd, n, len) : NULL;
    uint64_t at = *offset + 4096 * (1 + tm_sim_disk_draw(sd, 8));
    if (other != NULL)
        *offset = 4096 * tm_sim_disk_draw(sd, (other->size - len) / 4096 + 1);
    else if (at + len <= n->size)
        *offset = at;
    else if (*offset >= 4096)
        *offset -= 4096;
    return other != NULL ? other : n;
}

static int64_t do_read(struct tm_sim_disk *sd, const struct tm_disk_op *op)
{
    struct tm_sim_inode *n = tm_sim_disk_inode(sd, op->file), *from = n;
    uint64_t offset = op->offset;
    if (offset >= n->size)
        return 0;
    uint64_t len = tm_min_u64(op->len, n->size - offset);
    if (sd->misread)
        from = stray(sd, n, &offset, len);
    if (from != n || offset != op->offset) {
        sd->misread = false;
        sd->tally->misread++;
        sd->tally->misread_far += from != n;
    }
    memcpy(op->buf, from->seen + offset, len);
    return (int64_t)len;
}

void tm_sim_disk_tell_stable(struct tm_sim_disk *sd, const struct tm_sim_inode *n, uint64_t offset,
                             const void *bytes, uint64_t len)
{
    if (sd->stable_fn != NULL && len > 0)
        sd->stable_fn(sd->stable_host, tm_sim_disk_name_of(sd, n), offset, tm_bytes_of(bytes, len));
}

static void note_strayed(struct tm_sim_disk *sd, const struct tm_sim_inode *n,
                         const struct tm_disk_op *op)
{
    free(sd->strayed.bytes);
    sd->strayed.bytes = malloc(op->len);
    TM_ASSERT(sd->strayed.bytes != NULL);
    memcpy(sd->strayed.bytes, op->buf, op->len);
    sd->strayed.inode = (int)(n - sd->inodes);
    sd->strayed.offset = op->offset;
    sd->strayed.len = op->len;
}

static void tell_strayed(struct tm_sim_disk *sd, const struct tm_sim_inode *n)
{
    if (sd->strayed.bytes == NULL || sd->strayed.inode != (int)(n - sd->inodes))
        return;
    tm_sim_disk_tell_stable(sd, n, sd->strayed.offset, sd->strayed.bytes, sd->strayed.len);
    free(sd->strayed.bytes);
    sd->strayed.bytes = NULL;
}

static void note_recent(struct tm_sim_disk *sd, const struct tm_sim_inode *n, uint64_t offset,
                        uint64_t len)
{
    unsigned at = (unsigned)(sd->recent_count++ % TM_SIM_RECENT);
    sd->recent[at].inode = (int)(n - sd->inodes);
    sd->recent[at].offset = offset;
    sd->recent[at].len = len;
}

static int64_t do_write(struct tm_sim_disk *sd, const struct tm_disk_op *op)
{
    struct tm_sim_inode *meant = tm_sim_disk_inode(sd, op->file), *n = meant;
    uint64_t offset = op->offset;
    int err = tm_sim_disk_grow(sd, meant, offset + op->len);
    if (err < 0)
        return err;
    if (sd->misdirect && op->len > 0)
        n = stray(sd, meant, &offset, op->len);
    bool strayed = n != meant || offset != op->offset, clean = n->dirty_from == n->dirty_to;
    sd->overtaken +=
        sd->held != NULL && n == tm_sim_disk_inode(sd, sd->held->file) && offset > sd->held->offset;
    tm_sim_disk_write_sectors(sd, n, op, offset, 100);
    note_recent(sd, n, offset, op->len);
    if ((op->flags & TM_DISK_DSYNC) != 0 && op->len > 0)
        tm_sim_disk_stabilise(n, offset / TM_SIM_SECTOR,
                              (offset + op->len - 1) / TM_SIM_SECTOR + 1);
    if (clean && (op->flags & TM_DISK_DSYNC) != 0)
        n->dirty_from = n->dirty_to = 0;
    if (strayed) {
        sd->misdirect = false;
        sd->tally->misdirected++;
        sd->tally->misdirected_far += n != meant;
        note_strayed(sd, meant, op);
    }
    if ((op->flags & TM_DISK_DSYNC) == 0)
        return (int64_t)op->len;
    tm_sim_disk_tell_stable(sd, n, offset, n->stable + offset, strayed ? 0 : op->len);
    tell_strayed(sd, meant);
    return (int64_t)op->len;
}

/* scratch[1] is set: only what was marked at submission becomes stable. */
static int64_t do_sync(struct tm_sim_disk *sd, const struct tm_disk_op *op)
{
    struct tm_sim_inode *n = tm_sim_disk_inode(sd, op->file);
    uint64_t from = n->dirty_from, to = n->dirty_to; /* of a run of sectors that became stable */
    n->dirty_from = n->dirty_to = 0;
    for (uint64_t s = from; from < to && s <= to; s++) {
        if (s < to && (n->dirty[s] == 2 || (n->dirty[s] == 1 && op->scratch[1] == 0)))
            continue;
        if (s < to && n->dirty[s] != 0)
            tm_sim_disk_mark_dirty(n, s, s + 1);
        if (s > from) {
            tm_sim_disk_stabilise(n, from, s);
            tm_sim_disk_tell_stable(sd, n, from * TM_SIM_SECTOR, n->stable + from * TM_SIM_SECTOR,
                                    (s - from) * TM_SIM_SECTOR);
        }
        from = s + 1;
    }
    n->stable_size = n->size;
    tell_strayed(sd, n);
    return 0;
}

static int64_t do_truncate(struct tm_sim_disk *sd, const struct tm_disk_op *op)
{
    struct tm_sim_inode *n = tm_sim_disk_inode(sd, op->file);
    int err = tm_sim_disk_grow(sd, n, op->offset);
    if (err < 0)
        return err;
    if (op->offset < n->size) {
        memset(n->seen + op->offset, 0, n->size - op->offset);
        n->truncated = true;
    }
    n->size = op->offset;
    return 0;
}

static int64_t do_rename(struct tm_sim_disk *sd, const struct tm_disk_op *op)
{
    struct tm_sim_name *from = tm_sim_disk_find(&sd->seen, op->name);
    if (from == NULL)
        return -ENOENT;
    int inode = from->inode;
    /* One change to two names: a crash keeps both or none, so they go as a pair. */
    tm_sim_disk_change_name(sd, op->name2, inode);
    tm_sim_disk_change_name(sd, op->name, -1);
    return 0;
}

static int64_t do_unlink(struct tm_sim_disk *sd, const struct tm_disk_op *op)
{
    if (tm_sim_disk_find(&sd->seen, op->name) == NULL)
        return -ENOENT;
    tm_sim_disk_change_name(sd, op->name, -1);
    tm_sim_disk_collect(sd);
    return 0;
}

int64_t tm_sim_disk_effect(struct tm_sim_disk *sd, struct tm_disk_op *op)
{
    switch (op->kind) {
    case TM_DISK_OPEN:
        return do_open(sd, op);
    case TM_DISK_CLOSE:
        TM_ASSERT(op->file >= 0 && sd->handles[op->file] >= 0);
        tm_sim_disk_close(sd, op->file);
        return 0;
    case TM_DISK_READ:
        return do_read(sd, op);
    case TM_DISK_WRITE:
        return do_write(sd, op);
    case TM_DISK_SYNC:
        return do_sync(sd, op);
    case TM_DISK_TRUNCATE:
        return do_truncate(sd, op);
    case TM_DISK_RENAME:
        return do_rename(sd, op);
    case TM_DISK_UNLINK:
        return do_unlink(sd, op);
    case TM_DISK_MKDIR:
        return 0; /* folders are prefixes of names */
    case TM_DISK_SYNC_DIR:
        tm_sim_disk_sync_folder(sd, op->name);
        return 0;
    case TM_DISK_SIZE:
        return (int64_t)tm_sim_disk_inode(sd, op->file)->size;
    }
    return -EINVAL;
}

static void trace(struct tm_sim_disk *sd, const struct tm_disk_op *op)
{
    if (sd->hash == NULL)
        return;
    tm_sim_hash_add(sd->hash, (uint64_t)op->kind << 56 ^ (uint64_t)op->len << 32 ^ op->offset);
    if (op->kind == TM_DISK_WRITE)
        tm_sim_hash_bytes(sd->hash, op->buf, op->len);
}

static bool is_of_names(enum tm_disk_kind kind)
{
    return kind == TM_DISK_OPEN || kind == TM_DISK_RENAME || kind == TM_DISK_UNLINK ||
           kind == TM_DISK_SYNC_DIR;
}

/* What it was to do with names has happened, though it is said to have failed. */
static void change_names(struct tm_sim_disk *sd, struct tm_disk_op *op)
{
    int64_t result = tm_sim_disk_effect(sd, op);
    if (op->kind == TM_DISK_OPEN && result >= 0)
        tm_sim_disk_close(sd, (int)result);
}

static int64_t fail(struct tm_sim_disk *sd, struct tm_disk_op *op)
{
    sd->fail_count[op->kind]--;
    if (op->kind == TM_DISK_WRITE &&
        tm_sim_disk_grow(sd, tm_sim_disk_inode(sd, op->file), op->offset + op->len) == 0)
        tm_sim_disk_write_sectors(sd, tm_sim_disk_inode(sd, op->file), op, op->offset,
                                  (unsigned)tm_sim_disk_draw(sd, 100));
    sd->tally->failed_reads += op->kind == TM_DISK_READ;
    sd->tally->failed_writes += op->kind == TM_DISK_WRITE;
    sd->tally->failed_syncs += op->kind == TM_DISK_SYNC;
    if (is_of_names(op->kind)) {
        sd->tally->failed_names++;
        if (sd->fail_errno[op->kind] == EIO && tm_sim_disk_draw(sd, 2) == 0)
            change_names(sd, op);
    }
    return -sd->fail_errno[op->kind];
}

int64_t tm_sim_disk_perform(struct tm_sim_disk *sd, struct tm_disk_op *op)
{
    sd->counts[op->kind]++;
    trace(sd, op);
    bool named = op->kind == TM_DISK_RENAME || op->kind == TM_DISK_UNLINK;
    if ((sd->die_after > 0 && --sd->die_after == 0) ||
        (named && sd->die_at_name != NULL && strstr(op->name, sd->die_at_name) != NULL))
        sd->dead = sd->died = true;
    int64_t result = sd->fail_count[op->kind] > 0 ? fail(sd, op) : tm_sim_disk_effect(sd, op);
    sd->tally->no_space += result == -ENOSPC;
    return result;
}
