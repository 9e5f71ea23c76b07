/* schedule.h: when each operation of a load run is due, and what its latency is counted from.
 *
 * Closed loop (rate 0): an operation is due when somebody asks for one.  Open loop: operation k is
 * due at start + k / rate, whether or not it can be sent then, and is timed from that moment: what
 * it waited at the generator is part of its latency.  Operations due in the window are measured;
 * those of the warm-up before it are not.  A generator that at the end of the window still has more
 * than a little of it to send has not reached its rate, and its percentiles mean nothing.
 *
 * Pure: the caller gives the time, nanoseconds of a clock that never goes back.  One thread. */
#ifndef TM_BENCH_SCHEDULE_H
#define TM_BENCH_SCHEDULE_H

#include "runtime/histogram.h"

/* Due operations that may be unsent when the window ends: this share of them, and those of this
 * much time (a single pause of a busy machine).  More is "target rate not reached". */
#define TM_SCHEDULE_SLACK_PERCENT 1
#define TM_SCHEDULE_SLACK_NS      TM_MS(50)

struct tm_schedule_spec {
    double rate;        /* operations a second, all connections together; 0: closed loop */
    uint64_t warmup_ns; /* before the window */
    uint64_t length_ns; /* of the window; not looked at if ops is set */
    uint64_t ops;       /* the window ends when so many were handed out in it; 0: by length_ns */
};

struct tm_schedule {
    double rate;
    uint64_t start_ns, from_ns, until_ns; /* window = from..until; until may be UINT64_MAX */
    uint64_t ops;                         /* measured ones to hand out; UINT64_MAX: no limit */
    uint64_t next;                        /* the operation to be handed out next */
    uint64_t measured;                    /* handed out that are due in the window */
    uint64_t backlog;                     /* due in the window and not handed out when it ended */
    bool ended;                           /* the end of the window was seen */
    bool over;                            /* nothing more is handed out */
    bool missed;                          /* the backlog was too large */
};

struct tm_due {
    uint64_t due_ns;
    bool measured;
};

/* Begins at now_ns.  rate is 0 or from 1e-3 to 1e9; length_ns or ops is above zero. */
void tm_schedule_init(struct tm_schedule *s, const struct tm_schedule_spec *spec, uint64_t now_ns);

/* Hands out the next operation if one is due at now_ns.  Time does not go back between calls. */
bool tm_schedule_take(struct tm_schedule *s, uint64_t now_ns, struct tm_due *due);

/* Notes the passing of the window's end; call it at least once a turn, before tm_schedule_take. */
void tm_schedule_tick(struct tm_schedule *s, uint64_t now_ns);

/* Nanoseconds until the next operation is due or an edge of the window is reached, whichever comes
 * first: 0 if one is due now, UINT64_MAX if nothing is to come. */
uint64_t tm_schedule_wait(const struct tm_schedule *s, uint64_t now_ns);

/* What came of the operations handed out.  All zero is empty; 116 KiB. */
struct tm_tally {
    struct tm_histogram latency;   /* ns from due to answered, of measured ones that succeeded */
    struct tm_histogram sent_late; /* ns from due to handed to the socket, of measured ones */
    uint64_t done;                 /* measured and succeeded */
    uint64_t failed;               /* measured and failed */
    uint64_t in_window;            /* succeeded within the window, whenever they were due */
    uint64_t last_ns;              /* when the last measured one was answered */
};

/* Counts an operation as sent at now_ns. */
void tm_tally_sent(struct tm_tally *t, const struct tm_due *due, uint64_t now_ns);

/* Counts an operation as answered at now_ns, well or not. */
void tm_tally_answered(struct tm_tally *t, const struct tm_schedule *s, const struct tm_due *due,
                       uint64_t now_ns, bool ok);

/* Nanoseconds that the window lasted: as set, or to the last answer if operations were counted. */
uint64_t tm_tally_window_ns(const struct tm_tally *t, const struct tm_schedule *s);

/* Successful operations a second over the window. */
double tm_tally_per_second(const struct tm_tally *t, const struct tm_schedule *s);

#endif
