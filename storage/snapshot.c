/* Names, checksums, and what is done at boot: finding the snapshots that count, loading one.
 *
 * A snapshot whose chunks do not verify is taken off the list of those that count and renamed to
 * *.damaged: it stays for whoever wants to look at it.  Files that no list names are left from a
 * crash before the pointer flipped, and are removed. */
#include "storage/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#define XXH_STATIC_LINKING_ONLY /* for the state on the stack */
#include <xxhash.h>

#include "storage/snapshot_internal.h"

void tm_snap_name_folder(char *out, uint32_t partition)
{
    snprintf(out, TM_SNAP_NAME_MAX, "snapshots/%" PRIu32, partition);
}

void tm_snap_name_file(char *out, uint32_t partition, uint64_t from, uint64_t to)
{
    snprintf(out, TM_SNAP_NAME_MAX, "snapshots/%" PRIu32 "/%" PRIu64 "-%" PRIu64 ".snap", partition,
             from, to);
}

void tm_snap_name_current(char *out, uint32_t partition, bool fresh)
{
    snprintf(out, TM_SNAP_NAME_MAX, "snapshots/%" PRIu32 "/current%s", partition,
             fresh ? ".new" : "");
}

/* --- checksums --- */

static uint64_t header_sum(const struct tm_snap_header *h)
{
    return XXH3_64bits(h, offsetof(struct tm_snap_header, checksum));
}

void tm_snap_header_seal(struct tm_snap_header *h)
{
    h->magic = TM_SNAP_MAGIC;
    h->version = TM_SNAP_VERSION;
    h->checksum = header_sum(h);
}

bool tm_snap_header_valid(const struct tm_snap_header *h)
{
    return h->magic == TM_SNAP_MAGIC && h->checksum == header_sum(h) &&
           h->version == TM_SNAP_VERSION && h->note_len <= TM_SNAPSHOT_NOTE_MAX;
}

static void chunk_hash(const struct tm_snap_chunk *c, const void *items, uint8_t out[16])
{
    XXH3_state_t state;
    XXH128_canonical_t canonical;
    XXH3_128bits_reset(&state);
    XXH3_128bits_update(&state, c, offsetof(struct tm_snap_chunk, hash));
    XXH3_128bits_update(&state, items, c->length);
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(&state));
    memcpy(out, canonical.digest, 16);
}

void tm_snap_chunk_seal(struct tm_snap_chunk *c)
{
    c->magic = TM_SNAP_CHUNK_MAGIC;
    chunk_hash(c, c + 1, c->hash);
}

bool tm_snap_chunk_valid(struct tm_bytes chunk, uint64_t number)
{
    struct tm_snap_chunk c; /* the bytes may come from a frame, and lie anywhere */
    uint8_t hash[16];
    if (chunk.len < sizeof c)
        return false;
    memcpy(&c, chunk.data, sizeof c);
    if (c.magic != TM_SNAP_CHUNK_MAGIC || c.number != (uint32_t)number ||
        c.length > chunk.len - sizeof c)
        return false;
    chunk_hash(&c, chunk.data + sizeof c, hash);
    return memcmp(hash, c.hash, 16) == 0;
}

static uint64_t current_sum(const struct tm_snap_current *c)
{
    return XXH3_64bits(c, offsetof(struct tm_snap_current, checksum));
}

void tm_snap_current_seal(struct tm_snap_current *c)
{
    c->magic = TM_SNAP_CURRENT;
    c->checksum = current_sum(c);
}

bool tm_snap_current_take(const uint8_t *bytes, size_t len, struct tm_snap_current *out)
{
    for (size_t at = 0; at + sizeof *out <= len; at += TM_SNAP_PAGE) {
        memcpy(out, bytes + at, sizeof *out);
        if (out->magic == TM_SNAP_CURRENT && out->count <= 2 && out->checksum == current_sum(out))
            return true;
    }
    return false;
}

