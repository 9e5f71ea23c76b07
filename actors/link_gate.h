/* link_gate.h: when a write may have its OK: one synchronous link, and one partition that leads.
 *
 * Commit is the local quorum's alone.  What is committed waits at the gate until the target has it,
 * too, as `ackLevel` says; how long, and what then, say syncTimeoutMs and onUnavailable:
 *
 *   fail     whoever waited that long is told that the outcome is unknown; the record stays
 *   block    all wait on
 *   degrade  the link is DEGRADED in this partition: nothing waits, until the target has caught up
 *
 * DEGRADED is written down in the partition first, and so is its end: a later leader goes by it. A
 * link that was asynchronous, or ships more than before, begins in the same way: it JOINS, and
 * nothing waits until its target has all that was before.
 *
 *     SYNC --degrade: waited too long--> DEGRADING --written, committed--> DEGRADED
 *      ^                                                                    |    ^
 *      '--written, committed-- RESTORING <--the target has it-- CLOSING <---'    |
 *                                                                  '--not in time'
 *     CLOSING: it has nearly caught up; writes wait for the rest
 *
 * What a partition wrote down is a field of its empty key's shadow (TM_SHADOW_GATE), made of
 * struct tm_link_gate_note.  Pure; time is given. */
#ifndef TM_ACTORS_LINK_GATE_H
#define TM_ACTORS_LINK_GATE_H

#include "actors/link_options.h"

/* X(name, text) */
#define TM_LINK_GATE_STATE_LIST(X)                                                                 \
    X(SYNC, "writes wait for the target")                                                          \
    X(DEGRADING, "writes wait until it is written down that they wait no longer")                  \
    X(DEGRADED, "writes go on without the target")                                                 \
    X(CLOSING, "the target has nearly caught up, and writes wait for the rest")                    \
    X(RESTORING, "writes wait for the target, which is being written down")

enum tm_link_gate_state {
#define X(name, text) TM_LINK_GATE_##name,
    TM_LINK_GATE_STATE_LIST(X)
#undef X
};

/* Static storage. */
const char *tm_link_gate_state_name(enum tm_link_gate_state state);

/* At rest: value of the field; little-endian, frozen. */
struct tm_link_gate_note {
    uint64_t since_ms; /* wall clock, ms since 1970 */
    uint64_t joined;   /* version of the directory since which writes wait, once it had caught up */
    uint64_t degraded; /* 1, 0 */
};
TM_STATIC_ASSERT(sizeof(struct tm_link_gate_note) == 24, "frozen at rest");

/* What the directory says of the link. */
struct tm_link_gate_rules {
    uint64_t timeout_ns;
    enum tm_link_unavailable unavailable;
    uint64_t joins; /* the version that made it what it is, if there was a cluster before; or 0 */
};

#define TM_LINK_GATE_MARKS 32

struct tm_link_gate {
    enum tm_link_gate_state state;
    struct tm_link_gate_rules rules;
    struct tm_link_gate_note note; /* as written down last */
    uint64_t passed;               /* the target has everything up to here */
    uint64_t over;                 /* who waits for a record up to here has waited too long */
    uint64_t record;               /* DEGRADING, RESTORING: what is waited for */
    uint64_t goal;                 /* DEGRADED, CLOSING: where the target has to come */
    uint64_t since, looked_at;     /* of the state; of the last look, or of the last word given */
    struct {
        uint64_t index, at;
    } mark[TM_LINK_GATE_MARKS]; /* a ring: records that wait, and since when */
    unsigned first, count;
};

/* What has to be written down. */
enum tm_link_gate_word { TM_LINK_GATE_NOTHING, TM_LINK_GATE_DEGRADE, TM_LINK_GATE_RESTORE };

/* note: what stands written down, NULL: nothing; record: the newest record of the log, by which all
 * of it is committed that is not yet. */
void tm_link_gate_init(struct tm_link_gate *g, const struct tm_link_gate_rules *rules,
                       const struct tm_link_gate_note *note, uint64_t record, uint64_t now);

/* commit: of the partition; passed: up to where the target has all; flows: its streams ship, none
 * asks or is held up.  Returns what has to be written down: then the caller does, and says so
 * (tm_link_gate_written), or asks again later. */
enum tm_link_gate_word tm_link_gate_turn(struct tm_link_gate *g, uint64_t now, uint64_t commit,
                                         uint64_t passed, bool flows);

/* note was put into that record. */
void tm_link_gate_written(struct tm_link_gate *g, const struct tm_link_gate_note *note,
                          uint64_t record, uint64_t now);

/* The note that says that word. */
struct tm_link_gate_note tm_link_gate_say(const struct tm_link_gate *g, enum tm_link_gate_word word,
                                          uint64_t wall_ms);

/* Replies to records up to here may leave as far as this link goes; UINT64_MAX: all. */
uint64_t tm_link_gate_open(const struct tm_link_gate *g);

/* Since when the oldest of those who wait does; UINT64_MAX: nobody waits. */
uint64_t tm_link_gate_waiting(const struct tm_link_gate *g);

/* When turn is due by time; UINT64_MAX: by nothing but news. */
uint64_t tm_link_gate_deadline(const struct tm_link_gate *g);

#endif
