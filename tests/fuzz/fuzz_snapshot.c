/* Snapshots: what a node finds on its disk, and what a leader sends.  The first byte chooses:
 *
 *   0  a slice of a snapshot, loaded into a store: it is one, or the store says CORRUPT.  What was
 *      loaded is walked, and loaded from that walk again: the same state.
 *   1  a chunk, with its hash completed, whose items are such slices.
 *   2  files: "current", and a snapshot with hashes completed, as a start lists and loads them.
 *   3  a snapshot that the product wrote, then a program of damage: what loads is what was
 *      written; all else is noticed. */
#include "runtime/hash.h"
#include "storage/arena.h"
#include "storage/snapshot_internal.h"
#include "storage/store.h"
#include "tests/fuzz/fuzz_disk.h"

#define PARTITION   3
#define SLICE_MAX   (64 * 1024)
#define DAMAGES_MAX 16

static const uint8_t cluster[16] = {4, 2};
static struct tm_arena arena;

/* --- slices --- */

/* Loads what a walk over `from` gives: the same state again. */
static void walk_and_load(struct tm_store *from)
{
    static uint8_t slice[SLICE_MAX];
    struct tm_store *to = tm_store_new(&arena, PARTITION);
    uint64_t cursor = 0, index = 0;
    tm_store_load_begin(to, tm_store_applied(from));
    do {
        size_t used = 0;
        if (tm_store_snapshot(from, &cursor, slice, sizeof slice, &used, &index) != TM_OK)
            break;
        FUZZ_CHECK(tm_store_load_slice(to, slice, used, cursor, index) == TM_OK);
    } while (cursor != 0);
    FUZZ_CHECK(cursor != 0 || tm_store_count(to) == tm_store_count(from));
    FUZZ_CHECK(cursor != 0 || tm_store_state_hash(to) == tm_store_state_hash(from));
    tm_store_delete(to);
}

static void load_slices(struct tm_bytes bytes)
{
    struct fuzz_input in = fuzz_input_of(bytes.data, bytes.len);
    struct tm_store *s = tm_store_new(&arena, PARTITION);
    uint64_t cursor = 0;
    bool whole = true;
    tm_store_load_begin(s, 5);
    for (unsigned i = 0; i < 4 && whole; i++) {
        struct tm_bytes slice = i < 3 ? fuzz_take(&in, fuzz_u16(&in)) : fuzz_take(&in, in.left);
        uint8_t *copy = fuzz_copy(slice);
        cursor = in.left > 0 ? cursor + (fuzz_u64(&in) & 0xffffffffffff) : 0;
        whole = tm_store_load_slice(s, copy, slice.len, cursor, 5) == TM_OK;
        free(copy);
        if (cursor == 0)
            break;
    }
    if (whole && cursor == 0)
        walk_and_load(s);
    tm_store_delete(s);
}

/* --- chunks --- */

struct loading {
    struct tm_store *store;
    unsigned items;
    uint64_t bytes;
};

static enum tm_err load_item(void *arg, struct tm_bytes item)
{
    struct loading *l = arg;
    l->items++;
    l->bytes += item.len;
    if (item.len < 16)
        return TM_ERR_CORRUPT;
    return tm_store_load_slice(l->store, item.data + 16, item.len - 16, tm_load64(item.data),
                               tm_load64(item.data + 8));
}

/* The bytes as the items of a chunk: header, items, zeros to the page.  The caller frees it. */
static uint8_t *make_chunk(struct tm_bytes items, uint32_t number, uint32_t count, size_t *len)
{
    *len = tm_snap_disk_bytes((uint32_t)items.len);
    uint8_t *chunk = calloc(1, *len);
    FUZZ_CHECK(chunk != NULL);
    struct tm_snap_chunk *head = (void *)chunk;
    *head = (struct tm_snap_chunk){.magic = TM_SNAP_CHUNK_MAGIC,
                                   .number = number,
                                   .length = (uint32_t)items.len,
                                   .items = count};
    if (items.len > 0)
        memcpy(head + 1, items.data, items.len);
    tm_snap_chunk_seal(head);
    return chunk;
}

static void load_chunk(struct tm_bytes bytes)
{
    struct fuzz_input in = fuzz_input_of(bytes.data, bytes.len);
    struct loading l = {.store = tm_store_new(&arena, PARTITION)};
    uint32_t count = fuzz_byte(&in), cut = fuzz_u16(&in);
    struct tm_bytes items = fuzz_take(&in, in.left);
    size_t len;
    uint8_t *chunk = make_chunk(items, 0, count, &len);
    tm_store_load_begin(l.store, 5);
    enum tm_err e = tm_snapshot_chunk_items(tm_bytes_of(chunk, len - cut % 64), load_item, &l);
    FUZZ_CHECK(l.bytes <= items.len);
    FUZZ_CHECK(e != TM_OK || l.items == count);
    tm_store_delete(l.store);
    free(chunk);
}