void tm_snap_info_of(const struct tm_snap_header *h, struct tm_snapshot_info *out)
{
    *out = (struct tm_snapshot_info){.partition = h->partition,
                                     .walked_from = h->walked_from,
                                     .walked_to = h->walked_to,
                                     .term = h->term,
                                     .hash = h->hash,
                                     .note_len = h->note_len,
                                     .items = h->items,
                                     .chunks = h->chunks,
                                     .bytes = h->bytes};
    memcpy(out->cluster, h->cluster, 16);
    memcpy(out->note, h->note, sizeof out->note);
}

void tm_snap_header_of(const struct tm_snapshot_info *info, struct tm_snap_header *out)
{
    memset(out, 0, sizeof *out);
    out->partition = info->partition;
    out->walked_from = info->walked_from;
    out->walked_to = info->walked_to;
    out->term = info->term;
    out->hash = info->hash;
    out->note_len = info->note_len;
    memcpy(out->note, info->note, sizeof out->note);
    memcpy(out->cluster, info->cluster, 16);
    out->items = info->items;
    out->chunks = info->chunks;
    out->bytes = info->bytes;
}

/* --- which count --- */

static enum tm_err err_of(int64_t result)
{
    return result < 0 ? tm_err_from_errno((int)-result) : TM_OK;
}

/* Reads up to len bytes from the start of a file; how many, or a negative errno. */
static int64_t read_start(struct tm_disk *disk, const char *name, void *buf, uint32_t len)
{
    int64_t file = tm_disk_run_open(disk, name, TM_DISK_RDONLY);
    if (file < 0)
        return file;
    int64_t n = tm_disk_run_read(disk, (int32_t)file, buf, len, 0);
    tm_disk_run_close(disk, (int32_t)file);
    return n;
}

struct sweep {
    struct tm_disk *disk;
    uint32_t partition;
    const struct tm_snap_current *current;
};

static bool listed(const struct sweep *s, const char *name)
{
    char file[TM_SNAP_NAME_MAX];
    for (uint32_t i = 0; i < s->current->count; i++) {
        tm_snap_name_file(file, s->partition, s->current->of[i].from, s->current->of[i].to);
        if (strcmp(strrchr(file, '/') + 1, name) == 0)
            return true;
    }
    return false;
}

static void sweep_one(void *arg, const char *name)
{
    const struct sweep *s = arg;
    const char *dot = strrchr(name, '.');
    bool unfinished = dot != NULL && (strcmp(dot, ".tmp") == 0 || strcmp(dot, ".new") == 0);
    bool orphan = dot != NULL && strcmp(dot, ".snap") == 0 && !listed(s, name);
    char path[TM_SNAP_NAME_MAX + 256];
    if (!unfinished && !orphan)
        return;
    snprintf(path, sizeof path, "snapshots/%" PRIu32 "/%s", s->partition, name);
    tm_disk_run_unlink(s->disk, path);
}

/* Reads "current": false and *damaged if it is there but unreadable. */
static bool read_current(const struct tm_ctx *ctx, uint32_t partition, struct tm_snap_current *out,
                         bool *damaged)
{
    char name[TM_SNAP_NAME_MAX];
    uint8_t bytes[2 * TM_SNAP_PAGE];
    tm_snap_name_current(name, partition, false);
    int64_t n = read_start(ctx->disk, name, bytes, sizeof bytes);
    if (n >= 0 && tm_snap_current_take(bytes, (size_t)n, out))
        return true;
    *out = (struct tm_snap_current){0};
    *damaged = n != -ENOENT;
    if (*damaged)
        tm_ctx_log(ctx, TM_LOG_ERROR, "snapshot_pointer_damaged", "partition=%" PRIu32, partition);
    return false;
}

