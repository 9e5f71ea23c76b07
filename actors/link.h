/* link.h: what all parts of a link between clusters go by: which entities go, where they came from,
 * and how much at a time.
 *
 * A link is known to its source and its target by the same rules, from the topology file.  Plain
 * data; one worker's thread. */
#ifndef TM_ACTORS_LINK_H
#define TM_ACTORS_LINK_H

#include "runtime/base.h"

/* The type of the entity of that key: what stands before the first ':', "_default" without one. */
static inline struct tm_bytes tm_link_type_of(struct tm_bytes key)
{
    const uint8_t *colon = key.len > 0 ? memchr(key.data, ':', key.len) : NULL;
    return colon == NULL ? tm_bytes_str("_default")
                         : tm_bytes_of(key.data, (size_t)(colon - key.data));
}

/* Whether the key's type is that one, which was some key's.  A key without ':' is of none. */
static inline bool tm_link_is_of_type(struct tm_bytes key, struct tm_bytes type)
{
    return key.len > type.len && key.data[type.len] == ':' &&
           memcmp(key.data, type.data, type.len) == 0;
}

/* What may pass.  The functions are pure between two changes of `hash`. */
struct tm_link_filter {
    const void *host;
    /* Entities of that type are shipped. */
    bool (*ships)(const void *host, struct tm_bytes type);
    /* What was written at that cluster incarnation is shipped: never the target's own; with
     * `forward: "none"` only what this cluster wrote. */
    bool (*forwards)(const void *host, uint64_t origin);
    uint64_t hash; /* of the types' filter; not 0 in its lower bits (TM_LINK_FILTER_MASK) */
};

/* What stands above those bits counts how often all was to be compared anew, whatever the filter:
 * only the source knows. */
#define TM_LINK_FILTER_BITS 48
#define TM_LINK_FILTER_MASK ((UINT64_C(1) << TM_LINK_FILTER_BITS) - 1)

/* Whether two hashes are of one filter; of one filter and count, `==`. */
static inline bool tm_link_same_filter(uint64_t a, uint64_t b)
{
    return ((a ^ b) & TM_LINK_FILTER_MASK) == 0;
}

/* How much, of one stream unless it says otherwise. */
struct tm_link_limits {
    uint32_t batch_bytes;      /* a batch closes at that many, before it is packed; at least 1 */
    uint32_t batch_delay_us;   /* and what waits is sent after that, also if others are under way */
    uint32_t window_bytes;     /* unacknowledged; a batch may go beyond it */
    uint64_t bytes_per_second; /* this worker's share of the link's; 0: no bound */
};

#endif
