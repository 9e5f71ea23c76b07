/* sim_truth.h: what has become true of a cluster's partitions, and the rules that nothing may break
 * any more once it has.
 *
 * It is told two kinds of things: what is durable on which disk (records, cuts, promises, as they
 * were read off the disk's own bytes), and how a replica stands after a turn (struct tm_sim_view).
 * From these it builds, per partition, the tree of all records that ever were in any log, which of
 * them were committed, who led which term, who voted for whom; and objects to what contradicts
 * it, naming the invariant of docs/ARCHITECTURE.md, section 13.
 *
 * It trusts nothing that a replica says of durability: that is held against the disks.  With
 * --durability memory, where records count once they are in memory, having been seen in a log
 * stands for it.
 *
 * Memory grows with the records of the run.  One thread. */
#ifndef TM_TESTS_SIM_SIM_TRUTH_H
#define TM_TESTS_SIM_SIM_TRUTH_H

#include "actors/replica.h"

struct tm_sim_truth;

struct tm_sim_truth_config {
    uint32_t partitions; /* numbers 0..partitions-1, the system partition included */
    bool memory;         /* --durability memory */
    bool eventual;
    bool solo_stop;                   /* --solo stop */
    uint64_t window_bytes, window_ns; /* eventual: of what a leader may have uncommitted */
    void *host;
    void (*wrong)(void *host, const char *text);
    /* A record was seen in some log for the first time; NULL: nobody wants to know. */
    void (*appeared)(void *host, const struct tm_record *record);
};

struct tm_sim_truth *tm_sim_truth_new(const struct tm_sim_truth_config *config);
void tm_sim_truth_free(struct tm_sim_truth *t);

/* ---- what is durable, in the order in which the disk's log has it ---- */

/* id: the node and its disk.  record: its header is looked at. */
void tm_sim_truth_durable(struct tm_sim_truth *t, struct tm_id id, const struct tm_record *record);
/* The partition's records from `from` on are gone from this disk's log. */
void tm_sim_truth_cut(struct tm_sim_truth *t, struct tm_id id, uint32_t partition, uint64_t from);
/* The log goes on after (index, hash), which a snapshot holds. */
void tm_sim_truth_reset(struct tm_sim_truth *t, struct tm_id id, uint32_t partition, uint64_t index,
                        uint64_t hash);
void tm_sim_truth_promise(struct tm_sim_truth *t, struct tm_id id, uint32_t partition,
                          const struct tm_promise *promise);

/* An operator is about to take the loss of what no copy of the partition has any more (forced
 * recovery from damage): nothing of it is committed from now on, and what will be lies
 * TM_KEEPER_FAR behind it. */
void tm_sim_truth_give_up(struct tm_sim_truth *t, uint32_t partition);

/* ---- how replicas stand ---- */

struct tm_sim_view {
    const struct tm_replica *replica; /* only to be looked at */
    bool witness;      /* by placement, also before it knows its members: never has a log */
    uint64_t clock_ns; /* what the node's monotonic clock says */
    /* The log: first..last as tm_log_first and tm_log_last; at: term and hash of first-1..last,
     * false where it cannot be told; record: NULL if it is not in memory. */
    uint64_t first, last;
    void *log;
    bool (*at)(void *log, uint64_t index, uint64_t *term, uint64_t *hash);
    const struct tm_record *(*record)(void *log, uint64_t index);
    /* What a replica that is HOLED or FAULTY lacks: so many ranges of records. */
    unsigned faults;
    void (*fault)(void *log, unsigned i, uint64_t *first, uint64_t *last);
    /* The state: of all that is committed up to `applied`. */
    bool has_state;
    uint64_t applied, state_hash;
};

/* After a turn. */
void tm_sim_truth_look(struct tm_sim_truth *t, const struct tm_sim_view *v);

/* Instead, the first time that a process's replica is looked at: it may have forgotten nothing of
 * what it showed. */
struct tm_sim_truth_boot {
    bool unclean; /* the process before it did not end cleanly, or it is not known */
    bool rotten;  /* bits of this disk were changed */
    bool lied;    /* the disk lost a write that it reported */
};
void tm_sim_truth_booted(struct tm_sim_truth *t, const struct tm_sim_view *v,
                         const struct tm_sim_truth_boot *boot);

/* ---- what it knows ---- */

#define TM_SIM_TRUTH_STATS(X)                                                                      \
    X(looks)                                                                                       \
    X(records)                                                                                     \
    X(durable)                                                                                     \
    X(committed)                                                                                   \
    X(leaders)                                                                                     \
    X(votes)                                                                                       \
    X(states)                                                                                      \
    X(forgiven)

struct tm_sim_truth_stats {
#define X(field) uint64_t field;
    TM_SIM_TRUTH_STATS(X)
#undef X
};
struct tm_sim_truth_stats tm_sim_truth_stats(const struct tm_sim_truth *t);

/* How many different records were cut off logs of this node, durably; those of the system partition
 * are not counted. */
uint64_t tm_sim_truth_cut_off(const struct tm_sim_truth *t, unsigned node);

/* The highest committed index of the partition. */
uint64_t tm_sim_truth_committed(const struct tm_sim_truth *t, uint32_t partition);

/* Whether this very record is committed. */
bool tm_sim_truth_is_committed(const struct tm_sim_truth *t, uint32_t partition, uint64_t index,
                               uint64_t hash);

/* On how many nodes' disks this very record was at some time, in a log or in a snapshot. */
unsigned tm_sim_truth_copies(const struct tm_sim_truth *t, uint32_t partition, uint64_t index,
                             uint64_t hash);

/* ---- what may be lost (sim_truth_lost.c) ---- */

/* What this node's disks hold, and what they keep aside of it, may be gone, and the product is not
 * to blame: a disk that was wiped or damaged or stays away, memory of a process that was killed.
 * What a later start finds in a log is there again. */
void tm_sim_truth_lose(struct tm_sim_truth *t, unsigned node);

/* Whether somebody has to have this very record: it is committed, or was durable on a disk that has
 * not lost it. */
bool tm_sim_truth_is_kept(const struct tm_sim_truth *t, uint32_t partition, uint64_t index,
                          uint64_t hash);

/* Committed records of it were lost as --durability memory may lose them. */
bool tm_sim_truth_forgave(const struct tm_sim_truth *t, uint32_t partition);

#endif
