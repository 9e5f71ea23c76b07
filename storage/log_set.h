/* log_set.h: all logs of one worker: its WAL, its hard state, its tail cache, opened together.
 *
 *     tm_log_set_open      replays everything that is on disk
 *     tm_log_set_log       the log of a partition
 *     tm_log_set_flush     at the end of each turn
 *     tm_log_set_tick      when tm_log_set_next_deadline says so
 *     tm_log_set_close
 *
 * Partition p belongs to worker p mod workers.  WAL segments are given up as soon as no log needs
 * them and the hard state file covers them.
 *
 * One thread: the worker's.  Callbacks are made from the disk's completions. */
#ifndef TM_STORAGE_LOG_SET_H
#define TM_STORAGE_LOG_SET_H

#include "storage/hard_state.h"
#include "storage/log.h"
#include "storage/wal.h"

struct tm_log_set;

struct tm_log_base {
    uint64_t index; /* 0: there is none */
    uint64_t term;
    uint64_t hash;
    /* A snapshot that ended here was there, and cannot be read: the log had all up to it. */
    uint64_t lost;      /* 0: there is none */
    uint64_t lost_hash; /* 0: not known */
};

struct tm_log_set_callbacks {
    void *host;
    /* The log's durable index moved to `index`. */
    void (*durable)(void *host, uint32_t partition, uint64_t index);
    /* The partition's hard state as of some tm_hs_put is durable: see tm_hs_durable. */
    void (*hard)(void *host, uint32_t partition);
    /* A fetch or a repair found the log to be faulty: it has faults now. */
    void (*fault)(void *host, uint32_t partition);
    /* As in struct tm_wal_callbacks. */
    void (*failed)(void *host, enum tm_err err);
    void (*space)(void *host, bool available);
    /* May be NULL.  `durable` is to follow soon: time to fetch what it looks at. */
    void (*coming)(void *host, uint32_t partition);
};

struct tm_log_set_config {
    /* ctx, folder, worker, generation, older...; callbacks and replay are the set's. */
    struct tm_wal_config wal;
    uint32_t workers;
    uint64_t cache_bytes; /* tail cache of the worker; 0 = 16 MiB */
    bool opened;          /* this generation's log is there: an empty one was lost */
    struct tm_log_set_callbacks callbacks;

    /* The newest snapshot that can be read, for each partition of this worker: where its log
     * begins.  false: there is none. */
    bool (*base)(void *host, uint32_t partition, struct tm_log_base *out);

    /* May be NULL.  Each record of a log that replay finds, in order, as long as it is in the log
     * at that moment (a later cut may remove it again): for checks and tools. */
    void (*found)(void *host, uint32_t partition, struct tm_bytes record);

    /* May be NULL.  As `found`, but of a record that was lost and given back (tm_log_repair), while
     * what follows it was there all the time: it comes after those, and takes its place before
     * them. */
    void (*restored)(void *host, uint32_t partition, struct tm_bytes record);

    /* May be NULL.  Each record that replay knows to be committed, in order and without a gap from
     * the log's base on: what is known only later, and what follows something that was lost, is
     * not among them. */
    void (*committed)(void *host, uint32_t partition, struct tm_bytes record);
};

/* Opens WAL and hard state and rebuilds the logs.  Boot only.  Fails like tm_wal_open. */
enum tm_err tm_log_set_open(const struct tm_log_set_config *config, struct tm_log_set **out);

/* Frees everything; see tm_wal_close for `clean`, which asks for tm_log_set_idle. */
void tm_log_set_close(struct tm_log_set *set, bool clean);
bool tm_log_set_idle(const struct tm_log_set *set);

/* Frees the memory and nothing else, as when the process dies: see tm_shard_abandon. */
void tm_log_set_abandon(struct tm_log_set *set);

/* The log of a partition of this worker. */
struct tm_log *tm_log_set_log(struct tm_log_set *set, uint32_t partition);
struct tm_hs *tm_log_set_hs(struct tm_log_set *set);
struct tm_wal *tm_log_set_wal(struct tm_log_set *set);

/* End of turn: hard state that was put, then the WAL's flush. */
void tm_log_set_flush(struct tm_log_set *set);

/* Marker blocks, the hard state file.  A turn that ticks ends with tm_log_set_flush as any other
 * does. */
void tm_log_set_tick(struct tm_log_set *set);
uint64_t tm_log_set_next_deadline(const struct tm_log_set *set);

/* A record of a log needs the files of older generations (a snapshot of `*partition` ends that). */
bool tm_log_set_needs_older(const struct tm_log_set *set, uint32_t *partition);

/* tm_wal_scrub, told as records of logs.  The caller's; all zero but for the callbacks at first. */
struct tm_log_scrub {
    /* The records first..last of a log lie where nothing verifies: they are lost on disk, and the
     * caller is to do something about it (tm_log_compact, tm_log_lose). */
    void (*lost)(struct tm_log_scrub *scrub, uint32_t partition, uint64_t first, uint64_t last);
    /* A piece has been looked at; so many bytes were read. */
    void (*done)(struct tm_log_scrub *scrub, uint64_t bytes);
    void *owner;
    struct tm_log_set *set; /* the set's, like what follows */
    struct tm_wal_scrub wal;
};

/* As tm_wal_scrub. */
enum tm_err tm_log_set_scrub(struct tm_log_set *set, struct tm_log_scrub *scrub, uint64_t bytes);
void tm_log_scrub_free(struct tm_log_scrub *scrub);

/* Fetches into the caches what appending to the log of that partition looks at first.  A hint. */
void tm_log_set_prefetch(const struct tm_log_set *set, uint32_t partition);

#endif
