/* partition.h: one partition on one node: its replica, its log, its entities, its clients' answers.
 *
 * At the leader a request is evaluated once against the store; what it changed is one record, which
 * goes to the log, and to the followers at the end of the turn; its reply waits until the record is
 * committed.  A reply that needed no record waits for what it saw and for a leadership round.  A
 * follower applies records as they are committed.  A witness holds no entities.
 *
 * What can go wrong: the log has no room (REFUSED, the effect is undone); leadership is lost (the
 * effects are undone newest first; replies wait until their record is committed after all, or
 * another in its place, then REFUSED, or the dispatch of the asking worker loses patience); records
 * needed are on disk only (they are fetched, and requests come back meanwhile).
 *
 * Where a synchronous link begins, replies to writes wait at a *gate* besides, until what they wait
 * for elsewhere is there, too (actors/link_gate.h).  Who is not let through is told, in the end,
 * that the outcome is unknown; so is whoever waits there when leadership is lost.
 *
 * Pure: reaches the world through ctx and struct tm_partition_ops.  One worker's thread. */
#ifndef TM_ACTORS_PARTITION_H
#define TM_ACTORS_PARTITION_H

#include "actors/dispatch.h"
#include "actors/message.h"
#include "actors/replica.h"
#include "actors/watch.h"
#include "net/resp.h"
#include "runtime/counters.h"
#include "runtime/hlc.h"
#include "runtime/options.h"
#include "storage/arena.h"
#include "storage/log_set.h"
#include "storage/store.h"
#include "storage/store_link.h"

struct tm_partition;

struct tm_partition_ops {
    /* A replica's message to the same partition on node; may be lost. */
    void (*send)(void *host, struct tm_partition *p, unsigned node, const struct tm_bytes *pieces,
                 unsigned count);
    /* A message of that head, its partition filled in, to the same worker; may be lost. */
    void (*tell)(void *host, struct tm_partition *p, unsigned node,
                 const struct tm_message_head *head, const struct tm_bytes *pieces, unsigned count);
    /* The answer of a request that came from `to`. */
    void (*answer)(void *host, struct tm_place to, const struct tm_answer *answer);
    /* This node leads the partition in that term, and may serve. */
    void (*leads)(void *host, struct tm_partition *p, uint64_t term);
    /* Eventual mode: records from..to are to be cut off.  False: not yet (actors/offer.h). */
    bool (*lost)(void *host, struct tm_partition *p, uint64_t from, uint64_t to);
    /* node needs a snapshot of the partition. */
    void (*snapshot_needed)(void *host, struct tm_partition *p, unsigned node);
    /* So does one with holes, while nobody leads: of what is committed, at least up to `index`. */
    void (*snapshot_asked)(void *host, struct tm_partition *p, unsigned node, uint64_t index);
    /* More is committed, and the partition leads.  May be NULL. */
    void (*committed)(void *host, struct tm_partition *p);
    /* It is about to lead: replies wait at a gate that is shut, until tm_partition_open_gate.  May
     * be NULL: there is none. */
    bool (*gated)(void *host, struct tm_partition *p);
};

/* What the partitions of one worker share.  All of it outlives them. */
struct tm_partition_env {
    const struct tm_ctx *ctx;
    const struct tm_options *options;
    const struct tm_replica_options *replica_options;
    const struct tm_replica_options *strong_options; /* of partitions that are strong always */
    const struct tm_partition_ops *ops;
    void *host; /* of ops */
    struct tm_log_set *logs;
    struct tm_arena *arena;
    struct tm_beat *beat;
    struct tm_hlc *hlc;
    const struct tm_link_policy
        *policy;     /* of stores that are written to; NULL: nothing is shared */
    uint64_t origin; /* id of this cluster's incarnation */
    struct tm_id self;
    const char *const *node_names; /* node_count of them, for the log */
    unsigned node_count;
    bool eventual;      /* consistency; not of partitions that are strong always */
    bool out_of_memory; /* --memory-limit is reached: the worker looks now and then */
    bool backlog_full;  /* a link's backlog is, and it refuses writes then (links_backlog.c) */

