/* log_internal.h: what log.c, log_replay.c, log_set.c and log_cache.c share. */
#ifndef TM_STORAGE_LOG_INTERNAL_H
#define TM_STORAGE_LOG_INTERNAL_H

#include "storage/hard_state.h"
#include "storage/log.h"
#include "storage/log_index.h"
#include "storage/log_set.h"
#include "storage/record.h"
#include "storage/wal.h"
#include "storage/wal_format.h"

#define TM_LOG_PENDING    8u /* more than the WAL has blocks that are not durable */
#define TM_LOG_FAULTS_MAX 32u

struct tm_log_range {
    uint64_t first;
    uint64_t last;
};

/* What each record looks at stands first. */
struct tm_log {
    struct tm_log_set *set;
    uint32_t partition;
    unsigned pending_count;
    struct tm_log_index index; /* of base + 1 .. last */
    uint64_t base, base_term, base_hash;
    uint64_t last;
    uint64_t commit;
    uint64_t tail_durable;
    uint64_t durable_told;
    uint64_t repair_first, repair_sequence; /* repairs that are not durable yet; 0 = none */

    /* Cached records are cache_first..last: their positions, in a ring by index. */
    uint64_t cache_first;
    uint64_t *cache_at;
    uint32_t cache_cap;
    unsigned fault_count;

    /* What the WAL will have when the block `sequence` is durable. */
    struct {
        uint64_t sequence;
        uint64_t last;
    } pending[TM_LOG_PENDING];

    bool suspect_rot;     /* unknown blocks were lost; a record that links clears it */
    bool suspect_damaged; /* the tail was damaged; only tm_log_clear_suspect clears it */
    bool suspect_older;   /* replay: by older generations, and the present one does not say so */
    bool disowned;        /* no replica here will ever clear any of this */
    bool in_own;          /* a record of it lies in the present generation */
    uint64_t repaired;    /* the highest record that was; 0: none */
    tm_wal_place moved;   /* of its MOVED record in the present generation; 0 = none */

    uint64_t root, root_term, root_hash;       /* where its snapshot ended when it was opened */
    uint64_t lost, lost_hash;                  /* and where one did that cannot be read */
    uint32_t replay_generation, replay_worker; /* where its last record was found */
    uint64_t replay_sequence;
    uint64_t
        replay_sure;    /* committed as of the last record found: no lost cut can have come here */
    uint64_t handed_on; /* by replay, as committed */

    /* Ascending and apart.  One that begins at or below base says that a snapshot is lost. */
    struct tm_log_range faults[TM_LOG_FAULTS_MAX];
};

/* The tail cache: one ring of bytes, oldest evicted first.  Positions ascend forever. */
struct tm_log_cache {
    uint8_t *bytes;
    uint64_t cap;
    uint64_t head, tail; /* positions: [tail, head) is used */
};

struct tm_log_set {
    struct tm_log_set_config config;
    const struct tm_ctx *ctx;
    struct tm_wal *wal;
    struct tm_hs *hs;
    struct tm_log **logs; /* by partition / workers */
    uint32_t log_count;
    struct tm_log_cache cache;
    unsigned fetches;
    bool opened;
    bool failed;                         /* the WAL, or the hard state's file */
    bool maintain;                       /* something is needed no more: perhaps a segment can go */
    uint64_t looked_in;                  /* the current segment when that was last looked for */
    uint64_t release_to, release_floors; /* segments below go when that many floors are saved */
    uint64_t release_sequence;           /* and this block is durable; release_to 0: none noted */
    uint64_t refresh_after_ns;
    uint8_t *scratch; /* for a record of our own */
    uint32_t scratch_bytes;
    /* Replay. */
    uint32_t volume_workers, volume_worker;
    bool own_lost; /* the present generation held nothing, though it should have */
};

/* The segment of this WAL that the record lies in; 0: in an older generation, or lost. */
static inline uint64_t tm_log_segment_of(const struct tm_log *log, uint64_t index)
{
    return tm_wal_segment_of(log->set->wal, tm_log_index_at(&log->index, index)->place);
}

/* Behind this index, at least base, places ascend: up to it some are lost or were written anew. */
static inline uint64_t tm_log_ragged(const struct tm_log *log)
{
    uint64_t index = tm_max_u64(log->base, tm_min_u64(log->repaired, log->last));
    if (log->fault_count > 0)
        index = tm_max_u64(index, log->faults[log->fault_count - 1].last);
    return index;
}

static inline struct tm_log *tm_log_of(const struct tm_log_set *set, uint32_t partition)
{
    if (partition >= set->config.wal.partitions ||
        partition % set->config.workers != set->config.wal.worker)
        return NULL;
    return set->logs[partition / set->config.workers];
}

/* Fetches what stands first. */
static inline void tm_log_prefetch_head(const struct tm_log *log)
{
    for (size_t at = 0; at < offsetof(struct tm_log, pending); at += 64)
        __builtin_prefetch((const uint8_t *)log + at);
}

/* log_cache.c */
bool tm_log_cache_init(struct tm_log_cache *cache, uint64_t bytes);
void tm_log_cache_add(struct tm_log *log, uint64_t index, struct tm_bytes record);
void tm_log_cache_prefetch(const struct tm_log *log, uint64_t index);
struct tm_bytes tm_log_cache_get(const struct tm_log *log, uint64_t index);
void tm_log_cache_cut(struct tm_log *log); /* log->last went back, or log->base forward */

/* log.c */
void tm_log_truncate(struct tm_log *log, uint64_t last);
void tm_log_rebase(struct tm_log *log, uint64_t index, uint64_t term, uint64_t hash);
void tm_log_drop_front(struct tm_log *log, uint64_t index, uint64_t term, uint64_t hash);
enum tm_err tm_log_push(struct tm_log *log, tm_wal_place place, uint64_t hash, uint64_t term);
void tm_log_add_fault(struct tm_log *log, uint64_t first, uint64_t last);
void tm_log_remove_fault(struct tm_log *log, uint64_t index);
bool tm_log_in_fault(const struct tm_log *log, uint64_t index);
void tm_log_block_durable(struct tm_log *log, uint64_t sequence);
void tm_log_tell_durable(struct tm_log *log);
enum tm_err tm_log_write_local(struct tm_log *log, struct tm_record *record, uint32_t span_flags,
                               uint64_t first, struct tm_wal_pos *pos);

/* log_replay.c */
void tm_log_replay_record(struct tm_log *log, const struct tm_wal_found *found);
void tm_log_replay_fault(struct tm_log *log, const struct tm_wal_fault *fault);
void tm_log_replay_end(struct tm_log *log);

#endif
