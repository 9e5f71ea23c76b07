/* link_report.h: what all nodes say of links, put together: one object for each link.
 *
 *   {"source", "target", "mode", "state", "paused", "streams", "partitions", "unled": [partition],
 *    "lag": {"records", "bytes", "ms", "delay_ms"}, "rate", "throttled", "nodes", "reach",
 *    "refused", "stranger", "refusals": {NAME: streams}, "sourceAsked", "targetAsked",
 *    "sourceSays": {...}, "targetSays": {...}, "out": [row], "gates": [row], "in": [row],
 *    "dead": [row]}
 *
 * "state" is one of TM_LINK_STATE_LIST.  Pure, but for the rows that were asked for. */
#ifndef TM_TOOLS_LINK_REPORT_H
#define TM_TOOLS_LINK_REPORT_H

#include "tools/link_ask.h"

/* X(word, text): the first that holds. */
#define TM_LINK_STATE_LIST(X)                                                                      \
    X(unknown, "no node of the source was asked")                                                  \
    X(unresolved, "the file that the source goes by does not define the target")                   \
    X(paused, "an operator has paused it")                                                         \
    X(refused, "one of the clusters refuses the other")                                            \
    X(away, "no node of the target is within reach")                                               \
    X(snapshot_required, "one end was away too long, and may hold what was deleted at the other")  \
    X(stands, "some streams do not go on until somebody acts")                                     \
    X(unled, "some partitions of the source have no leader")                                       \
    X(degraded, "it is synchronous, and writes go on without the target until it has caught up")   \
    X(resync, "what the target lacks is found by comparing, and sent")                             \
    X(lags, "there is something that the target does not have yet")                                \
    X(streams, "the target has all that there is")

/* All links of the clusters that answered: an array ordered by source, then target; the caller's.
 */
json_t *tm_link_report(const struct tm_linked_all *all);

/* The link between the two, borrowed; NULL: there is none. */
json_t *tm_link_report_find(const json_t *report, const char *source, const char *target);

#endif
