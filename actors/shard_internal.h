/* shard_internal.h: between the files of the shard.
 *
 *   shard.c            life, turns
 *   shard_messages.c   what goes between this shard and others
 *   shard_later.c      requests for its partitions, and how much of them one turn does
 *   shard_way.c        the way to linked clusters
 *   shard_open.c       opening the log, making the partitions
 *   shard_directory.c  the directory: taking it, keeping it in the system partition
 *   shard_router.c     what sessions ask (struct tm_router)
 *   links*.c           streams to other clusters and from them
 *   keeper*.c          snapshots: taking, sending, installing them
 *   scrub.c            reading again what is at rest
 *   offer*.c           eventual mode: what failovers cut off, and how it comes back */
#ifndef TM_ACTORS_SHARD_INTERNAL_H
#define TM_ACTORS_SHARD_INTERNAL_H

#include "actors/creation.h"
#include "actors/heartbeat.h"
#include "actors/partition.h"
#include "actors/request_wire.h"
#include "actors/seen_members.h"
#include "actors/shard.h"

struct tm_keeper;
struct tm_links;
struct tm_put_off;
struct tm_scrub;

/* An answer that found its channel full, to be sent when there is room. */
struct tm_backlog {
    struct tm_backlog *next;
    struct tm_place to;
    uint32_t len;
    uint8_t bytes[];
};

struct tm_shard {
    struct tm_shard_config config;
    uint64_t memory_limit; /* in force: config's, unless it was changed since; 0: none */
    const struct tm_ctx *ctx;
    struct tm_node *node;
    struct tm_place self;
    struct tm_options options;

    struct tm_post *post;
    struct tm_link_way *way; /* NULL: there are no other clusters */
    uint64_t way_version;    /* of the links that it goes by */
    uint64_t way_origin;     /* the incarnation that it began with; 0: it has not begun */
    struct tm_router router;
    struct tm_sessions *sessions;
    struct tm_dispatch *dispatch; /* from running on */
    struct tm_creation creation;  /* worker 0 */
    /* What this worker goes by in this turn; NULL until the node runs. */
    const struct tm_directory *directory;
    const struct tm_link_plan *links; /* taken with it; its version tells when it is another */

    bool running; /* storage is open, partitions exist */
    bool stopping, stopped, failed;
    bool abandoned;    /* tm_shard_abandon */
    uint64_t leave_by; /* when a node that was asked to end does; 0: it was not */
    uint64_t peer_boot[TM_NODES_MAX];
    struct tm_log_set *logs;
    struct tm_arena arena;
    struct tm_hlc hlc;
    struct tm_beat beat;
    struct tm_beat_link *beat_links;
    struct tm_beat_options beat_options;
    struct tm_replica_options replica_options;
    struct tm_replica_options strong_options; /* of the system partition */
    struct tm_partition_env env;
    struct tm_partition **partitions; /* by id / workers; NULL where this node has no part */
    uint32_t slots;                   /* of that table */
    uint32_t refused;                 /* partitions not started: see shard_open.c */
    struct tm_links *link_streams;    /* NULL while there is no way */
    struct tm_link_policy policy;     /* of its partitions' stores */
    struct tm_link_functions functions;
    struct tm_keeper *keeper;
    struct tm_offers *offers;
    struct tm_scrub *scrub;
    bool disk_full;   /* the log takes no effects, and the disk is why */
    bool keeper_busy; /* keeper or offers have more to do at once */
    struct tm_request_words words;
    struct tm_seen_members *seen; /* while opening */
    bool moved;                   /* counted in node->logs_moved */
    uint64_t moving; /* will be when that many floors, less one, are saved; 0: not yet */

    struct tm_backlog *backlog, **backlog_end;
    uint64_t backlog_bytes;

    struct tm_put_off *put_off, **put_off_end; /* requests for later turns */
    uint64_t put_off_bytes;

    uint64_t read_session; /* of a read being answered from here (shard_router.c) */

    uint64_t tell_owed; /* nodes that did not get all our LEADER messages: their ways were full */
    uint64_t ask_owed;  /* nodes still to be asked who leads (LEADERS) */

