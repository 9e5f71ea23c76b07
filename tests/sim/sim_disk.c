/* Files are inodes with two contents: what a reader sees and what is stable.  Sectors that differ
 * are marked dirty; a SYNC copies those that were dirty when it was submitted.  Names are a table,
 * also twofold: changes since the last SYNC_DIR of their folder are a list in order, of which a
 * crash keeps a prefix.
 *
 * Numbers come from a xorshift generator, so that a seed means the same run everywhere. */
#include "tests/sim/sim_disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define SECTOR      512u
#define FILES_MAX   4096u
#define RECENT      256u
#define CHANGES_MAX 512u /* of names, unsynced */
#define HANDLES_MAX 4096u
#define NAME_MAX_   160u

struct inode {
    bool used;
    unsigned links; /* names and handles, of both views */
    uint64_t size, cap;
    uint8_t *seen;
    uint8_t *stable;
    uint64_t stable_size;
    uint8_t *dirty;                /* one byte a sector: 1 = unsynced, 2 = being synced */
    uint64_t dirty_from, dirty_to; /* no others are */
    bool truncated;                /* seen and stable may differ everywhere */
};

struct name {
    char text[NAME_MAX_];
    int inode; /* -1: removed */
};

struct names {
    struct name *list;
    unsigned count, cap;
};

struct change {
    char text[NAME_MAX_];
    char folder[NAME_MAX_];
    int inode;
};

struct tm_sim_disk {
    struct tm_disk tables[TM_SIM_DISK_USERS]; /* alike */
    uint64_t rng;
    struct inode inodes[FILES_MAX];
    int handles[HANDLES_MAX]; /* inode, -1 = free */
    struct names seen, stable;
    struct change *changes;
    unsigned change_count, change_cap;
    struct tm_disk_op *queue; /* under way, oldest first */
    uint64_t now_ns, min_ns, max_ns;
    bool stalled, misdirect, misread, dead, died;
    uint64_t die_after, capacity, used; /* operations, 0: never; bytes */
    const char *die_at_name;            /* NULL: at none */
    struct tm_sim_hash *hash;
    struct tm_sim_disk_tally *tally, no_tally;
    int fail_errno[TM_DISK_SIZE + 1];
    unsigned fail_count[TM_DISK_SIZE + 1];
    uint64_t counts[TM_DISK_SIZE + 1];
    uint64_t served; /* a bit for each user of what was completed in this poll */
    struct {         /* where was written of late */
        int inode;
        uint64_t offset, len;
    } recent[RECENT];
    uint64_t recent_count;
    struct { /* a misdirected write that no sync has followed yet, as it was meant */
        int inode;
        uint64_t offset, len;
        uint8_t *bytes; /* NULL: none */
    } strayed;
    void (*stable_fn)(void *host, const char *name, uint64_t offset, struct tm_bytes bytes);
    void *stable_host;
};

static uint64_t draw(struct tm_sim_disk *sd)
{
    sd->rng ^= sd->rng << 13;
    sd->rng ^= sd->rng >> 7;
    sd->rng ^= sd->rng << 17;
    return sd->rng * 0x2545f4914f6cdd1dull;
}

static uint64_t draw_below(struct tm_sim_disk *sd, uint64_t n)
{
    return (draw(sd) >> 11) % n;
}

/* --- names --- */

static struct name *find_name(struct names *names, const char *text)
{
    for (unsigned i = 0; i < names->count; i++)
        if (names->list[i].inode >= 0 && strcmp(names->list[i].text, text) == 0)
            return &names->list[i];
    return NULL;
}

static void set_name(struct names *names, const char *text, int inode)
{
    struct name *found = find_name(names, text);
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
    TM_ASSERT(strlen(text) < NAME_MAX_);
    memcpy(found->text, text, strlen(text) + 1);
    found->inode = inode;
}

static void copy_names(struct names *to, const struct names *from)
{
    to->count = 0;
    for (unsigned i = 0; i < from->count; i++)
        if (from->list[i].inode >= 0)
            set_name(to, from->list[i].text, from->list[i].inode);
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
        set_name(&sd->stable, sd->changes[i].text, sd->changes[i].inode);
    sd->change_count -= count;
    memmove(sd->changes, sd->changes + count, sd->change_count * sizeof *sd->changes);
}

