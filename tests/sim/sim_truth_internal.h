/* sim_truth_internal.h: between the files of the truth.
 *
 *   sim_truth.c        its tables, and what is durable
 *   sim_truth_look.c   replicas held against them
 *   sim_truth_lost.c   what disks may lose
 *
 * Thread and ownership as in sim_truth.h. */
#ifndef TM_TESTS_SIM_SIM_TRUTH_INTERNAL_H
#define TM_TESTS_SIM_SIM_TRUTH_INTERNAL_H

#include "tests/sim/sim_truth.h"

#define TM_SIM_DISKS_MAX 64

/* A record that is or was in some log.  Its hash stands for it and for all before it. */
struct tm_sim_entry {
    struct tm_sim_entry *other; /* another record of this index */
    uint64_t index, term, hash;
    uint64_t prev; /* hash of the record before it, if known */
    bool prev_known, committed, has_state;
    uint64_t durable, looked; /* bit per disk: it was durable there; it was in that log */
    uint64_t cut;             /* bit per disk: it was, and was cut off */
    uint64_t gone;            /* bit per disk: it was, and may be lost */
    uint64_t missing;      /* bit per disk: it was, its log lacks it, and it was not brought back */
    uint64_t committed_in; /* the term in which a leader first committed it */
    uint64_t state;        /* hash of what it leads to */
    uint64_t bytes;
    uint64_t seen_ns; /* first; by the clock of who had it */
};

struct tm_sim_leadership {
    uint64_t term;
    struct tm_id who;
};

struct tm_sim_vote {
    uint64_t term;
    struct tm_id voter, candidate;
};

struct tm_sim_part {
    struct tm_sim_entry **at; /* by index */
    uint64_t cap;
    uint64_t committed;
    uint64_t origin; /* what lies before it belongs to histories that were given up */
    struct tm_sim_leadership *leaders;
    unsigned leader_count, leader_cap;
    struct tm_sim_vote *votes;
    unsigned vote_count, vote_cap;
    struct tm_insync *sets;
    unsigned set_count, set_cap;
    bool forgave;
};

/* What a replica showed when it was looked at last. */
struct tm_sim_seen {
    struct tm_replica *process; /* that one: NULL before the first look */
    enum tm_replica_role role;
    struct tm_promise hs;
    struct tm_tail last;
    uint64_t commit, durable, applied, first;
    unsigned granted;
    uint64_t match[TM_MEMBERS_MAX];
};

/* A partition on a disk. */
struct tm_sim_copy {
    uint64_t index, hash; /* where its durable log ends */
    uint64_t snapshot;    /* the highest index after which the log ever began */
    uint64_t missing;     /* the lowest index that its log ever lacked in this process; 0: none */
    struct tm_promise promise;
    struct tm_sim_seen seen;
    const struct tm_sim_entry *owed; /* the newest committed one that it had at its last start */
};

struct tm_sim_disk_copies {
    struct tm_id id;
    struct tm_sim_copy *copies; /* by partition */
    uint64_t cut;               /* different records, not of the system partition */
};

struct tm_sim_truth {
    struct tm_sim_truth_config config;
    struct tm_sim_part *parts;
    struct tm_sim_disk_copies disks[TM_SIM_DISKS_MAX];
    unsigned disk_count;
    unsigned disk_last; /* that was asked for */
    void *chunks;       /* of entries */
    unsigned chunk_used;
    struct tm_sim_truth_stats stats;
};

void tm_sim_truth_wrong(struct tm_sim_truth *t, uint32_t partition, const char *fmt, ...)
    TM_PRINTF(3, 4);

/* The number of a disk, its bit, and its copy of a partition. */
unsigned tm_sim_truth_disk(struct tm_sim_truth *t, struct tm_id id);
static inline uint64_t tm_sim_truth_bit(struct tm_sim_truth *t, struct tm_id id)
{
    return UINT64_C(1) << tm_sim_truth_disk(t, id);
}
struct tm_sim_copy *tm_sim_truth_copy(struct tm_sim_truth *t, struct tm_id id, uint32_t partition);

/* Whether its node was seen with another disk since. */
bool tm_sim_truth_is_replaced(struct tm_sim_truth *t, struct tm_id id);

/* The record of that index and hash, or NULL; made if need be, which may break log matching. */
struct tm_sim_entry *tm_sim_truth_find(const struct tm_sim_truth *t, uint32_t partition,
                                       uint64_t index, uint64_t hash);
struct tm_sim_entry *tm_sim_truth_entry(struct tm_sim_truth *t, uint32_t partition, uint64_t index,
                                        uint64_t term, uint64_t hash);

/* Below 0, 0 or above: the set a is older than b, as old, newer. */
static inline int tm_sim_truth_set_order(const struct tm_insync *a, const struct tm_insync *b)
{
    if (a->term != b->term)
        return a->term < b->term ? -1 : 1;
    return a->epoch == b->epoch ? 0 : a->epoch < b->epoch ? -1 : 1;
}

/* Notes that `prev` is the hash of the record before e.  where: for the message. */
void tm_sim_truth_link(struct tm_sim_truth *t, uint32_t partition, struct tm_sim_entry *e,
                       uint64_t prev, unsigned node);

/* The first record that may have that index (see `other`), or NULL. */
struct tm_sim_entry *tm_sim_truth_first(const struct tm_sim_part *p, uint64_t index);

/* The log of that disk (bit) lacks its record of that index; it lacks none as far as is known. */
void tm_sim_truth_missing(struct tm_sim_truth *t, uint32_t partition, uint64_t index,
                          uint64_t disk);
void tm_sim_truth_found_again(struct tm_sim_truth *t, uint32_t partition, uint64_t disk);

/* The committed record of that index, or NULL. */
struct tm_sim_entry *tm_sim_truth_committed_at(const struct tm_sim_truth *t, uint32_t partition,
                                               uint64_t index);

#endif
