/* heartbeat.h: the joined heartbeats of one worker, and the timers of its replicas.
 *
 * A tm_beat knows the replicas of its worker and, per peer worker (node, worker), which of them are
 * led from here and which are followed there.  One heartbeat per peer worker says for all of them:
 * "I lead this set in these terms" (a count and a digest).  A receiver whose own view has the same
 * digest answers so: that confirms leadership and resets election timers for the whole set, at the
 * cost of one.  If the digests differ, the full list follows and is answered item by item: agreeing
 * partitions are confirmed, the others are told the newer term.
 *
 * Rounds.  Each heartbeat carries the number of the worker's present round.  A round asked for
 * (tm_beat_round) begins at the end of the turn, for all reads that wait.
 *
 * Rest.  Without appends for rest_after_ns the interval grows to rest_interval_ns; a heartbeat
 * carries the interval to the next one, and whoever waits for the next one adds it to its timeout.
 *
 * Pure and of one thread, as replica.h.  The host calls tm_beat_turn once a turn, after it handed
 * in messages and completions, and sleeps no longer than it says. */
#ifndef TM_ACTORS_HEARTBEAT_H
#define TM_ACTORS_HEARTBEAT_H

#include "actors/replica.h"
#include "net/fabric.h"

struct tm_beat_options {
    uint64_t interval_ns;      /* under load: 20 ms */
    uint64_t rest_interval_ns; /* at rest: 500 ms; equal to interval_ns where death is not told */
    uint64_t rest_after_ns;    /* 2 s */
};

/* The defaults above. */
void tm_beat_options_default(struct tm_beat_options *opt);

struct tm_beat_io {
    /* Sends one heartbeat message (of at most TM_BEAT_MESSAGE_MAX bytes) to a peer worker; copied.
     * May be lost. */
    void (*send)(void *host, unsigned node, unsigned worker, struct tm_bytes message);
    /* Nanoseconds since the last flush of this worker's log succeeded while one was wanted; 0: none
     * is waited for. */
    uint64_t (*flush_age_ns)(void *host);
};

#define TM_BEAT_BUCKETS     256
#define TM_BEAT_ITEMS_MAX   256
#define TM_BEAT_MESSAGE_MAX (64 + 16 * TM_BEAT_ITEMS_MAX)

/* One peer worker. */
struct tm_beat_link {
    bool used;
    uint8_t node, worker;
    uint64_t
        made_round; /* the present one then: answers to that and older ones are of another set */
    uint64_t peer_disk; /* that its answers came from */
    uint64_t peer_flush_age;

    uint64_t led_count, led_digest; /* led here, a member there */
    uint64_t sent_at;               /* last heartbeat */
    uint64_t promised_ns;           /* in it: the next one no later than */
    uint64_t sent_wall_ms;          /* own clock then */
    uint64_t sent_round;
    uint64_t asked_round; /* an earlier one whose answer is waited for, too; 0: none */
    uint64_t asked_at, asked_wall_ms;
    int64_t ahead_ms; /* own clock ahead of the peer's by that at least; below 0: behind */
    uint64_t ahead_at;
    uint64_t confirmed; /* highest round answered "same" */
    uint64_t confirmed_at;
    bool list_wanted; /* the peer's view differs: send the list */

    uint64_t followed_count, followed_digest; /* led there, followed here */
    uint64_t agreed_at;                       /* last heartbeat whose digest was ours */
    uint64_t promise_ns;                      /* its interval */
    uint64_t list_round;                      /* of the list being received */
    uint32_t list_chunks;                     /* of it, received so far */
};

struct tm_beat {
    const struct tm_ctx *ctx;
    const struct tm_beat_options *opt;
    const struct tm_beat_io *io;
    void *host;
    struct tm_id self;
    unsigned worker;
    uint64_t boot;
    uint8_t workers[TM_NODES_MAX]; /* per node; 0: not known yet */
    struct tm_beat_link *link;
    unsigned links;
    unsigned links_used; /* all in use are below */
    uint64_t round;
    bool round_wanted;
    uint64_t active_at;  /* last append */
    uint64_t slow_until; /* answers may be as old as at rest until then */
    uint64_t next_tick;  /* earliest deadline of a replica, or before it */
    struct tm_replica *replicas, *waiting;
    struct tm_replica *bucket[TM_BEAT_BUCKETS]; /* replicas by partition */
    uint64_t bucket_tick[TM_BEAT_BUCKETS];      /* as next_tick, of a bucket */
};

