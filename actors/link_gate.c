/* Marks say since when which records wait: one for each sixteenth of the timeout, so that few are
 * enough and no write waits much longer than it has to. */
#include "actors/link_gate.h"

#define LOOK_NS TM_MS(100) /* DEGRADED: how often it is looked whether the target has caught up */
#define NEVER   UINT64_MAX

const char *tm_link_gate_state_name(enum tm_link_gate_state state)
{
    static const char *const names[] = {
#define X(name, text) #name,
        TM_LINK_GATE_STATE_LIST(X)
#undef X
    };
    return names[state];
}

static bool may_become(enum tm_link_gate_state from, enum tm_link_gate_state to)
{
    switch (to) {
    case TM_LINK_GATE_SYNC:
        return from == TM_LINK_GATE_RESTORING;
    case TM_LINK_GATE_DEGRADING:
        return from == TM_LINK_GATE_SYNC;
    case TM_LINK_GATE_DEGRADED:
        return from == TM_LINK_GATE_DEGRADING || from == TM_LINK_GATE_CLOSING;
    case TM_LINK_GATE_CLOSING:
        return from == TM_LINK_GATE_DEGRADED;
    case TM_LINK_GATE_RESTORING:
        return from == TM_LINK_GATE_CLOSING;
    }
    return false;
}

static void become(struct tm_link_gate *g, enum tm_link_gate_state state, uint64_t now)
{
    TM_ASSERT(may_become(g->state, state));
    g->state = state;
    g->since = g->looked_at = now;
    g->first = g->count = 0;
}

void tm_link_gate_init(struct tm_link_gate *g, const struct tm_link_gate_rules *rules,
                       const struct tm_link_gate_note *note, uint64_t record, uint64_t now)
{
    *g = (struct tm_link_gate){.rules = *rules, .since = now, .looked_at = now};
    if (note != NULL)
        g->note = *note;
    if (g->note.degraded != 0) {
        g->state = TM_LINK_GATE_DEGRADING; /* what says so may not be committed */
        g->record = record;
    } else if (g->note.joined < rules->joins) {
        g->state = TM_LINK_GATE_DEGRADED;
        g->goal = record;
    }
}

/* ---- who waits ---- */

static void note_waiting(struct tm_link_gate *g, uint64_t now, uint64_t commit)
{
    while (g->count > 0 && g->mark[g->first].index <= g->passed) {
        g->first = (g->first + 1) % TM_LINK_GATE_MARKS;
        g->count--;
    }
    if (commit <= g->passed || commit <= g->over)
        return;
    unsigned last = (g->first + g->count - 1) % TM_LINK_GATE_MARKS;
    uint64_t grain = g->rules.timeout_ns / 16;
    if (g->count > 0 && (g->mark[last].index >= commit || now < g->mark[last].at + grain))
        return;
    if (g->count == TM_LINK_GATE_MARKS) {
        g->mark[last].index = commit; /* it blocks, and nobody asks when it began */
        return;
    }
    last = (g->first + g->count++) % TM_LINK_GATE_MARKS;
    g->mark[last].index = commit;
    g->mark[last].at = now;
}

static bool waited_too_long(const struct tm_link_gate *g, uint64_t now)
{
    return g->count > 0 && now >= g->mark[g->first].at + g->rules.timeout_ns;
}

uint64_t tm_link_gate_waiting(const struct tm_link_gate *g)
{
    return g->count > 0 ? g->mark[g->first].at : NEVER;
}

uint64_t tm_link_gate_open(const struct tm_link_gate *g)
{
    return g->state == TM_LINK_GATE_DEGRADED ? NEVER : g->passed;
}

/* ---- turns ---- */

