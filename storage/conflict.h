/* conflict.h: rules for conflicts.
 *
 * Two changes of the same thing conflict if neither was made in knowledge of the other.  A rule
 * says what stands then, the same at every cluster and whatever the order in which they arrive.
 * The rules of a topology file are of types and fields (actors/link_plan.h); a store asks for that
 * of a field through its policy, which is also told of what was resolved
 * (storage/store_link.h). */
#ifndef TM_STORAGE_CONFLICT_H
#define TM_STORAGE_CONFLICT_H

#include "runtime/base.h"

/* X(name, as the file says it). */
#define TM_CONFLICTS(X)                                                                            \
    X(FIELD_LWW, "field-lww")   /* the later one, field by field: the default */                   \
    X(ENTITY_LWW, "entity-lww") /* the later one, all of the entity */                             \
    X(COUNTER, "counter") /* as field-lww; increments add up under any rule of these three */      \
    X(SET, "set")         /* what is there on any side; of values the later one */                 \
    X(MAX, "max")         /* the greater value */                                                  \
    X(MIN, "min")                                                                                  \
    X(HOME, "home")         /* what the named cluster wrote or deleted, else the later one */      \
    X(FUNCTION, "function") /* what a function makes of the values */

enum tm_conflict {
#define TM_CONFLICT_ROW(name, text) TM_CONFLICT_##name,
    TM_CONFLICTS(TM_CONFLICT_ROW)
#undef TM_CONFLICT_ROW
        TM_CONFLICT_COUNT
};

/* What a store goes by. */
struct tm_conflict_rule {
    enum tm_conflict rule;
    bool home;            /* HOME: it is this cluster that wins */
    bool whole;           /* FUNCTION: of the type, so of all fields at once */
    const char *function; /* FUNCTION: its text; lives as long as the policy */
};

#endif
