/* wal_scan.h: walking the WAL files of one worker and generation (a volume), read-only.
 *
 * Used by recovery and by `tidemill wal verify|dump`.  The walk reads every segment, keeps the
 * blocks that verify, drops those of a start that was cut (dead, see struct tm_wal_block), orders
 * them by sequence, and decides where the log ends:
 *
 *   - D is the highest durable sequence that any valid block carries.
 *   - A block missing up to D is rot: reported, and the walk goes on after it.
 *   - Past D the log ends before the first block that is missing or does not link to the one
 *     before it.  What follows is *torn* if every sector there is wholly of some write or
 *     untouched, else *damaged* (reported).
 *
 * Which records a missing block held is told by the directory in the block after it.  Boot and
 * tools only: it blocks. */
#ifndef TM_STORAGE_WAL_SCAN_H
#define TM_STORAGE_WAL_SCAN_H

#include "runtime/disk.h"
#include "storage/wal.h"
#include "storage/wal_format.h"

struct tm_wal_scan_config {
    struct tm_disk *disk;
    const char *folder; /* of the WAL, without generation */
    uint32_t generation;
    uint32_t worker;
    const uint8_t *cluster; /* 16 bytes; NULL: whatever the first valid block says */
    uint64_t disk_id;       /* checked with cluster */
    unsigned volume;        /* goes into the places */
    uint32_t read_bytes;    /* at once, unless a block is larger; pages; 0 = 8 MiB */
};

/* Each may be NULL.  Called in the order of the log. */
struct tm_wal_scan_sink {
    void *host;
    /* The volume begins; as in struct tm_wal_replay. */
    void (*begin)(void *host, uint64_t first_sequence);
    /* An accepted block; stream is the decoded one. */
    void (*block)(void *host, const struct tm_wal_block *header, const uint8_t *stream);
    void (*record)(void *host, const struct tm_wal_found *found);
    void (*fault)(void *host, const struct tm_wal_fault *fault);
};

struct tm_wal_scan_segment {
    uint64_t id;
    uint64_t bytes;
    uint64_t last_sequence;  /* of accepted blocks, 0 if there is none */
    uint64_t accepted_bytes; /* the end of the last of them */
    bool used;               /* some block or sector of this life of the segment was seen in it */
    bool bad;                /* some sector of it is of no write at all */
};

struct tm_wal_scan_result {
    uint64_t first_sequence; /* all from here on is kept; 0: no block at all */
    uint64_t last_sequence;  /* of the last accepted block */
    uint64_t max_sequence;   /* the highest seen in any valid block or stamp */
    uint64_t durable;        /* D */
    uint8_t last_hash[16];
    uint64_t first_segment;
    /* Blocks are missing before the first accepted one, back to this segment, of which nothing may
     * be left; 0: none are.  Until it is released, each block is to name it as still needed. */
    uint64_t lost_from;
    uint64_t last_segment; /* of the last accepted block; end_offset is just after it */
    uint64_t end_offset;
    uint64_t free_offset; /* in last_segment: behind all that was ever written there */
    uint64_t blocks;      /* accepted */
    uint64_t records;
    uint64_t discarded; /* valid blocks past the end, or dead */
    uint64_t rot;       /* places with missing blocks up to D */
    bool torn;          /* sectors of unfinished writes lie past the end */
    bool damaged;
    bool closed;                          /* the last block says that nothing was under way */
    struct tm_wal_scan_segment *segments; /* ascending; free with tm_wal_scan_release */
    unsigned segment_count;
};

/* Walks one volume.  An empty or absent folder is no error: first_sequence is 0.  Fails with
 * TM_ERR_NOMEM, TM_ERR_IO (a folder or file that does not open), TM_ERR_IDENTITY (a valid block
 * of another cluster, disk, worker or generation), TM_ERR_VERSION. */
enum tm_err tm_wal_scan(const struct tm_wal_scan_config *config,
                        const struct tm_wal_scan_sink *sink, struct tm_wal_scan_result *result);

/* Frees what a successful tm_wal_scan left in the result. */
void tm_wal_scan_release(struct tm_wal_scan_result *result);

/* Calls visit for each (generation, worker) that has files in `folder`, ascending.  TM_ERR_IO;
 * TM_ERR_NOTFOUND: no such folder. */
enum tm_err tm_wal_scan_volumes(struct tm_disk *disk, const char *folder,
                                void (*visit)(void *arg, uint32_t generation, uint32_t worker),
                                void *arg);

#endif
