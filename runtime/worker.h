/* worker.h: the loop that runs actors, the same for all.
 *
 * A turn: poll the actors of phase FABRIC, then of RINGS, then deliver disk and socket completions,
 * then poll the actors of phase TIMERS; then flush in the opposite order, so that what a
 * partition's flush hands to its ring or fabric leaves in the same turn; then one submit to
 * io_uring.
 *
 * Three placements of the same actors:
 *   dedicated  tm_worker_start with a cpu: a thread of its own, pinned
 *   shared     the actors of several logical workers added to one tm_worker
 *   invoker    tm_worker_open, then tm_worker_step by the caller's thread: tests, tools
 *
 * A turn that found nothing spins, yields or parks (runtime/idle.h).  A parked worker sleeps in its
 * io_uring until the earliest deadline, and is woken by its doorbell, a socket, a disk completion
 * or a watched descriptor.  Before that it announces the sleep (doorbell.h), asks each actor to
 * announce it and look once more (before_park), and sleeps only if nobody found anything.
 *
 * Except where said, all calls are made on the worker's thread. */
#ifndef TM_RUNTIME_WORKER_H
#define TM_RUNTIME_WORKER_H

#include <pthread.h>
#include <semaphore.h>

#include "runtime/counters.h"
#include "runtime/ctx.h"
#include "runtime/disk_uring.h"
#include "runtime/doorbell.h"
#include "runtime/idle.h"
#include "runtime/log.h"
#include "runtime/rng.h"
#include "runtime/uring.h"

#define TM_WORKER_ACTORS_MAX  64
#define TM_WORKER_NO_DEADLINE UINT64_MAX

struct tm_watch;
struct tm_worker;

enum tm_worker_phase {
    TM_PHASE_FABRIC, /* frames from other nodes */
    TM_PHASE_RINGS,  /* messages of other workers */
    TM_PHASE_TIMERS, /* after the completions: due timers, and what the input left to do */
    TM_PHASE_COUNT
};

/* Every callback but poll may be NULL.  They run on the worker's thread. */
struct tm_actor_ops {
    const char *name;
    enum tm_worker_phase phase;

    /* Before the first turn, in the order of adding; ring, disk and ctx are usable.  On failure
     * writes a line to why; the actors started before are stopped, and the worker does not run. */
    enum tm_err (*start)(void *self, struct tm_worker *worker, char *why, size_t why_len);

    /* After the last turn, in reverse order; the ring is closed after the last stop, and
     * completions of what is then cancelled still reach their ops: self lives until tm_worker_join
     * or _close returned. */
    void (*stop)(void *self);

    /* Takes in and handles a bounded batch; returns how much it did, 0 if it found nothing. */
    unsigned (*poll)(void *self);

    /* The turn ends: publish, send, submit. */
    void (*flush)(void *self);

    /* The worker is about to sleep: announce it to producers, then look once more.  False if
     * anything is there.  after_park follows on every actor that was asked, slept or not. */
    bool (*before_park)(void *self);
    void (*after_park)(void *self);

    /* The ctx time at which poll has to run again though nothing arrives;
     * TM_WORKER_NO_DEADLINE if none. */
    uint64_t (*next_deadline)(void *self);

    /* Off the hot path: about once a millisecond of work, and before the worker parks. */
    void (*housekeep)(void *self);
};

struct tm_worker_config {
    unsigned index; /* shown in the thread's name and the log */
    int cpu;        /* pinned there by tm_worker_start; -1: not pinned */
    struct tm_idle_config idle;
    unsigned sq_entries;                /* of the ring; 0: 256 */
    int dir_fd;                         /* data directory behind ctx->disk; -1: no disk */
    struct tm_doorbell_word *bell_word; /* in shared memory; NULL: the worker's own */
    struct tm_counters *counters;       /* this worker's; NULL: private ones */
    struct tm_log_writer *log;          /* this worker's; NULL: lines are dropped */
};

struct tm_worker_actor {
    const struct tm_actor_ops *ops;
    void *self;
};