static void change_name(struct tm_sim_disk *sd, const char *text, int inode)
{
    if (sd->change_count >= CHANGES_MAX)
        commit_changes(sd, CHANGES_MAX / 2);
    if (sd->change_count == sd->change_cap) {
        sd->change_cap = sd->change_cap == 0 ? 64 : 2 * sd->change_cap;
        sd->changes = realloc(sd->changes, sd->change_cap * sizeof *sd->changes);
        TM_ASSERT(sd->changes != NULL);
    }
    struct change *c = &sd->changes[sd->change_count++];
    TM_ASSERT(strlen(text) < NAME_MAX_);
    memcpy(c->text, text, strlen(text) + 1);
    folder_of(text, c->folder);
    c->inode = inode;
    set_name(&sd->seen, text, inode);
}

static void sync_dir(struct tm_sim_disk *sd, const char *folder)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < sd->change_count; i++) {
        struct change *c = &sd->changes[i];
        if (strcmp(c->folder, folder) == 0)
            set_name(&sd->stable, c->text, c->inode);
        else
            sd->changes[kept++] = *c;
    }
    sd->change_count = kept;
}

/* --- inodes --- */

static bool refers(const struct names *names, int inode)
{
    for (unsigned i = 0; i < names->count; i++)
        if (names->list[i].inode == inode)
            return true;
    return false;
}

static void drop_inode(struct tm_sim_disk *sd, int inode)
{
    struct inode *n = &sd->inodes[inode];
    sd->used -= n->cap;
    free(n->seen);
    free(n->stable);
    free(n->dirty);
    *n = (struct inode){0};
}

/* Whether anything but a name refers to it. */
static bool held_by(const struct tm_sim_disk *sd, int inode)
{
    for (unsigned i = 0; i < HANDLES_MAX; i++)
        if (sd->handles[i] == inode)
            return true;
    for (unsigned i = 0; i < sd->change_count; i++)
        if (sd->changes[i].inode == inode)
            return true;
    return false;
}

static void close_handle(struct tm_sim_disk *sd, int handle)
{
    int inode = sd->handles[handle];
    sd->handles[handle] = -1;
    if (!refers(&sd->seen, inode) && !refers(&sd->stable, inode) && !held_by(sd, inode))
        drop_inode(sd, inode);
}

/* Frees what no name and no handle refers to. */
static void collect_inodes(struct tm_sim_disk *sd)
{
    bool held[FILES_MAX] = {false};
    for (unsigned i = 0; i < HANDLES_MAX; i++)
        if (sd->handles[i] >= 0)
            held[sd->handles[i]] = true;
    for (unsigned i = 0; i < sd->change_count; i++)
        if (sd->changes[i].inode >= 0)
            held[sd->changes[i].inode] = true;
    for (int i = 0; i < (int)FILES_MAX; i++)
        if (sd->inodes[i].used && !held[i] && !refers(&sd->seen, i) && !refers(&sd->stable, i))
            drop_inode(sd, i);
}

static int new_inode(struct tm_sim_disk *sd)
{
    for (int i = 0; i < (int)FILES_MAX; i++)
        if (!sd->inodes[i].used) {
            sd->inodes[i] = (struct inode){.used = true};
            return i;
        }
    abort(); /* more files than any test makes */
}

static int grow(struct tm_sim_disk *sd, struct inode *n, uint64_t size)
{
    if (size > n->cap) {
        uint64_t cap = tm_align_up(size, 4096);
        if (sd->capacity != 0 && sd->used + (cap - n->cap) > sd->capacity)
            return -ENOSPC;
        n->seen = realloc(n->seen, cap);
        n->stable = realloc(n->stable, cap);
        n->dirty = realloc(n->dirty, cap / SECTOR);
        TM_ASSERT(n->seen != NULL && n->stable != NULL && n->dirty != NULL);
        memset(n->seen + n->cap, 0, cap - n->cap);
        memset(n->stable + n->cap, 0, cap - n->cap);
        memset(n->dirty + n->cap / SECTOR, 0, (cap - n->cap) / SECTOR);
        sd->used += cap - n->cap;
        n->cap = cap;
    }
    if (size > n->size)
        n->size = size;
    return 0;
}

/* The sectors from `from` to before `to`. */
static void stabilise(struct inode *n, uint64_t from, uint64_t to)
{
    memcpy(n->stable + from * SECTOR, n->seen + from * SECTOR, (to - from) * SECTOR);
    memset(n->dirty + from, 0, to - from);
    n->stable_size = tm_max_u64(n->stable_size, tm_min_u64(n->size, to * SECTOR));
}