/* --- files --- */

/* What a start does: lists, and loads each.  The number of snapshots that load; *items is that of
 * the last of them. */
static unsigned list_and_load(struct fuzz_world *w, unsigned *items)
{
    struct tm_snapshot_info list[2];
    unsigned count = 0, loaded = 0;
    struct tm_snapshot_lost lost;
    bool damaged = false;
    if (tm_snapshot_list(&w->ctx, PARTITION, cluster, list, &count, &damaged, &lost) != TM_OK)
        return 0;
    FUZZ_CHECK(count <= 2);
    for (unsigned i = 0; i < count; i++) {
        FUZZ_CHECK(list[i].partition == PARTITION);
        struct loading l = {.store = tm_store_new(&arena, PARTITION)};
        tm_store_load_begin(l.store, list[i].walked_from);
        if (tm_snapshot_load(&w->ctx, &list[i], load_item, &l) == TM_OK) {
            FUZZ_CHECK(l.items == list[i].items);
            *items = l.items;
            loaded++;
        }
        tm_store_delete(l.store);
    }
    return loaded;
}

static struct tm_sim_disk *new_disk(struct fuzz_world *w)
{
    char folder[TM_SNAP_NAME_MAX];
    struct tm_sim_disk *sd = fuzz_world_with_disk(w);
    tm_snap_name_folder(folder, PARTITION);
    tm_disk_run_mkdir(w->ctx.disk, "snapshots");
    tm_disk_run_mkdir(w->ctx.disk, folder);
    return sd;
}

/* Header and chunks of the bytes; what the hashes say is completed, unless a flag says no. */
static void put_snapshot(struct tm_disk *disk, struct fuzz_input *in, uint64_t from, uint64_t to)
{
    char name[TM_SNAP_NAME_MAX];
    uint8_t flags = fuzz_byte(in);
    uint32_t count = fuzz_byte(in);
    struct tm_snap_header head = {.partition = (flags & 1) != 0 ? fuzz_byte(in) : PARTITION,
                                  .walked_from = from,
                                  .walked_to = to,
                                  .note_len = fuzz_byte(in),
                                  .items = count,
                                  .chunks = (flags & 2) != 0 ? fuzz_u64(in) : 1};
    memcpy(head.cluster, cluster, sizeof cluster);
    size_t len;
    uint8_t *chunk = make_chunk(fuzz_take(in, fuzz_u16(in)), 0, count, &len);
    uint8_t *file = calloc(1, TM_SNAP_PAGE + len);
    FUZZ_CHECK(file != NULL);
    head.bytes = (flags & 4) != 0 ? fuzz_u64(in) : TM_SNAP_PAGE + len;
    struct tm_hash128 all = tm_hash128(chunk + offsetof(struct tm_snap_chunk, hash), 16, 0);
    for (unsigned i = 0; i < 8; i++) { /* xxHash's canonical form: big-endian */
        head.chunks_hash[i] = (uint8_t)(all.hi >> (56 - 8 * i));
        head.chunks_hash[8 + i] = (uint8_t)(all.lo >> (56 - 8 * i));
    }
    tm_snap_header_seal(&head);
    memcpy(file, &head, sizeof head);
    memcpy(file + TM_SNAP_PAGE, chunk, len);
    tm_snap_name_file(name, PARTITION, from, to);
    size_t whole = TM_SNAP_PAGE + len - ((flags & 8) != 0 ? 4096 : 0);
    FUZZ_CHECK(fuzz_overwrite(disk, name, 0, tm_bytes_of(file, whole)));
    free(file);
    free(chunk);
}

