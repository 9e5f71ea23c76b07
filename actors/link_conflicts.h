/* link_conflicts.h: the conflicts that merges at this worker have resolved of late, to be looked at
 * (`tidemill conflicts`): a ring in memory, the newest of them; a restart forgets it.
 *
 * Keys and values are kept up to a bound.  Pure; one worker's thread. */
#ifndef TM_ACTORS_LINK_CONFLICTS_H
#define TM_ACTORS_LINK_CONFLICTS_H

#include "storage/store_link.h"

#define TM_LINK_CONFLICTS_MAX      512
#define TM_LINK_CONFLICT_KEY_MAX   128
#define TM_LINK_CONFLICT_FIELD_MAX 64
#define TM_LINK_CONFLICT_VALUE_MAX 256

struct tm_link_conflict_side {
    struct tm_op_version stamp;
    bool deleted;
    uint32_t len; /* of the value; more than is kept: it was cut */
    uint8_t value[TM_LINK_CONFLICT_VALUE_MAX];
};

struct tm_link_conflict {
    uint64_t number; /* counted from 1 */
    uint64_t at_ms;
    enum tm_entity_type type;
    enum tm_conflict rule;
    bool whole; /* the sides are of the entity, not of one field */
    uint32_t key_len, field_len;
    uint8_t key[TM_LINK_CONFLICT_KEY_MAX], field[TM_LINK_CONFLICT_FIELD_MAX];
    struct tm_link_conflict_side winner, loser;
};

struct tm_link_conflicts {
    uint64_t count; /* ever */
    struct tm_link_conflict ring[TM_LINK_CONFLICTS_MAX];
};

/* Keeps it, in the place of the oldest. */
void tm_link_conflicts_add(struct tm_link_conflicts *log, uint64_t at_ms,
                           const struct tm_conflict_found *found);

/* How many are kept; the i-th newest of them, i below that. */
unsigned tm_link_conflicts_kept(const struct tm_link_conflicts *log);
const struct tm_link_conflict *tm_link_conflicts_at(const struct tm_link_conflicts *log,
                                                    unsigned i);

/* Whether its key and field are kept whole; for values their lengths tell. */
static inline bool tm_link_conflict_is_whole(const struct tm_link_conflict *c)
{
    return c->key_len <= TM_LINK_CONFLICT_KEY_MAX && c->field_len <= TM_LINK_CONFLICT_FIELD_MAX;
}

#endif
