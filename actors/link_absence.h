/* link_absence.h: what a partition has noted of a linked cluster that was away for so long that
 * tombstones were given up without its word.
 *
 * Tombstones go when all clusters have applied them; one that is away for longer than
 * `tombstoneMaxAge` is not waited for.  It may hold, or still ship, what the tombstones killed: it
 * is SNAPSHOT-REQUIRED in this partition, and its streams from and to it stand, until an operator
 * has had it take this cluster's state in the place of its own, or takes what it has for good.
 *
 * Kept in the shadow of the empty key, so every replica has it.  Pure; one worker's thread. */
#ifndef TM_ACTORS_LINK_ABSENCE_H
#define TM_ACTORS_LINK_ABSENCE_H

#include "storage/store_link.h"

struct tm_link_absence {
    uint64_t since_ms; /* wall clock: silent since then; 0: it is not, or not for long */
    uint64_t bar;      /* HLC: tombstones up to it were given up; 0: none were */
    uint64_t index;    /* the newest record of this partition's log before that, the last time */
    uint64_t noted;    /* HLC of that */
    uint64_t admitted; /* 1: an operator has taken it in since */
};
TM_STATIC_ASSERT(sizeof(struct tm_link_absence) == 40, "frozen at rest");

/* What is noted of the cluster of that uuid; all 0 and false: nothing. */
bool tm_link_absence_get(const struct tm_store *s, const uint8_t uuid[16],
                         struct tm_link_absence *out);

/* Writer: notes that; all 0: nothing any more. */
void tm_link_absence_put(struct tm_store *s, const uint8_t uuid[16],
                         const struct tm_link_absence *a);

/* It is SNAPSHOT-REQUIRED, as far as the note says: an operator may have spoken since. */
static inline bool tm_link_absence_stands(const struct tm_link_absence *a)
{
    return a->bar != 0 && a->admitted == 0;
}

#endif
