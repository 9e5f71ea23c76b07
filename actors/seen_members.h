/* seen_members.h: which members a log names, as a start learns it from the records it finds.
 *
 * Of the CONFIG records of a log the newest two are kept: the members in force, and those before
 * them, should the newest be cut.  More is not needed, for at most one is not committed.  Zero is
 * the beginning: none was seen (count 0).  Pure. */
#ifndef TM_ACTORS_SEEN_MEMBERS_H
#define TM_ACTORS_SEEN_MEMBERS_H

#include "actors/replica_wire.h"

struct tm_seen_members {
    struct tm_members last, before;
};

/* A valid record, of any kind, that replay found: it stands at the end of the log, and what was
 * seen of its index or behind it is gone.  A CONFIG that cannot be decoded is none. */
void tm_seen_members_found(struct tm_seen_members *seen, const struct tm_record *record);

/* One that takes its place within the log, for it was lost and given back: what follows stays. */
void tm_seen_members_restored(struct tm_seen_members *seen, const struct tm_record *record);

/* Replay is over: the log ends with record `last`.  What was seen behind it was cut. */
void tm_seen_members_end(struct tm_seen_members *seen, uint64_t last);

#endif
