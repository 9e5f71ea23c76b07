/* apply_show.h: what a topology file would change in running clusters, for people and as JSON; for
 * `tidemill apply` and `tidemill plan`.
 *
 * Writes to stdout.  One thread. */
#ifndef TM_TOOLS_APPLY_SHOW_H
#define TM_TOOLS_APPLY_SHOW_H

#include "tools/running.h"

#include <jansson.h>

/* One line for each change, or that there is none; and for each thing that operators said. */
void tm_apply_print(const struct tm_running *all, unsigned count);

/* [{"cluster", "version", "changes": [{"kind", "subject", "option", "from", "to", "note"}],
 * "operator": [{"subject", "value"}]}]; the version is the present one, 0 where the cluster does
 * not run; "operator" is what operators have said of its links, and stays. */
json_t *tm_apply_json(const struct tm_running *all, unsigned count);

/* {"applied": …, "clusters": the above}. */
void tm_apply_print_json(const struct tm_running *all, unsigned count, bool applied);

#endif