static void files(struct tm_bytes bytes)
{
    struct fuzz_input in = fuzz_input_of(bytes.data, bytes.len);
    struct fuzz_world world;
    unsigned items = 0;
    struct tm_sim_disk *sd = new_disk(&world);
    char name[TM_SNAP_NAME_MAX];
    uint8_t flags = fuzz_byte(&in);
    struct tm_snap_current current = {.count = fuzz_byte(&in) % 4};
    for (unsigned i = 0; i < 2; i++) {
        current.of[i].from = fuzz_byte(&in);
        current.of[i].to = current.of[i].from + fuzz_byte(&in) - (flags >> 1 & 1);
    }
    tm_snap_current_seal(&current);
    tm_snap_name_current(name, PARTITION, false);
    struct tm_bytes says = tm_bytes_of(&current, sizeof current);
    if ((flags & 1) != 0)
        says = fuzz_take(&in, fuzz_byte(&in));
    FUZZ_CHECK(fuzz_overwrite(world.ctx.disk, name, 0, says));
    for (unsigned i = 0; i < 2; i++)
        put_snapshot(world.ctx.disk, &in, current.of[i].from, current.of[i].to);
    list_and_load(&world, &items);
    list_and_load(&world, &items); /* the damaged ones are set aside by now */
    tm_sim_disk_free(sd);
}

/* --- damage --- */

static void no_change(void *host, struct tm_snapshot_writer *writer)
{
    (void)host;
    (void)writer;
}

/* Writes and publishes a snapshot of that many items, of 16 bytes and a slice each. */
static void write_snapshot(struct fuzz_world *w, struct tm_sim_disk *sd, uint64_t from,
                           unsigned items)
{
    struct tm_snapshot_info info = {.partition = PARTITION, .walked_from = from, .hash = from};
    struct tm_snapshot_writer *writer;
    struct tm_store *s = tm_store_new(&arena, PARTITION);
    static uint8_t item[16 + SLICE_MAX];
    uint64_t cursor = 0, index = 0;
    size_t used = 0;
    memcpy(info.cluster, cluster, sizeof cluster);
    FUZZ_CHECK(tm_snapshot_writer_new(&w->ctx, &info, no_change, w, &writer) == TM_OK);
    tm_sim_disk_drain(sd);
    FUZZ_CHECK(tm_store_snapshot(s, &cursor, item + 16, SLICE_MAX, &used, &index) == TM_OK);
    for (unsigned i = 0; i < items; i++) {
        tm_store64(item, i + 1 < items ? (uint64_t)(i + 1) << 20 : 0); /* the cursor after it */
        tm_store64(item + 8, from);
        while (tm_snapshot_writer_item(writer, tm_bytes_of(item, 16 + used)) == TM_ERR_FULL)
            tm_sim_disk_drain(sd);
    }
    tm_snapshot_writer_finish(writer, from + 1, NULL);
    tm_sim_disk_drain(sd);
    FUZZ_CHECK(tm_snapshot_writer_state(writer) == TM_SNAPSHOT_COMPLETE);
    tm_snapshot_writer_publish(writer);
    tm_sim_disk_drain(sd);
    tm_snapshot_writer_close(writer, NULL);
    tm_sim_disk_drain(sd);
    tm_store_delete(s);
}

static void damage(struct tm_bytes bytes)
{
    struct fuzz_input in = fuzz_input_of(bytes.data, bytes.len);
    struct fuzz_world world;
    unsigned items = 0;
    struct tm_sim_disk *sd = new_disk(&world);
    unsigned first = fuzz_byte(&in), second = fuzz_byte(&in);
    write_snapshot(&world, sd, 10, first);
    write_snapshot(&world, sd, 20, second);
    FUZZ_CHECK(list_and_load(&world, &items) == 2);
    for (unsigned i = 0; i < DAMAGES_MAX && in.left > 0; i++) {
        char name[TM_SNAP_NAME_MAX];
        uint8_t op = fuzz_byte(&in);
        uint64_t at = fuzz_u16(&in);
        if ((op & 3) == 0)
            tm_snap_name_current(name, PARTITION, false);
        else
            tm_snap_name_file(name, PARTITION, (op & 1) != 0 ? 10 : 20, (op & 1) != 0 ? 11 : 21);
        if ((op & 4) != 0)
            tm_sim_disk_zero(sd, name, at, 1 + (op >> 3));
        else if ((op & 0xf8) == 0xf8)
            tm_sim_disk_remove(sd, name);
        else
            tm_sim_disk_flip(sd, name, at, op >> 3 & 7);
        if (list_and_load(&world, &items) > 0)
            FUZZ_CHECK(items == first || items == second);
    }
    tm_sim_disk_free(sd);
}

FUZZ_TARGET(data, size)
{
    static void (*const kinds[])(struct tm_bytes) = {load_slices, load_chunk, files, damage};
    if (size < 1)
        return 0;
    FUZZ_CHECK(tm_arena_open(&arena) == TM_OK);
    kinds[data[0] % TM_ARRAY_LEN(kinds)](tm_bytes_of(data + 1, size - 1));
    FUZZ_CHECK(arena.bytes == 0);
    tm_arena_close(&arena);
    return 0;
}