    uint64_t epoch_seen;
    uint64_t next_tick, next_slow, beat_deadline;
    uint64_t flush_at; /* --durability memory: not before */
    uint64_t ship_at;  /* eventual mode: when the batch leaves; 0: nothing is gathered */
};

/* Stands for shard->read_session as the place of an answer. */
#define TM_PLACE_SESSION ((struct tm_place){.node = TM_NODES_MAX})

/* The partition of that id if it lives here, else NULL. */
static inline struct tm_partition *tm_shard_find(const struct tm_shard *s, uint32_t id)
{
    uint32_t slot = id / s->node->workers;
    return s->running && id % s->node->workers == s->self.worker && slot < s->slots
               ? s->partitions[slot]
               : NULL;
}

/* Opens snapshots and log.  Then, once it is noted that all workers have: the partitions, and the
 * worker runs. */
enum tm_err tm_shard_open_storage(struct tm_shard *s, char *why, size_t why_size);
enum tm_err tm_shard_open_partitions(struct tm_shard *s, char *why, size_t why_size);
void tm_shard_close_storage(struct tm_shard *s);

/* Worker 0's.  And the look at the system partition, some ten times a second, if it is here. */
struct tm_creation_ops tm_shard_creation_ops(struct tm_shard *s);
void tm_shard_take_directory(struct tm_shard *s);
void tm_shard_tend_directory(struct tm_shard *s);

/* The origin of what this cluster writes: its incarnation.  And whether the data directory was put
 * back from a copy, and the directory does not say the new one yet. */
uint64_t tm_shard_origin(const struct tm_shard *s);
bool tm_shard_awaits_incarnation(const struct tm_shard *s);

/* Looks whether the disk has room for effects, and tells the replicas. */
void tm_shard_tend_room(struct tm_shard *s);

void tm_shard_router_init(struct tm_shard *s);

/* How many workers the nodes before this one have has become known: the member that this worker is
 * has another number. */
void tm_shard_renumber(struct tm_shard *s);

/* Sends, or keeps for later where the way is full.  False: there was no memory to keep it. */
bool tm_shard_post(struct tm_shard *s, struct tm_place to, const struct tm_message_head *head,
                   const struct tm_bytes *pieces, unsigned count);

/* Sends what was kept, as far as the way is free. */
void tm_shard_drain_backlog(struct tm_shard *s);

/* A request for a partition of this worker, whose answer goes to `from`: evaluated now, or in a
 * later turn after those that were put off before.  rq is borrowed. */
void tm_shard_request(struct tm_shard *s, struct tm_place from, const struct tm_request *rq);

/* A turn begins: goes on with what was put off, as far as one turn goes. */
void tm_shard_go_on(struct tm_shard *s);
void tm_shard_drop_put_off(struct tm_shard *s);

/* Tells other nodes what is led here and asks them, where that is owed. */
void tm_shard_settle_leaders(struct tm_shard *s);

/* The post with which this shard reaches others, NULL: no memory; and what its dispatch asks. */
struct tm_post *tm_shard_post_new(struct tm_shard *s);
struct tm_dispatch_ops tm_shard_dispatch_ops(struct tm_shard *s);

/* The way to linked clusters, where there are any: made (false: no memory), begun, in each turn. */
bool tm_shard_way_new(struct tm_shard *s);
void tm_shard_way_start(struct tm_shard *s);
void tm_shard_way_turn(struct tm_shard *s);
void tm_shard_way_free(struct tm_shard *s);

/* Shows in the counters how much there is of everything now. */
void tm_shard_publish(struct tm_shard *s);

/* ASK and TOLD: a session's command that concerns all workers of the node. */
void tm_shard_on_ask(struct tm_shard *s, const struct tm_message_head *head, struct tm_bytes body);
void tm_shard_on_told(struct tm_shard *s, const struct tm_message_head *head, struct tm_bytes body);

/* The ops table of this shard's partitions. */
extern const struct tm_partition_ops tm_shard_partition_ops;

/* An answer to a request of another worker. */
void tm_shard_answer(void *host, struct tm_place to, const struct tm_answer *answer);

#endif
