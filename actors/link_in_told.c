/* What sources say of how far they are is kept with their streams, as long as this node leads: it
 * is told again and again.  It holds once the stream stands where its source had sent it: then all
 * up to a stamp is here, and what the source wrote before it had applied what it says it has; until
 * then it waits, and what comes after it is heard the next time. */
#include "actors/link_in_internal.h"

#include "actors/link_absence.h"
#include "actors/router.h"

static void promote(struct tm_link_in_stream *s, const struct tm_link_position *at)
{
    if (s->later.stream.session == 0 || at->index < s->later.upto.index ||
        (at->incarnation != 0 && at->incarnation != s->later.stream.incarnation))
        return;
    s->complete = tm_max_u64(s->complete, s->later.complete);
    s->complete_at = s->later.upto.index;
    tm_link_told_raise(&s->told, &s->later.told);
    s->later.stream.session = 0;
}

void tm_link_in_told(struct tm_link_in_stream *s, const struct tm_link_position *at,
                     const struct tm_link_tell *tell)
{
    if (s->incarnation != tell->stream.incarnation) { /* another one's facts */
        s->incarnation = tell->stream.incarnation;
        s->complete = 0;
        s->told = (struct tm_link_told){0};
        s->later.stream.session = 0;
    }
    promote(s, at);
    if (s->later.stream.session == 0)
        s->later = *tell;
    promote(s, at);
    s->told.want = tell->told.want;
}

struct tm_link_reached tm_link_in_reached(struct tm_link_in *in, unsigned site, uint32_t t)
{
    struct tm_link_reached nothing = {0},
                           known = {UINT64_MAX, {UINT64_MAX, UINT64_MAX, UINT64_MAX, 0}};
    const struct tm_link_from *from = in->c.ops->from(in->c.host, site);
    uint32_t first, last;
    if (from == NULL || from->sources == 0 || from->paused)
        return nothing;
    tm_link_targets(t, in->c.targets, from->sources, &first, &last);
    for (uint32_t p = first; p <= last; p++) {
        const struct tm_link_in_stream *s = tm_link_in_find(in, site, p, t);
        if (s == NULL) {
            nothing.told.want = known.told.want;
            return nothing;
        }
        known.complete = tm_min_u64(known.complete, s->complete);
        known.told.want = tm_max_u64(known.told.want, s->told.want);
        known.told.applied = tm_min_u64(known.told.applied, s->told.applied);
        known.told.settled = tm_min_u64(known.told.settled, s->told.settled);
        known.told.collected = tm_min_u64(known.told.collected, s->told.collected);
    }
    return known;
}

uint64_t tm_link_in_seen(struct tm_link_in *in, unsigned site, uint32_t t)
{
    const struct tm_link_from *from = in->c.ops->from(in->c.host, site);
    uint32_t first, last;
    uint64_t seen = 0;
    if (from == NULL || from->sources == 0)
        return 0;
    tm_link_targets(t, in->c.targets, from->sources, &first, &last);
    for (uint32_t p = first; p <= last; p++) {
        const struct tm_link_in_stream *s = tm_link_in_find(in, site, p, t);
        seen = s == NULL ? seen : tm_max_u64(seen, s->seen_at);
    }
    return seen;
}

void tm_link_in_hear(struct tm_link_in *in, unsigned site, uint32_t t,
                     const struct tm_link_told *told)
{
    const struct tm_link_from *from = in->c.ops->from(in->c.host, site);
    uint32_t first, last;
    if (from == NULL || from->sources == 0)
        return;
    tm_link_targets(t, in->c.targets, from->sources, &first, &last);
    for (uint32_t p = first; p <= last; p++) {
        const struct tm_link_in_stream *s = tm_link_in_find(in, site, p, t);
        if (s == NULL)
            continue;
        struct tm_link_hear m = {.stream = s->id, .told = *told};
        tm_link_in_answer(in, s, TM_MESSAGE_LINK_HEARD, &m, sizeof m, tm_bytes_of(NULL, 0));
    }
}

uint64_t tm_link_in_past(const struct tm_store *store, struct tm_link_in_stream *s,
                         const struct tm_link_mark *from)
{
    uint64_t settled, collected;
    if (from->index < s->complete_at)
        s->complete = s->complete_at = 0; /* it was rewound */
    tm_link_frontier(store, &settled, &collected);
    return tm_min_u64(s->complete, collected);
}

uint64_t tm_link_in_bar(const struct tm_store *store, const struct tm_link_from *from)
{
    struct tm_link_absence a;
    return tm_link_absence_get(store, from->uuid, &a) ? a.bar : 0;
}

bool tm_link_in_is_barred(const struct tm_store *store, const struct tm_link_from *from)
{
    struct tm_link_absence a;
    return tm_link_absence_get(store, from->uuid, &a) && tm_link_absence_stands(&a) &&
           from->rewind <= a.noted;
}
