/* status_links.h: the links of a cluster, as `tidemill status` shows them.
 *
 * They are gathered as `tidemill link` does (tools/link_ask.h).  Everything blocks, seconds at
 * worst.  Main thread of a subcommand. */
#ifndef TM_TOOLS_STATUS_LINKS_H
#define TM_TOOLS_STATUS_LINKS_H

#include <jansson.h>

/* One object for each link out of the cluster, or into it, which the node at address belongs to:
 * {"source", "target", "mode", "state", "loud", "lag", "degraded", "refused", "dead", "why":
 * [text]} *conflicts: what the cluster's merges resolved since its nodes began.  An empty array: it
 * has none, or nobody says.  The caller's. */
json_t *tm_status_links(const char *address, const char *cluster, const char *password,
                        json_int_t *conflicts);

/* Those as lines; nothing where there are none. */
void tm_status_print_links(const json_t *links, json_int_t conflicts);

#endif
