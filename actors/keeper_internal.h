/* keeper_internal.h: what the keeper's files share; see keeper.h.  One thread. */
#ifndef TM_ACTORS_KEEPER_INTERNAL_H
#define TM_ACTORS_KEEPER_INTERNAL_H

#include "actors/keeper.h"
#include "actors/retain.h"
#include "actors/shard_internal.h"

#define TM_KEEPER_TAKINGS    4
#define TM_KEEPER_SENDS      64
#define TM_KEEPER_RECEIPTS   64
#define TM_KEEPER_SILENCE_NS TM_SECONDS(10) /* a transfer at rest so long is given up */

/* Before the slice of an item of a snapshot. */
struct tm_keeper_item {
    uint64_t cursor;
    uint64_t index;
};

/* What came of the snapshots on disk. */
struct tm_keeper_found {
    struct tm_store *store; /* until it is handed over */
    struct tm_snapshot_info info;
    struct tm_snapshot_info older; /* the one before it */
    struct tm_snapshot_lost lost;  /* further than any that is there */
    bool there, older_there;
    bool owed;   /* a new one is to be taken */
    bool rescue; /* one is to be taken for tm_keeper_rescue */
};

struct tm_keeper_taking {
    struct tm_keeper *keeper;
    struct tm_partition *p; /* NULL: free */
    struct tm_snapshot_writer *writer;
    bool rescue;              /* see keeper_rescue.c */
    struct tm_record end;     /* of a rescue: its last record, */
    struct tm_members forced; /* and the members it names */
    uint64_t cursor, walked_to;
    bool walked;
    uint8_t *buf; /* an item: head and slice */
    size_t cap, len;
};

struct tm_keeper_sending {
    struct tm_partition *p; /* NULL: free */
    struct tm_snapshot_reader *reader;
    struct tm_snapshot_info info;
    struct tm_keeper *keeper;
    unsigned node;
    uint64_t lent; /* nobody leads, and the node misses records up to here; 0: it is the leader's */
    uint64_t chunk;
    uint64_t moved_at;
    bool reading;
};

struct tm_keeper_receipt {
    struct tm_partition *p; /* NULL: free */
    struct tm_keeper *keeper;
    struct tm_snapshot_writer *writer;
    struct tm_snapshot_info info;
    struct tm_store *store;
    struct tm_place from;
    uint64_t moved_at;
    bool ack_owed; /* when the writer has room for the next chunk */
};

struct tm_keeper {
    struct tm_shard *shard;
    struct tm_keeper_found *found; /* by id / workers */
    struct tm_snapshot_closed closed;
    struct tm_keeper_taking takings[TM_KEEPER_TAKINGS];
    uint32_t next; /* slot whose turn it is to be taken */
    bool pressed;  /* something of the logs is to be given up, as far as is known */
    struct tm_retain retain;
    uint64_t retry_at; /* none is taken before: one has failed */
    bool stopped;
    struct tm_keeper_sending sends[TM_KEEPER_SENDS];
    uint64_t *wanted; /* by id / workers: nodes that wait for a sending */
    uint32_t next_wanted;
    bool any_wanted;
    struct tm_keeper_receipt receipts[TM_KEEPER_RECEIPTS];
    unsigned receiving; /* of them */
};

/* arg2 of SNAPSHOT_ACK; arg is the next chunk. */
enum { TM_KEEPER_ACK_NEXT, TM_KEEPER_ACK_DONE, TM_KEEPER_ACK_FAILED };

static inline uint64_t tm_keeper_now(const struct tm_keeper *k)
{
    return tm_ctx_now(k->shard->ctx);
}

static inline struct tm_counters *tm_keeper_counters(const struct tm_keeper *k)
{
    return k->shard->ctx->counters;
}

static inline struct tm_keeper_found *tm_keeper_found_of(const struct tm_keeper *k,
                                                         uint32_t partition)
{
    return &k->found[partition / k->shard->node->workers];
}

/* An item of a snapshot into the store `arg`.  CORRUPT: it is none. */
enum tm_err tm_keeper_load_item(void *arg, struct tm_bytes item);

/* Begins to take a snapshot of the partition; false: not now, or there is nothing to take. */
bool tm_keeper_take_begin(struct tm_keeper *k, struct tm_partition *p);

/* The same with what it says of itself, for the owner to fill in what makes it differ.  NULL: not
 * now. */
struct tm_keeper_taking *tm_keeper_take_new(struct tm_keeper *k, struct tm_partition *p,
                                            const struct tm_snapshot_info *info);

/* keeper_rescue.c: begins what operators have asked for; the snapshot is whole: whether it is to
 * count; it counts: false: not yet; it is not to be. */
void tm_keeper_rescue_tick(struct tm_keeper *k);
bool tm_keeper_rescue_stands(const struct tm_keeper_taking *t);
bool tm_keeper_rescued(struct tm_keeper_taking *t);
void tm_keeper_rescue_failed(struct tm_keeper_taking *t);

/* Two writers of one partition would each take the other's pointer for the one before it: what is
 * being taken here gives way, unless its pointer flips already (false). */
bool tm_keeper_make_way(struct tm_keeper *k, const struct tm_partition *p);

/* The writer's snapshot is current now, and of those before it only the newest is left. */
void tm_keeper_note_published(struct tm_keeper *k, uint32_t partition,
                              const struct tm_snapshot_writer *writer);

/* Closes the writer, which may be NULL, whatever it has come to. */
void tm_keeper_end_writer(struct tm_keeper *k, struct tm_snapshot_writer *writer);

/* keeper_send.c: an answer of a receiver; begins what is wanted and gives up what does not move;
 * the end, when nothing is under way any more. */
void tm_keeper_on_ack(struct tm_keeper *k, const struct tm_message_head *head);
void tm_keeper_send_tick(struct tm_keeper *k);
void tm_keeper_send_free(struct tm_keeper *k);

/* keeper_receive.c: what is being received of a partition, or NULL; a chunk of a leader; goes on;
 * gives up what does not move; drops all. */
struct tm_keeper_receipt *tm_keeper_receipt_of(struct tm_keeper *k, uint32_t partition);
void tm_keeper_on_chunk(struct tm_keeper *k, const struct tm_message_head *head,
                        struct tm_bytes body);
void tm_keeper_receive_turn(struct tm_keeper *k);
void tm_keeper_receive_tick(struct tm_keeper *k);
void tm_keeper_receive_stop(struct tm_keeper *k);

#endif