static enum tm_link_gate_word turn_sync(struct tm_link_gate *g, uint64_t now, uint64_t commit)
{
    note_waiting(g, now, commit);
    while (g->rules.unavailable == TM_LINK_FAIL && waited_too_long(g, now)) {
        g->over = g->mark[g->first].index;
        g->first = (g->first + 1) % TM_LINK_GATE_MARKS;
        g->count--;
    }
    if (g->rules.unavailable != TM_LINK_DEGRADE || !waited_too_long(g, now) ||
        now < g->looked_at + LOOK_NS)
        return TM_LINK_GATE_NOTHING;
    g->looked_at = now;
    return TM_LINK_GATE_DEGRADE;
}

static enum tm_link_gate_word turn_degraded(struct tm_link_gate *g, uint64_t now, uint64_t commit,
                                            bool flows)
{
    if (now < g->looked_at + LOOK_NS)
        return TM_LINK_GATE_NOTHING;
    bool near = flows && g->passed >= g->goal;
    g->goal = commit;
    g->looked_at = now;
    if (!near)
        return TM_LINK_GATE_NOTHING;
    become(g, TM_LINK_GATE_CLOSING, now);
    return g->passed >= commit ? TM_LINK_GATE_RESTORE : TM_LINK_GATE_NOTHING;
}

static enum tm_link_gate_word turn_closing(struct tm_link_gate *g, uint64_t now)
{
    if (now >= g->since + g->rules.timeout_ns)
        become(g, TM_LINK_GATE_DEGRADED, now);
    else if (g->passed >= g->goal)
        return TM_LINK_GATE_RESTORE;
    return TM_LINK_GATE_NOTHING;
}

enum tm_link_gate_word tm_link_gate_turn(struct tm_link_gate *g, uint64_t now, uint64_t commit,
                                         uint64_t passed, bool flows)
{
    g->passed = tm_max_u64(g->passed, passed);
    switch (g->state) {
    case TM_LINK_GATE_SYNC:
        return turn_sync(g, now, commit);
    case TM_LINK_GATE_DEGRADING:
        if (commit >= g->record) {
            become(g, TM_LINK_GATE_DEGRADED, now);
            g->goal = commit;
        }
        return TM_LINK_GATE_NOTHING;
    case TM_LINK_GATE_DEGRADED:
        return turn_degraded(g, now, commit, flows);
    case TM_LINK_GATE_CLOSING:
        return turn_closing(g, now);
    case TM_LINK_GATE_RESTORING:
        if (commit >= g->record)
            become(g, TM_LINK_GATE_SYNC, now);
        return TM_LINK_GATE_NOTHING;
    }
    return TM_LINK_GATE_NOTHING;
}

struct tm_link_gate_note tm_link_gate_say(const struct tm_link_gate *g, enum tm_link_gate_word word,
                                          uint64_t wall_ms)
{
    return (struct tm_link_gate_note){.since_ms = wall_ms,
                                      .joined = word == TM_LINK_GATE_RESTORE ? g->rules.joins
                                                                             : g->note.joined,
                                      .degraded = word == TM_LINK_GATE_DEGRADE};
}

void tm_link_gate_written(struct tm_link_gate *g, const struct tm_link_gate_note *note,
                          uint64_t record, uint64_t now)
{
    become(g, note->degraded != 0 ? TM_LINK_GATE_DEGRADING : TM_LINK_GATE_RESTORING, now);
    g->note = *note;
    g->record = record;
}

uint64_t tm_link_gate_deadline(const struct tm_link_gate *g)
{
    switch (g->state) {
    case TM_LINK_GATE_SYNC:
        if (g->count == 0 || g->rules.unavailable == TM_LINK_BLOCK)
            return NEVER;
        return tm_max_u64(g->mark[g->first].at + g->rules.timeout_ns,
                          g->rules.unavailable == TM_LINK_FAIL ? 0 : g->looked_at + LOOK_NS);
    case TM_LINK_GATE_DEGRADED:
        return g->looked_at + LOOK_NS;
    case TM_LINK_GATE_CLOSING:
        return g->since + g->rules.timeout_ns;
    case TM_LINK_GATE_DEGRADING:
    case TM_LINK_GATE_RESTORING:
        return NEVER;
    }
    return NEVER;
}