    struct tm_resp_writer reply; /* of the evaluation under way */
    uint64_t reply_bytes;        /* of evaluations in this turn; the worker begins anew each turn */
    uint8_t *record;             /* TM_RECORD_MAX bytes, 8-aligned, for the same */
    struct tm_partition *dirty;  /* partitions with something to ship this turn */
    bool flush_now;              /* the log holds what somebody waits for on disk */
    uint64_t unshipped_bytes;    /* written since the last time they were shipped */
    bool window_full;            /* a write waits for what is not committed yet: ship at once */
    uint64_t clock_warned_at;    /* 0: never */
    struct tm_partition *due;    /* partitions with answers to give (tm_partition_turn) */
    struct tm_partition *behind; /* followers with records to apply (tm_partition_apply_behind) */
};

/* A reply that waits for its record. */
struct tm_pending {
    uint64_t index, term;
    uint64_t id;
    struct tm_place to;
    uint32_t len;
    bool lost;      /* there was no memory for the reply */
    uint8_t *bytes; /* the reply if it is longer than small */
    uint8_t inline_[24];
};

/* Records from `first` up to, not including, `next`, one behind the other. */
struct tm_ship_read {
    uint8_t *bytes;
    size_t length, capacity;
    uint64_t first, next;
    uint64_t at; /* the record asked for last, and where it lies */
    size_t offset;
};

/* What each message and each request looks at stands first, and goes on in the replica. */
struct tm_partition {
    struct tm_partition_env *env;
    struct tm_log *log;
    struct tm_store *store; /* NULL at a witness */
    uint32_t id;
    bool witness;
    bool eventual;

    bool leading;     /* role LEADER and everything inherited applied: requests are taken */
    bool announced;   /* ops.leads was called for this term */
    bool clock_ahead; /* of a quorum's: nothing is written here */
    bool apply_fetching, ship_fetching, giving;
    bool stopping;
    bool rescuing; /* an operator's word: tm_partition_go_on will follow, nobody else is heard */
    bool led_after_all; /* while rescuing: a leader has spoken */
    bool rootless; /* the log begins after a snapshot that is lost: the replica stands at `base`,
                      and what a leader sends takes the place of the log */
    bool is_dirty, is_due, is_behind;
    bool waits_lost;
    struct tm_partition *dirty_next, *due_next, *behind_next;

    /* Replies waiting for commit, a ring in order of index. */
    struct tm_pending *pending;
    uint32_t pending_head, pending_count, pending_cap;
    uint64_t settled;                /* what waits for records up to here may be answered */
    uint64_t gate;                   /* if the gate has let it through; UINT64_MAX: there is none */
    uint64_t gate_shut;              /* up to here it never will */
    struct tm_partition_read *reads; /* waiting for the replica */
    struct tm_partition_read *cut;   /* their records were cut; not decided yet */
    struct tm_partition_read *done;  /* decided, to be answered in the next tm_partition_turn */
    struct tm_partition_wait *waits; /* WAIT */
    struct tm_watches watches;

    struct tm_replica replica;

    struct tm_log_fetch apply_fetch; /* records to apply that are only on disk */
    struct tm_log_fetch ship_fetch;  /* records to ship that are */
    struct tm_ship_read ship_read;   /* what that brought; empty when it has been shipped */
    struct tm_tail base;
    uint64_t persist_seq;  /* of the newest hard state put */
    uint64_t persist_told; /* of the newest told durable */
    uint64_t next_expiry_look;

    /* What is missing is asked for, of one member after the other; what others miss is given. */
    uint64_t seek_at, seek_to; /* next; the last record that was brought back */
    unsigned seek_turn, give_to;
    uint64_t lend_at; /* when a snapshot may be asked of this copy again */
    uint64_t shut_at; /* when it is said that nobody mends it; 0: it is not in need of that */
    struct tm_log_fetch give_fetch;
};

/* What it is made from. */
struct tm_partition_boot {
    uint32_t id;
    bool witness;
    bool strong; /* whatever the cluster's consistency: the system partition */
    /* The last CONFIG record's members, else a snapshot's, else those of creation; and those
     * before, if known. */
    struct tm_members members, previous;
    struct tm_store *store; /* loaded from the newest snapshot that can be read, or NULL */
    struct tm_tail base;    /* where that snapshot ends; zero without one */
    bool unclean;           /* --durability memory, and the last end was not clean */
};

/* Makes the partition from what its log and hard state hold, and starts its replica.  NULL if
 * memory is short. */
struct tm_partition *tm_partition_new(struct tm_partition_env *env,
                                      const struct tm_partition_boot *boot);

/* Stops the replica, answers nothing any more, frees.  Fetches under way are waited for by the
 * caller: tm_partition_quiet. */
