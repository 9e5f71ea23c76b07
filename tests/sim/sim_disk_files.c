/* Files are inodes with two contents: what a reader sees and what is stable.  Sectors that differ
 * are marked dirty.  Names are a table, also twofold: changes since the last SYNC_DIR of their
 * folder are a list in order, of which a crash keeps a prefix. */
#include "tests/sim/sim_disk_internal.h"

#include <errno.h>
#include <stdlib.h>

#define CHANGES_MAX 512u /* of names, unsynced */

/* --- names --- */

struct tm_sim_name *tm_sim_disk_find(struct tm_sim_names *names, const char *text)
{
    for (unsigned i = 0; i < names->count; i++)
        if (names->list[i].inode >= 0 && strcmp(names->list[i].text, text) == 0)
            return &names->list[i];
    return NULL;
}

void tm_sim_disk_set_name(struct tm_sim_names *names, const char *text, int inode)
{
    struct tm_sim_name *found = tm_sim_disk_find(names, text);
    for (unsigned i = 0; found == NULL && i < names->count; i++)
        if (names->list[i].inode < 0)
            found = &names->list[i];
    if (found == NULL) {
        if (names->count == names->cap) {
            names->cap = names->cap == 0 ? 64 : 2 * names->cap;
            names->list = realloc(names->list, names->cap * sizeof *names->list);
            TM_ASSERT(names->list != NULL);
        }
        found = &names->list[names->count++];
    }
    TM_ASSERT(strlen(text) < TM_SIM_NAME_MAX);
    memcpy(found->text, text, strlen(text) + 1);
    found->inode = inode;
}

void tm_sim_disk_copy_names(struct tm_sim_names *to, const struct tm_sim_names *from)
{
    to->count = 0;
    for (unsigned i = 0; i < from->count; i++)
        if (from->list[i].inode >= 0)
            tm_sim_disk_set_name(to, from->list[i].text, from->list[i].inode);
}

static void folder_of(const char *name, char *out)
{
    const char *slash = strrchr(name, '/');
    size_t n = slash == NULL ? 0 : (size_t)(slash - name);
    memcpy(out, name, n);
    out[n] = '\0';
}

/* A filesystem writes its journal by itself after a while: the oldest changes become stable. */
static void commit_changes(struct tm_sim_disk *sd, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        tm_sim_disk_set_name(&sd->stable, sd->changes[i].text, sd->changes[i].inode);
    sd->change_count -= count;
    memmove(sd->changes, sd->changes + count, sd->change_count * sizeof *sd->changes);
}

void tm_sim_disk_change_name(struct tm_sim_disk *sd, const char *text, int inode)
{
    if (sd->change_count >= CHANGES_MAX)
        commit_changes(sd, CHANGES_MAX / 2);
    if (sd->change_count == sd->change_cap) {
        sd->change_cap = sd->change_cap == 0 ? 64 : 2 * sd->change_cap;
        sd->changes = realloc(sd->changes, sd->change_cap * sizeof *sd->changes);
        TM_ASSERT(sd->changes != NULL);
    }
    struct tm_sim_change *c = &sd->changes[sd->change_count++];
    TM_ASSERT(strlen(text) < TM_SIM_NAME_MAX);
    memcpy(c->text, text, strlen(text) + 1);
    folder_of(text, c->folder);
    c->inode = inode;
    tm_sim_disk_set_name(&sd->seen, text, inode);
}

void tm_sim_disk_sync_folder(struct tm_sim_disk *sd, const char *folder)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < sd->change_count; i++) {
        struct tm_sim_change *c = &sd->changes[i];
        if (strcmp(c->folder, folder) == 0)
            tm_sim_disk_set_name(&sd->stable, c->text, c->inode);
        else
            sd->changes[kept++] = *c;
    }
    sd->change_count = kept;
}

/* --- inodes --- */

static bool refers(const struct tm_sim_names *names, int inode)
{
    for (unsigned i = 0; i < names->count; i++)
        if (names->list[i].inode == inode)
            return true;
    return false;
}

void tm_sim_disk_drop(struct tm_sim_disk *sd, int inode)
{
    struct tm_sim_inode *n = &sd->inodes[inode];
    sd->used -= n->cap;
    free(n->seen);
    free(n->stable);
    free(n->dirty);
    *n = (struct tm_sim_inode){0};
}

/* Whether anything but a name refers to it. */
static bool held_by(const struct tm_sim_disk *sd, int inode)
{
    for (unsigned i = 0; i < TM_SIM_HANDLES_MAX; i++)
        if (sd->handles[i] == inode)
            return true;
    for (unsigned i = 0; i < sd->change_count; i++)
        if (sd->changes[i].inode == inode)
            return true;
    return false;
}

void tm_sim_disk_close(struct tm_sim_disk *sd, int handle)
{
    int inode = sd->handles[handle];
    sd->handles[handle] = -1;
    if (!refers(&sd->seen, inode) && !refers(&sd->stable, inode) && !held_by(sd, inode))
        tm_sim_disk_drop(sd, inode);
}

void tm_sim_disk_collect(struct tm_sim_disk *sd)
{
    bool held[TM_SIM_FILES_MAX] = {false};
    for (unsigned i = 0; i < TM_SIM_HANDLES_MAX; i++)
        if (sd->handles[i] >= 0)
            held[sd->handles[i]] = true;
    for (unsigned i = 0; i < sd->change_count; i++)
        if (sd->changes[i].inode >= 0)
            held[sd->changes[i].inode] = true;
    for (int i = 0; i < (int)TM_SIM_FILES_MAX; i++)
        if (sd->inodes[i].used && !held[i] && !refers(&sd->seen, i) && !refers(&sd->stable, i))
            tm_sim_disk_drop(sd, i);
}

