/* wal_internal.h: what the files of the WAL share.
 *
 * wal.c         appending: staging records, where they will lie, what fits
 * wal_flush.c   blocks on their way to the disk, in a ring ordered by sequence
 * wal_segment.c preparing, recycling and giving up segments: one disk operation at a time
 * wal_read.c    verified reads by place
 * wal_scrub.c   reading again what is at rest
 * wal_open.c    recovery and the first segment of a start
 *
 * Sequences of one start are consecutive, so a block's buffer is ring[sequence % count]:
 *
 *     head ......... submit ......... next
 *     being written  | sealed, waiting | the one being gathered is next - 1, if stage != NULL */
#ifndef TM_STORAGE_WAL_INTERNAL_H
#define TM_STORAGE_WAL_INTERNAL_H

#include "storage/wal.h"
#include "storage/wal_format.h"

#define TM_WAL_BUFFERS      (TM_WAL_INFLIGHT_MAX + 2)
#define TM_WAL_READS        4
#define TM_WAL_GATHER_BYTES (1u << 20)
#define TM_WAL_SPANS_MAX    512u
#define TM_WAL_VOLUMES_MAX  255u
#define TM_WAL_MARKER_NS    TM_MS(50) /* unless the config says otherwise */
#define TM_WAL_SEQUENCE_GAP 64 /* left at a start, so that no sequence on disk is used again */

enum tm_wal_buffer_state {
    TM_WAL_FREE,
    TM_WAL_STAGED,  /* takes records */
    TM_WAL_SEALED,  /* waits for its turn */
    TM_WAL_WRITING, /* with the disk */
    TM_WAL_SYNCING, /* written; with the disk for its flush */
    TM_WAL_DONE     /* durable, but something before it is not */
};

struct tm_wal_buffer {
    struct tm_wal *wal;
    enum tm_wal_buffer_state state;
    uint32_t flags;
    uint64_t sequence;
    uint64_t segment;
    uint64_t offset;
    int32_t file;
    uint32_t disk_bytes;
    uint32_t used; /* bytes of records */
    uint32_t record_count;
    uint32_t span_count;
    uint32_t prev_spans; /* of the block before */
    uint64_t started_ns;
    uint8_t *records;
    uint8_t *image;
    struct tm_wal_span *spans;
    struct tm_disk_op op;
};

struct tm_wal_segment {
    uint64_t id;
    uint64_t bytes;
    uint64_t last_sequence;
    int32_t file;
    uint32_t readers;
    bool bad; /* rot was found in it */
};

/* A volume of an older generation, kept open for reading.  Volume 0 is the WAL's own. */
struct tm_wal_volume {
    uint32_t generation;
    uint32_t worker;
    struct tm_wal_segment *segments;
    unsigned count;
};

enum tm_wal_job {
    TM_WAL_JOB_NONE,
    TM_WAL_JOB_OPEN,     /* a new file */
    TM_WAL_JOB_ZERO,     /* filling it */
    TM_WAL_JOB_SYNC,     /* making it durable */
    TM_WAL_JOB_RENAME,   /* naming it, or giving an old segment its new name */
    TM_WAL_JOB_SYNC_DIR, /* making the name durable: then it is ready */
    TM_WAL_JOB_SPARE,    /* giving an old segment the name of a spare */
    TM_WAL_JOB_ABORT_CLOSE,
    TM_WAL_JOB_ABORT_UNLINK,
    TM_WAL_JOB_DROP_CLOSE,
    TM_WAL_JOB_DROP_UNLINK
};

struct tm_wal_read_slot {
    struct tm_wal *wal;
    struct tm_wal_read *read; /* NULL: free */
    uint64_t segment;
    unsigned volume;
    uint32_t wanted; /* bytes asked for */
    uint32_t cap;
    uint8_t *image;
    struct tm_disk_op op;
};

struct tm_wal {
    struct tm_wal_config config;
    char folder[TM_WAL_NAME_MAX];
    const struct tm_ctx *ctx;
    struct tm_disk *disk;
    bool failed;
    bool full;
    bool short_told;
    uint32_t
        refused; /* the largest effect for which there was no space, and is none yet; 0: none */

    /* Blocks. */
    struct tm_wal_buffer ring[TM_WAL_BUFFERS];
    unsigned buffer_count;
    struct tm_wal_buffer *stage;
    uint64_t head, submit, next; /* sequences */
    unsigned under_way;
    uint64_t durable;
    uint64_t life_first, life_prev;
    uint64_t last_durable_ns;
    uint64_t last_submit_ns;
    bool large;       /* the block submitted last */
    bool window_open; /* no block says yet that the newest records are durable */
    uint32_t record_cap;
    uint32_t span_cap;
    struct {
        uint32_t stamp;
        uint32_t slot;
    } * span_of; /* per partition: its span in the stage, if stamp is the stage's */
    uint32_t span_stamp;