static int64_t write_current(struct tm_disk *disk, uint32_t partition, struct tm_snap_current *c)
{
    char from[TM_SNAP_NAME_MAX], to[TM_SNAP_NAME_MAX], folder[TM_SNAP_NAME_MAX];
    uint8_t bytes[2 * TM_SNAP_PAGE] = {0};
    tm_snap_current_seal(c);
    memcpy(bytes, c, sizeof *c);
    memcpy(bytes + TM_SNAP_PAGE, c, sizeof *c);
    tm_snap_name_current(from, partition, true);
    tm_snap_name_current(to, partition, false);
    tm_snap_name_folder(folder, partition);
    int64_t file = tm_disk_run_open(disk, from, TM_DISK_CREATE), n = file;
    if (file < 0)
        return file;
    n = tm_disk_run_write(disk, (int32_t)file, bytes, sizeof bytes, 0, 0);
    if (n >= 0)
        n = tm_disk_run_sync(disk, (int32_t)file);
    tm_disk_run_close(disk, (int32_t)file);
    if (n >= 0)
        n = tm_disk_run_rename(disk, from, to);
    return n < 0 ? n : tm_disk_run_sync_dir(disk, folder);
}

#define DAMAGED_NAME_MAX (TM_SNAP_NAME_MAX + 16)

static void name_damaged(char out[DAMAGED_NAME_MAX], uint32_t partition, uint64_t from, uint64_t to)
{
    char name[TM_SNAP_NAME_MAX];
    tm_snap_name_file(name, partition, from, to);
    snprintf(out, DAMAGED_NAME_MAX, "%s.damaged", name);
}

/* A damaged snapshot counts no more; the file stays, under another name. */
static void retire(const struct tm_ctx *ctx, uint32_t partition, uint64_t from, uint64_t to)
{
    struct tm_snap_current c;
    bool damaged;
    char name[TM_SNAP_NAME_MAX], kept[DAMAGED_NAME_MAX];
    tm_snap_name_file(name, partition, from, to);
    name_damaged(kept, partition, from, to);
    tm_ctx_log(ctx, TM_LOG_ERROR, "snapshot_damaged", "partition=%" PRIu32 " file=%s kept_as=%s",
               partition, name, kept);
    if (!read_current(ctx, partition, &c, &damaged))
        return;
    for (uint32_t i = 0; i < c.count; i++)
        if (c.of[i].from == from && c.of[i].to == to)
            c.lost |= 1u << i;
    if (write_current(ctx->disk, partition, &c) >= 0)
        tm_disk_run_rename(ctx->disk, name, kept);
}

static bool read_header(struct tm_disk *disk, const char *name, uint32_t partition, uint64_t from,
                        struct tm_snap_header *out)
{
    return read_start(disk, name, out, sizeof *out) == (int64_t)sizeof *out &&
           tm_snap_header_valid(out) && out->partition == partition && out->walked_from == from;
}

static void lose(struct tm_snapshot_lost *lost, uint64_t index, uint64_t hash)
{
    if (index > lost->index || (index == lost->index && hash != 0))
        *lost = (struct tm_snapshot_lost){index, hash};
}

struct names {
    const struct tm_ctx *ctx;
    uint32_t partition;
    struct tm_snapshot_lost *lost;
};

/* A file that no name in "current" is known of. */
static void lose_file(void *arg, const char *name)
{
    const struct names *s = arg;
    unsigned long long from, to;
    if (strstr(name, ".tmp") == NULL && sscanf(name, "%llu-%llu.snap", &from, &to) == 2)
        lose(s->lost, from, 0);
}

static enum tm_err lose_all(const struct tm_ctx *ctx, uint32_t partition,
                            struct tm_snapshot_lost *lost)
{
    char folder[TM_SNAP_NAME_MAX];
    struct names names = {ctx, partition, lost};
    tm_snap_name_folder(folder, partition);
    int64_t n = ctx->disk->list(ctx->disk, folder, lose_file, &names);
    return n == -ENOENT ? TM_OK : err_of(n);
}

/* What the file says of where it ended; its new name need not have outlived the last process. */
static void lose_named(const struct tm_ctx *ctx, uint32_t partition, uint64_t from, uint64_t to,
                       struct tm_snapshot_lost *lost)
{
    struct tm_snap_header h;
    char name[DAMAGED_NAME_MAX];
    name_damaged(name, partition, from, to);
    bool good = read_header(ctx->disk, name, partition, from, &h);
    tm_snap_name_file(name, partition, from, to);
    good = good || read_header(ctx->disk, name, partition, from, &h);
    lose(lost, from, good ? h.hash : 0);
}