struct tm_worker {
    struct tm_worker_config config;
    struct tm_ctx ctx; /* what actors are given */
    struct tm_uring uring;
    struct tm_disk_uring disk;
    struct tm_doorbell bell;
    struct tm_doorbell_word own_word;
    struct tm_uring_op bell_op;
    struct tm_idler idler;
    struct tm_counters own_counters;
    struct tm_worker_actor actors[TM_WORKER_ACTORS_MAX];
    uint8_t order[TM_WORKER_ACTORS_MAX]; /* of actors, by phase */
    unsigned phase_end[TM_PHASE_COUNT];  /* where each phase ends in order */
    unsigned actor_count;
    unsigned started; /* actors whose start succeeded */
    uint64_t now_ns;  /* of this turn */
    uint64_t wall_ms; /* and the wall clock's, read when first asked for in the turn wall_of */
    uint64_t wall_of;
    uint64_t next_housekeep;
    struct tm_rng rng;
    struct tm_watch *watches; /* to be armed or cancelled next turn */
    bool bell_armed;
    bool bell_rang; /* in this turn */
    bool woken;     /* the last sleep was ended by a completion */
    bool abandoned; /* closed with operations in the kernel: what they point to is not freed */
    _Atomic bool stopping;
    pthread_t thread;
    sem_t ready; /* tm_worker_start waits on it */
    enum tm_err start_err;
    char why[256];
};

/* A descriptor whose readability wakes the worker; fields are the worker's. */
struct tm_watch {
    struct tm_uring_op op;
    struct tm_worker *worker;
    void (*ready)(void *arg, uint32_t events); /* poll(2) bits */
    void *arg;
    int fd;
    bool wanted; /* false after tm_worker_unwatch_fd */
    bool polled; /* the kernel holds op */
    bool queued; /* in worker->watches */
    struct tm_watch *next;
};

/* Any thread.  Copies config and opens the doorbell, so that producers may ring from now on.  On
 * failure nothing is open.  w does not move afterwards. */
enum tm_err tm_worker_init(struct tm_worker *w, const struct tm_worker_config *config);

/* Any thread, after join or close, or when it was never started; nobody rings it any more. */
void tm_worker_fini(struct tm_worker *w);

/* Any thread, after init and before start or open.  ops and self outlive the worker.  TM_ERR_FULL
 * beyond TM_WORKER_ACTORS_MAX. */
enum tm_err tm_worker_add(struct tm_worker *w, const struct tm_actor_ops *ops, void *self);

/* Any thread.  Runs the loop on a new thread, with all signals blocked; returns when all actors
 * have started, or an error after all is closed again; w->why then says what to do. */
enum tm_err tm_worker_start(struct tm_worker *w);

/* Any thread, also a signal handler: asks the loop to end after the present turn. */
void tm_worker_stop(struct tm_worker *w);

/* Any thread but the worker's, after start: waits for the loop's end; all is closed then. */
void tm_worker_join(struct tm_worker *w);

/* Invoker placement: as start and join, on the caller's thread, without a loop. */
enum tm_err tm_worker_open(struct tm_worker *w);
void tm_worker_close(struct tm_worker *w);

/* One turn; returns what it found.  Never sleeps. */
unsigned tm_worker_step(struct tm_worker *w);

/* Sleeps as a parked worker does, for max_ns at most, unless the second look finds something.
 * True if it slept. */
bool tm_worker_park(struct tm_worker *w, uint64_t max_ns);

/* Turns and idles until tm_worker_stop; what the thread of tm_worker_start does. */
void tm_worker_run(struct tm_worker *w);

/* Changes the idle strategy from the next turn on. */
void tm_worker_set_idle(struct tm_worker *w, const struct tm_idle_config *idle);

/* Calls ready(arg, events) in the completions of a turn whenever fd becomes readable or is hung
 * up.  Edge-triggered: ready reads until EAGAIN (an eventfd need not be read at all).  watch is
 * the caller's, and untouched while watched.  fd stays the caller's. */
void tm_worker_watch_fd(struct tm_worker *w, struct tm_watch *watch, int fd,
                        void (*ready)(void *arg, uint32_t events), void *arg);

/* No further call of ready.  fd may be closed at once; watch stays untouched until tm_watch_idle.
 */
void tm_worker_unwatch_fd(struct tm_watch *watch);

/* True once the worker has let go of an unwatched watch: at the earliest one turn later. */
bool tm_watch_idle(const struct tm_watch *watch);

#endif