    /* The block submitted last, for the next one's link. */
    uint64_t prev_sequence;
    uint8_t prev_hash[16];
    struct tm_wal_span *prev_spans;
    uint32_t prev_span_count;
    uint32_t last_span_count; /* of the block sealed last */

    /* Segments, ascending: held ones, the current, then ready ones. */
    struct tm_wal_segment *segments;
    unsigned segment_count, segment_cap;
    unsigned current;
    uint64_t offset; /* the next block's, in the current segment */
    uint64_t next_id;
    struct tm_wal_segment *doomed; /* given up, to be recycled or removed */
    unsigned doomed_count, doomed_cap;
    struct tm_wal_segment *spares; /* kept for reuse; the id is the number in the name */
    unsigned spare_count, spare_cap;
    uint64_t next_spare;
    uint64_t spare_look_ns;    /* when to look whether there are too many */
    bool lost;                 /* this volume held more once, as the receiver of replay knows */
    uint64_t lost_from;        /* rot begins with this segment, and is not released; 0: none */
    uint64_t release_sequence; /* the first block that knows of the release: durable before them */

    /* Preparing. */
    enum tm_wal_job job;
    struct tm_disk_op job_op;
    struct tm_wal_segment job_segment;
    uint64_t job_at; /* bytes zeroed */
    char job_name[TM_WAL_NAME_MAX], job_name2[TM_WAL_NAME_MAX];
    char dir_name[TM_WAL_NAME_MAX];
    bool starved;   /* no space for another segment */
    bool overdrawn; /* a segment more than max_bytes allows: not for effects of our own */
    bool in_need;   /* what a leader has logged was refused last: such a segment may be made */
    uint64_t retry_ns;

    struct tm_wal_volume *volumes; /* [0] unused */
    unsigned volume_count;

    struct tm_wal_read_slot slots[TM_WAL_READS];
    uint8_t *stream; /* decoded block of a read */
    uint64_t stream_cap;
};

/* When a block that was gathered while blocks are large may go. */
static inline uint64_t tm_wal_gathered_at(const struct tm_wal *wal)
{
    return wal->last_submit_ns + wal->config.gather_ns;
}

/* wal.c */
void tm_wal_stage_begin(struct tm_wal *wal, bool advance);
void tm_wal_stage_marker(struct tm_wal *wal);
void tm_wal_seal(struct tm_wal *wal);
void tm_wal_update_full(struct tm_wal *wal);
void tm_wal_tell_space(struct tm_wal *wal);

/* wal_flush.c */
void tm_wal_encode(struct tm_wal *wal, struct tm_wal_buffer *b);
void tm_wal_submit_sealed(struct tm_wal *wal);
void tm_wal_poison(struct tm_wal *wal, enum tm_err err);

/* wal_segment.c */
#define TM_WAL_ZERO_PIECE (1u << 20)
/* What new segments are written with, for all logs of the process: never written to. */
extern uint8_t tm_wal_zeros[TM_WAL_ZERO_PIECE];
static inline unsigned tm_wal_ready(const struct tm_wal *wal)
{
    return wal->segment_count - wal->current - 1;
}
enum tm_err tm_wal_segment_push(struct tm_wal_segment **list, unsigned *count, unsigned *cap,
                                struct tm_wal_segment segment);
uint64_t tm_wal_take_id(struct tm_wal *wal);
/* Whether its segments and so many bytes more are above max_bytes. */
bool tm_wal_exceeds(const struct tm_wal *wal, uint64_t more_bytes);
void tm_wal_work(struct tm_wal *wal); /* begins the next job if there is one */

/* wal_spare.c */
#define TM_WAL_SPARES_MAX 64
/* Whether a segment that was given up is worth keeping. */
bool tm_wal_spare_keeps(const struct tm_wal *wal, const struct tm_wal_segment *segment);
enum tm_err tm_wal_spare_push(struct tm_wal *wal, struct tm_wal_segment segment);
/* Takes one off the list, and writes its name (TM_WAL_NAME_MAX); false: there is none. */
bool tm_wal_spare_take(struct tm_wal *wal, struct tm_wal_segment *out, char *name);
/* One has to go; asks the disk now and then only. */
bool tm_wal_spare_due(struct tm_wal *wal);
enum tm_err tm_wal_spare_open(struct tm_wal *wal); /* those that are there at a start */

/* wal_read.c */
struct tm_wal_segment *tm_wal_find_segment(struct tm_wal *wal, unsigned volume, uint64_t low);
/* Takes a reader off the segment; NULL if it was given up meanwhile. */
struct tm_wal_segment *tm_wal_leave_segment(struct tm_wal *wal, unsigned volume, uint64_t id);
bool tm_wal_grow_stream(struct tm_wal *wal, uint64_t bytes);

#endif
