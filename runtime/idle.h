/* idle.h: what a worker does in a turn that found nothing: spin, yield or park.
 *
 * A pure state machine, fed with the time and with whether the last turn worked.  The strategies:
 *   spin     never leaves the core
 *   yield    gives the core to others each time, never sleeps
 *   park     sleeps at once
 *   backoff  spins for a moment, yields for a window, then parks
 *   hover    spins for the window, then parks: what auto becomes where there are cores enough
 * The window of backoff and hover adapts: it is kept while waiting it out would pay, that is while
 * work comes within it; a worker at rest, woken by a timer now and then, parks at once. */
#ifndef TM_RUNTIME_IDLE_H
#define TM_RUNTIME_IDLE_H

#include "runtime/base.h"

/* X(name, text) */
#define TM_IDLE_LIST(X)                                                                            \
    X(AUTO, "auto")                                                                                \
    X(SPIN, "spin")                                                                                \
    X(YIELD, "yield")                                                                              \
    X(BACKOFF, "backoff")                                                                          \
    X(PARK, "park")                                                                                \
    X(HOVER, "hover")

enum tm_idle_kind {
#define X(name, text) TM_IDLE_##name,
    TM_IDLE_LIST(X)
#undef X
        TM_IDLE_COUNT
};

enum tm_idle_action { TM_IDLE_DO_SPIN, TM_IDLE_DO_YIELD, TM_IDLE_DO_PARK };

struct tm_idle {
    enum tm_idle_kind kind;
    uint64_t spin_ns;   /* backoff: spun before the first yield */
    uint64_t window_ns; /* from the last work to parking */
    uint64_t last_work; /* ns */
    uint32_t credit;    /* of the window; 0: park at once */
    bool waiting;       /* the last turn found nothing */
};

/* The name of a kind, and back; false if text names none.  Static storage. */
const char *tm_idle_name(enum tm_idle_kind kind);
bool tm_idle_parse(const char *text, enum tm_idle_kind *kind);

/* What auto stands for: BACKOFF if cores < workers (of all nodes on this machine), else HOVER. */
enum tm_idle_kind tm_idle_resolve(enum tm_idle_kind kind, unsigned cores, unsigned workers);

/* kind is not AUTO.  window_ns: 200 µs is the measured default. */
void tm_idle_init(struct tm_idle *idle, enum tm_idle_kind kind, uint64_t window_ns, uint64_t now);

/* After a turn: worked says whether it found anything.  Says what to do before the next. */
enum tm_idle_action tm_idle_next(struct tm_idle *idle, bool worked, uint64_t now);

/* After a sleep that work ended (not a timer): tells the window how long it lasted. */
void tm_idle_woken(struct tm_idle *idle, uint64_t slept_ns);

#endif