/* Makes durable what "current" says, and removes what it does not name. */
static enum tm_err sweep_folder(const struct tm_ctx *ctx, uint32_t partition,
                                const struct tm_snap_current *c, bool there)
{
    struct sweep s = {ctx->disk, partition, c};
    char folder[TM_SNAP_NAME_MAX];
    tm_snap_name_folder(folder, partition);
    /* The process before may have ended between the flip and its sync. */
    int64_t n = there ? tm_disk_run_sync_dir(ctx->disk, folder) : 0;
    if (n >= 0)
        n = ctx->disk->list(ctx->disk, folder, sweep_one, &s);
    return n == -ENOENT ? TM_OK : err_of(n);
}

enum tm_err tm_snapshot_list(const struct tm_ctx *ctx, uint32_t partition,
                             const uint8_t cluster[16], struct tm_snapshot_info out[2],
                             unsigned *count, bool *damaged, struct tm_snapshot_lost *lost)
{
    struct tm_snap_current c;
    struct tm_snap_header h;
    char name[TM_SNAP_NAME_MAX];
    *count = 0;
    *damaged = false;
    *lost = (struct tm_snapshot_lost){0};
    bool there = read_current(ctx, partition, &c, damaged);
    if (*damaged)
        return lose_all(ctx, partition, lost);
    enum tm_err e = sweep_folder(ctx, partition, &c, there);
    for (uint32_t i = 0; e == TM_OK && i < c.count; i++) {
        uint64_t from = c.of[i].from, to = c.of[i].to;
        tm_snap_name_file(name, partition, from, to);
        if ((c.lost >> i & 1) != 0) {
            lose_named(ctx, partition, from, to, lost);
        } else if (!read_header(ctx->disk, name, partition, from, &h)) {
            *damaged = true;
            lose(lost, from, 0);
            retire(ctx, partition, from, to);
        } else if (memcmp(h.cluster, cluster, 16) != 0) {
            e = TM_ERR_IDENTITY;
        } else {
            tm_snap_info_of(&h, &out[(*count)++]);
        }
    }
    return e;
}

/* --- loading --- */

enum tm_err tm_snapshot_chunk_items(struct tm_bytes chunk,
                                    enum tm_err (*item)(void *arg, struct tm_bytes item), void *arg)
{
    struct tm_snap_chunk c;
    if (chunk.len < sizeof c)
        return TM_ERR_CORRUPT;
    memcpy(&c, chunk.data, sizeof c);
    if (!tm_snap_chunk_valid(chunk, c.number))
        return TM_ERR_CORRUPT;
    struct tm_bytes rest = tm_bytes_of(chunk.data + sizeof c, c.length);
    for (uint32_t i = 0; i < c.items; i++) {
        if (rest.len < 8 || tm_load64(rest.data) > rest.len - 8)
            return TM_ERR_CORRUPT;
        uint64_t len = tm_load64(rest.data), all = tm_min_u64(8 + tm_align_up(len, 8), rest.len);
        enum tm_err err = item(arg, tm_bytes_of(rest.data + 8, len));
        if (err != TM_OK)
            return err;
        rest = tm_bytes_of(rest.data + all, rest.len - all);
    }
    return TM_OK;
}

struct load {
    struct tm_disk *disk;
    int32_t file;
    uint8_t *buf;
    uint64_t cap;
    uint64_t at;
    XXH3_state_t hashes;
};

static enum tm_err load_reserve(struct load *l, uint64_t bytes)
{
    if (bytes <= l->cap)
        return TM_OK;
    free(l->buf);
    l->buf = aligned_alloc(TM_SNAP_PAGE, bytes);
    l->cap = l->buf == NULL ? 0 : bytes;
    return l->buf == NULL ? TM_ERR_NOMEM : TM_OK;
}