int tm_sim_disk_new_inode(struct tm_sim_disk *sd)
{
    for (int i = 0; i < (int)TM_SIM_FILES_MAX; i++)
        if (!sd->inodes[i].used) {
            sd->inodes[i] = (struct tm_sim_inode){.used = true};
            return i;
        }
    abort(); /* more files than any test makes */
}

/* By a half at least, so that a file written block by block is not copied for each of them. */
static void make_room(struct tm_sim_inode *n, uint64_t cap)
{
    if (cap <= n->room)
        return;
    n->room = tm_max_u64(cap, tm_align_up(n->room + n->room / 2, 4096));
    n->seen = realloc(n->seen, n->room);
    n->stable = realloc(n->stable, n->room);
    n->dirty = realloc(n->dirty, n->room / TM_SIM_SECTOR);
    TM_ASSERT(n->seen != NULL && n->stable != NULL && n->dirty != NULL);
}

int tm_sim_disk_grow(struct tm_sim_disk *sd, struct tm_sim_inode *n, uint64_t size)
{
    if (size > n->cap) {
        uint64_t cap = tm_align_up(size, 4096);
        if (sd->capacity != 0 && sd->used + (cap - n->cap) > sd->capacity)
            return -ENOSPC;
        make_room(n, cap);
        memset(n->seen + n->cap, 0, cap - n->cap);
        memset(n->stable + n->cap, 0, cap - n->cap);
        memset(n->dirty + n->cap / TM_SIM_SECTOR, 0, (cap - n->cap) / TM_SIM_SECTOR);
        sd->used += cap - n->cap;
        n->cap = cap;
    }
    if (size > n->size)
        n->size = size;
    return 0;
}

void tm_sim_disk_stabilise(struct tm_sim_inode *n, uint64_t from, uint64_t to)
{
    memcpy(n->stable + from * TM_SIM_SECTOR, n->seen + from * TM_SIM_SECTOR,
           (to - from) * TM_SIM_SECTOR);
    memset(n->dirty + from, 0, to - from);
    n->stable_size = tm_max_u64(n->stable_size, tm_min_u64(n->size, to * TM_SIM_SECTOR));
}

void tm_sim_disk_mark_dirty(struct tm_sim_inode *n, uint64_t from, uint64_t to)
{
    bool none = n->dirty_from == n->dirty_to;
    memset(n->dirty + from, 1, to - from);
    n->dirty_from = none ? from : tm_min_u64(n->dirty_from, from);
    n->dirty_to = none ? to : tm_max_u64(n->dirty_to, to);
}

void tm_sim_disk_write_sectors(struct tm_sim_disk *sd, struct tm_sim_inode *n,
                               const struct tm_disk_op *op, uint64_t offset, unsigned keep_percent)
{
    const uint8_t *from = op->buf;
    if (keep_percent >= 100 && op->len > 0) {
        memcpy(n->seen + offset, from, op->len);
        tm_sim_disk_mark_dirty(n, offset / TM_SIM_SECTOR,
                               (offset + op->len - 1) / TM_SIM_SECTOR + 1);
        return;
    }
    for (uint64_t done = 0; done < op->len;) {
        uint64_t at = offset + done;
        uint64_t len = tm_min_u64(op->len - done, TM_SIM_SECTOR - at % TM_SIM_SECTOR);
        if (tm_sim_disk_draw(sd, 100) < keep_percent) {
            memcpy(n->seen + at, from + done, len);
            tm_sim_disk_mark_dirty(n, at / TM_SIM_SECTOR, at / TM_SIM_SECTOR + 1);
        }
        done += len;
    }
}

struct tm_sim_inode *tm_sim_disk_inode(struct tm_sim_disk *sd, int32_t file)
{
    TM_ASSERT(file >= 0 && file < (int32_t)TM_SIM_HANDLES_MAX && sd->handles[file] >= 0);
    return &sd->inodes[sd->handles[file]];
}

const char *tm_sim_disk_name_of(const struct tm_sim_disk *sd, const struct tm_sim_inode *n)
{
    for (unsigned i = 0; i < sd->seen.count; i++)
        if (sd->seen.list[i].inode == (int)(n - sd->inodes))
            return sd->seen.list[i].text;
    return "";
}

static void copy_file(struct tm_sim_disk *sd, const char *name, const struct tm_sim_inode *from)
{
    int inode = tm_sim_disk_new_inode(sd);
    struct tm_sim_inode *n = &sd->inodes[inode];
    TM_ASSERT(tm_sim_disk_grow(sd, n, from->size) == 0);
    if (from->size > 0) {
        memcpy(n->seen, from->seen, from->size);
        memcpy(n->stable, from->seen, from->size);
    }
    n->stable_size = n->size;
    tm_sim_disk_set_name(&sd->seen, name, inode);
    tm_sim_disk_set_name(&sd->stable, name, inode);
}

void tm_sim_disk_put_back(struct tm_sim_disk *sd, const struct tm_sim_disk *from)
{
    sd->seen.count = sd->stable.count = sd->change_count = 0;
    for (unsigned i = 0; i < TM_SIM_HANDLES_MAX; i++)
        sd->handles[i] = -1;
    tm_sim_disk_collect(sd);
    for (unsigned i = 0; i < from->seen.count; i++)
        if (from->seen.list[i].inode >= 0)
            copy_file(sd, from->seen.list[i].text, &from->inodes[from->seen.list[i].inode]);
}