static void mark_dirty(struct inode *n, uint64_t from, uint64_t to)
{
    bool none = n->dirty_from == n->dirty_to;
    memset(n->dirty + from, 1, to - from);
    n->dirty_from = none ? from : tm_min_u64(n->dirty_from, from);
    n->dirty_to = none ? to : tm_max_u64(n->dirty_to, to);
}

/* Writes the sectors for which keep() says so; whole ones only if the write is a fragment of an
 * operation that did not complete. */
static void write_sectors(struct tm_sim_disk *sd, struct inode *n, const struct tm_disk_op *op,
                          uint64_t offset, unsigned keep_percent)
{
    const uint8_t *from = op->buf;
    if (keep_percent >= 100 && op->len > 0) {
        memcpy(n->seen + offset, from, op->len);
        mark_dirty(n, offset / SECTOR, (offset + op->len - 1) / SECTOR + 1);
        return;
    }
    for (uint64_t done = 0; done < op->len;) {
        uint64_t at = offset + done;
        uint64_t len = tm_min_u64(op->len - done, SECTOR - at % SECTOR);
        if (draw_below(sd, 100) < keep_percent) {
            memcpy(n->seen + at, from + done, len);
            mark_dirty(n, at / SECTOR, at / SECTOR + 1);
        }
        done += len;
    }
}

static struct inode *inode_of(struct tm_sim_disk *sd, int32_t file)
{
    TM_ASSERT(file >= 0 && file < (int32_t)HANDLES_MAX && sd->handles[file] >= 0);
    return &sd->inodes[sd->handles[file]];
}

/* --- operations --- */

static int64_t do_open(struct tm_sim_disk *sd, const struct tm_disk_op *op)
{
    struct name *found = find_name(&sd->seen, op->name);
    int inode = found == NULL ? -1 : found->inode;
    if (inode >= 0 && (op->flags & TM_DISK_EXCL) != 0)
        return -EEXIST;
    if (inode < 0 && (op->flags & TM_DISK_CREATE) == 0)
        return -ENOENT;
    if (inode < 0) {
        inode = new_inode(sd);
        change_name(sd, op->name, inode);
    }
    for (int i = 0; i < (int)HANDLES_MAX; i++)
        if (sd->handles[i] < 0) {
            sd->handles[i] = inode;
            return i;
        }
    return -EMFILE;
}

/* Another place in the file where that much has room. */
static uint64_t stray(struct tm_sim_disk *sd, const struct inode *n, uint64_t offset, uint64_t len)
{
    uint64_t at = offset + 4096 * (1 + draw_below(sd, 8));
    return at + len <= n->size ? at : offset >= 4096 ? offset - 4096 : offset;
}

static int64_t do_read(struct tm_sim_disk *sd, const struct tm_disk_op *op)
{
    struct inode *n = inode_of(sd, op->file);
    if (op->offset >= n->size)
        return 0;
    uint64_t len = tm_min_u64(op->len, n->size - op->offset);
    uint64_t offset = sd->misread ? stray(sd, n, op->offset, len) : op->offset;
    if (offset != op->offset) {
        sd->misread = false;
        sd->tally->misread++;
    }
    memcpy(op->buf, n->seen + offset, len);
    return (int64_t)len;
}

/* "" if it has none any more. */
static const char *name_of(const struct tm_sim_disk *sd, const struct inode *n)
{
    for (unsigned i = 0; i < sd->seen.count; i++)
        if (sd->seen.list[i].inode == (int)(n - sd->inodes))
            return sd->seen.list[i].text;
    return "";
}

static void tell_stable(struct tm_sim_disk *sd, const struct inode *n, uint64_t offset,
                        const void *bytes, uint64_t len)
{
    if (sd->stable_fn != NULL && len > 0)
        sd->stable_fn(sd->stable_host, name_of(sd, n), offset, tm_bytes_of(bytes, len));
}

static void note_strayed(struct tm_sim_disk *sd, const struct inode *n, const struct tm_disk_op *op)
{
    free(sd->strayed.bytes);
    sd->strayed.bytes = malloc(op->len);
    TM_ASSERT(sd->strayed.bytes != NULL);
    memcpy(sd->strayed.bytes, op->buf, op->len);
    sd->strayed.inode = (int)(n - sd->inodes);
    sd->strayed.offset = op->offset;
    sd->strayed.len = op->len;
}