/* Reads chunk `number` at l->at, of which the first page tells the length. */
static enum tm_err load_chunk(struct load *l, uint64_t number, struct tm_bytes *out)
{
    struct tm_snap_chunk head;
    enum tm_err err = load_reserve(l, TM_SNAP_PAGE);
    if (err != TM_OK)
        return err;
    if (tm_disk_run_read(l->disk, l->file, l->buf, TM_SNAP_PAGE, l->at) != TM_SNAP_PAGE)
        return TM_ERR_CORRUPT;
    memcpy(&head, l->buf, sizeof head);
    uint64_t bytes = tm_snap_disk_bytes(head.length);
    if (head.magic != TM_SNAP_CHUNK_MAGIC || head.length > TM_SNAP_ITEM_MAX + TM_SNAP_PAGE)
        return TM_ERR_CORRUPT;
    err = load_reserve(l, bytes);
    if (err != TM_OK)
        return err;
    if (tm_disk_run_read(l->disk, l->file, l->buf, (uint32_t)bytes, l->at) != (int64_t)bytes)
        return TM_ERR_CORRUPT;
    *out = tm_bytes_of(l->buf, sizeof head + head.length);
    if (!tm_snap_chunk_valid(*out, number))
        return TM_ERR_CORRUPT;
    XXH3_128bits_update(&l->hashes, ((const struct tm_snap_chunk *)(const void *)l->buf)->hash, 16);
    l->at += bytes;
    return TM_OK;
}

static enum tm_err load_all(struct load *l, enum tm_err (*item)(void *arg, struct tm_bytes item),
                            void *arg)
{
    struct tm_snap_header h;
    struct tm_bytes chunk;
    XXH128_canonical_t all;
    enum tm_err err = load_reserve(l, TM_SNAP_PAGE);
    if (err != TM_OK)
        return err;
    if (tm_disk_run_read(l->disk, l->file, l->buf, TM_SNAP_PAGE, 0) != TM_SNAP_PAGE)
        return TM_ERR_CORRUPT;
    memcpy(&h, l->buf, sizeof h);
    if (!tm_snap_header_valid(&h))
        return TM_ERR_CORRUPT;
    XXH3_128bits_reset(&l->hashes);
    l->at = TM_SNAP_PAGE;
    for (uint64_t i = 0; i < h.chunks && err == TM_OK; i++) {
        err = load_chunk(l, i, &chunk);
        if (err == TM_OK)
            err = tm_snapshot_chunk_items(chunk, item, arg);
    }
    if (err != TM_OK)
        return err;
    XXH128_canonicalFromHash(&all, XXH3_128bits_digest(&l->hashes));
    return memcmp(all.digest, h.chunks_hash, 16) == 0 ? TM_OK : TM_ERR_CORRUPT;
}

enum tm_err tm_snapshot_load(const struct tm_ctx *ctx, const struct tm_snapshot_info *info,
                             enum tm_err (*item)(void *arg, struct tm_bytes item), void *arg)
{
    char name[TM_SNAP_NAME_MAX];
    tm_snap_name_file(name, info->partition, info->walked_from, info->walked_to);
    int64_t file = tm_disk_run_open(ctx->disk, name, TM_DISK_RDONLY | TM_DISK_DIRECT);
    if (file < 0)
        return err_of(file);
    struct load l = {.disk = ctx->disk, .file = (int32_t)file};
    enum tm_err err = load_all(&l, item, arg);
    free(l.buf);
    tm_disk_run_close(ctx->disk, (int32_t)file);
    if (err == TM_ERR_CORRUPT)
        retire(ctx, info->partition, info->walked_from, info->walked_to);
    return err;
}

void tm_snapshot_closed_free(struct tm_snapshot_closed *list, bool abandon)
{
    while (list->first != NULL) {
        struct tm_snapshot_end *end = list->first;
        tm_snapshot_end_leave(end);
        if (abandon)
            end->abandon(end);
    }
}
