/* snapshot_internal.h: the bytes of snapshot files, shared by snapshot.c (names, list, load),
 * snapshot_writer.c and snapshot_reader.c.
 *
 *     offset 0      struct tm_snap_header, 4096 bytes with zeros behind
 *     offset 4096   chunks, each at a multiple of 4096: struct tm_snap_chunk, items, zeros
 *
 * An item is a u64 length, its bytes, and zeros to a multiple of 8.  Frozen, little-endian. */
#ifndef TM_STORAGE_SNAPSHOT_INTERNAL_H
#define TM_STORAGE_SNAPSHOT_INTERNAL_H

#include "storage/snapshot.h"

#define TM_SNAP_MAGIC       0x54414e5350414e53ull
#define TM_SNAP_CHUNK_MAGIC 0x4b4e4843u
#define TM_SNAP_CURRENT     0x544e455252554354ull
#define TM_SNAP_VERSION     2u
#define TM_SNAP_PAGE        4096u
#define TM_SNAP_NAME_MAX    128
#define TM_SNAP_ITEM_MAX    (64u << 20)

struct tm_snap_header {
    uint64_t magic;
    uint32_t version;
    uint32_t partition;
    uint64_t walked_from;
    uint64_t walked_to;
    uint64_t term;
    uint64_t hash;
    uint8_t cluster[16];
    uint32_t note_len;
    uint32_t zero;
    uint8_t note[TM_SNAPSHOT_NOTE_MAX];
    uint64_t items;
    uint64_t chunks;
    uint64_t bytes;
    uint8_t chunks_hash[16]; /* XXH3-128 of all chunks' hashes, in order */
    uint64_t checksum;       /* XXH3-64 of all before */
};
TM_STATIC_ASSERT(sizeof(struct tm_snap_header) == 368, "frozen");

struct tm_snap_chunk {
    uint32_t magic;
    uint32_t number;
    uint32_t length; /* of the items */
    uint32_t items;
    uint8_t hash[16]; /* XXH3-128 of the 16 bytes before and the items */
};
TM_STATIC_ASSERT(sizeof(struct tm_snap_chunk) == 32, "frozen");

/* "current": which snapshots count, newest first, and which of those named cannot be read any more;
 * two copies, 4096 bytes apart. */
struct tm_snap_current {
    uint64_t magic;
    uint32_t count;
    uint32_t lost; /* bit i: of[i] was found damaged, and is *.damaged now */
    struct {
        uint64_t from;
        uint64_t to;
    } of[2];
    uint64_t checksum;
};
TM_STATIC_ASSERT(sizeof(struct tm_snap_current) == 56, "frozen");

void tm_snap_name_folder(char *out, uint32_t partition);
void tm_snap_name_file(char *out, uint32_t partition, uint64_t from, uint64_t to);
void tm_snap_name_current(char *out, uint32_t partition, bool fresh);

static inline uint64_t tm_snap_disk_bytes(uint32_t length)
{
    return tm_align_up(sizeof(struct tm_snap_chunk) + length, TM_SNAP_PAGE);
}

/* Completes and checks. */
void tm_snap_header_seal(struct tm_snap_header *h);
bool tm_snap_header_valid(const struct tm_snap_header *h);
void tm_snap_chunk_seal(struct tm_snap_chunk *c); /* its items lie behind it */
bool tm_snap_chunk_valid(struct tm_bytes chunk, uint64_t number);
void tm_snap_current_seal(struct tm_snap_current *c);
/* The first valid copy of a file's 8192 bytes. */
bool tm_snap_current_take(const uint8_t *bytes, size_t len, struct tm_snap_current *out);

void tm_snap_info_of(const struct tm_snap_header *h, struct tm_snapshot_info *out);
void tm_snap_header_of(const struct tm_snapshot_info *info, struct tm_snap_header *out);

/* A member of a list of what was closed; all zero: of none. */
struct tm_snapshot_end {
    struct tm_snapshot_end *next, **at;
    void (*abandon)(struct tm_snapshot_end *end);
};

static inline void tm_snapshot_end_join(struct tm_snapshot_end *end,
                                        struct tm_snapshot_closed *list,
                                        void (*abandon)(struct tm_snapshot_end *end))
{
    if (list == NULL)
        return;
    *end = (struct tm_snapshot_end){.next = list->first, .at = &list->first, .abandon = abandon};
    if (end->next != NULL)
        end->next->at = &end->next;
    list->first = end;
}

static inline void tm_snapshot_end_leave(struct tm_snapshot_end *end)
{
    if (end->at == NULL)
        return;
    *end->at = end->next;
    if (end->next != NULL)
        end->next->at = end->at;
    end->at = NULL;
}

#endif
