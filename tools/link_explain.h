/* link_explain.h: why a link lags or stands, in words, from what was gathered (link_report.h).
 *
 * Pure. */
#ifndef TM_TOOLS_LINK_EXPLAIN_H
#define TM_TOOLS_LINK_EXPLAIN_H

#include "tools/link_report.h"

/* Sentences, the first about the whole link; an array of strings, the caller's. */
json_t *tm_link_explain(const json_t *link);

/* "350 ms", "12.3 s", "4.0 min", "2.5 h", "3.1 d"; and "17 bytes", "56.0 KiB".  cap: 32. */
void tm_link_duration(json_int_t ms, char *text, size_t cap);
void tm_link_bytes(json_int_t bytes, char *text, size_t cap);

#endif
