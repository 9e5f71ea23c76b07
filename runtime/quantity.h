/* quantity.h: sizes and times as people write them: "64MiB", "4k", "200us", "5ms", "24h".
 *
 * A size is a whole number of bytes, or of KiB, MiB, GiB, TiB (k, kb, kib … all are powers of
 * 1024). A time is a whole number of its own unit, or carries one: us, ms, s, m or min, h, d. Pure.
 */
#ifndef TM_RUNTIME_QUANTITY_H
#define TM_RUNTIME_QUANTITY_H

#include "runtime/base.h"

/* Bytes.  False: it is no size, or too large for the type. */
bool tm_size_parse(const char *text, int64_t *bytes);

/* In `unit`, which is also what a bare number counts.  False: it is no time, is no whole number of
 * that unit, or is too large. */
bool tm_time_parse(const char *text, const char *unit, int64_t *value);

/* The decimal number that text begins with; *rest is what follows.  False: none, or too large. */
bool tm_number_parse(const char *text, int64_t *value, const char **rest);

/* Writes the value with the largest suffix that divides it; "0" has none.  cap: 32 is enough. */
void tm_size_text(int64_t bytes, char *buf, size_t cap);
void tm_time_text(int64_t value, const char *unit, char *buf, size_t cap);

#endif
