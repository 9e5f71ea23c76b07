/* nearest.h: which name was probably meant by one that does not exist.
 *
 * For messages only.  Pure; any thread. */
#ifndef TM_RUNTIME_NEAREST_H
#define TM_RUNTIME_NEAREST_H

#include "runtime/base.h"

/* Edit distance by letters (Levenshtein, two neighbours exchanged counting one), in any case and
 * with '_' for '-'.  What a prefix of three letters or more leaves out counts one, since
 * `--wal-segment` surely means `--wal-segment-bytes`.  Only the first 63 bytes are compared. */
unsigned tm_name_distance(const char *given, const char *name);

/* Whether that distance is near enough to be worth a word: within two letters and a third of the
 * given ones, and half of them. */
bool tm_name_is_near(const char *given, unsigned distance);

/* Of count names the one nearest to `given`, the first of equals; NULL if none is near. */
const char *tm_nearest_name(const char *given, const char *const *names, size_t count);

#endif