static void tell_strayed(struct tm_sim_disk *sd, const struct inode *n)
{
    if (sd->strayed.bytes == NULL || sd->strayed.inode != (int)(n - sd->inodes))
        return;
    tell_stable(sd, n, sd->strayed.offset, sd->strayed.bytes, sd->strayed.len);
    free(sd->strayed.bytes);
    sd->strayed.bytes = NULL;
}

static int64_t do_write(struct tm_sim_disk *sd, const struct tm_disk_op *op)
{
    struct inode *n = inode_of(sd, op->file);
    uint64_t offset = op->offset;
    if (sd->misdirect && (offset = stray(sd, n, offset, op->len)) != op->offset) {
        sd->misdirect = false;
        sd->tally->misdirected++;
    }
    int err = grow(sd, n, offset + op->len);
    if (err < 0)
        return err;
    bool clean = n->dirty_from == n->dirty_to;
    write_sectors(sd, n, op, offset, 100);
    unsigned at = (unsigned)(sd->recent_count++ % RECENT);
    sd->recent[at].inode = (int)(n - sd->inodes);
    sd->recent[at].offset = offset;
    sd->recent[at].len = op->len;
    if ((op->flags & TM_DISK_DSYNC) != 0 && op->len > 0)
        stabilise(n, offset / SECTOR, (offset + op->len - 1) / SECTOR + 1);
    if (clean && (op->flags & TM_DISK_DSYNC) != 0)
        n->dirty_from = n->dirty_to = 0;
    if (offset != op->offset)
        note_strayed(sd, n, op);
    if ((op->flags & TM_DISK_DSYNC) == 0)
        return (int64_t)op->len;
    tell_stable(sd, n, offset, n->stable + offset, offset == op->offset ? op->len : 0);
    tell_strayed(sd, n);
    return (int64_t)op->len;
}

/* scratch[1] is set: only what was marked at submission becomes stable. */
static int64_t do_sync(struct tm_sim_disk *sd, const struct tm_disk_op *op)
{
    struct inode *n = inode_of(sd, op->file);
    uint64_t from = n->dirty_from, to = n->dirty_to; /* of a run of sectors that became stable */
    n->dirty_from = n->dirty_to = 0;
    for (uint64_t s = from; from < to && s <= to; s++) {
        if (s < to && (n->dirty[s] == 2 || (n->dirty[s] == 1 && op->scratch[1] == 0)))
            continue;
        if (s < to && n->dirty[s] != 0)
            mark_dirty(n, s, s + 1);
        if (s > from) {
            stabilise(n, from, s);
            tell_stable(sd, n, from * SECTOR, n->stable + from * SECTOR, (s - from) * SECTOR);
        }
        from = s + 1;
    }
    n->stable_size = n->size;
    tell_strayed(sd, n);
    return 0;
}

static int64_t do_truncate(struct tm_sim_disk *sd, const struct tm_disk_op *op)
{
    struct inode *n = inode_of(sd, op->file);
    int err = grow(sd, n, op->offset);
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
    struct name *from = find_name(&sd->seen, op->name);
    if (from == NULL)
        return -ENOENT;
    int inode = from->inode;
    /* One change to two names: a crash keeps both or none, so they go as a pair. */
    change_name(sd, op->name2, inode);
    change_name(sd, op->name, -1);
    return 0;
}

static int64_t do_unlink(struct tm_sim_disk *sd, const struct tm_disk_op *op)
{
    if (find_name(&sd->seen, op->name) == NULL)
        return -ENOENT;
    change_name(sd, op->name, -1);
    collect_inodes(sd);
    return 0;
}

