/* Records come in the order in which they were appended, each behind the one before it or in place
 * of it and of what followed.  Only repairs come late: theirs is a place in the middle. */
#include "actors/seen_members.h"

static bool decode(const struct tm_record *record, struct tm_members *m)
{
    if (record->kind != TM_RECORD_CONFIG || tm_members_decode(tm_record_body(record), m) != TM_OK)
        return false;
    m->index = record->index;
    return true;
}

void tm_seen_members_end(struct tm_seen_members *seen, uint64_t last)
{
    while (seen->last.count > 0 && seen->last.index > last) {
        seen->last = seen->before;
        seen->before = (struct tm_members){0};
    }
}

void tm_seen_members_found(struct tm_seen_members *seen, const struct tm_record *record)
{
    struct tm_members m;
    tm_seen_members_end(seen, record->index - 1);
    if (!decode(record, &m))
        return;
    seen->before = seen->last;
    seen->last = m;
}

void tm_seen_members_restored(struct tm_seen_members *seen, const struct tm_record *record)
{
    struct tm_members m;
    if (!decode(record, &m) || m.index < seen->before.index)
        return;
    if (m.index > seen->last.index) {
        seen->before = seen->last;
        seen->last = m;
    } else if (m.index == seen->last.index) {
        seen->last = m;
    } else {
        seen->before = m;
    }
}