/* links is the caller's memory for count peer workers, at least the number of worker pairs that
 * this worker can be in: sum over other nodes of max(1, their workers / own workers), rounded up;
 * too few is an assertion.  boot: random, of this process. */
void tm_beat_init(struct tm_beat *b, const struct tm_beat_options *opt, const struct tm_beat_io *io,
                  void *host, const struct tm_ctx *ctx, struct tm_id self, unsigned worker,
                  uint64_t boot, struct tm_beat_link *links, unsigned count);

/* A node's number of workers, 1..64, as its handshake said (own node: at start, before replicas
 * are).  Partition p lives there on worker p mod workers.  If the number is news, that node has
 * confirmed nothing yet; what others confirmed stays. */
void tm_beat_workers(struct tm_beat *b, unsigned node, unsigned workers);

/* A heartbeat message from a peer worker: bytes from outside, at any alignment. */
void tm_beat_receive(struct tm_beat *b, unsigned node, unsigned worker, struct tm_bytes message);

/* The fabric's hint; passed on to every replica it concerns. */
void tm_beat_peer_down(struct tm_beat *b, unsigned node);
void tm_beat_peer_up(struct tm_beat *b, unsigned node);

/* Ends the turn: ticks replicas that are due, starts the round that was asked for, sends heartbeats
 * that are due.  Returns when it must be called again at the latest, UINT64_MAX: never. */
uint64_t tm_beat_turn(struct tm_beat *b);

/* Something was appended: heartbeats go at their fast pace.  tm_replica_ship calls it. */
void tm_beat_touch(struct tm_beat *b);

/* How old the last successful flush of node's log is, as its heartbeats say; 0: not known. */
uint64_t tm_beat_flush_age(const struct tm_beat *b, const struct tm_replica *r, unsigned node);

/* By how many ms at least the own wall clock is ahead of that node's, as its answers to own
 * heartbeats show; negative: behind it; 0: neither, or not known. */
int64_t tm_beat_ahead_ms(const struct tm_beat *b, const struct tm_replica *r, unsigned node);

/* The disk id that node's heartbeats come from; 0: none came yet. */
uint64_t tm_beat_disk(const struct tm_beat *b, const struct tm_replica *r, unsigned node);

/* --- for replicas --- */

/* Makes r one of the replicas whose heartbeats and timers b keeps, and takes it out again; r is
 * started, and stays where it is in memory meanwhile. */
void tm_beat_join(struct tm_beat *b, struct tm_replica *r);
void tm_beat_leave(struct tm_beat *b, struct tm_replica *r);

/* Role, leader, members or the durable term of r changed: bring the digests up to date. */
void tm_beat_update(struct tm_beat *b, struct tm_replica *r);

/* The number of a round that begins after this call. */
uint64_t tm_beat_round(struct tm_beat *b);

/* r has reads that wait for a round: tm_replica_confirmed is called when one was answered. */
void tm_beat_wait(struct tm_beat *b, struct tm_replica *r);

/* The highest round in which node, with that disk, confirmed r's leadership of its present term;
 * and when it did so last.  0: not yet. */
uint64_t tm_beat_confirmed(const struct tm_beat *b, const struct tm_replica *r, unsigned node,
                           uint64_t disk);
uint64_t tm_beat_confirmed_at(const struct tm_beat *b, const struct tm_replica *r, unsigned node,
                              uint64_t disk);

/* When r's leader was heard last through heartbeats (0: never), and how long it may be silent
 * between two of them. */
uint64_t tm_beat_heard(const struct tm_beat *b, const struct tm_replica *r, uint64_t *promise_ns);

/* The present interval of own heartbeats, and how far apart answers to them may lie: longer for a
 * while after a rest. */
uint64_t tm_beat_interval(const struct tm_beat *b);
uint64_t tm_beat_patience(const struct tm_beat *b);

/* r->deadline was set: r is ticked by the first turn from then on. */
void tm_beat_deadline(struct tm_beat *b, const struct tm_replica *r);

#endif
