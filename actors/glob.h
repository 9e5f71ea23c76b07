/* glob.h: the patterns of KEYS, SCAN MATCH and CONFIG GET, as redis matches them: * ? [abc] [^a-z]
 * and \ before a byte that is to be taken as it is.  Pure; time is at most the product of the two
 * lengths. */
#ifndef TM_ACTORS_GLOB_H
#define TM_ACTORS_GLOB_H

#include "runtime/base.h"

/* Whether all of text matches pattern; any_case: letters of ASCII in either case. */
bool tm_glob_match(struct tm_bytes pattern, struct tm_bytes text, bool any_case);

#endif
