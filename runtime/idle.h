/* idle.h: what a worker does in a turn that found nothing: spin, yield or park.
 *
 * A pure state machine, fed with the time and with whether the last turn worked.  The strategies
 * (enum tm_idle of runtime/options.h):
 *   spin     never leaves the core
 *   yield    gives the core to others each time, never sleeps
 *   park     sleeps at once
 *   backoff  spins, yields, then parks
 *   auto     backoff if the machine has fewer cores than workers; else spins, then parks
 * The window before parking (of backoff and auto) adapts: it is kept while waiting it out would
 * pay, that is while work comes within it; a worker at rest, woken by a timer now and then, parks
 * at once, and so does one with fewer cores than workers that works
 * a quarter of the time or more. */
#ifndef TM_RUNTIME_IDLE_H
#define TM_RUNTIME_IDLE_H

#include "runtime/options.h"

enum tm_idle_action { TM_IDLE_DO_SPIN, TM_IDLE_DO_YIELD, TM_IDLE_DO_PARK };

struct tm_idle_config {
    enum tm_idle strategy;
    uint64_t spin_ns;  /* --idle-spin-us */
    uint64_t yield_ns; /* --idle-yield-us */
    unsigned cores;    /* core budget of this machine (runtime/cpu.h) */
    unsigned workers;  /* of all nodes started on it */
};

struct tm_idler {
    enum tm_idle strategy; /* AUTO: spins through its window */
    uint64_t spin_ns;      /* of the window; yielding after that */
    uint64_t window_ns;    /* from the last work to parking */
    uint64_t last_work;
    uint32_t credit; /* of the window; too low: park at once */
    bool waiting;    /* in the window */
    bool crowded;    /* fewer cores than workers */
    bool turn_worked;
    uint64_t turn_at;         /* the beginning of the last turn */
    uint64_t work_ns, all_ns; /* of late: in turns that worked, and altogether */
};

/* With more workers than cores, the spinning part of backoff is cut to 2 µs: the one it waits for
 * needs the core. */
void tm_idler_init(struct tm_idler *idler, const struct tm_idle_config *config, uint64_t now);

/* After a turn that began at `now`: worked says whether it found anything.  Says what to do before
 * the next. */
enum tm_idle_action tm_idler_next(struct tm_idler *idler, bool worked, uint64_t now);

/* After a sleep that work ended (not a timer): tells the window how long it lasted. */
void tm_idler_woken(struct tm_idler *idler, uint64_t slept_ns);

#endif