void tm_partition_stop(struct tm_partition *p);
bool tm_partition_quiet(const struct tm_partition *p);
void tm_partition_free(struct tm_partition *p);

/* A request whose answer goes to `from`.  rq is borrowed. */
void tm_partition_request(struct tm_partition *p, struct tm_place from,
                          const struct tm_request *rq);

/* Writes one record with `fill`, called between begin and finish of the store; *index 0: fill
 * changed nothing. */
enum tm_err tm_partition_write(struct tm_partition *p,
                               void (*fill)(struct tm_partition *p, void *arg), void *arg,
                               uint64_t *index, uint64_t *term);

/* What waits for records up to `index` may pass the gate; UINT64_MAX: all may, until it leads
 * again. */
void tm_partition_open_gate(struct tm_partition *p, uint64_t index);

/* Who waits at the gate for a record up to `index` waits no longer: the outcome is unknown. */
void tm_partition_shut_gate(struct tm_partition *p, uint64_t index);

/* Whoever waits at the gate is told so: its patience begins anew.  To be repeated before that is
 * over. */
void tm_partition_hold_gate(struct tm_partition *p);

/* How many wait there. */
uint64_t tm_partition_gate_count(const struct tm_partition *p);

/* A read answered from this replica's own state, leader or not, unconfirmed (consistency
 * "eventual").  False if there is no state to answer from. */
bool tm_partition_read_here(struct tm_partition *p, struct tm_place from,
                            const struct tm_request *rq);

/* Fetches into the caches what a message or a request looks at first. */
static inline void tm_partition_prefetch(const struct tm_partition *p)
{
    for (size_t at = 0; at < offsetof(struct tm_partition, replica.peer); at += 64)
        __builtin_prefetch((const uint8_t *)p + at);
}

/* A replica's message, bytes from outside. */
void tm_partition_message(struct tm_partition *p, unsigned node, struct tm_bytes bytes);

/* Another node misses records, or gives some that are missing here (TM_MESSAGE_WANT, GIVE). */
void tm_partition_wanted(struct tm_partition *p, const struct tm_message_head *head,
                         struct tm_bytes body);
void tm_partition_given(struct tm_partition *p, const struct tm_message_head *head,
                        struct tm_bytes body);

/* Whether the log, with holes, has the record that a snapshot ends with, be that the last of a
 * hole, and goes on: what follows may have been acknowledged, and stays when it is installed.  Some
 * of it may be missing still. */
bool tm_partition_keeps(const struct tm_partition *p, const struct tm_tail *tail);

/* A durable snapshot up to `tail`, loaded into `store`, takes the place of log and state; a log
 * with holes that goes on behind the same record keeps what follows.  The replica wants it
 * (tm_replica_snapshot_wanted) and nothing is being fetched.  store is taken over unless this
 * fails, like tm_wal_append. */
enum tm_err tm_partition_install(struct tm_partition *p, struct tm_store *store,
                                 const struct tm_tail *tail, const struct tm_members *members);

/* Forced recovery (tm_replica_recover) cannot go on with a log that is damaged: a snapshot of what
 * the partition has in memory has to take its place first (tm_keeper_rescue). */
bool tm_partition_needs_rescue(const struct tm_partition *p);

/* That snapshot is durable: it has these members, and its last record is `end`, a NOOP further on
 * than any copy ever was.  Log and state go on behind it, and the replica recovers.  rescuing is
 * set.  TM_ERR_AGAIN: something is being fetched; else fails like tm_wal_append. */
enum tm_err tm_partition_go_on(struct tm_partition *p, const struct tm_record *end,
                               const struct tm_members *members);

/* What the log set tells. */
void tm_partition_durable(struct tm_partition *p, uint64_t index);
void tm_partition_hard_durable(struct tm_partition *p);
void tm_partition_fault(struct tm_partition *p);

/* Gives the answers that events since the last call have decided; for each of env->due, after
 * events were handed in and before the turn ends.  Never from inside a call of this header: an
 * answer lets a session go on, which may send the next request. */
void tm_partition_turn(struct tm_partition *p);

/* Applies what the followers of env->behind have heard to be committed; as often as
 * tm_partition_turn. */
void tm_partition_apply_behind(struct tm_partition_env *env);

/* Slow work: expiry, WAIT timeouts.  Some ten times a second. */
void tm_partition_tick(struct tm_partition *p);

/* Ships what is new to the followers; of the dirty ones, at the end of the turn. */
void tm_partition_ship(struct tm_partition *p);

#endif