static int64_t effect(struct tm_sim_disk *sd, struct tm_disk_op *op)
{
    switch (op->kind) {
    case TM_DISK_OPEN:
        return do_open(sd, op);
    case TM_DISK_CLOSE:
        TM_ASSERT(op->file >= 0 && sd->handles[op->file] >= 0);
        close_handle(sd, op->file);
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
        sync_dir(sd, op->name);
        return 0;
    case TM_DISK_SIZE:
        return (int64_t)inode_of(sd, op->file)->size;
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

static int64_t fail(struct tm_sim_disk *sd, const struct tm_disk_op *op)
{
    sd->fail_count[op->kind]--;
    if (op->kind == TM_DISK_WRITE && grow(sd, inode_of(sd, op->file), op->offset + op->len) == 0)
        write_sectors(sd, inode_of(sd, op->file), op, op->offset, (unsigned)draw_below(sd, 100));
    sd->tally->failed_reads += op->kind == TM_DISK_READ;
    sd->tally->failed_writes += op->kind == TM_DISK_WRITE;
    sd->tally->failed_syncs += op->kind == TM_DISK_SYNC;
    return -sd->fail_errno[op->kind];
}

static int64_t perform(struct tm_sim_disk *sd, struct tm_disk_op *op)
{
    sd->counts[op->kind]++;
    trace(sd, op);
    bool named = op->kind == TM_DISK_RENAME || op->kind == TM_DISK_UNLINK;
    if ((sd->die_after > 0 && --sd->die_after == 0) ||
        (named && sd->die_at_name != NULL && strstr(op->name, sd->die_at_name) != NULL))
        sd->dead = sd->died = true;
    int64_t result = sd->fail_count[op->kind] > 0 ? fail(sd, op) : effect(sd, op);
    sd->tally->no_space += result == -ENOSPC;
    return result;
}

static void submit(struct tm_disk *disk, struct tm_disk_op *op)
{
    struct tm_sim_disk *sd = disk->host;
    struct tm_disk_op **at = &sd->queue;
    while (*at != NULL)
        at = &(*at)->next;
    *at = op;
    op->next = NULL;
    op->scratch[2] = (uint64_t)(disk - sd->tables);
    op->scratch[0] = sd->now_ns + sd->min_ns;
    if (sd->max_ns > sd->min_ns)
        op->scratch[0] += draw_below(sd, sd->max_ns - sd->min_ns);
    op->scratch[1] = op->kind == TM_DISK_SYNC;
    if (op->kind == TM_DISK_SYNC) {
        struct inode *n = inode_of(sd, op->file);
        for (uint64_t s = n->dirty_from; s < n->dirty_to; s++)
            if (n->dirty[s] == 1)
                n->dirty[s] = 2;
    }
}

static int64_t run(struct tm_disk *disk, struct tm_disk_op *op)
{
    struct tm_sim_disk *sd = disk->host;
    op->scratch[1] = 0;
    op->result = sd->dead ? -EIO : perform(sd, op);
    return op->result;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int64_t list(struct tm_disk *disk, const char *folder,
                    void (*visit)(void *arg, const char *name), void *arg)
{
    struct tm_sim_disk *sd = disk->host;
    size_t n = strlen(folder);
    char(*found)[NAME_MAX_] = calloc(sd->seen.count + 1, sizeof *found);
    TM_ASSERT(found != NULL);
    unsigned count = 0;
    for (unsigned i = 0; i < sd->seen.count; i++) {
        const char *text = sd->seen.list[i].text;
        if (sd->seen.list[i].inode < 0 ||
            (n > 0 && (strncmp(text, folder, n) != 0 || text[n] != '/')))
            continue;
        const char *rest = text + (n > 0 ? n + 1 : 0);
        size_t len = strcspn(rest, "/");
        bool twice = false;
        for (unsigned k = 0; k < count; k++)
            twice |= strlen(found[k]) == len && strncmp(found[k], rest, len) == 0;
        if (!twice)
            memcpy(found[count++], rest, len);
    }
    qsort(found, count, sizeof *found, by_text);
    for (unsigned i = 0; i < count; i++)
        visit(arg, found[i]);
    free(found);
    return count;
}

static uint64_t free_bytes(struct tm_disk *disk)
{
    const struct tm_sim_disk *sd = disk->host;
    if (sd->capacity == 0)
        return 0;
    return sd->capacity > sd->used ? sd->capacity - sd->used : 1;
}

/* --- the test's side --- */

struct tm_sim_disk *tm_sim_disk_new(uint64_t seed)
{
    struct tm_sim_disk *sd = calloc(1, sizeof *sd);
    TM_ASSERT(sd != NULL);
    sd->rng = seed * 2 + 1;
    sd->tally = &sd->no_tally;
    for (unsigned i = 0; i < 8; i++)
        draw(sd);
    for (unsigned i = 0; i < HANDLES_MAX; i++)
        sd->handles[i] = -1;
    for (unsigned i = 0; i < TM_SIM_DISK_USERS; i++)
        sd->tables[i] = (struct tm_disk){
            .host = sd, .submit = submit, .run = run, .list = list, .free_bytes = free_bytes};
    return sd;
}

void tm_sim_disk_free(struct tm_sim_disk *sd)
{
    for (int i = 0; i < (int)FILES_MAX; i++)
        if (sd->inodes[i].used)
            drop_inode(sd, i);
    free(sd->strayed.bytes);
    free(sd->seen.list);
    free(sd->stable.list);
    free(sd->changes);
    free(sd);
}

void tm_sim_disk_trace(struct tm_sim_disk *sd, struct tm_sim_hash *hash,
                       struct tm_sim_disk_tally *tally)
{
    sd->hash = hash;
    sd->tally = tally != NULL ? tally : &sd->no_tally;
}

struct tm_disk *tm_sim_disk_table(struct tm_sim_disk *sd)
{
    return &sd->tables[0];
}

struct tm_disk *tm_sim_disk_table_of(struct tm_sim_disk *sd, unsigned user)
{
    TM_ASSERT(user < TM_SIM_DISK_USERS);
    return &sd->tables[user];
}

static void complete(struct tm_sim_disk *sd, struct tm_disk_op **at)
{
    struct tm_disk_op *op = *at;
    *at = op->next;
    op->result = perform(sd, op);
    sd->served |= UINT64_C(1) << op->scratch[2];
    op->done(op);
}

bool tm_sim_disk_step(struct tm_sim_disk *sd)
{
    unsigned count = tm_sim_disk_under_way(sd);
    if (count == 0 || sd->stalled || sd->dead)
        return false;
    struct tm_disk_op **at = &sd->queue;
    for (uint64_t skip = draw_below(sd, count); skip > 0; skip--)
        at = &(*at)->next;
    complete(sd, at);
    return true;
}

void tm_sim_disk_drain(struct tm_sim_disk *sd)
{
    while (tm_sim_disk_step(sd))
        continue;
}

void tm_sim_disk_set_latency(struct tm_sim_disk *sd, uint64_t min_ns, uint64_t max_ns)
{
    sd->min_ns = min_ns;
    sd->max_ns = max_ns;
}

static struct tm_disk_op **earliest(struct tm_sim_disk *sd)
{
    struct tm_disk_op **best = &sd->queue;
    for (struct tm_disk_op **at = &sd->queue; *at != NULL; at = &(*at)->next)
        if ((*at)->scratch[0] < (*best)->scratch[0])
            best = at;
    return best;
}

uint64_t tm_sim_disk_poll(struct tm_sim_disk *sd, uint64_t now_ns)
{
    sd->now_ns = now_ns;
    sd->served = 0;
    while (!sd->stalled && !sd->dead && sd->queue != NULL) {
        struct tm_disk_op **at = earliest(sd);
        if ((*at)->scratch[0] > now_ns)
            break;
        complete(sd, at);
    }
    return sd->served;
}

uint64_t tm_sim_disk_next_due(const struct tm_sim_disk *sd)
{
    uint64_t due = UINT64_MAX;
    for (const struct tm_disk_op *op = sd->queue; op != NULL && !sd->stalled && !sd->dead;
         op = op->next)
        due = tm_min_u64(due, op->scratch[0]);
    return due;
}

unsigned tm_sim_disk_under_way(const struct tm_sim_disk *sd)
{
    unsigned n = 0;
    for (const struct tm_disk_op *op = sd->queue; op != NULL; op = op->next)
        n++;
    return n;
}

/* What an operation under way left behind. */
static void leave_fragment(struct tm_sim_disk *sd, struct tm_disk_op *op, unsigned keep)
{
    if (op->kind == TM_DISK_WRITE) {
        struct inode *n = inode_of(sd, op->file);
        if (grow(sd, n, op->offset + op->len) == 0)
            write_sectors(sd, n, op, op->offset, keep);
        sd->tally->torn += keep > 0 && keep < 100;
    } else if (op->kind == TM_DISK_RENAME || op->kind == TM_DISK_UNLINK) {
        if (draw_below(sd, 100) < keep)
            effect(sd, op);
    }
}

static void forget_process(struct tm_sim_disk *sd, unsigned keep, bool whole)
{
    for (struct tm_disk_op *op = sd->queue; op != NULL; op = op->next) {
        unsigned percent = !whole ? keep : draw_below(sd, 2) == 0 ? 0 : 100;
        leave_fragment(sd, op, percent);
    }
    sd->queue = NULL;
    sd->stalled = sd->dead = false;
    sd->die_after = 0;
    sd->die_at_name = NULL;
    for (unsigned i = 0; i < HANDLES_MAX; i++)
        sd->handles[i] = -1;
}

/* Of what was not stable, whatever stands there now is. */
static void tell_left(struct tm_sim_disk *sd, const struct inode *n)
{
    uint64_t from = n->dirty_from;
    for (uint64_t s = from; from < n->dirty_to && s <= n->dirty_to; s++) {
        if (s < n->dirty_to && n->dirty[s] != 0)
            continue;
        tell_stable(sd, n, from * SECTOR, n->stable + from * SECTOR, (s - from) * SECTOR);
        from = s + 1;
    }
}

/* True if something was lost. */
static bool crash_inode(struct tm_sim_disk *sd, struct inode *n, unsigned keep)
{
    bool lost = false;
    uint64_t from = n->truncated ? 0 : n->dirty_from,
             to = n->truncated ? n->cap / SECTOR : n->dirty_to;
    for (uint64_t s = n->dirty_from; s < n->dirty_to; s++) {
        if (n->dirty[s] == 0)
            continue;
        bool stays = draw_below(sd, 100) < keep;
        if (stays)
            stabilise(n, s, s + 1);
        n->dirty[s] = 1; /* until it has been told */
        lost |= !stays;
    }
    tell_left(sd, n);
    if (from < to) {
        memcpy(n->seen + from * SECTOR, n->stable + from * SECTOR, (to - from) * SECTOR);
        memset(n->dirty + from, 0, to - from);
    }
    n->truncated = false;
    n->dirty_from = n->dirty_to = 0;
    n->size = n->stable_size;
    return lost;
}

void tm_sim_disk_crash(struct tm_sim_disk *sd, int keep_percent)
{
    static const unsigned choices[] = {0, 10, 50, 90, 100};
    unsigned keep =
        keep_percent >= 0 ? (unsigned)keep_percent : choices[draw_below(sd, TM_ARRAY_LEN(choices))];
    forget_process(sd, keep, false);
    uint64_t prefix = draw_below(sd, sd->change_count + 1ull);
    for (unsigned i = 0; i < prefix; i++) {
        set_name(&sd->stable, sd->changes[i].text, sd->changes[i].inode);
        /* The second half of a rename is no change of its own. */
        if (i + 1 == prefix && prefix < sd->change_count && sd->changes[i].inode >= 0 &&
            sd->changes[prefix].inode < 0)
            prefix++;
    }
    sd->change_count = 0;
    copy_names(&sd->seen, &sd->stable);
    bool lost = false;
    for (unsigned i = 0; i < FILES_MAX; i++)
        if (sd->inodes[i].used)
            lost |= crash_inode(sd, &sd->inodes[i], keep);
    sd->tally->lost += lost;
    collect_inodes(sd);
}

void tm_sim_disk_kill(struct tm_sim_disk *sd)
{
    forget_process(sd, 100, true);
    collect_inodes(sd);
}

void tm_sim_disk_stall(struct tm_sim_disk *sd, bool stalled)
{
    sd->stalled = stalled;
}

bool tm_sim_disk_is_stalled(const struct tm_sim_disk *sd)
{
    return sd->stalled;
}

void tm_sim_disk_fail(struct tm_sim_disk *sd, enum tm_disk_kind kind, int errnum, unsigned count)
{
    sd->fail_errno[kind] = errnum;
    sd->fail_count[kind] = count;
}

void tm_sim_disk_set_capacity(struct tm_sim_disk *sd, uint64_t bytes)
{
    sd->capacity = bytes;
}

uint64_t tm_sim_disk_used(const struct tm_sim_disk *sd)
{
    return sd->used;
}

void tm_sim_disk_misdirect(struct tm_sim_disk *sd, bool wanted)
{
    sd->misdirect = wanted;
}

void tm_sim_disk_misread(struct tm_sim_disk *sd, bool wanted)
{
    sd->misread = wanted;
}

void tm_sim_disk_die_after(struct tm_sim_disk *sd, uint64_t operations, const char *part)
{
    sd->die_after = operations;
    sd->die_at_name = part;
    sd->died = false;
}

bool tm_sim_disk_has_died(const struct tm_sim_disk *sd)
{
    return sd->died;
}

bool tm_sim_disk_is_dead(const struct tm_sim_disk *sd)
{
    return sd->dead;
}

bool tm_sim_disk_will_die(const struct tm_sim_disk *sd)
{
    return sd->die_after > 0 || sd->die_at_name != NULL;
}

/* A byte that is not zero, if one is found quickly. */
static uint64_t used_byte(struct tm_sim_disk *sd, const struct inode *n, uint64_t from, uint64_t to)
{
    uint64_t at = from;
    for (unsigned tries = 0; tries < 64; tries++) {
        at = from + draw_below(sd, to - from);
        if (n->seen[at] != 0)
            break;
    }
    return at;
}

/* A byte somewhere in some file, or where was written of late. */
static struct inode *draw_place(struct tm_sim_disk *sd, uint64_t *at)
{
    if (draw_below(sd, 2) == 0 && sd->recent_count > 0) {
        uint64_t r = draw_below(sd, tm_min_u64(sd->recent_count, RECENT));
        struct inode *n = &sd->inodes[sd->recent[r].inode];
        uint64_t end = tm_min_u64(sd->recent[r].offset + sd->recent[r].len, n->size);
        if (!n->used || sd->recent[r].offset >= end)
            return NULL;
        *at = used_byte(sd, n, sd->recent[r].offset, end);
        return n;
    }
    if (sd->seen.count == 0)
        return NULL;
    const struct name *name = &sd->seen.list[draw_below(sd, sd->seen.count)];
    if (name->inode < 0 || sd->inodes[name->inode].size == 0)
        return NULL;
    *at = used_byte(sd, &sd->inodes[name->inode], 0, sd->inodes[name->inode].size);
    return &sd->inodes[name->inode];
}

bool tm_sim_disk_rot(struct tm_sim_disk *sd, char *what, size_t size)
{
    uint64_t at = 0;
    struct inode *n = draw_place(sd, &at);
    if (n == NULL)
        return false;
    uint64_t end = at + 1;
    uint8_t mask = (uint8_t)(1u << draw_below(sd, 8));
    if (draw_below(sd, 3) == 0) { /* a sector, or a whole block */
        uint64_t unit = draw_below(sd, 2) == 0 ? SECTOR : 4096;
        at = at / unit * unit;
        end = tm_min_u64(at + unit, n->size);
        mask = (uint8_t)(1 + draw_below(sd, 255));
    }
    for (uint64_t i = at; i < end; i++) {
        n->seen[i] ^= mask;
        n->stable[i] ^= mask;
    }
    snprintf(what, size, "%s from %llu to %llu", name_of(sd, n), (unsigned long long)at,
             (unsigned long long)end);
    return true;
}

bool tm_sim_disk_flip(struct tm_sim_disk *sd, const char *name, uint64_t offset, unsigned bit)
{
    struct name *found = find_name(&sd->seen, name);
    if (found == NULL || offset >= sd->inodes[found->inode].size)
        return false;
    sd->inodes[found->inode].seen[offset] ^= (uint8_t)(1u << bit % 8);
    sd->inodes[found->inode].stable[offset] ^= (uint8_t)(1u << bit % 8);
    return true;
}

bool tm_sim_disk_zero(struct tm_sim_disk *sd, const char *name, uint64_t offset, uint64_t len)
{
    struct name *found = find_name(&sd->seen, name);
    if (found == NULL || offset + len > sd->inodes[found->inode].size)
        return false;
    memset(sd->inodes[found->inode].seen + offset, 0, len);
    memset(sd->inodes[found->inode].stable + offset, 0, len);
    return true;
}

const uint8_t *tm_sim_disk_data(struct tm_sim_disk *sd, const char *name, uint64_t *size)
{
    struct name *found = find_name(&sd->seen, name);
    if (found == NULL)
        return NULL;
    *size = sd->inodes[found->inode].size;
    return sd->inodes[found->inode].seen;
}

void tm_sim_disk_on_stable(struct tm_sim_disk *sd,
                           void (*stable)(void *host, const char *name, uint64_t offset,
                                          struct tm_bytes bytes),
                           void *host)
{
    sd->stable_fn = stable;
    sd->stable_host = host;
}

bool tm_sim_disk_exists(struct tm_sim_disk *sd, const char *name)
{
    return find_name(&sd->seen, name) != NULL;
}

bool tm_sim_disk_remove(struct tm_sim_disk *sd, const char *name)
{
    if (find_name(&sd->seen, name) == NULL)
        return false;
    set_name(&sd->seen, name, -1);
    if (find_name(&sd->stable, name) != NULL)
        set_name(&sd->stable, name, -1);
    collect_inodes(sd);
    return true;
}

uint64_t tm_sim_disk_count(const struct tm_sim_disk *sd, enum tm_disk_kind kind)
{
    return sd->counts[kind];
}
